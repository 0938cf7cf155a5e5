"""What is secret: known beginnings, known names, known texts. All of it is data; `mask.py` finds it in a stream.

Sources: the providers' documents on keys, GitHub's list of partner patterns, RFC 6750 (Bearer), RFC 7519 (JWT begins
with `eyJ`, the base64 of `{"`), and the headers that real providers send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mockprovider.errors import SettingError

__all__ = ["ALLOWED_REQUEST_HEADERS", "FRAMING_HEADERS", "KEY_HEADERS", "PREFIXES", "Rules"]

PREFIXES = (
    # providers of models
    "sk-", "pk-lf-", "gsk_", "xai-", "AIza", "hf_", "r8_", "pplx-", "nvapi-", "csk-", "pcsk_", "lsv2_",
    "tvly-", "voyage-", "jina_", "ALTAK-",
    # clouds and forges
    "AKIA", "ASIA", "ABSK", "ya29.", "GOCSPX-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "npm_",
    "dop_v1_", "xoxb-", "xoxp-", "xoxa-", "xoxs-", "xapp-", "pypi-", "sk_live_", "sk_test_",
    "rk_live_", "SG.",
    # JSON Web Tokens
    "eyJ",
)  # fmt: skip
"""What keys begin with; what follows in token characters is masked. Such a beginning stands at the start of a word."""

KEY_FIELDS = (
    "api[_-]?key", "x-api-key", "access[_-]?token", "refresh[_-]?token", "id[_-]?token", "auth[_-]?token",
    "session[_-]?token", "client[_-]?secret", "secret[_-]?key", "private[_-]?key", "secret", "password", "passwd",
    "authorization", "aws[_-]?secret[_-]?access[_-]?key", "user_id", "account_id", "organi[sz]ation_id", "org_id",
    "tenant_id", "project_id", "workspace_id",
)  # fmt: skip
"""Members of JSON objects whose text is secret, or says whose account it is; not `token`, as log probabilities have."""

KEY_PARAMETERS = (
    "key", "api[_-]?key", "access[_-]?token", "auth[_-]?token", "token", "sig", "signature", "subscription-key",
    "client[_-]?secret", "password", "code", "x-amz-signature", "x-amz-credential", "x-amz-security-token",
    "x-goog-signature", "x-goog-credential",
)  # fmt: skip
"""Parameters of URLs whose value is secret."""

KEY_HEADERS = (
    "authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key",
    "x-auth-token", "x-amz-security-token", "cookie",
)  # fmt: skip
"""Request headers that carry the client's own secrets: these are looked for in everything else of the exchange."""

ALLOWED_REQUEST_HEADERS = (
    "accept", "accept-encoding", "anthropic-beta", "anthropic-version", "content-type", "expect", "last-event-id",
    "openai-beta", "range", "user-agent", "x-stainless-lang", "x-stainless-package-version",
    "x-stainless-retry-count",
)  # fmt: skip
"""Request headers that are kept; all others are left out."""

FRAMING_HEADERS = frozenset(
    ("connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "trailer",
     "transfer-encoding")
)  # fmt: skip
"""Response headers that are never touched: the message would be another one."""

_SECRET_HEADERS = re.compile(
    r"set-cookie2?|cf-ray|report-to|nel|.*(?:cookie|organi[sz]ation|account|tenant|subscription|workspace|deployment"
    r"|authorization|api-key|secret|session|user-?id|client-ip|real-ip|connecting-ip|forwarded-for).*"
    r"|(?:.*-)?project(?:-id)?"
)
"""Response headers whose value is masked: who asks, from where, and what may be used to ask again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What to remove, beyond what is always removed.

    texts: masked wherever they stand; one that ends in `*` is a beginning, such as `tok_*`: what follows in token
    characters is masked. keep_headers: request headers that are kept too, and response headers that are not masked.
    redact_headers: headers that are left out of requests and masked in responses. SettingError for what cannot be.
    """

    texts: tuple[str, ...] = ()
    keep_headers: tuple[str, ...] = ()
    redact_headers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.texts:
            if len(text.removesuffix("*")) < 3:
                raise SettingError(f"redact {text!r}: expected at least three characters, or much would be masked")

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All beginnings of keys."""
        return (*PREFIXES, *(text[:-1] for text in self.texts if text.endswith("*")))

    @property
    def literals(self) -> tuple[str, ...]:
        """The texts that are no beginnings."""
        return tuple(text for text in self.texts if not text.endswith("*"))

    def keeps(self, name: str) -> bool:
        """Whether a request header is kept."""
        lower = name.lower()
        if lower in _lower(self.redact_headers):
            return False
        return lower in ALLOWED_REQUEST_HEADERS or lower in _lower(self.keep_headers)

    def masks(self, name: str) -> bool:
        """Whether the value of a response header is masked."""
        lower = name.strip().lower()
        if lower in FRAMING_HEADERS or lower in _lower(self.keep_headers):
            return False
        return lower in _lower(self.redact_headers) or _SECRET_HEADERS.fullmatch(lower) is not None


def _lower(names: tuple[str, ...]) -> set[str]:
    return {name.lower() for name in names}

"""Chat completions as other providers than OpenAI answer them: the dialect of a flavour's row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Ask, Dialect, Encoder, Usage, Voice
from mockprovider.dialects.flavour import FLAVOURS, Flavour, flavour
from mockprovider.dialects.flavour_stream import FlavourStream
from mockprovider.dialects.flavour_template import Template
from mockprovider.dialects.flavour_values import identifier
from mockprovider.dialects.flavour_whole import FlavourWhole
from mockprovider.dialects.flavour_words import Words
from mockprovider.dialects.openai_chat import OpenAIChat
from mockprovider.dialects.openai_chat_request import Leave, parse
from mockprovider.dialects.openai_errors import bearer, error_body, error_document, shown
from mockprovider.dialects.routing import GET, PLAIN, Endpoint, Target
from mockprovider.errors import RequestError, SettingError
from mockprovider.jsontext import dumps
from mockprovider.reply import Refusal, Reply

__all__ = ["FlavouredChat", "flavoured", "with_own_paths"]

_KINDS = {"authentication", "invalid_request", "not_found", "rate_limit", "server"}
_BY_STATUS = {401: "authentication", 403: "authentication", 404: "not_found", 429: "rate_limit"}
_TYPES = {"authentication": "invalid_request_error", "not_found": "invalid_request_error", "server": "server_error"}
_COUNTS = {
    "prompt": {"prompt_tokens"},
    "completion": {"completion_tokens", "answer_tokens"},
    "reasoning": {"reasoning_tokens"},
    "cached": {"cached_tokens"},
    "cache_written": {"cache_write_tokens"},
}
"""What tells each field of a scripted usage."""

_SHORT = 16 * 1024
"""Bytes of a request that is remembered, so that it costs less when it comes again."""

_known = lru_cache(maxsize=256)(parse)


class FlavouredChat(OpenAIChat):
    """Chat completions in the flavour of a row of the table."""

    def __init__(self, row: Flavour) -> None:
        self.row = row
        self.flavour = row.name
        self.limits = row.limits
        self.relay = row.relay
        tags = row.tags
        self.counts = tuple(name for name, words in _COUNTS.items() if words & tags)
        self.cites = ("page",) if "cited_urls" in tags else ()
        self._leave = Leave(row.tool_choices, parts=row.like != "openai", tiers=row.like != "openai")
        self.endpoints: tuple[Endpoint, ...] = tuple(
            endpoint
            for path, header in row.paths
            for endpoint in (
                Endpoint(f"{path}/chat/completions", header=header),
                Endpoint(f"{path}/models", GET, prompt=False, header=header),
            )
        )

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask; Azure's URL may name the model. RequestError, worded as OpenAI does."""
        deployment = target.params.get("deployment")
        if deployment is not None and target.asked("api-version") is None:
            raise RequestError(404, "Resource not found", kind="not_found", code="404")
        return (_known if len(body) <= _SHORT else parse)(body, self._leave, deployment)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to `chat.completion.chunk` documents."""
        return FlavourStream(self.row, voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one `chat.completion` document."""
        return FlavourWhole(self.row, voice)

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The provider's own headers, without what its content delivery network adds."""
        words = Words(self.row, voice, Usage())
        form = "stream" if stream else "whole"
        return (
            ("Content-Type", self.row.types[form]),
            *(
                (name, _filled(template, words.text))
                for name, template, only in self.row.reply_headers
                if only in ("", form)
            ),
        )

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """SettingError for a refusal where the provider has no word for it."""
        if "refusal" not in self.row.stream and any(isinstance(part, Refusal) for part in reply.parts):
            raise SettingError(f"{self.flavour} has no field for a refusal: its models refuse in the answer's text")

    def call_id(self, voice: Voice, choice: int, index: int) -> str:
        """As the provider makes them."""
        return identifier(self.row.ids["call"], voice, "call", choice, index)

    def framing(self, ask: Ask) -> str:
        """Server-sent events, with the provider's line ends."""
        return "sse-crlf" if self.row.crlf else "sse"

    # ------------------------------------------------------------------------------------------------ errors

    def error(
        self, error: RequestError, request_id: str, target: Target = PLAIN
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """An error in the provider's shape."""
        digits = request_id.removeprefix("req_")
        ids = {
            "request": request_id,
            "request_hex": digits,
            "request_uuid": "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])),
        }
        named = tuple((name, _filled(template, ids.__getitem__)) for name, template, _ in self.row.refused_headers)
        template = self.row.error_body
        body = error_body(error) if template is None else self._said(template, error, request_id)
        return (("Content-Type", self.row.types["error"]), *named, *error.headers), body

    def error_object(self, error: RequestError) -> dict[str, Any]:
        """An error in mid-stream."""
        if self.row.error_in_stream is None:
            return error_document(error)
        document: dict[str, Any] = json.loads(self._said(self.row.error_in_stream, error))
        return document

    def _said(self, template: Template, error: RequestError, request_id: str = "") -> bytes:
        row, kind = self.row, error.kind
        if kind not in _KINDS:
            kind = _BY_STATUS.get(error.status, "server" if error.status >= 500 else "invalid_request")
        code = row.errors.get("codes", {}).get(kind) or error.code
        if code is None and row.errors.get("status_codes"):
            code = str(error.status)
        usual = error.kind if error.kind not in _KINDS else _TYPES.get(kind, f"{kind}_error")
        values = {
            "message": error.message,
            "type": row.errors.get("types", {}).get(kind, usual),
            "param": error.param,
            "code": code,
            "status": error.status,
            "request": request_id,
        }
        flags = {kind, "coded"} if code is not None else {kind}
        flat = template.flat(frozenset(flags))
        return b"".join(part if isinstance(part, bytes) else dumps(values[str(part)]) for part in flat.parts)

    def key(self, headers: Mapping[str, str], target: Target = PLAIN) -> str:
        """What the provider's own header says, or `Authorization: Bearer`."""
        return next((headers[name] for name in self.row.keys if name in headers), "") or bearer(headers)

    def refused_key(self, key: str) -> RequestError:
        """As the provider refuses a key, or a request without one."""
        said = (None if key else self.row.refusal("no_key")) or self.row.refusal("key")
        if said is None:
            return super().refused_key(key)
        message = said.message.replace("{key}", shown(key))
        return RequestError(said.status or 401, message, kind=said.type or "authentication", code=said.code)

    def unknown_model(self, name: str) -> RequestError:
        """As the provider refuses a model that there is not."""
        said = self.row.refusal("model")
        if said is None:
            return super().unknown_model(name)
        message = said.message.replace("{model}", name)
        return RequestError(said.status or 404, message, kind=said.type or "not_found", code=said.code)


def _filled(template: Template, value: Any) -> str:
    flat = template.flat(frozenset())
    return "".join(part.decode() if isinstance(part, bytes) else value(part) for part in flat.parts)


@lru_cache(maxsize=64)
def _chat(name: str) -> OpenAIChat:
    return OpenAIChat() if name == "openai" else FlavouredChat(flavour(name))


def flavoured(dialect: Dialect, name: str) -> Dialect:
    """Chat completions in that flavour; another dialect as it is. SettingError for a flavour that there is not."""
    return _chat(name) if isinstance(dialect, OpenAIChat) else dialect


def with_own_paths() -> tuple[Dialect, ...]:
    """The flavours that are found by the provider's own paths."""
    return tuple(_chat(name) for name, row in FLAVOURS.items() if row.paths)

"""Google's error bodies and refusals, as generativelanguage.googleapis.com has them.

The shape is `{"error": {"code", "message", "status", "details"}}`, indented; `status` is one of google.rpc.Code, and
`details` is there where there are any. Wordings follow recordings and what the service is reported to answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from mockprovider.dialects.routing import Target
from mockprovider.errors import RequestError
from mockprovider.jsontext import pretty

__all__ = [
    "Violations",
    "body_object",
    "error_body",
    "error_document",
    "invalid",
    "key_of",
    "not_found",
    "refused_key",
    "unmet",
]

_SERVICE = "generativelanguage.googleapis.com"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The google.rpc.Code of an HTTP status, from google/rpc/code.proto."""

_KINDS = {"overloaded": 503, "rate_limit": 429, "authentication": 401, "not_found": 404, "invalid_request": 400}
"""The code of an error in mid-stream, where the HTTP status has been 200."""


class Refused(RequestError):
    """A refusal with details, as documents of google.rpc."""

    def __init__(self, status: int, message: str, details: Sequence[Mapping[str, Any]], *, kind: str) -> None:
        super().__init__(status, message, kind=kind)
        self.details = tuple(details)


class Violations:
    """What is wrong with the fields of a request: Google tells of all of them at once."""

    def __init__(self) -> None:
        self._found: list[dict[str, str]] = []

    def add(self, path: str, description: str) -> None:
        """One more. path: of the field or message it is in, as in `contents[0].parts`; empty for the body itself."""
        self._found.append({**({"field": path} if path else {}), "description": description})

    def unknown(self, path: str, name: str, why: str = "Cannot find field.") -> None:
        """A name that the message at the path does not have."""
        where = f" at '{path}'" if path else ""
        self.add(path, f'Invalid JSON payload received. Unknown name "{name}"{where}: {why}')

    def value(self, path: str, kind: str, value: Any) -> None:
        """A value that is none of its type. kind: such as `TYPE_STRING`, or the URL of a message or enumeration."""
        shown = f'"{value}"' if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        self.add(path, f"Invalid value at '{path}' ({kind}), {shown}")

    def check(self) -> None:
        """RequestError where there is one."""
        if self._found:
            detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": self._found}
            message = "\n".join(one["description"] for one in self._found)
            raise Refused(400, message, [detail], kind="invalid_request")


def invalid(message: str) -> RequestError:
    """The refusal of a request that is well-formed and means nothing."""
    return RequestError(400, message)


def unmet(field: str, reason: str) -> RequestError:
    """The refusal of a field whose value is out of bounds; field: as in `contents[0].parts`."""
    return RequestError(400, f"* GenerateContentRequest.{field}: {reason}\n", param=field)


def not_found(name: str, method: str = "generateContent", version: str = "v1beta") -> RequestError:
    """The refusal of a model that there is not."""
    return RequestError(
        404,
        f"models/{name} is not found for API version {version}, or is not supported for {method}. Call ListModels to"
        " see the list of available models and their supported methods.",
        kind="not_found",
    )


def key_of(headers: Mapping[str, str], target: Target) -> str:
    """The key in `x-goog-api-key`, in `Authorization: Bearer KEY`, or in the query."""
    key = headers.get("x-goog-api-key", "")
    if not key:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        key = token if scheme.lower() == "bearer" else ""
    return key or target.asked("key") or ""


def refused_key(key: str) -> RequestError:
    """The refusal of a key that is none of the server's, or of a request without one."""
    if not key:
        return RequestError(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or"
            " other form of API consumer identity to call this API.",
            kind="authentication",
        )
    message = "API key not valid. Please pass a valid API key."
    details = (
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": _SERVICE},
        },
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message},
    )
    return Refused(400, message, details, kind="authentication")


# ------------------------------------------------------------------------------------------------ bodies


def error_document(error: RequestError, model: str = "") -> dict[str, Any]:
    """The error as a document. A kind in capitals is a google.rpc.Code itself; model: which was asked, for a 429."""
    code = error.status
    if code == 500:
        code = _KINDS.get(error.kind, code)
    status = _STATUSES.get(code, "INVALID_ARGUMENT" if code < 500 else "INTERNAL")
    if error.kind.isupper():
        status = error.kind
    details: list[Mapping[str, Any]] = list(error.details) if isinstance(error, Refused) else []
    message = error.message
    if error.status == 429 and not details:
        wait, details = _wait(error), _quota(_wait(error), model)
        # What a limit of this server's says is in another provider's manner; what a script says in its own words stays.
        if wait is not None and message.startswith("Rate limit reached"):
            message = _QUOTA_MESSAGE + f"\nPlease retry in {wait:g}s."
    said: dict[str, Any] = {"code": code, "message": message, "status": status}
    return {"error": {**said, "details": details} if details else said}


def _wait(error: RequestError) -> float | None:
    """The seconds to wait that the error's headers tell; Google tells them in the body instead."""
    told = {name.lower(): value for name, value in error.headers}
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", told.get(name, "")):
            return float(told[name]) / divisor
    return None


_LIMITS_PAGE = "https://ai.google.dev/gemini-api/docs/rate-limits"
_QUOTA_MESSAGE = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this"
    f" error, head to: {_LIMITS_PAGE}."
)
_METRIC = "generate_content_paid_tier_input_token_count"
_QUOTA = "GenerateContentPaidTierInputTokensPerModelPerMinute"


def _quota(wait: float | None, model: str) -> list[Mapping[str, Any]]:
    """The details of a 429, as recorded: where to read on, which quota, and, where that is known, when to come again.

    wait: in seconds; model: the name of it, or nothing.
    """
    rpc = "type.googleapis.com/google.rpc."
    violation = {
        "quotaMetric": f"{_SERVICE}/{_METRIC}",
        "quotaId": _QUOTA,
        "quotaDimensions": {**({"model": model} if model else {}), "location": "global"},
        "quotaValue": "1000000",
    }
    details: list[Mapping[str, Any]] = [
        {"@type": f"{rpc}Help", "links": [{"description": "Learn more about Gemini API quotas", "url": _LIMITS_PAGE}]},
        {"@type": f"{rpc}QuotaFailure", "violations": [violation]},
    ]
    if wait is not None:
        details.append({"@type": f"{rpc}RetryInfo", "retryDelay": f"{math.ceil(wait)}s"})
    return details


def error_body(error: RequestError, *, array: bool, model: str = "") -> bytes:
    """The error as the body of a response.

    array: as the only element of one, as streams without `alt=sse` have it; model: which was asked.
    """
    document = pretty(error_document(error, model)) + b"\n"
    return b"[" + document + b"]\n" if array else document


def body_object(body: bytes) -> Mapping[str, Any]:
    """The body as a JSON object; RequestError where it is none. An empty body is an empty message."""
    if not body.strip():
        return {}
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        at = getattr(error, "pos", 0)
        near = body.decode("utf-8", "replace")[at : at + 20].split("\n")[0]
        message = f"Invalid JSON payload received. Unexpected token.\n{near}\n^"
        violations = Violations()
        violations.add("", message)
        violations.check()
    if not isinstance(document, dict):
        raise invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")

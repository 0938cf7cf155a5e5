"""Anthropic's error bodies and refusals.

The shape is `{"type": "error", "error": {"type", "message"}, "request_id"}`, compact. A refusal of a field begins with
its path in the body, `messages.0.content`. Wordings follow what api.anthropic.com is reported to answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from mockprovider.errors import RequestError
from mockprovider.jsontext import dumps

__all__ = ["body_object", "error_body", "error_document", "key_of", "refused", "refused_key", "unknown_model"]

_TYPES = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "not_found": "not_found_error",
    "rate_limit": "rate_limit_error",
    "too_large": "request_too_large",
    "overloaded": "overloaded_error",
    "server": "api_error",
}
_BY_STATUS = {
    402: "billing_error",
    403: "permission_error",
    413: "request_too_large",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type that a status has whatever kind of error it is, from Anthropic's page on errors."""


def error_document(error: RequestError) -> dict[str, Any]:
    """The error as the data of an `error` event."""
    kind = error.kind
    if kind in ("invalid_request", "authentication", "server"):
        kind = _BY_STATUS.get(error.status, kind)
    return {"type": "error", "error": {"type": _TYPES.get(kind, kind), "message": error.message}}


def error_body(error: RequestError, request_id: str) -> bytes:
    """The error as the body of a response."""
    return dumps({**error_document(error), "request_id": request_id})


def refused(param: str, reason: str) -> RequestError:
    """The refusal of a field: its path, and what is wrong with it."""
    return RequestError(400, f"{param}: {reason}", param=param)


def unknown_model(name: str) -> RequestError:
    """The refusal of a request for a model that there is not."""
    return RequestError(404, f"model: {name}", kind="not_found", param="model")


def key_of(headers: Mapping[str, str]) -> str:
    """The key in `x-api-key`, or in `Authorization: Bearer KEY`, which is accepted as well."""
    key = headers.get("x-api-key", "")
    if key:
        return key
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def refused_key(key: str) -> RequestError:
    """The refusal of a key that is none of the server's, or of a request without one."""
    message = "invalid x-api-key" if key else "x-api-key header is required"
    return RequestError(401, message, kind="authentication", headers=(("x-should-retry", "false"),))


def body_object(body: bytes) -> Mapping[str, Any]:
    """The body as a JSON object; RequestError where it is none."""
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise RequestError(400, "The request body is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise RequestError(400, "Input should be a valid dictionary or object to extract fields from")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")

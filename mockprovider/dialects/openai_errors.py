"""OpenAI's error bodies and refusals, shared by every endpoint that speaks them.

The shape is `{"error": {"message", "type", "param", "code"}}`, indented. Wordings follow what api.openai.com is
reported to answer, so that a client that reads them meets here what it meets there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from mockprovider.errors import RequestError
from mockprovider.jsontext import pretty

__all__ = [
    "GATEWAY",
    "bearer",
    "body_object",
    "error_body",
    "error_document",
    "listed",
    "missing",
    "refused_key",
    "shown",
    "wrong_type",
    "wrong_value",
]

_TYPES = {
    "invalid_request": "invalid_request_error",
    "authentication": "invalid_request_error",
    "not_found": "invalid_request_error",
    "rate_limit": "rate_limit_exceeded",
    "server": "server_error",
}


GATEWAY = (401, 403, 404)
"""The statuses with which OpenAI's gateway answers, not the endpoint behind it."""


def error_body(error: RequestError) -> bytes:
    """The error as OpenAI lays it out: two spaces deep, but four, with a line end, what its gateway refuses."""
    if error.status in GATEWAY:
        return pretty(error_document(error), indent=4) + b"\n"
    return pretty(error_document(error))


def error_document(error: RequestError) -> dict[str, Any]:
    """The error as a document."""
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(error.kind, error.kind),
            "param": error.param,
            "code": error.code,
        }
    }


def bearer(headers: Mapping[str, str]) -> str:
    """The key in `Authorization: Bearer KEY`; nothing where there is none."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else ""


def shown(key: str) -> str:
    """A key with its middle starred, as errors quote it."""
    return key if len(key) < 9 else f"{key[:4]}{'*' * (len(key) - 8)}{key[-4:]}"


def refused_key(key: str) -> RequestError:
    """The refusal of a key that is none of the server's, or of a request without one."""
    if not key:
        return RequestError(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using"
            " Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            kind="authentication",
        )
    return RequestError(
        401,
        f"Incorrect API key provided: {shown(key)}. It is none of those this server was started with.",
        kind="authentication",
        code="invalid_api_key",
    )


def missing(param: str) -> RequestError:
    """The refusal of a request that lacks a required field."""
    return RequestError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, got: object) -> RequestError:
    """The refusal of a field of the wrong type: which field, what was expected, what came."""
    return RequestError(
        400,
        f"Invalid type for '{param}': expected {expected}, but got {_describe(got)} instead.",
        param=param,
        code="invalid_type",
    )


def wrong_value(param: str, message: str, code: str | None = "invalid_value") -> RequestError:
    """The refusal of a field whose value is out of range or not one of those allowed."""
    return RequestError(400, message, param=param, code=code)


def listed(values: Sequence[str], word: str) -> str:
    """`'a', 'b', and 'c'`, as OpenAI lists the values that it knows; word: `and` or `or`."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return f" {word} ".join(quoted)
    return f"{', '.join(quoted[:-1])}, {word} {quoted[-1]}"


def body_object(body: bytes) -> Mapping[str, Any]:
    """The body as a JSON object; RequestError where it is none."""
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RequestError(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your"
            " HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
        ) from None
    if not isinstance(document, dict):
        raise RequestError(
            400, f"Invalid type: expected an object, but got {_describe(document)} instead.", code="invalid_type"
        )
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")


def _describe(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"

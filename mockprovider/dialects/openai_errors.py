"""OpenAI's error bodies and refusals, shared by every endpoint that speaks them.

The shape is `{"error": {"message", "type", "param", "code"}}`, indented, as api.openai.com sends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mockprovider.errors import RequestError
from mockprovider.jsontext import pretty

__all__ = ["body_object", "error_body", "missing", "wrong_type", "wrong_value"]

_TYPES = {
    "invalid_request": "invalid_request_error",
    "authentication": "invalid_request_error",
    "not_found": "invalid_request_error",
    "rate_limit": "rate_limit_exceeded",
    "server": "server_error",
}


def error_body(error: RequestError) -> bytes:
    """The error as OpenAI words it, four spaces deep."""
    return pretty(
        {
            "error": {
                "message": error.message,
                "type": _TYPES.get(error.kind, error.kind),
                "param": error.param,
                "code": error.code,
            }
        },
        indent=4,
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


def body_object(body: bytes) -> Mapping[str, Any]:
    """The body as a JSON object; RequestError where it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your"
            " HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
        ) from None
    if not isinstance(document, dict):
        raise RequestError(400, f"Invalid body: expected an object, but got {_describe(document)} instead.")
    return document


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

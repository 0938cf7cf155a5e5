"""Checks of single values in a request, in Anthropic's wording. Each is a function of the field's path and its value.

A path is written as in `messages.0.content.1.type`. RequestError where a value is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mockprovider.dialects.anthropic_errors import refused

__all__ = [
    "Check",
    "an_array",
    "an_object",
    "boolean",
    "fraction",
    "integer",
    "matching",
    "one_of",
    "required",
    "string",
    "tagged",
]

Check: TypeAlias = Callable[[str, Any], None]


def boolean(param: str, value: Any) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise refused(param, "Input should be a valid boolean")


def string(param: str, value: Any) -> None:
    """A text."""
    if not isinstance(value, str):
        raise refused(param, "Input should be a valid string")


def an_object(param: str, value: Any) -> None:
    """A JSON object."""
    if not isinstance(value, dict):
        raise refused(param, "Input should be a valid dictionary")


def an_array(param: str, value: Any) -> None:
    """A JSON array."""
    if not isinstance(value, list):
        raise refused(param, "Input should be a valid list")


def integer(low: int) -> Check:
    """A whole number, `low` or more."""

    def check(param: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise refused(param, "Input should be a valid integer")
        if value < low:
            raise refused(param, f"Input should be greater than or equal to {low}")

    return check


def fraction(param: str, value: Any) -> None:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refused(param, "Input should be a valid number")
    if not 0 <= value <= 1:
        raise refused(param, "range: 0..1")


def _listed(allowed: tuple[str, ...]) -> str:
    quoted = [f"'{value}'" for value in allowed]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def one_of(*allowed: str) -> Check:
    """One of these texts."""

    def check(param: str, value: Any) -> None:
        if value not in allowed:
            raise refused(param, f"Input should be {_listed(allowed)}")

    return check


def matching(pattern: str) -> Check:
    """A text that is wholly of this form."""
    form = re.compile(pattern)

    def check(param: str, value: Any) -> None:
        string(param, value)
        # `$` would let a line end pass.
        if not form.fullmatch(value):
            raise refused(param, f"String should match pattern '^{pattern}$'")

    return check


def required(holder: Mapping[str, Any], path: str, key: str, check: Check) -> Any:
    """The value of a key that must be there and pass a check. path: of the holder, empty for the body itself."""
    param = f"{path}.{key}" if path else key
    if key not in holder:
        raise refused(param, "Field required")
    check(param, holder[key])
    return holder[key]


def tagged(param: str, value: Any, allowed: tuple[str, ...]) -> str:
    """The `type` of an object, which must be one of those; the object is checked to be one."""
    an_object(param, value)
    kind = required(value, param, "type", string)
    if kind not in allowed:
        tags = ", ".join(f"'{tag}'" for tag in allowed)
        reason = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
        raise refused(param, reason)
    found: str = kind
    return found

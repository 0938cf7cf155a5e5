"""Checks of single values in a request, in OpenAI's wording. Each is a function of the parameter's name and its value.

A parameter's name is its path in the body, such as `messages[0].content[1].type`. RequestError where one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mockprovider.dialects.openai_errors import listed, missing, wrong_type, wrong_value

__all__ = [
    "Check",
    "an_array",
    "an_object",
    "array_of",
    "boolean",
    "decimal",
    "integer",
    "metadata",
    "name",
    "one_of",
    "required",
    "string",
    "text_or",
]

Check: TypeAlias = Callable[[str, Any], None]


def _a(kind: type | tuple[type, ...], expected: str) -> Check:
    """A value of this type; a bool is no number here."""

    def check(param: str, value: Any) -> None:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise wrong_type(param, expected, value)

    return check


boolean = _a(bool, "a boolean")
string = _a(str, "a string")
an_object = _a(dict, "an object")


def text_or(expected: str, *others: type) -> Check:
    """A text or one of some other types, in these words."""
    return _a((str, *others), expected)


def integer(low: int, high: int) -> Check:
    """A whole number from low to high."""
    kind = _a(int, "an integer")

    def check(param: str, value: Any) -> None:
        kind(param, value)
        _in_range(param, value, low, high, "integer")

    return check


def decimal(low: float, high: float) -> Check:
    """Any number from low to high."""
    kind = _a((int, float), "a decimal")

    def check(param: str, value: Any) -> None:
        kind(param, value)
        _in_range(param, value, low, high, "decimal")

    return check


def _in_range(param: str, value: float, low: float, high: float, kind: str) -> None:
    if low <= value <= high:
        return
    below = value < low
    what, bound = ("below minimum", f">= {low}") if below else ("above maximum", f"<= {high}")
    raise wrong_value(
        param,
        f"Invalid '{param}': {kind} {what} value. Expected a value {bound}, but got {value} instead.",
        f"{kind}_{'below_min' if below else 'above_max'}_value",
    )


def one_of(*allowed: str) -> Check:
    """One of these texts."""

    def check(param: str, value: Any) -> None:
        if not isinstance(value, str):
            raise wrong_type(param, f"one of {listed(allowed, 'or')}", value)
        if value not in allowed:
            raise wrong_value(param, f"Invalid value: '{value}'. Supported values are: {listed(allowed, 'and')}.")

    return check


def an_array(of: str, low: int = 0, high: int | None = None) -> Check:
    """An array with so many elements, which are not looked at. of: what they are, for the wording."""
    kind = _a(list, f"an array of {of}")

    def check(param: str, value: Any) -> None:
        kind(param, value)
        if len(value) < low:
            raise wrong_value(
                param,
                f"Invalid '{param}': empty array. Expected an array with minimum length {low}, but got an empty array"
                " instead.",
                "empty_array",
            )
        if high is not None and len(value) > high:
            raise wrong_value(
                param,
                f"Invalid '{param}': array too long. Expected an array with maximum length {high}, but got an array"
                f" with length {len(value)} instead.",
                "array_above_max_length",
            )

    return check


def array_of(element: Check, of: str, high: int | None = None) -> Check:
    """An array whose elements pass a check."""
    whole = an_array(of, 0, high)

    def check(param: str, value: Any) -> None:
        whole(param, value)
        for index, member in enumerate(value):
            element(f"{param}[{index}]", member)

    return check


def required(holder: Mapping[str, Any], path: str, key: str, check: Check) -> Any:
    """The value of a key that must be there and pass a check. path: of the holder, empty for the body itself."""
    param = f"{path}.{key}" if path else key
    if holder.get(key) is None:
        raise missing(param)
    check(param, holder[key])
    return holder[key]


_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def name(longest: int) -> Check:
    """A name of letters, digits, `_` and `-`."""

    def check(param: str, value: Any) -> None:
        string(param, value)
        if not value:
            raise wrong_value(
                param,
                f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string"
                " instead.",
                "empty_string",
            )
        _not_longer(param, value, longest)
        if not _NAME.fullmatch(value):
            raise wrong_value(
                param,
                f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern"
                " '^[a-zA-Z0-9_-]+$'.",
            )

    return check


def metadata(param: str, value: Any) -> None:
    """At most 16 short texts by short names."""
    an_object(param, value)
    if len(value) > 16:
        raise wrong_value(
            param,
            f"Invalid '{param}': too many properties. Expected an object with at most 16 properties, but got an object"
            f" with {len(value)} properties instead.",
            "object_above_max_properties",
        )
    for key, text in value.items():
        if len(key) > 64:
            raise wrong_value(
                f"{param}.{key}",
                f"Invalid property name in '{param}': '{key[:3]}...{key[-3:]}' is too long. Expected a string with"
                f" maximum length 64, but got a string with length {len(key)} instead.",
                "property_name_above_max_length",
            )
        string(f"{param}.{key}", text)
        _not_longer(f"{param}.{key}", text, 512)


def _not_longer(param: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise wrong_value(
            param,
            f"Invalid '{param}': string too long. Expected a string with maximum length {longest}, but got a string"
            f" with length {len(text)} instead.",
            "string_above_max_length",
        )

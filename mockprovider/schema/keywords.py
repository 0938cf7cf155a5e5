"""The keywords of JSON Schema as data: which are understood, which are refused, and what their values must be.

Draft 2020-12 is the reference; `definitions`, `items` as an array, `additionalItems` and the boolean
`exclusiveMinimum` of earlier drafts are understood too. A word that no draft knows is an annotation and is ignored
(2020-12 core, section 4.3.1), as are unknown formats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

__all__ = ["INFERRED", "MALFORMED", "MAPS", "ONES", "SEVERAL", "TYPES", "UNSUPPORTED", "atoms", "is_number"]

TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")

# Where schemas are inside schemas: keywords that hold one, a list of them, and a map of them.
ONES: Final = ("items", "additionalItems", "contains", "additionalProperties", "propertyNames", "not")
SEVERAL: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS: Final = ("properties", "patternProperties")

# Assertions of some draft that are not generated for. They are refused: a value made without them would be a guess.
UNSUPPORTED: Final = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "disallow",
        "divisibleBy",
        "else",
        "extends",
        "if",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)

# The type that a schema without `type` means, by the keywords it has.
INFERRED: Final = (
    (
        "object",
        (
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "minProperties",
            "maxProperties",
            "propertyNames",
        ),
    ),
    ("array", ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains")),
    ("string", ("minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def is_number(value: object) -> bool:
    """A finite JSON number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return is_number(value) and value == int(value) and value >= 0  # type: ignore[call-overload, operator]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_schema(value: object) -> bool:
    return isinstance(value, dict | bool)


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


def _is_list_of(check: Callable[[object], bool], *, least: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and len(value) >= least and all(check(each) for each in value)


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(_is_schema(each) for each in value.values())


_COUNT = (_is_count, "an integer that is not negative")
_NUMBER = (is_number, "a number")
_BOUND = (lambda value: isinstance(value, bool) or is_number(value), "a number")
_TEXT = (_is_text, "a string")
_SCHEMA = (_is_schema, "a schema")
_MAP = (_is_map, "an object whose values are schemas")
_SCHEMAS = (_is_list_of(_is_schema, least=1), "a list of schemas that is not empty")

MALFORMED: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "$ref": _TEXT,
    "additionalItems": _SCHEMA,
    "additionalProperties": _SCHEMA,
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "contains": _SCHEMA,
    "enum": (_is_list_of(lambda _: True, least=1), "a list that is not empty"),
    "exclusiveMaximum": _BOUND,
    "exclusiveMinimum": _BOUND,
    "format": _TEXT,
    "items": (lambda value: _is_schema(value) or _is_list_of(_is_schema, least=0)(value), "a schema"),
    "maxContains": _COUNT,
    "maxItems": _COUNT,
    "maxLength": _COUNT,
    "maxProperties": _COUNT,
    "maximum": _NUMBER,
    "minContains": _COUNT,
    "minItems": _COUNT,
    "minLength": _COUNT,
    "minProperties": _COUNT,
    "minimum": _NUMBER,
    "multipleOf": (lambda value: is_number(value) and value > 0, "a number greater than 0"),
    "not": _SCHEMA,
    "oneOf": _SCHEMAS,
    "pattern": _TEXT,
    "patternProperties": _MAP,
    "prefixItems": _SCHEMAS,
    "properties": _MAP,
    "propertyNames": _SCHEMA,
    "required": (_is_list_of(_is_text, least=0), "a list of strings"),
    "type": (_is_type, f"one of {', '.join(TYPES)}, or a list of them"),
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
}
"""For each keyword with a value of its own shape: the test of it, and what it should have been."""


def atoms(types: str | list[str]) -> tuple[str, ...]:
    """The types that do not overlap: `number` is `integer` and `fraction`, so that sets of them can be intersected."""
    names = [types] if isinstance(types, str) else types
    found: list[str] = []
    for name in names:
        found += ["integer", "fraction"] if name == "number" else [name]
    return tuple(dict.fromkeys(found))

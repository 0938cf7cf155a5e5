"""The check of a schema that OpenAI's API makes for `strict: true`, in response formats and in tools.

What it refuses is documented (developers.openai.com, guide "Structured Outputs", section "Supported schemas") or has
been reported with the API's own message; the reasons follow those messages. Where the evidence is thin it accepts, so
that no client fails here that would pass there:
- `minLength`, `maxLength`, `default` and `examples` were refused by early versions and are accepted since;
- words that JSON Schema does not know, and the annotations that it does, are let through;
- a level of nesting is an object or an array around others; references are not followed into, as in OpenAI's SDKs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .error import Path, SchemaError
from .keywords import MALFORMED, TYPES, UNSUPPORTED, atoms
from .outline import plain

__all__ = ["check_strict"]

MOST_LEVELS: Final = 10
MOST_PROPERTIES: Final = 5_000
MOST_ENUM_VALUES: Final = 1_000
MOST_CHARACTERS: Final = 120_000  # in names of properties and definitions, and in the values of enum and const
MANY_ENUM_VALUES: Final = 250  # an enum of more strings than this ...
MOST_ENUM_CHARACTERS: Final = 15_000  # ... may have no more characters than this in all

FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_AT_ROOT: Final = ("oneOf", "anyOf", "allOf", "enum", "not")
_NOT_PERMITTED: Final = UNSUPPORTED | {
    "additionalItems",
    "allOf",
    "contains",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "uniqueItems",
}
_DEFINITIONS: Final = ("$defs", "definitions")
_NESTED: Final = ("properties", *_DEFINITIONS)


def check_strict(schema: Mapping[str, Any], *, name: str) -> None:
    """Check a schema against the subset that OpenAI accepts with `strict: true`.

    name: what the request calls the schema, or the tool's name; it is only noted in the error. Raises SchemaError for
    the first thing that the API would refuse with status 400.
    """
    try:
        document = plain(schema)
        _check_root(document)
        _Check(document).run()
    except SchemaError as error:
        error.name = name
        raise
    except RecursionError:
        raise SchemaError((), "Please ensure it is a valid JSON Schema.", name=name, located=False) from None


def _check_root(document: Any) -> None:
    kind = document.get("type") if isinstance(document, dict) else None
    if kind != "object":
        raise SchemaError(
            (), f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{kind}"'.""", located=False
        )
    for keyword in _AT_ROOT:
        if keyword in document:
            raise SchemaError(
                (),
                "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level. "
                f"Found '{keyword}'.",
                located=False,
            )


class _Check:
    """One check of one schema: each node in turn, outer before inner; then what can only be counted over all."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._properties = 0
        self._enum_values = 0
        self._characters = 0
        self._levels = 0

    def run(self) -> None:
        waiting: list[tuple[Any, Path, int]] = [(self._document, (), 0)]
        while waiting:
            node, path, level = waiting.pop()
            level += self._check_node(node, path)
            self._levels = max(self._levels, level)
            for keys, inner in reversed(list(_inner(node))):
                # A definition is inside nothing: where it is used, its levels are not counted.
                waiting.append((inner, (*path, *keys), 0 if keys[0] in _DEFINITIONS else level))
        self._check_totals()

    def _check_node(self, node: Any, path: Path) -> int:
        """Check one schema, without those inside it. Returns 1 if it is a level of nesting, else 0."""
        if isinstance(node, dict) and "$ref" in node:
            self._check_reference(node, path)
            return 0
        for keyword in node if isinstance(node, dict) else ():
            if keyword == "not":
                raise SchemaError(path, "Unsupported keywords ('not',).")
            if keyword in _NOT_PERMITTED:
                raise SchemaError(path, f"'{keyword}' is not permitted.")
        if not isinstance(node, dict) or not ("type" in node or "anyOf" in node):
            raise SchemaError(path, "schema must have a 'type' key.")
        for keyword, value in node.items():
            _check_value(keyword, value, path)
        types = atoms(node.get("type", []))
        if "object" in types:
            self._check_object(node, path)
        if "array" in types and not isinstance(node.get("items"), dict | bool):
            raise SchemaError(path, "array schema missing items.")
        self._check_values(node, types, path)
        return 1 if "object" in types or "array" in types else 0

    def _check_reference(self, node: dict[str, Any], path: Path) -> None:
        others = sorted(keyword for keyword in node if keyword != "$ref" and not (path == () and keyword in _NESTED))
        if others:
            listed = ", ".join(repr(keyword) for keyword in others)
            raise SchemaError(path, f"$ref cannot have keywords {{{listed}}}.")
        reference = node["$ref"]
        if reference == "#":
            return
        start, _, rest = str(reference).removeprefix("#/").partition("/")
        word = rest.replace("~1", "/").replace("~0", "~")
        known = str(reference).startswith("#/") and start in _DEFINITIONS and word in self._document.get(start, {})
        if not known:
            raise SchemaError(path, "reference can only point to definitions defined at the top level of the schema.")

    def _check_object(self, node: dict[str, Any], path: Path) -> None:
        if node.get("additionalProperties") is not False:
            raise SchemaError(path, "'additionalProperties' is required to be supplied and to be false.")
        if "properties" not in node:
            raise SchemaError(path, "object schema missing properties.")
        properties = node["properties"]
        required = node.get("required", [])
        rule = "'required' is required to be supplied and to be an array including every key in properties."
        for name in properties:
            if name not in required:
                raise SchemaError(path, f"{rule} Missing '{name}'.")
        for name in required:
            if name not in properties:
                raise SchemaError(path, f"{rule} Extra required key '{name}' supplied.")
        self._properties += len(properties)
        self._characters += sum(map(len, properties))

    def _check_values(self, node: dict[str, Any], types: tuple[str, ...], path: Path) -> None:
        for keyword in _DEFINITIONS:
            self._characters += sum(map(len, node.get(keyword, ())))
        if "const" in node:
            _check_type(node["const"], "const", types, node, path)
            self._characters += len(node["const"]) if isinstance(node["const"], str) else 0
        values = node.get("enum", [])
        for value in values:
            _check_type(value, "enum", types, node, path)
        length = sum(len(value) for value in values if isinstance(value, str))
        if len(values) > MANY_ENUM_VALUES and length > MOST_ENUM_CHARACTERS:
            raise SchemaError(
                path,
                f"Expected at most {MOST_ENUM_CHARACTERS} total characters across enum values when there are more than "
                f"{MANY_ENUM_VALUES} enum values, but received {length}.",
                located=False,
            )
        self._enum_values += len(values)
        self._characters += length

    def _check_totals(self) -> None:
        reason = None
        if self._levels > MOST_LEVELS:
            reason = f"{self._levels} levels of nesting exceeds limit of {MOST_LEVELS}."
        elif self._properties > MOST_PROPERTIES:
            reason = f"{self._properties} parameters exceeds limit of {MOST_PROPERTIES}."
        elif self._enum_values > MOST_ENUM_VALUES:
            reason = (
                f"Expected at most {MOST_ENUM_VALUES} enum values in total within a single schema when using "
                f"structured outputs, but received {self._enum_values}. Consider reducing the number of enums, or use "
                "'strict: false' to opt out of structured outputs."
            )
        elif self._characters > MOST_CHARACTERS:
            reason = (
                f"Expected at most {MOST_CHARACTERS} characters in property names, definition names, enum values and "
                f"const values, but received {self._characters}."
            )
        if reason is not None:
            raise SchemaError((), reason, located=False)


def _check_value(keyword: str, value: Any, path: Path) -> None:
    """What a keyword is set to, where that does not depend on the others."""
    if keyword == "type" and not MALFORMED["type"][0](value):
        raise SchemaError(path, f"{value!r} is not a type; types are {', '.join(TYPES)}, or a list of them.")
    if keyword == "format" and value not in FORMATS:
        raise SchemaError(path, f"'{value}' is not a valid format.")
    if keyword in _DEFINITIONS and not isinstance(value, dict):
        raise SchemaError(path, f"'{keyword}' must be an object whose values are schemas.")
    if keyword in MALFORMED and keyword not in {"type", "format", "additionalProperties"}:
        test, expected = MALFORMED[keyword]
        if not test(value):
            raise SchemaError(path, f"'{keyword}' must be {expected}.")


_KINDS: Final[dict[type, tuple[str, ...]]] = {
    bool: ("boolean",),
    dict: ("object",),
    float: ("fraction", "integer"),
    int: ("integer",),
    list: ("array",),
    str: ("string",),
    type(None): ("null",),
}


def _check_type(value: Any, keyword: str, types: tuple[str, ...], node: dict[str, Any], path: Path) -> None:
    """A value of `enum` or `const` must be of the schema's own type."""
    if types and not set(types) & set(_KINDS.get(type(value), ())):
        raise SchemaError(path, f"{keyword} value {value!r} does not validate against {{'type': {node['type']!r}}}.")


def _inner(node: Any) -> Iterator[tuple[Path, Any]]:
    """The schemas directly inside one, with their keys from it."""
    for keyword in _NESTED:
        for name, inner in (node.get(keyword) or {}).items():
            yield (keyword, name), inner
    if "items" in node:
        yield ("items",), node["items"]
    for index, inner in enumerate(node.get("anyOf") or ()):
        yield ("anyOf", index), inner

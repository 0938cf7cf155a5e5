"""Values for a JSON Schema, judged by the jsonschema package; and the check of OpenAI's strict subset."""

from __future__ import annotations

import copy
import functools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from mockprovider.errors import MockProviderError
from mockprovider.schema import SchemaError, check_strict, instance

ROOT = Path(__file__).resolve().parent.parent
SEEDS = range(25)
Schema = dict[str, Any]


class Judge:
    """The jsonschema package with its formats switched on, for one schema."""

    def __init__(self, schema: Mapping[str, Any] | bool, validator: Any = Draft202012Validator) -> None:
        validator.check_schema(schema)
        self._validator = validator(schema, format_checker=validator.FORMAT_CHECKER)

    def errors(self, value: Any) -> list[str]:
        """What is wrong with the value, after it went through JSON: what a client receives is judged."""
        received = json.loads(json.dumps(value, allow_nan=False))
        return [error.message for error in self._validator.iter_errors(received)]


def values_of(schema: Mapping[str, Any] | bool, seeds: range = SEEDS) -> list[Any]:
    """A value for each seed, every one valid."""
    judge = Judge(schema)
    values = [instance(schema, random.Random(seed)) for seed in seeds]
    for value in values:
        assert judge.errors(value) == [], value
    return values


def closed(**properties: Any) -> Schema:
    """An object as the strict subset wants it."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def refused(schema: Mapping[str, Any] | bool, seed: int = 0) -> SchemaError:
    with pytest.raises(SchemaError) as raised:
        instance(schema, random.Random(seed))
    return raised.value


# ------------------------------------------------------------------------------------------------ keyword by keyword

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NODE = closed(value=WHOLE, children={"type": "array", "items": {"$ref": "#/$defs/node"}})
CHAIN = closed(value=TEXT, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})

KEYWORDS: dict[str, Mapping[str, Any] | bool] = {
    "$anchor": {"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "integer", "maximum": 3}}},
    "$id": {"$id": "Node", **closed(id=TEXT, nodes={"type": "array", "items": {"$ref": "Node"}})},
    "$id-address": {
        **closed(a={"$ref": "item"}),
        "$id": "https://example.com/",
        "$defs": {"i": {"$id": "https://example.com/item", "type": "null"}},
    },
    "$id-inside": {
        "$id": "https://example.com/root",
        **closed(a={"$ref": "item"}),
        "$defs": {"i": {"$id": "item", **closed(v={"$ref": "#/$defs/w"}), "$defs": {"w": WHOLE}}},
    },
    "$ref": {**closed(home={"$ref": "#/$defs/place"}), "$defs": {"place": closed(city=TEXT)}},
    "$ref-definitions": {**closed(home={"$ref": "#/definitions/place"}), "definitions": {"place": closed(city=TEXT)}},
    "$ref-escaped": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "boolean"}}},
    "$ref-property": closed(a={"type": "integer", "minimum": 900}, b={"$ref": "#/properties/a"}),
    "$ref-root": closed(name=TEXT, parts={"type": "array", "items": {"$ref": "#"}}),
    "$ref-siblings": {"$ref": "#/$defs/n", "minimum": 50, "$defs": {"n": {"type": "integer", "maximum": 52}}},
    "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    "additionalProperties-false": {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False},
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string", "minLength": 3}}, "required": ["a"]},
            {"properties": {"a": {"maxLength": 4}, "b": {"type": "integer"}}, "required": ["b"]},
        ]
    },
    "allOf-numbers": {"type": "number", "allOf": [{"minimum": 5}, {"maximum": 7}, {"multipleOf": 0.5}]},
    "anyOf": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
    "anyOf-beside": {"type": "string", "anyOf": [{"maxLength": 3}, {"minLength": 20}, {"type": "integer"}]},
    "anyOf-required": {
        "type": "object",
        "properties": {"a": TEXT, "b": TEXT},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "boolean": {"type": "boolean"},
    "bounds-twice": {
        "type": "integer",
        "minimum": 3,
        "exclusiveMinimum": 5,
        "exclusiveMaximum": 9,
        "maximum": 20,
        "allOf": [{"minimum": 6, "maximum": 7}],
    },
    "bounds-that-leave-one": {"type": "integer", "exclusiveMinimum": 4, "maximum": 5},
    "bounds-that-leave-one-below": {"type": "number", "minimum": 4, "exclusiveMaximum": 4.5, "multipleOf": 0.5},
    "boolean-schema": True,
    "const": {"const": {"a": [1, None, "x"]}},
    "const-null": {"const": None},
    "contains": {
        "type": "array",
        "items": {"type": "integer"},
        "contains": {"minimum": 1000},
        "minContains": 2,
        "maxContains": 3,
        "minItems": 5,
    },
    "contains-only": {"type": "array", "contains": {"const": "x"}},
    "empty": {},
    "enum": {"enum": ["a", 1, None, [2], {"b": True}]},
    "enum-float": {"type": "integer", "enum": [2.0, 2.5]},
    "enum-beside": {"type": "string", "enum": ["aaa", "b", 1], "maxLength": 1},
    "exclusiveMaximum": {"type": "integer", "minimum": 4, "exclusiveMaximum": 6},
    "exclusiveMinimum": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.01},
    "items": {"type": "array", "items": {"type": "boolean"}},
    "items-false": {"type": "array", "items": False},
    "maxItems": {"type": "array", "items": TEXT, "maxItems": 0},
    "maxLength": {"type": "string", "maxLength": 3},
    "maxLength-zero": {"type": "string", "maxLength": 0},
    "maxProperties": {"type": "object", "properties": dict.fromkeys("abcdefgh", TEXT), "maxProperties": 2},
    "maximum": {"type": "integer", "maximum": -5},
    "minItems": {"type": "array", "items": WHOLE, "minItems": 7, "maxItems": 8},
    "minLength": {"type": "string", "minLength": 400, "maxLength": 410},
    "minProperties": {"type": "object", "properties": {"a": TEXT}, "minProperties": 4},
    "minProperties-optional": {
        "type": "object",
        "properties": dict.fromkeys("abc", TEXT),
        "additionalProperties": False,
        "minProperties": 3,
    },
    "minProperties-names": {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 5},
    "minProperties-patterns": {
        "type": "object",
        "patternProperties": {"^x-[a-z]{2,4}$": WHOLE},
        "additionalProperties": False,
        "minProperties": 2,
    },
    "minimum": {"type": "integer", "minimum": 123_456},
    "minimum-large": {"type": "number", "minimum": 1e300},
    "minimum-maximum": {"type": "number", "minimum": 0.1, "maximum": 0.1},
    "minimum-whole-range": {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1},
    "missing-type": {"properties": {"a": {"minimum": 3}, "b": {"items": {"pattern": "^b$"}}}, "required": ["a", "b"]},
    "multipleOf": {"type": "integer", "multipleOf": 7, "minimum": 1000, "maximum": 1010},
    "multipleOf-fraction": {"type": "number", "multipleOf": 0.1, "exclusiveMinimum": 0, "maximum": 2},
    "multipleOf-for-integer": {"type": "integer", "multipleOf": 2.5},
    "multipleOf-hundredth": {"type": "number", "multipleOf": 0.01, "minimum": 20, "maximum": 21},
    "narrow": {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.1000000001},
    "not": {"type": "integer", "minimum": 0, "maximum": 3, "not": {"enum": [0, 1, 2]}},
    "not-at-all": {"type": "object", "properties": {"a": TEXT, "never": {"not": {}}}},
    "null": {"type": "null"},
    "number": {"type": "number"},
    "oneOf": {"oneOf": [closed(kind={"const": "a"}, x={"type": "number"}), closed(kind={"const": "b"})]},
    "oneOf-overlapping": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    "oneOf-required": {
        "type": "object",
        "properties": {"a": TEXT, "b": TEXT},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,5}$"},
    "patternProperties": {
        "type": "object",
        "properties": {"x-a": {"minimum": 10}},
        "patternProperties": {"^x-": {"type": "integer", "maximum": 12}},
        "required": ["x-a", "x-b"],
        "additionalProperties": False,
    },
    "prefixItems": {"type": "array", "prefixItems": [TEXT, WHOLE], "items": False},
    "prefixItems-more": {"type": "array", "prefixItems": [TEXT], "items": WHOLE, "minItems": 3},
    "properties": closed(a=TEXT, b=closed(c={"type": "array", "items": WHOLE})),
    "propertyNames": {"propertyNames": {"enum": ["de", "fr", "pt"]}, "additionalProperties": WHOLE, "minProperties": 3},
    "recursion-list": {**closed(head={"$ref": "#/$defs/node"}), "$defs": {"node": CHAIN}},
    "recursion-one-of": {
        "$ref": "#/$defs/term",
        "$defs": {
            "term": {
                "oneOf": [
                    {"type": "number"},
                    closed(left={"$ref": "#/$defs/term"}, right={"$ref": "#/$defs/term"}, sign={"enum": ["+", "-"]}),
                ]
            }
        },
    },
    "recursion-tree": {**closed(tree={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}},
    "type-list": {"type": ["string", "null"]},
    "type-list-with-bounds": {"type": ["integer", "array"], "minimum": 5, "maximum": 5, "minItems": 2},
    "uniqueItems": {"type": "array", "items": {"enum": [1, 2, 3, 4]}, "uniqueItems": True, "minItems": 4},
    "uniqueItems-range": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 25},
        "uniqueItems": True,
        "minItems": 25,
    },
    "uniqueItems-true-is-not-1": {"type": "array", "items": {"enum": [1, True]}, "uniqueItems": True, "minItems": 2},
    "uniqueItems-cities": closed(cities={"type": "array", "items": TEXT, "uniqueItems": True, "minItems": 15}),
    "uniqueItems-words": {"type": "array", "items": TEXT, "uniqueItems": True, "minItems": 60},
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_values_satisfy_every_keyword(name: str) -> None:
    """Whatever the dice, the value of a schema with this keyword is valid."""
    values_of(KEYWORDS[name])


def test_values_of_earlier_drafts() -> None:
    """Tuples as `items`, `additionalItems` and `#name` identifiers are understood as draft 7 means them."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"type": "string"}, {"$ref": "#whole"}],
        "additionalItems": {"type": "boolean"},
        "minItems": 4,
        "definitions": {"w": {"$id": "#whole", "type": "integer"}},
    }
    judge = Judge(schema, Draft7Validator)
    for seed in SEEDS:
        value = instance(schema, random.Random(seed))
        assert judge.errors(value) == []
        assert [type(item) for item in value[:3]] == [str, int, bool]


def test_boolean_exclusive_bounds_of_draft_4() -> None:
    """`exclusiveMinimum: true` leaves out the minimum itself, as draft 4 and OpenAPI 3.0 mean it."""
    schema = {"type": "integer", "minimum": 3, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": True}
    assert {instance(schema, random.Random(seed)) for seed in SEEDS} == {4}


# Each with a value that is wrong: the judge must be able to see the difference.
FORMATS = {
    "date": "2024-02-30",
    "date-time": "2024-02-03 10:00:00",
    "duration": "1 day",
    "email": "nobody",
    "hostname": "-a-",
    "idn-email": "nobody",
    "ipv4": "1.2.3.256",
    "ipv6": "::g",
    "json-pointer": "a/b",
    "regex": "(",
    "relative-json-pointer": "-1",
    "time": "25:00:00Z",
    "uuid": "1234",
}


@pytest.mark.parametrize("name", FORMATS)
def test_values_are_in_their_format(name: str) -> None:
    """Every format of JSON Schema is met, and the judge of it tells wrong from right."""
    schema = {"type": "string", "format": name}
    assert Judge(schema).errors(FORMATS[name]) != []
    assert len(set(values_of(schema))) > 3


@pytest.mark.parametrize("name", [*FORMATS, "iri", "uri", "uri-reference"])
def test_named_values_must_be_in_their_format_too(name: str) -> None:
    """An example or a value of an enum that is not in the format beside it is not used."""
    wrong = FORMATS.get(name, "http://a b")
    assert instance({"type": "string", "format": name, "examples": [wrong]}, random.Random(0)) != wrong
    assert refused({"type": "string", "format": name, "enum": [wrong]}).path == ("enum",)


@pytest.mark.parametrize("name", ["iri", "iri-reference", "uri", "uri-reference", "uri-template"])
def test_addresses_look_like_addresses(name: str) -> None:
    """Addresses of all kinds have no spaces, and absolute ones are at an example domain."""
    for value in values_of({"type": "string", "format": name}):
        assert re.fullmatch(r"(https://example\.(com|net|org))?/\S+", value)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("date-time", 24, 24),
        ("duration", 5, 5),
        ("email", 6, 6),
        ("email", 8, 9),
        ("email", 30, 30),
        ("email", 200, 200),
        ("hostname", 1, 3),
        ("hostname", 100, 100),
        ("ipv4", 7, 7),
        ("ipv4", 15, 15),
        ("ipv6", 2, 2),
        ("ipv6", 20, 20),
        ("ipv6", 39, 39),
        ("time", 12, 12),
        ("uri", 6, 9),
        ("uri", 300, 300),
    ],
)
def test_formats_keep_to_lengths(name: str, low: int, high: int) -> None:
    """A format and a length together are both met."""
    values_of({"type": "string", "format": name, "minLength": low, "maxLength": high})


@pytest.mark.parametrize("length", range(2, 40))
def test_addresses_of_version_6_have_every_length(length: int) -> None:
    """Of the possible lengths of an IPv6 address none is missing."""
    values_of({"type": "string", "format": "ipv6", "minLength": length, "maxLength": length}, range(10))


def test_a_format_and_a_pattern_are_both_met() -> None:
    """Libraries ask for a format and spell it out as a pattern beside; both hold."""
    uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    values_of({"type": "string", "format": "uuid", "pattern": uuid})
    values_of({"type": "string", "format": "email", "pattern": "^[a-z.]+@[a-z]+[.]test$"})
    values_of({"type": "string", "format": "date-time", "pattern": "Z$"})


def test_an_unknown_format_is_an_annotation() -> None:
    """A format that JSON Schema does not know changes nothing, as its specification says."""
    assert values_of({"type": "string", "format": "markdown", "minLength": 3})


def test_binary_content_is_base64() -> None:
    """`contentEncoding: base64` gives text that decodes."""
    import base64

    for value in values_of({"type": "string", "contentEncoding": "base64", "minLength": 21, "maxLength": 30}):
        assert base64.b64decode(value, validate=True)


PATTERNS = [
    "",
    "^$",
    "^[^]$",
    "^a[[&|~]b$",
    "^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$",
    "^@[a-zA-Z0-9_]+$",
    "[0-9]",
    "foo|bar",
    "(?i)^abc$",
    r"^(?!.*\.\.)[\w.+-]+@([a-z0-9-]+\.)+[a-z]{2,}$",
    r"^(?=.*[!@#$%]).{8,32}$",
    r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{8,}$",
    r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    r"^(?<year>\d{4})-(?<month>0[1-9]|1[0-2])$",
    r"^(\d{3})-\1$",
    r"^(a+)+$",
    r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?$",
    r"^(ab|cde)*x?$",
    r"^[^\x00-\x7F]{3}$",
    r"^\+?[1-9]\d{1,14}$",
    r"^\S+( \S+)*$",
    r"^\W\D\S\s$",
    r"^\u00e9\x41\t$",
    r"^a*+b(?>c|d)$",
    r"^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$",
    r"\bcat\b",
]


def in_python(pattern: str) -> str:
    """The pattern as Python spells it, by other means than the package's own."""
    return pattern.replace("(?<y", "(?P<y").replace("(?<m", "(?P<m").replace("[^]", r"[\s\S]").replace("[[", r"[\[")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_strings_match_their_pattern(pattern: str) -> None:
    """Strings match an ordinary regular expression, and not always with the same string where it leaves a choice."""
    for seed in SEEDS:
        value = instance({"type": "string", "pattern": pattern}, random.Random(seed))
        assert re.search(in_python(pattern), value)


@pytest.mark.parametrize(
    ("pattern", "low", "high"),
    [
        ("^[a-z]+$", 100, 100),
        ("^[a-z]+$", 5000, 6000),
        (r"^(\w+ ?)+$", 300, 300),
        ("^(ab)*(cde)*$", 7, 7),
        ("^a{2,3}(b|ccc)?$", 6, 6),
        ("[0-9]", 8, 9),
        ("^x", 12, 12),
        ("x$", 12, 12),
        ("^(.{10})*$", 45, 52),
        ("^.*$", 0, 0),
    ],
)
def test_patterns_keep_to_lengths(pattern: str, low: int, high: int) -> None:
    """A pattern and a length together are both met, exactly where there is only one way."""
    values_of({"type": "string", "pattern": pattern, "minLength": low, "maxLength": high}, range(10))


def test_two_patterns_hold_at_once() -> None:
    """Patterns from two schemas of one value are both matched."""
    schema = {"type": "string", "pattern": "^[a-z]+[0-9]+$", "allOf": [{"pattern": "^.{4,6}$"}]}
    values_of(schema)


# ---------------------------------------------------------------------------------------------- what values look like


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("arrival_city", "[A-Z][a-z]+"),
        ("country", "[A-Z][a-z]+"),
        ("createdAt", r"20\d\d-\d\d-\d\dT.*Z"),
        ("date", r"20\d\d-\d\d-\d\d"),
        ("description", r".* .*\."),
        ("email", r".+@example\.(com|net|org)"),
        ("file_path", "[^ ]*[/.].*"),
        ("firstName", "[A-Z][a-z]+"),
        ("language", "[A-Z][a-z]+"),
        ("name", "[A-Z][a-z]+ [A-Z][a-z]+"),
        ("product_name", "[a-z]+ [a-z]+"),
        ("query", "[a-z]+ .*"),
        ("title", "[A-Z].* .*"),
        ("unit", "[a-z]+"),
        ("url", "https://example.*"),
        ("userIds", "[a-z0-9]{4}"),
        ("frobnication", "[a-z]+( [a-z]+)+"),
    ],
)
def test_strings_read_like_what_their_property_is_called(name: str, expression: str) -> None:
    """Where the schema leaves a string open, the property's name says what it is."""
    for value in values_of(closed(**{name: TEXT})):
        assert re.fullmatch(expression, value[name]), value


def test_numbers_are_of_an_everyday_size() -> None:
    """Where the schema leaves a number open it is small and round, and fits its name."""
    schema = closed(count=WHOLE, price={"type": "number"}, year=WHOLE, latitude={"type": "number"})
    for value in values_of(schema):
        assert 1 <= value["count"] <= 100
        assert round(value["price"], 2) == value["price"]
        assert 1990 <= value["year"] <= 2025
        assert -60 <= value["latitude"] <= 70


def test_names_give_way_to_constraints() -> None:
    """A value that the name suggests is not used where a bound, length or pattern forbids it."""
    schema = closed(
        city={"type": "string", "maxLength": 2},
        year={"type": "integer", "maximum": 1500},
        email={"type": "string", "pattern": "^none$"},
    )
    values_of(schema)


def test_optional_members_are_sometimes_there() -> None:
    """Required members always come, optional ones come and stay away, and the order is the schema's."""
    schema = {"type": "object", "properties": {"a": TEXT, "b": TEXT, "c": TEXT}, "required": ["c", "d"]}
    seen = {tuple(value) for value in values_of(schema)}
    assert seen == {("a", "b", "c", "d"), ("a", "c", "d"), ("b", "c", "d"), ("c", "d")}


def test_examples_come_before_defaults() -> None:
    """A valid example is taken, else a default that says something; an invalid one never."""
    assert set(values_of({"type": "string", "examples": ["one", "two"], "default": "three"})) == {"one", "two"}
    assert set(values_of({"type": "integer", "examples": ["one"], "default": 3})) == {3}
    assert None not in values_of({"type": ["string", "null"], "default": None, "minLength": 3}, range(3))
    assert values_of({"type": "string", "maxLength": 3, "examples": ["long"], "default": "longer"})


def test_a_value_shares_nothing_with_the_schema() -> None:
    """Changing a value changes neither the schema it was made from nor another part of the value."""
    schema = {"enum": [{"a": [1]}]}
    before = copy.deepcopy(schema)
    instance(schema, random.Random(0))["a"].append(2)
    assert schema == before
    one, other = instance({"type": "array", "items": schema, "minItems": 2, "maxItems": 2}, random.Random(0))
    one["a"].append(2)
    assert other == {"a": [1]}


# ---------------------------------------------------------------------------------------- recursion, size and effort


def size_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size_of, inner))


def test_wide_mutual_recursion_stays_small() -> None:
    """Twelve schemas that refer to each other from every branch give a value of hundreds of parts, not of millions."""
    schema = {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{i}": closed(
                **{
                    name: {"anyOf": [*[{"$ref": f"#/$defs/d{j}"} for j in range(12)], {"type": "null"}]}
                    for name in "abcdef"
                }
            )
            for i in range(12)
        },
    }
    assert max(size_of(value) for value in values_of(schema, range(5))) < 2000


def test_doubling_references_are_cut_short_where_they_may_be() -> None:
    """Forty levels that double each time are left out when optional, and refused before the work when required."""
    levels = {
        f"d{i}": {
            "type": "object",
            "properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}, "b": {"$ref": f"#/$defs/d{i + 1}"}},
        }
        for i in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**levels, "d40": TEXT}}
    assert max(size_of(value) for value in values_of(schema, range(5))) < 2000
    required = {name: {**level, "required": ["a", "b"]} for name, level in levels.items()}
    assert "smallest value" in refused({"$ref": "#/$defs/d0", "$defs": {**required, "d40": TEXT}}).reason


def test_the_shortest_way_out_is_found() -> None:
    """Where only one of the branches ever ends, recursion ends with it, however it is reached."""
    schema = {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": closed(x={"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}),
            "b": closed(y={"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/c"}, {"$ref": "#/$defs/dead"}]}),
            "c": closed(z={"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 0}),
            "dead": closed(w={"$ref": "#/$defs/dead"}),
        },
    }
    values_of(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"type": "integer"}]},
        {"oneOf": [{"type": "integer"}, {"allOf": [{"$ref": "#"}]}]},
        {"not": {"$ref": "#"}},
        closed(a={"$ref": "#/properties/b"}, b={"$ref": "#/properties/a"}),
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}},
            "$defs": {"a": {"$ref": "#/$defs/a"}},
        },
    ],
)
def test_loops_around_one_value_are_refused(schema: Schema) -> None:
    """A schema that refers to itself for the same value, wherever it is, has no meaning."""
    assert "comes back to itself" in refused(schema).reason


def test_a_schema_may_hold_twice_for_one_value() -> None:
    """Coming to a schema by two ways is no loop."""
    schema = {
        "allOf": [{"$ref": "#/$defs/a"}, {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}, {"$ref": "#/$defs/b"}],
        "$defs": {"a": {"type": "integer", "minimum": 7}, "b": {"$ref": "#/$defs/a", "maximum": 9}},
    }
    assert {*values_of(schema)} == {7, 8, 9}


@pytest.mark.parametrize(
    "schema",
    [
        closed(a={"$ref": "#"}),
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"anyOf": [closed(a={"$ref": "#"}), False]},
    ],
)
def test_recursion_without_an_end_is_refused(schema: Schema) -> None:
    """A schema whose every value would be infinite has none."""
    assert "no value that ends" in refused(schema).reason


def test_ten_thousand_items_are_made_and_no_more() -> None:
    """A large minItems is met up to the limit, and refused beyond it at its place."""
    (value,) = values_of(closed(a={"type": "array", "items": {"const": 1}, "minItems": 10_000}), range(1))
    assert len(value["a"]) == 10_000
    error = refused(closed(a={"type": "array", "items": {"const": 1}, "minItems": 10_001}))
    assert error.path == ("properties", "a", "minItems")
    assert "200000" in refused({"type": "array", "items": {"type": "array", "minItems": 1000}, "minItems": 1000}).reason


def test_deep_nesting_is_followed_or_refused() -> None:
    """Seventy levels are made; a thousand are refused, not a crash."""
    schema: Schema = TEXT
    for _ in range(70):
        schema = closed(a=schema)
    instance(schema, random.Random(0))
    for _ in range(930):
        schema = closed(a=schema)
    refused(schema)
    with pytest.raises(SchemaError):
        check_strict(schema, name="deep")


def test_a_branch_that_fits_is_found_among_many_that_do_not() -> None:
    """Branches at odds with what stands beside them are tried and left."""
    wrong = [{"properties": {"k": {"type": "string"}}} for _ in range(100)]
    schema = {
        "type": "object",
        "properties": {"k": {"type": "boolean"}},
        "required": ["k"],
        "anyOf": [*wrong, {"properties": {"k": {"const": True}}}],
    }
    assert values_of(schema, range(5)) == [{"k": True}] * 5


# ------------------------------------------------------------------------------------------------------- determinism

PINNED = {"city": "Kyoto", "days": 5, "unit": "c"}
SAMPLE = {
    **closed(
        city=TEXT,
        tags={"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True},
        price={"type": "number", "minimum": 0, "maximum": 10},
        when={"type": "string", "format": "date-time"},
        code={"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
        tree={"$ref": "#/$defs/node"},
        list={"$ref": "#/$defs/chain"},
        maybe={"type": ["null", "integer"]},
    ),
    "$defs": {"node": NODE, "chain": closed(next={"anyOf": [{"type": "null"}, {"$ref": "#/$defs/chain"}]})},
}


def test_the_same_state_gives_the_same_value() -> None:
    """The same schema and generator state give the same value; another state gives another."""
    one, other = (instance(SAMPLE, random.Random(7)) for _ in range(2))
    assert json.dumps(one) == json.dumps(other)
    assert len({json.dumps(instance(SAMPLE, random.Random(seed))) for seed in range(20)}) == 20


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_value_does_not_depend_on_the_order_of_sets(hash_seed: str) -> None:
    """A process with other string hashes makes the same value."""
    program = (
        "import json, random, sys; from mockprovider.schema import instance; "
        "print(json.dumps([instance(json.loads(sys.argv[1]), random.Random(seed)) for seed in range(20)]))"
    )
    command = [sys.executable, "-c", program, json.dumps(SAMPLE)]
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == [instance(SAMPLE, random.Random(seed)) for seed in range(20)]


def test_a_value_stays_as_it_is_within_a_version() -> None:
    """A known seed gives a known value: a change of this one changes everybody's."""
    schema = closed(city=TEXT, days={"type": "integer", "minimum": 1, "maximum": 7}, unit={"enum": ["c", "f"]})
    assert instance(schema, random.Random(1)) == PINNED


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("schema", "path", "reason"),
    [
        (False, (), "Nothing is allowed here."),
        (closed(a=False), ("properties", "a"), "no value|Nothing"),
        (closed(a={"type": "integer", "minimum": 3, "maximum": 2}), ("properties", "a", "minimum"), "No integer"),
        (
            closed(a={"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 13}),
            ("properties", "a", "multipleOf"),
            "No",
        ),
        (closed(a={"type": "string", "minLength": 3, "maxLength": 2}), ("properties", "a", "minLength"), "cannot have"),
        ({"type": "string", "minLength": 200_000}, ("minLength",), "more than the 100000"),
        ({"type": "string", "pattern": "["}, ("pattern",), "not understood"),
        ({"type": "string", "pattern": r"^\p{L}+$"}, ("pattern",), "not understood"),
        ({"type": "string", "pattern": "^(?=b)a"}, ("pattern",), "No string"),
        ({"type": "string", "pattern": "^[a-z]{3}$", "minLength": 4}, ("pattern",), "of at least 4 characters"),
        ({"type": "string", "format": "uuid", "maxLength": 10}, ("maxLength",), "format uuid"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, ("maxItems",), "cannot have"),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3}, ("items",), "differs"),
        ({"type": "array", "items": False, "minItems": 1}, ("items",), "no value|Nothing"),
        ({"type": "array", "contains": False}, ("contains",), "no value|Nothing"),
        ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, ("maxProperties",), "More than 1"),
        ({"additionalProperties": False, "minProperties": 1}, ("additionalProperties",), "No further member"),
        ({"enum": ["aa", "b"], "minLength": 3}, ("enum",), "No value of this 'enum'"),
        ({"const": 3, "type": "string"}, ("const",), "No value of this 'const'"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, ("allOf", 0, "type"), "No type"),
        ({"type": "string", "anyOf": [{"type": "integer"}, {"type": "null"}]}, ("anyOf",), "No branch"),
        ({"oneOf": [{"type": "integer"}, {"type": "integer"}]}, ("oneOf",), "No value was found"),
        ({"type": "boolean", "not": {"enum": [True, False]}}, ("not",), "No value was found"),
    ],
)
def test_what_cannot_be_satisfied_is_refused_at_its_place(
    schema: Schema | bool, path: tuple[str | int, ...], reason: str
) -> None:
    """A schema without values raises an error that names the place and says why."""
    error = refused(schema)
    assert error.path == path
    assert re.search(reason, error.reason)
    assert error.reason.endswith(".")
    assert isinstance(error, MockProviderError)


@pytest.mark.parametrize(
    "keyword",
    [
        "$dynamicRef",
        "$recursiveRef",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ],
)
def test_unsupported_keywords_are_refused_wherever_they_are(keyword: str) -> None:
    """An assertion that is not generated for is refused by every seed, even in a member that may stay away."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {keyword: {}}}}}
    for seed in SEEDS:
        error = refused(schema, seed)
        assert error.path == ("properties", "a", "items", keyword)
        assert "not supported" in error.reason


def test_words_that_no_draft_knows_are_annotations() -> None:
    """Vendor keywords change nothing, and a property may be called like a keyword."""
    values_of({"type": "object", "x-order": 3, "propertyOrdering": ["a"], "properties": {"if": TEXT, "$ref": TEXT}})


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("$ref", 3),
        ("additionalProperties", "no"),
        ("allOf", []),
        ("anyOf", {}),
        ("enum", []),
        ("items", 3),
        ("maxLength", -1),
        ("minItems", 1.5),
        ("minimum", "3"),
        ("minimum", True),
        ("multipleOf", 0),
        ("not", []),
        ("pattern", 3),
        ("properties", []),
        ("properties", {"a": 3}),
        ("required", True),
        ("required", "a"),
        ("type", "text"),
        ("type", []),
        ("uniqueItems", 1),
    ],
)
def test_malformed_keywords_are_refused_at_their_place(keyword: str, value: Any) -> None:
    """What a keyword may not be set to is named, with where it stands."""
    error = refused({"type": "object", "properties": {"a": {keyword: value}}})
    assert error.path == ("properties", "a", keyword)
    assert keyword in error.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x"])
def test_what_is_not_json_is_refused(value: Any) -> None:
    """Numbers without a value and objects of Python's own are no schema."""
    assert refused({"type": "number", "minimum": value}).path == ("minimum",)


@pytest.mark.parametrize(
    "reference", ["#/$defs/none", "#/required/0", "#/required/7", "#none", "https://example.com/x", "other.json#/a"]
)
def test_references_to_nothing_are_refused(reference: str) -> None:
    """A reference that leads to no schema, or out of this one, is named."""
    error = refused({**closed(a={"$ref": reference}), "$defs": {"x": TEXT}})
    assert error.path == ("properties", "a", "$ref")
    assert reference in error.reason


# ------------------------------------------------------------------------------------------------- the strict subset

STRICT = {
    **closed(
        name={"type": "string", "description": "any", "title": "Name", "minLength": 1, "maxLength": 9},
        handle={"type": "string", "pattern": "^@[a-z]+$"},
        mail={"type": ["string", "null"], "format": "email"},
        unit={"type": "string", "enum": ["c", "f"]},
        kind={"type": "string", "const": "x"},
        amount={"type": "number", "minimum": 0, "exclusiveMaximum": 9, "multipleOf": 0.5, "default": 1},
        rows={"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 1, "maxItems": 3},
        either={"anyOf": [closed(a=TEXT), {"$ref": "#/definitions/word"}, {"$ref": "#"}, {"type": "null"}]},
        nothing=closed(),
    ),
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"node": CHAIN},
    "definitions": {"word": {"type": "string"}},
}


NOT_PERMITTED = (
    "allOf",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxProperties",
    "minProperties",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedProperties",
    "uniqueItems",
)


def complaint(schema: Any) -> SchemaError:
    with pytest.raises(SchemaError) as raised:
        check_strict(schema, name="weather")
    assert raised.value.name == "weather"
    return raised.value


def test_the_strict_subset_is_accepted() -> None:
    """All that the guide lists as supported passes the check, and has values."""
    check_strict(STRICT, name="all")
    values_of(STRICT)


def test_a_refusal_reads_as_the_api_words_it() -> None:
    """An error is what the API writes after `Invalid schema for response_format 'NAME': `."""
    open_object = {"type": "object", "properties": {}, "required": []}
    assert str(complaint(open_object)) == (
        "In context=(), 'additionalProperties' is required to be supplied and to be false."
    )
    assert str(complaint(closed(rows={"type": "array", "items": {**closed(a=TEXT), "required": []}}))) == (
        "In context=('properties', 'rows', 'items'), 'required' is required to be supplied and to be an array "
        "including every key in properties. Missing 'a'."
    )
    assert str(complaint(closed(u={"anyOf": [{"type": "null"}, {"type": "string", "format": "uri"}]}))) == (
        "In context=('properties', 'u', 'anyOf', '1'), 'uri' is not a valid format."
    )
    assert str(complaint({"anyOf": [closed()]})) == (
        """schema must be a JSON Schema of 'type: "object"', got 'type: "None"'."""
    )


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        ({}, "schema must have a 'type' key."),
        (True, "schema must have a 'type' key."),
        ({"const": "x"}, "schema must have a 'type' key."),
        ({"enum": ["x"]}, "schema must have a 'type' key."),
        ({"type": "text"}, "'text' is not a type"),
        ({"type": "array"}, "array schema missing items."),
        ({"type": "object", "additionalProperties": False}, "object schema missing properties."),
        ({"type": ["object", "null"], "properties": {}}, "'additionalProperties' is required"),
        ({**closed(a=TEXT), "additionalProperties": True}, "'additionalProperties' is required"),
        ({**closed(a=TEXT), "additionalProperties": {"type": "string"}}, "'additionalProperties' is required"),
        ({**closed(a=TEXT), "required": ["a", "b"]}, "Extra required key 'b' supplied."),
        ({**closed(a=TEXT), "required": "a"}, "'required' must be a list of strings."),
        ({"type": "string", "format": "phone"}, "'phone' is not a valid format."),
        ({"type": "string", "minLength": "3"}, "'minLength' must be"),
        ({"type": "string", "enum": ["a", 3]}, "enum value 3 does not validate against {'type': 'string'}."),
        ({"type": "string", "const": None}, "const value None does not validate against {'type': 'string'}."),
        ({"type": "string", "not": {"const": "x"}}, "Unsupported keywords ('not',)."),
        ({"$ref": "#/$defs/word", "description": "d"}, "$ref cannot have keywords {'description'}."),
        ({"$ref": "#/$defs/none"}, "reference can only point to definitions defined at the top level"),
        ({"$ref": "#/properties/inner"}, "reference can only point to definitions defined at the top level"),
        *[({"type": "string", keyword: {}}, f"'{keyword}' is not permitted.") for keyword in NOT_PERMITTED],
    ],
)
def test_strict_refuses_at_the_place(inner: Any, reason: str) -> None:
    """What the strict subset leaves out is refused with its place, in properties, items, branches and definitions."""
    word = {"word": TEXT}
    for schema, path in [
        (closed(inner=inner), ("properties", "inner")),
        (closed(a={"type": "array", "items": inner}), ("properties", "a", "items")),
        (closed(a={"anyOf": [TEXT, inner]}), ("properties", "a", "anyOf", 1)),
        ({**closed(a=TEXT), "$defs": {"inner": inner}}, ("$defs", "inner")),
    ]:
        error = complaint({**schema, "$defs": {**schema.get("$defs", {}), **word}})
        assert (error.path, reason in error.reason) == (path, True), error


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "enum", "not", "oneOf"])
def test_strict_wants_a_plain_object_at_the_root(keyword: str) -> None:
    """The root may be neither a union nor anything but an object, even when it says that it is one."""
    assert f"Found '{keyword}'." in complaint({**closed(a=TEXT), keyword: [closed(a=TEXT)]}).reason
    assert "got 'type: \"array\"'" in complaint({"type": "array", "items": TEXT}).reason
    assert "got 'type: \"None\"'" in complaint({"$ref": "#/$defs/a", "$defs": {"a": closed()}}).reason


def nested(levels: int) -> Schema:
    """Objects and arrays in turn, so many around each other."""
    schema: Schema = TEXT
    for level in range(levels):
        schema = {"type": "array", "items": schema} if level % 2 else closed(a=schema)
    return schema if schema["type"] == "object" else closed(a=schema["items"])


@pytest.mark.parametrize(
    ("most", "beyond", "reason"),
    [
        (nested(10), nested(11), "11 levels of nesting exceeds limit of 10."),
        (closed(a=nested(9)), closed(a=closed(b=nested(9))), "11 levels of nesting exceeds limit of 10."),
        (
            {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": nested(10)}},
            {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": nested(11)}},
            "11 levels of nesting exceeds limit of 10.",
        ),
        (
            closed(**{f"p{i}": TEXT for i in range(5000)}),
            closed(a=closed(**{f"p{i}": TEXT for i in range(5000)})),
            "5001 parameters exceeds limit of 5000.",
        ),
        (
            closed(a={"type": "integer", "enum": [*range(1000)]}),
            closed(a={"type": "integer", "enum": [*range(1000)]}, b={"type": "integer", "enum": [1]}),
            "Expected at most 1000 enum values in total within a single schema when using structured outputs, but",
        ),
        (
            closed(a={"type": "string", "enum": ["x" * 99] * 250}),
            closed(a={"type": "string", "enum": ["x" * 60] * 251}),
            "Expected at most 15000 total characters across enum values when there are more than 250 enum values, but",
        ),
        (
            {**closed(**{"x" * 119_998: {"type": "string", "const": "a"}}), "$defs": {"b": TEXT}},
            {**closed(**{"x" * 119_999: {"type": "string", "const": "a"}}), "$defs": {"b": TEXT}},
            "Expected at most 120000 characters",
        ),
    ],
    ids=["levels", "levels-below", "levels-defined", "properties", "enum-values", "enum-characters", "characters"],
)
def test_strict_limits_of_size(most: Schema, beyond: Schema, reason: str) -> None:
    """What is exactly at a limit passes; one more is refused, for the schema as a whole."""
    check_strict(most, name="most")
    assert str(complaint(beyond)).startswith(reason)


# ------------------------------------------------------------------------------------------------------- properties


def bounds_of(draw: Callable[..., Any], low: str, high: str, most: int) -> Schema:
    """None, one or both of a lower and an upper bound of a count."""
    found: Schema = {}
    if draw(st.booleans()):
        found[low] = draw(st.integers(0, most))
    if draw(st.booleans()):
        found[high] = draw(st.integers(found.get(low, 0), most + 3))
    return found


@st.composite
def texts(draw: Callable[..., Any]) -> Schema:
    kind = draw(st.sampled_from(["plain", "format", "pattern"]))
    if kind == "plain":
        return {"type": "string", **bounds_of(draw, "minLength", "maxLength", 40)}
    if kind == "format":
        names = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
        return {"type": "string", "format": draw(st.sampled_from(names))}
    return {"type": "string", "pattern": in_python(draw(st.sampled_from(PATTERNS)))}


@st.composite
def amounts(draw: Callable[..., Any]) -> Schema:
    kind = draw(st.sampled_from(["integer", "number"]))
    found: Schema = {"type": kind}
    step = draw(st.sampled_from([None, 1, 2, 7, 0.5, 0.25, 2.5, 0.1, 0.01]))
    if step is not None:
        found["multipleOf"] = step
    low = draw(st.one_of(st.integers(-(10**9), 10**9), st.decimals(-1000, 1000, places=3).map(float)))
    # Room enough for a multiple, of both kinds; without one, room for a number at all.
    room = draw(st.integers(0, 50)) + (max(step, 1) * 10 if step else 0)
    if kind == "integer":
        room += 2
    if draw(st.booleans()):
        found["exclusiveMinimum" if room and draw(st.booleans()) else "minimum"] = low
    if draw(st.booleans()):
        found["exclusiveMaximum" if room and draw(st.booleans()) else "maximum"] = low + room
    return found


def choices() -> st.SearchStrategy[Schema]:
    words = st.lists(st.text("abc", max_size=3), min_size=1, max_size=5)
    return st.one_of(
        words.map(lambda values: {"type": "string", "enum": values}),
        st.lists(st.integers(-5, 5), min_size=1).map(lambda values: {"type": "integer", "enum": values}),
        words.map(lambda values: {"type": "string", "const": values[0]}),
        st.just({"type": ["string", "null"], "enum": ["a", None]}),
    )


@functools.cache
def nodes(depth: int) -> st.SearchStrategy[Schema]:
    """Schemas of the strict subset. They refer to three definitions only where there is a way around."""
    simple = st.one_of(
        texts(),
        amounts(),
        choices(),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["integer", "null"]}]),
    )
    if depth == 0:
        return simple
    reference = st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/definitions/c"]).map(lambda to: {"$ref": to})
    inner = nodes(depth - 1)
    names = st.sampled_from(["city", "price", "items", "note", "x", "$ref", "type"])
    return st.one_of(
        simple,
        st.dictionaries(names, inner, max_size=4).map(lambda properties: closed(**properties)),
        st.tuples(reference, st.integers(0, 3)).map(lambda of: {"type": "array", "items": of[0], "maxItems": of[1]}),
        st.tuples(inner, st.integers(0, 4)).map(lambda of: {"type": "array", "items": of[0], "minItems": of[1]}),
        st.tuples(st.lists(reference, max_size=3), simple).map(lambda of: {"anyOf": [*of[0], of[1]]}),
        st.lists(inner, min_size=1, max_size=4).map(lambda branches: {"anyOf": branches}),
    )


@st.composite
def strict_schemas(draw: Callable[..., Any]) -> Schema:
    names = st.sampled_from(["city", "email", "count", "rows", "next", "when"])
    return {
        **closed(**draw(st.dictionaries(names, nodes(3), max_size=5))),
        # Not the nodes themselves: a union could then come back to itself for the same value.
        "$defs": {"a": closed(a=draw(nodes(2))), "b": {"type": "array", "items": draw(nodes(2))}},
        "definitions": {"c": closed(c=draw(nodes(1)), d=draw(nodes(1)))},
    }


@settings(max_examples=200, deadline=None)
@given(strict_schemas(), st.integers(0, 2**32))
def test_every_strict_schema_has_a_valid_value(schema: Schema, seed: int) -> None:
    """For schemas of the strict subset with a value there is always one, it is valid, and the same the next time."""
    check_strict(schema, name="any")
    value = instance(schema, random.Random(seed))
    assert value == instance(copy.deepcopy(schema), random.Random(seed))
    assert Judge(schema).errors(value) == []


def loose_nodes() -> st.SearchStrategy[Any]:
    """Schemas that also use what the strict subset leaves out, often at odds with themselves."""

    def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        names = st.sampled_from(["a", "b", "name"])
        some = st.lists(inner, min_size=1, max_size=3)
        keywords = {
            "type": st.sampled_from(["object", "array", "string", ["integer", "null"], ["object", "string"]]),
            "properties": st.dictionaries(names, inner, max_size=3),
            "required": st.lists(names, max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "m"]), inner, max_size=2),
            "minProperties": st.integers(0, 3),
            "maxProperties": st.integers(0, 3),
            "items": inner,
            "prefixItems": some,
            "contains": inner,
            "uniqueItems": st.booleans(),
            "minItems": st.integers(0, 3),
            "maxItems": st.integers(0, 3),
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": inner,
            "$ref": st.sampled_from(["#", "#/$defs/d"]),
        }
        chosen = st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True)
        return chosen.flatmap(lambda words: st.fixed_dictionaries({word: keywords[word] for word in words}))

    simple = st.one_of(
        texts(), amounts(), choices(), st.booleans(), st.sampled_from([{"type": "null"}, {"const": {"a": 1}}])
    )
    return st.recursive(simple, around, max_leaves=8)


@settings(max_examples=400, deadline=None)
@given(loose_nodes(), loose_nodes(), st.integers(0, 2**32))
def test_no_schema_gives_a_wrong_value(schema: Any, definition: Any, seed: int) -> None:
    """For any schema there is a valid value or a SchemaError with a place that exists, never a wrong value."""
    document: Any = {**schema, "$defs": {"d": definition}} if isinstance(schema, dict) else schema
    try:
        value = instance(document, random.Random(seed))
    except SchemaError as error:
        place = document
        for key in error.path:
            place = place[key]
        return
    assert Judge(document).errors(value) == []


@st.composite
def expressions(draw: Callable[..., Any]) -> str:
    """Regular expressions of the common constructs."""
    atom = st.sampled_from(["a", r"\d", r"\w", "[a-f]", "[^x]", ".", "(ab|c)", r"\.", r"\s", "(?:x|yz)", "é"])
    count = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])
    piece = st.tuples(atom, count).map("".join)
    branch = st.lists(piece, min_size=1, max_size=4).map("".join)
    body = draw(st.one_of(branch, st.lists(branch, min_size=2, max_size=3).map(lambda found: f"({'|'.join(found)})")))
    return f"{draw(st.sampled_from(['', '^']))}{body}{draw(st.sampled_from(['', '$']))}"


@settings(max_examples=300, deadline=None)
@given(expressions(), st.integers(0, 30), st.integers(0, 2**32))
def test_any_common_expression_is_matched(pattern: str, low: int, seed: int) -> None:
    """A string is made for every ordinary regular expression, and with a length wherever one is possible."""
    assert re.search(pattern, instance({"type": "string", "pattern": pattern}, random.Random(seed)))
    try:
        value = instance({"type": "string", "pattern": pattern, "minLength": low}, random.Random(seed))
    except SchemaError:
        assert pattern.endswith("$")  # what is open at an end can always be made longer
        return
    assert re.search(pattern, value)
    assert len(value) >= low

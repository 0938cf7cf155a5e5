"""Whether a value satisfies a schema: the judge of everything that is drawn without a guarantee.

It knows exactly the keywords that `outline.py` lets through. `format` is asserted for the formats of draft 2020-12;
`multipleOf` is judged in decimal, as the numbers are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .formats import fits
from .keywords import atoms
from .numbers import exact
from .outline import Outline, Place, member_schemas, rows
from .pattern import matches

__all__ = ["Validator", "fingerprint", "same"]


def fingerprint(value: Any) -> Any:
    """Something hashable that is equal for equal JSON values: 1 is 1.0, but not true; member order says nothing."""
    if isinstance(value, bool) or value is None:
        return (type(value), value)
    if isinstance(value, dict):
        return (dict, frozenset((key, fingerprint(each)) for key, each in value.items()))
    if isinstance(value, list):
        return (list, *[fingerprint(each) for each in value])
    return value


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values."""
    return bool(fingerprint(one) == fingerprint(other))


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "fraction"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class Validator:
    """Judges values against places of one outline. Raises SchemaError only for a pattern that is not understood."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline

    def valid(self, places: Sequence[Place], value: Any) -> bool:
        """Whether the value satisfies all of these schemas."""
        verdicts: dict[tuple[int, int], bool] = {}  # by the ids of schema and value; both live as long as this call
        return all(self._judge(place, value, verdicts) for place in places)

    def _judge(self, place: Place, value: Any, verdicts: dict[tuple[int, int], bool]) -> bool:
        if isinstance(place.node, bool):
            return place.node
        key = (id(place.node), id(value))
        if key not in verdicts:
            verdicts[key] = self._decide(place, place.node, value, verdicts)
        return verdicts[key]

    def _decide(self, place: Place, node: dict[str, Any], value: Any, verdicts: dict[tuple[int, int], bool]) -> bool:
        kind = _kind(value)
        if "type" in node and kind not in atoms(node["type"]):
            return False
        if "const" in node and not same(node["const"], value):
            return False
        if "enum" in node and not any(same(each, value) for each in node["enum"]):
            return False
        if kind == "string" and not _text(place, node, value):
            return False
        if kind in {"integer", "fraction"} and not _number(node, value):
            return False
        if kind == "object" and not self._object(place, node, value, verdicts):
            return False
        if kind == "array" and not self._array(place, node, value, verdicts):
            return False
        return self._combined(place, node, value, verdicts)

    def _combined(self, place: Place, node: dict[str, Any], value: Any, verdicts: dict[tuple[int, int], bool]) -> bool:
        if "$ref" in node and not self._judge(self._outline.targets[id(node)], value, verdicts):
            return False
        if "not" in node and self._judge(place.down("not"), value, verdicts):
            return False

        def count(keyword: str) -> int:
            return sum(self._judge(place.down(keyword, i), value, verdicts) for i in range(len(node[keyword])))

        if "allOf" in node and count("allOf") < len(node["allOf"]):
            return False
        if "oneOf" in node and count("oneOf") != 1:
            return False
        return "anyOf" not in node or any(
            self._judge(place.down("anyOf", i), value, verdicts) for i in range(len(node["anyOf"]))
        )

    def _object(
        self,
        place: Place,
        node: dict[str, Any],
        value: dict[str, Any],
        verdicts: dict[tuple[int, int], bool],
    ) -> bool:
        if not node.get("minProperties", 0) <= len(value) <= node.get("maxProperties", len(value)):
            return False
        if any(name not in value for name in node.get("required", ())):
            return False
        if "propertyNames" in node:
            names = place.down("propertyNames")
            if not all(self._judge(names, name, verdicts) for name in value):
                return False
        return all(
            self._judge(schema, value[name], verdicts) for name in value for schema in member_schemas(place, name)
        )

    def _array(
        self, place: Place, node: dict[str, Any], value: list[Any], verdicts: dict[tuple[int, int], bool]
    ) -> bool:
        if not node.get("minItems", 0) <= len(value) <= node.get("maxItems", len(value)):
            return False
        if node.get("uniqueItems") and len({fingerprint(item) for item in value}) < len(value):
            return False
        first, others = rows(place)
        for index, item in enumerate(value):
            schema = first[index] if index < len(first) else others
            if schema is not None and not self._judge(schema, item, verdicts):
                return False
        if "contains" not in node:
            return True
        wanted = place.down("contains")
        count = sum(self._judge(wanted, item, verdicts) for item in value)
        return bool(node.get("minContains", 1) <= count <= node.get("maxContains", count))


def _text(place: Place, node: dict[str, Any], value: str) -> bool:
    if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value)):
        return False
    if "pattern" in node and not matches(node["pattern"], value, (*place.path, "pattern")):
        return False
    return "format" not in node or fits(node["format"], value)


def _number(node: dict[str, Any], value: int | float) -> bool:
    low, high = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    # Draft 4 has the exclusive bounds as booleans that change the others.
    if "minimum" in node and (value <= node["minimum"] if low is True else value < node["minimum"]):
        return False
    if "maximum" in node and (value >= node["maximum"] if high is True else value > node["maximum"]):
        return False
    if low is not None and not isinstance(low, bool) and value <= low:
        return False
    if high is not None and not isinstance(high, bool) and value >= high:
        return False
    return "multipleOf" not in node or (exact(value) / exact(node["multipleOf"])).denominator == 1

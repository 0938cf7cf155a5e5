"""A survey of a schema, made once before anything is drawn.

It refuses what is malformed, not supported, or a loop, wherever it is within reach and whether or not the dice would
lead there: a schema is either supported or not. It resolves every reference, and finds the size of the smallest value
of every schema (the number of JSON values in it), which is how recursion is left by the shortest way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urljoin

from .error import Path, SchemaError
from .keywords import INFERRED, MALFORMED, MAPS, ONES, SEVERAL, UNSUPPORTED, atoms
from .pattern import matches

__all__ = ["MOST_ITEMS", "MOST_VALUES", "NEVER", "Node", "Outline", "Place", "member_schemas", "plain", "rows"]

Node = dict[str, Any] | bool

NEVER: Final = float("inf")
MOST_ITEMS: Final = 10_000
"""More items than this are not made for one array, whatever its minItems."""
MOST_VALUES: Final = 200_000
"""More JSON values than this are not made for one schema."""


class Place(NamedTuple):
    """A schema and where it is. base: the schema that `#` means there, and where that one is."""

    node: Node
    path: Path
    base: tuple[Node, Path]

    def down(self, *keys: str | int) -> Place:
        """The schema at these keys inside this one."""
        node: Any = self.node
        path, base = self.path, self.base
        for key in keys:
            node = node[key]
            path = (*path, key)
            if _identifier(node):
                base = (node, path)
        return Place(node, path, base)


def _identifier(node: object) -> str | None:
    """The `$id` of an embedded schema resource; `#name` is only an anchor (draft 7)."""
    identifier = node.get("$id") if isinstance(node, dict) else None
    return identifier if isinstance(identifier, str) and not identifier.startswith("#") else None


def plain(value: Any, path: Path = (), seen: dict[int, Any] | None = None) -> Any:
    """The same JSON document made of dicts and lists, so that it cannot change or come up anew while it is used.

    Raises SchemaError for what is not JSON.
    """
    seen = {} if seen is None else seen
    if isinstance(value, Mapping):
        if id(value) not in seen:
            seen[id(value)] = {str(key): plain(each, (*path, str(key)), seen) for key, each in value.items()}
        return seen[id(value)]
    if isinstance(value, list | tuple):
        if id(value) not in seen:
            seen[id(value)] = [plain(each, (*path, index), seen) for index, each in enumerate(value)]
        return seen[id(value)]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise SchemaError(path, f"{_short(value)} is not JSON.")


def rows(place: Place) -> tuple[list[Place], Place | None]:
    """The schemas of an array's first items, and that of all others, in the spelling of any draft."""
    node = place.node
    assert isinstance(node, dict)
    if isinstance(node.get("items"), list):
        first = [place.down("items", index) for index in range(len(node["items"]))]
        return first, place.down("additionalItems") if "additionalItems" in node else None
    first = [place.down("prefixItems", index) for index in range(len(node.get("prefixItems", ())))]
    return first, place.down("items") if "items" in node else None


def member_schemas(place: Place, name: str) -> list[Place]:
    """The schemas that this object schema has for the value of one member."""
    node = place.node
    assert isinstance(node, dict)
    found = [place.down("properties", name)] if name in node.get("properties", ()) else []
    found += [
        place.down("patternProperties", pattern)
        for pattern in node.get("patternProperties", ())
        if matches(pattern, name, (*place.path, "patternProperties", pattern))
    ]
    if not found and "additionalProperties" in node:
        found.append(place.down("additionalProperties"))
    return found


class Outline:
    """What is known of a schema before a value is drawn. Raises SchemaError for what is refused.

    root: the whole schema. targets: by the id of a schema with `$ref`, the place that it means.
    """

    def __init__(self, schema: Node) -> None:
        self.root = Place(schema, (), (schema, ()))
        self.targets: dict[int, Place] = {}
        self._sizes: dict[int, float] = {}
        self._identifiers: dict[str, Place] | None = None
        self._survey()

    def size(self, node: Node) -> float:
        """The number of JSON values in the smallest value of this schema; NEVER if it has none, or none that ends."""
        if isinstance(node, bool):
            return 1 if node else NEVER
        return self._sizes[id(node)]

    def culprit(self, place: Place) -> SchemaError:
        """Why a schema of size NEVER has no value: the place inside it that allows nothing, or that never ends."""
        seen: set[int] = set()
        while isinstance(place.node, dict) and id(place.node) not in seen:
            seen.add(id(place.node))
            within = [each for each in self._needed(place) if self.size(each.node) == NEVER]
            if not within:
                break
            place = within[0]
        if isinstance(place.node, bool) or "not" in place.node:
            return SchemaError(place.path, "Nothing is allowed here.")
        return SchemaError(place.path, "It has no value that ends: every way through it comes back to it.")

    def _needed(self, place: Place) -> list[Place]:
        """The schemas inside this one that all its values have to satisfy somewhere."""
        node = place.node
        assert isinstance(node, dict)
        needed = [self.targets[id(node)]] if "$ref" in node else []
        needed += [place.down("allOf", index) for index in range(len(node.get("allOf", ())))]
        needed += [each for name in node.get("required", ()) for each in member_schemas(place, name)]
        first, others = rows(place)
        count = node.get("minItems", 0)
        needed += first[: int(count)]
        if others is not None and count > len(first):
            needed.append(others)
        if "contains" in node and node.get("minContains", 1) >= 1:
            needed.append(place.down("contains"))
        return needed

    # ---------------------------------------------------------------------------------------------- the walk

    def _survey(self) -> None:
        found: dict[int, Place] = {}
        around: dict[int, list[Place]] = {}  # by the id of a schema, those whose size depends on its size
        waiting = [self.root]
        while waiting:
            place = waiting.pop()
            if isinstance(place.node, bool) or id(place.node) in found:
                continue
            found[id(place.node)] = place
            _check_shape(place)
            inner = self._inner(place)
            for each in inner:
                around.setdefault(id(each.node), []).append(place)
            waiting += reversed(inner)
        self._refuse_loops(found)
        self._measure(found, around)

    def _refuse_loops(self, found: dict[int, Place]) -> None:
        """Refuse what comes back to itself for the same value.

        The core specification leaves undefined what that means ("Guarding Against Infinite Recursion").
        """
        done: set[int] = set()
        for start in found.values():
            line = [(start, iter(self._beside(start)))]
            around = {id(start.node)}
            while line:
                place, others = line[-1]
                other = next(others, None)
                if other is None or id(place.node) in done:
                    line.pop()
                    around.discard(id(place.node))
                    done.add(id(place.node))
                elif id(other.node) in around:
                    raise SchemaError(place.path, "It comes back to itself for the same value, which means nothing.")
                elif isinstance(other.node, dict):
                    line.append((other, iter(self._beside(other))))
                    around.add(id(other.node))

    def _beside(self, place: Place) -> list[Place]:
        """The schemas that are asked about the same value as this one."""
        node = place.node
        assert isinstance(node, dict)
        found = [self.targets[id(node)]] if "$ref" in node else []
        for keyword in ("allOf", "anyOf", "oneOf"):
            found += [place.down(keyword, index) for index in range(len(node.get(keyword, ())))]
        return [*found, place.down("not")] if "not" in node else found

    def _measure(self, found: dict[int, Place], around: dict[int, list[Place]]) -> None:
        """Bring all sizes down from NEVER, each time anew for those that depend on one that has become smaller."""
        self._sizes = dict.fromkeys(found, NEVER)
        waiting = deque(reversed(found.values()))  # later places are mostly inside earlier ones
        queued = set(found)
        while waiting:
            place = waiting.popleft()
            key = id(place.node)
            queued.discard(key)
            size = self._estimate(place)
            if size < self._sizes[key]:
                self._sizes[key] = size
                for other in around.get(key, ()):
                    if id(other.node) not in queued:
                        queued.add(id(other.node))
                        waiting.append(other)

    def _inner(self, place: Place) -> list[Place]:
        node = place.node
        assert isinstance(node, dict)
        inner: list[Place] = []
        if "$ref" in node:
            target = self._resolve(place, node["$ref"])
            self.targets[id(node)] = target
            inner.append(target)
        for keyword in node:
            value = node[keyword]
            if keyword in ONES and not isinstance(value, list):
                inner.append(place.down(keyword))
            elif keyword in SEVERAL or (keyword == "items" and isinstance(value, list)):
                inner += [place.down(keyword, index) for index in range(len(value))]
            elif keyword in MAPS:
                inner += [place.down(keyword, name) for name in value]
        return inner

    # ----------------------------------------------------------------------------------------------- references

    def _resolve(self, place: Place, reference: str) -> Place:
        where = (*place.path, "$ref")
        address, _, fragment = reference.partition("#")
        start = Place(place.base[0], place.base[1], place.base)
        if address:
            embedded = self._embedded()
            base = _identifier(place.base[0]) or ""
            found = embedded.get(address) or embedded.get(urljoin(base, address))
            if found is None:
                raise SchemaError(
                    where, f"{reference!r} is outside this schema; references are only followed inside it."
                )
            start = found
        fragment = unquote(fragment)
        target = (
            self._anchored(start, fragment) if fragment and not fragment.startswith("/") else _point(start, fragment)
        )
        if target is None or not isinstance(target.node, dict | bool):
            raise SchemaError(where, f"{reference!r} points to no schema.")
        return target

    def _embedded(self) -> dict[str, Place]:
        """Schemas by their `$id`, as it stands and as an address relative to the one around it."""
        if self._identifiers is None:
            self._identifiers = {}
            waiting = [(self.root, "")]
            while waiting:
                place, around = waiting.pop()
                identifier = _identifier(place.node)
                if identifier:
                    self._identifiers.setdefault(identifier, place)
                    around = urljoin(around, identifier)
                    self._identifiers.setdefault(around, place)
                waiting += [(inner, around) for inner in _entries(place)]
        return self._identifiers

    def _anchored(self, start: Place, name: str) -> Place | None:
        waiting = [start]
        while waiting:
            place = waiting.pop()
            node = place.node
            if isinstance(node, dict) and (node.get("$anchor") == name or node.get("$id") == f"#{name}"):
                return place
            waiting += _entries(place)
        return None

    # ---------------------------------------------------------------------------------------------------- sizes

    def _estimate(self, place: Place) -> float:
        """A lower bound of the size, exact for a schema without `allOf` and `not`."""
        node = place.node
        assert isinstance(node, dict)
        parts = [self._own(place, node)]
        if "$ref" in node:
            parts.append(self.size(self.targets[id(node)].node))
        parts += [self.size(each) for each in node.get("allOf", ())]
        parts += [min(self.size(each) for each in node[keyword]) for keyword in ("anyOf", "oneOf") if keyword in node]
        return max(parts)

    def _own(self, place: Place, node: dict[str, Any]) -> float:
        if node.get("not") is True or node.get("not") == {}:
            return NEVER
        if "const" in node or "enum" in node:
            return 1
        if "type" in node:
            kinds = atoms(node["type"])
        else:
            kinds = tuple(kind for kind, keywords in INFERRED if any(word in node for word in keywords))[:1] or (
                "null",
            )
        size = NEVER
        for kind in kinds:
            if kind == "object":
                size = min(size, self._object(place, node))
            elif kind == "array":
                size = min(size, self._array(place, node))
            else:
                size = 1
        return size

    def _object(self, place: Place, node: dict[str, Any]) -> float:
        names = dict.fromkeys(node.get("required", ()))
        return _sum([max([1, *[self.size(each.node) for each in member_schemas(place, name)]]) for name in names])

    def _array(self, place: Place, node: dict[str, Any]) -> float:
        count = min(int(node.get("minItems", 0)), MOST_ITEMS)
        first, others = rows(place)
        parts = [self.size(each.node) for each in first[:count]]
        rest = self.size(others.node) if others is not None else 1
        if count > len(first):
            parts.append(rest * (count - len(first)))
        if "contains" in node and node.get("minContains", 1) >= 1:
            return max(_sum(parts), 1 + self.size(node["contains"]))
        return _sum(parts)


def _sum(parts: list[float]) -> float:
    """One more than the sum; a size beyond all limits stays one, so that sizes cannot grow without end."""
    total = 1 + sum(parts)
    return total if total == NEVER else min(total, 1e12)


def _check_shape(place: Place) -> None:
    node = place.node
    assert isinstance(node, dict)
    for keyword, value in node.items():
        where = (*place.path, keyword)
        if keyword in UNSUPPORTED:
            raise SchemaError(where, f"'{keyword}' is not supported: no value can be promised to satisfy it.")
        if keyword in MALFORMED:
            test, expected = MALFORMED[keyword]
            if not test(value):
                raise SchemaError(where, f"'{keyword}' must be {expected}, not {_short(value)}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _entries(place: Place) -> list[Place]:
    """Everything directly inside this place, schema or not."""
    if isinstance(place.node, dict):
        return [place.down(key) for key, value in place.node.items() if isinstance(value, dict | list)]
    if isinstance(place.node, list):
        return [place.down(index) for index, value in enumerate(place.node) if isinstance(value, dict | list)]
    return []


def _point(start: Place, pointer: str) -> Place | None:
    """What a JSON pointer (RFC 6901) leads to, or None."""
    place = start
    for token in pointer.split("/")[1:]:
        key: str | int = token.replace("~1", "/").replace("~0", "~")
        node: Any = place.node
        if isinstance(node, list) and token.isdecimal() and int(token) < len(node):
            key = int(token)
        elif not isinstance(node, dict) or key not in node:
            return None
        place = place.down(key)
    return place

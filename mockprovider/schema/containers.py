"""Objects and arrays: which members and how many items, then each of them in turn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from .error import SchemaError
from .keywords import atoms
from .names import KEYS
from .outline import MOST_ITEMS, NEVER, Place, member_schemas, rows
from .pattern import matching
from .valid import fingerprint

if TYPE_CHECKING:
    from .maker import Context, Flat, Maker

__all__ = ["make_array", "make_object"]

_UNLIMITED: Final = 10**9
_SAME: Final = 60  # draws of one item, or one name, that must not have come before
_LISTED: Final = 1_000  # integers of a range that are listed rather than drawn one by one


# --------------------------------------------------------------------------------------------------------- objects


def make_object(maker: Maker, flat: Flat, context: Context) -> dict[str, Any]:
    """An object: the required members, some of the optional ones, and others where they are asked for."""
    required = dict.fromkeys(name for _, names in flat.having("required") for name in names)
    known = dict.fromkeys(name for _, properties in flat.having("properties") for name in properties)
    low, high = flat.most("minProperties"), flat.least("maxProperties", _UNLIMITED)
    if max(low, len(required)) > high:
        raise SchemaError(flat.where("maxProperties"), f"More than {high} members are required.")
    optional = [name for name in known if name not in required and _possible(maker, flat, name)]
    wished = set(optional if low > len(required) else [])
    if not maker.thrifty(context):
        wished |= {name for name in optional if maker.rng.random() < 0.5}
    members: dict[str, Any] = {}
    room = high - len(required)
    for name in [*known, *[name for name in required if name not in known]]:
        if name in required:
            members[name] = _member(maker, flat, name, context)
        elif name in wished and room > 0:
            try:
                members[name] = _member(maker, flat, name, context)
                room -= 1
            except SchemaError as error:
                maker.discard(error)  # it is optional, and what cannot be made is left out
    _add_others(maker, flat, context, members, low, high)
    return members


def _member(maker: Maker, flat: Flat, name: str, context: Context) -> Any:
    places = _schemas_of(flat, name)
    path = flat.where("required", "properties")
    return maker.make(places, context.inside(name, path))


def _schemas_of(flat: Flat, name: str) -> list[Place]:
    return [schema for place in flat.members for schema in member_schemas(place, name)]


def _possible(maker: Maker, flat: Flat, name: str) -> bool:
    return all(maker.outline.size(place.node) < NEVER for place in _schemas_of(flat, name))


def _add_others(maker: Maker, flat: Flat, context: Context, members: dict[str, Any], low: int, high: int) -> None:
    """Members that no `properties` names: as many as are missing, and a few where the object is used as a map."""
    count = low - len(members)
    described = any(isinstance(schema, dict) and schema for _, schema in flat.having("additionalProperties"))
    if count <= 0 and described and not members and not maker.thrifty(context):
        count = maker.rng.randrange(1, 4)
    count = min(count, high - len(members))
    for _ in range(count):
        if len(members) >= MOST_ITEMS:
            raise SchemaError(flat.where("minProperties"), f"More than {MOST_ITEMS} members are not made.")
        try:
            name = _other_name(maker, flat, context, members)
            members[name] = maker.make(_schemas_of(flat, name), context.inside(None, flat.where("minProperties")))
        except SchemaError:
            if len(members) < low:
                raise
            return


def _other_name(maker: Maker, flat: Flat, context: Context, members: dict[str, Any]) -> str:
    """A name that is not there yet and that the schemas leave room for."""
    naming = [place.down("propertyNames") for place, _ in flat.having("propertyNames")]
    closed = any(schema is False for _, schema in flat.having("additionalProperties"))
    patterns = [pattern for _, schemas in flat.having("patternProperties") for pattern in schemas]
    path = flat.where("propertyNames", "patternProperties", "additionalProperties", "minProperties")
    for attempt in range(_SAME):
        if naming:
            inside = context.inside("key", path)
            name = maker.make(naming, inside.vary() if attempt > 2 else inside)
        elif closed and patterns:
            name = matching(maker.rng, [(patterns[attempt % len(patterns)], path)], 1, 100, lambda _: True)
        else:
            name = maker.rng.choice(KEYS) + (f"_{maker.rng.randrange(1, 100_000)}" if attempt > 4 else "")
        if isinstance(name, str) and name not in members and _possible(maker, flat, name):
            return name
    raise SchemaError(path, "No further member was found that is allowed.")


# ---------------------------------------------------------------------------------------------------------- arrays


def make_array(maker: Maker, flat: Flat, context: Context) -> list[Any]:
    """An array: a few items, as many of them as the bounds allow and the schemas ask for."""
    low, high = flat.most("minItems"), flat.least("maxItems", _UNLIMITED)
    if low > high:
        raise SchemaError(flat.where("maxItems"), f"An array cannot have at least {low} and at most {high} items.")
    if low > MOST_ITEMS:
        raise SchemaError(flat.where("minItems"), f"{low} items are more than the {MOST_ITEMS} that are made.")
    plan = _Plan(flat)
    count = _count(maker, plan, context, low, high)
    unique = any(value for _, value in flat.having("uniqueItems"))
    items: list[Any] = []
    seen: set[Any] = set()
    for index in range(count):
        inside = context.inside(None, flat.where("items", "minItems", "type"))
        schemas = plan.at(index, count)
        try:
            item = _unlike(maker, schemas, inside, seen, count) if unique else maker.make(schemas, inside)
        except SchemaError as error:
            if len(items) < max(low, plan.contained):
                raise
            maker.discard(error)
            break
        items.append(item)
    return items


class _Plan:
    """The schemas of an array's items by their index. contained: how many items must be such as `contains` wants."""

    def __init__(self, flat: Flat) -> None:
        self._rows = [rows(place) for place in flat.members]
        self._wanted: list[Place] = []
        for place, _ in flat.having("contains"):
            assert isinstance(place.node, dict)
            self._wanted += [place.down("contains")] * min(int(place.node.get("minContains", 1)), MOST_ITEMS)
        self.first = max((len(first) for first, _ in self._rows), default=0)
        self.contained = len(self._wanted)

    def at(self, index: int, count: int) -> list[Place]:
        """The schemas of one item of so many; `contains` is served from the last item on backwards."""
        found = self._plain(index)
        found += [wanted for number, wanted in enumerate(self._wanted) if count - 1 - number % count == index]
        return found

    def _plain(self, index: int) -> list[Place]:
        found = [first[index] if index < len(first) else others for first, others in self._rows]
        return [place for place in found if place is not None]


def _count(maker: Maker, plan: _Plan, context: Context, low: int, high: int) -> int:
    """How many items: as few as may be where the value is to end, else up to three more."""
    least = max(low, plan.contained and 1)
    if maker.thrifty(context):
        wish = max(least, min(plan.contained, high))
    elif plan.first or plan.contained:
        wish = max(least, plan.first + plan.contained)
    else:
        wish = maker.rng.randrange(max(least, 1), max(least, 1) + 3)
    return max(low, min(wish, high, MOST_ITEMS))


def _unlike(maker: Maker, places: list[Place], context: Context, seen: set[Any], count: int) -> Any:
    """An item that has not come before. Raises SchemaError if none is found."""
    domain = _domain(maker, places, count)
    if domain is not None:
        left = [value for value in domain if fingerprint(value) not in seen]
        if left:
            item = maker.rng.choice(left)
            seen.add(fingerprint(item))
            return item
    for attempt in range(_SAME if domain is None else 0):
        item = maker.make(places, context.vary() if attempt > 1 or count > 20 else context)
        if fingerprint(item) not in seen:
            seen.add(fingerprint(item))
            return item
    path = places[0].path if places else context.path
    raise SchemaError(path, f"No item number {len(seen) + 1} was found that differs from all before it.")


def _domain(maker: Maker, places: list[Place], count: int) -> list[Any] | None:
    """All values that satisfy these schemas, if they are few enough to be listed; else None."""
    for place in places:
        node = place.node
        if isinstance(node, bool):
            continue
        found = _listed(node, count)
        if found is None:
            inner = [maker.outline.targets[id(node)]] if "$ref" in node else []
            inner += [place.down("allOf", index) for index in range(len(node.get("allOf", ())))]
            found = _domain(maker, inner, count)
        for keyword in ("anyOf", "oneOf"):
            if found is None and keyword in node:
                lists = [_domain(maker, [place.down(keyword, i)], count) for i in range(len(node[keyword]))]
                found = [value for values in lists for value in values or ()] if None not in lists else None
        if found is not None:
            return [value for value in found if maker.validator.valid(places, value)]
    return None


def _listed(node: dict[str, Any], count: int) -> list[Any] | None:
    """The values that a schema names, or the few that its type has."""
    if "const" in node or "enum" in node:
        return [node["const"]] if "const" in node else list(node["enum"])
    if "type" not in node:
        return None
    kinds = atoms(node["type"])
    found: list[Any] = []
    for kind in kinds:
        if kind == "integer" and "fraction" not in kinds and "minimum" in node and "maximum" in node:
            low, high = math.ceil(node["minimum"]), math.floor(node["maximum"])
            if high - low >= max(_LISTED, 2 * count):
                return None
            found += range(low, high + 1)
        elif kind in {"boolean", "null"}:
            found += [False, True] if kind == "boolean" else [None]
        else:
            return None
    return found

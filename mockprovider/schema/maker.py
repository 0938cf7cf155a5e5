"""The drawing of a value: one place of the schema after the other, with the way out of every dead end.

All schemas that hold for one value are kept side by side in a flat list, instead of being merged into one: those that
`$ref` and `allOf` name, and one branch of every `anyOf` and `oneOf`. Which branch is a choice; where a choice leads to
no value, the next combination of choices is tried. Deep in a value, or when it has become large, every choice falls on
what has the smallest value, optional members are left out and arrays are as short as they may be.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from . import numbers
from .containers import make_array, make_object
from .error import Path, SchemaError
from .keywords import INFERRED, atoms
from .numbers import Range, exact
from .outline import MOST_VALUES, NEVER, Node, Outline, Place, plain
from .text import MOST_CHARACTERS, Wanted, text
from .valid import Validator

__all__ = ["Context", "Flat", "Maker", "instance"]

T = TypeVar("T")

_DEEP: Final = 5  # levels of nesting from which on a value is ended the shortest way
_LARGE: Final = 200  # JSON values after which it is
_DEEPEST: Final = 80  # levels that are followed at all: Python's own stack is the limit
_ATTEMPTS: Final = 400  # combinations of choices tried for one value
_DRAWS: Final = 40  # draws of a value that has to pass a check, for one combination of choices
_DISCARDED: Final = 1_000  # values thrown away in all
_NOTHING: Final = object()
_BORING: Final[tuple[Any, ...]] = (None, "", [], {})  # defaults that only say that there is none


def instance(schema: Mapping[str, Any] | bool, rng: random.Random) -> Any:
    """A value that satisfies the schema, made of dicts, lists, strings, numbers, booleans and None.

    The same schema and the same state of `rng` give the same value on every platform. Members come in the schema's
    order. Raises SchemaError if the schema is malformed, uses what is not supported, has no value, or if its smallest
    value is beyond the limits (10,000 items in an array, 100,000 characters in a string, 200,000 values in all).
    """
    try:
        outline = Outline(plain(schema))
        size = outline.size(outline.root.node)
        if NEVER > size > MOST_VALUES:
            raise SchemaError((), f"Its smallest value has more than {MOST_VALUES} parts.")
        maker = Maker(outline, rng)
        value = maker.make([outline.root], Context())
        if not maker.validator.valid([outline.root], value):
            raise SchemaError((), "No value was found that satisfies all of it.")
    except RecursionError:
        raise SchemaError((), "It is nested too deeply.") from None
    return value


@dataclass(frozen=True, slots=True)
class Context:
    """Where in the value something is drawn. name: the nearest property's; depth: levels of nesting around it.

    path: where in the schema, for what no schema describes. varied: whether the value shall differ from its
    neighbours, so that everyday values may not be varied enough.
    """

    name: str = ""
    depth: int = 0
    path: Path = ()
    varied: bool = False

    def inside(self, name: str | None, path: Path) -> Context:
        """One level further in."""
        return Context(self.name if name is None else name, self.depth + 1, path, self.varied)

    def vary(self) -> Context:
        """The same place, further from everyday."""
        return replace(self, varied=True)


@dataclass(slots=True)
class Flat:
    """The schemas that one value must satisfy, each a dict. doubt: the place of what can only be checked afterwards."""

    members: list[Place] = field(default_factory=list)
    doubt: Path | None = None

    def add(self, place: Place, node: dict[str, Any]) -> None:
        """Take in one more schema."""
        self.members.append(place)
        for keyword in ("oneOf", "not", "propertyNames", "maxContains", "contains"):
            if keyword in node and self.doubt is None:
                self.doubt = (*place.path, keyword)

    def having(self, keyword: str) -> Iterator[tuple[Place, Any]]:
        """The members that have a keyword, with its value."""
        for place in self.members:
            assert isinstance(place.node, dict)
            if keyword in place.node:
                yield place, place.node[keyword]

    def most(self, keyword: str, default: int = 0) -> int:
        """The strictest lower bound."""
        return max([default, *[int(value) for _, value in self.having(keyword)]])

    def least(self, keyword: str, default: int) -> int:
        """The strictest upper bound."""
        return min([default, *[int(value) for _, value in self.having(keyword)]])

    def where(self, *keywords: str) -> Path:
        """The place of the first of these keywords, else of the first schema."""
        for keyword in keywords:
            for place, _ in self.having(keyword):
                return (*place.path, keyword)
        return self.members[0].path if self.members else ()


class Choices:
    """The choices made for one value. Every attempt is another combination of them, as far as there are others."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._orders: dict[int, list[int]] = {}
        self._left = 0
        self.combinations = 1

    def begin(self, attempt: int) -> None:
        """Start over for this attempt, counted from 0."""
        self._left = attempt
        self.combinations = 1

    def pick(self, key: int, options: Sequence[T], last: Callable[[T], bool], cost: Callable[[T], float]) -> T:
        """One of the options, in an order drawn once for each key: the cheap first, mostly with `last` ones last."""
        order = self._orders.get(key)
        if order is None or len(order) != len(options):
            order = list(range(len(options)))
            for index in range(len(order) - 1, 0, -1):
                other = self._rng.randrange(index + 1)
                order[index], order[other] = order[other], order[index]
            if last(options[order[0]]) and self._rng.random() < 0.7:
                order.append(order.pop(0))
            order.sort(key=lambda index: cost(options[index]))
            self._orders[key] = order
        self.combinations *= len(order)
        self._left, digit = divmod(self._left, len(order))
        return options[order[digit]]


class Maker:
    """Draws values for places of one outline. validator: judges them."""

    def __init__(self, outline: Outline, rng: random.Random) -> None:
        self.outline = outline
        self.rng = rng
        self.validator = Validator(outline)
        self._made = 0
        self._discarded = 0

    def thrifty(self, context: Context) -> bool:
        """Whether the value shall end here the shortest way."""
        return context.depth >= _DEEP or self._made >= _LARGE

    def make(self, places: Sequence[Place], context: Context) -> Any:
        """A value that satisfies all of these schemas. Raises SchemaError if none is found."""
        self._count(places, context)
        choices = Choices(self.rng)
        first: SchemaError | None = None
        for attempt in range(_ATTEMPTS):
            choices.begin(attempt)
            draws = 1
            try:
                flat = self._flatten(places, choices, context)
                draws = _DRAWS if flat.doubt is not None else 1
                value = self._draw(flat, choices, context)
                if flat.doubt is None or self.validator.valid(places, value):
                    return value
                raise SchemaError(flat.doubt, "No value was found that satisfies this and everything beside it.")
            except SchemaError as error:
                first = first or error
            if attempt + 1 >= choices.combinations * draws:
                break
            self.discard(first)
        assert first is not None
        raise first

    def discard(self, reason: SchemaError) -> None:
        """Note that something was drawn in vain. Raises the reason when that has happened too often."""
        self._discarded += 1
        if self._discarded > _DISCARDED:
            raise reason

    def _count(self, places: Sequence[Place], context: Context) -> None:
        path = places[0].path if places else context.path
        self._made += 1
        if self._made > MOST_VALUES:
            raise SchemaError(path, f"More than {MOST_VALUES} values are not made for one schema.")
        if context.depth > _DEEPEST:
            raise SchemaError(path, f"Its values are nested deeper than {_DEEPEST} levels.")

    # --------------------------------------------------------------------------------------------- choosing schemas

    def _flatten(self, places: Sequence[Place], choices: Choices, context: Context) -> Flat:
        """All schemas that hold at once: references and `allOf` followed, a branch of each `anyOf` and `oneOf`."""
        flat = Flat()
        seen: set[int] = set()
        waiting = deque(places)
        branching: deque[tuple[Place, str]] = deque()
        while waiting or branching:
            if not waiting:
                waiting.append(self._branch(*branching.popleft(), flat, choices, context))
            place = waiting.popleft()
            node = place.node
            if isinstance(node, bool) or self.outline.size(node) == NEVER:
                if node is not True:
                    raise self.outline.culprit(place)
                continue
            if id(node) in seen:
                continue
            seen.add(id(node))
            flat.add(place, node)
            if "$ref" in node:
                waiting.append(self.outline.targets[id(node)])
            waiting += [place.down("allOf", index) for index in range(len(node.get("allOf", ())))]
            branching += [(place, keyword) for keyword in ("anyOf", "oneOf") if keyword in node]
        return flat

    def _branch(self, place: Place, keyword: str, flat: Flat, choices: Choices, context: Context) -> Place:
        """The branch to take, among those that have values and agree with the types so far."""
        node = place.node
        assert isinstance(node, dict)
        types = _types(flat)
        options = []
        for index in range(len(node[keyword])):
            branch = place.down(keyword, index)
            target = self._aim(branch)
            if self.outline.size(target.node) < NEVER and _agree(types, target.node):
                options.append(branch)
        if not options:
            raise SchemaError((*place.path, keyword), f"No branch of this '{keyword}' can be satisfied here.")
        thrifty = self.thrifty(context)
        return choices.pick(
            id(node[keyword]),
            options,
            last=lambda option: _is_null(self._aim(option).node),
            cost=lambda option: self.outline.size(option.node) if thrifty else 0,
        )

    def _aim(self, place: Place) -> Place:
        """Where a schema that is only a reference leads in the end."""
        while isinstance(place.node, dict) and "$ref" in place.node:
            place = self.outline.targets[id(place.node)]
        return place

    # ----------------------------------------------------------------------------------------------- drawing values

    def _draw(self, flat: Flat, choices: Choices, context: Context) -> Any:
        given = self._given(flat, context)
        if given is not _NOTHING:
            return given
        kind = self._kind(flat, choices, context)
        if kind == "object":
            return make_object(self, flat, context)
        if kind == "array":
            return make_array(self, flat, context)
        if kind == "string":
            return self._string(flat, context)
        if kind in {"integer", "number"}:
            return self._number(kind, flat, context)
        return self.rng.random() < 0.5 if kind == "boolean" else None

    def _given(self, flat: Flat, context: Context) -> Any:
        """A value that the schemas themselves name: of `enum` and `const`, else an example, else the default."""
        for keyword in ("const", "enum"):
            for place, values in flat.having(keyword):
                candidates = [values] if keyword == "const" else values
                found = self._first_valid(candidates, flat)
                if found is _NOTHING:
                    raise SchemaError((*place.path, keyword), f"No value of this '{keyword}' satisfies the rest.")
                return found
        if context.varied or self.thrifty(context):
            return _NOTHING
        examples = [each for _, values in flat.having("examples") if isinstance(values, list) for each in values]
        examples += [value for _, value in flat.having("example")]
        found = self._first_valid(examples, flat)
        if found is not _NOTHING:
            return found
        return self._first_valid([value for _, value in flat.having("default") if value not in _BORING], flat)

    def _first_valid(self, candidates: Sequence[Any], flat: Flat) -> Any:
        """The first of the candidates that satisfies everything, counted from one drawn at random."""
        if not candidates:
            return _NOTHING
        start = self.rng.randrange(len(candidates))
        for candidate in [*candidates[start:], *candidates[:start]]:
            if self.validator.valid(flat.members, candidate):
                return copy.deepcopy(candidate)
        return _NOTHING

    def _kind(self, flat: Flat, choices: Choices, context: Context) -> str:
        types = _types(flat)
        if types is None:
            words = [word for place in flat.members for word in place.node]  # type: ignore[union-attr]
            kinds = [kind for kind, keywords in INFERRED if any(word in keywords for word in words)]
            return kinds[0] if kinds else "string"
        if not types:
            raise SchemaError(flat.where("type"), "No type satisfies this and everything beside it.")
        if "fraction" in types:
            types = ["number", *[kind for kind in types if kind not in {"integer", "fraction"}]]
        small = self.thrifty(context)
        return choices.pick(
            id(self),
            types,
            last=lambda kind: kind == "null",
            cost=lambda kind: ("array", "object").index(kind) + 2 if small and kind in {"array", "object"} else 1,
        )

    def _string(self, flat: Flat, context: Context) -> str:
        wanted = Wanted(
            low=flat.most("minLength"),
            high=flat.least("maxLength", 10 * MOST_CHARACTERS),
            path=flat.where("minLength", "maxLength", "format"),
            patterns=tuple((pattern, (*place.path, "pattern")) for place, pattern in flat.having("pattern")),
            formats=tuple(dict.fromkeys(name for _, name in flat.having("format"))),
            base64=any(encoding == "base64" for _, encoding in flat.having("contentEncoding")),
            name=context.name,
            varied=context.varied,
        )
        return text(self.rng, wanted)

    def _number(self, kind: str, flat: Flat, context: Context) -> int | float:
        bounds = _range(flat)
        draw = numbers.integer if kind == "integer" else numbers.number
        value = draw(self.rng, bounds, context.name, varied=context.varied)
        if value is None:
            words = ("multipleOf", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
            raise SchemaError(flat.where(*words), f"No {kind} satisfies all bounds and multiples.")
        return value


def _types(flat: Flat) -> list[str] | None:
    """The types that all schemas allow, `number` split into `integer` and `fraction`; None if none names a type."""
    types: list[str] | None = None
    for _, names in flat.having("type"):
        allowed = atoms(names)
        types = [kind for kind in (allowed if types is None else types) if kind in allowed]
    return types


def _agree(types: list[str] | None, node: Node) -> bool:
    """Whether a branch leaves any of these types, as far as it says so itself."""
    if types is None or isinstance(node, bool) or "type" not in node:
        return True
    return any(kind in types for kind in atoms(node["type"]))


def _is_null(node: Node) -> bool:
    return isinstance(node, dict) and (node.get("type") == "null" or node.get("const", 0) is None)


def _range(flat: Flat) -> Range:
    bounds = Range(steps=tuple(exact(value) for _, value in flat.having("multipleOf")))
    for place in flat.members:
        node = place.node
        assert isinstance(node, dict)
        low, high = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
        if "minimum" in node:
            bounds = _raise(bounds, exact(node["minimum"]), low is True)
        if low is not None and not isinstance(low, bool):
            bounds = _raise(bounds, exact(low), True)
        if "maximum" in node:
            bounds = _lower(bounds, exact(node["maximum"]), high is True)
        if high is not None and not isinstance(high, bool):
            bounds = _lower(bounds, exact(high), True)
    return bounds


def _raise(bounds: Range, low: Any, is_open: bool) -> Range:
    if bounds.low is None or (low, is_open) > (bounds.low, bounds.low_open):
        return replace(bounds, low=low, low_open=is_open)
    return bounds


def _lower(bounds: Range, high: Any, is_open: bool) -> Range:
    if bounds.high is None or (high, not is_open) < (bounds.high, not bounds.high_open):
        return replace(bounds, high=high, high_open=is_open)
    return bounds

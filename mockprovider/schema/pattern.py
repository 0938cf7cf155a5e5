"""Strings that match a regular expression.

JSON Schema's expressions are ECMA-262's and match anywhere in a string. They are read by Python's own parser after a
small translation and turned into a tree of six kinds of node. For each node the attainable lengths are known, as the
bits of an integer, so that a wanted length is met by construction instead of by luck. Assertions (anchors, word
boundaries, lookaround) and back-references take no part in that: they are settled by drawing again until `re.search`
agrees. Where an expression leaves a choice, ASCII is drawn, for which Python and ECMA-262 agree on `\\d` and `\\w`.
"""

from __future__ import annotations

import functools
import importlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .error import Path, SchemaError

__all__ = ["matches", "matching", "of_length"]

_LONGEST: Final = 10_000  # characters; the lengths of longer strings would cost more than a few milliseconds
_ATTEMPTS: Final = 80
_ALPHANUMERIC: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_PRINTABLE: Final = _ALPHANUMERIC + "-_.:/@+ ,;!?#$%&'()*<=>[]^`{|}~\"\\"
# For classes that leave out all of these: control characters, and a few letters of other scripts.
_OTHERS: Final = "\t\n\r" + "".join(map(chr, [*range(9), *range(14, 32), 11, 12, 127])) + "éßñøΩяあ中한😀"

# ------------------------------------------------------------------------------------------------------ the tree


@dataclass(frozen=True, slots=True, eq=False)
class _Chars:
    """One character. nice: letters and digits among those allowed; wide: all that are ever drawn."""

    nice: str
    wide: str


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    parts: tuple[_Node, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Either:
    branches: tuple[_Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Repeat:
    body: _Node
    least: int
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    number: int
    body: _Node


@dataclass(frozen=True, slots=True, eq=False)
class _Again:
    """A reference back to what a group matched."""

    number: int
    body: _Node


_Node = _Chars | _Sequence | _Either | _Repeat | _Group | _Again

_TOKEN = re.compile(r"\\.|\[\^?\]?|\(\?<(?![=!])|.", re.DOTALL)
_OUTSIDE = {"[]": "(?!)", "[^]": r"[\s\S]", "$": r"\Z", "(?<": "(?P<"}


def _translate(pattern: str) -> str:
    """The pattern in Python's spelling, without what Python warns about or reads in another way."""
    result: list[str] = []
    inside = False
    for token in _TOKEN.findall(pattern):
        if token.startswith("\\"):
            result.append(token)
        elif not inside:
            result.append(_OUTSIDE.get(token, token))
            inside = token in {"[", "[^"}
        else:
            result.append(f"\\{token}" if token[0] in "[&|~" else token)
            inside = not token.endswith("]")
    return "".join(result)


@functools.lru_cache(maxsize=256)
def _read(pattern: str) -> tuple[re.Pattern[str], _Node]:
    """The pattern, compiled and as a tree. Raises ValueError or re.error if it is not understood."""
    spelled = _translate(pattern)
    compiled = re.compile(spelled)
    parser = importlib.import_module("re._parser")
    return compiled, _Reader().sequence(parser.parse(spelled))


def matches(pattern: str, text: str, path: Path) -> bool:
    """Whether the pattern matches somewhere in the text. Raises SchemaError if it is no regular expression."""
    return _understood(pattern, path)[0].search(text) is not None


def _understood(pattern: str, path: Path) -> tuple[re.Pattern[str], _Node]:
    try:
        return _read(pattern)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise SchemaError(path, f"{pattern!r} is not understood as a regular expression: {error}.") from None


class _Reader:
    """From the parse tree of Python's `re` to ours. The names of its operations have been stable since Python 3.11."""

    def __init__(self) -> None:
        self._groups: dict[int, _Node] = {}

    def sequence(self, data: Any) -> _Node:
        parts = tuple(self._node(str(operation), argument) for operation, argument in data)
        return parts[0] if len(parts) == 1 else _Sequence(parts)

    def _node(self, operation: str, argument: Any) -> _Node:
        match operation:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return _character(operation, argument)
            case "BRANCH":
                return _Either(tuple(self.sequence(branch) for branch in argument[1]))
            case "SUBPATTERN":
                return self._group(argument[0], self.sequence(argument[3]))
            case "ATOMIC_GROUP":
                return self.sequence(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, body = argument
                return _Repeat(self.sequence(body), int(least), int(most))
            case "GROUPREF":
                return _Again(argument, self._groups[argument])
            case "GROUPREF_EXISTS":
                return _Either((self.sequence(argument[1]), self.sequence(argument[2] or ())))
            case "AT" | "ASSERT":
                return _Sequence()
            case "ASSERT_NOT":
                return _Sequence() if len(argument[1]) else _Either(())
            case "FAILURE":
                return _Either(())
            case _:
                raise ValueError(f"{operation} is not known")

    def _group(self, number: int | None, body: _Node) -> _Node:
        if number is None:
            return body
        self._groups[number] = body
        return _Group(number, body)


_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "CATEGORY_DIGIT": lambda char: char in "0123456789",
    "CATEGORY_NOT_DIGIT": lambda char: char not in "0123456789",
    "CATEGORY_SPACE": lambda char: char in " \t\n\r\f\v",
    "CATEGORY_NOT_SPACE": lambda char: not char.isspace(),
    "CATEGORY_WORD": lambda char: char in _ALPHANUMERIC or char == "_",
    "CATEGORY_NOT_WORD": lambda char: not char.isalnum() and char != "_",
}


def _chars(allowed: Callable[[str], bool], own: str = "") -> _Chars:
    """The characters that a test allows, the commonest kind of them alone. own: what the pattern itself names."""
    for alphabet in (_PRINTABLE, _OTHERS, own):
        wide = "".join(char for char in alphabet if allowed(char))
        if wide:
            return _Chars("".join(char for char in wide if char in _ALPHANUMERIC) or wide, wide)
    return _Chars("", "")


def _character(operation: str, argument: Any) -> _Chars:
    if operation == "LITERAL":
        return _Chars(chr(argument), chr(argument))
    if operation == "NOT_LITERAL":
        return _chars(lambda char: ord(char) != argument)
    return _chars(lambda char: char not in "\n\r") if operation == "ANY" else _class(argument)


def _class(items: Any) -> _Chars:
    tests: list[Callable[[str], bool]] = []
    own: list[str] = []
    negated = False
    for operation, argument in items:
        match str(operation):
            case "NEGATE":
                negated = True
            case "LITERAL":
                tests.append(chr(argument).__eq__)
                own.append(chr(argument))
            case "RANGE":
                low, high = argument
                tests.append(functools.partial(_between, low, high))
                own.append("".join(map(chr, range(low, min(high, low + 50) + 1))))
            case _:
                tests.append(_CATEGORIES[str(argument)])
    return _chars(lambda char: any(test(char) for test in tests) != negated, "" if negated else "".join(own))


def _between(low: int, high: int, char: str) -> bool:
    return low <= ord(char) <= high


# ----------------------------------------------------------------------------------------------------- the lengths


def _ones(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


class _Lengths:
    """The attainable lengths of nodes, up to a limit, as integers whose bit n says that length n is attainable."""

    def __init__(self, limit: int) -> None:
        self._mask = (1 << (limit + 1)) - 1
        self._known: dict[_Node, int] = {}
        self._rests: dict[_Sequence, list[int]] = {}

    def of(self, node: _Node) -> int:
        if node not in self._known:
            self._known[node] = self._find(node) & self._mask
        return self._known[node]

    def rests(self, node: _Sequence) -> list[int]:
        """The lengths of what is left of a sequence from each of its parts on, and of nothing."""
        if node not in self._rests:
            rests = [1]
            for part in reversed(node.parts):
                rests.append(self.joined(rests[-1], self.of(part)))
            self._rests[node] = rests[::-1]
        return self._rests[node]

    def joined(self, one: int, other: int) -> int:
        """The lengths of two nodes in a row."""
        if one.bit_count() > other.bit_count():
            one, other = other, one
        bits = 0
        for length in _ones(one):
            bits |= other << length
        return bits & self._mask

    def _find(self, node: _Node) -> int:
        match node:
            case _Chars():
                return 2 if node.wide else 0
            case _Sequence():
                return self.rests(node)[0]
            case _Either():
                return functools.reduce(lambda bits, branch: bits | self.of(branch), node.branches, 0)
            case _Repeat():
                body = self.of(node.body)
                optional = min(node.most - node.least, self._mask.bit_length())
                return self.joined(self._power(body, node.least), self._power(body | 1, optional))
            case _:
                return self.of(node.body)

    def _power(self, bits: int, exponent: int) -> int:
        result = 1
        while exponent and result:
            if exponent & 1:
                result = self.joined(result, bits)
            exponent >>= 1
            if exponent:
                bits = self.joined(bits, bits)
        return result


def _least(node: _Node) -> float:
    """The length of the shortest match; infinite if nothing can match."""
    match node:
        case _Chars():
            return 1 if node.wide else float("inf")
        case _Sequence():
            return sum(map(_least, node.parts))
        case _Either():
            return min(map(_least, node.branches), default=float("inf"))
        case _Repeat():
            return node.least * _least(node.body) if node.least else 0
        case _:
            return _least(node.body)


# ----------------------------------------------------------------------------------------------------- the drawing


class _Writer:
    """Writes one match of a wanted length."""

    def __init__(self, rng: random.Random, lengths: _Lengths, *, wild: bool) -> None:
        self._rng = rng
        self._lengths = lengths
        self._wild = wild
        self._groups: dict[int, str] = {}

    def write(self, node: _Node, length: int) -> str:
        match node:
            case _Chars():
                return self._rng.choice(node.wide if self._wild else node.nice)
            case _Sequence():
                return self._sequence(node, length)
            case _Either():
                return self.write(self._rng.choice([b for b in node.branches if self._can(b, length)]), length)
            case _Repeat():
                return self._repeat(node, length)
            case _Group():
                text = self._groups[node.number] = self.write(node.body, length)
                return text
            case _Again():
                return self._groups.get(node.number, "")

    def _can(self, node: _Node, length: int) -> bool:
        return bool(self._lengths.of(node) >> length & 1)

    def _sequence(self, node: _Sequence, length: int) -> str:
        rests = self._lengths.rests(node)
        written: list[str] = []
        for part, rest in zip(node.parts, rests[1:], strict=True):
            size = self._share(self._lengths.of(part), rest, length)
            written.append(self.write(part, size))
            length -= size
        return "".join(written)

    def _share(self, part: int, rest: int, length: int) -> int:
        """How much of the length the next part gets, so that the rest can have what is left."""
        return self._rng.choice([n for n in _ones(part) if n <= length and rest >> (length - n) & 1])

    def _repeat(self, node: _Repeat, length: int) -> str:
        body = self._lengths.of(node.body)
        if body.bit_count() == 1 and body > 1:
            width = body.bit_length() - 1
            return "".join(self.write(node.body, width) for _ in range(length // width))
        totals = [1]  # the lengths of 0, 1, 2 ... repetitions
        counts: list[int] = []
        while len(totals) <= node.most + 1 and len(totals) <= max(length, node.least) + 1 and len(counts) < 4:
            count = len(totals) - 1
            if count >= node.least and totals[count] >> length & 1:
                counts.append(count)
            totals.append(self._lengths.joined(totals[count], body))
        written: list[str] = []
        for count in range(self._rng.choice(counts), 0, -1):
            size = self._share(body, totals[count - 1], length)
            written.append(self.write(node.body, size))
            length -= size
        return "".join(written)


def _draw(rng: random.Random, tree: _Node, low: int, high: int, attempt: int) -> str | None:
    """A match of `low` to `high` characters, padded with letters if it cannot be so long; None if there is none."""
    least = _least(tree)
    if least > min(high, _LONGEST):
        return None
    limit = min(high, max(low, int(least)) + 40, _LONGEST)
    lengths = _Lengths(limit)
    possible = [n for n in _ones(lengths.of(tree)) if n >= low]
    if not possible and limit < high:
        lengths = _Lengths(min(high, 2 * limit + 200, _LONGEST))
        possible = [n for n in _ones(lengths.of(tree)) if n >= low]
    padded = not possible
    possible = possible or list(_ones(lengths.of(tree)))
    if not possible:
        return None
    usual = possible[3:12] if len(possible) > 6 and attempt < 20 else possible
    text = _Writer(rng, lengths, wild=attempt >= 10).write(tree, rng.choice(usual))
    if padded:
        filling = "".join(rng.choice(_ALPHANUMERIC[:26]) for _ in range(low - len(text)))
        text = text + filling if attempt % 2 == 0 else filling + text
    return text


def matching(
    rng: random.Random,
    patterns: Sequence[tuple[str, Path]],
    low: int,
    high: int,
    accept: Callable[[str], bool],
) -> str:
    """A string of `low` to `high` characters that all patterns (and their paths) match and that `accept` accepts.

    Raises SchemaError, at the first pattern's path, if a pattern is not understood or no string is found.
    """
    trees = [_understood(pattern, path)[1] for pattern, path in patterns]
    for attempt in range(_ATTEMPTS):
        text = _draw(rng, trees[attempt % len(trees)], low, high, attempt)
        if text is None or not low <= len(text) <= high:
            continue
        if all(matches(pattern, text, path) for pattern, path in patterns) and accept(text):
            return text
    pattern, path = patterns[0]
    others = " and what else is asked of it" if len(patterns) > 1 else ""
    raise SchemaError(path, f"No string{of_length(low, high)} was found that matches {pattern!r}{others}.")


def of_length(low: int, high: int) -> str:
    """Bounds of a length in words, with a space before them; nothing if there are none to speak of."""
    if high >= _LONGEST:
        return f" of at least {low} characters" if low else ""
    return f" of {low} to {high} characters"

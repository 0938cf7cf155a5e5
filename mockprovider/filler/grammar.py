"""Sentences from templates: tables that are walked without soon repeating, and texts with named slots."""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

__all__ = ["Deck", "Voice", "template"]

T = TypeVar("T")


@cache
def template(text: str) -> tuple[str, tuple[str, ...]]:
    """A text in which `{NAME}` stands for an entry of a table, as a format for `%` and the names in order.

    A slot is a brace pair around capital letters only; other braces stand for themselves, so code can be a
    template. Each text is compiled when it is first used, and once: importing hundreds of them costs nothing.
    """
    head, *parts = text.replace("%", "%%").split("{")
    fmt, names = [head], []
    for part in parts:
        name, closed, tail = part.partition("}")
        if closed and name.isalpha() and name.isupper():
            names.append(name)
            fmt.append("%s" + tail)
        else:
            fmt.append("{" + part)
    return "".join(fmt), tuple(names)


@cache
def _strides(size: int) -> tuple[int, ...]:
    """The steps by which a table of this size can be walked so that every entry is met once a round."""
    return tuple([step for step in range(1, size) if gcd(step, size) == 1]) or (1,)


class Deck(Generic[T]):
    """A table from which entries are drawn: all of them once, in a seeded order, then again in another.

    A random start, and a random stride each round, where a shuffle would draw from `rng` for every entry.
    """

    __slots__ = ("_at", "_items", "_left", "_rng", "_step")

    def __init__(self, items: Sequence[T], rng: random.Random) -> None:
        self._items = items
        self._rng = rng
        self._at = int(rng.random() * len(items))
        self._left = self._step = 0

    def draw(self) -> T:
        """The next entry; never the same twice in a row if there are two."""
        items = self._items
        if not self._left:
            strides = _strides(len(items))
            self._step = strides[int(self._rng.random() * len(strides))]
            self._left = len(items)
        self._left -= 1
        at = self._at + self._step
        if at >= len(items):
            at -= len(items)
        self._at = at
        return items[at]


class Voice:
    """A set of tables by name, with a deck for each that is in use; fills templates from them."""

    __slots__ = ("_decks", "_rng", "_tables")

    def __init__(self, rng: random.Random, tables: Mapping[str, Sequence[str]]) -> None:
        self._rng = rng
        self._tables = tables
        self._decks: dict[str, Deck[str]] = {}

    def draw(self, name: str) -> str:
        """The next entry of a table; KeyError if there is no such table."""
        deck = self._decks.get(name)
        if deck is None:
            deck = self._decks[name] = Deck(self._tables[name], self._rng)
        return deck.draw()

    def say(self, text: str) -> str:
        """The template with its slots filled; a letter a to z at the very start becomes a capital."""
        fmt, names = template(text)
        said = fmt % tuple([self.draw(name) for name in names])
        return said[0].upper() + said[1:] if said[0] in _SMALL else said


_SMALL = "abcdefghijklmnopqrstuvwxyz"

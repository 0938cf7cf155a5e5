"""Strings: matching patterns, in a format, or else words that a property of that name has in real data."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import Final

from .error import Path, SchemaError
from .formats import FORMATS, fits, formatted
from .names import FORMAT_OF, VALUES, WORDS, clues
from .pattern import matches, matching, of_length

__all__ = ["MOST_CHARACTERS", "Wanted", "text"]

MOST_CHARACTERS: Final = 100_000
"""Longer strings are not made, whatever minLength asks for."""

_MARKS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a string must be. low, high: its length in characters (code points); path: of the schema that asks.

    patterns: regular expressions that must match, each with its path. formats: names. base64: whether it must be an
    encoding of something. name: the property's, or ''. varied: whether everyday values are not varied enough.
    """

    low: int
    high: int
    path: Path
    patterns: tuple[tuple[str, Path], ...] = ()
    formats: tuple[str, ...] = ()
    base64: bool = False
    name: str = ""
    varied: bool = False

    def accepts(self, candidate: str) -> bool:
        """Whether length and formats are right; the patterns are not looked at."""
        return self.low <= len(candidate) <= self.high and all(fits(name, candidate) for name in self.formats)


def text(rng: random.Random, wanted: Wanted) -> str:
    """A string as it is wanted. Raises SchemaError if none is found."""
    if wanted.low > wanted.high:
        raise SchemaError(
            wanted.path, f"A string cannot have at least {wanted.low} and at most {wanted.high} characters."
        )
    if wanted.low > MOST_CHARACTERS:
        raise SchemaError(wanted.path, f"{wanted.low} characters are more than the {MOST_CHARACTERS} that are made.")
    known = [name for name in wanted.formats if name in FORMATS]
    if wanted.patterns:
        return _patterned(rng, wanted, known)
    for name in known:
        for _ in range(20):
            candidate = formatted(rng, name, wanted.low, wanted.high)
            if candidate is not None and wanted.accepts(candidate):
                return candidate
    if known:
        raise SchemaError(
            wanted.path,
            f"No string{of_length(wanted.low, wanted.high)} is known in the format {' and '.join(known)}.",
        )
    return _encoded(rng, wanted) if wanted.base64 else _everyday(rng, wanted)


def _patterned(rng: random.Random, wanted: Wanted, known: list[str]) -> str:
    def accept(candidate: str) -> bool:
        return wanted.accepts(candidate)

    for name in known:
        for _ in range(20):
            candidate = formatted(rng, name, wanted.low, wanted.high)
            if candidate is not None and accept(candidate) and _match(wanted, candidate):
                return candidate
    return matching(rng, wanted.patterns, wanted.low, min(wanted.high, MOST_CHARACTERS), accept)


def _match(wanted: Wanted, candidate: str) -> bool:
    return all(matches(pattern, candidate, path) for pattern, path in wanted.patterns)


def _everyday(rng: random.Random, wanted: Wanted) -> str:
    low, high = wanted.low, wanted.high
    if not wanted.varied:
        for word in clues(wanted.name):
            if word in FORMAT_OF:
                candidate = formatted(rng, FORMAT_OF[word], low, high)
                if candidate is not None:
                    return candidate
            fitting = [value for value in VALUES.get(word, ()) if low <= len(value) <= high]
            if fitting:
                return rng.choice(fitting)
    if high < 12:
        return _short(rng, low, high, varied=wanted.varied)
    words = [rng.choice(WORDS) for _ in range(rng.randrange(3, 6) if wanted.varied else rng.randrange(2, 5))]
    length = len(" ".join(words))
    while length < low:
        words.append(rng.choice(WORDS))
        length += 1 + len(words[-1])
    while len(words) > 1 and length > high and length - len(words[-1]) - 1 >= low:
        length -= len(words.pop()) + 1
    return _cut(" ".join(words), high)


def _short(rng: random.Random, low: int, high: int, *, varied: bool) -> str:
    """A word cut to length, or, for variety, letters and digits."""
    fitting = [word for word in WORDS if low <= len(word) <= high]
    if fitting and not varied:
        return rng.choice(fitting)
    if varied:
        length = rng.randrange(max(low, min(high, 1)), high + 1)
        return "".join(rng.choice(_MARKS) for _ in range(length))
    return _cut("".join(rng.choice(WORDS) for _ in range(3)), high)


def _cut(value: str, high: int) -> str:
    """The first characters; a space at the end becomes a letter, so that stripping leaves it long enough."""
    cut = value[:high]
    return cut[:-1] + "s" if cut.endswith(" ") else cut


def _encoded(rng: random.Random, wanted: Wanted) -> str:
    """Base64 of some words, as long as it is wanted: a multiple of four characters."""
    groups = max(-(-wanted.low // 4), min(4, wanted.high // 4))
    if 4 * groups > wanted.high:
        raise SchemaError(wanted.path, f"No base64 text is{of_length(wanted.low, wanted.high)}: they come in fours.")
    content = _everyday(rng, Wanted(3 * groups, 3 * groups, wanted.path, varied=wanted.varied)) if groups else ""
    return base64.b64encode(content.encode()).decode()

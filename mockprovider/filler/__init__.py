"""Seeded replies that read like a model's: prose, markdown, code, East Asian and right-to-left text, emoji.

Everything is drawn from the generator that is passed in, and from tables in this package, so the text of a
seed is the same on every machine and version of Python. (Word lists of other packages change with releases.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockprovider.filler import code, emoji, markdown, prose, scripts
from mockprovider.tokens import count

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["KINDS", "answer", "chunks", "reasoning"]

KINDS = ("prose", "markdown", "code", "cjk", "rtl", "emoji")

# Of 100 replies whose kind is not asked for, so many are of the kind.
_WEIGHTS = (("prose", 42), ("markdown", 32), ("code", 12), ("emoji", 6), ("cjk", 5), ("rtl", 3))

_PIECES: dict[str, Callable[[random.Random], Iterator[str]]] = {
    "prose": prose.pieces,
    "markdown": markdown.pieces,
    "code": code.pieces,
    "cjk": lambda rng: scripts.pieces(rng, scripts.CJK),
    "rtl": lambda rng: scripts.pieces(rng, scripts.RTL),
    "emoji": emoji.pieces,
}

_CLOSINGS: dict[str, tuple[str, ...]] = {
    "prose": prose.CLOSINGS,
    "markdown": markdown.CLOSINGS,
    "code": code.CLOSINGS,
    "emoji": emoji.CLOSINGS,
}


def _kind(rng: random.Random, kind: str | None) -> str:
    """The kind that is asked for, or one drawn by weight."""
    if kind is not None:
        if kind not in _PIECES:
            raise ValueError(f"unknown kind of reply {kind!r}: use one of {', '.join(KINDS)}")
        return kind
    point = int(rng.random() * 100)
    for name, weight in _WEIGHTS:
        point -= weight
        if point < 0:
            return name
    raise AssertionError("the weights add up to 100")


def _reach(pieces: Iterator[str], tokens: int, closing: str = "") -> str:
    """The first pieces that, with the closing, come to that many tokens or more."""
    parts: list[str] = []
    missing = tokens - count(closing)
    while missing > 0:
        piece = next(pieces)
        parts.append(piece)
        missing -= count(piece)
    return "".join([*parts, closing])


def answer(rng: random.Random, *, kind: str | None = None, tokens: int | None = None) -> str:
    """A reply of at least `tokens` tokens, as `tokens.count` counts them; 40 to 160 if that is not given.

    It is made of whole sentences, and of whole blocks in markdown and code, so it is a little longer than
    asked for. `kind` is one of `KINDS`, or drawn: mostly prose or markdown. Zero tokens are an empty reply.
    Longer ones may end with a closing sentence, which counts. Raises ValueError for an unknown kind or a
    negative length.
    """
    chosen = _kind(rng, kind)
    if tokens is None:
        tokens = 40 + int(rng.random() * 121)
    elif tokens < 0:
        raise ValueError(f"a reply cannot have {tokens} tokens")
    closings, closing = _CLOSINGS.get(chosen), ""
    if closings and tokens >= 60 and rng.random() < 0.3:
        closing = closings[int(rng.random() * len(closings))]
    return _reach(_PIECES[chosen](rng), tokens, closing)


def chunks(rng: random.Random, *, kind: str | None = None) -> Iterator[str]:
    """An endless reply in pieces: sentences or blocks, each begun by the space or lines that separate it.

    `kind` is one of `KINDS`, or drawn once. The iterator draws from `rng` as it goes, and needs no more
    memory after a million pieces than after ten. Raises ValueError for an unknown kind, at once.
    """
    return _PIECES[_kind(rng, kind)](rng)


def reasoning(rng: random.Random, *, tokens: int | None = None) -> str:
    """What a model might think before it answers: at least `tokens` tokens, 30 to 120 if that is not given.

    Raises ValueError for a negative length.
    """
    if tokens is None:
        tokens = 30 + int(rng.random() * 91)
    elif tokens < 0:
        raise ValueError(f"a text cannot have {tokens} tokens")
    return _reach(prose.thoughts(rng), tokens)

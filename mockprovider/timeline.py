"""The one shape that every level shares: a timed item, the controls, and stages.

A response is a sequence of `Timed[T] = (gap, item, origin)`:

* `gap`: seconds since the item before it was due, never negative. The player adds gaps up into absolute
  deadlines; whoever drops an item hands its gap to the next one, so time is conserved.
* `item`: a `T` of the level, or a `Control`, which is legal at every level and falls through the encoders.
* `origin`: `(choice, token)`, the ordinal of the token (from 0, counted over the choices in timeline order) that
  the item came from, or token -1 for what belongs to no token. Every lowering keeps it.

Items of the hot path are plain tuples: a frozen dataclass a level costs several times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = [
    "NOWHERE",
    "Close",
    "Control",
    "End",
    "Ending",
    "HalfClose",
    "Hang",
    "Hold",
    "Origin",
    "Reset",
    "Stage",
    "Timed",
    "run",
]

Origin: TypeAlias = tuple[int, int]
T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
Timed: TypeAlias = tuple[float, T, Origin]

NOWHERE: Origin = (0, -1)
"""The origin of what belongs to no token."""


class Control:
    """Something that the player does rather than writes; legal at every level."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Hold(Control):
    """Wait until the gate of that name is open; later deadlines are counted from the release."""

    gate: str


class Ending(Control):
    """How the exchange ends on the wire: exactly one, last."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class End(Ending):
    """The message is complete; the connection may carry the next request."""


@dataclass(frozen=True, slots=True)
class Close(Ending):
    """FIN without completing the message: what was written is flushed, no terminating chunk follows."""


@dataclass(frozen=True, slots=True)
class Reset(Ending):
    """RST: the peer's next read fails with ECONNRESET."""


@dataclass(frozen=True, slots=True)
class HalfClose(Ending):
    """FIN without completing the message, while the other direction stays open until the client closes it."""


@dataclass(frozen=True, slots=True)
class Hang(Ending):
    """Nothing more is written and the connection stays open until the client leaves."""


class Stage(Generic[In, Out]):
    """A transducer from one level to the next, or from a level to itself.

    `feed` takes one timed item and returns what follows from it; `flush` returns what is still owed when the
    source ends. A stage that keeps items back must let them go before it passes a control on.
    """

    def feed(self, timed: Timed[In | Control]) -> Iterable[Timed[Out | Control]]:
        """What follows from one item, in order; nothing where it is kept back or swallowed."""
        raise NotImplementedError

    def flush(self) -> Iterable[Timed[Out | Control]]:
        """What is still owed when the source has ended."""
        return ()

    def through(self, source: Iterator[Timed[In | Control]]) -> Iterator[Timed[Out | Control]]:
        """The source seen through this stage, pulled item by item."""
        feed = self.feed
        for timed in source:
            yield from feed(timed)
        yield from self.flush()


def run(source: Iterator[Timed[Any]], stages: Sequence[Stage[Any, Any]]) -> Iterator[Timed[Any]]:
    """The source seen through all stages, first to last. Nothing is pulled before it is asked for."""
    for stage in stages:
        source = stage.through(source)
    return source

"""Timing: silence, jitter, bursts, a trickle. Each is written once, for the level at which its position is counted.

Gaps are what is changed, never the order or content of items; the player turns them into absolute deadlines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    POSITION,
    SECONDS,
    TEXT,
    Context,
    Fault,
    Level,
    Position,
    PositionStage,
    fault,
    setting,
)
from mockprovider.reply import Finish, TextDelta
from mockprovider.timeline import Stage, Timed
from mockprovider.wire import Write

__all__ = ["Burst", "Delay", "Dribble", "Endless", "HeadersEarly", "Rate", "Stall", "Uneven"]


@fault("delay", Level.SOCKET, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(Fault):
    """The whole response, status line included, comes so many seconds later."""

    seconds: float = setting(SECONDS, 1.0, "how much later")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Adds the seconds to the first item."""
        return _AddToFirst(self.seconds)


class _AddToFirst(Stage[Any, Any]):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        yield gap + self._seconds, item, origin
        self._seconds = 0.0


@fault("headers-early", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class HeadersEarly(Fault):
    """The status line and headers leave at once; the time to the first event passes after them."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Moves the head's gap to what follows it."""
        return _HeadFirst()


class _HeadFirst(Stage[Any, Any]):
    def __init__(self) -> None:
        self._owed: float | None = None

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if self._owed is None:
            self._owed = gap
            yield 0.0, item, origin
        else:
            yield gap + self._owed, item, origin
            self._owed = 0.0


@fault("stall", Level.REPLY, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(Fault):
    """Silence at one place of the stream, then it goes on."""

    after: Position = setting(POSITION, Position(3), "where")
    seconds: float = setting(SECONDS, 1.0, "how long")

    @property
    def level(self) -> Level:
        """Where its position can be counted."""
        return self.after.level

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Adds the seconds to the item after the position."""
        return _StallStage(self.after, context, self.seconds)


class _StallStage(PositionStage):
    def __init__(self, position: Position, context: Context, seconds: float) -> None:
        super().__init__(position, context)
        self._seconds = seconds
        self._owed = 0.0

    def strike(self) -> Iterator[Timed[Any]]:
        self._owed = self._seconds
        return iter(())

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        for gap, item, origin in super().feed((timed[0], timed[1], timed[2])):
            # What stands before the position comes out of the same call with nothing owed yet.
            yield gap + self._owed, item, origin
            self._owed = 0.0


@fault("uneven", Level.REPLY, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Uneven(Fault):
    """Every token comes up to so many seconds later than it would."""

    seconds: float = setting(SECONDS, 0.2, "the longest addition to a gap")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Adds a uniform draw to the gap of each token."""
        return _EachToken(lambda gap: gap + context.rng.uniform(0, self.seconds))


@fault("rate", Level.REPLY, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Fault):
    """Tokens come no faster than so many a second."""

    tokens: int = setting(COUNT, 10, "tokens a second")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Lengthens the gap of each token to the rate's."""
        return _EachToken(lambda gap: max(gap, 1 / self.tokens))


class _EachToken(Stage[Any, Any]):
    """Changes the gap of every token but the first, whose gap is the TTFT."""

    def __init__(self, change: Any) -> None:
        self._change = change
        self._first = True

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, TextDelta):
            if not self._first:
                gap = self._change(gap)
            self._first = False
        yield gap, item, origin


@fault("burst", Level.REPLY, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Burst(Fault):
    """Tokens come in groups: so many at once, then a pause."""

    tokens: int = setting(COUNT, 64, "tokens a group")
    seconds: float = setting(SECONDS, 1.0, "the pause between groups")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Takes the gaps inside a group away and puts the pause between groups."""
        return _BurstStage(self.tokens, self.seconds)


class _BurstStage(Stage[Any, Any]):
    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._count = 0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, TextDelta):
            if self._count:
                gap = self._seconds if self._count % self._size == 0 else 0.0
            self._count += 1
        yield gap, item, origin


@fault("dribble", Level.SOCKET, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Dribble(Fault):
    """The body leaves a few bytes at a time, with a pause between."""

    bytes: int = setting(COUNT, 1, "bytes a write")
    seconds: float = setting(SECONDS, 0.05, "the pause between writes")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Cuts everything after the head into promised writes, each with its gap."""
        return _DribbleStage(self.bytes, self.seconds)


class _DribbleStage(Stage[Any, Any]):
    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._head = True

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        data = item.data if isinstance(item, Write) else item
        if self._head or not isinstance(data, bytes):
            self._head = False
            yield timed
            return
        for start in range(0, len(data), self._size):
            yield gap + self._seconds, Write(data[start : start + self._size]), origin
            gap = 0.0


@fault("endless", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class Endless(Fault):
    """The model never stops: after its text the same words again and again, and no finish reason ever."""

    text: str = setting(TEXT, " and so on,", "the words")
    seconds: float = setting(SECONDS, 0.01, "the gap between two repetitions; 0 floods the client")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not self.text:
            raise SettingError("endless: text: expected a text that is not empty")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the repetitions in the place of the first finish. SettingError for a whole one."""
        if not context.stream:
            raise SettingError("endless: a whole reply that never ends is never sent; ask for a stream")
        return _EndlessStage(self.text, self.seconds)


class _EndlessStage(Stage[Any, Any]):
    def __init__(self, text: str, seconds: float) -> None:
        self._text = text
        self._seconds = seconds

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, (choice, token) = timed
        if not isinstance(item, Finish):
            yield timed
            return
        while True:
            gap += self._seconds
            token += 1
            yield gap, TextDelta(self._text, item.choice), (choice, token)
            gap = 0.0

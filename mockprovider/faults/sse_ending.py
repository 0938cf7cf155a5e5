"""The event stream: its sentinel, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    NATURAL,
    POSITION,
    Context,
    Fault,
    Level,
    Position,
    PositionStage,
    fault,
    setting,
)
from mockprovider.faults.blocks import LINE, EachBlock, is_done, joined, lines_of, whole, with_data
from mockprovider.timeline import NOWHERE, Control, End, Ending, Hang, Stage, Timed

__all__ = ["Done", "DoneText", "Eof", "HeldOpen", "NoFinalBlank"]


@fault("done", Level.EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Fault):
    """The sentinel of OpenAI's streams is missing, or comes more than once."""

    times: int = setting(NATURAL, 0, "how often it comes")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Drops or repeats the sentinel's block."""
        return _DoneStage(self.times)


class _DoneStage(Stage[bytes, bytes]):
    def __init__(self, times: int) -> None:
        self._times = times
        self._owed = 0.0

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if isinstance(item, Control) or not is_done(item):
            yield gap, item, origin
            return
        for _ in range(self._times):
            yield gap, item, origin
            gap = 0.0
        self._owed = gap


@fault("done-text", Level.EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class DoneText(Fault):
    """The sentinel of OpenAI's streams is another text."""

    text: str = setting(LINE, "[DONE] ", "what it is instead")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Replaces the data of the sentinel's block."""
        text = self.text.encode("utf-8", "backslashreplace")
        return EachBlock(lambda block: with_data(block, text) if is_done(block) else block)


@fault("eof", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class Eof(Fault):
    """The body ends at one place as if it were complete: what would follow never comes."""

    after: Position = setting(POSITION, Position(3), "where")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.after.level is Level.SOCKET:
            raise SettingError(
                f"eof: after: expected a position in tokens, events or %, got {self.after}; "
                "inside a write only `close` and `reset` can end the message"
            )

    @property
    def level(self) -> Level:
        """Where its position can be counted."""
        return self.after.level

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Ends the message at the position."""
        return _EofStage(self.after, context)


class _EofStage(PositionStage):
    def strike(self) -> Iterator[Timed[Any]]:
        yield 0.0, End(), NOWHERE


@fault("held-open", Level.EVENT, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOpen(Fault):
    """After the last event the message is not ended: nothing more comes and the connection stays open."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts a Hang in the place of the end."""
        return _HeldOpenStage()


class _HeldOpenStage(Stage[bytes, bytes]):
    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        yield gap, Hang() if isinstance(item, End) else item, origin

    def flush(self) -> Iterator[Timed[bytes | Control]]:
        yield 0.0, Hang(), NOWHERE


@fault("no-final-blank", Level.EVENT, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoFinalBlank(Fault):
    """The last event lacks its blank line, or even the end of its last line."""

    keep: int = setting(whole(0, 2), 1, "how many line ends are left after its last line")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Keeps each block back until it is known whether another follows; that takes no time."""
        return _NoFinalBlankStage(self.keep)


class _NoFinalBlankStage(Stage[bytes, bytes]):
    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._held: Timed[bytes] | None = None

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        if isinstance(item, Ending):
            yield from self.flush()
        elif self._held is not None:
            yield self._held
            self._held = None
        if isinstance(item, Control):
            yield timed
        else:
            self._held = (gap, item, origin)

    def flush(self) -> Iterator[Timed[bytes | Control]]:
        if self._held is not None:
            gap, block, origin = self._held
            self._held = None
            lines = lines_of(block)
            while len(lines) > 1 and not lines[-1][0]:
                lines.pop()
            text, end = lines[-1]
            yield gap, joined(lines[:-1]) + text + end * self._keep, origin

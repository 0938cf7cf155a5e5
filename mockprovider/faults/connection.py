"""Connection: how the exchange ends on the wire. Each puts an ending, or something near it, at a position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.faults.base import (
    POSITION,
    Context,
    Fault,
    Level,
    Position,
    PositionStage,
    fault,
    setting,
)
from mockprovider.timeline import NOWHERE, Close, Ending, HalfClose, Hang, Reset, Stage, Timed

__all__ = ["CloseFault", "HalfCloseFault", "HangFault", "ResetFault"]


class _EndStage(PositionStage):
    def __init__(self, position: Position, context: Context, ending: Ending) -> None:
        super().__init__(position, context)
        self._ending = ending

    def strike(self) -> Iterator[Timed[Any]]:
        yield 0.0, self._ending, NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut(Fault):
    after: Position = setting(POSITION, Position(3), "where")

    @property
    def level(self) -> Level:
        """Where its position can be counted."""
        return self.after.level


@fault("reset", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class ResetFault(_Cut):
    """RST: the client's next read fails with ECONNRESET. What came before it arrives first."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts a Reset at the position."""
        return _EndStage(self.after, context, Reset())


@fault("close", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class CloseFault(_Cut):
    """FIN in the midst of the message: what was written arrives, the terminating chunk never does."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts a Close at the position."""
        return _EndStage(self.after, context, Close())


@fault("half-close", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class HalfCloseFault(_Cut):
    """FIN in the midst of the message, and the server still reads: what the client sends then gets no RST."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts a HalfClose at the position."""
        return _EndStage(self.after, context, HalfClose())


@fault("hang", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class HangFault(_Cut):
    """Nothing more is sent and the connection stays open until the client leaves."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts a Hang at the position."""
        return _EndStage(self.after, context, Hang())

"""Where time comes from: the machine's clocks, or a virtual one for tests."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock", "VirtualClock"]


class Clock(Protocol):
    """A source of time. Both methods return seconds as a float."""

    def now(self) -> float:
        """Monotonic seconds, the time base of every deadline."""

    def wall(self) -> float:
        """Seconds since the epoch, for stamps that a person reads."""


class SystemClock:
    """The machine's clocks. `now` is the clock of asyncio's loops, so deadlines may be compared."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class VirtualClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self, now: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        self._now = now
        self._offset = wall - now

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; never backwards."""
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        self._now += seconds

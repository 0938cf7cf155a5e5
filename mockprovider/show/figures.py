"""Gaps between tokens as figures: percentiles and stalls. All durations are seconds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Stall", "Timing", "percentile", "stalls_in", "threshold"]

SHORTEST_STALL = 0.25
"""Seconds: a shorter silence is no stall, however fast the tokens came."""
TIMES_THE_MEDIAN = 8
"""A silence is a stall where it is so many times the median gap."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A silence among tokens. after: how many token-bearing events came before it; at: seconds since the request."""

    after: int
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timing:
    """When an exchange's parts came, in seconds since the request.

    head: the response's head; ttft: the first token-bearing event; gaps: between token-bearing events, 0.0 for those
    of one read; end: the ending, or the last read. None where there was none.
    """

    head: float | None
    ttft: float | None
    gaps: tuple[float, ...]
    end: float
    stalls: tuple[Stall, ...]

    def itl(self, percent: float) -> float | None:
        """A percentile of the inter-token latency; None where there are no two tokens."""
        return percentile(self.gaps, percent) if self.gaps else None

    @property
    def rate(self) -> float | None:
        """Token-bearing events a second after the first; None where nothing can be said."""
        total = sum(self.gaps)
        return len(self.gaps) / total if total > 0 else None


def percentile(values: Sequence[float], percent: float) -> float:
    """With linear interpolation between neighbours. ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values have no percentiles")
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def threshold(gaps: Sequence[float]) -> float:
    """How long a silence must be to be called a stall, seconds."""
    moving = sorted(gap for gap in gaps if gap > 0)
    # The lower of two in the middle: of two gaps, one may be the stall.
    return max(SHORTEST_STALL, TIMES_THE_MEDIAN * moving[(len(moving) - 1) // 2]) if moving else SHORTEST_STALL


def stalls_in(times: Sequence[float]) -> tuple[Stall, ...]:
    """The silences among these times of token-bearing events that stand out."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    least = threshold(gaps)
    return tuple(Stall(number, times[number - 1], gap) for number, gap in enumerate(gaps, start=1) if gap >= least)

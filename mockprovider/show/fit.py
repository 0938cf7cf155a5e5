"""From recorded gaps to a pace for generated replies: a distribution whose median and p90 are those recorded.

The fit is robust: it looks at percentiles alone, and stalls are left out, to be laid over as faults. Of the shapes
that meet median and p90, the one is taken that is nearest to the other percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mockprovider.errors import SettingError
from mockprovider.pace import WIDEST, Chunking, Distribution, Pacing
from mockprovider.show.figures import Stall, percentile, threshold
from mockprovider.show.view import View

__all__ = ["Fitted", "distribution", "fit"]

_Z90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""
_OTHERS = {10: -_Z90, 25: -0.6744897501960817, 75: 0.6744897501960817, 95: 1.6448536269514722}
"""Percentiles by which shapes are told apart, with their standard normal quantiles."""
_FEW = 8
"""With fewer values than this nothing can be said of a shape: they are put as their range."""
_SHARED = 0.2
"""Where so many gaps are zero, tokens are taken to come several in a write."""
_EARLY = 0.005
"""Seconds: a head that came earlier than the first token by less came with it."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A pace, and what it was made from. chunking: None where tokens came one by one; gaps: without the stalls."""

    pacing: Pacing
    chunking: Chunking | None
    gaps: tuple[float, ...]
    stalls: tuple[Stall, ...]


def fit(views: Sequence[View]) -> Fitted:
    """A pace for all of these together. SettingError where they tell of no times, or hold no two token events."""
    timed = [seen for seen in views if seen.timed and seen.timing.ttft is not None]
    if not timed:
        raise SettingError("fit: in none of the recordings are there token events whose times were recorded")
    every = [gap for seen in timed for gap in seen.timing.gaps]
    if not every:
        raise SettingError("fit: there are no two token events in any of the recordings")
    limit = threshold(every)
    gaps = tuple(gap for gap in every if gap < limit) or tuple(every)
    moving = [gap for gap in gaps if gap > 0]
    size = round(len(gaps) / len(moving)) if moving and len(moving) < (1 - _SHARED) * len(gaps) else 1
    chunking = Chunking(payloads_per_chunk=Fraction(size)) if size > 1 else None
    itl = distribution([gap / size for gap in moving] if size > 1 else gaps)
    ttft = distribution([seen.timing.ttft for seen in timed if seen.timing.ttft is not None])
    return Fitted(
        Pacing(ttft, itl, head=_head(timed)), chunking, gaps, tuple(s for v in timed for s in v.timing.stalls)
    )


def _head(timed: Sequence[View]) -> float | None:
    """When the head leaves; None where it came with the first token."""
    pairs = [(v.timing.head, v.timing.ttft) for v in timed if v.timing.head is not None and v.timing.ttft is not None]
    if not pairs or percentile([ttft - head for head, ttft in pairs], 50) < _EARLY:
        return None
    return _rounded(percentile([head for head, _ in pairs], 50))


def _rounded(value: float) -> float:
    """To three significant digits, and not finer than a microsecond."""
    return round(float(f"{value:.3g}"), 6)


def distribution(values: Sequence[float]) -> Distribution:
    """The distribution of these durations: a constant, a range, or the shape that meets their percentiles best."""
    median, high = percentile(values, 50), percentile(values, 90)
    if len(values) < 2 or max(values) - min(values) <= 0.02 * median or high <= 0:
        return Distribution(_rounded(median))
    if len(values) < _FEW:
        return Distribution.between(_rounded(min(values)), _rounded(max(values)))
    if median <= 0:  # more than half come with the one before: no shape has that, and the mean is kept
        return Distribution(_rounded(sum(values) / len(values)))
    if high <= median * 1.01:
        return Distribution(_rounded(median))
    recorded = {percent: percentile(values, percent) for percent in _OTHERS}
    candidates = [make(median, high) for make in (_gamma, _lognormal, _normal, _uniform)]
    return min((one for one in candidates if one is not None), key=lambda one: _distance(one, recorded))[0]


_Shape = tuple[Distribution, Callable[[float], float]]
"""A distribution, and its quantile for a standard normal quantile."""


def _distance(shape: _Shape, recorded: dict[int, float]) -> float:
    floor = 1e-6
    return sum(abs(math.log(max(shape[1](z), floor) / max(recorded[p], floor))) for p, z in _OTHERS.items())


def _lognormal(median: float, high: float) -> _Shape | None:
    sigma = math.log(high / median) / _Z90
    cv = math.sqrt(math.expm1(sigma * sigma)) if sigma < 2 else math.inf
    if cv > WIDEST:
        return None
    mean = median * math.exp(sigma * sigma / 2)
    return Distribution(_rounded(mean), "lognormal", _rounded(cv)), lambda z: median * math.exp(sigma * z)


def _normal(median: float, high: float) -> _Shape | None:
    deviation = (high - median) / _Z90
    if deviation > 2 * median:
        return None
    made = Distribution(_rounded(median), "normal", _rounded(deviation / median))
    return made, lambda z: max(median + deviation * z, 0.0)


def _uniform(median: float, high: float) -> _Shape | None:
    half = (high - median) / 0.8
    if half > median:
        return None
    low = median - half
    made = Distribution.between(_rounded(low), _rounded(median + half))
    return made, lambda z: low + 2 * half * (0.5 + math.erf(z / math.sqrt(2)) / 2)


def _gamma(median: float, high: float) -> _Shape | None:
    """By Wilson and Hilferty's approximation, which is good where the shape parameter is above 1/2."""

    def cube(shape: float, z: float) -> float:
        return max(1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape)), 0.0) ** 3

    low, top = 0.5, 1e6
    if not cube(top, _Z90) / cube(top, 0) < high / median < cube(low, _Z90) / cube(low, 0):
        return None
    for _ in range(100):
        middle = math.sqrt(low * top)
        wider = cube(middle, _Z90) / cube(middle, 0) > high / median
        low, top = (middle, top) if wider else (low, middle)
    shape, mean = low, median / cube(low, 0)
    return Distribution(_rounded(mean), "gamma", _rounded(1 / math.sqrt(shape))), lambda z: mean * cube(shape, z)

"""Numbers between bounds and on a grid, of an everyday size where the schema leaves it open.

All reckoning is in fractions of the decimals as they are written, so 0.3 is a multiple of 0.1. Multiples for which a
division of binary floats would say otherwise (0.3 / 0.1 is 2.9999999999999996) are avoided while there are others,
because most validators divide.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from .names import clues

__all__ = ["Range", "exact", "integer", "number"]

_ZERO = Fraction(0)
_USUAL: Final = (Fraction(1), Fraction(100))
# By the last known word of a property's name: the everyday range of such a number.
_BY_NAME: Final[dict[str, tuple[int, int]]] = {
    "age": (18, 80),
    "confidence": (0, 1),
    "day": (1, 28),
    "hour": (0, 23),
    "lat": (-60, 70),
    "latitude": (-60, 70),
    "limit": (5, 50),
    "lng": (-180, 180),
    "lon": (-180, 180),
    "longitude": (-180, 180),
    "minute": (0, 59),
    "month": (1, 12),
    "page": (1, 12),
    "population": (20_000, 9_000_000),
    "port": (1024, 49_151),
    "price": (2, 400),
    "probability": (0, 1),
    "quantity": (1, 12),
    "rating": (1, 5),
    "score": (0, 1),
    "second": (0, 59),
    "temperature": (-10, 35),
    "timestamp": (1_672_531_200, 1_767_225_599),
    "width": (10, 2000),
    "year": (1990, 2025),
}


def exact(number: int | float) -> Fraction:
    """The number as it is written: 0.1 is a tenth, not the nearest binary fraction.

    A float without a fraction is taken as the integer that it is, because 1e300 is not ten to the power of 300, and a
    validator's comparison knows.
    """
    return Fraction(number) if isinstance(number, int) or number.is_integer() else Fraction(repr(number))


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds, each with whether it is left out itself, and the numbers that a value must be a multiple of."""

    low: Fraction | None = None
    low_open: bool = False
    high: Fraction | None = None
    high_open: bool = False
    steps: tuple[Fraction, ...] = ()

    def contains(self, value: int | float) -> bool:
        """Whether the bounds allow the value."""
        decimal = exact(value)
        if self.low is not None and (decimal < self.low or (self.low_open and decimal == self.low)):
            return False
        return self.high is None or not (decimal > self.high or (self.high_open and decimal == self.high))


def integer(rng: random.Random, bounds: Range, name: str, *, varied: bool) -> int | None:
    """An integer, or None if there is none. name: the property's; varied: far from everyday if need be."""
    step = _common((Fraction(1), *bounds.steps))
    for grid in _grids(bounds, step, name, varied=varied):
        found = _on_grid(rng, bounds, step, grid)
        if isinstance(found, int):
            return found
    return None


def number(rng: random.Random, bounds: Range, name: str, *, varied: bool) -> int | float | None:
    """A number, or None if there is none."""
    if bounds.steps:
        step = _common(bounds.steps)
        for grid in _grids(bounds, step, name, varied=varied):
            found = _on_grid(rng, bounds, step, grid)
            if found is not None:
                return found
        return None
    for digits in _decimals(bounds, name):
        step = Fraction(1, 10**digits)
        for grid in _grids(bounds, step, name, varied=varied):
            found = _on_grid(rng, bounds, step, grid) if grid[1] - grid[0] >= 8 else None
            if found is not None:
                return found
    return _beside(bounds)


def _decimals(bounds: Range, name: str) -> list[int]:
    """How many decimals to try: two, or as many as make a hundred different numbers of a narrow range."""
    digits = [3 if _everyday(name) == (_ZERO, Fraction(1)) else 2]
    if bounds.low is not None and bounds.high is not None and bounds.low < bounds.high:
        inverse = 100 / (bounds.high - bounds.low)
        digits.append(max(len(str(math.ceil(inverse))), 2))
    return digits


def _everyday(name: str) -> tuple[Fraction, Fraction] | None:
    """The everyday range that the last telling word of a name has."""
    for word in clues(name):
        if word in _BY_NAME:
            low, high = _BY_NAME[word]
            return Fraction(low), Fraction(high)
    return None


def _common(steps: tuple[Fraction, ...]) -> Fraction:
    """The least common multiple."""
    least = steps[0]
    for step in steps[1:]:
        least = Fraction(math.lcm(least.numerator, step.numerator), math.gcd(least.denominator, step.denominator))
    return least


def _grids(bounds: Range, step: Fraction, name: str, *, varied: bool) -> list[tuple[int, int]]:
    """Multiples of the step (first, last) from bound to bound: the most everyday part first, at last all of them."""
    low, high = bounds.low, bounds.high
    usual = _everyday(name) or _USUAL
    windows = [] if varied else [usual, (_ZERO, Fraction(100))]
    span = max(Fraction(100), 1000 * step) * (100_000 if varied else 1)
    if low is None and high is None:
        windows.append((_ZERO, span))
    elif low is not None and (high is None or high - low > span):
        windows.append((low, low + span))
    elif high is not None and low is None:
        windows.append((high - span, high))
    if low is not None and high is not None:
        windows.append((low, high))
    grids = []
    for window_low, window_high in windows:
        start = window_low if low is None else max(low, window_low)
        end = window_high if high is None else min(high, window_high)
        first, last = math.ceil(start / step), math.floor(end / step)
        if first <= last:
            grids.append((first, last))
    return grids


def _on_grid(rng: random.Random, bounds: Range, step: Fraction, grid: tuple[int, int]) -> int | float | None:
    first, last = grid
    fallback: int | float | None = None
    for attempt in range(60):
        # At random first; then one after the other, in case that only few will do.
        factor = rng.randrange(first, last + 1) if attempt < 30 else first + attempt - 30
        if factor > last:
            break
        value = _plain(factor * step)
        if value is None or not bounds.contains(value):
            continue
        if all(_divides(value, each) for each in bounds.steps):
            return value
        fallback = value if fallback is None else fallback
    return fallback


def _plain(value: Fraction) -> int | float | None:
    """The JSON number that is written as this value; None if no float is."""
    if value.denominator == 1:
        return value.numerator
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if exact(result) == value else None


def _divides(value: int | float, step: Fraction) -> bool:
    """Whether a division of floats also says that the value is a multiple."""
    if step.denominator == 1 and isinstance(value, int):
        return value % step.numerator == 0
    try:
        quotient = value / float(step)
    except OverflowError:
        return True
    return math.isfinite(quotient) and quotient == int(quotient)


def _beside(bounds: Range) -> int | float | None:
    """A number in a range that is too narrow for round ones: at a bound, or the next float beside one."""
    found: list[float] = []
    for bound, direction in ((bounds.low, math.inf), (bounds.high, -math.inf)):
        if bound is not None:
            try:
                near = float(bound)
            except OverflowError:
                continue
            found += [near, math.nextafter(near, direction)]
    for value in found:
        if math.isfinite(value) and bounds.contains(value):
            return int(value) if value == int(value) else value
    return None

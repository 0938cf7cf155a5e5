"""Drawings of plain Unicode characters, as wide as they may be, that need no colour. Durations are seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mockprovider.show.figures import Timing, percentile

__all__ = ["axis", "gap_bars", "progress", "seconds", "strip"]

_ROOMY = 72
"""Columns from which on percentiles have their values beside them, which are above the drawing too."""
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_BARS = " ▏▎▍▌▋▊▉█"


def seconds(value: float) -> str:
    """A duration as people write it: `12.3 ms`, `0.412 s`, `75.2 s`."""
    if value < 0.0005:
        return "0 ms" if value == 0 else f"{value * 1000:.2g} ms"
    if value < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def _column(time: float, total: float, width: int) -> int:
    return min(int(time / total * width), width - 1) if total > 0 else 0


def progress(times: Sequence[float], total: float, width: int, height: int) -> Iterator[str]:
    """Token-bearing events so far, over time, as a filled staircase: flat where nothing came.

    times: ascending; total: seconds that the width stands for. Each line has `width` characters of drawing.
    """
    counts = [0] * width
    for time in times:
        counts[_column(time, total, width)] += 1
    level, levels = 0, []
    for count in counts:
        level += count
        levels.append(level / max(len(times), 1) * height)
    for row in range(height - 1, -1, -1):
        yield "".join(_EIGHTHS[max(0, min(8, math.ceil((high - row) * 8)))] for high in levels)


def strip(times: Sequence[float], total: float, width: int) -> str:
    """How many came in each span of time, as one line; `·` where none did."""
    counts = [0] * width
    for time in times:
        counts[_column(time, total, width)] += 1
    most = max(counts, default=0) or 1
    return "".join(_EIGHTHS[math.ceil(count / most * 8)] if count else "·" for count in counts)


def axis(total: float, width: int) -> str:
    """Times below a drawing of this width, as many as fit."""
    line: list[str] = [" "] * width
    steps = max(1, min(6, width // 12))
    for step in range(steps + 1):
        text = seconds(total * step / steps) if step else "0"
        at = min(round(step / steps * (width - 1)), width - len(text))
        at = max(0, at if step in (0, steps) else at - len(text) // 2)
        line[at : at + len(text)] = text
    return "".join(line[:width]).rstrip()


def gap_bars(timing: Timing, width: int) -> Iterator[str]:
    """The gaps between tokens, sorted into spans that double, as bars; p50, p90 and p99 beside the span they are in."""
    gaps = timing.gaps
    if not gaps:
        return
    marks = {name: percentile(gaps, value) for name, value in (("p50", 50.0), ("p90", 90.0), ("p99", 99.0))}
    bounds = _bounds(gaps)
    rows = []
    low = -1.0
    for high in bounds:
        count = sum(low < gap <= high for gap in gaps)
        there = [(name, value) for name, value in marks.items() if low < value <= high]
        inside = [f"{name} {seconds(value)}" if width >= _ROOMY else name for name, value in there]
        rows.append((high, count, "  ".join(inside)))
        low = high
    most = max(count for _, count, _ in rows)
    notes = max(len(note) for _, _, note in rows)
    room = max(4, width - 17 - len(str(most)) - notes)
    for high, count, named in rows:
        label = "same read" if high == 0 else f"≤ {seconds(high)}"
        size = count / most * room
        bar = "█" * int(size) + _BARS[int(size % 1 * 8)].strip()
        bar = bar or ("▏" if count else "")
        yield f"{label:>11} {bar} {count}{'   ' + named if named else ''}".rstrip()


def _bounds(gaps: Sequence[float]) -> list[float]:
    """The upper ends of the spans: 0 for tokens of one read, then 1, 2, 5, 10 … milliseconds up to the longest gap."""
    found = [0.0] if min(gaps) == 0 else []
    exponent, longest = -4, max(gaps)
    least = min((gap for gap in gaps if gap > 0), default=0.0)
    while longest > 0:
        for digit in (1, 2, 5):
            bound = digit * 10.0**exponent
            if bound >= least:
                found.append(bound)
            if bound >= longest:
                return found
        exponent += 1
    return found

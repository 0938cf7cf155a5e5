"""SVG pictures by plain code: bars, and lines with a legend."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from benchmarks.figures import Plot, number

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 150, 46, 52
COLOURS = ("#0b6e99", "#c4501b", "#4a7c2a", "#7a4fa3", "#8a6d00", "#555555")


def svg(plot: Plot) -> str:
    """The picture as an SVG document."""
    return _bars(plot) if plot.bars else _lines(plot)


def _document(width: int, height: int, title: str, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        f'<text x="16" y="24" font-size="15" font-weight="600">{escape(title)}</text>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _bars(plot: Plot) -> str:
    """Horizontal bars on a logarithmic scale; what is nothing there has the shortest."""
    name_width, row = 290, 28
    largest = max(value for _, value in plot.bars) or 1.0
    smallest = min((value for _, value in plot.bars if value), default=largest)
    low = 10 ** math.floor(math.log10(min(smallest, largest / 100)))
    room = WIDTH - name_width - 100
    parts = [f'<text x="16" y="42" fill="#555">{escape(plot.y_label)}, logarithmic</text>']
    for i, (name, value) in enumerate(plot.bars):
        y = 56 + i * row
        length = max(1.0, room * math.log10(value / low) / math.log10(largest / low)) if value else 1.0
        colour = COLOURS[0] if name.startswith("mockprovider") else "#9aa5ad"
        parts.append(f'<text x="{name_width - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{name_width}" y="{y}" width="{length:.1f}" height="{row - 8}" fill="{colour}"/>')
        parts.append(f'<text x="{name_width + length + 6:.1f}" y="{y + 14}">{number(value)}</text>')
    return _document(WIDTH, 72 + row * len(plot.bars), plot.title, parts)


class _Axis:
    """Maps values to places between two ends, straight or logarithmic, and chooses the marks."""

    def __init__(self, values: list[float], start: float, end: float, *, log: bool) -> None:
        self.log, self.start, self.end = log, start, end
        if log:
            self.low = float(math.floor(math.log10(min(values))))
            self.high = float(math.ceil(math.log10(max(values))))
            self.high = max(self.high, self.low + 1)
            self.marks = [10.0**power for power in range(int(self.low), int(self.high) + 1)]
            return
        top = max(values) or 1.0
        step = 10 ** math.floor(math.log10(top))
        step = next(step * part for part in (0.1, 0.2, 0.5, 1.0, 2.0) if top / (step * part) <= 8)
        self.low, self.high = 0.0, step * math.ceil(top / step)
        self.marks = [step * i for i in range(round(self.high / step) + 1)]

    def at(self, value: float) -> float:
        """The place of a value."""
        part = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def _lines(plot: Plot) -> str:
    points = [point for line in plot.lines.values() for point in line]
    if not points:
        return _document(WIDTH, 80, plot.title, ['<text x="16" y="56">nothing was measured</text>'])
    floor = 1e-3
    x_axis = _Axis([max(floor, x) for x, _ in points], LEFT, WIDTH - RIGHT, log=plot.log_x)
    marked = [plot.mark_y] if plot.mark_y is not None else []
    y_axis = _Axis([max(floor, y) for _, y in points] + marked, HEIGHT - BOTTOM, TOP, log=plot.log_y)
    parts = _grid(plot, x_axis, y_axis)
    if plot.mark_y is not None:
        y = y_axis.at(plot.mark_y)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#b00" stroke-dasharray="5 4"/>'
        )
        parts.append(
            f'<text x="{WIDTH - RIGHT + 6}" y="{y + 4:.1f}" fill="#b00">'
            f"{number(plot.mark_y)} {escape(plot.y_label)}</text>"
        )
    for i, (name, line) in enumerate(plot.lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        places = [(x_axis.at(max(floor, x)), y_axis.at(max(floor, y))) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 14 + 20 * i
        parts.append(f'<rect x="{WIDTH - RIGHT + 20}" y="{y - 9}" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 38}" y="{y - 2}">{escape(name)}</text>')
    return _document(WIDTH, HEIGHT, plot.title, parts)


def _grid(plot: Plot, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    for mark in y_axis.marks:
        y = y_axis.at(mark)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(mark)}</text>')
    for mark in x_axis.marks:
        x = x_axis.at(mark)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(mark)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(plot.x_label)}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">{escape(plot.y_label)}</text>')
    return parts

"""The timeline of an exchange as a picture: one SVG document that needs nothing else, for light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from mockprovider.show.plot import seconds
from mockprovider.show.terminal import ENDINGS, fit_to, made_up
from mockprovider.show.view import View

__all__ = ["svg"]

_WIDTH, _HEIGHT = 880, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 76, 70
_STYLE = """
text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-size:16px;font-weight:600}.s{fill:#59636e}
.a{stroke:#818b98;stroke-width:1;fill:none}.c{stroke:#0969da;stroke-width:2;fill:none}.k{stroke:#0969da;stroke-width:1}
.o{stroke:#818b98;stroke-width:1}.w{fill:#d1242f;fill-opacity:.14}.b{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.s{fill:#9198a1}.c,.k{stroke:#4493f8}.b{fill:#0d1117}}
"""


def svg(seen: View) -> str:
    """The picture: token events so far over time, a tick for each event, stalls shaded, TTFT and ITL in words."""
    return "\n".join(_elements(seen)) + "\n"


def _elements(seen: View) -> Iterator[str]:
    title = fit_to(f"{seen.recording.request.method} {seen.recording.request.target}", 90)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' role="img" aria-label={quoteattr(title)}>'
    )
    yield f"<title>{escape(title)}</title><style>{_STYLE.strip()}</style>"
    yield f'<rect class="b" width="{_WIDTH}" height="{_HEIGHT}"/>'
    yield f'<text class="t" x="{_LEFT}" y="28">{escape(title)}</text>'
    yield f'<text x="{_LEFT}" y="50">{escape(_facts(seen))}</text>'
    note = made_up(seen.recording)
    if note is not None:
        yield f'<text class="s" x="{_LEFT}" y="{_HEIGHT - 10}">{escape(fit_to(note, 120))}</text>'
    if seen.timed and seen.timing.end > 0:
        yield from _plot(seen)
    else:
        yield f'<text class="s" x="{_LEFT}" y="{_HEIGHT // 2}">no timeline: when the parts came was not recorded</text>'
    yield "</svg>"


def _facts(seen: View) -> str:
    timing = seen.timing
    facts = [seen.dialect or "unknown dialect", f"{sum(seen.tokens)} token events"]
    if seen.timed:
        facts += [f"TTFT {seconds(timing.ttft)}"] if timing.ttft is not None else []
        for percent in (50, 90, 99):
            value = timing.itl(percent)
            facts += [f"ITL p{percent} {seconds(value)}"] if value is not None else []
    return " · ".join([*facts, ENDINGS[seen.recording.ending]])


def _plot(seen: View) -> Iterator[str]:
    total = seen.timing.end
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = _TOP + height
    times = [event.at for event, token in zip(seen.events, seen.tokens, strict=True) if token]

    def across(time: float) -> str:
        return f"{_LEFT + min(time / total, 1) * width:.1f}"

    def up(count: int) -> str:
        return f"{base - count / max(len(times), 1) * height:.1f}"

    for stall in seen.timing.stalls:
        wide = stall.seconds / total * width
        yield (
            f'<rect class="w" x="{across(stall.at)}" y="{_TOP}" width="{wide:.1f}" height="{height}">'
            f"<title>stall of {seconds(stall.seconds)}</title></rect>"
        )
    yield f'<path class="a" d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}"/>'
    for step in range(7):
        time = total * step / 6
        label = seconds(time) if step else "0"
        yield f'<text class="s" x="{across(time)}" y="{base + 34}" text-anchor="middle">{label}</text>'
    yield f'<text class="s" x="{_LEFT - 8}" y="{_TOP + 10}" text-anchor="end">{len(times)}</text>'
    yield f'<text class="s" x="{_LEFT - 8}" y="{base}" text-anchor="end">0</text>'
    path = [f"M{_LEFT} {base}"] + [f"H{across(time)}V{up(count)}" for count, time in enumerate(times, start=1)]
    yield f'<path class="c" d="{"".join(path)}H{across(total)}"/>'
    for event, token in zip(seen.events, seen.tokens, strict=True):
        if event.kind != "blank":
            ends = f'y1="{base + 4}" y2="{base + (14 if token else 9)}"'
            yield f'<line class="{"k" if token else "o"}" x1="{across(event.at)}" x2="{across(event.at)}" {ends}/>'
    for at, name in ((seen.timing.head, "head"), (seen.timing.ttft, "first token")):
        if at is not None:
            ends = f'x1="{across(at)}" x2="{across(at)}" y1="{_TOP}" y2="{base}"'
            yield f'<line class="a" stroke-dasharray="3 3" {ends}><title>{name} after {seconds(at)}</title></line>'

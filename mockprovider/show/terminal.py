"""A recorded exchange as lines of text for a terminal. Nothing that was recorded can steer the terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from mockprovider.preview import visible
from mockprovider.recording import Recording
from mockprovider.show.answers import TERMINATORS
from mockprovider.show.events import NOT_JSON, Event
from mockprovider.show.plot import axis, gap_bars, progress, seconds, strip
from mockprovider.show.view import View, prompt_of, view

__all__ = ["ENDINGS", "columns", "event_lines", "fit_to", "made_up", "printable", "raw_lines", "rows", "shown"]

ENDINGS = {
    "end": "complete",
    "close": "closed before it was complete (FIN)",
    "reset": "reset (RST)",
    "timeout": "silence until one side gave up",
    "client-left": "the client left",
    None: "unknown: the recording was cut off",
}
_TELLING = (
    "x-request-id",
    "request-id",
    "retry-after",
    "openai-processing-ms",
    "server",
    "content-encoding",
    "location",
)
_HEIGHT = 6


def printable(text: str) -> str:
    """The text with its line ends, and a picture for every other character that does not print."""
    return "".join(map(_picture, text.replace("\r\n", "\n").replace("\t", "    ")))


def _picture(character: str) -> str:
    if character in {"\n", " "}:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    # Marks that join or turn text are shown as such: they make a terminal show what is not there.
    kind = unicodedata.category(character)
    if kind == "Cf" and character != "\u200d":
        return f"⟨U+{code:04X}⟩"
    return f"⟨U+{code:04X}⟩" if kind in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") else character


def columns(text: str) -> int:
    """How many columns of a terminal a line takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(one) or one == "\u200d" else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def fit_to(text: str, width: int) -> str:
    """One line of at most so many columns; `…` where it was cut."""
    text = " ".join(printable(text).split("\n"))
    if columns(text) <= width:
        return text
    used, kept = 1, []
    for one in text:
        used += columns(one)
        if used > width:
            break
        kept.append(one)
    return "".join(kept) + "…"


def made_up(recording: Recording) -> str | None:
    """A sentence on what was not recorded; None where all was."""
    if not recording.source:
        return None
    where = f"imported from {recording.source.get('format', 'another tool')}"
    if recording.source.get("file"):
        where += f", {recording.source['file']}"
    number = recording.source.get("interaction")
    where += f" #{number}" if isinstance(number, int) and number > 1 else ""
    lacking = ", ".join(sorted(recording.synthetic))
    return f"{where}; not recorded but made up: {lacking}" if lacking else where


# ---------------------------------------------------------------------------------------------- the page


def shown(recording: Recording, width: int, *, events: bool = False, raw: bool = False) -> Iterator[str]:
    """The exchange as a page. width: columns; events: all of them, not the first and last; raw: the bytes as well."""
    seen = view(recording)
    yield from _request(recording, width)
    yield from _response(seen, width)
    yield ""
    yield from _answer(seen, width)
    yield ""
    yield from _times(seen, width)
    yield ""
    yield from event_lines(seen, width, None if events else 8)
    if raw:
        yield ""
        yield from raw_lines(recording)


def _request(recording: Recording, width: int) -> Iterator[str]:
    request = recording.request
    yield fit_to(f"{request.method} {request.target}", width)
    prompt = prompt_of(recording)
    if prompt is None:
        if request.body:
            yield fit_to(f"  {len(request.body)} bytes: {request.body[:400].decode('utf-8', 'replace')}", width)
        return
    facts = [prompt.model or "no model"]
    facts += ["streamed"] if prompt.stream else []
    facts += [f"{prompt.messages} message{'s' * (prompt.messages != 1)}"]
    facts += [f"tools: {', '.join(prompt.tools)}"] if prompt.tools else []
    yield fit_to(f"  {' · '.join(facts)}", width)
    if prompt.last is not None:
        yield fit_to(f"  {prompt.last[0]}: {prompt.last[1]}", width)


def _response(seen: View, width: int) -> Iterator[str]:
    recording, head = seen.recording, seen.recording.head
    if head is None:
        yield "no response"
    else:
        kind = head.header("content-type") or "no content type"
        length = head.header("content-length")
        framing = (
            f"content-length {length}" if length else head.header("transfer-encoding") or "until the connection closes"
        )
        yield fit_to(f"{head.status} {head.reason} · {kind} · {framing}", width)
        kept = [f"{name}: {value}" for name in _TELLING if (value := head.header(name))]
        if kept:
            yield fit_to(f"  {' · '.join(kept)}", width)
    if recording.recorded:
        yield fit_to(f"  recorded {recording.recorded}", width)
    if (sentence := made_up(recording)) is not None:
        yield from textwrap.wrap(printable(sentence), width, initial_indent="  ", subsequent_indent="    ")
    for note in recording.source.get("notes", ()) if isinstance(recording.source.get("notes"), list) else ():
        yield from textwrap.wrap(printable(str(note)), width, initial_indent="  note: ", subsequent_indent="    ")
    if recording.decoded:
        yield f"  kept without its content-encoding {printable(recording.decoded)}"


def _answer(seen: View, width: int) -> Iterator[str]:
    answer = seen.answer
    facts = [seen.dialect or "unknown dialect", *([answer.model] if answer.model else [])]
    facts += [f"finish: {', '.join(dict.fromkeys(answer.finish))}"] if answer.finish else []
    facts += [_usage(answer.usage)] if isinstance(answer.usage, dict) else []
    yield fit_to(" · ".join(facts), width)
    several = len(answer.texts) > 1
    for label, texts in (("reasoning", answer.reasoning), ("refusal", answer.refusals), ("text", answer.texts)):
        for key, text in texts.items():
            name = f"{label} {key}" if several else label
            yield from _folded(f"{name}: ", text, width)
    for name, arguments in answer.tools.values():
        yield from _folded("call: ", f"{name}({arguments})", width)
    for error in answer.errors:
        yield from _folded("error: ", error, width)
    if not answer.said.strip():
        if seen.problem is not None:
            yield from _folded("", f"({seen.problem})", width)
        elif seen.content and seen.dialect is None:
            yield from _folded("content: ", seen.content[:4000].decode("utf-8", "replace"), width)
        else:
            yield "  (no content)" if not seen.content else "  (no text)"


def _usage(usage: dict[str, object]) -> str:
    numbers = [f"{name} {value}" for name, value in usage.items() if isinstance(value, int) and value]
    return "usage: " + (", ".join(numbers[:4]) or "none")


def _folded(label: str, text: str, width: int) -> Iterator[str]:
    lines = printable(text).split("\n")
    lead = f"  {label}"
    for line in lines:
        for part in _cut(line, max(width - columns(lead or "    "), 20)) or [""]:
            yield (lead + part).rstrip() if lead.strip() else f"    {part}".rstrip()
            lead = ""


def _cut(line: str, width: int) -> list[str]:
    if columns(line) == len(line):
        return textwrap.wrap(line, width, replace_whitespace=False, drop_whitespace=True, break_on_hyphens=False)
    parts, used, part = [], 0, ""
    for one in line:
        wide = columns(one)
        if used + wide > width:
            parts.append(part)
            used, part = 0, ""
        part += one
        used += wide
    return [*parts, part]


# ---------------------------------------------------------------------------------------------- times


def _times(seen: View, width: int) -> Iterator[str]:
    recording, timing = seen.recording, seen.timing
    number = sum(seen.tokens)
    ended = ENDINGS[recording.ending]
    if seen.ended is False:
        ended += f"; without {TERMINATORS[seen.dialect or '']}"
    if not seen.timed:
        yield from textwrap.wrap(f"ending: {ended}", width, subsequent_indent="  ")
        duration = recording.source.get("duration")
        known = f"; all that is known is that it took {seconds(duration)}" if isinstance(duration, int | float) else ""
        sentence = f"no timeline: when the parts came was not recorded{known}"
        yield from textwrap.wrap(sentence, width, subsequent_indent="  ")
        return
    yield from textwrap.wrap(f"ending: {ended}, after {seconds(timing.end)}", width, subsequent_indent="  ")
    if not number or timing.ttft is None:
        return
    line = [f"TTFT {seconds(timing.ttft)}"]
    if timing.gaps:
        line += [f"ITL p50 {_p(seen, 50)}", f"p90 {_p(seen, 90)}", f"p99 {_p(seen, 99)}"]
    line += [f"{number} token events"] + ([f"{timing.rate:.1f}/s"] if timing.rate else [])
    yield from textwrap.wrap(" · ".join(line), width, subsequent_indent="  ")
    for stall in timing.stalls[:5]:
        text = f"stall of {seconds(stall.seconds)} after {stall.after} token events, at {seconds(stall.at)}"
        yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")
    if len(timing.stalls) > 5:
        yield f"  and {len(timing.stalls) - 5} more stalls"
    yield from _drawing(seen, width)


def _p(seen: View, percent: float) -> str:
    value = seen.timing.itl(percent)
    return "–" if value is None else seconds(value)


def _drawing(seen: View, width: int) -> Iterator[str]:
    """Tokens so far, where they came, and how the gaps are spread."""
    times = [event.at for event, token in zip(seen.events, seen.tokens, strict=True) if token]
    total = max(seen.timing.end, times[-1])
    room = max(20, width - 10)
    if total <= 0:
        return
    yield ""
    for number, line in enumerate(progress(times, total, room, _HEIGHT)):
        label = f"{len(times)}" if number == 0 else "0" if number == _HEIGHT - 1 else ""
        yield f"{label:>7} │{line.rstrip()}"
    yield f"{'tokens':>7} └{strip(times, total, room)}"
    others = [event.at for event, token in zip(seen.events, seen.tokens, strict=True) if not token]
    if others:
        yield f"{'others':>7}  {strip(others, total, room)}"
    marks = [" "] * room
    for time, mark in ((seen.timing.end, "E"), (seen.timing.ttft, "T"), (seen.timing.head, "H")):
        if time is not None:
            at = min(int(time / total * room), room - 1)
            while at and marks[at] != " ":  # two within one column stand side by side
                at -= 1
            marks[at] = mark
    yield f"{'marks':>7}  {''.join(marks).rstrip()}"
    yield f"{'':>7}  {axis(total, room)}"
    yield f"{'':>7}  H head, T first token, E end"
    if seen.timing.gaps:
        yield ""
        yield "  gaps between token events"
        yield from gap_bars(seen.timing, width)


# ---------------------------------------------------------------------------------------------- events and bytes


def event_lines(seen: View, width: int, most: int | None) -> Iterator[str]:
    """The events with their times, a line each. most: how many of a long list (None: all)."""
    listed = [(event, token) for event, token in zip(seen.events, seen.tokens, strict=True) if event.kind != "blank"]
    yield f"{len(listed)} event{'s' * (len(listed) != 1)} ({seen.framing}), {len(seen.content)} bytes"
    left_out = 0 if most is None else max(0, len(listed) - most)
    tail = 2
    before = None
    for number, (event, token) in enumerate(listed):
        skipped = left_out and len(listed) - tail - left_out <= number < len(listed) - tail
        if skipped:
            if number == len(listed) - tail - 1:
                yield f"{'':>11}… {left_out} more; --events shows them"
        else:
            time = "" if not seen.timed else "   joined" if event.at == before else f"{event.at:9.3f}"
            yield fit_to(f"{time:>9} {'▪' if token else ' '} {_summary(event)}", width)
        before = event.at


def _summary(event: Event) -> str:
    if event.kind == "comment":
        return event.raw.decode("utf-8", "replace").strip()
    if event.kind == "rest":
        return f"(not an event) {event.raw[:200].decode('utf-8', 'replace')}"
    data = (event.data or b"").decode("utf-8", "replace")
    name = f"{event.name}  " if event.name else ""
    return f"{name}{data}{'' if event.document is not NOT_JSON or data == '[DONE]' else '  (no JSON)'}"


def raw_lines(recording: Recording) -> Iterator[str]:
    """Every read as it was on the connection, a line for each line end, times on the left."""
    yield "reads, in seconds since the request; ␍␊ are CR LF"
    clock = 0.0
    for read in recording.reads:
        clock += read.gap
        lead = f"{clock:9.3f} ┃ "
        for line in visible(read.wire):
            yield lead + line
            lead = "          ┃ "
    yield f"{clock + recording.ending_gap:9.3f} ═ {ENDINGS[recording.ending]}"


# ---------------------------------------------------------------------------------------------- a folder


def rows(recordings: Sequence[Recording], width: int) -> Iterator[str]:
    """A line for each recording: its name, and what it is. Of long names the end is shown, where they differ."""
    room = min(max((len(recording.name) for recording in recordings), default=0), max(width // 3, 16))
    for recording in recordings:
        name = recording.name if len(recording.name) <= room else "…" + recording.name[1 - room :]
        yield fit_to(f"{name:<{room}}  {' · '.join(filter(None, _facts(recording)))}", width)


def _facts(recording: Recording) -> Iterator[str]:
    seen = view(recording)
    yield f"{recording.request.method} {recording.request.path}"
    yield str(recording.head.status) if recording.head is not None else "no response"
    yield seen.dialect or "unknown"
    yield seen.answer.model or ""
    number = sum(event.kind == "event" for event in seen.events)
    yield f"{number} event{'s' * (number != 1)}"
    yield seconds(recording.duration) if seen.timed else "no times"
    yield (recording.ending or "cut off").replace("end", "")

"""Sets a recorded exchange and our answer side by side, kind of event by kind of event."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from scripts.fidelity_tool.asking import Answered
from scripts.fidelity_tool.events import Event, kind
from scripts.fidelity_tool.recordings import Recorded
from scripts.fidelity_tool.shapes import Shape, differences, layout

__all__ = ["Finding", "compare", "kinds"]


@dataclass(frozen=True)
class Finding:
    """One difference. what: in which respect; detail: where, and what it is; name: the recording's."""

    flavour: str
    dialect: str
    kind: str
    what: str
    detail: str
    name: str

    def __str__(self) -> str:
        return f"{self.flavour} {self.dialect}, {self.kind}: {self.what} {self.detail}"


def kinds(dialect: str, events: list[Event]) -> dict[str, list[Event]]:
    """The events by their kind, in the order in which the kinds first come; the first event stands for itself, too."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(kind(dialect, event), []).append(event)
    return found


def compare(recorded: Recorded, answered: Answered, flavour: str, wanted: set[str]) -> Iterator[Finding]:
    """All differences. wanted: the kinds of events for which this recording is the newest; the others are left out."""

    def found(kind: str, what: str, detail: str) -> Finding:
        return Finding(flavour, recorded.dialect, kind, what, detail, recorded.name)

    if answered.status != recorded.status:
        said = answered.body.decode("utf-8", "replace")[:200].replace("\n", " ")
        yield found("message", "status", f"{answered.status} for {recorded.status}: {said}")
        if answered.status >= 400 > recorded.status:
            return
    real, ours = kinds(recorded.dialect, recorded.events), kinds(recorded.dialect, answered.events)
    for name in (name for name in real if name in wanted):
        if name not in ours:
            yield found(name, "kind missing", f"among {', '.join(ours)}")
            continue
        for what, detail in differences(_shape(real[name]), _shape(ours[name])):
            if what != "order" or recorded.ordered:
                yield found(name, what, detail)
        for what, detail in _written(real[name], ours[name]):
            if what != "layout" or (recorded.ordered and not recorded.payloads):
                yield found(name, what, detail)
    for name in ours:
        if name not in real and not (name == "end" and recorded.payloads):
            yield found(name, "kind extra", f"beside {', '.join(real)}")
    if "message" in wanted:
        yield from (found("message", what, detail) for what, detail in _whole(recorded, answered, real, ours))
    if "headers" in wanted:
        yield from (found("headers", what, detail) for what, detail in _headers(recorded, answered))


def _shape(events: list[Event]) -> Shape:
    made = Shape()
    for event in events:
        if event.document is not None:
            made.add(event.document)
    return made


def _written(real: list[Event], ours: list[Event]) -> Iterator[tuple[str, str]]:
    """How the events of one kind are written: JSON, event names, ids, comments."""
    styles = [{layout(event.text) for event in events if event.document is not None} for events in (real, ours)]
    # A document without anything to escape or to space tells nothing.
    if styles[1] - styles[0]:
        yield "layout", f"{'/'.join(sorted(styles[1]))} for {'/'.join(sorted(styles[0]))}"
    for what in ("name", "id"):
        values = [{getattr(event, what) is not None for event in events} for events in (real, ours)]
        if values[0] != values[1]:
            yield f"event {what}", f"{values[1]} for {values[0]}"
    names = [{event.name for event in events} for events in (real, ours)]
    if names[1] - names[0]:
        yield "event name", f"{names[1]} for {names[0]}"
    comments = [{re.sub(r"\d+", "0", event.comment or "") for event in events} for events in (real, ours)]
    if comments[1] - comments[0]:
        yield "comment", f"{comments[1]} for {comments[0]}"


def _whole(
    recorded: Recorded, answered: Answered, real: dict[str, list[Event]], ours: dict[str, list[Event]]
) -> Iterator[tuple[str, str]]:
    """What concerns the whole message: its order, its line ends, its end."""
    left = [name for name in real if name in ours and name != "comment"]
    made = [name for name in ours if name in real and name != "comment"]
    if left != made:
        yield "sequence", f"{', '.join(made)} for {', '.join(left)}"
    if recorded.exact:
        for end in (b"\r\n", b"\n\n"):
            if (end in recorded.body) != (end in answered.body):
                yield "line ends", f"{end!r} is {'not ' if end in recorded.body else ''}there"
    first = [
        next((event for event in events if event.document is not None), None)
        for events in (recorded.events, answered.events)
    ]
    if first[0] and first[1] and kind(recorded.dialect, first[0]) == kind(recorded.dialect, first[1]):
        for what, detail in differences(_shape([first[0]]), _shape([first[1]])):
            if what != "order" or recorded.ordered:
                yield f"first event's {what}", detail


def _headers(recorded: Recorded, answered: Answered) -> Iterator[tuple[str, str]]:
    if recorded.headers is None:
        return
    for name in sorted(recorded.headers.keys() - answered.headers.keys()):
        yield "header missing", name
    for name in sorted(answered.headers.keys() - recorded.headers.keys()):
        yield "header extra", name
    types = [headers.get("content-type", "").lower() for headers in (recorded.headers, answered.headers)]
    if types[0] and types[0] != types[1]:
        yield "content type", f"{types[1]} for {types[0]}"

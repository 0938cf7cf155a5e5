"""A capture of a connection: `NAME.raw`, the response as it came, and `NAME.tap.jsonl`, a line for each read of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mockprovider.importers.base import Interaction, Refused, Source, moment_of
from mockprovider.importers.bodies import asked_by
from mockprovider.recording import Recording
from mockprovider.show.answers import recognise
from mockprovider.show.events import events_of, framing_of

__all__ = ["capture"]


def capture(source: Source) -> Iterator[Interaction | Refused]:
    """The reads are as long as the tap's lines say (`len`; `t` is seconds since the request), of the raw bytes."""
    tap = source.path.with_suffix(".tap.jsonl")
    try:
        text = tap.read_bytes()
    except OSError as error:
        raise Refused(
            f"{tap.name} cannot be read: {error.strerror}", "put the tap's lines beside the capture"
        ) from error
    reads, at, clock = [], 0, 0.0
    for number, line in enumerate(filter(None, text.split(b"\n")), start=1):
        time, length = _line(line, f"{tap.name}, line {number}")
        reads.append((max(time - clock, 0.0), source.data[at : at + length]))
        at, clock = at + length, max(time, clock)
    if at != len(source.data):
        raise Refused(f"{tap.name} tells of {at} bytes, and there are {len(source.data)}", "capture it again")
    recording = Recording.of(asked_by(None), reads)
    head = recording.head
    if head is None:
        raise Refused("no HTTP response begins in it", "capture the bytes of the connection from the status line on")
    content = recording.content
    dialect = recognise(events_of([(0.0, content)], framing_of(head.header("content-type"), content)))
    yield Interaction(
        asked_by(dialect),
        head.status,
        content,
        head.reason,
        head.headers,
        moment_of(head.headers),
        made_up=("request",),
        reads=tuple(reads),
        ending=_ending(recording),
    )


def _line(line: bytes, where: str) -> tuple[float, int]:
    try:
        value: Any = json.loads(line)
        return float(value["t"]), int(value["len"])
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{where}: expected an object with t and len", "capture it again") from None


def _ending(recording: Recording) -> str | None:
    """A tap says nothing of the end: it is known only where the message has ended by its own framing."""
    from mockprovider.recording.lifting import Lifter

    lifter = Lifter()
    for read in recording.reads:
        lifter.feed(read.wire)
    return "end" if lifter.complete else None

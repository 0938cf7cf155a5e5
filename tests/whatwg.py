"""A conforming reader of event streams, written from the text of the standard: WHATWG HTML, "Server-sent events".

The oracle of the tests: nothing of the package is imported. It works on bytes and takes the whole body, so nothing in
it depends on where the body was cut. What the comments quote are the names of the standard's own steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Event", "Reading", "blocks", "lines", "read"]

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|\Z)")
"""One line and its end: the pair, a lone CR or a lone LF; the last line may have none."""


@dataclass(frozen=True)
class Event:
    """One dispatched event: its type, its data, and the last event ID at that time."""

    type: str
    data: str
    last_id: str = ""


@dataclass(frozen=True)
class Reading:
    """What a stream gave. retry: the last reconnection time it set, in milliseconds; comments: without their colon."""

    events: tuple[Event, ...]
    retry: int | None = None
    comments: tuple[str, ...] = ()

    @property
    def data(self) -> list[str]:
        """The data of each event."""
        return [event.data for event in self.events]


def lines(body: bytes) -> list[tuple[bytes, bytes]]:
    """The lines of a stream, each with its end, which is empty for a last line that has none."""
    return [(text, end) for text, end in _LINE.findall(body) if text or end]


def blocks(body: bytes) -> list[bytes]:
    """The stream cut after each empty line, nothing taken away; of several in a row each is a block."""
    made, open_block = [], b""
    for text, end in lines(body):
        open_block += text + end
        if not text:
            made.append(open_block)
            open_block = b""
    return [*made, open_block] if open_block else made


def read(body: bytes) -> Reading:
    """Interpret the whole body as an event stream, up to its end."""
    reader = _Reader()
    # "UTF-8 decode": one byte order mark is taken away, invalid bytes become U+FFFD. CR, LF and the colon are bytes
    # that no other character contains, so cutting into lines before decoding changes nothing.
    for text, end in lines(body.removeprefix(b"\xef\xbb\xbf")):
        if end:  # a line that is not ended is no line: what is incomplete at the end of the file is discarded
            reader.line(text.decode("utf-8", "replace"))
    return Reading(tuple(reader.events), reader.retry, tuple(reader.comments))


class _Reader:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.comments: list[str] = []
        self.retry: int | None = None
        self.last_id = ""
        self._data = ""
        self._type = ""
        self._id = ""

    def line(self, line: str) -> None:
        """Process one line."""
        if not line:
            self._dispatch()
        elif line.startswith(":"):
            self.comments.append(line[1:])
        else:
            name, colon, value = line.partition(":")
            self._field(name, value.removeprefix(" ") if colon else "")

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_id = self._id
        if self._data:
            self.events.append(Event(self._type or "message", self._data.removesuffix("\n"), self.last_id))
        self._data = self._type = ""

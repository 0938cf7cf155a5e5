"""What a recording is: the request, and each read of the response with its time and its bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mockprovider.recording.lifting import Lifter, RecordedHead

__all__ = ["ENDINGS", "Read", "RecordedRequest", "Recording", "final"]

ENDINGS = ("end", "close", "reset", "timeout", "client-left")
"""How an exchange can end: by its own framing (or FIN, where that ends the message); by FIN before that; by RST; by
silence until one side gave up; because the client left."""


@dataclass(frozen=True)
class RecordedRequest:
    """What was asked. target: path and query as in the request line; headers: those that were kept."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        """What follows the `?` of the target, or an empty text."""
        return urlsplit(self.target).query

    @cached_property
    def json(self) -> Any:
        """The body as JSON. ValueError where it is none."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, case-insensitively, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class Read:
    """One read of the recorder, which a replay sends as one write.

    gap: seconds since the read before, or since the request was complete; data: the content in it; wire: all of it, as
    on the connection; head: that which ends in it (the last, if interim ones do too); verbatim: whether its framing is
    not what head, content and chunk sizes tell.
    """

    gap: float
    data: bytes
    wire: bytes
    head: RecordedHead | None = None
    verbatim: bool = False


@dataclass(frozen=True)
class Recording:
    """An exchange. recorded: when, as ISO 8601 in UTC; ending: one of `ENDINGS`, `ending_gap` seconds after the last
    read, or None where the recording was cut off; decoded: the content coding that was removed before the content was
    stored, or ""; source: where an imported one comes from; path: the file, if it was loaded from one."""

    request: RecordedRequest
    recorded: str = ""
    reads: tuple[Read, ...] = ()
    ending: str | None = None
    ending_gap: float = 0.0
    decoded: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def of(cls, request: RecordedRequest, wires: Iterable[tuple[float, bytes]], **more: Any) -> Recording:
        """A recording of these reads, given as (gap, bytes on the connection); gaps are rounded to microseconds.

        more: the other fields. Reads without bytes are none: their gaps go to the next.
        """
        return cls(request, reads=tuple(_read(request, wires)), **more)

    @cached_property
    def head(self) -> RecordedHead | None:
        """The final head of the response; None where none came."""
        return next((read.head for read in self.reads if read.head is not None and final(read.head)), None)

    @cached_property
    def wire(self) -> bytes:
        """All bytes of the response as they came."""
        return b"".join(read.wire for read in self.reads)

    @cached_property
    def content(self) -> bytes:
        """The content of the response, without its transfer coding."""
        return b"".join(read.data for read in self.reads)

    @property
    def complete(self) -> bool:
        """Whether the response was recorded to its own end."""
        return self.ending == "end"

    @property
    def duration(self) -> float:
        """Seconds from the complete request to the ending, or to the last read."""
        return sum(read.gap for read in self.reads) + self.ending_gap

    def timed_content(self) -> list[tuple[float, bytes]]:
        """(seconds since the request was complete, content) of each read that has content."""
        at = itertools.accumulate(read.gap for read in self.reads)
        return [(time, read.data) for time, read in zip(at, self.reads, strict=True) if read.data]

    @property
    def synthetic(self) -> frozenset[str]:
        """What was not recorded but made up: of `head`, `framing`, `boundaries`, `timing`."""
        return frozenset(self.source.get("synthetic", ())) | ({"framing"} if self.decoded else set())

    @property
    def name(self) -> str:
        """The file's name without its suffix; empty where there is no file."""
        return self.path.stem if self.path is not None else ""


def final(head: RecordedHead) -> bool:
    """Whether it is the head that counts, not an interim one (RFC 9110 section 15.2)."""
    return head.status >= 200 or head.status == 101


def _read(request: RecordedRequest, wires: Iterable[tuple[float, bytes]]) -> Iterator[Read]:
    lifter = Lifter(bodyless=request.method == "HEAD")
    owed = 0.0
    for gap, wire in wires:
        owed += gap
        if not wire:
            continue
        lifted = lifter.feed(wire)
        head = lifted.heads[-1] if lifted.heads else None
        yield Read(round(owed, 6), lifted.content, wire, head, not lifted.canonical)
        owed = 0.0

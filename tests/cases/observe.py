"""What a client on a raw socket sees of one answer: bytes, reads, chunks, blocks, documents, pauses, the ending.

Nothing of the package is imported, and nothing is asked of the server but the request itself. Everything is read by
`tests.wiretap` and `tests.whatwg`. Where the server runs on the test's own loop (the fixture `provider`), a promised
write is one read, however late the loop is: see `_read_first`. Only a kernel that delivers late itself can join two.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from tests import whatwg
from tests.wiretap import Parser, Read, Response, Tap, WireError, tapping

__all__ = ["TEXT", "Seen", "observe", "observe_all"]

TEXT = (
    "The tide turned at 6:42 this morning — “early”, said Zoë, “but the 3 café boats were ready.”\n\n"
    "In Kyōto (京都) it had rained; nobody minded 🌧️. They counted 27 herons, drank tea, and wrote it all down."
)
"""What a case says that scripts no reply. A copy on purpose: a change of the original must be noticed."""


@dataclass
class Seen:
    """One answer as it came.

    asked: when the request had been sent (monotonic seconds); reads: one entry a `recv`; ended: when the observer
    stopped. ending: `complete` (the message is whole), `eof` (FIN before that), `reset` (ECONNRESET), or `open`
    (incomplete, and silent until the observer gave up). wrong: why the bytes are no legal HTTP/1.1, if they are not.
    """

    asked: float
    reads: list[Read] = field(default_factory=list)
    ending: str = "open"
    ended: float = 0.0
    wrong: WireError | None = None
    response: Response | None = None
    _marks: list[int] = field(default_factory=list)

    # ------------------------------------------------------------------------------------------ HTTP

    @property
    def raw(self) -> bytes:
        """Every byte that came, the head among them."""
        return b"".join(read.data for read in self.reads)

    @property
    def head(self) -> Response:
        """The response with its status and headers. AssertionError where none came."""
        assert self.response is not None, f"no response came ({self.ending}): {self.raw!r}; {self.wrong}"
        assert self.response.head_ends, f"the head is not complete: {self.raw!r}; {self.wrong}"
        return self.response

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    def header(self, name: str) -> str | None:
        """The value of a header, or None; WireError where it comes twice."""
        return self.head.header(name)

    @property
    def body(self) -> bytes:
        """The content: whole chunks only, where it is chunked."""
        return bytes(self.head.body)

    @property
    def chunks(self) -> list[bytes]:
        """The content of each HTTP chunk, the terminating one left out."""
        return self.head.pieces

    @property
    def size_lines(self) -> list[bytes]:
        """The line before each chunk's content, with its extensions, without its CRLF."""
        starts = [self.head.head_ends, *self.head.chunk_ends][: len(self.head.chunks)]
        raw = self.raw
        return [raw[start : raw.index(b"\r\n", start)] for start in starts]

    @property
    def wire_reads(self) -> list[Read]:
        """What each recv brought after the head, framing included; the head's own read only if more came with it."""
        made, at = [], 0
        for read in self.reads:
            rest = read.data[max(0, self.head.head_ends - at) :]
            at += len(read.data)
            if rest:
                made.append(Read(read.time, rest))
        return made

    @property
    def arrivals(self) -> list[Read]:
        """What content each recv completed, framing taken away: a chunk counts for the recv that brought its end."""
        made, before, body = [], 0, self.body
        for read, mark in zip(self.reads, self._marks, strict=True):
            if mark > before:
                made.append(Read(read.time, body[before:mark]))
                before = mark
        return made

    # ------------------------------------------------------------------------------------------ time

    @property
    def first(self) -> float:
        """Seconds from the request to the first byte."""
        return self.reads[0].time - self.asked

    @property
    def took(self) -> float:
        """Seconds from the request to the last byte."""
        return self.reads[-1].time - self.asked

    @property
    def pauses(self) -> list[float]:
        """Seconds before each read: before the first since the request, then since the read before."""
        times = [self.asked, *(read.time for read in self.reads)]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def at(self, part: bytes, start: int = 0) -> float:
        """Seconds from the request to the read that completed the first occurrence of these bytes after `start`."""
        place = self.raw.find(part, start)
        assert place >= 0, f"{part!r} never came: {self.raw!r}"
        came = 0
        for read in self.reads:
            came += len(read.data)
            if came >= place + len(part):
                return read.time - self.asked
        raise AssertionError("unreachable: the bytes are in what came")

    # ------------------------------------------------------------------------------------------ the event stream

    @property
    def lines(self) -> list[tuple[bytes, bytes]]:
        """The lines of the body, each with its end."""
        return whatwg.lines(self.body)

    @property
    def blocks(self) -> list[bytes]:
        """The body cut after each empty line."""
        return whatwg.blocks(self.body)

    @cached_property
    def reading(self) -> whatwg.Reading:
        """What a conforming parser makes of the body."""
        return whatwg.read(self.body)

    @property
    def events(self) -> tuple[whatwg.Event, ...]:
        """The events that a conforming parser dispatches."""
        return self.reading.events

    @property
    def data(self) -> list[str]:
        """The data of each event."""
        return self.reading.data

    @cached_property
    def documents(self) -> list[Any]:
        """The data of each event that is a JSON object, parsed; whatever else there is, is left out."""
        made = []
        for data in self.data:
            try:
                document = json.loads(data)
            except ValueError:
                continue
            if isinstance(document, dict):
                made.append(document)
        return made

    @property
    def document(self) -> Any:
        """The body as one JSON document. ValueError where it is none."""
        return json.loads(self.body)

    @property
    def choices(self) -> list[Any]:
        """The choices of all documents, in order."""
        return [
            choice
            for document in self.documents
            if isinstance(document.get("choices"), list)
            for choice in document["choices"]
        ]

    @property
    def deltas(self) -> list[str]:
        """The content of each delta that has any, empty ones left out, of all choices in order."""
        found = [(choice.get("delta") or {}).get("content") for choice in self.choices]
        return [content for content in found if content]

    @property
    def text(self) -> str:
        """The deltas joined."""
        return "".join(self.deltas)

    @property
    def finishes(self) -> list[str]:
        """The finish reasons, those that are not null."""
        return [choice["finish_reason"] for choice in self.choices if choice.get("finish_reason") is not None]

    @property
    def done(self) -> int:
        """How many events are exactly the sentinel."""
        return self.data.count("[DONE]")


async def observe(url: str, chain: str = "", **how: Any) -> Seen:
    """Ask once, on a connection of its own, for a streamed chat completion with these faults; see `observe_all`."""
    (seen,) = await observe_all(url, chain, **how)
    return seen


async def observe_all(
    url: str,
    chain: str = "",
    *,
    requests: int = 1,
    quiet: float = 3.0,
    longest: float = 10.0,
    enough: Callable[[bytes], bool] | None = None,
    path: str = "/v1/chat/completions",
    headers: Sequence[tuple[str, str]] = (),
    version: str = "1.1",
    **body: Any,
) -> list[Seen]:
    """Ask for the same several times, one after the other, and write down everything that comes for each.

    url: of the provider, without `/v1`; chain: faults or a case, for the URL's `/with/`. The connection is used again
    while the server keeps it. An answer is over when it is complete, when the connection ends, after `quiet` seconds
    of silence or `longest` seconds in all, or when `enough` says so of all bytes so far. body: fields of the request,
    besides a model, one message and `stream`.
    """
    prefix = url.split("://", 1)[1].partition("/")[2]
    prefix = f"/{prefix}" if prefix else ""
    if chain:
        prefix += f"/with/{quote(chain, safe='()+=,@~-._')}"
    content = json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "stream": True, **body}
    ).encode()
    fields = [("Host", "localhost"), ("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    lines = [f"POST {prefix}{path} HTTP/{version}", *(f"{name}: {value}" for name, value in (*fields, *headers))]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + content
    found: list[Seen] = []
    while len(found) < requests:
        async with tapping(url) as tap:
            tap.strict = False  # what is illegal is to be seen, not refused
            with _read_first(tap.sock.fileno()):
                while len(found) < requests and tap.ending == "open":
                    found.append(await _one(tap, request, quiet, longest, enough))
                    if found[-1].ending != "complete" or (found[-1].header("connection") or "").lower() == "close":
                        break
    return found


@contextlib.contextmanager
def _read_first(descriptor: int) -> Iterator[None]:
    """In each round of the running loop, let this socket be read before anything else is done.

    A loop that comes late finds what was written and the next deadline in one round, in no certain order: the later
    write might come first, and both would be one read.
    """
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select = selector.select

    def ordered(timeout: float | None = None) -> list[Any]:
        return sorted(select(timeout), key=lambda event: event[0].fd != descriptor)

    selector.select = ordered
    try:
        yield
    finally:
        del selector.select


async def _one(tap: Tap, request: bytes, quiet: float, longest: float, enough: Callable[[bytes], bool] | None) -> Seen:
    """One request and its answer, on an open connection."""
    begin = len(tap.reads)
    await tap.send(request)
    seen = Seen(asked=time.monotonic())
    parser = Parser("POST")
    taken = begin

    def news() -> bool:
        return len(tap.reads) > taken or tap.ending != "open"

    while True:
        for read in tap.reads[taken:]:
            _take(seen, parser, read)
        taken = len(tap.reads)
        if parser.finished:
            seen.ending = "complete"
            break
        if tap.ending != "open":
            seen.ending = _ended(seen, parser, tap.ending)
            break
        left = seen.asked + longest - time.monotonic()
        if left <= 0 or (enough is not None and enough(seen.raw)):
            break
        try:
            await tap.until(news, min(quiet, left))
        except AssertionError:
            break  # silence
    seen.ended = time.monotonic()
    return seen


def _take(seen: Seen, parser: Parser, read: Read) -> None:
    seen.reads.append(read)
    if seen.wrong is None:
        try:
            parser.feed(read.data)
        except WireError as error:
            seen.wrong = error
    if parser.responses:
        seen.response = next((r for r in parser.responses if r.status >= 200), parser.responses[0])
    seen._marks.append(len(seen.response.body) if seen.response is not None else 0)


def _ended(seen: Seen, parser: Parser, ending: str) -> str:
    """How it ended: a body whose length nobody declared is complete by the connection's end."""
    if seen.wrong is None:
        parser.eof()
        if ending == "eof" and parser.finished:
            return "complete"
    return ending

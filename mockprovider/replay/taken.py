"""A recorded response taken apart, only as far as a fault needs, so that it can be put together again to the byte.

Each item that is made of it has an origin that is a `Place`: it knows how the item lay on the connection, in which
reads and when. `lowering` puts an item that nobody has changed there again just so.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from mockprovider.errors import SettingError
from mockprovider.recording import RecordedHead, Recording
from mockprovider.recording.lifting import Lifter
from mockprovider.timeline import Close, End, Ending, Hang, Reset, Timed
from mockprovider.wire import Head

__all__ = ["Fragment", "Part", "Piece", "Place", "Taken", "bears_text", "document_in", "ending_of"]


class Part(NamedTuple):
    """Bytes of one read. after: seconds since the first byte of the item; last: whether the read ends with them."""

    after: float
    read: int
    data: bytes
    last: bool


class Fragment(NamedTuple):
    """What of a block lies in one piece of content.

    after: seconds from the first byte of the block to its own first; until: to its own last; wait: seconds since the
    fragment before it in its piece; last: whether the piece ends with it.
    """

    piece: int
    data: bytes
    after: float
    until: float
    wait: float
    last: bool


class Piece(NamedTuple):
    """A chunk, or what one read has of a content that is not chunked: offsets of it and of its content in the wire."""

    begin: int
    content: int
    content_end: int
    end: int


class Place(tuple[int, int]):
    """An origin, `(0, token)`, that remembers the item as it was taken, and where it lay."""

    item: Any
    parts: tuple[Part, ...]
    fragments: tuple[Fragment, ...]

    @classmethod
    def of(
        cls, item: Any, parts: tuple[Part, ...] = (), fragments: tuple[Fragment, ...] = (), token: int = -1
    ) -> Place:
        """The place of an item: of a message's item its parts, of a block its fragments."""
        made = cls((0, token))
        made.item, made.parts, made.fragments = item, parts, fragments
        return made


def ending_of(recording: Recording) -> Ending:
    """What a replay does after the last byte.

    A recording that was cut off, and one whose client left before the end, stop with FIN: nobody knows what would have
    followed, and a client that waits for it must see that it does not come.
    """
    if recording.ending == "end":
        return End()
    if recording.ending == "reset":
        return Reset()
    return Hang() if recording.ending == "timeout" else Close()


@dataclass(frozen=True)
class Taken:
    """A recording, played at a speed (seconds are divided by it), as items of the levels that faults are for."""

    recording: Recording
    speed: float = 1.0

    # ------------------------------------------------------------------------------------------ bytes and times

    @cached_property
    def wire(self) -> bytes:
        """All bytes as they came."""
        return self.recording.wire

    @cached_property
    def _ends(self) -> list[int]:
        """Where each read ends in the wire."""
        ends, size = [], 0
        for read in self.recording.reads:
            size += len(read.wire)
            ends.append(size)
        return ends

    @cached_property
    def _times(self) -> list[float]:
        """When each read came, in seconds since the request, and when the exchange ended."""
        times, clock = [], 0.0
        for read in self.recording.reads:
            clock += read.gap / self.speed
            times.append(clock)
        last = 0.0 if isinstance(ending_of(self.recording), Hang) else self.recording.ending_gap / self.speed
        return [*times, clock + last]

    def time(self, offset: int) -> float:
        """When the byte at this offset came; behind the last one: when the exchange ended."""
        return self._times[bisect_right(self._ends, offset)]

    def parts(self, begin: int, end: int) -> tuple[Part, ...]:
        """These bytes, read by read."""
        made: list[Part] = []
        read = bisect_right(self._ends, begin)
        while begin < end:
            stop = min(end, self._ends[read])
            after = self._times[read] - made[0].after if made else self._times[read]
            made.append(Part(after, read, self.wire[begin:stop], stop == self._ends[read]))
            begin, read = stop, read + 1
        return (made[0]._replace(after=0.0), *made[1:]) if made else ()

    # ------------------------------------------------------------------------------------------ the message

    @cached_property
    def _lifted(self) -> tuple[RecordedHead, bytes, int, list[Piece], int]:
        """The final head, the interim ones before it, where the head ends, the pieces of content, where these end.

        SettingError where the response is no HTTP.
        """
        lifter = Lifter(bodyless=self.recording.request.method == "HEAD")
        spans: list[tuple[str, int, int]] = []
        heads: list[RecordedHead] = []
        at = 0
        for read in self.recording.reads:
            lifted = lifter.feed(read.wire)
            spans += [(span.kind, at + span.begin, at + span.end) for span in lifted.spans]
            heads += lifted.heads
            at += len(read.wire)
        if lifter.head is None:
            raise SettingError(f"the recording {self.recording.name} has no HTTP response in it")
        head_end = max(end for kind, _, end in spans if kind == "head")
        pieces = list(_pieces(self.wire, [span for span in spans if span[0] != "head"]))
        rest = pieces[-1].end if pieces else head_end
        return lifter.head, b"".join(head.encode() for head in heads[:-1]), head_end, pieces, rest

    @property
    def head(self) -> RecordedHead:
        """The final head. SettingError where there is none."""
        return self._lifted[0]

    @property
    def interim(self) -> bytes:
        """The interim responses before the head, RFC 9110 section 15.2."""
        return self._lifted[1]

    @cached_property
    def head_item(self) -> Head:
        """The head as an item of the message's level."""
        return Head(self.head.status, self.head.headers, self.head.reason)

    @property
    def head_size(self) -> int:
        """Bytes up to the content, those of interim heads too."""
        return self._lifted[2]

    @property
    def pieces(self) -> list[Piece]:
        """The pieces of content, in order."""
        return self._lifted[3]

    @cached_property
    def chunked(self) -> bool:
        """Whether the chunked coding carries the content."""
        codings = ",".join(value for key, value in self.head.headers if key.lower() == "transfer-encoding")
        return codings.lower().rpartition(",")[2].strip() == "chunked"

    @cached_property
    def kind(self) -> str:
        """The media type of the content, in lower case, without parameters."""
        return (self.head.header("content-type") or "").partition(";")[0].strip().lower()

    def content(self, piece: int) -> bytes:
        """The content of a piece."""
        _, begin, end, _ = self.pieces[piece]
        return self.wire[begin:end]

    def piece_place(self, piece: int) -> Place:
        """The place of a piece's content."""
        begin, _, _, end = self.pieces[piece]
        return Place.of(self.content(piece), self.parts(begin, end))

    def head_timed(self) -> Timed[Any]:
        """The head, with the gap since the request."""
        return self.time(0), self.head_item, Place.of(self.head_item, self.parts(0, self.head_size))

    def ending_timed(self) -> tuple[float, Ending, Place]:
        """The ending, at the time of the bytes that belong to it: a last chunk, trailers, or what is no HTTP."""
        rest = self._lifted[4]
        ending = ending_of(self.recording)
        return self.time(rest), ending, Place.of(ending, self.parts(rest, len(self.wire)))

    @property
    def end_time(self) -> float:
        """When the exchange ended, in seconds since the request."""
        return self._times[-1]

    def message(self) -> Iterator[Timed[Any]]:
        """The head, pieces of content, and the ending."""
        yield self.head_timed()
        clock = self.time(0)
        for number, piece in enumerate(self.pieces):
            at = self.time(piece.begin)
            yield at - clock, self.content(number), self.piece_place(number)
            clock = at
        at, ending, place = self.ending_timed()
        yield at - clock, ending, place

    # ------------------------------------------------------------------------------------------ blocks

    @cached_property
    def blocks(self) -> list[tuple[float, bytes, Place]]:
        """The blocks of an event stream, or the lines of one of JSON; else the pieces. Each with its time."""
        contents = [self.content(number) for number in range(len(self.pieces))]
        starts, size = [], 0
        for content in contents:
            starts.append(size)
            size += len(content)
        starts.append(size)
        whole = b"".join(contents)
        if self.kind == "text/event-stream":
            ends = [match.end() for match in _BLOCK_END.finditer(whole)]
            ends += [size] if size and ends[-1:] != [size] else []
            cut = list(pairwise([0, *ends]))
        elif self.kind in _LINES:
            cut = [match.span() for match in _LINE.finditer(whole)]
        else:
            cut = [(0, size)] if whole else []
        tokens = _tokens([whole[begin:end] for begin, end in cut])
        seen: dict[int, float] = {}
        return [self._block(whole, *span, starts, token, seen) for span, token in zip(cut, tokens, strict=True)]

    def _block(
        self, whole: bytes, begin: int, end: int, starts: list[int], token: int, seen: dict[int, float]
    ) -> tuple[float, bytes, Place]:
        """seen: when the newest fragment of a piece came."""
        number = bisect_right(starts, begin, hi=len(starts) - 1) - 1
        block, fragments = whole[begin:end], []
        first: float | None = None
        while begin < end:
            stop, piece = min(end, starts[number + 1]), self.pieces[number]
            # A piece begins with its framing, which may have come before its content did.
            at = self.time(piece.begin if begin == starts[number] else piece.content + begin - starts[number])
            first = at if first is None else first
            wait = at - seen.get(number, at)
            until = self.time(piece.content + stop - starts[number] - 1)
            last = stop == starts[number + 1]
            fragments.append(Fragment(number, whole[begin:stop], at - first, until - first, wait, last))
            seen[number] = at
            begin, number = stop, number + 1
        return first or 0.0, block, Place.of(block, fragments=tuple(fragments), token=token)

    @cached_property
    def tokens(self) -> int:
        """How many events carry text: what counts as tokens here."""
        return sum(place[1] >= 0 for _, _, place in self.blocks)


def _pieces(wire: bytes, spans: list[tuple[str, int, int]]) -> Iterator[Piece]:
    """The pieces in the spans behind the head, up to the first that belongs to none."""
    index = 0
    while index < len(spans):
        kind, begin, end = spans[index]
        if kind == "content":
            yield Piece(begin, begin, end, end)
            index += 1
            continue
        while index < len(spans) and spans[index][0] == "size":
            index += 1
        if kind != "size" or index == len(spans) or spans[index][0] != "content":
            return
        content = spans[index][1]
        while index < len(spans) and spans[index][0] == "content":
            content_end = spans[index][2]
            index += 1
        stop = content_end
        while index < len(spans) and spans[index][0] == "mark":
            if not b"\r\n".startswith(wire[content_end : spans[index][2]]):
                yield Piece(begin, content, content_end, stop)
                return
            stop = spans[index][2]
            index += 1
        yield Piece(begin, content, content_end, stop)


_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLOCK_END = re.compile(_END + rb"(?:" + _END + rb")+")
"""The end of a block with the empty lines after it, WHATWG HTML section 9.2.5."""
_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/stream+json")


def _tokens(blocks: list[bytes]) -> list[int]:
    """The ordinal of each block among those that carry text, or -1; where none does: among those with data."""
    documents = [document_in(block) for block in blocks]
    carrying = list(map(bears_text, documents))
    if not any(carrying):
        carrying = [document is not None for document in documents]
    ordinals, count = [], 0
    for carries in carrying:
        ordinals.append(count if carries else -1)
        count += carries
    return ordinals


_DATA = re.compile(rb"(?:^|(?<=[\r\n]))data: ?([^\r\n]*)")


def document_in(block: bytes) -> Any:
    """The JSON of a block, or of a line; None where it has none."""
    data = b"\n".join(_DATA.findall(block)) or block
    try:
        return json.loads(data) if data.lstrip()[:1] in (b"{", b"[") else None
    except (ValueError, RecursionError):
        return None


_TEXTS = frozenset(
    {"text", "content", "delta", "thinking", "partial_json", "arguments", "reasoning", "reasoning_content", "refusal"}
    | {"response"}
)
"""Where providers put a piece of text."""


def bears_text(value: Any) -> bool:
    """Whether a document has a piece of text that is new."""
    if isinstance(value, list):
        return any(map(bears_text, value))
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    if isinstance(kind, str) and kind.startswith("response.") and not kind.endswith(".delta"):
        return False  # the Responses API says the whole text again when a part is done
    return any(
        key in _TEXTS and member != "" if isinstance(member, str) else bears_text(member)
        for key, member in value.items()
    )

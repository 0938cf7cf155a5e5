"""Levels 1 and 0: an HTTP message (RFC 9112), and the writes that carry it over a connection.

Level 1, the message: one `Head`, then content, then an ending. A piece of content is one HTTP chunk where the
transfer coding is chunked. Level 0, the socket: bytes as they leave. Three items are shared by both:

* plain `bytes`: joinable; may leave in one write with neighbours that are due at the same time,
* `Write(data, apart)`: a promise: leaves by a write of its own, `apart` seconds away from those before and after it,
* `Raw(data)`: level 1 only: bytes that no transfer coding touches, legal or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from itertools import chain, repeat
from typing import TypeAlias

from mockprovider.pace import Chunking
from mockprovider.timeline import NOWHERE, Control, End, Ending, Origin, Stage, Timed

__all__ = [
    "Burst",
    "Content",
    "Head",
    "MessageEncoder",
    "Raw",
    "SocketItem",
    "Trailers",
    "TransferEncoder",
    "Write",
    "singly",
]


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and header section. headers: (name, value) pairs in order, duplicates allowed.

    last: the connection carries nothing after this message, and the chunked coding is not used: where no length is
    declared, the message ends with the connection.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    last: bool = False

    def encode(self) -> bytes:
        """The bytes up to and including the empty line, RFC 9112 sections 4 and 5."""
        lines = [
            f"HTTP/1.1 {self.status} {self.phrase}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    @property
    def phrase(self) -> str:
        """The reason phrase: the given one, the registered one, or none."""
        if self.reason is not None:
            return self.reason
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, case-insensitively, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class Trailers:
    """The trailer section that follows the last chunk (RFC 9112 section 7.1.2); dropped where the coding has none."""

    __slots__ = ("fields",)

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self.fields = fields


class Write:
    """A promised write: its own `send`, and at least `apart` seconds after the one before it and before the next."""

    __slots__ = ("apart", "data")

    def __init__(self, data: bytes, apart: float = 0.001) -> None:
        self.data = data
        self.apart = apart

    def __repr__(self) -> str:
        return f"Write({self.data!r}, {self.apart})"


class Burst:
    """Neighbours as one item of the socket: writes that need no time apart, or joinable bytes.

    gaps: the seconds before each piece but the first; none where all are due together. What is in it means the same as
    one by one; it costs less.
    """

    __slots__ = ("_pieces", "_whole", "count", "gaps", "joins")

    def __init__(self, pieces: Sequence[bytes], joins: bool, gaps: Sequence[float] = ()) -> None:
        self._pieces: Sequence[bytes] | None = pieces
        self._whole: bytes | None = None
        self.count = len(pieces)
        self.joins = joins
        self.gaps = gaps

    @classmethod
    def of_chunks(cls, whole: bytes, count: int) -> Burst:
        """So many HTTP chunks (RFC 9112 section 7.1) that may be joined, and are."""
        made = cls((), joins=True)
        made._pieces, made._whole, made.count = None, whole, count
        return made

    @property
    def pieces(self) -> Sequence[bytes]:
        """What is in it, one by one."""
        if self._pieces is None:
            self._pieces = list(_chunks(self.whole))
        return self._pieces

    @property
    def whole(self) -> bytes:
        """All that is in it."""
        return b"".join(self.pieces) if self._whole is None else self._whole

    def after(self, count: int) -> Burst:
        """What is left of it after so many pieces."""
        return Burst(self.pieces[count:], self.joins, self.gaps[count:])

    def hastened(self, speed: float) -> Burst:
        """The same with its gaps divided by the speed."""
        return Burst(self.pieces, self.joins, [gap / speed for gap in self.gaps]) if self.gaps else self

    def singly(self, gap: float) -> Iterator[tuple[float, bytes | Write]]:
        """Its pieces one by one, each with its gap, the first with the one given."""
        for piece, before in zip(self.pieces, chain((gap,), self.gaps or repeat(0.0)), strict=False):
            yield before, piece if self.joins else Write(piece, 0.0)

    def __repr__(self) -> str:
        return f"Burst({self.pieces!r}, {self.joins}, {self.gaps!r})"


def _chunks(data: bytes) -> Iterator[bytes]:
    """HTTP chunks without extensions, each with its framing."""
    at = 0
    while at < len(data):
        begins = data.index(b"\r\n", at) + 2
        ends = begins + int(data[at:begins], 16) + 2
        yield data[at:ends]
        at = ends


def singly(timeline: Iterator[Timed[SocketItem | Control]]) -> Iterator[Timed[bytes | Write | Control]]:
    """The timeline with its bursts taken apart."""
    for gap, item, origin in timeline:
        if isinstance(item, Burst):
            for before, piece in item.singly(gap):
                yield before, piece, origin
        else:
            yield gap, item, origin


class Raw:
    """Bytes that go to the socket as they stand, outside the transfer coding."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Raw({self.data!r})"


Content: TypeAlias = bytes | Write | Raw
SocketItem: TypeAlias = bytes | Write | Burst


class MessageEncoder(Stage[bytes, "Head | Content"]):
    """From the encoded events of level 2 to a message: the head first, then the events packed into HTTP chunks.

    The head leaves with the first event, or `head_at` seconds after the request if that is earlier, but never before
    a `Hold` that is due by then; time is conserved. Groups of events are kept back until they are full, a control
    comes, or the source ends.
    """

    def __init__(self, head: Head, payloads_per_chunk: Fraction, head_at: float | None = None) -> None:
        self._head: Head | None = head
        self._head_at = head_at
        self._group = payloads_per_chunk.numerator
        self._pieces = payloads_per_chunk.denominator
        self._held: list[bytes] = []
        self._gap = 0.0
        self._origin = NOWHERE

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[Head | Content | Control]]:
        gap, item, origin = timed
        if self._head is not None:
            head, early = self._head, gap if self._head_at is None else min(self._head_at, gap)
            if early == gap and isinstance(item, Control) and not isinstance(item, Ending):
                # A gate that stands before the head holds the head too.
                self._head_at = None if self._head_at is None else self._head_at - gap
            else:
                self._head = None
                yield early, head, NOWHERE
                gap -= early
        if isinstance(item, Control):
            yield from self._release()
            yield gap, item, origin
        elif self._pieces > 1:
            for piece in _split(item, self._pieces):
                yield gap, piece, origin
                gap = 0.0
        elif self._group == 1:
            yield gap, item, origin
        else:
            self._held.append(item)
            self._gap += gap
            self._origin = origin
            if len(self._held) == self._group:
                yield from self._release()

    def _release(self) -> Iterator[Timed[bytes]]:
        if self._held:
            yield self._gap, b"".join(self._held), self._origin
            self._held.clear()
            self._gap = 0.0

    def flush(self) -> Iterator[Timed[Head | Content | Control]]:
        if self._head is not None:
            yield 0.0, self._head, NOWHERE
        yield from self._release()
        yield 0.0, End(), NOWHERE

    @property
    def transparent(self) -> bool:
        """Whether an event is exactly one HTTP chunk, so that this level may be composed with its neighbours."""
        return self._group == self._pieces == 1


def _split(data: bytes, pieces: int) -> list[bytes]:
    """The data in so many pieces of nearly equal size; in fewer only where there are not as many bytes."""
    size = len(data)
    pieces = max(1, min(pieces, size))
    return [data[size * piece // pieces : size * (piece + 1) // pieces] for piece in range(pieces)]


class TransferEncoder(Stage["Head | Content | Trailers", SocketItem]):
    """From a message to writes: the transfer coding (RFC 9112 section 6) and the packing of chunks into writes.

    chunked: whether the client understands the chunked coding (HTTP/1.1). bodyless: the request was HEAD, so the
    head is all there is. keep: whether the connection may carry another request afterwards; `keeps` says whether
    it will, once the head has passed.

    Content without bytes, and content that the message cannot have, is dropped and leaves its gap to what follows: as a
    chunk of size zero it would end the message.
    """

    def __init__(self, chunking: Chunking, *, chunked: bool = True, bodyless: bool = False, keep: bool = True) -> None:
        self.keeps = keep
        self._may_chunk = chunked
        self._bodyless = bodyless
        self._chunked = False
        self._owed = 0.0  # the gap of what was dropped
        self._trailer = b""
        self.repack(chunking)
        self._held: list[bytes] = []
        self._gap = 0.0
        self._origin = NOWHERE

    def repack(self, chunking: Chunking) -> None:
        """Pack chunks into writes in another way, from the next item on."""
        self._join = chunking.join
        self._apart = chunking.apart
        ratio = chunking.chunks_per_write
        self._group = ratio.numerator if ratio else 0  # 0: nothing is promised
        self._pieces = ratio.denominator if ratio else 1

    def feed(self, timed: Timed[Head | Content | Trailers | Control]) -> Iterator[Timed[SocketItem | Control]]:
        gap, item, origin = timed
        if self._owed:
            gap, self._owed = gap + self._owed, 0.0
        if isinstance(item, Trailers):
            self._trailer = "".join(f"{name}: {value}\r\n" for name, value in item.fields).encode("latin-1", "replace")
            self._owed = gap
            return
        if not isinstance(item, Head | Control) and self._drops(item):
            self._owed = gap
            return
        if isinstance(item, bytes):
            yield from self._pack(gap, b"%x\r\n%b\r\n" % (len(item), item) if self._chunked else item, origin)
            return
        yield from self._release()
        if isinstance(item, Head):
            yield gap, self._begin(item), origin
        elif isinstance(item, Control):
            if isinstance(item, End) and self._chunked:
                yield gap, b"0\r\n%b\r\n" % self._trailer, origin
                gap = 0.0
            yield gap, item, origin
        elif isinstance(item, Raw):
            yield gap, Write(item.data, self._apart), origin
        else:
            data = b"%x\r\n%b\r\n" % (len(item.data), item.data) if self._chunked else item.data
            yield gap, Write(data, item.apart), origin

    def _drops(self, content: Content) -> bool:
        if isinstance(content, Raw):
            return not content.data
        return self._bodyless or not (content if isinstance(content, bytes) else content.data)

    def _begin(self, head: Head) -> bytes:
        """Decide the framing from the head, add the headers that say so, and encode it."""
        if head.status < 200:
            return head.encode()  # an interim response; the head that counts is still to come
        bodyless = head.status in (204, 304)
        extra: list[tuple[str, str]] = []
        if head.last:
            self.keeps = False
        elif head.header("content-length") is None and not bodyless:
            if self._may_chunk:
                extra.append(("Transfer-Encoding", "chunked"))
                self._chunked = not self._bodyless
            else:
                self.keeps = False
        self._bodyless = self._bodyless or bodyless
        extra.append(("Connection", "keep-alive" if self.keeps else "close"))
        return Head(head.status, (*head.headers, *extra), head.reason).encode()

    def _pack(self, gap: float, data: bytes, origin: Origin) -> Iterator[Timed[SocketItem]]:
        if self._group == 0:
            yield gap, data if self._join else Write(data, 0.0), origin
        elif self._pieces > 1:
            for piece in _split(data, self._pieces):
                yield gap, Write(piece, self._apart), origin
                gap = 0.0
        else:
            self._held.append(data)
            self._gap += gap
            self._origin = origin
            if len(self._held) == self._group:
                yield from self._release()

    def _release(self) -> Iterator[Timed[SocketItem]]:
        if self._held:
            yield self._gap, Write(b"".join(self._held), self._apart), self._origin
            self._held.clear()
            self._gap = 0.0

    @property
    def chunk_framing(self) -> bool:
        """Whether the coding is chunked and each chunk may be joined, so that this level may be composed."""
        return self._chunked and self._group == 0

    @property
    def joins(self) -> bool:
        """Whether neighbours that are due together may leave in one write."""
        return self._join

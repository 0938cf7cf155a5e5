"""Levels 1 and 0: an HTTP message (RFC 9112), and the writes that carry it over a connection.

Level 1, the message: one `Head`, then content, then an ending. A piece of content is one HTTP chunk where the
transfer coding is chunked. Level 0, the socket: bytes as they leave. Three items are shared by both:

* plain `bytes`: joinable; may leave in one write with neighbours that are due at the same time,
* `Write(data, apart)`: a promise: leaves by a write of its own, and nothing follows it for `apart` seconds,
* `Raw(data)`: level 1 only: bytes that no transfer coding touches, legal or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from typing import TypeAlias

from mockprovider.pace import Chunking
from mockprovider.timeline import NOWHERE, Control, End, Ending, Origin, Stage, Timed

__all__ = ["Content", "Head", "MessageEncoder", "Raw", "SocketItem", "TransferEncoder", "Write"]


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and header section. headers: (name, value) pairs in order, duplicates allowed."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None

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


class Write:
    """A promised write: its own `send`, and at least `apart` seconds before the next one."""

    __slots__ = ("apart", "data")

    def __init__(self, data: bytes, apart: float = 0.001) -> None:
        self.data = data
        self.apart = apart


class Raw:
    """Bytes that go to the socket as they stand, outside the transfer coding."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


Content: TypeAlias = bytes | Write | Raw
SocketItem: TypeAlias = bytes | Write


class MessageEncoder(Stage[bytes, "Head | Content"]):
    """From the encoded events of level 2 to a message: the head first, then the events packed into HTTP chunks.

    The head leaves with the first event, or `head_at` seconds after the request if that is earlier; time is
    conserved. Groups of events are kept back until they are full, a control comes, or the source ends.
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
        if self._head is not None and not (isinstance(item, Control) and self._head_at is None):
            early = gap if self._head_at is None else min(self._head_at, gap)
            yield early, self._head, NOWHERE
            self._head = None
            gap -= early
        if isinstance(item, Control):
            yield from self._release()
            if isinstance(item, Ending) and self._head is not None:
                yield gap, self._head, NOWHERE
                self._head, gap = None, 0.0
            yield gap, item, origin
        elif self._pieces > 1:
            size = max(1, -(-len(item) // self._pieces))
            for start in range(0, len(item), size):
                yield gap, item[start : start + size], origin
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


class TransferEncoder(Stage["Head | Content", SocketItem]):
    """From a message to writes: the transfer coding (RFC 9112 section 6) and the packing of chunks into writes.

    chunked: whether the client understands the chunked coding (HTTP/1.1). bodyless: the request was HEAD, so the
    head is all there is. keep: whether the connection may carry another request afterwards; `keeps` says whether
    it will, once the head has passed.
    """

    def __init__(self, chunking: Chunking, *, chunked: bool = True, bodyless: bool = False, keep: bool = True) -> None:
        self.keeps = keep
        self._may_chunk = chunked
        self._bodyless = bodyless
        self._chunked = False
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

    def feed(self, timed: Timed[Head | Content | Control]) -> Iterator[Timed[SocketItem | Control]]:
        gap, item, origin = timed
        if isinstance(item, bytes):
            if self._bodyless:
                return
            data = b"%x\r\n%b\r\n" % (len(item), item) if self._chunked else item
            if data:
                yield from self._pack(gap, data, origin)
            return
        yield from self._release()
        if isinstance(item, Head):
            yield gap, self._begin(item), origin
        elif isinstance(item, Control):
            if isinstance(item, End) and self._chunked:
                yield gap, b"0\r\n\r\n", origin
                gap = 0.0
            yield gap, item, origin
        elif not self._bodyless:
            if isinstance(item, Raw):
                yield gap, Write(item.data, self._apart), origin
            else:
                data = b"%x\r\n%b\r\n" % (len(item.data), item.data) if self._chunked else item.data
                yield gap, Write(data, item.apart), origin

    def _begin(self, head: Head) -> bytes:
        """Decide the framing from the head, add the headers that say so, and encode it."""
        bodyless = head.status in (204, 304) or head.status < 200
        extra: list[tuple[str, str]] = []
        if head.header("content-length") is None and not bodyless:
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
            size = max(1, -(-len(data) // self._pieces))
            for start in range(0, len(data), size):
                yield gap, Write(data[start : start + size], self._apart), origin
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

"""The HTTP message: head, content coding, transfer framing (RFC 9110 and RFC 9112)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    FLAG,
    INTEGER,
    NATURAL,
    TEXT,
    Context,
    Fault,
    Level,
    Pass,
    fault,
    setting,
)
from mockprovider.timeline import NOWHERE, Close, Control, End, Ending, Origin, Stage, Timed
from mockprovider.wire import Head, Raw, Trailers, Write

__all__ = [
    "BadChunk",
    "Buffered",
    "ContentLength",
    "Gzip",
    "Header",
    "NoChunking",
    "NoLastChunk",
    "TrailersFault",
]


class _HeadStage(Pass):
    """Changes the head and nothing else."""

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        yield gap, self.changed(item) if isinstance(item, Head) else item, origin

    def changed(self, head: Head) -> Head:
        """The head as it leaves."""
        raise NotImplementedError


def _without(head: Head, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in head.headers if key.lower() not in names)


@fault("header", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Header(Fault):
    """A response header has another value, is there where it would not be, or is absent."""

    key: str = setting(TEXT, "content-encoding", "its name, in any case")
    value: str | None = setting(TEXT, None, "what it says; not set: the header is absent")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not self.key or any(character in ":\r\n\0 " for character in self.key):
            raise SettingError(f"header: key: expected the name of a header, got {self.key!r}")
        if self.value is not None and any(character in "\r\n\0" for character in self.value):
            raise SettingError(f"header: value: expected one line, got {self.value!r}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Replaces the header where it stands, or adds it at the end."""
        return _HeaderStage(self.key, self.value)


class _HeaderStage(_HeadStage):
    def __init__(self, name: str, value: str | None) -> None:
        self._name = name
        self._value = value

    def changed(self, head: Head) -> Head:
        rest = _without(head, self._name.lower())
        return replace(head, headers=rest if self._value is None else (*rest, (self._name, self._value)))


@fault("no-chunking", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoChunking(Fault):
    """Neither chunked coding nor a length: the message ends with the connection, as HTTP/1.0 servers end it."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Makes the head the connection's last, without a length."""
        return _NoChunkingStage()


class _NoChunkingStage(_HeadStage):
    def changed(self, head: Head) -> Head:
        return replace(head, headers=_without(head, "content-length"), last=True)


@fault("content-length", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLength(Fault):
    """The response declares a length that its body does not have; the connection ends after the body."""

    bytes: int = setting(NATURAL, 100_000, "the declared length")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Declares the length in place of the transfer coding."""
        return _LengthStage(self.bytes)


class _LengthStage(_HeadStage):
    def __init__(self, size: int) -> None:
        self._size = size

    def changed(self, head: Head) -> Head:
        headers = (*_without(head, "content-length"), ("Content-Length", str(self._size)))
        return replace(head, headers=headers, last=True)


@fault("bad-chunk", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class BadChunk(Fault):
    """A line that is no chunk size stands where one is due; then comes that chunk, and the connection ends."""

    after: int = setting(NATURAL, 4, "how many good HTTP chunks come before")
    line: str = setting(TEXT, "zz", "what stands in the place of the size; empty: an empty line")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Writes the chunk by hand, then closes."""
        return _BadChunkStage(self.after, self.line.encode())


class _BadChunkStage(Stage[Any, Any]):
    def __init__(self, after: int, line: bytes) -> None:
        self._left = after
        self._line = line

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if not isinstance(item, bytes | Write):
            yield timed
        elif self._left:
            self._left -= 1
            yield timed
        else:
            data = item if isinstance(item, bytes) else item.data
            yield gap, Raw(b"%b\r\n%b\r\n" % (self._line, data)), origin
            yield 0.0, Close(), origin


@fault("no-last-chunk", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoLastChunk(Fault):
    """All content is sent, then FIN comes in the place of the last HTTP chunk."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Closes where the message would end."""
        return _NoLastChunkStage()


class _NoLastChunkStage(Stage[Any, Any]):
    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        yield gap, Close() if isinstance(item, End) else item, origin


@fault("trailer", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class TrailersFault(Fault):
    """A trailer field follows the last HTTP chunk."""

    key: str = setting(TEXT, "X-Error", "its name")
    value: str = setting(TEXT, "none", "what it says")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Hands the field to the transfer coding before the end."""
        return _TrailersStage(((self.key, self.value),))


class _TrailersStage(Stage[Any, Any]):
    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self._fields = fields

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, End):
            yield gap, Trailers(self._fields), origin
            gap = 0.0
        yield gap, item, origin


@fault("gzip", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Gzip(Fault):
    """The body is one gzip member, whether or not the client asked for it: flushed, held back, or cut."""

    flush: bool = setting(FLAG, True, "whether each event leaves at once; else the compressor holds what it can")
    cut: int | None = setting(COUNT, None, "the body ends cleanly after so many events, without the member's trailer")
    effort: int = setting(INTEGER, 6, "how hard to compress, 0 to 9")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not 0 <= self.effort <= 9:
            raise SettingError(f"gzip: effort: expected 0 to 9, got {self.effort}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Says so in the head and compresses the content, RFC 1952."""
        return _GzipStage(self.effort, self.cut, flush=self.flush)


class _GzipStage(Stage[Any, Any]):
    def __init__(self, effort: int, cut: int | None, *, flush: bool) -> None:
        self._deflate = zlib.compressobj(effort, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._left = cut
        self._flush = flush
        self._sized: tuple[float, Head, Origin] | None = None  # a head that declares a length waits for its body
        self._gap = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        gap, self._gap = gap + self._gap, 0.0
        if isinstance(item, Head):
            headers = (*_without(item, "content-encoding"), ("Content-Encoding", "gzip"))
            head = replace(item, headers=headers)
            if item.header("content-length") is None:
                yield gap, head, origin
            else:
                self._sized = gap, head, origin
        elif isinstance(item, bytes | Write):
            yield from self._content(gap, item, origin)
        else:
            if isinstance(item, End) and self._left is None:
                rest = self._deflate.flush()
                if rest:
                    yield gap, rest, origin
                    gap = 0.0
            yield gap, item, origin

    def _content(self, gap: float, item: bytes | Write, origin: Origin) -> Iterator[Timed[Any]]:
        data = self._deflate.compress(item if isinstance(item, bytes) else item.data)
        if self._sized is not None:
            early, head, place = self._sized
            self._sized = None
            data += self._deflate.flush()
            data = data[: len(data) // 2] if self._left is not None else data
            self._left = 0  # the member is complete, or cut: nothing follows
            headers = (*_without(head, "content-length"), ("Content-Length", str(len(data))))
            yield early, replace(head, headers=headers), place
            yield gap, data, origin
            return
        if self._flush or self._left == 1:
            data += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if data:
            yield gap, data if isinstance(item, bytes) else Write(data, item.apart), origin
        else:
            self._gap = gap
        if self._left is not None:
            self._left -= 1
            if not self._left:
                yield 0.0, End(), origin


@fault("buffered", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Buffered(Fault):
    """A proxy holds the whole body back and lets it go at once when it is complete."""

    head: bool = setting(FLAG, True, "whether the status line and headers are held back too")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Collects the content. SettingError for an endless reply, which would never leave."""
        if context.tokens() is None:
            raise SettingError("buffered: an endless reply never leaves a proxy that waits for its end")
        return _BufferedStage(head=self.head)


class _BufferedStage(Stage[Any, Any]):
    def __init__(self, *, head: bool) -> None:
        self._holds_head = head
        self._head: Head | None = None
        self._gap = 0.0
        self._held: list[bytes] = []

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head) and not self._holds_head:
            yield timed
            return
        self._gap += gap
        if isinstance(item, Head):
            self._head = item
        elif isinstance(item, bytes | Write):
            self._held.append(item if isinstance(item, bytes) else item.data)
        elif isinstance(item, Ending) or not isinstance(item, Control):
            yield from self._release()
            yield self._gap, item, origin
            self._gap = 0.0
        else:
            yield self._gap, item, origin  # a gate is waited for where it stands
            self._gap = 0.0

    def _release(self) -> Iterator[Timed[Any]]:
        if self._head is not None:
            yield self._gap, self._head, NOWHERE
            self._head, self._gap = None, 0.0
        if self._held:
            yield self._gap, b"".join(self._held), NOWHERE
            self._held.clear()
            self._gap = 0.0

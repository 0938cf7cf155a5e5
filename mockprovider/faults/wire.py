"""The wire: where HTTP chunks and writes begin and end. Characters and escapes are in `text`.

None of this changes the body; all of it changes in which pieces a client's reads find it. Every piece is a promised
write, see `mockprovider.wire.Write`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import COUNT, FLAG, NATURAL, SECONDS, Context, Fault, Kind, Level, choice, fault, setting
from mockprovider.faults.text import Ascii, CutCharacter, InsertText, StrayBytes
from mockprovider.jsontext import dumps
from mockprovider.timeline import NOWHERE, Control, Stage, Timed
from mockprovider.wire import Write

__all__ = [
    "Ascii",
    "ChunkExtensions",
    "CutCharacter",
    "InsertText",
    "Merge",
    "Rechunk",
    "Split",
    "StrayBytes",
]


def _quoted(value: str) -> str:
    return dumps(value).decode()


# ------------------------------------------------------------------------------------------------ places

_END = rb"(?:\r\n|\n|\r(?!\n))"
_START = rb"(?:^|(?<=[\r\n]))"

_PLACES: dict[str, tuple[re.Pattern[bytes], bool]] = {
    "character": (re.compile(rb"[\xc2-\xdf]()|[\xe0-\xef]()[\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]()[\x80-\xbf]"), False),
    "escape": (re.compile(rb"\\u[0-9a-fA-F]{2}()|\\()."), False),
    "json": (re.compile(_START + rb"data: ?(\{[^\r\n]*)"), True),
    "name": (re.compile(_START + rb"([A-Za-z]{2,})(?=[:\r\n])"), True),
    "part": (re.compile(_START + rb"[^\r\n:]*:? ?()[^\r\n]*()" + _END + rb"()"), False),
    "crlf": (re.compile(rb"\r()\n"), False),
    "blank": (re.compile(_END + rb"()(?=[\r\n])"), False),
    "event": (re.compile(_END + _END + rb"()"), False),
}
"""By name: what to look for, and whether to cut in the middle of its groups, rather than where they (empty) stand."""


def _places(value: Any) -> tuple[str, ...]:
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or any(name not in _PLACES for name in names):
        raise ValueError
    return tuple(names)


PLACES = Kind("places", f"one or more of {', '.join(_PLACES)}, with spaces between", _places, " ".join)


def cuts(data: bytes, places: tuple[str, ...]) -> list[int]:
    """Where to cut the data, in order."""
    found = set()
    for place in places:
        pattern, middle = _PLACES[place]
        for match in pattern.finditer(data):
            for start, end in match.regs[1:]:
                if start >= 0:
                    found.add((start + end) // 2 if middle else start)
    return sorted(found)


@fault("split", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Fault):
    """The body is cut at chosen places, and each piece is an HTTP chunk, or a write, of its own.

    character: inside those of several bytes; escape: inside those of JSON; json: in the middle of each document;
    name: inside the name of a field; part: between field name, value, line end and blank line; crlf: between CR and LF;
    blank: between the line end and the blank line; event: after each event.
    """

    at: tuple[str, ...] = setting(PLACES, ("json",), "where to cut")
    into: str = setting(choice("chunks", "writes"), "chunks", "each piece is a chunk, or chunks are cut over writes")
    carry: bool = setting(FLAG, False, "whether what is left after the last cut waits for the next event (chunks only)")
    seconds: float = setting(SECONDS, 0.001, "the pause after each piece, so that it is a read of its own")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.carry and self.into == "writes":
            raise SettingError("split: carry: expected into=chunks with it: a write cannot hold part of the next chunk")

    @property
    def level(self) -> Level:
        """The message, or the socket where chunks are to stay whole."""
        return Level.MESSAGE if self.into == "chunks" else Level.SOCKET

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Cuts each piece of content, or each chunk in its framing, and promises a write for each part."""
        if self.into == "writes":
            return _SplitWrites(self.at, self.seconds)
        return _SplitChunks(self.at, self.seconds, carry=self.carry)


class _SplitChunks(Stage[Any, Any]):
    def __init__(self, at: tuple[str, ...], seconds: float, *, carry: bool) -> None:
        self._at = at
        self._seconds = seconds
        self._carry = carry
        self._rest = b""
        self._gap = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if not isinstance(item, bytes | Write):
            if self._rest:
                yield self._gap, Write(self._rest, self._seconds), NOWHERE
                self._rest, self._gap = b"", 0.0
            yield gap + self._gap, item, origin
            self._gap = 0.0
            return
        data = self._rest + (item.data if isinstance(item, Write) else item)
        gap, self._gap = gap + self._gap, 0.0
        bounds = [0, *(cut for cut in cuts(data, self._at) if len(self._rest) < cut <= len(data))]
        if not self._carry and bounds[-1] < len(data):
            bounds.append(len(data))
        self._rest = data[bounds[-1] :]
        for start, end in pairwise(bounds):
            yield gap, Write(data[start:end], self._seconds), origin
            gap = 0.0
        self._gap = gap


class _SplitWrites(Stage[Any, Any]):
    def __init__(self, at: tuple[str, ...], seconds: float) -> None:
        self._at = at
        self._seconds = seconds
        self._frames = Frames()

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield timed
            return
        data = item.data if isinstance(item, Write) else item
        bounds = [0]
        for kind, start, end in self._frames.feed(data):
            if kind == "content":
                bounds += [start + cut for cut in cuts(data[start:end], self._at)]
        if len(bounds) == 1:
            yield timed
            return
        for start, end in pairwise([*bounds, len(data)]):
            if start < end:
                yield gap, Write(data[start:end], self._seconds), origin
                gap = 0.0


# ------------------------------------------------------------------------------------------------ chunks


def _sizes(value: Any) -> tuple[int, ...]:
    parts = value.split() if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    sizes = tuple(COUNT.parse(part) for part in parts)
    if not sizes or max(sizes) > 1 << 24:
        raise ValueError
    return sizes


SIZES = Kind(
    "sizes", "one or more whole numbers >= 1, with spaces between", _sizes, lambda value: " ".join(map(str, value))
)


@fault("rechunk", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Rechunk(Fault):
    """The body comes in HTTP chunks of these sizes in turn, whatever is in them."""

    sizes: tuple[int, ...] = setting(SIZES, (1,), "bytes a chunk; several sizes take turns")
    seconds: float = setting(
        SECONDS, 0.001, "the pause after each, so that it is a read of its own; 0: none is promised"
    )

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Cuts and joins content: a chunk comes when its last byte does; the end, or a gate, lets the rest go."""
        return _RechunkStage(self.sizes, self.seconds)


class _RechunkStage(Stage[Any, Any]):
    def __init__(self, sizes: tuple[int, ...], seconds: float) -> None:
        self._sizes = cycle(sizes)
        self._size = next(self._sizes)
        self._seconds = seconds
        self._held = bytearray()
        self._gap = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if not isinstance(item, bytes | Write):
            if self._held:
                yield self._take(len(self._held))
            yield gap + self._gap, item, origin
            self._gap = 0.0
            return
        self._held += item.data if isinstance(item, Write) else item
        self._gap += gap
        while len(self._held) >= self._size:
            yield self._take(self._size)
            self._size = next(self._sizes)

    def _take(self, size: int) -> Timed[Any]:
        data, gap = bytes(self._held[:size]), self._gap
        del self._held[:size]
        self._gap = 0.0
        return gap, Write(data, self._seconds) if self._seconds else data, NOWHERE


@fault("merge", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Merge(Fault):
    """Several events come in one HTTP chunk and one write, when the last of them is due."""

    events: int = setting(COUNT, 65, "how many, comments counted too")
    after: int = setting(NATURAL, 0, "how many come as always before that")
    times: int | None = setting(COUNT, None, "how many groups; all that follow, unless it is given")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Holds pieces of content back until a group is full; the end, or a gate, lets a smaller one go."""
        return _MergeStage(self.events, self.after, self.times)


class _MergeStage(Stage[Any, Any]):
    def __init__(self, events: int, after: int, times: int | None) -> None:
        self._events = events
        self._after = after
        self._left = times
        self._held: list[bytes] = []
        self._gap = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, _ = timed
        content = isinstance(item, bytes | Write)
        if content and self._after:
            self._after -= 1
        elif content and self._left != 0:
            self._held.append(item.data if isinstance(item, Write) else item)
            self._gap += gap
            if len(self._held) == self._events:
                yield from self._release()
            return
        yield from self._release()
        yield timed

    def _release(self) -> Iterator[Timed[Any]]:
        if self._held:
            yield self._gap, Write(b"".join(self._held)), NOWHERE
            self._held.clear()
            self._gap = 0.0
            self._left = None if self._left is None else self._left - 1


# ------------------------------------------------------------------------------------------------ framing


class Frames:
    """Takes chunk framing apart as the bytes of a response pass, RFC 9112 section 7.1; not its trailers.

    A body without it is all content. What is no framing, since a fault broke it, is neither size nor content.
    """

    _SIZE = re.compile(rb"([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n")

    def __init__(self) -> None:
        self._head: bytes | None = b""  # what has come of the head; None: it has passed
        self._chunked = False
        self._left = 0  # bytes of the chunk that are still to come, its CRLF included
        self._lost = False

    def feed(self, data: bytes) -> Iterator[tuple[str, int, int]]:
        """The parts of the next bytes: `("size", start, end)`, the size line without CRLF, or `("content", …)`."""
        at = 0 if self._head is None else self._after_head(data)
        if not self._chunked:
            if at < len(data) and not self._lost:
                yield "content", at, len(data)
            return
        while at < len(data) and not self._lost:
            if not self._left:
                match = self._SIZE.match(data, at)
                if match is None or not int(match[1], 16):
                    self._lost = True
                    return
                yield "size", at, match.end() - 2
                at = match.end()
                self._left = int(match[1], 16) + 2
            end = min(len(data), at + self._left)
            content = min(end, at + self._left - 2)
            if content > at:
                yield "content", at, content
            self._left -= end - at
            at = end

    def _after_head(self, data: bytes) -> int:
        """Where in the data the head ends, which may come in many parts and after interim ones."""
        held = (self._head or b"") + data
        while (end := held.find(b"\r\n\r\n") + 4) >= 4:
            head, held = held[:end], held[end:]
            if not head.startswith(b"HTTP/1.1 1"):
                self._head = None
                self._chunked = b"\r\ntransfer-encoding: chunked\r\n" in head.lower()
                self._lost = not head.startswith(b"HTTP/1.")
                return len(data) - len(held)
        self._head = held
        return len(data)


def _extension(value: Any) -> str:
    if not isinstance(value, str) or _EXTENSION.fullmatch(value) is None:
        raise ValueError
    return value


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_EXTENSION = re.compile(rf'{_TOKEN}(?:=(?:{_TOKEN}|"[^"\\\x00-\x1f\x7f-\U0010ffff]*"))?')
EXTENSION = Kind("extension", 'a chunk extension such as name=value or name="a value"', _extension, _quoted)


@fault("chunk-extensions", Level.SOCKET, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkExtensions(Fault):
    """HTTP chunks have an extension after their size, which clients must ignore (RFC 9112 section 7.1.1)."""

    text: str = setting(EXTENSION, "name=value", "the extension, without the semicolon before it")
    every: int = setting(COUNT, 1, "every so many chunks one has it")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Writes it after the sizes. A body that is not chunked stays as it is."""
        return _ExtensionStage(b";" + self.text.encode("ascii"), self.every)


class _ExtensionStage(Stage[Any, Any]):
    def __init__(self, extension: bytes, every: int) -> None:
        self._extension = extension
        self._every = every
        self._count = 0
        self._frames = Frames()

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield timed
            return
        data = item.data if isinstance(item, Write) else item
        made, done = b"", 0
        for kind, _, end in self._frames.feed(data):
            if kind == "size":
                self._count += 1
                if self._count % self._every == 0:
                    made += data[done:end] + self._extension
                    done = end
        made += data[done:]
        yield gap, Write(made, item.apart) if isinstance(item, Write) else made, origin

"""From items of a recording back to writes: what nobody changed goes where it lay, to the byte and in the same write.

What a fault changes stays in its chunk and in its write, with a new size; what it adds is a chunk and a write of its
own; what it takes away hands its time on. Times are kept as absolute ones here, for an item may lie in several reads:
its gap is that of its first byte, and what follows it is put off no further than the recording says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from mockprovider.faults.blocks import end_of, joined, lines_of, value_of, with_data
from mockprovider.framing.sse import ServerSentEvent
from mockprovider.payload import Payload
from mockprovider.replay.taken import Place, Taken
from mockprovider.reply import TextDelta
from mockprovider.timeline import NOWHERE, Control, End, Ending, Hold, Origin, Stage, Timed
from mockprovider.wire import Head, Raw, SocketItem, Trailers, Write

__all__ = ["Gated", "Headed", "Packed", "ToBlocks", "ToDeltas", "ToPayloads", "Written"]

_SAME = 1e-9
"""Seconds that rounding may make of no time at all."""


class _Clock:
    """Adds gaps up, and makes gaps of times again: none goes back behind what has been given out."""

    def __init__(self) -> None:
        self.now = 0.0
        self._out = 0.0

    def gap(self, time: float) -> float:
        """The gap of an item that is due at that time."""
        gap = max(0.0, time - self._out)
        self._out += gap
        return gap


# ------------------------------------------------------------------------------------------------ above the event


class _Delta(TextDelta):
    """A block that counts as a token."""

    __slots__ = ("block",)

    def __init__(self, block: bytes) -> None:
        super().__init__("")
        self.block = block


class _Other:
    """A block that counts as none."""

    __slots__ = ("block",)

    def __init__(self, block: bytes) -> None:
        self.block = block


class ToDeltas(Stage[bytes, Any]):
    """Blocks as items of the reply's level, for faults that count tokens there and change no text."""

    def feed(self, timed: Timed[Any]) -> Iterable[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, bytes):
            item = _Delta(item) if origin[1] >= 0 else _Other(item)
        return ((gap, item, origin),)


class ToPayloads(Stage[bytes, Any]):
    """Blocks as payloads. One without data passes as what no fault of payloads looks at.

    form: what a block is: of an event stream (`events`), a line of JSON (`lines`), or one document (`whole`).
    """

    def __init__(self, form: str) -> None:
        self._form = form

    def feed(self, timed: Timed[Any]) -> Iterable[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, bytes):
            item = self._payload(item)
        return ((gap, item, origin),)

    def _payload(self, block: bytes) -> Payload | _Passing:
        if self._form != "events":
            data = block.rstrip(b"\r\n") if self._form == "lines" else block
            return _Taken(block, data, None) if data else _Passing(block)
        values, name = [], None
        for text, _ in lines_of(block):
            if (value := value_of(text)) is not None:
                values.append(value)
            elif (value := value_of(text, b"event")) is not None:
                name = value.decode("utf-8", "replace")
        return _Taken(block, b"\n".join(values), name) if values else _Passing(block)


class _Taken(Payload):
    """The payload of a block."""

    __slots__ = ("block",)

    def __init__(self, block: bytes, data: bytes, name: str | None) -> None:
        super().__init__(data, name)
        self.block = block


class _Passing(Control):
    """A block without data."""

    __slots__ = ("block",)

    def __init__(self, block: bytes) -> None:
        self.block = block


class ToBlocks(Stage[Any, Any]):
    """Items of the reply's level, or payloads, as blocks again. form: see `ToPayloads`."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._end = b"\n"

    def feed(self, timed: Timed[Any]) -> Iterable[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, _Delta | _Other | _Passing | _Taken):
            self._end = end_of(item.block)
            return ((gap, item.block, origin),)
        if isinstance(item, Payload):
            return ((gap, self._encoded(item, origin), origin),)
        return (timed,)

    def _encoded(self, payload: Payload, origin: Origin) -> bytes:
        if self._form != "events":
            return payload.data + b"\n" if self._form == "lines" else payload.data
        former = origin.item if isinstance(origin, Place) else None
        if former is None or b"\n" in payload.data or b"\r" in payload.data:
            block = ServerSentEvent(payload.data, event=payload.name).encode()
            return block if self._end == b"\n" else block.replace(b"\n", self._end)
        made = with_data(former, payload.data)
        name = (payload.name or "").encode()
        lines = [
            (b"event: " + name if name and value_of(text, b"event") not in (None, name) else text, end)
            for text, end in lines_of(made)
        ]
        return joined(lines)


class Gated(Stage[Any, Any]):
    """Puts a Hold where a gate is: after so many tokens, or before the end. Gates before the head are not its own."""

    def __init__(self, holds: Mapping[int, str]) -> None:
        self._holds = holds

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Ending) and -1 in self._holds:
            yield gap, Hold(self._holds[-1]), NOWHERE
            gap = 0.0
        yield gap, item, origin
        gate = None if isinstance(item, Control) or origin[1] < 0 else self._holds.get(origin[1] + 1)
        if gate is not None:
            yield 0.0, Hold(gate), NOWHERE


# ------------------------------------------------------------------------------------------------ blocks to content


class Headed(Stage[Any, Any]):
    """Adds headers to the head; each takes the place of those of its name."""

    def __init__(self, headers: tuple[tuple[str, str], ...]) -> None:
        self._headers = headers

    def feed(self, timed: Timed[Any]) -> Iterable[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            names = {name.lower() for name, _ in self._headers}
            kept = tuple(header for header in item.headers if header[0].lower() not in names)
            item = replace(item, headers=(*kept, *self._headers))
        return ((gap, item, origin),)


class Packed(Stage[Any, Any]):
    """From blocks to the head and pieces of content.

    A piece of which all blocks come unchanged and in time is the recorded one. The others are made of what there is of
    them, at the time of its last byte. whole: the content is one block, so a length that is declared is that of it.
    unsized: a length that is declared cannot be kept, since events will change.
    """

    def __init__(self, taken: Taken, *, whole: bool, unsized: bool = False) -> None:
        self._taken = taken
        self._unsized = unsized and not whole
        self._whole = whole
        self._head: Timed[Any] | None = taken.head_timed()
        self._clock = _Clock()
        self._piece = -1
        self._began = self._last = self._until = 0.0
        self._data: list[bytes] = []

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        self._clock.now += gap
        fragments = origin.fragments if isinstance(origin, Place) else ()
        if self._head is not None and not isinstance(item, Hold):
            at, head, place = self._head
            self._head = None
            if self._whole and fragments and item != origin.item:  # type: ignore[attr-defined]
                head = _sized(head, item)
            elif self._unsized:
                head = _unsized(head, self._taken.head.version)
            yield self._clock.gap(min(at, self._clock.now)), head, place
        if isinstance(item, Control) or not fragments:
            yield from self._release()
            yield self._clock.gap(self._clock.now), item, origin if isinstance(item, Control) else NOWHERE
            return
        changed = item != origin.item  # type: ignore[attr-defined]
        for fragment in fragments:
            at = self._clock.now + fragment.after
            if fragment.piece != self._piece or at > self._last + fragment.wait + _SAME:
                yield from self._release()
                self._piece, self._began = fragment.piece, at
            self._last = at
            # What was changed goes where the block ended.
            data = fragment.data if not changed else item if fragment is fragments[-1] else b""
            if data:
                self._data.append(data)
                self._until = self._clock.now + fragment.until
            if fragment.last:
                yield from self._release(whole=True)

    def _release(self, *, whole: bool = False) -> Iterator[Timed[Any]]:
        if self._piece < 0:
            return
        data, number = b"".join(self._data), self._piece
        self._piece = -1
        self._data.clear()
        place = self._taken.piece_place(number)
        if data == place.item:
            yield self._clock.gap(self._began), data, place
        elif data:
            last = place.parts[-1]
            where = last._replace(after=0.0, data=b"", last=last.last and whole)
            yield self._clock.gap(self._until), data, Place.of(None, (where,))

    def flush(self) -> Iterator[Timed[Any]]:
        if self._head is not None:
            at, head, place = self._head
            yield self._clock.gap(at), head, place
        yield from self._release()


def _sized(head: Head, content: bytes) -> Head:
    """The head with the length of this content, where it declares one."""
    size = str(len(content))
    if head.header("content-length") in (None, size):
        return head
    headers = tuple((key, size) if key.lower() == "content-length" else (key, value) for key, value in head.headers)
    return replace(head, headers=headers)


def _unsized(head: Head, version: str) -> Head:
    """The head of the same stream without a declared length: chunked, or until the end in HTTP/1.0."""
    if head.header("content-length") is None:
        return head
    headers = tuple(header for header in head.headers if header[0].lower() != "content-length")
    if version == "1.0":
        return replace(head, headers=headers, last=True)
    return replace(head, headers=(*headers, ("Transfer-Encoding", "chunked")))


# ------------------------------------------------------------------------------------------------ content to writes


class Written(Stage[Any, SocketItem]):
    """From the head, pieces of content and the ending to writes, one for each read.

    make: what a write is made of; divided: the end of the head is to be the end of an item, for faults that count what
    comes after it. dropped: called where the connection cannot be kept.
    """

    def __init__(
        self, taken: Taken, make: Callable[[bytes], SocketItem], dropped: Callable[[], object], *, divided: bool
    ) -> None:
        self._taken = taken
        self._make = make
        self._dropped = dropped
        self._divided = divided
        self._clock = _Clock()
        self._verbatim = True
        self._chunked = taken.chunked
        self._trailer = b""
        self._ended = False
        self._read = -1
        self._time = 0.0
        self._held: list[bytes] = []
        self._head_size = 0  # bytes of the head among those held

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        self._clock.now += gap
        place = origin if isinstance(origin, Place) else None
        if isinstance(item, Head):
            yield from self._begin(item, place)
        elif isinstance(item, Control):
            yield from self._control(item, place)
        elif isinstance(item, Trailers):
            fields = (f"{name}: {value}\r\n" for name, value in item.fields)
            self._trailer = "".join(fields).encode("latin-1", "replace")
        elif isinstance(item, Raw | Write):
            data = item.data if isinstance(item, Raw) else self._framed(item.data)
            yield from self._release()
            if data:
                made = Write(data, item.apart) if isinstance(item, Write) else self._make(data)
                yield self._clock.gap(self._clock.now), made, NOWHERE
        elif place is not None and self._verbatim and item == place.item:
            yield from self._put(place, 0.0)
        elif item:
            yield from self._changed(self._framed(item), place)

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def _changed(self, data: bytes, place: Place | None) -> Iterator[Timed[Any]]:
        """What is not as it was recorded: in the read where that ended, or by itself."""
        if place is None or not place.parts:
            yield from self._release()
            yield self._clock.gap(self._clock.now), self._make(data), NOWHERE
            return
        last = place.parts[-1]
        yield from self._put(Place.of(None, (last._replace(after=0.0, data=data),)), last.after)

    def _begin(self, head: Head, place: Place | None) -> Iterator[Timed[Any]]:
        recorded = self._taken.head_timed()[2]
        if head == self._taken.head_item:
            yield from self._put(recorded if isinstance(recorded, Place) else Place.of(None), 0.0, head=True)
            return
        headers = head.headers
        if not self._chunked and head.header("transfer-encoding") == "chunked":
            self._verbatim, self._chunked = False, True
        if head.last:
            self._verbatim = self._chunked = False
            self._dropped()
            hidden = ("transfer-encoding", "connection", "keep-alive")
            headers = (*((key, value) for key, value in headers if key.lower() not in hidden), ("Connection", "close"))
        data = Head(head.status, headers, head.reason).encode()
        data = self._taken.interim + b"HTTP/" + self._taken.head.version.encode() + data[8:]
        last = recorded.parts[-1] if isinstance(recorded, Place) else None
        assert last is not None, "a head has bytes"
        where = Place.of(None, (last._replace(after=0.0, data=data),))
        yield from self._put(where, 0.0 if place is None else last.after, head=True)

    def _put(self, place: Place, later: float, *, head: bool = False) -> Iterator[Timed[Any]]:
        """The parts of an item, each in the write of its read."""
        now = self._clock.now + later
        for part in place.parts:
            at = now + part.after
            if self._held and (part.read != self._read or at > self._time + _SAME):
                yield from self._release()
            if not self._held:
                self._read, self._time = part.read, at
            self._held.append(part.data)
            self._head_size += len(part.data) if head else 0
            if part.last:
                yield from self._release()

    def _release(self) -> Iterator[Timed[Any]]:
        if not self._held:
            return
        data = b"".join(self._held)
        size, self._head_size = self._head_size, 0
        self._held.clear()
        gap = self._clock.gap(self._time)
        if self._divided and 0 < size < len(data):
            # Two that are due together and may be joined leave as one.
            yield gap, data[:size], NOWHERE
            yield 0.0, data[size:], NOWHERE
        else:
            yield gap, self._make(data), NOWHERE

    def _control(self, control: Control, place: Place | None) -> Iterator[Timed[Any]]:
        self._ended = isinstance(control, Ending)
        late = 0.0
        if place is not None and control == place.item:
            late = self._taken.end_time - self._taken.ending_timed()[0]
        if place is not None and control == place.item and self._verbatim and not self._trailer:
            yield from self._put(place, 0.0)
            yield from self._release()
        else:
            yield from self._release()
            if isinstance(control, End):
                yield from self._last_chunk()
        yield self._clock.gap(self._clock.now + late), control, NOWHERE

    def _last_chunk(self) -> Iterator[Timed[Any]]:
        if self._chunked:
            yield self._clock.gap(self._clock.now), self._make(b"0\r\n%b\r\n" % self._trailer), NOWHERE
        else:
            self._dropped()  # it may lack bytes that the head has promised

    def flush(self) -> Iterator[Timed[Any]]:
        yield from self._release()
        if not self._ended:
            yield from self._last_chunk()
            yield self._clock.gap(self._clock.now), End(), NOWHERE

"""From the items of a live response back to writes: what nobody changed leaves as it came, to the byte.

The counterpart of `lowering` where no end is known. Where a chunk has more in it than may leave yet, its size line
goes ahead with what may, and what follows fills the chunk up. If a fault has made that less than the size line says,
comments (in lines of JSON: line ends) fill it up at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from mockprovider.replay.arriving import Chunk, Lay, Lifted, Run, Verbatim
from mockprovider.timeline import NOWHERE, Control, End, Ending, Stage, Timed
from mockprovider.wire import Head, Raw, SocketItem, Trailers, Write

__all__ = ["Relaid", "Repacked"]


def _without_length(head: Head) -> Head:
    """The head without a declared length."""
    return replace(head, headers=tuple(header for header in head.headers if header[0].lower() != "content-length"))


class Repacked(Stage[Any, Any]):
    """From blocks to pieces of content: what was in one chunk is one again, as far as it has come.

    What a fault changes is one chunk with what of its chunk leaves at the same time. sized: the head waits for the
    content, which is one document, and declares its length; unsized: a declared length goes, since events may change;
    entire: it is one piece, whatever reads brought it.
    """

    def __init__(self, *, sized: bool, unsized: bool, entire: bool) -> None:
        self._sized = sized
        self._unsized = unsized
        self._entire = entire
        self._head: Timed[Any] | None = None
        self._gap = 0.0
        self._chunk: Chunk | None = None
        self._held: list[Run] = []
        self._changed = False
        self._inside = 0  # bytes of the chunk, as it came, of which is known what becomes of them

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            if self._sized:
                self._head = timed
            else:
                yield gap, _without_length(item) if self._unsized else item, origin
            return
        if self._head is not None:
            yield self._headed(item, origin)
            self._head = None
        runs = item.runs if isinstance(item, Verbatim) else origin.runs if isinstance(origin, Lay) else ()
        content = bool(runs) and runs[0].chunk is not None
        if gap or not content:
            # What the upstream itself breaks off stays broken.
            own = isinstance(item, Verbatim) or (isinstance(origin, Lay) and origin.item is item)
            yield from self._release(goes_on=own and not content)
        self._gap += gap
        if not content:
            gap, self._gap = self._gap, 0.0
            yield gap, item, origin if isinstance(item, Control) else NOWHERE
            return
        changed = isinstance(origin, Lay) and item != origin.item and not isinstance(item, Verbatim)
        for run in runs:
            if self._chunk is None or (run.chunk is not self._chunk and not self._entire):
                yield from self._release()
                self._chunk = run.chunk
            self._inside += len(run.data)
            self._changed = self._changed or changed
            if changed:
                run = run._replace(data=item if run is runs[-1] else b"")  # noqa: PLW2901
            self._held.append(run)

    def _headed(self, item: Any, origin: Any) -> Timed[Any]:
        """The head with the length of this content."""
        assert self._head is not None, "asked before"
        gap, head, place = self._head
        if isinstance(item, bytes) and isinstance(origin, Lay) and item != origin.item:
            size = str(len(item))
            headers = tuple((key, size if key.lower() == "content-length" else value) for key, value in head.headers)
            head = replace(head, headers=headers)
        return gap, head, place

    def settle(self) -> Iterator[Timed[Any]]:
        """Everything that has come has passed: what is held of a chunk leaves, the rest of it is still to come."""
        return self._release(goes_on=True)

    def _release(self, *, goes_on: bool = False) -> Iterator[Timed[Any]]:
        held, self._held = self._held, []
        chunk, inside, changed = self._chunk, self._inside, self._changed
        self._chunk, self._inside, self._changed = None, 0, False
        data = b"".join(run.data for run in held)
        if not held or chunk is None:
            return
        if not data:
            chunk.given = True
            return
        gap, self._gap = self._gap, 0.0
        whole = goes_on or chunk.size in (None, inside)
        # A part of a chunk of which the rest is put off, or gone, is a chunk of its own.
        same = not changed and (whole or chunk.given)
        yield gap, data, Lay.at(data if same else None, tuple(held))

    def flush(self) -> Iterator[Timed[Any]]:
        if self._head is not None:
            yield self._head
            self._head = None
        yield from self._release()


# ------------------------------------------------------------------------------------------------ content to writes


class Relaid(Stage[Any, SocketItem]):
    """From the head, content and the ending to writes: one for what came in one read.

    chunked: whether the upstream's content is; padding: what fills a chunk up that has become too short; dropped:
    called where the connection cannot be kept; divided: the end of the head is the end of an item.
    """

    def __init__(
        self, lifted: Lifted, dropped: Callable[[], object], *, chunked: bool, padding: bytes, divided: bool
    ) -> None:
        self._lifted = lifted
        self._dropped = dropped
        self._chunked = chunked
        self._padding = padding
        self._divided = divided
        self._verbatim = True
        self._trailer = b""
        self._ended = False
        self._open: Chunk | None = None
        self._owed = 0  # bytes that the open chunk's size line has promised and that have not left
        self._after = b""  # of the CRLF behind it, what has left
        self._gap = 0.0
        self._read: int | None = None
        self._held: list[bytes] = []
        self._head_size = 0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if gap:
            yield from self._release()
            self._gap += gap
        lay = origin if isinstance(origin, Lay) else None
        if isinstance(item, Head):
            yield from self._begin(item, lay)
        elif isinstance(item, Verbatim):
            for run in item.runs:
                yield from self._run(run)
        elif isinstance(item, Control):
            yield from self._control(item, lay)
        elif isinstance(item, Trailers):
            fields = (f"{name}: {value}\r\n" for name, value in item.fields)
            self._trailer = "".join(fields).encode("latin-1", "replace")
        else:
            yield from self._item(item, lay.runs if lay is not None else (), lay.item if lay is not None else None)

    # ------------------------------------------------------------------------------------------ content

    def _item(self, item: Any, runs: tuple[Run, ...], came: Any) -> Iterator[Timed[Any]]:
        """A piece of content, of these runs; came: what it was."""
        if runs and item == came:
            for run in runs:
                yield from self._run(run)
            return
        for run in runs:
            if run.chunk is not None:
                run.chunk.given = True
        if isinstance(item, bytes):
            if not runs:
                yield from self._release()  # what is added is a write of its own
            yield from self._content(item, runs[-1].read if runs else None)
            return
        yield from self._release()
        if isinstance(item, Raw):
            yield from self._closed()
            yield from self._put(None, item.data)
        else:
            yield from self._content(item.data, None)
        yield from self._release(item.apart if isinstance(item, Write) else 0.0)

    def _run(self, run: Run) -> Iterator[Timed[Any]]:
        """What nobody has changed."""
        chunk = run.chunk
        if chunk is None:
            yield from self._closed()
            yield from self._put(run.read, run.data)
            return
        ready = self._verbatim and chunk.size is not None and not chunk.given and not run.offset and not self._owed
        chunk.given = True
        if ready:
            yield from self._closed()
            self._open, self._owed, self._after = chunk, chunk.size or 0, b""
            for read, data in chunk.prefix:
                yield from self._put(read, data)
        yield from self._content(run.data, run.read)

    def _content(self, data: bytes, read: int | None) -> Iterator[Timed[Any]]:
        """Content: into the chunk that is open, and what it has no room for into one of its own."""
        if self._owed:
            fits, data = data[: self._owed], data[self._owed :]
            self._owed -= len(fits)
            yield from self._put(read, fits)
            if not self._owed:
                yield from self._mark()
        if data:
            yield from self._closed()
            yield from self._put(read, b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _mark(self) -> Iterator[Timed[Any]]:
        """What has come of the CRLF behind the open chunk."""
        assert self._open is not None, "asked before"
        marks, self._open.suffix = self._open.suffix, []
        for read, data in marks:
            self._after += data
            yield from self._put(read, data)
        if not b"\r".startswith(self._after):
            self._open = None

    def _closed(self) -> Iterator[Timed[Any]]:
        """Close the chunk that is open and full, for something else follows."""
        if self._open is not None and not self._owed:
            yield from self._mark()
            if self._open is not None:
                yield from self._put(None, b"\r\n"[len(self._after) :])
                self._open = None

    # ------------------------------------------------------------------------------------------ head and ending

    def _begin(self, head: Head, lay: Lay | None) -> Iterator[Timed[Any]]:
        assert lay is not None, "heads come from the upstream"
        headers = head.headers
        if head == lay.item:
            # Faults of writes count from the end of the head, so for these it is one item.
            runs = [(run.read, run.data) for run in lay.runs]
            for read, data in [(runs[-1][0], b"".join(data for _, data in runs))] if self._divided else runs:
                self._head_size += len(data)
                yield from self._put(read, data)
            return
        unsized = lay.item.header("content-length") is not None and head.header("content-length") is None
        assert self._lifted.lifter.head is not None, "it has come"
        if unsized and self._lifted.lifter.head.version == "1.0":
            head = replace(head, last=True)
        elif unsized and not head.last:  # its end must be told in another way
            self._verbatim, self._chunked = False, True
            headers = (*headers, ("Transfer-Encoding", "chunked"))
        if head.last:
            self._verbatim = self._chunked = False
            self._dropped()
            hidden = ("transfer-encoding", "connection", "keep-alive")
            headers = (*((key, value) for key, value in headers if key.lower() not in hidden), ("Connection", "close"))
        data = Head(head.status, headers, head.reason).encode()
        data = self._lifted.interim + b"HTTP/" + self._lifted.lifter.head.version.encode() + data[8:]
        self._head_size = len(data)
        yield from self._put(lay.runs[-1].read, data)

    def _control(self, control: Control, lay: Lay | None) -> Iterator[Timed[Any]]:
        self._ended = isinstance(control, Ending)
        own = lay is not None and lay.item is control
        if isinstance(control, End) and self._owed:
            yield from self._content((self._padding * self._owed)[: self._owed], None)
        yield from self._closed() if isinstance(control, End) else self.settle()
        if own and self._verbatim and not self._trailer and not self._owed:
            assert lay is not None, "asked before"
            for run in lay.runs:
                yield from self._put(run.read, run.data)
        elif isinstance(control, End):
            yield from self._last_chunk(own=own)
        yield from self._release()
        gap, self._gap = self._gap, 0.0
        yield gap, control, NOWHERE

    def _last_chunk(self, *, own: bool) -> Iterator[Timed[Any]]:
        if self._chunked:
            yield from self._put(None, b"0\r\n%b\r\n" % self._trailer)
        elif not own:
            self._dropped()  # it may lack bytes that the head has promised

    # ------------------------------------------------------------------------------------------ writes

    def _put(self, read: int | None, data: bytes) -> Iterator[Timed[Any]]:
        if self._held and read != self._read:
            yield from self._release()
        if data:
            self._held.append(data)
            self._read = read

    def _release(self, apart: float = 0.0) -> Iterator[Timed[Any]]:
        if not self._held:
            return
        data, size = b"".join(self._held), self._head_size
        self._held.clear()
        self._head_size = max(0, size - len(data))
        gap, self._gap = self._gap, 0.0
        if self._divided and size:
            # Faults count what comes after the head. Two that are due together and may be joined leave as one.
            yield gap, data[:size], NOWHERE
            if size < len(data):
                yield 0.0, data[size:], NOWHERE
        else:
            yield gap, Write(data, apart), NOWHERE

    def settle(self) -> Iterator[Timed[Any]]:
        """Everything that has come has passed: it leaves."""
        if self._open is not None and not self._owed:
            yield from self._mark()
        yield from self._release()

    def flush(self) -> Iterator[Timed[Any]]:
        if not self._ended:
            yield from self._control(End(), None)

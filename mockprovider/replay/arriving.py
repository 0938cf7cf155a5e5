"""A response taken apart while it comes, as far as faults need it: the counterpart of `taken` where no end is known.

Nothing waits but for the rest of what a fault has to see whole: an HTTP chunk, an event, a line, a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mockprovider.recording.lifting import Lifted as Spans
from mockprovider.recording.lifting import Lifter
from mockprovider.replay.taken import Place, bears_text, document_in
from mockprovider.timeline import Control, Ending
from mockprovider.wire import Head

__all__ = ["Blocks", "Chunk", "Lay", "Lifted", "Run", "Verbatim"]

Bytes = tuple[int, bytes]
"""Bytes of one read, and its number."""


class Chunk:
    """An HTTP chunk of the upstream's. prefix: its size line; size: what that says, None where the content of a read is
    not chunked; suffix: what has come of the CRLF behind it; given: whether any of it has left."""

    __slots__ = ("come", "given", "prefix", "size", "suffix")

    def __init__(self, prefix: list[Bytes], size: int | None) -> None:
        self.prefix = prefix
        self.size = size
        self.suffix: list[Bytes] = []
        self.come = 0
        self.given = False


class Run(NamedTuple):
    """Content as it lay: its chunk (None: it is no content), its read, how far behind the chunk's beginning."""

    chunk: Chunk | None
    read: int
    offset: int
    data: bytes


class Lay(Place):
    """An origin, `(0, token)`, that remembers the item as it came, and how it lay."""

    runs: tuple[Run, ...]

    @classmethod
    def at(cls, item: Any, runs: tuple[Run, ...] = (), token: int = -1) -> Lay:
        """The origin of an item."""
        made = cls((0, token))
        made.item, made.runs, made.parts, made.fragments = item, runs, (), ()
        return made


class Verbatim(Control):
    """Bytes that are no content and that no fault is for: empty lines between events, or what is no HTTP."""

    __slots__ = ("runs",)

    def __init__(self, runs: tuple[Run, ...]) -> None:
        self.runs = runs


# ------------------------------------------------------------------------------------------------ reads to content


class Lifted:
    """The items of the message's level, as reads come.

    whole: items of content are whole chunks, not what a read has; entire: what is not chunked is then one item at the
    end. interim: the responses before the final head, RFC 9110 section 15.2.
    """

    def __init__(self, *, bodyless: bool) -> None:
        self.whole = self.entire = False
        self.lifter = Lifter(bodyless=bodyless)
        self.interim = b""
        self._reads = 0
        self._head: list[Run] = []
        self._framing: list[Bytes] = []
        self._rest: list[Bytes] = []
        self._chunk: Chunk | None = None
        self._held: list[Run] = []
        self._wire = b""
        self._lifted = Spans()

    def head_of(self, wire: bytes) -> tuple[Head, Lay] | None:
        """Take a read; the head, if it is there now. To be called until it is; then `content` for the same read."""
        self._lifted = self.lifter.feed(wire)
        self._wire = wire
        size = sum(span.end - span.begin for span in self._lifted.spans if span.kind == "head")
        if size:
            self._head.append(Run(None, self._reads, 0, wire[:size]))
        found = self.lifter.head
        heads = self._lifted.heads
        self.interim += b"".join(head.encode() for head in heads if head is not found)
        if found is None:
            self._reads += 1
            return None
        head = Head(found.status, found.headers, found.reason)
        return head, Lay.at(head, tuple(self._head))

    def feed(self, wire: bytes) -> list[tuple[Any, Lay]]:
        """The items of a read behind the head."""
        self._wire, self._lifted = wire, self.lifter.feed(wire)
        return self.content()

    def content(self) -> list[tuple[Any, Lay]]:
        """The items of the read at hand."""
        items: list[tuple[Any, Lay]] = []
        for span in self._lifted.spans:
            data = self._wire[span.begin : span.end]
            if span.kind == "size":
                self._framing.append((self._reads, data))
            elif span.kind == "content":
                self._content(data, items)
            elif span.kind == "mark" and self._chunk is not None:
                self._chunk.suffix.append((self._reads, data))
            elif span.kind != "head":
                self._rest += [*self._framing, (self._reads, data)]
                self._framing.clear()
        if self.lifter.error is not None and not self.lifter.complete:
            items += self._let_go()
            self._rest += self._framing
            self._framing.clear()
            if self._rest:
                items.append((Verbatim(_apart(self._rest)), Lay.at(None)))
                self._rest.clear()
        self._reads += 1
        return items

    def _content(self, data: bytes, items: list[tuple[Any, Lay]]) -> None:
        chunk = self._chunk
        if self._framing:
            line = b"".join(part for _, part in self._framing)
            chunk = self._chunk = Chunk(self._framing, int(line.partition(b";")[0], 16))
            self._framing = []
        elif chunk is None or chunk.size is None:
            chunk = self._chunk = Chunk([], None)
        run = Run(chunk, self._reads, chunk.come, data)
        chunk.come += len(data)
        self._held.append(run)
        if not self.whole or (chunk.come == chunk.size if chunk.size is not None else not self.entire):
            items += self._let_go()

    def _let_go(self) -> list[tuple[Any, Lay]]:
        runs, self._held = tuple(self._held), []
        data = b"".join(run.data for run in runs)
        return [(data, Lay.at(data, runs))] if data else []

    def end(self, ending: Ending) -> list[tuple[Any, Lay]]:
        """What is left, and the ending."""
        rest = _apart([*self._rest, *self._framing])
        return [*self._let_go(), (ending, Lay.at(ending, rest))]


def _apart(parts: list[Bytes]) -> tuple[Run, ...]:
    return tuple(Run(None, read, 0, data) for read, data in parts)


# ------------------------------------------------------------------------------------------------ content to blocks

_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLOCK_END = re.compile(_END + rb"(?:" + _END + rb")+")
_EMPTY = re.compile(rb"[\r\n]+")


class Blocks:
    """Cuts content where its events (`events`) or lines (`lines`) end; of one document (`whole`), at its end."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._data = bytearray()
        self._runs: list[Run] = []
        self._seen = 0
        self._tokens = 0

    def feed(self, runs: tuple[Run, ...]) -> Iterator[tuple[Any, Lay]]:
        """The blocks that are complete with these runs."""
        for run in runs:
            self._data += run.data
            self._runs.append(run)
        while self._data:
            end = 0
            if self._form == "events":
                empty = _EMPTY.match(self._data)
                if empty is not None:  # the event before them has left; they are not of the next one
                    yield Verbatim(self._taken(empty.end())[1]), Lay.at(None)
                    continue
                found = _BLOCK_END.search(self._data, max(0, self._seen - 4))
                end = found.end() if found is not None else 0
            elif self._form == "lines":
                end = self._data.find(b"\n", self._seen) + 1
            if not end:
                self._seen = len(self._data)
                return
            yield self._block(end)

    def flush(self) -> Iterator[tuple[Any, Lay]]:
        """What is left at the end."""
        if self._data:
            yield self._block(len(self._data))

    def _block(self, end: int) -> tuple[bytes, Lay]:
        block, runs = self._taken(end)
        token = -1
        if self._form != "whole" and bears_text(document_in(block)):
            token = self._tokens
            self._tokens += 1
        return block, Lay.at(block, runs, token)

    def _taken(self, end: int) -> tuple[bytes, tuple[Run, ...]]:
        block = bytes(self._data[:end])
        del self._data[:end]
        self._seen = 0
        runs: list[Run] = []
        while end:
            run = self._runs.pop(0)
            if len(run.data) > end:
                self._runs.insert(0, run._replace(offset=run.offset + end, data=run.data[end:]))
                run = run._replace(data=run.data[:end])
            runs.append(run)
            end -= len(run.data)
        return block, tuple(runs)

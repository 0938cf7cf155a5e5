"""What the recorder writes of one exchange: redacted, and on disk before anything of it is forwarded."""

from __future__ import annotations

import contextlib
import logging
import re
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from mockprovider.recording import RecordedHead, RecordedRequest, RecordingWriter
from mockprovider.redaction import MARK, Redactor, WireMask
from mockprovider.server.upstream import Arrival

__all__ = ["Shelf", "Tape", "Unpacker", "redacted_name"]

logger = logging.getLogger("mockprovider")

HELD = 1 << 20
"""Bytes of a request's body that are held, so that it can be stored as JSON or text."""

_PIECE = 1 << 18
"""Bytes of unpacked content in one line at most."""

CODINGS = ("gzip", "x-gzip", "deflate")
"""Content codings that can be unpacked, and so be looked through."""


class Unpacker:
    """Unpacks gzip or deflate as it comes. `feed` raises zlib.error for what is neither."""

    def __init__(self, coding: str) -> None:
        self._gzip = coding != "deflate"
        self._made = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces that the data unpacks to."""
        pieces = []
        while data:
            try:
                piece = self._made.decompress(data, _PIECE)
            except zlib.error:
                if self._gzip or self._begun:
                    raise
                self._made = zlib.decompressobj(-zlib.MAX_WBITS)  # deflate without its envelope, as some servers send
                piece = self._made.decompress(data, _PIECE)
            self._begun = True
            if piece:
                pieces.append(piece)
            data = self._made.unconsumed_tail
            if self._made.eof and self._made.unused_data:  # a further member, RFC 1952 section 2.2
                data, self._made = self._made.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 32)
        return pieces


class Shelf:
    """A folder of recordings that new ones are put into, under names that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        numbers = [int(found[1]) for path in folder.glob("*.ndjson") if (found := re.match(r"(\d+)-", path.name))]
        self._next = max(numbers, default=0) + 1

    def create(self, name: str) -> RecordingWriter:
        """A new file, numbered in the order of the requests. OSError."""
        while True:
            path = self.folder / f"{self._next:04d}-{name}.ndjson"
            self._next += 1
            with contextlib.suppress(FileExistsError):  # another recorder's
                return RecordingWriter.create(path)


def redacted_name(target: str) -> str:
    """A part of a file's name for a target in which nothing is secret."""
    words = re.findall(r"[a-z0-9.]+", target.partition("?")[0].lower())
    return "-".join(words)[:60].strip(".-") or "root"


class Failures(Protocol):
    """Who is told of what could not be recorded."""

    def failed(self, path: Path | None, reason: str) -> None:
        """A recording stays incomplete, or none was made."""


class Tape:
    """One exchange on its way to the disk. Where that fails, it is told once, and nothing more is written.

    request: with its headers as they came, and no body yet. redactor: knows the exchange's own keys.
    """

    def __init__(self, request: RecordedRequest, redactor: Redactor, shelf: Shelf, failures: Failures) -> None:
        self.path: Path | None = None
        self.whole = False
        """Whether all of it was written, to the response's own end."""
        self.request: RecordedRequest | None = None
        """The request as it was stored, if it was not too large to be held."""
        self._failures = failures
        self._request = RecordedRequest(
            request.method, redactor.target(request.target), redactor.headers(request.headers)
        )
        self._redactor = redactor
        self._writer: RecordingWriter | None = None
        self._mask = WireMask(redactor)
        self._body = redactor.stream()
        self._packed: Unpacker | None = None
        self._held = bytearray()
        self._begun = False
        self._coding = ""
        self._unpacker: Unpacker | None = None
        self._owed = 0.0
        coding = next((value for name, value in request.headers if name.lower() == "content-encoding"), "")
        if coding.strip().lower() in CODINGS:
            self._packed = Unpacker(coding.strip().lower())
        try:
            self._writer = shelf.create(redacted_name(self._request.target))
            self.path = self._writer.path
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _fail(self, reason: str) -> None:
        self._failures.failed(self.path, reason)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # ------------------------------------------------------------------------------------------ the request

    def sent(self, data: bytes) -> None:
        """More of the request's body was sent."""
        if self._writer is None:
            return
        try:
            pieces = [data] if self._packed is None else self._packed.feed(data)
        except zlib.error:
            pieces = [MARK * len(data)]  # nobody could tell what is in it
        try:
            for piece in pieces:
                if self._begun:
                    self._writer.upload(self._body.feed(piece))
                    continue
                self._held += piece
                if len(self._held) > HELD:
                    self._begin(whole=False)
        except OSError as error:
            self._fail(error.strerror or str(error))

    def sent_all(self) -> None:
        """The request is complete, or as much of it as will be sent."""
        if self._writer is None:
            return
        try:
            if not self._begun:
                self._begin(whole=True)
            self._writer.end_upload()
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _begin(self, *, whole: bool) -> None:
        self._begun = True
        held = bytes(self._held)
        body = self._redactor.body(held) if whole else self._body.feed(held)
        self._held.clear()
        request = RecordedRequest(self._request.method, self._request.target, self._request.headers, body)
        self.request = request if whole else None
        assert self._writer is not None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        (self._writer.begin if whole else self._writer.begin_upload)(request, now)
        self._mask = WireMask(self._redactor, bodyless=request.method == "HEAD")

    # ------------------------------------------------------------------------------------------ the response

    def came(self, gap: float, arrival: Arrival, *, complete: bool) -> None:
        """Write what came, so many seconds after what came before. complete: the message is."""
        if not self._begun:
            self.sent_all()
        if self._writer is None:
            return
        try:
            if arrival.lifted.heads and not self._coding:
                self._find_coding(arrival)
            if self._coding:
                self._unpacked(gap, arrival, complete=complete)
            else:
                self._writer.read(gap, self._mask.feed(arrival.wire, arrival.lifted))
        except _RefusedError as error:
            self._fail(str(error))
        except zlib.error:
            self._fail(f"its content-encoding is {self._coding}, but its content cannot be unpacked")
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _find_coding(self, arrival: Arrival) -> None:
        head = arrival.lifted.heads[-1]
        coding = (head.header("content-encoding") or "identity").lower()
        if coding in ("identity", "") or self._request.method == "HEAD" or head.status in (204, 304):
            return
        if coding not in CODINGS:
            raise _RefusedError(f"its content-encoding is {coding}, so nobody can tell whether secrets are in it")
        if arrival.wire[:5] != b"HTTP/":
            raise _RefusedError(f"its content-encoding is {coding}, and its head came in pieces")
        assert self._writer is not None
        self._writer.decoded = self._coding = coding
        self._unpacker = Unpacker(coding)
        self._mask = WireMask(self._redactor)  # from here on it sees what is stored, not what came

    def _unpacked(self, gap: float, arrival: Arrival, *, complete: bool) -> None:
        """Store the content as chunks, each what one read has unpacked to."""
        assert self._unpacker is not None
        assert self._writer is not None
        wire = b"".join(_plain(head).encode() for head in arrival.lifted.heads)
        gap, self._owed = gap + self._owed, 0.0
        pieces = self._unpacker.feed(arrival.lifted.content)
        for piece in pieces:
            wire += b"%x\r\n%b\r\n" % (len(piece), piece)
            if len(wire) > _PIECE:
                self._writer.read(gap, self._mask.feed(wire))
                wire, gap = b"", 0.0
        if complete:
            wire += b"0\r\n\r\n"
        if wire:
            self._writer.read(gap, self._mask.feed(wire))
        else:
            self._owed = gap

    def end(self, kind: str, gap: float) -> None:
        """Write how it ended."""
        if not self._begun:
            self.sent_all()
        if self._writer is None:
            return
        try:
            if self._coding and kind == "end" and not self._mask.lifter.complete:  # it ended with the connection
                self._writer.read(self._owed, self._mask.feed(b"0\r\n\r\n"))
                self._owed = 0.0
            self._writer.end(kind, gap + self._owed)
            self._writer = None
            self.whole = kind == "end"
        except OSError as error:
            self._fail(error.strerror or str(error))

    def stop(self) -> None:
        """The recorder stops: what is written stays, incomplete."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _RefusedError(Exception):
    """What cannot be recorded without secrets perhaps being in it."""


def _plain(head: RecordedHead) -> RecordedHead:
    """The head of the same message without a content coding; interim heads stay as they are."""
    if head.status < 200 and head.status != 101:
        return head
    gone = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in head.headers if name.lower() not in gone]
    return RecordedHead(head.version, head.status, head.reason, (*headers, ("Transfer-Encoding", "chunked")))

"""From bytes on a connection back to an HTTP/1.1 response: where its heads, its content and its end are.

The inverse of `wire.py`, for bytes of every kind: it never raises, and it loses nothing. What is no HTTP, or no longer,
is garbage, with the reason beside it. The recorder reads an upstream with it while it forwards; the recording file is
read with it too, so both agree on what the content is.

Lenient where clients are (RFC 9112 section 2.2): lines of a head may end in LF alone. Strict where leniency would hide
what a client trips over: chunk sizes and the CRLF around chunks (section 7.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Lifted", "Lifter", "RecordedHead", "Span"]

_LONGEST_HEAD = 1 << 20
_LONGEST_SIZE = 1 << 12
"""Bytes after which a head, and the line with a chunk's size, are taken for garbage."""

_STATUS = re.compile(rb"HTTP/(\d\.\d) (\d{3})(?: (.*))?", re.DOTALL)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)", re.DOTALL)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n]*)?\r\n")


@dataclass(frozen=True, slots=True)
class RecordedHead:
    """A status line and a header section as they came.

    version: such as `1.1`; headers: (name, value) pairs in order and case, each value being what follows `: `.
    """

    version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, case-insensitively, without space around it; or None."""
        wanted = name.lower()
        return next((value.strip() for key, value in self.headers if key.lower() == wanted), None)

    def encode(self) -> bytes:
        """The head in canonical form, up to and including the empty line. UnicodeEncodeError beyond Latin-1."""
        lines = [f"HTTP/{self.version} {self.status} {self.reason}", *(f"{k}: {v}" for k, v in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True, slots=True)
class Span:
    """So much of a read (`begin` and `end` count its bytes) is of one kind.

    kind: `head`, `content`, `size` (the line with a chunk's size), `mark` (the CRLF after a chunk), `trailer` or
    `garbage`.
    """

    kind: str
    begin: int
    end: int


@dataclass(slots=True)
class Lifted:
    """What one read holds. heads: those that end in it; chunks: sizes of the HTTP chunks that lie whole within it, in
    order, 0 being the last chunk; None where the content is not chunked. canonical: whether heads, content and sizes
    give the bytes back exactly."""

    spans: list[Span] = field(default_factory=list)
    heads: list[RecordedHead] = field(default_factory=list)
    content: bytes = b""
    chunks: list[int] | None = None
    canonical: bool = False


class Lifter:
    """Feed it what each read brought. bodyless: the request was HEAD, so heads are all there is.

    head: the final one, once it has come; error: why what follows is garbage, or None; complete: whether the message
    has ended by its own framing.
    """

    def __init__(self, *, bodyless: bool = False) -> None:
        self.head: RecordedHead | None = None
        self.error: str | None = None
        self.complete = False
        self._bodyless = bodyless
        self._line = bytearray()  # the beginning of a line of which the rest is still to come
        self._lines: list[bytes] = []
        self._size = 0
        self._left = 0
        self._chunked = False
        self._whole = False  # whether the chunk at hand began in this read
        self._exact = bytearray()  # what the canonical form of this read is
        self._state: Callable[[bytes, int, Lifted], int] = self._head

    @property
    def until_close(self) -> bool:
        """Whether the end of the connection is the end of the message (RFC 9112 section 6.3, rule 8)."""
        return self._state == self._rest

    @property
    def between_chunks(self) -> bool:
        """Whether nothing of a chunk, a line or a head is pending."""
        return not self._line and not self._lines and self._state not in (self._chunk, self._chunk_end, self._trailers)

    def feed(self, data: bytes) -> Lifted:
        """What these bytes are."""
        lifted = Lifted()
        clean = self.between_chunks
        self._whole = False
        self._exact.clear()
        at = 0
        while at < len(data):
            at = self._state(data, at, lifted)
        parts = [data[span.begin : span.end] for span in lifted.spans if span.kind == "content"]
        lifted.content = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._chunked and lifted.chunks is None and any(span.kind != "head" for span in lifted.spans):
            lifted.chunks = []
        lifted.canonical = clean and self.between_chunks and self.error is None and self._exact == data
        return lifted

    # ------------------------------------------------------------------------------------------ lines

    def _take_line(self, data: bytes, at: int, lifted: Lifted, kind: str) -> tuple[int, bytes | None]:
        """Where the line that goes on at `at` ends in the data, and the whole line; None while it is not over."""
        end = data.find(b"\n", at) + 1
        stop = end or len(data)
        self._line += data[at:stop]
        spans = lifted.spans
        if spans and spans[-1].kind == kind and kind != "size":
            spans[-1] = Span(kind, spans[-1].begin, stop)
        else:
            spans.append(Span(kind, at, stop))
        if not end:
            return stop, None
        line = bytes(self._line)
        self._line.clear()
        return stop, line

    def _fail(self, reason: str) -> None:
        self.error = self.error or reason
        self._line.clear()
        self._lines.clear()
        self._state = self._garbage

    # ------------------------------------------------------------------------------------------ states

    def _head(self, data: bytes, at: int, lifted: Lifted) -> int:
        at, line = self._take_line(data, at, lifted, "head")
        self._size += len(line or b"")
        if self._size + len(self._line) > _LONGEST_HEAD:
            self._fail(f"a head of more than {_LONGEST_HEAD} bytes")
        elif line is not None and line.rstrip(b"\r\n"):
            if not self._lines and _STATUS.fullmatch(line.rstrip(b"\r\n")) is None:
                self._fail(f"no status line: {line[:80]!r}")
            self._lines.append(line)
        elif line is not None and self._lines:
            self._finish_head(lifted)
        return at

    def _finish_head(self, lifted: Lifted) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        status = _STATUS.fullmatch(lines[0].rstrip(b"\r\n"))
        assert status is not None
        headers: list[tuple[str, str]] = []
        for line in lines[1:]:
            text = line.rstrip(b"\r\n")
            match = _FIELD.fullmatch(text)
            if match is not None:
                value = match[2][1:] if match[2][:1] == b" " else match[2]
                headers.append((match[1].decode("latin-1"), value.decode("latin-1")))
            elif text[:1] in (b" ", b"\t") and headers:  # a folded line, RFC 9112 section 5.2
                headers[-1] = (headers[-1][0], f"{headers[-1][1]} {text.strip().decode('latin-1')}")
            else:
                self._fail(f"no header line: {text[:80]!r}")
                return
        reason = (status[3] or b"").decode("latin-1")
        head = RecordedHead(status[1].decode(), int(status[2]), reason, tuple(headers))
        lifted.heads.append(head)
        self._exact += head.encode()
        if 100 <= head.status < 200 and head.status != 101:
            return  # an interim response; the one that counts is still to come
        self.head = head
        self._frame(head)

    def _frame(self, head: RecordedHead) -> None:
        """How long the content is, RFC 9112 section 6.3."""
        codings = ",".join(v for k, v in head.headers if k.lower() == "transfer-encoding").lower()
        lengths = {v.strip() for k, v in head.headers if k.lower() == "content-length"}
        if self._bodyless or head.status in (204, 304):
            self._done()
        elif head.status == 101:
            self._state = self._rest
        elif codings:
            self._chunked = codings.rpartition(",")[2].strip() == "chunked"
            self._state = self._chunk_size if self._chunked else self._rest
        elif not lengths:
            self._state = self._rest
        elif len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,18}", length := lengths.pop(), re.ASCII):
            self._fail("the content-length is no number, or there are several")
        else:
            self._left = int(length)
            self._state = self._sized
            if not self._left:
                self._done()

    def _done(self) -> None:
        self.complete = True
        self._state = self._after

    def _sized(self, data: bytes, at: int, lifted: Lifted) -> int:
        end = min(len(data), at + self._left)
        self._left -= end - at
        lifted.spans.append(Span("content", at, end))
        self._exact += data[at:end]
        if not self._left:
            self._done()
        return end

    def _rest(self, data: bytes, at: int, lifted: Lifted) -> int:
        lifted.spans.append(Span("content", at, len(data)))
        self._exact += data[at:]
        return len(data)

    def _chunk_size(self, data: bytes, at: int, lifted: Lifted) -> int:
        self._whole = not self._line
        at, line = self._take_line(data, at, lifted, "size")
        if line is None:
            if len(self._line) > _LONGEST_SIZE:
                self._fail("a chunk's size is too long")
            return at
        match = _SIZE.fullmatch(line)
        if match is None:
            self._fail(f"no chunk size: {line[:80]!r}")
            return at
        self._size = self._left = int(match[1], 16)
        self._state = self._chunk if self._left else self._trailers
        if not self._left:
            self._lines.clear()
        return at

    def _chunk(self, data: bytes, at: int, lifted: Lifted) -> int:
        end = min(len(data), at + self._left)
        self._left -= end - at
        lifted.spans.append(Span("content", at, end))
        if not self._left:
            self._state = self._chunk_end
        return end

    def _chunk_end(self, data: bytes, at: int, lifted: Lifted) -> int:
        wanted = b"\r\n"[len(self._line) :]
        end = min(len(data), at + len(wanted))
        lifted.spans.append(Span("mark", at, end))
        self._line += data[at:end]
        if not wanted.startswith(data[at:end]):
            self._fail(f"a chunk of {self._size} bytes is not followed by CRLF")
        elif len(self._line) == 2:
            self._line.clear()
            self._state = self._chunk_size
            if self._whole:
                self._note(data, self._size, end, lifted)
        return end

    def _note(self, data: bytes, size: int, end: int, lifted: Lifted) -> None:
        """A chunk that lies whole within this read, and ends at `end` with CRLF."""
        if lifted.chunks is None:
            lifted.chunks = []
        lifted.chunks.append(size)
        self._exact += b"%x\r\n%b\r\n" % (size, data[end - 2 - size : end - 2])

    def _trailers(self, data: bytes, at: int, lifted: Lifted) -> int:
        at, line = self._take_line(data, at, lifted, "trailer")
        self._size += len(line or b"")
        if self._size + len(self._line) > _LONGEST_HEAD:
            self._fail(f"trailers of more than {_LONGEST_HEAD} bytes")
        elif line is not None and not line.rstrip(b"\r\n"):
            if self._whole:
                self._note(data, 0, at, lifted)
            self._size = 0
            self._done()
        return at

    def _after(self, data: bytes, at: int, lifted: Lifted) -> int:
        self._fail("bytes after the end of the message")
        return at

    def _garbage(self, data: bytes, at: int, lifted: Lifted) -> int:
        lifted.spans.append(Span("garbage", at, len(data)))
        return len(data)

"""An independent observer of a connection: a raw socket, and a parser of HTTP/1.1 responses.

Written from RFC 9112 alone; nothing of the package is imported. The parser is strict: what the RFC calls invalid is a
`WireError`, so a test that reads a response has also proved that its framing is legal.

A `Tap` lives on the running loop. Where the server runs on the same loop, a byte is in the tap's socket as soon as it
has been sent. A keen tap looks there at the beginning of every round of the loop, before the timers and sockets of that
round: so what was sent in different rounds comes as separate reads, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

PATIENCE = 10.0
"""Seconds after which an observer gives up; no promise depends on it."""


class WireError(Exception):
    """What came is no legal HTTP/1.1 response."""


# ---------------------------------------------------------------------------------------------- what a client sends


def post(
    body: bytes, *headers: str, path: str = "/v1/chat/completions", version: str = "1.1", length: int | None = -1
) -> bytes:
    """A POST request. length: what it declares, -1: the truth, None: nothing."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: application/json", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return ("\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *headers]) + "\r\n\r\n").encode()


# ------------------------------------------------------------------------------------------------------ the parser

_STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([1-5][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*[^\r\n;]+)?)*)")


@dataclass
class Response:
    """One response as it came. begins, ends: its bytes in what the connection carried (ends: None while incomplete).

    framing: `chunked`, `length`, `close` (until the connection ends) or `none`. chunks: the size of each HTTP chunk,
    the terminating one left out; chunk_ends: where each ends on the connection, its CRLF included.
    """

    begins: int
    version: str = ""
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    framing: str = ""
    body: bytearray = field(default_factory=bytearray)
    head_ends: int = 0
    chunks: list[int] = field(default_factory=list)
    chunk_ends: list[int] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ends: int | None = None

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header; WireError where it comes twice."""
        values = self.all(name)
        if len(values) > 1:
            raise WireError(f"{name} comes {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def pieces(self) -> list[bytes]:
        """The content of each HTTP chunk."""
        made, at = [], 0
        for size in self.chunks:
            made.append(bytes(self.body[at : at + size]))
            at += size
        return made


class Parser:
    """Reads the responses of a connection as their bytes come. methods: of the requests, in order; GET when used up."""

    def __init__(self, *methods: str) -> None:
        self.methods = list(methods)
        self.responses: list[Response] = []
        self._data = bytearray()
        self._at = 0
        self._base = 0
        self._ended = False
        self._steps = self._run()
        next(self._steps)

    def feed(self, data: bytes) -> None:
        """More bytes have come. WireError where they are not legal."""
        if self._ended:
            raise WireError("bytes after the end of the connection")
        self._data += data
        if self._at > 1 << 16:
            del self._data[: self._at]
            self._base += self._at
            self._at = 0
        next(self._steps)

    def eof(self) -> None:
        """The connection has ended. An unfinished response stays unfinished, with `ends` None."""
        self._ended = True
        with contextlib.suppress(StopIteration):
            next(self._steps)

    @property
    def finished(self) -> list[Response]:
        """The responses that are complete, interim ones left out."""
        return [r for r in self.responses if r.ends is not None and r.status >= 200]

    @property
    def idle(self) -> bool:
        """Whether no response has begun that is not complete."""
        return self._at == len(self._data) and all(r.ends is not None for r in self.responses)

    # Each part is a generator that yields while it needs more bytes, and returns early at the connection's end.

    def _run(self) -> Iterator[None]:
        while True:
            while self._at == len(self._data):
                if self._ended:
                    return
                yield
            response = Response(begins=self._base + self._at)
            self.responses.append(response)
            yield from self._response(response)
            if self._ended and response.ends is None:
                return

    def _line(self) -> Iterator[None]:
        """Wait for a line; `_taken` is it, without its CRLF; None at the connection's end."""
        self._taken: bytes | None = None
        searched = 0  # so many bytes from `_at` on hold no LF
        while (end := self._data.find(b"\n", self._at + searched)) < 0:
            if self._ended:
                return
            searched = len(self._data) - self._at
            yield
        if end == self._at or self._data[end - 1] != 13:
            raise WireError(f"a line ends in LF without CR: {bytes(self._data[self._at : end])!r}")
        self._taken = bytes(self._data[self._at : end - 1])
        self._at = end + 1

    def _fields(self, into: list[tuple[str, str]]) -> Iterator[None]:
        while True:
            yield from self._line()
            if not self._taken:
                return
            match = _FIELD.fullmatch(self._taken)
            if match is None:
                raise WireError(f"no header field: {self._taken!r}")
            into.append((match[1].decode("ascii"), match[2].decode("latin-1")))

    def _response(self, response: Response) -> Iterator[None]:
        yield from self._line()
        if self._taken is None:
            return
        match = _STATUS_LINE.fullmatch(self._taken)
        if match is None:
            raise WireError(f"no status line: {self._taken!r}")
        response.version = f"{match[1].decode()}.{match[2].decode()}"
        response.status, response.reason = int(match[3]), match[4].decode("latin-1")
        yield from self._fields(response.headers)
        if self._taken is None:
            return
        response.head_ends = self._base + self._at
        method = "GET"
        if response.status >= 200 and self.methods:
            method = self.methods.pop(0)
        response.framing, length = _framing(response, method)
        if response.framing == "chunked":
            yield from self._chunked(response)
        elif response.framing == "length":
            yield from self._exactly(response, length)
        elif response.framing == "close":
            while not self._ended:
                response.body += self._data[self._at :]
                self._at = len(self._data)
                yield
            response.body += self._data[self._at :]
            self._at = len(self._data)
            response.ends = self._base + self._at
        else:
            response.ends = self._base + self._at

    def _exactly(self, response: Response, length: int) -> Iterator[None]:
        left = length
        while True:
            part = self._data[self._at : self._at + left]
            response.body += part
            self._at += len(part)
            left -= len(part)
            if not left:
                response.ends = self._base + self._at
                return
            if self._ended:
                return
            yield

    def _chunked(self, response: Response) -> Iterator[None]:
        while True:
            yield from self._line()
            if self._taken is None:
                return
            match = _CHUNK.fullmatch(self._taken)
            if match is None:
                raise WireError(f"no chunk size: {self._taken!r}")
            size = int(match[1], 16)
            if not size:
                yield from self._fields(response.trailers)
                if self._taken is not None:
                    response.ends = self._base + self._at
                return
            while len(self._data) - self._at < size + 2:
                if self._ended:
                    return
                yield
            response.body += self._data[self._at : self._at + size]
            self._at += size
            if self._data[self._at : self._at + 2] != b"\r\n":
                raise WireError(f"a chunk of {size} bytes is not followed by CRLF")
            self._at += 2
            response.chunks.append(size)
            response.chunk_ends.append(self._base + self._at)


def _framing(response: Response, method: str) -> tuple[str, int]:
    """How the length of the body is told, RFC 9112 section 6.3, and the length where it is declared."""
    lengths = response.all("content-length")
    codings = [c.strip().lower() for value in response.all("transfer-encoding") for c in value.split(",")]
    if response.status < 200 or response.status == 204:
        if lengths or codings:
            raise WireError(f"a {response.status} response must not declare a length or a transfer coding")
        return "none", 0
    if codings and lengths:
        raise WireError("both Transfer-Encoding and Content-Length")
    if codings and codings != ["chunked"]:
        raise WireError(f"unknown transfer coding {codings}")
    if len(lengths) > 1 or (lengths and re.fullmatch(r"[0-9]+", lengths[0]) is None):
        raise WireError(f"Content-Length {lengths}")
    if method == "HEAD" or response.status == 304:
        return "none", 0
    if codings:
        return "chunked", 0
    if lengths:
        return "length", int(lengths[0])
    return "close", 0


def parse(data: bytes, *methods: str) -> list[Response]:
    """All responses that are complete in a whole connection's bytes. WireError where anything is left over."""
    parser = Parser(*methods)
    parser.feed(data)
    parser.eof()
    if not parser.idle:
        raise WireError(f"incomplete response: {parser.responses[-1]}")
    return parser.finished


# ------------------------------------------------------------------------------------------------------- the tap


@dataclass(frozen=True)
class Read:
    """One `recv`: when it returned (monotonic seconds), and what."""

    time: float
    data: bytes


class Tap:
    """A client's end of a connection that writes down every `recv`. Use `tapping` to open one.

    ending: `open`, `eof` (the peer sent FIN), or `reset` (ECONNRESET); ended: when that was seen.
    """

    def __init__(self, sock: socket.socket, *methods: str) -> None:
        self.sock = sock
        self.reads: list[Read] = []
        self.ending = "open"
        self.ended = 0.0
        self.parser = Parser(*methods)
        self.strict = True
        self.size = 65_536
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._wrong: WireError | None = None
        self._reading = False

    # ---------------------------------------------------------------------------------------------- reading

    def resume(self) -> None:
        """Read whatever comes, as soon as it comes."""
        if not self._reading and self.ending == "open":
            self._reading = True
            self._loop.add_reader(self.sock, self._ready)

    def pause(self) -> None:
        """Read no more: what comes fills the kernel's buffer and then stops the sender."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.sock)

    def keen(self) -> None:
        """From now on look in every round of the loop, which therefore never sleeps."""
        if self.ending == "open" and self.sock.fileno() >= 0:
            if self._reading:
                self._ready()
            self._loop.call_soon(self.keen)

    def _ready(self) -> None:
        try:
            data = self.sock.recv(self.size)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            self._end("reset")
            return
        if not data:
            self._end("eof")
            return
        self.reads.append(Read(time.monotonic(), data))
        self._parsing(lambda: self.parser.feed(data))

    def _end(self, how: str) -> None:
        self.pause()
        self.ending = how
        self.ended = time.monotonic()
        self._parsing(self.parser.eof)

    def _parsing(self, step: Callable[[], None]) -> None:
        if self.strict and self._wrong is None:
            try:
                step()
            except WireError as error:
                self._wrong = error
        self._news.set()

    @property
    def data(self) -> bytes:
        """Everything that came."""
        return b"".join(read.data for read in self.reads)

    @property
    def sizes(self) -> list[int]:
        """The size of each read."""
        return [len(read.data) for read in self.reads]

    async def until(self, condition: Callable[[], object], timeout: float = PATIENCE) -> None:
        """Wait until something that came makes the condition true. AssertionError, with all that came, if it does not.

        Raises WireError as soon as anything came that is not legal.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if self._wrong is not None:
                        raise self._wrong
                    if condition():
                        return
                    if self.ending != "open":
                        raise TimeoutError  # nothing more will come
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            came = "\n".join(f"  {read.time:.4f} {read.data!r}" for read in self.reads[-20:])
            raise AssertionError(f"it did not come, in {timeout} s at most; {self.ending}; came:\n{came}") from None

    async def response(self, index: int = -1, timeout: float = PATIENCE) -> Response:
        """The response of that number, from 0, when it is complete; -1: one more than were complete."""
        wanted = len(self.parser.finished) if index < 0 else index
        await self.until(lambda: len(self.parser.finished) > wanted or self.ending != "open", timeout)
        if len(self.parser.finished) <= wanted:
            raise AssertionError(f"the connection ended ({self.ending}) before the response did: {self.data!r}")
        return self.parser.finished[wanted]

    async def end(self, timeout: float = PATIENCE) -> str:
        """How the connection ended, when it has."""
        await self.until(lambda: self.ending != "open", timeout)
        return self.ending

    # ---------------------------------------------------------------------------------------------- writing

    async def send(self, data: bytes) -> None:
        """Send it all."""
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self.sock, data)

    async def ask(self, request: bytes) -> Response:
        """Send a request and read its response; the connection stays open."""
        await self.send(request)
        return await self.response()

    def half_close(self) -> None:
        """FIN, but go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave."""
        self.pause()
        self.sock.close()

    def reset(self) -> None:
        """Leave by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


@contextlib.asynccontextmanager
async def tapping(
    url_or_port: str | int,
    *methods: str,
    receive_buffer: int | None = None,
    reading: bool = True,
    keen: bool = False,
) -> AsyncIterator[Tap]:
    """A tap on a new connection to `http://HOST:PORT…`, or to a port of 127.0.0.1; closed in the end.

    methods: of the requests that will be sent, in order, as far as they matter (HEAD). receive_buffer: bytes of
    SO_RCVBUF, which the kernel doubles. reading: False leaves what comes in the kernel until `resume`. keen: look for
    bytes in every round of the loop.
    """
    host, port = "127.0.0.1", url_or_port
    if isinstance(port, str):
        authority = port.split("://", 1)[1].split("/", 1)[0]
        host, _, number = authority.rpartition(":")
        host, port = host.strip("[]"), int(number)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        tap = Tap(sock, *methods)
        if reading:
            tap.resume()
        if keen:
            tap.keen()
        try:
            yield tap
        finally:
            tap.close()
    finally:
        sock.close()


# ------------------------------------------------------------------------------------------- the kernel's own record


@dataclass(frozen=True)
class Call:
    """One system call that sent to a TCP connection: the port at its other end, the data, what the call returned."""

    peer: int
    data: bytes
    returned: int


_CALL = re.compile(rb"(?:\d+ +)?(?:sendto|sendmsg|write|writev)\(\d+<TCP[^>]*->[^>]*:(\d+)\]>, (.*)\) += (-?\d+)")
_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')

STRACE = ("-f", "-yy", "-xx", "-s", "1000000", "-e", "trace=sendto,sendmsg,write,writev", "-e", "signal=none")
"""Options of strace that make it write what `calls` reads."""


def calls(trace: bytes) -> list[Call]:
    """The sending calls in what strace wrote, in order."""
    return [
        Call(
            int(match[1]),
            b"".join(bytes.fromhex(part.replace(b"\\x", b"").decode("ascii")) for part in _STRING.findall(match[2])),
            int(match[3]),
        )
        for match in map(_CALL.match, trace.splitlines())
        if match is not None
    ]

"""The other side of the recorder: a connection to a real provider, read as it comes and parsed beside it.

Each `recv` is one `Arrival`, with the time at which it came and the bytes as they came. Nothing waits for a head, a
chunk or an event to be complete, and nothing is merged: that is what a recording keeps.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from mockprovider.errors import SettingError, UnavailableError
from mockprovider.recording.lifting import Lifted, Lifter

__all__ = ["Arrival", "Live", "Upstream", "UpstreamConnection"]

_HIGH = 1 << 20
"""Bytes that wait to be forwarded before reading pauses."""

_CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one read brought. gap: seconds since the read before, or since the request was complete; wire: as on the
    connection; lifted: what it is."""

    gap: float
    wire: bytes
    lifted: Lifted


class UpstreamConnection(asyncio.Protocol):
    """One connection. ended: how it ended (`close`, `reset`, `timeout`), or None while it is open."""

    def __init__(self) -> None:
        self.ended: str | None = None
        self.ended_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._came: deque[tuple[float, bytes]] = deque()
        self._waiting = 0
        self._news: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self.on_end: Callable[[], None] | None = None
        """Called when the connection has ended, whoever reads it."""

    # ------------------------------------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came.append((self._loop.time(), data))
        self._waiting += len(data)
        if self._waiting > _HIGH and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._end("close")

    def connection_lost(self, error: Exception | None) -> None:
        if error is None:
            self._end("close")
        elif isinstance(error, OSError) and error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH):
            self._end("timeout")
        else:
            self._end("reset")
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended, self.ended_at = how, self._loop.time()
            self._wake()
            if self.on_end is not None:
                self.on_end()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # ------------------------------------------------------------------------------------------ ours

    @property
    def untouched(self) -> bool:
        """Whether it is open and has brought nothing that was not read: it can carry another request."""
        return self.ended is None and not self._came

    async def read(self, seconds: float | None = None) -> tuple[float, bytes] | None:
        """What came next, and when; None at the end, of which `ended` tells. TimeoutError after so much silence."""
        while not self._came:
            if self.ended is not None:
                return None
            self._news = self._loop.create_future()
            async with asyncio.timeout(seconds):
                await self._news
        time, data = self._came.popleft()
        self._waiting -= len(data)
        if self._paused and self._waiting < _HIGH // 2 and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return time, data

    async def write(self, data: bytes) -> None:
        """Send, as fast as it goes; nothing where the connection has ended, for its end is still to be read."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._writable is not None:
            await self._writable

    def abort(self) -> None:
        """End it at once, without sending what is left."""
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where requests go. prefix: a path that is put before theirs."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """From a URL such as `https://api.example.com`. SettingError for what cannot be."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise SettingError(f"--upstream {url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError(f"--upstream {url}: expected a URL such as https://api.example.com")
        if parts.query or parts.fragment or parts.username is not None:
            raise SettingError("--upstream: a query, a fragment or a password do not belong there")
        return cls(
            parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")
        )

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"

    async def connect(self) -> UpstreamConnection:
        """A new connection; certificates are verified. UnavailableError where there is none to be had."""
        loop = asyncio.get_running_loop()
        context = None
        if self.scheme == "https":
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await loop.create_connection(UpstreamConnection, self.host, self.port, ssl=context)
        except TimeoutError as error:
            raise UnavailableError(f"no answer in {_CONNECT_SECONDS:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise UnavailableError(f"its certificate is not trusted: {error.verify_message}") from error
        except OSError as error:
            raise UnavailableError(str(error.strerror or error)) from error
        return connection


class Live:
    """The response to one request while it comes. Iterate over `arrivals`; afterwards `ending` tells how it ended.

    A source by itself, apart from who writes: stages may stand between the two. bodyless: the request was HEAD;
    silence: seconds without a byte after which it is given up, or None.
    """

    def __init__(self, connection: UpstreamConnection, *, bodyless: bool, silence: float | None = None) -> None:
        self.lifter = Lifter(bodyless=bodyless)
        self.ending: str | None = None
        """One of `recording.ENDINGS`, once it has ended."""
        self.ending_gap = 0.0
        self._connection = connection
        self._last: float | None = None  # when the request was complete, or the last read came
        self._silence = silence

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """Each read, as it comes, until the message is complete or the connection has ended."""
        while not self.lifter.complete:
            try:
                came = await self._connection.read(self._silence)
            except TimeoutError:
                self._end("timeout", asyncio.get_running_loop().time())
                return
            if came is None:
                whole = self._connection.ended == "close" and self.lifter.until_close
                self._end("end" if whole else self._connection.ended or "close", self._connection.ended_at)
                return
            time, wire = came
            gap, self._last = self.since(time), time
            yield Arrival(gap, wire, self.lifter.feed(wire))
        self._end("end", self._last or 0.0)

    def _end(self, how: str, time: float) -> None:
        self.ending, self.ending_gap = how, self.since(time)

    def asked(self, time: float) -> None:
        """The request is complete; it may be answered before."""
        if self._last is None:
            self._last = time

    def since(self, time: float) -> float:
        """Seconds since the last read came, or the request was complete."""
        return max(time - self._last, 0.0) if self._last is not None else 0.0

    @property
    def reusable(self) -> bool:
        """Whether the upstream's connection can carry another request."""
        head = self.lifter.head
        if self.ending != "end" or head is None or self.lifter.error is not None or not self._connection.untouched:
            return False
        if self.lifter.until_close or head.status == 101:
            return False
        options = ",".join(value for name, value in head.headers if name.lower() == "connection").lower()
        return "close" not in options and (head.version != "1.0" or "keep-alive" in options)

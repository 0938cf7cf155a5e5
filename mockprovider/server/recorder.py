"""The recorder: a reverse proxy that streams through, holds nothing back, and writes down what came, and when.

For each read of the upstream: its line is on the disk, then its bytes go to the client, as they came, or as faults make
of them (see `overlay`). How the upstream ends is how the client's connection ends, and a client that leaves is a client
that leaves the upstream. A client's connection has one to the upstream for as long as both last, so that idle
connections end as they do without us.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import socket
import struct
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from mockprovider.errors import SettingError, UnavailableError
from mockprovider.recording import RecordedRequest, load_folder
from mockprovider.redaction import Redactor, Rules
from mockprovider.server.flow import NoTape, Taping
from mockprovider.server.overlay import Overlay
from mockprovider.server.performing import Written
from mockprovider.server.protocol import Protocol, Server
from mockprovider.server.runner import LoopServer
from mockprovider.server.tape import CODINGS, Shelf, Tape
from mockprovider.server.upstream import Live, Upstream, UpstreamConnection
from mockprovider.settings import Settings

__all__ = ["MODES", "Recorder", "RecorderSettings", "with_key"]

logger = logging.getLogger("mockprovider")

MODES = ("new", "all", "rewrite")
"""What happens to recordings that are there: nothing; one of the same request goes when its new one is complete; all go
when the first new one is complete."""

_HOP = frozenset(
    ("accept-encoding", "connection", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te",
     "transfer-encoding", "upgrade")
)  # fmt: skip
"""Request headers that belong to one connection (RFC 9110 section 7.6.1), or that we say ourselves."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes in the send queue that have not been sent


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """upstream: its URL; folder: where recordings go, made if need be (None: nothing is recorded); key: put in place of
    the client's own, or None; keep_encoding: let the upstream pack its content; silence: seconds without a byte after
    which it is given up; faults: a chain that every answer meets on its way to the client; seed: makes what these draw
    reproducible. SettingError for what cannot be."""

    upstream: Upstream
    folder: Path | None
    host: str = "127.0.0.1"
    port: int = 0
    mode: str = "new"
    key: str | None = None
    keep_encoding: bool = False
    silence: float | None = None
    rules: Rules = field(default_factory=Rules)
    faults: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"mode: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if self.silence is not None and not self.silence > 0:
            raise SettingError(f"idle timeout: expected seconds > 0, got {self.silence!r}")
        if self.host not in ("127.0.0.1", "::1", "localhost"):
            raise SettingError(f"host {self.host!r}: a recorder spends your key; it listens on the loopback alone")


class _Client(Protocol):
    """A client's connection, and the one to the upstream that goes with it."""

    upstream: UpstreamConnection | None = None
    busy = False

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.upstream is not None and not self.busy:
            self.upstream.abort()

    def upstream_ended(self, connection: UpstreamConnection) -> None:
        """The upstream has ended a connection. While it waits for a request, so do we."""
        if self.upstream is connection and not self.busy and self.transport is not None:
            self.transport.close()


class _Clients(Server):
    def __init__(self, handler: Any) -> None:
        # Bodies go through as they are, packed or not.
        super().__init__(handler, auto_decompress=False)

    def __call__(self) -> RequestHandler:
        return _Client(self, loop=self._loop, **self._kwargs)


class Recorder:
    """Proxies and records, on the running loop. `start` it, then `stop` it. failures: recordings that are not whole."""

    def __init__(self, settings: RecorderSettings) -> None:
        self.settings = settings
        self.failures = 0
        self._redactor = Redactor(settings.rules, [settings.key] if settings.key is not None else [])
        self._gate = Settings(host=settings.host, port=settings.port)
        self._address = LoopServer(self._gate)  # never started: it knows how to bind, and to say why that failed
        self._web: _Clients | None = None
        self._listening: list[asyncio.Server] = []
        self.stopping = False
        self._active = 0
        self._overlay = Overlay(self, settings.faults, settings.seed)
        self._shelf: Shelf | None = None
        self._old: list[tuple[tuple[str, str, bytes], Path | None]] = []
        if settings.folder is None:
            return
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"--into {settings.folder}: {error.strerror}") from error
        self._shelf = Shelf(settings.folder)
        # A damaged file is an error here, for it could not be told whether it is to go.
        old = load_folder(settings.folder) if settings.mode != "new" else []
        self._old = [(self._key(recording.request), recording.path) for recording in old]

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        return self._address.url

    async def start(self) -> None:
        """Listen. UnavailableError where the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._web = _Clients(self.handle)
        bound: list[socket.socket] = []
        try:
            bound = self._address.reserve()
            for made in bound:
                self._listening.append(await loop.create_server(self._web, sock=made, backlog=2048))
        except OSError as error:
            for made in bound:
                made.close()
            raise self._address.unavailable(error) from error

    async def stop(self) -> None:
        """Stop accepting, and end every connection; what was being recorded stays, incomplete."""
        self.stopping = True
        for server in self._listening:
            server.close()
        self._listening.clear()
        if self._web is not None:
            for connection in self._web.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            for _ in range(4):
                await asyncio.sleep(0)  # the turns that the handlers need to notice
            await self._web.shutdown(0.05)
            self._web = None
        self._overlay.close()

    def failed(self, path: Path | None, reason: str) -> None:
        """A recording stays incomplete, or none was made; the client has its reply all the same."""
        self.failures += 1
        what = f"{path} is incomplete" if path is not None else f"nothing is recorded in {self.settings.folder}"
        logger.error("%s: %s", what, reason)

    # ------------------------------------------------------------------------------------------ an exchange

    def quiet(self, seconds: float) -> bool:
        """Whether no exchange is under way; when the next comes, nobody knows."""
        return not self._active

    def connections(self) -> tuple[int, int]:
        """How many connections there are, and how many are over."""
        return (0, 0) if self._web is None else self._web.counts

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Forward a request, and its response."""
        self._active += 1
        try:
            return await self._answer(request)
        finally:
            self._active -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if self._overlay.wanted(request):
            return await self._overlay.exchange(request)
        client = cast(_Client, request.protocol)
        try:
            connection = await self._connection(client)
        except UnavailableError as error:
            return _error(502, "upstream_unreachable", self.unreachable(error))
        client.busy = True
        keep = False
        try:
            keep = await self._exchange(request, client, connection)
        finally:
            client.busy = False
            if not keep:
                connection.abort()
                client.upstream = None
        return Written(keep=keep)

    async def _connection(self, client: _Client) -> UpstreamConnection:
        connection = client.upstream
        if connection is None or not connection.untouched:
            connection = client.upstream = await self.settings.upstream.connect()
            connection.on_end = partial(client.upstream_ended, connection)
        return connection

    async def _exchange(self, request: web.BaseRequest, client: _Client, connection: UpstreamConnection) -> bool:
        """Returns whether both connections can carry another one."""
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        asked = RecordedRequest(request.method, request.raw_path, tuple(pairs))
        tape = self.tape(asked)
        live = Live(connection, bodyless=request.method == "HEAD", silence=self.settings.silence)
        outgoing = _Outgoing(request)
        upload = asyncio.create_task(self._upload(request, connection, pairs, tape, live))
        try:
            # Between the two, stages can change what comes: the tape has what came, the client what they make of it.
            async for arrival in live.arrivals():
                tape.came(arrival.gap, arrival, complete=live.lifter.complete)
                await outgoing.write(arrival.wire)
            tape.end(live.ending or "close", live.ending_gap)
        except (asyncio.CancelledError, ConnectionError) as left:
            if self.stopping:
                tape.stop()
            else:
                tape.end("client-left", live.since(asyncio.get_running_loop().time()))
            if isinstance(left, asyncio.CancelledError):
                raise
            return False
        finally:
            sent = upload.done()
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await upload
        if tape.whole:
            self.replace(tape)
        if live.ending in ("reset", "timeout"):
            await outgoing.reset()
        return sent and live.reusable and request.keep_alive

    async def _upload(
        self,
        request: web.BaseRequest,
        connection: UpstreamConnection,
        pairs: list[tuple[str, str]],
        tape: Tape | NoTape,
        live: Live,
    ) -> None:
        """Send the request on, its body as it comes."""
        chunked = request.headers.get("Transfer-Encoding", "").lower().endswith("chunked")
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            await connection.write(self.head_for(request, pairs, request.raw_path, chunked=chunked))
            async for data in request.content.iter_any():
                if data:
                    tape.sent(data)
                    await connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            if chunked:
                await connection.write(b"0\r\n\r\n")
        except (ConnectionError, web.RequestPayloadError):
            connection.abort()  # the client has left, or sent no legal body: it will not be complete
            return
        live.asked(asyncio.get_running_loop().time())
        tape.sent_all()

    def tape(self, asked: RecordedRequest) -> Tape | NoTape:
        """Where an exchange is written down. asked: with its headers as they came."""
        if self._shelf is None:
            return NoTape()
        return Tape(asked, self._redactor.knowing(list(asked.headers), asked.target), self._shelf, self)

    def head_for(self, request: web.BaseRequest, pairs: list[tuple[str, str]], target: str, *, chunked: bool) -> bytes:
        """The request line and the headers for the upstream."""
        upstream, version = self.settings.upstream, request.version
        options = [
            word.strip().lower() for name, value in pairs if name.lower() == "connection" for word in value.split(",")
        ]
        kept = [(name, value) for name, value in pairs if name.lower() not in _HOP and name.lower() not in options]
        if self.settings.key is not None:
            kept, target = with_key(kept, target, self.settings.key)
        lines = [f"{request.method} {upstream.prefix}{target} HTTP/{version.major}.{version.minor}"]
        lines += [f"Host: {upstream.authority}", *(f"{name}: {value}" for name, value in kept)]
        accepted = ", ".join(value for name, value in pairs if name.lower() == "accept-encoding")
        lines.append(f"Accept-Encoding: {_packed_as(accepted) if self.settings.keep_encoding else 'identity'}")
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [f"Connection: {word}" for word in options if word in ("close", "keep-alive")]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    # ------------------------------------------------------------------------------------------ what is refused

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        """An answer to what is not to be forwarded, or None. A page of another site must not spend the user's key."""
        if not self._gate.host_allowed(request.headers.get("Host")):
            return _error(421, "misdirected", f"this recorder is not {request.headers.get('Host')!r}; use {self.url}")
        origin = request.headers.get("Origin")
        if (
            self.settings.key is not None
            and origin is not None
            and not self._gate.host_allowed(urlsplit(origin).netloc)
        ):
            return _error(403, "foreign_origin", f"a page of {origin} may not spend the key of this recorder")
        if not request.raw_path.startswith("/"):
            return _error(400, "bad_target", "expected a path: set the recorder as base URL, not as HTTP proxy")
        return None

    def unreachable(self, error: UnavailableError) -> str:
        """What is said where the upstream cannot be reached."""
        command, upstream = "proxy" if self.settings.folder is None else "record", self.settings.upstream
        text = f"mockprovider {command} cannot reach {upstream}: {error}. Check --upstream and the network."
        logger.warning("%s Nothing was recorded." if command == "record" else "%s", text)
        return text

    # ------------------------------------------------------------------------------------------ what was there before

    def replace(self, tape: Taping) -> None:
        """Remove what the mode says is replaced by a recording that is complete."""
        if self.settings.mode == "rewrite":
            gone, self._old = self._old, []
        elif self.settings.mode == "all" and isinstance(tape, Tape) and tape.request is not None:
            key = self._key(tape.request)
            gone = [old for old in self._old if old[0] == key]
            self._old = [*(old for old in self._old if old[0] != key), (key, tape.path)]
        else:
            return
        for _, path in gone:
            if path is not None:
                path.unlink(missing_ok=True)

    def _key(self, request: RecordedRequest) -> tuple[str, str, bytes]:
        """By what two requests are the same."""
        stored = self._redactor.request(request)
        try:
            body = json.dumps(stored.json, sort_keys=True).encode()
        except ValueError:
            body = stored.body
        return stored.method, stored.target, body


class _Outgoing:
    """The client's side: what is written is one `send` as long as the client keeps up."""

    def __init__(self, request: web.BaseRequest) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client has left")
        self._transport = request.transport
        self._connection = request.protocol
        self._drain = request.writer.drain
        self._transport.set_write_buffer_limits(0)

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client does not read. ConnectionError where it has left."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has left")
        self._transport.write(data)
        if self._connection.writing_paused:
            await self._drain()

    async def reset(self) -> None:
        """RST, after all that was written has left this host: it would discard the rest."""
        loop = asyncio.get_running_loop()
        until = loop.time() + 1
        while not self._transport.is_closing() and self._unsent() and loop.time() < until:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.001)
        if not self._transport.is_closing():
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def _unsent(self) -> bool:
        if self._transport.get_write_buffer_size() or sys.platform != "linux":
            return True
        descriptor = self._transport.get_extra_info("socket").fileno()
        return bool(struct.unpack("i", fcntl.ioctl(descriptor, _SIOCOUTQNSD, b"\0\0\0\0"))[0])


def with_key(pairs: list[tuple[str, str]], target: str, key: str) -> tuple[list[tuple[str, str]], str]:
    """The headers and the target with this key in place of the client's own, wherever that is; else where the dialect
    wants it."""
    path, _, query = target.partition("?")
    parameters = query.split("&") if query else []
    if any(parameter.startswith("key=") for parameter in parameters):
        parameters = [f"key={quote(key, safe='')}" if each.startswith("key=") else each for each in parameters]
        return pairs, f"{path}?{'&'.join(parameters)}"
    given = {"authorization": f"Bearer {key}", "x-api-key": key, "api-key": key, "x-goog-api-key": key}
    if any(name.lower() in given for name, _ in pairs):
        return [(name, given.get(name.lower(), value)) for name, value in pairs], target
    names = {name.lower() for name, _ in pairs}
    header = "x-api-key" if "anthropic-version" in names else "x-goog-api-key" if ":" in path else "authorization"
    return [*pairs, (header, given[header])], target


def _packed_as(accepted: str) -> str:
    """Of the codings that the client accepts, those that can be unpacked."""
    words = [word for word in accepted.split(",") if word.partition(";")[0].strip().lower() in CODINGS]
    return ",".join(words).strip() or "identity"


def _error(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind, "code": status}}, status=status)

"""A fake upstream on raw sockets, and a recorder between it and a tap, all on the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider.recording import Recording, load_folder
from mockprovider.server.recorder import Recorder, RecorderSettings
from mockprovider.server.upstream import Upstream
from tests.wiretap import PATIENCE, Tap, tapping

if TYPE_CHECKING:
    import ssl

GET = b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """A connection that the recorder has made to the fake upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """The head and the body of the next request."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            if b"transfer-encoding: chunked" in lower:
                body = b""
                while size := int((await self.reader.readline()), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readline()
                return head, body
            length = next((int(line[15:]) for line in lower.split(b"\r\n") if line.startswith(b"content-length:")), 0)
            return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    def reset(self) -> None:
        made = self.writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the recorder has ended the connection."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass


class Fake:
    """A fake upstream. Each of its connections is to be had from `peer`."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = 0
        self.all: list[Peer] = []

    async def peer(self) -> Peer:
        async with asyncio.timeout(PATIENCE):
            return await self._peers.get()

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.all.append(Peer(reader, writer))
        await self._peers.put(self.all[-1])


@contextlib.asynccontextmanager
async def faking(tls: ssl.SSLContext | None = None) -> AsyncIterator[Fake]:
    """A fake upstream that listens."""
    fake = Fake()
    server = await asyncio.start_server(fake.met, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for peer in fake.all:
            peer.writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def recording_into(folder: Path | None, port: int, scheme: str = "http", **more: Any) -> AsyncIterator[Recorder]:
    """A recorder in front of that port."""
    recorder = Recorder(RecorderSettings(Upstream.parse(f"{scheme}://127.0.0.1:{port}"), folder, **more))
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.stop()


@contextlib.asynccontextmanager
async def exchange(folder: Path, request: bytes = GET, **more: Any) -> AsyncIterator[tuple[Tap, Peer, Recorder]]:
    """A client that has asked, and the upstream that has been asked."""
    async with (
        faking() as fake,
        recording_into(folder, fake.port, **more) as recorder,
        tapping(recorder.url, request.partition(b" ")[0].decode()) as tap,
    ):
        tap.strict = False  # what comes may be no HTTP
        await tap.send(request)
        peer = await fake.peer()
        await peer.request()
        yield tap, peer, recorder
        peer.writer.transport.abort()


async def only(folder: Path, ended: Callable[[Recording], object] = lambda recording: recording.ending) -> Recording:
    """The one recording of a folder, when it has ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            recordings = load_folder(folder)
            if len(recordings) == 1 and ended(recordings[0]):
                return recordings[0]
            await asyncio.sleep(0.005)

"""Connections: what aiohttp parses goes to the handler, what it cannot parse is answered in the provider's shape.

A request that comes whole in one read is answered there and then, and aiohttp has no more to do with it than to parse
its head, once for all requests with these very bytes. What comes in parts, or needs more than that, is aiohttp's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from mockprovider.dialects import DIALECTS
from mockprovider.errors import RequestError
from mockprovider.player import Player, plain_socket

__all__ = ["AtOnce", "Protocol", "Server"]

SETTINGS: dict[str, Any] = {
    "handler_cancellation": True,  # a client that leaves must be noticed while its stream is silent
    "access_log": None,  # logs are the journal's business
    # Cookies of every other server on `localhost` come along, and chains of faults stand in the URL.
    "max_line_size": 1 << 18,
    "max_field_size": 1 << 18,
    "max_headers": 4096,
}
"""What aiohttp is told, whoever runs the server."""

_HEADS = 256
_HEAD_SIZE = 8 * 1024
"""How many heads are remembered, and how many bytes such a head may have."""

_HELD = 64 * 1024
"""Bytes that a client may send ahead while it is being answered, before it is left waiting."""

_Read: TypeAlias = tuple[RawRequestMessage | None, int]

_UNREAD: _Read = (None, 0)

AtOnce: TypeAlias = "Callable[[Protocol, RawRequestMessage, bytes, int], bool]"
"""Answers a request; False where it does not, and aiohttp has to hand it on.

It is given with its connection, its head as aiohttp parsed it, all its bytes, and where its body begins. Once it is
answered, perhaps after something has played on the connection, `Protocol.answered` is called.
"""


class Protocol(RequestHandler):
    """A connection whose own errors are the provider's, without a traceback in the log: they are the client's.

    player: the one that plays on it, if any does; it is told when the connection is lost, before its socket is closed.
    requests: how many have come.
    """

    __slots__ = ("_ahead", "_descriptor", "_server", "_whole", "player", "requests")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        super().connection_made(transport)
        self.player: Player | None = None
        self.requests = 0
        self._descriptor: int | None = None
        self._server = cast(Server, self._manager)
        self._whole = True  # so far each read was one whole request, so that the next begins with its head
        self._ahead: list[bytes] | None = None  # what comes while something plays of which aiohttp does not know

    @property
    def descriptor(self) -> int:
        """Where a player may write to, see `plain_socket`; to be asked while there is a transport."""
        if self._descriptor is None:
            self._descriptor = plain_socket(cast(asyncio.Transport, self.transport))
        return self._descriptor

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if self._ahead is not None:
            self._hold(data)
            return
        at_once = self._server.at_once
        if at_once is None or not self._whole or not data:  # aiohttp calls it with nothing where it goes on
            super().data_received(data)
            return
        end = data.find(b"\r\n\r\n") + 4
        message, length = self._server.read(data[:end])
        if message is None or length != len(data) - end:
            self._whole = False
            super().data_received(data)
            return
        # aiohttp waits for a request as long as none is being answered.
        idle = self._waiter is not None and not self._waiter.done() and not self._messages
        if not idle or not at_once(self, message, data, end):
            super().data_received(data)
        elif self.player is not None:
            self._ahead = []

    def _hold(self, data: bytes) -> None:
        """It is for later. What is too much stays with the client."""
        assert self._ahead is not None, "asked before"
        assert self.transport is not None, "it has just been read from"
        self._ahead.append(data)
        if sum(map(len, self._ahead)) > _HELD and self.transport.is_reading():
            self.transport.pause_reading()

    def answered(self, *, keeps: bool) -> None:
        """A request of which aiohttp knows nothing is. keeps: whether the connection may be kept."""
        self.player = None
        ahead, self._ahead = self._ahead or (), None
        if self.transport is None or self.transport.is_closing():
            return
        if not keeps:
            self.transport.close()
            return
        self._keep()
        if not self.transport.is_reading():
            self.transport.resume_reading()
        for data in ahead:
            self.data_received(data)

    def _keep(self) -> None:
        """The connection is idle from now on; aiohttp, which sees to that, does not know that it was not."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _process_keepalive(self) -> None:
        if self._ahead is not None:
            self._keep()
        super()._process_keepalive()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self.player is not None:
            self.player.writable()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has left, or was cut off."""
        if self.player is not None:
            self.player.lost()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to a request that is no HTTP, or that failed before our handler had it."""
        if request.writer.output_size > 0:
            raise ConnectionError("a response has begun already, so the error cannot be sent")
        if status == 500:
            self.logger.error("answering %s %s", request.method, request.raw_path, exc_info=exc)
        said = RequestError(
            status,
            f"The request could not be understood: {message or exc or 'bad HTTP'}".strip(),
            kind="server" if status >= 500 else "invalid_request",
        )
        headers, body = DIALECTS[0].error(said, "req_unparsed")
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        response.headers["Connection"] = "close"
        return response


class Server(web.Server):
    """aiohttp's low-level server with these connections and settings, and further ones of aiohttp's.

    at_once: answers what can be answered without aiohttp, if anything.
    """

    def __init__(self, handler: Any, at_once: AtOnce | None = None, **further: Any) -> None:
        super().__init__(handler, **SETTINGS, **further)
        self.at_once = at_once
        self._parsed = lru_cache(maxsize=_HEADS)(self._parse)
        self._over = 0

    @property
    def counts(self) -> tuple[int, int]:
        """How many connections there are, and how many are over."""
        return len(self._connections), self._over

    def read(self, head: bytes) -> _Read:
        """What aiohttp makes of a request's head, and the size of the body behind it.

        No message where the head is none, or where more than that size tells what to do with the body or with the
        connection. Heads that come again, byte for byte, are remembered.
        """
        return self._parsed(head) if len(head) <= _HEAD_SIZE else _UNREAD

    def _parse(self, head: bytes) -> _Read:
        nobodys = self()  # a connection with the settings of all others, which only reads
        RequestHandler.data_received(nobodys, head)
        message = nobodys._messages[0][0] if len(nobodys._messages) == 1 else None
        if not isinstance(message, RawRequestMessage):
            return _UNREAD  # it will be answered as any that comes in parts
        if message.chunked or message.upgrade or message.should_close or message.compression is not None:
            return _UNREAD
        if "Expect" in message.headers:
            return _UNREAD
        return message, int(message.headers.get("Content-Length", 0))

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """One of them is over."""
        self._over += 1
        super().connection_lost(handler, exc)

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)

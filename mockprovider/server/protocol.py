"""What aiohttp answers itself, in the provider's shape: requests that it cannot parse never reach the handler."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from mockprovider.dialects import DIALECTS
from mockprovider.errors import RequestError
from mockprovider.player import Player, plain_socket

__all__ = ["Server"]

SETTINGS: dict[str, Any] = {
    "handler_cancellation": True,  # a client that leaves must be noticed while its stream is silent
    "access_log": None,  # logs are the journal's business
    # Cookies of every other server on `localhost` come along, and chains of faults stand in the URL.
    "max_line_size": 1 << 18,
    "max_field_size": 1 << 18,
    "max_headers": 4096,
}
"""What aiohttp is told, whoever runs the server."""


class Protocol(RequestHandler):
    """A connection whose own errors are the provider's, without a traceback in the log: they are the client's.

    player: the one that plays on it, if any does; it is told when the connection is lost, before its socket is closed.
    requests: how many have come.
    """

    __slots__ = ("_descriptor", "player", "requests")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        super().connection_made(transport)
        self.player: Player | None = None
        self.requests = 0
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """Where a player may write to, see `plain_socket`; to be asked while there is a transport."""
        if self._descriptor is None:
            self._descriptor = plain_socket(cast(asyncio.Transport, self.transport))
        return self._descriptor

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
    """aiohttp's low-level server with these connections and settings, and further ones of aiohttp's."""

    def __init__(self, handler: Any, **further: Any) -> None:
        super().__init__(handler, **SETTINGS, **further)
        self._over = 0

    @property
    def counts(self) -> tuple[int, int]:
        """How many connections there are, and how many are over."""
        return len(self._connections), self._over

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """One of them is over."""
        self._over += 1
        super().connection_lost(handler, exc)

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)

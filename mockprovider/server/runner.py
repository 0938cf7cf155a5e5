"""A server's lifetime: on the running loop, or on a thread and loop of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from aiohttp import web

from mockprovider.errors import UnavailableError
from mockprovider.scenario import ScenarioFile
from mockprovider.scheduler import LoopScheduler
from mockprovider.server.control import Control
from mockprovider.server.handler import Handler
from mockprovider.settings import Settings

__all__ = ["LoopServer", "ThreadServer"]

T = TypeVar("T")

_BACKLOG = 2048


class LoopServer:
    """A server on the running loop. `start` it, then `stop` it; both on that loop."""

    def __init__(self, settings: Settings, scenario: ScenarioFile | None = None) -> None:
        self.settings = settings
        self.handler = Handler(settings, scenario)
        self.handler.control = Control(self.handler)
        self.port = settings.port
        self._web: web.Server | None = None
        self._listening: list[asyncio.Server] = []

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        host = self.settings.host
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def attach(self) -> None:
        """Give the handler this loop's scheduler, without listening: for a server that somebody else runs."""
        if self.handler.scheduler is None:
            self.handler.scheduler = LoopScheduler(asyncio.get_running_loop())

    async def start(self) -> None:
        """Listen. UnavailableError where the address cannot be had."""
        self.attach()
        loop = asyncio.get_running_loop()
        # A client that leaves must be noticed while its stream is silent; access logs are the journal's business.
        self._web = web.Server(self.handler.handle, handler_cancellation=True, access_log=None)
        try:
            for bound in self._sockets():
                self._listening.append(await loop.create_server(self._web, sock=bound, backlog=_BACKLOG))
        except OSError as error:
            await self.stop()
            raise self._unavailable(error) from error

    def _sockets(self) -> list[socket.socket]:
        """The bound sockets: both loopbacks for `localhost`, where this machine has both."""
        if self.settings.host != "localhost":
            family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
            return [self._bind(family, self.settings.host)]
        bound = [self._bind(socket.AF_INET, "127.0.0.1")]
        try:
            bound.append(self._bind(socket.AF_INET6, "::1"))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                bound[0].close()
                raise
        return bound

    def _bind(self, family: socket.AddressFamily, host: str) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((host, self.port))
        except OSError:
            made.close()
            raise
        self.port = made.getsockname()[1]
        return made

    def _unavailable(self, error: OSError) -> UnavailableError:
        address = f"{self.settings.host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            return UnavailableError(f"cannot listen on {address}: the port is in use; choose another with --port")
        return UnavailableError(f"cannot listen on {address}: {os.strerror(error.errno or 0)}")

    async def stop(self) -> None:
        """Stop accepting, end open streams and close every connection; never waits for a stream."""
        for server in self._listening:
            server.close()
        self._listening.clear()
        self.handler.stop()
        if self._web is not None:
            # What is left are idle connections, and handlers that notice now that their stream was ended.
            for connection in self._web.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(0)
            await self._web.shutdown(0.05)
            self._web = None
        if self.handler.scheduler is not None:
            self.handler.scheduler.close()
            self.handler.scheduler = None


class ThreadServer:
    """A server on its own thread and loop, so that blocking clients can talk to it from this thread."""

    def __init__(self, settings: Settings, scenario: ScenarioFile | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[None] = Future()
        self._settings = settings
        self._scenario = scenario
        self.server: LoopServer
        self._thread = threading.Thread(target=self._run, name="mockprovider", daemon=True)

    def start(self) -> None:
        """Start the thread and wait until the server accepts. UnavailableError where it cannot."""
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self._thread.join()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        try:
            self.server = LoopServer(self._settings, self._scenario)
            await self.server.start()
        except BaseException as error:  # noqa: BLE001  it belongs to whoever called `start`
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        await self._stop.wait()
        await self.server.stop()

    def stop(self) -> None:
        """Stop the server and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function that runs on the server's loop, after all that it has begun."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001  it belongs to the calling thread
                result.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return result.result()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

"""A server's lifetime: on the running loop, or on a thread and loop of its own."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from mockprovider.errors import MockProviderError, UnavailableError
from mockprovider.player import perform
from mockprovider.scenario_file import ScenarioFile
from mockprovider.scheduler import LoopScheduler
from mockprovider.server.control import Control
from mockprovider.server.handler import Handler
from mockprovider.server.listeners import Listeners
from mockprovider.server.protocol import Server
from mockprovider.server.reload import Read, Reloader
from mockprovider.server.tls import Certificate, certificate
from mockprovider.server.workers import Workers
from mockprovider.settings import Settings, is_loopback

__all__ = ["LoopServer", "ThreadServer"]

T = TypeVar("T")

_BACKLOG = 2048

_PAIRS = 20
"""How many ports are tried until one is free on both loopbacks."""

_GRACE = 0.5
"""Seconds that requests have to notice that the server stops; they need a turn or two of the loop."""

_BLOCKED = 10.0
"""Seconds after which a server's thread is given up."""

_SETTLE = 4
"""Turns of the loop until what a write has set off is done: the player's next turn, its end, the handler's end."""


class LoopServer:
    """A server on the running loop. `start` it, then `stop` it; both on that loop. It can be started once.

    certificate: what clients must trust, where it speaks TLS; known once it has started.
    """

    def __init__(
        self, settings: Settings, scenario: ScenarioFile | None = None, workers: Workers | None = None
    ) -> None:
        self.settings = settings
        self._shares = workers is not None
        self.handler = Handler(settings, scenario, workers)
        self.handler.control = Control(self.handler)
        self.port = settings.port
        self._web: Server | None = None
        self._listening: list[asyncio.Server] = []
        self.certificate: Certificate | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL, without a path. MockProviderError before it listens on a port of its own."""
        if not self.port:
            raise MockProviderError(
                "this server has no address of its own: it is not listening, or another server, such as aiohttp's"
                " test server, runs its application and knows the address"
            )
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)
        scheme = "https" if self.settings.tls else "http"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    def follow(self, path: Path, read: Read) -> None:
        """Read a scenario file again whenever it changes, from the start of the server on; see `Reloader`."""
        self.handler.reloader = Reloader(path, read, self.handler)

    def has_ports(self, namespace: str) -> bool:
        """Whether further ports are open for the namespace."""
        return self.handler.listeners is not None and self.handler.listeners.has(namespace)

    def quiet(self, seconds: float) -> bool:
        """Whether no stream has anything to do within so many seconds."""
        return self.handler.scheduler is None or self.handler.scheduler.quiet(seconds)

    def connections(self) -> tuple[int, int]:
        """How many connections there are, and how many are over."""
        return (0, 0) if self._web is None else self._web.counts

    def attach(self) -> None:
        """Give the handler this loop's scheduler, without listening: for a server that somebody else runs."""
        if self.handler.scheduler is None:
            self.handler.scheduler = LoopScheduler(asyncio.get_running_loop(), perform)
            self.handler.listeners = Listeners(self.settings.host, self._protocol)

    def _protocol(self) -> asyncio.BaseProtocol:
        """For a connection to one of the further ports."""
        if self._web is None:
            self._web = Server(self.handler.handle, self.handler.at_once)
        return self._web()

    async def start(self) -> None:
        """Listen. UnavailableError where the address cannot be had."""
        if self.settings.tls:
            names = () if is_loopback(self.settings.host) else (self.settings.host,)
            self.certificate = certificate(None, *names, *(name for name in self.settings.allow_hosts if name != "*"))
        secured = self.certificate.context() if self.certificate else None
        self.attach()
        loop = asyncio.get_running_loop()
        self._web = Server(self.handler.handle, self.handler.at_once)
        bound: list[socket.socket] = []
        try:
            bound = self.reserve()
            for made in bound:
                self._listening.append(await loop.create_server(self._web, sock=made, backlog=_BACKLOG, ssl=secured))
            if self.handler.reloader is not None:
                self._following = loop.create_task(self.handler.reloader.run())
        except OSError as error:
            for made in bound:
                made.close()
            await self.stop()
            raise self.unavailable(error) from error

    def reserve(self) -> list[socket.socket]:
        """Bind without listening yet: both loopbacks for `localhost`, where this machine has both. OSError."""
        host, port = self.settings.host, self.settings.port
        if host != "localhost":
            return [self._bind(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)]
        for last in reversed(range(_PAIRS)):
            bound = [self._bind(socket.AF_INET, "127.0.0.1", port)]
            try:
                bound.append(self._bind(socket.AF_INET6, "::1", self.port))
            except OSError as error:
                if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    break
                bound[0].close()
                # The port that the system chose on one loopback may be taken on the other: let it choose again.
                if port or not last or error.errno != errno.EADDRINUSE:
                    raise
            else:
                break
        return bound

    def _bind(self, family: socket.AddressFamily, host: str, port: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._shares:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((host, port))
        except OSError:
            made.close()
            raise
        self.port = made.getsockname()[1]
        return made

    def unavailable(self, error: OSError) -> UnavailableError:
        """What an error of `reserve` means to a user."""
        address = f"{self.settings.host}:{self.settings.port}"
        if error.errno == errno.EADDRINUSE:
            return UnavailableError(
                f"cannot listen on {address}: the port is in use; choose another one, or 0 for any that is free"
            )
        return UnavailableError(f"cannot listen on {address}: {error.strerror or error}")

    async def stop(self) -> None:
        """Stop accepting, end open streams and close every connection; never waits for a stream.

        Afterwards every exchange has ended, and `handler.ended` has been called for it.
        """
        for server in self._listening:
            server.close()
        self._listening.clear()
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if self.handler.listeners is not None:
            self.handler.listeners.stop()
            self.handler.listeners = None
        await asyncio.sleep(0)  # connections that were accepted in this turn are known in the next
        self.handler.stop()
        if self._web is not None:
            # What is left are idle connections, and handlers that notice now that their stream was ended.
            for connection in self._web.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._settle()
            await self._web.shutdown(0.05)
            self._web = None
        if self.handler.scheduler is not None:
            self.handler.scheduler.close()
            self.handler.scheduler = None

    async def _settle(self) -> None:
        """Give the requests that were cut off the turns of the loop that they need to end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _GRACE
        while self.handler.active and loop.time() < until:  # noqa: ASYNC110  a few turns, not a wait
            await asyncio.sleep(0)


class ThreadServer:
    """A server on its own thread and loop, so that blocking clients can talk to it from this thread.

    server: one that has not been started; this does it.
    """

    def __init__(self, server: LoopServer) -> None:
        self.server = server
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="mockprovider", daemon=True)

    def start(self) -> None:
        """Start the thread and wait until the server accepts. UnavailableError where it cannot."""
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:  # an interrupt, perhaps: the thread must not stay behind
            self.stop()
            raise

    def _run(self) -> None:
        # The runner cancels what is left and closes the loop, whatever happens.
        try:
            asyncio.run(self._main())
        except BaseException as error:
            # Until it accepts, it belongs to whoever called `start`.
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                raise

    async def _main(self) -> None:
        await self.server.start()
        self._ready.set_result(asyncio.get_running_loop())
        await self._stop.wait()
        await self.server.stop()

    def stop(self) -> None:
        """Stop the server and its thread. MockProviderError where the thread does not come to it."""
        if self._ready.exception() is None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_BLOCKED)
        if self._thread.is_alive():
            raise _blocked()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._ready.result()

    @property
    def here(self) -> bool:
        """Whether this is the server's thread, as it is for answer functions and predicates."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], T]) -> T:
        """The result of a quick function that runs on the server's loop, after all that the loop has begun.

        MockProviderError where the thread does not come to it.

        A client that has read the end of a stream may call this before the loop, interrupted right after it sent
        that end, has written it down; so the function waits its turn behind whatever the loop is about to do.
        """
        if self.here:
            return function()
        result: Future[T] = Future()
        loop = self._loop

        def run(turns: int) -> None:
            if turns:
                loop.call_soon(run, turns - 1)
                return
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001  it belongs to the calling thread
                result.set_exception(error)

        loop.call_soon_threadsafe(run, _SETTLE)
        try:
            return result.result(_BLOCKED)
        except TimeoutError:
            if result.done():
                raise
            raise _blocked() from None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


def _blocked() -> MockProviderError:
    return MockProviderError(
        f"the mock provider's thread has been busy for {_BLOCKED:g} s: an answer function or a condition of a rule"
        " must not block"
    )

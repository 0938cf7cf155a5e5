"""Ports of their own for what goes wrong before there is any HTTP: refuse, reset or silence at accept.

A port is opened when it is first asked for, and closed with its namespace. It misbehaves for ever, for some seconds,
or for the first connections; then it serves as the server's own port does. Nobody sees a SYN that is refused, so
refused connections cannot be counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from mockprovider.cases import LISTENERS, Case
from mockprovider.errors import SettingError, UnavailableError, nearest
from mockprovider.faults.grammar import to_segment

__all__ = ["Listeners", "Misbehaviour"]

_LONGEST = 86_400.0
"""Seconds: no port misbehaves longer than a day and then serves; it may do so for ever."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What a port does. kind: one of `refuse`, `reset` and `silence`.

    seconds: for how long, counted from when it was asked for; first: to how many connections; None: for ever, to all.
    SettingError for what cannot be.
    """

    kind: str
    seconds: float | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in LISTENERS:
            raise SettingError(f"unknown listener {self.kind!r}{nearest(self.kind, LISTENERS)}")
        if self.seconds is not None and not 0 <= self.seconds <= _LONGEST:
            raise SettingError(f"seconds: expected 0 to {_LONGEST:g}, got {self.seconds!r}")
        if self.first is not None and (isinstance(self.first, bool) or self.first < 1):
            raise SettingError(f"first: expected a whole number of at least 1, got {self.first!r}")
        if self.kind == "refuse" and self.first is not None:
            raise SettingError("first: nobody can count refused connections; expected seconds=... or nothing")


class _Silent(asyncio.Protocol):
    """Accepts, reads, and says nothing until the client leaves."""

    def __init__(self, known: set[asyncio.BaseTransport]) -> None:
        self._known = known
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._known.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._known.discard(self._transport)


class _Port:
    """One port. serve: makes the protocol of a connection that is served as usual."""

    def __init__(self, host: str, what: Misbehaviour, serve: Callable[[], asyncio.BaseProtocol]) -> None:
        self.what = what
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._misbehaves = True
        self._left = what.first
        self._accepting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.BaseTransport] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind((host, 0))
        except OSError as error:
            self._socket.close()
            raise UnavailableError(f"cannot open another port on {host}: {error.strerror or error}") from error
        self.number: int = self._socket.getsockname()[1]
        # A bound socket that does not listen refuses, and nobody else can have its port.
        if what.kind != "refuse":
            self._accept_from_now_on()
        if what.seconds is not None:
            self._timer = self._loop.call_later(what.seconds, self._behave)

    def _behave(self) -> None:
        """It has misbehaved for long enough."""
        self._misbehaves = False
        if not self._accepting:
            self._accept_from_now_on()

    def _accept_from_now_on(self) -> None:
        self._accepting = True
        self._socket.listen(128)
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            made, _ = self._socket.accept()
        except OSError:  # the client has left already
            return
        if self._left is not None and self._misbehaves:
            self._left -= 1
            misbehaves, self._misbehaves = True, self._left > 0
        else:
            misbehaves = self._misbehaves
        if misbehaves and self.what.kind == "reset":
            # With no time to linger, closing sends RST instead of FIN.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made.close()
            return
        made.setblocking(False)
        silent = misbehaves and self.what.kind == "silence"
        task = self._loop.create_task(self._connect(made, silent=silent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, made: socket.socket, *, silent: bool) -> None:
        factory = (lambda: _Silent(self._open)) if silent else self._serve
        try:
            await self._loop.connect_accepted_socket(factory, made)
        except OSError:
            made.close()
        except asyncio.CancelledError:  # the port is closed
            made.close()
            raise

    def close(self) -> None:
        """Refuse for good, and end the silent connections."""
        if self._timer is not None:
            self._timer.cancel()
        if self._accepting:
            self._loop.remove_reader(self._socket)
        self._socket.close()
        for transport in tuple(self._open):
            with contextlib.suppress(AttributeError):
                transport.abort()  # type: ignore[attr-defined]
        for task in tuple(self._tasks):
            task.cancel()


class Listeners:
    """The ports of one server, by namespace and name. To be used on the server's loop.

    host: the address that the server binds; serve: makes the protocol of a connection that is served as usual.
    """

    def __init__(self, host: str, serve: Callable[[], asyncio.BaseProtocol]) -> None:
        self._host = "127.0.0.1" if host == "localhost" else host
        self._serve = serve
        self._ports: dict[tuple[str, str], _Port] = {}

    def port(self, namespace: str, name: str, what: Misbehaviour) -> int:
        """The number of the port of that name, opened now if need be; anew where it is to misbehave for a while.

        UnavailableError where none is to be had.
        """
        known = self._ports.get((namespace, name))
        if known is not None and known.what == what and what.seconds is None and what.first is None:
            return known.number
        if known is not None:
            known.close()
        made = _Port(self._host, what, self._serve)
        self._ports[namespace, name] = made
        return made.number

    def base_url(self, origin: str, namespace: str, name: str, what: Misbehaviour) -> str:
        """The base URL on that port, `/v1` included. origin: how the caller reaches the server, such as
        `http://127.0.0.1:8000`."""
        host = urlsplit(origin).hostname or "127.0.0.1"
        if host == "localhost":
            # One of its two addresses would be another's port.
            host = "::1" if self._host == "::1" else "127.0.0.1"
        number = self.port(namespace, name, what)
        return f"http://{f'[{host}]' if ':' in host else host}:{number}{_prefix(namespace)}/v1"

    def case_url(
        self, origin: str, namespace: str, case: Case, seconds: float | None = None, first: int | None = None
    ) -> str:
        """The base URL of a case, `/v1` included; a port of its own is opened for one that needs it.

        SettingError for a case that is not available, and for seconds and first where nothing can obey them.
        """
        if case.unavailable is not None:
            raise SettingError(f"the case {case.name} is not available: {case.unavailable}")
        if case.listener is not None:
            return self.base_url(origin, namespace, case.name, Misbehaviour(case.listener, seconds, first))
        if seconds is not None or first is not None:
            raise SettingError(f"seconds and first belong to ports of their own, and {case.name} has none")
        return f"{origin}{_prefix(namespace)}/with/{to_segment(case.name)}/v1"

    def has(self, namespace: str) -> bool:
        """Whether the namespace has ports; from any thread."""
        return any(owner == namespace for owner, _ in tuple(self._ports))

    def close(self, namespace: str) -> None:
        """Close the ports of a namespace."""
        for key in [key for key in self._ports if key[0] == namespace]:
            self._ports.pop(key).close()

    def stop(self) -> None:
        """Close all of them."""
        for port in self._ports.values():
            port.close()
        self._ports.clear()


def _prefix(namespace: str) -> str:
    return f"/~{namespace}" if namespace else ""

"""The network guard: while it is on, nothing in this process reaches for another machine unnoticed.

It listens to Python's audit events (PEP 578) for connections, datagrams and name look-ups, so it sees every library
that goes through Python's own sockets, on every thread. It does not see other processes, nor event loops that have
sockets of their own in C, such as uvloop. An audit hook cannot be taken out again: it is put in with the first guard.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Collection
from typing import Any, Self

from mockprovider.errors import MockProviderError

__all__ = ["Guard", "OutsideError"]


class OutsideError(MockProviderError, OSError):
    """Something reached for another machine while the network guard was on; the message says for which."""


_LOCAL = ("", "localhost", "0.0.0.0", "::", "<broadcast>")
_active: list[Guard] = []
_installed: list[bool] = []


class Guard:
    """Refuses everything but the loopback, as a context manager. attempts: what was reached for, in order.

    allow: names and addresses of other machines that may be reached all the same.
    """

    def __init__(self, allow: Collection[str] = ()) -> None:
        self.attempts: list[str] = []
        self._allow = frozenset(host.lower() for host in allow)

    def __enter__(self) -> Self:
        if not _installed:
            _installed.append(True)
            sys.addaudithook(_hook)
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.remove(self)

    def allows(self, host: object) -> bool:
        """Whether this host, a name or an address, may be reached."""
        if host is None:
            return True
        name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
        name = name.lower().rstrip(".").partition("%")[0]
        if name in _LOCAL or name.endswith(".localhost") or name in self._allow:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def refuse(self, what: str) -> None:
        """Note the attempt, and raise."""
        self.attempts.append(what)
        raise OutsideError(f"the network guard is on, and this test reached for another machine: {what}")


_EVENTS = {
    "socket.connect": "connect to",
    "socket.sendto": "send to",
    "socket.sendmsg": "send to",
    "socket.getaddrinfo": "look up",
    "socket.gethostbyname": "look up",
}


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _active or event not in _EVENTS:
        return
    guard = _active[-1]
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host, port = args[0], args[1] if len(args) > 1 else None
        if _is_address(host):
            return  # nothing is asked of anybody; connecting is another event
    else:
        address = args[1]
        if not isinstance(address, tuple) or not address:
            return  # a local socket, or one that is connected already
        host, port = address[0], address[1] if len(address) > 1 else None
    if not guard.allows(host):
        guard.refuse(f"{_EVENTS[event]} {host}" + (f" port {port}" if port else ""))


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True

"""What a server is told when it starts; each setting is checked here, once, whoever gives it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from mockprovider.errors import SettingError
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Reply

__all__ = ["Settings", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether a host to bind is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a server is told.

    host, port: where to listen (port 0: any); seed: None draws one; pace, chunking, relay: of every reply, unless a
    rule or header says otherwise; reply: instead of generated ones; reply_tokens: how long generated ones are at
    least; models, api_keys: the only ones accepted (None: any); token: guards the control API; allow_hosts: names
    besides the loopback's that a `Host` header may carry; journal_limit: exchanges kept a namespace; body_limit:
    bytes of a request's body.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int | None = None
    pace: Pacing = field(default_factory=Pacing)
    chunking: Chunking = field(default_factory=Chunking)
    relay: bool = False
    reply: Reply | None = None
    reply_tokens: int | None = None
    models: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None
    token: str | None = None
    allow_hosts: tuple[str, ...] = ()
    journal_limit: int = 1000
    body_limit: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingError(f"port: expected 0 to 65535, got {self.port}")
        if not is_loopback(self.host) and not self.token:
            raise SettingError(
                f"host {self.host!r} is reachable from other machines: set a token (--token), which then guards the"
                " control API, or bind a loopback address"
            )
        if self.reply_tokens is not None and self.reply_tokens < 1:
            raise SettingError(f"reply_tokens: expected at least 1, got {self.reply_tokens}")
        if self.journal_limit < 1:
            raise SettingError(f"journal_limit: expected at least 1, got {self.journal_limit}")
        if self.body_limit < 1:
            raise SettingError(f"body_limit: expected at least 1, got {self.body_limit}")

    def host_allowed(self, header: str | None) -> bool:
        """Whether a request's `Host` header is one of ours.

        A page of another site can make its name resolve to this machine (DNS rebinding), but the browser then sends
        that name; an IP address cannot be rebound.
        """
        if header is None:
            return True
        name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
        name = name.strip("[]").lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name == self.host.lower():
            return True
        if name in (allowed.lower() for allowed in self.allow_hosts) or "*" in self.allow_hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

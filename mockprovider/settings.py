"""What a server is told when it starts; each setting is checked here, once, whoever gives it."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from mockprovider.cases import recipe
from mockprovider.dialects.flavour import flavour
from mockprovider.errors import SettingError
from mockprovider.limits import Limits
from mockprovider.pace import Chunking, Pacing
from mockprovider.replay.library import Recordings
from mockprovider.reply import Part, Reply

__all__ = ["GivenSettings", "Settings", "is_loopback"]

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(?::\d{0,5})?")
"""A `Host` header, RFC 9110 section 7.2: a name, an IPv4 address or a bracketed IPv6 address, and perhaps a port."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+|null")
"""A serialised origin, as browsers write it (RFC 6454 section 6.2)."""

_TOKEN = re.compile(r"[!-~]+")
"""What a header can carry as one word."""


def is_loopback(host: str) -> bool:
    """Whether a host to bind is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class GivenSettings(TypedDict, total=False):
    """The settings of `Settings` as they may be given: texts where a text form exists, None for the default."""

    host: str | None
    port: int | None
    seed: int | None
    pace: str | Pacing | None
    chunking: str | Chunking | None
    faults: str | None
    limits: str | Limits | None
    relay: bool | None
    flavour: str | None
    reply: str | Part | Reply | None
    reply_tokens: int | None
    models: list[str] | tuple[str, ...] | None
    api_keys: list[str] | tuple[str, ...] | None
    token: str | None
    allow_hosts: list[str] | tuple[str, ...] | None
    allow_origins: list[str] | tuple[str, ...] | None
    tls: bool | None
    journal_limit: int | None
    body_limit: int | None
    late_warning: float | None
    recordings: str | Path | Recordings | dict[str, Any] | None
    speed: float | None
    shelf: str | Path | None
    console: bool | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a server is told. SettingError, naming the setting, for a value that is impossible.

    host, port: where to listen (port 0: any); tls: whether to speak HTTPS, with a certificate made for this machine;
    seed: None draws one; pace, chunking, relay: of every reply, unless a rule or header says otherwise; faults: the
    chain that is done to every reply; flavour: whose chat completions its own are like, by name or as a file; limits:
    requests and tokens a minute, counted in each namespace (None: any number); reply: instead of generated ones;
    reply_tokens: how long generated ones are at least; recordings: a folder of them, which answer before anything else
    does; speed: every wait of the server's is so many times shorter, those of faults, cases and `retry-after-ms` among
    them, but not `Retry-After`, which has whole seconds.

    models, api_keys: the only ones accepted (None: any); token: guards the control API; allow_hosts: names besides the
    loopback's that a `Host` header may carry (`*`: any); allow_origins: the origins whose pages may read answers, such
    as `http://localhost:5173` (None: any).

    journal_limit: exchanges kept a namespace; late_warning: seconds behind its deadline from which a write is reported;
    body_limit: bytes of a request's body; console: whether there is a page at `/`; shelf: the folder from which that
    plays recordings, and into which it saves them.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int | None = None
    pace: Pacing = field(default_factory=Pacing)
    chunking: Chunking = field(default_factory=Chunking)
    faults: str = ""
    limits: Limits | None = None
    relay: bool = False
    flavour: str = ""
    reply: Reply | None = None
    reply_tokens: int | None = None
    models: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None
    token: str | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] | None = None
    tls: bool = False
    journal_limit: int = 1000
    late_warning: float = 0.1
    speed: float = 1.0
    body_limit: int = 64 * 1024 * 1024
    recordings: Recordings | None = None
    shelf: Path | None = None
    console: bool = False

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_reach()
        for name in ("relay", "tls", "console"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name}: expected true or false, got {getattr(self, name)!r}")
        for name in ("models", "api_keys"):
            if getattr(self, name) is not None:
                self._names(name, empty=False)
        if self.faults:
            recipe(self.faults)
        if self.flavour != "":
            flavour(self.flavour)
        if self.shelf is not None:
            object.__setattr__(self, "shelf", Path(self.shelf))

    def _check_numbers(self) -> None:
        _whole("port", self.port, 0, 65535)
        _whole("journal_limit", self.journal_limit, 1)
        _whole("body_limit", self.body_limit, 1)
        if not self.late_warning > 0:
            raise SettingError(f"late_warning: expected seconds > 0, got {self.late_warning!r}")
        speed: object = self.speed
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < math.inf:
            raise SettingError(f"speed: expected a factor > 0, such as 10, got {speed!r}")
        if self.seed is not None:
            _whole("seed", self.seed)
        if self.reply_tokens is not None:
            _whole("reply_tokens", self.reply_tokens, 1)

    def _check_reach(self) -> None:
        """Who can reach the server, and under which names and from which pages."""
        self._names("allow_hosts", empty=True)
        if self.allow_origins is not None:
            self._names("allow_origins", empty=False)
            for origin in self.allow_origins:
                if not _ORIGIN.fullmatch(origin):
                    raise SettingError(f"allow_origins: {origin!r} is no origin; write it as http://localhost:5173")
        if self.token is not None and not _TOKEN.fullmatch(_text("token", self.token)):
            raise SettingError("token: expected visible ASCII characters, at least one and no space")
        if not _text("host", self.host):
            raise SettingError("host: expected a name or an address, got an empty text")
        if not is_loopback(self.host) and self.token is None:
            raise SettingError(
                f"host {self.host!r} is reachable from other machines: set a token (--token), which then guards the"
                " control API, or bind a loopback address"
            )

    def _names(self, setting: str, *, empty: bool) -> None:
        """Make the setting a tuple. A lone str is refused: its characters would pass for names."""
        names = getattr(self, setting)
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
            raise SettingError(f"{setting}: expected a list of texts that are not empty, got {names!r}")
        if not names and not empty:
            raise SettingError(f"{setting}: expected at least one; leave the setting out to accept any")
        object.__setattr__(self, setting, tuple(names))

    def host_allowed(self, header: str | None) -> bool:
        """Whether a request's `Host` header is one of ours.

        A page of another site can make its name resolve to this machine (DNS rebinding), but the browser then sends
        that name; an IP address cannot be rebound. Clients that send no such header are no browsers.
        """
        if header is None or "*" in self.allow_hosts:
            return True
        match = _HOST.fullmatch(header)
        if match is None:
            return False
        name = match["name"].strip("[]").lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name == self.host.lower():
            return True
        if any(name == allowed.lower() for allowed in self.allow_hosts):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(f"{name}: expected a text, got {value!r}")
    return value


def _whole(name: str, value: object, low: int | None = None, high: int | None = None) -> None:
    """SettingError unless the value is a whole number within the bounds; a bool is none."""
    expected = "a whole number" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        raise SettingError(f"{name}: expected {expected}, got {value!r}")

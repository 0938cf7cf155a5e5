"""What a person sets by hand while the server runs: the levers of the console, one set for each namespace.

They stand before the server's settings and before rules, and count from the next request on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mockprovider.cases import recipe
from mockprovider.dialects.flavour import FLAVOURS
from mockprovider.errors import RequestError, SettingError, nearest
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Reply
from mockprovider.scenario import request_error
from mockprovider.scenario_file import reply_from

__all__ = ["LEVERS", "UNTOUCHED", "Levers"]

LEVERS = ("pace", "chunking", "faults", "flavour", "reply", "fail_next", "limited", "recording")

_MOST = 1_000_000
"""Requests that may be told to fail."""


@dataclass(frozen=True, slots=True)
class Levers:
    """pace, chunking, faults, flavour: of every reply, unless a rule says otherwise; reply: what is said, whatever the
    rules say, as `reply_from` reads it; fail_next: how many requests fail, and with which status; limited: every
    request is refused with 429; recording: the name of the one that is played; spoken: the reply, read. What is None,
    empty or False is not set.
    """

    pace: Pacing | None = None
    chunking: Chunking | None = None
    faults: str = ""
    flavour: str = ""
    reply: Any = None
    fail_next: tuple[int, int] = (0, 500)
    limited: bool = False
    recording: str | None = None
    spoken: Reply | None = None

    def changed(self, table: Mapping[str, Any]) -> Levers:
        """The same with the levers of the table set; None lets one go. SettingError for what cannot be."""
        chosen: dict[str, Any] = {}
        for name, value in table.items():
            if name not in LEVERS:
                raise SettingError(f"unknown lever {name!r}{nearest(name, LEVERS)}")
            chosen[name] = getattr(UNTOUCHED, name) if value is None else _READ[name](value)
            if name == "reply":
                chosen["spoken"] = None if value is None else reply_from(value)
        return replace(self, **chosen)

    def describe(self) -> dict[str, Any]:
        """As JSON, in the form that `changed` reads; null for what is not set."""
        count, status = self.fail_next
        return {
            "pace": None if self.pace is None else str(self.pace),
            "chunking": None if self.chunking is None else str(self.chunking),
            "faults": self.faults or None,
            "flavour": self.flavour or None,
            "reply": self.reply,
            "fail_next": {"count": count, "status": status} if count else None,
            "limited": self.limited,
            "recording": self.recording,
        }

    def refusal(self) -> tuple[RequestError | None, Levers]:
        """The error that the next prompt gets, if it must fail, and the levers after it."""
        if self.limited:
            return request_error(429, "Rate limit reached, until further notice.", headers={"retry-after": "1"}), self
        count, status = self.fail_next
        if not count:
            return None, self
        return request_error(status), replace(self, fail_next=(count - 1, status))


def _chain(value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(f"faults: expected a chain such as 'stall(after=3)', got {value!r}")
    if value:
        recipe(value)
    return value


def _flavour(value: object) -> str:
    if value not in FLAVOURS:
        raise SettingError(f"flavour: unknown flavour {value!r}{nearest(str(value), list(FLAVOURS))}")
    return str(value)


def _failing(value: object) -> tuple[int, int]:
    table = value if isinstance(value, Mapping) else {}
    count, status = table.get("count"), table.get("status", 500)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST or table.keys() - _FAILING:
        raise SettingError(f"fail_next: expected a count from 0 to {_MOST}, and perhaps a status, got {value!r}")
    request_error(status)
    return count, status


_FAILING = {"count", "status"}


def _limited(value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"limited: expected true or false, got {value!r}")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(f"recording: expected a name, got {value!r}")
    return value


UNTOUCHED = Levers()

_READ: Mapping[str, Any] = {
    "pace": Pacing.parse,
    "chunking": Chunking.parse,
    "faults": _chain,
    "flavour": _flavour,
    "reply": lambda value: value,
    "fail_next": _failing,
    "limited": _limited,
    "recording": _name,
}

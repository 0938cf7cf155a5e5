"""Where the pings of Anthropic's streams come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import Context, Fault, Level, choice, fault, setting
from mockprovider.faults.documents import document_of, is_object
from mockprovider.faults.selection import needs_stream
from mockprovider.payload import Payload
from mockprovider.timeline import NOWHERE, Control, Stage, Timed

__all__ = ["Pings"]

_RECORDED = {"start": 320, "late": 68, "none": 36}
"""How many of 424 recorded streams of api.anthropic.com had their first ping where; see `Pings`."""


@fault("pings", Level.PAYLOAD, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Pings(Fault):
    """The ping of an Anthropic stream comes elsewhere, or not at all, drawn anew for each request.

    start: directly after the first content_block_start; late: after the first or second content_block_delta; none;
    recorded: one of these, as often as in recordings, and one stream in forty has two to four pings.
    """

    at: str = setting(choice("recorded", "start", "late", "none"), "recorded", "where the first one comes")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Takes the ping out that is there, and puts others in."""
        needs_stream(self, context)
        if context.dialect != "anthropic-messages":
            raise SettingError(f"{self}: the dialect {context.dialect} has no pings")
        return _PingStage(self.at, context.rng)


class _PingStage(Stage[Any, Any]):
    def __init__(self, at: str, rng: Random) -> None:
        often = 1
        if at == "recorded":
            at = rng.choices(list(_RECORDED), list(_RECORDED.values()))[0]
            often = rng.randint(2, 4) if rng.random() < 1 / 40 else 1
        self._after = {"start": "content_block_start", "late": "content_block_delta"}.get(at)
        self._skip = rng.randint(0, 1) if at == "late" else 0
        self._left = often
        self._owed = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if isinstance(item, Payload) and item.name == "ping":
            self._owed = gap
            return
        yield gap, item, origin
        if isinstance(item, Control) or self._after is None or not self._left:
            return
        document = document_of(item)
        if is_object(document) and document.get("type") == self._after:
            if self._skip:
                self._skip -= 1
                return
            # Each further one comes after one more delta.
            self._left, self._after = self._left - 1, "content_block_delta"
            yield 0.0, Payload(b'{"type": "ping"}', "ping"), NOWHERE

    def flush(self) -> Iterator[Timed[Any]]:
        return iter(())

"""A stream that is steered by hand while it is open: held, stepped event by event, let go, flooded, or cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.player import Player
from mockprovider.timeline import NOWHERE, Close, Control, End, Ending, Hold, Reset, Timed
from mockprovider.wire import TransferEncoder, singly

__all__ = ["CUTS", "Steering"]

CUTS = ("reset", "close", "end")


class Steering:
    """What stands between one stream's timeline and its player, once somebody steers it.

    transfer: the stream's, which knows how its message ends.
    """

    def __init__(self, player: Player, transfer: TransferEncoder, id: int) -> None:
        self._player = player
        self._gates = player.gates
        self._transfer = transfer
        self._gate = f"exchange-{id}"
        self._source: Iterator[Timed[Any]] | None = None
        self._allowed = math.inf
        self._rush = 0

    @property
    def held(self) -> bool:
        """Whether nothing more is sent until somebody steps or resumes."""
        return self._allowed <= 0

    def pause(self) -> None:
        """Hold the stream where it is."""
        self._take()
        self._allowed = 0

    def step(self, events: int) -> None:
        """Hold the stream, but for its next events, which leave at once."""
        self._take()
        self._allowed = events
        self._rush = events
        self._gates.open(self._gate)

    def resume(self) -> None:
        """Let the stream go on, at its pace."""
        self._allowed, self._rush = math.inf, 0
        self._gates.open(self._gate)

    def flood(self, events: int) -> None:
        """Send the next events at once; what comes after them keeps its pace."""
        self._take()
        self._allowed, self._rush = math.inf, events
        self._gates.open(self._gate)

    def cut(self, how: str) -> None:
        """End the stream now: by RST, by FIN within the message, or as if all had been said.

        SettingError for another way.
        """
        if how == "end":
            ending = list(self._transfer.feed((0.0, End(), NOWHERE)))
        elif how in CUTS:
            ending = [(0.0, Reset() if how == "reset" else Close(), NOWHERE)]
        else:
            raise SettingError(f"unknown cut {how!r}; allowed: {', '.join(CUTS)}")
        self._player.take_back()
        self._player.go_on(iter(ending))

    def _take(self) -> None:
        """Stand between timeline and player; what the player has in hand already comes again."""
        rest, pending = self._player.take_back()
        came = [] if pending is None else [pending]
        # Bursts are for a player that nobody steers: here it is event by event.
        self._source = chain(came, self._source) if self._source is not None else singly(chain(came, rest))
        self._player.go_on(self._steered())

    def _steered(self) -> Iterator[Timed[Any]]:
        while True:
            if self._allowed <= 0:
                self._gates.shut(self._gate)
                yield 0.0, Hold(self._gate), NOWHERE
                continue
            assert self._source is not None, "somebody steers"
            timed = next(self._source, None)
            if timed is None:
                return
            gap, item, origin = timed
            if isinstance(item, Control):
                yield (0.0 if isinstance(item, Ending) and self._rush else gap), item, origin
                continue
            if self._rush:
                self._rush -= 1
                gap = 0.0
            self._allowed -= 1
            yield gap, item, origin

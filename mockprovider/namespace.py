"""One namespace: the rules, counters, gates and exchanges that one test, or one user, has for itself."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from mockprovider.exchange import Journal
from mockprovider.gates import Gates
from mockprovider.player import Player
from mockprovider.scenario import Scenario

__all__ = ["Namespace"]

_BODIES = 65_536
"""How many different bodies a namespace remembers; the count of one not seen for that long begins anew."""


class Namespace:
    """The state of one namespace. To be used on the server's loop."""

    def __init__(self, id: str, scenario: Scenario, journal: Journal) -> None:
        self.id = id
        self.scenario = scenario
        self.journal = journal
        self.gates = Gates()
        self.players: set[Player] = set()
        self.errors: list[str] = []
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def recognise(self, body: bytes) -> tuple[bytes, int]:
        """The body's digest, and how many requests with this body came before."""
        digest = blake2b(body, digest_size=16).digest()
        ordinal = self._seen.pop(digest, 0)
        self._seen[digest] = ordinal + 1
        if len(self._seen) > _BODIES:
            self._seen.popitem(last=False)
        return digest, ordinal

    def reset(self) -> None:
        """Forget everything and end what is still running: as if it were opened anew."""
        self.stop()
        self.scenario.clear()
        self.scenario.unmatched.clear()
        self.journal.clear()
        self.errors.clear()
        self.gates = Gates()
        self._seen.clear()

    def stop(self) -> None:
        """End the streams that are still open."""
        for player in tuple(self.players):
            player.stop()

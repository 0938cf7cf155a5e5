"""One namespace: the rules, counters, gates and exchanges that one test, or one user, has for itself."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from mockprovider.exchange import Journal
from mockprovider.faults.base import Fault
from mockprovider.gates import Gates
from mockprovider.levers import UNTOUCHED
from mockprovider.limits import Limiter, Limits
from mockprovider.player import Player
from mockprovider.replay.library import Deck
from mockprovider.scenario import Scenario
from mockprovider.wire import TransferEncoder

__all__ = ["Namespace"]

_BODIES = 65_536
"""How many different bodies a namespace remembers; the count of one not seen for that long begins anew."""

_LIMITERS = 1024
"""How many different limits a namespace counts at once; faults in URLs may ask for any number of them."""

_ERRORS = 1000
"""How many errors a namespace keeps: a server that runs for weeks must not grow with them."""


class Namespace:
    """The state of one namespace. To be used on the server's loop.

    playing: the streams under way, by exchange, each with its transfer encoder; steerings: how some of them are
    steered; levers: what was set by hand; errors: what went wrong on the server's side, newest last; closed: True once
    its test or user is done with it; deck: the recordings that answer here, if any.
    """

    def __init__(self, id: str, scenario: Scenario, journal: Journal) -> None:
        self.id = id
        self.scenario = scenario
        self.journal = journal
        self.gates = Gates()
        self.playing: dict[int, tuple[Player, TransferEncoder]] = {}
        self.steerings: dict[int, Any] = {}
        self.levers = UNTOUCHED
        self.errors: deque[str] = deque(maxlen=_ERRORS)
        self.closed = False
        self.deck: Deck | None = None
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._attempts: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._limiters: OrderedDict[tuple[str, Limits], Limiter] = OrderedDict()

    def recognise(self, body: bytes, identity: bytes = b"") -> tuple[bytes, int]:
        """The body's digest, and how many requests with this body came before.

        identity: what makes requests with the same body different ones.
        """
        digest = blake2b(body, digest_size=16, key=identity and blake2b(identity).digest()).digest()
        return digest, self.again(digest)

    def again(self, digest: bytes) -> int:
        """How many requests with this digest came before; this is one more."""
        ordinal = self._seen.pop(digest, 0)
        self._seen[digest] = ordinal + 1
        if len(self._seen) > _BODIES:
            self._seen.popitem(last=False)
        return ordinal

    @property
    def untouched(self) -> bool:
        """Whether nothing is set here that an answer could depend on: no rule, gate, recording or lever."""
        return self.levers is UNTOUCHED and self.deck is None and not self.scenario.rules and not self.gates.positions()

    def attempt(self, chain: str, faults: Sequence[Fault], digest: bytes) -> int:
        """Which attempt of the same request this is, 1 for the first, as far as these faults are concerned.

        Counting begins anew after an attempt that none of the faults that name attempts is for: the fault is over,
        so the next request is a new one and not its retry.
        """
        limited = [fault.attempt for fault in faults if fault.attempt is not None]
        if not limited:
            return 1
        key = (chain, digest)
        attempt = self._attempts.pop(key, 0) + 1
        if any(attempt in span for span in limited):
            self._attempts[key] = attempt
            if len(self._attempts) > _BODIES:
                self._attempts.popitem(last=False)
        return attempt

    def limiter(self, owner: str, limits: Limits, now: float) -> Limiter:
        """The buckets of these limits, one set for each owner; full when they are first asked for."""
        key = (owner, limits)
        made = self._limiters.pop(key, None) or Limiter(limits, now)
        self._limiters[key] = made
        if len(self._limiters) > _LIMITERS:
            self._limiters.popitem(last=False)
        return made

    def reset(self) -> None:
        """Forget everything and end what is still running: as if it were opened anew."""
        self.stop()
        self.scenario.reset()
        self.journal.clear()
        self.errors.clear()
        self.gates = Gates()
        self.levers = UNTOUCHED
        self._seen.clear()
        self._attempts.clear()
        self._limiters.clear()
        if self.deck is not None:
            self.deck.reset()

    def stop(self) -> None:
        """End the streams that are still open."""
        for player, _ in tuple(self.playing.values()):
            player.stop()

    def close(self) -> None:
        """End its streams for good: requests whose body is still on its way get no answer from it any more."""
        self.closed = True
        self.stop()

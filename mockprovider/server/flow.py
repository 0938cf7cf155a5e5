"""An upstream's answer while it comes: written down, and performed by the player, with faults laid over it.

It is a source that has nothing to say while nothing has arrived. There it yields a Hold, and is itself the gate at
which the player waits. What arrives is due when it arrives, and so much later as faults have put it off: a wait shifts
no deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from mockprovider.gates import Gates
from mockprovider.recording import RecordedHead
from mockprovider.replay.living import Living
from mockprovider.replay.reel import keeps
from mockprovider.server.upstream import Arrival, Live, UpstreamConnection
from mockprovider.timeline import NOWHERE, Close, End, Ending, Hold, Reset, Timed
from mockprovider.wire import Write

__all__ = ["Flow", "NoTape", "Taping"]

_ARRIVAL = "arrival"
"""The name of the gate that opens when something arrives."""

_AHEAD = 1 << 20
"""Bytes that have arrived and wait for the client; more are left in the upstream's connection."""


class Taping(Protocol):
    """Where an exchange is written down; see `tape.Tape`."""

    @property
    def whole(self) -> bool:
        """Whether all of it was, to the response's own end."""

    def sent(self, data: bytes) -> None:
        """More of the request's body was sent."""

    def sent_all(self) -> None:
        """The request is complete."""

    def came(self, gap: float, arrival: Arrival, *, complete: bool) -> None:
        """A read of the response."""

    def end(self, kind: str, gap: float) -> None:
        """How it ended."""

    def stop(self) -> None:
        """It is not followed to its end."""


class NoTape:
    """Nothing is written down."""

    whole = False

    def sent(self, data: bytes) -> None:
        """Nothing."""

    def sent_all(self) -> None:
        """Nothing."""

    def came(self, gap: float, arrival: Arrival, *, complete: bool) -> None:
        """Nothing."""

    def end(self, kind: str, gap: float) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class Flow(Gates):
    """The answer as actions, and the gate at which the player waits for more of it.

    started: when the request came, on the loop's clock; method: the request's. Where a fault ends the exchange, the
    upstream is left, and that is what is written down.
    """

    def __init__(
        self, connection: UpstreamConnection, live: Live, tape: Taping, *, started: float, method: str
    ) -> None:
        super().__init__()
        self._connection = connection
        self._live = live
        self._tape = tape
        self._method = method
        self._started = self._deadline = started
        self._loop = asyncio.get_running_loop()
        self._came: deque[tuple[float, bytes]] = deque()
        self._ahead = 0
        self._room = asyncio.Event()
        self._ending: Ending | None = None
        self._ended_at = started
        self._living: Living | None = None
        self._resume: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begun = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    @property
    def head(self) -> RecordedHead | None:
        """The upstream's final head, once it has come."""
        return self._live.lifter.head

    @property
    def keeps(self) -> bool:
        """Whether the client's connection can carry another request, now that the message is complete."""
        living = self._living
        return keeps(self.head, "end", self._method) and (living is None or living.keeps)

    async def begin(self, request: bytes) -> None:
        """Send the request, and wait until something of the answer, or its end, is there."""
        try:
            await self._connection.write(request)
            self._tape.sent_all()
            self._live.asked(self._loop.time())
            self._pump = asyncio.create_task(self._pumped())
            await self._begun.wait()
        except asyncio.CancelledError:
            self.finish("client-left")
            raise

    async def _pumped(self) -> None:
        async for arrival in self._live.arrivals():
            # On the disk before anything of it is forwarded.
            self._tape.came(arrival.gap, arrival, complete=self._live.lifter.complete)
            self._came.append((self._loop.time(), arrival.wire))
            self._ahead += len(arrival.wire)
            self._wake()
            while self._ahead > _AHEAD:
                self._room.clear()
                await self._room.wait()
        how = self._live.ending or "close"
        self._tape.end(how, self._live.ending_gap)
        self._connection.abort()
        # Silence until the network gave up is passed on as RST: nothing better can be said.
        self._ending = End() if how == "end" else Close() if how == "close" else Reset()
        self._ended_at = self._loop.time()
        self._wake()

    def _wake(self) -> None:
        self._begun.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        resume, self._resume = self._resume, None
        if resume is not None:
            self._deadline = self._loop.time()  # the player counts from here
            resume()

    # ------------------------------------------------------------------------------------------ what is performed

    def played(self, living: Living | None) -> Iterator[Timed[Any]]:
        """What has come, and what will. living: the faults laid over it, if any."""
        self._living = living
        due = self._started
        for gap, item, origin in self._made(living):
            if isinstance(item, Hold):
                yield gap, item, origin
                continue
            due += gap
            # Where the player has waited, its deadline is when that was over; the item's own is what it was.
            ahead = max(0.0, due - self._deadline)
            self._deadline += ahead
            yield ahead, item, origin

    def _made(self, living: Living | None) -> Iterator[Timed[Any]]:
        last = self._started
        while living is None or not living.ended:
            if self._came:
                time, wire = self._came.popleft()
                self._ahead -= len(wire)
                self._room.set()
                gap, last = max(0.0, time - last), max(time, last)
                if living is None:
                    yield gap, Write(wire, 0.0), NOWHERE
                else:
                    yield from living.read(gap, wire)
            elif self._ending is not None:
                gap = max(0.0, self._ended_at - last)
                if living is None:
                    yield gap, self._ending, NOWHERE
                else:
                    yield from living.end(gap, self._ending)
                return
            elif living is not None and living.quiet is not None and living.quiet <= self._loop.time():
                yield from living.silence()
            else:
                yield 0.0, Hold(_ARRIVAL), NOWHERE

    def wait(self, gate: str, resume: Callable[[], None]) -> bool:
        """Call `resume` when something arrives, or is due although nothing does; False if something has."""
        if gate != _ARRIVAL:
            return super().wait(gate, resume)
        if self._came or self._ending is not None:
            return False
        self._resume = resume
        quiet = self._living.quiet if self._living is not None else None
        if quiet is not None:
            self._timer = self._loop.call_at(quiet, self._wake)
        return True

    def leave(self, gate: str, resume: Callable[[], None]) -> None:
        """Wait no longer."""
        if gate != _ARRIVAL:
            super().leave(gate, resume)
            return
        self._resume = None

    def finish(self, outcome: str | None) -> None:
        """The exchange has ended so, for the client."""
        self._resume = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
        if self._ending is None:
            if outcome == "stopped":
                self._tape.stop()
            else:
                self._tape.end("client-left", self._live.since(self._loop.time()))
            self._connection.abort()

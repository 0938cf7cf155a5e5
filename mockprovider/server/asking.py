"""What no recording answers, asked of an upstream: recorded while it comes, and performed by the player as it comes.

A live reply is a source that has nothing to say while nothing has arrived. There it yields a Hold, and is itself the
gate at which the player waits; what arrives is due when it arrives, or so much later as a fault has put off what came
before it. So a fault of writes and bytes, of which no stage holds anything back, acts on a live reply as on any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mockprovider.errors import RequestError, SettingError, UnavailableError
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Level
from mockprovider.gates import Gates
from mockprovider.namespace import Namespace
from mockprovider.recording import RecordedRequest, load
from mockprovider.redaction import Redactor
from mockprovider.replay.library import Deck, Query, Recordings
from mockprovider.replay.reel import keeps
from mockprovider.server.recorder import with_key
from mockprovider.server.tape import Shelf, Tape
from mockprovider.server.turn import Turn
from mockprovider.server.upstream import Live, Upstream, UpstreamConnection
from mockprovider.timeline import NOWHERE, Close, End, Ending, Hold, Reset, Timed, run
from mockprovider.wire import Write

__all__ = ["LiveReply", "ask"]

logger = logging.getLogger("mockprovider")

_ARRIVAL = "arrival"
"""The name of the gate that opens when something arrives."""

_AHEAD = 1 << 20
"""Bytes that have arrived and wait for the client; more are left in the upstream's connection."""

_OWN = frozenset(
    ("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
     "proxy-connection", "te", "transfer-encoding", "upgrade")
)  # fmt: skip
"""Request headers that belong to one connection (RFC 9110 section 7.6.1), or that are said anew here."""

_OURS = "x-mockprovider-"


async def ask(turn: Turn, namespace: Namespace, deck: Deck, query: Query) -> LiveReply:
    """Ask the upstream, and begin to record. RequestError where it cannot be reached, or must not be."""
    settings, request = deck.settings, turn.request
    assert settings.upstream is not None, "such modes have one"
    key = _key(turn, settings)
    upstream = Upstream.parse(settings.upstream)
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
    target = f"{turn.exchange.path}?{turn.exchange.query}" if turn.exchange.query else turn.exchange.path
    try:
        connection = await upstream.connect()
    except UnavailableError as error:
        message = f"the upstream {upstream} cannot be reached: {error}"
        raise RequestError(502, message, kind="server", code="upstream_unreachable") from error
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{settings.folder}: {error.strerror}") from error
    redactor = Redactor(settings.rules, [key] if key else []).knowing(pairs, target)
    asked = RecordedRequest(request.method, target, tuple(pairs))
    tape = Tape(asked, redactor, Shelf(settings.folder), _Failures(namespace))
    live = Live(connection, bodyless=request.method == "HEAD")
    body = turn.exchange.body
    tape.sent(body)
    kept = [(name, value) for name, value in pairs if name.lower() not in _OWN and not name.lower().startswith(_OURS)]
    if key is not None:
        kept, target = with_key(kept, target, key)
    lines = [f"{request.method} {upstream.prefix}{target} HTTP/1.1", f"Host: {upstream.authority}"]
    lines += [f"{name}: {value}" for name, value in kept]
    lines.append("Accept-Encoding: identity")
    if body or request.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    reply = LiveReply(turn, deck, query, connection, live, tape)
    await reply.begin(head + body)
    return reply


def _key(turn: Turn, settings: Recordings) -> str | None:
    """The key for the upstream, if it is not the client's own. A page of another site must not spend it."""
    if settings.key_env is None:
        return None
    origin = turn.exchange.headers.get("Origin")
    if origin is not None and urlsplit(origin).hostname not in ("localhost", "127.0.0.1", "::1"):
        raise RequestError(403, f"a page of {origin} may not spend the key of this server", code="foreign_origin")
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise SettingError(f"the environment has no variable {settings.key_env}, or it is empty")
    return key


class _Failures:
    """A recording that stays incomplete fails the test, or shows in the namespace; the client has its reply."""

    def __init__(self, namespace: Namespace) -> None:
        self._errors = namespace.errors

    def failed(self, path: Path | None, reason: str) -> None:
        """Note it."""
        message = f"{path} is incomplete: {reason}" if path is not None else f"nothing was recorded: {reason}"
        self._errors.append(message)
        logger.error("%s", message)


class LiveReply(Gates):
    """What the upstream answers, as actions; and the gate at which the player waits for more of it."""

    def __init__(
        self, turn: Turn, deck: Deck, query: Query, connection: UpstreamConnection, live: Live, tape: Tape
    ) -> None:
        super().__init__()
        self._turn = turn
        self._deck = deck
        self._query = query
        self._connection = connection
        self._live = live
        self._tape = tape
        self._loop = asyncio.get_running_loop()
        self._came: deque[tuple[float, bytes, int]] = deque()  # when, what, and how much of it is head
        self._ahead = 0
        self._room = asyncio.Event()
        self._ending: Ending | None = None
        self._resume: Callable[[], None] | None = None
        self._begun = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

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
            head_ends = max((span.end for span in arrival.lifted.spans if span.kind == "head"), default=0)
            self._came.append((self._loop.time(), arrival.wire, head_ends))
            self._ahead += len(arrival.wire)
            self._wake()
            while self._ahead > _AHEAD:
                self._room.clear()
                await self._room.wait()
        how = self._live.ending or "close"
        self._tape.end(how, self._live.ending_gap)
        self._connection.abort()
        head = self._live.lifter.head
        self._turn.exchange.status = None if head is None else head.status
        self._turn.transfer.keeps = self._turn.transfer.keeps and keeps(head, how, self._turn.request.method)
        # Silence until the network gave up is passed on as the recorder does: nothing better can be said.
        self._ending = End() if how == "end" else Close() if how == "close" else Reset()
        self._wake()

    def _wake(self) -> None:
        self._begun.set()
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    def actions(self, faults: Applied) -> Iterator[Timed[Any]]:
        """What has come, and what will. SettingError where a fault cannot be done to it."""
        stages = faults.stages(Level.SOCKET)
        return run(self._actions(self._turn.exchange.started, divided=bool(stages)), stages)

    def _actions(self, last: float, *, divided: bool) -> Iterator[Timed[Any]]:
        waited = False
        while self._came or self._ending is None:
            if not self._came:
                yield 0.0, Hold(_ARRIVAL), NOWHERE
                waited = True
                continue
            time, wire, head = self._came.popleft()
            self._ahead -= len(wire)
            self._room.set()
            # Where the player has waited for it, it is due now; else so long after the one before as it came after it.
            gap = 0.0 if waited else max(0.0, time - last)
            waited, last = False, time
            if divided and 0 < head < len(wire):
                # Faults count what comes after the head. Two that are due together and may be joined leave as one.
                yield gap, wire[:head], NOWHERE
                yield 0.0, wire[head:], NOWHERE
            else:
                yield gap, Write(wire, 0.0), NOWHERE
        yield 0.0, self._ending, NOWHERE

    def wait(self, gate: str, resume: Callable[[], None]) -> bool:
        """Call `resume` when something arrives; False if something has."""
        if self._came or self._ending is not None:
            return False
        self._resume = resume
        return True

    def leave(self, gate: str, resume: Callable[[], None]) -> None:
        """Wait no longer."""
        self._resume = None

    def finish(self, outcome: str | None) -> None:
        """The exchange has ended so; what was recorded takes its place among the recordings."""
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
        if self._ending is None:
            if outcome == "stopped":
                self._tape.stop()
            else:
                self._tape.end("client-left", self._live.since(self._loop.time()))
            self._connection.abort()
        if self._tape.path is not None and self._tape.whole:
            self._turn.exchange.recording = self._tape.path.stem
            with contextlib.suppress(OSError):
                self._deck.recorded(load(self._tape.path), self._query)

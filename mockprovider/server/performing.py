"""A timeline is performed for a request, and what came of it is noted: outcome, lateness, counters, journal.

Replies are written to the transport directly, head included, because only so are status line, chunk framing and ending
ours to decide; aiohttp is told afterwards that nothing is left to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mockprovider.player import Player
from mockprovider.server.haste import hastened
from mockprovider.server.protocol import Protocol
from mockprovider.timeline import NOWHERE, End, Timed

if TYPE_CHECKING:
    from aiohttp.base_protocol import BaseProtocol

    from mockprovider.exchange import Exchange
    from mockprovider.namespace import Namespace
    from mockprovider.server.handler import Handler
    from mockprovider.server.turn import Turn

__all__ = ["Performer", "Written"]

logger = logging.getLogger("mockprovider")

_WARN_EVERY = 10.0
"""Seconds between two warnings of lateness."""


class Written(web.StreamResponse):
    """Tells aiohttp that the response has been written, and whether the connection may be kept.

    It is asked for nothing else, so the two there are serve every request.
    """

    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self._keep_alive = keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


_KEEP, _DROP = Written(keep=True), Written(keep=False)


class Performer:
    """Performs what the handler answers."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._warned = -math.inf

    async def perform(self, turn: Turn, timeline: Iterator[Timed[Any]]) -> web.StreamResponse:
        """Perform the answer to a request that aiohttp has handed on. It is noted however it ends."""
        request = turn.request
        transport, protocol = request.transport, request.protocol
        if transport is None:
            self.left(turn)
            return _DROP
        own = protocol if isinstance(protocol, Protocol) else None  # else somebody else runs the server
        if turn.whole is not None and own is not None and self.write_whole(turn, own):
            return _KEEP if turn.whole[1] else _DROP
        player = self._player(turn, timeline, transport, protocol)
        try:
            await player.play(request.writer.drain)
        except Exception:
            if player.error is None:
                raise
        finally:
            if own is not None:
                own.player = None
            self._played(turn, player)
        return _KEEP if self._keeps(turn) else _DROP

    def begin(self, turn: Turn, timeline: Iterator[Timed[Any]], connection: Protocol) -> None:
        """Perform the answer to a request that aiohttp knows nothing of. It is noted however it ends."""
        self._handler.active += 1
        transport = connection.transport
        assert transport is not None, "the request has just been read from it"

        def ended() -> None:
            self._handler.active -= 1
            self._played(turn, player)
            connection.answered(keeps=self._keeps(turn))

        player = self._player(turn, timeline, transport, connection)
        player.begin(ended)

    def _keeps(self, turn: Turn) -> bool:
        return turn.transfer.keeps and turn.exchange.outcome == "complete"

    def write_whole(self, turn: Turn, connection: Protocol) -> bool:
        """Write a whole response, if the client takes it at once; the exchange has then ended.

        Else what it has not taken is the turn's whole response.
        """
        assert turn.whole is not None, "asked before"
        data, keeps = turn.whole
        left = self.write(turn.exchange, turn.namespace, data, connection)
        turn.whole = left, keeps
        return not left

    def write(self, exchange: Exchange, namespace: Namespace | None, data: bytes, connection: Protocol) -> bytes:
        """Write a whole response, as far as the client takes it at once; returns what is left, which is to be played.

        Where nothing is left, the exchange has ended.
        """
        transport = connection.transport
        if transport is None or transport.is_closing() or connection.descriptor < 0 or connection.writing_paused:
            return data
        log, now = exchange.sent, self._handler.running.now
        log.excused = now()
        try:
            sent = os.write(connection.descriptor, data)
        except OSError:
            return data  # a player will find the reason
        if sent < len(data):
            if sent:
                log.add(exchange.started, now(), data[:sent])
            return data[sent:]
        log.add(exchange.started, now(), data)
        exchange.outcome, exchange.ended = "complete", log.last
        log.settle()
        self._note(exchange, namespace)
        return b""

    def _player(
        self, turn: Turn, timeline: Iterator[Timed[Any]], transport: asyncio.Transport, protocol: BaseProtocol
    ) -> Player:
        """One that has not begun; the connection, if the server is ours, knows it."""
        exchange, handler = turn.exchange, self._handler
        scheduler = handler.running
        exchange.sent.excused = scheduler.now()  # reading and understanding a large request takes its time
        if turn.whole is not None:
            data, turn.transfer.keeps = turn.whole
            timeline = iter(((0.0, data, NOWHERE), (0.0, End(), NOWHERE)))
        elif handler.settings.speed != 1:
            timeline = hastened(timeline, handler.settings.speed)
        owner = turn.namespace or handler.default
        gates = owner.gates if turn.live is None else turn.live
        descriptor = protocol.descriptor if isinstance(protocol, Protocol) else -1
        player = Player(timeline, transport, protocol, scheduler, exchange.sent, gates, exchange.started, descriptor)
        if isinstance(protocol, Protocol):
            protocol.player = player
        owner.playing[exchange.id] = player, turn.transfer
        owner.journal.weigh(exchange)
        handler.metrics.began(exchange.sent)
        return player

    def _played(self, turn: Turn, player: Player) -> None:
        """The player has ended."""
        exchange, owner = turn.exchange, turn.namespace or self._handler.default
        del owner.playing[exchange.id]
        owner.steerings.pop(exchange.id, None)
        if player.error is not None:
            # Rendering failed midway: the head is out, so ending the connection is all that can be said.
            logger.error("streaming %r", exchange, exc_info=player.error)
            exchange.error = f"{type(player.error).__name__}: {player.error}"
            owner.errors.append(f"{exchange!r}: {exchange.error}")
        exchange.outcome = player.outcome
        if turn.live is not None:
            turn.live.finish(player.outcome)
        exchange.ended = self._handler.running.now()
        self._handler.metrics.ended(exchange.sent)
        self._note(exchange, turn.namespace)

    def _note(self, exchange: Exchange, namespace: Namespace | None) -> None:
        """Count the exchange, and say so when this machine was too slow for the times that were promised."""
        sent, bound = exchange.sent, self._handler.settings.late_warning
        exchange.late = sent.worst > bound
        self._handler.metrics.count(exchange.outcome or "failed", exchange.status, sent.blocked, late=exchange.late)
        if exchange.late and sent.last > self._warned + _WARN_EVERY:
            self._warned = sent.last
            logger.warning(
                "%r was up to %.0f ms behind its times (the bound is %.0f ms): this machine is too slow for its load,"
                " so do not blame the client; the worst of all is in /_mock/metrics",
                exchange,
                sent.worst * 1000,
                bound * 1000,
            )
        self._over(exchange, namespace)

    def left(self, turn: Turn) -> None:
        """The client has left, or was cut off, before anything was sent."""
        exchange = turn.exchange
        exchange.outcome = "stopped" if self._handler.stopped else "client-left"
        exchange.ended = self._handler.running.now()
        if turn.live is not None:
            turn.live.finish(exchange.outcome)
        self._over(exchange, turn.namespace)

    def _over(self, exchange: Exchange, namespace: Namespace | None) -> None:
        """The exchange has ended: tell whoever waits for that."""
        if namespace is not None:
            namespace.journal.weigh(exchange)
            namespace.journal.changed()
        if self._handler.ended is not None:
            self._handler.ended(exchange)

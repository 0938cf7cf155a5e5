"""A timeline is performed for a request, and what came of it is noted: outcome, lateness, counters, journal.

Replies are written to the transport directly, head included, because only so are status line, chunk framing and ending
ours to decide; aiohttp is told afterwards that nothing is left to do.
"""

from __future__ import annotations

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
    from mockprovider.scheduler import LoopScheduler
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

    async def perform(self, turn: Turn, timeline: Iterator[Timed[Any]], scheduler: LoopScheduler) -> web.StreamResponse:
        """Perform the answer. It is noted however it ends."""
        request, exchange = turn.request, turn.exchange
        transport, protocol = request.transport, request.protocol
        if transport is None:
            exchange.outcome = "client-left"
            if turn.live is not None:
                turn.live.finish("client-left")
            self.over(turn)
            return _DROP
        own = protocol if isinstance(protocol, Protocol) else None  # else somebody else runs the server
        exchange.sent.excused = scheduler.now()  # reading and understanding a large request takes its time
        if turn.whole is not None:
            data, keeps = turn.whole
            sent = 0
            descriptor = -1 if own is None else own.descriptor
            if descriptor >= 0 and not protocol.writing_paused and not transport.is_closing():
                sent = self._write(turn, data, descriptor, scheduler)
            if sent == len(data):
                exchange.outcome, exchange.ended = "complete", exchange.sent.last
                exchange.sent.settle()
                self._note(turn)
                return _KEEP if keeps else _DROP
            turn.transfer.keeps = keeps
            timeline = iter(((0.0, data[sent:], NOWHERE), (0.0, End(), NOWHERE)))
        await self._play(turn, timeline, scheduler, transport, own)
        return _KEEP if turn.transfer.keeps and exchange.outcome == "complete" else _DROP

    def _write(self, turn: Turn, data: bytes, descriptor: int, scheduler: LoopScheduler) -> int:
        """Write a whole response, as far as the client takes it at once; returns how many bytes that are."""
        try:
            sent = os.write(descriptor, data)
        except OSError:
            return 0  # a player will find the reason
        if sent:
            turn.exchange.sent.add(turn.exchange.started, scheduler.now(), data if sent == len(data) else data[:sent])
        return sent

    async def _play(
        self, turn: Turn, timeline: Iterator[Timed[Any]], scheduler: LoopScheduler, transport: Any, own: Protocol | None
    ) -> None:
        exchange, request, metrics = turn.exchange, turn.request, self._handler.metrics
        owner = turn.namespace or self._handler.default
        if self._handler.settings.speed != 1:
            timeline = hastened(timeline, self._handler.settings.speed)
        gates = owner.gates if turn.live is None else turn.live
        descriptor = -1 if own is None else own.descriptor
        player = Player(
            timeline, transport, request.protocol, scheduler, exchange.sent, gates, exchange.started, descriptor
        )
        if own is not None:
            own.player = player
        owner.playing[exchange.id] = player, turn.transfer
        metrics.began(exchange.sent)
        try:
            await player.play(request.writer.drain)
        except Exception as error:
            # Rendering failed midway: the head is out, so ending the connection is all that can be said.
            logger.exception("streaming %r", exchange)
            exchange.error = f"{type(error).__name__}: {error}"
            owner.errors.append(f"{exchange!r}: {exchange.error}")
        finally:
            if own is not None:
                own.player = None
            del owner.playing[exchange.id]
            owner.steerings.pop(exchange.id, None)
            exchange.outcome = player.outcome
            if turn.live is not None:
                turn.live.finish(player.outcome)
            exchange.ended = scheduler.now()
            metrics.ended(exchange.sent)
            self._note(turn)

    def _note(self, turn: Turn) -> None:
        """Count the exchange, and say so when this machine was too slow for the times that were promised."""
        exchange = turn.exchange
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
        self.over(turn)

    def over(self, turn: Turn) -> None:
        """The exchange has ended: tell whoever waits for that."""
        if turn.namespace is not None:
            turn.namespace.journal.weigh(turn.exchange)
            turn.namespace.journal.changed()
        if self._handler.ended is not None:
            self._handler.ended(turn.exchange)

"""What happens on the server, for somebody who watches: an endless stream of server-sent events.

The journal is looked at ten times a second, and what has changed is told. So a viewer costs the streams nothing, a
thousand requests come as a few events, and a viewer that is slow misses intermediate states but never the last.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from mockprovider.exchange import Exchange
from mockprovider.framing.sse import ServerSentEvent
from mockprovider.jsontext import dumps
from mockprovider.namespace import Namespace

__all__ = ["readable", "stream", "summary"]

_LOOK = 0.1
"""Seconds between two looks."""

_ALIVE = 10.0
"""Seconds without news after which a comment says that the connection is alive."""

_WRITES = 400
"""Writes of the watched exchange that one event tells of at most."""

_PROMPT = 300
"""Characters of a prompt that a summary shows."""

States = Callable[[], dict[str, Any]]


async def stream(
    request: web.BaseRequest, headers: dict[str, str], namespace: Namespace, watched: int | None, states: States
) -> web.StreamResponse:
    """Tell the viewer what changes until it leaves, or the namespace is closed.

    watched: the exchange whose writes are told, too; states: further things that are told when they change, by the name
    of the event.
    """
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    view = _View(namespace, watched, states)
    quiet = 0.0
    while not namespace.closed:
        news = b"".join(ServerSentEvent(dumps(data), event=event).encode() for event, data in view.news())
        quiet = 0.0 if news else quiet + _LOOK
        if quiet >= _ALIVE:
            news, quiet = ServerSentEvent(comment="alive").encode(), 0.0
        if news:
            await response.write(news)
        await asyncio.sleep(_LOOK)
    return response


def summary(exchange: Exchange, *, held: bool = False) -> dict[str, Any]:
    """An exchange in short. seconds: so far, or in all; ttft: until the first write after the head was due."""
    ask, sent = exchange.ask, exchange.sent
    said = ask.messages[-1][1] if ask is not None and ask.messages else ""
    return {
        "id": exchange.id,
        "method": exchange.method,
        "path": exchange.path,
        "received": exchange.wall,
        "dialect": exchange.dialect,
        "model": None if ask is None else ask.model,
        "stream": ask is not None and ask.stream,
        "prompt": said[:_PROMPT],
        "status": exchange.status,
        "outcome": exchange.outcome,
        "held": held,
        "rule": exchange.rule,
        "faults": exchange.faults,
        "recording": exchange.recording,
        "error": exchange.error,
        "late": exchange.late,
        "seconds": None if exchange.ended is None else exchange.ended - exchange.started,
        "writes": sent.writes,
        "bytes": sent.bytes,
        "worst_lateness": sent.worst,
        "blocked": sent.blocked,
    }


class _View:
    """What one viewer knows."""

    def __init__(self, namespace: Namespace, watched: int | None, states: States) -> None:
        self._namespace = namespace
        self._watched = watched
        self._states = states
        self._told: dict[str, Any] = {}
        self._known: dict[int, tuple[object, ...]] = {}
        self._writes = 0

    def news(self) -> Iterator[tuple[str, Any]]:
        """The events that are due."""
        for name, state in self._states().items():
            if self._told.get(name) != state:
                self._told[name] = state
                yield name, state
        changed: list[dict[str, Any]] = []
        present: dict[int, tuple[object, ...]] = {}
        for exchange in self._namespace.journal:
            held = self._held(exchange)
            state = (exchange.status, exchange.outcome, exchange.sent.writes, exchange.ask is None, held)
            present[exchange.id] = state
            if self._known.get(exchange.id) != state:
                changed.append(summary(exchange, held=held))
            if exchange.id == self._watched:
                yield from self._new_writes(exchange)
        gone = [id for id in self._known if id not in present]
        self._known = present
        if changed or gone:
            yield "exchanges", {"changed": changed, "gone": gone, "dropped": self._namespace.journal.dropped}

    def _held(self, exchange: Exchange) -> bool:
        steering = self._namespace.steerings.get(exchange.id)
        return steering is not None and steering.held

    def _new_writes(self, exchange: Exchange) -> Iterator[tuple[str, Any]]:
        """What was written since the last look, as far as the journal keeps it."""
        sent = exchange.sent
        while self._writes < len(sent.times):
            first, last = self._writes, min(self._writes + _WRITES, len(sent.times))
            self._writes = last
            data = sent.data
            writes = [
                {
                    "time": sent.times[index] - exchange.started,
                    "deadline": sent.deadlines[index] - exchange.started,
                    "size": sent.sizes[index],
                    **(readable(data[index]) if index < len(data) else {}),
                }
                for index in range(first, last)
            ]
            yield "writes", {"exchange": exchange.id, "first": first, "writes": writes}


def readable(data: bytes) -> dict[str, str]:
    """The bytes as text where they are UTF-8, else in base64."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}

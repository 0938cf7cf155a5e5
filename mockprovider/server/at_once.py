"""Requests that came whole in one read: they are answered there and then, without a task.

Of these, one that has come before, byte for byte, is known by heart where nothing in its namespace was set since: what
was understood of it and decided for it the first time holds again, and only ids and stamps are filled in. A test proves
that it is answered, and written down, as it is the long way.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http import RawRequestMessage

from mockprovider.dialects.base import Ask
from mockprovider.memo import Kept
from mockprovider.namespace import Namespace
from mockprovider.reply import Reply
from mockprovider.server.turn import Located, Turn, date, locate

if TYPE_CHECKING:
    from mockprovider.server.handler import Handler
    from mockprovider.server.protocol import Protocol

__all__ = ["AtOnce"]

T = TypeVar("T")

_LIMIT = 256
_SIZE = 8 * 1024
"""How many requests are known by heart, the oldest falling out, and how many bytes such a request may have."""


class _Known(NamedTuple):
    """What was understood of a request and decided for it, without anything that could be another time."""

    namespace: Namespace
    located: Located
    body: bytes
    digest: bytes
    dialect: str | None
    faults: str
    ask: Ask
    replies: tuple[Reply, ...]
    kept: Kept


class AtOnce:
    """Answers such requests for a handler; see `protocol.AtOnce` for what a call is given."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._known: dict[bytes, _Known] = {}

    def forget(self, namespace: Namespace | None = None) -> None:
        """Know nothing by heart any more, or nothing that this namespace answered: it is closed."""
        kept = {data: known for data, known in self._known.items() if namespace not in (None, known.namespace)}
        self._known = kept

    def __call__(self, connection: Protocol, message: RawRequestMessage, data: bytes, end: int) -> bool:
        """Answer it; False where it is aiohttp's to hand on."""
        handler = self._handler
        known = self._known.get(data)
        if known is not None and self._holds(known):
            self._again(known, connection, message)
            return True
        located = locate(message.path)
        namespace = handler.namespaces.get(located.id)
        if located.control or located.path == "/" or namespace is None:
            return False
        if namespace.deck is not None and namespace.deck.asks:
            return False  # the upstream has to be waited for
        if len(data) - end > handler.settings.body_limit:
            return False
        exchange = handler.exchange(namespace, located, message.method, message.headers)
        turn = handler.turn(_request(connection, message), exchange, namespace, located)
        turn.body = data[end:]
        timeline = _straight(handler.answer(turn))
        if turn.whole is not None:
            self._learn(data, turn, namespace, located)
            if handler.performer.write_whole(turn, connection):
                connection.answered(keeps=turn.whole[1])
                return True
        handler.performer.begin(turn, timeline, connection)
        return True

    # ------------------------------------------------------------------------------------------ by heart

    def _learn(self, data: bytes, turn: Turn, namespace: Namespace, located: Located) -> None:
        exchange = turn.exchange
        if turn.kept is None or exchange.ask is None or len(data) > _SIZE or not namespace.untouched:
            return
        self._known[data] = _Known(
            namespace,
            located,
            exchange.body,
            turn.digest,
            exchange.dialect,
            exchange.faults,
            exchange.ask,
            exchange.choice_replies,
            turn.kept,
        )
        if len(self._known) > _LIMIT:
            del self._known[next(iter(self._known))]

    def _holds(self, known: _Known) -> bool:
        """Whether what was decided would be decided again."""
        return self._handler.namespaces.get(known.located.id) is known.namespace and known.namespace.untouched

    def _again(self, known: _Known, connection: Protocol, message: RawRequestMessage) -> None:
        handler, namespace, located = self._handler, known.namespace, known.located
        exchange = handler.exchange(namespace, located, message.method, message.headers)
        exchange.body, exchange.dialect, exchange.faults = known.body, known.dialect, known.faults
        exchange.ask, exchange.choice_replies, exchange.status = known.ask, known.replies, 200
        exchange.ordinal = namespace.again(known.digest)
        data = known.kept.fill(handler.voice(exchange, known.digest), date(int(exchange.wall)))
        left = handler.performer.write(exchange, namespace, data, connection)
        if not left:
            connection.requests += 1
            connection.answered(keeps=known.kept.keeps)
            return
        turn = handler.turn(_request(connection, message), exchange, namespace, located)
        turn.whole = left, known.kept.keeps
        handler.performer.begin(turn, iter(()), connection)


def _request(connection: Protocol, message: RawRequestMessage) -> web.BaseRequest:
    """A request with this head. Its body is no part of it, and nothing can be written by it."""
    return web.BaseRequest(message, EMPTY_PAYLOAD, connection, *_NOTHING)


_NOTHING: Any = (None, None, None)
"""In place of aiohttp's writer, task and loop."""


def _straight(coroutine: Coroutine[Any, Any, T]) -> T:
    """What comes of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError(f"{coroutine!r} waits, where nothing may")

"""One request while it is answered: what was asked, and what every response to it carries."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakSet

from aiohttp import HttpVersion11, web

from mockprovider.dialects import TABLE, find
from mockprovider.exchange import Exchange
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking
from mockprovider.wire import TransferEncoder

if TYPE_CHECKING:
    from mockprovider.server.asking import LiveReply

__all__ = ["Turn", "preflight"]

_EXPOSED = ", ".join(
    [
        "x-request-id",
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "retry-after-ms",
        "request-id",
        "anthropic-organization-id",
        *(
            f"anthropic-ratelimit-{of}-{what}"
            for of in ("requests", "tokens", "input-tokens", "output-tokens")
            for what in ("limit", "remaining", "reset")
        ),
        *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
    ]
)
"""Response headers that a page of another origin may read."""

_CORS = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED))


def _readable(origin: str | None, allowed: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
    """What lets a page of that origin read the response; clients that are no browsers do not get it.

    allowed: the only origins (None: any). The answer then depends on who asks, and caches must know.
    """
    if allowed is None:
        return _CORS if origin is not None else ()
    vary = (("Vary", "Origin"),)
    return (("Access-Control-Allow-Origin", origin), _CORS[1], *vary) if origin in allowed and origin else vary


_SERVED: WeakSet[object] = WeakSet()
"""The transports of connections that have carried a request."""


class Turn:
    """What belongs to one request while it is answered.

    match: the endpoint, None where the path has none; chain: the faults in its URL; chunking: how its transfer encoder
    packs; expects: whether the client waits for leave to send its body. If it gets an answer instead, nobody can tell
    whether the body follows, so the connection is not kept.
    """

    __slots__ = (
        "chain",
        "chunking",
        "date",
        "dialect",
        "exchange",
        "expects",
        "flavour",
        "headers",
        "live",
        "match",
        "modern",
        "namespace",
        "request",
        "reused",
        "target",
        "transfer",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        namespace: Namespace | None,
        chunking: Chunking,
        allow_origins: tuple[str, ...] | None = None,
        flavour: str = "",
    ) -> None:
        self.request = request
        self.exchange = exchange
        self.namespace = namespace
        self.flavour = flavour
        self.match = match = find(request.method, exchange.path, request.headers, flavour)
        self.dialect = None if match is None else match.dialect
        self.target = TABLE.target(exchange.path, exchange.query, match)
        self.chain = ""
        self.live: LiveReply | None = None
        # Whether the connection has carried a request before; aiohttp counts too, but keeps it to itself.
        self.reused = request.transport in _SERVED
        if request.transport is not None:
            _SERVED.add(request.transport)
        self.modern = request.version >= HttpVersion11
        self.expects = self.modern and request.headers.get("Expect", "").lower() == "100-continue"
        self.chunking = chunking
        self.transfer = self.new_transfer()
        self.date = _date(int(exchange.wall))
        self.headers = _readable(request.headers.get("Origin"), allow_origins)

    @property
    def dated(self) -> tuple[tuple[str, str], ...]:
        """The headers that every response to the request carries."""
        return (("Date", self.date), *self.headers)

    def new_transfer(self) -> TransferEncoder:
        """A transfer encoder for this request's client."""
        return TransferEncoder(
            self.chunking,
            chunked=self.modern,
            bodyless=self.request.method == "HEAD",
            keep=self.request.keep_alive and not self.expects,
        )


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The Date header's value, RFC 9110 section 6.6.1."""
    return formatdate(second, usegmt=True)


def preflight(turn: Turn, allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The answer to a browser's question before the request (Fetch standard, CORS-preflight fetch)."""
    exchange = turn.exchange
    headers = [
        *((name, value) for name, value in turn.headers or _CORS if name != "Access-Control-Expose-Headers"),
        ("Access-Control-Allow-Methods", ", ".join(allowed)),
        ("Access-Control-Allow-Headers", exchange.headers.get("Access-Control-Request-Headers", "*")),
        ("Access-Control-Max-Age", "600"),
    ]
    if exchange.headers.get("Access-Control-Request-Private-Network") == "true":
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    return tuple(headers)

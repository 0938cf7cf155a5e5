"""One request while it is answered: what was asked, and what every response to it carries."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from aiohttp import HttpVersion11, web

from mockprovider.dialects import FLAVOURS, TABLE, find
from mockprovider.exchange import Exchange
from mockprovider.faults.grammar import from_segment
from mockprovider.memo import Kept
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking
from mockprovider.server.protocol import Protocol
from mockprovider.wire import TransferEncoder

if TYPE_CHECKING:
    from mockprovider.server.asking import LiveReply

__all__ = ["Located", "Turn", "date", "locate", "preflight"]

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
"""The transports of connections that have carried a request, where somebody else runs the server."""


def _reused(request: web.BaseRequest) -> bool:
    """Whether the connection has carried a request before; aiohttp counts too, but keeps it to itself."""
    protocol = request.protocol
    if isinstance(protocol, Protocol):
        protocol.requests += 1
        return protocol.requests > 1
    known = request.transport in _SERVED
    if request.transport is not None:
        _SERVED.add(request.transport)
    return known


class Turn:
    """What belongs to one request while it is answered.

    match: the endpoint, None where the path has none; chain: the faults in its URL; body: of the request, where it came
    with the head; chunking: how its transfer encoder packs; whole: the response, where it is one write, and whether the
    connection may be kept after it; kept and digest: what its bytes come from, and the body's digest; expects: whether
    the client waits for leave to send its body. If it gets an answer instead, nobody can tell whether the body follows,
    so the connection is not kept.
    """

    __slots__ = (
        "_transfer",
        "body",
        "chain",
        "chunking",
        "date",
        "dialect",
        "digest",
        "exchange",
        "expects",
        "flavour",
        "headers",
        "kept",
        "live",
        "match",
        "modern",
        "namespace",
        "request",
        "reused",
        "target",
        "whole",
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
        self.body: bytes | None = None
        self.live: LiveReply | None = None
        self.whole: tuple[bytes, bool] | None = None
        self.kept: Kept | None = None
        self.digest = b""
        self.reused = _reused(request)
        self.modern = request.version >= HttpVersion11
        self.expects = self.modern and request.headers.get("Expect", "").lower() == "100-continue"
        self.chunking = chunking
        self._transfer: TransferEncoder | None = None
        self.date = date(int(exchange.wall))
        self.headers = _readable(request.headers.get("Origin"), allow_origins)

    @property
    def dated(self) -> tuple[tuple[str, str], ...]:
        """The headers that every response to the request carries."""
        return (("Date", self.date), *self.headers)

    @property
    def transfer(self) -> TransferEncoder:
        """The transfer encoder of its response."""
        if self._transfer is None:
            self._transfer = self.new_transfer()
        return self._transfer

    @transfer.setter
    def transfer(self, transfer: TransferEncoder) -> None:
        self._transfer = transfer

    @property
    def client(self) -> tuple[bool, bool, bool]:
        """What depends on the client: whether it knows chunks, asked for the head alone, and keeps the connection."""
        return self.modern, self.request.method == "HEAD", bool(self.request.keep_alive) and not self.expects

    def new_transfer(self) -> TransferEncoder:
        """A transfer encoder for this request's client."""
        chunked, bodyless, keep = self.client
        return TransferEncoder(self.chunking, chunked=chunked, bodyless=bodyless, keep=keep)


@lru_cache(maxsize=1)
def date(second: int) -> str:
    """The Date header's value for a second since the epoch, RFC 9110 section 6.6.1."""
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


class Located(NamedTuple):
    """What a request's target says: namespace, faults and flavour that the path's prefixes name, and what is left.

    control: whether it is for the control API.
    """

    id: str
    chain: str
    flavour: str
    path: str
    query: str
    control: bool


def locate(target: str) -> Located:
    """What the target of a request says."""
    return _located(target) if len(target) <= _SHORT else _located.__wrapped__(target)


@lru_cache(maxsize=1024)
def _located(target: str) -> Located:
    if "://" in target[:8]:  # absolute form, RFC 9112 section 3.2.2
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    id = chain = flavour = ""
    if path.startswith("/~"):
        id, slash, rest = path[2:].partition("/")
        path = slash + rest
    if path.startswith("/with/"):
        segment, slash, rest = path[6:].partition("/")
        chain, path = from_segment(segment), slash + rest
    if path.startswith("/as/"):
        name, slash, rest = path[4:].partition("/")
        if name in FLAVOURS:  # by name alone: a URL opens no files
            flavour, path = name, slash + rest
    control = path.startswith("/_mock") and path[6:7] in ("", "/")
    return Located(id, chain, flavour, path, query, control)


_SHORT = 1024
"""Characters of a target of which the parts are remembered."""

"""One request while it is answered: what was asked, and what every response to it carries."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from weakref import WeakSet

from aiohttp import HttpVersion11, web

from mockprovider.dialects.base import Dialect
from mockprovider.exchange import Exchange
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking
from mockprovider.wire import TransferEncoder

__all__ = ["Turn", "get_methods", "preflight"]

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

_SERVED: WeakSet[object] = WeakSet()
"""The transports of connections that have carried a request."""


class Turn:
    """What belongs to one request while it is answered.

    chain: the faults in its URL; chunking: how its transfer encoder packs; expects: whether the client waits for leave
    to send its body. If it gets an answer instead, nobody can tell whether the body follows, so the connection is not
    kept.
    """

    __slots__ = (
        "chain",
        "chunking",
        "date",
        "dialect",
        "exchange",
        "expects",
        "headers",
        "modern",
        "namespace",
        "request",
        "reused",
        "transfer",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        namespace: Namespace | None,
        dialect: Dialect | None,
        chunking: Chunking,
    ) -> None:
        self.request = request
        self.exchange = exchange
        self.namespace = namespace
        self.dialect = dialect
        self.chain = ""
        # Whether the connection has carried a request before; aiohttp counts too, but keeps it to itself.
        self.reused = request.transport in _SERVED
        if request.transport is not None:
            _SERVED.add(request.transport)
        self.modern = request.version >= HttpVersion11
        self.expects = self.modern and request.headers.get("Expect", "").lower() == "100-continue"
        self.chunking = chunking
        self.transfer = self.new_transfer()
        self.date = _date(int(exchange.wall))
        # What lets a page of another origin read the response; clients that are no browsers do not get it.
        self.headers: tuple[tuple[str, str], ...] = _CORS if "Origin" in request.headers else ()

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


def get_methods(path: str) -> tuple[str, ...]:
    """The methods of a path that is no prompt: those of the list of models, or none."""
    return ("GET", "HEAD") if path == "/v1/models" or path.startswith("/v1/models/") else ()


def preflight(exchange: Exchange, allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The answer to a browser's question before the request (Fetch standard, CORS-preflight fetch)."""
    headers = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", ", ".join(allowed)),
        ("Access-Control-Allow-Headers", exchange.headers.get("Access-Control-Request-Headers", "*")),
        ("Access-Control-Max-Age", "600"),
    ]
    if exchange.headers.get("Access-Control-Request-Private-Network") == "true":
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    return tuple(headers)

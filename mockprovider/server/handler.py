"""What happens to a request: namespace, route, dialect, scenario, render, player. Errors in the provider's shape.

aiohttp accepts connections and parses requests; replies are written to the transport directly, head included, because
only so are status line, chunk framing and ending ours to decide.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import HttpVersion11, web

from mockprovider.dialects import DIALECTS
from mockprovider.dialects.base import Dialect, Voice
from mockprovider.dialects.openai_models import model_list, model_object
from mockprovider.errors import MockProviderError, NoMatchError, RequestError, SettingError
from mockprovider.exchange import Exchange, Journal
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking, Pacing
from mockprovider.player import Player
from mockprovider.render import Framing, message, render
from mockprovider.scenario import Answer, Scenario
from mockprovider.seed import Seed
from mockprovider.settings import Settings
from mockprovider.timeline import Timed
from mockprovider.wire import Head, TransferEncoder

if TYPE_CHECKING:
    from mockprovider.scenario import ScenarioFile
    from mockprovider.scheduler import LoopScheduler
    from mockprovider.server.control import Control

__all__ = ["Handler"]

logger = logging.getLogger("mockprovider")

_ERRORS = DIALECTS[0]
"""Whose shape an error has where the path tells nothing."""

_EXPOSED = ", ".join(
    ("x-request-id", "openai-processing-ms", "openai-version", "retry-after", "retry-after-ms")
    + tuple(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens"))
)
"""Response headers that a page of another origin may read."""


class Written(web.StreamResponse):
    """Tells aiohttp that the response has been written, and whether the connection may be kept."""

    def __init__(self, status: int, *, keep: bool) -> None:
        super().__init__(status=status)
        self._keep_alive = keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class Handler:
    """Answers requests; one for each server and loop. Holds the namespaces.

    control and scheduler are set by whoever runs it; ended: called with every exchange that has ended.
    """

    control: Control

    def __init__(self, settings: Settings, scenario: ScenarioFile | None = None) -> None:
        self.settings = settings
        self.seeded = settings.seed is not None
        self.seed = Seed(settings.seed if settings.seed is not None else secrets.randbits(32))
        self.namespaces: dict[str, Namespace] = {}
        self.strays: list[Exchange] = []
        self.scheduler: LoopScheduler | None = None
        self.ended: Callable[[Exchange], None] | None = None
        self._scenario = scenario
        self._opened = 0
        self._exchanges = 0
        self._dialects: dict[str, Dialect] = {dialect.path: dialect for dialect in DIALECTS}
        self.default = self.open("")

    # ------------------------------------------------------------------------------------------ namespaces

    def open(self, id: str | None = None) -> Namespace:
        """A new namespace. SettingError where the name is taken."""
        if id is None:
            self._opened += 1
            id = f"n{self._opened}"
        if id in self.namespaces:
            raise SettingError(f"namespace {id!r} is open already")
        scenario = Scenario(reply=self.settings.reply, reply_tokens=self.settings.reply_tokens)
        for conditions, answers in self._scenario.rules if self._scenario else ():
            for answer in answers:
                scenario.add(conditions, answer)
        namespace = Namespace(id, scenario, Journal(self.settings.journal_limit))
        self.namespaces[id] = namespace
        return namespace

    def close(self, id: str) -> None:
        """Close a namespace and end its streams; what still comes for it is a stray."""
        self.namespaces.pop(id).stop()

    def stop(self) -> None:
        """End every stream."""
        for namespace in self.namespaces.values():
            namespace.stop()

    # ------------------------------------------------------------------------------------------ requests

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever happens, with a response in the provider's shape."""
        namespace, path, query = self._locate(request)
        if path.startswith("/_mock") and path[6:7] in ("", "/"):
            return await self.control.handle(request, namespace, path, query)
        scheduler = self.scheduler
        assert scheduler is not None, "requests come only while the server runs"
        self._exchanges += 1
        exchange = Exchange(
            self._exchanges,
            namespace.id if namespace else "",
            request.method,
            path,
            query,
            request.headers,
            started=scheduler.now(),
            wall=time.time(),
        )
        if namespace is None:
            self.strays.append(exchange)
            del self.strays[: -self.settings.journal_limit]
        else:
            namespace.journal.add(exchange)
        turn = _Turn(request, exchange, namespace, self._dialects.get(path), self.settings.chunking)
        return await self._play(turn, await self._answer(turn), scheduler)

    def _locate(self, request: web.BaseRequest) -> tuple[Namespace | None, str, str]:
        """The namespace that the path's prefix names, the path without it, and the query."""
        target = request.raw_path
        if "://" in target[:8]:  # absolute form, RFC 9112 section 3.2.2
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        if not path.startswith("/~"):
            return self.default, path, query
        id, slash, rest = path[2:].partition("/")
        return self.namespaces.get(id), slash + rest, query

    async def _answer(self, turn: _Turn) -> Iterator[Timed[Any]]:
        """The answer as socket actions; an error in the provider's shape where there is none."""
        namespace, exchange = turn.namespace, turn.exchange
        try:
            if namespace is None:
                raise RequestError(
                    404, "This namespace is closed or was never opened.", kind="not_found", code="namespace_closed"
                )
            if not self.settings.host_allowed(exchange.headers.get("Host")):
                raise RequestError(
                    421,
                    f"The Host header {exchange.headers.get('Host')!r} is not one of this server's names;"
                    " start it with --allow-host to accept it.",
                    code="host_not_allowed",
                )
            return await self._success(turn, namespace)
        except RequestError as error:
            return self._error(turn, error)
        except NoMatchError as error:
            return self._error(turn, RequestError(404, str(error), kind="not_found", code="no_rule_matched"))
        except Exception as error:  # noqa: BLE001  an answer function may raise anything; the client gets a 500
            return self._failure(turn, error)

    async def _success(self, turn: _Turn, namespace: Namespace) -> Iterator[Timed[Any]]:
        """The successful answer. RequestError, SettingError and NoMatchError where there is none."""
        exchange, dialect = turn.exchange, turn.dialect
        method, path = exchange.method, exchange.path
        allowed = ("POST",) if dialect else _get_methods(path)
        if method == "OPTIONS" and allowed:
            exchange.status = 204
            return message(Head(204, _preflight(exchange, allowed)), b"", turn.transfer)
        if not allowed:
            hint = f"; did you mean /v1{path}?" if f"/v1{path}" in self._dialects else ""
            raise RequestError(404, f"Invalid URL ({method} {path}){hint}", kind="not_found")
        if method not in allowed:
            raise RequestError(
                405,
                f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
                code="method_not_supported",
                headers=(("allow", ", ".join(allowed)),),
            )
        self._check_key(exchange)
        if dialect is None:
            return self._models(turn)
        exchange.dialect = dialect.name
        exchange.body = await self._body(turn)
        namespace.journal.weigh(exchange)
        ask = exchange.ask = dialect.parse(exchange.body, exchange.headers)
        if self.settings.models is not None and ask.model not in self.settings.models:
            raise _no_model(ask.model)
        digest, exchange.ordinal = namespace.recognise(exchange.body)
        answer = namespace.scenario.answer(exchange)
        exchange.choice_replies = namespace.scenario.replies(answer, exchange, self.seed, (digest,))
        for reply in exchange.choice_replies:
            dialect.check_reply(reply)
        return self._render(turn, namespace, dialect, answer, digest)

    def _render(
        self, turn: _Turn, namespace: Namespace, dialect: Dialect, answer: Answer, digest: bytes
    ) -> Iterator[Timed[Any]]:
        exchange, headers = turn.exchange, turn.exchange.headers
        ask, reply = exchange.ask, exchange.reply
        assert ask is not None, "parsed before"
        assert reply is not None, "there is at least one choice"
        pace, chunking = answer.pace or self.settings.pace, answer.chunking or self.settings.chunking
        try:
            if "x-mockprovider-pace" in headers:
                pace = Pacing.parse(headers["x-mockprovider-pace"])
            if "x-mockprovider-chunking" in headers:
                chunking = Chunking.parse(headers["x-mockprovider-chunking"])
        except SettingError as error:
            raise RequestError(400, str(error), code="invalid_mockprovider_header") from error
        turn.transfer.repack(chunking)
        timing = pace.timing(_UNUSED if pace.constant else self.seed.stream("pace", digest), ask.prompt_tokens)
        created = 1_700_000_000 + exchange.ordinal if self.seeded else int(exchange.wall)
        voice = Voice(ask, reply, self.seed, (digest, exchange.ordinal), created, timing.ttft)
        framing = Framing(chunking, self.settings.relay, turn.headers, namespace.gates.positions())
        exchange.status = 200
        return render(dialect, voice, exchange.choice_replies, timing, framing, turn.transfer)

    async def _play(self, turn: _Turn, timeline: Iterator[Timed[Any]], scheduler: LoopScheduler) -> web.StreamResponse:
        request, exchange = turn.request, turn.exchange
        transport = request.transport
        owner = turn.namespace or self.default
        if transport is None:
            exchange.outcome = "client-left"
            self._ended(turn)
            return Written(0, keep=False)
        player = Player(timeline, transport, request.protocol, scheduler, exchange.sent, owner.gates, exchange.started)
        owner.players.add(player)
        try:
            await player.play(request.writer.drain)
        except Exception as error:
            # Rendering failed midway: the head is out, so ending the connection is all that can be said.
            logger.exception("streaming %r", exchange)
            exchange.error = f"{type(error).__name__}: {error}"
            owner.errors.append(f"{exchange!r}: {exchange.error}")
        finally:
            owner.players.discard(player)
            exchange.outcome = player.outcome
            exchange.ended = scheduler.now()
            self._ended(turn)
        return Written(exchange.status or 0, keep=turn.transfer.keeps and exchange.outcome == "complete")

    def _ended(self, turn: _Turn) -> None:
        if turn.namespace is not None:
            turn.namespace.journal.changed()
        if self.ended is not None:
            self.ended(turn.exchange)

    # ------------------------------------------------------------------------------------------ parts of a request

    async def _body(self, turn: _Turn) -> bytes:
        """The request's body. RequestError 413 beyond the limit; the rest is left to the connection's end."""
        request, limit = turn.request, self.settings.body_limit
        if (request.content_length or 0) <= limit:
            if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            parts: list[bytes] = []
            size = 0
            while size <= limit:
                part = await request.content.readany()
                if not part:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
                parts.append(part)
                size += len(part)
        turn.transfer.keeps = False
        raise RequestError(413, f"Request body too large: the limit is {limit} bytes.", code="request_too_large")

    def _check_key(self, exchange: Exchange) -> None:
        if self.settings.api_keys is None:
            return
        scheme, _, key = exchange.headers.get("Authorization", "").partition(" ")
        if not key:
            raise RequestError(
                401,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using"
                " Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                kind="authentication",
            )
        known = [secrets.compare_digest(key.encode(), allowed.encode()) for allowed in self.settings.api_keys]
        if scheme.lower() != "bearer" or not any(known):
            shown = key if len(key) < 9 else f"{key[:4]}{'*' * (len(key) - 8)}{key[-4:]}"
            raise RequestError(
                401,
                f"Incorrect API key provided: {shown}. It is none of those this server was started with.",
                kind="authentication",
                code="invalid_api_key",
            )

    def _models(self, turn: _Turn) -> Iterator[Timed[Any]]:
        name = unquote(turn.exchange.path.removeprefix("/v1/models").removeprefix("/"))
        if not name:
            body = model_list(self.settings.models)
        elif self.settings.models is None or name in self.settings.models:
            body = model_object(name)
        else:
            raise _no_model(name)
        turn.exchange.status = 200
        return message(Head(200, (("Content-Type", "application/json"), *turn.headers)), body, turn.transfer)

    # ------------------------------------------------------------------------------------------ errors

    def _error(self, turn: _Turn, error: RequestError) -> Iterator[Timed[Any]]:
        exchange = turn.exchange
        exchange.status = error.status
        if exchange.rule is None:
            exchange.error = error.message
        request_id = "req_" + self.seed.hex(32, "ids", "request", exchange.id)
        headers, body = (turn.dialect or _ERRORS).error(error, request_id)
        return message(Head(error.status, (*headers, *turn.headers)), body, turn.transfer)

    def _failure(self, turn: _Turn, error: Exception) -> Iterator[Timed[Any]]:
        """What the client gets where the fault is the test's or ours: never something that it would retry."""
        described = f"{type(error).__name__}: {error}"
        if turn.namespace is not None:
            turn.namespace.errors.append(f"{turn.exchange!r}: {described}")
        if not isinstance(error, MockProviderError):
            logger.error("answering %r", turn.exchange, exc_info=error)
        said = RequestError(
            500,
            f"mockprovider failed: {described}",
            kind="server",
            code="mockprovider_error",
            headers=(("x-should-retry", "false"),),
        )
        return self._error(turn, said)


class _Turn:
    """What belongs to one request while it is answered. headers: those that every response to it carries."""

    __slots__ = ("dialect", "exchange", "headers", "namespace", "request", "transfer")

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
        self.transfer = TransferEncoder(
            chunking,
            chunked=request.version >= HttpVersion11,
            bodyless=request.method == "HEAD",
            keep=request.keep_alive,
        )
        self.headers: tuple[tuple[str, str], ...] = (("Date", _date(int(exchange.wall))),)
        # What lets a page of another origin read the response; clients that are no browsers do not get it.
        if "Origin" in request.headers:
            self.headers += (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED))


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The Date header's value, RFC 9110 section 6.6.1."""
    return formatdate(second, usegmt=True)


def _get_methods(path: str) -> tuple[str, ...]:
    return ("GET", "HEAD") if path == "/v1/models" or path.startswith("/v1/models/") else ()


def _preflight(exchange: Exchange, allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
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


def _no_model(name: str) -> RequestError:
    return RequestError(
        404,
        f"The model '{name}' does not exist or you do not have access to it.",
        kind="not_found",
        param="model",
        code="model_not_found",
    )


class _Unused:
    """In place of a generator where no draw is random; using it is a defect."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a constant pace asked for random.{name}")


_UNUSED: Any = _Unused()

"""What happens to a request: namespace, route, dialect, scenario, render, player. Errors in the provider's shape.

aiohttp accepts connections and parses requests; replies are written to the transport directly, head included, because
only so are status line, chunk framing and ending ours to decide.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from mockprovider.cases import Recipe, recipe
from mockprovider.dialects import DIALECTS
from mockprovider.dialects.base import Dialect, Voice
from mockprovider.dialects.openai_models import model_list, model_object, not_listed
from mockprovider.errors import MockProviderError, NoMatchError, RequestError, SettingError
from mockprovider.exchange import Exchange, Journal
from mockprovider.faults.applied import NONE, Applied
from mockprovider.faults.base import Asked, Context, Response
from mockprovider.faults.grammar import from_segment
from mockprovider.limits import Limits, request_tokens
from mockprovider.memo import Memo
from mockprovider.metrics import Metrics
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking, Pacing
from mockprovider.player import Player
from mockprovider.quota import Admission, limit_headers, rate_limited, style_of
from mockprovider.render import Framing, message, planned_tokens, render, replaced
from mockprovider.scenario import Answer, Scenario
from mockprovider.scenario_file import reply_from
from mockprovider.seed import Seed
from mockprovider.server.turn import Turn, get_methods, preflight
from mockprovider.settings import Settings
from mockprovider.timeline import NOWHERE, End, Timed
from mockprovider.wire import Head, TransferEncoder

if TYPE_CHECKING:
    from mockprovider.scenario_file import ScenarioFile
    from mockprovider.scheduler import LoopScheduler
    from mockprovider.server.control import Control
    from mockprovider.server.listeners import Listeners
    from mockprovider.server.workers import Workers

__all__ = ["Handler"]

logger = logging.getLogger("mockprovider")

_ERRORS = DIALECTS[0]
"""Whose shape an error has where the path tells nothing."""

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


class Handler:
    """Answers requests; one for each server and loop. Holds the namespaces.

    control, scheduler and listeners are set by whoever runs it; ended: called with every exchange that has ended;
    active: how many requests are being answered.
    """

    control: Control

    def __init__(
        self, settings: Settings, scenario: ScenarioFile | None = None, workers: Workers | None = None
    ) -> None:
        self.settings = settings
        self.metrics = workers.metrics if workers is not None else Metrics()
        self.workers = workers.number if workers is not None else 1
        self._warned = -math.inf
        self.seeded = settings.seed is not None
        self.seed = Seed(settings.seed if settings.seed is not None else secrets.randbits(32))
        self.namespaces: dict[str, Namespace] = {}
        self.strays: list[Exchange] = []
        self.active = 0
        self.scheduler: LoopScheduler | None = None
        self.listeners: Listeners | None = None
        self.ended: Callable[[Exchange], None] | None = None
        self._scenario = scenario
        self._opened = 0
        self._stopped = False
        self._exchanges = 0
        self._dialects = {path: dialect for dialect in DIALECTS for path in (dialect.path, *dialect.asides)}
        self._memo = Memo()
        self.default = self.open("")

    # ------------------------------------------------------------------------------------------ namespaces

    def open(self, id: str | None = None) -> Namespace:
        """A new namespace, under a name of its own if none is given. SettingError where the name is taken."""
        if id in self.namespaces:
            raise SettingError(f"namespace {id!r} is open already")
        while id is None or id in self.namespaces:
            self._opened += 1
            id = f"n{self._opened}"
        rules = self._scenario.rules if self._scenario else ()
        scenario = Scenario(rules, reply=self.settings.reply, reply_tokens=self.settings.reply_tokens)
        namespace = Namespace(id, scenario, Journal(self.settings.journal_limit))
        self.namespaces[id] = namespace
        return namespace

    def close(self, id: str) -> None:
        """Close a namespace and end its streams; what still comes for it is a stray."""
        self.namespaces.pop(id).close()
        if self.listeners is not None:
            self.listeners.close(id)

    def stop(self) -> None:
        """End every stream, for good."""
        self._stopped = True
        for namespace in self.namespaces.values():
            namespace.stop()

    # ------------------------------------------------------------------------------------------ requests

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever happens, with a response in the provider's shape."""
        self.active += 1
        try:
            namespace, chain, path, query = self._locate(request)
            if path.startswith("/_mock") and path[6:7] in ("", "/"):
                return await self.control.handle(request, namespace, path, query)
            return await self._exchange(request, namespace, chain, path, query)
        finally:
            self.active -= 1

    async def _exchange(
        self, request: web.BaseRequest, namespace: Namespace | None, chain: str, path: str, query: str
    ) -> web.StreamResponse:
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
            metrics=self.metrics,
        )
        if namespace is None:
            self.strays.append(exchange)
            del self.strays[: -self.settings.journal_limit]
        else:
            namespace.journal.add(exchange)
        exchange.faults = chain
        turn = Turn(request, exchange, namespace, self._dialects.get(path), self.settings.chunking)
        try:
            timeline = await self._answer(turn)
        except asyncio.CancelledError:  # the client has left, or was cut off, before its body had come
            exchange.outcome = "stopped" if self._stopped else "client-left"
            exchange.ended = scheduler.now()
            self._ended(turn)
            raise
        return await self._play(turn, timeline, scheduler)

    def _locate(self, request: web.BaseRequest) -> tuple[Namespace | None, str, str, str]:
        """The namespace and the faults that the path's prefixes name, the path without them, and the query."""
        target = request.raw_path
        if "://" in target[:8]:  # absolute form, RFC 9112 section 3.2.2
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        namespace: Namespace | None = self.default
        chain = ""
        if path.startswith("/~"):
            id, slash, rest = path[2:].partition("/")
            namespace, path = self.namespaces.get(id), slash + rest
        if path.startswith("/with/"):
            segment, slash, rest = path[6:].partition("/")
            chain, path = from_segment(segment), slash + rest
        return namespace, chain, path, query

    async def _answer(self, turn: Turn) -> Iterator[Timed[Any]]:
        """The answer as socket actions; an error in the provider's shape where there is none."""
        namespace, exchange = turn.namespace, turn.exchange
        try:
            if namespace is None:
                raise _closed()
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

    async def _success(self, turn: Turn, namespace: Namespace) -> Iterator[Timed[Any]]:
        """The successful answer. RequestError, SettingError and NoMatchError where there is none."""
        exchange, dialect = turn.exchange, turn.dialect
        allowed = self._allowed(exchange, dialect)
        if exchange.method == "OPTIONS":
            exchange.status = 204
            return message(Head(204, preflight(exchange, allowed)), b"", turn.transfer)
        self._check_key(exchange, dialect or _ERRORS)
        if dialect is None:
            return self._models(turn)
        exchange.dialect = dialect.name
        exchange.body = await self._body(turn)
        if namespace.closed:
            raise _closed()
        namespace.journal.weigh(exchange)
        if exchange.path in dialect.asides:
            return self._aside(turn, dialect)
        ask = exchange.ask = dialect.parse(exchange.body, exchange.headers)
        if self.settings.models is not None and ask.model not in self.settings.models:
            raise dialect.unknown_model(ask.model)
        digest, exchange.ordinal = namespace.recognise(exchange.body)
        asked = self._recipe(turn)
        self._limit(turn, namespace)
        answer = namespace.scenario.answer(exchange, None if asked.reply is None else reply_from(asked.reply))
        used = asked
        if answer.faults:
            used = recipe("+".join(filter(None, (answer.faults, asked.text))))
            exchange.faults = used.text
        if (reason := used.unfit(dialect.name)) is not None:
            raise RequestError(400, reason, code="fault_not_applicable")
        if used.ask:
            ask = exchange.ask = ask.overridden(used.ask)
        faults = self._applied(turn, namespace, dialect, used, digest)
        if changed := faults.asks():
            ask = exchange.ask = ask.overridden(changed)
        exchange.choice_replies = namespace.scenario.replies(answer, exchange, self.seed, (digest,))
        for reply in exchange.choice_replies:
            dialect.check_reply(reply, stream=ask.stream)
        try:
            response = faults.response()
            turn.headers = replaced(turn.headers, faults.headers)
            if response is not None:
                return self._respond(turn, response, faults)
            return self._render(turn, namespace, dialect, answer, used, digest, faults)
        except SettingError as error:
            raise RequestError(400, str(error), code="fault_not_applicable") from error

    def _allowed(self, exchange: Exchange, dialect: Dialect | None) -> tuple[str, ...]:
        """The methods of the path, that of the request among them. RequestError where it is none of them."""
        method, path = exchange.method, exchange.path
        allowed = ("POST",) if dialect else get_methods(path)
        if not allowed:
            hint = f"; did you mean /v1{path}?" if f"/v1{path}" in self._dialects else ""
            raise RequestError(404, f"Invalid URL ({method} {path}){hint}", kind="not_found")
        if method not in (*allowed, "OPTIONS"):
            raise RequestError(
                405,
                f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
                code="method_not_supported",
                headers=(("allow", ", ".join(allowed)),),
            )
        return allowed

    def _recipe(self, turn: Turn) -> Recipe:
        """The faults that the server, the URL and the request's header ask for, together."""
        exchange = turn.exchange
        turn.chain = exchange.faults
        chains = (self.settings.faults, exchange.faults, exchange.headers.get("x-mockprovider-faults", ""))
        text = "+".join(filter(None, chains))
        if not text:
            return _NO_RECIPE
        exchange.faults = text
        try:
            return recipe(text)
        except SettingError as error:
            raise RequestError(400, str(error), code="invalid_fault") from error

    def _limit(self, turn: Turn, namespace: Namespace) -> None:
        """Count the request against the server's limits. RequestError 429 where they are reached."""
        if self.settings.limits is None:
            return
        admission = self._admission(turn, namespace, "", self.settings.limits)
        style = style_of(turn.exchange.dialect or "")
        turn.headers += limit_headers(style, admission.allowance, turn.exchange.wall)
        if not admission.passed:
            raise rate_limited(admission, style)

    def _admission(self, turn: Turn, namespace: Namespace, owner: str, limits: Limits) -> Admission:
        ask = turn.exchange.ask
        assert ask is not None, "parsed before"
        now = turn.exchange.started
        tokens = request_tokens(sum(len(text) for _, text in ask.messages), ask.max_tokens)
        return namespace.limiter(owner, limits, now).admit(now, tokens)

    def _applied(self, turn: Turn, namespace: Namespace, dialect: Dialect, used: Recipe, digest: bytes) -> Applied:
        if not used.faults:
            return NONE
        exchange = turn.exchange
        attempt = namespace.attempt(used.text, used.faults, digest)
        ask = exchange.ask
        assert ask is not None, "parsed before"
        prefix = f"/~{namespace.id}" if namespace.id else ""
        asked = Asked(prefix, turn.chain, exchange.path, exchange.query, exchange.headers, turn.reused)

        def tokens() -> int | None:
            return None if exchange.ask is None else planned_tokens(exchange.choice_replies, exchange.ask)

        def context(index: int) -> Context:
            return Context(
                rng=self.seed.stream(f"fault:{index}", digest, exchange.ordinal),
                attempt=attempt,
                stream=ask.stream,
                tokens=tokens,
                dialect=dialect.name,
                error=lambda kind, message: dialect.error_object(RequestError(500, message, kind=kind)),
                wall=exchange.wall,
                asked=asked,
                chain=used.faults,
                admit=lambda rpm, tpm: self._admission(turn, namespace, "fault", Limits(rpm, tpm)),
            )

        return Applied(used.faults, context)

    def _respond(self, turn: Turn, response: Response, faults: Applied) -> Iterator[Timed[Any]]:
        """What a fault answers instead of a reply."""
        turn.exchange.status = response.status
        headers, body = response.headers, response.body
        if response.error is not None:
            assert turn.dialect is not None, "faults are applied to prompts"
            worded, body = turn.dialect.error(response.error, self._request_id(turn.exchange))
            headers = (*worded, *headers)
        # What the response says of itself stands; what every response carries goes round it.
        head = Head(response.status, replaced(turn.dated, headers), response.reason)
        return message(head, body or b"", turn.transfer, faults, sized=not response.chunked)

    def _render(
        self,
        turn: Turn,
        namespace: Namespace,
        dialect: Dialect,
        answer: Answer,
        used: Recipe,
        digest: bytes,
        faults: Applied,
    ) -> Iterator[Timed[Any]]:
        exchange, headers = turn.exchange, turn.exchange.headers
        ask, reply = exchange.ask, exchange.reply
        assert ask is not None, "parsed before"
        assert reply is not None, "there is at least one choice"
        pace = answer.pace or used.pace or self.settings.pace
        chunking = answer.chunking or used.chunking or self.settings.chunking
        try:
            if "x-mockprovider-pace" in headers:
                pace = Pacing.parse(headers["x-mockprovider-pace"])
            if "x-mockprovider-chunking" in headers:
                chunking = Chunking.parse(headers["x-mockprovider-chunking"])
        except SettingError as error:
            raise RequestError(400, str(error), code="invalid_mockprovider_header") from error
        turn.chunking = chunking
        turn.transfer.repack(chunking)
        created = 1_700_000_000 + exchange.ordinal if self.seeded else int(exchange.wall)
        voice = Voice(ask, reply, self.seed, (digest, exchange.ordinal), created)
        exchange.status = 200
        holds = namespace.gates.positions()
        relay, replies = self.settings.relay, exchange.choice_replies

        def rendered(voice: Voice, date: str, transfer: TransferEncoder) -> Iterator[Timed[Any]]:
            timing = pace.timing(_UNUSED if pace.constant else self.seed.stream("pace", digest), ask.prompt_tokens)
            voice.ttft = timing.ttft
            framing = Framing(chunking, relay, (("Date", date), *turn.headers), holds)
            return render(dialect, voice, replies, timing, framing, transfer, faults)

        alike = pace == _INSTANT and chunking == self.settings.chunking and self.settings.limits is None
        if alike and faults is NONE and not holds and not callable(answer.says):
            key = (dialect.name, digest, used.text, tuple(map(id, replies)), relay, turn.headers, turn.transfer.kind)
            known = self._memo.bytes_of(key, voice, turn.date, replies, rendered, turn.new_transfer)
            if known is not None:
                data, turn.transfer.keeps = known
                return iter(((0.0, data, NOWHERE), (0.0, End(), NOWHERE)))
        return rendered(voice, turn.date, turn.transfer)

    async def _play(self, turn: Turn, timeline: Iterator[Timed[Any]], scheduler: LoopScheduler) -> web.StreamResponse:
        request, exchange = turn.request, turn.exchange
        transport = request.transport
        owner = turn.namespace or self.default
        if transport is None:
            exchange.outcome = "client-left"
            self._ended(turn)
            return _DROP
        player = Player(timeline, transport, request.protocol, scheduler, exchange.sent, owner.gates, exchange.started)
        owner.players.add(player)
        exchange.sent.excused = scheduler.now()  # reading and understanding a large request takes its time
        self.metrics.began()
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
            self._measure(exchange, exchange.ended)
            self._ended(turn)
        return _KEEP if turn.transfer.keeps and exchange.outcome == "complete" else _DROP

    def _measure(self, exchange: Exchange, now: float) -> None:
        """Count the exchange, and say so when this machine was too slow for the times that were promised."""
        worst, bound = exchange.sent.worst, self.settings.late_warning
        exchange.late = worst > bound
        self.metrics.ended(exchange.outcome or "failed", exchange.status, exchange.sent.blocked, late=exchange.late)
        if exchange.late and now > self._warned + _WARN_EVERY:
            self._warned = now
            logger.warning(
                "%r was up to %.0f ms behind its times (the bound is %.0f ms): this machine is too slow for its load,"
                " so do not blame the client; the worst of all is in /_mock/metrics",
                exchange,
                worst * 1000,
                bound * 1000,
            )

    def _ended(self, turn: Turn) -> None:
        if turn.namespace is not None:
            turn.namespace.journal.weigh(turn.exchange)
            turn.namespace.journal.changed()
        if self.ended is not None:
            self.ended(turn.exchange)

    # ------------------------------------------------------------------------------------------ parts of a request

    async def _body(self, turn: Turn) -> bytes:
        """The request's body. RequestError 413 beyond the limit; the rest is left to the connection's end."""
        request, limit = turn.request, self.settings.body_limit
        if (request.content_length or 0) <= limit:
            self._continue(turn)
            parts: list[bytes] = []
            size = 0
            while size <= limit:
                try:
                    part = await request.content.readany()
                except web.RequestPayloadError as error:
                    request.content.feed_eof()  # or aiohttp would wait for the rest of it
                    turn.transfer.keeps = False
                    raise RequestError(400, "The request's body is not encoded as its headers say.") from error
                if not part:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
                parts.append(part)
                size += len(part)
        turn.transfer.keeps = False
        raise RequestError(413, f"Request body too large: the limit is {limit} bytes.", code="request_too_large")

    def _continue(self, turn: Turn) -> None:
        """Tell a client that waits for it to send the body, RFC 9110 section 10.1.1; not one of HTTP/1.0."""
        request = turn.request
        if turn.expects and request.transport is not None:
            turn.expects = False
            turn.transfer = turn.new_transfer()
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _check_key(self, exchange: Exchange, dialect: Dialect) -> None:
        if self.settings.api_keys is None:
            return
        key = dialect.key(exchange.headers)
        # A header may hold bytes that are no UTF-8; aiohttp hands them on as lone surrogates.
        given = key.encode("utf-8", "surrogatepass")
        known = [secrets.compare_digest(given, allowed.encode()) for allowed in self.settings.api_keys]
        if not any(known):
            raise dialect.refused_key(key)

    def _aside(self, turn: Turn, dialect: Dialect) -> Iterator[Timed[Any]]:
        """What an endpoint that gives no reply answers."""
        exchange = turn.exchange
        said = dialect.aside(exchange.path, exchange.body, exchange.headers, self._request_id(exchange))
        if self.settings.models is not None and said.model not in self.settings.models:
            raise dialect.unknown_model(said.model)
        exchange.status = 200
        return message(Head(200, (*said.headers, *turn.dated)), said.body, turn.transfer)

    def _models(self, turn: Turn) -> Iterator[Timed[Any]]:
        name = unquote(turn.exchange.path.removeprefix("/v1/models").removeprefix("/"))
        if not name:
            body = model_list(self.settings.models)
        elif self.settings.models is None or name in self.settings.models:
            body = model_object(name)
        else:
            raise not_listed(name)
        turn.exchange.status = 200
        return message(Head(200, (("Content-Type", "application/json"), *turn.dated)), body, turn.transfer)

    # ------------------------------------------------------------------------------------------ errors

    def _error(self, turn: Turn, error: RequestError) -> Iterator[Timed[Any]]:
        exchange = turn.exchange
        exchange.status = error.status
        if exchange.rule is None:
            exchange.error = error.message
        headers, body = (turn.dialect or _worded(exchange.path)).error(error, self._request_id(exchange))
        return message(Head(error.status, (*headers, *turn.dated)), body, turn.transfer)

    def _request_id(self, exchange: Exchange) -> str:
        return "req_" + self.seed.hex(32, "ids", "request", exchange.id)

    def _failure(self, turn: Turn, error: Exception) -> Iterator[Timed[Any]]:
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


def _worded(path: str) -> Dialect:
    """Whose shape an error has on a path that is no endpoint: that of the endpoint above it."""
    return next((dialect for dialect in DIALECTS if path.startswith(dialect.path + "/")), _ERRORS)


def _closed() -> RequestError:
    return RequestError(404, "This namespace is closed or was never opened.", kind="not_found", code="namespace_closed")


class _Unused:
    """In place of a generator where no draw is random; using it is a defect."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a constant pace asked for random.{name}")


_UNUSED: Any = _Unused()
_INSTANT = Pacing()
_NO_RECIPE = Recipe("")

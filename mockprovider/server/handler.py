"""What happens to a request: namespace, route, dialect, scenario, render, player. Errors in the provider's shape.

aiohttp accepts connections and parses requests. Those that come whole are handed on by `at_once`, all others by
aiohttp; what is answered is performed in `performing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mockprovider.cases import Recipe, recipe
from mockprovider.dialects import FLAVOURS, TABLE, flavoured
from mockprovider.dialects.base import Dialect, Inquiry, Voice
from mockprovider.dialects.routing import Match
from mockprovider.errors import MockProviderError, NoMatchError, RequestError, SettingError, nearest
from mockprovider.exchange import Exchange, Journal
from mockprovider.faults.applied import NONE, Applied
from mockprovider.faults.base import Asked, Context, Response
from mockprovider.levers import UNTOUCHED
from mockprovider.limits import Limits, request_tokens
from mockprovider.memo import Memo
from mockprovider.metrics import Metrics
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking, Pacing
from mockprovider.quota import Admission, limit_headers, rate_limited, style_of
from mockprovider.recording import samples
from mockprovider.render import Framing, message, planned_tokens, render, replaced
from mockprovider.replay.library import Deck, Library, Query, reel_of
from mockprovider.replay.reel import Reel, Show
from mockprovider.scenario import Answer, Scenario
from mockprovider.scenario_file import ScenarioFile, reply_from
from mockprovider.seed import Seed
from mockprovider.server.at_once import AtOnce
from mockprovider.server.haste import sooner
from mockprovider.server.performing import Performer
from mockprovider.server.replaying import asked_request, overlaid, played, unmatched
from mockprovider.server.turn import Located, Turn, locate, preflight
from mockprovider.settings import Settings
from mockprovider.timeline import Timed
from mockprovider.wire import Head, TransferEncoder

if TYPE_CHECKING:
    from mockprovider.scheduler import LoopScheduler
    from mockprovider.server.control import Control
    from mockprovider.server.listeners import Listeners
    from mockprovider.server.reload import Reloader
    from mockprovider.server.workers import Workers

__all__ = ["Handler"]

logger = logging.getLogger("mockprovider")


class Handler:
    """Answers requests; one for each server and loop. Holds the namespaces.

    control, reloader, scheduler and listeners are set by whoever runs it; ended: called with every exchange that has
    ended; active: how many requests are being answered; stopped: whether it was ended for good.
    """

    control: Control
    reloader: Reloader | None = None

    def __init__(
        self, settings: Settings, scenario: ScenarioFile | None = None, workers: Workers | None = None
    ) -> None:
        self.settings = settings
        self.metrics = workers.metrics if workers is not None else Metrics()
        self.workers = workers.number if workers is not None else 1
        self.performer = Performer(self)
        self.at_once = AtOnce(self)
        self.seeded = settings.seed is not None
        self.seed = Seed(settings.seed if settings.seed is not None else secrets.randbits(32))
        self.namespaces: dict[str, Namespace] = {}
        self.strays: list[Exchange] = []
        self.active = 0
        self.scheduler: LoopScheduler | None = None
        self.listeners: Listeners | None = None
        self.ended: Callable[[Exchange], None] | None = None
        self._scenario = scenario
        self._numbers = count(1)
        self.stopped = False
        self._exchanges = 0
        self._memo = Memo()
        self._host_allowed = lru_cache(maxsize=64)(settings.host_allowed)
        self.library = None if settings.recordings is None else Library(settings.recordings)
        self.default = self.open("")

    # ------------------------------------------------------------------------------------------ namespaces

    def open(self, id: str | None = None) -> Namespace:
        """A new namespace, under a name of its own if none is given. SettingError where the name is taken.

        With a name of its own, from any thread: whoever goes through the namespaces goes through a copy.
        """
        if id in self.namespaces:
            raise SettingError(f"namespace {id!r} is open already")
        while id is None or id in self.namespaces:
            id = f"n{next(self._numbers)}"
        scenario = Scenario(
            self._scenario.rules if self._scenario else (),
            tables=self._scenario.tables if self._scenario else (),
            reply=self.settings.reply,
            reply_tokens=self.settings.reply_tokens,
        )
        namespace = Namespace(id, scenario, Journal(self.settings.journal_limit))
        if self.library is not None:
            namespace.deck = Deck(self.library)
        self.namespaces[id] = namespace
        return namespace

    def reload(self, settings: Settings, scenario: ScenarioFile | None) -> None:
        """Answer by another scenario file from now on; what is under way goes on.

        settings: of these, only what a file can say is taken. The default namespace begins with the new rules anew;
        others keep theirs, and those that are opened from now on get the new ones.
        """
        said = {name: getattr(settings, name) for name in ScenarioFile.SETTINGS if name != "seed"}
        self.settings = replace(self.settings, **said)
        if settings.seed is not None:
            self.seed, self.seeded = Seed(settings.seed), True
        self._scenario = scenario
        self._memo = Memo()
        self.at_once.forget()
        self.default.scenario.restart(scenario.rules if scenario else (), scenario.tables if scenario else ())

    def close(self, id: str) -> None:
        """Close a namespace and end its streams; what still comes for it is a stray."""
        closed = self.namespaces.pop(id)
        closed.close()
        self.at_once.forget(closed)
        if self.listeners is not None:
            self.listeners.close(id)

    def stop(self) -> None:
        """End every stream, for good."""
        self.stopped = True
        for namespace in list(self.namespaces.values()):
            namespace.stop()

    # ------------------------------------------------------------------------------------------ requests

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever happens, with a response in the provider's shape."""
        self.active += 1
        try:
            located = locate(request.raw_path)
            namespace = self.namespaces.get(located.id)
            if located.control:
                return await self.control.handle(request, namespace, located.path, located.query)
            if located.path == "/" and self.settings.console and request.method in ("GET", "HEAD"):
                return await self.control.page(request, located.path)
            exchange = self.exchange(namespace, located, request.method, request.headers)
            turn = self.turn(request, exchange, namespace, located)
            try:
                timeline = await self.answer(turn)
            except asyncio.CancelledError:  # the client has left, or was cut off, before its body had come
                self.performer.left(turn)
                raise
            return await self.performer.perform(turn, timeline)
        finally:
            self.active -= 1

    def exchange(
        self, namespace: Namespace | None, located: Located, method: str, headers: Mapping[str, str]
    ) -> Exchange:
        """An exchange begins; it stands in the journal from now on."""
        self._exchanges += 1
        exchange = Exchange(
            self._exchanges,
            namespace.id if namespace else "",
            method,
            located.path,
            located.query,
            headers,
            started=self.running.now(),
            wall=time.time(),
            metrics=self.metrics,
        )
        exchange.faults = located.chain
        if namespace is None:
            self.strays.append(exchange)
            del self.strays[: -self.settings.journal_limit]
        else:
            namespace.journal.add(exchange)
        return exchange

    def turn(self, request: web.BaseRequest, exchange: Exchange, namespace: Namespace | None, located: Located) -> Turn:
        """What the exchange is answered by."""
        settings = self.settings
        flavour = located.flavour or (namespace.levers.flavour if namespace is not None else "") or settings.flavour
        return Turn(request, exchange, namespace, settings.chunking, settings.allow_origins, flavour)

    @property
    def running(self) -> LoopScheduler:
        """The scheduler, which is there as long as requests come."""
        assert self.scheduler is not None, "requests come only while the server runs"
        return self.scheduler

    async def answer(self, turn: Turn) -> Iterator[Timed[Any]]:
        """The answer as socket actions; an error in the provider's shape where there is none."""
        namespace, exchange = turn.namespace, turn.exchange
        try:
            if namespace is None:
                raise _closed()
            if not self._host_allowed(exchange.headers.get("Host")):
                raise RequestError(
                    421,
                    f"The Host header {exchange.headers.get('Host')!r} is not one of this server's names;"
                    " start it with --allow-host to accept it.",
                    code="host_not_allowed",
                )
            if namespace.deck is not None:
                recorded = await self._replay(turn, namespace, namespace.deck)
                if recorded is not None:
                    return recorded
            return await self._success(turn, namespace)
        except RequestError as error:
            return self._error(turn, error)
        except NoMatchError as error:
            return self._error(turn, RequestError(404, str(error), kind="not_found", code="no_rule_matched"))
        except Exception as error:  # noqa: BLE001  an answer function may raise anything; the client gets a 500
            return self._failure(turn, error)

    async def _success(self, turn: Turn, namespace: Namespace) -> Iterator[Timed[Any]]:
        """The successful answer. RequestError, SettingError and NoMatchError where there is none."""
        exchange = turn.exchange
        match = self._found(turn)
        dialect = match.dialect
        if exchange.method == "OPTIONS":
            exchange.status = 204
            return message(Head(204, preflight(turn, match.allowed)), b"", turn.transfer)
        self._check_key(turn, dialect)
        if "POST" in match.endpoint.methods:
            exchange.dialect = dialect.name
        exchange.body = exchange.body or await self._body(turn)
        if namespace.closed:
            raise _closed()
        if not match.endpoint.prompt:
            return self._document(turn, dialect)
        ask = exchange.ask = dialect.parse(exchange.body, exchange.headers, turn.target)
        if self.settings.models is not None and ask.model not in self.settings.models:
            raise dialect.unknown_model(ask.model)
        digest, exchange.ordinal = namespace.recognise(exchange.body, turn.target.identity)
        asked = self._recipe(turn)
        self._limit(turn, namespace)
        answer = self._levered(namespace) or namespace.scenario.answer(
            exchange, None if asked.reply is None else reply_from(asked.reply)
        )
        if answer.flavour:
            dialect = turn.dialect = flavoured(dialect, answer.flavour)
        used = asked
        if answer.faults:
            used = recipe("+".join(filter(None, (answer.faults, asked.text))))
            exchange.faults = used.text
        if answer.recording is not None:
            return self._played(turn, namespace, answer.recording, used, digest)
        return self._said(turn, namespace, dialect, answer, used, digest)

    def _levered(self, namespace: Namespace) -> Answer | None:
        """What was set by hand instead of all rules, if anything was. RequestError where requests are to fail."""
        if namespace.levers is UNTOUCHED:
            return None
        error, namespace.levers = namespace.levers.refusal()
        if error is not None:
            raise error
        if namespace.levers.recording is not None:
            return Answer(recording=Show(self.reel(namespace.levers.recording)))
        return None if namespace.levers.spoken is None else Answer(namespace.levers.spoken)

    def reel(self, name: str) -> Reel:
        """The recording of that name in the server's folder. SettingError where there is none."""
        known = {} if self.shelf is None else {path.stem: path for path in self.shelf.glob("*.ndjson")}
        if name not in known:
            raise SettingError(f"recording: there is no {name!r}{nearest(name, tuple(known)) if known else ''}")
        return reel_of(known[name])

    @property
    def shelf(self) -> Path | None:
        """Where recordings are played from by name: the given folder, else the project's own samples."""
        return self.settings.shelf or samples()

    def _said(
        self, turn: Turn, namespace: Namespace, dialect: Dialect, answer: Answer, used: Recipe, digest: bytes
    ) -> Iterator[Timed[Any]]:
        """The reply, with the faults that strike. RequestError and SettingError where there is none."""
        exchange = turn.exchange
        ask = exchange.ask
        assert ask is not None, "parsed before"
        if (reason := used.unfit(dialect.name)) is not None:
            raise RequestError(400, reason, code="fault_not_applicable")
        if used.ask:
            ask = exchange.ask = ask.overridden(used.ask)
        faults = self._applied(turn, namespace, dialect, used, digest)
        if faults is not NONE:
            exchange.struck = faults.struck
            if changed := faults.asks():
                ask = exchange.ask = ask.overridden(changed)
        exchange.choice_replies = namespace.scenario.replies(answer, exchange, self.seed, (digest,))
        try:
            for reply in exchange.choice_replies:
                dialect.check(reply, stream=ask.stream)
        except SettingError as error:
            if used.reply is None:
                raise  # it is the reply of a rule, which the test has to set right
            raise RequestError(400, str(error), code="fault_not_applicable") from error
        try:
            if faults is not NONE:
                response = faults.response()
                turn.headers = replaced(turn.headers, faults.headers)
                if response is not None:
                    return self._respond(turn, response, faults)
            return self._render(turn, namespace, dialect, answer, used, digest, faults)
        except SettingError as error:
            raise RequestError(400, str(error), code="fault_not_applicable") from error

    async def _replay(self, turn: Turn, namespace: Namespace, deck: Deck) -> Iterator[Timed[Any]] | None:
        """What was recorded for this request; None where that is for the rules to answer. RequestError for neither."""
        exchange = turn.exchange
        self._check_key(turn, turn.dialect or TABLE.worded(exchange.path))
        exchange.body = await self._body(turn)
        if namespace.closed:
            raise _closed()
        query = deck.library.query(asked_request(exchange))
        reel = deck.take(query)
        if turn.match is not None and turn.match.endpoint.prompt:
            # For whoever looks at the exchange later; what is recorded may as well be a request that is refused.
            with contextlib.suppress(RequestError):
                exchange.ask = turn.match.dialect.parse(exchange.body, exchange.headers, turn.target)
        if reel is not None:
            return self._played(turn, namespace, Show(reel, deck.library.playback), self._recipe(turn))
        if deck.asks:
            return await self._asked(turn, namespace, deck, query)
        if exchange.method == "OPTIONS" or namespace.scenario.rules:
            return None
        raise unmatched(turn, namespace, query)

    async def _asked(self, turn: Turn, namespace: Namespace, deck: Deck, query: Query) -> Iterator[Timed[Any]]:
        """What the upstream answers, which is recorded."""
        from mockprovider.server.asking import ask  # it stands on the recorder, which stands on this

        used = self._recipe(turn)
        faults, response = overlaid(turn, namespace, used, self.seed)
        if response is not None:
            return self._respond(turn, response, faults)
        turn.live = await ask(turn, namespace, deck, query)
        return turn.live.actions(faults)

    def _played(
        self, turn: Turn, namespace: Namespace, show: Show, used: Recipe, digest: bytes | None = None
    ) -> Iterator[Timed[Any]]:
        faults, shown = played(turn, namespace, show, used, self.seed, digest)
        return self._respond(turn, shown, faults) if isinstance(shown, Response) else shown

    def _found(self, turn: Turn) -> Match:
        """The endpoint of the request. RequestError where there is none, or none that answers its method."""
        exchange, match = turn.exchange, turn.match
        method, path = exchange.method, exchange.path
        if match is None:
            below = f"/v1{path}"
            hint = f"; did you mean {below}?" if TABLE.find(method, below, exchange.headers) is not None else ""
            if path.startswith("/as/"):
                hint = f"; there is no such flavour{nearest(path.split('/')[2], list(FLAVOURS))}"
            raise TABLE.worded(path).no_endpoint(method, path, hint)
        if method not in (*match.allowed, "OPTIONS"):
            raise match.dialect.wrong_method(method, path, match.allowed)
        return match

    def _recipe(self, turn: Turn) -> Recipe:
        """The faults that the server, the URL and the request's header ask for, together."""
        exchange = turn.exchange
        turn.chain = exchange.faults
        by_hand = turn.namespace.levers.faults if turn.namespace is not None else ""
        chains = (self.settings.faults, by_hand, exchange.faults, exchange.headers.get("x-mockprovider-faults", ""))
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
        assert turn.dialect is not None, "only prompts are counted"
        style = turn.dialect.limits or style_of(turn.dialect.name)
        turn.headers += limit_headers(style, admission.allowance, turn.exchange.wall)
        if not admission.passed:
            raise rate_limited(admission, style)

    def _admission(self, turn: Turn, namespace: Namespace, owner: str, limits: Limits) -> Admission:
        ask = turn.exchange.ask
        assert ask is not None, "parsed before"
        now = turn.exchange.started * self.settings.speed  # buckets fill as much faster as everything else goes
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
                framing=dialect.framing(ask),
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
            dialect = turn.dialect or TABLE.worded(turn.exchange.path)
            worded, body = dialect.error(response.error, self._request_id(turn.exchange), turn.target)
            headers = (*worded, *headers)
        # What the response says of itself stands; what every response carries goes round it.
        headers = sooner(headers, self.settings.speed)
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
        ask = exchange.ask
        assert ask is not None, "parsed before"
        levers, settings = namespace.levers, self.settings
        pace = answer.pace or used.pace or levers.pace or settings.pace
        chunking = answer.chunking or used.chunking or levers.chunking or settings.chunking
        try:
            if "x-mockprovider-pace" in headers:
                pace = Pacing.parse(headers["x-mockprovider-pace"])
            if "x-mockprovider-chunking" in headers:
                chunking = Chunking.parse(headers["x-mockprovider-chunking"])
        except SettingError as error:
            raise RequestError(400, str(error), code="invalid_mockprovider_header") from error
        turn.chunking = chunking
        voice = self.voice(exchange, digest)
        exchange.status = 200
        holds = namespace.gates.positions()
        relay, replies = self.settings.relay or dialect.relay, exchange.choice_replies

        def rendered(voice: Voice, date: str, transfer: TransferEncoder) -> Iterator[Timed[Any]]:
            timing = pace.timing(_UNUSED if pace.constant else self.seed.stream("pace", digest), ask.prompt_tokens)
            voice.ttft = timing.ttft
            framing = Framing(chunking, relay, (("Date", date), *turn.headers), holds)
            return render(dialect, voice, replies, timing, framing, transfer, faults, bursts=True)

        alike = pace == _INSTANT and chunking == self.settings.chunking and self.settings.limits is None
        if alike and faults is NONE and not holds and not callable(answer.says):
            asked = (dialect, digest, exchange.path, exchange.query, used.text)
            key = (*asked, tuple(map(id, replies)), relay, turn.headers, turn.client)
            kept = turn.kept = self._memo.kept(key, voice, turn.date, replies, rendered, turn.new_transfer)
            if kept is not None:
                turn.whole, turn.digest = (kept.fill(voice, turn.date), kept.keeps), digest
                return iter(())  # nothing else is to be played
        turn.transfer.repack(chunking)
        return rendered(voice, turn.date, turn.transfer)

    def voice(self, exchange: Exchange, digest: bytes) -> Voice:
        """What the encoder of the exchange's reply needs besides the deltas."""
        ask, reply = exchange.ask, exchange.reply
        assert ask is not None, "parsed before"
        assert reply is not None, "there is at least one choice"
        created = 1_700_000_000 + exchange.ordinal if self.seeded else int(exchange.wall)
        return Voice(ask, reply, self.seed, (digest, exchange.ordinal), created)

    # ------------------------------------------------------------------------------------------ parts of a request

    async def _body(self, turn: Turn) -> bytes:
        """The request's body. RequestError 413 beyond the limit; the rest is left to the connection's end."""
        if turn.body is not None:
            return turn.body
        request, content, limit = turn.request, turn.request.content, self.settings.body_limit
        if (request.content_length or 0) <= limit:
            self._continue(turn)
            parts: list[bytes] = []
            size = 0
            while size <= limit:
                try:
                    # What has come already, as it mostly has, needs no waiting.
                    part = content.read_nowait() if content.is_eof() else await content.readany()
                except web.RequestPayloadError as error:
                    content.feed_eof()  # or aiohttp would wait for the rest of it
                    turn.transfer.keeps = False
                    raise RequestError(400, "The request's body is not encoded as its headers say.") from error
                parts.append(part)
                size += len(part)
                if content.at_eof() and size <= limit:
                    return part if len(parts) == 1 else b"".join(parts)
        turn.transfer.keeps = False
        raise RequestError(413, f"Request body too large: the limit is {limit} bytes.", code="request_too_large")

    def _continue(self, turn: Turn) -> None:
        """Tell a client that waits for it to send the body, RFC 9110 section 10.1.1; not one of HTTP/1.0."""
        request = turn.request
        if turn.expects and request.transport is not None:
            turn.expects = False
            turn.transfer = turn.new_transfer()
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _check_key(self, turn: Turn, dialect: Dialect) -> None:
        if self.settings.api_keys is None:
            return
        key = dialect.key(turn.exchange.headers, turn.target)
        # A header may hold bytes that are no UTF-8; aiohttp hands them on as lone surrogates.
        given = key.encode("utf-8", "surrogatepass")
        known = [secrets.compare_digest(given, allowed.encode()) for allowed in self.settings.api_keys]
        if not any(known):
            raise dialect.refused_key(key)

    def _document(self, turn: Turn, dialect: Dialect) -> Iterator[Timed[Any]]:
        """What an endpoint that gives no model's reply answers."""
        exchange, models = turn.exchange, self.settings.models
        inquiry = Inquiry(turn.target, exchange.body, exchange.headers, self._request_id(exchange), models)
        said = dialect.document(inquiry)
        if models is not None and said.model is not None and said.model not in models:
            raise dialect.unknown_model(said.model)
        exchange.status = 200
        return message(Head(200, (*said.headers, *turn.dated)), said.body, turn.transfer)

    # ------------------------------------------------------------------------------------------ errors

    def _error(self, turn: Turn, error: RequestError) -> Iterator[Timed[Any]]:
        exchange = turn.exchange
        exchange.status = error.status
        if exchange.rule is None:
            exchange.error = error.message
        headers, body = (turn.dialect or TABLE.worded(exchange.path)).error(
            error, self._request_id(exchange), turn.target
        )
        headers = sooner(headers, self.settings.speed)
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


def _closed() -> RequestError:
    return RequestError(404, "This namespace is closed or was never opened.", kind="not_found", code="namespace_closed")


class _Unused:
    """In place of a generator where no draw is random; using it is a defect."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a constant pace asked for random.{name}")


_UNUSED: Any = _Unused()
_INSTANT = Pacing()
_NO_RECIPE = Recipe("")

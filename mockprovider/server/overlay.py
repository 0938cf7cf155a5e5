"""Faults over what a recorder, or a proxy, forwards: named on the command line, in the URL, or in a header.

A request that names none goes its way untouched. One that does is read to its end first, since faults count attempts
and draw by its body; then its upstream is asked, on a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mockprovider.cases import recipe
from mockprovider.dialects import TABLE
from mockprovider.errors import RequestError, SettingError, UnavailableError
from mockprovider.exchange import Exchange, Journal
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Response
from mockprovider.faults.grammar import from_segment
from mockprovider.namespace import Namespace
from mockprovider.player import Player
from mockprovider.recording import RecordedRequest
from mockprovider.render import message, replaced
from mockprovider.replay.living import Living
from mockprovider.scenario import Scenario
from mockprovider.scheduler import LoopScheduler
from mockprovider.seed import Seed
from mockprovider.server.flow import Flow, Taping
from mockprovider.server.performing import Written
from mockprovider.server.replaying import overlaid
from mockprovider.server.turn import Turn
from mockprovider.server.upstream import Live
from mockprovider.settings import Settings
from mockprovider.timeline import Ending, Timed
from mockprovider.wire import Head

if TYPE_CHECKING:
    from mockprovider.server.recorder import Recorder

__all__ = ["Overlay"]

logger = logging.getLogger("mockprovider")

_HEADER = "x-mockprovider-faults"
_OURS = "x-mockprovider-"


class Overlay:
    """The faults of one recorder, on the running loop. faults: for every request; seed: makes what is drawn repeat.

    SettingError for a chain that cannot be.
    """

    def __init__(self, recorder: Recorder, faults: str, seed: int | None) -> None:
        if faults:
            recipe(faults)
        self._recorder = recorder
        self._faults = faults
        self._seed = Seed(seed if seed is not None else secrets.randbits(32))
        self._namespace = Namespace("", Scenario(), Journal(1))
        self._settings = Settings()
        self._numbers = count(1)
        self._scheduler: LoopScheduler | None = None

    def wanted(self, request: web.BaseRequest) -> bool:
        """Whether the request is to meet faults."""
        return bool(self._faults or request.headers.get(_HEADER) or request.raw_path.startswith("/with/"))

    def close(self) -> None:
        """Nothing is due any more."""
        if self._scheduler is not None:
            self._scheduler.close()
            self._scheduler = None

    async def exchange(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request with what its upstream says, and faults."""
        scheduler = self._scheduler = self._scheduler or LoopScheduler(asyncio.get_running_loop())
        turn = self._turn(request, scheduler.now())
        flow: Flow | None = None
        tape: Taping | None = None
        try:
            if request.transport is None:
                raise ConnectionResetError("the client has left")
            turn.exchange.body = await self._body(turn)
            faults, response = self._struck(turn)
            if response is not None:
                timeline = self._respond(turn, response, faults)
            else:
                tape, flow = await self._ask(turn)
                timeline = _played(turn, flow, faults)
        except RequestError as error:
            timeline = self._error(turn, error)
        player = Player(
            timeline,
            request.transport,  # type: ignore[arg-type]
            request.protocol,
            scheduler,
            turn.exchange.sent,
            flow or self._namespace.gates,
            turn.exchange.started,
        )
        try:
            await player.play(request.writer.drain)
        except Exception:
            logger.exception("forwarding %r", turn.exchange)
        finally:
            if flow is not None:
                flow.finish("stopped" if self._recorder.stopping else player.outcome)
            if tape is not None and tape.whole:
                self._recorder.replace(tape)
        return Written(keep=turn.transfer.keeps and player.outcome == "complete")

    # ------------------------------------------------------------------------------------------ what is asked

    def _turn(self, request: web.BaseRequest, now: float) -> Turn:
        path, _, query = request.raw_path.partition("?")
        chain = ""
        if path.startswith("/with/"):
            segment, slash, rest = path[6:].partition("/")
            chain, path = from_segment(segment), slash + rest
        exchange = Exchange(
            next(self._numbers), "", request.method, path, query, request.headers, started=now, wall=time.time()
        )
        exchange.faults = chain
        turn = Turn(request, exchange, self._namespace, self._settings.chunking)
        turn.chain = chain
        return turn

    async def _body(self, turn: Turn) -> bytes:
        """The request's body. RequestError beyond the limit."""
        request, limit = turn.request, self._settings.body_limit
        if turn.expects and request.transport is not None:
            turn.expects = False
            turn.transfer = turn.new_transfer()
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            async for data in request.content.iter_any():
                body += data
                if len(body) > limit:
                    turn.transfer.keeps = False
                    raise RequestError(413, f"with faults, a request's body is held: {limit} bytes of it at most")
        except web.RequestPayloadError as error:
            turn.transfer.keeps = False
            raise RequestError(400, "The request's body is not encoded as its headers say.") from error
        return bytes(body)

    def _struck(self, turn: Turn) -> tuple[Applied, Response | None]:
        chains = (self._faults, turn.chain, turn.request.headers.get(_HEADER, ""))
        text = turn.exchange.faults = "+".join(filter(None, chains))
        try:
            used = recipe(text)
        except SettingError as error:
            raise RequestError(400, str(error), code="invalid_fault") from error
        return overlaid(turn, self._namespace, used, self._seed)

    async def _ask(self, turn: Turn) -> tuple[Taping, Flow]:
        """Ask the upstream, and begin to write down what it says. RequestError where it cannot be reached."""
        request, recorder, exchange = turn.request, self._recorder, turn.exchange
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        pairs = [(name, value) for name, value in pairs if not name.lower().startswith(_OURS)]
        target = (exchange.path or "/") + (f"?{exchange.query}" if exchange.query else "")
        try:
            connection = await recorder.settings.upstream.connect()
        except UnavailableError as error:
            raise RequestError(502, recorder.unreachable(error), kind="server", code="upstream_unreachable") from error
        tape = recorder.tape(RecordedRequest(request.method, target, tuple(pairs)))
        tape.sent(exchange.body)
        live = Live(connection, bodyless=request.method == "HEAD", silence=recorder.settings.silence)
        flow = Flow(connection, live, tape, started=exchange.started, method=request.method)
        chunked = request.headers.get("Transfer-Encoding", "").lower().endswith("chunked")
        said = [*pairs, ("Content-Length", str(len(exchange.body)))] if chunked else pairs
        await flow.begin(recorder.head_for(request, said, target, chunked=False) + exchange.body)
        return tape, flow

    # ------------------------------------------------------------------------------------------ what is answered

    def _respond(self, turn: Turn, response: Response, faults: Applied) -> Iterator[Timed[Any]]:
        """What a fault answers in the upstream's place."""
        headers, body = response.headers, response.body
        if response.error is not None:
            worded, body = self._worded(turn, response.error)
            headers = (*worded, *headers)
        head = Head(response.status, replaced(turn.dated, headers), response.reason)
        return message(head, body or b"", turn.transfer, faults, sized=not response.chunked)

    def _error(self, turn: Turn, error: RequestError) -> Iterator[Timed[Any]]:
        headers, body = self._worded(turn, error)
        return message(Head(error.status, (*headers, *turn.dated)), body, turn.transfer)

    def _worded(self, turn: Turn, error: RequestError) -> tuple[tuple[tuple[str, str], ...], bytes]:
        dialect = turn.dialect or TABLE.worded(turn.exchange.path)
        request_id = "req_" + self._seed.hex(32, "ids", "request", turn.exchange.id)
        return dialect.error(error, request_id, turn.target)


def _played(turn: Turn, flow: Flow, faults: Applied) -> Iterator[Timed[Any]]:
    living = None
    if faults.struck:
        living = Living(faults, bodyless=turn.request.method == "HEAD", now=asyncio.get_running_loop().time)
    for timed in flow.played(living):
        if isinstance(timed[1], Ending):
            turn.transfer.keeps = turn.transfer.keeps and flow.keeps
        yield timed

"""Requests that recordings answer: which one, with what faults; and what is said where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mockprovider.cases import Recipe
from mockprovider.dialects import TABLE
from mockprovider.errors import RequestError, SettingError
from mockprovider.exchange import Exchange
from mockprovider.faults.applied import NONE, Applied
from mockprovider.faults.base import Asked, Context, Response
from mockprovider.limits import Limits, request_tokens
from mockprovider.namespace import Namespace
from mockprovider.recording import RecordedRequest
from mockprovider.replay.library import Query
from mockprovider.replay.living import refusal
from mockprovider.replay.lowering import Headed
from mockprovider.replay.reel import Show
from mockprovider.seed import Seed
from mockprovider.server.turn import Turn
from mockprovider.timeline import Timed

__all__ = ["asked_request", "overlaid", "played", "unmatched"]


def asked_request(exchange: Exchange) -> RecordedRequest:
    """What was asked, in the form in which recordings have it."""
    target = f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path
    return RecordedRequest(exchange.method, target, tuple(exchange.headers.items()), exchange.body)


def unmatched(turn: Turn, namespace: Namespace, query: Query) -> RequestError:
    """Why no recording answers, noted as what no rule answers is."""
    exchange = turn.exchange
    assert namespace.deck is not None, "there are recordings"
    message = f"no recording answers {exchange.method} {exchange.path}: {namespace.deck.miss(query)}"
    namespace.scenario.unmatched.append(message)
    return RequestError(404, message, kind="not_found", code="no_recording_matched")


def played(
    turn: Turn, namespace: Namespace, show: Show, used: Recipe, seed: Seed, digest: bytes | None = None
) -> tuple[Applied, Response | Iterator[Timed[Any]]]:
    """The faults that strike, and what a fault answers in the recording's place, or the recording as socket actions.

    digest: of the request's body, where it has been counted already. RequestError where a fault cannot be laid over
    this recording.
    """
    exchange, transfer, reel = turn.exchange, turn.transfer, show.reel
    exchange.recording, exchange.status = reel.name, reel.status
    exchange.dialect = turn.dialect.name if turn.dialect is not None else None
    holds = namespace.gates.positions()
    keeps = transfer.keeps and reel.keeps
    if not used.faults and not holds:
        transfer.keeps = keeps
        return NONE, iter(reel.actions(show.playback))
    try:
        applied = NONE
        if used.faults:
            if (reason := reel.refusal(used.faults)) is not None:
                raise RequestError(400, f"recording {reel.name}: {reason}", code="fault_not_applicable")
            counted = reel.taken()
            applied = _applied(turn, namespace, used, seed, digest, stream=reel.stream, tokens=lambda: counted.tokens)
        exchange.struck = applied.struck
        response = applied.response()
        if response is not None:
            return applied, response
        transfer.keeps = keeps

        def dropped() -> None:
            transfer.keeps = False

        first = (Headed(applied.headers),) if applied.headers else ()
        return applied, reel.lifted(show.playback, applied, holds, dropped, first)
    except SettingError as error:
        raise RequestError(400, str(error), code="fault_not_applicable") from error


def overlaid(turn: Turn, namespace: Namespace, used: Recipe, seed: Seed) -> tuple[Applied, Response | None]:
    """The faults that strike a live reply, and what one answers in its place. RequestError where one cannot be done."""
    if not used.faults:
        return NONE, None
    turn.exchange.dialect = turn.dialect.name if turn.dialect is not None else None
    applied = _applied(turn, namespace, used, seed, None, stream=True, tokens=lambda: None, live=True)
    turn.exchange.struck = applied.struck
    try:
        response = applied.response()
    except SettingError as error:
        raise RequestError(400, str(error), code="fault_not_applicable") from error
    return applied, response


def _applied(
    turn: Turn,
    namespace: Namespace,
    used: Recipe,
    seed: Seed,
    digest: bytes | None,
    *,
    stream: bool,
    tokens: Callable[[], int | None],
    live: bool = False,
) -> Applied:
    exchange = turn.exchange
    reason = used.unfit(exchange.dialect or "an unknown one")
    if used.pace or used.chunking or used.ask:
        reason = f"{used.text} needs a reply that is made for it, with its own pace, chunking or form"
    if reason is not None:
        raise RequestError(400, reason, code="fault_not_applicable")
    if digest is None:
        digest, exchange.ordinal = namespace.recognise(exchange.body, turn.target.identity)
    known = digest
    attempt = namespace.attempt(used.text, used.faults, known)
    dialect = turn.dialect or TABLE.worded(exchange.path)
    prefix = f"/~{namespace.id}" if namespace.id else ""
    asked = Asked(prefix, turn.chain, exchange.path, exchange.query, exchange.headers, turn.reused)

    def context(index: int) -> Context:
        return Context(
            rng=seed.stream(f"fault:{index}", known, exchange.ordinal),
            attempt=attempt,
            stream=stream,
            tokens=tokens,
            dialect=dialect.name,
            error=lambda kind, message: dialect.error_object(RequestError(500, message, kind=kind)),
            wall=exchange.wall,
            asked=asked,
            chain=used.faults,
            admit=lambda rpm, tpm: namespace.limiter("fault", Limits(rpm, tpm), exchange.started).admit(
                exchange.started, request_tokens(len(exchange.body), None)
            ),
        )

    if live and (reason := refusal(used.faults, context(0))) is not None:
        raise RequestError(400, reason, code="fault_not_applicable")
    applied = Applied(used.faults, context)
    if applied.asks():
        raise RequestError(
            400, f"{used.text}: a recording has the form that it has, and no other", code="fault_not_applicable"
        )
    return applied

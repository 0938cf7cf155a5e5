"""What no recording answers, asked of an upstream: recorded while it comes, and performed by the player as it comes.

What faults make of it meanwhile, and how the player waits for it, is in `flow`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mockprovider.errors import RequestError, SettingError, UnavailableError
from mockprovider.faults.applied import Applied
from mockprovider.namespace import Namespace
from mockprovider.recording import RecordedRequest, load
from mockprovider.redaction import Redactor
from mockprovider.replay.library import Deck, Query, Recordings
from mockprovider.replay.living import Living
from mockprovider.server.flow import Flow
from mockprovider.server.recorder import with_key
from mockprovider.server.tape import Shelf, Tape
from mockprovider.server.turn import Turn
from mockprovider.server.upstream import Live, Upstream, UpstreamConnection
from mockprovider.timeline import Ending, Timed

__all__ = ["LiveReply", "ask"]

logger = logging.getLogger("mockprovider")

_OWN = frozenset(
    ("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
     "proxy-connection", "te", "transfer-encoding", "upgrade")
)  # fmt: skip
"""Request headers that belong to one connection (RFC 9110 section 7.6.1), or that are said anew here."""

_OURS = "x-mockprovider-"


async def ask(turn: Turn, namespace: Namespace, deck: Deck, query: Query) -> LiveReply:
    """Ask the upstream, and begin to record. RequestError where it cannot be reached, or must not be."""
    settings, request = deck.settings, turn.request
    assert settings.upstream is not None, "such modes have one"
    key = _key(turn, settings)
    upstream = Upstream.parse(settings.upstream)
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
    target = f"{turn.exchange.path}?{turn.exchange.query}" if turn.exchange.query else turn.exchange.path
    try:
        connection = await upstream.connect()
    except UnavailableError as error:
        message = f"the upstream {upstream} cannot be reached: {error}"
        raise RequestError(502, message, kind="server", code="upstream_unreachable") from error
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{settings.folder}: {error.strerror}") from error
    redactor = Redactor(settings.rules, [key] if key else []).knowing(pairs, target)
    asked = RecordedRequest(request.method, target, tuple(pairs))
    tape = Tape(asked, redactor, Shelf(settings.folder), _Failures(namespace))
    live = Live(connection, bodyless=request.method == "HEAD")
    body = turn.exchange.body
    tape.sent(body)
    kept = [(name, value) for name, value in pairs if name.lower() not in _OWN and not name.lower().startswith(_OURS)]
    if key is not None:
        kept, target = with_key(kept, target, key)
    lines = [f"{request.method} {upstream.prefix}{target} HTTP/1.1", f"Host: {upstream.authority}"]
    lines += [f"{name}: {value}" for name, value in kept]
    lines.append("Accept-Encoding: identity")
    if body or request.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    reply = LiveReply(turn, deck, query, connection, live, tape)
    await reply.begin(head + body)
    return reply


def _key(turn: Turn, settings: Recordings) -> str | None:
    """The key for the upstream, if it is not the client's own. A page of another site must not spend it."""
    if settings.key_env is None:
        return None
    origin = turn.exchange.headers.get("Origin")
    if origin is not None and urlsplit(origin).hostname not in ("localhost", "127.0.0.1", "::1"):
        raise RequestError(403, f"a page of {origin} may not spend the key of this server", code="foreign_origin")
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise SettingError(f"the environment has no variable {settings.key_env}, or it is empty")
    return key


class _Failures:
    """A recording that stays incomplete fails the test, or shows in the namespace; the client has its reply."""

    def __init__(self, namespace: Namespace) -> None:
        self._errors = namespace.errors

    def failed(self, path: Path | None, reason: str) -> None:
        """Note it."""
        message = f"{path} is incomplete: {reason}" if path is not None else f"nothing was recorded: {reason}"
        self._errors.append(message)
        logger.error("%s", message)


class LiveReply(Flow):
    """What the upstream answers, as actions; and the gate at which the player waits for more of it."""

    def __init__(
        self, turn: Turn, deck: Deck, query: Query, connection: UpstreamConnection, live: Live, tape: Tape
    ) -> None:
        super().__init__(connection, live, tape, started=turn.exchange.started, method=turn.request.method)
        self._turn = turn
        self._deck = deck
        self._query = query
        self._kept = tape

    def actions(self, faults: Applied) -> Iterator[Timed[Any]]:
        """What has come, and what will."""
        turn = self._turn
        living = None
        if faults.struck:
            living = Living(faults, bodyless=turn.request.method == "HEAD", now=self._loop.time)
        for timed in self.played(living):
            if isinstance(timed[1], Ending):
                turn.exchange.status = None if self.head is None else self.head.status
                turn.transfer.keeps = turn.transfer.keeps and self.keeps
                turn.exchange.struck = faults.struck if living is None else living.struck
            yield timed

    def finish(self, outcome: str | None) -> None:
        """The exchange has ended so; what was recorded takes its place among the recordings."""
        super().finish(outcome)
        if self._kept.path is not None and self._kept.whole:
            self._turn.exchange.recording = self._kept.path.stem
            with contextlib.suppress(OSError):
                self._deck.recorded(load(self._kept.path), self._query)

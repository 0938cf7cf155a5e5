"""One request and all that was sent for it, when, and how it ended; and the journal of them.

Nothing here knows HTTP libraries: the server fills an `Exchange` in, the player writes to its `SentLog`.
"""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mockprovider.dialects.base import Ask
from mockprovider.errors import SettingError, WaitTimeoutError, nearest
from mockprovider.metrics import OUTCOMES, Metrics
from mockprovider.reply import Reply

__all__ = ["OUTCOMES", "Exchange", "Journal", "SentLog"]

_SELECTABLE = (*OUTCOMES, "open")

KEPT_WRITES = 65_536
KEPT_BYTES = 1 << 20


class SentLog:
    """What was written, when it was due and when it left. Times are monotonic seconds.

    deadlines, times, sizes: one entry a write, at most `KEPT_WRITES`; data: the bytes of the first writes, at most
    `KEPT_BYTES` in all; last: when the newest write left; worst: the greatest lateness that is not the client's doing;
    blocked: seconds that the client's full window held everything up, excused: when it last let go. `writes` and
    `bytes` count everything, so what is missing is visible.
    """

    __slots__ = (
        "_due",
        "_metrics",
        "_room",
        "blocked",
        "bytes",
        "data",
        "deadlines",
        "excused",
        "last",
        "sizes",
        "times",
        "worst",
        "writes",
    )

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self._due = -math.inf
        self.blocked = 0.0
        self.excused = -math.inf
        self.deadlines = array("d")
        self.times = array("d")
        self.sizes = array("L")
        self.data: list[bytes] = []
        self.writes = 0
        self.bytes = 0
        self.last = 0.0
        self.worst = 0.0
        self._room = KEPT_BYTES

    def add(self, deadline: float, time: float, data: bytes, events: int = 1) -> None:
        """One write, of so many events, has left."""
        size = len(data)
        self.writes += 1
        self.bytes += size
        # What has no deadline of its own is due as soon as what came before it has left.
        # (Comparisons in line: this runs for every write.)
        due = deadline if deadline > self.excused else self.excused
        if deadline > self._due:
            self._due = deadline
        elif self.last > due:
            due = self.last
        late = time - due if time > due else 0.0
        self.worst = max(self.worst, late)
        self.last = time
        if self._metrics is not None:
            self._metrics.wrote(size, events, late)
        if self.writes <= KEPT_WRITES:
            self.deadlines.append(deadline)
            self.times.append(time)
            self.sizes.append(size)
            if size <= self._room:
                self._room -= size
                self.data.append(data)
            else:
                self._room = 0  # what follows a gap would be misread

    def unblocked(self, since: float, now: float) -> None:
        """The client reads again: what became due meanwhile is late by its own doing."""
        self.blocked += now - since
        self.excused = now

    @property
    def kept(self) -> int:
        """How many bytes the entries and the data take, roughly: an entry is three numbers."""
        return KEPT_BYTES - self._room + 24 * len(self.times)

    @property
    def lateness(self) -> list[float]:
        """Seconds that each kept write left after its deadline."""
        return [time - deadline for deadline, time in zip(self.deadlines, self.times, strict=True)]


class Exchange:
    """One request, its answer, and what became of it.

    path: without the prefixes that choose the namespace; body: raw bytes; started: monotonic seconds, wall:
    seconds since the epoch; ask and reply: None for what is no prompt; rule: the name of the rule that answered,
    or None for a generated reply; faults: the chain that was applied; status: of the head that was sent; outcome: one
    of `OUTCOMES`, None while open; late: whether a write was further behind its deadline than the server's bound;
    error: why it failed; ordinal: how many requests with this body came before it in its namespace.
    """

    __slots__ = (
        "ask", "body", "choice_replies", "dialect", "ended", "error", "faults", "headers", "id", "late", "method",
        "namespace", "ordinal", "outcome", "path", "query", "rule", "sent", "started", "status", "wall", "weight",
    )  # fmt: skip

    def __init__(
        self,
        id: int,
        namespace: str,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        *,
        started: float,
        wall: float,
        metrics: Metrics | None = None,
    ) -> None:
        self.id = id
        self.namespace = namespace
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.started = started
        self.wall = wall
        self.ended: float | None = None
        self.body = b""
        self.ordinal = 0
        self.faults = ""
        self.late = False
        self.dialect: str | None = None
        self.ask: Ask | None = None
        self.choice_replies: tuple[Reply, ...] = ()
        self.rule: str | None = None
        self.status: int | None = None
        self.outcome: str | None = None
        self.error: str | None = None
        self.sent = SentLog(metrics)
        self.weight = -1  # the journal's: bytes that it counts for, -1 while no journal keeps it

    @property
    def json(self) -> Any:
        """The request's body, parsed. ValueError where it is no JSON."""
        return json.loads(self.body)

    @property
    def reply(self) -> Reply | None:
        """What the first choice was to say."""
        return self.choice_replies[0] if self.choice_replies else None

    def __repr__(self) -> str:
        status = "" if self.status is None else f" {self.status}"
        return f"<Exchange {self.id} {self.method} {self.path}{status} {self.outcome or 'open'}>"

    def describe(self, *, writes: bool = True) -> dict[str, Any]:
        """The exchange as JSON, for the control API and the journal file; times are relative to its start."""
        described: dict[str, Any] = {
            "id": self.id,
            "namespace": self.namespace,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [[name, _masked(name, value)] for name, value in self.headers.items()],
            "body": self.body.decode("utf-8", "backslashreplace"),
            "received": self.wall,
            "dialect": self.dialect,
            "rule": self.rule,
            "faults": self.faults,
            "status": self.status,
            "outcome": self.outcome,
            "late": self.late,
            "error": self.error,
            "seconds": None if self.ended is None else self.ended - self.started,
            "sent": {
                "writes": self.sent.writes,
                "bytes": self.sent.bytes,
                "worst_lateness": self.sent.worst,
                "blocked": self.sent.blocked,
            },
        }
        if writes:
            described["sent"]["timeline"] = [
                {"deadline": deadline - self.started, "time": time - self.started, "size": size}
                for deadline, time, size in zip(self.sent.deadlines, self.sent.times, self.sent.sizes, strict=True)
            ]
            described["sent"]["data"] = b"".join(self.sent.data).decode("utf-8", "backslashreplace")
        return described


_SECRET_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-mockprovider-token",
    }
)


def _masked(name: str, value: str) -> str:
    """A header's value for the outside; of a secret only its length, since journals are kept and shared."""
    return f"<{len(value)} characters>" if name.lower() in _SECRET_HEADERS else value


class Journal:
    """The exchanges of one namespace, newest last, at most `limit` of them and `byte_limit` bytes of what they hold.

    Bodies count, and what is kept of the writes. What fell out is counted in `dropped`. To be used on the server's
    loop; reading the list is safe from any thread.
    """

    def __init__(self, limit: int = 1000, byte_limit: int = 256 << 20) -> None:
        self.limit = limit
        self.byte_limit = byte_limit
        self.dropped = 0
        self._exchanges: deque[Exchange] = deque()
        self._bytes = 0
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __iter__(self) -> Iterator[Exchange]:
        return iter(tuple(self._exchanges))

    def __len__(self) -> int:
        return len(self._exchanges)

    def add(self, exchange: Exchange) -> None:
        """A request has come in. Its body may still follow; call `weigh` then."""
        exchange.weight = 0
        self._exchanges.append(exchange)
        if len(self._exchanges) > self.limit:
            self._drop()
        if self._waiting:
            self.changed()

    def weigh(self, exchange: Exchange) -> None:
        """An exchange has grown, by its body or by what was sent: let older ones go if together they are too large."""
        if exchange.weight < 0:
            return  # it has fallen out already
        weight = len(exchange.body) + exchange.sent.kept
        self._bytes += weight - exchange.weight
        exchange.weight = weight
        while self._bytes > self.byte_limit and len(self._exchanges) > 1:
            self._drop()

    def _drop(self) -> None:
        dropped = self._exchanges.popleft()
        self._bytes -= dropped.weight
        dropped.weight = -1
        self.dropped += 1

    def clear(self) -> None:
        """Forget all exchanges and the count of those that fell out."""
        for exchange in self._exchanges:
            exchange.weight = -1
        self._exchanges.clear()
        self._bytes = 0
        self.dropped = 0

    def changed(self) -> None:
        """An exchange began or ended: wake whoever waits for it."""
        for condition, future in tuple(self._waiting):
            if not future.done() and condition():
                future.set_result(None)

    def select(self, *, path: str | None = None, outcome: str | None = None) -> list[Exchange]:
        """The exchanges with this path and this outcome (`open` for those under way). SettingError for no outcome."""
        if outcome is not None and outcome not in _SELECTABLE:
            raise SettingError(f"unknown outcome {outcome!r}{nearest(outcome, _SELECTABLE)}")
        return [
            exchange
            for exchange in self._exchanges
            if (path is None or exchange.path == path) and (outcome is None or (exchange.outcome or "open") == outcome)
        ]

    async def wait(
        self, count: int = 1, *, path: str | None = None, outcome: str | None = None, timeout: float = 5.0
    ) -> list[Exchange]:
        """Wait until at least `count` exchanges match, ended ones unless `outcome="open"`; return them.

        timeout: seconds. Raises WaitTimeoutError, with a picture of what happened instead; SettingError for an
        outcome that there is not.
        """

        def found() -> list[Exchange]:
            return [e for e in self.select(path=path, outcome=outcome) if outcome == "open" or e.outcome]

        if len(found()) >= count:
            return found()
        entry = (lambda: len(found()) >= count, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await asyncio.wait_for(entry[1], timeout)
        except TimeoutError:
            wanted = " ".join(filter(None, [outcome, path and f"to {path}"])) or "ended"
            seen = "\n".join(f"  {exchange!r}" for exchange in self._exchanges) or "  none at all"
            raise WaitTimeoutError(
                f"waited {timeout:g} s for {count} exchange(s) {wanted}, saw {len(found())}; all exchanges:\n{seen}"
            ) from None
        finally:
            self._waiting.remove(entry)
        return found()

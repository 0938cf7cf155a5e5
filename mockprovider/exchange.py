"""One request and all that was sent for it, when, and how it ended; and the journal of them.

Nothing here knows HTTP libraries: the server fills an `Exchange` in, the player writes to its `SentLog`.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import sub
from typing import Any, TypeAlias

from mockprovider.dialects.base import Ask
from mockprovider.errors import SettingError, WaitTimeoutError, nearest
from mockprovider.metrics import BOUNDS, OUTCOMES, Metrics
from mockprovider.reply import Reply

__all__ = ["JOINED", "OUTCOMES", "Exchange", "Journal", "SentLog"]

_SELECTABLE = (*OUTCOMES, "open")

KEPT_WRITES = 65_536
KEPT_BYTES = 1 << 20

_SETTLE = 4.0
"""Seconds between two times that a stream's numbers are added to the server's."""


_Pieces: TypeAlias = Sequence[bytes]
_Data: TypeAlias = list[bytes]

JOINED = -math.inf
"""The time of what left in one write with what stands before it."""

_Run: TypeAlias = tuple["array[float]", list[_Pieces], "array[int]", "array[float]"]
"""Writes that are under way: when each is due, their bytes and how many, and when those that have left did so.

Numbers are kept flat, bytes as they were handed over, and sizes are asked for while the bytes have just been made: to
touch each object again when the run is entered would take longer than everything else that is done for it.
"""

_ENTERING = threading.RLock()
"""Held while a run is entered, by the loop or by a test's thread that looks, and while one is added to."""


class SentLog:
    """What was written, when it was due and when it left. Times are monotonic seconds.

    deadlines, times, sizes: one entry a write, at most `KEPT_WRITES`; data: the bytes of the first writes, at most
    `KEPT_BYTES` in all; last: when the newest write left; worst: the greatest lateness that is not the client's doing;
    blocked: seconds that the client's full window held everything up, excused: when it last let go. `writes` and
    `bytes` count everything, so what is missing is visible.

    Of a run of writes only the times are noted while it lasts; the rest is entered by whoever looks, from any thread.
    """

    __slots__ = (
        "_batches",
        "_bytes",
        "_deadlines",
        "_due",
        "_events",
        "_last",
        "_late",
        "_lateness",
        "_metrics",
        "_room",
        "_run",
        "_settled",
        "_sizes",
        "_times",
        "_worst",
        "_writes",
        "blocked",
        "excused",
        "settle_at",
    )

    def __init__(self, metrics: Metrics | None = None, started: float = 0.0) -> None:
        self._metrics = metrics
        self.settle_at = started + _SETTLE
        self._settled = 0, 0  # writes and bytes that the server's counters know of
        self._events = 0
        self._lateness = 0.0
        self._late: list[float] = []
        self._due = -math.inf
        self.blocked = 0.0
        self.excused = -math.inf
        self._deadlines = array("d")
        self._times = array("d")
        self._sizes = array("L")
        self._batches: list[_Pieces] = []
        self._writes = 0
        self._bytes = 0
        self._last = 0.0
        self._worst = 0.0
        self._room = KEPT_BYTES
        self._run: _Run | None = None

    def add(self, deadline: float, time: float, data: bytes, events: int = 1) -> None:
        """One write, of so many events, has left."""
        if self._run is not None:
            self._enter(over=True)
        self._add(deadline, time, data, events)
        if time >= self.settle_at:
            self.settle()

    def _add(self, deadline: float, time: float, data: bytes, events: int) -> None:
        # This runs for every write: comparisons are in line, and the server's counters hear of it now and then.
        size = len(data)
        self._writes += 1
        self._bytes += size
        self._events += events
        # What has no deadline of its own is due as soon as what came before it has left.
        due = deadline if deadline > self.excused else self.excused
        if deadline > self._due:
            self._due = deadline
        elif self._last > due:
            due = self._last
        self._last = time
        if time > due:
            late = time - due
            self._lateness += late
            if late > BOUNDS[0]:
                self._late.append(late)
            if late > self._worst:  # noqa: PLR1730  max() is a call, and this runs for every write
                self._worst = late
        if self._writes <= KEPT_WRITES:
            self._deadlines.append(deadline)
            self._times.append(time)
            self._sizes.append(size)
            if size <= self._room:
                self._room -= size
                self._batches.append((data,))
            else:
                self._room = 0  # what follows a gap would be misread

    def add_each(self, deadline: float, times: array[float], pieces: Sequence[bytes]) -> None:
        """Writes that were due together have left, one after the other; there may be fewer times than pieces."""
        if not times:
            return
        self.add(deadline, times[0], pieces[0])
        others = pieces[1 : len(times)]
        # Each of the others was due as soon as the one before it had left.
        self._add_all(array("d", [deadline]) * len(others), times[1:], [others], _sizes(others), times)
        if times[-1] >= self.settle_at:
            self.settle()

    def run(self, deadlines: list[float], pieces: Sequence[bytes]) -> array[float]:
        """Writes follow, one a piece, each later than the one before it: the array takes the times at which they leave.

        A piece that left in one write with the one before it has `JOINED` for its time. It may be that not all leave:
        whatever comes next tells.
        """
        with _ENTERING:
            if self._run is not None:
                due, _, _, times = self._run
                if due and (len(times) < len(due) or deadlines[0] <= due[-1]):
                    self._enter(over=True)
            if self._run is None:
                self._run = (array("d"), [], array("L"), array("d"))
            due, batches, sizes, times = self._run
            due.fromlist(deadlines)
            batches.append(pieces)
            sizes.extend(_sizes(pieces))
            return times

    def _enter(self, *, over: bool = False) -> None:
        """Enter what has left of the run, and forget it there. over: nothing follows."""
        with _ENTERING:
            if self._run is None:
                return
            # Times may be added meanwhile, where another thread looks.
            deadlines, under_way, sizes, times = self._run
            count = len(times)
            batches = _taken(under_way, count)
            numbers = deadlines, sizes, times
            deadlines, sizes, times = deadlines[:count], sizes[:count], times[:count]
            for each in numbers:
                del each[:count]
            if over:
                self._run = None
            if not count:
                return
            if min(times) == JOINED:
                deadlines, times, pieces = _together(deadlines, times, _flat(batches))
                batches, sizes = [pieces], _sizes(pieces)
                self._events += count - len(times)  # each write counts as one below
            if deadlines[0] > self._due and deadlines[0] >= self.excused:
                self._due = deadlines[-1]
                self._add_all(deadlines, times, batches, sizes, deadlines)
                return
            for deadline, time, piece in zip(deadlines, times, _flat(batches), strict=True):
                self._add(deadline, time, piece, 1)

    def _add_all(
        self,
        deadlines: array[float],
        times: array[float],
        batches: Sequence[_Pieces],
        sizes: array[int],
        due: array[float],
    ) -> None:
        """Writes that have left, one event each. due: since when each could have left; there may be more of them."""
        count = len(times)
        late = list(map(sub, times, due))
        if not late:
            return
        worst = max(late)
        if worst > BOUNDS[0]:
            self._late += [seconds for seconds in late if seconds > BOUNDS[0]]
        self._worst = max(self._worst, worst)
        size = sum(sizes)
        kept = max(0, min(count, KEPT_WRITES - self._writes))
        self._writes += count
        self._bytes += size
        self._events += count
        self._lateness += sum(late)
        self._last = times[-1]
        if kept < count:
            deadlines, times, sizes = deadlines[:kept], times[:kept], sizes[:kept]
            batches, size = [_flat(batches)[:kept]], sum(sizes)
        self._deadlines.extend(deadlines)
        self._times.extend(times)
        self._sizes.extend(sizes)
        if size <= self._room:
            self._room -= size
            self._batches += batches
        else:
            self._room = 0

    def settle(self) -> None:
        """Tell the server's counters what they have not been told yet."""
        if self._run is None:
            self._tell()
            return
        self._enter()
        with _ENTERING:
            self._tell()

    def _tell(self) -> None:
        if self._metrics is not None:
            writes, size = self._writes - self._settled[0], self._bytes - self._settled[1]
            self._metrics.wrote(writes, size, self._events, self._lateness, self._late)
        self._settled = self._writes, self._bytes
        self._events, self._lateness = 0, 0.0
        self._late.clear()
        self.settle_at = self._last + _SETTLE

    def unblocked(self, since: float, now: float) -> None:
        """The client reads again: what became due meanwhile is late by its own doing."""
        self._enter()
        self.blocked += now - since
        self.excused = now

    @property
    def writes(self) -> int:
        """How many writes have left."""
        return self._whole._writes

    @property
    def bytes(self) -> int:
        """How many bytes have left."""
        return self._whole._bytes

    @property
    def deadlines(self) -> array[float]:
        """When each kept write was due."""
        return self._whole._deadlines

    @property
    def times(self) -> array[float]:
        """When each kept write left."""
        return self._whole._times

    @property
    def sizes(self) -> array[int]:
        """How many bytes each kept write has."""
        return self._whole._sizes

    @property
    def data(self) -> _Data:
        """The bytes of the first writes."""
        return _flat(self._whole._batches)

    @property
    def last(self) -> float:
        """When the newest write left."""
        return self._whole._last

    @property
    def worst(self) -> float:
        """The greatest lateness that is not the client's doing, in seconds."""
        return self._whole._worst

    @property
    def kept(self) -> int:
        """How many bytes the entries and the data take, roughly: an entry is three numbers."""
        return KEPT_BYTES - self._whole._room + 24 * len(self._times)

    @property
    def lateness(self) -> list[float]:
        """Seconds that each kept write left after its deadline."""
        return [time - deadline for deadline, time in zip(self.deadlines, self.times, strict=True)]

    @property
    def _whole(self) -> SentLog:
        """Itself, with all that has left entered."""
        if self._run is not None:
            self._enter()
        return self


def _together(
    deadlines: array[float], times: array[float], pieces: Sequence[bytes]
) -> tuple[array[float], array[float], list[bytes]]:
    """The writes of pieces of which some left with the one before them."""
    firsts = [at for at, time in enumerate(times) if time != JOINED]
    ends = [*firsts[1:], len(times)]
    joined = [b"".join(pieces[at:end]) for at, end in zip(firsts, ends, strict=True)]
    return array("d", [deadlines[at] for at in firsts]), array("d", [times[at] for at in firsts]), joined


def _taken(batches: list[_Pieces], count: int) -> list[_Pieces]:
    """The first so many pieces, which are no longer there."""
    taken: list[_Pieces] = []
    while count:
        first = batches[0]
        if len(first) <= count:
            taken.append(batches.pop(0))
        else:
            taken.append(first[:count])
            batches[0] = first[count:]
        count -= len(taken[-1])
    return taken


def _flat(batches: Iterable[_Pieces]) -> list[bytes]:
    return list(chain.from_iterable(batches))


def _sizes(pieces: Sequence[bytes]) -> array[int]:
    return array("L", list(map(len, pieces)))


class Exchange:
    """One request, its answer, and what became of it.

    path: without the prefixes that choose the namespace; body: raw bytes; started: monotonic seconds, wall:
    seconds since the epoch; ask and reply: None for what is no prompt; rule: the name of the rule that answered,
    or None for a generated reply; faults: the chain that was asked for; struck: those faults
    of it that were applied to this request; recording: the
    name of the one that answered, or None; status: of the head that was sent; outcome: one
    of `OUTCOMES`, None while open; late: whether a write was further behind its deadline than the server's bound;
    error: why it failed; ordinal: how many requests with this body came before it in its namespace.
    """

    __slots__ = (
        "ask", "body", "choice_replies", "dialect", "ended", "error", "faults", "headers", "id", "late", "method",
        "namespace", "ordinal", "outcome", "path", "query", "recording", "rule", "sent", "started", "status", "struck",
        "wall", "weight",
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
        self.struck: tuple[object, ...] = ()
        self.late = False
        self.dialect: str | None = None
        self.ask: Ask | None = None
        self.choice_replies: tuple[Reply, ...] = ()
        self.rule: str | None = None
        self.recording: str | None = None
        self.status: int | None = None
        self.outcome: str | None = None
        self.error: str | None = None
        self.sent = SentLog(metrics, started)
        self.weight = -1  # the journal's: bytes that it counts for, -1 while no journal keeps it

    @property
    def json(self) -> Any:
        """The request's body, parsed. ValueError where it is no JSON."""
        return json.loads(self.body)

    @property
    def attempt(self) -> int:
        """1 for the first request with this body in its namespace, 2 for its repetition, and so on."""
        return self.ordinal + 1

    @property
    def left_at(self) -> int | None:
        """How many bytes had been sent when the client left, the head among them; None where it did not leave."""
        return self.sent.bytes if self.outcome == "client-left" else None

    @property
    def reply(self) -> Reply | None:
        """What the first choice was to say."""
        return self.choice_replies[0] if self.choice_replies else None

    def __repr__(self) -> str:
        status = "" if self.status is None else f" {self.status}"
        outcome = self.outcome or "open"
        size = "" if outcome == "complete" else f" after {self.sent.bytes} bytes"
        again = f", attempt {self.attempt}" if self.ordinal else ""
        return f"<Exchange {self.id} {self.method} {self.path}{status} {outcome}{size}{again}>"

    def describe(self, *, writes: bool = True) -> dict[str, Any]:
        """The exchange as JSON, for the control API and the journal file; times are relative to its start."""
        described: dict[str, Any] = {
            "id": self.id,
            "namespace": self.namespace,
            "method": self.method,
            "path": self.path,
            "query": _KEY.sub(lambda key: f"{key[1]}<{len(key[2])} characters>", self.query),
            "headers": [[name, _masked(name, value)] for name, value in self.headers.items()],
            "body": self.body.decode("utf-8", "backslashreplace"),
            "received": self.wall,
            "dialect": self.dialect,
            "rule": self.rule,
            "recording": self.recording,
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


_KEY = re.compile(r"((?:^|(?<=&))key=)([^&]+)")
"""A key in a query, as Google's API accepts it."""


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

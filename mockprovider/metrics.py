"""Counters of a server, in the text format of Prometheus: how much it sent, how it ended, and how late it was.

All numbers live in one flat array of doubles, so that the workers of one server can keep theirs side by side in shared
memory and whichever is asked adds them up.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol, TypeAlias

__all__ = ["BOUNDS", "OUTCOMES", "SIZE", "Metrics"]

BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Upper bounds of the lateness histogram's buckets, in seconds; a last bucket has none."""

_BUCKETS = (*BOUNDS, math.inf)

OUTCOMES = ("complete", "closed", "reset", "client-left", "stopped", "failed")
"""How an exchange may end: to the end of the message; FIN or RST without it, on purpose; the client was first; the
server was stopped or the namespace closed; a defect of ours or of an answer function."""

_STATUSES = (1, 2, 3, 4, 5)
_TOTALS = ("open", "writes", "bytes", "events", "late", "lateness_sum", "blocked")
_NAMES = (*_TOTALS, *OUTCOMES, *_STATUSES)
_PLACE = {name: index for index, name in enumerate(_NAMES)}
_FIRST = len(_NAMES)
SIZE = _FIRST + len(_BUCKETS)
"""How many doubles the numbers of one server take."""

_OPEN, _WRITES, _BYTES, _EVENTS = (_PLACE[name] for name in ("open", "writes", "bytes", "events"))
_SUM, _BLOCKED, _LATE = (_PLACE[name] for name in ("lateness_sum", "blocked", "late"))


Doubles: TypeAlias = "array[float] | memoryview[float]"


class Settling(Protocol):
    """What counts for itself and adds its numbers to the server's now and then."""

    def settle(self) -> None:
        """Add what has not been added yet."""


class Metrics:
    """The numbers of one server or worker. values: where they are kept; siblings: those of all workers, its own too.

    Streams under way add theirs every few seconds, at their end, and whenever this server is asked. What they
    have sent since then is missing only where another worker is asked.
    """

    __slots__ = ("_open", "_siblings", "_values")

    def __init__(
        self,
        values: Doubles | None = None,
        siblings: Sequence[Doubles] = (),
    ) -> None:
        self._values = array("d", [0.0] * SIZE) if values is None else values
        self._siblings = siblings or (self._values,)
        self._open: set[Settling] = set()

    def wrote(self, writes: int, size: int, events: int, lateness: float, late: Sequence[float] = ()) -> None:
        """So many writes of so many bytes and events left, so many seconds after they were due in all.

        late: the seconds of each of those that are not of the histogram's first bucket.
        """
        values = self._values
        values[_WRITES] += writes
        values[_BYTES] += size
        values[_EVENTS] += events
        values[_SUM] += lateness
        values[_FIRST] += writes - len(late)
        ordered, counted = sorted(late), 0
        for bucket, bound in enumerate(_BUCKETS, _FIRST):
            if counted == len(ordered):
                break
            upto = bisect_right(ordered, bound, counted)
            values[bucket] += upto - counted
            counted = upto

    def began(self, stream: Settling) -> None:
        """A response is being sent."""
        self._values[_OPEN] += 1
        self._open.add(stream)

    def ended(self, stream: Settling) -> None:
        """It is no longer being sent."""
        stream.settle()
        self._open.discard(stream)
        self._values[_OPEN] -= 1

    def count(self, outcome: str, status: int | None, blocked: float, *, late: bool) -> None:
        """A response has ended so; it waited so many seconds for its client; late: beyond the server's bound."""
        values = self._values
        values[_PLACE[outcome]] += 1
        if blocked:
            values[_BLOCKED] += blocked
        if late:
            values[_LATE] += 1
        if status is not None and status // 100 in _PLACE:
            values[_PLACE[status // 100]] += 1

    def total(self, name: str) -> float:
        """One of the totals, over all workers: open, writes, bytes, events, late, lateness_sum, blocked."""
        self._settle()
        return sum(values[_PLACE[name]] for values in self._siblings)

    def _settle(self) -> None:
        for stream in self._open:
            stream.settle()

    def text(self) -> str:
        """Everything in Prometheus' text exposition format 0.0.4."""
        self._settle()
        place = {name: sum(values[index] for values in self._siblings) for name, index in _PLACE.items()}
        lines: list[str] = []

        def family(name: str, kind: str, meaning: str, samples: Sequence[tuple[str, float]]) -> None:
            lines.extend((f"# HELP mockprovider_{name} {meaning}", f"# TYPE mockprovider_{name} {kind}"))
            lines.extend(f"mockprovider_{name}{labels} {value:.17g}" for labels, value in samples)

        family("open_streams", "gauge", "Responses that are being sent.", [("", place["open"])])
        family("writes_total", "counter", "Writes to sockets.", [("", place["writes"])])
        family("bytes_total", "counter", "Bytes written to sockets.", [("", place["bytes"])])
        family("events_total", "counter", "Events, and heads and endings of responses, sent.", [("", place["events"])])
        outcomes = [(f'{{outcome="{outcome}"}}', place[outcome]) for outcome in OUTCOMES]
        family("endings_total", "counter", "Responses by how they ended.", outcomes)
        statuses = [(f'{{status="{status}xx"}}', place[status]) for status in _STATUSES]
        family("responses_total", "counter", "Responses by class of status.", statuses)
        family("late_exchanges_total", "counter", "Responses with a write later than the bound.", [("", place["late"])])
        blocked = [("", place["blocked"])]
        family(
            "blocked_seconds_total", "counter", "Seconds that responses waited for clients that do not read.", blocked
        )
        counts = [sum(values[_FIRST + bucket] for values in self._siblings) for bucket in range(len(_BUCKETS))]
        running, samples = 0.0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
            running += count
            samples.append((f'_bucket{{le="{bound}"}}', running))
        samples += [("_sum", place["lateness_sum"]), ("_count", running)]
        family("lateness_seconds", "histogram", "How long after its deadline each write left.", samples)
        return "\n".join(lines) + "\n"

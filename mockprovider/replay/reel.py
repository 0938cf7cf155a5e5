"""A recording made ready to be played: parsed once, and played any number of times from the same tuple of actions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults import Fault
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Level
from mockprovider.recording import RecordedHead, Recording
from mockprovider.replay.lowering import Gated, Packed, ToBlocks, ToDeltas, ToPayloads, Written
from mockprovider.replay.taken import Taken, ending_of
from mockprovider.timeline import NOWHERE, Control, Hold, Stage, Timed, run
from mockprovider.wire import Burst, SocketItem, Write

__all__ = ["BY_TOKEN", "LINES", "WRITES", "Playback", "Reel", "Show", "keeps", "speed_of", "speed_text"]

WRITES = ("recorded", "loose", "joined")
"""How reads become writes: each one of its own, a millisecond at least from the next, so that a client reads it alone;
of its own without a pause; or joined with what is due at the same time."""

_APART = 0.001
_JOINED = 32 * 1024
_TURN = 32
"""Bytes that are made one write at most, and writes that are made one after the other, where there are no gaps."""


def speed_of(value: object) -> float:
    """A speed from `1`, `4`, `0.5` or `instant`: what gaps are divided by. SettingError for anything else."""
    if value in ("instant", math.inf):
        return math.inf
    try:
        speed = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise SettingError(f"speed: expected a number > 0, or instant, got {value!r}")
    return speed


def speed_text(speed: float) -> str:
    """The speed as `speed_of` reads it."""
    return "instant" if speed == math.inf else f"{speed:g}"


@dataclass(frozen=True, slots=True)
class Playback:
    """How recordings are played. speed: see `speed_of`; writes: one of `WRITES`. SettingError for anything else."""

    speed: float = 1.0
    writes: str = "recorded"

    def __post_init__(self) -> None:
        object.__setattr__(self, "speed", speed_of(self.speed))
        if self.writes not in WRITES:
            raise SettingError(f"writes: expected one of {', '.join(WRITES)}, got {self.writes!r}")

    @property
    def make(self) -> Callable[[bytes], SocketItem]:
        """What a read's bytes become."""
        if self.writes == "joined":
            return bytes
        apart = _APART if self.writes == "recorded" else 0.0
        return lambda data: Write(data, apart)

    def gathers(self, held: list[bytes], data: bytes) -> bool:
        """Whether these bytes may be one item with those, where all are due together."""
        if self.writes == "loose":
            return len(held) < _TURN
        return self.writes == "joined" and sum(map(len, held)) + len(data) <= _JOINED

    def item(self, held: list[bytes]) -> SocketItem:
        """The bytes of reads that are due together, as one item."""
        if len(held) == 1 or self.writes == "joined":
            return self.make(b"".join(held))
        return Burst(tuple(held), joins=False)


class Reel:
    """One recording, ready. keeps: whether its connection carries another request after it."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.name = recording.name
        self.keeps = keeps(recording.head, recording.ending, recording.request.method)
        self._actions: dict[Playback, tuple[Timed[Any], ...]] = {}
        self._taken: dict[float, Taken] = {}

    @property
    def status(self) -> int | None:
        """The status of the response; None where there is none."""
        return None if self.recording.head is None else self.recording.head.status

    def taken(self, speed: float = 1.0) -> Taken:
        """The response taken apart, at this speed."""
        if speed not in self._taken:
            self._taken[speed] = Taken(self.recording, speed)
        return self._taken[speed]

    def actions(self, playback: Playback) -> tuple[Timed[Any], ...]:
        """The whole replay as the player performs it."""
        made = self._actions.get(playback)
        if made is None:
            made = self._actions[playback] = tuple(_actions(self.recording, playback))
        return made

    @property
    def form(self) -> str:
        """What the content is: an event stream (`events`), lines of JSON (`lines`), or one document (`whole`)."""
        kind = self.taken().kind
        return "events" if kind == "text/event-stream" else "lines" if "json" in kind and kind in LINES else "whole"

    @property
    def stream(self) -> bool:
        """Whether events came one by one."""
        return self.recording.head is not None and self.form != "whole"

    def refusal(self, faults: tuple[Fault, ...]) -> str | None:
        """Why one of these faults cannot be laid over this recording; None where all can."""
        for fault in faults:
            level = fault.level
            if level is Level.BEFORE:
                continue
            if self.recording.head is None and level > Level.SOCKET:
                return f"{fault} needs an HTTP response, and the recording {self.name} has none"
            coding = "" if self.recording.head is None else self.recording.head.header("content-encoding") or ""
            if level >= Level.EVENT and coding.lower() not in ("", "identity"):
                return f"{fault} changes the content, and that of the recording {self.name} is encoded ({coding})"
            if level is Level.EVENT and self.form != "events":
                return f"{fault} changes server-sent events, and the recording {self.name} has none"
            if level is Level.REPLY:
                reason = _of_reply(fault, self)
                if reason is not None:
                    return f"{fault} {reason}"
        return None

    def lifted(
        self,
        playback: Playback,
        faults: Applied,
        holds: Mapping[int, str],
        dropped: Callable[[], object],
        first: tuple[Stage[Any, Any], ...] = (),
    ) -> Iterator[Timed[SocketItem | Control]]:
        """The replay with faults, and with gates by position. SettingError where a fault cannot be done.

        dropped: called where the connection cannot be kept after all; first: stages of the message's level that come
        before the faults.
        """
        stages: dict[Level, list[Stage[Any, Any]]] = {}
        for level in Level:
            stages[level] = [] if level is Level.BEFORE else faults.stages(level)
        upper = bool(stages[Level.REPLY] or stages[Level.PAYLOAD] or stages[Level.EVENT])
        gates = {position: gate for position, gate in holds.items() if position != 0}
        if self.recording.head is None:
            return run(_each_alone(self.recording, playback), stages[Level.SOCKET])
        taken = self.taken(playback.speed)
        source, made = taken.message(), list(first)
        if upper or (gates and self.stream):
            source, made = _blocks(taken), self._down_to_content(taken, stages, gates) + made
        elif gates:
            made.insert(0, Gated(gates))
        made += stages[Level.MESSAGE]
        made.append(Written(taken, playback.make, dropped, divided=bool(stages[Level.SOCKET])))
        made += stages[Level.SOCKET]
        played = run(source, made)
        return chain([(0.0, Hold(holds[0]), NOWHERE)], played) if 0 in holds else played

    def _down_to_content(
        self, taken: Taken, stages: Mapping[Level, list[Stage[Any, Any]]], gates: Mapping[int, str]
    ) -> list[Stage[Any, Any]]:
        form = self.form
        made: list[Stage[Any, Any]] = [Gated(gates)] if gates else []
        if stages[Level.REPLY]:
            made += [ToDeltas(), *stages[Level.REPLY], ToBlocks(form)]
        if stages[Level.PAYLOAD]:
            made += [ToPayloads(form), *stages[Level.PAYLOAD], ToBlocks(form)]
        changed = bool(stages[Level.PAYLOAD] or stages[Level.EVENT] or stages[Level.REPLY])
        return [*made, *stages[Level.EVENT], Packed(taken, whole=form == "whole", unsized=changed)]


@dataclass(frozen=True, slots=True)
class Show:
    """A recording, and how it is played."""

    reel: Reel
    playback: Playback = field(default_factory=Playback)


def _blocks(taken: Taken) -> Iterator[Timed[Any]]:
    """The blocks and the ending."""
    clock = 0.0
    for at, block, place in taken.blocks:
        yield at - clock, block, place
        clock = at
    at, ending, end = taken.ending_timed()
    yield max(0.0, at - clock), ending, end


LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/stream+json")

BY_TOKEN = frozenset(
    {"stall", "uneven", "rate", "burst", "reset", "close", "half-close", "hang", "eof", "truncate", "repeat-text"}
)
"""The faults of the reply's level that only count tokens: events that carry text will do for those."""


def _of_reply(fault: Fault, reel: Reel) -> str | None:
    if fault.name not in BY_TOKEN:
        return "says something else than the model did: a recording has its bytes alone, and no reply to change"
    if fault.name == "truncate" and (getattr(fault, "characters", None) or getattr(fault, "finish", None)):
        return "needs the reply: over a recording it takes `after` alone"
    if not reel.stream:
        return f"counts tokens, and the recording {reel.name} is no stream: give a position in writes or bytes"
    return None


def _actions(recording: Recording, playback: Playback) -> Iterator[Timed[Any]]:
    """All reads as the player performs them; those that are due together and need no time apart as one item."""
    gathered: list[bytes] = []
    waited = 0.0
    for read in recording.reads:
        gap = read.gap / playback.speed
        if gathered and (gap or not playback.gathers(gathered, read.wire)):
            yield waited, playback.item(gathered), NOWHERE
            gathered = []
        waited = waited if gathered else gap
        gathered.append(read.wire)
    if gathered:
        yield waited, playback.item(gathered), NOWHERE
    # Silence until one side gave up has begun when the last byte came.
    last = 0.0 if recording.ending == "timeout" else recording.ending_gap / playback.speed
    yield last, ending_of(recording), NOWHERE


def _each_alone(recording: Recording, playback: Playback) -> Iterator[Timed[Any]]:
    """All reads as faults of the socket see them."""
    for gap, item, origin in _actions(recording, Playback(playback.speed)):
        yield gap, playback.make(item.data) if isinstance(item, Write) else item, origin


def keeps(head: RecordedHead | None, ending: str | None, method: str) -> bool:
    """Whether the head lets the connection be used again, RFC 9112 section 9.3, and the framing tells its end."""
    if head is None or ending != "end":
        return False
    said = ",".join(value for key, value in head.headers if key.lower() == "connection").lower()
    options = {option.strip() for option in said.split(",")}
    if "close" in options or (head.version == "1.0" and "keep-alive" not in options):
        return False
    bodyless = method == "HEAD" or head.status in (204, 304)
    return bodyless or head.header("content-length") is not None or head.header("transfer-encoding") is not None

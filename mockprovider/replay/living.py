"""Faults laid over a response while it comes: lifted as far as they need it, and no further; nothing else waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from random import Random
from typing import TYPE_CHECKING, Any, cast

from mockprovider.errors import SettingError
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Context, CuttingStage, Fault, Level, Noop, Position
from mockprovider.faults.blocks import comment_line
from mockprovider.faults.selection import Which
from mockprovider.replay.arriving import Blocks, Lifted
from mockprovider.replay.lowering import Headed, ToBlocks, ToDeltas, ToPayloads
from mockprovider.replay.reel import BY_TOKEN, LINES
from mockprovider.replay.relaying import Relaid, Repacked
from mockprovider.timeline import NOWHERE, Ending, Hang, Stage, Timed
from mockprovider.wire import Head, Write

if TYPE_CHECKING:
    from mockprovider.faults.sse_between import Keepalive

__all__ = ["Living", "refusal"]

_NOT_LIVE = {
    "headers-early": "sends a head that the upstream has not sent yet",
    "buffered": "holds all of the answer back until its end",
}

_OF_THE_HEAD = frozenset(
    {"charset", "content-length", "content-type", "header", "no-chunking", "no-last-chunk", "trailer"}
)
"""Faults of the message that change its head or its end alone, and need no chunk whole."""


def refusal(faults: Sequence[Fault], context: Context) -> str | None:
    """Why one of these cannot be laid over an answer that is still to come; None where all can. context: the request's.

    What depends on the answer is not known yet: a fault of events, say, leaves an answer alone that has none.
    """
    for fault in faults:
        if fault.name in _NOT_LIVE:
            return f"{fault} {_NOT_LIVE[fault.name]}"
        for each in fields(fault):
            value = getattr(fault, each.name)
            if isinstance(value, Position) and value.unit == "%":
                return f"{fault}: {each.name}: a live answer has no {value} before its end has come"
            if isinstance(value, Which) and value.final:
                return f"{fault}: {each.name}: the last of a live answer is known only when it is over"
        if fault.level is Level.REPLY and (reason := _of_reply(fault)) is not None:
            return f"{fault} {reason}"
        if fault.level is not Level.BEFORE and (reason := _impossible(fault, context)) is not None:
            return reason
    return None


def _of_reply(fault: Fault) -> str | None:
    if fault.name not in BY_TOKEN:
        return "says something else than the model did: a live answer has its bytes alone, and no reply to change"
    if fault.name == "truncate" and (getattr(fault, "characters", None) or getattr(fault, "finish", None)):
        return "needs the reply: over a live answer it takes `after` alone"
    return None


def _impossible(fault: Fault, context: Context) -> str | None:
    """Why the fault can be done neither to a stream nor to a whole reply."""
    reason = None
    for stream in (False, True):
        try:
            # With a generator of its own: the one of the exchange is for what strikes.
            fault.stage(replace(context, stream=stream, rng=Random(0)))
        except SettingError as error:
            reason = str(error)
        else:
            return None
    return reason


class _Keeping(Stage[Any, Any]):
    """Comments into the silence of a live stream: by a timer while nothing comes, and into what faults add to a gap."""

    def __init__(self, fault: Keepalive, now: Callable[[], float]) -> None:
        self._block = comment_line(fault.text) + (b"\n\n" if fault.blank else b"\n")
        self._seconds = fault.seconds
        self._now = now
        self._at = now()  # when the item before was due
        self._sent = 0  # comments since then, by the timer
        self.due = self._at + fault.seconds
        """When the next comment is due, if nothing comes until then."""

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        # One that would fall on the item itself is left out: the item breaks the silence.
        count = max(0, math.ceil(round(gap / self._seconds, 9)) - 1)
        waited = self._seconds * min(count, self._sent)
        for _ in range(count - self._sent):
            yield waited + self._seconds, self._block, NOWHERE
            waited = 0.0
        self._at += gap
        self._sent = 0
        self.due = max(self._at, self._now()) + self._seconds
        while isinstance(item, Hang):  # until the client leaves
            yield self._seconds, self._block, NOWHERE
        yield waited + gap - count * self._seconds, item, origin

    def tick(self) -> Iterator[Timed[Any]]:
        """The comment, if it is due."""
        if self._now() >= self.due:
            self.due += self._seconds
            self._sent += 1
            yield 0.0, self._block, NOWHERE


class Living:
    """The faults that strike one exchange, fed with what its upstream sends; what comes out is for the player.

    stages of which the answer cannot have any, such as those of events where it has none, are left out. now: the clock,
    for comments into silence; extra: further stages by level, after those of the faults. keeps: False once the
    connection cannot be kept; struck: the faults that act, once the head has come.
    """

    def __init__(
        self,
        applied: Applied,
        *,
        bodyless: bool,
        now: Callable[[], float],
        extra: dict[Level, list[Stage[Any, Any]]] | None = None,
    ) -> None:
        self._applied = applied
        self._extra = extra or {}
        self._now = now
        self._lifted = Lifted(bodyless=bodyless)
        self._socket = self._of(Level.SOCKET)
        self._lifts = any(self._of(level) for level in (Level.REPLY, Level.PAYLOAD, Level.EVENT, Level.MESSAGE))
        self._lifts = self._lifts or bool(applied.headers)
        self._stages: list[Stage[Any, Any]] = []
        self._blocks: Blocks | None = None
        self._message = 0  # where among the stages the message's level begins
        self._before: list[tuple[float, bytes]] | None = []  # reads before the head; None: that has come, or never will
        self._raw = False
        self._owed = 0.0
        self._keeping: list[_Keeping] = []
        self.keeps = True
        self.ended = False
        self.struck = applied.struck

    def _of(self, level: Level) -> list[Any]:
        return [fault for fault, _ in self._applied.pairs if fault.level is level] + self._extra.get(level, [])

    # ------------------------------------------------------------------------------------------ what comes

    def read(self, gap: float, wire: bytes) -> Iterator[Timed[Any]]:
        """What becomes of a read that came so many seconds after the one before."""
        if self._before is not None:
            self._before.append((gap, wire))
            found = self._lifted.head_of(wire)
            if found is not None:
                head, lay = found
                waited = sum(waited for waited, _ in self._before)
                yield from self._headed(head, waited, lay)
            elif self._lifted.lifter.error is not None:
                yield from self._give_up()
        elif self._raw:
            yield from self._passed(self._down(0, (gap, Write(wire, 0.0), NOWHERE)))
        else:
            self._owed += gap
            yield from self._content(self._lifted.feed(wire))

    def _headed(self, head: Head, waited: float, lay: Any) -> Iterator[Timed[Any]]:
        reads, self._before = self._before or [], None
        if not self._lifts:
            # Faults of writes see the reads as they came, but for the head, from whose end they count.
            self._raw, self._stages = True, self._stages_of(Level.SOCKET)
            size = sum(len(run.data) for run in lay.runs)
            whole = b"".join(wire for _, wire in reads)
            yield from self._passed(self._down(0, (waited, whole[:size], NOWHERE)))
            if size < len(whole):
                yield from self._passed(self._down(0, (0.0, whole[size:], NOWHERE)))
            return
        self._build(head)
        self._owed = 0.0
        yield from self._passed(self._down(self._message, (waited, head, lay)))
        yield from self._content(self._lifted.content())

    def _give_up(self) -> Iterator[Timed[Any]]:
        """What came is no HTTP: faults of writes alone can be for it."""
        reads, self._before = self._before or [], None
        self._raw, self._stages = True, self._stages_of(Level.SOCKET)
        self.struck = tuple(fault for fault in self.struck if fault.level is Level.SOCKET)
        for gap, wire in reads:
            yield from self._passed(self._down(0, (gap, Write(wire, 0.0), NOWHERE)))

    def _content(self, items: list[tuple[Any, Any]]) -> Iterator[Timed[Any]]:
        for item, lay in items:
            if self._blocks is None:
                yield from self._fed(item, lay)
                continue
            blocks = self._blocks.feed(lay.runs) if isinstance(item, bytes) else self._blocks.flush()
            for block, place in blocks:
                yield from self._fed(block, place)
            if not isinstance(item, bytes):
                yield from self._fed(item, lay)
        yield from self._passed(self._settled())

    def _fed(self, item: Any, lay: Any) -> Iterator[Timed[Any]]:
        gap, self._owed = self._owed, 0.0
        yield from self._passed(self._down(0, (gap, item, lay)))

    def end(self, gap: float, ending: Ending) -> Iterator[Timed[Any]]:
        """What becomes of the ending, and of what had to wait for it."""
        if self._before is not None:
            yield from self._give_up()
        if self._raw:
            yield from self._passed(self._down(0, (gap, ending, NOWHERE)))
        else:
            self._owed += gap
            yield from self._content(self._lifted.end(ending))
        if not self.ended:
            yield from self._passed(self._flushed(0))

    # ------------------------------------------------------------------------------------------ silence

    @property
    def quiet(self) -> float | None:
        """When something is due if nothing comes until then; None: nothing ever."""
        return min((stage.due for stage in self._keeping), default=None)

    def silence(self) -> Iterator[Timed[Any]]:
        """What is due while nothing comes."""
        for stage in self._keeping:
            index = self._stages.index(stage)
            for timed in stage.tick():
                yield from self._passed(self._down(index + 1, timed))
        yield from self._passed(self._settled())

    # ------------------------------------------------------------------------------------------ the stages

    def _passed(self, timeline: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
        """Up to the ending, behind which nothing is performed."""
        if self.ended:
            return
        for timed in timeline:
            if isinstance(timed[1], Ending):
                self.ended = True
                yield timed
                return
            yield timed

    def _down(self, index: int, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        """Through the stages from that one on."""
        if index == len(self._stages):
            yield timed
            return
        stage = self._stages[index]
        cutting = stage if isinstance(stage, CuttingStage) else None
        if cutting is not None and cutting.struck:
            return
        for made in stage.feed(timed):
            yield from self._down(index + 1, made)
        if cutting is not None and cutting.struck:
            yield from self._flushed(index + 1)

    def _flushed(self, index: int) -> Iterator[Timed[Any]]:
        """What the stages from that one on owe when nothing more comes."""
        for number in range(index, len(self._stages)):
            for made in self._stages[number].flush():
                yield from self._down(number + 1, made)

    def _settled(self) -> Iterator[Timed[Any]]:
        for number, stage in enumerate(self._stages):
            if isinstance(stage, Repacked | Relaid):
                for made in stage.settle():
                    yield from self._down(number + 1, made)

    def _stages_of(self, level: Level) -> list[Stage[Any, Any]]:
        """The stages of a level. A fault that cannot be done to this answer is left out."""
        made: list[Stage[Any, Any]] = []
        for fault, context in self._applied.pairs:
            if fault.level is level and fault in self.struck:
                try:
                    if fault.name == "keepalive":
                        self._keeping.append(_Keeping(cast("Keepalive", fault), self._now))
                        made.append(self._keeping[-1])
                    else:
                        made.append(fault.stage(context))
                except SettingError:
                    self.struck = tuple(other for other in self.struck if other is not fault)
        return made + self._extra.get(level, [])

    def _build(self, head: Head) -> None:
        """The stages for the answer that has this head."""
        kind = (head.header("content-type") or "").partition(";")[0].strip().lower()
        form = "events" if kind == "text/event-stream" else "lines" if kind in LINES else "whole"
        for _, context in self._applied.pairs:
            context.stream = form != "whole"
            context.framing = {"events": "sse", "lines": "ndjson"}.get(form, context.framing)
        coding = (head.header("content-encoding") or "identity").lower()
        self.struck = tuple(fault for fault in self.struck if _fits(fault, form, coding))
        stages = {level: self._stages_of(level) for level in Level if level is not Level.BEFORE}
        upper: list[Stage[Any, Any]] = []
        if stages[Level.REPLY]:
            upper += [ToDeltas(), *stages[Level.REPLY], ToBlocks(form)]
        if stages[Level.PAYLOAD]:
            upper += [ToPayloads(form), *stages[Level.PAYLOAD], ToBlocks(form)]
        upper += stages[Level.EVENT]
        changes = [fault for fault in self.struck if fault.level >= Level.MESSAGE and not isinstance(fault, Noop)]
        touched = any(fault.name not in _OF_THE_HEAD for fault in changes)
        sized = head.header("content-length") is not None
        if upper:
            self._blocks = Blocks(form)
        self._lifted.whole = not upper and touched
        self._lifted.entire = form == "whole"
        chunked = (head.header("transfer-encoding") or "").lower().rpartition(",")[2].strip() == "chunked"
        first = Repacked(
            sized=sized and bool(upper) and form == "whole",
            unsized=sized and touched and form != "whole",
            entire=form == "whole" and not chunked,
        )
        message = [first, *([Headed(self._applied.headers)] if self._applied.headers else []), *stages[Level.MESSAGE]]
        divided = bool(stages[Level.SOCKET])
        padding = b":" if form == "events" else b"\n"
        relaid = Relaid(self._lifted, self._drop, chunked=chunked, padding=padding, divided=divided)
        self._message = len(upper)
        self._stages = [*upper, *message, relaid, *stages[Level.SOCKET]]

    def _drop(self) -> None:
        self.keeps = False


def _fits(fault: Fault, form: str, coding: str) -> bool:
    """Whether an answer of this form has what the fault is for."""
    if fault.level in (Level.MESSAGE, Level.SOCKET):
        return True
    if coding not in ("", "identity"):
        return False
    if fault.level is Level.EVENT:
        return form == "events" or (form == "lines" and fault.any_framing)
    return fault.level is Level.PAYLOAD or (fault.level is Level.REPLY and form != "whole")

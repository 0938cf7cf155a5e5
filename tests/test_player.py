"""The player on a virtual clock and a transport that writes down what it is told: what, when, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import socket
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.errors import TimelineError
from mockprovider.exchange import JOINED, KEPT_BYTES, KEPT_WRITES, OUTCOMES, SentLog
from mockprovider.gates import Gates
from mockprovider.metrics import Metrics
from mockprovider.player import JOIN, TURN, Player
from mockprovider.scheduler import SLOT, VirtualScheduler
from mockprovider.timeline import NOWHERE, Close, Control, End, Hang, Hold, Reset, Timed
from mockprovider.wire import Burst, Write

GATE = "after-first-token"


class FakeSocket:
    """A socket that can be told to reset."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int, bytes]] = []

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Write the option down."""
        self.options.append((level, option, value))

    def fileno(self) -> int:
        """No descriptor that anybody has."""
        return -7


class FakeTransport(asyncio.Transport):
    """A connection whose kernel takes `room` bytes; the rest is buffered here, over the limit writing is paused."""

    def __init__(self, scheduler: VirtualScheduler, room: float = math.inf) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.room = room
        self.sent: list[tuple[float, bytes]] = []
        self.backlog = 0
        self.most = 0
        self.limit = 64 * 1024
        self.gone = False
        self.ended: list[str] = []
        self.writing_paused = False
        self.freed = asyncio.Event()
        self.socket = FakeSocket()
        self.merged = 0
        self.player: Player | None = None  # to be told that it may write again

    def write(self, data: Any) -> None:
        assert not self.gone, "asyncio would drop this in silence"
        self.merged += self.backlog > 0
        self.sent.append((self.scheduler.now(), bytes(data)))
        taken = min(self.room, len(data))
        self.room -= taken
        self.backlog += len(data) - int(taken)
        self.most = max(self.most, self.backlog)
        if self.backlog > self.limit:
            self.writing_paused = True

    def free(self, room: float = math.inf) -> None:
        """The client has read: the kernel takes so many bytes more."""
        taken = min(self.backlog, room)
        self.backlog -= int(taken)
        self.room = room - taken
        if not self.backlog:
            self.writing_paused = False
            self.freed.set()
            if self.player is not None:
                self.player.writable()

    def lose(self) -> None:
        """The client is gone."""
        self.gone = True
        self.freed.set()
        if self.player is not None:
            self.player.lost()

    async def drain(self) -> None:
        """Wait until writing is no longer paused, or the connection is lost."""
        self.freed.clear()
        while self.writing_paused:
            await self.freed.wait()
            if self.gone:
                raise ConnectionResetError("connection lost")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = 64 * 1024 if high is None else high

    def get_write_buffer_size(self) -> int:
        return self.backlog

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True
        self.ended.append("close")

    def abort(self) -> None:
        self.gone = True
        self.ended.append("abort")

    @property
    def data(self) -> bytes:
        """All that was written."""
        return b"".join(data for _, data in self.sent)


class Rig:
    """A player with all that it needs. Make it on a running loop. tasked: whether a task plays it, or calls do."""

    tasked = True

    def __init__(self, timeline: Iterable[Timed[Any]], *, started: float = 100.0, room: float = math.inf) -> None:
        self.scheduler = VirtualScheduler()
        self.scheduler.run(until=started)
        self.transport = FakeTransport(self.scheduler, room)
        self.gates = Gates()
        self.log = SentLog()
        self.pulled = 0
        self.let_go = False
        self.player = Player(
            self._counted(timeline), self.transport, self.transport, self.scheduler, self.log, self.gates, started
        )
        self._task: asyncio.Future[str] | None = None

    def _counted(self, timeline: Iterable[Timed[Any]]) -> Iterator[Timed[Any]]:
        try:
            for timed in timeline:
                self.pulled += 1
                yield timed
        finally:
            self.let_go = True

    async def start(self) -> asyncio.Future[str]:
        """Begin to play."""
        self._task = asyncio.create_task(self.player.play(self.transport.drain)) if self.tasked else self._begun()
        await self.settle()
        return self._task

    def _begun(self) -> asyncio.Future[str]:
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def ended() -> None:
            self.transport.player = None
            if self.player.error is not None:
                done.set_exception(self.player.error)
            else:
                assert self.player.outcome is not None
                done.set_result(self.player.outcome)

        self.transport.player = self.player
        self.player.begin(ended)
        return done

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def run(self, until: float = math.inf, late: float = 0.0) -> None:
        """Let time pass."""
        assert self._task is not None
        self.scheduler.run(until, late)
        await self.settle()

    async def play(self, late: float = 0.0) -> str:
        """Play to the end, every turn that late, and return the outcome."""
        task = await self.start()
        await self.run(late=late)
        return await asyncio.wait_for(task, 5)

    def forget(self) -> None:
        """Keep nothing of what was played."""
        self._task = None

    async def leave(self) -> None:
        """The client leaves: aiohttp cancels the handler."""
        assert self._task is not None
        self.transport.lose()
        if self.tasked:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture(autouse=True, params=[True, False], ids=["task", "calls"])
def _driven(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a player promises, it promises in a task and without one."""
    monkeypatch.setattr(Rig, "tasked", request.param)


def timeline(*items: object, gap: float = 0.25) -> list[Timed[Any]]:
    """Items, each so long after the one before, and the end."""
    return [*((gap, item, (0, number)) for number, item in enumerate(items)), (0.0, End(), NOWHERE)]


def plan(source: Iterable[Timed[Any]], started: float = 100.0) -> list[float]:
    """When each item is due."""
    return list(accumulate((gap for gap, _, _ in source), initial=started))[1:]


# ------------------------------------------------------------------------------------------------------ on time


@pytest.mark.parametrize("late", [0.0, 0.013, 3.0])
async def test_the_plan_is_kept(late: float) -> None:
    """Deadlines are absolute: the gaps added up from the request on, exactly, however late each write was."""
    source = timeline(*(Write(b"%d" % number) for number in range(20)), gap=0.3)
    rig = Rig(source)
    assert await rig.play(late) == "complete"
    assert list(rig.log.deadlines) == plan(source)[:20]
    assert min(rig.log.lateness) >= 0
    assert rig.log.worst >= late


async def test_nothing_leaves_early() -> None:
    """Each write leaves when it is due, at most a slot after it."""
    source = timeline(b"a", b"b", b"c", gap=0.1)
    rig = Rig(source)
    await rig.play()
    for (sent, data), due, expected in zip(rig.transport.sent, plan(source), (b"a", b"b", b"c"), strict=False):
        assert data == expected
        assert due <= sent <= due + SLOT * 1.01


async def test_what_is_due_together_leaves_together() -> None:
    """Joinable bytes that are due at the same time are one write, and what is due later is not."""
    source = [
        (0.5, b"a", (0, 0)),
        (0.0, b"b", (0, 1)),
        (0.25, b"c", (0, 2)),
        (0.0, b"d", (0, 3)),
        (0.0, End(), NOWHERE),
    ]
    rig = Rig(source)
    await rig.play()
    assert [data for _, data in rig.transport.sent] == [b"ab", b"cd"]
    assert list(rig.log.deadlines) == [100.5, 100.75]


async def test_a_short_reply_is_one_write() -> None:
    """A reply without gaps leaves in one write, at once, and the exchange is over in the same turn."""
    rig = Rig(timeline(b"head", b"content", b"terminator", gap=0.0))
    task = await rig.start()
    assert task.result() == "complete"
    assert rig.transport.sent == [(100.0, b"headcontentterminator")]


async def test_a_late_loop_joins_what_is_overdue() -> None:
    """When the loop comes late, all joinable bytes that are overdue leave as one, and later deadlines are kept."""
    source = timeline(*(b"%d" % number for number in range(10)), gap=0.25)
    rig = Rig(source)
    task = await rig.start()
    await rig.run(until=100.2)
    await rig.run(until=102.6, late=1.1)
    # Due at 100.25, served at 101.35, when 100.25 to 101.25 were overdue.
    assert [(round(sent, 2), data) for sent, data in rig.transport.sent[:1]] == [(101.35, b"01234")]
    assert rig.log.deadlines[0] == 100.25
    assert rig.transport.data == b"0123456789"
    assert await task == "complete"


async def test_a_join_is_bounded() -> None:
    """Not all that is due at once becomes one write: it would be held in memory as a whole."""
    piece = b"x" * 1000
    rig = Rig(timeline(*[piece] * 200, gap=0.0))
    await rig.play()
    sizes = [len(data) for _, data in rig.transport.sent]
    assert sum(sizes) == 200_000
    assert max(sizes) < JOIN + len(piece)


async def test_one_action_is_rendered_ahead() -> None:
    """Nothing is rendered before it is due but the one action that tells when."""
    rig = Rig(timeline(*[b"x"] * 10))
    task = await rig.start()
    assert rig.pulled == 1
    await rig.run(until=100.6)
    assert (len(rig.transport.sent), rig.pulled) == (2, 3)
    await rig.run()
    assert await task == "complete"


async def test_streams_take_turns() -> None:
    """A stream that could write for ever gives others their turn after a bounded number of writes."""
    order: list[int] = []

    def endless(number: int) -> Iterator[Timed[Any]]:
        while True:
            order.append(number)
            yield 0.0, Write(b"x", 0.0), NOWHERE

    first = Rig(endless(1))
    second = Rig(endless(2))
    second.player = Player(
        endless(2), second.transport, second.transport, first.scheduler, second.log, second.gates, 100.0
    )
    tasks = [await first.start(), await second.start()]
    assert order.count(1) == order.count(2) == TURN
    for _ in range(3):
        key = first.scheduler._slots.first()
        assert key is not None
        for item in first.scheduler._slots.pop(key, 100):
            item.due(first.scheduler.now())
    assert order.count(1) == order.count(2) == 4 * TURN
    for rig, task in ((first, tasks[0]), (second, tasks[1])):
        rig.player.stop()
        assert await task == "stopped"


# ------------------------------------------------------------------------------------------------------- promises


async def test_promised_writes_leave_alone() -> None:
    """A promised write is one write, also between joinable bytes that are due with it, a pause away on both sides."""
    rig = Rig(timeline(b"a", b"b", Write(b"C", 0.0625), Write(b"D", 0.125), b"e", b"f", gap=0.0))
    assert await rig.play() == "complete"
    assert [data for _, data in rig.transport.sent] == [b"ab", b"C", b"D", b"ef"]
    times = [sent for sent, _ in rig.transport.sent]
    assert times[1] - times[0] >= 0.0625
    assert times[2] - times[1] >= 0.125
    assert times[3] - times[2] >= 0.125


@pytest.mark.parametrize("late", [0.0, 0.0077, 5.0])
async def test_promised_writes_stay_apart_when_late(late: float) -> None:
    """However late the loop is, promised writes never merge and keep their pause from one another."""
    rig = Rig(timeline(*(Write(b"%d" % number, 0.005) for number in range(10)), gap=0.001))
    await rig.play(late)
    assert [data for _, data in rig.transport.sent] == [b"%d" % number for number in range(10)]
    times = [sent for sent, _ in rig.transport.sent]
    assert all(after - before > 0.005 - 1e-9 for before, after in pairwise(times))


async def test_the_loop_has_its_turn_between_promised_writes() -> None:
    """Where the machine stood still for longer than the pause, the loop still gets a turn between promised writes."""

    def standing() -> Iterator[Timed[Any]]:
        for timed in timeline(b"head", Write(b"a", 0.005), Write(b"b", 0.005), gap=0.0):
            rig.scheduler.run(until=rig.scheduler.now() + 1)
            yield timed

    rig = Rig(standing())
    task = await rig.start()
    seen = [rig.transport.data]
    while (key := rig.scheduler._slots.first()) is not None:
        await rig.run(until=max(rig.scheduler.now(), key * SLOT))
        seen.append(rig.transport.data)
    assert seen[:3] == [b"head", b"heada", b"headab"]
    assert await task == "complete"


async def test_a_pause_is_part_of_the_plan() -> None:
    """The pause between promised writes is no lateness: their deadlines stand in the log as they were promised."""
    rig = Rig(timeline(b"head", *[Write(b"x", 0.25)] * 3, b"end", gap=0.0))
    await rig.play()
    assert list(rig.log.deadlines) == [100.0, 100.25, 100.5, 100.75, 101.0]
    assert rig.log.worst <= SLOT * 1.01


async def test_the_plan_goes_on_after_a_burst() -> None:
    """What is promised after a burst keeps its pause from the burst's last piece."""
    rig = Rig([(0.0, Burst([b"a", b"b"], True, [0.25]), NOWHERE), *timeline(Write(b"x", 0.25), gap=0.0)])
    await rig.play()
    assert list(rig.log.deadlines) == [100.0, 100.25, 100.5]
    assert rig.log.worst <= SLOT * 1.01


async def test_unjoined_writes_need_no_pause() -> None:
    """Writes that are promised without a pause leave at the same time, each by itself."""
    rig = Rig(timeline(b"head", Write(b"a", 0.0), Write(b"b", 0.0), b"end", gap=0.0))
    await rig.play()
    assert rig.transport.sent == [(100.0, b"head"), (100.0, b"a"), (100.0, b"b"), (100.0, b"end")]


@pytest.mark.parametrize("gaps", [(), (0.0, 0.0, 0.0)], ids=["a burst", "gaps of no time"])
async def test_what_is_due_together_is_not_late_for_each_other(gaps: tuple[float, ...]) -> None:
    """Of unjoined writes that are due together, each is due as soon as the one before it has left."""
    rig = Rig([(0.0, Burst([b"a", b"b", b"c", b"d"], joins=False, gaps=gaps), NOWHERE), (0.0, End(), NOWHERE)])
    write = rig.transport.write

    def slow(data: Any) -> None:
        write(data)
        rig.scheduler.run(until=rig.scheduler.now() + 0.25)

    rig.transport.write = slow  # type: ignore[method-assign]
    await rig.play()
    assert [data for _, data in rig.transport.sent] == [b"a", b"b", b"c", b"d"]
    assert rig.log.worst == pytest.approx(0.25)


@pytest.mark.parametrize("ending", [End(), Close(), Reset()], ids=repr)
async def test_the_ending_waits_for_the_pause(ending: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after the last promised write is over before the connection ends."""
    monkeypatch.setattr("fcntl.ioctl", lambda *_: struct.pack("i", 0))
    rig = Rig([(0.0, Write(b"x", 0.5), NOWHERE), (0.0, ending, NOWHERE)])
    task = await rig.start()
    await rig.run(until=100.49)
    assert not task.done()
    assert rig.transport.ended == []
    await rig.run(until=100.51)
    assert task.done()


ITEMS = st.one_of(
    st.binary(min_size=1, max_size=5),
    st.builds(Write, st.binary(min_size=1, max_size=5), st.sampled_from([0.0, 0.001, 0.1])),
)
SOURCES = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.0004, 0.05]), ITEMS), max_size=20)


def burst(source: Iterable[Timed[Any]], *, gaps: bool) -> Iterator[Timed[Any]]:
    """The same with neighbours as one item; gaps: also with those that are not due together."""

    def kind(item: Any) -> str:
        return "joins" if isinstance(item, bytes) else "alone" if item.apart == 0 else "promised"

    run: list[Timed[Any]] = []
    for timed in [*source, (1.0, Write(b"", 1.0), NOWHERE)]:
        gap, item, _ = timed
        if run and ((gap and not gaps) or kind(item) != kind(run[0][1]) or kind(item) == "promised"):
            data = [item if isinstance(item, bytes) else item.data for _, item, _ in run]
            between = [gap for gap, _, _ in run[1:]] if gaps else ()
            gap_, item_, origin = run.pop(0)
            yield (gap_, item_ if kind(item_) == "promised" else Burst(data, kind(item_) == "joins", between), origin)
            run.clear()
        run.append(timed)


@settings(deadline=None, max_examples=100)
@example([(0.0, Write(b"a", 0.1)), (0.0, Write(b"b", 0.0)), (0.0, b"c"), (0.0004, b"d")], 0.0, 60, "with gaps")
@given(
    SOURCES, st.sampled_from([0.0, 0.003, 0.2]), st.integers(3, 60), st.sampled_from([None, "together", "with gaps"])
)
def test_any_timeline(items: list[tuple[float, Any]], late: float, room: int, bursts: str | None) -> None:
    """For any timeline, lateness and reader: bytes in order, nothing early, promises alone, pauses kept, log exact.

    All of it holds as well where neighbours come as one burst.
    """

    async def check() -> None:
        source: list[Timed[Any]] = [(gap, item, (0, number)) for number, (gap, item) in enumerate(items)]
        made = burst(source, gaps=bursts == "with gaps") if bursts else source
        rig = Rig([*made, (0.0, End(), NOWHERE)], room=room)
        task = await rig.start()
        while not task.done():
            await rig.run(late=late)
            rig.transport.free(room)
            await rig.settle()
        assert task.result() == "complete"
        sent = rig.transport.sent
        content = [item if isinstance(item, bytes) else item.data for _, item in items]
        assert rig.transport.data == b"".join(content)
        # Each write is one promise, or whole joinable items; `at` walks through the items.
        at, last, pause = 0, -math.inf, 0.0
        due = plan(source)
        for time, data in sent:
            item = items[at][1]
            assert time >= due[at]
            if isinstance(item, Write):
                assert data == item.data
                assert time >= last + max(pause, item.apart)
                at, pause = at + 1, item.apart
            else:
                assert time >= last + pause
                length = 0
                while length < len(data):
                    assert isinstance(items[at][1], bytes)
                    assert time >= due[at]
                    length += len(items[at][1])
                    at += 1
                assert length == len(data)
                pause = 0.0
            last = time
        assert at == len(items)
        assert rig.transport.merged == 0
        assert b"".join(rig.log.data) == rig.transport.data
        assert list(rig.log.sizes) == [len(data) for _, data in sent]
        assert list(rig.log.times) == [time for time, _ in sent]
        assert list(rig.log.deadlines) == sorted(rig.log.deadlines)

    asyncio.run(check())


# ---------------------------------------------------------------------------------------------------------- gates


async def test_a_closed_gate_holds_the_stream() -> None:
    """At a closed gate nothing leaves and nothing is rendered until it opens; then deadlines are counted from there."""
    rig = Rig(timeline(b"a", Hold(GATE), b"b", b"c", gap=0.25))
    rig.gates.hold(GATE)
    task = await rig.start()
    await rig.run(until=150.0)
    assert (rig.transport.data, rig.pulled, rig.gates.waiting()) == (b"a", 2, {GATE: 1})
    rig.gates.release(GATE)
    await rig.run()
    assert await task == "complete"
    assert list(rig.log.deadlines) == [100.25, 150.25, 150.5]


async def test_an_open_gate_does_not_count() -> None:
    """A gate that is open, or was opened before the stream came there, changes no deadline."""
    source = timeline(b"a", Hold(GATE), b"b", gap=0.25)
    rig = Rig(source)
    rig.gates.hold(GATE)
    task = await rig.start()
    rig.gates.release(GATE)
    await rig.run(late=0.1)
    assert await task == "complete"
    assert list(rig.log.deadlines) == [plan(source)[0], plan(source)[2]]


async def test_bytes_before_a_gate_leave_first() -> None:
    """What is due before the gate is not kept back by it."""
    rig = Rig(timeline(b"a", b"b", Hold(GATE), b"c", gap=0.0))
    rig.gates.hold(GATE)
    task = await rig.start()
    assert rig.transport.data == b"ab"
    rig.player.stop()
    assert await task == "stopped"


# -------------------------------------------------------------------------------------------------------- endings


async def test_end() -> None:
    """End leaves the connection as it is, for the next request."""
    rig = Rig(timeline(b"a"))
    assert await rig.play() == "complete"
    assert rig.transport.ended == []


async def test_close() -> None:
    """Close flushes what was written and then closes; it does not abort."""
    rig = Rig([(0.0, b"a", NOWHERE), (0.25, Close(), NOWHERE)])
    assert await rig.play() == "closed"
    assert rig.transport.ended == ["close"]
    assert rig.transport.data == b"a"


LINGER = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset waits until the kernel has sent everything, however long, and then aborts with a linger of zero."""
    unsent = 7
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("fcntl.ioctl", lambda *_: struct.pack("i", unsent))
    rig = Rig([(0.0, b"a", NOWHERE), (0.25, Reset(), NOWHERE)])
    task = await rig.start()
    await rig.run(until=160.0)
    assert rig.transport.ended == []
    assert not task.done()
    unsent = 0
    await rig.run(until=160.1)
    assert await task == "reset"
    assert rig.transport.ended == ["abort"]
    assert rig.transport.socket.options == [LINGER]


async def test_reset_waits_for_the_buffer() -> None:
    """What the transport itself still holds is sent before the reset."""
    rig = Rig([(0.0, b"abc", NOWHERE), (0.0, Reset(), NOWHERE)], room=1)
    task = await rig.start()
    await rig.run(until=130.0)
    assert rig.transport.ended == []
    rig.player.stop()
    rig.transport.freed.set()
    assert await task == "stopped"


async def test_reset_where_the_kernel_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems without that question the reset comes a moment after the last byte."""
    monkeypatch.setattr(sys, "platform", "darwin")
    rig = Rig([(0.0, b"abc", NOWHERE), (0.0, Reset(), NOWHERE)])
    assert await rig.play() == "reset"
    assert 100.05 <= rig.scheduler.now() < 100.06


async def test_hang() -> None:
    """Hang does nothing, for any length of time, until the client leaves."""
    rig = Rig([(0.0, b"a", NOWHERE), (0.0, Hang(), NOWHERE)])
    task = await rig.start()
    await rig.run(until=1e6)
    assert not task.done()
    assert rig.transport.ended == []
    await rig.leave()
    assert rig.player.outcome == "client-left"


@pytest.mark.parametrize("ending", [End(), Close(), Reset(), Hang()], ids=repr)
async def test_nothing_comes_after_the_ending(ending: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is exactly one ending: what a timeline holds after it is neither performed nor rendered."""
    monkeypatch.setattr("fcntl.ioctl", lambda *_: struct.pack("i", 0))
    rig = Rig([(0.0, b"a", NOWHERE), (0.0, ending, NOWHERE), (0.0, b"b", NOWHERE), (0.0, Reset(), NOWHERE)])
    task = await rig.start()
    await rig.run()
    assert (rig.transport.data, rig.pulled) == (b"a", 2)
    if not isinstance(ending, Hang):
        assert await task in OUTCOMES
        assert len(rig.transport.ended) == (not isinstance(ending, End))
    else:
        await rig.leave()


# -------------------------------------------------------------------------------------------- illegal timelines


class Strange(Control):
    """A control that nobody can perform."""

    def __repr__(self) -> str:
        return "Strange()"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "without an ending"),
        ([(0.0, b"a", NOWHERE)], "without an ending"),
        ([(0.0, Write(b"a"), NOWHERE)], "without an ending"),
        ([(-1.0, b"a", NOWHERE), (0.0, End(), NOWHERE)], "gap of -1"),
        ([(0.0, b"a", NOWHERE), (-1.0, b"b", NOWHERE), (9.0, End(), NOWHERE)], "gap of -1"),
        ([(0.0, Write(b"a"), NOWHERE), (-1e-9, b"b", NOWHERE), (9.0, End(), NOWHERE)], "gap of -1e-09"),
        ([(math.nan, b"a", NOWHERE), (0.0, End(), NOWHERE)], "gap of nan"),
        ([(0.0, b"a", NOWHERE), (math.nan, b"b", NOWHERE), (0.0, End(), NOWHERE)], "gap of nan"),
        ([(0.0, "text", NOWHERE), (0.0, End(), NOWHERE)], "cannot perform 'text'"),
        ([(0.0, Strange(), NOWHERE), (0.0, End(), NOWHERE)], "cannot perform"),
    ],
    ids=repr,
)
async def test_illegal_timelines(source: list[Timed[Any]], said: str) -> None:
    """An order of actions that cannot be performed is a TimelineError, and the connection is aborted."""
    rig = Rig(source)
    with pytest.raises(TimelineError, match=said):
        await rig.play()
    assert rig.player.outcome == "failed"
    assert rig.transport.ended == ["abort"]


async def test_a_defect_while_rendering() -> None:
    """What rendering raises is raised by `play`; what was due before it has left, and the connection is aborted."""

    def broken() -> Iterator[Timed[Any]]:
        yield 0.0, b"a", NOWHERE
        yield 0.0, b"b", NOWHERE
        raise ZeroDivisionError("here")

    rig = Rig(broken())
    with pytest.raises(ZeroDivisionError, match="here"):
        await rig.play()
    assert (rig.player.outcome, rig.transport.data, rig.transport.ended) == ("failed", b"ab", ["abort"])
    assert b"".join(rig.log.data) == b"ab"


async def test_a_defect_later_on() -> None:
    """The same in a turn of the scheduler, where nobody else is to be disturbed."""

    def broken() -> Iterator[Timed[Any]]:
        yield 0.5, b"a", NOWHERE
        yield 0.5, b"b", NOWHERE
        raise ZeroDivisionError("here")

    rig = Rig(broken())
    task = await rig.start()
    await rig.run()
    with pytest.raises(ZeroDivisionError):
        await task
    assert rig.transport.data == b"ab"


# ------------------------------------------------------------------------------------- clients that leave, servers


def _waiting() -> dict[str, list[Timed[Any]]]:
    ever: list[Timed[Any]] = [(0.0, b"x", NOWHERE)] * 50
    return {
        "ttft": [(1000.0, b"a", NOWHERE), *ever],
        "between": [(0.0, b"a", NOWHERE), (1000.0, b"b", NOWHERE), *ever],
        "pause": [(0.0, Write(b"a", 1000.0), NOWHERE), *ever],
        "gate": [(0.0, b"a", NOWHERE), (0.0, Hold(GATE), NOWHERE), *ever],
        "hang": [(0.0, b"a", NOWHERE), (0.0, Hang(), NOWHERE), *ever],
        "blocked": [(0.0, b"aaaa", NOWHERE), (0.5, b"b", NOWHERE), *ever],
    }


@pytest.mark.parametrize("where", list(_waiting()))
@pytest.mark.parametrize("how", ["client-left", "stopped"])
async def test_leaving_and_stopping(where: str, how: str) -> None:
    """Wherever a stream waits, it ends at once when the client leaves or it is stopped, and lets everything go."""
    rig = Rig(_waiting()[where], room=3 if where == "blocked" else math.inf)
    rig.gates.hold(GATE)
    task = await rig.start()
    await rig.run(until=101.0)
    assert not task.done()
    pulled, sent = rig.pulled, len(rig.transport.sent)
    if how == "stopped":
        rig.player.stop()
        assert rig.transport.ended == ["abort"]
        rig.transport.freed.set()
        assert await task == "stopped"
    else:
        await rig.leave()
    assert rig.player.outcome == how
    assert rig.gates.waiting() == {GATE: 0}
    assert len(rig.scheduler._slots) == 0
    await rig.run()
    assert (rig.pulled, len(rig.transport.sent)) == (pulled, sent)
    del rig.player, task
    rig.forget()
    assert rig.let_go, "nobody keeps the timeline any more"


async def test_a_lost_connection_is_never_written_to() -> None:
    """Where the transport is found closing, nothing more is written or rendered."""
    rig = Rig(timeline(*[b"x"] * 10))
    task = await rig.start()
    await rig.run(until=100.6)
    rig.transport.gone = True
    await rig.run()
    assert await task == "client-left"
    assert (len(rig.transport.sent), rig.log.writes) == (2, 2)


@pytest.mark.parametrize("ending", [End(), Close(), Reset(), Hang()], ids=repr)
async def test_left_before_the_ending(ending: Control) -> None:
    """A client that left before the ending has left, whatever the ending was to be."""
    rig = Rig([(0.0, b"a", NOWHERE), (0.5, ending, NOWHERE)])
    task = await rig.start()
    rig.transport.gone = True
    await rig.run()
    assert await task == "client-left"
    assert rig.transport.ended == []


async def test_lost_while_draining() -> None:
    """A connection that is lost while the reader is slow is a client that left, no error."""
    rig = Rig(_waiting()["blocked"], room=3)
    task = await rig.start()
    rig.transport.lose()
    assert await task == "client-left"


async def test_stopping_what_has_ended() -> None:
    """A stream that has ended is not stopped: its outcome stands and its connection lives on."""
    rig = Rig(timeline(b"a"))
    await rig.play()
    rig.player.stop()
    assert (rig.player.outcome, rig.transport.ended) == ("complete", [])


# ---------------------------------------------------------------------------------------------------- back-pressure


async def test_a_slow_reader_is_waited_for() -> None:
    """While the kernel takes nothing more, nothing is rendered or held in memory; when it does, the stream goes on."""

    def endless() -> Iterator[Timed[Any]]:
        while True:
            yield 0.0, b"x" * 100, NOWHERE

    rig = Rig(endless(), room=50_000)
    task = await rig.start()
    await rig.run(until=200.0)
    pulled = rig.pulled
    assert rig.transport.most < JOIN + 100
    await rig.run(until=300.0)
    assert rig.pulled == pulled
    rig.transport.free(50_000)
    await rig.settle()
    await rig.run(until=400.0)
    assert rig.pulled > pulled
    assert rig.transport.most < JOIN + 100
    rig.player.stop()
    rig.transport.freed.set()
    assert await task == "stopped"


async def test_promises_hold_under_back_pressure() -> None:
    """A promised write is handed over only when nothing waits before it, so that it is a `send` of its own."""
    rig = Rig(timeline(*[Write(b"abc", 0.0)] * 10, gap=0.0), room=4)
    task = await rig.start()
    for _ in range(20):
        rig.transport.free(4)
        await rig.settle()
        await rig.run(until=rig.scheduler.now() + 1)
    assert await asyncio.wait_for(task, 5) == "complete"
    assert [data for _, data in rig.transport.sent] == [b"abc"] * 10
    assert rig.transport.merged == 0


# -------------------------------------------------------------------------------------------------------------- log


def test_the_log_is_bounded_and_says_so() -> None:
    """The log keeps the first writes and bytes up to its bounds, and counts all of them."""
    log = SentLog()
    for number in range(KEPT_WRITES + 10):
        log.add(float(number), number + 0.5, b"x" * 32)
    assert (log.writes, log.bytes) == (KEPT_WRITES + 10, 32 * (KEPT_WRITES + 10))
    assert len(log.times) == len(log.deadlines) == len(log.sizes) == KEPT_WRITES
    assert sum(map(len, log.data)) == KEPT_BYTES
    assert (log.worst, log.last) == (0.5, KEPT_WRITES + 9.5)


RUNS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0005, 0.02, 0.02, 1.5]),  # the gap before the first piece of a write
        st.sampled_from([0.0, 0.0002, 0.004, 3.0]),  # how late it leaves
        st.integers(1, 3),  # how many pieces leave together
        st.sampled_from(
            ["", "", "somebody looks", "one more leaves later", "one more never leaves", "one leaves alone"]
        ),
    ),
    max_size=40,
)


@given(RUNS, st.booleans())
def test_a_run_of_writes_is_its_writes(writes: list[tuple[float, float, int, str]], excused: bool) -> None:
    """Writes that are noted as runs are in the end what they are when each is noted by itself: in the log, whoever
    looks at it meanwhile, and in the server's counters."""
    metrics = Metrics(), Metrics()
    runs, alone = (SentLog(each) for each in metrics)
    if excused:
        for log in (runs, alone):
            log.unblocked(0.0, 0.03)
    due = now = 0.0
    sizes = itertools.count(1)
    for gap, late, count, then in writes:
        deadlines = [due + gap + index * 0.001 for index in range(count)]
        due, now = deadlines[-1], max(now, deadlines[-1]) + late
        more = [due + 1] if then.startswith("one more") else []
        pieces = [b"." * next(sizes) for _ in deadlines + more]
        times = runs.run(deadlines + more, pieces)
        times.extend([now, *[JOINED] * (count - 1)])
        alone.add(deadlines[0], now, b"".join(pieces[:count]), count)
        if then == "somebody looks":
            assert (runs.writes, runs.last) == (alone.writes, now)
        elif then == "one more leaves later":
            assert runs.data == alone.data
            due, now = due + 1, max(now, due + 1) + late
            times.append(now)
            alone.add(due, now, pieces[-1])
        elif then == "one leaves alone":
            for log in (runs, alone):
                log.add(due, now, b"alone")
    for log in (runs, alone):
        log.settle()
    for name in ("writes", "bytes", "last", "worst", "kept", "data", "deadlines", "times", "sizes"):
        assert getattr(runs, name) == getattr(alone, name)
    samples = [
        [float(line.rpartition(" ")[2]) for line in each.text().splitlines() if not line.startswith("#")]
        for each in metrics
    ]
    assert samples[0] == pytest.approx(samples[1])


def test_no_more_pieces_than_writes_are_kept() -> None:
    """A run that goes over the number of writes that are kept is cut there, in its bytes as well."""
    log = SentLog()
    log.add_each(0.0, array("d", [0.5]) * (KEPT_WRITES - 2), [b"x"] * (KEPT_WRITES - 2))
    log.run([1.0, 2.0, 3.0, 4.0], [b"a", b"b", b"c", b"d"]).extend([1.0, 2.0, 3.0, 4.0])
    assert (log.writes, log.data[-3:]) == (KEPT_WRITES + 2, [b"x", b"a", b"b"])
    assert len(log.data) == len(log.times) == len(log.sizes) == KEPT_WRITES


def test_the_kept_bytes_have_no_holes() -> None:
    """Once a write did not fit, no later one is kept: what is kept is the beginning of what was sent."""
    log = SentLog()
    log.add(0.0, 0.0, b"a")
    log.add(0.0, 0.0, b"b" * KEPT_BYTES)
    log.add(0.0, 0.0, b"c")
    assert log.data == [b"a"]
    assert list(log.sizes) == [1, KEPT_BYTES, 1]

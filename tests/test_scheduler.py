"""One timer for all streams: nothing early, nothing forgotten, nothing starved; in real and in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import sys
import time
import tracemalloc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.scheduler import DRAIN, SLOT, LoopScheduler, Scheduler, VirtualScheduler


class Item:
    """Something scheduled, that calls a function when it is due."""

    def __init__(self, when_due: Callable[[float], object] = lambda now: None) -> None:
        self.slot = -1
        self.calls: list[float] = []
        self._when_due = when_due

    def due(self, now: float) -> None:
        self.calls.append(now)
        self._when_due(now)


class Alarm:
    """A timer that only notes the slots for which it is set."""

    def __init__(self) -> None:
        self.slots: list[int] = []

    def set(self, deadline: float) -> None:
        """It never rings."""
        self.slots.append(round(deadline / SLOT))

    def close(self) -> None:
        """There is nothing to release."""


class Turns:
    """Counts the turns of the running loop, until it is stopped."""

    def __init__(self) -> None:
        self.count = 0
        self._count()

    def _count(self) -> None:
        self.count += 1
        self._next = asyncio.get_running_loop().call_soon(self._count)

    def stop(self) -> None:
        """Count no more."""
        self._next.cancel()


@pytest.fixture(params=["timerfd", "call_at"])
async def scheduler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoopScheduler]:
    """The scheduler of the running loop, on either kind of timer."""
    if request.param == "timerfd" and sys.platform != "linux":
        pytest.skip("timerfd is a Linux system call")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "linux" if request.param == "timerfd" else "other")
        made = LoopScheduler(asyncio.get_running_loop())
    yield made
    made.close()


async def drained(scheduler: LoopScheduler, patience: float = 10.0) -> None:
    """Wait until nothing is scheduled any more."""
    async with asyncio.timeout(patience):
        while len(scheduler):
            await asyncio.sleep(0.001)


# ---------------------------------------------------------------------------------------------------------- the loop


async def test_thousands_of_entries(scheduler: LoopScheduler) -> None:
    """Thousands of items are each served once, in the order of their slots, and none before its deadline."""
    rng = random.Random(1)
    start = scheduler.now()
    served: list[float] = []
    early: list[float] = []

    def made(deadline: float) -> Item:
        def due(now: float) -> None:
            served.append(deadline)
            if now < deadline or scheduler.now() < deadline:
                early.append(deadline - now)

        return Item(due)

    items = [(deadline, made(deadline)) for deadline in (start + rng.uniform(-0.01, 0.06) for _ in range(5000))]
    for deadline, item in items:
        scheduler.at(deadline, item)
    assert len(scheduler) == 5000
    await drained(scheduler)
    assert Counter(len(item.calls) for _, item in items) == {1: 5000}
    assert early == []
    slots = [math.ceil(deadline / SLOT) for deadline in served]
    assert slots == sorted(slots)


async def test_an_earlier_deadline_comes_first(scheduler: LoopScheduler) -> None:
    """An item that is added later but due earlier does not wait for the one before it: the timer is set back."""
    now = scheduler.now()
    scheduler.at(now + 60, distant := Item())
    scheduler.at(now + 0.002, near := Item())
    async with asyncio.timeout(5):
        while not near.calls:
            await asyncio.sleep(0.001)
    assert distant.calls == []
    scheduler.remove(distant)


async def test_several_at_once(scheduler: LoopScheduler) -> None:
    """Items that are scheduled together come in the order of their deadlines, before one that was first until then."""
    order: list[str] = []
    done = asyncio.Event()
    items = [Item(lambda _, name=name: order.append(name)) for name in ("second", "first")]  # type: ignore[misc]
    now = scheduler.now()
    scheduler.at(now + 3600, Item())
    scheduler.at_each([now + 0.02, now + 0.01, now + 0.02], [*items, Item(lambda _: done.set())])
    async with asyncio.timeout(10):
        await done.wait()
    assert order == ["first", "second"]


@pytest.mark.parametrize(("streams", "took", "slots"), [(40, 0.2, 1), (40, 0.8, 2), (4, 0.8, 1)])
async def test_a_short_sleep_is_not_worth_it(scheduler: LoopScheduler, streams: int, took: float, slots: int) -> None:
    """Where many were served, and it took most of the time to the next slot, that one waits for the slot after it."""
    clock, alarm = [1000 * SLOT], Alarm()
    scheduler.close()
    scheduler._timer, scheduler.now = alarm, lambda: clock[0]

    def due(_: float) -> None:
        clock[0] += took * SLOT / streams

    for slot in (1000, 1001):
        for _ in range(streams):
            scheduler.at((slot - 0.5) * SLOT, Item(due))
    scheduler._wake()
    assert alarm.slots == [1000, 1000 + slots]


async def test_what_is_overdue_is_served_together() -> None:
    """Items of several slots that have all begun are one batch, in the order of their deadlines."""
    batches: list[list[Item]] = []
    scheduler = LoopScheduler(asyncio.get_running_loop(), lambda items, now: batches.append(items))
    scheduler.close()
    scheduler._timer, scheduler.now = Alarm(), lambda: 1.0
    items = [Item() for _ in range(6)]
    deadlines = [0.25, 1.25, 0.5, 0.25, 1.0, 0.75]
    for deadline, item in zip(deadlines, items, strict=True):
        scheduler.at(deadline, item)
    scheduler._wake()
    assert batches == [[items[at] for at in (0, 3, 2, 5, 4)]]


async def test_a_late_loop_catches_up(scheduler: LoopScheduler) -> None:
    """After the loop was blocked, everything overdue is served in order of deadline, and what is not due yet is not."""
    start = scheduler.now()
    order: list[int] = []
    turns: list[int] = []
    turn = Turns()

    def due(number: int) -> None:
        order.append(number)
        turns.append(turn.count)

    items = [Item(lambda _, number=number: due(number)) for number in range(40)]  # type: ignore[misc]
    for number in random.Random(2).sample(range(40), 40):
        scheduler.at(start + 0.001 * (number + 1), items[number])
    time.sleep(0.02)
    assert order == []
    await drained(scheduler)
    assert order == list(range(40))
    assert all(item.calls[0] >= start + 0.001 * (number + 1) for number, item in enumerate(items))
    # Those that were overdue when the loop came back did not wait for one another's distances.
    assert len(set(turns[:19])) == 1
    turn.stop()


async def test_deadlines_are_absolute(scheduler: LoopScheduler) -> None:
    """An item that schedules itself by absolute deadlines keeps its plan, however late each turn of it was."""
    start = scheduler.now()
    plan = [start + 0.002 * step for step in range(1, 21)]
    seen: list[float] = []

    def due(now: float) -> None:
        seen.append(now)
        if len(seen) == 3:
            time.sleep(0.01)
        if len(seen) < len(plan):
            scheduler.at(plan[len(seen)], item)

    item = Item(due)
    scheduler.at(plan[0], item)
    await drained(scheduler)
    assert len(seen) == len(plan)
    assert all(now >= deadline for now, deadline in zip(seen, plan, strict=True))


async def test_a_drain_is_bounded(scheduler: LoopScheduler) -> None:
    """However many items are due, the loop has its turn after a bounded number of them."""
    turn = Turns()
    turns: Counter[int] = Counter()
    past = scheduler.now() - 1
    items = [Item(lambda _: turns.update([turn.count])) for _ in range(5 * DRAIN + 1)]
    for number, item in enumerate(items):
        scheduler.at(past + number % 3 * SLOT, item)
    await drained(scheduler)
    turn.stop()
    assert sum(turns.values()) == len(items)
    assert max(turns.values()) <= DRAIN


async def test_a_drain_ends_at_its_beginning(scheduler: LoopScheduler) -> None:
    """What becomes due while a drain goes on is left to the next one, so that sockets are looked at in between."""
    turn = Turns()
    turns: list[int] = []

    def slow(_: float) -> None:
        turns.append(turn.count)
        scheduler.at(scheduler.now() + SLOT, Item(lambda _: turns.append(turn.count)))
        time.sleep(4 * SLOT)

    scheduler.at(scheduler.now() - 1, Item(slow))
    await drained(scheduler)
    turn.stop()
    assert turns[1] > turns[0]


async def test_sockets_are_served_during_a_drain(scheduler: LoopScheduler) -> None:
    """A byte that comes while a crowd is due is read before the crowd has been served."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=(pair := socket.socketpair())[0])
    served = 0

    def due(_: float) -> None:
        nonlocal served
        served += 1
        if served == 1:
            pair[1].send(b"x")

    for _ in range(20 * DRAIN):
        scheduler.at(loop.time() - 1, Item(due))
    assert await reader.read(1) == b"x"
    assert served < 20 * DRAIN
    await drained(scheduler)
    writer.close()
    pair[1].close()


async def test_soon_gives_way(scheduler: LoopScheduler) -> None:
    """An item that always has more to do comes again and again, yet starves neither timers nor other callbacks."""
    order: list[str] = []

    def again(_: float) -> None:
        order.append("busy")
        scheduler.soon(busy)

    busy = Item(again)
    scheduler.soon(busy)
    scheduler.at(scheduler.now() + 0.003, Item(lambda _: order.append("timer")))
    asyncio.get_running_loop().call_later(0.003, order.append, "callback")
    async with asyncio.timeout(10):
        while not {"timer", "callback"} <= set(order):
            await asyncio.sleep(0)
    scheduler.remove(busy)
    count = order.count("busy")
    await asyncio.sleep(0.002)
    assert count > 1
    assert order.count("busy") == count
    assert len(scheduler) == 0


async def test_soon_in_turn(scheduler: LoopScheduler) -> None:
    """Items that gave up their turn are served once each, in the order in which they did."""
    order: list[int] = []
    items = [Item(lambda _, number=number: order.append(number)) for number in range(3)]  # type: ignore[misc]
    for item in items:
        scheduler.soon(item)
    assert order == []
    await drained(scheduler)
    assert order == [0, 1, 2]


@pytest.mark.parametrize("how", ["at", "soon"])
async def test_removed_by_a_neighbour(scheduler: LoopScheduler, how: str) -> None:
    """An item that is removed while the one before it is served, in the same turn, is not served."""
    victim = Item()
    killer = Item(lambda _: scheduler.remove(victim))
    for item in (killer, victim):
        if how == "at":
            scheduler.at(scheduler.now() - 1, item)
        else:
            scheduler.soon(item)
    await drained(scheduler)
    await asyncio.sleep(0)
    assert (len(killer.calls), victim.calls) == (1, [])


async def test_moved_by_a_neighbour(scheduler: LoopScheduler) -> None:
    """An item that is removed and scheduled anew while the one before it is served comes at its new deadline only."""
    later = scheduler.now() + 0.004

    def move(_: float) -> None:
        scheduler.remove(moved)
        scheduler.at(later, moved)

    moved = Item()
    past = scheduler.now() - 1
    scheduler.at(past, Item(move))
    scheduler.at(past, moved)
    await drained(scheduler)
    assert len(moved.calls) == 1
    assert moved.calls[0] >= later


async def test_removing_what_is_first(scheduler: LoopScheduler) -> None:
    """Where the earliest item is removed, nobody is served at its time and the next one still comes."""
    first, second = Item(), Item()
    now = scheduler.now()
    scheduler.at(now + 0.002, first)
    scheduler.at(now + 0.006, second)
    scheduler.remove(first)
    scheduler.remove(first)
    await drained(scheduler)
    assert first.calls == []
    assert len(second.calls) == 1
    assert second.calls[0] >= now + 0.006


async def test_removal_takes_constant_time(scheduler: LoopScheduler) -> None:
    """Removing one of ten thousand items of a slot touches a handful of items, not all."""
    touched = 0

    class Counted(Item):
        def __hash__(self) -> int:
            nonlocal touched
            touched += 1
            return id(self) >> 4

        def __eq__(self, other: object) -> bool:
            nonlocal touched
            touched += 1
            return self is other

    far = scheduler.now() + 1000
    items = [Counted() for _ in range(10_000)]
    for item in items:
        scheduler.at(far, item)
    touched = 0
    scheduler.remove(items[5000])
    assert touched <= 10
    assert len(scheduler) == 9999


async def test_cancelled_items_release_memory(scheduler: LoopScheduler) -> None:
    """What is removed is let go at once, and adding and removing takes no memory, however far the deadlines."""
    item = Item()
    scheduler.at(scheduler.now() + 3600, item)
    scheduler.remove(item)
    gone = weakref.ref(item)
    del item
    assert gone() is None

    start = scheduler.now() + 3600

    def rounds(count: int) -> None:
        for number in range(count):
            one = Item()
            scheduler.at(start + number * SLOT * 3, one)
            scheduler.remove(one)

    rounds(100)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rounds(10_000)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


async def test_closed(scheduler: LoopScheduler) -> None:
    """After `close` nothing is due any more, and closing twice does no harm."""
    item = Item()
    scheduler.at(scheduler.now() + 0.001, item)
    scheduler.close()
    scheduler.close()
    await asyncio.sleep(0.005)
    assert item.calls == []


async def test_timerfd_is_used_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux the one timer is a timerfd, which `call_at`'s whole milliseconds do not round; elsewhere `call_at`."""
    loop = asyncio.get_running_loop()
    asked: list[str] = []

    def call_at(*_: object) -> Handle:
        asked.append("call_at")
        return Handle()

    monkeypatch.setattr(loop, "call_at", call_at)
    monkeypatch.setattr(loop, "add_reader", lambda *_: asked.append("timerfd"))
    monkeypatch.setattr(loop, "remove_reader", lambda *_: None)
    for platform in ("linux", "darwin") if sys.platform == "linux" else ("darwin",):
        asked.clear()
        monkeypatch.setattr(sys, "platform", platform)
        made = LoopScheduler(loop)
        made.at(made.now() + 1, item := Item())
        assert asked == (["timerfd"] if platform == "linux" else ["call_at"])
        made.remove(item)
        made.close()


class Handle:
    """Stands for a timer that can be cancelled."""

    def cancel(self) -> None:
        """Nothing to do."""


# ---------------------------------------------------------------------------------------------------- virtual time


def test_virtual_time_passes_only_when_told() -> None:
    """The virtual clock stands still, then passes over any length of time at once, slot by slot."""
    scheduler = VirtualScheduler()
    first, second = Item(), Item()
    scheduler.at(3600.0, second)
    scheduler.at(1.0, first)
    assert scheduler.now() == 0.0
    scheduler.run(until=2.0)
    assert (first.calls, second.calls, scheduler.now()) == ([1.0], [], 2.0)
    scheduler.run()
    assert second.calls == [3600.0]


def test_virtual_lateness() -> None:
    """With a late clock items are served that much after their slot, and in order still."""
    scheduler = VirtualScheduler()
    items = [Item(), Item()]
    scheduler.at(1.0, items[0])
    scheduler.at(1.25, items[1])
    scheduler.run(late=0.5)
    assert [item.calls for item in items] == [[1.5], [1.75]]


def test_virtual_removal() -> None:
    """What is removed, before or while its slot is served, does not come."""
    scheduler = VirtualScheduler()
    victims = [Item(), Item()]
    scheduler.at(1.0, Item(lambda _: scheduler.remove(victims[1])))
    for victim in victims:
        scheduler.at(1.0, victim)
    scheduler.remove(victims[0])
    scheduler.run()
    assert [victim.calls for victim in victims] == [[], []]


@settings(deadline=None)
@given(st.floats(0, 1e7), st.integers(0, 3))
def test_never_early_whatever_the_rounding(deadline: float, ulps: int) -> None:
    """For any deadline, also one bit above a slot's beginning, an item is served not before it and within a slot."""
    for near in (deadline, math.floor(deadline / SLOT) * SLOT):
        due = near
        for _ in range(ulps):
            due = math.nextafter(due, math.inf)
        scheduler = VirtualScheduler()
        scheduler.at(due, item := Item())
        scheduler.run()
        assert due <= item.calls[0] <= due + SLOT * 1.001


def test_never_early_by_a_bit() -> None:
    """The same for very many slots: of a thousand, about four round the wrong way."""
    rng = random.Random(7)
    for _ in range(3000):
        due = math.nextafter(rng.randrange(1, 2 * 10**10) * SLOT, math.inf)
        scheduler = VirtualScheduler()
        items = [Item() for _ in range(3)]
        scheduler.at(due, items[0])
        scheduler.at_each([due, due], items[1:])
        scheduler.run()
        assert [len(item.calls) for item in items] == [1, 1, 1]
        assert min(item.calls[0] for item in items) >= due


def _play(scheduler: Scheduler, slot: int, done: Callable[[], None] = lambda: None) -> list[tuple[str, int]]:
    """Three items that tick in different strides, one that stops another: the order in which they were served."""
    order: list[tuple[str, int]] = []
    tickers: dict[str, Item] = {}

    def at(strides: int, item: Item) -> None:
        scheduler.at((slot + strides - 0.5) * SLOT, item)  # amid a slot, where no rounding can reach

    def ticker(name: str, stride: int, count: int) -> None:
        step = 0

        def due(_: float) -> None:
            nonlocal step
            order.append((name, step))
            step += 1
            if (name, step) == ("five", 3):
                scheduler.remove(tickers["two"])
            if step < count:
                at(step * stride, tickers[name])
            elif name == "seven":
                done()

        tickers[name] = Item(due)
        at(0, tickers[name])

    for name, stride, count in (("two", 2, 30), ("five", 5, 10), ("seven", 7, 8)):
        ticker(name, stride, count)
    return order


async def test_virtual_time_is_equivalent(scheduler: LoopScheduler) -> None:
    """The same items are served in the same order by the loop's scheduler and by the virtual one."""
    virtual = VirtualScheduler()
    expected = _play(virtual, 2000)
    virtual.run()
    done = asyncio.Event()
    order = _play(scheduler, math.ceil(scheduler.now() / SLOT) + 4, done.set)
    async with asyncio.timeout(10):
        await done.wait()
    await drained(scheduler)
    assert order == expected
    names: Any = Counter(name for name, _ in order)
    assert names == {"two": 5, "five": 10, "seven": 8}

"""One timer for all streams of a loop, by absolute deadlines.

Streams that are due in the same half millisecond share a slot. On Linux a single timerfd wakes the loop, since
asyncio's own timers are rounded up to whole milliseconds; elsewhere `call_at` does. A drain is bounded, so accepting
and reading requests is not starved, and a late loop catches up: deadlines are never shifted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

__all__ = ["SLOT", "LoopScheduler", "Scheduled", "Scheduler", "VirtualScheduler", "one_by_one"]

SLOT = 0.0005
"""Seconds that one slot of the schedule lasts."""

DRAIN = 256
"""At most so many streams are served before the loop gets its turn."""


_NEAR = 0.00002
"""Seconds to a deadline for which the loop goes round instead of sleeping: to be woken by a timer costs more."""

_CROWD, _SHORT = 16, SLOT / 2
"""After so many streams were served at once, so many seconds of sleep are not worth it: to set a timer and be woken by
it takes a tenth of that on a virtual machine, and as much again until the caches are warm."""

_NOWHERE = -1
_SOON = -2
_DUE = -3
"""Instead of the key of a slot, in an item that is not scheduled, whose turn is the next one that is free, or whose
turn it is."""


class Scheduled(Protocol):
    """What can be scheduled: it keeps the key of its slot (first -1), so that removing it takes constant time."""

    slot: int

    def due(self, now: float) -> None:
        """Its deadline has come; `now` is the scheduler's clock."""


def one_by_one(items: Sequence[Scheduled], now: float) -> None:
    """Serve items whose turn it is, but for those that a neighbour has removed or put elsewhere meanwhile."""
    for item in items:
        if item.slot == _DUE:
            item.slot = _NOWHERE
            item.due(now)


class Scheduler(Protocol):
    """The player's only source of time. Seconds are monotonic."""

    def now(self) -> float:
        """The current time."""

    def at(self, deadline: float, item: Scheduled) -> None:
        """Call `item.due` at the deadline or as soon after it as the slot allows; an item is scheduled once.

        deadline: finite.
        """

    def at_each(self, deadlines: Sequence[float], items: Sequence[Scheduled]) -> None:
        """`at`, for each deadline and its item."""

    def soon(self, item: Scheduled) -> None:
        """Call `item.due` after others have had their turn."""

    def remove(self, item: Scheduled) -> None:
        """Forget the item, if it is scheduled."""


def _slot(deadline: float) -> int:
    """The first slot that does not begin before the deadline."""
    key = math.ceil(deadline / SLOT)
    # The division rounds: without this a deadline one bit above a slot's beginning would be served before it came.
    return key if key * SLOT >= deadline else key + 1


class _Slots:
    """Items by slot, and a heap of the slots that hold any."""

    def __init__(self) -> None:
        self._slots: dict[int, dict[Scheduled, None]] = {}
        self._heap: list[int] = []

    def add(self, key: int, item: Scheduled) -> None:
        slot = self._slots.get(key)
        if slot is None:
            self._slots[key] = {item: None}
            heapq.heappush(self._heap, key)
        else:
            slot[item] = None
        item.slot = key

    def add_each(self, deadlines: Sequence[float], items: Sequence[Scheduled]) -> None:
        # `_slot` and `add`, in line: this runs for nearly every write of a stream with gaps.
        slots, ceil = self._slots, math.ceil
        for deadline, item in zip(deadlines, items, strict=True):
            key = ceil(deadline / SLOT)
            if key * SLOT < deadline:
                key += 1
            if key in slots:
                slots[key][item] = None
            else:
                slots[key] = {item: None}
                heapq.heappush(self._heap, key)
            item.slot = key

    def remove(self, item: Scheduled) -> None:
        slot = self._slots.get(item.slot)
        if slot is not None:
            slot.pop(item, None)
            # An emptied slot goes at once, so that memory does not wait for far deadlines. Its key stays in the heap,
            # where it is harmless; when most keys there are such, the heap is made anew.
            if not slot:
                del self._slots[item.slot]
                if len(self._heap) > 64 + 2 * len(self._slots):
                    self._heap = list(self._slots)
                    heapq.heapify(self._heap)
        item.slot = _NOWHERE

    def first(self) -> int | None:
        """The key of the earliest slot that holds an item."""
        while self._heap and self._heap[0] not in self._slots:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def pop(self, key: int, limit: int) -> list[Scheduled]:
        """Up to `limit` items of the earliest slot, removed from it: it is their turn."""
        slot = self._slots[key]
        if len(slot) <= limit:
            del self._slots[key]
            heapq.heappop(self._heap)
            taken = list(slot)
        else:
            taken = list(islice(slot, limit))
            for item in taken:
                del slot[item]
        for item in taken:
            item.slot = _DUE
        return taken

    def pop_until(self, now: float, limit: int) -> list[Scheduled]:
        """The same of all slots that have begun by now, up to `limit` in all."""
        items: list[Scheduled] = []
        while (key := self.first()) is not None and key * SLOT <= now and len(items) < limit:
            items += self.pop(key, limit - len(items))
        return items

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))


class LoopScheduler:
    """The schedule of one asyncio loop. serve: how items are served that are due together."""

    def __init__(self, loop: asyncio.AbstractEventLoop, serve: Callable[[list[Any], float], None] = one_by_one) -> None:
        self._loop = loop
        self._serve_due = serve
        self._slots = _Slots()
        self._soon: dict[Scheduled, None] = {}
        self._armed: int | None = None
        self._draining = False
        self._again: asyncio.Handle | None = None
        self._timer: _Timer = _TimerFd(loop, self._wake) if sys.platform == "linux" else _CallAt(loop, self._wake)
        self.now = time.monotonic

    def at(self, deadline: float, item: Scheduled) -> None:
        key = _slot(deadline)
        self._slots.add(key, item)
        if not self._draining and (self._armed is None or key < self._armed):
            self._arm(key)

    def at_each(self, deadlines: Sequence[float], items: Sequence[Scheduled]) -> None:
        self._slots.add_each(deadlines, items)
        if not self._draining:
            key = self._slots.first()
            if key is not None and (self._armed is None or key < self._armed):
                self._arm(key)

    def soon(self, item: Scheduled) -> None:
        if not self._soon:
            self._loop.call_soon(self._serve)
        self._soon[item] = None
        item.slot = _SOON

    def remove(self, item: Scheduled) -> None:
        self._soon.pop(item, None)
        self._slots.remove(item)

    def _serve(self) -> None:
        """Serve those that gave up their turn, once each; timers and sockets are looked at before they come again."""
        items, self._soon = self._soon, {}
        for item in items:
            if item.slot == _SOON:  # else it was removed meanwhile, by one that was served before it
                item.slot = _NOWHERE
                item.due(self.now())

    def quiet(self, seconds: float) -> bool:
        """Whether nothing is due within so many seconds."""
        key = self._slots.first()
        return not self._soon and (key is None or key * SLOT > self.now() + seconds)

    def close(self) -> None:
        """Release the timer; nothing is due any more."""
        self._timer.close()
        if self._again is not None:
            self._again.cancel()

    def __len__(self) -> int:
        return len(self._slots) + len(self._soon)

    def _arm(self, key: int) -> None:
        self._armed = key
        self._timer.set(key * SLOT)

    def _wake(self) -> None:
        self._armed = None
        self._draining = True
        left = DRAIN
        # What becomes due during the drain waits for the next one, so that sockets are looked at in between.
        now = self.now()
        try:
            while left > 0 and (items := self._slots.pop_until(now, left)):
                left -= len(items)
                self._serve_due(items, now)
        finally:
            self._draining = False
            key = self._slots.first()
            if key is not None:
                ahead = key * SLOT - self.now()
                if ahead > _NEAR:
                    # Under load, where little time is left, two slots share a sleep.
                    self._arm(key + 1 if ahead < _SHORT and DRAIN - left >= _CROWD else key)
                else:
                    self._armed = key
                    self._again = self._loop.call_soon(self._wake)


class _Timer(Protocol):
    def set(self, deadline: float) -> None: ...
    def close(self) -> None: ...


class _CallAt:
    def __init__(self, loop: asyncio.AbstractEventLoop, wake: object) -> None:
        self._loop = loop
        self._wake = wake
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float) -> None:
        self.close()
        self._handle = self._loop.call_at(deadline, self._wake)  # type: ignore[arg-type]

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Itimerspec(ctypes.Structure):
    _fields_ = [
        ("interval_sec", ctypes.c_long),
        ("interval_nsec", ctypes.c_long),
        ("value_sec", ctypes.c_long),
        ("value_nsec", ctypes.c_long),
    ]  # fmt: skip


class _TimerFd:
    """A Linux timerfd on the loop; see timerfd_create(2). The os module has it from Python 3.13 on only."""

    _TFD_TIMER_ABSTIME = 1

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: object) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop = loop
        self._wake = wake
        self._set = False
        self._spec = _Itimerspec(0, 0, 0, 0)
        self._reference = ctypes.byref(self._spec)
        loop.add_reader(self._fd, self._ready)

    def set(self, deadline: float) -> None:
        self._set = True
        seconds = int(deadline)
        self._spec.value_sec = seconds
        self._spec.value_nsec = max(1, int((deadline - seconds) * 1e9))
        if self._libc.timerfd_settime(self._fd, self._TFD_TIMER_ABSTIME, self._reference, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _ready(self) -> None:
        """It has fired, and is readable until it is read or set anew.

        Whoever is woken sets it, unless nothing is left to wait for.
        """
        self._set = False
        self._wake()  # type: ignore[operator]
        if not self._set:
            with contextlib.suppress(BlockingIOError):  # it was set anew after it had fired
                os.read(self._fd, 8)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class VirtualScheduler:
    """A schedule for tests: time passes only in `run`, and as fast as the machine can."""

    def __init__(self) -> None:
        self._slots = _Slots()
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def at(self, deadline: float, item: Scheduled) -> None:
        self._slots.add(_slot(deadline), item)

    def at_each(self, deadlines: Sequence[float], items: Sequence[Scheduled]) -> None:
        self._slots.add_each(deadlines, items)

    def soon(self, item: Scheduled) -> None:
        self._slots.add(math.floor(self._now / SLOT), item)

    def remove(self, item: Scheduled) -> None:
        self._slots.remove(item)

    def run(self, until: float = math.inf, late: float = 0.0) -> None:
        """Let time pass until nothing is scheduled, or to `until`; each slot is served `late` seconds late."""
        while (key := self._slots.first()) is not None and key * SLOT + late <= until:
            self._now = max(self._now, key * SLOT + late)
            one_by_one(self._slots.pop(key, 1 << 30), self._now)
        if until != math.inf:
            self._now = max(self._now, until)

"""Performs socket actions on an aiohttp connection, on time, and writes down what it did.

Deadlines are absolute: gaps are added up from the request on, so a late write does not shift those after it. Bytes that
are due together leave in one write; a promised write leaves alone, its pause away from the writes before and after it,
even when the loop is late. One action is rendered ahead, and none while the client's receive window is full.

Endings, each proved on the wire by the tests: `close()` flushes and sends FIN; RST needs SO_LINGER with zero seconds
before `abort()`, and would discard what the kernel has not sent yet, so it waits for that first.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from mockprovider.errors import TimelineError
from mockprovider.exchange import SentLog
from mockprovider.gates import Gates
from mockprovider.scheduler import Scheduler
from mockprovider.timeline import NOWHERE, Close, Control, End, HalfClose, Hang, Hold, Reset, Timed
from mockprovider.wire import SocketItem, Write

__all__ = ["Connection", "Player"]

JOIN = 32 * 1024
"""Bytes that are joined into one write at most."""

TURN = 32
"""Writes of one stream before other streams have their turn."""

_DRAIN_POLL = 0.001
_DRAIN_SLOW = 0.02
"""Seconds between two looks whether everything has been sent, at first and after a second."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes in the send queue that have not been sent


_RUN_OUT: Timed[None] = (0.0, None, NOWHERE)
"""Stands for the item after the last, which there should not be: `_next` says so when it is asked for."""


class Connection(Protocol):
    """What the player needs of a connection."""

    @property
    def writing_paused(self) -> bool:
        """Whether the transport's buffer is over its limit."""


class Player:
    """Plays one exchange's timeline. `outcome` is None until it has ended; see `exchange.OUTCOMES`."""

    __slots__ = (
        "_actions", "_blocked", "_connection", "_deadline", "_done", "_error", "_gate", "_gates", "_half_closed",
        "_item", "_log", "_pause", "_planned", "_reset_from", "_scheduler", "_transport", "outcome", "slot",
    )  # fmt: skip

    def __init__(
        self,
        actions: Iterator[Timed[SocketItem | Control]],
        transport: asyncio.Transport,
        connection: Connection,
        scheduler: Scheduler,
        log: SentLog,
        gates: Gates,
        started: float,
    ) -> None:
        self.slot = -1
        self.outcome: str | None = None
        self._actions = actions
        self._transport = transport
        self._connection = connection
        self._scheduler = scheduler
        self._log = log
        self._gates = gates
        self._deadline = started
        self._item: SocketItem | Control | None = None
        self._pause = 0.0  # what the last write was promised to keep from the next
        self._planned = -math.inf  # when the last write was due
        self._reset_from = 0.0
        self._blocked = False
        self._half_closed = False
        self._gate: str | None = None
        self._done: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def play(self, drain: Callable[[], asyncio.Future[None] | object]) -> str:
        """Perform the timeline; returns the outcome. `drain` waits until the transport takes writes again.

        Raises what rendering raised, after the connection was aborted. Cancelling it means that the client has left.
        """
        # Only with an empty buffer is a write of ours a `send` of its own, and nothing waits behind a slow reader.
        self._transport.set_write_buffer_limits(0)
        try:
            self.due(self._scheduler.now())
            while self.outcome is None:
                if self._blocked:
                    since = self._scheduler.now()
                    try:
                        await drain()  # type: ignore[misc]
                    except ConnectionError:
                        self._finish("client-left")
                    self._blocked = False
                    now = self._scheduler.now()
                    self._log.unblocked(since, now)
                    self.due(now)
                else:
                    self._done = asyncio.get_running_loop().create_future()
                    await self._done
        finally:
            if self.outcome is None:
                self._finish("closed" if self._half_closed else "client-left")
            self._scheduler.remove(self)
            if self._gate is not None:
                self._gates.leave(self._gate, self._resume)
        if self._error is not None:
            raise self._error
        return self.outcome

    def stop(self) -> None:
        """End it now: the server is stopping, or the namespace is closed. The connection is aborted."""
        if self.outcome is None:
            self._finish("stopped")
            self._transport.abort()

    def due(self, now: float) -> None:
        """Perform everything that is due, then schedule what comes next."""
        if self.outcome is not None:
            return
        try:
            self._perform(now)
        except Exception as error:  # noqa: BLE001  rendering runs here, in the scheduler's turn: the error belongs
            # to this exchange alone, and `play` raises it where the exchange is handled.
            self._error = error
            self._finish("failed")
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ performing

    def _perform(self, now: float) -> None:
        writes = 0
        while True:
            if self._item is None:
                gap, self._item, _ = self._next()
                self._deadline += gap
            item = self._item
            wait = planned = self._deadline
            pause = max(self._pause, item.apart) if type(item) is Write else self._pause
            if pause and self._log.writes:
                wait = max(wait, self._log.last + pause)
            planned = max(planned, self._planned + pause)
            # Time passes while we render and write, so look again before going to sleep. But after a promised write
            # the loop has its turn in any case, or a machine that stood still for the pause would have skipped it.
            if wait > now and ((pause and writes) or wait > (now := self._scheduler.now())):
                self._scheduler.at(wait, self)
                return
            if type(item) is bytes:
                going = self._write_joined(item, now, planned)
                self._pause = 0.0
                writes += 1
            elif type(item) is Write:
                going = self._write(item.data, planned)
                self._pause = item.apart
                self._item = None
                writes += 1
            else:
                self._item = None
                if not self._control(item, now):  # type: ignore[arg-type]
                    return
                continue
            if not going:
                return
            if self._connection.writing_paused:
                self._blocked = True
                self._wake()
                return
            if writes >= TURN:
                self._scheduler.soon(self)
                return

    def _next(self) -> Timed[SocketItem | Control]:
        timed = next(self._actions, None)
        if timed is None:
            raise TimelineError("a stage let the timeline run out without an ending (End, Close, Reset or Hang)")
        if not timed[0] >= 0:
            raise _backwards(timed[1], timed[0])
        return timed

    def _write_joined(self, item: bytes, now: float, planned: float) -> bool:
        """Write the item and all joinable ones after it that are due by now, as one."""
        actions, deadline = self._actions, self._deadline
        parts: list[bytes] = []
        size = 0
        following: SocketItem | Control | None = item
        try:
            while type(following) is bytes and deadline <= now and size < JOIN:
                parts.append(following)
                size += len(following)
                gap, following, _ = next(actions, _RUN_OUT)
                if gap:
                    if not gap > 0:
                        raise _backwards(following, gap)
                    deadline += gap
        except Exception:
            self._write(b"".join(parts), planned)  # what was due before the defect
            raise
        self._item, self._deadline = following, deadline
        return self._write(parts[0] if len(parts) == 1 else b"".join(parts), planned, len(parts))

    def _write(self, data: bytes, planned: float, events: int = 1) -> bool:
        """One `send`; False if the client is gone. Writing to a lost transport would be dropped in silence."""
        if self._transport.is_closing():
            self._finish("client-left")
            return False
        self._transport.write(data)
        self._planned = planned
        self._log.add(planned, self._scheduler.now(), data, events)
        return True

    def _control(self, control: Control, now: float) -> bool:
        """Perform a control; False if the stream goes on later or not at all."""
        if isinstance(control, Hold):
            if self._gates.wait(control.gate, self._resume):
                self._gate = control.gate
                return False
            return True
        if self._transport.is_closing():
            self._finish("client-left")
        elif isinstance(control, End):
            self._finish("complete")
        elif isinstance(control, Close):
            self._transport.close()
            self._finish("closed")
        elif isinstance(control, Reset):
            self._item = control  # it comes again until nothing is left to send
            self._reset(now)
        elif isinstance(control, HalfClose):
            self._half_closed = True
            self._transport.write_eof()
        elif not isinstance(control, Hang):
            raise TimelineError(f"the player cannot perform {control!r}")
        return False

    def _resume(self) -> None:
        """The gate has opened: deadlines are counted from now on."""
        self._gate = None
        self._item = None
        self._deadline = self._scheduler.now()
        self._scheduler.soon(self)

    def _reset(self, now: float) -> None:
        if not self._reset_from:
            self._reset_from = now
        if self._unsent(now):
            self._scheduler.at(now + (_DRAIN_POLL if now < self._reset_from + 1 else _DRAIN_SLOW), self)
            return
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._transport.abort()
        self._finish("reset")

    def _unsent(self, now: float) -> bool:
        """Whether bytes are still on their way out of this host; where that cannot be asked, 50 ms must do."""
        if self._transport.get_write_buffer_size():
            return True
        if sys.platform != "linux":
            return now < self._reset_from + 0.05
        descriptor = self._transport.get_extra_info("socket").fileno()
        unsent = struct.unpack("i", fcntl.ioctl(descriptor, _SIOCOUTQNSD, b"\0\0\0\0"))[0]
        return bool(unsent)

    def _finish(self, outcome: str) -> None:
        self.outcome = self.outcome or outcome
        self._wake()

    def _wake(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


def _backwards(item: object, gap: float) -> TimelineError:
    return TimelineError(f"a stage produced {item!r} with a gap of {gap} s; time only passes")

"""Performs socket actions on an aiohttp connection, on time, and writes down what it did.

Deadlines are absolute: gaps are added up from the request on, so a late write does not shift those after it. Bytes that
are due together leave in one write; a promised write leaves alone, and the next one not before its pause is over, even
when the loop is late. One action is rendered ahead, and none while the client's receive window is full.

Endings, each proved on the wire by the tests: `close()` flushes and sends FIN; RST needs SO_LINGER with zero seconds
before `abort()`, and would discard what the kernel has not sent yet, so it waits for that first.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from mockprovider.errors import TimelineError
from mockprovider.exchange import SentLog
from mockprovider.gates import Gates
from mockprovider.scheduler import Scheduler
from mockprovider.timeline import NOWHERE, Close, Control, End, Hang, Hold, Reset, Timed
from mockprovider.wire import SocketItem, Write

__all__ = ["Connection", "Player"]

JOIN = 32 * 1024
"""Bytes that are joined into one write at most."""

TURN = 32
"""Writes of one stream before other streams have their turn."""

_DRAIN_POLL = 0.001
_DRAIN_LIMIT = 1.0
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
        "_actions", "_blocked", "_connection", "_deadline", "_done", "_error", "_gate", "_gates", "_item",
        "_log", "_not_before", "_reset_by", "_scheduler", "_transport", "outcome", "slot",
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
        self._not_before = 0.0
        self._reset_by = 0.0
        self._blocked = False
        self._gate: str | None = None
        self._done: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def play(self, drain: Callable[[], asyncio.Future[None] | object]) -> str:
        """Perform the timeline; returns the outcome. `drain` waits until the transport takes writes again.

        Raises what rendering raised, after the connection was aborted. Cancelling it means that the client has left.
        """
        try:
            self.due(self._scheduler.now())
            while self.outcome is None:
                if self._blocked:
                    await drain()  # type: ignore[misc]
                    self._blocked = False
                    self.due(self._scheduler.now())
                else:
                    self._done = asyncio.get_running_loop().create_future()
                    await self._done
        finally:
            if self.outcome is None:
                self._finish("client-left")
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
            wait = max(self._deadline, self._not_before)
            # Time passes while we render and write, so look again before going to sleep.
            if wait > now and wait > (now := self._scheduler.now()):
                self._scheduler.at(wait, self)
                return
            if type(item) is bytes:
                going = self._write_joined(item, now)
                writes += 1
            elif type(item) is Write:
                going = self._write(item.data, self._deadline)
                self._not_before = self._log.last + item.apart if item.apart else 0.0
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
        if timed[0] < 0:
            raise TimelineError(f"a stage produced {timed[1]!r} with a negative gap: {timed[0]} s")
        return timed

    def _write_joined(self, item: bytes, now: float) -> bool:
        """Write the item and all joinable ones after it that are due by now, as one."""
        actions, deadline = self._actions, self._deadline
        first = deadline
        parts: list[bytes] = []
        size = 0
        following: SocketItem | Control | None = item
        while type(following) is bytes and deadline <= now and size < JOIN:
            parts.append(following)
            size += len(following)
            gap, following, _ = next(actions, _RUN_OUT)
            deadline += gap
        self._item, self._deadline = following, deadline
        return self._write(parts[0] if len(parts) == 1 else b"".join(parts), first)

    def _write(self, data: bytes, deadline: float) -> bool:
        """One `send`; False if the client is gone. Writing to a lost transport would be dropped in silence."""
        if self._transport.is_closing():
            self._finish("client-left")
            return False
        self._transport.write(data)
        self._log.add(deadline, self._scheduler.now(), data)
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
        if not self._reset_by:
            self._reset_by = now + _DRAIN_LIMIT
        if now < self._reset_by and self._unsent():
            self._scheduler.at(now + _DRAIN_POLL, self)
            return
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._transport.abort()
        self._finish("reset")

    def _unsent(self) -> bool:
        """Whether bytes are still on their way out of this host; where that cannot be asked, 50 ms must do."""
        if self._transport.get_write_buffer_size():
            return True
        if sys.platform != "linux":
            return self._scheduler.now() < self._reset_by - _DRAIN_LIMIT + 0.05
        descriptor = self._transport.get_extra_info("socket").fileno()
        unsent = struct.unpack("i", fcntl.ioctl(descriptor, _SIOCOUTQNSD, b"\0\0\0\0"))[0]
        return bool(unsent)

    def _finish(self, outcome: str) -> None:
        self.outcome = outcome
        self._wake()

    def _wake(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

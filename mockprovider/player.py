"""Performs socket actions on an aiohttp connection, on time, and writes down what it did.

Deadlines are absolute: gaps are added up from the request on, so a late write does not shift those after it. Bytes that
are due together leave in one write; a promised write leaves alone, its pause away from the writes before and after it,
even when the loop is late. One action is rendered ahead, and none while the client's receive window is full.

Endings, each proved on the wire by the tests: `close()` flushes and sends FIN; RST needs SO_LINGER with zero seconds
before `abort()`, and would discard what the kernel has not sent yet, so it waits for that first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import socket
import struct
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Protocol

from mockprovider.errors import TimelineError
from mockprovider.exchange import JOINED, SentLog
from mockprovider.gates import Gates
from mockprovider.scheduler import Scheduler, one_by_one
from mockprovider.timeline import NOWHERE, Close, Control, End, HalfClose, Hang, Hold, Reset, Timed
from mockprovider.wire import Burst, SocketItem, Write

__all__ = ["Connection", "Player", "perform", "plain_socket"]

JOIN = 32 * 1024
"""Bytes that are joined into one write at most."""

TURN = 32
"""Writes of one stream before other streams have their turn."""

_DRAIN_POLL = 0.001
_DRAIN_SLOW = 0.02
"""Seconds between two looks whether everything has been sent, at first and after a second."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes in the send queue that have not been sent


_NO_TIMES = array("d")
"""Those of the burst that is not there."""

_RUN_OUT: Timed[None] = (0.0, None, NOWHERE)
"""Stands for the item after the last, which there should not be: `_control` says so when its turn comes."""


class Connection(Protocol):
    """What the player needs of a connection."""

    @property
    def writing_paused(self) -> bool:
        """Whether the transport's buffer is over its limit."""


class Player:
    """Plays one exchange's timeline. `outcome` is None until it has ended; see `exchange.OUTCOMES`.

    `play` it in a task, or `begin` it and call `writable` and `lost` as the connection has it. error: what rendering
    raised, after the connection was aborted. descriptor: where writes may go past the transport without a look at it,
    as long as the client keeps up (`direct`); whoever gives it has it from `plain_socket`, and calls `lost`.
    """

    __slots__ = (
        "_actions", "_alone_until", "_at", "_blocked_since", "_burst", "_closing", "_connection", "_deadline",
        "_deadlines", "_done", "_ended", "_gate", "_half_closed", "_item", "_log", "_now", "_pause", "_pieces",
        "_planned", "_ready", "_reset_from", "_scheduler", "_socket", "_times", "_transport", "direct", "error",
        "gates", "outcome", "slot",
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
        descriptor: int = -1,
    ) -> None:
        self.slot = -1
        self.outcome: str | None = None
        self.direct = descriptor >= 0
        self._actions = actions
        self._transport = transport
        self._connection = connection
        self._scheduler = scheduler
        self._now = scheduler.now
        self._log = log
        self.gates = gates
        self._deadline = started
        self._item: SocketItem | Control | None = None
        self._pause = 0.0  # what the last write was promised to keep from the next
        self._planned = -math.inf  # when the last write was due
        self._reset_from = 0.0
        self._socket = descriptor
        self._closing = transport.is_closing
        self._blocked_since: float | None = None
        self._burst: Burst | None = None  # the one that is under way, its pieces, when each is due, and which is next
        self._pieces: Sequence[bytes] = ()
        self._deadlines: list[float] = []
        self._at = 0
        self._times = _NO_TIMES
        self._ready: bytes | None = None  # what `perform` may write for it, if that happens before `_alone_until`
        self._alone_until = 0.0
        self._half_closed = False
        self._gate: str | None = None
        self._done: asyncio.Future[None] | None = None
        self._ended: Callable[[], object] | None = None
        self.error: Exception | None = None

    async def play(self, drain: Callable[[], asyncio.Future[None] | object]) -> str:
        """Perform the timeline; returns the outcome. `drain` waits until the transport takes writes again.

        Raises what rendering raised, after the connection was aborted. Cancelling it means that the client has left.
        """
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        try:
            self.begin(lambda: None)
            while self.outcome is None:
                await self._done
                self._done = loop.create_future()
                if self._blocked_since is not None:
                    try:
                        await drain()  # type: ignore[misc]
                    except ConnectionError:
                        self.lost()
                    self.writable()
        finally:
            self.lost()
            self._settle()
        if self.error is not None:
            raise self.error
        return self.outcome

    def begin(self, ended: Callable[[], object]) -> None:
        """Perform what is due, and the rest in its time; `ended` is called in a later turn of the loop."""
        self._ended = ended
        if not self.direct:
            self._socket = plain_socket(self._transport)
        self.due(self._now())

    def writable(self) -> None:
        """The transport takes writes again, if it does."""
        if self._blocked_since is not None and not self._connection.writing_paused:
            self._unblock()
            self.due(self._now())

    def lost(self) -> None:
        """The connection is lost, and its descriptor may soon be another's."""
        self.direct = False
        if self._blocked_since is not None:
            self._unblock()
        if self.outcome is None:
            self._finish("closed" if self._half_closed else "client-left")

    def take_back(self) -> tuple[Iterator[Timed[SocketItem | Control]], Timed[SocketItem | Control] | None]:
        """Give up what is still to come: the rest of the timeline, and the action that was next, if there is one.

        Its gap is what was left of it. Until `go_on` nothing is played.
        """
        pending: Timed[SocketItem | Control] | None = None
        if self._burst is not None:
            self._put_back(self._burst)
        if self._item is not None:
            pending = max(0.0, self._deadline - self._now()), self._item, NOWHERE
        if self._gate is not None:
            self.gates.leave(self._gate, self._resume)
            self._gate = None
        self._scheduler.remove(self)
        self._item = None
        rest, self._actions = self._actions, iter(())
        return rest, pending

    def go_on(self, actions: Iterator[Timed[SocketItem | Control]]) -> None:
        """Play these actions, the first gap counted from now."""
        self._actions = actions
        self._deadline = self._now()
        if self.outcome is None and self._blocked_since is None:
            self._scheduler.soon(self)

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
            if self._burst is None or self._go_on(self._burst, now):
                self._perform(now)
        except Exception as error:  # noqa: BLE001  rendering runs here, in the scheduler's turn: the error belongs
            # to this exchange alone, and `play` raises it where the exchange is handled.
            self.error = error
            self._finish("failed")
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ performing

    def _perform(self, now: float) -> None:  # noqa: PLR0912  it runs for every write, and calls cost more than branches
        left = TURN
        log = self._log
        while left > 0:
            item = self._item
            if item is None:
                gap, item, _ = next(self._actions, _RUN_OUT)
                if gap:
                    if not gap > 0:
                        raise _backwards(item, gap)
                    self._deadline += gap
                self._item = item
            kind = type(item)
            if kind is Burst and item.gaps:  # type: ignore[union-attr]
                if not self._through(item, now):  # type: ignore[arg-type]
                    return
                left -= 1
                continue
            wait = planned = self._deadline
            pause = self._pause
            if kind is Write and item.apart > pause:  # type: ignore[union-attr]
                pause = item.apart  # type: ignore[union-attr]
            if pause:
                if log.writes:
                    wait = max(wait, log.last + pause)
                planned = max(planned, self._planned + pause)
            elif planned < self._planned:  # a pause before has put it off
                planned = self._planned
            # Time passes while we render and write, so look again before going to sleep. But after a promised write
            # the loop has its turn in any case, or a machine that stood still for the pause would have skipped it.
            if wait > now and ((pause and left < TURN) or wait > (now := self._now())):
                self._scheduler.at(wait, self)
                return
            if kind is Write:
                self._item = None
                self._pause = item.apart  # type: ignore[union-attr]
                going = self._write(item.data, planned)  # type: ignore[union-attr]
            elif kind is Burst and not item.joins:  # type: ignore[union-attr]
                self._item = None
                self._pause = 0.0
                going = self._write_each(item.pieces, planned)  # type: ignore[union-attr]
                left -= len(item.pieces) - 1  # type: ignore[union-attr]
            elif kind is bytes or kind is Burst:
                self._pause = 0.0
                going = self._write_joined(item, now, planned)  # type: ignore[arg-type]
            else:
                self._item = None
                if not self._control(item, now):
                    return
                continue
            if not going:
                return
            if self._connection.writing_paused:
                self._block()
                return
            left -= 1
        self._scheduler.soon(self)

    # ------------------------------------------------------------------------------------------ bursts with gaps

    def _through(self, burst: Burst, now: float) -> bool:
        """Play it as far as it is due; False where the stream waits."""
        if self._pause or self._planned > self._deadline or 0.0 in burst.gaps:
            # A promise before it puts it off, or pieces are due together: one by one, that is known how to do.
            (_, self._item), *others = burst.singly(0.0)
            self._actions = chain([(gap, piece, NOWHERE) for gap, piece in others], self._actions)
            return True
        self._item = None
        self._burst, self._pieces, self._at = burst, burst.pieces, 0
        self._deadlines = list(accumulate(burst.gaps, initial=self._deadline))
        self._deadline = self._deadlines[-1]
        self._times = self._log.run(self._deadlines, self._pieces)
        self._deadlines.append(math.inf)  # so that each piece has a next one
        return self._go_on(burst, now)

    def _put_back(self, burst: Burst) -> None:
        """What is left of the burst is the next item."""
        self._burst = self._ready = None
        self._item, self._deadline = burst.after(self._at), self._deadlines[self._at]

    def _go_on(self, burst: Burst, now: float) -> bool:
        """Write what is due of the burst; True once it is all written, False where the stream waits."""
        deadlines, pieces = self._deadlines, self._pieces
        self._ready = None
        while (deadline := deadlines[self._at]) <= now:
            at = self._at
            upto = at + 1
            if burst.joins and deadlines[upto] <= now:
                upto = bisect_right(deadlines, now)
            if not self._send(pieces[at] if upto == at + 1 else b"".join(pieces[at:upto])):
                return False
            now = self._now()
            if not self._wrote(upto, now):
                return False
        if self._burst is None:
            return True
        if self.direct:
            self._ready, self._alone_until = pieces[self._at], deadlines[self._at + 1]
        self._scheduler.at(deadline, self)
        return False

    def _wrote(self, upto: int, now: float) -> bool:
        """The burst's pieces up to there have left, by one write; False if the stream waits for its client."""
        # At once, because another thread may look.
        self._times.fromlist([now, *[JOINED] * (upto - self._at - 1)])
        self._at = upto
        if self._deadlines[upto] == math.inf:
            self._burst = self._ready = None
            self._planned = self._deadline
            if now >= self._log.settle_at:
                self._log.settle()
        if not self.direct and self._connection.writing_paused:
            self._block()
            return False
        return True

    def sent(self, size: int, now: float) -> None:
        """So many bytes of what was ready have left: note it, and schedule what follows."""
        ready = self._ready
        if ready is None:  # it was ended while others were served
            self._times.append(now)
            return
        self.slot = -1
        if size < len(ready):
            self.direct = False
            self._transport.write(ready[size:])
        if self._wrote(self._at + 1, now):
            self.due(now)

    # ------------------------------------------------------------------------------------------ writes

    def _write_each(self, pieces: Sequence[bytes], planned: float) -> bool:
        """Each piece by a `send` of its own, as long as the client takes them; False if it is gone."""
        if self._closing() or self._socket < 0:
            return self._write_slowly(pieces, planned)
        # Nothing else runs meanwhile, so the connection can be lost only by a write of ours.
        write, descriptor, now = os.write, self._socket, self._now
        times = array("d")
        sent = 0
        try:
            for piece in pieces:
                sent = write(descriptor, piece)
                if sent < len(piece):
                    break
                times.append(now())
        except OSError:
            sent = 0
        self._planned = planned
        self._log.add_each(planned, times, pieces)
        if len(times) == len(pieces):
            return True
        # The one that did not leave whole, and those behind it, go the way that knows what to do.
        rest = pieces[len(times) :]
        if sent:
            self._transport.write(rest[0][sent:])
            self._log.add(planned, now(), rest[0])
            rest = rest[1:]
        return self._write_slowly(rest, planned)

    def _write_slowly(self, pieces: Sequence[bytes], planned: float) -> bool:
        for index, piece in enumerate(pieces):
            if self._connection.writing_paused:
                self._item = Burst(pieces[index:], joins=False)
                return True
            if not self._write(piece, planned):
                return False
        return True

    def _write_joined(self, item: bytes | Burst, now: float, planned: float) -> bool:
        """Write the item and all joinable ones after it that are due by now, as one."""
        actions, deadline = self._actions, self._deadline
        parts: list[bytes] = []
        size = events = 0
        following: SocketItem | Control | None = item
        try:
            while True:
                if type(following) is bytes:
                    parts.append(following)
                    events += 1
                elif type(following) is Burst and following.joins and not following.gaps:
                    parts.append(following.whole)
                    events += following.count
                else:
                    break
                size += len(parts[-1])
                gap, following, _ = next(actions, _RUN_OUT)
                if gap:
                    if not gap > 0:
                        raise _backwards(following, gap)
                    deadline += gap
                if deadline > now or size >= JOIN:
                    break
        except Exception:
            self._write(b"".join(parts), planned)  # what was due before the defect
            raise
        self._item, self._deadline = following, deadline
        return self._write(parts[0] if len(parts) == 1 else b"".join(parts), planned, events)

    def _write(self, data: bytes, planned: float, events: int = 1) -> bool:
        """One `send`, written down; False if the client is gone."""
        if not self._send(data):
            return False
        self._planned = planned
        self._log.add(planned, self._now(), data, events)
        return True

    def _send(self, data: bytes) -> bool:
        """One `send`; False if the client is gone. Writing to a lost transport would be dropped in silence."""
        if self._closing():
            self._finish("client-left")
            return False
        if self._socket < 0:
            self._transport.write(data)
            return True
        # What `transport.write` does itself where its buffer is empty, at less cost.
        try:
            sent = os.write(self._socket, data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the peer has reset the connection, and the loop has not seen it yet
            self._transport.abort()
            self._finish("client-left")
            return False
        if sent < len(data):
            self.direct = False
            self._transport.write(data[sent:])
        return True

    def _control(self, control: object, now: float) -> bool:
        """Perform a control; False if the stream goes on later or not at all."""
        if control is None:
            raise TimelineError("a stage let the timeline run out without an ending (End, Close, Reset or Hang)")
        if isinstance(control, Hold):
            if self.gates.wait(control.gate, self._resume):
                self._gate = control.gate
                return False
            return True
        if self._closing():
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
            if self._transport.can_write_eof():
                self._half_closed = True
                self._transport.write_eof()
            else:  # TLS knows no half-closed connection (RFC 8446 section 6.1 lets the peer answer with its own close)
                self._transport.close()
                self._finish("closed")
        elif not isinstance(control, Hang):
            raise TimelineError(f"the player cannot perform {control!r}")
        return False

    def _resume(self) -> None:
        """The gate has opened: deadlines are counted from now on."""
        self._gate = None
        self._item = None
        self._deadline = self._now()
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

    def _block(self) -> None:
        """Nothing can be written until the client reads."""
        self._blocked_since = self._now()
        self._wake()

    def _unblock(self) -> None:
        assert self._blocked_since is not None, "asked before"
        self._log.unblocked(self._blocked_since, self._now())
        self._blocked_since = None

    def _finish(self, outcome: str) -> None:
        self._ready = None
        if self.outcome is None:
            self.outcome = outcome
            if self._done is None:
                asyncio.get_running_loop().call_soon(self._settle)
            else:
                self._wake()

    def _wake(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _settle(self) -> None:
        """It has ended: nothing waits for it any more."""
        self._scheduler.remove(self)
        if self._gate is not None:
            self.gates.leave(self._gate, self._resume)
        ended, self._ended = self._ended, None  # which mostly knows the player, and would keep it
        if ended is not None:
            ended()


def perform(players: list[Player], now: float) -> None:
    """Serve players that are due together: first all that needs nothing but a `send` each, then everything else.

    Sends that follow each other closely cost less than those with work between them: the reader is still awake, and
    so are the caches. For the same reason their loop is not one of Python's.
    """
    ready = [player for player in players if player._ready is not None and player._alone_until > now]
    sent: list[tuple[int, float]] = []
    sends = map(os.write, [player._socket for player in ready], [player._ready for player in ready])  # type: ignore[arg-type]
    with contextlib.suppress(OSError):  # what it is finds the player for which it happened, in its own way
        sent.extend(zip(sends, iter(time.monotonic, None), strict=False))
    going: list[Player] = []
    deadlines: list[float] = []
    others: list[tuple[Player, int, float]] = []
    for player, (size, left) in zip(ready, sent, strict=False):
        at = player._at + 1
        if size == len(player._ready) and at < len(player._pieces):  # type: ignore[arg-type]
            # `Player.sent`, `_wrote` and `_go_on`, in line: this is nearly every write of a stream with gaps.
            player._times.append(left)
            player._at = at
            player._ready, player._alone_until = player._pieces[at], player._deadlines[at + 1]
            going.append(player)
            deadlines.append(player._deadlines[at])
        else:
            others.append((player, size, left))
    if going:
        going[0]._scheduler.at_each(deadlines, going)
    for player, size, left in others:
        player.sent(size, left)
    if len(sent) < len(players):
        one_by_one(players, now)


def plain_socket(transport: asyncio.Transport) -> int:
    """The descriptor to which writes may go past the transport: none (-1) where it encrypts, or is not asyncio's own.

    Such a write is what the transport would do itself, as long as its buffer is empty, which `writing_paused` tells:
    the buffer's limit is set to 0. So each write is a `send` of its own, and nothing waits behind a slow reader.
    """
    encrypted = transport.get_extra_info("sslcontext") is not None
    # (asyncio's TLS transport counts an empty buffer as full where the limit is 0, and would wait for ever.)
    transport.set_write_buffer_limits(1 if encrypted else 0, 0)
    if encrypted or not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        return -1
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor


def _backwards(item: object, gap: float) -> TimelineError:
    return TimelineError(f"a stage produced {item!r} with a gap of {gap} s; time only passes")

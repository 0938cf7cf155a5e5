"""A server that has its process to itself: it runs until a signal stops it, and looks after the garbage collector.

A collection looks at all containers that are new, and every stream feels its pause: with 1,500 streams some
milliseconds three times a second, and a tenth of a second now and then. Hardly anything needs it: a request leaves no
cycle behind, a connection only that of asyncio's transport. So the collector is off, and is run when nothing is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from mockprovider.faults.base import FAULTS

__all__ = ["due", "until_stopped"]

_EVERY = 0.5
"""Seconds between two looks."""

_QUIET = 0.05
"""Seconds for which nothing must be due."""

_FEW, _MANY = 100, 20_000
"""Connections whose remains are worth a collection when nothing is due, and those (2 KiB each) that cannot wait."""

_CONTAINERS = 2_000_000
"""New containers that cannot wait either: cycles of somebody else's, such as an answer function's."""


class Server(Protocol):
    """What can be run."""

    async def start(self) -> None:
        """Listen."""

    async def stop(self) -> None:
        """End everything."""

    def quiet(self, seconds: float) -> bool:
        """Whether nothing is due within so many seconds."""

    def connections(self) -> tuple[int, int]:
        """How many there are, and how many are over."""


async def until_stopped(server: Server, accepts: Callable[[], None]) -> None:
    """Run the server until SIGINT or SIGTERM. accepts: called once it listens. UnavailableError where it cannot."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await server.start()
    with contextlib.suppress(BrokenPipeError):  # whoever was to read it has gone
        accepts()
    FAULTS.load()  # here, because the first use of one would hold up the streams that are under way
    async with _collecting(server):
        await stopped.wait()
    await server.stop()


@contextlib.asynccontextmanager
async def _collecting(server: Server) -> AsyncIterator[None]:
    """Garbage is collected when the server has time."""
    gc.freeze()  # what is there now stays
    gc.disable()
    task = asyncio.create_task(_collect(server))
    try:
        yield
    finally:
        task.cancel()
        gc.enable()
        gc.unfreeze()


async def _collect(server: Server) -> None:
    collected = 0
    while True:
        await asyncio.sleep(_EVERY)
        there, over = server.connections()
        # The count of new containers goes on while the collector is off.
        if due(there, over - collected, gc.get_count()[0], quiet=server.quiet(_QUIET)):
            gc.collect()
            collected = over


def due(there: int, over: int, containers: int, *, quiet: bool) -> bool:
    """Whether it is time for a collection: so many connections are there, which it looks at, and so many are over.

    quiet: nothing is due that would have to wait for it.
    """
    return (quiet and over > max(_FEW, there)) or over > _MANY or containers > _CONTAINERS

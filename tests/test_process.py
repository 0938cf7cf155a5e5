"""A server that has its process to itself: the garbage collector runs when nothing else does."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import weakref

import pytest

from mockprovider.faults import FAULTS
from mockprovider.server.process import due, until_stopped


@pytest.mark.parametrize(
    ("there", "over", "containers", "quiet", "expected"),
    [
        (0, 100, 0, True, False),  # not worth it
        (0, 101, 0, True, True),
        (0, 101, 0, False, False),  # it can wait
        (500, 500, 0, True, False),  # it would look at more than has gone
        (500, 501, 0, True, True),
        (5000, 20_000, 0, False, False),
        (5000, 20_001, 0, False, True),  # it cannot wait
        (1, 0, 2_000_000, False, False),
        (1, 0, 2_000_001, False, True),
    ],
)
def test_when_garbage_is_collected(there: int, over: int, containers: int, quiet: bool, expected: bool) -> None:
    """Garbage is collected when nothing is due and enough of it has come, or when there is too much of it."""
    assert due(there, over, containers, quiet=quiet) is expected


class Part:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.itself = self


class Leaving:
    """A server whose clients come and go; after the second collection it is stopped."""

    def __init__(self) -> None:
        self.over = 0
        self.automatic: list[bool] = []
        self.left: list[weakref.ref[Part]] = []

    async def start(self) -> None:
        """Nothing is to be started."""

    async def stop(self) -> None:
        """Nothing is to be stopped."""

    def quiet(self, seconds: float) -> bool:
        """Nothing is ever due."""
        return True

    def connections(self) -> tuple[int, int]:
        """Many more are over each time."""
        self.automatic.append(gc.isenabled())
        self.over += 200
        if len(self.left) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        self.left.append(weakref.ref(Part()))
        return 1, self.over


async def test_garbage_is_collected_while_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients leave behind goes, by collections of the server's own; afterwards all is as it was."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    server = Leaving()
    frozen = gc.get_freeze_count()
    async with asyncio.timeout(10):
        await until_stopped(server, lambda: None)
    assert len(server.left) >= 2
    assert [left() for left in server.left[:2]] == [None, None]
    assert not any(server.automatic)
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, frozen)


async def test_faults_are_there_before_anybody_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says that it listens, and then loads what would hold up its streams when it is first used."""
    monkeypatch.setattr(FAULTS, "_loaded", False)
    loaded: list[bool] = []

    def accepts() -> None:
        loaded.append(FAULTS._loaded)
        os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(10):
        await until_stopped(Leaving(), accepts)
    assert [*loaded, FAULTS._loaded] == [False, True]

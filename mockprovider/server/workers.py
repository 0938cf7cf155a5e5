"""Several worker processes on one port, by SO_REUSEPORT: the kernel spreads the connections over them.

Workers share a seed and the counters of `metrics`, nothing else. What depends on the order of requests (rules with
several answers, gates, the list of exchanges) would differ from worker to worker, so it is refused, not blurred.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from mockprovider.errors import MockProviderError, SettingError, UnavailableError
from mockprovider.metrics import SIZE, Metrics
from mockprovider.scenario_file import ScenarioFile

__all__ = ["Workers", "check_shareable", "run_workers"]


@dataclass(frozen=True, slots=True)
class Workers:
    """What a worker knows of the others. number: of all of them; metrics: its own place among theirs."""

    number: int
    metrics: Metrics


def check_shareable(scenario: ScenarioFile | None) -> None:
    """SettingError where a scenario depends on the order of requests."""
    for conditions, answers in scenario.rules if scenario else ():
        if len(answers) > 1 or answers[0].times is not None:
            raise SettingError(
                f"the rule for {conditions} has several answers in order, and workers share no order; use one worker"
            )


def run_workers(number: int, work: Callable[[Workers, Callable[[], None]], int], ready: Callable[[], None]) -> int:
    """Fork so many workers and wait for them; returns the exit code.

    work: runs in each, calls its second argument when it accepts, and returns its exit code. ready: called here when
    all accept. SIGINT and SIGTERM go to all workers. UnavailableError where one ends by itself.
    """
    memory = mmap.mmap(-1, number * SIZE * 8)
    doubles = memoryview(memory).cast("d")
    places = [doubles[index * SIZE : (index + 1) * SIZE] for index in range(number)]
    reading, writing = os.pipe()
    children: set[int] = set()
    for place in places:
        child = os.fork()
        if child == 0:
            os.close(reading)
            os._exit(_worker(work, Workers(number, Metrics(place, places)), writing))
        children.add(child)
    os.close(writing)
    stopping = False

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        _end(children)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    with os.fdopen(reading, "rb") as pipe:
        if len(pipe.read(number)) == number:
            ready()
    code = _wait(children)
    if code == 0 or stopping or code == 2:
        return code
    raise UnavailableError("a worker process ended unexpectedly; the others were stopped")


def _worker(work: Callable[[Workers, Callable[[], None]], int], workers: Workers, writing: int) -> int:
    def accepts() -> None:
        os.write(writing, b".")
        os.close(writing)

    try:
        return work(workers, accepts)
    except MockProviderError as error:
        print(f"mockprovider: {error}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001  a forked process must never return into its parent's code
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _wait(children: set[int]) -> int:
    """Wait for all workers; the first code that is not 0. When one ends in trouble the others are stopped."""
    worst = 0
    while children:
        child, status = os.wait()
        children.discard(child)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            worst = worst or (code if code > 0 else 1)
            _end(children)
    return worst


def _end(children: set[int]) -> None:
    for child in tuple(children):
        # One that has just ended by itself may not have been taken off the list yet.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

"""Memory of streams that wait: five thousand at a time, opened and dropped five times."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from benchmarks import contenders, measure
from benchmarks.contenders import Load
from benchmarks.figures import Bench, Row

STREAMS, ROUNDS, BATCH = 5000, 5, 64


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no VmRSS for process {pid}")


def settle(pid: int, most_seconds: float = 20.0) -> None:
    """Wait until the process has used less than a hundredth of a core for a fifth of a second."""
    end = time.monotonic() + most_seconds
    quiet = 0
    while quiet < 2 and time.monotonic() < end:
        before = measure.process_cpu(pid)
        time.sleep(0.1)
        quiet = quiet + 1 if measure.process_cpu(pid) - before < 0.001 else 0


def hold(server: contenders.Server, count: int) -> list[socket.socket]:
    """Open so many connections and put the request on each; a few at a time, for the accept queue's sake."""
    held = []
    for number in range(count):
        one = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        one.sendall(server.request)
        one.setblocking(False)
        held.append(one)
        if number % BATCH == BATCH - 1:
            time.sleep(0.02)
    return held


def still_open(held: list[socket.socket]) -> int:
    """How many of the connections the server has not closed."""
    count = 0
    for one in held:
        try:
            count += one.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


def memory(bench: Bench) -> None:
    """Rows `memory`: KiB a waiting stream, and whether five rounds leave anything behind."""
    server = bench.start("mockprovider", Load("waiting", 100, ttft=3600.0, itl=0.02))
    if server is None:
        for what in (
            "memory per waiting stream at 5,000",
            "the same after five rounds of dropping them all, against the first",
        ):
            bench.rows.append(Row("memory", what, None, note=bench.why("mockprovider")))
        return
    try:
        settle(server.pid)
        base, with_streams, after = resident(server.pid), [], []
        alive = STREAMS
        for _ in range(ROUNDS):
            held = hold(server, STREAMS)
            settle(server.pid)
            with_streams.append(resident(server.pid))
            alive = min(alive, still_open(held))
            for one in held:
                one.close()
            settle(server.pid)
            after.append(resident(server.pid))
    finally:
        server.stop()
    _report(bench, base, with_streams, after, alive)


def _report(bench: Bench, base: int, with_streams: list[int], after: list[int], alive: int) -> None:
    each = (max(with_streams) - base) / STREAMS / 1024
    mib = [f"{value / 2**20:.0f}" for value in (base, *with_streams, *after)]
    lost = "" if alive == STREAMS else f"; only {alive:,} streams stayed open"
    bench.rows.append(
        Row(
            "memory",
            "memory per waiting stream at 5,000",
            each,
            "KiB",
            "at most",
            24.0,
            f"worst of {ROUNDS} rounds; base {mib[0]} MiB, with streams {', '.join(mib[1 : ROUNDS + 1])} MiB{lost}",
        )
    )
    growth = with_streams[-1] / with_streams[0]
    bench.rows.append(
        Row(
            "memory",
            "the same after five rounds of dropping them all, against the first",
            growth,
            "×",
            "at most",
            1.05,
            f"after dropping {', '.join(mib[ROUNDS + 1 :])} MiB",
        )
    )
    bench.raw["memory"] = {"base": base, "with_streams": with_streams, "after": after, "stayed_open": alive}

"""One measurement: the C reader against a server; medians, and rounds in which all take turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import build, contenders

Result = dict[str, Any]
TICK = os.sysconf("SC_CLK_TCK")


def _busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used so far, stolen time included."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICK


def process_cpu(pid: int) -> float:
    """CPU seconds of a process, all its threads; the clock id is that of clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def read(server: contenders.Server, **options: float) -> Result:
    """Run the reader with the given options (`connections=16` is `--connections 16`) and return what it saw.

    Adds `foreign`: the cores that others kept busy meanwhile, to tell a noisy run. Raises
    build.Absent when the reader fails.
    """
    path = build.cache() / f"request-{server.port}"
    path.write_bytes(server.request)
    command = [str(build.compile_c("reader")), "--port", str(server.port), "--request", str(path)]
    command += ["--pid", str(server.pid)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    busy, served = _busy_seconds(), process_cpu(server.pid)
    began = os.times()
    with contenders.on_core(contenders.READER_CORE):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = os.times()
    path.unlink()
    if done.returncode:
        raise build.Absent(f"the reader failed: {done.stderr.strip()[:200]}")
    result: Result = json.loads(done.stdout)
    own = process_cpu(server.pid) - served + ended.children_user - began.children_user
    own += ended.children_system - began.children_system
    wall = ended.elapsed - began.elapsed
    result["foreign"] = max(0.0, _busy_seconds() - busy - own) / max(wall, 1e-9)
    return result


def faultless(results: list[Result]) -> list[Result]:
    """The results, unless replies failed or none came. Raises build.Absent then, with the first failure."""
    for result in results:
        if result["errors"]:
            raise build.Absent(f"{result['errors']} failed replies, the first: {result['first_error']}")
    if not any(result["responses"] or result["events"] for result in results):
        raise build.Absent("no reply came within the time of the measure")
    return results


def interleaved(measures: dict[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Every measure once a round, so that a slow minute of the machine falls on all of them."""
    results: dict[str, list[Result]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def median(values: list[float]) -> float:
    """The median, or nan of nothing."""
    return statistics.median(values) if values else float("nan")


def rate(results: list[Result], key: str = "events") -> float:
    """Median of `key` a second."""
    return median([result[key] / result["elapsed"] for result in results])


def cost(results: list[Result], key: str = "events") -> float:
    """Median CPU seconds of the server for one of `key`."""
    return median([result["server_cpu"] / result[key] for result in results if result[key]])

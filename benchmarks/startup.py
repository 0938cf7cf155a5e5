"""Start-up: the command line, the import of the pytest plugin, and what the fixture adds to a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import build, measure
from benchmarks.figures import Bench, Row, number

TESTS = 1000

_IMPORT = """
import time, pytest
began = time.perf_counter()
import mockprovider.pytest_plugin
print(time.perf_counter() - began)
"""

# Notes when each test begins and when the last one ends; the first test pays for the session and is left out.
_CONFTEST = """
import json, os, time
import pytest

starts = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    starts.append(time.perf_counter())
    return (yield)

def pytest_sessionfinish(session):
    starts.append(time.perf_counter())
    with open(os.environ["BENCH_STARTS"], "w") as file:
        json.dump(starts, file)
"""


def ready_seconds(command: list[str]) -> float:
    """Seconds from the start of a server to the line in which it says where it listens."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=build.cache(),
        env=build.python_environment(),
    )
    assert process.stdout is not None
    try:
        seen = b""
        for line in process.stdout:
            if b"listening on" in line:
                return time.perf_counter() - began
            seen = line
        raise build.Absent(f"serve did not come up: {seen.decode(errors='replace').strip()[:200]}")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _output(command: list[str], env: dict[str, str] | None = None) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=build.cache(),
        env=env or build.python_environment(),
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise build.Absent(lines[-1][:200])
    return time.perf_counter() - began, done.stdout


def per_test_seconds(folder: Path, fixture: str) -> float:
    """Mean seconds of a test in a file of a thousand empty ones that ask for `fixture` (or for nothing)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_many.py").write_text("".join(f"def test_{i}({fixture}):\n    pass\n\n" for i in range(TESTS)))
    env = {
        **build.python_environment(),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "BENCH_STARTS": str(folder / "starts.json"),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "mockprovider.pytest_plugin",
    ]
    _output([*command, "-c", os.devnull, "--rootdir", str(folder), str(folder)], env)
    starts = json.loads((folder / "starts.json").read_text())
    return float((starts[-1] - starts[1]) / (len(starts) - 2))


def startup(bench: Bench) -> None:
    """Rows `startup`; medians of several fresh processes, with compiled modules."""
    if "mockprovider" not in bench.settings.names:
        return
    times = 3 if bench.settings.quick else 9
    program = [sys.executable, "-m", "mockprovider"]
    folder = build.cache() / "many-tests"

    def fixture_ms() -> list[float]:
        pairs = [
            (per_test_seconds(folder, "mock_provider"), per_test_seconds(folder, ""))
            for _ in range(bench.settings.rounds)
        ]
        return [(with_fixture - without) * 1e3 for with_fixture, without in pairs]

    def import_ms() -> list[float]:
        return [float(_output([sys.executable, "-c", _IMPORT])[1]) * 1e3 for _ in range(times + 1)][1:]

    def ready() -> list[float]:
        return [ready_seconds([*program, "serve", "--port", "0"]) for _ in range(times + 1)][1:]

    def version() -> list[float]:
        return [_output([*program, "--version"])[0] for _ in range(times + 1)][1:]

    _row(bench, "fixture per test, beyond an empty one", "ms", 0.5, fixture_ms)
    _row(bench, "import of the pytest plugin, beyond pytest", "ms", 5.0, import_ms)
    _row(bench, "CLI ready: `serve` says where it listens", "s", 0.7, ready)
    _row(bench, "`mockprovider --version`", "s", None, version)


def _row(bench: Bench, what: str, unit: str, target: float | None, take: Callable[[], list[float]]) -> None:
    try:
        values = take()
    except build.Absent as reason:
        bench.rows.append(Row("startup", what, None, unit, "at most", target, str(reason)))
        return
    note = f"median of {len(values)}; from {number(min(values))} to {number(max(values))}"
    bench.rows.append(Row("startup", what, measure.median(values), unit, "at most", target, note))
    bench.raw.setdefault("startup", {})[what] = values

"""Several processes on one port: the same answers from each, and one end for all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.asking import ask, request
from tests.serving import serving
from tests.test_metrics import samples

COMMAND = (sys.executable, "-m", "mockprovider", "serve", "--port", "0", "--workers", "3")
ROUNDS = 24


def children(parent: int) -> list[int]:
    """The processes that have this parent."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, to see the workers")
def test_replies_are_identical_whichever_worker_answers() -> None:
    """With a seed, a prompt's text is the same from every worker, and each worker's first answer to it is too."""
    with serving(*COMMAND, "--seed", "5") as server:
        workers = children(server.process.pid)
        assert len(workers) == 3
        answers = [ask(server.url) for _ in range(ROUNDS)]
        assert len({answer.text for answer in answers}) == 1
        # Ids differ with how often a worker has seen the prompt; so there are as many as the busiest has answered.
        ids = [answer.json["id"] for answer in answers]
        assert max(map(ids.count, ids)) > 1
        # A worker counts an answer right after its last byte, which is when the client already has it.
        until = time.monotonic() + 10
        counted = 0.0
        while counted != ROUNDS and time.monotonic() < until:
            found = samples(request("GET", f"{server.url}/_mock/metrics").body.decode())
            counted = found['mockprovider_endings_total{outcome="complete"}']
        assert counted == ROUNDS


def test_what_needs_an_order_is_refused(tmp_path: Path) -> None:
    """Rules, exchanges and gates would differ from worker to worker: the control API says so with 409."""
    with serving(*COMMAND) as server:
        for path in ("/rules", "/exchanges", "/gates", "/namespaces"):
            refused = request("GET", f"{server.url}/_mock{path}")
            assert refused.status == 409
            assert "3 workers" in refused.json["error"]["message"]
        assert request("GET", f"{server.url}/_mock/health").json["workers"] == 3


def test_one_signal_ends_all_workers() -> None:
    """SIGTERM to the first process ends every worker, and the exit code is 0."""
    with serving(*COMMAND) as server:
        workers = children(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 0
    assert not any(Path(f"/proc/{worker}/stat").exists() for worker in workers)


def test_half_a_server_is_none() -> None:
    """A worker that dies takes the others with it, and the command says so and exits with 2."""
    with serving(*COMMAND) as server:
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        assert server.process.wait(5) == 2
        server.printed("ended unexpectedly")


def test_a_scenario_with_an_order_is_refused(tmp_path: Path) -> None:
    """A rule with several answers cannot be shared, which the command says before it listens."""
    file = tmp_path / "scenario.toml"
    file.write_text('[[rule]]\nanswers = [{ reply = "a" }, { reply = "b" }]\n')
    done = subprocess.run([*COMMAND, "--scenario", str(file)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert re.search("several answers in order", done.stderr)
    assert "listening" not in done.stdout


def test_the_journal_file_takes_all_workers_lines(tmp_path: Path) -> None:
    """Each exchange of every worker is one whole line of the journal file."""
    file = tmp_path / "journal.ndjson"
    with serving(*COMMAND, "--journal", str(file)) as server:
        for _ in range(ROUNDS):
            ask(server.url)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(5)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == ROUNDS
    assert {line["outcome"] for line in lines} == {"complete"}

"""The clients for Node: a process for each, which takes its tasks over a pipe; and curl with the tutorials' parser."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mockprovider.audit import ClientFailure
from scripts.audit_clients.spec import ANTHROPIC, OPENAI, Spec

CLIENTS: dict[str, Spec] = {}

FOLDER = Path(os.environ.get("AUDIT_NODE", "."))
"""Where the driver stands beside its node_modules."""


class Driver:
    """A process of driver.mjs for one client, started with its first task."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._waiting: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, task: Any) -> Iterator[Any]:
        """Have the client do a task: its texts, then its report."""
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        with self._lock:
            id = next(self._ids)
            self._waiting[id] = answers
            given = self._running().stdin
            assert given is not None
            fields = {name: getattr(task, name) for name in task.__dataclass_fields__}
            given.write(json.dumps({"id": id, "client": self._client, "task": fields}).encode() + b"\n")
            given.flush()
        try:
            while "done" not in (said := answers.get()):
                yield said["text"]
        finally:
            self._waiting.pop(id, None)
        done = said["done"]
        yield done["report"]
        if done["error"] is not None:
            raise ClientFailure(done["error"]["name"], done["error"]["message"], own=done["error"]["own"])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                ["node", str(FOLDER / "driver.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            atexit.register(self._process.kill)
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        return self._process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            waiting = self._waiting.get(said["id"])
            if waiting is not None:
                waiting.put(said)
        ended = {"done": {"error": {"name": "NodeEnded", "message": "", "own": False}, "report": {}}}
        for waiting in list(self._waiting.values()):
            waiting.put(ended)


def _version(package: str) -> str:
    file = FOLDER / "node_modules" / package / "package.json"
    return str(json.loads(file.read_text())["version"]) if file.is_file() else "?"


def _enter(key: str, label: str, package: str | None = None, **fields: Any) -> None:
    CLIENTS[key] = Spec(label.format(_version(package) if package else ""), _over(key.removeprefix("node-")), **fields)


def _over(client: str) -> Callable[[Any], Any]:
    return Driver(client)


_enter("node-openai", "openai {} (Node)", "openai")
_enter("node-openai-helper", "openai {} (Node) .stream()", "openai", can=("tools", "refusal"))
_enter("node-anthropic", "@anthropic-ai/sdk {}", "@anthropic-ai/sdk", dialect=ANTHROPIC)
_enter(
    "node-anthropic-helper", "@anthropic-ai/sdk {} .stream()", "@anthropic-ai/sdk", dialect=ANTHROPIC, can=("tools",)
)
_enter("node-ai", "ai {} textStream", "ai", dialect=OPENAI, cannot=("read-timeout",))
_enter("node-ai-full", "ai {} fullStream", "ai", cannot=("read-timeout",))
_enter("node-ai-anthropic-full", "ai {} fullStream (Anthropic)", "ai", dialect=ANTHROPIC, cannot=("read-timeout",))
_enter("node-fetch", "fetch (Node) tutorial", cannot=("read-timeout",))
_enter("node-fetch-reads", "fetch (Node), each read parsed alone", cannot=("read-timeout",))
_enter("node-eventsource-parser", "eventsource-parser {}", "eventsource-parser", cannot=("read-timeout",))
_enter(
    "node-fetch-event-source",
    "@microsoft/fetch-event-source {}",
    "@microsoft/fetch-event-source",
    cannot=("read-timeout",),
)

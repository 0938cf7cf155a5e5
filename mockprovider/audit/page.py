"""A page in a browser as a client: it takes its tasks from a small server, and reports what it got by `fetch`.

The page imports `audit` from `/audit.js` of that server, and gives it a function of the task that asks the base URL,
hands each text to `say`, and throws where the answer is not complete.
"""

from __future__ import annotations

import http.server
import itertools
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from mockprovider.audit.model import AuditError, ClientFailure, Task

__all__ = ["Page"]

_PATIENCE = 30.0
"""Seconds that a page which asks for a task is kept waiting before it is told to ask again."""

_SCRIPT = """\
// Takes tasks and reports what became of them, until there are no more: audit(async (task, say) => { ... })
// task: base_url, api_key, model, prompt, timeout (seconds) and more; say: takes each text as it comes.
// What the function returns may be an object, its report. What it throws is its error; own: whether that is its own.
const origin = new URL(import.meta.url).origin;
const foreign = [SyntaxError, ReferenceError, RangeError];

export async function audit(client, own = (error) => !foreign.some((kind) => error instanceof kind)) {
  for (;;) {
    const task = await (await fetch(`${origin}/task`)).json();
    if (task === "again") continue;
    if (task === null) return;
    let report = {}, error = null, told = Promise.resolve();
    const tell = (said) => {
      const body = JSON.stringify({ id: task.id, ...said });
      // One after the other, for requests side by side may overtake each other.
      told = told.then(() => fetch(`${origin}/report`, { method: "POST", body }));
      return told;
    };
    try {
      report = (await client(task, (text) => { tell({ text }); })) ?? {};
    } catch (thrown) {
      error = { name: thrown?.name ?? typeof thrown, message: String(thrown?.message ?? thrown), own: own(thrown) };
    }
    await tell({ done: { report, error } });
  }
}
"""


class Page:
    """A callable that has a page do each task, within a `with` block. file: the page, served at `url`.

    AuditError where the file cannot be read.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._page = file.read_bytes()
        except OSError as error:
            raise AuditError(f"--page {file}: {error.strerror or error}") from error
        self._ids = itertools.count(1)
        self._tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._waiting: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="audit-page", daemon=True)

    @property
    def url(self) -> str:
        """Where the page is to be opened."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __call__(self, task: Task) -> Iterator[Any]:
        """Have the page do a task: its texts, then its report. ClientFailure for what it throws."""
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        id = next(self._ids)
        self._waiting[id] = answers
        fields = {name: getattr(task, name) for name in Task.__dataclass_fields__}
        self._tasks.put({"id": id, **fields})
        try:
            while "done" not in (said := answers.get()):
                yield str(said["text"])
        finally:
            self._waiting.pop(id, None)
        done = said["done"]
        yield done["report"]
        if done["error"] is not None:
            raise ClientFailure(done["error"]["name"], done["error"]["message"], own=done["error"]["own"])

    # ------------------------------------------------------------------------------------------ what the page asks

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Type and content of what is at a path, or None."""
        if path == "/":
            return "text/html; charset=utf-8", self._page
        if path == "/audit.js":
            return "text/javascript; charset=utf-8", _SCRIPT.encode()
        if path == "/task":
            try:
                task: Any = self._tasks.get(timeout=_PATIENCE)
            except queue.Empty:
                task = "again"
            return "application/json", json.dumps(task).encode()
        return None

    def take(self, body: bytes) -> None:
        """What the page reports. What comes for a task that is over is left aside."""
        said = json.loads(body)
        waiting = self._waiting.get(said["id"])
        if waiting is not None:
            waiting.put(said)


def _handler(page: Page) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = page.answer(self.path.partition("?")[0])
            if found is None:
                self.send_error(404)
                return
            self._send(*found)

        def do_POST(self) -> None:
            page.take(self.rfile.read(int(self.headers.get("content-length", 0))))
            self._send("application/json", b"null")

        def _send(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            # A page of a development server of one's own may import the script, too.
            self.send_header("access-control-allow-origin", "*")
            self.send_header("cache-control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the audit tells what there is to tell."""

    return Handler

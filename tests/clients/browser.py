"""A page in headless Chromium, from a small server of its own.

That server is another origin than mockprovider's, so whatever the page asks of mockprovider is cross-origin.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox, since CI runs as root; the others keep Chromium from asking for hosts that it does not need.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
)
DEADLINE_S = 60.0


def find() -> str | None:
    """The name of the Chromium that is installed here, if any."""
    return next((name for name in NAMES if shutil.which(name)), None)


@contextlib.contextmanager
def page_server(page: str, results: queue.Queue[Any]) -> Iterator[str]:
    """Serve `page` at every path, put the JSON it posts into `results`, and yield the origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(page.encode())

        def do_POST(self) -> None:
            results.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: pytest shows what a failing test needs."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="page-server", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def chromium(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Show `url` in a Chromium that knows nothing from before, and end it with all its processes."""
    name = find()
    assert name is not None
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [name, *SWITCHES, f"--user-data-dir={folder / 'profile'}", url],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Its helpers are in its process group; they outlive it when it ends by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def result_of(page: str, query: str, folder: Path) -> Any:
    """What `page`, opened with `query` (such as `?a=1`), posts to its own server: any JSON value."""
    results: queue.Queue[Any] = queue.Queue()
    with page_server(page, results) as origin, chromium(f"{origin}/{query}", folder) as process:
        try:
            return results.get(timeout=DEADLINE_S)
        except queue.Empty:
            log = (folder / "chromium.log").read_text(errors="replace")
            raise AssertionError(
                f"the page reported nothing in {DEADLINE_S} s; "
                f"Chromium's exit code: {process.poll()}; it printed:\n{log[-4000:]}"
            ) from None

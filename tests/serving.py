"""A real server process for the tests that need one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LISTENING = r"^mockprovider listening on (http://\S+)$"
START_S = 30.0
STOP_S = 15.0


class Serving:
    """A running server: its base URL, and the lines it has printed on stdout and stderr so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self.ended = False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, name="server-output", daemon=True)
        self.reader.start()

    def read(self) -> None:
        """Take in what the server prints, for as long as it runs."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self.changed:
                    self.lines.append(line.rstrip("\n"))
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def printed(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        """The first match of `pattern` in a line, waited for; AssertionError when it does not come."""

        def find() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self.changed:
            self.changed.wait_for(lambda: find() or self.ended, timeout_s)
            match = find()
            assert match, f"the server did not print {pattern!r}; it printed:\n" + "\n".join(self.lines)
            return match

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDKs."""
        return f"{self.url}/v1"


@contextlib.contextmanager
def serving(
    *command: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    start_s: float = START_S,
) -> Iterator[Serving]:
    """Run a command that starts a server, yield it when it listens, and see it end well on SIGTERM."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    server = Serving(process)
    try:
        server.url = server.printed(LISTENING, start_s)[1]
        yield server
        # To its whole group, as a terminal's Ctrl-C would: the command may be a shell around the server.
        # A test that has ended it already has seen how.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            code = process.wait(STOP_S)
            assert code == 0, f"exit code {code} after SIGTERM; it printed:\n" + "\n".join(server.lines)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        server.reader.join()


def serve(*options: str) -> contextlib.AbstractContextManager[Serving]:
    """`mockprovider serve` on a free port, with this Python."""
    return serving(sys.executable, "-m", "mockprovider", "serve", "--port", "0", *options)

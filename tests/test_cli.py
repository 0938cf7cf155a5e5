"""The command `mockprovider serve`, as a process: its options, its one line, its errors, its end."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mockprovider
from mockprovider import cli
from tests.asking import CHAT, ask, connect, prompt, request, streaming

if TYPE_CHECKING:
    from collections.abc import Iterator

    Start = "functools.partial[contextlib.AbstractContextManager[Served]]"

JSON = {"Content-Type": "application/json"}
START_S = 30.0
STOP_S = 15.0
LINE = re.compile(r"mockprovider listening on (http://\S+)\n")


@dataclass
class Served:
    """A server process. started: seconds of work until it accepted; the rest is known when it has ended."""

    process: subprocess.Popen[str]
    url: str
    started: float
    stopped: float = field(default=0.0)
    stdout: str = ""
    stderr: str = ""

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        began = time.monotonic()
        self.process.send_signal(by)
        stdout, self.stderr = self.process.communicate(timeout=STOP_S)
        self.stopped = time.monotonic() - began
        self.stdout += stdout
        return self.process.returncode


@contextlib.contextmanager
def serve(*options: str) -> Iterator[Served]:
    """`mockprovider serve` on a port of its own, its two outputs apart."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mockprovider", "serve", "--port", "0", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=COMPILED,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = LINE.fullmatch(line)
        assert match, f"expected one line that tells the address, got {line!r}: {process.communicate(timeout=STOP_S)}"
        yield Served(process, match[1], work(process.pid), stdout=line)
    finally:
        process.kill()
        process.communicate()


COMPILED = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONPYCACHEPREFIX": str(Path(__file__).parents[1] / ".cache" / "bytecode"),
}
"""The environment of a server that starts as an installed one does: its modules are compiled already."""


def work(pid: int) -> float:
    """Seconds that a process has had a processor: what it needs, however busy the machine is; 0 if that is not told."""
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_a_server_starts_tells_one_line_and_ends_within_a_second(tmp_path: Path) -> None:
    """It needs well under a second to start, prints one line, and on SIGINT and SIGTERM ends open streams and exits 0.

    The streams are held at a gate, wait an hour for their first token, wait for their reader, or for a body. The
    journal file has every one of them. Of the times the better counts: the machine may be busy.
    """
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        '[[rule]]\nmatch = { last = "slow" }\nreply = "a"\npace = "ttft=3600"\n'
        '[[rule]]\nmatch = { last = "long" }\nreply = "' + "on and on " * 100_000 + '"\n'
        '[[rule]]\nreply = "One two"\n'
    )
    runs = []
    for by in (signal.SIGINT, signal.SIGTERM):
        journal = tmp_path / f"{by.name}.ndjson"
        with serve("--scenario", str(scenario), "--journal", str(journal)) as server, contextlib.ExitStack() as clients:
            assert ask(server.url).text == "One two"
            request("GET", server.url + "/_mock/exchanges/wait")
            assert len(written(journal)) == 1  # each is on disk as soon as it has ended
            request("POST", server.url + "/_mock/hold", '{"gate": "after-first-token"}', JSON)
            held = clients.enter_context(streaming(server.url, "held"))
            assert next(held) == "One"
            for content in ("slow", "long", "body"):
                connection = clients.enter_context(contextlib.closing(connect(server.url)))
                body = prompt(content, stream=True)
                connection.putrequest("POST", CHAT)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body[:-1] if content == "body" else body)
            request("GET", server.url + "/_mock/exchanges/wait?outcome=open&count=4")
            assert server.stop(by) == 0
        assert [exchange["outcome"] for exchange in written(journal)] == ["complete"] + ["stopped"] * 4
        assert LINE.fullmatch(server.stdout)
        assert "Traceback" not in server.stderr
        runs.append(server)
        with pytest.raises(ConnectionRefusedError):
            request("GET", server.url + "/v1/models")
    assert min(server.started for server in runs) < 1
    assert min(server.stopped for server in runs) < 1


def written(journal: Path) -> list[dict[str, Any]]:
    """The exchanges in a journal file."""
    with journal.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_option_does_what_it_says(tmp_path: Path) -> None:
    """Seed, a reply from a file to the byte, pace, models, keys, names, token, framing and journal are as given."""
    text = "Zeile\r\nzwei\n\n  👋 \ufeff\u2028 Ende\r"
    reply, journal = tmp_path / "reply.txt", tmp_path / "journal.ndjson"
    reply.write_bytes(text.encode())
    options = (
        "--host", "localhost", "--seed", "42", "--reply", f"@{reply}", "--pace", "ttft=0.01,itl=0.0001",
        "--chunking", "tokens_per_payload=2", "--relay", "--model", "m-1", "--model", "m-2", "--api-key", "sk-one",
        "--token", "t", "--allow-host", "dev.example", "--journal", str(journal), "--journal-limit", "1",
    )  # fmt: skip
    key = {"Authorization": "Bearer sk-one"}
    with serve(*options) as server:
        assert ask(server.url, model="m-2", headers=key).text == text
        assert ask(server.url, model="m-3", headers=key).status == 404
        assert ask(server.url, model="m-1").status == 401
        assert request("GET", server.url + "/_mock/health").status == 401
        health = request("GET", server.url + "/_mock/health", headers={"X-Mockprovider-Token": "t"}).json
        assert (health["seed"], health["pace"]) == (42, "ttft=0.01,itl=0.0001")
        assert health["chunking"] == "tokens_per_payload=2"
        assert request("GET", server.url + "/v1/models", headers={**key, "Host": "dev.example"}).status == 200
        assert request("GET", server.url + "/v1/models", headers={**key, "Host": "evil.example"}).status == 421
        streamed = ask(server.url, model="m-1", headers=key, stream=True).body
        assert streamed.startswith(b"event: message\nid: 1\ndata: {")
        # The line to paste has a key and a model that are accepted here.
        assert server.process.stderr is not None
        told = server.process.stderr.readline() + server.process.stderr.readline()
        [pasted] = re.findall(r"curl -N .*", told)
        if shutil.which("curl"):
            printed = subprocess.run(["bash", "-c", pasted], capture_output=True, check=True, timeout=START_S)
            assert printed.stdout.startswith(b"event: message\nid: 1\ndata: {")
        else:
            ask(server.url, model="m-1", headers=key, stream=True)
        assert f"{server.url}/v1 (seed 42)" in told
        assert server.stop() == 0
    assert [exchange["status"] for exchange in written(journal)] == [200, 404, 401, 200, 421, 200, 200]
    assert "sk-one" not in journal.read_text()


def test_a_scenario_file_sets_the_server(tmp_path: Path) -> None:
    """Every key of a scenario file holds, and an option comes before it."""
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        'seed = 7\npace = "ttft=0.001"\nchunking = "tokens_per_payload=3"\nfaults = "sse-crlf"\n'
        'models = ["m"]\napi_keys = ["sk-one"]\n'
        '[[rule]]\nmatch = { last = "weather" }\nreply = "Sunny"\n[[rule]]\nerror = { status = 503 }\n'
    )
    key = {"Authorization": "Bearer sk-one"}
    with serve("--scenario", str(scenario), "--pace", "ttft=0.002") as server:
        assert b'"Sunny"' in ask(server.url, "the weather", model="m", headers=key, stream=True).body
        assert b"}\r\n\r\n" in ask(server.url, "the weather", model="m", headers=key, stream=True).body
        assert ask(server.url, model="m", headers=key).status == 503
        assert ask(server.url, model="gpt-5", headers=key).status == 404
        assert ask(server.url, model="m").status == 401
        health = request("GET", server.url + "/_mock/health").json
        assert (health["seed"], health["pace"], health["chunking"]) == (7, "ttft=0.002,itl=0", "tokens_per_payload=3")


def test_a_journal_that_cannot_be_written_costs_no_answer() -> None:
    """A full disk is said once, on stderr, and clients are answered all the same."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with serve("--journal", "/dev/full", "--reply", "a") as server:
        assert [ask(server.url).text for _ in range(3)] == ["a"] * 3
        assert server.stop() == 0
    assert server.stderr.count("--journal /dev/full: No space left on device") == 1


# ------------------------------------------------------------------------------------------------ errors


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> functools.partial[str]:
    """Runs the command in this process; what it prints on stderr, after a refusal with exit code 2."""

    def refused(*arguments: str) -> str:
        try:
            code: object = cli.main(arguments)
        except SystemExit as exit_:
            code = exit_.code
        printed = capsys.readouterr()
        assert (code, printed.out) == (2, "")
        return printed.err

    return functools.partial(refused)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pace", "warp"), "pace: unknown profile 'warp'"),
        (("--chunking", "join=x"), "chunking: join: expected true or false, got 'x'"),
        (("--with", "no-such-fault"), "no-such-fault"),
        (("--port", "65536"), "port: expected 0 to 65535, got 65536"),
        (("--reply", "@/no/such/file"), "--reply @/no/such/file: No such file or directory"),
        (("--reply", "@/"), "--reply @/: Is a directory"),
        (("--reply", f"@{sys.executable}"), "'utf-8' codec can't decode"),
        (("--reply-tokens", "0"), "reply_tokens: expected at least 1, got 0"),
        (("--scenario", "/no/such/file.toml"), "/no/such/file.toml: No such file or directory"),
        (("--journal", "/no/such/folder/journal"), "--journal /no/such/folder/journal: No such file or directory"),
        (("--journal-limit", "0"), "journal_limit: expected at least 1, got 0"),
        (("--token", ""), "token: expected visible ASCII characters"),
        (("--host", "0.0.0.0"), "host '0.0.0.0' is reachable from other machines: set a token (--token)"),
        (("--host", "::"), "host '::' is reachable from other machines: set a token (--token)"),
        (("--host", "no-such-host.invalid", "--token", "t"), "cannot listen on no-such-host.invalid:0: "),
        (("--host", "192.0.2.1", "--token", "t"), "cannot listen on 192.0.2.1:0: Cannot assign requested address"),
    ],
)
def test_what_cannot_be_is_one_clear_line(options: tuple[str, ...], said: str, run: functools.partial[str]) -> None:
    """A setting or address that cannot be had is one line on stderr and exit code 2, and nothing is started."""
    printed = run("serve", "--port", "0", *options)
    assert said in printed
    assert printed.startswith("mockprovider: ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("sevre",), "invalid choice: 'sevre'"),
        (("serve", "--port", "x"), "argument --port: invalid int value: 'x'"),
        (("serve", "--tok", "x"), "unrecognized arguments: --tok x"),
    ],
)
def test_bad_usage_says_what_is_wrong(arguments: tuple[str, ...], said: str, run: functools.partial[str]) -> None:
    """A wrong command or option exits with 2 and a usage message; options cannot be abbreviated."""
    assert said in run(*arguments)


def test_a_port_in_use_is_one_clear_line() -> None:
    """A port that somebody else has is one line on stderr, with the address and what to do, and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "mockprovider", "serve", "--port", str(port)],
            capture_output=True,
            encoding="utf-8",
            timeout=START_S,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"mockprovider: cannot listen on 127.0.0.1:{port}: the port is in use; choose another one, or 0 for any that is"
        " free\n"
    )


def test_an_interrupt_while_it_starts_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the server accepts ends the command as shells expect it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_raise_file_limit", interrupted)
    assert cli.main(["serve"]) == 130


def test_the_command_is_installed_and_tells_its_version() -> None:
    """The console script and `python -m mockprovider` are the same command."""
    script = Path(sys.executable).with_name("mockprovider")
    commands = [[sys.executable, "-m", "mockprovider"], *([[str(script)]] if script.exists() else [])]
    for command in commands:
        printed = subprocess.run([*command, "--version"], capture_output=True, encoding="utf-8", check=True)
        assert printed.stdout == f"mockprovider {mockprovider.__version__}\n"

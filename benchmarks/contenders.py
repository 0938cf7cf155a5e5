"""The servers that are compared: how each is started for a load, on its own core, and what to ask it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import build

WORDS = ("wind", "paper", "cloud", "stone", "river", "light", "glass", "field")
START_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Load:
    """What a server is asked to do, times in seconds; `sample` is for those who copy its bytes."""

    name: str
    tokens: int
    stream: bool = True
    reply: str = "generated"  # or "scripted", or "recorded"
    join: bool = True  # writes that are due together may leave as one
    itl: float = 0.0  # 0: no gaps at all
    ttft: float = 0.0
    sample: Sample | None = None


@dataclasses.dataclass(frozen=True)
class Sample:
    """One reply as it came: its body without chunk framing, its events, and which of them are tokens."""

    body: bytes
    events: int
    skip: int
    tokens: int

    @property
    def event_bytes(self) -> int:
        """Mean bytes of an event without chunk framing."""
        return round(len(self.body) / max(1, self.events))


class Server:
    """A running server: its port, its process, the request that is put to it. Stop it with `stop()`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, request: bytes) -> None:
        self.process, self.port, self.request = process, port, request

    @property
    def pid(self) -> int:
        """The process whose CPU and memory are the server's."""
        return self.process.pid

    def stop(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        self.process.wait()


Start = Callable[[Load], Server]


_ALLOWED = sorted(os.sched_getaffinity(0))
SERVER_CORE, READER_CORE = _ALLOWED[0], _ALLOWED[-1]
"""The same core where the machine has but one."""


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started inside stay on this core: they inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_open_files() -> None:
    """Raise the limit of open files to the highest that is allowed, for this process and all it starts."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def text(tokens: int) -> str:
    """Plain words, one a token, the same on every run."""
    return " ".join(WORDS[i % len(WORDS)] for i in range(tokens))


def request_bytes(load: Load, *, prompt: str = "Hello", path: str = "/v1/chat/completions") -> bytes:
    """The HTTP request for a load, whole, as it is put on the wire again and again."""
    message = {"role": "user", "content": prompt}
    document = {"model": "gpt-4o", "messages": [message], "stream": load.stream, "max_tokens": load.tokens}
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk-bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def free_port() -> int:
    """A port that was free a moment ago, for servers that do not choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(
    command: list[str], load: Load, request: bytes, port: int | None = None, env: dict[str, str] | None = None
) -> Server:
    """Start a server and wait until it answers: until it prints an address, or until `port` accepts.

    Raises build.Absent with the end of its output when it ends or stays silent.
    """
    log_path = build.cache() / f"log-{os.getpid()}-{time.monotonic_ns()}"
    with log_path.open("wb") as log, on_core(SERVER_CORE):
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=build.cache(),
            env=env or build.python_environment(),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            found = _printed_port(log_path) if port is None else port if _accepts(port) else None
            if found is not None:
                return Server(process, found, request)
            time.sleep(0.02)
        process.kill()
        process.wait()
        lines = [line for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
        raise build.Absent(f"did not start: {(lines or ['it printed nothing'])[-1].strip()[:200]}")
    finally:
        log_path.unlink()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _printed_port(log_path: Path) -> int | None:
    found = re.search(r"listening on http://[\w.]+:(\d+)", log_path.read_text(errors="replace"))
    return int(found[1]) if found else None


# ---- the servers ----


def mockprovider(load: Load) -> Server:
    """The server under test, by its command line."""
    if load.reply == "recorded":
        return _replay(load)
    command = [sys.executable, "-m", "mockprovider", "serve", "--port", "0"]
    pace = f"itl={load.itl:g},ttft={load.ttft:g}" if load.itl or load.ttft else "instant"
    command += ["--pace", pace]
    if load.reply == "scripted":
        script = build.cache() / f"reply-{load.tokens}.txt"
        script.write_text(text(load.tokens))
        command += ["--reply", f"@{script}"]
    else:
        command += ["--reply-tokens", str(load.tokens)]
    if not load.join:
        command += ["--chunking", "join=false"]
    return spawn(command, load, request_bytes(load))


def _replay(load: Load) -> Server:
    """A recording of the sample, an event a read, played without gaps."""
    folder = build.cache() / f"recordings-{load.tokens}"
    folder.mkdir(exist_ok=True)
    request = request_bytes(load)
    recording([(0.0, event) for event in events(load.sample or made_up(load))], request, folder / "1.ndjson")
    writes = "joined" if load.join else "loose"
    return spawn([*replay_command(folder), "--speed", "instant", "--writes", writes], load, request)


def replay_command(folder: Path) -> list[str]:
    """What plays the recordings of a folder."""
    return [sys.executable, "-m", "mockprovider", "replay", str(folder), "--port", "0"]


def events(sample: Sample) -> list[bytes]:
    """The server-sent events of a sample, each with its empty line."""
    return [event + b"\n\n" for event in sample.body.split(b"\n\n") if event]


def recording(reads: list[tuple[float, bytes]], request: bytes, path: Path) -> None:
    """Write the recording of a stream: after its head one HTTP chunk a read, given as (gap, content)."""
    head, body = request.split(b"\r\n\r\n", 1)
    headers = [["Content-Type", "text/event-stream"], ["Transfer-Encoding", "chunked"]]
    asked = {"method": "POST", "target": head.split(b" ", 2)[1].decode(), "headers": [], "body": json.loads(body)}
    lines: list[object] = [{"mockprovider": 1, "recorded": "2026-11-22T21:00:00Z", "request": asked}]
    lines.append([0.0, "head", {"version": "1.1", "status": 200, "reason": "OK", "headers": headers}])
    lines += [[gap, "write", content.decode(), {"chunks": [len(content)]}] for gap, content in reads]
    lines += [[0.0, "write", "", {"chunks": [0]}], [0.0, "end"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def limit(load: Load, mode: str | None = None) -> Server:
    """The C server: one send() an event unless the load says otherwise; as many events, of the same size."""
    if mode is None:
        mode = "whole" if not load.stream else "paced" if load.itl else "each"
    sample = load.sample
    events = sample.events if sample and load.stream else load.tokens
    size = (sample.event_bytes if load.stream else len(sample.body)) if sample else 262
    options = [
        "--events",
        str(events),
        "--bytes",
        str(size),
        "--itl",
        str(load.itl),
        "--ttft",
        str(load.ttft),
    ]
    return spawn([str(build.compile_c("limit")), mode, *options], load, request_bytes(load))


def bare(load: Load) -> Server:
    """A bare aiohttp handler that writes the bytes of the sample."""
    sample = load.sample or made_up(load)
    body = build.cache() / f"body-{load.name}"
    body.write_bytes(sample.body)
    mode = "stream" if load.stream else "whole"
    return spawn([sys.executable, str(build.HERE / "bare.py"), mode, str(body)], load, request_bytes(load))


def aimock(load: Load) -> Server:
    """@copilotkit/aimock, silent; five characters a delta, so as many deltas as the load has tokens."""
    folder = build.npm_package("@copilotkit/aimock", "aimock", build.AIMOCK)
    fixture = build.cache() / f"aimock-{load.tokens}.json"
    content = (text(load.tokens) + " " * 5 * load.tokens)[: 5 * load.tokens]
    rule = {"match": {"userMessage": "Hello"}, "response": {"content": content}}
    fixture.write_text(json.dumps({"fixtures": [rule]}))
    port = free_port()
    script = folder / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = ["node", str(script), "-p", str(port), "-f", str(fixture), "-c", "5", "--log-level", "silent"]
    command += ["-l", str(round(load.itl * 1000))]
    return spawn(command, load, request_bytes(load), port)


def llmock(load: Load) -> Server:
    """llmock, which echoes the prompt, one word an event."""
    folder = build.python_package("llmock", build.LLMOCK)
    port = free_port()
    command = [str(folder / "bin" / "llmock"), "serve", "--port", str(port), "--log-level", "error"]
    command += ["--response-style", "echo", "--stream-chunk-delay-ms", str(round(load.itl * 1000))]
    return spawn(command, load, request_bytes(load, prompt=text(load.tokens)), port)


def mockllm(load: Load) -> Server:
    """mockllm under uvicorn, no access log; one character an event, so as many characters as tokens."""
    folder = build.python_package("mockllm", build.MOCKLLM)
    responses = build.cache() / f"mockllm-{load.tokens}.yml"
    answer = text(load.tokens)[: load.tokens]
    settings = {"lag_enabled": False, "lag_factor": 10}
    responses.write_text(json.dumps({"responses": {}, "defaults": {"unknown_response": answer}, "settings": settings}))
    os.utime(responses, (1, 1))  # with a fraction of a second in its time it would be read anew for every request
    port = free_port()
    command = [str(folder / "bin" / "python"), "-m", "uvicorn", "mockllm.server:app", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    env = {**build.python_environment(), "MOCKLLM_RESPONSES_FILE": str(responses)}
    return spawn(command, load, request_bytes(load), port, env)


CONTENDERS: dict[str, Start] = {
    "mockprovider": mockprovider,
    "C": limit,
    "bare": bare,
    "aimock": aimock,
    "llmock": llmock,
    "mockllm": mockllm,
}


# ---- looking at one reply ----


def made_up(load: Load) -> Sample:
    """A sample for when there is no server to take one from: one event of 262 bytes a token."""
    start, end = b'data: {"choices":[{"index":0,"delta":{"content":"', b'"}}]}\n\n'
    event = start + b"x" * (262 - len(start) - len(end)) + end
    if not load.stream:
        return Sample(b'{"content":"' + b"x" * 5 * load.tokens + b'"}', 0, 0, load.tokens)
    return Sample(event * load.tokens, load.tokens, 0, load.tokens)


def probe(server: Server, *, most_tokens: int | None = None) -> Sample:
    """Put the request once and read the reply; with `most_tokens` only until so many tokens were seen.

    Raises build.Absent when the answer is not a 200.
    """
    head, body = server.request.split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("POST", head.split(b" ", 2)[1].decode(), body, headers)
        reply = connection.getresponse()
        if reply.status != 200:
            raise build.Absent(f"answered {reply.status}: {reply.read(200)!r}")
        return _sample(_lines(reply), most_tokens)
    except (OSError, http.client.HTTPException) as error:
        raise build.Absent(f"broke off: {error!r}") from error
    finally:
        connection.close()


def _lines(reply: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := reply.readline():
        yield line


def _sample(lines: Iterator[bytes], most_tokens: int | None) -> Sample:
    body, flags = bytearray(), []
    for line in lines:
        body += line
        if line.startswith(b"data:"):
            flags.append(_is_token(line[5:]))
            if most_tokens is not None and sum(flags) >= most_tokens:
                break
    skip = flags.index(True) if True in flags else 0
    return Sample(bytes(body), len(flags), skip, sum(flags))


def _is_token(data: bytes) -> bool:
    try:
        document = json.loads(data)
    except ValueError:
        return False
    choices = document.get("choices") if isinstance(document, dict) else None
    return bool(choices and (choices[0].get("delta") or {}).get("content"))

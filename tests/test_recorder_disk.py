"""What a recorder leaves on the disk: no secret, all that a client has, and what was there before."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mockprovider.errors import RecordingError, SettingError, UnavailableError
from mockprovider.recording import RecordedRequest, RecordingWriter, load, load_folder
from mockprovider.server.recorder import Recorder, RecorderSettings, with_key
from mockprovider.server.upstream import Upstream
from tests.serving import serving
from tests.upstreams import GET, STREAM, Fake, exchange, faking, only, recording_into
from tests.wiretap import PATIENCE, tapping

# ------------------------------------------------------------------------------------------------ secrets

BEGINNINGS = (
    "sk-", "sk-ant-api03-", "sk-proj-", "sk-or-v1-", "gsk_", "xai-", "AIza", "hf_", "r8_", "pplx-", "nvapi-", "ghp_",
    "github_pat_", "glpat-", "AKIA", "xoxb-", "npm_", "eyJ", "pypi-", "ya29.", "", "", "", "", "",
)  # fmt: skip
SECRETS = [f"{begins}{random.Random(number).randbytes(18).hex()}" for number, begins in enumerate(BEGINNINGS)]
"""25 secrets; those without a beginning are known only from where they stand. Each is planted plain and in base64."""


def planted(known: list[str]) -> bytes:
    """Content that is full of secrets: in texts, members, URLs, events, and base64."""
    lines = []
    for secret in SECRETS:
        if secret in known or secret[:3] in {begins[:3] for begins in BEGINNINGS if begins}:
            lines.append(f"a text with {secret} in it")
            lines += [base64.b64encode(before + secret.encode()).decode() for before in (b" ", b"a ", b"ab ")]
        lines.append(f'{{"api_key": "{secret}", "url": "https://u:{secret}@h.example/x?key={secret}&a=1"}}')
        lines.append(f"authorization: Bearer {secret}")
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def nothing_of(folder: Path, secrets: list[str]) -> None:
    """No secret is in any file or name of the folder: plain, in base64, or from its tenth character on."""
    for path in folder.iterdir():
        text = path.read_bytes() + path.name.encode()
        with contextlib.suppress(RecordingError):
            recording = load(path)
            text += recording.wire + recording.content + recording.request.body + recording.request.target.encode()
        for secret in secrets:
            assert secret.encode() not in text
            assert secret[10:].encode() not in text, secret
            for phase in range(3):
                encoded = base64.b64encode(b"x" * phase + secret[10:].encode())[4:-4]
                assert encoded not in text, secret


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("step", [37, 1 << 20])
async def test_planted_secrets_are_not_on_the_disk(packed: bool, step: int, tmp_path: Path) -> None:
    """50 secrets, 25 of them in two forms, in headers, URLs, bodies, packed bodies and base64, whatever the writes:
    none of them is on the disk, while the client has them all."""
    *_, key, cookie, parameter, organisation, environment = SECRETS
    body = planted([key, cookie, parameter, environment])
    content = gzip.compress(body) if packed else body
    fields = [f"X-{number}: {secret}" for number, secret in enumerate(SECRETS[:20])]
    fields += [f"Set-Cookie: s={organisation}", f"OpenAI-Organization: {organisation}", f"X-Echo: {key} {environment}"]
    fields += [f"Location: /?token={organisation}", f"Content-Length: {len(content)}"]
    fields += ["Content-Encoding: gzip"] if packed else []
    head = ("HTTP/1.1 200 OK\r\n" + "\r\n".join(fields) + "\r\n\r\n").encode()
    sent = [
        f"Cookie: session={cookie}",
        f"X-Api-Key: {key}",
        f"X-Custom: {organisation}",
        f"User-Agent: me {SECRETS[0]}",
    ]
    target = f"/v1/accounts/{organisation}/x?key={parameter}&q={quote(SECRETS[1])}"
    request = f"POST {target} HTTP/1.1\r\nHost: localhost\r\n" + "\r\n".join(sent)
    if packed:
        request += "\r\nContent-Encoding: gzip"
    request += f"\r\nContent-Length: {len(content)}\r\n\r\n"
    async with faking() as fake, recording_into(tmp_path, fake.port, keep_encoding=True) as recorder:
        recorder._redactor = type(recorder._redactor)(secrets=[environment])  # as --key-env has it
        async with tapping(recorder.url, "POST") as tap:
            await tap.send(request.encode() + content)
            peer = await fake.peer()
            await peer.request()
            data = head + content
            if packed:
                await peer.send(head)
                data = content
            for at in range(0, len(data), step):
                await peer.send(data[at : at + step])
                await asyncio.sleep(0)
            await tap.until(lambda: tap.data == head + content)
            assert recorder.failures == 0
        recording = await only(tmp_path)
    assert recording.complete
    assert len(recording.content) == len(body)
    assert len(recording.request.body) == len(body)
    nothing_of(tmp_path, SECRETS)


def test_a_rule_of_the_user_and_a_dry_run(tmp_path: Path) -> None:
    """`redact --dry-run` tells what would be removed and changes nothing; without it, the recording is redacted."""
    path = tmp_path / "a.ndjson"
    writer = RecordingWriter.create(path)
    writer.begin(RecordedRequest("GET", "/x", (("authorization", "Bearer secret-token-1"),)), "now")
    writer.read(0.1, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Acme: a\r\n\r\nAcme Corp")
    writer.end("end", 0)
    before = path.read_bytes()
    command = [
        sys.executable,
        "-m",
        "mockprovider",
        "redact",
        str(tmp_path),
        "--redact",
        "Acme",
        "--redact-header",
        "x-acme",
    ]
    shown = subprocess.run([*command, "--dry-run"], capture_output=True, encoding="utf-8", check=True).stdout
    assert shown.splitlines() == [
        f"{path}: request header authorization: left out",
        f"{path}: response header X-Acme: masked",
        f"{path}: response content: 4 bytes at 0, after ''",
    ]
    assert path.read_bytes() == before
    subprocess.run(command, capture_output=True, check=True)
    assert load(path).content == b"XXXX Corp"
    assert load(path).request.headers == ()
    assert subprocess.run(command, capture_output=True, check=True).stdout == b""


# ------------------------------------------------------------------------------------------------ the disk

KILLS = int(os.environ.get("MOCKPROVIDER_KILLS", "25"))
FORKER = """
import os, signal, sys
import mockprovider.server.recorder
from mockprovider.cli import main
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if not child:
        os._exit(main(["record", "--port", "0", *line.split()]))
    print("child", child, flush=True)
"""
"""Forks a recorder for each line that it reads: a new process costs half a second, a fork a few milliseconds."""


class Forker:
    """Recorders in processes of their own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )

    def recorder(self, *options: str) -> tuple[int, str]:
        """The process and the URL of a new one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(options) + "\n")
        self._process.stdin.flush()
        found: dict[str, str] = {}
        while len(found) < 2:  # in either order
            first, *_, last = self._process.stdout.readline().split()
            found[first] = last
        return int(found["child"]), found["mockprovider"]

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(PATIENCE)


@pytest.fixture
def forker() -> Iterator[Forker]:
    """A forker for one test."""
    made = Forker()
    yield made
    made.close()


async def endless(fake: Fake) -> None:
    """Answer each request with a stream that never ends, in writes of all sizes, until the recorder is gone."""
    peer = await fake.peer()
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await peer.request()
        await peer.send(STREAM)
        rng = random.Random(fake.port)
        for number in range(1_000_000):
            event = f"data: {number} {'✓' * rng.randrange(200)}\n\n".encode()
            await peer.send(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(0)


async def test_what_a_client_has_is_in_the_file_of_a_killed_recorder(forker: Forker, tmp_path: Path) -> None:
    """After kill -9 at a random moment of three streams: each recording is readable and incomplete, and all bytes that
    its client has received are in it."""
    rng = random.Random(KILLS)
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        async with faking() as fake, contextlib.AsyncExitStack() as stack:
            child, url = forker.recorder("--upstream", f"http://127.0.0.1:{fake.port}", "--into", str(folder))
            taps = [await stack.enter_async_context(tapping(url)) for _ in range(3)]
            streams = []
            for number, tap in enumerate(taps):
                tap.strict = False
                await tap.send(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
                streams.append(asyncio.create_task(endless(fake)))
            least, first = rng.randrange(4000), taps[0]
            await first.until(lambda: len(first.data) > least)  # noqa: B023  it is awaited here
            await asyncio.sleep(rng.random() * 0.02)
            os.kill(child, signal.SIGKILL)
            for tap in taps:
                await tap.end()
            await asyncio.gather(*streams)
            recordings = {recording.request.target: recording for recording in load_folder(folder)}
            for number, tap in enumerate(taps):
                if not tap.data:
                    continue
                recording = recordings[f"/{number}"]
                assert recording.wire.startswith(tap.data)
                assert recording.ending is None


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS counts RLIMIT_FSIZE in other units")
async def test_a_full_disk_costs_the_recording_and_not_the_stream(tmp_path: Path) -> None:
    """The client has its whole stream; the recording is readable and incomplete; one message tells, and exit code 1."""
    content = b"".join(b"400\r\n%b\r\n" % (b"%04d" % number * 256) for number in range(64))
    async with faking() as fake:
        command = f"ulimit -f 16; exec {sys.executable} -m mockprovider record --port 0"
        command += f" --upstream http://127.0.0.1:{fake.port} --into {tmp_path}"
        with serving("bash", "-c", command) as server:
            for _ in range(2):
                async with tapping(server.url) as tap:
                    await tap.send(GET)
                    peer = await fake.peer()
                    await peer.request()
                    await peer.send(STREAM + content + b"0\r\n\r\n")
                    response = await tap.response()
                    assert len(response.body) == 64 * 1024
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, PATIENCE) == 1
    told = [line for line in server.lines if "File too large" in line]
    assert len(told) == 2
    assert "0001-v1-stream.ndjson is incomplete" in told[0]
    first, second = load_folder(tmp_path)
    assert first.ending is second.ending is None
    assert first.wire == (STREAM + content)[: len(first.wire)]


async def test_a_folder_that_cannot_be_written_costs_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where not even the file can be made, the client has its reply, and the failure is told."""

    def full(path: Path) -> RecordingWriter:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordingWriter, "create", full)
    async with exchange(tmp_path) as (tap, peer, recorder):
        tap.strict = True
        await peer.send(STREAM + b"0\r\n\r\n")
        assert (await tap.response()).status == 200
        assert recorder.failures == 1
    assert "nothing is recorded" in caplog.text


async def test_two_recorders_share_a_folder(tmp_path: Path) -> None:
    """At the same time, on one folder: every exchange has a file of its own, and none is lost."""
    async with faking() as fake, contextlib.AsyncExitStack() as stack:
        recorders = [await stack.enter_async_context(recording_into(tmp_path, fake.port)) for _ in range(2)]
        taps = [await stack.enter_async_context(tapping(recorders[number % 2].url)) for number in range(10)]
        for number, tap in enumerate(taps):
            await tap.send(b"GET /same?n=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
        for _ in taps:
            peer = await fake.peer()
            await peer.request()
            await peer.send(STREAM + b"0\r\n\r\n")
        for tap in taps:
            await tap.response(0)
    recordings = load_folder(tmp_path)
    assert [recording.name for recording in recordings] == [f"{number:04d}-same" for number in range(1, 11)]
    assert {recording.request.query for recording in recordings} == {f"n={number}" for number in range(10)}
    assert all(recording.complete for recording in recordings)


async def one(folder: Path, target: bytes, status: int, **more: Any) -> None:
    """One exchange, answered with this status; complete, unless the status is 0."""
    async with exchange(folder, b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target, **more) as (tap, peer, _):
        if not status:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
            peer.writer.close()
            await tap.end()
            return
        tap.strict = True
        await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        await tap.response()
        await asyncio.sleep(0.01)


async def test_what_is_there_is_replaced_on_demand_alone(tmp_path: Path) -> None:
    """`new` keeps all; `all` replaces a recording of the same request, and `rewrite` all of them: by one that is
    complete, and not before; a damaged file is an error, for nobody could tell what it is."""

    def there() -> list[tuple[str, int]]:
        return [(each.request.target, each.head.status if each.head else 0) for each in load_folder(tmp_path)]

    await one(tmp_path, b"/a", 201)
    await one(tmp_path, b"/b", 202)
    await one(tmp_path, b"/a", 203)
    assert there() == [("/a", 201), ("/b", 202), ("/a", 203)]
    await one(tmp_path, b"/a", 0, mode="all")
    assert there() == [("/a", 201), ("/b", 202), ("/a", 203), ("/a", 200)]
    await one(tmp_path, b"/a", 206, mode="all")
    assert there() == [("/b", 202), ("/a", 206)]
    await one(tmp_path, b"/c", 0, mode="rewrite")
    assert there() == [("/b", 202), ("/a", 206), ("/c", 200)]
    await one(tmp_path, b"/d", 207, mode="rewrite")
    assert there() == [("/d", 207)]
    (tmp_path / "0001-damaged.ndjson").write_text("{")
    with pytest.raises(RecordingError, match="0001-damaged"):
        await one(tmp_path, b"/e", 207, mode="rewrite")
    await one(tmp_path, b"/e", 208)
    assert (tmp_path / "0001-damaged.ndjson").read_text() == "{"


# ------------------------------------------------------------------------------------------------ who may, and where to


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("authorization", "Bearer dummy"), ("x", "y")], [("authorization", "Bearer KEY"), ("x", "y")]),
        ([("X-Api-Key", "dummy")], [("X-Api-Key", "KEY")]),
        ([("anthropic-version", "1")], [("anthropic-version", "1"), ("x-api-key", "KEY")]),
        ([], [("authorization", "Bearer KEY")]),
    ],
)
def test_a_key_takes_the_place_of_the_clients_own(headers: list[Any], expected: list[Any]) -> None:
    """Wherever that is; where the client has none, the key goes where the dialect wants it."""
    assert with_key(headers, "/v1/x", "KEY") == (expected, "/v1/x")


def test_a_key_goes_into_the_target_where_it_belongs() -> None:
    """A parameter `key` is replaced; for a method of Google's, the key is a header."""
    assert with_key([], "/v1/m:generate?alt=sse&key=dummy", "K/") == ([], "/v1/m:generate?alt=sse&key=K%2F")
    assert with_key([], "/v1/m:generate", "K") == ([("x-goog-api-key", "K")], "/v1/m:generate")


async def test_the_key_of_the_recorder_is_sent_and_not_stored(tmp_path: Path) -> None:
    """The upstream has it; a page of another site cannot spend it; another Host is refused."""
    key = "no-known-beginning-4711"
    async with faking() as fake, recording_into(tmp_path, fake.port, key=key) as recorder:
        for field, status in ((b"Host: evil.example", 421), (b"Host: localhost\r\nOrigin: https://evil.example", 403)):
            async with tapping(recorder.url) as tap:
                assert (await tap.ask(b"GET / HTTP/1.1\r\n%b\r\n\r\n" % field)).status == status
        async with tapping(recorder.url) as tap:
            assert (await tap.ask(b"GET http://x.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n")).status in (400, 421)
            await tap.send(b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n\r\n")
            peer = await fake.peer()
            head, _ = await peer.request()
            assert f"authorization: Bearer {key}".encode() in head
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n" + key.encode())
            await tap.until(lambda: tap.data.endswith(key.encode()))
        assert (await only(tmp_path)).content == b"X" * 23


async def test_an_upstream_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """502 in JSON, which names the upstream and what to do; nothing is recorded; the connection goes on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with recording_into(tmp_path, port) as recorder, tapping(recorder.url) as tap:
            for _ in range(2):
                response = await tap.ask(GET)
                assert response.status == 502
                said = json.loads(response.body)["error"]
                assert said["type"] == "upstream_unreachable"
                assert f"http://127.0.0.1:{port}: " in said["message"]
                assert "--upstream" in said["message"]
    assert list(tmp_path.iterdir()) == []
    assert "Nothing was recorded" in caplog.text


async def test_https_upstreams_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for is a 502 that says so; with its authority trusted, bytes come through."""
    made = tmp_path / "made"
    made.mkdir()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -keyout key.pem"
    command += " -out cert.pem -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run(command.split(), cwd=made, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the certificate, is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "cert.pem", made / "key.pem")
    folder = tmp_path / "recordings"
    async with faking(context) as fake, recording_into(folder, fake.port, "https") as recorder:
        async with tapping(recorder.url) as tap:
            response = await tap.ask(GET)
            assert response.status == 502
            assert "certificate is not trusted" in response.body.decode()
        monkeypatch.setenv("SSL_CERT_FILE", str(made / "cert.pem"))
        async with tapping(recorder.url) as tap:
            await tap.send(GET)
            peer = await fake.peer()
            await peer.request()
            await peer.send(STREAM)
            await tap.until(lambda: tap.data == STREAM)
            await peer.send(b"0\r\n\r\n")
            await tap.response()
        recording = await only(folder)
    assert [read.wire for read in recording.reads] == [STREAM, b"0\r\n\r\n"]


async def test_a_recorder_that_stops_leaves_recordings_incomplete(tmp_path: Path) -> None:
    """Whoever is streaming is cut off; the recording has what came, and no ending."""
    async with exchange(tmp_path) as (tap, peer, recorder):
        await peer.send(STREAM)
        await tap.until(lambda: tap.data == STREAM)
        await recorder.stop()
        await peer.gone()
    [recording] = load_folder(tmp_path)
    assert recording.wire == STREAM
    assert recording.ending is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com:443/", "https://api.example.com"),
        ("http://[::1]:8080/base/", "http://[::1]:8080/base"),
    ],
)
def test_an_upstream_is_a_url(url: str, text: str) -> None:
    """With or without a port and a path."""
    assert str(Upstream.parse(url)) == text


@pytest.mark.parametrize(
    "url", ["api.example.com", "ftp://x", "http://", "http://x:y", "http://x/?a=1", "http://u:p@x"]
)
def test_what_is_no_upstream_is_refused(url: str) -> None:
    """What cannot be asked over HTTP, or holds more than an address, is an error that names the option."""
    with pytest.raises(SettingError, match="--upstream"):
        Upstream.parse(url)


@pytest.mark.parametrize("more", [{"mode": "once"}, {"silence": 0}, {"host": "0.0.0.0"}])
def test_impossible_settings_are_refused(more: dict[str, Any], tmp_path: Path) -> None:
    """An unknown mode, a silence that is none, and an address that others reach."""
    with pytest.raises(SettingError):
        RecorderSettings(Upstream.parse("http://x"), tmp_path, **more)


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The error says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        recorder = Recorder(RecorderSettings(Upstream.parse("http://x"), tmp_path, port=taken.getsockname()[1]))
        with pytest.raises(UnavailableError, match="in use"):
            await recorder.start()


def test_a_key_that_is_not_in_the_environment(tmp_path: Path) -> None:
    """Exit code 2, and a message that names the variable."""
    command = [sys.executable, "-m", "mockprovider", "record", "--upstream", "http://x", "--into", str(tmp_path)]
    ended = subprocess.run([*command, "--key-env", "NOT_THERE"], capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == 2
    assert "--key-env NOT_THERE" in ended.stderr

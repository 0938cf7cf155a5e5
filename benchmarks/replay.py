"""Replays: how true to the recorded gaps, and to the whole duration, fifty are at once; vcrpy and aimock beside."""

from __future__ import annotations

import json
import math
import random
import re
import selectors
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from itertools import pairwise

from benchmarks import build, contenders, measure
from benchmarks.contenders import Load, Server
from benchmarks.figures import Bench, Row

STREAMS, TOKENS, MEAN_GAP, FIRST_GAP = 50, 80, 0.0128, 0.2
PATIENCE = 60.0
_TIMESTAMPNS = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS of Linux: when the kernel received what is read
_SIZE = re.compile(rb"[0-9a-fA-F]+\r\n")

Times = list[float]
"""When each event of a stream came, in seconds since the request was sent."""


def replay(bench: Bench) -> None:
    """Rows `replay`: a stream as a model on one core sends it, a token every 13 ms with some jitter."""
    load = Load("replay", TOKENS)
    chance = random.Random(1)
    events = contenders.events(contenders.made_up(load))
    gaps = [FIRST_GAP, *(chance.gammavariate(40, MEAN_GAP / 40) for _ in events[1:])]
    due = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    bench.raw["replay"] = {}
    targets: dict[str, tuple[float | None, float | None]] = {"mockprovider": (2.0, 0.5)}
    for name in ("mockprovider", "aimock", "vcrpy"):
        try:
            seen = _seen(bench, name, load, list(zip(gaps, events, strict=True)))
        except build.Absent as reason:
            bench.absent[name] = str(reason)
            seen = []
        bench.raw["replay"][name] = _rows(bench, name, seen, due, targets.get(name, (None, None)))


def _seen(bench: Bench, name: str, load: Load, reads: list[tuple[float, bytes]]) -> list[Times]:
    """The streams as they came from that contender; none where it is left out."""
    if name == "vcrpy":
        return _vcrpy(reads)
    starts = {"mockprovider": lambda load: _recorded(load, reads), "aimock": _steady}
    server = bench.start(name, load, by=starts[name])
    if server is None:
        return []
    try:
        with contenders.on_core(contenders.READER_CORE):
            received(server, 2)  # what is loaded and prepared once is so from here on
            return received(server, STREAMS)
    finally:
        server.stop()


def _recorded(load: Load, reads: list[tuple[float, bytes]]) -> Server:
    folder = build.cache() / "recordings-replay"
    folder.mkdir(exist_ok=True)
    request = contenders.request_bytes(load)
    contenders.recording(reads, request, folder / "1.ndjson")
    return contenders.spawn(contenders.replay_command(folder), load, request)


def _steady(load: Load) -> Server:
    """aimock has one latency for all gaps, in milliseconds."""
    return contenders.aimock(Load(load.name, load.tokens, itl=MEAN_GAP))


def _rows(
    bench: Bench, name: str, seen: list[Times], due: Times, targets: tuple[float | None, float | None]
) -> dict[str, float]:
    errors, longer = [], []
    for times in seen:
        # The first gap has the opening of the connection in it, and what a server does before it knows the request.
        came = [after - before for before, after in pairwise(times)]
        wanted = [after - before for before, after in pairwise(due)]
        errors += [abs(one - other) * 1000 for one, other in zip(came, wanted, strict=False)]
        longer.append(abs((times[-1] - due[-1]) / due[-1]) * 100)
    late = [abs(times[0] - due[0]) * 1000 for times in seen]
    figures = {"gap_p99_ms": _quantile(errors, 0.99), "duration_percent": measure.median(longer)}
    at_once = f"{STREAMS} at once" if name != "vcrpy" else "one at a time"
    note = bench.why(name)
    if seen:
        note = f"median {_quantile(errors, 0.5):.3f} ms; the first event p99 {_quantile(late, 0.99):.2f} ms off"
    what = f"replays, {at_once}: error of a gap, p99: {name}"
    bench.rows.append(Row("replay", what, figures["gap_p99_ms"], "ms", "at most", targets[0], note))
    what = f"replays, {at_once}: error of the whole duration: {name}"
    bench.rows.append(Row("replay", what, figures["duration_percent"], "%", "at most", targets[1], bench.why(name)))
    return figures


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else math.nan


# ---- a reader that asks the kernel when ----


def received(server: Server, streams: int) -> list[Times]:
    """Put the request so many times at once. Raises build.Absent where a stream does not come."""
    waiting = selectors.DefaultSelector()
    opened = [_Stream(server) for _ in range(streams)]
    for stream in opened:
        waiting.register(stream.socket, selectors.EVENT_READ, stream)
    try:
        for stream in opened:
            stream.ask(server.request)
        until = time.monotonic() + PATIENCE
        while any(not stream.ended for stream in opened):
            if time.monotonic() > until:
                raise build.Absent(f"a stream did not end in {PATIENCE:g} s")
            for key, _ in waiting.select(1.0):
                key.data.read()
                if key.data.ended:
                    waiting.unregister(key.fileobj)
        return [stream.times() for stream in opened]
    finally:
        for stream in opened:
            stream.socket.close()


class _Stream:
    """One connection: what came, and when."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        self.ended = False
        self._sent = 0.0
        self._data = bytearray()
        self._reads: list[tuple[int, float]] = []  # how much there was, and since when

    def ask(self, request: bytes) -> None:
        self._sent = time.time()
        self.socket.sendall(request)

    def read(self) -> None:
        try:
            data, extras, _, _ = self.socket.recvmsg(65_536, 64)
        except OSError as error:
            raise build.Absent(f"broke off: {error}") from error
        at = time.time()
        for level, kind, stamp in extras:
            if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMPNS):
                seconds, nanoseconds = struct.unpack("qq", stamp)
                at = seconds + nanoseconds / 1e9
        self._data += data
        self._reads.append((len(self._data), at - self._sent))
        self.ended = not data or self._data.endswith(b"0\r\n\r\n")

    def times(self) -> Times:
        """When each event was there. Raises build.Absent where there is none."""
        made, read = [], 0
        for match in re.finditer(rb'data: \{[^\n]*"content":"[^"\n]+"[^\n]*\n', self._data):
            while self._reads[read][0] < match.end():
                read += 1
            made.append(self._reads[read][1])
        if not made:
            raise build.Absent(f"answered {bytes(self._data[:80])!r}")
        return made


# ---- vcrpy, which answers inside the client ----

_VCRPY = """
import http.client, json, sys, time, vcr
with vcr.use_cassette(sys.argv[1], record_mode="none", match_on=["method", "path"], allow_playback_repeats=True):
    for _ in range(int(sys.argv[2])):
        connection = http.client.HTTPConnection("recorded.invalid")
        sent = time.monotonic()
        connection.request("POST", "/v1/chat/completions", "{}")
        response, times = connection.getresponse(), []
        while line := response.readline():
            if line.startswith(b"data: {"):
                times.append(time.monotonic() - sent)
        print(json.dumps(times))
"""


def _vcrpy(reads: list[tuple[float, bytes]]) -> list[Times]:
    """vcrpy's stream: one body, without times, so all of it comes at once."""
    folder = build.python_package("vcrpy", build.VCRPY)
    cassette = build.cache() / "replay.yaml"
    request = {"method": "POST", "uri": "http://recorded.invalid/v1/chat/completions", "body": "{}", "headers": {}}
    headers = {"Content-Type": ["text/event-stream"]}
    body = b"".join(content for _, content in reads).decode()
    response = {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}}
    # JSON is YAML too.
    cassette.write_text(json.dumps({"version": 1, "interactions": [{"request": request, "response": response}]}))
    command = [str(folder / "bin" / "python"), "-c", _VCRPY, str(cassette), "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise build.Absent(f"vcrpy failed: {(done.stderr.strip().splitlines() or ['no output'])[-1][:200]}")
    return [json.loads(line) for line in done.stdout.splitlines()]

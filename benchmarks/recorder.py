"""What the recorder adds to each write: `python benchmarks/recorder.py [--writes N]`.

An upstream sends events of 270 bytes, one every few milliseconds, to a client on the same machine: directly, and
through the recorder, which looks for a known key. Each event carries the time at which it was sent; the client notes
how long it took. The two take turns, so that a busy moment strikes both. Upstream, recorder and client are processes of
their own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import socket
import subprocess
import sys
import tempfile
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = 'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}],'
ROUNDS = 5


def upstream(listening: socket.socket, writes: int, gap_s: float) -> None:
    """Answer each request with so many events."""
    while True:
        made, _ = listening.accept()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.recv(65536)
        made.sendall(HEAD)
        for _ in range(writes):
            time.sleep(gap_s)
            event = f'{EVENT}"sent":{time.monotonic_ns():020d}'.encode().ljust(267) + b"}\n\n"
            made.sendall(b"%x\r\n%b\r\n" % (len(event), event))
        made.sendall(b"0\r\n\r\n")
        made.close()


def latencies(port: int) -> list[float]:
    """Microseconds from each event's `send` to its arrival."""
    found = []
    with socket.create_connection(("127.0.0.1", port)) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer no-known-beginning-4711\r\n\r\n")
        came = b""
        while not came.endswith(b"0\r\n\r\n"):
            data = made.recv(65536)
            now = time.monotonic_ns()
            came = came[-8:] + data
            found += [(now - int(sent)) / 1000 for sent in re.findall(rb'"sent":(\d{20})', data)]
    return found


def percentile(values: list[float], part: float) -> float:
    """The value below which this part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writes", type=int, default=400, help="events a stream (400)")
    parser.add_argument("--gap", type=float, default=0.002, help="seconds between two events (0.002)")
    arguments = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0))
    serving = multiprocessing.get_context("fork").Process(
        target=upstream, args=(listening, arguments.writes, arguments.gap), daemon=True
    )
    serving.start()
    port = listening.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mockprovider", "record", "--port", "0", "--into", folder]
        recorder = subprocess.Popen(
            [*command, "--upstream", f"http://127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert recorder.stdout is not None
        through = int(recorder.stdout.readline().rpartition(":")[2])
        ports = {"direct": port, "through the recorder": through}
        found: dict[str, list[float]] = {name: [] for name in ports}
        try:
            for _ in range(ROUNDS):
                for name, at in ports.items():
                    found[name] += latencies(at)
        finally:
            recorder.terminate()
            recorder.wait()
            serving.terminate()
    print("| from the upstream's send to the client | p50 µs | p99 µs | writes |\n|---|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {percentile(values, 0.5):.0f} | {percentile(values, 0.99):.0f} | {len(values)} |")
    added = [
        percentile(found["through the recorder"], part) - percentile(found["direct"], part) for part in (0.5, 0.99)
    ]
    print(f"| added | {added[0]:.0f} | {added[1]:.0f} | |")


if __name__ == "__main__":
    main()

"""The recorder between raw sockets: what the client has is what the upstream sent, and so is the recording."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import random
import resource
import sys
import zlib
from pathlib import Path

import pytest

from mockprovider.recording import load_folder
from tests.upstreams import GET, STREAM, exchange, faking, only, recording_into
from tests.wiretap import parse, tapping

# ------------------------------------------------------------------------------------------------ bytes and endings

CASES: dict[str, tuple[list[bytes], str, str, str]] = {
    "a stream": ([STREAM, b"8\r\ndata: 1\n\r\n", b"1\r\n\n\r\n", b"0\r\n\r\n"], "end", "end", "open"),
    "chunks in pieces": ([STREAM + b"A\r\n01", b"2345", b"6789\r", b"\n0\r\n", b"\r\n"], "end", "end", "open"),
    "upper-case sizes and extensions": ([STREAM, b"00A;a=b\r\n0123456789\r\n", b"000\r\n\r\n"], "end", "end", "open"),
    "trailers": ([STREAM, b"1\r\nx\r\n", b"0\r\nX-Sum: 1\r\n", b"\r\n"], "end", "end", "open"),
    "a head in pieces": ([STREAM[:10], STREAM[10:40], STREAM[40:], b"0\r\n\r\n"], "end", "end", "open"),
    "interim responses": (
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"],
        "end", "end", "open",
    ),
    "a whole reply": ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], "end", "end", "open"),
    "an error": ([b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"], "end", "end", "open"),
    "a redirect": ([b"HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"], "end", "end", "open"),
    "204": ([b"HTTP/1.1 204 No Content\r\n\r\n"], "end", "end", "open"),
    "304": ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"], "end", "end", "open"),
    "until the connection ends": ([b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo"], "close", "end", "eof"),
    "Connection: close": (
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"], "close", "end", "eof",
    ),
    "FIN too early": ([STREAM, b"A\r\n0123"], "close", "close", "eof"),
    "FIN too early in a length": ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"], "close", "close", "eof"),
    "FIN instead of a response": ([], "close", "close", "eof"),
    "FIN within the head": ([STREAM[:30]], "close", "close", "eof"),
    "RST within a chunk": ([STREAM, b"A\r\n0123"], "reset", "reset", "reset"),
    "RST instead of a response": ([], "reset", "reset", "reset"),
    "a bad chunk size": ([STREAM, b"5\r\nhello\r\n", b"ZZ\r\nhello\r\n", b"more"], "close", "close", "eof"),
    "a chunk that is too long": ([STREAM, b"2\r\nhello\r\n", b"0\r\n\r\n"], "close", "close", "eof"),
    "no HTTP": ([b"SSH-2.0-OpenSSH\r\n", b"\x00\x01"], "close", "close", "eof"),
    "bytes after the end": ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1"], "end", "end", "eof"),
    "broken UTF-8": ([STREAM, b"2\r\n\xe2\x9c\r\n", b"1\r\n\x93\r\n0\r\n\r\n"], "end", "end", "open"),
}  # fmt: skip
"""What the upstream sends, how it ends (`end`: it does nothing more), what is recorded, what the client sees."""


@pytest.mark.parametrize(("pieces", "does", "ending", "sees"), CASES.values(), ids=CASES)
async def test_bytes_boundaries_and_ending_come_through(
    pieces: list[bytes], does: str, ending: str, sees: str, tmp_path: Path
) -> None:
    """Each of the upstream's writes reaches the client as it is, and is one read of the recording; so is its end."""
    async with exchange(tmp_path) as (tap, peer, _):
        size = 0
        for piece in pieces:
            await peer.send(piece)
            size += len(piece)
            await tap.until(lambda: len(tap.data) == size)  # noqa: B023  it is awaited here
        if does == "close":
            peer.writer.close()
        elif does == "reset":
            peer.reset()
        recording = await only(tmp_path)
        if sees != "open":
            assert await tap.end() == sees
        assert tap.ending == sees
        assert tap.data == b"".join(pieces)
        assert [read.data for read in tap.reads] == pieces
        assert [read.wire for read in recording.reads] == pieces
        assert recording.ending == ending


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    """Requests on one connection of the client go over one connection to the upstream, and each is a recording; a HEAD
    has no content."""
    async with (
        faking() as fake,
        recording_into(tmp_path, fake.port) as recorder,
        tapping(recorder.url, "GET", "HEAD", "POST") as tap,
    ):
        await tap.send(GET)
        peer = await fake.peer()
        for method, path, body in (
            (b"GET", b"/v1/stream", b"ab"),
            (b"HEAD", b"/a", b""),
            (b"POST", b"/b?c=1", b"ab"),
        ):
            if method != b"GET":
                await tap.send(b"%b %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" % (method, path))
            head, _ = await peer.request()
            assert head.startswith(b"%b %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (method, path, fake.port))
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)
            response = await tap.response()
            assert bytes(response.body) == body
        peer.writer.close()
        assert await tap.end() == "eof"  # the idle connection ends as the upstream's does
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["0001-v1-stream.ndjson", "0002-a.ndjson", "0003-b.ndjson"]
    assert [recording.request.method for recording in load_folder(tmp_path)] == ["GET", "HEAD", "POST"]
    assert load_folder(tmp_path)[2].request.body == b"{}"


@pytest.mark.parametrize("resets", [False, True])
async def test_a_client_that_leaves_leaves_the_upstream(resets: bool, tmp_path: Path) -> None:
    """While the upstream streams and while it is silent: its connection ends, and the recording says why."""
    async with exchange(tmp_path) as (tap, peer, _):
        await peer.send(STREAM + b"1\r\na\r\n")
        await tap.until(lambda: tap.data.endswith(b"a\r\n"))
        (tap.reset if resets else tap.close)()
        await peer.gone()
        recording = await only(tmp_path)
        assert recording.ending == "client-left"
        assert recording.content == b"a"


async def test_silence_is_given_up_where_that_is_asked_for(tmp_path: Path) -> None:
    """After so many seconds without a byte the upstream is given up, and the client's connection is reset."""
    async with exchange(tmp_path, silence=0.05) as (tap, peer, _):
        await peer.send(STREAM)
        assert await tap.end() == "reset"
        recording = await only(tmp_path)
        assert recording.ending == "timeout"
        assert recording.ending_gap >= 0.05
        await peer.gone()


async def test_what_the_client_sends_comes_through(tmp_path: Path) -> None:
    """Headers in order and case, without those of the connection; bodies with a length, in chunks, and packed."""
    packed = gzip.compress(b'{"packed":1}')
    requests = [
        (b"Content-Length: 5\r\n", b"hello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed), packed, packed),
        (b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello", b"hello"),
    ]
    shape = b"POST /v1/x%%20y?b=%%2F HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nx-TWO:  2\r\n"
    shape += b"Connection: x-hop\r\nX-Hop: 1\r\n"
    shape += b"Accept-Encoding: gzip, br\r\nAuthorization: Bearer abcdefghijkl\r\n%b\r\n%b"
    async with faking() as fake, recording_into(tmp_path, fake.port) as recorder:
        for fields, body, expected in requests:
            async with tapping(recorder.url, "POST") as tap:
                await tap.send(shape % (fields, body))
                peer = await fake.peer()
                head, sent = await peer.request()
                assert sent == expected
                lines = head.decode().split("\r\n")
                assert lines[0] == "POST /v1/x%20y?b=%2F HTTP/1.1"
                assert {"X-One: 1", "Authorization: Bearer abcdefghijkl", "Accept-Encoding: identity"} <= set(lines)
                assert not any(
                    line.lower().startswith(("x-hop", "expect", "connection", "host: localhost")) for line in lines
                )
                await peer.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                await tap.end()
    bodies = [recording.request.body for recording in load_folder(tmp_path)]
    assert bodies == [b"hello", b"hello", b'{"packed":1}', b"hello"]
    assert all(recording.request.target == "/v1/x%20y?b=%2F" for recording in load_folder(tmp_path))


async def test_an_answer_may_come_before_the_question_is_over(tmp_path: Path) -> None:
    """An upstream that refuses a body half way is heard; the connection is not used again."""
    request = b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"a" * 1000
    async with faking() as fake, recording_into(tmp_path, fake.port) as recorder, tapping(recorder.url, "POST") as tap:
        await tap.send(request)
        peer = await fake.peer()
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.reader.readexactly(1000)
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        response = await tap.response()
        assert response.status == 413
        recording = await only(tmp_path)
        assert recording.request.body == b"a" * 1000
        await peer.gone()


def resident() -> int:
    """Bytes of memory that this process has now; where the system does not tell, the most that it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_large_bodies_take_little_memory(direction: str, tmp_path: Path) -> None:
    """32 MiB stream through and onto the disk, down and up, while this process never grows by a third of that."""
    size, block = 32 << 20, os.urandom(1 << 16)
    before = resident()
    most = 0
    async with faking() as fake, recording_into(tmp_path, fake.port) as recorder:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(recorder.url.rpartition(":")[2]))
        down = direction == "down"
        writer.write(GET if down else b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
        peer = await fake.peer()
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert head
        if down:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            await reader.readuntil(b"\r\n\r\n")
        source, sink = (peer.writer, reader) if down else (writer, peer.reader)

        async def fill() -> None:
            for _ in range(size // len(block)):
                source.write(block)
                await source.drain()

        async def empty() -> int:
            nonlocal most
            left = size
            while left and (data := await sink.read(1 << 20)):
                left -= len(data)
                most = max(most, resident())
            return left

        _, left = await asyncio.gather(fill(), empty())
        assert left == 0
        if not down:
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        peer.writer.close()
        assert recorder.failures == 0
    [path] = tmp_path.iterdir()
    assert path.stat().st_size > size * 1.25
    assert most - before < size // 3, f"{most - before} bytes"
    path.unlink()


async def test_exchanges_overlap(tmp_path: Path) -> None:
    """Twenty at once, answered in another order: each recording has its own request and reply."""
    async with faking() as fake, recording_into(tmp_path, fake.port) as recorder, contextlib.AsyncExitStack() as stack:
        taps = [await stack.enter_async_context(tapping(recorder.url)) for _ in range(20)]
        for number, tap in enumerate(taps):
            await tap.send(b"GET /n/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
        peers = [await fake.peer() for _ in taps]
        random.Random(1).shuffle(peers)
        paths = [(await peer.request())[0].split()[1] for peer in peers]
        for peer in peers:
            await peer.send(STREAM)
        for peer, path in zip(peers, paths, strict=True):
            await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(path), path))
        for number, tap in enumerate(taps):
            assert bytes((await tap.response(0)).body) == b"/n/%d" % number
    recordings = load_folder(tmp_path)
    assert sorted(recording.content for recording in recordings) == sorted(b"/n/%d" % number for number in range(20))
    assert all(recording.content.decode() == recording.request.target for recording in recordings)


async def test_times_are_those_of_the_upstream(tmp_path: Path) -> None:
    """Gaps are counted from the complete request; what the upstream waited is in them."""
    async with exchange(tmp_path) as (tap, peer, _):
        await asyncio.sleep(0.05)
        await peer.send(STREAM)
        await asyncio.sleep(0.1)
        await peer.send(b"0\r\n\r\n")
        await tap.until(lambda: tap.data.endswith(b"0\r\n\r\n"))
        recording = await only(tmp_path)
    first, second = recording.reads
    assert first.gap >= 0.045
    assert second.gap >= 0.095


# ------------------------------------------------------------------------------------------------ content codings


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "two members"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_packed_content_is_stored_unpacked(coding: str, framing: str, tmp_path: Path) -> None:
    """The client has the packed bytes; the recording has the content, with its secrets masked, and says so."""
    text = b'data: {"key":"sk-abcdefghijklmnop"}\n\n' * 50
    if coding == "raw deflate":
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(text) + packer.flush()
    elif coding == "two members":
        packed = gzip.compress(text[:100]) + gzip.compress(text[100:])
    else:
        packed = (gzip if coding == "gzip" else zlib).compress(text)
    name = {"raw deflate": "deflate", "two members": "gzip"}.get(coding, coding)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nX: 1\r\n"
    head += {"chunked": "Transfer-Encoding: chunked\r\n", "length": f"Content-Length: {len(packed)}\r\n", "close": ""}[
        framing
    ]
    parts = [packed[:20], packed[20:]]
    if framing == "chunked":
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]
    request = GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: br, gzip;q=0.5, deflate\r\n\r\n")
    async with (
        faking() as fake,
        recording_into(tmp_path, fake.port, keep_encoding=True) as recorder,
        tapping(recorder.url) as tap,
    ):
        await tap.send(request)
        peer = await fake.peer()
        asked, _ = await peer.request()
        assert b"Accept-Encoding: gzip;q=0.5, deflate\r\n" in asked
        for part in [head.encode() + b"\r\n", *parts]:
            await peer.send(part)
            await asyncio.sleep(0.002)
        if framing == "close":
            peer.writer.close()
        recording = await only(tmp_path)
        await tap.until(lambda: tap.data == head.encode() + b"\r\n" + b"".join(parts))
    assert recording.content == text.replace(b"abcdefghijklmnop", b"X" * 16)
    assert recording.decoded == name
    assert recording.synthetic == {"framing"}
    assert recording.complete
    [response] = parse(recording.wire)
    assert response.header("content-encoding") is None
    assert response.header("x") == "1"


async def test_what_cannot_be_looked_through_is_not_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown coding, or content that is not packed as it says: the client has it, the file has not."""
    for number, (coding, body) in enumerate([(b"br", b"0123456789"), (b"gzip", b"no gzip at all")], start=1):
        folder = tmp_path / str(number)
        async with exchange(folder) as (tap, peer, recorder):
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
            await peer.send(head)
            await peer.send(body)
            await tap.until(lambda: tap.data == head + body)  # noqa: B023  it is awaited here
            assert recorder.failures == 1
        [recording] = load_folder(folder)
        assert recording.ending is None
        assert body not in recording.wire
    assert "its content-encoding is br" in caplog.text
    assert "cannot be unpacked" in caplog.text

"""A real server seen by raw sockets: what each write carries, how connections end, who leaves, who is slow.

Server and observer share the test's loop (see `tests.wiretap`), so a promised write is one read, however busy the
machine. Faults of the lower levels are played by the player itself, on a small server of the test's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import zlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import HttpVersion11, web
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider import MockProvider, Text
from mockprovider.exchange import KEPT_BYTES, Exchange, SentLog
from mockprovider.gates import Gates
from mockprovider.pace import Chunking
from mockprovider.player import Player
from mockprovider.scheduler import LoopScheduler
from mockprovider.server.performing import Written
from mockprovider.timeline import NOWHERE, Close, End, Hang, Reset, Timed
from mockprovider.wire import Head, TransferEncoder
from tests.serving import serving
from tests.wiretap import PATIENCE, STRACE, Call, Parser, Response, Tap, calls, get, post, tapping

CHAT = "/v1/chat/completions"
REPLY = "Hello there, friend of the wire."


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of this file leaves an error in the log, nor a warning but that a loop blocked on purpose was late."""
    yield
    for record in (record for when in ("setup", "call") for record in caplog.get_records(when)):
        late = record.name == "asyncio" or "behind its times" in record.getMessage()
        assert record.levelno < (logging.ERROR if late else logging.WARNING), record.getMessage()


def ask(text: str = "hi", *, stream: bool = True, **fields: object) -> bytes:
    """The body of a request for a chat completion."""
    return json.dumps(
        {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}], **fields}
    ).encode()


def chunking(spec: str) -> str:
    """The header that asks for this chunking."""
    return f"x-mockprovider-chunking: {spec}"


def text(body: bytes | bytearray) -> str:
    """The answer's text, read from a stream of events or a whole document."""
    if body.startswith(b"{"):
        content = json.loads(body)["choices"][0]["message"]["content"]
        assert isinstance(content, str)
        return content
    events = bytes(body).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    documents = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    return "".join(document["choices"][0]["delta"].get("content") or "" for document in documents)


async def ended(provider: MockProvider, count: int = 1) -> list[Exchange]:
    """The exchanges, when so many have ended."""
    return await provider.wait_for_async(count, timeout=PATIENCE)


def seen(exchange: Exchange, tap: Tap, *, promised: bool = False) -> None:
    """Assert that the journal has what the wire carried: the same bytes, each read a write (or several, unpromised)."""
    sent = exchange.sent
    assert b"".join(sent.data) == tap.data
    assert sent.bytes == sum(sent.sizes) == len(tap.data)
    assert sent.writes == len(sent.sizes) == len(sent.times) == len(sent.deadlines)
    if promised:
        assert list(sent.sizes) == tap.sizes
    else:
        assert set(accumulate(tap.sizes)) <= set(accumulate(sent.sizes))


# ------------------------------------------------------------------------------------- boundaries of chunks and writes


async def test_a_short_reply_is_one_write() -> None:
    """A reply without gaps leaves in one write: head, events and terminating chunk."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(ask()))
        assert tap.sizes == [response.ends]
        assert text(response.body) == REPLY
        seen((await ended(provider))[0], tap)


async def test_a_whole_reply_is_one_write() -> None:
    """A reply that is not streamed leaves in one write, its length declared."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(ask(stream=False)))
        assert (response.framing, tap.sizes) == ("length", [response.ends])
        assert text(response.body) == REPLY
        seen((await ended(provider))[0], tap)


async def test_events_in_time_are_chunks_in_time() -> None:
    """At a pace every event is an HTTP chunk, and each write that the journal shows was a read of whole chunks."""
    async with MockProvider(reply=REPLY, pace="ttft=0.004,itl=0.004") as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(ask()))
        assert all(piece.startswith(b"data: ") and piece.endswith(b"\n\n") for piece in response.pieces)
        assert len(tap.reads) > 4
        assert set(accumulate(tap.sizes)) <= {*response.chunk_ends, response.ends}
        seen((await ended(provider))[0], tap)


async def _writes(spec: str, *, pace: str = "instant") -> tuple[Response, list[bytes]]:
    """A response with this chunking, and what came after its head, read by read."""
    async with MockProvider(seed=1, reply=REPLY, pace=pace) as provider, tapping(provider.url, keen=True) as tap:
        response = await tap.ask(post(ask(), chunking(spec)))
        assert text(response.body) == REPLY
        seen((await ended(provider))[0], tap, promised=True)
        assert tap.reads[0].data == tap.data[: response.head_ends], "the head leaves before the first promised write"
        return response, [read.data for read in tap.reads[1:]]


def framed(chunk: bytes) -> bytes:
    """An HTTP chunk on the wire, RFC 9112 section 7.1."""
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


@pytest.mark.parametrize("pace", ["instant", "itl=0.003"])
async def test_one_chunk_a_write(pace: str) -> None:
    """With chunks_per_write=1 each chunk is one read, and so is the terminating one."""
    response, reads = await _writes("chunks_per_write=1,apart=0.002", pace=pace)
    assert reads == [*map(framed, response.pieces), b"0\r\n\r\n"]
    assert len(reads) > 5


async def test_several_chunks_a_write() -> None:
    """With chunks_per_write=3 three chunks are one read; the last promised write carries what is left."""
    response, reads = await _writes("chunks_per_write=3,apart=0.002")
    chunks = [framed(piece) for piece in response.pieces]
    assert reads == [*(b"".join(chunks[at : at + 3]) for at in range(0, len(chunks), 3)), b"0\r\n\r\n"]


async def test_a_chunk_over_several_writes() -> None:
    """With chunks_per_write=1/3 each chunk comes in three reads, so that a client sees its framing torn."""
    response, reads = await _writes("chunks_per_write=1/3,apart=0.001")
    assert len(reads) == 3 * len(response.chunks) + 1
    assert [b"".join(reads[at : at + 3]) for at in range(0, len(reads) - 1, 3)] == [*map(framed, response.pieces)]


async def test_an_event_over_several_chunks_and_writes() -> None:
    """With payloads_per_chunk=1/3 too, each event is three chunks, and each of these one read."""
    response, reads = await _writes("payloads_per_chunk=1/3,chunks_per_write=1,apart=0.001")
    assert reads[:-1] == [*map(framed, response.pieces)]
    events = [b"".join(response.pieces[at : at + 3]) for at in range(0, len(response.pieces), 3)]
    assert all(event.startswith(b"data: ") and event.count(b"\n\n") == 1 for event in events)


async def test_several_payloads_a_chunk() -> None:
    """With payloads_per_chunk=2 two events are one chunk and one read."""
    response, reads = await _writes("payloads_per_chunk=2,chunks_per_write=1,apart=0.001")
    assert reads[:-1] == [*map(framed, response.pieces)]
    assert {piece.count(b"\n\n") for piece in response.pieces[:-1]} == {2}


async def test_several_tokens_a_payload() -> None:
    """With tokens_per_payload=3 an event carries three tokens of text, and there are as many fewer."""
    one, _ = await _writes("tokens_per_payload=1,chunks_per_write=1,apart=0.001")
    three, _ = await _writes("tokens_per_payload=3,chunks_per_write=1,apart=0.001")
    # Role, finish and [DONE] carry no tokens.
    assert len(three.pieces) - 3 == -(-(len(one.pieces) - 3) // 3)


async def test_unjoined_chunks() -> None:
    """With join=false each chunk leaves by a write of its own, though no pause keeps them apart at the reader."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(ask(), chunking("join=false")))
        sent = (await ended(provider))[0].sent
        assert list(sent.sizes) == [response.head_ends, *(len(framed(piece)) for piece in response.pieces), 5]
        assert b"".join(sent.data) == tap.data


async def test_promised_writes_stay_apart_when_the_loop_is_late() -> None:
    """Where the loop was blocked past many deadlines, what was promised apart still comes read by read."""
    pace = "ttft=0.002,itl=0.002"
    async with MockProvider(reply=REPLY, pace=pace) as provider, tapping(provider.url, keen=True) as tap:
        await tap.send(post(ask(), chunking("chunks_per_write=1,apart=0.001")))
        await tap.until(lambda: len(tap.reads) >= 3)
        time.sleep(0.03)
        response = await tap.response(0)
        chunks = [framed(piece) for piece in response.pieces]
        assert [read.data for read in tap.reads] == [tap.data[: response.head_ends], *chunks, b"0\r\n\r\n"]
        exchange = (await ended(provider))[0]
        assert all(after - before >= 0.001 for before, after in pairwise(exchange.sent.times))
        assert exchange.sent.worst > 0.01, "the loop was late, or this test shows nothing"


async def test_joinable_writes_leave_as_one_when_the_loop_is_late() -> None:
    """Where nothing was promised, all that became due while the loop was blocked leaves in one write."""
    reply = " a" * 40
    async with MockProvider(reply=reply, pace="ttft=0.005,itl=0.005") as provider, tapping(provider.url) as tap:
        await tap.send(post(ask()))
        await tap.until(lambda: tap.reads)
        time.sleep(0.06)
        since = time.monotonic()
        assert text((await tap.response(0)).body) == reply
        exchange = (await ended(provider))[0]
        writes = zip(exchange.sent.times, exchange.sent.deadlines, strict=True)
        assert len([time for time, deadline in writes if time >= since > deadline]) == 1
        seen(exchange, tap)


# ------------------------------------------------------------------------------------------------- on time


async def test_the_plan_is_kept_exactly() -> None:
    """The deadlines of a stream are its pacing added up from the request on, to the last bit; no write is early."""
    ttft, itl = 0.011, 0.0037
    async with MockProvider(reply=REPLY, pace=f"ttft={ttft},itl={itl}") as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(ask(), chunking("chunks_per_write=1,apart=0")))
        exchange = (await ended(provider))[0]
        # Head, role and first token together; then a gap a token; finish and [DONE] together; the end with them.
        tokens = len(response.pieces) - 3
        plan = [*accumulate([ttft, *[itl] * tokens], initial=exchange.started)][1:]
        assert list(exchange.sent.deadlines) == [*plan[:1] * 2, *plan[:-1], *plan[-1:] * 3]
        assert min(exchange.sent.lateness) >= 0
        # A write has come when its last byte has; at the reader, too, none was early.
        come = list(accumulate(tap.sizes))
        for end, deadline in zip(accumulate(exchange.sent.sizes), exchange.sent.deadlines, strict=True):
            assert tap.reads[bisect_left(come, end)].time >= deadline


async def test_streams_do_not_drift() -> None:
    """Lateness does not add up: at the end of a stream it is that of the beginning, within a gap."""
    itl, tokens = 0.008, 60
    reply = " a" * tokens
    async with MockProvider(reply=reply, pace=f"ttft=0.01,itl={itl}") as provider, contextlib.AsyncExitStack() as stack:
        taps = [await stack.enter_async_context(tapping(provider.url)) for _ in range(5)]
        for tap in taps:
            await tap.send(post(ask(), chunking("chunks_per_write=1,apart=0")))
        for tap in taps:
            assert text((await tap.response(0)).body) == reply
        for exchange in await ended(provider, len(taps)):
            assert len(exchange.sent.deadlines) >= tokens
            # The least of each half tells what accumulates; what the machine does in between is its business.
            first, last = exchange.sent.lateness[: tokens // 2], exchange.sent.lateness[-tokens // 2 :]
            assert min(last) - min(first) < itl


# ------------------------------------------------------------------------------------------ the four endings


class Stagehand:
    """A server of the test's own, whose handler plays given timelines, one a request, at the lowest level."""

    def __init__(self) -> None:
        self.scheduler = LoopScheduler(asyncio.get_running_loop())
        self.gates = Gates()
        self.timelines: list[Iterable[Timed[Any]]] = []
        self.players: list[Player] = []
        self.logs: list[SentLog] = []
        self.left = asyncio.Event()
        self.url = ""

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        transfer = TransferEncoder(Chunking(), chunked=request.version >= HttpVersion11, keep=request.keep_alive)
        log = SentLog()
        player = Player(
            transfer.through(iter(self.timelines.pop(0))),
            request.transport,
            request.protocol,
            self.scheduler,
            log,
            self.gates,
            self.scheduler.now(),
        )
        self.players.append(player)
        self.logs.append(log)
        try:
            await player.play(request.writer.drain)
        except asyncio.CancelledError:
            self.left.set()
            raise
        return Written(keep=transfer.keeps and player.outcome == "complete")


@contextlib.asynccontextmanager
async def playing(*timelines: Iterable[Timed[Any]]) -> AsyncIterator[Stagehand]:
    """A server that answers its requests with these timelines, in order."""
    hand = Stagehand()
    hand.timelines = list(timelines)
    server = web.Server(hand._handle, handler_cancellation=True, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    hand.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield hand
    finally:
        listening.close()
        for player in hand.players:
            player.stop()
        await server.shutdown(0.05)
        hand.scheduler.close()


HEAD = Head(200, (("Content-Type", "text/event-stream"),))
REQUEST = get("/")


def scene(*items: object, gap: float = 0.0) -> list[Timed[Any]]:
    """A head at once, then items, each so long after the one before."""
    return [(0.0, HEAD, NOWHERE), *((gap, item, (0, number)) for number, item in enumerate(items))]


async def test_end_keeps_the_connection() -> None:
    """After End the same connection answers the next request, and the one after it."""
    async with playing(*[scene(b"one", b"two", End(), gap=0.001)] * 3) as hand, tapping(hand.url) as tap:
        for _ in range(3):
            assert bytes((await tap.ask(REQUEST)).body) == b"onetwo"
        assert tap.ending == "open"
        assert [player.outcome for player in hand.players] == ["complete"] * 3


async def test_close_is_fin_without_the_last_chunk() -> None:
    """Close is FIN: everything written arrives, the terminating chunk never does, and the end is no reset."""
    async with playing(scene(b"one", b"two", Close(), gap=0.001)) as hand, tapping(hand.url) as tap:
        await tap.send(REQUEST)
        assert await tap.end() == "eof"
        (response,) = tap.parser.responses
        assert (response.pieces, response.ends) == ([b"one", b"two"], None)
        assert not tap.data.endswith(b"0\r\n\r\n")
        assert hand.players[0].outcome == "closed"


async def test_close_after_much() -> None:
    """Close flushes what a slow reader has not taken yet, then FIN follows."""
    big = b"x" * 12_000_000
    async with playing(scene(big, Close())) as hand, tapping(hand.url, receive_buffer=4096, reading=False) as tap:
        await tap.send(REQUEST)
        await _until(lambda: hand.players and hand.players[0]._transport.get_write_buffer_size())
        tap.resume()
        assert await tap.end() == "eof"
        assert bytes(tap.parser.responses[0].body) == big


async def test_reset_is_rst_after_the_last_byte() -> None:
    """Reset is ECONNRESET at the client, after every byte before it."""
    async with playing(scene(b"one", b"two", Reset(), gap=0.001)) as hand, tapping(hand.url) as tap:
        await tap.send(REQUEST)
        assert await tap.end() == "reset"
        assert tap.parser.responses[0].pieces == [b"one", b"two"]
        assert b"".join(hand.logs[0].data) == tap.data
        assert hand.players[0].outcome == "reset"


async def test_reset_in_the_same_breath() -> None:
    """A reset that is due with the bytes before it does not overtake them."""
    async with playing(scene(b"x" * 100_000, Reset())) as hand, tapping(hand.url) as tap:
        await tap.send(REQUEST)
        assert await tap.end() == "reset"
        assert tap.parser.responses[0].chunks == [100_000]


@pytest.mark.parametrize("size", [200_000, 12_000_000])
async def test_reset_waits_for_a_slow_reader(size: int) -> None:
    """However slow the reader, all bytes before a reset arrive first, also when it pauses for long."""
    big = b"x" * size
    async with playing(scene(big, Reset())) as hand, tapping(hand.url, receive_buffer=4096, reading=False) as tap:
        await tap.send(REQUEST)
        await asyncio.sleep(1.2)
        assert hand.players[0].outcome is None
        tap.resume()
        assert await tap.end() == "reset"
        assert bytes(tap.parser.responses[0].body) == big


async def test_reset_before_any_byte() -> None:
    """A reset may come instead of a head."""
    async with playing([(0.0, Reset(), NOWHERE)]) as hand, tapping(hand.url) as tap:
        await tap.send(REQUEST)
        assert await tap.end() == "reset"
        assert tap.data == b""


async def test_hang_waits_for_the_client() -> None:
    """Hang leaves the connection open and silent until the client leaves, which is noticed at once."""
    async with playing(scene(b"one", Hang())) as hand, tapping(hand.url) as tap:
        await tap.send(REQUEST)
        await tap.until(lambda: tap.parser.responses and tap.parser.responses[0].chunks)
        with pytest.raises(AssertionError, match="open; came"):
            await tap.end(timeout=0.05)
        assert hand.players[0].outcome is None
        tap.close()
        async with asyncio.timeout(PATIENCE):
            await hand.left.wait()
        assert hand.players[0].outcome == "client-left"


async def _until(condition: Callable[[], object]) -> None:
    """Wait until a condition on the server's side is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


# ---------------------------------------------------------------------------------------- connections that go on


async def test_many_requests_on_one_connection() -> None:
    """Streams, whole replies, errors, HEAD and preflights follow one another on one connection."""
    async with MockProvider(reply=REPLY) as provider:
        requests = [
            ("POST", post(ask()), 200),
            ("POST", post(ask(stream=False)), 200),
            ("POST", post(b"{"), 400),
            ("POST", post(ask(), path="/v1/nowhere"), 404),
            ("HEAD", get("/v1/models", method="HEAD"), 200),
            ("DELETE", get(CHAT, method="DELETE"), 405),
            ("OPTIONS", get(CHAT, "Origin: http://example.com", method="OPTIONS"), 204),
            ("GET", get("/v1/models"), 200),
            ("POST", post(ask(), chunking("chunks_per_write=1/2")), 200),
        ]
        async with tapping(provider.url, *(method for method, _, _ in requests)) as tap:
            for _, request, status in requests:
                assert (await tap.ask(request)).status == status
            assert tap.ending == "open"
            assert tap.parser.idle
        exchanges = await ended(provider, len(requests))
        assert [exchange.outcome for exchange in exchanges] == ["complete"] * len(requests)
        assert b"".join(part for exchange in exchanges for part in exchange.sent.data) == tap.data


async def test_pipelined_requests() -> None:
    """Requests that come together are answered in order, each answer complete before the next begins."""
    async with MockProvider(pace="itl=0.001") as provider:
        for word in ("one", "two", "three"):
            provider.on(last=word).reply(f"You said {word}.")
        async with tapping(provider.url) as tap:
            await tap.send(b"".join(post(ask(word, stream=word != "two")) for word in ("one", "two", "three")))
            answers = [text((await tap.response(number)).body) for number in range(3)]
            assert answers == ["You said one.", "You said two.", "You said three."]
            assert tap.ending == "open"


async def test_connection_close_is_honoured() -> None:
    """Where the client asks for it, the connection ends after the answer."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(ask(), "Connection: close"))
        assert response.header("connection") == "close"
        assert text(response.body) == REPLY
        assert await tap.end() == "eof"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("keep", [True, False])
async def test_http_1_0(stream: bool, keep: bool) -> None:
    """An HTTP/1.0 client gets no chunking; a stream ends with its connection, a declared length may outlive it."""
    headers = ["Connection: keep-alive"] if keep else []
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        await tap.send(post(ask(stream=stream), *headers, version="1.0"))
        response = await tap.response(0)
        assert response.framing == ("close" if stream else "length")
        assert response.header("transfer-encoding") is None
        assert text(response.body) == REPLY
        if keep and not stream:
            assert response.header("connection") == "keep-alive"
            assert (await tap.ask(post(ask(stream=False), *headers, version="1.0"))).status == 200
        else:
            assert response.header("connection") == "close"
            assert await tap.end() == "eof"


async def test_http_1_0_keeps_its_boundaries() -> None:
    """Without chunks a promised write still is one read."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url, keen=True) as tap:
        response = await tap.ask(post(ask(), chunking("chunks_per_write=1"), version="1.0"))
        events = bytes(response.body).split(b"\n\n")[:-1]
        assert [read.data for read in tap.reads[1:]] == [event + b"\n\n" for event in events]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x", CHAT, "/nowhere"])
async def test_head(path: str) -> None:
    """HEAD gets the head that GET would get, and no body; the connection goes on."""
    async with MockProvider() as provider, tapping(provider.url, "HEAD", "GET") as tap:
        head, full = await tap.ask(get(path, method="HEAD")), await tap.ask(get(path))
        assert head.status == full.status
        assert head.framing == "none"
        if path.startswith("/v1/models"):
            assert head.header("content-length") == str(len(full.body))


# ----------------------------------------------------------------------------------------------- request bodies


async def test_expect_100_continue() -> None:
    """A client that waits for leave to send its body gets it before the body, and then its answer."""
    body = ask(stream=False)
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        for _ in range(2):
            before = len(tap.parser.responses)
            await tap.send(post(b"", "Expect: 100-continue", length=len(body)))
            await tap.until(lambda before=before: len(tap.parser.responses) > before)  # type: ignore[misc]
            assert tap.parser.responses[-1].status == 100
            assert text((await tap.ask(body)).body) == REPLY
        assert [response.status for response in tap.parser.responses] == [100, 200, 100, 200]


async def test_expectation_of_an_old_client() -> None:
    """An HTTP/1.0 client gets no interim response, which it could not understand (RFC 9110 section 10.1.1)."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        await tap.ask(post(ask(stream=False), "Expect: 100-continue", version="1.0"))
        assert [response.status for response in tap.parser.responses] == [200]


@pytest.mark.parametrize(("path", "length", "status"), [("/v1/nowhere", 100, 404), (CHAT, 1 << 40, 413)])
async def test_expectation_refused(path: str, length: int, status: int) -> None:
    """Where the answer comes instead of leave to send, the body is not asked for and the connection is not kept."""
    async with MockProvider() as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(b"", "Expect: 100-continue", path=path, length=length))
        assert (response.status, response.header("connection")) == (status, "close")
        assert len(tap.parser.responses) == 1


async def test_absolute_form() -> None:
    """A proxy's way to name the target is understood (RFC 9112 section 3.2.2)."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        for form in (f"http://localhost{CHAT}", f"HTTP://127.0.0.1:{provider.url.rpartition(':')[2]}{CHAT}"):
            assert text((await tap.ask(post(ask(stream=False), path=form))).body) == REPLY


async def test_chunked_request_body() -> None:
    """A request body may come chunked, with extensions and trailers."""
    body = ask(stream=False)
    wire = b'7;a=b;c="d"\r\n' + body[:7] + b"\r\n" + framed(body[7:]) + b"0\r\nx-sum: 1\r\n\r\n"
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        for _ in range(2):
            response = await tap.ask(post(b"", "Transfer-Encoding: chunked", length=None) + wire)
            assert text(response.body) == REPLY
        assert (await ended(provider))[0].body == body


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_request_body(coding: str) -> None:
    """A compressed request body is understood, and the journal has it as it was meant."""
    body = ask("hi " * 500, stream=False)
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        assert text((await tap.ask(post(packed, f"Content-Encoding: {coding}"))).body) == REPLY
        assert (await ended(provider))[0].body == body


async def test_badly_compressed_request_body() -> None:
    """A body that does not decompress is the client's mistake: a readable 400, no defect of ours."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        response = await tap.ask(post(b"nonsense", "Content-Encoding: gzip"))
        assert response.status == 400
        assert "encoded" in json.loads(response.body)["error"]["message"]
        assert await tap.end() == "eof"
        provider.check()


async def test_body_byte_by_byte() -> None:
    """A request may come one byte at a time, head and body."""
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        for byte in post(ask()):
            await tap.send(bytes([byte]))
            await asyncio.sleep(0)
        assert text((await tap.response(0)).body) == REPLY


async def test_the_largest_body() -> None:
    """A body of 64 MiB is accepted, whole."""
    limit = 64 << 20
    start = ask("@")
    body = start.replace(b"@", b"x" * (limit - len(start) + 1))
    assert len(body) == limit
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        assert text((await tap.ask(post(body))).body) == REPLY
        (exchange,) = await ended(provider)
        assert exchange.body == body


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large(declared: bool) -> None:
    """A larger body is refused with a readable 413, declared or not, even while the client is still sending."""
    limit = 1 << 20
    async with MockProvider(reply=REPLY, body_limit=limit) as provider, tapping(provider.url) as tap:
        if declared:
            sending = asyncio.ensure_future(tap.send(post(b"x" * (limit + 1))))
        else:
            wire = framed(b"x" * 65_536) * 20 + b"0\r\n\r\n"
            sending = asyncio.ensure_future(tap.send(post(b"", "Transfer-Encoding: chunked", length=None) + wire))
        response = await tap.response(0)
        assert (response.status, response.header("connection")) == (413, "close")
        assert str(limit) in json.loads(response.body)["error"]["message"]
        await sending
        assert await tap.end() == "eof"


async def test_leaving_during_the_body() -> None:
    """A client that leaves before its body has come is journalled as having left."""
    async with MockProvider(reply=REPLY) as provider:
        async with tapping(provider.url) as tap:
            await tap.send(post(b"{", length=100))
            await _until(lambda: provider.exchanges)
        assert [exchange.outcome for exchange in await ended(provider)] == ["client-left"]


async def test_many_headers() -> None:
    """A hundred headers, a large one and a repeated one are no problem."""
    headers = [
        *(f"X-Header-{number}: {number}" for number in range(100)),
        "X-Large: " + "x" * 8000,
        "X-Header-0: again",
    ]
    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        assert text((await tap.ask(post(ask(), *headers))).body) == REPLY
        kept = (await ended(provider))[0].headers
        assert (kept["x-header-99"], len(kept["x-large"])) == ("99", 8000)


async def test_half_close() -> None:
    """A client that closes its sending side counts as having left; whatever it still gets is no nonsense."""
    async with MockProvider(reply=REPLY, pace="ttft=30") as provider:
        async with tapping(provider.url) as tap:
            await tap.send(post(ask()))
            await _until(lambda: provider.exchanges)
            tap.half_close()
            assert await tap.end() in ("eof", "reset")
        assert [exchange.outcome for exchange in await ended(provider)] == ["client-left"]
        async with tapping(provider.url) as tap:
            assert (await tap.ask(get("/v1/models"))).status == 200


TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "REPORT", "LINK", "SEARCH"]
PATHS = st.one_of(
    st.sampled_from([CHAT, "/v1/models", "/v1/models/", "/v1/models/x/y", "/", "//", "/~", "/~/v1/models", "/~x/v1"]),
    st.sampled_from(["/with/", "/with//v1/models", "/with/%28/v1/models", "/~x/with/nothing/v1", "/_mockery", "/v1"]),
    st.text("/abc~%25?=&;:@!$'()*+,-._0", max_size=30).map(lambda path: "/" + path),
)
BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=30),
    st.sampled_from([b"{}", b"[]", b"null", b'{"model":1}', ask(), ask(stream=False)]),
)
RESERVED = {"host", "content-length", "transfer-encoding", "expect", "upgrade", "connection", "content-encoding"}


@pytest.fixture(scope="module")
def threaded() -> Iterator[MockProvider]:
    """A server on a thread of its own, for tests that block."""
    with MockProvider(reply=REPLY) as provider:
        yield provider


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(METHODS),
    PATHS,
    st.lists(st.tuples(TOKEN, VALUE), max_size=5),
    BODIES,
    st.sampled_from(["1.0", "1.1"]),
)
def test_odd_requests(
    threaded: MockProvider, method: str, path: str, headers: list[tuple[str, str]], body: bytes, version: str
) -> None:
    """Whatever method, path, headers and body a well-formed request has: an answer, and a connection that goes on."""
    lines = [
        f"{name}: {value}" for name, value in headers if name.lower() not in RESERVED and not name.startswith("x-mock")
    ]
    start = [
        f"{method} {path} HTTP/{version}",
        "Host: localhost",
        "Connection: keep-alive",
        f"Content-Length: {len(body)}",
    ]
    request = "\r\n".join([*start, *lines]).encode("latin-1") + b"\r\n\r\n" + body
    port = int(threaded.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(request + get("/v1/models", "Connection: close"))
        parser = Parser(method)
        while data := client.recv(65_536):
            parser.feed(data)
        parser.eof()
    responses = parser.finished
    assert responses, "there is an answer"
    assert responses[0].status < 500
    if responses[0].header("connection") == "keep-alive":
        assert [response.status for response in responses[1:]] == [200]


def test_odd_requests_left_no_error(threaded: MockProvider) -> None:
    """None of the requests before this test was a defect on the server's side, and all of them have ended."""
    threaded.check()
    assert {exchange.outcome for exchange in threaded.exchanges} <= {"complete", None}


# -------------------------------------------------------------------------------------- clients that are slow or leave


class Endless:
    """An endless text that counts its pieces and tells when it was let go."""

    def __init__(self) -> None:
        self.pulled = 0
        self.closed = False

    def __call__(self) -> Iterator[str]:
        try:
            while True:
                self.pulled += 1
                yield " word"
        finally:
            self.closed = True


async def _steady(source: Endless) -> int:
    """How far a source was pulled, when it is pulled no more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            before = source.pulled
            await asyncio.sleep(0.03)
            if before == source.pulled:
                return before


@pytest.mark.parametrize("join", ["true", "false"])
async def test_a_reader_that_does_not_read(join: str) -> None:
    """An endless reply waits for its reader: while he does not read, nothing is rendered and nothing piles up."""
    source = Endless()
    async with MockProvider() as provider:
        provider.on().reply(Text(source))
        async with tapping(provider.url, receive_buffer=65_536, reading=False) as tap:
            await tap.send(post(ask(), chunking(f"join={join}")))
            stopped = await _steady(source)
            (exchange,) = provider.exchanges
            held = exchange.sent.bytes
            transport = next(iter(provider._running.playing.values()))[0]._transport
            assert transport.get_write_buffer_size() <= 64 * 1024
            assert exchange.outcome is None
            tap.resume()
            await tap.until(lambda: sum(tap.sizes) > held)
            assert source.pulled > stopped
            # Many times what the kernel holds has passed; what is kept of it is bounded.
            await tap.until(lambda: sum(tap.sizes) > 3 * held)
            assert sum(map(len, exchange.sent.data)) <= KEPT_BYTES
            tap.pause()
            await _steady(source)
            assert transport.get_write_buffer_size() <= 64 * 1024
            begins = b"".join(exchange.sent.data)
            assert tap.data.startswith(begins)
        await ended(provider)
        assert exchange.outcome == "client-left"
        await _until(lambda: source.closed)


async def test_writes_that_the_kernel_takes_in_part() -> None:
    """A reader that stops again and again gets every byte of a stream of unjoined writes, in order, and once."""
    words = "".join(f" w{number}" for number in range(12_000))
    async with MockProvider(reply=words) as provider:
        async with tapping(provider.url, receive_buffer=4096, reading=False) as tap:
            await tap.send(post(ask(), chunking("join=false")))
            for _ in range(20):
                seen = len(tap.data)
                tap.resume()
                await tap.until(lambda seen=seen: len(tap.data) > seen)  # type: ignore[misc]
                tap.pause()
                await asyncio.sleep(0.005)
            tap.resume()
            response = await tap.response()
        said = [json.loads(line[6:]) for line in response.body.decode().split("\n\n") if line.startswith("data: {")]
        assert "".join(each["choices"][0]["delta"].get("content") or "" for each in said) == words
        (exchange,) = await ended(provider)
        assert exchange.sent.bytes == len(tap.data) == sum(exchange.sent.sizes)
        # Head, every event, `[DONE]` among them, and the last chunk: a write each.
        assert exchange.sent.writes == len(response.chunks) + 2
        assert exchange.sent.blocked > 0


@pytest.mark.parametrize("join", ["true", "false"])
async def test_a_paced_stream_that_the_kernel_takes_in_part(join: str) -> None:
    """A client that cannot keep up with a fast pace gets every byte, in order, once, and the log says what it had."""
    words = "".join(f" w{number}" for number in range(12_000))
    async with MockProvider(reply=words, pace="itl=0.00005") as provider:
        async with tapping(provider.url, receive_buffer=4096, reading=False) as tap:
            await tap.send(post(ask(), chunking(f"join={join}")))
            await _until(lambda: bool(provider.exchanges) and _blocked(provider))
            tap.resume()
            response = await tap.response()
        assert text(response.body) == words
        (exchange,) = await ended(provider)
        assert exchange.sent.bytes == len(tap.data) == sum(exchange.sent.sizes)
        assert exchange.sent.blocked > 0


def _blocked(provider: MockProvider) -> bool:
    return any(player._blocked_since is not None for player, _ in provider._running.playing.values())


@pytest.mark.parametrize("join", ["true", "false"])
async def test_streams_that_are_due_together(join: str) -> None:
    """Of many streams in step, each token leaves by itself; some clients are gone in the middle, by FIN or RST, and
    none of the others loses or gets a byte for it."""
    reply = "".join(f" w{number}" for number in range(60))
    async with MockProvider(reply=reply, pace="ttft=0.05,itl=0.005") as provider, contextlib.AsyncExitStack() as stack:
        taps = [await stack.enter_async_context(tapping(provider.url)) for _ in range(24)]
        for tap in taps:
            await tap.send(post(ask(), chunking(f"join={join}")))
        for tap in taps:
            await tap.until(lambda tap=tap: len(tap.data) > 3000)  # type: ignore[misc]
        leavers, stayers = taps[::3], [tap for index, tap in enumerate(taps) if index % 3]
        for index, tap in enumerate(leavers):
            (tap.reset if index % 2 else tap.close)()
        for tap in stayers:
            assert text((await tap.response(0)).body) == reply
        exchanges = await ended(provider, len(taps))
        outcomes = [exchange.outcome for exchange in exchanges]
        assert (outcomes.count("complete"), outcomes.count("client-left")) == (len(stayers), len(leavers))
        assert sorted(tap.data for tap in stayers) == sorted(
            b"".join(exchange.sent.data) for exchange in exchanges if exchange.outcome == "complete"
        )
        for exchange in exchanges:
            sent = exchange.sent
            assert sent.writes == len(sent.times) == len(sent.deadlines) == len(sent.sizes) == len(sent.data)
            assert list(sent.deadlines) == sorted(sent.deadlines)
            assert min(sent.lateness) >= 0
        assert provider._running.playing == {}


@pytest.mark.parametrize("join", ["true", "false"])
async def test_streams_that_are_due_together_and_taken_in_part(join: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel takes some writes in part, or not at all for now, every stream still has all of its bytes."""
    write, calls = os.write, itertools.count()

    def some(descriptor: int, data: bytes) -> int:
        if b"chat.completion.chunk" not in data:
            return write(descriptor, data)
        number = next(calls)
        if number % 23 == 11:
            raise BlockingIOError
        return write(descriptor, data[: len(data) // 2] if number % 17 == 5 else data)

    reply = "".join(f" w{number}" for number in range(40))
    async with MockProvider(reply=reply, pace="ttft=0.05,itl=0.01") as provider, contextlib.AsyncExitStack() as stack:
        monkeypatch.setattr("os.write", some)
        taps = [await stack.enter_async_context(tapping(provider.url)) for _ in range(24)]
        for tap in taps:
            await tap.send(post(ask(), chunking(f"join={join}")))
        for tap in taps:
            assert text((await tap.response(0)).body) == reply
        exchanges = await ended(provider, len(taps))
        assert sorted(tap.data for tap in taps) == sorted(b"".join(exchange.sent.data) for exchange in exchanges)
    assert next(calls) > 500


async def test_speed_divides_the_gaps_of_a_pace() -> None:
    """At ten times the speed every token of a paced stream is due ten times as early."""
    async with MockProvider(reply=REPLY, pace="ttft=0.2,itl=0.05", speed=10) as provider, tapping(provider.url) as tap:
        await tap.ask(post(ask()))
        [exchange] = await ended(provider)
        since = [deadline - exchange.started for deadline in exchange.sent.deadlines]
        assert since == pytest.approx([0.02 + 0.005 * number for number in range(len(since))], abs=1e-6)
        assert len(since) > 3


async def test_a_player_hears_of_the_loss_while_its_socket_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a client leaves, nothing is ready to be written any more before the descriptor can become another's."""
    lost: list[tuple[bool, object]] = []
    told = Player.lost

    def tell(player: Player) -> None:
        os.fstat(player._socket)
        told(player)
        lost.append((player.direct, player._ready))

    monkeypatch.setattr(Player, "lost", tell)
    async with MockProvider(reply="w " * 400, pace="itl=0.005") as provider, tapping(provider.url) as tap:
        await tap.send(post(ask()))
        await tap.until(lambda: len(tap.reads) > 3)
        [(player, _)] = provider._running.playing.values()
        assert (player.direct, player._ready is not None) == (True, True)
        tap.reset()
        await ended(provider)
    assert lost == [(False, None)]


async def test_a_whole_reply_that_the_kernel_takes_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that is kept as one write arrives whole, whatever the kernel takes at once; the log tells both parts."""
    write, taken = os.write, iter([7, 0])

    def some(descriptor: int, data: bytes) -> int:
        if data.startswith(b"HTTP/1.1 200") and (size := next(taken, None)) is not None:
            if not size:
                raise BlockingIOError
            return write(descriptor, data[:size])
        return write(descriptor, data)

    async with MockProvider(reply=REPLY) as provider, tapping(provider.url) as tap:
        monkeypatch.setattr("os.write", some)
        for kept in ([7], [], []):
            before = len(tap.data)
            response = await tap.ask(post(ask(stream=False)))
            assert text(response.body) == REPLY
            (exchange,) = await ended(provider)
            assert exchange.sent.bytes == len(tap.data) - before == sum(exchange.sent.sizes)
            assert list(exchange.sent.sizes[:-1]) == kept
            assert exchange.outcome == "complete"
            provider.reset()


LEAVING = {
    "in the stream": ("itl=0.002", None, 1),
    "before the first token": ("ttft=3600", None, 0),
    "between tokens": ("itl=3600", None, 1),
    "at a gate": ("instant", "after-first-token", 1),
    "at the first gate": ("instant", "before-head", 0),
    "after the head": ("ttft=3600,head=0", None, 1),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("where", list(LEAVING))
async def test_a_client_that_leaves(where: str, how: str) -> None:
    """A client that leaves is noticed at once, journalled with what was sent, and nothing is rendered any more."""
    pace, gate, reads = LEAVING[where]
    source = Endless()
    async with MockProvider(pace=pace) as provider:
        provider.on().reply(Text(source))
        if gate:
            provider.hold(gate)
        async with tapping(provider.url) as tap:
            await tap.send(post(ask()))
            await _until(lambda: provider.exchanges and provider.exchanges[0].status == 200)
            await tap.until(lambda: len(tap.reads) >= reads)
            if gate:
                await _until(lambda: provider._running.gates.waiting() == {gate: 1})
            getattr(tap, how)()
            (exchange,) = await ended(provider)
            pulled = source.pulled
            assert exchange.outcome == "client-left"
            assert b"".join(exchange.sent.data).startswith(tap.data)
            assert exchange.sent.bytes == sum(exchange.sent.sizes)
            assert len(provider._in_loop.handler.scheduler) == 0  # type: ignore[arg-type]
            assert not provider._running.playing
            if gate:
                assert provider._running.gates.waiting() == {gate: 0}
            await _until(lambda: source.closed or not pulled)
            assert source.pulled == pulled


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_leaving_while_not_reading(how: str) -> None:
    """A client that leaves while the server waits for it to read is noticed at once as well."""
    source = Endless()
    async with MockProvider() as provider:
        provider.on().reply(Text(source))
        async with tapping(provider.url, receive_buffer=65_536, reading=False) as tap:
            await tap.send(post(ask()))
            pulled = await _steady(source)
            getattr(tap, how)()
            (exchange,) = await ended(provider)
        assert exchange.outcome == "client-left"
        await _until(lambda: source.closed)
        assert source.pulled == pulled


async def test_other_streams_flow_while_one_is_endless() -> None:
    """A stream without gaps or end leaves others their turn."""
    async with MockProvider() as provider:
        provider.on(last="endless").reply(Text(Endless()))
        provider.on().reply(REPLY)
        async with tapping(provider.url) as greedy, tapping(provider.url) as other:
            await greedy.send(post(ask("endless")))
            await greedy.until(lambda: greedy.reads)
            for _ in range(5):
                assert text((await other.ask(post(ask()))).body) == REPLY


async def test_stopping_ends_every_stream() -> None:
    """Stopping the server ends streams wherever they are, at once, and says so in the journal."""
    source = Endless()
    provider = MockProvider(pace="ttft=3600")
    provider_started = await provider.__aenter__()
    try:
        provider_started.on(last="blocked").reply(Text(source), pace="instant")
        provider_started.on().reply(REPLY)
        async with (
            tapping(provider.url) as silent,
            tapping(provider.url, reading=False, receive_buffer=65_536) as blocked,
        ):
            await silent.send(post(ask()))
            await blocked.send(post(ask("blocked")))
            await _steady(source)
            exchanges = provider.exchanges
            assert [exchange.outcome for exchange in exchanges] == [None, None]
            await asyncio.wait_for(provider.__aexit__(None, None, None), PATIENCE)
            assert [exchange.outcome for exchange in exchanges] == ["stopped", "stopped"]
            assert await silent.end() in ("eof", "reset")
    finally:
        await provider.__aexit__(None, None, None)


# --------------------------------------------------------------------------------------- the kernel as a witness


class Traced:
    """A server under strace, and what the kernel says it sent."""

    def __init__(self, url: str, trace: Path) -> None:
        self.url = url
        self.trace = trace

    async def ask(self, request: bytes) -> tuple[Response, list[bytes]]:
        """A response, and the data of each call that sent some of it."""
        async with tapping(self.url) as tap:
            response = await tap.ask(request)
            port = tap.sock.getsockname()[1]

            def made() -> list[Call]:
                return [call for call in calls(self.trace.read_bytes()) if call.peer == port]

            await _until(lambda: sum(call.returned for call in made()) >= len(tap.data))
            assert b"".join(call.data for call in made()) == tap.data
            assert all(call.returned == len(call.data) for call in made())
            return response, [call.data for call in made()]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """`mockprovider serve` in a process of its own, watched by strace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace processes here")
    trace = tmp_path_factory.mktemp("strace") / "trace"
    serve = (sys.executable, "-m", "mockprovider", "serve", "--port", "0", "--reply", REPLY)
    with serving(strace, *STRACE, "-o", str(trace), *serve) as server:
        yield Traced(server.url, trace)


async def test_kernel_one_send_a_reply(traced: Traced) -> None:
    """A short reply without gaps, an error or a whole reply is one system call, head and terminator included."""
    for request in (post(ask()), post(ask(stream=False)), post(ask(), path="/nowhere"), post(ask(), version="1.0")):
        _, sent = await traced.ask(request)
        assert len(sent) == 1


async def test_kernel_one_send_a_chunk(traced: Traced) -> None:
    """Each chunk that must not be joined is a system call of its own, without any pause between."""
    response, sent = await traced.ask(post(ask(), chunking("join=false")))
    assert sent[1:] == [*map(framed, response.pieces), b"0\r\n\r\n"]


@pytest.mark.parametrize(
    "spec", ["chunks_per_write=2", "chunks_per_write=1/2", "payloads_per_chunk=1/3,chunks_per_write=1"]
)
async def test_kernel_sees_the_promised_writes(traced: Traced, spec: str) -> None:
    """Each promised write is a system call of its own."""
    response, sent = await traced.ask(post(ask(), chunking(spec)))
    promised, chunks = sent[1:-1], [*map(framed, response.pieces)]
    assert sent[-1] == b"0\r\n\r\n"
    if spec.endswith("/2"):
        assert [b"".join(promised[at : at + 2]) for at in range(0, len(promised), 2)] == chunks
    elif spec.endswith("=2"):
        assert promised == [b"".join(chunks[at : at + 2]) for at in range(0, len(chunks), 2)]
    else:
        assert promised == chunks

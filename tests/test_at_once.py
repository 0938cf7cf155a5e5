"""Requests that are answered where they are read: nobody can tell, and nothing that was set meanwhile is missed."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider import MockProvider
from mockprovider.exchange import Exchange
from mockprovider.server.protocol import Protocol, Server
from tests.asking import CHAT, prompt
from tests.wiretap import Response, Tap, get, post, tapping


def chat(text: str, *headers: str, path: str = CHAT, version: str = "1.1", **fields: object) -> bytes:
    """A request for a chat completion, whole."""
    return post(prompt(text, **fields), *headers, path=path, version=version)


def said(response: Response) -> str:
    """The text of a whole answer."""
    content = json.loads(bytes(response.body))["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def server(provider: MockProvider) -> Server:
    """aiohttp's part of a provider on this loop."""
    return cast(Server, provider._in_loop._web)


@asynccontextmanager
async def meeting(reply: str | None = "Hello.", **options: Any) -> AsyncIterator[tuple[MockProvider, Tap]]:
    """A provider on this loop, and a client."""
    async with MockProvider(reply=reply, seed=1, **options) as provider, tapping(provider.url) as tap:
        yield provider, tap


async def again(tap: Tap, request: bytes, times: int = 3) -> list[Response]:
    """The same request, one time after the other."""
    return [await tap.ask(request) for _ in range(times)]


# --------------------------------------------------------------------------------------------------- that it is so


async def test_aiohttp_hears_of_no_request_that_comes_whole() -> None:
    """Not of the first with a head, nor of a stream with gaps, for which there is no task either."""
    async with meeting(pace="itl=0.001") as (provider, tap):
        await again(tap, chat("one"))
        tasks = asyncio.all_tasks()
        await again(tap, chat("two"))
        await tap.send(chat("one", stream=True))
        await provider.wait_for_async(outcome="open")
        assert asyncio.all_tasks() == tasks
        await tap.response()
        await again(tap, get("/v1/models"))
        assert server(provider).requests_count == 0
        assert [(exchange.outcome, exchange.status) for exchange in provider.exchanges] == [("complete", 200)] * 10
        assert provider._in_loop.handler.active == 0


async def test_what_comes_in_parts_goes_through_aiohttp() -> None:
    """A body that comes after its head is aiohttp's to read, and so is whatever follows on that connection."""
    async with meeting() as (provider, tap):
        await tap.send(chat("one")[:-20])
        await rounds()
        await tap.ask(chat("one")[-20:])
        await again(tap, chat("one"))
        assert server(provider).requests_count == 4
        assert len(provider.exchanges) == 4


# ------------------------------------------------------------------------------------------ that nobody can tell

OWN = [
    "Origin: http://localhost:5173",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Expect: 100-continue",
    "x-mockprovider-pace: itl=0.0001",
    "x-mockprovider-chunking: join=false",
    "x-mockprovider-faults: sse-nul-bytes",
    "x-mockprovider-faults: error(status=503, attempt=2)",
    "x-mockprovider-faults: no-response(reused=true)",
    "x-mockprovider-faults: nonsense",
    "Host: elsewhere.example",
]
"""Headers that make a request another one; most requests have none of them."""
PATHS = ["/as/groq" + CHAT, "/with/pad(n=3)" + CHAT, "/~nobody" + CHAT, "/v1/messages", "/v1/nowhere", "/_mock/nowhere"]
FIELDS = st.fixed_dictionaries(
    {}, optional={"stream": st.booleans(), "max_tokens": st.integers(0, 9), "model": st.sampled_from(["m", ""])}
)
REQUESTS = st.builds(
    lambda text, headers, path, version, fields: chat(text, *headers, path=path, version=version, **fields),
    st.sampled_from(["one", "two", "longer"]),
    st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(OWN), max_size=1)),
    st.one_of(st.just(CHAT), st.just(CHAT), st.sampled_from(PATHS)),
    st.sampled_from(["1.1", "1.1", "1.0"]),
    FIELDS,
)
CUTS = st.one_of(st.none(), st.none(), st.integers(1, 250))
SETTINGS: dict[str, Callable[[MockProvider], object]] = {
    "rule": lambda provider: provider.on(last="one").reply("A rule.").then_reply("Its second."),
    "failing": lambda provider: provider.on(last="two").error(529),
    "reset": lambda provider: provider.reset(),
    "hold": lambda provider: provider.hold("before-end"),
    "flavour": lambda provider: lever(provider, flavour="azure"),
    "fail next": lambda provider: lever(provider, fail_next={"count": 1}),
    "let go": lambda provider: lever(provider, flavour=None, fail_next=None),
}
SET = st.sampled_from(sorted(SETTINGS))
STEPS = st.lists(REQUESTS, min_size=1, max_size=2).flatmap(
    lambda requests: st.lists(
        st.one_of(SET, *[st.tuples(st.sampled_from(requests), st.integers(0, 1), st.integers(1, 4), CUTS)] * 2),
        min_size=1,
        max_size=8,
    )
)


def lever(provider: MockProvider, **values: object) -> None:
    """Set levers by hand."""
    namespace = provider._in_loop.handler.default
    namespace.levers = namespace.levers.changed(values)


def undated(data: bytes) -> bytes:
    """Bytes on the wire without the time of day."""
    return re.sub(rb"\r\nDate: [^\r]*|\"(created|timestamp)\":\d+", b"", data)


def written_down(exchange: Exchange) -> dict[str, Any]:
    """What the journal has of an exchange, without what differs from run to run."""
    described = exchange.describe()
    for name in ("received", "seconds", "late"):
        del described[name]
    sent = described["sent"]
    described["sent"] = [sent["bytes"], undated(sent["data"].encode())]
    return {**described, "ask": repr(exchange.ask), "replies": exchange.choice_replies, "ordinal": exchange.ordinal}


async def run(steps: list[Any], *, at_once: bool) -> tuple[list[bytes], list[dict[str, Any]], list[str]]:
    """What the clients got and the journal has, when requests are answered where they are read, or are not."""
    got: list[bytes] = []
    async with MockProvider(seed=5, reply_tokens=9) as provider, AsyncExitStack() as taps:
        if not at_once:
            server(provider).at_once = None
        clients = [await taps.enter_async_context(tapping(provider.url)) for _ in range(2)]
        for step in steps:
            if isinstance(step, str):
                SETTINGS[step](provider)
                continue
            request, client, times, cut = step
            for _ in range(times):
                got.append(await exchanged(provider, clients[client], request, cut))
                if clients[client].ending != "open":
                    clients[client] = await taps.enter_async_context(tapping(provider.url))
        handler = provider._in_loop.handler
        assert handler.active == 0
        return got, [written_down(exchange) for exchange in provider.exchanges], [repr(e) for e in handler.strays]


async def exchanged(provider: MockProvider, tap: Tap, request: bytes, cut: int | None) -> bytes:
    """What comes for the request, which is sent in one piece or two. Whatever it waits at is opened."""
    begins, count = len(tap.data), len(tap.parser.finished)
    answer = asyncio.ensure_future(tap.until(lambda: len(tap.parser.finished) > count or tap.ending != "open"))
    for piece in (request,) if cut is None else (request[:cut], request[cut:]):
        await tap.send(piece)
        await rounds()
    while not answer.done():
        await asyncio.sleep(0)
        for gate, waiting in provider._running.gates.waiting().items():
            if waiting:
                provider.release(gate)
    await answer
    if tap.ending == "open" and tap.parser.finished[-1].header("Connection") == "close":
        await tap.end()
    await rounds()
    return undated(tap.data[begins:])


async def rounds() -> None:
    """A few of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_nobody_can_tell(steps: list[Any]) -> None:
    """Whatever is asked and set, in one read or two: the same bytes come, and the same stands in the journal."""
    assert asyncio.run(run(steps, at_once=True)) == asyncio.run(run(steps, at_once=False))


# --------------------------------------------------------------------------------- what has been set in the meantime


Change = Callable[[MockProvider, Path], object]


def _recorded(provider: MockProvider, folder: Path) -> None:
    asked = {"method": "POST", "target": CHAT, "headers": [], "body": json.loads(chat("one").partition(b"\r\n\r\n")[2])}
    body = json.dumps({"choices": [{"message": {"content": "Set."}}]})
    head = {"version": "1.1", "status": 200, "reason": "OK", "headers": [["Content-Length", str(len(body))]]}
    made = {"mockprovider": 1, "recorded": "2026-11-22T21:00:00Z", "request": asked}
    lines = [made, [0.0, "head", head], [0.0, "write", body], [0.0, "end"]]
    (folder / "1.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    provider.replay(folder)


def _reloaded(provider: MockProvider, _: Path) -> None:
    handler = provider._in_loop.handler
    handler.reload(replace(handler.settings, models=("other",)), None)


CHANGES: dict[str, tuple[Change, str | None]] = {
    "rule": (lambda provider, _: provider.on().reply("Set."), "Set."),
    "lever": (lambda provider, _: lever(provider, reply="Set."), "Set."),
    "recordings": (_recorded, "Set."),
    "reload": (_reloaded, None),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_set_meanwhile_is_obeyed(change: str, tmp_path: Path) -> None:
    """A request that is known by heart is answered by what was set since."""
    make, text = CHANGES[change]
    async with meeting() as (provider, tap):
        assert {said(response) for response in await again(tap, chat("one"))} == {"Hello."}
        make(provider, tmp_path)
        response = await tap.ask(chat("one"))
        assert said(response) == text if text else response.status == 404


async def test_what_was_set_and_is_no_longer_is_forgotten() -> None:
    """Nothing that was decided by a rule is known by heart once the rule is gone."""
    async with meeting() as (provider, tap):
        provider.on().reply("Set.")
        assert {said(response) for response in await again(tap, chat("one"))} == {"Set."}
        provider.reset()
        assert {said(response) for response in await again(tap, chat("one"))} == {"Hello."}


async def test_a_gate_that_is_closed_meanwhile_holds() -> None:
    """A stream that is known by heart stops at a gate that was closed since."""
    async with meeting() as (provider, tap):
        await again(tap, chat("one", stream=True))
        provider.hold("after-first-token")
        asking = asyncio.ensure_future(tap.ask(chat("one", stream=True)))
        while not provider._running.gates.waiting()["after-first-token"]:
            await asyncio.sleep(0)
        assert provider.release("after-first-token") == 1
        assert b"[DONE]" in (await asking).body


async def test_a_namespace_that_is_closed_answers_no_more() -> None:
    """Neither it, nor by its rules another of its name, though the request is known by heart."""
    async with meeting() as (provider, tap):
        handler = provider._in_loop.handler
        handler.open("n1")
        request = chat("one", path="/~n1" + CHAT)
        await again(tap, request)
        handler.close("n1")
        assert {response.status for response in await again(tap, request)} == {404}
        assert handler.at_once._known == {}  # or what is closed would be kept
        other = handler.open("n1")
        assert {response.status for response in await again(tap, request)} == {200}
        assert len(other.journal) == 3


# ------------------------------------------------------------------------------------------ clients that are not so


@pytest.mark.parametrize("alike", [True, False])
async def test_a_client_that_does_not_read_loses_nothing(*, alike: bool) -> None:
    """What it does not take at once waits for it, and comes whole and in order."""
    reply = "word " * 5000
    async with MockProvider(reply=reply) as provider, tapping(provider.url, receive_buffer=4096) as tap:
        requests = (chat(f"{0 if alike else number:04}") for number in count())
        await tap.ask(next(requests))
        tap.pause()
        while all(exchange.outcome for exchange in provider.exchanges):
            await tap.send(next(requests))
            await rounds()
        asked = len(provider.exchanges)
        assert asked > 2
        tap.resume()
        await tap.until(lambda: len(tap.parser.finished) == asked)
        assert {said(response) for response in tap.parser.finished} == {reply}
        await provider.wait_for_async(asked)
        assert [exchange.sent.bytes for exchange in provider.exchanges] == [
            response.ends - response.begins for response in tap.parser.finished if response.ends
        ]


async def test_a_client_that_never_reads_is_to_blame() -> None:
    """While it does not read, a stream is blocked and not late; that is noted also where it leaves before it reads."""
    async with MockProvider(reply=" word" * 50_000) as provider:
        async with tapping(provider.url, receive_buffer=4096, reading=False) as tap:
            await tap.send(chat("one", stream=True))
            await provider.wait_for_async(outcome="open")
            [(player, _)] = provider._running.playing.values()
            while player._blocked_since is None:
                await asyncio.sleep(0)
            since = player._blocked_since
            player.writable()  # which it is not
            assert player._blocked_since == since
        [exchange] = await provider.wait_for_async()
        assert exchange.outcome == "client-left"
        assert exchange.sent.blocked > 0


async def test_a_body_that_is_too_large_is_refused() -> None:
    """Also where it comes in one read."""
    async with MockProvider(body_limit=80) as provider, tapping(provider.url) as tap:
        assert (await tap.ask(chat("x"))).status == 200
        assert (await tap.ask(chat("x" * 80))).status == 413


async def test_a_request_behind_another_waits_for_its_turn() -> None:
    """It is answered after a stream that still goes on, though it could be at once."""
    async with meeting() as (provider, tap):
        slow = chat("slow", "x-mockprovider-pace: itl=0.002", stream=True)
        await again(tap, slow)
        await again(tap, chat("quick"))
        await tap.send(slow)
        await rounds()
        assert provider.exchanges[-1].outcome is None
        await tap.send(chat("quick"))
        await tap.response(7)
        assert [response.header("Content-Type") for response in tap.parser.finished[6:]] == [
            "text/event-stream; charset=utf-8",
            "application/json",
        ]


async def test_a_client_that_wants_the_end_gets_it() -> None:
    """A connection that the client does not want to keep is closed, as often as the same is asked."""
    async with MockProvider(reply="Hello.") as provider:
        for _ in range(3):
            async with tapping(provider.url) as tap:
                await tap.ask(chat("one", "Connection: close"))
                assert await tap.end() == "eof"


async def test_a_connection_that_was_used_is_known_as_such() -> None:
    """What is known by heart counts as a request that the connection has carried."""
    async with meeting() as (provider, tap):
        await again(tap, chat("one"))
        async with tapping(provider.url) as other:
            await other.ask(chat("one"))
            await other.send(chat("one", "x-mockprovider-faults: no-response(reused=true)"))
            assert await other.end() == "eof"
            assert len(other.parser.finished) == 1


@pytest.mark.parametrize("padding", [0, 9])
async def test_a_body_is_not_mistaken_for_a_request(padding: int) -> None:
    """A body that comes by itself and looks like a request that is known by heart is a body."""
    async with meeting() as (provider, tap):
        known = chat("one")
        await again(tap, known)
        length = padding + len(known)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        await tap.send(head.encode() + b" " * padding)
        await rounds()
        assert (await tap.ask(known)).status == 400
        assert len(provider.exchanges) == 4


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_on_its_way_is_waited_for(framing: str) -> None:
    """However often a body comes some time after its head, on whichever connection."""
    head, _, body = chat("one").partition(b"\r\n\r\n")
    if framing == "chunked":
        head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with MockProvider(reply="Hello.") as provider:
        for begun in (0, 0, 9, 9):
            async with tapping(provider.url) as tap:
                await tap.send(head + b"\r\n\r\n" + body[:begun])
                await rounds()
                assert said(await tap.ask(body[begun:])) == "Hello."


async def test_a_connection_in_use_is_not_idle() -> None:
    """aiohttp's timer for idle connections counts from the last request, also where aiohttp did not hear of it."""
    async with meeting() as (provider, tap):
        await again(tap, chat("one"))
        [connection] = server(provider).connections
        connection._next_keepalive_close_time = 0.0
        await again(tap, chat("one"), 1)
        connection._process_keepalive()
        await again(tap, chat("one"), 1)


async def test_a_compressed_body_is_read_each_time() -> None:
    """What aiohttp does with a body is done to each, not to the first alone."""
    async with meeting(None) as (_, tap):
        plain = chat("one")
        packed = gzip.compress(plain.partition(b"\r\n\r\n")[2], mtime=0)
        lines = [f"POST {CHAT} HTTP/1.1", "Host: localhost", f"Content-Length: {len(packed)}", "Content-Encoding: gzip"]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode() + packed
        told = said(await tap.ask(plain))
        assert [said(response) for response in await again(tap, request)] == [told] * 3


async def test_a_server_that_records_asks_its_upstream_each_time(tmp_path: Path) -> None:
    """What has to wait for somebody else is left to aiohttp."""
    async with MockProvider(reply="Far away.") as upstream, meeting() as (provider, tap):
        await again(tap, chat("one"))
        provider.replay(tmp_path, mode="all", upstream=upstream.url)
        assert {said(response) for response in await again(tap, chat("one"))} == {"Far away."}


@pytest.mark.parametrize("how", ["leaves", "is stopped", "is closed"])
async def test_a_stream_that_is_cut_has_ended(how: str) -> None:
    """At once, however it is cut: nothing of it is left on the server."""
    async with MockProvider(reply="Hello.", pace="itl=60") as provider, tapping(provider.url) as tap:
        await tap.send(chat("one", stream=True))
        await provider.wait_for_async(outcome="open")
        handler = provider._in_loop.handler
        [connection] = cast(list[Protocol], server(provider).connections)
        assert connection.transport is not None
        if how == "leaves":
            tap.reset()
        elif how == "is stopped":
            handler.stop()
        else:
            connection.transport.abort()
        [exchange] = await provider.wait_for_async()
        assert exchange.outcome == ("stopped" if how == "is stopped" else "client-left")
        await rounds()
        assert [handler.active, handler.default.playing, handler.running.quiet(100)] == [0, {}, True]


async def test_what_is_sent_ahead_is_held() -> None:
    """A client may send requests while a stream goes on; they are answered in order, and too many are left to it."""
    async with meeting() as (provider, tap):
        provider.hold("after-first-token")
        await tap.send(chat("slow", stream=True))
        await provider.wait_for_async(outcome="open")
        [connection] = cast(list[Protocol], server(provider).connections)
        transport = connection.transport
        assert transport is not None
        sent = 0
        while transport.is_reading():
            await tap.send(chat(f"{sent:05}", f"X-Long: {'x' * 4000}", stream=sent % 2 == 0))
            await rounds()
            sent += 1
        assert sum(map(len, connection._ahead or ())) < 70_000
        await tap.send(chat("last"))
        provider.release("after-first-token")
        await tap.response(sent + 1)
        asked = [json.loads(exchange.body)["messages"][0]["content"] for exchange in provider.exchanges]
        assert asked == ["slow", *[f"{number:05}" for number in range(sent)], "last"]
        assert transport.is_reading()


async def test_a_stream_that_goes_on_is_not_idle() -> None:
    """aiohttp's timer for idle connections does not end it."""
    async with meeting() as (provider, tap):
        provider.hold("after-first-token")
        await tap.send(chat("one", stream=True))
        await provider.wait_for_async(outcome="open")
        [connection] = server(provider).connections
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        provider.release("after-first-token")
        assert b"[DONE]" in (await tap.response()).body

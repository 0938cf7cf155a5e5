"""`MockProvider` in a program's hand: its lifetime, rules, exchanges, gates, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from aiohttp import web

from mockprovider import MockProvider, MockProviderError, NoMatchError, Reply, Text, contains
from mockprovider.errors import SettingError, UnavailableError, WaitTimeoutError
from mockprovider.exchange import Journal
from mockprovider.gates import Gates
from mockprovider.server.runner import LoopServer, ThreadServer
from mockprovider.settings import GivenSettings, Settings
from tests.asking import CHAT, ask, connect, deltas, exchange, prompt, request, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from mockprovider import Exchange

FOREVER = "ttft=3600"


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    """A provider on a thread."""
    with MockProvider(seed=1) as running:
        yield running


@pytest.fixture
async def in_loop() -> AsyncIterator[MockProvider]:
    """A provider on the test's own loop."""
    async with MockProvider(seed=1) as running:
        yield running


async def read(session: aiohttp.ClientSession, provider: MockProvider, **fields: Any) -> str:
    """The text of a streamed reply, by aiohttp."""
    async with session.post(provider.openai_url + "/chat/completions", data=prompt(stream=True, **fields)) as response:
        assert response.status == 200
        body = (await response.read()).decode()
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


# ------------------------------------------------------------------------------------------------ lifetime


def test_a_provider_runs_on_a_thread_until_it_is_closed() -> None:
    """`with MockProvider()` answers blocking clients; afterwards nobody listens, and what happened can be read."""
    with MockProvider(reply="Hello") as provider:
        assert ask(provider.url).text == "Hello"
        host, port = provider.url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert [e.outcome for e in provider.exchanges] == ["complete"]
    provider.check()
    provider.close()


async def test_a_provider_runs_on_the_running_loop(in_loop: MockProvider) -> None:
    """`async with MockProvider()` answers clients on the same loop, and its exchanges can be waited for."""
    in_loop.on().reply("Hello")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(in_loop.openai_url + "/chat/completions", content=prompt())
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"
    assert [e.outcome for e in await in_loop.wait_for_async()] == ["complete"]
    with pytest.raises(MockProviderError, match="would block the loop"):
        in_loop.wait_for()


def test_a_provider_is_started_once() -> None:
    """Starting a provider again, in whatever way, is refused, so that no thread is left behind."""
    before = set(threading.enumerate())
    with MockProvider() as provider, pytest.raises(MockProviderError, match="started already"):
        provider.start()
    with pytest.raises(MockProviderError, match="started already"):
        _ = provider.app
    assert set(threading.enumerate()) <= before


def test_a_provider_can_be_made_ready_before_it_runs() -> None:
    """Rules and gates may be set first; what needs a running provider says that it is not one."""
    provider = MockProvider(seed=1)
    provider.on().reply("ready")
    provider.hold("before-end")
    with pytest.raises(MockProviderError, match="not listening"):
        _ = provider.url
    with pytest.raises(MockProviderError, match="not running"):
        provider.wait_for()
    assert (provider.exchanges, provider.seed, provider.release("before-end")) == ([], 1, 0)
    provider.close()
    with provider:
        assert ask(provider.url).text == "ready"


def test_a_port_in_use_is_said_and_leaves_nothing_behind() -> None:
    """A provider that cannot listen raises an error with the address, and no thread stays."""
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1:{port}: the port is in use"):
            MockProvider(port=port).start()
    assert set(threading.enumerate()) <= before
    with MockProvider(port=port) as provider:
        assert provider.url == f"http://127.0.0.1:{port}"


def test_localhost_is_both_loopbacks() -> None:
    """A provider on `localhost` answers on 127.0.0.1 and, where this machine has it, on ::1 at the same port."""
    with MockProvider(host="localhost", reply="Hello") as provider:
        port = provider.url.rpartition(":")[2]
        assert provider.url == f"http://localhost:{port}"
        assert ask(f"http://127.0.0.1:{port}").text == "Hello"
        with contextlib.closing(socket.socket(socket.AF_INET6)) as there:
            try:
                there.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6 loopback")
        assert ask(f"http://[::1]:{port}").text == "Hello"


def test_localhost_needs_both_loopbacks_free() -> None:
    """A port that is taken on one loopback is in use: clients would reach somebody else on the other one."""
    with contextlib.closing(socket.socket(socket.AF_INET6)) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        taken.listen()
        with pytest.raises(UnavailableError, match="the port is in use"):
            MockProvider(host="localhost", port=taken.getsockname()[1]).start()


def test_long_headers_and_paths_are_read(provider: MockProvider) -> None:
    """Cookies of all the other servers on localhost, or a long chain of faults in the path, are no obstacle."""
    assert ask(provider.url, headers={"Cookie": "a=" + "b" * 60_000}).status == 200
    assert request("GET", f"{provider.openai_url}/models/{'m' * 60_000}").json["id"] == "m" * 60_000


def test_an_ipv6_address_is_bracketed() -> None:
    """The base URL of a provider on ::1 is one that clients understand."""
    try:
        with MockProvider(host="::1", reply="Hello") as provider:
            assert provider.url.startswith("http://[::1]:")
            assert ask(provider.url).text == "Hello"
    except UnavailableError:
        pytest.skip("this machine has no IPv6 loopback")


def test_closing_ends_every_stream_and_leaves_no_thread() -> None:
    """Streams that wait at a gate, for their first token, or for their reader end with the provider, as `stopped`."""
    before = set(threading.enumerate())
    provider = MockProvider(seed=1).start()
    provider.on(last="slow").reply("a", pace=FOREVER)
    provider.on(last="held").reply("a b c")
    provider.on(last="unread").reply(Text(lambda: iter(lambda: "on and on " * 100, "")))
    provider.hold("after-first-token")
    with contextlib.ExitStack() as clients:
        for content in ("slow", "held", "unread", "body"):
            connection = clients.enter_context(contextlib.closing(connect(provider.url)))
            body = prompt(content, stream=True)
            connection.putrequest("POST", CHAT)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[:-1] if content == "body" else body)
        provider.wait_for(4, outcome="open")
        provider.close()
        # The one whose body had not come is known by its exchange too.
        assert [e.outcome for e in provider.exchanges] == ["stopped"] * 4
    assert set(threading.enumerate()) <= before


async def test_closing_leaves_no_task_and_no_socket_on_the_loop() -> None:
    """A provider on the running loop leaves neither tasks nor connections on it, even with a stream under way."""
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as session:
        async with MockProvider() as provider:
            provider.on().reply("a", pace=FOREVER)
            asking = asyncio.create_task(read(session, provider))
            await provider.wait_for_async(outcome="open")
        with pytest.raises(aiohttp.ClientError):
            await asking
    del asking
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    gc.collect()  # an unclosed transport would warn, and a warning fails the test


async def test_an_application_ends_while_its_clients_stay() -> None:
    """A provider's application ends at once when its runner does, though a stream is open and its client stays."""
    provider = MockProvider()
    provider.on().reply("a", pace=FOREVER)
    runner = web.AppRunner(provider.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}{}".format(*runner.addresses[0], CHAT)
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(url, data=prompt(stream=True)))
        [open_one] = await provider.wait_for_async(outcome="open")
        await asyncio.wait_for(runner.cleanup(), 30)  # aiohttp itself would wait twice as long
        with pytest.raises(aiohttp.ClientError):
            await asking
    assert open_one.outcome == "stopped"


def test_closing_a_namespace_ends_its_streams(provider: MockProvider) -> None:
    """When a provider on a shared server has been closed, its streams have ended; those of the others go on."""
    assert provider._thread is not None
    provider.on().reply("a", pace=FOREVER)
    with streaming(provider.url):
        for _ in range(20):
            view = MockProvider.on_shared(provider._thread)
            view.on().reply("a", pace=FOREVER)
            with streaming(view.url):
                [open_one] = view.wait_for(outcome="open")
                view.close()
                assert open_one.outcome == "stopped"
        assert [e.outcome for e in provider.exchanges] == [None]


def test_the_address_of_an_application_is_its_runners(in_loop_app: MockProvider) -> None:
    """A provider that somebody else's server runs does not invent an address."""
    with pytest.raises(MockProviderError, match="no address of its own"):
        _ = in_loop_app.openai_url


@pytest.fixture
def in_loop_app() -> MockProvider:
    """A provider whose application has been made."""
    provider = MockProvider()
    assert provider.app is provider.app
    return provider


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sede": 1}, "unknown setting 'sede'; did you mean 'seed'?"),
        ({"seed": "1"}, "seed: expected a whole number, got '1'"),
        ({"seed": True}, "seed: expected a whole number, got True"),
        ({"port": 65536}, "port: expected 0 to 65535, got 65536"),
        ({"port": "80"}, "port: expected 0 to 65535, got '80'"),
        ({"pace": "warp"}, "unknown profile 'warp'"),
        ({"chunking": "join=x"}, "chunking: join"),
        ({"faults": "no-such-fault"}, "no-such-fault"),
        ({"reply": 5}, "a reply is made of str"),
        ({"reply_tokens": 0}, "reply_tokens: expected at least 1, got 0"),
        ({"relay": "yes"}, "relay: expected true or false, got 'yes'"),
        ({"models": "gpt-5"}, "models: expected a list of texts that are not empty, got 'gpt-5'"),
        ({"models": []}, "models: expected at least one"),
        ({"api_keys": [""]}, "api_keys: expected a list of texts that are not empty, got ['']"),
        ({"allow_hosts": "a.b"}, "allow_hosts: expected a list of texts that are not empty, got 'a.b'"),
        ({"token": ""}, "token: expected visible ASCII characters"),
        ({"token": "a b"}, "token: expected visible ASCII characters"),
        ({"host": ""}, "host: expected a name or an address"),
        ({"host": 5}, "host: expected a text, got 5"),
        ({"host": "0.0.0.0"}, "host '0.0.0.0' is reachable from other machines: set a token"),
        ({"journal_limit": 0}, "journal_limit: expected at least 1, got 0"),
        ({"body_limit": 1.5}, "body_limit: expected at least 1, got 1.5"),
        ({"scenario": "/no/such/file.toml"}, "/no/such/file.toml: No such file or directory"),
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, Any], said: str) -> None:
    """A setting that cannot be is a SettingError with its name, before anything is started."""
    with pytest.raises(SettingError) as caught:
        MockProvider(**settings)
    assert said in str(caught.value)


def test_the_settings_that_may_be_given_are_the_settings() -> None:
    """What type checkers let through to `MockProvider` is what `Settings` has."""
    assert set(GivenSettings.__annotations__) == set(Settings.__dataclass_fields__)


def test_what_is_given_comes_before_the_file(tmp_path: Path) -> None:
    """A scenario file's settings hold unless they are given, and None is not given."""
    path = tmp_path / "scenario.toml"
    path.write_text('seed = 7\npace = "fast"\nmodels = ["m"]\n[[rule]]\nreply = "from the file"\n')
    with MockProvider(scenario=str(path), seed=None, pace="instant", models=["m", "n"]) as provider:
        assert provider.seed == 7
        assert ask(provider.url, model="n").text == "from the file"
        provider.on(model="n").reply("never")
        provider.reset()
        assert ask(provider.url, model="n").text == "from the file"
    assert provider.exchanges[0].sent.worst < 1


def test_a_seed_makes_the_answers(provider: MockProvider) -> None:
    """The same seed gives the same bytes on another server, and a seed that was drawn can be read and given."""
    first = ask(provider.url).body
    with MockProvider(seed=1) as other, MockProvider() as drawn:
        assert ask(other.url).body == first
        with MockProvider(seed=drawn.seed) as again:
            assert ask(again.url).text == ask(drawn.url).text


def test_the_environment_is_for_this_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDKs are given the base URL, a key that is accepted, and the loopback added to what bypasses proxies."""
    monkeypatch.setenv("NO_PROXY", "intranet, 127.0.0.1")
    with MockProvider(api_keys=["sk-one", "sk-two"]) as provider:
        env = provider.env()
    assert env["OPENAI_BASE_URL"] == env["OPENAI_API_BASE"] == provider.openai_url
    assert env["OPENAI_API_KEY"] == "sk-one"
    assert env["NO_PROXY"] == env["no_proxy"] == "intranet,127.0.0.1,localhost,::1"
    assert "OPENAI_BASE_URL" not in os.environ


# ------------------------------------------------------------------------------------------------ rules


def test_rules_read_as_sentences(provider: MockProvider) -> None:
    """`on(...)` begins a rule, `reply` and `error` give its answers in order, `then_…` goes on with it."""
    provider.on(last=contains("weather")).reply("Sunny").then_error(429, headers={"retry-after": 1}).then_reply("Rain")
    provider.on().error(503, times=1).reply("Hello", times=2)
    assert [ask(provider.url, "the weather").status for _ in range(3)] == [200, 429, 200]
    assert ask(provider.url, "the weather").text == "Rain"
    answers = [ask(provider.url) for _ in range(4)]
    assert [answer.status for answer in answers] == [503, 200, 200, 404]
    assert "all its answers are used up" in answers[-1].json["error"]["message"]
    with pytest.raises(NoMatchError):
        provider.check()


def test_an_answer_may_be_a_function_that_uses_the_provider(provider: MockProvider) -> None:
    """An answer function sees the exchange, may look at the provider it belongs to, and may answer with an error."""

    def answer(exchange: Exchange) -> str | Reply:
        provider.on(last="next").reply("added")
        return f"{len(provider.exchanges)} of {exchange.json['model']}"

    provider.on(last="first").reply(answer)
    assert ask(provider.url, "first").text == "1 of gpt-5"
    assert ask(provider.url, "next").text == "added"


def test_an_answer_function_that_blocks_is_said(provider: MockProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that blocks the server's thread makes the test fail with the reason, and not wait for ever."""
    monkeypatch.setattr("mockprovider.server.runner._BLOCKED", 0.05)
    entered, released = threading.Event(), threading.Event()

    def answer(_: Exchange) -> str:
        entered.set()
        released.wait()
        return "a"

    provider.on().reply(answer)
    asking = threading.Thread(target=ask, args=[provider.url])
    asking.start()
    entered.wait()
    with pytest.raises(MockProviderError, match=r"busy for 0\.05 s: an answer function .* must not block"):
        provider.reset()
    monkeypatch.undo()
    released.set()
    asking.join()
    assert provider.exchanges == []  # the reset comes late, but it comes


def test_an_answer_function_that_fails_is_a_500_and_an_error_of_the_test(provider: MockProvider) -> None:
    """The client gets an error that no SDK retries, the stack is logged, and `check` raises it, once."""

    def answer(exchange: Exchange) -> str:
        raise ZeroDivisionError("oh")

    provider.on(last="raise").reply(answer)
    provider.on(last="wrong").reply(lambda _: 5)  # type: ignore[arg-type,return-value]
    failed = ask(provider.url, "raise", stream=True)
    assert (failed.status, failed.headers["x-should-retry"]) == (500, "false")
    assert "ZeroDivisionError: oh" in failed.json["error"]["message"]
    assert ask(provider.url, "wrong").status == 500
    assert ask(provider.url, "unmatched").status == 404
    with pytest.raises(MockProviderError, match=r"(?s)ZeroDivisionError: oh.*not 5.*no rule answers"):
        provider.check()
    provider.check()


@pytest.mark.parametrize(
    ("parts", "options", "said"),
    [
        ((), {}, "expected at least one text"),
        ((5,), {}, "a reply is made of str"),
        (("a",), {"times": 0}, "times: expected a whole number of at least 1, got 0"),
        (("a",), {"pace": "warp"}, "unknown profile 'warp'"),
        (("a",), {"chunking": "x=1"}, "unknown setting 'x'"),
        ((lambda _: "a",), {"finish": "stop"}, "expected a plain function"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_where_it_is_written(
    parts: tuple[Any, ...], options: dict[str, Any], said: str, provider: MockProvider
) -> None:
    """A wrong answer is a SettingError in the test that writes it, and no rule is added."""
    with pytest.raises(SettingError, match=said):
        provider.on().reply(*parts, **options)

    async def later(_: Exchange) -> str:
        return "a"

    with pytest.raises(SettingError, match="expected a plain function"):
        provider.on().reply(later)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="expected 400 to 599"):
        provider.on().error(302)
    assert ask(provider.url).status == 200


def test_reset_forgets_everything(provider: MockProvider) -> None:
    """After a reset there are no rules, exchanges or gates, streams have ended, and ids begin anew."""
    first = ask(provider.url).json["id"]
    provider.on(last="slow").reply("a", pace=FOREVER)
    provider.hold("before-end")
    with streaming(provider.url, "slow") as texts:
        provider.wait_for(outcome="open")
        [open_one] = [e for e in provider.exchanges if e.outcome is None]
        provider.reset()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            next(texts)
    assert (provider.exchanges, provider.gates, provider.dropped) == ([], {}, 0)
    assert open_one.outcome == "stopped"
    assert ask(provider.url).json["id"] == first


# ------------------------------------------------------------------------------------------------ exchanges


def test_what_a_client_has_read_to_its_end_has_ended() -> None:
    """A test that looks at what happened waits for what the server's loop has begun.

    The loop writes the last byte of a stream first, and what has become of the exchange two turns later; a client on
    another thread, quick and lucky, looks in between.
    """
    server = ThreadServer(LoopServer(Settings()))
    server.start()
    ended: list[str] = []

    async def end() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.append("complete")

    server.submit(end())
    assert server.call(ended.copy) == ["complete"]
    server.stop()


def test_exchanges_are_waited_for(provider: MockProvider) -> None:
    """`wait_for` returns the exchanges that have ended so and on this path, or that are open, as soon as they are."""
    provider.on().reply("a", pace=FOREVER)
    with contextlib.closing(connect(provider.url)) as connection:
        connection.request("POST", CHAT, prompt(stream=True), {"Content-Type": "application/json"})
        [begun] = provider.wait_for(path=CHAT, outcome="open")
        assert begun.outcome is None
    [left] = provider.wait_for(outcome="client-left")
    assert left is begun
    request("GET", provider.openai_url + "/models")
    assert [e.path for e in provider.wait_for(2)] == [CHAT, "/v1/models"]
    assert [e.path for e in provider.wait_for(path="/v1/models")] == ["/v1/models"]


async def test_exchanges_are_waited_for_without_blocking(provider: MockProvider) -> None:
    """`wait_for_async` lets the test's own loop run, so that the client it waits for can be on it."""
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(read(session, provider))
        assert [e.outcome for e in await provider.wait_for_async()] == ["complete"]
        assert await asking


def test_waiting_in_vain_shows_what_happened(provider: MockProvider) -> None:
    """The error of a wait that ends in vain says what was waited for, and lists the exchanges that there were."""
    with pytest.raises(WaitTimeoutError, match=r"(?s)waited 0 s for 1 exchange\(s\) ended, saw 0.*none at all"):
        provider.wait_for(timeout=0)
    request("GET", provider.openai_url + "/models")
    with pytest.raises(WaitTimeoutError) as caught:
        provider.wait_for(2, path=CHAT, outcome="reset", timeout=0.01)
    assert "for 2 exchange(s) reset to /v1/chat/completions, saw 0" in str(caught.value)
    assert "<Exchange 1 GET /v1/models 200 complete>" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(SettingError, match=r"unknown outcome 'completed'; did you mean 'complete'\?"):
        provider.wait_for(outcome="completed")


def test_the_journal_is_bounded_and_says_what_it_dropped() -> None:
    """The newest exchanges are kept, and how many fell out is counted."""
    with MockProvider(journal_limit=2) as provider:
        for name in ("a", "b", "c"):
            request("GET", f"{provider.openai_url}/models/{name}")
        assert [e.path[-1] for e in provider.exchanges] == ["b", "c"]
        assert provider.dropped == 1


def test_the_journal_is_bounded_in_bytes() -> None:
    """Large exchanges push older ones out, and bytes of those that fell out before they were read do not count on."""
    journal = Journal(limit=2, byte_limit=10_000)
    late = [exchange("x" * 9000) for _ in range(2)]
    for made in (*late, exchange(), exchange()):
        journal.add(made)
    for made in late * 2:
        journal.weigh(made)
    journal.weigh(next(iter(journal)))
    assert (len(journal), journal.dropped) == (2, 2)
    large = exchange()
    journal.add(large)
    for _ in range(9):
        large.sent.add(0.0, 0.0, b"x" * 1200)
        journal.weigh(large)
    assert list(journal) == [large]
    assert journal.dropped == 4
    journal.clear()
    journal.weigh(large)
    assert (len(journal), journal.dropped) == (0, 0)


# ------------------------------------------------------------------------------------------------ gates


def held(provider: MockProvider) -> None:
    """Come back when a stream waits at a gate; each look is a turn of the server's loop."""
    while not any(provider.gates.values()):
        pass


@pytest.mark.parametrize(
    ("gate", "before", "after"),
    [
        ("before-head", [], ["One", " two", " three", " four"]),
        ("after-first-token", ["One"], [" two", " three", " four"]),
        ("after-token-1", ["One"], [" two", " three", " four"]),
        ("after-token-3", ["One", " two", " three"], [" four"]),
        ("before-end", ["One", " two", " three", " four"], []),
    ],
)
@pytest.mark.parametrize("pace", ["instant", "head=0"])
def test_a_stream_waits_at_its_gate(
    gate: str, before: list[str], after: list[str], pace: str, provider: MockProvider
) -> None:
    """A stream sends exactly what is before the gate, and the rest when the gate is released."""
    provider.on().reply("One two three four", pace=pace)
    provider.hold(gate)
    with streaming(provider.url) as texts:
        assert [next(texts) for _ in before] == before
        [waiting] = provider.wait_for(outcome="open")
        held(provider)
        sent = waiting.sent.bytes
        assert (sent > 0) == bool(before)
        assert provider.release(gate) == 1
        assert list(texts) == after
    [ended] = provider.wait_for()
    assert ended is waiting
    assert (ended.sent.bytes > sent, provider.gates) == (True, {})


async def test_gates_work_on_the_tests_own_loop(in_loop: MockProvider) -> None:
    """An async test holds and releases a stream on its own loop, also one that is sent whole."""
    in_loop.on().reply("One two")
    async with aiohttp.ClientSession() as session:
        for stream in (True, False):
            with in_loop.held("before-end"):
                asking = asyncio.create_task(
                    session.post(in_loop.openai_url + "/chat/completions", data=prompt(stream=stream))
                )
                while not sum(in_loop.gates.values()):
                    await asyncio.sleep(0)
                assert in_loop.release("before-end") == 1
            async with await asking as response:
                assert b" two" in await response.read()
    assert [e.outcome for e in await in_loop.wait_for_async(2)] == ["complete"] * 2


def test_a_client_that_leaves_while_it_waits_is_noticed(provider: MockProvider) -> None:
    """A stream whose client leaves at a gate ends as `client-left`, and no longer counts as waiting there."""
    provider.hold("before-head")
    with contextlib.closing(connect(provider.url)) as connection:
        connection.request("POST", CHAT, prompt(stream=True), {"Content-Type": "application/json"})
        held(provider)
    [left] = provider.wait_for()
    assert (left.outcome, left.sent.bytes, provider.gates) == ("client-left", 0, {"before-head": 0})
    assert provider.release("before-head") == 0


def test_a_gate_that_nobody_holds_is_not_released(provider: MockProvider) -> None:
    """Releasing an open or unknown gate is an error that tells which gates are held."""
    provider.hold("before-end")
    with pytest.raises(SettingError, match="gate 'before-head' is not held; held: before-end"):
        provider.release("before-head")
    with pytest.raises(SettingError, match="unknown gate 'after-token-0'; allowed: before-head"):
        provider.release("after-token-0")
    with pytest.raises(SettingError, match="unknown gate 'soon'"):
        provider.hold("soon")
    provider.hold("before-end")
    assert provider.release("before-end") == 0
    with pytest.raises(SettingError, match="held: none"):
        provider.release("before-end")


def test_held_releases_its_gate_once(provider: MockProvider) -> None:
    """A `with held(...)` block opens its gate at the end, also when it raises or somebody opened it before."""
    with provider.held("before-head"):
        provider.release("before-head")
    with pytest.raises(ZeroDivisionError), provider.held("before-head"):
        raise ZeroDivisionError
    assert provider.gates == {}
    assert ask(provider.url).status == 200


def test_one_gate_has_two_names() -> None:
    """`after-token-1` and `after-first-token` are one gate, so that holding both holds a stream once."""
    gates = Gates()
    gates.hold("after-token-1")
    gates.hold("after-first-token")
    assert gates.positions() == {1: "after-first-token"}
    assert gates.release("after-token-1") == 0
    assert "after-first-token" not in gates


def test_a_stream_that_began_before_a_gate_was_closed_is_not_held(provider: MockProvider) -> None:
    """A gate holds the streams that begin after it was closed; one under way goes on."""
    provider.on().reply("One two three")
    provider.hold("after-first-token")
    with streaming(provider.url) as texts:
        assert next(texts) == "One"
        provider.hold("before-end")
        provider.release("after-first-token")
        assert list(texts) == [" two", " three"]


def test_deltas_reads_a_stream(provider: MockProvider) -> None:
    """The reader of these tests gets the text of a stream, delta by delta."""
    provider.on().reply("One two")
    with contextlib.closing(connect(provider.url)) as connection:
        connection.request("POST", CHAT, prompt(stream=True), {"Content-Type": "application/json"})
        assert list(deltas(connection)) == ["One", " two"]

"""The fixture as a test holds it: sentences, what happened afterwards, statements, and what a client survives."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from mockprovider import MockProvider, MockProviderError, contains, tool_call
from mockprovider.cases import TEXT, cases
from mockprovider.errors import SettingError
from mockprovider.pathology import is_legal, select
from mockprovider.verdict import Told
from tests.asking import ask, connect, prompt, streaming

if TYPE_CHECKING:
    from collections.abc import Callable

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def stream(base: str, content: str = "Hi!") -> str:
    """A plain client: streams one prompt, delivers the text, raises where the stream is not whole."""
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    try:
        connection.request("POST", f"{url.path}/chat/completions", prompt(content, stream=True))
        with connection.getresponse() as response:
            if response.status != 200:
                raise RuntimeError(f"status {response.status}")
            return text_of(response.read().decode())
    finally:
        connection.close()


def text_of(body: str) -> str:
    """The text of a stream, by the rules of WHATWG; RuntimeError where it does not come to its end."""
    body = body.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    parts: list[str] = []
    for block in body.split("\n\n")[:-1]:
        lines = [line.partition(":") for line in block.split("\n")]
        data = "\n".join(value.removeprefix(" ") for name, _, value in lines if name == "data")
        if data.strip() == "[DONE]":
            return "".join(parts)
        document = json.loads(data) if data else None
        choices = (document or {}).get("choices") or ()
        parts += [(choice.get("delta") or {}).get("content") or "" for choice in choices]
    raise RuntimeError("the stream ended without [DONE]")


def careless(base: str) -> str:
    """A client that takes whatever came for the answer."""
    try:
        return stream(base)
    except Exception:  # noqa: BLE001  that is what is wrong with it
        return ""


# ------------------------------------------------------------------------------------------------ the sentence


def test_a_rule_reads_as_a_sentence(mock_provider: MockProvider) -> None:
    """Conditions, a tool call, and then a text with a fault, in one expression, are what a client gets in turn."""
    mock_provider.on(model="gpt-*", messages=contains("weather")).reply(
        tool_call("get_weather", city="Paris")
    ).then_reply("It is sunny", faults="stall(after=3, seconds=0.2)")
    first = ask(mock_provider.url, "How is the weather?", tools=[WEATHER]).json["choices"][0]
    assert first["finish_reason"] == "tool_calls"
    assert first["message"]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    began = time.monotonic()
    assert stream(mock_provider.openai_url, "the weather") == "It is sunny"
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("conditions", "fields"),
    [
        ({"path": "/v1/chat/*"}, {}),
        ({"headers": {"x-team": "blue"}}, {}),
        ({"model": lambda name: name == "gpt-5"}, {}),
        ({"body": {"tools[*].function.name": contains("weather")}}, {"tools": [WEATHER]}),
        ({"tools": "get_weather"}, {"tools": [WEATHER]}),
        ({"turn": 1, "tool_result": False}, {}),
        ({"last": "Hi", "stream": False}, {}),
    ],
)
def test_every_matcher_chooses_the_rule(
    conditions: dict[str, Any], fields: dict[str, Any], mock_provider: MockProvider
) -> None:
    """A condition on path, headers, model, JSON path, tools, turn or tool result leads the request to its rule."""
    mock_provider.on(**conditions).reply("mine")
    mock_provider.on().reply("any other")
    assert ask(mock_provider.url, headers={"x-team": "blue"}, **fields).text == "mine"


def test_answers_come_in_order_each_as_often_as_it_says(mock_provider: MockProvider) -> None:
    """Once, n times, and the last one for ever; a last one with a number is used up."""
    mock_provider.on(last="a").reply("one").then_reply("two", times=2).then_reply("always")
    assert [ask(mock_provider.url, "a").text for _ in range(5)] == ["one", "two", "two", "always", "always"]
    mock_provider.on(last="b").reply("once", times=1)
    assert [ask(mock_provider.url, "b").status for _ in range(2)] == [200, 404]
    with pytest.raises(MockProviderError, match="all its answers are used up"):
        mock_provider.check()


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({}, (None, None)),
        ({"retry_after": 2}, ("2", None)),
        ({"retry_after": 0.25}, ("1", "250")),
        ({"retry_after": 1.0001}, ("2", "1001")),
        ({"retry_after": 0}, ("0", None)),
    ],
)
def test_rate_limits_say_when_to_come_again(
    given: dict[str, Any], headers: tuple[str | None, str | None], mock_provider: MockProvider
) -> None:
    """429 in the provider's shape, with whole seconds rounded up, and milliseconds where they say more."""
    mock_provider.on().rate_limit(times=1, **given).then_reply("at last")
    refused = ask(mock_provider.url)
    assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == headers
    assert ask(mock_provider.url).text == "at last"


@pytest.mark.parametrize("wait", [-1, math.inf, math.nan, True, "soon"])
def test_an_impossible_wait_is_refused(wait: Any, mock_provider: MockProvider) -> None:
    """What is no number of seconds is a SettingError at the line that says it."""
    with pytest.raises(SettingError, match="retry_after: expected seconds >= 0"):
        mock_provider.on().rate_limit(retry_after=wait)


def test_a_broken_matcher_is_an_error_and_never_no_match(mock_provider: MockProvider) -> None:
    """A predicate that raises fails the test at its end, though the client saw an error that it may have swallowed."""

    def broken(name: str) -> bool:
        raise KeyError(name)

    mock_provider.on(model=broken).reply("a")
    mock_provider.on().reply("b")
    assert ask(mock_provider.url).status == 500
    with pytest.raises(MockProviderError, match="the matcher broken raised KeyError: 'gpt-5'"):
        mock_provider.check()


# ------------------------------------------------------------------------------------------------ afterwards


def test_an_exchange_tells_all_that_happened(mock_provider: MockProvider) -> None:
    """Request, attempt, what was sent and when, which faults struck, and where the client left."""
    mock_provider.on().reply("One two three four", faults="stall(after=2,seconds=60)")
    with streaming(mock_provider.url) as texts:
        next(texts)
    [left] = mock_provider.wait_for(outcome="client-left")
    assert left.json["model"] == "gpt-5"
    assert left.headers["host"] == urlsplit(mock_provider.url).netloc
    assert left.body == prompt(stream=True)
    assert left.left_at == left.sent.bytes == sum(left.sent.sizes)
    assert [str(fault) for fault in left.struck] == ["stall(after=2,seconds=60)"]
    assert left.sent.times[0] >= left.started
    assert repr(left).endswith(f"200 client-left after {left.left_at} bytes>")
    mock_provider.reset()
    mock_provider.on().reply("a")
    ask(mock_provider.url)
    ask(mock_provider.url)
    assert [(e.attempt, e.left_at, e.struck) for e in mock_provider.exchanges] == [(1, None, ()), (2, None, ())]


def test_a_missing_request_is_shown_beside_the_nearest(mock_provider: MockProvider) -> None:
    """`assert_requested` returns what it asked for, or fails with the nearest request and a diff of what differs."""
    mock_provider.on().reply("a")
    ask(mock_provider.url, "How is the weather?", temperature=0.5)
    ask(mock_provider.url, "Hi!", model="o3")
    [found] = mock_provider.assert_requested(model="gpt-*", last="weather")
    assert found.json["temperature"] == 0.5
    assert len(mock_provider.assert_requested(2)) == 2
    mock_provider.assert_requested(0, model="claude-*")
    messages = [{"role": "user", "content": "How is the whether?"}]
    with pytest.raises(AssertionError) as caught:
        mock_provider.assert_requested(model="gpt-5", body={"messages": messages})
    said = str(caught.value)
    assert said.startswith("expected a request with model=glob('gpt-5'), body[messages]=[")
    first, second = mock_provider.exchanges
    assert f"the nearest is {first!r}:\n  body[messages]: expected" in said
    assert '    -  "content": "How is the whether?",\n    +  "content": "How is the weather?",' in said
    assert said.endswith(f"all exchanges:\n  {first!r}\n  {second!r}")
    with pytest.raises(AssertionError, match="expected 0 requests with model=glob\\('o3'\\), got 1 of 2"):
        mock_provider.assert_requested(0, model="o3")
    with pytest.raises(SettingError, match="unknown condition 'modle'"):
        mock_provider.assert_requested(modle="o3")  # type: ignore[call-arg]


def test_without_any_request_the_failure_says_so(mock_provider: MockProvider) -> None:
    """Nothing came, and nothing else is shown."""
    with pytest.raises(AssertionError) as caught:
        mock_provider.assert_requested()
    assert str(caught.value) == "expected a request with any request, got 0 of 0\nno request came"


# ------------------------------------------------------------------------------------------------ raised or swallowed


def test_a_program_that_raises_is_told_from_one_that_swallows(mock_provider: MockProvider) -> None:
    """The same cut stream is resilient where the program raised, and a finding where it reported success."""
    mock_provider.on().reply("The boats leave at eleven.", faults="eof(after=2)")
    with mock_provider.expect_stream_error(RuntimeError) as caught:
        stream(mock_provider.openai_url)
    assert str(caught.error) == "the stream ended without [DONE]"
    mock_provider.assert_resilient()
    mock_provider.delivered(careless(mock_provider.openai_url))
    with pytest.raises(AssertionError) as failed:
        mock_provider.assert_resilient()
    said = str(failed.value)
    assert said.startswith(
        "the program is not resilient: 1 finding\n  lost-text: the program reported success with 0 of"
    )
    assert said.endswith(", attempt 2>")
    mock_provider.assert_resilient(ignore=["lost-text"])


def test_an_error_that_does_not_come_fails_the_test(mock_provider: MockProvider) -> None:
    """A block that raises nothing is an assertion that shows the exchanges; other exceptions pass through."""
    mock_provider.on().reply("a", faults="eof(after=0)")
    with pytest.raises(AssertionError) as failed, mock_provider.expect_stream_error(RuntimeError):
        careless(mock_provider.openai_url)
    assert str(failed.value).startswith("expected RuntimeError, and the program went on as if all was well\nall exch")
    with pytest.raises(ZeroDivisionError), mock_provider.expect_stream_error(RuntimeError):
        _ = 1 / 0
    with pytest.raises(AssertionError, match="mine"), mock_provider.expect_stream_error():
        raise AssertionError("mine")


def test_statements_are_about_the_exchanges_since_the_last_one(mock_provider: MockProvider) -> None:
    """Two calls of a program are judged each by its own exchanges, whatever the other was told."""
    mock_provider.on(last="one").reply("First.")
    mock_provider.on(last="two").reply("Second.")
    mock_provider.delivered(stream(mock_provider.openai_url, "one"))
    mock_provider.delivered(stream(mock_provider.openai_url, "two"))
    mock_provider.assert_resilient()
    stream(mock_provider.openai_url, "one")
    mock_provider.delivered("Second.")
    with pytest.raises(AssertionError, match="wrong-text: "):
        mock_provider.assert_resilient()
    mock_provider.reset()
    mock_provider.on().reply("Anew.")
    mock_provider.delivered(stream(mock_provider.openai_url, "one"))
    mock_provider.assert_resilient()


def test_retries_are_judged_on_the_wire(mock_provider: MockProvider) -> None:
    """A client that comes back at once is early and one that never does gave up, without a word of the program."""
    mock_provider.on().rate_limit(retry_after=5, times=1).then_reply("a")
    ask(mock_provider.url)
    ask(mock_provider.url)
    with pytest.raises(
        AssertionError, match=r"retried-too-early: exchange \d+ was answered 429 and asked for .* of 5 s"
    ):
        mock_provider.assert_resilient()
    mock_provider.reset()
    mock_provider.on().error(503)
    ask(mock_provider.url)
    with pytest.raises(AssertionError, match=r"no-retry: exchange \d+ \(503\) ended as complete .*was not tried again"):
        mock_provider.assert_resilient()


def test_what_is_left_open_is_found_and_what_is_closed_in_time_is_not(mock_provider: MockProvider) -> None:
    """A held stream whose client is done is a finding; one that the client leaves meanwhile is none."""
    mock_provider.on().reply("One two three", pace="itl=0.01")
    with mock_provider.held("after-first-token"), streaming(mock_provider.url):
        mock_provider.delivered("One", cancelled=True)
        with pytest.raises(AssertionError, match=r"left-open: the program is done, and exchange \d+ is still open"):
            mock_provider.assert_resilient(timeout=0.01)
    mock_provider.assert_resilient()


def test_tokens_after_a_cancel_are_found(mock_provider: MockProvider) -> None:
    """A program that says it has cancelled, and reads on, is found by what was sent to it afterwards."""
    mock_provider.on().reply("One two")
    mock_provider.hold("after-first-token")
    with streaming(mock_provider.url) as texts:
        assert next(texts) == "One"
        mock_provider.delivered("One", cancelled=True)
        time.sleep(0.15)  # longer than the grace that what is under way has
        mock_provider.release("after-first-token")
        assert "".join(texts) == " two"
    with pytest.raises(AssertionError, match=r"streaming-after-cancel: exchange \d+ still sent"):
        mock_provider.assert_resilient()


async def test_in_a_loop_nothing_blocks(mock_provider_in_loop: MockProvider) -> None:
    """On its own loop the provider judges what has ended, and says what to wait for where something has not."""
    async with mock_provider_in_loop as provider:
        provider.on().reply("One two")
        provider.hold("before-end")
        asking = asyncio.create_task(asyncio.to_thread(stream, provider.openai_url))
        await provider.wait_for_async(outcome="open")
        with pytest.raises(MockProviderError, match="first `await wait_for_async"):
            provider.assert_resilient()
        provider.release("before-end")
        provider.delivered(await asking)
        await provider.wait_for_async()
        provider.assert_resilient()


# ------------------------------------------------------------------------------------------------ the catalogue


def test_a_careful_client_survives_what_is_legal(mock_provider: MockProvider) -> None:
    """One line runs a client against every legal case of a family; it must deliver the whole text each time."""
    mock_provider.assert_survives(stream, "sse", legal=True)
    assert {exchange.faults for exchange in mock_provider.exchanges} >= {"sse-crlf", "sse-bom", "sse-no-space"}


def test_a_careless_client_is_told_what_it_did_not_survive(mock_provider: MockProvider) -> None:
    """The failure names each case that was lost, what was on the wire, what was due, and what the client did."""
    with pytest.raises(AssertionError) as failed:
        mock_provider.assert_survives(careless, "sse-eof-no-finish", "sse-crlf", "http-500-json")
    said = str(failed.value)
    assert said.startswith("the client did not survive 2 of 3 cases:\n  http-500-json: retry: the program reported")
    assert "  sse-eof-no-finish: keep: the program reported success with ''\n    on the wire: Some text deltas" in said
    assert "    expected (keep): Keep the partial text reachable" in said


def test_a_client_may_be_a_coroutine_and_may_say_more_than_a_text(mock_provider: MockProvider) -> None:
    """A coroutine function is run on a loop; what is kept of a cut stream can be told beside the error."""

    async def client(base: str) -> str:
        return await asyncio.to_thread(stream, base)

    mock_provider.assert_survives(client, "sse-crlf")
    mock_provider.assert_survives(
        lambda _: Told("", error="cut") if not careless(_) else Told("?"), "sse-eof-no-finish"
    )
    with pytest.raises(MockProviderError, match="a client must return the text that it delivers, or Told"):
        mock_provider.assert_survives(lambda _: 5, "sse-crlf")  # type: ignore[arg-type, return-value]
    with pytest.raises(AssertionError, match="mine"):
        mock_provider.assert_survives(failing, "sse-crlf")
    with pytest.raises(AssertionError, match="the program asked for nothing"):
        mock_provider.assert_survives(lambda _: "", "sse-crlf")


def failing(_: str) -> str:
    """A client whose own assertion fails."""
    raise AssertionError("mine")


def test_a_port_of_its_own_is_survived_too(mock_provider: MockProvider) -> None:
    """A case before HTTP happens at the pathology's URL, and a client that raises survives it."""
    mock_provider.pathology("connect-refused").assert_survives(stream)
    with pytest.raises(AssertionError, match="connect-refused: "):
        mock_provider.pathology("connect-refused").assert_survives(careless)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"patterns": ("sse-crlf*",)}, {"sse-crlf", "sse-crlf-split"}),
        ({"patterns": ("ant-index-gap",), "dialect": "anthropic-messages"}, {"ant-index-gap"}),
        ({"patterns": ("think-gap*",)}, None),
        ({"patterns": ("think-gap*",), "can": "tools"}, {"think-gap-false-positive"}),
        ({"patterns": ("think-gap-false-positive",)}, {"think-gap-false-positive"}),
        ({"patterns": ("h2-*",)}, None),
        ({"patterns": ("sse-crlf", "sse-eof-no-finish"), "legal": False}, {"sse-eof-no-finish"}),
        ({"patterns": ("sse-crlf", "sse-eof-no-finish"), "legal": True}, {"sse-crlf"}),
        ({"patterns": ("timing",), "can": ["deadline", "read-timeout", "tools"], "legal": False}, "every"),
    ],
)
def test_cases_are_chosen_by_name_family_legality_and_ability(words: dict[str, Any], expected: Any) -> None:
    """Globs choose names, words families; what the client cannot do is left out unless it is asked for by name."""
    if expected is None:
        with pytest.raises(SettingError, match="no case is left"):
            select(**words)
        return
    chosen = {case.name for case in select(**words)}
    assert chosen == expected if expected != "every" else {"stall-mid-stream", "trickle"} <= chosen


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"patterns": ("sse-crfl",)}, "no case is called 'sse-crfl'; did you mean 'sse-crlf'?"),
        ({"patterns": ("zzz*",)}, "no case is called 'zzz*'; families: before, sse"),
        ({"can": "tool"}, "can: unknown ability 'tool'; did you mean 'tools'?"),
        ({"dialect": "openai"}, "dialect: unknown dialect 'openai'"),
    ],
)
def test_words_that_choose_nothing_are_refused(words: dict[str, Any], said: str) -> None:
    """A slip of the pen is an error with the nearest name, never an empty suite."""
    with pytest.raises(SettingError) as caught:
        select(**words)
    assert said in str(caught.value)


def test_legal_cases_expect_the_whole_text() -> None:
    """Legal is what has legal faults alone, and is to be delivered; a port that refuses is not."""
    legal = [case for case in cases().values() if case.available and is_legal(case)]
    assert {case.expect for case in legal} == {"deliver", "ignore"}
    assert not is_legal(cases()["connect-refused"])
    assert not is_legal(cases()["sse-eof-no-finish"])
    assert len(legal) > 40


# ------------------------------------------------------------------------------------------------ time


def test_cases_publish_their_seconds() -> None:
    """How long an answer takes and its longest silence are known beforehand, shorter by the server's speed."""
    with MockProvider(speed=4) as provider:
        known: Callable[[str], tuple[float, float]] = lambda name: (  # noqa: E731
            provider.pathology(name).seconds,
            provider.pathology(name).silence,
        )
        assert known("slow-headers") == (0.25, 0.25)
        assert known("sse-crlf") == (0.0, 0.0)
        assert known("stall-mid-stream") == (math.inf, math.inf)
        assert known("runaway")[0] == math.inf
        assert known("runaway")[1] == pytest.approx(0.01 / 4)
        assert known("connect-refused") == (0.0, 0.0)
        pathology = provider.pathology("sse-crlf", dialect="anthropic-messages")
        assert (pathology.text, pathology.expect, pathology.accept, str(pathology)) == (TEXT, "deliver", (), "sse-crlf")
        assert pathology.base_url == pathology.anthropic_url == provider.url + "/with/sse-crlf"
        assert pathology.judge(Told("")).why == "the program asked for nothing"


def test_speed_shortens_the_servers_waits_and_no_others() -> None:
    """Paces, stalls and `retry-after-ms` shrink; `Retry-After` in whole seconds stays."""
    with MockProvider(speed=1000, pace="ttft=10,itl=5") as provider:
        began = time.monotonic()
        provider.on(last="slow").reply("One two three", faults="stall(after=1,seconds=60)")
        provider.on(last="rate").rate_limit(retry_after=90.5)
        assert stream(provider.openai_url, "slow") == "One two three"
        assert time.monotonic() - began < 30
        refused = ask(provider.url, "rate")
        assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("91", "91")
    with MockProvider(speed=1000) as provider:
        case = ask(provider.url + "/with/http-429-retry-after-ms")
        assert (case.headers["retry-after"], case.headers["retry-after-ms"]) == ("1", "1")


def test_buckets_fill_as_much_faster() -> None:
    """With a speed, a limited client that waits the milliseconds it is told may go on."""
    with MockProvider(speed=600, limits="rpm=1") as provider:
        assert ask(provider.url).status == 200
        refused = ask(provider.url)
        assert refused.status == 429
        wait = int(refused.headers["retry-after-ms"]) / 1000
        assert 0 < wait <= 0.1
        time.sleep(wait)  # the client's own wait, which is what is tested
        assert ask(provider.url).status == 200


@pytest.mark.parametrize("speed", [0, -1, math.inf, math.nan, True, "fast"])
def test_an_impossible_speed_is_refused(speed: Any) -> None:
    """What is no factor above zero is a SettingError that names the setting."""
    with pytest.raises(SettingError, match="speed: expected a factor > 0"):
        MockProvider(speed=speed)


# ------------------------------------------------------------------------------------------------ several, and none


def test_several_providers_in_one_test(mock_provider: MockProvider) -> None:
    """A test may have another provider beside the fixture's; neither sees the other's requests or rules."""
    with MockProvider(reply="other") as other:
        mock_provider.on().reply("mine")
        assert (ask(mock_provider.url).text, ask(other.url).text) == ("mine", "other")
        assert (len(mock_provider.exchanges), len(other.exchanges)) == (1, 1)
        connection = connect(other.url)
        connection.close()

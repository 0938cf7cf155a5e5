"""How the public names are typed. mypy checks this file; nothing runs it.

Each function is a use that type checkers must accept. A line with `# type: ignore` is a mistake that they must see:
mypy reports an ignore that ignores nothing.
"""

from __future__ import annotations

from typing import assert_type

import mockprovider
from mockprovider import (
    Chunking,
    Citation,
    Exchange,
    MockProvider,
    NoMatchError,
    Pacing,
    Reasoning,
    Refusal,
    Reply,
    Text,
    Tokens,
    ToolCall,
    contains,
    equals,
    glob,
    regex,
    tool_call,
)
from mockprovider.pathology import Pathology
from mockprovider.verdict import Told
from mockprovider.when import When


def version() -> None:
    """The version is a text."""
    assert_type(mockprovider.__version__, str)


def settings() -> None:
    """Settings are given by name, as texts or as what they are made of."""
    MockProvider()
    MockProvider(seed=1, pace="official", chunking=Chunking(tokens_per_payload=2), reply="Hello", relay=True)
    MockProvider(reply=Reply.of("Hello"), pace=Pacing.parse("fast"), models=["gpt-5"], api_keys=("sk-one",))
    MockProvider(scenario="scenario.toml", seed=None)
    MockProvider(sede=1)  # type: ignore[call-arg]
    MockProvider(seed="1")  # type: ignore[arg-type]
    MockProvider("scenario.toml")  # type: ignore[call-arg]


def rules(provider: MockProvider) -> None:
    """Rules read as sentences, and each step returns the rule."""
    rule = provider.on(model="gpt-*", messages=contains("a"), last=regex("b"), path=glob("*"), stream=equals(True))
    assert_type(rule, When)
    assert_type(rule.reply("Hello", Reasoning("Hm."), Text("there"), finish="length", times=2), When)
    rule.then_reply(ToolCall("f", {"a": 1})).then_error(429, "slow", code="x", headers={"retry-after": 1})
    rule.reply(Refusal("no"), pace="fast", chunking="join=false")
    rule.reply(answer)
    rule.rate_limit(retry_after=0.5, times=2).then_rate_limit().then_reply(tool_call("f", a=1, b=[2]))
    rule.reply("Hello", Text("there", [Citation("https://a.example", title="A")]), usage=Tokens(prompt=9, cached=8))
    rule.reply("Hello", usage={"prompt": 9})  # type: ignore[arg-type]
    rule.reply(5)  # type: ignore[arg-type]
    rule.rate_limit(1)  # type: ignore[call-arg]
    provider.on(turn=1, tool_result=False, tools="f", headers={"a": "b"}, body={"tools[*].type": "function"})
    provider.on(model=lambda name: name == "gpt-5", messages=None)
    provider.on(modle="gpt-*")  # type: ignore[call-arg]
    provider.on(stream="yes")  # type: ignore[arg-type]
    rule.reply("a", times="2")  # type: ignore[arg-type]
    rule.error("429")  # type: ignore[arg-type]


def answer(exchange: Exchange) -> str:
    """An answer function."""
    assert_type(exchange.body, bytes)
    assert_type(exchange.outcome, str | None)
    assert_type(exchange.reply, Reply | None)
    return exchange.path


def use(provider: MockProvider) -> None:
    """A running provider tells where it is and what happened."""
    with provider as running:
        assert_type(running, MockProvider)
        assert_type(running.openai_url, str)
        assert_type(running.env(), dict[str, str])
        assert_type(running.exchanges, list[Exchange])
        assert_type(running.wait_for(2, outcome="complete"), list[Exchange])
        assert_type(running.release("before-end"), int)
        assert_type(running.gates, dict[str, int])
        with running.held("before-head"):
            running.reset()
        try:
            running.check()
        except NoMatchError as error:
            assert_type(error.args, tuple[object, ...])  # type: ignore[assert-type]


async def use_async(provider: MockProvider) -> None:
    """The same provider on the running loop."""
    async with provider as running:
        assert_type(running, MockProvider)
        assert_type(await running.wait_for_async(), list[Exchange])
        running.wait_for_async()  # type: ignore[unused-coroutine]


def afterwards(provider: MockProvider, pathology: Pathology) -> None:
    """What happened, what the program says of it, and what a client survives."""
    [first] = provider.assert_requested(1, model="gpt-*")
    assert_type(first.attempt, int)
    assert_type(first.left_at, int | None)
    provider.assert_requested(modle="gpt-*")  # type: ignore[call-arg]
    provider.delivered("Hello", error=ValueError("cut"), cancelled=True)
    with provider.expect_stream_error(ValueError, KeyError) as caught:
        assert_type(caught.error, Exception | None)
    provider.expect_stream_error(5)  # type: ignore[arg-type]
    provider.assert_resilient(ignore=["no-retry"], most_attempts=3, patience=10, timeout=1)
    provider.assert_survives(client, "sse-*", legal=True, can=("tools",), dialect="openai-chat")
    provider.assert_survives(client_async, can="retry")
    provider.assert_survives(len)  # type: ignore[arg-type]
    assert_type(provider.pathology("sse-crlf"), Pathology)
    assert_type(pathology.openai_url, str)
    assert_type(pathology.silence, float)
    assert_type(pathology.judge(Told("Hello")).reading, str | None)
    pathology.assert_survives(client)


def client(base_url: str) -> str | Told:
    """A client under test."""
    return Told(None, error=base_url)


async def client_async(base_url: str) -> str:
    """One that is a coroutine function."""
    return base_url

"""Frameworks on the dialects beside chat: Anthropic's messages and OpenAI's Responses, streamed and whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mockprovider.provider import MockProvider
from mockprovider.reply import Reasoning, ToolCall

pytestmark = [pytest.mark.mockprovider(seed=1), pytest.mark.usefixtures("leaves_connections")]

TEXT = "Grüße, 世界! This is a text of some tokens.\n"
THOUGHT = "Let me see. "
CALL = ToolCall("look", {"up": "é"})
CALLED = [("look", {"up": "é"})]
TOOL: dict[str, Any] = {
    "name": "look",
    "description": "Looks something up.",
    "parameters": {"type": "object", "properties": {"up": {"type": "string"}}},
}


def langchain_reads(model: Any) -> None:
    """Text, thoughts, calls and the account of a model that has been told to say them, whole and streamed."""
    bound = model.bind_tools([TOOL])
    whole, streamed = bound.invoke("Hi"), None
    for chunk in bound.stream("Hi"):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed is not None
    for said in (whole, streamed):
        assert said.text == TEXT
        assert [(call["name"], call["args"]) for call in said.tool_calls] == CALLED
        thoughts = [block.get("reasoning") for block in said.content_blocks if block["type"] == "reasoning"]
        assert "".join(filter(None, thoughts)) == THOUGHT
    assert streamed.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"] > 10


def test_langchain_anthropic(mock_provider: MockProvider) -> None:
    """langchain-anthropic gets text, thinking, calls and the same account, whole and streamed."""
    module = pytest.importorskip("langchain_anthropic", reason="langchain-anthropic is not installed")
    mock_provider.on().reply(Reasoning(THOUGHT), TEXT, CALL)
    langchain_reads(
        module.ChatAnthropic(
            model="claude-haiku-4-5",
            base_url=mock_provider.anthropic_url,
            api_key="sk-any",
            max_retries=0,
            max_tokens=4096,
            thinking={"type": "enabled", "budget_tokens": 1024},
        )
    )
    assert {exchange.dialect for exchange in mock_provider.exchanges} == {"anthropic-messages"}


def test_langchain_openai_on_responses(mock_provider: MockProvider) -> None:
    """langchain-openai with `use_responses_api` gets text, summaries of reasoning, calls and the same account."""
    module = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    mock_provider.on().reply(Reasoning(THOUGHT), TEXT, CALL)
    langchain_reads(
        module.ChatOpenAI(
            model="gpt-5.5",
            base_url=mock_provider.openai_url,
            api_key="sk-any",
            max_retries=0,
            use_responses_api=True,
            reasoning={"effort": "low", "summary": "auto"},
        )
    )
    assert {exchange.dialect for exchange in mock_provider.exchanges} == {"openai-responses"}


@pytest.mark.parametrize("dialect", ["anthropic-messages", "openai-responses"])
def test_pydantic_ai_runs_its_loop(mock_provider: MockProvider, dialect: str) -> None:
    """pydantic-ai calls the tool, sends what it returned, and streams the answer, in either dialect."""
    agents = pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
    mock_provider.on().reply(CALL).then_reply(TEXT)
    model: Any
    if dialect == "anthropic-messages":
        models = pytest.importorskip("pydantic_ai.models.anthropic", reason="pydantic-ai[anthropic] is not installed")
        providers = pytest.importorskip("pydantic_ai.providers.anthropic")
        provider = providers.AnthropicProvider(api_key="sk-any", base_url=mock_provider.anthropic_url)
        model = models.AnthropicModel("claude-haiku-4-5", provider=provider)
    else:
        models = pytest.importorskip("pydantic_ai.models.openai", reason="pydantic-ai[openai] is not installed")
        providers = pytest.importorskip("pydantic_ai.providers.openai")
        provider = providers.OpenAIProvider(api_key="sk-any", base_url=mock_provider.openai_url)
        model = models.OpenAIResponsesModel("gpt-5.5", provider=provider)
    agent = agents.Agent(model)
    looked: list[str] = []

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def look(up: str) -> str:
        """Looks something up."""
        looked.append(up)
        return "found"

    async def talk() -> tuple[str, Any]:
        async with agent.run_stream("Hi") as result:
            text = "".join([piece async for piece in result.stream_text(delta=True)])
            return text, result.usage

    text, usage = asyncio.run(talk())
    assert (text, looked) == (TEXT, ["é"])
    assert (usage.requests, usage.tool_calls) == (2, 1)
    assert usage.output_tokens > 10
    assert [exchange.dialect for exchange in mock_provider.exchanges] == [dialect] * 2

"""Providers' own clients, and frameworks, on the flavours that are meant for them."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest

from mockprovider.provider import MockProvider
from mockprovider.reply import Reasoning, ToolCall

pytestmark = pytest.mark.mockprovider(seed=1)

TEXT = "Grüße, 世界! This is a text of some tokens.\n"
CALL = ToolCall("look", {"up": "é"})
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"up": {"type": "string"}}}},
}
HI: Any = [{"role": "user", "content": "Hi"}]


def test_groq(mock_provider: MockProvider) -> None:
    """Groq's client, whose host alone was replaced, gets text, thoughts, calls and its own account."""
    groq = pytest.importorskip("groq", reason="Groq's client is not installed")
    mock_provider.on().reply(Reasoning("Hm. "), TEXT, CALL)
    client = groq.Groq(base_url=mock_provider.url, api_key="gsk", max_retries=0)
    said = client.chat.completions.create(model="openai/gpt-oss-120b", messages=HI, tools=[TOOL])
    message = said.choices[0].message
    assert (message.content, message.reasoning) == (TEXT, "Hm. ")
    assert json.loads(message.tool_calls[0].function.arguments) == {"up": "é"}
    assert said.usage.total_time > 0
    assert said.x_groq.id.startswith("req_01")
    chunks = list(client.chat.completions.create(model="openai/gpt-oss-120b", messages=HI, tools=[TOOL], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert "".join(chunk.choices[0].delta.reasoning or "" for chunk in chunks) == "Hm. "
    assert chunks[-1].x_groq.usage.completion_tokens == said.usage.completion_tokens
    client.close()


def test_mistral(mock_provider: MockProvider) -> None:
    """Mistral's client gets text, thoughts and calls, streamed and whole, strictly by its own types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("mistralai", reason="Mistral's client is not installed")
        from mistralai.client import Mistral
    mock_provider.on().reply(TEXT, CALL)
    with Mistral(api_key="key", server_url=f"{mock_provider.url}/as/mistral") as client:
        said = client.chat.complete(model="mistral-large-latest", messages=HI, tools=[TOOL], tool_choice="any")
        message = said.choices[0].message
        assert message is not None
        assert message.content == TEXT
        assert message.tool_calls
        assert message.tool_calls[0].function.arguments in ('{"up":"é"}', {"up": "é"})
        with client.chat.stream(model="mistral-large-latest", messages=HI, tools=[TOOL]) as running:
            events = [event.data for event in running]
        assert "".join(str(event.choices[0].delta.content or "") for event in events) == TEXT
        assert events[-1].choices[0].delta.tool_calls
        assert events[-1].usage is not None


@pytest.mark.usefixtures("leaves_connections")
@pytest.mark.parametrize("name", ["openai", "groq", "openrouter", "deepseek", "xai", "together", "azure"])
def test_langchain(mock_provider: MockProvider, name: str) -> None:
    """LangChain's chat model for OpenAI gets text, calls and the account of every provider that imitates OpenAI."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chat = pytest.importorskip("langchain_openai", reason="LangChain is not installed")
    mock_provider.on().reply(TEXT, CALL)
    model = chat.ChatOpenAI(
        model="gpt-4o", base_url=f"{mock_provider.url}/as/{name}/v1", api_key="k", stream_usage=True, max_retries=0
    ).bind_tools([TOOL])
    whole = model.invoke("Hi")
    streamed = None
    for chunk in model.stream("Hi"):
        streamed = chunk if streamed is None else streamed + chunk
    for message in (whole, streamed):
        assert message is not None
        assert message.text == TEXT
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [("look", {"up": "é"})]
        assert message.usage_metadata["total_tokens"] > 5


@pytest.mark.usefixtures("leaves_connections")
@pytest.mark.parametrize("name", ["openai", "groq", "deepseek", "openrouter", "llama.cpp", "azure"])
def test_pydantic_ai(mock_provider: MockProvider, name: str) -> None:
    """Pydantic AI's agent gets its answer from every flavour, streamed and whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pydantic_ai", reason="Pydantic AI is not installed")
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider
    mock_provider.on().reply(TEXT)
    endpoint = OpenAIProvider(base_url=f"{mock_provider.url}/as/{name}/v1", api_key="k")
    agent = Agent(OpenAIChatModel("gpt-4o", provider=endpoint))

    async def ask() -> tuple[str, str]:
        whole = (await agent.run("Hi")).output
        async with agent.run_stream("Hi") as running:
            streamed = await running.get_output()
        await endpoint.client.close()
        return whole, streamed

    assert asyncio.run(ask()) == (TEXT, TEXT)


@pytest.mark.parametrize("name", ["groq", "openrouter", "deepseek", "xai"])
def test_litellm(mock_provider: MockProvider, name: str) -> None:
    """LiteLLM's own reading of each provider gets text and thoughts, streamed and whole."""
    litellm = pytest.importorskip("litellm", reason="LiteLLM is not installed: it pins an OpenAI SDK of its own")
    mock_provider.on().reply(Reasoning("Hm. "), TEXT)
    asked: dict[str, Any] = {
        "model": f"{name}/some-model",
        "messages": HI,
        "api_base": f"{mock_provider.url}/as/{name}/v1",
        "api_key": "k",
    }
    whole = litellm.completion(**asked).choices[0].message
    assert whole.content == TEXT
    assert getattr(whole, "reasoning_content", None) == "Hm. " or name == "groq"  # whose field it does not read
    chunks = list(litellm.completion(**asked, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT

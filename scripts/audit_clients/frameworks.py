"""Frameworks in Python that stand on the vendors' SDKs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent

from scripts.audit_clients.spec import ANTHROPIC, Spec, named, spec

CLIENTS: dict[str, Spec] = {}

_LANGCHAIN = ("langchain_core", "langchain_openai", "langchain_anthropic", "openai", "anthropic")


def _langchain(model: Any, task: Any) -> Iterator[Any]:
    whole = None
    for chunk in model.stream(task.prompt):
        yield chunk.text if isinstance(chunk.text, str) else chunk.text()
        whole = chunk if whole is None else whole + chunk
    if whole is None:
        return
    calls = [{"name": call["name"], "arguments": call["args"]} for call in whole.tool_calls]
    calls += [{"name": call["name"], "arguments": call["args"]} for call in whole.invalid_tool_calls]
    known = whole.response_metadata
    yield {"finish": known.get("finish_reason") or known.get("stop_reason"), "tool_calls": calls}


@spec(CLIENTS, "langchain-openai", "langchain-openai {}", package="langchain-openai", own=_LANGCHAIN, can=("tools",))
def langchain_openai(task: Any) -> Iterator[Any]:
    """LangChain's chat model for OpenAI."""
    model = ChatOpenAI(model=task.model, base_url=task.base_url, api_key=task.api_key, timeout=task.timeout)
    yield from _langchain(model, task)


@spec(
    CLIENTS, "langchain-anthropic", "langchain-anthropic {}", package="langchain-anthropic", dialect=ANTHROPIC,
    own=_LANGCHAIN, can=("tools",),
)  # fmt: skip
def langchain_anthropic(task: Any) -> Iterator[Any]:
    """LangChain's chat model for Anthropic."""
    model = ChatAnthropic(
        model_name=task.model, base_url=task.base_url, api_key=task.api_key, timeout=task.timeout, stop=None
    )
    yield from _langchain(model, task)


async def _pydantic(model: Any, task: Any) -> AsyncIterator[Any]:
    async with Agent(model).run_stream(task.prompt) as result:
        async for text in result.stream_text(delta=True, debounce_by=None):
            yield text
        yield named(getattr(result.response, "finish_reason", None))


@spec(CLIENTS, "pydantic-ai-openai", "pydantic-ai {} (OpenAI)", package="pydantic-ai-slim", own=("pydantic_ai",))
async def pydantic_openai(task: Any) -> AsyncIterator[Any]:
    """pydantic-ai's agent with its model for OpenAI's chat completions."""
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with AsyncOpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client:
        async for piece in _pydantic(OpenAIChatModel(task.model, provider=OpenAIProvider(openai_client=client)), task):
            yield piece


@spec(
    CLIENTS, "pydantic-ai-anthropic", "pydantic-ai {} (Anthropic)", package="pydantic-ai-slim", dialect=ANTHROPIC,
    own=("pydantic_ai",),
)  # fmt: skip
async def pydantic_anthropic(task: Any) -> AsyncIterator[Any]:
    """pydantic-ai's agent with its model for Anthropic."""
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    async with AsyncAnthropic(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client:
        model = AnthropicModel(task.model, provider=AnthropicProvider(anthropic_client=client))
        async for piece in _pydantic(model, task):
            yield piece


@spec(CLIENTS, "openai-agents", "openai-agents {}", package="openai-agents", own=("agents", "openai"))
async def openai_agents(task: Any) -> AsyncIterator[Any]:
    """The OpenAI Agents SDK over chat completions."""
    import agents
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client:
        model = agents.OpenAIChatCompletionsModel(model=task.model, openai_client=client)
        result = agents.Runner.run_streamed(agents.Agent(name="audited", model=model), task.prompt)
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                yield event.data.delta

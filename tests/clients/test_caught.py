"""Known bugs of public client packages, each caught by a test of five lines with the fixture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest

if TYPE_CHECKING:
    from mockprovider import MockProvider

pytestmark = pytest.mark.usefixtures("leaves_connections")


SAID = "The boats leave at eleven."


def by_openai(base_url: str) -> str:
    """A program on openai's SDK."""
    with openai.OpenAI(base_url=base_url, api_key="any", timeout=10) as client:
        stream = client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "When?"}], stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def by_anthropic(base_url: str) -> str:
    """A program on anthropic's SDK."""
    with anthropic.Anthropic(base_url=base_url, api_key="any", timeout=10) as client:
        messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "When?"}]
        with client.messages.stream(model="claude-haiku", max_tokens=100, messages=messages) as stream:
            return "".join(stream.text_stream)


async def by_pydantic_ai(base_url: str) -> tuple[str, str | None]:
    """A program on pydantic-ai: the text, and the finish reason that it tells."""
    pytest.importorskip("pydantic_ai", reason="pydantic-ai-slim[openai] is not installed")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", timeout=10) as client:
        agent = Agent(OpenAIChatModel("gpt-5", provider=OpenAIProvider(openai_client=client)))
        async with agent.run_stream("When?") as result:
            text = await result.get_output()
            return text, result.response.finish_reason


def test_openai_takes_half_an_answer_for_the_whole(mock_provider: MockProvider) -> None:
    """A clean end half way, with neither finish reason nor sentinel, is a success for openai's chat stream."""
    mock_provider.on().reply(SAID, faults="eof(after=3)")
    mock_provider.delivered(by_openai(mock_provider.openai_url))
    with pytest.raises(AssertionError, match="lost-text: the program reported success with 15 of 26 characters"):
        mock_provider.assert_resilient()


def test_openai_takes_a_login_page_for_an_empty_answer(mock_provider: MockProvider) -> None:
    """An HTML page with status 200 is an empty success for openai's chat stream."""
    mock_provider.on().reply(SAID, faults="http-200-html")
    mock_provider.delivered(by_openai(mock_provider.openai_url))
    with pytest.raises(AssertionError, match="lost-text: the program reported success with 0 of 26 characters"):
        mock_provider.assert_resilient()


def test_openai_leaks_the_errors_of_its_json_parser(mock_provider: MockProvider) -> None:
    """An event that is no JSON surfaces as JSONDecodeError, which no `except openai.OpenAIError` catches."""
    mock_provider.on().reply(SAID, faults="json-truncated-event")
    with pytest.raises(json.JSONDecodeError), mock_provider.expect_stream_error(openai.OpenAIError):
        by_openai(mock_provider.openai_url)


def test_anthropic_takes_half_an_answer_for_the_whole(mock_provider: MockProvider) -> None:
    """A clean end without `message_stop` is a success for anthropic's text stream."""
    mock_provider.on().reply(SAID, faults="eof(after=3)")
    mock_provider.delivered(by_anthropic(mock_provider.anthropic_url))
    with pytest.raises(AssertionError, match="lost-text: the program reported success with 15 of 26 characters"):
        mock_provider.assert_resilient()


async def test_pydantic_ai_invents_a_finish_reason(mock_provider: MockProvider) -> None:
    """pydantic-ai delivers half an answer, and says of it that it stopped by itself."""
    mock_provider.on().reply(SAID, faults="eof(after=3)")
    text, reason = await by_pydantic_ai(mock_provider.openai_url)
    mock_provider.delivered(text)
    assert reason == "stop"
    with pytest.raises(AssertionError, match="lost-text: the program reported success with 15 of 26 characters"):
        mock_provider.assert_resilient()


def test_the_same_programs_are_right_where_nothing_goes_wrong(mock_provider: MockProvider) -> None:
    """What is found above is the fault's doing: without one, the programs deliver the whole text."""
    mock_provider.on().reply(SAID)
    mock_provider.delivered(by_openai(mock_provider.openai_url))
    mock_provider.delivered(by_anthropic(mock_provider.anthropic_url))
    mock_provider.assert_resilient()

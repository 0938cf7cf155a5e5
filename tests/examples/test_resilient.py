"""A client that waits as long as it is told, and one that says when a stream was cut."""

from __future__ import annotations

import openai
import pytest


def ask(mock_provider):
    with openai.OpenAI(base_url=mock_provider.openai_url, api_key="any") as client:
        messages = [{"role": "user", "content": "When do the boats leave?"}]
        stream = client.chat.completions.create(model="gpt-5", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_it_waits_as_long_as_it_is_told(mock_provider):
    mock_provider.on().rate_limit(retry_after=0.1).then_reply("The boats leave at eleven.")
    mock_provider.delivered(ask(mock_provider))
    mock_provider.assert_resilient()


def test_a_broken_connection_is_an_error(mock_provider):
    mock_provider.on().reply("The boats leave at eleven.", faults="reset(after=3)")
    with mock_provider.expect_stream_error(openai.APIConnectionError):
        ask(mock_provider)
    mock_provider.assert_resilient()


def test_half_an_answer_is_taken_for_the_whole(mock_provider):
    mock_provider.on().reply("The boats leave at eleven.", faults="eof(after=3)")
    mock_provider.delivered(ask(mock_provider))
    with pytest.raises(AssertionError, match="lost-text: the program reported success with 15 of 26 characters"):
        mock_provider.assert_resilient()

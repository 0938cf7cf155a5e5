"""A client against the catalogue: a test a case, and all in one."""

from __future__ import annotations

import openai
import pytest


def my_client(base_url):
    with openai.OpenAI(base_url=base_url, api_key="any", timeout=5) as client:
        messages = [{"role": "user", "content": "Hi!"}]
        stream = client.chat.completions.create(model="gpt-5", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.mark.pathologies("sse-crlf*", "sse-bom", "utf8-*", legal=True)
def test_odd_but_legal_streams_are_read(pathology):
    assert my_client(pathology.openai_url) == pathology.text


@pytest.mark.pathologies("http-500-json", "http-429-retry-after-ms", "rst-*", can="retry")
@pytest.mark.mockprovider(speed=10)
def test_what_goes_wrong_is_survived(pathology):
    pathology.assert_survives(my_client)


def test_the_client_survives_it_all(mock_provider):
    mock_provider.assert_survives(my_client, "transfer", legal=True)

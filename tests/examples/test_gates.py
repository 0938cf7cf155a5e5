"""Gates instead of sleeps: what a client does in the middle of a stream."""

from __future__ import annotations

import httpx
import pytest

BODY = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "Hi!"}]}


@pytest.mark.asyncio
async def test_text_is_shown_as_it_comes(mock_provider):
    mock_provider.on().reply("One two three")
    mock_provider.hold("after-first-token")
    shown = ""
    url = mock_provider.openai_url + "/chat/completions"
    async with httpx.AsyncClient() as client, client.stream("POST", url, json=BODY) as response:
        async for part in response.aiter_text():
            shown += part
            if "One" in shown and mock_provider.gates:
                assert "two" not in shown
                mock_provider.release("after-first-token")
    assert "three" in shown


def test_leaving_stops_the_stream(mock_provider):
    mock_provider.on().reply("One two three")
    with mock_provider.held("after-first-token"), httpx.Client() as client:
        with client.stream("POST", mock_provider.openai_url + "/chat/completions", json=BODY) as response:
            next(response.iter_text())
        mock_provider.delivered("One", cancelled=True)
        [left] = mock_provider.wait_for(outcome="client-left")
    assert b"two" not in b"".join(left.sent.data)
    mock_provider.assert_resilient()

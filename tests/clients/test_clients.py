"""Real clients get the scripted text exactly, streamed and whole."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from tests.clients import programs, python_clients
from tests.clients.text import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockprovider import MockProvider

    Ask = Callable[[str], str]

BOTH: dict[str, Callable[..., str]] = {
    "openai": python_clients.openai_sync,
    "openai-async": python_clients.openai_async,
    "httpx-iter-lines": python_clients.httpx_lines,
    "aiohttp": python_clients.aiohttp_lines,
    "requests": python_clients.requests_lines,
    "curl": programs.curl,
    "curl-http1.0": programs.curl_http10,
    "node-fetch": programs.node_fetch,
    "node-openai": programs.node_openai,
    "chromium": programs.chromium,
}
STREAM_ONLY: dict[str, Ask] = {
    "openai-helper": python_clients.openai_helper,
    "httpx-sseclient": python_clients.httpx_sseclient,
    "httpx-sse": python_clients.httpx_sse_events,
    "node-eventsource-parser": programs.node_eventsource_parser,
}
STREAMED: dict[str, Ask] = {
    **{name: functools.partial(client, stream=True) for name, client in BOTH.items()},
    **STREAM_ONLY,
}
WHOLE: dict[str, Ask] = {name: functools.partial(client, stream=False) for name, client in BOTH.items()}


def outcomes(mock_provider: MockProvider) -> list[str | None]:
    """How each exchange ended, but for the preflights that browsers send."""
    return [exchange.outcome for exchange in mock_provider.exchanges if exchange.method != "OPTIONS"]


@pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED.keys())
def test_a_streaming_client_of_the_fixture_gets_the_scripted_text(ask: Ask, mock_provider: MockProvider) -> None:
    """Each client reads the scripted text, to the character, from one complete stream of the fixture's."""
    mock_provider.on().reply(TEXT)
    assert ask(mock_provider.openai_url) == TEXT
    assert outcomes(mock_provider) == ["complete"]


@pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED.keys())
def test_a_streaming_client_gets_the_text_however_it_is_cut(ask: Ask, mock_provider: MockProvider) -> None:
    """Each client reads the same text when every event comes in eleven pieces, cut wherever that falls."""
    mock_provider.on().reply(TEXT, chunking="tokens_per_payload=9,payloads_per_chunk=1/11,chunks_per_write=1")
    assert ask(mock_provider.openai_url) == TEXT


@pytest.mark.parametrize("ask", WHOLE.values(), ids=WHOLE.keys())
def test_a_client_of_the_fixture_gets_the_scripted_text_in_a_whole_reply(ask: Ask, mock_provider: MockProvider) -> None:
    """Each client reads the scripted text, to the character, from one whole reply of the fixture's."""
    mock_provider.on().reply(TEXT)
    assert ask(mock_provider.openai_url) == TEXT
    assert outcomes(mock_provider) == ["complete"]


@pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED.keys())
def test_a_streaming_client_of_the_process_gets_the_reply(ask: Ask, process_url: str) -> None:
    """Each client reads the text of `serve --reply @FILE`, to the character, from a stream."""
    assert ask(process_url) == TEXT


@pytest.mark.parametrize("ask", WHOLE.values(), ids=WHOLE.keys())
def test_a_client_of_the_process_gets_the_reply_whole(ask: Ask, process_url: str) -> None:
    """Each client reads the text of `serve --reply @FILE`, to the character, from a whole reply."""
    assert ask(process_url) == TEXT

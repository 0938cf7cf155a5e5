"""SDKs without a line of configuration, and nothing reaches the network."""

from __future__ import annotations

import socket

import anthropic
import pytest


@pytest.mark.loopback_only
@pytest.mark.usefixtures("mock_provider_env")
def test_the_environment_is_enough(mock_provider):
    mock_provider.on(model="claude-*").reply("Hello")
    with anthropic.Anthropic() as client:
        messages = [{"role": "user", "content": "Hi!"}]
        said = client.messages.create(model="claude-haiku", max_tokens=100, messages=messages)
    assert said.content[0].text == "Hello"


def test_nothing_gets_out(loopback_only):
    with pytest.raises(OSError, match="the network guard is on"):
        socket.create_connection(("192.0.2.1", 443))
    loopback_only.attempts.clear()  # this test means it

"""Requests that are no HTTP, or more of it than usual: an answer in the provider's shape, and no traceback."""

from __future__ import annotations

import json
import logging
import socket
from urllib.parse import urlsplit

import pytest

from mockprovider import MockProvider
from tests.asking import CHAT, prompt


def answer(url: str, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of what comes for these bytes, read until the connection ends."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as made:
        made.sendall(request)
        received = b""
        while part := made.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"this is no HTTP\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ],
    ids=["text", "version", "header", "chunk", "length"],
)
def test_what_is_no_http_gets_a_shaped_400(request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is JSON with an error object, the connection ends, and nothing is logged as our error."""
    with caplog.at_level(logging.DEBUG), MockProvider() as provider:
        status, head, body = answer(provider.url, request_bytes)
    assert status == 400
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_hundreds_of_headers_are_no_error(mock_provider: MockProvider) -> None:
    """A request with a thousand headers is answered like any other."""
    mock_provider.on().reply("Hello.")
    body = prompt()
    lines = [f"POST /~{mock_provider.url.rpartition('~')[2]}{CHAT} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"X-Header-{number}: {number}" for number in range(1000)]
    lines += [f"Content-Length: {len(body)}", "", ""]
    status, _, got = answer(mock_provider.url, "\r\n".join(lines).encode() + body)
    assert status == 200
    assert json.loads(got)["choices"][0]["message"]["content"] == "Hello."


def test_an_unknown_method_is_refused_in_shape(mock_provider: MockProvider) -> None:
    """A method that HTTP does not know is a 405, or a 400, in the provider's shape."""
    status, _, body = answer(
        mock_provider.url, b"FOO /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert status in (400, 405)
    assert "error" in json.loads(body)

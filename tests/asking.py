"""Prompts by the standard library's HTTP client, and exchanges that never were on a wire."""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from multidict import CIMultiDict

from mockprovider.dialects.openai_chat import OpenAIChat
from mockprovider.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHAT = "/v1/chat/completions"
TIMEOUT_S = 20.0


def prompt(content: str = "Hi!", **fields: Any) -> bytes:
    """The body of a chat completion request."""
    return json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": content}], **fields}).encode()


def exchange(content: str = "Hi!", headers: Mapping[str, str] | None = None, **fields: Any) -> Exchange:
    """A chat completion request as a scenario sees it."""
    made = Exchange(1, "", "POST", CHAT, "", CIMultiDict(headers or {}), started=0.0, wall=0.0)
    made.body = prompt(content, **fields)
    made.ask = OpenAIChat().parse(made.body, made.headers)
    return made


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What the first choice of a whole chat completion says."""
        assert self.status == 200, self.body
        return str(self.json["choices"][0]["message"]["content"])


def request(method: str, url: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own. A header `Host` replaces the client's."""
    with contextlib.closing(connect(url)) as connection:
        path = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def connect(url: str) -> http.client.HTTPConnection:
    """A connection to the server of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)


def ask(base: str, content: str = "Hi!", *, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
    """A prompt to the server with this base URL (without `/v1`), answered whole unless `stream=True`."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    return request("POST", base + CHAT, prompt(content, **fields), sent)


@contextlib.contextmanager
def streaming(base: str, content: str = "Hi!", **fields: Any) -> Iterator[Iterator[str]]:
    """A prompt whose answer is streamed: the deltas of its text as they come."""
    with contextlib.closing(connect(base)) as connection:
        path = urlsplit(base).path + CHAT
        connection.request("POST", path, prompt(content, stream=True, **fields), {"Content-Type": "application/json"})
        yield deltas(connection)


def deltas(connection: http.client.HTTPConnection) -> Iterator[str]:
    """The texts of a streamed answer that has been asked for."""
    with connection.getresponse() as response:
        assert response.status == 200, response.read()
        for line in response:
            data = line.strip().removeprefix(b"data: ")
            if data and data != b"[DONE]":
                for choice in json.loads(data)["choices"]:
                    if text := choice["delta"].get("content"):
                        yield text

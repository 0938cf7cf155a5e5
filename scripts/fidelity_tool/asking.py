"""Asks our own server what a recorded request asked, and has it say what the recording says."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from mockprovider.provider import MockProvider
from mockprovider.reply import ToolCall
from scripts.fidelity_tool.events import CHAT, Event, events
from scripts.fidelity_tool.recordings import Recorded
from scripts.fidelity_tool.replies import script

__all__ = ["Answered", "Server"]

_PATHS = {
    CHAT: "/v1/chat/completions",
    "openai-completions": "/v1/completions",
    "openai-responses": "/v1/responses",
    "openai-embeddings": "/v1/embeddings",
    "anthropic-messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    "ollama-chat": "/api/chat",
    "ollama-generate": "/api/generate",
}
"""Where a request goes whose own path was not recorded."""

_SENT = ("anthropic-version", "anthropic-beta", "api-key", "x-api-key", "x-goog-api-key")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""What would end our reply elsewhere than the recorded one, since tokens are counted otherwise."""


@dataclass(frozen=True)
class Answered:
    """What our server answered; headers' names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[Event]:
        """The events of the body."""
        return events(self.body, self.headers.get("content-type", ""))


class Server:
    """Our server: one that takes every key and model, and others, made when first needed, that take none but one."""

    def __init__(self) -> None:
        self._running: dict[str, MockProvider] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        for provider in self._running.values():
            provider.close()

    def _provider(self, what: str) -> MockProvider:
        if what not in self._running:
            settings: dict[str, Any] = {
                "": {},
                "key": {"api_keys": ["sk-the-only-key-that-is-known"]},
                "model": {"models": ["the-only-model"]},
            }[what]
            self._running[what] = MockProvider(seed=1, speed=1000, **settings).start()
        return self._running[what]

    def answer(self, recorded: Recorded, flavour: str) -> Answered:
        """The answer to the recorded request in this flavour, scripted to say what was recorded."""
        if recorded.status >= 400:
            return self._refusal(recorded, flavour)
        provider = self._provider("")
        provider.reset()
        reply = script(recorded.dialect, recorded.documents)
        provider.on().reply(reply)
        # Comments come while a client waits, so it has to wait where some were recorded.
        waits = any(event.comment is not None for event in recorded.events)
        return _send(provider, recorded, flavour, pace="ttft=40" if waits else "instant")

    def _refusal(self, recorded: Recorded, flavour: str) -> Answered:
        """An error of the same kind: the server's own where it makes one, else a scripted one."""
        said = recorded.body.decode("utf-8", "replace")
        about_key = any(word in said for word in ("API key", "api key", "API Key", "Authentic", "subscription key"))
        if recorded.status == 401 or (recorded.status == 400 and about_key):
            return _send(self._provider("key"), recorded, flavour)
        if recorded.status == 404 and "model" in said:
            return _send(self._provider("model"), recorded, flavour)
        provider = self._provider("")
        provider.reset()
        known = recorded.documents[0].get("error") if recorded.documents else None
        told = {key: value for key, value in known.items() if isinstance(value, str)} if isinstance(known, dict) else {}
        # Who tells in the body when to come again has it from the same header as everybody else.
        wait = re.search(r'"retryDelay": "(\d+)', said)
        headers = {"retry-after": wait[1]} if wait else {}
        message, param, code = "It was recorded so.", told.get("param"), told.get("code")
        provider.on().error(recorded.status, message, param=param, code=code, headers=headers)
        return _send(provider, recorded, flavour)


def _send(provider: MockProvider, recorded: Recorded, flavour: str, pace: str = "instant") -> Answered:
    asked = dict(recorded.asked) if recorded.asked is not None else _made_up(recorded)
    path = "/" + recorded.target.lstrip("/")
    if path == "/":
        path = _PATHS.get(recorded.dialect, "/").format(model=asked.get("model", "gemini-2.5-flash"))
    if recorded.dialect == CHAT and flavour:
        path = f"/as/{flavour}/{path.lstrip('/')}"
    for name in _LIMITS:
        if asked.get(name):
            asked[name] = 8192
    asked.pop("stop", None)
    headers = {name: value for name, value in recorded.request_headers.items() if name in _SENT}
    headers.setdefault("anthropic-version", "2023-06-01")
    headers |= {"content-type": "application/json", "authorization": "Bearer sk-some-key-that-is-long"}
    headers["x-mockprovider-pace"] = pace
    at = urlsplit(provider.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    try:
        connection.request("POST", path, json.dumps(asked).encode(), headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answered(response.status, found, response.read())
    finally:
        connection.close()


def _made_up(recorded: Recorded) -> dict[str, Any]:
    """A request that is answered so, where the recorded one was not kept."""
    model = next((one["model"] for one in recorded.documents if one.get("model")), "some-model")
    asked: dict[str, Any] = {"model": model}
    match recorded.dialect:
        case "openai-responses":
            asked["input"] = "Hello"
        case "openai-completions" | "ollama-generate":
            asked["prompt"] = "Hello"
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
        case "anthropic-messages":
            asked |= {"max_tokens": 8192, "messages": [{"role": "user", "content": "Hello"}]}
        case _:
            asked["messages"] = [{"role": "user", "content": "Hello"}]
    if recorded.stream:
        asked["stream"] = True
    if recorded.dialect in (CHAT, "openai-completions"):
        asked |= _options(recorded)
    return asked


def _options(recorded: Recorded) -> dict[str, Any]:
    """What must have been asked for: the account, tools."""
    asked: dict[str, Any] = {}
    if recorded.stream and any("usage" in one for one in recorded.documents):
        asked["stream_options"] = {"include_usage": True}
    said = script(recorded.dialect, recorded.documents)
    calls = {part.name for part in said.parts if isinstance(part, ToolCall)}
    if calls:
        asked["tools"] = [{"type": "function", "function": {"name": name}} for name in sorted(calls)]
    return asked

"""Ollama's own API: `POST /api/chat` and `POST /api/generate`, streamed as lines of JSON and whole, and its models.

Fields, their order and their placement follow recordings of Ollama and its API reference. Streaming is what it does
unless it is told not to. Keys are only asked for where the server was started with some, as Ollama's cloud does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Ask, Dialect, Document, Encoder, Inquiry, Voice
from mockprovider.dialects.ollama_content import OllamaLines, OllamaWhole, arguments
from mockprovider.dialects.ollama_models import MODELS, VERSION, listed, shown
from mockprovider.dialects.ollama_request import body_object, named, parse_chat, parse_generate
from mockprovider.dialects.routing import GET, PLAIN, Endpoint, Target
from mockprovider.errors import RequestError, SettingError
from mockprovider.jsontext import dumps
from mockprovider.reply import Refusal, Reply, ToolCall

__all__ = ["OllamaChat", "OllamaGenerate"]

_JSON = (("Content-Type", "application/json; charset=utf-8"),)
_LINES = (("Content-Type", "application/x-ndjson"),)
_PLAIN = (("Content-Type", "text/plain"),)
_SHORT = 16 * 1024
"""Bytes of a request that is remembered, so that it costs less when it comes again."""

_chat, _generate = lru_cache(maxsize=256)(parse_chat), lru_cache(maxsize=256)(parse_generate)


class _Ollama(Dialect):
    """What both endpoints share. _is_chat: a message is answered, not a response."""

    _is_chat = True

    def framing(self, ask: Ask) -> str:
        """A JSON document a line."""
        return "ndjson"

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to documents, the last of which is `done`."""
        return OllamaLines(voice, chat=self._is_chat)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one document that is `done`."""
        return OllamaWhole(voice, chat=self._is_chat)

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The type alone: Ollama has no headers of its own."""
        return _LINES if stream else _JSON

    def error(
        self, error: RequestError, request_id: str, target: Target = PLAIN
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """An error as Ollama words it; a path or method that it does not have is answered by its router, in text."""
        own = tuple(header for header in error.headers if not header[0].lower().startswith("retry-after"))
        if isinstance(error, _Unrouted):
            return (*_PLAIN, *own), error.message.encode()
        return (*_JSON, *own), dumps(self.error_object(error))

    def error_object(self, error: RequestError) -> dict[str, Any]:
        """The line that says that all has failed."""
        return {"error": error.message}

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """A tool call has its arguments as a JSON object, and there is no field for a refusal."""
        for part in reply.parts:
            if isinstance(part, Refusal):
                raise SettingError("Ollama has no word for a refusal: a model that declines says so in its text")
            if isinstance(part, ToolCall) and not self._is_chat:
                raise SettingError("Ollama's /api/generate calls no tools; /api/chat does")
            if isinstance(part, ToolCall) and arguments(part.arguments_text) is None:
                raise SettingError(
                    f"tool call {part.name!r}: Ollama has the arguments of a tool call as a JSON object, and these are"
                    f" none: {part.arguments_text}"
                )

    def call_id(self, voice: Voice, choice: int, index: int) -> str:
        """None: a tool call has an id only where one was scripted."""
        return ""

    def key(self, headers: Mapping[str, str], target: Target = PLAIN) -> str:
        """What `Authorization: Bearer` says."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    def refused_key(self, key: str) -> RequestError:
        """A 401."""
        return RequestError(401, "unauthorized", kind="authentication")

    def unknown_model(self, name: str) -> RequestError:
        """A 404."""
        return RequestError(404, f"model '{name}' not found", kind="not_found", param="model")

    def no_endpoint(self, method: str, path: str, hint: str) -> RequestError:
        """A 404 in text."""
        return _Unrouted(404, "404 page not found", kind="not_found")

    def wrong_method(self, method: str, path: str, allowed: tuple[str, ...]) -> RequestError:
        """A 405 in text."""
        return _Unrouted(405, "405 method not allowed", headers=(("Allow", ", ".join(allowed)),))


class _Unrouted(RequestError):
    """A path or method that the router refuses."""


class OllamaChat(_Ollama):
    """The dialect of `/api/chat`; the models are here, too."""

    name = "ollama-chat"
    endpoints = (
        Endpoint("/api/chat"),
        Endpoint("/api/tags", GET, prompt=False),
        Endpoint("/api/version", GET, prompt=False),
        Endpoint("/api/ps", GET, prompt=False),
        Endpoint("/api/show", prompt=False),
    )
    below = ("/api/",)

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in Ollama's wording where it would be refused."""
        return _chat(body) if len(body) <= _SHORT else parse_chat(body)

    def document(self, inquiry: Inquiry) -> Document:
        """The list of models, those that are loaded, one of them, or the version."""
        model = None
        body: dict[str, Any]
        if inquiry.target.endpoint == "/api/show":
            model = named(body_object(inquiry.body, "ShowRequest"), "ShowRequest")
            body = shown(model)
        elif inquiry.target.endpoint == "/api/version":
            body = {"version": VERSION}
        elif inquiry.target.endpoint == "/api/ps":
            body = {"models": []}
        else:
            body = {"models": [listed(name) for name in inquiry.models or MODELS]}
        return Document(model, _JSON, dumps(body))

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One message of a user."""
        body = {"model": "llama3.2", "messages": [{"role": "user", "content": text}], "stream": stream}
        return "/api/chat", {}, dumps(body)


class OllamaGenerate(_Ollama):
    """The dialect of `/api/generate`."""

    name = "ollama-generate"
    endpoints = (Endpoint("/api/generate"),)
    _is_chat = False

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in Ollama's wording where it would be refused."""
        return _generate(body) if len(body) <= _SHORT else parse_generate(body)

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One prompt."""
        return "/api/generate", {}, dumps({"model": "llama3.2", "prompt": text, "stream": stream})

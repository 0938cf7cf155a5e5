"""Anthropic's messages, `POST /v1/messages`, streamed and whole, and `POST /v1/messages/count_tokens`.

Events, field order, padding and types follow recordings of api.anthropic.com; the request's fields follow the published
API reference. Requests are parsed in `anthropic_request`; replies are made in `anthropic_stream` and `anthropic_whole`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mockprovider.dialects.anthropic_errors import error_body, error_document, key_of, refused_key, unknown_model
from mockprovider.dialects.anthropic_parts import input_tokens
from mockprovider.dialects.anthropic_request import parse, parse_count
from mockprovider.dialects.anthropic_stream import MessagesStream
from mockprovider.dialects.anthropic_whole import MessagesWhole, input_of
from mockprovider.dialects.base import Ask, Dialect, Document, Encoder, Inquiry, Voice
from mockprovider.dialects.routing import PLAIN, Endpoint, Target
from mockprovider.errors import RequestError, SettingError
from mockprovider.jsontext import dumps
from mockprovider.reply import Reply, ToolCall

__all__ = ["AnthropicMessages"]

_MESSAGES = "/v1/messages"
_ORGANIZATION = "00000000-0000-4000-8000-000000000000"
_LIMITS = {"input-tokens": 4_000_000, "output-tokens": 800_000, "requests": 4_000, "tokens": 4_800_000}


class AnthropicMessages(Dialect):
    """The dialect of `/v1/messages`."""

    name = "anthropic-messages"
    counts = ("prompt", "completion", "reasoning", "cached", "cache_written")
    cites = ("page", "document")
    endpoints = (Endpoint(_MESSAGES), Endpoint(f"{_MESSAGES}/count_tokens", prompt=False))

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in Anthropic's wording where it would be refused."""
        version = headers.get("anthropic-version", "")
        return _known(body, version) if len(body) <= _SHORT else parse(body, headers)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to named events, from `message_start` to `message_stop`."""
        return MessagesStream(voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one `message` document."""
        return MessagesWhole(voice)

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The header set of api.anthropic.com, without what its content delivery network adds."""
        moment = voice.moment()
        # As recorded: what one request takes of a limit in tokens is back before the response is out.
        limits = [
            pair
            for what, limit in _LIMITS.items()
            for pair in (
                (f"anthropic-ratelimit-{what}-limit", str(limit)),
                (f"anthropic-ratelimit-{what}-remaining", str(limit - (what == "requests"))),
                (f"anthropic-ratelimit-{what}-reset", moment),
            )
        ]
        return (
            ("Content-Type", "text/event-stream; charset=utf-8" if stream else "application/json"),
            *((("cache-control", "no-cache"),) if stream else ()),
            ("anthropic-organization-id", _ORGANIZATION),
            *limits,
            ("request-id", "req_011C" + voice.id(20, "request")),
            ("x-envoy-upstream-service-time", str(round(voice.ttft * 1000))),
            ("x-robots-tag", "none"),
        )

    def error(
        self, error: RequestError, request_id: str, target: Target = PLAIN
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """An error as api.anthropic.com words it."""
        headers = (("Content-Type", "application/json"), ("request-id", request_id), ("x-robots-tag", "none"))
        return (*headers, *error.headers), error_body(error, request_id)

    def error_object(self, error: RequestError) -> dict[str, Any]:
        """The data of an `error` event, which has no request id."""
        return error_document(error)

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """A whole message has a tool's input as a JSON object; in a stream it is text of any form."""
        for part in reply.parts:
            if isinstance(part, ToolCall) and not stream and input_of(part.arguments_text) is None:
                raise SettingError(
                    f"tool call {part.name!r}: a whole message of Anthropic's has its input as a JSON object, and"
                    f" these arguments are none: {part.arguments_text}"
                )

    def call_id(self, voice: Voice, choice: int, index: int) -> str:
        """Such as `toolu_01` and 22 letters and digits."""
        return "toolu_01" + voice.id(22, "call", choice, index)

    def key(self, headers: Mapping[str, str], target: Target = PLAIN) -> str:
        """What `x-api-key` or `Authorization: Bearer` says."""
        return key_of(headers)

    def refused_key(self, key: str) -> RequestError:
        """A 401."""
        return refused_key(key)

    def unknown_model(self, name: str) -> RequestError:
        """A 404."""
        return unknown_model(name)

    def document(self, inquiry: Inquiry) -> Document:
        """The count of a prompt's tokens: what the usage of a reply to it would tell."""
        ask = parse_count(inquiry.body, inquiry.headers)
        said: tuple[tuple[str, str], ...] = (
            ("Content-Type", "application/json"),
            ("anthropic-organization-id", _ORGANIZATION),
            ("request-id", inquiry.request_id),
        )
        return Document(ask.model, said, dumps({"input_tokens": input_tokens(ask)}))

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One message of a user."""
        body = {"model": "claude-haiku-4-5", "max_tokens": 1024, "messages": [{"role": "user", "content": text}]}
        return _MESSAGES, {"anthropic-version": "2023-06-01"}, dumps({**body, "stream": stream})


_SHORT = 16 * 1024
"""Bytes of a request that is remembered, so that it costs less when it comes again."""


@lru_cache(maxsize=256)
def _known(body: bytes, version: str) -> Ask:
    return parse(body, {"anthropic-version": version})

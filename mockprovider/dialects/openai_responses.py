"""OpenAI's Responses, `POST /v1/responses`, streamed and whole, and `POST /v1/embeddings`.

Events, field order, padding and types follow recordings of api.openai.com; the request's fields follow the published
API reference. Requests are parsed in `openai_responses_request`; which events a reply makes is in
`openai_responses_output`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Ask, Document, Encoder, Inquiry, Voice
from mockprovider.dialects.openai_embeddings import embeddings
from mockprovider.dialects.openai_endpoint import SHORT, OpenAIEndpoint
from mockprovider.dialects.openai_errors import error_document
from mockprovider.dialects.openai_responses_request import parse
from mockprovider.dialects.openai_responses_stream import ResponsesStream, ResponsesWhole
from mockprovider.dialects.routing import PLAIN, Endpoint, Target
from mockprovider.errors import RequestError
from mockprovider.jsontext import dumps
from mockprovider.reply import Reply

__all__ = ["OpenAIResponses"]

_RESPONSES = "/v1/responses"


class OpenAIResponses(OpenAIEndpoint):
    """The dialect of `/v1/responses`; embeddings are here, too.

    How a reply ends follows from its finish reason: `stop` and `tool_calls` complete the response, `length` and
    `content_filter` leave it incomplete, `failed` fails it, `error` does so after an `error` event; any other reason is
    told as that of an incomplete response.
    """

    name = "openai-responses"
    counts = ("prompt", "completion", "reasoning", "cached", "cache_written")
    cites = ("page",)
    endpoints = (Endpoint(_RESPONSES), Endpoint("/v1/embeddings", prompt=False))

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in OpenAI's wording where it would be refused."""
        return _known(body) if len(body) <= SHORT else parse(body)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to named events, from `response.created` to `response.completed`."""
        return ResponsesStream(voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one `response` document."""
        return ResponsesWhole(voice)

    def error_object(self, error: RequestError) -> dict[str, Any]:
        """The data of an `error` event, but for its number."""
        said = error_document(error)["error"]
        return {"type": "error", "error": {key: said[key] for key in ("type", "code", "message", "param")}}

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """Responses have a word for every part."""

    def document(self, inquiry: Inquiry) -> Document:
        """The embeddings of some texts."""
        return embeddings(inquiry)

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One text of a user."""
        return _RESPONSES, {}, dumps({"model": "gpt-4o", "input": text, "stream": stream})


_known = lru_cache(maxsize=256)(parse)

"""Google's Gemini API: `:generateContent` and `:streamGenerateContent`, `:countTokens`, and the models.

Field order, spacing and types follow recordings of generativelanguage.googleapis.com; the request's fields follow its
published reference. Streams are server-sent events with CRLF where the URL says `alt=sse`, else one JSON array.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from mockprovider.dialects.base import Ask, Dialect, Document, Encoder, Inquiry, Voice
from mockprovider.dialects.gemini_content import GeminiStream, GeminiWhole
from mockprovider.dialects.gemini_errors import error_body, error_document, key_of, not_found, refused_key
from mockprovider.dialects.gemini_models import model_list, model_object
from mockprovider.dialects.gemini_parts import arguments
from mockprovider.dialects.gemini_request import parse, parse_count, prompt_tokens
from mockprovider.dialects.routing import GET, PLAIN, Endpoint, Target
from mockprovider.errors import RequestError, SettingError
from mockprovider.jsontext import dumps, pretty
from mockprovider.reply import Reply, ToolCall

__all__ = ["Gemini"]

_VERSIONS = ("v1beta", "v1", "v1alpha")
_KEY = "x-goog-api-key"
_JSON = "application/json; charset=UTF-8"


def _endpoints(version: str) -> tuple[Endpoint, ...]:
    models = f"/{version}/models"
    # At `/v1/models` there is OpenAI's list, too.
    shared = _KEY if version == "v1" else None
    return (
        Endpoint(f"{models}/{{model}}:generateContent"),
        Endpoint(f"{models}/{{model}}:streamGenerateContent"),
        Endpoint(f"{models}/{{model}}:countTokens", prompt=False),
        Endpoint(models, GET, prompt=False, header=shared),
        Endpoint(f"{models}/{{model}}", GET, prompt=False, header=shared),
    )


class Gemini(Dialect):
    """The dialect of `/v1beta/models/{model}:generateContent`."""

    name = "gemini"
    counts = ("prompt", "completion", "reasoning", "cached")
    cites = ("page",)
    endpoints = tuple(endpoint for version in _VERSIONS for endpoint in _endpoints(version))
    below = ("/v1beta/", "/v1alpha/")
    tokens_per_payload = 12

    def framing(self, ask: Ask) -> str:
        """Events with CRLF where the URL says so, else an array."""
        return "sse-crlf" if ask.options.alt == "sse" else "json-array"

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in Google's wording where it would be refused."""
        return _known(body, target) if len(body) <= _SHORT else parse(body, target)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to chunks with candidates."""
        return GeminiStream(voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one document with candidates."""
        return GeminiWhole(voice)

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The header set of generativelanguage.googleapis.com."""
        events = stream and voice.ask.options.alt == "sse"
        kind = (("Content-Disposition", "attachment"), ("Content-Type", "text/event-stream"))
        return (
            *(kind if events else (("Content-Type", _JSON),)),
            *_always(round(voice.ttft * 1000)),
        )

    def error(
        self, error: RequestError, request_id: str, target: Target = PLAIN
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """An error as Google words it. When to come again is told in its details, not in a header."""
        array = target.endpoint.endswith(":streamGenerateContent") and (target.asked("alt") or "").lower() != "sse"
        own = tuple(header for header in error.headers if not header[0].lower().startswith("retry-after"))
        body = error_body(error, array=array, model=target.params.get("model", ""))
        # Of the newest recordings, refusals for a quota alone name the tier.
        tier = (("X-Gemini-Service-Tier", "standard"),) if error.status == 429 else ()
        return (*tier, ("Content-Type", _JSON), *_always(0), *own), body

    def error_object(self, error: RequestError) -> dict[str, object]:
        """An error in mid-stream has the same shape as one before it."""
        return error_document(error)

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """A function call has its arguments as a JSON object, streamed or not."""
        for part in reply.parts:
            if isinstance(part, ToolCall) and arguments(part.arguments_text) is None:
                raise SettingError(
                    f"tool call {part.name!r}: Gemini has the arguments of a function call as a JSON object, and these"
                    f" are none: {part.arguments_text}"
                )

    def call_id(self, voice: Voice, choice: int, index: int) -> str:
        """None: a function call has an id only where one was scripted."""
        return ""

    def key(self, headers: Mapping[str, str], target: Target = PLAIN) -> str:
        """What `x-goog-api-key`, `Authorization: Bearer` or the query's `key` says."""
        return key_of(headers, target)

    def refused_key(self, key: str) -> RequestError:
        """A 400 for a wrong key, a 403 for none."""
        return refused_key(key)

    def unknown_model(self, name: str) -> RequestError:
        """A 404."""
        return not_found(name)

    def document(self, inquiry: Inquiry) -> Document:
        """The list of models, one of them, or the count of a prompt's tokens."""
        target, models = inquiry.target, inquiry.models
        model = target.params.get("model")
        counts = target.endpoint.endswith(":countTokens")
        if model is not None and models is not None and model not in models:
            raise not_found(model, "countTokens" if counts else "generateContent", target.path.split("/")[1])
        if counts:
            ask = parse_count(inquiry.body, target)
            tokens = prompt_tokens(ask)
            details = [{"modality": "TEXT", "tokenCount": tokens}]
            body = pretty({"totalTokens": tokens, "promptTokensDetails": details}) + b"\n"
        else:
            body = model_list(models) if model is None else model_object(model)
        return Document(None, (("Content-Type", _JSON), *_always(0)), body)

    def no_endpoint(self, method: str, path: str, hint: str) -> RequestError:
        """A 404; the real one is a page of HTML."""
        return RequestError(404, f"The requested URL {path} was not found on this server.{hint}", kind="not_found")

    def wrong_method(self, method: str, path: str, allowed: tuple[str, ...]) -> RequestError:
        """A 404: a method that is not answered is a path that there is not."""
        return self.no_endpoint(method, path, "")

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One content of a user."""
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        return f"/v1beta/models/gemini-2.5-flash:{method}", {}, dumps(body)


def _always(milliseconds: int) -> tuple[tuple[str, str], ...]:
    """What every response of Google's front end carries."""
    return (
        ("Vary", "Origin"),
        ("Vary", "X-Origin"),
        ("Vary", "Referer"),
        ("Server", "scaffolding on HTTPServer2"),
        ("X-XSS-Protection", "0"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("X-Content-Type-Options", "nosniff"),
        ("Server-Timing", f"gfet4t7; dur={milliseconds}"),
    )


_SHORT = 16 * 1024
"""Bytes of a request that is remembered, so that it costs less when it comes again."""


_known = lru_cache(maxsize=256)(parse)

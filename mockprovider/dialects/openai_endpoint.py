"""What OpenAI's endpoints have in common: keys, errors, and the ids of tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mockprovider.dialects.base import Dialect, Document, Inquiry, Voice
from mockprovider.dialects.openai_errors import bearer, error_body, error_document, refused_key
from mockprovider.dialects.openai_headers import error_headers, reply_headers
from mockprovider.dialects.openai_models import no_model
from mockprovider.dialects.routing import PLAIN, Target
from mockprovider.errors import RequestError

__all__ = ["SHORT", "OpenAIEndpoint"]

SHORT = 16 * 1024
"""Bytes of a request that is remembered, so that it costs less when it comes again."""


class OpenAIEndpoint(Dialect):
    """The base of dialects that are endpoints of api.openai.com."""

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The header set of api.openai.com, without what its content delivery network adds."""
        return reply_headers(voice, stream=stream)

    def error(
        self, error: RequestError, request_id: str, target: Target = PLAIN
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """An error as api.openai.com words it."""
        return (*error_headers(request_id, error.status), *error.headers), error_body(error)

    def error_object(self, error: RequestError) -> dict[str, Any]:
        """An error in mid-stream has the same shape as one before it."""
        return error_document(error)

    def call_id(self, voice: Voice, choice: int, index: int) -> str:
        """Such as `call_` and 24 letters and digits."""
        return "call_" + voice.id(24, "call", choice, index)

    def key(self, headers: Mapping[str, str], target: Target = PLAIN) -> str:
        """What `Authorization: Bearer` says."""
        return bearer(headers)

    def refused_key(self, key: str) -> RequestError:
        """A 401; the key is shown with its middle starred."""
        return refused_key(key)

    def unknown_model(self, name: str) -> RequestError:
        """A 404."""
        return no_model(name)

    def document(self, inquiry: Inquiry) -> Document:
        """What an endpoint without a prompt answers; there is none unless a dialect says otherwise."""
        raise RequestError(404, f"{self.name} has no document at {inquiry.target.path}", kind="not_found")

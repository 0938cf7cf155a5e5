"""The header sections of api.openai.com, without what its content delivery network adds."""

from __future__ import annotations

from mockprovider.dialects.base import Voice
from mockprovider.dialects.openai_errors import GATEWAY

__all__ = ["error_headers", "reply_headers"]


def reply_headers(voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
    """The headers of a successful reply. The limits are an organisation's own, and never reached."""
    # The limit is counted in characters over four before tokens are known, as OpenAI documents it.
    guess = sum(len(text) for _, text in voice.ask.messages) // 4 + 1
    return (
        ("Content-Type", "text/event-stream; charset=utf-8" if stream else "application/json"),
        ("access-control-expose-headers", "X-Request-ID"),
        ("openai-organization", "mockprovider"),
        ("openai-processing-ms", str(round(voice.ttft * 1000))),
        ("openai-project", "proj_mockprovider"),
        ("openai-version", "2020-10-01"),
        ("x-content-type-options", "nosniff"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "2000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", str(max(0, 2_000_000 - guess))),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "0s"),
        ("x-request-id", "req_" + voice.hex(32, "request")),
    )


def error_headers(request_id: str, status: int) -> tuple[tuple[str, str], ...]:
    """The headers of an error; for a 200, those of a document. What the gateway refuses, it sends in its own manner."""
    gateway = status in GATEWAY and status != 401
    return (
        ("Content-Type", "application/json; charset=utf-8" if gateway else "application/json"),
        *((("x-content-type-options", "nosniff"),) if gateway else ()),
        ("openai-version", "2020-10-01"),
        ("x-request-id", request_id),
    )

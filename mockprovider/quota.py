"""What is left of a rate limit, and how each provider says so in headers.

Sources: the providers' pages on rate limits (OpenAI and Groq write durations as Go does, Azure whole seconds,
Anthropic RFC 3339 timestamps, OpenRouter milliseconds since the epoch); Mistral's and Together's are as recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate

from mockprovider.errors import RequestError

__all__ = [
    "STYLES",
    "Admission",
    "Allowance",
    "Counter",
    "go_duration",
    "http_date",
    "limit_headers",
    "rate_limited",
    "style_of",
]

STYLES = ("openai", "azure", "anthropic", "openrouter")
"""Whose headers a fault may ask for. Groq's are OpenAI's; flavours have those of Mistral and Together, too."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One limit: how much there is in all, how much is left, and in how many seconds all of it will be back."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after a request; None for what is not limited."""

    requests: Counter | None = None
    tokens: Counter | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass.

    allowance: what is left, counting this request if it passed; lacking: `requests` or `tokens`, what there was too
    little of, or None where it passed; wait: in how many seconds it would pass, or None where it never will; requested:
    how much it wanted of that; used: how much of that was in use.
    """

    allowance: Allowance
    lacking: str | None = None
    wait: float | None = None
    requested: int = 0
    used: int = 0

    @property
    def passed(self) -> bool:
        """Whether it may pass."""
        return self.lacking is None

    @property
    def message(self) -> str:
        """Why it may not pass, in OpenAI's manner."""
        counter = self.allowance.requests if self.lacking == "requests" else self.allowance.tokens
        assert counter is not None, "what is lacking is limited"
        what = f"{self.lacking} per min ({'RPM' if self.lacking == 'requests' else 'TPM'}): Limit {counter.limit}"
        if self.wait is None:
            return f"Request too large: {what}, Requested {self.requested}. It can never pass; make it smaller."
        return (
            f"Rate limit reached on {what}, Used {self.used}, Requested {self.requested}."
            f" Please try again in {go_duration(self.wait)}."
        )

    @property
    def retry_headers(self) -> tuple[tuple[str, str], ...]:
        """When to come again, rounded up: in milliseconds and in seconds. Nothing where it would never pass."""
        if self.wait is None:
            return ()
        # A float that is a hair above a whole number of milliseconds is that number.
        milliseconds = math.ceil(round(self.wait * 1000, 3))
        return ("retry-after-ms", str(milliseconds)), ("Retry-After", str(math.ceil(milliseconds / 1000)))


def go_duration(seconds: float) -> str:
    """The duration as Go's `time.Duration` prints it, to the millisecond, rounded up: `0s`, `6ms`, `1.5s`, `6m0s`."""
    milliseconds = math.ceil(round(seconds * 1000, 3))
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def http_date(wall: float) -> str:
    """The time (seconds since the epoch) as an HTTP date, RFC 9110 section 5.6.7, rounded up to whole seconds."""
    return formatdate(math.ceil(wall), usegmt=True)


def limit_headers(style: str, allowance: Allowance, wall: float) -> tuple[tuple[str, str], ...]:
    """The headers with which a provider tells what is left. wall: now, in seconds since the epoch."""
    return tuple(_headers(style, allowance, wall))


def _headers(style: str, allowance: Allowance, wall: float) -> Iterator[tuple[str, str]]:
    named = (("requests", allowance.requests), ("tokens", allowance.tokens)) if style != "none" else ()
    for what, counter in named:
        if counter is None:
            continue
        limit, remaining = str(counter.limit), str(counter.remaining)
        if style == "anthropic":
            reset = datetime.fromtimestamp(math.ceil(wall + counter.reset), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            prefix = f"anthropic-ratelimit-{what}"
            yield from ((f"{prefix}-limit", limit), (f"{prefix}-remaining", remaining), (f"{prefix}-reset", reset))
        elif style == "openrouter":
            if what == "requests":  # OpenRouter counts requests alone
                reset = str(math.ceil((wall + counter.reset) * 1000))
                yield from (("X-RateLimit-Limit", limit), ("X-RateLimit-Remaining", remaining))
                yield "X-RateLimit-Reset", reset
        elif style == "mistral":
            if what == "tokens":  # Mistral tells of tokens alone
                minute = (("limit-minute", limit), ("remaining-minute", remaining))
                yield from ((f"ratelimitbysize-{key.partition('-')[0]}", value) for key, value in minute)
                yield "ratelimitbysize-reset", str(math.ceil(counter.reset))
                yield from ((f"x-ratelimitbysize-{key}", value) for key, value in minute)
        elif style == "together":
            suffix = "" if what == "requests" else "-tokens"
            yield from ((f"x-ratelimit-limit{suffix}", limit), (f"x-ratelimit-remaining{suffix}", remaining))
            yield f"x-ratelimit-reset{suffix}", str(math.ceil(counter.reset))
        else:
            reset = str(math.ceil(counter.reset)) if style == "azure" else go_duration(counter.reset)
            yield f"x-ratelimit-limit-{what}", limit
            yield f"x-ratelimit-remaining-{what}", remaining
            yield f"x-ratelimit-reset-{what}", reset


def style_of(dialect: str) -> str:
    """Whose headers go with the replies of a dialect; `none`: it has none."""
    if dialect.startswith(("gemini", "ollama")):
        return "none"
    return "anthropic" if dialect.startswith("anthropic") else "openai"


def rate_limited(admission: Admission, style: str) -> RequestError:
    """The refusal of a request that may not pass; OpenAI's type of error is what was lacking."""
    kind = admission.lacking if style == "openai" and admission.lacking is not None else "rate_limit"
    return RequestError(429, admission.message, kind=kind, code="rate_limit_exceeded", headers=admission.retry_headers)

"""What the names in the table of flavours stand for, besides what an event brings with it.

Nothing here depends on how often a request came, but the ids: repetitions differ in these alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Protocol

from mockprovider.dialects.base import Account, Usage, Voice
from mockprovider.dialects.openai_models import snapshot
from mockprovider.errors import SettingError
from mockprovider.jsontext import dumps
from mockprovider.reply import Citation, Text

__all__ = ["CONSTANTS", "COUNTS", "Tally", "check_pattern", "finishes", "identifier"]


class Source(Protocol):
    """Where an id's characters come from: a voice, as a rule."""

    @property
    def created(self) -> int:
        """The reply's time."""

    def id(self, length: int, purpose: str, *parts: object) -> str:
        """Letters and digits."""

    def hex(self, length: int, purpose: str, *parts: object) -> str:
        """Hexadecimal digits."""

    def uuid(self, purpose: str, *parts: object) -> str:
        """A UUID."""


_PLACE = re.compile(r"\{(alnum|hex|digits|lower|uuid|created)(?::(\d{1,2}))?\}")
_DIGITS = {letter: str(letter % 10) for letter in range(128)}


def check_pattern(pattern: str, where: str) -> None:
    """SettingError for a pattern of ids that says something unknown."""
    rest = _PLACE.sub("", pattern)
    if "{" in rest or "}" in rest:
        raise SettingError(
            f"{where}: {pattern!r}: expected text with {{alnum:N}}, {{hex:N}}, {{digits:N}}, {{lower:N}},"
            " {uuid} or {created}"
        )


def identifier(pattern: str, voice: Source, purpose: str, *parts: object) -> str:
    """An id of this exchange alone.

    `{alnum:N}`, `{hex:N}`, `{digits:N}` and `{lower:N}` (small letters and digits) are N characters, `{uuid}` is a UUID
    of version 4, `{created}` the reply's time.
    """
    number = 0

    def drawn(match: re.Match[str]) -> str:
        nonlocal number
        kind, length = match[1], int(match[2] or 0)
        number += 1
        name = purpose if number == 1 else f"{purpose}{number}"
        if kind == "created":
            return str(voice.created)
        if kind == "uuid":
            return voice.uuid(name, *parts)
        if kind == "hex":
            return voice.hex(length, name, *parts)
        text = voice.id(length, name, *parts)
        return text if kind == "alnum" else text.lower() if kind == "lower" else text.translate(_DIGITS)

    return _PLACE.sub(drawn, pattern)


def _number(voice: Voice, purpose: str, below: int) -> int:
    """A number that belongs to the request."""
    return int.from_bytes(voice.seed.digest("ids", purpose, voice.key[0])[:8]) % below


_VENDORS = {
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "google": "Google AI Studio",
    "meta-llama": "DeepInfra",
    "mistralai": "Mistral",
    "deepseek": "DeepSeek",
    "x-ai": "xAI",
}
"""Who serves a model, by what stands before the slash in its name."""

_NATIVE = {
    "openai": {"stop": "completed", "length": "max_output_tokens", "tool_calls": "completed"},
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"},
    "google": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"},
}
"""The reasons for the end in the words of those who serve the model."""


def _vendor(voice: Voice) -> str:
    return voice.ask.model.partition("/")[0] if "/" in voice.ask.model else ""


@lru_cache(maxsize=1024)
def finishes(model: str, finish: str) -> tuple[bytes, bytes]:
    """The reason for the end as JSON: as it is said, and as whoever serves the model writes it."""
    vendor = model.partition("/")[0]
    return dumps(finish), dumps(_NATIVE.get(vendor, {}).get(finish, finish))


_FOUND = Citation("https://example.com/found", "Found", "What was found.")
"""What a search has found where nothing was scripted."""


def _citations(voice: Voice) -> list[Citation]:
    """What the reply rests on, each page once, in order."""
    cited = [each for part in voice.reply.parts if isinstance(part, Text) for each in part.citations]
    return list({each.url: each for each in reversed(cited)}.values())[::-1] or [_FOUND]


def _search_result(citation: Citation) -> dict[str, str]:
    dates = {"date": "2026-01-01", "last_updated": "2026-06-01"}
    return {"title": citation.title, "url": citation.url, **dates, "snippet": citation.quote, "source": "web"}


CONSTANTS: Mapping[str, Callable[[Voice], Any]] = {
    "created": lambda voice: voice.created,
    "model": lambda voice: voice.ask.model,
    "snapshot": lambda voice: snapshot(voice.ask.model),
    "provider": lambda voice: _VENDORS.get(_vendor(voice), _vendor(voice).capitalize() or "OpenAI"),
    "seed": lambda voice: _number(voice, "seed", 2**31),
    "long_seed": lambda voice: _number(voice, "seed", 2**53) // 1000 * 1000,
    "service_tier": lambda voice: voice.ask.options.service_tier,
    "cited_urls": lambda voice: [each.url for each in _citations(voice)],
    "search_results": lambda voice: [_search_result(each) for each in _citations(voice)],
    "ttft_ms": lambda voice: round(voice.ttft * 1000),
}
"""Values that are the same in all of an exchange."""


class Tally:
    """The account of a reply, while it grows."""

    def __init__(self, voice: Voice, usage: Usage) -> None:
        self._sent = usage
        self._voice = voice

    @cached_property
    def _prompt(self) -> int:
        return self._voice.ask.prompt_tokens()

    def account(self, *, ended: bool) -> Account:
        """As it is now. ended: the reply has."""
        return self._voice.account(self._sent, self._prompt, ended=ended)


COUNTS: Mapping[str, Callable[[Account], Any]] = {
    "prompt_tokens": lambda account: account.prompt,
    "completion_tokens": lambda account: account.completion,
    "total_tokens": lambda account: account.total,
    "reasoning_tokens": lambda account: account.reasoning,
    "answer_tokens": lambda account: account.answer,
    "cached_tokens": lambda account: account.cached,
    "cache_write_tokens": lambda account: account.cache_written,
    "uncached_tokens": lambda account: account.prompt - account.cached,
    "prompt_cost": lambda account: account.prompt / 1e6,
    "completion_cost": lambda account: account.completion * 4 / 1e6,
    "cost": lambda account: (account.prompt + account.completion * 4) / 1e6,
    "cost_ticks": lambda account: (account.prompt + account.completion * 4) * 10_000,
    "prompt_seconds": lambda account: account.prompt / 20_000,
    "completion_seconds": lambda account: account.completion / 500,
    "total_seconds": lambda account: round(account.prompt / 20_000 + account.completion / 500, 6),
    "prompt_ms": lambda account: account.prompt / 20,
    "completion_ms": lambda account: account.completion * 2.0,
}
"""Values that grow with the reply. Prices and speeds are made up, the same for everyone."""

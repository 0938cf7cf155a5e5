"""What the streamed and the whole form of a chat completion have in common."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Account, Ask, Voice
from mockprovider.dialects.openai_models import reasons, snapshot
from mockprovider.reply import ToolCallDelta, ToolCallStart
from mockprovider.seed import Seed

__all__ = ["ToolNames", "fingerprint", "head", "usage"]


def head(voice: Voice, kind: str) -> dict[str, Any]:
    """The fields that begin every document of an exchange."""
    return {
        "id": "chatcmpl-" + voice.id(29, "completion"),
        "object": kind,
        "created": voice.created,
        "model": snapshot(voice.ask.model),
    }


@lru_cache(maxsize=256)
def fingerprint(seed: int, model: str) -> str | None:
    """The system fingerprint, of the model alone; reasoning models have none."""
    return None if reasons(model) else "fp_" + Seed(seed).hex(10, "fingerprint", snapshot(model))


def usage(told: Account) -> dict[str, Any]:
    """The account of a reply. Nothing is ever spoken or predicted here."""
    return {
        "prompt_tokens": told.prompt,
        "completion_tokens": told.completion,
        "total_tokens": told.total,
        "prompt_tokens_details": {"cached_tokens": told.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": told.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class ToolNames:
    """Which keys a tool call's documents have: those of a function, or of a custom tool."""

    def __init__(self, ask: Ask) -> None:
        self._custom = {tool.name for tool in ask.tools if tool.custom}
        self._calls: set[tuple[int, int]] = set()  # the choice and index of each call of a custom tool

    def begin(self, call: ToolCallStart) -> tuple[str, str]:
        """A call begins: its type, and the key of what it is called with."""
        if call.name not in self._custom:
            return "function", "arguments"
        self._calls.add((call.choice, call.index))
        return "custom", "input"

    def of(self, delta: ToolCallDelta) -> tuple[str, str]:
        """The same for a call that has begun."""
        return ("custom", "input") if (delta.choice, delta.index) in self._calls else ("function", "arguments")

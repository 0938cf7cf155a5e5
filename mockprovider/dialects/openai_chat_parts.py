"""What the streamed and the whole form of a chat completion have in common."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Account, Ask, Voice
from mockprovider.dialects.openai_models import reasons, snapshot
from mockprovider.reply import Cited, Text, TextDelta, ToolCallDelta, ToolCallStart
from mockprovider.seed import Seed

__all__ = ["Annotations", "ToolNames", "fingerprint", "head", "usage"]


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


class Annotations:
    """What the text of each choice rests on, with its place in it, in characters. counts: there is something."""

    def __init__(self, voice: Voice) -> None:
        self.counts = any(isinstance(part, Text) and part.citations for part in voice.reply.parts)
        self._length: defaultdict[int, int] = defaultdict(int)
        self._begun: dict[int, int] = {}
        self._found: dict[int, list[dict[str, Any]]] = {}

    def said(self, delta: TextDelta) -> None:
        """Something was said; answer text counts."""
        if self.counts and type(delta) is TextDelta:
            self._length[delta.choice] += len(delta.text)

    def cite(self, item: Cited) -> None:
        """Cited text begins, or has been said."""
        length = self._length[item.choice]
        if item.begins:
            self._begun[item.choice] = length
            return
        for each in item.citations:
            place = {"start_index": self._begun.get(item.choice, 0), "end_index": length}
            said = {"type": "url_citation", "url_citation": {"url": each.url, "title": each.title, **place}}
            self._found.setdefault(item.choice, []).append(said)

    def of(self, choice: int) -> list[dict[str, Any]]:
        """Those of a choice."""
        return self._found.get(choice, [])


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

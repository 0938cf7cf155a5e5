"""Level 3: the providers' words. One file a dialect, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mockprovider.dialects.anthropic_messages import AnthropicMessages
from mockprovider.dialects.base import Dialect
from mockprovider.dialects.flavour import FLAVOURS
from mockprovider.dialects.flavour_chat import flavoured, with_own_paths
from mockprovider.dialects.gemini import Gemini
from mockprovider.dialects.ollama import OllamaChat, OllamaGenerate
from mockprovider.dialects.openai_chat import OpenAIChat
from mockprovider.dialects.openai_completions import OpenAICompletions
from mockprovider.dialects.openai_responses import OpenAIResponses
from mockprovider.dialects.routing import Match, Table

__all__ = ["DIALECTS", "FLAVOURS", "TABLE", "Dialect", "find", "flavoured"]

DIALECTS: tuple[Dialect, ...] = (
    OpenAIChat(),
    AnthropicMessages(),
    OpenAIResponses(),
    OpenAICompletions(),
    Gemini(),
    OllamaChat(),
    OllamaGenerate(),
)
"""All of them. The first words errors where the path tells nothing."""

TABLE = Table((*DIALECTS, *with_own_paths()))
"""Which of them answers at which path."""

_BASES = tuple(f"{path}/" for row in FLAVOURS.values() for path, _ in row.paths if "{" not in path)
"""The providers' own base paths, below which everything is that is below `/v1/`."""


def find(method: str, path: str, headers: Mapping[str, str], flavour: str = "") -> Match | None:
    """The endpoint for such a request, in a flavour where one is named; None for a path that has none.

    Below a provider's own base path is what is below `/v1`; where a flavour is named, a base path may be left out.
    """
    match = TABLE.find(method, path, headers)
    if match is None:
        base = next((base for base in _BASES if path.startswith(base)), "/" if flavour else "")
        if not base:
            return None
        match = TABLE.find(method, f"/v1/{path.removeprefix(base)}", headers)
    if match is None or not flavour:
        return match
    return replace(match, dialect=flavoured(match.dialect, flavour))

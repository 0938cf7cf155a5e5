"""The usage that a reply scripts: each provider's words for it, what is refused, and that the rest is still counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest
from google import genai
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider import MockProvider, Reasoning, Reply, Tokens, scenario_file
from mockprovider.dialects import DIALECTS, FLAVOURS, Dialect, flavoured
from mockprovider.dialects.base import Voice
from mockprovider.errors import SettingError
from mockprovider.reply import deltas
from mockprovider.seed import Seed
from mockprovider.timeline import NOWHERE, run

NAMED: Mapping[str, Dialect] = {
    **{dialect.name: dialect for dialect in DIALECTS},
    **{name: flavoured(DIALECTS[0], name) for name in FLAVOURS if name != "openai"},
}
ALL = Tokens(prompt=100, completion=50, reasoning=30, cached=20, cache_written=10)
SAID = (Reasoning("Let me see. "), "One two three.")

# ------------------------------------------------------------------------------------------------ without a connection


def documents(dialect: Dialect, reply: Reply, *, stream: bool) -> list[Any]:
    """What a dialect makes of a reply to its own sample request, with the usage asked for."""
    path, headers, body = dialect.sample("Say it.", stream=stream)
    request = json.loads(body)
    if stream and "chat" in path + dialect.name or dialect.name == "openai-completions":
        request |= {"stream_options": {"include_usage": True}} if stream and "openai" in dialect.name else {}
    target = next(match for match in [_target(path)] if match is not None)
    asked = dialect.parse(json.dumps(request).encode(), headers, target)
    voice = Voice(asked, reply, Seed(7), (b"digest", 0), 1_700_000_000)
    said = deltas(reply, choice=0, call_id=str, max_tokens=None)
    encoder = dialect.stream(voice) if stream else dialect.whole(voice)
    made = run(((0.0, delta, NOWHERE) for delta in said), [encoder])
    return [json.loads(item.data) for _, item, _ in made if item.data[:1] == b"{"]

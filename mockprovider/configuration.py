"""From what a user gives to the settings of a server, and from a server to the variables of its clients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mockprovider.errors import SettingError, nearest
from mockprovider.limits import Limits
from mockprovider.pace import Chunking, Pacing
from mockprovider.replay.library import Recordings
from mockprovider.reply import Reply
from mockprovider.scenario_file import ScenarioFile, load
from mockprovider.settings import Settings

__all__ = ["environment", "settings_from"]


def settings_from(scenario: str | Path | None, given: Mapping[str, Any]) -> tuple[Settings, ScenarioFile | None]:
    """Settings from what was given, before what the scenario file says, before the defaults. None is not given."""
    file = load(Path(scenario)) if scenario is not None else None
    chosen: dict[str, Any] = {}
    if file is not None:
        for name in ScenarioFile.SETTINGS:
            if getattr(file, name) is not None:
                chosen[name] = getattr(file, name)
    chosen.update((name, value) for name, value in given.items() if value is not None)
    for name, parse in (
        ("pace", Pacing.parse),
        ("chunking", Chunking.parse),
        ("limits", Limits.parse),
        ("reply", Reply.of),
        ("recordings", Recordings.of),
    ):
        if name in chosen:
            chosen[name] = parse(chosen[name])
    known = Settings.__dataclass_fields__
    for name in chosen:
        if name not in known:
            raise SettingError(f"unknown setting {name!r}{nearest(name, tuple(known))}")
    return Settings(**chosen), file


def environment(openai_url: str, anthropic_url: str, key: str | None = None) -> dict[str, str]:
    """Environment variables for programs that are to talk to these base URLs, and to bypass proxies for the loopback.

    openai_url: ends with `/v1`; anthropic_url: without; key: instead of a dummy. What `NO_PROXY` says already is kept.
    """
    said = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = [host.strip() for host in said.split(",") if host.strip()]
    direct = ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]))
    return {
        **dict.fromkeys(_WITH_V1, openai_url),
        **dict.fromkeys(_ROOTS, anthropic_url),
        **dict.fromkeys(_KEYS, key or "sk-mockprovider"),
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


_WITH_V1 = (
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",  # litellm, LangChain, LlamaIndex, and openai before 1.0
    "MISTRAL_BASE_URL",  # LangChain
    "MISTRAL_API_BASE",  # litellm, as the next four
    "GROQ_API_BASE",
    "DEEPSEEK_API_BASE",
    "OPENROUTER_API_BASE",
    "XAI_API_BASE",
)
"""Variables that hold a base URL with `/v1`."""

_ROOTS = (
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_API_BASE",  # litellm
    "GOOGLE_GEMINI_BASE_URL",  # google-genai
    "GEMINI_API_BASE",  # litellm
    "GROQ_BASE_URL",  # groq, which adds /openai/v1
    "OLLAMA_HOST",  # ollama
    "OLLAMA_API_BASE",  # litellm
)
"""Variables that hold a base URL without `/v1`; the clients add their own paths."""

_KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "GROQ_API_KEY",
    "DEEPSEEK_API_KEY",
    "OPENROUTER_API_KEY",
    "XAI_API_KEY",
)
"""Variables that hold a key, without which the clients would not start."""

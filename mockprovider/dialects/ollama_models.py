"""Ollama's models, as `/api/tags`, `/api/show` and `/api/ps` tell of them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

__all__ = ["MODELS", "VERSION", "listed", "shown"]

VERSION = "0.13.5"
"""The version of Ollama whose answers these are."""

MODELS = ("gemma3:1b", "gpt-oss:20b", "llama3.1:latest", "llama3.2:latest", "qwen3:latest")
"""What is listed where models are not restricted."""

_MODIFIED = "2026-01-01T00:00:00.123456789Z"


def _details(name: str) -> dict[str, Any]:
    family = name.partition(":")[0].rstrip("0123456789.")
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "8.0B",
        "quantization_level": "Q4_K_M",
    }


def listed(name: str) -> dict[str, Any]:
    """One model of the list."""
    return {
        "name": name,
        "model": name,
        "modified_at": _MODIFIED,
        "size": 4920753328,
        "digest": sha256(name.encode()).hexdigest(),
        "details": _details(name),
    }


def shown(name: str) -> dict[str, Any]:
    """One model with what it can do."""
    family = _details(name)["family"]
    return {
        "modelfile": f"# A model of mockprovider, which says what it is told to.\nFROM {name}\n",
        "parameters": "temperature                    1",
        "template": "{{ .Prompt }}",
        "details": _details(name),
        "model_info": {
            "general.architecture": family,
            "general.parameter_count": 8030261312,
            f"{family}.context_length": 131072,
        },
        "capabilities": ["completion", "tools", "thinking"],
        "modified_at": _MODIFIED,
    }

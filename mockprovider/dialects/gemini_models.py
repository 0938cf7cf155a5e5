"""Gemini's models: what a reply calls them, how their streams differ, and what `GET /v1beta/models` tells of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mockprovider.jsontext import pretty

__all__ = ["LATEST", "MODELS", "ends_apart", "first_forms", "model_list", "model_object", "version"]

MODELS = (
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
    "gemini-3.6-flash",
)
"""What is listed where models are not restricted; from recordings."""

LATEST: Mapping[str, str] = {
    "gemini-flash-latest": "gemini-3.6-flash",
    "gemini-flash-lite-latest": "gemini-2.5-flash-lite",
    "gemini-pro-latest": "gemini-3-pro-preview",
}
"""The name that replies carry, by the name of the request; any other is echoed."""

_FIRST = re.compile(r"gemini-(?:1|2\.0)(?![0-9])|gemma")
_THIRD = re.compile(r"gemini-(?:[3-9]|[1-9][0-9])(?![0-9])")


def version(model: str) -> str:
    """What a reply calls the model that was asked for."""
    return LATEST.get(model, model)


def first_forms(model: str) -> bool:
    """Whether its replies are as those of Gemini 1 and 2.0: no index, and no account of the reply before its end."""
    return _FIRST.match(version(model)) is not None


def ends_apart(model: str) -> bool:
    """Whether a stream ends with a chunk of its own, without text, as those of Gemini 3 and later do."""
    return _THIRD.match(version(model)) is not None


def _model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "A model of mockprovider, which says what it is told to.",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
        "thinking": not first_forms(name),
    }


def model_list(models: tuple[str, ...] | None) -> bytes:
    """The list of models."""
    return pretty({"models": [_model(name) for name in models or MODELS]}) + b"\n"


def model_object(name: str) -> bytes:
    """One model."""
    return pretty(_model(name)) + b"\n"

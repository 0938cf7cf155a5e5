"""OpenAI's `GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from mockprovider.jsontext import pretty

__all__ = ["MODELS", "model_list", "model_object"]

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "o3")
"""What is listed where the models are not restricted."""

_CREATED = 1_700_000_000


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "mockprovider"}


def model_list(models: tuple[str, ...] | None) -> bytes:
    """The list of models."""
    return pretty({"object": "list", "data": [_model(name) for name in models or MODELS]})


def model_object(name: str) -> bytes:
    """One model."""
    return pretty(_model(name))

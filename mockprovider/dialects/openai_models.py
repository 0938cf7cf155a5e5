"""OpenAI's models: what a reply calls them, in what their replies differ, and `GET /v1/models[/{id}]`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mockprovider.errors import RequestError
from mockprovider.jsontext import pretty

__all__ = ["SNAPSHOTS", "model_list", "model_object", "no_model", "not_listed", "reasons", "snapshot"]

SNAPSHOTS: Mapping[str, str] = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4": "gpt-4-0613",
    "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "gpt-5.1": "gpt-5.1-2025-11-13",
    "gpt-5.2": "gpt-5.2-2025-12-11",
    "gpt-5.4": "gpt-5.4-2026-03-05",
    "o1": "o1-2024-12-17",
    "o3": "o3-2025-04-16",
    "o3-mini": "o3-mini-2025-01-31",
    "o4-mini": "o4-mini-2025-04-16",
}
"""The dated name that replies carry, by the name of the request; also what is listed where models are not restricted.

From recordings and OpenAI's list of models. A name that is not here is echoed.
"""

_REASONING = re.compile(r"(?:o[1-9]|gpt-[5-9](?:\.[0-9]+)?)(?![a-z0-9.])(?!-chat)")
_CREATED = 1_700_000_000


def snapshot(model: str) -> str:
    """What a reply calls the model that was asked for."""
    return SNAPSHOTS.get(model, model)


def reasons(model: str) -> bool:
    """Whether it is one of the reasoning models: their replies have no `logprobs` and no system fingerprint."""
    return _REASONING.match(model) is not None


def no_model(name: str) -> RequestError:
    """The refusal of a request for a reply by a model that there is not."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return RequestError(404, message, kind="not_found", code="model_not_found")


def not_listed(name: str) -> RequestError:
    """The refusal of `GET /v1/models/{name}`, which is worded otherwise."""
    message = f"The model '{name}' does not exist"
    return RequestError(404, message, kind="not_found", param="model", code="model_not_found")


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "mockprovider"}


def model_list(models: tuple[str, ...] | None) -> bytes:
    """The list of models."""
    return pretty({"object": "list", "data": [_model(name) for name in models or SNAPSHOTS]})


def model_object(name: str) -> bytes:
    """One model."""
    return pretty(_model(name))

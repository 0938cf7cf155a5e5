"""Anthropic's models: what a reply calls them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SNAPSHOTS", "snapshot"]

SNAPSHOTS: Mapping[str, str] = {
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet-20250219",
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-opus-4-0": "claude-opus-4-20250514",
    "claude-opus-4-1": "claude-opus-4-1-20250805",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
}
"""The dated name that replies carry, by the name of the request, from Anthropic's list of models and recordings.

A name that is not here is echoed: the models after these have no dated names.
"""


def snapshot(model: str) -> str:
    """What a reply calls the model that was asked for."""
    return SNAPSHOTS.get(model, model)

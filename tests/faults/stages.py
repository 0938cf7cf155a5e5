"""Faults without a server: what their stages make of items."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from mockprovider.faults import chain
from mockprovider.faults.base import Context
from mockprovider.timeline import Timed, run


def context(*, stream: bool = True, tokens: int | None = 3) -> Context:
    """What a fault is told of an exchange."""
    return Context(
        rng=random.Random(1),
        attempt=1,
        stream=stream,
        tokens=lambda: tokens,
        dialect="openai-chat",
        error=lambda kind, message: {"error": {"message": message, "type": kind}},
    )


def through(text: str, *items: Any, gap: float = 1.0) -> Iterator[Timed[Any]]:
    """Items, each that many seconds after the one before, seen through the stages of a chain."""
    source: list[Timed[Any]] = [(gap, item, (0, number)) for number, item in enumerate(items)]
    return run(iter(source), [fault.stage(context()) for fault in chain(text)])

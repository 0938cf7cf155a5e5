"""Speed: every wait of the server's divided by one factor, so that tests of slow streams are fast.

Gaps between the parts of a reply shrink, whoever made them: paces, faults and recordings. What a client is told to wait
for shrinks where it is told in milliseconds; `Retry-After` has whole seconds, of which there is no tenth, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mockprovider.timeline import Timed
from mockprovider.wire import Burst

__all__ = ["hastened", "sooner"]


def hastened(timeline: Iterator[Timed[Any]], speed: float) -> Iterator[Timed[Any]]:
    """The timeline with every gap divided by the speed."""
    for gap, item, origin in timeline:
        yield gap / speed, item.hastened(speed) if type(item) is Burst else item, origin


def sooner(headers: tuple[tuple[str, str], ...], speed: float) -> tuple[tuple[str, str], ...]:
    """The headers with `retry-after-ms` divided by the speed, rounded up; one that is no number stays as it is."""
    if speed == 1:
        return headers
    return tuple(
        (name, _divided(value, speed) if name.lower() == "retry-after-ms" else value) for name, value in headers
    )


def _divided(value: str, speed: float) -> str:
    return str(-int(-int(value) // speed)) if value.isdecimal() else value

"""What a failed assertion about requests says: the request that came nearest, and what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import unified_diff
from typing import Any

from mockprovider.exchange import Exchange
from mockprovider.matching import Conditions, Mismatch

__all__ = ["pictured", "unmet"]

_LINES = 40
"""Lines of a diff that are shown."""


def unmet(
    exchanges: Sequence[Exchange], conditions: Conditions, times: int | None
) -> tuple[list[Exchange], str | None]:
    """The exchanges that meet the conditions, and why they are not those that were expected, or None.

    times: exactly so many; None: at least one.
    """
    missed = [(exchange, conditions.mismatches(exchange)) for exchange in exchanges]
    met = [exchange for exchange, mismatches in missed if not mismatches]
    if len(met) == times or (times is None and met):
        return met, None
    wanted = "a request" if times is None else f"{times} request{'s' * (times != 1)}"
    lines = [f"expected {wanted} with {conditions}, got {len(met)} of {len(exchanges)}"]
    near = min((each for each in missed if each[1]), key=lambda each: len(each[1]), default=None)
    if near is not None and (times is None or len(met) < times):
        lines.append(f"the nearest is {near[0]!r}:")
        for mismatch in near[1]:
            lines.append(f"  {mismatch}")
            lines += [f"    {line}" for line in _diff(mismatch)]
    lines += pictured(exchanges)
    return met, "\n".join(lines)


def pictured(exchanges: Sequence[Exchange]) -> list[str]:
    """All exchanges, a line for each."""
    return ["all exchanges:", *(f"  {exchange!r}" for exchange in exchanges)] if exchanges else ["no request came"]


def _diff(mismatch: Mismatch) -> list[str]:
    """A diff where both sides are long enough to need one."""
    if mismatch.wanted is None or mismatch.found is None:
        return []
    expected, got = _lines(mismatch.wanted), _lines(mismatch.found)
    if max(len(expected), len(got)) < 2:
        return []
    found = list(unified_diff(expected, got, "expected", "got", n=2, lineterm=""))
    return [*found[:_LINES], f"… {len(found) - _LINES} more lines"] if len(found) > _LINES else found


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    try:
        return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True).splitlines()
    except (TypeError, ValueError):
        return [repr(value)]

"""Faults: one word each, to be composed. One file a level; `grammar` reads their text form.

chain("stall(after=3,seconds=0.2)+sse-crlf")      # a tuple of faults, ready for a rule or a setting
"""

from __future__ import annotations

from collections.abc import Iterable

from mockprovider.errors import SettingError, nearest
from mockprovider.faults.base import FAULTS, Context, Fault, Level
from mockprovider.faults.grammar import Call, parse

__all__ = ["FAULTS", "Context", "Fault", "Level", "chain", "made", "text_of"]


def made(call: Call) -> Fault:
    """The fault that a call names, with its settings. SettingError for an unknown name or an impossible setting."""
    kind = FAULTS.get(call.name)
    if kind is None:
        raise SettingError(f"unknown fault {call.name!r}{nearest(call.name, tuple(FAULTS))}")
    return kind.of(call.settings)


def chain(value: str | Fault | Iterable[Fault]) -> tuple[Fault, ...]:
    """Faults from their text, from one, or from several."""
    if isinstance(value, str):
        return tuple(made(call) for call in parse(value))
    if isinstance(value, Fault):
        return (value,)
    return tuple(value)


def text_of(faults: Iterable[Fault]) -> str:
    """The chain as text, such that `chain(text_of(faults)) == faults`."""
    return "+".join(map(str, faults))

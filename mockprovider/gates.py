"""Gates: where a test holds a stream until it lets it go on, instead of sleeping."""

from __future__ import annotations

import re
from collections.abc import Callable

from mockprovider.errors import SettingError

__all__ = ["Gates", "position"]

_AFTER_TOKEN = re.compile(r"after-token-([1-9]\d{0,8})")


def position(gate: str) -> int:
    """Where a gate's name says it stands: how many tokens have been sent there; -1: before the end.

    Names: `before-head`, `after-first-token`, `after-token-N`, `before-end`. SettingError for any other.
    """
    if gate == "before-head":
        return 0
    if gate == "after-first-token":
        return 1
    if gate == "before-end":
        return -1
    match = _AFTER_TOKEN.fullmatch(gate)
    if match is None:
        raise SettingError(f"unknown gate {gate!r}; allowed: before-head, after-first-token, after-token-N, before-end")
    return int(match[1])


_SYNONYMS = {"after-token-1": "after-first-token"}


class Gates:
    """The closed gates of one namespace, and who waits at each. To be used on the server's loop.

    `after-token-1` is another name of `after-first-token`.
    """

    def __init__(self) -> None:
        self._closed: dict[str, dict[Callable[[], None], None]] = {}
        self._own: dict[str, dict[Callable[[], None], None]] = {}

    def __contains__(self, gate: str) -> bool:
        return _SYNONYMS.get(gate, gate) in self._closed

    def hold(self, gate: str) -> None:
        """Close the gate: streams that begin from now on stop there. SettingError for an unknown name."""
        position(gate)
        self._closed.setdefault(_SYNONYMS.get(gate, gate), {})

    def release(self, gate: str) -> int:
        """Open the gate and let everybody go on; returns how many waited.

        SettingError for an unknown name, and for a gate that nobody holds.
        """
        position(gate)
        waiting = self._closed.pop(_SYNONYMS.get(gate, gate), None)
        if waiting is None:
            raise SettingError(f"gate {gate!r} is not held; held: {', '.join(self._closed) or 'none'}")
        for resume in waiting:
            resume()
        return len(waiting)

    def positions(self) -> dict[int, str]:
        """The closed gates by position."""
        return {position(gate): gate for gate in self._closed} if self._closed else {}

    def waiting(self) -> dict[str, int]:
        """How many streams wait at each closed gate."""
        return {gate: len(waiting) for gate, waiting in self._closed.items()}

    def shut(self, gate: str) -> None:
        """Close a gate of one stream alone, under a name that no position has."""
        self._own.setdefault(gate, {})

    def open(self, gate: str) -> None:
        """Open such a gate, if it is closed."""
        for resume in self._own.pop(gate, ()):
            resume()

    def wait(self, gate: str, resume: Callable[[], None]) -> bool:
        """Call `resume` when the gate opens; False if it is open already."""
        waiting = self._closed.get(gate, self._own.get(gate))
        if waiting is None:
            return False
        waiting[resume] = None
        return True

    def leave(self, gate: str, resume: Callable[[], None]) -> None:
        """Wait no longer."""
        self._closed.get(gate, self._own.get(gate, {})).pop(resume, None)

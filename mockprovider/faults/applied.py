"""Faults applied to one exchange: which of them strike this time, and their stages by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import Added, Context, Fault, Level, Response
from mockprovider.timeline import Stage

__all__ = ["NONE", "Applied"]


class Applied:
    """The faults of a chain that strike this exchange, in the order in which they were written.

    headers: what they add to those of the response, once `response` has been called.
    """

    def __init__(self, faults: Sequence[Fault], context: Callable[[int], Context]) -> None:
        contexts = [(fault, context(index)) for index, fault in enumerate(faults)]
        self._struck = [(fault, made) for fault, made in contexts if fault.applies(made)]
        self.headers: tuple[tuple[str, str], ...] = ()

    @property
    def struck(self) -> tuple[Fault, ...]:
        """The faults that strike, in order."""
        return tuple(fault for fault, _ in self._struck)

    @property
    def pairs(self) -> tuple[tuple[Fault, Context], ...]:
        """The same, each with what it knows of the exchange."""
        return tuple(self._struck)

    def asks(self) -> dict[str, Any]:
        """What is to be answered as if it had been asked for; see `Fault.asks`."""
        found: dict[str, Any] = {}
        for fault, context in self._struck:
            found.update(fault.asks(context))
        for _, context in self._struck:
            context.stream = found.get("stream", context.stream)
        return found

    def response(self) -> Response | None:
        """What is answered instead of a reply, by the first fault that does so. To be called once."""
        for fault, context in self._struck:
            if fault.level is Level.BEFORE:
                said = fault.respond(context)
                if isinstance(said, Response):
                    return said
                if isinstance(said, Added):
                    self.headers += said.headers
        return None

    def stages(self, level: Level) -> list[Stage[Any, Any]]:
        """The stages of one level. SettingError where a fault cannot be done to this reply."""
        found = []
        for fault, context in self._struck:
            if fault.level is level:
                if level is Level.EVENT and not context.stream:
                    raise SettingError(f"{fault} changes server-sent events, and this request asks for a whole reply")
                if not fault.any_framing and not context.framing.startswith("sse"):
                    raise SettingError(
                        f"{fault} changes server-sent events; the streams of {context.dialect} are {context.framing}"
                    )
                found.append(fault.stage(context))
        return found


def _no_context(index: int) -> Context:
    raise AssertionError(f"there is no fault {index}")


NONE = Applied((), _no_context)
"""No fault at all."""

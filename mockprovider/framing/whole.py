"""A body that is one document: the message's length is known, so it is declared."""

from __future__ import annotations

from collections.abc import Iterator

from mockprovider.payload import Payload
from mockprovider.timeline import NOWHERE, Control, End, Stage, Timed
from mockprovider.wire import Content, Head

__all__ = ["WholeEncoder"]


class WholeEncoder(Stage[Payload, "Head | Content"]):
    """From the one payload of a whole reply to a message with `Content-Length`."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def feed(self, timed: Timed[Payload | Control]) -> Iterator[Timed[Head | Content | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield gap, item, origin
            return
        headers = (*self._head.headers, ("Content-Length", str(len(item.data))))
        yield gap, Head(self._head.status, headers, self._head.reason), origin
        yield 0.0, item.data, origin

    def flush(self) -> Iterator[Timed[Head | Content | Control]]:
        yield 0.0, End(), NOWHERE

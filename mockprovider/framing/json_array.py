"""One JSON array, element by element, as Google streams without `alt=sse`: `[{…}\\n,\\r\\n{…}\\n]`.

An item of this level is plain `bytes`: an element with what parts it from the one before, or the bracket that ends the
array. The line ends are those of recordings: CRLF after a comma, LF elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from mockprovider.framing.base import Framer
from mockprovider.payload import Payload
from mockprovider.timeline import NOWHERE, Control, Timed

__all__ = ["JsonArrayEncoder"]


class JsonArrayEncoder(Framer):
    """From payloads to the elements of an array. A stream without any is an empty array."""

    def __init__(self) -> None:
        self._begun = False

    def block(self, payload: Payload) -> bytes:
        """The element with its line end, after the opening bracket or a comma."""
        before = b",\r\n" if self._begun else b"["
        self._begun = True
        return before + payload.data + b"\n"

    def flush(self) -> Iterator[Timed[bytes | Control]]:
        yield 0.0, b"]" if self._begun else b"[]", NOWHERE

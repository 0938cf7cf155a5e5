"""A JSON document a line, as Ollama streams them: `application/x-ndjson`.

An item of this level is plain `bytes`: a line with its end, a single LF. JSON has no line end of its own inside a
compact document, so none needs to be escaped; indented documents are not for this framing.
"""

from __future__ import annotations

from mockprovider.framing.base import Framer
from mockprovider.payload import Affixes, Payload

__all__ = ["NdjsonEncoder"]


class NdjsonEncoder(Framer):
    """From payloads to lines."""

    def block(self, payload: Payload) -> bytes:
        """The document and a line end; event names have no place here."""
        return payload.data + b"\n"

    def compose(self, inner: Affixes) -> Affixes:
        """The affixes with the line end."""
        return inner.within(b"", b"\n")

"""What the framings of a stream have in common: each makes a block of bytes of a payload."""

from __future__ import annotations

from collections.abc import Iterator

from mockprovider.payload import Affixes, Payload
from mockprovider.timeline import Control, Stage, Timed

__all__ = ["Framer"]


class Framer(Stage[Payload, bytes]):
    """From payloads to encoded blocks, one for one; what it owes at the end, it owes at once."""

    def feed(self, timed: Timed[Payload | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        yield gap, item if isinstance(item, Control) else self.block(item), origin

    def block(self, payload: Payload) -> bytes:
        """The payload's bytes on the wire."""
        raise NotImplementedError

    def compose(self, inner: Affixes) -> Affixes | None:
        """The affixes of a text delta's block, from those of its payload; None where blocks differ by more."""
        return None

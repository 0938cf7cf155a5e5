"""Server-sent events, as the WHATWG HTML standard (section 9.2, "Server-sent events") defines the stream.

An item of this level is a `ServerSentEvent`, or plain `bytes`: a block that is encoded already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mockprovider.payload import Affixes, Payload
from mockprovider.timeline import Control, Stage, Timed

__all__ = ["ServerSentEvent", "SseEncoder"]


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One block of the stream. data: the payload, whose lines become `data:` lines; None: a block without data."""

    data: bytes | None = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def encode(self) -> bytes:
        """The block with its final empty line: comment, event, id, retry, data; LF; one space after the colon."""
        lines: list[bytes] = []
        if self.comment is not None:
            lines.extend(b": " + line.encode() for line in self.comment.split("\n"))
        if self.event is not None:
            lines.append(b"event: " + self.event.encode())
        if self.id is not None:
            lines.append(b"id: " + self.id.encode())
        if self.retry is not None:
            lines.append(b"retry: %d" % self.retry)
        if self.data is not None:
            lines.extend(b"data: " + line for line in self.data.split(b"\n"))
        return b"\n".join(lines) + b"\n\n"


class SseEncoder(Stage[Payload, bytes]):
    """From payloads to encoded events.

    relay: the variant of relays that write `event: message` and `id: 1, 2, 3 …` before each `data:` line.
    """

    def __init__(self, *, relay: bool = False) -> None:
        self._relay = relay
        self._count = 0

    def feed(self, timed: Timed[Payload | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield gap, item, origin
            return
        self._count += 1
        if self._relay:
            data = ServerSentEvent(item.data, event=item.name or "message", id=str(self._count)).encode()
        elif item.name is None and b"\n" not in item.data:
            data = b"data: %b\n\n" % item.data
        else:
            data = ServerSentEvent(item.data, event=item.name).encode()
        yield gap, data, origin

    def compose(self, inner: Affixes) -> Affixes | None:
        """The affixes of a text delta's event, from those of its payload; None where events are numbered."""
        if self._relay:
            return None
        return inner.within(b"data: ", b"\n\n")

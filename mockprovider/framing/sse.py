"""Server-sent events, as the WHATWG HTML standard (section 9.2, "Server-sent events") defines the stream.

An item of this level is a `ServerSentEvent`, or plain `bytes`: a block that is encoded already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mockprovider.framing.base import Framer
from mockprovider.payload import Affixes, Comment, Payload

__all__ = ["ServerSentEvent", "SseEncoder"]

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One block of the stream. data: the payload, whose lines become `data:` lines; None: a block without data.

    ValueError for a name or id that would not fit into its line, or an id that clients ignore (one with a NUL).
    """

    data: bytes | None = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        for what, value, refused in (("an event name", self.event, "\r\n"), ("an event id", self.id, "\r\n\0")):
            if value is not None and any(character in value for character in refused):
                raise ValueError(f"{what} is one line of text, not {value!r}")

    def encode(self, end: bytes = b"\n") -> bytes:
        """The block with its final empty line: comment, event, id, retry, data; one space after the colon.

        end: of its lines.
        """
        lines: list[bytes] = []
        if self.comment is not None:
            lines.extend(b": " + line for line in _LINE_END.split(self.comment.encode()))
        if self.event is not None:
            lines.append(b"event: " + self.event.encode())
        if self.id is not None:
            lines.append(b"id: " + self.id.encode())
        if self.retry is not None:
            lines.append(b"retry: %d" % self.retry)
        if self.data is not None:
            lines.extend(b"data: " + line for line in _LINE_END.split(self.data))
        return end.join(lines) + end + end


class SseEncoder(Framer):
    """From payloads to encoded events.

    relay: the variant of relays that write `event: message` and `id: 1, 2, 3 …` before each `data:` line. end: of the
    lines, LF or CRLF.
    """

    def __init__(self, *, relay: bool = False, end: bytes = b"\n") -> None:
        self._relay = relay
        self._end = end
        self._count = 0

    def block(self, payload: Payload) -> bytes:
        """The event of a payload, encoded."""
        if type(payload) is Comment:
            return b":%b%b" % (payload.data, self._end * 2)
        self._count += 1
        if self._relay:
            return ServerSentEvent(payload.data, event=payload.name or "message", id=str(self._count)).encode(self._end)
        if self._end == b"\n" and b"\n" not in payload.data and b"\r" not in payload.data:
            if payload.name is None:
                return b"data: %b\n\n" % payload.data
            if payload.name.replace(".", "_").isidentifier():
                return b"event: %b\ndata: %b\n\n" % (payload.name.encode(), payload.data)
        return ServerSentEvent(payload.data, event=payload.name).encode(self._end)

    def compose(self, inner: Affixes) -> Affixes | None:
        """The affixes of a text delta's event, from those of its payload; None where events are numbered."""
        if self._relay:
            return None
        named = b"" if inner.name is None else b"event: " + inner.name.encode() + self._end
        return inner.within(named + b"data: ", self._end + self._end)

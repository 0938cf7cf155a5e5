"""The streamed form of a message: `message_start`, content blocks, `message_delta`, `message_stop`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mockprovider.dialects.anthropic_parts import Padding, cited, ending, final_usage, first_usage, head, signature
from mockprovider.dialects.base import Encoder, Usage, Voice
from mockprovider.jsontext import escape
from mockprovider.payload import Affixes, Payload
from mockprovider.reply import (
    Cited,
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.timeline import Control, Timed

__all__ = ["MessagesStream"]

_PING = Payload(b'{"type": "ping"}', "ping")
_DELTA = "content_block_delta"


class MessagesStream(Encoder):
    """From deltas to named events. A run of text or of thinking is one content block, and so is each tool call.

    One ping comes directly after the first `content_block_start`, where most recordings have it, and where that begins
    a tool call after its first, empty delta; a message without any block has it before its `message_delta`.
    """

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._padding = Padding(voice)
        self._index = -1  # of the block that began last
        self._open: type[TextDelta] | None = None  # what that block is of, until it ends
        self._calls: dict[int, int] = {}  # the block of each tool call
        self._pinged = False
        self._refusal: list[str] = []
        self._owed = 0.0  # seconds, of deltas that make no event

    # ------------------------------------------------------------------------------------------ the stage

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if isinstance(item, Control):
            yield gap, item, origin
            return
        for payload in self._payloads(item):
            yield gap, payload, origin
            gap = 0.0
        self._owed = gap

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        return iter(())

    def _payloads(self, item: Delta) -> Iterator[Payload]:
        if isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, RefusalDelta):
                self._refusal.append(item.text)
            elif isinstance(item, ToolCallDelta):
                index = self._calls.get(item.index, max(self._index, 0))
                yield self._delta(index, "input_json_delta", "partial_json", item.text)
            elif isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens
                yield from self._within(ReasoningDelta)
                yield self._delta(self._index, "thinking_delta", "thinking", item.text)
            else:
                yield from self._within(TextDelta)
                yield self._delta(self._index, "text_delta", "text", item.text)
        elif isinstance(item, Start):
            message = {**head(self._voice), "usage": first_usage(self._voice, self.usage, ended=False)}
            yield self._event({"type": "message_start", "message": message})
        elif isinstance(item, ToolCallStart):
            yield from self._close()
            yield from self._begin(ToolCallDelta, {"type": "tool_use", "id": item.id, "name": item.name, "input": {}})
            self._calls[item.index] = self._index
            yield self._delta(self._index, "input_json_delta", "partial_json", "")
            yield from self._ping()
        elif isinstance(item, Cited):
            yield from self._cite(item)
        else:
            yield from self._end(item)

    def _cite(self, item: Cited) -> Iterator[Payload]:
        """Text that rests on something is a block of its own, and what it rests on is told when it has been said."""
        if item.begins:
            yield from self._close()
            yield from self._begin(TextDelta, {"citations": [], "type": "text", "text": ""})
            return
        for citation in item.citations if self._open is TextDelta else ():
            delta = {"type": "citations_delta", "citation": cited(self._voice, citation)}
            yield self._event({"type": _DELTA, "index": self._index, "delta": delta})
        yield from self._close()

    def _end(self, finish: Finish) -> Iterator[Payload]:
        yield from self._close()
        yield from self._ping()
        usage = final_usage(self._voice, self.usage)
        yield self._event({"type": "message_delta", "delta": ending(finish, self._refusal), "usage": usage})
        yield self._event({"type": "message_stop"})

    # ------------------------------------------------------------------------------------------ content blocks

    def _within(self, kind: type[TextDelta]) -> Iterator[Payload]:
        """What must come for a block of this kind to be open."""
        if self._open is not kind:
            yield from self._close()
            thinking = kind is ReasoningDelta
            yield from self._begin(
                kind,
                {"type": "thinking", "thinking": "", "signature": ""} if thinking else {"type": "text", "text": ""},
            )

    def _begin(self, kind: type[TextDelta], block: dict[str, Any]) -> Iterator[Payload]:
        self._index += 1
        self._open = kind
        yield self._event({"type": "content_block_start", "index": self._index, "content_block": block})
        if kind is not ToolCallDelta:
            yield from self._ping()

    def _close(self) -> Iterator[Payload]:
        if self._open is ReasoningDelta:
            yield self._delta(self._index, "signature_delta", "signature", signature(self._voice, self._index))
        if self._open is not None:
            yield self._event({"type": "content_block_stop", "index": self._index})
        self._open = None

    def _ping(self) -> Iterator[Payload]:
        if not self._pinged:
            self._pinged = True
            yield Payload(_PING.data, _PING.name)

    # ------------------------------------------------------------------------------------------ documents

    def _event(self, document: dict[str, Any]) -> Payload:
        return Payload(self._padding.close(document), document["type"])

    def _delta(self, index: int, kind: str, key: str, text: str) -> Payload:
        before, after = _around(index, kind, key)
        return Payload(before + escape(text) + after + self._padding.within() + b"}", _DELTA)

    def affixes(self, choice: int) -> Affixes | None:
        """A text delta's bytes around its escaped text, in the block that is open; None where that is not of text."""
        if self._open is not TextDelta:
            return None
        before, after = _around(self._index, "text_delta", "text")
        return Affixes(before, b"}", after, self._padding.within, _DELTA)


def _around(index: int, kind: str, key: str) -> tuple[bytes, bytes]:
    """The bytes before and after the text of a delta, up to the padding."""
    return b'{"type":"%b","index":%d,"delta":{"type":"%b","%b":"' % (
        _DELTA.encode(),
        index,
        kind.encode(),
        key.encode(),
    ), b'"}'

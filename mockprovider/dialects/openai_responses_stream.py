"""The streamed and the whole form of OpenAI's Responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from mockprovider.dialects.base import Encoder, Voice, WholeForm
from mockprovider.dialects.openai_responses_output import Output
from mockprovider.dialects.openai_responses_request import ResponsesOptions
from mockprovider.jsontext import dumps, pretty
from mockprovider.payload import Affixes, Payload
from mockprovider.reply import Delta
from mockprovider.timeline import Control, Timed

__all__ = ["ResponsesStream", "ResponsesWhole"]

_TEXT = "response.output_text.delta"


class _Obfuscation:
    """OpenAI's padding: random characters that fill each delta up to a multiple of 16 characters."""

    def __init__(self, voice: Voice) -> None:
        # Of the request alone, not of how often it came: repetitions differ in their ids and in nothing else.
        self._pool = "".join(voice.seed.name(64, "pad", half, voice.key[0]) for half in (0, 1))
        self._turn = 0

    def beside(self, length: int) -> str:
        """The characters that go with a delta of that length."""
        self._turn = turn = (self._turn + 41) % 113
        return self._pool[turn : turn + -length % 16]


class ResponsesStream(Encoder):
    """From deltas to named and numbered events, from `response.created` to `response.completed`; no sentinel."""

    def __init__(self, voice: Voice) -> None:
        options: ResponsesOptions = voice.ask.options
        self._output = Output(voice)
        self.usage = self._output.usage
        self._padding = _Obfuscation(voice) if options.obfuscation else None
        self._number = 0
        self._owed = 0.0  # seconds, of deltas that make no event

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if isinstance(item, Control):
            yield gap, item, origin
            return
        for event in self._output.take(item):
            yield gap, self._payload(event), origin
            gap = 0.0
        self._owed = gap

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        return iter(())

    def _payload(self, event: dict[str, Any]) -> Payload:
        """An event with its number, and with padding if it has a delta: the type first, all else by name."""
        kind = event.pop("type")
        event["sequence_number"] = self._number
        self._number += 1
        if self._padding is not None and "delta" in event:
            event["obfuscation"] = self._padding.beside(len(event["delta"]))
        return Payload(dumps({"type": kind, **{key: event[key] for key in sorted(event)}}), kind)

    def affixes(self, choice: int) -> Affixes | None:
        """A text delta's bytes around its escaped text; None where none is open, or log probabilities are told.

        What stands behind the text differs with every delta: the padding and the number. Both are drawn with it.
        """
        place = self._output.text()
        if place is None:
            return None
        item, part = place
        prefix = b'{"type":"%b","content_index":%d,"delta":"' % (_TEXT.encode(), part.index)
        middle = b'","item_id":"%b","logprobs":[]' % item.id.encode()
        after = b',"output_index":%d,"sequence_number":' % item.index
        return Affixes(prefix, b"}", middle, self._tail(part.said, after), _TEXT)

    def _tail(self, said: bytearray, after: bytes) -> Callable[[bytes], bytes]:
        padding = self._padding

        def tail(text: bytes) -> bytes:
            said.extend(text)
            number = self._number
            self._number = number + 1
            if padding is None:
                return after + b"%d" % number
            length = len(text) if text.isascii() and b"\\" not in text else len(json.loads(b'"%b"' % text))
            return b',"obfuscation":"%b"%b%d' % (padding.beside(length).encode(), after, number)

        return tail


class ResponsesWhole(WholeForm):
    """From deltas to one indented `response`, when they have all come."""

    def __init__(self, voice: Voice) -> None:
        self._output = Output(voice)
        self.usage = self._output.usage

    def take(self, delta: Delta, gap: float) -> None:
        for _ in self._output.take(delta):
            pass

    def document(self) -> bytes:
        return pretty(self._output.response())

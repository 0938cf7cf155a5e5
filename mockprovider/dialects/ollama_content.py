"""What Ollama answers: from deltas to lines with a message or a response, and to one document.

Every line tells when it was made, and the last one how long all of it took: both are those of the timeline. Nothing
takes no time at all in Ollama, which leaves out a duration of zero, so what is instant takes a millisecond.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zlib import crc32

from mockprovider.dialects.base import Encoder, Usage, Voice, WholeForm
from mockprovider.jsontext import dumps
from mockprovider.payload import Payload
from mockprovider.reply import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart
from mockprovider.timeline import Control, Timed
from mockprovider.tokens import cut

__all__ = ["OllamaLines", "OllamaWhole", "arguments"]

_SECOND = 1_000_000_000
_LEAST = 1_000_000
"""Nanoseconds that a reply takes at least."""

_VOCABULARY = 128_000
"""How many tokens the made-up numbers of `context` are of."""


def arguments(text: str) -> dict[str, Any] | None:
    """The arguments of a tool call as an object; None where the text is none."""
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@lru_cache(maxsize=4)
def _to_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def stamp(nanoseconds: int) -> str:
    """The time since the epoch as Go's `time.RFC3339Nano` has it: no zeros at its end."""
    second, fraction = divmod(nanoseconds, _SECOND)
    return f"{_to_the_second(second)}.{fraction:09}".rstrip("0").rstrip(".") + "Z"


class _Clock:
    """The time of a reply, in nanoseconds since it began; the first token ends the reading of the prompt."""

    def __init__(self, voice: Voice) -> None:
        # A server's clock does not stand at a full second: where it stands is of the request alone.
        begun = int(voice.seed.hex(7, "clock", voice.key[0]), 16) % (_SECOND // 1000)
        self._begun = voice.created * _SECOND + begun * 1000
        self._lines = 0
        self.now = 0.0
        self.first: float | None = None

    def pass_(self, gap: float, *, token: bool) -> None:
        """Some seconds have passed. token: a token comes now."""
        self.now += gap
        if token and self.first is None:
            self.first = self.now

    def stamp(self) -> str:
        """The time of the next line; no two are of the same."""
        self._lines += 1
        return stamp(self._begun + round(self.now * _SECOND) + self._lines * 1000)

    def durations(self) -> tuple[int, int, int, int]:
        """In all, for loading, for the prompt, and for the reply, in nanoseconds."""
        total = max(_LEAST, round(self.now * _SECOND))
        load = total // 50
        first = self.now if self.first is None else self.first
        prompt = max(total // 10, min(round(first * _SECOND) - load, total - load - 1))
        return total, load, prompt, max(1, total - load - prompt)


class _OllamaEncoder(Encoder):
    """What both forms share. chat: a message, not a response."""

    def __init__(self, voice: Voice, *, chat: bool) -> None:
        self.usage = Usage()
        self._voice = voice
        self._chat = chat
        self._clock = _Clock(voice)
        self._tokens: list[str] = []

    def _counted(self, gap: float, item: Delta) -> None:
        self._clock.pass_(gap, token=isinstance(item, TextDelta))
        if isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens
            elif not self._chat:
                self._tokens += item.pieces or (item.text,)

    def _line(self, text: str, thinking: str = "", calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """A line that says some text or thinking, or calls tools."""
        head: dict[str, Any] = {"model": self._voice.ask.model, "created_at": self._clock.stamp()}
        extra = {"thinking": thinking} if thinking else {}
        if not self._chat:
            return {**head, "response": text, **extra, "done": False}
        called = {"tool_calls": calls} if calls else {}
        return {**head, "message": {"role": "assistant", "content": text, **extra, **called}, "done": False}

    def _done(self, line: dict[str, Any], reason: str) -> dict[str, Any]:
        """The line as the last one."""
        load = self._voice.ask.options.load
        said = {**line, "done": True, "done_reason": load or ("stop" if reason == "tool_calls" else reason)}
        if load:
            return said
        ask = self._voice.ask
        if not self._chat and not ask.options.raw:
            prompt = [token for _, text in ask.messages for token in cut(text)]
            said["context"] = [crc32(token.encode("utf-8", "surrogatepass")) % _VOCABULARY for token in prompt]
            said["context"] += [crc32(token.encode("utf-8", "surrogatepass")) % _VOCABULARY for token in self._tokens]
        total, loading, reading, saying = self._clock.durations()
        told = self._voice.account(self.usage)
        return {
            **said,
            "total_duration": total,
            "load_duration": loading,
            "prompt_eval_count": told.prompt,
            "prompt_eval_duration": reading,
            "eval_count": told.completion,
            "eval_duration": saying,
        }


def _call(start: ToolCallStart, pieces: list[str]) -> list[dict[str, Any]]:
    """A tool call, if its arguments are an object: what a limit has cut off is none, and cannot be told."""
    found = arguments("".join(pieces))
    if found is None:
        return []
    own = {"id": start.id} if start.id else {}
    return [{**own, "function": {"name": start.name, "arguments": found}}]


class OllamaLines(_OllamaEncoder):
    """From deltas to lines: one a delta, one a tool call, and one that tells that all is done."""

    def __init__(self, voice: Voice, *, chat: bool) -> None:
        super().__init__(voice, chat=chat)
        self._owed = 0.0
        self._open: dict[int, tuple[ToolCallStart, list[str]]] = {}  # the calls that may go on

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield gap + self._owed, item, origin
            self._owed = 0.0
            return
        if self._open and not isinstance(item, ToolCallDelta | ToolCallStart):
            # They were complete when their last delta came, which takes no time to find out now.
            for start, pieces in self._open.values():
                for call in _call(start, pieces):
                    yield self._taken(), Payload(dumps(self._line("", calls=[call]))), origin
            self._open.clear()
        self._counted(gap, item)
        self._owed += gap
        if isinstance(item, ToolCallStart):
            self._open[item.index] = item, []
        elif isinstance(item, ToolCallDelta):
            if item.index in self._open:  # it began, unless the reply was tampered with
                self._open[item.index][1].append(item.text)
        elif isinstance(item, Finish):
            yield self._taken(), Payload(dumps(self._done(self._line(""), item.reason))), origin
        elif isinstance(item, ReasoningDelta):
            if self._voice.ask.options.thoughts:
                yield self._taken(), Payload(dumps(self._line("", item.text))), origin
        elif isinstance(item, TextDelta):
            yield self._taken(), Payload(dumps(self._line(item.text))), origin

    def _taken(self) -> float:
        owed, self._owed = self._owed, 0.0
        return owed

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        return iter(())


class OllamaWhole(WholeForm, _OllamaEncoder):
    """From deltas to one document, when they have all come."""

    def __init__(self, voice: Voice, *, chat: bool) -> None:
        super().__init__(voice, chat=chat)
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, tuple[ToolCallStart, list[str]]] = {}
        self._reason = "stop"

    def take(self, delta: Delta, gap: float) -> None:
        self._counted(gap, delta)
        if isinstance(delta, ToolCallStart):
            self._calls[delta.index] = delta, []
        elif isinstance(delta, ToolCallDelta):
            if delta.index in self._calls:
                self._calls[delta.index][1].append(delta.text)
        elif isinstance(delta, Finish):
            self._reason = delta.reason
        elif isinstance(delta, ReasoningDelta):
            self._thinking.append(delta.text)
        elif isinstance(delta, TextDelta):
            self._text.append(delta.text)

    def document(self) -> bytes:
        calls = [call for start, pieces in self._calls.values() for call in _call(start, pieces)]
        thinking = "".join(self._thinking) if self._voice.ask.options.thoughts else ""
        line = self._line("".join(self._text), thinking, calls)
        return dumps(self._done(line, self._reason))

"""The streamed and the whole form of a Gemini reply: from deltas to documents with parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from mockprovider.dialects.base import Encoder, Usage, Voice, WholeForm
from mockprovider.dialects.gemini_models import ends_apart
from mockprovider.dialects.gemini_parts import arguments, candidate, document, finish_reason, grounding, signature
from mockprovider.jsontext import pretty, spaced
from mockprovider.payload import Payload
from mockprovider.reply import (
    Cited,
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.timeline import Control, Origin, Timed

__all__ = ["GeminiStream", "GeminiWhole"]


class _Candidate:
    """What one candidate has said: parts that are complete, a function call that is not, and a refusal."""

    def __init__(self, voice: Voice, index: int) -> None:
        self.index = index
        self.refused: list[str] = []
        self.silent = True
        self._voice = voice
        self._parts: list[dict[str, Any]] = []
        self._calls: dict[int, tuple[ToolCallStart, list[str]]] = {}
        self._signed = False
        self._thought = False
        self._bytes = 0  # of the answer so far
        self._cited: list[str] | None = None  # the pieces of a text that rests on something, while it is said
        self._grounds: list[tuple[int, str, Cited]] = []  # where such a text ends, and what it is

    def add(self, item: Delta) -> None:
        """Take a delta into account."""
        if isinstance(item, ToolCallStart):
            self._calls[item.index] = item, []
        elif isinstance(item, ToolCallDelta):
            if item.index in self._calls:  # it began, unless the reply was tampered with
                self._calls[item.index][1].append(item.text)
        elif isinstance(item, RefusalDelta):
            self.refused.append(item.text)
        elif isinstance(item, ReasoningDelta):
            self._thought = True
            if self._voice.ask.options.thoughts:
                self._say(item.text, thought=True)
        elif isinstance(item, TextDelta):
            self._say(item.text, thought=False)
            self._bytes += len(item.text.encode("utf-8", "surrogatepass"))
            if self._cited is not None:
                self._cited.append(item.text)
        elif isinstance(item, Cited):
            if item.begins:
                self._cited = []
            elif self._cited:
                self._grounds.append((self._bytes, "".join(self._cited), item))
                self._cited = None

    def _say(self, text: str, *, thought: bool) -> None:
        self.silent = False
        last = self._parts[-1] if self._parts else {}
        if "text" in last and last.get("thought", False) == thought:
            last["text"] += text
        else:
            self._parts.append({"text": text, **({"thought": True} if thought else {})})

    @property
    def calling(self) -> bool:
        """Whether a function call may go on."""
        return bool(self._calls)

    @property
    def holds(self) -> str:
        """What the parts that are complete hold: `thought`, `text`, or nothing."""
        last = self._parts[-1] if self._parts else {}
        return "thought" if last.get("thought") else "text" if "text" in last else ""

    def take(self, finish: Finish | None = None) -> list[dict[str, Any]]:
        """The parts that are complete, which are forgotten; at the finish, function calls are complete too.

        A call whose arguments are no object, as when a limit has cut them off, is left out: Gemini has no word for it.
        """
        for start, pieces in self._calls.values():
            args = arguments("".join(pieces))
            if args is not None:
                self.silent = False
                own = {"id": start.id} if start.id else {}
                part: dict[str, Any] = {"functionCall": {**own, "name": start.name, "args": args}}
                if self._thought or ends_apart(self._voice.ask.model):
                    part |= self.sign()
                self._parts.append(part)
        self._calls.clear()
        taken, self._parts = self._parts, []
        signs = finish is not None and self._thought and ends_apart(self._voice.ask.model)
        if signs and taken and taken[-1].keys() == {"text"}:
            taken[-1] |= self.sign()
        return taken

    def sign(self) -> dict[str, str]:
        """The signature of its thoughts, once."""
        if self._signed:
            return {}
        self._signed = True
        return {"thoughtSignature": signature(self._voice, self.index)}

    def ending(self, finish: Finish) -> dict[str, Any]:
        """Why it ends."""
        said: dict[str, Any] = {"finishReason": finish_reason(finish, refused=bool(self.refused))}
        if self.refused:
            said["finishMessage"] = "".join(self.refused)
        return {**said, "groundingMetadata": grounding(self._grounds)} if self._grounds else said

    def blocked(self, finish: Finish) -> bool:
        """Whether nothing was said and nothing will be, because the prompt was filtered."""
        return finish.reason == "content_filter" and self.silent and not self.refused


class _GeminiEncoder(Encoder):
    """What both forms do with deltas."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._candidates: dict[int, _Candidate] = {}

    def _candidate(self, index: int) -> _Candidate:
        made = self._candidates.get(index)
        if made is None:
            made = self._candidates[index] = _Candidate(self._voice, index)
        return made

    def _counted(self, item: Delta) -> None:
        if isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens


class _Held(NamedTuple):
    """A chunk that is kept back: its gap, whose it is, its parts, and what had been sent with it."""

    gap: float
    candidate: int
    parts: list[dict[str, Any]]
    sent: Usage
    origin: Origin


class GeminiStream(_GeminiEncoder):
    """From deltas to chunks: one a text delta; function calls one after the other are together in one.

    A chunk is kept back until the delta after it, which takes no time: the last one of Gemini 2 also says why it ends.
    """

    def __init__(self, voice: Voice) -> None:
        super().__init__(voice)
        self._write = spaced if voice.ask.options.alt == "sse" else pretty
        self._held: _Held | None = None
        self._owed = 0.0

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield from self._release()
            yield gap + self._owed, item, origin
            self._owed = 0.0
            return
        self._owed += gap
        self._counted(item)
        speaker = self._candidate(item.choice)
        if isinstance(item, Finish):
            yield from self._finish(speaker, item, origin)
            return
        if speaker.calling and isinstance(item, TextDelta) and not isinstance(item, ToolCallDelta):
            yield from self._chunk(speaker, origin)
        speaker.add(item)
        if not speaker.calling and speaker.holds:
            yield from self._chunk(speaker, origin)

    def _chunk(self, speaker: _Candidate, origin: Origin) -> Iterator[Timed[Payload]]:
        """The parts that a candidate has complete, in place of the chunk that was kept back."""
        parts = speaker.take()
        if parts:
            yield from self._release()
            self._held = _Held(self._taken(), speaker.index, parts, replace(self.usage), origin)

    def _taken(self) -> float:
        owed, self._owed = self._owed, 0.0
        return owed

    def _release(self) -> Iterator[Timed[Payload]]:
        """The chunk that was kept back."""
        held, self._held = self._held, None
        if held is not None:
            said = candidate(self._voice, held.candidate, held.parts, {})
            made = document(self._voice, [said], held.sent, ended=False)
            yield held.gap, Payload(self._write(made)), held.origin

    def _finish(self, speaker: _Candidate, finish: Finish, origin: Origin) -> Iterator[Timed[Payload]]:
        yield from self._chunk(speaker, origin)
        apart, parts, gap = ends_apart(self._voice.ask.model), [], 0.0
        held = self._held
        if held is not None and held.candidate == speaker.index and not apart and not speaker.refused:
            self._held = None
            gap, parts, origin = held.gap, held.parts, held.origin
        else:
            yield from self._release()
            if not speaker.refused:
                parts = [{"text": "", **(speaker.sign() if self.usage.reasoning and apart else {})}]
        blocked = speaker.blocked(finish)
        said = candidate(self._voice, speaker.index, parts, speaker.ending(finish))
        made = document(self._voice, [said], self.usage, ended=True, blocked=blocked)
        yield gap + self._taken(), Payload(self._write(made)), origin

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        yield from self._release()


class GeminiWhole(WholeForm, _GeminiEncoder):
    """From deltas to one indented document, when they have all come."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(voice)
        self._finishes: dict[int, Finish] = {}

    def take(self, delta: Delta, gap: float) -> None:
        self._counted(delta)
        speaker = self._candidate(delta.choice)
        if isinstance(delta, Finish):
            self._finishes[delta.choice] = delta
        else:
            speaker.add(delta)

    def document(self) -> bytes:
        candidates = []
        blocked = bool(self._candidates)
        for index, speaker in sorted(self._candidates.items()):
            finish = self._finishes.get(index, Finish("stop"))
            parts = speaker.take(finish)
            blocked &= speaker.blocked(finish)
            candidates.append(candidate(self._voice, index, parts, speaker.ending(finish)))
        return pretty(document(self._voice, candidates, self.usage, ended=True, blocked=blocked)) + b"\n"

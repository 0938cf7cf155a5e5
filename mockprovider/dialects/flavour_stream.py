"""The streamed form of a chat completion, in any flavour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mockprovider.dialects.base import Encoder, Usage, Voice
from mockprovider.dialects.flavour import Flavour
from mockprovider.dialects.flavour_values import finishes
from mockprovider.dialects.flavour_words import Words
from mockprovider.dialects.openai_chat_parts import ToolNames
from mockprovider.dialects.openai_chat_request import ChatOptions
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.jsontext import dumps, escape
from mockprovider.payload import Affixes, Comment, Payload
from mockprovider.reply import (
    Delta,
    Finish,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.timeline import NOWHERE, Control, Origin, Timed

__all__ = ["FlavourStream"]

_KINDS: dict[type[TextDelta], str] = {
    TextDelta: "text",
    ReasoningDelta: "reasoning",
    RefusalDelta: "refusal",
    ToolCallDelta: "arguments",
}
_NONE: frozenset[str] = frozenset()
_FIRST = frozenset({"first"})
_OPENS = frozenset({"opens"})
_OPENS_TEXT = frozenset({"opens_text"}), b'{"content":[],"refusal":null}'
_OPENINGS: dict[Any, tuple[frozenset[str], bytes]] = {
    ToolCall: (frozenset({"opens_call"}), b"null"),
    Refusal: (frozenset({"opens_refusal"}), b'{"content":null,"refusal":[]}'),
}
"""What a role chunk says of itself, and its log probabilities, by the type of the reply's first part."""

_NULL = {"finish": b"null", "native_finish": b"null", "logprobs": b"null", "choices": b""}


_ALONE = {**_NULL, "index": b"0"}


class _Call:
    """A tool call that is sent as a whole, while its arguments come."""

    __slots__ = ("arguments", "item", "kind")

    def __init__(self, item: ToolCallStart, kind: tuple[str, str]) -> None:
        self.item = item
        self.kind = kind
        self.arguments: list[str] = []


class FlavourStream(Encoder):
    """From deltas to `chat.completion.chunk` documents, in the order and the shape of a flavour's templates."""

    def __init__(self, row: Flavour, voice: Voice) -> None:
        self.usage = Usage()
        self._row = row
        self._words = words = Words(row, voice, self.usage)
        self._voice = voice
        options: ChatOptions = voice.ask.options
        self._logprobs = Logprobs(voice, options.top_logprobs) if options.logprobs else None
        self._tools = ToolNames(voice.ask)
        self._begun = False
        self._gap = 0.0  # of what had no event of its own
        self._plan = row.plan(words.flags)
        self._unsaid: set[int] = set()  # choices that have said nothing yet, where the role has no event of its own
        # Role chunks that wait for their choice's only tool call, by choice.
        self._held: dict[int, tuple[float, Origin]] = {}
        self._calls: dict[int, list[_Call]] = {}  # calls that are sent whole, by choice
        self._texts: dict[int, str] = {}  # what each choice has said so far, where a template shows it
        self._last = b"null", b"null"  # the finish reason, and the native one

    # ------------------------------------------------------------------------------------------ documents

    def _event(self, kind: str, choice: int, flags: frozenset[str] = _NONE, **values: bytes) -> Payload:
        filled = {**_NULL, "index": b"%d" % choice, **values} if choice or values else _ALONE
        if self._plan.cumulates:
            filled = {**filled, "said_so_far": dumps(self._texts.get(choice, ""))}
        return Payload(self._words.say("stream", kind, flags, filled))

    def _role(self, choice: int, opens: type[Any] | None) -> Payload:
        flags, logprobs = _OPENINGS.get(opens, _OPENS_TEXT)
        return self._event("role", choice, flags, logprobs=b"null" if self._logprobs is None else logprobs)

    def _first(self, choice: int) -> frozenset[str]:
        if choice in self._unsaid:
            self._unsaid.discard(choice)
            return _FIRST
        return _NONE

    def _delta(self, item: TextDelta) -> Payload:
        choice, flags = item.choice, self._first(item.choice)
        values = {"text": b'"%b"' % escape(item.text)}
        kind = _KINDS[type(item)]
        if self._plan.cumulates and kind in ("text", "reasoning"):
            self._texts[choice] = self._texts.get(choice, "") + item.text
        if isinstance(item, ToolCallDelta):
            type_, field = self._tools.of(item)
            values |= {"call": b"%d" % item.index, "type": dumps(type_), "field": dumps(field)}
        elif isinstance(item, ReasoningDelta):
            self.usage.reasoning += item.tokens
        else:
            if self._logprobs is not None:
                entries = self._logprobs.entries(item)
                refused = isinstance(item, RefusalDelta)
                said = {"content": None, "refusal": entries} if refused else {"content": entries, "refusal": None}
                values["logprobs"] = dumps(said)
            if not isinstance(item, RefusalDelta):
                values["token_id"] = b"%d" % _token_id(item.text)
        return self._event(kind, choice, flags, **values)

    # ------------------------------------------------------------------------------------------ the stage

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield from self._release()
            yield gap + self._took(), item, origin
            return
        if not self._begun:
            self._begun = True
            yield from self._waiting(gap)
            gap = self._took()
            if "before" in self._row.stream:
                yield gap, Payload(self._words.say("stream", "before", _NONE, {})), NOWHERE
                gap = 0.0
        self._gap += gap
        if self._held and not isinstance(item, ToolCallStart):
            yield from self._release()
        if isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, ToolCallDelta) and self._row.calls != "pieces":
                self._add(item)
            else:
                yield from self._sent(item.choice, origin)
                yield self._took(), self._delta(item), origin
        elif isinstance(item, Start):
            yield from self._start(item, origin)
        elif isinstance(item, ToolCallStart):
            yield from self._call(item, origin)
        elif isinstance(item, Finish):
            yield from self._finish(item, origin)

    def _took(self) -> float:
        """The time that has passed since the last event."""
        gap, self._gap = self._gap, 0.0
        return gap

    def _waiting(self, gap: float) -> Iterator[Timed[Payload]]:
        """What is sent while the first token is awaited; the rest of the time is left in `_gap`."""
        alive = self._row.keepalive
        if alive is not None:
            if alive.first:
                yield 0.0, Comment(alive.comment.encode()), NOWHERE
            while gap > alive.every:
                yield alive.every, Comment(alive.comment.encode()), NOWHERE
                gap -= alive.every
        self._gap += gap

    def _start(self, item: Start, origin: Origin) -> Iterator[Timed[Payload]]:
        if not self._plan.role:
            self._unsaid.add(item.choice)
        elif self._row.joins_role and item.opens is ToolCall and item.calls == 1:
            self._held[item.choice] = self._took(), origin
        else:
            yield self._took(), self._role(item.choice, item.opens), origin

    def _release(self) -> Iterator[Timed[Payload]]:
        """The role chunks that waited in vain."""
        for choice, (gap, origin) in self._held.items():
            yield gap, self._role(choice, ToolCall), origin
        self._held.clear()

    def _call(self, item: ToolCallStart, origin: Origin) -> Iterator[Timed[Payload]]:
        """A tool call begins; an only call says the role as well where the flavour does so."""
        kind = self._tools.begin(item)
        if self._row.calls != "pieces":
            if self._row.calls == "whole":
                yield from self._sent(item.choice, origin)
            self._calls.setdefault(item.choice, []).append(_Call(item, kind))
            return
        held = self._held.pop(item.choice, None)
        if held is not None:
            self._gap += held[0]
        flags = (_OPENS if held is not None else _NONE) | self._first(item.choice)
        values = self._named(item, kind)
        yield self._took(), self._event("call", item.choice, flags, **values), origin

    def _named(self, item: ToolCallStart, kind: tuple[str, str]) -> dict[str, bytes]:
        return {
            "call": b"%d" % item.index,
            "call_id": dumps(item.id),
            "name": dumps(item.name),
            "type": dumps(kind[0]),
            "field": dumps(kind[1]),
        }

    def _add(self, item: ToolCallDelta) -> None:
        calls = self._calls.setdefault(item.choice, [])
        if not calls or calls[-1].item.index != item.index:  # it never began, in a reply that was tampered with
            calls.append(_Call(ToolCallStart(item.index, "", "", item.choice), self._tools.of(item)))
        calls[-1].arguments.append(item.text)

    def _rendered(self, choice: int) -> bytes:
        """The calls that wait, as the elements of a list."""
        made = []
        for call in self._calls.pop(choice, ()):
            values = {**self._named(call.item, call.kind), "text": b'"%b"' % escape("".join(call.arguments))}
            made.append(self._words.say("stream", "one_call", _NONE, values))
        return b",".join(made)

    def _sent(self, choice: int, origin: Origin) -> Iterator[Timed[Payload]]:
        """The calls that are complete, where each has an event of its own."""
        if choice in self._calls and self._row.calls == "whole":
            flags = self._first(choice)
            yield self._took(), self._event("calls", choice, flags, calls=self._rendered(choice)), origin

    def _finish(self, item: Finish, origin: Origin) -> Iterator[Timed[Payload]]:
        yield from self._sent(item.choice, origin)
        finish, native_finish = self._last = finishes(self._voice.ask.model, item.reason)
        flags = self._first(item.choice)
        values = {"finish": finish, "native_finish": native_finish}
        if item.choice in self._calls:
            flags |= {"calls"}
            values["calls"] = self._rendered(item.choice)
        yield self._took(), self._event("finish", item.choice, flags, **values), origin

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        yield from self._release()
        row = self._row
        if row.usage == "always" or (row.usage == "asked" and "asked_usage" in self._words.flags):
            values = {"finish": self._last[0], "native_finish": self._last[1]}
            yield self._took(), self._event("usage", 0, _NONE, **values), NOWHERE
        if row.done:
            yield self._took(), Payload(b"[DONE]"), NOWHERE

    def affixes(self, choice: int) -> Affixes | None:
        """A text delta's bytes around its escaped text; None where more of them differs from delta to delta."""
        if self._logprobs is not None:
            return None
        return self._words.affixes({**_NULL, "index": b"%d" % choice})


def _token_id(text: str) -> int:
    """A number that stands for a token, the same wherever it comes."""
    number = 0
    for character in text:
        number = (number * 131 + ord(character)) % 128_000
    return number

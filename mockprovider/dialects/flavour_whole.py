"""The whole form of a chat completion, in any flavour: one document, when the reply is complete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from mockprovider.dialects.base import Encoder, Usage, Voice
from mockprovider.dialects.flavour import Flavour
from mockprovider.dialects.flavour_values import finishes
from mockprovider.dialects.flavour_words import Words
from mockprovider.dialects.openai_chat_parts import ToolNames
from mockprovider.dialects.openai_chat_request import ChatOptions
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.jsontext import dumps, escape, pretty
from mockprovider.payload import Payload
from mockprovider.reply import (
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.timeline import NOWHERE, Control, Timed

__all__ = ["FlavourWhole"]

_NONE: frozenset[str] = frozenset()
_REASONED = frozenset({"reasoned", "thought"})
_THOUGHT = frozenset({"thought"})


class FlavourWhole(Encoder):
    """From deltas to one `chat.completion` document, in the order and the shape of a flavour's templates."""

    def __init__(self, row: Flavour, voice: Voice) -> None:
        self.usage = Usage()
        self._row = row
        self._voice = voice
        self._words = Words(row, voice, self.usage)
        self._words.flags -= _REASONED  # it depends on what has really been said
        self._gap = 0.0
        self._tools = ToolNames(voice.ask)
        options: ChatOptions = voice.ask.options
        self._logprobs = Logprobs(voice, options.top_logprobs) if options.logprobs else None
        # Every choice that was asked for has one, even if nothing comes of it.
        self._messages = {choice: _Message() for choice in range(voice.ask.choices)}

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        self._gap += gap
        if isinstance(item, Control):
            yield self._gap, item, origin
            self._gap = 0.0
            return
        message = self._messages.get(item.choice)
        if message is None:
            message = self._messages[item.choice] = _Message()
        if isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens
            self._add(message, item)
        elif isinstance(item, ToolCallStart):
            message.calls[item.index] = _Call(item.id, item.name, *self._tools.begin(item))
        elif isinstance(item, Finish):
            message.finish = item.reason

    def _add(self, message: _Message, item: TextDelta) -> None:
        if isinstance(item, ToolCallDelta):
            if item.index not in message.calls:  # it never began, in a reply that was tampered with
                message.calls[item.index] = _Call("", "", *self._tools.of(item))
            message.calls[item.index].said.append(item.text)
            return
        message.texts[type(item)].append(item.text)
        if self._logprobs is not None and not isinstance(item, ReasoningDelta):
            message.logprobs[type(item)].extend(self._logprobs.entries(item))

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        choices = self._between("choices").join(self._choice(index) for index in sorted(self._messages))
        script = self._voice.reply.usage
        scripted = script is not None and script.reasoning
        flags = _REASONED if self.usage.reasoning else _THOUGHT if scripted else _NONE
        document = self._words.say("whole", "document", flags, {"choices": choices})
        yield self._gap, Payload(document), NOWHERE

    def _between(self, what: str) -> bytes:
        template = self._row.whole.get(f"between_{what}")
        return b"," if template is None else template.text.encode()

    def _choice(self, index: int) -> bytes:
        message = self._messages[index]
        content, reasoning = message.text(TextDelta), message.text(ReasoningDelta)
        refusal = message.text(RefusalDelta)
        if content is None and refusal is None and not message.calls:
            content = b'""'
        found = {"said": content, "reasoned": reasoning, "refused": refusal, "called": message.calls or None}
        logprobs = b"null"
        if self._logprobs is not None and message.logprobs:
            entries = {"content": message.logprobs.get(TextDelta), "refusal": message.logprobs.get(RefusalDelta)}
            # Three levels deep, where the document is indented.
            logprobs = pretty(entries).replace(b"\n", b"\n      ") if self._row.indented else dumps(entries)
        finish, native_finish = finishes(self._voice.ask.model, message.finish)
        values = {
            "index": b"%d" % index,
            "content": content or b"null",
            "reasoning": reasoning or b"null",
            "refusal": refusal or b"null",
            "calls": self._between("calls").join(self._call(number, call) for number, call in message.calls.items()),
            "logprobs": logprobs,
            "finish": finish,
            "native_finish": native_finish,
        }
        flags = frozenset(flag for flag, value in found.items() if value is not None)
        return self._words.say("whole", "choice", flags, values)

    def _call(self, number: int, call: _Call) -> bytes:
        values = {
            "call": b"%d" % number,
            "call_id": dumps(call.id),
            "type": dumps(call.kind),
            "name": dumps(call.name),
            "field": dumps(call.field),
            "text": b'"%b"' % escape("".join(call.said)),
        }
        return self._words.say("whole", "call", _NONE, values)


class _Call:
    """One tool call. kind, field: see `ToolNames`."""

    __slots__ = ("field", "id", "kind", "name", "said")

    def __init__(self, id: str, name: str, kind: str, field: str) -> None:
        self.id = id
        self.name = name
        self.kind = kind
        self.field = field
        self.said: list[str] = []


class _Message:
    """One choice, while its deltas come in."""

    __slots__ = ("calls", "finish", "logprobs", "texts")

    def __init__(self) -> None:
        self.texts: defaultdict[type[TextDelta], list[str]] = defaultdict(list)
        self.logprobs: defaultdict[type[TextDelta], list[dict[str, object]]] = defaultdict(list)
        self.calls: dict[int, _Call] = {}
        self.finish = "stop"

    def text(self, kind: type[TextDelta]) -> bytes | None:
        """What was said in this manner, as JSON; None where nothing was."""
        return b'"%b"' % escape("".join(self.texts[kind])) if kind in self.texts else None

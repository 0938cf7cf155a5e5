"""The whole form of a chat completion, in any flavour: one document, when the reply is complete."""

from __future__ import annotations

from mockprovider.dialects.base import Voice
from mockprovider.dialects.flavour import Flavour
from mockprovider.dialects.flavour_values import finishes
from mockprovider.dialects.flavour_words import Words
from mockprovider.dialects.openai_chat_said import Call, ChatForm
from mockprovider.jsontext import dumps, escape, pretty
from mockprovider.reply import ReasoningDelta, RefusalDelta, TextDelta

__all__ = ["FlavourWhole"]

_NONE: frozenset[str] = frozenset()
_REASONED = frozenset({"reasoned", "thought"})
_THOUGHT = frozenset({"thought"})


class FlavourWhole(ChatForm):
    """From deltas to one `chat.completion` document, in the order and the shape of a flavour's templates."""

    def __init__(self, row: Flavour, voice: Voice) -> None:
        super().__init__(voice)
        self._row = row
        self._words = Words(row, voice, self.usage)
        self._words.flags -= _REASONED  # it depends on what has really been said

    def document(self) -> bytes:
        choices = self._between("choices").join(self._choice(index) for index in sorted(self.messages))
        script = self._voice.reply.usage
        scripted = script is not None and script.reasoning
        flags = _REASONED if self.usage.reasoning else _THOUGHT if scripted else _NONE
        return self._words.say("whole", "document", flags, {"choices": choices})

    def _between(self, what: str) -> bytes:
        template = self._row.whole.get(f"between_{what}")
        return b"," if template is None else template.text.encode()

    def _choice(self, index: int) -> bytes:
        message = self.messages[index]
        content, reasoning = _quoted(message.text(TextDelta)), _quoted(message.text(ReasoningDelta))
        refusal = _quoted(message.text(RefusalDelta))
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

    def _call(self, number: int, call: Call) -> bytes:
        values = {
            "call": b"%d" % number,
            "call_id": dumps(call.id),
            "type": dumps(call.kind),
            "name": dumps(call.name),
            "field": dumps(call.field),
            "text": b'"%b"' % escape("".join(call.said)),
        }
        return self._words.say("whole", "call", _NONE, values)


def _quoted(text: str | None) -> bytes | None:
    """The text as JSON; None where there is none."""
    return None if text is None else b'"%b"' % escape(text)

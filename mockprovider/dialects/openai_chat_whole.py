"""The whole form of a chat completion: one document, when the reply is complete."""

from __future__ import annotations

from typing import Any

from mockprovider.dialects.base import Voice
from mockprovider.dialects.openai_chat_parts import Annotations, fingerprint, head, usage
from mockprovider.dialects.openai_chat_said import Call, ChatForm
from mockprovider.dialects.openai_models import reasons
from mockprovider.jsontext import pretty
from mockprovider.reply import Cited, Delta, ReasoningDelta, RefusalDelta, TextDelta

__all__ = ["ChatWhole"]


class ChatWhole(ChatForm):
    """The whole form: one indented `chat.completion` document, when all deltas have come."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(voice)
        self._annotations = Annotations(voice)

    def take(self, delta: Delta, gap: float) -> None:
        if isinstance(delta, TextDelta):
            self._annotations.said(delta)
        elif isinstance(delta, Cited):
            self._annotations.cite(delta)
        super().take(delta, gap)

    def document(self) -> bytes:
        ask, options = self._voice.ask, self._voice.ask.options
        keyed = options.logprobs or not reasons(ask.model)
        document = {
            **head(self._voice, "chat.completion"),
            "choices": [self._choice(index, keyed=keyed) for index in sorted(self.messages)],
            "usage": usage(self._voice.account(self.usage)),
            "service_tier": options.service_tier,
            "system_fingerprint": fingerprint(self._voice.seed.value, ask.model),
        }
        return pretty(document) + b"\n"

    def _choice(self, index: int, *, keyed: bool) -> dict[str, Any]:
        """The choice. keyed: it has a key `logprobs`, null where nothing was asked for or said."""
        said = self.messages[index]
        content, reasoning, refusal = said.text(TextDelta), said.text(ReasoningDelta), said.text(RefusalDelta)
        if content is None and refusal is None and not said.calls:
            content = ""
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if reasoning is not None:
            message["reasoning_content"] = reasoning
        if said.calls:
            message["tool_calls"] = [_call(call) for call in said.calls.values()]
        message.update(refusal=refusal, annotations=self._annotations.of(index))
        choice: dict[str, Any] = {"index": index, "message": message}
        if keyed:
            entries = {"content": said.logprobs.get(TextDelta), "refusal": said.logprobs.get(RefusalDelta)}
            choice["logprobs"] = entries if said.logprobs else None
        choice["finish_reason"] = said.finish
        return choice


def _call(call: Call) -> dict[str, Any]:
    """The call as it stands in a message."""
    return {"id": call.id, "type": call.kind, call.kind: {"name": call.name, call.field: "".join(call.said)}}

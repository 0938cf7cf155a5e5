"""The whole form of a chat completion: one document, when the reply is complete."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.dialects.base import Encoder, Usage, Voice
from mockprovider.dialects.openai_chat_parts import Annotations, ToolNames, fingerprint, head, usage
from mockprovider.dialects.openai_chat_request import ChatOptions
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.dialects.openai_models import reasons
from mockprovider.jsontext import pretty
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
from mockprovider.timeline import NOWHERE, Control, Timed

__all__ = ["ChatWhole"]


class ChatWhole(Encoder):
    """The whole form: one indented `chat.completion` document, when all deltas have come."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._gap = 0.0
        self._tools = ToolNames(voice.ask)
        self._annotations = Annotations(voice)
        options: ChatOptions = voice.ask.options
        self._logprobs = Logprobs(voice, options.top_logprobs) if options.logprobs else None
        # By choice; every choice that was asked for has one, even if nothing comes of it.
        self._messages: defaultdict[int, _Message] = defaultdict(_Message)
        for choice in range(voice.ask.choices):
            self._messages[choice] = _Message()

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        self._gap += gap
        if isinstance(item, Control):
            yield self._gap, item, origin
            self._gap = 0.0
            return
        message = self._messages[item.choice]
        if isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens
            self._annotations.said(item)
            self._add(message, item)
        elif isinstance(item, ToolCallStart):
            message.calls[item.index] = _Call(item.id, item.name, *self._tools.begin(item))
        elif isinstance(item, Cited):
            self._annotations.cite(item)
            message.annotations = self._annotations.of(item.choice)
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
        ask, options = self._voice.ask, self._voice.ask.options
        keyed = options.logprobs or not reasons(ask.model)
        document = {
            **head(self._voice, "chat.completion"),
            "choices": [self._messages[index].document(index, keyed=keyed) for index in sorted(self._messages)],
            "usage": usage(self._voice.account(self.usage)),
            "service_tier": options.service_tier,
            "system_fingerprint": fingerprint(self._voice.seed.value, ask.model),
        }
        yield self._gap, Payload(pretty(document) + b"\n"), NOWHERE


@dataclass(slots=True)
class _Call:
    """One tool call of a whole reply. kind, field: see `ToolNames`."""

    id: str
    name: str
    kind: str
    field: str
    said: list[str] = dataclasses.field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The call as it stands in a message."""
        return {"id": self.id, "type": self.kind, self.kind: {"name": self.name, self.field: "".join(self.said)}}


class _Message:
    """One choice of a whole reply, while its deltas come in."""

    def __init__(self) -> None:
        self.texts: defaultdict[type[TextDelta], list[str]] = defaultdict(list)
        self.logprobs: defaultdict[type[TextDelta], list[dict[str, Any]]] = defaultdict(list)
        self.calls: dict[int, _Call] = {}
        self.annotations: list[dict[str, Any]] = []
        self.finish = "stop"

    def _text(self, kind: type[TextDelta]) -> str | None:
        return "".join(self.texts[kind]) if kind in self.texts else None

    def document(self, index: int, *, keyed: bool) -> dict[str, Any]:
        """The choice. keyed: it has a key `logprobs`, null where nothing was asked for or said."""
        content, reasoning, refusal = self._text(TextDelta), self._text(ReasoningDelta), self._text(RefusalDelta)
        if content is None and refusal is None and not self.calls:
            content = ""
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if reasoning is not None:
            message["reasoning_content"] = reasoning
        if self.calls:
            message["tool_calls"] = [call.document() for call in self.calls.values()]
        message.update(refusal=refusal, annotations=self.annotations)
        choice: dict[str, Any] = {"index": index, "message": message}
        if keyed:
            entries = {"content": self.logprobs.get(TextDelta), "refusal": self.logprobs.get(RefusalDelta)}
            choice["logprobs"] = entries if self.logprobs else None
        choice["finish_reason"] = self.finish
        return choice

"""What a whole chat completion takes in before it is said, in OpenAI's words or in a flavour's."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from mockprovider.dialects.base import Usage, Voice, WholeForm
from mockprovider.dialects.openai_chat_parts import ToolNames
from mockprovider.dialects.openai_chat_request import ChatOptions
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.reply import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart

__all__ = ["Call", "ChatForm", "Message"]


@dataclass(slots=True)
class Call:
    """One tool call. kind, field: see `ToolNames`."""

    id: str
    name: str
    kind: str
    field: str
    said: list[str] = dataclasses.field(default_factory=list)


class Message:
    """One choice, while its deltas come in."""

    def __init__(self) -> None:
        self.texts: defaultdict[type[TextDelta], list[str]] = defaultdict(list)
        self.logprobs: defaultdict[type[TextDelta], list[dict[str, Any]]] = defaultdict(list)
        self.calls: dict[int, Call] = {}
        self.finish = "stop"

    def text(self, kind: type[TextDelta]) -> str | None:
        """What was said in this manner; None where nothing was."""
        return "".join(self.texts[kind]) if kind in self.texts else None


class ChatForm(WholeForm):
    """The deltas of every choice, by choice in `messages`."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._tools = ToolNames(voice.ask)
        options: ChatOptions = voice.ask.options
        self._logprobs = Logprobs(voice, options.top_logprobs) if options.logprobs else None
        # Every choice that was asked for has one, even if nothing comes of it.
        self.messages: defaultdict[int, Message] = defaultdict(Message)
        for choice in range(voice.ask.choices):
            self.messages[choice] = Message()

    def take(self, delta: Delta, gap: float) -> None:
        message = self.messages[delta.choice]
        if isinstance(delta, TextDelta):
            self.usage.completion += delta.tokens
            if isinstance(delta, ReasoningDelta):
                self.usage.reasoning += delta.tokens
            self._add(message, delta)
        elif isinstance(delta, ToolCallStart):
            message.calls[delta.index] = Call(delta.id, delta.name, *self._tools.begin(delta))
        elif isinstance(delta, Finish):
            message.finish = delta.reason

    def _add(self, message: Message, delta: TextDelta) -> None:
        if isinstance(delta, ToolCallDelta):
            if delta.index not in message.calls:  # it never began, in a reply that was tampered with
                message.calls[delta.index] = Call("", "", *self._tools.of(delta))
            message.calls[delta.index].said.append(delta.text)
            return
        message.texts[type(delta)].append(delta.text)
        if self._logprobs is not None and not isinstance(delta, ReasoningDelta):
            message.logprobs[type(delta)].extend(self._logprobs.entries(delta))

"""The whole form of a message: one document, when the reply is complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mockprovider.dialects.anthropic_parts import cited, ending, first_usage, head, signature
from mockprovider.dialects.base import Usage, Voice, WholeForm
from mockprovider.jsontext import dumps
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

__all__ = ["MessagesWhole", "input_of"]


def input_of(text: str) -> Mapping[str, Any] | None:
    """The input of a tool call whose arguments are this text; None where it is no JSON object."""
    try:
        document = json.loads(text) if text.strip() else {}
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


class MessagesWhole(WholeForm):
    """From deltas to one compact `message`, when they have all come."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        # Each block with the pieces of its text, and what kind of deltas they are.
        self._blocks: list[tuple[type[TextDelta], dict[str, Any], list[str]]] = []
        self._calls: dict[int, list[str]] = {}
        self._refusal: list[str] = []
        self._closed = False  # whether what comes next is in another block, whatever it is
        self._finish = Finish("stop")

    def take(self, delta: Delta, gap: float) -> None:
        if isinstance(delta, TextDelta):
            self.usage.completion += delta.tokens
            self._add(delta)
        elif isinstance(delta, ToolCallStart):
            block = {"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}}
            self._calls[delta.index] = self._begin(ToolCallDelta, block)
        elif isinstance(delta, Cited):
            self._cite(delta)
        elif isinstance(delta, Finish):
            self._finish = delta

    def _cite(self, item: Cited) -> None:
        """Text that rests on something is a block of its own."""
        if item.begins:
            self._begin(TextDelta, {"citations": [], "type": "text"})
        elif self._blocks:
            self._blocks[-1][1]["citations"] = [cited(self._voice, citation) for citation in item.citations]
            self._closed = True

    def _add(self, item: TextDelta) -> None:
        if isinstance(item, RefusalDelta):
            self._refusal.append(item.text)
        elif isinstance(item, ToolCallDelta):
            if item.index in self._calls:  # it began, unless the reply was tampered with
                self._calls[item.index].append(item.text)
        else:
            kind = type(item)
            said = self._blocks[-1][2] if self._blocks and self._blocks[-1][0] is kind and not self._closed else None
            if said is None:
                said = self._begin(kind, {"type": "thinking" if kind is ReasoningDelta else "text"})
            if isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens
            said.append(item.text)

    def _begin(self, kind: type[TextDelta], block: dict[str, Any]) -> list[str]:
        said: list[str] = []
        self._blocks.append((kind, block, said))
        self._closed = False
        return said

    def document(self) -> bytes:
        content = []
        for index, (kind, block, said) in enumerate(self._blocks):
            text = "".join(said)
            if kind is ToolCallDelta:
                # What the limit of tokens has cut off is no JSON any more, and cannot be told here.
                block["input"] = input_of(text) or {}
            else:
                block[block["type"]] = text
            if kind is ReasoningDelta:
                block["signature"] = signature(self._voice, index)
            content.append(block)
        usage = first_usage(self._voice, self.usage, ended=True)
        message = {**head(self._voice), "content": content, **ending(self._finish, self._refusal), "usage": usage}
        return dumps(message)

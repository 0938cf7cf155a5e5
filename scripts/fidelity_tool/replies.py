"""What a recording says, as a script in no provider's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mockprovider.reply import Part, Reasoning, Refusal, Reply, Text, ToolCall
from scripts.fidelity_tool.events import CHAT

__all__ = ["script"]

_FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "STOP": None,
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
}
"""Reasons for the end as other dialects write them; None: what follows from the parts."""


class _Script:
    """Parts as they come; neighbours of one type are one text."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.calls: dict[object, list[str]] = {}
        self.finish: str | None = None

    def text(self, kind: type[Text] | type[Reasoning] | type[Refusal], text: Any) -> None:
        if not isinstance(text, str) or not text:
            return
        last = self.parts[-1] if self.parts else None
        if isinstance(last, kind):
            assert isinstance(last.text, str)
            self.parts[-1] = kind(last.text + text)
        else:
            self.parts.append(kind(text))

    def call(self, key: object, name: str | None, arguments: str) -> None:
        if key not in self.calls:
            self.calls[key] = [name or "", ""]
            self.parts.append(ToolCall(str(len(self.calls) - 1), ""))
        said = self.calls[key]
        said[0] = said[0] or name or ""
        said[1] += arguments

    def end(self, reason: Any) -> None:
        if isinstance(reason, str) and reason:
            self.finish = _FINISHES.get(reason, reason)

    def reply(self) -> Reply:
        calls = list(self.calls.values())
        parts = [
            ToolCall(calls[int(part.name)][0] or "tool", calls[int(part.name)][1])
            if isinstance(part, ToolCall)
            else part
            for part in self.parts
        ]
        return Reply(tuple(parts), self.finish)


def script(dialect: str, documents: list[Any]) -> Reply:
    """The first choice of what was said, with its finish reason."""
    made = _Script()
    for document in documents:
        if dialect == CHAT:
            _chat(made, document)
        elif dialect == "anthropic-messages":
            _anthropic(made, document)
        elif dialect == "openai-responses":
            _responses(made, document)
        elif dialect == "openai-completions":
            for choice in (document.get("choices") or [])[:1]:
                made.text(Text, choice.get("text"))
                made.end(choice.get("finish_reason"))
        elif dialect == "gemini":
            _gemini(made, document)
        elif dialect.startswith("ollama"):
            _ollama(made, document)
    return made.reply()


def _chat(made: _Script, document: Any) -> None:
    for choice in document.get("choices") or []:
        if choice.get("index", 0) != 0:
            continue
        said = choice.get("message") if document.get("object") == "chat.completion" else choice.get("delta")
        said = said or {}
        made.text(Reasoning, said.get("reasoning_content") or said.get("reasoning"))
        content = said.get("content")
        for part in content if isinstance(content, list) else [{"text": content}]:
            for thought in part.get("thinking") or []:
                made.text(Reasoning, thought.get("text"))
            made.text(Text, part.get("text"))
        made.text(Refusal, said.get("refusal"))
        for place, call in enumerate(said.get("tool_calls") or []):
            called = call.get("function") or call.get("custom") or {}
            made.call(
                call.get("index", place), called.get("name"), called.get("arguments") or called.get("input") or ""
            )
        made.end(choice.get("finish_reason"))


def _anthropic(made: _Script, document: Any) -> None:
    if document.get("type") == "message":
        for block in document["content"]:
            _block(made, block, "", whole=True)
        made.end(document.get("stop_reason"))
    elif document.get("type") == "content_block_start":
        _block(made, document["content_block"], document["index"], whole=False)
    elif document.get("type") == "content_block_delta":
        delta = document["delta"]
        made.text(Text, delta.get("text"))
        made.text(Reasoning, delta.get("thinking"))
        if "partial_json" in delta:
            made.call(document["index"], None, delta["partial_json"])
    elif document.get("type") == "message_delta":
        made.end(document["delta"].get("stop_reason"))
        if document["delta"].get("stop_reason") == "refusal":
            made.text(Refusal, (document["delta"].get("stop_details") or {}).get("explanation") or "No.")
            made.finish = None


def _block(made: _Script, block: Any, index: object, *, whole: bool) -> None:
    if block["type"] == "tool_use":
        made.call(index if not whole else block["id"], block["name"], json.dumps(block["input"]) if whole else "")
    else:
        made.text(Text, block.get("text"))
        made.text(Reasoning, block.get("thinking"))


def _responses(made: _Script, document: Any) -> None:
    kind = document.get("type", "")
    if document.get("object") == "response":
        for item in document.get("output") or []:
            _item(made, item)
    elif kind == "response.output_item.done":
        _item(made, document["item"])
    elif kind == "response.incomplete":
        made.finish = "length"


def _item(made: _Script, item: Any) -> None:
    if item.get("type") == "message":
        for part in item.get("content") or []:
            made.text(Text, part.get("text"))
            made.text(Refusal, part.get("refusal"))
    elif item.get("type") == "reasoning":
        for part in item.get("summary") or item.get("content") or []:
            made.text(Reasoning, part.get("text"))
    elif item.get("type") == "function_call":
        made.call(item.get("call_id"), item.get("name"), item.get("arguments") or "")


def _gemini(made: _Script, document: Any) -> None:
    for candidate in (document.get("candidates") or [])[:1]:
        for part in _parts(candidate):
            called = part.get("functionCall")
            if called:
                made.call(len(made.calls), called.get("name"), json.dumps(called.get("args") or {}))
            else:
                made.text(Reasoning if part.get("thought") else Text, part.get("text"))
        made.end(candidate.get("finishReason"))


def _parts(candidate: Any) -> Iterator[Any]:
    yield from (candidate.get("content") or {}).get("parts") or []


def _ollama(made: _Script, document: Any) -> None:

    message = document.get("message") or document
    made.text(Reasoning, message.get("thinking"))
    made.text(Text, message.get("content") or message.get("response"))
    for call in message.get("tool_calls") or []:
        called = call["function"]
        made.call(len(made.calls), called.get("name"), json.dumps(called.get("arguments") or {}))
    made.end(document.get("done_reason"))

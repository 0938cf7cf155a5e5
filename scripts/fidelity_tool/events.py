"""A response's body as events, and which kind of event each is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["CHAT", "Event", "events", "kind"]

CHAT = "openai-chat"
_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True)
class Event:
    """One event of a stream, or the one document of a whole reply. text: its data; document: that parsed, or None."""

    text: str
    document: Any = None
    name: str | None = None
    id: str | None = None
    comment: str | None = None


def events(body: bytes, content_type: str = "") -> list[Event]:
    """The events of a body: server-sent events, lines of JSON, or one document, whichever it is."""
    start = body.lstrip()[:1]
    if start in (b"{", b"["):
        try:
            document = json.loads(body)
        except ValueError:
            lines = [line for line in body.splitlines() if line.strip()]
            return [_event(line.decode("utf-8", "replace")) for line in lines]
        if isinstance(document, list) and document and "json" in (content_type or "json"):
            return [Event(json.dumps(one), one) for one in document]
        return [Event(body.decode("utf-8", "replace"), document)]
    return list(_sse(body))


def _sse(body: bytes) -> Iterator[Event]:
    for block in _BLANK.split(body):
        fields: dict[str, list[str]] = {}
        for line in re.split(r"\r\n|\n|\r", block.decode("utf-8", "replace")):
            if line:
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
        if fields:
            made = _event("\n".join(fields.get("data", []))) if "data" in fields else Event("")
            comment = "\n".join(fields[""]) if "" in fields else None
            name, id = fields.get("event", [None])[-1], fields.get("id", [None])[-1]
            yield Event(made.text, made.document, name, id, comment)


def _event(text: str) -> Event:
    try:
        return Event(text, json.loads(text))
    except ValueError:
        return Event(text)


def kind(dialect: str, event: Event) -> str:
    """What an event is for, in one or a few words; events of one kind should be alike."""
    document = event.document
    if document is None:
        return "comment" if event.comment is not None else "end" if event.text.strip() == "[DONE]" else "no JSON"
    if not isinstance(document, dict):
        return "no object"
    if "error" in document and "choices" not in document and document.get("error"):
        return "error"
    if dialect == CHAT:
        return _chat(document)
    if isinstance(document.get("type"), str):
        return _typed(document)
    if "candidates" in document or "usageMetadata" in document:
        return _gemini(document)
    if "done" in document:
        return _ollama(document)
    return _completion(document)


def _chat(document: dict[str, Any]) -> str:
    choices = document.get("choices")
    if not isinstance(choices, list):
        return "error" if {"detail", "error", "message"} & document.keys() else "no choices"
    words = []
    for choice in choices[:1]:
        if ("message" in choice and "delta" not in choice) or document.get("object") == "chat.completion":
            return "whole" + _said(choice.get("message") or {})
        words.append(_said(choice.get("delta") or {}))
        words.append("+finish" if choice.get("finish_reason") else "")
    if document.get("usage") or (document.get("x_groq") or {}).get("usage"):
        words.append("+usage")
    if not choices and not words:
        return "filter"
    return "".join(words).strip("+") or "empty"


def _said(message: dict[str, Any]) -> str:
    """What a message or a delta holds."""
    content = message.get("content")
    words = ["+role"] if message.get("role") else []
    if isinstance(content, list):
        words += [f"+{'reasoning' if part.get('type') == 'thinking' else 'text'}" for part in content[:1]]
    elif content:
        words.append("+text")
    if message.get("reasoning") or message.get("reasoning_content"):
        words.append("+reasoning")
    if message.get("refusal"):
        words.append("+refusal")
    for call in (message.get("tool_calls") or [])[:1]:
        called = call.get("function") or call.get("custom") or {}
        complete = bool(called.get("name")) and bool(called.get("arguments") or called.get("input"))
        words.append("+call" if complete else "+call start" if called.get("name") else "+arguments")
    return "".join(words)


def _typed(document: dict[str, Any]) -> str:
    """Anthropic's and OpenAI's event types, with the type of what is in them."""
    words = [document["type"]]
    for key in ("item", "part", "content_block", "delta", "error", "annotation"):
        inner = document.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("type"), str):
            words.append(inner["type"])
    return " ".join(words)


def _gemini(document: dict[str, Any]) -> str:
    words = []
    for candidate in (document.get("candidates") or [])[:1]:
        for part in (candidate.get("content") or {}).get("parts") or []:
            word = "call" if "functionCall" in part else "reasoning" if part.get("thought") else "text"
            words += [] if word in words else [word]
        words += ["finish"] if candidate.get("finishReason") else []
    return "+".join(words) or "empty"


def _ollama(document: dict[str, Any]) -> str:
    message = document.get("message") or {}
    words = ["done"] if document.get("done") else []
    words += ["call"] if message.get("tool_calls") else []
    words += ["reasoning"] if message.get("thinking") or document.get("thinking") else []
    words += ["text"] if message.get("content") or document.get("response") else []
    return "+".join(words) or "empty"


def _completion(document: dict[str, Any]) -> str:
    if "data" in document:
        return "embeddings"
    choices = document.get("choices") or []
    words = ["text"] if choices and choices[0].get("text") else []
    words += ["finish"] if choices and choices[0].get("finish_reason") else []
    words += ["usage"] if document.get("usage") else []
    return "+".join(words) or "empty"

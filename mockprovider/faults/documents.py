"""What faults of payloads share: documents, paths into them, templates of values.

A document is read by the fields of OpenAI's chat completions, streamed (`choices[].delta`) and whole
(`choices[].message`), or of Anthropic's messages, streamed (`delta`). Gemini's candidates and Ollama's messages are
read as if they were choices.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mockprovider.faults import responses
from mockprovider.faults.base import TEXT, Context, Kind
from mockprovider.jsontext import dumps, pretty, spaced
from mockprovider.payload import Payload
from mockprovider.timeline import Origin
from mockprovider.tokens import count

__all__ = [
    "PATH",
    "RAW",
    "Known",
    "Path",
    "Spoken",
    "document_of",
    "fill",
    "fill_raw",
    "is_object",
    "joined",
    "named",
    "parts",
    "rewritten",
]

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "arguments", "text", "thinking", "partial_json")
"""Fields of a delta whose pieces make up a text."""


def is_object(value: Any) -> bool:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def _not_json(name: str) -> Any:
    raise ValueError(name)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _parsed(text: bytes | str) -> Any:
    """JSON that can be written again as it was read. ValueError for anything else, numbers without bounds among it."""
    try:
        return json.loads(text, parse_constant=_not_json, parse_float=_finite)
    except RecursionError:
        raise ValueError("too deep") from None


def document_of(payload: Payload) -> Any:
    """The payload's document, or None where it is none: a sentinel, or what a fault has left of a document."""
    try:
        return _parsed(payload.data)
    except ValueError:
        return None


def named(payload: Payload, document: Any) -> str | None:
    """The event's name with another document in the payload: where events have names, each is its document's type."""
    kind = document.get("type") if isinstance(document, dict) else None
    if payload.name is None or not isinstance(kind, str) or not kind.replace(".", "_").isidentifier():
        return payload.name
    return kind


_SPACED = re.compile(rb'\{"[A-Za-z]+": ')


def rewritten(payload: Payload, document: Any) -> Payload:
    """A payload with that document, written as the given one is: compact, with a space after each colon, padded before
    its last brace, or indented.
    """
    if not payload.data.startswith(b"{\n"):
        data, inner = (spaced if _SPACED.match(payload.data) else dumps)(document), payload.data[:-1]
        spaces = len(inner) - len(inner.rstrip(b" "))
        if spaces and data.endswith(b"}"):
            data = data[:-1] + b" " * spaces + b"}"
        return Payload(data, named(payload, document))
    end = b"\n" if payload.data.endswith(b"\n") else b""
    return Payload(pretty(document) + end, payload.name)


# ---------------------------------------------------------------------------------------------- shapes


def parts(document: Any) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Each choice of a document: its index, itself, and its delta or message."""
    choices = document.get("choices") if isinstance(document, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            part = choice.get("delta", choice.get("message"))
            if part is None and isinstance(choice.get("text"), str):  # a legacy completion
                part = {"content": choice["text"]}
            index = choice.get("index")
            yield index if isinstance(index, int) else 0, choice, part if isinstance(part, dict) else {}
    if isinstance(document, dict) and choices is None:
        yield from _candidates(document)
        if "done" in document:
            yield _line(document)


def _candidates(document: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Gemini's candidates in the words of chat completions."""
    candidates = document.get("candidates")
    for candidate in filter(is_object, candidates if isinstance(candidates, list) else ()):
        content = candidate.get("content")
        pieces = content.get("parts") if is_object(content) else None
        pieces = list(filter(is_object, pieces if isinstance(pieces, list) else ()))
        text, thought = (
            "".join(str(one["text"]) for one in pieces if "text" in one and bool(one.get("thought")) == thinks)
            for thinks in (False, True)
        )
        calls = [{"function": one["functionCall"]} for one in pieces if "functionCall" in one]
        part = {"content": text, "reasoning_content": thought, "tool_calls": calls}
        yield candidate.get("index") or 0, {"finish_reason": candidate.get("finishReason")}, part


def _line(document: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """A line of Ollama's, of a chat or of a completion, in the words of chat completions."""
    said = document.get("message")
    part: dict[str, Any] = said if isinstance(said, dict) else {**document, "content": document.get("response")}
    made = {"content": part.get("content"), "reasoning_content": part.get("thinking")}
    return 0, {"finish_reason": document.get("done_reason")}, {**made, "tool_calls": part.get("tool_calls")}


# ---------------------------------------------------------------------------------------------- paths


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a document: names of fields, numbers of items, and None for every item of a list."""

    steps: tuple[str | int | None, ...]

    _STEP: ClassVar[re.Pattern[str]] = re.compile(r"\.?([^.\[\]]+)|\[([0-9]+|\*)\]")

    @classmethod
    def parse(cls, value: Any) -> Path:
        """From `choices[0].delta.role` or `choices[0].delta.tool_calls[*].id`. ValueError for anything else."""
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value or value[0] in ".[":
            raise ValueError
        steps: list[str | int | None] = []
        at = 0
        while at < len(value):
            match = cls._STEP.match(value, at)
            if match is None:
                raise ValueError
            steps.append(match[1] if match[1] else None if match[2] == "*" else int(match[2]))
            at = match.end()
        return cls(tuple(steps))

    def __str__(self) -> str:
        parts = [f".{step}" if isinstance(step, str) else f"[{'*' if step is None else step}]" for step in self.steps]
        return "".join(parts).removeprefix(".")

    def within(self, context: Context) -> Path:
        """The same place in the documents of this exchange: a whole reply has a `message` where a stream has deltas."""
        if context.stream:
            return self
        return Path(tuple("message" if step == "delta" else step for step in self.steps))

    def places(self, document: Any) -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
        """Where it leads: the object or list, the key in it (perhaps absent in an object), and the identity.

        The identity is the `index` of every object on the way: of the choice, and of the tool call.
        """
        return _places(document, self.steps, ())


PATH = Kind(
    "path",
    "a path such as choices[0].delta.role, with [*] for every item of a list",
    Path.parse,
    lambda value: dumps(str(value)).decode(),
)


def _places(
    value: Any, steps: tuple[str | int | None, ...], identity: tuple[int, ...]
) -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
    step, rest = steps[0], steps[1:]
    keys: list[Any]
    if isinstance(value, dict) and isinstance(step, str):
        keys = [step] if step in value or not rest else []
        index = value.get("index")
        if isinstance(index, int):
            identity = (*identity, index)
    elif isinstance(value, list) and not isinstance(step, str):
        keys = [key for key in range(len(value)) if step is None or key == step]
    else:
        return
    for key in keys:
        if rest:
            yield from _places(value[key], rest, identity)
        else:
            yield value, key, identity


# ---------------------------------------------------------------------------------------------- templates

RAW = Kind("raw text", "a text that stands there as it is, JSON or not", TEXT.parse, TEXT.format)


@dataclass(slots=True)
class Spoken:
    """What the payloads have said so far. text: the answer text by choice; tokens: of all choices together."""

    text: dict[int, str] = field(default_factory=dict)
    tokens: int = 0

    def add(self, document: Any, origin: Origin) -> None:
        """Take a payload into account that has come."""
        said = ""
        if is_object(document) and document.get("type") == "content_block_delta" and is_object(document.get("delta")):
            delta = document["delta"]
            said += "".join(delta[name] for name in _TEXTS if isinstance(delta.get(name), str))
            if isinstance(delta.get("text"), str):
                self.text[0] = self.text.get(0, "") + delta["text"]
        if responses.is_event(document):
            text, word = responses.said(document)
            said += text
            if word == "text":
                self.text[0] = self.text.get(0, "") + text
        for index, _, part in parts(document):
            content = part.get("content")
            if isinstance(content, str):
                self.text[index] = self.text.get(index, "") + content
            calls = part.get("tool_calls")
            functions = [call.get("function") for call in calls if is_object(call)] if isinstance(calls, list) else []
            for fields in (part, *filter(is_object, functions)):
                said += "".join(fields[name] for name in _TEXTS if isinstance(fields.get(name), str))
        if origin[1] >= 0:
            self.tokens = max(self.tokens, origin[1] + max(1, count(said)))
        holder = document["response"] if responses.is_event(document) and "response" in document else document
        usage = holder.get("usage") if isinstance(holder, dict) else None
        for name in ("completion_tokens", "output_tokens"):
            if isinstance(usage, dict) and isinstance(usage.get(name), int):
                self.tokens = usage[name]

    def text_for(self, document: Any) -> str:
        """The answer text so far of the choice that a document carries; Anthropic's messages have but one."""
        if is_object(document) and "choices" not in document and "type" in document:
            return self.text.get(0, "")
        return next((self.text.get(index, "") for index, _, _ in parts(document)), "")


@dataclass(slots=True)
class Known:
    """What a template may name: `$old`, the value that was there; `$decoded`, the JSON that is in its text; `$n`, how
    many times the fault has struck, from 1; `$text`, the answer text so far; `$tokens`, how many tokens that took.
    """

    old: Any
    n: int
    text: str
    tokens: int

    @property
    def decoded(self) -> Any:
        """The JSON that the old value's text is; the old value where it is none."""
        try:
            return _parsed(self.old) if isinstance(self.old, str) else self.old
        except ValueError:
            return self.old


_MARK = re.compile(r"\$(old|decoded|n|text|tokens)\b(?:\+([0-9]+))?")


def _named(match: re.Match[str], known: Known) -> Any:
    value = getattr(known, match[1])
    if match[2] is None:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + int(match[2])
    return f"{value}+{match[2]}"


def fill(template: Any, known: Known) -> Any:
    """A JSON value with its marks replaced: a text that is one mark by its value, marks in a longer text by text.

    `+` and a number after a mark is added to it: `$n+196`.
    """
    if isinstance(template, dict):
        return {key: fill(value, known) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, known) for value in template]
    if not isinstance(template, str) or "$" not in template:
        return template
    whole = _MARK.fullmatch(template)
    return _named(whole, known) if whole else _MARK.sub(lambda match: str(_named(match, known)), template)


def fill_raw(template: str, known: Known) -> bytes:
    """A raw text with its marks replaced by JSON."""
    text = _MARK.sub(lambda match: dumps(_named(match, known)).decode(), template)
    return text.encode("utf-8", "backslashreplace")


# ---------------------------------------------------------------------------------------------- two become one


def joined(first: Any, second: Any, *, append: bool, key: str = "") -> Any:
    """Two documents as one: objects field by field, texts of deltas one after the other.

    Items of lists that have the same `index` become one, unless `append`; choices always do. Of other values the
    first stays, unless it is null.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        both = dict(first)
        for name, value in second.items():
            both[name] = joined(first[name], value, append=append, key=name) if name in first else value
        return both
    if isinstance(first, list) and isinstance(second, list):
        items = list(first)
        for item in second:
            twin = None if append and key != "choices" else _twin(items, item)
            if twin is None:
                items.append(item)
            else:
                items[twin] = joined(items[twin], item, append=append)
        return items
    if isinstance(first, str) and isinstance(second, str) and key in _TEXTS:
        return first + second
    return second if first is None else first


def _twin(items: list[Any], item: Any) -> int | None:
    """The number of the item with the same index, or None."""
    index = item.get("index") if isinstance(item, dict) else None
    if index is None:
        return None
    return next((at for at, one in enumerate(items) if isinstance(one, dict) and one.get("index") == index), None)

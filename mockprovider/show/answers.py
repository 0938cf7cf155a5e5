"""What a model said, from the payloads of any dialect that is known here: `recognise`, `pieces`, `assemble`.

A dialect is a function from one payload to pieces. It takes what it knows and passes over the rest: a recording may
hold anything, and nothing in it is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mockprovider.show.events import NOT_JSON, Event

__all__ = ["SPOKEN", "TERMINATORS", "Answer", "Piece", "assemble", "pieces", "recognise", "terminated"]

SPOKEN = ("text", "reasoning", "refusal", "tool", "arguments")
"""The kinds of pieces that are a model's tokens."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer. kind: one of SPOKEN, or `finish`, `model`, `error`, `usage`.

    key: which choice, or which tool call, it belongs to. whole: it repeats what deltas have said already.
    """

    kind: str
    text: str
    key: str = "0"
    whole: bool = False
    value: Any = None


@dataclass(slots=True)
class Answer:
    """A reply put together again. texts, reasoning, refusals: by choice; tools: by call, (name, arguments)."""

    texts: dict[str, str] = field(default_factory=dict)
    reasoning: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    tools: dict[str, tuple[str, str]] = field(default_factory=dict)
    finish: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    model: str | None = None
    usage: Any = None

    @property
    def said(self) -> str:
        """Everything as one text, for comparing."""
        parts = [*self.reasoning.values(), *self.refusals.values(), *self.texts.values()]
        return "\n".join([*parts, *(f"{name}({arguments})" for name, arguments in self.tools.values()), *self.errors])


# ---------------------------------------------------------------------------------------------- which dialect

_ANTHROPIC = ("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta")
_COHERE = ("message-start", "content-start", "content-delta", "content-end", "message-end", "tool-plan-delta")
_CONVERSE = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
_TAGS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "openai-chat": lambda one: (
        str(one.get("object")).startswith("chat.completion")
        or any("delta" in choice or "message" in choice for choice in _all(one, "choices"))
    ),
    "openai-completions": lambda one: any("text" in choice for choice in _all(one, "choices")),
    "openai-responses": lambda one: (
        one.get("object") == "response"
        or (str(one.get("type")).startswith("response.") and "delta" in one)
        or (str(one.get("type")).startswith("response.") and isinstance(one.get("response"), dict))
    ),
    "openai-assistants": lambda one: str(one.get("object")).startswith("thread."),
    "anthropic-messages": lambda one: (
        one.get("type") in _ANTHROPIC or (one.get("type") == "message" and isinstance(one.get("content"), list))
    ),
    "anthropic-completions": lambda one: one.get("type") == "completion" and "completion" in one,
    "gemini": lambda one: "candidates" in one or "usageMetadata" in one,
    "gemini-interactions": lambda one: str(one.get("event_type")).startswith(("interaction.", "content.")),
    "cohere-v2": lambda one: one.get("type") in _COHERE,
    "cohere-v1": lambda one: one.get("event_type") in ("stream-start", "text-generation", "stream-end"),
    "bedrock-converse": lambda one: any(key in one for key in _CONVERSE),
    "ollama": lambda one: "created_at" in one and "done" in one,
    "llamacpp": lambda one: "content" in one and "tokens_predicted" in one,
}
_TERMINATED_BY_DONE = ("openai-chat", "openai-completions", "openai-assistants", "cohere-v2")
TERMINATORS = {
    **dict.fromkeys(_TERMINATED_BY_DONE, "data: [DONE]"),
    "openai-responses": "an event response.completed, response.incomplete, response.failed or error",
    "anthropic-messages": "an event message_stop or error",
    "gemini": "a finishReason",
    "ollama": 'a line with "done": true',
    "cohere-v1": "an event stream-end",
}
"""What ends a stream of each dialect."""


def recognise(events: Sequence[Event]) -> str | None:
    """The dialect of the first payload that has one; `error` where all there is is an error; None: unknown."""
    error = None
    for event in events:
        if event.name in _CONVERSE:  # the frame has the name, not the payload
            return "bedrock-converse"
        document = event.document
        one = document[0] if isinstance(document, list) and document else document
        if not isinstance(one, dict):
            continue
        for name, is_tagged in _TAGS.items():
            if is_tagged(one):
                return name
        if _error(one):
            error = "error"
    return error


def terminated(dialect: str | None, events: Sequence[Event]) -> bool | None:
    """Whether the stream has what its dialect ends with; None where nothing is known of that."""
    if dialect not in TERMINATORS:
        return None
    documents = [event.document for event in events if isinstance(event.document, dict)]
    if dialect in _TERMINATED_BY_DONE:
        return any(event.data == b"[DONE]" for event in events)
    if dialect == "openai-responses":
        last = ("response.completed", "response.incomplete", "response.failed", "error")
        return any(one.get("type") in last for one in documents)
    if dialect == "anthropic-messages":
        return any(one.get("type") in ("message_stop", "error") for one in documents)
    if dialect == "ollama":
        return any(one.get("done") is True for one in documents)
    if dialect == "cohere-v1":
        return any(one.get("event_type") == "stream-end" for one in documents)
    return any(candidate.get("finishReason") for one in documents for candidate in _all(one, "candidates"))


# ---------------------------------------------------------------------------------------------- one payload's pieces


def pieces(dialect: str | None, event: Event) -> list[Piece]:
    """What an event adds to the answer."""
    document = event.document
    if document is NOT_JSON:
        return []
    found: list[Piece] = []
    for one in document if isinstance(document, list) else [document]:
        if not isinstance(one, dict):
            continue
        message = _error(one)
        if message:
            found.append(Piece("error", message))
        if isinstance(one.get("model"), str):
            found.append(Piece("model", one["model"]))
        found += _READERS.get(dialect or "", _nothing)(one)
    return [piece for piece in found if piece.text or piece.kind in ("usage", "tool")]


def _nothing(_: dict[str, Any]) -> Iterator[Piece]:
    return iter(())


def _error(one: dict[str, Any]) -> str | None:
    error = one.get("error")
    if isinstance(error, dict):
        return _text(error.get("message")) or json.dumps(error, ensure_ascii=False)
    if isinstance(error, str) and error:
        return error
    if one.get("type") == "error":
        return _text(one.get("message"))
    alone = set(one) <= {"message", "detail", "id", "code", "type", "title", "status", "error_type", "__type"}
    return (_text(one.get("message")) or _text(one.get("detail"))) if alone else None


def _chat(one: dict[str, Any]) -> Iterator[Piece]:
    for number, choice in enumerate(_all(one, "choices")):
        key = str(choice.get("index", number))
        delta = _table(choice.get("delta")) or _table(choice.get("message"))
        yield Piece("reasoning", _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")), key)
        yield Piece("text", _parts(delta.get("content")), key)
        yield Piece("refusal", _text(delta.get("refusal")), key)
        for place, call in enumerate(_all(delta, "tool_calls")):
            function = _table(call.get("function"))
            yield from _call(f"{key}.{call.get('index', place)}", function.get("name"), function.get("arguments"))
        yield Piece("finish", _text(choice.get("finish_reason")), key)
    yield from _usage(one.get("usage"))


def _completions(one: dict[str, Any]) -> Iterator[Piece]:
    for number, choice in enumerate(_all(one, "choices")):
        key = str(choice.get("index", number))
        yield Piece("text", _text(choice.get("text")), key)
        yield Piece("finish", _text(choice.get("finish_reason")), key)
    yield from _usage(one.get("usage"))


def _responses(one: dict[str, Any]) -> Iterator[Piece]:
    kind, key = str(one.get("type", "")), str(one.get("output_index", 0))
    delta = _text(one.get("delta"))
    if kind.endswith("output_text.delta"):
        yield Piece("text", delta, key)
    elif kind.endswith(("reasoning_text.delta", "reasoning_summary_text.delta")):
        yield Piece("reasoning", delta, key)
    elif kind.endswith("refusal.delta"):
        yield Piece("refusal", delta, key)
    elif kind.endswith(("function_call_arguments.delta", "custom_tool_call_input.delta")):
        yield from _call(key, None, delta)
    elif kind.endswith("output_item.added") and _table(one.get("item")).get("name"):
        yield from _call(key, one["item"]["name"], None)
    response = one if one.get("object") == "response" else _table(one.get("response"))
    if not response:
        return
    yield Piece("model", _text(response.get("model")))
    if _error(response):
        yield Piece("error", _error(response) or "")
    for place, item in enumerate(_all(response, "output")):
        for part in _all(item, "content"):
            yield Piece("text", _text(part.get("text")), str(place), whole=True)
            yield Piece("refusal", _text(part.get("refusal")), str(place), whole=True)
        for part in _all(item, "summary"):
            yield Piece("reasoning", _text(part.get("text")), str(place), whole=True)
        if item.get("name"):
            yield Piece("tool", _text(item["name"]), str(place), whole=True)
            yield Piece("arguments", _text(item.get("arguments")) or _text(item.get("input")), str(place), whole=True)
    if response.get("status") not in (None, "in_progress", "queued"):
        yield Piece("finish", _text(response["status"]))
    yield from _usage(response.get("usage"))


def _anthropic(one: dict[str, Any]) -> Iterator[Piece]:
    kind, key = one.get("type"), str(one.get("index", 0))
    message = one if kind == "message" else _table(one.get("message"))
    yield Piece("model", _text(message.get("model")))
    for place, block in enumerate(_all(message, "content")):
        yield from _block(block, str(place))
    if kind == "content_block_start":
        yield from _block(_table(one.get("content_block")), key)
    elif kind == "content_block_delta":
        delta = _table(one.get("delta"))
        yield Piece("text", _text(delta.get("text")), key)
        yield Piece("reasoning", _text(delta.get("thinking")), key)
        yield Piece("arguments", _text(delta.get("partial_json")), key)
    ended = message if kind == "message" else _table(one.get("delta")) if kind == "message_delta" else {}
    yield Piece("finish", _text(ended.get("stop_reason")))
    yield from _usage(one.get("usage"))


def _block(block: dict[str, Any], key: str) -> Iterator[Piece]:
    yield Piece("text", _text(block.get("text")), key)
    yield Piece("reasoning", _text(block.get("thinking")), key)
    if block.get("name"):
        given = block.get("input")
        yield from _call(key, block["name"], json.dumps(given, ensure_ascii=False) if given else None)


def _anthropic_completions(one: dict[str, Any]) -> Iterator[Piece]:
    yield Piece("text", _text(one.get("completion")))
    yield Piece("finish", _text(one.get("stop_reason")))


def _gemini(one: dict[str, Any]) -> Iterator[Piece]:
    for number, candidate in enumerate(_all(one, "candidates")):
        key = str(candidate.get("index", number))
        for part in _all(_table(candidate.get("content")), "parts"):
            yield Piece("reasoning" if part.get("thought") else "text", _text(part.get("text")), key)
            call = _table(part.get("functionCall"))
            if call.get("name"):
                arguments = json.dumps(call.get("args", {}), ensure_ascii=False)
                # Gemini sends a call at once; calls have neither index nor, always, an id.
                yield Piece("tool", _text(call["name"]), f"{key}+")
                yield Piece("arguments", arguments, f"{key}+")
        yield Piece("finish", _text(candidate.get("finishReason")), key)
    if isinstance(one.get("modelVersion"), str):
        yield Piece("model", one["modelVersion"])
    yield from _usage(one.get("usageMetadata"))


def _ollama(one: dict[str, Any]) -> Iterator[Piece]:
    message = _table(one.get("message"))
    yield Piece("reasoning", _text(message.get("thinking")) or _text(one.get("thinking")))
    yield Piece("text", _text(message.get("content")) or _text(one.get("response")))
    for place, call in enumerate(_all(message, "tool_calls")):
        function = _table(call.get("function"))
        yield from _call(str(place), function.get("name"), json.dumps(function.get("arguments"), ensure_ascii=False))
    if one.get("done"):
        yield Piece("finish", _text(one.get("done_reason")) or "done")
        yield from _usage({key: one[key] for key in ("prompt_eval_count", "eval_count") if key in one})


def _cohere_v2(one: dict[str, Any]) -> Iterator[Piece]:
    message = _table(_table(one.get("delta")).get("message"))
    key = str(one.get("index", 0))
    content, call = _table(message.get("content")), _table(message.get("tool_calls"))
    yield Piece("text", _text(content.get("text")), key)
    yield Piece("reasoning", _text(content.get("thinking")) or _text(message.get("tool_plan")), key)
    function = _table(call.get("function"))
    yield from _call(key, function.get("name"), function.get("arguments"))
    yield Piece("finish", _text(_table(one.get("delta")).get("finish_reason")))
    yield from _usage(_table(one.get("delta")).get("usage"))


def _cohere_v1(one: dict[str, Any]) -> Iterator[Piece]:
    if one.get("event_type") == "text-generation":
        yield Piece("text", _text(one.get("text")))
    yield Piece("finish", _text(one.get("finish_reason")))


def _converse(one: dict[str, Any]) -> Iterator[Piece]:
    begun, changed = _table(one.get("contentBlockStart", one)), _table(one.get("contentBlockDelta", one))
    key = str(begun.get("contentBlockIndex", changed.get("contentBlockIndex", 0)))
    yield from _call(key, _table(_table(begun.get("start")).get("toolUse")).get("name"), None)
    delta = _table(changed.get("delta"))
    yield Piece("text", _text(delta.get("text")), key)
    yield Piece("reasoning", _text(_table(delta.get("reasoningContent")).get("text")), key)
    yield from _call(key, None, _table(delta.get("toolUse")).get("input"))
    yield Piece("finish", _text(_table(one.get("messageStop", one)).get("stopReason")))
    yield from _usage(_table(one.get("metadata", one)).get("usage"))


def _assistants(one: dict[str, Any]) -> Iterator[Piece]:
    if one.get("object") == "thread.message.delta":
        for part in _all(_table(one.get("delta")), "content"):
            yield Piece("text", _text(_table(part.get("text")).get("value")))
    if one.get("object") == "thread.run" and one.get("status") not in ("created", "queued", "in_progress"):
        yield Piece("finish", _text(one.get("status")))
        yield from _usage(one.get("usage"))


def _interactions(one: dict[str, Any]) -> Iterator[Piece]:
    delta = _table(one.get("delta"))
    kind = "reasoning" if str(delta.get("type")).startswith("thought") else "text"
    yield Piece(kind, _text(delta.get("text")), str(one.get("index", 0)))


def _llamacpp(one: dict[str, Any]) -> Iterator[Piece]:
    yield Piece("text", _text(one.get("content")))
    if one.get("stop"):
        yield Piece("finish", _text(one.get("stop_type")) or "stop")


_READERS: dict[str, Callable[[dict[str, Any]], Iterator[Piece]]] = {
    "openai-chat": _chat,
    "openai-completions": _completions,
    "openai-responses": _responses,
    "openai-assistants": _assistants,
    "anthropic-messages": _anthropic,
    "anthropic-completions": _anthropic_completions,
    "gemini": _gemini,
    "gemini-interactions": _interactions,
    "cohere-v2": _cohere_v2,
    "cohere-v1": _cohere_v1,
    "bedrock-converse": _converse,
    "ollama": _ollama,
    "llamacpp": _llamacpp,
}


def _call(key: str, name: object, arguments: object) -> Iterator[Piece]:
    if isinstance(name, str) and name:
        yield Piece("tool", name, key)
    if isinstance(arguments, str) and arguments:
        yield Piece("arguments", arguments, key)


def _usage(value: object) -> Iterator[Piece]:
    if isinstance(value, dict) and value:
        yield Piece("usage", "", value=value)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _parts(value: object) -> str:
    """Content is a text, or a list of parts with texts."""
    if isinstance(value, list):
        return "".join(_text(_table(part).get("text")) for part in value)
    return _text(value)


def _all(one: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values = one.get(name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


# ---------------------------------------------------------------------------------------------- together again


def assemble(found: Sequence[Piece]) -> Answer:
    """The answer that the pieces are of, in order. What a closing payload repeats counts where nothing else did."""
    answer = Answer()
    by_kind = {"text": answer.texts, "reasoning": answer.reasoning, "refusal": answer.refusals}
    for piece in [piece for piece in found if not piece.whole] + _repeated(found):
        if piece.kind in by_kind:
            texts = by_kind[piece.kind]
            texts[piece.key] = texts.get(piece.key, "") + piece.text
        elif piece.kind in ("tool", "arguments"):
            _add_call(answer.tools, piece)
        elif piece.kind == "finish":
            answer.finish.append(piece.text)
        elif piece.kind == "error":
            answer.errors += [piece.text] if piece.text not in answer.errors else []
        elif piece.kind == "model":
            answer.model = answer.model or piece.text
        elif piece.kind == "usage":
            answer.usage = piece.value
    return answer


def _repeated(found: Sequence[Piece]) -> list[Piece]:
    """What closing payloads have and no delta had; of several (created, completed) the last speaks."""
    known = {(piece.kind, piece.key) for piece in found if not piece.whole}
    last: dict[tuple[str, str], Piece] = {}
    for piece in found:
        if piece.whole and piece.text and (piece.kind, piece.key) not in known:
            last[piece.kind, piece.key] = piece
    return list(last.values())


def _add_call(tools: dict[str, tuple[str, str]], piece: Piece) -> None:
    key = piece.key
    if key.endswith("+"):  # each is a call of its own
        same = [name for name in tools if name.startswith(key)]
        key = f"{key}{len(same) if piece.kind == 'tool' else len(same) - 1}"
    name, arguments = tools.get(key, ("", ""))
    # Some servers repeat the name with every part of the arguments.
    tools[key] = (piece.text, arguments) if piece.kind == "tool" else (name, arguments + piece.text)

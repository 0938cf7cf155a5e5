"""What faults know of the events of OpenAI's Responses: which is which, where its text is, how a response fails."""

from __future__ import annotations

from typing import Any

__all__ = ["KINDS", "failure", "is_event", "said", "words"]

_BEGUN = "response.created"
_ENDED = ("response.completed", "response.incomplete", "response.failed")
_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool",
    "response.custom_tool_call_input.delta": "tool",
}
_OUTPUT = {"reasoning": "reasoning", "function_call": "tool", "custom_tool_call": "tool"}

KINDS = ("all", "role", "open", "close", "text", "reasoning", "refusal", "tool", "finish", "usage", "error")
"""The words for payloads: role is `response.created`; open, that an item or part is added; close, that it is done."""


def is_event(document: Any) -> bool:
    """Whether a document is an event of Responses, other than `error`."""
    return isinstance(document, dict) and str(document.get("type", "")).startswith("response.")


def words(document: dict[str, Any]) -> set[str]:
    """What an event, or a whole response, carries."""
    if document.get("object") == "response":
        return _of_response(document) | {"role", "finish"}
    if not is_event(document):
        return set()
    kind = str(document["type"])
    found = {
        "role": kind == _BEGUN,
        "open": kind.endswith(".added"),
        "close": kind.endswith(".done"),
        "finish": kind in _ENDED,
        _DELTAS.get(kind, ""): True,
    }
    response = document.get("response")
    usage = {"usage"} if isinstance(response, dict) and response.get("usage") else set()
    return {word for word, meant in found.items() if meant and word} | usage


def _of_response(response: dict[str, Any]) -> set[str]:
    output = response.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    found = {_OUTPUT.get(str(item.get("type"))) for item in items}
    for item in items:
        content = item.get("content") if item.get("type") == "message" else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                found.add("refusal" if part.get("type") == "refusal" else "text")
    return {word for word in found if word is not None}


def said(document: dict[str, Any]) -> tuple[str, str]:
    """The text of a delta, and the word for what it is of; two empty texts for any other event."""
    word, text = _DELTAS.get(str(document.get("type")), ""), document.get("delta")
    return (text, word) if word and isinstance(text, str) else ("", "")


def failure(error: dict[str, Any], begun: Any, last: Any) -> list[dict[str, Any]]:
    """The events with which a response fails: the error, and what became of the response, if it has begun.

    error: the data of the `error` event; begun: the event that told the response; last: the event that came last.
    """
    number = last.get("sequence_number") if isinstance(last, dict) else None
    after = number + 1 if isinstance(number, int) else 0
    events = [{**error, "sequence_number": after}]
    response = begun.get("response") if isinstance(begun, dict) else None
    if isinstance(response, dict):
        why = error.get("error")
        told = {key: why.get(key) for key in ("code", "message")} if isinstance(why, dict) else None
        failed = {**response, "status": "failed", "error": told}
        events.append({"type": "response.failed", "response": failed, "sequence_number": after + 1})
    return events

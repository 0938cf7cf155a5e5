"""Fixtures of aimock (`{"fixtures": [{"match": …, "response": …}]}`): what to answer, in no provider's words.

There are no bytes in them. A reply is put as a stream of OpenAI's chat completions, cut as aimock cuts it; an error as
OpenAI's document. `recordedTimings` are kept; other settings of its timing are settings, and no recording's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mockprovider.importers.base import Interaction, Refused, Source, mapping, number
from mockprovider.jsontext import dumps
from mockprovider.recording import RecordedRequest

__all__ = ["aimock"]

_CUT = 20
"""Characters of a text delta where the fixture does not say."""
_SETTINGS = ("latency", "streamingProfile", "truncateAfterChunks", "disconnectAfterMs", "chaos", "replaySpeed")
_FINISHES = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}


def aimock(source: Source) -> Iterator[Interaction | Refused]:
    """A file of fixtures, one by one."""
    fixtures = source.document.get("fixtures")
    if not isinstance(fixtures, list):
        raise Refused("fixtures is no list", "repair the file")
    for fixture in fixtures:
        try:
            yield _fixture(mapping(fixture, "the fixture"))
        except Refused as refused:
            yield refused


def _fixture(fixture: dict[str, Any]) -> Interaction:
    match = mapping(fixture.get("match"), "match")
    response = mapping(fixture.get("response"), "response")
    left_out = [name for name in _SETTINGS if name in fixture]
    notes = ["the source has the reply alone; it is put as OpenAI's chat completions"]
    if left_out:
        notes.append(f"settings that are no part of a recording were left out: {', '.join(left_out)}")
    asked = _request(match)
    made_up = ("request", "head", "framing", "content")
    if isinstance(response.get("error"), dict):
        status = number(response.get("status", 500), "the status")
        headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
        if status == 429 and response.get("retryAfter") is not None:
            headers = (*headers, ("Retry-After", str(response["retryAfter"])))
        body = dumps({"error": response["error"]})
        return Interaction(asked, status, body, None, headers, made_up=made_up, notes=tuple(notes))
    cut = fixture.get("chunkSize", _CUT)
    if isinstance(cut, bool) or not isinstance(cut, int) or cut < 1:
        raise Refused(f"chunkSize is {cut!r}", "set it to a number of characters, or leave it out")
    blocks = _stream(response, str(response.get("model") or match.get("model") or "gpt-4o"), cut)
    delays = _delays(fixture.get("recordedTimings"), len(blocks))
    return Interaction(
        asked,
        200,
        b"".join(blocks),
        None,
        (("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"), ("Connection", "keep-alive")),
        made_up=made_up,
        pieces=None if delays is None else tuple(zip(delays, blocks, strict=True)),
        notes=tuple(notes),
    )


def _request(match: dict[str, Any]) -> RecordedRequest:
    """What such a fixture answers, as far as its `match` tells."""
    messages = []
    for role, key in (("system", "systemMessage"), ("user", "userMessage"), ("user", "inputText")):
        value = match.get(key)
        if value is not None:
            text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
            messages.append({"role": role, "content": text})
    if match.get("toolCallId") is not None:
        content = str(match.get("toolResultContains", ""))
        messages.append({"role": "tool", "tool_call_id": str(match["toolCallId"]), "content": content})
    model = {"model": match["model"]} if isinstance(match.get("model"), str) else {}
    body = dumps({**model, "messages": messages, "stream": True})
    return RecordedRequest("POST", "/v1/chat/completions", (("content-type", "application/json"),), body)


def _delays(timings: object, count: int) -> list[float] | None:
    """Seconds before each piece, as aimock replays them: beyond what was recorded, their mean."""
    if not isinstance(timings, dict):
        return None
    between = timings.get("interChunkDelaysMs")
    known = [_seconds(value) for value in between] if isinstance(between, list) else []
    mean = sum(known) / len(known) if known else 0.0
    later = [known[index] if index < len(known) else mean for index in range(count - 1)]
    return [_seconds(timings.get("ttftMs")), *later]


def _seconds(value: object) -> float:
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) / 1000 if is_time else 0.0  # type: ignore[arg-type]


def _stream(response: dict[str, Any], model: str, cut: int) -> list[bytes]:
    """The events of the reply, one block each."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": part} for part in _cut(_text(response.get("reasoning")), cut)]
    calls = 0
    for block in _blocks(response):
        if "name" not in block:
            deltas += [{"content": part} for part in _cut(_text(block.get("text")), cut)]
            continue
        function = {"name": str(block["name"]), "arguments": ""}
        call_id = str(block.get("id") or f"call_{calls}")
        deltas.append({"tool_calls": [{"index": calls, "id": call_id, "type": "function", "function": function}]})
        arguments = _cut(_text(block.get("arguments", {})), cut)
        deltas += [{"tool_calls": [{"index": calls, "function": {"arguments": part}}]} for part in arguments]
        calls += 1
    finish = _FINISHES.get(str(response.get("finishReason")), "tool_calls" if calls else "stop")
    same = {
        "id": str(response.get("id") or "chatcmpl-aimock"),
        "object": "chat.completion.chunk",
        "created": response["created"] if isinstance(response.get("created"), int) else 0,
        "model": model,
    }
    ends: list[tuple[dict[str, Any], str | None]] = [*((delta, None) for delta in deltas), ({}, finish)]
    events = [
        b"data: %b\n\n" % dumps({**same, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
        for delta, end in ends
    ]
    return [*events[:-1], events[-1] + b"data: [DONE]\n\n"]


def _blocks(response: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Texts and calls in order. Refused where the response is of another kind, such as an image."""
    blocks = response.get("blocks")
    if isinstance(blocks, list) and blocks:
        return [mapping(block, "a block") for block in blocks]
    if "content" not in response and "toolCalls" not in response:
        kind = ", ".join(sorted(response)) or "nothing"
        raise Refused(f"a response of {kind} is no text and no tool call", "leave this fixture out")
    calls = response.get("toolCalls")
    if calls is not None and not isinstance(calls, list):
        raise Refused("toolCalls is no list", "repair the fixture")
    return [{"text": response.get("content")}, *(mapping(call, "a tool call") for call in calls or [])]


def _text(value: object) -> str:
    """A text; a document, which authors may write instead of one, as compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict | list) else ""


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]

"""All that is known of a recorded exchange, worked out once for those who show, compare and check it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mockprovider.recording import Recording
from mockprovider.show.answers import SPOKEN, Answer, Piece, assemble, pieces, recognise, terminated
from mockprovider.show.events import Event, decode, events_of, framing_of
from mockprovider.show.figures import Timing, stalls_in

__all__ = ["Prompt", "View", "prompt_of", "view"]


@dataclass(frozen=True, slots=True)
class View:
    """An exchange, read.

    framing: as `events.framing_of` says; dialect: as `answers.recognise` says; events: all of the content; tokens:
    whether each event carries a part of what the model said; ended: whether the dialect's terminator is there, None
    where nothing is known of that; problem: why the content could not be decoded.
    """

    recording: Recording
    framing: str
    dialect: str | None
    content: bytes
    events: tuple[Event, ...]
    tokens: tuple[bool, ...]
    answer: Answer
    timing: Timing
    ended: bool | None
    problem: str | None

    @property
    def streamed(self) -> bool:
        """Whether the content is a sequence of events rather than one document."""
        return self.framing != "whole"

    @property
    def timed(self) -> bool:
        """Whether the times were recorded, not made up."""
        return "timing" not in self.recording.synthetic


def view(recording: Recording) -> View:
    """Read a recording."""
    head = recording.head
    encoding = head.header("content-encoding") if head is not None and not recording.decoded else None
    decoded = decode(recording.timed_content(), encoding)
    content = decoded.content
    framing = framing_of(head.header("content-type") if head is not None else None, content)
    events = events_of(decoded.pieces, framing)
    dialect = recognise(events)
    found: list[list[Piece]] = [pieces(dialect, event) for event in events]
    tokens = tuple(any(piece.kind in SPOKEN and not piece.whole for piece in some) for some in found)
    ended = terminated(dialect, events) if framing != "whole" else None
    answer = assemble([piece for some in found for piece in some])
    timing = _timing(recording, [event.at for event, token in zip(events, tokens, strict=True) if token])
    return View(recording, framing, dialect, content, tuple(events), tokens, answer, timing, ended, decoded.problem)


_NONE = object()
"""No read has it as its head."""


def _timing(recording: Recording, times: Sequence[float]) -> Timing:
    at = list(itertools.accumulate(read.gap for read in recording.reads))
    final = recording.head or _NONE
    head = next((time for time, read in zip(at, recording.reads, strict=True) if read.head is final), None)
    gaps = tuple(later - earlier for earlier, later in itertools.pairwise(times))
    return Timing(head, times[0] if times else None, gaps, recording.duration, stalls_in(times))


# ---------------------------------------------------------------------------------------------- the prompt


@dataclass(frozen=True, slots=True)
class Prompt:
    """What was asked, in short. messages: how many; last: (role, text) of the last with text; tools: their names."""

    model: str | None
    stream: bool | None
    messages: int
    last: tuple[str, str] | None
    tools: tuple[str, ...]


def prompt_of(recording: Recording) -> Prompt | None:
    """The prompt of any known dialect's request; None where the body is no JSON object."""
    try:
        body: Any = recording.request.json
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    said = list(_said(body))
    model = body.get("model") or body.get("modelId")
    tools = body.get("tools")
    stream = body.get("stream")
    if stream is None and "treamGenerateContent" in recording.request.path:
        stream = True
    return Prompt(
        model if isinstance(model, str) else None,
        stream if isinstance(stream, bool) else None,
        len(said),
        next((pair for pair in reversed(said) if pair[1]), None),
        tuple(filter(None, map(_tool_name, tools))) if isinstance(tools, list) else (),
    )


def _said(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("system", "instructions"):
        if body.get(key):
            yield "system", _text(body[key])
    for key in ("prompt", "inputs", "message", "inputText"):
        if isinstance(body.get(key), str):
            yield "user", body[key]
    for key in ("messages", "contents", "input", "chat_history"):
        value = body.get(key)
        for message in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            role = message.get("role", message.get("type", "user")) if isinstance(message, dict) else "user"
            yield str(role), _text(message)


def _text(value: object) -> str:
    """All the text in a message, however its parts are nested."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    if isinstance(value, dict):
        return "\n".join(filter(None, (_text(value[key]) for key in _TEXTS if value.get(key))))
    return ""


_TEXTS = ("content", "parts", "text", "message", "output", "thinking")


def _tool_name(tool: object) -> str | None:
    if not isinstance(tool, dict):
        return None
    inner = tool.get("function", tool)
    name = inner.get("name", tool.get("type")) if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None

"""Sources that are a body alone: a saved stream, and a list of payloads whose framing has to be made again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from mockprovider.importers.base import Interaction, Refused, Source
from mockprovider.recording import RecordedRequest
from mockprovider.show.answers import recognise
from mockprovider.show.events import Event, encode_frame, events_of, framing_of

__all__ = ["asked_by", "chunks", "stream"]

_TARGETS = {
    "openai-chat": "/v1/chat/completions",
    "openai-completions": "/v1/completions",
    "openai-responses": "/v1/responses",
    "openai-assistants": "/v1/threads/runs",
    "anthropic-messages": "/v1/messages",
    "gemini-interactions": "/v1beta/interactions",
    "gemini": "/v1beta/models/gemini:streamGenerateContent?alt=sse",
    "cohere-v1": "/v1/chat",
    "cohere-v2": "/v2/chat",
    "bedrock-converse": "/model/model/converse-stream",
    "ollama": "/api/chat",
    "llamacpp": "/completion",
}
_TYPES = {
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "json-array": "application/json",
    "eventstream": "application/vnd.amazon.eventstream",
}


def asked_by(dialect: str | None) -> RecordedRequest:
    """The request that a body without one must have answered, as far as its dialect tells."""
    return RecordedRequest("POST", _TARGETS.get(dialect or "", "/"))


def _body(content: bytes, framing: str, dialect: str | None, made_up: tuple[str, ...], *notes: str) -> Interaction:
    headers = (("Content-Type", _TYPES.get(framing, "application/json")),)
    return Interaction(
        asked_by(dialect), 200, content, None, headers, made_up=("request", "head", *made_up), notes=notes
    )


def stream(source: Source) -> Iterator[Interaction | Refused]:
    """The body of a stream, saved as it came: server-sent events, or lines of JSON."""
    framing = framing_of(None, source.data)
    events = events_of([(0.0, source.data)], framing)
    if framing == "whole" or not any(event.data is not None for event in events):
        raise Refused("there are no server-sent events and no lines of JSON in it", "save the body as it came")
    if not any(event.kind == "event" for event in events):
        yield _body(source.data, framing, None, (), "no empty line ends an event in it, so that clients see none")
        return
    yield _body(source.data, framing, recognise(events), ())


def chunks(source: Source) -> Iterator[Interaction | Refused]:
    """A payload a line, as `*.chunks.txt` have them. The framing is made again as the dialect has it."""
    lines = [line.strip() for line in re.split(rb"\r?\n", source.data) if line.strip()]
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            if line != b"[DONE]":
                raise Refused(f"line {number} is no JSON", "repair the line: each is a payload") from None
            continue
        events.append(Event("event", 0.0, 0, line, line, None, document))
    dialect = recognise(events)
    if dialect is None or dialect == "error":
        raise Refused(
            "its payloads are of no dialect that is known here, so their framing cannot be made again",
            "import a stream that was saved with its framing",
        )
    framing, content = _framed(dialect, events)
    note = "the source has payloads alone; their framing is that of the dialect"
    yield _body(content, framing, dialect, ("framing",), note)


def _framed(dialect: str, events: Sequence[Event]) -> tuple[str, bytes]:
    """(the framing, the content) as servers of this dialect write it."""
    if dialect in ("ollama", "cohere-v1", "llamacpp"):
        return "ndjson", b"".join(event.raw + b"\n" for event in events)
    if dialect == "bedrock-converse":
        return "eventstream", b"".join(_frame(event.raw) for event in events)
    if dialect == "gemini":
        return "sse", b"".join(b"data: " + event.raw + b"\r\n\r\n" for event in events)
    named = dialect in ("anthropic-messages", "openai-responses", "cohere-v2", "gemini-interactions")
    blocks = [_named(event) if named else b"data: " + event.raw + b"\n\n" for event in events]
    done = (
        [b"data: [DONE]\n\n"]
        if dialect in ("openai-chat", "openai-completions", "cohere-v2", "gemini-interactions")
        else []
    )
    return "sse", b"".join(blocks + done)


def _named(event: Event) -> bytes:
    document = event.document if isinstance(event.document, dict) else {}
    name = document.get("type", document.get("event_type"))
    begin = f"event: {name}\n".encode() if isinstance(name, str) else b""
    return begin + b"data: " + event.raw + b"\n\n"


def _frame(line: bytes) -> bytes:
    """A payload `{"contentBlockDelta": {…}}` as a frame of Amazon's event stream encoding."""
    match = re.fullmatch(rb'\{\s*"(\w+)"\s*:\s*(.*\S)\s*\}', line, re.DOTALL)
    if match is None or not match[2].startswith(b"{"):
        raise Refused("a payload of Bedrock's is one member with its name", "repair the line")
    texts = {":event-type": match[1].decode(), ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(texts, match[2])

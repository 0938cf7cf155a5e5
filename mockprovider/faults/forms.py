"""The form of the answer: a stream where a document was due and the reverse, and what comes before or after it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    FLAG,
    SECONDS,
    TEXT,
    Context,
    Fault,
    Kind,
    Level,
    choice,
    fault,
    setting,
)
from mockprovider.jsontext import dumps
from mockprovider.timeline import Close, Control, End, Ending, Hang, Reset, Stage, Timed
from mockprovider.wire import Head, Raw, Write

__all__ = ["LINE", "AnswerAs", "BodyTail", "ContentType", "DribbleHead", "LeadingNewlines", "Ndjson", "NoResponse"]


@fault("answer-as", Level.BEFORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAs(Fault):
    """The reply comes as a stream of events, or as one whole JSON document, whatever was asked for."""

    form: str = setting(choice("json", "sse"), "json", "how it comes")

    def asks(self, context: Context) -> Mapping[str, Any]:
        """As if the request had said so."""
        return {"stream": self.form == "sse"}

    def respond(self, context: Context) -> None:
        """Nothing: the reply is given."""


def _line(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\t -~\x80-\xff]*", value):
        raise ValueError
    return value


LINE = Kind("line", "a text that fits into a header", _line, lambda value: dumps(value).decode())


@fault("content-type", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType(Fault):
    """The response says another type of content than it has, or none."""

    value: str = setting(LINE, "application/json", "what it says; empty: there is no such header")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Replaces the header, or takes it away."""
        return _TypeStage(self.value)


class _TypeStage(Stage[Any, Any]):
    def __init__(self, value: str) -> None:
        self._value = value

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            others = tuple(header for header in item.headers if header[0].lower() != "content-type")
            named = (("Content-Type", self._value),) if self._value else ()
            item = Head(item.status, (*named, *others), item.reason)
        yield gap, item, origin


def _without_length(head: Head) -> Head:
    """The head of a message whose length is not known beforehand."""
    return Head(head.status, tuple(h for h in head.headers if h[0].lower() != "content-length"), head.reason)


# ------------------------------------------------------------------------------------------------ around the body


@fault("leading-newlines", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class LeadingNewlines(Fault):
    """The head leaves at once, then empty lines at intervals, then the body: how some servers keep a queue alive.

    White space before a JSON document is a part of it (RFC 8259 section 2), and empty lines before an event are
    nothing at all.
    """

    count: int = setting(COUNT, 3, "how many line ends")
    seconds: float = setting(SECONDS, 0.3, "the pause before each, and before the body")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the line ends between head and content, which come so much later."""
        return _NewlinesStage(self.count, self.seconds)


class _NewlinesStage(Stage[Any, Any]):
    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._owed = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if not isinstance(item, Head):
            yield gap + self._owed, item, origin
            self._owed = 0.0
            return
        yield 0.0, _without_length(item), origin
        for _ in range(self._count):
            yield self._seconds, Write(b"\n"), origin
        self._owed = self._seconds + gap


@fault("body-tail", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class BodyTail(Fault):
    """More text after the end of the body, in the same message: `data: [DONE]` after a JSON document."""

    text: str = setting(TEXT, "data: [DONE]\n\n", "what follows the body")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the text before the end of the message, and into its length."""
        return _TailStage(self.text.encode("utf-8", "surrogatepass"))


class _TailStage(Stage[Any, Any]):
    def __init__(self, tail: bytes) -> None:
        self._tail = tail

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            headers = (
                (name, str(int(value) + len(self._tail))) if name.lower() == "content-length" else (name, value)
                for name, value in item.headers
            )
            yield gap, Head(item.status, tuple(headers), item.reason), origin
        elif isinstance(item, End):
            yield gap, self._tail, origin
            yield 0.0, item, origin
        else:
            yield timed


# ------------------------------------------------------------------------------------------------ lines of JSON

_BLOCK_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")


@fault("ndjson", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ndjson(Fault):
    """A stream of JSON documents, one a line, instead of server-sent events; its type is application/x-ndjson.

    ollama: documents as Ollama's own API has them, with `message` and `done`; same: the documents of the stream.
    """

    documents: str = setting(choice("ollama", "same"), "ollama", "what each line is")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Turns each event into a line. SettingError for a reply that is no stream, or of another dialect."""
        if not context.stream:
            raise SettingError("ndjson changes a stream, and this request asks for a whole reply")
        if self.documents == "ollama" and context.dialect != "openai-chat":
            raise SettingError(f"ndjson: documents=ollama: made from chat completions only, not {context.dialect}")
        return _LinesStage(_ollama if self.documents == "ollama" else _same)


class _LinesStage(Stage[Any, Any]):
    """Blocks may be spread over several items, or several share one; each is a line as soon as it is whole."""

    def __init__(self, line: Any) -> None:
        self._line = line
        self._held = b""
        self._owed = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            headers = [
                (name, "application/x-ndjson") if name.lower() == "content-type" else (name, value)
                for name, value in item.headers
            ]
            yield gap, Head(item.status, tuple(headers), item.reason), origin
            return
        if isinstance(item, Control | Raw):
            yield gap + self._owed, item, origin
            self._owed = 0.0
            return
        *blocks, self._held = _BLOCK_END.split(self._held + (item if isinstance(item, bytes) else item.data))
        lines = b"".join(self._line(_document(block)) for block in blocks)
        self._owed += gap
        if lines:
            made = lines if isinstance(item, bytes) else Write(lines, item.apart)
            yield self._owed, made, origin
            self._owed = 0.0


def _document(block: bytes) -> Any:
    """The JSON document of an event; None where it has none, as a comment or a sentinel."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE_END.split(block) if line.startswith(b"data:")]
    try:
        return json.loads(b"\n".join(lines))
    except ValueError:
        return None


def _same(document: Any) -> bytes:
    return b"" if document is None else dumps(document) + b"\n"


def _ollama(document: Any) -> bytes:
    """A chunk as Ollama's `/api/chat` streams it: a line a delta, and a last one that is done."""
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list):
        return b""
    lines = b""
    for chosen in choices:
        delta = chosen.get("delta") or {}
        reason = chosen.get("finish_reason")
        if reason is None and not delta.get("content"):
            continue
        line = {
            "model": document.get("model"),
            "created_at": "2026-01-01T00:00:00.000000Z",
            "message": {"role": "assistant", "content": delta.get("content") or ""},
            "done": reason is not None,
        }
        lines += dumps(line if reason is None else {**line, "done_reason": reason}) + b"\n"
    return lines


# ------------------------------------------------------------------------------------------------ the head, or nothing

_ENDINGS: Mapping[str, Ending] = {"close": Close(), "reset": Reset(), "hang": Hang()}


@fault("no-response", Level.SOCKET)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoResponse(Fault):
    """The request is read and nothing is answered: not one byte, then the end of the connection, or silence."""

    how: str = setting(choice(*_ENDINGS), "close", "FIN, RST, or silence until the client leaves")
    reused: bool = setting(FLAG, False, "only on a connection that carried a request before: a stale one")

    def applies(self, context: Context) -> bool:
        """Not on a new connection, where only reused ones are meant."""
        return Fault.applies(self, context) and (context.asked.reused or not self.reused)

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the ending in the place of the first bytes."""
        return _NoResponseStage(_ENDINGS[self.how])


class _NoResponseStage(Stage[Any, Any]):
    def __init__(self, ending: Ending) -> None:
        self._ending = ending

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Control) and not isinstance(item, Ending):
            yield timed  # a gate before the head is still waited for
        else:
            yield gap, self._ending, origin


@fault("dribble-head", Level.SOCKET, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class DribbleHead(Fault):
    """The status line and the headers leave a byte or a line at a time, with a pause between; then all goes on."""

    by: str = setting(choice("byte", "line"), "byte", "what leaves at once")
    seconds: float = setting(SECONDS, 0.005, "the pause between writes")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Cuts the head into promised writes."""
        return _DribbleHeadStage(self.by, self.seconds)


class _DribbleHeadStage(Stage[Any, Any]):
    def __init__(self, by: str, seconds: float) -> None:
        self._by = by
        self._seconds = seconds
        self._done = False

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        data = item if isinstance(item, bytes) else item.data if isinstance(item, Write) else None
        if self._done or data is None:
            yield timed
            return
        self._done = True
        head, end, rest = data.partition(b"\r\n\r\n")
        head += end
        if self._by == "line":
            parts = [line + b"\r\n" for line in head.split(b"\r\n")[:-1]]
        else:
            parts = [head[at : at + 1] for at in range(len(head))]
        for part in parts:
            yield gap, Write(part), origin
            gap = self._seconds
        if rest:
            yield 0.0, rest, origin

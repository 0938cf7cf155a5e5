"""What faults of event streams share: the lines of a block, its data, and the text inside its JSON.

A block is bytes of lines with any of the three line ends (WHATWG HTML, section 9.2.6), as other faults may have left
them: nothing here expects the form in which blocks are first written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from mockprovider.faults import responses
from mockprovider.faults.base import INTEGER, Kind
from mockprovider.jsontext import dumps
from mockprovider.timeline import Control, Stage, Timed

__all__ = [
    "FIELD",
    "HEX",
    "LINE",
    "EachBlock",
    "comment_line",
    "data_of",
    "end_of",
    "field_line",
    "is_done",
    "is_finish",
    "joined",
    "lines_of",
    "value_of",
    "whole",
    "with_data",
    "with_text",
]

# ------------------------------------------------------------------------------------------------ kinds of settings


def _line(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or "\r" in value or "\n" in value:
        raise ValueError
    return value


def _field(value: Any) -> str:
    name = _line(value)
    # At the start of the stream U+FEFF would be a byte order mark, and the field another one.
    if not name or ":" in name or name.startswith("\ufeff") or name in ("data", "event", "id"):
        raise ValueError
    return name


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not (data := bytes.fromhex(value)):
        raise ValueError
    return data.hex()


def _quoted(value: str) -> str:
    return dumps(value).decode()


def whole(low: int, high: int) -> Kind:
    """A whole number in a range: what is repeated in memory must not fill it."""

    def parse(value: Any) -> int:
        number = INTEGER.parse(value)
        if not low <= number <= high:
            raise ValueError
        return int(number)

    return Kind("number", f"a whole number from {low} to {high}", parse)


LINE = Kind("line", "one line of text", _line, _quoted)
FIELD = Kind("field name", "a field name without a colon, other than data, event and id", _field, _quoted)
HEX = Kind("bytes", 'hexadecimal digits in quotes, such as "ff"', _hex, _quoted)

# ------------------------------------------------------------------------------------------------ lines

Line = tuple[bytes, bytes]
"""A line and its end: LF, CR, CRLF, or nothing where the bytes stop."""

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|\Z)")


def lines_of(block: bytes) -> list[Line]:
    """The lines of a block, each with its end; joined they are the block again."""
    return [(text, end) for text, end in _LINE.findall(block) if text or end]


def joined(lines: list[Line]) -> bytes:
    """The block that these lines are."""
    return b"".join(text + end for text, end in lines)


def end_of(block: bytes) -> bytes:
    """The line end that a line added to this block is to have: that of its first line."""
    lines = lines_of(block)
    return (lines[0][1] if lines else b"") or b"\n"


def field_line(name: str, value: str) -> bytes:
    """One line of a field, without its end. What has no UTF-8 form is written as JSON would escape it."""
    return f"{name}: {value}".encode("utf-8", "backslashreplace")


def comment_line(text: str) -> bytes:
    """One comment, without its line end: a colon alone where there is no text."""
    return (f": {text}" if text else ":").encode("utf-8", "backslashreplace")


def value_of(line: bytes, name: bytes = b"data") -> bytes | None:
    """The value that a line gives the field of that name, one space after the colon taken away; None if another's."""
    if line == name:
        return b""
    if not line.startswith(name + b":"):
        return None
    return line[len(name) + 1 :].removeprefix(b" ")


def data_of(block: bytes) -> bytes | None:
    """The data of a block, its lines joined with LF; None where it has no data line and so dispatches nothing."""
    values = [value for text, _ in lines_of(block) if (value := value_of(text)) is not None]
    return b"\n".join(values) if values else None


def with_data(block: bytes, data: bytes) -> bytes:
    """The block with other data (one line), where its first data line was and prefixed as that was."""
    made: list[Line] = []
    placed = False
    for text, end in lines_of(block):
        value = value_of(text)
        if value is None:
            made.append((text, end))
        elif not placed:
            placed = True
            made.append(((text[: len(text) - len(value)] if value else b"data: ") + data, end))
    return joined(made)


def is_done(block: bytes) -> bool:
    """Whether the block is the sentinel that ends OpenAI's streams."""
    data = data_of(block)
    return data is not None and data.strip(b" ") == b"[DONE]"


_FINISH = re.compile(
    rb'"(?:(?:finish|stop|done)_reason|finishReason)":\s*"|"type":\s*"response\.(?:completed|incomplete|failed)"'
)
"""A finish reason that is not null, or the event that is one.

Inside a JSON string its quotes would be escaped, so no text can look like it.
"""


def is_finish(block: bytes) -> bool:
    """Whether the block says why the reply ends."""
    return _FINISH.search(block) is not None


# ------------------------------------------------------------------------------------------------ the text


def with_text(block: bytes, change: Callable[[str], str]) -> bytes | None:
    """The block with the text of its delta changed, in compact JSON; None where there is no text in it.

    The text is the last string that is not empty below the document's `delta` (or what other dialects call it), names
    and types left out: so it is found in every dialect, be it answer, thinking or a tool's arguments. A block without
    any field may be a document by itself, as a line or as an element of an array.
    """
    data, bare = data_of(block), _BARE.fullmatch(block)
    if data is None and bare is not None:
        data = bare[2]
    if data is None or not data.lstrip().startswith(b"{"):
        return None
    try:
        document = json.loads(data)
    except ValueError:
        return None
    slots = list(_own(document) if _has_own(document) else _slots(document, inside=False))
    if not slots:
        return None
    owner, key = slots[-1]
    owner[key] = change(owner[key])
    return with_data(block, dumps(document)) if bare is None else bare[1] + dumps(document) + bare[3]


_BARE = re.compile(rb"(\[|,\r\n|)(\{.*\})(\s*)", re.DOTALL)
"""A document without a field: a line of its own, or an element of an array with what stands before it."""

_HOLDERS = ("delta", "candidates", "message", "response", "thinking")
"""Where the dialects have the text of a delta."""

_NO_TEXT = ("id", "name", "role", "type", "finishReason", "thoughtSignature")


def _has_own(document: dict[str, Any]) -> bool:
    return responses.is_event(document) or document.get("object") == "text_completion"


def _own(document: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The text of a delta of Responses, or of a legacy completion: both have it in one place."""
    if responses.is_event(document):
        if responses.said(document)[0]:
            yield document, "delta"
        return
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(choice.get("text"), str) and choice["text"]:
            yield choice, "text"


def _slots(value: Any, *, inside: bool) -> Iterator[tuple[Any, Any]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        below = inside or key in _HOLDERS
        if isinstance(member, str):
            if below and member and key not in _NO_TEXT:
                yield value, key
        else:
            yield from _slots(member, inside=below)


# ------------------------------------------------------------------------------------------------ stages


class EachBlock(Stage[bytes, bytes]):
    """Changes each block by a function of it; time and controls pass."""

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        yield gap, item if isinstance(item, Control) else self._change(item), origin

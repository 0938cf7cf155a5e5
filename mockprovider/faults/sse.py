"""The event stream: line ends, spacing, fields, size, and its start. The rest is in `sse_between` and `sse_ending`.

What a conforming parser does with all of it is said by WHATWG HTML, section 9.2 ("Server-sent events"); a fault here is
legal where such a parser, and JSON above it, still gets the same. Faults change the blocks that the ones before them
left, whatever their form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import COUNT, FLAG, NATURAL, Context, Fault, Level, choice, fault, setting
from mockprovider.faults.blocks import (
    FIELD,
    LINE,
    EachBlock,
    data_of,
    end_of,
    field_line,
    is_done,
    joined,
    lines_of,
    value_of,
    whole,
    with_data,
    with_text,
)
from mockprovider.faults.sse_between import Comment, InsertBlock, Keepalive
from mockprovider.faults.sse_ending import Done, DoneText, Eof, HeldOpen, NoFinalBlank
from mockprovider.timeline import Stage, Timed
from mockprovider.wire import Head, Write

__all__ = [
    "BlankLines",
    "Bom",
    "Charset",
    "Comment",
    "DataPrefix",
    "Done",
    "DoneText",
    "Eof",
    "EventNames",
    "Field",
    "FieldOrder",
    "Giant",
    "HeldOpen",
    "Ids",
    "InsertBlock",
    "Keepalive",
    "LineEnds",
    "Multiline",
    "NoBlankLines",
    "NoFinalBlank",
    "Spacing",
]

# ------------------------------------------------------------------------------------------------ lines

_ENDS = {"lf": (b"\n",), "cr": (b"\r",), "crlf": (b"\r\n",), "mixed": (b"\n", b"\r", b"\r\n")}
"""The line ends in turn. In this order no CR is followed by an LF of another line, which would make one end of two."""


@fault("line-ends", Level.EVENT, legal=True, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnds(Fault):
    """Lines of the event stream end in CRLF, a lone CR, LF, or each of the three in turn."""

    end: str = setting(choice(*_ENDS), "crlf", "how lines end; mixed: LF, CR and CRLF in turn")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Gives each line the next end of the cycle."""
        ends = cycle(_ENDS[self.end])
        return EachBlock(lambda block: joined([(text, end and next(ends)) for text, end in lines_of(block)]))


@fault("blank-lines", Level.EVENT, legal=True, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class BlankLines(Fault):
    """More than one blank line between events."""

    extra: int = setting(whole(1, 1000), 1, "how many blank lines more")
    every: int = setting(COUNT, 1, "after every so many blocks")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Adds line ends like the block's last one."""
        count = 0

        def more(block: bytes) -> bytes:
            nonlocal count
            count += 1
            return block if count % self.every else block + lines_of(block)[-1][1] * self.extra

        return EachBlock(more)


@fault("no-blank-lines", Level.EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoBlankLines(Fault):
    """Events follow each other without a blank line, parted by one line end alone."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Takes the blank lines out of each block."""
        return EachBlock(lambda block: joined([line for line in lines_of(block) if line[0]]))


@fault("multiline", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Multiline(Fault):
    """The JSON of an event is spread over several data lines, cut where JSON allows white space."""

    lines: int = setting(whole(1, 1000), 3, "over how many lines")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Cuts each JSON document after commas outside its strings."""
        return EachBlock(lambda block: _spread(block, self.lines))


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|,|[^",]+')


def _spread(block: bytes, count: int) -> bytes:
    data = data_of(block)
    if data is None or not data.startswith(b"{") or b"\n" in data:
        return block
    places = [match.end() for match in _TOKEN.finditer(data) if match[0] == b","]
    # Evenly over the commas, so that the lines are of like length.
    chosen = sorted({places[len(places) * part // count] for part in range(1, count)}) if places else []
    bounds = [0, *chosen, len(data)]
    parts = [data[start:end] for start, end in pairwise(bounds)]
    lines = lines_of(with_data(block, parts[0]))
    first = next(index for index, (text, _) in enumerate(lines) if value_of(text) is not None)
    end = lines[first][1] or b"\n"
    lines[first : first + 1] = [lines[first], *((b"data: " + part, end) for part in parts[1:])]
    return joined(lines)


@fault("spacing", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Spacing(Fault):
    """No space after the colon of data lines, or more than one."""

    spaces: int = setting(whole(0, 1000), 0, "how many spaces follow the colon; all but one belong to the data")
    on: str = setting(choice("all", "done"), "all", "which events: all, or the sentinel alone")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Writes each data line anew. Data that begins with a space keeps the one that protects it."""
        return EachBlock(lambda block: self._spaced(block) if self.on == "all" or is_done(block) else block)

    def _spaced(self, block: bytes) -> bytes:
        def spaced(text: bytes) -> bytes:
            value = value_of(text)
            if value is None or (not self.spaces and value.startswith(b" ")):
                return text
            return b"data:" + b" " * self.spaces + value

        return joined([(spaced(text), end) for text, end in lines_of(block)])


@fault("data-prefix", Level.EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class DataPrefix(Fault):
    """Something stands before the data of every event, such as the field's name once more."""

    text: str = setting(LINE, "data: ", "what stands there")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the text before each data value."""
        prefix = self.text.encode("utf-8", "backslashreplace")

        def prefixed(text: bytes) -> bytes:
            value = value_of(text)
            return text if value is None else text[: len(text) - len(value)] + prefix + value

        return EachBlock(lambda block: joined([(prefixed(text), end) for text, end in lines_of(block)]))


# ------------------------------------------------------------------------------------------------ fields


@fault("ids", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ids(Fault):
    """Events carry an id, counted up from a number, or always the same text."""

    first: int = setting(NATURAL, 1, "the first number")
    text: str | None = setting(LINE, None, "this instead of numbers; clients ignore an id with a NUL byte in it")
    every: int = setting(COUNT, 1, "on every so many events, the first among them")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts an id line before the data."""
        count = -1

        def numbered(block: bytes) -> bytes:
            nonlocal count
            if data_of(block) is None:
                return block
            count += 1
            if count % self.every:
                return block
            value = str(self.first + count // self.every) if self.text is None else self.text
            return field_line("id", value) + end_of(block) + block

        return EachBlock(numbered)


@fault("event-names", Level.EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class EventNames(Fault):
    """Every event carries this name in its event field, in place of any that it has."""

    event: str = setting(LINE, "message", "the name; empty: the events have none")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Replaces the event line of each block that has data."""

        def named(block: bytes) -> bytes:
            if data_of(block) is None:
                return block
            others = joined([line for line in lines_of(block) if value_of(line[0], b"event") is None])
            return field_line("event", self.event) + end_of(block) + others if self.event else others

        return EachBlock(named)


@fault("field", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Field(Fault):
    """Every event carries one more field: an unknown one, which clients ignore, or retry."""

    field: str = setting(FIELD, "foo", "its name")
    value: str = setting(LINE, "bar", "its value")
    colon: bool = setting(FLAG, True, "false: the line is the name alone")
    place: str = setting(choice("first", "last"), "first", "before the other lines of the event, or after them")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Adds the line to each block that has data."""
        text = field_line(self.field, self.value) if self.colon else self.field.encode("utf-8", "backslashreplace")

        def added(block: bytes) -> bytes:
            if data_of(block) is None:
                return block
            line = text + end_of(block)
            if self.place == "first":
                return line + block
            lines = lines_of(block)
            blank = next((index for index, (text, _) in enumerate(lines) if not text), len(lines))
            return joined(lines[:blank]) + line + joined(lines[blank:])

        return EachBlock(added)


@fault("field-order", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOrder(Fault):
    """The data lines of an event stand before its other lines, or after them."""

    data: str = setting(choice("first", "last"), "first", "where the data lines stand")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Moves the lines; line ends stay where they are."""

        def ordered(block: bytes) -> bytes:
            lines = lines_of(block)
            texts = [text for text, _ in lines if text]
            texts.sort(key=lambda text: (value_of(text) is None) == (self.data == "first"))
            moved = iter(texts)
            return joined([(next(moved) if text else text, end) for text, end in lines])

        return EachBlock(ordered)


# ------------------------------------------------------------------------------------------------ size, start, head


@fault("giant", Level.EVENT, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Giant(Fault):
    """One text delta is so long that its data line has so many bytes."""

    bytes: int = setting(
        whole(1, 1 << 26), 65_537, "the length of the line without its end, if it is not longer anyway"
    )
    event: int = setting(COUNT, 1, "which event with text, from 1")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Lengthens the text of that event with ASCII words."""
        count = 0

        def grown(block: bytes) -> bytes:
            nonlocal count
            plain = with_text(block, lambda text: text)
            if plain is None:
                return block
            count += 1
            line = next((text for text, _ in lines_of(plain) if value_of(text) is not None), plain.rstrip())
            missing = self.bytes - len(line)
            if count != self.event or missing <= 0:
                return block
            words = (" and on" * (missing // 7 + 1))[:missing]
            return with_text(block, lambda text: text + words) or block

        return EachBlock(grown)


def _streams_only(name: str, context: Context) -> None:
    if not context.stream:
        raise SettingError(f"{name} changes an event stream, and this request asks for a whole reply")


@fault("bom", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Bom(Fault):
    """The event stream begins with a byte order mark, the bytes EF BB BF."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the mark before the first content. SettingError where no stream is asked for."""
        _streams_only(self.name, context)
        return _BomStage()


class _BomStage(Stage[Any, Any]):
    def __init__(self) -> None:
        self._done = False

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            # What declares its length is no stream, but an error in its place.
            self._done = item.header("content-length") is not None
        elif not self._done and isinstance(item, bytes | Write):
            self._done = True
            item = Write(_BOM + item.data, item.apart) if isinstance(item, Write) else _BOM + item
        yield gap, item, origin


_BOM = b"\xef\xbb\xbf"


@fault("charset", Level.MESSAGE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Charset(Fault):
    """The Content-Type declares another charset; the stream is UTF-8 all the same, as clients must take it."""

    charset: str = setting(LINE, "windows-1252", "its name; empty: none is declared")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Replaces the parameter in the head. SettingError where no stream is asked for."""
        _streams_only(self.name, context)
        return _CharsetStage(f"; charset={self.charset}" if self.charset else "")


_STREAMS = ("text/event-stream", "application/x-ndjson")
"""The types of streams; errors have others."""


class _CharsetStage(Stage[Any, Any]):
    def __init__(self, parameter: str) -> None:
        self._parameter = parameter

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            item = replace(item, headers=tuple(map(self._declared, item.headers)))
        yield gap, item, origin

    def _declared(self, header: tuple[str, str]) -> tuple[str, str]:
        name, value = header
        kind = value.partition(";")[0]
        stream = name.lower() == "content-type" and kind.strip().lower() in _STREAMS
        return (name, kind + self._parameter) if stream else header

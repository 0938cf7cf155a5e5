"""Characters: escapes, halves of pairs, bytes that are no UTF-8, and a body that ends inside a character."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    POSITION,
    TEXT,
    Context,
    Fault,
    Level,
    Position,
    PositionStage,
    fault,
    setting,
)
from mockprovider.faults.blocks import HEX, EachBlock, whole, with_text
from mockprovider.payload import Payload
from mockprovider.reply import TextDelta
from mockprovider.timeline import NOWHERE, Close, Control, End, Stage, Timed
from mockprovider.tokens import cut
from mockprovider.wire import Head, Write

__all__ = ["Ascii", "CutCharacter", "InsertText", "StrayBytes"]


@fault("insert-text", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class InsertText(Fault):
    r"""One more text delta, whatever it holds: half of a surrogate pair ("\ud83d"), a NUL, a replacement character."""

    text: str = setting(TEXT, "\ufffd", "the text of the delta, sent in one piece")
    after: Position = setting(POSITION, Position(3), "after how many tokens, or which part of them")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.after.unit not in ("tokens", "%"):
            raise SettingError(f"insert-text: after: expected tokens or %, got {self.after}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the delta there, at the same time as the one before it."""
        return _InsertTextStage(self.after, context, self.text)


class _InsertTextStage(PositionStage):
    def __init__(self, position: Position, context: Context, text: str) -> None:
        super().__init__(position, context)
        self._text = text

    def strike(self) -> Iterator[Timed[Any]]:
        pieces = tuple(cut(self._text))
        yield 0.0, TextDelta(self._text, 0, len(pieces), pieces if len(pieces) > 1 else None), NOWHERE


@fault("ascii", Level.PAYLOAD, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ascii(Fault):
    r"""JSON in ASCII: every other character is an escape, or a pair of two where it is beyond U+FFFF."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Escapes what is not ASCII; outside of strings JSON has no such characters."""
        return _AsciiStage()


class _AsciiStage(Stage[Payload, Payload]):
    def feed(self, timed: Timed[Payload | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, Payload) and not item.data.isascii():
            item = Payload(_escaped(item.data), item.name)
        yield gap, item, origin


def _escaped(data: bytes) -> bytes:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data  # what another fault made of it
    units = text.encode("utf-16-be", "surrogatepass")
    made = bytearray()
    for high, low in zip(units[::2], units[1::2], strict=True):
        made += bytes((low,)) if not high and low < 0x80 else b"\\u%02x%02x" % (high, low)
    return bytes(made)


@fault("stray-bytes", Level.EVENT, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class StrayBytes(Fault):
    """Bytes that may not stand there, inside the JSON string of a text delta: no UTF-8, or a raw control character."""

    hex: str = setting(HEX, "ff", "the bytes")
    event: int = setting(COUNT, 1, "which event with text, from 1")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the bytes at the end of that event's text."""
        stray = bytes.fromhex(self.hex)
        count = 0

        def strayed(block: bytes) -> bytes:
            nonlocal count
            # A character that the block does not hold marks the place, for only text can be put into JSON.
            mark = next(char for char in map(chr, range(0xFDD0, 0xFDF0)) if char.encode() not in block)
            marked = with_text(block, lambda text: text + mark)
            if marked is None:
                return block
            count += 1
            return marked.replace(mark.encode(), stray) if count == self.event else block

        return EachBlock(strayed)


_CHARACTER = rb"[\xc2-\xdf][\x80-\xbf]", rb"[\xe0-\xef][\x80-\xbf]{2}", rb"[\xf0-\xf4][\x80-\xbf]{3}"


@fault("cut-character", Level.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class CutCharacter(Fault):
    """The body ends inside a character, as if it were complete there."""

    size: int = setting(whole(2, 4), 4, "the first character of so many bytes; without one the body ends as always")
    keep: int = setting(whole(1, 3), 2, "how many of its bytes are sent")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.keep >= self.size:
            raise SettingError(f"cut-character: keep: expected less than size ({self.size}), got {self.keep}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Ends the message there. SettingError where no stream is asked for: a whole reply declares its length."""
        if not context.stream:
            raise SettingError("cut-character ends an event stream, and this request asks for a whole reply")
        return _CutStage(re.compile(_CHARACTER[self.size - 2]), self.keep)


class _CutStage(Stage[Any, Any]):
    def __init__(self, pattern: re.Pattern[bytes], keep: int) -> None:
        self._pattern = pattern
        self._keep = keep
        self._sized = False

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, Head):
            self._sized = item.header("content-length") is not None
        data = item.data if isinstance(item, Write) else item
        match = self._pattern.search(data) if isinstance(data, bytes) else None
        if match is None:
            yield timed
            return
        part = data[: match.start() + self._keep]
        yield gap, Write(part, item.apart) if isinstance(item, Write) else part, origin
        # An error instead of the stream declares its length: it can be cut, but not be complete.
        yield 0.0, Close() if self._sized else End(), NOWHERE

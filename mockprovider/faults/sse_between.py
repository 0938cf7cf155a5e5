"""The event stream: blocks between its events, be they comments or anything else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    FLAG,
    POSITION,
    SECONDS,
    TEXT,
    Context,
    Fault,
    Level,
    Position,
    PositionStage,
    choice,
    fault,
    setting,
)
from mockprovider.faults.blocks import LINE, comment_line, data_of, is_done, is_finish
from mockprovider.timeline import NOWHERE, Control, Ending, Hang, Stage, Timed

__all__ = ["Comment", "InsertBlock", "Keepalive"]


@fault("comment", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Fault):
    """A comment before events, with the event that follows."""

    text: str = setting(LINE, "keep-alive", "the comment; empty: a colon alone")
    every: int = setting(COUNT, 1, "before every so many events")
    first: bool = setting(FLAG, True, "whether one stands before the first event")
    blank: bool = setting(FLAG, True, "whether a blank line follows the comment")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the comment before events that have data."""
        return _CommentStage(_comment(self.text, blank=self.blank), self.every, first=self.first)


def _comment(text: str, *, blank: bool) -> bytes:
    return comment_line(text) + (b"\n\n" if blank else b"\n")


class _CommentStage(Stage[bytes, bytes]):
    def __init__(self, block: bytes, every: int, *, first: bool) -> None:
        self._block = block
        self._every = every
        self._first = first
        self._count = 0

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        if not isinstance(item, Control) and data_of(item) is not None:
            if self._count % self._every == 0 and (self._count or self._first):
                yield gap, self._block, NOWHERE
                gap = 0.0
            self._count += 1
        yield gap, item, origin


@fault("keepalive", Level.EVENT, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive(Fault):
    """A comment at each interval while the stream is silent, also while it hangs."""

    seconds: float = setting(SECONDS, 15.0, "the interval, counted from the item before; more than 0")
    text: str = setting(LINE, "keep-alive", "the comment; empty: a colon alone")
    blank: bool = setting(FLAG, True, "whether a blank line follows the comment")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not self.seconds:
            raise SettingError("keepalive: seconds: expected more than 0, got 0")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Fills gaps longer than the interval; what came at a time still comes at that time."""
        return _KeepaliveStage(_comment(self.text, blank=self.blank), self.seconds)


class _KeepaliveStage(Stage[bytes, bytes]):
    def __init__(self, block: bytes, seconds: float) -> None:
        self._block = block
        self._seconds = seconds

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        # One that would fall on the item itself is left out: the item breaks the silence.
        count = max(0, math.ceil(round(gap / self._seconds, 9)) - 1)
        for _ in range(count):
            yield self._seconds, self._block, NOWHERE
        left = gap - count * self._seconds
        while isinstance(item, Hang):  # until the client leaves
            yield self._seconds, self._block, NOWHERE
        yield left, item, origin


@fault("insert-block", Level.EVENT, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class InsertBlock(Fault):
    """A block of the event stream, as it stands, at one place or between events."""

    block: str = setting(TEXT, "data: null\n\n", "its text, line ends and final blank line included")
    after: Position | None = setting(POSITION, None, "after so many events; this, with 2 events, unless another is set")
    before: str | None = setting(
        choice("finish", "done", "end"), None, "before the finish reason, the sentinel, or the end"
    )
    every: int | None = setting(COUNT, None, "between events: after every so many, the last one excepted")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if sum(place is not None for place in (self.after, self.before, self.every)) > 1:
            raise SettingError("insert-block: expected one of after, before and every, got more")
        if not self.block:
            raise SettingError("insert-block: block: expected a text that is not empty")
        if self.after is not None and self.after.unit != "events":
            raise SettingError(f"insert-block: after: expected a number of events such as 2events, got {self.after}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the block there; after an event it comes at once, before one with it.

        SettingError where the block has fields of server-sent events and the stream is none of these.
        """
        if not context.framing.startswith("sse") and _FIELDS.search(self.block):
            raise SettingError(
                f"{self} inserts a server-sent event; the streams of {context.dialect} are {context.framing}"
            )
        block = self.block.encode("utf-8", "backslashreplace")
        if self.every is not None:
            return _CommentStage(block, self.every, first=False)
        if self.before is not None:
            return _BeforeStage(self.before, block)
        return _AfterStage(self.after or Position(2, "events"), context, block)


_FIELDS = re.compile(r"^(?:(?:data|event|id|retry)(?::|$)|:)", re.MULTILINE)
"""A line with a field, or a comment."""


class _AfterStage(PositionStage):
    """After so many events. Before the first one, the block does not wait for it."""

    def __init__(self, position: Position, context: Context, block: bytes) -> None:
        super().__init__(position, context)
        self._block = block

    def strike(self) -> Iterator[Timed[Any]]:
        yield 0.0, self._block, NOWHERE


def _nowhere(_: bytes) -> bool:
    return False


class _BeforeStage(Stage[bytes, bytes]):
    """Before the first block that is the place; where there is none, before the end."""

    def __init__(self, place: str, block: bytes) -> None:
        self._is_place = {"finish": is_finish, "done": is_done, "end": _nowhere}[place]
        self._block = block
        self._placed = False

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        gap, item, origin = timed
        if not self._placed and (isinstance(item, Ending) if isinstance(item, Control) else self._is_place(item)):
            self._placed = True
            yield gap, self._block, NOWHERE
            gap = 0.0
        yield gap, item, origin

    def flush(self) -> Iterator[Timed[bytes | Control]]:
        if not self._placed:
            yield 0.0, self._block, NOWHERE

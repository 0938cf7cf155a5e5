"""The reply: what the model says, or stops saying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    NATURAL,
    POSITION,
    TEXT,
    Context,
    CuttingStage,
    Fault,
    Level,
    Position,
    choice,
    fault,
    setting,
)
from mockprovider.reply import (
    Finish,
    Reasoning,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    Start,
    Text,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.timeline import Control, Stage, Timed
from mockprovider.tokens import cut

__all__ = ["Cumulative", "EmptyDeltas", "FinishFault", "InterleaveCalls", "LateText", "RepeatText", "Truncate"]


def _needs_stream(fault: Fault, context: Context) -> None:
    if not context.stream:
        raise SettingError(f"{fault}: a whole reply has no deltas for it to change")


def _same(delta: TextDelta, text: str, tokens: int, pieces: tuple[str, ...] | None = None) -> TextDelta:
    """A delta of the same kind with another text."""
    if isinstance(delta, ToolCallDelta):
        return ToolCallDelta(delta.index, text, delta.choice, tokens, pieces)
    return type(delta)(text, delta.choice, tokens, pieces)


# ---------------------------------------------------------------------------------------------- where it ends


@fault("truncate", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Fault):
    """The model stops early: nothing of the reply comes after a position but, if it is given, a finish reason.

    The message itself ends well, sentinel included; `drop-payloads(at=done)` takes that away too.
    """

    after: Position | None = setting(POSITION, None, "after how many tokens, or which part of them")
    characters: int | None = setting(NATURAL, None, "or after how many characters, perhaps within a token")
    finish: str | None = setting(TEXT, None, "the finish reason; none unless it is given")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if (self.after is None) == (self.characters is None):
            raise SettingError("truncate: expected either after or characters")
        if self.after is not None and self.after.unit not in ("tokens", "%"):
            raise SettingError(f"truncate: after: expected tokens or %, got {self.after}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Ends the source at the position."""
        if not context.stream and self.finish is None:
            raise SettingError(f"{self}: a whole reply always has a finish reason: say which, such as finish=length")
        if self.after is None:
            assert self.characters is not None, "checked when it was made"
            return _TruncateStage(self.characters, self.finish, by_character=True)
        count = self.after.count
        if self.after.unit == "%":
            tokens = context.tokens()
            if tokens is None:
                raise SettingError(f"truncate: after: an endless reply has no {self.after}")
            count = tokens * count // 100
        return _TruncateStage(count, self.finish, by_character=False)


class _TruncateStage(CuttingStage):
    """What would come next comes no more; the finish reason takes its time."""

    def __init__(self, left: int, finish: str | None, *, by_character: bool) -> None:
        self._left = left
        self._finish = finish
        self._by_character = by_character
        self._open: list[int] = []

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if self._struck:
            return
        if isinstance(item, Control | Start):
            if isinstance(item, Start):
                self._open.append(item.choice)
            yield timed
        elif self._left == 0:
            self._struck = True
            for number, choice in enumerate(self._open if self._finish is not None else ()):
                yield 0.0 if number else gap, Finish(self._finish or "", choice), (choice, -1)
        elif isinstance(item, TextDelta):
            yield gap, self._kept(item), origin
        else:
            if isinstance(item, Finish):
                self._open.remove(item.choice)
            yield timed

    def _kept(self, delta: TextDelta) -> TextDelta:
        """The delta, or what of it comes before the position."""
        weight = len(delta.text) if self._by_character else delta.tokens
        if weight <= self._left:
            self._left -= weight
            return delta
        left, self._left = self._left, 0
        if self._by_character:
            text = delta.text[:left]
            pieces = tuple(cut(text))
            return _same(delta, text, len(pieces), pieces if len(pieces) > 1 else None)
        pieces = (delta.pieces or tuple(cut(delta.text)))[:left]
        return _same(delta, "".join(pieces), left, pieces if left > 1 else None)


@fault("finish", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class FinishFault(Fault):
    """The finish reason is another one, comes twice, or never."""

    reason: str | None = setting(TEXT, None, "the reason; the reply's own unless it is given")
    times: int = setting(NATURAL, 1, "how many times it comes; 0: never")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Replaces each finish."""
        if not context.stream and self.times != 1:
            raise SettingError(f"{self}: a whole reply has one finish reason")
        return _FinishStage(self.reason, self.times)


class _FinishStage(Stage[Any, Any]):
    def __init__(self, reason: str | None, times: int) -> None:
        self._reason = reason
        self._times = times
        self._owed = 0.0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if not isinstance(item, Finish):
            yield gap, item, origin
            return
        if not self._times:
            self._owed = gap
        for _ in range(self._times):
            yield gap, Finish(self._reason or item.reason, item.choice), origin
            gap = 0.0


@fault("late-text", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class LateText(Fault):
    """A choice goes on after its finish reason: one more delta with text."""

    text: str = setting(TEXT, " (continued)", "the text")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the text after each finish."""
        _needs_stream(self, context)
        return _LateStage(self.text)


class _LateStage(Stage[Any, Any]):
    def __init__(self, text: str) -> None:
        self._text = text
        pieces = tuple(cut(text))
        self._tokens, self._pieces = len(pieces), pieces if len(pieces) > 1 else None

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        yield timed
        _, item, origin = timed
        if isinstance(item, Finish):
            yield 0.0, TextDelta(self._text, item.choice, self._tokens, self._pieces), origin


# ---------------------------------------------------------------------------------------------- what the deltas say


_EMPTY: dict[Any, type[TextDelta]] = {Text: TextDelta, Reasoning: ReasoningDelta, Refusal: RefusalDelta}
_KINDS: dict[str, tuple[type, ...]] = {
    "text": (TextDelta,),
    "reasoning": (ReasoningDelta,),
    "refusal": (RefusalDelta,),
    "tool": (ToolCallDelta, ToolCallStart),
}


@fault("empty-deltas", Level.REPLY, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyDeltas(Fault):
    """Deltas of no text come before, between and after those with text."""

    every: int = setting(COUNT, 1, "after every so many deltas")
    times: int = setting(COUNT, 1, "how many at a time")
    kind: str = setting(choice("any", *_KINDS), "any", "beside which deltas")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts them in, each of the kind of its neighbour."""
        _needs_stream(self, context)
        return _EmptyStage(self.every, self.times, self.kind)


class _EmptyStage(Stage[Any, Any]):
    def __init__(self, every: int, times: int, kind: str) -> None:
        self._every = every
        self._times = times
        self._kind = kind
        self._count = 0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        yield timed
        _, item, (choice, _) = timed
        made: type[TextDelta] | None = None
        if isinstance(item, Start):
            made = _EMPTY.get(item.opens)
        elif isinstance(item, ToolCallStart):
            made = ToolCallDelta
        elif isinstance(item, TextDelta):
            self._count += self._meant(type(item))
            made = type(item) if self._count % self._every == 0 else None
        if made is None or not self._meant(made):
            return
        for _ in range(self._times):
            if isinstance(item, ToolCallStart | ToolCallDelta):
                yield 0.0, ToolCallDelta(item.index, "", item.choice, tokens=0), (choice, -1)
            else:
                yield 0.0, made("", item.choice, tokens=0), (choice, -1)

    def _meant(self, kind: type) -> bool:
        return self._kind == "any" or kind in _KINDS[self._kind]


@fault("repeat-text", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatText(Fault):
    """Deltas are said again, word for word."""

    every: int = setting(COUNT, 1, "every how many deltas one is repeated")
    times: int = setting(COUNT, 2, "how many times it is said in all")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Repeats deltas with text; those of tool calls too."""
        return _RepeatStage(self.every, self.times)


class _RepeatStage(Stage[Any, Any]):
    def __init__(self, every: int, times: int) -> None:
        self._every = every
        self._times = times
        self._count = 0

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        yield timed
        _, item, origin = timed
        if isinstance(item, TextDelta):
            self._count += 1
            if self._count % self._every == 0:
                for _ in range(self._times - 1):
                    yield 0.0, item, origin


@fault("cumulative", Level.REPLY)
@dataclass(frozen=True, slots=True, kw_only=True)
class Cumulative(Fault):
    """Every delta has the whole text so far instead of the new piece; those of tool calls are as always."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts what came before in front of each text."""
        _needs_stream(self, context)
        return _CumulativeStage()


class _CumulativeStage(Stage[Any, Any]):
    def __init__(self) -> None:
        self._said: dict[tuple[int, type], str] = {}

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, TextDelta) and not isinstance(item, ToolCallDelta):
            key = item.choice, type(item)
            self._said[key] = self._said.get(key, "") + item.text
            item = _same(item, self._said[key], item.tokens, item.pieces)
        yield gap, item, origin


# ---------------------------------------------------------------------------------------------- tool calls


@fault("interleave-calls", Level.REPLY, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class InterleaveCalls(Fault):
    """The fragments of several tool calls alternate instead of coming one call after the other."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Keeps the calls back until they have all come, and deals them out in turn."""
        _needs_stream(self, context)
        return _InterleaveStage()


class _InterleaveStage(Stage[Any, Any]):
    def __init__(self) -> None:
        self._calls: dict[tuple[int, int], list[Timed[Any]]] = {}
        self._gaps: list[float] = []

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if isinstance(item, ToolCallStart | ToolCallDelta):
            self._calls.setdefault((item.choice, item.index), []).append((gap, item, origin))
            self._gaps.append(gap)
            return
        if not isinstance(item, Start):
            yield from self.flush()
        yield timed

    def flush(self) -> Iterator[Timed[Any]]:
        gaps, calls = iter(self._gaps), list(self._calls.values())
        self._gaps, self._calls = [], {}
        for turn in range(max(map(len, calls), default=0)):
            for call in calls:
                if turn < len(call):
                    _, item, origin = call[turn]
                    yield next(gaps), item, origin

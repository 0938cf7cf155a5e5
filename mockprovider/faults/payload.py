"""Payloads: too many or too few of them, others than expected, such as errors, and such as are no JSON.

Most of these faults say with `at` which payloads they strike. What is wrong inside a document is in `fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import (
    COUNT,
    FLAG,
    JSON,
    NATURAL,
    POSITION,
    SECONDS,
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
from mockprovider.faults.documents import RAW, document_of, fill, fill_raw, is_object, joined, named, rewritten
from mockprovider.faults.fields import AddFields, CarryField, DropField, MoveField, RenameField, SetField, SplitField
from mockprovider.faults.responses import failure
from mockprovider.faults.selection import ALL, DONE, WHICH, Matcher, Struck, Which, needs, needs_stream, words_of
from mockprovider.jsontext import dumps
from mockprovider.payload import Payload
from mockprovider.timeline import NOWHERE, Control, Stage, Timed

__all__ = [
    "AddFields",
    "CarryField",
    "CorruptJson",
    "CutJson",
    "DropField",
    "DropPayloads",
    "ErrorPayload",
    "InsertPayload",
    "JoinPayloads",
    "MoveField",
    "RenameField",
    "ReplacePayload",
    "SetField",
    "SplitField",
    "SwapPayloads",
]


def _object_or_none(fault: Fault, name: str) -> None:
    value = getattr(fault, name)
    if value is not None and not is_object(value):
        raise SettingError(f"{fault.name}: {name}: expected a JSON object, got {value!r}")


def _instead(payload: Payload, data: bytes) -> Payload:
    """A payload with other data beside or in the place of one, and the event name that goes with them."""
    made = Payload(data)
    made.name = named(payload, document_of(made))
    return made


# ---------------------------------------------------------------------------------------------- whole payloads


@fault("drop-payloads", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class DropPayloads(Fault):
    """Payloads are left out, such as the usage or the sentinel."""

    at: Which = setting(WHICH, ALL, "which payloads; `all` leaves the sentinel, which is `done`")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Hands the gap of each to what follows."""
        needs_stream(self, context)
        return _DropStage(Matcher(self.at, context, "drop-payloads: at"))


class _DropStage(Struck):
    def change(self, timed: Timed[Payload], document: Any) -> Iterable[Timed[Any]]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said(Fault):
    """The base of faults that say what a payload is."""

    document: Any = setting(JSON, None, "fields, as a JSON object, that replace those of the document or are added")
    bare: bool = setting(FLAG, False, "the document alone, without the envelope of the other one")
    raw: str | None = setting(RAW, None, "or what the payload is, JSON or not")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        _object_or_none(self, "document")
        if self.document is not None and self.raw is not None:
            raise SettingError(f"{self.name}: expected either document or raw")

    def said(self, stage: Struck, former: Any) -> bytes:
        """The payload that stands beside or instead of one with the former document."""
        known = stage.known(None, former)
        if self.raw is not None:
            return fill_raw(self.raw, known)
        said = fill(self.document, known)
        return dumps({**former, **said} if is_object(former) and not self.bare else said)


@fault("replace-payload", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacePayload(_Said):
    """A payload has other fields, or is anything at all."""

    at: Which = setting(WHICH, ALL, "which payloads")

    def __post_init__(self) -> None:
        _Said.__post_init__(self)
        needs(self, "document", "raw")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts another payload in the place of each that is meant."""
        return _ReplaceStage(Matcher(self.at, context, "replace-payload: at"), self)


class _ReplaceStage(Struck):
    def __init__(self, matcher: Matcher, fault: _Said) -> None:
        super().__init__(matcher)
        self._fault = fault

    def change(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        yield gap, _instead(item, self._fault.said(self, document)), origin


@fault("insert-payload", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class InsertPayload(_Said):
    """There is one more payload before or after another: a copy of it, with other fields, or anything at all."""

    before: Which | None = setting(WHICH, None, "before which payloads")
    after: Which | None = setting(WHICH, None, "or after which")
    times: int = setting(COUNT, 1, "how many of them")
    seconds: float = setting(SECONDS, 0.0, "how long each comes after what is before it")

    def __post_init__(self) -> None:
        _Said.__post_init__(self)
        needs(self, "before", "after")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the payloads beside each that is meant."""
        needs_stream(self, context)
        which, name = (self.after, "after") if self.before is None else (self.before, "before")
        assert which is not None, "checked when it was made"
        return _InsertStage(Matcher(which, context, f"insert-payload: {name}"), self)


class _InsertStage(Struck):
    def __init__(self, matcher: Matcher, fault: InsertPayload) -> None:
        super().__init__(matcher)
        self._fault = fault
        self._envelope: Any = None

    def watch(self, payload: Payload, document: Any) -> None:
        if is_object(document):
            self._envelope = document

    def change(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        fault, (_, item, _) = self._fault, timed
        if fault.after is not None:
            yield timed
        for _ in range(fault.times):
            data = item.data
            if fault.document is not None or fault.raw is not None:
                data = fault.said(self, document if is_object(document) else self._envelope)
            yield fault.seconds, _instead(item, data), NOWHERE
        if fault.before is not None:
            yield timed


# ---------------------------------------------------------------------------------------------- two neighbours


def _next_to(fault: Fault, which: Which | None, context: Context) -> Matcher:
    """The matcher of a fault of two neighbours."""
    assert which is not None, "checked when it was made"
    needs_stream(fault, context)
    if which.final:
        raise SettingError(f"{fault}: the last one is known too late; name it by its kind, such as finish")
    return Matcher(which, context, f"{fault.name}: at")


class _Pairs(Stage[Any, Any]):
    """The base of stages that keep one payload back until the next has come."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._held: Timed[Payload] | None = None

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        if isinstance(timed[1], Control):
            yield from self.flush()
            yield timed
        else:
            document = document_of(timed[1])
            yield from self.pair(timed, document, meant=self._matcher(timed[1], document))

    def pair(self, timed: Timed[Payload], document: Any, *, meant: bool) -> Iterator[Timed[Any]]:
        """What comes of a payload and the one that is held; may hold another."""
        raise NotImplementedError

    def flush(self) -> Iterator[Timed[Any]]:
        held, self._held = self._held, None
        if held is not None:
            yield held


@fault("join-payloads", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPayloads(Fault):
    """A payload comes in one with the payload before it, such as the finish reason with the last text."""

    at: Which | None = setting(WHICH, None, "which payloads join the one before")
    calls: str = setting(choice("join", "append"), "join", "whether fragments of one tool call become one item")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        needs(self, "at")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Keeps each payload back until the next has come, and joins them where that is meant."""
        return _JoinStage(_next_to(self, self.at, context), append=self.calls == "append")


class _JoinStage(_Pairs):
    def __init__(self, matcher: Matcher, *, append: bool) -> None:
        super().__init__(matcher)
        self._append = append

    def pair(self, timed: Timed[Payload], document: Any, *, meant: bool) -> Iterator[Timed[Any]]:
        if meant and self._held is not None:
            gap, payload, origin = self._held
            first = document_of(payload)
            if is_object(first) and is_object(document):
                both = joined(first, document, append=self._append)
                self._held = gap + timed[0], rewritten(payload, both), origin
                return
        yield from self.flush()
        self._held = timed


@fault("swap-payloads", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class SwapPayloads(Fault):
    """A payload changes places with the one after it."""

    at: Which | None = setting(WHICH, None, "which payloads come one later")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        needs(self, "at")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Keeps each that is meant back until the next has come."""
        return _SwapStage(_next_to(self, self.at, context))


class _SwapStage(_Pairs):
    def pair(self, timed: Timed[Payload], document: Any, *, meant: bool) -> Iterator[Timed[Any]]:
        if self._held is not None:
            (gap, payload, origin), self._held = self._held, None
            yield gap, timed[1], timed[2]
            yield timed[0], payload, origin
        elif meant:
            self._held = timed
        else:
            yield timed


# ---------------------------------------------------------------------------------------------- no JSON


class _BytesStage(Struck):
    """Changes the bytes of a payload, by a function of them and of its document."""

    def __init__(self, matcher: Matcher, broken: Callable[[bytes, Any], bytes]) -> None:
        super().__init__(matcher)
        self._broken = broken

    def change(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        yield gap, Payload(self._broken(item.data, document), item.name), origin


@fault("cut-json", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class CutJson(Fault):
    """A payload ends in the midst of its JSON."""

    at: Which = setting(WHICH, ALL, "which payloads")
    bytes: int | None = setting(NATURAL, None, "how many bytes are left")
    percent: int = setting(NATURAL, 50, "or how many hundredths of them")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.percent > 100:
            raise SettingError(f"cut-json: percent: expected a whole number from 0 to 100, got {self.percent}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Cuts each payload that is meant."""
        left, percent = self.bytes, self.percent
        matcher = Matcher(self.at, context, "cut-json: at")
        return _BytesStage(matcher, lambda data, _: data[: len(data) * percent // 100 if left is None else left])


@fault("corrupt-json", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptJson(Fault):
    """A payload is what a careless server prints instead of JSON.

    `trailing-comma`: a comma before the last brace; `python`: a printed dict, with single quotes, None and True;
    `bytes`: a printed Python bytes object that holds the event; `double`: a JSON string that holds the JSON.
    """

    at: Which = setting(WHICH, ALL, "which payloads")
    how: str = setting(choice("trailing-comma", "python", "bytes", "double"), "trailing-comma", "in which way")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Prints each payload that is meant in that way."""
        matcher = Matcher(self.at, context, "corrupt-json: at")
        return _BytesStage(matcher, lambda data, document: _printed(data, document, self.how))


def _printed(data: bytes, document: Any, how: str) -> bytes:
    if document is None:
        return data
    if how == "trailing-comma":
        body = data.rstrip()
        return body[:-1] + b"," + data[len(body) - 1 :]
    if how == "double":
        return dumps(data.decode())
    printed = document if how == "python" else b"data: " + data + b"\n\n"
    return repr(printed).encode("utf-8", "backslashreplace")


# ---------------------------------------------------------------------------------------------- errors


@fault("error-payload", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPayload(Fault):
    """The stream says in its midst that it failed, in the provider's shape, and ends. A whole reply is the error."""

    after: Position = setting(POSITION, Position(3), "after how many tokens, or which part; 0: as the very first event")
    message: str = setting(TEXT, "The server failed while it was answering.", "what it says")
    kind: str = setting(TEXT, "server", "the type of the error, in the provider's words or in its own")
    code: Any = setting(JSON, None, "the error's code; the provider's own unless it is given")
    document: Any = setting(JSON, None, "or the whole document, a JSON object of any shape")
    chunk: bool = setting(FLAG, False, "in a chunk that looks ordinary: beside the envelope, without a choice")
    finish: str | None = setting(TEXT, None, "in a chunk whose choice has this finish reason")
    done: bool = setting(FLAG, True, "whether the sentinel `[DONE]` follows, where the stream would end with one")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        _object_or_none(self, "document")
        if self.after.unit not in ("tokens", "%"):
            raise SettingError(f"error-payload: after: expected tokens or %, got {self.after}")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Puts the error at the position, and nothing but the sentinel after it."""
        if context.dialect != "openai-chat" and (self.chunk or self.finish is not None):
            raise SettingError(f"{self}: the dialect {context.dialect} has no chunks with choices")
        error = self.document
        if error is None:
            error = context.error(self.kind, self.message)
            if self.code is not None and is_object(error.get("error")):
                error["error"]["code"] = self.code
        if not context.stream:
            if self.chunk or self.finish is not None:
                raise SettingError(f"{self}: a whole reply has no chunks")
            return _BytesStage(Matcher(ALL, context, "error-payload"), lambda _data, _document: dumps(error))
        count = self.after.count
        if self.after.unit == "%":
            tokens = context.tokens()
            if tokens is None:
                raise SettingError(f"error-payload: after: an endless reply has no {self.after}")
            count = tokens * count // 100
        done = self.done and "done" in words_of(context.dialect)
        return _ErrorStage(self, error, count, failing=context.dialect == "openai-responses", done=done)


class _ErrorStage(CuttingStage):
    """Counts tokens by the origins of what passes; at the position the error comes instead, and is the end."""

    def __init__(self, fault: ErrorPayload, error: dict[str, Any], count: int, *, failing: bool, done: bool) -> None:
        self._fault = fault
        self._error = error
        self._count = count
        self._next = 0  # the first token that has not come, if payloads go on having as many as so far
        self._last = -1  # the first token of the payload that came last
        self._failing = failing
        self._done = done
        self._begun: Any = None
        self._envelope: Any = None

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, (_, token) = timed
        if self._struck:
            return
        if isinstance(item, Control):
            yield timed
            return
        if (self._next if token < 0 else token) >= self._count:
            self._struck = True
            for document in self._documents(item):
                yield gap, _instead(item, dumps(document)), NOWHERE
                gap = 0.0
            if self._done and item.name is None:
                yield 0.0, Payload(DONE), NOWHERE
            return
        if token >= 0:
            self._next = token + (token - self._last if self._last >= 0 else 1)
            self._last = token
        self._envelope = document_of(item)
        self._begun = self._begun or self._envelope
        yield timed

    def _documents(self, item: Payload) -> list[dict[str, Any]]:
        if self._fault.document is None and self._failing:
            return failure(self._error, self._begun, self._envelope)
        return [self._document(item)]

    def _document(self, item: Payload) -> dict[str, Any]:
        """The error; in a chunk with the envelope of the payload in whose place it comes, if it is to be in one."""
        fault = self._fault
        if not fault.chunk and fault.finish is None:
            return self._error
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": fault.finish}
        own = document_of(item)
        envelope = own if is_object(own) else self._envelope or {}
        return {**envelope, "choices": [] if fault.finish is None else [choice], **self._error}

"""What a fault is: a small frozen value whose fields are its settings, with one stage.

A fault's fields are declared with `setting`, which says what they may be. From that one declaration come the check
(whoever gives the value: Python, command line, URL, header, TOML, marker), the text form, and the reference in the
documentation. `Noop` below is the first example to read.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import IntEnum
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from mockprovider.errors import RequestError, SettingError, nearest
from mockprovider.jsontext import dumps
from mockprovider.quota import Admission
from mockprovider.reply import TextDelta
from mockprovider.timeline import Control, Stage, Timed

__all__ = [
    "FAULTS",
    "Added",
    "Asked",
    "Context",
    "CuttingStage",
    "Fault",
    "Kind",
    "Level",
    "Noop",
    "Pass",
    "Position",
    "PositionStage",
    "Response",
    "Span",
    "choice",
    "fault",
    "kind_of",
    "setting",
]


class Level(IntEnum):
    """Where a fault acts, from the top: what a stage of this level is fed."""

    BEFORE = 5
    """Instead of the response, or on its head: no stage."""
    REPLY = 4
    """Deltas."""
    PAYLOAD = 3
    """Payloads: a JSON document, or a sentinel."""
    EVENT = 2
    """Blocks of the event stream, as bytes that end with an empty line."""
    MESSAGE = 1
    """The head, and pieces of content: one HTTP chunk each."""
    SOCKET = 0
    """Bytes as they leave, the head among them."""


# ------------------------------------------------------------------------------------------------ kinds of settings


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be. parse: from a text or a value, raising ValueError; allowed: the same in words."""

    name: str
    allowed: str
    parse: Callable[[Any], Any]
    format: Callable[[Any], str] = str


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _seconds(value: Any) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
        raise ValueError
    return int(value)


def _count(value: Any) -> int:
    number = _whole(value)
    if number < 1:
        raise ValueError
    return number


def _natural(value: Any) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError
    return number


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[str(value).lower()]


def _probability(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _quoted(value: str) -> str:
    return dumps(value).decode()


def _json(value: Any) -> Any:
    dumps(value)
    return value


SECONDS = Kind("seconds", "a number of seconds >= 0", _seconds, lambda value: f"{value:g}")
COUNT = Kind("count", "a whole number >= 1", _count)
NATURAL = Kind("number", "a whole number >= 0", _natural)
INTEGER = Kind("integer", "a whole number", _whole)
FLAG = Kind("flag", "true or false", _flag, lambda value: str(value).lower())
PROBABILITY = Kind("probability", "a number from 0 to 1", _probability, lambda value: f"{value:g}")
TEXT = Kind("text", "a text", _text, _quoted)
JSON = Kind("json", "any JSON value", _json, lambda value: dumps(value).decode())


def choice(*allowed: str) -> Kind:
    """One of these words."""

    def parse(value: Any) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return Kind("word", " or ".join(allowed), parse)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the stream: so many units have passed. unit: `tokens`, `events`, `writes`, `bytes` or `%` of tokens.

    Bytes are those of the body on the socket, the head not counted; writes likewise.
    """

    count: int
    unit: str = "tokens"

    UNITS: ClassVar[tuple[str, ...]] = ("tokens", "events", "writes", "bytes", "%")

    @classmethod
    def parse(cls, value: Any) -> Position:
        """From `3`, `3tokens`, `2events`, `1writes`, `100bytes` or `50%`. ValueError for anything else."""
        if isinstance(value, Position):
            return value
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        text = str(value).strip()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz% ")
        unit = text[len(digits) :].strip() or "tokens"
        unit = unit if unit == "%" or unit.endswith("s") else unit + "s"
        if not digits.isascii() or not digits.isdigit() or unit not in cls.UNITS or (unit == "%" and int(digits) > 100):
            raise ValueError
        return cls(int(digits), unit)

    def __str__(self) -> str:
        return str(self.count) if self.unit == "tokens" else f"{self.count}{self.unit}"

    @property
    def level(self) -> Level:
        """The level at which this unit can be counted."""
        return {"events": Level.EVENT, "writes": Level.SOCKET, "bytes": Level.SOCKET}.get(self.unit, Level.REPLY)


POSITION = Kind("position", "such as 3 (tokens), 2events, 1writes, 100bytes or 50%", Position.parse)


@dataclass(frozen=True, slots=True)
class Span:
    """Which attempts: the first to the last, both included; last None: all later ones."""

    first: int
    last: int | None

    @classmethod
    def parse(cls, value: Any) -> Span:
        """From `1`, `1..3` or `2..`. ValueError for anything else."""
        if isinstance(value, Span):
            return value
        text = str(value)
        low, dots, high = text.partition("..")
        first = _count(low)
        last = (_count(high) if high else None) if dots else first
        if isinstance(value, bool) or (last is not None and last < first):
            raise ValueError
        return cls(first, last)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last or ''}"

    def __contains__(self, attempt: int) -> bool:
        return self.first <= attempt and (self.last is None or attempt <= self.last)


ATTEMPTS = Kind("attempts", "such as 1, 1..3 or 2..", Span.parse)


def setting(kind: Kind, default: Any, doc: str) -> Any:
    """A field of a fault: its kind, its default (None: not set), and a phrase for the reference."""
    return field(default=default, metadata={"kind": kind, "doc": doc})


# ------------------------------------------------------------------------------------------------ faults


@dataclass(frozen=True, slots=True)
class Asked:
    """The request, as a fault may see it.

    namespace: the prefix that chose it, such as `/~n1`, or nothing; chain: the faults in the URL, as they were written
    there, or nothing; path and query: the rest of the URL; headers: by name, in any case; reused: whether its
    connection has carried a request before.
    """

    namespace: str = ""
    chain: str = ""
    path: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False


def _unlimited(rpm: int | None, tpm: int | None) -> Admission:
    raise AssertionError("nobody counts requests here")


@dataclass(slots=True)
class Context:
    """What a fault may know of the exchange that it is applied to.

    rng: the fault's own random stream; attempt: 1 for the first request with this body, 2 for its repetition;
    stream: whether a stream is answered; tokens: how many the reply has, or None if it is endless; dialect: the
    name of the dialect; framing: of its streams, see `Dialect.framing`; error: how the dialect words an error object,
    from a kind and a message; wall: when the
    request came, in seconds since the epoch; asked: the request; chain: all faults that were asked for; admit: counts
    the request against so many requests and tokens a minute, in its namespace.
    """

    rng: random.Random
    attempt: int
    stream: bool
    tokens: Callable[[], int | None]
    dialect: str
    error: Callable[[str, str], dict[str, Any]]
    wall: float = 0.0
    asked: Asked = field(default_factory=Asked)
    chain: tuple[Fault, ...] = ()
    admit: Callable[[int | None, int | None], Admission] = _unlimited
    framing: str = "sse"


@dataclass(frozen=True, slots=True)
class Response:
    """What a fault answers instead of a reply: an error for the dialect to word, or a body as it stands.

    headers: of the response, besides those of the error. body: None where `error` says it. chunked: its length is not
    declared, as that of a stream is not.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    error: RequestError | None = None
    reason: str | None = None
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """What a fault adds to the reply's headers; one of a name that is there takes its place."""

    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The base of all faults.

    Class facts: name, its word in the grammar; home, the level it acts at (an instance may act elsewhere, see
    `level`); legal, whether a conforming client must still receive everything; summary, one sentence; any_framing,
    whether it makes sense in streams that are no server-sent events, too.
    """

    name: ClassVar[str] = ""
    home: ClassVar[Level]
    legal: ClassVar[bool] = False
    summary: ClassVar[str] = ""
    any_framing: ClassVar[bool] = True

    p: float = setting(PROBABILITY, 1.0, "how probable it is, drawn anew for each request")
    attempt: Span | None = setting(ATTEMPTS, None, "only these attempts of the same request")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            object.__setattr__(self, each.name, self._checked(each, value))

    def _checked(self, each: Field[Any], value: Any) -> Any:
        kind = kind_of(each)
        try:
            return kind.parse(value)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise SettingError(f"{self.name}: {each.name}: expected {kind.allowed}, got {value!r}") from None

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Fault:
        """From settings by name. SettingError for an unknown one or an impossible value."""
        known = [each.name for each in fields(cls)]
        for name in settings:
            if name not in known:
                raise SettingError(f"{cls.name}: unknown setting {name!r}{nearest(name, known)}")
        return cls(**settings)

    def __str__(self) -> str:
        parts = [
            f"{each.name}={kind_of(each).format(getattr(self, each.name))}"
            for each in fields(self)
            if getattr(self, each.name) != each.default and getattr(self, each.name) is not None
        ]
        return f"{self.name}({','.join(parts)})" if parts else self.name

    @property
    def level(self) -> Level:
        """The level whose items its stage is fed."""
        return type(self).home

    def applies(self, context: Context) -> bool:
        """Whether it strikes this time, by its attempt and its probability."""
        if self.attempt is not None and context.attempt not in self.attempt:
            return False
        return self.p >= 1 or context.rng.random() < self.p

    def stage(self, context: Context) -> Stage[Any, Any]:
        """The stage that does it. SettingError where it cannot be done to this reply."""
        raise NotImplementedError(f"{self.name} acts before the response")

    def asks(self, context: Context) -> Mapping[str, Any]:
        """What is answered as if it had been asked for: fields of the `Ask`, or of its options, by name."""
        return {}

    def respond(self, context: Context) -> Response | Added | None:
        """For faults of the level BEFORE: what is answered instead of a reply; headers for it; or None: nothing."""
        raise NotImplementedError(f"{self.name} acts on a response")


def kind_of(each: Field[Any]) -> Kind:
    """The kind of a fault's field."""
    kind: Kind = each.metadata["kind"]
    return kind


F = TypeVar("F", bound=type[Fault])

_FILES = (
    "base", "forms", "before", "connection", "message", "fields", "payload", "pings", "reply", "sse_between",
    "sse_ending", "sse", "timing", "text", "wire",
)  # fmt: skip
"""Where faults are, in the order in which they are listed."""


class _Faults(Mapping[str, type[Fault]]):
    """All faults by name. Their files are read when somebody looks: that takes as long as half of everything else."""

    def __init__(self) -> None:
        self.known: dict[str, type[Fault]] = {}
        self._loaded = False

    def load(self) -> dict[str, type[Fault]]:
        """Read the files, each of which registers what is in it, if that has not been done."""
        if not self._loaded:
            ranks = {import_module(f"mockprovider.faults.{file}").__name__: rank for rank, file in enumerate(_FILES)}
            # Whichever was imported first; faults of somebody else's come last.
            found = sorted(self.known.items(), key=lambda row: ranks.get(row[1].__module__, len(ranks)))
            self.known = dict(found)
            self._loaded = True
        return self.known

    def __getitem__(self, name: str) -> type[Fault]:
        return self.load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.load())

    def __len__(self) -> int:
        return len(self.load())


FAULTS = _Faults()
"""All faults by name."""


def fault(name: str, level: Level, *, legal: bool = False, any_framing: bool = False) -> Callable[[F], F]:
    """Register a fault under its name; its summary is the first line of its docstring. Duplicates are refused.

    any_framing: for faults of the level EVENT, that it is not about server-sent events alone.
    """

    def register(made: F) -> F:
        if name in FAULTS.known:
            raise SettingError(f"there are two faults named {name!r}")
        made.name = name
        made.home = level
        made.legal = legal
        made.any_framing = any_framing or level is not Level.EVENT
        made.summary = (made.__doc__ or "").partition("\n")[0]
        FAULTS.known[name] = made
        return made

    return register


class Pass(Stage[Any, Any]):
    """Passes everything; the base of stages that change one thing."""

    def feed(self, timed: Timed[Any]) -> Iterable[Timed[Any]]:
        return (timed,)


@fault("noop", Level.EVENT, legal=True, any_framing=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Noop(Fault):
    """Nothing at all: the smallest fault, to begin a new one from."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """A stage that passes everything."""
        return Pass()


class CuttingStage(Stage[Any, Any]):
    """May end the timeline: once it has struck, its source is asked for nothing more, and nothing is owed."""

    _struck = False

    @property
    def struck(self) -> bool:
        """Whether it has ended the timeline."""
        return self._struck

    def through(self, source: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
        for timed in source:
            yield from self.feed(timed)
            if self._struck:
                return


class PositionStage(Stage[Any, Any]):
    """Passes items until a position is reached, then calls `strike` once, with all later items passing `after`.

    At the socket level the head passes uncounted, and an item is split where the position is inside it.
    """

    def __init__(self, position: Position, context: Context) -> None:
        self._left = position.count
        self._unit = position.unit
        self._struck = False
        self._head = position.level is Level.SOCKET
        if position.unit == "%":
            tokens = context.tokens()
            if tokens is None:
                raise SettingError(f"{position}: an endless reply has no {position.count} %")
            self._left = tokens * position.count // 100

    def strike(self) -> Iterator[Timed[Any]]:
        """What happens at the position."""
        raise NotImplementedError

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        if self._struck or isinstance(item, Control):
            yield timed
            return
        if self._head:
            self._head = False
            yield timed
            if self._left == 0:
                yield from self._strike()
            return
        weight = self._weight(item)
        if weight and self._left == 0:
            yield from self._strike()
            yield timed
        elif self._unit == "bytes" and weight > self._left:
            data = item if isinstance(item, bytes) else item.data
            yield gap, data[: self._left], origin
            yield from self._strike()
            yield 0.0, data[self._left :], origin
        else:
            yield timed
            self._left = max(0, self._left - weight)
            if weight and self._left == 0:
                yield from self._strike()

    def _strike(self) -> Iterator[Timed[Any]]:
        self._struck = True
        yield from self.strike()

    def _weight(self, item: Any) -> int:
        if self._unit == "bytes":
            return len(item) if isinstance(item, bytes) else len(item.data)
        if self._unit in ("tokens", "%"):
            return item.tokens if isinstance(item, TextDelta) else 0
        return 1

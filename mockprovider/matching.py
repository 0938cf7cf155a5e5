"""Which requests a rule is for: conditions that can say why a request is not one of them.

A condition never fails silently: a predicate that raises is an error of the rule, not a mismatch.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from mockprovider.errors import SettingError, nearest
from mockprovider.exchange import Exchange

__all__ = [
    "FIELDS",
    "Conditions",
    "GivenConditions",
    "Matcher",
    "Mismatch",
    "contains",
    "equals",
    "glob",
    "nearest_miss",
    "regex",
]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A named test of one value; made by `contains`, `equals`, `glob`, `regex`, or from a function.

    kind: how `value` is compared with what a request has.
    """

    kind: str
    value: Any

    def __call__(self, got: Any) -> bool:
        return _TESTS[self.kind](self.value, got)

    def __str__(self) -> str:
        if self.kind == "satisfies":
            return f"what {_name(self.value)} accepts"
        return f"{self.kind}({self.value!r})" if self.kind != "equals" else repr(self.value)


def _name(predicate: Callable[[Any], Any]) -> str:
    return str(getattr(predicate, "__name__", type(predicate).__name__))


def _satisfies(predicate: Callable[[Any], Any], got: Any) -> bool:
    try:
        return bool(predicate(got))
    except Exception as error:
        raise SettingError(f"the matcher {_name(predicate)} raised {type(error).__name__}: {error}") from error


def _contains(value: Any, got: Any) -> bool:
    if isinstance(got, str):
        return isinstance(value, str) and value in got
    return isinstance(got, list | tuple) and value in got


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": lambda value, got: bool(value == got),
    "contains": _contains,
    "glob": lambda value, got: isinstance(got, str) and fnmatch.fnmatchcase(got, value),
    "regex": lambda value, got: isinstance(got, str) and re.search(value, got) is not None,
    "satisfies": _satisfies,
}


def contains(value: Any) -> Matcher:
    """A text that contains the text `value`, or a list that has it as an element."""
    return Matcher("contains", value)


def equals(value: Any) -> Matcher:
    """Exactly this value, even where it looks like a pattern or like a matcher written as a table."""
    return Matcher("equals", value)


def glob(pattern: str) -> Matcher:
    """A text that matches a shell pattern, such as `gpt-*`; upper and lower case differ. SettingError if no text."""
    if not isinstance(pattern, str):
        raise SettingError(f"glob: expected a pattern, got {pattern!r}")
    return Matcher("glob", pattern)


def regex(pattern: str) -> Matcher:
    """A text in which a regular expression is found. SettingError if the pattern is none."""
    if not isinstance(pattern, str):
        raise SettingError(f"regex: expected a pattern, got {pattern!r}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise SettingError(f"regex({pattern!r}): {error}") from error
    return Matcher("regex", pattern)


_WRITTEN: Mapping[str, Callable[[Any], Matcher]] = {
    "contains": contains,
    "equals": equals,
    "glob": glob,
    "regex": regex,
}
"""The matchers that can be written as a table, `{"regex": "^gpt"}`, in TOML and JSON."""


def _matcher(field: str, value: Any) -> Matcher:
    """What a bare value means in a condition: a glob for names, a part for texts, itself for the rest."""
    if isinstance(value, Matcher):
        return value
    if callable(value):
        return Matcher("satisfies", value)
    if isinstance(value, Mapping) and len(value) == 1:
        kind, inner = next(iter(value.items()))
        if kind in _WRITTEN:
            return _WRITTEN[kind](inner)
    if isinstance(value, str):
        return Matcher("contains" if field in ("messages", "last") else "glob", value)
    return Matcher("equals", value)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One condition that a request does not meet: as texts, and as values where a value was expected.

    wanted, found: what was compared for equality, or None.
    """

    field: str
    expected: str
    got: str
    wanted: Any = None
    found: Any = None

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {self.got}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _any_of(values: Iterable[Any], matcher: Matcher) -> bool:
    return any(matcher(value) for value in values)


FIELDS: Mapping[str, tuple[str, Callable[[Exchange], Any]]] = {
    "path": ("the request's path", lambda e: e.path),
    "model": ("the model", lambda e: e.ask.model if e.ask else None),
    "stream": ("whether a stream is asked for", lambda e: e.ask.stream if e.ask else None),
    "messages": ("the text of any message", lambda e: [text for _, text in e.ask.messages] if e.ask else []),
    "last": (
        "the text of the last message",
        lambda e: e.ask.messages[-1][1] if e.ask and e.ask.messages else None,
    ),
    "tools": ("the name of any tool offered", lambda e: [tool.name for tool in e.ask.tools] if e.ask else []),
    "tool_result": (
        "whether the last message is a tool's result",
        lambda e: bool(e.ask and e.ask.answers_tool),
    ),
    "turn": (
        "1 for the first request of a conversation, 2 after one answer of the assistant, ...",
        lambda e: 1 + sum(role == "assistant" for role, _ in e.ask.messages) if e.ask else None,
    ),
}
"""The fields of a condition: what they mean, and where they are found. `messages` and `tools` match any of theirs.

Besides these, `headers` maps header names, and `body` maps JSON paths such as `tools[0].function.name`.
"""
_ANY = ("messages", "tools")
_KINDS: Mapping[str, type] = dict.fromkeys(("path", "model", "messages", "last", "tools"), str) | {
    "stream": bool,
    "tool_result": bool,
    "turn": int,
}
"""What a field's value is: a matcher for another kind of value could never match, and is refused."""

Predicate: TypeAlias = Callable[[Any], Any]


class GivenConditions(TypedDict, total=False):
    """The conditions of a rule, as they may be given: a value, a matcher, or a function of the value. See `FIELDS`.

    A bare text is a glob for path, model and tools, and a part of the text for messages and last. headers and body map
    header names and JSON paths to the same.
    """

    path: str | Matcher | Predicate | None
    model: str | Matcher | Predicate | None
    stream: bool | Matcher | Predicate | None
    messages: str | Matcher | Predicate | None
    last: str | Matcher | Predicate | None
    tools: str | Matcher | Predicate | None
    tool_result: bool | Matcher | Predicate | None
    turn: int | Matcher | Predicate | None
    headers: Mapping[str, str | Matcher | Predicate] | None
    body: Mapping[str, Any] | None


class Conditions:
    """What a request must be like; without any condition, every request is.

    Conditions with equal fields and matchers are equal, whatever their order: their answers form one sequence. A
    field that is None is no condition. SettingError, with the field's name, for an unknown field and for a value that
    is no condition.
    """

    def __init__(self, **conditions: Any) -> None:
        self._fields: dict[str, Matcher] = {}
        self._headers: dict[str, Matcher] = {}
        self._body: dict[str, Matcher] = {}
        for name, value in conditions.items():
            if value is None:
                continue
            if name in ("headers", "body"):
                if not isinstance(value, Mapping):
                    raise SettingError(f"{name}: expected a mapping of names to values, got {value!r}")
                into = self._headers if name == "headers" else self._body
                for key, inner in value.items():
                    into[str(key)] = _named(f"{name}[{key}]", inner, str if name == "headers" else None)
                    if name == "body":
                        _steps(str(key))
            elif name in FIELDS:
                self._fields[name] = _named(name, value, _KINDS[name])
            else:
                raise SettingError(f"unknown condition {name!r}{nearest(name, (*FIELDS, 'headers', 'body'))}")

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal conditions."""
        return (
            *(("field", name, _identity(matcher)) for name, matcher in sorted(self._fields.items())),
            *(("header", name.lower(), _identity(matcher)) for name, matcher in sorted(self._headers.items())),
            *(("body", name, _identity(matcher)) for name, matcher in sorted(self._body.items())),
        )

    def __str__(self) -> str:
        parts = [f"{name}={matcher}" for name, matcher in self._fields.items()]
        parts += [f"headers[{name}]={matcher}" for name, matcher in self._headers.items()]
        parts += [f"body[{name}]={matcher}" for name, matcher in self._body.items()]
        return ", ".join(parts) or "any request"

    def mismatches(self, exchange: Exchange) -> list[Mismatch]:
        """Every condition that the exchange does not meet; none if the rule is for it."""
        found: list[Mismatch] = []
        for name, matcher in self._fields.items():
            got = FIELDS[name][1](exchange)
            if not (_any_of(got, matcher) if name in _ANY else matcher(got)):
                wanted = matcher.value if matcher.kind == "equals" else None
                found.append(Mismatch(name, str(matcher), _shorten(got), wanted, got))
        for name, matcher in self._headers.items():
            value = exchange.headers.get(name)
            if value is None or not matcher(value):
                found.append(Mismatch(f"headers[{name}]", str(matcher), "absent" if value is None else _shorten(value)))
        if self._body:
            found.extend(self._body_mismatches(exchange))
        return found

    def _body_mismatches(self, exchange: Exchange) -> Iterable[Mismatch]:
        try:
            document = json.loads(exchange.body)
        except (ValueError, RecursionError):
            yield Mismatch("body", "JSON", "something else")
            return
        for path, matcher in self._body.items():
            values = list(_at(document, _steps(path)))
            if not _any_of(values, matcher):
                got = "absent" if not values else _shorten(values[0] if "*" not in _steps(path) else values)
                wanted = matcher.value if matcher.kind == "equals" else None
                yield Mismatch(f"body[{path}]", str(matcher), got, wanted, values[0] if len(values) == 1 else None)


def _named(field: str, value: Any, kind: type | None) -> Matcher:
    """The matcher that a value stands for. SettingError, with the field's name, where it can never match."""
    try:
        matcher = _matcher(field, value)
    except SettingError as error:
        raise SettingError(f"{field}: {error}") from error
    if kind is not None and matcher.kind != "satisfies":
        given = matcher.value
        fits = isinstance(given, kind) and isinstance(given, bool) == (kind is bool)
        if not fits or (kind is not str and matcher.kind != "equals"):
            raise SettingError(f"{field}: expected {_EXPECTED[kind]}, got {matcher}, which can never match")
    return matcher


_EXPECTED: Mapping[type, str] = {
    str: "a text, or a matcher or function of one",
    bool: "true or false",
    int: "a whole number",
}


def _identity(matcher: Matcher) -> tuple[str, str]:
    return matcher.kind, str(id(matcher.value)) if matcher.kind == "satisfies" else repr(matcher.value)


_INDEX = re.compile(r"-?[0-9]{1,9}")
_STEP = re.compile(r"""\.?(?P<name>[^.\[\]"]+)|\[(?P<index>-?[0-9]{1,9}|\*)\]|\["(?P<quoted>[^"]*)"\]""")


def _steps(path: str) -> tuple[str, ...]:
    """The steps of a path such as `tools[0].function.name`; `*` stands for every element.

    Names with dots or brackets are quoted: `metadata["a.b"]`. A `$` in front, as JSONPath has it, is allowed.
    SettingError where it is no path.
    """
    rest = path.removeprefix("$").removeprefix(".") if path.startswith("$") else path
    steps: list[str] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None or (match[0].startswith(".") and not at):
            raise SettingError(f'body: {path!r} is no path: expected names, .name, [0], [*] or ["name"]')
        steps.append(next(part for part in match.groups() if part is not None))
        at = match.end()
    if not steps:
        raise SettingError(f'body: {path!r} is no path: expected names, .name, [0], [*] or ["name"]')
    return tuple(steps)


def _at(document: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    """The values at a path, one for each element where it has a `*`; none where there is nothing."""
    if not steps:
        yield document
        return
    step, rest = steps[0], steps[1:]
    if isinstance(document, dict):
        if step in document:
            yield from _at(document[step], rest)
    elif isinstance(document, list):
        if step == "*":
            for element in document:
                yield from _at(element, rest)
        elif _INDEX.fullmatch(step) and -len(document) <= int(step) < len(document):
            yield from _at(document[int(step)], rest)


def nearest_miss(exchange: Exchange, candidates: Iterable[tuple[str, Conditions]]) -> str:
    """A sentence or two about the rule that came closest, and what differs."""
    ranked = sorted(
        ((len(misses), name, misses) for name, conditions in candidates if (misses := conditions.mismatches(exchange))),
        key=lambda entry: entry[0],
    )
    if not ranked:
        return "no rule is left that could answer it"
    _, name, misses = ranked[0]
    return f"the nearest rule is {name}:\n" + "\n".join(f"  {miss}" for miss in misses)

"""Which requests a rule is for: conditions that can say why a request is not one of them.

A condition never fails silently: a predicate that raises is an error of the rule, not a mismatch.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError, nearest
from mockprovider.exchange import Exchange

__all__ = [
    "FIELDS",
    "Conditions",
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
    """One condition that a request does not meet."""

    field: str
    expected: str
    got: str

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
                    into[str(key)] = _named(f"{name}[{key}]", inner)
            elif name in FIELDS:
                self._fields[name] = _named(name, value)
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
                found.append(Mismatch(name, str(matcher), _shorten(got)))
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
            try:
                value = _at(document, path)
            except LookupError:
                yield Mismatch(f"body[{path}]", str(matcher), "absent")
                continue
            if not matcher(value):
                yield Mismatch(f"body[{path}]", str(matcher), _shorten(value))


def _named(field: str, value: Any) -> Matcher:
    try:
        return _matcher(field, value)
    except SettingError as error:
        raise SettingError(f"{field}: {error}") from error


def _identity(matcher: Matcher) -> tuple[str, str]:
    return matcher.kind, str(id(matcher.value)) if matcher.kind == "satisfies" else repr(matcher.value)


_INDEX = re.compile(r"-?[0-9]{1,9}")


def _at(document: Any, path: str) -> Any:
    """The value at a path such as `tools[0].function.name`. LookupError where there is none."""
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(document, list) and _INDEX.fullmatch(step):
            document = document[int(step)]
        elif isinstance(document, dict):
            document = document[step]
        else:
            raise LookupError(step)
    return document


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

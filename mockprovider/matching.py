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
    """A named test of one value. kind: how `value` is compared."""

    kind: str
    value: Any

    def __call__(self, got: Any) -> bool:
        return _TESTS[self.kind](self.value, got)

    def __str__(self) -> str:
        return f"{self.kind}({self.value!r})" if self.kind != "equals" else repr(self.value)


def _satisfies(predicate: Callable[[Any], Any], got: Any) -> bool:
    try:
        return bool(predicate(got))
    except Exception as error:
        name = getattr(predicate, "__name__", repr(predicate))
        raise SettingError(f"the matcher {name} raised {type(error).__name__}: {error}") from error


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": lambda value, got: bool(value == got),
    "contains": lambda value, got: isinstance(got, str | list | tuple) and value in got,
    "glob": lambda value, got: isinstance(got, str) and fnmatch.fnmatchcase(got, value),
    "regex": lambda value, got: isinstance(got, str) and re.search(value, got) is not None,
    "satisfies": _satisfies,
}


def contains(value: str) -> Matcher:
    """A text that contains `value`, or a list that has it."""
    return Matcher("contains", value)


def equals(value: Any) -> Matcher:
    """Exactly this value."""
    return Matcher("equals", value)


def glob(pattern: str) -> Matcher:
    """A text that matches a shell pattern, such as `gpt-*`; upper and lower case differ."""
    return Matcher("glob", pattern)


def regex(pattern: str) -> Matcher:
    """A text in which a regular expression is found. SettingError if the pattern is none."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise SettingError(f"regex({pattern!r}): {error}") from error
    return Matcher("regex", pattern)


def _matcher(field: str, value: Any) -> Matcher:
    """What a bare value means in a condition: a glob for names, a part for texts, itself for the rest."""
    if isinstance(value, Matcher):
        return value
    if callable(value):
        return Matcher("satisfies", value)
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in ("contains", "equals", "glob", "regex"):
        kind, inner = next(iter(value.items()))
        return regex(inner) if kind == "regex" else Matcher(kind, inner)
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
    """What a request must be like. Conditions with equal text are equal: their answers form one sequence."""

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
                into.update(
                    {str(key): _matcher("header" if name == "headers" else "body", v) for key, v in value.items()}
                )
            elif name in FIELDS:
                self._fields[name] = _matcher(name, value)
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


def _identity(matcher: Matcher) -> tuple[str, str]:
    return matcher.kind, str(id(matcher.value)) if matcher.kind == "satisfies" else repr(matcher.value)


def _at(document: Any, path: str) -> Any:
    """The value at a path such as `tools[0].function.name`. LookupError where there is none."""
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(document, list) and step.lstrip("-").isdigit():
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

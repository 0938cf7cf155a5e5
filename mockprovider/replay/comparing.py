"""Whether a request is the one that was recorded; and if not, what differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mockprovider.errors import SettingError, nearest
from mockprovider.faults.documents import Path
from mockprovider.recording import RecordedRequest

__all__ = ["DEFAULT", "PARTS", "Comparison", "Difference", "Predicate"]

Predicate: TypeAlias = Callable[[RecordedRequest, RecordedRequest], "bool | str | None"]
"""What a user may add: called with the request and the recorded one; False, or a text that says why, is no match."""

PARTS = ("method", "path", "query", "headers", "body")
DEFAULT = ("method", "path", "body")

_SHOWN = 8
"""Differences that are told of one request."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a request differs from a recorded one. place: such as `body.messages[0].content`."""

    place: str
    recorded: str
    asked: str

    def __str__(self) -> str:
        return f"{self.place}: recorded {self.recorded}, asked {self.asked}"


_ABSENT = "nothing"


def _shown(value: Any) -> str:
    text = _canonical(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _canonical(value: Any) -> str:
    """One text for all spellings of a JSON value; 1 and true, which Python takes for equal, stay apart."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _NotJson:
    data: bytes


class Comparison:
    """What requests must have in common with a recorded one.

    match: names of `PARTS`, and predicates; `headers` are those that were recorded. ignore: places in JSON bodies, such
    as `metadata.run` or `messages[*].id`, that do not count. SettingError for anything else.
    """

    def __init__(self, match: Sequence[str | Predicate] = DEFAULT, ignore: Sequence[str] = ()) -> None:
        self._predicates: list[Predicate] = []
        self._parts: list[str] = []
        for one in match:
            if callable(one):
                self._predicates.append(one)
            elif one in PARTS:
                self._parts.append(one)
            else:
                raise SettingError(f"match: unknown part {one!r}{nearest(str(one), PARTS)}")
        try:
            self._ignored = [Path.parse(place) for place in ignore]
        except ValueError:
            raise SettingError(f"ignore: expected places such as messages[*].id, got {list(ignore)!r}") from None

    def key(self, request: RecordedRequest) -> tuple[str, ...]:
        """Equal for requests that match by the named parts; headers are compared apart."""
        return tuple(self._text(part, request) for part in self._parts if part != "headers")

    def _text(self, part: str, request: RecordedRequest) -> str:
        if part != "body":
            return str(getattr(request, part))
        document = self._document(request)
        return f"raw {document.data!r}" if isinstance(document, _NotJson) else _canonical(document)

    def _document(self, request: RecordedRequest) -> Any:
        try:
            document = json.loads(request.body)
        except (ValueError, RecursionError):
            return _NotJson(request.body)
        for path in self._ignored:
            # From the last to the first, so that taking an item out of a list does not move the others.
            for owner, key, _ in reversed(list(path.places(document))):
                if isinstance(owner, list) or key in owner:
                    del owner[key]
        return document

    def besides(self, request: RecordedRequest, recorded: RecordedRequest) -> list[Difference]:
        """What differs in what `key` does not tell: headers, and whatever the predicates look at."""
        found = list(self._headers(request, recorded)) if "headers" in self._parts else []
        for predicate in self._predicates:
            name = str(getattr(predicate, "__name__", type(predicate).__name__))
            try:
                said = predicate(request, recorded)
            except Exception as error:
                raise SettingError(f"match: {name} raised {type(error).__name__}: {error}") from error
            if isinstance(said, str):
                found.append(Difference(name, "another one", said))
            elif not said:
                found.append(Difference(name, "another one", "this is not it"))
        return found

    def differences(self, request: RecordedRequest, recorded: RecordedRequest) -> list[Difference]:
        """All that differs; nothing where the request matches."""
        found: list[Difference] = []
        for part in self._parts:
            if part in ("method", "path", "query"):
                was, asked = getattr(recorded, part), getattr(request, part)
                if was != asked:
                    found.append(Difference(part, was or _ABSENT, asked or _ABSENT))
            elif part == "body":
                found += _unlike("body", self._document(recorded), self._document(request))
        return found + self.besides(request, recorded)

    def explain(self, request: RecordedRequest, candidates: Sequence[tuple[str, RecordedRequest]]) -> str:
        """A few lines about the candidate, by name, that comes closest, and what differs; for such as do not match."""
        if not candidates:
            return "there are no recordings"
        ranked = [(self.differences(request, recorded), name) for name, recorded in candidates]
        # Another endpoint is further away than any other body.
        found, name = min(
            ranked, key=lambda one: (sum(each.place in ("method", "path") for each in one[0]), len(one[0]))
        )
        lines = [f"  {difference}" for difference in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more")
        return f"the nearest recording is {name}:\n" + "\n".join(lines)

    @staticmethod
    def _headers(request: RecordedRequest, recorded: RecordedRequest) -> Iterator[Difference]:
        for name, value in recorded.headers:
            asked = request.header(name)
            if asked != value:
                yield Difference(f"headers.{name.lower()}", value, _ABSENT if asked is None else asked)


def _unlike(place: str, recorded: Any, asked: Any) -> Iterator[Difference]:
    """Where two documents differ, the deepest places."""
    if isinstance(recorded, _NotJson) or isinstance(asked, _NotJson):
        if recorded != asked:
            yield Difference(place, _raw(recorded), _raw(asked))
    elif isinstance(recorded, dict) and isinstance(asked, dict):
        for key in dict.fromkeys([*recorded, *asked]):
            inner = f"{place}.{key}"
            if key not in asked:
                yield Difference(inner, _shown(recorded[key]), _ABSENT)
            elif key not in recorded:
                yield Difference(inner, _ABSENT, _shown(asked[key]))
            else:
                yield from _unlike(inner, recorded[key], asked[key])
    elif isinstance(recorded, list) and isinstance(asked, list):
        yield from _unlike_items(place, recorded, asked)
    elif _canonical(recorded) != _canonical(asked):
        yield Difference(place, _shown(recorded), _shown(asked))


def _unlike_items(place: str, recorded: list[Any], asked: list[Any]) -> Iterator[Difference]:
    for index in range(max(len(recorded), len(asked))):
        inner = f"{place}[{index}]"
        if index >= len(asked):
            yield Difference(inner, _shown(recorded[index]), _ABSENT)
        elif index >= len(recorded):
            yield Difference(inner, _ABSENT, _shown(asked[index]))
        else:
            yield from _unlike(inner, recorded[index], asked[index])


def _raw(body: Any) -> str:
    if not isinstance(body, _NotJson):
        return _shown(body)
    if not body.data:
        return _ABSENT
    return f"{len(body.data)} bytes that are no JSON, {body.data[:60]!r}"

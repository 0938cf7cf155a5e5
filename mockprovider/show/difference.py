"""What differs between two recordings: in the request, the head, the events, the text, the timing and the ending.

What differs each time that the same thing is asked, such as ids, dates and rate limits, is passed over unless all is
wanted, and so are times that are close.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any

from mockprovider.recording import RecordedRequest
from mockprovider.show.events import NOT_JSON
from mockprovider.show.plot import seconds
from mockprovider.show.terminal import ENDINGS
from mockprovider.show.view import View

__all__ = ["PARTS", "differences"]

PARTS = ("request", "head", "events", "text", "timing", "ending")
_CLOSE = 0.2
"""Times that differ by less than this part of the longer one, or by less than 5 ms, are the same."""
_MOST = 20
"""Lines of one part: the rest is counted."""

_PASSING_HEADERS = re.compile(
    r"date|age|.*request-?id|.*trace-?id|.*correlation-id|cf-ray|set-cookie|.*rate-?limit.*|.*processing-ms|traceparent"
    r"|x-envoy-.*|server-timing|content-length|x-generation-id|.*-region|via|x-cache|report-to|alt-svc|expires|etag"
)
_PASSING_KEYS = re.compile(
    r"(.*_)?(id|ids)|responseId|created(_at)?|completed_at|createTime|system_?fingerprint|obfuscation|p|signature"
    r"|.*duration|encrypted_content|thoughtSignature|x_groq|timings"
)


def differences(one: View, other: View, *, everything: bool = False) -> dict[str, list[str]]:
    """Lines for each of PARTS, none where it is the same. everything: also what differs each time."""
    found = {
        "request": _request(one.recording.request, other.recording.request),
        "head": _head(one, other, everything),
        "events": _events(one, other, everything),
        "text": _text(one.answer.said, other.answer.said),
        "timing": _timing(one, other, 0.0 if everything else _CLOSE),
        "ending": _ending(one, other),
    }
    return {name: _short(list(lines)) for name, lines in found.items()}


def _short(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"… and {len(lines) - _MOST} more"]


def _changed(what: str, one: object, other: object) -> Iterator[str]:
    if one != other:
        yield f"{what}: {_value(one)} → {_value(other)}"


def _value(value: object) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _request(one: RecordedRequest, other: RecordedRequest) -> Iterator[str]:
    yield from _changed("method", one.method, other.method)
    yield from _changed("target", one.target, other.target)
    yield from _headers(one.headers, other.headers, None)
    if one.body == other.body:
        return
    try:
        bodies: tuple[Any, Any] = one.json, other.json
    except ValueError:
        yield f"body: {len(one.body)} bytes → {len(other.body)} bytes"
        return
    yield from _documents("body", *bodies)


def _headers(
    one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...], passing: re.Pattern[str] | None
) -> Iterator[str]:
    mine, theirs = _by_name(one), _by_name(other)
    for name in dict.fromkeys([*mine, *theirs]):
        if passing is None or not passing.fullmatch(name):
            yield from _changed(name, mine.get(name), theirs.get(name))


def _by_name(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
    return found


def _documents(path: str, one: Any, other: Any) -> Iterator[str]:
    """Where two documents differ, member by member. (1 and true are not the same.)"""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if key not in one or key not in other:
                yield f"{path}.{key}: {_value(one[key]) if key in one else 'absent'} → " + (
                    _value(other[key]) if key in other else "absent"
                )
            else:
                yield from _documents(f"{path}.{key}", one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{path}: {len(one)} elements → {len(other)}"
        for number, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            yield from _documents(f"{path}[{number}]", mine, theirs)
    elif type(one) is not type(other) or one != other:
        yield f"{path}: {_value(one)} → {_value(other)}"


def _head(one: View, other: View, everything: bool) -> Iterator[str]:
    mine, theirs = one.recording.head, other.recording.head
    if mine is None or theirs is None:
        yield from _changed("head", *("there" if head is not None else "none" for head in (mine, theirs)))
        return
    yield from _changed("status", f"{mine.status} {mine.reason}", f"{theirs.status} {theirs.reason}")
    yield from _changed("version", mine.version, theirs.version)
    yield from _headers(mine.headers, theirs.headers, None if everything else _PASSING_HEADERS)


# ---------------------------------------------------------------------------------------------- events


def _events(one: View, other: View, everything: bool) -> Iterator[str]:
    yield from _changed("framing", one.framing, other.framing)
    yield from _changed("dialect", one.dialect, other.dialect)
    yield from _changed("names", _names(one), _names(other))
    yield from _changed("comments", _number(one, "comment"), _number(other, "comment"))
    yield from _changed("unreadable pieces", _number(one, "rest"), _number(other, "rest"))
    if everything:
        yield from _changed("events", _number(one, "event"), _number(other, "event"))
    mine, theirs = _paths(one), _paths(other)
    for path in sorted(set(mine) - set(theirs)):
        yield f"only in the first: {path}"
    for path in sorted(set(theirs) - set(mine)):
        yield f"only in the second: {path}"
    for path in sorted(set(mine) & set(theirs)):
        values = mine[path], theirs[path]
        passing = _PASSING_KEYS.fullmatch(path.rpartition(".")[2].rstrip("[]"))
        # What is the same in all events of each, such as a model's name; what varies within one is content.
        if all(len(each) == 1 for each in values) and (everything or not passing) and not _is_said(path):
            yield from _changed(path, *(json.loads(next(iter(each))) for each in values))


_SAID = re.compile(
    r".*\.(content|text|delta|arguments|partial_json|thinking|reasoning(_content)?|response|refusal|value)"
)


def _is_said(path: str) -> bool:
    """Whether it is text of the model, or a count of its tokens, which the other parts tell of."""
    return _SAID.fullmatch(path) is not None or re.search(r"token|_count|Count|usage", path) is not None


def _number(seen: View, kind: str) -> int:
    return sum(event.kind == kind for event in seen.events)


def _names(seen: View) -> list[str]:
    """The names of the events, each once, in the order of their first."""
    return list(dict.fromkeys(event.name for event in seen.events if event.name is not None))


def _paths(seen: View) -> dict[str, set[str]]:
    """Every path in the payloads, with the scalars that stand there, as JSON."""
    found: dict[str, set[str]] = {}
    for event in seen.events:
        if event.document is not NOT_JSON:
            _walk(f"{event.name or ''}$", event.document, found)
    return found


def _walk(path: str, value: Any, found: dict[str, set[str]]) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _walk(f"{path}.{key}", member, found)
    elif isinstance(value, list):
        for member in value:
            _walk(f"{path}[]", member, found)
    else:
        found.setdefault(path, set()).add(json.dumps(value))


# ---------------------------------------------------------------------------------------------- the rest


def _text(one: str, other: str) -> Iterator[str]:
    if one == other:
        return
    lines = list(difflib.unified_diff(one.split("\n"), other.split("\n"), "first", "second", lineterm="", n=1))
    yield from (line for line in lines[2:] if not line.startswith("@@"))


def _timing(one: View, other: View, close: float) -> Iterator[str]:
    if not (one.timed and other.timed):
        return
    percents = (50, 90) if close else (50, 90, 99)  # the slowest of a hundred differs each time
    rows = [("TTFT", one.timing.ttft, other.timing.ttft), ("total", one.timing.end, other.timing.end)]
    rows += [(f"ITL p{percent}", one.timing.itl(percent), other.timing.itl(percent)) for percent in percents]
    for name, mine, theirs in rows:
        if mine is None or theirs is None:
            if mine is not theirs:
                yield f"{name}: {_time(mine)} → {_time(theirs)}"
            continue
        apart = abs(mine - theirs)
        if apart > close * max(mine, theirs) and apart > (0.005 if close else 0.0):
            yield f"{name}: {_time(mine)} → {_time(theirs)}"
    yield from _changed("stalls", len(one.timing.stalls), len(other.timing.stalls))


def _time(value: float | None) -> str:
    return "none" if value is None else seconds(value)


def _ending(one: View, other: View) -> Iterator[str]:
    yield from _changed("ending", ENDINGS[one.recording.ending], ENDINGS[other.recording.ending])
    words = {True: "there", False: "missing", None: "unknown"}
    yield from _changed("terminator", words[one.ended], words[other.ended])

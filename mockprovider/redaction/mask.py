"""A mask over a stream: its output is as long as its input, and nothing is held back.

It remembers the last bytes that it has seen, so a key that is split over two writes is recognised with the second. What
the first brought of it before it could be known as a key stays: at most the beginning that makes it one, or seven bytes
of a known text. Base64 is looked through too, in each of its alignments. The time is linear: a run of token characters
is measured once.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote

from mockprovider.redaction.rules import KEY_FIELDS, KEY_PARAMETERS, Rules

__all__ = ["MARK", "Finder", "Mask", "finder"]

MARK = b"X"
"""What stands for each byte that was removed: legal in JSON texts, URLs, headers and base64."""

LEAD = 7
"""Bytes of a known text that must have come before it counts as one that is still coming."""

_KEEP = 320
"""Bytes that a mask remembers at least: a key of that length is recognised whole, however it is cut."""

_SHORT = 3
"""Bytes that a text has at least to be looked for."""

_ACCOUNTS = (b"org-", b"proj_")
_PEM_LEAD = b"PRIVATE KEY-----"

_RUN64 = 16
"""Characters that a run of base64 has at least to be looked through: nine bytes."""

_TOKEN = re.compile(rb"[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_TOKEN68 = re.compile(rb"[A-Za-z0-9_.~+/=-]*")
_TEXT = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_INNER_TEXT = re.compile(rb'[^"\\]*(?:\\(?!").[^"\\]*)*', re.DOTALL)
_VALUE = re.compile(rb"[^&\s\"'<>#\\]*")
_PEM = re.compile(rb"[^-]*")
_USER = re.compile(rb"[^@/\s\"]*")
_IN64 = re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % _RUN64)
_ANY64 = re.compile(rb"[A-Za-z0-9+/=_-]*")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_ESCAPED = re.compile(rb"(?:%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[nrtbf])\Z")
_RUNS = {
    "prefix": _TOKEN, "bearer": _TOKEN68, "field": _TEXT, "inner": _INNER_TEXT, "parameter": _VALUE, "user": _USER,
}  # fmt: skip

_FIELD = f"(?=[{''.join(sorted({field[0] + field[0].upper() for field in KEY_FIELDS}))}])(?i:{'|'.join(KEY_FIELDS)})"
_ACCOUNT = re.compile(rb"[A-Za-z0-9]{8}")
"""What follows `org-` and `proj_` where it is no word of a text."""


class Finder:
    """Finds secrets in bytes. literals: known texts, in UTF-8."""

    def __init__(self, rules: Rules, literals: tuple[bytes, ...]) -> None:
        known = {text for literal in literals for text in _spellings(literal) if len(literal) >= _SHORT}
        self._literals: dict[bytes, list[bytes]] = {}
        for text in sorted(known):
            lead = text[:LEAD] if len(text) > LEAD + 1 else text
            self._literals.setdefault(lead, []).append(text)
        self.keep = max(_KEEP, *(len(text) * 4 // 3 + 8 for text in known)) if known else _KEEP
        # Most beginnings end in a mark that is rare in texts and in base64: finding the marks first is much faster.
        prefixes = [prefix.encode() for prefix in rules.prefixes]
        words = [prefix for prefix in prefixes if prefix[-1:].isalnum() or len(prefix) < _SHORT]
        self._by_end: dict[bytes, list[bytes]] = {}
        for prefix in (*_ACCOUNTS, _PEM_LEAD, *(prefix for prefix in prefixes if prefix not in words)):
            self._by_end.setdefault(prefix[-2:], []).append(prefix)
        marks = {prefix[-1:] for each in self._by_end.values() for prefix in each}
        kinds = {
            "mark": f"[{re.escape(b''.join(sorted(marks)).decode())}]",
            "prefix": "|".join(re.escape(word.decode()) for word in words),
            "bearer": "[Bb]earer(?: |%20)",
            "field": rf'"{_FIELD}"\s*:\s*"',
            "inner": rf'\\"{_FIELD}\\"\s*:\s*\\"',  # JSON in a text of JSON
            "parameter": rf"[?&](?i:{'|'.join(KEY_PARAMETERS)})=",
            "user": r"://(?=[^@/\s\"]*@)",
        }
        named = [f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()]
        # The class of first characters lets the search skip; alternatives in groups do not.
        firsts = re.escape(b"".join(sorted({*marks, *(word[:1] for word in words)})).decode())
        self._leads = re.compile(f'(?=[{firsts}Bb"\\\\?&:])(?:{"|".join(named)})'.encode())
        # A lead of a known text may stand inside another lead, so these are looked for by themselves.
        self._known = re.compile(b"|".join(map(re.escape, self._literals))) if self._literals else None

    def spans(self, data: bytes, *, begins: bool) -> Iterator[tuple[int, int, re.Pattern[bytes] | None]]:
        """(begin, end, what it goes on with if the data ends there). begins: whether nothing came before the data."""
        yield from self._plain(data, begins)
        for run in _IN64.finditer(data):
            yield from self._within(run.start(), run[0])

    def _plain(self, data: bytes, begins: bool) -> Iterator[tuple[int, int, re.Pattern[bytes] | None]]:
        ends: dict[re.Pattern[bytes], int] = {}
        for match in self._leads.finditer(data):
            kind, begin = match.lastgroup or "", match.end()
            if kind == "mark":
                run, begin = self._marked(data, begin, begins)
            elif kind in ("prefix", "bearer") and not _at_word(data, match.start(), begins):
                continue
            else:
                run = _RUNS[kind]
            if run is not None and begin > ends.get(run, -1):
                end = run.match(data, begin).end()  # type: ignore[union-attr]  # it matches nothing, at least
                ends[run] = end
                yield begin, end, run
        at = 0
        while self._known is not None and (known := self._known.search(data, at)) is not None:
            lead, at = known[0], known.start()
            matched = max(_common(data, at, text) for text in self._literals[lead])
            if matched:
                yield at, at + matched, None
            at += matched or 1

    def _marked(self, data: bytes, end: int, begins: bool) -> tuple[re.Pattern[bytes] | None, int]:
        """What is secret after the mark that ends there, and from where on; None where nothing is."""
        for prefix in self._by_end.get(data[end - 2 : end], ()):
            if not data.endswith(prefix, 0, end) or not _at_word(data, end - len(prefix), begins):
                continue
            if prefix in _ACCOUNTS:
                known = _ACCOUNT.match(data, end)
                return (_TOKEN, known.end()) if known is not None else (None, end)
            return _PEM if prefix == _PEM_LEAD else _TOKEN, end
        return None, end

    def _within(self, start: int, run: bytes) -> Iterator[tuple[int, int, re.Pattern[bytes] | None]]:
        """The secrets in base64, in each alignment, for a run may begin with what is none: a path, for example."""
        run = run.translate(_URL_SAFE)
        for phase in range(4):
            part = run[phase:]
            if len(part) % 4 == 1:
                part = part[:-1]
            try:
                decoded = base64.b64decode(part + b"=" * (-len(part) % 4))
            except binascii.Error:
                continue
            for begin, end, _ in self._plain(decoded, begins=True):
                # What precedes a key in base64 is masked with it where both share a character.
                first, last = phase + begin * 8 // 6, phase + -(-end * 8 // 6)
                last = len(run) if end == len(decoded) else last
                if end > begin:
                    yield start + first, start + last, _ANY64 if last - first > _KEEP // 2 else None


def _common(data: bytes, at: int, text: bytes) -> int:
    """How much of the text stands there: all of it, as much as has come, or nothing."""
    there = data[at : at + len(text)]
    return len(there) if text.startswith(there) else 0


def _at_word(data: bytes, at: int, begins: bool) -> bool:
    if not at:
        return begins
    before = data[at - 1 : at]
    return not before.isalnum() or _ESCAPED.search(data, max(0, at - 6), at) is not None


def _spellings(literal: bytes) -> set[bytes]:
    """A text as it stands by itself, in JSON, and in a URL."""
    text = literal.decode("utf-8", "surrogateescape")
    found = {literal, quote(literal, safe="").encode()}
    found.add(json.dumps(text)[1:-1].encode())
    found.add(json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape"))
    return found


@lru_cache(maxsize=64)
def finder(rules: Rules, literals: tuple[bytes, ...]) -> Finder:
    """The finder for these; made once."""
    return Finder(rules, literals)


class Mask:
    """Masks a stream. Feed it what comes; each answer is as long as what was fed."""

    def __init__(self, found_by: Finder) -> None:
        self._finder = found_by
        self._tail = b""
        self._begins = True  # whether the tail is all that has come
        self._open: re.Pattern[bytes] | None = None

    def feed(self, data: bytes) -> bytes:
        """The data with what is secret in it masked."""
        if not data:
            return data
        window = self._tail + data
        seen = len(self._tail)
        masked: bytearray | None = None
        going, self._open = self._open, None
        if going is not None:
            end = going.match(data).end()  # type: ignore[union-attr]  # it matches nothing, at least
            masked = bytearray(data)
            masked[:end] = MARK * end
            self._open = going if end == len(data) else None
        for begin, end, run in self._finder.spans(window, begins=self._begins):
            if end > seen:
                masked = masked if masked is not None else bytearray(data)
                first = max(begin, seen) - seen
                masked[first : end - seen] = MARK * (end - seen - first)
            if end == len(window) and run is not None:
                self._open = run
        self._begins = self._begins and len(window) <= self._finder.keep
        self._tail = window[-self._finder.keep :]
        return data if masked is None else bytes(masked)

    def flush(self) -> bytes:
        """What is still to come: nothing, for nothing is held back."""
        return b""

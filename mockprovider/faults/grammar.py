"""The one grammar of faults and cases: `stall(after=3,seconds=0.2)+sse-crlf`.

    chain = call *( "+" call )
    call  = name [ "(" [ setting *( "," setting ) ] ")" ]
    setting = key "=" value
    value = JSON value | word            ; a word is anything without , ( ) + and quotes: 50%, 2events, 1..3, true

In a URL the chain is one path segment whose values are percent-encoded; see `from_segment` and `to_segment`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from mockprovider.errors import SettingError

__all__ = ["Call", "from_segment", "parse", "to_segment"]

_NAME = re.compile(r"[@a-z0-9][a-z0-9_.-]*")
_KEY = re.compile(r"[a-z_]+")
_WORD = re.compile(r"[^\s,()+\"'\[\]{}=][^,()+\"'\[\]{}=]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Call:
    """A name with its settings, as they were written."""

    name: str
    settings: dict[str, Any]


def parse(text: str) -> list[Call]:
    """The calls of a chain. SettingError shows where the text stops making sense."""
    reader = _Reader(text)
    calls = [reader.call()]
    while reader.take("+"):
        calls.append(reader.call())
    reader.end()
    return calls


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def call(self) -> Call:
        name = self._match(_NAME, "a name")
        settings: dict[str, Any] = {}
        if self.take("(") and not self.take(")"):
            while True:
                key = self._match(_KEY, "a setting")
                if key in settings:
                    raise self._error(f"{key} is set twice")
                if not self.take("="):
                    raise self._error(f"expected = after {key}")
                settings[key] = self._value()
                if self.take(")"):
                    break
                if not self.take(","):
                    raise self._error("expected , or )")
        return Call(name, settings)

    def take(self, mark: str) -> bool:
        self._space()
        if self.text.startswith(mark, self.place):
            self.place += len(mark)
            return True
        return False

    def end(self) -> None:
        self._space()
        if self.place < len(self.text):
            raise self._error("expected + or the end")

    def _space(self) -> None:
        while self.place < len(self.text) and self.text[self.place] == " ":
            self.place += 1

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        self._space()
        match = pattern.match(self.text, self.place)
        if match is None:
            raise self._error(f"expected {what}")
        self.place = match.end()
        return match[0]

    def _value(self) -> Any:
        self._space()
        if self.text[self.place : self.place + 1] in ('"', "[", "{"):
            try:
                value, self.place = _DECODER.raw_decode(self.text, self.place)
            except ValueError as error:
                raise self._error(f"no JSON value: {error}") from None
            return value
        word = self._match(_WORD, "a value").strip()
        if word in ("true", "false", "null"):
            return json.loads(word)
        try:
            return int(word)
        except ValueError:
            pass
        try:
            return float(word)
        except ValueError:
            return word

    def _error(self, message: str) -> SettingError:
        return SettingError(f"{message} at {self.text[: self.place]!r} <here> {self.text[self.place :]!r}")


def from_segment(segment: str) -> str:
    """The chain that a path segment of a URL says."""
    return unquote(segment)


def to_segment(chain: str) -> str:
    """The chain as a path segment, readable where it can be."""
    return quote(chain, safe="()+=,@~-._")

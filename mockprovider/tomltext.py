"""What `tomllib` does not do: tell where in a TOML text (v1.0.0) each key and each element stands, and write one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

__all__ = ["Path", "Place", "places", "written"]

Path: TypeAlias = tuple[str | int, ...]
"""Keys of tables and indices of arrays, from the top: `("rule", 1, "match", "model")`."""

Place: TypeAlias = tuple[int, int]
"""Line and column, both from 1; columns count characters."""

_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"{3,5}|\'\'\'[\s\S]*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
)  # a multi-line string may end with one or two quotes of its own before the three that close it
_PLAIN = re.compile(r"[^,\]}#\n\r]*")


def places(text: str) -> Mapping[Path, Place]:
    """The place of every key and element by its path; that of a table is its first header's or key's."""
    return _Reader(text).read()


class _Reader:
    """The text is known to be valid: `tomllib` has read it. So this reads on without asking what is allowed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}  # of the arrays of tables
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def read(self) -> dict[Path, Place]:
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)
        return {path: self._place(offset) for path, offset in self._found.items()}

    def _place(self, offset: int) -> Place:
        # The number of line ends before it; few files are long enough to need a bisection.
        line = sum(start <= offset for start in self._starts)
        return line, offset - self._starts[line - 1] + 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "tomllib has read this text"
        self._at = match.end()
        return match[0]

    def _note(self, path: Path, offset: int) -> None:
        self._found.setdefault(path, offset)

    def _header(self) -> Path:
        """A `[table]` or `[[element]]`; the path that the pairs below it have."""
        start = self._at
        many = self._text.startswith("[[", start)
        self._at += 2 if many else 1
        keys = [key for key, _ in self._keys()]
        self._at = self._text.index("]", self._at) + (2 if many else 1)
        path: Path = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            self._note(path, start)
            last = index == len(keys) - 1
            if many and last:
                self._lengths[path] = self._lengths.get(path, 0) + 1
            if path in self._lengths:  # a header names the newest element of an array
                path = (*path, self._lengths[path] - 1)
                self._note(path, start)
        return path

    def _keys(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, and where each stands."""
        keys: list[tuple[str, int]] = []
        while True:
            self._skip(_BLANK)
            offset = self._at
            if self._text[offset] in "\"'":
                keys.append((_unquoted(self._skip(_STRING)), offset))
            else:
                keys.append((self._skip(_BARE_KEY), offset))
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _pair(self, table: Path) -> None:
        path = table
        for key, offset in self._keys():
            path = (*path, key)
            self._note(path, offset)
        self._at = self._text.index("=", self._at) + 1
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._members(path, "]")
        elif first == "{":
            self._members(path, "}")
        else:
            self._skip(_PLAIN)

    def _members(self, path: Path, closing: str) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self._at += 1
        index = 0
        while True:
            self._skip(_SPACE)
            if self._text[self._at] == ",":
                self._at += 1
                continue
            if self._text[self._at] == closing:
                self._at += 1
                return
            if closing == "}":
                self._pair(path)
            else:
                self._note((*path, index), self._at)
                self._value((*path, index))
                index += 1


def _unquoted(key: str) -> str:
    if key.startswith("'"):
        return key[1:-1]
    import tomllib

    return str(tomllib.loads(f"k = {key}")["k"])


def written(document: Mapping[str, Any]) -> str:
    """The document as TOML; lists of tables at its top become tables `[[name]]`. TypeError for what TOML has not."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in document.items() if not _tables(value)]
    for key, value in document.items():
        for table in value if _tables(value) else ():
            lines += ["", f"[[{_key(key)}]]", *(f"{_key(name)} = {_value(member)}" for name, member in table.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if (character < " " and character != "\t") or character == "\x7f":
        return f"\\u{ord(character):04X}"
    return character


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_members(value)) + " }" if value else "{}"
    raise TypeError(f"TOML has no {type(value).__name__}: {value!r}")


def _members(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None)

"""Texts with gaps, in which the table of flavours shows what a provider sends.

A template is what was recorded, with tags in the place of what varies:

* `{{name}}`: a value as JSON, quotes included; in a header, as plain text; or another template of the row, put there
* `{{#flag}}…{{/flag}}`: only where the flag is set; `{{^flag}}…{{/flag}}`: only where it is not

Tags look like Mustache's, of which this is a small part. Order of fields, spaces and line ends are the template's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mockprovider.errors import SettingError

__all__ = ["Flat", "Run", "Template"]

_TAG = re.compile(r"\{\{([#^/]?)([a-z0-9_]+)\}\}")


@dataclass(frozen=True, slots=True)
class _Value:
    name: str


@dataclass(frozen=True, slots=True)
class _Section:
    flag: str
    wanted: bool
    inner: tuple[_Node, ...]


_Node: TypeAlias = "str | _Value | _Section"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Neighbouring parts that are the same in all of an exchange: fixed bytes, and names of such values."""

    parts: tuple[bytes | str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """A template for one set of flags: fixed bytes, runs, and the names of values that an event brings, in order.

    names: of those values; uncounted: characters of fixed text in `{{#uncounted}}`, which a padding does not see.
    """

    parts: tuple[bytes | Run | str, ...]
    names: frozenset[str]
    uncounted: int


class Template:
    """One text of the table, parsed. SettingError where its tags do not fit together; where: what to call it then."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self._where = where
        self._after = ""
        pieces = iter(_TAG.split(text))
        self._nodes = self._read(pieces, next(pieces), None)

    def __str__(self) -> str:
        return self._where

    def _read(self, pieces: Iterator[str], text: str, within: str | None) -> tuple[_Node, ...]:
        nodes: list[_Node] = [text]
        for mark in pieces:
            name, after = next(pieces), next(pieces)
            if mark == "/":
                if name != within:
                    raise SettingError(f"{self._where}: {{{{/{name}}}}} closes what is not open")
                self._after = after
                return tuple(nodes)
            if mark:
                inner = self._read(pieces, after, name)
                nodes += [_Section(name, mark == "#", inner), self._after]
            else:
                nodes += [_Value(name), after]
        if within is not None:
            raise SettingError(f"{self._where}: {{{{#{within}}}}} is never closed")
        return tuple(nodes)

    @property
    def tags(self) -> tuple[set[str], set[str]]:
        """The names of all its values, and of all its flags."""
        values: set[str] = set()
        flags: set[str] = set()

        def visit(nodes: tuple[_Node, ...]) -> None:
            for node in nodes:
                if isinstance(node, _Value):
                    values.add(node.name)
                elif isinstance(node, _Section):
                    flags.add(node.flag)
                    visit(node.inner)

        visit(self._nodes)
        return values, flags

    def flat(
        self,
        flags: frozenset[str],
        partial: Callable[[str], Template | None] = lambda name: None,
        lasting: Callable[[str], bool] = lambda name: False,
        known: dict[tuple[bytes | str, ...], Run] | None = None,
    ) -> Flat:
        """What is left for these flags.

        partial: the template that a name stands for, or None where it is a value; lasting: whether a value is the same
        in all of an exchange; known: runs that other templates have, so that equal ones are one.
        """
        found: list[bytes | str] = []
        uncounted = _flatten(self._nodes, flags, partial, found)
        parts: list[bytes | Run | str] = []
        run: list[bytes | str] = []
        shared = {} if known is None else known

        def close() -> None:
            if len(run) == 1 and isinstance(run[0], bytes):
                parts.append(run[0])
            elif run:
                key = tuple(run)
                parts.append(shared.setdefault(key, Run(key)))
            run.clear()

        for part in found:
            before = run[-1] if run else None
            if not part:
                continue
            if isinstance(part, bytes) and isinstance(before, bytes):
                run[-1] = before + part
            elif isinstance(part, bytes) or lasting(part):
                run.append(part)
            else:
                close()
                parts.append(part)
        close()
        return Flat(tuple(parts), frozenset(part for part in parts if isinstance(part, str)), uncounted)


def _flatten(
    nodes: tuple[_Node, ...],
    flags: frozenset[str],
    partial: Callable[[str], Template | None],
    parts: list[bytes | str],
) -> int:
    uncounted = 0
    for node in nodes:
        if isinstance(node, str):
            parts.append(node.encode())
        elif isinstance(node, _Section):
            if node.flag == "uncounted":
                start = len(parts)
                _flatten(node.inner, flags, partial, parts)
                uncounted += sum(len(part) for part in parts[start:] if isinstance(part, bytes))
            elif (node.flag in flags) == node.wanted:
                uncounted += _flatten(node.inner, flags, partial, parts)
        elif (inner := partial(node.name)) is not None:
            uncounted += _flatten(inner._nodes, flags, partial, parts)
        else:
            parts.append(node.name)
    return uncounted

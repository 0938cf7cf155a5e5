"""Which endpoint a request is for: the paths of all dialects, as one table.

A path without parameters costs one look into a dict. Patterns are tried after those, the one with the most fixed text
first: `/v1/models/{model}:generateContent` comes before `/v1/models/{model*}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

if TYPE_CHECKING:
    from mockprovider.dialects.base import Dialect

__all__ = ["GET", "PLAIN", "Endpoint", "Match", "Table", "Target"]

GET = ("GET", "HEAD")
"""The methods of a document that is only read."""

_PARAMETER = re.compile(r"\{([a-z_]+)(\*?)\}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path at which a dialect answers.

    path: as in a URL; `{name}` stands for some text without a slash, `{name*}` for text with or without. methods: those
    that are answered. prompt: whether a model's reply is asked for there; else a document answers at once, see
    `Dialect.document`. header: the endpoint is only for requests that carry this header, and comes before any other at
    the same path: so several providers share `/v1/models`.
    """

    path: str
    methods: tuple[str, ...] = ("POST",)
    prompt: bool = True
    header: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is for, as its URL says it.

    path: without the prefixes that choose namespace and faults; query: the text after `?`, as it came; params: what
    stands for the parameters of the endpoint's path, by name, percent-decoded; endpoint: that path, as in `Endpoint`.
    """

    path: str = ""
    query: str = ""
    params: Mapping[str, str] = field(default_factory=dict, compare=False)
    endpoint: str = ""

    def asked(self, name: str) -> str | None:
        """The last value that the query gives this name; None where it gives none."""
        if not self.query:
            return None
        values = parse_qs(self.query, keep_blank_values=True).get(name)
        return None if values is None else values[-1]

    @property
    def identity(self) -> bytes:
        """What of the URL makes a request another one, besides its body: a path with parameters, or nothing."""
        return self.path.encode("utf-8", "surrogatepass") if self.params else b""


PLAIN = Target()
"""In place of a target where nothing of the URL matters."""


@dataclass(frozen=True, slots=True)
class Match:
    """The endpoint that was found for a request. allowed: the methods that are answered at its path."""

    dialect: Dialect
    endpoint: Endpoint
    params: Mapping[str, str]
    allowed: tuple[str, ...]


Candidate = tuple["Dialect", Endpoint, Mapping[str, str]]


class Table:
    """The endpoints of some dialects. The first of them words errors where the path tells nothing."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.dialects = tuple(dialects)
        rows = [(dialect, endpoint) for dialect in self.dialects for endpoint in dialect.endpoints]
        rows.sort(key=lambda row: _rank(row[1]))
        self._rows = [(_pattern(endpoint.path), dialect, endpoint) for dialect, endpoint in rows]
        self._candidates = lru_cache(maxsize=1024)(self._matching)
        exact = [(dialect, endpoint.path) for dialect, endpoint in rows if "{" not in endpoint.path]
        # What needs neither method nor headers to be found, which is what prompts are sent to.
        self._alone = {path: found for _, path in exact if (found := self._only(path)) is not None}
        above = [(path + "/", dialect) for dialect, path in exact]
        above += [(prefix, dialect) for dialect in self.dialects for prefix in dialect.below]
        self._above = sorted(above, key=lambda row: -len(row[0]))

    def find(self, method: str, path: str, headers: Mapping[str, str]) -> Match | None:
        """The endpoint for such a request; one that does not answer the method where none does; None for no path."""
        alone = self._alone.get(path)
        if alone is not None:
            return alone
        for _, first, _ in (found := self._candidates(path)):
            if first.header is None or first.header in headers:
                same = [row for row in found if row[1].path == first.path and row[1].header == first.header]
                dialect, endpoint, params = next((row for row in same if method in row[1].methods), same[0])
                return Match(dialect, endpoint, params, tuple(name for row in same for name in row[1].methods))
        return None

    def target(self, path: str, query: str, match: Match | None) -> Target:
        """What a request is for, once its endpoint is known."""
        if match is None:
            return Target(path, query)
        if not query and not match.params:
            return _plain(path, match.endpoint.path)
        return Target(path, query, match.params, match.endpoint.path)

    def worded(self, path: str) -> Dialect:
        """Whose shape an error has on a path that is no endpoint: that of the endpoint above it."""
        return next((dialect for prefix, dialect in self._above if path.startswith(prefix)), self.dialects[0])

    def _matching(self, path: str) -> tuple[Candidate, ...]:
        """Every endpoint of that path, in the order in which they are tried."""
        plain = path.replace("%3A", ":").replace("%3a", ":")
        found = []
        for pattern, dialect, endpoint in self._rows:
            match = pattern.fullmatch(plain)
            if match is not None:
                found.append((dialect, endpoint, {name: unquote(value) for name, value in match.groupdict().items()}))
        return tuple(found)

    def _only(self, path: str) -> Match | None:
        """What is found at a path, whatever the method and the headers are; None where these matter."""
        found = self._matching(path)
        dialect, endpoint, params = found[0]
        if any(other.header for _, other, _ in found) or [other.path for _, other, _ in found].count(path) > 1:
            return None
        return Match(dialect, endpoint, params, endpoint.methods)


@lru_cache(maxsize=256)
def _plain(path: str, endpoint: str) -> Target:
    """The target of an endpoint without parameters, without a query: it is the same for most requests."""
    return Target(path, endpoint=endpoint)


def _pattern(path: str) -> re.Pattern[str]:
    fixed = _PARAMETER.split(path)  # text, then name, star and text for each parameter
    parts = [re.escape(fixed[0])]
    for name, star, text in zip(fixed[1::3], fixed[2::3], fixed[3::3], strict=True):
        parts.append(f"(?P<{name}>{'.+' if star else '[^/]+'}){re.escape(text)}")
    return re.compile("".join(parts), re.DOTALL)


def _rank(endpoint: Endpoint) -> tuple[bool, int, bool]:
    """Those without parameters come first, then those with the most fixed text; of like ones, those with a header."""
    return "{" in endpoint.path, -len(_PARAMETER.sub("", endpoint.path)), endpoint.header is None

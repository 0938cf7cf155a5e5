"""The item between levels 3 and 2: what one event carries.

A payload holds its bytes first; its document is parsed only where somebody asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mockprovider.jsontext import dumps

__all__ = ["Affixes", "Comment", "Cycle", "Payload"]


class Payload:
    """What one event carries: the bytes of a JSON document, or of a sentinel such as `[DONE]`, and its event name."""

    __slots__ = ("data", "name")

    def __init__(self, data: bytes, name: str | None = None) -> None:
        self.data = data
        self.name = name

    @classmethod
    def of(cls, document: Any, name: str | None = None) -> Payload:
        """From a document, in compact JSON."""
        return cls(dumps(document), name)

    @property
    def document(self) -> Any:
        """The document, parsed anew each time. ValueError where the payload is no JSON."""
        return json.loads(self.data)


class Comment(Payload):
    """No payload, but a comment that stands between payloads; its data is the comment's text, all after the colon."""

    __slots__ = ()


class Cycle(Protocol):
    """Padding of which the next draws follow from a state."""

    @property
    def state(self) -> Hashable:
        """All that the next draws depend on, besides the texts."""

    def skip(self, count: int) -> None:
        """Go on as if so many had been drawn."""


@dataclass(frozen=True, slots=True)
class Affixes:
    """The bytes around a text delta's escaped text, the same for every delta of a choice.

    Where a dialect pads each event with random characters, they stand between `middle` and `suffix`; `pad` draws them
    and takes the escaped text. cycle: how its next draws are told apart from others, if they can be. name: of the
    event, as in `Payload`.
    """

    prefix: bytes
    suffix: bytes
    middle: bytes = b""
    pad: Callable[[bytes], bytes] | None = None
    name: str | None = None
    cycle: Cycle | None = None

    def within(self, before: bytes, after: bytes) -> Affixes:
        """The same with more bytes around."""
        return replace(self, prefix=before + self.prefix, suffix=self.suffix + after)

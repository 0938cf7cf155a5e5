"""The item between levels 3 and 2: what one event carries.

A payload holds its bytes first; its document is parsed only where somebody asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mockprovider.jsontext import dumps

__all__ = ["Affixes", "Comment", "Payload"]


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


@dataclass(frozen=True, slots=True)
class Affixes:
    """The bytes around a text delta's escaped text, the same for every delta of a choice.

    Where a dialect pads each event with random characters, they stand between `middle` and `suffix`; `pad` draws them
    and takes the escaped text. name: of the event, as in `Payload`.
    """

    prefix: bytes
    suffix: bytes
    middle: bytes = b""
    pad: Callable[[bytes], bytes] | None = None
    name: str | None = None

    def within(self, before: bytes, after: bytes) -> Affixes:
        """The same with more bytes around."""
        return Affixes(before + self.prefix, self.suffix + after, self.middle, self.pad, self.name)

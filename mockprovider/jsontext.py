"""JSON as providers write it: compact or indented, raw UTF-8, and always encodable.

A lone surrogate has no UTF-8 form and is written as `\\uXXXX` (RFC 8259 section 8.2 allows it, and real providers
emit it): only surrogates fail to encode, and Python's `backslashreplace` writes them just as JSON does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

__all__ = ["characters", "dumps", "escape", "escape_all", "pretty", "spaced"]

_spaced = json.JSONEncoder(ensure_ascii=False, separators=(",", ": "), allow_nan=False).encode
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(document: Any) -> bytes:
    """The document as compact JSON in UTF-8. ValueError for NaN and infinities, which JSON does not have."""
    return _compact(document).encode("utf-8", "backslashreplace")


def spaced(document: Any) -> bytes:
    """The same with a space after each colon and none after commas, as Google's event streams have it."""
    return _spaced(document).encode("utf-8", "backslashreplace")


def escape(text: str) -> bytes:
    """The text as the inside of a JSON string, without its quotes."""
    return encode_basestring(text)[1:-1].encode("utf-8", "backslashreplace")


_MARK = "\ue000"
"""A character that no text has, as a rule, and that needs no escape."""


def escape_all(texts: Sequence[str]) -> list[bytes]:
    """The same of several texts, of at least one, at once."""
    together = _MARK.join(texts)
    if together.count(_MARK) >= len(texts):  # one of them has it
        return [escape(text) for text in texts]
    return escape(together).split(_MARK.encode())


def characters(data: bytes) -> int:
    """How many characters (code points) the UTF-8 bytes are."""
    return len(data) if data.isascii() else len(data.decode())


def pretty(document: Any, indent: int = 2) -> bytes:
    """The document as indented JSON in UTF-8, the form of OpenAI's whole replies and errors.

    The same text as `json.dumps(document, indent=indent, ensure_ascii=False)`, which is made of one generator a level
    and takes several times as long. Keys must be texts. ValueError for NaN and infinities, TypeError for what is not
    JSON.
    """
    parts: list[str] = []
    _indent(document, "\n", " " * indent, parts.append)
    return "".join(parts).encode("utf-8", "backslashreplace")


def _indent(value: Any, line: str, step: str, put: Callable[[str], object]) -> None:
    """Write one value. line: a line end and the indentation that the value's own line has."""
    kind = type(value)
    if kind is str:
        put(encode_basestring(value))
    elif kind is dict and value:
        inner = line + step
        lead = "{" + inner
        for key, member in value.items():
            put(lead)
            put(encode_basestring(key))
            put(": ")
            _indent(member, inner, step, put)
            lead = "," + inner
        put(line + "}")
    elif kind is list and value:
        inner = line + step
        lead = "[" + inner
        for member in value:
            put(lead)
            _indent(member, inner, step, put)
            lead = "," + inner
        put(line + "]")
    elif value is None:
        put("null")
    elif kind is int:
        put(int.__repr__(value))
    else:
        put(_compact(value))

"""JSON as providers write it: compact or indented, raw UTF-8, and always encodable.

A lone surrogate has no UTF-8 form, so a text that holds one is written with `\\uXXXX` escapes throughout
(RFC 8259 section 8.2 allows it, and real providers emit it).
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

__all__ = ["dumps", "escape", "pretty"]

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_compact_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dumps(document: Any) -> bytes:
    """The document as compact JSON in UTF-8. ValueError for NaN and infinities, which JSON does not have."""
    try:
        return _compact(document).encode()
    except UnicodeEncodeError:
        return _compact_ascii(document).encode()


def pretty(document: Any, indent: int = 2) -> bytes:
    """The document as indented JSON in UTF-8, the form of OpenAI's whole replies and errors."""
    try:
        return json.dumps(document, ensure_ascii=False, indent=indent, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(document, indent=indent, allow_nan=False).encode()


def escape(text: str) -> bytes:
    """The text as the inside of a JSON string, without its quotes."""
    try:
        return encode_basestring(text)[1:-1].encode()
    except UnicodeEncodeError:
        return encode_basestring_ascii(text)[1:-1].encode()

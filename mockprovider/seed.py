"""Randomness in named streams, so that using one for a new purpose changes nothing else.

A stream's name is made of the server's seed, a purpose, and whatever the purpose depends on: `text` and `pace`
depend on the request's body, so a repeated request is answered with the same text at the same pace; `ids` also
depends on how often that body has come, so the repeated request is a new answer.
"""

from __future__ import annotations

import random
from functools import lru_cache
from hashlib import blake2b

__all__ = ["Seed"]


def _named(part: object) -> bytes:
    """A part with its type and length before it: no two lists of parts are written alike."""
    if type(part) is str:
        return _named_text(part)
    if type(part) is bytes:
        return b"bytes%d:%b" % (len(part), part)
    if type(part) is int:
        return _named_number(part)
    data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
    return b"%b%d:%b" % (type(part).__name__.encode(), len(data), data)


def _named_number(part: int) -> bytes:
    number = b"%d" % part
    return b"int%d:%b" % (len(number), number)


@lru_cache(maxsize=256)
def _named_text(part: str) -> bytes:
    """The same of a text, of which there are few: they name purposes."""
    data = part.encode("utf-8", "surrogatepass")
    return b"str%d:%b" % (len(data), data)


_ALPHANUMERIC = bytes((b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" * 5)[:256])


class Seed:
    """The root of all randomness: an integer, from which independent streams are derived by name."""

    __slots__ = ("_begun", "_keyed", "value")

    def __init__(self, value: int) -> None:
        self.value = value
        # Keying costs more than hashing a short text, so it is done once and copied.
        self._keyed = blake2b(key=blake2b(str(value).encode(), digest_size=32).digest())
        self._begun = lru_cache(maxsize=256, typed=True)(self._hashed)

    def digest(self, purpose: str, *parts: object) -> bytes:
        """64 bytes that only this purpose and these parts yield; parts are bytes, texts (any) and numbers."""
        if parts and type(parts[-1]) is int:
            # The number, of a request or of its repetition, is what differs; what stands before it comes again.
            hasher = self._begun(purpose, *parts[:-1]).copy()
            hasher.update(_named_number(parts[-1]))
            return hasher.digest()
        return self._hashed(purpose, *parts).digest()

    def _hashed(self, *parts: object) -> blake2b:
        hasher = self._keyed.copy()
        hasher.update(b"".join(map(_named, parts)))
        return hasher

    def stream(self, purpose: str, *parts: object) -> random.Random:
        """A generator of its own for this purpose and these parts."""
        return random.Random(self.digest(purpose, *parts))

    def name(self, length: int, purpose: str, *parts: object) -> str:
        """An identifier of letters and digits. ValueError where it would be longer than 64."""
        if not 0 <= length <= 64:
            raise ValueError(f"an identifier has at most 64 letters and digits, not {length}")
        return self.digest(purpose, *parts)[:length].translate(_ALPHANUMERIC).decode()

    def hex(self, length: int, purpose: str, *parts: object) -> str:
        """An identifier of hexadecimal digits. ValueError where it would be longer than 128."""
        if not 0 <= length <= 128:
            raise ValueError(f"an identifier has at most 128 hexadecimal digits, not {length}")
        return self.digest(purpose, *parts).hex()[:length]

    def __repr__(self) -> str:
        return f"Seed({self.value})"

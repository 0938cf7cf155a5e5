"""Randomness in named streams, so that using one for a new purpose changes nothing else.

A stream's name is made of the server's seed, a purpose, and whatever the purpose depends on: `text` and `pace`
depend on the request's body, so a repeated request is answered with the same text at the same pace; `ids` also
depends on how often that body has come, so the repeated request is a new answer.
"""

from __future__ import annotations

import random
from hashlib import blake2b

__all__ = ["Seed"]

_ALPHANUMERIC = bytes((b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" * 5)[:256])


class Seed:
    """The root of all randomness: an integer, from which independent streams are derived by name."""

    __slots__ = ("_key", "value")

    def __init__(self, value: int) -> None:
        self.value = value
        self._key = blake2b(str(value).encode(), digest_size=32).digest()

    def digest(self, purpose: str, *parts: object) -> bytes:
        """64 bytes that only this purpose and these parts yield."""
        return blake2b(repr((purpose, parts)).encode("utf-8", "backslashreplace"), key=self._key).digest()

    def stream(self, purpose: str, *parts: object) -> random.Random:
        """A generator of its own for this purpose and these parts."""
        return random.Random(self.digest(purpose, *parts))

    def name(self, length: int, purpose: str, *parts: object) -> str:
        """An identifier of `length` (at most 64) letters and digits."""
        return self.digest(purpose, *parts)[:length].translate(_ALPHANUMERIC).decode()

    def hex(self, length: int, purpose: str, *parts: object) -> str:
        """An identifier of `length` (at most 128) hexadecimal digits."""
        return self.digest(purpose, *parts).hex()[:length]

    def __repr__(self) -> str:
        return f"Seed({self.value})"

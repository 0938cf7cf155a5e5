"""Real rate limits: requests and tokens a minute, each a token bucket that is full at first and fills up steadily.

Pure: the time is the caller's, in seconds of any clock that does not go back. A request takes one of the requests and
its tokens; one that is refused takes nothing, so it passes as soon as the time it was told has gone by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mockprovider.errors import SettingError, nearest
from mockprovider.quota import Admission, Allowance, Counter

__all__ = ["Limiter", "Limits", "request_tokens"]

MOST = 1_000_000_000
_SLACK = 1e-6
"""What adding up many small refills may be short of a whole number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests and tokens a minute; None: no limit of that sort. SettingError where neither is limited."""

    rpm: int | None = None
    tpm: int | None = None

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
                raise SettingError(f"{name}: expected a whole number from 1 to {MOST}, got {value!r}")
        if self.rpm is None and self.tpm is None:
            raise SettingError("limits: expected rpm=N, tpm=N or both, such as rpm=3,tpm=1000")

    @classmethod
    def parse(cls, value: object) -> Limits:
        """From `rpm=3,tpm=1000`, either of them, in any order. SettingError for anything else."""
        if isinstance(value, Limits):
            return value
        if not isinstance(value, str):
            raise SettingError(f"limits: expected a text such as rpm=3,tpm=1000, got {value!r}")
        given: dict[str, int] = {}
        for part in value.split(","):
            name, _, number = (word.strip() for word in part.partition("="))
            if name not in ("rpm", "tpm"):
                raise SettingError(f"limits: unknown limit {name!r}{nearest(name, ('rpm', 'tpm'))}")
            if name in given:
                raise SettingError(f"limits: {name} is set twice")
            if not (number.isascii() and number.isdigit()):
                raise SettingError(f"limits: {name}: expected a whole number from 1 to {MOST}, got {number!r}")
            given[name] = int(number)
        return cls(**given)

    def __str__(self) -> str:
        named = (("rpm", self.rpm), ("tpm", self.tpm))
        return ",".join(f"{name}={value}" for name, value in named if value is not None)


class _Bucket:
    """So many units a minute. level: how many are there, a fraction among them."""

    def __init__(self, capacity: int, now: float) -> None:
        self._capacity = capacity
        self._rate = capacity / 60
        self._level = float(capacity)
        self._filled = now

    def wait(self, now: float, units: int) -> float | None:
        """In how many seconds there will be so many units: 0 where they are there, None where they never will be."""
        self._level = min(self._capacity, self._level + max(0.0, now - self._filled) * self._rate)
        self._filled = max(self._filled, now)
        if units > self._capacity:
            return None
        missing = units - self._level
        return missing / self._rate if missing > _SLACK else 0.0

    def take(self, units: int) -> None:
        self._level = max(0.0, self._level - units)

    @property
    def counter(self) -> Counter:
        remaining = math.floor(self._level + _SLACK)
        return Counter(self._capacity, remaining, (self._capacity - self._level) / self._rate)


class Limiter:
    """The buckets of one namespace. now: when they are full."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._requests = None if limits.rpm is None else _Bucket(limits.rpm, now)
        self._tokens = None if limits.tpm is None else _Bucket(limits.tpm, now)

    def admit(self, now: float, tokens: int) -> Admission:
        """Let a request with so many tokens pass, or say what is lacking and for how long."""
        worst: tuple[str, float | None, int, _Bucket] | None = None
        for what, bucket, units in (("requests", self._requests, 1), ("tokens", self._tokens, tokens)):
            wait = 0.0 if bucket is None else bucket.wait(now, units)
            if bucket is not None and wait != 0.0 and (worst is None or _longer(wait, worst[1])):
                worst = (what, wait, units, bucket)
        if worst is not None:
            what, wait, units, bucket = worst
            counter = bucket.counter
            return Admission(self._allowance(), what, wait, units, counter.limit - counter.remaining)
        for bucket, units in ((self._requests, 1), (self._tokens, tokens)):
            if bucket is not None:
                bucket.take(units)
        return Admission(self._allowance())

    def _allowance(self) -> Allowance:
        requests, tokens = self._requests, self._tokens
        return Allowance(None if requests is None else requests.counter, None if tokens is None else tokens.counter)


def _longer(wait: float | None, other: float | None) -> bool:
    return wait is None or (other is not None and wait > other)


def request_tokens(characters: int, max_tokens: int | None) -> int:
    """What a request counts for before its reply is known, by OpenAI's rule: the greater of `max_tokens` and a quarter
    of its characters, and at least one."""
    return max(max_tokens or 0, characters // 4 + 1)

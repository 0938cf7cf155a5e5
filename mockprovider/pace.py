"""When tokens come, and how they are packed: `Pacing` and `Chunking`, each with one text form.

    ttft=0.2,itl=0.02~gamma(cv=0.4)       the first token after 0.2 s, the others gamma-distributed about 20 ms
    official,itl=0.05                     a named profile, one of its settings replaced
    rate=50                               50 tokens a second
    tokens_per_payload=2,payloads_per_chunk=1/3      two tokens an event, each event over three HTTP chunks

TTFT is the time to first token, ITL the inter-token latency. All durations are seconds.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from mockprovider.errors import SettingError, nearest

__all__ = ["PROFILES", "Chunking", "Distribution", "Pacing", "Timing"]

SHAPES = ("constant", "uniform", "normal", "lognormal", "gamma")
LONGEST = 1_000_000.0
"""Seconds: no duration is longer, so that sums of many stay exact enough and a slip of the pen is found."""
WIDEST = 10.0
"""No distribution has a greater coefficient of variation."""

_DISTRIBUTION = re.compile(r"(?P<mean>[^~]+?)(?:~(?P<shape>\w+)\(\s*cv\s*=\s*(?P<cv>[^)]*)\))?$")


def _number(value: object, what: str, unit: str = "a number of seconds", most: float = LONGEST) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise SettingError(f"{what}: expected {unit} from 0 to {most:g}, got {str(value)!r}")
    return number


def _shortest(number: float) -> str:
    """The shortest text that is read as the same number: `2`, not `2.0`."""
    text = f"{number:g}"
    return text if float(text) == number else repr(number)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A duration in seconds, constant or random.

    shape: one of `constant`, `uniform`, `normal`, `lognormal`, `gamma`. `mean` is the expectation; `cv`, the
    coefficient of variation, is the standard deviation divided by the mean, and at most 10. A uniform one is made by
    `between` and written as its range, `0.03..0.08`. A normal draw below zero counts as zero, which lifts the mean
    where the cv is large. What does not vary is constant, however it was written.
    """

    mean: float
    shape: str = "constant"
    cv: float = 0.0
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise SettingError(f"unknown distribution {self.shape!r}{nearest(self.shape, SHAPES)}")
        if not (0 <= self.mean <= LONGEST and 0 <= self.cv <= WIDEST):
            raise SettingError(
                f"a duration needs a mean from 0 to {LONGEST:g} and a cv from 0 to {WIDEST:g},"
                f" got {self.mean}, {self.cv}"
            )
        if (self.shape == "uniform") != (self.range is not None):
            raise SettingError(
                "a uniform distribution is made by Distribution.between(low, high), no other has a range"
            )
        if self.mean == 0 or self.cv < 1e-6 or self.shape == "constant":
            for name, value in (("shape", "constant"), ("cv", 0.0), ("range", None)):
                object.__setattr__(self, name, value)

    @classmethod
    def between(cls, low: float, high: float) -> Distribution:
        """Every duration from low to high is as likely as another. SettingError where high is less than low."""
        if high < low:
            raise SettingError(f"the range {_shortest(low)}..{_shortest(high)} ends before it begins")
        mean = (low + high) / 2
        return cls(mean, "uniform", (high - low) / math.sqrt(12) / mean if mean else 0.0, (low, high))

    @classmethod
    def parse(cls, value: object, what: str = "duration") -> Distribution:
        """From `0.02`, `"0.02"`, `"0.03..0.08"` or `"0.02~gamma(cv=0.4)"`. SettingError if it is none, with `what`."""
        if isinstance(value, Distribution):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise SettingError(f"{what}: expected seconds or a distribution, got {value!r}")
        text = str(value).strip()
        if ".." in text:
            begin, _, end = text.partition("..")
            low, high = _number(begin, what), _number(end, what)
            if high < low:
                raise SettingError(f"{what}: the range {text} ends before it begins")
            return cls.between(low, high)
        match = _DISTRIBUTION.fullmatch(text)
        if match is None:
            raise SettingError(
                f"{what}: expected 0.02, 0.03..0.08 or 0.02~gamma(cv=0.4) (or normal, lognormal), got {text!r}"
            )
        mean = _number(match["mean"], what)
        if match["shape"] is None:
            return cls(mean)
        shape = match["shape"]
        if shape in ("constant", "uniform"):
            raise SettingError(f"{what}: write a constant as 0.02 and a uniform one as its range, 0.01..0.03")
        if shape not in SHAPES:
            raise SettingError(f"{what}: unknown distribution {shape!r}{nearest(shape, SHAPES[2:])}")
        return cls(mean, shape, _number(match["cv"], f"{what}: cv", "a number", WIDEST))

    def __str__(self) -> str:
        if self.range is not None:
            return f"{_shortest(self.range[0])}..{_shortest(self.range[1])}"
        if self.constant:
            return _shortest(self.mean)
        return f"{_shortest(self.mean)}~{self.shape}(cv={_shortest(self.cv)})"

    @property
    def constant(self) -> bool:
        """Whether every draw is the mean."""
        return self.shape == "constant"

    def sampler(self, rng: random.Random, cap: float) -> Callable[[], float]:
        """A function that draws, never above `cap` seconds and never below zero."""
        mean, cv = self.mean, self.cv
        if self.range is not None:
            low, high = self.range
            return lambda: min(rng.uniform(low, high), cap)
        if self.constant:
            fixed = min(mean, cap)
            return lambda: fixed
        if self.shape == "normal":
            return lambda: min(max(rng.gauss(mean, mean * cv), 0.0), cap)
        # Drawn about 1, then scaled: a mean of any size is exact.
        if self.shape == "lognormal":
            sigma = math.sqrt(math.log1p(cv * cv))
            return lambda: min(mean * rng.lognormvariate(-sigma * sigma / 2, sigma), cap)
        return lambda: min(mean * rng.gammavariate(1 / (cv * cv), cv * cv), cap)


_ZERO = Distribution(0.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """One reply's draw from a pacing: seconds to the first token, and a function for each later gap.

    mean: about how long a later gap is; steady: whether each is just that.
    """

    ttft: float
    itl: Callable[[], float]
    head: float | None
    mean: float
    steady: bool = False

    @property
    def instant(self) -> bool:
        """Whether all later gaps are 0."""
        return self.mean == 0

    def gaps(self, count: int) -> list[float]:
        """So many gaps."""
        return [self.mean] * count if self.steady else [self.itl() for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Pacing:
    """When the tokens of a reply come.

    ttft: from the request to the first token; itl: between tokens; prefill: seconds per prompt token, added to
    the TTFT; cap: no single draw is longer; head: when the status line and headers leave, counted from the
    request (None: with the first event, as OpenAI does; 0: at once, as llama.cpp does).
    """

    ttft: Distribution = _ZERO
    itl: Distribution = _ZERO
    prefill: float = 0.0
    cap: float = math.inf
    head: float | None = None

    def __post_init__(self) -> None:
        for name in ("ttft", "itl"):
            object.__setattr__(self, name, Distribution.parse(getattr(self, name), f"pace: {name}"))
        for name, unlimited in (("prefill", 0.0), ("cap", math.inf), ("head", None)):
            if getattr(self, name) != unlimited:
                object.__setattr__(self, name, _number(getattr(self, name), f"pace: {name}"))

    @classmethod
    def parse(cls, value: object) -> Pacing:
        """From a text such as `official,itl=0.05`, or a table of the same settings. SettingError names the part."""
        if isinstance(value, Pacing):
            return value
        pacing, chosen = cls(), dict[str, Any]()
        for key, setting in _settings(value, "pace"):
            if key is None:
                if str(setting) not in PROFILES:
                    raise SettingError(f"pace: unknown profile {setting!r}{nearest(str(setting), tuple(PROFILES))}")
                if chosen:
                    raise SettingError(f"pace: the profile {setting!r} comes first, before what replaces its settings")
                pacing = PROFILES[str(setting)]
            elif key == "rate":
                rate = _number(setting, "pace: rate", "tokens a second")
                if rate * LONGEST < 1:
                    raise SettingError("pace: rate: expected more than 0 tokens a second")
                chosen["itl"] = Distribution(1 / rate)
            elif key in ("ttft", "itl"):
                chosen[key] = Distribution.parse(setting, f"pace: {key}")
            elif key in ("prefill", "cap", "head"):
                chosen[key] = _number(setting, f"pace: {key}")
            else:
                allowed = ("ttft", "itl", "rate", "prefill", "cap", "head")
                raise SettingError(f"pace: unknown setting {key!r}{nearest(key, allowed)}")
        return replace(pacing, **chosen)

    def __str__(self) -> str:
        parts = [f"ttft={self.ttft}", f"itl={self.itl}"]
        if self.prefill:
            parts.append(f"prefill={_shortest(self.prefill)}")
        if self.cap != math.inf:
            parts.append(f"cap={_shortest(self.cap)}")
        if self.head is not None:
            parts.append(f"head={_shortest(self.head)}")
        return ",".join(parts)

    @property
    def constant(self) -> bool:
        """Whether no draw is random, so that no generator is needed."""
        return self.ttft.constant and self.itl.constant

    def timing(self, rng: random.Random, prompt_tokens: Callable[[], int]) -> Timing:
        """Draw for one reply. `prompt_tokens` is asked only if there is a prefill cost."""
        ttft = self.ttft.sampler(rng, self.cap)()
        if self.prefill:
            ttft += self.prefill * prompt_tokens()
        mean = min(self.itl.mean, self.cap)
        return Timing(ttft, self.itl.sampler(rng, self.cap), self.head, mean, self.itl.constant)


PROFILES: Mapping[str, Pacing] = {
    "instant": Pacing(),
    "fast": Pacing(Distribution.parse("0.02..0.045"), Distribution.parse("0.006~gamma(cv=0.3)")),
    "official": Pacing(Distribution.parse("0.03..0.08"), Distribution.parse("0.015~gamma(cv=0.4)")),
    "relay": Pacing(Distribution.parse("0.1..0.3"), Distribution.parse("0.025~gamma(cv=0.6)")),
    "reasoning": Pacing(Distribution.parse("2..6"), Distribution.parse("0.008~gamma(cv=0.4)")),
}
"""Named pacings, after what users of hosted models and of relays in front of them see."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """How tokens are packed, apart from the text and its timing. Ratios above 1 group, below 1 split.

    tokens_per_payload: whole number of tokens an event carries; None: as many as the provider's do.
    payloads_per_chunk: events an HTTP chunk carries; 1/3 spreads each event over three chunks.
    chunks_per_write: HTTP chunks a write to the socket carries, as a promised boundary; 1/2 spreads each chunk
        over two writes. None promises nothing: chunks that are due together leave together.
    join: False sends every chunk by a write of its own, without a pause between; True joins what is due together.
    apart: the least seconds between two promised writes; below about a millisecond the kernel may merge them.
    """

    tokens_per_payload: int | None = None
    payloads_per_chunk: Fraction = Fraction(1)
    chunks_per_write: Fraction | None = None
    join: bool = True
    apart: float = 0.001

    def __post_init__(self) -> None:
        for name in ("tokens_per_payload", "payloads_per_chunk", "chunks_per_write"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _ratio(value, f"chunking: {name}"))
        if self.tokens_per_payload is not None:
            if self.tokens_per_payload.denominator != 1:
                raise SettingError(
                    f"chunking: tokens_per_payload: expected a whole number, got {self.tokens_per_payload}"
                )
            object.__setattr__(self, "tokens_per_payload", int(self.tokens_per_payload))
        object.__setattr__(self, "apart", _number(self.apart, "chunking: apart"))

    @classmethod
    def parse(cls, value: object) -> Chunking:
        """From a text such as `tokens_per_payload=2,join=false`, or a table of the same settings."""
        if isinstance(value, Chunking):
            return value
        chosen: dict[str, Any] = {}
        for key, setting in _settings(value, "chunking"):
            if key == "join":
                if str(setting).lower() not in ("true", "false"):
                    raise SettingError(f"chunking: join: expected true or false, got {setting!r}")
                chosen[key] = str(setting).lower() == "true"
            elif key in _CHUNKING:
                chosen[key] = setting
            else:
                raise SettingError(f"chunking: unknown setting {str(key or setting)!r}{nearest(str(key), _CHUNKING)}")
        return cls(**chosen)

    def __str__(self) -> str:
        default, parts = Chunking(), []
        for name in _CHUNKING:
            value = getattr(self, name)
            if value != getattr(default, name):
                parts.append(f"{name}={str(value).lower()}")
        return ",".join(parts) or "tokens_per_payload=1"


_CHUNKING = ("tokens_per_payload", "payloads_per_chunk", "chunks_per_write", "join", "apart")
_RATIO = re.compile(r"\d{1,7}(?:[/.]\d{1,7})?")


def _ratio(value: object, what: str) -> Fraction:
    text = str(value).strip()
    try:
        ratio = Fraction(text) if _RATIO.fullmatch(text) else Fraction(0)
    except ZeroDivisionError:
        ratio = Fraction(0)
    if ratio <= 0 or (ratio.numerator != 1 and ratio.denominator != 1) or max(ratio.as_integer_ratio()) > 1_000_000:
        raise SettingError(f"{what}: expected a whole number or one part of a whole, such as 2 or 1/3, got {text!r}")
    return ratio


def _settings(value: object, what: str) -> Iterator[tuple[str | None, object]]:
    """The `(key, setting)` pairs of a text or a table. A profile, a bare word in a text, has the key None."""
    if isinstance(value, Mapping):
        if "profile" in value:  # first, wherever it stands: what is beside it replaces its settings
            yield None, value["profile"]
        yield from ((str(key), setting) for key, setting in value.items() if key != "profile")
        return
    if not isinstance(value, str):
        raise SettingError(f"{what}: expected a text or a table, got {value!r}")
    for part in value.split(","):
        if not part.strip():
            raise SettingError(f"{what}: an empty setting in {value!r}")
        key, equals, setting = part.partition("=")
        # The cv of a distribution is inside parentheses: "0.02~gamma(cv=0.4)" has its own equals sign.
        if not equals or "~" in key:
            yield None, part.strip()
        else:
            yield key.strip(), setting.strip()

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
_DISTRIBUTION = re.compile(r"(?P<mean>[^~]+?)(?:~(?P<shape>\w+)\(\s*cv\s*=\s*(?P<cv>[^)]*)\))?$")


def _seconds(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SettingError(f"{what}: expected a number of seconds, got {text!r}") from None
    if not math.isfinite(value) or value < 0:
        raise SettingError(f"{what}: expected a finite number of seconds >= 0, got {text!r}")
    return value


@dataclass(frozen=True, slots=True)
class Distribution:
    """A duration in seconds, constant or random.

    shape: one of `constant`, `uniform`, `normal`, `lognormal`, `gamma`. `mean` is the expectation; `cv`, the
    coefficient of variation, is the standard deviation divided by the mean. A uniform one is written as its
    range, `0.03..0.08`. A normal draw below zero counts as zero.
    """

    mean: float
    shape: str = "constant"
    cv: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise SettingError(f"unknown distribution {self.shape!r}{nearest(self.shape, SHAPES)}")
        if not (math.isfinite(self.mean) and self.mean >= 0 and math.isfinite(self.cv) and self.cv >= 0):
            raise SettingError(f"a duration needs a finite mean and cv >= 0, got {self.mean}, {self.cv}")

    @classmethod
    def parse(cls, value: object, what: str = "duration") -> Distribution:
        """From `0.02`, `"0.02"`, `"0.03..0.08"` or `"0.02~gamma(cv=0.4)"`. SettingError if it is none."""
        if isinstance(value, Distribution):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise SettingError(f"{what}: expected seconds or a distribution, got {value!r}")
        text = str(value).strip()
        if ".." in text:
            low, _, high = text.partition("..")
            lowest, highest = _seconds(low, what), _seconds(high, what)
            if highest < lowest:
                raise SettingError(f"{what}: the range {text} ends before it begins")
            mean = (lowest + highest) / 2
            return cls(mean, "uniform", (highest - lowest) / (2 * math.sqrt(3)) / mean if mean else 0.0)
        match = _DISTRIBUTION.fullmatch(text)
        if match is None:
            raise SettingError(
                f"{what}: expected 0.02, 0.03..0.08 or 0.02~gamma(cv=0.4) (or normal, lognormal), got {text!r}"
            )
        mean = _seconds(match["mean"], what)
        if match["shape"] is None:
            return cls(mean)
        shape, cv = match["shape"], _seconds(match["cv"], f"{what}: cv")
        if shape in ("constant", "uniform"):
            raise SettingError(f"{what}: write a constant as 0.02 and a uniform one as its range, 0.01..0.03")
        return cls(mean, shape, cv)

    def __str__(self) -> str:
        if self.shape == "constant" or self.mean == 0:
            return f"{self.mean:g}"
        if self.shape == "uniform":
            half = self.mean * self.cv * math.sqrt(3)
            return f"{self.mean - half:g}..{self.mean + half:g}"
        return f"{self.mean:g}~{self.shape}(cv={self.cv:g})"

    @property
    def constant(self) -> bool:
        """Whether every draw is the mean."""
        return self.shape == "constant" or self.mean == 0 or self.cv == 0

    def sampler(self, rng: random.Random, cap: float) -> Callable[[], float]:
        """A function that draws, never above `cap` seconds and never below zero."""
        mean, cv = self.mean, self.cv
        if self.constant:
            fixed = min(mean, cap)
            return lambda: fixed
        if self.shape == "uniform":
            half = mean * cv * math.sqrt(3)
            return lambda: min(rng.uniform(mean - half, mean + half), cap)
        if self.shape == "normal":
            return lambda: min(max(rng.gauss(mean, mean * cv), 0.0), cap)
        if self.shape == "lognormal":
            sigma = math.sqrt(math.log1p(cv * cv))
            mu = math.log(mean) - sigma * sigma / 2
            return lambda: min(rng.lognormvariate(mu, sigma), cap)
        shape, scale = 1 / (cv * cv), mean * cv * cv
        return lambda: min(rng.gammavariate(shape, scale), cap)


_ZERO = Distribution(0.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """One reply's draw from a pacing: seconds to the first token, and a function for each later gap."""

    ttft: float
    itl: Callable[[], float]
    head: float | None


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

    @classmethod
    def parse(cls, value: object) -> Pacing:
        """From a text such as `official,itl=0.05`, or a table of the same settings. SettingError names the part."""
        if isinstance(value, Pacing):
            return value
        pacing = cls()
        for key, setting in _settings(value, "pace"):
            if key is None:
                if setting not in PROFILES:
                    raise SettingError(f"pace: unknown profile {setting!r}{nearest(str(setting), tuple(PROFILES))}")
                pacing = PROFILES[str(setting)]
            elif key == "ttft":
                pacing = replace(pacing, ttft=Distribution.parse(setting, "pace: ttft"))
            elif key == "itl":
                pacing = replace(pacing, itl=Distribution.parse(setting, "pace: itl"))
            elif key == "rate":
                rate = _seconds(str(setting), "pace: rate (tokens a second)")
                if rate == 0:
                    raise SettingError("pace: rate: expected more than 0 tokens a second")
                pacing = replace(pacing, itl=Distribution(1 / rate))
            elif key == "prefill":
                pacing = replace(pacing, prefill=_seconds(str(setting), "pace: prefill"))
            elif key == "cap":
                pacing = replace(pacing, cap=_seconds(str(setting), "pace: cap"))
            elif key == "head":
                pacing = replace(pacing, head=_seconds(str(setting), "pace: head"))
            else:
                allowed = ("ttft", "itl", "rate", "prefill", "cap", "head")
                raise SettingError(f"pace: unknown setting {key!r}{nearest(key, allowed)}")
        return pacing

    def __str__(self) -> str:
        parts = [f"ttft={self.ttft}", f"itl={self.itl}"]
        if self.prefill:
            parts.append(f"prefill={self.prefill:g}")
        if self.cap != math.inf:
            parts.append(f"cap={self.cap:g}")
        if self.head is not None:
            parts.append(f"head={self.head:g}")
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
        return Timing(ttft, self.itl.sampler(rng, self.cap), self.head)


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

    tokens_per_payload: whole number of tokens an event carries.
    payloads_per_chunk: events an HTTP chunk carries; 1/3 spreads each event over three chunks.
    chunks_per_write: HTTP chunks a write to the socket carries, as a promised boundary; 1/2 spreads each chunk
        over two writes. None promises nothing: chunks that are due together leave together.
    join: False sends every chunk by a write of its own, without a pause between; True joins what is due together.
    apart: the least seconds between two promised writes; below about a millisecond the kernel may merge them.
    """

    tokens_per_payload: int = 1
    payloads_per_chunk: Fraction = Fraction(1)
    chunks_per_write: Fraction | None = None
    join: bool = True
    apart: float = 0.001

    @classmethod
    def parse(cls, value: object) -> Chunking:
        """From a text such as `tokens_per_payload=2,join=false`, or a table of the same settings."""
        if isinstance(value, Chunking):
            return value
        chosen: dict[str, Any] = {}
        for key, setting in _settings(value, "chunking"):
            if key in ("payloads_per_chunk", "chunks_per_write"):
                chosen[key] = _ratio(setting, f"chunking: {key}")
            elif key == "tokens_per_payload":
                ratio = _ratio(setting, "chunking: tokens_per_payload")
                if ratio.denominator != 1:
                    raise SettingError(f"chunking: tokens_per_payload: expected a whole number >= 1, got {setting}")
                chosen[key] = int(ratio)
            elif key == "join":
                if str(setting).lower() not in ("true", "false"):
                    raise SettingError(f"chunking: join: expected true or false, got {setting!r}")
                chosen[key] = str(setting).lower() == "true"
            elif key == "apart":
                chosen[key] = _seconds(str(setting), "chunking: apart")
            else:
                allowed = ("tokens_per_payload", "payloads_per_chunk", "chunks_per_write", "join", "apart")
                raise SettingError(f"chunking: unknown setting {str(key or setting)!r}{nearest(str(key), allowed)}")
        return cls(**chosen)

    def __str__(self) -> str:
        default, parts = Chunking(), []
        for name in ("tokens_per_payload", "payloads_per_chunk", "chunks_per_write", "join", "apart"):
            value = getattr(self, name)
            if value != getattr(default, name):
                parts.append(f"{name}={str(value).lower()}")
        return ",".join(parts) or "tokens_per_payload=1"


def _ratio(value: object, what: str) -> Fraction:
    try:
        ratio = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise SettingError(f"{what}: expected a ratio such as 2 or 1/3, got {value!r}") from None
    if ratio <= 0 or (ratio.numerator != 1 and ratio.denominator != 1) or max(ratio.as_integer_ratio()) > 1_000_000:
        raise SettingError(f"{what}: expected a whole number >= 1 or one part of a whole (1/3), got {value}")
    return ratio


def _settings(value: object, what: str) -> Iterator[tuple[str | None, object]]:
    """The `(key, setting)` pairs of a text or a table; a bare word of a text has the key None."""
    if isinstance(value, Mapping):
        for key, setting in value.items():
            yield (None if key == "profile" else str(key)), setting
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

"""What is due in a case: the text, the calls, the refusal, the readings, the time; all from the catalogue's data."""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

from mockprovider.cases import TEXT, Case, recipe_of
from mockprovider.dialects.base import Ask
from mockprovider.errors import SettingError, nearest
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Context, Fault, Level
from mockprovider.pace import Pacing
from mockprovider.preview import attempts
from mockprovider.render import planned_tokens
from mockprovider.reply import Refusal, Reply, TextDelta, ToolCall, deltas, paced
from mockprovider.scenario_file import reply_from
from mockprovider.seed import Seed
from mockprovider.timeline import Ending as TimelineEnding
from mockprovider.timeline import run

__all__ = ["CAPABILITIES", "DEFAULT", "Due", "capabilities", "carries_text", "due", "sent_text", "skipped"]

CAPABILITIES: Mapping[str, str] = {
    "retry": "asks again after an answer that says so",
    "redirects": "follows redirects",
    "gzip": "takes a compressed answer",
    "read-timeout": "gives up after TIMEOUT seconds of silence",
    "deadline": "gives up at a deadline for the whole answer, DEADLINE seconds",
    "reasoning": "is not put off by a model's reasoning",
    "usage": "is not put off by counts of tokens",
    "logprobs": "is not put off by log probabilities",
    "anthropic": "speaks to Anthropic's API",
    "tools": "tells the calls of tools in its report, as `tool_calls`",
    "refusal": "prints a refusal, or tells it in its report as `refusal`",
    "choices": "prints the first of several choices alone",
    "non-streaming": "asks for a whole answer where STREAM is 0",
    "keep-alive": "asks REQUESTS times on connections that it keeps, and prints the last answer",
    "h2": "speaks HTTP/2",
}
"""What a client may be able to do."""

OBSERVED = ("retry", "redirects", "gzip")
"""Capabilities that show themselves in what the client does, so that no case is skipped for them beforehand."""

DEFAULT = ("retry", "redirects", "gzip", "read-timeout", "reasoning", "usage", "logprobs", "anthropic")
"""Capabilities of a client of which nothing is known."""

_ENDLESS = 3.0
"""Seconds that are allowed for a stream that never ends, besides the client's own time-out."""

_LONGEST = 20.0
"""Seconds of one answer, at most."""

_TOKENS = 5_000
"""Deltas after which a reply passes for endless."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due in a case.

    whole: the text of the reply as it was meant; sent: what the faults of the reply leave of it (the same, in most
    cases); truth_in_bytes: the text that is due is the one in the bytes; kept: what the second reading asks for, where
    that is another text; calls: of tools, name and arguments as JSON text; refusal: the model's; readings: what is
    right, first what is best; requests: how many are right at most, None: any number; seconds: how long its answers
    take; listens: seconds that a port of its own misbehaves; informational: whatever happens is no failure.
    """

    case: str
    whole: str
    sent: str
    readings: tuple[str, ...]
    calls: tuple[tuple[str, str], ...] = ()
    refusal: str = ""
    kept: str | None = None
    truth_in_bytes: bool = False
    requests: int | None = None
    seconds: float = 0.0
    listens: float | None = None
    informational: bool = False


@cache
def _readings() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("mockprovider.audit").joinpath("readings.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def due(case: Case) -> Due:
    """What is due in a case that is available. SettingError for one that is not."""
    said = _readings().get(case.name, {})
    readings = (case.expect, *case.accept)
    if case.listener is not None:
        return Due(case.name, TEXT, TEXT, readings, listens=said.get("seconds", 1.0), seconds=said.get("seconds", 1.0))
    made = recipe_of(case)
    reply = reply_from(made.reply)
    whole = _text(reply, ())
    # What strikes a first attempt alone leaves the answer whole.
    struck = made.faults if all(fault.attempt is None for fault in made.faults) else ()
    return Due(
        case.name,
        whole,
        _text(reply, struck),
        readings,
        calls=tuple((part.name, part.arguments_text) for part in reply.parts if isinstance(part, ToolCall)),
        refusal="".join(part.text for part in reply.parts if isinstance(part, Refusal)),
        kept=whole + said["late"] if "late" in said else said.get("kept"),
        truth_in_bytes=said.get("truth") == "sent",
        requests=said.get("requests"),
        seconds=_seconds(case),
        informational=said.get("informational", False),
    )


def skipped(case: Case, dialect: str, can: Sequence[str]) -> str | None:
    """Why a case does not apply to a client that speaks this dialect and can do this, or None."""
    if case.unavailable is not None:
        return case.unavailable
    if case.dialect not in ("any", dialect):
        return f"a case of the dialect {case.dialect}"
    for need in (*case.needs, *_readings().get(case.name, {}).get("needs", ())):
        if need in OBSERVED or (need == "anthropic" and dialect.startswith("anthropic")):
            continue
        if need not in can:
            return f"needs {need}: a client that {CAPABILITIES.get(need, 'can do that')}"
    return None


def capabilities(can: Sequence[str], cannot: Sequence[str]) -> tuple[str, ...]:
    """The usual capabilities with these and without those. SettingError for an unknown one."""
    for name in (*can, *cannot):
        if name not in CAPABILITIES:
            raise SettingError(f"unknown capability {name!r}{nearest(name, tuple(CAPABILITIES))}")
    return tuple(name for name in CAPABILITIES if (name in DEFAULT or name in can) and name not in cannot)


# ------------------------------------------------------------------------------------------------ text


def _text(reply: Reply, faults: Sequence[Fault]) -> str:
    """The text of the first choice after the faults that change replies."""
    ask = Ask("model", stream=True, messages=(("user", "Hello"),))

    def context(index: int) -> Context:
        return Context(
            rng=random.Random(index),
            attempt=1,
            stream=True,
            tokens=lambda: planned_tokens((reply,), ask),
            dialect="openai-chat",
            error=lambda kind, message: {},
        )

    stages = Applied(faults, context).stages(Level.REPLY)
    timing = Pacing().timing(Seed(1).stream("pace"), lambda: 1)
    parts = []
    for _, item, _ in islice(run(paced([deltas(reply, choice=0, call_id=str)], timing, {}), stages), _TOKENS):
        if isinstance(item, TimelineEnding):
            break
        if type(item) is TextDelta:
            parts.append(item.text)
    return "".join(parts)


_STRING = re.compile(rb'"(?:content|text)":("(?:[^"\\]|\\.)*")')


def sent_text(data: bytes) -> str:
    """The text in the bytes of a stream whose events are whole; bytes that are no UTF-8 become U+FFFD."""
    return "".join(json.loads(found.decode("utf-8", "replace"), strict=False) for found in _STRING.findall(data))


def carries_text(data: bytes) -> bool:
    """Whether there is text in the bytes of a stream, however they are cut."""
    return _BEGUN.search(data) is not None


_BEGUN = re.compile(rb'"(?:content|text)": ?"[^"]')


# ------------------------------------------------------------------------------------------------ time


def _seconds(case: Case) -> float:
    """How long the case's answers take together, waits between them that they ask for included."""
    return sum(_lengths(case))


_ASKED = re.compile(rb"(?i)\r\nretry-after: *(\d+)\r\n")


def _lengths(case: Case) -> Iterator[float]:
    for attempt in attempts(case):
        length = sum(gap for gap, _, _ in attempt.actions)
        yield _ENDLESS if attempt.endless else min(length, _LONGEST)
        for _, item, _ in attempt.actions[:1]:
            found = _ASKED.search(item) if isinstance(item, bytes) else None
            if found and int(found[1]) <= _LONGEST:
                yield float(found[1])

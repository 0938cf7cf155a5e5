"""What a case puts on the wire, rendered without a server: always the same bytes, from a fixed seed and time.

for attempt in attempts(get("http-502-html-cloudflare")):
    print(*lines(attempt), sep="\\n")
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import cache
from itertools import islice
from typing import Any

from mockprovider.cases import TEXT, Case, Recipe, get, recipe, recipe_of
from mockprovider.dialects import DIALECTS, TABLE
from mockprovider.dialects.base import Ask, Dialect, Voice
from mockprovider.dialects.routing import Target
from mockprovider.errors import RequestError, SettingError, nearest
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Asked, Context
from mockprovider.limits import Limiter, Limits
from mockprovider.pace import Chunking, Pacing
from mockprovider.quota import Admission
from mockprovider.render import Framing, message, planned_tokens, render, replaced
from mockprovider.reply import Reply
from mockprovider.scenario_file import reply_from
from mockprovider.seed import Seed
from mockprovider.timeline import Close, Control, End, Ending, HalfClose, Hang, Hold, Reset, Timed
from mockprovider.wire import Burst, Head, SocketItem, TransferEncoder, Write

__all__ = ["Attempt", "attempts", "durations", "lines", "preview"]

_SEED = Seed(1)
_WALL = 1_767_225_600.0
"""When the request comes: the first second of 2026."""

_MOST = 4
"""Attempts that are shown of one case."""

_LONGEST = 5_000
"""Actions after which a timeline passes for endless."""

_LINE = re.compile(r"[^␊]*␊[␍␊]*|[^␊]+")
"""A line with its end, and with the empty lines after it."""

_DATE = ("Date", formatdate(_WALL, usegmt=True))


@dataclass(frozen=True, slots=True)
class Attempt:
    """The answer to one request. number: 1 for the first; actions: with their gaps; endless: there is more of them."""

    number: int
    actions: tuple[Timed[SocketItem | Control], ...]
    endless: bool


def attempts(case: Case) -> list[Attempt]:
    """The answers to one request and its repetitions, up to the first that no fault of the case is for.

    SettingError for a case that is not available or has a port of its own, and for faults that cannot be.
    """
    made = recipe_of(case)
    spans = [fault.attempt for fault in made.faults if fault.attempt is not None]
    found = []
    for number in range(1, _MOST + 1):
        actions = tuple(islice(_to_its_end(_timeline(case, made, number)), _LONGEST))
        found.append(Attempt(number, actions, len(actions) == _LONGEST))
        if not any(number in span for span in spans):
            break
    return found


@cache
def durations(name: str) -> tuple[float, float]:
    """How long the answer of a case takes, and its longest silence, in seconds; infinite where it never ends.

    SettingError for a case that is not available.
    """
    case = get(name)
    if case.listener is not None:
        return (math.inf, math.inf) if case.listener == "silence" else (0.0, 0.0)
    first = attempts(case)[0]
    gaps = [gap for gap, _, _ in first.actions]
    if isinstance(first.actions[-1][1], Hang):
        return math.inf, math.inf
    return (math.inf if first.endless else sum(gaps)), max(gaps)


def preview(*, dialect: str, reply: object, faults: str, pace: str) -> Iterator[tuple[float, bytes, str]]:
    """A streamed reply of that dialect as gaps, bytes and, for what is no bytes, what happens, without a server.

    reply: as rules have it, None: the catalogue's; faults, pace: as everywhere. SettingError for what cannot be.
    """
    if dialect not in {known.name for known in DIALECTS}:
        raise SettingError(f"unknown dialect {dialect!r}{nearest(dialect, [known.name for known in DIALECTS])}")
    case = Case("preview", "preview", "", "deliver", "", "", "", dialect=dialect, reply=reply, pace=pace or None)
    asked = recipe(faults) if faults else Recipe("")
    made = replace(asked, reply=TEXT if reply is None and asked.reply is None else reply or asked.reply)
    if pace:
        made = replace(made, pace=Pacing.parse(pace))
    for gap, item, _ in _to_its_end(_timeline(case, made, 1)):
        if isinstance(item, Hold):
            yield gap, b"", f"waits at the gate {item.gate}"
        elif isinstance(item, Control):
            yield gap, b"", _ENDINGS[type(item)]
        else:
            yield gap, item.data if isinstance(item, Write) else item, ""


def _to_its_end(timeline: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
    """What the player would perform of it: all up to the first ending."""
    for timed in timeline:
        yield timed
        if isinstance(timed[1], Ending):
            return


def _timeline(case: Case, made: Recipe, attempt: int) -> Iterator[Timed[Any]]:
    dialect = next(dialect for dialect in DIALECTS if case.dialect in (dialect.name, "any"))
    url, headers, body = dialect.sample("Hello", stream="non-streaming" not in case.needs)
    target = _target(url)
    ask = dialect.parse(body, headers, target)
    if made.ask:
        ask = ask.overridden(made.ask)
    reply = reply_from(made.reply)
    applied, ask = _applied(dialect, target, case, made, ask, reply, attempt)
    replies = (reply,) * ask.choices
    chunking = made.chunking or Chunking()
    transfer = TransferEncoder(chunking)
    response = applied.response()
    if response is not None:
        shown, content = response.headers, response.body
        if response.error is not None:
            worded, content = dialect.error(response.error, "req_" + _SEED.hex(32, "ids", "request", attempt), target)
            shown = (*worded, *shown)
        head = Head(response.status, replaced((_DATE,), shown), response.reason)
        return message(head, content or b"", transfer, applied, sized=not response.chunked)
    timing = (made.pace or Pacing()).timing(_SEED.stream("pace", body), ask.prompt_tokens)
    voice = Voice(ask, reply, _SEED, (body, attempt), 1_700_000_000, timing.ttft)
    return render(
        dialect, voice, replies, timing, Framing(chunking, headers=(_DATE, *applied.headers)), transfer, applied
    )


def _target(url: str) -> Target:
    """What a path, perhaps with a query, stands for."""
    path, _, query = url.partition("?")
    match = TABLE.find("POST", path, {})
    assert match is not None, "a dialect's sample is for one of its endpoints"
    return TABLE.target(path, query, match)


def _applied(
    dialect: Dialect, target: Target, case: Case, made: Recipe, ask: Ask, reply: Reply, attempt: int
) -> tuple[Applied, Ask]:
    """The faults that strike, and the request as they have it."""

    def admit(rpm: int | None, tpm: int | None) -> Admission:
        return Limiter(Limits(rpm, tpm), 0.0).admit(0.0, 1)

    def context(index: int) -> Context:
        return Context(
            rng=_SEED.stream(f"fault:{index}", case.name, attempt),
            attempt=attempt,
            stream=ask.stream,
            tokens=lambda: planned_tokens((reply,) * ask.choices, ask),
            dialect=dialect.name,
            framing=dialect.framing(ask),
            error=lambda kind, message: dialect.error_object(RequestError(500, message, kind=kind)),
            wall=_WALL,
            asked=Asked("", case.name, target.path, target.query, {"Host": "127.0.0.1:8000"}),
            chain=made.faults,
            admit=admit,
        )

    applied = Applied(made.faults, context)
    changed = applied.asks()
    return applied, ask.overridden(changed) if changed else ask


# ------------------------------------------------------------------------------------------------ to be read

_ENDINGS: dict[type[Control], str] = {
    End: "the end of the message; the connection stays open",
    Close: "FIN",
    Reset: "RST",
    HalfClose: "FIN, before the message is complete; the server reads on",
    Hang: "silence, until the client leaves",
}


def lines(attempt: Attempt, most: int | None = None) -> Iterator[str]:
    """The attempt as text: a line for each line end, `│` before each piece that may leave in one write with others,
    `┃` before a write of its own; seconds since the request on the left.

    most: pieces that are shown of a long answer (None: all); the last ones are always among them.
    """
    shown = attempt.actions
    tail = 3
    left_out = 0 if most is None else max(0, len(shown) - most)
    clock = 0.0
    for index, (gap, item, _) in enumerate(shown):
        clock += gap
        if left_out and len(shown) - tail - left_out <= index < len(shown) - tail:
            if index == len(shown) - tail - 1:
                yield f"         … {left_out} more pieces"
            continue
        yield from _item(clock, item)
    if attempt.endless:
        yield "         … and so on, without end"


def _item(clock: float, item: SocketItem | Control) -> Iterator[str]:
    if isinstance(item, Hold):
        yield f"{clock:8.3f} ═ waits at the gate {item.gate}"
    elif isinstance(item, Control):
        yield f"{clock:8.3f} ═ {_ENDINGS[type(item)]}"
    else:
        assert not isinstance(item, Burst), "bursts are for the player alone"
        mark, data = ("┃", item.data) if isinstance(item, Write) else ("│", item)
        lead = f"{clock:8.3f} {mark} "
        for line in visible(data):
            yield lead + line
            lead = f"         {mark} "


def visible(data: bytes) -> list[str]:
    """The bytes with every one that does not print made visible, a line for each line, empty ones with the one before.

    ␍ and ␊ are CR and LF; other control characters have their pictures too; ⟨FF⟩ is a byte that is no UTF-8, ⟨U+FEFF⟩ a
    character that has no shape.
    """
    text = data.decode("utf-8", "surrogateescape")
    shown = "".join(map(_picture, text))
    return _LINE.findall(shown) or [""]


def _picture(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"⟨{code - 0xDC00:02X}⟩"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    return f"⟨U+{code:04X}⟩"

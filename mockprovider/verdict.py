"""What a program told, held against what it was sent: text that got lost, errors that were swallowed, and cases.

Everything here is a pure function of exchanges and of what the program said; nothing asks a server or a clock. The wire
alone cannot tell a client that raised from one that swallowed the error, so the program's word is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from random import Random
from typing import Any

from mockprovider.cases import Case
from mockprovider.errors import SettingError
from mockprovider.exchange import Exchange
from mockprovider.faults.base import Context, Fault, Level
from mockprovider.reply import Finish, Reply, Text, TextDelta, deltas
from mockprovider.timeline import NOWHERE, Ending, run
from mockprovider.wiretext import sent_text

__all__ = ["Finding", "Judgement", "Told", "answers", "attempts", "judge", "lost", "picture", "planned_text"]

_SHOWN = 60
"""Characters of a text that a message quotes."""

_MOST = 1_000_000
"""Characters of a planned text that are compared; an endless reply has no end to compare with."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a program says of one call of its own, however many requests it made for it.

    text: what it delivered, None where it says nothing of text; error: the error that it raised or reported, in words,
    None where it reported success; cancelled: it stopped reading on purpose; at: when it said so, in the monotonic
    seconds of `Exchange.started`, None where nobody noted it.
    """

    text: str | None = None
    error: str | None = None
    cancelled: bool = False
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a client must not do. rule: a key of `resilience.RULES`; exchanges: the ids of those meant."""

    rule: str
    message: str
    exchanges: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


# ------------------------------------------------------------------------------------------ what was to be said


def planned_text(exchange: Exchange) -> str | None:
    """The text that the first choice was to say, under the request's limits; None where an error was answered.

    An endless text is cut after a million characters.
    """
    return _text(exchange, ())[0]


def _text(exchange: Exchange, faults: Sequence[Fault]) -> tuple[str | None, str | None, bool]:
    """The text, the part of it before the stream says that it is finished, and whether it says so."""
    reply, ask = exchange.reply, exchange.ask
    if reply is None or ask is None:
        return None, None, False
    said = deltas(reply, choice=0, call_id=str, max_tokens=ask.max_tokens, stop=ask.stop)
    source: Iterator[Any] = ((0.0, delta, NOWHERE) for delta in said)
    context = _context(exchange, reply)
    parts: list[str] = []
    before: str | None = None
    size = 0
    for _, item, _ in run(source, [fault.stage(context) for fault in faults]):
        if isinstance(item, Ending) or size > _MOST:
            break
        if type(item) is TextDelta:
            parts.append(item.text)
            size += len(item.text)
        elif isinstance(item, Finish) and before is None:
            before = "".join(parts)
    return "".join(parts), before, before is not None


def _context(exchange: Exchange, reply: Reply) -> Context:
    """What a fault of the reply level may ask; what it draws is drawn from a stream of its own."""
    ask = exchange.ask
    assert ask is not None, "only prompts have replies"

    def tokens() -> int | None:
        if any(isinstance(part, Text) and not isinstance(part.text, str) for part in reply.parts):
            return None
        made = deltas(reply, choice=0, call_id=str, max_tokens=ask.max_tokens, stop=ask.stop)
        return sum(delta.tokens for delta in made)

    return Context(
        rng=Random(0),
        attempt=exchange.ordinal + 1,
        stream=ask.stream,
        tokens=tokens,
        dialect=exchange.dialect or "",
        error=lambda kind, message: {},
    )


def _whole(exchange: Exchange) -> tuple[str, ...]:
    """The texts that count as the whole of this exchange's reply; none where it was answered with an error.

    What was planned is one. Where faults changed the reply itself, and the stream still says that it is finished (cut
    by a limit, with the reason), what it then said is another, with and without what came after that; and so is what
    was sent, where faults below the reply changed it.
    """
    planned = planned_text(exchange)
    if planned is None:
        return ()
    if not exchange.struck:
        return (planned,)
    sent = sent_text(exchange)
    said = (planned,) if sent is None else (planned, sent)
    faults = [fault for fault in exchange.struck if isinstance(fault, Fault) and fault.level is Level.REPLY]
    if not faults:
        return said
    try:
        shown, before, finished = _text(exchange, faults)
    except SettingError:  # it was refused, too
        return said
    if not finished or shown is None or before is None:
        return said
    return tuple(dict.fromkeys((*said, shown, before)))


def attempts(exchanges: Sequence[Exchange]) -> list[list[Exchange]]:
    """The prompts, those with the same method, path and body together: the attempts of one request, in order."""
    found: dict[tuple[str, str, bytes], list[Exchange]] = {}
    for exchange in exchanges:
        if exchange.body:
            found.setdefault((exchange.method, exchange.path, exchange.body), []).append(exchange)
    return list(found.values())


def answers(exchanges: Sequence[Exchange]) -> list[str]:
    """Every text that a program may rightly deliver as the whole answer: each exchange's, and all requests' in a row.

    Of several attempts of one request, the last one counts in the row.
    """
    found = [text for exchange in exchanges for text in _whole(exchange)]
    rows = [whole[0] for group in attempts(exchanges) if (whole := _whole(group[-1]))]
    if len(rows) > 1:
        found.append("".join(rows))
    return list(dict.fromkeys(found))


# ------------------------------------------------------------------------------------------ what was told


def plain(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced, as everything that prints it does."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _same(told: str, wanted: str, *, lenient: bool) -> bool:
    """Whether they are the same text; lenient: but for replacement characters, one for each byte that is no UTF-8."""
    told, wanted = plain(told), plain(wanted)
    return told == wanted or (lenient and told.replace("\ufffd", "") == wanted.replace("\ufffd", ""))


def is_whole(exchanges: Sequence[Exchange], text: str) -> bool:
    """Whether the text is the whole answer of these exchanges."""
    lenient = any(exchange.faults for exchange in exchanges)
    return any(_same(text, wanted, lenient=lenient) for wanted in answers(exchanges))


def _is_prefix(exchanges: Sequence[Exchange], text: str) -> bool:
    return any(plain(wanted).startswith(plain(text).rstrip("\ufffd")) for wanted in answers(exchanges))


def lost(exchanges: Sequence[Exchange], told: Told | None) -> Iterator[Finding]:
    """Text that was lost or altered and reported as success, and errors that were swallowed."""
    if told is None or told.text is None or told.error is not None or not exchanges:
        return
    text, whole = told.text, answers(exchanges)
    ids = tuple(exchange.id for exchange in exchanges)
    if not whole and told.cancelled:
        return
    if not whole:
        refused = ", ".join(str(exchange.status or exchange.outcome) for exchange in exchanges)
        yield Finding(
            "swallowed-error",
            f"every request was answered with an error ({refused}), and the program reported success with"
            f" {_quoted(text)}",
            ids,
        )
        return
    if is_whole(exchanges, text) or (told.cancelled and _is_prefix(exchanges, text)):
        return
    wanted = max(whole, key=lambda each: SequenceMatcher(None, text[:500], each[:500], autojunk=False).ratio())
    last = exchanges[-1]
    if _is_subsequence(plain(text), plain(wanted)):
        yield Finding(
            "lost-text",
            f"the program reported success with {len(text)} of {len(wanted)} characters; {_missing(text, wanted)};"
            f" {picture(last)}",
            ids,
        )
    else:
        yield Finding(
            "wrong-text", f"the program reported success with a text that was not sent: {_apart(text, wanted)}", ids
        )


def _is_subsequence(part: str, whole: str) -> bool:
    rest = iter(whole)
    return all(character in rest for character in part)


def _missing(text: str, wanted: str) -> str:
    at = _common(text, wanted)
    return f"from character {at} on it lacks {_quoted(wanted[at:])}"


def _apart(text: str, wanted: str) -> str:
    at = _common(text, wanted)
    return f"at character {at}, {_quoted(wanted[at:])} was sent and {_quoted(text[at:])} was delivered"


def _common(one: str, other: str) -> int:
    return next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def picture(exchange: Exchange) -> str:
    """How an exchange went, in half a sentence."""
    faults = f", with {exchange.faults}" if exchange.faults else ""
    outcome = {
        None: "is open",
        "client-left": f"was left by the client after {exchange.sent.bytes} bytes",
    }.get(exchange.outcome, f"ended as {exchange.outcome} after {exchange.sent.bytes} bytes")
    return f"exchange {exchange.id} ({exchange.status or 'no status'}{faults}) {outcome}"


# ------------------------------------------------------------------------------------------ the catalogue's cases


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a case was survived. reading: the expectation that was met, or None; why: what was seen."""

    passed: bool
    reading: str | None
    why: str


def judge(case: Case, exchanges: Sequence[Exchange], told: Told) -> Judgement:
    """What a program told of a case, held against the case's expectation and its further accepted readings.

    deliver, ignore: the whole text and no error; raise: an error; keep: an error, and the text, where it is told, the
    beginning of what was sent; retry: the whole text, no error, and more than one request.
    """
    if not exchanges and case.listener is None:
        return Judgement(False, None, "the program asked for nothing")
    reasons = []
    for reading in (case.expect, *case.accept):
        reason = _against(reading, case, exchanges, told)
        if reason is None:
            return Judgement(True, reading, _said(told))
        reasons.append(f"{reading}: {reason}")
    return Judgement(False, None, "; ".join(reasons))


def _against(reading: str, case: Case, exchanges: Sequence[Exchange], told: Told) -> str | None:
    """Why the reading is not met, or None."""
    if reading in ("raise", "keep"):
        if told.error is None:
            return f"the program reported success with {_quoted(told.text or '')}"
        if reading == "keep" and told.text and not _is_prefix(exchanges, told.text):
            return f"the text that was kept is not what was sent: {_quoted(told.text)}"
        return None
    if told.error is not None:
        return f"the program raised {told.error}"
    if not is_whole(exchanges, told.text or ""):
        found = next(lost(exchanges, Told(told.text or "")), None)
        return found.message if found else "there was no answer to deliver"
    if reading == "retry" and len(exchanges) < 2 and case.listener is None:
        return "the program made one request only"
    return None


def _said(told: Told) -> str:
    return f"delivered {len(told.text or '')} characters" if told.error is None else f"raised {told.error}"

"""What a resilient client does when a provider fails, as rules over exchanges: waits, retries, and lets go.

Sources: RFC 9110 section 10.2.3 (`Retry-After`), RFC 6585 section 4 (429), the providers' pages on errors and rate
limits, and the retry rules that the vendors' SDKs share (408, 409, 429 and 5xx, `retry-after-ms`, `x-should-retry`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import pairwise

from mockprovider.errors import SettingError, nearest
from mockprovider.exchange import Exchange
from mockprovider.verdict import Finding, Told, attempts, is_whole, lost, picture

__all__ = ["RULES", "attempts", "findings", "response_head", "retry_after", "retryable"]

_HOPELESS = (400, 401, 403, 404, 405, 410, 413, 415, 422)
"""Statuses that the same request meets again."""

_RETRYABLE = (408, 409, 429)
"""Statuses below 500 after which the same request may succeed."""

_EARLY = 0.005
"""Seconds that a timer may run short, by its own resolution."""

_AT_ONCE = 0.05
"""Seconds below which a retry has not waited at all."""

_BEGIN = 65_536

_GRACE = 0.1
"""Seconds after which the server knows that a client on the loopback has left."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    most_attempts: int
    patience: float


def _begin(exchange: Exchange) -> bytes:
    """What was sent, up to 64 KiB and the end of a write: the head and a short body are in it."""
    begun = bytearray()
    for piece in exchange.sent.data:
        begun += piece
        if len(begun) > _BEGIN:
            break
    return bytes(begun)


def response_head(exchange: Exchange) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """Status and headers as they were sent; None where no head was sent, or none that can be read."""
    head, end, _ = _begin(exchange).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if not end or len(words) < 2 or not words[1].isdecimal():
        return None
    pairs = (line.partition(":") for line in lines[1:])
    return int(words[1]), tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)


def _header(exchange: Exchange, name: str) -> str | None:
    head = response_head(exchange)
    return dict(head[1]).get(name) if head else None


def retry_after(exchange: Exchange) -> float | None:
    """Seconds that the answer asked the client to wait, counted from its end; None where it did not say.

    `retry-after-ms` comes before `Retry-After`, which has whole seconds or a date; what is neither is no header.
    """
    milliseconds, said = _header(exchange, "retry-after-ms"), _header(exchange, "retry-after")
    try:
        if milliseconds is not None:
            return float(milliseconds) / 1000
    except ValueError:
        pass
    if said is None:
        return None
    if said.isdecimal():
        return float(said)
    try:
        moment = parsedate_to_datetime(said).timestamp()
    except (ValueError, TypeError):
        return None
    answered = exchange.wall + ((exchange.ended or exchange.started) - exchange.started)
    return max(0.0, moment - answered)


def retryable(exchange: Exchange) -> bool | None:
    """Whether the same request may succeed later: True or False where the answer says so, None where it is no failure.

    A connection that ended without any answer is worth another one; a stream that was cut is not here, since its text
    may have been used.
    """
    if exchange.outcome is None:
        return None
    head = response_head(exchange)
    if head is None:
        return True if exchange.outcome in ("closed", "reset") and not exchange.sent.bytes else None
    status, should = head[0], dict(head[1]).get("x-should-retry")
    if status < 400:
        return None
    if should in ("true", "false"):
        return should == "true"
    if status in _RETRYABLE or status >= 500:
        return True
    return False if status in _HOPELESS else None


def _retries(exchanges: Sequence[Exchange]) -> Iterator[tuple[Exchange, Exchange, float]]:
    """Each failed attempt with the one that followed it, and the seconds between them."""
    for group in attempts(exchanges):
        for before, after in pairwise(group):
            if before.ended is not None and retryable(before) is not None:
                yield before, after, after.started - before.ended


# ------------------------------------------------------------------------------------------ the rules


def _early(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    for before, after, waited in _retries(exchanges):
        asked = retry_after(before)
        if asked is not None and asked <= bounds.patience and waited < asked - _EARLY:
            yield Finding(
                "retried-too-early",
                f"exchange {before.id} was answered {before.status} and asked for a wait of {asked:g} s; the next"
                f" attempt came after {max(waited, 0):.3g} s",
                (before.id, after.id),
            )


def _hopeless(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    for before, after, _ in _retries(exchanges):
        if retryable(before) is False:
            yield Finding(
                "retried-hopeless",
                f"exchange {before.id} was answered {before.status}, which the same request meets again, and it was"
                " sent again",
                (before.id, after.id),
            )


def _gave_up(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    if told is not None and (told.cancelled or (told.error is None and is_whole(exchanges, told.text or ""))):
        return
    for group in attempts(exchanges):
        last = group[-1]
        wait = retry_after(last)
        refused_for_good = b"insufficient_quota" in _begin(last)
        if len(group) > 1 or retryable(last) is not True or (wait or 0) > bounds.patience or refused_for_good:
            continue
        if any(other.started > last.started and other.status == 200 for other in exchanges):
            continue  # another request has taken its place
        yield Finding("no-retry", f"{picture(last)}, which may pass, and was not tried again", (last.id,))


def _hammering(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    for group in attempts(exchanges):
        ids = tuple(exchange.id for exchange in group)
        if len(group) > bounds.most_attempts:
            yield Finding("hammering", f"the same request was sent {len(group)} times", ids)
            continue
        hasty = [
            before.id
            for before, _, waited in _retries(group)
            if waited < _AT_ONCE and not retry_after(before) and retryable(before)
        ]
        if len(hasty) > 1:  # one may be due to a connection that was kept too long
            yield Finding("hammering", f"the same request was sent {len(hasty) + 1} times without any wait", ids)


def _left_open(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    for exchange in exchanges:
        if exchange.outcome is None and not _sent_after(exchange, told):
            yield Finding(
                "left-open",
                f"the program is done, and exchange {exchange.id} is still open: nobody closed the stream or its"
                " connection",
                (exchange.id,),
            )


def _streaming(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    for exchange in exchanges:
        late = _sent_after(exchange, told)
        if late:
            yield Finding(
                "streaming-after-cancel",
                f"exchange {exchange.id} still sent {late} writes after the program was done: somebody goes on reading"
                " and paying for them",
                (exchange.id,),
            )


def _sent_after(exchange: Exchange, told: Told | None) -> int:
    """How many writes left after the program was done with it."""
    if told is None or told.at is None or exchange.sent.last <= told.at + _GRACE:
        return 0
    return max(1, sum(time > told.at + _GRACE for time in exchange.sent.times))


def _lost(exchanges: Sequence[Exchange], told: Told | None, bounds: _Bounds) -> Iterator[Finding]:
    return lost(exchanges, told)


_RULES: tuple[Callable[[Sequence[Exchange], Told | None, _Bounds], Iterator[Finding]], ...] = (
    _lost,
    _early,
    _hopeless,
    _gave_up,
    _hammering,
    _left_open,
    _streaming,
)

RULES: Mapping[str, str] = {
    "lost-text": "Text that was sent, or was to be sent, is missing, and the program reported success.",
    "wrong-text": "The program reported success with a text that was not sent.",
    "swallowed-error": "Every answer was an error, and the program reported success.",
    "retried-too-early": "A retry came before the wait that the answer asked for was over.",
    "retried-hopeless": "A request was sent again although its answer said that this cannot help.",
    "no-retry": "A failure that may pass was not tried again.",
    "hammering": "A request was repeated too often, or without any wait.",
    "left-open": "The program is done, but its connection still waits.",
    "streaming-after-cancel": "The program is done, but tokens are still sent to it.",
}
"""Every rule and what breaks it."""


def findings(
    exchanges: Sequence[Exchange],
    told: Told | None = None,
    *,
    ignore: Collection[str] = (),
    most_attempts: int = 6,
    patience: float = 60.0,
) -> list[Finding]:
    """What a resilient client would not have done, in the order of `RULES`; nothing where it behaved.

    exchanges: those of one call of the program, oldest first; told: what it said of it; None judges the wire alone.
    ignore: rules that do not count; most_attempts: of one request; patience: seconds, nobody is asked to wait for
    longer than that. SettingError for an unknown rule.
    """
    for rule in ignore:
        if rule not in RULES:
            raise SettingError(f"ignore: unknown rule {rule!r}{nearest(rule, tuple(RULES))}")
    bounds = _Bounds(most_attempts, patience)
    return [finding for rule in _RULES for finding in rule(exchanges, told, bounds) if finding.rule not in ignore]

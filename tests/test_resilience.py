"""What a resilient client does, as rules over exchanges that never were on a wire; and what a program tells of them."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider.cases import get
from mockprovider.errors import SettingError
from mockprovider.exchange import SentLog
from mockprovider.faults import chain
from mockprovider.reply import Reply, Text
from mockprovider.resilience import RULES, findings, response_head, retry_after, retryable
from mockprovider.verdict import Told, answers, attempts, judge, planned_text
from mockprovider.wiretext import sent_text
from tests.asking import exchange as asked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockprovider.exchange import Exchange

TEXT = "The boats leave at eleven."


def exchange(
    id: int = 1,
    status: int | None = 200,
    at: tuple[float, float | None] = (0.0, 0.1),
    *,
    prompt: str = "Hi!",
    headers: str = "",
    outcome: str | None = "complete",
    reply: str | None = TEXT,
    faults: str = "",
    body: bytes = b"",
    **fields: Any,
) -> Exchange:
    """An exchange as the server would have written it down. status: None where no byte was sent."""
    made = asked(prompt, **fields)
    made.id, made.status, made.outcome = id, status, outcome
    made.started, made.ended = at
    made.wall = 1_000.0 + made.started
    if reply is not None and status == 200:
        made.choice_replies = (Reply.of(reply),)
    if faults:
        made.faults, made.struck = faults, tuple(chain(faults))
    if status is not None:
        head = f"HTTP/1.1 {status} X\r\n{headers}Server: x\r\n\r\n".encode()
        made.sent.add(made.started, made.started, head)
        made.sent.add(made.started, made.ended or made.started, body)
    return made


LIMITED = exchange(1, 429, headers="Retry-After: 2\r\n", reply=None)
BROKEN = exchange(1, 500, reply=None)
CUT = exchange(1, outcome="closed", faults="close(after=3)")
DEAD = exchange(1, None, outcome="reset", reply=None)


def again(start: float, id: int = 2, **fields: Any) -> Exchange:
    """The same request once more."""
    return exchange(id, at=(start, start + 0.1), **fields)


FOUND = [
    # What the program told, what happened, and the rules that are broken.
    ([exchange()], Told(TEXT), []),
    ([exchange()], Told("The boats"), ["lost-text"]),
    ([exchange()], Told(""), ["lost-text"]),
    ([exchange()], Told("The oats leave at eleven."), ["lost-text"]),
    ([exchange()], Told(TEXT + TEXT), ["wrong-text"]),
    ([exchange()], Told("The boats", cancelled=True), []),
    ([exchange()], Told("boats", cancelled=True), ["lost-text"]),
    ([exchange()], Told("The boats", error="E: cut"), []),
    ([exchange()], Told(None), []),
    ([CUT], Told("The boats"), ["lost-text"]),
    ([CUT], Told(None, error="E: cut"), []),
    ([CUT], None, []),
    ([exchange(faults="truncate(after=3)")], Told("The boats leave"), ["lost-text"]),
    ([exchange(faults='truncate(after=3,finish="length")')], Told("The boats leave"), []),
    ([exchange(max_tokens=3)], Told("The boats leave"), []),
    ([exchange(stop=["leave"])], Told("The boats "), []),
    ([BROKEN, again(1)], Told(TEXT), []),
    ([exchange(1, 400, reply=None)], Told(""), ["swallowed-error"]),
    ([exchange(1, 400, reply=None)], Told(None, error="E: bad"), []),
    # two requests of one call: the last answer, or all of them
    ([exchange(), exchange(2, prompt="And?", reply="Really.", at=(1, 2))], Told("Really."), []),
    ([exchange(), exchange(2, prompt="And?", reply="Really.", at=(1, 2))], Told(TEXT + "Really."), []),
    ([exchange(), exchange(2, prompt="And?", reply="Really.", at=(1, 2))], Told("Real."), ["lost-text"]),
    # Retry-After
    ([LIMITED, again(2.1)], None, []),
    ([LIMITED, again(1.5)], None, ["retried-too-early"]),
    ([exchange(1, 429, headers="retry-after-ms: 500\r\nRetry-After: 1\r\n", reply=None), again(0.6)], None, []),
    ([exchange(1, 429, headers="retry-after-ms: 500\r\n", reply=None), again(0.5)], None, ["retried-too-early"]),
    ([exchange(1, 429, headers="Retry-After: 3600\r\n", reply=None), again(5)], None, []),
    ([exchange(1, 503, headers="Retry-After: soon\r\n", reply=None), again(0.5)], None, []),
    # what must not be retried
    ([exchange(1, 401, reply=None), again(1)], None, ["retried-hopeless"]),
    ([exchange(1, 400, reply=None), again(1)], None, ["retried-hopeless"]),
    ([exchange(1, 503, headers="x-should-retry: false\r\n", reply=None), again(1)], None, ["retried-hopeless"]),
    ([exchange(1, 400, headers="x-should-retry: true\r\n", reply=None), again(1)], None, []),
    ([exchange(), again(1)], None, []),
    # what is worth a retry
    ([BROKEN], Told(None, error="E: 500"), ["no-retry"]),
    ([BROKEN], None, ["no-retry"]),
    ([DEAD], None, ["no-retry"]),
    ([DEAD, again(0.2)], None, []),
    ([LIMITED], None, ["no-retry"]),
    ([exchange(1, 429, headers="Retry-After: 3600\r\n", reply=None)], None, []),
    ([exchange(1, 429, body=b'{"error": {"code": "insufficient_quota"}}', reply=None)], None, []),
    ([exchange(1, 503, headers="x-should-retry: false\r\n", reply=None)], None, []),
    ([exchange(1, 401, reply=None)], None, []),
    ([BROKEN], Told("", cancelled=True), []),
    ([BROKEN, exchange(2, prompt="Hi!", model="gpt-4", at=(1, 2))], Told(TEXT), []),
    ([BROKEN, exchange(2, model="gpt-4", at=(1, 2))], None, []),
    # hammering
    ([exchange(n, 500, (n, n + 0.1), reply=None) for n in range(6)], None, []),
    ([exchange(n, 500, (n, n + 0.1), reply=None) for n in range(7)], None, ["hammering"]),
    ([exchange(n, 500, (n / 100, n / 100), reply=None) for n in range(3)], None, ["hammering"]),
    ([BROKEN, again(0.11)], None, []),
    # letting go
    ([exchange(outcome=None, at=(0.0, None))], None, ["left-open"]),
    ([exchange(outcome=None, at=(0.0, None))], Told(TEXT, at=0.3), ["left-open"]),
    ([exchange(at=(0.0, 5.0))], Told("The", cancelled=True, at=1.0), ["streaming-after-cancel"]),
    ([exchange(at=(0.0, 1.05))], Told("The", cancelled=True, at=1.0), []),
    ([exchange(at=(0.0, 5.0), outcome="client-left")], Told(None, error="E", at=1.0), ["streaming-after-cancel"]),
]


@pytest.mark.parametrize(("exchanges", "told", "rules"), FOUND)
def test_each_rule_finds_what_it_is_for_and_nothing_else(
    exchanges: list[Exchange], told: Told | None, rules: list[str]
) -> None:
    """From exchanges and what the program told follow exactly these findings, each with what was seen."""
    found = findings(exchanges, told)
    assert [finding.rule for finding in found] == rules, found
    assert all(finding.message and set(finding.exchanges) <= {each.id for each in exchanges} for finding in found)
    assert findings(exchanges, told, ignore=rules) == []


def test_every_rule_is_broken_once() -> None:
    """The table above breaks every rule, and the rules name nothing that cannot be found."""
    assert {rule for _, _, rules in FOUND for rule in rules} == set(RULES)
    with pytest.raises(SettingError, match="unknown rule 'hammerin'; did you mean 'hammering'"):
        findings([], ignore=["hammerin"])


def test_bounds_can_be_set() -> None:
    """How often a request may come, and how long anybody waits, are the caller's to say."""
    often = [exchange(n, 500, (n, n + 0.1), reply=None) for n in range(4)]
    assert [finding.rule for finding in findings(often, most_attempts=3)] == ["hammering"]
    long = [exchange(1, 429, headers="Retry-After: 3600\r\n", reply=None), again(5)]
    assert [finding.rule for finding in findings(long, patience=7200)] == ["retried-too-early"]


def test_messages_say_what_was_lost_and_where() -> None:
    """A finding shows how much came, what is missing, and how the stream ended."""
    [finding] = findings([CUT], Told("The boats"))
    assert str(finding) == (
        "lost-text: the program reported success with 9 of 26 characters; from character 9 on it lacks"
        " ' leave at eleven.'; exchange 1 (200, with close(after=3)) ended as closed after 29 bytes"
    )
    [finding] = findings([exchange()], Told("The goats"))
    assert "at character 4, 'boats leave at eleven.' was sent and 'goats' was delivered" in finding.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("", None),
        ("Retry-After: 2\r\n", 2.0),
        ("retry-after-ms: 250\r\nRetry-After: 1\r\n", 0.25),
        ("retry-after-ms: many\r\nRetry-After: 1\r\n", 1.0),
        (f"Retry-After: {formatdate(1003.0, usegmt=True)}\r\n", 2.9),
        (f"Retry-After: {formatdate(900.0, usegmt=True)}\r\n", 0.0),
        ("Retry-After: 500ms\r\n", None),
    ],
)
def test_the_wait_is_read_from_the_answer(headers: str, seconds: float | None) -> None:
    """Milliseconds come first, then seconds or a date, which is counted from the answer; what is neither is nothing."""
    found = retry_after(exchange(1, 429, headers=headers, reply=None))
    assert found == (None if seconds is None else pytest.approx(seconds))


def sending(made: Exchange, writes: Iterable[bytes]) -> Exchange:
    """The same exchange with these writes."""
    made.sent = SentLog()
    for data in writes:
        made.sent.add(made.started, made.started, data)
    return made


def test_what_was_not_answered_has_no_head() -> None:
    """Without a readable status line there is no head, and only a connection that died is worth another one."""
    assert (response_head(DEAD), retry_after(DEAD), retryable(DEAD)) == (None, None, True)
    garbage = sending(exchange(outcome="closed"), [b"garbage\r\n\r\n"])
    assert (response_head(garbage), retryable(garbage)) == (None, None)
    assert retryable(exchange(outcome=None, at=(0.0, None))) is None
    limited = exchange(1, 429, headers="Retry-After: 2\r\n", reply=None)
    split = sending(limited, [bytes([byte]) for byte in b"".join(limited.sent.data)])
    assert retry_after(split) == 2.0


def test_attempts_are_requests_with_one_body() -> None:
    """The same method, path and body make attempts of one request; requests without a body are none."""
    one, two, other = exchange(), again(1), exchange(3, prompt="And?")
    assert attempts([one, other, two]) == [[one, two], [other]]
    empty = exchange(4)
    empty.body = b""
    assert attempts([empty]) == []


def test_the_planned_text_is_that_of_the_reply_under_the_requests_limits() -> None:
    """Limits of the request shorten it, reasoning is not in it, an endless one is cut, an error has none."""
    assert planned_text(exchange(max_tokens=2)) == "The boats"
    assert planned_text(BROKEN) is None
    endless = exchange()
    endless.choice_replies = (Reply((Text(lambda: iter(lambda: "word ", "")),)),)
    planned = planned_text(endless)
    assert planned is not None
    assert 1_000_000 < len(planned) < 1_000_100
    assert answers([BROKEN, again(1)]) == [TEXT]


STREAM = (
    b"%x\r\n%b\r\n" % (len(part), part)
    for part in (
        b'data: {"choices": [{"index": 0, "delta": {"content": "The "}}]}\r\n\r\n',
        b'data: {"choices": [{"index": 1, "delta": {"content": "no"}}]}\n\n: ping\n\ndata: [DO',
        b'NE]\n\ndata: {"choices": [{"index": 0, "delta": {"content": "boats"}, "finish_reason": "stop"}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"content": "late"}}]}\n\n',
    )
)
CHUNKED = b"".join(STREAM) + b"0\r\n\r\n"
MESSAGE = (
    b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}'
    b'\n\ndata: {"type": "message_stop"}\n\n'
)


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ("Transfer-Encoding: chunked\r\n", CHUNKED, "The boats"),
        ("Transfer-Encoding: chunked\r\n", CHUNKED.replace(b"stop", b"st\xffp"), "The boats"),
        ("Transfer-Encoding: chunked\r\n", CHUNKED[:90], None),
        ("Transfer-Encoding: chunked\r\n", CHUNKED.replace(b'"stop"', b"null  "), None),
        ("Content-Encoding: gzip\r\n", MESSAGE, None),
        ("", MESSAGE, "Hi"),
        ("", MESSAGE.replace(b"message_stop", b"message_stap"), None),
        (
            "",
            b'data: {"type": "response.output_text.delta", "delta": "Hi"}\n\ndata: {"type": "response.completed"}',
            "Hi",
        ),
        ("", b"<html>", None),
    ],
)
def test_the_text_on_the_wire_is_read_where_the_stream_says_that_it_is_finished(
    headers: str, body: bytes, text: str | None
) -> None:
    """Chunks are joined, events read, and the text is that before the end which the stream declares, or none."""
    assert sent_text(exchange(headers=headers, body=body)) == text


LONE = 'insert-text(text="\\udcaf",after=3)'
JUDGED = [
    ("sse-crlf", [exchange()], Told(TEXT), "deliver"),
    ("sse-crlf", [exchange()], Told("The"), None),
    ("sse-crlf", [exchange()], Told(None, error="E"), None),
    ("sse-crlf", [], Told(None, error="E"), None),
    ("sse-comment-keepalive", [exchange()], Told(TEXT), "ignore"),
    ("http-200-html", [exchange()], Told(None, error="E"), "raise"),
    ("http-200-html", [exchange()], Told(""), None),
    ("sse-eof-no-finish", [CUT], Told("The boats", error="E"), "keep"),
    ("sse-eof-no-finish", [CUT], Told(None, error="E"), "keep"),
    ("sse-eof-no-finish", [CUT], Told("boats", error="E"), None),
    ("sse-eof-no-finish", [CUT], Told("The boats"), None),
    ("http-500-json", [BROKEN, again(1)], Told(TEXT), "retry"),
    ("http-500-json", [BROKEN], Told(None, error="E"), None),
    ("http-500-json", [exchange()], Told(TEXT), None),
    ("sse-giant-event", [exchange()], Told(None, error="E"), "raise"),
    ("connect-refused", [], Told(None, error="E"), "raise"),
    (
        "invalid-utf8",
        [exchange(faults="stray-bytes(hex=ff,event=3)")],
        Told("The \ufffdboats leave at eleven."),
        "deliver",
    ),
    (
        "lone-surrogate",
        [exchange(faults='insert-text(text="\\udcaf",after=3)')],
        Told("The boats leave\ufffd at eleven."),
        "deliver",
    ),
]


@pytest.mark.parametrize(("case", "exchanges", "told", "reading"), JUDGED)
def test_a_case_is_judged_by_its_expectation_and_its_further_readings(
    case: str, exchanges: list[Exchange], told: Told, reading: str | None
) -> None:
    """What the program told meets one of the case's readings, or the judgement says why none."""
    judgement = judge(get(case), exchanges, told)
    assert (judgement.passed, judgement.reading) == (reading is not None, reading), judgement
    assert judgement.why

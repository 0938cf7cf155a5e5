"""Faults laid over a response while it comes: nothing waits that no fault needs, and what none touches stays."""

from __future__ import annotations

import gzip
import json
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.cases import recipe
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Context, Level, Pass
from mockprovider.recording.lifting import Lifter
from mockprovider.replay.living import Living, refusal
from mockprovider.timeline import Close, End, Ending, Hang, Reset
from mockprovider.wire import Write
from tests.test_replay_faults import wires
from tests.wiretap import Response, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def event(text: str) -> bytes:
    """An event that carries text."""
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def chunk(content: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def context(faults: Any = (), dialect: str = "openai-chat") -> Context:
    """What a fault knows of the exchange."""
    return Context(
        rng=random.Random(0),
        attempt=1,
        stream=True,
        tokens=lambda: None,
        dialect=dialect,
        error=lambda kind, message: {"error": {"type": kind, "message": message}},
        chain=faults,
    )


class Answer:
    """An answer that comes as the test says, with faults: what has been handed on of it, at which times."""

    def __init__(self, chain: str = "", *, extra: Any = None, bodyless: bool = False) -> None:
        faults = recipe(chain).faults if chain else ()
        assert refusal(faults, context(faults)) is None
        self.now = 0.0
        self.clock = 0.0
        self.writes: list[tuple[float, bytes]] = []
        self.ending: Ending | None = None
        applied = Applied(faults, lambda index: context(faults))
        applied.response()
        self.living = Living(applied, bodyless=bodyless, now=lambda: self.now, extra=extra)

    def _take(self, made: Iterable[Any]) -> bytes:
        new = b""
        for gap, item, _ in made:
            assert gap >= 0
            assert self.ending is None
            self.clock += gap
            if isinstance(item, bytes | Write):
                data = item.data if isinstance(item, Write) else item
                self.writes.append((self.clock, data))
                new += data
            else:
                assert isinstance(item, Ending)
                self.ending = item
        return new

    def came(self, data: bytes, gap: float = 0.0) -> bytes:
        """The upstream sends; returns what of everything so far is handed on now."""
        self.now += gap
        return self._take(self.living.read(gap, data))

    def ended(self, ending: Ending | None = None, gap: float = 0.0) -> bytes:
        """The upstream ends it."""
        self.now += gap
        return self._take(self.living.end(gap, ending or End()))

    def silent(self, until: float) -> bytes:
        """Nothing comes until then."""
        new = b""
        while (quiet := self.living.quiet) is not None and quiet <= until:
            self.now = max(self.now, quiet)
            new += self._take(self.living.silence())
        self.now = until
        return new

    @property
    def data(self) -> bytes:
        """All that was handed on."""
        return b"".join(data for _, data in self.writes)

    @property
    def response(self) -> Response:
        """It, read by a strict parser."""
        [found] = parse(self.data)
        return found


# ------------------------------------------------------------------------------------------------ the law

LEVELS = [Level.SOCKET, Level.MESSAGE, Level.EVENT, Level.PAYLOAD, Level.REPLY]


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=120, deadline=None)
@given(wire=wires(), cuts=st.lists(st.integers(0, 400), max_size=8), ending=st.sampled_from([Close(), Reset()]))
def test_what_no_fault_touches_stays_as_it_is(level: Level, wire: bytes, cuts: list[int], ending: Ending) -> None:
    """Lifted to any level and lowered again, all bytes are those that came, and none is joined with another read's."""
    bounds = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    answer, lifter, sent = Answer(extra={level: [Pass()]}), Lifter(), 0
    for begin, end in pairwise(bounds):
        answer.came(wire[begin:end], 0.5)
        lifter.feed(wire[begin:end])
        sent = end
        if lifter.complete:  # an upstream is read no further
            ending = End()
            break
    answer.ended(ending)
    assert answer.data == wire[:sent]
    assert answer.ending == ending
    at = 0
    for _, data in answer.writes:
        if at or level is not Level.SOCKET:  # faults of writes count from the end of the head, so it is one
            assert not any(at < bound < at + len(data) for bound in bounds)
        at += len(data)


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_waits_for_what_comes_later(level: Level) -> None:
    """Each event leaves with the read that completes it, although its chunk goes on, or is not closed yet."""
    one, two, three = event("one"), event("two"), event("three")
    answer = Answer(extra={level: [Pass()]})
    assert answer.came(STREAM) == STREAM
    whole = chunk(one)
    assert answer.came(whole) == whole
    opened = b"%x\r\n%b" % (len(two + three), two)
    assert answer.came(opened + three[:9]) in (opened, opened + three[:9])
    assert answer.came(three[9:]).endswith(three[9:])
    assert answer.came(b"\r\n") == b"\r\n"
    assert answer.came(LAST) + answer.ended() == LAST
    assert answer.response.body == one + two + three


# ------------------------------------------------------------------------------------------------ faults by level


def streamed(chain: str, *reads: bytes, end: bool = False) -> Answer:
    """A stream with faults, after these reads."""
    answer = Answer(chain)
    for data in (STREAM, *reads):
        answer.came(data)
    if end:
        answer.came(LAST)
        answer.ended()
    return answer


DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("chain", "reads", "body"),
    [
        ("done", (chunk(event("one") + DONE[:8]), chunk(DONE[8:])), event("one") + b":" * 8),
        ("done", (chunk(event("one") + DONE[:8]), chunk(DONE[8:]) + chunk(event("two"))), event("one") + event("two")),
        (
            "rename(path=choices,to=options)",
            (chunk(event("one") + event("two")[:9]), chunk(event("two")[9:])),
            (event("one") + event("two")).replace(b"choices", b"options"),
        ),
        ("line-ends", (chunk(event("a") + event("b")[:9]), chunk(event("b")[9:])), event("a") + event("b")),
    ],
    ids=["shorter at the end", "shorter, and more follows", "as long", "longer"],
)
def test_a_chunk_whose_size_has_left_keeps_it(chain: str, reads: tuple[bytes, ...], body: bytes) -> None:
    """An event does not wait for the one behind it in its chunk; whatever becomes of that one, the framing is legal."""
    first = Answer(chain)
    first.came(STREAM)
    assert b'"content": ' in first.came(reads[0])
    wanted = body.replace(b"\n", b"\r\n") if chain == "line-ends" else body
    assert streamed(chain, *reads, end=True).response.body == wanted


@pytest.mark.parametrize(
    "chain", ["eof(after=1)", "reset(after=1)", "close(after=1)", "hang(after=1)", "truncate(after=1)"]
)
def test_an_ending_within_a_chunk(chain: str) -> None:
    """Where a fault ends the stream between two events of one chunk, what comes before is a chunk of its own."""
    answer = streamed(chain, chunk(event("one") + event("two")))
    last = LAST if isinstance(answer.ending, End) else b""
    assert answer.data == STREAM + chunk(event("one")) + last
    wanted = {"reset": Reset, "close": Close, "hang": Hang}.get(chain.partition("(")[0], End)
    assert isinstance(answer.ending, wanted)


def test_what_a_stall_puts_off_is_put_off_for_good() -> None:
    """After a stall each later event comes as much after its own time; those before come at theirs."""
    answer = streamed("stall(after=1,seconds=5)", chunk(event("one")))
    answer.came(chunk(event("two")), 0.5)
    answer.came(chunk(event("three")), 2.0)
    assert [at for at, _ in answer.writes] == [0.0, 0.0, 5.5, 7.5]


def test_comments_keep_a_silent_stream_alive() -> None:
    """A comment comes at each interval while the upstream says nothing, and none a second time when it speaks."""
    answer = streamed("keepalive(seconds=1)")
    comment = chunk(b": keep-alive\n\n")
    assert answer.silent(2.5) == comment * 2
    answer.now -= 2.5
    assert answer.came(chunk(event("one")), 2.5) == chunk(event("one"))
    assert answer.silent(3.4) == b""
    assert answer.silent(3.5) == comment
    stalled = streamed("stall(after=1,seconds=5)+keepalive(seconds=2)", chunk(event("one")))
    stalled.came(chunk(event("two")), 0.5)
    assert [(at, data == comment) for at, data in stalled.writes[2:]] == [(2.0, True), (4.0, True), (5.5, False)]


def test_a_document_is_changed_as_a_whole() -> None:
    """What declares its length is changed when all of it has come, and declares its new one."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
    for chain, body in (
        ("rename(path=a,to=bcd)", b'{"bcd":1}'),
        ("gzip", b'{"a":1}'),
        ("drop(path=zz)+gzip", b'{"a":1}'),
    ):
        answer = Answer(chain)
        answer.came(head + b'{"a":')
        answer.came(b"1}")
        answer.ended()
        found = answer.response
        assert found.header("content-length") == str(len(found.body))
        assert (gzip.decompress(found.body) if "gzip" in chain else found.body) == body


@pytest.mark.parametrize("chain", ["line-ends", "reset(after=1)", "keepalive", "held-open"])
def test_an_answer_that_has_no_events_is_left_alone(chain: str) -> None:
    """A provider's error goes through a fault of events as it came, and that fault did not strike."""
    error = b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    answer = Answer(chain)
    assert answer.came(error) + answer.ended() == error
    assert answer.living.struck == ()


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("reset(after=50%)", "before its end has come"),
        ("drop-payloads(at=text:last)", "only when it is over"),
        ("buffered", "holds all of the answer back"),
        ("headers-early", "has not sent yet"),
        ("finish", "no reply to change"),
        ("truncate(after=2,finish=length)", "needs the reply"),
        ("drop-payloads(at=ping)", "has no such kind of payload"),
    ],
)
def test_what_cannot_be_done_to_a_live_answer(chain: str, said: str) -> None:
    """A fault that needs what has not come yet is named, with the reason."""
    faults = recipe(chain).faults
    assert said in (refusal(faults, context(faults)) or "")

"""Faults laid over a response while it comes: nothing waits that no fault needs, and what none touches stays."""

from __future__ import annotations

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
from mockprovider.timeline import Close, End, Ending, Reset
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

"""Laws of all faults: what is legal changes nothing for a conforming parser, and what does nothing changes no byte."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.dialects.base import Ask
from mockprovider.faults import FAULTS, Fault, Level, grammar
from mockprovider.faults import made as make
from mockprovider.faults.applied import Applied
from mockprovider.faults.base import Context
from mockprovider.pace import Chunking, Pacing
from mockprovider.render import Framing, planned_tokens, render
from mockprovider.reply import Reasoning, Reply, Text, ToolCall
from mockprovider.timeline import Control, Ending, Timed
from mockprovider.wire import TransferEncoder
from tests import whatwg
from tests.chatting import DIALECT, ask, voice
from tests.wiretap import parse

# ------------------------------------------------------------------------------------------------ what is drawn

LINE = st.text(st.characters(exclude_characters="\r\n"), max_size=12)
SECONDS = st.floats(0, 2, allow_subnormal=False)
COUNT = st.integers(1, 7)

LEGAL: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    # payloads
    "ascii": {},
    # events
    "noop": {},
    "line-ends": {"end": st.sampled_from(["lf", "cr", "crlf", "mixed"])},
    "blank-lines": {"extra": COUNT, "every": COUNT},
    "multiline": {"lines": COUNT},
    "spacing": {"spaces": st.integers(0, 3), "on": st.sampled_from(["all", "done"])},
    "ids": {"first": st.integers(0, 9), "text": st.one_of(st.none(), LINE), "every": COUNT},
    "field": {
        "field": st.sampled_from(["retry", "foo", "DATA", "data ", "\0", "é", "x y"]),
        "value": st.one_of(st.integers(0, 9000).map(str), LINE),
        "colon": st.booleans(),
        "place": st.sampled_from(["first", "last"]),
    },
    "field-order": {"data": st.sampled_from(["first", "last"])},
    "comment": {"text": LINE, "every": COUNT, "first": st.booleans(), "blank": st.booleans()},
    "keepalive": {"seconds": st.floats(0.05, 2), "text": LINE, "blank": st.booleans()},
    # the message
    "bom": {},
    "charset": {"charset": st.sampled_from(["windows-1252", "utf-16", ""])},
    "split": {
        "at": st.lists(
            st.sampled_from(["character", "escape", "json", "name", "part", "crlf", "blank", "event"]), min_size=1
        ),
        "into": st.sampled_from(["chunks", "writes"]),
    },
    "rechunk": {
        "sizes": st.lists(st.integers(1, 1200), min_size=1, max_size=3),
        "seconds": st.sampled_from([0, 0.001]),
    },
    "merge": {"events": COUNT, "after": st.integers(0, 4), "times": st.one_of(st.none(), COUNT)},
    "headers-early": {},
    "no-chunking": {},
    "trailer": {"key": st.sampled_from(["X-Error", "x-2"]), "value": st.sampled_from(["none", "a: b"])},
    "buffered": {"head": st.booleans()},
    "gzip": {"flush": st.booleans(), "effort": st.integers(0, 9)},
    "leading-newlines": {"count": COUNT, "seconds": SECONDS},
    # the socket
    "chunk-extensions": {"text": st.sampled_from(["x", "name=value", 'a="b c"']), "every": COUNT},
    "delay": {"seconds": SECONDS},
    "dribble": {"bytes": st.integers(1, 50), "seconds": SECONDS},
    "dribble-head": {"by": st.sampled_from(["byte", "line"]), "seconds": SECONDS},
}
"""The settings of each legal fault below the reply, all of them optional. A new one has to be added here."""

LENGTHENS = {"leading-newlines", "delay", "dribble", "dribble-head", "headers-early"}
"""Those whose purpose is time; all others conserve it."""


def _made(name: str) -> st.SearchStrategy[Fault]:
    return st.fixed_dictionaries({}, optional=LEGAL[name]).map(lambda chosen: FAULTS[name](**chosen))


ORDER = ("leading-newlines", "bom", "gzip")
"""The order in which these make sense: a byte order mark is one at the very start alone, and a coding is of it all."""


def _sensible(faults: list[Fault]) -> list[Fault]:
    """The faults with those of ORDER after all others that are before the socket, in this order."""
    return sorted(faults, key=lambda fault: ORDER.index(fault.name) if fault.name in ORDER else -1)


FAULT = st.sampled_from(sorted(LEGAL)).flatmap(_made)
ONCE = {"bom", "dribble-head", "gzip"}
"""Twice the mark is a character of the first line; a head that has been cut up is no head to be cut up."""

CHAINS = (
    st.lists(FAULT, min_size=1, max_size=5)
    .filter(lambda faults: all(sum(fault.name == name for fault in faults) < 2 for name in ONCE))
    .map(_sensible)
)

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=()),  # surrogates among them
        st.sampled_from('aA e\n\r\t"\\/\0\x7f\x85\u2028\u2029\ufeff\u200d👩é\ud83d\ude00:{},'),
    ),
    max_size=30,
)
PARTS = st.lists(
    st.one_of(TEXTS.map(Text), TEXTS.map(Reasoning), TEXTS.map(lambda text: ToolCall("look", {text: text}))), max_size=3
)
ASKS = st.fixed_dictionaries(
    {"n": st.integers(1, 2), "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()})}
)
PACES = st.sampled_from(["instant", "ttft=1,itl=0.3", "ttft=2.5,itl=0,head=0.2"])
CHUNKINGS = st.builds(
    Chunking,
    tokens_per_payload=st.integers(1, 3),
    payloads_per_chunk=st.sampled_from([1, 3, "1/2"]),
    chunks_per_write=st.sampled_from([None, 2, "1/3"]),
)

# ------------------------------------------------------------------------------------------------ rendering


def chain(text: str) -> tuple[Fault, ...]:
    """The faults that a text says."""
    return tuple(make(call) for call in grammar.parse(text))


def lower(
    asked: Ask,
    reply: Reply,
    faults: Sequence[Fault],
    pace: str = "instant",
    chunking: Chunking | None = None,
    **how: bool,
) -> list[Timed[Any]]:
    """What the player would perform of the reply under these faults, its ending included."""

    def context(index: int) -> Context:
        return Context(
            rng=random.Random(index),
            attempt=1,
            stream=True,
            tokens=lambda: planned_tokens([reply] * asked.choices, asked),
            dialect=DIALECT.name,
            error=lambda kind, message: {"error": {"message": message, "type": kind}},
        )

    packing = chunking or Chunking()
    timing = Pacing.parse(pace).timing(random.Random(1), asked.prompt_tokens)
    relay, chunked = how.get("relay", False), how.get("chunked", True)
    transfer = TransferEncoder(packing, chunked=chunked)
    timeline = render(
        DIALECT,
        voice(asked, reply),
        [reply] * asked.choices,
        timing,
        Framing(packing, relay),
        transfer,
        Applied(faults, context),
    )
    return list(_to_its_end(timeline))


def _to_its_end(timeline: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
    for timed in timeline:
        yield timed
        if isinstance(timed[1], Ending):
            return


def wire(actions: list[Timed[Any]]) -> bytes:
    """All bytes."""
    return b"".join(
        item if isinstance(item, bytes) else item.data for _, item, _ in actions if not isinstance(item, Control)
    )


def delivered(actions: list[Timed[Any]]) -> list[Any]:
    """What a client gets that reads HTTP, gzip, event streams and JSON as their standards say: documents, other data.

    Raises WireError where it is no legal HTTP/1.1 response.
    """
    (response,) = parse(wire(actions))
    assert response.status == 200
    body = bytes(response.body)
    if response.header("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return [(event.type, _read(event.data)) for event in whatwg.read(body).events]


def _read(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.strip(" ")


# ------------------------------------------------------------------------------------------------ the laws


@settings(deadline=None, max_examples=200)
@given(CHAINS, PARTS, ASKS, PACES, CHUNKINGS, st.booleans(), st.booleans())
@example(list(chain("line-ends(end=mixed)+comment(blank=false)+bom+split(at=crlf character)")), [Text("é\n" * 9)],
         {"n": 2}, "instant", Chunking(), True, True)  # fmt: skip
@example(list(chain("multiline+spacing+field(place=last)+line-ends(end=cr)+rechunk(sizes=7)+merge(events=5)")),
         [Text('a,"b",\\')], {}, "ttft=1,itl=0.3", Chunking(tokens_per_payload=2), False, True)  # fmt: skip
def test_what_is_legal_changes_nothing_for_a_conforming_client(
    faults: list[Fault],
    parts: list[Any],
    fields: dict[str, Any],
    pace: str,
    chunking: Chunking,
    relay: bool,
    chunked: bool,
) -> None:
    """Under any legal faults, in any order and for any reply, a conforming client gets what it gets without them."""
    asked, reply = ask(stream=True, **fields), Reply(tuple(parts))
    plain = lower(asked, reply, (), pace, chunking, relay=relay, chunked=chunked)
    faulty = lower(asked, reply, faults, pace, chunking, relay=relay, chunked=chunked)
    assert delivered(faulty) == delivered(plain)
    assert faulty[-1][1] == plain[-1][1]
    assert all(gap >= 0 for gap, _, _ in faulty)
    if not any(fault.name in LENGTHENS for fault in faults):
        assert abs(sum(gap for gap, _, _ in faulty) - sum(gap for gap, _, _ in plain)) < 1e-6


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["noop", "bom(p=0)", "spacing(attempt=2)", "ascii(p=0)"]), min_size=1, max_size=3),
       PARTS, ASKS, PACES, CHUNKINGS, st.booleans())  # fmt: skip
def test_an_untouched_timeline_lowers_to_identical_bytes(
    texts: list[str], parts: list[Any], fields: dict[str, Any], pace: str, chunking: Chunking, relay: bool
) -> None:
    """Faults that do nothing, or do not strike this time, change neither bytes nor boundaries nor time."""
    asked, reply = ask(stream=True, **fields), Reply(tuple(parts))
    plain, same = (
        [(gap, item.data if hasattr(item, "data") else item) for gap, item, _ in found]
        for found in (
            lower(asked, reply, (), pace, chunking, relay=relay),
            lower(asked, reply, chain("+".join(texts)), pace, chunking, relay=relay),
        )
    )
    assert same == plain


OF_ANOTHER_DIALECT = {"pings"}
"""Refused for chat completions; what they leave unchanged is in tests/test_anthropic.py."""


def test_no_legal_fault_below_the_reply_is_left_out() -> None:
    """Whatever says of itself that it is legal, and acts on payloads or below, is drawn above."""
    said = {name for name, fault in FAULTS.items() if fault.legal and fault.home <= Level.PAYLOAD}
    assert said - OF_ANOTHER_DIALECT == set(LEGAL)


def test_the_law_can_fail() -> None:
    """The oracle tells an illegal fault from a legal one."""
    asked, reply = ask(stream=True), Reply.of("Nothing is lost — or is it?")
    plain = delivered(lower(asked, reply, ()))
    for text in ("data-prefix", "no-blank-lines", "done", "insert-block(after=1events)", 'stray-bytes(hex="ff")',
                 "eof(after=2)", "no-final-blank", "event-names(event=x)", "cut-character(size=3)"):  # fmt: skip
        assert delivered(lower(asked, reply, chain(text))) != plain, text


STREAMS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"data",
                b"data:",
                b": ",
                b"event: a",
                b"id: 1",
                b"id: \0",
                b"id",
                b"retry: 5",
                b"x",
                b"\r",
                b"\n",
                b"\r\n",
                b"\xef\xbb\xbf",
                b"\xe2\x80\xa8",
                b"\xc2\x85",
                b"\xff",
                b" ",
                b":",
            ]
        ),
        st.binary(max_size=3),
    ),
    max_size=25,
).map(b"".join)


@pytest.mark.parametrize(
    ("stream", "dispatched"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("YHOO\n+2\n10", "")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            [("first event", "1"), ("second event", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("", ""), ("\n", "")]),
        (b"data:test\n\ndata: test\n\n", [("test", ""), ("test", "")]),
    ],
)
def test_the_oracle_reads_the_standards_examples(stream: bytes, dispatched: list[tuple[str, str]]) -> None:
    """The WHATWG text prints four streams and says what each dispatches."""
    found = [(event.type, event.data, event.last_id) for event in whatwg.read(stream).events]
    assert found == [("message", data, last) for data, last in dispatched]


@settings(deadline=None, max_examples=500)
@given(STREAMS)
def test_the_oracle_loses_no_byte(stream: bytes) -> None:
    """Its lines and its blocks, put together again, are the stream."""
    assert b"".join(whatwg.blocks(stream)) == stream
    assert b"".join(text + end for text, end in whatwg.lines(stream)) == stream

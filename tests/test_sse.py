"""Level 2: what the encoder writes is what a parser made from the WHATWG text reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.framing.sse import ServerSentEvent, SseEncoder
from mockprovider.framing.whole import WholeEncoder
from mockprovider.payload import Affixes, Payload
from mockprovider.timeline import NOWHERE, End, Hold
from mockprovider.wire import Head
from tests.chatting import Event, events

ONE_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
LINES = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\r\n :")), max_size=40)


@pytest.mark.parametrize(
    ("stream", "read"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event("message", "YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            [Event("message", "first event", "1"), Event("message", "second event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [Event("message", ""), Event("message", "\n")]),
        (b"data:test\n\ndata: test\n\n", [Event("message", "test"), Event("message", "test")]),
        (b"event: add\ndata: 73857293\n\nevent: remove\n\n", [Event("add", "73857293")]),
        (b"\xef\xbb\xbfdata: a\r\ndata: b\r\rdata: c\n\n", [Event("message", "a\nb"), Event("message", "c")]),
        (b"id: 1\0\ndata: a\nunknown: b\n\n", [Event("message", "a")]),
        (b"data: \xff\n\n", [Event("message", "\ufffd")]),
    ],
)
def test_the_parser_reads_the_examples_of_the_standard(stream: bytes, read: list[Event]) -> None:
    """The parser that the tests use does what the standard says in its examples, and in its fine print."""
    assert events(stream) == read


@settings(deadline=None)
@given(LINES, st.one_of(st.none(), ONE_LINE), st.one_of(st.none(), ONE_LINE), st.one_of(st.none(), LINES))
@example("a\r\nb\rc\nd", "delta", "7", "hello\rworld")
@example("", None, None, None)
@example("\ufeff", "\ufeff", "\ufeff", None)
def test_an_event_is_read_as_it_was_meant(data: str, name: str | None, id: str | None, comment: str | None) -> None:
    """Whatever the data, the name, the id and the comment: one event is read, and it is this one."""
    made = ServerSentEvent(data.encode(), event=name, id=id, comment=comment, retry=100)
    lines = data.replace("\r\n", "\n").replace("\r", "\n")
    # A byte order mark is only taken off at the beginning of a stream, where a comment stands here.
    assert events(b":\n" + made.encode()) == [Event(name or "message", lines, id or "")]


def test_an_event_without_data_is_not_dispatched() -> None:
    """A comment, or a name alone, is a block that clients skip."""
    assert ServerSentEvent(comment="ping").encode() == b": ping\n\n"
    assert events(ServerSentEvent(event="ping", comment="two\nlines").encode()) == []


def test_the_layout_is_that_of_providers() -> None:
    """Fields in one order, LF line ends, one space after each colon, one empty line at the end."""
    made = ServerSentEvent(b"{}", event="delta", id="3", retry=5, comment="x")
    assert made.encode() == b": x\nevent: delta\nid: 3\nretry: 5\ndata: {}\n\n"


@pytest.mark.parametrize("fields", [{"event": "a\nb"}, {"event": "a\rb"}, {"id": "1\n"}, {"id": "1\0"}])
def test_what_fits_into_no_line_is_refused(fields: dict[str, Any]) -> None:
    """A name or id that would be read otherwise than it was meant cannot be made."""
    with pytest.raises(ValueError, match="is one line of text"):
        ServerSentEvent(b"", **fields)


# ---------------------------------------------------------------------------------------------------- the stages


def test_payloads_become_events() -> None:
    """Each payload is one event, with its name if it has one; gaps and origins stay, controls fall through."""
    encoder = SseEncoder()
    source: list[Any] = [
        (0.5, Payload(b"{}"), (0, 0)),
        (0.25, Hold("g"), NOWHERE),
        (0.0, Payload(b"[DONE]", "done"), (1, 2)),
    ]
    assert [timed for step in source for timed in encoder.feed(step)] == [
        (0.5, b"data: {}\n\n", (0, 0)),
        (0.25, Hold("g"), NOWHERE),
        (0.0, b"event: done\ndata: [DONE]\n\n", (1, 2)),
    ]


def test_a_payload_of_several_lines_is_one_event() -> None:
    """Line ends inside a payload do not end its event."""
    ((_, encoded, _),) = SseEncoder().feed((0.0, Payload(b'{\n"a":\r1}'), NOWHERE))
    assert isinstance(encoded, bytes)
    assert events(encoded) == [Event("message", '{\n"a":\n1}')]


def test_relays_number_their_events() -> None:
    """The variant of relays names every event and counts from 1; a payload's own name goes before `message`."""
    encoder = SseEncoder(relay=True)
    made = [item for name in (None, "error", None) for _, item, _ in encoder.feed((0.0, Payload(b"{}", name), NOWHERE))]
    assert made == [
        b"event: message\nid: 1\ndata: {}\n\n",
        b"event: error\nid: 2\ndata: {}\n\n",
        b"event: message\nid: 3\ndata: {}\n\n",
    ]


def test_events_are_composed_only_where_they_are_alike() -> None:
    """Affixes are given for plain events; numbered ones differ from event to event."""
    inner = Affixes(b"{", b"}")
    assert SseEncoder().compose(inner) == Affixes(b"data: {", b"}\n\n")
    assert SseEncoder(relay=True).compose(inner) is None


def test_a_whole_reply_declares_its_length() -> None:
    """A body that is one document is a message with its length, and an end."""
    encoder = WholeEncoder(Head(200, (("x", "y"),)))
    made = [*encoder.feed((1.5, Payload(b"{}\n"), (0, 3))), *encoder.flush()]
    assert made == [
        (1.5, Head(200, (("x", "y"), ("Content-Length", "3"))), (0, 3)),
        (0.0, b"{}\n", (0, 3)),
        (0.0, End(), NOWHERE),
    ]

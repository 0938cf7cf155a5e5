"""Levels 1 and 0, without a connection: what the bytes are, where chunks and writes begin and end, and when."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, groupby
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.pace import Chunking
from mockprovider.render import message
from mockprovider.timeline import NOWHERE, Close, Control, End, Hang, Hold, Reset, Timed, run
from mockprovider.wire import Head, MessageEncoder, Raw, TransferEncoder, Write
from tests.wiretap import WireError, parse

HEAD = Head(200, (("Content-Type", "text/event-stream"),))


def lower(
    source: list[Timed[Any]],
    chunking: str | Chunking = "tokens_per_payload=1",
    head_at: float | None = None,
    **http: bool,
) -> tuple[list[Timed[Any]], TransferEncoder]:
    """Events as socket actions up to the ending, and the encoder that made them."""
    packing = Chunking.parse(chunking)
    transfer = TransferEncoder(packing, **http)
    stages: list[Any] = [MessageEncoder(HEAD, packing.payloads_per_chunk, head_at), transfer]
    return list(_played(run(iter(source), stages))), transfer


def _played(actions: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
    for timed in actions:
        yield timed
        if isinstance(timed[1], End | Close | Reset | Hang):
            return


def data(actions: list[Timed[Any]]) -> bytes:
    """All bytes, in order."""
    return b"".join(
        item if isinstance(item, bytes) else item.data for _, item, _ in actions if not isinstance(item, Control)
    )


def promised(actions: list[Timed[Any]]) -> list[bytes]:
    """What was promised to leave by writes of its own."""
    return [item.data for _, item, _ in actions if isinstance(item, Write)]


def steps(*events: bytes, gap: float = 0.25) -> list[Timed[Any]]:
    """Events, each that long after the one before."""
    return [(gap, event, (0, number)) for number, event in enumerate(events)]


# ---------------------------------------------------------------------------------------------------------- head


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (Head(200), b"HTTP/1.1 200 OK\r\n\r\n"),
        (Head(429, (("A", "1"), ("a", "2"))), b"HTTP/1.1 429 Too Many Requests\r\nA: 1\r\na: 2\r\n\r\n"),
        (Head(200, reason="Fine"), b"HTTP/1.1 200 Fine\r\n\r\n"),
        (Head(200, reason=""), b"HTTP/1.1 200 \r\n\r\n"),
        (Head(529), b"HTTP/1.1 529 \r\n\r\n"),
    ],
)
def test_head(head: Head, line: bytes) -> None:
    """Status line and headers are written in order, duplicates kept; a status without a phrase keeps its space."""
    assert head.encode() == line


def test_header_lookup() -> None:
    """A header is found whatever its case; of duplicates the first."""
    head = Head(200, (("Content-Type", "a"), ("content-type", "b")))
    assert head.header("CONTENT-TYPE") == "a"
    assert head.header("x") is None


# ------------------------------------------------------------------------------------------- framing of the body


def test_http_1_1_is_chunked_and_kept() -> None:
    """Without a declared length the body of an HTTP/1.1 response is chunked, and the connection lives on."""
    actions, transfer = lower(steps(b"one", b"two"))
    (response,) = parse(data(actions))
    assert response.framing == "chunked"
    assert response.pieces == [b"one", b"two"]
    assert response.header("connection") == "keep-alive"
    assert transfer.keeps
    assert actions[-2:] == [(0.0, b"0\r\n\r\n", NOWHERE), (0.0, End(), NOWHERE)]


def test_http_1_0_ends_with_the_connection() -> None:
    """An HTTP/1.0 client gets no chunking: its body ends where the connection ends, which therefore is not kept."""
    actions, transfer = lower(steps(b"one", b"two"), chunked=False)
    (response,) = parse(data(actions))
    assert (response.framing, bytes(response.body)) == ("close", b"onetwo")
    assert response.header("connection") == "close"
    assert response.header("transfer-encoding") is None
    assert not transfer.keeps


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_declared_length(chunked: bool, keep: bool) -> None:
    """A declared length frames the body for every HTTP version, and the client's wish to keep is honoured."""
    transfer = TransferEncoder(Chunking(), chunked=chunked, keep=keep)
    actions = list(_played(message(Head(404), b"gone", transfer)))
    (response,) = parse(data(actions))
    assert (response.framing, bytes(response.body)) == ("length", b"gone")
    assert response.header("connection") == ("keep-alive" if keep else "close")
    assert transfer.keeps is keep


def test_head_request() -> None:
    """The answer to HEAD declares what GET would have got, and has no body."""
    (response,) = parse(data(list(message(HEAD, b"document", TransferEncoder(Chunking(), bodyless=True)))), "HEAD")
    assert response.header("content-length") == "8"
    actions, _ = lower(steps(b"one"), bodyless=True)
    (response,) = parse(data(actions), "HEAD")
    assert response.header("transfer-encoding") == "chunked"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    """204 and 304 have no body, and 204 declares none (RFC 9110 section 8.6)."""
    (response,) = parse(data(list(message(Head(status), b"", TransferEncoder(Chunking())))))
    assert (response.status, response.framing) == (status, "none")
    assert response.header("content-length") == ("0" if status == 304 else None)
    transfer = TransferEncoder(Chunking(), chunked=False)
    bare: list[Timed[Any]] = [(0.0, Head(status), NOWHERE), (0.0, b"none", NOWHERE), (0.0, End(), NOWHERE)]
    (response,) = parse(data(list(transfer.through(iter(bare)))))
    assert (response.framing, transfer.keeps) == ("none", True)


def test_interim_responses() -> None:
    """An interim response (1xx) is only a head; the response after it is framed as if it had not been."""
    transfer = TransferEncoder(Chunking())
    source: list[Timed[Any]] = [
        (0.0, Head(103, (("Link", "</a>"),)), NOWHERE),
        (0.0, HEAD, NOWHERE),
        *steps(b"one"),
        (0.0, End(), NOWHERE),
    ]
    (response,) = parse(data(list(transfer.through(iter(source)))))
    assert response.pieces == [b"one"]


@pytest.mark.parametrize("http", [{}, {"chunked": False}, {"bodyless": True}], ids=str)
@pytest.mark.parametrize("ending", [Close(), Reset(), Hang()], ids=repr)
def test_only_end_completes_the_message(ending: Control, http: dict[str, Any]) -> None:
    """Close, Reset and Hang leave a chunked message without its terminating chunk; the ending is last in any case."""
    actions, _ = lower([*steps(b"one"), (1.0, ending, NOWHERE)], **http)
    assert actions[-1] == (1.0, ending, NOWHERE)
    assert b"0\r\n\r\n" not in data(actions)
    if not http:
        with pytest.raises(WireError, match="incomplete"):
            parse(data(actions))


def test_empty_content_never_ends_the_message() -> None:
    """Content without bytes makes no chunk, since a chunk of size zero is the last; its time goes to what follows."""
    source: list[Timed[Any]] = [
        (1.0, b"", (0, 0)),
        (1.0, b"one", (0, 1)),
        (1.0, Write(b""), (0, 2)),
        (1.0, Raw(b""), (0, 3)),
    ]
    transfer = TransferEncoder(Chunking())
    actions = list(transfer.through(iter([(0.0, HEAD, NOWHERE), *source, (1.0, End(), NOWHERE)])))
    (response,) = parse(data(actions))
    assert response.pieces == [b"one"]
    assert [gap for gap, _, _ in actions] == [0.0, 2.0, 3.0, 0.0]


def test_raw_is_verbatim() -> None:
    """Raw bytes pass the transfer coding untouched, by a write of their own, and even where there can be no body."""
    for bodyless in (False, True):
        transfer = TransferEncoder(Chunking(apart=0.5), bodyless=bodyless)
        actions = list(
            transfer.through(iter([(0.0, HEAD, NOWHERE), (1.0, Raw(b"ZZ\r\n"), (0, 4)), (0.0, End(), NOWHERE)]))
        )
        gap, item, origin = actions[1]
        assert (gap, origin) == (1.0, (0, 4))
        assert isinstance(item, Write)
        assert (item.data, item.apart) == (b"ZZ\r\n", 0.5)


def test_promised_content_is_a_chunk_and_a_write() -> None:
    """A promised piece of content is one HTTP chunk in one write, with the pause it asks for."""
    transfer = TransferEncoder(Chunking())
    source: list[Timed[Any]] = [(0.0, HEAD, NOWHERE), (1.0, Write(b"abc", 0.25), (0, 0)), (0.0, End(), NOWHERE)]
    item = list(transfer.through(iter(source)))[1][1]
    assert isinstance(item, Write)
    assert (item.data, item.apart) == (b"3\r\nabc\r\n", 0.25)


# ------------------------------------------------------------------------------------ what `Chunking` promises


def test_by_default_nothing_is_promised() -> None:
    """An event is an HTTP chunk, and every chunk may leave together with others that are due."""
    actions, _ = lower(steps(b"one", b"two", b"three"))
    assert promised(actions) == []
    assert parse(data(actions))[0].pieces == [b"one", b"two", b"three"]


def test_not_joined() -> None:
    """join=false promises every chunk a write of its own, without a pause after it."""
    actions, _ = lower(steps(b"one", b"two", gap=0.0), "join=false")
    assert promised(actions) == [b"3\r\none\r\n", b"3\r\ntwo\r\n"]
    assert {item.apart for _, item, _ in actions if isinstance(item, Write)} == {0.0}


def test_several_payloads_a_chunk() -> None:
    """Events share a chunk, which comes when its last event is due; the last chunk may hold fewer."""
    actions, _ = lower(steps(b"a", b"b", b"c", b"d", b"e"), "payloads_per_chunk=2")
    assert parse(data(actions))[0].pieces == [b"ab", b"cd", b"e"]
    times = list(accumulate(gap for gap, _, _ in actions))
    assert times[1:4] == [0.5, 1.0, 1.25]
    assert [origin for _, _, origin in actions[1:4]] == [(0, 1), (0, 3), (0, 4)]


@pytest.mark.parametrize(
    ("pieces", "sizes"), [(2, [4, 5]), (3, [3, 3, 3]), (4, [2, 2, 2, 3]), (9, [1] * 9), (20, [1] * 9)]
)
def test_a_payload_over_several_chunks(pieces: int, sizes: list[int]) -> None:
    """An event is spread over just so many chunks, nearly equal and due together, if it has the bytes."""
    actions, _ = lower(steps(b"data: 1\n\n"), f"payloads_per_chunk=1/{pieces}")
    (response,) = parse(data(actions))
    assert response.chunks == sizes
    assert bytes(response.body) == b"data: 1\n\n"
    assert set(accumulate(gap for gap, _, _ in actions)) == {0.25}


@pytest.mark.parametrize(("pieces", "sizes"), [(2, [7, 7]), (3, [4, 5, 5]), (6, [2, 2, 3, 2, 2, 3])])
def test_a_chunk_over_several_writes(pieces: int, sizes: list[int]) -> None:
    """A chunk is spread over just so many writes, its framing included, that keep the pause from one another."""
    actions, _ = lower(steps(b"data: 1\n\n"), f"chunks_per_write=1/{pieces},apart=0.002")
    assert [len(part) for part in promised(actions)] == sizes
    assert {item.apart for _, item, _ in actions if isinstance(item, Write)} == {0.002}
    assert parse(data(actions))[0].pieces == [b"data: 1\n\n"]


def test_several_chunks_a_write() -> None:
    """Chunks share a write, which leaves when its last chunk is due; the last write may carry fewer."""
    actions, _ = lower(steps(b"a", b"b", b"c"), "chunks_per_write=2")
    assert promised(actions) == [b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n"]
    times = list(accumulate(gap for gap, _, _ in actions))
    assert times[1:3] == [0.5, 0.75]


def test_a_control_lets_held_bytes_go_first() -> None:
    """What was kept back to fill a chunk or a write leaves before the stream is held or ended."""
    chunking = "payloads_per_chunk=4,chunks_per_write=4"
    actions, _ = lower(
        [*steps(b"a", b"b"), (0.0, Hold("before-end"), NOWHERE), *steps(b"c"), (0.0, Reset(), NOWHERE)], chunking
    )
    assert [item.data if isinstance(item, Write) else item for _, item, _ in actions[1:]] == [
        b"2\r\nab\r\n",
        Hold("before-end"),
        b"1\r\nc\r\n",
        Reset(),
    ]


RATIOS = st.builds(lambda n, group: Fraction(n) if group else Fraction(1, n), st.integers(1, 6), st.booleans())
CHUNKINGS = st.builds(Chunking, payloads_per_chunk=RATIOS, chunks_per_write=st.none() | RATIOS, join=st.booleans())


def _packed(parts: list[bytes], items: list[bytes], ratio: Fraction) -> None:
    """Assert that the items became just these parts, by the ratio."""
    if ratio >= 1:
        size = int(ratio)
        assert parts == [b"".join(items[at : at + size]) for at in range(0, len(items), size)]
        return
    left = list(parts)
    for item in items:
        count = min(ratio.denominator, len(item))
        mine, left = left[:count], left[count:]
        assert b"".join(mine) == item
        assert max(map(len, mine)) - min(map(len, mine)) <= 1
    assert not left


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), CHUNKINGS, st.booleans())
@example([b"data: [DONE]\n\n"], Chunking(payloads_per_chunk=Fraction(1, 6)), True)
def test_boundaries_are_the_promised_ones(events: list[bytes], chunking: Chunking, chunked: bool) -> None:
    """For any chunking the body is the events, and its chunks and writes are exactly those promised."""
    actions, _ = lower(steps(*events), chunking, chunked=chunked)
    (response,) = parse(data(actions))
    assert bytes(response.body) == b"".join(events)
    # Without chunking or promises, what is between head and end is the content of each chunk.
    plain, _ = lower(steps(*events), Chunking(payloads_per_chunk=chunking.payloads_per_chunk), chunked=False)
    chunks = [item for _, item, _ in plain[1:-1]]
    _packed(chunks, events, chunking.payloads_per_chunk)
    if chunked:
        assert response.pieces == chunks
        chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    if chunking.chunks_per_write is not None:
        _packed(promised(actions), chunks, chunking.chunks_per_write)
    else:
        assert promised(actions) == ([] if chunking.join else chunks)


def test_other_packing_from_the_next_item_on() -> None:
    """`repack` changes how chunks are packed into writes, and nothing of what they are."""
    transfer = TransferEncoder(Chunking())
    transfer.repack(Chunking.parse("chunks_per_write=1"))
    source: list[Timed[Any]] = [(0.0, HEAD, NOWHERE), *steps(b"a", b"b"), (0.0, End(), NOWHERE)]
    actions = list(transfer.through(iter(source)))
    assert promised(actions) == [b"1\r\na\r\n", b"1\r\nb\r\n"]
    assert parse(data(actions))[0].pieces == [b"a", b"b"]


# --------------------------------------------------------------------------------------- when the head leaves


def _head_leaves(source: list[Timed[Any]], head_at: float | None) -> tuple[list[str], list[float]]:
    """The order of head (H), content (c) and controls, and when each is due."""
    actions, _ = lower(source, head_at=head_at)
    names = [
        "H" if str(item).startswith("b'HTTP") else "c" if isinstance(item, bytes) else repr(item)
        for _, item, _ in actions
    ]
    return names[:-2], list(accumulate(gap for gap, _, _ in actions))[:-2]


def test_head_with_the_first_event() -> None:
    """Unless told otherwise the head leaves with the first event, so both may be one write."""
    assert _head_leaves(steps(b"a", b"b"), None) == (["H", "c", "c"], [0.25, 0.25, 0.5])


@pytest.mark.parametrize(("head_at", "due"), [(0.0, 0.0), (0.125, 0.125), (0.25, 0.25), (9.0, 0.25)])
def test_head_at_its_own_time(head_at: float, due: float) -> None:
    """The head leaves at its own time, at the latest with the first event; the events are not shifted by it."""
    assert _head_leaves(steps(b"a", b"b"), head_at) == (["H", "c", "c"], [due, 0.25, 0.5])


HOLD = Hold("before-head")


@pytest.mark.parametrize("head_at", [None, 0.0, 0.125])
def test_a_gate_before_the_head(head_at: float | None) -> None:
    """Where the stream is held before its head, no byte leaves, whenever the head would be due."""
    names, _ = _head_leaves([(0.0, HOLD, NOWHERE), *steps(b"a")], head_at)
    assert names == [repr(HOLD), "H", "c"]


def test_a_gate_after_the_head_was_due() -> None:
    """A head that is due before the gate leaves before it; what time was left to it is counted from the gate."""
    assert _head_leaves([(0.5, HOLD, NOWHERE), *steps(b"a")], 0.25) == (["H", repr(HOLD), "c"], [0.25, 0.5, 0.75])
    names, times = _head_leaves([(0.5, HOLD, NOWHERE), *steps(b"a")], 0.625)
    assert (names, times) == ([repr(HOLD), "H", "c"], [0.5, 0.625, 0.75])


@pytest.mark.parametrize("ending", [End(), Close(), Reset(), Hang()], ids=repr)
def test_head_of_a_reply_without_events(ending: Control) -> None:
    """A reply that ends before its first event still has a head, before the ending."""
    actions, _ = lower([(0.5, ending, NOWHERE)])
    assert data(actions).startswith(b"HTTP/1.1 200 OK\r\n")
    assert actions[0][0] == 0.5
    assert actions[-1][1] == ending
    (kinds,) = [list(group) for ends, group in groupby(actions, lambda timed: isinstance(timed[1], Control)) if ends]
    assert len(kinds) == 1

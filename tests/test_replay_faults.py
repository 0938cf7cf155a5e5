"""Faults laid over recordings: what they touch changes, and all else stays where it lay, to the byte."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.cases import recipe
from mockprovider.errors import SettingError
from mockprovider.faults.applied import NONE, Applied
from mockprovider.faults.base import Context
from mockprovider.faults.blocks import joined, lines_of
from mockprovider.recording import Recording, load, samples
from mockprovider.recording.lifting import Lifter
from mockprovider.replay.lowering import Packed, ToBlocks, ToDeltas, ToPayloads, Written
from mockprovider.replay.reel import Playback, Reel, _blocks
from mockprovider.timeline import Close, Control, End, Ending, Hang, Hold, Reset, Stage, Timed, run
from mockprovider.wire import Write
from tests.asking import CHAT, request
from tests.test_replay import HEAD, STREAM, ask, asked, chunk, event, http, playing, recording, whole
from tests.whatwg import read
from tests.wiretap import Response, parse, tapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

PLAIN = Playback()


def written(actions: Iterable[Timed[Any]]) -> list[tuple[float, Any]]:
    """Each write with its time, as the player would perform it: joinable items that are due together are one."""
    made: list[tuple[float, Any]] = []
    clock, open_write = 0.0, False
    for gap, item, _ in actions:
        clock += gap
        data = item.data if isinstance(item, Write) else item
        joins = isinstance(item, bytes)
        if joins and open_write and gap == 0:
            made[-1] = (made[-1][0], made[-1][1] + data)
        else:
            made.append((clock, data))
        open_write = joins
        if isinstance(item, Ending):
            break  # what a stage passes after it is never performed
    return made


def same(actions: Iterable[Timed[Any]], others: Iterable[Timed[Any]]) -> None:
    """Both are the same writes at the same times."""
    got, wanted = written(actions), written(others)
    assert [item for _, item in got] == [item for _, item in wanted]
    assert [at for at, _ in got] == [pytest.approx(at, abs=1e-6) for at, _ in wanted]


def faulted(
    recorded: Recording, chain: str, *, playback: Playback = PLAIN, holds: dict[int, str] | None = None
) -> list[tuple[float, Any]]:
    """The writes of the recording with these faults. SettingError where one cannot be."""
    reel, faults = Reel(recorded), recipe(chain).faults
    refusal = reel.refusal(faults)
    if refusal is not None:
        raise SettingError(refusal)

    def context(index: int) -> Context:
        return Context(
            rng=random.Random(index),
            attempt=1,
            stream=reel.stream,
            tokens=lambda: reel.taken().tokens,
            dialect="openai-chat",
            error=lambda kind, message: {"error": {"type": kind, "message": message}},
            chain=faults,
        )

    actions = reel.lifted(playback, Applied(faults, context), holds or {}, lambda: None)
    return written(actions)


def bytes_of(writes: Sequence[tuple[float, Any]]) -> bytes:
    """What of it is written."""
    return b"".join(item for _, item in writes if isinstance(item, bytes))


def response(writes: Sequence[tuple[float, Any]]) -> Response:
    """The one response in it, read by a strict parser."""
    [found] = parse(bytes_of(writes))
    return found


# ------------------------------------------------------------------------------------------------ the law

CONTENT = st.lists(
    st.sampled_from(
        [
            b"data: ",
            b"\n",
            b"\n\n",
            b"\r\n",
            b"\r",
            b"event: x\n",
            b": ping",
            b'{"choices":[{"delta":{"content":"a"}}]}',
        ]
    )
    | st.binary(max_size=5),
    max_size=12,
).map(b"".join)


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """A response, or what is left of one: heads, chunks in every spelling, trailers, garbage."""
    kind = draw(st.sampled_from([b"text/event-stream", b"application/json", b"application/x-ndjson"]))
    framing = draw(st.sampled_from(["chunked", "chunked", "chunked", "length", "close", "none"]))
    if framing == "none":
        return draw(st.binary(max_size=40))
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]))
    head = interim + b"HTTP/1.1 200 OK\r\ncontent-type: " + kind
    pieces = draw(st.lists(CONTENT.filter(bool), max_size=6))
    if framing == "chunked":
        spelled = st.sampled_from([b"%x\r\n%b\r\n", b"%x\r\n%b\r\n", b"%X;a=b\r\n%b\r\n", b"0%x\r\n%b\r\n"])
        body = b"".join(draw(spelled) % (len(piece), piece) for piece in pieces)
        body += draw(
            st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nx-a: b\r\n\r\n", b"", b"0\r\n", b"zz\r\n", b"5\r\nab"])
        )
        return head + b"\r\ntransfer-encoding: chunked\r\n\r\n" + body
    body = b"".join(pieces)
    if framing == "length":
        size = len(body) + draw(st.sampled_from([0, 0, 3, -1]))
        return head + b"\r\ncontent-length: %d\r\n\r\n" % max(0, size) + body
    return head + b"\r\n\r\n" + body


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """A recording of such a response, cut into reads anywhere."""
    wire = draw(wires())
    cuts = sorted(draw(st.sets(st.integers(0, len(wire)), max_size=8)) | {0, len(wire)})
    gaps = st.sampled_from([0.0, 0.0, 0.000015, 0.25, 1.5])
    reads = [(draw(gaps), wire[begin:end]) for begin, end in pairwise(cuts)]
    ending = draw(st.sampled_from(["end", "end", "close", "reset", "timeout", "client-left", None]))
    return recording(*reads, ending=ending, gap=draw(gaps))


@settings(max_examples=200, deadline=None)
@given(recordings(), st.sampled_from([1.0, 4.0, math.inf]), st.booleans())
def test_lifting_and_lowering_is_the_identity(recorded: Recording, speed: float, divided: bool) -> None:
    """Taken apart to every level and put together again, any response has its bytes, writes, times and ending."""
    reel, playback = Reel(recorded), Playback(speed)
    same(reel.lifted(playback, NONE, {}, lambda: None), reel.actions(playback))
    if recorded.head is not None:
        form, taken = reel.form, reel.taken(speed)
        stages = [
            ToDeltas(), ToBlocks(form), ToPayloads(form), ToBlocks(form), Packed(taken, whole=form == "whole"),
            Written(taken, playback.make, lambda: None, divided=divided),
        ]  # fmt: skip
        same(run(_blocks(taken), stages), reel.actions(playback))


@settings(max_examples=100, deadline=None)
@given(recordings())
def test_a_fault_makes_of_a_recording_what_it_makes_of_its_content(recorded: Recording) -> None:
    """However a stream was cut into chunks and reads, its content with a fault is each block with that fault.

    There are as many writes at most as there were reads, and the last one comes when it came.
    """
    reel = Reel(recorded)
    if recorded.head is None or reel.form != "events":
        return
    blocks = [block for _, block, _ in reel.taken().blocks]
    wanted = b"".join(joined([(text, end and b"\r\n") for text, end in lines_of(block)]) for block in blocks)
    writes = faulted(recorded, "line-ends(end=crlf)")
    lifter, content = Lifter(), b""
    for _, item in writes:
        content += lifter.feed(item).content if isinstance(item, bytes) else b""
    assert content == wanted
    # The ending is one of them, and a last chunk where a declared length had to go.
    assert len(writes) <= len([read for read in recorded.reads if read.wire]) + 2
    assert writes[-1][0] == pytest.approx(written(reel.actions(PLAIN))[-1][0], abs=1e-6)


@pytest.mark.parametrize("sample", [path.name for path in sorted(samples().glob("*.ndjson"))])
def test_the_samples_keep_the_law(sample: str) -> None:
    """Each recording that comes with the package is lifted and lowered to itself, to its times and its ending."""
    reel = Reel(load(samples() / sample))
    form, taken = reel.form, reel.taken()
    stages: list[Stage[Any, Any]] = [ToPayloads(form), ToBlocks(form), Packed(taken, whole=form == "whole")]
    stages.append(Written(taken, PLAIN.make, lambda: None, divided=False))
    same(run(_blocks(taken), stages), reel.actions(PLAIN))


# ------------------------------------------------------------------------------------------------ faults by level

# STREAM is one event with the head, two chunks in one read, one event at once, the sentinel with the last chunk.
ONE, TWO, THREE, FOUR = event("One"), event(" two"), event(" three"), event(" four")
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("chain", "ending"),
    [("reset(after=3)", Reset()), ("close(after=3)", Close()), ("hang(after=3)", Hang()), ("eof(after=3)", End())],
)
def test_a_position_in_tokens_is_one_in_events_with_text(chain: str, ending: Control) -> None:
    """After the third token is after the third event that carries text, in the midst of a read if it is there."""
    writes = faulted(
        recording(*((r.gap, r.wire) for r in STREAM.reads[:1]), (0.1, b"".join(r.wire for r in STREAM.reads[1:]))),
        chain,
    )
    assert writes[0][1] == STREAM.reads[0].wire
    rest = b"0\r\n\r\n" if ending == End() else b""
    assert bytes_of(writes[1:]) == chunk(TWO) + chunk(THREE) + rest
    assert writes[-1][1] == ending


def test_a_stall_comes_after_its_token_and_moves_the_rest() -> None:
    """Three tokens come in time, everything later comes so much later, and no byte changes."""
    writes = faulted(STREAM, "stall(after=3,seconds=2)")
    assert [item for _, item in writes] == [*(read.wire for read in STREAM.reads), End()]
    assert [at for at, _ in writes] == [pytest.approx(at) for at in (0.02, 0.05, 2.05, 2.07, 2.07)]


def test_a_stall_in_the_midst_of_a_read_divides_it() -> None:
    """Where silence falls between two chunks of one read, the first leaves in time and the second after it."""
    writes = faulted(STREAM, "stall(after=2,seconds=2)")
    assert [item for _, item in writes[1:3]] == [chunk(TWO), chunk(THREE)]
    assert [at for at, _ in writes[1:4]] == [pytest.approx(at) for at in (0.05, 2.05, 2.05)]


def test_a_stall_in_the_midst_of_a_chunk_divides_the_chunk() -> None:
    """Two events of one chunk with silence between them come in two chunks."""
    both = recording((0.1, HEAD), (0.2, chunk(ONE + TWO)), (0.0, b"0\r\n\r\n"))
    writes = faulted(both, "stall(after=1,seconds=2)")
    assert [item for _, item in writes] == [HEAD, chunk(ONE), chunk(TWO), b"0\r\n\r\n", End()]
    assert [at for at, _ in writes] == [pytest.approx(at) for at in (0.1, 0.3, 2.3, 2.3, 2.3)]


def test_percent_are_those_of_the_events_with_text() -> None:
    """Half of a recording with four tokens is two of them."""
    assert bytes_of(faulted(STREAM, "close(after=50%)")) == HEAD + chunk(ONE) + chunk(TWO)


@pytest.mark.parametrize("chain", ["uneven(seconds=0.5)", "rate(tokens=2)", "burst(tokens=2,seconds=1)"])
def test_timing_faults_change_times_alone(chain: str) -> None:
    """What changes gaps changes no byte of the content."""
    writes = faulted(STREAM, chain)
    assert response(writes).body == ONE + TWO + THREE + FOUR + DONE
    assert [at for at, _ in writes] != [at for at, _ in written(Reel(STREAM).actions(PLAIN))]


def test_truncation_ends_the_message_well() -> None:
    """After so many tokens nothing of the stream comes but the end of the message."""
    writes = faulted(STREAM, "truncate(after=2)")
    assert response(writes).body == ONE + TWO
    assert writes[-1][1] == End()


def test_line_ends_change_every_event_and_no_boundary() -> None:
    """Events with other line ends stay in their chunks and in their reads, with new sizes."""
    writes = faulted(STREAM, "line-ends(end=crlf)")
    one, two, three, four, done = (each.replace(b"\n", b"\r\n") for each in (ONE, TWO, THREE, FOUR, DONE))
    assert [item for _, item in writes] == [
        HEAD + chunk(one), chunk(two) + chunk(three), chunk(four), chunk(done) + b"0\r\n\r\n", End(),
    ]  # fmt: skip
    assert [at for at, _ in writes] == [at for at, _ in written(Reel(STREAM).actions(PLAIN))]


def test_a_changed_event_leaves_the_others_in_its_chunk_as_they_are() -> None:
    """One event of a chunk that is touched makes the chunk anew, around the other's own bytes."""
    both = recording((0.1, HEAD + b"%X;ext\r\n%b\r\n" % (len(ONE + TWO), ONE + TWO)), (0.1, b"0\r\n\r\n"))
    writes = faulted(both, "stray-bytes(event=2)")
    assert response(writes).body.startswith(ONE)
    assert response(writes).pieces[0].endswith(b'\xff"}}]}\n\n')
    assert len(response(writes).pieces) == 1


def test_an_event_over_several_reads_stays_there_unless_it_is_touched() -> None:
    """An event in three reads and two chunks keeps all boundaries; touched, it comes whole where it ended."""
    wire = chunk(ONE + TWO[:10]) + chunk(TWO[10:] + DONE) + b"0\r\n\r\n"
    cut = [0, 20, len(chunk(ONE + TWO[:10])) + 8, len(wire)]
    reads = [(0.5, wire[begin:end]) for begin, end in pairwise(cut)]
    recorded = recording((0.0, HEAD), *reads)
    same_bytes = faulted(recorded, "comment(every=9,first=false)")
    assert same_bytes == written(Reel(recorded).actions(PLAIN))
    writes = faulted(recorded, "stray-bytes(event=2)")
    assert response(writes).pieces[0] == ONE
    assert b"\xff" in response(writes).pieces[1]
    assert [at for at, _ in writes] == [pytest.approx(at) for at in (0.0, 1.0, 1.5, 1.5)]


def test_what_is_added_is_a_chunk_and_a_write_of_its_own() -> None:
    """A comment before an event comes by itself, and the event stays as it was."""
    writes = faulted(STREAM, "comment(text=hi,every=5)")
    assert [item for _, item in writes[:2]] == [HEAD + chunk(b": hi\n\n"), chunk(ONE)] or [
        item for _, item in writes[:3]
    ] == [HEAD, chunk(b": hi\n\n"), chunk(ONE)]
    assert response(writes).body == b": hi\n\n" + ONE + TWO + THREE + FOUR + DONE


def test_what_is_dropped_hands_its_time_on() -> None:
    """A dropped event is gone, with its chunk and its write where there is nothing else in them."""
    writes = faulted(STREAM, "done(times=0)")
    assert [item for _, item in writes] == [*(read.wire for read in STREAM.reads[:3]), b"0\r\n\r\n", End()]
    assert writes[-1][0] == pytest.approx(0.07)


def test_faults_of_payloads_change_the_json_of_their_events() -> None:
    """A field is set in the one payload that is meant; comments, and events without data, pass."""
    kept = recording((0.1, HEAD + chunk(b": ping\n\n" + ONE) + chunk(b"event: a\r\n" + TWO + DONE) + b"0\r\n\r\n"))
    writes = faulted(kept, 'set(path="choices[0].index",value=7,at=text:2)')
    events = read(bytes(response(writes).body)).events
    assert [json.loads(each.data)["choices"][0]["index"] for each in events[:-1]] == [0, 7]
    assert response(writes).body.startswith(b": ping\n\n" + ONE + b"event: a\r\ndata: ")
    assert response(writes).body.endswith(b"\n\n" + DONE)


def test_faults_of_payloads_reach_a_whole_reply_and_its_declared_length() -> None:
    """A document that is changed has the length that its head declares; one that is not has the head as it was."""
    body = b'{"id": "x", "choices": []}'
    head = b"HTTP/1.1 200 OK\r\nX-First: 1\r\ncontent-length: %d\r\nConnection: close\r\n\r\n"
    recorded = recording((0.1, head % len(body)), (0.2, body[:5]), (0.3, body[5:]))
    writes = faulted(recorded, 'add(fields={"more":true})')
    assert json.loads(response(writes).body) == {"id": "x", "choices": [], "more": True}
    assert [name for name, _ in response(writes).headers] == ["X-First", "content-length", "Connection"]
    assert bytes_of(faulted(recorded, 'drop(path="absent")')) == head % len(body) + body


def test_a_stream_that_declares_its_length_is_chunked_once_its_events_may_change() -> None:
    """A length that may not be that of the changed events is not declared; in HTTP/1.0 the connection tells the end."""
    for version, framing in ((b"1.1", "chunked"), (b"1.0", "close")):
        head = b"HTTP/%b 200 OK\r\nContent-Type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
        recorded = recording((0.1, head % (version, len(ONE + TWO)) + ONE), (0.1, TWO))
        found = response(faulted(recorded, "line-ends(end=crlf)"))
        assert (found.framing, bytes(found.body)) == (framing, (ONE + TWO).replace(b"\n", b"\r\n"))
        assert bytes_of(faulted(recorded, "delay")) == recorded.wire


def test_lines_of_json_are_payloads_too() -> None:
    """A stream of JSON lines has a payload in each line, and tokens where a line has text."""
    head = HEAD.replace(b"text/event-stream", b"application/x-ndjson")
    lines = [b'{"response":"a"}\n', b'{"response":"b"}\n', b'{"done":true}\n']
    recorded = recording((0.1, head), *((0.1, chunk(line)) for line in lines), (0.0, b"0\r\n\r\n"))
    assert bytes_of(faulted(recorded, "reset(after=1)")) == head + chunk(lines[0])
    assert response(faulted(recorded, "drop-payloads(at=2)")).body == lines[0] + lines[2]


def test_chunks_can_be_split_and_merged() -> None:
    """Faults of the message see the recorded chunks."""
    assert response(faulted(STREAM, "rechunk(sizes=7)")).chunks[0] == 7
    assert response(faulted(STREAM, "merge(events=2)")).pieces == [ONE + TWO, THREE + FOUR, DONE]
    pieces = response(faulted(STREAM, "split(at=crlf event)")).pieces
    assert b"".join(pieces) == ONE + TWO + THREE + FOUR + DONE


def test_faults_of_the_head_change_the_head_alone() -> None:
    """A header is set, and every other byte of the response stays."""
    writes = faulted(STREAM, "header(key=content-type,value=text/plain)")
    assert response(writes).header("content-type") == "text/plain"
    assert bytes_of(writes).partition(b"\r\n\r\n")[2] == STREAM.wire.partition(b"\r\n\r\n")[2]
    assert [len(item) - len(read.wire) for (_, item), read in zip(writes, STREAM.reads, strict=False)][1:] == [0, 0, 0]


def test_without_the_chunked_coding_the_connection_ends_the_message() -> None:
    """`no-chunking` takes framing off the recorded content, and the connection is not kept."""
    reel, lost = Reel(STREAM), []
    faults = recipe("no-chunking").faults

    def context(index: int) -> Context:
        return Context(random.Random(1), 1, True, lambda: 4, "openai-chat", lambda kind, message: {})

    writes = written(reel.lifted(PLAIN, Applied(faults, context), {}, lambda: lost.append(1)))
    [found] = parse(bytes_of(writes))
    assert found.framing == "close"
    assert found.body == (ONE + TWO + THREE + FOUR + DONE)
    assert lost


def test_positions_on_the_socket_do_not_count_the_head() -> None:
    """Writes and bytes are those of the body, also where the head came in one read with content."""
    assert bytes_of(faulted(STREAM, "reset(after=10bytes)")) == HEAD + chunk(ONE)[:10]
    assert bytes_of(faulted(STREAM, "reset(after=1writes)")) == STREAM.reads[0].wire
    writes = faulted(STREAM, "delay(seconds=3)")
    assert [item for _, item in writes] == [*(read.wire for read in STREAM.reads), End()]
    assert [at for at, _ in writes] == [pytest.approx(3 + at) for at in (0.02, 0.05, 0.05, 0.07, 0.07)]


def test_gates_stand_at_tokens_of_a_recording() -> None:
    """A gate before the head, after a token and before the end is where it is in a generated reply."""
    holds = {0: "before-head", 2: "after-token-2", -1: "before-end"}
    items = [item for _, item in faulted(STREAM, "noop", holds=holds)]
    assert items[0] == Hold("before-head")
    assert items.index(Hold("after-token-2")) == items.index(chunk(TWO)) + 1
    assert items[-2:] == [Hold("before-end"), End()] or items[-3] == Hold("before-end")


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("finish(reason=length)", "says something else than the model did"),
        ("insert-text", "says something else than the model did"),
        ("truncate(characters=3)", "takes `after` alone"),
    ],
)
def test_faults_that_need_the_reply_are_refused(chain: str, said: str) -> None:
    """What would have to be said anew by the model is refused, with the fault's name and the reason."""
    with pytest.raises(SettingError) as refused:
        faulted(STREAM, chain)
    assert said in str(refused.value)
    assert chain.partition("(")[0] in str(refused.value)


def test_faults_of_streams_are_refused_for_what_is_none() -> None:
    """A whole reply has no events and no tokens; an encoded one shows no content; no HTTP shows nothing at all."""
    for chain, said in (("line-ends", "the recording  has none"), ("stall", "is no stream")):
        with pytest.raises(SettingError, match=said):
            faulted(whole("text"), chain)
    packed = recording((0.0, HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + chunk(b"\x1f\x8b")))
    with pytest.raises(SettingError, match=r"is encoded \(gzip\)"):
        faulted(packed, "line-ends")
    with pytest.raises(SettingError, match="needs an HTTP response"):
        faulted(recording((0.0, b"\x16\x03\x01")), "line-ends")


# ------------------------------------------------------------------------------------------------ through the server


async def test_faults_come_from_the_url_the_header_and_the_server(tmp_path: Path) -> None:
    """A chain in the URL, in a request header and in the settings is laid over the recording alike."""
    wanted = STREAM.wire.replace(b"0\r\n\r\n", b"")
    provider = playing(tmp_path, STREAM, repeat=True, speed="instant")
    async with provider:
        url = "/with/no-last-chunk" + CHAT
        for target, header in ((url, "x: y"), (CHAT, "x-mockprovider-faults: no-last-chunk")):
            async with tapping(provider.url) as tap:
                await tap.send(http(asked(), header).replace(CHAT.encode(), target.encode(), 1))
                assert await tap.end() == "eof"
                assert tap.data == wanted
        [one, two] = await provider.wait_for_async(2)
        assert (one.faults, one.recording, two.faults) == ("no-last-chunk", "1", "no-last-chunk")
        assert [str(fault) for fault in one.struck] == ["no-last-chunk"]


async def test_a_reset_over_a_recording_is_a_reset_on_the_wire(tmp_path: Path) -> None:
    """`reset(after=3)` lets the third token arrive and then resets the connection."""
    async with playing(tmp_path, STREAM) as provider, tapping(provider.url) as tap:
        tap.strict = False
        await tap.send(http(asked(), "x-mockprovider-faults: reset(after=3)"))
        assert await tap.end() == "reset"
        assert tap.data == b"".join(read.wire for read in STREAM.reads[:2])


def test_a_fault_may_answer_instead_of_a_recording(tmp_path: Path) -> None:
    """`status` is answered in the recording's place, and adds nothing to it."""
    with playing(tmp_path, whole("recorded"), repeat=True) as provider:
        chain = {"x-mockprovider-faults": "status(code=503,attempt=1)"}
        assert request("POST", provider.url + CHAT, asked().body, chain).status == 503
        assert ask(provider, asked(), chain) == "recorded"


def test_a_fault_that_cannot_be_is_a_400_that_says_why(tmp_path: Path) -> None:
    """What a recording cannot have done to it is refused in the provider's shape."""
    with playing(tmp_path, STREAM, repeat=True) as provider:
        answer = request("POST", provider.url + "/with/finish(reason=length)" + CHAT, asked().body)
        assert (answer.status, answer.json["error"]["code"]) == (400, "fault_not_applicable")
        assert "finish(reason=" in answer.json["error"]["message"]
        answer = request("POST", provider.url + "/with/answer-as(form=json)" + CHAT, asked().body)
        assert "a recording has the form that it has" in answer.json["error"]["message"]

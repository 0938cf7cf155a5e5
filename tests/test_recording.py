"""The recording file: what is read is what was written, for bytes of every kind, and damage is never overlooked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mockprovider.errors import RecordingError
from mockprovider.recording import (
    ENDINGS,
    RecordedHead,
    RecordedRequest,
    Recording,
    RecordingWriter,
    dumps,
    load,
    load_folder,
    loads,
    made,
)
from mockprovider.recording.lifting import Lifter
from tests.wiretap import Parser

CHAT = RecordedRequest("POST", "/v1/chat/completions?x=1", (("content-type", "application/json"),), b'{"model":"m"}')
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"8\r\ndata: 1\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
LINE = '{"mockprovider": 1, "recorded": "", "request": {"method": "GET", "target": "/", "headers": []}}\n'

ODD = [
    HEAD + CHUNKS,
    HEAD + b"A\r\n0123456789\r\n00a;x=1\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    HEAD + b"5\r\nhelloXX0\r\n\r\n",
    HEAD + b"zz\r\nhello\r\n",
    HEAD + "4\r\n✓x\r\n0\r\n\r\n".encode() + b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nh",
    b"HTTP/1.0 200 OK\nServer:old\nX: \ty\n folded\n\nuntil the end \xff\xfe",
    b"HTTP/1.1 204 No Content\r\nA: \r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nno header\r\n\r\nhello!",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x05hello",
    b"",
]


@st.composite
def cut(draw: st.DrawFn) -> list[tuple[float, bytes]]:
    """Bytes, arbitrary or a response with arbitrary bytes put in, cut at arbitrary places, with gaps."""
    data = draw(st.sampled_from(ODD) | st.binary(max_size=200))
    at = draw(st.integers(0, len(data)))
    data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 2)) :]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    gaps = draw(st.lists(st.floats(0, 100), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    ends = zip([0, *cuts], [*cuts, len(data)], strict=True)
    return list(zip(gaps, [data[a:b] for a, b in ends], strict=True))


requests = st.builds(
    RecordedRequest,
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.text(st.characters(codec="latin-1"), max_size=10),
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2).map(tuple),
    st.binary(max_size=10) | st.sampled_from([b"null", b'{"a":1.0}', b'{"a": 1}', b'{"a":1,"a":1}', b"[" * 5000]),
)


@given(cut(), requests, st.sampled_from([None, *ENDINGS]))
@example([(0.0, HEAD[:20]), (0.1, HEAD[20:] + CHUNKS)], CHAT, "end")
def test_what_is_written_is_read_again(
    wires: list[tuple[float, bytes]], request_: RecordedRequest, ending: str | None
) -> None:
    """For arbitrary bytes cut at arbitrary places: the recording comes back equal, its bytes are the given ones, and
    writing it anew gives the same file."""
    gap = 0.25 if ending else 0.0
    recording = Recording.of(request_, wires, ending=ending, ending_gap=gap, recorded="2026-11-22T21:00:00Z")
    assert recording.wire == b"".join(data for _, data in wires)
    assert [read.wire for read in recording.reads] == [data for _, data in wires if data]
    text = dumps(recording)
    again = loads(text)
    assert again == recording
    assert dumps(again) == text


@given(wires=cut(), upload=st.sampled_from([b"", b"xy", b"x" * 100]))
def test_the_writer_writes_what_dumps_gives(
    wires: list[tuple[float, bytes]], upload: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Line by line during the exchange, or at once afterwards: the file says the same."""
    path = tmp_path_factory.mktemp("written") / "a.ndjson"
    writer = RecordingWriter.create(path)
    if upload:
        writer.begin_upload(replace(CHAT, body=upload), "now")
        for byte in upload:
            writer.upload(bytes([byte]))
    else:
        writer.begin(CHAT, "now")
    for _, data in wires:
        writer.read(0.5, data)
    writer.end("reset", 1.5)
    body = upload + upload if upload else CHAT.body
    wires = [(0.5, data) for _, data in wires if data]
    assert load(path) == Recording.of(replace(CHAT, body=body), wires, recorded="now", ending="reset", ending_gap=1.5)


@pytest.mark.parametrize("data", [data for data in ODD if data.startswith(b"HTTP/1.1 200 OK\r\n")])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_the_content_is_what_other_parsers_find(data: bytes, step: int) -> None:
    """However the bytes are cut, head, content and completeness are those that h11 finds up to where it gives up."""
    lifter, content = Lifter(), b""
    for at in range(0, len(data), step):
        content += lifter.feed(data[at : at + step]).content
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(data)
    found, refused, complete = b"", False, False
    try:
        while not complete:
            event = theirs.next_event()
            if event is h11.NEED_DATA:
                break
            if isinstance(event, h11.Response):
                assert lifter.head is not None
                assert lifter.head.status == event.status_code
                assert [k.encode() for k, _ in lifter.head.headers] == [k for k, _ in event.headers.raw_items()]
            if isinstance(event, h11.Data):
                found += event.data
            complete = isinstance(event, h11.EndOfMessage)
    except h11.RemoteProtocolError:
        refused = True
    assert content == found
    assert lifter.complete == complete
    assert refused == (lifter.error is not None and not complete)


def test_a_stream_reads_as_the_page_says() -> None:
    """Head, content, chunk sizes, what came in the same read, and what is kept raw: the file is readable by eye."""
    wires = [
        (0.4, HEAD + b"8\r\ndata: 1\n\r\n"),
        (0.02, b"3\r\n\xe2\x9c\x93\r\n2\r\n\xe2\x9c\r\n"),
        (0.01, b"A\r\n012"),
    ]
    recording = Recording.of(CHAT, [*wires, (0.0, b"3456789\r\n0\r\n\r\n")], ending="end", recorded="2026Z")
    lines = dumps(recording).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "mockprovider": 1,
            "recorded": "2026Z",
            "request": {
                "method": "POST",
                "target": "/v1/chat/completions?x=1",
                "headers": [["content-type", "application/json"]],
                "body": {"model": "m"},
            },
        },
        [
            0.4,
            "head",
            {
                "version": "1.1",
                "status": 200,
                "reason": "OK",
                "headers": [["Content-Type", "text/event-stream"], ["Transfer-Encoding", "chunked"]],
            },
        ],
        [0.0, "write", "data: 1\n", {"chunks": [8], "joined": True}],
        [0.02, "write64", "4pyT4pw=", {"chunks": [3, 2]}],
        [0.01, "wire", "A\r\n012"],
        [0.0, "wire", "3456789\r\n0\r\n\r\n"],
        [0.0, "end"],
    ]
    parser = Parser("POST")
    parser.feed(recording.wire)
    assert recording.content == bytes(parser.responses[0].body) == "data: 1\n✓".encode() + b"\xe2\x9c0123456789"
    assert recording.complete
    assert recording.duration == pytest.approx(0.43)
    assert recording.timed_content()[0] == (0.4, b"data: 1\n")
    assert recording.head == RecordedHead(
        "1.1", 200, "OK", (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
    )
    assert [read.verbatim for read in recording.reads] == [False, False, True, True]
    assert recording.request.path == "/v1/chat/completions"
    assert recording.request.query == "x=1"
    assert recording.request.json == {"model": "m"}


@pytest.mark.parametrize("cut_at", range(1, 60))
def test_a_recording_that_was_cut_off_is_readable(cut_at: int) -> None:
    """A last line that was being written is left out; what is before it is there, and the recording is incomplete."""
    whole = Recording.of(CHAT, [(0.1, HEAD), (0.1, CHUNKS)], ending="end")
    text = dumps(whole)
    cut_off = loads(text[:-cut_at])
    assert not cut_off.complete or cut_at == 1  # only the line end is missing then
    assert whole.reads[: len(cut_off.reads)] == cut_off.reads
    assert len(cut_off.reads) >= 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: the recording is empty"),
        (LINE[:-10], "line 1: the recording is empty, or was cut off"),
        ('{"a": 1}\n', "line 1: no recording of mockprovider"),
        ("[]\n", "line 1: no recording of mockprovider"),
        (LINE.replace("1,", "2,"), "line 1: version 2 of the format is not known; this program reads 1"),
        (LINE.replace('"recorded"', '"seed": 1, "recorded"'), "line 1: seed: not known to version 1"),
        (LINE.replace('"method": "GET", ', ""), "line 1: method: missing"),
        (LINE.replace('"headers"', '"text": "", "body": 1, "headers"'), "either of body and text, not both"),
        (LINE.replace('"headers"', '"body64": "x", "headers"'), "line 1: request: body64: no base64"),
        (LINE.replace("[]", '[["a"]]'), r"line 1: headers: a list of \[name, value\]"),
        (LINE + 'nonsense\n[0.0,"end"]\n', "line 2: no JSON"),
        (LINE + '{"a": 1}\n', r"line 2: expected \[gap, kind"),
        (LINE + '[-1, "end"]\n', "line 2: a gap is a number of seconds of at least 0, not -1"),
        (LINE + '[true, "end"]\n', "line 2: a gap is"),
        (LINE + '[0, "stop"]\n', "line 2: unknown kind 'stop'"),
        (LINE + '[0, "write"]\n', "line 2: expected"),
        (LINE + '[0, "write", 1]\n', "line 2: write: expected a text, got 1"),
        (LINE + '[0, "write", "a", {"size": 1}]\n', "line 2: size: not known to version 1"),
        (LINE + '[0, "write", "a", {"chunks": [2]}]\n', "they add up to 2 bytes, and the content has 1"),
        (LINE + '[0, "write", "a", {"chunks": "1"}]\n', "chunks: a list of sizes"),
        (LINE + '[0, "wire64", "?"]\n', "line 2: wire64: no base64"),
        (LINE + '[0, "wire", "a", {"joined": true}]\n', "line 2: a joined line has a gap of 0 and a line before it"),
        (LINE + '[0, "wire", "\\ud800"]\n', "line 2: wire: a lone surrogate"),
        (LINE + '[0, "wire", ""]\n', "line 2: a line without bytes"),
        (LINE + '[0, "head", {"version": "1.1", "status": 20, "reason": "", "headers": []}]\n', "status: a number of"),
        (LINE + '[0, "head", {"version": "1.1", "status": 200, "reason": "✓", "headers": []}]\n', "'✓' cannot stand"),
        (LINE + '[0, "end"]\n[0, "wire", "a"]\n', "line 3: a line after the ending 'end'"),
    ],
)
def test_damage_is_an_error_that_says_where(text: str, reason: str, tmp_path: Path) -> None:
    """What is damaged or unknown is refused, with the file, the line and what is wrong; so is the folder it is in."""
    path = tmp_path / "a.ndjson"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError, match=reason) as raised:
        load(path)
    assert str(path) in str(raised.value)
    with pytest.raises(RecordingError, match=reason):
        load_folder(tmp_path)


def test_nothing_is_recorded_over(tmp_path: Path) -> None:
    """Creating a recording where there is a file fails, and the file stays as it is."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        RecordingWriter.create(path)
    assert path.read_bytes() == b"precious"


def test_a_folder_is_read_in_order(tmp_path: Path) -> None:
    """2 comes before 10; other files are none of our business; a folder that is not there is an error."""
    for name in ("10-a", "2-b", "9-c"):
        (tmp_path / f"{name}.ndjson").write_text(LINE)
    (tmp_path / "README.md").write_text("no recording")
    assert [recording.name for recording in load_folder(tmp_path)] == ["2-b", "9-c", "10-a"]
    with pytest.raises(RecordingError, match="no such folder"):
        load_folder(tmp_path / "missing")
    with pytest.raises(RecordingError, match="No such file"):
        load(tmp_path / "missing.ndjson")


def test_gaps_add_up_to_the_true_time(tmp_path: Path) -> None:
    """A thousand gaps that microseconds cannot say add up to the true time within one microsecond."""
    path = tmp_path / "a.ndjson"
    writer = RecordingWriter.create(path)
    writer.begin(CHAT, "")
    for _ in range(1000):
        writer.read(0.0000004, b"x")
    writer.end("close", 0.0)
    assert load(path).duration == pytest.approx(0.0004, abs=1e-6)


CASES = [
    (RecordedHead("1.1", 200, "OK", (("Transfer-Encoding", "chunked"),)), False),
    (RecordedHead("1.1", 200, "OK", (("Content-Length", "11"),)), False),
    (RecordedHead("1.1", 200, "OK", (("Content-Length", "5"),)), True),
    (RecordedHead("1.1", 200, "OK", (("X", "y"),)), True),
]


@pytest.mark.parametrize(("head", "mended"), CASES)
@pytest.mark.parametrize("pieces", [None, [b"hello", b"", b" world"]])
def test_content_becomes_a_recording(head: RecordedHead, mended: bool, pieces: list[bytes] | None) -> None:
    """With a legal framing whatever the head says, and with what is made up named."""
    recording = made(CHAT, head, b"hello world", source={"format": "x"}, pieces=pieces)
    parser = Parser("POST")
    parser.feed(recording.wire)
    assert bytes(parser.finished[0].body) == recording.content == b"hello world"
    wanted = {"timing"} | ({"framing"} if mended else set()) | ({"boundaries"} if pieces is None else set())
    assert recording.synthetic == wanted
    assert len(recording.timed_content()) == (1 if pieces is None else 2)
    assert loads(dumps(recording)) == recording


def test_content_without_a_body_and_times() -> None:
    """A reply to HEAD has no content; given gaps are kept; what does not fit together is refused."""
    head = RecordedHead("1.1", 200, "OK", (("Content-Length", "11"),))
    assert made(replace(CHAT, method="HEAD"), head, b"", source={}).wire == head.encode()
    recording = made(CHAT, head, b"hello world", source={}, pieces=[b"hello ", b"world"], gaps=[0.5, 0.25, 1.0])
    assert recording.timed_content() == [(0.75, b"hello "), (1.75, b"world")]
    assert recording.synthetic == frozenset()
    with pytest.raises(ValueError, match="the pieces are not the content"):
        made(CHAT, head, b"hello", source={}, pieces=[b"hell"])
    with pytest.raises(ValueError, match="expected 2 gaps"):
        made(CHAT, head, b"hello", source={}, gaps=[0.0])

"""Faults of the wire and of characters: where chunks and writes end, and what is no text; alone and on the wire."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.faults import FAULTS, chain, text_of, wire
from mockprovider.faults.wire import Frames
from mockprovider.payload import Payload
from mockprovider.reply import Start, Text, TextDelta
from mockprovider.timeline import NOWHERE, Close, End, Hold
from mockprovider.wire import Head, Raw, Write
from tests.cases.conftest import provider
from tests.cases.observe import Seen, observe
from tests.faults.stages import context, through

__all__ = ["provider"]

HEAD = Head(200, (("Content-Type", "text/event-stream"),))


def pieces(text: str, *items: Any) -> list[Any]:
    """What the items become: the bytes of writes, which must all be promised, and everything else as it is."""
    found = [item for _, item, _ in through(text, *items)]
    assert not [item for item in found if isinstance(item, bytes)]
    return [item.data if isinstance(item, Write) else item for item in found]


def cut(text: bytes) -> list[bytes]:
    """Bytes as the tests write them, with a bar at each boundary."""
    return text.split(b"|")


# ------------------------------------------------------------------------------------------------ split


@pytest.mark.parametrize(
    ("at", "pieces_"),
    [
        ("character", "data: é".encode()[:-1] + b"|" + "é".encode()[1:] + b" \xe2|\x80\x94 \xf0\x9f|\x8c\x8d.\n\n"),
        ("escape", rb'data: {"a":"\u00|e9\|n\|\n\|"\ud8|3d"}' + b"\n\n"),
        ("json", b'data: {"a":|"bcd"}\n\n'),
        ("json", b"id: 1\ndata:{1|,2}\n: {x}\n\n"),
        ("name", b"ev|ent: a\nda|ta: b\n: c\nda|ta\n\n"),
        ("part", b"data: |{}|\n|\n"),
        ("part", b"id: |1|\r\n|data:|x|\r\n|\r\n"),
        ("part", b": |c|\n|\n"),
        ("crlf", b"data: a\r|\n\r|\n"),
        ("blank", b"data: a\n|\ndata: b\r\n|\r\n"),
        ("blank", b"data: a\r|\r"),
        ("event", b"data: a\n\n|data: b\r\n\r\n|: c\r\r"),
        ("blank name", b"da|ta: a\n|\n"),
        ("json character", b'data: {"a":|"\xc3|\xa9"}\n\n'),
    ],
)
def test_split(at: str, pieces_: bytes) -> None:
    """Content is cut at the places that are named, and each piece is a promised write; nothing else changes."""
    expected = cut(pieces_)
    assert pieces(f"split(at={at})", HEAD, b"".join(expected), End()) == [HEAD, *expected, End()]
    assert pieces(f"split(at={at})", Write(b"".join(expected))) == expected


def test_split_carries_over() -> None:
    """With `carry`, what is left after the last cut leaves with the next content, or before whatever is none."""
    text = "split(at=blank name,carry=true)"
    events = (HEAD, b"data: a\n\n", b"data: b\n\n", Hold("g"), b"data: c\n\n", End())
    found = list(through(text, *events))
    assert pieces(text, *events) == [
        HEAD,
        *cut(b"da|ta: a\n|\nda|ta: b\n|\n"),
        Hold("g"),
        *cut(b"da|ta: c\n|\n"),
        End(),
    ]
    assert [gap for gap, _, _ in found] == [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]


def test_split_keeps_time_and_pause() -> None:
    """The first piece comes when the content was due, and each keeps the pause that is set."""
    found = list(through("split(at=crlf,seconds=0.25)", HEAD, b"a\r\n", Raw(b"x\r\n"), b"b"))
    assert [gap for gap, _, _ in found] == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert [item.apart for _, item, _ in found if isinstance(item, Write)] == [0.25] * 3
    assert isinstance(found[3][1], Raw)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_split_into_writes_leaves_the_framing_whole() -> None:
    """With `into=writes` chunks stay as they are and are cut where their content says so, not their framing."""
    one, two = b"d\r\ndata: a\r\n\r\nb\r\n", b"3\r\nxyz\r\n0\r\n\r\n"
    found = [item for _, item, _ in through("split(at=crlf blank,into=writes)", CHUNKED, one, two, End())]
    assert [item.data for item in found if isinstance(item, Write)] == cut(b"d\r\ndata: a\r|\n|\r|\nb\r\n")
    assert [item for item in found if not isinstance(item, Write)] == [CHUNKED, two, End()]
    plain = [item for _, item, _ in through("split(at=crlf,into=writes)", b"HTTP/1.1 200 OK\r\n\r\n", b"a\r\nb")]
    assert [item.data for item in plain[1:]] == [b"a\r", b"\nb"]


# ------------------------------------------------------------------------------------------------ chunks


def test_rechunk() -> None:
    """Chunks have the sizes in turn whatever is in them; a gate or the end lets the rest go."""
    found = list(through("rechunk(sizes=2 3)", HEAD, b"abcd", b"efghi", Hold("g"), Write(b"j"), End()))
    assert [item.data if isinstance(item, Write) else item for _, item, _ in found] == [
        HEAD, b"ab", b"cde", b"fg", b"hi", Hold("g"), b"j", End(),
    ]  # fmt: skip
    assert [gap for gap, _, _ in found] == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    joinable = [item for _, item, _ in through("rechunk(sizes=[2],seconds=0)", HEAD, b"abc", End())]
    assert joinable == [HEAD, b"ab", b"c", End()]


def test_merge() -> None:
    """So many pieces of content come as one, when the last of them is due; a gate or the end lets fewer go."""
    items = (HEAD, b"a", b"b", b"c", Hold("g"), b"d", b"e", b"f", End())
    found = list(through("merge(events=2)", *items))
    assert pieces("merge(events=2)", *items) == [HEAD, b"ab", b"c", Hold("g"), b"de", b"f", End()]
    assert [gap for gap, _, _ in found] == [1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0]
    some = [item for _, item, _ in through("merge(events=2,after=1,times=1)", b"a", b"b", b"c", b"d", End())]
    assert [some[0], some[1].data, *some[2:]] == [b"a", b"bc", b"d", End()]
    whole = [item for _, item, _ in through("merge(times=1)", b"a", Close(), b"b")]
    assert [whole[0].data, *whole[1:]] == [b"a", Close(), b"b"]


@pytest.mark.parametrize(
    ("text", "items", "expected"),
    [
        (
            "chunk-extensions",
            [b"1\r\na\r\n2\r\nbc\r\n", b"0\r\n\r\n"],
            b"1;name=value\r\na\r\n2;name=value\r\nbc\r\n0\r\n\r\n",
        ),
        ("chunk-extensions(text=x,every=2)", [b"1\r\na\r\n", b"1\r\na\r\n"], b"1\r\na\r\n1;x\r\na\r\n"),
        ('chunk-extensions(text="a=\\"b c\\"")', [b"3\r\n1\r\n\r\n"], b'3;a="b c"\r\n1\r\n\r\n'),
        ("chunk-extensions", [b"3\r\na", b"bc\r\n1\r\nd\r\n"], b"3;name=value\r\nabc\r\n1;name=value\r\nd\r\n"),
        ("dribble-head(by=line)+chunk-extensions(text=x)", [b"1\r\na\r\n"], b"1;x\r\na\r\n"),
        ("chunk-extensions", [b"zz\r\na\r\n1\r\na\r\n"], b"zz\r\na\r\n1\r\na\r\n"),  # broken by another fault
    ],
)
def test_chunk_extensions(text: str, items: list[bytes], expected: bytes) -> None:
    """Sizes of chunks have the extension, contents are not mistaken for sizes, and the last chunk has none."""
    found = [item for _, item, _ in through(text, CHUNKED, *items)]
    assert b"".join(item.data if isinstance(item, Write) else item for item in found) == CHUNKED + expected
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    assert [item for _, item, _ in through("chunk-extensions", plain, b"1\r\na\r\n")] == [plain, b"1\r\na\r\n"]


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.data())
def test_frames_find_all_content(contents: list[bytes], data: st.DataObject) -> None:
    """However the bytes of a chunked body are cut between chunks, all of its content is found, and nothing else."""
    frames = Frames()
    head = b"HTTP/1.1 103 Early Hints\r\n\r\n" + CHUNKED
    place = data.draw(st.integers(0, len(head)))
    assert [*frames.feed(head[:place]), *frames.feed(head[place:])] == []
    found = b""
    for content in contents:
        frame = b"%x\r\n%b\r\n" % (len(content), content)
        place = data.draw(st.integers(len(b"%x\r\n" % len(content)), len(frame)))
        for part in (frame[:place], frame[place:]):
            found += b"".join(part[start:end] for kind, start, end in frames.feed(part) if kind == "content")
    assert found == b"".join(contents)


# ------------------------------------------------------------------------------------------------ characters


def test_inserted_text() -> None:
    """One more delta of that text comes after so many tokens, whole, and counts for the tokens it has."""
    start = Start(0, Text, 0)
    found = list(through('insert-text(text="\\ud83d",after=1)', start, TextDelta("a"), TextDelta("b"), End()))
    assert [getattr(item, "text", None) for _, item, _ in found] == [None, "a", "\ud83d", "b", None]
    assert [gap for gap, _, _ in found] == [1.0, 1.0, 0.0, 1.0, 1.0]
    (long,) = [
        item for _, item, _ in through('insert-text(text="two words",after=0)', TextDelta("a")) if item.tokens > 1
    ]
    assert (long.text, long.tokens, long.pieces) == ("two words", 2, ("two", " words"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"a":"é\u2028京"}'.encode(), rb'{"a":"\u00e9\u2028\u4eac"}'),
        ('"🌧"'.encode(), rb'"\ud83c\udf27"'),
        (rb'"\ud83d"', rb'"\ud83d"'),
        (b"[DONE]", b"[DONE]"),
        (b'"\xff"', b'"\xff"'),
    ],
)
def test_ascii(data: bytes, expected: bytes) -> None:
    """What is not ASCII becomes an escape, or a pair of escapes; everything else stays."""
    (found,) = [item for _, item, _ in through("ascii", Payload(data, "name"))]
    assert (found.data, found.name) == (expected, "name")


def test_stray_bytes() -> None:
    """The bytes stand at the end of the text of the chosen event, and nowhere else."""
    text = 'data: {"delta":{"content":"é"}}\n\n'.encode()
    empty = b'data: {"delta":{"content":""}}\n\n'
    found = [item for _, item, _ in through('stray-bytes(hex="00ff",event=2)', empty, text, b": c\n\n", text, text)]
    assert found == [empty, text, b": c\n\n", text.replace("é".encode(), "é".encode() + b"\0\xff"), text]
    marked = 'data: {"delta":{"content":"\ufdd0"}}\n\n'.encode()
    assert [item for _, item, _ in through("stray-bytes", marked)] == [marked.replace(b'"}}', b'\xff"}}')]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cut-character", b"a\xc3\xa9\xe2\x80\x94\xf0\x9f"),
        ("cut-character(keep=3)", b"a\xc3\xa9\xe2\x80\x94\xf0\x9f\x8c"),
        ("cut-character(size=3,keep=1)", b"a\xc3\xa9\xe2"),
        ("cut-character(size=2,keep=1)", b"a\xc3"),
    ],
)
def test_cut_character(text: str, kept: bytes) -> None:
    """The message ends inside the first character of that size; one whose length is declared can only be broken off."""
    content = "aé—🌧 and more".encode()
    assert [item for _, item, _ in through(text, HEAD, b"x", content)][:4] == [HEAD, b"x", kept, End()]
    sized = Head(400, (("content-length", "99"),))
    assert [item for _, item, _ in through(text, sized, content)][:3] == [sized, kept, Close()]
    (write, end) = [item for _, item, _ in through(text, Write(content, 0.5))]
    assert (write.data, write.apart, end) == (kept, 0.5, End())


def test_a_reply_without_such_a_character_is_whole() -> None:
    """Where no character has that size, nothing is cut."""
    assert [item for _, item, _ in through("cut-character", HEAD, b"abc", End())] == [HEAD, b"abc", End()]


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "split(at=middle)",
            "split: at: expected one or more of character, escape, json, name, part, crlf, blank, event",
        ),
        ('split(at="")', "split: at: expected one or more of"),
        ("split(carry=true,into=writes)", "split: carry: expected into=chunks with it"),
        ("split(into=packets)", "split: into: expected chunks or writes"),
        ("rechunk(sizes=0)", "rechunk: sizes: expected one or more whole numbers >= 1"),
        ("rechunk(sizes=[])", "rechunk: sizes: expected one or more"),
        ("rechunk(sizes=1 x)", "rechunk: sizes: expected one or more"),
        ("merge(events=0)", "merge: events: expected a whole number >= 1"),
        ('chunk-extensions(text="a;b\\r\\n")', "chunk-extensions: text: expected a chunk extension such as name=value"),
        ("insert-text(after=2events)", "insert-text: after: expected tokens or %, got 2events"),
        ("stray-bytes(hex=0)", "stray-bytes: hex: expected hexadecimal digits in quotes"),
        ('stray-bytes(hex="")', "stray-bytes: hex: expected hexadecimal digits"),
        ('stray-bytes(hex="f")', "stray-bytes: hex: expected hexadecimal digits"),
        ("cut-character(size=5)", "cut-character: size: expected a whole number from 2 to 4"),
        ("cut-character(size=2,keep=2)", "cut-character: keep: expected less than size (2), got 2"),
    ],
)
def test_impossible_settings(text: str, complaint: str) -> None:
    """What cannot be is refused before a stream starts: the fault, the setting, and what is allowed."""
    with pytest.raises(SettingError, match=re.escape(complaint)):
        chain(text)


def test_whole_replies_cannot_end_inside_a_character() -> None:
    """A whole reply declares its length, so its clean end cannot be moved."""
    (fault,) = chain("cut-character")
    with pytest.raises(SettingError, match="this request asks for a whole reply"):
        fault.stage(context(stream=False))


# ------------------------------------------------------------------------------------------------ on the wire

Check = Callable[[Seen], object]

REPLY = "Wetter — 京\n\n drei 🌧."


def reads(seen: Seen) -> list[bytes]:
    """What content each read brought."""
    return [read.data for read in seen.arrivals]


def whole(seen: Seen) -> bool:
    """Whether the reply came to its end."""
    return (seen.text, seen.finishes, seen.done, seen.ending) == (REPLY, ["stop"], 1, "complete")


WIRE: dict[str, Check] = {
    "split": lambda seen: reads(seen) == seen.chunks and len(seen.chunks) == 2 * len(seen.blocks) - 1 and whole(seen),
    "split(at=event)": lambda seen: reads(seen) == seen.blocks and whole(seen),
    "split(at=character)": lambda seen: (
        reads(seen) == seen.chunks and any(chunk.endswith(b"\xf0\x9f") for chunk in seen.chunks) and whole(seen)
    ),
    "split(at=blank,into=writes)": lambda seen: (
        # The chunks are the events, and each is cut between its two line feeds.
        seen.chunks == seen.blocks
        and sum(read.data.endswith(b"\n") and not read.data.endswith(b"\r\n") for read in seen.wire_reads)
        == len(seen.blocks)
        and whole(seen)
    ),
    "rechunk(sizes=100)": lambda seen: (
        reads(seen) == seen.chunks and {len(chunk) for chunk in seen.chunks[:-1]} == {100} and whole(seen)
    ),
    "merge(events=3)": lambda seen: (
        reads(seen) == seen.chunks
        and {chunk.count(b"\n\n") for chunk in seen.chunks[:-1]} == {3}
        and whole(seen)
    ),
    'chunk-extensions(text="a=1")': lambda seen: (
        all(line.endswith(b";a=1") for line in seen.size_lines) and whole(seen)
    ),
    'insert-text(text="\\udcaf",after=2)': lambda seen: (
        rb'"content":"\udcaf"' in seen.body and seen.text.replace("\udcaf", "") == REPLY
    ),
    "ascii": lambda seen: rb"\ud83c\udf27" in seen.body and seen.body.isascii() and whole(seen),
    'stray-bytes(hex="00")': lambda seen: seen.body.count(b"\0") == 1 and len(seen.documents) == len(seen.blocks) - 2,
    "cut-character(size=3,keep=1)": lambda seen: (
        seen.body.endswith(b'"content":"\xe2') and seen.ending == "complete" and seen.text == "Wetter "
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", WIRE)
async def test_wire(provider: MockProvider, text: str) -> None:
    """Each fault does on the wire what it says, and without it the stream does not look like that."""
    provider.on().reply(REPLY)
    found = []
    for _ in range(3):  # a busy kernel may join two reads that left a millisecond apart
        seen = await observe(provider.url, text)
        assert seen.status == 200
        found.append(bool(WIRE[text](seen)))
        if found[-1]:
            break
    assert any(found), seen
    assert not WIRE[text](await observe(provider.url))


def test_every_fault_is_tested_on_the_wire() -> None:
    """No fault of the wire is missing above."""
    tested = {type(fault) for text in WIRE for fault in chain(text)}
    assert {fault for fault in FAULTS.values() if fault.__name__ in wire.__all__} <= tested


@pytest.mark.parametrize(
    "text",
    [
        *WIRE,
        'chunk-extensions(text="a=\\"b c\\"",every=3)',
        "rechunk(sizes=1 2 997,seconds=0)",
        'stray-bytes(hex="ff")',
    ],
)
def test_text_form(text: str) -> None:
    """The text of a chain, read again, is the same chain."""
    faults = chain(text)
    assert chain(text_of(faults)) == faults


def test_nothing_is_added_to_tokens() -> None:
    """What the wire adds belongs to no token, and what came from one says so still."""
    assert [origin for _, _, origin in through("split(at=crlf)", HEAD, b"a\r\nb")] == [(0, 0), (0, 1), (0, 1)]
    assert {origin for _, _, origin in through("rechunk", b"ab")} == {NOWHERE}

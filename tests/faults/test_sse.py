"""Faults of the event stream: what each does to blocks, alone, and on the wire."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.faults import FAULTS, chain, sse, text_of
from mockprovider.timeline import NOWHERE, Close, End, Hang, Hold, Reset
from mockprovider.wire import Head, Raw, Write
from tests.cases.conftest import provider
from tests.cases.observe import Seen, observe
from tests.faults.stages import context, through

__all__ = ["provider"]

DONE = b"data: [DONE]\n\n"
ONE = b'data: {"a":1,"b":"x, y","c":[2,3]}\n\n'
TWO = b'event: e\nid: 7\ndata: {"delta":{"text":"hi"}}\n\n'
PING = b": ping\n\n"
COMMENT = b": keep-alive\n\n"
HEAD = Head(200, (("Content-Type", "text/event-stream"),))


def made(text: str, *items: Any) -> list[Any]:
    """What the items become."""
    return [item for _, item, _ in through(text, *items)]


# ------------------------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize(
    ("text", "blocks", "expected"),
    [
        ("line-ends", [TWO], [TWO.replace(b"\n", b"\r\n")]),
        ("line-ends(end=cr)", [TWO.replace(b"\n", b"\r\n")], [TWO.replace(b"\n", b"\r")]),
        ("line-ends(end=lf)", [b"data: a\r\rdata: b\r\n\r\n"], [b"data: a\n\ndata: b\n\n"]),
        ("line-ends(end=mixed)", [b"data: a\n\n"] * 3, [b"data: a\n\r", b"data: a\r\n\n", b"data: a\r\r\n"]),
        ("line-ends", [b"data: a"], [b"data: a"]),
        ("blank-lines(extra=2)", [ONE, PING], [ONE + b"\n\n", PING + b"\n\n"]),
        ("blank-lines(every=2)", [ONE, PING, DONE], [ONE, PING + b"\n", DONE]),
        ("line-ends(end=cr)+blank-lines", [PING], [b": ping\r\r\r"]),
        ("no-blank-lines", [ONE, TWO, b"data: x\n\n\n"], [ONE[:-1], TWO[:-1], b"data: x\n"]),
        ("spacing", [TWO, b"data: a\ndata:b\n\n"], [TWO.replace(b"data: ", b"data:"), b"data:a\ndata:b\n\n"]),
        ("spacing(spaces=3)", [DONE, PING], [b"data:   [DONE]\n\n", PING]),
        ("spacing(spaces=2)+spacing", [DONE], [b"data:  [DONE]\n\n"]),  # the first space protects the second
        ("spacing(on=done)", [ONE, DONE], [ONE, b"data:[DONE]\n\n"]),
        (
            "data-prefix",
            [DONE, PING, b"data:a\ndata: b\n\n"],
            [b"data: " + DONE, PING, b"data:data: a\ndata: data: b\n\n"],
        ),
        ("ids", [ONE, PING, DONE], [b"id: 1\n" + ONE, PING, b"id: 2\n" + DONE]),
        ("ids(first=0,every=2)", [ONE, TWO, DONE], [b"id: 0\n" + ONE, TWO, b"id: 1\n" + DONE]),
        ('ids(text="a b")', [ONE], [b"id: a b\n" + ONE]),
        ("line-ends+ids", [b"data: a\n\n"], [b"id: 1\r\ndata: a\r\n\r\n"]),
        ("event-names", [ONE, PING], [b"event: message\n" + ONE, PING]),
        ("event-names(event=x)", [TWO], [TWO.replace(b"event: e", b"event: x")]),
        ('event-names(event="")', [TWO], [TWO.replace(b"event: e\n", b"")]),
        ("field", [ONE, PING], [b"foo: bar\n" + ONE, PING]),
        ("field(field=retry,value=500,place=last)", [DONE], [b"data: [DONE]\nretry: 500\n\n"]),
        ("field(field=bare,colon=false)", [DONE], [b"bare\n" + DONE]),
        ("line-ends(end=cr)+field(place=last)", [DONE], [b"data: [DONE]\rfoo: bar\r\r"]),
        ("field-order", [TWO, PING], [b'data: {"delta":{"text":"hi"}}\nevent: e\nid: 7\n\n', PING]),
        ("field-order+field-order(data=last)", [TWO], [TWO]),
        ("field-order", [b"id: 1\ndata: a\rdata: b\r\n\n"], [b"data: a\ndata: b\rid: 1\r\n\n"]),
        ("done", [ONE, DONE], [ONE]),
        ("done(times=3)", [ONE, b"data:[DONE]\n\n"], [ONE, *[b"data:[DONE]\n\n"] * 3]),
        ('done-text(text="[END]")', [ONE, b"id: 3\ndata:[DONE]\r\n\n"], [ONE, b"id: 3\ndata:[END]\r\n\n"]),
        ("comment(every=2)", [ONE, TWO, ONE, PING, DONE], [COMMENT, ONE, TWO, COMMENT, ONE, PING, DONE]),
        ("comment(text=hi,first=false)", [ONE, DONE], [ONE, b": hi\n\n", DONE]),
        ('comment(text="",blank=false)', [ONE], [b":\n", ONE]),
        ('insert-block(after=1events,block="x\\n\\n")', [ONE, DONE], [ONE, b"x\n\n", DONE]),
        ('insert-block(block="x\\n\\n",after=0events)', [ONE], [b"x\n\n", ONE]),
        ('insert-block(every=2,block="x\\n\\n")', [ONE, TWO, ONE, DONE], [ONE, TWO, b"x\n\n", ONE, DONE]),
        ('insert-block(before=done,block="x\\n\\n")', [ONE, DONE], [ONE, b"x\n\n", DONE]),
        ('insert-block(before=done,block="x\\n\\n")', [ONE], [ONE, b"x\n\n"]),
        ('insert-block(before=end,block="x\\n\\n")', [ONE, DONE], [ONE, DONE, b"x\n\n"]),
        ("insert-block(after=9events)", [ONE], [ONE]),
        ("insert-block", [ONE, TWO, DONE], [ONE, TWO, b"data: null\n\n", DONE]),
        ("no-final-blank", [ONE, DONE], [ONE, DONE[:-1]]),
        ("no-final-blank(keep=0)", [ONE, DONE + b"\n"], [ONE, DONE[:-2]]),
        ("line-ends+no-final-blank", [DONE], [b"data: [DONE]\r\n"]),
    ],
)
def test_blocks(text: str, blocks: list[bytes], expected: list[bytes]) -> None:
    """Each fault makes of these blocks those, also where other faults were before it."""
    assert made(text, *blocks) == expected


def test_the_finish_is_found_by_its_field() -> None:
    """`before=finish` stands before the first reason that is not null, whatever the texts say."""
    text = b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\":\\"stop\\""},"finish_reason":null}]}\n\n'
    finish = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    stop = b'data: {"delta":{"stop_reason": "end_turn"}}\n\n'
    assert made('insert-block(before=finish,block="x\\n\\n")', text, finish, finish) == [text, b"x\n\n", finish, finish]
    assert made('insert-block(before=finish,block="x\\n\\n")', text, stop) == [text, b"x\n\n", stop]


def test_multiline_cuts_between_members() -> None:
    """The JSON is cut after commas that are not in a string, over at most as many lines as it has members."""
    assert made("multiline", ONE) == [b'data: {"a":1,"b":"x, y",\ndata: "c":[2,\ndata: 3]}\n\n']
    assert made("multiline(lines=2)", ONE) == [b'data: {"a":1,"b":"x, y",\ndata: "c":[2,3]}\n\n']
    assert made("multiline(lines=9)", ONE) == [b'data: {"a":1,\ndata: "b":"x, y",\ndata: "c":[2,\ndata: 3]}\n\n']
    assert made("multiline(lines=1)", ONE) == [ONE]
    for untouched in (DONE, PING, b'data: {"a":1}\n\n', b"data: {1,\ndata: 2}\n\n", rb'data: {"\",":1}' + b"\n\n"):
        assert made("multiline", untouched) == [untouched]
    assert made("line-ends+multiline", b"id: 1\ndata: {1,2}\nretry: 3\n\n") == [
        b"id: 1\r\ndata: {1,\r\ndata: 2}\r\nretry: 3\r\n\r\n"
    ]


def test_a_giant_has_exactly_that_many_bytes() -> None:
    """The data line of the chosen event with text has the length that is asked for; all others stay as they are."""
    role = b'data: {"delta":{"role":"assistant","content":""}}\n\n'
    text = 'data: {"id":"x","delta":{"content":"é"},"n":null}\n\n'.encode()
    tool = b'data: {"delta":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{"}}]}}\n\n'
    for event, place in ((1, 1), (2, 2), (3, 4)):
        found = made(f"giant(bytes=2000,event={event})", role, text, tool, DONE, text)
        (giant,) = [number for number, block in enumerate(found) if len(block) > 1000]
        assert giant == place
        assert len(found.pop(giant)) == 2000 + len(b"\n\n")
        assert set(found) <= {role, text, tool, DONE}
    small = made("giant(bytes=10)", text)
    assert small == [text]
    grown = json.loads(made("giant(bytes=100)", text)[0].removeprefix(b"data: "))
    assert grown.keys() == {"id", "delta", "n"}
    assert grown["delta"]["content"].startswith("é and on")


# ------------------------------------------------------------------------------------------------ time and controls


def test_keepalives_fill_silence_and_conserve_time() -> None:
    """A comment stands at each interval of a gap that is longer, and what comes after it comes when it did."""
    for gap, count in ((0.0, 0), (0.3, 0), (0.30001, 1), (0.9, 2), (1.0, 3)):
        *comments, (left, last, origin) = through("keepalive(seconds=0.3,text=hi)", DONE, gap=gap)
        assert [(seconds, item) for seconds, item, _ in comments] == [(0.3, b": hi\n\n")] * count
        assert (last, origin) == (DONE, (0, 0))
        assert 0 <= left <= 0.3 + 1e-9
        assert sum(seconds for seconds, _, _ in comments) + left == pytest.approx(gap, abs=1e-12)


def test_keepalives_go_on_while_the_stream_hangs() -> None:
    """In the place of a Hang comments come for ever; a gate and other endings have them before."""
    found = through("keepalive(seconds=0.4)", ONE, Hang())
    assert [item for _, item, _ in itertools.islice(found, 3, 50)] == [b": keep-alive\n\n"] * 47
    times = itertools.accumulate(gap for gap, _, _ in through("keepalive(seconds=0.4)", ONE, Hang()))
    assert list(itertools.islice(times, 3, 6)) == pytest.approx([1.4, 1.8, 2.2])
    for control in (Hold("g"), Reset(), Close(), End()):
        assert made("keepalive(seconds=0.4)", control)[2:] == [control]


@pytest.mark.parametrize(
    ("text", "items", "expected"),
    [
        ("comment", [ONE, TWO], [(1.0, b": keep-alive\n\n"), (0.0, ONE), (1.0, b": keep-alive\n\n"), (0.0, TWO)]),
        ("done", [DONE, End()], [(2.0, End())]),
        ("done(times=2)", [DONE, End()], [(1.0, DONE), (0.0, DONE), (1.0, End())]),
        ('insert-block(after=0events,block="x")', [ONE], [(0.0, b"x"), (1.0, ONE)]),
        ('insert-block(after=1events,block="x")', [ONE, TWO], [(1.0, ONE), (0.0, b"x"), (1.0, TWO)]),
        ('insert-block(before=done,block="x")', [ONE, DONE], [(1.0, ONE), (1.0, b"x"), (0.0, DONE)]),
        ('insert-block(before=end,block="x")', [ONE, Close()], [(1.0, ONE), (1.0, b"x"), (0.0, Close())]),
        ('insert-block(before=end,block="x")', [Hold("g"), ONE], [(1.0, Hold("g")), (1.0, ONE), (0.0, b"x")]),
        ("held-open", [ONE, DONE], [(1.0, ONE), (1.0, DONE), (0.0, Hang())]),
        ("no-final-blank", [ONE, Hold("g"), ONE], [(1.0, ONE), (1.0, Hold("g")), (1.0, ONE[:-1])]),
        ("no-final-blank", [ONE, Hang()], [(1.0, ONE[:-1]), (1.0, Hang())]),
        ("eof(after=1events)", [ONE, End()], [(1.0, ONE), (0.0, End()), (1.0, End())]),
        ("line-ends", [Hold("g"), DONE], [(1.0, Hold("g")), (1.0, b"data: [DONE]\r\n\r\n")]),
    ],
)
def test_time_and_controls(text: str, items: list[Any], expected: list[tuple[float, Any]]) -> None:
    """Time is conserved: who drops an item hands its gap on; controls pass, and nothing is kept back over a gate."""
    assert [(gap, item) for gap, item, _ in through(text, *items)] == expected


def test_an_end_becomes_a_hang() -> None:
    """Where the message would end early, `held-open` holds it open there."""
    assert made("eof(after=1events)+held-open", ONE, TWO)[:2] == [ONE, Hang()]


def test_the_mark_stands_before_the_first_content() -> None:
    """A byte order mark stands before the first content, once; what declares its length is no stream and has none."""
    assert made("bom", HEAD, Raw(b"raw"), b"first", b"second")[2:] == [b"\xef\xbb\xbffirst", b"second"]
    (_, write) = made("bom", HEAD, Write(b"x", 0.5))
    assert (write.data, write.apart) == (b"\xef\xbb\xbfx", 0.5)
    error = Head(400, (("Content-Length", "5"),))
    assert made("bom", error, b"first") == [error, b"first"]


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("charset", "text/event-stream; charset=windows-1252"),
        ("charset(charset=latin1)", "text/event-stream; charset=latin1"),
        ('charset(charset="")', "text/event-stream"),
    ],
)
def test_charset(text: str, declared: str) -> None:
    """The parameter of the Content-Type is another one or none; other headers stay as they are."""
    head = Head(200, (("X", "1"), ("content-type", "text/event-stream; charset=utf-8"), ("Y", "2; z")))
    assert made(text, head, b"body") == [Head(200, (("X", "1"), ("content-type", declared), ("Y", "2; z"))), b"body"]
    error = Head(500, (("content-type", "application/json"),))
    assert made(text, error) == [error]


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("line-ends(end=vt)", "line-ends: end: expected lf or cr or crlf or mixed, got 'vt'"),
        ("blank-lines(extra=0)", "blank-lines: extra: expected a whole number from 1 to 1000, got 0"),
        ("multiline(lines=5000)", "multiline: lines: expected a whole number from 1 to 1000"),
        ("spacing(spaces=-1)", "spacing: spaces: expected a whole number from 0 to 1000"),
        ("spacing(on=role)", "spacing: on: expected all or done"),
        ('data-prefix(text="a\\nb")', "data-prefix: text: expected one line of text"),
        ('ids(text="a\\r")', "ids: text: expected one line of text"),
        ("field(field=data)", "field: field: expected a field name without a colon, other than data, event and id"),
        ('field(field="a:b")', "field: field: expected a field name"),
        ('field(field="")', "field: field: expected a field name"),
        ('field(field="\\ufeffdata")', "field: field: expected a field name"),
        ('event-names(event="a\\nb")', "event-names: event: expected one line"),
        ('comment(text="a\\nb")', "comment: text: expected one line of text"),
        ("keepalive(seconds=0)", "keepalive: seconds: expected more than 0, got 0"),
        ("keepalive(seconds=-1)", "keepalive: seconds: expected a number of seconds >= 0"),
        ('insert-block(block="")', "insert-block: block: expected a text that is not empty"),
        ("insert-block(after=3)", "insert-block: after: expected a number of events such as 2events, got 3"),
        ("insert-block(after=1events,every=2)", "insert-block: expected one of after, before and every, got more"),
        ("insert-block(before=start)", "insert-block: before: expected finish or done or end"),
        ("done(times=-1)", "done: times: expected a whole number >= 0"),
        ('done-text(text="a\\nb")', "done-text: text: expected one line"),
        ("eof(after=10bytes)", "eof: after: expected a position in tokens, events or %, got 10bytes"),
        ("no-final-blank(keep=3)", "no-final-blank: keep: expected a whole number from 0 to 2"),
        ("giant(bytes=99999999999)", "giant: bytes: expected a whole number from 1 to 67108864"),
        ("field-order(data=middle)", "field-order: data: expected first or last"),
    ],
)
def test_impossible_settings(text: str, complaint: str) -> None:
    """What cannot be is refused before a stream starts: the fault, the setting, and what is allowed."""
    with pytest.raises(SettingError, match=re.escape(complaint)):
        chain(text)


@pytest.mark.parametrize("text", ["bom", "charset"])
def test_whole_replies_are_no_event_streams(text: str) -> None:
    """A fault of event streams refuses a request for a whole reply."""
    (fault,) = chain(text)
    with pytest.raises(SettingError, match=f"{text} changes an event stream, and this request asks for a whole reply"):
        fault.stage(context(stream=False))


async def test_refusals_on_the_wire(provider: MockProvider) -> None:
    """An impossible setting or combination is answered with 400 in the provider's shape, and no stream begins."""
    for text, fields, word in (
        ("spacing(spaces=-1)", {}, "spaces"),
        ("line-ends", {"stream": False}, "line-ends"),
        ("bom", {"stream": False}, "bom"),
    ):
        seen = await observe(provider.url, text, **fields)
        assert (seen.status, seen.ending) == (400, "complete")
        assert word in seen.document["error"]["message"]


# ------------------------------------------------------------------------------------------------ on the wire

Check = Callable[[Seen], object]

REPLY = "Wetter — drei 🌧 vier."

WIRE: dict[str, Check] = {
    "line-ends": lambda seen: {end for _, end in seen.lines} == {b"\r\n"},
    "line-ends(end=cr)": lambda seen: {end for _, end in seen.lines} == {b"\r"},
    "blank-lines": lambda seen: seen.body.endswith(b"}\n\n\ndata: [DONE]\n\n\n"),
    "no-blank-lines": lambda seen: b"\n\n" not in seen.body,
    "multiline": lambda seen: re.match(rb"data: \{[^\n]*,\ndata: [^\n]*,\ndata: [^\n]*\}\n\n", seen.body),
    "spacing": lambda seen: seen.body.count(b"data:") == len(seen.blocks) and b"data: " not in seen.body,
    "data-prefix": lambda seen: seen.body.endswith(b"\n\ndata: data: [DONE]\n\n"),
    "ids": lambda seen: [event.last_id for event in seen.events] == [str(n + 1) for n in range(len(seen.events))],
    "event-names(event=chunk)": lambda seen: {event.type for event in seen.events} == {"chunk"},
    "field(field=retry,value=500)": lambda seen: seen.reading.retry == 500 and seen.finishes == ["stop"],
    "ids+field-order": lambda seen: re.search(rb"\n\ndata: \[DONE\]\nid: [0-9]+\n\n$", seen.body),
    "giant(bytes=200000)": lambda seen: max(len(line) for line, _ in seen.lines) == 200_000 and seen.done,
    "bom": lambda seen: seen.body.startswith(b"\xef\xbb\xbfdata: {") and seen.text == REPLY,
    "charset": lambda seen: seen.header("content-type") == "text/event-stream; charset=windows-1252",
    "comment(text=hi)": lambda seen: seen.reading.comments == (" hi",) * len(seen.events) and seen.text == REPLY,
    "stall(after=2,seconds=0.3)+keepalive(seconds=0.1,text=hi)": lambda seen: (
        seen.reading.comments == (" hi",) * 2 and sorted(seen.pauses)[-3] > 0.05 and seen.text == REPLY
    ),
    'insert-block(before=finish,block="data: x\\n\\n")': lambda seen: (
        seen.data[-3] == "x" and seen.finishes == ["stop"]
    ),
    "done": lambda seen: seen.done == 0 and seen.ending == "complete" and seen.finishes == ["stop"],
    "done(times=2)": lambda seen: seen.data[-2:] == ["[DONE]", "[DONE]"],
    'done-text(text="[END]")': lambda seen: seen.data[-1] == "[END]",
    "eof(after=50%)": lambda seen: seen.text == "Wetter — drei" and seen.ending == "complete" and not seen.finishes,
    "eof(after=2events)": lambda seen: len(seen.events) == 2 and seen.ending == "complete",
    "held-open": lambda seen: seen.ending == "open" and seen.done and not seen.raw.endswith(b"0\r\n\r\n"),
    "no-final-blank(keep=0)": lambda seen: seen.body.endswith(b"\n\ndata: [DONE]") and seen.ending == "complete",
}


@pytest.mark.parametrize("text", WIRE)
async def test_wire(provider: MockProvider, text: str) -> None:
    """Each fault does on the wire what it says, and without it the stream does not look like that."""
    provider.on().reply(REPLY)
    for chained, expected in ((text, True), ("", False)):
        seen = await observe(provider.url, chained, quiet=0.5)
        assert seen.status == 200
        assert bool(WIRE[text](seen)) is expected


def test_every_fault_is_tested_on_the_wire() -> None:
    """No fault of the event stream is missing above."""
    tested = {type(fault) for text in WIRE for fault in chain(text)}
    assert {fault for fault in FAULTS.values() if fault.__name__ in sse.__all__} <= tested


@pytest.mark.parametrize(
    "text",
    [
        *WIRE,
        'comment(text="a, (b) + \\"c\\"",every=3,first=false,blank=false)',
        'ids(text="a\\u0000b")',
        'field(field="x y",value="z",colon=false,place=last)',
        'insert-block(block="data: é\\n\\n",every=3)',
        "spacing(spaces=2,on=done)",
    ],
)
def test_text_form(text: str) -> None:
    """The text of a chain, read again, is the same chain."""
    faults = chain(text)
    assert chain(text_of(faults)) == faults


def test_raised_gates_do_not_lose_blocks() -> None:
    """Every block that goes into a stage comes out of it before a gate that stood behind it."""
    for text in ("no-final-blank", "comment", "insert-block(before=end)", "keepalive", "ids", "done(times=1)"):
        found = made(text, ONE, Hold("g"), DONE)
        assert found.index(ONE if ONE in found else b"id: 1\n" + ONE) < found.index(Hold("g"))


def test_origins_are_kept() -> None:
    """What came from a token says so still; what a fault adds belongs to none."""
    found = [(item, origin) for _, item, origin in through("comment+ids+line-ends", ONE, DONE)]
    assert [origin for item, origin in found if item.startswith(b":")] == [NOWHERE] * 2
    assert [origin for item, origin in found if not item.startswith(b":")] == [(0, 0), (0, 1)]

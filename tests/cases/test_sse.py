"""Each case of the family `sse`, proved on the wire from the words of its row."""

from __future__ import annotations

import json
import re
from itertools import takewhile

import pytest

from mockprovider import MockProvider
from tests import whatwg
from tests.cases.observe import TEXT, Seen, observe
from tests.cases.proofs import Proofs

PROOFS = Proofs("sse")

DONE = b"data: [DONE]\n\n"


# ------------------------------------------------------------------------------------------------ what they share


def good(seen: Seen, text: str = TEXT, *, done: str = "[DONE]") -> None:
    """Beside what is odd, the stream is the good one: whole text, finish reason, sentinel, a clean end."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert seen.text == text
    assert seen.finishes == ["stop"]
    assert [data for data in seen.data if data.strip(" ") == "[DONE]"] == [done]


def between(seen: Seen, block: bytes) -> list[int]:
    """The places where this block stands, which must have events with deltas before and after them."""
    blocks = seen.blocks
    places = [place for place, found in enumerate(blocks) if found == block]
    deltas = [place for place, found in enumerate(blocks) if b'"delta"' in found]
    assert places, f"{block!r} never came"
    assert deltas
    assert min(deltas) < places[0]
    assert places[-1] < max(deltas)
    return places


def data_lines(seen: Seen) -> list[bytes]:
    """The lines of the body that give a data field, raw."""
    return [text for text, _ in seen.lines if text.startswith(b"data")]


def ends(seen: Seen) -> list[bytes]:
    """The line ends of the body in order."""
    return [end for _, end in seen.lines]


def events_with(seen: Seen) -> list[bytes]:
    """The blocks that have data."""
    return [block for block in seen.blocks if whatwg.read(block).events]


# ------------------------------------------------------------------------------------------------ comments and extras


@PROOFS.case("sse-comment-keepalive")
def comment_keepalive(seen: Seen) -> None:
    """Before the first event and between events stands the comment, as a block of its own."""
    comment = b": OPENROUTER PROCESSING\n\n"
    first, *later = seen.blocks
    assert first == comment
    assert comment in later
    assert seen.blocks[-1] == DONE
    good(seen)


@PROOFS.case("sse-comment-deepseek", tries=3)
def comment_deepseek(seen: Seen) -> None:
    """Before the first event the comment comes again and again, while nothing else does."""
    before = list(takewhile(lambda block: b"data" not in block, seen.blocks))
    assert before == [b": keep-alive\n\n"] * len(before)
    assert len(before) >= 3
    assert [read.data for read in seen.arrivals[: len(before)]] == before
    assert min(seen.pauses[: len(before)]) > 0.05
    assert seen.at(b"data: ") > 0.5
    good(seen)


@PROOFS.case("sse-comment-bare-colon", tries=3)
def comment_bare_colon(seen: Seen) -> None:
    """During the prefill lines come that are a colon alone, and no blank line follows them."""
    before = list(takewhile(lambda line: not line[0].startswith(b"data"), seen.lines))
    assert before == [(b":", b"\n")] * len(before)
    assert len(before) >= 3
    assert [read.data for read in seen.arrivals[: len(before)]] == [b":\n"] * len(before)
    assert min(seen.pauses[: len(before)]) > 0.05
    assert seen.at(b"data: ") > 0.5
    good(seen)


@PROOFS.case("sse-comment-after-id")
def comment_after_id(seen: Seen) -> None:
    """An event carries the id 1; a comment block comes later, when the id is still remembered."""
    assert seen.blocks[0].startswith(b"id: 1\ndata: {")
    assert between(seen, b": ping\n\n")[0] > 0
    assert {event.last_id for event in seen.events} == {"1"}
    good(seen)


@PROOFS.case("sse-keepalive-as-data")
def keepalive_as_data(seen: Seen) -> None:
    """Between events comes a comment that is wrapped in a data field."""
    between(seen, b"data: : keepalive\n\n")
    assert ": keepalive" in seen.data
    good(seen)


@PROOFS.case("sse-empty-data")
def empty_data(seen: Seen) -> None:
    """Between events comes a data line of nothing, which dispatches an event of no data."""
    between(seen, b"data:\n\n")
    assert "" in seen.data
    good(seen)


@PROOFS.case("sse-retry-only")
def retry_only(seen: Seen) -> None:
    """Between events comes a block that is only a retry field."""
    between(seen, b"retry: 3000\n\n")
    assert seen.reading.retry == 3000
    good(seen)


@PROOFS.case("sse-event-name-only")
def event_name_only(seen: Seen) -> None:
    """A block is an event name and no data."""
    between(seen, b"event: content_block_delta\n\n")
    assert {event.type for event in seen.events} == {"message"}
    good(seen)


@PROOFS.case("sse-data-null")
def data_null(seen: Seen) -> None:
    """The event whose data is null stands right before the chunk with the finish reason."""
    (place,) = between(seen, b"data: null\n\n")
    (after,) = whatwg.read(seen.blocks[place + 1]).data
    assert json.loads(after)["choices"][0]["finish_reason"] == "stop"
    good(seen)


@PROOFS.case("sse-ping-after-terminal")
def ping_after_terminal(seen: Seen) -> None:
    """After the sentinel comes one more event, a ping that says a cost."""
    *_, sentinel, ping = seen.blocks
    assert sentinel == DONE
    said = json.loads(re.fullmatch(rb"data: (.*)\n\n", ping)[1])  # type: ignore[index]
    assert said.keys() == {"type", "cost"}
    assert said["type"] == "ping"
    good(seen)


# ------------------------------------------------------------------------------------------------ lines and fields


@PROOFS.case("sse-crlf")
def crlf(seen: Seen) -> None:
    """Every line ends in CR LF."""
    assert set(ends(seen)) == {b"\r\n"}
    assert all(block.endswith(b"\r\n\r\n") for block in seen.blocks)
    good(seen)


@PROOFS.case("sse-cr-only")
def cr_only(seen: Seen) -> None:
    """Every line ends in a lone CR, the last byte of the body too."""
    assert b"\n" not in seen.body
    assert seen.body.endswith(b"data: [DONE]\r\r")
    good(seen)


@PROOFS.case("sse-mixed-endings")
def mixed_endings(seen: Seen) -> None:
    """LF, CR and CR LF end lines in turn."""
    found = ends(seen)
    assert set(found[:3]) == {b"\n", b"\r", b"\r\n"}
    assert all(one == other for one, other in zip(found, found[3:], strict=False))
    good(seen)


@PROOFS.case("sse-crlf-split", tries=3)
def crlf_split(seen: Seen) -> None:
    """Each CR is the end of an HTTP chunk and a read, its LF the begin of the next."""
    assert set(ends(seen)) == {b"\r\n"}
    assert [read.data for read in seen.arrivals] == seen.chunks
    assert not [chunk for chunk in seen.chunks if b"\r\n" in chunk]
    shapes = [re.sub(rb"data: [^\r]+", b"data", chunk) for chunk in seen.chunks]
    assert shapes == [b"data\r", b"\n\r", b"\n"] * (len(shapes) // 3)
    good(seen)


@PROOFS.case("sse-bom")
def bom(seen: Seen) -> None:
    """The body starts with one byte order mark, and the first data line follows it."""
    assert seen.body.startswith(b"\xef\xbb\xbfdata: ")
    assert seen.body.count(b"\xef\xbb\xbf") == 1
    good(seen)


@PROOFS.case("sse-no-space")
def no_space(seen: Seen) -> None:
    """No data line has a space after its colon."""
    assert all(re.match(rb"data:[{\[]", line) for line in data_lines(seen))
    good(seen)


@PROOFS.case("sse-done-no-space")
def done_no_space(seen: Seen) -> None:
    """The sentinel lacks the space, and nothing else does."""
    *others, last = seen.blocks
    assert last == b"data:[DONE]\n\n"
    assert all(block.startswith(b"data: {") for block in others)
    good(seen)


@PROOFS.case("sse-extra-space")
def extra_space(seen: Seen) -> None:
    """Two spaces follow the colon of every data line."""
    assert all(re.match(rb"data:  [{\[]", line) for line in data_lines(seen))
    good(seen, done=" [DONE]")


@PROOFS.case("sse-done-trailing-space")
def done_trailing_space(seen: Seen) -> None:
    """The sentinel has a space at its end."""
    assert seen.blocks[-1] == b"data: [DONE] \n\n"
    good(seen, done="[DONE] ")


def is_json(data: str | bytes) -> bool:
    """Whether it is one JSON document."""
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


@PROOFS.case("sse-multiline-data")
def multiline_data(seen: Seen) -> None:
    """Each document is spread over several data lines of one event, none of which is JSON by itself."""
    *documents, sentinel = seen.blocks
    assert sentinel == DONE
    for block in documents:
        lines = block.removesuffix(b"\n\n").split(b"\n")
        assert len(lines) >= 2
        assert all(line.startswith(b"data: ") for line in lines)
        assert not any(is_json(line.removeprefix(b"data: ")) for line in lines)
        assert is_json(b"\n".join(line.removeprefix(b"data: ") for line in lines))
    good(seen)


@PROOFS.case("sse-field-without-colon")
def field_without_colon(seen: Seen) -> None:
    """Between events comes a data line without a colon."""
    between(seen, b"data\n\n")
    assert "" in seen.data
    good(seen)


@PROOFS.case("sse-unknown-field")
def unknown_field(seen: Seen) -> None:
    """Every event carries a line of an unknown field."""
    assert all(b"foo: bar\n" in block for block in events_with(seen))
    good(seen)


@PROOFS.case("sse-error-field")
def error_field(seen: Seen) -> None:
    """The body is one line of a field named error, with code 500 and a message, and it ends cleanly."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    said = re.fullmatch(rb"error: (\{.*\})\n\n", seen.body)
    assert said is not None
    document = json.loads(said[1])
    assert document["code"] == 500
    assert document["message"]
    assert seen.events == ()


@PROOFS.case("sse-event-error-name")
def event_error_name(seen: Seen) -> None:
    """After some text the event named error comes, whose data has a message and no error key; the body ends there."""
    assert (seen.status, seen.ending) == (200, "complete")
    said = re.fullmatch(rb"event: error\ndata: (\{.*\})\n\n", seen.blocks[-1])
    assert said is not None
    document = json.loads(said[1])
    assert document["message"]
    assert "error" not in document
    assert seen.text
    assert TEXT.startswith(seen.text)
    assert (seen.text == TEXT, seen.finishes, seen.done) == (False, [], 0)


@PROOFS.case("sse-field-order")
def field_order(seen: Seen) -> None:
    """In each event the data line comes first, the event name and the id after it."""
    for block in seen.blocks:
        names = [line.partition(b":")[0] for line in block.removesuffix(b"\n\n").split(b"\n")]
        assert names[0] == b"data"
        assert set(names[1:]) == {b"event", b"id"}
    good(seen)


@PROOFS.case("sse-id-with-nul")
def id_with_nul(seen: Seen) -> None:
    """An event carries an id with a NUL byte in it, which no parser remembers."""
    assert any(b"id: a\0b\n" in block for block in events_with(seen))
    assert {event.last_id for event in seen.events} == {""}
    good(seen)


@PROOFS.case("sse-extra-blank-lines")
def extra_blank_lines(seen: Seen) -> None:
    """Events are parted by two blank lines or three."""
    runs = re.findall(rb"\n+", seen.body)
    assert set(map(len, runs)) == {3, 4}
    good(seen)


@PROOFS.case("sse-charset-param")
def charset_param(seen: Seen) -> None:
    """The Content-Type says windows-1252, and the body is UTF-8 with characters outside ASCII."""
    assert seen.header("content-type") == "text/event-stream; charset=windows-1252"
    assert not seen.body.isascii()
    assert "\ufffd" not in seen.body.decode("utf-8")
    good(seen)


# ------------------------------------------------------------------------------------------------ the end


@PROOFS.case("sse-no-final-blank")
def no_final_blank(seen: Seen) -> None:
    """There is no sentinel, the chunk with the finish reason lacks its blank line, and the body ends cleanly."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.text == TEXT
    assert b"[DONE]" not in seen.body
    *blocks, last = seen.blocks
    assert all(block.endswith(b"\n\n") for block in blocks)
    assert re.fullmatch(rb"data: [^\n]*\n", last)
    assert json.loads(last.removeprefix(b"data: "))["choices"][0]["finish_reason"] == "stop"


@PROOFS.case("sse-missing-done")
def missing_done(seen: Seen) -> None:
    """The chunk with the finish reason is the last; there is no sentinel, and the body ends cleanly."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.text, seen.finishes, seen.done) == (TEXT, ["stop"], 0)
    assert json.loads(seen.data[-1])["choices"][0]["finish_reason"] == "stop"
    assert b"[DONE]" not in seen.body


@PROOFS.case("sse-eof-no-finish")
def eof_no_finish(seen: Seen) -> None:
    """Some of the text comes, then the body ends cleanly, without a finish reason or a sentinel."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert len(seen.deltas) >= 2
    assert TEXT.startswith(seen.text)
    assert (seen.text == TEXT, seen.finishes, seen.done) == (False, [], 0)


@PROOFS.case("sse-done-no-finish")
def done_no_finish(seen: Seen) -> None:
    """All the text comes, every finish reason is null, the sentinel and a clean end follow."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.text == TEXT
    assert {choice["finish_reason"] for choice in seen.choices} == {None}
    assert seen.blocks[-1] == DONE


@PROOFS.case("sse-duplicate-done")
def duplicate_done(seen: Seen) -> None:
    """The sentinel comes twice, and ends the body."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.text, seen.finishes) == (TEXT, ["stop"])
    assert seen.blocks[-2:] == [DONE, DONE]
    assert seen.done == 2


@PROOFS.case("sse-data-after-done")
def data_after_done(seen: Seen) -> None:
    """After the sentinel comes one more event with text, then a clean end."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.blocks[-2] == DONE
    assert seen.done == 1
    (late,) = whatwg.read(seen.blocks[-1]).data
    said = json.loads(late)["choices"][0]["delta"]["content"]
    assert said
    assert seen.text == TEXT + said
    assert seen.finishes == ["stop"]


def held_open(seen: Seen) -> None:
    """The connection is open, and the message has no end."""
    assert (seen.status, seen.ending) == (200, "open")
    assert not seen.raw.endswith(b"0\r\n\r\n")
    assert (seen.text, seen.finishes) == (TEXT, ["stop"])


@PROOFS.case("sse-open-after-done", quiet=0.4)
def open_after_done(seen: Seen) -> None:
    """After the sentinel nothing comes, not even the end."""
    held_open(seen)
    assert seen.blocks[-1] == DONE


@PROOFS.case("sse-done-without-blank", quiet=0.4)
def done_without_blank(seen: Seen) -> None:
    """The body stops after the sentinel's line, before its blank line, and the connection is held open."""
    held_open(seen)
    assert seen.body.endswith(b"}\n\ndata: [DONE]\n")


# ------------------------------------------------------------------------------------------------ what breaks the form


@PROOFS.case("sse-single-newline-events")
def single_newline_events(seen: Seen) -> None:
    """One line feed parts the events, and there is no blank line."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert b"\n\n" not in seen.body
    *lines, sentinel = seen.body.split(b"\n")[:-1]
    assert sentinel == b"data: [DONE]"
    assert all(line.startswith(b"data: {") for line in lines)
    deltas = [json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"] for line in lines]
    assert "".join(delta.get("content") or "" for delta in deltas) == TEXT
    assert seen.events == ()


@PROOFS.case("sse-double-prefix")
def double_prefix(seen: Seen) -> None:
    """Every event is prefixed twice; without one of the prefixes the stream is the good one."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert all(re.match(rb"data: data: [{\[]", block) for block in seen.blocks)
    plain = whatwg.read(seen.body.replace(b"data: data: ", b"data: "))
    assert "".join(json.loads(data)["choices"][0]["delta"].get("content") or "" for data in plain.data[:-1]) == TEXT
    assert plain.data[-1] == "[DONE]"


# ------------------------------------------------------------------------------------------------ text and size


@PROOFS.case("sse-unicode-separators")
def unicode_separators(seen: Seen) -> None:
    """U+2028, U+2029 and U+0085 stand unescaped in the JSON strings of deltas."""
    for separator in (b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xc2\x85"):
        assert re.search(rb'"content":"[^"]*' + separator + rb'[^"]*"', seen.body)
    good(seen, "One line\u2028another\u2029a third\u0085and the last.")


@PROOFS.case("sse-giant-event")
def giant_event(seen: Seen) -> None:
    """One data line has 65,537 bytes, which are one content delta."""
    assert [len(line) for line in data_lines(seen) if len(line) > 10_000] == [65_537]
    (giant,) = [content for content in seen.deltas if len(content) > 10_000]
    assert len(giant) > 65_000
    rest = "".join(seen.deltas[seen.deltas.index(giant) + 1 :])
    assert TEXT.endswith(rest)
    assert len(rest) > len(TEXT) // 2
    good(seen, giant + rest)


@PROOFS.case("sse-nul-bytes")
def nul_bytes(seen: Seen) -> None:
    r"""The escape \u0000 stands in content deltas, and no NUL stands raw."""
    assert re.search(rb'"content":"[^"]*\\u0000', seen.body)
    assert b"\0" not in seen.body
    good(seen, "A NUL \0 stands here, and \0\0 two more.")


# ------------------------------------------------------------------------------------------------ the tests


@PROOFS.case("sse-anthropic-ping", path="/v1/messages", headers=[("anthropic-version", "2023-06-01")], max_tokens=1024)
def anthropic_ping(seen: Seen) -> None:
    """Pings come between the deltas of an Anthropic stream, and between the start of a block and its first delta."""
    assert (seen.status, seen.ending, seen.done) == (200, "complete", 0)
    between(seen, b'event: ping\ndata: {"type":"ping"}\n\n')
    types = [document["type"] for document in seen.documents]
    assert types[types.index("content_block_start") + 1] == "ping"
    assert types[-1] == "message_stop"
    assert "".join((one.get("delta") or {}).get("text", "") for one in seen.documents) == TEXT


@pytest.mark.parametrize("name", PROOFS.names)
async def test_case(provider: MockProvider, name: str) -> None:
    """On the wire is what the row says."""
    await PROOFS.prove(provider, name)


@pytest.mark.parametrize(("name", "link"), PROOFS.links)
async def test_proof_is_not_vacuous(
    provider: MockProvider, name: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any link of the case taken out, its proof fails."""
    await PROOFS.refute(provider, name, link, monkeypatch)


@pytest.mark.parametrize("name", ["sse-no-final-blank", "sse-data-null"])
async def test_usage_that_is_asked_for_changes_nothing(provider: MockProvider, name: str) -> None:
    """Cases that are about the finish reason are so too where the client asks for the usage, which comes after it."""
    seen = await observe(provider.url, name, stream_options={"include_usage": True})
    {"sse-no-final-blank": no_final_blank, "sse-data-null": data_null}[name](seen)


def test_every_row_is_proved() -> None:
    """There are 42 rows; each is proved."""
    assert len(PROOFS.rows) == 42
    assert {row.name for row in PROOFS.rows} == set(PROOFS.names)
    assert all(row.available for row in PROOFS.rows)

"""Each case of the family `text`, proved on the wire from the words of its row."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from mockprovider import MockProvider
from tests import whatwg
from tests.cases.observe import TEXT, Seen
from tests.cases.proofs import Proofs

PROOFS = Proofs("text")


def good(seen: Seen, text: str = TEXT) -> None:
    """Beside what is odd, the stream is the good one: whole text, finish reason, sentinel, a clean end."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert seen.text == text
    assert seen.finishes == ["stop"]
    assert seen.data[-1] == "[DONE]"


def chunks(seen: Seen) -> list[bytes]:
    """The HTTP chunks, each of which must have been a read of its own: they arrive one after the other."""
    assert [read.data for read in seen.arrivals] == seen.chunks
    return seen.chunks


def boundary(seen: Seen, before: bytes, after: bytes) -> bool:
    """Whether some chunk ends in the first pattern and the next one begins with the second."""
    return any(
        re.search(before + rb"\Z", one, re.DOTALL) and re.match(after, other, re.DOTALL)
        for one, other in pairwise(chunks(seen))
    )


# ------------------------------------------------------------------------------------------------ boundaries


@PROOFS.case("utf8-split", tries=3)
def utf8_split(seen: Seen) -> None:
    """A chunk ends after F0 9F, inside a character, and the next begins with its rest."""
    assert boundary(seen, rb"\xf0\x9f", rb"\x8c\x8d")
    assert boundary(seen, rb"\xc3", rb"\xaf")
    assert "\ufffd" not in seen.text
    good(seen, "The 🌍 turns — naïve as it sounds, even in 京都.")


@PROOFS.case("one-byte-chunks")
def one_byte_chunks(seen: Seen) -> None:
    """Every chunk is one byte, also inside characters of several, and they arrive one after the other."""
    assert set(map(len, seen.chunks)) == {1}
    assert len(seen.arrivals) > 0.9 * len(seen.chunks)  # a busy kernel may have joined a few of so many
    assert not seen.body.isascii()
    good(seen, "é🌧")


@PROOFS.case("json-split", tries=3)
def json_split(seen: Seen) -> None:
    """An event is cut inside its JSON: no part of it is an event, and both together are."""
    found = chunks(seen)
    cut = [(one, other) for one, other in pairwise(found) if one.startswith(b"data: {") and not one.endswith(b"\n")]
    assert len(cut) > 10
    for one, other in cut:
        assert whatwg.read(one + other).events
        assert whatwg.read(one).events == whatwg.read(other).events == ()
        assert len(one) > len(b"data: {")
        assert other.count(b"\n\n") == 1
    good(seen)


@PROOFS.case("json-escape-split", tries=3)
def json_escape_split(seen: Seen) -> None:
    r"""A chunk ends inside the escape \u00e9, another after the backslash of \n."""
    assert boundary(seen, rb"\\u00", rb"e9")
    assert boundary(seen, rb"[^\\]\\", rb"n")
    good(seen)


@PROOFS.case("event-boundary-split", tries=3)
def event_boundary_split(seen: Seen) -> None:
    """A chunk ends between the two line feeds that part events, and another inside the field name."""
    assert boundary(seen, rb"\}\n", rb"\nda")
    assert boundary(seen, rb"\nda", rb"ta: \{")
    assert not [chunk for chunk in seen.chunks if b"\n\n" in chunk or b"\ndata:" in chunk]
    good(seen)


@PROOFS.case("many-events-one-read", tries=3)
def many_events_one_read(seen: Seen) -> None:
    """Sixty-five events are one chunk of several KiB, and one read."""
    (chunk,) = [chunk for chunk in chunks(seen) if len(whatwg.blocks(chunk)) == 65] or [b""]
    assert len(chunk) > 4096
    good(seen)


@PROOFS.case("coalesced-ping-and-delta")
def coalesced_ping_and_delta(seen: Seen) -> None:
    """A keepalive and the first content delta are one chunk."""
    (chunk,) = [chunk for chunk in seen.chunks if chunk.startswith(b": ping\n\n")] or [b""]
    assert len(whatwg.blocks(chunk)) == 2
    (data,) = whatwg.read(chunk).data
    assert json.loads(data)["choices"][0]["delta"] == {"content": seen.deltas[0]}
    good(seen)


@PROOFS.case("chunk-ext-and-odd-chunking", tries=3)
def odd_chunking(seen: Seen) -> None:
    """Chunks have 1, 2 or 997 bytes, whatever is in them, and some of their sizes an extension."""
    *sizes, last = map(len, chunks(seen))
    assert set(sizes) == {1, 2, 997}
    assert 0 < last <= 997
    plain = [line for line in seen.size_lines if re.fullmatch(rb"[0-9a-f]+", line)]
    extended = [line for line in seen.size_lines if re.fullmatch(rb"[0-9a-f]+;name=value", line)]
    assert plain
    assert extended
    assert len(plain) + len(extended) == len(seen.chunks)
    good(seen)


@PROOFS.case("flush-per-field", tries=3)
def flush_per_field(seen: Seen) -> None:
    """Each part of an event is a write of its own: field name, JSON, line feed, line feed."""
    found = chunks(seen)
    assert len(found) % 4 == 0
    for name, value, line, blank in zip(*[iter(found)] * 4, strict=True):
        assert (name, line, blank) == (b"data: ", b"\n", b"\n")
        assert value == b"[DONE]" or isinstance(json.loads(value), dict)
    good(seen)


# ------------------------------------------------------------------------------------------------ characters


def contents(seen: Seen) -> list[bytes]:
    """The raw JSON strings, quotes left out, of the content of each delta in order; empty ones left out."""
    return [found for found in re.findall(rb'"content":"((?:[^"\\]|\\.)*)"', seen.body) if found]


@PROOFS.case("surrogate-escape-split")
def surrogate_escape_split(seen: Seen) -> None:
    r"""One delta ends in \ud83d and the next starts with \ude00: together they are one character."""
    halves = [
        place
        for place, (one, other) in enumerate(pairwise(contents(seen)))
        if one.endswith(rb"\ud83d") and other.startswith(rb"\ude00")
    ]
    assert len(halves) == 1
    assert seen.body.count(rb"\ud83d\ude00") == 0
    joined = seen.text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    assert joined.count("😀") == 1
    assert joined.replace("😀", "") == TEXT
    assert (seen.status, seen.ending, seen.finishes, seen.done) == (200, "complete", ["stop"], 1)


@PROOFS.case("lone-surrogate")
def lone_surrogate(seen: Seen) -> None:
    r"""A delta holds the escape \udcaf, and no other half stands anywhere."""
    assert contents(seen).count(rb"\udcaf") == 1
    assert len(re.findall(rb"\\ud[89a-f]", seen.body)) == 1
    assert seen.text.replace("\udcaf", "") == TEXT
    assert (seen.status, seen.ending, seen.finishes, seen.done) == (200, "complete", ["stop"], 1)


@PROOFS.case("replacement-char-tokens")
def replacement_char_tokens(seen: Seen) -> None:
    """Two deltas follow each other that hold a real U+FFFD, the first after a space."""
    found = contents(seen)
    assert (b" \xef\xbf\xbd", b"\xef\xbf\xbd") in pairwise(found)
    assert seen.body.count(b"\xef\xbf\xbd") == 2
    good(seen, b"".join(found).replace(rb"\n", b"\n").decode())
    assert seen.text.replace(" \ufffd\ufffd", "") == TEXT


@PROOFS.case("grapheme-split")
def grapheme_split(seen: Seen) -> None:
    """The signs of several code points are spread over deltas by code point, and nothing is repeated."""
    deltas = seen.deltas
    for sign in ("👩\u200d🚀", "❤\ufe0f"):
        assert sign[0] in deltas
        start = deltas.index(sign[0])
        assert "".join(deltas[start : start + len(sign)]) == sign
        assert [len(delta) for delta in deltas[start : start + len(sign)]] == [1] * len(sign)
    good(seen, "An astronaut 👩\u200d🚀, a heart ❤\ufe0f, a family 👨\u200d👩\u200d👧.")


@PROOFS.case("invalid-utf8")
def invalid_utf8(seen: Seen) -> None:
    """One byte FF stands inside the JSON string of a delta; a lenient decoder gets U+FFFD for it."""
    assert seen.body.count(b"\xff") == 1
    assert [content.count(b"\xff") for content in contents(seen) if b"\xff" in content] == [1]
    assert seen.text.count("\ufffd") == 1
    assert seen.text.replace("\ufffd", "") == TEXT
    good(seen, seen.text)


@PROOFS.case("utf8-truncated-at-eof")
def utf8_truncated_at_eof(seen: Seen) -> None:
    """The body ends cleanly inside a character, after the bytes F0 9F."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.raw.endswith(b"\r\n0\r\n\r\n")
    assert seen.body.endswith(b"\xf0\x9f")
    assert b'"content":"' in seen.body.rpartition(b"\n")[2]
    assert len(seen.deltas) > 1
    assert TEXT.startswith(seen.text)
    assert (seen.text == TEXT, seen.finishes, seen.done) == (False, [], 0)


# ------------------------------------------------------------------------------------------------ the tests


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


def test_every_row_is_proved() -> None:
    """There are 15 rows, and each is proved."""
    assert len(PROOFS.rows) == 15
    assert [row.name for row in PROOFS.rows if row.available] == [row.name for row in PROOFS.rows]
    assert {row.name for row in PROOFS.rows} == set(PROOFS.names)

"""Each case of the family `transfer`, proved on the wire from the words of its row."""

from __future__ import annotations

import json
import zlib

import pytest

from mockprovider import MockProvider
from tests import whatwg
from tests.cases.observe import TEXT, Seen, observe, observe_all
from tests.cases.proofs import Proofs

PROOFS = Proofs("transfer")
LAST_CHUNK = b"\r\n0\r\n\r\n"


def good(seen: Seen) -> None:
    """The good stream: status, type, whole text, finish reason, sentinel."""
    assert seen.status == 200
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert (seen.text, seen.finishes, seen.data[-1]) == (TEXT, ["stop"], "[DONE]")


def partial(seen: Seen) -> None:
    """Some of the text came, and neither finish reason nor sentinel."""
    assert seen.status == 200
    assert 2 < len(seen.deltas) < 20
    assert TEXT.startswith(seen.text)
    assert (seen.finishes, seen.done) == ([], 0)


def after_head(seen: Seen) -> bytes:
    """All bytes after the head, whatever they are."""
    return seen.raw[seen.head.head_ends :]


def inflated(data: bytes) -> tuple[bytes, bool]:
    """What a gzip member holds, as far as it goes, and whether its trailer came (RFC 1952)."""
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    return decoder.decompress(data), decoder.eof


# ------------------------------------------------------------------------------------------------ endings


@PROOFS.case("chunked-premature-eof")
def chunked_premature_eof(seen: Seen) -> None:
    """FIN after some deltas, without the last chunk."""
    assert seen.header("transfer-encoding") == "chunked"
    partial(seen)
    assert seen.ending == "eof"
    assert not seen.raw.endswith(LAST_CHUNK)


@PROOFS.case("premature-eof-after-done")
def premature_eof_after_done(seen: Seen) -> None:
    """Every event and the sentinel, then FIN in the place of the last chunk."""
    good(seen)
    assert seen.ending == "eof"
    assert seen.raw.endswith(b"data: [DONE]\n\n\r\n")


@PROOFS.case("rst-mid-stream")
def rst_mid_stream(seen: Seen) -> None:
    """ECONNRESET after some deltas."""
    partial(seen)
    assert seen.ending == "reset"


@PROOFS.case("rst-after-headers")
def rst_after_headers(seen: Seen) -> None:
    """Status 200 and the headers, not one byte of the body, then ECONNRESET."""
    assert seen.status == 200
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert (after_head(seen), seen.ending) == (b"", "reset")


@PROOFS.case("idle-timeout-60s")
def idle_timeout(seen: Seen) -> None:
    """Some text, a silence of about a second (scaled), then FIN."""
    partial(seen)
    assert seen.ending == "eof"
    assert 0.8 < seen.ended - seen.reads[-1].time < 2.5


@PROOFS.case("stale-keepalive", requests=3)
def stale_keepalive(first: Seen, second: Seen, third: Seen) -> None:
    """A kept connection is closed without a byte when the next request comes on it; a new one gets the good stream."""
    good(first)
    assert first.ending == "complete"
    assert (first.header("connection") or "").lower() == "keep-alive"
    assert (second.raw, second.ending) == (b"", "eof")
    good(third)


# ------------------------------------------------------------------------------------------------ framing


@PROOFS.case("chunk-size-invalid")
def chunk_size_invalid(seen: Seen) -> None:
    """After some deltas a line zz stands where a size is due."""
    assert seen.header("transfer-encoding") == "chunked"
    partial(seen)
    assert seen.wrong is not None
    assert b"\r\nzz\r\ndata: {" in seen.raw


@PROOFS.case("content-length-too-long")
def content_length_too_long(seen: Seen) -> None:
    """More is declared than comes; then FIN. No chunked coding."""
    assert seen.header("transfer-encoding") is None
    assert int(seen.header("content-length") or 0) > len(after_head(seen)) > 1000
    assert after_head(seen).startswith(b"data: {")
    assert after_head(seen).endswith(b"data: [DONE]\n\n")
    assert seen.ending == "eof"


@PROOFS.case("content-length-too-short")
def content_length_too_short(seen: Seen) -> None:
    """The declared length ends inside the text, and the rest is sent after it."""
    assert seen.header("transfer-encoding") is None
    declared = int(seen.header("content-length") or 0)
    sent = after_head(seen)
    assert 0 < declared < sent.index(b'"finish_reason":"stop"')
    assert sent.count(b'"content":"', 0, declared) > 1
    assert sent.endswith(b"data: [DONE]\n\n")


@PROOFS.case("close-delimited")
def close_delimited(seen: Seen) -> None:
    """Neither a length nor chunks: the whole stream, ended by FIN."""
    assert seen.header("transfer-encoding") is None
    assert seen.header("content-length") is None
    assert (seen.header("connection") or "").lower() == "close"
    good(seen)


@PROOFS.case("trailers")
def trailers(seen: Seen) -> None:
    """The good stream; after the last chunk a trailer field."""
    good(seen)
    assert seen.ending == "complete"
    _, _, end = seen.raw.rpartition(b"data: [DONE]\n\n\r\n")
    assert end.startswith(b"0\r\nX-Error: ")
    assert end.endswith(b"\r\n\r\n")
    assert end.count(b"\r\n") == 3


# ------------------------------------------------------------------------------------------------ coding, proxies


def decoded(seen: Seen) -> str:
    """The text that the compressed body holds."""
    found = []
    for event in whatwg.read(inflated(seen.body)[0]).data:
        document = json.loads(event) if event.startswith("{") else {}
        found += [choice["delta"].get("content") or "" for choice in document.get("choices", [])]
    return "".join(found)


@PROOFS.case("gzip-sse")
def gzip_sse(seen: Seen) -> None:
    """One member, flushed after each event: every chunk so far decodes to whole events."""
    assert seen.header("content-encoding") == "gzip"
    assert seen.ending == "complete"
    assert decoded(seen) == TEXT
    assert inflated(seen.body)[1]
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    events = [decoder.decompress(chunk) for chunk in seen.chunks]
    assert all(event.endswith(b"\n\n") and event.count(b"\n\n") == 1 for event in events[:-1])
    assert len(events) > 20


@PROOFS.case("gzip-label-plain-body")
def gzip_label_plain_body(seen: Seen) -> None:
    """The header says gzip; the body is the plain stream."""
    assert seen.header("content-encoding") == "gzip"
    good(seen)
    assert seen.ending == "complete"


@PROOFS.case("gzip-truncated")
def gzip_truncated(seen: Seen) -> None:
    """The message ends cleanly, the member has no trailer and only part of the text."""
    assert seen.header("content-encoding") == "gzip"
    assert seen.ending == "complete"
    assert not inflated(seen.body)[1]
    assert 0 < len(decoded(seen)) < len(TEXT)
    assert TEXT.startswith(decoded(seen))


@PROOFS.case("gzip-buffered")
def gzip_buffered(seen: Seen) -> None:
    """Events that come every 10 ms arrive together: no chunk but the first few bytes before the end."""
    assert seen.header("content-encoding") == "gzip"
    assert decoded(seen) == TEXT
    assert inflated(seen.body)[1]
    assert len(seen.chunks) <= 3
    assert max(map(len, seen.chunks)) > 0.9 * len(seen.body)
    assert seen.took - seen.first > 0.3


@PROOFS.case("proxy-buffered")
def proxy_buffered(seen: Seen) -> None:
    """Headers early, then nothing, then the whole body in one read at the end."""
    good(seen)
    assert seen.first < 0.3
    assert seen.pauses[1] > 0.3
    assert len(seen.chunks) == 1
    assert len(seen.arrivals) == 1


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


@pytest.mark.parametrize("name", ["rst-after-headers", "idle-timeout-60s"])
async def test_the_second_attempt_is_good(provider: MockProvider, name: str) -> None:
    """After the attempt that goes wrong the same request gets the good stream; then all begins anew."""
    await PROOFS.prove(provider, name)
    good(await observe(provider.url, name))
    await PROOFS.prove(provider, name)


async def test_a_kept_connection_is_good_without_the_fault(provider: MockProvider) -> None:
    """Several requests on one connection are all answered where nothing goes wrong."""
    assert [seen.ending for seen in await observe_all(provider.url, "noop", requests=3)] == ["complete"] * 3


def test_every_row_is_proved() -> None:
    """There are 18 rows: two need HTTP/2, and each other one is proved."""
    assert len(PROOFS.rows) == 18
    missing = {row.name: row.unavailable for row in PROOFS.rows if not row.available}
    assert set(missing) == {"h2-rst-stream", "h2-goaway"}
    assert all("HTTP/2" in str(reason) for reason in missing.values())
    assert {row.name for row in PROOFS.rows} == {*PROOFS.names, *missing}

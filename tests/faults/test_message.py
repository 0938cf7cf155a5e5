"""Faults of the HTTP message: what is on the wire, and what they refuse."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator

import pytest

from mockprovider import MockProvider, Text
from mockprovider.errors import SettingError
from mockprovider.faults import chain
from tests.cases.observe import observe

WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture
async def url(provider: MockProvider) -> str:
    """The base URL of a provider that says ten words."""
    provider.on().reply(WORDS)
    return provider.url


async def test_a_header_is_replaced_added_or_left_out(url: str) -> None:
    """Each form of `header` is in the head that the client reads, and nothing else of it changes."""
    usual = {name.lower() for name, _ in (await observe(url)).head.headers}
    for call, name, value in (
        ('header(key=openai-version,value="1999")', "openai-version", "1999"),
        ('header(key=x-new,value="yes")', "x-new", "yes"),
        ("header(key=openai-version)", "openai-version", None),
    ):
        seen = await observe(url, call)
        assert seen.header(name) == value
        assert {name.lower() for name, _ in seen.head.headers} ^ usual == ({name} if value != "1999" else set())
        assert seen.text == WORDS


@pytest.mark.parametrize("key", ["", "a b", "a:b", "a\r\nb"])
def test_a_header_that_could_not_be_sent_is_refused(key: str) -> None:
    """What is no name of a header is a SettingError that names the setting."""
    with pytest.raises(SettingError, match="header: key"):
        chain(f"header(key={json.dumps(key)})")


async def test_without_chunking_the_connection_ends_the_message(url: str) -> None:
    """The body is not framed, the head says close, and FIN ends it, for a whole reply too."""
    for stream in (True, False):
        seen = await observe(url, "no-chunking", stream=stream)
        assert seen.header("transfer-encoding") is None
        assert seen.header("content-length") is None
        assert seen.header("connection") == "close"
        assert WORDS in (seen.text or json.loads(seen.body)["choices"][0]["message"]["content"])


async def test_a_declared_length_is_what_the_fault_says(url: str) -> None:
    """Content-Length is the given number, streamed and whole, and everything is sent all the same."""
    usual = (await observe(url, stream=False)).body
    for size in (7, 100_000):
        seen = await observe(url, f"content-length(bytes={size})", stream=False)
        assert seen.header("content-length") == str(size)
        sent = seen.raw[seen.head.head_ends :]
        assert len(sent) == len(usual)
        assert seen.ending == ("eof" if size > len(usual) else "complete")


@pytest.mark.parametrize(
    ("line", "found"), [("zz", b"\r\nzz\r\ndata"), ("", b"\r\n\r\ndata"), ("-1", b"\r\n-1\r\ndata")]
)
async def test_a_line_stands_where_a_size_is_due(url: str, line: str, found: bytes) -> None:
    """After so many good chunks comes the line, the chunk, and FIN."""
    seen = await observe(url, f"bad-chunk(after=3,line={json.dumps(line)})")
    assert seen.ending == "eof"
    assert len(seen.chunks) >= 3
    assert seen.raw[seen.head.head_ends :].count(found) == 1
    assert seen.raw.count(b"data: ") == 4


async def test_the_last_chunk_is_missing(url: str) -> None:
    """Everything but the last chunk comes, then FIN."""
    seen = await observe(url, "no-last-chunk")
    assert (seen.text, seen.done, seen.ending) == (WORDS, 1, "eof")


async def test_a_trailer_follows_the_last_chunk(url: str) -> None:
    """The field is there, the message is complete; where there are no chunks there is no trailer."""
    seen = await observe(url, 'trailer(key=X-Checksum,value="7")')
    assert seen.raw.endswith(b"\r\n0\r\nX-Checksum: 7\r\n\r\n")
    assert (seen.text, seen.ending) == (WORDS, "complete")
    assert b"X-Checksum" not in (await observe(url, 'trailer(key=X-Checksum,value="7")+no-chunking')).raw


async def test_gzip_holds_the_same_bytes(provider: MockProvider) -> None:
    """Inflated, the body is what it would have been, streamed and whole, flushed or not, at every effort."""
    provider.on().reply(WORDS)
    for stream in (True, False):
        for call in ("gzip", "gzip(flush=false)", "gzip(effort=0)", "gzip(effort=9)"):
            seen = await observe(provider.url, call, stream=stream)
            assert seen.ending == "complete"
            content = zlib.decompress(seen.body, 16 + zlib.MAX_WBITS)
            if stream:
                assert content.count(b"data: ") == 13
                assert content.endswith(b"data: [DONE]\n\n")
            else:
                assert json.loads(content)["choices"][0]["message"]["content"] == WORDS


@pytest.mark.parametrize("stream", [True, False])
async def test_gzip_is_cut(url: str, stream: bool) -> None:
    """The message is complete and the member is not."""
    seen = await observe(url, "gzip(cut=5)", stream=stream)
    assert seen.ending == "complete"
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    decoder.decompress(seen.body)
    assert not decoder.eof


def test_an_effort_out_of_range_is_refused() -> None:
    """0 to 9 are zlib's."""
    with pytest.raises(SettingError, match="gzip: effort: expected 0 to 9"):
        chain("gzip(effort=10)")


async def test_a_proxy_lets_all_go_at_once(provider: MockProvider) -> None:
    """Held back with its head, the response comes in one read, as late as it would have ended."""
    provider.on().reply(WORDS, pace="itl=0.03")
    seen = await observe(provider.url, "buffered")
    assert (seen.text, seen.ending) == (WORDS, "complete")
    assert len(seen.reads) == 1
    assert 0.25 < seen.first < 2.0


async def test_an_endless_reply_cannot_be_buffered(provider: MockProvider) -> None:
    """It would never leave: that is said with a 400 before anything is sent."""

    def words() -> Iterator[str]:
        while True:
            yield " again"

    provider.on().reply(Text(words))
    seen = await observe(provider.url, "buffered")
    assert seen.status == 400
    assert "endless" in seen.document["error"]["message"]


async def test_what_is_not_changed_is_the_same_bytes(url: str) -> None:
    """`noop` in front of the whole chain of levels leaves the stream as the short way renders it."""
    plain, odd = [re.sub(rb'chatcmpl-\w+|"created":\d+', b"", (await observe(url, call)).body) for call in ("", "noop")]
    assert plain == odd

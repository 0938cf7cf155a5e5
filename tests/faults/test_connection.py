"""Endings at a position: which bytes come before them, and which ending it is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.faults import chain
from tests.asking import prompt
from tests.cases.observe import observe

WORDS = [" one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten"]
ENDINGS = {"reset": "reset", "close": "eof", "half-close": "eof", "hang": "open"}


@pytest.fixture
async def url(provider: MockProvider) -> str:
    """The base URL of a provider that says ten words, a token each."""
    provider.on().reply("".join(WORDS))
    return provider.url


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize(("after", "words"), [("0", 0), ("3", 3), ("10", 10), ("50%", 5), ("0%", 0), ("4events", 3)])
async def test_an_ending_after_tokens_and_events(url: str, name: str, after: str, words: int) -> None:
    """Exactly the words before the position have come, whole; the role is an event too."""
    seen = await observe(url, f"{name}(after={after})", quiet=0.4)
    assert seen.deltas == WORDS[:words]
    assert seen.finishes == []
    assert seen.ending == ENDINGS[name]


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("count", [0, 1, 100, 1000])
async def test_an_ending_after_bytes(url: str, name: str, count: int) -> None:
    """So many bytes follow the head, chunk framing counted, then it ends."""
    seen = await observe(url, f"{name}(after={count}bytes)", quiet=0.4)
    assert len(seen.raw) - seen.head.head_ends == count
    assert seen.ending == ENDINGS[name]


async def test_an_ending_after_writes(url: str) -> None:
    """Two writes of the body come, and nothing of the third."""
    seen = await observe(url, "reset(after=2writes)")
    assert len(seen.chunks) == 2
    assert seen.ending == "reset"


async def test_a_position_beyond_the_reply_strikes_never(url: str) -> None:
    """Where there are fewer tokens than that, the stream is good."""
    seen = await observe(url, "reset(after=11)")
    assert (seen.deltas, seen.ending, seen.done) == (WORDS, "complete", 1)


async def test_a_whole_reply_ends_early_too(url: str) -> None:
    """Bytes are counted in whole replies as in streams."""
    seen = await observe(url, "reset(after=20bytes)", stream=False)
    assert len(seen.raw) - seen.head.head_ends == 20
    assert seen.ending == "reset"


async def test_attempts_are_counted(url: str) -> None:
    """Twice it goes wrong, then it goes well, and then counting begins anew."""
    endings = [(await observe(url, "reset(after=1,attempt=1..2)")).ending for _ in range(4)]
    assert endings == ["reset", "reset", "complete", "reset"]


async def test_probability_is_seeded(url: str) -> None:
    """About half of many requests are struck; with 0 none is, with 1 all are."""
    struck = [(await observe(url, "reset(after=1,p=0.5)")).ending == "reset" for _ in range(40)]
    assert 8 < sum(struck) < 32
    assert (await observe(url, "reset(after=1,p=0)")).ending == "complete"


@pytest.mark.parametrize("after", ["-1", "3.5", "101%", "3minutes", "true", '""'])
def test_impossible_positions_are_refused(after: str) -> None:
    """The message names the fault, the setting, and what is allowed."""
    with pytest.raises(SettingError, match=r"reset: after: expected such as 3 \(tokens\), 2events"):
        chain(f"reset(after={after})")


@pytest.mark.parametrize(("name", "answered"), [("half-close", False), ("close", True)])
async def test_a_half_closed_connection_is_still_read(provider: MockProvider, name: str, answered: bool) -> None:
    """After the FIN of a half close more bytes of the client are taken in silence; after a close they get RST."""
    provider.on().reply("".join(WORDS))
    parts = urlsplit(provider.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    body = prompt(stream=True)
    writer.write(b"POST /with/%s(after=3)/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" % name.encode())
    writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    received = await reader.read()
    assert received.count(b"data: ") == 4
    for _ in range(20):
        writer.write(b"x")
        await asyncio.sleep(0.01)
    known = writer.get_extra_info("socket")
    lost = writer.transport.is_closing() or known.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    assert lost is answered
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    [exchange] = await provider.wait_for_async(1)
    assert exchange.outcome == "closed"

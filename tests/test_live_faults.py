"""Faults over a session while it is being proxied: what the client gets, what is recorded, and what waits for nothing.

The upstream is a raw socket that sends when the test says so, and the client a tap on the wire.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from mockprovider.cli import main
from tests.upstreams import GET, STREAM, exchange, faking, only, recording_into
from tests.wiretap import tapping

if TYPE_CHECKING:
    from pathlib import Path

LAST = b"0\r\n\r\n"


def event(text: str) -> bytes:
    """An HTTP chunk with an event that carries text."""
    content = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(content), content)


LEVELS = {
    "the socket": ("dribble(bytes=7,seconds=0)", event("one")),
    "the message": ("chunk-extensions", b'data: {"choices": [{"index": 0, "delta": {"content": "one"}}]}\n\n'),
    "events": ("line-ends", b'{"content": "one"}}]}\r\n\r\n'),
    "payloads": ("rename(path=choices,to=options)", b'"options":'),
}


@pytest.mark.parametrize("level", list(LEVELS))
async def test_every_level_is_reached_and_the_recording_is_not(tmp_path: Path, level: str) -> None:
    """A fault acts on each event as it comes, before the next one is sent; recorded is what the upstream sent."""
    chain, expected = LEVELS[level]
    events = [event("one"), event("two"), event("three")]
    async with exchange(tmp_path, faults=chain) as (tap, peer, _):
        await peer.send(STREAM)
        for number, data in enumerate(events):
            await peer.send(data)
            await tap.until(lambda number=number: tap.data.count(b'"content"') == number + 1)  # type: ignore[misc]
        assert expected in tap.data
        assert tap.data.partition(b"\r\n\r\n")[2] != b"".join(events) or level == "the socket"
        await peer.send(LAST)
        await tap.until(lambda: tap.data.endswith(LAST))
        assert (await only(tmp_path)).wire == STREAM + b"".join(events) + LAST
    if level == "the socket":
        assert len(tap.sizes) > len(b"".join(events)) // 7 // 4


async def test_a_reset_after_tokens(tmp_path: Path) -> None:
    """After so many tokens the client's connection is reset, and the upstream's is given up."""
    async with exchange(tmp_path, faults="reset(after=2)") as (tap, peer, _):
        await peer.send(STREAM + event("one"))
        await tap.until(lambda: b"one" in tap.data)
        await peer.send(event("two"))
        await peer.send(event("three"))
        assert await tap.end() == "reset"
        assert b"two" in tap.data
        assert b"three" not in tap.data
        await peer.gone()


async def test_a_stall_holds_what_comes_after_it_alone(tmp_path: Path) -> None:
    """What comes before a stall waits for nothing, what comes after it waits as long as it was told to."""
    async with exchange(tmp_path, faults="stall(after=1,seconds=0.3)") as (tap, peer, _):
        await peer.send(STREAM + event("one"))
        await tap.until(lambda: b"one" in tap.data)
        before = time.monotonic()
        await peer.send(event("two") + LAST)
        await tap.until(lambda: tap.data.endswith(LAST))
        assert time.monotonic() - before >= 0.29
        assert (await only(tmp_path)).duration < 0.3


async def test_a_silent_upstream_is_kept_alive(tmp_path: Path) -> None:
    """Comments come while the upstream says nothing at all; what it says then comes behind them."""
    async with exchange(tmp_path, faults="keepalive(seconds=0.02)") as (tap, peer, _):
        await peer.send(STREAM)
        await tap.until(lambda: tap.data.count(b": keep-alive\n\n") >= 3)
        await peer.send(event("one") + LAST)
        await tap.until(lambda: tap.data.endswith(event("one") + LAST))
        assert b"keep-alive" not in (await only(tmp_path)).content


async def test_a_client_that_a_fault_cuts_off_is_recorded_as_one_that_left(tmp_path: Path) -> None:
    """Where a fault ends an answer that goes on, the recording has what had come, and says that the client left."""
    async with exchange(tmp_path, faults="eof(after=1)") as (tap, peer, _):
        await peer.send(STREAM + event("one"))
        await tap.until(lambda: tap.data == STREAM + event("one") + LAST)
        recorded = await only(tmp_path)
        assert (recorded.wire, recorded.ending) == (STREAM + event("one"), "client-left")
        await peer.gone()


async def test_what_no_fault_touches_comes_as_it_was_sent(tmp_path: Path) -> None:
    """Under a fault that changes nothing, every byte arrives as it was sent, within an event, too, and at once."""
    odd = b"A\r\ndata: {}\n\n\r\n"  # upper-case size, as no encoder of ours writes it
    async with exchange(tmp_path, faults="noop(p=0)") as (tap, peer, _):
        sent = b""
        for piece in (STREAM, odd[:5], odd[5:9], odd[9:], event("é")[:-9], event("é")[-9:], LAST):
            sent += piece
            await peer.send(piece)
            await tap.until(lambda sent=sent: tap.data == sent)  # type: ignore[misc]


async def test_a_fault_in_the_url_or_the_header(tmp_path: Path) -> None:
    """One request of many has a fault by its URL or its header; the upstream hears of neither."""
    for target, header in (
        ("/with/reset(after=1)/v1/stream", ""),
        ("/v1/stream", "x-mockprovider-faults: reset(after=1)"),
    ):
        lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", *filter(None, [header])]
        async with faking() as fake, recording_into(tmp_path, fake.port) as recorder, tapping(recorder.url) as tap:
            tap.strict = False
            await tap.send(("\r\n".join(lines) + "\r\n\r\n").encode())
            peer = await fake.peer()
            head, _ = await peer.request()
            assert head.startswith(b"GET /v1/stream HTTP/1.1\r\n")
            assert b"mockprovider" not in head.lower()
            await peer.send(STREAM + event("one") + event("two"))
            assert await tap.end() == "reset"


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("truncate(after=50%)", "before its end has come"),
        ("finish(reason=length)", "no reply to change"),
        ("stal(after=3)", "did you mean 'stall'?"),
    ],
)
async def test_a_fault_that_must_know_the_end_is_refused(tmp_path: Path, chain: str, said: str) -> None:
    """What cannot be done to an answer that is still to come is a 400 with the reason; the upstream is not asked."""
    async with faking() as fake, recording_into(tmp_path, fake.port) as recorder, tapping(recorder.url) as tap:
        response = await tap.ask(GET.replace(b"GET /v1", f"GET /with/{chain}/v1".encode().replace(b"%", b"%25")))
        assert response.status == 400
        assert said in response.body.decode()
        assert fake.all == []


async def test_a_status_is_answered_without_the_upstream(tmp_path: Path) -> None:
    """A fault that answers instead of a reply does so here, too, and nothing is recorded."""
    async with faking() as fake, recording_into(tmp_path, fake.port, faults="status(code=529)") as recorder:
        async with tapping(recorder.url) as tap:
            assert (await tap.ask(GET)).status == 529
        assert fake.all == []
    assert list(tmp_path.iterdir()) == []


async def test_a_proxy_records_nothing(tmp_path: Path) -> None:
    """Without a folder the same passes through, faults included, and nothing is written."""
    async with (
        faking() as fake,
        recording_into(None, fake.port, faults="reset(after=1)") as recorder,
        tapping(recorder.url) as tap,
    ):
        tap.strict = False
        await tap.send(GET)
        peer = await fake.peer()
        await peer.request()
        await peer.send(STREAM + event("one") + event("two"))
        assert await tap.end() == "reset"
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_refuses_what_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    """A chain that is no chain is told before anything listens."""
    assert main(["proxy", "--upstream", "http://127.0.0.1:1", "--with", "stal"]) == 2
    assert "did you mean 'stall'?" in capsys.readouterr().err

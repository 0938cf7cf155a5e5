"""Each case of the family `timing`, proved on the wire from the words of its row. Times are bands, never tight."""

from __future__ import annotations

import itertools

import pytest

from mockprovider import MockProvider
from tests.cases.observe import TEXT, Seen
from tests.cases.proofs import Proofs

PROOFS = Proofs("timing")


def good(seen: Seen, text: str = TEXT) -> None:
    """The good stream, ended cleanly."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.text, seen.data[-1]) == (text, "[DONE]")


def gaps(seen: Seen) -> list[float]:
    """Seconds between one read and the next."""
    return [later.time - earlier.time for earlier, later in itertools.pairwise(seen.reads)]


@PROOFS.case("ttft-long-headers-late")
def headers_late(seen: Seen) -> None:
    """Not a byte for about a second; then headers and all."""
    assert 0.9 < seen.first < 2.5
    good(seen)
    assert seen.took - seen.first < 0.8


@PROOFS.case("ttft-long-headers-early")
def headers_early(seen: Seen) -> None:
    """The head at once, the first event about a second later."""
    assert seen.first < 0.5
    assert seen.reads[0].data.endswith(b"\r\n\r\n")
    assert 0.8 < seen.at(b"data: ") < 2.5
    good(seen)


@PROOFS.case("stall-mid-stream", quiet=1.2)
def stall_mid_stream(seen: Seen) -> None:
    """Some deltas, then nothing while the observer waits; the connection stays open."""
    assert 2 < len(seen.deltas) < 20
    assert TEXT.startswith(seen.text)
    assert (seen.finishes, seen.ending) == ([], "open")


@PROOFS.case("stall-with-keepalives", longest=2.2)
def stall_with_keepalives(seen: Seen) -> None:
    """Ping comments at intervals of about half a second, never data, and no end."""
    assert (seen.status, seen.ending) == (200, "open")
    assert set(seen.blocks) == {b": ping\n\n"}
    assert 3 <= len(seen.blocks) <= 5
    assert all(0.35 < gap < 0.8 for gap in gaps(seen)[1:])


@PROOFS.case("stall-then-burst")
def stall_then_burst(seen: Seen) -> None:
    """Some deltas, about a second of silence, then all the rest at once."""
    good(seen)
    longest = max(gaps(seen), default=0.0)
    assert 0.8 < longest < 2.5
    place = gaps(seen).index(longest)
    before = b"".join(read.data for read in seen.reads[: place + 1])
    assert 2 < before.count(b'"delta":{"content":"') < 20
    assert seen.reads[-1].time - seen.reads[place + 1].time < 0.5


@PROOFS.case("think-gap-false-positive")
def think_gap(seen: Seen) -> None:
    """A tool call, then a silence of about a second, then the text and a clean end."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.text == "It is sunny in Paris."
    longest = max(gaps(seen), default=0.0)
    assert 0.8 < longest < 2.5
    before = b"".join(read.data for read in seen.reads[: gaps(seen).index(longest) + 1])
    assert b'"name":"look_up"' in before
    assert b'{"content":' not in before


@PROOFS.case("trickle", longest=1.5)
def trickle(seen: Seen) -> None:
    """One byte of the body at a time with a pause before each, and no end in sight."""
    assert (seen.status, seen.ending) == (200, "open")
    body = seen.wire_reads
    assert 10 < len(body) < 40
    assert {len(read.data) for read in body[1:]} == {1}
    pauses = [later.time - earlier.time for earlier, later in itertools.pairwise(body)]
    assert sorted(pauses)[len(pauses) // 2] > 0.03


@PROOFS.case("active-over-total")
def active_over_total(seen: Seen) -> None:
    """Events steadily for more than a second, never a long silence, and a good end."""
    good(seen)
    assert seen.took > 1.0
    assert max(gaps(seen), default=0.0) < 0.5
    assert len(seen.reads) > 20


@PROOFS.case("gap-over-read-timeout", quiet=4.0)
def gap_over_read_timeout(seen: Seen) -> None:
    """One gap of about two seconds after some deltas; the stream goes on after it."""
    good(seen)
    assert 1.8 < max(gaps(seen), default=0.0) < 3.8
    assert sum(gap > 0.5 for gap in gaps(seen)) == 1
    assert seen.took - seen.first < 4


@PROOFS.case("bursts")
def bursts(seen: Seen) -> None:
    """The events arrive in groups of 64 to 66, with a pause of about half a second between the groups."""
    assert seen.ending == "complete"
    groups = [1]
    for gap, read in zip(gaps(seen), seen.reads[1:], strict=True):
        count = read.data.count(b'"delta":{"content":"')
        if gap > 0.3:
            groups.append(count)
        else:
            groups[-1] += count
    groups[0] = seen.reads[0].data.count(b'"delta":{"content":"') + groups[0] - 1
    assert len(groups) >= 3
    assert all(64 <= group <= 66 for group in groups[:-1] if group)


@PROOFS.case("jitter", quiet=4.0, longest=20.0)
def jitter(seen: Seen) -> None:
    """Between events gaps that differ, up to 200 ms and a little."""
    good(seen)
    found = [gap for gap in gaps(seen) if gap > 0.001]
    assert len(found) > 20
    assert max(found) < 0.5
    assert max(found) > 3 * sorted(found)[len(found) // 10]
    assert 0.05 < sum(found) / len(found) < 0.2


@PROOFS.case("runaway", longest=1.2)
def runaway(seen: Seen) -> None:
    """The same words over and over after the text, no finish reason and no end."""
    assert (seen.status, seen.ending) == (200, "open")
    assert seen.text.startswith(TEXT)
    rest = seen.text.removeprefix(TEXT)
    words = seen.deltas[-1]
    assert rest.count(words) > 10
    assert rest == words * rest.count(words)
    assert seen.finishes == []


@pytest.mark.parametrize("name", PROOFS.names)
async def test_case(provider: MockProvider, name: str) -> None:
    """On the wire is what the row says."""
    await PROOFS.prove(provider, name)


@pytest.mark.parametrize(("name", "link"), [(name, link) for name, link in PROOFS.links if link != "reply"])
async def test_proof_is_not_vacuous(
    provider: MockProvider, name: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any link of the case taken out, its proof fails."""
    await PROOFS.refute(provider, name, link, monkeypatch)


def test_every_row_is_proved() -> None:
    """There are 12 rows, and each is proved."""
    assert len(PROOFS.rows) == 12
    assert {row.name for row in PROOFS.rows if row.available} == set(PROOFS.names)

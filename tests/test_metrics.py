"""Counters: what a server says of itself, and that it does not blame a slow machine on its clients."""

from __future__ import annotations

import re

import pytest

from mockprovider import MockProvider
from mockprovider.exchange import SentLog
from mockprovider.metrics import BOUNDS, SIZE, Metrics
from tests.asking import ask, request


def samples(text: str) -> dict[str, float]:
    """The samples of a page in Prometheus' text format, by name and labels; every line must be one or a comment."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+(?:\{[a-z]+="[^"]*"\})?) (\S+)', line)
            assert match, line
            found[match[1]] = float(match[2])
    return found


def test_the_page_counts_what_was_sent(mock_provider: MockProvider) -> None:
    """Responses, bytes and endings on the page grow by what a client has received."""
    page = mock_provider.url.partition("/~")[0] + "/_mock/metrics"
    before = samples(request("GET", page).body.decode())
    answer = ask(mock_provider.url)
    [exchange] = mock_provider.exchanges
    after = samples(request("GET", page).body.decode())

    def grown(name: str) -> float:
        return after[f"mockprovider_{name}"] - before[f"mockprovider_{name}"]

    assert answer.status == 200
    assert grown("bytes_total") == exchange.sent.bytes > len(answer.body)
    assert grown("writes_total") == exchange.sent.writes == 1
    assert grown('endings_total{outcome="complete"}') == 1
    assert grown('responses_total{status="2xx"}') == 1
    assert grown("lateness_seconds_count") == 1
    assert after["mockprovider_open_streams"] == 0


def test_the_histogram_is_cumulative() -> None:
    """Each bucket counts the writes that were at most so late, the last one all."""
    metrics = Metrics()
    metrics.wrote(2, 20, 4, 0.0005)
    metrics.wrote(3, 30, 6, 5.3006, [0.0006, 0.3, 5.0])
    found = samples(metrics.text())
    counts = [found[f'mockprovider_lateness_seconds_bucket{{le="{bound}"}}'] for bound in (*BOUNDS, "+Inf")]
    assert counts == [2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 5]
    assert found["mockprovider_events_total"] == 10
    assert found["mockprovider_lateness_seconds_sum"] == pytest.approx(5.3011)


def test_a_bucket_holds_its_bound() -> None:
    """A write that was just as late as a bucket's bound is in it, in whatever order they come."""
    metrics = Metrics()
    metrics.wrote(len(BOUNDS) - 1, 0, 0, 0.0, BOUNDS[:0:-1])
    found = samples(metrics.text())
    counts = [found[f'mockprovider_lateness_seconds_bucket{{le="{bound}"}}'] for bound in BOUNDS]
    assert counts == list(range(len(BOUNDS)))


def test_workers_add_up() -> None:
    """Whichever worker is asked tells of all: their numbers stand side by side in one array."""
    doubles = memoryview(bytearray(2 * SIZE * 8)).cast("d")
    places = [doubles[:SIZE], doubles[SIZE:]]
    first, second = (Metrics(place, places) for place in places)
    first.wrote(1, 100, 1, 0.0)
    second.wrote(1, 23, 1, 0.0)
    second.began(SentLog())
    assert first.text() == second.text()
    assert samples(first.text())["mockprovider_bytes_total"] == 123
    assert samples(first.text())["mockprovider_open_streams"] == 1


def test_a_slow_client_is_no_lateness() -> None:
    """What became due while the client did not read is late by its doing, and is not counted as ours."""
    log = SentLog()
    log.add(1.0, 1.001, b"a")
    log.unblocked(1.001, 9.0)
    log.add(2.0, 9.002, b"b")
    assert log.worst == pytest.approx(0.002)
    assert log.blocked == pytest.approx(7.999)
    assert log.lateness == pytest.approx([0.001, 7.002])


def test_a_slow_machine_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A write later than the bound marks its exchange, is logged once in a while, and is counted."""
    with MockProvider(late_warning=1e-9) as provider:
        for _ in range(3):
            ask(provider.url)
        assert [exchange.late for exchange in provider.exchanges] == [True, True, True]
        assert all(exchange.describe()["late"] for exchange in provider.exchanges)
        assert (
            samples(request("GET", f"{provider.url}/_mock/metrics").body.decode())["mockprovider_late_exchanges_total"]
            == 3
        )
    warnings = [record for record in caplog.records if "behind its times" in record.getMessage()]
    assert len(warnings) == 1

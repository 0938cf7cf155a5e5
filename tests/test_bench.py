"""The benchmark's own instruments: the C server and the C reader agree, and its arithmetic holds."""

from __future__ import annotations

import math
import shutil
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from benchmarks import contenders, growth, measure, plots
from benchmarks.figures import Plot, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux",
    reason="the instruments are C for Linux: no gcc here",
)


@pytest.fixture
def limit(request: pytest.FixtureRequest) -> Iterator[contenders.Server]:
    """The C server for the load that the test names."""
    load, mode = request.param
    server = contenders.limit(load, mode)
    yield server
    server.stop()


@needs_gcc
@pytest.mark.parametrize("limit", [(contenders.Load("t", 7), mode) for mode in ("each", "batch", "all")], indirect=True)
def test_reader_counts_every_event_of_every_reply(limit: contenders.Server) -> None:
    """Whatever the writes, the reader counts as many events and replies as the server was told to send."""
    result = measure.read(limit, connections=3, each=10)
    assert result["errors"] == 0
    assert (result["responses"], result["events"]) == (30, 30 * 7)


@needs_gcc
@pytest.mark.parametrize("limit", [(contenders.Load("t", 7, stream=False), "whole")], indirect=True)
def test_reader_counts_whole_replies(limit: contenders.Server) -> None:
    """A reply with Content-Length is complete at its last byte and holds no events."""
    result = measure.read(limit, connections=2, each=10)
    assert (result["responses"], result["events"], result["errors"]) == (20, 0, 0)


@needs_gcc
@pytest.mark.parametrize("limit", [(contenders.Load("t", 500, itl=0.01), "paced")], indirect=True)
def test_reader_measures_a_schedule(limit: contenders.Server) -> None:
    """Of a paced stream the reader knows the tokens that were due, and absolute deadlines do not drift."""
    result = measure.read(limit, connections=4, itl=0.01, tokens=500, ramp=0.1, settle=0.0, window=0.5, grace=1.0)
    assert abs(result["due"] - 4 * 50) <= 4
    assert result["missing"] == 0
    assert result["drifting"] == 4
    assert result["drift_percent"]["p50"] < 5
    assert result["late_ms"]["p50"] >= 0


@needs_gcc
@pytest.mark.parametrize("limit", [(contenders.Load("t", 500, itl=0.01), "paced")], indirect=True)
def test_reader_sees_a_schedule_that_is_not_kept(limit: contenders.Server) -> None:
    """A server that is slower than it should be is late, drifts, and owes tokens."""
    result = measure.read(limit, connections=4, itl=0.008, tokens=500, ramp=0.1, settle=0.0, window=0.5, grace=0.0)
    assert result["missing"] > 0
    assert 20 < result["drift_percent"]["p50"] < 30
    assert result["late_ms"]["p99"] > 50


@needs_gcc
@pytest.mark.parametrize("limit", [(contenders.Load("t", 3), "each")], indirect=True)
def test_probe_tells_tokens_from_other_events(limit: contenders.Server) -> None:
    """The probe counts events and, among them, those that carry text."""
    sample = contenders.probe(limit)
    assert (sample.events, sample.skip, sample.tokens) == (3, 0, 3)


@pytest.mark.parametrize(
    ("bound", "figure", "verdict"),
    [
        ("at least", 2.0, "reached"),
        ("at least", 1.99, "missed"),
        ("at most", 2.0, "reached"),
        ("at most", 2.01, "missed"),
        ("at most", math.nan, "absent"),
        ("at most", None, "absent"),
    ],
)
def test_verdict_follows_the_bound(bound: str, figure: float | None, verdict: str) -> None:
    """A figure reaches its target from the right side, and a missing figure never counts as reached."""
    assert Row("part", "what", figure, "×", bound, 2.0).verdict == verdict


def test_growth_is_the_greatest_rise() -> None:
    """A fall is no rise, and a rise after a fall counts from the lowest point."""
    assert growth.rise_percent({10: 4.0, 100: 2.0, 1000: 2.5}) == pytest.approx(25.0)
    assert growth.rise_percent({10: 4.0, 100: 3.0}) == 0.0
    assert math.isnan(growth.rise_percent({10: 4.0}))


@pytest.mark.parametrize(
    "plot",
    [
        Plot("a", "bars & more", "", "events/s", bars=[("mockprovider", 1.0), ("C", 3e6)]),
        Plot("d", "one that did nothing", "", "events/s", bars=[("mockprovider", 9.0), ("mockllm", 0.0)]),
        Plot("e", "none that did anything", "", "events/s", bars=[("mockllm", 0.0)]),
        Plot(
            "b",
            "lines",
            "streams",
            "ms",
            lines={"C": [(1, 0.0), (5000, 40.0)]},
            log_x=True,
            log_y=True,
            mark_y=5,
        ),
        Plot("c", "empty", "streams", "ms"),
    ],
    ids=["bars", "a bar of nothing", "nothing but that", "lines", "empty"],
)
def test_plots_are_well_formed(plot: Plot) -> None:
    """Every plot is an SVG document that names what it shows."""
    root = ElementTree.fromstring(plots.svg(plot))
    assert root.tag.endswith("svg")
    assert plot.title in "".join(root.itertext())

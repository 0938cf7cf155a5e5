"""Growth: what an event costs the server as streams become longer, and as there are more of them."""

from __future__ import annotations

import math

from benchmarks import build, contenders, measure, paced
from benchmarks.contenders import Load
from benchmarks.figures import Bench, Plot, Row

TARGET = 20.0
PACED_RATE = 20_000
EVENTS = 150_000  # about so many a measure: streams are measured whole, from the request to the last byte
SHORT = 50  # tokens of a stream where the number of streams grows
Costs = dict[int, float]
Sweep = dict[int, tuple[int, int]]  # size: tokens a stream (0: paced), streams


def growth(bench: Bench) -> None:
    """Rows `growth`. The figure is the greatest rise of the cost from any size to a larger one."""
    quick = bench.settings.quick
    lengths = (10, 1000, 100_000) if quick else (10, 100, 1000, 10_000, 100_000)
    counts = (1, 100, 5000) if quick else (1, 16, 256, 1000, 5000)
    paced_counts = (100, 2000) if quick else (100, 1000, 5000)
    sweeps: list[tuple[str, str, Sweep]] = [
        ("tokens", "from 10 to 100,000 tokens a stream", {size: (size, 2 if quick else 4) for size in lengths}),
        (
            "streams",
            "from 1 to 5,000 streams, no gaps, 50 tokens each",
            {size: (SHORT, size) for size in counts},
        ),
        (
            "paced",
            f"from 100 to {paced_counts[-1]:,} streams, paced, 20,000 events a second in all",
            {size: (0, size) for size in paced_counts},
        ),
    ]
    for key, what, sweep in sweeps:
        costs = {name: _costs(bench, name, sweep) for name in ("mockprovider", "C")}
        _row(bench, what, costs, len(sweep))
        bench.raw.setdefault("growth", {})[key] = costs
        if key == "paced":
            continue
        lines = {
            name: [(float(size), cost * 1e6) for size, cost in values.items()]
            for name, values in costs.items()
            if values
        }
        label = "tokens a stream" if key == "tokens" else "streams"
        bench.plots.append(
            Plot(
                f"growth-{key}",
                f"CPU per event against {label}, one event a write",
                label,
                "µs",
                lines=lines,
                log_x=True,
            )
        )


def _costs(bench: Bench, name: str, sweep: Sweep) -> Costs:
    """CPU seconds an event, for every size of the sweep."""
    costs: Costs = {}
    for size, (tokens, streams) in sweep.items():
        results: list[measure.Result | None] = []
        if tokens:
            results += _instant(bench, name, tokens, streams)
        else:
            window = 1.0 if bench.settings.quick else 4.0
            results.append(paced.run(bench, name, streams, itl=streams / PACED_RATE, window=window))
        cost = measure.cost([result for result in results if result is not None])
        if not math.isnan(cost):
            costs[size] = cost
    return costs


def _instant(bench: Bench, name: str, tokens: int, streams: int) -> list[measure.Result | None]:
    settings = bench.settings
    server = bench.start(name, Load("growth", tokens, join=False))
    if server is None:
        return []
    try:
        contenders.probe(server)
        each = max(1, round((EVENTS // 5 if settings.quick else EVENTS) / (tokens * streams)))
        rounds = range(1 if settings.quick else 3)
        return list(measure.faultless([measure.read(server, connections=streams, each=each) for _ in rounds]))
    except build.Absent as reason:
        bench.absent[name] = str(reason)
        return []
    finally:
        server.stop()


def rise_percent(costs: Costs) -> float:
    """The greatest rise in percent from one size to a larger one; nan of fewer than two sizes."""
    values = [costs[size] for size in sorted(costs)]
    rises = [later / early - 1 for i, early in enumerate(values) for later in values[i + 1 :]]
    return max(0.0, *rises) * 100 if rises else math.nan


def _row(bench: Bench, what: str, costs: dict[str, Costs], sizes: int) -> None:
    """A row without a figure where any size could not be measured."""
    ours, limit = costs["mockprovider"], costs["C"]
    rise = rise_percent(ours) if len(ours) == sizes else math.nan
    points = ", ".join(f"{cost * 1e6:.1f}" for cost in ours.values())
    note = f"{points} µs; C rises {rise_percent(limit):.0f} %" if ours else bench.why("mockprovider")
    what = f"rise of the cost per event {what}"
    bench.rows.append(Row("growth", what, rise, "%", "at most", TARGET, note))

"""Events a second without gaps, one event a write and coalesced; short streams and whole replies a second."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable

from benchmarks import build, contenders, measure
from benchmarks.contenders import Load
from benchmarks.figures import Bench, Plot, Row, ratio

WARM_SECONDS = 1.5
TOKENS, CONNECTIONS, SHORT_TOKENS, SHORT_CONNECTIONS = 1000, 16, 10, 32

# The replies that mockprovider is measured with, and the targets: one event a write against C, coalesced
# against aimock. A reply without targets is shown for comparison. Another kind of reply is one more
# line here and one more branch in contenders.mockprovider.
REPLIES: dict[str, tuple[float, float] | None] = {
    "generated": (0.65, 3.0),
    "scripted": None,
    "recorded": (0.75, 5.0),
}


def throughput(bench: Bench) -> None:
    """Rows `throughput`: long streams on a few connections."""
    sample = bench.sample(TOKENS)
    loads: dict[str, tuple[str, Load]] = {"C": ("C", Load("each", TOKENS, join=False, sample=sample))}
    for reply in REPLIES:
        one_each = Load(reply, TOKENS, reply=reply, join=False, sample=sample)
        loads[f"mockprovider, {reply}, one event a write"] = "mockprovider", one_each
        loads[f"mockprovider, {reply}, coalesced"] = "mockprovider", Load(reply, TOKENS, reply=reply, sample=sample)
    loads["bare aiohttp"] = "bare", Load("long", TOKENS, sample=sample)
    for peer in ("aimock",) if bench.settings.quick else ("aimock", "llmock", "mockllm"):
        loads[peer] = peer, Load("long", TOKENS)
    results = run(bench, loads, CONNECTIONS)
    for reply, targets in REPLIES.items():
        for how, other, target in zip(
            ("one event a write", "coalesced"), ("C", "aimock"), targets or (None, None), strict=True
        ):
            what = f"events a second, {how}, against {other}: a {reply} reply"
            row = compare(bench, results, f"mockprovider, {reply}, {how}", other, "events")
            bench.rows.append(dataclasses.replace(row, part="throughput", what=what, target=target))
    store(bench, "throughput", "Events a second, no gaps, one core", results, "events")


def requests(bench: Bench) -> None:
    """Rows `requests`: streams of ten tokens, and whole replies."""
    _requests(bench, stream=True, what="10-token streams", targets=(3.0, 1.5))
    _requests(bench, stream=False, what="whole replies", targets=(2.0, 0.7))


def _requests(bench: Bench, *, stream: bool, what: str, targets: tuple[float, float]) -> None:
    key = what.replace(" ", "-")
    load = Load(key, SHORT_TOKENS, stream, sample=bench.sample(SHORT_TOKENS, stream=stream))
    names = ["mockprovider", "aimock", "bare", "C"]
    if not bench.settings.quick:
        names += ["llmock", "mockllm"]
    results = run(bench, {name: (name, load) for name in names}, SHORT_CONNECTIONS)
    said = {"aimock": "aimock", "bare": "a bare aiohttp handler"}
    for (other, against), target in zip(said.items(), targets, strict=True):
        row = compare(bench, results, "mockprovider", other, "responses")
        row = dataclasses.replace(row, what=f"{what}, requests a second, against {against}", target=target)
        bench.rows.append(row)
    store(bench, key, f"{what[0].upper()}{what[1:]} a second, one core", results, "responses")


def run(bench: Bench, loads: dict[str, tuple[str, Load]], connections: int) -> dict[str, list[measure.Result]]:
    """Start every contender that is there, and measure them in turns; a contender that fails is absent."""
    settings = bench.settings
    with contextlib.ExitStack() as stack:
        measures: dict[str, Callable[[], measure.Result]] = {}
        for name, (contender, load) in loads.items():
            server = bench.start(contender, load)
            if server is None:
                continue
            stack.callback(server.stop)
            try:
                if load.sample is None or contender == "mockprovider":
                    contenders.probe(server)
            except build.Absent as reason:
                bench.absent[contender] = str(reason)
                continue
            if contender == "aimock":
                # Its engine compiles what runs often: cold, it is not half as fast, which would flatter us.
                measure.read(server, connections=connections, warmup=0.0, seconds=WARM_SECONDS)
            measures[name] = functools.partial(
                measure.read,
                server,
                connections=connections,
                warmup=settings.seconds / 4,
                seconds=settings.seconds,
            )
        results = measure.interleaved(measures, settings.rounds)
        for name in list(results):
            try:
                measure.faultless(results[name])
            except build.Absent as reason:
                del results[name]
                bench.absent[loads[name][0]] = f"{loads[name][1].name}: {reason}"
        return results


def compare(bench: Bench, results: dict[str, list[measure.Result]], ours: str, theirs: str, unit: str) -> Row:
    """The ratio of two rates, without its name and target; behind it both rates, also in CPU time."""
    sides = [results.get(name, []) for name in (ours, theirs)]
    rates = [measure.rate(side, unit) for side in sides]
    note = bench.why(ours.split(",", maxsplit=1)[0], theirs)
    if all(sides):
        costs = " / ".join(f"{measure.cost(side, unit) * 1e6:,.2f}" for side in sides)
        note = f"{rates[0]:,.0f} / {rates[1]:,.0f} a second; {costs} µs of CPU each"
    return Row("requests", "", ratio(rates[0], rates[1]), "×", "at least", None, note)


def store(bench: Bench, key: str, title: str, results: dict[str, list[measure.Result]], unit: str) -> None:
    """Keep what was measured for the JSON file, and the bars."""
    rates = {name: measure.rate(runs, unit) for name, runs in results.items()}
    bench.raw[key] = {
        name: {"per_second": rates[name], "cpu_us": measure.cost(runs, unit) * 1e6, "runs": runs}
        for name, runs in results.items()
    }
    label = "events/s" if unit == "events" else "requests/s"
    bench.plots.append(Plot(key, title, "", label, bars=list(rates.items()), log_x=True))

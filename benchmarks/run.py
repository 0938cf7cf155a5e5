"""The benchmark: `scripts/bench [--quick] [--only PART,...] [--json FILE] [--svg DIR] [--markdown FILE]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path

from benchmarks import build, contenders, growth, memory, paced, plots, replay, report, startup, throughput
from benchmarks.figures import Bench, Part, Settings

PARTS: dict[str, Part] = {
    "throughput": throughput.throughput,
    "requests": throughput.requests,
    "paced": paced.paced,
    "streams": paced.streams,
    "memory": memory.memory,
    "startup": startup.startup,
    "growth": growth.growth,
    "replay": replay.replay,
}


def names_among(text: str, known: Collection[str]) -> list[str]:
    """The names of a comma-separated list. Raises argparse.ArgumentTypeError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown) or 'nothing'}; known: {', '.join(known)}")
    return names


def arguments(given: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure mockprovider against C, bare aiohttp and its peers."
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measures: under two minutes")
    parser.add_argument(
        "--only",
        type=lambda text: names_among(text, PARTS),
        default=list(PARTS),
        metavar="PART,...",
        help=f"only these parts: {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--contenders",
        type=lambda text: names_among(text, contenders.CONTENDERS),
        default=list(contenders.CONTENDERS),
        metavar="NAME,...",
        help=f"only these servers: {', '.join(contenders.CONTENDERS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--svg", type=Path, metavar="DIR", help="write the plots")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Run the parts that were asked for and show what they found; 0 even where a target is missed."""
    options = arguments(given)
    contenders.allow_open_files()
    bench = Bench(Settings(quick=options.quick, names=frozenset(options.contenders)))
    began = time.monotonic()
    for name in options.only:
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        part_began = time.monotonic()
        PARTS[name](bench)
        print(f" {time.monotonic() - part_began:.0f} s", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    machine = build.machine()
    print(report.table(bench))
    print("\n".join(["", *report.absent(bench), *filter(None, [report.noise(bench)]), f"{seconds:.0f} seconds"]))
    if options.json:
        options.json.write_text(json.dumps(report.document(bench, machine, seconds), indent=1) + "\n")
    if options.markdown:
        flags = " --quick" if options.quick else ""
        options.markdown.write_text(
            report.markdown(bench, machine, seconds, f"scripts/bench{flags} --markdown docs/performance.md")
        )
    if options.svg:
        options.svg.mkdir(parents=True, exist_ok=True)
        for plot in bench.plots:
            (options.svg / f"{plot.name}.svg").write_text(plots.svg(plot))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a run shows: the table on the screen, the JSON file, the Markdown page."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from benchmarks import build
from benchmarks.figures import Bench, Row

NOISY = 0.1
"""Cores kept busy by others, above which a run is called noisy."""

HEADINGS = ("what", "must reach", "figure", "verdict", "behind it")


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    return row.what, row.target_text, row.figure_text, row.verdict, row.note


def table(bench: Bench) -> str:
    """The rows for a screen; the notes stand below their row."""
    rows = [_cells(row) for row in bench.rows]
    widths = [max(len(cells[i]) for cells in [HEADINGS, *rows]) for i in range(4)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(HEADINGS[:4], widths, strict=True)).rstrip()]
    lines.append("  ".join("-" * width for width in widths))
    for cells in rows:
        lines.append("  ".join(text.ljust(width) for text, width in zip(cells[:4], widths, strict=True)).rstrip())
        if cells[4]:
            lines.append(f"    {cells[4]}")
    return "\n".join(lines)


def absent(bench: Bench) -> list[str]:
    """A line for every contender that did not take part, with the reason."""
    return [f"absent: {name}: {reason}" for name, reason in sorted(bench.absent.items())]


def foreign(raw: object) -> list[float]:
    """How many cores others kept busy, for every run of the reader found in the raw results."""
    if isinstance(raw, dict):
        own = [float(raw["foreign"])] if "foreign" in raw else []
        return own + [value for one in raw.values() for value in foreign(one)]
    return [value for one in raw for value in foreign(one)] if isinstance(raw, list) else []


def noise(bench: Bench) -> str:
    """A warning where other work disturbed the run, else an empty text."""
    values = foreign(bench.raw)
    busy = sum(values) / len(values) if values else 0.0
    if busy < NOISY:
        return ""
    return f"noisy: other work kept {busy:.1f} cores busy on average; repeat it on a quiet machine"


def _plain(value: Any) -> Any:
    """A value that JSON can say: nan is null, keys are text."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document(bench: Bench, machine: dict[str, str], seconds: float) -> dict[str, Any]:
    """The whole run for the JSON file: machine, settings, rows with their verdicts, raw results."""
    rows = [{**dataclasses.asdict(row), "verdict": row.verdict} for row in bench.rows]
    settings = {
        "quick": bench.settings.quick,
        "rounds": bench.settings.rounds,
        "seconds": bench.settings.seconds,
        "run_seconds": round(seconds, 1),
    }
    found = {"machine": machine, "settings": settings, "absent": bench.absent, "rows": rows, "raw": bench.raw}
    plain: dict[str, Any] = _plain(found)
    return plain


def markdown(bench: Bench, machine: dict[str, str], seconds: float, command: str) -> str:
    """The table as a page, with machine, method and how to repeat it."""
    how = (
        f"ratios within one run, contenders interleaved, medians of {bench.settings.rounds} rounds; "
        "the server on one core, a raw-socket reader in C on another."
    )
    needs = (
        f"This run took {seconds / 60:.0f} minutes; `--quick` takes under two. Peers are installed on the "
        "first run. gcc must be there, and node and npm for aimock."
    )
    lines = [
        "# Performance",
        "",
        f"Measured by `scripts/bench`: {how}",
        "",
    ]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|---|---|"]
    for row in bench.rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |")
    remarks = [*absent(bench), *filter(None, [noise(bench)])]
    lines += ["", *(f"- {line}" for line in remarks)] if remarks else []
    lines += ["", "## The machine", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [
        "",
        "## How to repeat it",
        "",
        # Indented, not fenced: fenced examples are run by the tests, and this one takes minutes.
        f"    {command}",
        "",
        needs,
        "",
        "## How it is measured",
        "",
        (build.HERE / "method.md").read_text(),
    ]
    return "\n".join(lines)

"""Compares real recordings with what mockprovider emits: `scripts/fidelity [FOLDER] [--flavour NAME,...] [--all]`.

Exit codes: 0 nothing differs that is not explained; 1 something does; 2 there is nothing to compare.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from scripts.fidelity_tool.asking import Server
from scripts.fidelity_tool.compare import Finding, compare, kinds
from scripts.fidelity_tool.recordings import Recorded, load

__all__ = ["Outcome", "Rules", "main", "run"]

ROOT = Path(__file__).resolve().parents[2]
USUAL = ROOT.parent / "shared" / "streams"
RULES = Path(__file__).with_name("exceptions.toml")
AGE = 270 * 86_400
"""Seconds: a recording that is so much older than the newest of its kind of message tells of another time."""


class Rules:
    """Whose recordings are whose, which are not compared, and which differences are meant; each with its reason."""

    def __init__(self, path: Path = RULES) -> None:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        self.hosts: dict[str, str] = table["hosts"]
        self.providers: dict[str, str] = table["providers"]
        self.servers: dict[str, str] = table["servers"]
        self.skips: list[dict[str, Any]] = table["skip"]
        self.allows: list[dict[str, Any]] = table["allow"]
        self.used: set[int] = set()

    def flavour(self, recorded: Recorded) -> str:
        """Who said it; nothing where nobody knows."""
        for pattern, flavour in self.hosts.items():
            if recorded.host and fnmatchcase(recorded.host, pattern):
                return flavour
        server = (recorded.headers or {}).get("server", "")
        return self.servers.get(server) or self.providers.get(recorded.provider, "")

    def skipped(self, recorded: Recorded, flavour: str) -> str:
        """Why it is not compared; nothing where it is."""
        facts = {"name": recorded.name, "dialect": recorded.dialect, "flavour": flavour, "host": recorded.host}
        return next((rule["reason"] for rule in self.skips if _meets(rule, facts)), "")

    def explained(self, finding: Finding) -> str:
        """Why a difference is meant; nothing where it is not."""
        facts = {name: getattr(finding, name) for name in ("flavour", "dialect", "kind", "what", "detail", "name")}
        for index, rule in enumerate(self.allows):
            if _meets(rule, facts):
                self.used.add(index)
                return str(rule["reason"])
        return ""


def _meets(rule: dict[str, Any], facts: dict[str, str]) -> bool:
    """Whether every key of the rule but its reason fits: a pattern with `*`, or a list of such."""
    return all(
        any(_fits(facts[key], pattern) for pattern in ([wanted] if isinstance(wanted, str) else wanted))
        for key, wanted in rule.items()
        if key != "reason"
    )


def _fits(text: str, pattern: str) -> bool:
    # Brackets stand for themselves: they are in JSON paths and in file names.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


@dataclass
class Outcome:
    """What came of a comparison. compared: recordings by flavour and dialect; skipped: reasons and how often."""

    compared: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict)
    unexplained: list[Finding] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def run(
    folder: Path, rules: Rules, *, flavours: Sequence[str] = (), dialects: Sequence[str] = (), older: bool = False
) -> Outcome:
    """Compare the newest recordings of the folder, or all of them, and sort what differs."""
    outcome = Outcome()
    recordings, outcome.failed = load(folder)
    chosen: list[tuple[str, Recorded]] = []
    for recorded in recordings:
        flavour = rules.flavour(recorded)
        if reason := rules.skipped(recorded, flavour) or ("" if flavour else "nobody knows who said it"):
            outcome.skipped[reason] += 1
        elif (not flavours or flavour in flavours) and (not dialects or recorded.dialect in dialects):
            chosen.append((flavour, recorded))
    with Server() as server:
        for flavour, recorded, wanted in _newest(chosen, older=older):
            outcome.compared[flavour, recorded.dialect] += 1
            for name in wanted:
                outcome.rows.setdefault((flavour, recorded.dialect, name), [])
            answered = server.answer(recorded, flavour)
            for finding in compare(recorded, answered, flavour, wanted):
                outcome.rows.setdefault((flavour, recorded.dialect, finding.kind), []).append(finding)
                reason = rules.explained(finding)
                if reason:
                    outcome.explained[reason] += 1
                else:
                    outcome.unexplained.append(finding)
    return outcome


def _newest(chosen: Iterable[tuple[str, Recorded]], *, older: bool) -> Iterable[tuple[str, Recorded, set[str]]]:
    """Each recording that is the newest with some kind of event, and these kinds; with `older`, all and all kinds.

    Streams, whole replies and errors of each status are taken apart. Of those with a date, what is much older than the
    newest (`AGE`) is left out; what has none comes last.
    """
    newest: dict[tuple[str, ...], float] = {}
    seen: set[tuple[str, ...]] = set()
    for flavour, recorded in sorted(chosen, key=lambda one: -one[1].date):
        form = str(recorded.status) if recorded.status >= 400 else "stream" if recorded.stream else "whole"
        every = set(kinds(recorded.dialect, recorded.events)) | {"message"}
        if not older and 0 < recorded.date < newest.setdefault((flavour, recorded.dialect, form), recorded.date) - AGE:
            continue
        # A recording that kept its content type alone says nothing of headers.
        every |= {"headers"} if recorded.headers is not None and len(recorded.headers) > 3 else set()
        wanted = {name for name in every if older or (flavour, recorded.dialect, form, name) not in seen}
        seen |= {(flavour, recorded.dialect, form, name) for name in wanted}
        if wanted:
            yield flavour, recorded, wanted


# ------------------------------------------------------------------------------------------------------ the report

_COLUMNS = ("missing", "extra", "type", "order", "other")


def table(outcome: Outcome) -> list[str]:
    """The table: a line for each flavour, dialect and kind of event, and the total."""
    unexplained = set(map(id, outcome.unexplained))
    lines = [
        f"{'flavour':<12}{'dialect':<20}{'kind of event':<34}"
        + "".join(f"{name:>9}" for name in _COLUMNS)
        + f"{'meant':>9}"
    ]
    total: Counter[str] = Counter()
    for (flavour, dialect, kind), findings in sorted(outcome.rows.items()):
        counts: Counter[str] = Counter()
        for finding in findings:
            column = finding.what if finding.what in _COLUMNS else "other"
            counts[column if id(finding) in unexplained else "meant"] += 1
        total += counts
        lines.append(
            f"{flavour:<12}{dialect:<20}{kind:<34}"
            + "".join(f"{counts[name] or '.':>9}" for name in (*_COLUMNS, "meant"))
        )
    lines.append(f"{'total':<66}" + "".join(f"{total[name]:>9}" for name in (*_COLUMNS, "meant")))
    return lines


def report(outcome: Outcome, rules: Rules, *, verbose: bool, complete: bool) -> None:
    """Print what came of it."""
    print("\n".join(table(outcome)))
    print(f"\n{sum(outcome.compared.values())} recordings compared.")
    for finding in outcome.unexplained:
        print(f"differs: {finding}\n         {finding.name}")
    for reason, count in outcome.explained.most_common():
        print(f"meant, {count} times: {reason}")
    for reason, count in outcome.skipped.most_common():
        print(f"not compared, {count} recordings: {reason}")
    for line in outcome.failed:
        print(f"not read: {line}")
    if complete:
        for index, rule in enumerate(rules.allows):
            if index not in rules.used:
                print(f"explains nothing any more: {rule}")


def main(given: list[str] | None = None) -> int:
    """Compare, and print the table, the total and every difference that no rule explains."""
    parser = argparse.ArgumentParser(prog="scripts/fidelity", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=USUAL, help="recordings of any form, in any order")
    parser.add_argument("--flavour", type=lambda text: text.split(","), default=[], help="only these")
    parser.add_argument("--dialect", type=lambda text: text.split(","), default=[], help="only these")
    parser.add_argument("--all", action="store_true", dest="older", help="all recordings, not only the newest")
    parser.add_argument("--rules", type=Path, default=RULES, help="the file of exceptions")
    chosen = parser.parse_args(given)
    if not chosen.folder.is_dir():
        print(f"fidelity: {chosen.folder} is no folder", file=sys.stderr)
        return 2
    rules = Rules(chosen.rules)
    outcome = run(chosen.folder, rules, flavours=chosen.flavour, dialects=chosen.dialect, older=chosen.older)
    report(outcome, rules, verbose=False, complete=not (chosen.flavour or chosen.dialect or chosen.older))
    if not outcome.compared:
        print("fidelity: there is nothing to compare", file=sys.stderr)
        return 2
    return 1 if outcome.unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())

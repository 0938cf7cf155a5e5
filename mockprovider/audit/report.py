"""The forms of a report: JSON, a page of HTML, JUnit's XML, Markdown, a badge; and several of them as one."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mockprovider.audit.expected import due
from mockprovider.audit.model import FORMAT, AuditError, Class, Report
from mockprovider.cases import Case, cases

__all__ = ["badge", "html", "junit", "load", "markdown", "merged", "regressions", "totals", "write"]

Described = Mapping[str, Any]
"""A report as JSON; see `Report.describe`."""

_SIGNS = {
    Class.OK: "✓",
    Class.NON_STRICT: "≈",
    Class.INFORMATIONAL: "i",
    Class.SKIPPED: "·",
    Class.FAILED: "✗",
    Class.SILENT_LOSS: "**!**",
}


def write(folder: Path, reports: Sequence[Report | Described]) -> None:
    """Write every form into a folder, which is made if need be. AuditError where that cannot be."""
    described = [report.describe() if isinstance(report, Report) else report for report in reports]
    forms = {
        "index.html": html(described),
        "report.json": json.dumps(described, ensure_ascii=False, indent=1),
        "junit.xml": junit(described),
        "report.md": markdown(described),
        "badge.svg": badge(described),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in forms.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise AuditError(f"--report {folder}: {error.strerror or error}") from error


def load(path: Path) -> list[dict[str, Any]]:
    """The reports in a folder or in a file of JSON. AuditError for what is none."""
    file = path / "report.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AuditError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise AuditError(f"{file}: no report of an audit: {error}") from error
    listed = document if isinstance(document, list) else [document]
    for report in listed:
        version = report.get("mockprovider-audit") if isinstance(report, dict) else None
        if version != FORMAT:
            raise AuditError(f"{file}: expected the report of an audit, of version {FORMAT}, got version {version!r}")
    return listed


def merged(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The reports of several folders, in their order; of two of the same client and dialect, the later one."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for folder in folders:
        for report in load(folder):
            found[report["client"], report["dialect"]] = report
    return list(found.values())


# ------------------------------------------------------------------------------------------------ HTML


def html(reports: Sequence[Described], *, logs: str = "all") -> str:
    """The matrix with a page behind each cell, in one file that asks no other host for anything.

    logs: for which cells what was sent is in it: `all`, `failures`, `none`.
    """
    names = _names(reports)
    cells = []
    for name in names:
        row = []
        for report in reports:
            cell = _by_name(report).get(name)
            row.append(cell if cell is None else _as_logged(cell, logs))
        cells.append(row)
    data = {
        "clients": [{key: value for key, value in report.items() if key != "cases"} for report in reports],
        "cases": [_described(cases()[name]) for name in names],
        "cells": cells,
    }
    packed = gzip.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0)
    template = resources.files("mockprovider.audit").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("@@DATA@@", base64.b64encode(packed).decode())


def _names(reports: Sequence[Described]) -> list[str]:
    """The cases of all reports, in the catalogue's order."""
    known = {cell["case"] for report in reports for cell in report["cases"]}
    return [name for name in cases() if name in known]


def _by_name(report: Described) -> dict[str, dict[str, Any]]:
    return {cell["case"]: cell for cell in report["cases"]}


def _described(case: Case) -> dict[str, Any]:
    wanted = ("name", "family", "wire", "expect", "must", "accept", "contestable", "attempts", "notes", "evidence")
    described = {key: getattr(case, key) for key in (*wanted, "citations", "faults")}
    described["due"] = due(case).whole if case.available else None
    return described


def _as_logged(cell: dict[str, Any], logs: str) -> dict[str, Any]:
    if logs == "all" or (logs == "failures" and Class(cell["class"]).rank >= Class.FAILED.rank):
        return cell
    return {**cell, "requests": [{**request, "writes": None} for request in cell.get("requests", [])]}


# ------------------------------------------------------------------------------------------------ for other programs


def junit(reports: Sequence[Described]) -> str:
    """The report as JUnit's XML: a suite a client, a test a case. NON-STRICT passes; what is worse fails."""
    root = ElementTree.Element("testsuites", name="mockprovider audit")
    for report in reports:
        totals = report["totals"]
        failures = totals[Class.FAILED] + totals[Class.SILENT_LOSS]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{report['client']} ({report['dialect']})",
            tests=str(len(report["cases"])),
            failures=str(failures),
            errors=str(int(report["refused"] is not None)),
            skipped=str(totals[Class.SKIPPED]),
            time=str(report["seconds"]),
            timestamp=report["date"].removesuffix("Z"),
        )
        if report["refused"] is not None:
            control = ElementTree.SubElement(suite, "testcase", classname="control", name="control")
            ElementTree.SubElement(control, "error", message=_xml(report["refused"]))
        for cell in report["cases"]:
            _test(suite, cell)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _test(suite: ElementTree.Element, cell: Mapping[str, Any]) -> None:
    family = cases()[cell["case"]].family if cell["case"] in cases() else "unknown"
    test = ElementTree.SubElement(
        suite, "testcase", classname=family, name=cell["case"], time=str(cell.get("seconds", 0))
    )
    kind = Class(cell["class"])
    if kind is Class.SKIPPED:
        ElementTree.SubElement(test, "skipped", message=_xml(cell["why"]))
    elif kind.rank >= Class.FAILED.rank:
        failure = ElementTree.SubElement(test, "failure", type=str(kind), message=_xml(cell["why"]))
        failure.text = _xml(f"content: {cell['content']}; ending: {cell['ending']}\n" + "\n".join(cell["notes"]))


def _xml(text: str) -> str:
    """The text without characters that XML 1.0 section 2.2 forbids."""
    allowed = (0x9, 0xA, 0xD)
    return "".join(
        char if ord(char) in allowed or 0x20 <= ord(char) < 0xD800 or 0xE000 <= ord(char) < 0xFFFE or ord(char) > 0xFFFF
        else "�"
        for char in text
    )  # fmt: skip


def markdown(reports: Sequence[Described]) -> str:
    """Totals a client, then the cases that some client does not pass, as tables."""
    audited = [report for report in reports if report["refused"] is None]
    columns = " | ".join(_row(report["client"]) for report in audited)
    lines = [totals(reports), f"| case | {columns} |", f"|---|{':-:|' * len(audited)}"]
    for name in _names(audited):
        found = [_by_name(report).get(name) for report in audited]
        if any(cell is not None and Class(cell["class"]).rank >= Class.FAILED.rank for cell in found):
            signs = [_SIGNS[Class(cell["class"])] if cell is not None else "" for cell in found]
            lines.append(f"| {name} | {' | '.join(signs)} |")
    signs_told = ", ".join(f"{_SIGNS[kind]} {kind}" for kind in _KINDS)
    return "\n".join([*lines, "", f"Signs: {signs_told}.", ""])


_KINDS = (Class.SILENT_LOSS, Class.FAILED, Class.NON_STRICT, Class.OK, Class.INFORMATIONAL, Class.SKIPPED)


def totals(reports: Sequence[Described]) -> str:
    """A table of Markdown: how many cases of each class a client has."""
    lines = [f"| client | dialect | {' | '.join(_KINDS)} |", f"|---|---|{'---:|' * len(_KINDS)}"]
    for report in reports:
        counts = ["–" if report["refused"] is not None else str(report["totals"][kind]) for kind in _KINDS]
        lines.append(f"| {_row(report['client'])} | {report['dialect']} | {' | '.join(counts)} |")
    return "\n".join([*lines, ""])


def _row(text: str) -> str:
    return text.replace("|", "\\|")


def badge(reports: Sequence[Described]) -> str:
    """A small picture for a README: how many cases pass, and whether text is lost in silence."""
    passed = sum(report["totals"][kind] for report in reports for kind in (Class.OK, Class.NON_STRICT))
    judged = passed + sum(report["totals"][kind] for report in reports for kind in (Class.FAILED, Class.SILENT_LOSS))
    losses = sum(report["totals"][Class.SILENT_LOSS] for report in reports)
    said = f"{passed}/{judged}" + (f", {losses} silent" if losses else "")
    colour = "#5b1a3a" if losses else "#00785a" if passed == judged else "#b06f00"
    left, right = 88, 14 + 7 * len(said)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img"'
        f' aria-label="stream audit: {said}"><title>stream audit: {said}</title>'
        f'<rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14">stream audit</text><text x="{left + right / 2}" y="14">{said}</text></g></svg>\n'
    )


# ------------------------------------------------------------------------------------------------ for CI


def regressions(
    reports: Sequence[Described], worst: Class, baseline: Sequence[Described] = ()
) -> list[tuple[str, str, Class]]:
    """(client, case, class) of each case that is `worst` or worse, and worse than in the baseline where it is there."""
    known = {
        (report["client"], report["dialect"], cell["case"]): Class(cell["class"])
        for report in baseline
        for cell in report["cases"]
    }
    found = []
    for report in reports:
        for cell in report["cases"]:
            kind = Class(cell["class"])
            before = known.get((report["client"], report["dialect"], cell["case"]))
            if kind.rank >= worst.rank and (before is None or kind.rank > before.rank):
                found.append((report["client"], cell["case"], kind))
    return found

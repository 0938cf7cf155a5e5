"""The published audit: its clients are all in the matrix, and some of its findings come out again with each run."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from mockprovider.audit import Audit, AuditError, CallableClient, Class, Options
from scripts.audit_clients import main, vendors

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "scripts" / "audit_clients"

KNOWN: dict[str, dict[str, tuple[str, str, str]]] = {
    "openai": {
        "sse-eof-no-finish": (Class.SILENT_LOSS, "partial", "complete"),
        "http-200-empty-body": (Class.SILENT_LOSS, "empty", "complete"),
        "http-200-html": (Class.SILENT_LOSS, "empty", "complete"),
        "sse-unicode-separators": (Class.OK, "full", "complete"),
        "sse-no-space": (Class.OK, "full", "complete"),
        "rst-mid-stream": (Class.OK, "partial", "raised"),
        "json-truncated-event": (Class.NON_STRICT, "partial", "crashed"),
        "http-429-insufficient-quota": (Class.NON_STRICT, "empty", "raised"),
    },
    "httpx-lines": {
        "sse-eof-no-finish": (Class.SILENT_LOSS, "partial", "complete"),
        "sse-unicode-separators": (Class.FAILED, "partial", "crashed"),
        "sse-no-space": (Class.SILENT_LOSS, "empty", "complete"),
    },
    "httpx-lines-unchecked": {
        "http-401-bad-key": (Class.SILENT_LOSS, "empty", "complete"),
        "http-429-retry-after-ms": (Class.SILENT_LOSS, "empty", "complete"),
    },
    "reads": {
        "json-split": (Class.SILENT_LOSS, "empty", "complete"),
        "utf8-split": (Class.SILENT_LOSS, "partial", "complete"),
    },
    "anthropic": {
        "ant-cut-before-stop-reason": (Class.SILENT_LOSS, "partial", "complete"),
        "rst-mid-stream": (Class.NON_STRICT, "partial", "crashed"),
    },
}
"""What was found on each client and is found again, by client and case."""


@pytest.mark.parametrize("key", KNOWN)
def test_findings_come_out_again(key: str) -> None:
    """The clients whose packages the tests have do in these cases what the published matrix says."""
    spec = vendors.CLIENTS[key]
    options = Options(
        cases=",".join(KNOWN[key]), dialect=spec.dialect, can=spec.can, cannot=spec.cannot, runs=1, jobs=3
    )
    report = Audit(CallableClient(spec.function, spec.name, spec.own), options).run()
    assert {result.case: result.run.verdict.key for result in report.results if result.run} == KNOWN[key]


@pytest.mark.parametrize("key", ["sseclient-py-lines", "all-json"])
def test_tutorials_that_fail_on_a_perfect_stream_are_refused(key: str) -> None:
    """The two tutorials that get no stream right are told so, and not audited."""
    spec = vendors.CLIENTS[key]
    with pytest.raises(AuditError, match="does not get a perfect stream right"):
        Audit(CallableClient(spec.function, spec.name, spec.own), Options(cases="sse-crlf")).run()


def test_every_client_has_its_column() -> None:
    """The order of the columns names each client of each group, once."""
    known = ["curl"]
    for file in FOLDER.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        known += re.findall(r'@spec\(\s*CLIENTS,\s*"([\w-]+)"', text) + re.findall(
            r'^_enter\(\s*"([\w-]+)"', text, re.M
        )
    assert sorted(main.ORDER) == sorted(known)
    assert len(known) >= 20


def test_the_script_is_sound_bash_and_its_versions_are_pinned() -> None:
    """It parses, and every package of its environments has one version and no address."""
    subprocess.run(["bash", "-n", ROOT / "scripts" / "audit-clients"], check=True)
    for name in set(main.GROUPS.values()):
        for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").split():
            assert re.fullmatch(r"[\w.-]+==[\w.+]+", line), line
    assert "resolved" not in (FOLDER / "node" / "package-lock.json").read_text(encoding="utf-8")


def test_the_page_about_clients_is_that_of_the_published_matrix() -> None:
    """docs/clients.md has the totals of every client that docs/clients.html shows, with its version."""
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    matrix = (ROOT / "docs" / "clients.html").read_text(encoding="utf-8")
    reports = load_embedded(matrix)
    assert len(reports) == len(main.ORDER)
    for report in reports:
        assert f"| {report['client']} | {report['dialect']} |" in page
    assert len(matrix) < 1_600_000


def load_embedded(matrix: str) -> list[dict[str, str]]:
    """The clients in the data of a page."""
    found = re.search(r'id="data">(.*?)</script>', matrix, re.DOTALL)
    assert found is not None
    clients: list[dict[str, str]] = json.loads(gzip.decompress(base64.b64decode(found[1])))["clients"]
    return clients

"""The report of an audit: a page that works alone, forms for other programs, several as one, and regressions."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from mockprovider.audit import Audit, AuditError, CallableClient, Class, Content, Options, audit
from mockprovider.audit.report import badge, html, junit, load, markdown, merged, regressions, write
from mockprovider.audit.text import compare, difference
from mockprovider.cli import main
from tests.audited import CAN, naive, strict
from tests.clients import browser

if TYPE_CHECKING:
    from mockprovider.audit import Report, Task

CASES = "sse-[ce]*"


@cache
def reports() -> tuple[Report, Report]:
    """The audits of both reference clients over a few cases."""
    first = audit(strict, name="strict 1.0", own=("strict",), cases=CASES, can=CAN, jobs=4, reproduce="again {case}")
    second = audit(naive, name="naive", cases=CASES, jobs=4, runs=1)
    return first, second


@pytest.fixture
def described() -> list[dict[str, Any]]:
    """Both as JSON, as it comes back from a file."""
    return [json.loads(json.dumps(report.describe())) for report in reports()]


# ------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("heard", "found"),
    [
        ("The tide turned.", Content.FULL),
        ("", Content.EMPTY),
        ("The tide", Content.PARTIAL),
        ("The turned.", Content.PARTIAL),
        ("The tide turned. And on.", Content.EXTRA),
        ("The tide tide turned.", Content.EXTRA),
        ("The ride turned.", Content.ALTERED),
        ("hed", Content.ALTERED),
    ],
)
def test_what_became_of_a_text(heard: str, found: Content) -> None:
    """A cut, a gap, a repetition and another letter are told apart; stray letters are no part of a text."""
    assert compare("The tide turned.", heard) is found


def test_surrogates_are_compared_as_characters() -> None:
    """A pair in two pieces is its character, and a lone one is U+FFFD."""
    assert compare("a\ud83d\ude00b", "a😀b") is Content.FULL
    assert compare("a\udcafb", "a�b") is Content.FULL


def test_where_texts_part_is_told_in_words() -> None:
    """The message says after how many characters, and what is there instead."""
    assert difference("abcdef", "abc") == "it ends after 3 of 6 characters"
    assert difference("abc", "abcdef") == "after all 3 characters come 3 more: 'def'"
    assert difference("abc", "axc") == "from character 1 on it is 'xc' instead of 'bc'"


# ------------------------------------------------------------------------------------------------ the page

PROBE = """
<script type="module">
const matrix = document.getElementById("matrix");
const until = async (test) => { while (!test()) await new Promise((go) => setTimeout(go, 20)); };
await until(() => document.documentElement.dataset.ready);
const rows = () => [...document.querySelectorAll("tr[data-case]")].map((row) => row.dataset.case);
const texts = (selector) => [...document.querySelectorAll(selector)].map((cell) => cell.textContent);
const seen = { all: rows().length, clients: texts("thead th") };
seen.sign = document.querySelector('tr[data-case="sse-eof-no-finish"]').lastChild.textContent;
seen.label = document.querySelector('tr[data-case="sse-eof-no-finish"] a:last-child').getAttribute("aria-label");
const type = (id, value) => {
  const box = document.getElementById(id);
  box.value = value;
  box.dispatchEvent(new Event("input"));
};
type("find", "cr");
seen.found = rows();
type("find", "");
for (const box of document.querySelectorAll("#kinds input")) if (box.value !== "SILENT LOSS") box.click();
seen.losses = rows();
document.querySelector('tr[data-case="sse-eof-no-finish"] td:last-child a').click();
await until(() => matrix.hidden);
seen.page = document.getElementById("cell").innerText;
seen.links = [...document.querySelectorAll("#cell a")].map((link) => link.href);
location.hash = "";
await until(() => !matrix.hidden);
seen.hosts = performance.getEntriesByType("resource").map((entry) => entry.name);
await fetch("/result", { method: "POST", body: JSON.stringify(seen) });
</script>
"""


def test_the_page_has_a_matrix_a_filter_and_a_page_for_each_cell(
    tmp_path: Path, described: list[dict[str, Any]]
) -> None:
    """In Chromium the matrix shows every case and client, filters work, a cell leads to its log, and nothing is asked
    of another host."""
    if browser.find() is None:
        pytest.skip("Chromium is not installed")
    seen = browser.result_of(html(described).replace("</html>", PROBE + "</html>"), "", tmp_path)
    names = [cell["case"] for cell in described[0]["cases"]]
    assert seen["all"] == len(names)
    assert seen["clients"] == ["case", "strict 1.0", "naive"]
    assert seen["sign"] == "!"
    assert seen["label"].startswith("strict 1.0, sse-eof-no-finish: OK")
    assert sorted(seen["found"]) == sorted(name for name in names if "cr" in name)
    losses = [cell["case"] for cell in described[1]["cases"] if cell["class"] == "SILENT LOSS"]
    assert sorted(seen["losses"]) == sorted(losses)
    assert "sse-eof-no-finish" in losses
    for part in ("SILENT LOSS", "content: partial; ending: complete", "┃ HTTP/1.1 200 OK", "mockprovider cases"):
        assert part in seen["page"], part
    assert "https://github.com/BerriAI/litellm/issues/40260" in seen["links"]
    assert seen["hosts"] == []


def test_every_class_has_a_sign_of_its_own() -> None:
    """The matrix can be read without its colours: no two classes share a sign, and the page knows all of them."""
    page = html([])
    signs = dict(re.findall(r'"?([A-Z][A-Z -]+)"?: "(.)"', re.search(r"const SIGNS = \{(.*?)\};", page)[1]))  # type: ignore[index]
    assert set(signs) == set(Class)
    assert len(set(signs.values())) == len(signs)


def test_what_was_sent_can_be_left_out(described: list[dict[str, Any]]) -> None:
    """A page may have the logs of failures alone, or none, and is smaller then."""
    sizes = [len(html(described, logs=logs)) for logs in ("none", "failures", "all")]
    assert sizes == sorted(set(sizes))


# ------------------------------------------------------------------------------------------------ other forms


def test_the_folder_has_every_form(tmp_path: Path, described: list[dict[str, Any]]) -> None:
    """Writing a report makes the page, JSON, JUnit's XML, Markdown and the badge, and JSON can be loaded again."""
    write(tmp_path / "new" / "report", reports())
    made = sorted(path.name for path in (tmp_path / "new" / "report").iterdir())
    assert made == ["badge.svg", "index.html", "junit.xml", "report.json", "report.md"]
    assert load(tmp_path / "new" / "report") == described


def test_junit_has_a_suite_for_each_client(described: list[dict[str, Any]]) -> None:
    """What is FAILED or worse is a failure, what does not apply is skipped, all else passes."""
    root = ElementTree.fromstring(junit(described))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["strict 1.0 (openai-chat)", "naive (openai-chat)"]
    assert suites["strict 1.0 (openai-chat)"].get("failures") == "0"
    failed = [test.get("name") for test in suites["naive (openai-chat)"] if test.find("failure") is not None]
    assert "sse-eof-no-finish" in failed
    assert len(failed) == int(suites["naive (openai-chat)"].get("failures", "0"))
    [test] = [test for test in suites["naive (openai-chat)"] if test.get("name") == "sse-eof-no-finish"]
    assert test.find("failure").get("type") == "SILENT LOSS"  # type: ignore[union-attr]


def test_markdown_lists_what_somebody_fails(described: list[dict[str, Any]]) -> None:
    """The first table has the totals, the second each case that some client fails."""
    lines = markdown(described).splitlines()
    assert lines[2].startswith("| strict 1.0 | openai-chat | 0 | 0 |")
    assert "| sse-eof-no-finish | ✓ | **!** |" in lines
    assert not any(line.startswith("| sse-crlf |") for line in lines)


def test_the_badge_counts_and_names_silent_losses(described: list[dict[str, Any]]) -> None:
    """It is well-formed, and says how many cases pass and how many lose text in silence."""
    losses = described[1]["totals"]["SILENT LOSS"]
    assert ElementTree.fromstring(badge(described)).get("aria-label", "").endswith(f", {losses} silent")
    good = badge(described[:1])
    assert re.search(r"stream audit: (\d+)/\1<", good)


def test_a_refused_client_stays_in_the_matrix(described: list[dict[str, Any]]) -> None:
    """A client that fails the control run has a report that says so, in every form."""

    def mute(task: Task) -> str:
        return ""

    refused = Audit(CallableClient(mute), Options(cases="sse-crlf"))
    with pytest.raises(AuditError) as caught:
        refused.run()
    report = refused.refusal(caught.value)
    assert "perfect stream" in str(report)
    both = [*described, report.describe()]
    assert "| mute | openai-chat | – | – |" in markdown(both)
    assert 'errors="1"' in junit(both)
    assert html(both)


def test_audits_are_merged_and_the_later_of_the_same_client_counts(tmp_path: Path) -> None:
    """Folders become one matrix in their order, and one of another version is refused by name."""
    first, second = reports()
    for folder, listed in (("a", [first]), ("b", [second]), ("c", [first])):
        write(tmp_path / folder, listed)
    code = main(["audit-merge", *[str(tmp_path / name) for name in "abc"], "--report", str(tmp_path / "all")])
    assert code == 0
    assert [report["client"] for report in load(tmp_path / "all")] == ["strict 1.0", "naive"]
    assert len(merged([tmp_path / "a", tmp_path / "all"])) == 2
    (tmp_path / "old.json").write_text('{"mockprovider-audit": 99}')
    with pytest.raises(AuditError, match=r"old\.json: expected the report of an audit, of version 1, got version 99"):
        load(tmp_path / "old.json")
    with pytest.raises(AuditError, match="No such file"):
        load(tmp_path / "none.json")


def test_only_what_is_worse_than_the_baseline_is_a_regression(described: list[dict[str, Any]]) -> None:
    """Without a baseline every bad case counts; with one, only those that are worse in it or new."""
    [_, bad] = described
    losses = [cell["case"] for cell in bad["cases"] if cell["class"] == "SILENT LOSS"]
    assert [case for _, case, _ in regressions([bad], Class.SILENT_LOSS)] == losses
    assert regressions([bad], Class.FAILED, [bad]) == []
    before = json.loads(json.dumps(bad))
    before["cases"] = [cell for cell in before["cases"] if cell["case"] != losses[0]]
    for cell in before["cases"]:
        if cell["case"] == losses[1]:
            cell["class"] = "FAILED"
    assert [case for _, case, _ in regressions([bad], Class.FAILED, [before])] == losses[:2]


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_tells_and_fails_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`audit --fail-on` ends with 1 where a case is that bad, with 0 under a baseline that knows it, and tells why."""
    given = ["audit", "--call", "tests.audited:naive", "--cases", "sse-eof*", "--runs", "1", "--fail-on", "silent-loss"]
    assert main([*given, "--report", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "SILENT LOSS sse-eof-no-finish: content partial, ending complete" in told.out
    assert "tests.audited:naive (openai-chat): 1 SILENT LOSS" in told.out
    assert "--fail-on silent-loss: tests.audited:naive: sse-eof-no-finish is SILENT LOSS" in told.err
    assert main([*given, "--baseline", str(tmp_path / "report.json")]) == 0
    [report] = load(tmp_path)
    assert report["reproduce"] == "mockprovider audit --cases {case} --call tests.audited:naive"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "expected a command after --"),
        (["--call", "tests.audited"], "expected MODULE:FUNCTION, got 'tests.audited'"),
        (["--call", "tests.audited:nobody"], "--call tests.audited:nobody: "),
        (["--call", "tests.audited:strict", "--", "curl"], "give either --call or a command, not both"),
        (["--baseline", "nothing.json", "--", "curl"], "nothing.json: No such file"),
        (["--cases", "sse-crlf", "--", "true"], "does not get a perfect stream right"),
    ],
)
def test_bad_usage_of_the_command_is_told(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be audited ends with 2 and says why."""
    assert main(["audit", *given]) == 2
    assert message in capsys.readouterr().err


def test_a_page_in_a_browser_is_audited(tmp_path: Path) -> None:
    """A page that takes tasks and reports by `fetch` is judged like every client, its preflights not counted."""
    name = browser.find()
    if name is None:
        pytest.skip("Chromium is not installed")
    page = Path(__file__).parent.parent / "docs" / "audit-page.html"
    given = ["audit", "--page", str(page), "--cases", "http-402-credits,sse-eof-no-finish"]
    given += ["--report", str(tmp_path), "--runs", "1", "--cannot", "gzip"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    assert main([*given, "--", name, *browser.SWITCHES, profile, "{page}"]) == 0
    [report] = load(tmp_path)
    found = {cell["case"]: (cell["class"], cell["content"], cell["ending"]) for cell in report["cases"]}
    assert found == {
        "http-402-credits": ("OK", "empty", "raised"),
        "sse-eof-no-finish": ("SILENT LOSS", "partial", "complete"),
    }
    assert all(len(cell["requests"]) == 1 for cell in report["cases"])

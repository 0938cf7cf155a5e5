"""Every example in README.md and docs/ does what the document says; documents.py tells how they are found."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.clients import browser
from tests.documents import Example, examples_in, examples_of
from tests.serving import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ServerOf = Callable[[Example], Serving]

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sys.executable).parent
ADDRESS = "127.0.0.1:8000"
EXAMPLES = examples_of(ROOT)
TIMEOUT_S = 100
# A first `scripts/serve` or `pip install .` downloads what it needs.
INSTALL_S = 100
NO_PROXY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
# Added to a page: it tells the page's own server what is shown, once the wanted text has come or is overdue.
REPORT = """
<script type="module">
const end = Date.now() + 30000;
while (!document.body.innerText.includes(WANTED) && Date.now() < end) {
  await new Promise((resume) => setTimeout(resume, 20));
}
await fetch("/result", { method: "POST", body: JSON.stringify(document.body.innerText) });
</script>
"""


def params(*languages: str, server: bool = False) -> list[object]:
    """The examples in these languages as parameters: those that start a server, or those that do not."""
    return [
        pytest.param(
            example,
            id=str(example),
            marks=[pytest.mark.network] if example.mark("install") is not None else [],
        )
        for example in EXAMPLES
        if example.language in languages and (example.mark("server") is not None) == server
    ]


def is_test(example: Example) -> bool:
    """Whether an example in Python is for pytest to run."""
    return re.search(r"^(async )?def test_", example.code, re.MULTILINE) is not None


def environment(scripts: Path = SCRIPTS) -> dict[str, str]:
    """The environment of a shell in which a virtual environment is active, given its folder of programs."""
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return {**NO_PROXY, "PATH": path, "VIRTUAL_ENV": str(scripts.parent)}


def ran(*command: str, given: str = "") -> str:
    """What a command that must succeed prints."""
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment()},
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, f"exit code {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def started(code: str, scripts: Path = SCRIPTS) -> contextlib.AbstractContextManager[Serving]:
    """Run a block whose last line starts a server, on a free port and in place of the shell."""
    *before, last = code.rstrip("\n").split("\n")
    script = "\n".join([*before, f"exec {last} --port 0"])
    shell = ("bash", "-euo", "pipefail", "-c", script)
    return serving(*shell, cwd=ROOT, env=environment(scripts), start_s=INSTALL_S)


@pytest.fixture(scope="module")
def server_of() -> Iterator[ServerOf]:
    """The server that an example talks to: started when first asked for, then reset for each example."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def find(command: str) -> Serving:
            return running.enter_context(started(command))

        def fresh(example: Example) -> Serving:
            server = find(example.server or "mockprovider serve")
            httpx.post(f"{server.url}/_mock/reset", trust_env=False).raise_for_status()
            return server

        yield fresh


def addressed(example: Example, server_of: ServerOf) -> str:
    """The example's code with the address of its server, which is started only where it is talked to."""
    if ADDRESS not in example.code:
        return example.code
    return example.code.replace(ADDRESS, server_of(example).url.removeprefix("http://"))


@pytest.mark.parametrize("example", params("bash", server=True))
def test_a_block_that_starts_a_server_does(example: Example, tmp_path: Path) -> None:
    """The server starts, prints a `curl -N` line that brings a whole stream when pasted, and ends well."""
    scripts = SCRIPTS
    if example.mark("install") is not None:
        venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
        scripts = tmp_path / "venv" / "bin"
    with started(example.code, scripts) as server:
        line = server.printed(r"\bcurl -N .*$")[0]
        assert ran("bash", "-euc", line).endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("example", params("bash"))
def test_a_shell_block_works(example: Example, server_of: ServerOf) -> None:
    """The commands succeed against the server they are written for, and print what the document says."""
    code = " ".join([addressed(example, server_of).rstrip(), example.mark("add") or ""])
    assert (example.mark("prints") or "") in ran("bash", "-euo", "pipefail", "-c", code)


@pytest.mark.parametrize("example", params("python"))
def test_a_python_block_works(example: Example, server_of: ServerOf, pytester: pytest.Pytester) -> None:
    """The program succeeds and prints what the document says; an example of a test passes under pytest.

    One that stands in tests/examples is run there, with all the other tests; here, it is the same text.
    """
    if file := example.mark("example"):
        assert (ROOT / "tests" / "examples" / file).read_text(encoding="utf-8").endswith(f"\n\n{example.code}")
    elif is_test(example):
        pytester.makepyfile(example.code)
        outcomes = pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes()
        assert set(outcomes) == {"passed"}, outcomes
    else:
        assert (example.mark("prints") or "") in ran(sys.executable, "-", given=addressed(example, server_of))


@pytest.mark.parametrize("example", params("html"))
def test_a_page_works(example: Example, server_of: ServerOf, tmp_path: Path) -> None:
    """The page, on an origin of its own, comes to show what the document says."""
    if browser.find() is None:
        pytest.skip("Chromium is not installed")
    wanted = example.mark("prints")
    assert wanted, "a page needs the mark `prints TEXT`"
    report = REPORT.replace("WANTED", json.dumps(wanted))
    assert wanted in browser.result_of(addressed(example, server_of) + report, "", tmp_path)


def test_every_example_is_run() -> None:
    """Each example belongs to exactly one of the tests above, and README.md has some of each kind."""
    tested = [*params("bash", server=True), *params("bash"), *params("python"), *params("html")]
    assert len(tested) == len(EXAMPLES)
    readme = [example for example in EXAMPLES if example.file == "README.md"]
    assert {example.language for example in readme} == {"bash", "python", "html"}
    assert sum(example.language == "python" and is_test(example) for example in readme) == 2
    assert [example.last_line for example in readme[:3]] == [
        "scripts/serve",
        "scripts/test",
        "mockprovider serve",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("```rust\n1\n```\n", "no test runs the language 'rust'"),
        ("```\n1\n```\n", "no test runs the language ''"),
        ("```bash\ntrue\n", "the block is not closed"),
        ("<!-- test: skip -->\n```bash\ntrue\n```\n", "not a mark of a test: 'skip'"),
        ("<!-- test: prints -->\n```bash\ntrue\n```\n", "not a mark of a test: 'prints'"),
        ("<!-- test: server 1 -->\n```bash\ntrue\n```\n", "not a mark of a test: 'server 1'"),
        ("<!-- test: server -->\ntext\n```bash\ntrue\n```\n", "the comment above marks no block"),
        ("<!-- test: server -->\n", "the last comment marks no block"),
    ],
)
def test_an_example_that_no_test_would_run_is_refused(text: str, reason: str) -> None:
    """A block in another language, with a mistaken mark or without an end fails the tests, and says why."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        examples_in(text, "page.md")


def test_an_example_knows_its_marks_and_its_server() -> None:
    """A block carries the marks before it and the command of the nearest server above it."""
    text = (
        "```bash\ntrue\n```\n<!-- test: server -->\n\n```bash\ncd .\nmockprovider serve --seed 1\n```\n"
        "<!-- test: prints a b; add --x -->\n~~~python\nprint()\n```\n~~~\n"
    )
    first, second, third = examples_in(text, "page.md")
    assert (first.code, first.marks, first.server) == ("true\n", (), None)
    assert (second.mark("server"), second.server, second.line) == ("", None, 6)
    assert (third.language, third.code) == ("python", "print()\n```\n")
    assert (third.mark("prints"), third.mark("add"), third.mark("install")) == ("a b", "--x", None)
    assert third.server == "mockprovider serve --seed 1"


def test_links_in_the_documents_lead_somewhere() -> None:
    """Each relative link in README.md, docs/ and scripts/README.md names a file that is there."""
    for file in [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "scripts" / "README.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"

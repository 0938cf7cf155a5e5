"""Installs real clients, each group in an environment of its own, audits them all, and writes one matrix."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "audit"
GROUPS = {
    "vendors": "vendors",
    "frameworks": "frameworks",
    "litellm_group": "litellm",
    "node_group": "vendors",
    "curl": "vendors",
}
"""Each group of clients, and the environment in which it is audited."""

ORDER = (
    "openai", "openai-async", "openai-helper", "openai-2", "anthropic", "anthropic-helper", "anthropic-async",
    "litellm-openai", "litellm-anthropic", "langchain-openai", "langchain-anthropic", "pydantic-ai-openai",
    "pydantic-ai-anthropic", "openai-agents", "instructor", "huggingface", "mistralai", "node-openai",
    "node-openai-helper", "node-anthropic", "node-anthropic-helper", "node-ai", "node-ai-full",
    "node-ai-anthropic-full", "httpx-sse", "sseclient-py", "sseclient-py-lines", "aiohttp-sse-client",
    "node-eventsource-parser", "node-fetch-event-source", "httpx-lines", "httpx-lines-unchecked", "requests-lines",
    "aiohttp-lines", "urllib-lines", "node-fetch", "curl", "reads", "node-fetch-reads", "all-json",
)  # fmt: skip
"""The columns of the matrix."""


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def stamped(folder: Path, source: Path) -> bool:
    """Whether a folder was made from this file, as it is."""
    stamp = folder / ".made-from"
    return stamp.is_file() and stamp.read_text() == hashlib.sha256(source.read_bytes()).hexdigest()


def stamp(folder: Path, source: Path) -> None:
    """Say so."""
    (folder / ".made-from").write_text(hashlib.sha256(source.read_bytes()).hexdigest())


def environment(name: str) -> Path:
    """The Python of an environment, which is installed if need be."""
    folder, wanted = CACHE / name, HERE / f"{name}.txt"
    python = folder / "bin" / "python"
    if not stamped(folder, wanted):
        say(f"installing {wanted.name}")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True, stdout=sys.stderr)
        stamp(folder, wanted)
    return python


def node() -> Path | None:
    """The folder of the Node clients, installed if need be; None where Node and npm are not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        say("Node or npm is not installed: its clients are left out")
        return None
    folder, wanted = CACHE / "node", HERE / "node" / "package-lock.json"
    if not stamped(folder, wanted):
        say("installing the Node packages")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "node" / name, folder)
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True, stdout=sys.stderr
        )
        stamp(folder, wanted)
    shutil.copy(HERE / "node" / "driver.mjs", folder)
    return folder


def audit(groups: list[str], given: argparse.Namespace) -> None:
    """Audit the groups, one after the other, each in its environment."""
    packages = node() if "node_group" in groups else None
    for group in groups:
        if group == "node_group" and packages is None:
            continue
        command: list[str | Path] = [environment(GROUPS[group]), "-m", "scripts.audit_clients.run", group, given.report]
        command += ["--cases", given.cases, "--jobs", str(given.jobs)]
        for key in given.only or ():
            command += ["--only", key]
        variables = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AUDIT_NODE": str(packages or ""),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        subprocess.run(command, cwd=ROOT, env=variables, check=True)


def merge(folder: Path) -> None:
    """One matrix of all reports in the folder."""
    from mockprovider.audit.report import load, write

    listed = [load(file)[0] for key in ORDER if (file := folder / f"{key}.json").is_file()]
    write(folder, listed)
    say(f"the matrix: {folder / 'index.html'}")


PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- totals: written by scripts/audit-clients --publish -->", "<!-- end of totals -->"


def publish(folder: Path) -> None:
    """Put the matrix into docs/, and the totals into the page about it. What was sent is kept where it matters."""
    from mockprovider.audit.report import html, load, totals

    # Stack traces, in messages too, have the paths of this machine.
    paths = re.compile(r'/(?:[\w.-]+/)+(?=[\w.-]+(?:\.(?:py|mjs|js)\b|\\"))')
    listed = json.loads(paths.sub("…/", json.dumps(load(folder))))
    (PAGE.parent / "clients.html").write_text(html(listed, logs="failures"), encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{totals(listed)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """What scripts/audit-clients does."""
    parser = argparse.ArgumentParser(prog="scripts/audit-clients", description=__doc__)
    parser.add_argument("--only", action="append", choices=ORDER, metavar="CLIENT", help="audit this one alone")
    parser.add_argument("--group", action="append", choices=GROUPS, help="audit this group alone")
    parser.add_argument("--cases", default="*", metavar="GLOB", help="only these cases")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="cases at a time (2)")
    parser.add_argument("--report", type=Path, default=CACHE / "report", metavar="DIR", help="where the matrix goes")
    parser.add_argument("--merge-only", action="store_true", help="audit nothing, only merge what is in --report")
    parser.add_argument("--publish", action="store_true", help="put the matrix into docs/")
    given = parser.parse_args()
    if not given.merge_only:
        audit(given.group or list(GROUPS), given)
    merge(given.report)
    if given.publish:
        publish(given.report)


if __name__ == "__main__":
    main()

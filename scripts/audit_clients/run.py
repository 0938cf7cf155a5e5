"""Audits the clients of one group in this environment: python -m scripts.audit_clients.run GROUP FOLDER [OPTION]..."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
from pathlib import Path

from mockprovider.audit import Audit, AuditError, CallableClient, CommandClient, Options
from mockprovider.audit.clients import Client
from scripts.audit_clients.spec import Spec

HERE = Path(__file__).parent


def clients(group: str) -> dict[str, Spec | None]:
    """The clients of a group by key; None stands for curl, which is a command."""
    if group == "curl":
        return {"curl": None}
    return dict(importlib.import_module(f"scripts.audit_clients.{group}").CLIENTS)


def client_of(key: str, spec: Spec | None) -> Client:
    """What the audit calls."""
    if spec is not None:
        return CallableClient(spec.function, spec.name, spec.own)
    return CommandClient([sys.executable, "-S", str(HERE / "curl-tutorial")], "curl -N tutorial")


def audit_one(key: str, spec: Spec | None, folder: Path, cases: str, jobs: int) -> None:
    """Audit a client and write its report; a client that is refused has one too."""
    began = time.monotonic()
    options = Options(
        cases=cases,
        dialect=spec.dialect if spec else "openai-chat",
        jobs=jobs,
        can=spec.can if spec else (),
        cannot=spec.cannot if spec else ("read-timeout",),
        reproduce=f"scripts/audit-clients --only {key} --cases {{case}}",
    )
    audit = Audit(client_of(key, spec), options)
    try:
        report = audit.run()
    except AuditError as error:
        report = audit.refusal(error)
    (folder / f"{key}.json").write_text(json.dumps(report.describe(), ensure_ascii=False))
    print(f"{time.monotonic() - began:6.1f} s  {str(report).partition(chr(10))[0]}", flush=True)


def main() -> None:
    """Audit the clients of the group that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("group")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--cases", default="*")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("mockprovider").setLevel(logging.CRITICAL)
    given.folder.mkdir(parents=True, exist_ok=True)
    for key, spec in clients(given.group).items():
        if not given.only or key in given.only:
            audit_one(key, spec, given.folder, given.cases, given.jobs)


if __name__ == "__main__":
    main()

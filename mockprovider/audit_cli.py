"""The commands `mockprovider audit` and `mockprovider audit-merge`. Exit codes: 0 done, 1 fails as `--fail-on` says."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider.errors import SettingError

if TYPE_CHECKING:
    from mockprovider.audit import Report, Result
    from mockprovider.audit.clients import Client

__all__ = ["add_commands"]

_FAIL_ON = {"silent-loss": "SILENT LOSS", "failed": "FAILED", "non-strict": "NON-STRICT"}

_USUAL = {"dialect": "openai-chat", "seed": 1, "timeout": 1.5, "name": None, "call": None, "page": None}
"""Options that the command which runs a case again needs only where they are not these."""


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's. commands: what `add_subparsers` has made."""
    audit = commands.add_parser(
        "audit",
        help="run a client against the catalogue and judge what it does",
        description="Run a command once for each case of the catalogue. It finds the server in BASE_URL, API_KEY, MODEL"
        " and PROMPT, in the variables of the SDKs, and as {base_url} and so on in its arguments; it writes the text"
        " that it gets to stdout, and exits with 0 if it believes that the answer is complete.",
        usage="mockprovider audit [OPTION]... -- COMMAND [ARGUMENT]...",
        allow_abbrev=False,
    )
    audit.set_defaults(run=_audit)
    audit.add_argument(
        "--cases", default="*", metavar="GLOB[,GLOB]", help="only cases with such names, such as 'sse-*'"
    )
    audit.add_argument("--dialect", default="openai-chat", metavar="D", help="what the client speaks (openai-chat)")
    audit.add_argument("--jobs", type=int, default=os.cpu_count() or 2, metavar="N", help="cases at a time")
    audit.add_argument("--report", type=Path, metavar="DIR", help="write index.html and the other forms here")
    audit.add_argument("--name", metavar="NAME", help="of the client, with its version, such as 'openai 3.54'")
    audit.add_argument("--seed", type=int, default=1, metavar="N", help="make replies, ids and times reproducible (1)")
    audit.add_argument("--call", metavar="MODULE:FUNCTION", help="audit this Python function instead of a command")
    audit.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="audit this page in a browser; a command that opens it may follow, with {page} in it",
    )
    audit.add_argument("--own", action="append", metavar="PACKAGE", help="its exceptions are the client's own")
    audit.add_argument("--can", action="append", metavar="WORD", help="a capability, such as tools")
    audit.add_argument("--cannot", action="append", metavar="WORD", help="a capability that it lacks")
    audit.add_argument("--timeout", type=float, default=1.5, metavar="SECONDS", help="silence that it is to bear (1.5)")
    audit.add_argument("--patience", type=float, default=6.0, metavar="SECONDS", help="time beyond the case's own (6)")
    audit.add_argument("--runs", type=int, default=2, metavar="N", help="runs of a case that is not passed (2)")
    _add_judging(audit)
    audit.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    merge = commands.add_parser(
        "audit-merge",
        help="put several audits into one matrix",
        description="Put the reports of several audits into one; of two of the same client, the later one.",
        allow_abbrev=False,
    )
    merge.set_defaults(run=_merge)
    merge.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="the --report of an audit")
    merge.add_argument("--report", type=Path, required=True, metavar="DIR", help="write the matrix here")
    _add_judging(merge)


def _add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fail-on", choices=_FAIL_ON, help="exit with 1 where a case is that bad, or worse")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="a report.json: only what is worse than in it makes --fail-on fail",
    )


def _audit(arguments: argparse.Namespace) -> int:
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    baseline = _baseline(arguments)
    with contextlib.ExitStack() as open_page, _quiet():
        return _run(arguments, words, _client(arguments, words, open_page), baseline)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the server's: that a run was late is told by its case."""
    logger = logging.getLogger("mockprovider")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run(arguments: argparse.Namespace, words: Sequence[str], client: Client, baseline: list[dict[str, Any]]) -> int:
    from mockprovider.audit import Audit, Options

    options = Options(
        cases=arguments.cases,
        dialect=arguments.dialect,
        jobs=1 if arguments.page is not None else arguments.jobs,  # it does one task after the other
        seed=arguments.seed,
        timeout=arguments.timeout,
        patience=arguments.patience,
        runs=arguments.runs,
        can=tuple(arguments.can or ()),
        cannot=tuple(arguments.cannot or ()),
        reproduce=_again(arguments, words),
    )
    report = Audit(client, options).run(_progress())
    _told(report, arguments.report)
    return _judged([report.describe()], baseline, arguments)


def _client(arguments: argparse.Namespace, words: Sequence[str], open_page: contextlib.ExitStack) -> Client:
    from mockprovider.audit import CallableClient, CommandClient
    from mockprovider.audit.page import Page

    own = tuple(arguments.own or ())
    if arguments.page is not None and arguments.call is not None:
        raise SettingError("give either --call or --page, not both")
    if arguments.page is not None:
        page = open_page.enter_context(Page(arguments.page))
        open_page.enter_context(_opened(page.url, words))
        return CallableClient(page, arguments.name or arguments.page.name, own)
    if arguments.call is not None:
        if words:
            raise SettingError("give either --call or a command, not both")
        return CallableClient(_function(arguments.call), arguments.name or arguments.call, own)
    return CommandClient(words, arguments.name, own)


@contextlib.contextmanager
def _opened(url: str, words: Sequence[str]) -> Iterator[None]:
    """The page in a browser, by the command, or by whoever reads the message."""
    if not words:
        print(f"open {url} in a browser", file=sys.stderr, flush=True)
        yield
        return
    try:
        process = subprocess.Popen(
            [word.replace("{page}", url) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise SettingError(f"cannot run {words[0]!r}: {error.strerror or error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _function(path: str) -> Callable[..., Any]:
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise SettingError(f"--call: expected MODULE:FUNCTION, got {path!r}")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"--call {path}: {error}") from error
    if not callable(found):
        raise SettingError(f"--call {path}: it is no function")
    return found  # type: ignore[no-any-return]


def _again(arguments: argparse.Namespace, words: Sequence[str]) -> str:
    """The command that runs one case again."""
    again = ["mockprovider", "audit", "--cases", "{case}"]
    for option, usual in _USUAL.items():
        value = getattr(arguments, option)
        if value != usual:
            again += [f"--{option}", str(value)]
    for option in ("own", "can", "cannot"):
        for value in getattr(arguments, option) or ():
            again += [f"--{option}", value]
    return shlex.join([*again, *(["--", *words] if words else [])]).replace("'{case}'", "{case}")


# ------------------------------------------------------------------------------------------------ what is told


def _progress() -> Callable[[int, int, Result | None, float], None]:
    lively = sys.stderr.isatty()

    def tell(done: int, total: int, result: Result | None, left: float) -> None:
        if result is None:
            return
        if lively:
            line = f"{done}/{total}  {result.kind:<13} {result.case:<34} about {left:.0f} s left"
            print(f"\r\x1b[K{line}", end="" if done < total else "\n", file=sys.stderr, flush=True)
        elif done == total or done % 25 == 0:
            print(f"{done}/{total}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return tell


def _told(report: Report, folder: Path | None) -> None:
    from mockprovider.audit import Class
    from mockprovider.audit.report import write

    for result in report.results:
        if result.run is not None and result.kind.rank >= Class.FAILED.rank:
            verdict = result.run.verdict
            flaky = " (flaky)" if result.flaky else ""
            print(f"{result.kind:<11} {result.case}{flaky}: content {verdict.content}, ending {verdict.ending}")
            print(f"            {verdict.why}")
    print(report)
    print(f"{report.seconds:.0f} s in all; its start-up, which no verdict counts, takes {report.startup:.2f} s")
    if folder is not None:
        write(folder, [report])
        print(f"report: {folder / 'index.html'}")


def _baseline(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from mockprovider.audit.report import load

    return load(arguments.baseline) if arguments.baseline is not None else []


def _judged(reports: list[dict[str, Any]], baseline: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    from mockprovider.audit import Class
    from mockprovider.audit.report import regressions

    if arguments.fail_on is None:
        return 0
    found = regressions(reports, Class(_FAIL_ON[arguments.fail_on]), baseline)
    for client, case, kind in found:
        print(f"--fail-on {arguments.fail_on}: {client}: {case} is {kind}", file=sys.stderr)
    return 1 if found else 0


def _merge(arguments: argparse.Namespace) -> int:
    from mockprovider.audit.report import merged, write

    reports = merged(arguments.folders)
    baseline = _baseline(arguments)
    write(arguments.report, reports)
    print(f"{len(reports)} audits: {arguments.report / 'index.html'}")
    return _judged(reports, baseline, arguments)

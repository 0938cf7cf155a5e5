"""The commands `mockprovider faults` and `mockprovider cases`: what there is, and what it does."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mockprovider.errors import MockProviderError, SettingError, UnavailableError, nearest

if TYPE_CHECKING:
    from mockprovider.cases import Case

__all__ = ["add_commands", "to_a_pipe"]

_TIMEOUT = 10.0
_WIDTH = 100


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's. commands: what `add_subparsers` has made."""
    faults = commands.add_parser(
        "faults",
        help="list the faults",
        description="List the faults, or explain one. Chains of them go into URLs, headers, rules and --with.",
        allow_abbrev=False,
    )
    faults.set_defaults(run=to_a_pipe(_faults))
    faults.add_argument("name", nargs="?", metavar="NAME", help="explain this one")
    faults.add_argument("--json", action="store_true", help="as JSON")
    cases = commands.add_parser(
        "cases",
        help="list the catalogue of cases, or explain one",
        description="List the cases, or explain one and show its bytes.",
        allow_abbrev=False,
    )
    cases.set_defaults(run=to_a_pipe(_cases))
    cases.add_argument("name", nargs="?", metavar="NAME", help="explain this one and show its bytes")
    cases.add_argument("--family", metavar="F", help="list this family alone")
    cases.add_argument("--json", action="store_true", help="as JSON, with the base URL of each case")
    cases.add_argument("--all", action="store_true", help="show all bytes, however many there are")
    cases.add_argument("--server", metavar="URL", help="ask this running server for base URLs")
    cases.add_argument("--token", help="of that server, if it has one")


def to_a_pipe(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command such that a reader who has seen enough, such as `head`, ends it without an error."""

    def guarded(arguments: argparse.Namespace) -> int:
        try:
            code = run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered must go somewhere when the interpreter closes its output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return code

    return guarded


# ------------------------------------------------------------------------------------------------ faults


def _faults(arguments: argparse.Namespace) -> int:
    from mockprovider.faults import FAULTS
    from mockprovider.faults.reference import describe, settings_of

    name: str | None = arguments.name
    if name is not None and name not in FAULTS:
        raise SettingError(f"unknown fault {name!r}{nearest(name, tuple(FAULTS))}")
    described = [describe(kind) for kind in FAULTS.values() if name in (None, kind.name)]
    if arguments.json:
        print(json.dumps(described if name is None else described[0], ensure_ascii=False, indent=2))
        return 0
    for fault in described:
        if name is None:
            print(f"{fault['name']:<20} {fault['summary']}")
            continue
        legal = "; a conforming client still receives everything" if fault["legal"] else ""
        print(f"{fault['name']}: {fault['summary']}\n\nlevel: {fault['level']}{legal}\n")
        print(*(f"  {row}" for row in settings_of(FAULTS[name])), sep="\n")
    return 0


# ------------------------------------------------------------------------------------------------ cases


def _cases(arguments: argparse.Namespace) -> int:
    from mockprovider.cases import get, in_family

    name: str | None = arguments.name
    if name is not None and arguments.family is not None:
        raise SettingError("give either a name or --family, not both")
    if name is not None:
        case = get(name)
        where = _asked(arguments, f"/{quote(name)}") if arguments.server else _offline(case)
        if arguments.json:
            print(json.dumps(where, ensure_ascii=False, indent=2))
        else:
            print(*_explained(case, where["base_url"], None if arguments.all else 9), sep="\n")
        return 0
    listed = in_family(arguments.family)
    if arguments.json:
        query = f"?family={quote(arguments.family)}" if arguments.family else ""
        print(json.dumps(_asked(arguments, query) if arguments.server else list(map(_offline, listed)), indent=2))
        return 0
    for case in listed:
        note = "" if case.available else f"  (not available: {case.unavailable})"
        print(f"{case.family:<10} {case.name:<36} {case.expect}{note}")
    return 0


def _offline(case: Case) -> dict[str, Any]:
    """The case as JSON where no server is asked: its base URL is a path on any server."""
    url = f"/with/{case.name}/v1" if case.available and case.listener is None else None
    described = {**case.describe(), "base_url": url}
    if case.listener is not None:
        described["base_url_note"] = (
            "its own port, which a running server opens: ask it with `--server URL`, GET /_mock/cases/"
            f"{case.name}, or MockProvider.case_url({case.name!r})"
        )
    return described


def _asked(arguments: argparse.Namespace, path: str) -> Any:
    """What a running server says. UnavailableError where it cannot be reached, MockProviderError where it refuses."""
    url = f"{arguments.server.rstrip('/').removesuffix('/v1')}/_mock/cases{path}"
    headers = {"Authorization": f"Bearer {arguments.token}"} if arguments.token else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        # A proxy of the environment's is not for a server of one's own.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise MockProviderError(f"{url}: status {error.code}: {_message(error.read())}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UnavailableError(f"--server {arguments.server}: no answer: {error}") from error


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def _explained(case: Case, base_url: str | None, most: int | None) -> Iterator[str]:
    yield f"{case.name} ({case.family})"
    yield ""
    accept = f" Also accepted: {', '.join(case.accept)}. {case.contestable or ''}" if case.accept else ""
    rows = (
        ("on the wire", case.wire),
        ("must", f"{case.expect}: {case.must}{accept}"),
        ("attempts", case.attempts),
        ("notes", case.notes),
        ("needs", ", ".join(case.needs)),
        ("citations", "; ".join(case.citations)),
        ("evidence", f"{case.evidence} (read: {case.source})"),
        ("made by", case.faults),
        ("base URL", _where(case, base_url)),
    )
    for label, text in rows:
        if text:
            indent = " " * 13
            yield textwrap.fill(
                text, _WIDTH, initial_indent=f"{label:<13}", subsequent_indent=indent, break_on_hyphens=False,
                break_long_words=False, replace_whitespace=False,
            )  # fmt: skip
    yield from _bytes(case, most)


def _where(case: Case, base_url: str | None) -> str:
    if case.unavailable is not None:
        return f"none: {case.unavailable}"
    if base_url is None:
        return "its own port, which a running server opens; ask it with --server URL"
    return base_url if "://" in base_url else f"{base_url} of any running server"


def _bytes(case: Case, most: int | None) -> Iterator[str]:
    from mockprovider.preview import attempts, lines

    yield ""
    if case.unavailable is not None:
        return
    if case.listener is not None:
        yield f"There are no bytes: {_LISTENERS[case.listener]}"
        return
    for attempt in attempts(case):
        yield f"attempt {attempt.number}, in seconds since the request; ␍␊ are CR LF, ┃ is a write of its own"
        yield from lines(attempt, most)
        yield ""


_LISTENERS = {
    "refuse": "nothing listens on the port, and connecting fails with ECONNREFUSED.",
    "reset": "the connection is accepted and reset.",
    "silence": "the connection is accepted, and nothing is ever sent.",
}

"""The commands `mockprovider record`, `mockprovider proxy` and `mockprovider redact`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider.errors import RecordingError, SettingError

if TYPE_CHECKING:
    from mockprovider.redaction import Rules
    from mockprovider.server.recorder import Recorder

__all__ = ["add_record_commands"]


def add_record_commands(commands: Any) -> None:
    """Add the commands to the parser's. commands: what `add_subparsers` has made."""
    record = commands.add_parser(
        "record",
        help="record real sessions, as a reverse proxy",
        description="Forward requests to a provider and record each exchange, until SIGINT or SIGTERM.",
        epilog="Exit code 1: a recording could not be written to its end.",
        allow_abbrev=False,
    )
    record.set_defaults(run=_record)
    _add_forwarding(record)
    record.add_argument("--into", required=True, type=Path, metavar="DIR", help="the folder of the recordings")
    record.add_argument(
        "--mode",
        default="new",
        help="new: nothing is replaced (the default); all: a new recording replaces those of the same request;"
        " rewrite: the first new one that is complete replaces all",
    )
    _add_rules(record)
    proxy = commands.add_parser(
        "proxy",
        help="lay faults over real sessions, as a reverse proxy",
        description="Forward requests to a provider, with faults on its answers, until SIGINT or SIGTERM. Faults are"
        " also named by the URL (/with/CHAIN/v1/…) and by the header x-mockprovider-faults.",
        allow_abbrev=False,
    )
    proxy.set_defaults(run=_record, into=None, mode="new", texts=[], keep_header=[], redact_header=[])
    _add_forwarding(proxy)
    redact = commands.add_parser(
        "redact",
        help="remove secrets from recordings",
        description="Apply the rules of redaction to recordings that are there: to one made by hand or by another tool,"
        " or because there is a new rule.",
        allow_abbrev=False,
    )
    redact.set_defaults(run=_redact)
    redact.add_argument("paths", nargs="+", type=Path, metavar="FILE|DIR")
    redact.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    _add_rules(redact)


def _add_forwarding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--upstream", required=True, metavar="URL", help="such as https://api.example.com, without /v1")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1, ::1 or localhost, which is both (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000; 0: any)")
    parser.add_argument("--with", dest="faults", metavar="CHAIN", help="faults on what the client gets (none)")
    parser.add_argument("--seed", type=int, help="make faults that are drawn reproducible")
    parser.add_argument("--key-env", metavar="NAME", help="take the key from this variable of the environment")
    parser.add_argument("--keep-encoding", action="store_true", help="let the provider pack its replies with gzip")
    parser.add_argument("--idle-timeout", type=float, metavar="SECONDS", help="give up after so much silence (never)")


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--redact", action="append", default=[], metavar="TEXT", dest="texts",
                        help="mask this text; with a * at its end, what follows it")  # fmt: skip
    parser.add_argument("--redact-header", action="append", default=[], metavar="NAME", help="do not store its value")
    parser.add_argument("--keep-header", action="append", default=[], metavar="NAME", help="store it as it is")


def _rules(arguments: argparse.Namespace) -> Rules:
    from mockprovider.redaction import Rules

    return Rules(tuple(arguments.texts), tuple(arguments.keep_header), tuple(arguments.redact_header))


# ------------------------------------------------------------------------------------------------ record


def _record(arguments: argparse.Namespace) -> int:
    from mockprovider.server.process import until_stopped
    from mockprovider.server.recorder import Recorder, RecorderSettings
    from mockprovider.server.upstream import Upstream

    logging.basicConfig(format="mockprovider: %(message)s", level=logging.WARNING)
    key = None
    if arguments.key_env is not None:
        key = os.environ.get(arguments.key_env, "").strip()
        if not key:
            raise SettingError(f"--key-env {arguments.key_env}: the environment has no such variable, or it is empty")
    settings = RecorderSettings(
        Upstream.parse(arguments.upstream),
        arguments.into,
        arguments.host,
        arguments.port,
        arguments.mode,
        key,
        arguments.keep_encoding,
        arguments.idle_timeout,
        _rules(arguments),
        arguments.faults or "",
        arguments.seed,
    )
    recorder = Recorder(settings)
    asyncio.run(until_stopped(recorder, lambda: _announce(recorder)))
    return 1 if recorder.failures else 0


def _announce(recorder: Recorder) -> None:
    """Say that the recorder accepts, and how to ask it."""
    print(f"mockprovider listening on {recorder.url}", flush=True)
    print(_usage(recorder), file=sys.stderr, flush=True)


def _usage(recorder: Recorder) -> str:
    """The base URL, where recordings go, and a command that asks for a stream, ready to paste."""
    settings = recorder.settings
    body = {"model": "MODEL", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    words = ["curl", "-N", f"{recorder.url}/v1/chat/completions", "-H", "content-type: application/json"]
    line = shlex.join([*words, "-d", json.dumps(body, separators=(",", ":"))])
    if settings.key is None:
        line += ' -H "authorization: Bearer $KEY"'
    doing = "forwarding to" if settings.folder is None else "recording"
    into = "" if settings.folder is None else f" into {settings.folder}"
    faults = f", with {settings.faults}" if settings.faults else ""
    return f"base URL: {recorder.url}/v1, {doing} {settings.upstream}{into}{faults}\n{line}"


# ------------------------------------------------------------------------------------------------ redact


def _redact(arguments: argparse.Namespace) -> int:
    from mockprovider.recording import dumps, load
    from mockprovider.redaction import Redactor, removed

    redactor = Redactor(_rules(arguments))
    for path in [file for given in arguments.paths for file in _files(given)]:
        before = load(path)
        after = redactor.recording(before)
        for line in removed(before, after):
            print(f"{path}: {line}")
        if after != before and not arguments.dry_run:
            _replace(path, dumps(after))
    return 0


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.ndjson"))
    if not files:
        raise RecordingError(f"{path}: no recordings in this folder")
    return files


def _replace(path: Path, text: bytes) -> None:
    """Write the file anew such that there is always either the old one or the new one."""
    made = path.with_name(f".{path.name}.new")
    try:
        made.write_bytes(text)
        made.chmod(path.stat().st_mode & 0o777)
        made.replace(path)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise RecordingError(f"{path}: {error.strerror}") from error

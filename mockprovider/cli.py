"""The command `mockprovider`. Exit codes: 0 done, 2 bad usage, bad settings, or an address that cannot be had."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import resource
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mockprovider import __version__
from mockprovider.audit_cli import add_commands as add_audit
from mockprovider.catalogue_cli import add_commands
from mockprovider.errors import MockProviderError, SettingError
from mockprovider.jsontext import dumps
from mockprovider.record_cli import add_record_commands
from mockprovider.recordings_cli import add_commands as add_recordings
from mockprovider.replay_cli import add_replay
from mockprovider.scenario_cli import add_check

if TYPE_CHECKING:
    from mockprovider.exchange import Exchange
    from mockprovider.scenario_file import ScenarioFile
    from mockprovider.server.runner import LoopServer
    from mockprovider.settings import Settings

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. SystemExit for bad usage and for --help."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except MockProviderError as error:
        print(f"mockprovider: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the server took over the signal
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mockprovider", description="A mock provider of streaming language models.")
    parser.add_argument("--version", action="version", version=f"mockprovider {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the mock server",
        description="Run the mock server until SIGINT or SIGTERM.",
        allow_abbrev=False,
    )
    serve.set_defaults(run=_serve)
    serve.add_argument("--host", help="address to listen on (127.0.0.1; localhost binds both loopbacks)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (8000; 0: any)")
    serve.add_argument("--seed", type=int, help="make replies, ids and times reproducible")
    serve.add_argument("--reply", metavar="TEXT|@FILE", help="answer every prompt with this text")
    serve.add_argument("--reply-tokens", type=int, metavar="N", help="least length of generated replies")
    serve.add_argument("--pace", metavar="SPEC", help="such as official, or ttft=0.2,itl=0.02~gamma(cv=0.4)")
    serve.add_argument("--chunking", metavar="SPEC", help="such as tokens_per_payload=2,payloads_per_chunk=1/3")
    serve.add_argument(
        "--with", dest="faults", metavar="CHAIN", help="faults or cases, such as reset(after=3)+sse-crlf"
    )
    serve.add_argument("--rpm", type=int, metavar="N", help="requests a minute; more are answered with 429")
    serve.add_argument("--tpm", type=int, metavar="N", help="tokens a minute; more are answered with 429")
    serve.add_argument("--flavour", metavar="NAME|FILE.toml", help="whose chat completions: openai, azure, groq, ...")
    serve.add_argument("--relay", action="store_true", default=None, help="write event: and id: lines, as relays do")
    serve.add_argument("--scenario", type=Path, metavar="FILE.toml", help="rules that say how to answer")
    serve.add_argument("--model", action="append", dest="models", metavar="NAME", help="accept only these models")
    serve.add_argument("--api-key", action="append", dest="api_keys", metavar="KEY", help="accept only these keys")
    serve.add_argument("--token", help="guards the control API; needed to listen beyond the loopback")
    serve.add_argument(
        "--allow-origin", action="append", dest="allow_origins", metavar="ORIGIN", help="pages that may read (any)"
    )
    serve.add_argument("--tls", action="store_true", default=None, help="speak HTTPS, with a certificate for this host")
    serve.add_argument("--allow-host", action="append", dest="allow_hosts", metavar="NAME", help="further Host names")
    serve.add_argument("--recordings", type=Path, dest="shelf", metavar="DIR", help="play them, and save into it")
    serve.add_argument("--no-console", action="store_false", dest="console", help="no page at /")
    serve.add_argument("--journal", type=Path, metavar="FILE", help="append each exchange as a line of JSON")
    serve.add_argument("--workers", type=int, default=1, metavar="N", help="processes that share the port (1)")
    serve.add_argument("--speed", type=float, metavar="X", help="every wait is so many times shorter (1)")
    serve.add_argument("--late-warning", type=float, metavar="SECONDS", help="report writes later than this (0.1)")
    serve.add_argument("--journal-limit", type=int, metavar="N", help="exchanges kept in memory (1000)")
    add_commands(commands)
    add_check(commands)
    add_record_commands(commands)
    add_replay(commands)
    add_audit(commands)
    add_recordings(commands)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    from mockprovider.configuration import settings_from
    from mockprovider.limits import Limits
    from mockprovider.server.runner import LoopServer

    logging.basicConfig(format="mockprovider: %(message)s", level=logging.WARNING)
    given: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in (
            "host",
            "port",
            "seed",
            "reply_tokens",
            "pace",
            "chunking",
            "faults",
            "relay",
            "flavour",
            "tls",
            "console",
            "speed",
            "shelf",
            "token",
            "journal_limit",
            "late_warning",
        )
    }
    given["reply"] = _reply(arguments.reply)
    if arguments.rpm is not None or arguments.tpm is not None:
        given["limits"] = Limits(arguments.rpm, arguments.tpm)
    for name in ("models", "api_keys", "allow_hosts", "allow_origins"):
        values = getattr(arguments, name)
        given[name] = tuple(values) if values else None
    settings, scenario = settings_from(arguments.scenario, given)
    _raise_file_limit()
    if arguments.workers == 1:
        server = LoopServer(settings, scenario)
        if arguments.scenario is not None:
            server.follow(arguments.scenario, lambda: settings_from(arguments.scenario, given))
        return asyncio.run(_run(server, arguments.journal, lambda: _announce(server)))
    return _serve_together(settings, scenario, arguments.workers, arguments.journal)


def _serve_together(settings: Settings, scenario: ScenarioFile | None, number: int, journal: Path | None) -> int:
    """Several workers on one port. They must agree on the port and the seed, so both are chosen here."""
    from mockprovider.metrics import Metrics
    from mockprovider.server.runner import LoopServer
    from mockprovider.server.workers import Workers, check_shareable, run_workers

    if number < 1:
        raise SettingError(f"--workers: expected at least 1, got {number}")
    check_shareable(scenario)
    if settings.limits is not None:
        raise SettingError(f"--workers {number}: workers share no rate limits ({settings.limits}); use one worker")
    first = LoopServer(settings, scenario, Workers(number, Metrics()))
    try:
        held = first.reserve()
    except OSError as error:
        raise first.unavailable(error) from error
    agreed = replace(settings, port=first.port, seed=first.handler.seed.value)

    def work(workers: Workers, accepts: Callable[[], None]) -> int:
        server = LoopServer(agreed, scenario, workers)
        server.handler.seeded = settings.seed is not None
        return asyncio.run(_run(server, journal, accepts))

    def ready() -> None:
        for each in held:
            each.close()
        _announce(first)

    return run_workers(number, work, ready)


def _reply(text: str | None) -> str | None:
    if text is None or not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_bytes().decode()  # as it stands: read_text would rewrite line ends
    except OSError as error:
        raise SettingError(f"--reply @{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"--reply @{path}: {error}") from error


def _raise_file_limit() -> None:
    """As many open connections as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses what it calls unlimited
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(server: LoopServer, journal: Path | None, accepts: Callable[[], None]) -> int:
    from mockprovider.server.process import until_stopped

    with _JournalFile(journal) if journal is not None else contextlib.nullcontext() as log:
        if log is not None:
            server.handler.ended = log.write
        await until_stopped(server, accepts)
    return 0


def _announce(server: LoopServer) -> None:
    """Say that the server accepts, and how to ask it."""
    print(f"mockprovider listening on {server.url}", flush=True)
    print(_usage(server), file=sys.stderr, flush=True)


def _usage(server: LoopServer) -> str:
    """The base URL and a command that asks for a stream, ready to paste."""
    url, settings = f"{server.url}/v1", server.settings
    body = {
        "model": settings.models[0] if settings.models else "gpt-4o",
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    trust = ["--cacert", str(server.certificate.authority)] if server.certificate is not None else []
    words = ["curl", "-N", *trust, f"{url}/chat/completions", "-H", "content-type: application/json"]
    if settings.api_keys:
        words += ["-H", f"authorization: Bearer {settings.api_keys[0]}"]
    words += ["-d", json.dumps(body, ensure_ascii=False, separators=(",", ":"))]
    lines = [f"base URL: {url} (seed {server.handler.seed.value})", shlex.join(words)]
    if server.certificate is not None:
        lines.insert(1, _trusting(server.certificate.authority))
    return "\n".join(lines)


def _trusting(authority: Path) -> str:
    """How clients come to trust the certificate: by the variables that Python's and Node's libraries read."""
    path = shlex.quote(str(authority))
    return (
        f"to trust it: export SSL_CERT_FILE={path} REQUESTS_CA_BUNDLE={path} NODE_EXTRA_CA_CERTS={path};"
        f" in a browser, import {path} as an authority"
    )


class _JournalFile:
    """Exchanges as lines of JSON, each on disk as soon as it has ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise SettingError(f"--journal {path}: {error.strerror}") from error

    def write(self, exchange: Exchange) -> None:
        """Add an exchange. A full disk costs lines, of which one message tells, but no client its answer."""
        try:
            self._file.write(dumps(exchange.describe()) + b"\n")
        except OSError as error:
            if not self._failed:
                logging.getLogger("mockprovider").error("--journal %s: %s", self._path, error.strerror)
            self._failed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

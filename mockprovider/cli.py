"""The command `mockprovider`. Exit codes: 0 done, 2 bad usage, bad settings, or an address that cannot be had."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider import __version__
from mockprovider.errors import MockProviderError, SettingError

if TYPE_CHECKING:
    from mockprovider.server.runner import LoopServer

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except MockProviderError as error:
        print(f"mockprovider: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mockprovider", description="A mock provider of streaming language models.")
    parser.add_argument("--version", action="version", version=f"mockprovider {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the mock server", description="Run the mock server until SIGINT.")
    serve.set_defaults(run=_serve)
    serve.add_argument("--host", help="address to listen on (127.0.0.1; localhost binds both loopbacks)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (8000; 0: any)")
    serve.add_argument("--seed", type=int, help="make replies, ids and times reproducible")
    serve.add_argument("--reply", metavar="TEXT|@FILE", help="answer every prompt with this text")
    serve.add_argument("--reply-tokens", type=int, metavar="N", help="least length of generated replies")
    serve.add_argument("--pace", metavar="SPEC", help="such as official, or ttft=0.2,itl=0.02~gamma(cv=0.4)")
    serve.add_argument("--chunking", metavar="SPEC", help="such as tokens_per_payload=2,payloads_per_chunk=1/3")
    serve.add_argument("--relay", action="store_true", default=None, help="write event: and id: lines, as relays do")
    serve.add_argument("--scenario", type=Path, metavar="FILE.toml", help="rules that say how to answer")
    serve.add_argument("--model", action="append", dest="models", metavar="NAME", help="accept only these models")
    serve.add_argument("--api-key", action="append", dest="api_keys", metavar="KEY", help="accept only these keys")
    serve.add_argument("--token", help="guards the control API; needed to listen beyond the loopback")
    serve.add_argument("--allow-host", action="append", dest="allow_hosts", metavar="NAME", help="further Host names")
    serve.add_argument("--journal", type=Path, metavar="FILE", help="append each exchange as a line of JSON")
    serve.add_argument("--journal-limit", type=int, metavar="N", help="exchanges kept in memory (1000)")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    from mockprovider.provider import settings_from
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
            "relay",
            "token",
            "journal_limit",
        )
    }
    given["reply"] = _reply(arguments.reply)
    for name in ("models", "api_keys", "allow_hosts"):
        values = getattr(arguments, name)
        given[name] = tuple(values) if values else None
    settings, scenario = settings_from(arguments.scenario, given)
    _raise_file_limit()
    return asyncio.run(_run(LoopServer(settings, scenario), arguments.journal))


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
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(server: LoopServer, journal: Path | None) -> int:
    log = _JournalFile(journal) if journal is not None else None
    if log is not None:
        server.handler.ended = log.write
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await server.start()
    print(f"mockprovider listening on {server.url}", flush=True)
    print(_usage(server), file=sys.stderr, flush=True)
    await stopped.wait()
    await server.stop()
    if log is not None:
        log.close()
    return 0


def _usage(server: LoopServer) -> str:
    url = f"{server.url}/v1"
    body = '{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    return (
        f"  base URL  {url}   (seed {server.handler.seed.value})\n"
        f"  try       curl -N {url}/chat/completions -H 'content-type: application/json' -d '{body}'"
    )


class _JournalFile:
    """Exchanges as lines of JSON, written as they end."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise SettingError(f"--journal {path}: {error.strerror}") from error

    def write(self, exchange: Any) -> None:
        self._file.write(json.dumps(exchange.describe(), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

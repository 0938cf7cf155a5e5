"""The command `mockprovider replay`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider.recording import Recording, samples
from mockprovider.replay.library import MODES, Recordings
from mockprovider.replay.reel import WRITES

if TYPE_CHECKING:
    from mockprovider.server.runner import LoopServer

__all__ = ["add_replay"]


def add_replay(commands: Any) -> None:
    """Add the command to the others."""
    replay = commands.add_parser(
        "replay",
        help="answer with recordings",
        description="Answer each request with the recording of one like it: the same bytes, in the same writes, at the"
        " same times, with the same ending. Requests that nobody recorded get an error that says what differs.",
        allow_abbrev=False,
    )
    replay.set_defaults(run=_replay)
    replay.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="recordings (those of the package)")
    replay.add_argument("--host", help="address to listen on (127.0.0.1; localhost binds both loopbacks)")
    replay.add_argument("--port", type=int, default=8000, help="port to listen on (8000; 0: any)")
    replay.add_argument("--speed", default="1", metavar="N|instant", help="how much faster than recorded (1)")
    replay.add_argument(
        "--writes", choices=WRITES, default="recorded", help="how recorded reads leave: each alone, loose or joined"
    )
    replay.add_argument("--mode", choices=MODES, default="none", help="what is asked of the upstream (none)")
    replay.add_argument("--upstream", metavar="URL", help="base URL of what modes other than none ask")
    replay.add_argument("--key-env", metavar="NAME", help="take the upstream's key from this environment variable")
    replay.add_argument(
        "--match", action="append", metavar="PART", help="method, path, query, headers or body; again for each"
    )
    replay.add_argument(
        "--ignore", action="append", metavar="PLACE", help="does not count in bodies: such as messages[*].id"
    )
    replay.add_argument("--once", action="store_true", help="play each recording once; else they begin anew")
    replay.add_argument("--with", dest="faults", metavar="CHAIN", help="faults, such as reset(after=3)+line-ends")
    replay.add_argument("--seed", type=int, help="make faults that are drawn reproducible")
    replay.add_argument("--token", help="guards the control API; needed to listen beyond the loopback")
    replay.add_argument("--allow-host", action="append", dest="allow_hosts", metavar="NAME", help="further Host names")


def _replay(arguments: argparse.Namespace) -> int:
    from mockprovider.configuration import settings_from
    from mockprovider.server.process import until_stopped
    from mockprovider.server.runner import LoopServer

    logging.basicConfig(format="mockprovider: %(message)s", level=logging.WARNING)
    chosen: dict[str, Any] = {"repeat": not arguments.once}
    for name in ("speed", "writes", "mode", "upstream", "key_env", "match", "ignore"):
        if getattr(arguments, name) is not None:
            chosen[name] = getattr(arguments, name)
    recordings = Recordings(arguments.folder or samples(), **chosen)
    given = {name: getattr(arguments, name) for name in ("host", "port", "faults", "seed", "token", "allow_hosts")}
    settings, _ = settings_from(None, {**given, "recordings": recordings})
    server = LoopServer(settings)
    asyncio.run(until_stopped(server, lambda: _announce(server)))
    return 0


def _announce(server: LoopServer) -> None:
    """Say that the server accepts, what it plays, and how to ask for the first of it."""
    print(f"mockprovider listening on {server.url}", flush=True)
    library = server.handler.library
    assert library is not None, "there are recordings"
    count = len(library.reels)
    print(f"{count} recording{'s' * (count != 1)} of {library.settings.folder}", file=sys.stderr)
    askable = [reel for reel in library.reels if _as_text(reel.recording) is not None]
    if askable:
        # One that a person would like to see: a stream, to its end, that is asked for in a few words.
        best = min(
            askable, key=lambda reel: (not reel.recording.complete, not reel.stream, len(reel.recording.request.body))
        )
        print(_curl(server.url, best.recording), file=sys.stderr)
    sys.stderr.flush()


def _as_text(recording: Recording) -> str | None:
    try:
        return recording.request.body.decode()
    except UnicodeDecodeError:
        return None


def _curl(url: str, recording: Recording) -> str:
    """A command that asks what was asked, ready to paste."""
    request, body = recording.request, _as_text(recording)
    words = ["curl", "-N", "-i", url + request.target]
    if request.method not in ("GET", "POST") or (request.method == "POST" and not body):
        words += ["-X", request.method]
    if body:
        words += ["-H", f"content-type: {request.header('content-type') or 'application/json'}", "-d", body]
    return shlex.join(words)

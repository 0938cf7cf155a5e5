"""The server's side of the console: its page, and the calls of the control API that it makes besides the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from importlib import resources
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mockprovider.dialects import DIALECTS
from mockprovider.dialects.flavour import FLAVOURS
from mockprovider.errors import RecordingError, RequestError, SettingError
from mockprovider.exchange import Exchange
from mockprovider.faults import FAULTS
from mockprovider.faults.reference import describe
from mockprovider.levers import LEVERS
from mockprovider.pace import PROFILES
from mockprovider.preview import preview
from mockprovider.recording import Recording, RecordingWriter, load
from mockprovider.redaction import Redactor
from mockprovider.server.live import readable, stream
from mockprovider.server.reload import followed
from mockprovider.server.replaying import asked_request
from mockprovider.server.steering import CUTS, Steering
from mockprovider.tomltext import written

if TYPE_CHECKING:
    from mockprovider.server.control import Call
    from mockprovider.server.handler import Handler

__all__ = ["Console", "page"]

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content Security Policy Level 3: nothing but the page's own files, and nothing of a model's text is ever run."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")

_ENDINGS = {"complete": "end", "closed": "close", "reset": "reset", "client-left": "client-left"}
"""What a recording calls an outcome."""


def page(path: str, request: web.BaseRequest) -> web.Response | None:
    """The console's page or one of its files; None where the path is none of them."""
    name = "index.html" if path == "/" else path.removeprefix("/_mock/console/")
    kind = _TYPES.get(Path(name).suffix)
    if kind is None or "/" in name or not _NAME.fullmatch(name):
        return None
    file = resources.files("mockprovider.console").joinpath(name)
    if not file.is_file():
        return None
    data = file.read_bytes()
    tag = f'"{blake2b(data, digest_size=8).hexdigest()}"'
    headers = {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
        "ETag": tag,
    }
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, content_type=kind, charset="utf-8", headers=headers)


class Console:
    """The calls, each by the name of its route."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    # ------------------------------------------------------------------------------------------ watching

    async def live(self, call: Call) -> web.StreamResponse:
        """What happens, as it happens."""
        given = call.query.get("exchange")
        if given is not None and not given.isdecimal():
            raise SettingError(f"exchange: expected the id of one, got {given!r}")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        watched = None if given is None else int(given)
        return await stream(call.request, headers, call.namespace, watched, lambda: self._states(call))

    def _states(self, call: Call) -> dict[str, Any]:
        return {
            "levers": call.namespace.levers.describe(),
            "gates": call.namespace.gates.waiting(),
            "scenario": {
                **followed(self._handler.reloader),
                "rules": [rule.describe() for rule in call.namespace.scenario.rules],
            },
        }

    # ------------------------------------------------------------------------------------------ levers

    def levers_show(self, call: Call) -> Any:
        """The levers as they are."""
        return call.namespace.levers.describe()

    def levers_set(self, call: Call) -> Any:
        """Set some of the levers."""
        changed = call.namespace.levers.changed(call.body)
        if changed.recording is not None:
            self._handler.reel(changed.recording)
        call.namespace.levers = changed
        return changed.describe()

    def choices(self, call: Call) -> Any:
        """What the levers may be set to."""
        return {
            "dialects": [dialect.name for dialect in DIALECTS],
            "flavours": list(FLAVOURS),
            "paces": {name: str(pace) for name, pace in PROFILES.items()},
            "faults": [describe(kind) for kind in FAULTS.values()],
            "levers": list(LEVERS),
            "token": self._handler.settings.token is not None,
        }

    def preview(self, call: Call) -> Any:
        """What a reply with these faults looks like on the wire."""
        writes = []
        clock = 0.0
        shown = preview(
            dialect=_text(call.body, "dialect", "openai-chat"),
            reply=call.body.get("reply"),
            faults=_text(call.body, "faults", ""),
            pace=_text(call.body, "pace", ""),
        )
        for gap, data, said in islice(shown, 500):
            clock += gap
            writes.append({"time": clock, "ending": said, **(readable(data) if data else {})})
        return {"writes": writes}

    # ------------------------------------------------------------------------------------------ open streams

    def streams_pause(self, call: Call) -> Any:
        """Hold an open stream."""
        steering = self._steering(call)
        steering.pause()
        return {"held": steering.held}

    def streams_step(self, call: Call) -> Any:
        """Send the next events of a stream, then hold it."""
        steering = self._steering(call)
        steering.step(_count(call.body, "events", 1))
        return {"held": True}

    def streams_resume(self, call: Call) -> Any:
        """Let a held stream go on."""
        steering = self._steering(call)
        steering.resume()
        return {"held": steering.held}

    def streams_flood(self, call: Call) -> Any:
        """Send the next events of a stream at once."""
        steering = self._steering(call)
        steering.flood(_count(call.body, "events", 100))
        return {"held": steering.held}

    def streams_cut(self, call: Call) -> Any:
        """End an open stream."""
        self._steering(call).cut(_text(call.body, "how", CUTS[0]))
        return {"held": False}

    def _steering(self, call: Call) -> Steering:
        id = call.body.get("exchange")
        if not isinstance(id, int) or id not in call.namespace.playing:
            raise RequestError(409, f"exchange {id!r} is not open: only a stream that is under way can be steered")
        steering: Steering | None = call.namespace.steerings.get(id)
        if steering is None:
            steering = call.namespace.steerings[id] = Steering(*call.namespace.playing[id], id)
        return steering

    # ------------------------------------------------------------------------------------------ recordings

    def recordings_list(self, call: Call) -> Any:
        """The recordings that can be played."""
        folder = self._handler.shelf
        return {
            "folder": None if folder is None else str(folder),
            "saves": self._handler.settings.shelf is not None,
            "recordings": [] if folder is None else [_titled(path) for path in sorted(folder.glob("*.ndjson"))],
        }

    def recordings_save(self, call: Call) -> Any:
        """Keep what was sent for an exchange as a recording."""
        folder, name = self._handler.settings.shelf, _text(call.body, "name", "")
        if folder is None:
            raise RequestError(409, "this server has no folder for recordings; start it with --recordings DIR")
        if not _NAME.fullmatch(name):
            raise SettingError("name: expected 1 to 64 of the characters A-Z, a-z, 0-9, ., - and _")
        wanted = call.body.get("exchange")
        exchange = next((each for each in call.namespace.journal if each.id == wanted), None)
        if exchange is None or exchange.outcome is None:
            raise RequestError(409, f"exchange {wanted!r} has not ended, or the journal has it no more")
        if exchange.sent.writes > len(exchange.sent.data):
            raise RequestError(409, f"exchange {wanted} is too long: the journal keeps its beginning only")
        path = folder / f"{name}.ndjson"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _save(path, exchange)
        except FileExistsError as error:
            raise RequestError(409, f"there is a recording {name!r} already: nothing is recorded over") from error
        except OSError as error:
            raise SettingError(f"{path}: {error.strerror}") from error
        return {"name": name, "file": str(path)}

    # ------------------------------------------------------------------------------------------ the state as a file

    def scenario_export(self, call: Call) -> str:
        """Levers and rules as a scenario file."""
        levers = call.namespace.levers
        said = levers.describe()
        file: dict[str, Any] = {name: said[name] for name in ("pace", "chunking", "faults", "flavour") if said[name]}
        rules: list[Mapping[str, Any]] = []
        if levers.limited:
            rules.append({"error": {"status": 429, "headers": {"retry-after": "1"}}})
        elif said["fail_next"]:
            failing = {"error": {"status": levers.fail_next[1]}, "times": levers.fail_next[0]}
            after = {} if levers.reply is None else {"reply": levers.reply}
            rules.append({"answers": [failing, after]})
        elif levers.reply is not None:
            rules.append({"reply": levers.reply})
        rules += call.namespace.scenario.tables
        notes = (
            [] if levers.recording is None else [f"# the recording {levers.recording!r} is played: serve --recordings"]
        )
        return "\n".join([*notes, written({**file, "rule": rules} if rules else file)])


def _save(path: Path, exchange: Exchange) -> None:
    """Write the recording: the request without its secrets, each write as a read, and how it ended."""
    asked = asked_request(exchange)
    times = [exchange.started, *exchange.sent.times]
    gaps = [max(0.0, after - before) for before, after in pairwise(times)]
    recording = Recording.of(asked, zip(gaps, exchange.sent.data, strict=True))
    kept = Redactor().knowing(asked.headers, asked.target).recording(recording)
    writer = RecordingWriter.create(path)
    try:
        writer.begin(kept.request, datetime.fromtimestamp(exchange.wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for read in kept.reads:
            writer.read(read.gap, read.wire)
        ending = _ENDINGS.get(exchange.outcome or "")
        if ending is not None:
            writer.end(ending, 0.0)
    finally:
        writer.close()


def _titled(path: Path) -> dict[str, Any]:
    """A recording in short; what is wrong with it where it cannot be read."""
    try:
        recording = load(path)
    except RecordingError as error:
        return {"name": path.stem, "error": str(error)}
    return {
        "name": path.stem,
        "method": recording.request.method,
        "path": recording.request.path,
        "status": None if recording.head is None else recording.head.status,
        "seconds": recording.duration,
        "reads": len(recording.reads),
        "ending": recording.ending,
    }


def _text(body: Mapping[str, Any], name: str, default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise SettingError(f"{name}: expected a text, got {value!r}")
    return value


def _count(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise SettingError(f"{name}: expected a number from 1 to 1000000, got {value!r}")
    return value

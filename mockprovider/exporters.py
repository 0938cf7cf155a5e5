"""Recordings for other tools: a raw body, an HTTP archive (HAR 1.2), or a cassette of vcrpy's.

None of these forms knows writes, HTTP chunks, or how an exchange ended; what they do know is given as it was recorded.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from mockprovider import __version__
from mockprovider.errors import SettingError
from mockprovider.recording import RecordedHead, Recording
from mockprovider.show.events import decode

__all__ = ["NOWHERE", "SUFFIXES", "har", "sse", "vcrpy"]

NOWHERE = "https://recorded.invalid"
"""The origin of recordings that do not tell theirs: a recording has only the target of the request line."""
SUFFIXES = {"sse": ".sse", "har": ".har", "vcrpy": ".yaml"}
_UNIX_EPOCH = "1970-01-01T00:00:00Z"


def sse(recording: Recording) -> bytes:
    """The content as it came, without transfer coding and content coding. SettingError where it cannot be decoded."""
    return _plain(recording)


def _plain(recording: Recording) -> bytes:
    head = recording.head
    coding = head.header("content-encoding") if head is not None and not recording.decoded else None
    decoded = decode([(0.0, recording.content)], coding)
    if decoded.problem is not None and recording.ending == "end":
        raise SettingError(f"export: {recording.name or 'recording'}: {decoded.problem}")
    return decoded.content


def _url(recording: Recording, origin: str | None) -> str:
    told = recording.source.get("origin")
    return (origin or (told if isinstance(told, str) and told else NOWHERE)).rstrip("/") + recording.request.target


def _answered(recording: Recording) -> RecordedHead:
    if recording.head is None:
        raise SettingError(f"export: {recording.name or 'recording'}: no response came, and these forms need one")
    return recording.head


# ---------------------------------------------------------------------------------------------- HAR 1.2


def har(recordings: Sequence[Recording], *, origin: str | None = None) -> bytes:
    """An HTTP archive with an entry for each. origin: such as `https://api.openai.com`, where they do not tell theirs.

    SettingError for a recording without a response.
    """
    log = {
        "version": "1.2",
        "creator": {"name": "mockprovider", "version": __version__},
        "entries": [_entry(recording, origin) for recording in recordings],
    }
    return json.dumps({"log": log}, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"


def _entry(recording: Recording, origin: str | None) -> dict[str, Any]:
    request, head = recording.request, _answered(recording)
    plain = _plain(recording)
    timings, comment = _timings(recording)
    asked: dict[str, Any] = {
        "method": request.method,
        "url": _url(recording, origin),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(request.headers),
        "queryString": [{"name": k, "value": v} for k, v in parse_qsl(request.query, keep_blank_values=True)],
        "headersSize": -1,
        "bodySize": len(request.body),
    }
    if request.body:
        asked["postData"] = _posted(request.body, request.header("content-type") or "application/json")
    content: dict[str, Any] = {"size": len(plain), "mimeType": head.header("content-type") or "", **_text(plain)}
    if len(plain) != len(recording.content):
        content["compression"] = len(plain) - len(recording.content)
    entry = {
        "startedDateTime": recording.recorded or _UNIX_EPOCH,
        "time": sum(value for value in timings.values() if value > 0),
        "request": asked,
        "response": {
            "status": head.status,
            "statusText": head.reason,
            "httpVersion": f"HTTP/{head.version}",
            "cookies": [],
            "headers": _pairs(head.headers),
            "content": content,
            "redirectURL": head.header("location") or "",
            "headersSize": len(head.encode()),
            "bodySize": len(recording.content),
        },
        "cache": {},
        "timings": timings,
    }
    notes = [*comment, *([] if recording.recorded else ["when it was recorded is not known"])]
    if recording.ending != "end":
        notes.append(f"the exchange ended with {recording.ending or 'an unknown end'}")
    return {**entry, "comment": "; ".join(notes)} if notes else entry


def _timings(recording: Recording) -> tuple[dict[str, float], list[str]]:
    """In milliseconds, from the complete request on; -1 for what is not known of, as HAR has it."""
    unknown = {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0}
    if "timing" in recording.synthetic:
        told = recording.source.get("duration")
        known = isinstance(told, int | float) and not isinstance(told, bool)
        wait = round(told * 1000, 3) if known else 0  # type: ignore[operator]
        note = "its timing was not recorded" + (", but for how long it took" if known else "")
        return {**unknown, "wait": wait, "receive": 0}, [note]
    clock = wait = 0.0
    for read in recording.reads:
        clock += read.gap
        if read.head is recording.head:
            wait = clock
    return {**unknown, "wait": round(wait * 1000, 3), "receive": round((recording.duration - wait) * 1000, 3)}, []


def _pairs(headers: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(data).decode(), "encoding": "base64"}


def _posted(body: bytes, kind: str) -> dict[str, Any]:
    return {"mimeType": kind, "params": [], **_text(body)}


# ---------------------------------------------------------------------------------------------- vcrpy


def vcrpy(recordings: Sequence[Recording], *, origin: str | None = None) -> bytes:
    """A cassette of vcrpy's, version 1, in YAML, with the recordings in order. origin: as for `har`.

    SettingError where PyYAML is missing, and for a recording without a response.
    """
    try:
        import yaml
    except ImportError as error:
        raise SettingError(
            "export: PyYAML is needed for YAML and is not installed; pip install 'mockprovider[import]'"
        ) from error
    cassette = {"interactions": [_interaction(recording, origin) for recording in recordings], "version": 1}
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    written: str = yaml.dump(cassette, Dumper=dumper, sort_keys=True, allow_unicode=False, width=120)
    return written.encode()


def _interaction(recording: Recording, origin: str | None) -> dict[str, Any]:
    request, head = recording.request, _answered(recording)
    headers = head.headers
    if recording.decoded:
        headers = tuple((name, value) for name, value in headers if name.lower() != "content-encoding")
    return {
        "request": {
            "body": _readable(request.body) if request.body else None,
            "headers": _lists(request.headers),
            "method": request.method,
            "uri": _url(recording, origin),
        },
        "response": {
            "body": {"string": _readable(recording.content)},
            "headers": _lists(headers),
            "status": {"code": head.status, "message": head.reason},
        },
    }


def _readable(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _lists(headers: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found

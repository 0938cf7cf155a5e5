"""The lines of a recording file; `loads` is their inverse. The package's docstring tells the format."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from mockprovider.recording.lifting import Lifter
from mockprovider.recording.model import RecordedRequest, Recording, final

__all__ = ["VERSION", "body_part", "dumps", "ending_line", "header_line", "read_lines", "request_document"]

VERSION = 1


def dumps(recording: Recording) -> bytes:
    """The recording as the bytes of a file; `loads` gives it back."""
    lines = [header_line(recording.request, recording.recorded, recording.source)]
    lifter = Lifter(bodyless=recording.request.method == "HEAD")
    for read in recording.reads:
        lines += read_lines(lifter, read.gap, read.wire, recording.decoded)
    if recording.ending is not None:
        lines.append(ending_line(recording.ending, recording.ending_gap))
    return b"".join(lines)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def line_of(value: Any) -> bytes:
    """A value as one line of JSON."""
    return _encode(value).encode("utf-8", "backslashreplace") + b"\n"


def header_line(request: RecordedRequest, recorded: str, source: Mapping[str, Any] | None = None) -> bytes:
    """The first line of a file."""
    document: dict[str, Any] = {"mockprovider": VERSION, "recorded": recorded}
    document["request"] = request_document(request)
    if request.body:
        key, value = body_part(request.body)
        document["request"][key] = value
    if source:
        document["source"] = dict(source)
    return line_of(document)


def request_document(request: RecordedRequest) -> dict[str, Any]:
    """The request as it stands in the first line, without its body."""
    return {"method": request.method, "target": request.target, "headers": [list(pair) for pair in request.headers]}


def body_part(body: bytes) -> tuple[str, Any]:
    """The key and the value of a body: as JSON where that gives the bytes back, which it does for the compact form."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "body64", _base64(body)
    try:
        value = json.loads(text)
        if value is not None and compact(value) == text:
            return "body", value
    except (ValueError, RecursionError):
        pass
    return "text", text


def read_lines(lifter: Lifter, gap: float, wire: bytes, decoded: str = "") -> list[bytes]:
    """The lines of one read. lifter: has seen all reads before it; decoded: the content coding that was removed."""
    lifted = lifter.feed(wire)
    gap = round(gap, 6)
    if not wire:
        return []
    if not lifted.canonical:
        return [line_of([gap, *_spelled("wire", wire)])]
    lines: list[list[Any]] = []
    for head in lifted.heads:
        values = {"version": head.version, "status": head.status, "reason": head.reason}
        lines.append([0.0, "head", {**values, "headers": [list(pair) for pair in head.headers]}])
        if decoded and final(head):
            lines[-1].append({"decoded": decoded})
    if lifted.content or lifted.chunks:
        lines.append([0.0, *_spelled("write", lifted.content)])
        if lifted.chunks is not None:
            lines[-1].append({"chunks": lifted.chunks})
    lines[0][0] = gap
    for line in lines[1:]:
        notes = line.pop() if isinstance(line[-1], dict) and len(line) > 3 else {}
        line.append({**notes, "joined": True})
    return [line_of(line) for line in lines]


def ending_line(ending: str, gap: float) -> bytes:
    """The last line of a file that is whole."""
    return line_of([round(gap, 6), ending])


def _spelled(kind: str, data: bytes) -> tuple[str, str]:
    try:
        return kind, data.decode()
    except UnicodeDecodeError:
        return kind + "64", _base64(data)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

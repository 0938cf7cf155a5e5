"""A recording from the bytes of its file. Everything is checked: what this version does not know is an error."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from mockprovider.errors import RecordingError
from mockprovider.recording.lifting import RecordedHead
from mockprovider.recording.model import ENDINGS, RecordedRequest, Recording
from mockprovider.recording.writing import VERSION, compact

__all__ = ["loads"]

_NOTES = {
    "head": {"joined", "decoded"},
    "write": {"joined", "chunks"},
    "write64": {"joined", "chunks"},
    "wire": {"joined"},
    "wire64": {"joined"},
}


def loads(text: bytes, path: Path | None = None) -> Recording:
    """The recording in the bytes of a file. path: where it is from, for messages and for `Recording.path`.

    RecordingError, with the line, for what is damaged or not known. A last line without its end was being written when
    the recorder was killed: it is left out.
    """
    return _Reader(path).read(text)


class _Reader:
    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._number = 0
        self._wires: list[tuple[float, bytes]] = []
        self._ending: str | None = None
        self._ending_gap = 0.0
        self._decoded = ""

    def _fail(self, reason: str) -> NoReturn:
        where = f"{self._path if self._path is not None else 'recording'}, line {self._number}"
        raise RecordingError(f"{where}: {reason}")

    def read(self, text: bytes) -> Recording:
        lines = text.split(b"\n")
        if lines[-1]:
            # Editors leave out the last line's end; a recorder that is killed leaves a line without it that is no JSON.
            try:
                json.loads(lines[-1])
            except ValueError:
                lines[-1] = b""
        lines = lines[:-1] if not lines[-1] else lines
        self._number = 1
        if not lines:
            self._fail("the recording is empty, or was cut off in its first line: nothing of a response is in it")
        header = self._header(self._json(lines[0]))
        for line in lines[1:]:
            self._number += 1
            if line.strip():
                self._line(self._json(line))
        return Recording.of(
            ending=self._ending, ending_gap=self._ending_gap, decoded=self._decoded, path=self._path,
            wires=self._wires, **header,
        )  # fmt: skip

    def _json(self, line: bytes) -> Any:
        try:
            return json.loads(line.decode())
        except RecursionError:
            self._fail("it is nested too deeply")
        except ValueError as error:
            self._fail(f"no JSON: {error}")

    # ------------------------------------------------------------------------------------------ the header

    def _header(self, header: Any) -> dict[str, Any]:
        if not isinstance(header, dict) or "mockprovider" not in header:
            self._fail('no recording of mockprovider: its first line begins with {"mockprovider": 1')
        if header["mockprovider"] != VERSION or isinstance(header["mockprovider"], bool):
            self._fail(f"version {header['mockprovider']!r} of the format is not known; this program reads {VERSION}")
        self._keys(header, {"mockprovider", "recorded", "request"}, {"source"})
        source = self._a(dict, header.get("source", {}), "source")
        synthetic = source.get("synthetic", [])
        if not isinstance(synthetic, list) or not all(isinstance(word, str) for word in synthetic):
            self._fail("source: synthetic is a list of words")
        recorded = self._a(str, header["recorded"], "recorded")
        return {"recorded": recorded, "request": self._request(header["request"]), "source": source}

    def _request(self, value: Any) -> RecordedRequest:
        value = self._a(dict, value, "request")
        self._keys(value, {"method", "target", "headers"}, {"body", "text", "body64"})
        given = [key for key in ("body", "text", "body64") if key in value]
        if len(given) > 1:
            self._fail(f"request: either of {' and '.join(given)}, not both")
        body = b""
        if "body" in given:
            body = compact(value["body"]).encode("utf-8", "backslashreplace")
        elif "text" in given:
            body = self._utf8(value["text"], "request: text")
        elif given:
            body = self._unbase64(value["body64"], "request: body64")
        method, target = (self._a(str, value[key], f"request: {key}") for key in ("method", "target"))
        return RecordedRequest(method, target, self._pairs(value["headers"]), body)

    # ------------------------------------------------------------------------------------------ the other lines

    def _line(self, line: Any) -> None:
        if self._ending is not None:
            self._fail(f"a line after the ending {self._ending!r}")
        if not isinstance(line, list) or len(line) < 2:
            self._fail("expected [gap, kind, ...]")
        gap, kind, *rest = line
        if isinstance(gap, bool) or not isinstance(gap, int | float) or not 0 <= gap < math.inf:
            self._fail(f"a gap is a number of seconds of at least 0, not {gap!r}")
        if kind in ENDINGS and not rest:
            self._ending, self._ending_gap = kind, float(gap)
            return
        if not isinstance(kind, str) or kind not in _NOTES:
            self._fail(f"unknown kind {kind!r}; known: {', '.join((*_NOTES, *ENDINGS))}")
        if not 1 <= len(rest) <= 2:
            self._fail(f"expected [gap, {json.dumps(kind)}, value, notes?]")
        notes = self._a(dict, rest[1], "notes") if len(rest) > 1 else {}
        self._keys(notes, set(), _NOTES[kind])
        self._add(float(gap), self._bytes(kind, rest[0], notes), notes.get("joined", False))

    def _add(self, gap: float, data: bytes, joined: object) -> None:
        if not isinstance(joined, bool):
            self._fail(f"joined is true or false, not {joined!r}")
        if not data:
            self._fail("a line without bytes")
        if not joined:
            self._wires.append((gap, data))
            return
        if not self._wires or gap:
            self._fail("a joined line has a gap of 0 and a line before it")
        self._wires[-1] = (self._wires[-1][0], self._wires[-1][1] + data)

    def _bytes(self, kind: str, value: Any, notes: dict[str, Any]) -> bytes:
        """What the line is on the connection."""
        if kind == "head":
            return self._head(value, notes)
        data = self._unbase64(value, kind) if kind.endswith("64") else self._utf8(value, kind)
        if "chunks" not in notes:
            return data
        return b"".join(self._chunked(data, notes["chunks"]))

    def _chunked(self, data: bytes, sizes: Any) -> Iterator[bytes]:
        if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
            self._fail(f"chunks: a list of sizes, not {sizes!r}")
        if sum(sizes) != len(data):
            self._fail(f"chunks: they add up to {sum(sizes)} bytes, and the content has {len(data)}")
        at = 0
        for size in sizes:
            yield b"%x\r\n%b\r\n" % (size, data[at : at + size])
            at += size

    def _head(self, value: Any, notes: dict[str, Any]) -> bytes:
        value = self._a(dict, value, "head")
        self._keys(value, {"version", "status", "reason", "headers"}, set())
        version, reason = self._a(str, value["version"], "version"), self._a(str, value["reason"], "reason")
        status = value["status"]
        if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 999:
            self._fail(f"status: a number of three digits, not {status!r}")
        if "decoded" in notes:
            self._decoded = self._a(str, notes["decoded"], "decoded")
        try:
            return RecordedHead(version, status, reason, self._pairs(value["headers"])).encode()
        except UnicodeEncodeError as error:
            self._fail(f"head: {error.object[error.start]!r} cannot stand in a head, whose characters are Latin-1")

    # ------------------------------------------------------------------------------------------ values

    def _keys(self, given: dict[str, Any], needed: set[str], allowed: set[str]) -> None:
        if missing := sorted(needed - set(given)):
            self._fail(f"{', '.join(missing)}: missing")
        if unknown := sorted(set(given) - needed - allowed):
            known = f"; known here: {', '.join(sorted(needed | allowed))}"
            self._fail(f"{', '.join(unknown)}: not known to version {VERSION} of the format{known}")

    def _a(self, kind: type, value: Any, what: str) -> Any:
        if not isinstance(value, kind):
            self._fail(f"{what}: expected {'an object' if kind is dict else 'a text'}, got {value!r:.80}")
        return value

    def _utf8(self, value: Any, what: str) -> bytes:
        try:
            encoded: bytes = self._a(str, value, what).encode()
        except UnicodeEncodeError:
            self._fail(f"{what}: a lone surrogate has no UTF-8 form; write the bytes as base64")
        return encoded

    def _unbase64(self, value: Any, what: str) -> bytes:
        try:
            return base64.b64decode(self._a(str, value, what), validate=True)
        except (binascii.Error, ValueError) as error:
            self._fail(f"{what}: no base64: {error}")

    def _pairs(self, value: Any) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair) for pair in value
        ):
            self._fail("headers: a list of [name, value]")
        return tuple((name, text) for name, text in value)

"""Recordings on disk: read one or a folder of them, and write one line by line as an exchange happens."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Self

from mockprovider.errors import RecordingError
from mockprovider.recording.lifting import Lifter
from mockprovider.recording.model import RecordedRequest, Recording
from mockprovider.recording.reading import loads
from mockprovider.recording.writing import VERSION, ending_line, header_line, line_of, read_lines, request_document

__all__ = ["RecordingWriter", "load", "load_folder", "samples"]


def load(path: Path | str) -> Recording:
    """The recording in a file. RecordingError where it cannot be read, is damaged, or of an unknown version."""
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error
    return loads(text, path)


def load_folder(folder: Path | str) -> list[Recording]:
    """All recordings in a folder, those in its folders left out, in the order of their names (2 before 10).

    RecordingError where there is no such folder, and for a damaged file: one that were left out would be missed later.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder")
    return [load(path) for path in sorted(folder.glob("*.ndjson"), key=_natural)]


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(word), word) if word.isdecimal() else (-1, word) for word in re.split(r"([0-9]+)", path.name)]


def samples() -> Path:
    """The folder of the recordings that come with the package, in a checkout as in an installation.

    RecordingError where they are missing.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "samples", package.parent / "recordings"):
        if folder.is_dir():
            return folder
    raise RecordingError(f"the recordings that come with the package are not in {package / 'samples'}")


class RecordingWriter:
    """Writes a recording while its exchange happens, each line with one `write(2)` before it returns.

    `begin` it, or `begin_upload`; then `read` what comes, and `end` it, once each. OSError where the disk is full.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.decoded = ""
        """The content coding that was removed from what `read` is given; to be set before the head comes."""
        self._descriptor = descriptor
        self._lifter = Lifter()
        self._late = 0.0  # seconds by which the gaps written are behind the true ones, for they are rounded
        self._upload: _Upload | None = None

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new file. FileExistsError where there is one: nothing is ever recorded over."""
        return cls(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644))

    def begin(self, request: RecordedRequest, recorded: str) -> None:
        """Write the first line. recorded: when, as ISO 8601 in UTC."""
        self._lifter = Lifter(bodyless=request.method == "HEAD")
        self._write(header_line(request, recorded))

    def begin_upload(self, request: RecordedRequest, recorded: str) -> None:
        """Begin the first line of a request whose body is too large to be held: `upload` brings it."""
        self._lifter = Lifter(bodyless=request.method == "HEAD")
        head = {"mockprovider": VERSION, "recorded": recorded, "request": request_document(request)}
        self._write(line_of(head)[:-3] + b', "body64": "')
        self._upload = _Upload()
        self.upload(request.body)

    def upload(self, data: bytes) -> None:
        """More of the body."""
        if self._upload is not None:
            self._write(self._upload.feed(data))

    def end_upload(self) -> None:
        """The body is complete, or no more of it is to be recorded."""
        if self._upload is not None:
            self._write(self._upload.flush() + b'"}}\n')
            self._upload = None

    def read(self, gap: float, wire: bytes) -> None:
        """Write what one read brought, as on the connection, so many seconds after the one before."""
        self.end_upload()
        lines = read_lines(self._lifter, self._gap(gap), wire, self.decoded)
        self._write(b"".join(lines))

    def end(self, kind: str, gap: float) -> None:
        """Write how it ended, one of `ENDINGS`, and close the file."""
        self.end_upload()
        self._write(ending_line(kind, self._gap(gap)))
        self.close()

    def close(self) -> None:
        """Close the file; without `end`, the recording stays incomplete."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _gap(self, gap: float) -> float:
        """The gap in microseconds such that many of them add up to the true time."""
        rounded = max(0.0, round(gap + self._late, 6))
        self._late += gap - rounded
        return rounded

    def _write(self, data: bytes) -> None:
        while data:  # a disk that is nearly full takes a part
            data = data[os.write(self._descriptor, data) :]


class _Upload:
    """Base64 of bytes that come in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = len(data) - len(data) % 3
        self._rest = data[whole:]
        return base64.b64encode(data[:whole])

    def flush(self) -> bytes:
        return base64.b64encode(self._rest)

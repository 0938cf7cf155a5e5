"""What other tools have recorded, as recordings. `read_file` reads a file of any known format; `collect`, many.

format      what it is                                                     reader
vcrpy       vcrpy's cassettes, pytest-recording's, pydantic-ai's           cassettes.vcrpy
ruby-vcr    Ruby's VCR                                                     cassettes.rubyvcr
go-vcr      go-vcr, versions 1 and 2 of its format                         cassettes.govcr
dd-apm      dd-apm-test-agent, an exchange a file                          cassettes.ddapm
har         HTTP archives of browsers, proxies and Polly.JS                har.har
aimock      aimock's fixtures                                              aimock.aimock
chunks      a JSON payload a line, `*.chunks.txt`                          bodies.chunks
capture     `NAME.raw` with `NAME.tap.jsonl`                               capture.capture
stream      a saved body: server-sent events, or lines of JSON             bodies.stream
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mockprovider.errors import nearest
from mockprovider.importers import yamltext
from mockprovider.importers.aimock import aimock
from mockprovider.importers.assembling import recording_of
from mockprovider.importers.base import Reader, Refusal, Refused, Source
from mockprovider.importers.bodies import chunks, stream
from mockprovider.importers.capture import capture
from mockprovider.importers.cassettes import ddapm, govcr, rubyvcr, vcrpy
from mockprovider.importers.har import har
from mockprovider.recording import Recording
from mockprovider.redaction import Redactor

__all__ = ["FORMATS", "Imported", "Refusal", "Refused", "collect", "names_for", "read_file"]

FORMATS: dict[str, Reader] = {
    "vcrpy": vcrpy,
    "ruby-vcr": rubyvcr,
    "go-vcr": govcr,
    "dd-apm": ddapm,
    "har": har,
    "aimock": aimock,
    "chunks": chunks,
    "capture": capture,
    "stream": stream,
}
_DOCUMENTS = ("vcrpy", "ruby-vcr", "go-vcr", "dd-apm", "har", "aimock")
_SUFFIXES = (".yaml", ".yml", ".har", ".json", ".sse", ".chunks.txt", ".raw")
"""What is taken from a folder. A file that is named by itself may be called anything."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a source: recordings, each with its number in the file, and what was refused."""

    file: Path
    form: str | None
    recordings: tuple[tuple[int, Recording], ...]
    refusals: tuple[Refusal, ...]


def collect(sources: Sequence[Path]) -> list[tuple[Path, Path]]:
    """The files to import, each as (file, what it is called): those of a folder by their path in it, in order."""
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if source.is_dir():
            files = sorted(path for path in source.rglob("*") if path.is_file() and path.name.endswith(_SUFFIXES))
            found += [(path, path.relative_to(source)) for path in files]
        else:
            found.append((source, Path(source.name)))
    return found


def read_file(path: Path, redactor: Redactor, *, form: str | None = None, name: str | None = None) -> Imported:
    """All that a file holds. Nothing is raised for what is in it: that is refused, with the reason.

    redactor: what removes secrets; form: one of FORMATS, or None to find out; name: how the file is called in messages.
    """
    name = name or path.name
    recordings: list[tuple[int, Recording]] = []
    refusals: list[Refusal] = []
    try:
        source = Source(path, name, path.read_bytes())
        form, source = _recognised(source, form)
        for number, found in enumerate(FORMATS[form](source), start=1):
            try:
                if isinstance(found, Refused):
                    raise found
                recordings.append((number, recording_of(found, form, source, number, redactor)))
            except Refused as refused:
                refusals.append(Refusal(name, number, refused.reason, refused.fix))
        if not recordings and not refusals:
            raise Refused("there are no interactions in it", "leave it out")
    except Refused as refused:
        refusals.append(Refusal(name, None, refused.reason, refused.fix))
    except OSError as error:
        refusals.append(Refusal(name, None, f"cannot be read: {error.strerror}", "check the path and the permissions"))
    return Imported(path, form, tuple(recordings), tuple(refusals))


# ---------------------------------------------------------------------------------------------- which format


def _recognised(source: Source, form: str | None) -> tuple[str, Source]:
    """(the format, the source with its document). Refused where none fits."""
    if form is not None and form not in FORMATS:
        raise Refused(f"unknown format {form!r}{nearest(form, tuple(FORMATS))}", "name another, or none")
    by_name = _by_name(source) if form is None else form
    if by_name is not None and by_name not in _DOCUMENTS:
        return by_name, source
    document = _document(source)
    if form is None and not isinstance(document, dict):
        if isinstance(document, str) or document is None:
            return "stream", source
        raise Refused("it is no format that is known here", f"known are {', '.join(FORMATS)}")
    if not isinstance(document, dict):
        raise Refused(f"it is no mapping, as {form} has it", "repair the file, or name another format")
    form = form or _of(document)
    return form, Source(source.path, source.name, source.data, document)


def _by_name(source: Source) -> str | None:
    """The format that the name, or the beginning, tells of without parsing."""
    name = source.path.name
    if source.data.startswith(b'{"mockprovider"'):
        raise Refused("it is a recording already", "leave it where it is, or copy it")
    if name.endswith(".chunks.txt"):
        return "chunks"
    if name.endswith(".raw"):
        return "capture"
    if name.endswith(".tap.jsonl"):
        raise Refused("it is the tap of a capture", "import the .raw file beside it")
    if name.endswith((".yaml", ".yml", ".har", ".json")):
        return None
    start = source.data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if name.endswith(".sse") or re.match(rb"(data|event|id|retry)?:", start):
        return "stream"
    if name.endswith((".jsonl", ".ndjson")):
        return "stream"
    return None


def _document(source: Source) -> Any:
    start = source.data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start in (b"{", b"[") or source.path.suffix in (".json", ".har"):
        try:
            return json.loads(source.data)
        except (ValueError, RecursionError) as error:
            if source.path.suffix in (".json", ".har"):
                raise Refused(f"no JSON: {error!s:.200}", "repair the file") from error
    return yamltext.load(source.data)


def _of(document: dict[str, Any]) -> str:
    """The format of a document, by the keys that only it has."""
    if isinstance(document.get("log"), dict) and "entries" in document["log"]:
        return "har"
    if "http_interactions" in document:
        return "ruby-vcr"
    if "fixtures" in document:
        return "aimock"
    if "interactions" in document:
        several = document["interactions"] if isinstance(document["interactions"], list) else []
        first = next((one for one in several if isinstance(one, dict)), {})
        response = first.get("response")
        request = first.get("request")
        goes = isinstance(request, dict) and "url" in request and isinstance(response, dict) and "code" in response
        return "go-vcr" if goes or document.get("version") == 2 else "vcrpy"
    if "request" in document and "response" in document:
        return "dd-apm"
    raise Refused(
        f"it is no format that is known here (its keys: {', '.join(map(str, list(document)[:6]))})",
        f"known are {', '.join(FORMATS)}",
    )


# ---------------------------------------------------------------------------------------------- names


def names_for(called: Path, imported: Imported) -> Iterator[tuple[str, Recording]]:
    """(a name, a recording) for each: that of its file, folders included, with its number where there are several.

    The same sources have the same names each time.
    """
    parts = [part for part in called.parts if part not in ("..", ".", "/")]
    stem = re.sub(r"(\.chunks\.txt|\.[A-Za-z]{1,5})$", "", parts[-1])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "--".join([*parts[:-1], stem])).strip("-.") or "recording"
    if len(name) > _LONGEST:
        import hashlib

        name = f"{name[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    several = len(imported.recordings) + sum(refusal.interaction is not None for refusal in imported.refusals) > 1
    for number, recording in imported.recordings:
        yield (f"{name}-{number}" if several else name), recording


_LONGEST = 150
"""Characters of a name: file systems allow 255 bytes, and a suffix and a number have to fit."""

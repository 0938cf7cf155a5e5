"""Recorded exchanges, whatever form they were kept in, and which of them are the newest."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mockprovider.errors import RecordingError
from mockprovider.importers import collect, read_file
from mockprovider.recording import Recording
from mockprovider.recording import load as load_own
from mockprovider.redaction import Redactor
from mockprovider.show.events import decode
from scripts.fidelity_tool.events import CHAT, Event, events

__all__ = ["Recorded", "load"]

_ENDINGS = (
    ("/chat/completions", CHAT),
    ("/completions", "openai-completions"),
    ("/responses", "openai-responses"),
    ("/embeddings", "openai-embeddings"),
    ("/v1/messages", "anthropic-messages"),
    ("/messages/count_tokens", "anthropic-messages"),
    ("generateContent", "gemini"),
    ("/api/chat", "ollama-chat"),
    ("/api/generate", "ollama-generate"),
)


_SAID = {"gemini-sse": "gemini", "gemini-json-array": "gemini", "gemini-ndjson": "gemini"}
"""What manifests call a dialect that has a name of its own here."""


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange.

    name: the file below the folder, and its number in it where there are several; target: path and query, `/` where
    they were not kept; headers: of the response, names in lower case, None where they were not kept; provider,
    said_dialect: what a manifest says, or nothing; lost: what the source did not keep, as importers name it.
    """

    name: str
    host: str
    target: str
    request: bytes
    request_headers: Mapping[str, str]
    status: int
    headers: Mapping[str, str] | None
    body: bytes
    recorded: str = ""
    lost: frozenset[str] = frozenset()
    provider: str = ""
    said_dialect: str = ""

    @property
    def exact(self) -> bool:
        """Whether the body's line ends are as they came."""
        return not self.lost & {"framing", "content"}

    @property
    def payloads(self) -> bool:
        """Whether the source kept payloads alone."""
        return self.lost >= {"framing", "head"} and ".chunks." in self.name

    @property
    def ordered(self) -> bool:
        """Whether the body's JSON is written as it came."""
        return "content" not in self.lost

    @cached_property
    def asked(self) -> dict[str, Any] | None:
        """The request's document; None where it was not kept."""
        try:
            document = json.loads(self.request)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    @cached_property
    def events(self) -> list[Event]:
        """What came."""
        found = events(self.body, (self.headers or {}).get("content-type", ""))
        # Of a list of payloads the end is the importer's.
        return [event for event in found if not self.payloads or event.text != "[DONE]"]

    @cached_property
    def documents(self) -> list[Any]:
        """What came, parsed; what is no JSON object is left out."""
        return [event.document for event in self.events if isinstance(event.document, dict)]

    @property
    def stream(self) -> bool:
        """Whether it came as a stream."""
        return self.body.lstrip()[:1] not in (b"{", b"[") or len(self.events) > 1

    @cached_property
    def dialect(self) -> str:
        """Which endpoint was asked, by its path, else by what it answered; nothing where that is unknown."""
        path = urlsplit(self.target).path
        for ending, dialect in _ENDINGS:
            if path.endswith(ending):
                return dialect
        return _sniffed(self.documents) or _SAID.get(self.said_dialect, self.said_dialect)

    @cached_property
    def date(self) -> float:
        """When it was recorded, in seconds since the epoch, as far as it tells; 0 where it does not."""
        if self.recorded:
            return datetime.fromisoformat(self.recorded.replace("Z", "+00:00")).timestamp()
        if self.headers and self.headers.get("date"):
            try:
                return parsedate_to_datetime(self.headers["date"]).timestamp()
            except ValueError:
                pass
        found = re.findall(rb'"created(?:_at)?": ?(1[5-9]\d{8})\b', self.body[:20_000])
        return max(map(float, found), default=_made(str(self.documents[:1])))


def _made(text: str) -> float:
    """The day in a model's name, such as `-20250929` or `-2025-08-07`: the recording is no older; 0 where none is."""
    found = re.search(r"-(20[2-9]\d)-?([01]\d)-?([0-3]\d)\b", text)
    try:
        day = "".join(found.groups()) if found else "19700101"
        return datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _sniffed(documents: list[Any]) -> str:
    for document in documents:
        if "done" in document and "model" in document:
            return "ollama-chat" if "message" in document else "ollama-generate"
        if str(document.get("object", "")).startswith("chat.completion"):
            return CHAT
        if document.get("object") == "text_completion":
            return "openai-completions"
        if "candidates" in document:
            return "gemini"
        if document.get("type") == "message_start":
            return "anthropic-messages"
        if str(document.get("type", "")).startswith("response."):
            return "openai-responses"
    return ""


def load(folder: Path) -> tuple[list[Recorded], list[str]]:
    """All exchanges of a folder, by name, and what could not be read, with the reason."""
    known = _manifest(folder / "manifest.tsv")
    found: list[Recorded] = []
    failed: list[str] = []
    for path in sorted(folder.rglob("*.ndjson")):
        try:
            found.append(_recorded(path.relative_to(folder).as_posix(), load_own(path)))
        except RecordingError as error:
            failed.append(str(error))
    for path, _ in collect([folder]):
        name = path.relative_to(folder).as_posix()
        imported = read_file(path, Redactor(), name=name)
        failed += map(str, imported.refusals)
        provider, dialect = known.get(name, ("", ""))
        for number, recording in imported.recordings:
            if recording.head is not None and recording.content:
                called = name if len(imported.recordings) == 1 else f"{name}#{number}"
                found.append(replace(_recorded(called, recording), provider=provider, said_dialect=dialect))
    return found, failed


def _recorded(name: str, recording: Recording) -> Recorded:
    assert recording.head is not None, "what has no head was left out"
    request = recording.request
    sent = {key.lower(): value for key, value in request.headers}
    origin = str(recording.source.get("origin", ""))
    headers = {key.lower(): value for key, value in recording.head.headers}
    return Recorded(
        name,
        urlsplit(origin).netloc or sent.get("host", ""),
        "" if "request" in recording.synthetic and not origin else request.target,
        b"" if "request" in recording.synthetic and not origin else request.body,
        sent,
        recording.head.status,
        None if "head" in recording.synthetic else headers,
        _plain(recording.content, headers.get("content-encoding", "")),
        recording.recorded,
        recording.synthetic,
    )


def _plain(content: bytes, coding: str) -> bytes:
    """The content without its compression; as it is where it has none, or cannot be read."""
    found = decode([(0.0, content)], coding) if content and coding else None
    return content if found is None or found.problem is not None else found.content


def _manifest(path: Path) -> dict[str, tuple[str, str]]:
    """Provider and dialect by file, from a table beside the recordings, if there is one."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["path"]: (row["provider"], row["dialect"].replace("error-json", "")) for row in rows}

"""From what another tool has kept of an exchange to a recording, with a note of all that it has not kept.

A format's reader makes `Interaction`s and `Refusal`s; `recording_of` does what they all need: it redacts, decodes what
would hide secrets, and makes the head agree with the content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mockprovider.recording import RecordedRequest

__all__ = [
    "Interaction",
    "Reader",
    "Refusal",
    "Refused",
    "Source",
    "headers_of",
    "mapping",
    "moment_of",
    "number",
    "octets",
    "phrase",
    "request_of",
    "status_of",
]


class Refused(Exception):
    """What a reader raises for an interaction, or a file, that cannot be a recording. fix: what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason}; {fix}")
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was not imported. interaction: counted from 1; None: the whole file."""

    file: str
    interaction: int | None
    reason: str
    fix: str

    def __str__(self) -> str:
        where = self.file if self.interaction is None else f"{self.file}, interaction {self.interaction}"
        return f"{where}: {self.reason}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Interaction:
    """An exchange as its source has it.

    status, reason, headers: of the response; None, "" and () where the source has no head. content: what it has of the
    body, in its content coding if it kept that. made_up: what the source lacks and the reader has put, besides timing
    and boundaries: `request`, `head`, `framing`, `content`. wait, duration: seconds until the head and until the end,
    where the source tells; reads: (gap, bytes on the connection) where it is a capture of one; pieces: (gap, content)
    where it has writes and times. notes: sentences about what was changed.
    """

    request: RecordedRequest
    status: int | None
    content: bytes
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    recorded: str = ""
    origin: str = ""
    made_up: tuple[str, ...] = ()
    wait: float | None = None
    duration: float | None = None
    reads: tuple[tuple[float, bytes], ...] | None = None
    pieces: tuple[tuple[float, bytes], ...] | None = None
    ending: str | None = "end"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import. name: how it is called in messages and in `source.file`; document: its parsed form, if any."""

    path: Path
    name: str
    data: bytes
    document: Any = None


Reader = Callable[[Source], Iterator[Interaction | Refused]]
"""Yields, for each interaction in order, itself or why it is refused. Refused raised: the whole file."""


# ---------------------------------------------------------------------------------------------- for the readers


def mapping(value: object, what: str) -> dict[str, Any]:
    """The value as a mapping. Refused where it is none."""
    if isinstance(value, dict):
        return value
    raise Refused(f"{what} is {_kind(value)} and not a mapping", "repair the file or leave this interaction out")


def _kind(value: object) -> str:
    return "missing" if value is None else f"{type(value).__name__}"


def number(value: object, what: str) -> int:
    """The value as a whole number, which a text may stand for. Refused where it is none."""
    try:
        return int(str(value))
    except ValueError:
        raise Refused(
            f"{what} is {value!r:.60}, not a number", "repair the file or leave this interaction out"
        ) from None


def octets(value: object, what: str) -> bytes:
    """A body as bytes: text is UTF-8. Refused where it is neither text, bytes nor absent."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    raise Refused(f"{what} is {_kind(value)}, not text or bytes", "repair the file or leave this interaction out")


def headers_of(value: object) -> tuple[tuple[str, str], ...]:
    """Headers from any form in the field: name → value, name → list of values, or a list of {name, value}."""
    found: list[tuple[str, str]] = []
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                found.append((_field(item.get("name", "")), _field(item.get("value", ""))))
            elif isinstance(item, list | tuple) and len(item) == 2:
                found.append((_field(item[0]), _field(item[1])))
    elif isinstance(value, dict):
        for name, values in value.items():
            several = values if isinstance(values, list | tuple) else [values]
            found += [(_field(name), _field(one)) for one in several]
    # Names that begin with a colon are HTTP/2's; an empty one is damage.
    return tuple((name, text) for name, text in found if name and not name.startswith(":"))


def _field(value: object) -> str:
    """A header's name or value as HTTP carries it: one line, in Latin-1 (where it was UTF-8, each byte a character)."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    text = re.sub(r"[\r\n\0]+", " ", "" if value is None else str(value))
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode("latin-1")
    return text


def request_of(method: object, url: object, headers: object, body: bytes) -> tuple[RecordedRequest, str]:
    """(the request, the origin that it went to). Refused where there is no URL."""
    if not isinstance(url, str) or not url:
        raise Refused(f"the request's URL is {_kind(url)}", "repair the file or leave this interaction out")
    # A placeholder in the place of scheme and host, as filters of secrets put it: <API_BASE>/chat/completions
    try:
        parts = urlsplit(re.sub(r"^<[^>/]*>", "", url))
    except ValueError as error:
        raise Refused(f"the request's URL is none: {error}", "repair the file or leave this interaction out") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.startswith("/"):
        target = "/" + target
    # A request line has no spaces and nothing beyond ASCII.
    target = re.sub(
        r"[^\x21-\x7e]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace")), target
    )
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    verb = _field(method or "POST").upper()
    if not re.fullmatch(r"[A-Z!#$%&'*+.^_`|~0-9-]+", verb):
        raise Refused(f"the request's method is {verb!r:.40}", "repair the file or leave this interaction out")
    return RecordedRequest(verb, target, headers_of(headers), body), origin


def status_of(value: object) -> tuple[int, str | None]:
    """(status, reason) from `{"code": …, "message": …}`, from a number, or from `200 OK`."""
    if isinstance(value, dict):
        reason = value.get("message")
        code = number(value.get("code"), "the status")
    else:
        text, _, reason = str(value).partition(" ")
        code = number(text, "the status")
    if not 100 <= code <= 999:
        raise Refused(f"the status is {code}", "repair the file or leave this interaction out")
    return code, _field(reason) or None


def phrase(status: int) -> str:
    """The usual reason phrase, or an empty one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def moment_of(headers: Sequence[tuple[str, str]]) -> str:
    """When a response says that it was made, from its `Date`, as `recorded` has it; an empty text where it does not."""
    for name, value in headers:
        if name.lower() == "date":
            try:
                return parsedate_to_datetime(value).strftime("%Y-%m-%dT%H:%M:%SZ")
            except ValueError:
                return ""
    return ""

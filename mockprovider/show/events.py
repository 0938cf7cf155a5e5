"""From recorded content to events with times: server-sent events, lines of JSON, elements of an array, binary frames.

Every byte of the content is in exactly one event's `raw`, in order, however damaged the content is.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["NOT_JSON", "Decoded", "Event", "decode", "encode_frame", "events_of", "frames", "framing_of", "packed"]

NOT_JSON: Any = type("NotJson", (), {"__repr__": lambda _: "NOT_JSON", "__slots__": ()})()
"""Stands for the document of a payload that is no JSON, since null is a document too."""

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)")
_FIELDS = (b"data", b"event", b"id", b"retry", b"")


@dataclass(frozen=True, slots=True)
class Event:
    """A piece of the content.

    kind: `event` (it carries a payload), `comment` (a server-sent event without data), `blank` (what only separates),
    or `rest` (cut short or unreadable). at: seconds since the request until its last byte was there. start: its offset
    in the content. name: of a server-sent event or frame. document: the payload as JSON, NOT_JSON where it is none.
    odd: lines of a server-sent event that no client reads.
    """

    kind: str
    at: float
    start: int
    raw: bytes
    data: bytes | None = None
    name: str | None = None
    document: Any = NOT_JSON
    odd: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """Content with its times. pieces: (seconds since the request, bytes); problem: why it could not be decoded."""

    pieces: tuple[tuple[float, bytes], ...]
    problem: str | None = None

    @property
    def content(self) -> bytes:
        """All of it."""
        return b"".join(data for _, data in self.pieces)


def decode(timed: Sequence[tuple[float, bytes]], encoding: str | None) -> Decoded:
    """The content without its content coding, piece by piece, so that times stay what they were."""
    names = [
        name.strip().lower() for name in (encoding or "").split(",") if name.strip().lower() not in ("", "identity")
    ]
    pieces = tuple(timed)
    first = next((data for _, data in pieces if data), b"")
    if not names or not first:
        return Decoded(pieces)
    if names not in (["gzip"], ["x-gzip"], ["deflate"]):
        return Decoded(pieces, f"content-encoding {encoding} cannot be read here; gzip and deflate can")
    # What most servers call deflate is zlib's format, RFC 9110 section 8.4.1.2; some send it bare.
    bare = names == ["deflate"] and first[:1] != b"\x78"
    inflater = zlib.decompressobj(-zlib.MAX_WBITS if bare else 47)
    found: list[tuple[float, bytes]] = []
    try:
        for at, data in pieces:
            found.append((at, inflater.decompress(data)))
    except zlib.error as error:
        return Decoded(tuple(found), f"content-encoding {encoding}: {error}")
    problem = None if inflater.eof else f"content-encoding {encoding}: cut short"
    return Decoded(tuple(found), problem)


def framing_of(content_type: str | None, content: bytes) -> str:
    """How payloads are set apart: `sse`, `ndjson`, `json-array`, `eventstream` or `whole`."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "application/vnd.amazon.eventstream":
        return "eventstream"
    start = content[:2_000].lstrip()
    if kind == "text/event-stream" or re.match(rb"(?:data|event|id|retry):|:[ \r\n]", start):
        return "sse"
    if kind in ("application/x-ndjson", "application/stream+json", "application/jsonl", "application/x-jsonlines"):
        return "ndjson"
    if start[:1] == b"[" and content.rstrip()[-1:] in (b"]", b"}", b","):
        return "json-array"
    if start[:1] == b"{" and _is_lines(content):
        return "ndjson"
    return "whole"


def _is_lines(content: bytes) -> bool:
    lines = [line for line in content.splitlines() if line.strip()]
    return len(lines) > 1 and all(line.startswith(b"{") and line.rstrip().endswith(b"}") for line in lines)


def events_of(pieces: Sequence[tuple[float, bytes]], framing: str) -> list[Event]:
    """The content as events. framing: as `framing_of` says."""
    content = b"".join(data for _, data in pieces)
    split = {"sse": _sse, "ndjson": _ndjson, "json-array": _array, "eventstream": _frames}.get(framing, _whole)
    ends, times, total = [], [], 0
    for time, data in pieces:
        if data:
            total += len(data)
            ends.append(total)
            times.append(time)

    def at(end: int) -> float:
        return times[bisect.bisect_left(ends, end)] if ends else 0.0

    found, start = [], 0
    for event in split(content):
        end = start + len(event.raw)
        found.append(
            Event(event.kind, at(end), start, event.raw, event.data, event.name, _parsed(event.data), event.odd)
        )
        start = end
    return found


def _parsed(data: bytes | None) -> Any:
    if data is None:
        return NOT_JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return NOT_JSON


def _bare(kind: str, raw: bytes, data: bytes | None = None, name: str | None = None) -> Event:
    return Event(kind, 0.0, 0, raw, data, name)


def _whole(content: bytes) -> Iterator[Event]:
    if content:
        yield _bare("event", content, content)


def _ndjson(content: bytes) -> Iterator[Event]:
    for line in content.splitlines(keepends=True):
        yield _bare("event", line, line.strip()) if line.strip() else _bare("blank", line)


def _sse(content: bytes) -> Iterator[Event]:
    """By the WHATWG HTML standard, section 9.2.6: a block ends with an empty line; what is cut short is dropped."""
    block: list[bytes] = []
    end = 0
    for match in _LINE.finditer(content):
        end = match.end()
        block.append(match[0])
        if not match[0].rstrip(b"\r\n"):
            yield _block(block)
            block = []
    rest = b"".join(block) + content[end:]
    if rest:
        shown = _block([*block, content[end:]])
        yield Event("rest", 0.0, 0, rest, shown.data, shown.name, NOT_JSON, shown.odd)


def _block(lines: list[bytes]) -> Event:
    raw = b"".join(lines)
    data: list[bytes] = []
    odd: list[bytes] = []
    name = None
    commented = False
    for number, line in enumerate(lines):
        text = line.rstrip(b"\r\n")
        if number == 0:
            text = text.removeprefix(b"\xef\xbb\xbf")
        field, colon, value = text.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif not field and colon:
            commented = True
        elif field not in _FIELDS:
            odd.append(text)
    if data:
        return Event("event", 0.0, 0, raw, b"\n".join(data), name, odd=tuple(odd))
    blank = not raw.strip()
    return Event(
        "blank" if blank else "comment" if commented or not odd else "rest", 0.0, 0, raw, None, name, odd=tuple(odd)
    )


def _array(content: bytes) -> Iterator[Event]:
    """The elements of a JSON array that may be cut short; what is between them goes with the one after."""
    text = content.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    position = done = 0
    while match := re.compile(r"[\s\[,]*").match(text, position):
        position = match.end()
        try:
            _, stop = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        data = text[position:stop].encode("utf-8", "surrogateescape")
        yield _bare("event", text[done:stop].encode("utf-8", "surrogateescape"), data)
        position = done = stop
    if left := text[done:].encode("utf-8", "surrogateescape"):
        yield _bare("blank" if left.strip() in (b"", b"]") else "rest", left)


# ------------------------------------------------------------------------------- Amazon's event stream encoding


def frames(content: bytes) -> Iterator[tuple[bytes, dict[str, str], bytes] | bytes]:
    """The frames of an `application/vnd.amazon.eventstream`: (raw, headers, payload); last, bytes that are none.

    A frame: total length, headers' length, CRC of both, headers, payload, CRC of all before it; big-endian.
    """
    start = 0
    while start < len(content):
        frame = _frame(content, start)
        if frame is None:
            yield content[start:]
            return
        yield frame
        start += len(frame[0])


def _frame(content: bytes, start: int) -> tuple[bytes, dict[str, str], bytes] | None:
    if len(content) - start < 16:
        return None
    total, length, checked = struct.unpack_from(">III", content, start)
    if checked != zlib.crc32(content[start : start + 8]) or total < 16 + length or start + total > len(content):
        return None
    raw = content[start : start + total]
    if struct.unpack(">I", raw[-4:])[0] != zlib.crc32(raw[:-4]):
        return None
    end = 12 + length
    return raw, _frame_headers(raw[12:end]), raw[end:-4]


def _frame_headers(packed: bytes) -> dict[str, str]:
    """The headers of text, up to the first that is something else: providers send no others."""
    found: dict[str, str] = {}
    position = 0
    while position < len(packed):
        begin = position + 1 + packed[position]
        name = packed[position + 1 : begin].decode("utf-8", "replace")
        if packed[begin : begin + 1] != b"\x07" or begin + 3 > len(packed):
            break
        (size,) = struct.unpack_from(">H", packed, begin + 1)
        position = begin + 3 + size
        found[name] = packed[begin + 3 : position].decode("utf-8", "replace")
    return found


def encode_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """A frame with these headers of text."""
    texts = [(name.encode(), value.encode()) for name, value in headers.items()]
    packed = b"".join(b"%c%b\x07%b%b" % (len(k), k, struct.pack(">H", len(v)), v) for k, v in texts)
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


def _frames(content: bytes) -> Iterator[Event]:
    for frame in frames(content):
        if isinstance(frame, bytes):
            yield _bare("rest", frame)
            continue
        raw, headers, payload = frame
        name = headers.get(":event-type") or headers.get(":exception-type")
        inner = packed(payload)
        yield _bare("event", raw, payload if inner is None else inner, name)


def packed(payload: bytes) -> bytes | None:
    """What `invoke-with-response-stream` wraps as `{"bytes": BASE64, "p": padding}`; None where it is none of that."""
    document = _parsed(payload)
    if isinstance(document, dict) and isinstance(document.get("bytes"), str):
        try:
            return base64.b64decode(document["bytes"], validate=True)
        except binascii.Error:
            return None
    return None

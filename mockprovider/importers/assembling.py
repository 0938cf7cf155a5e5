"""From an interaction to a recording: redacted, its head and its content in agreement, its gaps in knowledge noted."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mockprovider.importers.base import Interaction, Refused, Source, phrase
from mockprovider.recording import RecordedHead, Recording, made
from mockprovider.redaction import Redactor
from mockprovider.show.events import decode, encode_frame, frames, packed

__all__ = ["recording_of"]

_STREAMS = (
    "text/event-stream",
    "application/x-ndjson",
    "application/stream+json",
    "application/vnd.amazon.eventstream",
)


def recording_of(found: Interaction, form: str, source: Source, number: int, redactor: Redactor) -> Recording:
    """The recording of an interaction.

    form: the format's name; number: of the interaction in its file, from 1. Refused where it cannot be one.
    """
    notes = list(found.notes)
    redactor = redactor.knowing(found.request.headers, found.request.target)
    origin: dict[str, Any] = {"format": form, "file": source.name, "interaction": number}
    if found.origin:
        origin["origin"] = found.origin
    if found.duration is not None or found.wait is not None:
        origin["duration"] = found.duration if found.duration is not None else found.wait
    if found.reads is not None:
        origin["synthetic"] = sorted(found.made_up)
        captured = Recording.of(found.request, found.reads, recorded=found.recorded, ending=found.ending, source=origin)
        if _is_coded(captured.content, _value(found.headers, "content-encoding")):
            raise Refused(
                "a compressed capture cannot be cleared of secrets", "capture it with accept-encoding: identity"
            )
        return redactor.recording(captured)
    head, content, removed = _agreed(found, redactor, notes)
    synthetic = set(found.made_up)
    pieces, gaps = _times(found, content, synthetic)
    if notes:
        origin["notes"] = notes
    origin["synthetic"] = sorted(synthetic)
    request = redactor.request(found.request)
    recording = made(request, head, content, source=origin, pieces=pieces, gaps=gaps, recorded=found.recorded)
    return replace(recording, decoded=removed, ending=found.ending)


def _times(
    found: Interaction, content: bytes, synthetic: set[str]
) -> tuple[Sequence[bytes] | None, Sequence[float] | None]:
    """(the pieces, the gaps), as far as they are known."""
    if found.pieces is not None and b"".join(piece for _, piece in found.pieces) == content:
        gaps = [gap for gap, piece in found.pieces if piece]
        # The head leaves with the first piece, as aimock's and most servers' do.
        return [piece for _, piece in found.pieces if piece], [gaps[0], 0.0, *gaps[1:]] if gaps else [0.0]
    if found.wait is None:
        return None, None
    # What is known is when the head and the end came, but nothing between them.
    synthetic.add("timing")
    rest = max((found.duration or found.wait) - found.wait, 0.0)
    return None, [found.wait, rest] if content else [found.wait]


# ---------------------------------------------------------------------------------------------- head and content


def _agreed(found: Interaction, redactor: Redactor, notes: list[str]) -> tuple[RecordedHead, bytes, str]:
    """(the head, the content, the content coding that was removed), which agree with each other."""
    status = 200 if found.status is None else found.status
    headers = redactor.response_headers(found.headers)
    kind = _value(headers, "content-type").partition(";")[0].strip().lower()
    coding = _value(headers, "content-encoding")
    if kind == "application/vnd.amazon.eventstream" and not _is_coded(found.content, coding):
        content, removed = _masked_frames(found.content, redactor), ""
    else:
        content, removed = _decoded(found.content, coding, redactor, notes)
    if removed or not _is_coded(found.content, coding):
        headers = _without(headers, "content-encoding")
    length = _value(headers, "content-length")
    if "transfer-encoding" in {name.lower() for name, _ in headers} or (length and kind in _STREAMS):
        # No server sends a stream's length: whoever kept the body has counted it.
        headers = _without(headers, "content-length")
        if length:
            notes.append("the content-length beside a stream or a transfer coding was left out")
    elif length and length != str(len(content)) and content:
        notes.append(f"the content-length was {length} and the content has {len(content)} bytes")
    elif not length and kind not in _STREAMS:
        headers = (*headers, ("Content-Length", str(len(content))))
    transfer = _value(headers, "transfer-encoding").lower()
    if transfer not in ("", "chunked"):
        raise Refused(f"its transfer-encoding {transfer} cannot be made again", "record it again")
    reason = found.reason if found.reason is not None else phrase(status)
    return RecordedHead("1.1", status, reason, headers), content, removed


def _decoded(content: bytes, coding: str, redactor: Redactor, notes: list[str]) -> tuple[bytes, str]:
    """(the content, the content coding that was removed).

    Compressed content stays as it is where it holds no secrets; where it does, it is kept decoded and masked.
    """
    if not content or not _is_coded(content, coding):
        if content and coding.strip().lower() not in ("", "identity"):
            notes.append(f"the content had been decoded already; its content-encoding {coding} was left out")
        return redactor.stream().feed(content), ""
    plain = decode([(0.0, content)], coding)
    if plain.problem is not None:
        raise Refused(
            f"{plain.problem}, and what cannot be read cannot be cleared of secrets",
            "record it again with accept-encoding: identity",
        )
    masked = redactor.stream().feed(plain.content)
    if masked == plain.content:
        return content, ""
    notes.append(f"the content is kept without its content-encoding {coding}, since secrets were masked in it")
    return masked, coding


def _masked_frames(content: bytes, redactor: Redactor) -> bytes:
    """Frames of Amazon's event stream encoding, each masked by itself: their checksums have to fit what they hold.

    Refused where they are damaged.
    """
    masked = []
    for frame in frames(content):
        if isinstance(frame, bytes):
            raise Refused(
                "the binary frames of its event stream were damaged when the body was kept as text",
                "record it again with a serializer that keeps bytes, such as vcrpy's default",
            )
        raw, headers, payload = frame
        inner = packed(payload)
        found = payload if inner is None else inner
        clean = redactor.stream().feed(found)
        if clean != found:
            whole = clean if inner is None else payload.replace(base64.b64encode(found), base64.b64encode(clean))
            raw = encode_frame(headers, whole)
        masked.append(raw)
    return b"".join(masked)


def _is_coded(content: bytes, coding: str) -> bool:
    """Whether the content is in the coding that its head names: many tools keep it decoded, with the header."""
    coding = coding.strip().lower()
    if coding in ("gzip", "x-gzip"):
        return content.startswith(b"\x1f\x8b")
    if coding in ("", "identity"):
        return False
    if coding == "deflate":
        return decode([(0.0, content)], coding).problem is None
    start = content[:64].lstrip()
    return not start.startswith((b"{", b"[", b"data:", b"event:", b":", b"<"))


def _value(headers: tuple[tuple[str, str], ...], name: str) -> str:
    return next((value.strip() for key, value in headers if key.lower() == name), "")


def _without(headers: tuple[tuple[str, str], ...], name: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in headers if key.lower() != name)

"""What looks wrong in a recording. Each finding has a name, how bad it is, and a sentence with what and where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mockprovider.recording import Recording
from mockprovider.recording.lifting import Lifter
from mockprovider.redaction import Redactor
from mockprovider.show.answers import TERMINATORS
from mockprovider.show.events import NOT_JSON, Event
from mockprovider.show.plot import seconds
from mockprovider.show.view import View, view

__all__ = ["SEVERITIES", "Finding", "lint"]

SEVERITIES = ("error", "warning", "note")
"""error: no server meant to send it, or it should not be kept so; warning: look at it; note: good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found. name: such as `no-terminator`; severity: one of SEVERITIES."""

    name: str
    severity: str
    text: str


def lint(recording: Recording, redactor: Redactor) -> list[Finding]:
    """All findings, the worst first. redactor: what knows secrets."""
    seen = view(recording)
    found = [*_end(seen), *_message(seen), *_secrets(seen, redactor), *_content(seen), *_stream(seen), *_time(seen)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _end(seen: View) -> Iterator[Finding]:
    ending = seen.recording.ending
    if ending is None:
        yield Finding("no-ending", "error", "the recorder was cut off: how the exchange ended is not known")
    elif ending != "end":
        yield Finding("ended-early", "note", f"the exchange ended with {ending}")
    if seen.recording.head is None:
        yield Finding("no-response", "warning", "no head of a response came")
    if seen.recording.synthetic:
        yield Finding("synthetic", "note", f"made up: {', '.join(sorted(seen.recording.synthetic))}")


def _message(seen: View) -> Iterator[Finding]:
    recording, head = seen.recording, seen.recording.head
    lifter = Lifter(bodyless=recording.request.method == "HEAD")
    for read in recording.reads:
        lifter.feed(read.wire)
    if lifter.error is not None:
        yield Finding("broken-http", "error", lifter.error)
    if head is None:
        return
    lengths = {value.strip() for name, value in head.headers if name.lower() == "content-length"}
    if lengths and head.header("transfer-encoding") is not None:
        yield Finding("two-framings", "error", "there are a content-length and a transfer-encoding")
    elif recording.ending == "end" and not lifter.complete and not lifter.until_close and lifter.error is None:
        what = f"content-length {', '.join(lengths)}" if lengths else "chunked transfer coding"
        got = len(recording.content)
        yield Finding("unfinished-message", "error", f"the {what} promises more than the {got} bytes that came")
    if seen.problem is not None:
        yield Finding("content-encoding", "error", seen.problem)


def _secrets(seen: View, redactor: Redactor) -> Iterator[Finding]:
    """Where the redactor would still change something. Its own marks stay as they are."""
    recording = seen.recording
    request, clean = recording.request, redactor.request(recording.request)
    kept = {name.lower() for name, _ in clean.headers}
    for name, value in request.headers:
        if name.lower() not in kept:
            yield Finding("secret", "error", f"the request header {name} is none that is kept")
        elif (name, value) not in clean.headers:
            yield Finding("secret", "error", f"the request header {name} looks like a secret")
    if request.target != clean.target:
        yield Finding("secret", "error", "the request's target holds a secret")
    if request.body != clean.body and request.body[:2] != b"\x1f\x8b":
        yield Finding("secret", "error", f"the request's body holds a secret{_at(request.body, clean.body)}")
    knowing = redactor.knowing(request.headers, request.target)
    if recording.head is not None:
        headers = recording.head.headers
        for (name, value), (_, masked) in zip(headers, knowing.response_headers(headers), strict=True):
            if value != masked:
                yield Finding("secret", "error", f"the response header {name} holds a secret")
    if seen.framing == "eventstream":  # its base64 hides JSON, and is looked through event by event
        events = [event.data for event in seen.events if event.data is not None]
        if any(knowing.stream().feed(data) != data for data in events):
            yield Finding("secret", "error", "the content holds a secret")
        return
    masked_content = knowing.stream().feed(seen.content)
    if masked_content != seen.content:
        yield Finding("secret", "error", f"the content holds a secret{_at(seen.content, masked_content)}")


def _at(one: bytes, other: bytes) -> str:
    """Where they begin to differ; never what is there."""
    for at, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return f", from its byte {at} on"
    return ""


def _content(seen: View) -> Iterator[Finding]:
    if seen.problem is not None or not seen.content or seen.framing == "eventstream":
        return
    try:
        seen.content.decode()
    except UnicodeDecodeError as error:
        yield Finding("bad-utf-8", "error", f"byte {error.start} of the content is no UTF-8: {error.reason}")
    kind = ((seen.recording.head.header("content-type") if seen.recording.head else None) or "").partition(";")[0]
    kind = kind.strip().lower()
    if seen.framing == "sse" and kind not in ("", "text/event-stream"):
        yield Finding("content-type", "warning", f"the content is server-sent events, and its type is {kind}")
    if seen.framing == "whole" and "json" in kind:
        try:
            json.loads(seen.content)
        except (ValueError, RecursionError) as error:
            yield Finding("bad-json", "error", f"the content is no JSON: {error}")
    if seen.framing in ("sse", "ndjson") and seen.dialect is None:
        yield Finding("unknown-dialect", "warning", "its payloads are of no dialect that is known here")


def _stream(seen: View) -> Iterator[Finding]:
    if not seen.streamed:
        return
    for number, event in enumerate(seen.events, start=1):
        yield from _event(event, number, seen)
    if seen.framing == "sse":
        ends = set(re.findall(rb"\r\n|\n|\r", seen.content))
        if len(ends) > 1:
            names = sorted({b"\r\n": "CRLF", b"\n": "LF", b"\r": "CR"}[end] for end in ends)
            yield Finding("mixed-line-ends", "warning", f"lines end in {' and in '.join(names)}")
        if seen.content.startswith(b"\xef\xbb\xbf"):
            yield Finding("byte-order-mark", "warning", "the content begins with a byte order mark")
    if seen.ended is False and not seen.answer.errors:
        severity = "warning" if seen.recording.ending == "end" else "note"
        yield Finding("no-terminator", severity, f"the stream ends without {TERMINATORS[seen.dialect or '']}")


def _event(event: Event, number: int, seen: View) -> Iterator[Finding]:
    for line in event.odd[:1]:
        shown = line[:40].decode("utf-8", "replace")
        yield Finding("sse-unknown-line", "warning", f"event {number}: clients pass over the line {shown!r}")
    if event.kind == "rest":
        if seen.recording.ending == "end":
            text = (
                f"event {number} is not finished by an empty line"
                if seen.framing == "sse"
                else f"piece {number} is cut"
            )
            yield Finding("unfinished-event", "error", f"{text}, so that clients drop it")
    elif seen.dialect is not None and event.data not in (None, b"[DONE]", b"") and event.document is NOT_JSON:
        yield Finding("bad-json", "error", f"event {number} has a payload that is no JSON")


def _time(seen: View) -> Iterator[Finding]:
    if seen.timed:
        for stall in seen.timing.stalls[:3]:
            text = f"{seconds(stall.seconds)} without a token after {stall.after} token events"
            yield Finding("stall", "warning", text)

"""HTTP archives, HAR 1.2: of browsers, proxies and Polly.JS. They tell when the head came and when the end."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from mockprovider.importers.base import Interaction, Refused, Source, headers_of, mapping, octets, request_of, status_of

__all__ = ["har"]

_REPAIR = "repair the file or leave this entry out"


def har(source: Source) -> Iterator[Interaction | Refused]:
    """A HAR file, entry by entry."""
    entries = mapping(source.document.get("log"), "log").get("entries")
    if not isinstance(entries, list):
        raise Refused("log.entries is no list", "repair the file")
    for entry in entries:
        try:
            yield _entry(mapping(entry, "the entry"))
        except Refused as refused:
            yield refused


def _entry(entry: dict[str, Any]) -> Interaction:
    asked, answered = mapping(entry.get("request"), "the request"), mapping(entry.get("response"), "the response")
    post = asked.get("postData")
    body = _posted(post if isinstance(post, dict) else {})
    request, origin = request_of(asked.get("method"), asked.get("url"), asked.get("headers"), body)
    if answered.get("status") in (0, None):
        raise Refused(
            "there is no response in it (status 0)", "leave this entry out: the request was cancelled or blocked"
        )
    status, _ = status_of(answered.get("status"))
    given = answered.get("content")
    content = _content(given if isinstance(given, dict) else {}, answered)
    notes: list[str] = []
    version = str(answered.get("httpVersion", "")).upper()
    if version.startswith(("HTTP/2", "HTTP/3", "H2", "H3")):
        notes.append(f"it came by {version.replace('H2', 'HTTP/2').replace('H3', 'HTTP/3')}, and is put as HTTP/1.1")
    wait, receive = _milliseconds(entry, "wait"), _milliseconds(entry, "receive")
    return Interaction(
        request,
        status,
        content,
        octets(answered.get("statusText"), "the status text").decode("latin-1", "replace") or None,
        headers_of(answered.get("headers")),
        str(entry.get("startedDateTime") or ""),
        origin,
        wait=wait,
        duration=wait + receive if wait is not None and receive else None,
        notes=tuple(notes),
    )


def _milliseconds(entry: dict[str, Any], name: str) -> float | None:
    """In seconds; None where it does not apply, which HAR says with -1."""
    timings = entry.get("timings")
    value = timings.get(name) if isinstance(timings, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return value / 1000


def _posted(post: dict[str, Any]) -> bytes:
    text = octets(post.get("text"), "the request's body")
    # Not of HAR 1.2, but what some tools write where a body is binary.
    return _unbase64(text, "the request's body") if post.get("encoding") == "base64" else text


def _content(content: dict[str, Any], answered: dict[str, Any]) -> bytes:
    text = octets(content.get("text"), "the content")
    if not text and isinstance(content.get("size"), int) and content["size"] > 0 and answered.get("bodySize") != 0:
        raise Refused(
            f"the content of {content['size']} bytes was not saved",
            "save the archive with content, in browsers “Save all as HAR with content”",
        )
    if content.get("encoding") != "base64":
        return text
    if text.lstrip().startswith(b"["):  # Polly keeps the encoded parts of a compressed body apart
        try:
            return b"".join(_unbase64(str(part).encode(), "the content") for part in json.loads(text))
        except ValueError:
            pass
    return _unbase64(text, "the content")


def _unbase64(text: bytes, what: str) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"{what} is no base64: {error}", _REPAIR) from None

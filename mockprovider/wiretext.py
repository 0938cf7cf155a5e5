"""The text that a conforming reader finds in the bytes of a stream that says that it is finished.

Faults of the payload and event levels may change the text itself; then what was planned is not what is due.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mockprovider.exchange import Exchange

__all__ = ["sent_text"]


def sent_text(exchange: Exchange) -> str | None:
    """The text of the first choice as it was sent; None where the stream does not say that it is finished, or where
    it is none of server-sent events with JSON in them."""
    if exchange.sent.bytes != sum(map(len, exchange.sent.data)):
        return None
    head, _, body = b"".join(exchange.sent.data).partition(b"\r\n\r\n")
    content = _content(head.lower(), body)
    if content is None:
        return None
    parts: list[str] = []
    finished = False
    for data in _events(content):
        try:
            document = json.loads(data)
        except ValueError:
            continue
        if isinstance(document, Mapping):
            text, ends = _read(document)
            parts += [text] if isinstance(text, str) and not finished else []
            finished = finished or ends
    return "".join(parts) if finished else None


def _content(head: bytes, body: bytes) -> bytes | None:
    """The body without its transfer coding, RFC 9112 section 7.1; None where it is compressed or broken."""
    if b"content-encoding:" in head:
        return None
    if b"transfer-encoding: chunked" not in head:
        return body
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        try:
            size = int(body[at:end].partition(b";")[0], 16)
        except ValueError:
            return None
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size


def _events(content: bytes) -> Iterator[str]:
    """The data of each event, WHATWG HTML section 9.2.6."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        lines = (line.partition(":") for line in block.split("\n"))
        data = [value.removeprefix(" ") for name, _, value in lines if name == "data"]
        if data:
            yield "\n".join(data)


def _read(document: Mapping[str, Any]) -> tuple[object, bool]:
    """The text in one event's document, and whether the document ends the reply: OpenAI's two dialects, Anthropic's."""
    kind, delta = document.get("type"), document.get("delta")
    choices = document.get("choices")
    if isinstance(choices, list):
        first = next((each for each in choices if isinstance(each, Mapping) and each.get("index", 0) == 0), {})
        inner = first.get("delta")
        return inner.get("content") if isinstance(inner, Mapping) else None, bool(first.get("finish_reason"))
    if kind == "response.output_text.delta":
        return delta, False
    if isinstance(delta, Mapping) and delta.get("type") == "text_delta":
        return delta.get("text"), False
    return None, kind in ("response.completed", "message_stop")

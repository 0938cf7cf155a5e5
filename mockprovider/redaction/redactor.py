"""What a redactor does with the parts of an exchange: request, head, content, or a whole recording."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, unquote, urlsplit

from mockprovider.recording import RecordedRequest, Recording
from mockprovider.recording.lifting import Lifted, Lifter
from mockprovider.redaction.mask import MARK, Mask, finder
from mockprovider.redaction.rules import FRAMING_HEADERS, KEY_HEADERS, KEY_PARAMETERS, Rules

__all__ = ["HeadMask", "Redactor", "WireMask", "removed"]

_LEAST = 8
"""Characters that a key has at least to be looked for elsewhere: `test` and `none` are no keys."""

_MOST = 1 << 28
"""Bytes to which a body is unpacked at most."""

_PARAMETER = re.compile("|".join(KEY_PARAMETERS), re.IGNORECASE)
_OWNER = re.compile(
    r"(?<=/)(accounts|projects|organizations|organisations|workspaces|subscriptions|tenants)/([^/?\s]+)", re.IGNORECASE
)
_VISIBLE = re.compile(rb"[^ \t\r\n;,=]")


class Redactor:
    """Removes what is secret. secrets: texts that are known to be, such as a key from the environment."""

    def __init__(self, rules: Rules | None = None, secrets: Iterable[str] = ()) -> None:
        self.rules = rules or Rules()
        self.secrets = tuple(sorted({secret for secret in secrets if len(secret) >= _LEAST}))
        literals = [text.encode("utf-8", "surrogateescape") for text in (*self.secrets, *self.rules.literals)]
        self._finder = finder(self.rules, tuple(literals))

    def knowing(self, headers: Iterable[tuple[str, str]], target: str = "") -> Redactor:
        """One that also knows the keys in these request headers and in this target."""
        secrets = {*self.secrets, *(key for key in _keys_in(headers, target) if len(key) >= _LEAST)}
        return self if secrets == set(self.secrets) else Redactor(self.rules, secrets)

    def stream(self) -> Mask:
        """A mask for a stream: `feed` it what comes."""
        return Mask(self._finder)

    def headers(self, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The request headers that are kept, with what is secret in them masked."""
        return tuple((name, self.text(value)) for name, value in pairs if self.rules.keeps(name))

    def response_headers(self, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """All response headers, with what is secret in them masked."""
        masked = []
        for name, value in pairs:
            line = f"{name}: {value}\r\n".encode("latin-1", "replace")
            masked.append((name, HeadMask(self).feed(line)[len(name) + 2 : -2].decode("latin-1")))
        return tuple(masked)

    def text(self, text: str) -> str:
        """The text with what is secret in it masked."""
        return self.stream().feed(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def target(self, target: str) -> str:
        """A request target: parameters that are keys, and the names of accounts, organisations and projects in it."""
        return self.text(_OWNER.sub(lambda found: f"{found[1]}/{MARK.decode() * len(found[2])}", target))

    def body(self, body: bytes, content_type: str = "") -> bytes:
        """A whole body with what is secret in it masked; what is packed with gzip is unpacked."""
        del content_type  # secrets look the same in all of them
        if body[:2] == b"\x1f\x8b":
            try:
                body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, _MOST)
            except zlib.error:
                return MARK * len(body)  # nobody could tell what is in it
        return self.stream().feed(body)

    def request(self, request: RecordedRequest) -> RecordedRequest:
        """A request as it may be stored; what arrives is redacted so before it is compared with what was stored."""
        knowing = self.knowing(request.headers, request.target)
        body = knowing.body(request.body)
        return RecordedRequest(request.method, knowing.target(request.target), knowing.headers(request.headers), body)

    def recording(self, recording: Recording) -> Recording:
        """A recording with what is secret in it masked."""
        knowing = self.knowing(recording.request.headers, recording.request.target)
        mask = WireMask(knowing, bodyless=recording.request.method == "HEAD")
        wires = [(read.gap, mask.feed(read.wire)) for read in recording.reads]
        masked = Recording.of(recording.request, wires)
        return replace(recording, request=self.request(recording.request), reads=masked.reads)


def _keys_in(headers: Iterable[tuple[str, str]], target: str) -> Iterator[str]:
    for name, value in headers:
        lower = name.lower()
        if lower == "cookie":
            yield from (part.partition("=")[2].strip() for part in value.split(";"))
        elif lower in KEY_HEADERS:
            scheme, _, rest = value.strip().partition(" ")
            yield rest.strip() or scheme
            if scheme.lower() == "basic":
                yield from _basic(rest.strip())
    for name, value in parse_qsl(urlsplit(target).query):
        if _PARAMETER.fullmatch(name):
            yield value
            yield unquote(value)


def _basic(value: str) -> Iterator[str]:
    """What RFC 7617 packs: the user and the password."""
    try:
        packed = base64.b64decode(value).decode()
    except (binascii.Error, ValueError):
        return
    yield from packed.split(":", 1)


class HeadMask:
    """Masks status lines, header sections and trailers as their bytes come, however they are cut."""

    def __init__(self, redactor: Redactor) -> None:
        self._rules = redactor.rules
        self._text = redactor.stream()
        self._name = bytearray()
        self._kind: str | None = None  # of the value at hand: masked, framing, other; None: still in the name

    def feed(self, data: bytes) -> bytes:
        """The data with what is secret in it masked; as long as it was."""
        masked = bytearray(self._text.feed(data))
        at = 0
        while at < len(data):
            if self._kind is None:
                at = self._in_name(data, at)
                continue
            end = data.find(b"\n", at) + 1
            stop = end or len(data)
            if self._kind == "masked":
                masked[at:stop] = _VISIBLE.sub(MARK, data[at:stop])
            elif self._kind == "framing":
                masked[at:stop] = data[at:stop]
            at = stop
            if end:
                self._last, self._kind = self._kind, None
                self._name.clear()
        return bytes(masked)

    _last: str = "other"

    def _in_name(self, data: bytes, at: int) -> int:
        if not self._name and data[at : at + 1] in (b" ", b"\t"):  # a folded line goes on with the value before it
            self._kind = self._last
            return at
        byte = data[at : at + 1]
        self._name += byte
        if byte == b"\n":
            self._name.clear()
            self._last = "other"
        elif byte == b":":
            name = self._name[:-1].decode("latin-1")
            framing = name.strip().lower() in FRAMING_HEADERS
            self._kind = "framing" if framing else "masked" if self._rules.masks(name) else "other"
        return at + 1


class WireMask:
    """Masks a response as its bytes come over the connection: head, content and trailers, each by its own rules."""

    def __init__(self, redactor: Redactor, *, bodyless: bool = False) -> None:
        self.lifter = Lifter(bodyless=bodyless)
        self._content = redactor.stream()
        self._head = HeadMask(redactor)
        self._between = redactor.stream()

    def feed(self, wire: bytes, lifted: Lifted | None = None) -> bytes:
        """The bytes with what is secret in them masked; as many, and framed as they were.

        lifted: what they are, where somebody has looked already, at these and all before them.
        """
        lifted = lifted or self.lifter.feed(wire)
        content = self._content.feed(lifted.content)
        masked = bytearray(wire)
        taken = 0
        for span in lifted.spans:
            begin, end = span.begin, span.end
            if span.kind == "content":
                masked[begin:end] = content[taken : taken + end - begin]
                taken += end - begin
            elif span.kind in ("head", "trailer"):
                masked[begin:end] = self._head.feed(wire[begin:end])
            elif span.kind in ("size", "garbage"):
                masked[begin:end] = self._between.feed(wire[begin:end])
        return bytes(masked)


def removed(before: Recording, after: Recording) -> list[str]:
    """What a redaction has removed, a line each, without showing it."""
    lines = []
    kept = {name for name, _ in after.request.headers}
    lines += [f"request header {name}: left out" for name, _ in before.request.headers if name not in kept]
    values = dict(after.request.headers)
    changed = [name for name, value in before.request.headers if values.get(name, value) != value]
    lines += [f"request header {name}: masked" for name in changed]
    if before.request.target != after.request.target:
        lines.append(f"request target: {after.request.target}")
    lines += [f"request body: {place}" for place in _differences(before.request.body, after.request.body)]
    for read, masked in zip(before.reads, after.reads, strict=True):
        if read.head is not None and masked.head is not None:
            pairs = zip(read.head.headers, masked.head.headers, strict=True)
            lines += [f"response header {old[0]}: masked" for old, new in pairs if old != new]
    lines += [f"response content: {place}" for place in _differences(before.content, after.content)]
    if before.wire != after.wire and not any(line.startswith("response") for line in lines):
        lines += [f"response bytes: {place}" for place in _differences(before.wire, after.wire)]
    return lines


def _differences(before: bytes, after: bytes) -> Iterator[str]:
    if len(before) != len(after):
        yield f"unpacked, {len(before)} bytes to {len(after)}, and masked"
        return
    at = 0
    while (at := _next_difference(before, after, at)) < len(before):
        end = at
        while end < len(before) and after[end : end + 1] == MARK:
            end += 1
        lead = after[max(0, at - 12) : at].decode("utf-8", "replace")
        yield f"{end - at} bytes at {at}, after {lead!r}"
        at = max(end, at + 1)


def _next_difference(before: bytes, after: bytes, at: int) -> int:
    """Where they differ next; the length of both where they do not."""
    block = 1 << 16
    while at < len(before) and before[at : at + block] == after[at : at + block]:
        at += block
    while at < len(before) and before[at] == after[at]:
        at += 1
    return min(at, len(before))

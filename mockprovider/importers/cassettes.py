"""Cassettes of vcrpy and its relatives, of dd-apm-test-agent, of Ruby's VCR and of go-vcr, each a reader of its own.

They differ in where things stand and agree in what is missing: writes, their times, and the transfer coding.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from mockprovider.importers.base import (
    Interaction,
    Refused,
    Source,
    headers_of,
    mapping,
    moment_of,
    octets,
    request_of,
    status_of,
)
from mockprovider.jsontext import dumps

__all__ = ["ddapm", "govcr", "rubyvcr", "vcrpy"]

_REPAIR = "repair the file or leave this interaction out"


def vcrpy(source: Source) -> Iterator[Interaction | Refused]:
    """vcrpy (version 1, YAML or JSON), pytest-recording, and pydantic-ai's serializer with `parsed_body`."""
    version = source.document.get("version", 1)
    if version != 1:
        raise Refused(f"version {version!r} of vcrpy's format is not known", "convert the cassette to version 1")
    return _each(source.document.get("interactions"), _vcrpy)


def rubyvcr(source: Source) -> Iterator[Interaction | Refused]:
    """Ruby's VCR: `http_interactions`, with `recorded_at`."""
    return _each(source.document.get("http_interactions"), _rubyvcr)


def govcr(source: Source) -> Iterator[Interaction | Refused]:
    """go-vcr: versions 1 and 2 of its format, by its releases 2, 3 and 4."""
    return _each(source.document.get("interactions"), _govcr)


def ddapm(source: Source) -> Iterator[Interaction | Refused]:
    """dd-apm-test-agent: one exchange a file, JSON or YAML."""
    return _each([source.document], _vcrpy)


def _each(values: object, read: Callable[[dict[str, Any]], Interaction]) -> Iterator[Interaction | Refused]:
    if not isinstance(values, list):
        raise Refused("its interactions are no list", "repair the file")
    for value in values:
        try:
            yield read(mapping(value, "the interaction"))
        except Refused as refused:
            yield refused


def _vcrpy(one: dict[str, Any]) -> Interaction:
    asked, answered = mapping(one.get("request"), "the request"), mapping(one.get("response"), "the response")
    body, parsed = _body(asked, "the request's body")
    content, made = _body(answered, "the response's body")
    made_up = [name for name, is_so in (("request", parsed), ("content", made)) if is_so]
    request, origin = request_of(asked.get("method"), asked.get("uri") or asked.get("url"), asked.get("headers"), body)
    status, reason = status_of(answered.get("status", answered.get("status_code")))
    headers = headers_of(answered.get("headers"))
    notes = ("the content was kept as a parsed document and has been written again as JSON",) if made else ()
    return Interaction(
        request, status, content, reason, headers, moment_of(headers), origin, tuple(made_up), notes=notes
    )


def _body(message: dict[str, Any], what: str) -> tuple[bytes, bool]:
    """(the body, whether it had to be made from a parsed document)."""
    if "parsed_body" in message:
        return dumps(message["parsed_body"]), True
    body = message.get("body", message.get("content"))
    if isinstance(body, dict):
        encoded = body.get("base64_string")
        if encoded is not None:
            return _unbase64(encoded, what), False
        if "string" in body or not body:
            body = body.get("string")
        else:
            raise Refused(f"{what} has none of string, base64_string and parsed_body, but {', '.join(body)}", _REPAIR)
    return octets(body, what), False


def _unbase64(value: object, what: str) -> bytes:
    try:
        return base64.b64decode("".join(str(value).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"{what} is no base64: {error}", _REPAIR) from None


def _rubyvcr(one: dict[str, Any]) -> Interaction:
    asked, answered = mapping(one.get("request"), "the request"), mapping(one.get("response"), "the response")
    request, origin = request_of(
        asked.get("method"), asked.get("uri"), asked.get("headers"), _body(asked, "the request's body")[0]
    )
    content, _ = _body(answered, "the response's body")
    status, reason = status_of(answered.get("status"))
    headers = headers_of(answered.get("headers"))
    try:
        recorded = parsedate_to_datetime(str(one.get("recorded_at"))).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        recorded = moment_of(headers)
    return Interaction(request, status, content, reason, headers, recorded, origin)


_DURATION = re.compile(r"(?P<value>[0-9.]+)(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _govcr(one: dict[str, Any]) -> Interaction:
    asked, answered = mapping(one.get("request"), "the request"), mapping(one.get("response"), "the response")
    request, origin = request_of(
        asked.get("method"), asked.get("url"), asked.get("headers"), octets(asked.get("body"), "the request's body")
    )
    status, reason = status_of(answered.get("code") or answered.get("status"))
    headers = headers_of(answered.get("headers"))
    notes: tuple[str, ...] = ()
    if str(answered.get("proto", "")).startswith("HTTP/2"):
        notes = ("it came by HTTP/2, and is put as HTTP/1.1",)
    return Interaction(
        request,
        status,
        octets(answered.get("body"), "the response's body"),
        reason,
        headers,
        moment_of(headers),
        origin,
        wait=_seconds(answered.get("duration")),
        notes=notes,
    )


def _seconds(value: object) -> float | None:
    """Seconds from Go's text of a duration, such as 1.147s or 1m2.5s, or its number of nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value / 1e9 or None
    found = list(_DURATION.finditer(str(value)))
    try:
        total = sum(float(part["value"]) * _UNITS[part["unit"]] for part in found)
    except ValueError:
        return None
    return total or None

"""What was sent, as a log to be read: writes with their times, bytes made visible, and how the connection ended."""

from __future__ import annotations

from typing import Any

from mockprovider.exchange import Exchange
from mockprovider.preview import visible

__all__ = ["logged"]

_WRITES = 26
"""Writes that a log shows; the last ones are always among them."""

_TAIL = 10

_WIDTH = 220
"""Characters of a line; of a longer one the middle is left out."""

_LINES = 16
"""Lines of one write, at its beginning and at its end."""

_LARGE = 65_536
"""Bytes of one write that are looked at, half of them at its end."""


def logged(exchange: Exchange, first: float) -> dict[str, Any]:
    """One exchange as JSON. first: when the first request of the run came, for times that can be compared.

    writes: [seconds since this request, lines] for each write that is shown, or [None, how many were left out].
    """
    sent = exchange.sent
    known = list(zip(sent.times, sent.data, strict=False))
    shown: list[list[Any]] = []
    for index, (time, data) in enumerate(known):
        if len(known) > _WRITES and _WRITES - _TAIL <= index < len(known) - _TAIL:
            if index == _WRITES - _TAIL:
                shown.append([None, len(known) - _WRITES])
            continue
        shown.append([round(time - exchange.started, 3), _lines(data)])
    if sent.writes > len(known):
        shown.append([None, sent.writes - len(known)])
    return {
        "at": round(exchange.started - first, 3),
        "method": exchange.method,
        "path": exchange.path,
        "faults": exchange.faults,
        "status": exchange.status,
        "outcome": exchange.outcome or "open",
        "seconds": None if exchange.ended is None else round(exchange.ended - exchange.started, 3),
        "bytes": sent.bytes,
        "writes": shown,
    }


def _lines(data: bytes) -> list[str]:
    if len(data) > _LARGE:
        return [
            *_few(visible(data[: _LARGE // 2])),
            f"… {len(data)} bytes in all",
            *_few(visible(data[-_LARGE // 2 :])),
        ]
    return _few(visible(data))


def _few(lines: list[str]) -> list[str]:
    if len(lines) > 2 * _LINES:
        lines = [*lines[:_LINES], f"… {len(lines) - 2 * _LINES} more lines", *lines[-_LINES:]]
    return [line if len(line) <= _WIDTH else f"{line[:40]} … {line[50 - _WIDTH :]}" for line in lines]

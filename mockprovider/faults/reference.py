"""The reference of all faults, from their declarations: for the command, and for docs/faults.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from mockprovider.faults.base import Fault, kind_of

__all__ = ["describe", "settings_of"]


def describe(kind: type[Fault]) -> dict[str, Any]:
    """A fault as JSON: name, level, legal, summary, details and settings."""
    details = inspect.cleandoc(kind.__doc__ or "").partition("\n")[2].strip()
    return {
        "name": kind.name,
        "level": kind.home.name.lower(),
        "legal": kind.legal,
        "summary": kind.summary,
        "details": details,
        "settings": [_setting(each) for each in _fields(kind)],
    }


def _fields(kind: type[Fault]) -> list[Field[Any]]:
    """Its own settings first, those of every fault last."""
    common = {each.name for each in fields(Fault)}
    return sorted(fields(kind), key=lambda each: each.name in common)


def _setting(each: Field[Any]) -> dict[str, Any]:
    kind = kind_of(each)
    unset = each.default is None or each.default is MISSING
    return {
        "name": each.name,
        "allowed": kind.allowed,
        "default": None if unset else kind.format(each.default),
        "doc": each.metadata["doc"],
    }


def settings_of(kind: type[Fault]) -> Iterator[str]:
    """A line a setting, for people."""
    for row in map(_setting, _fields(kind)):
        default = "" if row["default"] is None else f" (default {row['default']})"
        yield f"{row['name']:<16} {row['doc']}; {row['allowed']}{default}"

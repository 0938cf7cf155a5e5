"""The catalogue: named ways in which real streams go wrong, with what a correct client must do.

Cases are data, one TOML file a family, read when they are first asked for. A case is a reply and faults; its name may
stand wherever a fault's may.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from mockprovider.errors import SettingError, nearest
from mockprovider.faults import FAULTS, Fault, made
from mockprovider.faults.grammar import parse
from mockprovider.pace import Chunking, Pacing

__all__ = [
    "FAMILIES",
    "LISTENERS",
    "TEXT",
    "Case",
    "Recipe",
    "case_from",
    "cases",
    "get",
    "in_family",
    "recipe",
    "recipe_of",
]

FAMILIES = ("before", "sse", "text", "transfer", "payload", "anthropic", "timing")
"""The families, in the order of the catalogue; each is a file."""

TEXT = (
    "The tide turned at 6:42 this morning — “early”, said Zoë, “but the 3 café boats were ready.”\n\n"
    "In Kyōto (京都) it had rained; nobody minded 🌧️. They counted 27 herons, drank tea, and wrote it all down."
)
"""What a case's stream says where its row does not script a reply: many tokens, with characters of 1 to 4 bytes."""

_DIALECTS = {"payload": "openai-chat", "anthropic": "anthropic-messages"}
"""The dialect of families that are about one; a row's own `dialect` comes first."""

LISTENERS = ("refuse", "reset", "silence")
"""What a port of its own may do before there is any HTTP."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the catalogue.

    wire: what is on the wire; expect: `deliver`, `ignore`, `raise`, `retry` or `keep`; must: the same in a sentence;
    accept: further accepted readings, and contestable why; citations, evidence, source: see the catalogue's page;
    needs: what a client must be able to do for the case to apply. dialect: of which the case is, or `any`. faults,
    reply, pace, chunking, ask: how it is made; listener: what its own port does instead; unavailable: why it cannot be
    had, or None.
    """

    name: str
    family: str
    wire: str
    expect: str
    must: str
    evidence: str
    source: str
    accept: tuple[str, ...] = ()
    contestable: str | None = None
    citations: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    attempts: str | None = None
    notes: str | None = None
    dialect: str = "any"
    faults: str | None = None
    reply: Any = None
    pace: str | None = None
    chunking: str | None = None
    ask: Mapping[str, Any] = field(default_factory=dict)
    listener: str | None = None
    unavailable: str | None = None

    @property
    def available(self) -> bool:
        """Whether the server can do it."""
        return self.unavailable is None

    def describe(self) -> dict[str, Any]:
        """The case as JSON."""
        described = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**described, "available": self.available}


@cache
def cases() -> Mapping[str, Case]:
    """All cases by name, in the catalogue's order. SettingError where a row is broken."""
    found: dict[str, Case] = {}
    for family in FAMILIES:
        text = resources.files("mockprovider.cases").joinpath(f"{family}.toml").read_text(encoding="utf-8")
        for row in tomllib.loads(text)["case"]:
            case = case_from(family, row)
            if case.name in found or case.name in FAULTS:
                raise SettingError(f"{family}.toml: the name {case.name!r} is taken")
            found[case.name] = case
    return found


def case_from(family: str, row: Mapping[str, Any]) -> Case:
    """A case from a row of a family's file. SettingError for a key that there is not, or that is missing."""
    known = Case.__dataclass_fields__
    for key in row:
        if key not in known or key == "family":
            raise SettingError(f"{family}.toml: {row.get('name')}: unknown key {key!r}{nearest(key, tuple(known))}")
    if "listener" in row and row["listener"] not in LISTENERS:
        raise SettingError(f"{family}.toml: {row['name']}: listener: expected one of {', '.join(LISTENERS)}")
    for key in ("name", "wire", "expect", "must", "evidence", "source"):
        if key not in row:
            raise SettingError(f"{family}.toml: {row.get('name')}: the key {key!r} is missing")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    if "dialect" not in values and family in _DIALECTS:
        values["dialect"] = _DIALECTS[family]
    return Case(family=family, **values)


def in_family(family: str | None) -> list[Case]:
    """The cases of a family, or all of them. SettingError with the nearest name where there is none such."""
    if family is not None and family not in FAMILIES:
        raise SettingError(f"unknown family {family!r}{nearest(family, FAMILIES)}")
    return [case for case in cases().values() if family in (None, case.family)]


def get(name: str) -> Case:
    """The case of that name. SettingError with the nearest name where there is none."""
    known = cases()
    if name not in known:
        raise SettingError(f"unknown case {name!r}{nearest(name, tuple(known))}")
    return known[name]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A chain of faults and cases, resolved: the faults in order, and what the last case that says so sets.

    text: the chain as it was written, by which attempts are counted. reply: as in a rule's table, or None. speaks: the
    names and dialects of the cases that are of one dialect.
    """

    text: str
    faults: tuple[Fault, ...] = ()
    reply: Any = None
    pace: Pacing | None = None
    chunking: Chunking | None = None
    ask: Mapping[str, Any] = field(default_factory=dict)
    speaks: tuple[tuple[str, str], ...] = ()

    def unfit(self, dialect: str) -> str | None:
        """Why it cannot be done to a request in that dialect, or None."""
        for name, own in self.speaks:
            if own != dialect:
                return f"{name} is a case of the dialect {own}, and this request is one of {dialect}"
        return None


@cache
def recipe(text: str) -> Recipe:
    """The recipe that a chain says, such as `sse-crlf+stall(after=3,seconds=1)`.

    Raises SettingError for an unknown name, a bad setting, or a case that is not available or needs its own port.
    """
    faults: list[Fault] = []
    reply: Any = None
    pace: Pacing | None = None
    chunking: Chunking | None = None
    ask: dict[str, Any] = {}
    speaks: list[tuple[str, str]] = []
    for call in parse(text):
        if call.name in FAULTS:
            faults.append(made(call))
            continue
        known = cases()
        if call.name not in known:
            raise SettingError(f"unknown fault or case {call.name!r}{nearest(call.name, (*FAULTS, *known))}")
        case = known[call.name]
        if call.settings:
            raise SettingError(f"{case.name} is a case and takes no settings; its faults are {case.faults or 'none'}")
        own = recipe_of(case)
        faults.extend(own.faults)
        reply = own.reply
        pace = own.pace or pace
        chunking = own.chunking or chunking
        ask.update(own.ask)
        speaks.extend(own.speaks)
    return Recipe(text, tuple(faults), reply, pace, chunking, ask, tuple(speaks))


def recipe_of(case: Case) -> Recipe:
    """The recipe of one case. SettingError for one that is not available or needs its own port."""
    if case.unavailable is not None:
        raise SettingError(f"the case {case.name} is not available: {case.unavailable}")
    if case.listener is not None:
        raise SettingError(f"the case {case.name} acts before there is any HTTP and has a port of its own")
    return Recipe(
        case.name,
        tuple(map(made, parse(case.faults))) if case.faults is not None else (),
        TEXT if case.reply is None else case.reply,
        Pacing.parse(case.pace) if case.pace else None,
        Chunking.parse(case.chunking) if case.chunking else None,
        case.ask,
        () if case.dialect == "any" else ((case.name, case.dialect),),
    )

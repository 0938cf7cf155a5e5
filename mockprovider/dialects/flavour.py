"""The table of flavours: how each provider's endpoint of chat completions differs from OpenAI's.

`flavours.toml` is the source of truth; each of its tables is checked when it is read. A flavour of one's own is a file
of the same form, see `read`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mockprovider.dialects.flavour_template import Flat, Run, Template
from mockprovider.dialects.flavour_values import CONSTANTS, COUNTS, check_pattern
from mockprovider.dialects.openai_models import reasons
from mockprovider.errors import SettingError, nearest

__all__ = ["FLAVOURS", "Flavour", "Keepalive", "Refusal", "flavour"]

KINDS = ("role", "text", "reasoning", "refusal", "call", "arguments", "calls", "finish", "usage")
"""What an event of a stream may be for: the templates that `{{delta}}` stands for."""

CALLS = ("pieces", "whole", "together")
"""How a tool call is streamed: its name first and its arguments after it, at once, or all calls with the finish."""

USAGE = ("asked", "always", "never")
"""When the account has an event of its own."""

_TABLES = ("ids", "parts", "stream", "whole", "headers", "errors", "models")
_SETTINGS = (
    "about", "like", "usage", "calls", "joins_role", "indented", "done", "limits", "keys", "paths", "keepalive",
    "relay", "tool_choices", "crlf",
)  # fmt: skip
_EVENT_VALUES = {
    "index", "delta", "finish", "native_finish", "logprobs", "text", "call", "call_id", "type", "name", "field",
    "calls", "choices", "content", "refusal", "reasoning", "padding", "said_so_far", "token_id",
}  # fmt: skip
_ERROR_VALUES = {"message", "type", "param", "code", "status", "request"}
_HEADER_VALUES = {"tokens_left", "model_text", "snapshot_text", "id_text", "request_uuid", "request_hex"}
_FLAGS = {
    *KINDS, "asked_usage", "padded", "logged", "keyed", "thinker", "reasoned", "thought", "tools", "called", "said",
    "refused", "first", "opens", "opens_call", "opens_refusal", "opens_text", "uncounted", "calls",
}  # fmt: skip
_ERROR_FLAGS = {"authentication", "invalid_request", "not_found", "rate_limit", "server", "coded"}


@dataclass(frozen=True, slots=True)
class Keepalive:
    """What is sent while the first token is awaited. every: seconds; first: once at once, too. comment: its text."""

    comment: str
    every: float
    first: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a provider refuses something. status: None for the usual one; message: with `{key}` or `{model}`."""

    message: str
    status: int | None = None
    type: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Flavour:
    """One row of the table.

    usage: one of `USAGE`; calls: one of `CALLS`; joins_role: an only tool call says the role, too; indented: whole
    replies are; done: the stream ends with `[DONE]`; limits: whose rate-limit headers; keys: headers that may carry the
    API key, besides `Authorization`; paths: the provider's own base paths, each for requests with some header only, or
    for all; like: the row that it completes; relay: events have `event:` and `id:` lines; crlf: lines end so;
    tool_choices: those besides OpenAI's.
    """

    name: str
    about: str
    ids: Mapping[str, str]
    parts: Mapping[str, Template]
    stream: Mapping[str, Template]
    whole: Mapping[str, Template]
    types: Mapping[str, str]
    reply_headers: tuple[tuple[str, Template, str], ...]
    refused_headers: tuple[tuple[str, Template, str], ...]
    errors: Mapping[str, Any]
    error_body: Template | None
    error_in_stream: Template | None
    models: Mapping[str, tuple[str, ...]]
    usage: str = "asked"
    calls: str = "pieces"
    joins_role: bool = False
    indented: bool = False
    done: bool = True
    limits: str = "openai"
    keys: tuple[str, ...] = ()
    paths: tuple[tuple[str, str | None], ...] = ()
    like: str = ""
    keepalive: Keepalive | None = None
    relay: bool = False
    crlf: bool = False
    tool_choices: tuple[str, ...] = ()
    _flat: dict[tuple[str, str, frozenset[str], frozenset[str]], Flat] = field(default_factory=dict)
    _runs: dict[tuple[bytes | str, ...], Run] = field(default_factory=dict)

    def flat(self, place: str, kind: str, lasting: frozenset[str], flags: frozenset[str]) -> Flat:
        """The template of an event of this kind (place `stream`), or of a part of a whole reply (place `whole`).

        lasting: the flags of the exchange; flags: those of the event.
        """
        key = place, kind, lasting, flags
        known = self._flat.get(key)
        if known is None:
            if len(self._flat) > 4096:  # flags depend on names of models, which clients make up
                self._flat.clear()
                self._runs.clear()
            templates = self.stream if place == "stream" else self.whole
            root = templates.get("chunk" if place == "stream" and kind in KINDS else kind, _NOTHING)
            delta = templates.get(kind, _NOTHING)
            known = self._flat[key] = root.flat(
                lasting | flags | {kind},
                lambda name: delta if name == "delta" else self.parts.get(name),
                lambda name: name not in _EVENT_VALUES and (name in self.ids or name in CONSTANTS),
                self._runs,
            )
        return known

    @property
    def tags(self) -> frozenset[str]:
        """What its templates name."""
        templates = [*self.parts.values(), *self.stream.values(), *self.whole.values()]
        return frozenset(tag for template in templates for tag in template.tags[0])

    def plan(self, lasting: frozenset[str]) -> Plan:
        """What follows from the flags of an exchange."""
        return _plan(self, lasting)

    def flags_of(self, model: str) -> frozenset[str]:
        """The flags that a model's name sets."""
        return _flags_of(self, model)

    def refusal(self, of: str) -> Refusal | None:
        """How it refuses a `key`, a request with `no_key`, or a `model`; None: as OpenAI does."""
        said = self.errors.get(of)
        return None if said is None else Refusal(**said)


_NOTHING = Template("", "")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stream is like for some flags. role: whether it has an event of its own; cumulates: whether a delta shows
    all that was said before, too.
    """

    role: bool
    cumulates: bool


@lru_cache(maxsize=1024)
def _plan(row: Flavour, lasting: frozenset[str]) -> Plan:
    role = row.stream.get("role")
    return Plan(
        role is not None and bool(role.flat(lasting | {"role"}, row.parts.get).parts),
        "said_so_far" in row.flat("stream", "text", lasting, frozenset()).names,
    )


@lru_cache(maxsize=1024)
def _flags_of(row: Flavour, model: str) -> frozenset[str]:
    flags = {flag for flag, patterns in row.models.items() if any(fnmatchcase(model, one) for one in patterns)}
    if reasons(model.rpartition("/")[2]):
        flags.add("thinker")
    vendor, slash, _ = model.partition("/")
    if slash:
        flags.add(f"vendor_{vendor}")
    return frozenset(flags)


# ------------------------------------------------------------------------------------------------------ reading it


def read(tables: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Flavour]:
    """The flavours of a file's tables. known: tables that `like` may name. SettingError, naming the place."""
    every = {**known, **tables}
    return {name: _row(name, _complete(name, every)) for name in tables}


def _complete(name: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    """A table with what it has from the one that it is like."""
    table = tables[name]
    if not isinstance(table, Mapping):
        raise SettingError(f"flavour {name}: expected a table")
    for key in table:
        if key not in (*_SETTINGS, *_TABLES):
            raise SettingError(f"flavour {name}: unknown key {key!r}{nearest(key, (*_SETTINGS, *_TABLES))}")
    if "like" not in table:
        return dict(table)
    if table["like"] not in tables:
        raise SettingError(f"flavour {name}: like {table['like']!r}{nearest(str(table['like']), list(tables))}")
    base = _complete(table["like"], {key: value for key, value in tables.items() if key != name})
    made = {**{key: value for key, value in base.items() if key not in ("paths",)}, **table}
    for key in _TABLES:
        if key in base and key in table and key != "errors":
            made[key] = {**base[key], **table[key]}
    return made


def _row(name: str, table: dict[str, Any]) -> Flavour:
    where = f"flavour {name}"
    for key, allowed in (("usage", USAGE), ("calls", CALLS)):
        if table.get(key, allowed[0]) not in allowed:
            raise SettingError(f"{where}: {key}: expected one of {', '.join(allowed)}, got {table[key]!r}")
    ids: dict[str, str] = table.get("ids", {})
    for pattern in ids.values():
        check_pattern(pattern, f"{where}: ids")
    parts = _templates(f"{where}: parts", table.get("parts", {}))
    stream = _templates(f"{where}: stream", table.get("stream", {}))
    whole = _templates(f"{where}: whole", table.get("whole", {}))
    headers, errors = table.get("headers", {}), dict(table.get("errors", {}))
    models = {flag: tuple(patterns) for flag, patterns in table.get("models", {}).items()}
    values = {*CONSTANTS, *COUNTS, *ids, *parts, *_EVENT_VALUES}
    for templates in (parts, stream, whole):
        for template in templates.values():
            _check(template, values, {*_FLAGS, *models})
    body, in_stream = errors.pop("body", None), errors.pop("in_stream", None)
    lists = [
        _headers(where, headers.get("reply", ()), {*values, *_HEADER_VALUES}),
        _headers(where, headers.get("refused", ()), {"request", "request_uuid", "request_hex"}),
    ]
    wording = [None if text is None else Template(text, f"{where}: errors") for text in (body, in_stream or body)]
    for each in wording:
        if each is not None:
            _check(each, _ERROR_VALUES, _ERROR_FLAGS)
    alive = table.get("keepalive")
    return Flavour(
        name, table.get("about", ""), ids, parts, stream, whole,
        {key: headers[key] for key in ("stream", "whole", "error") if key in headers},
        lists[0], lists[1], errors, wording[0], wording[1], models,
        keepalive=None if alive is None else Keepalive(**alive),
        keys=tuple(table.get("keys", ())),
        paths=tuple((path, None) if isinstance(path, str) else (path["path"], path["header"])
                    for path in table.get("paths", ())),
        like=table.get("like", ""),
        tool_choices=tuple(table.get("tool_choices", ())),
        **{key: table[key] for key in ("usage", "calls", "joins_role", "indented", "done", "limits",
                                       "relay", "crlf") if key in table},
    )  # fmt: skip


def _templates(where: str, table: Mapping[str, Any]) -> dict[str, Template]:
    return {key: Template(text, f"{where}.{key}") for key, text in table.items()}


def _headers(where: str, lines: Any, values: set[str]) -> tuple[tuple[str, Template, str], ...]:
    made = []
    for line in lines:
        template = Template(line[1], f"{where}: header {line[0]}")
        _check(template, values, set())
        made.append((line[0], template, line[2] if len(line) > 2 else ""))
    return tuple(made)


def _check(template: Template, values: set[str], flags: set[str]) -> None:
    """SettingError for a tag that means nothing."""
    named, asked = template.tags
    for name in sorted(named - values):
        raise SettingError(f"{template}: {{{{{name}}}}}{nearest(name, sorted(values))}")
    for name in sorted(asked - flags):
        if not name.startswith("vendor_"):
            raise SettingError(f"{template}: {{{{#{name}}}}}{nearest(name, sorted(flags))}")


_TABLE: dict[str, Any] = tomllib.loads(files("mockprovider.dialects").joinpath("flavours.toml").read_text("utf-8"))

FLAVOURS: Mapping[str, Flavour] = read(_TABLE, {})
"""The flavours that there are, by name."""


def flavour(name: object) -> Flavour:
    """The flavour of that name, or the only one of a file such as `./house.toml`. SettingError where there is none."""
    if not isinstance(name, str):
        raise SettingError(f"flavour: expected a name, got {name!r}")
    if name in FLAVOURS:
        return FLAVOURS[name]
    if not name.endswith(".toml"):
        raise SettingError(f"unknown flavour {name!r}{nearest(name, list(FLAVOURS))}, or a file FILE.toml")
    return _from_file(str(Path(name).resolve()))


@lru_cache(maxsize=64)
def _from_file(path: str) -> Flavour:
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"flavour {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"flavour {path}: not TOML: {error}") from error
    if len(tables) != 1:
        raise SettingError(f"flavour {path}: expected one table, the flavour, got {len(tables)}")
    (made,) = read(tables, _TABLE).values()
    return made

"""Rules written as data: the tables of a scenario file (TOML), and the JSON of the control API.

    seed = 1
    pace = "official"

    [[rule]]
    match = { model = "gpt-*", last = "weather" }
    reply = "Sunny."

    [[rule]]
    match = { model = { regex = "^o[0-9]" } }
    answers = [
        { error = { status = 429, headers = { retry-after = "1" } }, times = 2 },
        { reply = { reasoning = "Hm.", text = "Here you are." }, pace = "ttft=2,itl=0.05" },
    ]

Every refusal is a SettingError that says where: the file, the rule's number, the key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mockprovider.cases import recipe
from mockprovider.dialects.flavour import FLAVOURS
from mockprovider.errors import RequestError, SettingError, nearest
from mockprovider.limits import Limits
from mockprovider.matching import Conditions
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Citation, Part, Reasoning, Refusal, Reply, Text, Tokens, ToolCall
from mockprovider.scenario import Answer, Said, request_error
from mockprovider.tomltext import places

__all__ = [
    "ANSWER_KEYS",
    "ERROR_KEYS",
    "REPLY_KEYS",
    "TOP_KEYS",
    "Problem",
    "ScenarioFile",
    "check",
    "load",
    "reply_from",
    "rule_from",
]

ANSWER_KEYS = ("reply", "error", "times", "pace", "chunking", "faults", "flavour")
REPLY_KEYS = ("reasoning", "text", "citations", "refusal", "tool_calls", "parts", "finish", "usage")
_CITATION_KEYS = ("url", "title", "quote", "document", "start")
_USAGE_KEYS = ("prompt", "completion", "reasoning", "cached", "cache_written")
ERROR_KEYS = ("status", "message", "type", "param", "code", "headers")
_PARTS: Mapping[str, type[Reasoning | Text | Refusal]] = {"reasoning": Reasoning, "text": Text, "refusal": Refusal}


@contextmanager
def _within(what: str, *steps: str | int) -> Iterator[None]:
    """Say where a SettingError comes from: in words, unless they say it already, and by keys and indices."""
    try:
        yield
    except SettingError as error:
        placed = SettingError(f"{what}: {error}" if what else str(error))
        placed.where = (*steps, *error.where)
        raise placed from error


def _table(value: object, allowed: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingError(f"expected a table, got {value!r}")
    for key in value:
        if key not in allowed:
            with _within("", str(key)):
                raise SettingError(f"unknown key {key!r}{nearest(str(key), tuple(allowed))}")
    return value


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise SettingError(f"expected a list that is not empty, got {value!r}")
    return value


def rule_from(value: object, what: str = "rule") -> tuple[Conditions, list[Answer]]:
    """Conditions and answers from a table: `{"match": {...}, "reply": ...}`, or with `"answers": [...]`.

    Without a reply and an error, the answer is generated. SettingError names the table (`what`), the key, and what is
    allowed.
    """
    with _within(what):
        table = _table(value, ("match", "answers", *ANSWER_KEYS))
        match = table.get("match", {})
        with _within("match", "match"):
            if not isinstance(match, Mapping):
                raise SettingError(f"expected a table of conditions, got {match!r}")
            conditions = _conditions(match)
        if "answers" not in table:
            return conditions, [_answer({key: table[key] for key in ANSWER_KEYS if key in table})]
        if any(key in table for key in ANSWER_KEYS):
            raise SettingError("give either one answer's keys or `answers`, not both")
        answers = []
        with _within("answers", "answers"):
            listed = _list(table["answers"])
        for index, answer in enumerate(listed):
            with _within(f"answers[{index}]", "answers", index):
                answers.append(_answer(answer))
        return conditions, answers


def _conditions(match: Mapping[str, Any]) -> Conditions:
    try:
        return Conditions(**match)
    except SettingError:
        for key, value in match.items():
            with _within("", key):  # whichever cannot be, cannot be alone either
                Conditions(**{key: value})
        raise


def _answer(value: object) -> Answer:
    table = _table(value, ANSWER_KEYS)
    if "error" in table and ("reply" in table or "pace" in table or "chunking" in table):
        raise SettingError("an error has no reply, pace or chunking")
    says: Said | None = None
    if "reply" in table:
        with _within("reply", "reply"):
            says = reply_from(table["reply"])
    elif "error" in table:
        with _within("error", "error"):
            says = _error(table["error"])
    pace, chunking, chain = _pace(table), _chunking(table), _chain(table) or ""
    named = _flavour(table) or ""
    with _within("", "times"):
        return Answer(says, table.get("times"), pace, chunking, chain, flavour=named)


def reply_from(value: object) -> Reply:
    """A text, or a table of parts: by name, in the order of `REPLY_KEYS`, or in any order as the list `parts`."""
    if isinstance(value, str):
        return Reply.of(value)
    table = _table(value, REPLY_KEYS)
    finish = table.get("finish")
    if finish is not None and not isinstance(finish, str):
        raise SettingError(f"finish: expected a text, got {finish!r}")
    usage = None
    if "usage" in table:
        with _within("", "usage"):
            usage = Tokens(**_table(table["usage"], _USAGE_KEYS))
    if "parts" not in table:
        return Reply(tuple(_parts(table)), finish, usage)
    if table.keys() - {"parts", "finish", "usage"}:
        raise SettingError("give the parts either by name or as the list `parts`, not both")
    parts: list[Part] = []
    with _within("parts", "parts"):
        listed = _list(table["parts"])
    for index, part in enumerate(listed):
        with _within(f"parts[{index}]", "parts", index):
            named = {"text": part} if isinstance(part, str) else part
            parts.extend(_parts(_table(named, (*_PARTS, "citations", "tool_calls"))))
    return Reply(tuple(parts), finish, usage)


def _parts(table: Mapping[str, Any]) -> Iterator[Part]:
    with _within("", "citations"):
        citations = _citations(table)
    for key, kind in _PARTS.items():
        if key in table:
            if not isinstance(table[key], str):
                with _within(key, key):
                    raise SettingError(f"expected a text, got {table[key]!r}")
            yield Text(table[key], citations) if kind is Text else kind(table[key])
    if "tool_calls" not in table:
        return
    with _within("tool_calls", "tool_calls"):
        calls = _list(table["tool_calls"])
    for index, call in enumerate(calls):
        with _within(f"tool_calls[{index}]", "tool_calls", index):
            yield _call(_table(call, ("name", "arguments", "id")))


def _citations(table: Mapping[str, Any]) -> list[Citation]:
    if "citations" not in table:
        return []
    if "text" not in table:
        raise SettingError("citations: they belong to a text, and there is none beside them")
    made = []
    for index, citation in enumerate(_list(table["citations"])):
        with _within(f"citations[{index}]", index):
            made.append(Citation(**_table(citation, _CITATION_KEYS)))
    return made


def _call(table: Mapping[str, Any]) -> ToolCall:
    name, arguments, id = table.get("name"), table.get("arguments", {}), table.get("id")
    if not isinstance(name, str) or not isinstance(id, str | None) or not isinstance(arguments, Mapping | str):
        raise SettingError("expected a name, arguments as a table or JSON text, and perhaps an id")
    made = ToolCall(name, arguments, id)
    _ = made.arguments_text  # a date of TOML's is no JSON: it is better refused here than while a client waits
    return made


def _error(value: object) -> RequestError:
    table = _table(value, ERROR_KEYS)
    if "status" not in table:
        raise SettingError("expected a status")
    return request_error(
        table["status"],
        table.get("message"),
        kind=table.get("type"),
        param=table.get("param"),
        code=table.get("code"),
        headers=table.get("headers"),
    )


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario file, read and checked. Settings that the file does not name are None.

    tables: the rules as they were written; SETTINGS: the names of what else there is.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = (
        "seed", "pace", "chunking", "faults", "flavour", "limits", "models", "api_keys",
    )  # fmt: skip

    rules: tuple[tuple[Conditions, list[Answer]], ...]
    tables: tuple[Mapping[str, Any], ...] = ()
    seed: int | None = None
    pace: Pacing | None = None
    chunking: Chunking | None = None
    faults: str | None = None
    flavour: str | None = None
    limits: Limits | None = None
    models: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a scenario file. line, column: from 1, or None where the file as a whole is meant."""

    path: Path
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = "" if self.line is None else f"{self.line}:{self.column}:"
        return f"{self.path}:{place} {self.message}"


def load(path: Path) -> ScenarioFile:
    """Read a scenario file (TOML): the settings of `TOP_KEYS`, and tables `[[rule]]`.

    Raises SettingError, with everything that is wrong, a line each, for a file that cannot be read, is no TOML, or says
    something impossible.
    """
    file, problems = check(path)
    if file is None:
        raise SettingError("\n".join(map(str, problems)))
    return file


def check(path: Path) -> tuple[ScenarioFile | None, tuple[Problem, ...]]:
    """The file as `load` reads it, or None and all that is wrong with it, in the order of the file."""
    try:
        text = path.read_bytes().decode()
        table = tomllib.loads(text)
    except OSError as error:
        return None, (Problem(path, str(error.strerror)),)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        place = _PLACED.search(str(error))
        line, column = (int(place[1]), int(place[2])) if place else (None, None)
        return None, (Problem(path, f"not TOML: {_PLACED.sub('', str(error))}", line, column),)
    errors: list[SettingError] = []
    file = _read(table, errors)
    if not errors:
        return file, ()
    known = places(text)
    return None, tuple(sorted((_problem(path, error, known) for error in errors), key=lambda it: (it.line, it.column)))


_PLACED = re.compile(r" \(at line (\d+), column (\d+)\)")
"""How tomllib says where."""


def _problem(path: Path, error: SettingError, known: Mapping[tuple[str | int, ...], tuple[int, int]]) -> Problem:
    where = error.where
    while where not in known:  # what is missing stands where it should be
        where = where[:-1]
    return Problem(path, str(error), *known[where])


def _read(table: Mapping[str, Any], errors: list[SettingError]) -> ScenarioFile:
    """What a file says, as far as it can be; each key and each rule that cannot be is an error of its own."""
    read: dict[str, Any] = {"rules": (), "tables": ()}
    for key in table:
        try:
            with _within("", key):
                if key != "rule":
                    _table({key: table[key]}, TOP_KEYS)
                    read[key] = _TOP[key](table)
                elif not isinstance(table[key], list):
                    raise SettingError("rule: write each rule as a table [[rule]]")
        except SettingError as error:
            error.where = (key,)
            errors.append(error)
    rules = table.get("rule", [])
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        try:
            with _within("", "rule", index):
                read["rules"] += (rule_from(rule, f"rule {index + 1}"),)
                read["tables"] += (rule,)
        except SettingError as error:
            errors.append(error)
    return ScenarioFile(**read)


def _seed(table: Mapping[str, Any]) -> int:
    seed = table["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise SettingError(f"seed: expected a whole number, got {seed!r}")
    return seed


def _pace(table: Mapping[str, Any]) -> Pacing | None:
    with _within("", "pace"):
        return Pacing.parse(table["pace"]) if "pace" in table else None


def _chunking(table: Mapping[str, Any]) -> Chunking | None:
    with _within("", "chunking"):
        return Chunking.parse(table["chunking"]) if "chunking" in table else None


def _chain(table: Mapping[str, Any]) -> str | None:
    """A chain of faults that can be; None for none."""
    chain = table.get("faults", "")
    with _within("", "faults"):
        if not isinstance(chain, str):
            raise SettingError(f"faults: expected a chain such as 'stall(after=3)+sse-crlf', got {chain!r}")
        if chain:
            recipe(chain)
    return chain or None


def _flavour(table: Mapping[str, Any]) -> str | None:
    """A flavour by its name. No file: rules come over the control API, too."""
    name = table.get("flavour")
    with _within("", "flavour"):
        if name is not None and name not in FLAVOURS:
            raise SettingError(f"unknown flavour {name!r}{nearest(str(name), list(FLAVOURS))}")
    return name


def _names(table: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    if key not in table:
        return None
    with _within(key):
        names = _list(table[key])
        if not all(isinstance(name, str) and name for name in names):
            raise SettingError(f"expected texts that are not empty, got {names!r}")
        return tuple(names)


_TOP: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "seed": _seed,
    "pace": _pace,
    "chunking": _chunking,
    "faults": _chain,
    "flavour": _flavour,
    "limits": lambda table: Limits.parse(table["limits"]),
    "models": lambda table: _names(table, "models"),
    "api_keys": lambda table: _names(table, "api_keys"),
}
"""How each setting of a file is read; `rule` besides."""

TOP_KEYS = (*_TOP, "rule")

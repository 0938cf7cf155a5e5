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

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mockprovider.errors import RequestError, SettingError, nearest
from mockprovider.limits import Limits
from mockprovider.matching import Conditions
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Part, Reasoning, Refusal, Reply, Text, ToolCall
from mockprovider.scenario import Answer, Said, request_error

__all__ = ["ANSWER_KEYS", "ERROR_KEYS", "REPLY_KEYS", "TOP_KEYS", "ScenarioFile", "load", "reply_from", "rule_from"]

TOP_KEYS = ("seed", "pace", "chunking", "faults", "limits", "models", "api_keys", "rule")
ANSWER_KEYS = ("reply", "error", "times", "pace", "chunking", "faults")
REPLY_KEYS = ("reasoning", "text", "refusal", "tool_calls", "parts", "finish")
ERROR_KEYS = ("status", "message", "type", "param", "code", "headers")
_PARTS: Mapping[str, type[Reasoning | Text | Refusal]] = {"reasoning": Reasoning, "text": Text, "refusal": Refusal}


@contextmanager
def _within(what: str) -> Iterator[None]:
    """Say where a SettingError comes from."""
    try:
        yield
    except SettingError as error:
        raise SettingError(f"{what}: {error}") from error


def _table(value: object, allowed: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingError(f"expected a table, got {value!r}")
    for key in value:
        if key not in allowed:
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
        with _within("match"):
            if not isinstance(match, Mapping):
                raise SettingError(f"expected a table of conditions, got {match!r}")
            conditions = Conditions(**match)
        if "answers" not in table:
            return conditions, [_answer({key: table[key] for key in ANSWER_KEYS if key in table})]
        if any(key in table for key in ANSWER_KEYS):
            raise SettingError("give either one answer's keys or `answers`, not both")
        answers = []
        with _within("answers"):
            listed = _list(table["answers"])
        for index, answer in enumerate(listed):
            with _within(f"answers[{index}]"):
                answers.append(_answer(answer))
        return conditions, answers


def _answer(value: object) -> Answer:
    table = _table(value, ANSWER_KEYS)
    if "error" in table and ("reply" in table or "pace" in table or "chunking" in table):
        raise SettingError("an error has no reply, pace or chunking")
    says: Said | None = None
    if "reply" in table:
        with _within("reply"):
            says = reply_from(table["reply"])
    elif "error" in table:
        with _within("error"):
            says = _error(table["error"])
    return Answer(
        says,
        table.get("times"),
        Pacing.parse(table["pace"]) if "pace" in table else None,
        Chunking.parse(table["chunking"]) if "chunking" in table else None,
        _chain(table),
    )


def reply_from(value: object) -> Reply:
    """A text, or a table of parts: by name, in the order of `REPLY_KEYS`, or in any order as the list `parts`."""
    if isinstance(value, str):
        return Reply.of(value)
    table = _table(value, REPLY_KEYS)
    finish = table.get("finish")
    if finish is not None and not isinstance(finish, str):
        raise SettingError(f"finish: expected a text, got {finish!r}")
    if "parts" not in table:
        return Reply(tuple(_parts(table)), finish)
    if table.keys() - {"parts", "finish"}:
        raise SettingError("give the parts either by name or as the list `parts`, not both")
    parts: list[Part] = []
    with _within("parts"):
        listed = _list(table["parts"])
    for index, part in enumerate(listed):
        with _within(f"parts[{index}]"):
            named = {"text": part} if isinstance(part, str) else part
            parts.extend(_parts(_table(named, (*_PARTS, "tool_calls"))))
    return Reply(tuple(parts), finish)


def _parts(table: Mapping[str, Any]) -> Iterator[Part]:
    for key, kind in _PARTS.items():
        if key in table:
            if not isinstance(table[key], str):
                raise SettingError(f"{key}: expected a text, got {table[key]!r}")
            yield kind(table[key])
    if "tool_calls" not in table:
        return
    with _within("tool_calls"):
        calls = _list(table["tool_calls"])
    for index, call in enumerate(calls):
        with _within(f"tool_calls[{index}]"):
            yield _call(_table(call, ("name", "arguments", "id")))


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
    """A scenario file, read and checked. Settings that the file does not name are None."""

    rules: tuple[tuple[Conditions, list[Answer]], ...]
    seed: int | None = None
    pace: Pacing | None = None
    chunking: Chunking | None = None
    faults: str | None = None
    limits: Limits | None = None
    models: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None


def load(path: Path) -> ScenarioFile:
    """Read a scenario file (TOML): `seed`, `pace`, `chunking`, `faults`, `limits`, `models`, `api_keys`, and tables
    `[[rule]]`.

    Raises SettingError, with the file's name, for a file that cannot be read, is no TOML, or says something impossible.
    """
    with _within(str(path)):
        try:
            table = _table(tomllib.loads(path.read_bytes().decode()), TOP_KEYS)
        except OSError as error:
            raise SettingError(str(error.strerror)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SettingError(f"not TOML: {error}") from error
        seed, rules = table.get("seed"), table.get("rule", [])
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise SettingError(f"seed: expected a whole number, got {seed!r}")
        if not isinstance(rules, list):
            raise SettingError("rule: write each rule as a table [[rule]]")
        return ScenarioFile(
            rules=tuple(rule_from(rule, f"rule {index + 1}") for index, rule in enumerate(rules)),
            seed=seed,
            pace=Pacing.parse(table["pace"]) if "pace" in table else None,
            chunking=Chunking.parse(table["chunking"]) if "chunking" in table else None,
            faults=_chain(table) or None,
            limits=Limits.parse(table["limits"]) if "limits" in table else None,
            models=_names(table, "models"),
            api_keys=_names(table, "api_keys"),
        )


def _chain(table: Mapping[str, Any]) -> str:
    chain = table.get("faults", "")
    if not isinstance(chain, str):
        raise SettingError(f"faults: expected a chain such as 'stall(after=3)+sse-crlf', got {chain!r}")
    return chain


def _names(table: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    if key not in table:
        return None
    with _within(key):
        names = _list(table[key])
        if not all(isinstance(name, str) and name for name in names):
            raise SettingError(f"expected texts that are not empty, got {names!r}")
        return tuple(names)

"""(request, history) -> what to answer: rules with answers in order, and generated replies where there are no rules.

One scenario belongs to one namespace. The same rules can be written in Python, as a table of a TOML file, or as the
JSON of the control API; `rule_from` reads the latter two.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mockprovider import filler
from mockprovider.errors import NoMatchError, RequestError, SettingError, nearest
from mockprovider.exchange import Exchange
from mockprovider.jsontext import dumps
from mockprovider.matching import Conditions, nearest_miss
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Reasoning, Refusal, Reply, Text, ToolCall
from mockprovider.schema import SchemaError, instance
from mockprovider.seed import Seed

__all__ = ["Answer", "Rule", "Scenario", "ScenarioFile", "load", "request_error", "rule_from"]

Said: TypeAlias = Reply | RequestError
Saying: TypeAlias = Said | Callable[[Exchange], "Said | str"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule says once: a reply, an error in the provider's shape, or a function of the exchange.

    says: None lets the reply be generated from the seed and the request. times: how often before the next answer's
    turn (None: the last answer for ever, any other once); pace, chunking: instead of the server's.
    """

    says: Saying | None = None
    times: int | None = None
    pace: Pacing | None = None
    chunking: Chunking | None = None

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise SettingError(f"times: expected at least 1, got {self.times}")


@dataclass(slots=True)
class Rule:
    """Answers, in order, for the requests that meet the conditions. used: how many times each answer was given."""

    name: str
    conditions: Conditions
    answers: list[Answer] = field(default_factory=list)
    used: list[int] = field(default_factory=list)

    def next(self) -> Answer | None:
        """The answer whose turn it is, counted as given; None where all are used up."""
        self.used.extend([0] * (len(self.answers) - len(self.used)))
        last = len(self.answers) - 1
        for index, answer in enumerate(self.answers):
            limit = answer.times if answer.times is not None else (None if index == last else 1)
            if limit is None or self.used[index] < limit:
                self.used[index] += 1
                return answer
        return None

    def describe(self) -> dict[str, Any]:
        """The rule as JSON, for the control API."""
        return {
            "name": self.name,
            "when": str(self.conditions),
            "answers": len(self.answers),
            "used": sum(self.used),
        }


class Scenario:
    """The rules of one namespace. Without any rule, replies are generated from the seed and the request."""

    def __init__(self, *, reply: Reply | None = None, reply_tokens: int | None = None) -> None:
        self.rules: list[Rule] = []
        self.reply = reply
        self.reply_tokens = reply_tokens
        self.unmatched: list[str] = []

    def add(self, conditions: Conditions, answer: Answer) -> Rule:
        """Append the answer to the rule with equal conditions, or to a new rule at the end."""
        for rule in self.rules:
            if rule.conditions.key == conditions.key:
                rule.answers.append(answer)
                return rule
        rule = Rule(f"rule {len(self.rules) + 1} ({conditions})", conditions, [answer])
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Remove all rules."""
        self.rules.clear()

    def answer(self, exchange: Exchange) -> Answer:
        """The answer to this exchange; notes the rule in it. NoMatchError where rules exist and none answers."""
        for rule in self.rules:
            if not rule.conditions.mismatches(exchange):
                answer = rule.next()
                if answer is not None:
                    exchange.rule = rule.name
                    return answer
        if not self.rules:
            return Answer(self.reply)
        spent = [rule.name for rule in self.rules if not rule.conditions.mismatches(exchange)]
        why = (
            f"{spent[0]} is for it, but all its answers are used up"
            if spent
            else nearest_miss(exchange, [(rule.name, rule.conditions) for rule in self.rules])
        )
        message = f"no rule answers {exchange.method} {exchange.path}: {why}"
        self.unmatched.append(message)
        raise NoMatchError(message)

    def replies(self, answer: Answer, exchange: Exchange, seed: Seed, key: tuple[object, ...]) -> tuple[Reply, ...]:
        """The reply of each choice. Raises the answer's RequestError; SettingError where a function answers wrongly."""
        choices = exchange.ask.choices if exchange.ask else 1
        says = answer.says
        if says is None:
            return tuple(generate(exchange, seed, (*key, choice), self.reply_tokens) for choice in range(choices))
        if not isinstance(says, Reply | RequestError):
            said = says(exchange)
            says = Reply.of(said) if isinstance(said, str) else said
        if isinstance(says, RequestError):
            raise says
        if not isinstance(says, Reply):
            raise SettingError(f"an answer function must return a str, a Reply or a RequestError, not {says!r}")
        return (says,) * choices


def generate(exchange: Exchange, seed: Seed, key: tuple[object, ...], tokens: int | None) -> Reply:
    """A reply made up from the seed and the request: as structured as it asks for, a tool call only if it must."""
    ask = exchange.ask
    assert ask is not None, "only prompts are answered with generated replies"
    rng = seed.stream("text", *key)
    if ask.must_call is not None and not ask.answers_tool:
        tool = next((tool for tool in ask.tools if tool.name == ask.must_call), None) or rng.choice(ask.tools)
        return Reply((ToolCall(tool.name, _instance(tool.parameters or {"type": "object"}, rng, tool.name)),))
    if ask.schema is not None:
        schema = ask.schema or {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
        }
        return Reply((Text(dumps(_instance(schema, rng, "response_format")).decode()),))
    return Reply((Text(filler.answer(rng, tokens=tokens)),))


def _instance(schema: Mapping[str, Any], rng: Any, name: str) -> Any:
    try:
        return instance(schema, rng)
    except SchemaError as error:
        raise RequestError(
            400, f"Invalid schema for '{name}': {error}", param="tools", code="invalid_function_parameters"
        ) from error


# ------------------------------------------------------------------------------------------------ rules as data

_ANSWER_KEYS = ("reply", "error", "times", "pace", "chunking")
_PART_KEYS = ("text", "reasoning", "refusal", "tool_calls", "finish")
_ERROR_KEYS = ("status", "message", "type", "param", "code", "headers")


def _table(value: object, what: str, allowed: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingError(f"{what}: expected a table, got {value!r}")
    for key in value:
        if key not in allowed:
            raise SettingError(f"{what}: unknown key {key!r}{nearest(str(key), tuple(allowed))}")
    return value


def rule_from(value: object, what: str = "rule") -> tuple[Conditions, list[Answer]]:
    """Conditions and answers from a table: `{"match": {...}, "reply": ...}`, or with `"answers": [...]`.

    SettingError names the table (`what`), the key, and what is allowed.
    """
    table = _table(value, what, ("match", "answers", *_ANSWER_KEYS))
    match = table.get("match", {})
    if not isinstance(match, Mapping):
        raise SettingError(f"{what}: match: expected a table of conditions, got {match!r}")
    try:
        conditions = Conditions(**match)
    except SettingError as error:
        raise SettingError(f"{what}: match: {error}") from error
    if "answers" not in table:
        return conditions, [_answer({key: table[key] for key in _ANSWER_KEYS if key in table}, what)]
    listed = table["answers"]
    if any(key in table for key in _ANSWER_KEYS) or not isinstance(listed, list) or not listed:
        raise SettingError(f"{what}: give either one answer's keys or `answers`, a list that is not empty")
    return conditions, [_answer(answer, f"{what}: answers[{index}]") for index, answer in enumerate(listed)]


def _answer(value: object, what: str) -> Answer:
    table = _table(value, what, _ANSWER_KEYS)
    if "reply" in table and "error" in table:
        raise SettingError(f"{what}: a reply and an error exclude each other")
    says: Said | None = None
    if "reply" in table:
        says = _reply(table["reply"], f"{what}: reply")
    elif "error" in table:
        says = _error(table["error"], f"{what}: error")
    times = table.get("times")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int)):
        raise SettingError(f"{what}: times: expected a whole number, got {times!r}")
    return Answer(
        says,
        times,
        Pacing.parse(table["pace"]) if "pace" in table else None,
        Chunking.parse(table["chunking"]) if "chunking" in table else None,
    )


def _reply(value: object, what: str) -> Reply:
    if isinstance(value, str):
        return Reply.of(value)
    table = _table(value, what, _PART_KEYS)
    for key in ("text", "reasoning", "refusal", "finish"):
        if key in table and not isinstance(table[key], str):
            raise SettingError(f"{what}: {key}: expected a text, got {table[key]!r}")
    parts: list[Any] = []
    for key, kind in (("reasoning", Reasoning), ("text", Text), ("refusal", Refusal)):
        if key in table:
            parts.append(kind(table[key]))
    calls = table.get("tool_calls", [])
    if not isinstance(calls, list):
        raise SettingError(f"{what}: tool_calls: expected a list, got {calls!r}")
    for index, call in enumerate(calls):
        where = f"{what}: tool_calls[{index}]"
        described = _table(call, where, ("name", "arguments", "id"))
        name, arguments, id = described.get("name"), described.get("arguments", {}), described.get("id")
        if not isinstance(name, str) or not isinstance(id, str | None) or not isinstance(arguments, Mapping | str):
            raise SettingError(f"{where}: expected a name, arguments as a table or JSON text, and perhaps an id")
        parts.append(ToolCall(name, arguments, id))
    return Reply(tuple(parts), table.get("finish"))


def _error(value: object, what: str) -> RequestError:
    table = _table(value, what, _ERROR_KEYS)
    status, headers = table.get("status"), table.get("headers", {})
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
        raise SettingError(f"{what}: status: expected 400 to 599, got {status!r}")
    if not isinstance(headers, Mapping):
        raise SettingError(f"{what}: headers: expected a table, got {headers!r}")
    return request_error(
        status,
        table.get("message"),
        kind=table.get("type"),
        param=table.get("param"),
        code=table.get("code"),
        headers=headers,
    )


_KINDS = {401: "authentication", 403: "authentication", 404: "not_found", 429: "rate_limit"}


def request_error(
    status: int,
    message: str | None = None,
    *,
    kind: str | None = None,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, object] | None = None,
) -> RequestError:
    """An error answer; kind and message follow from the status where they are not given."""
    usual = _KINDS.get(status, "server" if status >= 500 else "invalid_request")
    return RequestError(
        status,
        message if message is not None else f"mockprovider answers with status {status}, as it was told to",
        kind=kind or usual,
        param=param,
        code=code,
        headers=tuple((str(name), str(value)) for name, value in (headers or {}).items()),
    )


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario file, read and checked. Settings that the file does not name are None."""

    rules: tuple[tuple[Conditions, list[Answer]], ...]
    seed: int | None = None
    pace: Pacing | None = None
    chunking: Chunking | None = None
    models: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None


def load(path: Path) -> ScenarioFile:
    """Read a scenario file (TOML): `seed`, `pace`, `chunking`, `models`, `api_keys`, and tables `[[rule]]`.

    Raises SettingError, with the file's name, for a file that cannot be read, is no TOML, or says something impossible.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: {error}") from error
    try:
        _table(table, "the file", ("seed", "pace", "chunking", "models", "api_keys", "rule"))
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
            models=_names(table, "models"),
            api_keys=_names(table, "api_keys"),
        )
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def _names(table: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    names = table.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise SettingError(f"{key}: expected a list of texts, got {names!r}")
    return tuple(names)

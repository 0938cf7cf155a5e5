"""(request, history) -> what to answer: rules with answers in order, and generated replies where there are no rules.

One scenario belongs to one namespace. Its rules can be written in Python, as tables of a TOML file, or as the JSON of
the control API; `scenario_file` reads the latter two.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeAlias

from mockprovider import filler
from mockprovider.cases import recipe
from mockprovider.dialects.flavour import flavour
from mockprovider.errors import NoMatchError, RequestError, SettingError
from mockprovider.exchange import Exchange
from mockprovider.jsontext import dumps
from mockprovider.matching import Conditions, nearest_miss
from mockprovider.pace import Chunking, Pacing
from mockprovider.replay.reel import Show
from mockprovider.reply import Part, Reasoning, Refusal, Reply, Text, ToolCall
from mockprovider.schema import SchemaError, instance
from mockprovider.seed import Seed

__all__ = ["Answer", "Rule", "RuleSet", "Said", "Scenario", "generate", "request_error"]

Said: TypeAlias = Reply | RequestError
Saying: TypeAlias = Said | Callable[[Exchange], "Said | Part | str"]
RuleSet: TypeAlias = "Iterable[tuple[Conditions, Sequence[Answer]]]"

_UNMATCHED = 1000
"""How many unmatched requests a scenario keeps: a server that runs for weeks must not grow with them."""

_WHOLE = 4_000_000
"""Characters, and pieces, that a text made by a function may have where the reply is sent whole."""


_MADE = 256
"""Generated replies that are remembered, so that a request that comes again costs less."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule says once: a reply, an error in the provider's shape, or a function of the exchange.

    says: None lets the reply be generated from the seed and the request. times: how often before the next answer's
    turn (None: the last answer for ever, any other once); pace, chunking: instead of the server's; faults: the chain
    that is done to it; recording: is played instead of a reply; flavour: whose chat completions it is like, instead of
    the server's. SettingError for a chain that cannot be, and for an unknown flavour.
    """

    says: Saying | None = None
    times: int | None = None
    pace: Pacing | None = None
    chunking: Chunking | None = None
    faults: str = ""
    recording: Show | None = None
    flavour: str = ""

    def __post_init__(self) -> None:
        if self.faults:
            recipe(self.faults)
        if self.flavour != "":
            flavour(self.flavour)
        times: object = self.times  # whoever gives it may not be checked for types
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise SettingError(f"times: expected a whole number of at least 1, got {times!r}")


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
    """The rules of one namespace. Without any rule, replies are generated from the seed and the request.

    rules: those it begins with, as a scenario file has them; reply: instead of generated replies; reply_tokens: how
    long generated ones are at least. unmatched: why requests found no answer, newest last. tables: the rules that were
    given as data, as they were written.
    """

    def __init__(
        self,
        rules: RuleSet = (),
        *,
        tables: Sequence[Mapping[str, Any]] = (),
        reply: Reply | None = None,
        reply_tokens: int | None = None,
    ) -> None:
        self.rules: list[Rule] = []
        self._usual = Answer(reply)
        self.reply_tokens = reply_tokens
        self._made: OrderedDict[tuple[object, ...], tuple[Reply, ...]] = OrderedDict()
        self.unmatched: deque[str] = deque(maxlen=_UNMATCHED)
        self.tables: list[Mapping[str, Any]] = []
        self._initial = tuple(rules), tuple(tables)
        self.reset()

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
        """Remove all rules, those it began with among them."""
        self.rules.clear()
        self.tables.clear()

    def restart(self, rules: RuleSet, tables: Sequence[Mapping[str, Any]]) -> None:
        """Begin with these rules instead, as if it were new."""
        self._initial = tuple(rules), tuple(tables)
        self.reset()

    def reset(self) -> None:
        """The rules it began with, unused, and none else; no unmatched requests."""
        self.rules.clear()
        self.unmatched.clear()
        rules, self.tables[:] = self._initial
        for conditions, answers in rules:
            for answer in answers:
                self.add(conditions, answer)

    def answer(self, exchange: Exchange, usual: Reply | None = None) -> Answer:
        """The answer to this exchange; notes the rule in it. NoMatchError where rules exist and none answers.

        usual: what is said where nobody scripted a reply; None: what is generated.
        """
        for rule in self.rules:
            if not rule.conditions.mismatches(exchange):
                answer = rule.next()
                if answer is not None:
                    exchange.rule = rule.name
                    return answer
        if not self.rules:
            return self._usual if usual is None or self._usual.says is not None else Answer(usual)
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
        ask = exchange.ask
        assert ask is not None, "only prompts are answered with replies"
        says = answer.says
        if says is None:
            return self._generated(exchange, seed, key)
        if not isinstance(says, Reply | RequestError):
            said = says(exchange)
            if not isinstance(said, str | Reply | RequestError | Text | Reasoning | Refusal | ToolCall):
                raise SettingError(
                    f"an answer function must return a str, a part, a Reply or a RequestError, not {said!r}"
                )
            says = said if isinstance(said, RequestError) else Reply.of(said)
        if isinstance(says, RequestError):
            raise says
        if (
            not ask.stream
            and ask.max_tokens is None
            and any(isinstance(part, Text) and callable(part.text) for part in says.parts)
        ):
            says = replace(says, parts=tuple(map(_ended, says.parts)))
        return (says,) * ask.choices

    def _generated(self, exchange: Exchange, seed: Seed, key: tuple[object, ...]) -> tuple[Reply, ...]:
        """What is made up for this request; the same object while it is remembered."""
        ask = exchange.ask
        assert ask is not None, "only prompts are answered with replies"
        known = (*key, exchange.faults, ask.choices)
        replies = self._made.pop(known, None)
        if replies is None:
            replies = tuple(
                generate(exchange, seed, (*key, choice), self.reply_tokens) for choice in range(ask.choices)
            )
        self._made[known] = replies
        if len(self._made) > _MADE:
            self._made.popitem(last=False)
        return replies


def _ended(part: Part) -> Part:
    """The part with its text made: what is sent whole must end. SettingError where it does not."""
    if not isinstance(part, Text) or isinstance(part.text, str):
        return part
    made: list[str] = []
    size = 0
    for piece in part.text():
        made.append(piece)
        size += len(piece)
        if size > _WHOLE or len(made) > _WHOLE:
            raise SettingError(
                f"the reply's text did not end within {_WHOLE} characters: an endless one needs a request that asks"
                " for a stream or sets max_tokens"
            )
    return Text("".join(made), part.citations)


def generate(exchange: Exchange, seed: Seed, key: tuple[object, ...], tokens: int | None) -> Reply:
    """A reply made up from the seed and the request: as structured as it asks for, a tool call only if it must."""
    ask = exchange.ask
    assert ask is not None, "only prompts are answered with generated replies"
    rng = seed.stream("text", *key)
    if ask.must_call and not ask.answers_tool:
        name = rng.choice(ask.must_call)
        index, tool = next((index, tool) for index, tool in enumerate(ask.tools) if tool.name == name)
        if tool.custom:
            return Reply((ToolCall(name, filler.answer(rng, kind="prose", tokens=8)),))
        arguments = _instance(
            tool.parameters or {"type": "object"},
            rng,
            f"function '{name}'",
            f"tools[{index}].function.parameters",
            "invalid_function_parameters",
        )
        return Reply((ToolCall(name, arguments),))
    if ask.schema is not None:
        schema = ask.schema or {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
        }
        value = _instance(schema, rng, "response_format", "response_format", "invalid_json_schema")
        return Reply((Text(dumps(value).decode()),))
    return Reply((Text(filler.answer(rng, tokens=tokens)),))


def _instance(schema: Mapping[str, Any], rng: Random, what: str, param: str, code: str) -> Any:
    try:
        return instance(schema, rng)
    except SchemaError as error:
        raise RequestError(400, f"Invalid schema for {what}: {error}", param=param, code=code) from error


_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[^\x00\r\n]*")
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
    """An error answer; kind and message follow from the status where they are not given.

    status: 400 to 599; headers: further ones, such as `retry-after`. SettingError for what cannot be sent so.
    """
    given: object = status
    if isinstance(given, bool) or not isinstance(given, int) or not 400 <= given <= 599:
        raise SettingError(f"status: expected 400 to 599, got {given!r}")
    for name, value in (("message", message), ("type", kind), ("param", param), ("code", code)):
        if value is not None and not isinstance(value, str):
            raise SettingError(f"{name}: expected a text, got {value!r}")
    if headers is not None and not isinstance(headers, Mapping):
        raise SettingError(f"headers: expected a table, got {headers!r}")
    written = tuple((str(name), str(value)) for name, value in (headers or {}).items())
    for name, value in written:
        # RFC 9110 section 5: a line end in a value would begin another header.
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise SettingError(f"headers: {name!r}: {value!r} is no header")
    usual = _KINDS.get(status, "server" if status >= 500 else "invalid_request")
    return RequestError(
        status,
        message if message is not None else f"mockprovider answers with status {status}, as it was told to",
        kind=kind or usual,
        param=param,
        code=code,
        headers=written,
    )

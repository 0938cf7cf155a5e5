"""Rules in order, generated replies, and both written as TOML and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider.dialects.base import ToolSpec
from mockprovider.errors import NoMatchError, RequestError, SettingError
from mockprovider.matching import Conditions
from mockprovider.reply import Reasoning, Refusal, Reply, Text, ToolCall
from mockprovider.scenario import Answer, Scenario, request_error
from mockprovider.scenario_file import check, load, rule_from
from mockprovider.seed import Seed
from tests.asking import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mockprovider.exchange import Exchange


def said(scenario: Scenario, request: Exchange | None = None) -> str:
    """What the scenario answers, in a word: the text, the error's status, or `-` where no rule does."""
    request = request or exchange()
    try:
        reply = scenario.replies(scenario.answer(request), request, Seed(1), ())[0]
    except NoMatchError:
        return "-"
    except RequestError as error:
        return str(error.status)
    return "".join(str(part.text) for part in reply.parts if isinstance(part, Text))


def says(text: str, times: int | None = None) -> Answer:
    """An answer with a status for an error, else with a text."""
    return Answer(request_error(int(text)) if text.isdigit() else Reply.of(text), times)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([says("a")], "a a a"),
        ([says("a"), says("b")], "a b b b"),
        ([says("a", 2), says("b")], "a a b b"),
        ([says("a", 2)], "a a - -"),
        ([says("a"), says("b", 1)], "a b - -"),
        ([says("429", 2), says("b")], "429 429 b b"),
        ([says("a"), says("500"), says("c")], "a 500 c c"),
    ],
)
def test_answers_are_given_in_order(answers: list[Answer], expected: str) -> None:
    """Each answer is given once or as often as it says, then the next one; the last one for ever, or as it says."""
    scenario = Scenario([(Conditions(), answers)])
    assert " ".join(said(scenario) for _ in expected.split()) == expected
    assert scenario.rules[0].describe()["used"] == sum(word != "-" for word in expected.split())


def test_equal_conditions_form_one_sequence() -> None:
    """Rules with equal conditions are one rule, whose answers follow each other in the order they were added."""
    scenario = Scenario()
    scenario.add(Conditions(model="gpt-*", stream=False), says("a"))
    scenario.add(Conditions(model="o3"), says("other"))
    scenario.add(Conditions(stream=False, model="gpt-*"), says("b"))
    assert len(scenario.rules) == 2
    assert [said(scenario) for _ in range(3)] == ["a", "b", "b"]


def test_an_answer_added_late_is_next() -> None:
    """A last answer gives way to one that is added after it was given."""
    scenario = Scenario()
    scenario.add(Conditions(), says("a"))
    assert [said(scenario), said(scenario)] == ["a", "a"]
    scenario.add(Conditions(), says("b"))
    assert [said(scenario), said(scenario)] == ["b", "b"]


def test_rules_are_tried_in_order_and_a_spent_one_gives_way() -> None:
    """The first rule that is for a request and has an answer left gives it."""
    scenario = Scenario()
    scenario.add(Conditions(model="gpt-*"), says("first", 1))
    scenario.add(Conditions(), says("second"))
    assert [said(scenario) for _ in range(3)] == ["first", "second", "second"]
    request = exchange()
    scenario.answer(request)
    assert request.rule == "rule 2 (any request)"


def test_an_unmatched_request_is_told_why() -> None:
    """Where rules exist and none answers, the error names the nearest one and what differs, or one that is spent."""
    scenario = Scenario([(Conditions(model="o3"), [says("a", 1)])])
    with pytest.raises(NoMatchError, match=r"(?s)nearest rule is rule 1.*model: expected glob\('o3'\), got 'gpt-5'"):
        scenario.answer(exchange())
    assert said(scenario, exchange(model="o3")) == "a"
    with pytest.raises(NoMatchError, match=r"rule 1 \(model=glob\('o3'\)\) is for it, but all its answers are used up"):
        scenario.answer(exchange(model="o3"))
    assert len(scenario.unmatched) == 2


def test_unmatched_requests_are_kept_within_bounds() -> None:
    """A server that runs for weeks does not grow with the requests that no rule answers; the newest are kept."""
    scenario = Scenario([(Conditions(model="o3"), [says("a")])])
    for number in range(1500):
        assert said(scenario, exchange(model=f"m{number}")) == "-"
    assert len(scenario.unmatched) == 1000
    assert "'m1499'" in scenario.unmatched[-1]


def test_reset_brings_back_the_first_rules_and_clear_removes_them() -> None:
    """After a reset a scenario is as it began, its answers unused; after clear it has no rules."""
    scenario = Scenario([(Conditions(), [says("a"), says("b")])])
    scenario.add(Conditions(model="o3"), says("c"))
    assert [said(scenario), said(scenario)] == ["a", "b"]
    scenario.reset()
    assert [rule.describe() for rule in scenario.rules] == [
        {"name": "rule 1 (any request)", "when": "any request", "answers": 2, "used": 0}
    ]
    assert said(scenario) == "a"
    scenario.clear()
    assert scenario.rules == []


def test_without_rules_the_reply_is_the_setting_or_generated() -> None:
    """The reply setting answers where there is no rule; without it, text is made from the seed and the request."""
    assert said(Scenario(reply=Reply.of("always"))) == "always"
    assert said(Scenario()) == said(Scenario()) != ""
    request = exchange(n=2)
    first, second = Scenario().replies(Answer(), request, Seed(1), ())
    assert first != second
    assert len(said(Scenario(reply_tokens=500))) > len(said(Scenario(reply_tokens=50)))


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("one", "two")]


def test_a_generated_reply_is_as_structured_as_the_request_asks() -> None:
    """A required tool is called with arguments of its schema, and a structured answer satisfies its own."""

    def generated(**fields: Any) -> Any:
        request = exchange("As JSON, please.", **fields)
        return Scenario().replies(Answer(), request, Seed(1), ())[0].parts[0]

    named = {"type": "function", "function": {"name": "two"}}
    assert generated(tools=TOOLS, tool_choice=named) == ToolCall("two", {"city": "Rome"})
    assert generated(tools=TOOLS, tool_choice="required").name in ("one", "two")
    assert isinstance(generated(tools=TOOLS, tool_choice="auto"), Text)
    structured = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    assert json.loads(generated(response_format=structured).text) == {"city": "Rome"}
    assert isinstance(json.loads(generated(response_format={"type": "json_object"}).text), dict)


@pytest.mark.parametrize(
    ("ask", "param", "code"),
    [
        (
            {"tools": (ToolSpec("f", {"type": "nonsense"}),), "must_call": ("f",)},
            "tools[0].function.parameters",
            "invalid_function_parameters",
        ),
        ({"schema": {"type": "nonsense"}}, "response_format", "invalid_json_schema"),
    ],
)
def test_a_schema_that_cannot_be_met_is_the_clients_error(ask: dict[str, Any], param: str, code: str) -> None:
    """A schema that no value satisfies, where the dialect lets it through, is refused with 400 and the parameter."""
    request = exchange()
    assert request.ask is not None
    request.ask = replace(request.ask, **ask)
    with pytest.raises(RequestError) as caught:
        Scenario().replies(Answer(), request, Seed(1), ())
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(
    ("returned", "parts"),
    [
        ("text", (Text("text"),)),
        (Refusal("no"), (Refusal("no"),)),
        (Reply.of("a", Reasoning("b")), (Text("a"), Reasoning("b"))),
    ],
)
def test_a_function_answers_with_a_text_a_part_or_a_reply(returned: Any, parts: tuple[Any, ...]) -> None:
    """What an answer function returns is the reply, and it is given the exchange."""
    asked: list[str] = []

    def answer(request: Exchange) -> Any:
        asked.append(request.json["model"])
        return returned

    request = exchange(n=2)
    assert [reply.parts for reply in Scenario().replies(Answer(answer), request, Seed(1), ())] == [parts, parts]
    assert asked == ["gpt-5"]


@pytest.mark.parametrize("returned", [request_error(429), None, 5, ["text"]])
def test_a_function_that_answers_with_something_else(returned: Any) -> None:
    """A RequestError that is returned is the answer; anything that is no answer is a SettingError that shows it."""
    expected = RequestError if isinstance(returned, RequestError) else SettingError
    with pytest.raises(expected) as caught:
        Scenario().replies(Answer(lambda _: returned), exchange(), Seed(1), ())
    assert caught.value is returned or repr(returned) in str(caught.value)


def endless() -> Iterator[str]:
    """A text without end."""
    while True:
        yield "on and on "


def test_an_endless_text_is_not_sent_whole() -> None:
    """An endless reply is refused where it would have to be whole, and let through to a stream or under a limit."""
    answer = Answer(Reply.of(Text(endless)))
    with pytest.raises(SettingError, match="did not end within"):
        Scenario().replies(answer, exchange(), Seed(1), ())
    for fields in ({"stream": True}, {"max_tokens": 5}):
        [reply] = Scenario().replies(answer, exchange(**fields), Seed(1), ())
        assert reply.parts == (Text(endless),)
    [whole] = Scenario().replies(Answer(Reply.of(Text(lambda: ["a", "b"]))), exchange(), Seed(1), ())
    assert whole.parts == (Text("ab"),)


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [
        ({"status": 399}, "status: expected 400 to 599, got 399"),
        ({"status": 600}, "status: expected 400 to 599, got 600"),
        ({"status": True}, "status: expected 400 to 599, got True"),
        ({"status": "429"}, "status: expected 400 to 599, got '429'"),
        ({"status": 429, "message": 5}, "message: expected a text, got 5"),
        ({"status": 429, "code": []}, "code: expected a text, got []"),
        ({"status": 429, "headers": ["a"]}, "headers: expected a table, got ['a']"),
        ({"status": 429, "headers": {"a b": "c"}}, "headers: 'a b': 'c' is no header"),
        ({"status": 429, "headers": {"a": "b\r\nset-cookie: c"}}, "is no header"),
    ],
)
def test_an_error_that_cannot_be_sent_is_refused(arguments: dict[str, Any], said_: str) -> None:
    """An error answer has a status of an error, texts, and headers that cannot begin another header."""
    with pytest.raises(SettingError) as caught:
        request_error(**arguments)
    assert said_ in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request"), (401, "authentication"), (404, "not_found"), (429, "rate_limit"), (503, "server")],
)
def test_an_errors_kind_follows_from_its_status(status: int, kind: str) -> None:
    """Kind and message are those of the status where they are not given, and those given else."""
    assert (request_error(status).kind, str(status) in request_error(status).message) == (kind, True)
    given = request_error(status, "oh", kind="mine", headers={"retry-after": 1})
    assert (given.kind, given.message, given.headers) == ("mine", "oh", (("retry-after", "1"),))


# ------------------------------------------------------------------------------------------------ rules as data


@pytest.mark.parametrize(
    ("reply", "made"),
    [
        ("text", Reply.of("text")),
        ({"text": "a", "reasoning": "b"}, Reply.of(Reasoning("b"), "a")),
        ({"refusal": "no", "finish": "content_filter"}, Reply.of(Refusal("no"), finish="content_filter")),
        ({"tool_calls": [{"name": "f"}]}, Reply.of(ToolCall("f", {}))),
        (
            {"tool_calls": [{"name": "f", "arguments": {"a": 1}, "id": "x"}, {"name": "g", "arguments": "{"}]},
            Reply.of(ToolCall("f", {"a": 1}, "x"), ToolCall("g", "{")),
        ),
        (
            {"parts": ["a", {"tool_calls": [{"name": "f"}]}, {"text": "b"}], "finish": "stop"},
            Reply.of("a", ToolCall("f", {}), "b", finish="stop"),
        ),
    ],
)
def test_every_reply_can_be_written_as_a_table(reply: Any, made: Reply) -> None:
    """A reply as data, a text or its parts by name or in order, is the reply that Python makes of them."""
    _, [answer] = rule_from({"reply": reply})
    assert answer.says == made


def test_a_rule_as_a_table_is_the_rule_in_python() -> None:
    """Conditions, answers in order, times, pace and chunking have the same meaning as data and in Python."""
    conditions, answers = rule_from(
        {
            "match": {"model": "gpt-*", "body": {"temperature": 0.5}},
            "answers": [
                {
                    "error": {"status": 429, "message": "slow down", "type": "t", "headers": {"retry-after": 1}},
                    "times": 2,
                },
                {"reply": "ok", "pace": {"ttft": 0.5}, "chunking": "payloads_per_chunk=1/2", "faults": "noop"},
                {},
            ],
        }
    )
    assert conditions.key == Conditions(model="gpt-*", body={"temperature": 0.5}).key
    error, ok, generated = answers
    assert isinstance(error.says, RequestError)
    assert (error.says.status, error.says.message, error.says.kind, error.times) == (429, "slow down", "t", 2)
    assert error.says.headers == (("retry-after", "1"),)
    assert ok.pace is not None
    assert ok.pace.ttft.mean == 0.5
    assert ok.chunking is not None
    assert ok.chunking.payloads_per_chunk == Fraction(1, 2)
    assert ok.faults == "noop"
    assert generated == Answer()


BAD_RULES: list[tuple[Any, str]] = [
    ([], "expected a table, got []"),
    ({"match": []}, "match: expected a table of conditions, got []"),
    ({"match": {"modle": "x"}}, "match: unknown condition 'modle'; did you mean 'model'?"),
    ({"replly": "x"}, "unknown key 'replly'; did you mean 'reply'?"),
    ({"reply": "a", "error": {"status": 500}}, "an error has no reply, pace or chunking"),
    ({"pace": "fast", "error": {"status": 500}}, "an error has no reply, pace or chunking"),
    ({"reply": "a", "answers": [{}]}, "give either one answer's keys or `answers`, not both"),
    ({"answers": []}, "answers: expected a list that is not empty, got []"),
    ({"answers": [{}, 5]}, "answers[1]: expected a table, got 5"),
    ({"answers": [{"times": 0}]}, "answers[0]: times: expected a whole number of at least 1, got 0"),
    ({"times": True}, "times: expected a whole number of at least 1, got True"),
    ({"times": "2"}, "times: expected a whole number of at least 1, got '2'"),
    ({"pace": "warp"}, "pace: unknown profile 'warp'"),
    ({"pace": 5}, "pace: expected a text or a table, got 5"),
    ({"pace": {"profile": ["fast"]}}, "pace: "),
    ({"chunking": "join=perhaps"}, "chunking: join: expected true or false"),
    ({"faults": 5}, "faults: "),
    ({"faults": "no-such-fault"}, "no-such-fault"),
    ({"reply": 5}, "reply: expected a table, got 5"),
    ({"reply": {"txt": "a"}}, "reply: unknown key 'txt'; did you mean 'text'?"),
    ({"reply": {"text": 5}}, "reply: text: expected a text, got 5"),
    ({"reply": {"finish": 5}}, "reply: finish: expected a text, got 5"),
    ({"reply": {"tool_calls": {}}}, "reply: tool_calls: expected a list that is not empty, got {}"),
    ({"reply": {"tool_calls": [{}]}}, "reply: tool_calls[0]: expected a name, arguments"),
    ({"reply": {"tool_calls": [{"name": "f", "arguments": [1]}]}}, "tool_calls[0]: expected a name, arguments"),
    ({"reply": {"tool_calls": [{"name": "f", "arguments": {"n": float("nan")}}]}}, "arguments are not JSON"),
    ({"reply": {"parts": ["a"], "text": "b"}}, "reply: give the parts either by name or as the list"),
    ({"reply": {"parts": [{"finish": "stop"}]}}, "reply: parts[0]: unknown key 'finish'"),
    ({"error": {}}, "error: expected a status"),
    ({"error": {"status": 200}}, "error: status: expected 400 to 599, got 200"),
    ({"error": {"status": 500, "reason": "x"}}, "error: unknown key 'reason'"),
]


@pytest.mark.parametrize(("rule", "said_"), BAD_RULES)
def test_a_rule_that_says_something_impossible_is_refused(rule: Any, said_: str) -> None:
    """The refusal names the rule, the key down to its place, and what was expected there."""
    with pytest.raises(SettingError) as caught:
        rule_from(rule, "rule 7")
    assert str(caught.value).startswith("rule 7: ")
    assert said_ in str(caught.value)


FILE = """
seed = 7
pace = "official"
chunking = { tokens_per_payload = 2 }
faults = "noop"
models = ["gpt-5", "o3"]
api_keys = ["sk-one"]

[[rule]]
match = { model = "gpt-*", last = { regex = "weather|rain" } }
reply = "Sunny."

[[rule]]
answers = [{ error = { status = 500 } }, { reply = { text = '''
two
lines''' } }]
"""


def test_a_file_sets_everything_that_it_may(tmp_path: Path) -> None:
    """A scenario file's settings and rules are read, with every key that there is."""
    path = tmp_path / "scenario.toml"
    path.write_text(FILE)
    file = load(path)
    assert (file.seed, file.models, file.api_keys, file.faults) == (7, ("gpt-5", "o3"), ("sk-one",), "noop")
    assert str(file.pace).startswith("ttft=0.03..0.08")
    assert str(file.chunking) == "tokens_per_payload=2"
    scenario = Scenario(file.rules)
    assert said(scenario, exchange("Will it rain?")) == "Sunny."
    assert [said(scenario), said(scenario)] == ["500", "two\nlines"]


@pytest.mark.parametrize(
    ("text", "said_"),
    [
        (None, "No such file or directory"),
        ("a = [", "not TOML: "),
        ("\xff", "not TOML: 'utf-8' codec can't decode byte 0xff"),
        ("sede = 1", "unknown key 'sede'; did you mean 'seed'?"),
        ("seed = 'x'", "seed: expected a whole number, got 'x'"),
        ("seed = true", "seed: expected a whole number, got True"),
        ("pace = 'warp'", "pace: unknown profile 'warp'"),
        ("chunking = 'join=x'", "chunking: join: expected true or false, got 'x'"),
        ("models = 'gpt-5'", "models: expected a list that is not empty, got 'gpt-5'"),
        ("models = []", "models: expected a list that is not empty, got []"),
        ("api_keys = [1]", "api_keys: expected texts that are not empty, got [1]"),
        ("[rule]\nreply = 'a'", "rule: write each rule as a table [[rule]]"),
        ("[[rule]]\n[[rule]]\nreplly = 'a'", "rule 2: unknown key 'replly'"),
        (
            "[[rule]]\nreply.tool_calls = [{name = 'f', arguments = {on = 1979-05-27}}]",
            "rule 1: reply: tool_calls[0]: tool call 'f': arguments are not JSON",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(text: str | None, said_: str, tmp_path: Path) -> None:
    """Whatever is wrong with a scenario file, the error begins with the file's name and says what and where."""
    path = tmp_path / "scenario.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:")
    assert said_ in str(caught.value)


PROBLEMS = """\
sede = 1
pace = "warp"  # no such profile

[[rule]]
match = { model = "gpt-*", lastt = "weather" }

[[rule]]
answers = [
    { reply = "fine" },
    { reply = "late", faults = "stal(after=3)" },
]
times = 0

[[rule]]
reply = { text = "a", tool_calls = [{ name = 1 }] }
times = "often"
"""


def test_every_problem_has_its_place(tmp_path: Path) -> None:
    """All that is wrong is told at once: a line each, with line and column, and what is allowed."""
    path = tmp_path / "scenario.toml"
    path.write_text(PROBLEMS)
    file, problems = check(path)
    assert file is None
    assert [(problem.line, problem.column) for problem in problems] == [(1, 1), (2, 1), (5, 28), (7, 1), (15, 37)]
    said = [str(problem) for problem in problems]
    assert said[0] == f"{path}:1:1: unknown key 'sede'; did you mean 'seed'?"
    assert "allowed: fast, instant, official" in said[1]
    assert "lastt" in said[2]
    assert "did you mean 'last'" in said[2]
    assert "give either one answer's keys or `answers`" in said[3]
    assert said[4].endswith(
        "rule 3: reply: tool_calls[0]: expected a name, arguments as a table or JSON text, and perhaps an id"
    )
    with pytest.raises(SettingError) as caught:
        load(path)
    assert str(caught.value).split("\n") == said


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("seed = 1\npace = = 2", (2, 8)),
        ("[[rule]]\nfaults = 'stal'", (2, 1)),
        ("[[rule]]\nanswers = [{}, { times = 0 }]", (2, 18)),
        ("[[rule]]\nreply = { parts = ['a', { tetx = 'b' }] }", (2, 27)),
        ("[[rule]]\nerror = { message = 'why' }", (2, 1)),
        ("[[rule]]\n  [rule.match]\n  model = 3", (3, 3)),
    ],
)
def test_a_problem_is_placed_at_its_key(text: str, place: tuple[int, int], tmp_path: Path) -> None:
    """The place is the innermost key that is wrong, or the table that lacks one."""
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    _, [problem] = check(path)
    assert (problem.line, problem.column) == place


def test_a_folder_is_no_scenario_file(tmp_path: Path) -> None:
    """A folder's name in place of a file's is one clear error."""
    with pytest.raises(SettingError, match="Is a directory"):
        load(tmp_path)

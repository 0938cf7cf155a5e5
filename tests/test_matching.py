"""Conditions: which requests they are for, and what they say of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.errors import SettingError
from mockprovider.exchange import Exchange
from mockprovider.matching import FIELDS, Conditions, contains, equals, glob, nearest_miss, regex
from tests.asking import exchange

if TYPE_CHECKING:
    from collections.abc import Callable

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "Sunny"},
]

MATCHING: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"model": None}, {}, True),
    ({"path": "/v1/chat/*"}, {}, True),
    ({"path": "/v1/responses"}, {}, False),
    ({"model": "gpt-*"}, {}, True),
    ({"model": "GPT-*"}, {}, False),
    ({"model": equals("gpt-*")}, {}, False),
    ({"model": equals("gpt-*")}, {"model": "gpt-*"}, True),
    ({"model": regex("^gpt-[0-9]$")}, {}, True),
    ({"model": {"regex": "^o"}}, {}, False),
    ({"model": {"glob": "g*5"}}, {}, True),
    ({"model": {"equals": "gpt-5"}}, {}, True),
    ({"model": {"contains": "pt"}}, {}, True),
    ({"model": lambda name: name.startswith("gpt")}, {}, True),
    ({"model": lambda name: None}, {}, False),
    ({"stream": True}, {"stream": True}, True),
    ({"stream": True}, {}, False),
    ({"stream": False}, {}, True),
    ({"messages": "brief"}, {"messages": TALK}, True),
    ({"messages": "weather"}, {"messages": TALK}, True),
    ({"messages": "snow"}, {"messages": TALK}, False),
    ({"messages": equals("Sunny")}, {"messages": TALK}, True),
    ({"last": "unn"}, {"messages": TALK}, True),
    ({"last": "weather"}, {"messages": TALK}, False),
    ({"tools": "weather"}, {"tools": [TOOL]}, True),
    ({"tools": "w*r"}, {"tools": [TOOL]}, True),
    ({"tools": "clock"}, {"tools": [TOOL]}, False),
    ({"tools": "*"}, {}, False),
    ({"tool_result": True}, {"messages": TALK}, True),
    ({"tool_result": True}, {}, False),
    ({"turn": 1}, {}, True),
    ({"turn": 2}, {"messages": TALK}, True),
    ({"turn": 1}, {"messages": TALK}, False),
    ({"headers": {"X-Test": "a*"}}, {"headers": {"x-test": "abc"}}, True),
    ({"headers": {"x-test": "b*"}}, {"headers": {"x-test": "abc"}}, False),
    ({"headers": {"x-test": "*"}}, {}, False),
    ({"headers": {"x-test": contains("b")}}, {"headers": {"X-TEST": "abc"}}, True),
    ({"body": {"temperature": 0.5}}, {"temperature": 0.5}, True),
    ({"body": {"temperature": 0.5}}, {}, False),
    ({"body": {"tools[0].function.name": "weather"}}, {"tools": [TOOL]}, True),
    ({"body": {"tools[-1].type": "function"}}, {"tools": [TOOL]}, True),
    ({"body": {"tools[1].type": "function"}}, {"tools": [TOOL]}, False),
    ({"body": {"messages[0].content.length": 3}}, {}, False),
    ({"body": {"messages[*].role": "tool"}}, {"messages": TALK}, True),
    ({"body": {"messages[*].role": "critic"}}, {"messages": TALK}, False),
    ({"body": {"stop[*]": "b"}}, {"stop": ["a", "b"]}, True),
    ({"body": {"$.tools[*].function.name": "weather"}}, {"tools": [TOOL]}, True),
    ({"body": {'metadata["a.b"]': "c"}}, {"metadata": {"a.b": "c"}}, True),
    ({"body": {"stop.first": "a"}}, {"stop": ["a"]}, False),
    ({"body": {"stop": ["a", "b"]}}, {"stop": ["a", "b"]}, True),
    ({"body": {"stop": contains("b")}}, {"stop": ["a", "b"]}, True),
    ({"body": {"stop": contains(5)}}, {"stop": "5"}, False),
    ({"body": {"metadata": equals({"contains": "a"})}}, {"metadata": {"contains": "a"}}, True),
    ({"body": {"user": None}}, {"user": None}, True),
    ({"model": "gpt-5", "stream": True}, {}, False),
]


@pytest.mark.parametrize(("conditions", "request_", "matches"), MATCHING)
def test_conditions_are_for_the_requests_that_meet_all_of_them(
    conditions: dict[str, Any], request_: dict[str, Any], matches: bool
) -> None:
    """A request is matched exactly when it meets every condition, and what it does not meet is named."""
    found = Conditions(**conditions).mismatches(exchange(**request_))
    assert (not found) == matches, found
    assert all(mismatch.field.partition("[")[0] in (*FIELDS, "headers", "body") for mismatch in found)


def test_every_field_is_tested() -> None:
    """The table above has a matching and a mismatching request for each field of a condition."""
    for wanted in (True, False):
        assert {name for conditions, _, matches in MATCHING if matches == wanted for name in conditions} >= {
            *FIELDS,
            "headers",
            "body",
        }


def test_what_is_no_prompt_meets_no_condition_on_prompts() -> None:
    """Fields of the prompt are absent where a request is none, and nothing raises."""
    request = Exchange(1, "", "GET", "/v1/models", "", {}, started=0.0, wall=0.0)
    for name in FIELDS:
        value: Any = {"tool_result": True, "stream": True, "turn": 1}.get(name, "x")
        assert [mismatch.field for mismatch in Conditions(**{name: value}).mismatches(request)] == [name]
    assert Conditions(body={"a": 1}).mismatches(request)[0].got == "something else"


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"modle": "a"}, "unknown condition 'modle'; did you mean 'model'?"),
        ({"zzz": "a"}, "unknown condition 'zzz'; allowed: body, headers, last"),
        ({"headers": "x-test"}, "headers: expected a mapping of names to values, got 'x-test'"),
        ({"body": ["a"]}, "body: expected a mapping of names to values, got ['a']"),
        ({"model": {"regex": "("}}, "model: regex('('): "),
        ({"model": {"regex": 5}}, "model: regex: expected a pattern, got 5"),
        ({"headers": {"x-test": {"glob": 5}}}, "headers[x-test]: glob: expected a pattern, got 5"),
        (
            {"model": ["gpt-5"]},
            "model: expected a text, or a matcher or function of one, got ['gpt-5'], which can never",
        ),
        ({"messages": contains(5)}, "messages: expected a text, or a matcher or function of one, got contains(5)"),
        ({"headers": {"x-test": 1}}, "headers[x-test]: expected a text"),
        ({"stream": "yes"}, "stream: expected true or false, got glob('yes'), which can never match"),
        ({"stream": 1}, "stream: expected true or false, got 1"),
        ({"turn": True}, "turn: expected a whole number, got True"),
        ({"turn": contains("1")}, "turn: expected a whole number, got contains('1')"),
        ({"body": {"stop[--1]": "a"}}, "body: 'stop[--1]' is no path"),
        ({"body": {"stop[²]": "a"}}, "body: 'stop[²]' is no path"),
        ({"body": {"a..b": "a"}}, "body: 'a..b' is no path"),
        ({"body": {".a": "a"}}, "body: '.a' is no path"),
        ({"body": {"a[0": "a"}}, "body: 'a[0' is no path"),
        ({"body": {"": "a"}}, "body: '' is no path"),
    ],
)
def test_what_is_no_condition_is_refused(conditions: dict[str, Any], said: str) -> None:
    """A condition that cannot be met by anything for its form is a SettingError that names it."""
    with pytest.raises(SettingError) as caught:
        Conditions(**conditions)
    assert said in str(caught.value)


def test_a_predicate_that_raises_is_an_error_and_no_mismatch() -> None:
    """A broken predicate is reported by its name, and never passes for a request that does not match."""

    def broken(name: str) -> bool:
        raise ZeroDivisionError("oh")

    with pytest.raises(SettingError, match="the matcher broken raised ZeroDivisionError: oh"):
        Conditions(model=broken).mismatches(exchange())


def accepts(_: object) -> bool:
    """A predicate that two rules share."""
    return True


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({}, {}, True),
        ({"model": "a", "stream": True}, {"stream": True, "model": "a"}, True),
        ({"model": "a"}, {"model": glob("a")}, True),
        ({"model": "a"}, {"model": {"glob": "a"}}, True),
        ({"model": "a"}, {"model": equals("a")}, False),
        ({"model": "a"}, {"model": "b"}, False),
        ({"last": "a"}, {"messages": "a"}, False),
        ({"headers": {"X-A": "1"}}, {"headers": {"x-a": "1"}}, True),
        ({"headers": {"a": "1"}}, {"body": {"a": "1"}}, False),
        ({"model": accepts}, {"model": accepts}, True),
        ({"model": accepts}, {"model": lambda _: True}, False),
        ({"body": {"n": 1}}, {"body": {"n": True}}, False),
    ],
)
def test_equal_conditions_have_equal_keys(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    """Two conditions are one rule's exactly when they say the same, in whatever order and notation."""
    assert (Conditions(**one).key == Conditions(**other).key) == equal


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({}, "any request"),
        ({"model": "gpt-*", "stream": True}, "model=glob('gpt-*'), stream=True"),
        ({"headers": {"a": "b"}, "body": {"c": 1}}, "headers[a]=glob('b'), body[c]=1"),
        ({"model": accepts}, "model=what accepts accepts"),
    ],
)
def test_conditions_can_be_read(conditions: dict[str, Any], said: str) -> None:
    """As text, conditions show each field and what it must be; no memory address, so the text is reproducible."""
    assert str(Conditions(**conditions)) == said


def test_the_nearest_miss_is_the_rule_with_the_fewest_differences() -> None:
    """What is said of an unmatched request is the rule that came closest, with what it expected and what it got."""
    near, far = Conditions(model="o3", stream=False), Conditions(model="o3", stream=True)
    said = nearest_miss(exchange(), [("far", far), ("near", near)])
    assert said == "the nearest rule is near:\n  model: expected glob('o3'), got 'gpt-5'"
    assert nearest_miss(exchange(), []) == "no rule is left that could answer it"


def test_long_values_are_shortened() -> None:
    """A mismatch with a long prompt shows the beginning of it, and the message stays readable."""
    [mismatch] = Conditions(last="snow").mismatches(exchange("sun " * 1000))
    assert len(mismatch.got) == 120
    assert mismatch.got.startswith("'sun sun")


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.sampled_from("ab.[]-0129² "), max_size=12),
    st.recursive(
        st.integers() | st.text(max_size=2), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
)
def test_any_path_and_body_can_be_compared(path: str, document: object) -> None:
    """Whatever the path and whatever the body: it is no path, or comparing gives an answer."""
    request = exchange(metadata={}, x=document)
    never: Callable[[object], bool] = lambda _: False  # noqa: E731
    for tried in (path, f"x{path}", f"x[{path}]"):
        try:
            conditions = Conditions(body={tried: never})
        except SettingError:
            continue
        assert len(conditions.mismatches(request)) == 1

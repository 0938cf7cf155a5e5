"""Faults of the reply: what each does to the deltas, alone, on the wire, and in a whole reply."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.faults import FAULTS, Fault, made, text_of
from mockprovider.faults.base import Context
from mockprovider.faults.grammar import parse
from mockprovider.pace import Pacing
from mockprovider.reply import (
    Finish,
    Reasoning,
    ReasoningDelta,
    Refusal,
    Reply,
    Start,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    deltas,
    paced,
)
from mockprovider.timeline import Close, Control, Hang, Hold, Timed, run
from tests.cases.conftest import provider
from tests.cases.observe import Seen, observe

__all__ = ["provider"]

SAY = Reply.of("one two three")
THINK = Reply.of(Reasoning("Hm, hm"), Text("one two"))
CALL = Reply.of(ToolCall("get_weather", {"city": "Paris"}, id="a"), ToolCall("get_time", {"zone": "UTC"}, id="b"))


def chain(text: str) -> tuple[Fault, ...]:
    """The faults that a chain names."""
    return tuple(made(call) for call in parse(text))


def context(*, stream: bool = True, tokens: int | None = 3) -> Context:
    """What a fault is told of an exchange."""
    return Context(
        rng=random.Random(1),
        attempt=1,
        stream=stream,
        tokens=lambda: tokens,
        dialect="openai-chat",
        error=lambda kind, message: {"error": {"message": message, "type": kind}},
    )


def played(*replies: Reply, size: int = 1) -> Iterator[Timed[Any]]:
    """The replies' deltas, one choice each: the first after 2 s, a token a second."""
    source = [
        deltas(reply, choice=choice, call_id=str, tokens_per_payload=size) for choice, reply in enumerate(replies)
    ]
    return paced(source, Pacing.parse("ttft=2,itl=1").timing(random.Random(1), lambda: 1), {})


def struck(text: str, source: Iterator[Timed[Any]] | Sequence[Any], **how: Any) -> list[Timed[Any]]:
    """The source seen through the faults of a chain."""
    faults = chain(text)
    assert chain(text_of(faults)) == faults, "its text says all of it"
    return list(run(iter(source), [fault.stage(context(**how)) for fault in faults]))


def words(items: Sequence[Timed[Any]]) -> list[str]:
    """Each delta in a word: its text, `<` for a start, `name(` for a call, `reason.` for a finish; a mark a choice."""
    said = []
    for _, item, _ in items:
        mark = "'" * getattr(item, "choice", 0)
        if isinstance(item, Start):
            said.append("<" + mark)
        elif isinstance(item, ToolCallStart):
            said.append(f"{item.name}(" + mark)
        elif isinstance(item, ToolCallDelta):
            said.append(f"{item.index}:{item.text}" + mark)
        elif isinstance(item, TextDelta):
            said.append(item.text + mark)
        elif isinstance(item, Finish):
            said.append(f"{item.reason}." + mark)
        else:
            said.append(type(item).__name__)
    return said


def tokens(items: Sequence[Timed[Any]]) -> int:
    """How many tokens are counted."""
    return sum(item.tokens for _, item, _ in items if not isinstance(item, Control))


# ---------------------------------------------------------------------------------------------- truncate


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("after=2", ["<", "one", " two"]),
        ("after=2,finish=length", ["<", "one", " two", "length."]),
        ("after=0,finish=stop", ["<", "stop."]),
        ("after=67%", ["<", "one", " two"]),
        ("after=100%", ["<", "one", " two", " three"]),
        ("after=3,finish=eos", ["<", "one", " two", " three", "eos."]),
        ("after=9,finish=length", ["<", "one", " two", " three", "stop."]),
        ("characters=0", ["<"]),
        ("characters=5", ["<", "one", " t"]),
        ("characters=7,finish=length", ["<", "one", " two", "length."]),
        ("characters=99", ["<", "one", " two", " three", "stop."]),
    ],
)
def test_truncate(settings: str, said: list[str]) -> None:
    """Nothing comes after the position but the finish reason, which is none unless it is given."""
    assert words(struck(f"truncate({settings})", played(SAY))) == said


def test_truncate_ends_in_its_time() -> None:
    """The finish reason comes when the next token would have; the rest of the reply takes no time."""
    made = struck("truncate(after=2,finish=length)", played(SAY))
    assert [gap for gap, _, _ in made] == [2.0, 0.0, 1.0, 1.0]
    assert tokens(made) == 2


def test_truncate_cuts_within_a_delta() -> None:
    """A delta of several tokens keeps those before the position, with their number and themselves."""
    made = struck("truncate(after=2)", played(SAY, size=3))
    assert words(made) == ["<", "one two"]
    assert (made[1][1].tokens, made[1][1].pieces) == (2, ("one", " two"))
    made = struck("truncate(characters=9)", played(SAY, size=3))
    assert words(made) == ["<", "one two t"]
    assert tokens(made) == 3


def test_truncate_stops_calls_and_thinking() -> None:
    """The position counts the tokens of every kind; no call begins after it."""
    assert words(struck("truncate(characters=12)", played(CALL)))[-3:] == ["0:city", '0:":"', "0:Par"]
    assert words(struck("truncate(after=5)", played(CALL)))[-1] == '0:"}'
    assert words(struck("truncate(after=1,finish=length)", played(THINK))) == ["<", "Hm", "length."]


def test_truncate_ends_every_choice() -> None:
    """Each choice that has begun gets the finish reason, those that have ended excepted."""
    assert words(struck("truncate(after=3,finish=length)", played(SAY, SAY))) == [
        *("<", "one", "<'", "one'", " two", "length.", "length.'"),
    ]
    assert words(struck("truncate(after=3,finish=length)", played(Reply.of("one"), SAY))) == [
        *("<", "one", "<'", "one'", "stop.", " two'", "length.'"),
    ]


def test_truncate_ends_an_endless_reply() -> None:
    """Nothing is pulled after the position."""
    taken = itertools.count()

    def endless() -> Iterator[str]:
        while True:
            assert next(taken) < 9, "pulled too far"
            yield " word"

    assert len(struck("truncate(after=4,finish=length)", played(Reply.of(Text(endless))), tokens=None)) == 6


# ---------------------------------------------------------------------------------------------- finish, late text


def test_finish() -> None:
    """The reason is another, comes twice, or never; the time of a missing one is not lost."""
    assert words(struck("finish(reason=eos)", played(SAY)))[-2:] == [" three", "eos."]
    assert words(struck("finish(times=2)", played(SAY)))[-2:] == ["stop.", "stop."]
    assert words(struck("finish(times=0)", played(SAY, SAY)))[-2:] == [" three", " three'"]
    source = [*played(SAY), (0.5, Close(), (0, -1))]
    assert struck("finish(times=0)", source)[-1][0] == 1.5
    assert struck("finish(times=2)", source)[-3:][0][0] + struck("finish(times=2)", source)[-2][0] == 1.0


def test_late_text() -> None:
    """One delta comes after the finish reason of each choice, and counts for its tokens."""
    made = struck('late-text(text=" and more")', played(SAY, SAY))
    assert words(made)[-4:] == ["stop.", " and more", "stop.'", " and more'"]
    assert tokens(made) == 6 + 4
    assert made[-1][1].pieces == (" and", " more")


# ---------------------------------------------------------------------------------------------- deltas


def test_empty_deltas() -> None:
    """Empty deltas of their neighbour's kind come before, between and after; they count for nothing."""
    assert words(struck("empty-deltas", played(Reply.of("one two")))) == ["<", "", "one", "", " two", "", "stop."]
    made = struck("empty-deltas(every=2,times=2)", played(SAY))
    assert words(made) == ["<", "", "", "one", " two", "", "", " three", "stop."]
    assert tokens(made) == 3
    assert [gap for gap, item, _ in made if not getattr(item, "text", "x")] == [0.0] * 4


def test_empty_deltas_of_a_kind() -> None:
    """Only those of the kind are put in, and they are of it."""
    empty = [item for _, item, _ in struck("empty-deltas", played(THINK)) if getattr(item, "text", "x") == ""]
    assert [type(item) for item in empty[:2]] == [ReasoningDelta, ReasoningDelta]
    assert type(empty[-1]) is TextDelta
    for kind, expected in (("reasoning", ReasoningDelta), ("text", TextDelta)):
        empty = [
            item
            for _, item, _ in struck(f"empty-deltas(kind={kind})", played(THINK))
            if getattr(item, "text", "x") == ""
        ]
        assert {type(item) for item in empty} == {expected}
    calls = words(struck("empty-deltas(kind=tool)", played(Reply.of(ToolCall("now", "", id="a")))))
    assert calls == ["<", "now(", "0:", "tool_calls."]
    assert tokens(struck("empty-deltas", played(CALL))) == tokens(list(played(CALL)))
    assert words(struck("empty-deltas(kind=refusal)", played(Reply.of(Refusal("No")))))[:3] == ["<", "", "No"]


def test_repeat_text() -> None:
    """Every so many deltas one is said again, of tool calls too."""
    assert words(struck("repeat-text(every=2)", played(SAY))) == ["<", "one", " two", " two", " three", "stop."]
    assert words(struck("repeat-text(times=3)", played(Reply.of("one")))) == ["<", "one", "one", "one", "stop."]
    assert words(struck("repeat-text", played(CALL)))[2:4] == ['0:{"', '0:{"']


def test_cumulative() -> None:
    """Each delta has the whole text so far of its choice and kind; tool calls do not."""
    assert words(struck("cumulative", played(SAY, SAY)))[:6] == ["<", "one", "<'", "one'", "one two", "one two'"]
    assert words(struck("cumulative", played(THINK)))[1:6] == ["Hm", "Hm,", "Hm, hm", "one", "one two"]
    assert words(struck("cumulative", played(CALL))) == words(list(played(CALL)))


# ---------------------------------------------------------------------------------------------- tool calls


def test_interleave_calls() -> None:
    """The fragments of the calls alternate, at the times at which fragments came; each call stays whole."""
    plain, made = list(played(CALL)), struck("interleave-calls", played(CALL))
    assert words(made)[:6] == ["<", "get_weather(", "get_time(", '0:{"', '1:{"', "0:city"]
    assert sorted(words(made)) == sorted(words(plain))
    for index in (0, 1):
        mine = [word for word in words(plain) if word.startswith(f"{index}:")]
        assert [word for word in words(made) if word.startswith(f"{index}:")] == mine
    assert [gap for gap, _, _ in made] == [gap for gap, _, _ in plain]
    text_first = Reply.of("Wait", *CALL.parts, "Done")
    assert words(struck("interleave-calls", played(text_first)))[-2:] == ["Done", "tool_calls."]
    assert words(struck("interleave-calls", played(SAY))) == words(list(played(SAY)))


def test_calls_are_not_held_behind_a_control() -> None:
    """What has come of the calls is let go before a control passes."""
    source = list(played(CALL))
    source.insert(4, (0.0, Hold("gate"), (0, -1)))
    assert words(struck("interleave-calls", source))[:5] == ["<", "get_weather(", '0:{"', "0:city", "Hold"]


EVERY = [
    "truncate(after=99)",
    "truncate(characters=99)",
    "finish(times=0)",
    "finish(times=3)",
    "late-text",
    "empty-deltas",
    "repeat-text",
    "cumulative",
    "interleave-calls",
]


@pytest.mark.parametrize("text", EVERY)
@pytest.mark.parametrize("reply", [SAY, THINK, CALL])
def test_time_is_conserved_and_endings_pass(text: str, reply: Reply) -> None:
    """An ending comes last, when it would have come."""
    source = [*played(reply), (0.25, Hang(), (0, -1))]
    made = struck(text, source)
    assert isinstance(made[-1][1], Hang)
    assert sum(gap for gap, _, _ in made) == sum(gap for gap, _, _ in source)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("truncate", "truncate: expected either after or characters"),
        ("truncate(after=1,characters=1)", "truncate: expected either after or characters"),
        ("truncate(after=3events)", "truncate: after: expected tokens or %, got 3events"),
        ("truncate(after=-1)", "truncate: after: expected such as 3"),
        ("finish(times=-1)", "finish: times: expected a whole number >= 0"),
        ("late-text(text=3)", "late-text: text: expected a text"),
        ("empty-deltas(every=0)", "empty-deltas: every: expected a whole number >= 1"),
        ("empty-deltas(kind=role)", "empty-deltas: kind: expected any or text"),
        ("repeat-text(count=2)", "repeat-text: unknown setting 'count'"),
    ],
)
def test_impossible_settings_are_refused(text: str, words: str) -> None:
    """A SettingError names the fault, the setting and what is allowed."""
    with pytest.raises(SettingError, match=words):
        chain(text)


@pytest.mark.parametrize(
    ("text", "how", "words"),
    [
        ("truncate(after=50%)", {"tokens": None}, "truncate: after: an endless reply has no 50%"),
        ("truncate(after=1)", {"stream": False}, "a whole reply always has a finish reason: say which"),
        ("finish(times=0)", {"stream": False}, "a whole reply has one finish reason"),
        ("late-text", {"stream": False}, "late-text: a whole reply has no deltas"),
        ("empty-deltas", {"stream": False}, "empty-deltas: a whole reply has no deltas"),
        ("cumulative", {"stream": False}, "cumulative: a whole reply has no deltas"),
        ("interleave-calls", {"stream": False}, "interleave-calls: a whole reply has no deltas"),
    ],
)
def test_impossible_combinations_are_refused(text: str, how: dict[str, Any], words: str) -> None:
    """What cannot be done to this reply is a SettingError, before anything is sent."""
    with pytest.raises(SettingError, match=words):
        struck(text, [], **how)


# ---------------------------------------------------------------------------------------------- on the wire


async def asked(provider: MockProvider, reply: Reply, text: str, **body: Any) -> Seen:
    """What comes of the reply under a chain."""
    provider.on().reply(reply)
    seen = await observe(provider.url, text, **body)
    assert (seen.status, seen.ending, seen.wrong) == (200, "complete", None)
    return seen


def pieces(seen: Seen) -> list[tuple[Any, Any]]:
    """The content and finish reason of each chunk."""
    return [(choice["delta"].get("content"), choice["finish_reason"]) for choice in seen.choices]


def calls(seen: Seen) -> list[tuple[int, str]]:
    """Index and piece of the arguments of each fragment of a tool call."""
    return [
        (call["index"], call["function"]["arguments"])
        for choice in seen.choices
        for call in choice["delta"].get("tool_calls", ())
    ]


START, END = ("", None), (None, "stop")
WIRE: dict[str, tuple[str, list[tuple[Any, Any]]]] = {
    "truncate": ("truncate(after=2,finish=length)", [START, ("one", None), (" two", None), (None, "length")]),
    "finish": (
        "finish(reason=eos,times=2)",
        [START, ("one", None), (" two", None), (" three", None), (None, "eos"), (None, "eos")],
    ),
    "late-text": (
        "late-text(text=Oh)",
        [START, ("one", None), (" two", None), (" three", None), END, ("Oh", None)],
    ),
    "empty-deltas": (
        "empty-deltas(every=3)",
        [START, ("", None), ("one", None), (" two", None), (" three", None), ("", None), END],
    ),
    "repeat-text": (
        "repeat-text(every=3)",
        [START, ("one", None), (" two", None), (" three", None), (" three", None), END],
    ),
    "cumulative": ("cumulative", [START, ("one", None), ("one two", None), ("one two three", None), END]),
}


@pytest.mark.parametrize("name", WIRE)
async def test_each_fault_reaches_the_wire(provider: MockProvider, name: str) -> None:
    """The chunks of a stream are those of the changed deltas, with the sentinel after them."""
    text, expected = WIRE[name]
    seen = await asked(provider, SAY, text)
    assert pieces(seen) == expected
    assert seen.data[-1] == "[DONE]"


async def test_interleaved_calls_reach_the_wire(provider: MockProvider) -> None:
    """The fragments of two calls alternate, and each call is whole."""
    seen = await asked(provider, CALL, "interleave-calls")
    assert [index for index, _ in calls(seen)] == [0, 1] * 6
    for index, whole in ((0, {"city": "Paris"}), (1, {"zone": "UTC"})):
        assert json.loads("".join(piece for at, piece in calls(seen) if at == index)) == whole


@pytest.mark.parametrize("text", ["empty-deltas(times=2)", "empty-deltas(kind=tool)", "interleave-calls"])
@pytest.mark.parametrize("reply", [SAY, THINK, CALL])
async def test_what_is_legal_is_delivered(provider: MockProvider, text: str, reply: Reply) -> None:
    """A client that joins pieces by field and index gets the same from a legal fault as without it."""

    def joined(seen: Seen) -> dict[Any, str]:
        found: dict[Any, str] = {}
        for choice in seen.choices:
            for name in ("content", "reasoning_content"):
                found[name] = found.get(name, "") + (choice["delta"].get(name) or "")
        for index, piece in calls(seen):
            found[index] = found.get(index, "") + piece
        return found

    assert FAULTS[text.partition("(")[0]].legal
    plain, made = await asked(provider, reply, ""), await asked(provider, reply, text)
    assert joined(made) == joined(plain)
    assert made.finishes == plain.finishes


async def test_usage_counts_what_was_sent(provider: MockProvider) -> None:
    """Tokens that were cut off are not counted, those said twice are."""
    for text, count in (("truncate(after=2)", 2), ("repeat-text", 6), ("empty-deltas", 3), ("late-text(text=Oh)", 4)):
        seen = await asked(provider, SAY, text, stream_options={"include_usage": True})
        assert seen.documents[-1]["usage"]["completion_tokens"] == count, text


def test_every_fault_of_replies_has_a_test_on_the_wire() -> None:
    """All faults of the file are observed above."""
    names = {name for name, made in FAULTS.items() if made.__module__ == "mockprovider.faults.reply"}
    assert names == {*WIRE, "interleave-calls"}


@pytest.mark.parametrize(
    ("text", "content", "finish", "count"),
    [
        ("truncate(after=2,finish=length)", "one two", "length", 2),
        ("truncate(characters=5,finish=length)", "one t", "length", 2),
        ("finish(reason=eos)", "one two three", "eos", 3),
        ("repeat-text", "oneone two two three three", "stop", 6),
    ],
)
async def test_whole_replies(provider: MockProvider, text: str, content: str, finish: str, count: int) -> None:
    """What can be done to a whole reply is in its message, its finish reason and its usage."""
    document = (await asked(provider, SAY, text, stream=False)).document
    (choice,) = document["choices"]
    assert choice["message"]["content"] == content
    assert choice["finish_reason"] == finish
    assert document["usage"]["completion_tokens"] == count


async def test_what_cannot_be_done_is_answered_by_400(provider: MockProvider) -> None:
    """Before anything is streamed the client gets an error in the provider's shape that says what is wrong."""
    provider.on().reply(SAY)
    seen = await observe(provider.url, "cumulative", stream=False)
    assert seen.status == 400
    assert "a whole reply has no deltas" in seen.document["error"]["message"]

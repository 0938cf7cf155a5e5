"""Faults of payloads: what each does to the documents of a stream, alone and on the wire."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.faults import FAULTS, Fault, made, text_of
from mockprovider.faults.base import Context
from mockprovider.faults.grammar import parse
from mockprovider.faults.selection import Which
from mockprovider.payload import Payload
from mockprovider.reply import Reasoning, Reply, Text, ToolCall
from mockprovider.timeline import NOWHERE, Close, Hang, Hold, Timed, run
from tests.cases.conftest import provider
from tests.cases.observe import Seen, observe

__all__ = ["provider"]

DONE = b"[DONE]"


def chunk(delta: Any, *, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk document."""
    return {"id": "c1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more}


def call(index: int, **fields: Any) -> dict[str, Any]:
    """A chunk with one fragment of a tool call; its name and arguments are those of its function."""
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return chunk({"tool_calls": [{"index": index, **fields, "function": function}]})


STREAM = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "one"}),
    chunk({"content": " two"}),
    chunk({"content": " three"}),
    chunk({}, finish="stop"),
    {"id": "c1", "choices": [], "usage": {"completion_tokens": 3}},
]
CALLS = [
    chunk({"role": "assistant", "content": None}),
    call(0, id="a", name="get_weather", arguments=""),
    call(1, id="b", name="get_time", arguments=""),
    call(0, arguments='{"city":'),
    call(1, arguments="{"),
    call(0, arguments='"Paris"}'),
    call(1, arguments="}"),
    chunk({}, finish="tool_calls"),
]


def timed(documents: Sequence[Any]) -> list[Timed[Any]]:
    """The documents as payloads, the n-th after n + 1 seconds, and the sentinel; each with text is one token."""
    made: list[Timed[Any]] = []
    token = itertools.count()
    for number, document in enumerate(documents):
        choice = document["choices"][0] if document["choices"] else {"delta": {}}
        said = choice["delta"].get("content") or choice["delta"].get("tool_calls")
        origin = (0, next(token)) if said else NOWHERE
        made.append((number + 1.0, Payload.of(document), origin))
    return [*made, (0.0, Payload(DONE), NOWHERE)]


def chain(text: str) -> tuple[Fault, ...]:
    """The faults that a chain names."""
    return tuple(made(call) for call in parse(text))


def context(*, stream: bool = True, tokens: int | None = 3, dialect: str = "openai-chat") -> Context:
    """What a fault is told of an exchange."""
    return Context(
        rng=random.Random(1),
        attempt=1,
        stream=stream,
        tokens=lambda: tokens,
        dialect=dialect,
        error=lambda kind, message: {"error": {"message": message, "type": f"{kind}_error", "code": None}},
    )


def struck(text: str, source: Sequence[Any] | Iterator[Any], **how: Any) -> Iterator[Timed[Any]]:
    """The source seen through the faults of a chain."""
    faults = chain(text)
    assert chain(text_of(faults)) == faults, "its text says all of it"
    return run(iter(source), [fault.stage(context(**how)) for fault in faults])


def data(text: str, documents: Sequence[Any] = STREAM, **how: Any) -> list[bytes]:
    """The payloads' bytes after a chain."""
    return [item.data for _, item, _ in struck(text, timed(documents), **how)]


def documents(text: str, source: Sequence[Any] = STREAM, **how: Any) -> list[Any]:
    """The documents after a chain; the sentinel is kept as None."""
    return [None if one == DONE else json.loads(one) for one in data(text, source, **how)]


def contents(made: Sequence[Any]) -> list[Any]:
    """The content of each document's delta, `-` where there is none."""
    return [one["choices"][0]["delta"].get("content", "-") for one in made if one and one.get("choices")]


# ---------------------------------------------------------------------------------------------- which payloads


@pytest.mark.parametrize(
    ("which", "hit"),
    [
        ("all", [0, 1, 2, 3, 4, 5]),
        ("first", [0]),
        ("last", [5]),
        ("2", [1]),
        ("2..3", [1, 2]),
        ("5..", [4, 5]),
        ("1../3", [0, 3]),
        ("role", [0]),
        ("text", [1, 2, 3]),
        ("text:2", [2]),
        ("text:2..", [2, 3]),
        ("text:1../2", [1, 3]),
        ("text:last", [3]),
        ("text:first", [1]),
        ("finish", [4]),
        ("!finish", [0, 1, 2, 3, 5]),
        ("!text:2..", [4, 5]),
        ("usage", [5]),
        ("tool", []),
        ("error", []),
        ("done", [6]),
    ],
)
def test_a_word_says_which_payloads(which: str, hit: list[int]) -> None:
    """Each form of `at` means the payloads that its words say; the rest pass unchanged, byte for byte."""
    before, after = data("swap-payloads(at=text:9)"), data(f'replace-payload(at={which},raw="X")')
    assert before == [Payload.of(document).data for document in STREAM] + [DONE]
    assert [at for at, one in enumerate(after) if one == b"X"] == hit
    assert [one for at, one in enumerate(after) if at not in hit] == [
        one for at, one in enumerate(before) if at not in hit
    ]
    assert str(Which.parse(which)) in (which, which.replace("first", "1"))


def test_kinds_are_told_by_fields() -> None:
    """Reasoning, refusal, tool call and error are kinds of their own, in either of their forms."""
    odd = [
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning": "hm"}),
        chunk({"refusal": "no"}),
        call(0, arguments="{}"),
        chunk({"function_call": {"arguments": ""}}),
        {"id": "c1", "choices": [], "error": {"message": "x"}},
    ]
    found = {
        kind: [at for at, one in enumerate(data(f'replace-payload(at={kind},raw="X")', odd)) if one == b"X"]
        for kind in ("reasoning", "refusal", "tool", "error", "text")
    }
    assert found == {"reasoning": [0, 1], "refusal": [2], "tool": [3, 4], "error": [5], "text": []}


@pytest.mark.parametrize(
    "which", ["", "word", "0", "3..2", "text2", "text:", "text:x", "..3", "1../0", "-1", 1.5, True]
)
def test_what_says_no_payloads_is_refused(which: Any) -> None:
    """Any other word is a SettingError that names the fault, the setting and what is allowed."""
    with pytest.raises(SettingError, match="drop-payloads: at: expected all, first, last, a number"):
        FAULTS["drop-payloads"].of({"at": which})


# ---------------------------------------------------------------------------------------------- fields


def test_set() -> None:
    """A field gets a value, in place or new at the end; without a value null; a place that is not there is left."""
    made = documents('set(path="choices[0].delta.role",value="system",at=2..)')
    assert [one["choices"][0]["delta"].get("role") for one in made[:5]] == ["assistant", *["system"] * 4]
    assert documents('set(path="id")')[0] == {**STREAM[0], "id": None}
    assert list(documents('set(path="id",value=7)')[0]) == ["id", "choices"]
    untouched = data("swap-payloads(at=text:9)")
    for nowhere in ("choices[1].index", "choices[0].message.role", "id.x", "choices.index", "choices[0].delta[0]"):
        assert data(f'set(path="{nowhere}",value=1)') == untouched


def test_set_fills_templates() -> None:
    """`$old`, `$n`, `$text`, `$tokens` and sums of them are values; inside a longer text they are text."""
    made = documents(
        'set(path="x",value=["$n","$n+196","$text","$tokens","$tokens+9","n$n of $text","$old","$nn","$"])'
    )
    assert made[2]["x"] == [3, 199, "one two", 2, 11, "n3 of one two", None, "$nn", "$"]
    assert made[4]["x"][3] == 3
    assert documents('set(path="id",value="$old-$n")')[1]["id"] == "c1-2"
    assert documents('set(path="id",value={"was":["$old+1"]})')[1]["id"] == {"was": ["c1+1"]}


def test_set_decodes() -> None:
    """`$decoded` is the JSON in a text, and the text itself where that is none, or holds a number that JSON has not."""
    path = "choices[0].delta.tool_calls[*].function.arguments"
    texts = ['{"a":1}', "{", "[NaN]", "1e999"]
    made = documents(f'set(path="{path}",value="$decoded",at=tool)', [call(0, arguments=text) for text in texts])
    found = [one["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for one in made[:4]]
    assert found == [{"a": 1}, *texts[1:]]


def test_set_raw() -> None:
    """Raw text stands where the value would, even if no JSON comes of it; several places, and marks in it, too."""
    assert b'"delta":{"content":NaN}' in data('set(path="choices[0].delta.content",raw="NaN",at=text:1)')[1]
    assert (
        b'"content":"a","content":" two"'
        in data(r'set(path="choices[0].delta.content",raw="\"a\",\"content\":$old",at=text:2)')[2]
    )
    both = chunk({"tool_calls": [{"index": 0}, {"index": 1}]})
    assert data('set(path="choices[0].delta.tool_calls[*].index",raw="0$n")', [both])[0].count(b'"index":01') == 2


def test_add() -> None:
    """Fields that an object has stay; those that it lacks are added at its end; other values are no objects."""
    made = documents('add(path="choices[0].delta",fields={"content":null,"name":"$n"})')
    assert made[1]["choices"][0]["delta"] == {"content": "one", "name": 2}
    assert made[4]["choices"][0]["delta"] == {"content": None, "name": 5}
    assert documents('add(fields={"provider":"X"})')[5] == {**STREAM[5], "provider": "X"}
    assert data('add(path="id",fields={"x":1})') == data("swap-payloads(at=text:9)")


def test_drop_rename_move() -> None:
    """A field is absent, or has another name at the same place, or is in another object."""
    assert documents('drop(path="choices[0].finish_reason",at=text)')[1]["choices"][0] == {
        "index": 0,
        "delta": {"content": "one"},
    }
    assert documents('drop(path="choices[*]")')[0] == {"id": "c1", "choices": []}
    renamed = documents('rename(path="choices[0].delta.content",to="text")')[0]
    assert list(renamed["choices"][0]["delta"].items()) == [("role", "assistant"), ("text", "")]
    moved = documents('move(path="choices[0].delta.content",to="choices[0].text",at=text)')
    assert moved[1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": None, "text": "one"}
    assert moved[4] == STREAM[4]


def test_carry_knows_choices_and_calls_apart() -> None:
    """A field comes again in each later fragment of the same call, and only there, whatever order they have."""
    made = documents('carry(path="choices[0].delta.tool_calls[*].id")', CALLS)
    fragments = [one["choices"][0]["delta"]["tool_calls"][0] for one in made[1:7]]
    assert [(one["index"], one["id"]) for one in fragments] == [(0, "a"), (1, "b")] * 3
    assert made[7] == CALLS[7]
    two = [chunk({"role": "a"}), chunk({"role": "b"}, index=1), chunk({}), chunk({"role": None}, index=1)]
    roles = [one["choices"][0]["delta"]["role"] for one in documents('carry(path="choices[0].delta.role")', two)[:4]]
    assert roles == ["a", "b", "a", "b"]
    for nothing in ("choices[0].delta.refusal", "choices[0].delta.tool_calls[0]", "choices[*]"):
        assert documents(f'carry(path="{nothing}")', CALLS)[:8] == CALLS


def test_split_field() -> None:
    """The second payload has the envelope, the choice, the indexes and the rest of the text; nothing else."""
    begun = call(0, id="a", name="get_weather", arguments="")
    begun["choices"][0]["delta"]["role"] = "assistant"
    first, second, *_ = documents(
        'split-field(path="choices[0].delta.tool_calls[0].function.name",characters=4,at=tool:1)', [begun]
    )
    begun["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] = "get_"
    assert first == begun
    assert second == call(0, name="weather")
    split = documents('split-field(path="choices[0].delta.content",after="th",at=text)')
    assert contents(split) == ["", "one", " two", " th", "ree", "-"]
    split = documents('split-field(path="choices[0].delta.content",after="on",at=text:1)')
    assert contents(split)[:4] == ["", "on", "e", " two"]
    for nothing in ("characters=0", "characters=9", 'after="x"', 'after="one"'):
        assert contents(documents(f'split-field(path="choices[0].delta.content",at=text:1,{nothing})'))[1] == "one"


# ---------------------------------------------------------------------------------------------- whole payloads


def test_drop_payloads() -> None:
    """Payloads are gone; `all` leaves the sentinel."""
    assert data("drop-payloads") == [DONE]
    assert DONE not in data("drop-payloads(at=done)")
    assert documents("drop-payloads(at=usage)") == [*STREAM[:5], None]


def test_replace_payload() -> None:
    """The document's other fields stay unless it is bare; raw text is the payload."""
    assert documents('replace-payload(at=usage,document={"usage":null,"n":"$n"})')[5] == {
        "id": "c1",
        "choices": [],
        "usage": None,
        "n": 1,
    }
    assert documents('replace-payload(at=usage,document={"n":1},bare=true)')[5] == {"n": 1}
    assert data('replace-payload(at=done,raw="[END]")')[6] == b"[END]"


def test_insert_payload() -> None:
    """A copy of its neighbour, with other fields, or anything; before or after; several, each with its pause."""
    copied = documents("insert-payload(after=finish)")
    assert copied[4] == copied[5] == STREAM[4]
    idle = list(struck('insert-payload(before=text:2,document={"choices":[]},times=2,seconds=0.5)', timed(STREAM)))
    assert [(gap, json.loads(item.data)) for gap, item, _ in idle[2:5]] == [
        (0.5, {"id": "c1", "choices": []}),
        (0.5, {"id": "c1", "choices": []}),
        (3.0, STREAM[2]),
    ]
    assert documents('insert-payload(before=first,bare=true,document={"id":""})')[0] == {"id": ""}
    assert data("insert-payload(after=done)")[6:] == [DONE, DONE]
    assert documents('insert-payload(before=done,document={"choices":[]})')[6] == {**STREAM[5], "choices": []}
    assert data('insert-payload(after=last,raw="42")')[5:] == [Payload.of(STREAM[5]).data, b"42", DONE]


def test_join_payloads() -> None:
    """Objects become one, texts are joined, what the first has stays; a payload without a former one is left."""
    made = documents("join-payloads(at=finish)+join-payloads(at=usage)")
    assert made[3:] == [chunk({"content": " three"}, finish="stop", usage={"completion_tokens": 3}), None]
    assert contents(documents("join-payloads(at=text:2..)"))[1] == "one two three"
    assert documents("join-payloads(at=first)")[0] == STREAM[0]
    assert documents("join-payloads(at=done)") == [*STREAM, None]


def test_join_payloads_of_tool_calls() -> None:
    """Fragments of one call become one item, or stay apart in one payload."""
    (joined,) = documents("join-payloads(at=tool:2..)", CALLS)[1:2]
    assert joined["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}},
        {"index": 1, "id": "b", "function": {"name": "get_time", "arguments": "{}"}},
    ]
    (apart,) = documents("join-payloads(at=tool:2..,calls=append)", CALLS)[1:2]
    assert [item["index"] for item in apart["choices"][0]["delta"]["tool_calls"]] == [0, 1, 0, 1, 0, 1]


def test_swap_payloads() -> None:
    """A payload comes one later, at the time of the one whose place it takes."""
    made = list(struck("swap-payloads(at=text:1)", timed(STREAM)))
    assert contents([json.loads(item.data) for _, item, _ in made[:4]]) == ["", " two", "one", " three"]
    assert [gap for gap, _, _ in made] == [gap for gap, _, _ in timed(STREAM)]
    assert data("swap-payloads(at=usage)")[5:] == [DONE, Payload.of(STREAM[5]).data]
    assert documents("swap-payloads(at=done)") == [*STREAM, None]


# ---------------------------------------------------------------------------------------------- no JSON


def test_cut_json() -> None:
    """So many bytes or hundredths of the payload are left, from its front."""
    whole = Payload.of(STREAM[1]).data
    assert data("cut-json(at=text:1,bytes=9)")[1] == whole[:9]
    assert data("cut-json(at=text:1,percent=25)")[1] == whole[: len(whole) // 4]
    assert data("cut-json(at=text:1)")[1] == whole[: len(whole) // 2]
    assert data("cut-json(at=2,bytes=0)")[1] == b""


def test_corrupt_json() -> None:
    """Each way of printing a document wrongly; the sentinel and what is no JSON already stay as they are."""
    sent = Payload.of(STREAM[0]).data
    assert data("corrupt-json")[0] == sent[:-1] + b",}"
    assert data("corrupt-json(how=python)")[0].startswith(b"{'id': 'c1', 'choices': [{'index': 0, 'delta': {'role'")
    assert b"'finish_reason': None" in data("corrupt-json(how=python)")[0]
    assert data("corrupt-json(how=bytes)")[0] == repr(b"data: " + sent + b"\n\n").encode()
    assert json.loads(json.loads(data("corrupt-json(how=double)")[0])) == STREAM[0]
    assert data("cut-json(bytes=5)+corrupt-json")[0] == sent[:5]
    assert data("corrupt-json(how=double)")[-1] == DONE


# ---------------------------------------------------------------------------------------------- errors


def test_error_payload() -> None:
    """The error in the provider's words comes instead of the next payload; nothing but the sentinel follows."""
    made = list(struck('error-payload(after=2,message="Oh",kind="odd",code=504)', timed(STREAM)))
    assert [json.loads(item.data) for _, item, _ in made[:3]] == STREAM[:3]
    assert json.loads(made[3][1].data) == {"error": {"message": "Oh", "type": "odd_error", "code": 504}}
    assert [gap for gap, _, _ in made] == [1.0, 2.0, 3.0, 4.0, 0.0]
    assert [item.data for _, item, _ in made[4:]] == [DONE]
    assert data("error-payload(after=2,done=false)") == data("error-payload(after=2)")[:-1]
    assert data("error-payload") == data("error-payload(after=3)")


@pytest.mark.parametrize(
    ("after", "passed"), [("0", 0), ("1", 2), ("3", 4), ("99", 6), ("0%", 0), ("67%", 3), ("100%", 4)]
)
def test_error_payload_counts_tokens(after: str, passed: int) -> None:
    """0 is before everything, the role included; all tokens is before the finish reason; more never comes."""
    made = documents(f"error-payload(after={after})")
    assert made[:passed] == STREAM[:passed]
    assert [at for at, one in enumerate(made) if one and "error" in one] == ([passed] if passed < 6 else [])


@pytest.mark.parametrize(
    ("size", "count", "after", "struck_at"),
    [(1, 1, 1, 2), (1, 1, 2, None), (2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 7, None), (2, 3, 4, 3), (2, 3, 3, 3)],
)
def test_error_payload_counts_tokens_of_groups(size: int, count: int, after: int, struck_at: int | None) -> None:
    """Where payloads have several tokens, the error comes after the one that holds the position."""
    source: list[Timed[Any]] = [(0.0, Payload.of(STREAM[0]), NOWHERE)]
    source += [(0.0, Payload.of(STREAM[1]), (0, number * size)) for number in range(count)]
    source += [(0.0, Payload.of(STREAM[4]), NOWHERE), (0.0, Payload(DONE), NOWHERE)]
    made = [item.data for _, item, _ in struck(f"error-payload(after={after})", source, tokens=size * count)]
    assert [at for at, one in enumerate(made) if b'"error"' in one] == ([] if struck_at is None else [struck_at])


def test_error_payload_in_a_chunk() -> None:
    """With `chunk` or `finish` it has the envelope of the payload in whose place it comes."""
    (made,) = documents("error-payload(after=0,chunk=true)")[:1]
    assert (made["id"], made["choices"]) == ("c1", [])
    assert made["error"]["message"]
    (made,) = documents('error-payload(after=3,finish="error")')[4:5]
    assert made["id"] == "c1"
    assert made["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
    assert documents('error-payload(after=0,document={"error":"no"})')[0] == {"error": "no"}


def test_an_endless_stream_ends_with_its_error() -> None:
    """Nothing is pulled after the error."""

    def endless() -> Iterator[Timed[Any]]:
        for token in itertools.count():
            assert token < 5, "pulled too far"
            yield 1.0, Payload.of(chunk({"content": "x"})), (0, token)

    assert len(list(struck("error-payload(after=2)", endless(), tokens=None))) == 4


# ---------------------------------------------------------------------------------------------- laws

EVERY = [
    'set(path="id",value=1)',
    'set(path="id",value=1,at=last)',
    'add(fields={"x":1})',
    'drop(path="id")',
    'rename(path="id",to="name")',
    'move(path="id",to="name")',
    'carry(path="choices[0].delta.role")',
    'split-field(path="choices[0].delta.content",characters=2,at=text)',
    "drop-payloads",
    "drop-payloads(at=text:last)",
    "drop-payloads(at=2..4)",
    'replace-payload(raw="x")',
    "insert-payload(after=text)",
    "join-payloads(at=all)",
    "join-payloads(at=text)",
    "swap-payloads(at=text)",
    "cut-json",
    "corrupt-json",
]


@pytest.mark.parametrize("text", EVERY)
def test_time_is_conserved(text: str) -> None:
    """Whatever becomes of the payloads, what follows comes when it would have come."""
    source = timed(STREAM)
    assert sum(gap for gap, _, _ in struck(text, source)) == sum(gap for gap, _, _ in source)


@pytest.mark.parametrize("text", [*EVERY, "error-payload(after=99)"])
@pytest.mark.parametrize("control", [Hold("gate"), Hang(), Close()])
def test_controls_pass_in_their_place(text: str, control: Any) -> None:
    """A control comes after all that came before it and at its time; nothing is kept back behind it."""
    source = timed(STREAM)
    source.insert(3, (0.25, control, NOWHERE))
    alone = sum(gap for gap, _, _ in source[:4])
    made = []
    for one in struck(text, iter(source)):
        made.append(one)
        if one[1] is control:
            break
    assert made[-1][1] is control
    assert sum(gap for gap, _, _ in made) == alone


def test_the_last_payload_before_an_ending_is_the_last() -> None:
    """Where the stream is cut, the last payload is the last that comes; at a gate it is not known yet."""
    source: list[Timed[Any]] = [*timed(STREAM)[:3], (0.0, Hang(), NOWHERE)]
    made = list(struck('replace-payload(at=last,raw="X")', source))
    assert made[2][1].data == b"X"
    gated = [*timed(STREAM)[:3], (0.0, Hold("gate"), NOWHERE), *timed(STREAM)[3:]]
    made = list(struck('replace-payload(at=text:last,raw="X")', gated))
    assert [at for at, (_, item, _) in enumerate(made) if isinstance(item, Payload) and item.data == b"X"] == [4]


@pytest.mark.parametrize("text", EVERY)
def test_what_is_no_document_passes(text: str) -> None:
    """A payload that is no JSON, or no document as expected, is never a reason to fail; edits leave it as it is."""
    odd = [b"{", b"42", b"null", b"NaN", b"", b"[1e999]", b'{"choices":7}', b'{"choices":[3]}']
    odd += [b'{"choices":[{"delta":[1],"index":"x"}],"usage":4}']
    made = [item.data for _, item, _ in struck(text, [(0.0, Payload(one), NOWHERE) for one in odd])]
    if FAULTS[text.partition("(")[0]].__module__.endswith("fields"):
        assert made[:6] == odd[:6]


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("set(value=1)", "set: expected path"),
        ('set(path="a..b",value=1)', "set: path: expected a path such as choices"),
        *((f"set(path={path})", "set: path: expected a path") for path in ('"a[b]"', '""', '".a"', '"[0].a"', "3")),
        ('set(path="x",value=1,raw="2")', "set: expected either value or raw"),
        ("add", "add: expected fields"),
        ("add(fields=[1])", "add: fields: expected a JSON object"),
        ('rename(path="x")', "rename: expected to"),
        ('move(path="x")', "move: expected to"),
        ('rename(path="x[0]",to="y")', "rename: path: expected one that ends in the name of a field"),
        ('move(path="x[*].y",to="z")', r"move: path: expected one place, the number of an item instead of \[\*\]"),
        ('move(path="y",to="x[*].y")', "move: to: expected one place"),
        ('split-field(path="x[*].y",characters=1)', "split-field: path: expected one place"),
        ('split-field(path="x")', "split-field: expected one of characters, after"),
        ('split-field(path="x",characters=1,after="y")', "not characters and after"),
        ("replace-payload", "replace-payload: expected one of document, raw"),
        ("replace-payload(document=3)", "replace-payload: document: expected a JSON object"),
        ("insert-payload", "insert-payload: expected one of before, after"),
        ("insert-payload(before=first,after=last)", "not before and after"),
        ('insert-payload(after=last,raw="x",document={})', "insert-payload: expected either document or raw"),
        ("join-payloads", "join-payloads: expected at"),
        ("swap-payloads", "swap-payloads: expected at"),
        ("cut-json(percent=101)", "cut-json: percent: expected a whole number from 0 to 100"),
        ("corrupt-json(how=badly)", "corrupt-json: how: expected trailing-comma or python"),
        ("error-payload(after=3events)", "error-payload: after: expected tokens or %"),
        ("error-payload(document=[])", "error-payload: document: expected a JSON object"),
    ],
)
def test_impossible_settings_are_refused(text: str, words: str) -> None:
    """A SettingError names the fault, the setting and what is allowed."""
    with pytest.raises(SettingError, match=words):
        chain(text)


@pytest.mark.parametrize(
    ("text", "how", "words"),
    [
        ("join-payloads(at=last)", {}, "the last one is known too late"),
        ("swap-payloads(at=text:last)", {}, "the last one is known too late"),
        ("drop-payloads(at=text:last)", {"tokens": None}, "drop-payloads: at=text:last: an endless reply has no last"),
        ("error-payload(after=50%)", {"tokens": None}, "an endless reply has no 50%"),
        ("drop-payloads(at=text)", {"dialect": "other"}, "the dialect other has no such kind of payload"),
        ("drop-payloads", {"stream": False}, "a whole reply is one document"),
        ("insert-payload(after=first)", {"stream": False}, "a whole reply is one document"),
        ("join-payloads(at=finish)", {"stream": False}, "a whole reply is one document"),
        ("swap-payloads(at=first)", {"stream": False}, "a whole reply is one document"),
        ('carry(path="id")', {"stream": False}, "a whole reply is one document"),
        ('split-field(path="id",characters=1)', {"stream": False}, "a whole reply is one document"),
        ('set(path="id",at=done)', {"stream": False}, "set: at=done: a whole reply is one document"),
        ('set(path="id",at=2..)', {"stream": False}, "set: at=2..: a whole reply is one document"),
        ('set(path="id",at=!finish)', {"stream": False}, "set: at=!finish: a whole reply is one document"),
        ("error-payload(chunk=true)", {"stream": False}, "a whole reply has no chunks"),
    ],
)
def test_impossible_combinations_are_refused(text: str, how: dict[str, Any], words: str) -> None:
    """What cannot be done to this reply is a SettingError, before anything is sent."""
    with pytest.raises(SettingError, match=words):
        struck(text, [], **how)


# ---------------------------------------------------------------------------------------------- on the wire


REPLY = Reply.of(Reasoning("Hm."), Text("one two three"), ToolCall("get_weather", {"city": "Paris"}, id="call_1"))


async def asked(provider: MockProvider, text: str, **body: Any) -> Seen:
    """What comes of the reply under a chain."""
    provider.on().reply(REPLY)
    return await observe(provider.url, text, stream_options={"include_usage": True}, **body)


WIRE = {
    "set": ('set(path="model",value="other")', rb'"model":"other"', b"gpt-4o"),
    "add": ('add(fields={"provider":"X"})', rb'"provider":"X"', b""),
    "drop": ('drop(path="object")', rb"", b'"object"'),
    "rename": ('rename(path="created",to="made")', rb'"made":17', b'"created"'),
    "move": ('move(path="id",to="choices[0].id")', rb'"finish_reason":null,"id":"chatcmpl-', b""),
    "carry": ('carry(path="choices[0].delta.tool_calls[*].id")', rb'"arguments":"city"},"id":"call_1"', b""),
    "split-field": (
        'split-field(path="choices[0].delta.content",characters=2,at=text:3)',
        rb'"content":" t".*\n\n.*"content":"hree"',
        b'" three"',
    ),
    "drop-payloads": ("drop-payloads(at=finish)", rb"", b'"finish_reason":"'),
    "replace-payload": ('replace-payload(at=text:1,raw="oops")', rb"data: oops\n\n", b'"one"'),
    "insert-payload": ('insert-payload(after=text:1,raw="oops")', rb'"one".*\n\ndata: oops\n\n', b""),
    "join-payloads": ("join-payloads(at=text:2..)", rb'"content":"one two three"', b'"content":" two"'),
    "swap-payloads": ("swap-payloads(at=usage)", rb'data: \[DONE\]\n\ndata: .*"usage":\{', b""),
    "cut-json": ("cut-json(at=text:1,bytes=5)", rb'data: \{"id"\n\n', b'"one"'),
    "corrupt-json": ("corrupt-json(at=text:1)", rb'"one".*,\}\n\n', b""),
    "error-payload": ('error-payload(message="Oh")', rb'data: \{"error":\{"message":"Oh"', b'"usage":{'),
}
"""A chain, what it brings into the body of the reply above, and what it takes out."""


@pytest.mark.parametrize("name", WIRE)
async def test_each_fault_reaches_the_wire(provider: MockProvider, name: str) -> None:
    """In a stream the fault's effect is in the body, in whole events; without the fault it is not."""
    text, comes, goes = WIRE[name]
    plain, made = await asked(provider, ""), await asked(provider, text)
    assert (made.status, made.ending, made.wrong) == (200, "complete", None)
    assert re.search(comes, made.body), made.body
    assert not comes or re.search(comes, plain.body) is None
    assert goes not in made.body if goes else comes
    assert goes in plain.body
    assert all(block.startswith(b"data: ") and block.endswith(b"\n\n") for block in made.blocks)


def test_every_fault_of_payloads_has_a_test_on_the_wire() -> None:
    """The table above has all faults of the two files."""
    files = ("mockprovider.faults.payload", "mockprovider.faults.fields")
    assert {name for name, made in FAULTS.items() if made.__module__ in files} == set(WIRE)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('set(path="choices[0].delta.role",value="x")', ("choices", 0, "message", "role"), "x"),
        ('set(path="choices[0].delta.role",value="x",at=last)', ("choices", 0, "message", "role"), "x"),
        (
            'set(path="choices[0].delta.content",value="<$old>",at=text)',
            ("choices", 0, "message", "content"),
            "<one two three>",
        ),
        ('set(path="x",value=["$text","$n"])', ("x",), ["one two three", 1]),
        ('add(path="choices[0].delta",fields={"name":null})', ("choices", 0, "message", "name"), None),
        (
            'rename(path="choices[0].delta.reasoning_content",to="reasoning")',
            ("choices", 0, "message", "reasoning"),
            "Hm.",
        ),
        ('move(path="choices[0].delta.content",to="text")', ("text",), "one two three"),
        ('replace-payload(document={"id":""})', ("id",), ""),
        ("error-payload(code=9)", ("error", "code"), 9),
    ],
)
async def test_whole_replies_are_edited(provider: MockProvider, text: str, path: tuple[Any, ...], value: Any) -> None:
    """A whole reply is one document, and is edited as such; where a stream has a delta it has a message."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, text, stream=False)
    assert (seen.status, seen.ending, seen.wrong) == (200, "complete", None)
    found = seen.document
    for step in path:
        found = found[step]
    assert found == value


async def test_raw_text_stands_in_a_whole_reply(provider: MockProvider) -> None:
    """Raw text is put in as it stands; such a document is none any more, and a later edit leaves it alone."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, 'set(path="created",raw="NaN")+set(path="id",value="x")', stream=False)
    assert b'"created": NaN,' in seen.body
    assert seen.document["id"].startswith("chatcmpl-")


async def test_an_edited_whole_reply_stays_indented(provider: MockProvider) -> None:
    """But for the field itself, the bytes are those of the unedited reply."""
    provider.on().reply(REPLY)
    plain = await observe(provider.url, "", stream=False)
    made = await observe(provider.url, 'set(path="choices[0].delta.role",value="x")', stream=False)
    lines = list(zip(plain.body.split(b"\n"), made.body.split(b"\n"), strict=True))
    assert [after.strip() for before, after in lines if before != after and b'"id"' not in before] == [
        *[after.strip() for before, after in lines if b'"created"' in before and before != after],
        b'"role": "x",',
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [("drop-payloads(at=done)", "a whole reply is one document"), ("cut-json(at=2)", "it has no such payload")],
)
async def test_what_cannot_be_done_is_answered_by_400(provider: MockProvider, text: str, words: str) -> None:
    """Before anything is streamed the client gets an error in the provider's shape that says what is wrong."""
    seen = await observe(provider.url, text, stream=False)
    assert seen.status == 400
    assert words in seen.document["error"]["message"]

"""Level 4: a script becomes steps, the steps get their gaps, and limits end a reply as a provider ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, count, islice
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.errors import SettingError
from mockprovider.pace import Pacing, Timing
from mockprovider.reply import (
    Delta,
    Finish,
    Reasoning,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    Reply,
    Start,
    Text,
    TextDelta,
    TextRun,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    deltas,
    paced,
    plain_text,
)
from mockprovider.timeline import Control, Hold, Timed
from mockprovider.tokens import cut

SCRIPT = Reply.of(
    Reasoning("Let me see. "),
    "One two three.",
    ToolCall("look", {"up": "é", "n": [1, None]}),
    ToolCall("again", '{"broken": ', id="call_mine"),
    Refusal("No, sorry."),
)
TEXTS = st.text(st.sampled_from("aAbB 1é漢👩\n.,\ud800"), max_size=40)
STOPS = st.lists(st.text(st.sampled_from("aAb 1é\n."), min_size=1, max_size=5), min_size=1, max_size=4)


def play(reply: Reply, **limits: Any) -> list[Any]:
    """One choice of a reply."""
    return list(deltas(reply, choice=0, call_id=lambda index: f"call_{index}", **limits))


def text(steps: Sequence[Delta], kind: type[TextDelta] = TextDelta) -> str:
    """What the steps of one kind say."""
    return "".join(step.text for step in steps if type(step) is kind)


def finish(steps: Sequence[Delta]) -> str:
    """Why the steps end; there is one Finish, and it is last."""
    *others, last = steps
    assert isinstance(last, Finish)
    assert not any(isinstance(step, Finish) for step in others)
    return last.reason


# ---------------------------------------------------------------------------------------------------- the script


def test_a_reply_is_made_of_parts() -> None:
    """Texts become parts, a finished reply stays itself, and anything else is refused by name."""
    assert Reply.of("a", Text("b")).parts == (Text("a"), Text("b"))
    assert Reply.of(SCRIPT) is SCRIPT
    assert Reply.of("a", finish="length").finish == "length"
    with pytest.raises(SettingError, match="not int"):
        Reply.of(3)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="not Reply"):
        Reply.of(SCRIPT, "more")


def test_arguments_that_are_not_json_are_refused() -> None:
    """A tool call whose arguments JSON cannot say is an error that names the tool."""
    for arguments in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(SettingError, match="'look'"):
            ToolCall("look", arguments).arguments_text  # noqa: B018


def test_plain_text_is_the_answer_alone() -> None:
    """What a person is shown of a script is its answer text, an endless one as an ellipsis."""
    assert plain_text(SCRIPT) == "One two three."
    assert plain_text(Reply.of("a", Text(lambda: iter("b")))) == "a…"


# ---------------------------------------------------------------------------------------------------- the deltas


def test_parts_become_steps_in_order() -> None:
    """A script is played part by part: begin, thinking, text, each tool call with its arguments, refusal, finish."""
    steps = play(SCRIPT)
    start = steps[0]
    assert isinstance(start, Start)
    assert (start.opens, start.calls) == (Reasoning, 2)
    assert text(steps, ReasoningDelta) == "Let me see. "
    assert text(steps) == "One two three."
    assert text(steps, RefusalDelta) == "No, sorry."
    begun = [(step.index, step.id, step.name) for step in steps if isinstance(step, ToolCallStart)]
    assert begun == [(0, "call_0", "look"), (1, "call_mine", "again")]
    arguments = ["".join(s.text for s in steps if isinstance(s, ToolCallDelta) and s.index == i) for i in (0, 1)]
    assert arguments == ['{"up":"é","n":[1,null]}', '{"broken": ']
    assert finish(steps) == "tool_calls"
    kinds = list(dict.fromkeys(type(step) for step in steps))
    assert kinds == [Start, ReasoningDelta, TextDelta, ToolCallStart, ToolCallDelta, RefusalDelta, Finish]


def test_an_empty_reply_begins_and_ends() -> None:
    """A reply without parts, or with an empty text, is a beginning and an end."""
    for reply in (Reply(()), Reply.of("")):
        assert [type(step) for step in play(reply)] == [Start, Finish]
        assert finish(play(reply)) == "stop"


def test_a_scripted_finish_is_kept() -> None:
    """What the script says of the end is said, whatever ends the reply."""
    assert finish(play(Reply.of("a b c", finish="content_filter"))) == "content_filter"
    assert finish(play(Reply.of("a b c", finish="odd"), max_tokens=1)) == "odd"
    assert finish(play(Reply.of("a b c", finish="odd"), stop=["b"])) == "odd"


@settings(deadline=None)
@given(TEXTS, st.integers(1, 12), st.integers(1, 5))
def test_a_token_limit_ends_the_reply(said: str, limit: int, size: int) -> None:
    """At most so many tokens are sent, all kinds together, and a reply that uses them up ends with `length`."""
    reply = Reply.of(Reasoning("think"), said, ToolCall("look", {}))
    steps = play(reply, max_tokens=limit, tokens_per_payload=size)
    planned = cut("think") + cut(said) + cut("{}")
    sent = [piece for s in steps if isinstance(s, TextDelta) for piece in s.pieces or (s.text,)]
    assert sent == planned[:limit]
    assert sum(step.tokens for step in steps) == len(sent)
    assert finish(steps) == ("length" if limit <= len(planned) else "tool_calls")


@settings(deadline=None)
@given(TEXTS, st.integers(1, 7))
def test_tokens_are_packed_whole(said: str, size: int) -> None:
    """A payload carries so many whole tokens, and knows them; only the last may carry fewer."""
    steps = [step for step in play(Reply.of(said), tokens_per_payload=size) if isinstance(step, TextDelta)]
    assert [piece for step in steps for piece in step.pieces or (step.text,)] == cut(said)
    assert all(step.tokens == size for step in steps[:-1])
    assert all(step.text == "".join(step.pieces or (step.text,)) for step in steps)
    assert all(step.tokens == len(step.pieces or (step.text,)) for step in steps)


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=4), STOPS, st.booleans())
@example(["aab"], ["ab"], False)
@example(["a", "b"], ["ab"], True)
def test_a_stop_sequence_ends_the_text_before_it(pieces: list[str], stop: list[str], separate: bool) -> None:
    """The text ends before the first stop sequence that is complete, over tokens, pieces and parts alike."""
    parts = [Text(piece) for piece in pieces] if separate else [Text(lambda: iter(pieces))]
    steps = play(Reply.of(*parts), stop=stop)
    tokens = [token for piece in pieces for token in cut(piece)]
    whole = "".join(tokens)
    for said in accumulate(tokens):
        places = [said.find(sequence) for sequence in stop if sequence in said]
        if places:
            whole = said[: min(places)]
            break
    assert (text(steps), finish(steps)) == (whole, "stop")
    kept = [step.text for step in steps if isinstance(step, TextDelta)]
    assert kept[:-1] == tokens[: len(kept)][:-1], "tokens are cut only where the text ends"


def test_stop_sequences_are_for_the_answer_alone() -> None:
    """Neither thinking nor arguments are stopped."""
    steps = play(Reply.of(Reasoning("stop here"), ToolCall("look", {"stop": 1})), stop=["stop"])
    assert text(steps, ReasoningDelta) == "stop here"
    assert finish(steps) == "tool_calls"


def test_an_endless_text_flows() -> None:
    """A text may be endless, with stop sequences too: nothing is read ahead but what a sequence could begin in."""
    numbers = (f"{number} " for number in count())
    steps = deltas(Reply.of(Text(lambda: numbers)), choice=0, call_id=str, stop=["never"], tokens_per_payload=2)
    assert "".join(step.text for step in islice(steps, 50) if isinstance(step, TextDelta)).startswith("0 1 2 3 4")
    assert int(next(numbers)) < 100


@given(
    st.lists(st.sampled_from(["a few words of text", " and more", "", "x" * 20_000, "w " * 9_000]), max_size=4),
    st.sampled_from([None, 0, 1, 5, 40, 8_000]),
    st.integers(1, 9),
)
def test_runs_are_their_deltas(texts: list[str], limit: int | None, size: int) -> None:
    """Tokens come in runs of at most so many, and they are those that come one by one, whatever limits them."""

    def played(run: int) -> list[str | tuple[str, str | None]]:
        said: list[str | tuple[str, str | None]] = []
        reply = Reply.of(*(Text(text) for text in texts), Reasoning("so"))
        for step in deltas(reply, choice=0, call_id=str, max_tokens=limit, run=run):
            if isinstance(step, TextRun):
                assert 0 < len(step.said.texts) == step.tokens <= size
                said += step.said.texts
            elif isinstance(step, TextDelta):
                said.append(step.text)
            elif isinstance(step, Finish):
                said.append((step.reason, step.stop))
        return said

    assert played(size) == played(0)


@pytest.mark.parametrize("run", [0, 8])
def test_what_a_failing_text_has_said_is_said(run: int) -> None:
    """A text of one's own may fail: the tokens before that come all the same, and then the error."""

    def failing() -> Iterator[str]:
        yield "one two three"
        raise LookupError("no more words")

    said: list[str] = []

    def play_all() -> None:
        for step in deltas(Reply.of(Text(failing)), choice=0, call_id=str, run=run):
            if isinstance(step, TextRun):
                said.extend(step.said.texts)
            elif isinstance(step, TextDelta):
                said.append(step.text)

    with pytest.raises(LookupError, match="no more words"):
        play_all()
    assert said == ["one", " two", " three"]


# ---------------------------------------------------------------------------------------------------- the gaps


def timing(ttft: float = 10.0, itl: float = 1.0) -> Timing:
    """The first token after 10 s, the others 1 s apart."""
    return Timing(ttft, lambda: itl, None, itl)


def choices(*texts: str, size: int = 1) -> list[Iterator[Delta | TextRun]]:
    """One choice a text."""
    return [
        deltas(Reply.of(said), choice=index, call_id=str, tokens_per_payload=size) for index, said in enumerate(texts)
    ]


def described(steps: Iterator[Timed[Delta | TextRun | Control]]) -> list[tuple[float, object]]:
    """When, in seconds from the start, and what."""
    clock = 0.0
    found: list[tuple[float, object]] = []
    for gap, item, _ in steps:
        clock += gap
        found.append((clock, getattr(item, "text", None) or getattr(item, "gate", None) or type(item).__name__))
    return found


def test_each_token_has_its_time() -> None:
    """The beginning comes with the first token after the TTFT, then one gap a token, and one before the end."""
    assert described(paced(choices("a b c"), timing(), {})) == [
        (10, "Start"),
        (10, "a"),
        (11, " b"),
        (12, " c"),
        (13, "Finish"),
    ]


def test_a_payload_comes_with_its_last_token() -> None:
    """Tokens that share a payload come when the last of them is ready, and the whole takes as long as ever."""
    assert described(paced(choices("a b c d e", size=2), timing(), {})) == [
        (10, "Start"),
        (11, "a b"),
        (13, " c d"),
        (14, " e"),
        (15, "Finish"),
    ]


def test_choices_take_turns() -> None:
    """Choices are interleaved token by token and share the time; the longer one goes on alone."""
    assert described(paced(choices("a b", "A B C"), timing(), {})) == [
        (10, "Start"),
        (10, "a"),
        (10, "Start"),
        (10, "A"),
        (11, " b"),
        (11, " B"),
        (12, "Finish"),
        (12, " C"),
        (13, "Finish"),
    ]


def test_choices_share_the_time_of_a_payload() -> None:
    """In each round the first choice takes the time of its tokens, and the others come with it, however many theirs."""
    assert described(paced(choices("a b c", "A B C", size=2), timing(), {})) == [
        (10, "Start"),
        (11, "a b"),
        (11, "Start"),
        (11, "A B"),
        (12, " c"),
        (12, " C"),
        (13, "Finish"),
        (13, "Finish"),
    ]


def test_origins_number_the_tokens() -> None:
    """Every step says which choice it belongs to and with which token it begins; what is no token says -1."""
    origins = [origin for _, _, origin in paced(choices("a b c d", "A", size=3), timing(), {})]
    assert origins == [(0, -1), (0, 0), (1, -1), (1, 3), (0, 4), (1, -1), (0, -1)]


@pytest.mark.parametrize(
    ("position", "before"),
    [
        (0, ["early"]),
        (1, ["Start", "a", "early"]),
        (2, ["Start", "a", " b", "early"]),
        (-1, ["Start", "a", " b", " c", "early"]),
    ],
)
def test_gates_are_where_they_were_put(position: int, before: list[str]) -> None:
    """A hold is before the first delta, after so many tokens, or before the end."""
    names = [name for _, name in described(paced(choices("a b c"), timing(), {position: "early"}))]
    assert names == before + ["Start", "a", " b", " c", "Finish"][len(before) - 1 :]


def test_a_hold_takes_no_time() -> None:
    """Gates leave every step when it was due."""
    without = [when for when, _ in described(paced(choices("a b c"), timing(), {}))]
    gates = {0: "x", 2: "y", -1: "z"}
    timed = list(paced(choices("a b c"), timing(), gates))
    clocks = list(accumulate(gap for gap, _, _ in timed))
    assert [when for when, (_, item, _) in zip(clocks, timed, strict=True) if not isinstance(item, Hold)] == without


@settings(deadline=None)
@given(TEXTS, st.integers(1, 9), st.integers(0, 2**32))
def test_packing_conserves_time(said: str, size: int, seed: int) -> None:
    """However tokens are packed, the end comes at the same time, and no payload before its last token would."""
    pace = Pacing.parse("ttft=0.5..2,itl=0.02~gamma(cv=0.6)")

    def clocks(size: int) -> list[tuple[float, Delta | TextRun]]:
        steps = list(paced(choices(said, size=size), pace.timing(Random(seed), lambda: 0), {}))
        times = accumulate(gap for gap, _, _ in steps)
        return [(when, item) for when, (_, item, _) in zip(times, steps, strict=True) if not isinstance(item, Control)]

    alone, packed = clocks(1), clocks(size)
    assert packed[-1][0] == pytest.approx(alone[-1][0])
    ready = [when for when, step in alone if step.tokens]
    sent = 0
    for when, step in packed:
        if step.tokens:
            sent += step.tokens
            assert when == pytest.approx(ready[sent - 1])

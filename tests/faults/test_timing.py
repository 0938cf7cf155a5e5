"""Timing faults as changes of gaps: pure, by the stages themselves; on the wire they are proved by the cases."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mockprovider.errors import SettingError
from mockprovider.faults import chain
from mockprovider.faults.base import Context
from mockprovider.reply import Finish, Start, Text, TextDelta
from mockprovider.timeline import End, Timed
from mockprovider.wire import Head, Write

PLACE = (0, -1)


def context(**known: Any) -> Context:
    """A context with a generator of its own."""
    usual = {"attempt": 1, "stream": True, "tokens": lambda: 10, "dialect": "openai-chat", "error": lambda *_: {}}
    return Context(rng=random.Random(7), **{**usual, **known})


def through(call: str, items: list[Timed[Any]]) -> list[Timed[Any]]:
    """The items as the fault's stage lets them go."""
    [fault] = chain(call)
    return list(fault.stage(context()).through(iter(items)))


def reply(count: int = 10, gap: float = 0.1) -> list[Timed[Any]]:
    """A reply of so many tokens, whose first comes with its start after half a second."""
    tokens: list[Timed[Any]] = [(gap if index else 0.0, TextDelta(" x"), (0, index)) for index in range(count)]
    return [(0.5, Start(0, Text, 0), PLACE), *tokens, (gap, Finish("stop"), PLACE)]


def gaps(items: list[Timed[Any]]) -> list[float]:
    """The gaps, in order."""
    return [round(gap, 9) for gap, _, _ in items]


def test_delay_moves_everything_by_the_same_time() -> None:
    """Only the first gap grows."""
    assert gaps(through("delay(seconds=2)", [(0.1, b"head", PLACE), (0.2, b"a", PLACE)])) == [2.1, 0.2]


def test_headers_early_keep_the_time_of_the_first_event() -> None:
    """The head's gap is moved behind it: time is conserved."""
    items = [(0.7, Head(200), PLACE), (0.0, b"a", PLACE), (0.2, b"b", PLACE)]
    assert gaps(through("headers-early", items)) == [0.0, 0.7, 0.2]


@pytest.mark.parametrize(("after", "place"), [("0", 1), ("1", 2), ("4", 5), ("50%", 6), ("10", 11)])
def test_a_stall_stands_at_its_position(after: str, place: int) -> None:
    """The item after so many tokens comes later by the stall, and no other."""
    usual = gaps(reply())
    usual[place] = round(usual[place] + 3, 9)
    assert gaps(through(f"stall(after={after},seconds=3)", reply())) == usual


def test_uneven_gaps_are_within_their_bound() -> None:
    """Each token but the first is late by a draw from 0 to the bound; the draws differ."""
    late = [
        after - before
        for after, before in zip(gaps(through("uneven(seconds=0.2)", reply(50))), gaps(reply(50)), strict=True)
    ]
    assert late[:2] == [0, 0]
    assert all(0 <= each <= 0.2 for each in late)
    assert len({round(each, 6) for each in late[2:-1]}) > 40


def test_a_rate_is_an_upper_bound() -> None:
    """Gaps shorter than the rate's are lengthened, longer ones are kept."""
    assert gaps(through("rate(tokens=4)", reply(3, gap=0.1)))[1:4] == [0.0, 0.25, 0.25]
    assert gaps(through("rate(tokens=4)", reply(3, gap=0.5)))[1:4] == [0.0, 0.5, 0.5]


def test_bursts_are_groups_with_pauses() -> None:
    """Inside a group there is no gap; between groups there is the pause, whatever the pace was."""
    assert gaps(through("burst(tokens=3,seconds=2)", reply(8)))[1:9] == [0.0, 0, 0, 2, 0, 0, 2, 0]


def test_a_dribble_leaves_in_promised_writes() -> None:
    """Everything after the head is cut to size, in order, each piece with the pause; the head and the end are not."""
    items = [(0.0, b"HEAD", PLACE), (0.1, b"abcde", PLACE), (0.0, Write(b"fg"), PLACE), (0.0, End(), PLACE)]
    passed = through("dribble(bytes=2,seconds=0.5)", items)
    assert passed[0] == items[0]
    assert [item.data for _, item, _ in passed[1:-1]] == [b"ab", b"cd", b"e", b"fg"]
    assert gaps(passed)[1:-1] == [0.6, 0.5, 0.5, 0.5]
    assert isinstance(passed[-1][1], End)


def test_an_endless_reply_says_the_same_for_ever() -> None:
    """In the place of the finish come the words, at their gap, as long as somebody pulls."""
    [fault] = chain('endless(text=" na",seconds=0.5)')
    passed = fault.stage(context()).through(iter(reply(2)))
    items = [next(passed) for _ in range(1000)]
    assert [getattr(item, "text", None) for _, item, _ in items[3:]] == [" na"] * 997
    assert gaps(items)[3:6] == [0.6, 0.5, 0.5]


def test_a_whole_reply_cannot_be_endless() -> None:
    """It would never be sent, which is said before it is tried."""
    [fault] = chain("endless")
    with pytest.raises(SettingError, match="ask for a stream"):
        fault.stage(context(stream=False))


def test_an_endless_reply_has_no_half() -> None:
    """A percentage of an endless reply is refused."""
    [fault] = chain("stall(after=50%)")
    with pytest.raises(SettingError, match="an endless reply has no 50 %"):
        fault.stage(context(tokens=lambda: None))

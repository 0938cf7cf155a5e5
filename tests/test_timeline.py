"""The shape that all levels share: laziness, controls that fall through, time that is conserved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.pace import Chunking
from mockprovider.timeline import NOWHERE, Close, Control, End, Ending, Hang, Hold, Reset, Stage, Timed, run
from mockprovider.wire import Head, MessageEncoder, TransferEncoder

CONTROLS = (Hold("before-end"), End(), Close(), Reset(), Hang())


class Doubled(Stage[bytes, bytes]):
    """Says everything twice, and goodbye."""

    def feed(self, timed: Timed[bytes | Control]) -> Iterator[Timed[bytes | Control]]:
        _, item, origin = timed
        yield timed
        if isinstance(item, bytes):
            yield 0.0, item, origin

    def flush(self) -> Iterator[Timed[bytes | Control]]:
        yield 0.5, b"bye", NOWHERE


def test_stages_follow_one_another() -> None:
    """Every stage sees what the one before it made, its last words included."""
    source: Iterator[Timed[Any]] = iter([(1.0, b"a", (0, 0))])
    assert list(run(source, [Doubled(), Doubled()])) == [
        (1.0, b"a", (0, 0)),
        (0.0, b"a", (0, 0)),
        (0.0, b"a", (0, 0)),
        (0.0, b"a", (0, 0)),
        (0.5, b"bye", NOWHERE),
        (0.0, b"bye", NOWHERE),
        (0.5, b"bye", NOWHERE),
    ]


def test_nothing_is_pulled_before_it_is_asked_for() -> None:
    """An endless source can be played: each item is taken from it when the first thing it becomes is asked for."""
    taken: list[int] = []

    def endless() -> Iterator[Timed[bytes]]:
        number = 0
        while True:
            taken.append(number)
            yield 0.25, b"%d" % number, (0, number)
            number += 1

    head = Head(200, (("A", "b"),))
    stages: list[Stage[Any, Any]] = [MessageEncoder(head, Fraction(1)), TransferEncoder(Chunking())]
    played = run(endless(), stages)
    assert taken == []
    assert next(played)[1].endswith(b"\r\n\r\n")
    assert next(played) == (0.0, b"1\r\n0\r\n", (0, 0))
    assert taken == [0]
    assert next(played) == (0.25, b"1\r\n1\r\n", (0, 1))
    assert taken == [0, 1]


def test_the_four_endings() -> None:
    """Exactly four controls end an exchange; holding a stream does not."""
    assert [isinstance(control, Ending) for control in CONTROLS] == [False, True, True, True, True]
    assert all(isinstance(control, Control) for control in CONTROLS)


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_controls_are_values(control: Control) -> None:
    """A control is a value: equal where it says the same, and not to be changed."""
    assert control == dataclasses.replace(control)  # type: ignore[type-var]
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        control.gate = "other"  # type: ignore[attr-defined]


RATIOS = st.builds(
    lambda number, group: Fraction(number) if group else Fraction(1, number), st.integers(1, 5), st.booleans()
)
CHUNKINGS = st.builds(
    Chunking,
    payloads_per_chunk=RATIOS,
    chunks_per_write=st.none() | RATIOS,
    join=st.booleans(),
)
GAPS = st.sampled_from([0.0, 0.0, 0.25, 1.0])
EVENTS = st.lists(st.tuples(GAPS, st.binary(max_size=12) | st.just(Hold("before-end"))), max_size=12)


@settings(deadline=None)
@given(EVENTS, CHUNKINGS, st.sampled_from([None, 0.0, 0.5, 3.0]), st.booleans(), st.booleans())
def test_time_is_conserved_and_controls_fall_through(
    events: list[tuple[float, bytes | Control]],
    chunking: Chunking,
    head_at: float | None,
    chunked: bool,
    bodyless: bool,
) -> None:
    """Whatever is grouped, split or dropped on the way: a control comes when it is due, after all before it."""
    transfer = TransferEncoder(chunking, chunked=chunked, bodyless=bodyless)
    message = MessageEncoder(Head(200), chunking.payloads_per_chunk, head_at)
    source: list[Timed[Any]] = [(gap, item, (0, number)) for number, (gap, item) in enumerate(events)]
    lowered = list(run(iter([*source, (0.25, Close(), NOWHERE)]), [message, transfer]))

    def controls(timeline: list[Timed[Any]]) -> list[tuple[float, Control, Any]]:
        times = accumulate(gap for gap, _, _ in timeline)
        return [(time, item, origin) for time, (_, item, origin) in zip(times, timeline) if isinstance(item, Control)]  # noqa: B905

    assert all(gap >= 0 for gap, _, _ in lowered)
    expected = controls([*source, (0.25, Close(), NOWHERE)])
    # The source ends in Close, and what the message adds after it is never asked for.
    assert controls(lowered)[: len(expected)] == expected
    assert math.fsum(gap for gap, _, _ in lowered) == math.fsum(gap for gap, _, _ in source) + 0.25

    def between(timeline: list[Timed[Any]]) -> list[bytes]:
        """The content before each control, since the one before it."""
        found = [b""]
        for _, item, origin in timeline:
            if isinstance(item, Control):
                found.append(b"")
            elif origin != NOWHERE:
                found[-1] += item if isinstance(item, bytes) else item.data
        return found

    if not bodyless and not chunked:
        assert between(lowered)[: len(expected)] == between([*source, (0.25, Close(), NOWHERE)])[:-1]

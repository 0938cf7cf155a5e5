"""When tokens come and how they are packed: distributions, the text forms, profiles, and errors that name the part."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mockprovider.errors import SettingError
from mockprovider.pace import PROFILES, Chunking, Distribution, Pacing

DRAWS = 40_000

SECONDS = st.one_of(st.floats(0, 1_000_000), st.sampled_from([0.0, 0.02, 0.1, 1.0, 1e-9, 5e-324, 123456.789]))
NAMED = st.builds(Distribution, SECONDS, st.sampled_from(["normal", "lognormal", "gamma"]), st.floats(0, 10))
RANGES = st.tuples(SECONDS, SECONDS).map(lambda ends: Distribution.between(min(ends), max(ends)))
DISTRIBUTIONS = st.one_of(SECONDS.map(Distribution), NAMED, RANGES)
PACINGS = st.builds(
    Pacing,
    ttft=DISTRIBUTIONS,
    itl=DISTRIBUTIONS,
    prefill=SECONDS,
    cap=st.one_of(st.just(math.inf), SECONDS),
    head=st.one_of(st.none(), SECONDS),
)
RATIOS = st.one_of(st.integers(1, 1_000_000).map(Fraction), st.integers(2, 1_000_000).map(lambda n: Fraction(1, n)))
CHUNKINGS = st.builds(
    Chunking,
    tokens_per_payload=st.integers(1, 1_000_000),
    payloads_per_chunk=RATIOS,
    chunks_per_write=st.one_of(st.none(), RATIOS),
    join=st.booleans(),
    apart=SECONDS,
)


def draws(text: str, cap: float = math.inf, number: int = DRAWS) -> list[float]:
    """Many draws from a distribution's text."""
    sample = Distribution.parse(text).sampler(Random(11), cap)
    return [sample() for _ in range(number)]


# ---------------------------------------------------------------------------------------------------- distributions


@pytest.mark.parametrize(
    ("text", "mean", "cv"),
    [
        ("0.02", 0.02, 0.0),
        ("0.03..0.08", 0.055, 0.05 / math.sqrt(12) / 0.055),
        ("0..1", 0.5, 1 / math.sqrt(3)),
        ("0.02~normal(cv=0.3)", 0.02, 0.3),
        ("0.02~lognormal(cv=0.5)", 0.02, 0.5),
        ("3~lognormal(cv=1)", 3.0, 1.0),
        ("0.02~gamma(cv=0.4)", 0.02, 0.4),
        ("3~gamma(cv=1.5)", 3.0, 1.5),
    ],
)
def test_draws_have_the_mean_and_spread_that_were_asked_for(text: str, mean: float, cv: float) -> None:
    """Over many draws, mean and coefficient of variation are those of the text, within two parts in a hundred."""
    sample = draws(text)
    assert statistics.fmean(sample) == pytest.approx(mean, rel=0.02)
    assert statistics.pstdev(sample) / mean == pytest.approx(cv, rel=0.03, abs=1e-12)
    described = Distribution.parse(text)
    assert described.mean == pytest.approx(mean)
    assert described.cv == pytest.approx(cv)


@pytest.mark.parametrize(
    ("text", "skew"),
    [("0.5..1", 0.0), ("1~normal(cv=0.2)", 0.0), ("1~gamma(cv=0.5)", 1.0), ("1~lognormal(cv=0.5)", 1.625)],
)
def test_shapes_differ(text: str, skew: float) -> None:
    """A shape is more than its mean and spread: its skewness is the textbook's (2 cv for gamma, cv^3 + 3 cv)."""
    sample = draws(text)
    mean, deviation = statistics.fmean(sample), statistics.pstdev(sample)
    assert statistics.fmean(((x - mean) / deviation) ** 3 for x in sample) == pytest.approx(skew, abs=0.15)


@settings(deadline=None)
@given(DISTRIBUTIONS, st.one_of(st.just(math.inf), SECONDS), st.integers(0, 2**32))
@example(Distribution(5e-324, "gamma", 0.5), math.inf, 0)
def test_draws_are_never_negative_nor_above_the_cap(described: Distribution, cap: float, seed: int) -> None:
    """Whatever the distribution, a draw is a finite number of seconds from 0 to the cap."""
    sample = described.sampler(Random(seed), cap)
    for value in (sample() for _ in range(50)):
        assert 0 <= value <= cap
        assert math.isfinite(value)
        if described.range is not None and cap == math.inf:
            assert described.range[0] <= value <= described.range[1]


@settings(deadline=None, max_examples=300)
@given(DISTRIBUTIONS)
def test_a_distribution_is_its_text(described: Distribution) -> None:
    """A distribution written as text and read again is the same, exactly."""
    assert Distribution.parse(str(described)) == described


def test_what_does_not_vary_is_constant() -> None:
    """There is one form of a constant, however it was written."""
    for text in ("0.5..0.5", "0.5~gamma(cv=0)", "0.5"):
        assert Distribution.parse(text) == Distribution(0.5)
        assert Distribution.parse(text).constant
    assert Distribution(0.0, "gamma", 0.4).constant
    assert not Distribution.parse("0.5~gamma(cv=0.1)").constant


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("abc", "pace: itl: expected a number of seconds"),
        ("-1", "pace: itl: expected a number of seconds from 0 to 1e\\+06, got '-1'"),
        ("nan", "pace: itl: expected a number of seconds"),
        ("inf", "pace: itl: expected a number of seconds"),
        ("1e7", "pace: itl: expected a number of seconds from 0 to 1e\\+06, got '1e7'"),
        ("", "pace: itl: expected 0.02, 0.03..0.08 or"),
        ("2..1", "pace: itl: the range 2..1 ends before it begins"),
        ("1..", "pace: itl: expected a number of seconds"),
        ("1..x", "pace: itl: expected a number of seconds.*got 'x'"),
        ("1~gama(cv=1)", "pace: itl: unknown distribution 'gama'; did you mean 'gamma'"),
        ("1~uniform(cv=1)", "pace: itl: write a constant as 0.02 and a uniform one as its range"),
        ("1~gamma(cv=x)", "pace: itl: cv: expected a number from 0 to 10, got 'x'"),
        ("1~gamma(cv=11)", "pace: itl: cv: expected a number from 0 to 10, got '11'"),
        ("1~gamma", "pace: itl: expected 0.02, 0.03..0.08 or"),
        ("1~gamma(0.4)", "pace: itl: expected 0.02, 0.03..0.08 or"),
    ],
)
def test_a_wrong_duration_names_the_part(value: str, message: str) -> None:
    """The error says which setting is wrong, what came, and what may come."""
    with pytest.raises(SettingError, match=f"^{message}"):
        Pacing.parse(f"itl={value}")


@pytest.mark.parametrize("value", [True, None, [1], object()])
def test_a_duration_is_a_number_or_a_text(value: object) -> None:
    """Tables may hold numbers and texts; anything else is refused, with the setting's name."""
    with pytest.raises(SettingError, match=r"^pace: ttft: expected seconds or a distribution"):
        Pacing.parse({"ttft": value})


@pytest.mark.parametrize(
    "made",
    [
        lambda: Distribution(-1.0),
        lambda: Distribution(math.nan),
        lambda: Distribution(1.0, "gamma", 11.0),
        lambda: Distribution(1.0, "gamma", -1.0),
        lambda: Distribution(1.0, "triangle"),
        lambda: Distribution(1.0, "uniform", 0.1),
        lambda: Distribution(1.0, "gamma", 0.1, (0.0, 2.0)),
        lambda: Distribution.between(2.0, 1.0),
    ],
)
def test_an_impossible_distribution_cannot_be_made(made: Any) -> None:
    """What could draw a negative or an infinite duration is refused where it is made."""
    with pytest.raises(SettingError):
        made()


# ---------------------------------------------------------------------------------------------------- pacing


@settings(deadline=None, max_examples=300)
@given(PACINGS)
def test_a_pacing_is_its_text(pace: Pacing) -> None:
    """A pacing written as text and read again is the same, exactly."""
    assert Pacing.parse(str(pace)) == pace
    assert Pacing.parse(pace) is pace


def test_text_and_table_say_the_same() -> None:
    """One form in the command line and in headers, another in TOML and JSON; a table's order does not matter."""
    assert Pacing.parse("ttft=0.2,itl=0.02~gamma(cv=0.4),prefill=0.001,cap=3,head=0") == Pacing.parse(
        {"ttft": 0.2, "itl": "0.02~gamma(cv=0.4)", "prefill": 0.001, "cap": 3, "head": 0}
    )
    table = {"itl": 0.05, "profile": "official"}
    assert Pacing.parse(table) == Pacing.parse("official,itl=0.05")
    assert Pacing.parse(" official , itl = 0.05 ") == Pacing.parse("official,itl=0.05")


def test_a_rate_is_a_gap() -> None:
    """`rate=50` is 50 tokens a second."""
    assert Pacing.parse("rate=50") == Pacing.parse("itl=0.02") == Pacing.parse({"rate": 50})


@pytest.mark.parametrize(
    ("name", "ttft", "itl"),
    [
        ("instant", (0.0, 0.0), 0.0),
        ("fast", (0.0, 0.05), 0.006),
        ("official", (0.03, 0.08), 0.015),
        ("relay", (0.1, 0.3), 0.025),
        ("reasoning", (1.0, 10.0), 0.008),
    ],
)
def test_profiles(name: str, ttft: tuple[float, float], itl: float) -> None:
    """Each profile's first token comes within what is known of its kind; its name stands for its settings."""
    pace = Pacing.parse(name)
    assert pace == PROFILES[name]
    firsts = [pace.timing(Random(seed), lambda: 0).ttft for seed in range(500)]
    assert ttft[0] <= min(firsts)
    assert max(firsts) <= ttft[1]
    assert pace.itl.mean == itl


def test_all_profiles_are_tested() -> None:
    """The profiles are these five."""
    assert list(PROFILES) == ["instant", "fast", "official", "relay", "reasoning"]


def test_a_prompt_delays_the_first_token() -> None:
    """Prefill is paid for every prompt token; the prompt is counted only if that matters."""
    assert Pacing.parse("ttft=0.5,prefill=0.001").timing(Random(0), lambda: 700).ttft == pytest.approx(1.2)
    Pacing.parse("ttft=0.5").timing(Random(0), lambda: pytest.fail("counted"))


def test_a_cap_bounds_every_draw() -> None:
    """No single draw is longer than the cap: neither the first token's nor a later one's."""
    capped = Pacing.parse("ttft=9,itl=0.02~lognormal(cv=3),cap=0.1").timing(Random(5), lambda: 0)
    assert capped.ttft == 0.1
    sample = [capped.itl() for _ in range(5_000)]
    assert max(sample) == 0.1
    assert max(draws("0.02~lognormal(cv=3)", number=5_000)) > 0.1


def test_the_head_may_leave_early() -> None:
    """When the head leaves is part of the pace; unsaid, it goes with the first event."""
    assert Pacing.parse("head=0.25").timing(Random(0), lambda: 0).head == 0.25
    assert Pacing.parse("ttft=1").timing(Random(0), lambda: 0).head is None


def test_the_same_generator_draws_the_same_pace() -> None:
    """A pace depends on nothing but its settings and its generator."""
    one, other = (Pacing.parse("relay").timing(Random(3), lambda: 0) for _ in range(2))
    assert (one.ttft, [one.itl() for _ in range(50)]) == (other.ttft, [other.itl() for _ in range(50)])


@pytest.mark.parametrize("pace", ["instant", "itl=0.02", "itl=0.02,cap=0.01", "relay", "itl=0.1..0.2,cap=0.15"])
def test_several_gaps_are_so_many_draws(pace: str) -> None:
    """Gaps that are drawn together are those that are drawn one by one, and about as long as the pace says."""
    one, other = (Pacing.parse(pace).timing(Random(3), lambda: 0) for _ in range(2))
    assert one.gaps(500) == (drawn := [other.itl() for _ in range(500)])
    assert sum(drawn) / 500 == pytest.approx(one.mean, rel=0.15)
    assert one.instant == (pace == "instant")


def test_constant_paces_need_no_generator() -> None:
    """A pace says whether it draws at all."""
    assert Pacing.parse("ttft=1,itl=2,prefill=3").constant
    assert not Pacing.parse("ttft=1..2").constant
    assert not Pacing.parse("itl=1~gamma(cv=1)").constant


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("offical", "pace: unknown profile 'offical'; did you mean 'official'?"),
        ("ttfd=1", "pace: unknown setting 'ttfd'; did you mean 'ttft'?"),
        ("ttft=1,,itl=1", "pace: an empty setting in 'ttft=1,,itl=1'"),
        ("", "pace: an empty setting"),
        ("ttft=1,official", "pace: the profile 'official' comes first"),
        ("rate=0", "pace: rate: expected more than 0 tokens a second"),
        ("rate=fast", "pace: rate: expected tokens a second"),
        ("prefill=x", "pace: prefill: expected a number of seconds"),
        ("cap=-1", "pace: cap: expected a number of seconds"),
        ("head=soon", "pace: head: expected a number of seconds"),
        ({"profile": []}, "pace: unknown profile"),
        (7, "pace: expected a text or a table, got 7"),
    ],
)
def test_a_wrong_pace_names_the_part(value: object, message: str) -> None:
    """The error says which part of the pace is wrong, and what was meant."""
    with pytest.raises(SettingError) as raised:
        Pacing.parse(value)
    assert str(raised.value).startswith(message)


def test_a_pacing_made_in_python_is_checked_too() -> None:
    """Numbers given in Python are held to the same limits as texts."""
    with pytest.raises(SettingError, match=r"^pace: cap"):
        Pacing(cap=-1.0)
    with pytest.raises(SettingError, match=r"^pace: prefill"):
        Pacing(prefill=math.nan)


# ---------------------------------------------------------------------------------------------------- chunking


@settings(deadline=None)
@given(CHUNKINGS)
def test_a_chunking_is_its_text(chunking: Chunking) -> None:
    """A chunking written as text and read again is the same, exactly."""
    assert Chunking.parse(str(chunking)) == chunking
    assert Chunking.parse(chunking) is chunking


def test_ratios_are_written_in_three_ways() -> None:
    """A ratio is a whole number, one part of a whole, or a decimal that is one of these."""
    for text in ("1/4", "0.25", "2/8"):
        assert Chunking.parse(f"payloads_per_chunk={text}").payloads_per_chunk == Fraction(1, 4)
    assert Chunking.parse({"payloads_per_chunk": 0.5, "chunks_per_write": 2}) == Chunking(
        payloads_per_chunk=Fraction(1, 2), chunks_per_write=Fraction(2)
    )
    assert Chunking.parse({"join": False}) == Chunking.parse("join=false") == Chunking.parse("join=False")


@settings(deadline=None)
@given(st.one_of(st.integers(-5, 2_000_000), st.fractions(), st.floats(), st.text(max_size=6)))
def test_no_other_ratio_is_taken(value: object) -> None:
    """What is neither a whole number nor one part of a whole is refused, and so is what is beyond a million."""
    try:
        ratio = Chunking.parse({"payloads_per_chunk": value}).payloads_per_chunk
    except SettingError as error:
        assert str(error).startswith("chunking: payloads_per_chunk: ")  # noqa: PT017  it may also be accepted
    else:
        assert 1 in (ratio.numerator, ratio.denominator)
        assert 0 < ratio <= 1_000_000
        assume(not isinstance(value, str))
        assert ratio == Fraction(str(value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tokens_per_payload=1/2", "chunking: tokens_per_payload: expected a whole number, got 1/2"),
        ("tokens_per_payload=0", "chunking: tokens_per_payload: expected a whole number or one part of a whole"),
        ("payloads_per_chunk=2/3", "chunking: payloads_per_chunk: expected a whole number or one part of a whole"),
        ("chunks_per_write=1e99999999", "chunking: chunks_per_write: expected a whole number or one part of a whole"),
        ("join=perhaps", "chunking: join: expected true or false, got 'perhaps'"),
        ("apart=x", "chunking: apart: expected a number of seconds"),
        ("payload_per_chunk=1", "chunking: unknown setting 'payload_per_chunk'; did you mean 'payloads_per_chunk'?"),
        ("word", "chunking: unknown setting 'word'"),
    ],
)
def test_a_wrong_chunking_names_the_part(value: str, message: str) -> None:
    """The error says which part of the chunking is wrong."""
    with pytest.raises(SettingError) as raised:
        Chunking.parse(value)
    assert str(raised.value).startswith(message)


def test_a_chunking_made_in_python_is_checked_too() -> None:
    """Numbers given in Python are held to the same limits as texts."""
    for made in ({"tokens_per_payload": 0}, {"payloads_per_chunk": Fraction(2, 3)}, {"apart": -1.0}):
        with pytest.raises(SettingError):
            Chunking(**made)

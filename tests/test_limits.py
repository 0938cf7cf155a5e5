"""Rate limits: the buckets in virtual time, and the server that obeys them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockprovider import MockProvider
from mockprovider.cli import main
from mockprovider.errors import SettingError
from mockprovider.limits import Limiter, Limits, request_tokens
from mockprovider.quota import Allowance, Counter, go_duration, http_date, limit_headers
from tests.asking import ask
from tests.serving import serve

# ------------------------------------------------------------------------------------------------ the buckets


def requests_left(limiter: Limiter, now: float) -> tuple[bool, int, float]:
    """Whether a request passes, how many are left then, and when all are back."""
    admission = limiter.admit(now, 1)
    counter = admission.allowance.requests
    assert counter is not None
    return admission.passed, counter.remaining, counter.reset


def test_requests_count_down_and_come_back() -> None:
    """Three a minute: three pass at once, the fourth when a third of the minute has gone by."""
    limiter = Limiter(Limits(rpm=3), 100.0)
    assert [requests_left(limiter, 100.0) for _ in range(3)] == [(True, 2, 20.0), (True, 1, 40.0), (True, 0, 60.0)]
    refused = limiter.admit(105.0, 1)
    assert (refused.passed, refused.lacking) == (False, "requests")
    assert refused.wait == pytest.approx(15.0)
    assert (refused.requested, refused.used) == (1, 3)
    assert not limiter.admit(119.9, 1).passed
    assert limiter.admit(120.0, 1).passed


def test_a_refused_request_takes_nothing() -> None:
    """However often it is asked in vain, the request passes when the time it was told is over."""
    limiter = Limiter(Limits(rpm=1, tpm=600), 0.0)
    assert limiter.admit(0.0, 10).passed
    waits = [limiter.admit(now / 10, 10).wait for now in range(1, 500)]
    assert waits == pytest.approx([60 - now / 10 for now in range(1, 500)])
    passed = limiter.admit(60.0, 10)
    assert passed.passed
    assert passed.allowance.tokens is not None
    assert (passed.allowance.tokens.remaining, round(passed.allowance.tokens.reset, 6)) == (590, 1.0)


def test_tokens_are_a_limit_of_their_own() -> None:
    """Requests may be left while tokens are not; the wait is for what is lacking, and the longer of two."""
    limiter = Limiter(Limits(rpm=60, tpm=600), 0.0)
    assert limiter.admit(0.0, 500).passed
    refused = limiter.admit(0.0, 200)
    assert (refused.lacking, refused.wait, refused.requested, refused.used) == ("tokens", 10.0, 200, 500)
    assert refused.message == (
        "Rate limit reached on tokens per min (TPM): Limit 600, Used 500, Requested 200. Please try again in 10s."
    )
    both = Limiter(Limits(rpm=60, tpm=600), 0.0)
    for _ in range(60):
        both.admit(0.0, 10)
    assert both.admit(0.0, 5).lacking == "requests"
    assert both.admit(0.0, 30).lacking == "tokens"


def test_what_never_fits_is_told_so() -> None:
    """A request larger than the whole bucket has no wait, and no header says one."""
    refused = Limiter(Limits(tpm=100), 0.0).admit(0.0, 101)
    assert (refused.passed, refused.wait, refused.retry_headers) == (False, None, ())
    assert "Requested 101. It can never pass" in refused.message


@given(
    st.integers(1, 500),
    st.integers(1, 5000),
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 2000)), max_size=60),
)
def test_headers_tell_the_truth(rpm: int, tpm: int, asked: list[tuple[float, int]]) -> None:
    """In any order of requests: nothing passes beyond the rate, and after the wait that was told it does pass."""
    limiter = Limiter(Limits(rpm, tpm), 0.0)
    now, passed, spent = 0.0, 0, 0
    for pause, tokens in asked:
        now += pause
        admission = limiter.admit(now, tokens)
        if admission.passed:
            passed, spent = passed + 1, spent + tokens
        elif admission.wait is not None and pause > 15:
            (milliseconds, _) = admission.retry_headers
            now += int(milliseconds[1]) / 1000
            assert limiter.admit(now, tokens).passed
            passed, spent = passed + 1, spent + tokens
        counters = admission.allowance
        assert counters.requests is not None
        assert counters.tokens is not None
        for counter in (counters.requests, counters.tokens):
            assert 0 <= counter.remaining <= counter.limit
            assert 0 <= counter.reset <= 60.001
        assert passed <= rpm * (1 + now / 60) + 0.01
        assert spent <= tpm * (1 + now / 60) + 0.01


def test_a_clock_that_goes_back_changes_nothing() -> None:
    """Time that runs backwards neither fills nor empties a bucket."""
    limiter = Limiter(Limits(rpm=2), 100.0)
    assert [limiter.admit(now, 1).passed for now in (100.0, 50.0, 100.0, 129.0, 130.0)] == [
        True,
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("rpm=3", Limits(3, None)),
        (" tpm=1000 , rpm = 3", Limits(3, 1000)),
        ("tpm=1", Limits(None, 1)),
    ],
)
def test_limits_have_a_text(text: str, limits: Limits) -> None:
    """`rpm=3,tpm=1000`, either of them, in any order; and back."""
    assert Limits.parse(text) == limits
    assert Limits.parse(str(limits)) == limits
    assert Limits.parse(limits) is limits


@pytest.mark.parametrize(
    ("given_text", "why"),
    [
        ("", "unknown limit ''"),
        ("rpm", "rpm: expected a whole number"),
        ("rpm=0", "rpm: expected a whole number from 1"),
        ("rpm=-1", "rpm: expected a whole number"),
        ("rpm=1.5", "rpm: expected a whole number"),
        ("rpm=3,rpm=4", "rpm is set twice"),
        ("rpn=3", "unknown limit 'rpn'; did you mean 'rpm'?"),
        ("tpm=1000000001", "tpm: expected a whole number from 1 to 1000000000"),
        (7, "expected a text such as rpm=3,tpm=1000, got 7"),
    ],
)
def test_impossible_limits_are_refused(given_text: object, why: str) -> None:
    """The message names the limit and what is allowed."""
    with pytest.raises(SettingError, match=re.escape(why)):
        Limits.parse(given_text)
    with pytest.raises(SettingError, match=r"expected rpm=N, tpm=N or both"):
        Limits()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.006, "6ms"), (0.5, "500ms"), (0.0001, "1ms"), (1, "1s"), (1.5, "1.5s"), (8.64, "8.64s"),
        (60, "1m0s"), (86.4, "1m26.4s"), (179.56, "2m59.56s"), (360, "6m0s"), (3600, "1h0m0s"), (7384.2, "2h3m4.2s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    """As the real headers have them, rounded up to the millisecond."""
    assert go_duration(seconds) == text


def test_each_provider_has_its_headers() -> None:
    """The same allowance in the words of four providers; what is not limited is not named."""
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp()
    allowance = Allowance(Counter(60, 59, 1.0), Counter(1000, 0, 90.5))
    assert limit_headers("openai", allowance, now) == (
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1s"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "1m30.5s"),
    )
    assert limit_headers("azure", allowance, now)[2::3] == (
        ("x-ratelimit-reset-requests", "1"),
        ("x-ratelimit-reset-tokens", "91"),
    )
    assert limit_headers("anthropic", Allowance(tokens=Counter(1000, 0, 90.5)), now) == (
        ("anthropic-ratelimit-tokens-limit", "1000"),
        ("anthropic-ratelimit-tokens-remaining", "0"),
        ("anthropic-ratelimit-tokens-reset", "2026-01-01T12:01:31Z"),
    )
    assert limit_headers("openrouter", allowance, now) == (
        ("X-RateLimit-Limit", "60"),
        ("X-RateLimit-Remaining", "59"),
        ("X-RateLimit-Reset", str(int((now + 1) * 1000))),
    )
    assert http_date(now + 0.5) == "Thu, 01 Jan 2026 12:00:01 GMT"


def test_what_a_request_counts_for() -> None:
    """The greater of max_tokens and a quarter of the characters, at least one."""
    assert [request_tokens(0, None), request_tokens(400, None), request_tokens(400, 1000)] == [1, 101, 1000]


# ------------------------------------------------------------------------------------------------ the server


@pytest.mark.mockprovider(limits="rpm=2,tpm=1000")
def test_a_server_obeys_its_limits(mock_provider: MockProvider) -> None:
    """Replies, whole and streamed, count down; then there is OpenAI's 429; other endpoints are not counted."""
    first = ask(mock_provider.url, "x" * 396)
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("2", "1")
    assert first.headers["x-ratelimit-remaining-tokens"] == "900"
    assert first.headers.get_all("x-ratelimit-limit-tokens") == ["1000"]
    assert first.headers["x-ratelimit-reset-requests"] == "30s"
    assert httpx.get(f"{mock_provider.openai_url}/models", trust_env=False).status_code == 200
    second = ask(mock_provider.url, stream=True)
    assert (second.status, second.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    third = ask(mock_provider.url)
    assert (third.status, third.json["error"]["type"]) == (429, "requests")
    assert third.json["error"]["code"] == "rate_limit_exceeded"
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert 25 < int(third.headers["retry-after"]) <= 30
    mock_provider.reset()
    assert ask(mock_provider.url).headers["x-ratelimit-remaining-requests"] == "1"


@pytest.mark.mockprovider(limits="rpm=120")
def test_openais_sdk_waits_as_long_as_it_is_told(mock_provider: MockProvider) -> None:
    """Beyond the limit the SDK gets a 429, waits and is served: the wait that it is told is enough."""
    with openai.OpenAI(base_url=mock_provider.openai_url, api_key="x", max_retries=1) as client:
        for _ in range(2000):
            answer = client.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], max_tokens=1
            )
            if answer.retries_taken:
                break
    statuses = [exchange.status for exchange in mock_provider.exchanges]
    assert statuses.count(429) == 1
    assert statuses[-2:] == [429, 200]


def test_namespaces_have_buckets_of_their_own() -> None:
    """What one namespace uses up, another still has; a closed and reopened one begins anew."""
    with MockProvider(limits="rpm=1") as provider:
        for id in ("a", "b"):
            httpx.post(f"{provider.url}/_mock/namespaces", json={"id": id}, trust_env=False).raise_for_status()
        assert [ask(f"{provider.url}/~{id}").status for id in ("a", "a", "b", "b")] == [200, 429, 200, 429]
        assert ask(provider.url).status == 200


def test_a_url_and_the_server_may_have_the_same_limits() -> None:
    """Each counts for itself: a request takes one of either, not two of one."""
    with MockProvider(limits="rpm=2") as provider:
        statuses = [ask(provider.url, headers={"x-mockprovider-faults": "limit(rpm=2)"}).status for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_without_limits_the_headers_are_the_usual_ones(mock_provider: MockProvider) -> None:
    """Nothing counts down where nothing is limited."""
    said = [ask(mock_provider.url).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert said == ["9999"] * 3


def test_a_refused_request_is_no_attempt_and_uses_up_no_answer() -> None:
    """Limits come first: a rule's answer and a fault's attempt are left for the request that passes."""
    with MockProvider(limits="rpm=1") as provider:
        provider.on().reply("first").then_reply("second")
        assert ask(provider.url).text == "first"
        assert ask(provider.url).status == 429
        (rule,) = httpx.get(f"{provider.url}/_mock/rules", trust_env=False).json()
        assert rule["used"] == 1


def test_a_scenario_file_may_set_limits(tmp_path: Path) -> None:
    """`limits = "rpm=1"`; an impossible one is refused with the file's name."""
    file = tmp_path / "scenario.toml"
    file.write_text('limits = "rpm=1"\n')
    with MockProvider(scenario=file) as provider:
        assert [ask(provider.url).status for _ in range(2)] == [200, 429]
    with MockProvider(scenario=file, limits="rpm=2") as provider:
        assert [ask(provider.url).status for _ in range(2)] == [200, 200]
    file.write_text('limits = "rpm=x"\n')
    with pytest.raises(SettingError, match=r"scenario\.toml:1:1: limits: rpm: expected a whole number"):
        MockProvider(scenario=file)


def test_workers_share_no_limits(capsys: pytest.CaptureFixture[str]) -> None:
    """Limits and several workers are refused together: each worker would count for itself."""
    assert main(["serve", "--port", "0", "--workers", "2", "--rpm", "3"]) == 2
    assert "workers share no rate limits (rpm=3)" in capsys.readouterr().err


def test_the_command_sets_limits() -> None:
    """`mockprovider serve --rpm 1 --tpm 50`."""
    with serve("--rpm", "1", "--tpm", "50") as server:
        assert ask(server.url, max_tokens=51).json["error"]["type"] == "tokens"
        assert [ask(server.url).status for _ in range(2)] == [200, 429]

"""Replies that come again: their bytes are kept, and nobody can tell."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider import MockProvider, Reasoning, Refusal, ToolCall
from mockprovider.memo import Kept, Memo
from tests.asking import CHAT, prompt, request

PARTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.builds(Reasoning, st.text(max_size=20)),
        st.builds(Refusal, st.text(max_size=20)),
        st.builds(ToolCall, st.just("look_up"), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)),
    ),
    min_size=1,
    max_size=3,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans(),
        "n": st.integers(1, 3),
        "max_tokens": st.integers(1, 9),
        "logprobs": st.booleans(),
        "stop": st.text(min_size=1, max_size=2),
    },
)


def bodies(provider: MockProvider, fields: dict[str, Any], rounds: int) -> list[tuple[int, bytes]]:
    """Status and body of the same request, so many times."""
    answers = [request("POST", provider.url + CHAT, prompt(**fields), {}) for _ in range(rounds)]
    return [(answer.status, answer.body) for answer in answers]


class Forgetful(Memo):
    """Keeps nothing, so that every reply goes through the levels."""

    def kept(self, *_: Any) -> None:
        """Nothing is known."""


@settings(max_examples=60, deadline=None)
@given(parts=PARTS, fields=FIELDS, seed=st.integers(0, 9))
def test_a_kept_reply_is_what_would_have_been_rendered(parts: list[Any], fields: dict[str, Any], seed: int) -> None:
    """With the memo and without it, the same requests in the same order get the same bytes."""
    with MockProvider(seed=seed) as kept, MockProvider(seed=seed) as rendered:
        rendered._in_loop.handler._memo = Forgetful()
        for provider in (kept, rendered):
            provider.on().reply(*parts)
        assert bodies(kept, fields, 3) == bodies(rendered, fields, 3)


@pytest.mark.parametrize("stream", [True, False])
def test_a_short_reply_is_kept(stream: bool) -> None:
    """A reply of a hundred tokens is known after its first time, whole and as a stream."""
    with MockProvider() as provider:
        provider.on().reply("word " * 100)
        bodies(provider, {"stream": stream}, 1)
        assert [type(kept) for kept in provider._in_loop.handler._memo._kept.values()] == [Kept]


def test_a_repetition_differs_in_its_ids_alone(mock_provider: MockProvider) -> None:
    """A request that comes again gets the same text with a new completion id and a new request id."""
    mock_provider.on().reply("It is sunny.")
    answers = [request("POST", mock_provider.url + CHAT, prompt(stream=True), {}) for _ in range(3)]
    ids = [set(re.findall(rb'"id":"(chatcmpl-\w+)"', answer.body)) for answer in answers]
    assert all(len(each) == 1 for each in ids)
    assert len(set.union(*ids)) == 3
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    same = {re.sub(rb'chatcmpl-\w+|"created":\d+', b"", answer.body) for answer in answers}
    assert len(same) == 1


def test_a_rule_that_changes_is_obeyed(mock_provider: MockProvider) -> None:
    """The second answer of a sequence is given though the request is the same as for the first."""
    mock_provider.on().reply("first").then_reply("second")
    said = [json.loads(body)["choices"][0]["message"]["content"] for _, body in bodies(mock_provider, {}, 3)]
    assert said == ["first", "second", "second"]


def test_a_function_is_asked_each_time(mock_provider: MockProvider) -> None:
    """An answer function runs for every request, however alike they are."""
    count = iter(range(9))
    mock_provider.on().reply(lambda exchange: f"number {next(count)}")
    said = [json.loads(body)["choices"][0]["message"]["content"] for _, body in bodies(mock_provider, {}, 3)]
    assert said == ["number 0", "number 1", "number 2"]

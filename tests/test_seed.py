"""Randomness by name, and what follows from it: equal seeds and requests are answered with equal bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.provider import MockProvider
from mockprovider.reply import Reasoning, Reply, ToolCall
from mockprovider.seed import Seed
from tests.chatting import ask, body, chunks, content, request

PARTS = st.lists(st.one_of(st.text(max_size=4), st.binary(max_size=4), st.integers(-9, 99)), max_size=4)
TOOL = {
    "type": "function",
    "function": {
        "name": "book",
        "parameters": {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]},
    },
}

# ---------------------------------------------------------------------------------------------------- streams


@settings(deadline=None, max_examples=300)
@given(st.tuples(st.integers(0, 1), st.sampled_from("ab"), PARTS), st.tuples(st.integers(0, 1), st.just("a"), PARTS))
def test_no_two_names_share_a_stream(one: tuple[int, str, list[Any]], other: tuple[int, str, list[Any]]) -> None:
    """Streams are the same exactly where seed, purpose and parts are, type by type."""
    digests = [Seed(seed).digest(purpose, *parts) for seed, purpose, parts in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


def test_parts_do_not_run_together() -> None:
    """Where one part ends and the next begins matters, whatever they hold."""
    lists: list[tuple[object, ...]] = [("ab",), ("a", "b"), ("a\0b",), ("a", "", "b"), (b"ab",), ("1",), (1,), (True,)]
    assert len({Seed(0).digest("x", *parts) for parts in lists}) == len(lists)


def test_any_text_is_a_name() -> None:
    """A text that has no UTF-8 form, such as a model's name with half a surrogate pair, names a stream too."""
    assert Seed(0).hex(8, "model", "\ud800") != Seed(0).hex(8, "model", "\ud801")


def test_a_stream_is_the_same_everywhere() -> None:
    """Pinned: what a seed draws does not change from machine to machine, or from version to version by accident."""
    seed = Seed(42)
    assert seed.hex(16, "ids", b"\x01", 2, "three") == "e2d1747ad1649ce9"
    assert seed.name(16, "ids", b"\x01", 2, "three") == "oX28XmgvyXjGtvpU"
    assert [seed.stream("text", b"\x01").randrange(1000) for _ in range(3)] == [102] * 3
    assert repr(seed) == "Seed(42)"


def test_identifiers_have_the_length_that_was_asked_for() -> None:
    """Names of up to 64 letters and digits, or 128 hexadecimal ones; longer ones are refused, not cut."""
    for length in (0, 1, 29, 64):
        name = Seed(1).name(length, "x")
        assert len(name) == length
        assert name == "" or (name.isalnum() and name.isascii())
    assert len(Seed(1).hex(128, "x")) == 128
    with pytest.raises(ValueError, match="at most 64"):
        Seed(1).name(65, "x")
    with pytest.raises(ValueError, match="at most 128"):
        Seed(1).hex(129, "x")


# ---------------------------------------------------------------------------------------------------- bodies


@contextmanager
def posting(**settings: Any) -> Iterator[Any]:
    """A provider, as a function from a request's fields to the bytes of the response's body."""
    with MockProvider(**settings) as provider, httpx.Client(base_url=provider.openai_url, trust_env=False) as client:

        def post(**fields: Any) -> bytes:
            response = client.post("/chat/completions", json=request(**fields))
            assert response.status_code == 200, response.text
            return response.content

        yield post


REQUESTS: list[dict[str, Any]] = [
    {},
    {"stream": True},
    {"stream": True},
    {"n": 3, "stream": True, "stream_options": {"include_usage": True}},
    {"tools": [TOOL], "tool_choice": "required"},
    {"tools": [TOOL], "tool_choice": "required", "stream": True},
    {"logprobs": True, "top_logprobs": 3, "max_tokens": 5},
    {"response_format": {"type": "json_object"}},
    {"model": "gpt-5", "stream": True},
]


def test_equal_seeds_answer_alike() -> None:
    """Equal seed, equal requests in the same order: equal bodies, streamed and whole, ids and times included."""

    def bodies(seed: int) -> list[bytes]:
        with posting(seed=seed) as post:
            return [post(**fields) for fields in REQUESTS]

    one = bodies(5)
    assert one == bodies(5)
    assert all(a != b for a, b in zip(one, bodies(6), strict=True))


def test_a_repeated_request_is_a_new_answer_with_the_same_text() -> None:
    """Asked again, a provider says the same under another id; unlike requests are unlike in text as well."""
    with posting(seed=5) as post:
        first, again = json.loads(post()), json.loads(post())
        assert first["id"] != again["id"]
        assert first["created"] < again["created"]
        assert first["choices"] == again["choices"]
        streamed = [chunks(post(stream=True)) for _ in range(2)]
        assert streamed[0][0]["id"] != streamed[1][0]["id"]
        assert content(streamed[0]) == content(streamed[1]) != first["choices"][0]["message"]["content"]


def test_a_repeated_tool_call_has_a_new_id() -> None:
    """A retried request gets the same call under another id, as the ids of an agent's loop must differ."""
    with posting(seed=5) as post:
        calls = [
            json.loads(post(tools=[TOOL], tool_choice="required"))["choices"][0]["message"]["tool_calls"][0]
            for _ in range(2)
        ]
    assert calls[0]["function"] == calls[1]["function"]
    assert calls[0]["id"] != calls[1]["id"]


def test_choices_differ() -> None:
    """Several choices of one request are several texts."""
    with posting(seed=5) as post:
        choices = json.loads(post(n=5))["choices"]
    assert len({choice["message"]["content"] for choice in choices}) == 5


def test_a_server_without_a_seed_is_of_its_time() -> None:
    """Without a seed, ids differ from run to run and `created` is the clock's."""
    with posting() as post, posting() as other:
        one, two = json.loads(post()), json.loads(other())
    assert one["id"] != two["id"]
    assert one["created"] > 1_750_000_000


@pytest.mark.parametrize(
    ("fields", "pinned"),
    [
        ({}, "5f547b0fa0f4df3c"),
        ({"stream": True}, "05a119613042829e"),
        ({"stream": True, "n": 2, "stream_options": {"include_usage": True}}, "60701fac8acbed24"),
        ({"model": "o3", "max_tokens": 3}, "6bc469da65a007a0"),
        ({"logprobs": True, "top_logprobs": 2, "stream": True}, "b82a6938364161c1"),
    ],
)
def test_the_bytes_of_a_scripted_reply_are_pinned(fields: dict[str, Any], pinned: str) -> None:
    """The bytes of a seed are an interface: a change of them is to be made knowingly, and said in the changelog."""
    said = Reply.of(Reasoning("Hm."), "Grüße, 世界 👩🏽‍🔬!\n", ToolCall("book", {"seats": 2}))
    assert sha256(body(ask(**fields), said)).hexdigest()[:16] == pinned


def test_the_bytes_of_generated_replies_are_pinned() -> None:
    """The same for replies that are made up, from the seed alone, on any machine."""
    with posting(seed=5) as post:
        digest = sha256(b"".join(post(**fields) for fields in REQUESTS)).hexdigest()[:16]
    assert digest == "7851a4285ef121e9"

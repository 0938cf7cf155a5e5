"""OpenAI's legacy completions, streamed and whole: what each request is answered with, and that its SDK reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai import BaseModel
from openai.types import Completion

from mockprovider.errors import RequestError, SettingError
from mockprovider.reply import Part, Reasoning, Refusal, Reply, ToolCall
from tests.chatting import events
from tests.responding import COMPLETIONS, ask, body, whole


def stream(*parts: str | Part | Reply, **fields: Any) -> list[dict[str, Any]]:
    """The documents of a streamed reply, which must end with `[DONE]`."""
    source = body(COMPLETIONS, ask(COMPLETIONS, stream=True, **fields), *parts)
    *found, last = [event.data for event in events(source)]
    assert last == "[DONE]"
    return [json.loads(one) for one in found]


def choices(found: list[dict[str, Any]], index: int = 0) -> list[dict[str, Any]]:
    """What the documents say of one choice."""
    return [choice for one in found for choice in one["choices"] if choice["index"] == index]


def text_of(found: list[dict[str, Any]], index: int = 0) -> str:
    """The text of one choice."""
    return "".join(choice["text"] for choice in choices(found, index))


def extras(model: Any) -> set[str]:
    """The keys of a document that the SDK's type does not have."""
    if isinstance(model, BaseModel):
        known = {key for name in type(model).model_fields for key in extras(getattr(model, name))}
        return known | set(model.model_extra or {})
    return {key for item in model for key in extras(item)} if isinstance(model, list) else set()


@pytest.mark.parametrize(
    "said", ["Grüße, 世界 👩🏽‍🔬!\n", "", Reply.of("So", finish="content_filter"), "One two three"]
)
@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"logprobs": 2}, {"max_tokens": 2}, {"prompt": ["a", "b"]}])
def test_the_sdk_types_accept_everything_strictly(said: Any, fields: dict[str, Any]) -> None:
    """OpenAI's type accepts every document, but for the null finish reason of a stream, and knows all that is in it."""
    assert extras(Completion.model_validate(whole(COMPLETIONS, said, **fields), strict=True)) == set()
    for document in stream(said, stream_options={"include_usage": True}, **fields):
        for choice in document["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        assert extras(Completion.model_validate(document, strict=True)) == set()


def test_a_text_is_streamed_as_openai_does() -> None:
    """A document a token and an empty one with the finish reason, all fields in the recorded order; `[DONE]`."""
    found = stream("One two.")
    assert [(c["text"], c["finish_reason"]) for c in choices(found)] == [
        ("One", None),
        (" two", None),
        (".", None),
        ("", "stop"),
    ]
    assert all(list(one) == ["id", "object", "created", "choices", "model"] for one in found)
    assert all(list(c) == ["text", "index", "logprobs", "finish_reason"] for c in choices(found))
    assert len({(one["id"], one["created"], one["model"]) for one in found}) == 1
    assert found[0]["model"] == "gpt-3.5-turbo-instruct:20230824-v2"


def test_a_completion_has_16_tokens_unless_more_are_asked_for() -> None:
    """Without `max_tokens` a completion ends after 16 tokens, and says so beside the last of them."""
    *_, last = choices(stream("word " * 40, max_tokens=None))
    assert (last["text"], last["finish_reason"]) == (" word", "length")
    document = whole(COMPLETIONS, "word " * 40, max_tokens=None)
    assert document["usage"]["completion_tokens"] == 16
    assert document["choices"][0]["finish_reason"] == "length"


def test_usage_comes_last_if_it_is_asked_for() -> None:
    """With include_usage every document has null usage but the last, which has no choices."""
    *others, last = stream("One two.", stream_options={"include_usage": True})
    assert all(one["usage"] is None for one in others)
    assert list(last)[3:] == ["model", "usage", "choices"]
    assert (last["choices"], last["usage"]) == (
        [],
        {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    )
    assert not any("usage" in one for one in stream("One two."))
    assert whole(COMPLETIONS, "One two.")["usage"] == last["usage"]


def test_each_prompt_has_its_choices() -> None:
    """`n` choices for each of several prompts, numbered through; echo begins each with its own prompt."""
    fields = {"prompt": ["Ah", "Oh"], "n": 2, "echo": True}
    found = stream(" yes", **fields)
    assert [text_of(found, index) for index in range(4)] == ["Ah yes", "Ah yes", "Oh yes", "Oh yes"]
    document = whole(COMPLETIONS, " yes", **fields)
    assert [choice["text"] for choice in document["choices"]] == ["Ah yes", "Ah yes", "Oh yes", "Oh yes"]
    assert document["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}


def test_prompts_may_be_tokens() -> None:
    """A prompt of tokens counts them, and is echoed by their numbers; there may be several such."""
    document = whole(COMPLETIONS, " yes", prompt=[15, 3], echo=True)
    assert document["choices"][0]["text"] == "<|15|><|3|> yes"
    assert document["usage"]["prompt_tokens"] == 2
    assert len(whole(COMPLETIONS, "x", prompt=[[1], [2, 3]])["choices"]) == 2
    assert whole(COMPLETIONS, "x", prompt=None)["choices"][0]["text"] == "x"


def test_stop_sequences_and_suffix() -> None:
    """A stop sequence ends the text before itself; a suffix is accepted and counted with the prompt."""
    document = whole(COMPLETIONS, "One two three", stop=[" three", "x"], suffix=" end.")
    assert document["choices"][0]["text"] == "One two"
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["usage"]["prompt_tokens"] == 5


def test_log_probabilities_have_their_legacy_form() -> None:
    """Parallel lists with offsets that count the prompt; an echo's first token follows from nothing."""
    found = stream("One two.", logprobs=2, prompt="Say")
    listed = [choice["logprobs"] for choice in choices(found) if choice["logprobs"]]
    assert [one["tokens"] for one in listed] == [["One"], [" two"], ["."]]
    assert [one["text_offset"] for one in listed] == [[3], [6], [10]]
    assert all(len(top) in (2, 3) for one in listed for top in one["top_logprobs"])
    told = whole(COMPLETIONS, "One two.", logprobs=2, prompt="Say")["choices"][0]["logprobs"]
    assert told == {key: [value for one in listed for value in one[key]] for key in told}
    echoed = whole(COMPLETIONS, "One", logprobs=0, prompt="Say", echo=True)["choices"][0]["logprobs"]
    assert (echoed["tokens"], echoed["text_offset"]) == (["Say", "One"], [0, 3])
    assert echoed["token_logprobs"][0] is None
    assert echoed["top_logprobs"] is None


@pytest.mark.parametrize("part", [Reasoning("Hm"), Refusal("No"), ToolCall("look", {})])
def test_what_is_no_text_is_refused(part: Part) -> None:
    """A reply with thinking, a refusal or a tool call is refused with the reason."""
    with pytest.raises(SettingError, match=f"/v1/completions says text and nothing else: a {type(part).__name__}"):
        COMPLETIONS.check_reply(Reply.of("So ", part), stream=True)


@example("One two three four", 4, [], 1, 1)
@settings(max_examples=80, deadline=None)
@given(
    st.text(max_size=60),
    st.integers(0, 20),
    st.lists(st.text("abc é", min_size=1, max_size=2), max_size=2),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_the_short_way_gives_the_same_bytes(said: str, limit: int, stop: list[str], n: int, tokens: int) -> None:
    """Text deltas that are composed are what the encoders make of them, and a stream says what a whole reply says."""
    fields = {"max_tokens": limit, "stop": stop, "n": n}
    asked = ask(COMPLETIONS, stream=True, **fields)
    source = body(COMPLETIONS, asked, said, tokens=tokens)
    assert source == body(COMPLETIONS, asked, said, tokens=tokens, composed=False)
    found = [json.loads(event.data) for event in events(source)[:-1]]
    for choice in whole(COMPLETIONS, said, **fields)["choices"]:
        mine = choices(found, choice["index"])
        told = "".join(one["text"] for one in mine)
        assert told.encode("utf-16", "surrogatepass") == choice["text"].encode("utf-16", "surrogatepass")
        assert [one["finish_reason"] for one in mine if one["finish_reason"]] == [choice["finish_reason"]]


@pytest.mark.parametrize(
    ("fields", "status", "param", "code", "message"),
    [
        ({"model": None}, 400, None, None, "you must provide a model parameter"),
        ({"model": "gpt-4o"}, 404, "model", None, "This is a chat model and not supported"),
        ({"prompt": {}}, 400, None, None, "'$.prompt' is invalid. Please check the API reference"),
        ({"prompt": [["x"]]}, 400, None, None, "'$.prompt' is invalid."),
        ({"prompt": []}, 400, None, None, "'$.prompt' is invalid."),
        ({"n": 0}, 400, "n", "integer_below_min_value", "Expected a value >= 1"),
        ({"logprobs": 6}, 400, "logprobs", "integer_above_max_value", "Expected a value <= 5"),
        ({"logprobs": True}, 400, "logprobs", "invalid_type", "expected an integer, but got a boolean"),
        ({"n": 3, "best_of": 2}, 400, "best_of", None, "more choices than it will generate"),
        ({"stream": True, "best_of": 2}, 400, "stream", None, "'best_of'"),
        ({"stream_options": {}}, 400, "stream_options", None, "only allowed when 'stream' is enabled"),
        ({"stop": ["a"] * 5}, 400, "stop", "array_above_max_length", "maximum length 4"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_in_openais_words(
    fields: dict[str, Any], status: int, param: str | None, code: str | None, message: str
) -> None:
    """What OpenAI would refuse is refused with its status, parameter, code and wording."""
    with pytest.raises(RequestError) as caught:
        ask(COMPLETIONS, **fields)
    error = caught.value
    assert (error.status, error.param, error.code) == (status, param, code)
    assert message in error.message

"""The chat dialect, streamed and whole: what each request is answered with, and that OpenAI's SDK reads it strictly."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import BaseModel
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from mockprovider.jsontext import characters, dumps, escape, escape_all, pretty
from mockprovider.provider import MockProvider
from mockprovider.reply import Part, Reasoning, Refusal, Reply, ToolCall
from mockprovider.timeline import NOWHERE, Hold
from tests.chatting import DIALECT, ask, body, chunks, content, events, request, voice, whole

CALLS = (ToolCall("look", {"up": "é"}), ToolCall("book", '{"seats": 2}', id="call_mine"))
REPLIES: dict[str, Reply] = {
    "text": Reply.of("Grüße, 世界 👩🏽‍🔬!\n"),
    "empty": Reply.of(""),
    "reasoning": Reply.of(Reasoning("Let me see."), "Three."),
    "refusal": Reply.of(Refusal("I can't help with that.")),
    "call": Reply.of(CALLS[0]),
    "calls": Reply.of(*CALLS),
    "text and calls": Reply.of("One moment. ", *CALLS),
    "length": Reply.of("Cut o", finish="length"),
    "filtered": Reply.of(finish="content_filter"),
}
FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reasoning model": {"model": "gpt-5"},
    "usage": {"stream_options": {"include_usage": True}},
    "no padding": {"stream_options": {"include_obfuscation": False}},
    "log probabilities": {"logprobs": True, "top_logprobs": 4},
    "choices": {"n": 3},
    "limit": {"max_completion_tokens": 2},
    "tier": {"service_tier": "flex"},
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {
                "type": "object",
                "properties": {"up": {"type": "string", "minLength": 3}, "far": {"enum": ["near", "far"]}},
                "required": ["up", "far"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "ping"}},
]


def stream(*parts: str | Part | Reply, **fields: Any) -> list[dict[str, Any]]:
    """The documents of a streamed reply."""
    return chunks(body(ask(stream=True, **fields), *parts))


def message(*parts: str | Part | Reply, **fields: Any) -> dict[str, Any]:
    """The first choice's message of a whole reply."""
    said: dict[str, Any] = whole(ask(**fields), *parts)["choices"][0]["message"]
    return said


def deltas(documents: list[dict[str, Any]], choice: int = 0) -> list[dict[str, Any]]:
    """The deltas of one choice."""
    return [c["delta"] for document in documents for c in document["choices"] if c["index"] == choice]


# ---------------------------------------------------------------------------------------------------- the SDK's view


def extras(model: Any) -> set[str]:
    """The keys of a document that the SDK's types do not know."""
    if isinstance(model, BaseModel):
        known = {key for name in type(model).model_fields for key in extras(getattr(model, name))}
        return known | set(model.model_extra or {})
    return {key for item in model for key in extras(item)} if isinstance(model, list) else set()


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_the_sdk_knows_every_field(reply: Reply, fields: dict[str, Any]) -> None:
    """OpenAI's types accept every document strictly, and nothing is in it that they do not know but reasoning."""
    for document in stream(reply, **fields):
        assert extras(ChatCompletionChunk.model_validate(document, strict=True)) <= {"reasoning_content"}
    fields = {name: value for name, value in fields.items() if name != "stream_options"}
    document = whole(ask(**fields), reply)
    assert extras(ChatCompletion.model_validate(document, strict=True)) <= {"reasoning_content"}


# ---------------------------------------------------------------------------------------------------- the stream


def test_a_text_is_streamed_as_openai_does() -> None:
    """A role chunk, a delta a token, a finish chunk; the same id, time and model throughout; `[DONE]`."""
    documents = stream("Hello there.")
    assert deltas(documents) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hello"},
        {"content": " there"},
        {"content": "."},
        {},
    ]
    assert [d["choices"][0]["finish_reason"] for d in documents] == [None, None, None, None, "stop"]
    for document in documents:
        assert list(document) == [
            "id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "obfuscation",
        ]  # fmt: skip
        assert list(document["choices"][0]) == ["index", "delta", "logprobs", "finish_reason"]
        assert re.fullmatch("chatcmpl-[0-9A-Za-z]{29}", document["id"])
        assert re.fullmatch("fp_[0-9a-f]{10}", document["system_fingerprint"])
    assert len({(d["id"], d["created"], d["model"], d["system_fingerprint"]) for d in documents}) == 1


def test_json_is_compact_and_raw() -> None:
    """Documents have no spaces and no escapes that JSON does not ask for; each is one `data:` line."""
    source = body(ask(stream=True), 'é漢👩\u2028\x7f "\\/\n\0')
    for event in events(source)[:-1]:
        assert event.data == json.dumps(json.loads(event.data), ensure_ascii=False, separators=(",", ":"))
    assert source.count(b"\n") == 2 * source.count(b"data: ")
    assert "漢".encode() in source


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini-2025-08-07", "o3", "o4-mini", "gpt-5.4"])
def test_reasoning_models_have_neither_logprobs_nor_fingerprint(model: str) -> None:
    """Reasoning models' choices have no key `logprobs`, and their fingerprint is null, streamed and whole."""
    for document in (*stream("a b", model=model), whole(ask(model=model), "a b")):
        assert document["system_fingerprint"] is None
        assert "logprobs" not in document["choices"][0]


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-3.5-turbo", "gpt-oss", "o1x", "llama"]
)
def test_other_models_have_both(model: str) -> None:
    """All other models' choices have null log probabilities, and a fingerprint of the model."""
    for document in (*stream("a b", model=model), whole(ask(model=model), "a b")):
        assert document["choices"][0]["logprobs"] is None
        assert document["system_fingerprint"].startswith("fp_")


def test_replies_name_the_dated_model() -> None:
    """A name that stands for a dated model is answered with that; any other is echoed."""
    assert {d["model"] for d in stream("a", model="gpt-4o")} == {"gpt-4o-2024-08-06"}
    assert whole(ask(model="gpt-5-mini"), "a")["model"] == "gpt-5-mini-2025-08-07"
    for name in ("gpt-4o-2024-05-13", "deepseek-chat", "ft:gpt-4o:me::1"):
        assert whole(ask(model=name), "a")["model"] == name


def test_usage_comes_last_and_is_null_before() -> None:
    """With include_usage every chunk has null usage but the last, which has no choices; without it, no chunk does."""
    *others, last = stream("Hello there.", stream_options={"include_usage": True})
    assert [d["usage"] for d in others] == [None] * len(others)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 3,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    assert list(last)[-2:] == ["usage", "obfuscation"]
    assert not any("usage" in d for d in stream("Hello there."))


@pytest.mark.parametrize("options", [{}, {"include_usage": True}])
def test_padding_hides_the_length(options: dict[str, Any]) -> None:
    """Obfuscation fills each chunk up to one more than a multiple of 16 characters, and can be asked away."""
    said = "a ab abc abcd abcde é éé 漢 漢漢 👩 \ud800 \n\n"
    for event in events(body(ask(stream=True, stream_options=options), said, ToolCall("x", {"é": 1})))[:-1]:
        assert len(event.data) % 16 == 1
        assert re.fullmatch("[0-9A-Za-z]{0,15}", json.loads(event.data)["obfuscation"])
    bare = stream(said, stream_options={**options, "include_obfuscation": False})
    assert not any("obfuscation" in document for document in bare)


def test_paddings_differ() -> None:
    """Paddings of one length are not the same characters again and again."""
    pads = [document["obfuscation"] for document in stream("same " * 40, model="any")]
    assert len({pad for pad in pads if len(pad) > 5}) > 10


def test_choices_are_interleaved() -> None:
    """Several choices share the stream, token by token, each with its role and finish."""
    documents = stream("One two.", n=3)
    order = [(d["choices"][0]["index"], d["choices"][0]["delta"].get("content")) for d in documents]
    assert order[:9] == [
        (0, ""),
        (0, "One"),
        (1, ""),
        (1, "One"),
        (2, ""),
        (2, "One"),
        (0, " two"),
        (1, " two"),
        (2, " two"),
    ]
    for choice in range(3):
        assert content(documents, choice) == "One two."
        assert deltas(documents, choice)[0]["role"] == "assistant"
    assert [d["choices"][0]["index"] for d in documents if d["choices"][0]["finish_reason"]] == [0, 1, 2]


# ---------------------------------------------------------------------------------------------------- kinds of parts


def test_an_only_tool_call_opens_the_stream() -> None:
    """One tool call: role and call begin in one chunk, then come argument fragments that name the index alone."""
    documents = stream(CALLS[0])
    first, *fragments, last = deltas(documents)
    assert list(first) == ["role", "content", "tool_calls", "refusal"]
    (call,) = first["tool_calls"]
    assert re.fullmatch("call_[0-9A-Za-z]{24}", call.pop("id"))
    assert call == {"index": 0, "type": "function", "function": {"name": "look", "arguments": ""}}
    assert (first["content"], first["refusal"], last) == (None, None, {})
    assert all(list(f["tool_calls"][0]) == ["index", "function"] for f in fragments)
    assert "".join(f["tool_calls"][0]["function"]["arguments"] for f in fragments) == '{"up":"é"}'
    assert len(fragments) > 2
    assert documents[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_parallel_tool_calls_follow_one_another() -> None:
    """Several calls: a role chunk without refusal, then each call with its own index and id."""
    first, *others = deltas(stream(*CALLS))
    assert first == {"role": "assistant", "content": None}
    starts = [d["tool_calls"][0] for d in others if "id" in d.get("tool_calls", [{}])[0]]
    assert [(s["index"], s["function"]["name"]) for s in starts] == [(0, "look"), (1, "book")]
    assert starts[1]["id"] == "call_mine"
    indexes = [d["tool_calls"][0]["index"] for d in others if d]
    assert indexes == sorted(indexes)


def test_calls_may_follow_text() -> None:
    """Text before a call opens the stream as text."""
    first, *others = deltas(stream("One moment. ", *CALLS))
    assert first == {"role": "assistant", "content": "", "refusal": None}
    assert [list(d) for d in others if d][-1] == ["tool_calls"]


def test_a_refusal_has_its_own_field() -> None:
    """A refusal opens with null content and an empty refusal, and is streamed in that field."""
    first, *others, last = deltas(stream(Refusal("No, sorry.")))
    assert first == {"role": "assistant", "content": None, "refusal": ""}
    assert "".join(d["refusal"] for d in others) == "No, sorry."
    assert last == {}
    said = message(Refusal("No, sorry."))
    assert (said["content"], said["refusal"]) == (None, "No, sorry.")


def test_reasoning_has_its_own_field() -> None:
    """Thinking is streamed as `reasoning_content`, and its tokens are counted as a part of the completion."""
    reply = Reply.of(Reasoning("Let me see."), "Three.")
    documents = stream(reply, stream_options={"include_usage": True})
    assert content(documents, key="reasoning_content") == "Let me see."
    assert content(documents) == "Three."
    usage = documents[-1]["usage"]
    assert usage["completion_tokens"] == 6
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 4
    assert whole(ask(), reply)["usage"] == usage
    assert list(message(reply)) == ["role", "content", "reasoning_content", "refusal", "annotations"]


def test_a_custom_tool_is_called_with_its_input() -> None:
    """A call of a tool of type `custom` carries a text of any form under the keys of that type."""
    tools = [{"type": "custom", "custom": {"name": "shell"}}]
    first, *fragments, _ = deltas(stream(ToolCall("shell", "ls -l"), tools=tools))
    assert first["tool_calls"][0]["type"] == "custom"
    assert first["tool_calls"][0]["custom"] == {"name": "shell", "input": ""}
    assert "".join(f["tool_calls"][0]["custom"]["input"] for f in fragments) == "ls -l"
    (call,) = message(ToolCall("shell", "ls -l"), tools=tools)["tool_calls"]
    assert (call["type"], call["custom"]) == ("custom", {"name": "shell", "input": "ls -l"})


def test_a_gate_does_not_lose_the_role() -> None:
    """Whatever comes between the beginning of a reply and its only tool call, even its end, the role is sent first."""
    asked = ask(stream=True)
    encoder = DIALECT.stream(voice(asked, REPLIES["call"]))
    from mockprovider.reply import Start, ToolCallDelta, ToolCallStart

    source: list[Any] = [
        (0.5, Start(0, ToolCall, 1), (0, -1)),
        (0.25, Hold("gate"), NOWHERE),
        (0.125, ToolCallStart(0, "call_1", "look"), (0, -1)),
        (0.0, ToolCallDelta(0, "{}"), (0, 0)),
    ]
    made = [timed for step in source for timed in encoder.feed(step)]
    assert [gap for gap, _, _ in made] == [0.5, 0.25, 0.125, 0.0]
    assert made[1][1] == Hold("gate")
    said = [json.loads(made[at][1].data)["choices"][0]["delta"] for at in (0, 2)]  # type: ignore[union-attr]
    assert said[0] == {"role": "assistant", "content": None}
    assert list(said[1]) == ["tool_calls"]
    cut_off = DIALECT.stream(voice(asked, REPLIES["call"]))
    assert list(cut_off.feed((0.5, Start(0, ToolCall, 1), (0, -1)))) == []
    (gap, role, _), (_, done, _) = cut_off.flush()
    assert gap == 0.5
    assert json.loads(role.data)["choices"][0]["delta"] == said[0]  # type: ignore[union-attr]
    assert done.data == b"[DONE]"  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------------- the whole reply


def test_a_whole_reply() -> None:
    """One indented document in the order of OpenAI's, ended by a line end, with all parts and the true usage."""
    asked = ask()
    source = body(asked, "Hello ", "there.")
    document = json.loads(source)
    assert source == json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    assert list(document) == [
        "id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint",
    ]  # fmt: skip
    assert document["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there.", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert document["object"] == "chat.completion"


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_stream_and_whole_agree(reply: Reply, fields: dict[str, Any]) -> None:
    """A stream, accumulated, is the whole reply: texts, calls, log probabilities, finish and usage."""
    documents = stream(reply, **{**fields, "stream_options": {"include_usage": True}})
    document = whole(ask(**{name: value for name, value in fields.items() if name != "stream_options"}), reply)
    assert documents[-1]["usage"] == document["usage"]
    for choice in document["choices"]:
        said, index = choice["message"], choice["index"]
        for key in ("content", "refusal", "reasoning_content"):
            assert content(documents, index, key) == (said.get(key) or "")
        calls: dict[int, dict[str, Any]] = {}
        for delta in deltas(documents, index):
            for fragment in delta.get("tool_calls", ()):
                call = calls.setdefault(fragment["index"], {"id": fragment.get("id"), "arguments": ""})
                call["arguments"] += fragment["function"]["arguments"]
        whole_calls = said.get("tool_calls", [])
        assert [c["arguments"] for c in calls.values()] == [c["function"]["arguments"] for c in whole_calls]
        assert [c["id"] for c in calls.values()] == [c["id"] for c in whole_calls]
        mine = [c for d in documents for c in d["choices"] if c["index"] == index]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        for key in ("content", "refusal"):
            streamed = [entry for c in mine for entry in (c.get("logprobs") or {}).get(key) or ()]
            assert streamed == ((choice.get("logprobs") or {}).get(key) or [])


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
NESTED = st.one_of(LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.text(), LEAVES, max_size=3))


@settings(deadline=None)
@given(
    st.one_of(NESTED, st.lists(NESTED, max_size=3), st.dictionaries(st.text(), NESTED, max_size=3)), st.integers(0, 4)
)
def test_indented_json_is_that_of_the_standard_library(document: Any, indent: int) -> None:
    """The encoder of whole replies writes what `json.dumps` writes, byte for byte."""
    assert pretty(document, indent) == json.dumps(document, indent=indent, ensure_ascii=False).encode()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_any_text_is_json(text: str) -> None:
    """Every str can be written, surrogates as escapes and all else as it is, alike in every form, and read again."""
    for written in (dumps([text]), pretty([text]), b'["' + escape(text) + b'"]'):
        read = json.loads(written)[0]
        assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")
    assert dumps([text]) == b'["' + escape(text) + b'"]'
    for texts in ([text], [text, "", "\ue000", text], ["\ue000\ue000"], [text, "a", text]):
        assert escape_all(texts) == [escape(each) for each in texts]
    assert characters(dumps([text])) == len(dumps([text]).decode())


@pytest.mark.parametrize("write", [dumps, pretty])
def test_what_json_does_not_have_is_refused(write: Any) -> None:
    """Neither NaN nor an infinity, nor an object that is not JSON, can be written."""
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"a": [value]})
    with pytest.raises(TypeError):
        write({"a": object()})


# ---------------------------------------------------------------------------------------------------- log probabilities


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
@pytest.mark.parametrize("top", [None, 0, 1, 5, 20])
@pytest.mark.parametrize("size", [1, 3])
def test_log_probabilities(model: str, top: int | None, size: int) -> None:
    """One entry a token: together they are the text; bytes are the token's; as many of the likeliest as were asked."""
    text = "Grüße, 世界 👩🏽‍🔬! And a few words more. " * 4
    fields = {"model": model, "logprobs": True, **({} if top is None else {"top_logprobs": top})}
    documents = chunks(body(ask(stream=True, **fields), text, chunking=f"tokens_per_payload={size}"))
    choices = [document["choices"][0] for document in documents]
    assert choices[0]["logprobs"] == {"content": [], "refusal": None}
    assert choices[-1]["logprobs"] is None
    for choice in choices[1:-1]:
        assert choice["logprobs"]["refusal"] is None
        entries = choice["logprobs"]["content"]
        assert "".join(entry["token"] for entry in entries) == choice["delta"]["content"]
        assert len(entries) <= size
        for entry in entries:
            assert list(entry) == ["token", "logprob", "bytes", "top_logprobs"]
            listed = entry["top_logprobs"]
            assert len(listed) == (top or 0)
            for said in (entry, *listed):
                assert said["bytes"] == list(said["token"].encode())
                assert said["logprob"] < 0
            values = [said["logprob"] for said in listed]
            assert values == sorted(values, reverse=True)
            assert len({said["token"] for said in listed}) == len(listed)
            assert sum(map(math.exp, values)) <= 1.000001
    whole_entries = whole(ask(**fields), text)["choices"][0]["logprobs"]["content"]
    assert whole_entries == [entry for choice in choices[1:-1] for entry in choice["logprobs"]["content"]]


def test_a_refusal_has_log_probabilities_of_its_own() -> None:
    """A refusal's entries are in `refusal`; tool calls and reasoning have none."""
    first, *others, _ = [d["choices"][0] for d in stream(Refusal("No."), logprobs=True)]
    assert first["logprobs"] == {"content": None, "refusal": []}
    assert "".join(entry["token"] for c in others for entry in c["logprobs"]["refusal"]) == "No."
    for reply in (REPLIES["call"], Reply.of(Reasoning("Hm."), finish="length")):
        assert all(d["choices"][0]["logprobs"] is None for d in stream(reply, logprobs=True)[1:])
        assert whole(ask(logprobs=True), reply)["choices"][0]["logprobs"] is None


# ---------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts_the_reply(field: str) -> None:
    """After so many tokens the reply ends with `length`; usage says how many were sent."""
    documents = stream("One two three four.", **{field: 2}, stream_options={"include_usage": True})
    assert content(documents) == "One two"
    assert documents[-2]["choices"][0]["finish_reason"] == "length"
    assert documents[-1]["usage"]["completion_tokens"] == 2
    document = whole(ask(**{field: 2}), "One two three four.")
    assert document["choices"][0]["message"]["content"] == "One two"
    assert document["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stop", ["wo th", ["x", " three"], ["t"], ["One"]])
def test_a_stop_sequence_is_not_delivered(stop: Any) -> None:
    """The reply ends before the first stop sequence, which may begin and end inside of tokens."""
    text = "One two three four."
    expected = text[: min(at for s in ([stop] if isinstance(stop, str) else stop) if (at := text.find(s)) >= 0)]
    documents = stream(text, stop=stop)
    assert content(documents) == expected
    assert documents[-1]["choices"][0]["finish_reason"] == "stop"
    assert message(text, stop=stop)["content"] == expected


@pytest.mark.parametrize(
    ("asked", "told"), [(None, "default"), ("auto", "default"), ("flex", "flex"), ("fast", "fast")]
)
def test_the_service_tier_is_echoed(asked: str | None, told: str) -> None:
    """A reply names the tier that was asked for; `auto` becomes the default."""
    fields = {} if asked is None else {"service_tier": asked}
    assert {d["service_tier"] for d in stream("a", **fields)} == {told}
    assert whole(ask(**fields), "a")["service_tier"] == told


def test_headers() -> None:
    """A reply has OpenAI's own headers, with a request id of its own."""
    asked = ask()
    headers = dict(DIALECT.headers(voice(asked, Reply.of("a")), stream=True))
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert re.fullmatch("req_[0-9a-f]{32}", headers["x-request-id"])
    assert headers["openai-version"] == "2020-10-01"
    assert headers["openai-processing-ms"].isdigit()
    for what in ("limit", "remaining", "reset"):
        for of in ("requests", "tokens"):
            assert f"x-ratelimit-{what}-{of}" in headers
    again = dict(DIALECT.headers(voice(asked, Reply.of("a"), ordinal=1), stream=False))
    assert again["Content-Type"] == "application/json"
    assert again["x-request-id"] != headers["x-request-id"]


# ---------------------------------------------------------------------------------------------------- generated replies


@pytest.fixture(scope="module")
def provider() -> Any:
    """A server whose replies are made up."""
    with MockProvider(seed=3) as running:
        yield running


def post(provider: MockProvider, **fields: Any) -> Any:
    """The first choice of a whole reply."""
    import httpx

    response = httpx.post(f"{provider.openai_url}/chat/completions", json=request(**fields), trust_env=False)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def test_tools_alone_call_nothing(provider: MockProvider) -> None:
    """With `auto`, which is the default, and with `none`, generated replies are text."""
    for fields in ({}, {"tool_choice": "auto"}, {"tool_choice": "none"}):
        choice = post(provider, tools=TOOLS, **fields)
        assert choice["message"]["content"]
        assert "tool_calls" not in choice["message"]
        assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"look", "book", "ping"}),
        ({"type": "function", "function": {"name": "look"}}, {"look"}),
        ({"type": "function", "function": {"name": "ping"}}, {"ping"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": name}} for name in ("book", "ping")],
                },
            },
            {"book", "ping"},
        ),
    ],
)
def test_a_required_call_is_made(provider: MockProvider, choice: Any, names: set[str], seed: int) -> None:
    """When a call is required, one of the tools allowed is called, and its arguments satisfy the tool's schema."""
    answer = post(provider, tools=TOOLS, tool_choice=choice, seed=seed)
    (call,) = answer["message"]["tool_calls"]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] is None
    assert call["function"]["name"] in names
    (tool,) = [t["function"] for t in TOOLS if t["function"]["name"] == call["function"]["name"]]
    jsonschema.validate(json.loads(call["function"]["arguments"]), tool.get("parameters", {"type": "object"}))


def test_a_required_custom_tool_is_called(provider: MockProvider) -> None:
    """A tool without a schema is called with some text."""
    tools = [{"type": "custom", "custom": {"name": "shell"}}]
    (call,) = post(provider, tools=tools, tool_choice="required")["message"]["tool_calls"]
    assert call["custom"]["name"] == "shell"
    assert call["custom"]["input"]


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "look"}}])
def test_a_tools_result_is_answered_with_text(provider: MockProvider, choice: Any) -> None:
    """After a tool's result comes text, even where a call is required, so that an agent's loop ends."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look it up."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "It is blue."},
    ]
    answer = post(provider, messages=messages, tools=TOOLS, tool_choice=choice)
    assert answer["message"]["content"]
    assert answer["finish_reason"] == "stop"
    again = post(provider, messages=[*messages, {"role": "user", "content": "Again."}], tools=TOOLS, tool_choice=choice)
    assert ("tool_calls" in again["message"]) == (choice != "auto")


def test_json_on_request(provider: MockProvider) -> None:
    """`json_object` is answered with an object; `text` with text."""
    text = post(provider, response_format={"type": "json_object"})["message"]["content"]
    assert isinstance(json.loads(text), dict)
    assert post(provider, response_format={"type": "text"})["message"]["content"]


SCHEMAS: dict[str, dict[str, Any]] = {
    "strict": {
        "type": "object",
        "properties": {
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1, "maxItems": 3},
            "mood": {"enum": ["good", "bad"], "type": "string"},
            "count": {"type": "integer", "minimum": 3, "maximum": 5},
            "when": {"type": "string", "format": "date-time"},
            "either": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "required": ["steps", "mood", "count", "when", "either"],
        "additionalProperties": False,
        "$defs": {
            "step": {
                "type": "object",
                "properties": {"kind": {"const": "step", "type": "string"}},
                "required": ["kind"],
                "additionalProperties": False,
            }
        },
    },
    "loose": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "strict"), [("strict", True), ("strict", False), ("loose", False), ("loose", None)])
def test_a_schema_is_satisfied(provider: MockProvider, name: str, strict: bool | None, seed: int) -> None:
    """`json_schema` is answered with an instance of the schema, whether it is strict or not."""
    schema = SCHEMAS[name]
    described = (
        {"name": name, "schema": schema} if strict is None else {"name": name, "schema": schema, "strict": strict}
    )
    text = post(provider, response_format={"type": "json_schema", "json_schema": described}, seed=seed)
    jsonschema.validate(json.loads(text["message"]["content"]), schema)


def test_a_format_without_a_schema_is_any_object(provider: MockProvider) -> None:
    """A schema may be left out where it is not strict."""
    described = {"type": "json_schema", "json_schema": {"name": "any"}}
    assert isinstance(json.loads(post(provider, response_format=described)["message"]["content"]), dict)

"""Anthropic's messages, streamed and whole: what each request is answered with, and that its SDK reads it strictly."""

from __future__ import annotations

import json
import re
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import BaseModel
from anthropic.types import (
    Message,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.provider import MockProvider
from mockprovider.reply import Part, Reasoning, Refusal, Reply, Text, ToolCall
from tests.messaging import DIALECT, VERSION, ask, body, documents, request, text_of, voice

pytestmark = pytest.mark.mockprovider(seed=1)
"""A server for each test, so that no thread of a shared one is left for tests that count threads."""

CALLS = (ToolCall("look", {"up": "é"}), ToolCall("book", '{"seats": 2}', id="toolu_mine"))
REPLIES: dict[str, Reply] = {
    "text": Reply.of("Grüße, 世界 👩🏽‍🔬!\n"),
    "empty": Reply.of(""),
    "thinking": Reply.of(Reasoning("Let me see."), "Three."),
    "refusal": Reply.of(Refusal("I can't help with that.")),
    "text and refusal": Reply.of("Well, ", Refusal("no.")),
    "call": Reply.of(CALLS[0]),
    "text and calls": Reply.of("One moment. ", *CALLS, "Done."),
    "length": Reply.of("Cut o", finish="length"),
    "paused": Reply.of("Wait", finish="pause_turn"),
}
EVENTS: dict[str, type[BaseModel]] = {
    "message_start": RawMessageStartEvent,
    "content_block_start": RawContentBlockStartEvent,
    "content_block_delta": RawContentBlockDeltaEvent,
    "content_block_stop": RawContentBlockStopEvent,
    "message_delta": RawMessageDeltaEvent,
    "message_stop": RawMessageStopEvent,
}


def said(name: str) -> list[dict[str, Any]]:
    """The documents of one of the replies, streamed."""
    return documents(body(ask(stream=True), REPLIES[name]))


def whole(*parts: str | Part | Reply, **fields: Any) -> dict[str, Any]:
    """The document of a whole reply."""
    document: dict[str, Any] = json.loads(body(ask(**fields), *parts))
    return document


def outline(found: list[dict[str, Any]]) -> list[str]:
    """The types of the events and their deltas, repetitions left out."""
    lines = [" ".join(filter(None, (one["type"], (one.get("delta") or {}).get("type")))) for one in found]
    return [line for at, line in enumerate(lines) if at == 0 or lines[at - 1] != line]


def extras(model: Any) -> set[str]:
    """The keys of a document that the SDK's type does not have."""
    if isinstance(model, BaseModel):
        known = {key for name in type(model).model_fields for key in extras(getattr(model, name))}
        return known | set(model.model_extra or {})
    return {key for item in model for key in extras(item)} if isinstance(model, list) else set()


# ------------------------------------------------------------------------------------------------ streams


def test_a_text_is_streamed_in_the_recorded_order() -> None:
    """message_start, the block's start, one ping directly after it, deltas, the block's stop, the message's end."""
    assert outline(said("text")) == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta text_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert text_of(said("text")) == "Grüße, 世界 👩🏽‍🔬!\n"


def test_thinking_ends_with_its_signature() -> None:
    """Thinking is a block of its own before the text; its last delta is the signature, as in the whole message."""
    found = said("thinking")
    assert outline(found) == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta thinking_delta",
        "content_block_delta signature_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta text_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    blocks = [one["content_block"] for one in found if one["type"] == "content_block_start"]
    assert blocks == [{"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": ""}]
    assert (text_of(found, "thinking"), text_of(found)) == ("Let me see.", "Three.")
    assert re.fullmatch(r"Er[A-Za-z0-9]{254}", text_of(found, "signature"))
    first, second = (whole(REPLIES["thinking"])["content"][0]["signature"] for _ in range(2))
    assert first == second == text_of(found, "signature")


def test_tool_calls_are_blocks_whose_input_is_streamed() -> None:
    """Each call is a block with an empty input; its first delta is empty, as recorded; text goes on in a new block."""
    found = said("text and calls")
    starts = [(one["index"], one["content_block"]) for one in found if one["type"] == "content_block_start"]
    assert [index for index, _ in starts] == [0, 1, 2, 3]
    assert [block["type"] for _, block in starts] == ["text", "tool_use", "tool_use", "text"]
    assert list(starts[1][1].items())[2:] == [("name", "look"), ("input", {})]
    assert re.fullmatch("toolu_01[A-Za-z0-9]{22}", starts[1][1]["id"])
    assert starts[2][1]["id"] == "toolu_mine"
    pieces = [
        [one["delta"].get("partial_json") for one in found if one["type"].endswith("_delta") and one.get("index") == at]
        for at in range(4)
    ]
    assert (pieces[1][0], pieces[2][0]) == ("", "")
    assert ["".join(filter(None, said)) for said in pieces[1:3]] == ['{"up":"é"}', '{"seats": 2}']
    stops = [one["index"] for one in found if one["type"] == "content_block_stop"]
    assert stops == [0, 1, 2, 3]


@pytest.mark.parametrize("name", REPLIES)
def test_documents_are_padded_with_spaces_before_their_last_brace(name: str) -> None:
    """Every document but the ping is compact JSON with 0 to 15 spaces before its last brace."""
    padded = 0
    for block in body(ask(stream=True), REPLIES[name]).decode().removesuffix("\n\n").split("\n\n"):
        event, data = block.split("\n")
        text = data.removeprefix("data: ")
        document = json.loads(text)
        assert event == f"event: {document['type']}"
        if event == "event: ping":
            assert text == '{"type": "ping"}'
            continue
        compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        match = re.fullmatch(re.escape(compact[:-1]) + "( {0,15})}", text)
        assert match, text
        padded += len(match[1])
    assert padded > 0


def test_the_padding_takes_every_length() -> None:
    """In a long stream every number of spaces from 0 to 15 comes, and another request is padded otherwise."""
    stream = body(ask(stream=True), "word " * 300)
    lengths = [len(spaces) for spaces in re.findall(rb'"}( *)}\n', stream)]
    assert set(lengths) == set(range(16))
    other = body(ask(stream=True), "word " * 300, seed=8)
    assert [len(spaces) for spaces in re.findall(rb'"}( *)}\n', other)] != lengths


parts = st.lists(
    st.one_of(
        st.text(max_size=30).map(Text),
        st.text(max_size=20).map(Reasoning),
        st.text(max_size=20).map(Refusal),
        st.builds(ToolCall, st.just("look"), st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2)),
    ),
    max_size=6,
)


@example([Text("One two three."), CALLS[0], Text("Four five six.")], 100, [], False)
@settings(max_examples=150, deadline=None)
@given(parts, st.integers(1, 40), st.lists(st.text("abc é", min_size=1, max_size=2), max_size=2), st.booleans())
def test_the_short_way_gives_the_same_bytes(said: list[Part], limit: int, stop: list[str], relay: bool) -> None:
    """Text deltas that are composed are byte for byte what the encoders make of them one after the other."""
    asked = ask(stream=True, max_tokens=limit, stop_sequences=[each for each in stop if each.strip()])
    assert body(asked, *said, relay=relay) == body(asked, *said, relay=relay, composed=False)


@settings(max_examples=100, deadline=None)
@given(parts)
def test_streamed_and_whole_say_the_same(said: list[Part]) -> None:
    """The blocks that a client puts together from a stream are those of the whole message."""
    message = whole(*said)
    blocks: list[dict[str, Any]] = []
    for one in documents(body(ask(stream=True), *said)):
        if one["type"] == "content_block_start":
            blocks.append({**one["content_block"], "json": ""})
        elif one["type"] == "content_block_delta":
            for key, value in one["delta"].items():
                if key == "partial_json":
                    blocks[-1]["json"] += value
                elif key != "type":
                    blocks[-1][key] += value
        elif one["type"] == "message_delta":
            assert one["delta"] == {key: value for key, value in message.items() if key.startswith("stop_")}
            assert one["usage"]["output_tokens"] == message["usage"]["output_tokens"]
    for block in blocks:
        text = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(text)
    assert blocks == message["content"]


# ------------------------------------------------------------------------------------------------ ends and usage


@pytest.mark.parametrize(
    ("reply", "fields", "reason", "sequence"),
    [
        ("One two three.", {}, "end_turn", None),
        ("One two three.", {"max_tokens": 2}, "max_tokens", None),
        ("One two three.", {"stop_sequences": ["three", " two"]}, "stop_sequence", " two"),
        (CALLS[0], {}, "tool_use", None),
        (Refusal("No."), {}, "refusal", None),
        (Reply.of("So", finish="content_filter"), {}, "refusal", None),
        (Reply.of("So", finish="model_context_window_exceeded"), {}, "model_context_window_exceeded", None),
    ],
)
def test_every_end_has_its_stop_reason(reply: Any, fields: dict[str, Any], reason: str, sequence: str | None) -> None:
    """Limits, stop sequences, tools, refusals and scripted ends are told in Anthropic's words."""
    message = whole(reply, **fields)
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, sequence)
    if sequence:
        assert message["content"][0]["text"] == "One"


def test_a_refusal_is_an_explanation_and_no_block() -> None:
    """What a model that declines says is the explanation in `stop_details`."""
    message = whole(Refusal("I can't help with that."))
    assert message["content"] == []
    assert message["stop_details"] == {
        "type": "refusal",
        "category": None,
        "explanation": "I can't help with that.",
    }
    assert "stop_details" not in whole("Yes.")


def test_usage_is_cumulative() -> None:
    """message_start tells the prompt and one token of output, message_delta all, thinking and refusals included."""
    found = documents(body(ask(stream=True, system="Be kind."), Reasoning("One two."), "Three four.", Refusal(" No.")))
    first = found[0]["message"]["usage"]
    last = found[-2]["usage"]
    assert first["output_tokens"] == 1
    assert last["input_tokens"] == first["input_tokens"] > ask().prompt_tokens()
    assert last["output_tokens"] == 8
    assert whole("")["usage"]["output_tokens"] == 1
    assert list(last) == [
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
    ]


def test_a_whole_reply_has_the_fields_of_a_message() -> None:
    """A whole message is compact JSON with the keys in the recorded order."""
    text = body(ask(), "Hi").decode()
    message = json.loads(text)
    assert text == json.dumps(message, separators=(",", ":"))
    assert list(message) == [
        "model", "id", "type", "role", "content", "stop_reason", "stop_sequence", "usage",
    ]  # fmt: skip
    assert message["model"] == "claude-haiku-4-5-20251001"
    assert re.fullmatch("msg_01[A-Za-z0-9]{22}", message["id"])
    assert message["content"] == [{"type": "text", "text": "Hi"}]


# ------------------------------------------------------------------------------------------------ the SDK's types


@pytest.mark.parametrize("name", REPLIES)
def test_the_sdk_types_accept_everything_strictly(name: str) -> None:
    """Anthropic's types accept every document strictly, and nothing is in it that they do not know."""
    for document in said(name):
        if document["type"] != "ping":
            assert extras(EVENTS[document["type"]].model_validate(document, strict=True)) == set(), document
    assert extras(Message.model_validate(whole(REPLIES[name]), strict=True)) == set()


# ------------------------------------------------------------------------------------------------ the SDK as a witness

TOOLS: list[Any] = [
    {"name": "look", "input_schema": {"type": "object", "properties": {"up": {"type": "string"}}, "required": ["up"]}}
]
ASKED: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Say it."}],
}


@pytest.fixture
def client(mock_provider: MockProvider) -> Any:
    """Anthropic's client for the provider."""
    with anthropic.Anthropic(base_url=mock_provider.anthropic_url, api_key="sk-any", max_retries=0) as made:
        yield made


def test_the_sdk_reads_raw_events(client: Any, mock_provider: MockProvider) -> None:
    """`create(stream=True)` yields the events, the ping left out by the SDK."""
    mock_provider.on().reply("Hello there.")
    found = list(client.messages.create(**ASKED, stream=True))
    assert found[0].message.role == "assistant"
    assert "".join(event.delta.text for event in found if event.type == "content_block_delta") == "Hello there."
    assert found[-1].type == "message_stop"


def test_the_sdk_helper_puts_everything_together(client: Any, mock_provider: MockProvider) -> None:
    """`messages.stream` gives text, thinking with its signature, parsed tool input, stop reason and usage."""
    mock_provider.on().reply(Reasoning("Let me see."), "Hello. ", CALLS[0])
    with client.messages.stream(**ASKED, tools=TOOLS) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        assert re.fullmatch("req_011C[A-Za-z0-9]{20}", stream.request_id)
    assert text == "Hello. "
    thinking, said, call = message.content
    assert (thinking.type, thinking.thinking, len(thinking.signature)) == ("thinking", "Let me see.", 256)
    assert (said.type, said.text) == ("text", "Hello. ")
    assert (call.type, call.name, call.input) == ("tool_use", "look", {"up": "é"})
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 5


async def test_the_async_sdk_reads_streams_and_whole_replies(mock_provider: MockProvider) -> None:
    """The asynchronous client and its helper give the same."""
    mock_provider.on().reply(Reasoning("Hm."), "Hello.")
    url = mock_provider.anthropic_url
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-any", max_retries=0) as client:
        async with client.messages.stream(**ASKED) as stream:
            streamed = await stream.get_final_message()
        raw = [event async for event in await client.messages.create(**ASKED, stream=True)]
        message = await client.messages.create(**ASKED)
        count = await client.messages.count_tokens(model=ASKED["model"], messages=ASKED["messages"])
    assert [block.to_dict()["type"] for block in streamed.content] == ["thinking", "text"]
    assert message.content[1].to_dict() == {"type": "text", "text": "Hello."}
    assert raw[-1].type == "message_stop"
    assert count.input_tokens == message.usage.input_tokens == streamed.usage.input_tokens


def test_an_agent_loop_ends(client: Any) -> None:
    """Without a script: a tool that must be called is called with fitting input; its result is answered with text."""
    choice: Any = {"type": "tool", "name": "look"}
    first = client.messages.create(**ASKED, tools=TOOLS, tool_choice=choice)
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert isinstance(call.input["up"], str)
    answers = [
        *ASKED["messages"],
        {"role": "assistant", "content": [block.to_dict() for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Blue."}]},
    ]
    second = client.messages.create(**{**ASKED, "messages": answers}, tools=TOOLS)
    assert second.stop_reason == "end_turn"
    assert second.content[-1].text


def test_a_structured_answer_fits_its_schema(client: Any) -> None:
    """`output_config.format` is answered with a JSON text that has the schema's fields."""
    schema = TOOLS[0]["input_schema"]
    form: Any = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    message = client.messages.create(**ASKED, output_config=form)
    assert set(json.loads(message.content[0].text)) == {"up"}


ERRORS = [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.AuthenticationError, "authentication_error"),
    (403, anthropic.PermissionDeniedError, "permission_error"),
    (404, anthropic.NotFoundError, "not_found_error"),
    (413, anthropic.APIStatusError, "request_too_large"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (504, anthropic.InternalServerError, "timeout_error"),
    (529, anthropic.InternalServerError, "overloaded_error"),
]


@pytest.mark.parametrize(("status", "kind", "name"), ERRORS)
def test_errors_are_typed_exceptions(
    client: Any, mock_provider: MockProvider, status: int, kind: type[anthropic.APIStatusError], name: str
) -> None:
    """An error of each status is the SDK's exception for it, with Anthropic's type, and the request's id twice."""
    mock_provider.on().error(status, "Not so.")
    with pytest.raises(kind) as caught:
        client.messages.create(**ASKED)
    error = caught.value
    assert isinstance(error.body, dict)
    assert error.body["error"] == {"type": name, "message": "Not so."}
    assert (list(error.body), error.status_code) == (["type", "error", "request_id"], status)
    assert error.request_id == error.body["request_id"]


def test_an_error_in_midstream_is_raised_with_its_type(client: Any, mock_provider: MockProvider) -> None:
    """After some text `event: error` ends the stream, and the SDK raises what it says."""
    mock_provider.on().reply("One two three four.", faults="error-payload(after=2,kind=overloaded,message=Overloaded)")
    got = []
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        got.extend(client.messages.create(**ASKED, stream=True))
    assert [event.delta.text for event in got if event.type == "content_block_delta"] == ["One", " two"]
    assert caught.value.body == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


# ------------------------------------------------------------------------------------------------ requests


def post(provider: MockProvider, document: Any, path: str = "/v1/messages", **headers: str) -> httpx.Response:
    """One request; headers with `_` for `-`, and an empty one left out."""
    sent = {**VERSION, **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent = {name: value for name, value in sent.items() if value}
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return httpx.post(provider.url + path, content=content, headers=sent)


def user(*blocks: Any) -> list[Any]:
    """The messages of a request: one of a user with these blocks."""
    return [{"role": "user", "content": list(blocks)}]


CALLED = [
    {"role": "user", "content": "Look."},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
]
TOOL = {"name": "look", "input_schema": {"type": "object"}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"model": None}, "model: Field required"),
    ({"messages": None}, "messages: Field required"),
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ({"model": 7}, "model: Input should be a valid string"),
    ({"model": ""}, "model: String should have at least 1 character"),
    ({"messages": "Hi"}, "messages: Input should be a valid list"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": ["Hi"]}, "messages.0: Input should be a valid dictionary"),
    ({"messages": [{"content": "Hi"}]}, "messages.0.role: Field required"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    (
        {"messages": [{"role": "system", "content": "Hi"}]},
        'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system"',
    ),
    ({"messages": [{"role": "tool", "content": "Hi"}]}, 'messages: Unexpected role "tool".'),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content: Input should be a valid list"),
    ({"messages": user("Hi")}, "messages.0.content.0: Input should be a valid dictionary"),
    ({"messages": user({"text": "Hi"})}, "messages.0.content.0.type: Field required"),
    ({"messages": user({"type": "sound"})}, "messages.0.content.0: Input tag 'sound' found using 'type' does not"),
    ({"messages": user({"type": "text"})}, "messages.0.content.0.text.text: Field required"),
    ({"messages": user({"type": "text", "text": ""})}, "messages: text content blocks must be non-empty"),
    ({"messages": user({"type": "image"})}, "messages.0.content.0.image.source: Field required"),
    (
        {"messages": user({"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": ""}})},
        "image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
    ),
    (
        {"messages": user({"type": "document", "source": {"type": "url"}})},
        "messages.0.content.0.document.source.url.url: Field required",
    ),
    (
        {"messages": user({"type": "tool_result", "tool_use_id": "toolu_2"})},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_2.",
    ),
    (
        {"messages": [*CALLED, {"role": "user", "content": "And?"}]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
    ),
    ({"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"}]}]}, "signature: Field"),
    ({"system": 7}, "system: Input should be a valid list"),
    ({"system": [{"type": "image"}]}, "system.0: Input tag 'image' found using 'type' does not match"),
    ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    ({"temperature": 1.5}, "temperature: range: 0..1"),
    ({"temperature": "hot"}, "temperature: Input should be a valid number"),
    ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    ({"stop_sequences": "END"}, "stop_sequences: Input should be a valid list"),
    ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
    ({"stop_sequences": [7]}, "stop_sequences.0: Input should be a valid string"),
    ({"service_tier": "best"}, "service_tier: Input should be 'auto' or 'standard_only'"),
    ({"metadata": {"name": "x"}}, "metadata.name: Extra inputs are not permitted"),
    ({"n": 2}, "n: Extra inputs are not permitted"),
    ({"thinking": {"type": "long"}}, "thinking: Input tag 'long' found using 'type' does not match"),
    ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 10}},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    ({"tools": {}}, "tools: Input should be a valid list"),
    ({"tools": [{"input_schema": {"type": "object"}}]}, "tools.0.custom.name: Field required"),
    ({"tools": [{"name": "look"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{**TOOL, "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
    ({"tools": [{**TOOL, "input_schema": {"type": "array"}}]}, "input_schema.type: Input should be 'object'"),
    (
        {"tools": [{**TOOL, "name": "look up"}]},
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools."),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice: Input should be a valid dictionary"),
    ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice: Input tag 'required' found using 'type'"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found in provided tools"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_what_anthropic_refuses_is_refused_in_its_words(
    mock_provider: MockProvider, fields: dict[str, Any], message: str
) -> None:
    """A request with a wrong, missing or unknown field is a 400 of type invalid_request_error that names the field."""
    answer = post(mock_provider, request(**fields))
    assert answer.status_code == 400
    document = answer.json()
    assert list(document) == ["type", "error", "request_id"]
    assert document["error"]["type"] == "invalid_request_error"
    assert message in document["error"]["message"]
    assert answer.headers["request-id"] == document["request_id"]


ACCEPTED: list[dict[str, Any]] = [
    {"system": "Be kind."},
    {"system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    {"temperature": 1, "top_p": 0.5, "top_k": 40, "stop_sequences": ["END"], "metadata": {"user_id": "u"}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048},
    {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    {"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "auto"}},
    {"tools": [TOOL], "tool_choice": {"type": "none"}},
    {
        "messages": [*CALLED, *user({"type": "tool_result", "tool_use_id": "toolu_1", "content": "Up."})],
        "tools": [TOOL],
    },
    {
        "messages": user(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A log."}},
            {"type": "text", "text": "What is it?"},
        )
    },
    {"messages": [*user({"type": "text", "text": "Go on."}), {"role": "assistant", "content": "The best is"}]},
]


@pytest.mark.parametrize("fields", ACCEPTED)
def test_what_anthropic_takes_is_taken(mock_provider: MockProvider, fields: dict[str, Any]) -> None:
    """Systems, thinking, tools of the client and of Anthropic, results, images and documents are accepted."""
    answer = post(mock_provider, request(**fields))
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "message"


def test_the_texts_of_a_conversation_are_those_of_its_ask() -> None:
    """System, texts and results of tools come in order; results are messages of the role `tool`."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Blue."}]}
    asked = ask(system="Be kind.", messages=[*CALLED, *user(result, {"type": "text", "text": "Thanks."})])
    assert asked.messages == (
        ("system", "Be kind."),
        ("user", "Look."),
        ("assistant", ""),
        ("user", "Thanks."),
        ("tool", "Blue."),
    )
    assert asked.answers_tool


@pytest.mark.parametrize(
    ("content", "version", "message"),
    [
        (b"{}", "", "anthropic-version: header is required"),
        (b"{}", "2024-10-22", 'anthropic-version: "2024-10-22" is not a valid version'),
        (b"{", "2023-06-01", "The request body is not valid JSON: "),
        (b"[]", "2023-06-01", "Input should be a valid dictionary"),
        (b'{"model": NaN}', "2023-06-01", "The request body is not valid JSON: "),
        (b"[" * 100_000, "2023-06-01", "The request body is not valid JSON: "),
    ],
)
def test_version_and_json_are_needed(mock_provider: MockProvider, content: bytes, version: str, message: str) -> None:
    """A request without a known version, or without a JSON object, is a 400."""
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer = post(mock_provider, content, path, anthropic_version=version)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_the_newest_version_has_no_sampling_fields(mock_provider: MockProvider, field: str) -> None:
    """With version 2026-10-21 the fields of sampling are unknown; with the one before they are taken."""
    asked = request(**{field: 1})
    answer = post(mock_provider, asked, anthropic_version="2026-10-21")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"{field}: Extra inputs are not permitted"
    assert post(mock_provider, asked).status_code == 200


def test_a_count_of_tokens_is_that_of_the_usage(mock_provider: MockProvider) -> None:
    """The count needs no max_tokens, takes no rule, and is what the usage of a reply to the same prompt tells."""
    mock_provider.on().reply("Yes.", times=1)
    fields: dict[str, Any] = {"system": "Be kind.", "tools": [TOOL]}
    counted = post(mock_provider, request(**fields, max_tokens=None), "/v1/messages/count_tokens")
    assert counted.status_code == 200
    assert list(counted.json()) == ["input_tokens"]
    answered = post(mock_provider, request(**fields)).json()
    assert answered["content"] == [{"type": "text", "text": "Yes."}]
    assert counted.json()["input_tokens"] == answered["usage"]["input_tokens"] > 5
    without = post(mock_provider, request(max_tokens=None), "/v1/messages/count_tokens")
    assert without.json()["input_tokens"] < counted.json()["input_tokens"]
    refused = post(mock_provider, request(), "/v1/messages/count_tokens")
    assert refused.json()["error"]["message"] == "max_tokens: Extra inputs are not permitted"


def test_the_key_is_looked_for_in_x_api_key() -> None:
    """With keys set, `x-api-key` or a bearer token must have one; a refusal is Anthropic's 401."""
    with MockProvider(api_keys=["sk-one"], models=["claude-a"]) as provider:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            asked = request(model="claude-a", max_tokens=8 if path == "/v1/messages" else None)
            assert post(provider, asked, path, x_api_key="sk-one").status_code == 200
            assert post(provider, asked, path, authorization="Bearer sk-one").status_code == 200
            for headers, message in (
                ({}, "x-api-key header is required"),
                ({"x_api_key": "sk-two"}, "invalid x-api-key"),
            ):
                answer = post(provider, asked, path, **headers)
                assert answer.status_code == 401
                assert answer.json()["error"] == {"type": "authentication_error", "message": message}
            unknown = post(provider, {**asked, "model": "claude-b"}, path, x_api_key="sk-one")
            assert unknown.status_code == 404
            assert unknown.json()["error"] == {"type": "not_found_error", "message": "model: claude-b"}
        env = provider.env()
        assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_API_KEY"]) == (provider.anthropic_url, "sk-one")
        assert provider.anthropic_url == provider.url


def test_errors_below_the_path_have_the_shape_of_the_dialect(mock_provider: MockProvider) -> None:
    """An unknown path under `/v1/messages`, and a method that there is not, are errors in Anthropic's shape."""
    unknown = post(mock_provider, {}, "/v1/messages/batches")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    method = httpx.get(mock_provider.url + "/v1/messages")
    assert (method.status_code, method.json()["type"]) == (405, "error")
    assert "error" in post(mock_provider, {}, "/v1/other").json()
    assert "type" not in post(mock_provider, {}, "/v1/other").json()


def test_headers_tell_the_limits_and_the_request() -> None:
    """A stream's headers are those recorded; times are RFC 3339 in UTC; a repetition has another id, and no else."""
    asked = ask(stream=True)
    first = dict(DIALECT.headers(voice(asked, Reply.of("a")), stream=True))
    again = dict(DIALECT.headers(voice(asked, Reply.of("a"), ordinal=1), stream=True))
    assert {name for name in first if first[name] != again[name]} == {"request-id"}
    assert first["Content-Type"] == "text/event-stream; charset=utf-8"
    for limit in ("requests", "tokens", "input-tokens", "output-tokens"):
        assert first[f"anthropic-ratelimit-{limit}-reset"] == "2023-11-14T22:13:20Z"
        assert int(first[f"anthropic-ratelimit-{limit}-remaining"]) <= int(first[f"anthropic-ratelimit-{limit}-limit"])
    whole_headers = dict(DIALECT.headers(voice(asked, Reply.of("a")), stream=False))
    assert (whole_headers["Content-Type"], "cache-control" in whole_headers) == ("application/json", False)


def test_a_repetition_is_remembered_and_has_ids_of_its_own(mock_provider: MockProvider) -> None:
    """The same request again, whole or streamed, differs in ids alone."""
    mock_provider.on().reply(Reasoning("Hm."), "Hello.", CALLS[0])
    for stream in (True, False):
        answers = [post(mock_provider, request(stream=stream)) for _ in range(4)]
        resets = [answer.headers["anthropic-ratelimit-requests-reset"] for answer in answers]
        assert resets == [f"2023-11-14T22:13:{20 + number}Z" for number in range(4)]
        first, *others = (answer.text for answer in answers)
        ids = re.compile(r"(?:msg_01|toolu_01)[A-Za-z0-9]{22}|Er[A-Za-z0-9]{254}")
        for other in others:
            assert ids.sub("", other) == ids.sub("", first)
            assert set(ids.findall(other)).isdisjoint(ids.findall(first))


def test_input_that_is_no_object_can_be_streamed_alone(mock_provider: MockProvider) -> None:
    """Arguments that are no JSON object are streamed as they stand; a whole message that must hold them is refused."""
    mock_provider.on().reply(ToolCall("look", "{broken"))
    streamed = post(mock_provider, request(stream=True))
    assert text_of(documents(streamed.content), "partial_json") == "{broken"
    refused = post(mock_provider, request())
    assert refused.status_code == 500
    assert "has its input as a JSON object" in refused.json()["error"]["message"]
    with pytest.raises(Exception, match="JSON object"):
        mock_provider.check()


# ------------------------------------------------------------------------------------------------ faults


def fault(provider: MockProvider, chain: str, **fields: Any) -> httpx.Response:
    """What a streamed request with faults is answered with."""
    return post(provider, request(stream=True, **fields), f"/with/{chain}/v1/messages")


@pytest.mark.parametrize(
    ("at", "outlines"), [("start", {1}), ("late", {2, 3}), ("none", set()), ("recorded", {1, 2, 3})]
)
def test_pings_come_where_they_were_recorded(mock_provider: MockProvider, at: str, outlines: set[int]) -> None:
    """The fault `pings` moves the ping, or takes it away; drawn as recorded, most come after the block's start."""
    mock_provider.on().reply("One two three four.")
    places = []
    for number in range(60 if at == "recorded" else 6):
        found = documents(fault(mock_provider, f"pings(at={at})", system=f"{number}").content)
        assert text_of(found) == "One two three four."
        types = [one["type"] for one in found]
        places.append(types.index("ping") - 1 if "ping" in types else None)
    assert {place for place in places if place is not None} <= outlines
    if at == "recorded":
        assert places.count(1) > 30
        assert len(set(places)) > 2
    else:
        assert (None in places) == (at == "none")


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ("drop-payloads(at=done)", "the dialect anthropic-messages has no such kind of payload"),
        ("drop-payloads(at=refusal)", "the dialect anthropic-messages has no such kind of payload"),
        ("error-payload(chunk=true)", "the dialect anthropic-messages has no chunks with choices"),
    ],
)
def test_faults_that_the_dialect_has_no_place_for_are_refused(
    mock_provider: MockProvider, chain: str, message: str
) -> None:
    """A fault of what only chat completions have is a 400 that says so."""
    answer = fault(mock_provider, chain)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert message in answer.json()["error"]["message"]


def test_templates_know_the_text_and_the_tokens(mock_provider: MockProvider) -> None:
    """In a fault's document, `$text` is the answer so far and `$tokens` its number of tokens, in this dialect too."""
    mock_provider.on().reply("One two three.")
    said = 'insert-payload(before=close,bare=true,document={"type":"note","text":"$text","tokens":"$tokens"})'
    (note,) = [one for one in documents(fault(mock_provider, said).content) if one["type"] == "note"]
    assert note == {"type": "note", "text": "One two three.", "tokens": 4}


def test_edited_documents_keep_their_padding(mock_provider: MockProvider) -> None:
    """A document that a fault has changed is padded as it was."""
    mock_provider.on().reply("One two three four five six seven.")
    edited = fault(mock_provider, "set(path=index,value=7,at=text)").content
    plain = post(mock_provider, request(stream=True)).content
    pattern = re.compile(rb'"}( *)}\n')
    assert pattern.findall(edited) == pattern.findall(plain)
    assert edited.count(b'"index":7') == plain.count(b"text_delta")


def test_pings_are_anthropics_alone(mock_provider: MockProvider) -> None:
    """The fault `pings` is refused where a stream has none."""
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    answer = httpx.post(mock_provider.url + "/with/pings/v1/chat/completions", json=chat)
    assert answer.status_code == 400
    assert "the dialect openai-chat has no pings" in answer.json()["error"]["message"]

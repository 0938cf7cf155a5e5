"""OpenAI's Responses, streamed and whole: what each request is answered with, and that its SDK reads it strictly."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai import BaseModel
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from mockprovider.errors import RequestError
from mockprovider.provider import MockProvider
from mockprovider.reply import Part, Reasoning, Refusal, Reply, Text, ToolCall
from tests.responding import RESPONSES, ask, body, documents, outline, request, whole

pytestmark = pytest.mark.mockprovider(seed=1)
"""A server for each test, so that no thread of a shared one is left for tests that count threads."""

CALLS = (ToolCall("look", {"up": "é"}), ToolCall("book", '{"seats": 2}', id="call_mine"))
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {
                "up": {"type": "string", "minLength": 3},
                "far": {"type": "string", "enum": ["near", "far"]},
            },
            "required": ["up", "far"],
            "additionalProperties": False,
        },
        "strict": True,
    },
    {"type": "function", "name": "book", "parameters": {"type": "object", "properties": {}}},
    {"type": "custom", "name": "shell"},
]
REPLIES: dict[str, Reply] = {
    "text": Reply.of("Grüße, 世界 👩🏽‍🔬!\n"),
    "empty": Reply.of(""),
    "nothing": Reply.of(finish="content_filter"),
    "reasoning": Reply.of(Reasoning("Let me see."), "Three."),
    "reasoning again": Reply.of(Reasoning("One."), "Two.", Reasoning("Three."), "Four."),
    "refusal": Reply.of(Refusal("I can't help with that.")),
    "text and refusal": Reply.of("Well, ", Refusal("no.")),
    "call": Reply.of(CALLS[0]),
    "text and calls": Reply.of("One moment. ", *CALLS, "Done."),
    "custom call": Reply.of(ToolCall("shell", "ls -l")),
    "length": Reply.of("Cut o", finish="length"),
    "failed": Reply.of("So", finish="failed"),
}
FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reasoning model": {"model": "gpt-5", "include": ["reasoning.encrypted_content"]},
    "newest": {"model": "gpt-5.6-sol", "reasoning": {"effort": "low", "summary": "detailed"}, "store": False},
    "another's": {"model": "deepseek-v4"},
    "log probabilities": {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
    "tools": {"tools": TOOLS, "tool_choice": {"type": "function", "name": "book"}, "parallel_tool_calls": False},
    "settings": {
        "instructions": "Be kind.",
        "max_output_tokens": 900,
        "metadata": {"a": "b"},
        "previous_response_id": "resp_1",
        "prompt_cache_key": "key",
        "safety_identifier": "me",
        "service_tier": "flex",
        "temperature": 0,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "me",
    },
}

UNKNOWN = {
    "frequency_penalty": "of the response, recorded since February 2026",
    "presence_penalty": "the same",
    "store": "of the response, recorded always",
    "obfuscation": "of deltas, recorded since 2025",
    "status": "of calls of custom tools, recorded always",
}
"""What is recorded of OpenAI and not known to the types of its SDK, version 3.54."""

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def stream(*parts: str | Part | Reply, **fields: Any) -> list[dict[str, Any]]:
    """The events of a streamed reply."""
    return documents(body(RESPONSES, ask(stream=True, **fields), *parts))


def text_of(found: list[dict[str, Any]], kind: str = "output_text") -> str:
    """The deltas of one kind, joined."""
    return "".join(one["delta"] for one in found if one["type"] == f"response.{kind}.delta")


def extras(model: Any) -> set[str]:
    """The keys of a document that the SDK's type does not have."""
    if isinstance(model, BaseModel):
        known = {key for name in type(model).model_fields for key in extras(getattr(model, name))}
        return known | set(model.model_extra or {})
    return {key for item in model for key in extras(item)} if isinstance(model, list) else set()


# ------------------------------------------------------------------------------------------------ the SDK's types


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_the_sdk_types_accept_everything_strictly(reply: Reply, fields: dict[str, Any]) -> None:
    """OpenAI's types accept every event and response, and know all in it but what is recorded and missing in them."""
    fields = {"tools": TOOLS, **fields}
    for document in stream(reply, **fields):
        event = EVENT.validate_json(json.dumps(document), strict=True)
        assert extras(event) <= set(UNKNOWN), document
    response = Response.model_validate_json(json.dumps(whole(RESPONSES, reply, **fields)), strict=True)
    assert extras(response) <= set(UNKNOWN)


# ------------------------------------------------------------------------------------------------ streams


def test_a_text_is_streamed_in_the_recorded_order() -> None:
    """The response, the item, its part and the deltas are opened and closed in order, without `[DONE]`."""
    found = stream(REPLIES["text"])
    assert outline(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    said = "Grüße, 世界 👩🏽‍🔬!\n"
    assert text_of(found) == said
    assert [one["text"] for one in found if one["type"] == "response.output_text.done"] == [said]
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == said
    assert b"[DONE]" not in body(RESPONSES, ask(stream=True), REPLIES["text"])


@pytest.mark.parametrize("name", REPLIES)
def test_events_are_compact_and_ordered(name: str) -> None:
    """Each event is compact JSON with raw characters: the type first, then everything else by its name."""
    for block in body(RESPONSES, ask(stream=True), REPLIES[name]).decode().removesuffix("\n\n").split("\n\n"):
        event, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert event == f"event: {document['type']}"
        assert data == "data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        kind, *others = document
        assert kind == "type"
        assert others == sorted(others)


def test_padding_hides_the_length() -> None:
    """Every delta and its obfuscation together are a multiple of 16 characters, unless it is asked away."""
    said = 'a ab abc abcdefg é 漢漢漢 👩 "\\ \ud800 \n\n'
    parts = (Reasoning("Hm, “so”."), said, Refusal("No."), ToolCall("look", {"é": "\n"}), ToolCall("shell", "ls"))
    lengths = set()
    for one in stream(*parts, tools=TOOLS):
        assert ("obfuscation" in one) == ("delta" in one)
        if "delta" in one:
            assert (len(one["delta"]) + len(one["obfuscation"])) % 16 == 0
            lengths.add(len(one["obfuscation"]))
    assert len(lengths) > 4
    bare = stream(*parts, stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in one for one in bare)
    assert text_of(bare).encode("utf-16", "surrogatepass") == said.encode("utf-16", "surrogatepass")


def test_reasoning_is_a_summary_in_an_item_of_its_own() -> None:
    """Thinking is told as the summary of a reasoning item, part by part, before the message."""
    found = stream(REPLIES["reasoning"], model="gpt-5", include=["reasoning.encrypted_content"])
    assert outline(found)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert text_of(found, "reasoning_summary_text") == "Let me see."
    item = next(one["item"] for one in found if one["type"] == "response.output_item.done")
    assert list(item) == ["id", "type", "content", "encrypted_content", "summary"]
    assert item["summary"] == [{"type": "summary_text", "text": "Let me see."}]
    assert re.fullmatch("gAAAAAB[A-Za-z0-9]+==", item["encrypted_content"])
    usage = found[-1]["response"]["usage"]
    assert (usage["output_tokens"], usage["output_tokens_details"]) == (6, {"reasoning_tokens": 4})


def test_models_of_others_show_their_thinking() -> None:
    """A model that is not OpenAI's tells its thinking as reasoning text, unless a summary is asked for."""
    found = stream(REPLIES["reasoning"], model="gpt-oss-120b")
    assert outline(found)[3:7] == [
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
    ]
    item = whole(RESPONSES, REPLIES["reasoning"], model="gpt-oss-120b")["output"][0]
    assert item["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    summarised = stream(REPLIES["reasoning"], model="gpt-oss-120b", reasoning={"summary": "auto"})
    assert text_of(summarised, "reasoning_summary_text") == "Let me see."


@pytest.mark.parametrize(
    ("model", "effort", "thinks"),
    [("gpt-5-mini", None, True), ("o4-mini", "low", True), ("gpt-5", "minimal", False), ("gpt-5.4", None, False)],
)
def test_older_reasoning_models_always_have_a_reasoning_item(model: str, effort: str | None, thinks: bool) -> None:
    """Where nothing was thought, older reasoning models have an empty reasoning item, as recorded; newer have none."""
    reasoning = None if effort is None else {"effort": effort}
    types = [item["type"] for item in whole(RESPONSES, "Hi", model=model, reasoning=reasoning)["output"]]
    assert types == (["reasoning"] if thinks else []) + ["message"]
    streamed = stream("Hi", model=model, reasoning=reasoning)
    assert [one["item"]["type"] for one in streamed if one["type"] == "response.output_item.added"] == types


def test_newer_models_say_which_message_is_the_answer() -> None:
    """A message before a tool call is commentary, the last one the final answer; older models do not say."""
    reply = Reply.of("Let me look.", CALLS[0], "It is far.")
    phases = [item.get("phase") for item in whole(RESPONSES, reply, model="gpt-5.5", tools=TOOLS)["output"]]
    assert phases == ["commentary", None, "final_answer"]
    assert "phase" not in whole(RESPONSES, "Hi", model="gpt-4o")["output"][0]


def test_function_calls_are_items_whose_arguments_are_streamed() -> None:
    """Each call is an item with empty arguments, deltas, and its arguments; ids are given, or made up."""
    found = stream(REPLIES["text and calls"], tools=TOOLS)
    assert outline(found)[8:12] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    added = [one["item"] for one in found if one["type"] == "response.output_item.added"]
    assert list(added[1]) == ["id", "type", "status", "arguments", "call_id", "name"]
    assert (added[1]["status"], added[1]["arguments"]) == ("in_progress", "")
    assert re.fullmatch("call_[0-9A-Za-z]{24}", added[1]["call_id"])
    assert added[2]["call_id"] == "call_mine"
    done = [one["arguments"] for one in found if one["type"] == "response.function_call_arguments.done"]
    assert done == ['{"up":"é"}', '{"seats": 2}']
    assert [one["output_index"] for one in found if one["type"] == "response.output_item.done"] == [0, 1, 2, 3]
    assert found[-1]["response"]["status"] == "completed"


def test_a_custom_tool_is_called_with_its_input() -> None:
    """A call of a custom tool is an item of its own type, with input of any form."""
    found = stream(REPLIES["custom call"], tools=TOOLS)
    assert outline(found)[2:6] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert text_of(found, "custom_tool_call_input") == "ls -l"
    (item,) = found[-1]["response"]["output"]
    assert list(item) == ["id", "type", "status", "call_id", "input", "name"]
    assert (item["type"], item["input"], item["name"]) == ("custom_tool_call", "ls -l", "shell")


def test_a_refusal_is_a_part_of_the_message() -> None:
    """A refusal has its own events and part, after the text in the same message."""
    found = stream(REPLIES["text and refusal"])
    assert outline(found)[6:10] == [
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
    ]
    assert [one["refusal"] for one in found if one["type"] == "response.refusal.done"] == ["no."]
    (message,) = found[-1]["response"]["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1] == {"type": "refusal", "refusal": "no."}


def test_calls_may_alternate() -> None:
    """Where the fragments of two calls alternate, a call is done when all its arguments have come."""
    with MockProvider(seed=1) as provider:
        provider.on().reply(*CALLS, faults="interleave-calls")
        found = sent(provider, stream=True, tools=TOOLS)
    done = [one["arguments"] for one in found if one["type"] == "response.function_call_arguments.done"]
    assert done == ['{"up":"é"}', '{"seats": 2}']
    deltas = [one["output_index"] for one in found if one["type"] == "response.function_call_arguments.delta"]
    assert deltas != sorted(deltas)
    last = {one["output_index"]: at for at, one in enumerate(found) if one["type"].endswith("arguments.delta")}
    over = {one["output_index"]: at for at, one in enumerate(found) if one["type"] == "response.output_item.done"}
    assert all(over[index] > last[index] for index in last)


# ------------------------------------------------------------------------------------------------ how it ends


@pytest.mark.parametrize(
    ("reply", "fields", "status", "why"),
    [
        ("One two.", {}, "completed", None),
        (CALLS[0], {}, "completed", None),
        (Refusal("No."), {}, "completed", None),
        ("word " * 40, {"max_output_tokens": 16}, "incomplete", {"reason": "max_output_tokens"}),
        (Reply.of("So", finish="content_filter"), {}, "incomplete", {"reason": "content_filter"}),
        (Reply.of("So", finish="length"), {}, "incomplete", {"reason": "max_output_tokens"}),
        (Reply.of("So", finish="failed"), {}, "failed", None),
    ],
)
def test_every_end_has_its_event_and_status(reply: Any, fields: dict[str, Any], status: str, why: Any) -> None:
    """Limits, filters and failures are told by the last event, the status and its details, streamed and whole alike."""
    last = stream(reply, **fields)[-1]
    assert last["type"] == f"response.{status}"
    for response in (last["response"], whole(RESPONSES, reply, **fields)):
        assert response["status"] == status
        assert response["incomplete_details"] == why
        assert (response["error"] is not None) == (status == "failed")
        assert (response["completed_at"] is None) == (status != "completed")
        assert (response["usage"] is None) == (status == "failed")
        if status == "incomplete":
            assert response["output"][-1]["status"] == "incomplete"


def test_an_error_event_comes_before_the_failure() -> None:
    """The finish `error` says what failed in an event of its own, and then what became of the response."""
    *_, error, failed = stream(Reply.of("So", finish="error"))
    assert error["type"] == "error"
    assert list(error["error"]) == ["type", "code", "message", "param"]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {key: error["error"][key] for key in ("code", "message")}
    assert failed["response"]["output"] == []


# ------------------------------------------------------------------------------------------------ the response


def test_a_whole_response_has_the_recorded_fields() -> None:
    """A whole response is indented by two, and its fields are in the recorded order."""
    text = body(RESPONSES, ask(), "Hi").decode()
    response = json.loads(text)
    assert text == json.dumps(response, indent=2, ensure_ascii=False)
    assert list(response) == [
        "id", "object", "created_at", "status", "background", "completed_at", "error", "frequency_penalty",
        "incomplete_details", "instructions", "max_output_tokens", "max_tool_calls", "model", "moderation", "output",
        "parallel_tool_calls", "presence_penalty", "previous_response_id", "prompt_cache_key",
        "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "temperature", "text",
        "tool_choice", "tool_usage", "tools", "top_logprobs", "top_p", "truncation", "usage", "user", "metadata",
    ]  # fmt: skip
    assert response["model"] == "gpt-4o-2024-08-06"
    assert re.fullmatch("resp_[0-9a-f]{50}", response["id"])
    (message,) = response["output"]
    assert re.fullmatch("msg_[0-9a-f]{50}", message["id"])
    assert message["id"][4:22] == response["id"][5:23]
    assert response["usage"] == {
        "input_tokens": 8,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


def test_the_response_tells_the_request() -> None:
    """Every setting of the request is told back, tools and formats with all their fields."""
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    given_fields = {
        **FIELDS["settings"],
        "reasoning": {"effort": "high", "summary": "auto"},
        "model": "gpt-5.5",
        "tools": [*TOOLS, {"type": "web_search"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}, "verbosity": "low"},
        "frequency_penalty": 1,
        "max_tool_calls": 3,
        "conversation": None,
    }
    response = whole(RESPONSES, "{}", **given_fields)
    for key in ("instructions", "metadata", "previous_response_id", "prompt_cache_key", "safety_identifier", "user"):
        assert response[key] == given_fields[key]
    for key in ("max_output_tokens", "max_tool_calls", "temperature", "top_p", "truncation", "tool_choice"):
        assert response[key] == given_fields[key]
    assert response["service_tier"] == "flex"
    assert response["frequency_penalty"] == 1.0
    assert response["reasoning"] == {
        "context": "current_turn", "effort": "high", "mode": "standard", "summary": "auto",
    }  # fmt: skip
    assert response["text"] == {
        "format": {"type": "json_schema", "description": None, "name": "x", "schema": schema, "strict": True},
        "verbosity": "low",
    }
    look, book, shell, search = response["tools"]
    assert look == {**TOOLS[0], "description": None, "output_schema": None}
    assert list(look) == ["type", "description", "name", "output_schema", "parameters", "strict"]
    assert book["strict"] is False
    assert shell == {"type": "custom", "description": None, "format": {"type": "text"}, "name": "shell"}
    assert search == {"type": "web_search"}
    begun = stream("{}", **given_fields)[0]["response"]
    differing = {key for key in response if response[key] != begun[key]}
    assert differing == {"status", "completed_at", "output", "usage"}


def test_log_probabilities_are_told_in_deltas_and_in_the_message() -> None:
    """One entry a token, without bytes in events and with them in the message; the same in both."""
    fields = FIELDS["log probabilities"]
    found = stream("One two.", **fields)
    entries = [entry for one in found if one["type"] == "response.output_text.delta" for entry in one["logprobs"]]
    (part,) = found[-1]["response"]["output"][0]["content"]
    assert [entry["token"] for entry in part["logprobs"]] == ["One", " two", "."]
    assert [entry["logprob"] for entry in entries] == [entry["logprob"] for entry in part["logprobs"]]
    assert all(len(entry["top_logprobs"]) == 3 for entry in entries)
    assert part["logprobs"][1]["bytes"] == list(b" two")
    assert "bytes" not in entries[0]


parts = st.lists(
    st.one_of(
        st.text(max_size=30).map(Text),
        st.text(max_size=20).map(Reasoning),
        st.text(max_size=20).map(Refusal),
        st.builds(
            ToolCall, st.sampled_from(["look", "shell"]), st.dictionaries(st.text(max_size=5), st.text(max_size=9))
        ),
    ),
    max_size=6,
)


@example([Text("One two three."), CALLS[0], Text("Four five six.")], 100, False, 1)
@settings(max_examples=100, deadline=None)
@given(parts, st.integers(16, 40), st.booleans(), st.integers(1, 3))
def test_the_short_way_gives_the_same_bytes(said: list[Part], limit: int, relay: bool, tokens: int) -> None:
    """Text deltas that are composed are byte for byte what the encoders make of them one after the other."""
    asked = ask(stream=True, max_output_tokens=limit, tools=TOOLS)
    assert body(RESPONSES, asked, *said, relay=relay, tokens=tokens) == body(
        RESPONSES, asked, *said, relay=relay, tokens=tokens, composed=False
    )


@settings(max_examples=100, deadline=None)
@given(parts, st.integers(16, 40))
def test_streamed_and_whole_say_the_same(said: list[Part], limit: int) -> None:
    """The last event of a stream has the response that is given whole, and the deltas are its texts."""
    fields = {"max_output_tokens": limit, "tools": TOOLS}
    found = stream(*said, **fields)
    assert found[-1]["response"] == whole(RESPONSES, *said, **fields)
    said_by_item: dict[int, str] = {}
    for one in found:
        if "delta" in one:
            said_by_item[one["output_index"]] = said_by_item.get(one["output_index"], "") + one["delta"]
    for index, item in enumerate(found[-1]["response"]["output"]):
        texts = [part.get("text", part.get("refusal")) for part in item.get("content", []) + item.get("summary", [])]
        told = "".join(texts) + item.get("arguments", "") + item.get("input", "")
        assert said_by_item.get(index, "").encode("utf-16", "surrogatepass") == told.encode("utf-16", "surrogatepass")


# ------------------------------------------------------------------------------------------------ requests

MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"}, {"type": "input_image",
     "image_url": "data:,", "detail": "low"}, {"type": "input_file", "file_id": "file_1"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "I will.", "annotations": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "item_reference", "id": "msg_2"},
    {"id": "msg_3"},
    {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "far"}]},
]  # fmt: skip


def test_items_of_every_kind_are_understood() -> None:
    """Messages, reasoning, calls, outputs, references and images are read; the texts of messages and outputs count."""
    asked = ask(input=MESSAGES, instructions="Speak.", tools=TOOLS)
    assert asked.messages == (
        ("system", "Speak."),
        ("developer", "Be brief."),
        ("user", "Look"),
        ("assistant", "I will."),
        ("tool", "far"),
    )
    assert asked.answers_tool
    assert ask(input="Hi").messages == (("user", "Hi"),)
    outside = [{"type": "function_call_output", "call_id": "call_0", "output": "x"}]
    assert ask(input=outside, previous_response_id="resp_1").messages == (("tool", "x"),)


@pytest.mark.parametrize(
    ("fields", "param", "code", "message"),
    [
        ({"model": None}, "model", "missing_required_parameter", "Missing required parameter: 'model'."),
        ({"input": None}, None, "missing_required_parameter", 'One of "input" or "previous_response_id" or'),
        ({"messages": []}, "messages", "unknown_parameter", "Unknown parameter: 'messages'."),
        ({"input": 3}, "input", "invalid_type", "expected one of an array of objects or string, but got an integer"),
        ({"input": [3]}, "input[0]", "invalid_type", "Invalid type for 'input[0]': expected an object"),
        ({"input": [{}]}, "input[0].type", "missing_required_parameter", "Missing required parameter"),
        ({"input": [{"type": "x"}]}, "input[0].type", "invalid_value", "Invalid value: 'x'. Supported values are:"),
        ({"input": [{"role": "tool", "content": ""}]}, "input[0].role", "invalid_value", "Invalid value: 'tool'."),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[0].content[0].type",
            "invalid_value",
            "Supported values are: 'input_text', 'input_image', 'output_text', 'refusal', 'input_file',",
        ),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
            "input[0].content[0].type",
            "invalid_value",
            "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
        ),
        ({"input": MESSAGES[-1:]}, "input", None, "No tool call found for function call output with call_id call_1."),
        ({"input": MESSAGES[4:5]}, "input", None, "No tool output found for function call call_1."),
        ({"max_output_tokens": 5}, "max_output_tokens", "integer_below_min_value", "Expected a value >= 16"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value", "Expected a value <= 2"),
        ({"stream": "yes"}, "stream", "invalid_type", "expected a boolean, but got a string instead."),
        ({"include": ["x"]}, "include[0]", "invalid_value", "Invalid value: 'x'."),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort", "invalid_value", "Invalid value: 'much'."),
        ({"previous_response_id": "x"}, "previous_response_id", "invalid_value", "an ID that begins with 'resp'"),
        ({"stream_options": {}}, "stream_options", None, "only allowed when 'stream' is enabled"),
        ({"background": True}, "background", "unsupported_parameter", "'background'"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter", "'tools[0].name'"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].name", "missing_required_parameter", ""),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name", "invalid_value", "does not match pattern"),
        (
            {"tools": [{"type": "function", "name": "x", "strict": True, "parameters": {"type": "object"}}]},
            "tools[0].parameters",
            "invalid_function_parameters",
            "Invalid schema for function 'x'",
        ),
        ({"tool_choice": "required"}, "tool_choice", None, "must be specified with 'tools' parameter"),
        ({"tool_choice": {"type": "function", "name": "x"}, "tools": TOOLS}, "tool_choice", None, "not found in"),
        ({"text": {"format": {"type": "x"}}}, "text.format.type", "invalid_value", "Invalid value: 'x'."),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter", ""),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": {"type": "object"}}}},
            "text.format.schema",
            "invalid_json_schema",
            "Invalid schema for response_format 'x'",
        ),
        ({"text": {"format": {"type": "json_object"}}, "input": "Hi"}, "input", None, "must contain the word 'json'"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_in_openais_words(
    fields: dict[str, Any], param: str | None, code: str | None, message: str
) -> None:
    """What OpenAI would refuse is refused with its status, parameter, code and wording."""
    with pytest.raises(RequestError) as caught:
        ask(**fields)
    error = caught.value
    assert (error.status, error.param, error.code) == (400, param, code)
    assert message in error.message
    _, content = RESPONSES.error(error, "req_1")
    told = json.loads(content)["error"]
    assert told == {"message": error.message, "type": "invalid_request_error", "param": param, "code": code}


# ------------------------------------------------------------------------------------------------ the server


def sent(provider: MockProvider, **fields: Any) -> Any:
    """What a server answers: the events of a stream, or the document of anything else."""
    from tests.asking import request as http

    answer = http("POST", f"{provider.url}/v1/responses", json.dumps(request(**fields)))
    return documents(answer.body) if answer.headers["content-type"].startswith("text/event-stream") else answer.json


def test_structured_output_and_forced_tools_are_generated(mock_provider: MockProvider) -> None:
    """Without a script, a JSON Schema gets an instance of it, and a required tool is called with valid arguments."""
    schema = TOOLS[0]["parameters"]
    format = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    (message,) = sent(mock_provider, text={"format": format})["output"]
    jsonschema.validate(json.loads(message["content"][0]["text"]), schema)
    (call,) = sent(mock_provider, tools=TOOLS[:1], tool_choice="required")["output"]
    assert (call["type"], call["name"]) == ("function_call", "look")
    jsonschema.validate(json.loads(call["arguments"]), schema)
    (call,) = sent(mock_provider, tools=TOOLS, tool_choice={"type": "custom", "name": "shell"})["output"]
    assert (call["type"], call["name"]) == ("custom_tool_call", "shell")
    said = sent(mock_provider, input=MESSAGES, tools=TOOLS, tool_choice="required")["output"]
    assert [item["type"] for item in said] == ["message"]


def test_a_repetition_differs_in_its_ids_alone() -> None:
    """The same request gets the same response again, with other ids; what is kept of it is what would be rendered."""
    with MockProvider(seed=1) as provider:
        provider.on().reply(Reasoning("Hm."), "It is sunny.", CALLS[0])
        rounds = [sent(provider, stream=True, model="gpt-5", tools=TOOLS) for _ in range(3)]
    ids = [re.findall(r"(?:resp|msg|rs|fc)_[0-9a-f]{50}", json.dumps(found)) for found in rounds]
    assert len({tuple(each) for each in ids}) == 3
    assert len({len(each) for each in ids}) == 1
    plain = {re.sub(r"_[0-9a-f]{50}|call_\w{24}|_at\": \d+", "", json.dumps(found)) for found in rounds}
    assert len(plain) == 1

"""The family `payload`, observed on a raw socket: each observation is written from the words of the case's row.

"The good stream" is what `good` asserts; each observation adds what its row says differs from it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from mockprovider import MockProvider
from mockprovider.reply import ToolCall
from tests.cases.observe import TEXT, Seen, observe
from tests.cases.proofs import Proofs

PROOFS = Proofs("payload")

CITY = {"city": "Paris"}
THINKING = "The tide turns at noon, so the boats leave before."
ANSWER = "They leave at eleven."


# ---------------------------------------------------------------------------------------------- what observers share


def framed(seen: Seen, *, done: int = 1) -> None:
    """Status 200, an event stream, one `data:` line a payload, a clean end; so many sentinels, and nothing after."""
    assert seen.status == 200
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert (seen.ending, seen.wrong) == ("complete", None)
    assert [block for block in seen.blocks if not block.startswith(b"data: ") or block.count(b"\n") != 2] == []
    assert seen.done == done
    assert not done or seen.data[-1] == "[DONE]"


def good(seen: Seen, *, finish: str = "stop", text: str | None = TEXT) -> None:
    """Framed as it should be; every event but the sentinel is one document of the same chunk stream, the text whole,
    one finish reason."""
    framed(seen)
    assert len(seen.documents) == len(seen.data) - 1
    assert envelopes(seen.documents) == 1
    assert text is None or seen.text == text
    assert seen.finishes == [finish]


def envelopes(documents: list[Any]) -> int:
    """How many different envelopes the documents have."""
    names = ("id", "object", "created", "model")
    return len({json.dumps([document.get(name) for name in names]) for document in documents})


def deltas(seen: Seen) -> list[Any]:
    """The delta of each choice of each document, in order; None where there is none."""
    return [choice.get("delta") for choice in seen.choices]


def with_field(seen: Seen, name: str) -> list[Any]:
    """The deltas in which a field has a value that is neither null nor empty."""
    return [delta for delta in deltas(seen) if delta and delta.get(name)]


def fragments(seen: Seen) -> list[Any]:
    """The items of delta.tool_calls, in order."""
    return [call for delta in with_field(seen, "tool_calls") for call in delta["tool_calls"]]


def arguments(calls: list[Any]) -> str:
    """The pieces of the arguments, joined."""
    return "".join(call["function"].get("arguments") or "" for call in calls)


def strict(data: str) -> Any:
    """The data as RFC 8259 has JSON; None where it is none."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(data, parse_constant=refuse)
    except ValueError:
        return None


def cut_short(seen: Seen, *, done: int = 1) -> None:
    """Framed; some of the text, but not all of it, and no finish reason that says it is whole."""
    framed(seen, done=done)
    assert seen.text
    assert seen.text != TEXT
    assert TEXT.startswith(seen.text)
    assert "stop" not in seen.finishes


# ---------------------------------------------------------------------------------------------- errors in the stream


@PROOFS.case("error-object-midstream")
def error_object_midstream(seen: Seen) -> None:
    """After some text an error object with its code, then the sentinel."""
    cut_short(seen)
    assert seen.finishes == []
    *chunks, last = seen.documents
    assert len(chunks) > 2
    assert list(last) == ["error"]
    assert isinstance(last["error"]["message"], str)
    assert isinstance(last["error"]["type"], str)
    assert last["error"]["code"] == 504
    assert strict(seen.data[-2]) == last, "nothing but the sentinel comes after it"


@PROOFS.case("error-object-in-chunk")
def error_object_in_chunk(seen: Seen) -> None:
    """A chunk with an envelope has an error beside empty choices."""
    framed(seen)
    failed = [document for document in seen.documents if "error" in document]
    assert len(failed) == 1
    assert failed[0]["choices"] == []
    assert failed[0]["error"] == {"code": 502, "message": "Worker local total request limit reached (33/32)"}
    assert failed[0]["id"].startswith("chatcmpl-")
    assert failed[0]["object"] == "chat.completion.chunk"
    assert seen.text == ""


@PROOFS.case("error-finish-reason")
def error_finish_reason(seen: Seen) -> None:
    """After some text a chunk has an error, and the finish reason error."""
    cut_short(seen)
    assert envelopes(seen.documents) == 1
    last = seen.documents[-1]
    assert seen.finishes == ["error"]
    assert last["choices"][0]["finish_reason"] == "error"
    assert last.get("error")
    assert "message" in last["error"]


@PROOFS.case("error-bare-string")
def error_bare_string(seen: Seen) -> None:
    """The value of error is a string."""
    framed(seen)
    assert b'data: {"error":"STREAM_EXPLODED"}\n\n' in seen.blocks


@PROOFS.case("error-code-odd")
def error_code_odd(seen: Seen) -> None:
    """The first event is an error whose code is null, a text, or 9999."""
    framed(seen)
    error = seen.documents[0].get("error")
    assert error, "the first event is an error"
    assert error["message"]
    assert error["code"] is None or isinstance(error["code"], str) or error["code"] == 9999


@PROOFS.case("error-unframed-json")
def error_unframed_json(seen: Seen) -> None:
    """After some text the body's last line is an error object without a field name; no sentinel."""
    assert (seen.status, seen.ending, seen.done) == (200, "complete", 0)
    assert seen.text
    assert TEXT.startswith(seen.text)
    assert seen.text != TEXT
    assert seen.finishes == []
    *_, (line, end) = seen.lines
    assert (line.startswith(b'{"error":{'), end) == (True, b"\n")
    assert "message" in json.loads(line)["error"]
    before = seen.body.removesuffix(line + end)
    assert all(block.startswith(b"data: ") for block in before.split(b"\n\n") if block)


@PROOFS.case("error-swallowed-done-only")
def error_swallowed_done_only(seen: Seen) -> None:
    """The whole body is the sentinel."""
    framed(seen)
    assert seen.body == b"data: [DONE]\n\n"


# ---------------------------------------------------------------------------------------------- Azure, usage


@PROOFS.case("azure-prompt-filter")
def azure_prompt_filter(seen: Seen) -> None:
    """The first event has an empty envelope, no choice, and the filter's results."""
    framed(seen)
    first, *rest = seen.documents
    assert {name: first.get(name) for name in ("id", "choices", "created", "model", "object")} == {
        "id": "",
        "choices": [],
        "created": 0,
        "model": "",
        "object": "",
    }
    assert isinstance(first["prompt_filter_results"], list)
    assert envelopes(rest) == 1
    assert rest[0]["id"]
    assert seen.text == TEXT


@PROOFS.case("azure-delta-missing")
def azure_delta_missing(seen: Seen) -> None:
    """One chunk's choice has no delta key."""
    good(seen)
    bare = [choice for choice in seen.choices if "delta" not in choice]
    assert len(bare) == 1
    assert list(bare[0]) == ["index", "finish_reason", "content_filter_offsets"]
    assert (bare[0]["index"], bare[0]["finish_reason"]) == (0, None)
    assert isinstance(bare[0]["content_filter_offsets"], dict)


@PROOFS.case("delta-null-on-finish")
def delta_null_on_finish(seen: Seen) -> None:
    """The chunk with the finish reason has a null delta, and no other has."""
    good(seen)
    assert b'"delta":null' in seen.blocks[-2]
    assert seen.choices[-1]["delta"] is None
    assert seen.choices[-1]["finish_reason"] == "stop"
    assert None not in deltas(seen)[:-1]


def counted(usage: Any) -> None:
    """A usage object whose sum is right."""
    assert usage
    assert usage["completion_tokens"] > 20
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


@PROOFS.case("usage-only-chunk")
def usage_only_chunk(seen: Seen) -> None:
    """After the finish reason comes a chunk without choices, with the usage."""
    good(seen)
    *chunks, last = seen.documents
    assert last["choices"] == []
    counted(last.get("usage"))
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert [chunk for chunk in chunks if chunk["usage"] is not None] == []


@PROOFS.case("usage-chunk-with-choice")
def usage_chunk_with_choice(seen: Seen) -> None:
    """The usage chunk after the finish reason has an empty choice."""
    good(seen)
    *chunks, last = seen.documents
    counted(last.get("usage"))
    assert [choice["index"] for choice in last["choices"]] == [0]
    assert last["choices"][0]["delta"] == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert [chunk for chunk in chunks if chunk["usage"]] == []


@PROOFS.case("usage-with-last-content")
def usage_with_last_content(seen: Seen) -> None:
    """The last chunk with content has the usage, and there is no usage chunk."""
    good(seen)
    having = [document for document in seen.documents if document.get("usage")]
    assert len(having) == 1
    counted(having[0]["usage"])
    assert [document for document in seen.documents if not document["choices"]] == []
    assert having == [document for document in seen.documents if document["choices"][0]["delta"].get("content")][-1:]


@PROOFS.case("usage-null-every-chunk")
def usage_null_every_chunk(seen: Seen) -> None:
    """Every chunk says that the usage is null."""
    good(seen)
    values = [document.get("usage", "absent") for document in seen.documents]
    assert values in ([None] * len(values), ["absent"] * len(values))
    assert b'"usage"' in seen.body, "of the two forms, the one that says null"


@PROOFS.case("usage-cumulative-every-chunk")
def usage_cumulative_every_chunk(seen: Seen) -> None:
    """Every chunk has the total of the tokens so far."""
    good(seen)
    totals = [document.get("usage") for document in seen.documents]
    assert None not in totals
    counted(totals[-1])
    numbers = [usage["completion_tokens"] for usage in totals]
    with_text = [bool(delta.get("content")) for delta in deltas(seen)]
    assert numbers == list(itertools.accumulate(with_text, initial=0))[1:], "one token a delta with text"
    assert all(usage["total_tokens"] - usage["completion_tokens"] == usage["prompt_tokens"] > 0 for usage in totals)


# ---------------------------------------------------------------------------------------------- delta, role, content


@PROOFS.case("delta-nulls")
def delta_nulls(seen: Seen) -> None:
    """Every delta has the three null fields."""
    good(seen)
    for delta in deltas(seen):
        assert {name: delta.get(name, "absent") for name in ("tool_calls", "function_call", "name")} == {
            "tool_calls": None,
            "function_call": None,
            "name": None,
        }


@PROOFS.case("delta-empty")
def delta_empty(seen: Seen) -> None:
    """Between deltas with text there are empty ones."""
    good(seen)
    said = [bool(delta.get("content")) for delta in deltas(seen)]
    first, last = said.index(True), len(said) - said[::-1].index(True)
    between = deltas(seen)[first:last]
    assert between.count({}) > 5
    assert [delta for delta in between if not delta.get("content")] == [{}] * between.count({})


@PROOFS.case("role-absent")
def role_absent(seen: Seen) -> None:
    """No delta has a role."""
    good(seen)
    assert b'"role"' not in seen.body


@PROOFS.case("role-null-later")
def role_null_later(seen: Seen) -> None:
    """The first delta has the role, all later ones a null role."""
    good(seen)
    roles = [delta.get("role", "absent") for delta in deltas(seen)]
    assert roles == ["assistant", *[None] * (len(roles) - 1)]


@PROOFS.case("role-empty-string")
def role_empty_string(seen: Seen) -> None:
    """All deltas, of text and tool calls, have an empty role."""
    good(seen, finish="tool_calls", text=None)
    assert [delta for delta in deltas(seen) if delta.get("role") != ""] == []
    assert seen.text
    assert json.loads(arguments(fragments(seen))) == CITY


@PROOFS.case("role-every-chunk")
def role_every_chunk(seen: Seen) -> None:
    """Every delta has the role."""
    good(seen)
    assert [delta for delta in deltas(seen) if delta.get("role") != "assistant"] == []


@PROOFS.case("content-null-with-tools")
def content_null_with_tools(seen: Seen) -> None:
    """Every delta with tool calls has null content."""
    good(seen, finish="tool_calls", text="")
    assert len(with_field(seen, "tool_calls")) > 3
    assert [delta for delta in with_field(seen, "tool_calls") if delta.get("content", "absent") is not None] == []
    assert json.loads(arguments(fragments(seen))) == CITY


@PROOFS.case("content-list")
def content_list(seen: Seen) -> None:
    """The first contents are lists of thinking, the later ones texts."""
    good(seen, text=None)
    contents = [delta["content"] for delta in with_field(seen, "content")]
    lists = [content for content in contents if isinstance(content, list)]
    assert contents[: len(lists)] == lists, "the lists come first"
    assert len(lists) > 5
    parts = [content[0]["thinking"][0] for content in lists]
    assert lists == [[{"type": "thinking", "thinking": [part]}] for part in parts]
    assert "".join(part["text"] for part in parts) == THINKING
    assert {part["type"] for part in parts} == {"text"}
    assert "".join(contents[len(lists) :]) == ANSWER
    assert b"reasoning_content" not in seen.body


@PROOFS.case("content-empty-deltas")
def content_empty_deltas(seen: Seen) -> None:
    """Empty contents stand before, between and after the others."""
    good(seen)
    contents = [delta["content"] for delta in deltas(seen)[1:-1]]
    assert (contents[0], contents[-1]) == ("", "")
    runs = [(bool(empty), len(list(run))) for empty, run in itertools.groupby(contents, lambda content: not content)]
    assert len([size for empty, size in runs if empty]) > 20, "before, between and after"


@PROOFS.case("content-cumulative")
def content_cumulative(seen: Seen) -> None:
    """Beside each delta stands a message with the whole text so far."""
    good(seen)
    so_far = ""
    for choice in seen.choices:
        so_far += choice["delta"].get("content") or ""
        assert choice.get("message"), "beside the delta"
        assert choice["message"]["content"] == so_far
    assert so_far == TEXT


# ---------------------------------------------------------------------------------------------- finish reasons


@PROOFS.case("finish-key-missing")
def finish_key_missing(seen: Seen) -> None:
    """Only the last chunk has the key finish_reason."""
    good(seen)
    assert [choice for choice in seen.choices[:-1] if "finish_reason" in choice] == []
    assert seen.choices[-1]["finish_reason"] == "stop"


@PROOFS.case("finish-empty-string")
def finish_empty_string(seen: Seen) -> None:
    """The finish reason of every chunk before the last is an empty text."""
    framed(seen)
    assert envelopes(seen.documents) == 1
    assert seen.text == TEXT
    assert seen.finishes == [*[""] * (len(seen.choices) - 1), "stop"]


@PROOFS.case("finish-unknown-value")
def finish_unknown_value(seen: Seen) -> None:
    """The finish reason is none of those documented."""
    framed(seen)
    assert seen.text == TEXT
    assert len(seen.finishes) == 1
    assert seen.finishes[0] in ("eos", "abort", "repetition")


@PROOFS.case("finish-with-content")
def finish_with_content(seen: Seen) -> None:
    """The last piece of text comes with the finish reason."""
    good(seen)
    assert seen.choices[-1]["finish_reason"] == "stop"
    assert seen.choices[-1]["delta"].get("content")


@PROOFS.case("finish-twice")
def finish_twice(seen: Seen) -> None:
    """One chunk has the finish reason, the next repeats it with the usage."""
    framed(seen)
    *_, first, second = seen.documents
    assert seen.finishes == ["tool_calls", "tool_calls"]
    assert first["choices"][0]["finish_reason"] == second["choices"][0]["finish_reason"] == "tool_calls"
    assert not first["usage"]
    assert second["usage"]["completion_tokens"] > 0
    assert json.loads(arguments(fragments(seen))) == CITY
    assert envelopes(seen.documents) == 1


@PROOFS.case("content-after-finish")
def content_after_finish(seen: Seen) -> None:
    """One delta with text comes after the finish reason."""
    framed(seen)
    *_, last, late = seen.choices
    assert last["finish_reason"] == "stop"
    assert late["delta"].get("content")
    assert late["finish_reason"] is None
    assert seen.text == TEXT + late["delta"]["content"]
    assert envelopes(seen.documents) == 1


@PROOFS.case("finish-length")
def finish_length(seen: Seen) -> None:
    """The text stops early, and the finish reason is length."""
    cut_short(seen)
    assert seen.finishes == ["length"]
    assert seen.choices[-1]["finish_reason"] == "length"


@PROOFS.case("finish-content-filter")
def finish_content_filter(seen: Seen) -> None:
    """The text stops early, and the finish reason is content_filter; with the sentinel or without."""
    cut_short(seen, done=seen.done)
    assert seen.finishes == ["content_filter"]
    assert seen.choices[-1]["finish_reason"] == "content_filter"


@PROOFS.case("finish-stop-with-tools")
def finish_stop_with_tools(seen: Seen) -> None:
    """A whole tool call, and the finish reason stop."""
    good(seen, text="")
    assert json.loads(arguments(fragments(seen))) == CITY


# ---------------------------------------------------------------------------------------------- tool calls


def call_cut(seen: Seen, *, done: int = 1) -> None:
    """One call whose arguments stop inside their JSON, where the row says."""
    framed(seen, done=done)
    calls = fragments(seen)
    assert calls[0]["id"]
    assert calls[0]["function"]["name"]
    assert arguments(calls) == '{"city":"Par'


@PROOFS.case("tool-truncated-by-length")
def tool_truncated_by_length(seen: Seen) -> None:
    """The arguments stop inside their JSON, and the finish reason is length."""
    call_cut(seen)
    assert seen.finishes == ["length"]


@PROOFS.case("tool-truncated-reported-ok")
def tool_truncated_reported_ok(seen: Seen) -> None:
    """The arguments stop inside their JSON, and the finish reason is tool_calls."""
    call_cut(seen)
    assert seen.finishes == ["tool_calls"]


@PROOFS.case("tool-stream-cut")
def tool_stream_cut(seen: Seen) -> None:
    """The arguments stop inside their JSON, and so does the body: no finish reason, no sentinel."""
    call_cut(seen, done=0)
    assert seen.finishes == []


def one_call(seen: Seen, *, name: str = "get_weather") -> list[Any]:
    """The fragments of a good stream's one call."""
    good(seen, finish="tool_calls", text="")
    calls = fragments(seen)
    assert len(calls) > 3
    assert calls[0]["id"].startswith("call_")
    assert calls[0]["type"] == "function"
    assert calls[0]["function"]["name"] == name
    return calls


def two_calls(seen: Seen) -> list[Any]:
    """The fragments of a good stream's two calls."""
    good(seen, finish="tool_calls", text="")
    calls = fragments(seen)
    assert len({call["id"] for call in calls if call.get("id")}) == 2
    return calls


@PROOFS.case("tool-index-missing")
def tool_index_missing(seen: Seen) -> None:
    """No fragment of the one call has an index."""
    calls = one_call(seen)
    assert [call for call in calls if "index" in call] == []
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-index-reused")
def tool_index_reused(seen: Seen) -> None:
    """Two calls with two ids both have index 0, one after the other."""
    calls = two_calls(seen)
    assert {call["index"] for call in calls} == {0}
    second = next(at for at, call in enumerate(calls) if at and call.get("id"))
    assert json.loads(arguments(calls[:second])) == CITY
    assert json.loads(arguments(calls[second:]))


@PROOFS.case("tool-index-out-of-order")
def tool_index_out_of_order(seen: Seen) -> None:
    """The only call has index 1."""
    calls = one_call(seen)
    assert {call["index"] for call in calls} == {1}
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-index-duplicate-in-chunk")
def tool_index_duplicate_in_chunk(seen: Seen) -> None:
    """The first payload with calls has two items of one index: id and name, and a piece of the arguments."""
    calls = one_call(seen)
    first = with_field(seen, "tool_calls")[0]["tool_calls"]
    assert len(first) == 2
    assert first[0]["index"] == first[1]["index"] == 0
    assert not first[0]["function"]["arguments"]
    assert "id" not in first[1]
    assert first[1]["function"]["arguments"]
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-interleaved")
def tool_interleaved(seen: Seen) -> None:
    """The fragments of two calls alternate, and only the first of each has the id."""
    calls = two_calls(seen)
    assert [call["index"] for call in calls[:8]] == [0, 1, 0, 1, 0, 1, 0, 1]
    assert [bool(call.get("id")) for call in calls] == [True, True, *[False] * (len(calls) - 2)]
    for index in (0, 1):
        assert json.loads(arguments([call for call in calls if call["index"] == index]))


@PROOFS.case("tool-id-every-chunk")
def tool_id_every_chunk(seen: Seen) -> None:
    """Every fragment has the full id."""
    calls = one_call(seen)
    assert {call.get("id") for call in calls} == {calls[0]["id"]}
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-id-empty-later")
def tool_id_empty_later(seen: Seen) -> None:
    """The first fragment has the id, later ones an empty one."""
    calls = one_call(seen)
    assert {call.get("id") for call in calls[1:]} == {""}
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-name-string-null")
def tool_name_string_null(seen: Seen) -> None:
    """Later fragments have the name null, as a text, and the type FUNCTION."""
    calls = one_call(seen)
    assert {call["function"].get("name") for call in calls[1:]} == {"null"}
    assert {call.get("type") for call in calls[1:]} == {"FUNCTION"}
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-name-json-null")
def tool_name_json_null(seen: Seen) -> None:
    """Later fragments have a null name."""
    calls = one_call(seen)
    assert {call["function"].get("name", "absent") for call in calls[1:]} == {None}
    assert json.loads(arguments(calls)) == CITY


@PROOFS.case("tool-name-every-chunk")
def tool_name_every_chunk(seen: Seen) -> None:
    """Every fragment has the full name."""
    calls = one_call(seen, name="read_file")
    assert {call["function"].get("name") for call in calls} == {"read_file"}
    assert json.loads(arguments(calls))


@PROOFS.case("tool-name-split")
def tool_name_split(seen: Seen) -> None:
    """The name comes in two fragments."""
    calls = one_call(seen, name="edit_ex")
    assert [call["function"].get("name") for call in calls if "name" in call["function"]] == ["edit_ex", "isting_file"]
    assert calls[1] == {"index": 0, "function": {"name": "isting_file"}}
    assert json.loads(arguments(calls))


@PROOFS.case("tool-args-null")
def tool_args_null(seen: Seen) -> None:
    """One of two calls has null arguments; the other is whole."""
    calls = two_calls(seen)
    nulls = [call for call in calls if call["function"].get("arguments", "absent") is None]
    assert len(nulls) == 1
    assert nulls[0]["id"]
    others = [call for call in calls if call["index"] != nulls[0]["index"]]
    assert json.loads(arguments(others)) == CITY


@PROOFS.case("tool-args-object")
def tool_args_object(seen: Seen) -> None:
    """The arguments are an object."""
    good(seen, finish="tool_calls", text="")
    (call,) = fragments(seen)[:1]
    assert call["function"]["arguments"] == CITY
    assert len(fragments(seen)) == 1


@PROOFS.case("tool-args-empty")
def tool_args_empty(seen: Seen) -> None:
    """Every fragment of the call has empty arguments."""
    good(seen, finish="tool_calls", text="")
    calls = fragments(seen)
    assert len(calls) > 1
    assert {call["function"]["arguments"] for call in calls} == {""}
    assert {call["index"] for call in calls} == {0}


@PROOFS.case("function-call-legacy")
def function_call_legacy(seen: Seen) -> None:
    """The call is in the older field, and so is the finish reason."""
    good(seen, finish="function_call", text="")
    pieces = [delta["function_call"] for delta in with_field(seen, "function_call")]
    assert len(pieces) > 3
    assert pieces[0]["name"]
    assert json.loads("".join(piece["arguments"] for piece in pieces)) == CITY
    assert b"tool_calls" not in seen.body


# ---------------------------------------------------------------------------------------------- reasoning, refusal


def thinking(seen: Seen, name: str) -> list[Any]:
    """The deltas with thinking in a field of that name, which all come before the answer."""
    good(seen, text=ANSWER)
    thoughts = with_field(seen, name)
    assert "".join(delta[name] for delta in thoughts) == THINKING
    order = [name in delta for delta in deltas(seen) if delta.get(name) or delta.get("content")]
    assert order == sorted(order, reverse=True)
    return thoughts


@PROOFS.case("reasoning-content")
def reasoning_content(seen: Seen) -> None:
    """Before the text, deltas with reasoning_content and null content."""
    thoughts = thinking(seen, "reasoning_content")
    assert {delta.get("content", "absent") for delta in thoughts} == {None}


@PROOFS.case("reasoning-renamed")
def reasoning_renamed(seen: Seen) -> None:
    """Before the text, deltas with the field reasoning."""
    thinking(seen, "reasoning")
    assert b"reasoning_content" not in seen.body


@PROOFS.case("think-tag-split")
def think_tag_split(seen: Seen) -> None:
    """The closing tag is cut over two deltas, the second of which goes on with the answer."""
    good(seen, text=None)
    assert seen.text.startswith("<think>")
    assert seen.text.count("</think>") == 1
    assert [piece for piece in seen.deltas if piece.endswith("</thi")] != []
    at = next(at for at, piece in enumerate(seen.deltas) if piece.endswith("</thi"))
    assert seen.deltas[at + 1].startswith("nk>")
    assert len(seen.deltas[at + 1]) > 3, "the answer follows the tag"


@PROOFS.case("think-tag-unopened")
def think_tag_unopened(seen: Seen) -> None:
    """The text has a closing tag and no opening one."""
    good(seen, text=None)
    assert seen.text.count("</think>") == 1
    assert "<think>" not in seen.text
    assert seen.text.partition("</think>")[2]


@PROOFS.case("refusal-delta")
def refusal_delta(seen: Seen) -> None:
    """Pieces of a refusal make up a sentence beside null content; the finish reason is stop."""
    good(seen, text="")
    refusals = with_field(seen, "refusal")
    assert len(refusals) > 3
    assert "".join(delta["refusal"] for delta in refusals).endswith(".")
    assert {delta.get("content", "absent") for delta in refusals} == {None}


# ---------------------------------------------------------------------------------------------- choices, envelope


@PROOFS.case("choices-interleaved")
def choices_interleaved(seen: Seen) -> None:
    """The chunks of two choices come as 0, 1, 1, 0."""
    framed(seen)
    order = [choice["index"] for choice in seen.choices if choice["delta"].get("content")]
    assert order == [0, 1, 1, 0] * (len(order) // 4) + [0, 1, 1, 0][: len(order) % 4]
    for index in (0, 1):
        mine = [choice for choice in seen.choices if choice["index"] == index]
        assert "".join(choice["delta"].get("content") or "" for choice in mine) == TEXT
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]


@PROOFS.case("logprobs-chunks")
def logprobs_chunks(seen: Seen) -> None:
    """Every chunk with content has the log probability of its token."""
    good(seen)
    for choice in seen.choices:
        content = choice["delta"].get("content")
        if content:
            entries = (choice["logprobs"] or {}).get("content") or []
            assert [entry["token"] for entry in entries] == [content]
            assert all(entry["logprob"] <= 0 for entry in entries)


@PROOFS.case("nan-infinity")
def nan_infinity(seen: Seen) -> None:
    """One chunk has a number that JSON does not know; but for that it is good."""
    framed(seen)
    odd = [data for data in seen.data[:-1] if strict(data) is None]
    assert len(odd) == 1
    assert '"logprob":-Infinity' in odd[0] or '"logprob":NaN' in odd[0]
    assert strict(odd[0].replace("-Infinity", "0").replace("NaN", "0")), "nothing else is wrong with it"
    assert seen.text == TEXT


@PROOFS.case("id-changes")
def id_changes(seen: Seen) -> None:
    """No two chunks have the same id."""
    framed(seen)
    ids = [document["id"] for document in seen.documents]
    assert len(set(ids)) == len(ids) > 20
    assert seen.text == TEXT


@PROOFS.case("id-model-absent")
def id_model_absent(seen: Seen) -> None:
    """No chunk has an id or a model."""
    good(seen)
    for document in seen.documents:
        assert "id" not in document
        assert "model" not in document


@PROOFS.case("created-float")
def created_float(seen: Seen) -> None:
    """Every chunk was created at that fraction of a second."""
    good(seen)
    assert seen.body.count(b'"created":1709591108.27,') == len(seen.documents)


@PROOFS.case("index-as-token-counter")
def index_as_token_counter(seen: Seen) -> None:
    """The only choice's index counts the chunks from 197 on."""
    good(seen)
    indexes = [choice["index"] for choice in seen.choices]
    assert indexes == list(range(197, 197 + len(indexes)))


@PROOFS.case("extra-fields")
def extra_fields(seen: Seen) -> None:
    """Every chunk has the vendor's fields."""
    good(seen)
    for document in seen.documents:
        assert document.get("provider")
        (choice,) = document["choices"]
        assert "native_finish_reason" in choice
        assert choice["message"]["role"] == "assistant"
        extra = choice["delta"].get("extra_content")
        assert extra
        assert isinstance(extra["google"]["thought_signature"], str)


# ---------------------------------------------------------------------------------------------- JSON


@PROOFS.case("json-truncated-event")
def json_truncated_event(seen: Seen) -> None:
    """One event between good ones has cut JSON."""
    framed(seen)
    odd = [at for at, data in enumerate(seen.data[:-1]) if strict(data) is None]
    assert len(odd) == 1
    (at,) = odd
    assert 1 < at < len(seen.data) - 2, "between good ones"
    whole = seen.data[at - 1]
    cut = seen.data[at]
    assert cut.startswith('{"id":"')
    assert whole.startswith(cut[:40])
    assert not cut.endswith("}")
    assert len(seen.text) < len(TEXT), "a piece is lost"


@PROOFS.case("json-not-object")
def json_not_object(seen: Seen) -> None:
    """One event is no object."""
    framed(seen)
    odd = [data for data in seen.data[:-1] if not isinstance(strict(data), dict)]
    assert len(odd) == 1
    assert odd[0] in ("42", '"text"', "Internal Server Error")
    assert seen.data.index(odd[0]) > 1
    assert seen.text == TEXT


@PROOFS.case("json-python-repr")
def json_python_repr(seen: Seen) -> None:
    """Every event but the sentinel is a printed Python object."""
    framed(seen)
    assert seen.documents == []
    for data in seen.data[:-1]:
        assert data.startswith(("{'", "b'data: {"))
        assert "'choices': [" in data
        assert "None" in data


@PROOFS.case("json-double-encoded")
def json_double_encoded(seen: Seen) -> None:
    """Every event but the sentinel is a JSON string that holds the JSON."""
    framed(seen)
    assert seen.documents == []
    inner = [strict(data) for data in seen.data[:-1]]
    assert all(isinstance(one, str) and one.startswith('{"id":') for one in inner)
    pieces = [json.loads(one)["choices"][0]["delta"].get("content") for one in inner]
    assert "".join(piece or "" for piece in pieces) == TEXT


@PROOFS.case("json-duplicate-keys")
def json_duplicate_keys(seen: Seen) -> None:
    """One delta has its key twice."""
    framed(seen)
    twice = [data for data in seen.data if '"delta":{"content":"a","content":"b"}' in data]
    assert len(twice) == 1
    assert isinstance(strict(twice[0]), dict)
    assert len(seen.documents) == len(seen.data) - 1


@PROOFS.case("json-keepalive-choices-empty")
def json_keepalive_choices_empty(seen: Seen) -> None:
    """In one wait, chunks with empty choices and nothing else come one after the other."""
    good(seen)
    idle = [at for at, document in enumerate(seen.documents) if document["choices"] == []]
    assert len(idle) > 2
    assert idle == list(range(idle[0], idle[0] + len(idle))), "in one wait"
    assert idle[0] > 0, "in the midst of the stream"
    beside = set(seen.documents[0]) - {"choices"}
    assert all(set(seen.documents[at]) - {"choices"} <= beside for at in idle)
    assert not any(seen.documents[at].get("usage") for at in idle)
    times = [read.time for read in seen.arrivals if b'"choices":[]' in read.data]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == len(idle), "again and again, not at once"
    assert all(0.1 < pause < 2 for pause in pauses)


@PROOFS.case("empty-completion")
def empty_completion(seen: Seen) -> None:
    """A role, a finish reason, the sentinel, and no text."""
    good(seen, text="")
    assert len(seen.documents) == 2
    assert seen.choices[0]["delta"]["role"] == "assistant"
    assert not seen.choices[0]["delta"].get("content")
    assert seen.choices[1]["finish_reason"] == "stop"


# ---------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("name", PROOFS.names)
async def test_case(provider: MockProvider, name: str) -> None:
    """On the wire is what the row says."""
    await PROOFS.prove(provider, name)


@pytest.mark.parametrize(("name", "link"), PROOFS.links)
async def test_proof_is_not_vacuous(
    provider: MockProvider, name: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any link of the case taken out, its proof fails."""
    await PROOFS.refute(provider, name, link, monkeypatch)


VARIANTS: list[tuple[Callable[[Seen], None], str]] = [
    (error_object_midstream, "error-payload(after=3,code=504,message=Oh)"),
    (error_code_odd, 'error-payload(after=0,code="upstream_error")'),
    (error_code_odd, "error-payload(after=0)"),
    (finish_unknown_value, "finish(reason=abort)"),
    (finish_unknown_value, "finish(reason=repetition)"),
    (finish_content_filter, "finish-content-filter+drop-payloads(at=done)"),
    (nan_infinity, 'logprobs-chunks+set(path="choices[0].logprobs.content[0].logprob",raw="NaN",at=text:2)'),
    (json_not_object, r'insert-payload(after=text:4,raw="\"text\"")'),
    (json_not_object, 'insert-payload(after=text:4,raw="Internal Server Error")'),
    (json_truncated_event, "cut-json(at=text:4,percent=70)"),
]


@pytest.mark.parametrize(("observation", "text"), VARIANTS, ids=[text for _, text in VARIANTS])
async def test_variant(provider: MockProvider, observation: Callable[[Seen], None], text: str) -> None:
    """Another form that the row or its notes name is had by the settings that they name."""
    provider.on().reply(TEXT)
    observation(await observe(provider.url, text))


async def test_printed_bytes(provider: MockProvider) -> None:
    """The other form of json-python-repr: every event but the sentinel is a printed bytes object."""
    provider.on().reply(TEXT)
    seen = await observe(provider.url, "corrupt-json(how=bytes)")
    framed(seen)
    assert seen.documents == []
    assert [data for data in seen.data[:-1] if not data.startswith('b\'data: {"id":')] == []


async def test_usage_key_absent(provider: MockProvider) -> None:
    """The other form of usage-null-every-chunk: no chunk has the key, and there is no usage chunk."""
    seen = await observe(provider.url, 'usage-null-every-chunk+drop(path="usage")')
    good(seen)
    assert b'"usage"' not in seen.body


async def test_empty_envelope(provider: MockProvider) -> None:
    """The other form of id-model-absent: both are empty, and so is the rest of the envelope."""
    empty = [f'set(path="{name}",value="")' for name in ("id", "model", "object")]
    provider.on().reply(TEXT)
    seen = await observe(provider.url, "+".join([*empty, 'set(path="created",value=0)']))
    good(seen)
    assert {name: seen.documents[0][name] for name in ("id", "model", "object", "created")} == {
        **dict.fromkeys(("id", "model", "object"), ""),
        "created": 0,
    }


async def test_tool_calls_listed_in_the_wrong_order(provider: MockProvider) -> None:
    """The second form of tool-index-out-of-order: the first payload lists the calls with index 1 and then 0."""
    indexes = [f'set(path="choices[0].delta.tool_calls[{at}].index",value={1 - at},at=tool)' for at in (0, 1)]
    provider.on().reply(ToolCall("get_weather", CITY), ToolCall("get_time", {"zone": "UTC"}))
    seen = await observe(provider.url, "+".join(["join-payloads(at=tool:2..)", *indexes]))
    good(seen, finish="tool_calls", text="")
    (first,) = with_field(seen, "tool_calls")
    assert [item["index"] for item in first["tool_calls"]] == [1, 0]


def test_every_row_is_proved() -> None:
    """There are 72 rows, and each is proved."""
    assert len(PROOFS.rows) == 72
    assert [row.name for row in PROOFS.rows if row.name not in PROOFS.names] == []
    assert all(row.available for row in PROOFS.rows)

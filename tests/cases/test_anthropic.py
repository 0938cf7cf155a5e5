"""The family `anthropic`, observed on a raw socket: each observation is written from the words of the case's row.

"The good stream" is what `good` asserts; each observation adds what its row says differs from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mockprovider import MockProvider
from tests.cases.observe import TEXT, Seen, observe
from tests.cases.proofs import Observation, Proofs

PROOFS = Proofs("anthropic")
ASKING: dict[str, Any] = {
    "path": "/v1/messages",
    "headers": [("anthropic-version", "2023-06-01")],
    "model": "claude-haiku-4-5",
    "max_tokens": 1024,
}
"""How Anthropic's endpoint is asked; further fields are those of the observer's request."""

CITY = {"city": "Paris"}
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


def case(name: str) -> Callable[[Observation], Observation]:
    """The decorated function is the observation of this case."""
    return PROOFS.case(name, **ASKING)


# ---------------------------------------------------------------------------------------------- what observers share


def framed(seen: Seen) -> None:
    """Status 200, an event stream, a clean end; every block is `event: TYPE` and `data: ` with a document of that
    type, and there is no sentinel."""
    assert seen.status == 200
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert (seen.ending, seen.wrong) == ("complete", None)
    for block in seen.blocks:
        name, data, *rest = block.split(b"\n")
        assert rest == [b"", b""]
        assert name == b"event: " + json.loads(data.removeprefix(b"data: "))["type"].encode()
    assert seen.done == 0


def types(seen: Seen) -> list[str]:
    """The types of the events, pings left out."""
    return [document["type"] for document in seen.documents if document["type"] != "ping"]


def with_type(seen: Seen, kind: str) -> list[Any]:
    """The documents of one type, in order."""
    return [document for document in seen.documents if document["type"] == kind]


def deltas(seen: Seen, kind: str) -> list[Any]:
    """The deltas of content blocks that are of one type, in order."""
    return [one["delta"] for one in with_type(seen, "content_block_delta") if one["delta"]["type"] == kind]


def text(seen: Seen) -> str:
    """The text deltas joined."""
    return "".join(delta["text"] for delta in deltas(seen, "text_delta"))


def started(seen: Seen) -> list[tuple[int, str]]:
    """The index and type of each content block that starts."""
    return [(one["index"], one["content_block"]["type"]) for one in with_type(seen, "content_block_start")]


def stopped(seen: Seen) -> list[int]:
    """The index of each content block that stops."""
    return [one["index"] for one in with_type(seen, "content_block_stop")]


def stop_reasons(seen: Seen) -> list[str]:
    """The reasons that message_delta gives."""
    return [one["delta"]["stop_reason"] for one in with_type(seen, "message_delta")]


def arguments(seen: Seen, index: int | None = None) -> str:
    """The pieces of partial_json, joined; of one block, or of all."""
    return "".join(
        one["delta"]["partial_json"]
        for one in with_type(seen, "content_block_delta")
        if one["delta"]["type"] == "input_json_delta" and index in (None, one["index"])
    )


def good(seen: Seen, reason: str = "end_turn") -> None:
    """Framed; message_start, blocks of which each starts, has deltas and stops, message_delta, message_stop."""
    framed(seen)
    first, *inner, last_but_one, last = types(seen)
    assert (first, last_but_one, last) == ("message_start", "message_delta", "message_stop")
    assert stop_reasons(seen) == [reason]
    open_block = None
    number = 0
    for one in seen.documents:
        if one["type"] == "content_block_start":
            assert (open_block, one["index"]) == (None, number)
            open_block, number = number, number + 1
        elif one["type"] == "content_block_delta":
            assert one["index"] == open_block
        elif one["type"] == "content_block_stop":
            assert one["index"] == open_block
            open_block = None
    assert open_block is None
    assert set(inner) <= {"content_block_start", "content_block_delta", "content_block_stop"}


# ---------------------------------------------------------------------------------------------- errors, the unknown


@case("ant-error-overloaded")
def error_overloaded(seen: Seen) -> None:
    """After some deltas the error event, then a clean end."""
    framed(seen)
    assert seen.blocks[-1] == OVERLOADED
    assert len(deltas(seen, "text_delta")) > 1
    assert TEXT.startswith(text(seen))
    assert text(seen) != TEXT
    assert stop_reasons(seen) == []


@case("ant-error-first")
def error_first(seen: Seen) -> None:
    """On the first attempt the error event is all there is."""
    framed(seen)
    assert seen.body == OVERLOADED


@case("ant-unknown-event")
def unknown_event(seen: Seen) -> None:
    """Between known events, one of a type that nobody knows."""
    framed(seen)
    assert seen.blocks.count(b'event: future_thing\ndata: {"type":"future_thing"}\n\n') == 1
    at = types(seen).index("future_thing")
    assert types(seen)[at - 1] == types(seen)[at + 1] == "content_block_delta"
    assert text(seen) == TEXT
    assert stop_reasons(seen) == ["end_turn"]


@case("ant-unknown-delta")
def unknown_delta(seen: Seen) -> None:
    """One delta of a block has a type that nobody knows."""
    good(seen)
    kinds = [one["delta"]["type"] for one in with_type(seen, "content_block_delta")]
    unknown = [kind for kind in kinds if kind != "text_delta"]
    assert len(unknown) == 1
    assert unknown[0] not in ("input_json_delta", "thinking_delta", "signature_delta", "citations_delta")
    assert text(seen) == TEXT


@case("ant-citations-delta")
def citations_delta(seen: Seen) -> None:
    """A text block has citations among its text deltas."""
    good(seen)
    kinds = [one["delta"]["type"] for one in with_type(seen, "content_block_delta")]
    assert set(kinds) == {"text_delta", "citations_delta"}
    assert kinds[0] == kinds[-1] == "text_delta"
    assert kinds.count("citations_delta") > 1
    for delta in deltas(seen, "citations_delta"):
        assert delta["citation"]["type"] == "char_location"
        assert delta["citation"]["cited_text"] in TEXT
    assert text(seen) == TEXT


# ---------------------------------------------------------------------------------------------- ends


@case("ant-missing-message-stop")
def missing_message_stop(seen: Seen) -> None:
    """message_delta with its reason is the last event."""
    framed(seen)
    assert types(seen)[-1] == "message_delta"
    assert stop_reasons(seen) == ["end_turn"]
    assert text(seen) == TEXT


@case("ant-cut-before-stop-reason")
def cut_before_stop_reason(seen: Seen) -> None:
    """The body ends inside a content block."""
    framed(seen)
    assert types(seen)[-1] == "content_block_delta"
    assert (started(seen), stopped(seen), stop_reasons(seen)) == ([(0, "text")], [], [])
    assert text(seen)
    assert TEXT.startswith(text(seen))
    assert text(seen) != TEXT


@case("ant-no-events")
def no_events(seen: Seen) -> None:
    """Status 200, an event stream, and nothing in it."""
    framed(seen)
    assert seen.body == b""


# ---------------------------------------------------------------------------------------------- tool use


@case("ant-partial-json-empty")
def partial_json_empty(seen: Seen) -> None:
    """The only input_json_delta is empty."""
    good(seen, "tool_use")
    assert started(seen) == [(0, "tool_use")]
    assert deltas(seen, "input_json_delta") == [{"type": "input_json_delta", "partial_json": ""}]


@case("ant-partial-json-fragments")
def partial_json_fragments(seen: Seen) -> None:
    """The input is cut inside a key."""
    good(seen, "tool_use")
    pieces = [delta["partial_json"] for delta in deltas(seen, "input_json_delta") if delta["partial_json"]]
    assert pieces[0] == '{"file_'
    assert pieces[1].startswith('path":')
    assert "file_path" in json.loads("".join(pieces))


@case("ant-partial-json-bad-escape")
def partial_json_bad_escape(seen: Seen) -> None:
    r"""The joined input has the escape \d, which JSON does not know."""
    good(seen, "tool_use")
    assert "\\d" in arguments(seen)
    with pytest.raises(ValueError, match="escape"):
        json.loads(arguments(seen))


# ---------------------------------------------------------------------------------------------- blocks


@case("ant-index-gap")
def index_gap(seen: Seen) -> None:
    """The blocks have index 0 and 2."""
    framed(seen)
    assert [index for index, _ in started(seen)] == stopped(seen) == [0, 2]
    assert {one["index"] for one in with_type(seen, "content_block_delta")} == {0, 2}
    assert json.loads(arguments(seen, 2)) == CITY
    assert text(seen)
    assert stop_reasons(seen) == ["tool_use"]


@case("ant-index-reused")
def index_reused(seen: Seen) -> None:
    """Two blocks, one after the other, have index 1."""
    framed(seen)
    assert [index for index, _ in started(seen)] == stopped(seen) == [0, 1, 1]
    assert {one["index"] for one in with_type(seen, "content_block_delta")} == {0, 1}
    assert [kind for _, kind in started(seen)][1:] == ["text", "tool_use"]
    assert json.loads(arguments(seen, 1)) == CITY
    assert text(seen)


@case("ant-block-stop-missing")
def block_stop_missing(seen: Seen) -> None:
    """The second block starts while the first is open."""
    framed(seen)
    assert started(seen) == [(0, "text"), (1, "tool_use")]
    assert stopped(seen) == [1]
    at = [one.get("index") for one in seen.documents if one["type"] == "content_block_start"].index(1)
    assert at == 1
    assert text(seen)
    assert json.loads(arguments(seen)) == CITY
    assert stop_reasons(seen) == ["tool_use"]


@case("ant-stop-without-start")
def stop_without_start(seen: Seen) -> None:
    """A lone stop, then a refusal."""
    framed(seen)
    assert types(seen) == ["message_start", "content_block_stop", "message_delta", "message_stop"]
    assert stop_reasons(seen) == ["refusal"]


@case("ant-delta-wrong-block")
def delta_wrong_block(seen: Seen) -> None:
    """A text delta comes for a block of tool use."""
    good(seen, "tool_use")
    assert started(seen) == [(0, "tool_use")]
    assert len(deltas(seen, "text_delta")) == 1
    assert text(seen)
    assert json.loads(arguments(seen)) == CITY


# ---------------------------------------------------------------------------------------------- thinking


@case("ant-empty-delta")
def empty_delta(seen: Seen) -> None:
    """In the midst of the thinking, a delta with an empty text, and one without any."""
    good(seen)
    assert [kind for _, kind in started(seen)] == ["thinking", "text"]
    thinking = deltas(seen, "thinking_delta")
    assert {"type": "thinking_delta", "thinking": ""} in thinking
    assert {"type": "thinking_delta"} in thinking
    assert thinking[0].get("thinking")
    assert thinking[-1].get("thinking")
    assert text(seen)


@case("ant-thinking-signature")
def thinking_signature(seen: Seen) -> None:
    """After the thinking comes its signature, in several pieces."""
    good(seen)
    assert [kind for _, kind in started(seen)] == ["thinking", "text"]
    kinds = [one["delta"]["type"] for one in with_type(seen, "content_block_delta") if one["index"] == 0]
    thinking, signatures = kinds.count("thinking_delta"), kinds.count("signature_delta")
    assert kinds == ["thinking_delta"] * thinking + ["signature_delta"] * signatures
    assert thinking > 1
    assert signatures > 1
    assert all(delta["signature"] for delta in deltas(seen, "signature_delta"))
    assert text(seen)


# ---------------------------------------------------------------------------------------------- stop reasons


@case("ant-stop-refusal")
def stop_refusal(seen: Seen) -> None:
    """No content block at all, and a refusal."""
    good(seen, "refusal")
    assert types(seen) == ["message_start", "message_delta", "message_stop"]


@case("ant-stop-pause-turn")
def stop_pause_turn(seen: Seen) -> None:
    """Some text, and the turn is paused."""
    good(seen, "pause_turn")
    assert text(seen)


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


async def test_the_second_attempt_after_an_error_is_good(provider: MockProvider) -> None:
    """The error as the first event comes once; the same request again gets the whole stream."""
    error_first(await observe(provider.url, "ant-error-first", **ASKING))
    again = await observe(provider.url, "ant-error-first", **ASKING)
    good(again)
    assert text(again) == TEXT


VARIANTS: list[tuple[str, str, Observation]] = []


def variant(name: str, further: str) -> Callable[[Observation], Observation]:
    """The decorated function observes a case with a further fault, as the row's notes name it."""

    def register(observation: Observation) -> Observation:
        VARIANTS.append((name, further, observation))
        return observation

    return register


@variant("ant-thinking-signature", "drop-payloads(at=reasoning)")
def signature_alone(seen: Seen) -> None:
    """The signature alone, with empty thinking."""
    good(seen)
    kinds = {one["delta"]["type"] for one in with_type(seen, "content_block_delta") if one["index"] == 0}
    assert kinds == {"signature_delta"}


@variant("ant-stop-pause-turn", "finish(reason=model_context_window_exceeded)")
def window_exceeded(seen: Seen) -> None:
    """The window of the model is full."""
    good(seen, "model_context_window_exceeded")


@variant("ant-stop-pause-turn", "finish(reason=max_tokens)")
def cut_by_limit(seen: Seen) -> None:
    """The limit is reached."""
    good(seen, "max_tokens")


@pytest.mark.parametrize(("name", "further", "observation"), VARIANTS)
async def test_variant(provider: MockProvider, name: str, further: str, observation: Observation) -> None:
    """The other forms that a row names come with the faults that its notes name."""
    observation(await observe(provider.url, f"{name}+{further}", **ASKING))


def test_every_row_is_proved() -> None:
    """There are 20 rows, and each is proved."""
    assert len(PROOFS.rows) == 20
    assert [row.name for row in PROOFS.rows if row.name not in PROOFS.names] == []
    assert all(row.available for row in PROOFS.rows)


async def test_a_case_of_another_dialect_is_refused_with_the_reason(provider: MockProvider) -> None:
    """A case of Anthropic's asked of chat completions, and the reverse, is a 400 that names both dialects."""
    chat = await observe(provider.url, "ant-no-events")
    assert chat.status == 400
    message = chat.document["error"]["message"]
    assert message == (
        "ant-no-events is a case of the dialect anthropic-messages, and this request is one of openai-chat"
    )
    anthropic = await observe(provider.url, "empty-completion", **ASKING)
    assert anthropic.status == 400
    assert anthropic.document["type"] == "error"
    assert "empty-completion is a case of the dialect openai-chat" in anthropic.document["error"]["message"]


async def test_a_case_of_no_dialect_in_particular_serves_both(provider: MockProvider) -> None:
    """What goes wrong below the documents goes wrong with either dialect."""
    seen = await observe(provider.url, "sse-crlf", **ASKING)
    assert seen.body.count(b"\r\n\r\n") == len(seen.documents)
    assert text(seen) == TEXT

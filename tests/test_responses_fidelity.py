"""What is emitted on `/v1/responses` and `/v1/completions` has the paths, types and order that were recorded.

The recordings are not part of the project; where their folder is not beside it, these tests skip.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mockprovider.dialects.base import Voice
from mockprovider.reply import Part, Reasoning, Refusal, Reply, ToolCall
from mockprovider.seed import Seed
from tests.chatting import events
from tests.responding import COMPLETIONS, RESPONSES, body, outline
from tests.test_fidelity import RECORDINGS, exchanges, shape

pytestmark = pytest.mark.skipif(
    not (RECORDINGS / "manifest.tsv").is_file(), reason="the folder of recordings, ../shared/streams, is not here"
)

NEWEST = {
    "openai-gpt-4o/simple_streaming": "June 2026",
    "test_openai_service_tier_affects_pricing": "May 2026",
    "test_simple_batch_chat": "May 2026",
    "azure-o4-mini/simple_streaming": "June 2026, of Azure",
    "azure-gpt-5-mini/simple_streaming": "June 2026, of Azure",
    "gpt-5-nano_streams_responses": "August 2026, of Azure",
    "azure-tool-call.1": "February 2026, of Azure: the only one of a function call",
    "openai_responses_error_event": "July 2026, through a relay",
}
"""The recordings that are compared: the newest of each kind of event. Those that are left out are older, of other
providers, or made by hand.
"""

FIELDS_OF_2026 = ("frequency_penalty", "presence_penalty", "moderation", "tool_usage")
EXTRA = {
    rf"response\.\w+: \.response\.(?:{'|'.join(FIELDS_OF_2026)})": "newer than some of the recordings",
    r"response\.\w+: \.response\.reasoning\.(?:context|mode)": "the same",
    r"response\.\w+: \.response\.usage\.input_tokens_details\.cache_write_tokens": "newer; the SDK requires it",
    r"response\.\w+: \.response\.tools\[\d\]\.output_schema": "newer than the recording of February",
    r"response\.\w+: \.response\.(?:temperature|top_p) float": "1.0, which the keeper of that recording wrote as 1",
    r"response\.output_item\.\w+ reasoning: \.item\.content": "in the recording of August alone",
    r"response\.completed: \.response\.output\[0\]\.content array": "the same, of a reasoning item",
    r"response\.\w+: \.response\.prompt_cache_retention str": "null before May 2026",
}
MISSING = {
    r"response\.\w+: \.response\.content_filters": "of Azure alone",
    r"response\.\w+: \.response\.prompt_cache_retention null": "null before May 2026",
    r"response\.\w+: \.response\.reasoning\.context null": "null before July 2026",
    r"response\.\w+: \.response\.(?:temperature|top_p) int": "1.0, which the keeper of that recording wrote as 1",
}
"""What may differ from some recording, as patterns of the kind and path, and why."""


@dataclass(frozen=True)
class Recording:
    """A recorded stream: the request that it answers, its documents, its bytes and headers where they were kept."""

    request: dict[str, Any]
    documents: list[dict[str, Any]]
    text: str | None = None
    headers: dict[str, str] | None = None


def load(path: Path) -> Recording:
    """A recording of one of the forms in which they are kept; without its request, one that its response tells."""
    text = path.read_text(encoding="utf-8")
    request: dict[str, Any] = {}
    headers = None
    if path.name.endswith(".chunks.txt"):
        found = [json.loads(line) for line in text.splitlines() if line]
        text = ""
    else:
        if path.suffix != ".sse":
            recorded, *_ = exchanges(path)
            request, text, headers = recorded.request, recorded.body, recorded.headers
        text = text.rstrip("\n") + "\n\n"
        found = [json.loads(event.data) for event in events(text.encode())]
    if not request:
        told = found[0]["response"]
        request = {key: told[key] for key in ("model", "instructions", "tools", "reasoning", "store")}
        request = {**request, "input": "Hi", "stream": True}
    return Recording(request, found, text or None, headers if headers else None)


def recordings() -> dict[str, Recording]:
    """The newest recorded streams by name."""
    if not (RECORDINGS / "manifest.tsv").is_file():
        return {}
    with (RECORDINGS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t") if row["dialect"] == "openai-responses"]
    paths = sorted({row["path"] for row in rows})
    return {name: load(RECORDINGS / path) for name in NEWEST for path in paths if name in path}


REAL = recordings()


def kind(document: dict[str, Any]) -> str:
    """What a document is, such that all of a kind have one shape."""
    inner = document.get("item") or document.get("part") or {}
    return f"{document['type']} {inner.get('type', '')}".strip()


def told(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The paths and types of each kind of document, in order, as its first one has them."""
    made: dict[str, list[str]] = {}
    for document in found:
        made.setdefault(kind(document), shape(document))
    return made


def same_reply(found: list[dict[str, Any]]) -> Reply:
    """The reply that a recording says, as a script."""
    parts: list[Part | str] = []
    response = found[-1]["response"]
    for item in response["output"]:
        if item["type"] == "function_call":
            parts.append(ToolCall(item["name"], item["arguments"]))
        elif item["type"] == "reasoning":
            parts += [Reasoning(part["text"]) for part in item["summary"]]
        else:
            for part in item["content"]:
                parts.append(part["text"] if part["type"] == "output_text" else Refusal(part["refusal"]))
    return Reply.of(*parts, finish="error" if response["status"] == "failed" else None)


def ours(recording: Recording) -> bytes:
    """What is emitted for the same request and reply."""
    asked = RESPONSES.parse(json.dumps(recording.request).encode(), {})
    return body(RESPONSES, asked, same_reply(recording.documents))


def emitted(recording: Recording) -> list[dict[str, Any]]:
    """The same as documents."""
    return [json.loads(event.data) for event in events(ours(recording))]


def allowed(line: str, patterns: dict[str, str]) -> bool:
    """Whether a difference is one that has its reason."""
    return any(re.match(pattern, line) for pattern in patterns)


def test_there_is_something_to_compare() -> None:
    """Every recording that is named is read, with text, tools, reasoning and an error among them."""
    assert set(REAL) == set(NEWEST)
    kinds = {kind(document) for recording in REAL.values() for document in recording.documents}
    assert kinds >= {
        "error",
        "response.failed",
        "response.completed",
        "response.function_call_arguments.delta",
        "response.output_item.done reasoning",
        "response.output_text.delta",
    }


@pytest.mark.parametrize("name", REAL)
def test_events_are_as_recorded(name: str) -> None:
    """For the same request and reply the kinds of events come as recorded, with the same paths, types and order."""
    real, made = REAL[name].documents, emitted(REAL[name])
    assert outline(made) == outline(real)
    own, recorded = told(made), told(real)
    assert set(own) == set(recorded)
    by_name = list(real[0])[-1] == "sequence_number"  # the order since February 2026
    for each, lines in recorded.items():
        extra = [f"{each}: {line}" for line in own[each] if line not in lines]
        missing = [f"{each}: {line}" for line in lines if line not in own[each]]
        assert [line for line in extra if not allowed(line, EXTRA)] == []
        assert [line for line in missing if not allowed(line, MISSING)] == []
        if by_name:
            assert [line for line in own[each] if line in lines] == [line for line in lines if line in own[each]]


def test_every_exception_is_needed() -> None:
    """No reason is given for a difference that there is not."""
    found: set[str] = set()
    for recording in REAL.values():
        own, recorded = told(emitted(recording)), told(recording.documents)
        for each, lines in recorded.items():
            found |= {f"+{each}: {line}" for line in own[each] if line not in lines}
            found |= {f"-{each}: {line}" for line in lines if line not in own[each]}
    for sign, patterns in (("+", EXTRA), ("-", MISSING)):
        for pattern in patterns:
            assert any(line[0] == sign and re.match(pattern, line[1:]) for line in found), pattern


@pytest.mark.parametrize("name", REAL)
def test_settings_have_the_recorded_values(name: str) -> None:
    """What the response tells of the request, and of the model where the request says nothing, is what was recorded."""
    real, made = (found[0]["response"] for found in (REAL[name].documents, emitted(REAL[name])))
    ours_alone = {"id", "created_at", "model"}
    if name == "azure-tool-call.1":
        ours_alone |= {"prompt_cache_retention"}
    for key in set(real) & set(made) - ours_alone:
        value = real[key]
        if key == "reasoning":
            # What a model remembers of its thinking depends on the date of the recording.
            assert {k: v for k, v in made[key].items() if k in value and k != "context"} == {
                k: v for k, v in value.items() if k != "context"
            }
        elif key == "tools":
            assert [{**tool, "output_schema": None} for tool in value] == made[key]
        else:
            assert made[key] == value, key


@pytest.mark.parametrize("name", [name for name, recording in REAL.items() if recording.text])
def test_the_layout_is_as_recorded(name: str) -> None:
    """Recorded and emitted: `event:` lines, LF, compact JSON, deltas padded to a multiple of 16, no terminator."""
    text = REAL[name].text
    assert text is not None
    for stream in (text, ours(REAL[name]).decode()):
        assert "\r" not in stream
        assert "[DONE]" not in stream
        for block, event in zip(stream.removesuffix("\n\n").split("\n\n"), events(stream.encode()), strict=True):
            document = json.loads(event.data)
            assert block == f"event: {document['type']}\ndata: {event.data}"
            assert event.data == json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            if "delta" in document:
                assert (len(document["delta"]) + len(document["obfuscation"])) % 16 == 0


def test_ids_are_as_recorded() -> None:
    """Ids have the recorded form: letters, and 50 hexadecimal digits of which a response's items share the first 18."""
    for found in (REAL["test_simple_batch_chat"].documents, emitted(REAL["test_simple_batch_chat"])):
        response = found[-1]["response"]
        assert re.fullmatch("resp_[0-9a-f]{50}", response["id"])
        assert re.fullmatch("msg_[0-9a-f]{50}", response["output"][0]["id"])
        assert response["output"][0]["id"][4:22] == response["id"][5:23]


FOREIGN = re.compile(
    r"cf-|alt-svc|server|strict-transport|set-cookie|connection|date|transfer|x-envoy|x-openai-proxy|via"
)


def test_headers_are_as_recorded() -> None:
    """The headers of OpenAI's own are all there, with values of the same form; those of its network are not ours."""
    recording = REAL["test_simple_batch_chat"]
    asked = RESPONSES.parse(json.dumps(recording.request).encode(), {})
    said = Voice(asked, Reply.of(""), Seed(1), (b"", 0), 0)
    own = {key.lower(): value for key, value in RESPONSES.headers(said, stream=True)}
    for key, value in (recording.headers or {}).items():
        if not FOREIGN.match(key):
            forms = [re.sub("[0-9]+", "0", text) for text in (own[key], value)]
            assert forms[0] == forms[1], key


# ------------------------------------------------------------------------------------------------ completions


def completions() -> dict[str, Recording]:
    """The recorded completions of api.openai.com, by file."""
    found: dict[str, Recording] = {}
    if not (RECORDINGS / "manifest.tsv").is_file():
        return found
    with (RECORDINGS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    for path in sorted({r["path"] for r in rows if (r["provider"], r["dialect"]) == ("openai", "openai-completions")}):
        text = (RECORDINGS / path).read_text(encoding="utf-8")
        if path.endswith(".chunks.txt"):
            made = [json.loads(line) for line in text.splitlines() if line]
            request = {"model": "gpt-3.5-turbo-instruct", "prompt": "Hi", "stream": True}
            found[path] = Recording({**request, "stream_options": {"include_usage": True}}, made)
            continue
        if path.endswith(".json"):
            document = json.loads(text)
            request, stream = json.loads(document["request"]["body"]), document["response"]["body"]
            headers = {key.lower(): value for key, value in document["response"]["headers"].items()}
        else:
            recorded = next(exchanges(RECORDINGS / path), None)
            if recorded is None or not recorded.request:  # of a form that `exchanges` does not read
                continue
            request, stream, headers = recorded.request, recorded.body, recorded.headers
        stream = stream.rstrip("\n") + "\n\n"
        data = [event.data for event in events(stream.encode())]
        assert data.pop() == "[DONE]"
        found[path] = Recording(request, [json.loads(one) for one in data], stream, headers)
    return found


LEGACY = completions()
NAMES = [path.split("/")[-1] for path in LEGACY]


def completed(recording: Recording) -> list[dict[str, Any]]:
    """What is emitted for the same request and text."""
    said = "".join(choice["text"] for one in recording.documents for choice in one["choices"])
    finish = next(c["finish_reason"] for one in recording.documents for c in one["choices"] if c["finish_reason"])
    request = {key: value for key, value in recording.request.items() if key != "max_tokens"}
    asked = COMPLETIONS.parse(json.dumps({**request, "max_tokens": 2000}).encode(), {})
    found = [event.data for event in events(body(COMPLETIONS, asked, Reply.of(said, finish=finish)))]
    assert found.pop() == "[DONE]"
    return [json.loads(one) for one in found]


def test_there_are_completions_to_compare() -> None:
    """Seven recordings are read, one of which tells the usage."""
    assert len(LEGACY) >= 7
    assert any(not recording.documents[-1]["choices"] for recording in LEGACY.values())


@pytest.mark.parametrize("recording", LEGACY.values(), ids=NAMES)
def test_completions_are_as_recorded(recording: Recording) -> None:
    """For the same text every kind of document has the recorded paths, types and order, and the same model and form."""

    def by_kind(found: list[dict[str, Any]]) -> dict[str, list[str]]:
        made: dict[str, list[str]] = {}
        for one in found:
            name = "usage" if not one["choices"] else "finish" if one["choices"][0]["finish_reason"] else "text"
            made.setdefault(name, shape(one))
        return made

    made = completed(recording)
    assert by_kind(made) == by_kind(recording.documents)
    assert {one["model"] for one in made} == {one["model"] for one in recording.documents}
    for found in (made, recording.documents):
        assert all(re.fullmatch("cmpl-[0-9A-Za-z]{29}", one["id"]) for one in found)


def test_the_limit_is_told_beside_the_last_text() -> None:
    """A completion that reaches its limit says so beside its last text, as recorded; others beside an empty one."""
    cut = {True: 0, False: 0}
    for recording in LEGACY.values():
        last = next(c for one in reversed(recording.documents) for c in one["choices"])
        cut[last["finish_reason"] == "length"] += 1
        assert bool(last["text"]) == (last["finish_reason"] == "length")
    assert all(cut.values())
    asked = COMPLETIONS.parse(b'{"model": "davinci-002", "prompt": "", "stream": true, "max_tokens": 2}', {})
    *_, last, done = events(body(COMPLETIONS, asked, "One two three"))
    (choice,) = json.loads(last.data)["choices"]
    assert (choice["text"], choice["finish_reason"], done.data) == (" two", "length", "[DONE]")


@pytest.mark.parametrize(
    "recording",
    [r for r in LEGACY.values() if r.headers],
    ids=[n for n, r in zip(NAMES, LEGACY.values(), strict=True) if r.headers],
)
def test_the_headers_of_completions_are_as_recorded(recording: Recording) -> None:
    """The headers of OpenAI's own are all there, with values of the same form."""
    asked = COMPLETIONS.parse(json.dumps(recording.request).encode(), {})
    said = Voice(asked, Reply.of(""), Seed(1), (b"", 0), 0)
    own = {key.lower(): value for key, value in COMPLETIONS.headers(said, stream=True)}
    for key, value in (recording.headers or {}).items():
        if not FOREIGN.match(key) and key not in ("openai-organization", "openai-project"):
            forms = [re.sub("[0-9]+(?:m?s)?", "0", re.sub("[0-9a-fx]{20,}", "h", one)) for one in (own[key], value)]
            assert forms[0] == forms[1], key

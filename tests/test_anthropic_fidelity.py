"""What is emitted has the paths, types and order of what api.anthropic.com was recorded to send.

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

from mockprovider.reply import Part, Refusal, Reply, ToolCall
from tests.chatting import events
from tests.messaging import DIALECT, VERSION, ask, body, documents, voice
from tests.test_fidelity import RECORDINGS, exchanges, shape

pytestmark = pytest.mark.skipif(
    not (RECORDINGS / "manifest.tsv").is_file(), reason="the folder of recordings, ../shared/streams, is not here"
)

FOREIGN = {
    "anthropic-message-delta-input-tokens": "a compatible server, which orders its keys otherwise",
    "duplicate-message-start": "made by hand, with a fault in it",
    "anthropic-fallback": "made by hand, of a beta that falls back to another model",
}
"""Recordings that are not of api.anthropic.com as it is, and why."""

EXTRA = {
    "message_start: .message.usage.inference_geo str": "newer than most recordings",
    "message_start: .message.usage.cache_creation object": "newer than the oldest recordings",
    "message_start: .message.usage.cache_creation.ephemeral_5m_input_tokens int": "the same",
    "message_start: .message.usage.cache_creation.ephemeral_1h_input_tokens int": "the same",
    "message_start: .message.usage.service_tier str": "the same",
    "message_delta: .usage.input_tokens int": "the same",
    "message_delta: .usage.cache_creation_input_tokens int": "the same",
    "message_delta: .usage.cache_read_input_tokens int": "the same",
    "message_delta refusal: .delta.stop_details.category null": "no category fits a scripted refusal",
}
MISSING = {
    "message_delta refusal: .delta.stop_details.category str": "no category fits a scripted refusal",
    "message_delta refusal: .delta.stop_details.recommended_model str": "a beta's, unknown to the SDK's stable types",
}
"""What may differ from some recording, and why."""


HELLO = {"role": "user", "content": "Hello"}


@dataclass(frozen=True)
class Recording:
    """A recorded stream: its documents in order, its bytes and headers where they were kept."""

    documents: list[dict[str, Any]]
    text: str | None = None
    headers: dict[str, str] | None = None


def load(path: Path) -> Recording:
    """A recording of one of the forms in which they are kept."""
    text = path.read_text(encoding="utf-8")
    if path.name.endswith(".chunks.txt"):
        return Recording([json.loads(line) for line in text.splitlines() if line])
    headers = None
    if path.suffix == ".har":
        answer = json.loads(text)["log"]["entries"][0]["response"]
        text, headers = answer["content"]["text"], {one["name"]: one["value"] for one in answer["headers"]}
    elif path.suffix == ".yaml":
        (recorded,) = exchanges(path)
        text, headers = recorded.body.rstrip("\n") + "\n\n", recorded.headers
    return Recording(documents(text.encode()), text if headers is not None else None, headers)


def recordings() -> dict[str, Recording]:
    """The recorded streams of Anthropic's own endpoint, by name."""
    if not (RECORDINGS / "manifest.tsv").is_file():
        return {}
    with (RECORDINGS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t") if row["dialect"] == "anthropic-messages"]
    paths = {row["path"] for row in rows if row["provider"] in ("anthropic", "local")}
    found = {Path(path).name.partition(".")[0]: path for path in sorted(paths)}
    return {name: load(RECORDINGS / path) for name, path in found.items() if name not in FOREIGN}


REAL = recordings()


def kind(document: dict[str, Any]) -> str:
    """What a document is, such that all of a kind have one shape."""
    words = [document["type"]]
    words.append(document.get("content_block", {}).get("type", ""))
    words.append(document.get("delta", {}).get("type", ""))
    words.append("refusal" if document.get("delta", {}).get("stop_reason") == "refusal" else "")
    return " ".join(filter(None, words))


def told(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The paths and types of each kind of document, in order, as its first one has them."""
    made: dict[str, list[str]] = {}
    for document in found:
        made.setdefault(kind(document), shape(document))
    return made


def same_reply(found: list[dict[str, Any]]) -> list[Part | str]:
    """The reply that a recording says, as a script."""
    parts: list[Part | str] = []
    texts: list[str] = []
    for one in found:
        if one["type"] == "content_block_start":
            texts = []
            block = one["content_block"]
        elif one["type"] == "content_block_delta":
            texts.append(one["delta"].get("text", one["delta"].get("partial_json")))
        elif one["type"] == "content_block_stop":
            said = "".join(texts)
            parts.append(said if block["type"] == "text" else ToolCall(block["name"], said))
        elif one["type"] == "message_delta" and one["delta"]["stop_reason"] == "refusal":
            parts.append(Refusal(one["delta"]["stop_details"]["explanation"]))
    return parts


def ours(recording: Recording) -> bytes:
    """What is emitted for the same reply."""
    model = recording.documents[0]["message"]["model"]
    return body(ask(model=model, stream=True), *same_reply(recording.documents))


def outline(found: list[dict[str, Any]]) -> list[str]:
    """The kinds in order, repetitions and pings left out."""
    kinds = [kind(document) for document in found if document["type"] != "ping"]
    return [one for at, one in enumerate(kinds) if at == 0 or kinds[at - 1] != one]


def test_there_is_something_to_compare() -> None:
    """The recordings are read: at least seven streams, with text, tools and a refusal among them."""
    assert len(REAL) >= 7
    kinds = {kind(document) for recording in REAL.values() for document in recording.documents}
    assert kinds >= {
        "message_start",
        "content_block_start text",
        "content_block_start tool_use",
        "content_block_delta text_delta",
        "content_block_delta input_json_delta",
        "message_delta",
        "message_delta refusal",
    }


@pytest.mark.parametrize("name", REAL)
def test_events_are_as_recorded(name: str) -> None:
    """For the same reply the kinds of events come in the recorded order, and have its paths, types and key order."""
    real = REAL[name].documents
    made = documents(ours(REAL[name]))
    assert outline(made) == outline(real)
    ours_by_kind, real_by_kind = told(made), told(real)
    for each, lines in real_by_kind.items():
        if each == "ping" and each not in ours_by_kind:
            continue
        own = ours_by_kind[each]
        extra = [f"{each}: {line}" for line in own if line not in lines]
        missing = [f"{each}: {line}" for line in lines if line not in own]
        assert set(extra) <= set(EXTRA), extra
        assert set(missing) <= set(MISSING), missing
        shared = [line for line in own if line in lines]
        if next(iter(real[0]["message"])) == "model":  # the order since autumn 2025
            assert shared == [line for line in lines if line in own], each


@pytest.mark.parametrize("name", [name for name, recording in REAL.items() if recording.headers])
def test_the_newest_streams_differ_in_nothing_but_what_is_newer(name: str) -> None:
    """Of the streams that were recorded with their headers no path is missing, and one only is newer than they are."""
    made = documents(ours(REAL[name]))
    own, real = told(made), told(REAL[name].documents)
    assert set(own) == set(real)
    differing = {f"{each}: {line}" for each in own for line in {*own[each]} ^ {*real[each]}}
    assert differing == {"message_start: .message.usage.inference_geo str"}


@pytest.mark.parametrize("name", [name for name, recording in REAL.items() if recording.text])
def test_the_layout_is_as_recorded(name: str) -> None:
    """Recorded and emitted: `event:` lines, LF, padding of 0 to 15 spaces before the last brace, a spaced ping."""
    text = REAL[name].text
    assert text is not None
    for stream in (text.rstrip("\n") + "\n\n", ours(REAL[name]).decode()):
        assert "\r" not in stream
        assert not stream.endswith("\n\n\n")
        for block, event in zip(stream.removesuffix("\n\n").split("\n\n"), events(stream.encode()), strict=True):
            document = json.loads(event.data)
            assert block == f"event: {document['type']}\ndata: {event.data}"
            compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            padded = re.escape(compact[:-1]) + "( {0,15})}"
            assert re.fullmatch(padded, event.data) or event.data == '{"type": "ping"}'


@pytest.mark.parametrize("name", [name for name, recording in REAL.items() if recording.headers])
def test_headers_are_as_recorded(name: str) -> None:
    """The headers of Anthropic's own are all there, with values of the same form; those of its network are not ours."""
    foreign = re.compile(
        r"cf-|server|strict-transport|content-security|connection|keep-alive|vary|date|transfer|x-ratelimit"
    )
    asked = DIALECT.parse(
        json.dumps({"model": "m", "max_tokens": 1, "messages": [HELLO], "stream": True}).encode(), VERSION
    )
    own = {key.lower(): value for key, value in DIALECT.headers(voice(asked, Reply.of("")), stream=True)}
    real = {key: value for key, value in (REAL[name].headers or {}).items() if not foreign.match(key)}
    assert sorted(own) == sorted(real)
    for key, value in real.items():
        if key != "anthropic-organization-id":
            forms = [re.sub("[0-9]+", "0", re.sub("_011C[A-Za-z0-9]{20}$", "_ID", text)) for text in (own[key], value)]
            assert forms[0] == forms[1], key


def test_errors_are_as_recorded() -> None:
    """The bodies of a refused key and of an unknown model are those recorded, but for their ids."""
    found: list[str] = []
    for path in sorted(RECORDINGS.glob("*/_errors/anthropic/**/*.y*ml")):
        text = path.read_text(encoding="utf-8")
        said = re.sub(r"\s+", " ", text)
        found.extend(message for message in ("invalid x-api-key", "model: claude-does-not-exist") if message in said)
    assert found == ["invalid x-api-key", "model: claude-does-not-exist"]
    refused, unknown = DIALECT.refused_key("x"), DIALECT.unknown_model("claude-does-not-exist")
    for error, kind_of_error, status in ((refused, "authentication_error", 401), (unknown, "not_found_error", 404)):
        _, content = DIALECT.error(error, "req_1")
        assert error.status == status
        assert content.decode() == (
            f'{{"type":"error","error":{{"type":"{kind_of_error}","message":"{error.message}"}},"request_id":"req_1"}}'
        )
        assert error.message in found

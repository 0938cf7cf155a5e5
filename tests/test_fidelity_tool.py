"""scripts/fidelity: what it finds in recordings, what it makes of differences, and that ours has none unexplained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mockprovider.provider import MockProvider
from mockprovider.recording import RecordedHead, RecordedRequest, dumps, made
from scripts.fidelity_tool.compare import Finding
from scripts.fidelity_tool.events import CHAT, events, kind
from scripts.fidelity_tool.recordings import load
from scripts.fidelity_tool.replies import script
from scripts.fidelity_tool.run import RULES, USUAL, Rules, main, run, table
from scripts.fidelity_tool.shapes import differences, layout, shape_of

HEADERS = (("Content-Type", "text/event-stream"), ("date", "Mon, 08 Jun 2026 18:45:43 GMT"))
ASKED = {"model": "llama-3.3-70b", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


def record(folder: Path, name: str, body: bytes, host: str = "api.groq.com", status: int = 200) -> None:
    """Write a recording of one's own."""
    sent = (("host", host), ("content-type", "application/json"))
    request = RecordedRequest("POST", "/openai/v1/chat/completions", sent, json.dumps(ASKED).encode())
    head = RecordedHead("1.1", status, "OK", HEADERS)
    recording = made(request, head, body, source={}, recorded="2026-06-08T18:45:43Z")
    (folder / f"{name}.ndjson").write_bytes(dumps(recording))


def ours(flavour: str) -> bytes:
    """What this project sends in that flavour."""
    import httpx

    with MockProvider(seed=3) as provider:
        provider.on().reply("Hello there.")
        return httpx.post(f"{provider.url}/as/{flavour}/v1/chat/completions", json=ASKED, trust_env=False).content


def test_our_own_stream_differs_in_nothing(tmp_path: Path) -> None:
    """A recording of what is emitted, in a file of our own form, differs in no event."""
    record(tmp_path, "groq", ours("groq"))
    outcome = run(tmp_path, Rules())
    assert outcome.compared == {("groq", CHAT): 1}
    assert [finding for finding in outcome.unexplained if finding.kind != "headers"] == []
    assert "text" in {kind for _, _, kind in outcome.rows}


@pytest.mark.parametrize(
    ("change", "kind_of_event", "what"),
    [
        ((b'"delta":{"content":"Hello"},', b'"delta":{"content":"Hello","new":1},'), "text", "missing"),
        ((b'"x_groq":{"id"', b'"y_groq":{"id"'), "role", "extra"),
        ((b'"created":17', b'"created":"x","y":17'), "role", "type"),
        ((b'"object":"chat.completion.chunk","created"', b'"created"'), "text", "extra"),
        ((b"data: [DONE]\n\n", b""), "end", "kind extra"),
        ((b"data: {", b"event: chunk\ndata: {"), "text", "event name"),
        ((b'","object":', b'", "object": '), "text", "layout"),
    ],
)
def test_every_sort_of_difference_is_found(
    tmp_path: Path, change: tuple[bytes, bytes], kind_of_event: str, what: str
) -> None:
    """A path missing or too much, another type, name or spacing, a missing end: each is told with its kind."""
    stream = ours("groq")
    assert change[0] in stream
    record(tmp_path, "changed", stream.replace(*change))
    found = {(finding.kind, finding.what) for finding in run(tmp_path, Rules()).unexplained}
    assert (kind_of_event, what) in found, found


def test_an_exception_explains_and_unused_ones_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule with a reason turns a difference into a meant one, and one that fits nothing is shown."""
    record(tmp_path, "changed", ours("groq").replace(b'"x_groq":{"id"', b'"y_groq":{"id"'))
    rules = tmp_path / "rules.toml"
    head = RULES.read_text(encoding="utf-8").partition("# ----")[0]
    allow = '[[skip]]\nname = "nothing"\nreason = "none"\n[[allow]]\n{}reason = "they renamed it"\n'
    rules.write_text(head + allow.format('flavour = "groq"\n'))
    assert main([str(tmp_path), "--rules", str(rules)]) == 0
    assert "they renamed it" in capsys.readouterr().out
    rules.write_text(head + allow.format('kind = "nothing"\n'))
    assert main([str(tmp_path), "--rules", str(rules)]) == 1
    assert "explains nothing any more" in capsys.readouterr().out
    assert main([str(tmp_path / "none")]) == 2


def test_the_newest_of_each_kind_is_compared(tmp_path: Path) -> None:
    """Of two recordings with the same kinds of events the older is left out; `older` takes both."""
    record(tmp_path, "one", ours("groq"))
    record(tmp_path, "two", ours("groq"))
    assert sum(run(tmp_path, Rules()).compared.values()) == 1
    assert sum(run(tmp_path, Rules(), older=True).compared.values()) == 2


def test_shapes() -> None:
    """Paths, types and order are compared over all documents of a kind; below a missing path nothing more is said."""
    real = shape_of([{"a": 1, "b": {"c": [1]}}, {"a": None, "b": {"c": []}}])
    assert list(differences(real, real)) == []
    assert list(differences(real, shape_of([{"b": {"c": []}, "a": "x"}]))) == [
        ("type", ".a text for null/number"),
        ("order", ". has b,a for a,b"),
    ]
    assert list(differences(real, shape_of([{"a": 1}]))) == [("missing", ".b")]
    assert list(differences(shape_of([{"a": 1}]), shape_of([{"a": 2, "b": {"c": 1}}]))) == [("extra", ".b")]


def test_layouts() -> None:
    """Compact, spaced and indented JSON are told apart, and so are escapes and padding."""
    document = {"a": "é", "b": [1, 2]}
    assert layout(json.dumps(document, ensure_ascii=False, separators=(",", ":"))) == "compact"
    assert layout(json.dumps(document)) == "spaced, escaped"
    assert layout(json.dumps(document, ensure_ascii=False, indent=2)) == "two spaces deep"
    assert layout('{"a":1,"b":[1,2]   }') == "compact, padded"
    assert layout('{"a":1, "b":[1,2]}') == "otherwise"


def test_kinds_and_scripts() -> None:
    """A stream's events are named by what they hold, and its reply is told as a script."""
    chunks: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"content": "Hi"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "look", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
    ]
    documents: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in chunks]
    documents.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": {"a": 1}})
    body = b"".join(b"data: %b\n\n" % json.dumps(document).encode() for document in documents) + b": hm\n\ndata: [DONE]"
    assert [kind(CHAT, event) for event in events(body)] == [
        "role", "reasoning", "text", "call start", "arguments", "finish+usage", "comment", "end",
    ]  # fmt: skip
    reply = script(CHAT, documents)
    assert [type(part).__name__ for part in reply.parts] == ["Reasoning", "Text", "ToolCall"]
    assert reply.finish == "tool_calls"


@pytest.mark.skipif(not USUAL.is_dir(), reason="the folder of recordings, ../shared/streams, is not here")
def test_nothing_differs_from_the_newest_recordings() -> None:
    """Of real recordings, in every dialect, no path is missing, none too much, and nothing differs unexplained."""
    outcome = run(USUAL, Rules())
    assert {dialect for _, dialect in outcome.compared} >= {
        "openai-responses", "openai-completions", "openai-embeddings", "anthropic-messages", "gemini", "ollama-chat",
    }  # fmt: skip
    assert {flavour for flavour, dialect in outcome.compared if dialect == CHAT} >= {
        "openai", "azure", "openrouter", "groq", "mistral", "deepseek", "xai", "together", "perplexity", "huggingface",
        "llama.cpp",
    }  # fmt: skip
    assert [str(finding) for finding in outcome.unexplained] == []
    assert len(table(outcome)) > 60


@pytest.mark.skipif(not USUAL.is_dir(), reason="the folder of recordings, ../shared/streams, is not here")
def test_recordings_of_every_form_are_read() -> None:
    """Cassettes, archives, saved bodies, payload lists and captures are read; most tell when they were made."""
    recordings, failed = load(USUAL)
    assert len(recordings) > 300
    assert len(failed) < 10
    assert sum(bool(recorded.date) for recorded in recordings) > 250


def test_a_finding_reads_as_a_sentence() -> None:
    """Who, which dialect, which kind of event, in which respect, and where."""
    finding = Finding("groq", CHAT, "role", "missing", ".x_groq", "some.yaml")
    assert str(finding) == "groq openai-chat, role: missing .x_groq"

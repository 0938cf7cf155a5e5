"""A recording as people see it: shown, drawn, compared, checked, and turned into a pace."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider import MockProvider, Pacing
from mockprovider.cli import main
from mockprovider.pace import Chunking, Distribution
from mockprovider.recording import RecordedHead, RecordedRequest, Recording, dumps, loads
from mockprovider.redaction import Redactor
from mockprovider.show.answers import recognise
from mockprovider.show.difference import PARTS, differences
from mockprovider.show.events import decode, encode_frame, events_of, framing_of
from mockprovider.show.figures import percentile, stalls_in
from mockprovider.show.fit import distribution, fit
from mockprovider.show.lint import SEVERITIES, lint
from mockprovider.show.plot import progress, seconds, strip
from mockprovider.show.svg import svg
from mockprovider.show.terminal import columns, printable, rows, shown
from mockprovider.show.view import prompt_of, view

STREAM = (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
ASKED: dict[str, Any] = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Say hi"}]}


def chunk(text: str | None = None, **more: Any) -> bytes:
    """An event of a chat completion. text: of its delta."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
    document = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice]}
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


FINISH = chunk(finish_reason="stop")
DONE = b"data: [DONE]\n\n"


def stream(
    pieces: Sequence[tuple[float, bytes]],
    *,
    headers: tuple[tuple[str, str], ...] = STREAM,
    asked: object = ASKED,
    target: str = "/v1/chat/completions",
    ending: str | None = "end",
    status: int = 200,
    **more: Any,
) -> Recording:
    """A recording with these pieces, (gap, content), an HTTP chunk each, after a head at 0.1 s."""
    head = RecordedHead("1.1", status, "OK", headers)
    request = RecordedRequest("POST", target, (("content-type", "application/json"),), json.dumps(asked).encode())
    chunked = any(name == "Transfer-Encoding" for name, _ in headers)
    wires = [(gap, b"%x\r\n%b\r\n" % (len(data), data) if chunked else data) for gap, data in pieces]
    wires += [(0.0, b"0\r\n\r\n")] if chunked and ending == "end" else []
    made = Recording.of(request, [(0.1, head.encode()), *wires], recorded="2026-11-22T21:00:00Z", ending=ending, **more)
    assert loads(dumps(made)) == made
    return made


def plain(gaps: Sequence[float] = (0.4, 0.02, 0.02), **more: Any) -> Recording:
    """A stream with a token after each of these gaps."""
    tokens = [(gap, chunk(f"w{number} ")) for number, gap in enumerate(gaps)]
    return stream([*tokens, (0.02, FINISH + DONE)], **more)


def page(recording: Recording, width: int = 100, **more: bool) -> str:
    """What `show` shows."""
    return "\n".join(shown(recording, width, **more))


# ------------------------------------------------------------------------------------------------ events


def test_server_sent_events_are_split_as_the_standard_has_it() -> None:
    """Blocks end with an empty line of any kind; comments, what is cut short and unknown lines are told apart."""
    content = b'\xef\xbb\xbfdata: {"a":1}\r\n\r\n: ping\n\nevent: x\ndata:2\ndata: 3\n\n\nnonsense\ndata: 4\r\rdata: 5'
    events = events_of([(0.5, content[:8]), (1.5, content[8:])], "sse")
    assert [event.kind for event in events] == ["event", "comment", "event", "blank", "event", "rest"]
    assert [event.data for event in events] == [b'{"a":1}', None, b"2\n3", None, b"4", b"5"]
    assert events[0].document == {"a": 1}
    assert events[2].name == "x"
    assert events[4].odd == (b"nonsense",)
    assert {event.at for event in events} == {1.5}
    assert b"".join(event.raw for event in events) == content


FRAMES = encode_frame({":event-type": "chunk"}, b'{"a":1}') + encode_frame({":event-type": "x"}, b"2") + b"cut"
FRAMED = [
    ("text/event-stream", b"", "sse"),
    (None, b": ping\n\n", "sse"),
    ("application/x-ndjson", b'{"a":1}\n', "ndjson"),
    ("text/plain", b'{"a":1}\n{"a":2}\n', "ndjson"),
    ("application/json", b'[{"a":1}\n,\n{"a":2}]', "json-array"),
    ("application/vnd.amazon.eventstream", FRAMES, "eventstream"),
    ("application/json", b'{"a":1}', "whole"),
]


@pytest.mark.parametrize(("kind", "content", "framing"), FRAMED, ids=[str(row[2]) + str(row[0]) for row in FRAMED])
def test_the_framing_is_found_out(kind: str | None, content: bytes, framing: str) -> None:
    """By the content type, and where that tells nothing, by the content."""
    assert framing_of(kind, content) == framing


def test_lines_elements_and_frames_are_events_too() -> None:
    """NDJSON, a JSON array that is cut short, and Amazon's frames, with their payloads."""
    lines = events_of([(0.0, b'{"a":1}\n\n{"a":2}')], "ndjson")
    assert [event.document for event in lines if event.kind == "event"] == [{"a": 1}, {"a": 2}]
    array = events_of([(0.0, b'[{"a":"]"}\r\n,\n{"a":2},{"a"')], "json-array")
    assert [(event.kind, event.document) for event in array[:2]] == [("event", {"a": "]"}), ("event", {"a": 2})]
    assert array[2].kind == "rest"
    frames = events_of([(0.0, FRAMES)], "eventstream")
    assert [(event.kind, event.name, event.data) for event in frames] == [
        ("event", "chunk", b'{"a":1}'),
        ("event", "x", b"2"),
        ("rest", None, None),
    ]


BITS = [b"data: ", b"event: x", b":", b"\n", b"\r", b"\r\n", b"{", b"}", b"[", b",", b"1", b"\xff", b"id: \0"]


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(BITS),
        max_size=30,
    ),
    cut=st.integers(0, 40),
    framing=st.sampled_from(["sse", "ndjson", "json-array", "eventstream", "whole"]),
)  # fmt: skip
def test_no_byte_is_lost_in_any_framing(parts: list[bytes], cut: int, framing: str) -> None:
    """Whatever the content is, its events together are the content, wherever it was cut."""
    content = b"".join(parts)
    events = events_of([(0.0, content[:cut]), (1.0, content[cut:])], framing)
    assert b"".join(event.raw for event in events) == content
    assert [event.at for event in events] == [float(event.start + len(event.raw) > cut) for event in events]


def test_compressed_content_keeps_its_times() -> None:
    """Content that was compressed as it was streamed is read piece by piece, and what is cut short says so."""
    import zlib

    packer = zlib.compressobj(wbits=31)
    pieces = [(float(at), packer.compress(b"data: x\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)) for at in range(3)]
    whole = decode([*pieces[:2], (2.0, pieces[2][1] + packer.flush())], "gzip")
    assert [data for _, data in whole.pieces] == [b"data: x\n\n"] * 3
    assert whole.problem is None
    cut = decode(pieces, "gzip")
    assert cut.content == b"data: x\n\n" * 3
    assert cut.problem == "content-encoding gzip: cut short"
    assert "br cannot be read here" in str(decode([(0.0, b"x")], "br").problem)
    assert decode([(0.0, zlib.compress(b"x"))], "deflate").content == b"x"
    assert decode([(0.0, zlib.compress(b"x")[2:-4])], "deflate").content == b"x"


# ------------------------------------------------------------------------------------------------ answers

DIALECTS: dict[str, tuple[str, list[tuple[str | None, object]], dict[str, Any]]] = {
    "openai-chat": (
        "sse",
        [(None, {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta}]})
         for delta in ({"reasoning_content": "Hm"}, {"content": "Hel"}, {"content": "lo"},
                       {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a"'}}]},
                       {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})],
        {"texts": {"0": "Hello"}, "reasoning": {"0": "Hm"}, "tools": {"0.0": ("f", '{"a":1}')}, "model": "m"},
    ),
    "openai-completions": (
        "sse",
        [(None, {"object": "text_completion", "choices": [{"index": 1, "text": text}]}) for text in ("a", "b")],
        {"texts": {"1": "ab"}},
    ),
    "openai-responses": (
        "sse",
        [("response.output_item.added", {"type": "response.output_item.added", "output_index": 1, "delta": "",
                                         "item": {"type": "function_call", "name": "f"}}),
         ("response.output_text.delta", {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}),
         ("x", {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"}),
         ("response.completed", {"type": "response.completed", "response": {
             "object": "response", "status": "completed", "model": "m", "usage": {"output_tokens": 2},
             "output": [{"content": [{"text": "Hi"}]}, {"name": "f", "arguments": "{}"}]}})],
        {"texts": {"0": "Hi"}, "tools": {"1": ("f", "{}")}, "model": "m", "finish": ["completed"]},
    ),
    "anthropic-messages": (
        "sse",
        [("message_start", {"type": "message_start", "message": {"model": "m", "content": []}}),
         ("content_block_start", {"type": "content_block_start", "index": 1,
                                  "content_block": {"type": "tool_use", "name": "f", "input": {}}}),
         ("d", {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}}),
         ("d", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
         ("d", {"type": "content_block_delta", "index": 1, "delta": {"partial_json": "{}"}}),
         ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"x": 1}})],
        {"texts": {"0": "Hi"}, "reasoning": {"0": "Hm"}, "tools": {"1": ("f", "{}")}, "finish": ["end_turn"]},
    ),
    "gemini": (
        "sse",
        [(None, {"candidates": [{"content": {"parts": [{"text": "Hm", "thought": True}, {"text": "Hi"}]}}]}),
         (None, {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
                                 "finishReason": "STOP"}], "modelVersion": "m"})],
        {"texts": {"0": "Hi"}, "reasoning": {"0": "Hm"}, "tools": {"0+0": ("f", '{"a": 1}')}, "finish": ["STOP"]},
    ),
    "ollama": (
        "ndjson",
        [(None, {"created_at": "x", "model": "m", "message": {"content": "H"}, "done": False}),
         (None, {"created_at": "x", "response": "i", "done": True, "done_reason": "stop", "eval_count": 2})],
        {"texts": {"0": "Hi"}, "model": "m", "finish": ["stop"], "usage": {"eval_count": 2}},
    ),
    "bedrock-converse": (
        "eventstream",
        [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
         ("messageStop", {"stopReason": "end_turn"})],
        {"texts": {"0": "Hi"}, "finish": ["end_turn"]},
    ),
    "cohere-v2": (
        "sse",
        [("content-delta", {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}})],
        {"texts": {"0": "Hi"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_said_is_put_together_by_dialect(dialect: str) -> None:
    """Text, reasoning, calls, finish and model of each dialect, once each, though closing payloads repeat them."""
    framing, payloads, expected = DIALECTS[dialect]
    encoded = [(name, json.dumps(document).encode()) for name, document in payloads]
    if framing == "eventstream":
        blocks = [encode_frame({":event-type": name or ""}, data) for name, data in encoded]
    elif framing == "ndjson":
        blocks = [data + b"\n" for _, data in encoded]
    else:
        blocks = [(f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n" for name, data in encoded]
    kinds = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}
    kind = kinds.get(framing, "application/vnd.amazon.eventstream")
    seen = view(stream([(0.1, block) for block in blocks], headers=(("Content-Type", kind), STREAM[1])))
    assert (seen.framing, seen.dialect) == (framing, dialect)
    assert {name: getattr(seen.answer, name) for name in expected} == expected
    # What a closing payload repeats is no token again.
    assert sum(seen.tokens) == {"openai-chat": 5, "openai-responses": 3, "anthropic-messages": 4}.get(
        dialect, sum(seen.tokens)
    )


def test_whole_replies_and_errors_are_read_too() -> None:
    """A reply that was not streamed, and an error document, are answers as well."""
    document = {"object": "chat.completion", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    body = json.dumps(document).encode()
    headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    seen = view(stream([(0.1, body)], headers=headers))
    assert (seen.framing, seen.dialect, seen.answer.texts, seen.ended) == ("whole", "openai-chat", {"0": "Hi"}, None)
    error = b'{"error":{"message":"no such model"}}'
    headers = (("Content-Type", "application/json"), ("Content-Length", str(len(error))))
    assert "error: no such model" in page(stream([(0.1, error)], headers=headers, status=404))
    assert recognise([]) is None


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], [1], {}, {"choices": 1}, {"choices": [{"delta": 1}]}, {"delta": []}]
)
def test_payloads_of_any_shape_are_passed_over(value: object) -> None:
    """Nothing that a payload may hold is an error to those who show it."""
    data = json.dumps(value).encode()
    for first in [json.dumps(payloads[0][1]).encode() for _, payloads, _ in DIALECTS.values()]:
        recording = stream([(0.1, b"data: " + first + b"\n\ndata: " + data + b"\n\n")])
        assert page(recording)
        assert lint(recording, Redactor()) is not None


# ------------------------------------------------------------------------------------------------ times


def test_times_are_those_that_were_recorded() -> None:
    """TTFT is the time to the first token event, not to the head or a comment; gaps are between token events."""
    recording = stream([
        (0.2, b": ping\n\n"), (0.2, chunk("")), (0.5, chunk("a")), (0.02, chunk("b") + chunk("c")), (2.0, chunk("d")),
        (0.1, FINISH + DONE),
    ])  # fmt: skip
    timing = view(recording).timing
    assert timing.head == pytest.approx(0.1)
    assert timing.ttft == pytest.approx(1.0)
    assert timing.gaps == pytest.approx((0.02, 0.0, 2.0))
    assert timing.end == pytest.approx(3.12)
    [stall] = timing.stalls
    assert stall.after == 3
    assert (stall.at, stall.seconds) == pytest.approx((1.02, 2.0))
    assert timing.itl(50) == pytest.approx(0.02)


def test_percentiles_are_interpolated() -> None:
    """The median of an even number is between its middle two; the 0th and 100th are the least and the greatest."""
    assert [percentile([4, 1, 2, 3], percent) for percent in (0, 50, 90, 100)] == pytest.approx([1, 2.5, 3.7, 4])
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    assert stalls_in([]) == ()
    assert stalls_in([0, 0.1, 0.2, 0.3]) == ()


# ------------------------------------------------------------------------------------------------ the page


def test_the_page_has_all_that_a_person_wants() -> None:
    """Request, prompt, head, text, figures, drawing and events are on the page, in words."""
    text = page(plain([0.4, *[0.02] * 30, 1.5, *[0.02] * 10]))
    assert text.startswith("POST /v1/chat/completions\n  gpt-4o · streamed · 1 message\n  user: Say hi\n200 OK · text/")
    assert "openai-chat · gpt-4o · finish: stop" in text
    assert "text: w0 w1 w2" in text
    assert re.search(r"TTFT 0\.500 s · ITL p50 20\.0 ms · p90 20\.0 ms · p99 .* · 42 token events", text)
    assert "stall of 1.500 s after 31 token events, at 1.100 s" in text
    assert "ending: complete, after 2.8" in text
    assert "H head, T first token, E end" in text
    assert "44 events (sse)" in text
    assert "36 more; --events shows them" in text
    assert page(plain(), raw=True).count("┃") > 5
    assert "more; --events" not in page(plain([0.1] * 40), events=True)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_page_fits_the_terminal(width: int) -> None:
    """No line is wider than the terminal, in any script."""
    wide = [(0.1, chunk(text)) for text in ("日本語のとても長い文章" * 12, "x" * 300, "👩‍👩‍👧 " * 20, "one two " * 40)]
    asked = {
        **ASKED,
        "messages": [{"role": "user", "content": "很长" * 200}],
        "tools": [{"function": {"name": "f" * 90}}],
    }
    notes = {"format": "vcrpy", "file": "x" * 120, "synthetic": ["head", "request"], "notes": ["word " * 60]}
    recording = stream([*wide, (1.0, FINISH + DONE)], asked=asked, source=notes)
    for line in shown(recording, width, events=True):
        assert columns(line) <= width, line


def test_nothing_recorded_steers_the_terminal() -> None:
    """Escape sequences, carriage returns and characters that turn text around are pictures on the page."""
    evil = "\x1b[2J\x1b]0;x\x07 \r\u202e\u200b\x9b2J \x00"
    asked = {**ASKED, "messages": [{"role": "user", "content": evil}]}
    headers = (*STREAM, ("x-request-id", "\x1b[31m"))
    recording = stream(
        [(0.1, chunk(evil) + b": \x1b[2J\n\nevent: \x1b\ndata: \x1b\n\n" + DONE)], asked=asked, headers=headers
    )
    recording = replace(recording, source={"format": "\x1b[1m", "file": "\x1b", "notes": ["\x1b"]})
    text = page(recording, events=True, raw=True) + "\n".join(rows([recording], 100))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]", text)
    assert "␛[2J" in text
    assert printable("a\tb\r\nc\u2028") == "a    b\nc⟨U+2028⟩"


def test_what_was_made_up_is_named() -> None:
    """A recording that another tool made says what it lacks, and shows no times that nobody measured."""
    source = {
        "format": "vcrpy",
        "file": "a.yaml",
        "interaction": 2,
        "synthetic": ["timing", "boundaries"],
        "duration": 1.5,
    }
    text = page(plain(source=source))
    assert "imported from vcrpy, a.yaml #2; not recorded but made up: boundaries, timing" in text
    assert "no timeline: when the parts came was not recorded; all that is known is that it took 1.500 s" in text
    assert "TTFT" not in text
    assert "no timeline" in svg(view(plain(source=source)))


@pytest.mark.parametrize(
    ("ending", "words"),
    [("reset", "reset (RST)"), ("close", "closed before"), ("client-left", "the client left"), (None, "was cut off")],
)
def test_the_ending_is_told(ending: str | None, words: str) -> None:
    """How an exchange ended is said in words, and that its terminator is missing."""
    text = page(stream([(0.1, chunk("a"))], ending=ending))
    assert words in text
    assert "without data: [DONE]" in text


def test_a_recording_of_nothing_is_shown() -> None:
    """Without a response, a body or a prompt, there is still a page."""
    text = page(Recording(RecordedRequest("GET", "/v1/models"), ending="timeout"))
    assert text.startswith("GET /v1/models\nno response\n")
    assert "silence until one side gave up" in text


def test_prompts_of_all_dialects_are_told() -> None:
    """The last text, the model and the tools of a request, wherever its dialect puts them."""
    parts = [{"type": "text", "text": "Hi"}]
    bodies: dict[str, Any] = {
        "anthropic": {"model": "m", "system": "S", "messages": [{"role": "user", "content": parts}]},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "tools": [{"name": "f"}]},
        "responses": {"model": "m", "input": "Hi", "tools": [{"type": "web_search"}]},
        "completions": {"model": "m", "prompt": "Hi"},
    }  # fmt: skip
    for body in bodies.values():
        prompt = prompt_of(stream([], asked=body))
        assert prompt is not None
        assert prompt.last == ("user", "Hi")
    assert prompt_of(stream([], asked=[1])) is None
    gemini = prompt_of(stream([], asked=bodies["gemini"], target="/v1beta/models/x:streamGenerateContent"))
    assert gemini is not None
    assert (gemini.stream, gemini.tools, gemini.model) == (True, ("f",), None)


# ------------------------------------------------------------------------------------------------ drawings


def test_drawings_say_what_they_mean() -> None:
    """The staircase is flat where nothing came and full at the end; the strip is empty there; neither is too wide."""
    times = [0.0, 1.0, 2.0, 9.0]
    lines = list(progress(times, 10.0, 20, 4))
    assert [len(line) for line in lines] == [20] * 4
    assert lines[0] == " " * 18 + "██"
    assert lines[3] == "█" * 20
    assert strip(times, 10.0, 10) == "███······█"
    assert [seconds(value) for value in (0, 0.0001, 0.0123, 0.5, 75.23)] == [
        "0 ms",
        "0.1 ms",
        "12.3 ms",
        "0.500 s",
        "75.2 s",
    ]


def test_the_picture_is_one_document_with_all_in_it(tmp_path: Path) -> None:
    """`--svg` writes well-formed SVG: a mark for each event, a shade for each stall, the figures as text, no script."""
    path, picture = tmp_path / "a.ndjson", tmp_path / "a.svg"
    recording = replace(plain([0.4, *[0.02] * 30, 1.5]), request=RecordedRequest("POST", "/<script>&\x1b"))
    path.write_bytes(dumps(recording))
    assert main(["show", str(path), "--svg", str(picture)]) == 0
    root = ET.fromstring(picture.read_text("utf-8"))
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    lines = [line.get("class") for line in root.iter(f"{name}line")]
    assert (lines.count("k"), lines.count("o")) == (32, 2)
    assert [rect.get("class") for rect in root.iter(f"{name}rect")] == ["b", "w"]
    said = " ".join(text.text or "" for text in root.iter(f"{name}text"))
    assert "TTFT 0.500 s" in said
    assert "/<script>&␛" in said
    assert not list(root.iter(f"{name}script"))


# ------------------------------------------------------------------------------------------------ differences


def differing(one: Recording, other: Recording, **more: bool) -> dict[str, list[str]]:
    """The parts that differ."""
    return {part: lines for part, lines in differences(view(one), view(other), **more).items() if lines}


def test_each_part_that_differs_is_told() -> None:
    """A difference in each part is found in that part, in words, and in no other."""
    base = plain()
    assert differing(base, base, everything=True) == {}
    asked = {**ASKED, "model": "gpt-5", "messages": [*ASKED["messages"], {"role": "user", "content": "x"}], "n": 1}
    later = [(0.02, chunk("w1 ")), (0.02, chunk("w2 ")), (0.02, FINISH + DONE)]
    changed = {
        "request": plain(asked=asked),
        "head": plain(headers=(*STREAM, ("x-new", "1"))),
        "events": stream([(0.4, chunk("w0 ", logprobs=None)), *later]),
        "timing": plain((1.4, 0.02, 0.02)),
        "ending": plain(ending="close"),
    }  # fmt: skip
    found = {part: differing(base, other) for part, other in changed.items()}
    assert {part: set(parts) for part, parts in found.items()} == {part: {part} for part in changed}
    assert found["request"]["request"] == [
        'body.model: gpt-4o → gpt-5', "body.messages: 1 elements → 2", "body.n: absent → 1",
    ]  # fmt: skip
    assert found["head"]["head"] == ["x-new: none → 1"]
    assert found["events"]["events"] == ["only in the second: $.choices[].logprobs"]
    assert found["timing"]["timing"] == ["TTFT: 0.500 s → 1.500 s", "total: 0.560 s → 1.560 s"]
    assert "ending: complete → closed before it was complete (FIN)" in found["ending"]["ending"]
    other = stream([(0.4, chunk("w0 ")), (0.02, chunk("w1 ")), (0.02, chunk("else")), (0.02, FINISH + DONE)])
    assert differing(base, other) == {"text": ["-w0 w1 w2 ", "+w0 w1 else"]}


def test_what_differs_each_time_is_passed_over_unless_all_is_wanted() -> None:
    """Ids, dates, rate limits and a few milliseconds are no differences, until `--all`."""
    one = plain(headers=(*STREAM, ("x-ratelimit-remaining-tokens", "1"), ("Date", "a")))
    pieces = [(0.401, chunk("w0 w1 ")), (0.021, chunk("w2 ")), (0.02, FINISH + DONE)]
    headers = (*STREAM, ("x-ratelimit-remaining-tokens", "2"), ("Date", "b"))
    other = stream([(gap, data.replace(b"chatcmpl-1", b"chatcmpl-2")) for gap, data in pieces], headers=headers)
    assert differing(one, other) == {}
    assert set(differing(one, other, everything=True)) == {"head", "events", "timing"}


def test_diff_exits_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`mockprovider diff` prints the parts that differ and exits with 1, or with 0 where none do that count."""
    one, other = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    one.write_bytes(dumps(plain()))
    other.write_bytes(dumps(plain(ending="close", source={"format": "x", "synthetic": ["timing"]})))
    assert main(["diff", str(one), str(one)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["diff", str(one), str(other)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("ending\n  ending: complete → closed")
    assert "timing was not compared" in said.err
    assert main(["diff", str(one), str(other), "--ignore", "ending,timing"]) == 0
    assert main(["diff", str(one), str(other), "--ignore", "endings"]) == 2
    assert "did you mean 'ending'?" in capsys.readouterr().err
    assert main(["diff", str(one), str(tmp_path / "c.ndjson")]) == 2
    assert tuple(differences(view(plain()), view(plain()))) == PARTS


# ------------------------------------------------------------------------------------------------ lint

GOOD = plain()
JSON = (("Content-Type", "application/json"), ("Content-Length", "5"))
WRONG: dict[str, tuple[Recording, str]] = {
    "no-ending": (plain(ending=None), "error"),
    "ended-early": (plain(ending="reset"), "note"),
    "no-response": (Recording(GOOD.request, ending="close"), "warning"),
    "synthetic": (plain(source={"format": "har", "synthetic": ["timing"]}), "note"),
    "broken-http": (Recording.of(GOOD.request, [(0.1, b"HTTP/1.1 200 OK\r\nbad\r\n\r\n")], ending="close"), "error"),
    "two-framings": (plain(headers=(*STREAM, ("Content-Length", "3"))), "error"),
    "unfinished-message": (stream([(0.1, b"[]")], headers=JSON), "error"),
    "content-encoding": (plain(headers=(*STREAM, ("Content-Encoding", "gzip"))), "error"),
    "secret": (plain(headers=(*STREAM, ("openai-organization", "org-abcdefgh"))), "error"),
    "bad-utf-8": (stream([(0.1, b'data: {"x":"\xff"}\n\n' + FINISH + DONE)]), "error"),
    "bad-json": (stream([(0.1, chunk("a") + b"data: {\n\n" + DONE)]), "error"),
    "content-type": (plain(headers=(("Content-Type", "text/plain"), STREAM[1])), "warning"),
    "unknown-dialect": (stream([(0.1, b'data: {"what":1}\n\n')]), "warning"),
    "sse-unknown-line": (stream([(0.1, b"datum: 1\n" + FINISH + DONE)]), "warning"),
    "unfinished-event": (stream([(0.1, FINISH + DONE[:-1])]), "error"),
    "mixed-line-ends": (stream([(0.1, FINISH.replace(b"\n", b"\r\n") + DONE)]), "warning"),
    "byte-order-mark": (stream([(0.1, b"\xef\xbb\xbf" + FINISH + DONE)]), "warning"),
    "no-terminator": (stream([(0.1, chunk("a"))]), "warning"),
    "stall": (plain([0.1, *[0.02] * 20, 3.0]), "warning"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_of_a_recording_is_found(name: str) -> None:
    """What is wrong is found under its name, as bad as it is, with a sentence; the worst comes first."""
    recording, severity = WRONG[name]
    found = lint(recording, Redactor())
    assert (name, severity) in [(finding.name, finding.severity) for finding in found]
    assert all(len(finding.text) > 10 for finding in found)
    assert [SEVERITIES.index(finding.severity) for finding in found] == sorted(
        SEVERITIES.index(finding.severity) for finding in found
    )


def test_what_is_right_is_left_alone() -> None:
    """A plain recording has nothing wrong, and a finding about a secret never tells it."""
    assert lint(GOOD, Redactor()) == []
    key = "sk-" + "aB3" * 10
    recording = plain(asked={**ASKED, "user": key}, target=f"/v1/x?key={key}")
    recording = replace(recording, request=replace(recording.request, headers=(("authorization", f"Bearer {key}"),)))
    texts = [finding.text for finding in lint(recording, Redactor())]
    assert sum("secret" in text or "none that is kept" in text for text in texts) == 3
    assert not any("aB3" in text for text in texts)
    assert lint(Redactor().recording(recording), Redactor()) == []


def test_lint_exits_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`mockprovider lint` exits with 1 on errors, on warnings only if strict, and counts damage as an error."""
    good, odd = tmp_path / "good.ndjson", tmp_path / "odd.ndjson"
    good.write_bytes(dumps(GOOD))
    odd.write_bytes(dumps(WRONG["stall"][0]))
    assert main(["lint", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{odd}: warning: stall: 3.000 s without a token after 21 token events\n"
    assert main(["lint", str(tmp_path), "--strict"]) == 1
    odd.write_bytes(b"{}\n")
    capsys.readouterr()
    assert main(["lint", str(odd), "--quiet"]) == 1
    assert capsys.readouterr().out.startswith(f"{odd}: error: damaged: ")
    assert main(["lint", str(tmp_path / "no.ndjson")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["lint", str(tmp_path / "empty")]) == 2


# ------------------------------------------------------------------------------------------------ fit

SHAPES = (
    "0.02",
    "0.01..0.03",
    "0.02~normal(cv=0.3)",
    "0.02~gamma(cv=0.5)",
    "0.05~lognormal(cv=0.8)",
    "0.2~gamma(cv=1)",
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fitted_pace_has_the_recorded_median_and_p90(shape: str, seed: int) -> None:
    """Gaps that are drawn from the fitted pace have, within a tenth, the median and the p90 of the recording."""
    draw = Distribution.parse(shape).sampler(random.Random(seed), 10.0)
    recording = plain([0.3, *[round(draw(), 6) for _ in range(400)]])
    fitted = fit([view(recording)])
    again = Pacing.parse(str(fitted.pacing))
    assert again == fitted.pacing
    timing = again.timing(random.Random(seed), lambda: 0)
    drawn = [timing.itl() for _ in range(20_000)]
    recorded = view(recording).timing.gaps
    for percent in (50, 90):
        assert percentile(drawn, percent) == pytest.approx(percentile(recorded, percent), rel=0.1)
    assert timing.ttft == pytest.approx(0.4)
    assert timing.head == pytest.approx(0.1)


def test_stalls_are_left_out_of_a_pace_and_told() -> None:
    """Some long silences change nothing of the pace; they are told, to be laid over as faults."""
    gaps = [0.3, *[0.02, 0.021, 0.019] * 30, 5.0, *[0.02, 0.021, 0.019] * 30, 9.0]
    fitted = fit([view(plain(gaps))])
    assert fitted.pacing.itl.mean == pytest.approx(0.02, rel=0.05)
    assert [(stall.after, round(stall.seconds)) for stall in fitted.stalls] == [(91, 5), (182, 9)]


def test_tokens_that_come_in_bursts_are_fitted_as_such() -> None:
    """Where several tokens come in each write, the pace is that of the writes, and the chunking says how many."""
    burst = chunk("a") + chunk("b") + chunk("c") + chunk("d")
    fitted = fit([view(stream([(0.08 + 0.004 * (n % 3), burst) for n in range(60)]))])
    assert fitted.chunking == Chunking.parse("payloads_per_chunk=4")
    assert fitted.pacing.itl.mean == pytest.approx(0.021, rel=0.05)


def test_few_or_equal_values_make_no_shape() -> None:
    """One value is a constant, a few are a range, and equal ones are a constant again."""
    assert str(distribution([0.2])) == "0.2"
    assert str(distribution([0.2, 0.4])) == "0.2..0.4"
    assert str(distribution([0.02] * 50)) == "0.02"
    assert str(distribution([0.0] * 30 + [0.03] * 10)) == "0.0075"


def test_fit_prints_what_serve_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`mockprovider fit` prints options to paste, and says on the other stream what it has left out."""
    import shlex

    path = tmp_path / "a.ndjson"
    path.write_bytes(dumps(plain([0.3, *[0.02, 0.03, 0.025] * 20, 5.0])))
    assert main(["fit", str(path)]) == 0
    said = capsys.readouterr()
    [option, pace] = shlex.split(said.out)
    assert option == "--pace"
    with MockProvider(pace=pace):
        pass
    assert "from 60 gaps: p50" in said.err
    assert "--with 'stall(after=61,seconds=5)'" in said.err
    path.write_bytes(dumps(plain(source={"format": "x", "synthetic": ["timing"]})))
    assert main(["fit", str(path)]) == 2
    assert "whose times were recorded" in capsys.readouterr().err
    path.write_bytes(dumps(plain([0.3])))
    assert main(["fit", str(path)]) == 2


# ------------------------------------------------------------------------------------------------ the command


def test_show_lists_a_folder_and_shows_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`mockprovider show` gives a line for each recording of a folder, and the page of a file, as wide as is asked."""
    (tmp_path / "b.ndjson").write_bytes(dumps(plain(source={"format": "x", "synthetic": ["timing"]})))
    (tmp_path / "a.ndjson").write_bytes(dumps(plain(ending="reset")))
    assert main(["show", str(tmp_path), "--width", "120"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a  POST /v1/chat/completions · 200 · openai-chat · gpt-4o · 5 events · 0.560 s · reset",
        "b  POST /v1/chat/completions · 200 · openai-chat · gpt-4o · 5 events · no times",
    ]
    assert main(["show", str(tmp_path / "a.ndjson"), "--width", "60", "--events", "--raw"]) == 0
    assert capsys.readouterr().out.startswith("POST /v1/chat/completions\n")
    for arguments, message in (
        ([str(tmp_path), "--svg", "x.svg"], "--svg draws one recording"),
        ([str(tmp_path / "c.ndjson")], "No such file"),
        ([str(tmp_path), "--width", "9"], "--width: expected at least 40"),
        ([str(tmp_path / "a.ndjson"), "--svg", str(tmp_path / "no" / "x.svg")], "--svg "),
    ):
        assert main(["show", *arguments]) == 2
        assert message in capsys.readouterr().err

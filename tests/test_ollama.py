"""Ollama's chat and generate: what each request is answered with, in lines and whole, compared with recordings."""

from __future__ import annotations

import csv
import json
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from mockprovider.dialects.ollama import OllamaChat
from mockprovider.errors import MockProviderError
from mockprovider.faults.grammar import to_segment
from mockprovider.provider import MockProvider
from mockprovider.reply import Reasoning, Refusal, ToolCall
from tests.asking import Answer
from tests.asking import request as ask_for
from tests.test_fidelity import shape

pytestmark = pytest.mark.mockprovider(seed=1)

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "streams"
WITHOUT = not (RECORDINGS / "manifest.tsv").is_file()
needs_recordings = pytest.mark.skipif(WITHOUT, reason="the folder of recordings, ../shared/streams, is not here")

CHAT, GENERATE = "/api/chat", "/api/generate"
TEXT = "Grüße, 世界 👩🏽‍🔬!\nA second line."
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def post(provider: MockProvider, path: str, **fields: Any) -> Answer:
    """The answer to a request that is accepted, with these fields besides; those that are ... are left out."""
    asked = {"messages": [{"role": "user", "content": "Say it."}]} if path == CHAT else {"prompt": "Say it."}
    document = {"model": "llama3.2", **asked, **fields}
    body = json.dumps({key: value for key, value in document.items() if value is not ...})
    return ask_for("POST", provider.ollama_url + path, body, {"content-type": "application/json"})


def lines(answer: Answer) -> list[dict[str, Any]]:
    """The documents of a stream, each on a line of its own with an LF at its end, or the one that is whole."""
    assert answer.status == 200, answer.body
    if answer.headers["content-type"] != "application/x-ndjson":
        return [json.loads(answer.body)]
    *found, rest = answer.body.split(b"\n")
    assert rest == b""
    for line in found:
        assert line.decode() == json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":"))
    return [json.loads(line) for line in found]


def said(found: list[dict[str, Any]], key: str = "content") -> str:
    """The text, or the thinking, of all documents."""
    own = {"content": "response"}.get(key, key)
    return "".join(one["message"].get(key, "") if "message" in one else one.get(own, "") for one in found)


# ------------------------------------------------------------------------------------------------ replies


@pytest.mark.parametrize("stream", [..., True, False])
@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_a_reply_is_streamed_unless_it_is_not_to_be(mock_provider: MockProvider, path: str, stream: Any) -> None:
    """Thinking and text arrive as scripted, in lines without `stream`, in one document with false; the last is done."""
    mock_provider.on().reply(Reasoning("Hm, so."), TEXT)
    answer = post(mock_provider, path, stream=stream)
    found = lines(answer)
    assert (len(found) == 1) == (stream is False)
    kind = "application/json; charset=utf-8" if stream is False else "application/x-ndjson"
    assert answer.headers["content-type"] == kind
    assert (said(found), said(found, "thinking")) == (TEXT, "Hm, so.")
    assert [one["done"] for one in found] == [False] * (len(found) - 1) + [True]
    last = found[-1]
    assert (last["done_reason"], last["prompt_eval_count"]) == ("stop", 3)
    assert all(last[name] > 0 for name in DURATIONS)
    assert last["total_duration"] == sum(last[name] for name in DURATIONS[1:])
    assert ("context" in last) == (path == GENERATE)


def test_tool_calls_have_a_line_each(mock_provider: MockProvider) -> None:
    """A call is one line with its whole arguments; an id is told where one was scripted."""
    mock_provider.on().reply("One moment.", ToolCall("look", {"up": "é"}), ToolCall("go", {}, id="mine"))
    calls = [{"function": {"name": "look", "arguments": {"up": "é"}}},
             {"id": "mine", "function": {"name": "go", "arguments": {}}}]  # fmt: skip
    found = lines(post(mock_provider, CHAT))
    assert [one["message"]["tool_calls"] for one in found if "tool_calls" in one["message"]] == [
        [call] for call in calls
    ]
    assert found[-1]["done_reason"] == "stop"
    (whole,) = lines(post(mock_provider, CHAT, stream=False))
    assert (whole["message"]["content"], whole["message"]["tool_calls"]) == ("One moment.", calls)


def test_times_are_those_of_the_stream(mock_provider: MockProvider) -> None:
    """Stamps have parts of a second and grow; the durations are the pace's, to the millisecond."""
    mock_provider.on().reply("One two three four", pace="ttft=0.05,itl=0.01")
    found = lines(post(mock_provider, CHAT))
    stamps = [one["created_at"] for one in found]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", stamp) for stamp in stamps)
    times = [datetime.fromisoformat(stamp) for stamp in stamps]
    assert [round((b - a).total_seconds(), 3) for a, b in pairwise(times)] == [0.01] * 4
    last = found[-1]
    assert last["total_duration"] == 90_000_000
    assert last["load_duration"] + last["prompt_eval_duration"] == 50_000_000
    assert last["eval_duration"] == 40_000_000


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_options_end_a_reply(mock_provider: MockProvider, path: str, stream: bool) -> None:
    """num_predict and stop cut the text, each with its reason; a negative number is no limit."""
    mock_provider.on().reply("One two three four five.")
    for options, text, reason in (
        ({"num_predict": 2}, "One two", "length"),
        ({"num_predict": -1, "stop": [" four", ""]}, "One two three", "stop"),
        ({"num_predict": -2, "seed": 3, "temperature": 0}, "One two three four five.", "stop"),
    ):
        found = lines(post(mock_provider, path, stream=stream, options=options))
        assert (said(found), found[-1]["done_reason"]) == (text, reason)


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_structured_answers(mock_provider: MockProvider, path: str) -> None:
    """A generated answer satisfies the schema in `format`, or is an object where that is `json`."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert isinstance(json.loads(said(lines(post(mock_provider, path, format=schema))))["n"], int)
    assert isinstance(json.loads(said(lines(post(mock_provider, path, format="json")))), dict)


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_thinking_is_left_out_where_it_is_not_wanted(mock_provider: MockProvider, path: str) -> None:
    """`think: false` hides it, streamed and whole; a level shows it."""
    mock_provider.on().reply(Reasoning("Hm."), "Yes.")
    for stream in (True, False):
        assert said(lines(post(mock_provider, path, stream=stream, think=False)), "thinking") == ""
        assert said(lines(post(mock_provider, path, stream=stream, think="high")), "thinking") == "Hm."


def test_a_model_is_loaded_and_unloaded(mock_provider: MockProvider) -> None:
    """A request that asks nothing is answered at once with one document: the model is there, or gone."""
    for path, nothing in ((CHAT, {"messages": []}), (GENERATE, {"prompt": ""})):
        for keep, reason in (("5m", "load"), (0, "unload"), ("0s", "unload"), (-1, "load")):
            answer = post(mock_provider, path, **nothing, keep_alive=keep)
            (document,) = lines(answer)
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert (said([document]), document["done"], document["done_reason"]) == ("", True, reason)
            assert not any(name in document for name in DURATIONS)


def test_raw_prompts_have_no_context(mock_provider: MockProvider) -> None:
    """Without a template there is nothing to go on from, so no context is told; else it grows with the reply."""
    mock_provider.on().reply("One two three")
    assert "context" not in lines(post(mock_provider, GENERATE, raw=True))[-1]
    last = lines(post(mock_provider, GENERATE))[-1]
    assert len(last["context"]) == last["prompt_eval_count"] + last["eval_count"]
    assert all(isinstance(token, int) for token in last["context"])
    refused = post(mock_provider, GENERATE, raw=True, system="Be brief.")
    assert (refused.status, refused.json) == (
        400, {"error": "raw mode does not support template, system, or context"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "part", "why"),
    [
        (CHAT, Refusal("No."), "Ollama has no word for a refusal"),
        (CHAT, ToolCall("look", "{"), "Ollama has the arguments of a tool call as a JSON object"),
        (GENERATE, ToolCall("look", {}), "/api/generate calls no tools"),
    ],
)
def test_what_ollama_cannot_say_is_refused_with_the_reason(
    mock_provider: MockProvider, path: str, part: Any, why: str
) -> None:
    """A reply with a part that Ollama has no word for fails the test, and says so."""
    mock_provider.on().reply(part)
    assert post(mock_provider, path).status == 500
    with pytest.raises(MockProviderError, match=re.escape(why)):
        mock_provider.check()


def test_the_conversation_is_read(mock_provider: MockProvider) -> None:
    """Roles and texts reach the rules, the results of tools among them; a generate request has its system's text."""
    mock_provider.on(tool_result=True).reply("Thanks.")
    mock_provider.on(messages="Be brief.").reply("Brief.")
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": {}}}]},
        {"role": "tool", "content": "3", "tool_name": "look"},
    ]
    assert said(lines(post(mock_provider, CHAT, messages=messages))) == "Thanks."
    post(mock_provider, GENERATE, system="Be brief.")
    ask = mock_provider.exchanges[-1].ask
    assert ask is not None
    assert ask.messages == (("system", "Be brief."), ("user", "Say it."))
    mock_provider.reset()


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        (CHAT, {"model": ...}, "model is required"),
        (GENERATE, {"model": ""}, "model is required"),
        (CHAT, {"model": 5}, "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        (CHAT, {"messages": "Hi"},
         "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
         "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"),
        (CHAT, {"messages": ["Hi"]},
         "json: cannot unmarshal string into Go struct field ChatRequest.messages of type api.Message"),
        (CHAT, {"tools": ["look"]},
         "json: cannot unmarshal string into Go struct field ChatRequest.tools of type api.Tool"),
        (GENERATE, {"prompt": ["Hi"]},
         "json: cannot unmarshal array into Go struct field GenerateRequest.prompt of type string"),
        (GENERATE, {"stream": "no"},
         "json: cannot unmarshal string into Go struct field GenerateRequest.stream of type bool"),
        (GENERATE, {"format": "xml"}, 'invalid format: "xml"; expected "json" or a valid JSON Schema object'),
        (GENERATE, {"options": {"num_predict": "many"}}, 'option "num_predict" must be of type integer'),
        (GENERATE, {"options": {"stop": [1]}}, 'option "stop" must be of an array of strings'),
        (GENERATE, {"keep_alive": "soon"}, 'time: invalid duration "soon"'),
        (CHAT, {"think": "hard"}, 'invalid think value: "hard" (must be "high", "medium", "low", true, or false)'),
    ],
)  # fmt: skip
def test_bad_requests(mock_provider: MockProvider, path: str, fields: dict[str, Any], message: str) -> None:
    """A value of the wrong type is a 400 in the words of Go's decoder, any other in Ollama's; names are not checked."""
    answer = post(mock_provider, path, **fields)
    assert (answer.status, answer.body) == (400, json.dumps({"error": message}, separators=(",", ":")).encode())
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert post(mock_provider, path, whatever=1).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "missing request body"),
        (b"{", "unexpected EOF"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b"\xff", None),
        (b'{"model": NaN}', None),
    ],
)
def test_what_is_no_json_object_is_refused(mock_provider: MockProvider, body: bytes, message: str | None) -> None:
    """A body that is no JSON object is a 400 in Ollama's shape, whatever it is."""
    answer = ask_for("POST", mock_provider.ollama_url + CHAT, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert message is None or answer.json["error"] == message


@pytest.mark.mockprovider(seed=1, models=["qwen3:latest"], api_keys=["good"])
def test_models_and_keys(mock_provider: MockProvider) -> None:
    """Models that there are not are a 404; those that there are are listed and shown; a wrong key is a 401."""
    headers = {"Authorization": "Bearer good"}
    body = json.dumps({"model": "other", "messages": [{"role": "user", "content": "Hi"}]})
    unknown = ask_for("POST", mock_provider.ollama_url + CHAT, body, headers)
    assert (unknown.status, unknown.json) == (404, {"error": "model 'other' not found"})
    refused = ask_for("POST", mock_provider.ollama_url + CHAT, body)
    assert (refused.status, refused.json) == (401, {"error": "unauthorized"})
    (listed,) = ask_for("GET", mock_provider.ollama_url + "/api/tags", headers=headers).json["models"]
    assert listed["name"] == "qwen3:latest"
    shown = ask_for("POST", mock_provider.ollama_url + "/api/show", '{"model": "qwen3:latest"}', headers).json
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert ask_for("POST", mock_provider.ollama_url + "/api/show", '{"model": "x"}', headers).status == 404
    assert re.fullmatch(r"[0-9.]+", ask_for("GET", mock_provider.url + "/api/version", headers=headers).json["version"])
    assert ask_for("GET", mock_provider.url + "/api/ps", headers=headers).json == {"models": []}


def test_unknown_paths_are_the_routers(mock_provider: MockProvider) -> None:
    """Below /api/ there is a 404 in plain text, and a 405 for a method that is not answered."""
    missing = ask_for("POST", mock_provider.url + "/api/none")
    assert (missing.status, missing.body, missing.headers["content-type"]) == (404, b"404 page not found", "text/plain")
    wrong = ask_for("GET", mock_provider.url + CHAT)
    assert (wrong.status, wrong.body, wrong.headers["allow"]) == (405, b"405 method not allowed", "POST")


# ------------------------------------------------------------------------------------------------ faults


def faulty(provider: MockProvider, chain: str, path: str = CHAT) -> Answer:
    """The answer with these faults."""
    body = json.dumps({"model": "m", "prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]})
    return ask_for("POST", f"{provider.url}/with/{to_segment(chain)}{path}", body)


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_faults_of_streams_act_on_lines(mock_provider: MockProvider, path: str) -> None:
    """Line ends, blank lines, a missing last line end, a mark at the start, giant and torn texts are as in events."""
    mock_provider.on().reply("One two three.")
    plain = faulty(mock_provider, "noop", path).body
    count = plain.count(b"\n")
    assert count == 5
    crlf = faulty(mock_provider, "line-ends", path).body
    assert crlf.count(b"}\r\n") == count == crlf.count(b"\n")
    assert faulty(mock_provider, "blank-lines", path).body.count(b"}\n\n") == count
    assert not faulty(mock_provider, "no-final-blank(keep=0)", path).body.endswith(b"\n")
    assert faulty(mock_provider, "bom", path).body.startswith(b'\xef\xbb\xbf{"model"')
    giant = faulty(mock_provider, "giant(bytes=2000)", path).body.split(b"\n")
    assert [len(line) for line in giant[:-1] if len(line) > 500] == [2000]
    assert said([json.loads(giant[0])]).startswith("One and on and on")
    assert b'One\xff"' in faulty(mock_provider, 'stray-bytes(hex="ff")', path).body
    charset = faulty(mock_provider, 'charset(charset="latin-1")', path)
    assert charset.headers["content-type"] == "application/x-ndjson; charset=latin-1"


def test_faults_of_payloads_know_the_words_of_lines(mock_provider: MockProvider) -> None:
    """Lines are chosen by what they say, the last one by its reason; a stream may fail in its midst as Ollama's do."""
    mock_provider.on().reply(Reasoning("Hm."), "One two.")
    dropped = faulty(mock_provider, "drop-payloads(at=reasoning)+drop-payloads(at=finish)").body.splitlines()
    assert [json.loads(line)["message"].get("content") for line in dropped] == ["One", " two", "."]
    failed = faulty(mock_provider, 'error-payload(after=3,message="Out of memory.")').body.splitlines()
    assert json.loads(failed[-1]) == {"error": "Out of memory."}
    assert len(failed) == 4


@pytest.mark.parametrize(
    "chain",
    [
        "comment",
        "keepalive",
        "multiline",
        "ids",
        "done",
        "spacing",
        'insert-block(block="data: x\\n\\n",after=1events)',
    ],
)
def test_faults_of_events_alone_are_refused(mock_provider: MockProvider, chain: str) -> None:
    """What there is in server-sent events alone is a 400 that says so."""
    answer = faulty(mock_provider, chain)
    assert answer.status == 400
    assert "the streams of ollama-chat are ndjson" in answer.json["error"]


# ------------------------------------------------------------------------------------------------ recordings


def recordings() -> dict[str, tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, list[str]]]]:
    """Recorded streams of Ollama: path, request, documents and headers, by name."""
    if WITHOUT:
        return {}
    with (RECORDINGS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t") if row["dialect"] == "ollama-ndjson"]
    found = {}
    for row in rows:
        path = RECORDINGS / row["path"]
        for one in yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]:
            match = re.search(r"11434(/api/(?:chat|generate))$", one["request"]["uri"])
            if match is not None:
                body = [json.loads(line) for line in one["response"]["body"]["string"].splitlines()]
                found[path.stem] = match[1], json.loads(one["request"]["body"]), body, one["response"]["headers"]
    return found


REAL = recordings()

MISSING = {".prompt_eval_count int": "what an old server had read before was not counted"}


def outline(document: dict[str, Any]) -> list[str]:
    """Paths and types; how long the context is belongs to the model."""
    return [re.sub(r"\[\d+\]", "[]", line) for line in shape(document) if not re.search(r"\[[1-9]", line)]


@needs_recordings
@pytest.mark.parametrize("name", REAL)
def test_lines_are_as_recorded(mock_provider: MockProvider, name: str) -> None:
    """For the same reply to the same request there are as many lines, with the recorded paths and types alone."""
    path, asked, real, headers = REAL[name]
    mock_provider.on().reply(said(real))
    answer = ask_for("POST", mock_provider.url + path, json.dumps(asked))
    made = lines(answer)
    assert outline(made[0]) == outline(real[0])
    extra, missing = (set(outline(a)) - set(outline(b)) for a, b in ((made[-1], real[-1]), (real[-1], made[-1])))
    assert missing == set()
    assert extra <= set(MISSING)
    assert (said(made), made[-1]["model"], made[-1]["done_reason"]) == (said(real), real[-1]["model"], "stop")
    own = {key.lower(): value for key, value in answer.headers.items() if key.lower() != "connection"}
    assert set(own) == {key.lower() for key in headers}
    assert own["content-type"] == headers["Content-Type"][0]
    stamps = [re.sub(r"\d", "0", re.sub(r"\.\d+Z", "Z", one[0]["created_at"])) for one in (made, real)]
    assert stamps[0] == stamps[1]


@needs_recordings
def test_errors_are_as_recorded() -> None:
    """The body of the refusal of an unknown model is the one that was recorded."""
    found = [
        one["response"]["body"]["string"]
        for path in RECORDINGS.glob("Arize*/_errors/ollama/**/*.yaml")
        for one in yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]
    ]
    _, body = OllamaChat().error(OllamaChat().unknown_model("nonexistent-model:latest"), "")
    assert found == [body.decode()]

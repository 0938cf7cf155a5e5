"""What other tools have recorded becomes recordings: every form in the field, and nothing is made up silently."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.cli import main
from mockprovider.importers import FORMATS, Imported, collect, names_for, read_file
from mockprovider.recording import Recording, dumps, load, loads
from mockprovider.redaction import Redactor
from mockprovider.show.events import encode_frame, events_of
from mockprovider.show.view import view

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

STREAMS = Path(__file__).resolve().parents[2] / "shared" / "streams"
needs_streams = pytest.mark.skipif(
    not (STREAMS / "manifest.tsv").is_file(), reason="the public recordings are not beside the repository"
)

EVENT = 'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"é"}}]}\n\n'
BODY = EVENT + "data: [DONE]\n\n"
CALL = '{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"stream":true}'
URL = "https://api.openai.com/v1/chat/completions?beta=true"


def imported(folder: Path, name: str, data: str | bytes) -> Imported:
    """What becomes of a file with this name and these bytes."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_file(path, Redactor())


def only(result: Imported) -> Recording:
    """The one recording of a file; it is one that can be written and read."""
    assert not result.refusals
    [(_, recording)] = result.recordings
    assert loads(dumps(recording)) == recording
    return recording


def cassette(**response: Any) -> dict[str, Any]:
    """A cassette of vcrpy's with one interaction."""
    whole = {"status": {"code": 200, "message": "OK"}, "headers": {"Content-Type": ["text/event-stream"]}, **response}
    request = {"method": "POST", "uri": URL, "headers": {"content-type": ["application/json"]}, "body": CALL}
    return {"version": 1, "interactions": [{"request": request, "response": whole}]}


# ------------------------------------------------------------------------------------------------ each format

RUBY = f"""---
http_interactions:
- request:
    method: post
    uri: "<OPENAI_API_BASE>/chat/completions"
    body: {{encoding: UTF-8, string: '{CALL}'}}
    headers: {{Content-Type: [application/json]}}
  response:
    status: {{code: 200, message: OK}}
    headers: {{Content-Type: [text/event-stream], Transfer-Encoding: [chunked]}}
    body:
      encoding: ASCII-8BIT
      string: !binary |-
        {base64.b64encode(BODY.encode()).decode()}
  recorded_at: Mon, 08 Jun 2026 18:48:12 GMT
recorded_with: VCR 6.3.1
"""
GO = f"""---
version: 2
interactions:
- id: 0
  request:
    proto: HTTP/1.1
    body: '{CALL}'
    headers: {{Content-Type: [application/json]}}
    url: {URL}
    method: POST
  response:
    proto: HTTP/2.0
    body: {json.dumps(BODY)}
    headers: {{Content-Type: [text/event-stream]}}
    status: 200 OK
    code: 200
    duration: 1m1.147s
"""
PYTHON_TAGS = f"""interactions:
- request:
    body: '{CALL}'
    headers:
      ? !!python/object/apply:multidict._multidict.istr
      - Content-Type
      : - application/json
    method: POST
    uri: {URL}
  response:
    body: {{string: {json.dumps(BODY)}}}
    headers: {{Content-Type: !!python/tuple [text/event-stream]}}
    status: {{code: 200, message: OK}}
version: 1
"""
HAR: dict[str, Any] = {
    "log": {
        "version": "1.2",
        "entries": [
            {
                "startedDateTime": "2026-01-30T22:54:04.382Z",
                "request": {
                    "method": "POST",
                    "url": URL,
                    "httpVersion": "HTTP/1.1",
                    "headers": [{"name": "content-type", "value": "application/json"}],
                    "postData": {"mimeType": "application/json", "text": CALL},
                },
                "response": {
                    "status": 200,
                    "statusText": "OK",
                    "httpVersion": "h2",
                    "headers": [{"name": "content-type", "value": "text/event-stream"}],
                    "content": {"size": len(BODY), "mimeType": "text/event-stream", "text": BODY},
                },
                "timings": {"send": 0, "wait": 400, "receive": 1500},
            }
        ],
    }
}
DD_APM = {
    "request": {"method": "POST", "url": URL, "headers": {"Content-Type": "application/json"}, "body": CALL},
    "response": {
        "status": {"code": 200, "message": "OK"},
        "headers": {"Content-Type": "text/event-stream"},
        "body": BODY,
    },
}
FRAMES = {"content-type": ["application/vnd.amazon.eventstream"]}
BODY64 = base64.b64encode(BODY.encode()).decode()
HTTPX_OF_OLD = yaml.safe_dump(cassette(status=None, status_code=200, content=BODY)).replace("status: null", "")
FORMS: dict[str, tuple[str, str, str | bytes, set[str]]] = {
    "vcrpy: a text": ("a.yaml", "vcrpy", yaml.safe_dump(cassette(body={"string": BODY})), set()),
    "vcrpy: !!binary": ("a.yaml", "vcrpy", yaml.safe_dump(cassette(body={"string": BODY.encode()})), set()),
    "vcrpy: JSON": ("a.json", "vcrpy", json.dumps(cassette(body={"string": BODY})), set()),
    "vcrpy: base64_string": ("a.yaml", "vcrpy", yaml.safe_dump(cassette(body={"base64_string": BODY64})), set()),
    "vcrpy: httpx of old": ("a.yaml", "vcrpy", HTTPX_OF_OLD, set()),
    "vcrpy: tags of Python": ("a.yaml", "vcrpy", PYTHON_TAGS, set()),
    "Ruby VCR": ("a.yml", "ruby-vcr", RUBY, set()),
    "go-vcr": ("a.yaml", "go-vcr", GO, set()),
    "HAR": ("a.har", "har", json.dumps(HAR), set()),
    "dd-apm: JSON": ("a.json", "dd-apm", json.dumps(DD_APM), set()),
    "dd-apm: YAML": ("a.yaml", "dd-apm", yaml.safe_dump(DD_APM), set()),
    "a saved stream": ("a.sse", "stream", BODY, {"head", "request"}),
    "payloads": ("a.chunks.txt", "chunks", EVENT[6:-1], {"head", "request", "framing"}),
}  # fmt: skip


DOCUMENTS: list[dict[str, Any]] = [
    HAR,
    DD_APM,
    cassette(body={"string": BODY}),
    yaml.safe_load(GO),
    yaml.safe_load(RUBY.replace("!binary", "!!binary")) | {"http_interactions": [{**DD_APM, "recorded_at": "x"}]},
    {"fixtures": [{"match": {"userMessage": "x"}, "response": {"content": "y", "toolCalls": [{"name": "f"}]},
                   "recordedTimings": {"ttftMs": 1, "interChunkDelaysMs": [1]}, "chunkSize": 2}]},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_bytes(form: str, tmp_path: Path) -> None:
    """The same exchange, in every form that it is kept in, is found out as that form and has the same content."""
    name, expected, data, missing = FORMS[form]
    result = imported(tmp_path, name, data)
    recording = only(result)
    assert result.form == expected
    assert recording.content == BODY.encode()
    assert recording.head is not None
    assert recording.head.status == 200
    assert recording.head.header("content-type") == "text/event-stream"
    assert recording.ending == "end"
    assert {"timing", "boundaries"} | missing <= recording.synthetic
    assert recording.source["format"] == expected
    assert recording.source["file"] == name
    assert view(recording).answer.texts == {"0": "é"}
    if not missing:
        assert recording.request.body == CALL.encode()
        assert recording.request.path.endswith("/chat/completions")
        assert recording.request.header("content-type") == "application/json"


def test_what_a_source_knows_of_times_is_kept(tmp_path: Path) -> None:
    """Total durations and dates are taken over, and the timing of single writes stays marked as made up."""
    ruby, go, har = (only(imported(tmp_path, *FORMS[form][::2])) for form in ("Ruby VCR", "go-vcr", "HAR"))
    assert ruby.recorded == "2026-06-08T18:48:12Z"
    assert go.duration == pytest.approx(61.147)
    assert har.recorded == "2026-01-30T22:54:04.382Z"
    assert [read.gap for read in har.reads] == [0.4, 1.5]
    assert har.source["origin"] == "https://api.openai.com"
    assert all("timing" in each.synthetic for each in (ruby, go, har))


def test_a_parsed_body_is_written_again_and_marked(tmp_path: Path) -> None:
    """Where only a parsed document was kept, the content is JSON again, and says that it is made."""
    data = cassette(parsed_body={"id": "x", "n": 1.5}, headers={"content-length": ["99"]})
    recording = only(imported(tmp_path, "a.yaml", yaml.safe_dump(data)))
    assert json.loads(recording.content) == {"id": "x", "n": 1.5}
    assert "content" in recording.synthetic
    assert recording.head is not None
    assert recording.head.header("content-length") == str(len(recording.content))


def test_several_interactions_have_stable_names(tmp_path: Path) -> None:
    """Each interaction is a recording; names tell file, folders and number, and a refused one keeps its number."""
    one = cassette(body={"string": BODY})["interactions"][0]
    broken = {"request": one["request"], "response": {"status": {"code": "x"}}}
    result = imported(tmp_path, "a b.yaml", yaml.safe_dump({"version": 1, "interactions": [one, broken, one]}))
    names = [name for name, _ in names_for(Path("folder/a b.yaml"), result)]
    assert names == ["folder--a-b-1", "folder--a-b-3"]
    assert [recording.source["interaction"] for _, recording in result.recordings] == [1, 3]
    [refusal] = result.refusals
    assert str(refusal).startswith("a b.yaml, interaction 2: the status is 'x', not a number; ")


def test_base64_in_an_archive_is_bytes(tmp_path: Path) -> None:
    """Content that an archive keeps as base64, as it does with Bedrock's frames, comes back as bytes, and is read."""
    inner = base64.b64encode(
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}'
    ).decode()
    frame = encode_frame({":event-type": "chunk"}, json.dumps({"bytes": inner, "p": "abc"}).encode())
    archive = json.loads(json.dumps(HAR))
    answer = archive["log"]["entries"][0]["response"]
    answer["headers"] = [{"name": "content-type", "value": "application/vnd.amazon.eventstream"}]
    answer["content"] = {"size": len(frame), "text": base64.b64encode(frame).decode(), "encoding": "base64"}
    recording = only(imported(tmp_path, "a.har", json.dumps(archive)))
    assert recording.content == frame
    assert view(recording).answer.texts == {"0": "Hi"}


def test_compressed_content_is_kept_unless_it_holds_a_secret(tmp_path: Path) -> None:
    """gzip stays as it is where it is clean; where a key is in it, it is kept decoded and masked, and says so."""
    headers = {"Content-Type": ["text/event-stream"], "Content-Encoding": ["gzip"]}
    packed = gzip.compress(BODY.encode())
    clean = only(imported(tmp_path, "a.yaml", yaml.safe_dump(cassette(body={"string": packed}, headers=headers))))
    assert clean.content == packed
    assert view(clean).content == BODY.encode()
    secret = BODY.replace("é", "sk-" + "Q7" * 20)
    packed = gzip.compress(secret.encode())
    masked = only(imported(tmp_path, "b.yaml", yaml.safe_dump(cassette(body={"string": packed}, headers=headers))))
    assert masked.decoded == "gzip"
    assert len(masked.content) == len(secret)
    assert b"Q7Q7" not in dumps(masked)
    already = only(imported(tmp_path, "c.yaml", yaml.safe_dump(cassette(body={"string": BODY}, headers=headers))))
    assert already.head is not None
    assert already.head.header("content-encoding") is None
    assert "decoded already" in already.source["notes"][0]


def test_secrets_do_not_come_along(tmp_path: Path) -> None:
    """Keys in headers, URLs, requests and replies of a source are in none of its recordings."""
    key = "sk-proj-" + "aB3" * 12
    data = cassette(body={"string": BODY.replace("é", key)}, headers={"openai-organization": ["org-verysecret1"]})
    asked = data["interactions"][0]["request"]
    asked["headers"] = {"Authorization": [f"Bearer {key}"], "Cookie": ["session=veryverysecret"]}
    asked["uri"] += "&key=AIza" + "x9" * 18
    asked["body"] = CALL.replace("Hi", key)
    written = dumps(only(imported(tmp_path, "a.yaml", yaml.safe_dump(data))))
    for secret in (key, "aB3aB3", "veryverysecret", "x9x9x9", "verysecret1"):
        assert secret.encode() not in written


def test_a_key_of_any_form_is_known_from_its_request(tmp_path: Path) -> None:
    """What a client sent as its key is masked in the reply too, though it begins like no key that is known."""
    data = cassette(body={"string": BODY.replace("é", "your key is zebra-crossing-42!")})
    data["interactions"][0]["request"]["headers"] = {"authorization": ["Bearer zebra-crossing-42"]}
    assert b"crossing" not in dumps(only(imported(tmp_path, "a.yaml", yaml.safe_dump(data))))


def test_a_secret_in_a_binary_frame_is_masked_and_the_frame_still_one(tmp_path: Path) -> None:
    """Bedrock's frames carry base64 under checksums: both fit the masked payload, and clean frames stay as they are."""
    texts = ["clean", "sk-" + "aB3" * 12]
    payloads = [json.dumps({"bytes": base64.b64encode(f'{{"text":"{t}"}}'.encode()).decode()}).encode() for t in texts]
    frames = [encode_frame({":event-type": "chunk"}, payload) for payload in payloads]
    recording = only(
        imported(tmp_path, "a.yaml", yaml.safe_dump(cassette(body={"string": b"".join(frames)}, headers=FRAMES)))
    )
    assert recording.content.startswith(frames[0])
    assert len(recording.content) == len(b"".join(frames))
    events = view(recording).events
    assert [event.kind for event in events] == ["event", "event"]
    assert b"aB3" not in (events[1].data or b"aB3")


def test_headers_are_what_http_can_carry(tmp_path: Path) -> None:
    """Dates stay text, characters beyond Latin-1 become the bytes of UTF-8, and no line end gets into a head."""
    headers = {
        "Content-Type": "text/event-stream",
        "x-day": "DAY",
        "x-name": "é中",
        "x-two": "a\r\nset-cookie: b",
        ":status": "200",
    }
    text = yaml.safe_dump(cassette(body={"string": BODY}, headers=headers)).replace("DAY", "2026-01-02 03:04:05 +01:00")
    head = only(imported(tmp_path, "a.yaml", text)).head
    assert head is not None
    assert head.header("x-day") == "2026-01-02 03:04:05 +01:00"
    assert (head.header("x-name") or "").encode("latin-1").decode() == "é中"
    assert head.header("x-two") == "a set-cookie: b"
    assert head.header(":status") is None


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, -1, 1.5, True, "", "x", "http://[", "é\n", "200 OK", [], [1], [[]], {}, {"a": 1}, "\ud800"]
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_of_a_source_is_more_than_a_refusal(data: st.DataObject) -> None:
    """Whatever stands anywhere in a source of any format, it is imported or refused, and what came can be written."""
    document = json.loads(json.dumps(data.draw(st.sampled_from([*DOCUMENTS]))))
    for _ in range(data.draw(st.integers(1, 2))):
        place, key = document, data.draw(st.sampled_from(sorted(document)))
        while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place[key] = json.loads(json.dumps(data.draw(JUNK)))  # a new one each time: the next may go into it
    with tempfile.TemporaryDirectory() as folder:
        result = imported(Path(folder), "a.json", json.dumps(document))
    assert result.recordings or result.refusals
    for _, recording in result.recordings:
        assert loads(dumps(recording)).content == recording.content
        assert view(recording).recording is recording


def test_a_length_that_is_not_the_content_is_mended(tmp_path: Path) -> None:
    """Heads of a source that contradict its content do not become recordings that no client could read."""
    headers = {"Content-Type": ["text/event-stream"], "Content-Length": ["7"], "Transfer-Encoding": ["chunked"]}
    recording = only(imported(tmp_path, "a.yaml", yaml.safe_dump(cassette(body={"string": BODY}, headers=headers))))
    assert recording.content == BODY.encode()
    assert recording.head is not None
    assert recording.head.header("content-length") is None


# ------------------------------------------------------------------------------------------------ refusals

ENTRY = HAR["log"]["entries"][0]


def archive_of(**response: Any) -> str:
    """A HAR file whose only response is changed so."""
    entry = {**ENTRY, "response": {**ENTRY["response"], **response}}
    return json.dumps({"log": {"entries": [entry]}})


NO_BASE64 = {"text": "%", "encoding": "base64"}
REFUSED = {
    "an object of Python": ("a.yaml", "interactions:\n- !!python/object/apply:os.abort []", r"line 2: .*os\.abort"),
    "an object of Ruby": ("a.yaml", "http_interactions:\n- !ruby/object:Gem::Version {}", r"line 2: .*ruby/object"),
    "no YAML": ("a.yaml", "interactions: [\n", r"line 2: "),
    "no JSON": ("a.har", "{", "no JSON"),
    "another document": ("a.yaml", "services: {}\n", r"no format that is known here \(its keys: services\)"),
    "another list": ("a.json", "[1]", "no format that is known here"),
    "a version of tomorrow": ("a.yaml", "version: 9\ninteractions: []\n", "version 9 of vcrpy's format is not known"),
    "no interactions": ("a.yaml", "version: 1\ninteractions: []\n", "no interactions in it"),
    "an empty file": ("a.sse", "", "no server-sent events"),
    "a recording of ours": ("a.json", '{"mockprovider": 1}', "a recording already"),
    "a tap": ("a.tap.jsonl", "{}", r"the tap of a capture; import the \.raw file"),
    "a capture without its tap": ("a.raw", "HTTP/1.1 200 OK\r\n\r\n", r"a\.tap\.jsonl cannot be read"),
    "payloads of nobody": ("a.chunks.txt", '{"x":1}\n', "no dialect that is known here"),
    "a payload that is none": ("a.chunks.txt", "{\n", "line 1 is no JSON"),
    "no body": ("a.har", archive_of(content={"size": 9}), "interaction 1: the content of 9 bytes was not saved"),
    "no answer": ("a.har", archive_of(status=0), r"interaction 1: there is no response in it \(status 0\)"),
    "bad base64": ("a.har", archive_of(content=NO_BASE64), "interaction 1: the content is no base64"),
    "no URL": ("a.json", json.dumps({**DD_APM, "request": {}}), "interaction 1: the request's URL is missing"),
    "an unknown body": (
        "a.yaml", yaml.safe_dump(cassette(body={"what": 1})), "interaction 1: the response's body has none of string",
    ),
    "frames kept as text": (
        "a.yaml",
        yaml.safe_dump(cassette(body={"string": "\0\0\0"}, headers=FRAMES)),
        "interaction 1: the binary frames of its event stream were damaged",
    ),
    "a coding that cannot be read": (
        "a.yaml",
        yaml.safe_dump(cassette(body={"string": b"\x1b\x00"}, headers={"content-encoding": ["br"]})),
        "interaction 1: content-encoding br cannot be read here",
    ),
    "an image of aimock's": (
        "a.json", '{"fixtures": [{"match": {}, "response": {"image": {}}}]}', "interaction 1: a response of image is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_a_recording_is_refused_with_a_reason(what: str, tmp_path: Path) -> None:
    """A refusal names the file, the interaction where there is one, the reason, and what to do; nothing is raised."""
    name, data, reason = REFUSED[what]
    result = imported(tmp_path, name, data)
    assert not result.recordings
    [refusal] = result.refusals
    assert re.search(rf"{re.escape(name)}[:,] .*{reason}", str(refusal)), refusal
    assert re.fullmatch(r".+; .+", str(refusal))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is a refusal like any other."""
    [refusal] = read_file(tmp_path / "a.har", Redactor()).refusals
    assert "No such file" in str(refusal)


def test_yaml_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML a cassette is refused with the command that installs it, and JSON is imported as ever."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    [refusal] = imported(tmp_path, "a.yaml", PYTHON_TAGS).refusals
    assert "PyYAML is needed for YAML and is not installed; pip install 'mockprovider[import]'" in str(refusal)
    assert only(imported(tmp_path, "a.json", json.dumps(DD_APM))).content == BODY.encode()


# ------------------------------------------------------------------------------------------------ fixtures of aimock


def test_fixtures_of_aimock_become_streams(tmp_path: Path) -> None:
    """Text, reasoning, calls and errors come as OpenAI would send them, in the recorded times, marked as made up."""
    timings = {"ttftMs": 200, "interChunkDelaysMs": [10, 20], "totalDurationMs": 230}
    fixtures = [
        {"match": {"userMessage": "hello", "model": "gpt-4o"}, "recordedTimings": timings, "chunkSize": 3,
         "response": {"content": "Hello!", "reasoning": "Hm"}},
        {"match": {"toolName": "f"}, "response": {"blocks": [
            {"type": "toolCall", "name": "f", "arguments": {"a": 1}}, {"type": "text", "text": "done"}]}},
        {"match": {}, "response": {"error": {"message": "slow down"}, "status": 429, "retryAfter": 3}, "latency": 5},
    ]  # fmt: skip
    result = imported(tmp_path, "a.json", json.dumps({"fixtures": fixtures}))
    assert not result.refusals
    text, call, error = (recording for _, recording in result.recordings)
    assert text.request.json["messages"] == [{"role": "user", "content": "hello"}]
    assert view(text).answer.texts == {"0": "Hello!"}
    assert view(text).answer.reasoning == {"0": "Hm"}
    # The head and the first event, then the recorded delays, then their mean.
    assert [read.gap for read in text.reads] == [0.2, 0.0, 0.01, 0.02, 0.015, 0.015]
    assert "timing" not in text.synthetic
    assert "content" in text.synthetic
    assert view(call).answer.tools == {"0.0": ("f", '{"a":1}')}
    assert view(call).answer.finish == ["tool_calls"]
    assert error.head is not None
    assert (error.head.status, error.head.header("retry-after")) == (429, "3")
    assert "latency" in error.source["notes"][1]


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_imports_a_folder_and_never_writes_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mockprovider import` takes what it knows, counts, is idempotent, keeps what differs; refusals make it exit 1."""
    source, into = tmp_path / "source", tmp_path / "into"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.yaml").write_text(PYTHON_TAGS, "utf-8")
    (source / "deep" / "a.json").write_text(json.dumps(DD_APM), "utf-8")
    (source / "notes.txt").write_text("nothing", "utf-8")
    assert main(["import", str(source), "--into", str(into)]) == 0
    assert capsys.readouterr().out == "2 imported, 0 there already, 0 refused\n"
    assert sorted(path.name for path in into.iterdir()) == ["deep--a-yaml.ndjson", "deep--a.ndjson"]
    assert load(into / "deep--a.ndjson").source["file"] == "deep/a.json"
    assert main(["import", str(source), "--into", str(into)]) == 0
    assert capsys.readouterr().out == "0 imported, 2 there already, 0 refused\n"
    (into / "deep--a.ndjson").write_bytes(b"something else")
    (source / "b.har").write_text("{", "utf-8")
    assert main(["import", str(source), "--into", str(into)]) == 1
    said = capsys.readouterr()
    assert said.out == "0 imported, 1 there already, 2 refused\n"
    assert "refused: b.har: no JSON" in said.err
    assert "is there and differs; --force writes over it" in said.err
    assert main(["import", str(source / "deep"), str(source / "deep" / "a.json"), "--into", str(into), "--force"]) == 0
    assert main(["import", str(source), "--into", str(into), "--format", "vcr"]) == 2
    assert "unknown format 'vcr'; did you mean 'vcrpy'?" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "into" / "no"), "--into", str(into)]) == 1


def test_the_command_takes_the_recorders_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`import --redact` masks what a user names, and `lint --redact` finds it where it was left."""
    (tmp_path / "a.sse").write_text(BODY.replace("é", "blue-moon"), "utf-8")
    rules = ["--redact", "blue-moon"]
    assert main(["import", str(tmp_path / "a.sse"), "--into", str(tmp_path / "open")]) == 0
    assert main(["import", str(tmp_path / "a.sse"), "--into", str(tmp_path / "masked"), *rules]) == 0
    assert b"blue-moon" in (tmp_path / "open" / "a.ndjson").read_bytes()
    assert b"blue-moon" not in (tmp_path / "masked" / "a.ndjson").read_bytes()
    assert main(["lint", str(tmp_path / "masked"), *rules]) == 0
    assert main(["lint", str(tmp_path / "open"), *rules]) == 1
    assert "secret: the content holds a secret, from its byte " in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ real files


@cache
def everything() -> dict[str, Imported]:
    """All of the public recordings, imported once."""
    redactor = Redactor()
    return {str(called): read_file(path, redactor, name=str(called)) for path, called in collect([STREAMS])}


@cache
def manifest() -> list[dict[str, str]]:
    """The rows of the list of them."""
    with (STREAMS / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def row_of(row: dict[str, str]) -> Recording | None:
    """The recording that a row is about."""
    return dict(everything()[row["path"]].recordings).get(int(row["interaction_index"]) + 1)


def member(node: Any, *keys: str | int) -> Any:
    """The YAML node at this path, or None."""
    for key in keys:
        if isinstance(key, int):
            node = node.value[key]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == key), None)
        else:
            return None
    return node


def independently(row: dict[str, str]) -> bytes | None:
    """The content as the source file has it, read without the importers; None where only a document was kept."""
    path, number = STREAMS / row["path"], int(row["interaction_index"])
    if path.suffix == ".sse":
        return path.read_bytes()
    if path.suffix == ".har":
        text: str = json.loads(path.read_bytes())["log"]["entries"][number]["response"]["content"]["text"]
        return text.encode()
    if path.suffix == ".json":
        body: str = json.loads(path.read_bytes())["response"]["body"]
        return body.encode()
    root = yaml.compose(path.read_bytes(), Loader=yaml.CSafeLoader)
    several = member(root, "interactions") or member(root, "http_interactions")
    found = member(
        several if several is not None else root, *([number] if several is not None else []), "response", "body"
    )
    node = member(found, "string") if isinstance(found, yaml.MappingNode) else found
    if node is None:
        return None
    tagged = node.tag in ("!binary", "tag:yaml.org,2002:binary")
    return base64.b64decode(node.value) if tagged else node.value.encode()


@needs_streams
def test_every_public_recording_is_imported_or_refused_with_a_reason() -> None:
    """All 342 files and 15 captures: 341 and 15 are imported, one is refused, and each by the reader of its format."""
    assert len(manifest()) == 342
    assert {row["path"] for row in manifest()} <= set(everything())
    refusals = [refusal for result in everything().values() for refusal in result.refusals]
    assert [refusal.file.rpartition("/")[2] for refusal in refusals] == [
        "openai-realtime-speech-translation.chunks.txt"  # of a WebSocket, with no framing that could be made again
    ]
    counts = Counter(result.form for result in everything().values())
    assert counts == {
        "vcrpy": 156, "chunks": 61, "go-vcr": 52, "ruby-vcr": 45, "capture": 15, "stream": 13, "har": 9, "dd-apm": 6,
    }  # fmt: skip
    assert set(counts) | {"aimock"} == set(FORMATS)


@needs_streams
def test_bodies_come_back_byte_for_byte() -> None:
    """What each file holds as a body is the recording's content; two hold what looks like keys, and have it masked."""
    same: Counter[str] = Counter()
    for row in manifest():
        if row["framing"] == "chunks-jsonl":
            continue
        recording, expected = row_of(row), independently(row)
        assert recording is not None, row["path"]
        if expected is None:
            same["parsed"] += 1
            continue
        content = recording.content
        if content != expected:
            pairs = zip(content, expected, strict=True)
            assert all(is_ == was or is_ == ord("X") for is_, was in pairs), row["path"]
            same["masked"] += 1
        else:
            same["equal"] += 1
    assert same == {"equal": 268, "masked": 2, "parsed": 11}


@needs_streams
def test_payloads_alone_come_back_payload_by_payload() -> None:
    """Of files with a payload a line, each payload is in the stream once, in order, and only terminators besides."""
    number = 0
    for row in manifest():
        recording = row_of(row) if row["framing"] == "chunks-jsonl" else None
        if recording is None:
            continue
        lines = [line for line in (STREAMS / row["path"]).read_bytes().split(b"\n") if line.strip()]
        seen = view(recording)
        events = [event for event in seen.events if event.data != b"[DONE]"]
        if seen.framing == "eventstream":  # the frame's name is outside of its payload
            found = [json.dumps({event.name: event.document}) for event in events]
            assert [json.loads(one) for one in found] == [json.loads(line) for line in lines]
        else:
            assert [event.data for event in events] == [line.strip() for line in lines]
        assert "framing" in recording.synthetic
        number += 1
    assert number == 60


@needs_streams
def test_captures_are_imported_with_their_reads_and_times() -> None:
    """The bytes of the 15 captures of real servers are those of the connection, read for read, at their times."""
    raws = sorted((STREAMS / "live").glob("*.raw"))
    assert len(raws) == 15
    for raw in raws:
        [(_, recording)] = everything()[f"live/{raw.name}"].recordings
        tap = [json.loads(line) for line in raw.with_suffix(".tap.jsonl").read_text("utf-8").splitlines() if line]
        assert recording.wire == raw.read_bytes()
        assert [len(read.wire) for read in recording.reads] == [line["len"] for line in tap]
        clock = 0.0
        for read, line in zip(recording.reads, tap, strict=True):
            clock += read.gap
            assert clock == pytest.approx(line["t"], abs=1e-4)
        assert recording.ending == "end"
        assert recording.synthetic == {"request"}
        assert loads(dumps(recording)) == recording


@needs_streams
def test_dialects_are_recognised_as_the_list_has_them() -> None:
    """Every real stream is of the dialect that its list says, save where the list itself knows none."""
    aliases: dict[str, set[str | None]] = {
        "gemini-json-array": {"gemini"}, "gemini-sse": {"gemini"}, "gemini-ndjson": {"gemini", "gemini-interactions"},
        "ollama-ndjson": {"ollama"}, "bedrock-converse-stream": {"bedrock-converse"}, "error-json": {"error", None},
        "bedrock-invoke-stream": {"anthropic-messages", "bedrock-converse", "cohere-v1", None},
    }  # fmt: skip
    odd = []
    for row in manifest():
        recording = row_of(row)
        if recording is None or row["dialect"].endswith("-other"):
            continue
        found = view(recording).dialect
        if found not in aliases.get(row["dialect"], {row["dialect"]}):
            odd.append((row["dialect"], found))
    assert sorted(odd, key=str) == [
        ("gemini-interactions", "openai-chat"),  # its path is another than its payloads
        ("gemini-sse", None),  # no empty lines end its events
        ("openai-completions", "openai-chat"),  # a chat's payloads on the older path
        ("openai-completions", None),  # Writer's own form
    ]


@needs_streams
def test_every_byte_of_every_stream_is_in_one_event() -> None:
    """However a stream is framed, its events together are its content, and every one of them has its place."""
    for result in everything().values():
        for _, recording in result.recordings:
            seen = view(recording)
            if seen.problem is None:
                assert b"".join(event.raw for event in seen.events) == seen.content
                again = events_of([(0.0, seen.content[:40]), (1.0, seen.content[40:])], seen.framing)
                assert [event.raw for event in again] == [event.raw for event in seen.events]


def test_the_table_of_formats_is_the_packages() -> None:
    """The page of the package names every format that there is."""
    import mockprovider.importers

    named = re.findall(r"^([a-z-]+)  +\S", mockprovider.importers.__doc__ or "", re.MULTILINE)
    assert named[1:] == list(FORMATS)


PAYLOADS = {
    "gemini": ('{"candidates":[{"content":{}}]}', b'data: {"candidates":[{"content":{}}]}\r\n\r\n'),
    "anthropic": ('{"type":"message_stop"}', b'data: {"type":"message_stop"}\n\n'),
    "anthropic named": (
        '{"type":"message_start","message":{}}',
        b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n',
    ),
    "chat": ('{"object":"chat.completion.chunk"}', b'data: {"object":"chat.completion.chunk"}\n\ndata: [DONE]\n\n'),
    "ollama": ('{"created_at":"x","done":true}', b'{"created_at":"x","done":true}\n'),
    "bedrock": (
        '{"messageStop":{"stopReason":"x"}}',
        encode_frame(
            {":event-type": "messageStop", ":content-type": "application/json", ":message-type": "event"},
            b'{"stopReason":"x"}',
        ),
    ),
}


@pytest.mark.parametrize("dialect", PAYLOADS)
def test_payloads_alone_are_framed_as_their_dialect_is(dialect: str, tmp_path: Path) -> None:
    """Names, line ends, terminators and binary frames are put as servers of the dialect write them."""
    payload, expected = PAYLOADS[dialect]
    result = imported(tmp_path, "a.chunks.txt", payload + "\n")
    if dialect == "anthropic":
        assert "no dialect" in str(result.refusals[0])  # one such payload may be anybody's
    else:
        assert only(result).content == expected

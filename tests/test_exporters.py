"""Recordings go out to other tools as raw bodies, HTTP archives and cassettes, and come back with the same content."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider import exporters
from mockprovider.cli import main
from mockprovider.errors import SettingError
from mockprovider.importers import read_file
from mockprovider.recording import RecordedHead, RecordedRequest, Recording, dumps, made
from mockprovider.redaction import Redactor

vcr = pytest.importorskip("vcr", reason="vcrpy is not installed")

BODY = b'data: {"choices":[{"index":0,"delta":{"content":"\xc3\xa9"}}]}\r\n\r\ndata: [DONE]\r\n\r\n'
REQUEST = RecordedRequest(
    "POST", "/v1/chat/completions?a=1&b=", (("content-type", "application/json"),), b'{"model":"m","stream":true}'
)
HEADERS = (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"), ("X-Twice", "1"), ("X-Twice", "2"))


def recorded(content: bytes = BODY, headers: tuple[tuple[str, str], ...] = HEADERS, **more: Any) -> Recording:
    """A recording with times: the head after 0.25 s, the content a second later."""
    head = RecordedHead("1.1", 200, "OK", headers)
    return made(
        REQUEST, head, content, source={}, pieces=[content], gaps=[0.25, 1.0][: 1 + bool(content)],
        recorded="2026-11-22T21:00:00Z", **more,
    )  # fmt: skip


# HAR 1.2, http://www.softwareishard.com/blog/har-12-spec/: the fields that it does not call optional, and their types.
TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def table(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """A schema of an object with these members; others are allowed where their name begins with an underscore."""
    properties = {**required, **(optional or {}), "comment": TEXT}
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


PAIRS = {"type": "array", "items": table({"name": TEXT, "value": TEXT})}
MESSAGE = {"httpVersion": TEXT, "cookies": {"type": "array"}, "headers": PAIRS, "headersSize": WHOLE, "bodySize": WHOLE}
POST = table({"mimeType": TEXT, "params": PAIRS, "text": TEXT}, {"encoding": TEXT})
CONTENT = table({"size": WHOLE, "mimeType": TEXT}, {"compression": WHOLE, "text": TEXT, "encoding": TEXT})
SPANS = dict.fromkeys(("blocked", "dns", "connect", "ssl"), NUMBER)
LONG = {"type": "number", "minimum": 0}
ENTRY = table(
    {
        "startedDateTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
        "time": LONG,
        "request": table(
            {**MESSAGE, "method": TEXT, "url": {"type": "string", "pattern": "^https?://"}, "queryString": PAIRS},
            {"postData": POST},
        ),
        "response": table({**MESSAGE, "status": WHOLE, "statusText": TEXT, "content": CONTENT, "redirectURL": TEXT}),
        "cache": {"type": "object"},
        "timings": table({"send": LONG, "wait": LONG, "receive": LONG}, SPANS),
    }
)
ARCHIVE = table(
    {
        "log": table(
            {
                "version": {"const": "1.2"},
                "creator": table({"name": TEXT, "version": TEXT}),
                "entries": {"type": "array", "items": ENTRY},
            }
        )
    }
)


def archive(*recordings: Recording, **more: Any) -> dict[str, Any]:
    """The archive of these, which is one by the schema."""
    document: dict[str, Any] = json.loads(exporters.har(recordings, **more))
    jsonschema.validate(document, ARCHIVE)
    return document


def test_an_archive_is_har_with_honest_times() -> None:
    """A HAR file keeps to HAR 1.2, and its times are those of the recording, in milliseconds."""
    [entry] = archive(recorded())["log"]["entries"]
    assert entry["startedDateTime"] == "2026-11-22T21:00:00Z"
    assert (entry["timings"]["wait"], entry["timings"]["receive"], entry["time"]) == (250.0, 1000.0, 1250.0)
    assert entry["request"]["queryString"] == [{"name": "a", "value": "1"}, {"name": "b", "value": ""}]
    assert entry["request"]["postData"]["text"] == '{"model":"m","stream":true}'
    assert entry["response"]["content"]["text"].encode() == BODY
    assert [pair["value"] for pair in entry["response"]["headers"] if pair["name"] == "X-Twice"] == ["1", "2"]
    assert "comment" not in entry


def test_an_archive_says_what_was_not_recorded() -> None:
    """Where timing, date or end were not recorded, the entry says so and tells no time that nobody measured."""
    head = RecordedHead("1.1", 200, "OK", HEADERS)
    recording = made(REQUEST, head, BODY, source={"duration": 1.5, "origin": "https://api.example.com"})
    [entry] = archive(recording)["log"]["entries"]
    assert entry["comment"] == (
        "its timing was not recorded, but for how long it took; when it was recorded is not known"
    )
    assert (entry["timings"]["wait"], entry["timings"]["receive"]) == (1500, 0)
    assert entry["request"]["url"] == "https://api.example.com/v1/chat/completions?a=1&b="
    cut = Recording.of(REQUEST, [(0.5, head.encode())], recorded="2026-11-22T21:00:00Z", ending="reset")
    assert archive(cut)["log"]["entries"][0]["comment"] == "the exchange ended with reset"


def test_an_archive_decodes_what_was_compressed() -> None:
    """In a HAR file the content is decoded, as the format has it, and the saving is told; other bytes are base64."""
    packed = gzip.compress(BODY * 50)
    [entry] = archive(recorded(packed, (("Content-Encoding", "gzip"),)))["log"]["entries"]
    assert entry["response"]["content"]["text"].encode() == BODY * 50
    assert entry["response"]["content"]["compression"] == len(BODY * 50) - len(packed)
    [entry] = archive(recorded(b"\xff\x00", (("Content-Type", "image/png"),)))["log"]["entries"]
    assert entry["response"]["content"]["encoding"] == "base64"


def back(data: bytes, name: str) -> Recording:
    """What importing an exported file gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        result = read_file(path, Redactor())
    assert not result.refusals
    [(_, recording)] = result.recordings
    return recording


@settings(max_examples=60, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_what_goes_out_comes_back(content: bytes) -> None:
    """Any content, text or not, with any line ends, is the same after export and import, as is the request."""
    recording = recorded(content)
    expected = Redactor().stream().feed(content)
    for form, name in ((exporters.har, "a.har"), (exporters.vcrpy, "a.yaml")):
        again = back(form([recording]), name)
        assert again.content == expected
        assert again.request == recording.request
        assert again.head is not None
        assert again.head.status == 200
    assert exporters.sse(recording) == content


def test_vcrpy_plays_an_exported_cassette(tmp_path: Path) -> None:
    """vcrpy itself loads the cassette, finds the request, and gives a real client the same bytes."""
    import requests

    path = tmp_path / "cassette.yaml"
    path.write_bytes(exporters.vcrpy([recorded()], origin="https://api.example.com"))
    url = "https://api.example.com/v1/chat/completions?a=1&b="
    with vcr.use_cassette(str(path), record_mode="none", match_on=["method", "uri", "body"]) as cassette:
        answer = requests.post(url, data=REQUEST.body, headers={"content-type": "application/json"}, timeout=5)
        assert answer.content == BODY
        assert answer.headers["content-type"] == "text/event-stream"
        assert cassette.play_count == 1
    with vcr.use_cassette(str(path), record_mode="none", match_on=["method", "uri", "body"]):
        assert httpx.post(url, content=REQUEST.body).content == BODY


def test_yaml_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML the export to vcrpy is refused with the command that installs it."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SettingError, match=r"pip install 'mockprovider\[import\]'"):
        exporters.vcrpy([recorded()])


def test_a_recording_without_a_response_is_no_entry() -> None:
    """Forms that need a response refuse a recording that has none."""
    with pytest.raises(SettingError, match="no response came"):
        exporters.har([Recording(REQUEST)])
    with pytest.raises(SettingError, match="no response came"):
        exporters.vcrpy([Recording(REQUEST)])


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_exports_one_and_many(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`mockprovider export` writes one to standard output or a file, several into a folder or one archive."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.ndjson").write_bytes(dumps(recorded()))
    one = str(tmp_path / "a.ndjson")
    assert main(["export", one, "--to", "sse"]) == 0
    assert capfdbinary.readouterr().out == BODY
    out = tmp_path / "out"
    out.mkdir()
    assert main(["export", str(tmp_path), "--to", "sse", "--output", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.sse", "b.sse"]
    assert (out / "b.sse").read_bytes() == BODY
    assert main(["export", str(tmp_path), "--to", "har", "--output", str(out)]) == 0
    assert len(json.loads((out / "recordings.har").read_bytes())["log"]["entries"]) == 2
    assert main(["export", one, "--to", "vcrpy", "--output", str(out), "--origin", "http://x.test"]) == 0
    assert b"uri: http://x.test/v1/chat/completions" in (out / "a.yaml").read_bytes()
    assert main(["export", str(tmp_path), "--to", "sse"]) == 2
    assert b"several bodies need a folder" in capfdbinary.readouterr().err
    assert main(["export", str(out), "--to", "sse"]) == 2
    assert b"there are no recordings in it" in capfdbinary.readouterr().err
    assert main(["export", one, "--to", "sse", "--output", str(tmp_path / "no" / "x")]) == 2

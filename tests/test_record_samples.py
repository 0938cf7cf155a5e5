"""The recordings that ship with the package: readable, legal, small, free of secrets, and what their page says."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from mockprovider.recording import Recording, dumps, load_folder, samples
from mockprovider.redaction import Redactor, removed
from tests.wiretap import parse

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = load_folder(samples())
MADE = importlib.util.spec_from_file_location("record_samples", ROOT / "scripts" / "record_samples.py")


def test_they_are_there_and_ship_with_the_package() -> None:
    """In a checkout they are in `recordings`; a wheel has them inside of the package, where they are looked for."""
    assert samples() == ROOT / "recordings"
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"recordings": "mockprovider/samples"}


def test_the_script_makes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each recording is one of the script's samples, and the page lists all of them with their facts."""
    assert MADE is not None
    assert MADE.loader is not None
    module = importlib.util.module_from_spec(MADE)
    monkeypatch.setitem(sys.modules, MADE.name, module)
    MADE.loader.exec_module(module)
    assert sorted(sample.name for sample in module.SAMPLES) == sorted(recording.name for recording in SAMPLES)
    page = (samples() / "README.md").read_text("utf-8")
    by_name = {recording.name: recording for recording in SAMPLES}
    for sample in module.SAMPLES:
        assert module.described(sample, by_name[sample.name]) in page.splitlines()
        assert sample.has.encode() in by_name[sample.name].content


@pytest.mark.parametrize("recording", SAMPLES, ids=lambda recording: recording.name)
def test_a_sample_is_legal_small_and_clean(recording: Recording) -> None:
    """Its bytes are legal HTTP, its file is in canonical form and under 40 kB, and nothing is to be removed from it."""
    assert recording.path is not None
    text = recording.path.read_bytes()
    assert len(text) < 40_000
    assert dumps(recording) == text
    assert removed(recording, Redactor().recording(recording)) == []
    assert str(Path.home()).encode() not in text
    if recording.ending == "client-left":
        assert recording.reads
    else:
        assert recording.complete
        [response] = parse(recording.wire, recording.request.method)
        assert bytes(response.body) == recording.content


def test_a_stream_is_a_stream() -> None:
    """The samples of streams have many reads, in time, and events that are JSON."""
    streams = [recording for recording in SAMPLES if recording.name.endswith("-stream")]
    assert len(streams) == 5
    for recording in streams:
        assert len(recording.reads) > 10
        assert recording.duration > 0.2
        for data in re.findall(rb"^data: (.*)$", recording.content, re.MULTILINE):
            if data != b"[DONE]":
                json.loads(data)

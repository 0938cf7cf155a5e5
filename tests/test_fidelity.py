"""What is emitted has the paths, types and order of what api.openai.com was recorded to send.

The recordings are not part of the project; where their folder is not beside it, these tests skip.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mockprovider.reply import Reply, ToolCall
from tests.chatting import DIALECT, body, chunks, events, voice

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "streams"

pytestmark = pytest.mark.skipif(
    not (RECORDINGS / "manifest.tsv").is_file(), reason="the folder of recordings, ../shared/streams, is not here"
)

# ------------------------------------------------------------------------------------------------------ recordings


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange: the request's document, the response's headers (names in lower case) and body."""

    request: dict[str, Any]
    headers: dict[str, str]
    body: str


def scalar(lines: list[str], at: int, key: str) -> str:
    """The text of a YAML key: a literal block, or a quoted or plain scalar folded over lines.

    Only what the recordings use of YAML 1.2 (chapters 7.3 and 8.1); no parser of it is needed for that.
    """
    indent = len(lines[at]) - len(lines[at].lstrip(" -"))
    value = lines[at].split(f"{key}: ", 1)[1]
    rest: list[str] = []
    for line in lines[at + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= indent - (value[:1] in "'\""):
            break
        rest.append(line)
    if value.startswith("|"):
        depth = min(len(line) - len(line.lstrip()) for line in rest if line.strip())
        return "\n".join(line[depth:] for line in rest)
    text = re.sub(r"\n((?:\n)*)", lambda ends: ends[1] or " ", "\n".join([value, *map(str.lstrip, rest)]))
    if text.startswith("'"):
        return re.match(r"'((?:[^']|'')*)'", text)[1].replace("''", "'")  # type: ignore[index]
    if text.startswith('"'):
        escaped = re.match(r'"((?:[^"\\]|\\.)*)"', text)[1]  # type: ignore[index]
        return re.sub(r"\\ ", " ", escaped).encode("latin-1", "backslashreplace").decode("unicode_escape")
    return text


def exchanges(path: Path) -> Iterator[Recorded]:
    """The exchanges of a recording file with a JSON request."""
    lines = path.read_text(encoding="utf-8").split("\n")
    request: dict[str, Any] = {}
    headers: dict[str, str] = {}
    text = ""
    name = None
    in_response = False
    for at, line in enumerate(lines):
        field = line.strip()
        if field in ("request:", "- request:"):
            if text:
                yield Recorded(request, headers, text)
            request, headers, text, in_response = {}, {}, "", False
        elif field == "response:":
            in_response = True
        elif re.match(r"(?:body|string): \S", field):
            said = scalar(lines, at, field.split(":")[0])
            if in_response:
                text = said
            elif said.startswith("{"):
                request = json.loads(said)
        elif in_response and re.fullmatch(r"[A-Za-z-]+:", field):
            name = field[:-1].lower()
        elif in_response and name and field.startswith("- "):
            headers[name] = field[2:].strip("'")
            name = None
    if text:
        yield Recorded(request, headers, text)


def recordings(provider: str) -> list[tuple[str, Recorded]]:
    """The recorded chat streams of a provider, by file."""
    with (RECORDINGS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    paths = {row["path"] for row in rows if row["provider"] == provider and row["dialect"] == "openai-chat"}
    return [
        (path, recorded)
        for path in sorted(paths)
        for recorded in exchanges(RECORDINGS / path)
        if "chat.completion.chunk" in recorded.body
    ]


# ------------------------------------------------------------------------------------------------------ comparison


def shape(value: Any, path: str = "") -> list[str]:
    """Every path with its type, in order: `choices[0].delta.content string`."""
    if isinstance(value, dict):
        return [
            f"{path} object",
            *(line for key, inner in value.items() for line in shape(inner, f"{path}.{key}")),
        ]
    if isinstance(value, list):
        return [f"{path} array", *(line for at, inner in enumerate(value) for line in shape(inner, f"{path}[{at}]"))]
    return [f"{path} {'null' if value is None else type(value).__name__}"]


def kind(document: dict[str, Any]) -> str:
    """What a chunk is for."""
    if not document.get("choices"):
        return "usage" if document.get("usage") else "filter"
    delta = document["choices"][0].get("delta", {})
    calls = delta.get("tool_calls")
    if "role" in delta:
        return "role and tool start" if calls else "role"
    if calls:
        return "tool start" if "id" in calls[0] else "tool delta"
    return "text" if "content" in delta else "finish"


def shapes(documents: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The shape of the first chunk of each kind; chunks of one kind must be alike."""
    found: dict[str, list[str]] = {}
    for document in documents:
        assert found.setdefault(kind(document), shape(document)) == shape(document), kind(document)
    return found


def emitted(recorded: Recorded, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is answered to the recorded request, where it is told to say what was said."""
    deltas = [choice["delta"] for document in documents for choice in document["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    parts: list[Any] = ["".join(delta.get("content") or "" for delta in deltas)] if not calls else []
    for index in sorted({call["index"] for call in calls}):
        mine = [call for call in calls if call["index"] == index]
        parts.append(ToolCall(mine[0]["function"]["name"], "".join(call["function"]["arguments"] for call in mine)))
    (finish,) = [choice["finish_reason"] for d in documents for choice in d["choices"] if choice["finish_reason"]]
    asked = DIALECT.parse(json.dumps(recorded.request).encode(), {})
    return chunks(body(asked, Reply.of(*parts, finish=finish)))


def differences(real: list[str], ours: list[str]) -> list[str]:
    """The lines that only one of them has, and whether the order differs."""
    lines = [f"- {line}" for line in real if line not in ours] + [f"+ {line}" for line in ours if line not in real]
    return lines or (["~ another order"] if real != ours else [])


def report(path: str, real: dict[str, list[str]], ours: dict[str, list[str]]) -> str:
    """What differs, kind by kind; empty where nothing does."""
    told = [
        f"{path}: {kind}: {line}"
        for kind in {**real, **ours}
        for line in differences(real.get(kind, []), ours.get(kind, []))
    ]
    return "\n".join(told)


OPENAI = recordings("openai") if (RECORDINGS / "manifest.tsv").is_file() else []
AZURE = recordings("azure") if (RECORDINGS / "manifest.tsv").is_file() else []


def test_there_is_something_to_compare() -> None:
    """The recordings are read: eight streams of api.openai.com by reasoning models and others."""
    assert len(OPENAI) >= 8
    assert {recorded.request["model"] for _, recorded in OPENAI} >= {"gpt-4o", "gpt-4o-mini", "gpt-5", "o4-mini"}


@pytest.mark.parametrize(("path", "recorded"), OPENAI, ids=[path.split("/")[-2] for path, _ in OPENAI])
def test_chunks_are_as_recorded(path: str, recorded: Recorded) -> None:
    """To an equal request, every kind of chunk has the paths, types and order of the recorded one."""
    real = chunks(recorded.body.rstrip("\n").encode() + b"\n\n")
    ours = emitted(recorded, real)
    told = report(path, shapes(real), shapes(ours))
    print(told)
    assert not told, told
    assert list(dict.fromkeys(map(kind, ours))) == list(dict.fromkeys(map(kind, real)))
    for name in ("object", "model", "service_tier"):
        assert {d[name] for d in ours} == {d[name] for d in real}, name
    for name in ("id", "system_fingerprint"):
        assert [re.sub("[0-9A-Za-z]", "x", str(d[name])) for d in ours[:1]] == [
            re.sub("[0-9A-Za-z]", "x", str(d[name])) for d in real[:1]
        ], name


@pytest.mark.parametrize(("path", "recorded"), OPENAI, ids=[path.split("/")[-2] for path, _ in OPENAI])
def test_the_layout_is_as_recorded(path: str, recorded: Recorded) -> None:
    """JSON is written as it was recorded: compact, raw UTF-8, padded to one more than a multiple of 16 characters."""
    stream = recorded.body.rstrip("\n").encode() + b"\n\n"
    assert DIALECT.parse(json.dumps(recorded.request).encode(), {}).stream
    for source in (stream, body(DIALECT.parse(json.dumps(recorded.request).encode(), {}), "Olá, 世界! 👩")):
        assert source.endswith(b"\n\ndata: [DONE]\n\n")
        assert b"\r" not in source
        for event in events(source)[:-1]:
            assert event.type == "message"
            written = json.dumps(json.loads(event.data), ensure_ascii=False, separators=(",", ":"))
            assert event.data == written
            assert len(written) % 16 == 1, path


@pytest.mark.parametrize(("path", "recorded"), OPENAI, ids=[path.split("/")[-2] for path, _ in OPENAI])
def test_headers_are_as_recorded(path: str, recorded: Recorded) -> None:
    """The headers of OpenAI's own are all there, with values of the same form; those of its network are not ours."""
    foreign = re.compile(
        r"cf-|alt-svc|server|strict-transport|set-cookie|connection|date|transfer|x-envoy|x-openai-proxy"
    )
    asked = DIALECT.parse(json.dumps(recorded.request).encode(), {})
    ours = {name.lower(): value for name, value in DIALECT.headers(voice(asked, Reply.of("")), stream=True)}
    for name, value in recorded.headers.items():
        if foreign.match(name):
            continue
        assert name in ours, path
        if name != "openai-organization":
            form, real = (re.sub(r"[0-9]+", "0", re.sub(r"[a-f0-9x]{20,}", "h", text)) for text in (ours[name], value))
            assert form == real or name == "openai-project", name
    assert ours["openai-project"].startswith("proj_")


def test_tool_calls_have_the_recorded_fields() -> None:
    """A tool call's chunks have the fields that were recorded of Azure's OpenAI, which orders its keys otherwise."""
    azure_only = re.compile(r"\.(?:content_filter_results|latency_checkpoint)")
    compared = 0
    for path, recorded in AZURE:
        real = chunks(recorded.body.rstrip("\n").encode() + b"\n\n")
        if not any("tool" in kind(document) for document in real):
            continue
        request = {"model": "gpt-4o", **recorded.request}
        ours = emitted(Recorded(request, {}, ""), real)
        wanted = {k: sorted(line for line in s if not azure_only.search(line)) for k, s in shapes(real).items()}
        made = {k: sorted(s) for k, s in shapes(ours).items()}
        for name in ("role and tool start", "tool delta", "finish"):
            # Azure leaves the service tier out and writes null log probabilities for every model.
            said = [line for line in made[name] if "service_tier" not in line and ".logprobs" not in line]
            meant = [line for line in wanted[name] if "service_tier" not in line and ".logprobs" not in line]
            fingerprint = re.compile(r"fingerprint (?:null|str)")
            assert [fingerprint.sub("", line) for line in said] == [fingerprint.sub("", line) for line in meant], path
        compared += 1
    assert compared >= 2

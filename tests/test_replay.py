"""Recordings played again, observed on the wire; which one answers a request, and what is said where none does."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider import MockProvider
from mockprovider.cli import main
from mockprovider.errors import NoMatchError, SettingError
from mockprovider.recording import RecordedHead, RecordedRequest, Recording, dumps, loads, made
from mockprovider.replay.comparing import Comparison
from mockprovider.replay.library import Recordings
from mockprovider.replay.reel import Playback, Reel, speed_of
from mockprovider.timeline import Close, End, Hang, Reset
from mockprovider.wire import Write
from tests.asking import CHAT, request
from tests.serving import serving
from tests.wiretap import parse, tapping

if TYPE_CHECKING:
    from collections.abc import Iterable

LIVE = Path(__file__).parent.parent.parent / "shared" / "streams" / "live"

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str) -> bytes:
    """A chat completion's event with some text."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


def asked(content: str = "Hi!", **fields: Any) -> RecordedRequest:
    """A recorded chat completion request."""
    body = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": content}], **fields}
    return RecordedRequest("POST", CHAT, (("content-type", "application/json"),), json.dumps(body).encode())


def http(recorded: RecordedRequest, *headers: str) -> bytes:
    """The request as a client sends it."""
    lines = [f"{recorded.method} {recorded.target} HTTP/1.1", "Host: localhost", *headers]
    lines.append(f"Content-Length: {len(recorded.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + recorded.body


def recording(
    *reads: tuple[float, bytes], ending: str | None = "end", gap: float = 0.0, content: str = "Hi!"
) -> Recording:
    """A recording of these reads."""
    return Recording.of(asked(content), reads, recorded="2026-11-22T21:00:00Z", ending=ending, ending_gap=gap)


STREAM = recording(
    (0.02, HEAD + chunk(event("One"))),
    (0.03, chunk(event(" two")) + chunk(event(" three"))),
    (0.0, chunk(event(" four"))),
    (0.02, chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"),
)


def saved(folder: Path, *recordings: Recording) -> Path:
    """The folder with these recordings in it, named 1, 2, ..."""
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(recordings, start=1):
        (folder / f"{number}.ndjson").write_bytes(dumps(each))
    return folder


def playing(folder: Path, *recordings: Recording, **settings: Any) -> MockProvider:
    """A provider that plays these recordings."""
    return MockProvider(recordings=Recordings(saved(folder, *recordings), **settings))


# ------------------------------------------------------------------------------------------------ the wire


async def test_a_replay_has_the_bytes_and_the_boundaries_of_the_recording(tmp_path: Path) -> None:
    """Each read of the recorder leaves by a write of its own, byte for byte, those that came together included."""
    async with playing(tmp_path, STREAM) as provider, tapping(provider.url, keen=True) as tap:
        await tap.send(http(asked()))
        await tap.response()
        assert [read.data for read in tap.reads] == [read.wire for read in STREAM.reads]
        [exchange] = await provider.wait_for_async()
        assert (exchange.recording, exchange.rule, exchange.status, exchange.outcome) == ("1", None, 200, "complete")
        assert exchange.describe()["recording"] == "1"


@pytest.mark.parametrize(("speed", "divided"), [("1", 1.0), ("4", 4.0), ("0.5", 0.5), ("instant", math.inf)])
def test_gaps_are_divided_by_the_speed(speed: str, divided: float) -> None:
    """The gaps of a replay are those of the recording divided by the speed; `instant` has none."""
    actions = Reel(STREAM).actions(Playback(speed_of(speed)))
    assert [gap for gap, _, _ in actions] == [
        *(pytest.approx(read.gap / divided) for read in STREAM.reads),
        STREAM.ending_gap / divided,
    ]


def test_how_reads_leave_can_be_chosen() -> None:
    """Reads are writes a millisecond apart, or without a pause, or are joined where they are due together."""
    items = [item for _, item, _ in Reel(STREAM).actions(Playback(math.inf, "recorded"))][:-1]
    assert [(type(item), item.data, item.apart) for item in items] == [
        (Write, read.wire, 0.001) for read in STREAM.reads
    ]
    [(_, burst, _), _] = Reel(STREAM).actions(Playback(math.inf, "loose"))
    assert (burst.joins, list(burst.pieces)) == (False, [read.wire for read in STREAM.reads])
    loose = [item for _, item, _ in Reel(STREAM).actions(Playback(1.0, "loose"))][:-1]
    assert [getattr(item, "apart", None) for item in loose] == [0.0, None, 0.0]
    assert [item for _, item, _ in Reel(STREAM).actions(Playback(math.inf, "joined"))] == [STREAM.wire, End()]
    joined = Reel(STREAM).actions(Playback(1.0, "joined"))
    assert [(gap, len(item)) for gap, item, _ in joined[:-1]] == [
        (0.02, len(STREAM.reads[0].wire)),
        (0.03, len(STREAM.reads[1].wire + STREAM.reads[2].wire)),
        (0.02, len(STREAM.reads[3].wire)),
    ]


def test_a_replay_is_prepared_once() -> None:
    """All replays of a recording share the same actions."""
    reel = Reel(STREAM)
    assert reel.actions(Playback()) is reel.actions(Playback())


async def test_the_gaps_are_those_of_the_recording(tmp_path: Path) -> None:
    """Every write is due at its time since the request, and none leaves before it."""
    async with playing(tmp_path, STREAM) as provider, tapping(provider.url) as tap:
        await tap.ask(http(asked()))
        [exchange] = await provider.wait_for_async()
    since = [deadline - exchange.started for deadline in exchange.sent.deadlines]
    assert since == [pytest.approx(at) for at in (0.02, 0.05, 0.051, 0.07)]
    assert all(late >= 0 for late in exchange.sent.lateness)


BODY = (0.0, b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 1}\n')
PARTIAL = (0.0, HEAD + b"ff\r\nand then")


@pytest.mark.parametrize(
    ("ending", "outcome", "seen"),
    [
        ("close", "closed", "eof"),
        ("reset", "reset", "reset"),
        ("client-left", "closed", "eof"),
        (None, "closed", "eof"),
    ],
)
async def test_a_replay_ends_as_the_recording_did(tmp_path: Path, ending: str | None, outcome: str, seen: str) -> None:
    """What was cut by the upstream is cut again in the same way; what nobody saw the end of is cut with FIN."""
    async with playing(tmp_path, recording(PARTIAL, ending=ending)) as provider, tapping(provider.url) as tap:
        tap.strict = False
        await tap.send(http(asked()))
        assert await tap.end() == seen
        assert tap.data == PARTIAL[1]
        [exchange] = await provider.wait_for_async()
        assert exchange.outcome == outcome


async def test_silence_is_replayed_as_silence(tmp_path: Path) -> None:
    """A recording that ended in a timeout leaves the connection open until the client goes."""
    async with playing(tmp_path, recording(PARTIAL, ending="timeout", gap=3.0)) as provider:
        async with tapping(provider.url) as tap:
            tap.strict = False
            await tap.send(http(asked()))
            await tap.until(lambda: tap.data == PARTIAL[1])
            assert tap.ending == "open"
        [exchange] = await provider.wait_for_async()
        assert exchange.outcome == "client-left"


def test_each_ending_has_its_action() -> None:
    """An ending of a recording is one of the player's, after the time that it took; silence has begun at once."""
    for ending, action, gap in (
        ("end", End(), 0.5), ("close", Close(), 0.5), ("reset", Reset(), 0.5), ("timeout", Hang(), 0.0),
        ("client-left", Close(), 0.5), (None, Close(), 0.5),
    ):  # fmt: skip
        assert Reel(recording(BODY, ending=ending, gap=0.5)).actions(Playback())[-1][:2] == (gap, action)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", False),
        (b"\x16\x03\x01 no HTTP", False),
    ],
)
async def test_the_recorded_head_says_whether_the_connection_is_kept(tmp_path: Path, head: bytes, kept: bool) -> None:
    """A connection carries the next request where the recorded head lets it, and is closed where it does not."""
    async with playing(tmp_path, recording((0.0, head)), repeat=True) as provider, tapping(provider.url) as tap:
        tap.strict = False
        await tap.send(http(asked()))
        if kept:
            await tap.until(lambda: tap.data == head)
            await tap.send(http(asked()))
            await tap.until(lambda: tap.data == head * 2)
        else:
            assert await tap.end() == "eof"
            assert tap.data == head


@pytest.mark.parametrize(
    "name", [path.name.removesuffix(".tap.jsonl") for path in sorted(LIVE.glob("*.tap.jsonl"))] or ["none"]
)
async def test_captures_of_real_servers_replay_to_their_bytes(tmp_path: Path, name: str) -> None:
    """A capture, saved as a recording and loaded again, is replayed to its raw bytes, one write a read."""
    if name == "none":
        pytest.skip(f"the captures are not in {LIVE}")
    lines = [json.loads(line) for line in (LIVE / f"{name}.tap.jsonl").read_text("utf-8").splitlines()]
    times = [0.0, *(line["t"] for line in lines)]
    reads = [(line["t"] - before, line["data"].encode()) for line, before in zip(lines, times, strict=False)]
    captured = loads(dumps(recording(*reads)))
    assert captured.wire == (LIVE / f"{name}.raw").read_bytes()
    async with playing(tmp_path, captured, speed="instant") as provider, tapping(provider.url, keen=True) as tap:
        await tap.send(http(asked()))
        assert await tap.end() == "eof"  # all of these say `Connection: close`
        assert [read.data for read in tap.reads] == [data for _, data in reads]
        assert tap.data == (LIVE / f"{name}.raw").read_bytes()


# ------------------------------------------------------------------------------------------------ which one answers


def whole(text: str, content: str = "Hi!", **fields: Any) -> Recording:
    """A recording of a whole reply."""
    head = RecordedHead("1.1", 200, "OK", (("content-type", "text/plain"),))
    return made(asked(content, **fields), head, text.encode(), source={}, recorded="2026-11-22T21:00:00Z")


def ask(provider: MockProvider, recorded: RecordedRequest, headers: dict[str, str] | None = None) -> str:
    """What the provider answers to this request."""
    answer = request(recorded.method, provider.url + recorded.target, recorded.body, headers)
    return answer.body.decode()


def test_the_spelling_of_the_body_does_not_matter(tmp_path: Path) -> None:
    """Two spellings of the same JSON are the same request; numbers and booleans that Python takes for equal are not."""
    with playing(tmp_path, whole("yes", n=1), repeat=True) as provider:
        other = json.dumps(dict(reversed(json.loads(asked(n=1).body).items())), indent=3).encode()
        assert ask(provider, RecordedRequest("POST", CHAT, (), other)) == "yes"
        assert "body.n: recorded 1, asked true" in ask(provider, asked(n=True))
        with pytest.raises(NoMatchError, match=r"body\.n"):
            provider.check()


def test_recordings_play_in_order_and_once(tmp_path: Path) -> None:
    """Recordings of the same request answer in the order of their names, each once; then they are used up."""
    with playing(tmp_path, whole("first"), whole("other", "Bye"), whole("second")) as provider:
        assert provider.unplayed == ["1", "2", "3"]
        assert [ask(provider, asked()) for _ in range(2)] == ["first", "second"]
        assert "1, 3 have been played, and each is played once unless repeats are allowed" in ask(provider, asked())
        assert provider.unplayed == ["2"]
        assert ask(provider, asked("Bye")) == "other"
        provider.assert_requested(1, last="Bye", model="gpt-*")
        provider.reset()
        assert ask(provider, asked()) == "first"


def test_repeats_begin_anew(tmp_path: Path) -> None:
    """Where repeats are allowed, recordings of the same request come again in the same order."""
    with playing(tmp_path, whole("first"), whole("second"), repeat=True) as provider:
        assert [ask(provider, asked()) for _ in range(5)] == ["first", "second", "first", "second", "first"]


def test_every_namespace_plays_for_itself(tmp_path: Path) -> None:
    """What one namespace has used up another still has."""
    with playing(tmp_path, whole("once")) as provider:
        base = provider.url
        opened = request("POST", f"{base}/_mock/namespaces").json["path"]
        for prefix in ("", opened):
            assert request("POST", base + prefix + CHAT, asked().body).body == b"once"
            assert request("POST", base + prefix + CHAT, asked().body).status == 404


def test_a_miss_shows_the_nearest_recording_and_what_differs(tmp_path: Path) -> None:
    """A request that nobody recorded gets an error in the provider's shape, with every place that differs."""
    with playing(tmp_path, whole("a", "Hello", temperature=0.5), whole("b", "Bye")) as provider:
        asked_for = asked("Hello!", tools=[])
        answer = request("POST", provider.url + CHAT, asked_for.body)
        assert answer.status == 404
        error = answer.json["error"]
        assert error["code"] == "no_recording_matched"
        assert error["message"].splitlines() == [
            "no recording answers POST /v1/chat/completions: the nearest recording is 2:",
            '  body.messages[0].content: recorded "Bye", asked "Hello!"',
            "  body.tools: recorded nothing, asked []",
        ]
        [exchange] = provider.exchanges
        assert (exchange.recording, exchange.status, exchange.error) == (None, 404, error["message"])
        with pytest.raises(NoMatchError, match="the nearest recording is 2"):
            provider.check()


def test_a_miss_is_worded_as_its_path_words_errors(tmp_path: Path) -> None:
    """On Anthropic's path a miss has Anthropic's shape, elsewhere OpenAI's."""
    with playing(tmp_path, whole("a")) as provider:
        anthropic = request("POST", provider.url + "/v1/messages", b"{}").json
        assert (anthropic["type"], anthropic["error"]["type"]) == ("error", "not_found_error")
        assert (
            "path: recorded /v1/chat/completions, asked /anything"
            in (request("GET", provider.url + "/anything?x=1").json["error"]["message"])
        )
        with pytest.raises(NoMatchError):
            provider.check()


def test_any_path_and_method_can_be_recorded(tmp_path: Path) -> None:
    """A recording answers whatever was asked, be it an endpoint that the server knows or none."""
    head = RecordedHead("1.1", 200, "OK", (("content-type", "text/plain"),))
    recorded = RecordedRequest("PUT", "/v2/things?page=2", (), b"\xff\x00")
    with playing(tmp_path, made(recorded, head, b"done", source={})) as provider:
        assert ask(provider, recorded) == "done"


def test_the_query_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    """The query is compared only if `match` names it."""
    head = RecordedHead("1.1", 200, "OK")
    recorded = made(RecordedRequest("GET", "/v1/models?limit=5"), head, b"five", source={})
    with playing(tmp_path, recorded, repeat=True) as provider:
        assert ask(provider, RecordedRequest("GET", "/v1/models?limit=6")) == "five"
    with playing(tmp_path, recorded, match=("method", "path", "query")) as provider:
        assert "query: recorded limit=5, asked limit=6" in ask(provider, RecordedRequest("GET", "/v1/models?limit=6"))
        assert ask(provider, RecordedRequest("GET", "/v1/models?limit=5")) == "five"


def test_places_in_bodies_can_be_ignored(tmp_path: Path) -> None:
    """Ignored places do not count, whether they differ, are missing, or are in every item of a list."""
    messages = [{"role": "user", "content": "a", "id": 1}, {"role": "user", "content": "b", "id": 2}]
    ignore = ["metadata.run", "messages[*].id"]
    with playing(
        tmp_path, whole("yes", messages=messages, metadata={"run": 1}), ignore=ignore, repeat=True
    ) as provider:
        changed = [{**message, "id": 9} for message in messages]
        assert ask(provider, asked(messages=changed, metadata={"run": 2})) == "yes"
        assert ask(provider, asked(messages=changed, metadata={})) == "yes"
        assert "body.metadata: recorded {}, asked nothing" in ask(provider, asked(messages=changed))


def test_a_function_may_say_what_matches(tmp_path: Path) -> None:
    """A predicate sees both requests; a text that it returns is why they do not match."""

    def same_user(now: RecordedRequest, then: RecordedRequest) -> str | bool:
        return now.json["user"] == then.json["user"] or f"the user is {now.json['user']}"

    with playing(tmp_path, whole("for Zoe", user="zoe"), match=("path", same_user), repeat=True) as provider:
        assert ask(provider, asked("anything", user="zoe")) == "for Zoe"
        assert "same_user: recorded another one, asked the user is max" in ask(provider, asked(user="max"))
        with pytest.raises(NoMatchError):
            provider.check()


def test_headers_count_where_they_are_asked_for() -> None:
    """Recorded headers must come again where `match` names them; others may come besides."""
    compared = Comparison(("headers",))
    recorded = RecordedRequest("GET", "/", (("Accept", "text/plain"),))
    assert compared.differences(RecordedRequest("GET", "/", (("accept", "text/plain"), ("x", "y"))), recorded) == []
    [difference] = compared.differences(RecordedRequest("GET", "/"), recorded)
    assert str(difference) == "headers.accept: recorded text/plain, asked nothing"


def test_a_redacted_recording_still_matches(tmp_path: Path) -> None:
    """What was masked before it was recorded is masked before it is compared: keys in body, URL and headers."""
    from mockprovider.redaction import Redactor

    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    sent = asked(f"my key is {key}")
    sent = RecordedRequest(sent.method, f"{sent.target}?key={key}", (("authorization", f"Bearer {key}"),), sent.body)
    stored = Redactor().request(sent)
    assert key.encode() not in stored.body
    head = RecordedHead("1.1", 200, "OK")
    match = ("method", "path", "query", "body")
    with playing(tmp_path, made(stored, head, b"matched", source={}), match=match) as provider:
        assert ask(provider, sent, {"authorization": f"Bearer {key}"}) == "matched"


def test_rules_answer_what_no_recording_does(tmp_path: Path) -> None:
    """Recordings come first; a request that none of them is for goes to the rules, if there are any."""
    with playing(tmp_path, whole("recorded")) as provider:
        provider.on(messages="rule").reply("by a rule")
        assert ask(provider, asked()) == "recorded"
        assert "by a rule" in ask(provider, asked("by the rule", stream=False))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"speed": "0"}, "speed: expected a number > 0, or instant, got '0'"),
        ({"speed": "fast"}, "speed: expected a number > 0, or instant"),
        ({"writes": "lose"}, "writes: expected one of recorded, loose, joined"),
        ({"match": ("boddy",)}, "match: unknown part 'boddy'; did you mean 'body'?"),
        ({"match": "body"}, "match: expected a list, got 'body'"),
        ({"ignore": ["[x"]}, "ignore: expected places such as"),
        ({"mode": "ones"}, "mode: unknown mode 'ones'; did you mean 'once'?"),
        ({"mode": "once"}, "mode once: what is not recorded is asked of an upstream"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    """A setting that cannot be is refused when it is given, and the message says what is allowed."""
    with pytest.raises(SettingError) as refused:
        playing(tmp_path, STREAM, **settings)
    assert said in str(refused.value)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    """A server that could only answer with misses does not start."""
    with pytest.raises(SettingError, match="there are no recordings"):
        MockProvider(recordings=tmp_path).start()


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_plays_a_folder_and_repeats(tmp_path: Path) -> None:
    """`mockprovider replay DIR` announces itself, with a command that asks for the first, and plays again and again."""
    import subprocess
    import sys

    saved(tmp_path, STREAM)
    command = [sys.executable, "-m", "mockprovider", "replay", str(tmp_path), "--port", "0", "--speed", "instant"]
    with serving(*command) as server:
        curl = server.printed(r"^curl .*$")[0]
        for _ in range(2):
            ended = subprocess.run(["bash", "-c", curl + " -s --raw"], capture_output=True, check=True)
            assert ended.stdout == STREAM.wire
            [response] = parse(ended.stdout)
            assert response.pieces[0] == event("One")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/absent"], "no such folder"),
        (["{folder}"], "there are no recordings (*.ndjson) in"),
        (["{folder}", "--speed", "0"], "speed: expected a number > 0, or instant, got '0'"),
        (["{folder}", "--mode", "once"], "give its base URL"),
        (["{folder}", "--with", "sse-crlff"], "sse-crlff"),
    ],
)
def test_what_cannot_be_played_is_told_of(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad usage, and a folder that has nothing to play, end with code 2 and a message that names it."""
    assert main(["replay", "--port", "0", *(each.format(folder=tmp_path) for each in arguments)]) == 2
    assert said in capsys.readouterr().err


def test_a_damaged_recording_is_an_error_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file is not left out: the server does not start, and says which line is wrong."""
    saved(tmp_path, STREAM)
    damaged = (tmp_path / "1.ndjson").read_bytes().replace(b'"head"', b'"hed"', 1)
    (tmp_path / "1.ndjson").write_bytes(damaged)
    assert main(["replay", str(tmp_path), "--port", "0"]) == 2
    assert "1.ndjson, line 2" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ many at once


async def test_replays_at_once_keep_their_own_time(tmp_path: Path) -> None:
    """Fifty replays of one recording at once each have its bytes and its deadlines."""
    async with playing(tmp_path, STREAM, repeat=True) as provider:

        async def one() -> bytes:
            async with tapping(provider.url) as tap:
                await tap.ask(http(asked()))
                return tap.data

        seen: Iterable[bytes] = await asyncio.gather(*(one() for _ in range(50)))
        assert set(seen) == {STREAM.wire}
        for exchange in provider.exchanges:
            since = [deadline - exchange.started for deadline in exchange.sent.deadlines]
            assert since == [pytest.approx(at) for at in (0.02, 0.05, 0.051, 0.07)]

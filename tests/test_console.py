"""The console's calls: what is set by hand counts, open streams obey, and whoever watches sees what happens."""

from __future__ import annotations

import contextlib
import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider import MockProvider
from mockprovider.recording import load
from mockprovider.scenario_file import check
from tests.asking import ask, connect, prompt, request, streaming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = {"Content-Type": "application/json"}
LONG = " ".join(f"w{number}" for number in range(400))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for recordings."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def server(shelf: Path) -> Iterator[MockProvider]:
    """A server with a console."""
    with MockProvider(seed=3, reply="The usual.", console=True, shelf=shelf) as running:
        yield running


@pytest.fixture
def provider(server: MockProvider) -> Iterator[MockProvider]:
    """The same, with nothing set."""
    server.reset()
    yield server
    server.reset()


def call(provider: MockProvider, method: str, path: str, body: object = None) -> Any:
    """A call of the control API; its answer where it succeeds."""
    answer = request(method, f"{provider.url}/_mock{path}", None if body is None else json.dumps(body), JSON)
    assert answer.status in (200, 201), answer.body
    return answer.json


def refused(provider: MockProvider, method: str, path: str, body: object = None) -> tuple[int, str]:
    """The status and message of a call that is refused."""
    answer = request(method, f"{provider.url}/_mock{path}", None if body is None else json.dumps(body), JSON)
    return answer.status, answer.json["error"]["message"]


# ------------------------------------------------------------------------------------------------------- levers


def test_levers_count_from_the_next_request_on(provider: MockProvider) -> None:
    """A reply, faults and a flavour that are set by hand are those of the next request; let go, they are not."""
    provider.on().reply("The rule's.")
    assert ask(provider.url).text == "The rule's."
    call(provider, "PUT", "/levers", {"reply": "By hand.", "flavour": "groq"})
    answer = ask(provider.url)
    assert answer.text == "By hand."
    assert "x_groq" in answer.json
    call(provider, "PUT", "/levers", {"flavour": None, "faults": "status(code=503)"})
    assert ask(provider.url).status == 503
    call(provider, "PUT", "/levers", {"faults": None, "reply": None})
    assert ask(provider.url).text == "The rule's."
    assert call(provider, "GET", "/levers") == dict.fromkeys(call(provider, "GET", "/levers")) | {"limited": False}


def test_the_next_requests_fail(provider: MockProvider) -> None:
    """So many prompts fail as were told to, then all is well again; a refusal until further notice lasts."""
    call(provider, "PUT", "/levers", {"fail_next": {"count": 2, "status": 529}})
    assert [ask(provider.url).status for _ in range(3)] == [529, 529, 200]
    assert call(provider, "GET", "/levers")["fail_next"] is None
    call(provider, "PUT", "/levers", {"limited": True})
    answers = [ask(provider.url) for _ in range(3)]
    assert [answer.status for answer in answers] == [429] * 3
    assert answers[0].headers["retry-after"] == "1"
    call(provider, "PUT", "/levers", {"limited": False})
    assert ask(provider.url).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"pase": "fast"}, "the body: unknown key 'pase'; did you mean 'pace'?"),
        ({"pace": "warp"}, "unknown profile 'warp'"),
        ({"faults": "stal"}, "did you mean 'stall'?"),
        ({"faults": 1}, "faults: expected a chain"),
        ({"flavour": "grog"}, "did you mean 'groq'?"),
        ({"reply": {"txt": "a"}}, "did you mean 'text'?"),
        ({"fail_next": {"count": -1}}, "fail_next: expected a count"),
        ({"fail_next": {"count": 1, "status": 200}}, "status: expected 400 to 599"),
        ({"limited": "yes"}, "limited: expected true or false"),
        ({"recording": "../../etc/passwd"}, "recording: there is no '../../etc/passwd'"),
    ],
)
def test_a_lever_that_cannot_be_is_refused(provider: MockProvider, body: dict[str, Any], said: str) -> None:
    """The refusal names the lever and the nearest fix, and no lever has moved."""
    before = call(provider, "GET", "/levers")
    status, message = refused(provider, "PUT", "/levers", body)
    assert status == 400
    assert said in message
    assert call(provider, "GET", "/levers") == before


def test_the_state_as_a_scenario_file(provider: MockProvider, tmp_path: Path) -> None:
    """What is exported is a scenario file without problems, and a server that reads it answers alike."""
    call(provider, "POST", "/rules", {"match": {"model": "gpt-*", "last": "weather"}, "reply": 'Sunny, "warm".\n'})
    call(provider, "POST", "/rules", {"answers": [{"error": {"status": 500}, "times": 2}, {"reply": "Back."}]})
    call(provider, "PUT", "/levers", {"pace": "fast", "faults": "delay(seconds=0.001)"})
    text = request("GET", provider.url + "/_mock/scenario.toml").body.decode()
    path = tmp_path / "state.toml"
    path.write_text(text)
    file, problems = check(path)
    assert problems == ()
    assert file is not None
    assert len(tomllib.loads(text)["rule"]) == 2
    with MockProvider(scenario=path) as again:
        for url in (provider.url, again.url):
            assert ask(url, "How is the weather?").text == 'Sunny, "warm".\n'
            assert [ask(url).status for _ in range(3)] == [500, 500, 200]


def test_a_preview(provider: MockProvider) -> None:
    """The preview is what the wire will carry: writes with times, and how it ends; nothing is journalled for it."""
    shown = call(
        provider, "POST", "/preview", {"reply": "one two three", "faults": "reset(after=2)", "pace": "itl=0.5"}
    )
    text = "".join(write.get("text", "") for write in shown["writes"])
    assert '"content":"one"' in text
    assert '"content":" two"' in text
    assert '"content":" three"' not in text
    assert shown["writes"][-1]["ending"] == "RST"
    assert shown["writes"][-1]["time"] >= 0.5
    assert not provider.exchanges
    assert refused(provider, "POST", "/preview", {"faults": "stal"})[0] == 400


# ------------------------------------------------------------------------------------------------- open streams


@contextlib.contextmanager
def opened(provider: MockProvider, pace: str = "itl=3600") -> Iterator[tuple[int, Iterator[str]]]:
    """A stream of many words that is under way: its exchange, and its deltas as they come."""
    call(provider, "PUT", "/levers", {"reply": LONG, "pace": pace})
    with streaming(provider.url) as deltas:
        assert next(deltas) == "w"
        yield provider.exchanges[-1].id, deltas


def test_a_stream_is_stepped(provider: MockProvider) -> None:
    """A held stream sends just the events that it is told to, and goes on when it is let go."""
    with opened(provider, "itl=0.005") as (id, deltas):
        assert call(provider, "POST", "/streams/pause", {"exchange": id}) == {"held": True}
        before = provider.exchanges[-1].sent.writes
        assert call(provider, "POST", "/streams/step", {"exchange": id, "events": 3}) == {"held": True}
        assert provider.exchanges[-1].sent.writes - before in (1, 2, 3)  # what is due together may leave together
        after = provider.exchanges[-1].sent.bytes
        call(provider, "GET", "/levers")
        assert provider.exchanges[-1].sent.bytes == after
        assert call(provider, "POST", "/streams/resume", {"exchange": id}) == {"held": False}
        assert "w" + "".join(deltas) == LONG
    assert provider.wait_for(1)[0].outcome == "complete"


def test_a_stream_is_flooded(provider: MockProvider) -> None:
    """So many events of a slow stream come at once; the next one keeps its pace."""
    with opened(provider) as (id, deltas):
        call(provider, "POST", "/streams/flood", {"exchange": id, "events": 5})
        came = "".join(next(deltas) for _ in range(5))
        assert LONG[1:].startswith(came)
        sent = provider.exchanges[-1].sent.bytes
        call(provider, "GET", "/levers")
        assert provider.exchanges[-1].sent.bytes == sent
        assert provider.exchanges[-1].outcome is None


@pytest.mark.parametrize("what", ["step", "flood"])
def test_what_is_sent_ahead_of_its_time_leaves_at_once(provider: MockProvider, what: str) -> None:
    """Events of a slow stream that somebody asks for are due at once, and just those: also where many of them had been
    rendered before."""
    with opened(provider, "itl=0.4") as (id, deltas):
        before = len(provider.exchanges[-1].sent.deadlines)
        call(provider, "POST", f"/streams/{what}", {"exchange": id, "events": 4})
        came = "".join(next(deltas) for _ in range(4))
        assert LONG[1:].startswith(came)
        sent = provider.exchanges[-1].sent
        due = sent.deadlines[before:]
        assert due[0] <= sent.times[before]
        assert due[0] == due[min(3, len(due) - 1)]
        assert [deadline for deadline in due if due[0] < deadline < due[0] + 0.39] == []


@pytest.mark.parametrize(("how", "outcome"), [("reset", "reset"), ("close", "closed"), ("end", "complete")])
@pytest.mark.parametrize("held", [False, True])
def test_a_stream_is_cut(provider: MockProvider, how: str, outcome: str, held: bool) -> None:
    """An open stream ends at once as it was told to: by RST, by FIN within the message, or as a whole message."""
    call(provider, "PUT", "/levers", {"reply": LONG, "pace": "itl=3600"})
    with contextlib.closing(connect(provider.url)) as connection:
        connection.connect()
        raw = connection.sock
        body = prompt(stream=True)
        path = "/" + provider.url.partition("://")[2].partition("/")[2]
        head = f"POST {path.rstrip('/')}/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        raw.sendall(f"{head}Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n".encode() + body)
        came = b""
        while b'"content":"w"' not in came:
            came += raw.recv(65536)
        id = provider.exchanges[-1].id
        if held:
            call(provider, "POST", "/streams/pause", {"exchange": id})
        call(provider, "POST", "/streams/cut", {"exchange": id, "how": how})
        (exchange,) = provider.wait_for(1)
        if how == "reset":
            with pytest.raises(ConnectionResetError):
                raw.recv(65536)
        else:
            assert raw.recv(65536) == (b"0\r\n\r\n" if how == "end" else b"")
        assert exchange.outcome == outcome
    assert refused(provider, "POST", "/streams/cut", {"exchange": id})[0] == 409


def test_only_open_streams_are_steered(provider: MockProvider) -> None:
    """What has ended, never was, or is no number is refused with the reason."""
    ask(provider.url)
    for id in (provider.exchanges[-1].id, 10**9, "1", None, True):
        for verb in ("pause", "step", "resume", "flood", "cut"):
            status, message = refused(provider, "POST", f"/streams/{verb}", {"exchange": id})
            assert status == 409
            assert "is not open" in message
    with opened(provider) as (id, _):
        assert refused(provider, "POST", "/streams/step", {"exchange": id, "events": 0})[0] == 400
        assert refused(provider, "POST", "/streams/cut", {"exchange": id, "how": "gently"})[0] == 400


# ------------------------------------------------------------------------------------------------------ watching


@contextlib.contextmanager
def watching(provider: MockProvider, query: str = "") -> Iterator[Iterator[tuple[str, Any]]]:
    """The live stream, event by event."""
    with contextlib.closing(connect(provider.url)) as connection:
        path = "/" + provider.url.partition("://")[2].partition("/")[2]
        connection.request("GET", f"{path.rstrip('/')}/_mock/live{query}")
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/event-stream"

        def events() -> Iterator[tuple[str, Any]]:
            name = ""
            for line in response:
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    yield name, json.loads(line[6:])

        yield events()


def test_what_happens_is_told(provider: MockProvider) -> None:
    """A viewer hears of the levers, of each request and its end, and of every write of the exchange it looks at."""
    ask(provider.url, "before")
    first = provider.exchanges[0]
    with watching(provider, f"?exchange={first.id}") as events:
        seen = dict(next(events) for _ in range(5))
        assert set(seen) == {"levers", "gates", "scenario", "exchanges", "writes"}
        assert [(each["id"], each["outcome"]) for each in seen["exchanges"]["changed"]] == [(first.id, "complete")]
        assert "".join(write["text"] for write in seen["writes"]["writes"]).encode() == b"".join(first.sent.data)
        call(provider, "PUT", "/levers", {"limited": True})
        name, data = next(events)
        assert (name, data["limited"]) == ("levers", True)
        ask(provider.url, "<b>after</b>")
        name, data = next(events)
        assert name == "exchanges"
        (changed,) = data["changed"]
        assert (changed["prompt"], changed["status"]) == ("<b>after</b>", 429)


def test_many_requests_are_few_events(provider: MockProvider) -> None:
    """Hundreds of requests do not swamp a viewer: what happened between two looks is one event, and none is missing."""
    with watching(provider) as events:
        for _ in range(3):
            next(events)
        for _ in range(200):
            ask(provider.url)
        told: dict[int, str] = {}
        count = 0
        while len(told) < 200 or set(told.values()) != {"complete"}:
            name, data = next(events)
            count += name == "exchanges"
            told.update({each["id"]: each["outcome"] for each in data.get("changed", ())})
        assert count < 100


# ---------------------------------------------------------------------------------------------------- recordings


def test_an_exchange_is_saved_and_played(provider: MockProvider, shelf: Path) -> None:
    """What was sent is kept with its boundaries, without the client's key, and is played by its name from then on."""
    with streaming(provider.url, "keep this") as deltas:
        assert "".join(deltas) == "The usual."
    key = "sk-" + "secret1234567890" * 2
    ask(provider.url, headers={"Authorization": f"Bearer {key}"})
    streamed, keyed = provider.exchanges
    call(provider, "POST", "/recordings", {"exchange": streamed.id, "name": "kept"})
    call(provider, "POST", "/recordings", {"exchange": keyed.id, "name": "keyed"})
    recording = load(shelf / "kept.ndjson")
    assert [len(read.wire) for read in recording.reads] == list(streamed.sent.sizes)
    assert recording.reads[-1].wire[-200:] == streamed.sent.data[-1][-200:]
    assert recording.ending == "end"
    assert key.encode() not in (shelf / "keyed.ndjson").read_bytes()
    assert {each["name"] for each in call(provider, "GET", "/recordings")["recordings"]} >= {"kept", "keyed"}
    call(provider, "PUT", "/levers", {"recording": "kept"})
    with streaming(provider.url, "anything else") as deltas:
        assert "".join(deltas) == "The usual."
    assert provider.exchanges[-1].recording == "kept"
    assert refused(provider, "POST", "/recordings", {"exchange": streamed.id, "name": "kept"})[0] == 409


@pytest.mark.parametrize("name", ["", "../up", "/etc/x", "a/b", ".hidden", "a" * 65, "a\0b", "..", "a\\b", 3, None])
def test_a_recording_s_name_is_no_path(provider: MockProvider, shelf: Path, name: object) -> None:
    """Names that could lead out of the folder are refused, and nothing is written anywhere."""
    ask(provider.url)
    before = set(shelf.parent.rglob("*"))
    status, message = refused(provider, "POST", "/recordings", {"exchange": provider.exchanges[0].id, "name": name})
    assert (status, "name: expected" in message) == (400, True)
    assert set(shelf.parent.rglob("*")) == before


# ------------------------------------------------------------------------------------------------------ the page


def test_the_page_and_its_policy(server: MockProvider) -> None:
    """The page and its files come with a policy that runs nothing but them, and asks no other host for anything."""
    page = request("GET", server.url + "/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    text = page.body.decode()
    for file in ("console.js", "console.css"):
        assert f"/_mock/console/{file}" in text
        found = request("GET", f"{server.url}/_mock/console/{file}")
        assert found.status == 200
        assert found.headers["Content-Security-Policy"] == policy
        again = request("GET", f"{server.url}/_mock/console/{file}", headers={"If-None-Match": found.headers["ETag"]})
        assert again.status == 304
    for name in ("../levers.py", "..%2flevers.py", "__init__.py", "nothing.js", "", "a/b.js", "index.html/"):
        assert request("GET", f"{server.url}/_mock/console/{name}").status == 404


def test_without_a_console_there_is_no_page() -> None:
    """The fixture's servers and `--no-console` have nothing at `/`."""
    with MockProvider() as provider:
        assert request("GET", provider.url + "/").status == 404
        assert request("GET", provider.url + "/_mock/console/console.js").status == 404


def test_the_page_needs_no_token_and_its_calls_do() -> None:
    """With a token the page can be had, since it holds no data; every call, the live stream too, needs the token."""
    with MockProvider(console=True, token="s3cret") as provider:
        assert request("GET", provider.url + "/").status == 200
        for path in ("/live", "/levers", "/choices", "/recordings", "/scenario.toml"):
            assert request("GET", f"{provider.url}/_mock{path}").status == 401
        allowed = {"x-mockprovider-token": "s3cret"}
        assert request("GET", provider.url + "/_mock/levers", headers=allowed).status == 200


@pytest.mark.parametrize("path", ["/", "/_mock/console/console.js", "/_mock/live"])
def test_a_foreign_host_gets_nothing(server: MockProvider, path: str) -> None:
    """A page whose name was rebound to this machine reads neither the console nor what happens."""
    assert request("GET", server.url + path, headers={"Host": "evil.example"}).status == 421


@pytest.mark.parametrize("verb", ["pause", "step", "resume", "flood", "cut"])
def test_a_foreign_page_steers_nothing(server: MockProvider, verb: str) -> None:
    """Neither a form nor a fetch of another site's page moves anything."""
    for headers, body in (
        ({"Content-Type": "text/plain"}, b'{"exchange":1}'),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"exchange=1"),
        ({**JSON, "Origin": "http://evil.example"}, b'{"exchange":1}'),
        ({**JSON, "Sec-Fetch-Site": "cross-site"}, b'{"exchange":1}'),
    ):
        assert request("POST", f"{server.url}/_mock/streams/{verb}", body, headers).status in (403, 415)
    assert request("PUT", server.url + "/_mock/levers", b'{"limited":true}', {**JSON, "Origin": "null"}).status == 403


def test_over_long_inputs_are_refused(server: MockProvider) -> None:
    """A chain, a name or a body beyond all measure is an error, never a crash or a wait."""
    long = "a" * 1_000_000
    for body in ({"faults": long}, {"recording": long}, {"flavour": long}, {"reply": {long: 1}}):
        answer = request("PUT", server.url + "/_mock/levers", json.dumps(body), JSON)
        assert answer.status == 400
        assert len(answer.body) < 5_000_000
    assert request("GET", server.url + "/_mock/console/" + "a" * 5000 + ".js").status in (400, 404)
    assert ask(server.url).status == 200

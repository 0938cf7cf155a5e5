"""What no recording answers, asked of an upstream and recorded: when that happens, and what the client sees of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider import MockProvider, MockProviderError, NoMatchError
from mockprovider.recording import load_folder
from mockprovider.replay.library import Recordings
from tests.asking import CHAT, ask, prompt, request
from tests.test_replay import saved, whole
from tests.wiretap import tapping

if TYPE_CHECKING:
    from pathlib import Path


def through(upstream: MockProvider | str, folder: Path, mode: str, **settings: Any) -> MockProvider:
    """A provider that plays a folder and asks an upstream in this mode."""
    url = upstream if isinstance(upstream, str) else upstream.url
    return MockProvider(recordings=Recordings(folder, mode=mode, upstream=url, **{"speed": "instant", **settings}))


def names(folder: Path) -> list[str]:
    """What is recorded in the folder, by the prompts."""
    return sorted(each.request.json["messages"][0]["content"] for each in load_folder(folder))


def test_none_never_asks(tmp_path: Path) -> None:
    """With the mode `none` a miss is an error, and the upstream sees no connection."""
    with MockProvider() as upstream, through(upstream, saved(tmp_path, whole("kept")), "none") as provider:
        assert ask(provider.url, "unknown").status == 404
        assert upstream.exchanges == []
        with pytest.raises(NoMatchError):
            provider.check()


def test_new_episodes_are_recorded_and_played(tmp_path: Path) -> None:
    """What is unknown is asked once, passed on byte for byte, recorded, and played from then on."""
    with MockProvider() as upstream:
        upstream.on(messages="new").reply("said by the upstream")
        with through(upstream, tmp_path, "new_episodes", repeat=True) as provider:
            first, second = (ask(provider.url, "new", stream=True) for _ in range(2))
            assert (first.status, first.body) == (200, second.body)
            assert len(upstream.exchanges) == 1
            [recording] = load_folder(tmp_path)
            assert recording.content == first.body
            assert recording.ending == "end"
            made, played = provider.exchanges
            assert (made.recording, made.status, made.outcome) == (recording.name, 200, "complete")
            assert played.recording == recording.name
    with through("http://127.0.0.1:1", tmp_path, "new_episodes") as offline:
        assert ask(offline.url, "new", stream=True).body == first.body


def test_once_records_into_an_empty_folder_alone(tmp_path: Path) -> None:
    """`once` records what is asked while it began with nothing; with recordings there, a miss is an error."""
    with MockProvider() as upstream:
        with through(upstream, tmp_path / "new", "once") as provider:
            assert [ask(provider.url, text).status for text in ("one", "two")] == [200, 200]
        assert names(tmp_path / "new") == ["one", "two"]
        with through(upstream, tmp_path / "new", "once") as provider:
            assert [ask(provider.url, text).status for text in ("one", "three", "two")] == [200, 404, 200]
            with pytest.raises(NoMatchError):
                provider.check()
        assert len(upstream.exchanges) == 2


@pytest.mark.parametrize(("mode", "left"), [("all", ["Bye", "Hi!", "Hi!"]), ("rewrite", ["Hi!", "Hi!"])])
def test_all_and_rewrite_record_anew(tmp_path: Path, mode: str, left: list[str]) -> None:
    """`all` replaces the recordings of the same request, `rewrite` replaces all; neither plays any."""
    saved(tmp_path, whole("old"), whole("older"), whole("other", "Bye"))
    asked = json.loads(whole("").request.body)
    with MockProvider() as upstream, through(upstream, tmp_path, mode) as provider:
        upstream.on().reply("anew")
        assert all(b"anew" in request("POST", provider.url + CHAT, json.dumps(asked)).body for _ in range(2))
        assert len(provider.wait_for(2)) == len(upstream.exchanges) == 2
    assert names(tmp_path) == left
    assert all(b"anew" in each.content for each in load_folder(tmp_path) if each.request.json == asked)


def test_an_upstream_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    """Where the upstream cannot be reached the client gets a 502 that says so, and nothing is recorded."""
    with through("http://127.0.0.1:1", tmp_path, "new_episodes") as provider:
        answer = ask(provider.url, "new")
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_unreachable")
        assert list(tmp_path.iterdir()) == []


async def test_a_live_reply_passes_as_it_comes(tmp_path: Path) -> None:
    """What has arrived is with the client while the rest is still to come; how it arrived is how it is recorded."""
    body = prompt("new", stream=True)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with MockProvider() as upstream, through(upstream, tmp_path, "new_episodes") as provider:
        upstream.on().reply("one two three")
        upstream.hold("after-token-2")
        async with tapping(provider.url) as tap:
            await tap.send(head + body)
            await tap.until(lambda: b"two" in tap.data)
            assert b"three" not in tap.data
            upstream.release("after-token-2")
            response = await tap.response()
            await provider.wait_for_async()
            [recording] = load_folder(tmp_path)
            assert (len(tap.data), bytes(response.body)) == (len(recording.wire), recording.content)
            assert [read.data for read in tap.reads] != [tap.data]
            # The connection goes on.
            await tap.send(head + body)
            await tap.response()


async def test_a_client_that_leaves_leaves_the_upstream(tmp_path: Path) -> None:
    """The upstream sees its client go, and the recording says that it ended so."""
    body = prompt("new", stream=True)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with MockProvider() as upstream, through(upstream, tmp_path, "new_episodes") as provider:
        upstream.on().reply("one two three")
        upstream.hold("after-token-2")
        async with tapping(provider.url) as tap:
            await tap.send(head + body)
            await tap.until(lambda: b"two" in tap.data)
        assert [each.outcome for each in await upstream.wait_for_async()] == ["client-left"]
        assert [each.outcome for each in await provider.wait_for_async()] == ["client-left"]
        [recording] = load_folder(tmp_path)
        assert recording.ending == "client-left"
        assert b"two" in recording.content


@pytest.mark.parametrize(("fault", "ending"), [("reset(after=0tokens)", "reset"), ("close(after=0tokens)", "close")])
async def test_an_upstream_that_breaks_off_breaks_off_here(tmp_path: Path, fault: str, ending: str) -> None:
    """RST and FIN of the upstream are those that the client sees, and those that are recorded."""
    body = prompt("new", stream=True)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with MockProvider(faults=fault) as upstream, through(upstream, tmp_path, "new_episodes") as provider:
        async with tapping(provider.url) as tap:
            tap.strict = False
            await tap.send(head + body)
            assert await tap.end() == {"close": "eof"}.get(ending, ending)
        await provider.wait_for_async()
        assert [each.ending for each in load_folder(tmp_path)] == [ending]


async def test_faults_act_on_a_live_reply_and_not_on_its_recording(tmp_path: Path) -> None:
    """Faults of writes and bytes change what the client gets while it comes; recorded is what the upstream sent."""
    body = prompt("new", stream=True)
    head = f"POST %s{CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    async with MockProvider() as upstream, through(upstream, tmp_path, "all") as provider:
        upstream.on().reply("one two three")
        async with tapping(provider.url) as tap:
            tap.strict = False
            await tap.send((head % "/with/reset(after=40bytes)").encode() + body)
            assert await tap.end() == "reset"
            assert len(tap.data.partition(b"\r\n\r\n")[2]) == 40
        [recording] = load_folder(tmp_path)
        assert len(recording.content) > 40
        async with tapping(provider.url) as tap:
            await tap.send((head % "/with/dribble(bytes=30,seconds=0)").encode() + body)
            response = await tap.response()
            assert b"three" in bytes(response.body)
        seen = await provider.wait_for_async(2)
        assert [str(fault) for fault in seen[1].struck] == ["dribble(bytes=30,seconds=0)"]
        assert seen[1].sent.writes > 10


def test_faults_that_must_see_more_are_refused_for_a_live_reply(tmp_path: Path) -> None:
    """A fault that must know the end, or a reply to change, is refused with the reason; the upstream is not asked."""
    with MockProvider() as upstream, through(upstream, tmp_path, "new_episodes") as provider:
        for chain, why in (("truncate(after=50%25)", "before its end has come"), ("finish", "no reply to change")):
            answer = request("POST", f"{provider.url}/with/{chain}{CHAT}", prompt("new", stream=True))
            assert (answer.status, answer.json["error"]["code"]) == (400, "fault_not_applicable")
            assert why in answer.json["error"]["message"]
        assert upstream.exchanges == []


def test_the_key_of_the_upstream_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment takes the place of the client's own, is not recorded, and is not for foreign pages."""
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    settings = {"key_env": "UPSTREAM_KEY"}
    with MockProvider(api_keys=[key]) as upstream, through(upstream, tmp_path, "all", **settings) as provider:
        assert ask(provider.url, "new").status == 500
        with pytest.raises(MockProviderError, match="no variable UPSTREAM_KEY"):
            provider.check()
        monkeypatch.setenv("UPSTREAM_KEY", key)
        foreign = {"Origin": "https://elsewhere.example"}
        assert ask(provider.url, "new", headers=foreign).json["error"]["code"] == "foreign_origin"
        assert ask(provider.url, "new", headers={"Authorization": "Bearer sk-mockprovider"}).status == 200
    assert all(key.encode() not in file.read_bytes() for file in tmp_path.iterdir())

"""The marker `recording`: which recordings a test plays, who decides that, and what it does without them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mockprovider import MockProvider
from mockprovider.errors import NoMatchError, SettingError
from mockprovider.recording import RecordedHead, RecordedRequest, Recording, dumps, made
from mockprovider.recording_plugin import chosen, play
from tests.asking import CHAT, ask, request

if TYPE_CHECKING:
    from pathlib import Path

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi!"}]}).encode()


def recorded(text: str) -> Recording:
    """A recording of one answer to one prompt."""
    asked = RecordedRequest("POST", "/v1/chat/completions", (), BODY)
    return made(asked, RecordedHead("1.1", 200, "OK"), text.encode(), source={}, recorded="2026-11-22T21:00:00Z")


# ------------------------------------------------------------------------------------------------ who decides

PLACES = ("command", "marker", "fixture", "ini")


@pytest.mark.parametrize("given", [given for size in range(5) for given in itertools.combinations(PLACES, size)])
def test_the_first_of_command_marker_fixture_and_ini_decides(given: tuple[str, ...]) -> None:
    """Of the places that give a setting, the command line comes first, then marker, fixture, ini file and default."""
    values = {place: {"mode": place} if place in given else {} for place in PLACES}
    settings = chosen(values["command"], [values["marker"]], values["fixture"], values["ini"])
    assert settings["mode"] == (given[0] if given else "none")


def test_settings_are_decided_one_by_one() -> None:
    """A place that gives one setting leaves the others to the places behind it; what is empty is not given."""
    settings = chosen(
        {"mode": None, "upstream": ""}, [{"speed": 2}, {"speed": 3, "repeat": True}], {"mode": "once"}, {}
    )
    assert settings == {"mode": "once", "speed": 2, "repeat": True}


def test_an_unknown_setting_is_refused() -> None:
    """A misspelt setting is refused with the nearest one."""
    with pytest.raises(SettingError, match="unknown setting 'spead'; did you mean 'speed'"):
        chosen({}, [{"spead": 1}], {}, {})


# ------------------------------------------------------------------------------------------------ in a suite

SUITE = """
    import json, pytest, urllib.error, urllib.request

    def ask(provider, text="Hi!"):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
        return urllib.request.urlopen(provider.openai_url + "/chat/completions", body).read().decode()

    @pytest.mark.recording
    def test_own(mock_provider):
        assert ask(mock_provider) == "mine"
        assert mock_provider.exchanges[0].recording == "1"

    @pytest.mark.recording("named", speed=1)
    def test_named(mock_provider):
        assert [ask(mock_provider), ask(mock_provider)] == ["first", "second"]

    @pytest.mark.recording("single")
    def test_one_file(mock_provider):
        assert ask(mock_provider) == "alone"

    def test_not_marked(mock_provider):
        mock_provider.on().reply("generated")
        assert "generated" in ask(mock_provider)

    @pytest.mark.recording("named")
    def test_miss(mock_provider):
        with pytest.raises(urllib.error.HTTPError):
            ask(mock_provider, "Bye")

    @pytest.mark.recording("absent")
    def test_absent(mock_provider):
        pass

    @pytest.mark.recording(spead=1)
    def test_misspelt(mock_provider):
        pass
"""


ELSEWHERE = """
    import pytest
    from test_it import ask

    @pytest.fixture
    def mock_provider_recordings():
        return {"folder": "elsewhere", "repeat": True}

    @pytest.mark.recording("it")
    def test_elsewhere(mock_provider):
        assert [ask(mock_provider) for _ in range(3)] == ["there"] * 3
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite with recordings beside it."""
    pytester.makepyfile(test_it=SUITE, test_other=ELSEWHERE)
    folder = pytester.mkdir("elsewhere") / "it"
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(dumps(recorded("there")))
    saved = {
        "test_own/1": "mine", "named/1": "first", "named/2": "second", "single": "alone", "ignored/1": "not played",
    }  # fmt: skip
    for name, text in saved.items():
        file = pytester.path / "recordings" / "test_it" / f"{name}.ndjson"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dumps(recorded(text)))
    return pytester


def test_a_marked_test_plays_the_recordings_of_its_module(suite: pytest.Pytester) -> None:
    """A test has its own folder or file beside its module; others have none; a miss fails the test that it is in.

    `mock_provider_recordings` is overridden for a module or a suite, as every settings fixture is.
    """
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    result.assert_outcomes(passed=6, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_miss*",
            "*NoMatchError: no recording answers POST /v1/chat/completions: the nearest recording is 1:*",
            '*body.messages?0?.content: recorded "Hi!", asked "Bye"*',
            "*ERROR at setup of test_absent*",
            "*there are no recordings in */test_it/absent; to make them, run the test once with --mockprovider-record*",
            "*ERROR at setup of test_misspelt*",
            "*unknown setting 'spead'; did you mean 'speed'?*",
        ]
    )


def test_a_mode_without_an_upstream_is_refused(tmp_path: Path) -> None:
    """A mode that would record needs the base URL of what it records; a mode that does not reaches for nothing."""
    with MockProvider() as provider:
        with pytest.raises(SettingError, match="mode once: what is not recorded is asked of an upstream: give its"):
            play(provider, None, tmp_path / "test_it.py", "test_own", chosen({"mode": "once"}, [], {}, {}))
        folder = tmp_path / "recordings" / "test_it" / "test_own-a-b-1"
        folder.mkdir(parents=True)
        (folder / "a.ndjson").write_bytes(dumps(recorded("kept")))
        settings = chosen({"upstream": "http://127.0.0.1:1"}, [], {}, {})
        play(provider, None, tmp_path / "test_it.py", "test_own[a/b-1]", settings)
        assert request("POST", provider.url + CHAT, BODY).body == b"kept"
        assert request("POST", provider.url + CHAT, BODY).status == 404
        with pytest.raises(NoMatchError):
            provider.check()


def test_loading_the_plugin_stays_cheap() -> None:
    """The plugin's part for recordings loads no HTTP library, no event loop, and no part of the replay."""
    code = "import sys, mockprovider.recording_plugin; print([n for n in sys.modules if n in ('asyncio', 'aiohttp') or"
    code += " n.startswith(('mockprovider.re', 'mockprovider.f'))])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ended.stdout == "['mockprovider.recording_plugin']\n"


def test_python_has_the_same(tmp_path: Path) -> None:
    """A rule may answer with a recording, whatever it was made for; a provider may play a folder from some time on."""

    file = tmp_path / "one.ndjson"
    file.write_bytes(dumps(recorded("by a rule")))
    with MockProvider() as provider:
        provider.on(messages="first").replay(file, speed="instant", times=1).then_reply("second")
        provider.on().replay(recorded("loaded"), faults="header(key=x-a,value=b)")
        assert ask(provider.url, "the first").body == b"by a rule"
        assert ask(provider.url, "the first").text == "second"
        answer = ask(provider.url, "any")
        assert (answer.body, answer.headers["x-a"]) == (b"loaded", "b")
        named = [(exchange.recording, exchange.rule) for exchange in provider.exchanges]
        assert [name for name, _ in named] == ["one", None, ""]
        assert [rule is not None and rule.partition(" (")[0] for _, rule in named] == ["rule 1", "rule 1", "rule 2"]
        provider.replay(tmp_path)
        asked = request("POST", provider.url + CHAT, BODY)
        assert (asked.body, provider.exchanges[-1].recording, provider.exchanges[-1].rule) == (
            b"by a rule",
            "one",
            None,
        )

"""The pytest plugin, as the suites of other projects use it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import mockprovider.server.runner  # noqa: F401  once, here, and not in every run of an inner suite
from mockprovider import MockProvider, MockProviderError, NoMatchError
from tests.asking import ask
from tests.suites import Suite

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    """Makes a suite of tests and runs it."""
    return Suite(pytester)


# ------------------------------------------------------------------------------------------------ the fixture


def test_every_test_has_a_namespace_of_its_own(suite: Suite) -> None:
    """Rules, exchanges, gates and streams of one test are gone in the next, which gets no late one of theirs."""
    result = suite.run(
        """
        first = []

        def test_one(mock_provider):
            first.append(mock_provider)
            mock_provider.on().reply("one")
            mock_provider.on(last="slow").reply("a", pace="ttft=3600")
            mock_provider.hold("before-end")
            host = mock_provider.url.removeprefix("http://").partition("/")[0]
            leaving = http.client.HTTPConnection(host)
            body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "slow"}]})
            leaving.request("POST", mock_provider.url.removeprefix("http://" + host) + "/v1/chat/completions", body)
            mock_provider.wait_for(outcome="open")
            first.append(leaving)

        def test_two(mock_provider):
            assert mock_provider.url != first[0].url
            assert (mock_provider.exchanges, mock_provider.gates) == ([], {})
            assert ask(mock_provider.url)[1] != "one"
            assert [e.outcome for e in first[0].exchanges] == ["stopped"]
            assert ask(first[0].url) == (404, "This namespace is closed or was never opened.")
            assert len(mock_provider.exchanges) == 1
            first[1].close()
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=2)


def test_what_goes_wrong_on_the_servers_side_fails_the_test(suite: Suite) -> None:
    """Unmatched requests and errors of answer functions are errors of the test that caused them, and of no other."""
    result = suite.run(
        """
        def test_unmatched(mock_provider):
            mock_provider.on(model="o3").reply("a")
            assert ask(mock_provider.url)[0] == 404

        def test_broken(mock_provider):
            mock_provider.on().reply(lambda exchange: 1 / 0)
            assert ask(mock_provider.url)[0] == 500

        def test_expected(mock_provider):
            mock_provider.on(model="o3").reply("a")
            ask(mock_provider.url)
            with pytest.raises(Exception, match="no rule answers"):
                mock_provider.check()

        def test_errors_that_were_asked_for(mock_provider):
            mock_provider.on().error(500)
            assert ask(mock_provider.url)[0] == 500

        async def test_in_loop(mock_provider_in_loop, aiohttp_client):
            mock_provider_in_loop.on(model="o3").reply("a")
            client = await aiohttp_client(mock_provider_in_loop.app)
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi!"}]}
            async with client.post("/v1/chat/completions", json=body) as response:
                assert response.status == 404
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=5, errors=3)
    output = result.stdout.str()
    assert output.count("NoMatchError: no rule answers POST /v1/chat/completions: the nearest rule is rule 1") >= 2
    assert "model: expected glob('o3'), got 'gpt-5'" in output
    assert "MockProviderError: the mock provider failed:" in output
    assert "ZeroDivisionError: division by zero" in output


def test_sync_and_async_tests_use_it(suite: Suite) -> None:
    """The fixture serves blocking clients in sync tests and asynchronous ones that wait without blocking."""
    result = suite.run(
        """
        import aiohttp

        def test_sync(mock_provider):
            mock_provider.on().reply("a")
            assert ask(mock_provider.url) == (200, "a")
            assert mock_provider.wait_for()[0].outcome == "complete"

        async def test_async(mock_provider):
            mock_provider.on().reply("One two")
            mock_provider.hold("after-first-token")
            body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi!"}]}
            async with aiohttp.ClientSession() as session:
                async with session.post(mock_provider.openai_url + "/chat/completions", json=body) as response:
                    text = b""
                    while b"One" not in text:
                        text += await response.content.readany()
                    assert b"two" not in text
                    assert mock_provider.release("after-first-token") == 1
                    assert b"two" in await response.content.read()
            assert [e.outcome for e in await mock_provider.wait_for_async()] == ["complete"]
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=2)


def test_the_in_loop_provider_runs_in_an_application_or_by_itself(suite: Suite) -> None:
    """`mock_provider_in_loop` serves `aiohttp_client(provider.app)` and `async with`; held streams delay no end."""
    result = suite.run(
        """
        import asyncio

        import aiohttp

        BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi!"}]}

        async def test_application(mock_provider_in_loop, aiohttp_client):
            mock_provider_in_loop.on().reply("One")
            client = await aiohttp_client(mock_provider_in_loop.app)
            async with client.post("/v1/chat/completions", json=BODY) as response:
                assert b"One" in await response.read()
            mock_provider_in_loop.hold("before-end")
            await client.post("/v1/chat/completions", json=BODY)
            asking = asyncio.create_task(client.get("/_mock/exchanges/wait?count=9&timeout=60"))
            while not mock_provider_in_loop.gates["before-end"]:
                await asyncio.sleep(0)

        async def test_a_client_that_leaves(mock_provider_in_loop, aiohttp_client):
            client = await aiohttp_client(mock_provider_in_loop.app)
            mock_provider_in_loop.hold("before-end")
            response = await client.post("/v1/chat/completions", json=BODY)
            response.close()
            [left] = await mock_provider_in_loop.wait_for_async()
            assert left.outcome == "client-left"

        async def test_by_itself(mock_provider_in_loop):
            async with mock_provider_in_loop as provider, aiohttp.ClientSession() as session:
                async with session.post(provider.openai_url + "/chat/completions", json=BODY) as response:
                    assert response.status == 200
                    await response.read()

        def test_on_a_thread(mock_provider_in_loop):
            mock_provider_in_loop.start()
            assert ask(mock_provider_in_loop.url)[0] == 200

        def test_unused(mock_provider_in_loop):
            pass

        def test_nothing_is_left():
            assert servers() == 0
        """.replace("\n        ", "\n"),
        "--timeout=30",
    )
    result.assert_outcomes(passed=6)


def test_the_environment_is_set_for_one_test(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mock_provider_env` points the SDKs at the provider, past proxies, and takes everything back after the test."""
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    result = suite.run(
        """
        import os

        import openai

        def test_env(mock_provider, mock_provider_env):
            assert os.environ["OPENAI_BASE_URL"] == mock_provider_env["OPENAI_BASE_URL"] == mock_provider.openai_url
            assert {"127.0.0.1", "localhost", "::1"} <= set(os.environ["NO_PROXY"].split(","))
            mock_provider.on().reply("Hello")
            with openai.OpenAI() as client:
                messages = [{"role": "user", "content": "Hi!"}]
                whole = client.chat.completions.create(model="m", messages=messages)
            assert whole.choices[0].message.content == "Hello"

        @pytest.mark.mockprovider(api_keys=["sk-one"])
        def test_key(mock_provider, mock_provider_env):
            assert os.environ["OPENAI_API_KEY"] == "sk-one"

        def test_after():
            assert "OPENAI_BASE_URL" not in os.environ
            assert os.environ["OPENAI_API_KEY"] == "mine"
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=3)


# ------------------------------------------------------------------------------------------------ precedence

SHOW = """
@CLASS_MARK
class TestSettings:
    @MARK
    def test_settings(self, mock_provider):
        with urllib.request.urlopen(mock_provider.url + "/_mock/health") as response:
            health = json.load(response)
        print("SETTINGS", health["seed"], health["pace"].partition(",")[0])
"""
FIXTURE = """
import pytest

@pytest.fixture(scope="session")
def mock_provider_settings():
    return {}
"""


@pytest.mark.parametrize(
    ("command_line", "mark", "class_mark", "fixture", "ini", "expected"),
    [
        ({}, None, None, None, {}, "1 ttft=0"),
        ({}, None, None, None, {"seed": 2, "pace": "ttft=2"}, "2 ttft=2"),
        ({}, None, None, {"seed": 3}, {"seed": 2, "pace": "ttft=2"}, "3 ttft=2"),
        ({}, None, {"seed": 4}, {"seed": 3, "pace": "ttft=3"}, {"seed": 2}, "4 ttft=3"),
        ({}, {"seed": 5}, {"seed": 4, "pace": "ttft=4"}, {"seed": 3}, {"seed": 2}, "5 ttft=4"),
        ({"seed": 6}, {"seed": 5, "pace": "ttft=5"}, {"seed": 4}, {"seed": 3}, {"seed": 2}, "6 ttft=5"),
        ({"seed": 6, "pace": "ttft=6"}, {"seed": 5, "pace": "ttft=5"}, None, None, {}, "6 ttft=6"),
        ({"seed": 0}, None, None, None, {"pace": "ttft=2"}, "0 ttft=2"),
        ({"pace": "ttft=6"}, None, None, {"pace": "ttft=3"}, {}, "1 ttft=6"),
        ({}, {}, None, {"pace": "ttft=3"}, {}, "1 ttft=3"),
    ],
)
def test_settings_have_one_precedence(
    command_line: Mapping[str, object],
    mark: Mapping[str, object] | None,
    class_mark: Mapping[str, object] | None,
    fixture: Mapping[str, object] | None,
    ini: Mapping[str, object],
    expected: str,
    suite: Suite,
) -> None:
    """Command line before marker, the nearest first, before fixture, ini file and default, setting by setting."""

    def marker(settings: Mapping[str, object] | None) -> str:
        written = ", ".join(f"{name}={value!r}" for name, value in (settings or {}).items())
        return "" if settings is None else f"@pytest.mark.mockprovider({written})"

    result = suite.run(
        SHOW.replace("@CLASS_MARK", marker(class_mark)).replace("@MARK", marker(mark)),
        "-s",
        *(f"--mockprovider-{name}={value}" for name, value in command_line.items()),
        conftest="" if fixture is None else FIXTURE.replace("{}", repr(fixture)),
        ini="".join(f"mockprovider_{name} = {value}\n" for name, value in ini.items()),
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*SETTINGS {expected}"])


def test_a_marker_gives_a_test_a_server_of_its_own(suite: Suite) -> None:
    """Every setting can be given by the marker, and holds for the marked test alone."""
    result = suite.run(
        """
        @pytest.mark.mockprovider(models=["m"], reply="marked", scenario=None)
        def test_marked(mock_provider):
            assert ask(mock_provider.url, model="m") == (200, "marked")
            assert ask(mock_provider.url, model="n")[0] == 404
            assert "~" not in mock_provider.url

        def test_unmarked(mock_provider):
            assert ask(mock_provider.url, model="n")[0] == 200
            assert servers() == 1
        """.replace("\n        ", "\n"),
        "--strict-markers",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("mark", "options", "ini", "said"),
    [
        ("@pytest.mark.mockprovider('fast')", (), "", "*the marker mockprovider takes settings by name only*"),
        ("@pytest.mark.mockprovider(sede=1)", (), "", "*SettingError: unknown setting 'sede'; did you mean 'seed'?*"),
        ("@pytest.mark.mockprovider(pace='warp')", (), "", "*SettingError: pace: unknown profile 'warp'*"),
        ("", (), "mockprovider_seed = x", "*mockprovider: seed: expected a whole number, got 'x'*"),
        ("", ("--mockprovider-pace=warp",), "", "*SettingError: pace: unknown profile 'warp'*"),
    ],
)
def test_an_impossible_setting_fails_the_test(
    mark: str, options: tuple[str, ...], ini: str, said: str, suite: Suite
) -> None:
    """A wrong marker, option or ini setting is an error of the test that says what is wrong."""
    result = suite.run(f"{mark}\ndef test_it(mock_provider): pass\n", *options, ini=ini)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_help_tells_options_and_marker(suite: Suite) -> None:
    """The options, the ini settings and the marker are in pytest's own help."""
    suite.run("").stdout.fnmatch_lines(["*no tests ran*"])
    shown = suite.pytester.runpytest_inprocess("--help").stdout.str()
    assert all(word in shown for word in ("--mockprovider-seed", "--mockprovider-pace", "mockprovider_seed"))
    assert "@pytest.mark.mockprovider(seed=" in suite.pytester.runpytest_inprocess("--markers").stdout.str()


# ------------------------------------------------------------------------------------------------ what it costs


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    """The plugin brings no aiohttp, no faker, no asyncio, and of our rooms those alone that import nothing."""
    code = (
        "import sys, pytest; before = set(sys.modules); import mockprovider.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    light = ["mockprovider", "mockprovider.errors", "mockprovider.pytest_plugin", "mockprovider.recording_plugin"]
    assert ended.stdout.split() == light


def test_the_fixture_costs_nothing_unless_it_is_used(suite: Suite) -> None:
    """A suite that does not use the fixture starts no thread and loads neither aiohttp nor the server."""
    result = suite.run(
        """
        import sys

        def test_without():
            assert threading.active_count() == 1
            ours = {name for name in sys.modules if name.startswith("mockprovider")}
            light = {"pytest_plugin", "recording_plugin", "errors"}
            assert ours == {"mockprovider", *(f"mockprovider.{name}" for name in light)}
            assert "aiohttp" not in sys.modules
        """.replace("\n        ", "\n"),
        "-p", "no:aiohttp", "-p", "no:asyncio",
        "-W", "ignore::pytest.PytestConfigWarning",
        apart=True,
    )  # fmt: skip
    result.assert_outcomes(passed=1)


def test_workers_have_servers_of_their_own(suite: Suite) -> None:
    """Under xdist every worker has a server on a port of its own, and the tests do not see each other."""
    result = suite.run(
        """
        @pytest.mark.parametrize("number", range(6))
        def test_it(mock_provider, number, worker_id):
            mock_provider.on().reply(f"{number}")
            assert ask(mock_provider.url) == (200, f"{number}")
            assert len(mock_provider.exchanges) == 1
            print("SERVED", mock_provider.url.rpartition("/")[0])
        """.replace("\n        ", "\n"),
        "-n", "2", "-rP",
        apart=True,
    )  # fmt: skip
    result.assert_outcomes(passed=6)
    served = {line for line in result.outlines if line.startswith("SERVED")}
    assert len(served) == 2


# ------------------------------------------------------------------------------------------------ this very session


def test_the_fixture_is_here(mock_provider: MockProvider, mock_provider_env: dict[str, str]) -> None:
    """The plugin is installed by its entry point, and its fixtures are what they are typed as."""
    assert isinstance(mock_provider, MockProvider)
    assert mock_provider_env["OPENAI_BASE_URL"] == mock_provider.openai_url
    assert ask(mock_provider.url).status == 200


def test_a_check_raises_once(mock_provider: MockProvider) -> None:
    """A test that expects unmatched requests checks for them itself, and its teardown does not fail again."""
    mock_provider.on(model="o3").reply("a")
    ask(mock_provider.url)
    with pytest.raises(NoMatchError) as caught:
        mock_provider.check()
    assert isinstance(caught.value, MockProviderError)
    mock_provider.check()

"""The toolkit in other projects' suites: markers, options, network guard, environment, event loops, and no traces."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mockprovider.configuration import settings_from
from mockprovider.guard import Guard, OutsideError
from mockprovider.matching import FIELDS
from mockprovider.provider import MockProvider
from mockprovider.resilience import RULES
from mockprovider.server.runner import LoopServer, ThreadServer
from tests.asking import ask
from tests.suites import Suite

if TYPE_CHECKING:
    from collections.abc import Mapping

FAR = ("192.0.2.1", 9)  # RFC 5737: for documentation, so nobody's


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    """Makes a suite of tests and runs it."""
    return Suite(pytester)


# ------------------------------------------------------------------------------------------------ the catalogue


def test_a_marked_test_runs_once_for_each_case(suite: Suite) -> None:
    """Cases become tests with their names as ids, whether or not the test asks for the fixture `pathology`."""
    result = suite.run(
        """
        @pytest.mark.pathologies("sse-crlf*", "sse-bom", legal=True)
        def test_with(pathology, mock_provider):
            assert pathology.openai_url == mock_provider.case_url(pathology.name)
            assert (pathology.expect, pathology.seconds) == ("deliver", 0)

        @pytest.mark.pathologies("sse-eof-no-finish", "http-500-json")
        class TestWithout:
            def test_it(self, mock_provider):
                assert mock_provider.exchanges == []

        @pytest.mark.pathologies("ant-index-gap", dialect="anthropic-messages")
        def test_anthropic(pathology):
            assert pathology.base_url == pathology.anthropic_url

        @pytest.mark.pathologies("think-gap-*", can="tools")
        @pytest.mark.parametrize("number", [1, 2])
        def test_more(pathology, number):
            assert pathology.accept == ("keep",)
        """,
        "-v",
    )
    result.assert_outcomes(passed=8)
    for name in (
        "test_with[sse-crlf-split]",
        "TestWithout::test_it[http-500-json]",
        "test_more[think-gap-false-positive-1]",
    ):
        assert name in result.stdout.str()


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("@pytest.mark.pathologies('sse-crfl')", "the marker pathologies: no case is called 'sse-crfl'; did you mean"),
        ("@pytest.mark.pathologies(leagl=True)", "the marker pathologies: select() got an unexpected keyword"),
        ("", "the fixture pathology belongs to tests with the marker pathologies"),
    ],
)
def test_a_marker_that_chooses_nothing_is_an_error(mark: str, said: str, suite: Suite) -> None:
    """A wrong name or word in the marker is an error of collection, and so is the fixture without the marker."""
    result = suite.run(f"{mark}\ndef test_it(pathology): pass\n")
    result.assert_outcomes(errors=1)
    assert said in result.stdout.str()
    assert "During handling" not in result.stdout.str()


def test_one_line_tests_a_client(suite: Suite) -> None:
    """A suite of one line runs a client against cases; a client that loses text fails, and is told where."""
    result = suite.run(
        """
        def lossy(base):
            status, said = 200, ""
            host, _, path = base.removeprefix("http://").partition("/")
            connection = http.client.HTTPConnection(host, timeout=20)
            body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi!"}]})
            connection.request("POST", f"/{path}/chat/completions", body)
            text = ""
            for line in connection.getresponse().read().split(b"\\n"):
                if line.startswith(b"data: {"):
                    text += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            connection.close()
            return text

        def test_suite(mock_provider):
            mock_provider.assert_survives(lossy, "sse-crlf", "sse-no-space")

        @pytest.mark.pathologies("sse-crlf", "sse-no-space")
        def test_each(pathology):
            pathology.assert_survives(lossy)
        """
    )
    result.assert_outcomes(passed=1, failed=2)
    output = result.stdout.str()
    assert "the client did not survive 1 of 2 cases:" in output
    assert "sse-no-space: deliver: the program reported success with 0 of 198 characters" in output
    assert "mockprovider/provider.py" not in output  # the test's own line is shown, none of ours


# ------------------------------------------------------------------------------------------------ speed

SHOW = """
import time
from pathlib import Path

@MARK
def test_speed(mock_provider):
    print("SPEED", mock_provider.pathology("slow-headers").seconds)
"""


@pytest.mark.parametrize(
    ("command_line", "mark", "fixture", "ini", "seconds"),
    [
        ("", "", "", "", "1.0"),
        ("", "", "", "mockprovider_speed = 2", "0.5"),
        ("", "", "{'speed': 4}", "mockprovider_speed = 2", "0.25"),
        ("", "speed=5", "{'speed': 4}", "mockprovider_speed = 2", "0.2"),
        ("--mockprovider-speed=8", "speed=5", "{'speed': 4}", "mockprovider_speed = 2", "0.125"),
        ("--mockprovider-speed=8", "", "", "", "0.125"),
    ],
)
def test_speed_has_the_precedence_of_all_settings(
    command_line: str, mark: str, fixture: str, ini: str, seconds: str, suite: Suite
) -> None:
    """Command line before marker before fixture before ini file before 1."""
    settings = f"import pytest\n@pytest.fixture(scope='session')\ndef mock_provider_settings(): return {fixture}\n"
    result = suite.run(
        SHOW.replace("@MARK", f"@pytest.mark.mockprovider({mark})" if mark else ""),
        "-s",
        *filter(None, [command_line]),
        conftest=settings if fixture else "",
        ini=ini,
    )
    result.stdout.fnmatch_lines([f"*SPEED {seconds}"])


def test_an_impossible_speed_fails_the_test(suite: Suite) -> None:
    """What is no number is refused with the setting's name, wherever it stands."""
    result = suite.run("def test_it(mock_provider): pass\n", ini="mockprovider_speed = fast")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*mockprovider: speed: expected a number, got 'fast'*"])


# ------------------------------------------------------------------------------------------------ the network guard

REACHING = """
import asyncio
import socket

def reach():
    with pytest.raises(OSError, match="the network guard is on.*connect to 192.0.2.1 port 9"):
        socket.create_connection(("192.0.2.1", 9), 1)
"""


def test_the_guard_fails_whoever_reaches_for_another_machine(suite: Suite) -> None:
    """By fixture and by marker; the error is raised where it happens, and the test fails though it is swallowed."""
    result = suite.run(
        REACHING
        + """
def test_fixture(loopback_only):
    reach()

@pytest.mark.loopback_only
def test_marker(mock_provider):
    reach()

@pytest.mark.loopback_only(allow=["192.0.2.1"])
def test_allowed():
    with pytest.raises(OSError) as caught:
        with socket.socket() as made:
            made.settimeout(0.001)
            made.connect(("192.0.2.1", 9))
    assert "network guard" not in str(caught.value)

@pytest.mark.loopback_only
class TestMeant:
    def test_meant(self, loopback_only):
        reach()
        assert loopback_only.attempts == ["connect to 192.0.2.1 port 9"]
        loopback_only.attempts.clear()

    def test_loopback(self, mock_provider):
        assert ask(mock_provider.url)[0] == 200

    async def test_in_a_loop(self, loopback_only):
        with pytest.raises(OSError, match="look up somewhere.example port 443"):
            await asyncio.open_connection("somewhere.example", 443)
        loopback_only.attempts.clear()

@pytest.mark.loopback_only("host")
def test_wrong():
    pass
"""
    )
    result.assert_outcomes(passed=6, errors=3)
    output = result.stdout.str().partition("short test summary")[0]  # which repeats the errors, in CI in full
    assert output.count("this test reached for other machines:\n  connect to 192.0.2.1 port 9") == 2
    assert "the marker loopback_only takes allow=[...], a list of hosts, and nothing else" in output


@pytest.mark.parametrize(("options", "ini"), [(("--mockprovider-loopback-only",), ""), ((), "loopback_only = true")])
def test_the_guard_may_be_on_for_all_tests(options: tuple[str, ...], ini: str, suite: Suite) -> None:
    """The option and the ini setting put every test under guard."""
    tests = REACHING + "def test_it():\n    reach()\n"
    ini = f"mockprovider_{ini}" if ini else ""
    suite.run(tests, *options, ini=ini).assert_outcomes(passed=1, errors=1)


def test_the_guard_is_not_there_unless_it_is_asked_for(suite: Suite) -> None:
    """Without option, setting, marker and fixture the guard is not even imported."""
    without = "import sys\n\ndef test_it():\n    assert 'mockprovider.guard' not in sys.modules\n"
    suite.run(without, apart=True).assert_outcomes(passed=1)


def test_the_guard_sees_every_way_out_and_lets_the_loopback_be() -> None:
    """Connections, datagrams and look-ups on any thread are seen; local sockets, addresses and loopbacks pass."""
    attempts: list[str] = []

    def elsewhere() -> None:
        with pytest.raises(OutsideError):
            socket.gethostbyname("far.example")

    with Guard(["near.example"]) as guard, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for reach in (
            lambda: socket.create_connection(FAR, 1),
            lambda: socket.getaddrinfo("far.example", 443),
            lambda: socket.gethostbyname("FAR.example"),
            lambda: datagrams.sendto(b"x", FAR),
            lambda: datagrams.sendmsg([b"x"], [], 0, FAR),
            lambda: datagrams.connect(FAR),
        ):
            with pytest.raises(OutsideError):
                reach()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(guard.attempts) == 7
        attempts += guard.attempts
        guard.attempts.clear()
        socket.getaddrinfo("localhost", 80)
        socket.getaddrinfo("192.0.2.1", 80)
        socket.getaddrinfo(None, 80)
        datagrams.sendto(b"x", ("127.0.0.1", 9))
        here, there = socket.socketpair()
        here.close()
        there.close()
        assert all(map(guard.allows, (None, "localhost", "a.localhost", "127.9.9.9", "::1", "NEAR.example", b"::1%lo")))
        assert not guard.attempts
    assert attempts[:2] == ["connect to 192.0.2.1 port 9", "look up far.example port 443"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(FAR)  # sends nothing, and nobody is on guard any more


# ------------------------------------------------------------------------------------------------ environment

CLIENTS = {
    "openai": ("import openai", "str(openai.OpenAI().base_url)", "{openai}/"),
    "anthropic": ("import anthropic", "str(anthropic.Anthropic().base_url)", "{root}"),
    "groq": ("import groq", "str(groq.Groq().base_url)", "{root}"),
    "ollama": ("import ollama", "str(ollama.Client()._client.base_url)", "{root}/"),
    "google": (
        "from google import genai",
        "str(genai.Client()._api_client._http_options.base_url)",
        "{root}",
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_sdks_find_the_provider_by_their_environment(
    client: str, mock_provider: MockProvider, mock_provider_env: Mapping[str, str], recwarn: pytest.WarningsRecorder
) -> None:
    """Each vendor's SDK, made without arguments, has the provider's base URL and a key."""
    module, made, expected = CLIENTS[client]
    pytest.importorskip(module.split()[-1] if module.startswith("import") else "google.genai")
    scope: dict[str, object] = {}
    exec(module, scope)
    found = str(eval(made, scope)).rstrip("/")
    assert found == expected.format(openai=mock_provider.openai_url, root=mock_provider.url).rstrip("/")
    gc.collect()  # clients that were not closed are no concern of this test
    recwarn.clear()


def test_keys_and_bases_are_set_for_every_library(mock_provider: MockProvider) -> None:
    """litellm, LangChain and others read names of their own; every key is there, and no proxy stands between."""
    env = mock_provider.env()
    assert {name for name, value in env.items() if value == mock_provider.openai_url} == {
        "OPENAI_BASE_URL", "OPENAI_API_BASE", "MISTRAL_BASE_URL", "MISTRAL_API_BASE", "GROQ_API_BASE",
        "DEEPSEEK_API_BASE", "OPENROUTER_API_BASE", "XAI_API_BASE",
    }  # fmt: skip
    assert {name for name, value in env.items() if value == mock_provider.url} == {
        "ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_BASE", "GROQ_BASE_URL",
        "OLLAMA_HOST", "OLLAMA_API_BASE",
    }  # fmt: skip
    keys = {name for name, value in env.items() if value == "sk-mockprovider"}
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"} <= keys
    assert {"127.0.0.1", "localhost"} <= set(env["NO_PROXY"].split(","))


# ------------------------------------------------------------------------------------------------ event loops


LOOPS = """
import httpx
import pytest
import mockprovider

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi!"}]}

MARK
async def test_loop(mock_provider):
    mock_provider.on().reply("One two")
    mock_provider.hold("after-first-token")
    async with httpx.AsyncClient(trust_env=False) as client:
        async with client.stream("POST", mock_provider.openai_url + "/chat/completions", json=BODY) as response:
            text = ""
            async for part in response.aiter_text():
                text += part
                if "One" in text and mock_provider.gates:
                    assert mock_provider.release("after-first-token") == 1
    assert "two" in text
    assert mock_provider.wait_for()[0].outcome == "complete"
    mock_provider.assert_requested(1, model="m")
    mock_provider.assert_resilient()
"""


@pytest.mark.parametrize(
    ("mark", "ini", "passed"),
    [
        ("@pytest.mark.asyncio", "asyncio_mode = strict", 1),
        ("", "asyncio_mode = auto", 1),
        ("@pytest.mark.anyio", "asyncio_mode = strict", 2),
    ],
)
def test_every_kind_of_async_test_uses_it(mark: str, ini: str, passed: int, pytester: pytest.Pytester) -> None:
    """pytest-asyncio in both modes, and anyio on asyncio and trio: gates, waits and assertions in a coroutine."""
    if "anyio" in mark:
        pytest.importorskip("trio")
    pytester.makepyfile(LOOPS.replace("MARK", mark))
    pytester.makeini(f"[pytest]\n{ini}\nasyncio_default_fixture_loop_scope = function\n")
    unneeded = ("hypothesispytest", "cacheprovider", "xdist", "faker", "aiohttp")
    result = pytester.runpytest_subprocess(*(word for plugin in unneeded for word in ("-p", f"no:{plugin}")))
    result.assert_outcomes(passed=passed)


# ------------------------------------------------------------------------------------------------ help


def test_pytest_tells_of_markers_options_and_fixtures(suite: Suite) -> None:
    """Every marker, option and ini setting is in pytest's own lists, with a sentence."""
    suite.run("")
    markers = suite.pytester.runpytest_inprocess("--markers").stdout.str()
    assert "@pytest.mark.pathologies(*patterns, legal=None, can=(), dialect='openai-chat'): run this test" in markers
    assert "@pytest.mark.loopback_only(allow=()): fail this test" in markers
    assert "@pytest.mark.mockprovider(seed=" in markers
    shown = suite.pytester.runpytest_inprocess("--help").stdout.str()
    for word in ("--mockprovider-speed=FACTOR", "--mockprovider-loopback-only", "mockprovider_speed", "_loopback_only"):
        assert word in shown
    fixtures = suite.pytester.runpytest_inprocess("--fixtures").stdout.str()
    for name in ("mock_provider", "mock_provider_env", "mock_provider_in_loop", "pathology", "loopback_only"):
        assert re.search(rf"^{name}( \[\w+ scope\])? -- ", fixtures, re.MULTILINE), name


# ------------------------------------------------------------------------------------------------ no traces

USES = 10_000
ASKED = 200
"""Of those, how many ask something, too; a request costs a hundred times what the fixture does."""
WARM = 600
"""Uses before them, which fill the caches of replies (256) and patterns (512)."""


def test_ten_thousand_uses_leave_nothing_behind() -> None:
    """No thread, task, file descriptor or namespace stays, memory does not grow, and the last use is like the first."""
    server = ThreadServer(LoopServer(*settings_from(None, {"seed": 1})))
    server.start()
    try:
        for _ in range(WARM):
            use(server, asks=True)
        before, batches = traces(server), []
        for _ in range(20):
            began = time.perf_counter()
            for number in range(USES // 20):
                use(server, asks=number < ASKED // 20)
            batches.append(time.perf_counter() - began)
        after = traces(server)
        assert after["threads"] == before["threads"]
        assert after["tasks"] == before["tasks"]
        assert after["namespaces"] == before["namespaces"]
        assert after["descriptors"] <= before["descriptors"]
        assert after["objects"] - before["objects"] < USES / 100
        assert min(batches[-5:]) < 3 * min(batches[:5])
    finally:
        server.stop()


def use(server: ThreadServer, *, asks: bool) -> None:
    """What one test does with the fixture."""
    provider = MockProvider.on_shared(server)
    provider.on(model="gpt-*").reply("Hello")
    if asks:
        assert ask(provider.url).text == "Hello"
        provider.delivered("Hello")
        provider.assert_resilient()
    else:
        assert provider.openai_url
    provider.finish()


def traces(server: ThreadServer) -> dict[str, int]:
    """What there is of everything that could be left behind."""
    server.call(lambda: None)
    gc.collect()
    return {
        "threads": threading.active_count(),
        "tasks": server.call(lambda: len(asyncio.all_tasks())),
        "namespaces": len(server.server.handler.namespaces),
        "descriptors": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "objects": len(gc.get_objects()),
    }


def test_a_fixture_that_is_not_asked_opens_nothing() -> None:
    """A provider that nothing is asked of costs no namespace, and closing it no turn of the server's thread."""
    server = ThreadServer(LoopServer(*settings_from(None, {"seed": 1})))
    server.start()
    try:
        provider = MockProvider.on_shared(server)
        provider.finish()
        provider.finish()
        assert list(server.server.handler.namespaces) == [""]
        with pytest.raises(Exception, match="closed before anything was asked of it"):
            _ = provider.url
    finally:
        server.stop()


# ------------------------------------------------------------------------------------------------ the documents

ROOT = Path(__file__).resolve().parent.parent


def test_the_examples_are_those_of_the_documentation() -> None:
    """Every file of tests/examples stands in docs/pytest.md; that the texts are equal is a test of the documents."""
    page = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")
    examples = sorted(path.name for path in (ROOT / "tests" / "examples").glob("test_*.py"))
    assert examples == sorted(re.findall(r"<!-- test: example (\S+) -->\n```python", page))


def test_the_documentation_names_every_rule() -> None:
    """The page's tables have each rule of resilience, each condition, and each option, as the code has them."""
    page = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")
    for rule, meaning in RULES.items():
        assert f"| `{rule}` | {meaning} |" in page
    for condition in (*FIELDS, "headers", "body"):
        assert f"`{condition}`" in page
    for setting in ("seed", "pace", "speed"):
        assert f"| `{setting}` | `--mockprovider-{setting}=" in page

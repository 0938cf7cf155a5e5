"""What a test costs with each tool's pytest fixture, over an empty test: `python -m benchmarks.fixtures [TOOL...]`.

Run it with the interpreter of an environment that has the other tools. Each tool runs as many tests as `_Tool.tests`
says, in a pytest process that loads its plugin and no other: first with one answer set up and no request, then with
that answer asked for, by a plain connection or, where the tool replaces httpx, by a client of httpx that is made once.
What counts is the median of all tests but the first, of the quickest of several runs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNS = 3

_CONFTEST = """
import json, os, time
import pytest

seconds = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    began = time.perf_counter()
    result = yield
    seconds.append(time.perf_counter() - began)
    return result

def pytest_sessionfinish(session, exitstatus):
    with open(os.environ["BENCH_SECONDS"], "w") as file:
        json.dump([int(exitstatus), seconds], file)
"""

_PREAMBLE = """
import http.client, json
import pytest

BODY = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]})
ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}
FAR = "http://provider.example/v1/chat/completions"

def ask(url):
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("POST", "/" + path, BODY, {"Content-Type": "application/json"})
    said = json.loads(connection.getresponse().read())["choices"][0]["message"]["content"]
    connection.close()
    assert said == "Hello"

clients = []

def ask_far():
    import httpx
    if not clients:
        clients.append(httpx.Client())
    assert clients[0].post(FAR, content=BODY).json()["choices"][0]["message"]["content"] == "Hello"
"""


@dataclass(frozen=True)
class _Tool:
    """A tool. plugin: its module; fixture: its name; rule: sets up one answer; request: asks for it; note: what it is.

    mark: above every test, where the tool would otherwise fail those that ask nothing.
    """

    plugin: str
    fixture: str
    rule: str
    request: str
    note: str
    mark: str = ""
    tests: int = 500


TOOLS = {
    "mockprovider": _Tool(
        "mockprovider.pytest_plugin",
        "mock_provider",
        "mock_provider.on().reply('Hello')",
        "ask(mock_provider.openai_url + '/chat/completions')",
        "a server a session",
    ),
    "llmock": _Tool(
        "llmock.pytest_plugin", "llmock", "llmock.reply('Hello')", "ask(llmock.base_url() + '/chat/completions')",
        "a server a session",
    ),
    "aimock-pytest": _Tool(
        "aimock_pytest.plugin",
        "aimock",
        "aimock.on_message('Hi', {'content': 'Hello'})",
        "ask(aimock.url + '/v1/chat/completions')",
        "a Node process a test",
        tests=6,
    ),
    "pytest-httpserver": _Tool(
        "pytest_httpserver.pytest_plugin",
        "httpserver",
        "httpserver.expect_request('/v1/chat/completions').respond_with_json(ANSWER)",
        "ask(httpserver.url_for('/v1/chat/completions'))",
        "a server a session, one connection at a time",
    ),
    "respx": _Tool(
        "respx.plugin", "respx_mock", "respx_mock.post(FAR).respond(json=ANSWER)", "ask_far()",
        "replaces httpx's transport: no server", mark="@pytest.mark.respx(assert_all_called=False)",
    ),
    "pytest-httpx": _Tool(
        "pytest_httpx", "httpx_mock", "httpx_mock.add_response(json=ANSWER)", "ask_far()",
        "replaces httpx's transport: no server",
        mark="@pytest.mark.httpx_mock(assert_all_responses_were_requested=False)",
    ),
}  # fmt: skip
"""All that are compared."""


def seconds_per_test(python: str, tool: _Tool | None, *, asks: bool = False) -> float | None:
    """The median seconds of a test, of the quickest of several runs; None where the tool is not there or fails."""
    body = ["pass"] if tool is None else [tool.rule, *([tool.request] if asks else [])]
    tests = 500 if tool is None else tool.tests
    mark = "" if tool is None else tool.mark + "\n"
    fixture = "" if tool is None else tool.fixture
    source = _PREAMBLE + "".join(
        f"\n{mark}def test_{number}({fixture}):\n" + "".join(f"    {line}\n" for line in body)
        for number in range(tests)
    )
    found: list[float] = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "conftest.py").write_text(_CONFTEST)
            Path(folder, "test_many.py").write_text(source)
            result = Path(folder, "seconds.json")
            command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder]
            command += ["-p", tool.plugin] if tool is not None else []
            env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "BENCH_SECONDS": str(result)}
            env |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
            subprocess.run([*command, folder], env=env, capture_output=True, check=False)
            code, seconds = json.loads(result.read_text()) if result.exists() else (1, [])
        if code:
            return None
        found.append(float(statistics.median(seconds[1:])))
    return min(found)


def table(python: str, names: Sequence[str] = tuple(TOOLS)) -> list[str]:
    """The rows of a Markdown table, in milliseconds over an empty test."""
    empty = seconds_per_test(python, None)
    if empty is None:
        raise SystemExit(f"{python} has no pytest")
    rows = ["| fixture | with an answer set up | and asked for | |", "|---|---|---|---|"]
    for name in names:
        tool = TOOLS[name]
        shown = []
        for asks in (False, True):
            seconds = seconds_per_test(python, tool, asks=asks)
            shown.append("not there" if seconds is None else f"{(seconds - empty) * 1e3:.2f} ms")
        rows.append(f"| {name} | {shown[0]} | {shown[1]} | {tool.note} |")
    return rows


if __name__ == "__main__":
    print(*table(sys.executable, sys.argv[1:] or tuple(TOOLS)), sep="\n")

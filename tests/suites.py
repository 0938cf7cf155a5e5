"""Suites of other projects, made up and run by `pytester`: what a user of the plugin sees."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PREAMBLE = '''
import json
import http.client
import threading
import urllib.request

import pytest

STRANGERS = set(threading.enumerate())  # of the session that runs this one


def servers():
    """How many servers this session runs on threads."""
    return sum(thread.name == "mockprovider" for thread in set(threading.enumerate()) - STRANGERS)


def ask(base, content="Hi!", model="gpt-5", **fields):
    """A prompt; the status, and the text or the error's message."""
    host = base.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=20)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": content}], **fields})
    connection.request("POST", base.removeprefix("http://" + host) + "/v1/chat/completions", body)
    with connection.getresponse() as response:
        document = json.loads(response.read())
    connection.close()
    if "error" in document:
        return response.status, document["error"]["message"]
    return response.status, document["choices"][0]["message"]["content"]
'''


# Plugins that happen to be here; the first one is imported anew, and rewritten, by every run in this process.
UNNEEDED = ("hypothesispytest", "cacheprovider", "anyio", "faker")


class Suite:
    """A project that has the plugin and tests of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def run(
        self, tests: str, *options: str, conftest: str = "", ini: str = "", apart: bool = False
    ) -> pytest.RunResult:
        """Run tests that have `ask`; apart: in a process of their own."""
        # Modules of a run inside this process would be taken for those of the next one.
        tests = dedent(tests)
        name = f"test_of_{self.pytester.path.name}_{len(list(self.pytester.path.iterdir()))}"
        self.pytester.makepyfile(**{name: PREAMBLE + tests})
        self.pytester.makeconftest(conftest)
        self.pytester.makeini(f"[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n{ini}")
        run = self.pytester.runpytest_subprocess if apart else self.pytester.runpytest_inprocess
        return run(*(word for plugin in UNNEEDED for word in ("-p", f"no:{plugin}")), *options)

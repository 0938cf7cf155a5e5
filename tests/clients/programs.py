"""Clients that are programs of their own: curl, Node and a page in Chromium.

Each is a function of the base URL (ending in `/v1`) that asks once and returns the text it got, streamed or
whole; it skips the test, with the reason, where its program is not installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.clients import browser
from tests.clients.python_clients import KEY, body, hand_parsed, whole_text

HERE = Path(__file__).parent
NODE = HERE / "node"
TIMEOUT_S = 60


def output_of(*command: str | Path, given: str = "") -> str:
    """What a command prints; its failure fails the test with what it said."""
    ended = subprocess.run(command, input=given.encode(), capture_output=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == 0, f"{command[0]} ended with {ended.returncode}: {ended.stderr.decode()}"
    # Decoded by hand: text mode would make "\n" of "\r\n".
    return ended.stdout.decode()


def curl(base_url: str, *, stream: bool, options: tuple[str, ...] = ()) -> str:
    """`curl -N`, whose output is then read by the parser of the tutorials."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url = f"{base_url}/chat/completions"
    headers = ("-H", f"authorization: Bearer {KEY}", "-H", "content-type: application/json")
    printed = output_of(
        "curl", "-sSN", "--fail", *options, *headers, "--data-binary", "@-", url,
        given=json.dumps(body(stream=stream)),
    )  # fmt: skip
    return "".join(hand_parsed(printed.split("\n"))) if stream else whole_text(json.loads(printed))


def curl_http10(base_url: str, *, stream: bool) -> str:
    """`curl -N --http1.0`: a stream that ends where the connection does."""
    return curl(base_url, stream=stream, options=("--http1.0",))


def node(script: str, base_url: str, *, stream: bool, packages: bool) -> str:
    """A script of `tests/clients/node`; `packages` tells whether it imports any."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    if packages and not (NODE / "node_modules").is_dir():
        pytest.skip("the Node packages are not installed (scripts/test installs them where npm is)")
    return output_of("node", NODE / script, base_url, "stream" if stream else "whole")


def node_fetch(base_url: str, *, stream: bool) -> str:
    """Node's own fetch with a reader loop."""
    return node("fetch-reader.mjs", base_url, stream=stream, packages=False)


def node_eventsource_parser(base_url: str) -> str:
    """Node's own fetch with eventsource-parser."""
    return node("fetch-eventsource-parser.mjs", base_url, stream=True, packages=True)


def node_openai(base_url: str, *, stream: bool) -> str:
    """The openai package for Node."""
    return node("openai-sdk.mjs", base_url, stream=stream, packages=True)


def chromium(base_url: str, *, stream: bool) -> str:
    """A page in Chromium on another origin, whose key and JSON make the browser send a preflight."""
    if browser.find() is None:
        pytest.skip("Chromium is not installed")
    query = urlencode({"api": base_url, "mode": "stream" if stream else "whole"})
    # Chromium may still write to its profile while it is being ended.
    with tempfile.TemporaryDirectory(prefix="mockprovider-", ignore_cleanup_errors=True) as folder:
        result = browser.result_of((HERE / "page.html").read_text(), f"?{query}", Path(folder))
    assert result["failure"] is None, result
    return str(result["text"])

"""The packages that front-end developers bundle into their pages stream from the server without a proxy between."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.clients import browser
from tests.clients.text import TEXT

if TYPE_CHECKING:
    from mockprovider import MockProvider

NODE = Path(__file__).parent / "node"
ESBUILD = NODE / "node_modules" / "esbuild" / "bin" / "esbuild"


def bundled(script: str) -> str:
    """A page with a script of `tests/clients/node` and all that it imports, as a bundler makes it for browsers."""
    if not ESBUILD.is_file():
        pytest.skip("esbuild is not installed (scripts/test installs the Node packages where npm is)")
    command = [str(ESBUILD), script, "--bundle", "--format=esm", "--platform=browser", "--log-level=error"]
    made = subprocess.run(command, cwd=NODE, capture_output=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr.decode()
    return f'<!doctype html><meta charset="utf-8"><script type="module">{made.stdout.decode()}</script>'


@pytest.mark.parametrize("script", ["browser-openai.mjs", "browser-ai.mjs"])
def test_a_package_in_a_page_streams(script: str, mock_provider: MockProvider, tmp_path: Path) -> None:
    """The package, bundled into a page of another origin, reads the text to the character, in more than one piece."""
    if browser.find() is None:
        pytest.skip("Chromium is not installed")
    mock_provider.on().reply(TEXT, pace="itl=0.001")
    result = browser.result_of(bundled(script), f"?{urlencode({'api': mock_provider.openai_url})}", tmp_path)
    assert result["failure"] is None, result
    assert "".join(result["pieces"]) == TEXT
    assert len(result["pieces"]) > 10
    assert {exchange.method for exchange in mock_provider.exchanges} == {"OPTIONS", "POST"}

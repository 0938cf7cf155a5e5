"""The servers that the clients are run against: the fixture's, in this process, and `mockprovider serve`."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.clients.text import TEXT
from tests.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every client from the proxy that this machine may use: the servers are on the loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost,::1")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost,::1")


@pytest.fixture(scope="session")
def process_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The OpenAI base URL of a `mockprovider serve` that answers everything with TEXT."""
    file: Path = tmp_path_factory.mktemp("serve") / "reply.txt"
    file.write_bytes(TEXT.encode())
    with serve("--reply", f"@{file}") as server:
        yield server.openai_url


@pytest.fixture
def leaves_connections() -> Iterator[None]:
    """For clients that leave connections to the collector: it comes here, not in a later test that knows of nothing."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()

"""The server that cases are observed on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mockprovider import MockProvider


@pytest.fixture
async def provider() -> AsyncIterator[MockProvider]:
    """A provider on the test's own loop: what it writes apart in time, the observer reads apart.

    What goes wrong on the server's side is raised after the test.
    """
    async with MockProvider(seed=1) as running:
        yield running
        running.check()

"""The pytest plugin: the fixture `mock_provider` and its friends.

Importing this module imports neither aiohttp nor asyncio; the first test that uses a fixture does. A session has one
server, on a thread of its own, so that blocking clients can talk to it; every test has a namespace of its own there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mockprovider.provider import MockProvider
    from mockprovider.server.runner import ThreadServer

_MARK = (
    "mockprovider(seed=…, pace=…, chunking=…, relay=…, reply=…, models=…, api_keys=…, scenario=…): "
    "settings of this test's mock provider, which then gets a server of its own"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that hold for every test; a marker takes precedence over the ini file, the command line over both."""
    group = parser.getgroup("mockprovider")
    group.addoption("--mockprovider-seed", type=int, help="seed of the mock provider (1)")
    group.addoption("--mockprovider-pace", metavar="SPEC", help="pace of the mock provider (instant)")
    parser.addini("mockprovider_seed", "seed of the mock provider (1)", default="1")
    parser.addini("mockprovider_pace", "pace of the mock provider (instant)", default="instant")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARK)


@pytest.fixture(scope="session")
def mock_provider_settings(pytestconfig: pytest.Config) -> dict[str, Any]:
    """The settings of the session's server. Override it to change them; see `mockprovider.settings.Settings`."""
    return {
        "seed": int(pytestconfig.getini("mockprovider_seed")),
        "pace": pytestconfig.getini("mockprovider_pace"),
    }


def _settings(base: dict[str, Any], config: pytest.Config, mark: pytest.Mark | None) -> dict[str, Any]:
    """Command line before marker before fixture and ini file: the one place where precedence is decided."""
    chosen = {**base, **(mark.kwargs if mark else {})}
    for name in ("seed", "pace"):
        value = config.getoption(f"--mockprovider-{name}")
        if value is not None:
            chosen[name] = value
    return chosen


@pytest.fixture(scope="session")
def _mock_provider_server(
    mock_provider_settings: dict[str, Any], pytestconfig: pytest.Config
) -> Iterator[ThreadServer]:
    from mockprovider.provider import settings_from
    from mockprovider.server.runner import ThreadServer

    chosen = _settings(mock_provider_settings, pytestconfig, None)
    server = ThreadServer(*settings_from(chosen.pop("scenario", None), chosen))
    server.start()
    yield server
    server.stop()


def _made(request: pytest.FixtureRequest) -> MockProvider:
    from mockprovider.provider import MockProvider

    mark = request.node.get_closest_marker("mockprovider")
    if mark is not None and mark.args:
        raise pytest.UsageError("the marker mockprovider takes settings by name only")
    return MockProvider(**_settings(request.getfixturevalue("mock_provider_settings"), request.config, mark))


@pytest.fixture
def mock_provider(request: pytest.FixtureRequest) -> Iterator[MockProvider]:
    """A mock provider of the test's own: rules, exchanges and gates are gone after it, and streams are ended.

    After a test, requests that no rule answered and errors of the server's side are raised, as NoMatchError and
    MockProviderError.
    """
    from mockprovider.provider import MockProvider

    if request.node.get_closest_marker("mockprovider") is None:
        provider = MockProvider.on_shared(request.getfixturevalue("_mock_provider_server"))
    else:
        provider = _made(request).start()
    try:
        yield provider
        provider.check()
    finally:
        provider.close()


@pytest.fixture
def mock_provider_env(mock_provider: MockProvider, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables that make SDKs talk to `mock_provider`, set for the length of the test."""
    variables = mock_provider.env()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def mock_provider_in_loop(request: pytest.FixtureRequest) -> Iterator[MockProvider]:
    """A mock provider that has not been started: for `async with`, or `await aiohttp_client(provider.app)`."""
    provider = _made(request)
    yield provider
    if provider.used:
        provider.check()

"""The pytest plugin: the fixture `mock_provider` and its friends.

Importing this module imports neither aiohttp nor asyncio; the first test that uses a fixture does. A session (with
xdist, each worker) has one server, on a thread of its own, so that blocking clients can talk to it; every test has a
namespace of its own there. A test with the marker `mockprovider` has a server of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mockprovider.provider import MockProvider
    from mockprovider.server.runner import ThreadServer

__all__ = [
    "mock_provider",
    "mock_provider_env",
    "mock_provider_in_loop",
    "mock_provider_settings",
    "pytest_addoption",
    "pytest_configure",
]

_MARK = (
    "mockprovider(seed=..., pace=..., chunking=..., faults=..., relay=..., reply=..., models=..., api_keys=...,"
    " scenario=...): settings of this test's mock provider, which then has a server of its own"
)
_OPTIONS = {"seed": "seed of the mock provider (1)", "pace": "pace of the mock provider (instant)"}
"""Settings that the command line and the ini file may give, with what help says about them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini settings that hold for every test; `_settings` says which of them counts."""
    group = parser.getgroup("mockprovider")
    for name, meaning in _OPTIONS.items():
        kind, metavar = (int, "N") if name == "seed" else (str, "SPEC")
        group.addoption(f"--mockprovider-{name}", type=kind, metavar=metavar, help=meaning)
        parser.addini(f"mockprovider_{name}", meaning, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARK)


@pytest.fixture(scope="session")
def mock_provider_settings() -> dict[str, Any]:
    """Settings of every mock provider, by name; see `mockprovider.settings.Settings`. Override it to give some."""
    return {}


def _settings(config: pytest.Config, fixture: Mapping[str, Any], item: pytest.Item | None) -> dict[str, Any]:
    """Command line before marker before fixture before ini file before default: precedence is decided here alone.

    Of several markers, the nearest to the test counts, setting by setting.
    """
    chosen: dict[str, Any] = {"seed": "1"}
    chosen |= _given({name: config.getini(f"mockprovider_{name}") for name in _OPTIONS})
    chosen |= fixture
    for mark in reversed(list(item.iter_markers("mockprovider")) if item is not None else []):
        if mark.args:
            raise pytest.UsageError("the marker mockprovider takes settings by name only")
        chosen |= mark.kwargs
    chosen |= _given({name: config.getoption(f"--mockprovider-{name}") for name in _OPTIONS})
    if isinstance(chosen["seed"], str):
        try:
            chosen["seed"] = int(chosen["seed"])
        except ValueError:
            raise pytest.UsageError(f"mockprovider: seed: expected a whole number, got {chosen['seed']!r}") from None
    return chosen


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value not in (None, "")}


@pytest.fixture(scope="session")
def _mock_provider_server(
    mock_provider_settings: dict[str, Any], pytestconfig: pytest.Config
) -> Iterator[ThreadServer]:
    from mockprovider.provider import settings_from
    from mockprovider.server.runner import LoopServer, ThreadServer

    chosen = _settings(pytestconfig, mock_provider_settings, None)
    server = ThreadServer(LoopServer(*settings_from(chosen.pop("scenario", None), chosen)))
    server.start()
    yield server
    server.stop()


def _made(request: pytest.FixtureRequest) -> MockProvider:
    from mockprovider.provider import MockProvider

    return MockProvider(**_settings(request.config, request.getfixturevalue("mock_provider_settings"), request.node))


@pytest.fixture
def mock_provider(request: pytest.FixtureRequest) -> Iterator[MockProvider]:
    """A mock provider of the test's own: rules, exchanges and gates are gone after it, and streams are ended.

    After a test, requests that no rule answered and errors of the server's side are raised, as NoMatchError and
    MockProviderError. A test that expects them calls `mock_provider.check()` itself.
    """
    from mockprovider.provider import MockProvider

    if request.node.get_closest_marker("mockprovider") is None:
        provider = MockProvider.on_shared(request.getfixturevalue("_mock_provider_server"))
    else:
        provider = _made(request).start()
    yield provider
    provider.close()
    provider.check()


@pytest.fixture
def mock_provider_env(mock_provider: MockProvider, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables that make SDKs talk to `mock_provider`, set for the length of the test."""
    variables = mock_provider.env()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def mock_provider_in_loop(request: pytest.FixtureRequest) -> Iterator[MockProvider]:
    """A mock provider that has not been started: for `async with`, or `await aiohttp_client(provider.app)`.

    After a test, it raises what `mock_provider` raises.
    """
    provider = _made(request)
    yield provider
    provider.close()
    provider.check()

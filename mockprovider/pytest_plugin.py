"""The pytest plugin: the fixture `mock_provider` and its friends.

Importing this module imports neither aiohttp nor asyncio; the first test that uses a fixture does. A session (with
xdist, each worker) has one server, on a thread of its own, so that blocking clients can talk to it; every test has a
namespace of its own there. A test with the marker `mockprovider` has a server of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider import recording_plugin

if TYPE_CHECKING:
    from mockprovider.guard import Guard
    from mockprovider.pathology import Pathology
    from mockprovider.provider import MockProvider
    from mockprovider.server.runner import ThreadServer

__all__ = [
    "loopback_only",
    "mock_provider",
    "mock_provider_env",
    "mock_provider_in_loop",
    "mock_provider_recordings",
    "mock_provider_settings",
    "pathology",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
]

_MARKS = {
    "mockprovider(seed=..., pace=..., chunking=..., faults=..., relay=..., reply=..., models=..., api_keys=...,"
    " speed=..., scenario=...)": "settings of this test's mock provider, which then has a server of its own",
    "pathologies(*patterns, legal=None, can=(), dialect='openai-chat')": "run this test once for each case of the"
    " catalogue that the patterns choose, with the case in the fixture `pathology`",
    "loopback_only(allow=())": "fail this test where it reaches for another machine, except for those allowed",
}
_OPTIONS: Mapping[str, tuple[Callable[[str], Any], str, str]] = {
    "seed": (int, "a whole number", "seed of the mock provider (1)"),
    "pace": (str, "a pace", "pace of the mock provider (instant)"),
    "speed": (float, "a number", "how many times shorter the mock provider's waits are (1)"),
}
"""Settings that the command line and the ini file may give: what makes them of a text, and what help says."""

_GUARD = "fail every test that reaches for anything but the loopback (see the fixture loopback_only)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini settings that hold for every test; `_settings` says which of them counts."""
    group = parser.getgroup("mockprovider")
    for name, (kind, _, meaning) in _OPTIONS.items():
        metavar = {int: "N", float: "FACTOR"}.get(kind, "SPEC")  # type: ignore[call-overload]
        group.addoption(f"--mockprovider-{name}", type=kind, metavar=metavar, help=meaning)
        parser.addini(f"mockprovider_{name}", meaning, default=None)
    for name, (_, metavar, meaning) in recording_plugin.OPTIONS.items():
        group.addoption(f"--mockprovider-{name}", metavar=metavar, help=meaning)
        parser.addini(f"mockprovider_{name}", meaning, default=None)
    group.addoption("--mockprovider-loopback-only", action="store_true", help=_GUARD)
    parser.addini("mockprovider_loopback_only", _GUARD, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for mark, meaning in _MARKS.items():
        config.addinivalue_line("markers", f"{mark}: {meaning}")
    config.addinivalue_line("markers", recording_plugin.MARK)


# ------------------------------------------------------------------------------------------ settings


@pytest.fixture(scope="session")
def mock_provider_settings() -> dict[str, Any]:
    """Settings of every mock provider, by name; see `mockprovider.settings.Settings`. Override it to give some."""
    return {}


def _settings(config: pytest.Config, fixture: Mapping[str, Any], item: pytest.Item | None) -> dict[str, Any]:
    """Command line before marker before fixture before ini file before default: precedence is decided here alone.

    Of several markers, the nearest to the test counts, setting by setting.
    """
    chosen: dict[str, Any] = {"seed": 1}
    chosen |= _given({name: config.getini(f"mockprovider_{name}") for name in _OPTIONS})
    chosen |= fixture
    for mark in reversed(list(item.iter_markers("mockprovider")) if item is not None else []):
        if mark.args:
            raise pytest.UsageError("the marker mockprovider takes settings by name only")
        chosen |= mark.kwargs
    chosen |= _given({name: config.getoption(f"--mockprovider-{name}") for name in _OPTIONS})
    for name, (kind, expected, _) in _OPTIONS.items():
        if isinstance(chosen.get(name), str):
            try:
                chosen[name] = kind(chosen[name])
            except ValueError:
                raise pytest.UsageError(f"mockprovider: {name}: expected {expected}, got {chosen[name]!r}") from None
    return chosen


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value not in (None, "")}


# ------------------------------------------------------------------------------------------ providers


@pytest.fixture(scope="session")
def _mock_provider_server(
    mock_provider_settings: dict[str, Any], pytestconfig: pytest.Config
) -> Iterator[ThreadServer]:
    from mockprovider.configuration import settings_from
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
    try:
        _play(request, provider)
    except BaseException:
        provider.close()
        raise
    yield provider
    provider.finish()


# ------------------------------------------------------------------------------------------ recordings


@pytest.fixture
def mock_provider_recordings() -> dict[str, Any]:
    """Settings of the recordings that tests with the marker `recording` play, by name; override it to give some.

    They are those of `mockprovider.replay.library.Recordings`; `folder` is where the module's are.
    """
    return {}


def _play(request: pytest.FixtureRequest, provider: MockProvider) -> None:
    """Let the provider play the recordings of a test that is marked so."""
    marks = list(request.node.iter_markers("recording"))
    if not marks:
        return
    from mockprovider.errors import SettingError

    def given(get: Callable[[str], Any], prefix: str) -> dict[str, Any]:
        return {setting: get(prefix + name) for name, (setting, _, _) in recording_plugin.OPTIONS.items()}

    names = [mark.args[0] if mark.args else mark.kwargs.get("name") for mark in marks]
    said = [{name: value for name, value in mark.kwargs.items() if name != "name"} for mark in marks]
    fixture = request.getfixturevalue("mock_provider_recordings")
    config = request.config
    try:
        settings = recording_plugin.chosen(
            given(config.getoption, "--mockprovider-"), said, fixture, given(config.getini, "mockprovider_")
        )
        name = next((name for name in names if name), None)
        recording_plugin.play(provider, name, request.path, request.node.name, settings)
    except (SettingError, TypeError) as error:
        raise pytest.UsageError(f"the marker recording: {error}") from error


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
    provider.finish()


# ------------------------------------------------------------------------------------------ the catalogue


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case that the marker `pathologies` chooses."""
    mark = metafunc.definition.get_closest_marker("pathologies")
    if mark is None:
        return
    from mockprovider.errors import SettingError
    from mockprovider.pathology import select

    wrong: Exception | None = None
    try:
        names = [case.name for case in select(mark.args, **mark.kwargs)]
    except (SettingError, TypeError) as error:
        wrong = error
    if wrong is not None:
        pytest.fail(f"the marker pathologies: {wrong}", pytrace=False)
    if "pathology" not in metafunc.fixturenames:
        metafunc.fixturenames.append("pathology")
    metafunc.parametrize("pathology", names, indirect=True, ids=names)


@pytest.fixture
def pathology(request: pytest.FixtureRequest, mock_provider: MockProvider) -> Pathology:
    """The case of a test with the marker `pathologies`: where it happens, what is expected, how long it takes."""
    mark = request.node.get_closest_marker("pathologies")
    if mark is None:
        raise pytest.UsageError("the fixture pathology belongs to tests with the marker pathologies")
    return mock_provider.pathology(request.param, dialect=mark.kwargs.get("dialect", "openai-chat"))


# ------------------------------------------------------------------------------------------ the network guard


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the network guard to the tests that are marked so, or to all."""
    everywhere = config.getoption("--mockprovider-loopback-only") or config.getini("mockprovider_loopback_only")
    for item in items:
        names = getattr(item, "fixturenames", None)
        if names is None or "loopback_only" in names:
            continue
        if everywhere or item.get_closest_marker("loopback_only") is not None:
            names.insert(0, "loopback_only")


@pytest.fixture
def loopback_only(request: pytest.FixtureRequest) -> Iterator[Guard]:
    """The network guard: whatever reaches for another machine gets an OutsideError, and the test fails after it.

    It sees this process alone, and what goes through Python's own sockets. `attempts` are those so far; a test that
    means them clears the list.
    """
    from mockprovider.guard import Guard

    mark = request.node.get_closest_marker("loopback_only")
    allow = mark.kwargs.get("allow", ()) if mark is not None else ()
    if isinstance(allow, str) or (mark is not None and (mark.args or set(mark.kwargs) - {"allow"})):
        raise pytest.UsageError("the marker loopback_only takes allow=[...], a list of hosts, and nothing else")
    with Guard(allow) as guard:
        yield guard
    if guard.attempts:
        tried = "\n".join(f"  {attempt}" for attempt in dict.fromkeys(guard.attempts))
        pytest.fail(f"this test reached for other machines:\n{tried}", pytrace=False)

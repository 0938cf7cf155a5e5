"""`MockProvider`: what a test, or a program, holds in its hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from mockprovider.cases import get
from mockprovider.errors import MockProviderError, NoMatchError, SettingError, nearest
from mockprovider.exchange import Exchange
from mockprovider.limits import Limits
from mockprovider.matching import Conditions
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Reply
from mockprovider.scenario import Answer
from mockprovider.scenario_file import ScenarioFile, load
from mockprovider.settings import GivenSettings, Settings
from mockprovider.when import When

if TYPE_CHECKING:
    from aiohttp import web

    from mockprovider.server.listeners import Listeners
    from mockprovider.server.runner import LoopServer, ThreadServer

__all__ = ["MockProvider", "environment", "settings_from"]

T = TypeVar("T")


class MockProvider:
    """A provider's endpoint on this machine, with rules, exchanges and gates of its own.

    `with MockProvider() as provider:` runs it on a thread, for blocking clients; `async with` on the running loop. The
    pytest fixture `mock_provider` is one, in a namespace of its own on a server that the test session shares. It can
    be started once. Rules and gates may be set before that, and what happened can be read after it was closed.

    Settings are those of `mockprovider.settings.Settings`, by name; `pace`, `chunking` and `reply` may be texts,
    `scenario` is the path of a scenario file, whose settings give way to those given here.
    Raises SettingError for an impossible setting.
    """

    def __init__(self, *, scenario: str | Path | None = None, **settings: Unpack[GivenSettings]) -> None:
        self._settings, self._scenario = settings_from(scenario, settings)
        self._thread: ThreadServer | None = None
        self._inner: LoopServer | None = None
        self._opened: Namespace | None = None
        self._app: web.Application | None = None
        self._started = False

    @classmethod
    def on_shared(cls, thread: ThreadServer) -> MockProvider:
        """A provider in a new namespace of a server that is running already; `close` closes the namespace alone."""
        made = cls.__new__(cls)
        made._settings, made._scenario, made._app = thread.server.settings, None, None
        made._thread, made._inner, made._started = thread, thread.server, True
        made._opened = thread.call(thread.server.handler.open)
        return made

    # ------------------------------------------------------------------------------------------ lifetime

    def start(self) -> Self:
        """Start it on a thread of its own.

        UnavailableError where it cannot listen; MockProviderError if it was started before.
        """
        from mockprovider.server.runner import ThreadServer

        self._once()
        thread = ThreadServer(self._in_loop)
        thread.start()
        self._thread = thread
        return self

    def close(self) -> None:
        """Stop the server's thread, or close the namespace of a shared one. Open streams are ended.

        Closing it again does nothing, and neither does closing one that runs on your loop: `async with` does that.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._opened is not None:
            id = self._opened.id
            # Somebody may have closed it through the control API.
            thread.call(lambda: thread.server.handler.close(id) if id in thread.server.handler.namespaces else None)
            thread.call(lambda: None)  # by now every stream that was ended is written down
        else:
            thread.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._once()
        await self._in_loop.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        await self._in_loop.stop()

    @property
    def app(self) -> web.Application:
        """An aiohttp application that answers as this provider: for `aiohttp_client(provider.app)` and the like.

        Whoever runs it knows its address; `url` does not. MockProviderError if the provider was started otherwise.
        """
        if self._app is None:
            self._app = self._application()
        return self._app

    def _application(self) -> web.Application:
        from aiohttp import web

        from mockprovider.server.protocol import SETTINGS

        self._once()
        server = self._in_loop

        async def running(_: web.Application) -> Any:
            server.attach()
            yield
            await server.stop()

        async def end_streams(_: web.Application) -> None:
            server.handler.stop()  # else aiohttp waits for them, up to a minute, before it cleans up

        application = web.Application(handler_args=SETTINGS)
        application.router.add_route("*", "/{path:.*}", server.handler.handle, expect_handler=_no_continue)
        application.cleanup_ctx.append(running)
        application.on_shutdown.append(end_streams)
        return application

    def _once(self) -> None:
        if self._started:
            raise MockProviderError("this MockProvider has been started already; make another one")
        self._started = True

    @property
    def _in_loop(self) -> LoopServer:
        """The server, made when first asked for: until then, no HTTP library has been loaded."""
        if self._inner is None:
            from mockprovider.server.runner import LoopServer

            self._inner = LoopServer(self._settings, self._scenario)
        return self._inner

    @property
    def _running(self) -> Namespace:
        return self._in_loop.handler.default if self._opened is None else self._opened

    def _call(self, function: Callable[[], T]) -> T:
        """Run on the server's loop: there now, or from another thread, after all that the loop has begun."""
        return self._thread.call(function) if self._thread is not None else function()

    # ------------------------------------------------------------------------------------------ where it is

    @property
    def url(self) -> str:
        """The base URL without `/v1`; it has the namespace in its path. MockProviderError while it does not listen."""
        prefix = f"/~{self._running.id}" if self._running.id else ""
        return self._in_loop.url + prefix

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDKs, with `/v1`."""
        return self.url + "/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for Anthropic's SDKs, which add `/v1` themselves."""
        return self.url

    def case_url(self, name: str, *, seconds: float | None = None, first: int | None = None) -> str:
        """The base URL, with `/v1`, at which a case of the catalogue happens.

        A case that acts before there is any HTTP gets a port of its own, which is closed with this provider; it
        misbehaves for ever, or for so many seconds from now on, or to so many connections, and then serves as usual.
        SettingError for an unknown name and for a case that is not available.
        """
        case = get(name)
        namespace = self._running.id
        return self._call(lambda: self._listeners.case_url(self._in_loop.url, namespace, case, seconds, first))

    def listener_url(self, kind: str, *, seconds: float | None = None, first: int | None = None) -> str:
        """The base URL, with `/v1`, of a port that does this at accept: `refuse`, `reset` or `silence`.

        seconds and first: see `case_url`. SettingError for another kind.
        """
        from mockprovider.server.listeners import Misbehaviour

        what = Misbehaviour(kind, seconds, first)
        namespace = self._running.id
        return self._call(lambda: self._listeners.base_url(self._in_loop.url, namespace, f"listener {kind}", what))

    @property
    def _listeners(self) -> Listeners:
        listeners = self._in_loop.handler.listeners
        if listeners is None:
            raise MockProviderError("this MockProvider is not running: use `with`, `async with` or start()")
        return listeners

    @property
    def seed(self) -> int:
        """The seed from which everything random is drawn."""
        return self._in_loop.handler.seed.value

    def env(self) -> dict[str, str]:
        """Environment variables that make OpenAI's and Anthropic's SDKs, and programs built on them, talk to it."""
        keys = self._settings.api_keys
        return environment(self.openai_url, self.anthropic_url, keys[0] if keys else None)

    # ------------------------------------------------------------------------------------------ rules

    def on(self, **conditions: Any) -> When:
        """Begin a rule: `provider.on(model="gpt-*", messages=contains("weather")).reply("Sunny")`.

        Conditions: path, model, stream, messages, last, tools, tool_result, turn, headers, body; see
        `mockprovider.matching.FIELDS`. SettingError for an unknown one.
        """
        return When(self._add, Conditions(**conditions))

    def _add(self, conditions: Conditions, answer: Answer) -> None:
        self._call(lambda: self._running.scenario.add(conditions, answer))

    def reset(self) -> None:
        """Forget rules, exchanges and gates, and end open streams: only a scenario file's rules remain, unused."""
        self._call(self._running.reset)

    # ------------------------------------------------------------------------------------------ what happened

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges so far, oldest first. What a client has received to its end is ended here too."""
        return self._call(lambda: list(self._running.journal))

    @property
    def dropped(self) -> int:
        """How many exchanges fell out of the bounded journal."""
        return self._running.journal.dropped

    def wait_for(
        self, exchanges: int = 1, *, path: str | None = None, outcome: str | None = None, timeout: float = 5.0
    ) -> list[Exchange]:
        """Block until so many exchanges have ended, so and on this path, and return them; `outcome="open"`: have begun.

        outcome: one of `mockprovider.exchange.OUTCOMES` or `open`. Raises WaitTimeoutError after `timeout` seconds,
        with all exchanges; SettingError for an unknown outcome; MockProviderError where it would block its own loop.
        """
        if self._thread is None or self._thread.here:
            if not self._started:
                raise MockProviderError("this MockProvider is not running: use `with`, `async with` or start()")
            raise MockProviderError("wait_for would block the loop it waits for; use `await wait_for_async(...)`")
        waiting = self._running.journal.wait(exchanges, path=path, outcome=outcome, timeout=timeout)
        return self._thread.submit(waiting).result()

    async def wait_for_async(
        self, exchanges: int = 1, *, path: str | None = None, outcome: str | None = None, timeout: float = 5.0
    ) -> list[Exchange]:
        """The same as `wait_for` without blocking the running loop."""
        waiting = self._running.journal.wait(exchanges, path=path, outcome=outcome, timeout=timeout)
        if self._thread is None:
            return await waiting
        return await asyncio.wrap_future(self._thread.submit(waiting))

    def check(self) -> None:
        """Raise what went wrong on the server's side since the last check.

        NoMatchError if it is nothing but requests that no rule answered, else MockProviderError with everything.
        """
        unmatched, errors = self._call(self._taken)
        if errors:
            raise MockProviderError("the mock provider failed:\n" + "\n".join(errors + unmatched))
        if unmatched:
            raise NoMatchError("\n".join(unmatched))

    def _taken(self) -> tuple[list[str], list[str]]:
        namespace = self._running
        taken = list(namespace.scenario.unmatched), list(namespace.errors)
        namespace.scenario.unmatched.clear()
        namespace.errors.clear()
        return taken

    # ------------------------------------------------------------------------------------------ gates

    def hold(self, gate: str) -> None:
        """Close a gate: streams that begin from now on stop there until `release`.

        gate: `before-head`, `after-first-token`, `after-token-N` or `before-end`. SettingError for another.
        """
        self._call(lambda: self._running.gates.hold(gate))

    def release(self, gate: str) -> int:
        """Open a gate; returns how many streams waited there. SettingError for a gate that nobody holds."""
        return self._call(lambda: self._running.gates.release(gate))

    @property
    def gates(self) -> dict[str, int]:
        """The closed gates, and how many streams wait at each."""
        return self._call(self._running.gates.waiting)

    @contextmanager
    def held(self, gate: str) -> Iterator[None]:
        """Hold the gate for the length of a `with` block, or until somebody releases it."""
        self.hold(gate)
        try:
            yield
        finally:
            self._call(lambda: self._running.gates.release(gate) if gate in self._running.gates else 0)


async def _no_continue(request: web.Request) -> None:
    """The handler itself tells a client that waits for it to send its body."""


def settings_from(scenario: str | Path | None, given: Mapping[str, Any]) -> tuple[Settings, ScenarioFile | None]:
    """Settings from what was given, before what the scenario file says, before the defaults. None is not given."""
    file = load(Path(scenario)) if scenario is not None else None
    chosen: dict[str, Any] = {}
    if file is not None:
        for name in ("seed", "pace", "chunking", "faults", "limits", "models", "api_keys"):
            if getattr(file, name) is not None:
                chosen[name] = getattr(file, name)
    chosen.update((name, value) for name, value in given.items() if value is not None)
    for name, parse in (
        ("pace", Pacing.parse),
        ("chunking", Chunking.parse),
        ("limits", Limits.parse),
        ("reply", Reply.of),
    ):
        if name in chosen:
            chosen[name] = parse(chosen[name])
    known = Settings.__dataclass_fields__
    for name in chosen:
        if name not in known:
            raise SettingError(f"unknown setting {name!r}{nearest(name, tuple(known))}")
    return Settings(**chosen), file


def environment(openai_url: str, anthropic_url: str, key: str | None = None) -> dict[str, str]:
    """Environment variables for programs that are to talk to these base URLs, and to bypass proxies for the loopback.

    What `NO_PROXY` says already is kept.
    """
    said = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = [host.strip() for host in said.split(",") if host.strip()]
    direct = ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]))
    return {
        "OPENAI_BASE_URL": openai_url,
        "OPENAI_API_BASE": openai_url,
        "OPENAI_API_KEY": key or "sk-mockprovider",
        "ANTHROPIC_BASE_URL": anthropic_url,
        "ANTHROPIC_API_KEY": key or "sk-mockprovider",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }

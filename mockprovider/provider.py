"""`MockProvider`: what a test, or a program, holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mockprovider.errors import MockProviderError, NoMatchError, RequestError, SettingError, nearest
from mockprovider.exchange import Exchange
from mockprovider.matching import Conditions
from mockprovider.namespace import Namespace
from mockprovider.pace import Chunking, Pacing
from mockprovider.reply import Part, Reply
from mockprovider.scenario import Answer, ScenarioFile, load, request_error
from mockprovider.settings import Settings

if TYPE_CHECKING:
    from aiohttp import web

    from mockprovider.server.runner import LoopServer, ThreadServer

__all__ = ["MockProvider", "When", "environment"]

T = TypeVar("T")


class MockProvider:
    """A provider's endpoint on this machine, with rules, exchanges and gates of its own.

    `with MockProvider() as provider:` runs it on a thread, for blocking clients; `async with` on the running loop. The
    pytest fixture `mock_provider` is one, in a namespace of its own on a server that the test session shares.

    Settings are those of `Settings`, by name; `pace`, `chunking` and `reply` may be texts, `scenario` a path.
    Raises SettingError for an impossible setting.
    """

    def __init__(self, *, scenario: str | Path | None = None, **settings: Any) -> None:
        self._settings, self._scenario = settings_from(scenario, settings)
        self._thread: ThreadServer | None = None
        self._inner: LoopServer | None = None
        self._namespace: Namespace | None = None
        self._shared = False

    @classmethod
    def on_shared(cls, thread: ThreadServer) -> MockProvider:
        """A provider in a new namespace of a server that is running already; `close` closes the namespace alone."""
        made = cls.__new__(cls)
        made._settings, made._scenario = thread.server.settings, None
        made._thread, made._inner, made._shared = thread, thread.server, True
        made._namespace = thread.call(thread.server.handler.open)
        return made

    # ------------------------------------------------------------------------------------------ lifetime

    def start(self) -> Self:
        """Start it on a thread of its own. UnavailableError where it cannot listen."""
        from mockprovider.server.runner import ThreadServer

        self._thread = ThreadServer(self._settings, self._scenario)
        self._thread.start()
        self._inner = self._thread.server
        self._namespace = self._inner.handler.default
        return self

    def close(self) -> None:
        """Stop the server, or close the namespace of a shared one. Open streams are ended."""
        thread = self._thread
        if thread is None:
            return
        if self._shared:
            namespace = self._running
            thread.call(lambda: thread.server.handler.close(namespace.id))
        else:
            thread.stop()
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._make_inner()
        await self._in_loop.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        await self._in_loop.stop()

    @property
    def app(self) -> web.Application:
        """An aiohttp application that answers as this provider: for `aiohttp_client(provider.app)` and the like."""
        from aiohttp import web

        self._make_inner()
        server = self._in_loop

        async def running(_: web.Application) -> Any:
            server.attach()
            yield
            await server.stop()

        application = web.Application(client_max_size=self._settings.body_limit)
        application.router.add_route("*", "/{path:.*}", server.handler.handle)
        application.cleanup_ctx.append(running)
        return application

    def _make_inner(self) -> None:
        from mockprovider.server.runner import LoopServer

        if self._inner is not None:
            raise MockProviderError("this MockProvider has been started already; make another one")
        self._inner = LoopServer(self._settings, self._scenario)
        self._namespace = self._inner.handler.default

    @property
    def _in_loop(self) -> LoopServer:
        if self._inner is None:
            raise MockProviderError("this MockProvider is not running: use `with`, `async with` or start()")
        return self._inner

    @property
    def _running(self) -> Namespace:
        if self._namespace is None:
            raise MockProviderError("this MockProvider is not running: use `with`, `async with` or start()")
        return self._namespace

    @property
    def used(self) -> bool:
        """Whether it has been started."""
        return self._inner is not None

    def _call(self, function: Callable[[], T]) -> T:
        """Run on the server's loop: there now, or from another thread, after all that the loop has begun."""
        return self._thread.call(function) if self._thread is not None else function()

    # ------------------------------------------------------------------------------------------ where it is

    @property
    def url(self) -> str:
        """The base URL without `/v1`; it has the namespace in its path."""
        prefix = f"/~{self._running.id}" if self._running.id else ""
        return self._in_loop.url + prefix

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDKs, with `/v1`."""
        return self.url + "/v1"

    @property
    def seed(self) -> int:
        """The seed from which everything random is drawn."""
        return self._in_loop.handler.seed.value

    def env(self) -> dict[str, str]:
        """Environment variables that make OpenAI's SDKs, and programs built on them, talk to this provider."""
        return environment(self.openai_url)

    # ------------------------------------------------------------------------------------------ rules

    def on(self, **conditions: Any) -> When:
        """Begin a rule: `provider.on(model="gpt-*", messages=contains("weather")).reply("Sunny")`.

        Conditions: path, model, stream, messages, last, tools, tool_result, turn, headers, body; see
        `mockprovider.matching.FIELDS`. SettingError for an unknown one.
        """
        return When(self, Conditions(**conditions))

    def _add(self, conditions: Conditions, answer: Answer) -> None:
        self._call(lambda: self._running.scenario.add(conditions, answer))

    def reset(self) -> None:
        """Forget rules, exchanges and gates, and end open streams."""
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
        """Block until so many exchanges have ended (so, and on this path). WaitTimeoutError after `timeout` seconds."""
        if self._thread is None:
            raise MockProviderError("wait_for would block the loop it waits for; use `await wait_for_async(...)`")
        waiting = self._running.journal.wait(exchanges, path=path, outcome=outcome, timeout=timeout)
        return self._thread.submit(waiting).result()

    async def wait_for_async(
        self, exchanges: int = 1, *, path: str | None = None, outcome: str | None = None, timeout: float = 5.0
    ) -> list[Exchange]:
        """The same without blocking the running loop."""
        waiting = self._running.journal.wait(exchanges, path=path, outcome=outcome, timeout=timeout)
        if self._thread is None:
            return await waiting
        return await asyncio.wrap_future(self._thread.submit(waiting))

    def check(self) -> None:
        """Raise what went wrong on the server's side: NoMatchError for unmatched requests, MockProviderError else."""
        unmatched, errors = self._call(lambda: (list(self._running.scenario.unmatched), list(self._running.errors)))
        if errors:
            raise MockProviderError("the mock provider failed:\n" + "\n".join(errors))
        if unmatched:
            raise NoMatchError("\n".join(unmatched))

    # ------------------------------------------------------------------------------------------ gates

    def hold(self, gate: str) -> None:
        """Close a gate: streams that begin from now on stop there until `release`.

        gate: `before-head`, `after-first-token`, `after-token-N` or `before-end`. SettingError for another.
        """
        self._call(lambda: self._running.gates.hold(gate))

    def release(self, gate: str) -> int:
        """Open a gate; returns how many streams waited there."""
        return self._call(lambda: self._running.gates.release(gate))

    @contextmanager
    def held(self, gate: str) -> Iterator[None]:
        """Hold the gate for the length of a `with` block."""
        self.hold(gate)
        try:
            yield
        finally:
            self.release(gate)


class When:
    """A rule's conditions, waiting for its answers. Each answer is given once, the last one for ever."""

    def __init__(self, provider: MockProvider, conditions: Conditions) -> None:
        self._provider = provider
        self._conditions = conditions

    def reply(
        self,
        *parts: str | Part | Reply | Callable[[Exchange], Reply | RequestError | str],
        finish: str | None = None,
        times: int | None = None,
        pace: str | Pacing | None = None,
        chunking: str | Chunking | None = None,
    ) -> Self:
        """Answer with texts and parts, a `Reply`, or a function of the exchange that returns one.

        times: so often before the next answer's turn. SettingError for what is no reply.
        """
        says: Any
        if len(parts) == 1 and callable(parts[0]) and not isinstance(parts[0], Reply):
            says = parts[0]
        elif not parts:
            raise SettingError("reply: expected at least one text, part or function")
        else:
            says = Reply.of(*parts, finish=finish)  # type: ignore[arg-type]
        return self._then(says, times, pace, chunking)

    then_reply = reply

    def error(
        self,
        status: int,
        message: str | None = None,
        *,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, object] | None = None,
        times: int | None = None,
    ) -> Self:
        """Answer with an error in the provider's shape. status: 400 to 599."""
        if not 400 <= status <= 599:
            raise SettingError(f"error: expected a status from 400 to 599, got {status}")
        said = request_error(status, message, kind=type, param=param, code=code, headers=headers)
        return self._then(said, times, None, None)

    then_error = error

    def _then(self, says: Any, times: int | None, pace: str | Pacing | None, chunking: str | Chunking | None) -> Self:
        answer = Answer(
            says,
            times,
            None if pace is None else Pacing.parse(pace),
            None if chunking is None else Chunking.parse(chunking),
        )
        self._provider._add(self._conditions, answer)
        return self


def settings_from(scenario: str | Path | None, given: Mapping[str, Any]) -> tuple[Settings, ScenarioFile | None]:
    """Settings from what was given, before what the scenario file says, before the defaults."""
    file = load(Path(scenario)) if scenario is not None else None
    chosen: dict[str, Any] = {}
    if file is not None:
        for name in ("seed", "pace", "chunking", "models", "api_keys"):
            if getattr(file, name) is not None:
                chosen[name] = getattr(file, name)
    chosen.update((name, value) for name, value in given.items() if value is not None)
    for name, parse in (("pace", Pacing.parse), ("chunking", Chunking.parse), ("reply", Reply.of)):
        if name in chosen:
            chosen[name] = parse(chosen[name])
    known = Settings.__dataclass_fields__
    for name in chosen:
        if name not in known:
            raise SettingError(f"unknown setting {name!r}{nearest(name, tuple(known))}")
    return Settings(**chosen), file


def environment(openai_url: str) -> dict[str, str]:
    """Environment variables for programs that are to talk to this base URL, and to bypass proxies for the loopback."""
    loopbacks = "localhost,127.0.0.1,::1"
    return {
        "OPENAI_BASE_URL": openai_url,
        "OPENAI_API_BASE": openai_url,
        "OPENAI_API_KEY": "sk-mockprovider",
        "NO_PROXY": loopbacks,
        "no_proxy": loopbacks,
    }

"""`MockProvider`: what a test, or a program, holds in its hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from mockprovider.asserting import pictured, unmet
from mockprovider.cases import get
from mockprovider.configuration import environment, settings_from
from mockprovider.errors import MockProviderError, NoMatchError, WaitTimeoutError
from mockprovider.exchange import Exchange
from mockprovider.matching import Conditions, GivenConditions
from mockprovider.namespace import Namespace
from mockprovider.pathology import Client, Pathology, select, survival
from mockprovider.replay.library import Deck, Library, Recordings
from mockprovider.resilience import findings
from mockprovider.scenario import Answer
from mockprovider.settings import GivenSettings
from mockprovider.verdict import Told
from mockprovider.when import When

if TYPE_CHECKING:
    from aiohttp import web

    from mockprovider.server.listeners import Listeners
    from mockprovider.server.runner import LoopServer, ThreadServer

__all__ = ["CaughtError", "MockProvider", "environment", "settings_from"]

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
        self._shares = False
        self._app: web.Application | None = None
        self._started = False
        self._told: list[tuple[int, Told]] = []

    @classmethod
    def on_shared(cls, thread: ThreadServer) -> MockProvider:
        """A provider in a new namespace of a server that is running already; `close` closes the namespace alone.

        The namespace is opened when something is first asked of it.
        """
        made = cls.__new__(cls)
        made._settings, made._scenario, made._app = thread.server.settings, None, None
        made._thread, made._inner, made._started = thread, thread.server, True
        made._opened, made._shares, made._told = None, True, []
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
        if not self._shares:
            thread.stop()
        elif self._opened is not None:
            opened, handler = self._opened, thread.server.handler

            def leave() -> bool:
                streaming = bool(opened.playing)
                if opened.id in handler.namespaces:  # else somebody closed it through the control API
                    handler.close(opened.id)
                return streaming

            if self._untouched:  # it needs nobody's turn to go
                handler.namespaces.pop(opened.id, None)
                opened.close()
            elif thread.call(leave):
                thread.call(lambda: None)  # by now every stream that was ended is written down

    def finish(self) -> None:
        """Close it, then raise what `check` raises, as the fixture does after a test."""
        self.close()
        if self._opened is not None or not self._shares:
            self.check()

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
        if self._opened is None:
            if not self._shares:
                return self._in_loop.handler.default
            if self._thread is None:
                raise MockProviderError("this MockProvider was closed before anything was asked of it")
            self._opened = self._in_loop.handler.open()
        return self._opened

    @property
    def _untouched(self) -> bool:
        """Whether nobody but this thread has had to do with the namespace: then its state may be changed from here."""
        journal = self._running.journal
        return self._shares and not journal and not journal.dropped and not self._in_loop.has_ports(self._running.id)

    def _call(self, function: Callable[[], T]) -> T:
        """Run on the server's loop: there now, or from another thread, after all that the loop has begun."""
        return self._thread.call(function) if self._thread is not None else function()

    def _early(self, function: Callable[[], object]) -> None:
        """Run it at once where no request has come yet, which saves a change of threads; else as `_call` does."""
        if self._untouched:
            function()
        else:
            self._call(function)

    # ------------------------------------------------------------------------------------------ where it is

    @property
    def url(self) -> str:
        """The base URL without `/v1`; it has the namespace in its path. MockProviderError while it does not listen."""
        prefix = f"/~{self._running.id}" if self._running.id else ""
        return self._in_loop.url + prefix

    @property
    def authority(self) -> Path | None:
        """What clients must trust where this server speaks TLS: a certificate in PEM. None where it does not."""
        kept = self._in_loop.certificate
        return None if kept is None else kept.authority

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDKs, with `/v1`."""
        return self.url + "/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for Anthropic's SDKs, which add `/v1` themselves."""
        return self.url

    @property
    def gemini_url(self) -> str:
        """The base URL for Google's SDK, which adds `/v1beta` itself."""
        return self.url

    @property
    def ollama_url(self) -> str:
        """The host for Ollama's SDK, which adds `/api` itself."""
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
    def _speed(self) -> float:
        return self._settings.speed

    @property
    def seed(self) -> int:
        """The seed from which everything random is drawn."""
        return self._in_loop.handler.seed.value

    def env(self) -> dict[str, str]:
        """Environment variables that make the SDKs of OpenAI, Anthropic, Google, Groq and Ollama, litellm, and programs
        built on them, talk to it."""
        keys = self._settings.api_keys
        return environment(self.openai_url, self.anthropic_url, keys[0] if keys else None)

    # ------------------------------------------------------------------------------------------ rules

    def on(self, **conditions: Unpack[GivenConditions]) -> When:
        """Begin a rule: `provider.on(model="gpt-*", messages=contains("weather")).reply("Sunny")`.

        Conditions: path, model, stream, messages, last, tools, tool_result, turn, headers, body; see
        `mockprovider.matching.FIELDS`. SettingError for an unknown one.
        """
        return When(self._add, Conditions(**conditions))

    def _add(self, conditions: Conditions, answer: Answer) -> None:
        self._early(lambda: self._running.scenario.add(conditions, answer))

    def replay(self, recordings: str | Path | Recordings, **settings: Any) -> None:
        """From now on, answer with these recordings what they are for, before any rule.

        recordings: a folder; settings: those of `mockprovider.replay.library.Recordings`, by name. RecordingError for
        a folder or a file that cannot be read, SettingError for what cannot be.
        """
        chosen = Recordings.of({"folder": recordings, **settings} if settings else recordings)
        library = Library(chosen)

        def put() -> None:
            self._running.deck = Deck(library)

        self._call(put)

    @property
    def unplayed(self) -> list[str]:
        """The names of the recordings that nobody has asked for yet."""
        deck = self._running.deck
        return [] if deck is None else self._call(lambda: deck.unplayed)

    def reset(self) -> None:
        """Forget rules, exchanges, gates and statements, and end open streams.

        Only a scenario file's rules remain, unused.
        """
        self._call(self._running.reset)
        self._told.clear()

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

    # ------------------------------------------------------------------------------------------ what the program says

    def delivered(self, text: str, *, error: BaseException | str | None = None, cancelled: bool = False) -> None:
        """State what the program delivered in the exchanges since the last statement, for `assert_resilient`.

        text: what its caller got; error: what it raised or reported besides, None for success; cancelled: it stopped
        reading on purpose, so the beginning of the text is enough.
        """
        self._tell(Told(text, _worded(error), cancelled, time.monotonic()))

    @contextmanager
    def expect_stream_error(self, *errors: type[Exception]) -> Iterator[CaughtError]:
        """The program in this block must raise, as it must where a stream is cut: `with ... as caught: caught.error`.

        errors: which exceptions count (any but AssertionError where none is given); others pass through.
        AssertionError, with what was sent, where nothing is raised.
        """
        __tracebackhide__ = True
        caught, counted = CaughtError(), errors or (Exception,)
        try:
            yield caught
        except counted as error:
            if not errors and isinstance(error, AssertionError):
                raise
            caught.error = error
            self._tell(Told(None, _worded(error), False, time.monotonic()))
            return
        seen = self.exchanges
        wanted = " or ".join(error.__name__ for error in errors) or "an error"
        raise AssertionError(
            "\n".join([f"expected {wanted}, and the program went on as if all was well", *pictured(seen)])
        )

    def _tell(self, told: Told) -> None:
        def note() -> None:
            journal = self._running.journal
            self._told.append((journal.dropped + len(journal), told))

        self._call(note)

    def assert_requested(self, times: int | None = None, **conditions: Unpack[GivenConditions]) -> list[Exchange]:
        """The exchanges whose requests meet the conditions, which are those of `on`.

        times: exactly so many, 0 for none; None: at least one. AssertionError otherwise, with the nearest request and
        what differs. SettingError for an unknown condition.
        """
        __tracebackhide__ = True
        wanted = Conditions(**conditions)
        met, why = unmet(self.exchanges, wanted, times)
        if why is not None:
            raise AssertionError(why)
        return met

    def assert_resilient(
        self,
        *,
        ignore: Collection[str] = (),
        most_attempts: int = 6,
        patience: float = 60.0,
        timeout: float = 0.5,
    ) -> None:
        """The program, which has ended, did what a resilient client does; see `mockprovider.resilience.RULES`.

        What the test said by `delivered` and `expect_stream_error` counts; without it, the wire alone is judged, on
        which an error that was raised looks like one that was swallowed. ignore: rules that do not count;
        most_attempts: of one request; patience: seconds that a client may be asked to wait; timeout: seconds that
        open streams have to end. AssertionError with all findings; SettingError for an unknown rule;
        MockProviderError where it would have to wait on its own loop.
        """
        __tracebackhide__ = True
        found: list[str] = []
        self._settle(timeout)
        exchanges = self.exchanges
        begin = 0
        open_end: list[tuple[int, Told | None]] = [*self._told, (self.dropped + len(exchanges), None)]
        for end, told in open_end:
            part = exchanges[max(0, begin - self.dropped) : max(0, end - self.dropped)]
            begin = end
            found += map(
                str, findings(part, told, ignore=ignore, most_attempts=most_attempts, patience=patience) if part else ()
            )
        if found:
            lines = [f"the program is not resilient: {len(found)} finding{'s' * (len(found) > 1)}"]
            raise AssertionError("\n".join([*lines, *(f"  {finding}" for finding in found), *pictured(exchanges)]))

    def _settle(self, timeout: float) -> None:
        """Give streams that their client has just left the time to end."""
        waiting = [exchange for exchange in self.exchanges if exchange.outcome is None]
        if not waiting:
            return
        if self._thread is None or self._thread.here:
            raise MockProviderError(f"first `await wait_for_async(...)` the end of {waiting[0]!r}")
        with suppress(WaitTimeoutError):
            self.wait_for(len(self.exchanges), timeout=timeout)

    def assert_survives(
        self,
        client: Client,
        *patterns: str,
        legal: bool | None = None,
        can: str | Collection[str] = (),
        dialect: str = "openai-chat",
    ) -> None:
        """The client does what the catalogue expects of it, in every case that is chosen.

        client: called with a base URL (with `/v1` for OpenAI's dialects), streams one prompt, and returns the text or
        raises; it may be a coroutine function. patterns, legal, can, dialect: see `mockprovider.pathology.select`.
        AssertionError with the cases that it did not survive; SettingError where no case is chosen.
        """
        __tracebackhide__ = True
        chosen = [self.pathology(case.name, dialect=dialect) for case in select(patterns, legal, can, dialect)]
        lost = [why for pathology in chosen if (why := survival(pathology, client)) is not None]
        if lost:
            raise AssertionError(f"the client did not survive {len(lost)} of {len(chosen)} cases:\n" + "\n".join(lost))

    def pathology(self, name: str, *, dialect: str = "openai-chat") -> Pathology:
        """A case of the catalogue as it happens here: where, for how long, and what is expected of a client.

        dialect: that of the client. SettingError for an unknown name and for a case that is not available.
        """
        return Pathology(get(name), self.case_url(name), dialect, self._speed, lambda: self.exchanges)

    # ------------------------------------------------------------------------------------------ gates

    def hold(self, gate: str) -> None:
        """Close a gate: streams that begin from now on stop there until `release`.

        gate: `before-head`, `after-first-token`, `after-token-N` or `before-end`. SettingError for another.
        """
        self._early(lambda: self._running.gates.hold(gate))

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


class CaughtError:
    """What `expect_stream_error` caught. error: the exception; None until it was raised."""

    error: Exception | None = None


def _worded(error: BaseException | str | None) -> str | None:
    """An error in words, with where its type comes from."""
    if error is None or isinstance(error, str):
        return error
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}: {error}"


async def _no_continue(request: web.Request) -> None:
    """The handler itself tells a client that waits for it to send its body."""

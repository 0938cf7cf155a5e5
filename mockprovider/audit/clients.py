"""Running what is audited: a command, a process a task; or a callable, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mockprovider.audit.model import AuditError, ClientFailure, Ending, Heard, Task
from mockprovider.errors import SettingError

__all__ = ["CallableClient", "Client", "CommandClient", "Watch", "environment_of"]

_POLL = 0.02
"""Seconds between two looks at a process."""

_LEAVE = 2.0
"""Seconds that a callable has to notice that its server is gone."""

_TAIL = 4000
"""Characters of a command's stderr that are kept."""


class Watch(Protocol):
    """What a client's runner must know of the server."""

    limit: float
    """Seconds that the client has, from its first request."""
    startup_limit: float
    """Seconds until that request, for a command."""

    def first_request(self) -> float | None:
        """When the first request came (monotonic seconds), or None."""

    def abandon(self) -> None:
        """End the server and every connection to it."""


class Client(Protocol):
    """Something that can be asked."""

    name: str

    def ask(self, task: Task, watch: Watch) -> Heard:
        """Have it do a task; never raises what the client did."""


# ------------------------------------------------------------------------------------------------ whose error it is

_PARSERS = ("json", "zlib", "struct", "codecs", "gzip", "binascii")
"""Modules of Python whose errors a client should have made its own."""

_BUILTIN_FAILURES = ("ConnectionError", "TimeoutError", "OSError", "IOError", "InterruptedError", "SystemExit")
"""Built-in exceptions that say what happened, with their subclasses' names below."""

_CONNECTION = ("BrokenPipeError", "ConnectionAbortedError", "ConnectionRefusedError", "ConnectionResetError")


def is_foreign(name: str, own: Sequence[str]) -> bool:
    """Whether an exception of this name (with its module) is none of the client's.

    own: the packages that are the client; where none is named, everything is its own but the programming and parsing
    errors of the language itself.
    """
    package = name.partition(".")[0]
    if own:
        return package not in own
    if "." not in name or package == "builtins":
        return name.rpartition(".")[2] not in (*_BUILTIN_FAILURES, *_CONNECTION)
    return package in _PARSERS


def _named(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _ending(name: str, own: Sequence[str], said: bool | None = None) -> Ending:
    foreign = is_foreign(name, own) if said is None else not said
    return Ending.CRASHED if foreign else Ending.RAISED


# ------------------------------------------------------------------------------------------------ a callable


class CallableClient:
    """A function of a `Task`, sync or async, that returns the text or yields its pieces, and raises where it fails.

    A mapping among the pieces is its report. own: packages whose exceptions are the client's own.
    """

    def __init__(self, function: Callable[[Task], Any], name: str | None = None, own: Sequence[str] = ()) -> None:
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._function = function
        self._own = tuple(own)

    def ask(self, task: Task, watch: Watch) -> Heard:
        """Run it on a thread; one that does not come back in time is left behind, without its server."""
        call = _Call(self._function, task)
        began = time.monotonic()
        call.thread.start()
        while not call.done.wait(_POLL if watch.first_request() is None else 0.1):
            now = time.monotonic()
            since = watch.first_request()
            if now - (since if since is not None else began) > watch.limit:
                break
        ended = call.ended if call.done.is_set() else time.monotonic()
        # What the client says after its server was taken from it does not count.
        pieces, report, error, hung = list(call.pieces), dict(call.report), call.error, not call.done.is_set()
        if hung:
            watch.abandon()
            call.done.wait(_LEAVE)
        since = watch.first_request() or began
        timed: dict[str, Any] = {"seconds": ended - since, "startup": max(0.0, since - began), "at": ended}
        text = "".join(pieces)
        if hung:
            return Heard(text, Ending.HUNG, report=report, **timed)
        if error is None:
            return Heard(text, Ending.COMPLETE, report=report, **timed)
        if isinstance(error, ClientFailure):
            said = f"{error.name}: {error}" if str(error) else error.name
            return Heard(text, _ending(error.name, self._own, error.own), said, {**report, **error.report}, **timed)
        return Heard(text, _ending(_named(error), self._own), _said(error), report, **timed)


def _said(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return f"{_named(error)}: {message[:300]}" if message else _named(error)


class _Call:
    """One call of a callable, on its own thread, which ends whenever it likes."""

    def __init__(self, function: Callable[[Task], Any], task: Task) -> None:
        self.pieces: list[str] = []
        self.report: dict[str, Any] = {}
        self.error: BaseException | None = None
        self.ended = 0.0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(function, task), name="audited", daemon=True)

    def _run(self, function: Callable[[Task], Any], task: Task) -> None:
        try:
            self._take(function(task))
        except BaseException as error:  # noqa: BLE001  whatever it is, it is what the client did
            self.error = error
        self.ended = time.monotonic()
        self.done.set()

    def _take(self, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, str):
            self.pieces.append(value)
        elif isinstance(value, Mapping):
            self.report.update(value)
        elif isinstance(value, Awaitable):
            self._take(asyncio.run(_awaited(value)))
        elif isinstance(value, AsyncIterable):
            asyncio.run(self._each(value))
        elif isinstance(value, Iterable):
            for piece in value:
                self._take(piece)
        else:
            raise AuditError(f"a client gives texts and one mapping, not {type(value).__name__}")

    async def _each(self, pieces: AsyncIterable[Any]) -> None:
        try:
            async for piece in pieces:
                self._take(piece)
        finally:
            if inspect.isasyncgen(pieces):
                await pieces.aclose()


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


# ------------------------------------------------------------------------------------------------ a command


def environment_of(task: Task) -> dict[str, str]:
    """The variables of a task: the contract's own, and those that SDKs read."""
    root = task.base_url.removesuffix("/v1")
    direct = "localhost,127.0.0.1,::1"
    return {
        "BASE_URL": task.base_url,
        "API_KEY": task.api_key,
        "MODEL": task.model,
        "PROMPT": task.prompt,
        "TIMEOUT": f"{task.timeout:g}",
        "DEADLINE": f"{task.deadline:g}",
        "STREAM": str(int(task.stream)),
        "REQUESTS": str(task.requests),
        "CASE": task.case,
        "DIALECT": task.dialect,
        "OPENAI_BASE_URL": f"{root}/v1",
        "OPENAI_API_BASE": f"{root}/v1",
        "OPENAI_API_KEY": task.api_key,
        "ANTHROPIC_BASE_URL": root,
        "ANTHROPIC_API_KEY": task.api_key,
        "GOOGLE_GEMINI_BASE_URL": root,
        "GEMINI_API_KEY": task.api_key,
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


class CommandClient:
    """A command that is run once a task: text on stdout, exit code 0 where it believes that the answer is complete.

    The last line of stderr may be a JSON object: its report. `{base_url}`, `{api_key}`, `{model}`, `{prompt}` and the
    like in the arguments are replaced. SettingError for a command that cannot be found.
    """

    def __init__(self, command: Sequence[str], name: str | None = None, own: Sequence[str] = ()) -> None:
        if not command:
            raise SettingError("expected a command after --")
        self.name = name or Path(command[0]).name
        self._command = tuple(command)
        self._own = tuple(own)

    def ask(self, task: Task, watch: Watch) -> Heard:
        """Run it in a process group of its own, which is killed where it does not end in time."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            began = time.monotonic()
            try:
                process = subprocess.Popen(
                    _filled(self._command, task),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **environment_of(task)},
                    start_new_session=True,
                )
            except OSError as error:
                raise SettingError(f"cannot run {self._command[0]!r}: {error.strerror or error}") from error
            try:
                code = _wait(process, began, watch)
            finally:
                _kill(process)
            ended = time.monotonic()
            text, errors = _read(out), _read(err)
        since = watch.first_request() or began
        timed: dict[str, Any] = {"seconds": ended - since, "startup": since - began, "at": ended}
        report, errors = _report(errors)
        if code is None:
            return Heard(text, Ending.HUNG, report=report, output=errors[-_TAIL:], **timed)
        if code == 0:
            return Heard(text, Ending.COMPLETE, report=report, output=errors[-_TAIL:], **timed)
        ending, said = _failure(code, errors, report, self._own)
        return Heard(text, ending, said, report, output=errors[-_TAIL:], **timed)


def _filled(command: Sequence[str], task: Task) -> list[str]:
    fields = {name: str(getattr(task, name)) for name in Task.__dataclass_fields__}
    return [re.sub(r"\{(\w+)\}", lambda found: fields.get(found[1], found[0]), word) for word in command]


def _wait(process: subprocess.Popen[bytes], began: float, watch: Watch) -> int | None:
    """The exit code, or None where the time is up: the limit from the first request on, another one before it."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL)
        since = watch.first_request()
        limit = watch.startup_limit if since is None else watch.limit
        if time.monotonic() - (began if since is None else since) > limit:
            return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of it, its children too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(file: Any) -> str:
    file.seek(0)
    # By hand: text mode would make "\n" of "\r\n".
    return bytes(file.read(64 << 20)).decode("utf-8", "replace")


def _report(errors: str) -> tuple[dict[str, Any], str]:
    """The JSON object on the last line of stderr, if there is one, and what stands before it."""
    before, _, last = errors.rstrip().rpartition("\n")
    if last.startswith("{"):
        try:
            report = json.loads(last)
        except ValueError:
            return {}, errors
        if isinstance(report, dict):
            return report, before
    return {}, errors


_PYTHON_LAST = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?::\s?(?P<message>.*))?$", re.MULTILINE)
_TRACES = (
    ("Traceback (most recent call last):", "Python"),
    ("\n    at ", "JavaScript"),
    ("Exception in thread", "Java"),
    ("panic: ", "Go"),
    ("thread 'main' panicked", "Rust"),
)
_JAVASCRIPT = re.compile(
    r"^(?:Uncaught )?(?P<name>(?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$]*(?:Error|Exception))(?:: |$)", re.M
)
_JAVASCRIPT_OWN = (
    "Error", "TypeError", "SyntaxError", "RangeError", "ReferenceError", "EvalError", "URIError", "AggregateError",
)  # fmt: skip


def _failure(code: int, errors: str, report: Mapping[str, Any], own: Sequence[str]) -> tuple[Ending, str]:
    """How a command failed, from its report, its stack trace and its exit code, and that in words."""
    said = report.get("error")
    if isinstance(said, str) and said:
        name = said.partition(":")[0].strip()
        return _ending(name, own, report["own"] if isinstance(report.get("own"), bool) else None), said
    if code < 0:
        return Ending.CRASHED, f"ended by signal {-code}"
    language = next((language for mark, language in _TRACES if mark in f"\n{errors}"), None)
    if language == "Python":
        found = list(_PYTHON_LAST.finditer(errors.rpartition("Traceback (most recent call last):")[2]))
        if found:
            name, message = found[-1]["name"], found[-1]["message"] or ""
            return _ending(name, own), f"{name}: {message[:300]}"
    if language == "JavaScript":
        script = _JAVASCRIPT.search(errors)
        name = script["name"] if script else "Error"
        foreign = name not in own if own else name in _JAVASCRIPT_OWN
        return (Ending.CRASHED if foreign else Ending.RAISED), _line_of(errors, name)
    if language is not None:
        return Ending.CRASHED, _line_of(errors, "")
    last = errors.strip().rpartition("\n")[2]
    return Ending.RAISED, f"exit code {code}" + (f": {last[:300]}" if last else "")


def _line_of(errors: str, word: str) -> str:
    return next((line.strip()[:300] for line in errors.splitlines() if word in line and line.strip()), "")

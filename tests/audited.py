"""Two reference clients for the audit: one strict, which passes every case that applies to it, and one naive."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from mockprovider.audit import Task

CAN = ("tools", "refusal", "deadline", "non-streaming", "keep-alive")
"""What the strict client can do besides the usual."""

LONGEST_WAIT_S = 5.0
BACKOFF_S = 0.3
MOST_ATTEMPTS = 6


class StrictError(Exception):
    """The one error of the strict client: whatever goes wrong, its caller learns of it by this."""


StrictError.__module__ = "strict"


class TryAgainError(Exception):
    """Nothing was delivered yet, and the same request may succeed after so many seconds."""

    def __init__(self, reason: str, wait: float) -> None:
        super().__init__(reason)
        self.wait = wait


# ------------------------------------------------------------------------------------------------ the strict client


def strict(task: Task) -> Iterator[Any]:
    """Ask, and yield texts and a report; StrictError where the answer is not there or not complete."""
    client = _Strict(task)
    try:
        for _ in range(task.requests - 1):
            list(client.answer())
        yield from client.answer()
    finally:
        client.close()


class _Strict:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._until = time.monotonic() + task.deadline

    def answer(self) -> Iterator[Any]:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                yield from self._attempt(self._task.base_url + "/chat/completions")
            except TryAgainError as error:
                self.close()
                if attempt == MOST_ATTEMPTS:
                    raise StrictError(f"gave up after {attempt} attempts: {error}") from error
                time.sleep(error.wait)
            except (OSError, http.client.HTTPException, zlib.error, UnicodeError) as error:
                self.close()
                raise StrictError(f"{type(error).__name__}: {error}") from error
            else:
                return

    def close(self) -> None:
        """Let go of the connection, in the middle of an answer too."""
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()
        self._connection = self._response = None

    def _attempt(self, url: str) -> Iterator[Any]:
        response = self._posted(url)
        if response.status in (307, 308):
            target = response.getheader("Location", "")
            response.read()
            if urlsplit(target).netloc not in ("", urlsplit(url).netloc):
                raise StrictError(f"refused to follow a redirect to another origin: {target}")
            response = self._posted(target)
        if response.status != 200:
            raise _refused(response)
        if not self._task.stream:
            yield self._whole(response)
            return
        answer = _Answer()
        for piece in self._pieces(response):
            yield from answer.feed(piece)
            if answer.done:
                break
        yield from answer.flush()
        if self._task.requests > 1:
            response.read()
        else:
            self.close()
        yield answer.report()
        answer.check()

    def _posted(self, url: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        body = json.dumps(
            {
                "model": self._task.model,
                "stream": self._task.stream,
                "messages": [{"role": "user", "content": self._task.prompt}],
            }
        )
        sent = {
            "Authorization": f"Bearer {self._task.api_key}",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip",
        }
        if self._connection is None:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=self._task.timeout)
        try:
            self._connection.request("POST", parts.path or url, body, sent)
            self._response = self._connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            raise TryAgainError(str(error), BACKOFF_S) from error
        return self._response

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The decoded body as it comes; an error where it ends too early."""
        gzipped = zlib.decompressobj(31) if response.getheader("Content-Encoding") == "gzip" else None
        begun = False
        while True:
            if time.monotonic() > self._until:
                raise StrictError("the deadline for the whole answer is over")
            try:
                data = response.read1(65536)
            except ConnectionError as error:
                if begun:
                    raise
                raise TryAgainError(str(error), BACKOFF_S) from error
            if not data:
                break
            begun = True
            yield gzipped.decompress(data) if gzipped else data
        if response.length:
            raise StrictError(f"the body ended {response.length} bytes before its declared length")
        if gzipped is not None and not gzipped.eof:
            raise StrictError("the compressed body ended before its end")

    def _whole(self, response: http.client.HTTPResponse) -> str:
        try:
            return str(json.loads(response.read())["choices"][0]["message"]["content"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise StrictError(f"no answer that can be read: {error}") from error


def _refused(response: http.client.HTTPResponse) -> Exception:
    body = response.read().decode("utf-8", "replace")
    message = f"status {response.status}: {body[:200]}"
    hopeless = response.getheader("x-should-retry") == "false" or "insufficient_quota" in body
    if hopeless or not (response.status in (408, 409, 429) or response.status >= 500):
        return StrictError(message)
    wait = _wait(response)
    if wait > LONGEST_WAIT_S:
        return StrictError(f"{message} (asked to wait {wait} s)")
    return TryAgainError(message, wait)


def _wait(response: http.client.HTTPResponse) -> float:
    said = response.getheader("retry-after-ms"), response.getheader("Retry-After", "")
    try:
        if said[0] is not None:
            return float(said[0]) / 1000
    except ValueError:
        pass
    if said[1].isdecimal():
        return float(said[1])
    try:
        # A date is in whole seconds: rounded up.
        return max(0.0, parsedate_to_datetime(said[1]).timestamp() - time.time()) + 1
    except (ValueError, TypeError):
        return BACKOFF_S


@dataclass
class _Answer:
    """A stream's answer, as it is put together. done: nothing more is to be read."""

    done: bool = False
    finish: str | None = None
    said: bool = False
    refusal: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    _keys: list[object] = field(default_factory=list)
    _rest: bytes = b""
    _first: bool = True
    _data: list[str] = field(default_factory=list)
    _event: str = ""

    # ------------------------------------------------------------------------------------------ server-sent events

    def feed(self, data: bytes) -> Iterator[str]:
        self._rest += data
        if self._first:
            if b"\xef\xbb\xbf".startswith(self._rest[:3]) and len(self._rest) < 3:
                return
            self._rest, self._first = self._rest.removeprefix(b"\xef\xbb\xbf"), False
        while not self.done:
            ends = [index for index in (self._rest.find(b"\n"), self._rest.find(b"\r")) if index >= 0]
            if not ends:
                return
            end = min(ends)
            if self._rest[end : end + 1] == b"\r" and end + 1 == len(self._rest):
                # It may be half of a pair; what it ends is clear all the same.
                line, self._rest = self._rest[:end], b""
                self._skip = True
            else:
                pair = self._rest[end : end + 2] == b"\r\n"
                line, self._rest = self._rest[:end], self._rest[end + 1 + pair :]
            if self._skip and not line and self._was_cr:
                self._skip = self._was_cr = False
                continue
            self._was_cr = self._skip and not self._rest
            yield from self._line(line.decode("utf-8", "replace"))

    _skip = False
    _was_cr = False

    def flush(self) -> Iterator[str]:
        """The last event, if its end is missing and it can be read all the same."""
        if not self.done and self._rest:
            yield from self._line(self._rest.decode("utf-8", "replace"))
        if not self.done and self._data:
            try:
                json.loads("\n".join(self._data))
            except ValueError:
                return
            yield from self._line("")

    def _line(self, line: str) -> Iterator[str]:
        if not line:
            data, event = "\n".join(self._data), self._event
            self._data, self._event = [], ""
            if data.strip():
                yield from self._dispatch(data, event)
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and value.strip() == "[DONE]":
            self.done = True
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value

    # ------------------------------------------------------------------------------------------ payloads

    def _dispatch(self, data: str, event: str) -> Iterator[str]:
        if data.startswith(":"):
            return  # a comment in the wrong place
        try:
            payload = json.loads(data)
        except ValueError as error:
            raise StrictError(f"an event is no JSON: {data[:80]!r}") from error
        if payload is None:
            return
        if not isinstance(payload, dict):
            raise StrictError(f"an event is no object: {data[:80]!r}")
        if payload.get("error") or event == "error":
            raise StrictError(f"the provider reports an error: {data[:200]}")
        choices = payload.get("choices") or []
        for choice in choices[:1] if len(choices) == 1 else [c for c in choices if c.get("index", 0) == 0]:
            self.finish = choice.get("finish_reason") or self.finish
            yield from self._delta(choice.get("delta") or {})

    def _delta(self, delta: dict[str, Any]) -> Iterator[str]:
        content = delta.get("content")
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content if part.get("type") == "text")
        if content:
            self.said = True
            yield content
        self.refusal += delta.get("refusal") or ""
        for call in delta.get("tool_calls") or ():
            self._call(call.get("index"), call.get("id"), call.get("function") or {})
        if delta.get("function_call"):
            self._call(0, None, delta["function_call"])

    def _call(self, index: int | None, id: str | None, function: dict[str, Any]) -> None:
        known = [position for position, key in enumerate(self._keys) if key[0] == index]  # type: ignore[index]
        other = known and id and self._keys[known[-1]][1] not in (None, id)  # type: ignore[index]
        if not known or other:
            self._keys.append((index, id or None))
            self.calls.append({"name": "", "arguments": ""})
            known = [len(self.calls) - 1]
        call = self.calls[known[-1]]
        name = function.get("name")
        if name and name not in (call["name"], "null"):
            call["name"] += name
        arguments = function.get("arguments") or ""
        call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    # ------------------------------------------------------------------------------------------ the end

    def report(self) -> dict[str, Any]:
        return {"finish": self.finish, "tool_calls": self.calls, "refusal": self.refusal or None}

    def check(self) -> None:
        """StrictError where the answer is not complete."""
        if not self.done and self.finish is None:
            raise StrictError("the stream ended without a finish reason and without [DONE]")
        if self.finish is None and not (self.said or self.calls or self.refusal):
            raise StrictError("the stream has neither an answer nor a finish reason")
        for call in self.calls:
            try:
                json.loads(call["arguments"] or "{}")
            except ValueError as error:
                raise StrictError(f"the arguments of {call['name']} are cut or no JSON") from error


# ------------------------------------------------------------------------------------------------ the naive client


def naive(task: Task) -> Iterator[str]:
    """The loop of many a tutorial: each read is taken for whole events, what cannot be parsed is skipped."""
    body = {"model": task.model, "stream": True, "messages": [{"role": "user", "content": task.prompt}]}
    request = urllib.request.Request(
        f"{task.base_url}/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {task.api_key}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _AnyStatus())
    with opener.open(request) as response:
        while read := response.read1(65536):
            for event in read.decode("utf-8", "replace").split("\n\n"):
                try:
                    payload = json.loads(event.removeprefix("data: "))
                    yield payload["choices"][0]["delta"].get("content") or ""
                except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                    continue


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Takes every status for a success."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

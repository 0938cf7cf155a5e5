"""Clients that show what became of a stream, with the habits that real programs have.

Each asks once at the base URL (ending in `/v1`) and appends every text it hands out to `heard`, so that what came
before an exception is known too. Nothing is checked that the client or the tutorial does not check by itself.
"""

from __future__ import annotations

import asyncio
import json
import select
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import httpx
import httpx_sse
import openai
import pytest
import requests
import sseclient
from aiohttp_sse_client import client as aiohttp_sse_client

from tests.clients.programs import NODE
from tests.clients.python_clients import HEADERS, KEY, MESSAGES, MODEL, TIMEOUT_S, body, delta_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anthropic.lib.streaming import MessageStream
    from openai.types.chat import ChatCompletionChunk


# ---------------------------------------------------------------------------------------------- vendors' SDKs


def hear(chunk: ChatCompletionChunk, heard: list[str]) -> None:
    """The texts of one chunk."""
    heard += [choice.delta.content for choice in chunk.choices if choice.delta.content]


def openai_chunks(base_url: str, *, timeout: float = TIMEOUT_S, retries: int = 0) -> Iterator[ChatCompletionChunk]:
    """The chunks of the openai package; timeout in seconds."""
    with (
        openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=retries, timeout=timeout) as client,
        client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as chunks,
    ):
        yield from chunks


def openai_sync(base_url: str, heard: list[str], *, timeout: float = TIMEOUT_S, retries: int = 0) -> None:
    """The openai package."""
    for chunk in openai_chunks(base_url, timeout=timeout, retries=retries):
        hear(chunk, heard)


def openai_async(base_url: str, heard: list[str], *, retries: int = 0) -> None:
    """The openai package's asynchronous client."""

    async def ask() -> None:
        async with (
            openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=retries, timeout=TIMEOUT_S) as client,
            await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as chunks,
        ):
            async for chunk in chunks:
                hear(chunk, heard)

    asyncio.run(ask())


def openai_responses(base_url: str, heard: list[str]) -> None:
    """The events of the openai package's `responses.create`, as they come."""
    with (
        openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client,
        client.responses.create(model=MODEL, input="Speak.", stream=True) as events,
    ):
        for event in events:
            if event.type == "response.output_text.delta":
                heard.append(event.delta)
            elif event.type == "error":
                heard.append(f"[{event.message}]")


def openai_responses_helper(base_url: str, heard: list[str]) -> None:
    """The same by its helper `responses.stream`."""
    with (
        openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client,
        client.responses.stream(model=MODEL, input="Speak.") as events,
    ):
        for event in events:
            if event.type == "response.output_text.delta":
                heard.append(event.delta)
            elif event.type == "error":
                heard.append(f"[{event.message}]")


@contextmanager
def anthropic_client(url: str) -> Iterator[anthropic.Anthropic]:
    """The anthropic package without retries; url: without `/v1`."""
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client:
        yield client


@contextmanager
def anthropic_events(url: str) -> Iterator[MessageStream[None]]:
    """The anthropic package's streaming helper, before its first event."""
    with (
        anthropic_client(url) as client,
        client.messages.stream(
            model=MODEL, max_tokens=1024, messages=[{"role": "user", "content": "Speak."}]
        ) as stream,
    ):
        yield stream


def anthropic_helper(url: str, heard: list[str]) -> None:
    """The texts of that helper."""
    with anthropic_events(url) as stream:
        for text in stream.text_stream:
            heard.append(text)  # noqa: PERF402 - what came before an exception counts


def anthropic_raw(url: str, heard: list[str]) -> None:
    """The anthropic package's events as they come."""
    with (
        anthropic_client(url) as client,
        client.messages.create(
            model=MODEL, max_tokens=1024, messages=[{"role": "user", "content": "Speak."}], stream=True
        ) as events,
    ):
        for event in events:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                heard.append(event.delta.text)  # noqa: PERF401 - as above


# ---------------------------------------------------------------------------------------------- SSE libraries


@contextmanager
def httpx_response(base_url: str, timeout: float = TIMEOUT_S) -> Iterator[httpx.Response]:
    """A stream of httpx whose status nobody has looked at; timeout: seconds between two reads."""
    with (
        httpx.Client(headers=HEADERS, timeout=timeout) as client,
        client.stream("POST", f"{base_url}/chat/completions", json=body(stream=True)) as response,
    ):
        yield response


def hear_data(events: Iterable[Any], heard: list[str]) -> None:
    """The texts of events that a library made, until `[DONE]` or the end."""
    for event in events:
        if event.data == "[DONE]":
            return
        heard.append(delta_text(event.data))


def sseclient_bytes(base_url: str, heard: list[str]) -> None:
    """sseclient-py over httpx's `iter_bytes`."""
    with httpx_response(base_url) as response:
        hear_data(sseclient.SSEClient(response.iter_bytes()).events(), heard)


def sseclient_lines(base_url: str, heard: list[str]) -> None:
    """sseclient-py over httpx's `iter_lines`, as a tutorial has it."""
    with httpx_response(base_url) as response:
        lines: Any = response.iter_lines()  # of text, where sseclient-py wants bytes
        hear_data(sseclient.SSEClient(lines).events(), heard)


def httpx_sse_events(base_url: str, heard: list[str]) -> None:
    """httpx-sse."""
    with httpx_response(base_url) as response:
        hear_data(httpx_sse.EventSource(response).iter_sse(), heard)


def aiohttp_sse_events(base_url: str, heard: list[str]) -> None:
    """aiohttp-sse-client, with a hundredth of a second before it connects anew instead of five seconds."""

    async def ask() -> None:
        async with (
            aiohttp.ClientSession(headers=HEADERS, timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
            aiohttp_sse_client.EventSource(
                f"{base_url}/chat/completions",
                option={"method": "POST"},
                session=session,
                reconnection_time=timedelta(seconds=0.01),
                json=body(stream=True),
            ) as events,
        ):
            async for event in events:
                if event.data == "[DONE]":
                    return
                heard.append(delta_text(event.data))

    asyncio.run(ask())


# ---------------------------------------------------------------------------------------------- parsers made by hand


def hear_lines(lines: Iterable[str], heard: list[str]) -> None:
    """The parser of the tutorials: lines that begin with `data: `, until `[DONE]` or the end."""
    for line in lines:
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            return
        heard.append(delta_text(data))


def httpx_lines(base_url: str, heard: list[str], *, timeout: float = TIMEOUT_S) -> None:
    """That parser over httpx's `iter_lines`."""
    with httpx_response(base_url, timeout) as response:
        hear_lines(response.iter_lines(), heard)


def requests_lines(base_url: str, heard: list[str], *, timeout: float = TIMEOUT_S) -> None:
    """That parser over requests' `iter_lines`."""
    with (
        requests.Session() as session,
        session.post(
            f"{base_url}/chat/completions", json=body(stream=True), headers=HEADERS, stream=True, timeout=timeout
        ) as response,
    ):
        hear_lines((line.decode() for line in response.iter_lines()), heard)


def aiohttp_lines(base_url: str, heard: list[str]) -> None:
    """That parser over the lines of aiohttp."""

    async def ask() -> None:
        async with (
            aiohttp.ClientSession(headers=HEADERS, timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
            session.post(f"{base_url}/chat/completions", json=body(stream=True)) as response,
        ):
            async for line in response.content:
                hear_lines([line.decode().rstrip("\n")], heard)

    asyncio.run(ask())


def everything_is_json(base_url: str, heard: list[str]) -> None:
    """A tutorial that takes the data of every event for JSON."""
    with httpx_response(base_url) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data:"))
        for line in lines:
            heard += [delta_text(line.removeprefix("data:"))]


def reads_are_events(base_url: str, heard: list[str]) -> None:
    """A parser that carries nothing over from one read to the next, and skips what is no JSON."""
    with httpx_response(base_url) as response:
        for read in response.iter_raw():
            for line in read.decode(errors="replace").split("\n"):
                try:
                    hear_lines([line], heard)
                except json.JSONDecodeError:
                    continue


# ---------------------------------------------------------------------------------------------- Node


@dataclass(frozen=True)
class Heard:
    """What a client for Node told: its text, the finish reasons it passed on, and what it threw."""

    text: str
    finishes: list[str]
    error: str | None


class Node:
    """The clients of `node/witness.mjs`, in one process: most of a run of Node is its start and its imports."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Node]:
        """A process for the length of a `with` block; skips the test where Node or its packages are absent."""
        if shutil.which("node") is None:
            pytest.skip("Node is not installed")
        if not (NODE / "node_modules").is_dir():
            pytest.skip("the Node packages are not installed (scripts/test installs them where npm is)")
        command = ["node", str(NODE / "witness.mjs")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def __call__(self, client: str, base_url: str, *, timeout_ms: int = 30_000) -> Heard:
        """What a client told of one stream."""
        given, printed = self._process.stdin, self._process.stdout
        assert given is not None
        assert printed is not None
        asked = {"client": client, "baseURL": base_url, "timeoutMs": timeout_ms}
        given.write(json.dumps(asked).encode() + b"\n")
        ready, _, _ = select.select([printed], [], [], TIMEOUT_S)
        assert ready, f"{client} for Node told nothing within {TIMEOUT_S} s"
        line = printed.readline()
        assert line, "Node ended; what it said is above"
        return Heard(**json.loads(line))

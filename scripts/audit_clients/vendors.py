"""The vendors' SDKs, SSE libraries, and the loops of tutorials, in Python."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import anthropic
import httpx
import httpx_sse
import openai
import requests
import sseclient
from aiohttp_sse_client import client as aiohttp_sse

from scripts.audit_clients.spec import ANTHROPIC, Spec, body, headers, named, spec

CLIENTS: dict[str, Spec] = {}

# ------------------------------------------------------------------------------------------------ openai


def _messages(task: Any) -> Any:
    return [{"role": "user", "content": task.prompt}]


@spec(CLIENTS, "openai", "openai {}", package="openai", own=("openai",), can=("keep-alive", "non-streaming"))
def openai_sync(task: Any) -> Iterator[Any]:
    """The openai package, as its README has it."""
    with openai.OpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client:
        for _ in range(task.requests - 1):
            for _chunk in client.chat.completions.create(model=task.model, messages=_messages(task), stream=True):
                pass
        if not task.stream:
            whole = client.chat.completions.create(model=task.model, messages=_messages(task))
            yield whole.choices[0].message.content or ""
            return
        finish = None
        for chunk in client.chat.completions.create(model=task.model, messages=_messages(task), stream=True):
            for choice in chunk.choices:
                yield choice.delta.content or ""
                finish = choice.finish_reason or finish
        yield named(finish)


@spec(CLIENTS, "openai-async", "openai {} async", package="openai", own=("openai",))
async def openai_async(task: Any) -> AsyncIterator[Any]:
    """The same package's asynchronous client."""
    async with openai.AsyncOpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client:
        finish = None
        async for chunk in await client.chat.completions.create(
            model=task.model, messages=_messages(task), stream=True
        ):
            for choice in chunk.choices:
                yield choice.delta.content or ""
                finish = choice.finish_reason or finish
        yield named(finish)


@spec(CLIENTS, "openai-helper", "openai {} .stream()", package="openai", own=("openai",), can=("tools", "refusal"))
def openai_helper(task: Any) -> Iterator[Any]:
    """The same package's streaming helper, which gathers a message."""
    with (
        openai.OpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client,
        client.chat.completions.stream(model=task.model, messages=_messages(task)) as events,
    ):
        for event in events:
            if event.type == "content.delta":
                yield event.delta
        choice = events.get_final_completion().choices[0]
        calls = [
            {"name": call.function.name, "arguments": call.function.arguments}
            for call in choice.message.tool_calls or ()
        ]
        yield {"finish": choice.finish_reason, "tool_calls": calls, "refusal": choice.message.refusal}


# ------------------------------------------------------------------------------------------------ anthropic


@spec(CLIENTS, "anthropic", "anthropic {}", package="anthropic", dialect=ANTHROPIC, own=("anthropic",))
def anthropic_raw(task: Any) -> Iterator[Any]:
    """The anthropic package's events as they come."""
    with (
        anthropic.Anthropic(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client,
        client.messages.create(model=task.model, max_tokens=1024, messages=_messages(task), stream=True) as events,
    ):
        finish = None
        for event in events:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text
            elif event.type == "message_delta":
                finish = event.delta.stop_reason
        yield named(finish)


@spec(
    CLIENTS, "anthropic-helper", "anthropic {} .stream()", package="anthropic", dialect=ANTHROPIC, own=("anthropic",),
    can=("tools", "refusal"),
)  # fmt: skip
def anthropic_helper(task: Any) -> Iterator[Any]:
    """The same package's streaming helper, with its text stream and its final message."""
    with (
        anthropic.Anthropic(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client,
        client.messages.stream(model=task.model, max_tokens=1024, messages=_messages(task)) as stream,
    ):
        yield from stream.text_stream
        message = stream.get_final_message()
        calls = [{"name": b.name, "arguments": b.input} for b in message.content if b.type == "tool_use"]
        yield {"finish": message.stop_reason, "tool_calls": calls}


@spec(CLIENTS, "anthropic-async", "anthropic {} async", package="anthropic", dialect=ANTHROPIC, own=("anthropic",))
async def anthropic_async(task: Any) -> AsyncIterator[Any]:
    """The same package's asynchronous helper."""
    async with (
        anthropic.AsyncAnthropic(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client,
        client.messages.stream(model=task.model, max_tokens=1024, messages=_messages(task)) as stream,
    ):
        async for text in stream.text_stream:
            yield text
        yield named((await stream.get_final_message()).stop_reason)


# ------------------------------------------------------------------------------------------------ SSE libraries


def _texts(data: str) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(data)["choices"])


def _httpx(task: Any) -> Any:
    return httpx.Client(headers=headers(task), timeout=task.timeout)


@contextmanager
def _httpx_stream(task: Any) -> Iterator[httpx.Response]:
    with _httpx(task) as client, client.stream("POST", f"{task.base_url}/chat/completions", json=body(task)) as made:
        yield made


def _events(events: Iterable[Any]) -> Iterator[str]:
    for event in events:
        if event.data == "[DONE]":
            return
        yield _texts(event.data)


@spec(CLIENTS, "httpx-sse", "httpx-sse {}", package="httpx-sse")
def httpx_sse_events(task: Any) -> Iterator[str]:
    """httpx with httpx-sse, as its README has it."""
    with (
        _httpx(task) as client,
        httpx_sse.connect_sse(client, "POST", f"{task.base_url}/chat/completions", json=body(task)) as source,
    ):
        source.response.raise_for_status()
        yield from _events(source.iter_sse())


@spec(CLIENTS, "sseclient-py", "sseclient-py {} over bytes", package="sseclient-py")
def sseclient_bytes(task: Any) -> Iterator[str]:
    """sseclient-py over the bytes of requests, as its README has it."""
    with requests.post(
        f"{task.base_url}/chat/completions", json=body(task), headers=headers(task), stream=True, timeout=task.timeout
    ) as response:
        yield from _events(sseclient.SSEClient(response).events())  # type: ignore[arg-type]


@spec(CLIENTS, "sseclient-py-lines", "sseclient-py {} over httpx lines", package="sseclient-py")
def sseclient_lines(task: Any) -> Iterator[str]:
    """sseclient-py over httpx's `iter_lines`, as a tutorial has it."""
    with _httpx_stream(task) as response:
        lines: Any = response.iter_lines()  # of text, where sseclient-py wants bytes
        yield from _events(sseclient.SSEClient(lines).events())


@spec(CLIENTS, "aiohttp-sse-client", "aiohttp-sse-client {}", package="aiohttp-sse-client")
async def aiohttp_sse_events(task: Any) -> AsyncIterator[str]:
    """aiohttp-sse-client, with a tenth of a second before it connects anew instead of five seconds."""
    async with (
        aiohttp.ClientSession(
            headers=headers(task), timeout=aiohttp.ClientTimeout(total=None, sock_read=task.timeout)
        ) as session,
        aiohttp_sse.EventSource(
            f"{task.base_url}/chat/completions",
            option={"method": "POST"},
            session=session,
            reconnection_time=timedelta(seconds=0.1),
            json=body(task),
        ) as events,
    ):
        async for event in events:
            if event.data == "[DONE]":
                return
            yield _texts(event.data)


# ------------------------------------------------------------------------------------------------ tutorials


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """The parser of the tutorials: lines that begin with `data: `, until `[DONE]` or the end."""
    for line in lines:
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            return
        yield _texts(data)


@spec(CLIENTS, "httpx-lines", "httpx {} iter_lines", package="httpx")
def httpx_lines(task: Any) -> Iterator[str]:
    """That parser over httpx's `iter_lines`, the status checked."""
    with _httpx_stream(task) as response:
        response.raise_for_status()
        yield from _lines(response.iter_lines())


@spec(CLIENTS, "httpx-lines-unchecked", "httpx {} iter_lines, status unchecked", package="httpx")
def httpx_lines_unchecked(task: Any) -> Iterator[str]:
    """The same without a look at the status, as many a tutorial has it."""
    with _httpx_stream(task) as response:
        yield from _lines(response.iter_lines())


@spec(CLIENTS, "requests-lines", "requests {} iter_lines", package="requests")
def requests_lines(task: Any) -> Iterator[str]:
    """That parser over requests' `iter_lines`."""
    with requests.post(
        f"{task.base_url}/chat/completions", json=body(task), headers=headers(task), stream=True, timeout=task.timeout
    ) as response:
        response.raise_for_status()
        yield from _lines(line.decode() for line in response.iter_lines())


@spec(CLIENTS, "aiohttp-lines", "aiohttp {} lines", package="aiohttp")
async def aiohttp_lines(task: Any) -> AsyncIterator[str]:
    """That parser over the lines of aiohttp."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=task.timeout)
    async with (
        aiohttp.ClientSession(headers=headers(task), timeout=timeout) as session,
        session.post(f"{task.base_url}/chat/completions", json=body(task)) as response,
    ):
        response.raise_for_status()
        async for line in response.content:
            text = line.decode().rstrip("\n")
            if text == "data: [DONE]":
                return
            for piece in _lines([text]):
                yield piece


@spec(CLIENTS, "urllib-lines", "urllib lines", cannot=("gzip",))
def urllib_lines(task: Any) -> Iterator[str]:
    """That parser over the lines of Python's own urllib."""
    request = urllib.request.Request(
        f"{task.base_url}/chat/completions",
        json.dumps(body(task)).encode(),
        {**headers(task), "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=task.timeout) as response:
        yield from _lines(line.decode().rstrip("\n") for line in response)


@spec(CLIENTS, "all-json", "httpx {}, every data: parsed as JSON", package="httpx")
def everything_is_json(task: Any) -> Iterator[str]:
    """A tutorial that takes the data of every event for JSON."""
    with _httpx_stream(task) as response:
        for line in response.iter_lines():
            if line.startswith("data:"):
                yield _texts(line.removeprefix("data:"))


@spec(CLIENTS, "reads", "httpx {}, each read parsed alone", package="httpx")
def reads_are_events(task: Any) -> Iterator[str]:
    """A parser that carries nothing over from one read to the next, and skips what is no JSON."""
    with _httpx_stream(task) as response:
        for read in response.iter_bytes():
            for line in read.decode(errors="replace").split("\n"):
                try:
                    yield from _lines([line])
                except json.JSONDecodeError:
                    continue


@spec(CLIENTS, "huggingface", "huggingface_hub {}", package="huggingface_hub", own=("huggingface_hub",))
def huggingface(task: Any) -> Iterator[Any]:
    """huggingface_hub's InferenceClient with the base URL of a server that is compatible with OpenAI's."""
    import huggingface_hub

    client = huggingface_hub.InferenceClient(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout)
    finish = None
    for chunk in client.chat.completions.create(model=task.model, messages=_messages(task), stream=True):
        for choice in chunk.choices:
            yield choice.delta.content or ""
            finish = choice.finish_reason or finish
    yield named(finish)


@spec(CLIENTS, "mistralai", "mistralai {}", package="mistralai", own=("mistralai",))
def mistral(task: Any) -> Iterator[Any]:
    """Mistral's SDK, which speaks OpenAI's form to a server of one's own."""
    from mistralai.client import Mistral

    root = task.base_url.removesuffix("/v1")
    with Mistral(api_key=task.api_key, server_url=root, timeout_ms=round(task.timeout * 1000)) as client:
        finish = None
        for event in client.chat.stream(model=task.model, messages=_messages(task)):
            for choice in event.data.choices:
                yield choice.delta.content if isinstance(choice.delta.content, str) else ""
                finish = choice.finish_reason or finish
        yield named(finish)

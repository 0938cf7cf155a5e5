"""Clients written in Python, each as its own documentation or the usual tutorial has it.

Each is a function of the base URL (ending in `/v1`) that asks once and returns the text it got, streamed or
whole.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx_sse
import openai
import requests
import sseclient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openai.types.chat import ChatCompletionMessageParam

KEY = "sk-any"
HEADERS = {"authorization": f"Bearer {KEY}"}
MODEL = "any-model"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say what you were told to say."}]
TIMEOUT_S = 30


def body(*, stream: bool) -> dict[str, Any]:
    """The request's body for the clients that build it by hand."""
    return {"model": MODEL, "messages": MESSAGES, "stream": stream}


def whole_text(document: Any) -> str:
    """The text of a whole reply."""
    return str(document["choices"][0]["message"]["content"])


def delta_text(data: str) -> str:
    """The text of one payload of a stream."""
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(data)["choices"])


def hand_parsed(lines: Iterable[str]) -> Iterator[str]:
    """The deltas of a stream by the parser of the tutorials: line by line, until `[DONE]`."""
    for line in lines:
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            return
        yield delta_text(data)
    raise AssertionError("the stream ended without [DONE]")


def openai_sync(base_url: str, *, stream: bool) -> str:
    """The openai package."""
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client:
        if not stream:
            reply = client.chat.completions.create(model=MODEL, messages=MESSAGES)
            return reply.choices[0].message.content or ""
        with client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as chunks:
            return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def openai_async(base_url: str, *, stream: bool) -> str:
    """The openai package's asynchronous client."""

    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client:
            if not stream:
                reply = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
                return reply.choices[0].message.content or ""
            parts = []
            async with await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as chunks:
                async for chunk in chunks:
                    parts += [choice.delta.content or "" for choice in chunk.choices]
            return "".join(parts)

    return asyncio.run(ask())


def openai_helper(base_url: str) -> str:
    """The openai package's streaming helper, which gathers the deltas into a completion of its own."""
    with (
        openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client,
        client.chat.completions.stream(model=MODEL, messages=MESSAGES) as events,
    ):
        deltas = "".join(event.delta for event in events if event.type == "content.delta")
        gathered = events.get_final_completion().choices[0].message.content
    assert deltas == gathered
    return deltas


def httpx_lines(base_url: str, *, stream: bool) -> str:
    """httpx with `iter_lines` and a parser made by hand."""
    with httpx.Client(headers=HEADERS, timeout=TIMEOUT_S) as client:
        if not stream:
            reply = client.post(f"{base_url}/chat/completions", json=body(stream=False))
            return whole_text(reply.raise_for_status().json())
        with client.stream("POST", f"{base_url}/chat/completions", json=body(stream=True)) as response:
            return "".join(hand_parsed(response.raise_for_status().iter_lines()))


def httpx_sseclient(base_url: str) -> str:
    """httpx with sseclient-py over `iter_bytes`: over `iter_lines` it fails on every stream."""
    with (
        httpx.Client(headers=HEADERS, timeout=TIMEOUT_S) as client,
        client.stream("POST", f"{base_url}/chat/completions", json=body(stream=True)) as response,
    ):
        events = sseclient.SSEClient(response.raise_for_status().iter_bytes()).events()
        data = [event.data for event in events]
    assert data.pop() == "[DONE]"
    return "".join(map(delta_text, data))


def httpx_sse_events(base_url: str) -> str:
    """httpx with httpx-sse."""
    with (
        httpx.Client(headers=HEADERS, timeout=TIMEOUT_S) as client,
        httpx_sse.connect_sse(client, "POST", f"{base_url}/chat/completions", json=body(stream=True)) as source,
    ):
        data = [event.data for event in source.iter_sse()]
    assert data.pop() == "[DONE]"
    return "".join(map(delta_text, data))


def aiohttp_lines(base_url: str, *, stream: bool) -> str:
    """aiohttp's own iteration over lines."""

    async def ask() -> str:
        async with (
            aiohttp.ClientSession(headers=HEADERS, timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
            session.post(f"{base_url}/chat/completions", json=body(stream=stream)) as response,
        ):
            response.raise_for_status()
            if not stream:
                return whole_text(await response.json())
            return "".join(hand_parsed([line.decode().rstrip("\n") async for line in response.content]))

    return asyncio.run(ask())


def requests_lines(base_url: str, *, stream: bool) -> str:
    """requests with `iter_lines` over bytes."""
    with (
        requests.Session() as session,
        session.post(
            f"{base_url}/chat/completions",
            json=body(stream=stream),
            headers=HEADERS,
            stream=stream,
            timeout=TIMEOUT_S,
        ) as response,
    ):
        response.raise_for_status()
        if not stream:
            return whole_text(response.json())
        return "".join(hand_parsed(line.decode() for line in response.iter_lines()))

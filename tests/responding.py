"""Requests to OpenAI's Responses and legacy completions, and what is answered, without a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from mockprovider.dialects.base import Ask, Dialect, Voice
from mockprovider.dialects.openai_completions import OpenAICompletions
from mockprovider.dialects.openai_responses import OpenAIResponses
from mockprovider.framing.sse import SseEncoder
from mockprovider.pace import Chunking, Pacing
from mockprovider.render import Framing, render
from mockprovider.reply import Part, Reply, deltas, paced
from mockprovider.seed import Seed
from mockprovider.timeline import Timed, run
from mockprovider.wire import Head, MessageEncoder, TransferEncoder
from tests.chatting import events, wire
from tests.wiretap import parse

__all__ = ["COMPLETIONS", "RESPONSES", "ask", "body", "documents", "outline", "request", "whole"]

RESPONSES = OpenAIResponses()
COMPLETIONS = OpenAICompletions()


def request(dialect: Dialect = RESPONSES, **fields: Any) -> dict[str, Any]:
    """The document of a request that is accepted, with these fields besides; those that are None are left out."""
    usual: dict[str, Any] = {"model": "gpt-4o", "input": "Say it, as JSON or not."}
    if dialect is COMPLETIONS:
        usual = {"model": "gpt-3.5-turbo-instruct", "prompt": "Say it.", "max_tokens": 1000}
    return {key: value for key, value in {**usual, **fields}.items() if value is not None}


def ask(dialect: Dialect = RESPONSES, **fields: Any) -> Ask:
    """The same, parsed."""
    return dialect.parse(json.dumps(request(dialect, **fields)).encode(), {})


def body(
    dialect: Dialect,
    asked: Ask,
    *parts: str | Part | Reply,
    composed: bool = True,
    relay: bool = False,
    seed: int = 7,
    tokens: int = 1,
) -> bytes:
    """The content of the response that the reply is on the wire.

    composed: False lets every item take the long way, through one encoder after the other. tokens: a payload.
    """
    reply = Reply.of(*parts)
    said = Voice(asked, reply, Seed(seed), (b"digest", 0), 1_700_000_000)
    packing = Chunking.parse(f"join=true,tokens_per_payload={tokens}")
    timing = Pacing.parse("instant").timing(Random(seed), asked.prompt_tokens)
    transfer = TransferEncoder(packing)
    replies = [reply] * asked.choices
    actions: Iterator[Timed[Any]]
    if composed:
        actions = render(dialect, said, replies, timing, Framing(packing, relay), transfer)
    else:
        source = paced(
            [
                deltas(
                    reply,
                    choice=choice,
                    call_id=lambda index, choice=choice: dialect.call_id(said, choice, index),  # type: ignore[misc]
                    max_tokens=asked.max_tokens,
                    stop=asked.stop,
                    tokens_per_payload=tokens,
                )
                for choice in range(asked.choices)
            ],
            timing,
            {},
        )
        stages: list[Any] = [
            dialect.stream(said),
            SseEncoder(relay=relay),
            MessageEncoder(Head(200, dialect.headers(said, stream=True)), packing.payloads_per_chunk, timing.head),
            transfer,
        ]
        actions = run(source, stages)
    (response,) = parse(wire(actions))
    assert response.status == 200
    return bytes(response.body)


def whole(dialect: Dialect, *parts: str | Part | Reply, **fields: Any) -> dict[str, Any]:
    """The document of a whole reply."""
    document: dict[str, Any] = json.loads(body(dialect, ask(dialect, **fields), *parts))
    return document


def documents(stream: bytes) -> list[dict[str, Any]]:
    """The events of a Responses stream, each of which must be named by its type and numbered in order."""
    found = []
    for number, event in enumerate(events(stream)):
        document = json.loads(event.data)
        assert event.type == document["type"]
        assert document["sequence_number"] == number
        found.append(document)
    return found


def outline(found: list[dict[str, Any]]) -> list[str]:
    """The types of the events without their common beginning, repetitions left out."""
    lines = [one["type"].removeprefix("response.") for one in found]
    return [line for at, line in enumerate(lines) if at == 0 or lines[at - 1] != line]

"""Requests to Anthropic's messages and what is answered, without a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from mockprovider.dialects.anthropic_messages import AnthropicMessages
from mockprovider.dialects.base import Ask, Voice
from mockprovider.framing.sse import SseEncoder
from mockprovider.pace import Chunking, Pacing
from mockprovider.render import Framing, render
from mockprovider.reply import Part, Reply, deltas, paced
from mockprovider.seed import Seed
from mockprovider.timeline import Timed, run
from mockprovider.wire import Head, MessageEncoder, TransferEncoder
from tests.chatting import events, wire
from tests.wiretap import parse

__all__ = ["DIALECT", "VERSION", "ask", "body", "documents", "request", "text_of", "voice"]

DIALECT = AnthropicMessages()
VERSION = {"anthropic-version": "2023-06-01"}


def request(**fields: Any) -> dict[str, Any]:
    """The document of a request that is accepted, with these fields besides; those that are None are left out."""
    document = {
        "model": "claude-haiku-4-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Say it."}],
        **fields,
    }
    return {key: value for key, value in document.items() if value is not None}


def ask(**fields: Any) -> Ask:
    """The same, parsed."""
    return DIALECT.parse(json.dumps(request(**fields)).encode(), VERSION)


def voice(asked: Ask, reply: Reply, *, seed: int = 7, ordinal: int = 0) -> Voice:
    """What the encoders of one exchange are told."""
    return Voice(asked, reply, Seed(seed), (b"digest", ordinal), 1_700_000_000)


def body(asked: Ask, *parts: str | Part | Reply, composed: bool = True, relay: bool = False, seed: int = 7) -> bytes:
    """The content of the response that the reply is on the wire.

    composed: False lets every item take the long way, through one encoder after the other.
    """
    reply = Reply.of(*parts)
    said = voice(asked, reply, seed=seed)
    packing = Chunking.parse("join=true")
    timing = Pacing.parse("instant").timing(Random(seed), asked.prompt_tokens)
    transfer = TransferEncoder(packing)
    actions: Iterator[Timed[Any]]
    if composed:
        actions = render(DIALECT, said, [reply], timing, Framing(packing, relay), transfer)
    else:
        source = paced(
            [
                deltas(
                    reply,
                    choice=0,
                    call_id=lambda index: DIALECT.call_id(said, 0, index),
                    max_tokens=asked.max_tokens,
                    stop=asked.stop,
                )
            ],
            timing,
            {},
        )
        stages: list[Any] = [
            DIALECT.stream(said),
            SseEncoder(relay=relay),
            MessageEncoder(Head(200, DIALECT.headers(said, stream=True)), packing.payloads_per_chunk, timing.head),
            transfer,
        ]
        actions = run(source, stages)
    (response,) = parse(wire(actions))
    assert response.status == 200
    return bytes(response.body)


def documents(stream: bytes) -> list[dict[str, Any]]:
    """The documents of a stream, each of which must be named by its type."""
    found = []
    for event in events(stream):
        document = json.loads(event.data)
        assert event.type == document["type"]
        found.append(document)
    return found


def text_of(found: list[dict[str, Any]], key: str = "text") -> str:
    """The pieces of text, thinking, signature or partial_json, joined."""
    return "".join(one["delta"].get(key, "") for one in found if one["type"] == "content_block_delta")

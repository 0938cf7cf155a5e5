"""Chat requests and what is answered, without a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from mockprovider.dialects import DIALECTS, FLAVOURS, Dialect, flavoured
from mockprovider.dialects.base import Ask, Voice
from mockprovider.dialects.openai_chat import OpenAIChat
from mockprovider.framing.sse import SseEncoder
from mockprovider.pace import Chunking, Pacing
from mockprovider.render import Framing, render
from mockprovider.reply import Part, Reply, deltas, paced
from mockprovider.seed import Seed
from mockprovider.timeline import Control, Timed, run
from mockprovider.wire import Head, MessageEncoder, TransferEncoder
from tests.whatwg import Event, read
from tests.wiretap import parse

__all__ = [
    "DIALECT",
    "NAMED",
    "Event",
    "ask",
    "body",
    "chunks",
    "content",
    "events",
    "lower",
    "request",
    "same_text",
    "voice",
    "whole",
    "wire",
]

DIALECT = OpenAIChat()
NAMED: Mapping[str, Dialect] = {
    **{dialect.name: dialect for dialect in DIALECTS},
    **{name: flavoured(DIALECTS[0], name) for name in FLAVOURS if name != "openai"},
}
"""All dialects and flavours, by name."""

# ------------------------------------------------------------------------------------------------------ requests


def request(**fields: Any) -> dict[str, Any]:
    """The document of a request that is accepted, with these fields besides."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say it, as JSON or not."}], **fields}


def ask(**fields: Any) -> Ask:
    """The same, parsed."""
    return DIALECT.parse(json.dumps(request(**fields)).encode(), {})


def voice(asked: Ask, reply: Reply, *, seed: int = 7, ordinal: int = 0) -> Voice:
    """What the encoders of one exchange are told."""
    return Voice(asked, reply, Seed(seed), (b"digest", ordinal), 1_700_000_000)


# ------------------------------------------------------------------------------------------------------ replies


def lower(
    asked: Ask,
    *parts: str | Part | Reply,
    seed: int = 7,
    chunking: str | Chunking = "join=true",
    pace: str | Pacing = "instant",
    relay: bool = False,
    chunked: bool = True,
    composed: bool = True,
    bursts: bool = False,
) -> Iterator[Timed[Any]]:
    """A reply to a request as socket actions: what the server hands to its player.

    composed: False lets every item take the long way, through one encoder after the other. bursts: tokens that are due
    together may be one item.
    """
    said = voice(asked, Reply.of(*parts), seed=seed)
    replies = [said.reply] * asked.choices
    packing = Chunking.parse(chunking)
    timing = Pacing.parse(pace).timing(Random(seed), asked.prompt_tokens)
    transfer = TransferEncoder(packing, chunked=chunked)
    if composed:
        return render(DIALECT, said, replies, timing, Framing(packing, relay), transfer, bursts=bursts)
    source = paced(
        [
            deltas(
                reply,
                choice=choice,
                call_id=lambda index, choice=choice: "call_" + said.id(24, "call", choice, index),  # type: ignore[misc]
                max_tokens=asked.max_tokens,
                stop=asked.stop,
                tokens_per_payload=packing.tokens_per_payload,
            )
            for choice, reply in enumerate(replies)
        ],
        timing,
        {},
    )
    head = Head(200, DIALECT.headers(said, stream=True))
    stages: list[Any] = [
        DIALECT.stream(said),
        SseEncoder(relay=relay),
        MessageEncoder(head, packing.payloads_per_chunk, timing.head),
        transfer,
    ]
    return run(source, stages)


def wire(actions: Iterator[Timed[Any]]) -> bytes:
    """All bytes of a timeline."""
    return b"".join(
        item if isinstance(item, bytes) else item.data for _, item, _ in actions if not isinstance(item, Control)
    )


def body(asked: Ask, *parts: str | Part | Reply, **how: Any) -> bytes:
    """The content of the one response that the reply is on the wire."""
    (response,) = parse(wire(lower(asked, *parts, **how)))
    assert response.status == 200
    return bytes(response.body)


def events(stream: bytes) -> list[Event]:
    """The events of a stream, as the standard reads them."""
    return list(read(stream).events)


def chunks(stream: bytes) -> list[dict[str, Any]]:
    """The documents of a chat stream, which must end with `[DONE]`."""
    *documents, last = [event.data for event in events(stream)]
    assert last == "[DONE]"
    assert stream.endswith(b"data: [DONE]\n\n")
    return [json.loads(document) for document in documents]


def whole(asked: Ask, *parts: str | Part | Reply, **how: Any) -> dict[str, Any]:
    """The document of a whole reply."""
    document: dict[str, Any] = json.loads(body(asked, *parts, **how))
    return document


def content(documents: Sequence[dict[str, Any]], choice: int = 0, key: str = "content") -> str:
    """The text of one choice of a stream."""
    return "".join(
        said["delta"].get(key) or ""
        for document in documents
        for said in document["choices"]
        if said["index"] == choice
    )


def same_text(one: str, other: str) -> bool:
    """Whether two texts are one in UTF-16, the form of JSON's escapes: there a surrogate pair is its character."""
    return one.encode("utf-16-le", "surrogatepass") == other.encode("utf-16-le", "surrogatepass")

"""From a reply to the actions of a socket: the heart of the project.

A response is a timeline. It is lowered level by level, deltas to payloads to events to a message to writes, until it
is what a connection carries; the player performs it. Nothing is rendered before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mockprovider.dialects.base import Dialect, Encoder, Voice
from mockprovider.framing.sse import SseEncoder
from mockprovider.framing.whole import WholeEncoder
from mockprovider.jsontext import escape
from mockprovider.pace import Chunking, Timing
from mockprovider.payload import Affixes
from mockprovider.reply import Reply, TextDelta, deltas, paced
from mockprovider.timeline import NOWHERE, Control, End, Stage, Timed, run
from mockprovider.wire import Head, MessageEncoder, SocketItem, TransferEncoder

__all__ = ["Framing", "message", "render"]


@dataclass(frozen=True, slots=True)
class Framing:
    """How the exchange is to look below the payloads.

    relay: events carry `event:` and `id:` lines, as some relays write them. headers: further ones of the response.
    holds: gates by position, see `reply.paced`.
    """

    chunking: Chunking
    relay: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    holds: Mapping[int, str] = field(default_factory=dict)


def render(
    dialect: Dialect,
    voice: Voice,
    replies: Sequence[Reply],
    timing: Timing,
    framing: Framing,
    transfer: TransferEncoder,
) -> Iterator[Timed[SocketItem | Control]]:
    """The replies, one a choice, as socket actions with their gaps, ending included.

    The transfer encoder is the caller's, who knows the client's HTTP version and asks afterwards whether the
    connection may be kept.
    """
    ask = voice.ask
    head = Head(200, (*dialect.headers(voice, stream=ask.stream), *framing.headers))
    source = paced(
        [
            deltas(
                reply,
                choice=choice,
                call_id=lambda index, choice=choice: "call_" + voice.id(24, "call", choice, index),  # type: ignore[misc]
                max_tokens=ask.max_tokens,
                stop=ask.stop,
                tokens_per_payload=framing.chunking.tokens_per_payload,
            )
            for choice, reply in enumerate(replies)
        ],
        timing,
        framing.holds,
    )
    if ask.stream:
        encoder = dialect.stream(voice)
        sse = SseEncoder(relay=framing.relay)
        packed = MessageEncoder(head, framing.chunking.payloads_per_chunk, timing.head)
        stages: list[Stage[Any, Any]] = [TextComposition(encoder, sse, packed, transfer)]
    else:
        stages = [dialect.whole(voice), WholeEncoder(head), transfer]
    return run(source, stages)


def message(head: Head, body: bytes, transfer: TransferEncoder) -> Iterator[Timed[SocketItem | Control]]:
    """A response that is no model's reply, such as an error, at once and whole."""
    sized = Head(head.status, (*head.headers, ("Content-Length", str(len(body)))), head.reason)
    source: list[Timed[Any]] = [(0.0, sized, NOWHERE), (0.0, body, NOWHERE), (0.0, End(), NOWHERE)]
    return run(iter(source), [transfer])


class TextComposition(Stage[Any, Any]):
    """Four neighbouring encoders as one, with a short way for text deltas.

    Most of a stream is text deltas that differ in nothing but their text. Where every level agrees to that, the bytes
    around the text are encoded once, by the levels themselves, and each delta costs one escape and one join. All else
    goes through the encoders, and so does a text delta wherever a level must see it. A property test proves both ways
    equal byte for byte.
    """

    def __init__(self, encoder: Encoder, sse: SseEncoder, packed: MessageEncoder, transfer: TransferEncoder) -> None:
        self._encoder = encoder
        self._sse = sse
        self._packed = packed
        self._transfer = transfer
        self._stages: tuple[Stage[Any, Any], ...] = (encoder, sse, packed, transfer)

    def feed(self, timed: Timed[Any]) -> list[Timed[Any]]:
        return _feed(self._stages, timed)

    def flush(self) -> Iterator[Timed[Any]]:
        for index, stage in enumerate(self._stages):
            for timed in stage.flush():
                yield from _feed(self._stages[index + 1 :], timed)

    def _affixes(self, choice: int) -> Affixes | None:
        # The transfer coding is known when the head has passed, which it has before any text comes.
        if not (self._packed.transparent and self._transfer.chunk_framing and self._transfer.joins):
            return None
        inner = self._encoder.affixes(choice)
        return None if inner is None else self._sse.compose(inner)

    def through(self, source: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
        usage = self._encoder.usage
        known: dict[int, Affixes | None] = {}
        prefix = middle = suffix = b""
        pad = None
        ready = -1
        for timed in source:
            gap, item, origin = timed
            if type(item) is TextDelta:
                choice = item.choice
                if choice != ready:
                    if choice not in known:
                        # The first delta of a choice goes the long way: the head may still be ahead of it.
                        yield from _feed(self._stages, timed)
                        known[choice] = self._affixes(choice)
                        continue
                    affixes = known[choice]
                    if affixes is None:
                        yield from _feed(self._stages, timed)
                        continue
                    prefix, middle, suffix, pad = affixes.prefix, affixes.middle, affixes.suffix, affixes.pad
                    ready = choice
                text = item.text
                usage.completion += item.tokens
                if pad is None:
                    data = prefix + escape(text) + suffix
                else:
                    data = prefix + escape(text) + middle + pad(text) + suffix
                yield gap, b"%x\r\n%b\r\n" % (len(data), data), origin
            else:
                yield from _feed(self._stages, timed)
        yield from self.flush()


def _feed(stages: Sequence[Stage[Any, Any]], timed: Timed[Any]) -> list[Timed[Any]]:
    items = [timed]
    for stage in stages:
        items = [below for item in items for below in stage.feed(item)]
    return items

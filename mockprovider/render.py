"""From a reply to the actions of a socket: the heart of the project.

A response is a timeline. It is lowered level by level, deltas to payloads to events to a message to writes, until it
is what a connection carries; the player performs it. Nothing is rendered before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mockprovider.dialects.base import Ask, Dialect, Encoder, Voice
from mockprovider.faults.applied import NONE, Applied
from mockprovider.faults.base import Level
from mockprovider.framing.base import Framer
from mockprovider.framing.json_array import JsonArrayEncoder
from mockprovider.framing.ndjson import NdjsonEncoder
from mockprovider.framing.sse import SseEncoder
from mockprovider.framing.whole import WholeEncoder
from mockprovider.jsontext import escape
from mockprovider.pace import Chunking, Timing
from mockprovider.payload import Affixes
from mockprovider.reply import Reply, Text, TextDelta, TextRun, deltas, paced
from mockprovider.timeline import NOWHERE, Control, End, Stage, Timed, run
from mockprovider.wire import Burst, Head, MessageEncoder, SocketItem, TransferEncoder, Write

__all__ = ["Framing", "message", "planned_tokens", "render", "replaced"]


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
    faults: Applied = NONE,
    *,
    bursts: bool = False,
) -> Iterator[Timed[SocketItem | Control]]:
    """The replies, one a choice, as socket actions with their gaps, ending included.

    bursts: tokens that are due together may come as one `Burst`, where no fault must see them one by one.

    The transfer encoder is the caller's, who knows the client's HTTP version and asks afterwards whether the
    connection may be kept. Faults stand behind the encoder that makes the items of their level. SettingError where one
    cannot be done to this reply.
    """
    ask = voice.ask
    runs = bursts and faults is NONE and ask.stream and timing.instant and len(replies) == 1 and not framing.holds
    head = Head(200, replaced(dialect.headers(voice, stream=ask.stream), framing.headers))
    source = paced(
        [
            deltas(
                reply,
                choice=choice,
                call_id=lambda index, choice=choice: dialect.call_id(voice, choice, index),  # type: ignore[misc]
                max_tokens=ask.max_tokens,
                stop=ask.stop,
                tokens_per_payload=framing.chunking.tokens_per_payload or dialect.tokens_per_payload,
                runs=runs,
            )
            for choice, reply in enumerate(replies)
        ],
        timing,
        framing.holds,
    )
    stages = faults.stages(Level.REPLY)
    payload, event = faults.stages(Level.PAYLOAD), faults.stages(Level.EVENT)
    below, socket = faults.stages(Level.MESSAGE), faults.stages(Level.SOCKET)
    if not ask.stream:
        stages += [dialect.whole(voice), *payload, WholeEncoder(head), *below, transfer, *socket]
        return run(source, stages)
    encoder = dialect.stream(voice)
    framed = _framer(dialect.framing(ask), relay=framing.relay)
    packed = MessageEncoder(head, framing.chunking.payloads_per_chunk, timing.head)
    if payload or event or below:
        stages += [encoder, *payload, framed, *event, packed, *below, transfer, *socket]
    else:
        stages += [TextComposition(encoder, framed, packed, transfer, runs=runs), *socket]
    return run(source, stages)


def _framer(name: str, *, relay: bool) -> Framer:
    """The encoder of a framing, by its name in `Dialect.framing`."""
    if name == "ndjson":
        return NdjsonEncoder()
    if name == "json-array":
        return JsonArrayEncoder()
    return SseEncoder(relay=relay, end=b"\r\n" if name == "sse-crlf" else b"\n")


def replaced(headers: Iterable[tuple[str, str]], others: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The headers with the others after them, which take the place of those with the same name."""
    names = {name.lower() for name, _ in others}
    return (*(header for header in headers if header[0].lower() not in names), *others)


def message(
    head: Head, body: bytes, transfer: TransferEncoder, faults: Applied = NONE, *, sized: bool = True
) -> Iterator[Timed[SocketItem | Control]]:
    """A response that is no model's reply, such as an error, at once and whole. sized: its length is declared."""
    # A 204 must not declare a length, RFC 9110 section 8.6.
    length = (("Content-Length", str(len(body))),) if sized and head.status != 204 else ()
    begun = Head(head.status, (*head.headers, *length), head.reason)
    source: list[Timed[Any]] = [(0.0, begun, NOWHERE), (0.0, body, NOWHERE), (0.0, End(), NOWHERE)]
    return run(iter(source), [*faults.stages(Level.MESSAGE), transfer, *faults.stages(Level.SOCKET)])


def planned_tokens(replies: Sequence[Reply], ask: Ask) -> int | None:
    """How many tokens the replies will have, all choices together; None where one is endless."""
    if any(isinstance(part, Text) and not isinstance(part.text, str) for reply in replies for part in reply.parts):
        return None
    return sum(
        delta.tokens
        for choice, reply in enumerate(replies)
        for delta in deltas(reply, choice=choice, call_id=str, max_tokens=ask.max_tokens, stop=ask.stop)
    )


_SIZES = [b"%x\r\n" % size for size in range(2048)]
"""The first lines of HTTP chunks, by size."""


class _Chunks:
    """Text deltas to HTTP chunks, where all that differs from delta to delta is the text and its padding."""

    __slots__ = ("_affixes", "_fixed", "_suffix")

    def __init__(self, affixes: Affixes) -> None:
        self._affixes = affixes
        self._fixed = len(affixes.prefix) + len(affixes.middle) + len(affixes.suffix)
        self._suffix = affixes.suffix + b"\r\n"

    def of(self, deltas: Iterable[TextDelta]) -> list[bytes]:
        """One chunk a delta."""
        prefix, middle, pad = self._affixes.prefix, self._affixes.middle, self._affixes.pad
        fixed, suffix, join = self._fixed, self._suffix, b"".join
        chunks: list[bytes] = []
        for delta in deltas:
            text = delta.escaped
            if text is None:
                text = delta.escaped = escape(delta.text)
            padding = b"" if pad is None else pad(text)
            size = fixed + len(text) + len(padding)
            line = _SIZES[size] if size < 2048 else b"%x\r\n" % size
            chunks.append(join((line, prefix, text, middle, padding, suffix)))
        return chunks


class TextComposition(Stage[Any, Any]):
    """Four neighbouring encoders as one, with a short way for text deltas.

    Most of a stream is text deltas that differ in nothing but their text. Where every level agrees to that, the bytes
    around the text are encoded once, by the levels themselves, and each delta costs one escape and one join. All else
    goes through the encoders, and so does a text delta wherever a level must see it. A property test proves both ways
    equal byte for byte.
    """

    def __init__(
        self, encoder: Encoder, framed: Framer, packed: MessageEncoder, transfer: TransferEncoder, *, runs: bool = False
    ) -> None:
        self._runs = runs
        self._encoder = encoder
        self._framer = framed
        self._packed = packed
        self._transfer = transfer
        self._direct = False
        self._stages: tuple[Stage[Any, Any], ...] = (encoder, framed, packed, transfer)

    def feed(self, timed: Timed[Any]) -> list[Timed[Any]]:
        return _feed(self._stages, timed)

    def flush(self) -> Iterator[Timed[Any]]:
        # What the encoder owes has been framed already where the levels are composed.
        for index, stage in enumerate(self._stages):
            if index == 0 and self._direct:
                continue
            for timed in stage.flush():
                yield from _feed(self._stages[index + 1 :], timed)

    def _chunks(self, choice: int) -> _Chunks | None:
        inner = self._encoder.affixes(choice)
        affixes = None if inner is None else self._framer.compose(inner)
        return None if affixes is None else _Chunks(affixes)

    def through(self, source: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
        encoder, transfer = self._encoder, self._transfer
        usage, joins = encoder.usage, transfer.joins
        known: dict[int, _Chunks | None] = {}
        for timed in _begun(source, known) if self._runs else source:
            gap, item, origin = timed
            kind = type(item)
            if kind is TextDelta:
                chunks = known.get(item.choice)
                if chunks is not None:
                    usage.completion += item.tokens
                    [data] = chunks.of((item,))
                    yield gap, data if joins else Write(data, 0.0), origin
                    continue
            elif kind is TextRun:
                chunks = known[item.choice]
                assert chunks is not None, "other runs are taken apart"
                usage.completion += item.tokens
                yield gap, Burst(chunks.of(item.deltas), joins), origin
                continue
            if not self._direct or isinstance(item, Control):
                yield from _feed(self._stages, timed)
                # The head has passed with the first item, so the transfer coding is known now.
                self._direct = self._packed.transparent and transfer.chunk_framing
                continue
            yield from self._framed(encoder.feed(timed))
            if kind is not TextDelta:
                known.clear()  # a text may go on in another block
            elif item.choice not in known:
                known[item.choice] = self._chunks(item.choice)
        yield from self._framed(encoder.flush()) if self._direct else ()
        yield from self.flush()

    def _framed(self, payloads: Iterable[Timed[Any]]) -> Iterator[Timed[Any]]:
        """Payloads, or controls, where an event is one HTTP chunk and no level below needs to see it."""
        for gap, payload, origin in payloads:
            data = self._framer.block(payload)
            data = b"%x\r\n%b\r\n" % (len(data), data)
            yield gap, data if self._transfer.joins else Write(data, 0.0), origin


def _begun(source: Iterator[Timed[Any]], known: Mapping[int, object]) -> Iterator[Timed[Any]]:
    """The source with its runs of text deltas taken apart, but for those of a choice that has a short way already."""
    for timed in source:
        gap, item, (choice, token) = timed
        if type(item) is not TextRun:
            yield timed
            continue
        for index, delta in enumerate(item.deltas):
            if known.get(choice) is not None:
                yield gap, TextRun(item.deltas[index:], choice), (choice, token + index)
                break
            yield gap, delta, (choice, token + index)  # the consumer may learn the short way from it
            gap = 0.0


def _feed(stages: Sequence[Stage[Any, Any]], timed: Timed[Any]) -> list[Timed[Any]]:
    items = [timed]
    for stage in stages:
        items = [below for item in items for below in stage.feed(item)]
    return items

"""From a reply to the actions of a socket: the heart of the project.

A response is a timeline. It is lowered level by level, deltas to payloads to events to a message to writes, until it
is what a connection carries; the player performs it. Nothing is rendered before it is asked for.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
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
from mockprovider.reply import Reply, Said, Text, TextDelta, TextRun, deltas, paced
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

    bursts: several tokens may go through the levels as one, where no fault and no gate must see them one by one. Those
    of a stream may come as one `Burst`.

    The transfer encoder is the caller's, who knows the client's HTTP version and asks afterwards whether the
    connection may be kept. Faults stand behind the encoder that makes the items of their level. SettingError where one
    cannot be done to this reply.
    """
    ask = voice.ask
    runs = bursts and faults is NONE and len(replies) == 1 and not framing.holds
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
                run=_ahead(timing) if runs else 0,
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


def _ahead(timing: Timing) -> int:
    """How many tokens are rendered together: so many are ahead of a client that does not read, or of their time.

    Where they have gaps, those are four seconds' worth at most.
    """
    return 64 if timing.instant else max(1, min(32, int(4 / timing.mean)))


class _Lines(dict[int, bytes]):
    """The first lines of HTTP chunks, by size: those of usual sizes are kept."""

    def __missing__(self, size: int) -> bytes:
        return b"%x\r\n" % size


_LINES = _Lines({size: b"%x\r\n" % size for size in range(2048)})


class _Chunks:
    """Text deltas to HTTP chunks, where all that differs from delta to delta is the text and its padding."""

    __slots__ = ("_affixes", "_shape", "_tail")

    def __init__(self, affixes: Affixes) -> None:
        self._affixes = affixes
        self._tail = affixes.suffix + b"\r\n"
        # A text that is said again, in another stream, becomes the same bytes but for the prefix, which has the ids.
        self._shape = len(affixes.prefix), affixes.middle, affixes.suffix

    def one(self, text: bytes) -> bytes:
        """The chunk of one escaped text."""
        [(line, rest)] = self._made((text,))
        return line + self._affixes.prefix + rest

    def burst(self, said: Said, gaps: Sequence[float], *, joins: bool) -> Burst:
        """One chunk a token."""
        prefix, cycle, together = self._affixes.prefix, self._affixes.cycle, joins and not gaps
        known = cycle is not None or self._affixes.pad is None  # else what is drawn next cannot be told
        key = together, self._shape, None if cycle is None else cycle.state
        if known and said.made is not None and said.made[0] == key:
            made = said.made[1]
            if cycle is not None:
                cycle.skip(len(said.texts))
        else:
            made = self._made(said.escaped)
            if together:
                lines, rests = zip(*made, strict=True)
                made = [lines[0], *map(operator.add, rests, (*lines[1:], b""))]
            if known:
                said.made = key, made
        if together:
            return Burst.of_chunks(prefix.join(made), len(said.texts))
        join = b"".join
        return Burst([join((line, prefix, rest)) for line, rest in made], joins, gaps)

    def _made(self, texts: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """The first line of each chunk, and what stands behind the prefix."""
        middle, pad, tail, join = self._affixes.middle, self._affixes.pad, self._tail, b"".join
        paddings = repeat(b"") if pad is None else map(pad, texts)
        rests = [join((text, middle, padding, tail)) for text, padding in zip(texts, paddings, strict=False)]
        framed = len(self._affixes.prefix) - 2  # without the line end that is no part of the chunk
        return [(_LINES[framed + len(rest)], rest) for rest in rests]


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
                    data = chunks.one(escape(item.text))
                    yield gap, data if joins else Write(data, 0.0), origin
                    continue
            elif kind is TextRun:
                chunks = known[item.choice]
                assert chunks is not None, "other runs are taken apart"
                usage.completion += item.tokens
                yield gap, chunks.burst(item.said, item.gaps, joins=joins), origin
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
        for index, text in enumerate(item.said.texts):
            if known.get(choice) is not None:
                yield gap, item.after(index), (choice, token + index)
                break
            # The consumer may learn the short way from it.
            yield gap, TextDelta(text, choice), (choice, token + index)
            gap = item.gaps[index] if index < len(item.gaps) else 0.0


def _feed(stages: Sequence[Stage[Any, Any]], timed: Timed[Any]) -> list[Timed[Any]]:
    items = [timed]
    for stage in stages:
        items = [below for item in items for below in stage.feed(item)]
    return items

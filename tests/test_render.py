"""From a reply to the bytes of a connection: what was planned is what a client reads, whichever way it is lowered."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider.dialects import TABLE
from mockprovider.errors import SettingError
from mockprovider.pace import Chunking, Pacing
from mockprovider.render import Framing, render
from mockprovider.reply import Reasoning, Refusal, Reply, Text, ToolCall, deltas
from mockprovider.timeline import NOWHERE, Timed
from mockprovider.tokens import count
from mockprovider.wire import Burst, TransferEncoder, Write, singly
from tests.chatting import NAMED, ask, body, chunks, content, events, lower, same_text, voice, whole, wire

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=()),  # surrogates among them
        st.sampled_from('aA e\n\r\t"\\/\0\x7f\x85\u2028\u2029\ufeff\u200d👩🔬é\ud83d\ude00:{}'),
    ),
    max_size=60,
)
RATIOS = st.one_of(st.integers(1, 9).map(Fraction), st.integers(2, 9).map(lambda part: Fraction(1, part)))
CHUNKINGS = st.builds(
    Chunking,
    tokens_per_payload=st.integers(1, 9),
    payloads_per_chunk=RATIOS,
    chunks_per_write=st.one_of(st.none(), RATIOS),
    join=st.booleans(),
)
FIELDS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-4o", "gpt-5-mini", "o3", "modèle", "m\ud800\0t"]),
        "n": st.integers(1, 3),
        "stream_options": st.fixed_dictionaries(
            {"include_usage": st.booleans(), "include_obfuscation": st.booleans()},
        ),
    },
    optional={
        "max_tokens": st.integers(1, 12),
        "stop": st.lists(st.text('aAe \n"\\', min_size=1, max_size=3), min_size=1, max_size=4),
        "logprobs": st.booleans(),
    },
)
PARTS = st.lists(
    st.one_of(
        TEXTS.map(Text),
        TEXTS.map(Reasoning),
        TEXTS.map(Refusal),
        st.builds(ToolCall, st.just("look"), st.dictionaries(TEXTS, TEXTS, max_size=2)),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=150)
@given(TEXTS, st.integers(0, 2**32), FIELDS, CHUNKINGS, st.booleans())
@example("a\ud83d\ude00b\ud800", 1, {"model": "m", "n": 1}, Chunking(tokens_per_payload=2), True)
def test_the_stream_is_the_planned_text(
    text: str, seed: int, fields: dict[str, Any], chunking: Chunking, relay: bool
) -> None:
    """For any seed, request and chunking: the stream parses, and its deltas are the planned text in every choice."""
    asked = ask(stream=True, **fields)
    documents = chunks(body(asked, text, seed=seed, chunking=chunking, relay=relay))
    planned = whole(ask(**{key: value for key, value in fields.items() if key != "stream_options"}), text, seed=seed)
    for choice in planned["choices"]:
        streamed = content(documents, choice["index"])
        assert same_text(streamed, choice["message"]["content"])
        assert text.startswith(streamed) or "stop" in fields
        if not asked.stop and asked.max_tokens is None:
            assert streamed == text
    ends = [said["finish_reason"] for document in documents for said in document["choices"] if said["finish_reason"]]
    assert ends == [choice["finish_reason"] for choice in planned["choices"]]


@settings(deadline=None, max_examples=150)
@given(PARTS, FIELDS, CHUNKINGS, st.booleans(), st.booleans())
def test_both_ways_are_equal(
    parts: list[Any], fields: dict[str, Any], chunking: Chunking, relay: bool, chunked: bool
) -> None:
    """A text delta's short way through the levels yields the same actions, byte for byte, as the long way."""
    asked = ask(stream=True, **fields)

    def actions(*, composed: bool) -> list[tuple[float, str, bytes, Any]]:
        how: dict[str, Any] = {"chunking": chunking, "relay": relay, "chunked": chunked, "pace": "itl=0.5..1"}
        return [
            (gap, type(item).__name__, item if isinstance(item, bytes) else getattr(item, "data", b""), origin)
            for gap, item, origin in lower(asked, Reply(tuple(parts)), composed=composed, **how)
        ]

    assert actions(composed=True) == actions(composed=False)


@settings(deadline=None, max_examples=150)
@given(PARTS, FIELDS, CHUNKINGS, st.booleans(), st.sampled_from(["instant", "ttft=1,itl=0.5..1", "itl=0.02"]))
def test_bursts_are_their_pieces(
    parts: list[Any], fields: dict[str, Any], chunking: Chunking, relay: bool, pace: str
) -> None:
    """Several tokens come as one item, and the writes are the same, byte for byte, and each at its time."""
    asked = ask(stream=True, **fields)

    def writes(*, bursts: bool) -> list[tuple[float, str, bytes]]:
        made: list[tuple[float, str, bytes]] = []
        how: dict[str, Any] = {"chunking": chunking, "relay": relay, "pace": pace}
        for gap, item, _ in lower(asked, Reply(tuple(parts)), **how, bursts=bursts):
            if isinstance(item, Burst):
                name = "bytes" if item.joins else "Write"
                gaps = [gap, *(item.gaps or [0.0] * (len(item.pieces) - 1))]
                made += [(before, name, piece) for before, piece in zip(gaps, item.pieces, strict=True)]
            else:
                made.append((gap, type(item).__name__, item if isinstance(item, bytes) else getattr(item, "data", b"")))
        return made

    # What was made of a text is remembered: it is the same the second time.
    assert writes(bursts=True) == writes(bursts=False) == writes(bursts=True)


@pytest.mark.parametrize("named", NAMED)
@settings(deadline=None, max_examples=25)
@given(PARTS, st.sampled_from(["instant", "ttft=1,itl=0.25..0.5", "itl=0.5"]))
def test_a_whole_reply_takes_its_text_in_runs(named: str, parts: list[Any], pace: str) -> None:
    """Where several tokens are taken as one, the whole reply of every dialect is the same, and comes when it came."""
    dialect = NAMED[named]
    path, headers, sample = dialect.sample("Say it.", stream=False)
    if named == "openai-chat":
        sample = json.dumps({**json.loads(sample), "logprobs": True}).encode()
    asked = dialect.parse(sample, headers, TABLE.target(path, "", TABLE.find("POST", path, headers)))

    def said_here(part: Any) -> bool:
        try:
            dialect.check(Reply((part,)), stream=False)
        except SettingError:
            return False
        return True

    reply = Reply(tuple(filter(said_here, parts)))

    def actions(*, bursts: bool) -> list[tuple[object, object]]:
        said, timing = voice(asked, reply), Pacing.parse(pace).timing(Random(7), lambda: 9)
        timeline = render(
            dialect, said, [reply], timing, Framing(Chunking()), TransferEncoder(Chunking()), bursts=bursts
        )
        return [(pytest.approx(gap), item) for gap, item, _ in timeline]

    assert actions(bursts=True) == actions(bursts=False)


@pytest.mark.parametrize("pace", ["instant", "itl=0.02"])
def test_a_text_that_is_said_again(pace: str) -> None:
    """In another stream the same text has other ids, another seed or another dialect's words around it, and nothing
    else of the first one's."""
    reply = Reply.of(Text("some words that are said again and again " * 20))
    plain = {"stream_options": {"include_obfuscation": False}}
    names = {"model": "m"}, {"model": "longer"}
    for options, seed, join, name in itertools.product(({}, plain), (1, 2), (True, False), names):
        fields: dict[str, Any] = {**options, **name}
        how: dict[str, Any] = {"chunking": Chunking(join=join), "pace": pace, "seed": seed}
        asked = ask(stream=True, **fields)
        whole = [b"".join(map(payload, lower(asked, reply, bursts=bursts, **how))) for bursts in (True, False, True)]
        assert whole[0] == whole[1] == whole[2]


def payload(timed: Timed[Any]) -> bytes:
    """The bytes of an action."""
    item = timed[1]
    return item.whole if isinstance(item, Burst) else item if isinstance(item, bytes) else getattr(item, "data", b"")


def test_a_burst_of_chunks_can_be_taken_apart() -> None:
    """Where somebody steers a stream, chunks that were made together are chunks again."""
    chunks = [framed(b"a\r\n"), framed(b"\r\n" * 9), framed(b"0")]
    burst = Burst.of_chunks(b"".join(chunks), 3)
    assert list(singly(iter([(0.5, burst, NOWHERE)]))) == [
        (0.5 * (not at), chunk, NOWHERE) for at, chunk in enumerate(chunks)
    ]
    slow = Burst(chunks, joins=False, gaps=[0.25, 1.0]).hastened(4)
    assert [(gap, item.data) for gap, item, _ in singly(iter([(2.0, slow, NOWHERE)])) if isinstance(item, Write)] == [
        (gap, chunk) for gap, chunk in zip([2.0, 0.0625, 0.25], chunks, strict=True)
    ]


def framed(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_a_long_instant_text_comes_in_bursts() -> None:
    """A text that is due at once costs one item for dozens of tokens, and none of them holds more than that."""
    items = [item for _, item, _ in lower(ask(stream=True), "word " * 1000, bursts=True) if isinstance(item, Burst)]
    assert len(items) < 40
    assert {len(item.pieces) for item in items[1:-1]} == {64}


@settings(deadline=None)
@given(TEXTS)
@example("\u2028\u2029\0\x85")
@example("".join(map(chr, range(0x110))))
def test_a_scripted_reply_is_delivered_exactly(text: str) -> None:
    """Any str is delivered as it is, in a stream (even a surrogate pair, half by half) and in a whole reply."""
    assert content(chunks(body(ask(stream=True), text))) == text
    assert same_text(whole(ask(), text)["choices"][0]["message"]["content"], text)


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_every_kind_of_part_is_delivered_exactly(thought: str, refusal: str, argument: str) -> None:
    """Reasoning, refusals and tool arguments come as they were scripted."""
    said = Reply.of(Reasoning(thought), Refusal(refusal), ToolCall("look", argument))
    documents = chunks(body(ask(stream=True), said))
    assert content(documents, key="reasoning_content") == thought
    assert content(documents, key="refusal") == refusal
    calls = [call for d in documents for c in d["choices"] for call in c["delta"].get("tool_calls", ())]
    assert "".join(call["function"]["arguments"] for call in calls) == argument
    message = whole(ask(), said)["choices"][0]["message"]
    assert same_text(message.get("reasoning_content", ""), thought)
    assert same_text(message["refusal"] or "", refusal)
    assert same_text(message["tool_calls"][0]["function"]["arguments"], argument)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 9), st.integers(1, 3))
def test_usage_is_what_was_sent(text: str, size: int, choices: int) -> None:
    """Completion tokens are the tokens sent, however they are packed; prompt tokens come from the same cutter."""
    fields = {"n": choices, "stream": True, "stream_options": {"include_usage": True}}
    asked = ask(**fields)
    usage = chunks(body(asked, text, chunking=f"tokens_per_payload={size}"))[-1]["usage"]
    assert usage["completion_tokens"] == count(text) * choices
    assert usage["prompt_tokens"] == sum(count(said) for _, said in asked.messages)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@settings(deadline=None)
@given(PARTS, st.booleans(), CHUNKINGS)
@example([ToolCall("look", {})], True, Chunking())
def test_time_is_conserved(parts: list[Any], stream: bool, chunking: Chunking) -> None:
    """Whatever a reply is made of and however it is packed, its end is due one gap after its last token."""
    asked = ask(stream=stream)
    tokens = sum(delta.tokens for delta in deltas(Reply(tuple(parts)), choice=0, call_id=str))
    due = sum(gap for gap, _, _ in lower(asked, Reply(tuple(parts)), chunking=chunking, pace="ttft=8,itl=1"))
    assert due == (8 + tokens if tokens else 8)


def test_a_stream_is_rendered_as_it_is_read() -> None:
    """An endless reply is begun at once: nothing is rendered before it is asked for."""
    pulled = 0

    def pieces() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield "again "

    actions = lower(ask(stream=True), Text(pieces))
    for _ in range(5):
        next(actions)
    assert pulled <= 5


def test_relay_framing() -> None:
    """Relays number all events and name them; a client that knows the standard reads the same stream."""
    asked = ask(stream=True)
    relayed, plain = events(body(asked, "One two", relay=True)), events(body(asked, "One two"))
    assert [event.data for event in relayed] == [event.data for event in plain]
    assert [event.last_id for event in relayed] == [str(number) for number in range(1, len(relayed) + 1)]
    assert {event.type for event in relayed} == {"message"}
    assert body(asked, "One two", relay=True).startswith(b"event: message\nid: 1\ndata: {")


@pytest.mark.parametrize("stream", [True, False])
def test_equal_requests_are_rendered_alike(stream: bool) -> None:
    """Rendering has no state of its own: the same exchange is the same bytes."""
    asked = ask(stream=stream, n=2)
    assert wire(lower(asked, "Twice the same")) == wire(lower(asked, "Twice the same"))
    assert json.loads(json.dumps(asked.model)) == "gpt-4o"

"""OpenAI's chat completions, `POST /v1/chat/completions`, streamed and whole.

Field order, placement and types follow recordings of api.openai.com; the request's fields follow the published API
reference. Requests are parsed in `openai_chat_request`; whole replies are made in `openai_chat_whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Ask, Document, Encoder, Inquiry, Usage, Voice
from mockprovider.dialects.openai_chat_parts import Annotations, ToolNames, fingerprint, head, usage
from mockprovider.dialects.openai_chat_request import ChatOptions, parse
from mockprovider.dialects.openai_chat_whole import ChatWhole
from mockprovider.dialects.openai_endpoint import SHORT, OpenAIEndpoint
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.dialects.openai_models import model_list, model_object, not_listed, reasons
from mockprovider.dialects.routing import GET, PLAIN, Endpoint, Target
from mockprovider.jsontext import characters, dumps
from mockprovider.payload import Affixes, Payload
from mockprovider.reply import (
    Cited,
    Delta,
    Part,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.timeline import NOWHERE, Control, Origin, Timed

__all__ = ["OpenAIChat"]


_CHAT = "/v1/chat/completions"


class OpenAIChat(OpenAIEndpoint):
    """The dialect of `/v1/chat/completions`; the list of models is here, too."""

    name = "openai-chat"
    counts: tuple[str, ...] = ("prompt", "completion", "reasoning", "cached")
    cites: tuple[str, ...] = ("page",)
    endpoints: tuple[Endpoint, ...] = (
        Endpoint(_CHAT),
        Endpoint("/v1/models", GET, prompt=False),
        Endpoint("/v1/models/{model*}", GET, prompt=False),
    )

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in OpenAI's wording where it would be refused."""
        return _known(body) if len(body) <= SHORT else parse(body)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to `chat.completion.chunk` documents and the `[DONE]` sentinel."""
        return ChatStream(voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one `chat.completion` document."""
        return ChatWhole(voice)

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """Chat has a word for every part."""

    def document(self, inquiry: Inquiry) -> Document:
        """The list of models, or one of them."""
        name = inquiry.target.params.get("model")
        if name is None:
            body = model_list(inquiry.models)
        elif inquiry.models is None or name in inquiry.models:
            body = model_object(name)
        else:
            raise not_listed(name)
        return Document(name, (("Content-Type", "application/json"),), body)

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One message of a user."""
        return _CHAT, {}, dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": stream})


_known = lru_cache(maxsize=256)(parse)


_UNKEYED: Any = object()
"""In place of log probabilities: the choice has no such key."""


def _choice(index: int, delta: dict[str, Any], finish: str | None, logprobs: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    if logprobs is _UNKEYED:
        del choice["logprobs"]
    return dumps(choice)


@lru_cache(maxsize=1024)
def _begin(index: int, opens: str, *, keyed: bool, logprobs: bool) -> bytes:
    """The choice of a role chunk: what it says of content and refusal depends on what the reply opens with."""
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    said: Any = None if keyed else _UNKEYED
    if opens == "ToolCall":
        delta["content"] = None
    elif opens == "Refusal":
        delta.update(content=None, refusal="")
        said = {"content": None, "refusal": []} if logprobs else said
    else:
        delta["refusal"] = None
        said = {"content": [], "refusal": None} if logprobs else said
    return _choice(index, delta, None, said)


@lru_cache(maxsize=1024)
def _finish(index: int, reason: str, *, keyed: bool) -> bytes:
    return _choice(index, {}, reason, None if keyed else _UNKEYED)


class _Obfuscation:
    """OpenAI's padding, which hides the length of a delta from who watches the encrypted connection.

    In all recordings the random characters make the length of the document, in characters, one more than a multiple
    of 16.
    """

    def __init__(self, voice: Voice) -> None:
        # Of the request alone, not of how often it came: repetitions differ in their ids and in nothing else.
        self._pool = "".join(voice.seed.name(64, "pad", half, voice.key[0]) for half in (0, 1)).encode()
        self._turn = 0

    @property
    def state(self) -> Hashable:
        """What the next characters depend on."""
        return self._pool, self._turn

    def skip(self, count: int) -> None:
        """Go on as if the characters of so many documents had been drawn."""
        self._turn = (self._turn + 41 * count) % 113

    def close(self, document: bytes) -> bytes:
        """The end of a document that has these bytes so far."""
        return b',"obfuscation":"%b"}' % self.within(document)(b"")

    def within(self, document: bytes) -> Callable[[bytes], bytes]:
        """The random characters alone, as a function of a text's bytes that are still to be put into the document."""
        pool, rest = self._pool, -1 - characters(document)

        def pad(text: bytes) -> bytes:
            self._turn = turn = (self._turn + 41) % 113
            return pool[turn : turn + (rest - (len(text) if text.isascii() else len(text.decode()))) % 16]

        return pad


class ChatStream(Encoder):
    """The streamed form: a role chunk, deltas, a finish chunk a choice, the usage if asked for, `[DONE]`."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._ask = voice.ask
        options: ChatOptions = voice.ask.options
        self._logprobs = Logprobs(voice, options.top_logprobs) if options.logprobs else None
        self._keyed = options.logprobs or not reasons(voice.ask.model)
        self._padding = _Obfuscation(voice) if options.obfuscation else None
        fields = head(voice, "chat.completion.chunk")
        fields["service_tier"] = options.service_tier
        fields["system_fingerprint"] = fingerprint(voice.seed.value, voice.ask.model)
        # Every chunk of the stream begins and ends with the same bytes, so they are encoded once.
        self._before = dumps(fields)[:-1] + b',"choices":['
        self._after = b'],"usage":null' if options.include_usage else b"]"
        # Role chunks that wait for their choice's only tool call, by choice.
        self._held: dict[int, tuple[float, Origin]] = {}
        self._annotations = Annotations(voice)
        self._tools = ToolNames(voice.ask)
        self._owed = 0.0  # seconds, of deltas that make no event

    # ------------------------------------------------------------------------------------------ documents

    def _chunk(self, choice: bytes) -> Payload:
        return self._closed(self._before + choice + self._after)

    def _closed(self, data: bytes) -> Payload:
        """The document with the padding, if there is any, and the closing brace."""
        return Payload(data + (b"}" if self._padding is None else self._padding.close(data)))

    def _role(self, choice: int, opens: type[Part] | None) -> Payload:
        opening = opens.__name__ if opens is not None else ""
        return self._chunk(_begin(choice, opening, keyed=self._keyed, logprobs=self._logprobs is not None))

    # ------------------------------------------------------------------------------------------ the stage

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if self._held and not isinstance(item, ToolCallStart):
            yield from self._release()
        if isinstance(item, Control):
            yield gap, item, origin
        elif isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            self._annotations.said(item)
            yield gap, self._delta(item), origin
        elif isinstance(item, Start):
            if item.opens is ToolCall and item.calls == 1:
                self._held[item.choice] = gap, origin
            else:
                yield gap, self._role(item.choice, item.opens), origin
        elif isinstance(item, ToolCallStart):
            held = self._held.pop(item.choice, None)
            if held is not None:
                gap += held[0]
            yield gap, self._call(item, opens=held is not None), origin
        elif isinstance(item, Cited):
            self._annotations.cite(item)
            self._owed += gap
        elif annotations := self._annotations.of(item.choice):
            last = _choice(item.choice, {"annotations": annotations}, item.reason, None if self._keyed else _UNKEYED)
            yield gap, self._chunk(last), origin
        else:
            yield gap, self._chunk(_finish(item.choice, item.reason, keyed=self._keyed)), origin

    def _release(self) -> Iterator[Timed[Payload]]:
        """The role chunks that waited in vain."""
        for choice, (gap, origin) in self._held.items():
            yield gap, self._role(choice, ToolCall), origin
        self._held.clear()

    def _call(self, item: ToolCallStart, *, opens: bool) -> Payload:
        """A tool call begins; an only call says the role as well."""
        kind, field = self._tools.begin(item)
        call = {"index": item.index, "id": item.id, "type": kind, kind: {"name": item.name, field: ""}}
        delta: dict[str, Any] = {"tool_calls": [call]}
        if opens:
            delta = {"role": "assistant", "content": None, **delta, "refusal": None}
        return self._chunk(_choice(item.choice, delta, None, None if self._keyed else _UNKEYED))

    def _delta(self, item: TextDelta) -> Payload:
        logprobs = None if self._keyed else _UNKEYED
        delta: dict[str, Any]
        if isinstance(item, ToolCallDelta):
            kind, field = self._tools.of(item)
            delta = {"tool_calls": [{"index": item.index, kind: {field: item.text}}]}
        elif isinstance(item, ReasoningDelta):
            self.usage.reasoning += item.tokens
            delta = {"reasoning_content": item.text}
        elif isinstance(item, RefusalDelta):
            delta = {"refusal": item.text}
            if self._logprobs is not None:
                logprobs = {"content": None, "refusal": self._logprobs.entries(item)}
        else:
            delta = {"content": item.text}
            if self._logprobs is not None:
                logprobs = {"content": self._logprobs.entries(item), "refusal": None}
        return self._chunk(_choice(item.choice, delta, None, logprobs))

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        yield from self._release()
        if self._ask.options.include_usage:
            account = usage(self._voice.account(self.usage))
            yield 0.0, self._closed(self._before + b'],"usage":' + dumps(account)), NOWHERE
        yield 0.0, Payload(b"[DONE]"), NOWHERE

    def affixes(self, choice: int) -> Affixes | None:
        """A text delta's bytes around its escaped text; None where log probabilities differ from delta to delta."""
        if self._logprobs is not None or self._annotations.counts:
            return None
        prefix = self._before + b'{"index":%d,"delta":{"content":"' % choice
        rest = (b'"},"logprobs":null,' if self._keyed else b'"},') + b'"finish_reason":null}' + self._after
        if self._padding is None:
            return Affixes(prefix, rest + b"}")
        pad = self._padding.within(prefix + rest)
        return Affixes(prefix, b'"}', rest + b',"obfuscation":"', pad, cycle=self._padding)

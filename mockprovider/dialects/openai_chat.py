"""OpenAI's chat completions, `POST /v1/chat/completions`, streamed and whole.

Field order, placement and types follow recordings of api.openai.com; the request's fields follow the published API
reference. Requests are parsed in `openai_chat_request`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from mockprovider.dialects.base import Ask, Encoder, Usage, Voice
from mockprovider.dialects.openai_chat_request import ChatOptions, parse
from mockprovider.dialects.openai_errors import error_body
from mockprovider.errors import RequestError
from mockprovider.jsontext import dumps, pretty
from mockprovider.payload import Affixes, Payload
from mockprovider.reply import (
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)
from mockprovider.seed import Seed
from mockprovider.timeline import NOWHERE, Control, Timed
from mockprovider.tokens import cut

__all__ = ["OpenAIChat"]


class OpenAIChat:
    """The dialect of `/v1/chat/completions`."""

    name = "openai-chat"
    path = "/v1/chat/completions"

    def parse(self, body: bytes, headers: Mapping[str, str]) -> Ask:
        """The body as an Ask. RequestError in OpenAI's wording where it would be refused."""
        return parse(body)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to `chat.completion.chunk` documents and the `[DONE]` sentinel."""
        return ChatStream(voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one `chat.completion` document."""
        return ChatWhole(voice)

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The header set of api.openai.com, without what its content delivery network adds."""
        # The limit is counted in characters over four before tokens are known, as OpenAI documents it.
        guess = sum(len(text) for _, text in voice.ask.messages) // 4 + 1
        return (
            ("Content-Type", "text/event-stream; charset=utf-8" if stream else "application/json"),
            ("access-control-expose-headers", "X-Request-ID"),
            ("openai-organization", "mockprovider"),
            ("openai-processing-ms", str(round(voice.ttft * 1000))),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", str(max(0, 2_000_000 - guess))),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "0s"),
            ("x-request-id", "req_" + voice.hex(32, "request")),
        )

    def error(self, error: RequestError, request_id: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """An error as api.openai.com words it."""
        return (
            ("Content-Type", "application/json"),
            ("openai-version", "2020-10-01"),
            ("x-request-id", request_id),
            *error.headers,
        ), error_body(error)

    def check_reply(self, reply: Reply) -> None:
        """Chat has a word for every part."""


def _head(voice: Voice, kind: str) -> dict[str, Any]:
    """The fields that begin every document of an exchange."""
    return {
        "id": "chatcmpl-" + voice.id(29, "completion"),
        "object": kind,
        "created": voice.created,
        "model": voice.ask.model,
    }


@lru_cache(maxsize=256)
def _fingerprint(seed: int, model: str) -> str:
    return "fp_" + Seed(seed).hex(10, "fingerprint", model)


def _choice(index: int, delta: dict[str, Any], finish: str | None, logprobs: Any) -> bytes:
    return dumps({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish})


@lru_cache(maxsize=256)
def _begin(index: int, *, tool: bool) -> bytes:
    delta: dict[str, Any] = {"role": "assistant", "content": None if tool else ""}
    return _choice(index, delta if tool else {**delta, "refusal": None}, None, None)


@lru_cache(maxsize=256)
def _finish(index: int, reason: str) -> bytes:
    return _choice(index, {}, reason, None)


class ChatStream(Encoder):
    """The streamed form: a role chunk, deltas, a finish chunk a choice, the usage if asked for, `[DONE]`."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._ask = voice.ask
        self._options: ChatOptions = voice.ask.options
        self._pad = _padding(voice) if self._options.obfuscation else None
        fields = _head(voice, "chat.completion.chunk")
        fields["service_tier"] = self._options.service_tier
        fields["system_fingerprint"] = _fingerprint(voice.seed.value, voice.ask.model)
        # Every chunk of the stream begins and ends with the same bytes, so they are encoded once.
        self._before = dumps(fields)[:-1] + b',"choices":['
        self._after = b'],"usage":null' if self._options.include_usage else b"]"
        self._merged: dict[int, float] = {}  # the gaps of role chunks that wait for their choice's only tool call

    # ------------------------------------------------------------------------------------------ documents

    def _chunk(self, choice: int, delta: dict[str, Any], finish: str | None, logprobs: Any, text: str) -> Payload:
        return Payload(self._before + _choice(choice, delta, finish, logprobs) + self._after + self._end(text))

    def _end(self, text: str) -> bytes:
        """The padding, if there is any, and the closing brace."""
        return b"}" if self._pad is None else b',"obfuscation":"%b"}' % self._pad(text)

    # ------------------------------------------------------------------------------------------ the stage

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield gap, item, origin
        elif isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            yield gap, self._delta(item), origin
        elif isinstance(item, Start):
            if item.opens is ToolCall and item.calls == 1:
                self._merged[item.choice] = gap
            else:
                yield gap, self._role(item), origin
        elif isinstance(item, ToolCallStart):
            delta: dict[str, Any] = {}
            held = self._merged.pop(item.choice, None)
            if held is not None:
                gap += held
                delta = {"role": "assistant", "content": None}
            function = {"name": item.name, "arguments": ""}
            delta["tool_calls"] = [{"index": item.index, "id": item.id, "type": "function", "function": function}]
            if held is not None:
                delta["refusal"] = None
            yield gap, self._chunk(item.choice, delta, None, None, ""), origin
        else:
            yield gap, Payload(self._before + _finish(item.choice, item.reason) + self._after + self._end("")), origin

    def _role(self, start: Start) -> Payload:
        choice = _begin(start.choice, tool=start.opens is ToolCall)
        return Payload(self._before + choice + self._after + self._end(""))

    def _delta(self, item: TextDelta) -> Payload:
        logprobs = None
        delta: dict[str, Any]
        if isinstance(item, ToolCallDelta):
            delta = {"tool_calls": [{"index": item.index, "function": {"arguments": item.text}}]}
        elif isinstance(item, ReasoningDelta):
            self.usage.reasoning += item.tokens
            delta = {"reasoning_content": item.text}
        elif isinstance(item, RefusalDelta):
            delta = {"refusal": item.text}
        else:
            delta = {"content": item.text}
            if self._options.logprobs:
                logprobs = {"content": _logprobs(self._voice, item), "refusal": None}
        return self._chunk(item.choice, delta, None, logprobs, item.text)

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        if self._options.include_usage:
            pad = b"" if self._pad is None else b',"obfuscation":""'
            data = self._before + b'],"usage":' + dumps(_usage(self._ask, self.usage)) + pad + b"}"
            yield 0.0, Payload(data), NOWHERE
        yield 0.0, Payload(b"[DONE]"), NOWHERE

    def affixes(self, choice: int) -> Affixes | None:
        """A text delta's bytes around its escaped text; None where log probabilities differ from delta to delta."""
        if self._options.logprobs:
            return None
        prefix = self._before + b'{"index":%d,"delta":{"content":"' % choice
        rest = b'"},"logprobs":null,"finish_reason":null}' + self._after
        if self._pad is None:
            return Affixes(prefix, rest + b"}")
        return Affixes(prefix, b'"}', rest + b',"obfuscation":"', self._pad)


class ChatWhole(Encoder):
    """The whole form: one indented `chat.completion` document, when all deltas have come."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        self._options: ChatOptions = voice.ask.options
        self._gap = 0.0
        self._messages = [_Message() for _ in range(voice.ask.choices)]

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, Control):
            yield self._gap + gap, item, origin
            self._gap = 0.0
            return
        self._gap += gap
        message = self._messages[item.choice]
        if isinstance(item, ToolCallDelta):
            self.usage.completion += item.tokens
            message.calls[-1]["function"]["arguments"] += item.text
        elif isinstance(item, TextDelta):
            self.usage.completion += item.tokens
            if isinstance(item, ReasoningDelta):
                self.usage.reasoning += item.tokens
                message.reasoning.append(item.text)
            elif isinstance(item, RefusalDelta):
                message.refusal.append(item.text)
            else:
                message.text.append(item.text)
                if self._options.logprobs:
                    message.logprobs.extend(_logprobs(self._voice, item))
        elif isinstance(item, ToolCallStart):
            function = {"name": item.name, "arguments": ""}
            message.calls.append({"id": item.id, "type": "function", "function": function})
        elif isinstance(item, Finish):
            message.finish = item.reason

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        document = {
            **_head(self._voice, "chat.completion"),
            "choices": [m.document(index, logprobs=self._options.logprobs) for index, m in enumerate(self._messages)],
            "usage": _usage(self._voice.ask, self.usage),
            "service_tier": self._options.service_tier,
            "system_fingerprint": _fingerprint(self._voice.seed.value, self._voice.ask.model),
        }
        yield self._gap, Payload(pretty(document) + b"\n"), NOWHERE


class _Message:
    """One choice of a whole reply, while its deltas come in."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []
        self.finish = "stop"

    def document(self, index: int, *, logprobs: bool) -> dict[str, Any]:
        absent = not self.text and (self.calls or self.refusal)
        message: dict[str, Any] = {"role": "assistant", "content": None if absent else "".join(self.text)}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = self.calls
        message["refusal"] = "".join(self.refusal) or None
        message["annotations"] = []
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": self.logprobs, "refusal": None} if logprobs else None,
            "finish_reason": self.finish,
        }


def _usage(ask: Ask, sent: Usage) -> dict[str, Any]:
    prompt = ask.prompt_tokens()
    return {
        "prompt_tokens": prompt,
        "completion_tokens": sent.completion,
        "total_tokens": prompt + sent.completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sent.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _padding(voice: Voice) -> Any:
    """OpenAI's `obfuscation`: random characters that hide the length of a delta from who watches the wire.

    In recordings the padded length of text and pad, modulo 16, is what varies; here the pad fills up to a random
    length of at most 16.
    """
    pool = (voice.id(64, "pad") + voice.id(64, "pad", 1)).encode()
    return partial(_pad, pool, [0])


def _pad(pool: bytes, turn: list[int], text: str) -> bytes:
    turn[0] = start = (turn[0] * 5 + len(text) + 7) % 111
    return pool[start : start + 1 + (pool[start] + len(text)) % 16]


def _logprobs(voice: Voice, delta: TextDelta) -> list[dict[str, Any]]:
    """Made-up but plausible log probabilities, one entry a token, the likeliest first."""
    options: ChatOptions = voice.ask.options
    entries = []
    for token in [delta.text] if delta.tokens == 1 else cut(delta.text):
        rng = voice.seed.stream("logprobs", *voice.key[:1], delta.choice, token)
        own = -abs(rng.gauss(0, 0.35))
        top = [_logprob(token, own)]
        others = [word for word in _COMMON if word != token]
        turn = rng.randrange(len(others))
        top.extend(
            _logprob(others[(turn + rank) % len(others)], own - rank - rng.random())
            for rank in range(1, options.top_logprobs)
        )
        entries.append({**_logprob(token, own), "top_logprobs": top[: options.top_logprobs]})
    return entries


_COMMON = (
    " the", " a", ".", ",", " and", " to", " of", " in", " is", " it", "\n", " that", " for", " with", " on", "!",
    " this", " I", " be", " as", " at", " by",
)  # fmt: skip
"""What a token might have been instead; more than `top_logprobs` may ask for."""


def _logprob(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(value, 8), "bytes": list(token.encode("utf-8", "surrogatepass"))}

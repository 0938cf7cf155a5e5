"""OpenAI's legacy completions, `POST /v1/completions`, streamed and whole.

Field order, placement and types follow recordings of api.openai.com; the request's fields follow the published API
reference, and are parsed in `openai_completions_request`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from mockprovider.dialects.base import Ask, Encoder, Usage, Voice, WholeForm
from mockprovider.dialects.openai_completions_request import CompletionsOptions, parse
from mockprovider.dialects.openai_endpoint import SHORT, OpenAIEndpoint
from mockprovider.dialects.openai_headers import reply_headers
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.dialects.routing import PLAIN, Endpoint, Target
from mockprovider.errors import SettingError
from mockprovider.jsontext import dumps, pretty
from mockprovider.payload import Affixes, Payload
from mockprovider.reply import Delta, Finish, Reply, Start, Text, TextDelta
from mockprovider.timeline import NOWHERE, Control, Origin, Timed
from mockprovider.tokens import count

__all__ = ["OpenAICompletions"]

_COMPLETIONS = "/v1/completions"
_VERSIONS = {
    "gpt-3.5-turbo-instruct": "gpt-3.5-turbo-instruct:20230824-v2",
    "davinci-002": "davinci:2023-07-21-v2",
    "babbage-002": "babbage:2023-07-21-v2",
}
"""What a reply calls the model that was asked for; a name that is not here is echoed."""


class OpenAICompletions(OpenAIEndpoint):
    """The dialect of `/v1/completions`."""

    name = "openai-completions"
    endpoints = (Endpoint(_COMPLETIONS),)

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError in OpenAI's wording where it would be refused."""
        return _known(body) if len(body) <= SHORT else parse(body)

    def stream(self, voice: Voice) -> Encoder:
        """From deltas to `text_completion` documents and the `[DONE]` sentinel."""
        return CompletionsStream(voice)

    def whole(self, voice: Voice) -> Encoder:
        """From deltas to one `text_completion` document."""
        return CompletionsWhole(voice)

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The header set of api.openai.com, which differs here from that of newer endpoints."""
        (_, kind), *others = reply_headers(voice, stream=stream)
        return (
            ("Content-Type", "text/event-stream" if stream else kind),
            ("Cache-Control", "no-cache, must-revalidate"),
            ("access-control-allow-origin", "*"),
            ("openai-model", _model(voice)),
            *others,
        )

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """Completions have a word for text alone."""
        for part in reply.parts:
            if not isinstance(part, Text):
                raise SettingError(f"{_COMPLETIONS} says text and nothing else: a {type(part).__name__} has no field")

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """One prompt, with room for a long answer."""
        body = {"model": "gpt-3.5-turbo-instruct", "prompt": text, "max_tokens": 1024, "stream": stream}
        return _COMPLETIONS, {}, dumps(body)


_known = lru_cache(maxsize=256)(parse)


def _model(voice: Voice) -> str:
    return _VERSIONS.get(voice.ask.model, voice.ask.model)


def _head(voice: Voice) -> dict[str, Any]:
    """The fields that begin every document of an exchange."""
    return {"id": "cmpl-" + voice.id(29, "completion"), "object": "text_completion", "created": voice.created}


def _usage(voice: Voice, sent: Usage) -> dict[str, int]:
    options: CompletionsOptions = voice.ask.options
    told = voice.account(sent, options.prompt_tokens)
    return {"prompt_tokens": told.prompt, "completion_tokens": told.completion, "total_tokens": told.total}


class _Listed:
    """The log probabilities of each choice in their legacy form: parallel lists, offsets counted with the prompt."""

    def __init__(self, voice: Voice) -> None:
        options: CompletionsOptions = voice.ask.options
        self._options = options
        self._top = options.logprobs or 0
        self._drawn = Logprobs(voice, self._top)
        self._offset: dict[int, int] = {}

    def of(self, delta: TextDelta, *, prompt: bool = False) -> dict[str, Any]:
        """Those of one delta. prompt: it is an echo, whose first token follows from nothing."""
        entries = self._drawn.entries(delta) if delta.text else []
        told: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        at = 0 if prompt else self._offset.get(delta.choice, len(self._options.prompt(delta.choice).text))
        for number, entry in enumerate(entries):
            first = prompt and number == 0
            others = {one["token"]: one["logprob"] for one in entry["top_logprobs"]}
            told["tokens"].append(entry["token"])
            told["token_logprobs"].append(None if first else entry["logprob"])
            told["top_logprobs"].append(None if first else {**others, entry["token"]: entry["logprob"]})
            told["text_offset"].append(at)
            at += len(entry["token"])
        self._offset[delta.choice] = at
        if not self._top:
            told["top_logprobs"] = None
        return told


def _echo(options: CompletionsOptions, choice: int) -> TextDelta:
    """The prompt of a choice, as a delta that counts for nothing."""
    prompt = options.prompt(choice)
    return TextDelta(prompt.text, choice, 0, prompt.tokens)


class CompletionsStream(Encoder):
    """The streamed form: a document a delta, whose last tells the finish; the usage if asked for; `[DONE]`.

    As recorded, a completion that is cut off by its limit tells so beside its last text; one that ends by itself does
    with an empty one.
    """

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        options: CompletionsOptions = voice.ask.options
        self._options = options
        self._logprobs = _Listed(voice) if options.logprobs is not None else None
        # Every document of the stream begins and ends with the same bytes, so they are encoded once.
        self._before = dumps(_head(voice))[:-1] + b',"choices":['
        self._after = b'],"model":' + dumps(_model(voice)) + (b',"usage":null}' if options.include_usage else b"}")
        self._left: defaultdict[int, int | None] = defaultdict(lambda: voice.ask.max_tokens)
        self._held: dict[int, tuple[TextDelta, Origin]] = {}  # the last text of each choice that reached its limit
        self._owed = 0.0  # seconds, of what is held

    def feed(self, timed: Timed[Delta | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        gap, self._owed = gap + self._owed, 0.0
        if isinstance(item, Control):
            for choice in tuple(self._held):
                yield gap, *self._release(choice)
                gap = 0.0
            yield gap, item, origin
        elif isinstance(item, Finish):
            yield gap, *self._release(item.choice, item.reason, origin)
        elif isinstance(item, Start):
            if self._options.echo:
                yield gap, self._text(_echo(self._options, item.choice), None, prompt=True), origin
            else:
                self._owed = gap
        elif isinstance(item, TextDelta):
            if item.choice in self._held:
                yield gap, *self._release(item.choice)
                gap = 0.0
            self.usage.completion += item.tokens
            left = self._left[item.choice]
            if left is not None:
                self._left[item.choice] = left = left - item.tokens
            if left == 0 and item.tokens:
                self._held[item.choice] = item, origin
                self._owed = gap
            else:
                yield gap, self._text(item, None), origin
        else:
            self._owed = gap

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        for choice in tuple(self._held):
            yield self._owed, *self._release(choice)
            self._owed = 0.0
        if self._options.include_usage:
            told = {"model": _model(self._voice), "usage": _usage(self._voice, self.usage), "choices": []}
            yield 0.0, Payload.of({**_head(self._voice), **told}), NOWHERE
        yield 0.0, Payload(b"[DONE]"), NOWHERE

    def _release(self, choice: int, finish: str | None = None, origin: Origin = NOWHERE) -> tuple[Payload, Origin]:
        """The text that is held for a choice, with the finish reason if that is known; no text where none is held."""
        item, origin = self._held.pop(choice, (TextDelta("", choice, 0), origin))
        return self._text(item, finish), origin

    def _text(self, item: TextDelta, finish: str | None, *, prompt: bool = False) -> Payload:
        logprobs = None
        if self._logprobs is not None and item.text:
            logprobs = self._logprobs.of(item, prompt=prompt)
        choice = {"text": item.text, "index": item.choice, "logprobs": logprobs, "finish_reason": finish}
        return Payload(self._before + dumps(choice) + self._after)

    def affixes(self, choice: int) -> Affixes | None:
        """A text delta's bytes around its escaped text; None with log probabilities, or where the limit may come."""
        if self._logprobs is not None or not self._fits():
            return None
        rest = b'","index":%d,"logprobs":null,"finish_reason":null}' % choice
        return Affixes(self._before + b'{"text":"', rest + self._after)

    def _fits(self) -> bool:
        """Whether the reply is sure to end before its limit."""
        limit, tokens = self._voice.ask.max_tokens, 0
        if limit is None:
            return True
        for part in self._voice.reply.parts:
            if not isinstance(part, Text) or not isinstance(part.text, str):
                return False
            tokens += count(part.text)
        return tokens < limit


class CompletionsWhole(WholeForm):
    """The whole form: one indented `text_completion` document, when all deltas have come."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self._voice = voice
        options: CompletionsOptions = voice.ask.options
        self._options = options
        self._logprobs = _Listed(voice) if options.logprobs is not None else None
        self._said: defaultdict[int, list[str]] = defaultdict(list)
        self._listed: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        self._finish: dict[int, str] = {}

    def take(self, delta: Delta, gap: float) -> None:
        if isinstance(delta, TextDelta):
            self.usage.completion += delta.tokens
            self._add(delta)
        elif isinstance(delta, Finish):
            self._finish[delta.choice] = delta.reason
        elif isinstance(delta, Start) and self._options.echo:
            self._add(_echo(self._options, delta.choice), prompt=True)

    def _add(self, item: TextDelta, *, prompt: bool = False) -> None:
        self._said[item.choice].append(item.text)
        if self._logprobs is not None:
            self._listed[item.choice].append(self._logprobs.of(item, prompt=prompt))

    def document(self) -> bytes:
        document = {
            **_head(self._voice),
            "model": _model(self._voice),
            "choices": [self._choice(index) for index in range(self._voice.ask.choices)],
            "usage": _usage(self._voice, self.usage),
        }
        return pretty(document) + b"\n"

    def _choice(self, index: int) -> dict[str, Any]:
        logprobs = None
        if self._logprobs is not None:
            logprobs = self._logprobs.of(TextDelta("", index, 0))
            for listed in self._listed[index]:
                for key, values in listed.items():
                    logprobs[key] = None if values is None else [*(logprobs[key] or ()), *values]
        text = "".join(self._said[index])
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": self._finish.get(index, "stop")}

"""What a dialect is: from an HTTP body to an `Ask`, and from deltas to payloads.

A dialect is stateless and shared; what one exchange needs is in its `Voice`, and its encoder is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from mockprovider.dialects.routing import PLAIN, Endpoint, Target
from mockprovider.errors import RequestError, SettingError
from mockprovider.payload import Affixes, Payload
from mockprovider.reply import Delta, Reply, Text, TextRun, Tokens
from mockprovider.seed import Seed
from mockprovider.timeline import NOWHERE, Control, Stage, Timed
from mockprovider.tokens import count

__all__ = ["Account", "Ask", "Dialect", "Document", "Encoder", "Inquiry", "ToolSpec", "Usage", "Voice", "WholeForm"]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the request offers. parameters: a JSON Schema, or None for a tool without arguments.

    custom: it takes a text of any form rather than arguments.
    """

    name: str
    parameters: Mapping[str, Any] | None = None
    custom: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What the client asked for, in no provider's words.

    messages: (role, text) in order, all text parts of a message joined. choices: how many answers (`n`).
    must_call: the names of the tools of which one must be called; none where text may be answered. schema: the JSON
    Schema of a structured answer, `{}` for any object, None for free text. options: what only the dialect itself
    understands.
    """

    model: str
    stream: bool
    messages: tuple[tuple[str, str], ...]
    choices: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    must_call: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    options: Any = None

    @property
    def answers_tool(self) -> bool:
        """Whether the last message is a tool's result, so that an agent's loop should end with text."""
        return bool(self.messages) and self.messages[-1][0] in ("tool", "function")

    def overridden(self, fields: Mapping[str, Any]) -> Ask:
        """The same with some fields replaced; those that are not its own are fields of its options.

        SettingError for one that the options of this dialect do not have.
        """
        own = {name: value for name, value in fields.items() if name in Ask.__dataclass_fields__}
        others = {name: value for name, value in fields.items() if name not in own}
        for name in others:
            if name not in getattr(self.options, "__dataclass_fields__", ()):
                raise SettingError(f"a request of this dialect has no {name}")
        return replace(self, **own, options=replace(self.options, **others))

    def prompt_tokens(self) -> int:
        """How many tokens the texts of the prompt are, by the project's own cutter."""
        return sum(count(text) for _, text in self.messages)


@dataclass(slots=True)
class Usage:
    """Tokens that were really sent, counted while they pass. reasoning is a part of completion."""

    completion: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """The usage that a response tells. cached and cache_written are parts of prompt, reasoning is one of completion."""

    prompt: int
    completion: int
    reasoning: int
    cached: int
    cache_written: int

    @property
    def total(self) -> int:
        """All tokens."""
        return self.prompt + self.completion

    @property
    def uncached(self) -> int:
        """The tokens of the prompt that no cache has to do with."""
        return self.prompt - self.cached - self.cache_written

    @property
    def answer(self) -> int:
        """What was said and is no reasoning."""
        return self.completion - self.reasoning


_COUNTED = Tokens()
"""A usage of which nothing was scripted."""


@dataclass(slots=True)
class Voice:
    """What one exchange's encoder needs besides the deltas.

    key: what the ids are derived from, together with the seed; created: seconds since the epoch; ttft: seconds.
    """

    ask: Ask
    reply: Reply
    seed: Seed
    key: tuple[object, ...]
    created: int
    ttft: float = 0.0

    def id(self, length: int, purpose: str, *parts: object) -> str:
        """An identifier of letters and digits, of this exchange alone."""
        return self.seed.name(length, "ids", purpose, *self.key, *parts)

    def hex(self, length: int, purpose: str, *parts: object) -> str:
        """An identifier of hexadecimal digits, of this exchange alone."""
        return self.seed.hex(length, "ids", purpose, *self.key, *parts)

    def uuid(self, purpose: str, *parts: object) -> str:
        """A UUID of version 4, RFC 9562 section 5.4, of this exchange alone."""
        digits = self.seed.hex(31, "ids", purpose, *self.key, *parts)
        variant = "89ab"[int(digits[15], 16) % 4]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-{variant}{digits[16:19]}-{digits[19:]}"

    def account(self, sent: Usage, prompt: int | None = None, *, ended: bool = True) -> Account:
        """The usage as the reply scripts it; what it does not script is counted.

        prompt: tokens as the dialect counts them, None: those of the messages' texts. While the reply has not ended, no
        more is told than was sent, but for reasoning, which comes before the answer.
        """
        script = self.reply.usage or _COUNTED
        cached, written = script.cached or 0, script.cache_written or 0
        if script.prompt is not None:
            prompt = script.prompt
        else:
            prompt = max(self.ask.prompt_tokens() if prompt is None else prompt, cached + written)
        answer, reasoning = sent.completion - sent.reasoning, sent.reasoning
        if script.reasoning is not None:
            reasoning = script.reasoning
        if script.completion is not None:
            reasoning = min(reasoning, script.completion)
            scripted = script.completion - reasoning
            answer = scripted if ended else min(answer, scripted)
        return Account(prompt, answer + reasoning, reasoning, cached, written)

    def moment(self) -> str:
        """When the reply was made, as an RFC 3339 timestamp in UTC, to the second."""
        return datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A request that asks for a document, not for a model's reply.

    target: where; models: the only ones that there are, None: any. request_id: of the response.
    """

    target: Target
    body: bytes
    headers: Mapping[str, str]
    request_id: str
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What an endpoint answers at once, without a model's reply. model: which was asked for, None: none."""

    model: str | None
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Encoder(Stage[Delta, Payload]):
    """A dialect's encoder: from deltas to payloads, counting what it sends."""

    usage: Usage

    def affixes(self, choice: int) -> Affixes | None:
        """The composed form of a text delta of this choice, or None where deltas differ by more than their text."""
        return None

    def feed(self, timed: Timed[Delta | Control]) -> Iterable[Timed[Payload | Control]]:
        raise NotImplementedError


class WholeForm(Encoder):
    """An encoder that takes all deltas in, and says one document when the source ends; their time is the document's.

    Runs of text deltas are taken as one.
    """

    _gap = 0.0

    def take(self, delta: Delta, gap: float) -> None:
        """One delta, so many seconds after what came before it."""
        raise NotImplementedError

    def document(self) -> bytes:
        """The document of all deltas that came."""
        raise NotImplementedError

    def feed(self, timed: Timed[Delta | TextRun | Control]) -> Iterator[Timed[Payload | Control]]:
        gap, item, origin = timed
        if isinstance(item, TextRun):
            gap += sum(item.gaps)
            item = item.together()
        self._gap += gap
        if isinstance(item, Control):
            yield self._gap, item, origin
            self._gap = 0.0
        else:
            self.take(item, gap)

    def flush(self) -> Iterator[Timed[Payload | Control]]:
        yield self._gap, Payload(self.document()), NOWHERE


class Dialect(Protocol):
    """A provider's endpoint that answers prompts."""

    name: str
    endpoints: tuple[Endpoint, ...]
    """Where it answers; no other dialect has one of these with the same header."""
    below: tuple[str, ...] = ()
    """Paths below which there is nothing, but errors have its shape, besides those below its endpoints."""
    tokens_per_payload: int = 1
    """How many tokens an event carries where nobody says it."""

    flavour: str = ""
    """Whose manner it has, where several providers answer at equal endpoints."""
    limits: str = ""
    """Whose rate-limit headers it has; nothing: those that follow from its name."""
    relay: bool = False
    """Whether its events are numbered and named, as relays write them."""

    counts: tuple[str, ...] = ("prompt", "completion")
    """The fields of a scripted usage that it has words for."""
    cites: tuple[str, ...] = ()
    """What a text may rest on here: a `page`, a `document` of the prompt, or nothing."""

    def framing(self, ask: Ask) -> str:
        """How its streams are framed: `sse`, `sse-crlf`, `ndjson` or `json-array`."""
        return "sse"

    def parse(self, body: bytes, headers: Mapping[str, str], target: Target = PLAIN) -> Ask:
        """The body as an Ask. RequestError, with the provider's wording, where the provider would refuse it."""

    def stream(self, voice: Voice) -> Encoder:
        """The encoder of a streamed reply."""

    def whole(self, voice: Voice) -> Encoder:
        """The encoder of a whole reply: keeps all deltas and yields one payload when the source ends."""

    def headers(self, voice: Voice, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The header section of a successful reply, without framing headers."""

    def error(
        self, error: RequestError, request_id: str, target: Target = PLAIN
    ) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """Headers and body of an error, in the provider's shape."""

    def error_object(self, error: RequestError) -> dict[str, Any]:
        """The document with which the provider reports an error in mid-stream."""

    def check(self, reply: Reply, *, stream: bool) -> None:
        """SettingError where this dialect has no word for something in the reply, its usage included."""
        for name in reply.usage.given if reply.usage is not None else ():
            if name not in self.counts:
                raise SettingError(
                    f"{self.flavour or self.name} has no word for {name!r} in a reply's usage: it tells"
                    f" {', '.join(self.counts)}"
                )
        for part in reply.parts:
            for citation in part.citations if isinstance(part, Text) else ():
                kind = "page" if citation.url else "document"
                if kind not in self.cites:
                    raise SettingError(
                        f"{self.flavour or self.name} has no word for the citation of a {kind}"
                        + (f": it cites a {self.cites[0]}" if self.cites else "")
                    )
        self.check_reply(reply, stream=stream)

    def check_reply(self, reply: Reply, *, stream: bool) -> None:
        """SettingError where this dialect has no word for a part of the reply."""

    def call_id(self, voice: Voice, choice: int, index: int) -> str:
        """The id of a tool call that has none of its own."""

    def key(self, headers: Mapping[str, str], target: Target = PLAIN) -> str:
        """The API key that a request presents, or nothing."""

    def refused_key(self, key: str) -> RequestError:
        """The refusal of that key, or of a request without one."""

    def unknown_model(self, name: str) -> RequestError:
        """The refusal of a request for a model that there is not."""

    def no_endpoint(self, method: str, path: str, hint: str) -> RequestError:
        """The refusal of a path at which there is nothing. hint: a sentence's end that may help, or nothing."""
        return RequestError(404, f"Invalid URL ({method} {path}){hint}", kind="not_found")

    def wrong_method(self, method: str, path: str, allowed: tuple[str, ...]) -> RequestError:
        """The refusal of a method that is not answered at a path."""
        return RequestError(
            405,
            f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
            code="method_not_supported",
            headers=(("allow", ", ".join(allowed)),),
        )

    def document(self, inquiry: Inquiry) -> Document:
        """What one of the endpoints that take no prompt answers. RequestError where the provider would refuse."""
        raise AssertionError(f"{self.name} has no document at {inquiry.target.endpoint}")

    def sample(self, text: str, *, stream: bool) -> tuple[str, dict[str, str], bytes]:
        """The path (with a query, if need be), headers and body of a small request with this prompt."""

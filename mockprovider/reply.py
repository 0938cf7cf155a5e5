"""Level 4: what the model says, in no provider's words.

A `Reply` is a script: parts in order. `deltas` plays one choice of it as the small steps in which providers stream
it; `paced` interleaves the choices and gives each step its gap. Iterators throughout, so a reply may be endless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, islice
from typing import Any, TypeAlias

from mockprovider.errors import SettingError
from mockprovider.jsontext import dumps, escape_all
from mockprovider.pace import Timing
from mockprovider.timeline import NOWHERE, Control, Hold, Timed
from mockprovider.tokens import cut, each

__all__ = [
    "Citation",
    "Cited",
    "Delta",
    "Finish",
    "Part",
    "Reasoning",
    "ReasoningDelta",
    "Refusal",
    "RefusalDelta",
    "Reply",
    "Start",
    "Text",
    "TextDelta",
    "Tokens",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallStart",
    "deltas",
    "paced",
    "plain_text",
    "tool_call",
]

# ---------------------------------------------------------------------------------------------------- the script


@dataclass(frozen=True, slots=True)
class Citation:
    """What a text rests on: a page, or, where there is no URL, a document of the prompt.

    title: of the page or the document; quote: what is taken from it, word for word; document: its number, from 0;
    start: where the quote begins in it, in characters.
    """

    url: str = ""
    title: str = ""
    quote: str = ""
    document: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        for name in ("url", "title", "quote"):
            if not isinstance(getattr(self, name), str):
                raise SettingError(f"citation: {name}: expected a text, got {getattr(self, name)!r}")
        for name in ("document", "start"):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingError(f"citation: {name}: expected a whole number of at least 0, got {value!r}")
        if not self.url and not self.quote:
            raise SettingError("citation: expected the url of a page, or a quote of a document in the prompt")


@dataclass(frozen=True, slots=True)
class Text:
    """Answer text: a str, delivered exactly, or a function that returns its pieces, which may be endless.

    citations: what all of it rests on.
    """

    text: str | Callable[[], Iterable[str]]
    citations: Sequence[Citation] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "citations", tuple(self.citations))
        for citation in self.citations:
            if not isinstance(citation, Citation):
                raise SettingError(f"citations: expected Citation(...), got {citation!r}")


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text that a reasoning model shows of its thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines, in its own field beside the answer text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. arguments: a JSON object, or a str that is sent as it stands, valid JSON or not."""

    name: str
    arguments: Mapping[str, object] | str
    id: str | None = None

    @property
    def arguments_text(self) -> str:
        """The arguments as the JSON text that is streamed."""
        if isinstance(self.arguments, str):
            return self.arguments
        try:
            return dumps(dict(self.arguments)).decode()
        except (TypeError, ValueError) as error:
            raise SettingError(f"tool call {self.name!r}: arguments are not JSON: {error}") from error


def tool_call(name: str, /, **arguments: object) -> ToolCall:
    """A call of the tool with these arguments: `tool_call("get_weather", city="Paris")`."""
    return ToolCall(name, arguments)


Part: TypeAlias = Text | Reasoning | Refusal | ToolCall


@dataclass(frozen=True, slots=True)
class Tokens:
    """The usage that a response tells, in tokens. What is None is counted.

    prompt: all of the prompt, what was read from a cache (cached) and written to one (cache_written) among it;
    completion: all that is said, in all choices, reasoning among it. A provider that tells these parts beside the rest
    is told the rest. SettingError for what is no number of tokens, and for parts that are more than the whole.
    """

    prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    cached: int | None = None
    cache_written: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingError(f"usage: {name}: expected a whole number of at least 0, got {value!r}")
        if self.prompt is not None and (self.cached or 0) + (self.cache_written or 0) > self.prompt:
            raise SettingError("usage: cached and cache_written are parts of prompt, and together they are more")
        if self.completion is not None and (self.reasoning or 0) > self.completion:
            raise SettingError("usage: reasoning is a part of completion, and it is more")

    @property
    def given(self) -> Mapping[str, object]:
        """What is not counted, by its name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to one request.

    parts: in order; finish: `stop`, `length`, `tool_calls` or `content_filter`, or any other text, or None: what
    follows from the parts and the request's limits; usage: what the response tells of it, None: what is counted. Every
    choice of a request with `n > 1` gets the same reply.
    """

    parts: tuple[Part, ...]
    finish: str | None = None
    usage: Tokens | None = None

    @classmethod
    def of(cls, *parts: str | Part | Reply, finish: str | None = None, usage: Tokens | None = None) -> Reply:
        """From texts, parts, or one finished reply. SettingError for anything else."""
        if len(parts) == 1 and isinstance(parts[0], Reply) and finish is None and usage is None:
            return parts[0]
        if not isinstance(usage, Tokens | None):
            raise SettingError(f"usage: expected Tokens(...), got {usage!r}")
        made: list[Part] = []
        for part in parts:
            if isinstance(part, str):
                made.append(Text(part))
            elif isinstance(part, Text | Reasoning | Refusal | ToolCall):
                made.append(part)
            else:
                raise SettingError(
                    f"a reply is made of str, Text, Reasoning, Refusal and ToolCall, not {type(part).__name__}"
                )
        return cls(tuple(made), finish, usage)

    @property
    def calls(self) -> int:
        """How many tools the reply calls."""
        return sum(isinstance(part, ToolCall) for part in self.parts)


def plain_text(reply: Reply) -> str:
    """The scripted answer text, for a person to read. Endless texts are shown as an ellipsis."""
    return "".join(part.text if isinstance(part.text, str) else "…" for part in reply.parts if isinstance(part, Text))


# ---------------------------------------------------------------------------------------------------- the deltas
# Plain classes with slots, not frozen dataclasses: one is made for every token.


class Start:
    """A choice begins. opens: the type of the reply's first part; calls: how many tools it will call."""

    __slots__ = ("calls", "choice", "opens")
    tokens = 0

    def __init__(self, choice: int, opens: type[Part] | None, calls: int) -> None:
        self.choice = choice
        self.opens = opens
        self.calls = calls


class TextDelta:
    """Some answer text. tokens: how many tokens it counts for; pieces: those, where there are several."""

    __slots__ = ("choice", "pieces", "text", "tokens")

    def __init__(self, text: str, choice: int = 0, tokens: int = 1, pieces: tuple[str, ...] | None = None) -> None:
        self.text = text
        self.choice = choice
        self.tokens = tokens
        self.pieces = pieces


class Said:
    """Neighbouring tokens of one text, at least one; a text that is said again has the same ones.

    made: what somebody below has made of them, and keeps here: its key, and the thing itself.
    """

    __slots__ = ("_escaped", "made", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.made: tuple[object, Any] | None = None
        self._escaped: list[bytes] | None = None

    @property
    def escaped(self) -> list[bytes]:
        """Each as the inside of a JSON string."""
        if self._escaped is None:
            self._escaped = escape_all(self.texts)
        return self._escaped


class TextRun:
    """Some text deltas of one token each, as one item.

    gaps: the seconds before each of them but the first; none where all are due together.
    """

    __slots__ = ("choice", "gaps", "said", "tokens")

    def __init__(self, said: Said, choice: int = 0, gaps: Sequence[float] = ()) -> None:
        self.said = said
        self.choice = choice
        self.tokens = len(said.texts)
        self.gaps = gaps

    def after(self, count: int) -> TextRun:
        """What is left of it after so many tokens."""
        return TextRun(Said(self.said.texts[count:]), self.choice, self.gaps[count:]) if count else self

    def together(self) -> TextDelta:
        """The same as one delta, which comes with its last token."""
        texts = self.said.texts
        return TextDelta("".join(texts), self.choice, self.tokens, tuple(texts))


class ReasoningDelta(TextDelta):
    """Some of the thinking."""

    __slots__ = ()


class RefusalDelta(TextDelta):
    """Some of a refusal."""

    __slots__ = ()


class ToolCallStart:
    """A tool call begins. index: its number in the reply, from 0."""

    __slots__ = ("choice", "id", "index", "name")
    tokens = 0

    def __init__(self, index: int, id: str, name: str, choice: int = 0) -> None:
        self.index = index
        self.id = id
        self.name = name
        self.choice = choice


class ToolCallDelta(TextDelta):
    """Some of a tool call's arguments, as JSON text."""

    __slots__ = ("index",)

    def __init__(
        self, index: int, text: str, choice: int = 0, tokens: int = 1, pieces: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(text, choice, tokens, pieces)
        self.index = index


class Finish:
    """A choice ends. reason: `stop`, `length`, `tool_calls`, `content_filter` or any other text.

    stop: the stop sequence that ended the text, or None.
    """

    __slots__ = ("choice", "reason", "stop")
    tokens = 0

    def __init__(self, reason: str, choice: int = 0, stop: str | None = None) -> None:
        self.reason = reason
        self.choice = choice
        self.stop = stop


class Cited:
    """Answer text that rests on something begins, or has been said. begins: which of them."""

    __slots__ = ("begins", "choice", "citations")
    tokens = 0

    def __init__(self, citations: Sequence[Citation], choice: int = 0, *, begins: bool = False) -> None:
        self.citations = citations
        self.choice = choice
        self.begins = begins


Delta: TypeAlias = Start | TextDelta | ReasoningDelta | RefusalDelta | ToolCallStart | ToolCallDelta | Cited | Finish


# ------------------------------------------------------------------------------------------ from script to deltas


def deltas(
    reply: Reply,
    *,
    choice: int,
    call_id: Callable[[int], str],
    max_tokens: int | None = None,
    stop: Sequence[str] = (),
    tokens_per_payload: int | None = 1,
    run: int = 0,
) -> Iterator[Delta | TextRun]:
    """One choice of the reply, step by step, ended by its limits as a provider ends it.

    call_id: makes the id of the n-th tool call that has none of its own. max_tokens counts every token: text,
    reasoning, refusal and tool arguments. A stop sequence ends the answer text before its first occurrence.
    run: how many deltas of answer text may come as one run, 0: each by itself. tokens_per_payload: None is 1.
    """
    tokens_per_payload = tokens_per_payload or 1
    yield Start(choice, type(reply.parts[0]) if reply.parts else None, reply.calls)
    left = max_tokens if max_tokens is not None else -1
    stopping = _Stopping(stop) if stop else None
    calls = 0
    for kind, parts in _runs(reply.parts):
        if kind is ToolCall:
            call: ToolCall = parts[0]
            yield ToolCallStart(calls, call.id or call_id(calls), call.name, choice)
            index, calls = calls, calls + 1
            for text, tokens, pieces in _groups(cut(call.arguments_text), tokens_per_payload, left):
                yield ToolCallDelta(index, text, choice, tokens, pieces)
                left -= tokens
        else:
            stopped = stopping is not None and kind is Text
            simple = left < 0 or all(map(_short, parts)) or (run and kind is Text and not any(map(_citing, parts)))
            if tokens_per_payload == 1 and not stopped and simple:
                left = yield from _token_by_token(kind, parts, choice, left, run)
                if left == 0:
                    break
                continue
            source: Iterable[str] = chain.from_iterable(map(_marked, parts))
            if stopped:
                assert stopping is not None, "one is there"
                source = stopping.before(source)
            made = _DELTAS[kind]
            for text, tokens, pieces in _groups(source, tokens_per_payload, left):
                if isinstance(text, _Mark):
                    yield Cited(text.citations, choice, begins=text.begins)
                    continue
                yield made(text, choice, tokens, pieces)
                left -= tokens
            if stopping is not None and stopping.found:
                yield Finish(reply.finish or "stop", choice, stopping.found)
                return
        if left == 0:
            break
    usual = "length" if left == 0 else "tool_calls" if calls else "stop"
    yield Finish(reply.finish or usual, choice)


_DELTAS: dict[type[Part], type[TextDelta]] = {
    Text: TextDelta,
    Reasoning: ReasoningDelta,
    Refusal: RefusalDelta,
}


_REMEMBERED = 16 * 1024
"""Characters of a text whose deltas are remembered, so that a reply that is given again costs less."""


def _token_by_token(
    kind: type[Part], parts: Iterable[Any], choice: int, left: int, run: int
) -> Generator[Delta | TextRun, None, int]:
    """The common case, without the bookkeeping of groups; returns how many tokens are left (-1: no limit)."""
    for part in parts:
        if run and kind is Text:
            left = yield from _cited(part, _in_runs(part.text, choice, left, run), choice)
            continue
        said = _plain(_DELTAS[kind], part.text, choice)
        if left >= 0:
            said = tuple(said)[:left]
            left -= len(said)
        if kind is Text:
            yield from _cited(part, said, choice)
        else:
            yield from said
    return left


def _short(part: Text | Reasoning | Refusal) -> bool:
    """Whether the part's deltas are remembered, and nothing happens between them."""
    return isinstance(part.text, str) and len(part.text) <= _REMEMBERED and not _citing(part)


def _citing(part: Text | Reasoning | Refusal) -> bool:
    return isinstance(part, Text) and bool(part.citations)


def _plain(kind: type[TextDelta], text: str | Callable[[], Iterable[str]], choice: int) -> Iterable[TextDelta]:
    """A text's deltas, one a token."""
    if isinstance(text, str) and len(text) <= _REMEMBERED:
        return _remembered(kind, text, choice)  # type: ignore[arg-type]  # mypy looks at instances, and this is a class
    return (kind(token, choice) for token in _tokens(text))


def _tokens(text: str | Callable[[], Iterable[str]]) -> Iterable[str]:
    return chain.from_iterable(map(each, (text,) if isinstance(text, str) else text()))


@lru_cache(maxsize=32)
def _remembered(kind: type[TextDelta], text: str, choice: int) -> tuple[TextDelta, ...]:
    return tuple(kind(token, choice) for token in cut(text))


def _cited(
    part: Text, said: Iterable[TextDelta] | Generator[TextRun, None, int], choice: int
) -> Generator[TextDelta | TextRun | Cited, None, Any]:
    """The text's deltas, between the steps that say what it rests on; returns what they return."""
    if part.citations:
        yield Cited(part.citations, choice, begins=True)
    returned = yield from said
    if part.citations:
        yield Cited(part.citations, choice)
    return returned


def _in_runs(
    text: str | Callable[[], Iterable[str]], choice: int, left: int, size: int
) -> Generator[TextRun, None, int]:
    """The text's tokens, at most `size` together and `left` in all (-1: no limit); returns how many are left then."""
    if isinstance(text, str) and len(text) <= _REMEMBERED:
        runs: Iterable[Said] = _remembered_runs(text, size, left if left < len(text) else -1)
    else:
        runs = _said(_tokens(text) if left < 0 else islice(_tokens(text), left), size)
    for said in runs:
        yield TextRun(said, choice)
        if left > 0:
            left -= len(said.texts)
    return left


@lru_cache(maxsize=32)
def _remembered_runs(text: str, size: int, left: int) -> tuple[Said, ...]:
    return tuple(_said(cut(text) if left < 0 else cut(text)[:left], size))


def _said(tokens: Iterable[str], size: int) -> Iterator[Said]:
    source = iter(tokens)
    held: list[str] = []
    wanted = 1  # by itself, for whoever learns from it how to say the others
    try:
        while True:
            held.extend(islice(source, wanted))
            if not held:
                return
            yield Said(held)
            held, wanted = [], size
    except Exception:
        if held:  # a text of one's own may fail: what it had said before is sent
            yield Said(held)
        raise


def _runs(parts: Iterable[Part]) -> Iterator[tuple[type[Part], list[Any]]]:
    """Neighbouring parts of one type together, since they are one text; each tool call for itself."""
    for kind, group in groupby(parts, key=type):
        if kind is ToolCall:
            yield from ((kind, [part]) for part in group)
        else:
            yield kind, list(group)


class _Mark(str):
    """Among tokens, an empty one: cited text begins or ends here."""

    citations: Sequence[Citation]
    begins: bool

    @classmethod
    def of(cls, citations: Sequence[Citation], *, begins: bool) -> _Mark:
        """For text that rests on these."""
        mark = cls()
        mark.citations, mark.begins = citations, begins
        return mark


def _marked(part: Text | Reasoning | Refusal) -> Iterator[str]:
    """The part's tokens, between marks where it is cited."""
    citations = part.citations if isinstance(part, Text) else ()
    if citations:
        yield _Mark.of(citations, begins=True)
    yield from _tokens(part.text)
    if citations:
        yield _Mark.of(citations, begins=False)


def _groups(tokens: Iterable[str], size: int, left: int) -> Iterator[tuple[str, int, tuple[str, ...] | None]]:
    """Tokens joined `size` at a time, at most `left` in all (-1: no limit), with their number and themselves.

    A mark stays where it is, and is none.
    """
    if left == 0:
        return
    group: list[str] = []
    for token in tokens:
        if type(token) is _Mark:
            if group:
                yield _joined(group)
                group.clear()
            yield token, 0, None
            continue
        group.append(token)
        left -= 1
        if len(group) == size or left == 0:
            yield _joined(group)
            group.clear()
            if left == 0:
                return
    if group:
        yield _joined(group)


def _joined(group: list[str]) -> tuple[str, int, tuple[str, ...] | None]:
    return (group[0], 1, None) if len(group) == 1 else ("".join(group), len(group), tuple(group))


class _Stopping:
    """Ends a text before the first stop sequence that comes to be complete in it, over the boundaries of its tokens.

    A token is held back only for as long as a sequence may have begun in it.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.found: str | None = None
        self._stop = stop
        self._keep = max(map(len, stop)) - 1

    def before(self, tokens: Iterable[str]) -> Iterator[str]:
        held: deque[str] = deque()
        text = ""  # the tokens held, joined
        for token in tokens:
            held.append(token)
            text += token
            first = min((stop for stop in self._stop if stop in text), key=text.find, default=None)
            if first is not None:
                self.found = first
                yield from _upto(held, text.find(first))
                return
            while len(text) - len(held[0]) >= self._keep:
                text = text[len(held[0]) :]
                yield held.popleft()
                if not held:
                    break
        yield from held


def _upto(tokens: Iterable[str], length: int) -> Iterator[str]:
    """The tokens' first `length` characters; the token in which they end is cut, and what ends there is told."""
    for token in tokens:
        if not length and not (isinstance(token, _Mark) and not token.begins):
            return
        yield token if len(token) <= length else token[:length]  # a mark stays one
        length -= min(length, len(token))


def paced(
    choices: Sequence[Iterator[Delta | TextRun]], timing: Timing, holds: Mapping[int, str]
) -> Iterator[Timed[Delta | TextRun | Control]]:
    """The choices interleaved, one token-bearing step of each in turn, every step with its gap.

    The first step comes after the TTFT; each further token takes one ITL, and so does the end. A step that carries
    several tokens comes when its last token is ready. `holds` are gates by position: the number of tokens that
    have been sent when the stream waits there (0: before the first delta; -1: before the last finish).
    """
    if len(choices) == 1 and not holds:
        return _paced_alone(choices[0], timing)
    return _paced_in_turn(choices, timing, holds)


def _paced_in_turn(
    choices: Sequence[Iterator[Delta | TextRun]], timing: Timing, holds: Mapping[int, str]
) -> Iterator[Timed[Delta | TextRun | Control]]:
    if 0 in holds:
        yield 0.0, Hold(holds[0]), NOWHERE
    itl = timing.itl
    gap, sent = timing.ttft, 0
    running = list(choices)
    while running:
        leads = True  # the first choice of a round takes the time; the others come with it
        for source in tuple(running):
            for delta in source:
                tokens = delta.tokens
                if not tokens:
                    if -1 in holds and len(running) == 1 and isinstance(delta, Finish):
                        yield gap, Hold(holds[-1]), NOWHERE
                        gap = 0.0
                    yield gap, delta, (delta.choice, -1)
                    gap = 0.0
                    continue
                if leads and tokens > 1:
                    gap += sum(timing.gaps(tokens - 1))
                yield gap, delta, (delta.choice, sent)
                gap = 0.0
                if holds:
                    for position in range(sent + 1, sent + tokens + 1):
                        if position in holds:
                            yield 0.0, Hold(holds[position]), NOWHERE
                sent += tokens
                leads = False
                if len(running) > 1:
                    break
                gap = itl()
                leads = True
            else:
                running.remove(source)
        gap += itl()


def _paced_alone(choice: Iterator[Delta | TextRun], timing: Timing) -> Iterator[Timed[Delta | TextRun | Control]]:
    """The only choice, which is the common case, without the bookkeeping of turns and gates."""
    itl = timing.itl
    gap, sent = timing.ttft, 0
    for delta in choice:
        tokens = delta.tokens
        if tokens:
            if tokens > 1 and not timing.instant:
                gaps = timing.gaps(tokens - 1)
                if type(delta) is TextRun:
                    delta.gaps = gaps
                else:
                    gap += sum(gaps)
            yield gap, delta, (delta.choice, sent)
            sent += tokens
            gap = itl()
        else:
            yield gap, delta, (delta.choice, -1)
            gap = 0.0

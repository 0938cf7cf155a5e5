"""Which payloads a fault strikes: the word for them, and the stage that finds them as they pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from mockprovider.errors import SettingError
from mockprovider.faults import responses
from mockprovider.faults.base import Context, Fault, Kind
from mockprovider.faults.documents import Known, Spoken, document_of, parts
from mockprovider.payload import Payload
from mockprovider.timeline import Control, Ending, Stage, Timed

__all__ = ["ALL", "DONE", "WHICH", "Matcher", "Struck", "Which", "needs", "needs_stream", "words_of"]

DONE = b"[DONE]"
"""The sentinel that ends OpenAI's streams; no document."""


_CHAT = ("all", "role", "text", "reasoning", "refusal", "tool", "finish", "usage", "error", "done")
_EVENTS = {
    "message_start": "role",
    "content_block_start": "open",
    "content_block_stop": "close",
    "message_delta": "finish",
    "message_stop": "end",
    "ping": "ping",
}
_DELTAS = {
    "text_delta": "text",
    "thinking_delta": "reasoning",
    "signature_delta": "signature",
    "input_json_delta": "tool",
}
_BLOCKS = {"text": "text", "thinking": "reasoning", "tool_use": "tool"}
"""The words for Anthropic's events, for the deltas of its content blocks, and for the blocks of a whole message."""

WORDS = {
    "openai-chat": _CHAT,
    "anthropic-messages": ("all", *_EVENTS.values(), *_DELTAS.values(), "usage", "error"),
    "openai-responses": responses.KINDS,
    "openai-completions": ("all", "text", "finish", "usage", "error", "done"),
    "gemini": ("all", "text", "reasoning", "tool", "finish", "error"),
    "ollama-chat": ("all", "text", "reasoning", "tool", "finish", "error"),
    "ollama-generate": ("all", "text", "reasoning", "finish", "error"),
}
"""The kinds of payloads that each dialect has."""


def words_of(dialect: str) -> tuple[str, ...]:
    """The kinds of payloads that a dialect has; of one that is not in the table no more than these are known."""
    return WORDS.get(dialect, ("all", "done"))


def _of_message(document: dict[str, Any]) -> set[str]:
    """What an event of Anthropic's, or a whole message, carries."""
    kind, delta, content = document.get("type"), document.get("delta"), document.get("content")
    words = {_EVENTS.get(kind)} if isinstance(kind, str) else set()
    if kind == "content_block_delta" and isinstance(delta, dict):
        words.add(_DELTAS.get(str(delta.get("type"))))
    if kind == "message":
        words.update(("role", "finish"))
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        words.update(_BLOCKS.get(str(block.get("type"))) for block in blocks)
    return {word for word in words if word is not None}


def kinds(document: Any) -> set[str]:
    """What a document carries, as words of `Which.KINDS`."""
    found = {"all"}
    if not isinstance(document, dict):
        return found
    found.update(word for word in ("usage", "error") if document.get(word))
    found.update(_of_message(document))
    found.update(responses.words(document))
    for _, choice, part in parts(document):
        named = {
            "role": part.get("role"),
            "text": part.get("content"),
            "reasoning": part.get("reasoning_content") or part.get("reasoning"),
            "refusal": part.get("refusal"),
            "tool": part.get("tool_calls") or part.get("function_call"),
            "finish": choice.get("finish_reason"),
        }
        found.update(word for word, value in named.items() if value)
    return found


@dataclass(frozen=True, slots=True)
class Which:
    """Which payloads: those of a kind, counted from 1, from `first` to `last` (None: to the end), every `step`-th.

    negated: those that are not of the kind. final: the last one only.
    """

    kind: str = "all"
    negated: bool = False
    first: int = 1
    last: int | None = None
    step: int = 1
    final: bool = False

    KINDS: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(word for words in WORDS.values() for word in words))
    _FORM: ClassVar[re.Pattern[str]] = re.compile(
        r"(?:(?P<negated>!?)(?P<kind>[a-z]+))?(?P<colon>:?)"
        r"(?:(?P<word>first|last)|(?P<low>[0-9]+)(?P<dots>\.\.(?P<high>[0-9]*))?(?:/(?P<step>[0-9]+))?)?"
    )

    @classmethod
    def parse(cls, value: Any) -> Which:
        """From `all`, `first`, `last`, `3`, `2..`, `2..5`, `1../4`, `text`, `!finish`, `tool:2..`, `done`.

        ValueError for anything else.
        """
        if isinstance(value, Which):
            return value
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        text = str(value)
        if text in ("first", "last"):
            text = f"all:{text}"
        match = cls._FORM.fullmatch(text)
        if match is None or not text:
            raise ValueError
        kind, counted = match["kind"] or "all", bool(match["word"] or match["low"])
        if kind not in cls.KINDS or bool(match["colon"]) != (counted and match["kind"] is not None):
            raise ValueError
        negated = bool(match["negated"])
        if match["word"] == "last":
            return cls(kind, negated, final=True)
        if not counted:
            return cls(kind, negated)
        first = int(match["low"] or 1)
        last = first if not match["dots"] else int(match["high"]) if match["high"] else None
        step = int(match["step"] or 1)
        if first < 1 or step < 1 or (last is not None and last < first):
            raise ValueError
        return cls(kind, negated, first, last, step)

    def __str__(self) -> str:
        kind = "!" * self.negated + self.kind
        if self.final:
            counted = "last"
        elif (self.first, self.last, self.step) == (1, None, 1):
            return kind
        elif self.first == self.last:
            counted = str(self.first)
        else:
            counted = f"{self.first}..{'' if self.last is None else self.last}"
        if self.step > 1:
            counted += f"/{self.step}"
        return counted if kind == "all" else f"{kind}:{counted}"


WHICH = Kind(
    "payloads",
    f"all, first, last, a number, a range such as 2.., 2..5 or 1../4, or one of {', '.join(Which.KINDS[1:])},"
    " alone, counted (text:3, tool:2.., text:last) or negated (!finish)",
    Which.parse,
)


class Matcher:
    """Counts the payloads of one kind as they pass, and says which of them are meant.

    SettingError where this reply cannot have them. name: of the setting, with its fault.
    """

    def __init__(self, which: Which, context: Context, name: str) -> None:
        words = words_of(context.dialect)
        if which.kind not in words:
            raise SettingError(
                f"{name}={which}: the dialect {context.dialect} has no such kind of payload; it has {', '.join(words)}"
            )
        if not context.stream and (which.kind == "done" or which.negated or which.first > 1):
            raise SettingError(f"{name}={which}: a whole reply is one document; it has no such payload")
        if which.final and context.stream and context.tokens() is None:
            raise SettingError(f"{name}={which}: an endless reply has no last payload")
        self.which = which
        self._count = 0

    def of_kind(self, payload: Payload, document: Any) -> bool:
        """Whether the payload is of the kind at all; counts it."""
        which = self.which
        if payload.data == DONE:
            hit = which.kind == "done" and not which.negated
        else:
            hit = (which.kind in kinds(document)) != which.negated
        self._count += hit
        return hit

    def __call__(self, payload: Payload, document: Any) -> bool:
        """Whether this payload is meant. Never so where the last one is: that is known only at the end."""
        which = self.which
        if not self.of_kind(payload, document) or which.final:
            return False
        number = self._count
        return (
            number >= which.first
            and (which.last is None or number <= which.last)
            and (number - which.first) % which.step == 0
        )


ALL = Which()


class Struck(Stage[Any, Any]):
    """Hands the payloads that are meant to `change`, and passes all else. Time is conserved.

    Where the last payload is meant, one is kept back until a later one or the end comes.
    """

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._spoken = Spoken()
        self._struck = 0
        self._held: list[Timed[Any]] = []
        self._owed = 0.0

    def change(self, timed: Timed[Payload], document: Any) -> Iterable[Timed[Any]]:
        """What becomes of a payload that is meant; nothing, where its gap is handed on."""
        raise NotImplementedError

    def watch(self, payload: Payload, document: Any) -> None:
        """See every payload before it is passed or changed."""

    def known(self, old: Any, document: Any) -> Known:
        """What a template may name here."""
        return Known(old, self._struck, self._spoken.text_for(document), self._spoken.tokens)

    def feed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        return self._conserved(self._fed(timed))

    def flush(self) -> Iterator[Timed[Any]]:
        return self._conserved(self._settled(at_end=True))

    def _conserved(self, out: Iterator[Timed[Any]]) -> Iterator[Timed[Any]]:
        for gap, item, origin in out:
            owed, self._owed = self._owed, 0.0
            yield gap + owed, item, origin

    def _fed(self, timed: Timed[Any]) -> Iterator[Timed[Any]]:
        _, item, origin = timed
        if isinstance(item, Control):
            yield from self._settled(at_end=isinstance(item, Ending))
            yield timed
            return
        document = document_of(item)
        self._spoken.add(document, origin)
        self.watch(item, document)
        if self._matcher.which.final:
            if self._matcher.of_kind(item, document):
                yield from self._settled(at_end=False)
                self._held.append(timed)
            elif self._held:
                self._held.append(timed)
            else:
                yield timed
        elif self._matcher(item, document):
            yield from self._changed(timed, document)
        else:
            yield timed

    def _settled(self, *, at_end: bool) -> Iterator[Timed[Any]]:
        """Let go what is held; at the end, its first was the last of its kind."""
        held, self._held = self._held, []
        if held and at_end:
            first, *held = held
            yield from self._changed(first, document_of(first[1]))
        yield from held

    def _changed(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        self._struck += 1
        made = False
        for one in self.change(timed, document):
            made = True
            yield one
        if not made:
            self._owed += timed[0]


# ---------------------------------------------------------------------------------------------- what settings need


def needs(fault: Fault, *names: str) -> None:
    """SettingError unless exactly one of the settings is given."""
    given = [name for name in names if getattr(fault, name) is not None]
    if len(given) != 1:
        wanted = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
        raise SettingError(f"{fault.name}: expected {wanted}{', not ' + ' and '.join(given) if given else ''}")


def needs_stream(fault: Fault, context: Context) -> None:
    """SettingError where a whole reply was asked for."""
    if not context.stream:
        raise SettingError(f"{fault}: a whole reply is one document, and this fault needs a stream of several")

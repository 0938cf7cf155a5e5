"""The templates of a flavour filled in for one exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from mockprovider.dialects.base import Account, Usage, Voice
from mockprovider.dialects.flavour import Flavour
from mockprovider.dialects.flavour_template import Run
from mockprovider.dialects.flavour_values import CONSTANTS, COUNTS, Tally, identifier
from mockprovider.dialects.openai_chat_request import ChatOptions
from mockprovider.dialects.openai_models import reasons, snapshot
from mockprovider.jsontext import characters, dumps
from mockprovider.payload import Affixes
from mockprovider.reply import Reasoning
from mockprovider.seed import Seed

__all__ = ["Words"]

_PURPOSES = {"id": "completion"}
"""What an id is derived from, where it is not its name."""


class Words:
    """What a flavour says in one exchange. usage: tokens, as they are sent."""

    def __init__(self, row: Flavour, voice: Voice, usage: Usage) -> None:
        self.row = row
        self.voice = voice
        self.flags = _flags(row, voice)
        self._tally = Tally(voice, usage)
        self._known: dict[str, bytes] = {}
        self._runs: dict[Run, bytes] = {}
        self._padding = _Padding(voice) if "padded" in self.flags else None

    # ------------------------------------------------------------------------------------------------ values

    def text(self, name: str) -> str:
        """A value as plain text, for headers."""
        match name:
            case "tokens_left":
                # The limit is counted in characters over four before tokens are known, as OpenAI documents it.
                guess = sum(len(text) for _, text in self.voice.ask.messages) // 4 + 1
                return str(max(0, 2_000_000 - guess))
            case "model_text":
                return self.voice.ask.model
            case "snapshot_text":
                return snapshot(self.voice.ask.model)
            case "id_text":
                return self._identifier("id")
            case "request_uuid":
                return self.voice.uuid("request")
        if name in self.row.ids:
            return self._identifier(name)
        return str(CONSTANTS[name](self.voice))

    def _identifier(self, name: str) -> str:
        pattern = self.row.ids[name]
        if name == "fingerprint":
            return _fingerprint(pattern, self.voice.seed.value, snapshot(self.voice.ask.model))
        return identifier(pattern, self.voice, _PURPOSES.get(name, name))

    def _lasting(self, name: str) -> bytes:
        """A value that is the same in all of the exchange, as JSON."""
        known = self._known.get(name)
        if known is None:
            value = self._identifier(name) if name in self.row.ids else CONSTANTS[name](self.voice)
            known = self._known[name] = dumps(value)
        return known

    def _run(self, run: Run) -> bytes:
        made = b"".join([part if isinstance(part, bytes) else self._lasting(part) for part in run.parts])
        self._runs[run] = made
        return made

    # ------------------------------------------------------------------------------------------------ documents

    def say(self, place: str, kind: str, flags: frozenset[str], values: Mapping[str, bytes]) -> bytes:
        """A document, or a part of one. flags: of this event, besides those of the exchange."""
        flat = self.row.flat(place, kind, self.flags, flags)
        runs = self._runs
        account: Account | None = None
        filled = []
        for part in flat.parts:
            if type(part) is bytes:
                filled.append(part)
            elif type(part) is Run:
                filled.append(runs[part] if part in runs else self._run(part))
            elif part in values:
                filled.append(values[part])  # type: ignore[index]
            else:
                account = account or self._tally.account(ended=place == "whole" or kind in _LAST)
                filled.append(b'""' if part == "padding" else dumps(COUNTS[part](account)))  # type: ignore[index]
        if "padding" not in flat.names:
            return b"".join(filled)
        assert self._padding is not None, "the flag `padded` is set only where there is a padding"
        counted = characters(b"".join(filled)) - flat.uncounted
        filled[flat.parts.index("padding")] = b'"%b"' % self._padding.within(counted)(b"")
        return b"".join(filled)

    def affixes(self, values: Mapping[str, bytes]) -> Affixes | None:
        """A text delta's bytes around its text; None where more of it differs from delta to delta.

        values: what the deltas of a choice have in common.
        """
        flat = self.row.flat("stream", "text", self.flags, _NONE)
        if not flat.names <= values.keys() | _FREE:
            return None
        pieces: list[list[bytes]] = [[]]
        order = []
        for part in flat.parts:
            if type(part) is bytes:
                pieces[-1].append(part)
            elif type(part) is Run:
                pieces[-1].append(self._runs[part] if part in self._runs else self._run(part))
            elif part in _FREE:
                order.append(part)
                pieces.append([])
            else:
                pieces[-1].append(values[part])  # type: ignore[index]
        before, *rest = [b"".join(piece) for piece in pieces]
        if order == ["text"]:
            return Affixes(before + b'"', b'"' + rest[0])
        if order != ["text", "padding"] or self._padding is None:
            return None
        counted = characters(before + b"".join(rest)) + 4 - flat.uncounted  # the four quotes around both
        return Affixes(before + b'"', b'"' + rest[1], b'"' + rest[0] + b'"', self._padding.within(counted))


_NONE: frozenset[str] = frozenset()
_LAST = frozenset({"finish", "usage"})
"""The events that tell the account of all of a reply."""
_FREE = frozenset({"text", "padding"})


@lru_cache(maxsize=256)
def _fingerprint(pattern: str, seed: int, model: str) -> str:
    """What belongs to a model: the same in every exchange of the server."""
    return identifier(pattern, _OfModel(Seed(seed), model), "fingerprint")


class _OfModel:
    """In place of a voice."""

    created = 0

    def __init__(self, seed: Seed, model: str) -> None:
        self._seed = seed
        self._model = model

    def id(self, length: int, purpose: str, *parts: object) -> str:
        return self._seed.name(length, purpose, self._model)

    def hex(self, length: int, purpose: str, *parts: object) -> str:
        return self._seed.hex(length, purpose, self._model)

    def uuid(self, purpose: str, *parts: object) -> str:
        return self.hex(32, purpose)


def _flags(row: Flavour, voice: Voice) -> frozenset[str]:
    """The flags that hold for all of an exchange."""
    options: ChatOptions = voice.ask.options
    reasoned = any(isinstance(part, Reasoning) for part in voice.reply.parts)
    ask, usage = voice.ask, voice.reply.usage
    thought = reasoned or (usage is not None and bool(usage.reasoning))
    return _lasting_flags(
        row, ask.model, options.include_usage, options.obfuscation, options.logprobs, bool(ask.tools), reasoned, thought
    )


@lru_cache(maxsize=1024)
def _lasting_flags(
    row: Flavour,
    model: str,
    asked_usage: bool,
    padded: bool,
    logged: bool,
    tools: bool,
    reasoned: bool,
    thought: bool,
) -> frozenset[str]:
    flags = set(row.flags_of(model))
    for flag, holds in (
        ("asked_usage", asked_usage),
        ("padded", padded),
        ("logged", logged),
        ("keyed", logged or not reasons(model)),
        ("tools", tools),
        ("reasoned", reasoned),
        ("thought", thought),
    ):
        if holds:
            flags.add(flag)
    return frozenset(flags)


class _Padding:
    """OpenAI's padding, which hides the length of a delta from who watches the encrypted connection.

    In all recordings the random characters make the length of the document, in characters, one more than a multiple
    of 16; in Azure's, of the document as OpenAI has it, before Azure adds to it.
    """

    def __init__(self, voice: Voice) -> None:
        # Of the request alone, not of how often it came: repetitions differ in their ids and in nothing else.
        self._pool = "".join(voice.seed.name(64, "pad", half, voice.key[0]) for half in (0, 1)).encode()
        self._turn = 0

    def within(self, counted: int) -> Callable[[bytes], bytes]:
        """The characters for a document of so many without them and without a text, as a function of that text."""
        pool, rest = self._pool, 1 - counted

        def pad(text: bytes) -> bytes:
            self._turn = turn = (self._turn + 41) % 113
            return pool[turn : turn + (rest - (len(text) if text.isascii() else len(text.decode()))) % 16]

        return pad

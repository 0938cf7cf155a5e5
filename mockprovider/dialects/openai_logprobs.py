"""Made-up but plausible log probabilities of the tokens of a reply."""

from __future__ import annotations

import math
import random
from typing import Any

from mockprovider.dialects.base import Voice
from mockprovider.reply import TextDelta

__all__ = ["Logprobs"]

_COMMON = (
    " the", " a", ".", ",", " and", " to", " of", " in", " is", " it", "\n", " that", " for", " with", " on", "!",
    " this", " I", " be", " as", " at", " by",
)  # fmt: skip
"""What a token might have been instead; more than `top_logprobs` may ask for."""


class Logprobs:
    """The entries of `logprobs` for the deltas of one exchange, each choice's drawn in its own order.

    top: how many of the likeliest tokens an entry lists, likeliest first. Probabilities never sum to more than 1.
    """

    def __init__(self, voice: Voice, top: int) -> None:
        self._voice = voice
        self._top = top
        self._choices: dict[int, random.Random] = {}

    def entries(self, delta: TextDelta) -> list[dict[str, Any]]:
        """One entry a token."""
        rng = self._choices.get(delta.choice)
        if rng is None:
            rng = self._choices[delta.choice] = self._voice.seed.stream("logprobs", self._voice.key[0], delta.choice)
        return [self._entry(token, rng) for token in delta.pieces or (delta.text,)]

    def _entry(self, token: str, rng: random.Random) -> dict[str, Any]:
        own = -max(rng.expovariate(2.5), 1e-7)
        rest = math.log(-math.expm1(own))  # of what is left, each alternative has at most half of the one before
        turn, ranked = rng.randrange(len(_COMMON)), [(own, token)]
        for word in (_COMMON[turn:] + _COMMON[:turn])[: self._top]:
            rest += math.log(0.5) - rng.random() / 4
            if word != token:
                ranked.append((rest, word))
        ranked.sort(reverse=True)
        return {
            **_described(token, own),
            "top_logprobs": [_described(word, value) for value, word in ranked[: self._top]],
        }


def _described(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(value, 8), "bytes": list(token.encode("utf-8", "surrogatepass"))}

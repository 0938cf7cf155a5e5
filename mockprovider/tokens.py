"""Cuts text into tokens as the tokenisers of language models do: a stream breaks where real streams break.

It is no model's tokeniser and needs no vocabulary: one regular expression finds words with their leading
space, parts of long words, runs of punctuation, line ends, indentation, and groups of digits. Scripts without
spaces are cut into one or two characters. Emoji are cut between their code points, and combining marks often
from their base, because real streams do that too and clients must survive it.

English prose comes to about four characters a token. Character classes are spelt as ranges of code points,
never as `\\w` or `\\s`: those follow the Unicode tables of the running Python, and a text must be cut alike
by every version. (The ranges are no larger than needed: `re` takes 0.1 ms at import for each 1,000 code
points in one.)

Line ends are tokens of their own, and a token holds a space at its start only. So a text put together from
pieces that begin with a space or a line end, and end with neither, has just the tokens of its pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter

__all__ = ["count", "cut", "each"]

# A word of up to seven letters, else five letters of a longer one; the tail is found as a word of its own.
# Capitals in a row stay together ("JSON"), camelCase is cut at its capitals. The possessive `+` spares
# backtracking, and the commonest alternatives come first.
_LOWER = r"[a-z](?:[a-z]{0,6}+(?![a-z])|[a-z]{2,4})"
_UPPER = r"[A-Z](?:[a-z]{1,6}+(?![a-z])|[a-z]{2,4}|[A-Z]{0,4}(?![a-z])|)"

_CUT = re.compile(
    "|".join(
        (
            f" {_LOWER}",
            _LOWER,
            f" {_UPPER}",
            _UPPER,
            r"[0-9]{1,3}",
            r"['\u2019](?:s|t|re|ve|ll|d|m)(?![a-z])",
            r"(?:\r?\n){1,2}|\t{1,8}",
            r" {1,16}(?= )",  # indentation, without the space that belongs to the next word
            r" ?[!-/:-@\[-`{-~]{1,4}",
            r" ?[\u0370-\u03ff\u0400-\u052f]{1,4}",  # Greek, Cyrillic
            r" ?[\u0590-\u06ff]{1,3}",  # Hebrew, Arabic, with their points and vowel marks
            r" ?[\uac00-\ud7a3]{1,2}",  # Hangul
            r" ?[\u00c0-\u024f][a-z]{0,3}",  # accented Latin letters
            r"[\u3040-\u30ff]{1,2}",  # kana
            r"[\u4e00-\u5fff]{1,2}",  # Han: about one pair of neighbours in four stays together
            r" ?[\u0900-\u0eff]{1,2}",  # the scripts of India, Thai, Lao
            r"[\s\S]",  # the other Han, emoji, their joiners, combining marks, lone surrogates: one by one
        )
    )
)


def cut(text: str) -> list[str]:
    """The tokens of `text`, in order: none is empty, and joined they are `text` again, whatever it holds.

    Any str is accepted, lone surrogates included. `cut("")` is an empty list.
    """
    return _CUT.findall(text)


def each(text: str) -> Iterator[str]:
    """The same one by one, each found when it is asked for: a long text keeps nobody waiting."""
    return map(itemgetter(0), _CUT.finditer(text))


def count(text: str) -> int:
    """How many tokens `cut(text)` has, found without making them."""
    return _CUT.subn("", text)[1]

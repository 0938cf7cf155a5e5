"""Casual English with emoji, among them those that clients cut wrongly.

Joined families and professions, flags of two letters and of tags, skin tones, keycaps, and signs that are
emoji only with U+FE0F. Joiners and selectors are written as escapes: they cannot be seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockprovider.filler import prose
from mockprovider.filler.grammar import Deck, Voice

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

__all__ = ["CLOSINGS", "pieces"]

_SIGNS = {
    "FACE": ("😀", "😅", "🤓", "🥳", "😎", "🙃", "😴", "🤩", "🫠", "😇"),
    "SAD": ("😬", "😭", "🙈", "😵", "🥶", "😮"),
    "TREAT": ("🍰", "🍕", "☕", "🎁", "🛋\ufe0f", "🍦"),
    "THING": ("🎉", "🚀", "✨", "🔥", "💡", "📚", "🌱", "🍕", "🎯", "🧩"),
    # Signs that need the selector U+FE0F to be shown in colour.
    "SIGN": ("\u2764\ufe0f", "\u2600\ufe0f", "\u26a0\ufe0f", "\u2708\ufe0f", "\u270f\ufe0f", "\u2714\ufe0f"),
    # Hands with a skin tone.
    "HAND": ("👍🏾", "👏🏻", "🙌🏽", "🤝🏿", "👋🏼", "💪🏽", "✌🏿"),
    # Joined with U+200D: families, professions with a skin tone, a heart on fire, a rainbow flag, a shrug.
    "JOINED": (
        "👨\u200d👩\u200d👧\u200d👦",
        "👩🏽\u200d💻",
        "👨🏿\u200d🍳",
        "🧑🏻\u200d🤝\u200d🧑🏾",
        "\u2764\ufe0f\u200d🔥",
        "🏳\ufe0f\u200d🌈",
        "🤷🏼\u200d♀\ufe0f",
        "👩\u200d🚀",
        "🐻\u200d❄\ufe0f",
    ),
    # Flags: two regional letters, or a black flag and tags.
    "FLAG": (
        "🇫🇷",
        "🇯🇵",
        "🇧🇷",
        "🇳🇴",
        "🇰🇪",
        "🇺🇦",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ),
    "KEYCAP": ("1\ufe0f\u20e3", "2\ufe0f\u20e3", "3\ufe0f\u20e3", "#\ufe0f\u20e3", "🔟"),
    "FOLKS": ("folks", "friend", "team", "everyone", "you"),
}

# The first sentence has a joined sign in any case.
_OPENINGS = (
    "Hey {FOLKS}! {JOINED} Great question {FACE}",
    "Ooh, {NAME}! {JOINED} I love that topic {SIGN}",
    "Hi there {HAND} Let's talk about {NAME} {JOINED}",
    "Yay, {NAME} {THING}{THING} My favourite! {JOINED}",
)

_TURNS = (
    "And {NAME}? {JOINED} Love that too {SIGN}",
    "Oh, and one more thing {FACE} {NAME}!",
    "Now for something different: {NAME} {THING}",
)

_BODY = (
    "Quick tip {THING} {ACT}!",
    "{KEYCAP} {ACTUP} {HAND}",
    "If {BAD} {SAD}, just {ACT} {SIGN}",
    "Trust me, {CLAIM} {JOINED}",
    "And then… {GOOD}! {THING}{THING}{THING}",
    "Don't forget {PART} {SIGN} It really matters {HAND}",
    "They say it in {FLAG} and they say it in {FLAG}: {CLAIM}!",
    "Honestly? {CLAIMUP} {FACE}",
    "I know, I know: {BAD} {SAD} It happens to everyone {JOINED}",
    "So first {ACT} {KEYCAP}, then {ACT} {KEYCAP}.",
    "You've got this {HAND}{HAND}",
    "No stress about {ITEMS} {JOINED} {PARTUP} comes first!",
    "Once {GOOD}, treat yourself {TREAT}",
    "Fun fact {FACE}: {CLAIM} {FLAG}",
)

CLOSINGS = (
    "\n\nHave fun! 🎈",
    " Let me know how it goes 💬",
    "\n\nHappy to help any time \U0001f9d1\u200d\U0001f3eb",
)


def pieces(rng: random.Random) -> Iterator[str]:
    """Short sentences without end, each with what separates it."""
    topics, between = prose.Subjects(rng), ""
    opening, turns, body = Deck(_OPENINGS, rng), Deck(_TURNS, rng), Deck(_BODY, rng)
    while True:
        speaker = Voice(rng, {**topics.draw(), **_SIGNS})
        yield between + speaker.say(opening.draw())
        between = " "
        for _ in range(3 + int(rng.random() * 3)):
            for _ in range(3 + int(rng.random() * 3)):
                yield between + speaker.say(body.draw())
                between = " "
            between = f"\n\n{speaker.draw('THING')} "
        opening = turns

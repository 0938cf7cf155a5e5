"""English: the sentences of an assistant about a topic, and the thoughts of a model before it answers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from mockprovider.filler.grammar import Deck, Voice
from mockprovider.filler.topics import TOPICS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

__all__ = ["BODY", "CLOSINGS", "OPENINGS", "TITLE", "Subjects", "pieces", "thoughts"]

OPENINGS = (
    "{NAME} is easier to get right than it looks.",
    "Good question: {NAME} comes down to {PART} and {PART}.",
    "The short answer is to {ACT}.",
    "Here is how I would approach {NAME}.",
    "There are a few ways to look at {NAME}, but in the end {CLAIM}.",
    "When people ask about {NAME}, they usually want to know why {BAD}.",
    "Sure! Let us go through {NAME} step by step.",
    "It depends on {PART}, but a few things are true for {NAME} in general.",
    "If {BAD}, you are not alone; it is a very common problem.",
    "With {NAME}, most of the work lies in {PART}.",
    "Before we get to {PART}, a word about {PART}.",
    "You are on the right track: {CLAIM}.",
)

# The first sentence about another topic, in a text that is long enough to have several.
TURNS = (
    "Another subject that often comes up in this context is {NAME}.",
    "Turning to {NAME}: {CLAIM}.",
    "Much of this can be said of {NAME} as well, where {CLAIM}.",
    "A quite different example is {NAME}.",
    "Now to {NAME}, which begins with {PART}.",
    "Let us leave that here and look at {NAME}.",
    "The same way of thinking helps with {NAME}.",
)

BODY = (
    "If {BAD}, {ACT}.",
    "If {BAD}, the first thing to try is to {ACT}.",
    "Start by {ACTING}, and look at {PART} afterwards.",
    "Keep in mind that {CLAIM}.",
    "It is easy to overlook {PART}, but {CLAIM}.",
    "You can tell that it works when {GOOD}.",
    "A common mistake is to worry about {PART} before {PART} is settled.",
    "Many find that {CLAIM}.",
    "I would {ACT} first, because everything else builds on it.",
    "In practice, {CLAIM}.",
    "Once {GOOD}, you can turn to {PART}.",
    "When {BAD}, the cause is often {PART}.",
    "Take a close look at {PART} and {PART}, since most problems with {NAME} begin there.",
    "It also helps to {ACT}.",
    "A good rule of thumb is to {ACT} before you {ACT}.",
    "One detail is worth remembering: {CLAIM}.",
    "Try to {ACT}; after {WHILE} you should notice that {GOOD}.",
    "Without a clear idea of {PART}, it is hard to judge {ITEMS}.",
    "Not all {ITEMS} are equal, so spend your time on those that matter most.",
    "{ITEMS} deserve some attention too, but they can wait until {GOOD}.",
    "Ask yourself what happens to {PART} when {BAD}.",
    "The aim is simple — {GOOD}, and you hardly have to think about it.",
    "If you have only {TIME}, {ACT} and leave the rest for later.",
    "Two things matter here: {PART} and {PART}.",
    "Both {PART} and {PART} play a role, and neither is hard to {IMPROVE}.",
    "As a next step, {ACT}.",
    "Do not be surprised if {BAD} at first; that is normal, and it usually passes once you {ACT}.",
    "That said, {CLAIM}.",
    "Compare {PART} with what it was {AGO}; if {GOOD}, you are on the right track.",
    "{ACT}, {ACT}, and only then look at {PART}.",
    "Write down what you change, so that you can see later why {GOOD}.",
    "Small changes to {PART} are easier to judge than large ones.",
    "Someone who is new to {NAME} may find {ITEMS} confusing, yet {CLAIM}.",
    "There is no need to {ACT} right away; what counts at first is {PART}.",
    "In about {PERCENT}% of cases {BAD} simply because nobody looked at {PART}.",
    "Set aside {TIME} to {ACT}.",
    "Be patient with {PART}: it can take {WHILE} before {GOOD}.",
    "For a beginner, {PART} is a better place to start than {PART}.",
    "Do not change {PART} and {PART} at the same time; you could not tell which made the difference.",
    "Sooner or later {BAD}, and then it pays to understand {PART}.",
    "Experience shows that {CLAIM}, so it makes sense to {ACT}.",
    "{ACTING} may sound tedious, but it is how you make sure that {GOOD}.",
    "There are {COUNT} good reasons to {ACT}, and the best of them is that {CLAIM}.",
    "What about {ITEMS}? They are useful, but {PART} comes first.",
    "You do not have to {ACT}, although it makes it more likely that {GOOD}.",
    "You could {ACT} or {ACT}; both are fine.",
    "Unless {GOOD}, I would {ACT} and then check {PART} again.",
    "To put it in one sentence: “{CLAIMUP}.”",
    "If you remember only one thing about {NAME}, let it be this: {CLAIM}.",
    "None of this is urgent, of course (unless {BAD}).",
)

CLOSINGS = (
    "\n\nLet me know if you would like an example.",
    "\n\nI hope that helps!",
    "\n\nWould you like me to go into more detail on any of these points?",
    "\n\nIf you tell me more about your situation, I can be more specific.",
    " In short, take it one step at a time.",
    " If you try only one of these, begin with the first.",
    "\n\nWould you like a checklist that you can print?",
)

TITLE = "{NAME}"

_FIRST_THOUGHTS = (
    "The user asks about {NAME}, so I should keep the answer practical.",
    "The user wants help with {NAME}. They probably want to know why {BAD}.",
    "Okay, a question about {NAME}. Let me think about what matters most here.",
    "Let me see. This is about {NAME}, and it sounds as if {BAD}.",
    "The question is about {NAME}. I do not know what they have tried already, but I can answer in general.",
)

_THOUGHTS = (
    "They probably want to know what to do when {BAD}.",
    "I should mention {PART} and explain that {CLAIM}.",
    "Let me think about {PART} first.",
    "One option is to {ACT}; another is to {ACT}.",
    "Perhaps I should start with {PART} and then move on to {PART}.",
    "I could also suggest {ACTING}.",
    "But if {BAD}, that advice would not be enough.",
    "Wait, is it really true that {CLAIM}? In general, yes.",
    "Hmm, {ITEMS} might be the reason, but I cannot be sure from the question alone.",
    "There is no need to cover {ITEMS} in depth.",
    "Actually, {CLAIM}, so I should not put too much weight on {PART}.",
    "The user did not mention {PART}, so I should not assume anything about it.",
    "A concrete step would help: {ACT}.",
    "Then they would see that {GOOD}.",
    "What could go wrong? Perhaps {BAD}, or {BAD}.",
    "If {BAD}, they should {ACT}; otherwise they can {ACT}.",
    "I want to avoid a long list, so {COUNT} points should do.",
    "I should be honest that it can take {WHILE} before {GOOD}.",
    "Let me check the order: {ACT}, then {ACT}. That makes sense.",
    "It is tempting to begin with {PART}, but {PART} is the more common cause.",
    "I should say it in plain words and leave out {ITEMS}.",
    "An example might make {PART} clearer.",
    "So the main point is that {CLAIM}.",
    "I will close with {PART}, since people tend to forget it.",
)

_COMMON = {
    "WHILE": ("a few days", "a week", "two weeks", "about a month", "10 days", "a little while", "some time"),
    "TIME": ("ten minutes", "15 minutes", "half an hour", "an hour", "an afternoon", "20 minutes a week"),
    "AGO": ("a week ago", "last month", "before the change", "at the start", "three weeks ago"),
    "IMPROVE": ("improve", "check", "adjust", "understand", "get right"),
    "PERCENT": ("20", "30", "40", "60", "75", "80"),
    "COUNT": ("three", "four", "five", "several"),
}

_DOUBLED = frozenset(
    (
        "begin",
        "cancel",
        "cut",
        "drop",
        "label",
        "let",
        "log",
        "plan",
        "put",
        "run",
        "set",
        "split",
        "transfer",
    )
)


def _gerund(act: str) -> str:
    """The -ing form: "measuring the hit rate" of "measure the hit rate"."""
    verb, space, rest = act.partition(" ")
    if verb in _DOUBLED:
        stem = verb + verb[-1]
    elif verb.endswith("e") and not verb.endswith("ee"):
        stem = verb[:-1]
    else:
        stem = verb
    return f"{stem}ing{space}{rest}"


def _capitals(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([text[0].upper() + text[1:] for text in texts])


@cache
def _tables(topic: int) -> Mapping[str, tuple[str, ...]]:
    """The tables of a topic, given its place in `TOPICS`, those that follow from them, and those of all."""
    tables = TOPICS[topic]
    return {
        **_COMMON,
        **tables,
        "SLUG": (tables["NAME"][0].replace(" ", "-"),),
        "ACTING": tuple([_gerund(act) for act in tables["ACT"]]),
        # The same where a sentence or a cell begins.
        "PARTUP": _capitals(tables["PART"]),
        "ACTUP": _capitals(tables["ACT"]),
        "CLAIMUP": _capitals(tables["CLAIM"]),
    }


class Subjects:
    """Tables of one topic after the other: all topics, before one returns."""

    __slots__ = ("_deck",)

    def __init__(self, rng: random.Random) -> None:
        self._deck = Deck(range(len(TOPICS)), rng)

    def draw(self) -> Mapping[str, tuple[str, ...]]:
        """The tables of the next topic, as a `Voice` wants them."""
        return _tables(self._deck.draw())


def pieces(rng: random.Random) -> Iterator[str]:
    """Sentences without end, each with the space or empty line before it; now and then the topic changes."""
    topics, body = Subjects(rng), Deck(BODY, rng)
    opening, turns, between = Deck(OPENINGS, rng), Deck(TURNS, rng), ""
    while True:
        speaker = Voice(rng, topics.draw())
        for paragraph in range(3 + int(rng.random() * 3)):
            for sentence in range(3 + int(rng.random() * 3)):
                first = paragraph == sentence == 0
                yield between + speaker.say(opening.draw() if first else body.draw())
                between = " "
            between = "\n\n"
        opening = turns


def thoughts(rng: random.Random) -> Iterator[str]:
    """Sentences of a model that thinks about a question, without end, each with what separates it."""
    speaker = Voice(rng, Subjects(rng).draw())
    opening, body = Deck(_FIRST_THOUGHTS, rng), Deck(_THOUGHTS, rng)
    yield speaker.say(opening.draw())
    while True:
        for _ in range(2 + int(rng.random() * 4)):
            yield " " + speaker.say(body.draw())
        yield "\n\n" + speaker.say(body.draw())

"""Markdown as an assistant writes it: headings, lists, tables, code, quotes, bold words and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockprovider.filler import code, prose
from mockprovider.filler.grammar import Deck, Voice

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["CLOSINGS", "pieces"]

# Only what is a paragraph of its own: a reply may end with a table or a list.
CLOSINGS = tuple([closing for closing in prose.CLOSINGS if closing.startswith("\n\n")])

_SECTIONS = (
    "Overview",
    "Getting started",
    "What to look for",
    "Common mistakes",
    "Next steps",
    "In practice",
    "Details",
    "When things go wrong",
    "A closer look",
    "Further reading",
)

# One list has one form of item.
_BULLETS = (
    "**{ACTUP}.** {CLAIMUP}.",
    "**{PARTUP}**: {CLAIM}",
    "{ACTUP}",
    "If {BAD}: *{ACT}*",
    "{ACTUP} ({TIME})",
)
_STEPS = (
    "{ACT}.",
    "**{ACTUP}**, then wait {WHILE}.",
    "{ACT}, so that {GOOD}.",
    "Check {PART}.\n   - {ACTUP}.\n   - If {BAD}, go back one step.",
    "Look at {PART} once more; {CLAIM}.",
)
_LEADS = (
    "These points make the biggest difference:",
    "If {BAD}, go through this list:",
    "In short:",
    "Here is what I would do about {PART}:",
    "The following has worked well:",
)
_LINKS = (
    "See the [guide to {NAME}](https://example.com/guides/{SLUG}) for more, above all on {PART}.",
    "A [checklist](https://example.com/{SLUG}/checklist?version=2#top) covers **{ITEMS}** as well.",
    'Read <https://example.com/{SLUG}> or ["{CLAIMUP}"](https://example.com/blog/{SLUG} "{NAME}").',
)
_QUOTES = (
    "> **Note:** {CLAIMUP}.",
    "> {CLAIMUP}.\n>\n> — from the [notes](https://example.com/{SLUG})",
    "> ⚠️ If {BAD}, {ACT}.",
)
_CODE_LEADS = (
    "A small script can take over the tedious part:",
    "If you want to keep the numbers in one place, adapt something like this:",
    "This example is about something else, but the structure is the same:",
)
_EMPHASIS = (
    "Above all, **{ACT}**.",
    "The key word here is **{ITEMS}**.",
    "Pay attention to **{PART}** and to *{ITEMS}*.",
    "I will call it `{SLUG}` from here on.",
    "**{CLAIMUP}.**",
)

_LEVELS = ("low", "medium", "high")
_TIMES = ("5 min", "20 min", "1 h", "2 h", "1 day", "3 days")


def _one(rng: random.Random, models: tuple[str, ...]) -> str:
    return models[int(rng.random() * len(models))]


def _section(speaker: Voice, heading: str, models: tuple[str, ...]) -> str:
    """A heading and a paragraph of these sentences."""
    return f"{heading}\n\n" + " ".join([speaker.say(model) for model in models])


def _bullets(rng: random.Random, speaker: Voice) -> str:
    lead, item, mark = _one(rng, _LEADS), _one(rng, _BULLETS), "-*"[rng.getrandbits(1)]
    items = [f"{mark} {speaker.say(item)}" for _ in range(3 + int(rng.random() * 3))]
    return "\n".join([speaker.say(lead), "", *items])


def _steps(rng: random.Random, speaker: Voice) -> str:
    lead, steps = _one(rng, _LEADS), Deck(_STEPS, rng)
    items = [f"{number}. {speaker.say(steps.draw())}" for number in range(1, 4 + int(rng.random() * 3))]
    return "\n".join([speaker.say(lead), "", *items])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _symptoms(rng: random.Random, speaker: Voice) -> list[list[str]]:
    rows = [[speaker.draw("BAD"), speaker.draw("ACT")] for _ in range(3 + int(rng.random() * 3))]
    return [["If …", "then …"], [":---", ":---"], *rows]


def _efforts(rng: random.Random, speaker: Voice) -> list[list[str]]:
    effort, time = Deck(_LEVELS, rng), Deck(_TIMES, rng)
    rows = [
        [str(number), speaker.draw("ACTUP"), effort.draw(), f"`{time.draw()}`"]
        for number in range(1, 4 + int(rng.random() * 3))
    ]
    return [["#", "Step", "Effort", "Time"], ["---:", ":---", ":---:", "---"], *rows]


def _ratings(rng: random.Random, speaker: Voice) -> list[list[str]]:
    rows = [
        [f"**{speaker.draw('PARTUP')}**", f"{rng.random() * 5:.1f}", "✅" if rng.getrandbits(1) else "❌"]
        for _ in range(3 + int(rng.random() * 3))
    ]
    return [["Aspect", "Rating", "Checked"], ["---", "---:", ":-:"], *rows]


_TABLES: tuple[Callable[[random.Random, Voice], list[list[str]]], ...] = (_symptoms, _efforts, _ratings)


def _table(rng: random.Random, speaker: Voice) -> str:
    """A table; in one of two, the cells of a column are padded to the same length."""
    rows = _TABLES[int(rng.random() * len(_TABLES))](rng, speaker)
    if rng.getrandbits(1):
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(map(_row, rows))


def _code(rng: random.Random, speaker: Voice) -> str:
    return f"{speaker.say(_one(rng, _CODE_LEADS))}\n\n{code.block(rng)}"


def _links(rng: random.Random, speaker: Voice) -> str:
    return speaker.say(_one(rng, _LINKS))


def _quote(rng: random.Random, speaker: Voice) -> str:
    return speaker.say(_one(rng, _QUOTES))


_BLOCKS: tuple[Callable[[random.Random, Voice], str], ...] = (_bullets, _steps, _table, _code, _links, _quote)


def pieces(rng: random.Random) -> Iterator[str]:
    """Blocks without end, each with the empty line before it: of every sort one before a sort returns."""
    topics, blocks, sections = prose.Subjects(rng), Deck(_BLOCKS, rng), Deck(_SECTIONS, rng)
    openings, body, between = Deck(prose.OPENINGS, rng), Deck(prose.BODY, rng), ""
    while True:
        speaker = Voice(rng, topics.draw())
        title = f"# {speaker.say(prose.TITLE)}"
        yield between + _section(speaker, title, (openings.draw(), _one(rng, _EMPHASIS)))
        between = "\n\n"
        for number in range(8):
            if number % 3 == 2:
                heading = f"{'#' * (2 + rng.getrandbits(1))} {sections.draw()}"
                yield between + _section(speaker, heading, (body.draw(), _one(rng, _EMPHASIS), body.draw()))
            else:
                yield between + blocks.draw()(rng, speaker)

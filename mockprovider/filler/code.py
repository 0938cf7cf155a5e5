"""Code with short explanations, in several languages, about things that have a number and a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockprovider.filler.grammar import Deck, template
from mockprovider.filler.snippets import SNIPPETS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from mockprovider.filler.snippets import Snippet

__all__ = ["CLOSINGS", "block", "pieces"]

# A thing: singular, plural, class, a field with a number, a field with a text, a value of the latter.
_THINGS = (
    ("order", "orders", "Order", "total", "customer", "Ada"),
    ("invoice", "invoices", "Invoice", "amount", "client", "Northwind"),
    ("book", "books", "Book", "length", "author", "Okafor"),
    ("city", "cities", "City", "population", "country", "Norway"),
    ("ticket", "tickets", "Ticket", "effort", "assignee", "Mira"),
    ("sensor", "sensors", "Sensor", "power", "room", "attic"),
    ("recipe", "recipes", "Recipe", "cost", "cuisine", "Thai"),
    ("employee", "employees", "Employee", "salary", "department", "Support"),
    ("photo", "photos", "Photo", "size", "album", "Iceland"),
    ("player", "players", "Player", "score", "team", "Herons"),
    ("flight", "flights", "Flight", "delay", "airline", "Kestrel"),
    ("product", "products", "Product", "price", "category", "garden"),
)

_NAMES = ("ONE", "MANY", "CLASS", "NUM", "TEXT", "VALUE")
_WORDS = tuple([dict(zip(_NAMES, thing, strict=True)) for thing in _THINGS])
_LIMITS = ("5", "10", "20", "25", "50", "100")
_SECONDS = ("0.1", "0.25", "0.5", "1.5", "2")
_TRIES = ("3", "4", "5")

_FIRST = (
    "Here is an example in {LANG} that {DOES}:",
    "Sure! The following {LANG} code {DOES}:",
    "You can do this in a few lines of {LANG}. The snippet below {DOES}:",
    "One way to do it is this piece of {LANG}, which {DOES}:",
)

_LATER = (
    "In addition, here is some {LANG} that {DOES}:",
    "You may also need some {LANG} that {DOES}:",
    "The next step is a bit of {LANG} that {DOES}:",
    "For completeness, the following {LANG} {DOES}:",
)

CLOSINGS = (
    "\n\nLet me know if you would like me to add tests.",
    "\n\nI have not run this against your data, so please try it on a copy first.",
    "\n\nTell me which version you use if something does not work.",
)


def _fill(text: str, words: Mapping[str, str]) -> str:
    """The template with its slots filled: a slot is the same word throughout, unlike in a `Voice`."""
    fmt, names = template(text)
    return fmt % tuple([words[name] for name in names])


def _with_numbers(rng: random.Random, words: dict[str, str]) -> dict[str, str]:
    """The words about one thing, and the numbers that one snippet uses."""
    return {
        **words,
        "LIMIT": _LIMITS[int(rng.random() * len(_LIMITS))],
        "SECONDS": _SECONDS[int(rng.random() * len(_SECONDS))],
        "TRIES": _TRIES[int(rng.random() * len(_TRIES))],
    }


def _fenced(snippet: Snippet, words: Mapping[str, str]) -> str:
    return f"```{snippet[0]}{_fill(snippet[3], words)}```"


def block(rng: random.Random) -> str:
    """A fenced block of code about anything, with nothing around it."""
    words = _with_numbers(rng, _WORDS[int(rng.random() * len(_WORDS))])
    return _fenced(SNIPPETS[int(rng.random() * len(SNIPPETS))], words)


def pieces(rng: random.Random) -> Iterator[str]:
    """Explained snippets without end: a sentence with the code, then remarks, each with its separator."""
    things, snippets = Deck(_WORDS, rng), Deck(SNIPPETS, rng)
    lead, later, between = Deck(_FIRST, rng), Deck(_LATER, rng), ""
    while True:
        thing = things.draw()
        for _ in range(2 + int(rng.random() * 3)):
            snippet, words = snippets.draw(), _with_numbers(rng, thing)
            _, language, does, _, notes = snippet
            about = {"LANG": language, "DOES": _fill(does, words)}
            yield f"{between}{_fill(lead.draw(), about)}\n\n{_fenced(snippet, words)}"
            yield "\n\n" + " ".join([_fill(note, words) for note in notes])
            lead, between = later, "\n\n"

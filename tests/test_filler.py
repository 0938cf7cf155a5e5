from __future__ import annotations

import ast
import gc
import json
import random
import re
import sqlite3
import sys
import unicodedata
from hashlib import sha256
from html.parser import HTMLParser
from itertools import islice, pairwise
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.filler import KINDS, answer, chunks, reasoning
from mockprovider.filler.grammar import Deck, template
from mockprovider.filler.topics import TOPICS
from mockprovider.tokens import count, cut

SEEDS = range(60)
FENCED = re.compile(r"^```(\w+)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def texts(kind: str, tokens: int = 600) -> list[str]:
    """Long answers of one kind, one a seed."""
    return [answer(random.Random(seed), kind=kind, tokens=tokens) for seed in SEEDS]


def snippets(language: str) -> list[str]:
    """All snippets of a language in a long reply: enough to meet every snippet with several things."""
    reply = "".join(islice(chunks(random.Random(3), kind="code"), 4000))
    return sorted({code for tag, code in FENCED.findall(reply) if tag == language})


def scripts_of(text: str) -> set[str]:
    """The first words of the characters' names: CJK, HIRAGANA, HANGUL, ARABIC, LATIN, ..."""
    return {unicodedata.name(char, "?").split()[0] for char in text if char.isalpha()}


def digest(replies: list[str]) -> str:
    return sha256("\0".join(replies).encode()).hexdigest()[:16]


# --- The same seed, the same text ---


@pytest.mark.parametrize(
    ("kind", "pinned"),
    [
        ("prose", "396a4c1051f5e3b8"),
        ("markdown", "832d396d84b33d7a"),
        ("code", "9d4cef3e5682f9c3"),
        ("cjk", "ea870df926cab830"),
        ("rtl", "c8b341844b0a68b5"),
        ("emoji", "37cf8bbd0d718f9c"),
    ],
)
def test_texts_of_seeds_are_pinned(kind: str, pinned: str) -> None:
    """The bytes of a seed are a promise: they change only with a minor version, and then on purpose."""
    assert digest([answer(random.Random(seed), kind=kind, tokens=500) for seed in range(40)]) == pinned


def test_default_answers_and_reasoning_are_pinned() -> None:
    """The drawn kinds and lengths, and the reasoning, belong to the bytes of a seed."""
    assert digest([answer(random.Random(seed)) for seed in range(200)]) == "a075c1ca9e1691a6"
    assert digest([reasoning(random.Random(seed)) for seed in range(40)]) == "076e6b390b6fab07"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_said_before_changes_nothing(kind: str) -> None:
    """A reply depends on its generator alone, not on replies before it or on the shared random state."""
    state = random.getstate()
    first = answer(random.Random(7), kind=kind, tokens=300)
    answer(random.Random(8), kind=kind, tokens=300)
    assert answer(random.Random(7), kind=kind, tokens=300) == first
    assert random.getstate() == state


def test_two_hundred_seeds_give_two_hundred_texts() -> None:
    """Prose of different seeds differs, even where it is short."""
    assert len({answer(random.Random(seed), kind="prose") for seed in range(200)}) == 200
    assert len({reasoning(random.Random(seed)) for seed in range(200)}) == 200


def test_prose_does_not_soon_repeat_itself() -> None:
    """Within a thousand tokens of prose no sentence comes twice."""
    for text in texts("prose", 1000):
        sentences = re.split(r"(?<=[.?!])\s+", text)
        assert len(set(sentences)) == len(sentences)


# --- Lengths ---


@given(st.sampled_from(KINDS), st.integers(0, 1500), st.integers(0, 2**32))
@settings(deadline=None)
def test_answers_are_as_long_as_asked_for(kind: str, tokens: int, seed: int) -> None:
    """An answer has at least the tokens that were asked for, and at most one block more."""
    length = count(answer(random.Random(seed), kind=kind, tokens=tokens))
    assert tokens <= length <= tokens + 250


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_shortest_start_that_suffices(kind: str) -> None:
    """An answer stops at the first whole piece with which it is long enough."""
    for seed in SEEDS:
        reply, pieces = "", chunks(random.Random(seed), kind=kind)
        while count(reply) < 50:
            reply += next(pieces)
        assert answer(random.Random(seed), kind=kind, tokens=50) == reply


def test_default_lengths() -> None:
    """Without a wish, an answer has 40 tokens or more, and reasoning 30; neither is always the same length."""
    for make, least in ((answer, 40), (reasoning, 30)):
        lengths = {count(make(random.Random(seed))) for seed in range(200)}
        assert min(lengths) >= least
        assert len(lengths) > 40


def test_nothing_for_nothing() -> None:
    """Zero tokens are an empty reply; a negative number is refused."""
    assert answer(random.Random(1), tokens=0) == ""
    assert reasoning(random.Random(1), tokens=0) == ""
    with pytest.raises(ValueError, match="-1 tokens"):
        answer(random.Random(1), tokens=-1)
    with pytest.raises(ValueError, match="-1 tokens"):
        reasoning(random.Random(1), tokens=-1)


def test_unknown_kinds_are_refused_at_once() -> None:
    """A wrong kind is named, with those there are, when the reply is asked for and not when it is read."""
    with pytest.raises(ValueError, match="'poem': use one of prose, markdown"):
        answer(random.Random(1), kind="poem")
    with pytest.raises(ValueError, match="'poem'"):
        chunks(random.Random(1), kind="poem")


# --- What the kinds promise ---


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_have_the_tokens_of_the_whole(kind: str) -> None:
    """Pieces can be cut as they come: together they have just the tokens of the joined text."""
    pieces = list(islice(chunks(random.Random(5), kind=kind), 300))
    assert [token for piece in pieces for token in cut(piece)] == cut("".join(pieces))


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_bring_their_separators(kind: str) -> None:
    """The first piece begins with a word, every other with what separates it; no piece ends with space."""
    first, *others = islice(chunks(random.Random(5), kind=kind), 300)
    assert first == first.strip()
    for piece in others:
        assert piece == piece.rstrip()
        # Chinese and Japanese have no space between sentences.
        assert re.match(r" \S|\n\n\S", piece) or (kind == "cjk" and scripts_of(piece[0]) != {"HANGUL"})
    assert any(piece.startswith("\n\n") for piece in others)


@pytest.mark.parametrize("kind", KINDS)
def test_every_slot_is_filled(kind: str) -> None:
    """No template shows through, and no answer begins or ends with space."""
    for text in texts(kind):
        assert not re.search(r"\{[A-Z]+\}|%s|%%", text)
        assert text == text.strip()


def test_prose_is_sentences() -> None:
    """Prose is paragraphs of sentences that begin with a capital, and its articles fit their nouns."""
    for text in texts("prose"):
        for paragraph in text.split("\n\n"):
            for sentence in re.split(r"(?<=[.?!])[”)]? ", paragraph):
                assert re.fullmatch(r"[A-Z“(].*[.?!][”)]?", sentence), sentence
        assert not re.search(r"  |\n\n\n| [.,;:?!]", text)
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n (?!hour)[^aeiou]", text)


def test_topics_fit_the_templates() -> None:
    """Each topic has every table, phrases begin small and end open, and no phrase comes twice."""
    for topic in TOPICS:
        assert list(topic) == ["NAME", "PART", "ITEMS", "ACT", "GOOD", "BAD", "CLAIM"]
        phrases = [phrase for table in topic.values() for phrase in table]
        assert len(set(phrases)) == len(phrases)
        for phrase in phrases:
            assert re.fullmatch(r"[a-z].*[\w%]", phrase), phrase
        assert all(part.startswith("the ") for part in topic["PART"])


def test_markdown_has_all_its_parts() -> None:
    """A long markdown answer has headings, both kinds of list, a table, code, bold words and a link."""
    for text in texts("markdown", 1500):
        for part in (r"^# ", r"^##+ ", r"^[-*] ", r"^1\. ", r"^\| ", r"^```\w+$", r"\*\*\w.*?\*\*", r"\]\(https://"):
            assert re.search(part, text, re.MULTILINE), part


def test_markdown_is_well_formed() -> None:
    """Fences close, bold words end, lists count up from one, and links go to example.com."""
    for text in texts("markdown", 1500):
        assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(FENCED.findall(text))
        plain = FENCED.sub("", text)
        for block in plain.split("\n\n"):
            assert block.count("**") % 2 == 0
            assert block.count("`") % 2 == 0
            numbers = re.findall(r"^(\d+)\. ", block, re.MULTILINE)
            assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
        targets = re.findall(r"\]\((\S+)[ )]|<(https?:\S+)>", plain)
        assert {urlsplit(first or second).hostname for first, second in targets} <= {"example.com"}


def test_tables_are_consistent() -> None:
    """Every row of a table has the columns of its head, and the second is the delimiter row."""
    seen = set()
    for text in texts("markdown", 1500):
        for table in re.findall(r"(?:^\|.*\n?)+", FENCED.sub("", text), re.MULTILINE):
            rows = [line.strip("| ").split("|") for line in table.strip().split("\n")]
            assert len(rows) >= 5
            assert len({len(row) for row in rows}) == 1
            assert all(cell.strip() for row in rows for cell in row)
            assert all(re.fullmatch(r":?-{3,}:?|:-:", cell.strip()) for cell in rows[1])
            seen.add(len(rows[0]))
    assert seen == {2, 3, 4}


def test_code_is_fenced_and_explained() -> None:
    """Each snippet follows a sentence, its fence names a language and closes; all ten languages occur."""
    tags = set()
    for text in texts("code"):
        fences = FENCED.findall(text)
        assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(fences) > 0
        assert len(re.findall(r":\n\n```\w", text)) == len(fences)
        tags |= {tag for tag, _ in fences}
    assert tags == {"python", "javascript", "sql", "typescript", "bash", "json", "go", "rust", "yaml", "html"}


def test_python_parses() -> None:
    """Every Python snippet is a valid module."""
    codes = snippets("python")
    assert len(codes) > 100
    for code in codes:
        ast.parse(code)


def test_json_parses() -> None:
    """Every JSON snippet is a valid document."""
    codes = snippets("json")
    assert len(codes) > 30
    for code in codes:
        json.loads(code)


def test_sql_runs() -> None:
    """Every SQL snippet runs against a table of the things it is about."""
    codes = snippets("sql")
    assert len(codes) > 30
    for code in codes:
        database = sqlite3.connect(":memory:")
        if table := re.search(r"FROM (?!ranked)(\w+)", code):
            columns = re.search(r"SELECT (\w+),.*?SUM\((\w+)\)|PARTITION BY (\w+) ORDER BY (\w+)", code, re.DOTALL)
            assert columns
            text, number = filter(None, columns.groups())
            database.execute(f"CREATE TABLE {table[1]} ({text} TEXT, {number} NUMERIC)")
        database.executescript(code)
        database.close()


def test_html_is_balanced() -> None:
    """Every HTML snippet closes what it opens, in order."""

    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    codes = snippets("html")
    assert codes
    for code in codes:
        parser = Balance()
        parser.feed(code)
        assert parser.open == []


def test_cjk_is_chinese_japanese_and_korean() -> None:
    """Each of the three languages occurs, none with English sentences in it, and Japanese has a rare character."""
    replies = texts("cjk", 100)
    for text in replies:
        assert scripts_of(text) <= {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "IDEOGRAPHIC"}
    assert any("HANGUL" in scripts_of(text) for text in replies)
    assert any("HIRAGANA" in scripts_of(text) for text in replies)
    assert any(scripts_of(text) == {"CJK"} for text in replies)
    assert any(char > "\uffff" for text in replies for char in text)


def test_rtl_is_arabic_and_hebrew_with_latin_and_digits_inside() -> None:
    """Each answer runs from right to left with something from left to right in it, and isolates are closed."""
    languages = set()
    for text in texts("rtl"):
        directions = {unicodedata.bidirectional(char) for char in text}
        assert directions & {"R", "AL"}
        assert "L" in directions
        assert directions & {"EN", "AN"}
        assert text.count("\u2066") == text.count("\u2069")
        languages |= scripts_of(text)
    assert languages == {"ARABIC", "HEBREW", "LATIN"}
    assert any(unicodedata.combining(char) for text in texts("rtl") for char in text)


def test_emoji_are_joined_and_varied() -> None:
    """Each emoji answer has a joined emoji; flags, keycaps, skin tones, tags and selectors all occur."""
    replies = texts("emoji", 30)
    for text in replies:
        assert "\u200d" in text
        assert not re.search(r"\u200d(?:\s|$)|(?:^|\s)\u200d", text), "a joiner joins nothing"
        assert len(re.findall("[\U0001f1e6-\U0001f1ff]", text)) % 2 == 0
    everything = "".join(texts("emoji"))
    for sign in ("\ufe0f", "\u20e3", "\U0001f3fe", "\U0001f1eb\U0001f1f7", "\U000e007f", "\U0001f468\u200d\U0001f469"):
        assert sign in everything, ascii(sign)


def test_reasoning_is_about_the_question() -> None:
    """Reasoning is plain text that begins with the user or the question and then weighs what to say."""
    for seed in SEEDS:
        text = reasoning(random.Random(seed), tokens=200)
        assert re.match(r"The user |Okay, a question|Let me see|The question", text)
        assert " I " in text
        assert not re.search(r"\*\*|```|^#", text)


def test_all_kinds_are_drawn_and_prose_and_markdown_lead() -> None:
    """Without a wish every kind comes, and two answers of three are prose or markdown."""

    def kind_of(text: str) -> str:
        scripts = scripts_of(text)
        if scripts & {"ARABIC", "HEBREW"}:
            return "rtl"
        if scripts & {"CJK", "HANGUL"}:
            return "cjk"
        if "\u200d" in text:
            return "emoji"
        if text.startswith("# "):
            return "markdown"
        return "code" if "```" in text else "prose"

    kinds = [kind_of(answer(random.Random(seed))) for seed in range(600)]
    assert set(kinds) == set(KINDS)
    leading = sorted(KINDS, key=kinds.count)[-2:]
    assert set(leading) == {"prose", "markdown"}
    assert kinds.count("prose") + kinds.count("markdown") > 400


# --- Endless replies ---


@pytest.mark.parametrize("kind", KINDS)
def test_endless_replies_need_no_more_memory(kind: str) -> None:
    """A reply of a hundred thousand pieces holds no more objects at its end than at its start."""
    pieces = chunks(random.Random(1), kind=kind)
    for _ in islice(pieces, 5000):  # by then every template and topic has been used
        pass
    gc.collect()
    before = sys.getallocatedblocks()
    assert sum(1 for _ in islice(pieces, 100_000)) == 100_000
    gc.collect()
    assert sys.getallocatedblocks() - before < 2000


# --- The grammar ---


@given(st.integers(1, 40), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_deck_gives_everything_before_anything_again(size: int, seed: int) -> None:
    """Each round of a deck has every entry once, and no entry follows itself."""
    deck = Deck(range(size), random.Random(seed))
    drawn = [deck.draw() for _ in range(3 * size)]
    for start in range(0, 3 * size, size):
        assert sorted(drawn[start : start + size]) == list(range(size))
    assert size == 1 or all(first != second for first, second in pairwise(drawn))


@pytest.mark.parametrize(
    ("text", "compiled"),
    [
        ("If {BAD}, {ACT}.", ("If %s, %s.", ("BAD", "ACT"))),
        ("50% {of} {} { {X} }", ("50%% {of} {} { %s }", ("X",))),
        ("`${{TEXT}}` {", ("`${%s}` {", ("TEXT",))),
    ],
)
def test_only_capitals_in_braces_are_slots(text: str, compiled: tuple[str, tuple[str, ...]]) -> None:
    """Code can be a template: its own braces and percent signs stand for themselves."""
    assert template(text) == compiled

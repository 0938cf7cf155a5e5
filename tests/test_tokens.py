from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockprovider import filler
from mockprovider.tokens import count, cut, each

# Any code points at all, surrogates too, and texts dense with what the expression looks at.
ANY = st.text(st.integers(0, 0x10FFFF).map(chr))
DENSE = st.text(
    st.sampled_from("aaZbz  \n\r\t09_'’.,`|*éßаשa\u05b8م\u0301你是好かん한한글नि\u200d\ufe0f\u20e3😀👩🏽\ud83d\udc4d")
)
TEXTS = ANY | DENSE | st.text(st.sampled_from("abcXY '\n"))

EVERYTHING = "".join(map(chr, range(0x110000)))


@given(TEXTS)
@example("\ud83d x\udc00")
@example("\udc00\ud83d")
@settings(max_examples=500, deadline=None)
def test_joined_tokens_are_the_text(text: str) -> None:
    """Cutting loses and changes nothing, and makes no empty token, for any str, at once or one by one."""
    tokens = cut(text)
    assert "".join(tokens) == text
    assert all(tokens)
    assert list(each(text)) == tokens


@given(TEXTS)
@settings(deadline=None)
def test_count_is_the_number_of_tokens(text: str) -> None:
    """`count` says how many tokens `cut` finds."""
    assert count(text) == len(cut(text))


@given(TEXTS)
@settings(deadline=None)
def test_line_ends_stand_alone_and_spaces_in_front(text: str) -> None:
    """A token with a line end holds nothing else, and one with a letter has a space only before it."""
    for token in cut(text):
        assert not {"\r", "\n"} & set(token) or not token.strip("\r\n")
        assert " " not in token[1:] or not token.strip(" ")


def test_no_text_no_tokens() -> None:
    """The empty text has no tokens, not one empty token."""
    assert cut("") == []
    assert count("") == 0


def test_every_code_point_survives() -> None:
    """No code point of Unicode, assigned or not, is lost or stops the cutter."""
    assert "".join(cut(EVERYTHING)) == EVERYTHING


@given(TEXTS.filter(lambda text: text[-1:] not in {" ", "\n", "\r", "\t"}), st.sampled_from([" ", "\n", "\n\n"]), TEXTS)
@settings(deadline=None)
def test_pieces_can_be_cut_one_by_one(left: str, between: str, right: str) -> None:
    """A text has just the tokens of its pieces if these begin with a space or line end and end with neither."""
    assert cut(left + between + right) == cut(left) + cut(between + right)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cache is warm.", ["The", " cache", " is", " warm", "."]),
        ("it's we're", ["it", "'s", " we", "'re"]),
        ("documentation", ["docum", "entat", "ion"]),
        ("getUserName", ["get", "User", "Name"]),
        ("a JSON file", ["a", " JSON", " file"]),
        ("1234567.5", ["123", "456", "7", ".", "5"]),
        ("a = {}\n\n", ["a", " =", " {}", "\n\n"]),
        ("x\r\n", ["x", "\r\n"]),
        ("x  \ny", ["x", " ", " ", "\n", "y"]),
        ("if x:\n    return 1", ["if", " x", ":", "\n", "   ", " return", " ", "1"]),
        ("```python\n", ["```", "python", "\n"]),
        ("**bold**", ["**", "bold", "**"]),
    ],
)
def test_cuts_english_and_code_as_tokenisers_do(text: str, tokens: list[str]) -> None:
    """Words keep the space before them, long words are cut, and digits come in groups of up to three."""
    assert cut(text) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "👨\u200d👩\u200d👧\u200d👦",  # a family: seven code points
        "👍🏾",  # a hand and its skin tone
        "🇫🇷",  # two letters that make one flag
        "❤\ufe0f",
        "\u20e3\ufe0f",
        "\ud83d\udc4d",  # lone surrogates in a row
    ],
)
def test_emoji_are_cut_between_their_code_points(text: str) -> None:
    """No token holds a whole joined emoji: clients must put it together again."""
    assert cut(text) == list(text)


def test_combining_marks_are_cut_from_their_base() -> None:
    """An accent that is a code point of its own can arrive a token after its letter."""
    assert cut("cafe\u0301") == ["cafe", "\u0301"]


def test_scripts_without_spaces_have_short_tokens() -> None:
    """Chinese, Japanese and Korean have one or two characters a token, and both occur."""
    for text in ("今天天气很好我们去公园吧", "カタカナとひらがな", "안녕하세요 여러분"):
        assert {len(token.strip()) for token in cut(text)} == {1, 2}, text


def test_prose_has_about_four_characters_a_token() -> None:
    """The ratio of English prose is that of real tokenisers, so usage and pace come out right."""
    text = filler.answer(random.Random(1), kind="prose", tokens=5000)
    assert 3.8 < len(text) / count(text) < 4.8


def test_every_version_cuts_alike() -> None:
    """The cut of all of Unicode is pinned: it depends on no Python's tables of letters and spaces."""
    tokens = "\0".join(cut(EVERYTHING)).encode("utf-8", "surrogatepass")
    assert sha256(tokens).hexdigest()[:16] == "a981008613bfc5a6"

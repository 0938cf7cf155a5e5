"""TOML texts: what is written is read again, and every path that `tomllib` reads has a place, and the right one."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mockprovider.tomltext import places, written

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '''# a comment with [brackets] and = signs
seed = 1
"a key" = "]"
a.b.'c d' = 2

[[rule]]
match = { model = "gpt-*", last = { regex = "}#" } }  # another
reply = """three
lines = [ ] """

[[rule]]
answers = [
    { error = { status = 429 }, times = 2 },  # why
    { reply = 'it\\' },
    [1, 2, ["x"]],
]
  [rule.match]
  model = """a\\"""b"""
[[rule.more]]
[[rule.more]]
x = 1979-05-27T07:32:00Z
'''


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path of a document but the empty one."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, member in value.items():
            yield from paths(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from paths(member, (*path, index))


def test_every_path_has_a_place() -> None:
    """Keys, dotted and quoted ones, headers, elements, members of inline tables: none is forgotten, none made up."""
    assert set(places(TEXT)) == set(paths(tomllib.loads(TEXT)))


def test_the_places() -> None:
    """Lines and columns count from 1; a table stands where its header or its key begins."""
    found = places(TEXT)
    assert found["seed",] == (2, 1)
    assert found["a key",] == (3, 1)
    assert found["a", "b", "c d"] == (4, 5)
    assert found["rule", 0] == (6, 1)
    assert found["rule", 0, "match", "last", "regex"] == (7, 37)
    assert found["rule", 0, "reply"] == (8, 1)
    assert found["rule", 1] == (11, 1)
    assert found["rule", 1, "answers", 0, "times"] == (13, 33)
    assert found["rule", 1, "answers", 2, 2, 0] == (15, 13)
    assert found["rule", 1, "match"] == (17, 3)
    assert found["rule", 1, "more", 1, "x"] == (21, 1)


KEYS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True), st.text("a.\"\\' #=[]{}é", max_size=3))
LEAVES = st.one_of(st.integers(-9, 99), st.booleans(), st.text("ab\"\\'#=,[]{}\n\t é", max_size=6))
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=8
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
def test_any_document(top: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    """A document that is written is read as it was, every path of it has a place, and there its name stands."""
    document = {**top, "rule": rules}
    text = written(document)
    assert tomllib.loads(text) == document
    found = places(text)
    assert set(found) == set(paths(document))
    for path, (line, column) in found.items():
        here = text.split("\n")[line - 1][column - 1 :]
        if isinstance(path[-1], str) and not here.startswith("["):
            key = tomllib.loads(here.partition(" = ")[0] + " = 1")
            assert key == {path[-1]: 1}

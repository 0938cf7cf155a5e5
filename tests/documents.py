"""The examples in the documents: found, with what a comment before them says about how they are to be tested.

An example is a fenced block. Its language decides how it runs:

- `bash`: in the repository's folder, against a server; it must succeed.
- `python`: against a server; it must succeed. One with test functions is run by pytest instead.
- `html`: as a page in a browser, of another origin than the server's.

The server is the one that the nearest example above starts, or a plain `mockprovider serve`, without the rules
that other examples may have added; where an example has `127.0.0.1:8000`, its address is put. A comment
`<!-- test: MARK; MARK -->` before the block, with only blank lines between them, says more:

- `server`: the block's last line starts a server, which must print a `curl` line that works, and end well.
- `install`: the block runs in a virtual environment that is new and empty.
- `add WORDS`: these words are added to the block's last line.
- `prints TEXT`: the block's output, or the page, must have this text.
- `example FILE`: the block is that file of tests/examples, word for word but for its first lines; the file is run.

Anything else, another language or an unknown mark, is an error: no example goes untested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})\s*(?P<language>\S*)[^`]*$")
COMMENT = re.compile(r"^\s*<!--\s*test:\s*(?P<marks>.*?)\s*-->\s*$")
LANGUAGES = ("bash", "python", "html")
MARKS = {"server": False, "install": False, "add": True, "prints": True, "example": True}
"""Each mark, and whether a value follows it."""


@dataclass(frozen=True)
class Example:
    """A fenced block: where it stands (`line` counts from 1), and how it is to be run."""

    file: str
    line: int
    language: str
    code: str
    marks: tuple[tuple[str, str], ...] = ()
    server: str | None = None
    """The command that starts the server it talks to: the last line of the nearest `server` block above."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def mark(self, name: str) -> str | None:
        """The value of a mark, `""` where it has none; None when the example is not marked so."""
        return dict(self.marks).get(name)

    @property
    def last_line(self) -> str:
        """The last line of the code, which the marks `server` and `add` are about."""
        return self.code.rstrip("\n").rpartition("\n")[2]


def marks_of(text: str, where: str) -> tuple[tuple[str, str], ...]:
    """The marks in a comment; an unknown one, or a value too many or too few, is a ValueError."""
    found = []
    for part in text.split(";"):
        name, _, value = part.strip().partition(" ")
        if name not in MARKS or bool(value) != MARKS[name]:
            raise ValueError(f"{where}: not a mark of a test: {part.strip()!r}")
        found.append((name, value))
    return tuple(found)


def examples_in(text: str, file: str) -> list[Example]:
    """All examples of a document, in order. One that could not be tested is a ValueError that says where."""
    found: list[Example] = []
    server: str | None = None
    marks: tuple[tuple[str, str], ...] = ()
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        where = f"{file}:{number}"
        if comment := COMMENT.match(line):
            marks = marks_of(comment["marks"], where)
        elif fence := FENCE.match(line):
            if fence["language"] not in LANGUAGES:
                raise ValueError(f"{where}: no test runs the language {fence['language']!r}")
            code = []
            for _, inner in lines:
                if inner.strip() == fence["fence"]:
                    break
                code.append(inner + "\n")
            else:
                raise ValueError(f"{where}: the block is not closed")
            example = Example(file, number, fence["language"], "".join(code), marks, server)
            if example.mark("server") is not None:
                server = example.last_line
            found.append(example)
            marks = ()
        elif line.strip() and marks:
            raise ValueError(f"{where}: the comment above marks no block")
    if marks:
        raise ValueError(f"{file}: the last comment marks no block")
    return found


def examples_of(root: Path) -> list[Example]:
    """The examples of README.md and docs/*.md."""
    files = [root / "README.md", *sorted(root.glob("docs/*.md"))]
    return [
        example
        for file in files
        for example in examples_in(file.read_text(encoding="utf-8"), file.relative_to(root).as_posix())
    ]

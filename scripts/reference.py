"""Writes docs/catalogue.md and docs/faults.md from the data of the package; with --check only says what would change.

Exit codes: 0 done, or nothing to do; 1 a page is not as it should be.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from mockprovider.cases import FAMILIES, TEXT, Case, in_family
from mockprovider.faults import FAULTS
from mockprovider.faults.base import Level, Position
from mockprovider.faults.reference import describe

ROOT = Path(__file__).resolve().parent.parent
GENERATED = "<!-- Made by scripts/docs from the data of the package; changes belong there. -->"

TITLES = {
    "before": "Before the stream",
    "sse": "Server-sent events",
    "text": "Text and its encoding",
    "transfer": "HTTP and the connection",
    "payload": "Payloads",
    "anthropic": "Anthropic's events",
    "timing": "Timing",
}

EVIDENCE = {
    "observed": "observed on a real endpoint",
    "library": "a client library broke on it",
    "hardening": "hardening; no incident is claimed",
}

LEVELS = {
    Level.BEFORE: "Before the response",
    Level.REPLY: "The reply",
    Level.PAYLOAD: "Payloads",
    Level.EVENT: "Server-sent events",
    Level.MESSAGE: "The HTTP message",
    Level.SOCKET: "The connection",
}

LEVEL_TEXTS = {
    Level.BEFORE: "Answered instead of the reply, or deciding in which form it comes.",
    Level.REPLY: "What the model says: deltas, before any provider's words are put around them.",
    Level.PAYLOAD: "The documents that events carry.",
    Level.EVENT: "The blocks of the event stream, in which payloads are set apart.",
    Level.MESSAGE: "Head, content and framing of the HTTP message.",
    Level.SOCKET: "Bytes and writes, as they leave.",
}


def plain(text: str) -> str:
    """The text such that Markdown shows it as it stands."""
    return re.sub(r"([\\`*_\[\]<|~$])", r"\\\1", text).replace("\r", " ").replace("\n", " ")


def prose(text: str) -> str:
    """The same, but what stands between backticks is code."""
    parts = " ".join(text.split()).split("`")
    return "".join(code(part) if index % 2 else plain(part) for index, part in enumerate(parts))


def code(text: str, *, cell: bool = False) -> str:
    """The text as a code span, whatever is in it. cell: it stands in a table, where a bar would end the cell."""
    fence = "``" if "`" in text else "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text.replace('|', chr(92) + '|') if cell else text}{pad}{fence}"


def citation(text: str) -> str:
    """A thread as a link, anything else as it stands."""
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", text)
    return f"[{plain(text)}](https://github.com/{match[1]}/issues/{match[2]})" if match else plain(text)


# ------------------------------------------------------------------------------------------------ the catalogue


def catalogue() -> Iterator[str]:
    """The lines of docs/catalogue.md."""
    everything = in_family(None)
    missing = [case for case in everything if not case.available]
    yield "# The catalogue: how streams go wrong"
    yield ""
    yield GENERATED
    yield ""
    yield f"{len(everything)} behaviours of streaming endpoints, and of the layers beneath them, each with a name that"
    yield "may stand wherever a fault's may."
    yield f"{len(everything) - len(missing)} of them can be had; the others say why not."
    yield "`mockprovider cases` lists them, and `mockprovider cases NAME` shows the bytes of one:"
    yield ""
    yield "<!-- test: prints HTTP/1.1 502 Bad Gateway -->"
    yield "```bash"
    yield "mockprovider cases http-502-html-cloudflare"
    yield "```"
    yield ""
    yield "Every case has a base URL of its own, `…/with/NAME/v1`; cases may be chained with `+`, with each other and"
    yield "with [faults](faults.md). One that acts before there is any HTTP has a port instead, which a running server"
    yield "opens when `GET /_mock/cases/NAME` or `MockProvider.case_url(NAME)` asks for it."
    yield ""
    yield from GLOSSARY.splitlines()
    yield ""
    for family in FAMILIES:
        rows = in_family(family)
        yield f"- [{TITLES[family]}](#{anchor(TITLES[family])}): {len(rows)}"
    for family in FAMILIES:
        yield ""
        yield f"## {TITLES[family]}"
        for case in in_family(family):
            yield ""
            yield from row(case)


GLOSSARY = f"""\
What a correct client must do: **deliver** the whole text, for the oddity is legal or harmless; **ignore** the odd
item and deliver the whole text; **raise** an error, for there is no usable text; **retry**, then deliver, for
nothing was delivered yet; **keep** the partial text within reach *and* say that it is not complete. Where the
right behaviour is contestable, the other accepted readings are named.

The good stream, with which each is compared, says this where a case scripts no reply of its own:
{code(TEXT.replace(chr(10), chr(92) + "n"))}.

[How to write a case](write-a-case.md).
"""


def anchor(title: str) -> str:
    """The fragment under which a heading is found."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def row(case: Case) -> Iterator[str]:
    """One case."""
    yield f"### {case.name}"
    yield ""
    yield f"- On the wire: {plain(case.wire)}"
    yield f"- Must: **{case.expect}**. {plain(case.must)}"
    if case.accept:
        accepted = " or ".join(f"**{reading}**" for reading in case.accept)
        yield f"- Also accepted: {accepted}. {plain(case.contestable or '')}".rstrip()
    if case.attempts:
        yield f"- Attempts: {plain(case.attempts)}"
    if case.notes:
        yield f"- Notes: {plain(case.notes)}"
    if case.needs:
        yield f"- Needs of the client: {', '.join(case.needs)}"
    if case.citations:
        yield f"- Citations: {'; '.join(map(citation, case.citations))}"
    yield f"- Evidence: {EVIDENCE.get(case.evidence, case.evidence)}"
    if case.unavailable is not None:
        yield f"- **Not available**: {plain(case.unavailable)}"
    elif case.listener is not None:
        yield f"- Made by: a port of its own ({case.listener})"
    elif case.faults is not None:
        yield f"- Made by: {code(case.faults)}"
    else:
        yield "- Made by: its reply"


# ------------------------------------------------------------------------------------------------ the faults


def faults() -> Iterator[str]:
    """The lines of docs/faults.md."""
    yield "# The faults"
    yield ""
    yield GENERATED
    yield ""
    yield from GRAMMAR.splitlines()
    by_level: dict[Level, list[str]] = {level: [] for level in LEVELS}
    for name, kind in FAULTS.items():
        by_level[kind.home].append(name)
    for level, names in by_level.items():
        yield ""
        yield f"## {LEVELS[level]}"
        yield ""
        yield LEVEL_TEXTS[level]
        for name in sorted(names):
            yield ""
            yield from one_fault(name)


GRAMMAR = f"""\
A fault is one word, perhaps with settings; faults and [cases](catalogue.md) are chained with `+`:

    stall(after=3,seconds=0.2)+sse-crlf

The same text is accepted everywhere: in the base URL, as the path segment after `/with/` with its values
percent-encoded; in the header `x-mockprovider-faults`; as `faults=` of a rule in Python, in a scenario file or over
the control API; and as `serve --with`. `mockprovider faults` lists them, and `mockprovider faults NAME` explains one:

<!-- test: prints retry_after -->
```bash
mockprovider faults rate-limited
```

A server with a fault for every reply, asked through a URL that adds another:

<!-- test: server -->
```bash
mockprovider serve --with comment
```

<!-- test: prints 429 -->
```bash
curl -s -o /dev/null -w '%{{http_code}}\\n' \\
  'http://127.0.0.1:8000/with/rate-limited(retry_after=2,attempt=1..3)/v1/chat/completions' \\
  -H 'content-type: application/json' \\
  -d '{{"model": "any", "stream": true, "messages": [{{"role": "user", "content": "Hi!"}}]}}'
```

A value is a word (`3`, `50%`, `1..3`, `true`) or JSON (`"a text"`, `{{"a":1}}`). Positions are counted in
{", ".join(Position.UNITS[:-1])} or `%` of the tokens: `3`, `2events`, `1writes`, `100bytes`, `50%`.

Two settings belong to every fault: `p`, how probable it is, drawn anew for each request; and `attempt`, the only
attempts of the same request that it strikes, `1`, `1..3` or `2..`. After an attempt that no such fault is for,
counting begins anew. What cannot be is answered with status 400 before a stream starts, naming the fault, the
setting and what is allowed.

[How to write a fault](write-a-fault.md).
"""


def one_fault(name: str) -> Iterator[str]:
    """One fault with its settings."""
    fault = describe(FAULTS[name])
    yield f"### {name}"
    yield ""
    legal = " *Legal: a conforming client still receives everything.*" if fault["legal"] else ""
    yield f"{prose(fault['summary'])}{legal}"
    for paragraph in filter(None, fault["details"].split("\n\n")):
        yield ""
        yield prose(paragraph)
    own = [setting for setting in fault["settings"] if setting["name"] not in ("p", "attempt")]
    if not own:
        return
    yield ""
    yield "| setting | what | allowed | default |"
    yield "|---|---|---|---|"
    for setting in own:
        default = "" if setting["default"] is None else code(setting["default"], cell=True)
        yield f"| `{setting['name']}` | {prose(setting['doc'])} | {plain(setting['allowed'])} | {default} |"


def pages() -> dict[str, str]:
    """The pages by their path in the repository."""
    return {
        "docs/catalogue.md": "\n".join(catalogue()) + "\n",
        "docs/faults.md": "\n".join(faults()) + "\n",
    }


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a page is not up to date")
    check = parser.parse_args().check
    stale = 0
    for path, text in pages().items():
        file = ROOT / path
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if not check:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        print(f"{path}: {'not up to date; run scripts/docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())

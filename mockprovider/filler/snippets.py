"""Snippets of code as templates: (tag of the fence, language, what it does, code, remarks).

Slots: ONE and MANY, a thing and its plural; CLASS, its class; NUM and TEXT, a field with a number and one
with a text; VALUE, a value of TEXT; LIMIT, SECONDS and TRIES, numbers. "What it does" follows "code that".
The code begins and ends with a line end.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["SNIPPETS", "Snippet"]

Snippet: TypeAlias = "tuple[str, str, str, str, tuple[str, ...]]"

_PYTHON = (
    (
        "adds up the {NUM} of all {MANY} per {TEXT}",
        '''
from collections import defaultdict


def {NUM}_by_{TEXT}({MANY}):
    """The {NUM} of all {MANY}, by {TEXT}."""
    sums = defaultdict(float)
    for {ONE} in {MANY}:
        sums[{ONE}["{TEXT}"]] += {ONE}["{NUM}"]
    return dict(sums)


print({NUM}_by_{TEXT}([{"{TEXT}": "{VALUE}", "{NUM}": {LIMIT}}]))
''',
        (
            "`defaultdict` creates the first sum of each {TEXT} on its own.",
            "The result is an ordinary dictionary, so it can be passed to `json.dumps` as it is.",
        ),
    ),
    (
        "describes one {ONE} and sorts a list of them by {NUM}",
        """
from dataclasses import dataclass


@dataclass(frozen=True)
class {CLASS}:
    {TEXT}: str
    {NUM}: float = 0.0

    def __str__(self) -> str:
        return f"{self.{TEXT}}: {self.{NUM}:.2f}"


{MANY} = [{CLASS}("{VALUE}", {LIMIT}), {CLASS}("other")]
for {ONE} in sorted({MANY}, key=lambda item: item.{NUM}, reverse=True):
    print({ONE})
""",
        ("Because the class is frozen, each {ONE} can also be the key of a dictionary.",),
    ),
    (
        "reads the {MANY} from a large CSV file one row at a time",
        """
import csv
from collections.abc import Iterator
from pathlib import Path


def read_{MANY}(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["{TEXT}"]:  # skip rows without any {TEXT}
                yield row


for number, {ONE} in enumerate(read_{MANY}(Path("{MANY}.csv")), start=1):
    print(number, {ONE}["{TEXT}"])
""",
        (
            "It is a generator, so the memory it needs does not depend on the size of the file.",
            'Note the `newline=""`, without which quoted line breaks are read wrongly.',
        ),
    ),
    (
        "retries a function that fails now and then",
        """
import random
import time


def retry(function, *, tries={TRIES}, delay={SECONDS}):
    for attempt in range(tries):
        try:
            return function()
        except ConnectionError as error:
            if attempt == tries - 1:
                raise
            pause = delay * 2**attempt * (0.5 + random.random())
            print(f"{error!r}, next try in {pause:.1f} s")
            time.sleep(pause)
""",
        (
            "The pause doubles after each failure.",
            "The random factor keeps many clients from coming back at the same moment.",
        ),
    ),
    (
        "fetches several {MANY} at once, but never more than {LIMIT}",
        """
import asyncio


async def fetch_{ONE}(key: str) -> dict[str, str]:
    await asyncio.sleep({SECONDS})
    return {"{TEXT}": key}


async def main() -> None:
    limit = asyncio.Semaphore({LIMIT})

    async def limited(key: str) -> dict[str, str]:
        async with limit:
            return await fetch_{ONE}(key)

    {MANY} = await asyncio.gather(*(limited(key) for key in ("{VALUE}", "second", "third")))
    print(len({MANY}), "{MANY} ✓")


asyncio.run(main())
""",
        ("Replace the call of `asyncio.sleep` with a real request.",),
    ),
    (
        "tests that the {MANY} are sorted by {NUM}",
        """
import pytest


@pytest.mark.parametrize("values", [[], [{LIMIT}], [3, 1, 2]])
def test_{MANY}_are_sorted_by_{NUM}(values):
    {MANY} = [{"{NUM}": value, "{TEXT}": "{VALUE}"} for value in values]

    result = sorted({MANY}, key=lambda {ONE}: {ONE}["{NUM}"])

    assert [{ONE}["{NUM}"] for {ONE} in result] == sorted(values)
""",
        ("The empty list is worth a case of its own.", "Run it with `pytest -q`."),
    ),
)

_JAVASCRIPT = (
    (
        "groups the {MANY} by {TEXT}",
        """
const {MANY} = [
  { {TEXT}: "{VALUE}", {NUM}: {LIMIT} },
  { {TEXT}: "other", {NUM}: 7 },
];

const groups = new Map();
for (const {ONE} of {MANY}) {
  const group = groups.get({ONE}.{TEXT}) ?? [];
  group.push({ONE});
  groups.set({ONE}.{TEXT}, group);
}

for (const [{TEXT}, members] of groups) {
  console.log(`${{TEXT}}: ${members.length}`);
}
""",
        ("A `Map` keeps the order in which the groups were found.",),
    ),
    (
        "loads the {MANY} and gives up after {TRIES} seconds",
        """
async function loadAll(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout({TRIES}_000) });
  if (!response.ok) {
    throw new Error(`Could not load the {MANY}: ${response.status}`);
  }
  return response.json();
}

loadAll("https://example.com/api/{MANY}?limit={LIMIT}")
  .then((found) => console.log(found.length))
  .catch((error) => console.error(error.message));
""",
        ("A timeout rejects the promise with a `TimeoutError`.", "Handle it where you can tell the user."),
    ),
    (
        "reads a streamed answer line by line",
        """
async function* lines(response) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of response.body) {
    rest += decoder.decode(bytes, { stream: true });
    const parts = rest.split("\\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}
""",
        ("With `stream: true` a character that is split between two reads arrives whole.",),
    ),
)

_SQL = (
    (
        "lists the {LIMIT} values of {TEXT} with the highest total",
        """
SELECT {TEXT},
       COUNT(*) AS how_many,
       SUM({NUM}) AS sum_of_{NUM}
FROM {MANY}
WHERE {NUM} IS NOT NULL
GROUP BY {TEXT}
HAVING COUNT(*) > 1
ORDER BY sum_of_{NUM} DESC
LIMIT {LIMIT};
""",
        ("`HAVING` filters the groups, `WHERE` the rows.",),
    ),
    (
        "finds the {ONE} with the highest {NUM} for each {TEXT}",
        """
WITH ranked AS (
  SELECT {TEXT}, {NUM},
         ROW_NUMBER() OVER (PARTITION BY {TEXT} ORDER BY {NUM} DESC) AS place
  FROM {MANY}
)
SELECT {TEXT}, {NUM}
FROM ranked
WHERE place = 1 AND {TEXT} <> '{VALUE}';
""",
        ("Use `RANK()` instead if you want to see ties.", "An index on ({TEXT}, {NUM}) makes this fast."),
    ),
    (
        "creates the table of {MANY}, with an index",
        """
CREATE TABLE new_{MANY} (
  id INTEGER PRIMARY KEY,
  {TEXT} TEXT NOT NULL,
  {NUM} NUMERIC NOT NULL DEFAULT 0 CHECK ({NUM} >= 0)
);
CREATE INDEX new_{MANY}_by_{TEXT} ON new_{MANY} ({TEXT}, {NUM});
INSERT INTO new_{MANY} ({TEXT}, {NUM}) VALUES ('{VALUE}', {LIMIT});
""",
        ("The check refuses negative values.",),
    ),
)

_OTHERS = (
    (
        "typescript",
        "TypeScript",
        "describes the {MANY} and filters them",
        """
interface {CLASS} {
  readonly {TEXT}: string;
  {NUM}?: number;
}

export function above(limit: number, {MANY}: readonly {CLASS}[]): {CLASS}[] {
  return {MANY}.filter(({ {NUM} = 0 }) => {NUM} > limit);
}

const found: {CLASS}[] = above({LIMIT}, [{ {TEXT}: "{VALUE}" }]);
console.log(found.length);
""",
        ("A missing value counts as zero.",),
    ),
    (
        "bash",
        "Bash",
        "counts the {MANY} in every file of a folder",
        """
#!/usr/bin/env bash
set -euo pipefail

for file in data/{MANY}-*.csv; do
  count=$(($(wc -l < "$file") - 1))  # without the header
  printf '%-30s %6d\\n' "${file##*/}" "$count"
done | sort -k2 -nr | head -n {LIMIT}
""",
        ("`set -euo pipefail` makes the script stop at the first error.",),
    ),
    (
        "json",
        "JSON",
        "is a valid request for one {ONE}",
        """
{
  "{ONE}": {
    "{TEXT}": "{VALUE}",
    "{NUM}": {LIMIT},
    "tags": ["new", "50% off", "caf\\u00e9"],
    "archived": false,
    "parent": null
  },
  "timeout": {SECONDS}
}
""",
        ("All fields but `{TEXT}` are optional.",),
    ),
    (
        "go",
        "Go",
        "serves the {MANY} over HTTP",
        """
package main

import (
	"encoding/json"
	"log"
	"net/http"
)

type {CLASS} struct {
	Text   string  `json:"{TEXT}"`
	Number float64 `json:"{NUM}"`
}

func main() {
	http.HandleFunc("/{MANY}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode([]{CLASS}{{"{VALUE}", {LIMIT}}}); err != nil {
			log.Printf("encode {MANY}: %v", err)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
""",
        ("Start it with `go run .` and open http://127.0.0.1:8080/{MANY} in a browser.",),
    ),
    (
        "rust",
        "Rust",
        "finds the {ONE} with the highest {NUM}",
        """
#[derive(Debug, Clone, PartialEq)]
struct {CLASS} {
    {TEXT}: String,
    {NUM}: u32,
}

fn highest({MANY}: &[{CLASS}]) -> Option<&{CLASS}> {
    {MANY}.iter().max_by_key(|{ONE}| {ONE}.{NUM})
}

fn main() {
    let {MANY} = vec![{CLASS} { {TEXT}: "{VALUE}".to_string(), {NUM}: {LIMIT} }];
    println!("{:?}", highest(&{MANY}));
}
""",
        ("The function returns `None` for an empty slice, so nothing panics.",),
    ),
    (
        "yaml",
        "YAML",
        "configures a service for the {MANY}",
        """
services:
  {MANY}:
    image: "registry.example.com/{MANY}:1.{LIMIT}"
    restart: unless-stopped
    environment:
      PAGE_SIZE: "{LIMIT}"  # numbers in quotes stay text
      DEFAULT_NAME: "{VALUE}"
    healthcheck:
      test: ["CMD", "curl", "--fail", "http://localhost:8080/{MANY}"]
      interval: {LIMIT}s
      retries: {TRIES}
""",
        ("The indentation has to be spaces, never tabs.",),
    ),
    (
        "html",
        "HTML",
        "shows the {MANY} in a table",
        """
<table>
  <caption>{CLASS} &amp; {NUM}</caption>
  <thead>
    <tr><th scope="col">{TEXT}</th><th scope="col">{NUM}</th></tr>
  </thead>
  <tbody>
    <tr><td>{VALUE}</td><td>{LIMIT}</td></tr>
  </tbody>
</table>
""",
        ("The `scope` attributes help screen readers.",),
    ),
)

SNIPPETS: tuple[Snippet, ...] = (
    *[("python", "Python", *snippet) for snippet in _PYTHON],
    *[("javascript", "JavaScript", *snippet) for snippet in _JAVASCRIPT],
    *[("sql", "SQL", *snippet) for snippet in _SQL],
    *_OTHERS,
)

"""What an audit speaks of: the task that a client is given, what it told, the verdict, and the report of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mockprovider.errors import MockProviderError

__all__ = [
    "AuditError",
    "Class",
    "ClientFailure",
    "Content",
    "Ending",
    "Heard",
    "Report",
    "Result",
    "Run",
    "Task",
    "Verdict",
]


def normal(text: str) -> str:
    """The text with surrogates joined where they are pairs, and U+FFFD for those that are not.

    RFC 8259 section 8.2 leaves it to the receiver what becomes of a lone one; a pair that came in two pieces is one
    character once the pieces are joined.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


FORMAT = 1
"""The version of the JSON form of a report."""


class AuditError(MockProviderError):
    """An audit cannot go on, such as one whose client fails on a perfect stream; the message says what was seen."""


class ClientFailure(Exception):
    """Raised by a callable that speaks for another program: what that program raised.

    name: the error's class, with its module where there is one; own: whether it is the client's own error, None:
    to be told from the name; report: as the last JSON line of a command.
    """

    def __init__(
        self, name: str, message: str = "", *, own: bool | None = None, report: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.name = name
        self.own = own
        self.report = dict(report or {})


class Content(StrEnum):
    """The first verdict: what became of the text, and of what else the client shows."""

    FULL = "full"
    PARTIAL = "partial"
    EMPTY = "empty"
    ALTERED = "altered"
    EXTRA = "extra"


class Ending(StrEnum):
    """The second verdict: what the caller was told of the end."""

    COMPLETE = "complete"
    RAISED = "raised"
    CRASHED = "crashed"
    HUNG = "hung"


class Class(StrEnum):
    """What a case comes to. `rank` orders them, from what is right to what is worst."""

    OK = "OK"
    SKIPPED = "SKIPPED"
    INFORMATIONAL = "INFORMATIONAL"
    NON_STRICT = "NON-STRICT"
    FAILED = "FAILED"
    SILENT_LOSS = "SILENT LOSS"

    @property
    def rank(self) -> int:
        """0 for OK, and more for worse."""
        return list(Class).index(self)


@dataclass(frozen=True, slots=True)
class Task:
    """What a client is asked to do: ask this base URL with this prompt, and hand out the text that comes.

    timeout: seconds of silence after which it should give up, where it has such a limit; deadline: seconds that the
    whole answer may take, where it has one; stream: whether to ask for a stream; requests: how many times to ask, one
    after the other with the same client (the last answer counts).
    """

    case: str
    dialect: str
    base_url: str
    api_key: str
    model: str
    prompt: str
    timeout: float
    deadline: float = 60.0
    stream: bool = True
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client told of one task.

    text: what it handed out; error: what it raised, in words; report: the JSON that it gave besides; seconds: from its
    request to its end; startup: from its start to its request; at: when it ended (monotonic seconds); output: what a
    command wrote on stderr, the end of it.
    """

    text: str
    ending: Ending
    error: str | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    startup: float = 0.0
    at: float = 0.0
    output: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run comes to. reading: the expectation that was met, or None; why: in a sentence; notes: further facts."""

    kind: Class
    content: Content
    ending: Ending
    reading: str | None
    why: str
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What two runs of the same case must agree in."""
        return (self.kind, self.content, self.ending)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a case: the verdict, what the client told, and what the server saw.

    requests: one entry for each, as `wirelog.logged` makes them; late: whether the server was behind its times.
    """

    verdict: Verdict
    heard: Heard
    requests: tuple[Mapping[str, Any], ...] = ()
    late: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case: the run that counts, or why it was skipped. others: the keys of its other runs."""

    case: str
    run: Run | None = None
    skipped: str | None = None
    others: tuple[tuple[str, str, str], ...] = ()

    @property
    def kind(self) -> Class:
        """Its class."""
        return self.run.verdict.kind if self.run is not None else Class.SKIPPED

    @property
    def flaky(self) -> bool:
        """Whether its runs did not agree."""
        return self.run is not None and any(key != self.run.verdict.key for key in self.others)

    def describe(self) -> dict[str, Any]:
        """The result as JSON."""
        if self.run is None:
            return {"case": self.case, "class": str(self.kind), "why": self.skipped}
        verdict, heard = self.run.verdict, self.run.heard
        described: dict[str, Any] = {
            "case": self.case,
            "class": str(verdict.kind),
            "content": str(verdict.content),
            "ending": str(verdict.ending),
            "reading": verdict.reading,
            "why": verdict.why,
            "notes": list(verdict.notes),
            "text": heard.text[:_SHOWN],
            "characters": len(heard.text),
            "error": heard.error,
            "report": dict(heard.report),
            "seconds": round(heard.seconds, 3),
            "requests": [dict(request) for request in self.run.requests],
            "late": self.run.late,
            "flaky": self.flaky,
            "runs": [list(key) for key in (verdict.key, *self.others)],
        }
        if heard.output:
            described["output"] = heard.output
        return plain(described)  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """The same JSON value in characters that every encoding has, without surrogates."""
    if isinstance(value, str):
        return value if value.isascii() else normal(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float) else str(value)


_SHOWN = 600
"""Characters of a client's text that a report keeps."""


@dataclass(frozen=True, slots=True)
class Report:
    """The audit of one client.

    date: when, as an ISO 8601 text; startup: seconds that the client needed before its request in the control run;
    reproduce: the command that runs one case again, with `{case}` in it; can: its capabilities.
    """

    client: str
    dialect: str
    seed: int
    version: str
    date: str
    seconds: float
    startup: float
    reproduce: str
    can: tuple[str, ...]
    results: tuple[Result, ...]
    refused: str | None = None

    def count(self, kind: Class) -> int:
        """How many cases are of that class."""
        return sum(result.kind is kind for result in self.results)

    @property
    def silent_losses(self) -> list[str]:
        """The cases in which text was lost and success reported."""
        return [result.case for result in self.results if result.kind is Class.SILENT_LOSS]

    def describe(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "mockprovider-audit": FORMAT,
            **{name: plain(getattr(self, name)) for name in self.__dataclass_fields__ if name != "results"},
            "totals": {str(kind): self.count(kind) for kind in Class},
            "cases": [result.describe() for result in self.results],
        }

    def __str__(self) -> str:
        if self.refused is not None:
            return f"{self.client}: refused: {self.refused}"
        counted = [f"{self.count(kind)} {kind}" for kind in Class if self.count(kind)]
        return f"{self.client} ({self.dialect}): {', '.join(counted)}"

"""Cases of the catalogue as a test meets them: which ones, where they happen, and whether a client survives them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from mockprovider.cases import FAMILIES, TEXT, Case, cases, recipe_of
from mockprovider.dialects import DIALECTS
from mockprovider.errors import MockProviderError, SettingError, nearest
from mockprovider.exchange import Exchange
from mockprovider.preview import durations
from mockprovider.reply import plain_text
from mockprovider.scenario_file import reply_from
from mockprovider.verdict import Judgement, Told, judge

__all__ = ["Client", "Pathology", "is_legal", "select", "survival"]

Client: TypeAlias = "Callable[[str], str | Told | Awaitable[str | Told | None] | None]"
"""A client under test: takes a base URL, streams one prompt there, and returns the text or raises."""


def is_legal(case: Case) -> bool:
    """Whether what is on the wire is legal, if odd: a conforming client delivers the whole text."""
    if case.listener is not None or case.expect not in ("deliver", "ignore"):
        return False
    return all(fault.legal for fault in recipe_of(case).faults)


def select(
    patterns: Collection[str] = (),
    legal: bool | None = None,
    can: str | Collection[str] = (),
    dialect: str = "openai-chat",
) -> list[Case]:
    """The cases that these words choose, in the catalogue's order.

    patterns: globs of names (`sse-*`) and families (`timing`); none: all. legal: only those that are legal on the
    wire, or only the others. can: what the client can do besides reading text, such as `tools` or `retry`; a case that
    needs more is left out, unless a pattern is its name. dialect: that of the client. Cases that are not available
    are left out. SettingError for a pattern, ability or dialect that there is not, and where nothing is left.
    """
    known = cases()
    abilities = {can} if isinstance(can, str) else set(can)
    needs = sorted({need for case in known.values() for need in case.needs} - {"anthropic", "h2"})
    for ability in sorted(abilities):
        if ability not in needs:
            raise SettingError(f"can: unknown ability {ability!r}{nearest(ability, needs)}")
    names = sorted({each.name for each in DIALECTS})
    if dialect not in names:
        raise SettingError(f"dialect: unknown dialect {dialect!r}{nearest(dialect, names)}")
    for pattern in patterns:
        if pattern not in FAMILIES and not any(fnmatchcase(name, pattern) for name in known):
            close = nearest(pattern, tuple(known))
            hint = close if close.startswith("; did") else f"; families: {', '.join(FAMILIES)}"
            raise SettingError(f"no case is called {pattern!r}{hint}")
    implied = {"anthropic"} if dialect.startswith("anthropic") else set()
    chosen = [
        case
        for case in known.values()
        if case.available
        and case.dialect in ("any", dialect)
        and (not patterns or any(fnmatchcase(case.name, pattern) or pattern == case.family for pattern in patterns))
        and (case.name in patterns or not set(case.needs) - abilities - implied)
        and (legal is None or is_legal(case) == legal)
    ]
    if not chosen:
        raise SettingError(
            f"no case is left of {', '.join(patterns) or 'all'} with legal={legal}, can={sorted(abilities)}"
        )
    return chosen


@dataclass(frozen=True, slots=True)
class Pathology:
    """A case as a test meets it; in pytest, the fixture `pathology` of a test with the marker `pathologies`.

    case: its row of the catalogue; openai_url: the base URL at which it happens, with `/v1`; dialect: that of the
    client; speed: how much faster than the case says the server is; seen: the exchanges of the test so far.
    """

    case: Case
    openai_url: str
    dialect: str
    speed: float
    seen: Callable[[], Sequence[Exchange]]

    def __str__(self) -> str:
        return self.case.name

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name

    @property
    def anthropic_url(self) -> str:
        """The base URL for Anthropic's SDKs, which add `/v1` themselves."""
        return self.openai_url.removesuffix("/v1")

    @property
    def base_url(self) -> str:
        """The base URL for SDKs of the client's dialect."""
        return self.openai_url if self.dialect.startswith("openai") else self.anthropic_url

    @property
    def expect(self) -> str:
        """What a correct client does: `deliver`, `ignore`, `raise`, `retry` or `keep`."""
        return self.case.expect

    @property
    def accept(self) -> tuple[str, ...]:
        """Further accepted readings, where the case is contestable."""
        return self.case.accept

    @property
    def text(self) -> str:
        """The text of the reply, before anything happens to it."""
        return plain_text(reply_from(TEXT if self.case.reply is None else self.case.reply))

    @property
    def seconds(self) -> float:
        """How long the server takes for the answer; infinite where it never ends."""
        return durations(self.case.name)[0] / self.speed

    @property
    def silence(self) -> float:
        """The longest time in which the server sends nothing, in seconds; infinite where it falls silent for ever."""
        return durations(self.case.name)[1] / self.speed

    def judge(self, told: Told) -> Judgement:
        """What the program told, held against the case's expectation and the exchanges of the test."""
        return judge(self.case, self.seen(), told)

    def assert_survives(self, client: Client) -> None:
        """The client does what is expected of it: it is called with the base URL, and returns the text or raises.

        AssertionError that says what was expected and what it did.
        """
        __tracebackhide__ = True
        why = survival(self, client)
        if why is not None:
            raise AssertionError(why)


def survival(pathology: Pathology, client: Client) -> str | None:
    """Run the client against the case; why it did not survive, or None. AssertionErrors of the client pass through."""
    before = len(pathology.seen())
    told = _told(pathology, client)
    judgement = judge(pathology.case, pathology.seen()[before:], told)
    if judgement.passed:
        return None
    case = pathology.case
    expected = " or ".join((case.expect, *case.accept))
    return f"  {case.name}: {judgement.why}\n    on the wire: {case.wire}\n    expected ({expected}): {case.must}"


def _told(pathology: Pathology, client: Client) -> Told:
    try:
        said = client(pathology.base_url)
        if inspect.isawaitable(said):
            said = asyncio.run(_awaited(said))
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a client raises is what it tells
        return Told(None, f"{type(error).__module__}.{type(error).__qualname__}: {error}")
    if isinstance(said, Told):
        return said
    if not isinstance(said, str | None):
        raise MockProviderError(f"a client must return the text that it delivers, or Told(...), not {said!r}")
    return Told(said or "")


async def _awaited(said: Awaitable[str | Told | None]) -> str | Told | None:
    return await said

"""The table of a family's proofs: for each case an observation, checked against the server and against mutations of it.

    PROOFS = Proofs("sse")

    @PROOFS.case("sse-crlf")
    def crlf(seen: Seen) -> None: ...

An observation is written from the words of the catalogue and sees bytes alone. A mutation takes one link out of what
makes the case: then the observation must fail, or it proves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from mockprovider import MockProvider
from mockprovider.cases import TEXT, Case, cases, recipe
from mockprovider.faults.base import Fault, Pass
from mockprovider.server import handler
from tests.cases.observe import observe_all

__all__ = ["Observation", "Proofs"]

Observation = Callable[..., None]
"""Takes what was `Seen` of each request, one unless `how` asks for several; raises AssertionError."""


class Proofs:
    """The observations of one family, by the name of the case."""

    def __init__(self, family: str) -> None:
        self.family = family
        self._table: dict[str, tuple[Observation, int, dict[str, Any]]] = {}

    def case(self, name: str, *, tries: int = 1, **how: Any) -> Callable[[Observation], Observation]:
        """The decorated function is the observation of this case. how: for `observe`.

        tries: how often it may be asked for where the observation counts reads: under load the kernel may deliver two
        writes together that left a millisecond apart, which is no fault of the writer.
        """

        def register(observation: Observation) -> Observation:
            assert name not in self._table, f"{name} has two proofs"
            self._table[name] = observation, tries, how
            return observation

        return register

    @property
    def names(self) -> list[str]:
        """The cases that are proved."""
        return list(self._table)

    @property
    def rows(self) -> list[Case]:
        """The family's rows of the catalogue."""
        return [case for case in cases().values() if case.family == self.family]

    @property
    def links(self) -> list[tuple[str, str]]:
        """Every (case, link): each fault of its chain as text, or `reply` where the script alone makes the case."""
        return [
            (name, link) for name in self.names for link in [str(fault) for fault in recipe(name).faults] or ["reply"]
        ]

    async def prove(self, provider: MockProvider, name: str) -> None:
        """Ask for the case and check its observation."""
        observation, tries, how = self._table[name]
        while True:
            tries -= 1
            try:
                observation(*await observe_all(provider.url, name, **how))
            except AssertionError:
                if not tries:
                    raise
            else:
                return

    async def refute(self, provider: MockProvider, name: str, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ask for the case without one link of it: the observation must not hold."""
        if link == "reply":
            plain = dataclasses.replace(recipe(name), reply=TEXT, chunking=None, ask={})
            monkeypatch.setattr(handler, "recipe", lambda text: plain)
        else:
            _disarm(next(fault for fault in recipe(name).faults if str(fault) == link), monkeypatch)
        with pytest.raises(AssertionError):
            await self.prove(provider, name)


def _disarm(broken: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """This fault does nothing any more; others of its kind do what they did."""
    kind = type(broken)
    stage = kind.stage
    monkeypatch.setattr(kind, "stage", lambda self, context: Pass() if self == broken else stage(self, context))

"""What the parts of the benchmark hand back, rows and series to plot, and the settings they run with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from benchmarks import build, contenders


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure. `bound` is "at least" or "at most"; a row without a target is shown for comparison."""

    part: str
    what: str
    figure: float | None
    unit: str = ""
    bound: str = ""
    target: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`reached`, `missed`, `absent` where there is no figure, or nothing where there is no target."""
        if self.figure is None or math.isnan(self.figure):
            return "absent"
        if self.target is None:
            return ""
        reached = self.figure >= self.target if self.bound == "at least" else self.figure <= self.target
        return "reached" if reached else "missed"

    @property
    def target_text(self) -> str:
        """The target as a person writes it: `≥ 0.75 ×`."""
        if self.target is None:
            return ""
        sign = "≥" if self.bound == "at least" else "≤"
        return f"{sign} {number(self.target)} {self.unit}".rstrip()

    @property
    def figure_text(self) -> str:
        """The figure with its unit."""
        if self.figure is None or math.isnan(self.figure):
            return "–"
        return f"{number(self.figure)} {self.unit}".rstrip()


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio(above: float, below: float) -> float | None:
    """A ratio, or nothing where one side is missing."""
    if math.isnan(above) or math.isnan(below) or below == 0:
        return None
    return above / below


@dataclasses.dataclass
class Plot:
    """One picture: `bars` of (name, value), or `lines` of a name and its points."""

    name: str
    title: str
    x_label: str
    y_label: str
    bars: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    lines: dict[str, list[tuple[float, float]]] = dataclasses.field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    mark_y: float | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long and how often. Seconds."""

    quick: bool = False
    names: frozenset[str] = frozenset(contenders.CONTENDERS)

    @property
    def rounds(self) -> int:
        """How often each measure is repeated; the median is reported."""
        return 2 if self.quick else 3

    @property
    def seconds(self) -> float:
        """How long a load runs after its warm-up."""
        return 0.5 if self.quick else 2.0


class Bench:
    """The settings of a run, what was found absent, the raw results, and the rows and plots so far."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.absent: dict[str, str] = {}
        self.raw: dict[str, Any] = {}
        self.rows: list[Row] = []
        self.plots: list[Plot] = []
        self._samples: dict[tuple[int, bool], contenders.Sample] = {}

    def start(
        self, name: str, load: contenders.Load, *, by: contenders.Start | None = None
    ) -> contenders.Server | None:
        """Start a contender, or note why it is absent and return None."""
        if name not in self.settings.names:
            self.absent.setdefault(name, "left out by --contenders")
            return None
        try:
            return (by or contenders.CONTENDERS[name])(load)
        except build.Absent as reason:
            self.absent[name] = str(reason)
            return None

    def sample(self, tokens: int, *, stream: bool = True) -> contenders.Sample:
        """A reply of mockprovider of so many tokens, for those who copy its bytes; else a made-up one."""
        key = (tokens, stream)
        if key not in self._samples:
            load = contenders.Load("sample", tokens, stream)
            self._samples[key] = contenders.made_up(load)
            server = self.start("mockprovider", load)
            if server is not None:
                try:
                    self._samples[key] = contenders.probe(server)
                except build.Absent as reason:
                    self.absent["mockprovider"] = str(reason)
                finally:
                    server.stop()
        return self._samples[key]

    def why(self, *names: str) -> str:
        """Why a row has no figure; the reasons themselves are shown once, below the table."""
        return "; ".join(f"{name} is absent" for name in names if name in self.absent)


Part = Callable[[Bench], None]

"""A folder of recordings: which of them answers a request, in what order, and why none does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mockprovider.errors import RecordingError, SettingError, nearest
from mockprovider.recording import RecordedRequest, Recording, load, load_folder
from mockprovider.redaction import Redactor, Rules
from mockprovider.replay.comparing import DEFAULT, Comparison, Predicate
from mockprovider.replay.reel import Playback, Reel, speed_of

__all__ = ["MODES", "Deck", "Library", "Query", "Recordings", "reel_of"]

MODES = ("none", "once", "new_episodes", "all", "rewrite")
"""What happens to a request, with an upstream: `none` never asks it; `once` does where the folder was empty;
`new_episodes` where no recording matches; `all` and `rewrite` always: there a new recording that is complete takes the
place of those of the same request, here the first one takes the place of all."""


_REMEMBERED = 256
"""Requests of which is remembered what is secret in them: looking for it takes longer than anything else here."""

_LARGE = 1 << 16
"""Bytes of a request's body from which it is not remembered."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """Which recordings are played, and how.

    folder: its files `*.ndjson`, in the order of their names; speed and
    writes: see `Playback`; match and ignore: see `Comparison`; repeat: whether each may be played more than once; mode:
    one of `MODES`; upstream: the base URL that modes other than `none` need; rules: what was removed from the requests
    when they were recorded, where that was more than usual; names: of the files (without suffix) that are played, where
    that is not all; key_env: the variable of the environment with the upstream's key, in place of the client's own.
    SettingError for what cannot be.
    """

    folder: Path
    speed: float = 1.0
    writes: str = "recorded"
    match: tuple[str | Predicate, ...] = DEFAULT
    ignore: tuple[str, ...] = ()
    repeat: bool = False
    mode: str = "none"
    upstream: str | None = None
    rules: Rules | None = None
    names: tuple[str, ...] | None = None
    key_env: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "speed", speed_of(self.speed))
        for name in ("match", "ignore"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise SettingError(f"{name}: expected a list, got {given!r}")
            object.__setattr__(self, name, tuple(given))
        Comparison(self.match, self.ignore)
        _ = self.playback
        if self.mode not in MODES:
            raise SettingError(f"mode: unknown mode {self.mode!r}{nearest(str(self.mode), MODES)}")
        if self.mode != "none" and not self.upstream:
            raise SettingError(f"mode {self.mode}: what is not recorded is asked of an upstream: give its base URL")

    @classmethod
    def of(cls, value: object) -> Recordings:
        """From itself, a folder, or a table of its settings. SettingError for anything else."""
        if isinstance(value, Recordings):
            return value
        if isinstance(value, str | Path):
            return cls(Path(value))
        if not isinstance(value, dict) or "folder" not in value:
            raise SettingError(f"recordings: expected a folder, or a table with `folder`, got {value!r}")
        for name in value:
            if name not in cls.__dataclass_fields__:
                raise SettingError(
                    f"recordings: unknown setting {name!r}{nearest(name, tuple(cls.__dataclass_fields__))}"
                )
        return cls(**value)

    @property
    def playback(self) -> Playback:
        """Speed and writes."""
        return Playback(self.speed, self.writes)


class Query(NamedTuple):
    """A request without its secrets, and what recordings of requests like it have in common with it."""

    request: RecordedRequest
    key: tuple[str, ...]


class Library:
    """The recordings of a folder, ready to be played; shared by all who play them.

    A request is compared as it would have been recorded: without what is secret in it. Raises RecordingError for a
    folder that cannot be read, SettingError for one without recordings and no upstream.
    """

    def __init__(self, settings: Recordings) -> None:
        self.settings = settings
        self.playback = settings.playback
        self.comparison = Comparison(settings.match, settings.ignore)
        self._redactor = Redactor(settings.rules)
        self._queries: OrderedDict[tuple[object, ...], Query] = OrderedDict()
        self.reels: list[Reel] = []
        self._by_key: dict[tuple[str, ...], list[int]] = {}
        if settings.mode == "none" or settings.folder.is_dir():
            for recording in load_folder(settings.folder):
                if settings.names is None or recording.name in settings.names:
                    self.add(recording)
        self.fresh = not self.reels
        if settings.mode == "none" and not self.reels:
            raise SettingError(f"there are no recordings (*.ndjson) in {settings.folder}")

    def add(self, recording: Recording) -> Reel:
        """One more recording."""
        reel = Reel(recording)
        key = self.comparison.key(recording.request)
        self._by_key.setdefault(key, []).append(len(self.reels))
        self.reels.append(reel)
        return reel

    def remove(self, numbers: Iterable[int]) -> None:
        """Take recordings away, and their files."""
        gone = set(numbers)
        for number in gone:
            path = self.reels[number].recording.path
            if path is not None:
                path.unlink(missing_ok=True)
        for key, found in self._by_key.items():
            self._by_key[key] = [number for number in found if number not in gone]

    def query(self, request: RecordedRequest) -> Query:
        """The request as it would have been recorded, ready to be compared."""
        raw = (request.method, request.target, request.headers, request.body)
        made = self._queries.pop(raw, None)
        if made is None:
            redacted = self._redactor.request(request)
            made = Query(redacted, self.comparison.key(redacted))
        if len(request.body) <= _LARGE:
            self._queries[raw] = made
            if len(self._queries) > _REMEMBERED:
                self._queries.popitem(last=False)
        return made

    def matching(self, query: Query) -> list[int]:
        """The numbers of the recordings that are for this request, in order."""
        found = self._by_key.get(query.key, [])
        besides = self.comparison.besides
        return [number for number in found if not besides(query.request, self.reels[number].recording.request)]

    def explain(self, query: Query) -> str:
        """The nearest recording and what differs."""
        return self.comparison.explain(query.request, [(reel.name, reel.recording.request) for reel in self.reels])


@dataclass(slots=True)
class Deck:
    """The recordings as one namespace plays them: each once, in order, or again and again in the same order."""

    library: Library
    _plays: dict[int, int] = field(default_factory=dict)
    _made: set[int] = field(default_factory=set)

    @property
    def settings(self) -> Recordings:
        """Which recordings, and how they are played."""
        return self.library.settings

    @property
    def asks(self) -> bool:
        """Whether the upstream is asked for what is not played."""
        return self.settings.mode != "none" and (self.settings.mode != "once" or self.library.fresh)

    def recorded(self, recording: Recording, query: Query) -> None:
        """A new recording, which has been played by being made."""
        library, mode = self.library, self.settings.mode
        if mode == "all":
            library.remove(set(library.matching(query)) - self._made)
        elif mode == "rewrite" and not self._made:
            library.remove(range(len(library.reels)))
        number = len(library.reels)
        library.add(recording)
        self._plays[number] = 1
        self._made.add(number)

    def take(self, query: Query) -> Reel | None:
        """The recording whose turn it is; None where none is for this request, or none is left."""
        if self.settings.mode in ("all", "rewrite"):
            return None
        found = self.library.matching(query)
        number = min(found, key=lambda each: self._plays.get(each, 0), default=None)
        if number is None or (self._plays.get(number) and not self.settings.repeat):
            return None
        self._plays[number] = self._plays.get(number, 0) + 1
        return self.library.reels[number]

    def miss(self, query: Query) -> str:
        """Why there is no recording for this request."""
        found = [self.library.reels[number].name for number in self.library.matching(query)]
        if found:
            played = f"{found[0]} has" if len(found) == 1 else f"{', '.join(found)} have"
            return f"{played} been played, and each is played once unless repeats are allowed"
        return self.library.explain(query)

    @property
    def unplayed(self) -> list[str]:
        """The names of the recordings that nobody has asked for."""
        return [reel.name for number, reel in enumerate(self.library.reels) if not self._plays.get(number)]

    def reset(self) -> None:
        """As if none had been played."""
        self._plays.clear()


def reel_of(value: Any) -> Reel:
    """A recording ready to be played, from itself or a file. RecordingError where it cannot be read."""
    if isinstance(value, Reel):
        return value
    if isinstance(value, Recording):
        return Reel(value)
    if not isinstance(value, str | Path):
        raise RecordingError(f"expected a recording or its file, got {value!r}")
    return Reel(load(value))

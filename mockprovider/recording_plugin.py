"""What the pytest plugin does with recordings: which of them a test plays, and what is asked of an upstream.

Importing this module loads nothing heavy; the first test that plays a recording does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider.errors import SettingError, nearest

if TYPE_CHECKING:
    from mockprovider.provider import MockProvider

__all__ = ["MARK", "OPTIONS", "chosen", "play"]

MARK = (
    "recording(name=None, mode=..., upstream=..., folder=..., speed=..., writes=..., match=..., ignore=...,"
    " repeat=...): answer this test's requests with recordings"
)
OPTIONS: Mapping[str, tuple[str, str, str]] = {
    "record": ("mode", "MODE", "none (the default), once, new_episodes, all or rewrite: what is asked of the upstream"),
    "upstream": ("upstream", "URL", "base URL of the provider that modes other than none record"),
}
"""Settings that the command line and the ini file may give: the setting's name, a word for it, and what help says."""

_KNOWN = ("mode", "upstream", "folder", "speed", "writes", "match", "ignore", "repeat", "rules", "key_env")
_DEFAULT: Mapping[str, Any] = {"mode": "none", "speed": "instant"}


def chosen(
    command: Mapping[str, Any], marks: Sequence[Mapping[str, Any]], fixture: Mapping[str, Any], ini: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a test's recordings: the command line before markers before the fixture before the ini file.

    marks: the nearest to the test first. What is None or an empty text is not given. SettingError for an unknown one.
    """
    made = dict(_DEFAULT)
    for settings in (ini, fixture, *reversed(marks), command):
        for name, value in settings.items():
            if name not in _KNOWN:
                raise SettingError(f"recording: unknown setting {name!r}{nearest(name, _KNOWN)}")
            if value not in (None, ""):
                made[name] = value
    return made


def play(provider: MockProvider, name: str | None, file: Path, test: str, settings: dict[str, Any]) -> None:
    """Let the provider play a test's recordings.

    They are in `recordings/MODULE/NAME/` beside the test's file, or in one file `NAME.ndjson` there; NAME is the test's
    own unless the marker gives another. SettingError, with what to do, where there are none.
    """
    folder = Path(settings.pop("folder", file.parent / "recordings" / file.stem))
    # The name of a test may have anything in it, once it has parameters.
    place = folder / (name or re.sub(r"[^\w.-]+", "-", test).strip("-"))
    single = place.with_name(place.name + ".ndjson")
    if single.is_file() and not place.is_dir():
        settings["names"] = (place.name,)
        place = folder
    if settings["mode"] == "none":
        settings.pop("upstream", None)
        if not place.is_dir():
            raise SettingError(
                f"there are no recordings in {place}; to make them, run the test once with"
                " --mockprovider-record=once --mockprovider-upstream=URL"
            )
    provider.replay(place, **settings)

"""A scenario file that is read again when it changes, while the server runs.

The file is looked at twice a second rather than watched: that needs no library, and works on every file system and
with every way in which editors save. A file that cannot be used changes nothing: the last good state stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.scenario_file import ScenarioFile
from mockprovider.server.handler import Handler
from mockprovider.settings import Settings

__all__ = ["Read", "Reloader", "followed"]

logger = logging.getLogger("mockprovider")

_LOOK = 0.5
"""Seconds between two looks at the file."""

Read = Callable[[], "tuple[Settings, ScenarioFile | None]"]


class Reloader:
    """Keeps a handler's scenario as its file says.

    read: reads the file and merges it with what was given when the server started; SettingError where it cannot be
    used. problems: what is wrong with the file as it stands, a line each; loaded: when the state that is in force was
    read, in seconds since the epoch.
    """

    def __init__(self, path: Path, read: Read, handler: Handler) -> None:
        self.path = path
        self.problems: tuple[str, ...] = ()
        self.loaded = time.time()
        self._read = read
        self._handler = handler
        self._seen = self._look()

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self.reload()

    def reload(self) -> None:
        """Read the file now, and log what came of it."""
        try:
            settings, file = self._read()
            self._handler.reload(settings, file)
        except SettingError as error:
            self.problems = tuple(str(error).splitlines())
            logger.error("%s\n%s stays as it was", error, self.path)
            return
        self.problems = ()
        self.loaded = time.time()
        logger.warning("%s was read again: %d rules", self.path, len(file.rules) if file else 0)

    def _look(self) -> tuple[int, int, int] | None:
        """What tells one state of the file from another; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def followed(reloader: Reloader | None) -> dict[str, Any]:
    """The file that is followed, when its state was read, and what is wrong with it, as JSON; nothing without one."""
    if reloader is None:
        return {"file": None, "loaded": None, "problems": []}
    return {"file": str(reloader.path), "loaded": reloader.loaded, "problems": list(reloader.problems)}

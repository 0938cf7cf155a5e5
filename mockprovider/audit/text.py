"""What became of a text: compared as characters, since that is what a reader loses."""

from __future__ import annotations

from mockprovider.audit.model import Content, normal

__all__ = ["compare", "difference"]


def compare(due: str, heard: str) -> Content:
    """What became of a text that was due.

    PARTIAL is a text from which something is missing and nothing else is wrong, be it the end or a piece within;
    EXTRA has all of it and more, such as a repeated piece.
    """
    due, heard = normal(due), normal(heard)
    if heard == due:
        return Content.FULL
    if not heard:
        return Content.EMPTY
    if _within(heard, due):
        return Content.PARTIAL
    if _within(due, heard):
        return Content.EXTRA
    return Content.ALTERED


def _within(part: str, whole: str) -> bool:
    """Whether the part is what is left of the whole after pieces were taken out of it.

    Any few letters can be found one by one in a long text, so what is left must be in runs.
    """
    runs, last, at = 0, -1, 0
    for character in part:
        at = whole.find(character, last + 1)
        if at < 0:
            return False
        runs += at != last + 1 or not runs
        last = at
    return len(part) >= _RUN * runs


_RUN = 2
"""Characters that a run has on average, at least."""


def difference(due: str, heard: str) -> str:
    """Where a text leaves what was due, in words."""
    due, heard = normal(due), normal(heard)
    same = next((i for i, (a, b) in enumerate(zip(due, heard, strict=False)) if a != b), min(len(due), len(heard)))
    if same == len(heard) < len(due):
        return f"it ends after {same} of {len(due)} characters"
    if same == len(due) < len(heard):
        return f"after all {same} characters come {len(heard) - same} more: {heard[same : same + 40]!r}"
    return f"from character {same} on it is {heard[same : same + 40]!r} instead of {due[same : same + 40]!r}"

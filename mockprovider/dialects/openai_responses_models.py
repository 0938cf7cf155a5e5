"""In what OpenAI's models differ on `/v1/responses`: the settings that a reply tells where the request has none.

From recordings of api.openai.com and Azure's OpenAI of 2026, and from OpenAI's API reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mockprovider.dialects.openai_models import reasons

__all__ = ["Traits", "traits"]

_VERSION = re.compile(r"gpt-([0-9]+)(?:\.([0-9]+))?")
_OWN = re.compile(r"(?:ft:)?(?:gpt-(?!oss)|o[1-9](?![0-9a-z])|chatgpt-|codex-|computer-use-)")


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model does by itself.

    reasons: whether it is a reasoning model; effort and context: of its reasoning, None for one that does not reason;
    thinks: whether every reply has a reasoning item, said or not; raw: whether its thinking is shown as it is rather
    than as a summary; phases: whether its messages say whether they are the answer; top_p; retention: of prompts.
    """

    reasons: bool
    effort: str | None
    context: str | None
    thinks: bool
    raw: bool
    phases: bool
    top_p: float
    retention: str


@lru_cache(maxsize=256)
def traits(model: str) -> Traits:
    """The traits of the model of that name; one that is not OpenAI's has those of a model that does not reason."""
    match = _VERSION.match(model)
    version = (int(match[1]), int(match[2] or 0)) if match else (0, 0)
    thinking = reasons(model)
    return Traits(
        reasons=thinking,
        effort=None if not thinking else "none" if (5, 1) <= version < (5, 5) else "medium",
        context=None if not thinking else "all_turns" if version >= (5, 6) else "current_turn",
        thinks=thinking and version <= (5, 0),
        raw=_OWN.match(model) is None,
        phases=thinking and version >= (5, 3),
        top_p=0.98 if thinking and version >= (5, 2) else 1.0,
        retention="24h" if version >= (5, 5) else "in_memory",
    )

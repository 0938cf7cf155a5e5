"""What the streamed and the whole form of a Gemini reply have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mockprovider.dialects.base import Usage, Voice
from mockprovider.dialects.gemini_models import first_forms, version
from mockprovider.dialects.gemini_request import prompt_tokens
from mockprovider.reply import Cited, Finish

__all__ = ["BLOCKED", "arguments", "candidate", "document", "finish_reason", "grounding", "signature", "usage"]

_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}

BLOCKED = {"blockReason": "PROHIBITED_CONTENT"}
"""What a reply that is filtered before its first word says of the prompt."""


def finish_reason(finish: Finish, *, refused: bool) -> str:
    """Why the candidate ends. refused: the model declines, which Gemini says with its reason alone."""
    if refused and finish.reason == "stop":
        return "SAFETY"
    return _REASONS.get(finish.reason, finish.reason.upper())


def grounding(grounds: Sequence[tuple[int, str, Cited]]) -> dict[str, Any]:
    """What an answer rests on: (where a text ends in the answer's UTF-8, the text, its citations), in order.

    A page that is cited twice is told once. A start of 0 is left out, as Google leaves out what has its usual value.
    """
    pages: dict[tuple[str, str], int] = {}
    supports = []
    for end, text, item in grounds:
        indices = [pages.setdefault((each.url, each.title), len(pages)) for each in item.citations]
        start = end - len(text.encode("utf-8", "surrogatepass"))
        segment = {**({"startIndex": start} if start else {}), "endIndex": end, "text": text}
        supports.append({"segment": segment, "groundingChunkIndices": list(dict.fromkeys(indices))})
    chunks = [{"web": {"uri": url, "title": title}} for url, title in pages]
    return {"groundingChunks": chunks, "groundingSupports": supports}


def arguments(text: str) -> dict[str, Any] | None:
    """The arguments of a function call as an object; None where the text is none."""
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def signature(voice: Voice, candidate: int) -> str:
    """The signature of a candidate's thoughts: Base64, of this exchange alone."""
    return (
        "CiQB"
        + voice.id(60, "signature", candidate)
        + "".join(voice.id(64, "signature", candidate, part) for part in range(3))
    )


def candidate(voice: Voice, index: int, parts: list[dict[str, Any]], ending: dict[str, Any]) -> dict[str, Any]:
    """A candidate: its parts, and how it ends, if it does."""
    said: dict[str, Any] = {"content": {"parts": parts, "role": "model"}} if parts else {}
    return {**said, **ending, **({} if first_forms(voice.ask.model) else {"index": index})}


def usage(voice: Voice, sent: Usage, *, ended: bool) -> dict[str, Any]:
    """The account so far. While nothing but thoughts has come, they are not in it."""
    account, first = voice.account(sent, prompt_tokens(voice.ask), ended=ended), first_forms(voice.ask.model)
    prompt, answered = account.prompt, account.answer
    told = ended or (answered > 0 and not first)
    modality = [{"modality": "TEXT", "tokenCount": prompt}]
    said: dict[str, Any] = {"promptTokenCount": prompt}
    if told and answered:
        said["candidatesTokenCount"] = answered
    said["totalTokenCount"] = prompt + (account.completion if told else 0)
    if account.cached:
        said["cachedContentTokenCount"] = account.cached
    said["promptTokensDetails"] = modality
    if account.cached:
        said["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": account.cached}]
    if told and first and answered:
        said["candidatesTokensDetails"] = [{"modality": "TEXT", "tokenCount": answered}]
    if told and account.reasoning:
        said["thoughtsTokenCount"] = account.reasoning
    return {**said, "serviceTier": "standard"}


def document(
    voice: Voice, candidates: list[dict[str, Any]], sent: Usage, *, ended: bool, blocked: bool = False
) -> dict[str, Any]:
    """A chunk of a stream, or a whole reply."""
    said: dict[str, Any] = {"promptFeedback": BLOCKED} if blocked else {"candidates": candidates}
    return {
        **said,
        "usageMetadata": usage(voice, sent, ended=ended),
        "modelVersion": version(voice.ask.model),
        "responseId": voice.id(23, "response"),
    }

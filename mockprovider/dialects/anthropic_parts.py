"""What the streamed and the whole form of a message have in common."""

from __future__ import annotations

from typing import Any

from mockprovider.dialects.anthropic_models import snapshot
from mockprovider.dialects.base import Account, Ask, Usage, Voice
from mockprovider.jsontext import dumps
from mockprovider.reply import Citation, Finish
from mockprovider.tokens import count

__all__ = ["Padding", "cited", "ending", "final_usage", "first_usage", "head", "input_tokens", "signature"]

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def input_tokens(ask: Ask) -> int:
    """How many tokens the prompt is: its texts, the system's among them, and the tools that it offers."""
    return ask.prompt_tokens() + sum(
        count(tool.name) + count(dumps(tool.parameters).decode()) for tool in ask.tools if tool.parameters is not None
    )


def _account(voice: Voice, sent: Usage, *, ended: bool) -> Account:
    """No message is counted as less than one token."""
    least = Usage(max(1, sent.completion), sent.reasoning)
    return voice.account(least, input_tokens(voice.ask), ended=ended)


def _details(voice: Voice, told: Account) -> dict[str, Any]:
    """What of the output is thinking; older messages do not tell it, nor is it told here where it was not scripted."""
    script = voice.reply.usage
    if script is None or script.reasoning is None:
        return {}
    return {"output_tokens_details": {"thinking_tokens": told.reasoning}}


def first_usage(voice: Voice, sent: Usage, *, ended: bool) -> dict[str, Any]:
    """The usage as `message_start` and a whole message tell it. What is written to the cache is kept for 5 minutes."""
    told = _account(voice, sent, ended=ended)
    return {
        "input_tokens": told.uncached,
        "cache_creation_input_tokens": told.cache_written,
        "cache_read_input_tokens": told.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": told.cache_written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": told.completion,
        **(_details(voice, told) if ended else {}),
        "service_tier": voice.ask.options.service_tier,
        "inference_geo": "not_available",
    }


def final_usage(voice: Voice, sent: Usage) -> dict[str, Any]:
    """The usage as `message_delta` tells it: cumulative, and never less than `message_start` said."""
    told = _account(voice, sent, ended=True)
    return {
        "input_tokens": told.uncached,
        "cache_creation_input_tokens": told.cache_written,
        "cache_read_input_tokens": told.cached,
        "output_tokens": told.completion,
        **_details(voice, told),
    }


def head(voice: Voice) -> dict[str, Any]:
    """The message before it has said anything."""
    return {
        "model": snapshot(voice.ask.model),
        "id": "msg_01" + voice.id(22, "message"),
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def ending(finish: Finish, refusal: list[str]) -> dict[str, Any]:
    """Why the message ends. refusal: the pieces of what a model that declines says, which is an explanation here."""
    reason = _REASONS.get(finish.reason, finish.reason)
    stopped = finish.stop is not None and reason == "end_turn"
    if refusal and reason == "end_turn":
        reason = "refusal"
    said: dict[str, Any] = {
        "stop_reason": "stop_sequence" if stopped else reason,
        "stop_sequence": finish.stop if stopped else None,
    }
    if refusal:
        said["stop_details"] = {"type": "refusal", "category": None, "explanation": "".join(refusal)}
    return said


def cited(voice: Voice, citation: Citation) -> dict[str, Any]:
    """A citation of a page that a search has found, or of a plain-text document in the prompt."""
    if not citation.url:
        return {
            "type": "char_location",
            "cited_text": citation.quote,
            "document_index": citation.document,
            "document_title": citation.title or None,
            "start_char_index": citation.start,
            "end_char_index": citation.start + len(citation.quote),
            "file_id": None,
        }
    return {
        "type": "web_search_result_location",
        "cited_text": citation.quote,
        "url": citation.url,
        "title": citation.title or None,
        "encrypted_index": "Eo8B" + voice.id(60, "citation", citation.url),
    }


def signature(voice: Voice, block: int) -> str:
    """The signature of a thinking block: Base64, of this exchange alone."""
    return "Er" + voice.id(62, "signature", block) + "".join(voice.id(64, "signature", block, n) for n in range(3))


class Padding:
    """Spaces before the last brace of a document, which hide the length of a delta.

    In recordings they are from 0 to 15, each number as frequent as any other, whatever the document's length.
    """

    _PERIOD = 61

    def __init__(self, voice: Voice) -> None:
        # Of the request alone, not of how often it came: repetitions differ in their ids and in nothing else.
        drawn = voice.seed.hex(self._PERIOD, "pad", voice.key[0])
        self._spaces = [b" " * int(digit, 16) for digit in drawn]
        self._turn = -1

    def within(self, text: bytes = b"") -> bytes:
        """The next spaces; the text that they come after makes no difference."""
        self._turn = turn = (self._turn + 1) % self._PERIOD
        return self._spaces[turn]

    def close(self, document: dict[str, Any]) -> bytes:
        """The document with its spaces."""
        return dumps(document)[:-1] + self.within() + b"}"

"""The documents of OpenAI's Responses: the response, its output items, and their parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mockprovider.dialects.base import Account, Voice
from mockprovider.dialects.openai_responses_request import ResponsesOptions
from mockprovider.reply import Finish

__all__ = ["KINDS", "Item", "Kind", "Part", "ending", "response", "usage"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of text is said.

    delta, done: the events; key: of the text in the second; index: the key of the part's number; part: what the events
    of the part begin with, None where the text is a field of the item itself.
    """

    delta: str
    done: str
    key: str = "text"
    index: str = "content_index"
    part: str | None = "response.content_part"


KINDS: Mapping[str, Kind] = {
    "output_text": Kind("response.output_text.delta", "response.output_text.done"),
    "refusal": Kind("response.refusal.delta", "response.refusal.done", "refusal"),
    "reasoning_text": Kind("response.reasoning_text.delta", "response.reasoning_text.done"),
    "summary_text": Kind(
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        index="summary_index",
        part="response.reasoning_summary_part",
    ),
    "arguments": Kind(
        "response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments", part=None
    ),
    "input": Kind("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input", part=None),
}


class Part:
    """A text within an item, while it is said. said: the text so far, as the inside of a JSON string."""

    __slots__ = ("annotations", "index", "kind", "logprobs", "said")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.index = index
        self.said = bytearray()
        self.logprobs: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        """The text so far."""
        text: str = json.loads(b'"%b"' % bytes(self.said))
        return text

    def document(self) -> dict[str, Any]:
        """The part as it stands in an item."""
        if self.kind == "output_text":
            annotations = list(self.annotations)
            return {"type": self.kind, "annotations": annotations, "logprobs": self.logprobs, "text": self.text}
        return {"type": self.kind, KINDS[self.kind].key: self.text}


@dataclass(slots=True)
class Item:
    """An output item, while it is made. fields: what it has besides its parts, in the recorded order."""

    type: str
    id: str
    index: int
    fields: Mapping[str, Any]
    parts: list[Part] = field(default_factory=list)
    status: str = "in_progress"

    def document(self) -> dict[str, Any]:
        """The item as it stands now."""
        begun = {"id": self.id, "type": self.type}
        if self.type == "reasoning":
            said = {kind: [part.document() for part in self.parts if part.kind == kind] for kind in KINDS}
            return {**begun, "content": said["reasoning_text"], **self.fields, "summary": said["summary_text"]}
        begun["status"] = self.status
        if self.type == "message":
            return {**begun, "content": [part.document() for part in self.parts], **self.fields}
        (part,) = self.parts
        said_so_far = {part.kind: part.text, **self.fields}
        return {**begun, **{key: said_so_far[key] for key in sorted(said_so_far)}}


def response(voice: Voice, status: str, **fields: Any) -> dict[str, Any]:
    """The response with that status and these fields; all others are as when it was created."""
    options: ResponsesOptions = voice.ask.options
    begun = {
        "id": "resp_" + voice.hex(18, "response") + voice.hex(32, "response resp"),
        "object": "response",
        "created_at": voice.created,
        "status": status,
    }
    return {**begun, **options.echo, **fields}


def usage(told: Account) -> dict[str, Any]:
    """The account of a reply."""
    return {
        "input_tokens": told.prompt,
        "input_tokens_details": {"cache_write_tokens": told.cache_written, "cached_tokens": told.cached},
        "output_tokens": told.completion,
        "output_tokens_details": {"reasoning_tokens": told.reasoning},
        "total_tokens": told.total,
    }


_INCOMPLETE = {"length": "max_output_tokens"}
_COMPLETED = ("stop", "tool_calls", "completed")
_FAILED = ("error", "failed")
_FAILURE = {"code": "server_error", "message": "The model failed to generate a response."}


def ending(finish: Finish) -> tuple[str, dict[str, Any]]:
    """The status with which a response ends, and the fields that say why.

    A reason that Responses do not know is that of an incomplete one.
    """
    if finish.reason in _COMPLETED:
        return "completed", {}
    if finish.reason in _FAILED:
        return "failed", {"error": dict(_FAILURE)}
    return "incomplete", {"incomplete_details": {"reason": _INCOMPLETE.get(finish.reason, finish.reason)}}

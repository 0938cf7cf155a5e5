"""From deltas to the output of a response: which item and part each belongs to, and the events that tell it.

Events are documents without their numbers: the streamed form numbers and sends them, the whole form lets them pass and
tells the items when all have come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mockprovider.dialects.base import Usage, Voice
from mockprovider.dialects.openai_logprobs import Logprobs
from mockprovider.dialects.openai_responses_parts import KINDS, Item, Part, ending, response, usage
from mockprovider.dialects.openai_responses_request import ResponsesOptions
from mockprovider.jsontext import escape
from mockprovider.reply import (
    Cited,
    Delta,
    Finish,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Start,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)

__all__ = ["Output", "brief"]

Event = dict[str, Any]

_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}


class Output:
    """The output of one response. usage: counts what is said."""

    def __init__(self, voice: Voice) -> None:
        self.usage = Usage()
        self.items: list[Item] = []
        self._voice = voice
        options: ResponsesOptions = voice.ask.options
        self._options = options
        self._logprobs = Logprobs(voice, options.top_logprobs) if options.logprobs else None
        self._custom = {tool.name for tool in voice.ask.tools if tool.custom}
        self._scripted = [len(part.arguments_text) for part in voice.reply.parts if isinstance(part, ToolCall)]
        self._item: Item | None = None  # the message or the thinking that is open
        self._part: Part | None = None  # the part of it that is open
        self._calls: dict[int, Item] = {}  # of each tool call, by its number in the reply
        self._opens_text = False
        self._cited = 0  # where the text begins that rests on something
        self._finish: Finish | None = None

    # ------------------------------------------------------------------------------------------ deltas

    def take(self, delta: Delta) -> Iterator[Event]:
        """The events that a delta makes."""
        if isinstance(delta, ToolCallDelta):
            self.usage.completion += delta.tokens
            if delta.index not in self._calls:  # it never began, in a reply that was tampered with
                yield from self._call(ToolCallStart(delta.index, "", ""))
            item = self._calls[delta.index]
            yield self._said(item, item.parts[0], delta)
        elif isinstance(delta, TextDelta):
            self.usage.completion += delta.tokens
            if isinstance(delta, ReasoningDelta):
                self.usage.reasoning += delta.tokens
                yield from self._within("reasoning", "reasoning_text" if self._options.raw else "summary_text")
            elif isinstance(delta, RefusalDelta):
                yield from self._within("message", "refusal")
            else:
                yield from self._within("message", "output_text")
            assert self._item is not None, "it is open now"
            assert self._part is not None, "it is open now"
            yield self._said(self._item, self._part, delta)
        elif isinstance(delta, Start):
            yield from self._begin(delta)
        elif isinstance(delta, ToolCallStart):
            yield from self._close()
            yield from self._call(delta)
        elif isinstance(delta, Cited):
            yield from self._cite(delta)
        else:
            yield from self._end(delta)

    def text(self) -> tuple[Item, Part] | None:
        """Where answer text goes that comes next; None where no part is open for it, or its tokens are told singly."""
        if self._logprobs is not None or self._item is None or self._part is None or self._part.kind != "output_text":
            return None
        return self._item, self._part

    def _said(self, item: Item, part: Part, delta: TextDelta) -> Event:
        part.said += escape(delta.text)
        event = self._event(item, part, KINDS[part.kind].delta)
        event["delta"] = delta.text
        if part.kind == "output_text":
            event["logprobs"] = []
            if self._logprobs is not None and delta.text:
                entries = self._logprobs.entries(delta)
                part.logprobs += entries
                event["logprobs"] = brief(entries)
        return event

    def _cite(self, delta: Cited) -> Iterator[Event]:
        """What a text rests on, when it has been said; where it stands is counted in characters of its part."""
        part = self._part if self._part is not None and self._part.kind == "output_text" else None
        if delta.begins:
            self._cited = 0 if part is None else len(part.text)
        elif part is not None and self._item is not None:
            for citation in delta.citations:
                place = {"end_index": len(part.text), "start_index": self._cited}
                said = {"type": "url_citation", **place, "title": citation.title, "url": citation.url}
                event = self._event(self._item, part, "response.output_text.annotation.added")
                yield {**event, "annotation": said, "annotation_index": len(part.annotations)}
                part.annotations.append(said)

    def _event(self, item: Item, part: Part, kind: str) -> Event:
        """An event about a part of an item."""
        said = KINDS[part.kind]
        place = {"type": kind, "item_id": item.id, "output_index": item.index}
        return place if said.part is None else {**place, said.index: part.index}

    # ------------------------------------------------------------------------------------------ items and parts

    def _begin(self, start: Start) -> Iterator[Event]:
        yield {"type": "response.created", "response": response(self._voice, "in_progress")}
        yield {"type": "response.in_progress", "response": response(self._voice, "in_progress")}
        self._opens_text = start.opens is Text
        if self._options.thinks and not any(isinstance(part, Reasoning) for part in self._voice.reply.parts):
            yield from self._open("reasoning")
            yield from self._close()

    def _within(self, type: str, kind: str) -> Iterator[Event]:
        """What must come for a part of this kind to be open, in an item of this type."""
        if self._item is None or self._item.type != type:
            # What is said after the end belongs to the message that has ended.
            last = self.items[-1] if self._finish is not None and self.items else None
            if last is not None and last.parts and last.parts[-1].kind == kind:
                self._item, self._part = last, last.parts[-1]
                return
            yield from self._close(calls=True)
            yield from self._open(type)
        if self._part is None or self._part.kind != kind:
            yield from self._part_done()
            assert self._item is not None, "it is open now"
            yield from self._part_added(self._item, kind)

    def _open(self, type: str) -> Iterator[Event]:
        fields: dict[str, Any] = {}
        if type == "message":
            following = [part for part in self._voice.reply.parts if isinstance(part, ToolCall)]
            if self._options.phases:
                fields["phase"] = "commentary" if len(following) > len(self._calls) else "final_answer"
            fields["role"] = "assistant"
        elif self._options.encrypted:
            fields["encrypted_content"] = self._encrypted()
        self._item = self._new(type, fields)
        yield {"type": "response.output_item.added", "item": self._item.document(), "output_index": self._item.index}

    def _new(self, type: str, fields: dict[str, Any]) -> Item:
        index = len(self.items)
        made = _PREFIXES[type] + self._voice.hex(18, "response") + self._voice.hex(32, f"response item {index}")
        item = Item(type, made, index, fields)
        self.items.append(item)
        return item

    def _encrypted(self) -> str:
        """What nobody but the provider can read."""
        return "gAAAAAB" + "".join(self._voice.id(64, "encrypted", len(self.items), n) for n in range(5)) + "=="

    def _call(self, start: ToolCallStart) -> Iterator[Event]:
        """A tool call begins. Those before it are over, unless their arguments go on meanwhile."""
        for index, call in list(self._calls.items()):
            if call.status == "in_progress" and self._complete(index, call):
                yield from self._call_done(call)
        custom = start.name in self._custom
        fields = {"call_id": start.id, "name": start.name}
        item = self._new("custom_tool_call" if custom else "function_call", fields)
        item.parts.append(Part("input" if custom else "arguments", 0))
        self._calls[start.index] = item
        yield {"type": "response.output_item.added", "item": item.document(), "output_index": item.index}

    def _complete(self, index: int, call: Item) -> bool:
        return index >= len(self._scripted) or len(call.parts[0].text) >= self._scripted[index]

    def _part_added(self, item: Item, kind: str) -> Iterator[Event]:
        said = KINDS[kind]
        part = Part(kind, sum(KINDS[other.kind].index == said.index for other in item.parts))
        yield {**self._event(item, part, f"{said.part}.added"), "part": part.document()}
        item.parts.append(part)
        self._part = part

    def _part_done(self) -> Iterator[Event]:
        item, part = self._item, self._part
        self._part = None
        if item is not None and part is not None:
            yield self._text_done(item, part)
            yield {**self._event(item, part, f"{KINDS[part.kind].part}.done"), "part": part.document()}

    def _text_done(self, item: Item, part: Part) -> Event:
        said = KINDS[part.kind]
        event = {**self._event(item, part, said.done), said.key: part.text}
        if part.kind == "output_text":
            event["logprobs"] = brief(part.logprobs)
        return event

    def _call_done(self, call: Item, status: str = "completed") -> Iterator[Event]:
        yield self._text_done(call, call.parts[0])
        yield from self._item_done(call, status)

    def _item_done(self, item: Item, status: str) -> Iterator[Event]:
        item.status = status
        yield {"type": "response.output_item.done", "item": item.document(), "output_index": item.index}

    def _close(self, *, calls: bool = False, status: str = "completed") -> Iterator[Event]:
        """What is open ends, and so do the tool calls if that is said. status: of what was said last."""
        last = self.items[-1] if self.items else None
        if calls:
            for call in self._calls.values():
                if call.status == "in_progress":
                    yield from self._call_done(call, status if call is last else "completed")
        if self._item is not None:
            yield from self._part_done()
            item, self._item = self._item, None
            yield from self._item_done(item, status if item is last else "completed")

    # ------------------------------------------------------------------------------------------ the end

    def _end(self, finish: Finish) -> Iterator[Event]:
        status, why = ending(finish)
        if status == "failed":
            if finish.reason == "error":
                error = {"type": "server_error", "param": None, **why["error"]}
                said = {key: error[key] for key in ("type", "code", "message", "param")}
                yield {"type": "error", "error": said}
        else:
            if self._opens_text and not any(item.type == "message" for item in self.items) and status == "completed":
                yield from self._within("message", "output_text")
            yield from self._close(calls=True, status=status)
        self._finish = finish
        yield {"type": f"response.{status}", "response": self.response()}

    def response(self) -> dict[str, Any]:
        """The whole response, as it has ended; one that has not ended is told as if it were complete."""
        status, why = ending(self._finish or Finish("stop"))
        fields: dict[str, Any] = {**why, "service_tier": self._options.service_tier}
        if status == "completed":
            # What follows the first token is not timed here: most of it passes by, see `ResponsesStream.affixes`.
            fields["completed_at"] = self._voice.created + int(self._voice.ttft)
        if status != "failed":
            fields["output"] = [item.document() for item in self.items]
            fields["usage"] = usage(self._voice.account(self.usage))
        return response(self._voice, status, **fields)


def brief(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log probabilities as events tell them: without the bytes of the tokens."""
    return [
        {
            "token": entry["token"],
            "logprob": entry["logprob"],
            "top_logprobs": [{"token": one["token"], "logprob": one["logprob"]} for one in entry["top_logprobs"]],
        }
        for entry in entries
    ]

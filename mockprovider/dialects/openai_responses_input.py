"""The `input` of a request of OpenAI's Responses: a text, or items such as messages, tool calls and their outputs.

Wordings follow what api.openai.com is reported to answer. Items of tools that OpenAI itself runs are let through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mockprovider.dialects.openai_checks import Check, an_array, an_object, one_of, required, string
from mockprovider.dialects.openai_errors import wrong_type, wrong_value
from mockprovider.errors import RequestError

__all__ = ["conversation"]

_ROLES = ("assistant", "system", "developer", "user")
_PARTS = ("input_text", "input_image", "output_text", "refusal", "input_file", "computer_screenshot", "summary_text")
_ITEMS = (
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "file_search_call",
    "function_call",
    "function_call_output",
    "image_generation_call",
    "item_reference",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "message",
    "program",
    "program_output",
    "reasoning",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
)
_CALLS: Mapping[str, tuple[tuple[str, Check], ...]] = {
    "function_call": (("arguments", string), ("call_id", string), ("name", string)),
    "custom_tool_call": (("call_id", string), ("input", string), ("name", string)),
}
_OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


def conversation(given: Any, *, alone: bool) -> tuple[tuple[str, str], ...]:
    """(role, text) of each message; the outputs of tools are messages of their own, with the role `tool`.

    alone: the input is the whole conversation, so that every output has its call in it, and every call its output.
    RequestError in OpenAI's wording.
    """
    if isinstance(given, str):
        return (("user", given),)
    if not isinstance(given, list):
        raise wrong_type("input", "one of an array of objects or string", given)
    reading = _Reading(alone=alone)
    for index, item in enumerate(given):
        where = f"input[{index}]"
        an_object(where, item)
        reading.item(where, item)
    reading.ended()
    return tuple(reading.found)


class _Reading:
    """What has been read of the items so far. found: the messages."""

    def __init__(self, *, alone: bool) -> None:
        self.found: list[tuple[str, str]] = []
        self._alone = alone
        self._calls: dict[str, str] = {}  # what each call_id is of
        self._answered: set[str] = set()

    def item(self, where: str, item: Mapping[str, Any]) -> None:
        """One item. A message may lack its type, and so may a reference to an item."""
        usual = "message" if "role" in item else "item_reference" if "id" in item else None
        kind: str = item.get("type") or usual or required(item, where, "type", string)
        one_of(*_ITEMS)(f"{where}.type", kind)
        if kind == "message":
            self.found.append(_message(where, item))
        elif kind in _OUTPUTS:
            self._output(where, item, kind)
        elif kind == "reasoning":
            _reasoning(where, item)
        elif kind == "item_reference":
            required(item, where, "id", string)
        elif kind in _CALLS:
            for key, check in _CALLS[kind]:
                required(item, where, key, check)
            self._calls[item["call_id"]] = kind

    def _output(self, where: str, item: Mapping[str, Any], kind: str) -> None:
        called = required(item, where, "call_id", string)
        if self._alone and self._calls.get(called) != _OUTPUTS[kind]:
            raise _unpaired(f"No tool call found for {kind.replace('_', ' ')} with call_id {called}.")
        self._answered.add(called)
        if item.get("output") is None:
            required(item, where, "output", string)
        self.found.append(("tool", _text(f"{where}.output", item["output"], "tool")))

    def ended(self) -> None:
        """There are no more items: every call must have its output."""
        for called, kind in self._calls.items():
            if self._alone and called not in self._answered:
                raise _unpaired(f"No tool output found for {kind.replace('_', ' ')} {called}.")


def _unpaired(message: str) -> RequestError:
    return wrong_value("input", message, None)


def _message(where: str, item: Mapping[str, Any]) -> tuple[str, str]:
    role: str = required(item, where, "role", one_of(*_ROLES))
    if "content" not in item:
        required(item, where, "content", string)
    text = _text(f"{where}.content", item["content"], role)
    return role, text


def _text(where: str, content: Any, role: str) -> str:
    """The text of a content, a text or parts; parts of other types count for none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(where, "one of an array of objects or string", content)
    texts: list[str] = []
    for index, part in enumerate(content):
        path = f"{where}[{index}]"
        an_object(path, part)
        kind = required(part, path, "type", one_of(*_PARTS))
        if (kind in ("output_text", "refusal")) != (role == "assistant"):
            known = ("output_text", "refusal") if role == "assistant" else ("input_text", "input_image", "input_file")
            one_of(*known)(f"{path}.type", kind)
        if kind in ("input_text", "output_text", "summary_text"):
            texts.append(required(part, path, "text", string))
        elif kind == "refusal":
            texts.append(required(part, path, "refusal", string))
        elif kind == "input_image":
            _image(path, part)
    return "".join(texts)


def _image(where: str, part: Mapping[str, Any]) -> None:
    if part.get("image_url") is not None:
        string(f"{where}.image_url", part["image_url"])
    elif part.get("file_id") is None:
        required(part, where, "image_url", string)
    if part.get("detail") is not None:
        one_of("auto", "high", "low", "original")(f"{where}.detail", part["detail"])


def _reasoning(where: str, item: Mapping[str, Any]) -> None:
    summary = required(item, where, "summary", an_array("objects"))
    for index, part in enumerate(summary):
        path = f"{where}.summary[{index}]"
        an_object(path, part)
        required(part, path, "type", one_of("summary_text"))
        required(part, path, "text", string)

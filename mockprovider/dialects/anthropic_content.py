"""The conversation in a request of Anthropic's messages: content blocks, and how tool calls and results pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mockprovider.dialects.anthropic_checks import an_array, an_object, boolean, one_of, required, string, tagged
from mockprovider.dialects.anthropic_errors import refused
from mockprovider.errors import RequestError

__all__ = ["BLOCKS", "conversation", "text_of"]

_KNOWN = ("text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result")
BLOCKS = (
    *_KNOWN,
    "bash_code_execution_tool_result",
    "code_execution_tool_result",
    "compaction",
    "container_upload",
    "fallback",
    "mcp_tool_result",
    "mcp_tool_use",
    "server_tool_use",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "web_fetch_tool_result",
    "web_search_tool_result",
)
"""The types of content blocks; those that are not among the first eight are not looked into."""

_IN_RESULTS = ("text", "image", "document", "search_result", "tool_reference")


def conversation(messages: list[Any]) -> tuple[tuple[str, str], ...]:
    """(role, text) of each message; the results of tools are messages of their own, with the role `tool`.

    RequestError in Anthropic's wording.
    """
    if not messages:
        raise refused("messages", "at least one message is required")
    found: list[tuple[str, str]] = []
    asked: list[str] = []  # the ids of the tool calls in the message before
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        an_object(where, message)
        role = _role(where, message)
        if "content" not in message:
            raise refused(f"{where}.content", "Field required")
        content = message["content"]
        last = index == len(messages) - 1
        if not content and not (last and role == "assistant"):
            reason = "all messages must have non-empty content except for the optional final assistant message"
            raise refused(where, reason)
        text = text_of(f"{where}.content", content)
        results = list(_results(where, content)) if isinstance(content, list) else []
        _pair(index, asked, results)
        if text or not results:
            found.append((role, text))
        found.extend(("tool", said) for _, said in results)
        asked = _calls(where, content) if role == "assistant" and isinstance(content, list) else []
    return tuple(found)


def _role(where: str, message: dict[str, Any]) -> str:
    role: str = required(message, where, "role", string)
    if role == "system":
        raise refused(
            "messages",
            'Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an'
            " input message role.",
        )
    if role not in ("user", "assistant"):
        raise refused("messages", f'Unexpected role "{role}". Allowed roles are "user" or "assistant".')
    return role


def text_of(where: str, content: Any, allowed: tuple[str, ...] = BLOCKS) -> str:
    """The text of a content, a text or blocks; blocks of other types count for none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refused(where, "Input should be a valid list")
    texts: list[str] = []
    for index, block in enumerate(content):
        path = f"{where}.{index}"
        kind = tagged(path, block, allowed)
        check = _CHECKS.get(kind)
        if check is not None:
            check(f"{path}.{kind}", block)
        if kind == "text":
            texts.append(block["text"])
    return "".join(texts)


# ------------------------------------------------------------------------------------------------ blocks


def _text(where: str, block: dict[str, Any]) -> None:
    if not required(block, where, "text", string):
        raise refused(where.split(".", maxsplit=1)[0], "text content blocks must be non-empty")


def _image(where: str, block: dict[str, Any]) -> None:
    source = required(block, where, "source", an_object)
    where = f"{where}.source"
    kind = tagged(where, source, ("base64", "file", "url"))
    if kind == "base64":
        types = ("image/jpeg", "image/png", "image/gif", "image/webp")
        required(source, f"{where}.base64", "media_type", one_of(*types))
        required(source, f"{where}.base64", "data", string)
    else:
        required(source, f"{where}.{kind}", "url" if kind == "url" else "file_id", string)


_HOLDS = {"base64": "data", "content": "content", "file": "file_id", "text": "data", "url": "url"}
"""The key of what a document's source holds, by its type."""


def _document(where: str, block: dict[str, Any]) -> None:
    source = required(block, where, "source", an_object)
    where = f"{where}.source"
    kind = tagged(where, source, tuple(_HOLDS))
    key = _HOLDS[kind]
    held = required(source, f"{where}.{kind}", key, lambda param, value: None)
    if kind == "content":
        text_of(f"{where}.{kind}.{key}", held, ("text", "image"))
    else:
        string(f"{where}.{kind}.{key}", held)


def _thinking(where: str, block: dict[str, Any]) -> None:
    required(block, where, "signature", string)
    required(block, where, "thinking", string)


def _redacted(where: str, block: dict[str, Any]) -> None:
    required(block, where, "data", string)


def _tool_use(where: str, block: dict[str, Any]) -> None:
    required(block, where, "id", string)
    required(block, where, "input", an_object)
    required(block, where, "name", string)


def _tool_result(where: str, block: dict[str, Any]) -> None:
    required(block, where, "tool_use_id", string)
    if block.get("is_error") is not None:
        boolean(f"{where}.is_error", block["is_error"])
    if block.get("content") is not None:
        text_of(f"{where}.content", block["content"], _IN_RESULTS)


def _search_result(where: str, block: dict[str, Any]) -> None:
    for key in ("source", "title"):
        required(block, where, key, string)
    required(block, where, "content", an_array)


_CHECKS = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}


# ------------------------------------------------------------------------------------------------ calls and results


def _calls(where: str, blocks: list[Any]) -> list[str]:
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if len(set(ids)) < len(ids):
        raise refused(f"{where}.content", "`tool_use` ids must be unique")
    return ids


def _results(where: str, blocks: list[Any]) -> Iterator[tuple[str, str]]:
    for index, block in enumerate(blocks):
        if block["type"] == "tool_result":
            content = block.get("content") or ""
            yield block["tool_use_id"], text_of(f"{where}.content.{index}", content, _IN_RESULTS)


def _pair(index: int, asked: list[str], results: list[tuple[str, str]]) -> None:
    """Every call is answered in the message after it, and nothing else is."""
    given = [id for id, _ in results]
    open_calls = [id for id in asked if id not in given]
    if open_calls:
        raise RequestError(
            400,
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after:"
            f" {', '.join(open_calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next"
            " message.",
        )
    for place, id in enumerate(given):
        if id not in asked:
            raise RequestError(
                400,
                f"messages.{index}.content.{place}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each"
                " `tool_result` block must have a corresponding `tool_use` block in the previous message.",
            )

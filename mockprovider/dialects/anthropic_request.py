"""The request of Anthropic's messages: what is required, what each field may be, and what it means.

`FIELDS` is the source of truth for single fields; what spans several is in `parse` and in `anthropic_content`. A field
that Anthropic does not know is refused, as there; those of its betas are known and not looked into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mockprovider.dialects.anthropic_checks import (
    Check,
    an_array,
    an_object,
    boolean,
    fraction,
    integer,
    matching,
    one_of,
    required,
    string,
    tagged,
)
from mockprovider.dialects.anthropic_content import conversation, text_of
from mockprovider.dialects.anthropic_errors import body_object, refused
from mockprovider.dialects.base import Ask, ToolSpec
from mockprovider.errors import RequestError

__all__ = ["COUNTED", "FIELDS", "VERSIONS", "MessagesOptions", "parse", "parse_count"]

VERSIONS: Mapping[str, tuple[str, ...]] = {
    "2023-01-01": (),
    "2023-06-01": (),
    "2026-10-21": ("temperature", "top_p", "top_k"),
}
"""The values of the header `anthropic-version`, with the fields that it has no more; Anthropic's page on versioning."""


@dataclass(frozen=True, slots=True)
class MessagesOptions:
    """What only messages know. service_tier: which one the usage tells."""

    service_tier: str = "standard"


def _any(param: str, value: Any) -> None:
    """Whatever it is: a beta's field."""


def _texts(param: str, value: Any) -> None:
    an_array(param, value)
    for index, text in enumerate(value):
        string(f"{param}.{index}", text)
        if not text.strip():
            raise refused(param, "each stop sequence must contain non-whitespace")


def _metadata(param: str, value: Any) -> None:
    an_object(param, value)
    for key, text in value.items():
        if key != "user_id":
            raise refused(f"{param}.{key}", "Extra inputs are not permitted")
        if text is not None:
            string(f"{param}.{key}", text)


def _cache_control(param: str, value: Any) -> None:
    tagged(param, value, ("ephemeral",))
    if value.get("ttl") is not None:
        one_of("5m", "1h")(f"{param}.ttl", value["ttl"])


def _model(param: str, value: Any) -> None:
    string(param, value)
    if not value:
        raise refused(param, "String should have at least 1 character")


COUNTED: Mapping[str, Check] = {
    "model": _model,
    "messages": an_array,
    "system": _any,
    "tools": an_array,
    "tool_choice": an_object,
    "thinking": an_object,
    "cache_control": _cache_control,
    "output_config": an_object,
    "output_format": an_object,
    "context_management": _any,
    "mcp_servers": _any,
    "speed": _any,
    "billing_policy": _any,
    "compaction": _any,
    "user_profile_id": _any,
    "workspace_id": _any,
}
"""The check of each single field of a request for a count of tokens."""

FIELDS: Mapping[str, Check] = {
    **COUNTED,
    "max_tokens": integer(1),
    "stream": boolean,
    "stop_sequences": _texts,
    "temperature": fraction,
    "top_p": fraction,
    "top_k": integer(0),
    "metadata": _metadata,
    "service_tier": one_of("auto", "standard_only"),
    "container": _any,
    "inference_geo": _any,
    "diagnostics": _any,
    "fallbacks": _any,
    "fallback_credit_token": _any,
    "thread": _any,
}
"""The check of each single field of a request for a message. null counts as absent where nothing is required."""


def parse(body: bytes, headers: Mapping[str, str]) -> Ask:
    """The body of a request for a message as an Ask. RequestError in Anthropic's wording."""
    document = _document(body, headers, FIELDS, ("model", "messages", "max_tokens"))
    ask = _ask(document)
    thinking = document.get("thinking")
    if thinking is not None and thinking.get("type") == "enabled":
        if thinking["budget_tokens"] >= document["max_tokens"]:
            raise RequestError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.", param="max_tokens")
        if document.get("temperature") not in (None, 1):
            raise RequestError(400, "`temperature` may only be set to 1 when thinking is enabled.", param="temperature")
    return ask


def parse_count(body: bytes, headers: Mapping[str, str]) -> Ask:
    """The body of a request for a count of tokens. RequestError in Anthropic's wording."""
    return _ask(_document(body, headers, COUNTED, ("model", "messages")))


def _document(
    body: bytes, headers: Mapping[str, str], checks: Mapping[str, Check], needed: tuple[str, ...]
) -> Mapping[str, Any]:
    """The body with every single field checked."""
    version = headers.get("anthropic-version", "")
    if not version:
        raise RequestError(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise RequestError(400, f'anthropic-version: "{version}" is not a valid version')
    document = body_object(body)
    for key in needed:
        required(document, "", key, checks[key])
    for param, value in document.items():
        if param not in checks or param in VERSIONS[version]:
            raise refused(param, "Extra inputs are not permitted")
        if value is not None:
            checks[param](param, value)
    return document


def _ask(document: Mapping[str, Any]) -> Ask:
    system = document.get("system")
    messages = conversation(document["messages"])
    if system is not None:
        messages = (("system", text_of("system", system, ("text",))), *messages)
    _thinking(document.get("thinking"))
    tools = _tools(document.get("tools") or [])
    return Ask(
        model=document["model"],
        stream=document.get("stream") or False,
        messages=messages,
        max_tokens=document.get("max_tokens"),
        stop=tuple(document.get("stop_sequences") or ()),
        tools=tools,
        must_call=_must_call(document.get("tool_choice"), document.get("tools") or [], tools),
        schema=_schema(document),
        options=MessagesOptions(),
    )


def _thinking(thinking: Any) -> None:
    if thinking is None:
        return
    kind = tagged("thinking", thinking, ("adaptive", "disabled", "enabled"))
    if kind == "enabled":
        required(thinking, f"thinking.{kind}", "budget_tokens", integer(1024))


# ------------------------------------------------------------------------------------------------ tools and formats

_NAME = matching("[a-zA-Z0-9_-]{1,128}")


def _tools(tools: list[Any]) -> tuple[ToolSpec, ...]:
    """The tools that the client offers; those that Anthropic itself runs or knows are only checked to have a type."""
    specs: list[ToolSpec] = []
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        where = f"tools.{index}"
        an_object(where, tool)
        if tool.get("type") not in (None, "custom"):
            string(f"{where}.type", tool["type"])
            continue
        where = f"{where}.custom"
        name = required(tool, where, "name", _NAME)
        schema = required(tool, where, "input_schema", an_object)
        required(schema, f"{where}.input_schema", "type", one_of("object"))
        if tool.get("description") is not None:
            string(f"{where}.description", tool["description"])
        if tool.get("cache_control") is not None:
            _cache_control(f"{where}.cache_control", tool["cache_control"])
        if name in seen:
            raise refused("tools", "Tool names must be unique.")
        seen.add(name)
        specs.append(ToolSpec(name, schema))
    return tuple(specs)


def _must_call(choice: Any, offered: list[Any], tools: tuple[ToolSpec, ...]) -> tuple[str, ...]:
    """The names of the tools of which the reply must call one."""
    if choice is None:
        return ()
    kind = tagged("tool_choice", choice, ("any", "auto", "none", "tool"))
    if choice.get("disable_parallel_tool_use") is not None:
        boolean(f"tool_choice.{kind}.disable_parallel_tool_use", choice["disable_parallel_tool_use"])
    if not offered and kind != "none":
        raise RequestError(400, "tool_choice may only be specified while providing tools.", param="tool_choice")
    if kind == "any":
        return tuple(tool.name for tool in tools)
    if kind != "tool":
        return ()
    name: str = required(choice, "tool_choice.tool", "name", string)
    if name not in [tool.get("name") for tool in offered]:
        raise RequestError(400, f"Tool '{name}' not found in provided tools", param="tool_choice")
    return (name,) if name in [tool.name for tool in tools] else ()


def _schema(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON Schema of a structured answer, as `output_config.format` or, formerly, `output_format` has it."""
    config = document.get("output_config") or {}
    if config.get("effort") is not None:
        one_of("low", "medium", "high", "xhigh", "max")("output_config.effort", config["effort"])
    for where, given in (
        ("output_config.format", config.get("format")),
        ("output_format", document.get("output_format")),
    ):
        if given is not None:
            tagged(where, given, ("json_schema",))
            schema: Mapping[str, Any] = required(given, where, "schema", an_object)
            return schema
    return None

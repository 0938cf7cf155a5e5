"""The request of OpenAI's Responses: what is required, what each field may be, and what it means.

`FIELDS` is the source of truth for single fields; unlike chat completions, OpenAI refuses here what it does not know.
Nothing is stored: `previous_response_id` and `conversation` are accepted and told, and what they stand for is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mockprovider.dialects.base import Ask, ToolSpec
from mockprovider.dialects.openai_checks import (
    Check,
    an_array,
    an_object,
    array_of,
    boolean,
    decimal,
    integer,
    metadata,
    name,
    one_of,
    required,
    string,
    text_or,
)
from mockprovider.dialects.openai_errors import body_object, missing, wrong_value
from mockprovider.dialects.openai_models import snapshot
from mockprovider.dialects.openai_responses_input import conversation
from mockprovider.dialects.openai_responses_models import Traits, traits
from mockprovider.errors import RequestError
from mockprovider.schema import SchemaError, check_strict

__all__ = ["FIELDS", "ResponsesOptions", "parse"]


@dataclass(frozen=True, slots=True)
class ResponsesOptions:
    """What only Responses know.

    obfuscation: deltas are padded; logprobs: of the answer's tokens, each with so many alternatives (`top_logprobs`);
    encrypted: reasoning items carry their content in encrypted form; raw: thinking is shown as it is, not as a summary;
    thinks: every reply has a reasoning item; phases: messages say whether they are the answer; service_tier: of the
    finished reply; echo: a response before anything is said, which tells the request's settings.
    """

    obfuscation: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    encrypted: bool = False
    raw: bool = False
    thinks: bool = False
    phases: bool = False
    service_tier: str = "default"
    echo: Mapping[str, Any] = field(default_factory=dict)


def _anything(param: str, value: Any) -> None:
    """Checked elsewhere, or not at all."""


_INCLUDES = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)

FIELDS: Mapping[str, Check] = {
    "access_programs": an_object,
    "background": boolean,
    "background_options": an_object,
    "context_management": an_array("objects"),
    "conversation": text_or("one of an object or string", dict),
    "frequency_penalty": decimal(-2, 2),
    "image": an_object,
    "include": array_of(one_of(*_INCLUDES), "strings"),
    "input": _anything,
    "instructions": string,
    "max_output_tokens": integer(16, 2**31 - 1),
    "max_tool_calls": integer(1, 2**31 - 1),
    "metadata": metadata,
    "model": string,
    "moderation": an_object,
    "parallel_tool_calls": boolean,
    "presence_penalty": decimal(-2, 2),
    "previous_response_id": string,
    "prompt": an_object,
    "prompt_cache_key": string,
    "prompt_cache_options": an_object,
    "prompt_cache_retention": one_of("in_memory", "24h"),
    "reasoning": an_object,
    "safety_identifier": string,
    "service_tier": one_of("auto", "default", "fast", "flex", "priority", "scale", "ultrafast"),
    "store": boolean,
    "stream": boolean,
    "stream_options": an_object,
    "temperature": decimal(0, 2),
    "text": an_object,
    "tool_choice": text_or("one of an object or string", dict),
    "tools": an_array("objects", high=128),
    "top_logprobs": integer(0, 20),
    "top_p": decimal(0, 1),
    "truncation": one_of("auto", "disabled"),
    "user": string,
}
"""The check of each single field. null counts as absent everywhere."""


def parse(body: bytes) -> Ask:
    """The body of a Responses request as an Ask. RequestError in OpenAI's wording."""
    document = {param: value for param, value in body_object(body).items() if value is not None}
    for param, value in document.items():
        if param not in FIELDS:
            raise wrong_value(param, f"Unknown parameter: '{param}'.", "unknown_parameter")
        FIELDS[param](param, value)
    if not document.get("model"):
        raise missing("model")
    _check_whole(document)
    stream = document.get("stream") or False
    # What went before is not known here, so that calls and outputs need not pair.
    alone = not any(document.get(param) for param in ("previous_response_id", "conversation", "prompt"))
    messages = conversation(document.get("input", []), alone=alone)
    if "instructions" in document:
        messages = (("system", document["instructions"]), *messages)
    tools, told = _tools(document.get("tools", []))
    schema, format = _format(document.get("text", {}), messages)
    return Ask(
        model=document["model"],
        stream=stream,
        messages=messages,
        max_tokens=document.get("max_output_tokens"),
        tools=tools,
        must_call=_must_call(document.get("tool_choice"), document.get("tools", []), tools),
        schema=schema,
        options=_options(document, stream=stream, tools=told, format=format),
    )


def _check_whole(document: Mapping[str, Any]) -> None:
    """What spans several fields."""
    if not any(param in document for param in ("input", "previous_response_id", "prompt", "conversation")):
        raise RequestError(
            400,
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
            code="missing_required_parameter",
        )
    previous = document.get("previous_response_id")
    if previous is not None and not previous.startswith("resp"):
        raise wrong_value(
            "previous_response_id",
            f"Invalid 'previous_response_id': '{previous}'. Expected an ID that begins with 'resp'.",
        )
    if previous is not None and "conversation" in document:
        raise wrong_value(
            "previous_response_id",
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Ensure you are only providing"
            " one of: 'previous_response_id' or 'conversation'.",
            "mutually_exclusive_parameters",
        )
    if "stream_options" in document and not document.get("stream"):
        raise wrong_value(
            "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.", None
        )
    if document.get("background") and not document.get("stream"):
        raise wrong_value(
            "background",
            "mockprovider stores no responses to be asked for later: 'background' is only answered with 'stream'.",
            "unsupported_parameter",
        )


# ------------------------------------------------------------------------------------------------ what is told back


def _options(
    document: Mapping[str, Any], *, stream: bool, tools: list[dict[str, Any]], format: dict[str, Any]
) -> ResponsesOptions:
    known = traits(document["model"])
    reasoning = _reasoning(document.get("reasoning", {}), known)
    padded = document.get("stream_options", {}).get("include_obfuscation")
    if padded is not None:
        boolean("stream_options.include_obfuscation", padded)
    includes = document.get("include", [])
    tier = document.get("service_tier", "auto")
    top = document.get("top_logprobs", 0)
    served = {"auto": "default", "fast": "priority"}.get(tier, tier)
    return ResponsesOptions(
        obfuscation=padded is not False,
        logprobs=top > 0 or "message.output_text.logprobs" in includes,
        top_logprobs=top,
        encrypted="reasoning.encrypted_content" in includes,
        raw=known.raw and reasoning["summary"] is None,
        thinks=known.thinks and reasoning["effort"] not in ("none", "minimal"),
        phases=known.phases,
        service_tier=served,
        echo=_echo(document, known, reasoning, tools, format),
    )


def _echo(
    document: Mapping[str, Any],
    known: Traits,
    reasoning: dict[str, Any],
    tools: list[dict[str, Any]],
    format: dict[str, Any],
) -> dict[str, Any]:
    """The fields of a response that tell the request's settings, and those of a reply that has not begun, in order."""
    get = document.get
    held = get("conversation")
    told = {"conversation": {"id": held} if isinstance(held, str) else held} if held else {}
    return {
        "background": get("background", False),
        "completed_at": None,
        **told,
        "error": None,
        "frequency_penalty": float(get("frequency_penalty", 0)),
        "incomplete_details": None,
        "instructions": get("instructions"),
        "max_output_tokens": get("max_output_tokens"),
        "max_tool_calls": get("max_tool_calls"),
        "model": snapshot(document["model"]),
        "moderation": None,
        "output": [],
        "parallel_tool_calls": get("parallel_tool_calls", True),
        "presence_penalty": float(get("presence_penalty", 0)),
        "previous_response_id": get("previous_response_id"),
        **({"prompt": get("prompt")} if get("prompt") else {}),
        "prompt_cache_key": get("prompt_cache_key"),
        **({"prompt_cache_options": get("prompt_cache_options")} if get("prompt_cache_options") else {}),
        "prompt_cache_retention": get("prompt_cache_retention", known.retention),
        "reasoning": reasoning,
        "safety_identifier": get("safety_identifier"),
        "service_tier": get("service_tier", "auto"),
        "store": get("store", True),
        "temperature": float(get("temperature", 1)),
        "text": {"format": format, "verbosity": get("text", {}).get("verbosity") or "medium"},
        "tool_choice": get("tool_choice", "auto"),
        "tool_usage": _NO_TOOLS_USED,
        "tools": tools,
        "top_logprobs": get("top_logprobs", 0),
        "top_p": float(get("top_p", known.top_p)),
        "truncation": get("truncation", "disabled"),
        "usage": None,
        "user": get("user"),
        "metadata": get("metadata", {}),
    }


_NO_TOKENS = {"image_tokens": 0, "text_tokens": 0}
_NO_TOOLS_USED = {
    "image_gen": {
        "input_tokens": 0,
        "input_tokens_details": _NO_TOKENS,
        "output_tokens": 0,
        "output_tokens_details": _NO_TOKENS,
        "total_tokens": 0,
    },
    "web_search": {"num_requests": 0},
}
"""What the tools that OpenAI itself runs have used: none is ever run here."""


def _reasoning(given: Mapping[str, Any], known: Traits) -> dict[str, Any]:
    """The settings of the reasoning, told in full."""
    for key, check in (
        ("effort", one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        ("summary", one_of("auto", "concise", "detailed")),
        ("generate_summary", one_of("auto", "concise", "detailed")),
        ("context", one_of("auto", "current_turn", "all_turns")),
        ("mode", string),
    ):
        if given.get(key) is not None:
            check(f"reasoning.{key}", given[key])
    told = {"context": given.get("context") or known.context, "effort": given.get("effort") or known.effort}
    if known.reasons:
        told["mode"] = given.get("mode") or "standard"
    return {**told, "summary": given.get("summary") or given.get("generate_summary")}


# ------------------------------------------------------------------------------------------------ tools and formats


def _tools(tools: list[Any]) -> tuple[tuple[ToolSpec, ...], list[dict[str, Any]]]:
    """The tools that the client runs itself, and all of them as a response tells them."""
    specs: list[ToolSpec] = []
    told: list[dict[str, Any]] = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        an_object(where, tool)
        kind = required(tool, where, "type", string)
        if kind not in ("function", "custom"):
            told.append(tool)
            continue
        called = required(tool, where, "name", name(128))
        for key, check in (("description", string), ("parameters", an_object), ("strict", boolean)):
            if tool.get(key) is not None:
                check(f"{where}.{key}", tool[key])
        if kind == "function":
            strict = _strict(tool, f"{where}.parameters", called)
            specs.append(ToolSpec(called, tool.get("parameters")))
            usual = {"description": None, "name": called, "output_schema": None, "parameters": None}
            told.append(_told(tool, {**usual, "strict": strict}))
        else:
            specs.append(ToolSpec(called, custom=True))
            told.append(_told(tool, {"description": None, "format": {"type": "text"}, "name": called}))
    return tuple(specs), told


def _told(tool: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """A tool with all its fields: the type first, the others by their names."""
    fields = {**usual, **{key: value for key, value in tool.items() if value is not None}}
    return {"type": fields.pop("type"), **{key: fields[key] for key in sorted(fields)}}


def _strict(tool: Mapping[str, Any], param: str, called: str) -> bool:
    """Whether the arguments are sure to satisfy the schema: where nothing is said, if its form allows it."""
    schema = tool.get("parameters") or {}
    try:
        if not isinstance(schema.get("type", []), list) and schema["type"] != "object":
            reason = f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{schema["type"]}"'."""
            raise SchemaError((), reason, name=called, located=False)
        return tool.get("strict") is not False and _is_strict(schema, called, forced=tool.get("strict") is True)
    except SchemaError as error:
        message = f"Invalid schema for function '{called}': {error}"
        raise wrong_value(param, message, "invalid_function_parameters") from error


def _is_strict(schema: Mapping[str, Any], called: str, *, forced: bool) -> bool:
    """Whether a schema has the form of strict ones. SchemaError where it has not and must."""
    try:
        check_strict(schema, name=called)
    except SchemaError:
        if forced:
            raise
        return False
    return True


def _must_call(choice: Any, offered: list[Any], tools: tuple[ToolSpec, ...]) -> tuple[str, ...]:
    """The names of the tools of which the reply must call one; none for those that OpenAI itself runs."""
    if choice is None:
        return ()
    if isinstance(choice, str):
        one_of("none", "auto", "required")("tool_choice", choice)
        if choice == "required" and not offered:
            raise wrong_value("tool_choice", "Tool choice 'required' must be specified with 'tools' parameter.", None)
        return tuple(tool.name for tool in tools) if choice == "required" else ()
    kind = required(choice, "tool_choice", "type", string)
    if kind == "allowed_tools":
        mode = required(choice, "tool_choice", "mode", one_of("auto", "required"))
        entries = required(choice, "tool_choice", "tools", an_array("objects", low=1))
        for index, entry in enumerate(entries):
            an_object(f"tool_choice.tools[{index}]", entry)
        named = [_named(entry, f"tool_choice.tools[{index}]", offered) for index, entry in enumerate(entries)]
        names = tuple(found for found in named if found is not None)
        return names if mode == "required" else ()
    only = _named(choice, "tool_choice", offered)
    return () if only is None else (only,)


def _named(choice: Mapping[str, Any], param: str, offered: list[Any]) -> str | None:
    """The tool of the client's that `{"type": "function", "name": …}` names; None for one of OpenAI's own."""
    kind = required(choice, param, "type", string)
    own = kind in ("function", "custom")
    called: str | None = required(choice, param, "name", string) if own else None
    if not any(tool.get("type") == kind and (not own or tool.get("name") == called) for tool in offered):
        raise wrong_value("tool_choice", f"Tool choice '{called or kind}' not found in 'tools' parameter.", None)
    return called


def _format(
    text: Mapping[str, Any], messages: tuple[tuple[str, str], ...]
) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
    """The JSON Schema of a structured answer, and the format as a response tells it."""
    if text.get("verbosity") is not None:
        one_of("low", "medium", "high")("text.verbosity", text["verbosity"])
    format = text.get("format")
    if format is None:
        return None, {"type": "text"}
    where = "text.format"
    an_object(where, format)
    kind = required(format, where, "type", one_of("json_object", "json_schema", "text"))
    if kind == "text":
        return None, {"type": "text"}
    if kind == "json_object":
        if not any("json" in said.lower() for _, said in messages):
            raise wrong_value(
                "input",
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type"
                " 'json_object'.",
                None,
            )
        return {}, {"type": "json_object"}
    called = required(format, where, "name", name(64))
    schema: Mapping[str, Any] = required(format, where, "schema", an_object)
    strict = format.get("strict")
    if strict is not None:
        boolean(f"{where}.strict", strict)
    if format.get("description") is not None:
        string(f"{where}.description", format["description"])
    try:
        strict = strict is not False and _is_strict(schema, called, forced=strict is True)
    except SchemaError as error:
        message = f"Invalid schema for response_format '{called}': {error}"
        raise wrong_value(f"{where}.schema", message, "invalid_json_schema") from error
    told = {"type": kind, "description": format.get("description"), "name": called, "schema": schema}
    return schema, {**told, "strict": strict}

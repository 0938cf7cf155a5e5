"""The request of OpenAI's chat completions: what is required, what each field may be, and what it means.

`FIELDS` is the source of truth for single fields; what spans several is in `parse`. Fields that OpenAI does not know
are let through, as the compatible servers do: clients of relays send `top_k`, `reasoning` and many more. So is what
only some of OpenAI's models refuse, such as `max_tokens` or `stop` with a reasoning model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from mockprovider.dialects.openai_errors import body_object, missing, wrong_type, wrong_value
from mockprovider.errors import RequestError
from mockprovider.schema import SchemaError, check_strict

__all__ = ["FIELDS", "OPENAI", "ChatOptions", "Leave", "parse"]


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What only chat completions know. top_logprobs: how many alternatives a token lists."""

    include_usage: bool = False
    obfuscation: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    service_tier: str = "default"


@dataclass(frozen=True, slots=True)
class Leave:
    """What another provider's endpoint lets through that OpenAI's would not.

    tool_choices: further words for `required`; parts: whether a message may have parts that OpenAI does not know, and
    an image without an object around its address; tiers: whether `service_tier` may be any text.
    """

    tool_choices: tuple[str, ...] = ()
    parts: bool = False
    tiers: bool = False


OPENAI = Leave()


def _stop(param: str, value: Any) -> None:
    text_or("one of a string or array of strings", list)(param, value)
    if isinstance(value, list):
        array_of(string, "strings", high=4)(param, value)


FIELDS: Mapping[str, Check] = {
    "model": string,
    "messages": an_array("objects", low=1),
    "stream": boolean,
    "stream_options": an_object,
    "n": integer(1, 128),
    "max_tokens": integer(1, 2**31 - 1),
    "max_completion_tokens": integer(1, 2**31 - 1),
    "temperature": decimal(0, 2),
    "top_p": decimal(0, 1),
    "frequency_penalty": decimal(-2, 2),
    "presence_penalty": decimal(-2, 2),
    "stop": _stop,
    "tools": an_array("objects", low=1, high=128),
    "tool_choice": text_or("one of one of 'none', 'auto', or 'required' or object", dict),
    "parallel_tool_calls": boolean,
    "response_format": an_object,
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "logit_bias": an_object,
    "seed": integer(-(2**63), 2**63 - 1),
    "user": string,
    "service_tier": one_of("auto", "default", "fast", "flex", "priority", "scale"),
    "store": boolean,
    "metadata": metadata,
    "modalities": array_of(one_of("text", "audio"), "strings"),
    "audio": an_object,
    "prediction": an_object,
    "reasoning_effort": string,
    "verbosity": one_of("low", "medium", "high"),
    "prompt_cache_key": string,
    "prompt_cache_retention": one_of("in_memory", "24h"),
    "safety_identifier": string,
    "web_search_options": an_object,
    "functions": an_array("objects", low=1, high=128),
    "function_call": text_or("one of one of 'none' or 'auto' or object", dict),
}
"""The check of each single field. null counts as absent everywhere but in `model` and `messages`."""

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")


def parse(body: bytes, leave: Leave = OPENAI, model: str | None = None) -> Ask:
    """The body of a chat completion request as an Ask. RequestError in OpenAI's wording.

    model: that of the request's URL, where the body names none.
    """
    document = body_object(body)
    if model is not None and document.get("model") in (None, ""):
        document = {**document, "model": model}
    if document.get("model") in (None, ""):
        raise RequestError(400, "you must provide a model parameter")
    if "messages" not in document:
        raise missing("messages")
    for param, value in document.items():
        check = FIELDS.get(param) if param != "service_tier" or not leave.tiers else string
        if check is not None and (value is not None or param == "messages"):
            check(param, value)
    limit = document.get("max_completion_tokens")
    if limit is None:
        limit = document.get("max_tokens")
    elif document.get("max_tokens") is not None:
        raise wrong_value(
            "max_tokens",
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "invalid_parameter_combination",
        )
    stream = document.get("stream") or False
    stop = document.get("stop") or ()
    tools = _tools(document.get("tools") or [])
    messages = _messages(document["messages"], leave)
    if not tools and document.get("parallel_tool_calls") is not None:
        raise _only_with_tools("parallel_tool_calls")
    return Ask(
        model=document["model"],
        stream=stream,
        messages=messages,
        choices=document.get("n") or 1,
        max_tokens=limit,
        stop=tuple(filter(None, (stop,) if isinstance(stop, str) else stop)),
        tools=tools,
        must_call=_must_call(document.get("tool_choice"), tools, leave),
        schema=_schema(document.get("response_format"), messages),
        options=_options(document, stream=stream),
    )


def _options(document: Mapping[str, Any], *, stream: bool) -> ChatOptions:
    options = document.get("stream_options")
    if options is not None and not stream:
        raise wrong_value(
            "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            None,
        )
    chosen = {"include_usage": False, "include_obfuscation": True}
    for key in chosen:
        if options and options.get(key) is not None:
            boolean(f"stream_options.{key}", options[key])
            chosen[key] = options[key]
    logprobs = document.get("logprobs") or False
    top = document.get("top_logprobs")
    if top is not None and not logprobs:
        raise wrong_value(
            "top_logprobs", "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", None
        )
    tier = document.get("service_tier")
    return ChatOptions(
        include_usage=chosen["include_usage"],
        obfuscation=chosen["include_obfuscation"],
        logprobs=logprobs,
        top_logprobs=top or 0,
        service_tier="default" if tier in (None, "auto") else tier,
    )


# ------------------------------------------------------------------------------------------------ messages


def _messages(messages: list[Any], leave: Leave) -> tuple[tuple[str, str], ...]:
    """(role, text) of each message. A content that is null or absent counts as empty, as with OpenAI's newer models."""
    found: list[tuple[str, str]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        an_object(where, message)
        role = required(message, where, "role", one_of(*ROLES))
        if message.get("name") is not None:
            string(f"{where}.name", message["name"])
        if role == "tool":
            required(message, where, "tool_call_id", string)
        if role == "assistant" and message.get("tool_calls") is not None:
            _calls(f"{where}.tool_calls", message["tool_calls"])
        found.append((role, _text(where, role, message.get("content"), leave)))
    return tuple(found)


def _text(where: str, role: str, content: Any, leave: Leave) -> str:
    """The text of a message's content; images, audio and files count for none."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(f"{where}.content", "one of a string or array of objects", content)
    texts = []
    for index, part in enumerate(content):
        path = f"{where}.content[{index}]"
        an_object(path, part)
        if leave.parts and (part.get("type") not in PARTS or isinstance(part.get("image_url"), str)):
            continue
        kind = required(part, path, "type", one_of(*PARTS))
        if kind in ("text", "refusal"):
            texts.append(required(part, path, kind, string))
        else:
            holder = required(part, path, kind, an_object)
            if kind == "image_url":
                _image(where, role, f"{path}.image_url", holder)
    return "".join(texts)


def _image(message: str, role: str, path: str, image: Mapping[str, Any]) -> None:
    if role != "user":
        raise wrong_value(
            message,
            f"Invalid '{message}'. Image URLs are only allowed for messages with role 'user', but this message with"
            f" role '{role}' contains an image URL.",
        )
    required(image, path, "url", string)
    if image.get("detail") is not None:
        one_of("auto", "low", "high")(f"{path}.detail", image["detail"])


def _calls(where: str, calls: Any) -> None:
    """The tool calls of an assistant's message, as the client got them."""
    an_array("objects", low=1)(where, calls)
    for index, call in enumerate(calls):
        path = f"{where}[{index}]"
        an_object(path, call)
        required(call, path, "id", string)
        kind = required(call, path, "type", one_of("function", "custom"))
        called = required(call, path, kind, an_object)
        required(called, f"{path}.{kind}", "name", string)
        required(called, f"{path}.{kind}", "arguments" if kind == "function" else "input", string)


# ------------------------------------------------------------------------------------------------ tools and formats


def _tools(tools: list[Any]) -> tuple[ToolSpec, ...]:
    specs = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        an_object(where, tool)
        kind = required(tool, where, "type", one_of("function", "custom"))
        described = required(tool, where, kind, an_object)
        where = f"{where}.{kind}"
        called = required(described, where, "name", name(128))
        for key, check in (("description", string), ("parameters", an_object), ("strict", boolean)):
            if described.get(key) is not None:
                check(f"{where}.{key}", described[key])
        if kind == "function":
            _parameters(described, f"{where}.parameters", called)
            specs.append(ToolSpec(called, described.get("parameters")))
        else:
            specs.append(ToolSpec(called, custom=True))
    return tuple(specs)


def _parameters(function: Mapping[str, Any], param: str, called: str) -> None:
    schema = function.get("parameters") or {}
    try:
        if function.get("strict"):
            check_strict(schema, name=called)
        elif not isinstance(schema.get("type", []), list) and schema["type"] != "object":
            reason = f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{schema["type"]}"'."""
            raise SchemaError((), reason, name=called, located=False)
    except SchemaError as error:
        message = f"Invalid schema for function '{called}': {error}"
        raise wrong_value(param, message, "invalid_function_parameters") from error


def _only_with_tools(param: str) -> RequestError:
    return wrong_value(
        param, f"Invalid value for '{param}': '{param}' is only allowed when 'tools' are specified.", None
    )


def _must_call(choice: Any, tools: tuple[ToolSpec, ...], leave: Leave) -> tuple[str, ...]:
    """The names of the tools of which the reply must call one."""
    param = "tool_choice"
    if choice in (None, "none"):
        return ()
    if not tools:
        raise _only_with_tools(param)
    if choice in leave.tool_choices:
        choice = "required"
    if isinstance(choice, str):
        one_of("none", "auto", "required")(param, choice)
        return tuple(tool.name for tool in tools) if choice == "required" else ()
    if choice.get("type") != "allowed_tools":
        return (_named(choice, param, tools),)
    allowed = required(choice, param, "allowed_tools", an_object)
    param = f"{param}.allowed_tools"
    mode = required(allowed, param, "mode", one_of("auto", "required"))
    offered = required(allowed, param, "tools", an_array("objects", low=1))
    for index, entry in enumerate(offered):
        an_object(f"{param}.tools[{index}]", entry)
    names = tuple(_named(entry, f"{param}.tools[{index}]", tools) for index, entry in enumerate(offered))
    return names if mode == "required" else ()


def _named(choice: Mapping[str, Any], param: str, tools: tuple[ToolSpec, ...]) -> str:
    """The tool that `{"type": "function", "function": {"name": …}}` names."""
    kind = "custom" if choice.get("type") == "custom" else "function"
    named = required(choice, param, kind, an_object)
    called: str = required(named, f"{param}.{kind}", "name", string)
    if called not in [tool.name for tool in tools if tool.custom == (kind == "custom")]:
        raise wrong_value(
            "tool_choice",
            f"Invalid value for 'tool_choice': no function named '{called}' was specified in the 'tools' parameter.",
            None,
        )
    return called


def _schema(response_format: Any, messages: tuple[tuple[str, str], ...]) -> Mapping[str, Any] | None:
    if response_format is None:
        return None
    kind = required(response_format, "response_format", "type", one_of("json_object", "json_schema", "text"))
    if kind == "text":
        return None
    if kind == "json_object":
        if not any("json" in text.lower() for _, text in messages):
            raise wrong_value(
                "messages",
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
                None,
            )
        return {}
    where = "response_format.json_schema"
    described = required(response_format, "response_format", "json_schema", an_object)
    called = required(described, where, "name", name(64))
    if described.get("strict") is not None:
        boolean(f"{where}.strict", described["strict"])
    if not described.get("strict"):
        if described.get("schema") is not None:
            an_object(f"{where}.schema", described["schema"])
        return described.get("schema") or {}
    schema: Mapping[str, Any] = required(described, where, "schema", an_object)
    try:
        check_strict(schema, name=called)
    except SchemaError as error:
        message = f"Invalid schema for response_format '{called}': {error}"
        raise wrong_value("response_format", message, None) from error
    return schema

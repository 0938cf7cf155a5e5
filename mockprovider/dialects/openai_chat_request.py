"""The request of OpenAI's chat completions: what is required, what each field may be, and what it means.

`FIELDS` is the source of truth for single fields; what spans several is in `parse`. Fields that OpenAI does not know
are let through, as the compatible servers do: clients of relays send `top_k`, `reasoning` and many more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mockprovider.dialects.base import Ask, ToolSpec
from mockprovider.dialects.openai_errors import body_object, missing, wrong_type, wrong_value
from mockprovider.schema import SchemaError, check_strict

__all__ = ["ChatOptions", "parse"]


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What only chat completions know. top_logprobs: how many alternatives a token lists."""

    include_usage: bool = False
    obfuscation: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    service_tier: str = "default"


Check = Callable[[str, Any], None]


def _a(kind: type | tuple[type, ...], expected: str) -> Check:
    """A value of this type; a bool is no number here."""

    def check(param: str, value: Any) -> None:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise wrong_type(param, expected, value)

    return check


def _number(low: float, high: float) -> Check:
    def check(param: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(param, "a decimal number", value)
        _in_range(param, value, low, high)

    return check


def _integer(low: int, high: int) -> Check:
    def check(param: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(param, "an integer", value)
        _in_range(param, value, low, high)

    return check


def _in_range(param: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        bound, code, word = (
            (low, "integer_below_min_value", ">=") if value < low else (high, "integer_above_max_value", "<=")
        )
        if isinstance(value, float):
            code = code.replace("integer", "decimal")
        raise wrong_value(param, f"Invalid '{param}': expected a value {word} {bound}, but got {value} instead.", code)


def _one_of(*allowed: str) -> Check:
    def check(param: str, value: Any) -> None:
        if not isinstance(value, str):
            raise wrong_type(param, "a string", value)
        if value not in allowed:
            listed = ", ".join(f"'{word}'" for word in allowed)
            raise wrong_value(param, f"Invalid value: '{value}'. Supported values are: {listed}.", "invalid_value")

    return check


def _stop(param: str, value: Any) -> None:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise wrong_type(param, "a string or an array of strings", value)
    if len(value) > 4:
        raise wrong_value(
            param,
            f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with"
            f" length {len(value)} instead.",
            "array_above_max_length",
        )
    for index, sequence in enumerate(value):
        if not isinstance(sequence, str):
            raise wrong_type(f"{param}[{index}]", "a string", sequence)
        if not sequence:
            raise wrong_value(f"{param}[{index}]", f"Invalid '{param}[{index}]': expected a text that is not empty.")


_object = _a(dict, "an object")
_string = _a(str, "a string")
_boolean = _a(bool, "a boolean")

FIELDS: Mapping[str, Check] = {
    "model": _string,
    "messages": _a(list, "an array of objects"),
    "stream": _boolean,
    "stream_options": _object,
    "n": _integer(1, 128),
    "max_tokens": _integer(1, 2**31),
    "max_completion_tokens": _integer(1, 2**31),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "stop": _stop,
    "tools": _a(list, "an array of objects"),
    "tool_choice": _a((str, dict), "a string or an object"),
    "parallel_tool_calls": _boolean,
    "response_format": _object,
    "logprobs": _boolean,
    "top_logprobs": _integer(0, 20),
    "logit_bias": _object,
    "seed": _integer(-(2**63), 2**63 - 1),
    "user": _string,
    "service_tier": _one_of("auto", "default", "flex", "scale", "priority"),
    "store": _boolean,
    "metadata": _object,
}
"""The check of each single field. null counts as absent everywhere but in `model` and `messages`."""

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def parse(body: bytes) -> Ask:
    """The body of a chat completion request as an Ask. RequestError in OpenAI's wording."""
    document = body_object(body)
    for required in ("model", "messages"):
        if required not in document:
            raise missing(required)
    for param, value in document.items():
        check = FIELDS.get(param)
        if check is not None and (value is not None or param in ("model", "messages")):
            check(param, value)
    if not document["model"]:
        raise wrong_value("model", "you must provide a model parameter", None)
    stream = document.get("stream") or False
    limit = document.get("max_completion_tokens")
    if limit is None:
        limit = document.get("max_tokens")
    elif document.get("max_tokens") is not None:
        raise wrong_value(
            "max_tokens",
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "invalid_parameter_combination",
        )
    stop = document.get("stop") or ()
    tools = _tools(document.get("tools"))
    return Ask(
        model=document["model"],
        stream=stream,
        messages=_messages(document["messages"]),
        choices=document.get("n") or 1,
        max_tokens=limit,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=tools,
        must_call=_must_call(document.get("tool_choice"), tools),
        schema=_schema(document.get("response_format")),
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
    for key in ("include_usage", "include_obfuscation"):
        if options and key in options:
            _boolean(f"stream_options.{key}", options[key])
    logprobs = document.get("logprobs") or False
    top = document.get("top_logprobs")
    if top is not None and not logprobs:
        raise wrong_value("top_logprobs", "'top_logprobs' may only be set when 'logprobs' is true.", None)
    tier = document.get("service_tier")
    return ChatOptions(
        include_usage=bool(options and options.get("include_usage")),
        obfuscation=options.get("include_obfuscation", True) if options else True,
        logprobs=logprobs,
        top_logprobs=top or 0,
        service_tier="default" if tier in (None, "auto") else tier,
    )


def _messages(messages: list[Any]) -> tuple[tuple[str, str], ...]:
    if not messages:
        raise wrong_value(
            "messages",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "empty_array",
        )
    found: list[tuple[str, str]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise wrong_type(where, "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"{where}.role")
        _one_of(*ROLES)(f"{where}.role", role)
        content = message.get("content")
        if content is None and role not in ("assistant", "function"):
            raise (
                missing(f"{where}.content")
                if "content" not in message
                else wrong_type(f"{where}.content", "a string or an array of objects", None)
            )
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise missing(f"{where}.tool_call_id")
        if role == "assistant" and not isinstance(message.get("tool_calls") or [], list):
            raise wrong_type(f"{where}.tool_calls", "an array of objects", message["tool_calls"])
        found.append((role, _text(f"{where}.content", content)))
    return tuple(found)


def _text(where: str, content: Any) -> str:
    """The text of a message's content; images, audio and files count for none."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(where, "one of a string or array of objects", content)
    texts = []
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong_type(f"{where}[{index}]", "an object", part)
        kind = part.get("type")
        if kind is None:
            raise missing(f"{where}[{index}].type")
        _one_of("text", "image_url", "input_audio", "file", "refusal")(f"{where}[{index}].type", kind)
        if kind == "text":
            if not isinstance(part.get("text"), str):
                raise wrong_type(f"{where}[{index}].text", "a string", part.get("text"))
            texts.append(part["text"])
    return "".join(texts)


def _tools(tools: Any) -> tuple[ToolSpec, ...]:
    specs = []
    for index, tool in enumerate(tools or ()):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise wrong_type(where, "an object", tool)
        _one_of("function", "custom")(f"{where}.type", tool.get("type"))
        function = tool.get(tool["type"])
        if not isinstance(function, dict):
            raise missing(f"{where}.{tool['type']}")
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise missing(f"{where}.{tool['type']}.name")
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise wrong_type(f"{where}.function.parameters", "an object", parameters)
        if function.get("strict"):
            _strict(
                parameters or {},
                f"{where}.function.parameters",
                f"Invalid schema for function '{name}'",
                name,
            )
        specs.append(ToolSpec(name, parameters))
    return tuple(specs)


def _must_call(choice: Any, tools: tuple[ToolSpec, ...]) -> str | None:
    if choice is None:
        return None
    if not tools:
        raise wrong_value("tool_choice", "'tool_choice' is only allowed when 'tools' are specified.", None)
    if isinstance(choice, str):
        _one_of("none", "auto", "required")("tool_choice", choice)
        return "any" if choice == "required" else None
    if choice.get("type") == "allowed_tools":
        return "any" if (choice.get("allowed_tools") or {}).get("mode") == "required" else None
    named = choice.get("function") or choice.get("custom")
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str):
        raise missing("tool_choice.function.name")
    if name not in [tool.name for tool in tools]:
        raise wrong_value("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.", None)
    return name


def _schema(response_format: Any) -> Mapping[str, Any] | None:
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind is None:
        raise missing("response_format.type")
    _one_of("text", "json_object", "json_schema")("response_format.type", kind)
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    described = response_format.get("json_schema")
    if not isinstance(described, dict):
        raise missing("response_format.json_schema")
    name = described.get("name")
    if not isinstance(name, str):
        raise missing("response_format.json_schema.name")
    schema = described.get("schema")
    if not isinstance(schema, dict):
        raise missing("response_format.json_schema.schema")
    _strict(schema, "response_format", f"Invalid schema for response_format '{name}'", name)
    return schema


def _strict(schema: Mapping[str, Any], param: str, prefix: str, name: str) -> None:
    try:
        check_strict(schema, name=name)
    except SchemaError as error:
        raise wrong_value(param, f"{prefix}: {error}", "invalid_json_schema") from error

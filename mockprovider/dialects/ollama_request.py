"""The requests of Ollama's `/api/chat` and `/api/generate`: what is looked at, and what Ollama refuses.

Ollama is written in Go: a value of the wrong type is told of as `encoding/json` does, and a name that it does not know
is passed over. Fields are from Ollama's API reference and its SDK's types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mockprovider.dialects.base import Ask, ToolSpec
from mockprovider.errors import RequestError

__all__ = ["CHAT", "GENERATE", "OllamaOptions", "body_object", "named", "parse_chat", "parse_generate"]

_COMMON = {
    "model": "string",
    "stream": "bool",
    "options": "map[string]interface {}",
    "truncate": "bool",
    "shift": "bool",
    "logprobs": "bool",
    "top_logprobs": "int",
}
CHAT: Mapping[str, str] = {**_COMMON, "messages": "[]api.Message", "tools": "api.Tools"}
GENERATE: Mapping[str, str] = {
    **_COMMON,
    "prompt": "string",
    "suffix": "string",
    "system": "string",
    "template": "string",
    "context": "[]int",
    "raw": "bool",
    "images": "[]api.ImageData",
}
"""The Go type of each field that is checked by its type alone."""

_MESSAGE = {
    "role": "string",
    "content": "string",
    "thinking": "string",
    "images": "[]api.ImageData",
    "tool_calls": "[]api.ToolCall",
    "tool_name": "string",
}
_OPTIONS = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep"), "integer"),
    **dict.fromkeys(("seed", "num_predict", "top_k", "repeat_last_n", "mirostat"), "integer"),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "tfs_z"), "float32"),
    **dict.fromkeys(("repeat_penalty", "presence_penalty", "frequency_penalty"), "float32"),
    **dict.fromkeys(("mirostat_tau", "mirostat_eta"), "float32"),
    **dict.fromkeys(("use_mmap", "penalize_newline", "numa", "low_vram"), "boolean"),
    "stop": "array",
}
"""The type of each option, in the words of Ollama's refusal."""

_DURATION = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+|-?0")


@dataclass(frozen=True, slots=True)
class OllamaOptions:
    """What only Ollama knows. thoughts: whether thinking is shown; raw: no template is applied; load: nothing is asked,
    the model is to be loaded, or with no time to keep it, unloaded.
    """

    thoughts: bool = True
    raw: bool = False
    load: str = ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def body_object(body: bytes, struct: str) -> Mapping[str, Any]:
    """The body as a JSON object; RequestError where it is none. struct: the name of its Go type."""
    if not body.strip():
        raise RequestError(400, "missing request body")
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        at = body.decode("utf-8", "replace")[getattr(error, "pos", 0) :][:1]
        said = f"invalid character '{at}' looking for beginning of value" if at else "unexpected EOF"
        raise RequestError(400, said) from None
    if not isinstance(document, dict):
        raise RequestError(400, f"json: cannot unmarshal {_go(document)} into Go value of type api.{struct}")
    return document


def _go(value: Any) -> str:
    """What Go calls a JSON value."""
    kinds = ((bool, "bool"), (int, "number"), (float, "number"), (str, "string"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


_GO_KINDS = {"string": "string", "bool": "bool", "int": "number", "map[string]interface {}": "object"}


def _typed(struct: str, fields: Mapping[str, str], document: Mapping[str, Any]) -> None:
    """Each field is of its type, or null. RequestError in Go's words."""
    for name, wanted in fields.items():
        value = document.get(name)
        if value is None or _go(value) == _GO_KINDS.get(wanted, "array"):
            continue
        raise RequestError(
            400, f"json: cannot unmarshal {_go(value)} into Go struct field {struct}.{name} of type {wanted}"
        )


def named(document: Mapping[str, Any], struct: str) -> str:
    """The model that a request names, by its old name too."""
    _typed(struct, {"model": "string", "name": "string"}, document)
    model = document.get("model") or document.get("name") or ""
    if not model:
        raise RequestError(400, "model is required", param="model")
    return str(model)


# ------------------------------------------------------------------------------------------------ the two requests


def parse_chat(body: bytes) -> Ask:
    """The body of `/api/chat` as an Ask. RequestError in Ollama's wording where it would be refused."""
    document = body_object(body, "ChatRequest")
    _typed("ChatRequest", CHAT, document)
    messages = _messages(document.get("messages") or [])
    return _ask(document, "ChatRequest", messages, _tools(document.get("tools") or []), empty=not messages)


def parse_generate(body: bytes) -> Ask:
    """The body of `/api/generate` as an Ask. RequestError in Ollama's wording where it would be refused."""
    document = body_object(body, "GenerateRequest")
    _typed("GenerateRequest", GENERATE, document)
    if document.get("raw") and any(document.get(name) for name in ("template", "system", "context")):
        raise RequestError(400, "raw mode does not support template, system, or context")
    prompt, system = document.get("prompt") or "", document.get("system") or ""
    messages = (*((("system", system),) if system else ()), ("user", prompt))
    return _ask(document, "GenerateRequest", messages, (), empty=not prompt)


def _ask(
    document: Mapping[str, Any],
    struct: str,
    messages: tuple[tuple[str, str], ...],
    tools: tuple[ToolSpec, ...],
    *,
    empty: bool,
) -> Ask:
    model = named(document, struct)
    options = document.get("options") or {}
    _options(options)
    kept = _keep_alive(document.get("keep_alive"))
    think = document.get("think")
    if not (think is None or isinstance(think, bool) or think in ("low", "medium", "high", "max")):
        raise RequestError(
            400, f'invalid think value: {json.dumps(think)} (must be "high", "medium", "low", true, or false)'
        )
    limit, stop = options.get("num_predict"), options.get("stop") or ()
    if limit is not None:
        limit = int(limit) if limit > 0 else None
    return Ask(
        model=model,
        # Where nothing is asked, nothing is said, at once.
        stream=document.get("stream") is not False and not empty,
        messages=messages,
        max_tokens=0 if empty else limit,
        stop=tuple(text for text in stop if text),
        tools=tools,
        schema=_schema(document.get("format")),
        options=OllamaOptions(
            thoughts=think is not False,
            raw=bool(document.get("raw")),
            load=("load" if kept else "unload") if empty else "",
        ),
    )


def _schema(format: Any) -> Mapping[str, Any] | None:
    """The JSON Schema of a structured answer, `{}` for any object; None for free text."""
    if format is None or format == "":
        return None
    if format == "json":
        return {}
    if isinstance(format, dict):
        return format
    raise RequestError(
        400, f'invalid format: {json.dumps(format)}; expected "json" or a valid JSON Schema object', param="format"
    )


def _keep_alive(value: Any) -> bool:
    """Whether the model stays loaded. RequestError for what is no duration."""
    if value is None:
        return True
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value != 0
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise RequestError(400, f'time: invalid duration "{value}"', param="keep_alive")
        return re.search("[1-9]", value) is not None
    raise RequestError(400, f"Unsupported type: '{_go(value)}'", param="keep_alive")


def _options(options: Mapping[str, Any]) -> None:
    """Each option that is known is of its type."""
    for name, value in options.items():
        wanted = _OPTIONS.get(name)
        if value is None or wanted is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {
            "integer": number,
            "float32": number,
            "boolean": isinstance(value, bool),
            "array": isinstance(value, list),
        }[wanted]
        if not fits:
            raise RequestError(400, f'option "{name}" must be of type {wanted}', param=name)
        if wanted == "array" and not all(isinstance(text, str) for text in value):
            raise RequestError(400, f'option "{name}" must be of an array of strings', param=name)


# ------------------------------------------------------------------------------------------------ messages and tools


def _messages(messages: list[Any]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for message in messages:
        if not isinstance(message, dict):
            reason = (
                f"json: cannot unmarshal {_go(message)} into Go struct field ChatRequest.messages of type api.Message"
            )
            raise RequestError(400, reason)
        _typed("ChatRequest.messages", _MESSAGE, message)
        for call in message.get("tool_calls") or []:
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if arguments is not None and not isinstance(arguments, dict):
                raise RequestError(
                    400,
                    f"json: cannot unmarshal {_go(arguments)} into Go struct field"
                    " ChatRequest.messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments",
                )
        found.append(((message.get("role") or "").lower(), message.get("content") or ""))
    return tuple(found)


def _tools(tools: list[Any]) -> tuple[ToolSpec, ...]:
    specs = []
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            reason = f"json: cannot unmarshal {_go(tool)} into Go struct field ChatRequest.tools of type api.Tool"
            raise RequestError(400, reason)
        _typed("ChatRequest.tools.function", {"name": "string", "description": "string"}, function)
        parameters = function.get("parameters")
        specs.append(ToolSpec(function.get("name") or "", parameters if isinstance(parameters, dict) else None))
    return tuple(specs)

"""The request of Gemini's generateContent: what it means, and what Google refuses. Fields are in `gemini_fields`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mockprovider.dialects.base import Ask, ToolSpec
from mockprovider.dialects.gemini_errors import Violations, body_object, invalid, unmet
from mockprovider.dialects.gemini_fields import read
from mockprovider.dialects.routing import Target
from mockprovider.jsontext import dumps
from mockprovider.tokens import count

__all__ = ["GeminiOptions", "parse", "parse_count", "prompt_tokens"]


@dataclass(frozen=True, slots=True)
class GeminiOptions:
    """What only Gemini knows. alt: how the URL wants a stream framed; thoughts: whether thinking is shown."""

    alt: str = ""
    thoughts: bool = True


def parse(body: bytes, target: Target) -> Ask:
    """The body as an Ask. RequestError in Google's wording where it would be refused."""
    violations = Violations()
    document = read("GenerateContentRequest", body_object(body), "", violations)
    violations.check()
    return _ask(document, target)


def parse_count(body: bytes, target: Target) -> Ask:
    """The body of a request for a count of tokens; it has contents, or a whole request."""
    violations = Violations()
    document = read("CountTokensRequest", body_object(body), "", violations)
    violations.check()
    inner = document.get("generateContentRequest")
    return _ask(inner if inner is not None else {"contents": document.get("contents", [])}, target)


def prompt_tokens(ask: Ask) -> int:
    """How many tokens the prompt is: its texts, the system's among them, and the tools that it offers."""
    return ask.prompt_tokens() + sum(
        count(tool.name) + count(dumps(tool.parameters).decode()) for tool in ask.tools if tool.parameters is not None
    )


def _ask(document: Mapping[str, Any], target: Target) -> Ask:
    config = document.get("generationConfig", {})
    _bounds(config)
    contents = _contents(document.get("contents", []))
    system = document.get("systemInstruction")
    if system is not None:
        contents = (("system", _text(system.get("parts", []))), *contents)
    tools = _tools(document.get("tools", []))
    json_only = config.get("responseMimeType") == "application/json"
    if json_only and tools:
        raise invalid("Function calling with a response mime type: 'application/json' is unsupported")
    schema = _schema(config)
    thinking = config.get("thinkingConfig", {})
    return Ask(
        model=target.params.get("model", "").removeprefix("models/"),
        stream=target.endpoint.endswith(":streamGenerateContent"),
        messages=contents,
        choices=config.get("candidateCount", 1),
        max_tokens=config.get("maxOutputTokens"),
        stop=tuple(stop for stop in config.get("stopSequences", ()) if stop),
        tools=tools,
        must_call=_must_call(document.get("toolConfig", {}).get("functionCallingConfig", {}), tools),
        schema={} if schema is None and json_only else schema,
        options=GeminiOptions((target.asked("alt") or "").lower(), thinking.get("includeThoughts", True)),
    )


# ------------------------------------------------------------------------------------------------ the conversation


def _contents(contents: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """(role, text) of each content; the results of functions are messages of their own, with the role `tool`."""
    if not contents:
        raise unmet("contents", "contents is not specified")
    found: list[tuple[str, str]] = []
    asked = 0  # how many calls the content before has
    for index, content in enumerate(contents):
        role, parts = content.get("role") or "user", content.get("parts", [])
        if role not in ("user", "model", "function"):
            raise invalid("Please use a valid role: user, model.")
        if not parts:
            raise unmet(f"contents[{index}].parts", "contents.parts must not be empty.")
        for place, part in enumerate(parts):
            if not part.keys() - {"thought", "thoughtSignature", "videoMetadata", "partMetadata", "mediaResolution"}:
                where = f"contents[{index}].parts[{place}].data"
                raise unmet(where, "required oneof field 'data' must have one initialized field")
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if results and asked and len(results) != asked:
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function call"
                " parts of the function call turn."
            )
        if results and not asked:
            raise invalid("Please ensure that function response turn comes immediately after a function call turn.")
        text = _text(parts)
        if text or not results:
            found.append(("assistant" if role == "model" else "user", text))
        found.extend(("tool", dumps(result.get("response", {})).decode()) for result in results)
        asked = sum("functionCall" in part for part in parts)
    return tuple(found)


def _text(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text") or "" for part in parts if not part.get("thought"))


# ------------------------------------------------------------------------------------------------ the configuration


def _bounds(config: Mapping[str, Any]) -> None:
    """What single values of the configuration may be."""
    for name, low, high, said in (
        ("temperature", 0, 2, "temperature must be in the range [0.0, 2.0]."),
        ("topP", 0, 1, "top_p must be in the range [0.0, 1.0]."),
        ("topK", 1, None, "top_k must be positive."),
        ("candidateCount", 1, 8, "candidate_count must be in the range [1, 8]."),
        ("maxOutputTokens", 1, None, "max_output_tokens must be positive."),
        ("logprobs", 0, 20, "logprobs must be in the range [0, 20]."),
    ):
        value = config.get(name)
        if value is not None and (value < low or (high is not None and value > high)):
            raise unmet(f"generation_config.{said.split(' ', 1)[0]}", said)
    if len(config.get("stopSequences", ())) > 5:
        raise unmet("generation_config.stop_sequences", "stop_sequences must have at most 5 elements.")
    kind = config.get("responseMimeType", "text/plain")
    if kind not in ("", "text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum"):
        allowed = "`text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`"
        raise unmet("generation_config.response_mime_type", f"allowed mimetypes are {allowed}.")
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise invalid("Only one of response_schema and response_json_schema may be set.")


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON Schema of a structured answer; an answer that is one word of an enumeration is free text here."""
    if config.get("responseMimeType") == "text/x.enum":
        return None
    own = config.get("responseJsonSchema")
    if isinstance(own, dict):
        return own
    return json_schema(config["responseSchema"]) if "responseSchema" in config else None


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Google's Schema, which is one of OpenAPI 3.0, as a JSON Schema."""
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "type":
            if value != "TYPE_UNSPECIFIED":
                made["type"] = value.lower()
        elif name == "items":
            made[name] = json_schema(value)
        elif name == "anyOf":
            made[name] = [json_schema(each) for each in value]
        elif name == "properties":
            made[name] = {key: json_schema(each) for key, each in value.items()}
        elif name in ("ref", "defs"):
            made[f"${name}"] = value
        elif name not in ("nullable", "propertyOrdering", "example"):
            made[name] = value
    if schema.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


# ------------------------------------------------------------------------------------------------ functions

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def _tools(tools: list[dict[str, Any]]) -> tuple[ToolSpec, ...]:
    """The functions that the client offers; tools of Google's own are not run here."""
    specs: list[ToolSpec] = []
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        for place, declared in enumerate(tool.get("functionDeclarations", [])):
            where = f"tools[{index}].function_declarations[{place}]"
            name = declared.get("name", "")
            if not _NAME.fullmatch(name):
                raise unmet(
                    f"{where}.name",
                    "Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z,"
                    " 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.",
                )
            if name in seen:
                raise invalid(f"Duplicate function declaration found: {name}")
            if "parameters" in declared and "parametersJsonSchema" in declared:
                raise unmet(where, "parameters and parameters_json_schema are mutually exclusive.")
            seen.add(name)
            own = declared.get("parametersJsonSchema")
            parameters = json_schema(declared["parameters"]) if "parameters" in declared else own
            specs.append(ToolSpec(name, parameters if isinstance(parameters, dict) else None))
    return tuple(specs)


def _must_call(config: Mapping[str, Any], tools: tuple[ToolSpec, ...]) -> tuple[str, ...]:
    """The names of the functions of which the reply must call one."""
    allowed, names = config.get("allowedFunctionNames", []), [tool.name for tool in tools]
    mode = config.get("mode", "AUTO")
    if mode == "ANY" and not names:
        raise invalid("Function calling config is set without function_declarations.")
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise unmet(
            "tool_config.function_calling_config.allowed_function_names",
            "allowed_function_names should only be set when function calling mode is ANY or VALIDATED.",
        )
    for name in allowed:
        if name not in names:
            raise invalid(f"Function calling config has an allowed function name that is not declared: {name}")
    return tuple(allowed or names) if mode == "ANY" else ()

"""The messages of a Gemini request: what fields each has, and of what types. `MESSAGES` is the source of truth.

From the published reference of generativelanguage.googleapis.com (v1beta) and the types of Google's SDK. JSON is read
as protobuf reads it: names in camelCase or snake_case, numbers also as texts, enumerations in any case. All that does
not fit is told at once, as Google does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mockprovider.dialects.gemini_errors import Violations

__all__ = ["MESSAGES", "read"]

ANY, STRING, BOOL, INT, FLOAT = "any", "TYPE_STRING", "TYPE_BOOL", "TYPE_INT32", "TYPE_FLOAT"
BYTES = "TYPE_BYTES"


def _fields(text: str) -> dict[str, str]:
    """`name:type` pairs; a name alone may be anything, `[]` after a type is a list of it, `{}` a map to it."""
    found = {}
    for word in text.split():
        name, _, kind = word.partition(":")
        found[name] = {"s": STRING, "b": BOOL, "i": INT, "f": FLOAT, "y": BYTES, "": ANY, "s[]": f"{STRING}[]"}.get(
            kind, kind
        )
    return found


MESSAGES: Mapping[str, Mapping[str, str]] = {
    "GenerateContentRequest": _fields(
        "model:s contents:Content[] systemInstruction:Content tools:Tool[] toolConfig:ToolConfig cachedContent:s"
        " safetySettings:SafetySetting[] generationConfig:GenerationConfig serviceTier:s store:b labels"
    ),
    "CountTokensRequest": _fields("model:s contents:Content[] generateContentRequest:GenerateContentRequest"),
    "Content": _fields("parts:Part[] role:s"),
    "Part": _fields(
        "text:s inlineData:Blob fileData:FileData functionCall:FunctionCall functionResponse:FunctionResponse"
        " executableCode codeExecutionResult toolCall toolResponse videoMetadata thought:b thoughtSignature:y"
        " partMetadata mediaResolution audioTranscription mediaProcessing speechMetadata documentMetadata"
        " spreadsheetMetadata audioMetadata"
    ),
    "Blob": _fields("mimeType:s data:y displayName:s"),
    "FileData": _fields("mimeType:s fileUri:s displayName:s"),
    "FunctionCall": _fields("id:s name:s args:Struct partialArgs willContinue:b"),
    "FunctionResponse": _fields("id:s name:s response:Struct willContinue:b scheduling:s parts"),
    "Tool": _fields(
        "functionDeclarations:FunctionDeclaration[] googleSearch googleSearchRetrieval codeExecution urlContext"
        " computerUse googleMaps fileSearch mcpServers enterpriseWebSearch retrieval"
    ),
    "FunctionDeclaration": _fields(
        "name:s description:s behavior:s parameters:Schema parametersJsonSchema response:Schema responseJsonSchema"
    ),
    "Schema": _fields(
        "type:Type format:s title:s description:s nullable:b enum:s[] maxItems:i minItems:i properties:Schema{}"
        " required:s[] minProperties:i maxProperties:i minLength:i maxLength:i pattern:s example anyOf:Schema[]"
        " propertyOrdering:s[] default items:Schema minimum:f maximum:f additionalProperties ref:s defs"
    ),
    "ToolConfig": _fields(
        "functionCallingConfig:FunctionCallingConfig retrievalConfig includeServerSideToolInvocations:b"
    ),
    "FunctionCallingConfig": _fields("mode:Mode allowedFunctionNames:s[] streamFunctionCallArguments:b"),
    "SafetySetting": _fields("category:s threshold:s method:s"),
    "GenerationConfig": _fields(
        "stopSequences:s[] responseMimeType:s responseSchema:Schema responseJsonSchema responseModalities:s[]"
        " candidateCount:i maxOutputTokens:i temperature:f topP:f topK:f seed:i presencePenalty:f frequencyPenalty:f"
        " responseLogprobs:b logprobs:i enableEnhancedCivicAnswers:b speechConfig thinkingConfig:ThinkingConfig"
        " mediaResolution:s imageConfig responseFormat routingConfig modelSelectionConfig audioTimestamp:b"
        " enableAffectiveDialog:b translationConfig audioTranscriptionConfig continuationToken:s"
    ),
    "ThinkingConfig": _fields("includeThoughts:b thinkingBudget:i thinkingLevel:s"),
}
"""The fields of each message, by its name."""

_ENUMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Type": ("Type", ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")),
    "Mode": ("FunctionCallingConfig.Mode", ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")),
}

_TYPES = "type.googleapis.com/google.ai.generativelanguage.v1beta."
_SNAKE = re.compile(r"(?<!^)(?=[A-Z])")


def _snake(name: str) -> str:
    return _SNAKE.sub("_", name).lower()


_NAMES = {
    message: {alias: name for name in fields for alias in (name, _snake(name), f"${name}")}
    for message, fields in MESSAGES.items()
}
"""The name of a field, by each name that it may be given (`$ref` and `$defs` are told by their plain names)."""


def read(message: str, value: Any, path: str, violations: Violations) -> dict[str, Any]:
    """The message with its fields by their names in camelCase; null is the same as a field that is not there."""
    if not isinstance(value, dict):
        violations.value(path, _TYPES + message, value)
        return {}
    found: dict[str, Any] = {}
    for given, member in value.items():
        name = _NAMES[message].get(given)
        if name is None:
            violations.unknown(path, given)
        elif member is not None:
            below = f"{path}.{_snake(name)}" if path else _snake(name)
            found[name] = _member(MESSAGES[message][name], member, below, (path, given), violations)
    return found


def _member(kind: str, value: Any, path: str, named: tuple[str, str], violations: Violations) -> Any:
    """A field's value: one, or a list or map of them."""
    if kind.endswith("[]"):
        # A single value may stand for a list of one.
        values = value if isinstance(value, list) else [value]
        return [_one(kind[:-2], each, f"{path}[{index}]", violations) for index, each in enumerate(values)]
    if kind.endswith("{}"):
        if not isinstance(value, dict):
            violations.value(path, _TYPES + kind[:-2], value)
            return {}
        return {
            name: _one(kind[:-2], each, f"{path}[{index}].value", violations)
            for index, (name, each) in enumerate(value.items())
        }
    if isinstance(value, list) and kind != ANY:
        violations.unknown(*named, "Proto field is not repeating, cannot start list.")
        return None
    return _one(kind, value, path, violations)


def _one(kind: str, value: Any, path: str, violations: Violations) -> Any:
    if kind == ANY:
        return value
    if kind in MESSAGES:
        return read(kind, value, path, violations)
    if kind == "Struct":
        if not isinstance(value, dict):
            violations.value(path, "type.googleapis.com/google.protobuf.Struct", value)
        return value
    if kind in _ENUMS:
        name, allowed = _ENUMS[kind]
        if not isinstance(value, str) or value.upper() not in allowed:
            violations.value(path, _TYPES + name, value)
            return allowed[0]
        return value.upper()
    read_as = _SCALARS[kind](value)
    if read_as is None:
        violations.value(path, kind, value)
    return read_as


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) and abs(number) < 2**31 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e300 else None


_SCALARS: Mapping[str, Any] = {
    STRING: lambda value: value if isinstance(value, str) else None,
    BYTES: lambda value: value if isinstance(value, str) else None,
    BOOL: lambda value: value if isinstance(value, bool) else None,
    INT: _whole,
    FLOAT: _number,
}

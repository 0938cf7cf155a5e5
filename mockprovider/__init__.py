"""A wind tunnel for programs that stream from language models: a mock provider, and a pytest fixture.

The public names are loaded when they are first used (PEP 562), so that importing the pytest plugin stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mockprovider.errors import MockProviderError, NoMatchError
    from mockprovider.exchange import Exchange
    from mockprovider.matching import contains, equals, glob, regex
    from mockprovider.pace import Chunking, Pacing
    from mockprovider.provider import MockProvider
    from mockprovider.reply import Citation, Reasoning, Refusal, Reply, Text, Tokens, ToolCall, tool_call

__all__ = [
    "Chunking",
    "Citation",
    "Exchange",
    "MockProvider",
    "MockProviderError",
    "NoMatchError",
    "Pacing",
    "Reasoning",
    "Refusal",
    "Reply",
    "Text",
    "Tokens",
    "ToolCall",
    "__version__",
    "contains",
    "equals",
    "glob",
    "regex",
    "tool_call",
]

_HOMES = {
    "Chunking": "pace",
    "Citation": "reply",
    "Exchange": "exchange",
    "MockProvider": "provider",
    "MockProviderError": "errors",
    "NoMatchError": "errors",
    "Pacing": "pace",
    "Reasoning": "reply",
    "Refusal": "reply",
    "Reply": "reply",
    "Text": "reply",
    "Tokens": "reply",
    "ToolCall": "reply",
    "contains": "matching",
    "equals": "matching",
    "glob": "matching",
    "regex": "matching",
    "tool_call": "reply",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"mockprovider.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

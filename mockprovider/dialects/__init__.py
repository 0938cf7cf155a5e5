"""Level 3: the providers' words. One file a dialect, and the table of them."""

from __future__ import annotations

from mockprovider.dialects.anthropic_messages import AnthropicMessages
from mockprovider.dialects.base import Dialect
from mockprovider.dialects.openai_chat import OpenAIChat

__all__ = ["DIALECTS", "Dialect"]

DIALECTS: tuple[Dialect, ...] = (OpenAIChat(), AnthropicMessages())

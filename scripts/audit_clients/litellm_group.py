"""litellm and what shares its environment, since it needs an openai package below version 3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm
import openai

from scripts.audit_clients.spec import ANTHROPIC, Spec, named, spec

CLIENTS: dict[str, Spec] = {}

litellm.suppress_debug_info = True
litellm.telemetry = False


def _messages(task: Any) -> Any:
    return [{"role": "user", "content": task.prompt}]


def _litellm(task: Any, provider: str) -> Iterator[Any]:
    finish = None
    for chunk in litellm.completion(
        model=f"{provider}/{task.model}",
        messages=_messages(task),
        stream=True,
        api_base=task.base_url,
        api_key=task.api_key,
        timeout=task.timeout,
        max_tokens=1024,
    ):
        for choice in chunk.choices:
            yield choice.delta.content or ""
            finish = choice.finish_reason or finish
    yield named(finish)


_OWN = ("litellm", "openai")
"""Its errors are subclasses of openai's."""


@spec(CLIENTS, "litellm-openai", "litellm {} (OpenAI)", package="litellm", own=_OWN)
def litellm_openai(task: Any) -> Iterator[Any]:
    """litellm with its provider for OpenAI."""
    yield from _litellm(task, "openai")


@spec(
    CLIENTS,
    "litellm-anthropic",
    "litellm {} (Anthropic)",
    package="litellm",
    dialect=ANTHROPIC,
    own=_OWN,
)
def litellm_anthropic(task: Any) -> Iterator[Any]:
    """litellm with its provider for Anthropic."""
    yield from _litellm(task, "anthropic")


@spec(CLIENTS, "openai-2", "openai {}", package="openai", own=("openai",))
def openai_two(task: Any) -> Iterator[Any]:
    """The openai package of the second major version."""
    with openai.OpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as client:
        finish = None
        for chunk in client.chat.completions.create(model=task.model, messages=_messages(task), stream=True):
            for choice in chunk.choices:
                yield choice.delta.content or ""
                finish = choice.finish_reason or finish
        yield named(finish)


@spec(CLIENTS, "instructor", "instructor {}", package="instructor", own=("instructor", "openai"))
def instructor_text(task: Any) -> Iterator[Any]:
    """instructor without a response model, which hands the stream through."""
    import instructor

    with openai.OpenAI(base_url=task.base_url, api_key=task.api_key, timeout=task.timeout) as plain:
        client = instructor.from_openai(plain)
        finish = None
        for chunk in client.chat.completions.create(
            model=task.model, messages=_messages(task), response_model=None, stream=True
        ):
            for choice in chunk.choices:
                yield choice.delta.content or ""
                finish = choice.finish_reason or finish
        yield named(finish)

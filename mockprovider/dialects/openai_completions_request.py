"""The request of OpenAI's legacy completions: what is required, what each field may be, and what it means.

Fields that OpenAI does not know are let through, as the compatible servers do. There is no vocabulary here, so a prompt
that is given as tokens is shown by their numbers: `<|15|>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mockprovider.dialects.base import Ask
from mockprovider.dialects.openai_checks import (
    Check,
    an_object,
    array_of,
    boolean,
    decimal,
    integer,
    string,
    text_or,
)
from mockprovider.dialects.openai_errors import body_object, wrong_value
from mockprovider.dialects.openai_responses_models import traits
from mockprovider.errors import RequestError
from mockprovider.tokens import count, cut

__all__ = ["FIELDS", "CompletionsOptions", "Prompt", "parse", "prompts"]

_TOKENS = 16
"""How many tokens a completion has where the request does not say."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a request: its text, and its tokens."""

    text: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompletionsOptions:
    """What only legacy completions know.

    prompts: each of which gets `each` choices; echo: a choice begins with its prompt; logprobs: how many alternatives
    each token lists, None: no log probabilities; prompt_tokens: of all prompts together.
    """

    prompts: tuple[Prompt, ...] = ()
    each: int = 1
    include_usage: bool = False
    echo: bool = False
    logprobs: int | None = None
    prompt_tokens: int = 0

    def prompt(self, choice: int) -> Prompt:
        """The prompt that a choice answers."""
        return self.prompts[min(choice // self.each, len(self.prompts) - 1)]


def _stop(param: str, value: Any) -> None:
    text_or("one of a string or array of strings", list)(param, value)
    if isinstance(value, list):
        array_of(string, "strings", high=4)(param, value)


FIELDS: Mapping[str, Check] = {
    "model": string,
    "best_of": integer(0, 20),
    "echo": boolean,
    "frequency_penalty": decimal(-2, 2),
    "logit_bias": an_object,
    "logprobs": integer(0, 5),
    "max_tokens": integer(0, 2**31 - 1),
    "n": integer(1, 128),
    "presence_penalty": decimal(-2, 2),
    "seed": integer(-(2**63), 2**63 - 1),
    "stop": _stop,
    "stream": boolean,
    "stream_options": an_object,
    "suffix": string,
    "temperature": decimal(0, 2),
    "top_p": decimal(0, 1),
    "user": string,
}
"""The check of each single field. null counts as absent everywhere."""


def parse(body: bytes) -> Ask:
    """The body of a completion request as an Ask. RequestError in OpenAI's wording."""
    document = {param: value for param, value in body_object(body).items() if value is not None}
    if not document.get("model"):
        raise RequestError(400, "you must provide a model parameter")
    for param, value in document.items():
        check = FIELDS.get(param)
        if check is not None:
            check(param, value)
    _check_model(document["model"])
    stream, each = document.get("stream", False), document.get("n", 1)
    given = prompts(document.get("prompt", "<|endoftext|>"), "prompt")
    _check_best(document.get("best_of"), each, stream=stream)
    stop = document.get("stop", ())
    suffix = document.get("suffix", "")
    return Ask(
        model=document["model"],
        stream=stream,
        messages=tuple(("user", prompt.text) for prompt in given),
        choices=len(given) * each,
        max_tokens=document.get("max_tokens", _TOKENS),
        stop=tuple(filter(None, (stop,) if isinstance(stop, str) else stop)),
        options=CompletionsOptions(
            prompts=given,
            each=each,
            include_usage=_include_usage(document.get("stream_options"), stream=stream),
            echo=document.get("echo", False),
            logprobs=document.get("logprobs"),
            prompt_tokens=sum(len(prompt.tokens) for prompt in given) + count(suffix),
        ),
    )


def prompts(given: Any, param: str) -> tuple[Prompt, ...]:
    """The texts or arrays of tokens that a legacy endpoint takes, one or several. RequestError for anything else."""
    several = given
    if isinstance(given, str) or (isinstance(given, list) and given and all(map(_is_token, given))):
        several = [given]
    if not isinstance(several, list) or not several:
        raise _invalid(param)
    return tuple(_prompt(one, param) for one in several)


def _prompt(given: Any, param: str) -> Prompt:
    if isinstance(given, str):
        return Prompt(given, tuple(cut(given)))
    if isinstance(given, list) and given and all(map(_is_token, given)):
        tokens = tuple(f"<|{number}|>" for number in given)
        return Prompt("".join(tokens), tokens)
    raise _invalid(param)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _invalid(param: str) -> RequestError:
    where = "https://platform.openai.com/docs/api-reference"
    return RequestError(400, f"'$.{param}' is invalid. Please check the API reference: {where}.")


def _check_model(model: str) -> None:
    """OpenAI's chat models are refused; those of others are let through."""
    if not traits(model).raw and "instruct" not in model and not model.startswith("ft:"):
        raise RequestError(
            404,
            "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use"
            " v1/chat/completions?",
            kind="not_found",
            param="model",
        )


def _check_best(best: int | None, each: int, *, stream: bool) -> None:
    if best is None:
        return
    if best < each:
        raise RequestError(
            400,
            "You requested that the server return more choices than it will generate (HINT: you must set 'n' (currently"
            f" {each}) to be at most 'best_of' (currently {best}), or omit either parameter if you don't specifically"
            " want to use them.)",
            param="best_of",
        )
    if stream and best > each:
        raise RequestError(400, "You can only stream with 'best_of' equal to 'n'.", param="stream")


def _include_usage(options: Mapping[str, Any] | None, *, stream: bool) -> bool:
    if options is None:
        return False
    if not stream:
        raise wrong_value(
            "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.", None
        )
    wanted = options.get("include_usage")
    if wanted is not None:
        boolean("stream_options.include_usage", wanted)
    return wanted is True

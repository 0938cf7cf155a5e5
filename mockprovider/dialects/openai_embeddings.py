"""OpenAI's embeddings, `POST /v1/embeddings`: made-up vectors in which near texts are near.

A vector is a sum of hashed features of the text: its words (in lower case), the groups of three characters in each of
them, pairs of neighbouring words, and, with little weight, the whole text; so equal texts have equal vectors, different
texts different ones, and texts that share words, or parts of words, are nearer to each other than those that share
none. Nothing is known of meaning. Each feature adds to a few coordinates that a hash of it chooses, some of them among
the first, so that vectors that are cut short by `dimensions` keep what they tell. All texts share a small part, as with
real models: no coordinate is zero, and unrelated texts are a little alike. Vectors have length 1. They depend on the
text, the model's number of dimensions and `dimensions` alone.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import log, sqrt
from struct import unpack_from
from typing import Any

from mockprovider.dialects.base import Document, Inquiry
from mockprovider.dialects.openai_checks import an_array, boolean, integer, one_of, string
from mockprovider.dialects.openai_completions_request import Prompt, prompts
from mockprovider.dialects.openai_errors import body_object, wrong_value
from mockprovider.dialects.openai_headers import error_headers
from mockprovider.dialects.openai_models import no_model
from mockprovider.dialects.openai_responses_models import traits
from mockprovider.errors import RequestError
from mockprovider.jsontext import dumps

__all__ = ["embeddings", "vector"]

_SIZES = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_SIZE = 1536
"""The dimensions of models that are not OpenAI's."""

_NAMES = {"text-embedding-ada-002": "text-embedding-ada-002-v2"}
"""What a response calls the model that was asked for, where that differs."""

_LONGEST = 8192
"""Tokens of one text."""

_MOST = 300_000
"""Tokens of a request."""


def embeddings(inquiry: Inquiry) -> Document:
    """The response to a request for embeddings. RequestError in OpenAI's wording."""
    document = {param: value for param, value in body_object(inquiry.body).items() if value is not None}
    model = document.get("model")
    if not model:
        raise RequestError(400, "you must provide a model parameter")
    string("model", model)
    if inquiry.models is not None and model not in inquiry.models:
        raise no_model(model)
    if model not in _SIZES and not traits(model).raw:
        raise RequestError(403, "You are not allowed to generate embeddings from this model")
    size = _size(document.get("dimensions"), model)
    for param, check in (("encoding_format", one_of("float", "base64")), ("user", string), ("store", boolean)):
        if param in document:
            check(param, document[param])
    texts = _texts(document.get("input"))
    tokens = sum(len(text.tokens) for text in texts)
    vectors = [vector(text.tokens, text.text, _SIZES.get(model, max(_SIZE, size)), size) for text in texts]
    written = _base64 if document.get("encoding_format") == "base64" else _floats
    body = _body(_NAMES.get(model, model), [written(one) for one in vectors], tokens)
    return Document(model, (*error_headers(inquiry.request_id, 200), ("openai-model", _NAMES.get(model, model))), body)


def _size(given: Any, model: str) -> int:
    """How many dimensions are asked for."""
    own = _SIZES.get(model)
    if given is None:
        return own or _SIZE
    integer(-(2**31), 2**31 - 1)("dimensions", given)
    if model == "text-embedding-ada-002":
        raise RequestError(400, "This model does not support specifying dimensions.")
    if given < 1:
        raise wrong_value("dimensions", f"{given} is less than the minimum of 1 - 'dimensions'", None)
    most = own or 4096
    if given > most:
        message = f"Invalid value for 'dimensions' = {given}. Must be less than or equal to {most}."
        raise wrong_value("dimensions", message, None)
    return int(given)


def _texts(given: Any) -> tuple[Prompt, ...]:
    texts = prompts(given, "input")
    an_array("strings", high=2048)("input", list(texts))
    for index, text in enumerate(texts):
        param = "input" if isinstance(given, str) else f"input[{index}]"
        if not text.tokens:
            raise wrong_value("input", f"Invalid '{param}': input cannot be an empty string.", None)
        if len(text.tokens) > _LONGEST:
            raise RequestError(
                400,
                f"This model's maximum context length is {_LONGEST} tokens, however you requested {len(text.tokens)}"
                f" tokens ({len(text.tokens)} in your prompt; 0 for the completion). Please reduce your prompt; or"
                " completion length.",
            )
    tokens = sum(len(text.tokens) for text in texts)
    if tokens > _MOST:
        limit = "max_tokens_per_request"
        raise RequestError(400, f"Requested {tokens} tokens, max {_MOST} tokens per request", kind=limit, code=limit)
    return texts


# ------------------------------------------------------------------------------------------------ the vectors

_SHARED = 0.3
"""The length of the part that all texts share, beside that of their features, which is 1."""


def vector(tokens: tuple[str, ...], text: str, size: int, kept: int) -> list[float]:
    """The vector of a text, of length 1. size: of the model's vectors; kept: how many coordinates are wanted."""
    words = [word for word in (token.strip().lower() for token in tokens) if word]
    made: dict[int, float] = {}  # few coordinates of many
    get = made.get
    for word, times in Counter(words).items():
        weight = 1 + log(times)
        for at, value in _word(word, size):
            made[at] = get(at, 0.0) + weight * value
    for pair in pairwise(words):
        for at, value in _feature(" ".join(pair), size, 4, 0.2):
            made[at] = get(at, 0.0) + value
    for at, value in _feature(f"\0{text}", size, 4, 0.05):
        made[at] = get(at, 0.0) + value
    shared, square = _shared(size, kept)
    own = {at: value for at, value in made.items() if at < kept}
    scale = 1 / (sqrt(sum(value * value for value in own.values())) or 1.0)
    # The length of the sum, from the lengths of both parts and what they have in common.
    common = sum(value * shared[at] for at, value in own.items()) * scale
    length = sqrt((1.0 if own else 0.0) + 2 * common + square) or 1.0
    mixed = [value / length for value in shared]
    for at, value in own.items():
        mixed[at] += value * scale / length
    return mixed


@lru_cache(maxsize=16384)
def _word(word: str, size: int) -> tuple[tuple[int, float], ...]:
    """What a word adds, and to which coordinates: itself, and the groups of three characters in it."""
    found = list(_feature(word, size, 8, 1.0))
    marked = f"<{word}>"
    for start in range(len(marked) - 2):
        found += _feature(f"\1{marked[start : start + 3]}", size, 4, 0.35)
    summed: Counter[int] = Counter()
    for at, value in found:
        summed[at] += value  # type: ignore[assignment]
    return tuple(summed.items())


def _feature(feature: str, size: int, places: int, weight: float) -> tuple[tuple[int, float], ...]:
    """The coordinates of a feature, at most eight, with values whose squares sum to the weight's."""
    digest = blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=4 * places).digest()
    value = weight / sqrt(places)
    found = []
    for place in range(places):
        (number,) = unpack_from("<I", digest, 4 * place)
        # Of every four, one is among the first 16, one among the first 128, one among the first 512.
        within = min(size, (16, 128, 512, size)[place % 4])
        found.append(((number >> 1) % within, value if number & 1 else -value))
    return tuple(found)


@lru_cache(maxsize=64)
def _shared(size: int, kept: int) -> tuple[tuple[float, ...], float]:
    """The part that all texts share, of which no coordinate is zero, and the square of its length."""
    drawn = []
    for block in range(0, size, 32):
        digest = blake2b(b"shared %d" % block, digest_size=64).digest()
        drawn += [(number - 32767.5) for number in unpack_from("<32H", digest)]
    drawn = drawn[:size]
    length = sqrt(sum(value * value for value in drawn))
    part = tuple(_SHARED * value / length for value in drawn[:kept])
    return part, sum(value * value for value in part)


# ------------------------------------------------------------------------------------------------ the document


def _singles(made: list[float]) -> array[float]:
    """The vector in single precision, which is what models have."""
    return array("f", made)


def _base64(made: list[float]) -> bytes:
    singles = _singles(made)
    if sys.byteorder == "big":
        singles.byteswap()
    return b'"%b"' % base64.b64encode(singles.tobytes())


def _floats(made: list[float]) -> bytes:
    # Nine digits are enough for every number of single precision; one format is several times as fast as many.
    singles = _singles(made)
    line = ",\n        "
    return (f"[\n        {line.join(['%.9g'] * len(singles))}\n      ]" % tuple(singles)).encode()


def _body(model: str, written: list[bytes], tokens: int) -> bytes:
    """The document, indented as OpenAI's is."""
    data = ",\n".join(
        f'    {{\n      "object": "embedding",\n      "index": {index},\n      "embedding": {one.decode()}\n    }}'
        for index, one in enumerate(written)
    )
    return (
        f'{{\n  "object": "list",\n  "data": [\n{data}\n  ],\n  "model": {dumps(model).decode()},\n'
        f'  "usage": {{\n    "prompt_tokens": {tokens},\n    "total_tokens": {tokens}\n  }}\n}}\n'
    ).encode("utf-8", "backslashreplace")

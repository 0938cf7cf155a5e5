"""OpenAI's embeddings: vectors that are equal for equal texts and near for near ones, in both encodings."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from mockprovider.dialects.base import Inquiry
from mockprovider.dialects.openai_embeddings import embeddings
from mockprovider.dialects.routing import Target
from mockprovider.errors import RequestError
from mockprovider.provider import MockProvider
from tests.asking import request as http

SMALL = "text-embedding-3-small"


def asked(given_input: Any, *, models: tuple[str, ...] | None = None, **fields: Any) -> bytes:
    """The body of the answer."""
    document = {"model": SMALL, "input": given_input, **fields}
    body = json.dumps({key: value for key, value in document.items() if value is not None}).encode()
    return embeddings(Inquiry(Target("/v1/embeddings"), body, {}, "req_1", models)).body


def vectors(given_input: Any, **fields: Any) -> list[list[float]]:
    """The vectors of the answer."""
    data = json.loads(asked(given_input, **fields))["data"]
    assert [one["index"] for one in data] == list(range(len(data)))
    return [one["embedding"] for one in data]


def cosine(one: list[float], other: list[float]) -> float:
    """How alike two vectors of length 1 are."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_response_has_openais_form() -> None:
    """The document is indented by two and ends with a line end; the SDK's type accepts it strictly, with no extra."""
    text = asked(["Hello there.", "Bye"]).decode()
    document = json.loads(text)
    assert text.splitlines()[:8] == [
        "{",
        '  "object": "list",',
        '  "data": [',
        "    {",
        '      "object": "embedding",',
        '      "index": 0,',
        '      "embedding": [',
        f"        {text.splitlines()[7].strip()}",
    ]
    assert text.endswith("\n}\n")
    assert list(document) == ["object", "data", "model", "usage"]
    assert document["model"] == SMALL
    assert document["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    checked = CreateEmbeddingResponse.model_validate(document, strict=True)
    assert not checked.model_extra
    assert not checked.data[0].model_extra


@pytest.mark.parametrize(
    ("model", "size"),
    [(SMALL, 1536), ("text-embedding-3-large", 3072), ("text-embedding-ada-002", 1536), ("nomic-embed-text", 1536)],
)
def test_models_have_their_dimensions(model: str, size: int) -> None:
    """Each model has its own number of dimensions; every vector has length 1 and no zeros."""
    (vector,) = vectors("Hello there.", model=model)
    assert len(vector) == size
    assert math.isclose(cosine(vector, vector), 1, abs_tol=1e-5)
    assert all(vector)


@pytest.mark.parametrize("size", [1, 2, 8, 256, 1536])
def test_dimensions_cut_vectors_short(size: int) -> None:
    """Fewer dimensions give as many coordinates, of length 1 again, and what is near stays near."""
    near, same, far = vectors(["The cat sat.", "The cat sat.", "Quarterly tax forms"], dimensions=size)
    assert len(near) == size
    assert math.isclose(cosine(near, near), 1, abs_tol=1e-5)
    assert near == same
    if size >= 8:
        assert cosine(near, far) < 0.95


def test_base64_is_the_same_in_single_precision() -> None:
    """Both encodings have the very same numbers of single precision."""
    (plain,) = vectors("Grüße, 世界 👩🏽‍🔬!")
    (encoded,) = vectors("Grüße, 世界 👩🏽‍🔬!", encoding_format="base64")
    data = base64.b64decode(str(encoded), validate=True)
    assert struct.pack(f"<{len(plain)}f", *plain) == data


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_equal_texts_are_equal_and_others_differ(one: str, other: str) -> None:
    """The vector depends on the text alone, not on what is beside it; different texts have different vectors."""
    first, second, again = vectors([one, other, one])
    assert first == again == vectors(one)[0]
    assert (first == second) == (one == other)


def test_near_texts_are_near() -> None:
    """Texts that share words are nearer than those that share parts of words, and those nearer than all others."""
    texts = [
        "How do I reset my password?",
        "how can I reset my password",
        "Passwords: resetting them",
        "The heron waits at the edge of the reeds.",
    ]
    query, *others = vectors(texts)
    near, kin, far = (cosine(query, other) for other in others)
    assert 0.95 > near > kin + 0.1
    assert kin > far + 0.1
    assert 0 < far < 0.4


def test_inputs_may_be_tokens() -> None:
    """One array of tokens is one text, several are several; equal tokens are equal."""
    assert len(vectors([15, 3])) == 1
    first, second, third = vectors([[15, 3], [3], [15, 3]])
    assert first == third != second
    assert json.loads(asked([[15, 3], [3]]))["usage"]["prompt_tokens"] == 3


def test_a_batch_is_quick_enough_to_be_asked_for_often(mock_provider: MockProvider) -> None:
    """A batch of 100 texts is answered over HTTP, one vector each, in order."""
    texts = [f"Text number {number} about herons and tides, and what the heron {number} saw." for number in range(100)]
    body = json.dumps({"model": SMALL, "input": texts, "encoding_format": "base64"})
    answer = http("POST", f"{mock_provider.url}/v1/embeddings", body)
    assert answer.status == 200
    assert answer.headers["openai-model"] == SMALL
    data = answer.json["data"]
    assert len({one["embedding"] for one in data}) == 100
    assert [exchange.dialect for exchange in mock_provider.exchanges] == ["openai-responses"]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": None}, 400, "you must provide a model parameter"),
        ({"model": "gpt-4o"}, 403, "You are not allowed to generate embeddings from this model"),
        ({"model": "other", "models": (SMALL,)}, 404, "The model `other` does not exist"),
        ({"input": None}, 400, "'$.input' is invalid. Please check the API reference"),
        ({"input": []}, 400, "'$.input' is invalid."),
        ({"input": ""}, 400, "Invalid 'input': input cannot be an empty string."),
        ({"input": ["a", ""]}, 400, "Invalid 'input[1]': input cannot be an empty string."),
        ({"input": ["a"] * 2049}, 400, "maximum length 2048, but got an array with length 2049 instead."),
        ({"input": "a " * 8193}, 400, "maximum context length is 8192 tokens, however you requested 81"),
        ({"input": ["a " * 8000] * 40}, 400, "max 300000 tokens per request"),
        ({"dimensions": 0}, 400, "0 is less than the minimum of 1 - 'dimensions'"),
        ({"dimensions": 1537}, 400, "Invalid value for 'dimensions' = 1537. Must be less than or equal to 1536."),
        ({"dimensions": "8"}, 400, "Invalid type for 'dimensions': expected an integer, but got a string instead."),
        ({"model": "text-embedding-ada-002", "dimensions": 8}, 400, "does not support specifying dimensions."),
        ({"encoding_format": "hex"}, 400, "Invalid value: 'hex'. Supported values are: 'float' and 'base64'."),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_in_openais_words(fields: dict[str, Any], status: int, message: str) -> None:
    """What OpenAI would refuse is refused with its status and wording."""
    with pytest.raises(RequestError) as caught:
        asked(fields.pop("input") if "input" in fields else "Hi", **fields)
    assert caught.value.status == status
    assert message in caught.value.message

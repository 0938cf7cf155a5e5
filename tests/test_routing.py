"""Which endpoint a request reaches: exact paths, patterns, headers that choose, and whose errors there are."""

from __future__ import annotations

from typing import Any

import pytest

from mockprovider.dialects import DIALECTS, TABLE
from mockprovider.dialects.base import Dialect
from mockprovider.dialects.routing import GET, Endpoint, Table, Target
from mockprovider.provider import MockProvider
from tests.asking import request

pytestmark = pytest.mark.mockprovider(seed=1)


class Some(Dialect):
    """A dialect of which nothing but its endpoints matters."""

    def __init__(self, name: str, *endpoints: Endpoint, below: tuple[str, ...] = ()) -> None:
        self.name = name
        self.endpoints = endpoints
        self.below = below


FIRST = Some(  # type: ignore[abstract]
    "first",
    Endpoint("/v1/chat"),
    Endpoint("/v1/models", GET, prompt=False),
    Endpoint("/v1/models/{model*}", GET, prompt=False),
)
SECOND = Some(  # type: ignore[abstract]
    "second",
    Endpoint("/v1/models/{model}:say"),
    Endpoint("/v1/models", GET, prompt=False, header="x-second"),
    Endpoint("/v1/models/{model}", GET, prompt=False, header="x-second"),
    Endpoint("/files/{name}", ("POST",), prompt=False),
    Endpoint("/files/{name}", ("DELETE",), prompt=False),
    below=("/v2/",),
)
MADE = Table((FIRST, SECOND))


@pytest.mark.parametrize(
    ("method", "path", "headers", "found"),
    [
        ("POST", "/v1/chat", {}, ("first", "/v1/chat", {})),
        ("GET", "/v1/models", {}, ("first", "/v1/models", {})),
        ("GET", "/v1/models", {"x-second": "1"}, ("second", "/v1/models", {})),
        ("GET", "/v1/models/a/b", {}, ("first", "/v1/models/{model*}", {"model": "a/b"})),
        ("GET", "/v1/models/a%2Fb%20c", {}, ("first", "/v1/models/{model*}", {"model": "a/b c"})),
        ("GET", "/v1/models/a", {"x-second": "1"},
         ("second", "/v1/models/{model}", {"model": "a"})),
        ("POST", "/v1/models/a:say", {"x-second": "1"}, ("second", "/v1/models/{model}:say", {"model": "a"})),
        ("POST", "/v1/models/m-1.5:say", {}, ("second", "/v1/models/{model}:say", {"model": "m-1.5"})),
        ("POST", "/v1/models/m%3asay", {}, ("second", "/v1/models/{model}:say", {"model": "m"})),
        ("POST", "/v1/models/a/b:say", {}, ("first", "/v1/models/{model*}", {"model": "a/b:say"})),
        ("DELETE", "/files/x", {}, ("second", "/files/{name}", {"name": "x"})),
        ("POST", "/v1/models/", {}, None),
        ("POST", "/v1/chat/", {}, None),
        ("POST", "/v1/chat/more", {}, None),
        ("POST", "/files/a/b", {}, None),
    ],
)  # fmt: skip
def test_the_endpoint_of_a_request(
    method: str, path: str, headers: dict[str, str], found: tuple[str, str, dict[str, str]] | None
) -> None:
    """An exact path comes before a pattern, more fixed text before less, and of like ones the one with a header."""
    match = MADE.find(method, path, headers)
    told = None if match is None else (match.dialect.name, match.endpoint.path, dict(match.params))
    assert told == found


def test_the_methods_of_a_path_are_known_together() -> None:
    """Where two endpoints share a path, both methods are allowed, and each method has its own."""
    post, delete, other = (MADE.find(method, "/files/x", {}) for method in ("POST", "DELETE", "PATCH"))
    assert post is not None
    assert delete is not None
    assert other is not None
    assert post.allowed == delete.allowed == other.allowed == ("POST", "DELETE")
    assert (post.endpoint.methods, delete.endpoint.methods) == (("POST",), ("DELETE",))


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v2/x", "second"), ("/v1/chat/x", "first"), ("/files/a/b", "first"), ("/", "first"), ("/v2", "first")],
)
def test_errors_of_unknown_paths_are_of_the_endpoint_above(path: str, name: str) -> None:
    """Below an endpoint, and below what a dialect claims, errors are the dialect's; elsewhere the first one's."""
    assert MADE.worded(path).name == name


def test_a_target_says_what_its_query_asks() -> None:
    """The last value of a name counts, an empty one too; a target with parameters is a request of its own."""
    target = Target("/a/b", "alt=json&alt=sse&key=&x=%20", {"name": "b"}, "/a/{name}")
    assert [target.asked(name) for name in ("alt", "key", "x", "none")] == ["sse", "", " ", None]
    assert (target.identity, Target("/a/b", "x=1").identity) == (b"/a/b", b"")


def test_no_two_dialects_share_an_endpoint() -> None:
    """Every endpoint is one dialect's, unless a header tells whose it is."""
    seen: set[tuple[Any, ...]] = set()
    for dialect in DIALECTS:
        for endpoint in dialect.endpoints:
            for method in endpoint.methods:
                key = (method, endpoint.path, endpoint.header)
                assert key not in seen, key
                seen.add(key)


def test_the_commonest_paths_are_found_at_once() -> None:
    """What prompts are sent to needs one look, so that the hot path has no pattern in it."""
    for path in ("/v1/chat/completions", "/v1/messages", "/api/chat", "/api/generate"):
        assert TABLE.find("POST", path, {}) is TABLE.find("POST", path, {})


def test_every_sample_reaches_its_dialect() -> None:
    """The small request that each dialect shows is one for it, streamed and whole."""
    for dialect in DIALECTS:
        for stream in (True, False):
            url, headers, body = dialect.sample("Hello", stream=stream)
            path, _, query = url.partition("?")
            match = TABLE.find("POST", path, headers)
            assert match is not None
            assert match.dialect is dialect
            ask = dialect.parse(body, headers, TABLE.target(path, query, match))
            assert (ask.stream, ask.messages[-1][1]) == (stream, "Hello")


def test_the_same_body_at_another_model_is_another_request(mock_provider: MockProvider) -> None:
    """Where the URL names the model, attempts are counted for each model, and each gets its own text and bytes."""
    body = b'{"contents":[{"parts":[{"text":"Hello"}]}]}'
    url = mock_provider.url + "/with/status(code=503,attempt=1)/v1beta/models/{}:generateContent"
    assert [request("POST", url.format(name), body).status for name in ("a", "b", "a", "b")] == [503, 503, 200, 200]
    url = mock_provider.url + "/v1beta/models/{}"
    answers = [
        request("POST", url.format(name), body).body
        for name in (
            "a:generateContent", "b:generateContent", "a:streamGenerateContent", "a:streamGenerateContent?alt=sse"
        )
    ]  # fmt: skip
    assert len(set(answers)) == 4
    assert answers[2].startswith(b"[{")
    assert answers[3].startswith(b"data: ")
    again = request("POST", url.format("a:streamGenerateContent?alt=sse"), body).body
    assert again.startswith(b"data: ")


def test_keys_in_queries_stay_out_of_the_journal(mock_provider: MockProvider) -> None:
    """A key that Google's API takes in the query is shown as its length, wherever it stands; all else is shown."""
    url = mock_provider.url + "/v1beta/models?pageSize=5&key=AIzaSecret&monkey=1"
    assert request("GET", url).status == 200
    assert mock_provider.exchanges[0].describe()["query"] == "pageSize=5&key=<10 characters>&monkey=1"

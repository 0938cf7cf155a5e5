"""What is refused, and how: OpenAI's status, shape and wording, for every field; and that nothing breaks the server."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mockprovider.dialects.openai_chat_request import FIELDS
from mockprovider.errors import RequestError
from mockprovider.provider import MockProvider
from tests.chatting import DIALECT, chunks, request

LOOK: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def refused(document: Any) -> RequestError:
    """The refusal of a document, or of a body."""
    with pytest.raises(RequestError) as raised:
        DIALECT.parse(document if isinstance(document, bytes) else json.dumps(document).encode(), {})
    assert raised.value.status == 400
    assert raised.value.kind == "invalid_request"
    return raised.value


# ---------------------------------------------------------------------------------------------------- wordings

_REFUSALS = (Path(__file__).parent / "refusals.txt").read_text("utf-8")
TABLE = [block.splitlines() for block in _REFUSALS.split("\n\n")[1:]]


@pytest.mark.parametrize(("sent", "names", "message"), TABLE, ids=[message[:60] for _, _, message in TABLE])
def test_refusals(sent: str, names: str, message: str) -> None:
    """What OpenAI refuses is refused with its parameter, code and message."""
    document = {name: value for name, value in request(**json.loads(sent)).items() if value != "absent"}
    error = refused(document)
    assert (error.param or "-", error.code or "-", error.message) == (*names.split(" "), message)


def test_too_many_tools() -> None:
    """There may be 128 tools, and no more."""
    error = refused(request(tools=[LOOK] * 129))
    assert error.code == "array_above_max_length"
    assert error.message.startswith("Invalid 'tools': array too long. Expected an array with maximum length 128, but")


VALUES: dict[str, Any] = {
    "null": None,
    "a boolean": True,
    "an integer": 1,
    "a decimal number": 0.5,
    "a string": "text",
    "an array": [],
    "an object": {},
}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_says_what_it_expects(field: str) -> None:
    """A value of a wrong type is refused with the field, what was expected and what came; null counts as absent."""
    errors: dict[str, RequestError] = {}
    for described, value in VALUES.items():
        try:
            DIALECT.parse(json.dumps({**request(), "stream": True, field: value}).encode(), {})
        except RequestError as error:
            errors[described] = error
    assert ("null" in errors) == (field in ("model", "messages"))
    wrong = {described: refusal for described, refusal in errors.items() if refusal.code == "invalid_type"}
    assert len(wrong) >= 4
    for described, refusal in wrong.items():
        assert refusal.param == field
        assert refusal.message.startswith(f"Invalid type for '{field}': expected ")
        assert refusal.message.endswith(f", but got {described} instead.")


def test_what_openai_does_not_know_is_let_through() -> None:
    """Fields of relays and compatible servers do no harm, nor does a content that is null or absent."""
    DIALECT.parse(json.dumps(request(top_k=5, reasoning={"effort": "low"}, extra_body={})).encode(), {})
    messages = [{"role": "user"}, {"role": "assistant", "content": None}, {"role": "user", "content": "Hi"}]
    asked = DIALECT.parse(json.dumps(request(messages=messages)).encode(), {})
    assert asked.messages == (("user", ""), ("assistant", ""), ("user", "Hi"))


def test_messages_are_read() -> None:
    """Roles and texts are taken from every form of a message; images, audio and files are let in and count for none."""
    messages = [
        {"role": "developer", "content": "Be brief.", "name": "dev"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What "},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
                {"type": "file", "file": {"file_id": "f"}},
                {"type": "text", "text": "is this?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {
            "role": "assistant",
            "tool_calls": [CALL, {"id": "c", "type": "custom", "custom": {"name": "s", "input": ""}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "42"}]},
        {"role": "function", "name": "old", "content": "43"},
    ]
    asked = DIALECT.parse(json.dumps(request(messages=messages)).encode(), {})
    assert asked.messages == (
        ("developer", "Be brief."),
        ("user", "What is this?"),
        ("assistant", "No."),
        ("assistant", ""),
        ("tool", "42"),
        ("function", "43"),
    )
    assert asked.answers_tool


def test_the_rest_of_a_request_is_read() -> None:
    """What a request asks for is asked, in no provider's words."""
    asked = DIALECT.parse(
        json.dumps(
            request(
                stream=True, n=2, max_completion_tokens=9, stop=["a", "", "b"], tools=[LOOK], tool_choice="required"
            )
        ).encode(),
        {},
    )
    assert (asked.model, asked.stream, asked.choices, asked.max_tokens, asked.stop) == (
        "gpt-4o",
        True,
        2,
        9,
        ("a", "b"),
    )
    assert [(t.name, t.parameters, t.custom) for t in asked.tools] == [("look", {"type": "object"}, False)]
    assert asked.must_call == ("look",)
    assert asked.schema is None
    assert DIALECT.parse(json.dumps(request(stop="x", max_tokens=3)).encode(), {}).stop == ("x",)
    assert DIALECT.parse(json.dumps(request(response_format={"type": "json_object"})).encode(), {}).schema == {}


BAD_JSON = (
    b"",
    b"{",
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b"\xff\xfe",
    b'{"a": "\xff"}',
    b"[" * 100_000,
    b"1" * 9_999,
)


@pytest.mark.parametrize("body", BAD_JSON, ids=[repr(body[:12]) for body in BAD_JSON])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """A body that cannot be parsed is refused as such; Python's NaN is no JSON, and nesting has its limit."""
    error = refused(body)
    assert error.message.startswith("We could not parse the JSON body of your request.")
    assert (error.param, error.code) == (None, None)


@pytest.mark.parametrize(
    ("body", "got"), [(b"[]", "an array"), (b"null", "null"), (b'"x"', "a string"), (b"1", "an integer")]
)
def test_a_body_is_an_object(body: bytes, got: str) -> None:
    """JSON that is no object is refused with what it is."""
    assert refused(body).message == f"Invalid type: expected an object, but got {got} instead."


# ---------------------------------------------------------------------------------------------------- on the wire


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    """A server with all the restrictions that lead to errors."""
    with MockProvider(seed=1, models=("gpt-4o",), api_keys=("sk-right",), body_limit=100_000) as running:
        yield running


def send(provider: MockProvider, method: str, path: str, **how: Any) -> httpx.Response:
    """One request with the right key, unless `headers` say otherwise."""
    headers = {"Authorization": "Bearer sk-right", **how.pop("headers", {})}
    return httpx.request(method, provider.url + path, headers=headers, trust_env=False, **how)


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response, which must have OpenAI's shape, layout and headers."""
    assert response.status_code == status
    gateway = "; charset=utf-8" if status in (403, 404) else ""
    assert response.headers["content-type"] == "application/json" + gateway
    assert response.headers["x-request-id"].startswith("req_")
    document = response.json()
    assert list(document) == ["error"]
    assert list(document["error"]) == ["message", "type", "param", "code"]
    assert document["error"]["type"] == "invalid_request_error"
    indent = 4 if status in (401, 403, 404) else 2
    written = json.dumps(document, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")
    assert response.content.rstrip(b"\n") == written
    error: dict[str, Any] = document["error"]
    return error


CHAT = "/v1/chat/completions"


def test_a_wrong_key(provider: MockProvider) -> None:
    """A missing or wrong key is 401, and the wrong key is not repeated in full."""
    assert error_of(send(provider, "POST", CHAT, json=request(), headers={"Authorization": ""}), 401)["code"] is None
    error = error_of(
        send(provider, "POST", CHAT, json=request(), headers={"Authorization": "Bearer sk-wrong-key"}), 401
    )
    assert error["code"] == "invalid_api_key"
    assert "sk-wrong-key" not in error["message"]


def test_an_unknown_model(provider: MockProvider) -> None:
    """A model that is not served is 404, for a reply and in the list."""
    error = error_of(send(provider, "POST", CHAT, json=request(model="gpt-3")), 404)
    assert error["message"] == "The model `gpt-3` does not exist or you do not have access to it."
    assert (error["param"], error["code"]) == (None, "model_not_found")
    error = error_of(send(provider, "GET", "/v1/models/gpt-3"), 404)
    assert (error["message"], error["param"]) == ("The model 'gpt-3' does not exist", "model")


def test_too_large_a_body(provider: MockProvider) -> None:
    """A body beyond the limit is 413."""
    large = request(messages=[{"role": "user", "content": "x" * 200_000}])
    assert error_of(send(provider, "POST", CHAT, json=large), 413)["code"] == "request_too_large"


def test_an_unknown_path(provider: MockProvider) -> None:
    """A path that there is not is 404, with a hint where `/v1` is missing."""
    assert error_of(send(provider, "POST", "/v1/nothing"), 404)["message"] == "Invalid URL (POST /v1/nothing)"
    assert "did you mean /v1/chat/completions?" in error_of(send(provider, "POST", "/chat/completions"), 404)["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method(provider: MockProvider, method: str) -> None:
    """A method that a path does not have is 405, and `allow` says which it has."""
    response = send(provider, method, CHAT)
    assert error_of(response, 405)["code"] == "method_not_supported"
    assert response.headers["allow"] == "POST"


def test_a_refused_request(provider: MockProvider) -> None:
    """A refusal of a field reaches the client as it was worded."""
    error = error_of(send(provider, "POST", CHAT, json=request(n="two")), 400)
    assert error == {
        "message": "Invalid type for 'n': expected an integer, but got a string instead.",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_type",
    }
    surrogate = b'{"model": "gpt-4o", "messages": [{"role": "\\ud800"}]}'
    error = error_of(
        httpx.post(provider.url + CHAT, content=surrogate, headers={"Authorization": "Bearer sk-right"}), 400
    )
    assert error["message"].startswith("Invalid value: '\ud800'.")


def test_a_schema_that_cannot_be_satisfied(provider: MockProvider) -> None:
    """A schema that is not checked beforehand, and has no instance, is a refusal of the request too."""
    impossible = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}},
        "required": ["a"],
    }
    body = request(
        tools=[{"type": "function", "function": {"name": "f", "parameters": impossible}}], tool_choice="required"
    )
    error = error_of(send(provider, "POST", CHAT, json=body), 400)
    assert (error["param"], error["code"]) == ("tools[0].function.parameters", "invalid_function_parameters")
    body = request(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": impossible}})
    assert error_of(send(provider, "POST", CHAT, json=body), 400)["param"] == "response_format"


# ---------------------------------------------------------------------------------------------------- anything at all

GOOD: list[dict[str, Any]] = [
    request(),
    request(stream=True, n=2, stream_options={"include_usage": True}, max_tokens=4, stop=["a"], service_tier="flex"),
    request(logprobs=True, top_logprobs=2, temperature=0.5, stream=True, metadata={"k": "v"}, max_completion_tokens=3),
    request(tools=[LOOK], tool_choice="required", parallel_tool_calls=True),
    request(tools=[LOOK], tool_choice={"type": "function", "function": {"name": "look"}}, stream=True),
    request(
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "json"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
            },
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        ]
    ),
    request(response_format={"type": "json_object"}),
    request(
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "x",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"a": {"$ref": "#/$defs/b"}},
                    "required": ["a"],
                    "additionalProperties": False,
                    "$defs": {"b": {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["x"]}]}},
                },
            },
        }
    ),
]


def deep(key: str) -> Any:
    """A value that is nested nearly as deeply as JSON's reader goes."""
    value: Any = {}
    for _ in range(400):
        value = {key: [value] if key in ("anyOf", "content") else value}
    return value


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, -(10**400), 2**31, 2**63, 1e308, -0.0, 1e-320, float("nan"), float("inf")]),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=5),
    st.sampled_from(
        ["object", "array", "#", "#/$defs/b", "required", "function", "x" * 9_000, "\ud800", "\0", "gpt-4o"]
    ),
    st.builds(deep, st.sampled_from(["items", "anyOf", "properties", "content", "a"])),
)
JSON = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["type", "function", "name", "parameters", "properties", "items", "anyOf", "$ref", "a", "\ud800"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything in a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in inner:
        yield from places(member, (*path, key))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A good request in which some things are replaced, removed, repeated or added."""
    document: Any = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        if not path:
            document = draw(JSON) if draw(st.integers(0, 9)) == 0 else document
            continue
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "wrap", "repeat", "add"]))
        if change == "replace":
            holder[path[-1]] = draw(JSON)
        elif change == "remove":
            del holder[path[-1]]
        elif change == "wrap":
            holder[path[-1]] = draw(st.sampled_from([[holder[path[-1]]], {"type": holder[path[-1]]}, json.dumps("x")]))
        elif isinstance(holder, list):
            holder.extend([holder[path[-1]]] * 3)
        else:
            holder[draw(st.text(max_size=3)) if change == "add" else path[-1]] = [holder[path[-1]]] * 2
    return document


@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
@given(mutated(), st.booleans())
def test_no_request_breaks_the_server(open_provider: MockProvider, document: Any, escaped: bool) -> None:
    """Any JSON is answered, on a connection that lives on, with a reply or with a refusal in OpenAI's shape."""
    connection = http.client.HTTPConnection(open_provider.url.removeprefix("http://"), timeout=20)
    try:
        body = json.dumps(document, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
        connection.request("POST", CHAT, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        assert not response.will_close
        if response.status == 200:
            assert chunks(data) if document.get("stream") else json.loads(data)["choices"]
        else:
            assert 400 <= response.status < 500, data
            error = json.loads(data)["error"]
            assert list(error) == ["message", "type", "param", "code"]
            assert error["type"] == "invalid_request_error"
            assert isinstance(error["message"], str)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def open_provider() -> Iterator[MockProvider]:
    """A server without restrictions; what it logs as an error, or notes as one of its own, fails the test."""
    logged: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(self.format(record))

    handler = Listening(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("mockprovider", "aiohttp", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with MockProvider(seed=2) as running:
            yield running
            running.check()
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert not logged, "\n".join(logged)

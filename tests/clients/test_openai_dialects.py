"""The openai package as a witness of Responses, legacy completions and embeddings: it accepts all that is sent."""

from __future__ import annotations

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
import pytest
from pydantic import BaseModel

from mockprovider import MockProvider, Reasoning, Refusal, ToolCall
from mockprovider.cases import cases
from tests.clients.programs import node

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS: list[Any] = [
    {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"up": {"type": "string"}}}},
    {"type": "custom", "name": "shell"},
]
SAID: tuple[Any, ...] = (
    Reasoning("Let me see."),
    "Hello there. ",
    ToolCall("look", {"up": "é"}),
    ToolCall("shell", "ls"),
)
ASKED: dict[str, Any] = {"model": "gpt-5.5", "input": "Say it.", "tools": TOOLS}


class Weather(BaseModel):
    """What is parsed."""

    city: str
    celsius: float


@pytest.fixture
def client(mock_provider: MockProvider) -> Iterator[openai.OpenAI]:
    """The synchronous client for the provider."""
    with openai.OpenAI(base_url=mock_provider.openai_url, api_key="sk-any", max_retries=0, timeout=20) as made:
        yield made


# ---------------------------------------------------------------------------------------------- Responses


def said_by(response: Any) -> list[Any]:
    """What a response says, item by item."""
    told = []
    for item in response.output:
        if item.type == "reasoning":
            told.append("".join(part.text for part in item.summary))
        elif item.type == "message":
            told.append("".join(part.text for part in item.content))
        else:
            told.append(item.arguments if item.type == "function_call" else item.input)
    return told


WANTED = ["Let me see.", "Hello there. ", '{"up":"é"}', "ls"]


def test_create_reads_a_whole_response(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """`responses.create` gives every item, the usage and the request's id."""
    mock_provider.on().reply(*SAID)
    response = client.responses.create(**ASKED)
    assert said_by(response) == WANTED
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 4
    assert re.fullmatch("req_[0-9a-f]{32}", str(response._request_id))


def test_create_reads_a_stream(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """`responses.create(stream=True)` yields every event as its own type, numbered in order."""
    mock_provider.on().reply(*SAID)
    found = list(client.responses.create(**ASKED, stream=True))
    assert [event.sequence_number for event in found] == list(range(len(found)))
    assert "".join(event.delta for event in found if event.type == "response.output_text.delta") == "Hello there. "
    kinds = {event.type: type(event).__name__ for event in found}
    for kind, name in kinds.items():
        words = kind.removeprefix("response.").replace("output_text", "text").replace(".", "_").split("_")
        assert name == "Response" + "".join(word.capitalize() for word in words) + "Event"
    last = found[-1]
    assert last.type == "response.completed"
    assert said_by(last.response) == WANTED


def test_the_helper_puts_everything_together(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """`responses.stream` accumulates text and arguments to just what the finished response says."""
    mock_provider.on().reply(*SAID)
    snapshots: dict[str, str] = {}
    with client.responses.stream(**ASKED) as stream:
        for event in stream:
            if event.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
                snapshots[event.type] = event.snapshot
        response = stream.get_final_response()
    assert said_by(response) == WANTED
    assert snapshots == {
        "response.output_text.delta": "Hello there. ",
        "response.function_call_arguments.delta": '{"up":"é"}',
    }


def test_parse_reads_structured_output(client: openai.OpenAI) -> None:
    """`responses.parse` and the helper get an instance of the model, made up from its schema."""
    parsed = client.responses.parse(model="gpt-4o", input="Weather?", text_format=Weather)
    assert isinstance(parsed.output_parsed, Weather)
    with client.responses.stream(model="gpt-4o", input="Weather?", text_format=Weather) as stream:
        stream.until_done()
        assert isinstance(stream.get_final_response().output_parsed, Weather)


def test_tool_loops_end(client: openai.OpenAI) -> None:
    """A required tool is called; its output, with the response's items or with its id, is answered with text."""
    response = client.responses.create(**{**ASKED, "tools": TOOLS[:1]}, tool_choice="required")
    (call,) = response.output
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "far"}
    history: Any = [{"role": "user", "content": "Say it."}, *(item.to_dict() for item in response.output), output]
    again = client.responses.create(model="gpt-5.5", input=history, tools=TOOLS, tool_choice="required")
    assert again.output_text
    chained = client.responses.create(model="gpt-5.5", input=[output], previous_response_id=response.id, tools=TOOLS)
    assert chained.output_text
    assert chained.previous_response_id == response.id


@pytest.mark.parametrize(("finish", "status"), [("length", "incomplete"), ("failed", "failed"), ("stop", "completed")])
def test_every_end_is_told(finish: str, status: str, client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """A cut, a failed and a complete response have their last event and their status."""
    from mockprovider import Reply

    mock_provider.on().reply(Reply.of("So ", Refusal("no."), finish=finish))
    *_, last = client.responses.create(**ASKED, stream=True)
    assert last.type == f"response.{status}"
    response = client.responses.create(**ASKED)
    assert response.status == status
    if status != "failed":
        assert response.output_text == "So "


async def test_the_asynchronous_client_reads_the_same(mock_provider: MockProvider) -> None:
    """AsyncOpenAI reads whole responses, streams, completions and embeddings."""
    mock_provider.on(model="gpt-5.5").reply(*SAID)
    mock_provider.on().reply("Once")
    async with openai.AsyncOpenAI(base_url=mock_provider.openai_url, api_key="sk-any", max_retries=0) as client:
        assert said_by(await client.responses.create(**ASKED)) == WANTED
        async with client.responses.stream(**ASKED) as stream:
            assert said_by(await stream.get_final_response()) == WANTED
        texts = [
            chunk.choices[0].text
            async for chunk in await client.completions.create(model="davinci-002", prompt="x", stream=True)
        ]
        assert "".join(texts) == "Once"
        made = await client.embeddings.create(model="text-embedding-3-small", input="x")
        assert len(made.data[0].embedding) == 1536


def test_bad_requests_raise(client: openai.OpenAI) -> None:
    """What OpenAI refuses raises the SDK's own exception, with the parameter and the code."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-5.5", input="Hi", extra_body={"nonsense": 1})
    assert (caught.value.param, caught.value.code) == ("nonsense", "unknown_parameter")
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="gpt-4o", prompt="x")
    with pytest.raises(openai.PermissionDeniedError):
        client.embeddings.create(model="gpt-4o", input="x")
    with pytest.raises(openai.APIStatusError) as refused:
        client.responses.retrieve("resp_1")
    assert refused.value.status_code == 404


# ---------------------------------------------------------------------------------------------- the other endpoints


def test_completions_are_read(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """`completions.create` reads whole and streamed completions with log probabilities, echo and usage."""
    mock_provider.on().reply(" upon a time.")
    asked: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "prompt": ["Once", "Twice"], "echo": True}
    whole = client.completions.create(**asked, logprobs=2)
    assert [choice.text for choice in whole.choices] == ["Once upon a time.", "Twice upon a time."]
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.tokens == ["Once", " upon", " a", " time", "."]
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    texts = ["".join(c.text for chunk in chunks for c in chunk.choices if c.index == index) for index in (0, 1)]
    assert texts == ["Once upon a time.", "Twice upon a time."]
    assert chunks[-1].usage == whole.usage


def test_embeddings_are_read(client: openai.OpenAI) -> None:
    """`embeddings.create` decodes its own base64 to the numbers that are told as floats."""
    asked: dict[str, Any] = {"model": "text-embedding-3-large", "input": ["Hello", "there"], "dimensions": 256}
    decoded = client.embeddings.create(**asked)
    plain = client.embeddings.create(**asked, encoding_format="float")
    assert [len(one.embedding) for one in decoded.data] == [256, 256]
    for one, other in zip(decoded.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
    assert decoded.usage.prompt_tokens == 2


def test_node_reads_responses_and_embeddings(mock_provider: MockProvider) -> None:
    """The openai package for Node reads whole responses, events, its helper's response, and embeddings."""
    mock_provider.on().reply(Reasoning("Hm."), "Hello there.")
    told = json.loads(node("openai-responses.mjs", mock_provider.openai_url, stream=True, packages=True))
    assert (told["whole"], told["deltas"], told["size"]) == ("Hello there.", "Hello there.", 1536)
    assert told["final"] == ["reasoning", "message"]
    assert (told["events"][0], told["events"][-1]) == ("response.created", "response.completed")


# ---------------------------------------------------------------------------------------------- the catalogue

REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "gpt-5.5", "input": "Hello"},
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello", "max_tokens": 999},
}
PATIENCE_S = 1.5
"""For the end of a response that may never come."""


def answered(url: str, path: str, body: bytes) -> bytes:
    """What comes within the patience, or until the connection ends or the response is whole."""
    parts = urlsplit(url)
    deadline, data = time.monotonic() + PATIENCE_S, b""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as connection:
        connection.sendall(head.encode() + body)
        while (left := deadline - time.monotonic()) > 0 and len(data) < 1_000_000:
            connection.settimeout(left)
            try:
                read = connection.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            if not read:
                break
            data += read
    return data


@pytest.mark.parametrize("path", REQUESTS)
def test_every_case_works_or_is_refused_with_a_reason(path: str) -> None:
    """Each case that there is gets a response of its own making, or a 400 that says why not; none breaks the server."""
    available = [case for case in cases().values() if case.available and case.listener is None]
    with MockProvider(seed=1) as provider:

        def ask(case: Any) -> bytes:
            body = {**REQUESTS[path], "stream": "non-streaming" not in case.needs}
            return answered(provider.url, f"/with/{case.name}{path}", json.dumps(body).encode())

        with ThreadPoolExecutor(12) as pool:
            got = list(zip(available, pool.map(ask, available), strict=True))
        assert [one.error for one in provider.exchanges if one.status == 200 and one.error] == []
    assert [case.name for case, data in got if b"mockprovider_error" in data] == []
    for case, data in got:
        assert (b"is a case of the dialect" in data) == (case.dialect != "any"), case.name
    refused = {case.name for case, data in got if case.dialect == "any" and b"fault_not_applicable" in data}
    assert refused == REFUSED[path]
    assert sum(b"data: " in data and b" 200 OK\r\n" in data for _, data in got) > 60


REFUSED: dict[str, set[str]] = {
    "/v1/responses": {"sse-data-after-done"},
    "/v1/completions": {"think-gap-false-positive"},
}
"""The cases of any dialect that these cannot say: Responses have no `[DONE]`, completions no tool calls."""


# ---------------------------------------------------------------------------------------------- faults


def events_of(client: openai.OpenAI, mock_provider: MockProvider, faults: str) -> list[Any]:
    """The events of a stream with these faults, as the SDK reads them."""
    mock_provider.on().reply("One two three four five.", faults=faults)
    return list(client.responses.create(**ASKED, stream=True))


def test_an_error_in_mid_stream_fails_the_response(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """`error-payload` says the error and then the failed response, numbered on; the SDK raises the error."""
    mock_provider.on().reply("One two three four five.", faults='error-payload(after=2,message="Boom.")')
    heard: list[Any] = []
    with pytest.raises(openai.APIError, match="Boom"):
        heard.extend(client.responses.create(**ASKED, stream=True))
    [exchange] = mock_provider.wait_for(1)
    events = re.findall(rb"event: (\S+)\ndata: (\{.*\})\n", b"".join(exchange.sent.data))
    found = [json.loads(data) for _, data in events]
    assert [name.decode() for name, _ in events] == [one["type"] for one in found]
    *before, error, failed = found
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    assert error["error"] == {"type": "server_error", "code": None, "message": "Boom.", "param": None}
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": None, "message": "Boom."}
    assert [one["delta"] for one in before if "delta" in one] == ["One", " two"]


@pytest.mark.parametrize(
    ("faults", "kinds"),
    [
        ("drop-payloads(at=text)", "response.output_text.delta"),
        ("drop-payloads(at=finish)", "response.completed"),
        ("drop-payloads(at=role)", "response.created"),
    ],
)
def test_faults_know_the_kinds_of_events(
    faults: str, kinds: str, client: openai.OpenAI, mock_provider: MockProvider
) -> None:
    """What is dropped by its kind is gone, and nothing else is."""
    found = {event.type for event in events_of(client, mock_provider, faults)}
    mock_provider.reset()
    whole = {event.type for event in events_of(client, mock_provider, "noop")}
    assert whole - found == {kinds}


def test_faults_change_fields_by_path(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """A path leads into an event, and templates know the text so far and its tokens; event names follow the type."""
    found = events_of(
        client, mock_provider, 'set(path=delta,value="$old!",at=text:2)+set(path=text,value="$text/$tokens",at=close:1)'
    )
    deltas = [event.delta for event in found if event.type == "response.output_text.delta"]
    assert deltas == ["One", " two!", " three", " four", " five", "."]
    (done,) = [event for event in found if event.type == "response.output_text.done"]
    assert done.text == "One two! three four five./6"


def test_faults_know_the_text_of_completions(client: openai.OpenAI, mock_provider: MockProvider) -> None:
    """In legacy completions texts and finishes are found where they stand there."""
    mock_provider.on().reply(
        "One two.", faults='set(path="choices[0].text",value="$n",at=text)+drop-payloads(at=finish)'
    )
    asked: Any = {"model": "davinci-002", "prompt": "x", "stream": True}
    found = [chunk.choices[0] for chunk in client.completions.create(**asked)]
    assert [(choice.text, choice.finish_reason) for choice in found] == [(1, None), (2, None), (3, None)]

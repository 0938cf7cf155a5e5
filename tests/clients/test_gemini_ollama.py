"""google-genai and ollama, synchronous and not: what their users get, and that their types know every field."""

from __future__ import annotations

import asyncio
import contextlib
import json
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import ollama
import pytest
from pydantic import BaseModel, ConfigDict, create_model

from mockprovider.cases import cases, recipe
from mockprovider.faults.grammar import to_segment
from mockprovider.provider import MockProvider
from mockprovider.reply import Reasoning, Refusal, Reply, ToolCall

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the package itself does when it is imported is its own affair
    from google import genai
    from google.genai import errors, types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.mockprovider(seed=1)

TEXT = "Grüße, 世界 👩🏽‍🔬! This is a text of rather more than twelve tokens, so it comes in several chunks.\n"
CALLS = (ToolCall("look", {"up": "é"}), ToolCall("go", {}))
SCRIPT = (Reasoning("Let me see, it may be this or that. "), TEXT, *CALLS)
SAID = ("Let me see, it may be this or that. ", TEXT, [("look", {"up": "é"}), ("go", {})])
Said = tuple[str, str, list[tuple[str, Any]]]

# ------------------------------------------------------------------------------------------------ google-genai


def google(provider: MockProvider, **options: Any) -> genai.Client:
    """A client as its documentation makes one, for another host."""
    options.setdefault("retry_options", types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key="AIza", http_options=types.HttpOptions(base_url=provider.gemini_url, **options))


def of_google(replies: Iterable[types.GenerateContentResponse]) -> Said:
    """Thoughts, text and calls of all replies or chunks."""
    thought, text, calls = "", "", []
    for reply in replies:
        for part in (reply.candidates or [types.Candidate()])[0].content.parts or []:  # type: ignore[union-attr]
            if part.function_call is not None:
                calls.append((str(part.function_call.name), part.function_call.args))
            elif part.thought:
                thought += part.text or ""
            else:
                text += part.text or ""
    return thought, text, calls


CONFIG = types.GenerateContentConfig(
    system_instruction="Be brief.",
    max_output_tokens=500,
    temperature=0.5,
    stop_sequences=["never"],
    thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=100),
    tools=[types.Tool(function_declarations=[types.FunctionDeclaration(name="look", parameters=types.Schema(
        type=types.Type.OBJECT, properties={"up": types.Schema(type=types.Type.STRING)}, required=["up"]))])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # what the SDK itself does
@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-pro-preview"])
def test_google_genai_gets_the_reply(mock_provider: MockProvider, model: str) -> None:
    """Whole and streamed, synchronous and not, the SDK has thoughts, text and calls as scripted, and the usage."""
    mock_provider.on().reply(*SCRIPT)

    async def asynchronous() -> tuple[Said, Said]:
        async with google(mock_provider).aio as client:
            whole = await client.models.generate_content(model=model, contents="Hi", config=CONFIG)
            stream = await client.models.generate_content_stream(model=model, contents="Hi", config=CONFIG)
            return of_google([whole]), of_google([chunk async for chunk in stream])

    with google(mock_provider) as client:
        whole = client.models.generate_content(model=model, contents="Hi", config=CONFIG)
        chunks = list(client.models.generate_content_stream(model=model, contents="Hi", config=CONFIG))
    assert of_google([whole]) == of_google(chunks) == SAID
    assert asyncio.run(asynchronous()) == (SAID, SAID)
    for last in (whole, chunks[-1]):
        assert last.candidates is not None
        assert last.candidates[0].finish_reason is types.FinishReason.STOP
        assert last.usage_metadata is not None
        assert last.usage_metadata.thoughts_token_count == 12
        assert last.model_version == model


def test_google_genai_goes_on_with_results(mock_provider: MockProvider) -> None:
    """A chat with functions that the SDK calls by itself ends with the text that follows their results."""

    def look(up: str) -> str:
        """Look something up."""
        return f"found {up}"

    mock_provider.on(tool_result=True).reply("Found it.")
    mock_provider.on().reply(CALLS[0])
    with google(mock_provider) as client:
        chat = client.chats.create(model="gemini-2.5-flash", config=types.GenerateContentConfig(tools=[look]))
        assert chat.send_message("Look.").text == "Found it."
    ask = mock_provider.exchanges[-1].ask
    assert ask is not None
    assert ask.messages[-1] == ("tool", '{"result":"found é"}')


def test_google_genai_gets_structured_answers(mock_provider: MockProvider) -> None:
    """A model of pydantic's as the schema is parsed by the SDK from a generated answer."""

    class Boat(BaseModel):
        name: str
        seats: int

    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=list[Boat])
    with google(mock_provider) as client:
        reply = client.models.generate_content(model="gemini-2.5-flash", contents="Boats", config=config)
    assert isinstance(reply.parsed, list)
    assert all(isinstance(boat, Boat) for boat in reply.parsed)


def test_google_genai_counts_and_lists(mock_provider: MockProvider) -> None:
    """Tokens are counted, models are listed and shown, of both versions of the API."""
    for version in ("v1beta", "v1"):
        with google(mock_provider, api_version=version) as client:
            assert client.models.count_tokens(model="gemini-2.5-flash", contents="Hello there").total_tokens == 2
            names = [model.name for model in client.models.list()]
            assert "models/gemini-2.5-flash" in names
            shown = client.models.get(model="gemini-2.5-flash")
            assert (shown.input_token_limit, shown.thinking) == (1048576, True)


def test_google_genai_raises_what_is_refused(mock_provider: MockProvider) -> None:
    """Errors have their code, status and message; a refusal is a reason, a blocked prompt its feedback."""
    mock_provider.on(model="busy").error(503, "The model is overloaded. Please try again later.")
    mock_provider.on(model="declines").reply(Refusal("No, never."))
    mock_provider.on(model="blocked").reply(Reply((), finish="content_filter"))
    with google(mock_provider) as client:
        for call in (
            client.models.generate_content,
            lambda **given: list(client.models.generate_content_stream(**given)),
        ):
            with pytest.raises(errors.ServerError) as busy:
                call(model="busy", contents="Hi")
            assert (busy.value.code, busy.value.status) == (503, "UNAVAILABLE")
            assert busy.value.message == "The model is overloaded. Please try again later."
            with pytest.raises(errors.ClientError) as wrong:
                call(model="any", contents="Hi", config=types.GenerateContentConfig(temperature=3))
            assert (wrong.value.code, wrong.value.status) == (400, "INVALID_ARGUMENT")
        declined = client.models.generate_content(model="declines", contents="Hi")
        assert declined.candidates is not None
        assert declined.candidates[0].finish_reason is types.FinishReason.SAFETY
        blocked = client.models.generate_content(model="blocked", contents="Hi")
        assert blocked.prompt_feedback is not None
        assert blocked.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT


# ------------------------------------------------------------------------------------------------ ollama


def of_ollama(replies: Iterable[ollama.ChatResponse]) -> Said:
    """Thinking, text and calls of all replies or lines."""
    thought, text, calls = "", "", []
    for reply in replies:
        thought += reply.message.thinking or ""
        text += reply.message.content or ""
        calls += [(call.function.name, dict(call.function.arguments)) for call in reply.message.tool_calls or ()]
    return thought, text, calls


def test_ollama_gets_the_reply(mock_provider: MockProvider) -> None:
    """Whole and streamed, synchronous and not, the SDK has thinking, text and calls as scripted, and the durations."""
    mock_provider.on().reply(*SCRIPT)
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    asked: dict[str, Any] = {
        "model": "qwen3", "messages": [{"role": "user", "content": "Hi"}], "think": True, "tools": tools,
        "options": {"temperature": 0.5, "num_ctx": 4096}, "keep_alive": "5m",
    }  # fmt: skip

    async def asynchronous() -> tuple[Said, Said]:
        async with ollama.AsyncClient(host=mock_provider.ollama_url, trust_env=False) as client:
            whole = await client.chat(**asked)
            lines = [line async for line in await client.chat(**asked, stream=True)]
            return of_ollama([whole]), of_ollama(lines)

    with ollama.Client(host=mock_provider.ollama_url, trust_env=False) as client:
        whole, lines = client.chat(**asked), list(client.chat(**asked, stream=True))
    assert of_ollama([whole]) == of_ollama(lines) == SAID
    assert asyncio.run(asynchronous()) == (SAID, SAID)
    for last in (whole, lines[-1]):
        assert (last.done, last.done_reason, last.model) == (True, "stop", "qwen3")
        assert last.total_duration is not None
        assert last.total_duration > 0


def test_ollama_generates(mock_provider: MockProvider) -> None:
    """A prompt is completed, whole and streamed; its context may be sent back; models are listed and shown."""
    mock_provider.on().reply(TEXT)
    with ollama.Client(host=mock_provider.ollama_url, trust_env=False) as client:
        whole = client.generate(model="llama3.2", prompt="Hi")
        lines = list(client.generate(model="llama3.2", prompt="Hi", stream=True, context=whole.context))
        assert whole.response == "".join(line.response or "" for line in lines) == TEXT
        assert "llama3.2:latest" in [model.model for model in client.list().models]
        assert client.show("llama3.2").capabilities == ["completion", "tools", "thinking"]
        assert client.ps().models == []


def test_ollama_raises_what_is_refused(mock_provider: MockProvider) -> None:
    """Errors have their status and message, also where a line in the midst of a stream tells of one."""
    mock_provider.on(model="none").error(404, "model 'none' not found")
    mock_provider.on().reply(TEXT)
    with ollama.Client(host=mock_provider.ollama_url, trust_env=False) as client:
        with pytest.raises(ollama.ResponseError) as missing:
            client.generate(model="none", prompt="Hi")
        assert (missing.value.status_code, missing.value.error) == (404, "model 'none' not found")
    broken = ollama.Client(host=f"{mock_provider.url}/with/{to_segment('error-payload(after=2)')}", trust_env=False)
    received: list[str | None] = []

    def receive() -> None:
        received.extend(line.response for line in broken.generate(model="any", prompt="Hi", stream=True))

    with broken, pytest.raises(ollama.ResponseError, match="The server failed while it was answering"):
        receive()
    assert len(received) == 2


# ------------------------------------------------------------------------------------------------ strictly


def strict(model: type[BaseModel], seen: dict[type[BaseModel], type[BaseModel]] | None = None) -> type[BaseModel]:
    """The same type where no field is unknown and those of its fields that are types are as strict."""
    seen = {} if seen is None else seen
    if model not in seen:
        config = ConfigDict(**{**model.model_config, "extra": "forbid"})
        made = create_model(f"Strict{model.__name__}", __base__=model)
        made.model_config = config
        made.model_rebuild(force=True)
        seen[model] = made
    return seen[model]


def replies(provider: MockProvider, url: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every document that is answered to a request."""
    answer = httpx.post(provider.url + url, json=body, trust_env=False)
    assert answer.status_code == 200
    if answer.headers["content-type"] == "text/event-stream":
        yield from (json.loads(block[6:]) for block in answer.text.split("\r\n\r\n") if block)
    elif answer.headers["content-type"] == "application/x-ndjson":
        yield from map(json.loads, answer.text.splitlines())
    else:
        found = answer.json()
        yield from found if isinstance(found, list) else [found]


REPLIES: dict[str, tuple[Any, ...]] = {
    "everything": SCRIPT, "text": (TEXT,), "empty": ("",), "nothing": (Reply(()),), "call": CALLS[:1],
    "refusal": (Refusal("No."),),
}  # fmt: skip

# Google's SDK is older than these fields, which recordings have: it drops what it does not know.
UNKNOWN_TO_GOOGLE = {"serviceTier"}


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("method", [":generateContent", ":streamGenerateContent", ":streamGenerateContent?alt=sse"])
@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-pro-preview"])
def test_googles_types_know_every_field(mock_provider: MockProvider, model: str, method: str, name: str) -> None:
    """Every document of every reply is one of the SDK's type, which refuses what it does not know."""
    mock_provider.on().reply(*REPLIES[name])
    body = {"contents": [{"parts": [{"text": "Hi"}]}]}
    for document in replies(mock_provider, f"/v1beta/models/{model}{method}", body):
        for field in UNKNOWN_TO_GOOGLE:
            del document["usageMetadata"][field]
        parsed = types.GenerateContentResponse.model_validate(document)
        told = json.loads(parsed.model_dump_json(by_alias=True, exclude_none=True))
        assert set(told) - {"sdkHttpResponse", "automaticFunctionCallingHistory"} == set(document)
        assert "candidates" not in document or len(told["candidates"][0]) == len(document["candidates"][0])


@pytest.mark.parametrize("name", [name for name in REPLIES if name != "refusal"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_ollamas_types_know_every_field(mock_provider: MockProvider, path: str, stream: bool, name: str) -> None:
    """Every document of every reply is one of the SDK's type, made to refuse what it does not know."""
    parts = [part for part in REPLIES[name] if path == "/api/chat" or not isinstance(part, ToolCall)] or [""]
    mock_provider.on().reply(*parts)
    kind = ollama.ChatResponse if path == "/api/chat" else ollama.GenerateResponse
    body = {"model": "m", "stream": stream, "prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]}
    for document in replies(mock_provider, path, body):
        parsed = strict(kind).model_validate(document)
        assert json.loads(parsed.model_dump_json(exclude_none=True)) == document


# ------------------------------------------------------------------------------------------------ the catalogue

SERVED = [name for name, case in cases().items() if case.available and case.listener is None]
ASKED = {
    "gemini-events": ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", {}),
    "gemini-array": ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", {}),
    "gemini-whole": ("/v1beta/models/gemini-2.5-flash:generateContent", {}),
    "ollama-chat": ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
    "ollama-generate": ("/api/generate", {"model": "m", "prompt": "Hi"}),
}
LOOKS_S = 0.15
"""How long a case is looked at: those that take their time fail, if at all, before they begin."""


async def looked_at(url: str, body: bytes) -> bytes:
    """The first bytes of the answer to a request, up to its end or until it was looked at long enough."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {url.partition(parts.netloc)[2]} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
    read = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(LOOKS_S):
            while len(read) < 1 << 20 and (data := await reader.read(1 << 16)):
                read += data
    writer.transport.abort()
    return read


@pytest.mark.parametrize("form", ASKED)
def test_every_case_answers_or_is_refused_with_a_reason(mock_provider: MockProvider, form: str) -> None:
    """No case of the catalogue fails the server: each answers as it says, or with a 400 that says why it cannot."""
    path, asked = ASKED[form]
    body = json.dumps(asked or {"contents": [{"parts": [{"text": "Hi"}]}]}).encode()
    dialect = form if form.startswith("ollama") else "gemini"
    names = [name for name in SERVED if recipe(name).unfit(dialect) is None]

    async def all_of_them() -> list[bytes]:
        free = asyncio.Semaphore(20)

        async def one(name: str) -> bytes:
            async with free:
                return await looked_at(f"{mock_provider.url}/with/{to_segment(name)}{path}", body)

        return await asyncio.gather(*map(one, names))

    answers = dict(zip(names, asyncio.run(all_of_them()), strict=True))
    mock_provider.check()
    assert sum(read.startswith(b"HTTP/1.1 ") for read in answers.values()) > len(names) / 2
    assert [name for name, read in answers.items() if b"mockprovider failed" in read] == []
    said = {name: read.rpartition(b"\r\n\r\n")[2].decode("utf-8", "replace") for name, read in answers.items()}
    reasons = {name: told for name, told in said.items() if any(why in told for why in WHY)}
    events_alone = {"sse-comment-keepalive", "sse-multiline-data", "sse-missing-done", "sse-retry-only"}
    assert events_alone <= set(reasons) or form == "gemini-events"
    assert {"sse-data-after-done"} <= set(reasons)
    assert not {"http-529-overloaded", "utf8-split", "rst-mid-stream"} & set(reasons)


WHY = (
    "changes server-sent events", "inserts a server-sent event", "has no such kind of payload", "calls no tools",
    "needs a stream", "whole reply",
)  # fmt: skip
"""In whose words a case is refused."""

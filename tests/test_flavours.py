"""The flavours of chat completions: how each is chosen, what it says, and that clients and faults meet it whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from mockprovider.cases import in_family
from mockprovider.dialects import FLAVOURS, flavoured
from mockprovider.dialects.flavour import flavour, read
from mockprovider.dialects.flavour_chat import FlavouredChat
from mockprovider.dialects.flavour_stream import FlavourStream
from mockprovider.dialects.flavour_template import Template
from mockprovider.dialects.flavour_whole import FlavourWhole
from mockprovider.dialects.openai_chat import OpenAIChat
from mockprovider.errors import RequestError, SettingError
from mockprovider.faults.grammar import to_segment
from mockprovider.provider import MockProvider
from mockprovider.reply import Part, Reasoning, Refusal, Reply, ToolCall
from tests import chatting
from tests.chatting import ask, body, events
from tests.test_chat import FIELDS, REPLIES, TOOLS
from tests.whatwg import read as read_events

OTHERS = [name for name in FLAVOURS if name != "openai"]
CALLS = (ToolCall("look", {"up": "é"}), ToolCall("book", '{"seats": 2}'))
IDENTIFIED = Reply.of("One moment. ", *(ToolCall(call.name, call.arguments, id=f"call_{call.name}") for call in CALLS))
SCRIPT = (Reasoning("Let me see. "), "Grüße, 世界!\n", *CALLS)


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    """A provider of this test's own."""
    with MockProvider(seed=1) as made:
        yield made


def prompt(**fields: Any) -> dict[str, Any]:
    """A request that every flavour accepts."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields}


def post(url: str, document: dict[str, Any], **headers: str) -> httpx.Response:
    """One request, as a client sends it."""
    return httpx.post(url, json=document, headers=headers, trust_env=False, timeout=20)


def stream(name: str, *parts: str | Part | Reply, **fields: Any) -> list[dict[str, Any]]:
    """The documents of a streamed reply in a flavour."""
    told = [event.data for event in events(said(name, *parts, stream=True, **fields))]
    return [json.loads(data) for data in told if data != "[DONE]"]


def whole(name: str, *parts: str | Part | Reply, **fields: Any) -> dict[str, Any]:
    """The document of a whole reply in a flavour."""
    document: dict[str, Any] = json.loads(said(name, *parts, **fields))
    return document


def said(name: str, *parts: str | Part | Reply, **fields: Any) -> bytes:
    """The content of a response in a flavour, without a connection."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(chatting, "DIALECT", flavoured(chatting.DIALECT, name))
        return body(ask(**fields), *parts)


# ---------------------------------------------------------------------------------------------------- the table


class ByTable(OpenAIChat):
    """OpenAI's own dialect, made from its row of the table."""

    def stream(self, voice: Any) -> Any:
        return FlavourStream(FLAVOURS["openai"], voice)

    def whole(self, voice: Any) -> Any:
        return FlavourWhole(FLAVOURS["openai"], voice)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_openai_s_row_is_openai_s_dialect(
    reply: Reply, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the table says of OpenAI is, byte for byte, what the dialect with encoders of its own sends."""
    usual = [body(ask(stream=True, **fields), reply)]
    plain = {name: value for name, value in fields.items() if name != "stream_options"}
    usual.append(body(ask(**plain), reply))
    monkeypatch.setattr(chatting, "DIALECT", ByTable())
    assert [body(ask(stream=True, **fields), reply), body(ask(**plain), reply)] == usual
    assert body(ask(stream=True, **fields), reply, composed=False) == usual[0]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("fields", [{}, {"stream_options": {"include_usage": True}}, {"n": 2}, {"tools": TOOLS}])
@pytest.mark.parametrize("reply", [REPLIES["text"], REPLIES["reasoning"], IDENTIFIED, REPLIES["empty"]])
def test_the_short_way_says_the_same(
    name: str, reply: Reply, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text deltas that are composed of affixes are the bytes that the encoders make one by one."""
    monkeypatch.setattr(chatting, "DIALECT", flavoured(chatting.DIALECT, name))
    asked, how = ask(stream=True, **fields), {"relay": FLAVOURS[name].relay}
    crlf = FLAVOURS[name].crlf
    long = body(asked, reply, composed=False, **how)
    assert body(asked, reply, **how) == (long.replace(b"\n", b"\r\n") if crlf else long)


@pytest.mark.parametrize("name", [name for name in FLAVOURS if name not in ("together", "perplexity")])
def test_deltas_that_differ_by_their_text_alone_are_composed(name: str) -> None:
    """The short way stays open for every flavour but the two whose deltas show more than their own text."""
    voice = chatting.voice(ask(stream=True), Reply.of("a b"))
    assert flavoured(chatting.DIALECT, name).stream(voice).affixes(0) is not None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"mine": {"like": "groqq"}}, "did you mean 'groq'"),
        ({"mine": {"nothing": 1}}, "unknown key 'nothing'"),
        ({"mine": {"usage": "perhaps"}}, "expected one of asked, always, never"),
        ({"mine": {"ids": {"id": "{alnum}-{what:3}"}}}, "expected text with"),
        ({"mine": {"stream": {"text": "{{txt}}"}}}, "did you mean 'text'"),
        ({"mine": {"stream": {"text": "{{#first}}x"}}}, "is never closed"),
        ({"mine": {"stream": {"text": "x{{/first}}"}}}, "closes what is not open"),
        ({"mine": {"errors": {"body": "{{text}}"}}}, "{{text}}"),
    ],
)
def test_a_row_that_means_nothing_is_refused(table: dict[str, Any], told: str) -> None:
    """A table that says something impossible is refused when it is read, with the place."""
    with pytest.raises(SettingError, match=re.escape(told)) as caught:
        read(table, {"groq": {}})
    assert "flavour mine" in str(caught.value)


def test_sections_and_values() -> None:
    """A flag shows what is between its tags or hides it; other templates of the row are put where they are named."""
    inner = Template("<{{b}}>", "inner")
    template = Template("{{#x}}yes{{/x}}{{^x}}no{{/x}} {{a}} {{c}}", "here")
    flat = template.flat(frozenset({"x"}), lambda name: inner if name == "c" else None)
    assert flat.parts == (b"yes ", "a", b" <", "b", b">")
    assert template.flat(frozenset()).parts == (b"no ", "a", b" ", "c")


# ---------------------------------------------------------------------------------------------------- replies


@pytest.mark.parametrize("name", FLAVOURS)
def test_the_sdk_accepts_every_flavour(name: str, provider: MockProvider) -> None:
    """OpenAI's SDK gives text, reasoning, calls and account of every flavour, streamed and whole."""
    with openai.OpenAI(base_url=f"{provider.url}/as/{name}/v1", api_key="sk-x", max_retries=0) as client:
        _reads_all(client, name, provider)


def _reads_all(client: openai.OpenAI, name: str, provider: MockProvider) -> None:
    # Mistral's thoughts are parts of the content, which OpenAI's SDK cannot put together.
    provider.on().reply(*(SCRIPT if name != "mistral" else SCRIPT[1:]))
    with client.chat.completions.stream(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hi"}],
        stream_options={"include_usage": True},
        tools=TOOLS,  # type: ignore[arg-type]
    ) as running:
        kinds = [event.type for event in running]
        streamed = running.get_final_completion()
    # Mistral's calls come with the end, too late for the helper to tell of them.
    assert "tool_calls.function.arguments.done" in kinds or name == "mistral"
    plain = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hi"}],
        tools=TOOLS,  # type: ignore[arg-type]
    )
    for completion in (streamed, plain):
        message = completion.choices[0].message
        assert _text(message.content).endswith("Grüße, 世界!\n")
        assert [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []] == [  # type: ignore[union-attr]
            ("look", {"up": "é"}),
            ("book", {"seats": 2}),
        ]
        # Perplexity's last chunk is of another kind of object, which the SDK's helper passes over.
        assert completion.choices[0].finish_reason == "tool_calls" or name == "perplexity"
        assert completion is streamed or (completion.usage is not None and completion.usage.total_tokens > 10)
        extra = message.model_extra or {}
        if name not in ("mistral", "perplexity"):
            assert (extra.get("reasoning_content") or extra.get("reasoning")) == "Let me see. "


def _text(content: Any) -> str:
    """The text of a content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("reply", ["text", "calls", "empty", "length"])
def test_openai_s_types_accept_every_document(name: str, reply: str) -> None:
    """No field that OpenAI's types know has another type, but for Mistral's null calls."""
    for document in stream(name, REPLIES[reply], stream_options={"include_usage": True}):
        if document["choices"] or document.get("usage"):
            document["object"] = "chat.completion.chunk"  # Perplexity's last one says it is done
            ChatCompletionChunk.model_validate(_lenient(document))
    ChatCompletion.model_validate(_lenient(whole(name, REPLIES[reply])))


def _lenient(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what OpenAI's types do not know: Groq's tier, calls without a type."""
    text = json.dumps(document).replace('"on_demand"', '"default"')
    return dict(json.loads(text.replace(', "function": {', ', "type": "function", "function": {')))


def test_what_each_flavour_is_known_for() -> None:
    """The marks by which users know a provider's streams are there, one for each."""
    azure = stream("azure", "Hi", stream_options={"include_usage": True})
    assert azure[0]["prompt_filter_results"]
    assert azure[0]["id"] == ""
    assert list(azure[2]) == sorted(azure[2])
    openrouter = said("openrouter", "Hi", stream=True)
    assert openrouter.startswith(b": OPENROUTER PROCESSING\n\ndata: ")
    last = stream("openrouter", "Hi", model="anthropic/claude-haiku-4.5")[-1]
    assert last["provider"] == "Anthropic"
    assert last["choices"][0]["native_finish_reason"] == "end_turn"
    assert last["usage"]["cost"] > 0
    groq = stream("groq", "Hi", stream_options={"include_usage": True})
    assert groq[0]["x_groq"]["id"] == groq[-2]["x_groq"]["id"]
    assert groq[-1]["service_tier"] == "on_demand"
    mistral = stream("mistral", *CALLS)
    assert len(mistral) == 2
    assert len(mistral[1]["choices"][0]["delta"]["tool_calls"]) == 2
    assert mistral[1]["usage"]["total_tokens"]
    deepseek = stream("deepseek", Reasoning("Hm. "), "Hi")
    assert deepseek[1]["choices"][0]["delta"] == {"content": None, "reasoning_content": "Hm"}
    xai = stream("xai", "Hi there")
    assert xai[0]["choices"][0]["delta"] == {"content": "Hi", "role": "assistant"}
    assert "finish_reason" not in xai[0]["choices"][0]
    together = stream("together", "Hi")
    assert together[0]["choices"][0]["text"] == "Hi"
    perplexity = said("perplexity", "Hi there", stream=True)
    assert perplexity.count(b"\r\n\r\n") == 3
    assert b"[DONE]" not in perplexity
    assert stream("perplexity", "Hi there")[1]["choices"][0]["message"]["content"] == "Hi there"
    assert b"[DONE]" not in said("huggingface", "Hi", stream=True)
    assert stream("vllm", "Hi")[-1]["choices"][0]["stop_reason"] is None
    assert stream("llama.cpp", "Hi")[-1]["timings"]["predicted_n"] == 1


def test_reasoning_is_said_in_each_provider_s_field() -> None:
    """`reasoning_content`, `reasoning`, or a part of the content: wherever the provider puts it."""
    fields = {}
    for name in OTHERS:
        deltas = [c["delta"] for d in stream(name, Reasoning("Hm"), "Hi") for c in d["choices"]]
        found = {key for delta in deltas for key in ("reasoning", "reasoning_content") if delta.get(key)}
        fields[name] = "+".join(sorted(found))
    assert fields == {
        "azure": "reasoning_content", "openrouter": "reasoning", "groq": "reasoning", "mistral": "",
        "deepseek": "reasoning_content", "xai": "reasoning_content", "together": "reasoning", "perplexity": "",
        "huggingface": "reasoning", "vllm": "reasoning_content", "llama.cpp": "reasoning_content",
        "relay": "reasoning_content",
    }  # fmt: skip


def test_a_refusal_is_said_or_refused(provider: MockProvider) -> None:
    """Where a provider has no field for a refusal the request is refused, with the reason."""
    provider.on().reply(Refusal("No."))
    answer = post(f"{provider.url}/as/groq/v1/chat/completions", prompt())
    assert answer.status_code == 500
    assert "groq has no field for a refusal" in answer.json()["error"]["message"]
    provider.reset()
    provider.on().reply(Refusal("No."))
    said = post(f"{provider.url}/as/openrouter/v1/chat/completions", prompt()).json()
    assert said["choices"][0]["message"]["refusal"] == "No."


def test_comments_come_while_the_first_token_is_awaited() -> None:
    """A provider's comments fill the wait for the first token, and take no time of it."""
    dialect = flavoured(chatting.DIALECT, "deepseek")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(chatting, "DIALECT", dialect)
        actions = list(chatting.lower(ask(stream=True), "Hi", pace="ttft=25,itl=0"))
    assert b"".join(item for _, item, _ in actions if isinstance(item, bytes)).count(b": keep-alive\n\n") == 2
    assert sum(gap for gap, _, _ in actions) == 25


# ---------------------------------------------------------------------------------------------------- the choice


def kind_of(answer: httpx.Response) -> str:
    """By which mark a whole reply is known."""
    document = answer.json()
    marks = {"x_groq": "groq", "prompt_filter_results": "azure", "provider": "openrouter", "timings": "llama.cpp"}
    return next((mark for key, mark in marks.items() if key in document), "openai")


def test_the_url_chooses(provider: MockProvider) -> None:
    """`/as/NAME` does, behind a namespace and faults, with the provider's own base path or OpenAI's or none."""
    for path, expected in (
        ("/as/groq/v1/chat/completions", "groq"),
        ("/as/groq/openai/v1/chat/completions", "groq"),
        ("/as/groq/chat/completions", "groq"),
        ("/as/azure/v1/chat/completions", "azure"),
        ("/as/openai/api/v1/chat/completions", "openai"),
        ("/v1/chat/completions", "openai"),
        ("/as/llama.cpp/v1/chat/completions", "llama.cpp"),
    ):
        assert kind_of(post(provider.url + path, prompt())) == expected, path
    assert {exchange.path for exchange in provider.exchanges} >= {"/v1/chat/completions"}
    assert "x_groq" in post(f"{provider.url}/with/noop/as/groq/v1/chat/completions", prompt(stream=True)).text
    unknown = post(f"{provider.url}/as/grok/v1/chat/completions", prompt())
    assert unknown.status_code == 404
    assert "did you mean 'groq'" in unknown.text


def test_a_provider_s_own_path_chooses(provider: MockProvider) -> None:
    """A client whose host alone was replaced meets the provider that it means, models included."""
    azure = "/openai/deployments/gpt-4o/chat/completions"
    for path, headers, expected in (
        ("/openai/v1/chat/completions", {}, "groq"),
        ("/openai/v1/chat/completions", {"api-key": "k"}, "azure"),
        ("/api/v1/chat/completions", {}, "openrouter"),
        (azure + "?api-version=2024-12-01-preview", {}, "azure"),
    ):
        document = {name: value for name, value in prompt().items() if expected != "azure" or name != "model"}
        document |= {} if azure in path else {"model": "gpt-4o"}
        assert kind_of(post(provider.url + path, document, **headers)) == expected, path
    assert post(provider.url + azure, prompt()).json() == {"error": {"code": "404", "message": "Resource not found"}}
    assert httpx.get(f"{provider.url}/api/v1/models", trust_env=False).json()["object"] == "list"


def test_the_azure_sdk_s_paths() -> None:
    """OpenAI's client for Azure finds its deployment, and is told its name."""
    version = "2024-12-01-preview"
    with (
        MockProvider(api_keys=["right"]) as provider,
        openai.AzureOpenAI(azure_endpoint=provider.url, api_key="right", api_version=version) as client,
    ):
        said = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
        assert said.model == "gpt-4o-mini-2024-07-18"
        wrong = client.with_options(api_key="wrong", max_retries=0)
        with pytest.raises(openai.AuthenticationError) as caught:
            wrong.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
        assert caught.value.code == "401"


def test_the_server_and_its_rules_choose(tmp_path: Path) -> None:
    """`flavour=` of the server goes before a path's own, and a rule's before both; a scenario file may say either."""
    with MockProvider(flavour="groq") as provider:
        provider.on(last="Azure").reply("Hi", flavour="azure").then_error(429, flavour="openrouter")
        provider.on().reply("Hi")
        url = f"{provider.url}/v1/chat/completions"
        assert kind_of(post(url, prompt())) == "groq"
        assert kind_of(post(f"{provider.url}/api/v1/chat/completions", prompt())) == "groq"
        other = prompt(messages=[{"role": "user", "content": "Azure"}])
        assert kind_of(post(url, other)) == "azure"
        assert post(url, other).json()["error"]["code"] == 429
    file = tmp_path / "rules.toml"
    file.write_text(
        'flavour = "llama.cpp"\n[[rule]]\nreply = "Hi"\nflavour = "groq"\ntimes = 1\n'
        '[[rule]]\nmatch = { model = "*" }\nreply = "Hi"\n'
    )
    with MockProvider(scenario=file) as provider:
        answers = [kind_of(post(f"{provider.url}/v1/chat/completions", prompt())) for _ in range(2)]
        assert answers == ["groq", "llama.cpp"]
    for wrong in ("grog", "./nothing.toml"):
        with pytest.raises(SettingError, match="flavour"):
            MockProvider(flavour=wrong)


def test_a_flavour_of_one_s_own(tmp_path: Path) -> None:
    """A file with one table is a flavour; what it does not say, it has from the row that it is like."""
    file = tmp_path / "house.toml"
    file.write_text('[house]\nlike = "openai"\ndone = false\n[house.ids]\nid = "house-{hex:8}"\n')
    assert flavour(str(file)).name == "house"
    with MockProvider(flavour=str(file)) as provider:
        answer = post(f"{provider.url}/v1/chat/completions", prompt(stream=True)).text
    assert re.search(r'"id":"house-[0-9a-f]{8}"', answer)
    assert "[DONE]" not in answer


def test_the_relay_s_events_are_numbered(provider: MockProvider) -> None:
    """The relay's flavour writes `event:` and `id:` lines."""
    answer = post(f"{provider.url}/as/relay/v1/chat/completions", prompt(stream=True))
    assert answer.text.startswith("event: message\nid: 1\ndata: {")


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "status", "shape"),
    [
        ("azure", 401, {"error": {"code": "401"}}),
        ("openrouter", 401, {"error": {"message": "User not found.", "code": 401}}),
        ("groq", 401, {"error": {"message": "Invalid API Key", "code": "invalid_api_key"}}),
        ("mistral", 401, {"detail": "Invalid API Key"}),
        ("deepseek", 401, {"error": {"type": "authentication_error", "param": None}}),
        ("xai", 400, {"code": "invalid-argument"}),
        ("together", 401, {"error": {"code": "invalid_api_key"}}),
        ("perplexity", 401, {"error": {"type": "invalid_api_key", "code": 401}}),
        ("huggingface", 401, {"error": "Invalid username or password."}),
        ("llama.cpp", 401, {"error": {"code": 401, "type": "authentication_error"}}),
    ],
)
def test_a_wrong_key_is_refused_as_the_provider_does(name: str, status: int, shape: dict[str, Any]) -> None:
    """Status and shape of a refused key are the provider's."""
    with MockProvider(api_keys=["right"]) as provider:
        url = f"{provider.url}/as/{name}/v1/chat/completions"
        answer = post(url, prompt(), authorization="Bearer wrong-key-of-mine")
    assert answer.status_code == status
    for key, value in shape.items():
        got = answer.json()[key]
        assert got == value if not isinstance(value, dict) else {k: got[k] for k in value} == value


@pytest.mark.parametrize("name", OTHERS)
def test_every_status_has_a_body(name: str, provider: MockProvider) -> None:
    """An error of any status is JSON with its message in it, in mid-stream, too."""
    for status in (400, 401, 403, 404, 422, 429, 500, 503):
        provider.reset()
        provider.on().error(status, "Said so.")
        answer = post(f"{provider.url}/as/{name}/v1/chat/completions", prompt())
        assert answer.status_code == status
        assert "Said so." in json.dumps(answer.json())
    dialect = flavoured(chatting.DIALECT, name)
    assert isinstance(dialect, FlavouredChat)
    assert "Said so." in json.dumps(dialect.error_object(RequestError(500, "Said so.", kind="server")))


def test_limits_are_told_as_the_provider_does() -> None:
    """The headers of a rate limit are the provider's own."""
    told = {}
    for name in ("azure", "openrouter", "groq", "mistral", "together", "deepseek"):
        with MockProvider(limits="rpm=5,tpm=1000") as provider:
            answer = post(f"{provider.url}/as/{name}/v1/chat/completions", prompt())
            told[name] = {key: value for key, value in answer.headers.items() if "limit" in key}
    assert told["azure"]["x-ratelimit-remaining-requests"] == "4"
    assert told["azure"]["x-ratelimit-reset-requests"].isdigit()
    assert set(told["openrouter"]) == {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
    assert told["groq"]["x-ratelimit-remaining-requests"] == "4"
    assert "ratelimitbysize-remaining" in told["mistral"]
    assert told["together"]["x-ratelimit-remaining"] == "4"
    assert not told["deepseek"]


# ---------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(("first", "name"), [(0, "azure"), (1, "groq"), (2, "openrouter")])
def test_cases_answer_or_say_why_not(first: int, name: str) -> None:
    """Each case of the catalogue (here every twelfth) happens in this flavour, or is refused with a reason."""
    refused = {}
    with MockProvider(seed=1, speed=10_000) as provider, httpx.Client(trust_env=False, timeout=0.3) as client:
        for case in in_family(None)[first::12]:
            if not case.available or case.listener is not None or case.dialect not in ("openai-chat", "any"):
                continue
            url = f"{provider.url}/with/{to_segment(case.name)}/as/{name}/v1/chat/completions"
            try:
                with client.stream("POST", url, json=prompt(stream=True)) as answer:
                    got = b""
                    for piece in answer.iter_raw():
                        got += piece
                        if len(got) > 200_000:
                            break
                    if answer.status_code == 400 and b"fault_not_applicable" in got:
                        refused[case.name] = got
            except httpx.HTTPError:
                continue  # what a case may do to a client
        assert all(len(reason) > 60 for reason in refused.values())
        errors = [exchange.error for exchange in provider.exchanges if exchange.error and "Error:" in exchange.error]
        assert errors == []
        assert len(refused) < 15, refused


def test_a_flavour_s_stream_is_a_stream() -> None:
    """Every flavour's stream is read whole by the standard's rules, whatever comments and names are in it."""
    for name in FLAVOURS:
        found = read_events(said(name, "Grüße, 世界!", stream=True, n=2))
        assert [event for event in found.events if event.data]

"""The usage that a reply scripts: each provider's words for it, what is refused, and that the rest is counted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
from google import genai
from hypothesis import given
from hypothesis import strategies as st

from mockprovider import MockProvider, Reasoning, Reply, Tokens, ToolCall
from mockprovider.dialects import FLAVOURS
from mockprovider.dialects.base import Ask, Usage, Voice
from mockprovider.errors import SettingError
from mockprovider.scenario_file import load, reply_from
from mockprovider.seed import Seed
from tests.asking import Answer, request
from tests.chatting import NAMED

ALL = {"prompt": 100, "completion": 50, "reasoning": 30, "cached": 20, "cache_written": 10}
FIELDS = [{name: value} for name, value in ALL.items()]
PROMPT = "Say it in three words or more, please."
ANSWER = "One two three."


@pytest.fixture(scope="module")
def server() -> Iterator[MockProvider]:
    """One provider for all of these tests, each of which resets its rules."""
    with MockProvider(seed=1) as made:
        yield made


@pytest.fixture
def provider(server: MockProvider) -> Iterator[MockProvider]:
    """That provider, without the rules of other tests."""
    server.reset()
    yield server
    server.reset()


def ask(provider: MockProvider, name: str, *, stream: bool) -> Answer:
    """The dialect's own sample request, with the usage asked for where that is a choice."""
    path, headers, body = NAMED[name].sample(PROMPT, stream=stream)
    document = json.loads(body)
    if stream and path.endswith("/completions"):
        document["stream_options"] = {"include_usage": True}
    return post(provider, path, document, headers)


def post(provider: MockProvider, path: str, document: object, headers: Mapping[str, str] | None = None) -> Answer:
    """One request with a JSON document."""
    sent = {"content-type": "application/json", **(headers or {})}
    return request("POST", provider.url + path, json.dumps(document), sent)


def scripted(provider: MockProvider, name: str, usage: Tokens | None, *parts: Any) -> None:
    """The only rule: this usage, in the flavour where the name is one."""
    provider.reset()
    flavour = name if name in FLAVOURS else ""
    provider.on().reply(*(parts or (ANSWER,)), usage=usage, flavour=flavour)


def documents(response: Answer) -> list[dict[str, Any]]:
    """The JSON documents of a response, in order, however they are framed."""
    assert response.status == 200, response.body
    text = response.body.decode()
    if response.headers["content-type"].startswith("text/event-stream"):
        lines = [line.partition("data:")[2].strip() for line in text.splitlines() if line.startswith("data:")]
    elif response.headers["content-type"] == "application/x-ndjson":
        lines = text.splitlines()
    else:
        lines = [text]
    return [json.loads(line) for line in lines if line != "[DONE]"]


WORDS: Mapping[str, Mapping[str, str]] = {
    "openai-responses": {
        "prompt": "usage.input_tokens",
        "completion": "usage.output_tokens",
        "reasoning": "usage.output_tokens_details.reasoning_tokens",
        "cached": "usage.input_tokens_details.cached_tokens",
        "cache_written": "usage.input_tokens_details.cache_write_tokens",
    },
    "anthropic-messages": {
        "completion": "usage.output_tokens",
        "reasoning": "usage.output_tokens_details.thinking_tokens",
        "cached": "usage.cache_read_input_tokens",
        "cache_written": "usage.cache_creation_input_tokens",
    },
    "gemini": {
        "prompt": "usageMetadata.promptTokenCount",
        "reasoning": "usageMetadata.thoughtsTokenCount",
        "cached": "usageMetadata.cachedContentTokenCount",
    },
    "ollama-chat": {"prompt": "prompt_eval_count", "completion": "eval_count"},
    "ollama-generate": {"prompt": "prompt_eval_count", "completion": "eval_count"},
    "xai": {
        "prompt": "usage.prompt_tokens",
        "reasoning": "usage.completion_tokens_details.reasoning_tokens",
        "cached": "usage.prompt_tokens_details.cached_tokens",
    },
    "together": {
        "prompt": "usage.prompt_tokens",
        "completion": "usage.completion_tokens",
        "cached": "usage.cached_tokens",
    },
}
CHAT = {
    "prompt": "usage.prompt_tokens",
    "completion": "usage.completion_tokens",
    "reasoning": "usage.completion_tokens_details.reasoning_tokens",
    "cached": "usage.prompt_tokens_details.cached_tokens",
    "cache_written": "usage.prompt_tokens_details.cache_write_tokens",
}
"""Where chat completions and the legacy ones tell each field; above, where others do. The rest follows from these."""


def told(response: Answer, path: str) -> Any:
    """The last value at a path, in whichever document has it; the parts of an event are looked through, too."""
    found: Any = None
    for document in documents(response):
        for place in (document, document.get("response"), document.get("message"), document.get("x_groq")):
            value: Any = place
            for key in path.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            found = value if value is not None else found
    return found


# ------------------------------------------------------------------------------------------------ each provider's words


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", NAMED)
def test_each_field_is_told_in_the_provider_s_words(provider: MockProvider, name: str, stream: bool) -> None:
    """What is scripted stands where the provider tells it, and all that was scripted is told together."""
    words = WORDS.get(name, CHAT)
    usage = {field: ALL[field] for field in NAMED[name].counts}
    scripted(provider, name, Tokens(**usage))
    response = ask(provider, name, stream=stream)
    for field, path in words.items():
        assert told(response, path) == usage.get(field), (field, path)


@pytest.mark.parametrize("name", NAMED)
def test_a_field_without_a_word_is_refused_with_the_reason(provider: MockProvider, name: str) -> None:
    """A field that a provider does not tell is refused, by the provider's and the field's name."""
    for field in ALL.keys() - set(NAMED[name].counts):
        with pytest.raises(SettingError, match=rf"{name} has no word for '{field}'"):
            NAMED[name].check(Reply.of("Hi", usage=Tokens(**{field: 1})), stream=True)
    for field in NAMED[name].counts:
        NAMED[name].check(Reply.of("Hi", usage=Tokens(**{field: 1})), stream=False)


def test_what_is_refused_is_told_to_the_client_and_to_the_test(provider: MockProvider) -> None:
    """The response is an error that names dialect and field, and the rule's mistake fails the test."""
    provider.on().reply("Hi", usage=Tokens(cached=1))
    path, headers, body = NAMED["ollama-chat"].sample(PROMPT, stream=True)
    response = post(provider, path, json.loads(body), headers)
    assert response.status == 500
    assert b"ollama-chat has no word for 'cached'" in response.body
    with pytest.raises(Exception, match="ollama-chat has no word for 'cached'"):
        provider.check()


# ------------------------------------------------------------------------------------------------ what is counted


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_scripted_is_as_without_a_script(provider: MockProvider, name: str, stream: bool) -> None:
    """A script of nothing changes no byte, and one of a single field changes no other count than its sums."""
    bodies = []
    for usage in (None, Tokens()):
        scripted(provider, name, usage, ANSWER)
        response = ask(provider, name, stream=stream)
        bodies.append(_timeless(response.body.decode()))
    assert bodies[0] == bodies[1]
    words = WORDS.get(name, CHAT)
    plain = {field: told(response, path) for field, path in words.items()}
    # What a provider tells beside the cached tokens is less by them, so that the prompt is left out there.
    scripted(provider, name, Tokens(completion=50), ANSWER)
    response = ask(provider, name, stream=stream)
    for field in words.keys() - {"completion"}:
        assert told(response, words[field]) == plain[field], field


def test_xai_tells_reasoning_beside_the_answer(provider: MockProvider) -> None:
    """What is scripted for all of the completion is told without its reasoning where a provider adds the two."""
    scripted(provider, "xai", Tokens(prompt=100, completion=50, reasoning=30))
    response = ask(provider, "xai", stream=False)
    assert [told(response, f"usage.{kind}_tokens") for kind in ("completion", "total")] == [20, 150]


def _timeless(text: str) -> str:
    """Without the times, which differ between two requests."""
    return re.sub(r'"(created|created_at|completed_at)":\s*("[^"]*"|\d+)|"[a-z_]*(duration)":\d+', "", text)


def account(usage: Tokens | None, sent: Usage, *, ended: bool = True, prompt: int = 40) -> tuple[int, ...]:
    """What is told of a reply of which so much was sent."""
    voice = Voice(Ask("m", True, ()), Reply((), usage=usage), Seed(1), (), 0)
    made = voice.account(sent, prompt, ended=ended)
    return made.prompt, made.completion, made.reasoning, made.cached, made.cache_written, made.uncached, made.answer


COUNTS = st.none() | st.integers(0, 100)


@given(
    st.builds(dict, prompt=COUNTS, completion=COUNTS, reasoning=COUNTS, cached=COUNTS, cache_written=COUNTS),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_an_account_adds_up(fields: dict[str, int | None], answer: int, reasoning: int) -> None:
    """What is scripted is told, parts are never more than their whole, and nothing is told before it is sent."""
    try:
        usage = Tokens(**fields)
    except SettingError:
        return
    sent = Usage(answer + reasoning, reasoning)
    ended, running = account(usage, sent), account(usage, sent, ended=False)
    for value, scripted_value in zip(ended, fields.values(), strict=False):
        assert scripted_value is None or value == scripted_value
    assert min(ended) >= 0
    assert min(running) >= 0
    assert running[1] <= ended[1]
    assert running[6] <= answer
    assert account(None, sent) == account(Tokens(), sent) == (40, answer + reasoning, reasoning, 0, 0, 40, answer)


def test_a_hidden_thought_counts_beside_the_answer() -> None:
    """Reasoning that is scripted alone takes the place of what was counted of it, and the answer is counted still."""
    assert account(Tokens(reasoning=1000), Usage(5, 0))[1:3] == (1005, 1000)
    assert account(Tokens(reasoning=7), Usage(5, 2))[1:3] == (10, 7)
    assert account(Tokens(cached=90), Usage(5))[0] == 90  # more than was counted


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"prompt": -1}, "prompt: expected a whole number"),
        ({"cached": 1.5}, "cached: expected a whole number"),
        ({"reasoning": True}, "reasoning: expected a whole number"),
        ({"prompt": 5, "cached": 3, "cache_written": 3}, "parts of prompt"),
        ({"completion": 5, "reasoning": 6}, "part of completion"),
    ],
)
def test_what_no_usage_can_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    """A count that cannot be is refused where it is written, in Python and in a file alike."""
    with pytest.raises(SettingError, match=reason):
        Tokens(**fields)
    with pytest.raises(SettingError, match=reason):
        reply_from({"text": "Hi", "usage": fields})


# ------------------------------------------------------------------------------------------------ where it is written


def test_files_and_the_control_api_say_it(provider: MockProvider, tmp_path: Path) -> None:
    """A table of a scenario file and the JSON of the control API are the same reply as Python's."""
    wanted = Reply.of(Reasoning("Hm."), "Hi", usage=Tokens(prompt=10, cached=8))
    usage = {"prompt": 10, "cached": 8}
    assert reply_from({"reasoning": "Hm.", "text": "Hi", "usage": usage}) == wanted
    assert reply_from({"parts": [{"reasoning": "Hm."}, "Hi"], "usage": usage}) == wanted
    file = tmp_path / "scenario.toml"
    file.write_text('[[rule]]\nreply = { reasoning = "Hm.", text = "Hi", usage = { prompt = 10, cached = 8 } }\n')
    ((_, (answer,)),) = load(file).rules
    assert answer.says == wanted
    rule = {"reply": {"text": "Hi", "usage": usage}}
    assert post(provider, "/_mock/rules", rule).status < 300
    assert told(ask(provider, "openai-chat", stream=False), CHAT["cached"]) == 8
    file.write_text('[[rule]]\nreply = { text = "Hi", usage = { promt = 10 } }\n')
    with pytest.raises(SettingError, match=r"1:.*unknown key 'promt'.*prompt|2:.*unknown key 'promt'.*prompt"):
        load(file)
    with pytest.raises(SettingError, match="expected Tokens"):
        Reply.of("Hi", usage=usage)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="plain function"):
        provider.on().reply(lambda exchange: "Hi", usage=Tokens())


# ------------------------------------------------------------------------------------------------ the vendors' clients


def test_openai_s_client_reads_it(provider: MockProvider) -> None:
    """The types of OpenAI's client have all of it, in chat and in responses, streamed and whole."""
    provider.on().reply(ANSWER, usage=Tokens(prompt=100, completion=50, reasoning=30, cached=20))
    client = openai.OpenAI(base_url=provider.openai_url, api_key="sk-test")
    messages: Any = [{"role": "user", "content": PROMPT}]
    whole = client.chat.completions.create(model="gpt-4o", messages=messages)
    options: Any = {"include_usage": True}
    *_, last = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True, stream_options=options)
    for usage in (whole.usage, last.usage):
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 50, 150)
        assert usage.prompt_tokens_details is not None
        assert usage.completion_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 20
        assert usage.completion_tokens_details.reasoning_tokens == 30
    response = client.responses.create(model="gpt-4o", input=PROMPT)
    with client.responses.stream(model="gpt-4o", input=PROMPT) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    for made in (response.usage, final.usage):
        assert made is not None
        assert (made.input_tokens, made.output_tokens, made.total_tokens) == (100, 50, 150)
        assert made.input_tokens_details.cached_tokens == 20
        assert made.output_tokens_details.reasoning_tokens == 30
    client.close()


def test_anthropic_s_client_reads_it(provider: MockProvider) -> None:
    """Anthropic tells the cached tokens beside the others, from the first event on."""
    provider.on().reply(ANSWER, usage=Tokens(**ALL))
    client = anthropic.Anthropic(base_url=provider.url, api_key="sk-test")
    asked: Any = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": PROMPT}]}
    with client.messages.stream(**asked) as stream:
        first = next(iter(stream))
        assert first.type == "message_start"
        final = stream.get_final_message()
    for usage in (client.messages.create(**asked).usage, first.message.usage, final.usage):
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (70, 20, 10)
        assert usage.cache_creation is not None
        assert usage.cache_creation.ephemeral_5m_input_tokens == 10
    assert final.usage.output_tokens == 50
    assert final.usage.output_tokens_details is not None
    assert final.usage.output_tokens_details.thinking_tokens == 30
    client.close()


def test_google_s_client_reads_it(provider: MockProvider) -> None:
    """Gemini tells thoughts beside the candidates, and cached content as a part of the prompt."""
    provider.on().reply(ANSWER, usage=Tokens(prompt=100, completion=50, reasoning=30, cached=20))
    options = genai.types.HttpOptions(base_url=provider.url)
    client = genai.Client(api_key="test", http_options=options)
    *_, last = client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT)
    for made in (client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT), last):
        usage = made.usage_metadata
        assert usage is not None
        counts = usage.candidates_token_count, usage.thoughts_token_count, usage.cached_content_token_count
        assert counts == (20, 30, 20)
        assert (usage.prompt_token_count, usage.total_token_count) == (100, 150)
    client.close()


def test_ollama_s_client_reads_it(provider: MockProvider) -> None:
    """Ollama tells the prompt and the reply."""
    provider.on().reply(ANSWER, usage=Tokens(prompt=100, completion=50))
    client = ollama.Client(host=provider.url)
    *_, last = client.chat("llama3.2", [{"role": "user", "content": PROMPT}], stream=True)
    for made in (client.chat("llama3.2", [{"role": "user", "content": PROMPT}]), last):
        assert (made.prompt_eval_count, made.eval_count) == (100, 50)
    client._client.close()


# ------------------------------------------------------------------------------------------------ with other things


def test_running_counts_end_at_the_script(provider: MockProvider) -> None:
    """Where each chunk tells the account so far, it grows with the text and ends at what was scripted."""
    for name, path in (("gemini", "usageMetadata.totalTokenCount"), ("perplexity", "usage.total_tokens")):
        scripted(provider, name, Tokens(prompt=100, completion=3), "One two three four five six seven eight. " * 4)
        found = [_at(document, path) for document in documents(ask(provider, name, stream=True))]
        assert found == sorted(found)
        assert found[-1] == 103


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value[key]
    return value


def test_usage_goes_with_calls_and_faults(provider: MockProvider) -> None:
    """A reply of tool calls tells its usage, and faults see it where they see what is counted."""
    provider.on().reply(ToolCall("look", {}), usage=Tokens(prompt=100, completion=50))
    assert told(ask(provider, "openai-chat", stream=True), "usage.total_tokens") == 150
    scripted(provider, "openai-chat", Tokens(prompt=100))
    provider.reset()
    provider.on().reply(ANSWER, usage=Tokens(prompt=100), faults="drop(path=usage.prompt_tokens,at=usage)")
    assert told(ask(provider, "openai-chat", stream=True), "usage.prompt_tokens") is None

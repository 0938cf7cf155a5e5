"""What a text rests on: each provider's words for a citation, what is refused, and that text and faults are as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from hypothesis import given
from hypothesis import strategies as st

from mockprovider import Citation, MockProvider, Reply, Text, ToolCall
from mockprovider.dialects import DIALECTS, FLAVOURS, flavoured
from mockprovider.errors import SettingError
from mockprovider.reply import Cited, Finish, TextDelta, deltas
from mockprovider.scenario_file import load, reply_from
from tests.asking import Answer, request

SUN = Citation("https://weather.example/paris", "Weather", "clear skies all day")
MAP = Citation("https://maps.example/", "Maps")
NOTE = Citation(title="Notes", quote="grass is green", document=1, start=4)
BEFORE, CITED, AFTER = "Grüße! ", "It is sunny in Paris", ", they say."
REPLY = Reply.of(BEFORE, Text(CITED, [SUN, MAP]), AFTER)
START, END = len(BEFORE), len(BEFORE + CITED)


@pytest.fixture(scope="module")
def server() -> Iterator[MockProvider]:
    """One provider for all of these tests."""
    with MockProvider(seed=1) as made:
        yield made


@pytest.fixture
def provider(server: MockProvider) -> Iterator[MockProvider]:
    """That provider, with one rule: the cited reply."""
    server.reset()
    server.on().reply(REPLY)
    yield server
    server.reset()


def post(url: str, document: object) -> Answer:
    """One request with a JSON document, and with the header that Anthropic wants."""
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    return request("POST", url, json.dumps(document), headers)


def events(answer: Answer) -> list[dict[str, Any]]:
    """The documents of a stream."""
    assert answer.status == 200, answer.body
    lines = [line.partition("data:")[2].strip() for line in answer.body.decode().splitlines() if "data:" in line]
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


# ------------------------------------------------------------------------------------------------ Anthropic

MESSAGE: Any = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}


def test_anthropic_has_a_block_for_each_cited_text(provider: MockProvider) -> None:
    """A cited text is a block of its own, told by `citations_delta` in a stream, and the same when it is whole."""
    client = anthropic.Anthropic(base_url=provider.url, api_key="sk-test")
    whole = client.messages.create(**MESSAGE)
    with client.messages.stream(**MESSAGE) as stream:
        seen = [event for event in stream if event.type == "citation"]
        final = stream.get_final_message()
    client.close()
    assert len(seen) == 2
    for message in (whole, final):
        first, cited, last = message.content
        assert [block.text for block in (first, cited, last)] == [BEFORE, CITED, AFTER]  # type: ignore[union-attr]
        assert first.citations is None  # type: ignore[union-attr]
        assert last.citations is None  # type: ignore[union-attr]
        found = cited.citations  # type: ignore[union-attr]
        assert found is not None
        assert [one.url for one in found] == [SUN.url, MAP.url]  # type: ignore[union-attr]
        assert (found[0].cited_text, found[0].title) == (SUN.quote, SUN.title)  # type: ignore[union-attr]


def test_anthropic_cites_documents_of_the_prompt(provider: MockProvider) -> None:
    """A citation without a URL is a place in a document of the prompt."""
    provider.reset()
    provider.on().reply(Text("Green.", [NOTE]))
    document = post(f"{provider.url}/v1/messages", MESSAGE).json
    assert document["content"] == [
        {
            "citations": [
                {
                    "type": "char_location",
                    "cited_text": "grass is green",
                    "document_index": 1,
                    "document_title": "Notes",
                    "start_char_index": 4,
                    "end_char_index": 18,
                    "file_id": None,
                }
            ],
            "type": "text",
            "text": "Green.",
        }
    ]


def test_anthropic_opens_and_closes_each_block_once(provider: MockProvider) -> None:
    """Neighbouring cited texts are blocks in a row; every block that begins ends, and deltas are of the open one."""
    provider.reset()
    provider.on().reply(Text("One.", [SUN]), Text("Two.", [MAP]), "Three.", ToolCall("look", {}))
    found = events(post(f"{provider.url}/v1/messages", {**MESSAGE, "stream": True}))
    opened = -1
    for event in found:
        if event["type"] == "content_block_start":
            opened += 1
            assert event["index"] == opened
        elif event["type"] in ("content_block_delta", "content_block_stop"):
            assert event["index"] == opened
    kinds = [event["delta"]["type"] for event in found if event["type"] == "content_block_delta"]
    assert kinds.count("citations_delta") == 2
    assert [event["type"] for event in found].count("content_block_stop") == opened + 1 == 4


# ------------------------------------------------------------------------------------------------ OpenAI


def test_chat_tells_annotations_with_the_finish_reason(provider: MockProvider) -> None:
    """The last choice of a stream has all annotations, a whole message has them beside its content."""
    client = openai.OpenAI(base_url=provider.openai_url, api_key="sk-test")
    messages: Any = [{"role": "user", "content": "Hi"}]
    message = client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=messages, stream=True))
    client.close()
    assert message.annotations is not None
    found = [one.url_citation for one in message.annotations]
    assert [(one.url, one.title, one.start_index, one.end_index) for one in found] == [
        (SUN.url, SUN.title, START, END),
        (MAP.url, MAP.title, START, END),
    ]
    assert message.content is not None
    assert message.content[START:END] == CITED
    last = chunks[-1].choices[0]
    assert last.finish_reason == "stop"
    told = last.delta.model_dump()["annotations"]
    assert told == [one.model_dump() for one in message.annotations]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == BEFORE + CITED + AFTER


def test_responses_add_annotations_to_their_part(provider: MockProvider) -> None:
    """Each annotation has an event with its number, and stands in the part where it is done, and in the whole."""
    client = openai.OpenAI(base_url=provider.openai_url, api_key="sk-test")
    whole = client.responses.create(model="gpt-4o", input="Hi")
    seen = list(client.responses.create(model="gpt-4o", input="Hi", stream=True))
    client.close()
    added: list[Any] = [event for event in seen if event.type == "response.output_text.annotation.added"]
    assert [event.annotation_index for event in added] == [0, 1]
    done = next(event for event in seen if event.type == "response.content_part.done")
    part: Any = whole.output[-1].content[0]  # type: ignore[union-attr,index]
    assert [one.model_dump() for one in part.annotations] == [event.annotation.model_dump() for event in added]
    assert part.annotations == done.part.annotations  # type: ignore[union-attr]
    assert [(one.url, one.title, one.start_index, one.end_index) for one in part.annotations] == [
        (SUN.url, SUN.title, START, END),
        (MAP.url, MAP.title, START, END),
    ]
    assert part.text[START:END] == CITED
    assert [event.sequence_number for event in seen] == list(range(len(seen)))


# ------------------------------------------------------------------------------------------------ Gemini, Perplexity


def test_gemini_tells_what_grounds_the_answer(provider: MockProvider) -> None:
    """The last chunk has each page once, and the places that rest on it, counted in bytes."""
    provider.reset()
    provider.on().reply(BEFORE, Text(CITED, [SUN, MAP]), Text(AFTER, [SUN]))
    client = genai.Client(api_key="test", http_options=genai.types.HttpOptions(base_url=provider.url))
    whole = client.models.generate_content(model="gemini-2.5-flash", contents="Hi")
    *_, last = client.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi")
    client.close()
    for made in (whole, last):
        assert made.candidates is not None
        grounds = made.candidates[0].grounding_metadata
        assert grounds is not None
        assert grounds.grounding_chunks is not None
        assert [one.web.uri for one in grounds.grounding_chunks if one.web] == [SUN.url, MAP.url]
        assert grounds.grounding_supports is not None
        assert [one.grounding_chunk_indices for one in grounds.grounding_supports] == [[0, 1], [0]]
        answer = (BEFORE + CITED + AFTER).encode()
        for support, text in zip(grounds.grounding_supports, (CITED, AFTER), strict=True):
            segment = support.segment
            assert segment is not None
            assert segment.text == text
            assert answer[segment.start_index : segment.end_index].decode() == text


def test_perplexity_lists_its_sources(provider: MockProvider) -> None:
    """Perplexity tells in every chunk where the answer is from."""
    provider.reset()
    provider.on().reply(REPLY, flavour="perplexity")
    body = {"model": "sonar", "messages": [{"role": "user", "content": "Hi"}]}
    url = f"{provider.openai_url}/chat/completions"
    for document in [post(url, body).json, *events(post(url, {**body, "stream": True}))]:
        assert document["citations"] == [SUN.url, MAP.url]
        assert [one["snippet"] for one in document["search_results"]] == [SUN.quote, ""]


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "name", [*(dialect.name for dialect in DIALECTS), *(name for name in FLAVOURS if name != "openai")]
)
def test_what_has_no_word_is_refused_with_the_reason(name: str) -> None:
    """A dialect that cannot cite a page, or a document, says so by its name; text alone is never refused."""
    named = {dialect.name: dialect for dialect in DIALECTS}
    dialect = named[name] if name in named else flavoured(DIALECTS[0], name)
    for kind, citation in (("page", SUN), ("document", NOTE)):
        reply = Reply.of(Text("Hi", [citation]))
        if kind in dialect.cites:
            dialect.check(reply, stream=True)
            continue
        with pytest.raises(SettingError, match=f"{name} has no word for the citation of a {kind}"):
            dialect.check(reply, stream=True)
    dialect.check(Reply.of("Hi"), stream=True)
    cites = {"openai-chat", "openai-responses", "anthropic-messages", "gemini", "perplexity"}
    assert bool(dialect.cites) == (name in cites)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "expected the url of a page, or a quote"),
        ({"url": 5}, "url: expected a text"),
        ({"quote": "a", "start": -1}, "start: expected a whole number"),
        ({"quote": "a", "document": True}, "document: expected a whole number"),
    ],
)
def test_what_no_citation_can_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    """A citation that names nothing is refused where it is written, in Python and in a file alike."""
    with pytest.raises(SettingError, match=reason):
        Citation(**fields)
    with pytest.raises(SettingError, match=reason):
        reply_from({"text": "Hi", "citations": [fields]})


def test_files_say_it(tmp_path: Path) -> None:
    """Citations stand beside the text that they belong to, by name and in the list of parts."""
    page = {"url": SUN.url, "title": SUN.title, "quote": SUN.quote}
    assert reply_from({"text": CITED, "citations": [page]}) == Reply.of(Text(CITED, [SUN]))
    parts = [BEFORE, {"text": CITED, "citations": [page, {"url": MAP.url, "title": MAP.title}]}, AFTER]
    assert reply_from({"parts": parts}) == REPLY
    for reply, reason in (
        ('{ refusal = "No.", citations = [{ url = "https://a.example" }] }', "they belong to a text"),
        ('{ text = "Hi", citations = [{ ulr = "https://a.example" }] }', "unknown key 'ulr'.*url"),
        ('{ text = "Hi", citations = "https://a.example" }', "expected a list"),
    ):
        file = tmp_path / "scenario.toml"
        file.write_text(f"[[rule]]\nreply = {reply}\n")
        with pytest.raises(SettingError, match=reason):
            load(file)
    with pytest.raises(SettingError, match="expected Citation"):
        Text("Hi", ["https://a.example"])  # type: ignore[list-item]


# ------------------------------------------------------------------------------------------------ text and limits

TEXTS = st.text(st.sampled_from("ab 1é漢.\n"), max_size=20)


@given(
    st.lists(st.tuples(TEXTS, st.booleans()), max_size=5),
    st.none() | st.integers(1, 20),
    st.lists(st.text(st.sampled_from("ab 1é"), min_size=1, max_size=3), max_size=2),
    st.integers(1, 4),
)
def test_citations_change_no_text(said: list[tuple[str, bool]], limit: int | None, stop: list[str], size: int) -> None:
    """Cited or not, a reply says the same under any limits, and each citation that is told ends its own text."""

    def play(reply: Reply) -> list[Any]:
        limits: Any = {"max_tokens": limit, "stop": tuple(stop), "tokens_per_payload": size}
        return list(deltas(reply, choice=0, call_id=str, **limits))

    plain = play(Reply(tuple(Text(text) for text, _ in said)))
    cited = play(Reply(tuple(Text(text, [SUN] if rests else []) for text, rests in said)))

    def words(steps: list[Any]) -> str:
        return "".join(step.text for step in steps if isinstance(step, TextDelta))

    assert words(cited) == words(plain)
    assert isinstance(cited[-1], Finish)
    assert (cited[-1].reason, cited[-1].stop) == (plain[-1].reason, plain[-1].stop)
    wanted = [text for text, rests in said if rests]
    found, begun = [], -1
    for number, step in enumerate(cited):
        if isinstance(step, Cited) and step.begins:
            begun = number
        elif isinstance(step, Cited):
            found.append(words(cited[begun:number]))
    assert found == wanted[: len(found)]
    if limit is None and not stop:
        assert found == wanted


@pytest.mark.parametrize(("text", "rest"), [("One two", " three stop"), ("One two", "three stop")])
def test_a_stop_sequence_leaves_the_citations_before_it(text: str, rest: str) -> None:
    """A text that was said in full before the stop sequence is cited, and nothing empty is said in its place."""
    reply = Reply.of(Text(text, [SUN]), Text(rest, [MAP]))
    steps: list[Any] = list(deltas(reply, choice=0, call_id=str, stop=("three stop",)))
    assert [step.citations for step in steps if isinstance(step, Cited) and not step.begins] == [(SUN,)]
    assert all(step.text for step in steps if isinstance(step, TextDelta))
    assert "".join(step.text for step in steps if isinstance(step, TextDelta)).rstrip() == text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_faults_strike_cited_replies(provider: MockProvider, path: str) -> None:
    """A stream that is cut after some tokens has those tokens, and a fault of the text changes the text alone."""
    asked = {"model": "gpt-4o", "input": "Hi"} if path == "/v1/responses" else MESSAGE
    body = {**asked, "stream": True}
    whole = post(provider.url + path, body).body
    for chain in ("stall(after=3,seconds=0.01)", "uneven", "empty-deltas"):
        answer = post(f"{provider.url}/with/{chain}{path}", body)
        assert events(answer)
    cut = post(f"{provider.url}/with/truncate(tokens=4){path}", body).body
    assert len(cut) < len(whole)
    assert SUN.url.encode() in whole
    assert SUN.url.encode() not in cut

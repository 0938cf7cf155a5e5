"""Faults before the response and of its form: what each does on the wire, with every one of its settings."""

from __future__ import annotations

import itertools
import json
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import openai
import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.faults import chain, text_of
from mockprovider.faults.base import Context
from mockprovider.faults.forms import Ndjson
from mockprovider.reply import Text
from mockprovider.timeline import NOWHERE, Close, End, Hold, Timed, run
from mockprovider.wire import Head, Write
from tests.cases.conftest import provider
from tests.cases.observe import TEXT, Seen, observe, observe_all

__all__ = ["provider"]

REPLY = "One two three four five."


def context(*, stream: bool = True, dialect: str = "openai-chat") -> Context:
    """What a fault is told of an exchange."""
    return Context(
        rng=random.Random(1),
        attempt=1,
        stream=stream,
        tokens=lambda: 3,
        dialect=dialect,
        error=lambda kind, message: {"error": {"message": message, "type": kind}},
    )


def staged(faults: str, items: list[Timed[Any]], **how: Any) -> list[Timed[Any]]:
    """The items after the stages of these faults."""
    return list(run(iter(items), [fault.stage(context(**how)) for fault in chain(faults)]))


# ------------------------------------------------------------------------------------------------ status


@pytest.mark.parametrize(
    ("settings", "status", "content_type", "body"),
    [
        ('code=418,json={"a":[1,"é"]}', 418, "application/json", '{"a":[1,"é"]}'.encode()),
        ('code=500,text="oh\\nno"', 500, "text/plain; charset=utf-8", b"oh\nno"),
        ('code=403,body=html,text="<p>no"', 403, "text/html; charset=UTF-8", b"<p>no"),
        ("code=503,body=empty", 503, None, b""),
        ("code=204,body=empty", 204, None, b""),
        (
            'code=200,body=event,json={"x":1}',
            200,
            "text/event-stream; charset=utf-8",
            b'data: {"x":1}\n\n',
        ),
        ('code=200,json={},content_type="text/html"', 200, "text/html", b"{}"),
        ('code=200,json={},content_type=""', 200, None, b"{}"),
        ('code=500,json={},headers={"content-type":"a/b"}', 500, "a/b", b"{}"),
    ],
)
async def test_status_answers_with_any_body(
    provider: MockProvider, settings: str, status: int, content_type: str | None, body: bytes
) -> None:
    """The status and the body are those that were asked for, to the byte."""
    seen = await observe(provider.url, f"status({settings})")
    assert (seen.status, seen.header("content-type"), seen.body) == (status, content_type, body)
    assert seen.ending == "complete"
    assert seen.header("date") is not None


async def test_the_providers_error_says_what_it_is_told(provider: MockProvider) -> None:
    """Without another body, the error has the dialect's shape, with message, type and code."""
    seen = await observe(provider.url, 'status(code=503,message="Busy.",kind="overloaded",error_code="slow_down")')
    error = {"message": "Busy.", "type": "overloaded", "param": None, "code": "slow_down"}
    assert seen.document == {"error": error}
    assert (seen.header("x-request-id") or "").startswith("req_")
    plain = await observe(provider.url, "status(code=502)")
    assert plain.document["error"]["type"] == "server_error"
    event = await observe(provider.url, 'status(code=200,body=event,message="Busy.",error_code="slow_down")')
    assert event.documents[0]["error"]["message"] == "Busy."
    assert event.documents[0]["error"]["code"] == "slow_down"


@pytest.mark.parametrize("code", [200, 400, 500, 502, 503, 504, 520, 522, 524, 529])
async def test_pages_name_their_status(provider: MockProvider, code: int) -> None:
    """Each status may come with an HTML page; an error's names it."""
    seen = await observe(provider.url, f"status(code={code},body=html)")
    assert seen.status == code
    assert seen.body.startswith(b"<!DOCTYPE html>")
    assert (str(code).encode() in seen.body) == (code != 200)


async def test_a_fault_may_fail_so_many_times_and_then_succeed(provider: MockProvider) -> None:
    """Three attempts fail, the fourth is the reply; another request counts for itself; then it begins anew."""
    text = "status(code=500,attempt=1..3)"
    seen = await observe_all(provider.url, text, requests=5)
    assert [each.status for each in seen] == [500, 500, 500, 200, 500]
    other = await observe(provider.url, text, temperature=1)
    assert other.status == 500


async def test_a_kept_connection_serves_after_an_error(provider: MockProvider) -> None:
    """An error, an empty body and a redirect leave the connection as it was: the next request on it is answered."""
    for text in ("status", "status(code=200,body=empty)", "redirect", "rate-limited"):
        seen = await observe_all(provider.url, text, requests=3)
        assert [each.ending for each in seen] == ["complete"] * 3
        assert len({each.status for each in seen}) == 1


# ------------------------------------------------------------------------------------------------ rate limits


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("retry_after=2.1", {"retry-after": "3"}),
        ("retry_after=0", {"retry-after": "0"}),
        ("retry_after=0.25,form=ms", {"retry-after-ms": "250", "retry-after": "1"}),
        ('form=malformed,value=""', {"retry-after": ""}),
        ('form=malformed,value="NaN"', {"retry-after": "NaN"}),
        ("form=none", {}),
        (
            "retry_after=61,provider=openai",
            {
                "retry-after": "61",
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m1s",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "150000",
                "x-ratelimit-reset-tokens": "0s",
            },
        ),
        (
            "retry_after=7,provider=azure,reset_tokens=30",
            {
                "retry-after": "7",
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "7",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "75000",
                "x-ratelimit-reset-tokens": "30",
            },
        ),
    ],
)
async def test_every_form_of_the_wait(provider: MockProvider, settings: str, expected: dict[str, str]) -> None:
    """Exactly the hints that were asked for are there, and no others."""
    seen = await observe(provider.url, f"rate-limited({settings})")
    assert seen.status == 429
    hints = {name.lower(): value for name, value in seen.head.headers if "ratelimit" in name or "retry" in name.lower()}
    assert hints == expected
    assert seen.document["error"]["code"] == "rate_limit_exceeded"


async def test_dates_of_the_wait_are_counted_from_now(provider: MockProvider) -> None:
    """An HTTP date, Anthropic's timestamps and OpenRouter's milliseconds all lie as far ahead as was asked for."""
    seen = await observe(provider.url, "rate-limited(form=http-date,retry_after=100)")
    now = parsedate_to_datetime(seen.header("date") or "")
    assert 100 <= (parsedate_to_datetime(seen.header("retry-after") or "") - now).total_seconds() <= 102
    seen = await observe(provider.url, "rate-limited(retry_after=100,provider=anthropic)")
    reset = datetime.fromisoformat(seen.header("anthropic-ratelimit-requests-reset") or "")
    assert 100 <= (reset - now).total_seconds() <= 105
    assert seen.header("anthropic-ratelimit-requests-remaining") == "0"
    assert seen.header("anthropic-ratelimit-tokens-limit") == "150000"
    seen = await observe(provider.url, "rate-limited(retry_after=100,provider=openrouter)")
    milliseconds = int(seen.header("X-RateLimit-Reset") or "")
    assert 100 <= (datetime.fromtimestamp(milliseconds / 1000, UTC) - now).total_seconds() <= 105
    assert (seen.header("X-RateLimit-Limit"), seen.header("X-RateLimit-Remaining")) == ("60", "0")


async def test_real_limits_of_a_url(provider: MockProvider) -> None:
    """The headers count down request by request; then there is a 429 that says how long, and the server goes on."""
    seen = await observe_all(provider.url, "limit(rpm=3,tpm=1000)", requests=5)
    assert [each.status for each in seen] == [200, 200, 200, 429, 429]
    assert [each.header("x-ratelimit-remaining-requests") for each in seen] == ["2", "1", "0", "0", "0"]
    assert {each.header("x-ratelimit-limit-requests") for each in seen} == {"3"}
    assert [each.header("x-ratelimit-remaining-tokens") for each in seen][:3] == ["998", "996", "994"]
    assert int(seen[3].header("retry-after") or "") in (19, 20)
    assert 18_000 < int(seen[3].header("retry-after-ms") or "") <= 20_000
    error = seen[3].document["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "Limit 3, Used 3, Requested 1" in error["message"]
    other = await observe(provider.url, "limit(rpm=4)")
    assert (other.status, other.header("x-ratelimit-remaining-requests")) == (200, "3")
    assert other.header("x-ratelimit-limit-tokens") == "2000000", "what is not limited says what it always says"


async def test_a_request_too_large_for_the_limit_is_told_no_time(provider: MockProvider) -> None:
    """What never fits gets a 429 without Retry-After, since no wait would help."""
    seen = await observe(provider.url, "limit(tpm=100)", max_tokens=101)
    assert (seen.status, seen.header("retry-after"), seen.header("retry-after-ms")) == (429, None, None)
    error = seen.document["error"]
    assert error["type"] == "tokens"
    assert "Limit 100, Requested 101" in error["message"]


# ------------------------------------------------------------------------------------------------ redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_client_that_keeps_the_method_gets_the_stream(provider: MockProvider, code: int) -> None:
    """307 and 308 lead the same POST to the stream; after the others httpx sends a GET, which gets 405."""
    provider.on().reply(REPLY)
    url = f"{provider.url}/with/redirect(code={code})/v1/chat/completions"
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
        response = await client.post(url, json=body)
    assert [step.status_code for step in response.history] == [code]
    assert response.status_code == (200 if code in (307, 308) else 405)
    if code in (307, 308):
        assert provider.exchanges[-1].json == body
        assert response.text.endswith("data: [DONE]\n\n")
    else:
        assert provider.exchanges[-1].method == "GET"


async def test_openais_sdk_follows_a_redirect(provider: MockProvider) -> None:
    """The SDK follows 307 with body and key, and the rest of the chain applies behind it."""
    provider.on().reply(REPLY)
    segment = quote('redirect+needs-key+content-type(value="application/x-other")', safe="")
    url = f"{provider.url}/with/{segment}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-x", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert stream.response.headers["content-type"] == "application/x-other"
    assert "".join(said) == REPLY
    assert [exchange.status for exchange in provider.exchanges] == [307, 200]


async def test_redirects_that_a_header_or_a_rule_asks_for_end(provider: MockProvider) -> None:
    """Who cannot put faults into the URL is redirected once, not for ever."""
    provider.on(headers={"x-rule": "1"}).reply(REPLY, faults="redirect(code=308)")
    provider.on().reply(REPLY)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
        for headers in ({"x-mockprovider-faults": "redirect"}, {"x-rule": "1"}):
            response = await client.post(f"{provider.openai_url}/chat/completions", json=body, headers=headers)
            assert (response.status_code, len(response.history)) == (200, 1)
            assert response.json()["choices"][0]["message"]["content"] == REPLY


async def test_where_a_redirect_leads(provider: MockProvider) -> None:
    """Location is a path of this server, its other name, what was given word for word, or not there."""
    for to, expected in (
        ("same", '/with/redirected+redirect%28to="same"%29/v1/chat/completions'),
        ("none", None),
        ("/v2/else?x=1", "/v2/else?x=1"),
        ("https://example.org/v1", "https://example.org/v1"),
    ):
        seen = await observe(provider.url, f'redirect(to="{to}")')
        said = seen.header("location")
        assert seen.status == 307
        assert seen.body == b""
        if to == "same":
            assert said is not None
            assert said.startswith("/with/redirected+redirect(to=%22same%22)/v1/chat/completions")
        else:
            assert said == expected
    seen = await observe(provider.url, "redirect(to=other-host)", path="/v1/chat/completions?x=1")
    location = urlsplit(seen.header("location") or "")
    assert (location.scheme, location.hostname, location.query) == ("http", "127.0.0.1", "x=1"), "Host was localhost"


async def test_a_redirect_stays_in_its_namespace(mock_provider: MockProvider) -> None:
    """The path that a redirect leads to has the namespace of the one that was asked for."""
    mock_provider.on().reply(REPLY)
    seen = await observe(mock_provider.url, "redirect")
    assert (seen.header("location") or "").startswith(
        urlsplit(mock_provider.url).path + "/with/redirected+redirect/v1/"
    )


async def test_a_key_may_be_needed(provider: MockProvider) -> None:
    """Without Authorization there is a 401 in the provider's shape; with any key the reply."""
    assert (await observe(provider.url, "needs-key")).document["error"]["type"] == "invalid_request_error"
    seen = await observe(provider.url, "needs-key", headers=[("authorization", "Bearer any")])
    assert seen.status == 200


ANTHROPIC: dict[str, Any] = {"path": "/v1/messages", "model": "claude-haiku-4-5", "max_tokens": 1024}
VERSION = ("anthropic-version", "2023-06-01")


async def test_anthropics_dialect_has_its_own_words(provider: MockProvider) -> None:
    """Errors, limits and keys are those of the dialect that was asked."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, "rate-limited", headers=[VERSION], **ANTHROPIC)
    assert (seen.status, seen.document["error"]["type"]) == (429, "rate_limit_error")
    seen = await observe(provider.url, 'status(code=200,body=event,message="Busy.")', headers=[VERSION], **ANTHROPIC)
    assert [event.type for event in seen.events] == ["error"]
    assert seen.documents[0]["error"]["message"] == "Busy."
    seen = await observe(provider.url, "limit(rpm=5)", headers=[VERSION], **ANTHROPIC)
    assert seen.header("anthropic-ratelimit-requests-remaining") == "4"
    assert seen.header("anthropic-ratelimit-requests-limit") == "5"
    assert (await observe(provider.url, "needs-key", headers=[VERSION], **ANTHROPIC)).status == 401
    keyed = [VERSION, ("x-api-key", "any")]
    assert (await observe(provider.url, "needs-key", headers=keyed, **ANTHROPIC)).status == 200


# ------------------------------------------------------------------------------------------------ the form


async def test_the_answer_may_have_the_form_that_was_not_asked_for(provider: MockProvider) -> None:
    """A document for a stream and the reverse, with all that else belongs to it; faults of the other form apply."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, "answer-as(form=json)")
    assert seen.document["choices"][0]["message"]["content"] == REPLY
    assert seen.header("content-length") == str(len(seen.body))
    seen = await observe(provider.url, "answer-as(form=sse)+comment", stream=False)
    assert (seen.text, seen.done) == (REPLY, 1)
    assert any(block.startswith(b":") for block in seen.blocks)
    seen = await observe(provider.url, "answer-as(form=json)+comment")
    assert (seen.status, seen.document["error"]["code"]) == (400, "fault_not_applicable")


async def test_an_endless_reply_is_no_document() -> None:
    """A fault that wants an endless reply whole is refused with the reason, not tried for ever."""
    async with MockProvider(seed=1) as provider:
        provider.on().reply(Text(lambda: itertools.repeat("word " * 1000)))
        seen = await observe(provider.url, "answer-as(form=json)")
        assert seen.status == 500
        assert "needs a request that asks for a stream" in seen.document["error"]["message"]


@pytest.mark.parametrize(
    ("value", "expected"), [("", None), ("text/plain", "text/plain"), ("text/event-stream", "text/event-stream")]
)
async def test_content_type_is_what_it_is_told(provider: MockProvider, value: str, expected: str | None) -> None:
    """The header is replaced or taken away; the body stays what it is."""
    seen = await observe(provider.url, f'content-type(value="{value}")')
    assert seen.header("content-type") == expected
    assert seen.done == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_newlines_come_before_the_body_one_by_one(provider: MockProvider, stream: bool) -> None:
    """Each is a write of its own, so far apart, before a document as before a stream, which then are whole."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, "leading-newlines(count=3,seconds=0.1)", stream=stream)
    assert [read.data for read in seen.arrivals[:3]] == [b"\n"] * 3
    assert all(seen.arrivals[at].time - seen.asked >= 0.1 * (at + 1) for at in range(4)), "none comes too early"
    assert seen.header("content-length") is None
    text = seen.text if stream else seen.document["choices"][0]["message"]["content"]
    assert (text, seen.ending) == (REPLY, "complete")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tail_belongs_to_the_message(provider: MockProvider, stream: bool) -> None:
    """The text follows the body, and the message is whole with it, its length declared or not."""
    seen = await observe(provider.url, 'body-tail(text="é!")', stream=stream)
    assert seen.body.endswith("é!".encode())
    assert seen.ending == "complete"
    assert seen.header("content-length") == (None if stream else str(len(seen.body)))


async def test_lines_of_json_keep_the_text(provider: MockProvider) -> None:
    """Whatever the chunking, each event is one line; `same` keeps the documents and drops what is none."""
    provider.on().reply(REPLY)
    for chunking in ("payloads_per_chunk=1/7", "payloads_per_chunk=3"):
        seen = await observe(provider.url, "ndjson", headers=[("x-mockprovider-chunking", chunking)])
        lines = [json.loads(line) for line in seen.body.splitlines()]
        assert "".join(line["message"]["content"] for line in lines) == REPLY
        assert lines[-1]["done_reason"] == "stop"
    seen = await observe(provider.url, "ndjson(documents=same)")
    lines = [json.loads(line) for line in seen.body.splitlines()]
    assert {line["object"] for line in lines} == {"chat.completion.chunk"}
    assert lines[-1]["choices"][0]["finish_reason"] == "stop"


def test_lines_of_json_conserve_time() -> None:
    """Half an event makes no line; its gap goes to the line that it becomes a part of. A control passes at once."""
    document = {"model": "m", "choices": [{"delta": {"content": "x"}, "finish_reason": None}]}
    block = b"data: " + json.dumps(document).encode() + b"\n\n"
    items: list[Timed[Any]] = [
        (0.0, Head(200, (("Content-Type", "text/event-stream"),)), NOWHERE),
        (1.0, block[:9], NOWHERE),
        (2.0, Write(block[9:], 0.5), NOWHERE),
        (4.0, b": comment\n\n", NOWHERE),
        (8.0, Close(), NOWHERE),
    ]
    head, line, end = staged("ndjson", items)
    assert head[1].header("content-type") == "application/x-ndjson"
    assert (line[0], line[1].apart) == (3.0, 0.5)
    assert json.loads(line[1].data)["message"] == {"role": "assistant", "content": "x"}
    assert (end[0], type(end[1])) == (12.0, Close)
    with pytest.raises(SettingError, match="asks for a whole reply"):
        Ndjson().stage(context(stream=False))
    with pytest.raises(SettingError, match="not anthropic"):
        Ndjson().stage(context(dialect="anthropic"))


# ------------------------------------------------------------------------------------------------ the head, or nothing


@pytest.mark.parametrize(("how", "ending"), [("close", "eof"), ("reset", "reset"), ("hang", "open")])
async def test_no_response_is_not_one_byte(provider: MockProvider, how: str, ending: str) -> None:
    """The request is read, nothing is sent, and the connection ends as it was told to."""
    seen = await observe(provider.url, f"no-response(how={how})", quiet=0.3)
    assert (seen.raw, seen.ending) == (b"", ending)
    (exchange,) = provider.exchanges
    assert exchange.json["messages"][0]["content"] == "Hello"


def test_no_response_waits_at_a_gate_before_the_head() -> None:
    """What stands before the first byte is still waited for."""
    items: list[Timed[Any]] = [(1.0, Hold("before-head"), NOWHERE), (2.0, b"HTTP", NOWHERE), (0.0, End(), NOWHERE)]
    hold, close, *_ = staged("no-response", items)
    assert (hold[0], type(hold[1]), close[0], type(close[1])) == (1.0, Hold, 2.0, Close)


async def test_the_head_may_come_byte_by_byte(provider: MockProvider) -> None:
    """Each byte of the head is a read of its own; the body follows whole."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, "dribble-head(seconds=0.001)", longest=20)
    size = seen.head.head_ends
    assert [len(read.data) for read in seen.reads[:size]] == [1] * size
    good_text(seen)


async def test_the_head_may_come_line_by_line(provider: MockProvider) -> None:
    """Each line of the head is a read of its own, so far apart."""
    provider.on().reply(REPLY)
    seen = await observe(provider.url, "dribble-head(by=line,seconds=0.02)")
    lines = seen.raw[: seen.head.head_ends].split(b"\r\n")[:-1]
    assert [read.data for read in seen.reads[: len(lines)]] == [line + b"\r\n" for line in lines]
    assert all(seen.reads[at].time - seen.asked >= 0.02 * at for at in range(len(lines))), "none comes too early"
    good_text(seen)


def good_text(seen: Seen) -> None:
    """The reply is whole."""
    assert (seen.text, seen.done, seen.ending) == (REPLY, 1, "complete")


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("status(code=199)", "code: expected a status from 200 to 599, got 199"),
        ("status(code=600)", "code: expected a status"),
        ("status(code=500.5)", "code: expected a status"),
        ("status(body=xml)", "body: expected provider or json"),
        ('status(json={},text="a")', "json and text: expected one of them"),
        ("status(json={},body=html)", "json: expected body=json or body=event with it, got body=html"),
        ('status(text="a",body=provider)', "text: expected body=text or body=html with it"),
        ("status(body=json)", "body=json: expected json=... with it"),
        ("status(body=text)", "body=text: expected text=... with it"),
        ('status(body=html,message="a")', "message: a part of the provider's error, which body=html has not"),
        ("status(code=204)", "a 204 has none"),
        ('status(headers={"a b":"c"})', "headers: expected a JSON object of texts"),
        ('status(headers={"a":"b\\nc"})', "headers: expected a JSON object of texts"),
        ('status(headers={"a":1})', "headers: expected a JSON object of texts"),
        ('status(content_type="a\\r\\nb")', "content_type: expected a text that fits into a header"),
        ("rate-limited(retry_after=-1)", "retry_after: expected a number of seconds >= 0"),
        ("rate-limited(form=soon)", "form: expected seconds or http-date"),
        ('rate-limited(value="x")', "value: expected form=malformed with it, got form=seconds"),
        ("rate-limited(reset_tokens=1)", "reset_tokens: expected provider=... or form=reset-headers"),
        ("rate-limited(provider=groqq)", "provider: expected openai or azure"),
        ("limit", "expected rpm, tpm or both"),
        ("limit(rpm=0)", "rpm: expected a whole number >= 1"),
        ("redirect(code=304)", "code: expected 301, 302, 303, 307 or 308, got 304"),
        ('redirect(to="ftp://a")', "to: expected same, other-host, none, a path"),
        ('redirect(to="elsewhere")', "to: expected same, other-host, none, a path"),
        ("answer-as(form=xml)", "form: expected json or sse"),
        ("no-response(how=sleep)", "how: expected close or reset or hang"),
        ("leading-newlines(count=0)", "count: expected a whole number >= 1"),
        ("statu", "unknown fault or case 'statu'; did you mean 'status'?"),
    ],
)
async def test_what_cannot_be_is_refused_before_a_stream_starts(provider: MockProvider, text: str, why: str) -> None:
    """400 in the provider's shape, naming fault, setting and what is allowed."""
    seen = await observe(provider.url, text)
    assert (seen.status, seen.document["error"]["code"]) == (400, "invalid_fault")
    assert why in seen.document["error"]["message"]


@pytest.mark.parametrize(
    "text",
    [
        'status(code=500,json={"a":[1,"é/+"]},attempt=1..2)',
        'status(code=200,body=event,message="x")',
        'rate-limited(retry_after=0.5,form=ms,provider=azure,headers={"a":"b"})',
        "limit(rpm=3,tpm=1000)",
        'redirect(code=308,to="/v2")',
        'content-type(value="")',
        "dribble-head(by=line,p=0.5)",
    ],
)
def test_faults_are_their_text(text: str) -> None:
    """A fault written down is read as the same fault."""
    assert chain(text_of(chain(text))) == chain(text)


async def test_the_case_text_is_the_observers(provider: MockProvider) -> None:
    """A case that replaces nothing says the catalogue's text."""
    assert (await observe(provider.url, "sse-with-text-plain")).text == TEXT

"""Each case of the family `before`, proved on the wire from the words of its row.

A proof asks as often as the row's attempts want, sees bytes alone, and takes nothing from the package but the URL of
the case.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from mockprovider import MockProvider
from mockprovider.cases import cases, recipe
from mockprovider.faults.base import Fault, Pass
from mockprovider.server import listeners
from tests.cases.observe import TEXT, Seen, observe
from tests.wiretap import Response, tapping

FAMILY = "before"
CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
KEY = ("Authorization", "Bearer sk-any")


class Client:
    """Asks for one case, again and again."""

    def __init__(self, provider: MockProvider, name: str) -> None:
        self.provider = provider
        self.name = name

    async def ask(self, **how: Any) -> Seen:
        """One request to the case."""
        return await observe(self.provider.url, self.name, **how)

    async def raw(self, method: str, url: str, *headers: tuple[str, str]) -> Response:
        """One request to any URL, with a Host header as clients send it. No redirect is followed."""
        parts = urlsplit(url)
        content = json.dumps(BODY).encode() if method == "POST" else b""
        sent = [("Host", parts.netloc), *headers]
        if content:
            sent += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent)]
        async with tapping(url, method) as tap:
            return await tap.ask("\r\n".join(lines).encode() + b"\r\n\r\n" + content)


Proof = Callable[[Client], Awaitable[None]]
PROOFS: dict[str, Proof] = {}


def proof(name: str) -> Callable[[Proof], Proof]:
    """The decorated function proves this case."""

    def register(function: Proof) -> Proof:
        assert name not in PROOFS, f"{name} has two proofs"
        PROOFS[name] = function
        return function

    return register


# ------------------------------------------------------------------------------------------------ what they share


def good(seen: Seen, content_type: str | None = "text/event-stream; charset=utf-8") -> None:
    """The good stream: whole text, finish reason, sentinel, a clean end."""
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.header("content-type") == content_type
    assert seen.text == TEXT
    assert seen.finishes == ["stop"]
    assert seen.data[-1] == "[DONE]"
    assert seen.done == 1


def is_json(seen: Seen, status: int) -> Any:
    """The whole body is a JSON document, under this status; the document."""
    assert (seen.status, seen.ending) == (status, "complete")
    assert seen.header("content-type") == "application/json"
    return seen.document


def names(seen: Seen, pattern: str) -> list[str]:
    """The names of the headers that match."""
    return [name for name, _ in seen.head.headers if re.fullmatch(pattern, name, re.IGNORECASE)]


async def always(client: Client, check: Callable[[Seen], Any], attempts: int = 3) -> None:
    """Every attempt is answered so."""
    for _ in range(attempts):
        check(await client.ask())


async def once(client: Client, check: Callable[[Seen], Any]) -> None:
    """The first attempt is answered so, the second with the good stream; then it begins anew."""
    check(await client.ask())
    good(await client.ask())
    check(await client.ask())


# ------------------------------------------------------------------------------------------------ status 429


@proof("http-429-retry-after-seconds")
async def retry_after_seconds(client: Client) -> None:
    """429 with `Retry-After: 2` and a rate_limit_error, then the good stream."""

    def check(seen: Seen) -> None:
        assert is_json(seen, 429)["error"]["type"] == "rate_limit_error"
        assert seen.header("retry-after") == "2"
        assert not names(seen, "retry-after-ms")

    await once(client, check)


@proof("http-429-retry-after-http-date")
async def retry_after_date(client: Client) -> None:
    """Retry-After is an HTTP date, a few seconds ahead of the Date header."""

    def check(seen: Seen) -> None:
        assert seen.status == 429
        said, date = seen.header("retry-after") or "", seen.header("date") or ""
        form = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"
        assert re.fullmatch(form, said)
        ahead = (parsedate_to_datetime(said) - parsedate_to_datetime(date)).total_seconds()
        assert 2 <= ahead <= 5

    await once(client, check)


@proof("http-429-retry-after-ms")
async def retry_after_ms(client: Client) -> None:
    """Both headers: 750 milliseconds and one second."""

    def check(seen: Seen) -> None:
        assert (seen.status, seen.header("retry-after-ms"), seen.header("retry-after")) == (429, "750", "1")

    await once(client, check)


@proof("http-429-no-retry-after")
async def no_retry_after(client: Client) -> None:
    """A JSON error and no hint of any kind."""

    def check(seen: Seen) -> None:
        assert isinstance(is_json(seen, 429)["error"], dict)
        assert not names(seen, "retry-after.*|x-ratelimit-reset.*|x-should-retry")

    await once(client, check)


@proof("http-429-retry-after-huge")
async def retry_after_huge(client: Client) -> None:
    """An hour, on every attempt."""

    def check(seen: Seen) -> None:
        assert (seen.status, seen.header("retry-after")) == (429, "3600")

    await always(client, check)


@proof("http-429-retry-after-malformed")
async def retry_after_malformed(client: Client) -> None:
    """The value is one of those that no number and no date are."""

    def check(seen: Seen) -> None:
        assert seen.status == 429
        assert seen.header("retry-after") in ("", "NaN", "-1", "500ms")

    await once(client, check)


@proof("http-429-reset-headers-only")
async def reset_headers_only(client: Client) -> None:
    """Two durations in the style of Go, and no Retry-After."""

    def check(seen: Seen) -> None:
        assert seen.status == 429
        assert seen.header("x-ratelimit-reset-requests") == "6m0s"
        assert seen.header("x-ratelimit-reset-tokens") == "500ms"
        assert not names(seen, "retry-after.*")

    await once(client, check)


@proof("http-429-insufficient-quota")
async def insufficient_quota(client: Client) -> None:
    """429 whose code and type say that the quota is gone, on every attempt."""

    def check(seen: Seen) -> None:
        error = is_json(seen, 429)["error"]
        assert (error["code"], error["type"]) == ("insufficient_quota", "insufficient_quota")

    await always(client, check)


# ------------------------------------------------------------------------------------------------ other refusals


@proof("http-400-insufficient-quota")
async def quota_as_400(client: Client) -> None:
    """400 whose message says that quota or balance is used up, on every attempt."""

    def check(seen: Seen) -> None:
        assert re.search(r"(quota|balance).* (used up|exhausted)", is_json(seen, 400)["error"]["message"])

    await always(client, check)


@proof("http-413-tpm-rate-limit")
async def too_large_for_tpm(client: Client) -> None:
    """413 of type tokens and code rate_limit_exceeded, with limit and need in its message, on every attempt."""

    def check(seen: Seen) -> None:
        error = is_json(seen, 413)["error"]
        assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
        assert re.match(r"Request too large .*\(?TPM\)?: Limit 6000, Requested 14810", error["message"])

    await always(client, check)


@proof("http-401-bad-key")
async def bad_key(client: Client) -> None:
    """401 with the code invalid_api_key, on every attempt."""

    def check(seen: Seen) -> None:
        error = is_json(seen, 401)["error"]
        assert error["message"].startswith("Incorrect API key ")
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")

    await always(client, check)


@proof("http-401-bare-string-error")
async def bare_string_error(client: Client) -> None:
    """401 whose body is exactly this."""
    assert is_json(await client.ask(), 401) == {"error": "Unauthorized"}


@proof("http-402-credits")
async def credits_used_up(client: Client) -> None:
    """402 with an error object about credits, on every attempt."""

    def check(seen: Seen) -> None:
        assert "credits" in is_json(seen, 402)["error"]["message"]

    await always(client, check)


@proof("http-4xx-detail-string")
async def detail_string(client: Client) -> None:
    """A 4xx with `detail` and nothing else."""
    seen = await client.ask()
    assert 400 <= seen.status <= 499
    detail = is_json(seen, seen.status)
    assert list(detail) == ["detail"]
    assert isinstance(detail["detail"], str)


@proof("http-4xx-json-array")
async def json_array(client: Client) -> None:
    """400 whose body is an array of one error."""
    (element,) = is_json(await client.ask(), 400)
    assert list(element) == ["error"]
    assert (element["error"]["code"], element["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert element["error"]["message"]


@proof("http-500-json")
async def json_of_another_shape(client: Client) -> None:
    """500 with `success: false` beside the error, then the good stream."""

    def check(seen: Seen) -> None:
        document = is_json(seen, 500)
        assert document["success"] is False
        assert document["error"]["code"] == "INTERNAL_SERVER_ERROR"

    await once(client, check)


def is_page(seen: Seen, status: int) -> None:
    """A whole HTML page under this status."""
    assert (seen.status, seen.ending) == (status, "complete")
    assert (seen.header("content-type") or "").partition(";")[0] == "text/html"
    assert seen.body.startswith(b"<!DOCTYPE html>")
    assert seen.body.rstrip().endswith(b"</html>")


@proof("http-502-html-cloudflare")
async def bad_gateway_page(client: Client) -> None:
    """502 with an error page of a proxy, then the good stream."""

    def check(seen: Seen) -> None:
        is_page(seen, 502)
        assert b"502" in seen.body

    await once(client, check)


@proof("http-520-html")
async def unknown_error_page(client: Client) -> None:
    """520, a status without a registered name, with a page, then the good stream."""
    await once(client, lambda seen: is_page(seen, 520))


@proof("http-503-model-loading")
async def model_loading(client: Client) -> None:
    """503 with llama-server's error, then the good stream."""
    error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}

    def check(seen: Seen) -> None:
        assert is_json(seen, 503) == {"error": error}

    await once(client, check)


@proof("http-529-overloaded")
async def overloaded(client: Client) -> None:
    """529 with Anthropic's error, then the good Anthropic stream."""
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    how: dict[str, Any] = {
        "path": "/v1/messages",
        "headers": [("anthropic-version", "2023-06-01"), ("x-api-key", "any")],
        "model": "claude-haiku-4-5",
        "max_tokens": 1024,
    }
    assert is_json(await client.ask(**how), 529) == said
    second = await client.ask(**how)
    assert (second.status, second.ending) == (200, "complete")
    assert second.events[0].type == "message_start"
    assert second.events[-1].type == "message_stop"
    deltas = [document.get("delta", {}).get("text", "") for document in second.documents]
    assert "".join(deltas) == TEXT


@proof("http-x-should-retry-false")
async def should_not_retry(client: Client) -> None:
    """503 that asks not to be retried, on every attempt."""

    def check(seen: Seen) -> None:
        assert (seen.status, seen.header("x-should-retry")) == (503, "false")

    await always(client, check)


@proof("http-408-409-retryable")
async def timeout_or_conflict(client: Client) -> None:
    """408 or 409 with a JSON error, then the good stream."""

    def check(seen: Seen) -> None:
        assert seen.status in (408, 409)
        assert isinstance(is_json(seen, seen.status)["error"], dict)

    await once(client, check)


# ------------------------------------------------------------------------------------------------ redirects


async def redirected(client: Client, status: int) -> tuple[str, str]:
    """The URL of the case and the one that its redirect leads to; it is a redirect every time."""
    asked = f"{client.provider.url}/with/{client.name}{CHAT}"
    for _ in range(2):
        response = await client.raw("POST", asked, KEY)
        assert response.status == status
        location = response.header("location")
        assert location
    target = urljoin(asked, location)
    assert target != asked
    return asked, target


def is_good(response: Response) -> None:
    """The same as `good`, of a response."""
    assert response.status == 200
    assert bytes(response.body).endswith(b"data: [DONE]\n\n")
    documents = [json.loads(block[6:]) for block in bytes(response.body).split(b"\n\n")[:-2]]
    assert "".join(d["choices"][0]["delta"].get("content") or "" for d in documents) == TEXT


def origin(url: str) -> tuple[str, str | None, int | None]:
    """What makes two URLs the same origin."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


@proof("http-307-same-host")
async def redirect_same_host(client: Client) -> None:
    """307 to a path of the same origin, which wants the POST again, with Authorization."""
    asked, target = await redirected(client, 307)
    assert origin(target) == origin(asked)
    is_good(await client.raw("POST", target, KEY))
    assert (await client.raw("POST", target)).status == 401


@proof("http-301-post-becomes-get")
async def redirect_301(client: Client) -> None:
    """301 to a path of the same origin: a POST gets the good stream, a GET 405."""
    asked, target = await redirected(client, 301)
    assert origin(target) == origin(asked)
    is_good(await client.raw("POST", target))
    assert (await client.raw("GET", target, KEY)).status == 405


@proof("http-redirect-drops-auth")
async def redirect_elsewhere(client: Client) -> None:
    """307 to another origin: 401 without Authorization, the good stream with it."""
    asked, target = await redirected(client, 307)
    assert origin(target) != origin(asked)
    assert (await client.raw("POST", target)).status == 401
    is_good(await client.raw("POST", target, KEY))


# ------------------------------------------------------------------------------------------------ status 200


@proof("http-200-json-error")
async def error_as_200(client: Client) -> None:
    """200 and a JSON error, though a stream was asked for."""
    document = is_json(await client.ask(stream=True), 200)
    assert list(document) == ["error"]
    assert document["error"]["message"]


@proof("http-200-error-first-event")
async def error_as_first_event(client: Client) -> None:
    """The first event is the error, and no content follows."""
    seen = await client.ask()
    assert (seen.status, seen.ending) == (200, "complete")
    assert (seen.header("content-type") or "").startswith("text/event-stream")
    assert seen.blocks[0].startswith(b'data: {"error":{"code":400,')
    assert seen.documents[0]["error"]["message"]
    assert seen.deltas == []


@proof("http-200-empty-body")
async def empty_body(client: Client) -> None:
    """200, no bytes, a clean end."""
    seen = await client.ask()
    assert (seen.status, seen.ending, seen.body) == (200, "complete", b"")


@proof("http-200-html")
async def page_as_200(client: Client) -> None:
    """200 and a login page."""
    seen = await client.ask()
    is_page(seen, 200)
    assert b"<form" in seen.body


# ------------------------------------------------------------------------------------------------ another form


def is_completion(document: Any) -> None:
    """One whole chat.completion object with the text."""
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"]["content"] == TEXT


@proof("json-instead-of-sse")
async def document_for_stream(client: Client) -> None:
    """One whole object, though a stream was asked for."""
    is_completion(is_json(await client.ask(stream=True), 200))


@proof("sse-with-json-content-type")
async def stream_called_json(client: Client) -> None:
    """The good stream, called application/json."""
    good(await client.ask(), "application/json")


@proof("sse-with-text-plain")
async def stream_called_text(client: Client) -> None:
    """The good stream, called text/plain."""
    good(await client.ask(), "text/plain; charset=utf-8")


@proof("sse-missing-content-type")
async def stream_without_type(client: Client) -> None:
    """The good stream, without the header."""
    good(await client.ask(), None)


@proof("ndjson-instead-of-sse")
async def lines_for_stream(client: Client) -> None:
    """Lines of JSON, the last one done, no `data:` before them."""
    seen = await client.ask()
    assert (seen.status, seen.ending) == (200, "complete")
    assert seen.header("content-type") == "application/x-ndjson"
    assert seen.body.endswith(b"}\n")
    documents = [json.loads(line) for line in seen.body.split(b"\n")[:-1]]
    assert [document["done"] for document in documents] == [False] * (len(documents) - 1) + [True]
    assert "".join(document["message"]["content"] for document in documents) == TEXT
    assert len(documents) > 10


@proof("sse-when-not-requested")
async def stream_for_document(client: Client) -> None:
    """The good stream, though none was asked for."""
    good(await client.ask(stream=False))


@proof("json-plus-done-tail")
async def tail_after_document(client: Client) -> None:
    """One whole object, and the sentinel of a stream after it in the same body."""
    seen = await client.ask(stream=False)
    assert (seen.status, seen.ending, seen.header("content-type")) == (200, "complete", "application/json")
    document, end = json.JSONDecoder().raw_decode(seen.body.decode())
    is_completion(document)
    assert seen.body.decode()[end:].strip() == "data: [DONE]"


@proof("json-after-keepalive-newlines")
async def newlines_before_document(client: Client) -> None:
    """Line ends come one by one over a while, then the object."""
    seen = await client.ask(stream=False)
    assert (seen.status, seen.ending) == (200, "complete")
    is_completion(seen.document)
    ahead = len(seen.body) - len(seen.body.lstrip(b"\n"))
    assert ahead >= 3
    first = [read.data for read in seen.arrivals[:ahead]]
    assert first == [b"\n"] * ahead
    assert seen.arrivals[ahead - 1].time - seen.asked > 0.5
    assert seen.arrivals[ahead].time > seen.arrivals[ahead - 1].time


# ------------------------------------------------------------------------------------------------ connections


def connecting(url: str) -> int:
    """The errno of connecting to the host and port of a URL; 0 where it succeeds."""
    parts = urlsplit(url)
    with socket.socket() as made:
        return made.connect_ex((parts.hostname, parts.port))


@proof("connect-refused")
async def refused(client: Client) -> None:
    """Connecting fails with ECONNREFUSED; when the time is over, the good stream is there."""
    url = client.provider.case_url(client.name)
    assert url.endswith("/v1")
    assert origin(url) != origin(client.provider.url)
    assert [connecting(url) for _ in range(3)] == [errno.ECONNREFUSED] * 3
    url = client.provider.case_url(client.name, seconds=0.2)
    assert connecting(url) == errno.ECONNREFUSED
    while connecting(url):
        await asyncio.sleep(0.02)
    seen = await observe(url.removesuffix("/v1"))
    assert (seen.status, seen.done, seen.ending) == (200, 1, "complete")


@proof("reset-before-headers")
async def closed_without_a_byte(client: Client) -> None:
    """The connection is closed with zero bytes sent, then the good stream."""

    def check(seen: Seen) -> None:
        assert (seen.raw, seen.ending) == (b"", "eof")

    await once(client, check)


@proof("slow-headers")
async def silence_before_the_head(client: Client) -> None:
    """Not a byte for a while, then the good stream."""
    seen = await client.ask()
    assert 0.9 < seen.first < 5
    good(seen)


# ------------------------------------------------------------------------------------------------ the tests


@pytest.mark.parametrize("name", PROOFS)
async def test_the_wire_is_what_the_row_says(provider: MockProvider, name: str) -> None:
    """Each case puts on the wire what its description says, on every attempt that it speaks of."""
    await PROOFS[name](Client(provider, name))


def links() -> Sequence[tuple[str, str]]:
    """Every (case, link) of the family: each fault of its chain, or its listener."""
    return [
        (name, link)
        for name in PROOFS
        for link in (["listener"] if cases()[name].listener else map(str, recipe(name).faults))
    ]


@pytest.mark.parametrize(("name", "link"), links())
async def test_without_its_faults_a_case_is_not_observed(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch, name: str, link: str
) -> None:
    """No proof is vacuous: with any one fault of the case taken away, or its port as usual, it fails."""
    if link == "listener":
        usual = listeners._Port.__init__

        def made(self: Any, *arguments: Any) -> None:
            usual(self, *arguments)
            self._behave()

        monkeypatch.setattr(listeners._Port, "__init__", made)
    else:
        disarm(next(fault for fault in recipe(name).faults if str(fault) == link), monkeypatch)
    with pytest.raises(AssertionError):
        await PROOFS[name](Client(provider, name))


def disarm(broken: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """This fault does nothing any more; others of its kind do what they did."""
    kind = type(broken)
    nothing = {"stage": Pass, "respond": lambda: None, "asks": dict}
    for method, none in nothing.items():
        usual = getattr(kind, method)

        def stub(self: Any, context: Any, usual: Any = usual, none: Any = none) -> Any:
            return none() if self == broken else usual(self, context)

        monkeypatch.setattr(kind, method, stub)


def test_every_row_is_proved() -> None:
    """Every row of the family has a proof; 40 rows."""
    rows = [case for case in cases().values() if case.family == FAMILY]
    assert len(rows) == 40
    assert set(PROOFS) == {case.name for case in rows if case.available} == {case.name for case in rows}


@pytest.mark.parametrize("kind", ["reset", "silence"])
async def test_a_port_may_reset_or_say_nothing_and_then_serve(provider: MockProvider, kind: str) -> None:
    """What happens at accept is ECONNRESET, or silence on an open connection; then, where it was asked so, service."""
    url = provider.listener_url(kind, first=2)
    for _ in range(2):
        # The kernel completes the handshake; the server's loop, which is this one, has not yet had a turn.
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as made:
            made.setblocking(False)
            if kind == "silence":  # closing with unread bytes would be RST without any doing of the server's
                made.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            receiving = asyncio.get_running_loop().sock_recv(made, 1)
            with pytest.raises(TimeoutError if kind == "silence" else ConnectionResetError):
                await asyncio.wait_for(receiving, 0.2 if kind == "silence" else 5)
    seen = await observe(url.removesuffix("/v1"))
    assert (seen.status, seen.done, seen.ending) == (200, 1, "complete")

"""Real clients as witnesses: a stream that goes wrong does to each what that client is known to do with it.

The bytes are right, since the library does what it does with such bytes. What is asserted is what the libraries do
today, not what they ought to do; where that depends on a version, the docstring names it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import httpx_sse
import openai
import pytest
from aiohttp import ClientPayloadError
from aiohttp.http_exceptions import LineTooLong

from tests.clients import witnesses
from tests.clients.witnesses import Heard, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockprovider import MockProvider

    Ask = Callable[..., None]

SAID = "The heron waits at the edge of the reeds while the tide comes in, and nothing moves at all."
SEPARATED = "One line\u2028another\u2029a third\u0085and the last."
"""U+2028, U+2029 and U+0085 may stand in JSON as they are; they end no line of an event stream."""

OPENAI: dict[str, Ask] = {"openai": witnesses.openai_sync, "openai-async": witnesses.openai_async}
ANTHROPIC: dict[str, Ask] = {"raw": witnesses.anthropic_raw, "helper": witnesses.anthropic_helper}
BY_HAND: dict[str, Ask] = {
    "httpx-lines": witnesses.httpx_lines,
    "requests-lines": witnesses.requests_lines,
    "aiohttp-lines": witnesses.aiohttp_lines,
}


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """The clients for Node, in one process for all tests here."""
    with Node.running() as clients:
        yield clients


def each(clients: dict[str, Ask]) -> pytest.MarkDecorator:
    """The same test for each client, as `ask`."""
    return pytest.mark.parametrize("ask", clients.values(), ids=clients.keys())


def heard_by(ask: Ask, base_url: str, **options: Any) -> str:
    """The text that a client hands out when all goes well for it."""
    heard: list[str] = []
    ask(base_url, heard, **options)
    return "".join(heard)


def failed_by(ask: Ask, base_url: str, expected: type[Exception], **options: Any) -> tuple[str, Exception]:
    """The text that a client handed out before its exception, and the exception."""
    heard: list[str] = []
    with pytest.raises(expected) as caught:
        ask(base_url, heard, **options)
    assert type(caught.value) is expected
    return "".join(heard), caught.value


def outcomes(provider: MockProvider, exchanges: int = 1) -> list[str | None]:
    """How the exchanges ended, all of them."""
    return [exchange.outcome for exchange in provider.wait_for(exchanges)]


def sent(provider: MockProvider) -> bytes:
    """What the first exchange sent, HTTP's own bytes among it."""
    return b"".join(provider.wait_for(1)[0].sent.data)


def seconds(provider: MockProvider) -> float:
    """How long the first exchange took."""
    [exchange, *_] = provider.wait_for(1)
    assert exchange.ended is not None
    return exchange.ended - exchange.started


def is_cut(text: str) -> bool:
    """Whether it is some of the text but not all."""
    return bool(text) and text != SAID and SAID.startswith(text)


# ---------------------------------------------------------------------------------------------- 1, 3: silent successes


@each(OPENAI)
def test_a_clean_end_half_way_is_a_success_for_openai(ask: Ask, mock_provider: MockProvider) -> None:
    """openai 3.54 takes a body that ends cleanly without finish reason and `[DONE]` for a whole answer."""
    mock_provider.on().reply(SAID, faults="sse-eof-no-finish")
    assert is_cut(heard_by(ask, mock_provider.openai_url))
    assert outcomes(mock_provider) == ["complete"]


def test_a_clean_end_half_way_comes_without_a_finish_reason(mock_provider: MockProvider) -> None:
    """No chunk that openai passes on from such a stream has a finish reason, and the last one is no different."""
    mock_provider.on().reply(SAID, faults="sse-eof-no-finish")
    chunks = list(witnesses.openai_chunks(mock_provider.openai_url))
    assert len(chunks) > 2
    assert {choice.finish_reason for chunk in chunks for choice in chunk.choices} == {None}


@pytest.mark.parametrize("client", ["openai", "ai", "eventsource-parser"])
def test_a_clean_end_half_way_is_a_success_in_node(client: str, node: Node, mock_provider: MockProvider) -> None:
    """The openai package 6.49 for Node, ai 6.0 and eventsource-parser 3.1 end normally with the partial text."""
    mock_provider.on().reply(SAID, faults="sse-eof-no-finish")
    heard = node(client, mock_provider.openai_url)
    assert is_cut(heard.text)
    assert heard == Heard(heard.text, [], None)
    assert outcomes(mock_provider) == ["complete"]


NOTHING_SAID = ("http-200-empty-body", "http-200-html")


@pytest.mark.parametrize("case", NOTHING_SAID)
@each({**OPENAI, "sseclient-py": witnesses.sseclient_bytes, **BY_HAND})
def test_a_200_without_events_is_an_empty_success(ask: Ask, case: str, mock_provider: MockProvider) -> None:
    """A status 200 with no body, or with a page of HTML, is an answer of no text for openai and most others."""
    assert heard_by(ask, f"{mock_provider.url}/with/{case}/v1") == ""
    assert outcomes(mock_provider) == ["complete"]


@pytest.mark.parametrize("case", NOTHING_SAID)
@pytest.mark.parametrize("client", ["openai", "ai"])
def test_a_200_without_events_is_an_empty_success_in_node(
    client: str, case: str, node: Node, mock_provider: MockProvider
) -> None:
    """The openai package for Node and the AI SDK's text stream end such an answer without a word, too."""
    assert node(client, f"{mock_provider.url}/with/{case}/v1") == Heard("", [], None)


@pytest.mark.parametrize("case", NOTHING_SAID)
def test_httpx_sse_refuses_a_200_without_events(case: str, mock_provider: MockProvider) -> None:
    """httpx-sse looks at the Content-Type, and raises: the answer does not say that it is an event stream."""
    text, error = failed_by(witnesses.httpx_sse_events, f"{mock_provider.url}/with/{case}/v1", httpx_sse.SSEError)
    assert text == ""
    assert "text/event-stream" in str(error)


# ---------------------------------------------------------------------------------------------- 4, 6: tutorials


def test_sseclient_over_lines_fails_on_a_good_stream(mock_provider: MockProvider) -> None:
    """sseclient-py over httpx's `iter_lines` raises TypeError on a perfect stream; over `iter_bytes` it reads it."""
    mock_provider.on().reply(SAID)
    text, _ = failed_by(witnesses.sseclient_lines, mock_provider.openai_url, TypeError)
    assert text == ""
    assert heard_by(witnesses.sseclient_bytes, mock_provider.openai_url) == SAID


def test_a_tutorial_that_parses_all_data_dies_on_the_sentinel(mock_provider: MockProvider) -> None:
    """A client that gives every `data:` to `json.loads` has the whole text when `[DONE]` ends it by an exception."""
    mock_provider.on().reply(SAID)
    text, error = failed_by(witnesses.everything_is_json, mock_provider.openai_url, json.JSONDecodeError)
    assert isinstance(error, json.JSONDecodeError)
    assert (text, error.doc.strip()) == (SAID, "[DONE]")


@pytest.mark.parametrize(
    ("status", "faults"), [(401, "status(code=401)"), (429, "rate-limited"), (500, "status(code=500)")]
)
@each({"sseclient-py": witnesses.sseclient_bytes, **BY_HAND})
def test_an_error_status_that_nobody_reads_is_an_empty_success(
    ask: Ask, status: int, faults: str, mock_provider: MockProvider
) -> None:
    """A client that never calls `raise_for_status` makes an answer of no text of a 401, a 429 and a 500."""
    mock_provider.on().reply(SAID, faults=faults)
    assert heard_by(ask, mock_provider.openai_url) == ""
    assert [exchange.status for exchange in mock_provider.wait_for(1)] == [status]


@each(BY_HAND)
def test_data_without_a_space_is_nothing_to_parsers_made_by_hand(ask: Ask, mock_provider: MockProvider) -> None:
    """A parser that looks for `data: ` finds nothing in a stream without the space and succeeds with no text."""
    mock_provider.on().reply(SAID, faults="sse-no-space")
    assert heard_by(ask, mock_provider.openai_url) == ""


def test_data_without_a_space_is_nothing_to_a_loop_over_fetch(node: Node, mock_provider: MockProvider) -> None:
    """The same loop over Node's fetch hears nothing, while eventsource-parser 3.1 reads it all."""
    mock_provider.on().reply(SAID, faults="sse-no-space")
    assert node("fetch", mock_provider.openai_url) == Heard("", [], None)
    assert node("eventsource-parser", mock_provider.openai_url) == Heard(SAID, ["stop"], None)


@each({**OPENAI, "sseclient-py": witnesses.sseclient_bytes, "httpx-sse": witnesses.httpx_sse_events})
def test_data_without_a_space_is_text_to_libraries(ask: Ask, mock_provider: MockProvider) -> None:
    """openai, sseclient-py and httpx-sse read the stream without the space in full: it is optional."""
    mock_provider.on().reply(SAID, faults="sse-no-space")
    assert heard_by(ask, mock_provider.openai_url) == SAID
    assert b"data: " not in sent(mock_provider)


@pytest.mark.parametrize("case", ["json-split", "event-boundary-split"])
def test_a_parser_without_carry_over_loses_what_is_cut(case: str, mock_provider: MockProvider) -> None:
    """A parser that takes each read for whole events loses text of events cut over two reads, and succeeds."""
    mock_provider.on().reply(SAID, faults=case)
    lost = heard_by(witnesses.reads_are_events, mock_provider.openai_url)
    assert len(lost) < len(SAID)
    assert heard_by(witnesses.openai_sync, mock_provider.openai_url) == SAID


def test_a_parser_without_carry_over_reads_what_is_not_cut(mock_provider: MockProvider) -> None:
    """The same parser reads all of a stream whose every read is a whole event."""
    mock_provider.on().reply(SAID)
    assert heard_by(witnesses.reads_are_events, mock_provider.openai_url) == SAID


# ---------------------------------------------------------------------------------------------- 5: lines


def test_lines_of_httpx_end_inside_the_json(mock_provider: MockProvider) -> None:
    """httpx's `iter_lines` cuts at U+2028, so the JSON of that delta fails to parse; before it, all is well."""
    mock_provider.on().reply(SEPARATED)
    text, error = failed_by(witnesses.httpx_lines, mock_provider.openai_url, json.JSONDecodeError)
    assert text
    assert SEPARATED.partition("\u2028")[0].startswith(text)
    assert isinstance(error, json.JSONDecodeError)
    assert error.doc.startswith("{")
    assert not error.doc.endswith("}")


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"], ids=["2028", "2029", "0085"])
def test_httpx_has_one_line_more_for_each_separator(separator: str, mock_provider: MockProvider) -> None:
    """httpx's `iter_lines` makes two lines of one at U+2028, U+2029 and U+0085; `iter_bytes` has the character."""
    mock_provider.on().reply(f"Before{separator}after.", chunking="tokens_per_payload=99")
    with witnesses.httpx_response(mock_provider.openai_url) as response:
        content = b"".join(response.iter_bytes())
    with witnesses.httpx_response(mock_provider.openai_url) as response:
        lines = list(response.iter_lines())
    assert content.count(separator.encode()) == 1
    assert len(lines) == content.count(b"\n") + 1
    assert [line[:6] for line in lines if line and not line.startswith("data: ")] == ["after."]
    assert separator not in "".join(lines)


@each(
    {
        "openai": witnesses.openai_sync,
        "sseclient-py": witnesses.sseclient_bytes,
        "httpx-sse": witnesses.httpx_sse_events,
        "requests": witnesses.requests_lines,
        "aiohttp": witnesses.aiohttp_lines,
    }
)
def test_who_cuts_lines_in_bytes_keeps_the_separators(ask: Ask, mock_provider: MockProvider) -> None:
    """Clients that cut at CR and LF alone, `iter_bytes` with sseclient-py among them, hand the separators out."""
    mock_provider.on().reply(SEPARATED)
    assert heard_by(ask, mock_provider.openai_url) == SEPARATED


LIMIT = 524_288
"""The bytes of a line, its LF included, that aiohttp 3.14 reads with its default buffer."""


def test_lines_of_aiohttp_have_a_limit(mock_provider: MockProvider) -> None:
    """aiohttp 3.14 raises LineTooLong for a line of more than 524,288 bytes, and openai reads the same stream."""
    mock_provider.on().reply(SAID, faults=f"giant(bytes={LIMIT})")
    text, error = failed_by(witnesses.aiohttp_lines, mock_provider.openai_url, LineTooLong)
    assert text == ""
    assert str(LIMIT) in str(error)
    assert len(heard_by(witnesses.openai_sync, mock_provider.openai_url)) > LIMIT - 1000


def test_lines_of_aiohttp_reach_their_limit(mock_provider: MockProvider) -> None:
    """aiohttp reads a line that has, with its LF, exactly 524,288 bytes."""
    mock_provider.on().reply(SAID, faults=f"giant(bytes={LIMIT - 1})")
    assert LIMIT - 1000 < len(heard_by(witnesses.aiohttp_lines, mock_provider.openai_url)) < LIMIT


# ---------------------------------------------------------------------------------------------- 7: whose exception

BROKEN = {"close(after=8)": "closed", "reset(after=8)": "reset"}


@pytest.mark.parametrize(("faults", "outcome"), BROKEN.items())
@each(OPENAI)
def test_openai_names_a_break_of_the_connection_its_own_way(
    ask: Ask, faults: str, outcome: str, mock_provider: MockProvider
) -> None:
    """openai 2 let the exception of its HTTP library through in mid-stream; 3.54 raises its own, with that as cause."""
    mock_provider.on().reply(SAID, faults=faults)
    if openai.VERSION.startswith("2."):
        heard: list[str] = []
        with pytest.raises(httpx.TransportError):
            ask(mock_provider.openai_url, heard)
        assert is_cut("".join(heard))
    else:
        text, error = failed_by(ask, mock_provider.openai_url, openai.APIConnectionError)
        assert is_cut(text)
        assert type(error.__cause__).__name__ in {"RemoteProtocolError", "ReadError"}
        assert not isinstance(error.__cause__, openai.OpenAIError)
    assert outcomes(mock_provider) == [outcome]


@pytest.mark.parametrize(("faults", "outcome"), BROKEN.items())
@pytest.mark.parametrize("client", ["openai", "fetch"])
def test_a_break_of_the_connection_is_a_type_error_in_node(
    client: str, faults: str, outcome: str, node: Node, mock_provider: MockProvider
) -> None:
    """The openai package 6.49 for Node throws what fetch throws in mid-stream: `TypeError: terminated`."""
    mock_provider.on().reply(SAID, faults=faults)
    heard = node(client, mock_provider.openai_url)
    assert is_cut(heard.text)
    assert heard == Heard(heard.text, [], "TypeError: terminated")
    assert outcomes(mock_provider) == [outcome]


@each({**OPENAI, "httpx-lines": witnesses.httpx_lines, "sseclient-py": witnesses.sseclient_bytes})
def test_json_cut_in_an_event_is_a_decode_error(ask: Ask, mock_provider: MockProvider) -> None:
    """openai, as everybody, lets JSONDecodeError through for an event whose JSON is cut."""
    mock_provider.on().reply(SAID, faults="json-truncated-event")
    text, _ = failed_by(ask, mock_provider.openai_url, json.JSONDecodeError)
    assert is_cut(text)


def test_json_cut_in_an_event_in_node(node: Node, mock_provider: MockProvider) -> None:
    """The openai package for Node throws SyntaxError for it; the AI SDK's text stream skips the event in silence."""
    mock_provider.on().reply(SAID, faults="json-truncated-event")
    heard = node("openai", mock_provider.openai_url)
    assert is_cut(heard.text)
    assert (heard.error or "").startswith("SyntaxError: ")
    gap = node("ai", mock_provider.openai_url)
    assert (gap.error, gap.text.startswith(heard.text)) == (None, True)
    assert len(heard.text) < len(gap.text) < len(SAID)
    assert SAID.endswith(gap.text.removeprefix(heard.text))


# ---------------------------------------------------------------------------------------------- 9: time-outs

STALL = "stall(after=8,seconds=1.5)"
SHORTER_S = 0.6
SILENT: dict[str, tuple[Ask, type[Exception]]] = {
    "openai": (witnesses.openai_sync, openai.APITimeoutError),
    "httpx": (witnesses.httpx_lines, httpx.ReadTimeout),
}


@pytest.mark.parametrize(("ask", "expected"), SILENT.values(), ids=SILENT.keys())
def test_a_read_timeout_ends_a_silent_stall(ask: Ask, expected: type[Exception], mock_provider: MockProvider) -> None:
    """The read time-outs of httpx and of openai end a stream that is silent for longer."""
    mock_provider.on().reply(SAID, faults=STALL)
    text, _ = failed_by(ask, mock_provider.openai_url, expected, timeout=SHORTER_S)
    assert is_cut(text)
    assert outcomes(mock_provider) == ["client-left"]


@pytest.mark.parametrize("ask", [ask for ask, _ in SILENT.values()], ids=SILENT.keys())
def test_comments_reset_a_read_timeout(ask: Ask, mock_provider: MockProvider) -> None:
    """The same time-outs never end the same stall when comments come in it: each of them starts the time anew."""
    mock_provider.on().reply(SAID, faults=f"{STALL}+keepalive(seconds=0.1)")
    assert heard_by(ask, mock_provider.openai_url, timeout=SHORTER_S) == SAID
    assert sent(mock_provider).count(b": keep-alive\n\n") > 5
    assert seconds(mock_provider) > 2 * SHORTER_S


def test_the_timeout_of_openai_for_node_ends_with_the_head(node: Node, mock_provider: MockProvider) -> None:
    """The `timeout` of the openai package 6.49 for Node does not end a stream that stalls for longer in its midst."""
    mock_provider.on().reply(SAID, faults=STALL)
    assert node("openai", mock_provider.openai_url, timeout_ms=700) == Heard(SAID, ["stop"], None)
    assert seconds(mock_provider) > 2 * 0.7


def test_the_timeout_of_openai_for_node_holds_until_the_head(node: Node, mock_provider: MockProvider) -> None:
    """The same `timeout` ends a request whose head is as late."""
    mock_provider.on().reply(SAID, faults="delay(seconds=1.5)")
    heard = node("openai", mock_provider.openai_url, timeout_ms=700)
    assert heard == Heard("", [], "APIConnectionTimeoutError: Request timed out.")


# ---------------------------------------------------------------------------------------------- 10: asking again


def test_fetch_event_source_posts_again_by_itself(node: Node, mock_provider: MockProvider) -> None:
    """@microsoft/fetch-event-source 2.0 sends the POST again when the connection breaks, and text comes twice."""
    mock_provider.on().reply(SAID, faults="close(after=8,attempt=1)")
    heard = node("fetch-event-source", mock_provider.openai_url)
    assert heard == Heard(heard.text, ["stop"], None)
    assert heard.text.endswith(SAID)
    assert is_cut(heard.text.removesuffix(SAID))
    first, second = mock_provider.wait_for(2)
    assert [first.outcome, second.outcome] == ["closed", "complete"]
    assert (first.method, first.body) == (second.method, second.body)


def test_aiohttp_sse_client_posts_again_by_itself(mock_provider: MockProvider) -> None:
    """aiohttp-sse-client 0.2.1 sends the POST again after a clean end without `[DONE]`, and text comes twice."""
    mock_provider.on().reply(SAID, faults="sse-eof-no-finish").then_reply(SAID)
    text = heard_by(witnesses.aiohttp_sse_events, mock_provider.openai_url)
    assert text.endswith(SAID)
    assert is_cut(text.removesuffix(SAID))
    first, second = mock_provider.wait_for(2)
    assert [first.outcome, second.outcome] == ["complete", "complete"]
    assert (first.method, first.body) == (second.method, second.body) == ("POST", first.body)


def test_aiohttp_sse_client_gives_up_when_the_connection_breaks(mock_provider: MockProvider) -> None:
    """aiohttp-sse-client 0.2.1 lets aiohttp's exception through when the message breaks off, and asks once."""
    mock_provider.on().reply(SAID, faults="close(after=8)")
    text, _ = failed_by(witnesses.aiohttp_sse_events, mock_provider.openai_url, ClientPayloadError)
    assert is_cut(text)
    assert outcomes(mock_provider) == ["closed"]


@each(OPENAI)
def test_openai_does_not_ask_again_once_text_has_come(ask: Ask, mock_provider: MockProvider) -> None:
    """openai with its usual two retries asks once where the stream breaks off after its first text."""
    mock_provider.on().reply(SAID, faults="close(after=8,attempt=1)")
    heard: list[str] = []
    with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
        ask(mock_provider.openai_url, heard, retries=2)
    assert is_cut("".join(heard))
    assert outcomes(mock_provider) == ["closed"]


# ---------------------------------------------------------------------------------------------- 11: after the end

LATE = " And one more thing."


@each(OPENAI)
def test_openai_hears_nothing_after_the_sentinel(ask: Ask, mock_provider: MockProvider) -> None:
    """openai stops at `[DONE]`: a delta after it is not handed out."""
    mock_provider.on().reply(SAID, faults="sse-data-after-done")
    assert heard_by(ask, mock_provider.openai_url) == SAID
    assert LATE.encode() in sent(mock_provider).partition(b"[DONE]")[2]


def test_the_ai_sdk_prints_what_comes_after_the_sentinel(node: Node, mock_provider: MockProvider) -> None:
    """ai 6.0 passes over `[DONE]` and prints the delta after it, where the openai package for Node stops."""
    mock_provider.on().reply(SAID, faults="sse-data-after-done")
    assert node("ai", mock_provider.openai_url) == Heard(SAID + LATE, [], None)
    assert node("openai", mock_provider.openai_url) == Heard(SAID, ["stop"], None)


# ---------------------------------------------------------------------------------------------- 12: byte order mark

MARKED = "join-payloads(at=text:1)+bom"
"""The first text comes in one event with the role, and a byte order mark before it."""


@each({**OPENAI, "sseclient-py": witnesses.sseclient_bytes, "httpx-sse": witnesses.httpx_sse_events, **BY_HAND})
def test_a_byte_order_mark_costs_the_first_event(ask: Ask, mock_provider: MockProvider) -> None:
    """openai 3.54, httpx-sse 0.4.3 and sseclient-py 1.9 lose the first event, and its text, to a byte order mark."""
    mock_provider.on().reply(SAID, faults=MARKED).then_reply(SAID, faults="join-payloads(at=text:1)")
    text = heard_by(ask, mock_provider.openai_url)
    assert SAID.endswith(text)
    assert 0 < len(SAID) - len(text) < 10
    assert heard_by(ask, mock_provider.openai_url) == SAID


def test_a_byte_order_mark_costs_openai_the_role(mock_provider: MockProvider) -> None:
    """In a usual stream the first event has the role alone, so openai has all of the text but nobody's."""
    mock_provider.on().reply(SAID, faults="bom").then_reply(SAID)
    marked, plain = (list(witnesses.openai_chunks(mock_provider.openai_url)) for _ in range(2))
    assert [chunk.choices[0].delta for chunk in marked] == [chunk.choices[0].delta for chunk in plain][1:]
    assert (marked[0].choices[0].delta.role, plain[0].choices[0].delta.role) == (None, "assistant")


@pytest.mark.parametrize("client", ["openai", "ai", "eventsource-parser"])
def test_node_drops_a_byte_order_mark(client: str, node: Node, mock_provider: MockProvider) -> None:
    """The clients for Node, whose decoder drops the mark, have the first text."""
    mock_provider.on().reply(SAID, faults=MARKED)
    heard = node(client, mock_provider.openai_url)
    assert (heard.text, heard.error) == (SAID, None)
    assert b"\xef\xbb\xbfdata: " in sent(mock_provider)


# ---------------------------------------------------------------------------------------------- 1, 7, 11, 12: anthropic

LATE_DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": LATE}}
LATE_EVENT = f"event: content_block_delta\ndata: {json.dumps(LATE_DELTA)}\n\n"


@each(ANTHROPIC)
def test_a_clean_end_half_way_is_a_success_for_anthropic(ask: Ask, mock_provider: MockProvider) -> None:
    """anthropic 2.12 takes a body that ends cleanly without `message_stop` for a whole answer."""
    mock_provider.on().reply(SAID, faults="eof(after=10)")
    assert is_cut(heard_by(ask, mock_provider.url))
    assert outcomes(mock_provider) == ["complete"]
    assert b"message_stop" not in sent(mock_provider)


@pytest.mark.parametrize(("faults", "outcome"), BROKEN.items())
@each(ANTHROPIC)
def test_anthropic_lets_a_break_of_the_connection_through(
    ask: Ask, faults: str, outcome: str, mock_provider: MockProvider
) -> None:
    """anthropic 2.12 raises the exception of its HTTP library in mid-stream, none of its own."""
    mock_provider.on().reply(SAID, faults=faults)
    heard: list[str] = []
    with pytest.raises(Exception, match=r"closed connection|reset by peer") as caught:
        ask(mock_provider.url, heard)
    assert is_cut("".join(heard))
    assert not isinstance(caught.value, anthropic.AnthropicError)
    assert type(caught.value).__name__ in {"RemoteProtocolError", "ReadError"}
    assert outcomes(mock_provider) == [outcome]


@each(ANTHROPIC)
def test_anthropic_lets_cut_json_through(ask: Ask, mock_provider: MockProvider) -> None:
    """anthropic 2.12 lets JSONDecodeError through for an event whose JSON is cut."""
    mock_provider.on().reply(SAID, faults="cut-json(at=text:4)")
    text, _ = failed_by(ask, mock_provider.url, json.JSONDecodeError)
    assert is_cut(text)


@each(ANTHROPIC)
def test_anthropic_prints_what_comes_after_the_terminal_event(ask: Ask, mock_provider: MockProvider) -> None:
    """anthropic 2.12 reads on after `message_stop` and hands out a delta that comes after it."""
    mock_provider.on().reply(SAID, faults=f"insert-block(before=end,block={json.dumps(LATE_EVENT)})")
    assert heard_by(ask, mock_provider.url) == SAID + LATE
    assert LATE.encode() in sent(mock_provider).partition(b"event: message_stop")[2]


def test_a_byte_order_mark_breaks_the_helper_of_anthropic(mock_provider: MockProvider) -> None:
    """anthropic 2.12 loses `message_start` to a byte order mark: its helper gathers no message and tells no text."""
    mock_provider.on().reply(SAID, faults="bom").then_reply(SAID)
    with witnesses.anthropic_events(mock_provider.url) as stream:
        marked = [event.type for event in stream]
        with pytest.raises(AssertionError):
            stream.get_final_message()
    with witnesses.anthropic_events(mock_provider.url) as stream:
        plain = [event.type for event in stream]
        assert stream.get_final_message().role == "assistant"
    assert ("message_start" in plain, "text" in plain) == (True, True)
    assert marked == [kind for kind in plain if kind not in {"message_start", "text"}]


# ---------------------------------------------------------------------------------------------- 1, 8, 11: Responses

RESPONSES: dict[str, Ask] = {"raw": witnesses.openai_responses, "helper": witnesses.openai_responses_helper}
FLAT = {"type": "error", "code": "server_error", "message": "Boom.", "param": None, "sequence_number": 20}
"""An error as the SDK's types have it; recorded are errors under a key of their own, which the SDK raises."""


@each(RESPONSES)
def test_openai_hands_out_an_error_event_of_responses(ask: Ask, mock_provider: MockProvider) -> None:
    """openai 3.54 yields an `error` event of the documented form like any other, and ends normally after it."""
    mock_provider.on().reply(SAID, faults=f"error-payload(after=4,document={json.dumps(FLAT)})")
    text = heard_by(ask, mock_provider.openai_url)
    assert text.endswith("[Boom.]")
    assert is_cut(text.removesuffix("[Boom.]"))
    assert outcomes(mock_provider) == ["complete"]


@each(RESPONSES)
def test_openai_raises_an_error_event_as_recorded(ask: Ask, mock_provider: MockProvider) -> None:
    """openai 3.54 raises an `error` event of the recorded form, whose error has a key of its own."""
    mock_provider.on().reply(SAID, faults='error-payload(after=4,message="Boom.")')
    text, error = failed_by(ask, mock_provider.openai_url, openai.APIError)
    assert is_cut(text)
    assert str(error) == "Boom."


@each(RESPONSES)
def test_openai_takes_a_cut_response_for_a_whole_one(ask: Ask, mock_provider: MockProvider) -> None:
    """openai 3.54 takes a Responses stream that ends cleanly without its last event for a whole answer."""
    mock_provider.on().reply(SAID, faults="eof(after=10)")
    assert is_cut(heard_by(ask, mock_provider.openai_url))
    assert outcomes(mock_provider) == ["complete"]
    assert b"response.completed" not in sent(mock_provider)


def test_openai_prints_what_comes_after_the_end_of_a_response(mock_provider: MockProvider) -> None:
    """openai 3.54 reads on after `response.completed` and hands out a delta that comes after it."""
    mock_provider.on().reply(SAID, faults=f"late-text(text={json.dumps(LATE)})")
    assert heard_by(witnesses.openai_responses, mock_provider.openai_url) == SAID + LATE
    after = sent(mock_provider).partition(b"event: response.completed")[2]
    assert b"event: response.output_text.delta" in after
    assert LATE.encode() in after

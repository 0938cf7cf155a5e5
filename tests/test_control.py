"""The control API: every route, in every namespace, as the OpenAPI page describes it; refusals are JSON."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from mockprovider import MockProvider
from mockprovider.cases import LISTENERS
from mockprovider.scenario_file import ANSWER_KEYS
from mockprovider.server.routes import ROUTES, openapi
from tests.asking import CHAT, Answer, ask, connect, prompt, request, streaming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JSON = {"Content-Type": "application/json"}
FOREVER = "ttft=3600"


@pytest.fixture(scope="module")
def server() -> Iterator[MockProvider]:
    """The server that the tests of this file share; each works in a namespace of its own, or resets the default."""
    with MockProvider(seed=1) as running:
        yield running


class Api:
    """The control API of a namespace, checked against the page that describes it."""

    def __init__(self, server: str, id: str = "") -> None:
        self.id = id
        self.base = f"{server}/~{id}" if id else server

    def __call__(self, method: str, path: str, body: Any = None, *, status: int | None = None) -> Any:
        """The answer's document, which must be what the page says; the status too, where none is expected."""
        data, headers = (None, {}) if body is None else (json.dumps(body), JSON)
        answer = request(method, f"{self.base}/_mock{path}", data, headers)
        described(method, path, answer, expected=status)
        return answer.body.decode() if path in ("/metrics", "/scenario.toml") else answer.json


def described(method: str, path: str, answer: Answer, *, expected: int | None = None) -> None:
    """Fail unless the answer is what the OpenAPI page says of this call."""
    paths = openapi()["paths"]
    pattern = "/_mock" + path.partition("?")[0]
    if pattern not in paths:
        pattern = pattern.rpartition("/")[0] + "/{id}"
    responses = paths[pattern][method.lower()]["responses"]
    [success] = set(responses) - {"default"}
    assert answer.status == (expected or int(success)), answer.body
    [(media, content)] = responses[success if expected is None else "default"]["content"].items()
    assert answer.headers["Content-Type"] == f"{media}; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    if media == "application/json":
        Draft202012Validator(content["schema"]).validate(answer.json)


@pytest.fixture(params=["default", "named"])
def api(request: pytest.FixtureRequest, server: MockProvider) -> Iterator[Api]:
    """The control API of the default namespace, and of one that was opened for the test."""
    root = Api(server.url)
    if request.param == "default":
        root("POST", "/reset")
        yield root
        return
    made = Api(server.url, root("POST", "/namespaces")["id"])
    yield made
    root("DELETE", f"/namespaces/{made.id}")


# ------------------------------------------------------------------------------------------------ the page


def test_the_page_is_an_openapi_document() -> None:
    """The OpenAPI page is valid, names every call once, and describes every key of an answer."""
    page = openapi()
    OpenAPIV31SpecValidator(page).validate()
    operations = [operation for path in page["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 2 * len(ROUTES)
    rules = page["paths"]["/_mock/rules"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(rules["properties"]) == {"match", "answers", *ANSWER_KEYS}


def test_the_page_is_served(api: Api) -> None:
    """The page is at `/_mock/openapi.json`, as it was validated."""
    assert api("GET", "/openapi.json") == openapi()


def test_every_call_of_the_page_answers(api: Api, server: MockProvider) -> None:
    """Each call that the page describes answers with success, in the default namespace and in a named one."""
    bodies = {"/rules": {"reply": "a"}, "/hold": {"gate": "before-end"}, "/release": {"gate": "before-end"}}
    ids = {"/cases/{id}": "sse-crlf", "/listeners/{id}": LISTENERS[0]}
    # What steers an open stream, saves one, or never ends, is asked in tests/test_console.py.
    elsewhere = {"live", "recordings_save"}
    for route in ROUTES:
        if route.name in elsewhere or route.name.startswith("streams_"):
            continue
        path, body = route.path, bodies.get(route.path, {})
        if path == "/namespaces/{id}":
            path = "/namespaces/" + Api(server.url)("POST", "/namespaces")["id"]
        elif "{id}" in path:
            path = path.replace("{id}", ids[path])
        elif path == "/exchanges/wait":
            ask(api.base)
        document = api(route.method, path, body if route.method in ("POST", "PUT") else None)
        if route.path == "/namespaces" and route.method == "POST":
            api("DELETE", f"/namespaces/{document['id']}")


# ------------------------------------------------------------------------------------------------ the calls


def test_health_tells_what_the_server_is(api: Api, server: MockProvider) -> None:
    """Health shows version, seed, pace and how many streams are under way."""
    health = api("GET", "/health")
    assert (health["status"], health["seed"], health["pace"]) == ("ok", 1, "ttft=0,itl=0")
    before = health["strays"]
    assert ask(f"{server.url}/~gone").status == 404
    assert api("GET", "/health")["strays"] == before + 1


def test_namespaces_are_opened_and_closed(server: MockProvider) -> None:
    """A namespace answers under its own path until it is closed; its streams end then, and its name is free again."""
    root = Api(server.url)
    made = root("POST", "/namespaces", {"id": "mine"})
    assert (made["id"], made["path"]) == ("mine", "/~mine")
    assert root("POST", "/namespaces", {"id": "mine"}, status=400)["error"]["message"].endswith("is open already")
    assert "mine" in [namespace["id"] for namespace in root("GET", "/namespaces")]
    mine = Api(server.url, "mine")
    mine("POST", "/rules", {"reply": "a", "pace": FOREVER})
    with streaming(mine.base) as texts:
        mine("GET", "/exchanges/wait?outcome=open")
        assert mine("GET", "/namespace")["streams"] == 1
        assert root("DELETE", "/namespaces/mine") == {"closed": "mine"}
        with pytest.raises(OSError, match=r"closed|reset"):
            next(texts)
    assert ask(mine.base).json["error"]["code"] == "namespace_closed"
    for method, path in (("DELETE", "/namespaces/mine"), ("DELETE", "/namespaces/"), ("DELETE", "/namespaces/a%20b")):
        assert request(method, f"{root.base}/_mock{path}").status == 404
    assert mine("GET", "/rules", status=404)["error"]["message"] == "this namespace is closed or was never opened"
    root("POST", "/namespaces", {"id": "mine"})
    root("DELETE", "/namespaces/mine")


def test_a_request_whose_namespace_is_closed_meanwhile_is_not_answered(server: MockProvider) -> None:
    """Where a namespace is closed while a request's body is on its way, no stream begins that nobody would end."""
    root = Api(server.url)
    made = Api(server.url, root("POST", "/namespaces")["id"])
    made("POST", "/rules", {"reply": "a", "pace": FOREVER})
    body = prompt(stream=True)
    with contextlib.closing(connect(server.url)) as connection:
        connection.putrequest("POST", f"/~{made.id}{CHAT}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:-1])
        made("GET", "/exchanges/wait?outcome=open")
        root("DELETE", f"/namespaces/{made.id}")
        connection.send(body[-1:])
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["code"]) == (404, "namespace_closed")


def test_a_name_that_is_made_up_is_free(server: MockProvider) -> None:
    """A namespace without a name gets one that nobody has taken, even by guessing it."""
    root = Api(server.url)
    number = int(root("POST", "/namespaces")["id"][1:])
    root("POST", "/namespaces", {"id": f"n{number + 1}"})
    assert root("POST", "/namespaces")["id"] == f"n{number + 2}"
    for step in range(3):
        root("DELETE", f"/namespaces/n{number + step}")


def test_namespaces_do_not_see_each_other(server: MockProvider) -> None:
    """Rules, exchanges and gates of one namespace are not those of another."""
    root = Api(server.url)
    one, other = (Api(server.url, root("POST", "/namespaces")["id"]) for _ in range(2))
    one("POST", "/rules", {"reply": "one"})
    other("POST", "/rules", {"reply": "other"})
    one("POST", "/hold", {"gate": "before-head"})
    assert ask(other.base).text == "other"
    assert one("GET", "/exchanges")["exchanges"] == []
    assert other("GET", "/gates") == {}
    [exchange] = other("GET", "/exchanges/wait")["exchanges"]
    assert exchange["namespace"] == other.id
    for made in (one, other):
        root("DELETE", f"/namespaces/{made.id}")


def test_rules_are_added_in_order_listed_and_cleared(api: Api) -> None:
    """Rules added as JSON answer in order; equal conditions are one rule; clearing leaves none."""
    added = api("POST", "/rules", {"match": {"last": "weather"}, "reply": "Sunny"})
    when = "last=contains('weather')"
    assert added == {"name": f"rule 1 ({when})", "when": when, "answers": 1, "used": 0}
    api("POST", "/rules", {"match": {"last": "weather"}, "error": {"status": 429, "headers": {"retry-after": "1"}}})
    api("POST", "/rules", {"answers": [{"reply": "Hello", "times": 1}, {"reply": {"tool_calls": [{"name": "f"}]}}]})
    assert ask(api.base, "weather").text == "Sunny"
    assert ask(api.base, "weather").headers["retry-after"] == "1"
    assert ask(api.base).text == "Hello"
    assert ask(api.base).json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert [(rule["answers"], rule["used"]) for rule in api("GET", "/rules")] == [(2, 2), (2, 2)]
    assert api("DELETE", "/rules") == []
    assert ask(api.base).status == 200


def test_a_rule_that_is_refused_changes_nothing(api: Api) -> None:
    """A rule with a fault in its last answer is refused whole, and the message says where the fault is."""
    refused = api("POST", "/rules", {"answers": [{"reply": "a"}, {"reply": {"txt": "b"}}]}, status=400)
    message = "rule: answers[1]: reply: unknown key 'txt'; did you mean 'text'?"
    assert refused == {"error": {"message": message}}
    assert api("GET", "/rules") == []


def test_what_goes_wrong_is_shown(api: Api) -> None:
    """Unmatched requests and errors of the server's side, which fail a test that uses the fixture, are listed."""
    api("POST", "/rules", {"match": {"model": "o3"}, "reply": "a"})
    assert ask(api.base).status == 404
    [unmatched] = api("GET", "/namespace")["unmatched"]
    assert "nearest rule is rule 1" in unmatched
    api("POST", "/reset")
    assert api("GET", "/namespace")["unmatched"] == []


def test_exchanges_are_listed_selected_and_cleared(api: Api) -> None:
    """Exchanges show the request, what was sent and when; they can be selected by path and outcome, and forgotten."""
    api("POST", "/rules", {"reply": "Grüße 👋"})
    ask(api.base, "Grüße", headers={"Authorization": "Bearer sk-secret"}, stream=True)
    request("GET", api.base + "/v1/models?limit=1")
    api("GET", "/exchanges/wait?count=2")
    chat, models = api("GET", "/exchanges")["exchanges"]
    assert (chat["method"], chat["path"], chat["status"], chat["outcome"]) == ("POST", CHAT, 200, "complete")
    assert json.loads(chat["body"])["messages"][0]["content"] == "Grüße"
    assert "Grüße" in "".join(json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in lines(chat))
    assert ["Authorization", "<16 characters>"] in chat["headers"]
    assert "sk-secret" not in json.dumps(api("GET", "/exchanges"))
    assert sum(write["size"] for write in chat["sent"]["timeline"]) == chat["sent"]["bytes"] > 0
    assert (models["query"], models["dialect"], models["rule"]) == ("limit=1", None, None)
    assert [e["path"] for e in api("GET", "/exchanges?path=/v1/models")["exchanges"]] == ["/v1/models"]
    assert api("GET", "/exchanges?outcome=reset")["exchanges"] == []
    assert "timeline" not in api("GET", "/exchanges?writes=false")["exchanges"][0]["sent"]
    assert api("DELETE", "/exchanges") == {"exchanges": [], "dropped": 0}
    assert api("GET", "/exchanges")["exchanges"] == []


def lines(exchange: dict[str, Any]) -> list[str]:
    """The documents of a stream, as the lines that carried them."""
    return [line for line in exchange["sent"]["data"].splitlines() if line.startswith("data: {")]


def test_exchanges_are_waited_for(api: Api) -> None:
    """A wait is answered as soon as enough exchanges have ended so; in vain, it is 408 with all exchanges."""
    found: list[Any] = []
    path = f"/exchanges/wait?count=2&path={CHAT}&timeout=20"
    waiting = threading.Thread(target=lambda: found.append(api("GET", path)))
    waiting.start()
    ask(api.base)
    ask(api.base)
    waiting.join()
    assert [e["outcome"] for e in found[0]["exchanges"]] == ["complete"] * 2
    refused = api("GET", "/exchanges/wait?count=3&timeout=0.01", status=408)
    assert "for 3 exchange(s) ended, saw 2" in refused["error"]["message"]
    assert f"<Exchange {found[0]['exchanges'][0]['id']} POST {CHAT} 200 complete>" in refused["error"]["message"]


def test_a_stream_is_held_and_released(api: Api) -> None:
    """A held stream stops at its gate, is counted there, and goes on when it is released."""
    api("POST", "/rules", {"reply": "One two"})
    assert api("POST", "/hold", {"gate": "after-first-token"}) == {"after-first-token": 0}
    with streaming(api.base) as texts:
        assert next(texts) == "One"
        assert api("GET", "/gates") == {"after-first-token": 1}
        assert api("POST", "/release", {"gate": "after-first-token"}) == {"released": 1}
        assert list(texts) == [" two"]
    refused = api("POST", "/release", {"gate": "after-first-token"}, status=400)
    assert refused["error"]["message"] == "gate 'after-first-token' is not held; held: none"


def test_reset_begins_anew(api: Api) -> None:
    """A reset ends open streams and leaves neither rules nor exchanges nor gates."""
    api("POST", "/rules", {"reply": "a", "pace": FOREVER})
    with streaming(api.base) as texts:
        api("GET", "/exchanges/wait?outcome=open")
        api("POST", "/hold", {"gate": "before-end"})
        shown = api("POST", "/reset")
        assert (shown["exchanges"], shown["unmatched"], shown["errors"]) == (0, [], [])
        with pytest.raises(OSError, match=r"closed|reset"):
            next(texts)
    assert (api("GET", "/rules"), api("GET", "/gates")) == ([], {})


# ------------------------------------------------------------------------------------------------ refusals

REFUSED: list[tuple[str, str, dict[str, str], str | bytes | None, int, str]] = [
    ("GET", "/nowhere", {}, None, 404, "there is no /_mock/nowhere; "),
    ("GET", "/rule", {}, None, 404, "did you mean '/rules'?"),
    ("GET", "", {}, None, 404, "there is no /_mock/"),
    ("GET", "/rules/", {}, None, 404, "there is no /_mock/rules/"),
    ("PUT", "/rules", {}, None, 405, "/_mock/rules knows GET, POST, DELETE, not PUT"),
    ("POST", "/health", {}, None, 405, "/_mock/health knows GET, not POST"),
    ("OPTIONS", "/rules", {}, None, 405, "knows GET, POST, DELETE"),
    (
        "POST",
        "/rules",
        {"Content-Type": "text/plain"},
        '{"reply": "a"}',
        415,
        "expected a body of type application/json",
    ),
    (
        "POST",
        "/rules",
        {"Content-Type": "application/x-www-form-urlencoded"},
        "reply=a",
        415,
        "expected a body of type",
    ),
    ("POST", "/rules", {"Content-Type": "multipart/form-data; boundary=x"}, "--x--", 415, "expected a body of type"),
    ("POST", "/rules", JSON, '{"reply": ', 400, "the body is no JSON"),
    ("POST", "/rules", JSON, b"\xff\xfe\xff", 400, "the body is no JSON"),
    ("POST", "/rules", JSON, "[" * 100_000, 400, "the body is no JSON"),
    ("POST", "/rules", JSON, "[]", 400, "expected a JSON object, got list"),
    ("POST", "/rules", {**JSON, "Content-Encoding": "gzip"}, "{}", 400, "the body is not encoded as its headers say"),
    ("POST", "/rules", JSON, '{"replly": "a"}', 400, "the body: unknown key 'replly'; did you mean 'reply'?"),
    ("POST", "/rules", JSON, '{"match": {"model": {"regex": "("}}}', 400, "rule: match: model: regex"),
    ("POST", "/rules", JSON, '{"times": "two"}', 400, "rule: times: expected a whole number"),
    ("POST", "/rules", JSON, '{"error": {"status": 200}}', 400, "rule: error: status: expected 400 to 599"),
    ("POST", "/reset", JSON, '{"now": true}', 400, "the body: unknown key 'now'; none is allowed"),
    ("POST", "/hold", JSON, "{}", 400, "gate: expected a name, got None"),
    ("POST", "/hold", JSON, '{"gate": 5}', 400, "gate: expected a name, got 5"),
    ("POST", "/hold", JSON, '{"gate": "later"}', 400, "unknown gate 'later'; allowed: before-head"),
    ("POST", "/release", JSON, '{"gate": "before-end"}', 400, "gate 'before-end' is not held"),
    ("POST", "/namespaces", JSON, '{"id": "a/b"}', 400, "id: expected 1 to 64 of the characters"),
    ("POST", "/namespaces", JSON, '{"id": "\\u00e9"}', 400, "id: expected 1 to 64 of the characters"),
    ("POST", "/namespaces", JSON, '{"id": ""}', 400, "id: expected 1 to 64 of the characters"),
    ("POST", "/namespaces", JSON, '{"id": 5}', 400, "id: expected 1 to 64 of the characters"),
    ("DELETE", "/namespaces/nobody", {}, None, 404, "there is no open namespace 'nobody'"),
    ("GET", "/exchanges?outcome=done", {}, None, 400, "unknown outcome 'done'; "),
    ("GET", "/exchanges?writes=no", {}, None, 400, "writes: expected true or false, got 'no'"),
    ("GET", "/exchanges?limit=5", {}, None, 400, "the query: unknown key 'limit'"),
    ("GET", "/rules?x", {}, None, 400, "the query: unknown key 'x'; none is allowed"),
    ("GET", "/exchanges/wait?count=no", {}, None, 400, "count: expected a number, got 'no'"),
    ("GET", "/exchanges/wait?count=0", {}, None, 400, "expected a count of at least 1"),
    ("GET", "/exchanges/wait?timeout=-1", {}, None, 400, "a timeout of 0 to 3600 seconds"),
    ("GET", "/exchanges/wait?timeout=nan", {}, None, 400, "a timeout of 0 to 3600 seconds"),
    ("GET", "/exchanges/wait?outcome=done", {}, None, 400, "unknown outcome 'done'"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "said"), REFUSED)
def test_a_wrong_call_is_refused_in_json(
    method: str,
    path: str,
    headers: dict[str, str],
    body: str | bytes | None,
    status: int,
    said: str,
    server: MockProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wrong path, method, type, key or value is refused with a JSON error that says what was expected."""
    answer = request(method, f"{server.url}/_mock{path}", body, headers)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json; charset=utf-8")
    assert said in answer.json["error"]["message"]
    assert ("Allow" in answer.headers) == (status == 405)
    assert caplog.records == []


def test_head_is_answered_without_a_body(server: MockProvider) -> None:
    """HEAD is answered as GET is, without the body."""
    answer = request("HEAD", server.url + "/_mock/health")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


def test_a_body_in_pieces_is_read_whole(server: MockProvider) -> None:
    """A call whose body comes in many pieces, chunked or not, is understood as if it came at once."""
    api = Api(server.url, Api(server.url)("POST", "/namespaces")["id"])
    body = json.dumps({"reply": "long " * 20_000}).encode()
    with contextlib.closing(connect(server.url)) as connection:
        for chunked in (True, False):
            connection.putrequest("POST", f"/~{api.id}/_mock/rules")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Transfer-Encoding", "chunked") if chunked else connection.putheader(
                "Content-Length", str(len(body))
            )
            pieces = [body[start : start + 7000] for start in range(0, len(body), 7000)]
            connection.endheaders(iter(pieces) if chunked else pieces[0], encode_chunked=chunked)
            for piece in pieces[1:] if not chunked else []:
                api("GET", "/health")  # the server has seen the piece before by now
                connection.send(piece)
            response = connection.getresponse()
            assert response.status == 201, response.read()
            response.read()
    assert ask(api.base).text == "long " * 20_000
    api("DELETE", f"/namespaces/{api.id}")


def test_a_caller_that_asks_before_it_sends_is_told_to(server: MockProvider) -> None:
    """`Expect: 100-continue`, as curl sends it with large bodies, is answered before the body is read."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rb") as file:
        connection.sendall(
            b"POST /_mock/namespaces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert [file.readline(), file.readline()] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
        connection.sendall(b"{}")
        assert file.readline() == b"HTTP/1.1 201 Created\r\n"


def test_a_body_beyond_the_limit_is_refused() -> None:
    """A body that is larger than the server takes is 413, whether or not it says how large it is."""
    with MockProvider(body_limit=100) as provider, contextlib.closing(connect(provider.url)) as connection:
        url = provider.url + "/_mock/rules"
        assert request("POST", url, json.dumps({"reply": "x" * 100}), JSON).status == 413
        connection.request("POST", "/_mock/rules", iter([b"x" * 60] * 3), JSON)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["message"]) == (
            413,
            "the body is too large: the limit is 100 bytes",
        )


def test_a_defect_is_an_error_in_json_too(
    server: MockProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a call fails for a defect, the caller gets a JSON 500 and the log gets the stack."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("mockprovider.server.control.openapi", broken)
    answer = request("GET", server.url + "/_mock/openapi.json")
    assert (answer.status, answer.json["error"]["message"]) == (500, "mockprovider failed: ZeroDivisionError: oh")
    [record] = caplog.records
    assert record.exc_info is not None


@pytest.mark.parametrize(
    "send",
    [
        lambda s: s.sendall(b"POST /_mock/rules HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 9\r\n\r\n{"),
        lambda s: s.sendall(b"GET /_mock/exchanges/wait?timeout=60 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ],
    ids=["mid-body", "waiting"],
)
def test_a_caller_that_leaves_is_let_go(
    send: Callable[[socket.socket], None], server: MockProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that goes away before its answer leaves no call behind, and nothing is logged."""
    handler = server._in_loop.handler
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        send(connection)
        while not server._call(lambda: handler.active):
            pass
    while server._call(lambda: handler.active):
        pass
    assert caplog.records == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({name for route in ROUTES for name in route.body} | {"model", "text", "status", "headers", "parts"})
bodies = st.dictionaries(
    st.sampled_from(KEYS), values | st.dictionaries(st.sampled_from(KEYS), values, max_size=3), max_size=4
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted({r.path for r in ROUTES if r.method == "POST"})), body=bodies)
def test_no_body_makes_a_defect(path: str, body: dict[str, Any], server: MockProvider) -> None:
    """Whatever JSON is sent to a call, the answer is success or a refusal as the page describes them, never a 500."""
    answer = request("POST", f"{server.url}/_mock{path}", json.dumps(body), JSON)
    assert answer.status in (200, 201, 400, 409), answer.body
    described("POST", path, answer, expected=answer.status if answer.status >= 400 else None)
    for namespace in Api(server.url)("GET", "/namespaces"):
        if namespace["id"]:
            Api(server.url)("DELETE", f"/namespaces/{namespace['id']}")
    assert prompt()


def test_a_case_tells_its_seconds(server: MockProvider) -> None:
    """A case says how long its answer takes and is silent, so that a client's timeout can be set by it."""
    api = Api(server.url)
    stalled, endless = api("GET", "/cases/stall-then-burst"), api("GET", "/cases/runaway")
    assert stalled["seconds"] >= stalled["silence"] > 0
    assert api("GET", "/cases/sse-crlf")["silence"] == 0
    assert endless["seconds"] is None

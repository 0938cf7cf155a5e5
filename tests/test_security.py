"""Who may talk to the server: names, sites, tokens, and what is never written down."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.exchange import Exchange
from mockprovider.settings import Settings, is_loopback
from tests.asking import ask, prompt, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[MockProvider]:
    """A server as anybody starts it."""
    with MockProvider(seed=1, reply="a") as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[MockProvider]:
    """A server with a token and further names."""
    with MockProvider(token="s3cret", allow_hosts=["Dev.Example"], api_keys=["sk-one"], reply="a") as running:
        yield running


HOSTS = [
    ("127.0.0.1", True),
    ("127.0.0.1:8000", True),
    ("localhost", True),
    ("LOCALHOST:1", True),
    ("localhost.:80", True),
    ("app.localhost:8000", True),
    ("[::1]", True),
    ("[::1]:8000", True),
    ("192.168.1.7:8000", True),  # an address cannot be rebound
    ("evil.example", False),
    ("evil.example:8000", False),
    ("localhost.evil.example", False),
    ("evillocalhost", False),
    ("127.0.0.1.evil.example", False),
    ("localhost:80@evil.example", False),
    ("evil.example/localhost", False),
    ("[::1].evil.example", False),
    ("local host", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "allowed"), HOSTS)
@pytest.mark.parametrize("path", ["/v1/models", "/_mock/health"])
def test_foreign_names_are_refused(host: str, allowed: bool, path: str, server: MockProvider) -> None:
    """A page that makes its own name resolve to this machine reads neither the endpoint nor the control API."""
    answer = request("GET", server.url + path, headers={"Host": host})
    assert answer.status == (200 if allowed else 421)
    if not allowed:
        assert "--allow-host" in answer.json["error"]["message"]


def test_a_client_without_a_host_is_no_browser(server: MockProvider) -> None:
    """HTTP/1.0 clients, which need not send a Host header, are served."""
    host, port = server.url.removeprefix("http://").split(":")
    for path in (b"/v1/models", b"/_mock/health"):
        with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as file:
            connection.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
            assert file.readline().split()[1] == b"200"


@pytest.mark.parametrize(
    ("settings", "host", "allowed"),
    [
        ({"allow_hosts": ["Dev.Example"]}, "dev.example:80", True),
        ({"allow_hosts": ["dev.example"]}, "DEV.example.", True),
        ({"allow_hosts": ["dev.example"]}, "sub.dev.example", False),
        ({"allow_hosts": ["*"]}, "anything", True),
        ({"host": "box.lan", "token": "t"}, "box.lan:8000", True),
        ({"host": "box.lan", "token": "t"}, "other.lan:8000", False),
    ],
)
def test_further_names_can_be_allowed(settings: dict[str, object], host: str, allowed: bool) -> None:
    """`allow_hosts` names hosts besides the loopback's, and a host that is bound by name is allowed."""
    assert Settings(**settings).host_allowed(host) == allowed  # type: ignore[arg-type]


OWN = "http://own"
SITES: list[tuple[Mapping[str, str], bool]] = [
    ({}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-origin", "Origin": OWN}, True),
    ({"Origin": OWN}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "new-value"}, False),
    ({"Origin": "http://evil.example"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": "https://127.0.0.1"}, False),
    ({"Origin": "http://127.0.0.1:1"}, False),
    ({"Sec-Fetch-Site": "none", "Origin": "http://evil.example"}, False),
]


@pytest.mark.parametrize(("headers", "allowed"), SITES)
@pytest.mark.parametrize(("method", "path"), [("GET", "/exchanges"), ("POST", "/reset"), ("DELETE", "/rules")])
def test_pages_of_other_origins_do_not_steer(
    headers: Mapping[str, str], allowed: bool, method: str, path: str, server: MockProvider
) -> None:
    """The control API answers a browser only for a page of its own, by Origin and by Fetch Metadata."""
    sent = {name: server.url if value == OWN else value for name, value in headers.items()}
    answer = request(method, f"{server.url}/_mock{path}", headers=sent)
    assert answer.status == (200 if allowed else 403)
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_a_preflight_of_the_control_api_is_refused(server: MockProvider) -> None:
    """A browser that asks whether another origin may call the control API is not told that it may."""
    asking = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = request("OPTIONS", server.url + "/_mock/rules", headers=asking)
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    # The endpoint itself is for pages of any origin.
    assert request("OPTIONS", server.url + "/v1/chat/completions", headers=asking).status == 204


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_changes_nothing(kind: str, server: MockProvider) -> None:
    """What a form of another page can send without a preflight is not taken for JSON, whatever it holds."""
    headers = {"Content-Type": kind} if kind else {}
    answer = request("POST", server.url + "/_mock/rules", '{"reply": "owned"}', headers)
    assert answer.status == 415
    assert ask(server.url).text == "a"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Authorization": "Bearer s3cret"}, True),
        ({"Authorization": "bearer s3cret"}, True),
        ({"X-Mockprovider-Token": "s3cret"}, True),
        ({"Authorization": "Bearer s3cre"}, False),
        ({"Authorization": "Bearer "}, False),
        ({"Authorization": "Basic s3cret"}, False),
        ({"Authorization": "s3cret"}, False),
        ({"Authorization": "Bearer sk-one"}, False),
        ({"Authorization": "Bearer \xff\xfe"}, False),
        ({"X-Mockprovider-Token": "\xff"}, False),
    ],
)
@pytest.mark.parametrize("path", ["/health", "/openapi.json", "/exchanges", "/nowhere"])
def test_the_token_guards_the_control_api(
    headers: dict[str, str], allowed: bool, path: str, guarded: MockProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Every path of the control API demands the token, and a header that is no text is a wrong one."""
    answer = request("GET", f"{guarded.url}/_mock{path}", headers=headers)
    assert answer.status == (401 if not allowed else 404 if path == "/nowhere" else 200)
    assert (answer.headers["WWW-Authenticate"] == "Bearer") == (not allowed)
    assert caplog.records == []


def test_the_token_is_not_the_endpoints_key(guarded: MockProvider) -> None:
    """The endpoint has keys of its own: the token opens the control API alone, and a key the endpoint alone."""
    assert ask(guarded.url, headers={"Authorization": "Bearer sk-one"}).text == "a"
    for key in ("s3cret", "sk-two", "\xff\xfe"):
        refused = ask(guarded.url, headers={"Authorization": f"Bearer {key}"})
        assert (refused.status, refused.json["error"]["code"]) == (401, "invalid_api_key")
    guarded.check()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("example.com", False),
    ],
)
def test_only_the_loopback_is_bound_without_a_token(host: str, loopback: bool) -> None:
    """An address that other machines can reach, or might, is refused unless there is a token."""
    assert is_loopback(host) == loopback
    assert Settings(host=host, token="t").host == host
    with contextlib.nullcontext() if loopback else pytest.raises(SettingError, match="reachable from other machines"):
        Settings(host=host)


def test_a_server_for_other_machines_is_guarded() -> None:
    """Bound to every address, the control API demands the token and foreign names are still refused."""
    with MockProvider(host="0.0.0.0", token="t", reply="a") as provider:
        assert provider.url.startswith("http://127.0.0.1:")
        assert ask(provider.url).text == "a"
        assert request("GET", provider.url + "/_mock/health").status == 401
        assert request("GET", provider.url + "/v1/models", headers={"Host": "evil.example"}).status == 421


SECRETS = (
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "X-Api-Key",
    "Api-Key",
    "x-goog-api-key",
    "X-Mockprovider-Token",
)


def test_secrets_are_not_written_down(server: MockProvider) -> None:
    """What an exchange tells of itself, in the control API and the journal file, has no key in it, only its length."""
    secrets = {name: f"sk-{index}-hidden" for index, name in enumerate(SECRETS)}
    ask(server.url, headers={**secrets, "X-Shown": "shown"})
    described = server.wait_for(outcome="complete")[-1].describe()
    assert "hidden" not in json.dumps(described)
    headers = dict(described["headers"])
    assert {headers[name] for name in secrets} == {"<11 characters>"}
    assert headers["X-Shown"] == "shown"
    listed = request("GET", server.url + "/_mock/exchanges")
    assert b"hidden" not in listed.body
    assert server.exchanges[-1].headers["Authorization"] == secrets["Authorization"]  # the test itself may look


def test_whatever_bytes_a_request_has_it_can_be_described() -> None:
    """An exchange whose headers and body are no text can be written as JSON all the same."""
    made = Exchange(1, "", "POST", "/\udcff", "\udcfe", {"X": "\udcff"}, started=0.0, wall=0.0)
    made.body = b"\xff" + prompt()
    assert json.loads(json.dumps(made.describe()))["body"].startswith("\\xff{")


# ------------------------------------------------------------------------------------------ pages of other origins

PAGE = "http://localhost:5173"


@pytest.fixture(scope="module")
def choosy() -> Iterator[MockProvider]:
    """A server whose answers only one origin's pages may read."""
    with MockProvider(allow_origins=[PAGE], reply="a") as running:
        yield running


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/nothing", "/with/reset(after=0)x/v1/chat/completions"])
def test_only_the_allowed_origin_reads(choosy: MockProvider, method: str, path: str) -> None:
    """A page of the allowed origin may read every answer, errors too; to others the browser shows none."""
    for origin, readable in ((PAGE, PAGE), ("http://localhost:5174", None), ("null", None), (None, None)):
        headers = {**JSON, **({"Origin": origin} if origin else {}), "Access-Control-Request-Method": "POST"}
        answer = request(method, choosy.url + path, prompt(), headers)
        assert answer.headers.get("Access-Control-Allow-Origin") == readable
        assert answer.headers.get("Vary") == "Origin"


def test_any_origin_reads_by_default(server: MockProvider) -> None:
    """Without the setting every page may read, as every page may at the real providers that allow browsers."""
    answer = request("POST", server.url + "/v1/chat/completions", prompt(), {**JSON, "Origin": PAGE})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in answer.headers


@pytest.mark.parametrize("origin", ["localhost:5173", "http://localhost:5173/", "http://localhost/app", "*", ""])
def test_what_is_no_origin(origin: str) -> None:
    """An origin that no browser would send is refused when the server starts."""
    with pytest.raises(SettingError, match="allow_origins"):
        Settings(allow_origins=(origin,))

"""The catalogue as a whole: its rows, their proofs, the commands and calls that show it, and the pages made from it."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import re
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from mockprovider import MockProvider
from mockprovider.cases import FAMILIES, cases, get, in_family, recipe, recipe_of
from mockprovider.cli import main
from mockprovider.errors import MockProviderError, SettingError
from mockprovider.faults import FAULTS, chain, text_of
from mockprovider.preview import attempts, lines, visible
from mockprovider.timeline import Ending
from scripts.reference import ROOT, pages
from tests.serving import serve

COUNTS = {"before": 40, "sse": 42, "text": 15, "transfer": 18, "payload": 72, "anthropic": 20, "timing": 12}
"""How many rows each family has; together 219."""

NAMES = [case.name for case in cases().values()]
AVAILABLE = [case.name for case in cases().values() if case.available]


# ------------------------------------------------------------------------------------------------ rows and proofs


def test_there_are_219_rows() -> None:
    """Every family has the rows that the catalogue has always had; names are API, and unique with those of faults."""
    assert {family: len(in_family(family)) for family in FAMILIES} == COUNTS
    assert len(NAMES) == sum(COUNTS.values()) == 219
    assert not set(NAMES) & set(FAULTS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in [*NAMES, *FAULTS])


def test_each_row_says_what_it_must() -> None:
    """The words of a row are from their lists, and what is contestable has another reading and a reason."""
    for case in cases().values():
        assert case.expect in ("deliver", "ignore", "raise", "retry", "keep"), case.name
        assert set(case.accept) <= {"deliver", "ignore", "raise", "retry", "keep"} - {case.expect}, case.name
        assert bool(case.accept) == bool(case.contestable), case.name
        assert case.evidence in ("observed", "library", "hardening"), case.name
        assert case.evidence == "hardening" or case.citations, case.name
        assert case.wire.endswith((".", ")")), case.name
        assert case.must.endswith("."), case.name


@pytest.mark.parametrize("name", NAMES)
def test_each_row_can_be_had_or_says_why_not(name: str) -> None:
    """A row has what makes it, one thing or the other, and it can be made; or a reason."""
    case = get(name)
    if case.unavailable is not None:
        assert len(case.unavailable) > 10
        with pytest.raises(SettingError, match=re.escape(f"{name} is not available: {case.unavailable}")):
            recipe(name)
    elif case.listener is not None:
        assert case.faults is None
        with pytest.raises(SettingError, match="has a port of its own"):
            recipe(name)
    else:
        made = recipe(name)
        assert made.faults or case.reply is not None or case.ask or case.pace or case.chunking, "nothing makes it"
        assert chain(text_of(made.faults)) == made.faults if made.faults else True


def proved(family: str) -> set[str]:
    """The names in the table of proofs of a family's tests."""
    module: Any = importlib.import_module(f"tests.cases.test_{family}")
    tables = [getattr(module, name) for name in ("PROOFS", "OBSERVATIONS") if hasattr(module, name)]
    assert len(tables) == 1, f"tests/cases/test_{family}.py has no table PROOFS or OBSERVATIONS"
    return set(getattr(tables[0], "names", tables[0]))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_that_can_be_had_is_proved(family: str) -> None:
    """Each has a proof in the tests of its family, and nothing else has one."""
    wanted = {case.name for case in in_family(family) if case.available}
    if wanted:
        assert proved(family) == wanted


# ------------------------------------------------------------------------------------------------ a case's bytes


@pytest.mark.parametrize("name", [name for name in AVAILABLE if get(name).listener is None])
def test_each_case_can_be_shown(name: str) -> None:
    """Its bytes can be rendered without a server, the same each time, and to the end or to a bound."""
    case = get(name)
    shown = attempts(case)
    assert [attempt.number for attempt in shown] == list(range(1, len(shown) + 1))
    for attempt in shown:
        endings = [at for at, (_, item, _) in enumerate(attempt.actions) if isinstance(item, Ending)]
        assert endings == ([] if attempt.endless else [len(attempt.actions) - 1])
    text = [line for attempt in shown for line in lines(attempt, 9)]
    assert text
    assert text == [line for attempt in attempts(case) for line in lines(attempt, 9)]
    assert not any(ord(character) < 32 for line in text for character in line)


def test_attempts_are_shown_until_the_fault_is_over() -> None:
    """A case that fails once shows two answers, one that always fails one."""
    first, second = attempts(get("http-502-html-cloudflare"))
    assert b"502" in first.actions[0][1]  # type: ignore[operator]
    assert b"200 OK" in second.actions[0][1]  # type: ignore[operator]
    assert len(attempts(get("http-401-bad-key"))) == 1


def test_bytes_that_do_not_print_are_made_visible() -> None:
    """CR, LF, other controls, invalid UTF-8, and characters without a shape; a line for each line."""
    assert visible(b"a\r\n\r\nb\n\nc\td") == ["a␍␊␍␊", "b␊␊", "c␉d"]
    assert visible("\ufeffé\u2028\x7f".encode() + b"\xff\xc3") == ["⟨U+FEFF⟩é⟨U+2028⟩␡⟨FF⟩⟨C3⟩"]
    assert visible(b"") == [""]


def test_a_case_of_ones_own_is_checked() -> None:
    """A row with an unknown or a missing key, or an unknown listener, is refused with the reason."""
    from mockprovider.cases import case_from

    row = {"name": "x", "wire": "w", "expect": "raise", "must": "m", "evidence": "hardening", "source": "none"}
    assert recipe_of(case_from("sse", {**row, "reply": "Hi"})).reply == "Hi"
    for wrong, why in (
        ({**row, "fault": "noop"}, "unknown key 'fault'; did you mean 'faults'?"),
        ({key: value for key, value in row.items() if key != "must"}, "the key 'must' is missing"),
        ({**row, "listener": "refused"}, "listener: expected one of refuse, reset, silence"),
    ):
        with pytest.raises(SettingError, match=re.escape(why)):
            case_from("sse", wrong)


# ------------------------------------------------------------------------------------------------ commands


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def test_the_command_lists_faults() -> None:
    """Every fault with its summary; as JSON with its settings."""
    code, out, _ = run("faults")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(FAULTS)
    _, out, _ = run("faults", "--json")
    described = json.loads(out)
    assert [fault["name"] for fault in described] == list(FAULTS)
    assert all(fault["summary"].endswith(".") for fault in described)
    (stall,) = [fault for fault in described if fault["name"] == "stall"]
    assert stall["settings"][1] == {
        "name": "seconds",
        "allowed": "a number of seconds >= 0",
        "default": "1",
        "doc": "how long",
    }


def test_the_command_explains_a_fault() -> None:
    """Its level, its settings, what they may be; an unknown name gets the nearest one and exit code 2."""
    code, out, _ = run("faults", "redirect")
    assert (code, out.splitlines()[0].partition(":")[0]) == (0, "redirect")
    assert "301, 302, 303, 307 or 308 (default 307)" in out
    assert run("faults", "redirct") == (2, "", "mockprovider: unknown fault 'redirct'; did you mean 'redirect'?\n")


def test_the_command_lists_cases() -> None:
    """Every case, or a family's; as JSON with name, family, availability and base URL."""
    code, out, _ = run("cases")
    assert (code, [line.split()[1] for line in out.splitlines()]) == (0, NAMES)
    assert "not available: needs HTTP/2" in out or "not available: " in out
    _, out, _ = run("cases", "--family", "timing", "--json")
    listed = json.loads(out)
    assert len(listed) == 12
    assert {case["family"] for case in listed} == {"timing"}
    assert all(case["base_url"] == f"/with/{case['name']}/v1" for case in listed if case["available"])
    _, out, _ = run("cases", "--json")
    assert [case["name"] for case in json.loads(out)] == NAMES
    code, _, err = run("cases", "--family", "tming")
    assert (code, err) == (2, "mockprovider: unknown family 'tming'; did you mean 'timing'?\n")


def test_the_command_explains_a_case() -> None:
    """What is on the wire, what a client must do, how it is made, and the bytes themselves."""
    code, out, _ = run("cases", "http-413-tpm-rate-limit")
    assert code == 0
    words = " ".join(out.split())
    assert " ".join(get("http-413-tpm-rate-limit").wire.split()) in words
    assert "raise: Raise without a retry" in words
    assert "│ HTTP/1.1 413 " in out
    assert '│ {"error":{"message":"Request too large' in out
    assert "the end of the message" in out
    _, short, _ = run("cases", "sse-crlf")
    _, long, _ = run("cases", "sse-crlf", "--all")
    assert "more pieces" in short
    assert "more pieces" not in long
    assert "␍␊␍␊" in long
    code, _, err = run("cases", "sse-crfl")
    assert (code, err) == (2, "mockprovider: unknown case 'sse-crfl'; did you mean 'sse-crlf'?\n")
    assert run("cases", "sse-crlf", "--family", "sse")[0] == 2


def test_the_command_says_what_has_no_bytes() -> None:
    """A refused port and a case that cannot be had are explained all the same."""
    _, out, _ = run("cases", "connect-refused")
    assert "There are no bytes: nothing listens" in out
    assert "its own port, which a running server opens" in out
    _, out, _ = run("cases", "connect-refused", "--json")
    described = json.loads(out)
    assert described["base_url"] is None
    assert "--server" in described["base_url_note"]
    unavailable = next(case for case in cases().values() if not case.available)
    _, out, _ = run("cases", unavailable.name)
    assert f"none: {unavailable.unavailable}" in out


@pytest.mark.parametrize("command", ["faults", "cases"])
def test_a_reader_may_have_seen_enough(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`mockprovider cases | head -1` ends without an error."""
    with (tmp_path / "output").open("w") as output:

        class Closed(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

            def fileno(self) -> int:
                return output.fileno()

        monkeypatch.setattr(sys, "stdout", Closed())
        assert main([command]) == 0


# ------------------------------------------------------------------------------------------------ a running server


def test_a_running_server_says_where_a_case_is() -> None:
    """`cases NAME --server URL` has a base URL that works; a listener's port is opened for it."""
    with serve("--seed", "1") as server:
        _, out, _ = run("cases", "http-402-credits", "--json", "--server", server.url)
        described = json.loads(out)
        assert described["base_url"] == f"{server.url}/with/http-402-credits/v1"
        answer = httpx.post(
            f"{described['base_url']}/chat/completions",
            json={"model": "any", "messages": [{"role": "user", "content": "Hi"}]},
            trust_env=False,
        )
        assert answer.status_code == 402
        _, out, _ = run("cases", "connect-refused", "--json", "--server", f"{server.url}/v1")
        url = urlsplit(json.loads(out)["base_url"])
        assert (url.hostname, url.path) == ("127.0.0.1", "/v1")
        assert url.port != urlsplit(server.url).port
        with socket.socket() as client:
            assert client.connect_ex((url.hostname, url.port)) == errno.ECONNREFUSED
        _, out, _ = run("cases", "connect-refused", "--server", server.url)
        assert f"http://127.0.0.1:{url.port}/v1" in out, "the port that is open already"
        _, out, _ = run("cases", "--json", "--family", "before", "--server", server.url)
        assert len(json.loads(out)) == 40
    code, _, err = run("cases", "sse-crlf", "--server", server.url)
    assert code == 2
    assert "no answer" in err


def test_a_server_with_a_token_wants_it() -> None:
    """Without the token the command fails with the server's own words."""
    with MockProvider(token="secret") as provider:
        code, _, err = run("cases", "sse-crlf", "--json", "--server", provider.url)
        assert code == 2
        assert "status 401: this server has a token" in err
        code, out, _ = run("cases", "sse-crlf", "--json", "--server", provider.url, "--token", "secret")
        assert (code, json.loads(out)["base_url"]) == (0, f"{provider.url}/with/sse-crlf/v1")


def test_the_control_api_lists_cases(mock_provider: MockProvider) -> None:
    """In a namespace each base URL has its prefix; unknown names and settings are refused."""
    api = f"{mock_provider.url}/_mock/cases"
    with httpx.Client(trust_env=False) as client:
        listed = client.get(api).json()
        assert [case["name"] for case in listed] == NAMES
        for case in listed:
            assert (case["base_url"] is not None) == case["available"]
        assert client.get(f"{api}?family=timing").json()[0]["base_url"] == mock_provider.case_url(
            in_family("timing")[0].name
        )
        shown = client.get(f"{api}/sse-crlf").json()
        assert shown["base_url"] == f"{mock_provider.url}/with/sse-crlf/v1" == mock_provider.case_url("sse-crlf")
        for path, status, why in (
            ("/sse-crfl", 400, "did you mean 'sse-crlf'"),
            ("?family=x", 400, "unknown family 'x'"),
            ("/sse-crlf?seconds=1", 400, "belong to ports of their own"),
            ("/connect-refused?first=1", 400, "nobody can count refused connections"),
            ("/connect-refused?seconds=-1", 400, "expected 0 to 86400"),
            ("/connect-refused?seconds=x", 400, "expected a number"),
        ):
            answer = client.get(api + path)
            assert (answer.status_code, why in answer.json()["error"]["message"]) == (status, True), path
        answer = client.get(f"{mock_provider.url}/_mock/listeners/refused")
        assert "did you mean 'refuse'" in answer.json()["error"]["message"]


def test_ports_close_with_their_namespace() -> None:
    """A namespace's further ports are its own, stay the same while it is open, and are gone with it."""
    with MockProvider() as provider, httpx.Client(trust_env=False) as client:
        client.post(f"{provider.url}/_mock/namespaces", json={"id": "mine"}).raise_for_status()
        mine = f"{provider.url}/~mine/_mock/listeners/silence"
        url = client.get(mine).json()["base_url"]
        assert url.endswith("/~mine/v1")
        assert client.get(mine).json()["base_url"] == url
        assert provider.listener_url("silence") != url
        at = (urlsplit(url).hostname, urlsplit(url).port)
        with socket.create_connection(at) as waiting:
            client.delete(f"{provider.url}/_mock/namespaces/mine").raise_for_status()
            waiting.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert waiting.recv(1) == b""
        with socket.socket() as after:
            assert after.connect_ex(at) != 0


def test_a_provider_that_does_not_run_has_no_addresses() -> None:
    """Before it is started, and for a case that cannot be had, `case_url` says so."""
    with pytest.raises(MockProviderError, match="not running"):
        MockProvider().case_url("sse-crlf")
    unavailable = next(case for case in cases().values() if not case.available)
    with MockProvider() as provider:
        with pytest.raises(SettingError, match="is not available"):
            provider.case_url(unavailable.name)
        with pytest.raises(SettingError, match="did you mean 'sse-crlf'"):
            provider.case_url("sse-crfl")


# ------------------------------------------------------------------------------------------------ the pages


@pytest.mark.parametrize("page", sorted(pages()))
def test_the_pages_are_those_of_the_data(page: str) -> None:
    """docs/catalogue.md and docs/faults.md are what `scripts/docs` would write now."""
    assert (ROOT / page).read_text(encoding="utf-8") == pages()[page], "run scripts/docs"


def test_the_pages_name_everything() -> None:
    """Each case and each fault has a heading of its own."""
    made = pages()
    assert re.findall(r"^### (.+)$", made["docs/catalogue.md"], re.MULTILINE) == NAMES
    assert sorted(re.findall(r"^### (.+)$", made["docs/faults.md"], re.MULTILINE)) == sorted(FAULTS)


def test_the_files_of_the_catalogue_are_tidy() -> None:
    """Each family's file has its rows alone, and no key twice."""
    for family in FAMILIES:
        table = tomllib.loads((ROOT / "mockprovider" / "cases" / f"{family}.toml").read_text(encoding="utf-8"))
        assert list(table) == ["case"]

"""The console's page in a browser: what it shows, that each lever moves what is on the wire, and that it is safe."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mockprovider import MockProvider
from tests.asking import CHAT, ask, connect, prompt, request, streaming
from tests.clients import browser as chromium
from tests.serving import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

ROOT = Path(__file__).resolve().parent.parent
AXE = ROOT / "tests" / "clients" / "node" / "node_modules" / "axe-core" / "axe.min.js"
LONG = " ".join(f"w{number}" for number in range(300))
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    """The system's Chromium, driven by Playwright."""
    name = chromium.find()
    if name is None:
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=15_000)
    with playwright.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=shutil.which(name), args=list(chromium.SWITCHES))
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockProvider]:
    """A server with a console, and a folder for recordings."""
    with MockProvider(seed=3, reply="The usual.", console=True, shelf=tmp_path_factory.mktemp("shelf")) as started:
        yield started


@pytest.fixture
def provider(server: MockProvider) -> Iterator[MockProvider]:
    """The same, with nothing set."""
    server.reset()
    yield server
    server.reset()


class Seen:
    """What a page asked for, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []

        def complained(said: ConsoleMessage) -> None:
            if said.type == "error":
                self.complaints.append(said.text)

        page.on("request", lambda asked: self.urls.append(asked.url))
        page.on("console", complained)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))


@contextlib.contextmanager
def opened(running: Browser, url: str, **options: Any) -> Iterator[tuple[Page, Seen]]:
    """A page of its own, in a browser that knows nothing from before."""
    context = running.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
    context.set_default_timeout(15_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    seen = Seen(page)
    try:
        page.goto(url)
        yield page, seen
    finally:
        context.close()


@pytest.fixture(scope="module")
def window(running: Browser) -> Iterator[tuple[Page, Seen]]:
    """One window for the tests that leave nothing behind in it."""
    with opened(running, "about:blank") as found:
        yield found


@pytest.fixture
def page(window: tuple[Page, Seen], provider: MockProvider) -> Iterator[Page]:
    """The console, connected; at the end it has asked no other host for anything, and broke no policy."""
    page, seen = window
    seen.urls.clear()
    seen.complaints.clear()
    page.goto(f"{provider.url}/#open=pace,faults,failures,reply,gates,packing,recordings,scenario")
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.locator("#offers-count")).to_contain_text("cases")
    yield page
    hosts = {url.split("/")[2] for url in seen.urls if not url.startswith("blob:")}
    complaints = [text for text in seen.complaints if "Failed to load resource" not in text]
    page.goto("about:blank")
    assert hosts == {provider.url.split("/")[2]}
    assert complaints == []


def levers(provider: MockProvider) -> Any:
    """The levers as the server has them."""
    return request("GET", f"{provider.url}/_mock/levers").json


def until(check: Callable[[], object], said: str) -> None:
    """Wait until the server is as a click must make it."""
    end = time.monotonic() + 15
    while not check():
        assert time.monotonic() < end, said
        time.sleep(0.01)


def moved(provider: MockProvider, name: str) -> Any:
    """A lever's value, once it is set."""
    until(lambda: levers(provider)[name], f"{name} was not set")
    return levers(provider)[name]


def clipboard(page: Page) -> str:
    """What was copied."""
    return str(page.evaluate("navigator.clipboard.readText()"))


# -------------------------------------------------------------------------------------------------- what is shown


def test_a_request_is_shown_as_it_streams(page: Page, provider: MockProvider) -> None:
    """A request appears by itself; its text grows while it is open; request, events and bytes are there at its end."""
    provider.on().reply("Never gonna", pace="itl=0.01")
    provider.hold("after-first-token")
    with streaming(provider.url, "a question") as deltas:
        first = next(deltas)
        page.locator(".row").first.click()
        expect(page.locator("#list-text")).to_have_text(first)
        expect(page.locator(".row .status").first).to_have_class(re.compile("live"))
        provider.release("after-first-token")
        assert first + "".join(deltas) == "Never gonna"
    expect(page.locator("#list-text")).to_have_text("Never gonna")
    expect(page.locator("#facts")).to_contain_text("200 complete")
    page.click("#tab-events")
    expect(page.locator("#list-events li")).to_have_count(len(provider.exchanges[0].sent.data[0].split(b"data: ")) + 2)
    expect(page.locator("#list-events")).to_contain_text("[DONE]")
    page.click("#tab-raw")
    expect(page.locator("#list-raw li")).to_have_count(provider.exchanges[0].sent.writes)
    expect(page.locator("#list-raw")).to_contain_text("HTTP/1.1 200 OK\\r\\n")
    page.click("#tab-request")
    expect(page.locator("#list-request pre")).to_contain_text('"content": "a question"')


PROMPTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 99},
    "/v1/responses": {"input": "Hi"},
    "/v1/completions": {"prompt": "Hi"},
    "/v1beta/models/gemini-2.5-flash:generateContent": {"contents": [{"parts": [{"text": "Hi"}]}]},
    "/api/chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "/api/generate": {"prompt": "Hi"},
}


def test_every_dialect_is_read(page: Page, provider: MockProvider) -> None:
    """The text that the page puts together is the reply, once, whatever the dialect, streamed or whole."""
    headers = {**JSON, "anthropic-version": "2023-06-01", "x-api-key": "any"}
    for path, more in PROMPTS.items():
        for stream in (True, False):
            gemini = "v1beta" in path
            target = path.replace(":generate", ":streamGenerate") + "?alt=sse" if gemini and stream else path
            body = more if gemini else {"model": "any", "stream": stream, **more}
            assert request("POST", provider.url + target, json.dumps(body), headers).status == 200
            page.locator(f"#request-{provider.exchanges[-1].id}").click()
            expect(page.locator("#facts")).to_contain_text("200 complete")
            expect(page.locator("#list-text"), target).to_have_text("The usual.")
            expect(page.locator("#list-text .spoken"), target).to_have_count(1)


def test_the_timeline_says_what_happened(page: Page, provider: MockProvider) -> None:
    """First token, a stall, writes cut within a character, and a reset are drawn in, and read out as text."""
    provider.on().reply("Ein Wörtchen — nämlich 🙂 dies.", pace="ttft=0.05,itl=0.002")
    with pytest.raises(OSError, match="reset"):
        faulty(provider, "stall(after=3,seconds=0.6)+reset(after=6)")
    faulty(provider, "utf8-split")
    first, second = (exchange.id for exchange in provider.exchanges)
    page.locator(f"#request-{first}").click()
    plot = page.locator("#timeline")
    expect(plot.locator(".first-label")).to_have_text(re.compile(r"^TTFT 0?\.?\d"))
    expect(plot.locator(".stall-label")).to_have_text(re.compile("^stall 0.6"))
    expect(plot.locator(".end-label")).to_have_text("reset (RST)")
    page.locator(f"#request-{second}").click()
    expect(plot.locator("path.write.character")).to_have_count(1)
    expect(plot.locator(".end-label")).to_have_text("complete")
    slider = plot.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    assert "Write 1 of" in str(slider.get_attribute("aria-valuetext"))
    page.keyboard.press("Enter")
    expect(page.locator("#list-raw li.picked .number")).to_have_text("1")
    expect(page.locator("#list-raw")).to_contain_text("ends within a character")


def faulty(provider: MockProvider, chain: str) -> None:
    """A streamed request with faults."""
    request("POST", f"{provider.url}/with/{chain}/v1/chat/completions", prompt(stream=True), JSON)


def test_what_a_model_says_is_never_run(page: Page, provider: MockProvider) -> None:
    """HTML, scripts and links in a prompt, a model's name, a reply and a chain are shown letter by letter."""
    nasty = (
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
        "<a href=\"javascript:document.title='owned'\">x</a><svg onload=document.title='owned'>"
    )
    provider.on().reply(nasty)
    with streaming(provider.url, nasty, user=nasty) as deltas:
        assert "".join(deltas) == nasty
    request("POST", provider.url + "/v1/chat/completions", json.dumps({"model": nasty, "messages": []}), JSON)
    request("GET", f"{provider.url}/v1/{nasty.replace(' ', '%20')}")
    ask(provider.url, nasty)
    first, last = provider.exchanges[0].id, provider.exchanges[-1].id
    for id in (last, first):
        page.locator(f"#request-{id}").click()
        expect(page.locator("#facts")).to_contain_text("200 complete")
        expect(page.locator("#list-text")).to_have_text(nasty)
    for tab in ("raw", "request", "events"):
        page.click(f"#tab-{tab}")
    for row in page.locator("#list-events summary").all()[:6]:
        row.click()
    expect(page.locator("#list-events pre").first).not_to_be_empty()
    page.fill("#chain", nasty)
    page.fill("#reply", nasty)
    page.click("#faults-set")
    expect(page.locator("#faults-error")).not_to_be_empty()
    expect(page.locator("#preview-text")).not_to_be_empty()
    page.keyboard.press("Escape")
    assert page.title() == "mockprovider console"
    foreign = "main img, main script, main a:not([href^='/_mock/']), main svg[onload]"
    assert page.locator(foreign).count() == 0


def test_a_request_as_curl_and_as_a_test(page: Page, provider: MockProvider) -> None:
    """What is copied works when pasted: the command brings the same reply, and the test passes under pytest."""
    provider.on().reply("It's \"quoted\" — with 'all' of it\nand 🙂.", faults="sse-crlf")
    ask(provider.url, "Isn't it $HOME `x` \\ ?", stream=True, headers={"Authorization": "Bearer sk-secret-0123456789"})
    page.locator(".row").first.click()
    expect(page.locator("#facts")).to_contain_text("complete")
    page.click("#copy-curl")
    expect(page.locator("#status")).to_have_text("Copied as curl.")
    command = clipboard(page)
    assert "sk-secret" not in command
    if shutil.which("curl"):
        script = command.replace("curl -N", "curl -sN --noproxy '*'", 1)
        printed = subprocess.run(["sh", "-c", script], capture_output=True, timeout=30, check=True).stdout
        assert printed.endswith(b"data: [DONE]\r\n\r\n")
        assert provider.exchanges[-1].body == provider.exchanges[0].body
    page.click("#copy-pytest")
    expect(page.locator("#status")).to_have_text("Copied as pytest.")
    copied: dict[str, Any] = {}
    exec(clipboard(page), copied)
    with MockProvider() as mock_provider:
        copied["test_the_stream"](mock_provider)
        (again,) = mock_provider.exchanges
    assert json.loads(again.body) == json.loads(provider.exchanges[0].body)
    assert b"".join(again.sent.data).endswith(b"data: [DONE]\r\n\r\n\r\n0\r\n\r\n")


def test_base_urls_are_copied(page: Page, provider: MockProvider) -> None:
    """Every base URL and client line is copied whole, with this server's address."""
    page.locator("#bases button").first.click()
    expect(page.locator("#status")).to_contain_text("Copied the base URL for OpenAI")
    assert clipboard(page) == f"{provider.url}/v1"
    page.get_by_text("Clients", exact=True).click()
    lines = page.locator("#clients code").all_text_contents()
    assert len(lines) > 8
    assert all(provider.url in line for line in lines)


# --------------------------------------------------------------------------------------------------------- levers


def test_pace_by_profile_slider_and_text(page: Page, provider: MockProvider) -> None:
    """The next stream keeps the pace that was chosen: by profile, by slider, or as text; nonsense is explained."""
    page.select_option("#pace-profile", "relay")
    assert "itl=0.025" in moved(provider, "pace")
    page.fill("#itl", "40")
    until(lambda: levers(provider)["pace"].endswith("itl=0.13"), "the slider set no pace")
    page.fill("#pace-text", "ttft=0,itl=0.03")
    page.keyboard.press("Enter")
    until(lambda: levers(provider)["pace"] == "ttft=0,itl=0.03", "the text set no pace")
    ask(provider.url, stream=True)
    deadlines = provider.exchanges[-1].sent.deadlines
    assert deadlines[1] - deadlines[0] == pytest.approx(0.03)
    page.fill("#pace-text", "warp")
    page.keyboard.press("Enter")
    expect(page.locator("#pace-error")).to_contain_text("unknown profile 'warp'")


def test_faults_are_searched_explained_and_added(page: Page, provider: MockProvider) -> None:
    """A case is found by a word, explains itself, and strikes the next request once added; a bad chain is explained."""
    page.fill("#fault-search", "sse-crlf")
    found = page.locator("#offers li", has=page.locator(".offer-name", has_text=re.compile("^sse-crlf$")))
    found.locator("summary").click()
    expect(found.locator(".explanation")).to_contain_text("A correct client")
    found.get_by_role("button", name="Add sse-crlf", exact=True).click()
    assert moved(provider, "faults") == "sse-crlf"
    assert b"\r\n\r\ndata" in ask(provider.url, stream=True).body
    page.fill("#chain", "stal")
    page.click("#faults-set")
    expect(page.locator("#faults-error")).to_contain_text("did you mean 'stall'?")
    assert levers(provider)["faults"] == "sse-crlf"
    page.fill("#chain", 'reset(after=2)+rate-limited(retry_after=2,kind="a b",attempt=9)')
    page.click("#faults-url")
    expect(page.locator("#status")).to_contain_text("Copied the base URL")
    base = clipboard(page).removesuffix("/v1")
    page.click("#faults-clear")
    until(lambda: levers(provider)["faults"] is None, "the chain was not cleared")
    with pytest.raises(OSError, match="reset"):
        request("POST", base + "/v1/chat/completions", prompt(stream=True), JSON)


def test_failures(page: Page, provider: MockProvider) -> None:
    """The next n requests fail as chosen; a switch refuses all until it is off; all can be let go at once."""
    page.fill("#fail-count", "2")
    page.select_option("#fail-status", "529")
    page.click("#fail-set")
    moved(provider, "fail_next")
    assert [ask(provider.url).status for _ in range(3)] == [529, 529, 200]
    page.check("#limited")
    moved(provider, "limited")
    assert ask(provider.url).status == 429
    expect(page.locator("#chips")).to_contain_text("until further notice")
    page.click("#let-go")
    until(lambda: not levers(provider)["limited"], "the switch is still on")
    assert ask(provider.url).status == 200
    expect(page.locator("#limited")).not_to_be_checked()
    expect(page.locator("#nothing-set")).to_be_visible()


def test_a_reply_with_its_preview(page: Page, provider: MockProvider) -> None:
    """A reply is previewed while it is written, faults included, and is what the next request gets once set."""
    page.fill("#reply", "Four score and seven")
    expect(page.locator("#preview-text")).to_have_text("Four score and seven")
    page.fill("#chain", "reset(after=2)")
    expect(page.locator("#preview-timeline .end-label")).to_have_text("reset (RST)")
    expect(page.locator("#preview-text")).to_have_text("Four score")
    assert not provider.exchanges
    page.fill("#chain", "")
    page.click("#reply-set")
    moved(provider, "reply")
    assert ask(provider.url).text == "Four score and seven"
    page.fill("#reply", '{"text": "Said.", "reasoning": "Thought."}')
    page.click("#reply-set")
    until(lambda: isinstance(levers(provider)["reply"], dict), "the table was not set")
    assert ask(provider.url).text == "Said."
    page.fill("#reply", '{"text": ')
    page.click("#reply-set")
    expect(page.locator("#reply-error")).to_contain_text("no JSON")


def test_flavour_and_packing(page: Page, provider: MockProvider) -> None:
    """The next reply is of the chosen flavour, packed as written."""
    page.select_option("#flavour", "groq")
    moved(provider, "flavour")
    page.fill("#chunking", "tokens_per_payload=3")
    page.keyboard.press("Enter")
    moved(provider, "chunking")
    body = ask(provider.url, stream=True).body
    assert b"x_groq" in body
    assert body.count(b'"content":"The') == 1
    assert b'"content":"The usual."' in body


def test_new_streams_wait_at_a_gate(page: Page, provider: MockProvider) -> None:
    """A gate that is closed by a click holds the next stream, shows who waits, and lets go by a click."""
    page.select_option("#gate", "after-token")
    page.fill("#gate-token", "2")
    page.click("#gate-hold")
    expect(page.locator("#gates")).to_contain_text("after-token-2")
    with streaming(provider.url) as deltas:
        assert next(deltas) + next(deltas) == "The usual"
        expect(page.locator("#gates")).to_contain_text("1 waiting")
        page.get_by_role("button", name="Release").click()
        assert "".join(deltas) == "."
    expect(page.locator("#gates li")).to_have_count(0)


def test_an_open_stream_is_steered(page: Page, provider: MockProvider) -> None:
    """The selected stream is held, stepped by one, flooded, let go and cut by clicks, as its client sees."""
    provider.on().reply(LONG, pace="itl=3600")
    with streaming(provider.url) as deltas:
        came = next(deltas)
        page.locator(".row").first.click()
        page.click("#hold")
        expect(page.locator("#resume")).to_be_enabled()
        page.click("#step")
        came += next(deltas)
        page.fill("#step-count", "2")
        page.click("#step")
        came += next(deltas) + next(deltas)
        page.fill("#flood-count", "20")
        page.click("#flood")
        came += "".join(next(deltas) for _ in range(20))
        assert LONG.startswith(came)
        expect(page.locator("#list-text")).to_have_text(came)
        page.click("#hold")
        expect(page.locator("#resume")).to_be_enabled()
        page.click("#resume")
        expect(page.locator("#resume")).to_be_disabled()
        assert provider.exchanges[0].outcome is None
        page.click("#cut-end")
        assert list(deltas) == []
    provider.wait_for(1, outcome="complete")
    for button, outcome in (("#cut-reset", "reset"), ("#cut-close", "closed")):
        with streaming(provider.url) as deltas:
            next(deltas)
            page.locator(f"#request-{provider.exchanges[-1].id}").click()
            page.click(button)
            provider.wait_for(1, outcome=outcome)
    expect(page.locator("#hold")).to_be_disabled()


def test_a_recording_is_saved_and_played(page: Page, provider: MockProvider) -> None:
    """A request is kept under a name, a bad name is explained, and the recording is what the next request gets."""
    provider.on().reply("Keep this.")
    ask(provider.url, stream=True)
    page.locator(".row").first.click()
    page.click("#save")
    page.fill("#save-name", "by-hand")
    page.click("#save-submit")
    expect(page.locator("#status")).to_contain_text("by-hand.ndjson")
    page.click("#save")
    page.fill("#save-name", "by-hand")
    page.click("#save-submit")
    expect(page.locator("#save-error")).to_contain_text("nothing is recorded over")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Play by-hand").click()
    moved(provider, "recording")
    with streaming(provider.url, "something else") as deltas:
        assert "".join(deltas) == "Keep this."
    assert provider.exchanges[-1].recording == "by-hand"


def test_the_state_is_exported(page: Page, provider: MockProvider) -> None:
    """The export is a scenario file of what is set."""
    page.fill("#chain", "sse-crlf")
    page.click("#faults-set")
    moved(provider, "faults")
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "scenario.toml"
    assert tomllib.loads(Path(download.value.path()).read_text())["faults"] == "sse-crlf"


def test_a_scenario_s_problems_are_shown(running: Browser, tmp_path: Path) -> None:
    """A scenario file that breaks while it is followed is reported with line and column, until it is mended."""
    path = tmp_path / "scene.toml"
    path.write_text('[[rule]]\nreply = "One."\n')
    with serve("--scenario", str(path)) as process, opened(running, f"{process.url}/#open=scenario") as (page, _):
        expect(page.locator("#scenario-file")).to_contain_text("scene.toml")
        expect(page.locator("#rules li")).to_have_count(1)
        path.write_text('[[rule]]\nreplay = "Two."\n')
        expect(page.locator("#problems")).to_contain_text("scene.toml:2:1")
        expect(page.locator("#scenario-alert")).to_be_visible()
        path.write_text('[[rule]]\nreply = "Two."\n')
        expect(page.locator("#scenario-alert")).to_be_hidden()


# ------------------------------------------------------------------------------------------- as people use a browser


def test_the_state_has_a_url(page: Page, provider: MockProvider) -> None:
    """A page opened by the URL of another shows the same request, tab and panels."""
    for number in range(3):
        ask(provider.url, f"question {number}")
    chosen = provider.exchanges[1].id
    page.locator(f"#request-{chosen}").click()
    page.click("#tab-request")
    page.locator("#section-gates > summary").click()
    expect(page.locator("#section-gates")).not_to_have_attribute("open", "")
    page.wait_for_url(lambda url: "gates" not in url)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#list-request")).to_contain_text("question 1")
    expect(other.locator(f"#request-{chosen}")).to_have_attribute("aria-selected", "true")
    expect(other.locator("#section-faults")).to_have_attribute("open", "")
    expect(other.locator("#section-gates")).not_to_have_attribute("open", "")


def test_the_keyboard_is_enough(page: Page, provider: MockProvider) -> None:
    """Arrows go through the list and the tabs, letters jump, none of them while typing, and help tells them all."""
    for number in range(30):
        ask(provider.url, f"question {number}")
    expect(page.locator("#count")).to_contain_text("30 requests")
    page.keyboard.press("l")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageDown")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    chosen = provider.exchanges[5].id
    expect(page.locator(f"#request-{chosen}")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#list")).to_have_attribute("aria-activedescendant", f"request-{chosen}")
    expect(page.locator(f"#request-{chosen}")).to_be_in_viewport()
    page.keyboard.press("4")
    expect(page.locator("#list-request")).to_contain_text("question 5")
    page.focus("#tab-request")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-text")).to_be_focused()
    expect(page.locator("#list-text")).to_have_text("The usual.")
    page.keyboard.press("/")
    page.keyboard.type("question 7")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.type("?")
    expect(page.locator("#help-dialog")).not_to_be_visible()
    page.focus("#tab-text")
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()


def test_a_token_is_asked_for(running: Browser) -> None:
    """With a token the page asks for it, says when it is wrong, and remembers a right one for this window."""
    with MockProvider(console=True, token="s3cret") as provider, opened(running, provider.url) as (page, _):
        for given in ("wrong", "s3cret"):
            expect(page.locator("#token-dialog")).to_be_visible()
            page.fill("#token", given)
            page.keyboard.press("Enter")
            if given == "wrong":
                expect(page.locator("#token-error")).to_contain_text("did not accept")
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator("#offers-count")).to_contain_text("cases")
        page.reload()
        expect(page.locator("#connection")).to_have_text("live")


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", (1280, 860)), ("dark", (390, 844))], ids=["desktop-light", "phone-dark"]
)
def test_axe_finds_nothing(running: Browser, provider: MockProvider, scheme: Any, size: tuple[int, int]) -> None:
    """No part of the page violates a rule of axe's (WCAG 2.2 AA and good practice), and none needs to be scrolled
    sideways."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (scripts/test installs the Node packages where npm is)")
    provider.on(last="bad").error(500)
    ask(provider.url, "bad")
    request("POST", f"{provider.url}/with/utf8-split/v1/chat/completions", prompt(stream=True), JSON)
    request("PUT", f"{provider.url}/_mock/levers", json.dumps({"faults": "sse-crlf", "limited": True}), JSON)
    viewport = {"width": size[0], "height": size[1]}
    hash = f"#request={provider.exchanges[-1].id}&open=pace,faults,failures,reply,gates,packing,recordings,scenario"
    with opened(running, provider.url + "/" + hash, color_scheme=scheme, viewport=viewport, bypass_csp=True) as (
        page,
        _,
    ):
        expect(page.locator("#chips li")).to_have_count(2)
        phone = size[0] < 760
        if phone:
            page.click("#view-levers")
        page.fill("#fault-search", "utf8")
        page.add_script_tag(path=AXE)
        for step in ("#tab-text", "#tab-events", "#tab-raw", "#tab-request", "requests", "levers", "help"):
            if step.startswith("#"):
                if phone:
                    page.click("#view-stream")
                page.click(step)
            elif step == "help":
                page.click("#help")
            elif phone:
                page.click(f"#view-{step}")
            else:
                continue
            assert violations(page, "#detail" if step.startswith("#tab") else "body") == [], step
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), step


def violations(page: Page, part: str) -> list[str]:
    """What axe complains of: the rule, and where."""
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = page.evaluate("([part, options]) => axe.run(part, options)", [part, options])
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def test_a_thousand_requests_stay_responsive(page: Page, provider: MockProvider) -> None:
    """With a thousand requests in the list few rows are in the document, and a click costs no more than a few times
    what it costs with ten."""
    for number in range(10):
        ask(provider.url, f"question {number}")
    expect(page.locator("#count")).to_contain_text("10 requests")
    few = selecting(page)
    with contextlib.closing(connect(provider.url)) as connection:
        for number in range(10, 1000):
            connection.request("POST", CHAT, prompt(f"question {number}"), JSON)
            connection.getresponse().read()
    expect(page.locator("#count")).to_contain_text("1000 requests")
    assert page.locator(".row").count() < 60
    assert selecting(page) < 10 * few + 50
    page.fill("#filter", "question 77")
    expect(page.locator("#count")).to_contain_text("11 of 1000")


def selecting(page: Page) -> float:
    """Milliseconds of the page's own work, layout included, in which a request is selected; the median of many."""
    return float(
        page.evaluate(
            """() => {
              const list = document.getElementById("list");
              const times = [];
              for (let turn = 0; turn < 15; turn++) {
                const begun = performance.now();
                list.dispatchEvent(new KeyboardEvent("keydown", { key: turn % 2 ? "End" : "Home", bubbles: true }));
                void list.getBoundingClientRect();
                times.push(performance.now() - begun);
              }
              return times.sort((left, right) => left - right)[7];
            }"""
        )
    )


# ------------------------------------------------------------------------------------------------ pages elsewhere


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The example pages at an origin of their own."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(ROOT / "docs" / "examples"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        thread = threading.Thread(target=pages.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{pages.server_port}"
        pages.shutdown()
        thread.join()


@pytest.mark.parametrize(("name", "path"), [("plain.html", "/v1"), ("preact.html", "")])
def test_an_example_page_streams(
    running: Browser, provider: MockProvider, elsewhere: str, name: str, path: str
) -> None:
    """A chat page on another origin streams word by word, shows an error as one, and a cut answer as cut."""
    provider.on(last="first").reply("Word by word — 🙂", pace="itl=0.001")
    provider.on(last="refuse").error(503, "Come back later")
    provider.on(last="cut").reply("Never finished", faults="close(after=1)")
    provider.hold("after-first-token")
    with opened(running, f"{elsewhere}/{name}?base={provider.url}{path}") as (page, seen):

        def say(text: str) -> None:
            page.fill("#question", text)
            page.click("#send")

        say("first")
        expect(page.locator(".assistant")).to_have_text("Word")
        provider.release("after-first-token")
        expect(page.locator(".assistant")).to_have_text("Word by word — 🙂")
        expect(page.locator("#note")).to_have_text("")
        say("refuse")
        expect(page.locator("#note")).to_contain_text("Come back later")
        say("cut")
        expect(page.locator("#note")).to_contain_text("Something went wrong")
        hosts = {url.split("/")[2] for url in seen.urls}
        assert hosts == {elsewhere.split("/")[2], provider.url.split("/")[2]}

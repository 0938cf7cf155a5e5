"""The audit runs what it is given against every case, and its verdicts say what really happened."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from mockprovider.audit import Audit, AuditError, Class, CommandClient, Options, Task, audit
from mockprovider.audit.expected import CAPABILITIES, due, skipped
from mockprovider.cases import TEXT, cases
from mockprovider.errors import SettingError
from tests.audited import CAN, StrictError, naive, strict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from mockprovider.audit import Result

    Client = Callable[[Task], Any]


def result_of(client: Client, case: str, **options: Any) -> Result:
    """What became of one case."""
    chosen = {"can": CAN, "own": ("strict",), "jobs": 1, "runs": 1, "patience": 1.0, **options}
    [result] = audit(client, cases=case, **chosen).results
    return result


def verdict_of(client: Client, case: str, **options: Any) -> tuple[str, str, str]:
    """Class, content and ending of one case."""
    result = result_of(client, case, **options)
    assert result.run is not None, result.skipped
    return result.run.verdict.key


# ------------------------------------------------------------------------------------------------ reference clients


def test_a_strict_client_passes_every_case_that_applies_to_it() -> None:
    """The strict reference client gets OK in every case, but for one that leaves it a choice and one that informs."""
    quick = [case.name for case in cases().values() if case.available and case.listener is None]
    quick = [name for name in quick if due(cases()[name]).seconds < 0.3 and "deadline" not in cases()[name].needs]
    report = audit(strict, own=("strict",), can=CAN, jobs=5, cases=",".join(quick))
    others = {result.case: result.kind for result in report.results if result.kind is not Class.OK and result.run}
    assert others == {
        "json-instead-of-sse": Class.NON_STRICT,  # it raises, as the second reading has it
        "content-length-too-long": Class.NON_STRICT,  # it stops at [DONE], and all is there
        "json-duplicate-keys": Class.INFORMATIONAL,
    }
    assert report.count(Class.OK) > 140


NAIVE = {
    "http-401-bad-key": (Class.SILENT_LOSS, "empty", "complete"),
    "http-200-empty-body": (Class.SILENT_LOSS, "empty", "complete"),
    "http-200-html": (Class.SILENT_LOSS, "empty", "complete"),
    "sse-eof-no-finish": (Class.SILENT_LOSS, "partial", "complete"),
    "sse-no-space": (Class.SILENT_LOSS, "empty", "complete"),
    "sse-crlf-split": (Class.OK, "full", "complete"),
    "json-split": (Class.SILENT_LOSS, "empty", "complete"),
    "utf8-split": (Class.SILENT_LOSS, "partial", "complete"),
    "error-object-midstream": (Class.SILENT_LOSS, "partial", "complete"),
    "sse-data-after-done": (Class.NON_STRICT, "extra", "complete"),
    "gzip-label-plain-body": (Class.NON_STRICT, "full", "complete"),
    "sse-open-after-done": (Class.FAILED, "full", "hung"),
    "rst-mid-stream": (Class.OK, "partial", "raised"),
}


def test_a_naive_client_fails_in_the_known_ways() -> None:
    """The naive reference client loses text in silence, hangs and does well exactly where its few lines make it."""
    report = audit(naive, jobs=8, runs=1, patience=1.0, timeout=0.5, cannot=("gzip",), cases=",".join(NAIVE))
    found = {result.case: result.run.verdict.key for result in report.results if result.run}
    # It never asked for a compressed answer, so it is not told off for one.
    skipped_for = {result.case: result.skipped for result in report.results if result.run is None}
    assert skipped_for == {"gzip-label-plain-body": "it does not ask for compressed answers"}
    assert found == {case: key for case, key in NAIVE.items() if case not in skipped_for}


# ------------------------------------------------------------------------------------------------ every verdict


KEPT: list[Any] = []
"""Connections and responses that nobody else closes."""


def swallowing(task: Task) -> Iterator[Any]:
    """Takes every error for the end."""
    try:
        yield from strict(task)
    except StrictError:
        return


def raising(kind: type[Exception]) -> Client:
    """Raises another exception than its own."""

    def client(task: Task) -> Iterator[Any]:
        try:
            yield from strict(task)
        except StrictError as error:
            raise kind(str(error)) from error

    return client


def saying(change: Callable[[str], str]) -> Client:
    """Changes every text, except in the control run."""

    def client(task: Task) -> Iterator[Any]:
        for piece in strict(task):
            yield change(piece) if isinstance(piece, str) and task.case != "control" else piece

    return client


def failing(task: Task) -> Iterator[Any]:
    """Fails where all is well."""
    yield from strict(task)
    if task.case != "control":
        raise KeyError("choices")


def forgetful(task: Task) -> str:
    """Hands nothing out before it has everything."""
    return "".join(piece for piece in strict(task) if isinstance(piece, str))


def to_the_end(task: Task) -> Iterator[Any]:
    """Reads until the connection ends, whatever was said before."""
    if task.case == "control":
        yield from strict(task)
        return
    posted(task).read()
    yield TEXT


def posted(task: Task) -> http.client.HTTPResponse:
    """One request by hand, without a time-out."""
    connection = http.client.HTTPConnection(urlsplit(task.base_url).netloc)
    body = {"model": task.model, "stream": True, "messages": [{"role": "user", "content": task.prompt}]}
    sent = {"Authorization": f"Bearer {task.api_key}", "Content-Type": "application/json"}
    connection.request("POST", urlsplit(task.base_url).path + "/chat/completions", json.dumps(body), sent)
    KEPT.append(connection)
    KEPT.append(connection.getresponse())
    return KEPT[-1]  # type: ignore[no-any-return]


def repeating(times: int, wait: float) -> Client:
    """Sends the request so many times before it looks at an answer."""

    def client(task: Task) -> Iterator[Any]:
        for _ in range(times if task.case != "control" else 0):
            response = posted(task)
            response.read()
            KEPT.pop().close()
            KEPT.pop().close()
            time.sleep(wait)
        yield from strict(task)

    return client


def keeping(task: Task) -> Iterator[Any]:
    """Never closes its connection."""
    if task.case == "control":
        yield from strict(task)
        return
    posted(task)
    yield TEXT


VERDICTS: list[tuple[str, Client, str, tuple[str, str, str]]] = [
    ("text lost in silence", swallowing, "sse-eof-no-finish", (Class.SILENT_LOSS, "partial", "complete")),
    ("nothing, in silence", swallowing, "http-200-empty-body", (Class.SILENT_LOSS, "empty", "complete")),
    ("a lost call, in silence", swallowing, "tool-stream-cut", (Class.SILENT_LOSS, "partial", "complete")),
    ("another text", saying(str.upper), "sse-crlf", (Class.FAILED, "altered", "complete")),
    ("text twice", saying(lambda text: text * 2), "sse-crlf", (Class.FAILED, "extra", "complete")),
    ("an error for nothing", failing, "sse-crlf", (Class.FAILED, "full", "crashed")),
    ("a foreign error", raising(KeyError), "http-401-bad-key", (Class.NON_STRICT, "empty", "crashed")),
    ("a foreign error later", raising(KeyError), "sse-eof-no-finish", (Class.NON_STRICT, "partial", "crashed")),
    ("its own error", strict, "http-401-bad-key", (Class.OK, "empty", "raised")),
    ("an error and the text", strict, "sse-eof-no-finish", (Class.OK, "partial", "raised")),
    ("an error without the text", forgetful, "sse-eof-no-finish", (Class.NON_STRICT, "empty", "raised")),
    ("the second reading", strict, "json-instead-of-sse", (Class.NON_STRICT, "empty", "raised")),
    ("no end", to_the_end, "sse-open-after-done", (Class.FAILED, "empty", "hung")),
    ("nothing prescribed", strict, "json-duplicate-keys", (Class.INFORMATIONAL, "altered", "complete")),
    ("too many requests", repeating(2, 0.1), "http-402-credits", (Class.FAILED, "empty", "raised")),
    ("hammering", repeating(7, 0.0), "http-429-no-retry-after", (Class.FAILED, "full", "complete")),
    ("too early a retry", repeating(1, 0.1), "http-429-retry-after-ms", (Class.FAILED, "full", "complete")),
    ("an open connection", keeping, "sse-open-after-done", (Class.NON_STRICT, "full", "complete")),
]


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """Let go of what clients have kept."""
    yield
    while KEPT:
        KEPT.pop().close()


@pytest.mark.parametrize("row", VERDICTS, ids=[row[0] for row in VERDICTS])
def test_each_verdict_is_earned(row: tuple[str, Client, str, tuple[str, str, str]]) -> None:
    """A client that behaves in one way gets the verdict for it, and the strict one passes the same case."""
    _, client, case, expected = row
    options = {"patience": 0.5, "timeout": 0.5} if expected[2] == "hung" else {}
    assert verdict_of(client, case, **options) == expected


def test_every_class_content_and_ending_is_among_them() -> None:
    """The table above has a client for each word of the verdicts."""
    from mockprovider.audit import Content, Ending

    assert {key[0] for *_, key in VERDICTS} == set(Class) - {Class.SKIPPED}
    assert {key[1] for *_, key in VERDICTS} == set(Content)
    assert {key[2] for *_, key in VERDICTS} == set(Ending)


def test_a_failure_without_retries_is_skipped_but_lost_text_never() -> None:
    """Who never retries is skipped where a retry is due if it tells its caller, and judged if it does not."""

    def once(task: Task) -> Iterator[str]:
        response = posted(task)
        if response.status != 200:
            raise StrictError(f"status {response.status}")
        yield "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
            for line in response.read().decode().split("\n")
            if line.startswith("data: {")
        )

    result = result_of(once, "http-500-json")
    assert result.kind is Class.SKIPPED
    assert result.run is not None
    assert result.run.verdict.why.startswith("it asks only once")
    silent = raising(StrictError)
    assert verdict_of(naive, "http-500-json")[0] is Class.SILENT_LOSS
    assert verdict_of(silent, "http-500-json")[0] is Class.OK


def test_runs_that_differ_are_shown_and_the_worst_counts() -> None:
    """A case that is not passed is run again; where the runs differ the result is flaky and has the worse class."""
    turns = iter([False, True, True])

    def moody(task: Task) -> Iterator[Any]:
        yield from strict(task) if task.case == "control" or next(turns) else ["It is another text."]

    result = result_of(moody, "sse-crlf", runs=3)
    assert result.flaky
    assert result.kind is Class.FAILED
    assert [key[0] for key in result.others] == [Class.OK, Class.OK]
    assert not result_of(strict, "sse-crlf", runs=3).others


# ------------------------------------------------------------------------------------------------ honest


def test_a_client_that_fails_on_a_perfect_stream_is_refused() -> None:
    """The audit of a client that gets a good stream wrong does not begin, and the message says what was seen."""

    def mute(task: Task) -> Iterator[str]:
        yield from ()

    def cut(task: Task) -> str:
        return forgetful(task)[:-5]

    with pytest.raises(AuditError, match=r"'mute' does not get a perfect stream right[\s\S]*no request at all"):
        audit(mute, cases="sse-crlf")
    with pytest.raises(AuditError, match="it ends after 193 of 198 characters"):
        audit(cut, cases="sse-crlf")


def test_each_case_has_a_connection_space_of_its_own() -> None:
    """No two runs share an address, so that no kept connection and no late retry of one reaches another."""
    seen = []

    def client(task: Task) -> Iterator[Any]:
        seen.append(urlsplit(task.base_url).netloc)
        yield from strict(task)

    audit(client, cases="sse-c*", jobs=2, own=("strict",))
    assert len(seen) == len(set(seen)) > 5


def test_the_seed_decides_the_bytes() -> None:
    """The same seed sends the same bytes, and another one others."""

    def sent(seed: int) -> Any:
        result = result_of(strict, "sse-crlf", seed=seed)
        assert result.run is not None
        writes = [lines for time, lines in result.run.requests[0]["writes"] if time is not None]
        # Of a long write the log shows parts, and which events leave together is the machine's business: so the ids.
        return {line[:40] for lines in writes for line in lines if line.startswith("data: {")}

    assert sent(7) == sent(7) != sent(8)


def test_coroutines_and_asynchronous_generators_are_clients() -> None:
    """A callable may be asynchronous in either form, and its text before an error is known."""

    async def whole(task: Task) -> str:
        return await asyncio.to_thread(forgetful, task)

    async def pieces(task: Task) -> AsyncIterator[Any]:
        for piece in strict(task):
            yield piece

    assert verdict_of(whole, "sse-crlf") == (Class.OK, "full", "complete")
    assert verdict_of(pieces, "sse-eof-no-finish") == (Class.OK, "partial", "raised")


def test_a_reported_finish_reason_tells_the_caller() -> None:
    """A finish reason that says that the answer is cut counts as told, and `complete: false` does as well."""

    def bare(task: Task) -> Iterator[Any]:
        yield from (piece for piece in strict(task) if isinstance(piece, str))

    def honest(task: Task) -> Iterator[Any]:
        yield from swallowing(task)
        yield {"complete": False}

    assert verdict_of(bare, "finish-content-filter") == (Class.NON_STRICT, "full", "complete")
    assert verdict_of(strict, "finish-content-filter")[0] is Class.OK
    assert verdict_of(honest, "sse-eof-no-finish") == (Class.OK, "partial", "complete")


def test_what_does_not_apply_is_skipped_with_its_reason() -> None:
    """Cases of another dialect, or that need what a client cannot do, say so; every need of the catalogue is known."""
    known = cases()
    assert skipped(known["sse-anthropic-ping"], "openai-chat", ()) == "a case of the dialect anthropic-messages"
    assert skipped(known["h2-goaway"], "openai-chat", ()) == "the server speaks HTTP/1.1, not HTTP/2"
    assert skipped(known["tool-args-null"], "openai-chat", ()) == (
        "needs tools: a client that tells the calls of tools in its report, as `tool_calls`"
    )
    assert skipped(known["tool-args-null"], "openai-chat", ("tools",)) is None
    assert {need for case in known.values() for need in case.needs} <= set(CAPABILITIES)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"cases": "ssse-crlf"}, "no case is named 'ssse-crlf'; did you mean 'sse-crlf'"),
        ({"dialect": "openai-chats"}, "unknown dialect 'openai-chats'; did you mean 'openai-chat'"),
        ({"can": ("tool",)}, "unknown capability 'tool'; did you mean 'tools'"),
        ({"jobs": 0}, "jobs: expected at least 1, got 0"),
        ({"patience": 0}, "patience: expected seconds > 0, got 0"),
    ],
)
def test_impossible_options_are_refused(option: dict[str, Any], message: str) -> None:
    """An option that cannot be is named, with the nearest one that can."""
    with pytest.raises(SettingError, match=message):
        audit(strict, **option)


# ------------------------------------------------------------------------------------------------ commands

READER = """
import json, os, sys, urllib.request
case, argument = os.environ["CASE"], sys.argv[1]
assert argument.startswith(os.environ["BASE_URL"]) and os.environ["OPENAI_BASE_URL"] == os.environ["BASE_URL"]
body = {"model": os.environ["MODEL"], "stream": True, "messages": [{"role": "user", "content": os.environ["PROMPT"]}]}
request = urllib.request.Request(argument, json.dumps(body).encode(), {"authorization": os.environ["API_KEY"]})
response = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
for line in response:
    if line.startswith(b"data: {"):
        sys.stdout.write(json.loads(line[6:])["choices"][0]["delta"].get("content") or "")
        sys.stdout.flush()
"""


def run_command(tmp_path: Path, case: str, then: str = "", **options: Any) -> Result:
    """The result of a command that is the reader above and does something more in the case, before it reads."""
    file = tmp_path / "client.py"
    head, _, tail = READER.partition("body = ")
    file.write_text(f"{head}if case != 'control':\n    pass\n{then}\nbody = {tail}")
    command = [sys.executable, "-S", str(file), "{base_url}/chat/completions"]
    chosen = Options(cases=case, jobs=1, runs=1, **{"patience": 2.0, **options})
    [result] = Audit(CommandClient(command), chosen).run().results
    return result


def test_a_command_is_judged_by_its_output_and_its_exit_code(tmp_path: Path) -> None:
    """Its text is what it wrote to stdout, and exit code 0 means that it believes that all is there."""
    assert _key(run_command(tmp_path, "sse-crlf")) == (Class.OK, "full", "complete")
    assert _key(run_command(tmp_path, "sse-eof-no-finish")) == (Class.SILENT_LOSS, "partial", "complete")


@pytest.mark.parametrize(
    ("then", "ending", "error"),
    [
        ("    sys.exit('no luck')", "raised", "exit code 1: no luck"),
        ("    raise KeyError('choices')", "crashed", "KeyError: 'choices'"),
        ("    raise urllib.error.URLError('gone')", "raised", "urllib.error.URLError: <urlopen error gone>"),
        ("    os.kill(os.getpid(), 9)", "crashed", "ended by signal 9"),
        ("    print(json.dumps({'error': 'Own: x', 'own': True}), file=sys.stderr); sys.exit(3)", "raised", "Own: x"),
        ("    print(json.dumps({'error': 'Its: x', 'own': False}), file=sys.stderr); sys.exit(3)", "crashed", "Its: x"),
    ],
)
def test_how_a_command_failed_is_told_from_what_it_left(tmp_path: Path, then: str, ending: str, error: str) -> None:
    """Exit codes, stack traces, signals and the report on stderr say whether an error was its own."""
    result = run_command(tmp_path, "http-401-bad-key", then)
    assert result.run is not None
    assert (result.run.verdict.ending, result.run.heard.error) == (ending, error)


def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    """Where the time is up, the whole process group is ended."""
    told = tmp_path / "child"
    then = "    import subprocess; child = subprocess.Popen(['sleep', '60'])\n"
    then += f"    open({str(told)!r}, 'w').write(str(child.pid))"
    result = run_command(tmp_path, "sse-open-after-done", then, timeout=0.2, patience=1.5)
    assert _key(result) == (Class.FAILED, "full", "hung")
    child = Path(f"/proc/{told.read_text()}/stat")
    until = time.monotonic() + 5
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _alive(child)


def _alive(status: Path) -> bool:
    """Whether a process is there and has not ended; one that has may wait for its parent to ask."""
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_start_up_is_not_counted(tmp_path: Path) -> None:
    """The time to notice is counted from the request, and the time before it stands apart."""
    result = run_command(tmp_path, "sse-crlf", "    import time; time.sleep(1.0)")
    assert result.run is not None
    assert result.run.heard.startup > 1.0 > result.run.heard.seconds


def test_a_command_that_is_not_there_is_a_setting_error() -> None:
    """It is named, before anything is audited."""
    with pytest.raises(SettingError, match="cannot run 'no-such-client'"):
        Audit(CommandClient(["no-such-client"]), Options(cases="sse-crlf")).run()


def _key(result: Result) -> tuple[str, str, str]:
    assert result.run is not None, result.skipped
    return result.run.verdict.key

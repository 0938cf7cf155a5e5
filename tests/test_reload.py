"""Scenario files while a server runs: they are followed when they change, and checked before anybody relies on them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mockprovider.cli import main
from tests.asking import ask, request
from tests.serving import serve

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PATIENCE = 15.0


def until(true: Callable[[], bool]) -> None:
    """Wait for it, as long as any machine may need."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_a_file_that_changes_is_followed(tmp_path: Path) -> None:
    """An edit counts from the next request on; one that cannot be is told, and the last good state stays.

    However editors save: in place, or by a new file that takes the name; and a file that is gone for a moment.
    """
    path = tmp_path / "scenario.toml"
    path.write_text('[[rule]]\nreply = "one"\n')
    with serve("--scenario", str(path)) as server:

        def state() -> dict[str, object]:
            found: dict[str, object] = request("GET", server.url + "/_mock/scenario").json
            return found

        assert ask(server.url).text == "one"
        assert state() == {"file": str(path), "loaded": state()["loaded"], "problems": []}
        path.write_text('[[rule]]\nreply = "two, longer"\n')
        until(lambda: ask(server.url).text == "two, longer")

        path.write_text('[[rule]]\nreplyy = "three"\n')
        until(lambda: state()["problems"] != [])
        assert state()["problems"] == [f"{path}:2:1: rule 1: unknown key 'replyy'; did you mean 'reply'?"]
        assert ask(server.url).text == "two, longer"

        (tmp_path / "new").write_text('models = ["only"]\n[[rule]]\nreply = "four"\n')
        os.replace(tmp_path / "new", path)
        until(lambda: state()["problems"] == [])
        assert ask(server.url).status == 404  # the model that it asks for is none of the file's
        assert ask(server.url, model="only").text == "four"

        path.unlink()
        until(lambda: state()["problems"] == [f"{path}: No such file or directory"])
        assert ask(server.url, model="only").text == "four"
        path.write_text('[[rule]]\nreply = "five"\n')
        until(lambda: state()["problems"] == [])
        assert ask(server.url).text == "five"
        server.printed("2:1: rule 1: unknown key 'replyy'")
        server.printed("stays as it was")


def test_what_the_command_line_says_stays_before_the_file(tmp_path: Path) -> None:
    """A changed file sets no setting that was given when the server was started."""
    path = tmp_path / "scenario.toml"
    path.write_text('pace = "fast"\n')
    with serve("--scenario", str(path), "--model", "mine") as server:
        path.write_text('pace = "relay"\nmodels = ["theirs"]\n')
        until(lambda: str(request("GET", server.url + "/_mock/health").json["pace"]).startswith("ttft=0.1..0.3"))
        assert ask(server.url, model="theirs").status == 404


def test_without_a_file_there_is_nothing_to_follow() -> None:
    """The API says so."""
    with serve() as server:
        assert request("GET", server.url + "/_mock/scenario").json == {"file": None, "loaded": None, "problems": []}


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`mockprovider check` tells every problem by file, line and column and exits with 1; without one with 0."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[[rule]]\nreply = "a"\n')
    bad.write_text('pace = "warp"\n[[rule]]\nfaults = "stal(after=3)"\n')
    assert main(["check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: 1 rule, nothing wrong\n"
    assert main(["check", str(good), str(bad)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{good}: 1 rule, nothing wrong\n"
    lines = said.err.splitlines()
    assert lines[0].startswith(f"{bad}:1:1: pace: unknown profile 'warp'; allowed: fast, ")
    assert lines[1].startswith(f"{bad}:3:1: rule 1: ")
    assert "did you mean 'stall'?" in lines[1]

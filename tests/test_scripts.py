"""The scripts install once, tell what they did by a stamp that cannot lie, and work from anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from scripts import environment
from tests.serving import serving

ROOT = Path(__file__).resolve().parent.parent


class Machine:
    """A repository in which the commands that would install are only noted, and may be made to fail."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.commands: list[str] = []
        self.failing = ""
        (root / "requirements").mkdir(parents=True)
        for name in ("requirements/serve.lock", "requirements/dev.lock", "pyproject.toml"):
            (root / name).write_text(name)
        node = root / "node"
        node.mkdir()
        for name in ("package.json", "package-lock.json", ".npmrc"):
            (node / name).write_text(name)
        monkeypatch.setattr(environment, "ROOT", root)
        monkeypatch.setattr(environment, "VENV", root / ".venv")
        monkeypatch.setattr(environment, "STAMP", root / ".venv" / environment.STAMP.name)
        locks = {level: root / "requirements" / f"{level}.lock" for level in environment.LOCKS}
        monkeypatch.setattr(environment, "LOCKS", locks)
        monkeypatch.setattr(environment, "NODE", node)
        monkeypatch.setattr(environment, "NODE_STAMP", node / "node_modules" / "stamp")
        monkeypatch.setattr(venv, "create", self.create)
        monkeypatch.setattr(environment, "run", self.run)
        monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
        monkeypatch.setattr(environment, "node_version", lambda: "v20.1.0")

    def create(self, folder: Path, **_: object) -> None:
        assert not folder.exists()
        self.commands.append("venv")
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()
        (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True)

    def run(self, *command: str | Path, cwd: Path = ROOT) -> None:
        text = " ".join(Path(word).name if os.sep in str(word) else str(word) for word in command)
        name = next(word for word in ("serve.lock", "dev.lock", "--editable", "npm ci") if word in text)
        if name == "npm ci":
            (cwd / "node_modules").mkdir(exist_ok=True)
        if name == self.failing:
            raise SystemExit(f"failed: {name}")
        self.commands.append(name)

    def prepare(self, *levels: str) -> list[str]:
        """What the script installs when it is called with these levels."""
        self.commands.clear()
        environment.main(list(levels))
        return list(self.commands)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which nothing is installed yet."""
    monkeypatch.chdir(tmp_path)
    return Machine(tmp_path / "repository", monkeypatch)


def test_each_level_is_installed_once(machine: Machine) -> None:
    """A script's first run installs what it needs on top of what is there, and its second run nothing."""
    assert machine.prepare("serve") == ["venv", "serve.lock"]
    assert machine.prepare("serve") == []
    assert machine.prepare("dev", "node") == ["dev.lock", "--editable", "npm ci"]
    assert machine.prepare("dev", "node") == []
    assert machine.prepare("serve") == []


def test_the_tests_first_need_one_installation(machine: Machine) -> None:
    """On a fresh clone, scripts/test installs all at once, and scripts/serve then nothing more."""
    assert machine.prepare("dev") == ["venv", "dev.lock", "--editable"]
    assert machine.prepare("serve") == []


def test_a_changed_lock_starts_from_nothing(machine: Machine) -> None:
    """After a change of a lock file the environment is made anew, so that no package of before stays."""
    machine.prepare("dev")
    (machine.root / "requirements" / "dev.lock").write_text("changed")
    assert machine.prepare("serve") == []
    assert machine.prepare("dev") == ["venv", "dev.lock", "--editable"]
    (machine.root / "requirements" / "serve.lock").write_text("changed")
    assert machine.prepare("serve") == ["venv", "serve.lock"]


def test_a_changed_pyproject_is_installed_again(machine: Machine) -> None:
    """A change of pyproject.toml installs only the package anew, for its scripts and entry points."""
    machine.prepare("dev")
    (machine.root / "pyproject.toml").write_text("changed")
    assert machine.prepare("serve") == []
    assert machine.prepare("dev") == ["--editable"]
    assert machine.prepare("dev") == []


@pytest.mark.parametrize("step", ["dev.lock", "--editable"])
@pytest.mark.parametrize("before", ["nothing", "serve"])
def test_an_interrupted_installation_is_started_again(machine: Machine, step: str, before: str) -> None:
    """After an installation that stopped at any step, the next run makes it whole."""
    if before == "serve":
        machine.prepare("serve")
    machine.failing = step
    with pytest.raises(SystemExit, match=step):
        machine.prepare("dev")
    machine.failing = ""
    assert machine.prepare("dev") == ["venv", "dev.lock", "--editable"]
    assert machine.prepare("dev") == []


def test_a_moved_repository_gets_a_new_environment(machine: Machine) -> None:
    """The environment names its own path in its programs, so a stamp with another path does not count."""
    machine.prepare("serve")
    stamp = json.loads(environment.STAMP.read_text())
    environment.STAMP.write_text(json.dumps({**stamp, "venv": environment.digest("/elsewhere")}))
    assert machine.prepare("serve") == ["venv", "serve.lock"]


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_broken_stamp_or_python_counts_as_nothing(machine: Machine, text: str) -> None:
    """A stamp that cannot be read, and an environment whose Python is gone, are made anew."""
    machine.prepare("serve")
    environment.STAMP.write_text(text)
    assert machine.prepare("serve") == ["venv", "serve.lock"]
    (environment.VENV / "bin" / "python").unlink()
    assert machine.prepare("serve") == ["venv", "serve.lock"]


def test_node_packages_are_installed_again_after_an_interruption(machine: Machine) -> None:
    """A failed `npm ci` leaves no stamp, and a changed lock file is installed."""
    machine.failing = "npm ci"
    with pytest.raises(SystemExit, match="npm ci"):
        machine.prepare("node")
    machine.failing = ""
    assert machine.prepare("node") == ["npm ci"]
    (machine.root / "node" / "package-lock.json").write_text("changed")
    assert machine.prepare("node") == ["npm ci"]


@pytest.mark.parametrize("version", ["", "v18.19.0"])
def test_without_a_fitting_node_its_packages_are_left_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    """Where Node is absent or too old nothing is installed, and the reason is printed."""
    monkeypatch.setattr(environment, "node_version", lambda: version)
    assert machine.prepare("node") == []
    assert "no Node packages, for " in capsys.readouterr().err


def test_a_wrong_call_is_refused(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown level is exit code 2 and the usage."""
    with pytest.raises(SystemExit) as error:
        machine.prepare("all")
    assert error.value.code == environment.USAGE
    assert "usage:" in capsys.readouterr().err


def test_serve_works_from_any_directory(tmp_path: Path) -> None:
    """scripts/serve starts this server from another directory, where it looks up files but no modules."""
    (tmp_path / "reply.txt").write_text("From a file.")
    (tmp_path / "mockprovider.py").write_text("raise SystemExit('the wrong module')")
    script = str(ROOT / "scripts" / "serve")
    with serving(script, "--port", "0", "--reply", "@reply.txt", cwd=tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_test_works_from_any_directory(tmp_path: Path) -> None:
    """scripts/test finds the project's tests from another directory, and passes on what it is told."""
    script = str(ROOT / "scripts" / "test")
    command = [script, "--collect-only", "-q", "-k", "test_test_works_from_any_directory"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert "tests/test_scripts.py::test_test_works_from_any_directory" in ended.stdout
    assert "dependencies ready in " in ended.stdout


def test_every_script_is_described_and_executable() -> None:
    """scripts/README.md has a line for each file in scripts/, and each that is run by name can be."""
    described = (ROOT / "scripts" / "README.md").read_text()
    for path in sorted((ROOT / "scripts").iterdir()):
        if path.is_file() and path.name != "README.md":
            assert f"`{path.name}`" in described, path.name
            assert bool(path.stat().st_mode & 0o111) == (path.suffix == ""), path.name


@pytest.mark.parametrize("script", ["serve", "test", "check", "lock", "lib.sh", "../.ci/run"])
def test_the_shell_scripts_parse(script: str) -> None:
    """Each script is sound bash."""
    subprocess.run(["bash", "-n", ROOT / "scripts" / script], check=True)

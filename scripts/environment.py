"""Makes what the scripts need, once: the environment `.venv` and the Node packages of the client tests.

    environment.py serve    .venv with the server's own dependencies
    environment.py dev      the same with everything for tests and checks, and mockprovider installed editable
    environment.py node     the packages of tests/clients/node, where Node and npm are there

Rules of this file:
- Only the standard library, and any Python >= 3.11: it runs before anything is installed.
- What was installed is told by a stamp, taken away before an installation starts and written when all of it
  has succeeded. An installation that was interrupted leaves no stamp, and the next run starts from nothing.
- Two scripts started at once do not install at once: the second waits for the first.
- Versions come from the lock files in `requirements/`, made by `scripts/lock`; dev.lock holds serve.lock's
  packages too, at the same versions.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "mockprovider-stamp.json"
LOCKS = {level: ROOT / "requirements" / f"{level}.lock" for level in ("serve", "dev")}
NODE = ROOT / "tests" / "clients" / "node"
NODE_STAMP = NODE / "node_modules" / ".mockprovider-stamp"
NODE_MINIMUM = 20

USAGE = 2
"""Exit code for a wrong call, as argparse has it."""


def say(text: str) -> None:
    """Print progress on stderr: stdout belongs to the program that the script starts."""
    print(text, file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command with its output on stderr and no input; its failure ends this script with one line."""
    words = [str(word) for word in command]
    ended = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"environment: failed ({ended.returncode}): {' '.join(words)}")


def digest(*parts: Path | str) -> str:
    """The SHA-256 of files (their bytes) and strings, in order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the lock under which installations are made."""
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    with (folder / "environment.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say what is being installed, and afterwards how long it took."""
    say(f"environment: {what} ...")
    started = time.monotonic()
    yield
    say(f"environment: {what}: {time.monotonic() - started:.1f} s")


def wanted(level: str) -> dict[str, str]:
    """The stamp that an environment fit for `level` has; `venv` is for its path, which its scripts name."""
    stamp = {"venv": digest(str(ROOT)), "serve": digest(LOCKS["serve"])}
    if level == "dev":
        stamp["dev"] = digest(LOCKS["dev"])
        stamp["project"] = digest(ROOT / "pyproject.toml")
    return stamp


def installed() -> dict[str, str]:
    """The stamp of what is there; empty when it was left unfinished, or its Python is gone."""
    if not (VENV / "bin" / "python").exists():
        return {}
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def python(level: str) -> None:
    """Make .venv fit for `level`, with as little work as its present state allows."""
    with alone():
        want, have = wanted(level), installed()
        stale = {name for name, value in want.items() if have.get(name) != value}
        if not stale:
            return
        STAMP.unlink(missing_ok=True)
        # Additions go on top; a changed lock starts anew, so that nothing that left the lock stays behind.
        if stale & have.keys() - {"project"} or not have:
            create()
            have, stale = {}, set(want)
        if stale - {"project", "venv"}:
            install(level)
        if "project" in stale:
            with timed("installing mockprovider, editable"):
                pip("install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
        unfinished = STAMP.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({**have, **want}, indent=1) + "\n")
        unfinished.replace(STAMP)


def create() -> None:
    """Make an empty .venv, in place of whatever is there."""
    with timed(f"making .venv with Python {sys.version.split()[0]}"):
        if VENV.is_symlink() or VENV.is_file():
            VENV.unlink()
        elif VENV.exists():
            shutil.rmtree(VENV)
        try:
            venv.create(VENV, with_pip=True, symlinks=True)
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                "environment: this Python cannot make a virtual environment with pip "
                f"({error}); on Debian and Ubuntu, install the package python3-venv"
            ) from None
        # The package is found from its sources at the level `serve` too, where it is not installed.
        [site_packages] = VENV.glob("lib/python3.*/site-packages")
        (site_packages / "mockprovider-sources.pth").write_text(f"{ROOT}\n")


def install(level: str) -> None:
    """Install what the lock file of `level` names."""
    with timed(f"installing {LOCKS[level].relative_to(ROOT)}"):
        pip("install", "--require-hashes", "--requirement", LOCKS[level])


def pip(command: str, *words: str | Path) -> None:
    """Run the environment's own pip; it says nothing but errors."""
    quiet = ("-qq", "--no-input", "--disable-pip-version-check")
    run(VENV / "bin" / "python", "-m", "pip", command, *quiet, *words)


def node_version() -> str:
    """What `node --version` prints, such as `v20.20.2`; empty where there is no working Node."""
    try:
        answer = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def node() -> None:
    """Install the Node packages of the client tests, or say why not; the tests that need them then skip."""
    version = node_version()
    if not version or shutil.which("npm") is None:
        say("environment: no Node packages, for want of node or npm; the tests that need them skip")
        return
    if int(version.lstrip("v").split(".")[0]) < NODE_MINIMUM:
        say(f"environment: no Node packages, for Node {version} is too old; the tests that need them skip")
        return
    want = digest(*(NODE / name for name in ("package.json", "package-lock.json", ".npmrc")))
    with alone():
        if NODE_STAMP.is_file() and NODE_STAMP.read_text() == want:
            return
        NODE_STAMP.unlink(missing_ok=True)
        with timed("installing the Node packages of tests/clients/node"):
            run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=NODE)
        NODE_STAMP.write_text(want)


def main(levels: list[str]) -> None:
    """Make each level that is named."""
    if not levels or set(levels) - {"serve", "dev", "node"}:
        say("usage: environment.py {serve|dev|node} ...")
        raise SystemExit(USAGE)
    # pip and npm write here; a relative TMPDIR or a deleted working directory must not stop them.
    os.chdir(ROOT)
    for level in levels:
        if level == "node":
            node()
        else:
            python(level)


if __name__ == "__main__":
    main(sys.argv[1:])

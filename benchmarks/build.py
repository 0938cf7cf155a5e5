"""What the benchmark needs before it can run: the two C programs, the peers, and the machine it stands on.

Everything is made once, keyed by content or version, in `.cache/bench` of the repository.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "bench"

AIMOCK, LLMOCK, MOCKLLM, VCRPY = "1.43.0", "0.2.2", "0.0.8", "9.4.2"


class Absent(Exception):
    """Something the benchmark would use is not here; the text is the reason that the reader is shown."""


def cache() -> Path:
    """The cache folder, made if absent."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return CACHE


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise Absent(f"{what} failed: {lines[-1][:200]}")


def compile_c(name: str) -> Path:
    """Compile `c/NAME.c` with gcc -O2. Raises Absent without gcc, or where the source does not compile."""
    source = HERE / "c" / f"{name}.c"
    target = cache() / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if target.exists():
        return target
    gcc = shutil.which("gcc")
    if gcc is None:
        raise Absent("gcc is not installed")
    draft = target.with_suffix(f".{os.getpid()}")
    _run([gcc, "-O2", "-Wall", "-Wextra", "-o", str(draft), str(source), "-lm"], f"compiling {name}.c")
    draft.rename(target)
    return target


def _once(name: str, version: str, install: list[list[str]], *, with_venv: bool) -> Path:
    """A folder `NAME-VERSION` in which the commands have run; a marker file says that they all succeeded."""
    folder = cache() / f"{name}-{version}"
    marker = folder / ".installed"
    if not marker.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if with_venv:
            venv.create(folder, with_pip=True)
        for command in install:
            _run(command, f"installing {name} {version}")
        marker.touch()
    return folder


def npm_package(package: str, name: str, version: str) -> Path:
    """Install one npm package into the cache. Raises Absent without node and npm, or when that fails."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Absent("node and npm are not installed")
    prefix = str(cache() / f"{name}-{version}")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", prefix, f"{package}@{version}"]
    return _once(name, version, [command], with_venv=False)


def python_package(name: str, version: str) -> Path:
    """Install one Python package into a virtual environment of its own. Raises Absent when that fails."""
    pip = [str(cache() / f"{name}-{version}" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    return _once(name, version, [[*pip, "--disable-pip-version-check", f"{name}=={version}"]], with_venv=True)


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    return (done.stdout.strip() or "unknown").splitlines()[0]


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def machine() -> dict[str, str]:
    """The machine and the versions, without any name or path that belongs to one place."""
    return {
        "cores": f"{len(os.sched_getaffinity(0))} ({_cpu_model()})",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "aiohttp": _version_of("aiohttp"),
        "gcc": _first_line(["gcc", "-dumpfullversion"]),
        "node": _first_line(["node", "--version"]),
        "peers": f"aimock {AIMOCK}, llmock {LLMOCK}, mockllm {MOCKLLM}, vcrpy {VCRPY}",
    }


def python_environment() -> dict[str, str]:
    """The environment of measured Python processes: compiled modules are kept, as users keep them."""
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = str(cache() / f"pyc-{sys.version_info[0]}.{sys.version_info[1]}")
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    return env

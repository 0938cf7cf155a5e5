"""What the repository's own files promise to those who take it up."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import mockprovider

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_lock_files_name_no_place_to_download_from() -> None:
    """A lock file has no address: packages come from whatever registry pip and npm are set up for."""
    for path in ROOT.glob("requirements/*.lock"):
        assert not re.search(r"://|^\s*-(?!-hash=)", path.read_text(), re.MULTILINE), path.name
    node_lock = ROOT / "tests" / "clients" / "node" / "package-lock.json"
    packages = json.loads(node_lock.read_text())["packages"]
    assert len(packages) > 1
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_the_lock_of_the_tests_holds_the_servers_packages() -> None:
    """requirements/dev.lock has every package of serve.lock at the same version: one may follow the other."""
    pins = {
        path.stem: set(re.findall(r"^[\w.-]+==\S+", path.read_text(), re.MULTILINE))
        for path in ROOT.glob("requirements/*.lock")
    }
    assert pins["serve"] < pins["dev"]
    assert len({pin.partition("==")[0] for pin in pins["dev"]}) == len(pins["dev"])


def test_the_version_is_the_same_everywhere() -> None:
    """The package, its metadata and the newest section of the changelog have one version."""
    version = PROJECT["project"]["version"]
    assert mockprovider.__version__ == version
    headings = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == version


def test_only_aiohttp_is_needed_at_run_time() -> None:
    """A user of the package gets aiohttp and what that needs, nothing else."""
    assert [re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["dependencies"]] == ["aiohttp"]  # type: ignore[index]


def test_the_package_says_that_it_is_typed() -> None:
    """Type checkers read the package's annotations: py.typed is there."""
    assert (ROOT / "mockprovider" / "py.typed").is_file()

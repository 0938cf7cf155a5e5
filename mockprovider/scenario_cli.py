"""The command `mockprovider check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_check"]


def add_check(commands: Any) -> None:
    """Add the command to the parser's."""
    check = commands.add_parser(
        "check",
        help="say what is wrong with scenario files",
        description="Say what is wrong with scenario files, by line and column; exit code 1 where anything is.",
        allow_abbrev=False,
    )
    check.set_defaults(run=_check)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE.toml")


def _check(arguments: argparse.Namespace) -> int:
    from mockprovider.scenario_file import check

    wrong = False
    for path in arguments.files:
        file, problems = check(path)
        for problem in problems:
            wrong = True
            print(problem, file=sys.stderr)
        if file is not None:
            print(f"{path}: {len(file.rules)} rule{'' if len(file.rules) == 1 else 's'}, nothing wrong")
    return int(wrong)

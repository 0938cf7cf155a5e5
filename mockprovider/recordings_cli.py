"""The commands `mockprovider show`, `diff`, `lint`, `fit`, `import` and `export`: what can be done with recordings.

Exit codes: 0 done; 1 `diff` found differences, `lint` found something wrong, or `import` refused something; 2 bad
usage, or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockprovider.catalogue_cli import to_a_pipe
from mockprovider.errors import RecordingError, SettingError, nearest
from mockprovider.recording import Recording, dumps, load, load_folder

if TYPE_CHECKING:
    from mockprovider.importers import Imported
    from mockprovider.redaction import Redactor

__all__ = ["add_commands"]

_LEAST_WIDTH, _WIDTH = 40, 100


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's. commands: what `add_subparsers` has made."""
    show = _command(commands, "show", _show, "show a recording: text, events, timeline", "Show what was recorded.")
    show.add_argument("path", type=Path, metavar="FILE|DIR", help="a recording, or a folder to list")
    show.add_argument("--events", action="store_true", help="all events, not the first and last alone")
    show.add_argument("--raw", action="store_true", help="the bytes of the connection too, read by read")
    show.add_argument("--svg", type=Path, metavar="FILE", help="draw the timeline into this file")
    show.add_argument("--width", type=int, metavar="N", help="columns (those of the terminal)")
    diff = _command(commands, "diff", _diff, "what differs between two recordings", "Compare two recordings.")
    diff.add_argument("first", type=Path, metavar="A")
    diff.add_argument("second", type=Path, metavar="B")
    diff.add_argument(
        "--all", action="store_true", help="also what differs each time: ids, dates, times that are close"
    )
    diff.add_argument("--ignore", action="append", default=[], metavar="PART", help="leave out a part, such as timing")
    lint = _command(commands, "lint", _lint, "what looks wrong in recordings", "Check recordings.")
    lint.add_argument("paths", type=Path, nargs="+", metavar="FILE|DIR")
    lint.add_argument("--strict", action="store_true", help="warnings count, too: exit code 1")
    lint.add_argument("--quiet", action="store_true", help="leave out notes")
    _add_rules(lint)
    fit = _command(commands, "fit", _fit, "turn recorded gaps into a pace", "Make a pace for generated replies.")
    fit.add_argument("paths", type=Path, nargs="+", metavar="FILE|DIR")
    taken = _command(commands, "import", _import, "make recordings of other tools' files", "Import other tools' files.")
    taken.add_argument("sources", type=Path, nargs="+", metavar="SOURCE", help="files, or folders to look through")
    taken.add_argument("--into", type=Path, required=True, metavar="DIR", help="where the recordings go")
    taken.add_argument("--format", metavar="NAME", help="the format, where it is not found out: vcrpy, har, stream …")
    taken.add_argument("--force", action="store_true", help="write over recordings that are there and differ")
    _add_rules(taken)
    export = _command(commands, "export", _export, "write recordings for other tools", "Export recordings.")
    export.add_argument("paths", type=Path, nargs="+", metavar="FILE|DIR")
    export.add_argument("--to", required=True, choices=("sse", "har", "vcrpy"), help="the form")
    export.add_argument("--output", type=Path, metavar="PATH", help="a file, or a folder for several (standard output)")
    export.add_argument("--origin", metavar="URL", help="where it was recorded, if the recordings do not tell")


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, description: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, allow_abbrev=False
    )
    parser.set_defaults(run=to_a_pipe(run))
    return parser


def _print(lines: Iterable[str]) -> None:
    """Lines to standard output, whatever its encoding can say."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, "replace").decode(encoding))


def _loaded(paths: Sequence[Path]) -> list[Recording]:
    """The recordings in these files and folders. RecordingError for a folder without any."""
    found: list[Recording] = []
    for path in paths:
        some = load_folder(path) if path.is_dir() else [load(path)]
        if not some:
            raise RecordingError(f"{path}: there are no recordings in it (NAME.ndjson)")
        found += some
    return found


def _write(path: Path, data: bytes, flag: str) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SettingError(f"{flag} {path}: {error.strerror}") from error


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """The recorder's own options: what is secret is the same everywhere."""
    parser.add_argument("--redact", action="append", default=[], metavar="TEXT", help="mask this text, too; see record")
    parser.add_argument("--redact-header", action="append", default=[], metavar="NAME", help="a header that is secret")
    parser.add_argument("--keep-header", action="append", default=[], metavar="NAME", help="a header that is not")


def _redactor(arguments: argparse.Namespace) -> Redactor:
    from mockprovider.redaction import Redactor, Rules

    rules = Rules(tuple(arguments.redact), tuple(arguments.keep_header), tuple(arguments.redact_header))
    return Redactor(rules)


# ---------------------------------------------------------------------------------------------- show, diff


def _show(arguments: argparse.Namespace) -> int:
    from mockprovider.show.svg import svg
    from mockprovider.show.terminal import rows, shown
    from mockprovider.show.view import view

    if arguments.width is not None and arguments.width < _LEAST_WIDTH:
        raise SettingError(f"--width: expected at least {_LEAST_WIDTH}, got {arguments.width}")
    width = arguments.width or max(_LEAST_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    if arguments.path.is_dir():
        if arguments.svg is not None:
            raise SettingError("--svg draws one recording; name its file")
        _print(rows(_loaded([arguments.path]), width))
        return 0
    recording = load(arguments.path)
    _print(shown(recording, width, events=arguments.events, raw=arguments.raw))
    if arguments.svg is not None:
        _write(arguments.svg, svg(view(recording)).encode("utf-8", "replace"), "--svg")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from mockprovider.show.difference import PARTS, differences
    from mockprovider.show.terminal import printable
    from mockprovider.show.view import view

    ignored = {part for text in arguments.ignore for part in text.split(",")}
    for part in ignored - set(PARTS):
        raise SettingError(f"--ignore: unknown part {part!r}{nearest(part, PARTS)}")
    one, other = view(load(arguments.first)), view(load(arguments.second))
    found = differences(one, other, everything=arguments.all)
    differing = {part: lines for part, lines in found.items() if lines and part not in ignored}
    for part, lines in differing.items():
        _print([part, *(f"  {printable(line)}" for line in lines)])
    if not (one.timed and other.timed) and "timing" not in ignored:
        print("timing was not compared: it was not recorded in both", file=sys.stderr)
    return 1 if differing else 0


# ---------------------------------------------------------------------------------------------- lint, fit


def _lint(arguments: argparse.Namespace) -> int:
    from mockprovider.show.lint import lint
    from mockprovider.show.terminal import printable

    counted = {"error", "warning"} if arguments.strict else {"error"}
    redactor, wrong = _redactor(arguments), False
    for path in _files(arguments.paths):
        try:
            findings = [(each.severity, each.name, each.text) for each in lint(load(path), redactor)]
        except RecordingError as error:
            findings = [("error", "damaged", str(error))]
        wrong = wrong or any(severity in counted for severity, _, _ in findings)
        shown = [each for each in findings if each[0] != "note" or not arguments.quiet]
        _print(printable(f"{path}: {severity}: {name}: {text}") for severity, name, text in shown)
    return 1 if wrong else 0


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, since one that is damaged is a finding."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.ndjson"))
            if not inside:
                raise RecordingError(f"{path}: there are no recordings in it (NAME.ndjson)")
            found += inside
        elif not path.exists():
            raise RecordingError(f"{path}: no such file")
        else:
            found.append(path)
    return found


def _fit(arguments: argparse.Namespace) -> int:
    from mockprovider.show.figures import percentile
    from mockprovider.show.fit import fit
    from mockprovider.show.plot import seconds
    from mockprovider.show.view import view

    fitted = fit([view(recording) for recording in _loaded(arguments.paths)])
    words = ["--pace", str(fitted.pacing)]
    words += ["--chunking", str(fitted.chunking)] if fitted.chunking is not None else []
    print(shlex.join(words), flush=True)
    gaps = ", ".join(f"p{percent} {seconds(percentile(fitted.gaps, percent))}" for percent in (50, 90, 99))
    print(f"from {len(fitted.gaps)} gaps: {gaps}", file=sys.stderr)
    for stall in fitted.stalls[:3]:
        fault = f"stall(after={stall.after},seconds={stall.seconds:.3g})"
        print(f"a stall was left out; to have it: --with {shlex.quote(fault)}", file=sys.stderr)
    if len(fitted.stalls) > 3:
        print(f"and {len(fitted.stalls) - 3} more stalls", file=sys.stderr)
    return 0


# ---------------------------------------------------------------------------------------------- import, export


def _import(arguments: argparse.Namespace) -> int:
    from mockprovider.importers import FORMATS, collect, read_file

    form: str | None = arguments.format
    if form is not None and form not in FORMATS:
        raise SettingError(f"--format: unknown format {form!r}{nearest(form, tuple(FORMATS))}")
    files = collect(arguments.sources)
    if not files:
        raise SettingError(f"import: nothing in {', '.join(map(str, arguments.sources))} has a name of a known format")
    try:
        arguments.into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"--into {arguments.into}: {error.strerror}") from error
    keeper, redactor, refused = _Keeper(arguments.into, arguments.force), _redactor(arguments), 0
    for path, called in files:
        imported = read_file(path, redactor, form=form, name=str(called))
        refused += len(imported.refusals) + keeper.keep(called, imported)
        for refusal in imported.refusals:
            print(f"refused: {refusal}", file=sys.stderr)
    print(f"{keeper.written} imported, {keeper.same} there already, {refused} refused")
    return 1 if refused else 0


class _Keeper:
    """Writes recordings into a folder, and nothing over another one."""

    def __init__(self, folder: Path, force: bool) -> None:
        self._folder = folder
        self._force = force
        self._taken: set[str] = set()
        self.written = self.same = 0

    def keep(self, called: Path, imported: Imported) -> int:
        """Write what was imported; returns how many were refused. SettingError where it cannot be written."""
        from mockprovider.importers import names_for

        refused = 0
        for name, recording in names_for(called, imported):
            if name in self._taken:  # two sources that differ in their suffix alone
                name = f"{name}-{called.suffix.removeprefix('.')}"  # noqa: PLW2901
            path, data = self._folder / f"{name}.ndjson", dumps(recording)
            if name in self._taken:
                refused += self._refuse(called, f"another source has the name {path.name}; import it by itself")
            elif path.exists() and not self._force and path.read_bytes() != data:
                refused += self._refuse(called, f"{path} is there and differs; --force writes over it")
            elif path.exists() and path.read_bytes() == data:
                self.same += 1
            else:
                _write(path, data, "--into")
                self.written += 1
            self._taken.add(name)
        return refused

    @staticmethod
    def _refuse(called: Path, reason: str) -> int:
        print(f"refused: {called}: {reason}", file=sys.stderr)
        return 1


def _export(arguments: argparse.Namespace) -> int:
    from mockprovider import exporters

    recordings, form = _loaded(arguments.paths), arguments.to
    output: Path | None = arguments.output
    if form == "sse":
        return _export_bodies(recordings, output)
    write = exporters.har if form == "har" else exporters.vcrpy
    data = write(recordings, origin=arguments.origin)
    if output is not None and output.is_dir():
        name = recordings[0].name if len(recordings) == 1 else "recordings"
        output = output / (name + exporters.SUFFIXES[form])
    _put(output, data)
    return 0


def _export_bodies(recordings: Sequence[Recording], output: Path | None) -> int:
    from mockprovider import exporters

    if len(recordings) == 1 and (output is None or not output.is_dir()):
        _put(output, exporters.sse(recordings[0]))
        return 0
    if output is None or not output.is_dir():
        raise SettingError("--output: several bodies need a folder that is there")
    for recording in recordings:
        _put(output / (recording.name + exporters.SUFFIXES["sse"]), exporters.sse(recording))
    return 0


def _put(output: Path | None, data: bytes) -> None:
    if output is not None:
        _write(output, data, "--output")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)

"""What the rooms of the package may know of each other and of the world, and what the package shows to others."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mockprovider
from mockprovider.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(mockprovider.__file__).parent

LAYERS = (
    ("errors", "jsontext", "metrics", "scheduler", "seed", "timeline", "tokens", "tomltext"),
    ("filler", "gates", "guard", "pace", "payload", "quota", "schema"),
    ("limits", "recording", "reply", "wire"),
    ("dialects", "framing", "redaction"),
    ("exchange", "faults", "memo"),
    ("cases", "matching", "player", "render", "replay", "wiretext"),
    ("asserting", "scenario", "settings", "verdict"),
    ("resilience", "scenario_file", "when"),
    ("configuration", "levers", "preview"),
    ("console", "namespace"),
    ("server",),
    ("pathology",),
    ("catalogue_cli", "provider", "show"),
    ("audit", "exporters", "importers"),
    ("audit_cli", "record_cli", "recording_plugin", "recordings_cli", "replay_cli", "scenario_cli"),
    ("pytest_plugin", "cli"),
    ("__main__",),
)
"""The rooms, lowest first: a module or folder imports rooms of lower layers, and modules of its own room, alone."""

ROOM_OF_THIRD_PARTIES = {
    "aiohttp": {"server", "provider"},
    "pytest": {"pytest_plugin"},
    "trustme": {"server"},
    "yaml": {"exporters", "importers"},
}
LAZY = {"exporters", "importers", "provider"}
"""Rooms that may import third parties inside functions, and for type checkers, alone."""

TELLS_TIME = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "datetime.now", "datetime.today"} | {
    "datetime.utcnow",
    "date.today",
}
DRAWS = {"os.urandom", "uuid.uuid1", "uuid.uuid4"}
MAY_TELL_TIME = {
    "server",
    "audit",  # the date of a report
}
MAY_DRAW = {
    "server",  # the seed itself, where none is given
    "memo",  # marks that no reply holds; they are replaced before anything is sent
}


@dataclass(frozen=True)
class Import:
    """What a module imports, in full; lazy: inside a function, or for type checkers only."""

    target: str
    line: int
    lazy: bool


@dataclass(frozen=True)
class Module:
    """A module of the package: its name, the room it is in, and its syntax."""

    name: str
    room: str
    tree: ast.Module

    def __str__(self) -> str:
        return self.name

    @property
    def imports(self) -> Iterator[Import]:
        """Everything that it imports, wherever it does."""
        yield from self._imports(self.tree, lazy=False)

    def _imports(self, node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom):
            folder = (PACKAGE.parent / self.name.replace(".", "/")).is_dir()
            package = self.name if folder else self.name.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, lazy)
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        for child in ast.iter_child_nodes(node):
            yield from self._imports(child, lazy=lazy or inner)


@cache
def modules() -> list[Module]:
    """All modules of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.append(
            Module(".".join(["mockprovider", *parts]), parts[0] if parts else "", ast.parse(path.read_text("utf-8")))
        )
    return found


def room_of(target: str) -> str | None:
    """The room that an import leads to; "" for the package itself, None outside of it."""
    first, *rest = target.split(".")
    if first != "mockprovider":
        return None
    return rest[0] if rest and rest[0] in {module.room for module in modules()} else ""


LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def test_every_room_has_a_layer() -> None:
    """Every module and folder of the package is in one layer, and the layers name nothing else."""
    rooms = [room for layer in LAYERS for room in layer]
    assert sorted(rooms) == sorted({module.room for module in modules()} - {""})


def test_a_room_imports_only_lower_layers() -> None:
    """No module imports a room of its own layer or a higher one, not even inside a function or for type checkers."""
    wrong = [
        f"{module}:{imported.line} imports {imported.target}"
        for module in modules()
        if module.room
        for imported in module.imports
        if (room := room_of(imported.target)) and room != module.room and LEVEL[room] >= LEVEL[module.room]
    ]
    assert wrong == []


def test_the_package_itself_gives_its_rooms_nothing_but_its_version() -> None:
    """Rooms import each other, not the public names; `mockprovider.__version__` is the exception."""
    allowed = {"mockprovider", "mockprovider.__version__"}
    wrong = [
        f"{module}:{imported.line} imports {imported.target}"
        for module in modules()
        for imported in module.imports
        if room_of(imported.target) == "" and imported.target not in allowed
    ]
    assert wrong == []


def test_importing_the_package_imports_none_of_its_rooms() -> None:
    """The public names are loaded when they are used: what the package imports at once is for type checkers."""
    [package] = [module for module in modules() if not module.room]
    assert all(imported.lazy or room_of(imported.target) is None for imported in package.imports)


def test_third_parties_are_known_in_their_rooms_alone() -> None:
    """aiohttp is imported by the server alone, and by the provider when it needs it; pytest by the plugin alone."""
    wrong = []
    for module in modules():
        for imported in module.imports:
            name = imported.target.partition(".")[0]
            if name == "mockprovider" or name in sys.stdlib_module_names:
                continue
            if module.room not in ROOM_OF_THIRD_PARTIES.get(name, ()) or (module.room in LAZY and not imported.lazy):
                wrong.append(f"{module}:{imported.line} imports {imported.target}")
    assert wrong == []


def test_chance_and_time_come_from_outside() -> None:
    """Nothing asks what time it is but the server, and nothing that is sent is drawn but from the seed."""
    wrong = []
    for module in modules():
        forbidden = (set() if module.room in MAY_TELL_TIME else TELLS_TIME) | (
            set() if module.room in MAY_DRAW else DRAWS
        )
        for imported in module.imports:
            if imported.target.startswith("random.") and imported.target != "random.Random":
                wrong.append(f"{module}:{imported.line} imports {imported.target}")
            if imported.target.partition(".")[0] in ("secrets", "uuid") and module.room not in MAY_DRAW:
                wrong.append(f"{module}:{imported.line} imports {imported.target}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                used = ".".join(ast.unparse(node).split(".")[-2:])
                if used in forbidden or (
                    used.startswith("random.") and used != "random.Random" and "self" not in ast.unparse(node)
                ):
                    wrong.append(f"{module}:{node.lineno} uses {used}")
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import mockprovider.cli", ["mockprovider.cli"]),
        ("from mockprovider import cli", ["mockprovider.cli"]),
        ("from .runner import A", ["mockprovider.server.runner.A"]),
        ("from ..cli import main", ["mockprovider.cli.main"]),
        ("def f():\n    import aiohttp", ["aiohttp (lazy)"]),
        ("if TYPE_CHECKING:\n    import aiohttp\nimport pytest", ["aiohttp (lazy)", "pytest"]),
    ],
)
def test_every_form_of_an_import_is_seen(source: str, found: list[str]) -> None:
    """The tests above see absolute and relative imports, in functions and for type checkers too."""
    module = Module("mockprovider.server.control", "server", ast.parse(source))
    assert [imported.target + " (lazy)" * imported.lazy for imported in module.imports] == found


# ------------------------------------------------------------------------------------------------ the public face

PUBLIC = {
    "Chunking",
    "Citation",
    "Exchange",
    "MockProvider",
    "MockProviderError",
    "NoMatchError",
    "Pacing",
    "Reasoning",
    "Refusal",
    "Reply",
    "Text",
    "Tokens",
    "ToolCall",
    "__version__",
    "contains",
    "equals",
    "glob",
    "regex",
    "tool_call",
}


def test_the_public_names_are_these() -> None:
    """What `import mockprovider` offers changes on purpose only; every name resolves, is listed, and is documented."""
    assert set(mockprovider.__all__) == PUBLIC
    assert sorted(mockprovider.__all__) == dir(mockprovider)
    for name in PUBLIC - {"__version__"}:
        assert inspect.getdoc(getattr(mockprovider, name)), name
    with pytest.raises(AttributeError, match="module 'mockprovider' has no attribute 'MockProvder'"):
        _ = mockprovider.MockProvder


def test_a_server_starts_without_its_faults() -> None:
    """They are loaded when somebody looks at them, and listed in one order whichever file was imported first."""
    code = (
        "import sys, mockprovider.server.runner; loaded = 'mockprovider.faults.before' in sys.modules;"
        "import mockprovider.faults.wire; from mockprovider.faults import FAULTS; print(loaded, *FAULTS)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", *FAULTS]
    assert next(iter(FAULTS)) == "noop"


def test_a_public_name_loads_what_it_needs_alone() -> None:
    """Using a name that needs no HTTP loads no HTTP library."""
    code = "import sys, mockprovider; mockprovider.Reply; print('aiohttp' in sys.modules, 'asyncio' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ended.stdout == "False False\n"


@pytest.mark.parametrize("module", modules(), ids=str)
def test_what_a_module_shows_is_there_and_explained(module: Module) -> None:
    """Every module says what it is; every name in its `__all__` exists and, as a class or function, is explained."""
    if module.name.endswith("__main__"):
        pytest.skip("importing it runs the command")
    loaded = importlib.import_module(module.name)
    assert loaded.__doc__
    # What a protocol of the module explains need not be explained by who keeps it.
    classes = filter(inspect.isclass, vars(loaded).values())
    protocols = [value for value in classes if getattr(value, "_is_protocol", False)]
    promised = {name for protocol in protocols for name, value in vars(protocol).items() if inspect.getdoc(value)}
    for name in getattr(loaded, "__all__", ()):
        shown = getattr(loaded, name)
        if not (inspect.isclass(shown) or inspect.isfunction(shown)) or shown.__name__ != name:
            continue  # a constant, an alias, or a function that another one made
        assert shown.__doc__, f"{module}.{name}"
        if inspect.isclass(shown):
            silent = [
                member
                for member, value in vars(shown).items()
                if not member.startswith("_")
                and (inspect.isfunction(value) or isinstance(value, property | classmethod))
                and not inspect.getdoc(getattr(shown, member))
                and member not in promised
            ]
            assert not silent, f"{module}.{name} does not explain {', '.join(silent)}"

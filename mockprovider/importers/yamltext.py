"""YAML as cassettes have it, read without ever making an object: text, numbers, bytes, lists and mappings alone.

Tags of Python and Ruby that stand for plain values are read as these; any other tag is refused.
"""

from __future__ import annotations

import base64
import binascii
from functools import cache
from typing import Any

from mockprovider.importers.base import Refused

__all__ = ["load", "pyyaml"]

INSTALL = "pip install 'mockprovider[import]'"


def pyyaml() -> Any:
    """The module `yaml`. Refused, with the command that installs it, where it is missing."""
    try:
        import yaml
    except ImportError:
        raise Refused("PyYAML is needed for YAML and is not installed", INSTALL) from None
    return yaml


def load(data: bytes) -> Any:
    """The document. Refused, with the line, where it is no YAML or has tags that are not known."""
    yaml = pyyaml()
    try:
        return yaml.load(data, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise Refused(f"{where}{error.problem}", "repair the file; YAML of cassettes has plain values only") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise Refused(f"no YAML: {text:.200}", "repair the file or save it as UTF-8") from error


@cache
def _loader() -> Any:
    yaml = pyyaml()
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """The safe loader with the tags of cassettes, and without dates: a date is the text that it was."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }
    Loader.add_constructor("!binary", _binary)  # Ruby's own tag, beside YAML's !!binary
    for tag in ("str", "unicode", "bytes", "tuple", "list", "dict"):
        Loader.add_constructor(f"tag:yaml.org,2002:python/{tag}", _plain)
    for prefix in ("apply:multidict.", "new:multidict.", "apply:builtins.str", "object/apply:multidict."):
        Loader.add_multi_constructor(f"tag:yaml.org,2002:python/{prefix}", _applied)
    Loader.add_multi_constructor("tag:yaml.org,2002:python/object/new:multidict.", _applied)
    Loader.add_multi_constructor("!ruby/string", lambda loader, _, node: _plain(loader, node))
    return Loader


def _plain(loader: Any, node: Any) -> Any:
    yaml = pyyaml()
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node)


def _applied(loader: Any, _: str, node: Any) -> Any:
    """A text that a class was called with, such as a case-insensitive one of multidict's."""
    value = _plain(loader, node)
    if isinstance(value, dict):
        value = value.get("args", [""])
    return str(value[0]) if isinstance(value, list) and value else str(value or "")


def _binary(loader: Any, node: Any) -> bytes:
    try:
        return base64.b64decode("".join(loader.construct_scalar(node).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        yaml = pyyaml()
        raise yaml.constructor.ConstructorError(None, None, f"no base64: {error}", node.start_mark) from error

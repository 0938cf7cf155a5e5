"""The shape of JSON: which paths there are, of which types, and in which order an object's keys come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Shape", "differences", "layout", "shape_of"]


@dataclass
class Shape:
    """What documents of one kind have in common.

    types: by path, such as `.choices[].delta.content`, every type that was seen there; orders: by the path of an
    object, every order of its keys that was seen.
    """

    types: dict[str, set[str]] = field(default_factory=dict)
    orders: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)

    def add(self, value: Any, path: str = "") -> None:
        """Note one document, or what is at a path of one."""
        self.types.setdefault(path, set()).add(_type(value))
        if isinstance(value, dict):
            self.orders.setdefault(path, set()).add(tuple(value))
            for key, inner in value.items():
                self.add(inner, f"{path}.{key}")
        elif isinstance(value, list):
            for inner in value:
                self.add(inner, f"{path}[]")


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
        case _:
            return "object"


def shape_of(documents: Iterable[Any]) -> Shape:
    """The shape of all of them together."""
    made = Shape()
    for document in documents:
        made.add(document)
    return made


def differences(real: Shape, ours: Shape) -> Iterator[tuple[str, str]]:
    """(what, detail): paths that only one of them has, types that were never recorded, keys in another order.

    Below a path that only one of them has, nothing more is said. A path that is null on one side and an object or a
    list on the other differs in its type, and what is inside is not said.
    """
    yield from (("missing", path) for path in _tops(real.types, ours.types))
    yield from (("extra", path) for path in _tops(ours.types, real.types))
    for path in sorted(real.types.keys() & ours.types.keys()):
        if strange := ours.types[path] - real.types[path]:
            wanted = "/".join(sorted(real.types[path]))
            yield "type", f"{path} {'/'.join(sorted(strange))} for {wanted}"
    for path in sorted(real.orders.keys() & ours.orders.keys()):
        if all(_disagree(one, other) for one in ours.orders[path] for other in real.orders[path]):
            other = max(real.orders[path], key=len)
            yield "order", f"{path or '.'} has {','.join(next(iter(ours.orders[path])))} for {','.join(other)}"


def _tops(paths: dict[str, set[str]], others: dict[str, set[str]]) -> Iterator[str]:
    for path in sorted(paths.keys() - others.keys()):
        parent = path[: max(path.rfind("."), path.rfind("["))]
        # Inside of what the other side has as null or empty, or lacks altogether, one line is enough.
        if (
            parent in others
            and others[parent] & {"object", "list"}
            and not (path.endswith("[]") and "list" in others[parent])
        ):
            yield path


def _disagree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return [key for key in one if key in other] != [key for key in other if key in one]


_STYLES = {
    "compact": {"separators": (",", ":")},
    "spaced": {},
    "two spaces deep": {"indent": 2},
    "four spaces deep": {"indent": 4},
}


def layout(text: str) -> str:
    """How a document is written: `compact`, `spaced`, so many spaces deep, or `otherwise`; and its escapes.

    `\\uXXXX` counts only where something is there to escape. Spaces before the last brace are `padded`.
    """
    document = json.loads(text)
    bare = text.strip()
    words = []
    for name, style in _STYLES.items():
        raw = json.dumps(document, ensure_ascii=False, **style)  # type: ignore[arg-type]
        escaped = json.dumps(document, **style)  # type: ignore[arg-type]
        for written, how in ((raw, ""), (escaped, ", escaped")):
            if _alike(bare, written):
                words.append(name + how)
                break
            if bare.endswith("}") and _alike(bare[:-1].rstrip() + "}", written):
                words.append(f"{name}{how}, padded")
                break
        if words:
            return words[0]
    return "otherwise"


def _alike(text: str, written: str) -> bool:
    """Whether two texts differ in nothing but how numbers and single characters are written."""
    if text == written:
        return True
    return len(_plain(text)) == len(_plain(written)) and _plain(text) == _plain(written)


def _plain(text: str) -> str:
    import re

    text = re.sub(r"\\u00(?:3c|3e|26|27|7f)|\\u202[89]|\\/", "?", text)
    text = re.sub(r"[<>&'/\x7f\u2028\u2029]", "?", text)
    return re.sub(r"(?<=[:,\[ ])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", "0", text)

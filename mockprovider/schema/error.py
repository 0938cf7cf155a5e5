"""What is raised for a schema that is refused: the place in it, and why."""

from __future__ import annotations

from mockprovider.errors import SettingError

__all__ = ["Path", "SchemaError"]

Path = tuple[str | int, ...]
"""Where something is in a schema: the keys and indexes from the root, `()` for the root itself."""


class SchemaError(SettingError):
    """A JSON Schema that cannot be satisfied, is not supported, or that a strict provider would refuse.

    path: where in the schema, from its root. reason: why, in a sentence that ends with a full stop.
    name: what the caller calls the schema, or None. located: False for a reason that concerns the schema as a
    whole (its size, the type of its root). As text it is what OpenAI's API writes after
    `Invalid schema for response_format 'NAME': `, the place first if it has one.
    """

    def __init__(self, path: Path, reason: str, *, name: str | None = None, located: bool = True) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason
        self.name = name
        self.located = located

    def __str__(self) -> str:
        if not self.located:
            return self.reason
        # The API prints a path as a Python tuple of strings, indexes included: ('anyOf', '0').
        return f"In context={tuple(str(key) for key in self.path)!r}, {self.reason}"

"""What the script knows of a client: how it is called, what it speaks, whose errors are its own, what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

__all__ = ["Spec", "body", "named", "spec"]

OPENAI = "openai-chat"
ANTHROPIC = "anthropic-messages"


@dataclass(frozen=True)
class Spec:
    """One client. label: its name, where `{}` becomes the version of its package; function: of a `Task`."""

    label: str
    function: Callable[[Any], Any]
    package: str | None = None
    dialect: str = OPENAI
    own: tuple[str, ...] = ()
    can: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name with its version."""
        return self.label.format(version(self.package)) if self.package else self.label


def spec(table: dict[str, Spec], key: str, label: str, **fields: Any) -> Callable[[Callable[[Any], Any]], Any]:
    """Enter the function below into a table of clients."""

    def entered(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        table[key] = Spec(label, function, **fields)
        return function

    return entered


def body(task: Any, **more: Any) -> dict[str, Any]:
    """The request of the clients that build it by hand."""
    messages = [{"role": "user", "content": task.prompt}]
    return {"model": task.model, "messages": messages, "stream": True, **more}


def headers(task: Any) -> dict[str, str]:
    """Its headers."""
    return {"Authorization": f"Bearer {task.api_key}"}


def named(finish: object) -> Mapping[str, Any]:
    """The report of a client that shows the finish reason."""
    return {"finish": finish}

"""The audit: what a client does with every case of the catalogue, in two verdicts each.

from mockprovider.audit import audit

report = audit(my_client)      # a function of a `Task` that returns or yields the text
assert not report.silent_losses
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mockprovider.audit.clients import CallableClient, CommandClient
from mockprovider.audit.model import AuditError, Class, ClientFailure, Content, Ending, Report, Result, Task, Verdict
from mockprovider.audit.run import Audit, Options, Progress

__all__ = [
    "Audit",
    "AuditError",
    "CallableClient",
    "Class",
    "ClientFailure",
    "CommandClient",
    "Content",
    "Ending",
    "Options",
    "Progress",
    "Report",
    "Result",
    "Task",
    "Verdict",
    "audit",
]


def audit(
    client: Callable[[Task], Any],
    *,
    name: str | None = None,
    own: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Audit a callable, sync or async, that asks `task.base_url` and returns the text or yields its pieces.

    It raises where it believes that the answer is not complete. own: packages whose exceptions are its own; options:
    those of `Options`. Raises AuditError where it fails on a perfect stream, SettingError for an impossible option.
    """
    return Audit(CallableClient(client, name, own), Options(**options)).run(progress)

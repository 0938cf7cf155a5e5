"""Every exception that mockprovider raises on purpose.

MockProviderError
├── SettingError          a flag, pace, chunking, rule, scenario or marker says something impossible
│   └── SchemaError       a JSON Schema that cannot be satisfied or is not supported (schema.py)
├── RequestError          an HTTP request that the provider would refuse; carries status, code and parameter
├── NoMatchError          a request that no rule of its namespace answers
├── TimelineError         a stage of ours produced an impossible order of wire actions: a defect here
├── RecordingError        a recording is damaged, of an unknown version, or cannot be read
├── WaitTimeoutError      the awaited exchanges did not come in time
└── UnavailableError      the server could not start: port in use, address refused
"""

from __future__ import annotations

__all__ = [
    "MockProviderError",
    "NoMatchError",
    "RecordingError",
    "RequestError",
    "SettingError",
    "TimelineError",
    "UnavailableError",
    "WaitTimeoutError",
    "nearest",
]


class MockProviderError(Exception):
    """The root: catch it to catch everything that mockprovider raises on purpose."""


class SettingError(MockProviderError, ValueError):
    """A setting says something impossible; the message names the setting and what is allowed.

    where: in data that was read, the keys and indices that lead to it, from the outermost.
    """

    where: tuple[str | int, ...] = ()


class RequestError(MockProviderError):
    """A request that the provider would refuse. A dialect says it in the provider's own shape.

    status: HTTP status; kind: the dialect-neutral kind of the error, such as `invalid_request`;
    param: the offending field or None; code: the provider's machine-readable code or None;
    headers: further response headers, for example `allow`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers


class NoMatchError(MockProviderError):
    """A request that no rule answers; the message shows the nearest rule and what differs."""


class TimelineError(MockProviderError):
    """A stage produced wire actions in an order that cannot be performed; a defect of ours."""


class RecordingError(MockProviderError, ValueError):
    """A recording is damaged, of an unknown version, or cannot be read; the message names the file and the line."""


class WaitTimeoutError(MockProviderError, TimeoutError):
    """The awaited exchanges did not come in time; the message shows those that did."""


class UnavailableError(MockProviderError, OSError):
    """The server could not start listening; the message names the address and the reason."""


def nearest(word: str, allowed: list[str] | tuple[str, ...]) -> str:
    """A hint for an unknown name: `; did you mean 'official'?`, or the allowed names."""
    import difflib

    close = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(sorted(allowed))}"

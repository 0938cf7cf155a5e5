"""Before the response: statuses, rate limits and redirects that are answered instead of a reply.

What a fault needs of the request is in its `Context`; it never sees the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from mockprovider.errors import RequestError, SettingError
from mockprovider.faults import forms
from mockprovider.faults.base import (
    COUNT,
    JSON,
    SECONDS,
    TEXT,
    Added,
    Context,
    Fault,
    Kind,
    Level,
    Response,
    choice,
    fault,
    setting,
)
from mockprovider.faults.forms import LINE
from mockprovider.faults.grammar import to_segment
from mockprovider.faults.pages import page, phrase
from mockprovider.framing.sse import ServerSentEvent
from mockprovider.jsontext import dumps
from mockprovider.quota import STYLES, Allowance, Counter, http_date, limit_headers, rate_limited, style_of

__all__ = ["Limit", "NeedsKey", "RateLimited", "Redirect", "Redirected", "Status"]

# Importing it registers what is in it: answers of another form, which have stages.
_FILES = (forms,)

_JSON = ("Content-Type", "application/json")

# ------------------------------------------------------------------------------------------------ kinds of settings

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError
    for name, text in value.items():
        # RFC 9110 section 5: a line end in a value would begin another header.
        if not (isinstance(text, str) and _NAME.fullmatch(name) and _VALUE.fullmatch(text)):
            raise ValueError
    return dict(value)


def _status(low: int, value: Any) -> int:
    if isinstance(value, bool) or int(value) != value or not low <= value <= 599:
        raise ValueError
    return int(value)


def _quoted(value: Any) -> str:
    return dumps(value).decode()


STATUS = Kind("status", "a status from 200 to 599", partial(_status, 200))
HEADERS = Kind("headers", 'a JSON object of texts, such as {"x-should-retry":"false"}', _headers, _quoted)


def _pairs(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((headers or {}).items())


def _without(headers: tuple[tuple[str, str], ...], others: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The headers but those that the others say again, then the others."""
    names = {name.lower() for name, _ in others}
    return (*(header for header in headers if header[0].lower() not in names), *others)


# ------------------------------------------------------------------------------------------------ statuses

_KINDS = {401: "authentication", 403: "authentication", 404: "not_found", 413: "too_large", 429: "rate_limit"}
"""The kind of error that a status tells, where nobody says it; otherwise it is the client's or the server's."""

_BODIES = ("provider", "json", "text", "html", "event", "empty")


@fault("status", Level.BEFORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Fault):
    """Any status with any body: the provider's error, given JSON or text, a proxy's HTML page, an event, or nothing.

    provider: an error as the dialect words it; event: the same, or the given JSON, as the only server-sent event of a
    stream; json and text: what is given; html: a proxy's page, or for a success a sign-in page, or the given text.
    """

    code: int = setting(STATUS, 500, "the status")
    body: str | None = setting(
        choice(*_BODIES), None, "what the body is; json or text where one is given, else provider"
    )
    json: Any = setting(JSON, None, "the body's document")
    text: str | None = setting(TEXT, None, "the body's text, as it stands")
    message: str | None = setting(TEXT, None, "what the provider's error says")
    kind: str | None = setting(TEXT, None, "the type of the provider's error")
    error_code: str | None = setting(TEXT, None, "the code of the provider's error")
    content_type: str | None = setting(LINE, None, "instead of the body's own Content-Type; empty: none")
    headers: dict[str, str] | None = setting(HEADERS, None, "further headers; one of the same name is replaced")

    def __post_init__(self) -> None:
        # Two of the same name: `super()` without arguments does not know the class that `slots` has made.
        Fault.__post_init__(self)
        body = self.form
        if self.json is not None and self.text is not None:
            raise SettingError("status: json and text: expected one of them, got both")
        if self.json is not None and body not in ("json", "event"):
            raise SettingError(f"status: json: expected body=json or body=event with it, got body={body}")
        if self.text is not None and body not in ("text", "html"):
            raise SettingError(f"status: text: expected body=text or body=html with it, got body={body}")
        if (body == "json" and self.json is None) or (body == "text" and self.text is None):
            raise SettingError(f"status: body={body}: expected {body}=... with it")
        worded = body == "provider" or (body == "event" and self.json is None)
        for name in ("message", "kind", "error_code"):
            if getattr(self, name) is not None and not worded:
                raise SettingError(f"status: {name}: a part of the provider's error, which body={body} has not")
        if self.code in (204, 205, 304) and body != "empty":
            raise SettingError(f"status: body: a {self.code} has none (RFC 9110); expected body=empty")

    @property
    def form(self) -> str:
        """What the body is."""
        if self.body is not None:
            return self.body
        return "json" if self.json is not None else "text" if self.text is not None else "provider"

    def respond(self, context: Context) -> Response:
        """The status with its body."""
        body, own, error = self._body(context)
        headers = _without(own, _pairs(self.headers))
        if self.content_type is not None:
            named = (("Content-Type", self.content_type),) if self.content_type else ()
            headers = (*named, *(header for header in headers if header[0].lower() != "content-type"))
        return Response(self.code, headers, body, error, chunked=self.form == "event")

    def _body(self, context: Context) -> tuple[bytes | None, tuple[tuple[str, str], ...], RequestError | None]:
        form = self.form
        if form == "provider":
            return None, (), self._error()
        if form == "json":
            return dumps(self.json), (_JSON,), None
        if form == "event":
            if not context.framing.startswith("sse"):
                raise SettingError(f"{self}: the streams of {context.dialect} are {context.framing}, not events")
            error = self._error()
            document = context.error(error.kind, error.message) if self.json is None else self.json
            if self.json is None and self.error_code is not None and "code" in document["error"]:
                document["error"]["code"] = self.error_code
            # Anthropic's events have the name of their document's type.
            named = isinstance(document, dict) and context.dialect.startswith("anthropic")
            event = ServerSentEvent(dumps(document), event=document.get("type") if named else None).encode()
            return event, (("Content-Type", "text/event-stream; charset=utf-8"),), None
        if form == "html":
            said = page(self.code) if self.text is None else self.text.encode()
            return said, (("Content-Type", "text/html; charset=UTF-8"),), None
        if form == "text":
            assert self.text is not None, "checked when it was made"
            return self.text.encode("utf-8", "surrogatepass"), (("Content-Type", "text/plain; charset=utf-8"),), None
        return b"", (), None

    def _error(self) -> RequestError:
        usual = _KINDS.get(self.code, "server" if self.code >= 500 else "invalid_request")
        message = self.message if self.message is not None else f"{phrase(self.code)}: an error that was asked for."
        return RequestError(self.code, message, kind=self.kind or usual, code=self.error_code)


# ------------------------------------------------------------------------------------------------ rate limits

_FORMS = ("seconds", "http-date", "ms", "malformed", "none", "reset-headers")


@fault("rate-limited", Level.BEFORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited(Fault):
    """Status 429, with the time to wait in one of the forms in which servers say it.

    seconds: `Retry-After: 2`; http-date: the same as a date, counted from now; ms: `retry-after-ms` beside it, rounded
    up; malformed: the text of `value`; none: no hint at all; reset-headers: the rate-limit headers alone.
    """

    retry_after: float = setting(SECONDS, 1.0, "how long to wait; rounded up where the form has whole seconds")
    form: str = setting(choice(*_FORMS), "seconds", "how it is said")
    value: str | None = setting(LINE, None, "the header, word for word, with form=malformed (500ms)")
    provider: str | None = setting(choice(*STYLES), None, "whose rate-limit headers there are; none where not set")
    reset_requests: float | None = setting(SECONDS, None, "when all requests are back (retry_after)")
    reset_tokens: float = setting(SECONDS, 0.0, "when all tokens are back")
    message: str | None = setting(TEXT, None, "what the error says")
    kind: str = setting(TEXT, "rate_limit", "the type of the error")
    error_code: str | None = setting(TEXT, "rate_limit_exceeded", "the code of the error")
    headers: dict[str, str] | None = setting(HEADERS, None, "further headers; one of the same name is replaced")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.value is not None and self.form != "malformed":
            raise SettingError(f"rate-limited: value: expected form=malformed with it, got form={self.form}")
        if self.provider is None and self.form != "reset-headers":
            for name in ("reset_requests", "reset_tokens"):
                if getattr(self, name):
                    raise SettingError(f"rate-limited: {name}: expected provider=... or form=reset-headers with it")

    def respond(self, context: Context) -> Response:
        """The 429."""
        message = self.message
        if message is None:
            message = "Rate limit reached."
            if self.form in ("seconds", "http-date", "ms"):
                message += f" Please try again in {self.retry_after:g}s."
        error = RequestError(429, message, kind=self.kind, code=self.error_code)
        headers = (*self._hint(context.wall), *self._counters(context.wall))
        return Response(429, _without(headers, _pairs(self.headers)), None, error)

    def _hint(self, wall: float) -> tuple[tuple[str, str], ...]:
        whole = str(-int(-self.retry_after // 1))
        if self.form == "seconds":
            return (("Retry-After", whole),)
        if self.form == "http-date":
            return (("Retry-After", http_date(wall + self.retry_after)),)
        if self.form == "ms":
            return ("retry-after-ms", f"{self.retry_after * 1000:.0f}"), ("Retry-After", whole)
        if self.form == "malformed":
            return (("Retry-After", "500ms" if self.value is None else self.value),)
        return ()

    def _counters(self, wall: float) -> tuple[tuple[str, str], ...]:
        provider = self.provider
        if provider is None:
            if self.form != "reset-headers":
                return ()
            provider = "openai"
        reset = self.retry_after if self.reset_requests is None else self.reset_requests
        # Of a minute's tokens, those are left that do not have to come back.
        left = int(150_000 * max(0.0, 1 - self.reset_tokens / 60))
        allowance = Allowance(Counter(60, 0, reset), Counter(150_000, left, self.reset_tokens))
        return limit_headers(provider, allowance, wall)


@fault("limit", Level.BEFORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Fault):
    """Real rate limits: replies count down in their headers; beyond the limit there is a 429 that says when to come.

    The buckets belong to the namespace: all requests in it that ask for the same limits share them.
    """

    rpm: int | None = setting(COUNT, None, "requests a minute")
    tpm: int | None = setting(COUNT, None, "tokens a minute")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.rpm is None and self.tpm is None:
            raise SettingError("limit: expected rpm, tpm or both, such as limit(rpm=3,tpm=1000)")

    def respond(self, context: Context) -> Response | Added:
        """The headers that tell what is left, and the 429 where it is not enough."""
        admission = context.admit(self.rpm, self.tpm)
        style = style_of(context.dialect)
        headers = limit_headers(style, admission.allowance, context.wall)
        if admission.passed:
            return Added(headers)
        return Response(429, headers, None, rate_limited(admission, style))


# ------------------------------------------------------------------------------------------------ redirects


@fault("redirected", Level.BEFORE, legal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected(Fault):
    """Marks the URL that a redirect led to: the faults of its chain but the redirects apply there."""

    def respond(self, context: Context) -> None:
        """Nothing: it is there to be seen by `redirect`."""


_REDIRECTS = (301, 302, 303, 307, 308)


def _redirect(value: Any) -> int:
    if isinstance(value, bool) or int(value) not in _REDIRECTS:
        raise ValueError
    return int(value)


def _target(value: Any) -> str:
    text = str(LINE.parse(value))
    if text in ("same", "other-host", "none") or text.startswith("/") or re.match(r"https?://[^/]", text):
        return text
    raise ValueError


REDIRECT = Kind("redirect", "301, 302, 303, 307 or 308", _redirect)
TARGET = Kind("target", "same, other-host, none, a path such as /v2, or a URL", _target, _quoted)


@fault("redirect", Level.BEFORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect(Fault):
    """A redirect; behind it, where it stays with this server, the rest of the chain answers.

    same: a path on the same origin; other-host: the same at another name of this host, which is another origin
    (localhost for 127.0.0.1, and the other way round); none: no Location header; else word for word.
    """

    code: int = setting(REDIRECT, 307, "the status")
    to: str = setting(TARGET, "same", "where to")

    def respond(self, context: Context) -> Response | None:
        """The redirect, or nothing where it has been followed."""
        if any(isinstance(other, Redirected) for other in context.chain):
            return None
        location = self._location(context)
        headers = () if location is None else (("Location", location),)
        return Response(self.code, headers, b"")

    def _location(self, context: Context) -> str | None:
        if self.to == "none":
            return None
        if self.to not in ("same", "other-host"):
            return self.to
        asked = context.asked
        chain = to_segment(f"redirected+{asked.chain}" if asked.chain else "redirected")
        query = f"?{asked.query}" if asked.query else ""
        path = f"{asked.namespace}/with/{chain}{asked.path}{query}"
        if self.to == "same":
            return path
        host = asked.headers.get("Host") or "127.0.0.1"
        name, colon, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
        other = "127.0.0.1" if name == "localhost" else "localhost"
        return f"http://{other}{colon}{port}{path}"


_KEYS = {"anthropic-messages": ("x-api-key",), "gemini": ("x-goog-api-key",)}
"""The headers for keys that a dialect has besides Authorization, in lower case."""


@fault("needs-key", Level.BEFORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsKey(Fault):
    """Status 401 for a request without a key: an Authorization header, or the provider's own, whatever it says.

    That is `x-api-key` for Anthropic; for Gemini `x-goog-api-key`, or `key` in the URL's query.
    """

    def respond(self, context: Context) -> Response | None:
        """The 401, or nothing."""
        accepted = {"authorization", *_KEYS.get(context.dialect, ())}
        if any(name.lower() in accepted for name in context.asked.headers):
            return None
        if context.dialect == "gemini" and "key" in parse_qs(context.asked.query):
            return None
        message = "You didn't provide an API key: it belongs into a header of the request."
        return Response(401, error=RequestError(401, message, kind="authentication"))

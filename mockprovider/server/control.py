"""The control API under `/_mock/`: whatever the Python fixture can do, for programs in any language.

A namespace's calls stand below its own prefix, `/~ID/_mock/...`; without a prefix they mean the default namespace.
Every answer but the metrics is JSON, refusals among them: `{"error": {"message": ...}}`.

Pages of other origins must not steer the server of somebody who visits them. So a call is refused that has an
`Origin` other than ours or a `Sec-Fetch-Site` that tells of another site (Fetch Metadata), and so is a body that is
not declared as JSON, which is all that a form can send without a preflight. The `Host` header is checked against DNS
rebinding. Where the server has a token, it must come along.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

import mockprovider
from mockprovider.cases import Case, get, in_family
from mockprovider.errors import MockProviderError, RequestError, SettingError, WaitTimeoutError, nearest
from mockprovider.exchange import Exchange
from mockprovider.namespace import Namespace
from mockprovider.preview import durations
from mockprovider.scenario_file import rule_from
from mockprovider.server.console import Console, page
from mockprovider.server.handler import Handler
from mockprovider.server.listeners import Listeners, Misbehaviour
from mockprovider.server.reload import followed
from mockprovider.server.routes import JSON, ROUTES, Route, openapi

__all__ = ["Control"]

logger = logging.getLogger("mockprovider")

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the namespace it is about, its query and body, and the last step of its path where that is free.

    origin: how the caller reaches the server, such as `http://127.0.0.1:8000`; request: as it came.
    """

    namespace: Namespace
    query: Mapping[str, str]
    body: Mapping[str, Any]
    id: str
    origin: str
    request: web.BaseRequest


class Control:
    """Serves the routes, each with the method of its name."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._console = Console(handler)

    async def page(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """The console's page, or one of its files. It holds no data, so it needs no token."""
        if not self._handler.settings.host_allowed(request.headers.get("Host")):
            return _refuse(421, "the Host header is not one of this server's names; see --allow-host")
        return page(path, request) or _refuse(404, f"the console has no file {path}")

    async def handle(
        self, request: web.BaseRequest, namespace: Namespace | None, path: str, query: str
    ) -> web.StreamResponse:
        """Answer a request whose path, without the namespace's prefix, begins with `/_mock`."""
        if path.startswith("/_mock/console/") and self._handler.settings.console and request.method in ("GET", "HEAD"):
            return await self.page(request, path)
        try:
            self._guard(request)
            if namespace is None:
                raise RequestError(404, "this namespace is closed or was never opened")
            route, id = _route(request.method, path.removeprefix("/_mock") or "/")
            if self._handler.workers > 1 and not route.shared:
                raise RequestError(
                    409,
                    f"this server has {self._handler.workers} workers, which share no rules, exchanges or gates;"
                    " start it with one to use them",
                )
            body = await self._body(request) if request.method in ("POST", "PUT") else {}
            _known(body, route.body, "the body")
            asked = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
            _known(asked, route.query, "the query")
            answer: Callable[[Call], Any] = getattr(self._console, route.name, None) or getattr(self, "_" + route.name)
            origin = f"{request.scheme}://{request.host}"
            document = answer(Call(namespace, asked, body, id, origin, request))
            if isinstance(document, Awaitable):
                document = await document
            if isinstance(document, web.StreamResponse):
                return document
            if isinstance(document, str):
                return web.Response(text=document, content_type=route.media, headers=_HEADERS)
            return web.json_response(document, status=route.status, headers=_HEADERS)
        except RequestError as error:
            return _refuse(error.status, error.message, error.headers)
        except WaitTimeoutError as error:
            return _refuse(408, str(error))
        except MockProviderError as error:
            return _refuse(400, str(error))
        except Exception as error:  # a defect of ours; the caller gets JSON all the same
            logger.exception("control API: %s %s", request.method, path)
            return _refuse(500, f"mockprovider failed: {type(error).__name__}: {error}")

    # ------------------------------------------------------------------------------------------ who may call

    def _guard(self, request: web.BaseRequest) -> None:
        settings = self._handler.settings
        host = request.headers.get("Host")
        if not settings.host_allowed(host):
            raise RequestError(421, "the Host header is not one of this server's names; see --allow-host")
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        if site not in ("none", "same-origin") or (origin is not None and origin != f"{request.scheme}://{host}"):
            raise RequestError(403, "the control API answers no page of another origin")
        if settings.token is not None:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            token = token if scheme.lower() == "bearer" else request.headers.get("x-mockprovider-token", "")
            # A header may hold bytes that are no UTF-8; aiohttp hands them on as lone surrogates.
            if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), settings.token.encode()):
                raise RequestError(
                    401,
                    "this server has a token: send it as `Authorization: Bearer TOKEN` or `x-mockprovider-token`",
                    headers=(("WWW-Authenticate", "Bearer"),),
                )

    async def _body(self, request: web.BaseRequest) -> Mapping[str, Any]:
        limit = self._handler.settings.body_limit
        raw = bytearray()
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            while part := await request.content.readany():
                raw += part
                if len(raw) > limit:
                    raise RequestError(413, f"the body is too large: the limit is {limit} bytes")
        except web.RequestPayloadError as error:
            request.content.feed_eof()  # or aiohttp would wait for the rest of it
            raise RequestError(400, "the body is not encoded as its headers say") from error
        if not raw:
            return {}
        if request.content_type != JSON:
            raise RequestError(415, f"expected a body of type {JSON}, got {request.content_type}")
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"the body is no JSON: {error}") from error
        if not isinstance(document, dict):
            raise RequestError(400, f"expected a JSON object, got {type(document).__name__}")
        return document

    # ------------------------------------------------------------------------------------------ the calls

    def _health(self, call: Call) -> Any:
        handler = self._handler
        return {
            "status": "ok",
            "version": mockprovider.__version__,
            "seed": handler.seed.value,
            "pace": str(handler.settings.pace),
            "chunking": str(handler.settings.chunking),
            "namespaces": len(handler.namespaces),
            "streams": sum(len(namespace.playing) for namespace in list(handler.namespaces.values())),
            "strays": len(handler.strays),
            "workers": handler.workers,
        }

    def _scenario(self, call: Call) -> Any:
        return followed(self._handler.reloader)

    def _metrics(self, call: Call) -> str:
        return self._handler.metrics.text()

    def _openapi(self, call: Call) -> Any:
        return openapi()

    def _namespaces_list(self, call: Call) -> Any:
        return [_described(namespace) for namespace in list(self._handler.namespaces.values())]

    def _namespaces_open(self, call: Call) -> Any:
        id = call.body.get("id")
        if id is not None and (not isinstance(id, str) or not _ID.fullmatch(id)):
            raise SettingError(f"id: expected 1 to 64 of the characters A-Z, a-z, 0-9, - and _, got {id!r}")
        return _described(self._handler.open(id))

    def _namespaces_close(self, call: Call) -> Any:
        if call.id not in self._handler.namespaces:
            raise RequestError(404, f"there is no open namespace {call.id!r}")
        self._handler.close(call.id)
        return {"closed": call.id}

    def _namespace_show(self, call: Call) -> Any:
        return _described(call.namespace)

    def _rules_list(self, call: Call) -> Any:
        return [rule.describe() for rule in call.namespace.scenario.rules]

    def _rules_add(self, call: Call) -> Any:
        conditions, answers = rule_from(call.body)
        for answer in answers:
            rule = call.namespace.scenario.add(conditions, answer)
        call.namespace.scenario.tables.append(call.body)
        return rule.describe()

    def _rules_clear(self, call: Call) -> Any:
        call.namespace.scenario.clear()
        return self._rules_list(call)

    def _exchanges_list(self, call: Call) -> Any:
        writes = call.query.get("writes", "true")
        if writes not in ("true", "false"):
            raise SettingError(f"writes: expected true or false, got {writes!r}")
        journal = call.namespace.journal
        selected = journal.select(path=call.query.get("path"), outcome=call.query.get("outcome"))
        return _exchanges(call.namespace, selected, writes=writes == "true")

    def _exchanges_clear(self, call: Call) -> Any:
        call.namespace.journal.clear()
        return _exchanges(call.namespace, [])

    async def _exchanges_wait(self, call: Call) -> Any:
        count = _number(call, "count", int, 1)
        timeout = _number(call, "timeout", float, 5.0)
        if not (count >= 1 and 0 <= timeout <= 3600):
            raise SettingError(f"expected a count of at least 1 and a timeout of 0 to 3600 seconds, got {call.query}")
        found = await call.namespace.journal.wait(
            count, path=call.query.get("path"), outcome=call.query.get("outcome"), timeout=timeout
        )
        return _exchanges(call.namespace, found)

    def _gates_list(self, call: Call) -> Any:
        return call.namespace.gates.waiting()

    def _gates_hold(self, call: Call) -> Any:
        call.namespace.gates.hold(_gate(call))
        return call.namespace.gates.waiting()

    def _gates_release(self, call: Call) -> Any:
        return {"released": call.namespace.gates.release(_gate(call))}

    def _cases_list(self, call: Call) -> Any:
        family = call.query.get("family")
        return [self._case(call, case) for case in in_family(family)]

    def _cases_show(self, call: Call) -> Any:
        seconds = _number(call, "seconds", float, None)
        first = _number(call, "first", int, None)
        shown = self._case(call, get(call.id), seconds, first)
        if shown["available"]:
            speed = self._handler.settings.speed
            lasts, silent = (each / speed if math.isfinite(each) else None for each in durations(call.id))
            shown.update(seconds=lasts, silence=silent)
        return shown

    def _case(self, call: Call, case: Case, seconds: float | None = None, first: int | None = None) -> Any:
        url = None
        if case.available or seconds is not None or first is not None:
            url = self._listeners.case_url(call.origin, call.namespace.id, case, seconds, first)
        return {**case.describe(), "base_url": url}

    def _listeners_open(self, call: Call) -> Any:
        what = Misbehaviour(call.id, _number(call, "seconds", float, None), _number(call, "first", int, None))
        name = f"listener {call.id}"
        return {"base_url": self._listeners.base_url(call.origin, call.namespace.id, name, what)}

    @property
    def _listeners(self) -> Listeners:
        listeners = self._handler.listeners
        assert listeners is not None, "calls come only while the server runs"
        return listeners

    def _reset(self, call: Call) -> Any:
        call.namespace.reset()
        return _described(call.namespace)


def _route(method: str, path: str) -> tuple[Route, str]:
    """The route and what stands for its `{id}`. RequestError 404 or 405."""
    found = []
    for route in ROUTES:
        prefix, brace, _ = route.path.partition("{")
        if path == route.path or (brace and path.startswith(prefix) and len(path) > len(prefix)):
            found.append((route, unquote(path.removeprefix(prefix)) if brace else ""))
    for route, id in found:
        if route.method == method or (method == "HEAD" and route.method == "GET"):
            return route, id
    if found:
        allowed = ", ".join(route.method for route, _ in found)
        raise RequestError(405, f"/_mock{path} knows {allowed}, not {method}", headers=(("Allow", allowed),))
    known = tuple(dict.fromkeys(route.path for route in ROUTES))
    raise RequestError(404, f"there is no /_mock{path}{nearest(path, known)}")


def _described(namespace: Namespace) -> dict[str, Any]:
    return {
        "id": namespace.id,
        "path": f"/~{namespace.id}" if namespace.id else "",
        "exchanges": len(namespace.journal),
        "dropped": namespace.journal.dropped,
        "streams": len(namespace.playing),
        "unmatched": list(namespace.scenario.unmatched),
        "errors": list(namespace.errors),
    }


def _exchanges(namespace: Namespace, selected: list[Exchange], *, writes: bool = True) -> dict[str, Any]:
    return {
        "exchanges": [exchange.describe(writes=writes) for exchange in selected],
        "dropped": namespace.journal.dropped,
    }


def _number(call: Call, name: str, kind: Callable[[str], float], default: float | None) -> Any:
    given = call.query.get(name)
    if given is None:
        return default
    try:
        return kind(given)
    except ValueError as error:
        raise SettingError(f"{name}: expected a number, got {given!r}") from error


def _gate(call: Call) -> str:
    gate = call.body.get("gate")
    if not isinstance(gate, str):
        raise SettingError(f"gate: expected a name, got {gate!r}")
    return gate


def _known(given: Mapping[str, Any], allowed: Mapping[str, object], where: str) -> None:
    for name in given:
        if name not in allowed:
            hint = nearest(name, tuple(allowed)) if allowed else "; none is allowed"
            raise SettingError(f"{where}: unknown key {name!r}{hint}")


def _refuse(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers={**_HEADERS, **dict(headers)})

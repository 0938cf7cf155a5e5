"""The control API under `/_mock/`: whatever the Python fixture can do, for programs in any language.

`ROUTES` is the source of truth: dispatch and the OpenAPI page are both made from it. A namespace's calls stand below
its own prefix, `/~ID/_mock/...`; without a prefix they mean the default namespace. Web pages of other origins are
refused, and where the server has a token it must come along.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

import mockprovider
from mockprovider.errors import MockProviderError, RequestError, SettingError, WaitTimeoutError, nearest
from mockprovider.exchange import OUTCOMES
from mockprovider.matching import FIELDS
from mockprovider.namespace import Namespace
from mockprovider.scenario import rule_from
from mockprovider.server.handler import Handler

__all__ = ["ROUTES", "Control"]

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the control API, as `Control` serves it and the OpenAPI page describes it."""

    namespace: Namespace
    query: Mapping[str, str]
    body: Mapping[str, Any]
    rest: str


@dataclass(frozen=True, slots=True)
class Route:
    """method and path below `/_mock`; summary; what the query and the body may hold: name -> (type, meaning)."""

    method: str
    path: str
    summary: str
    answer: str
    query: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    body: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    status: int = 200


_SELECT = {
    "path": ("string", "only exchanges with this request path"),
    "outcome": (
        "string",
        f"only exchanges that ended so: {', '.join(OUTCOMES)}; or open",
    ),
}
_GATE = {"gate": ("string", "before-head, after-first-token, after-token-N or before-end")}

ROUTES = (
    Route("GET", "/health", "Whether the server is up, and what it was started with.", "health"),
    Route("GET", "/openapi.json", "This page.", "openapi"),
    Route("GET", "/namespaces", "The open namespaces.", "namespaces_list"),
    Route(
        "POST", "/namespaces", "Open a namespace, with rules, exchanges and gates of its own.", "namespaces_open",
        body={"id": ("string", "its name; one is made up without it")}, status=201,
    ),
    Route("DELETE", "/namespaces/{id}", "Close a namespace and end its streams.", "namespaces_close"),
    Route("GET", "/rules", "The rules, in the order in which they are tried.", "rules_list"),
    Route(
        "POST", "/rules", "Add a rule; one with equal conditions gets the answers appended.", "rules_add",
        body={
            "match": ("object", f"conditions: {', '.join(FIELDS)}, headers, body"),
            "reply": ("string or object", "a text, or text, reasoning, refusal, tool_calls, finish"),
            "error": ("object", "status, message, type, param, code, headers"),
            "times": ("integer", "how often before the next answer's turn"),
            "pace": ("string", "such as official or ttft=0.2,itl=0.02"),
            "chunking": ("string", "such as tokens_per_payload=2"),
            "answers": ("array", "several answers in order, instead of the keys above"),
        },
        status=201,
    ),
    Route("DELETE", "/rules", "Remove all rules.", "rules_clear"),
    Route(
        "GET", "/exchanges", "The exchanges, oldest first, with what was sent and when.", "exchanges_list",
        query={**_SELECT, "writes": ("boolean", "false leaves out the timeline and the bytes")},
    ),
    Route("DELETE", "/exchanges", "Forget the exchanges.", "exchanges_clear"),
    Route(
        "GET", "/exchanges/wait", "Wait until so many exchanges have ended; 408 with a picture if they do not.",
        "exchanges_wait",
        query={**_SELECT, "count": ("integer", "how many (1)"), "timeout": ("number", "seconds (5)")},
    ),
    Route("GET", "/gates", "The closed gates, and how many streams wait at each.", "gates_list"),
    Route("POST", "/hold", "Close a gate: streams that begin from now on stop there.", "gates_hold", body=_GATE),
    Route("POST", "/release", "Open a gate; the streams that wait there go on.", "gates_release", body=_GATE),
    Route("POST", "/reset", "Forget rules, exchanges and gates; end open streams.", "reset"),
)  # fmt: skip


class Control:
    """Serves the routes. Answers are JSON; errors are `{"error": {"message": ...}}`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle(
        self, request: web.BaseRequest, namespace: Namespace | None, path: str, query: str
    ) -> web.StreamResponse:
        """Answer a request whose path, without the namespace's prefix, begins with `/_mock`."""
        try:
            self._guard(request)
            if namespace is None:
                raise RequestError(404, "this namespace is closed or was never opened")
            route, rest = self._route(request.method, path.removeprefix("/_mock") or "/")
            body = await self._body(request) if request.method == "POST" else {}
            _known(body, route.body, "the body")
            asked = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
            _known(asked, route.query, "the query")
            answer: Callable[[Call], Any] = getattr(self, "_" + route.answer)
            document = answer(Call(namespace, asked, body, rest))
            if isinstance(document, Awaitable):
                document = await document
            return web.json_response(document, status=route.status)
        except RequestError as error:
            return _refuse(error.status, error.message, error.headers)
        except WaitTimeoutError as error:
            return _refuse(408, str(error))
        except MockProviderError as error:
            return _refuse(400, str(error))

    # ------------------------------------------------------------------------------------------ who may call

    def _guard(self, request: web.BaseRequest) -> None:
        settings = self._handler.settings
        if not settings.host_allowed(request.headers.get("Host")):
            raise RequestError(421, "the Host header is not one of this server's names; see --allow-host")
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        own = f"{request.scheme}://{request.headers.get('Host')}"
        if site not in ("none", "same-origin") or (origin is not None and origin != own):
            raise RequestError(403, "the control API answers no page of another origin")
        if settings.token is not None:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            token = token if scheme.lower() == "bearer" else request.headers.get("x-mockprovider-token", "")
            if not hmac.compare_digest(token.encode(), settings.token.encode()):
                raise RequestError(
                    401,
                    "this server has a token: send it as `Authorization: Bearer TOKEN` or `x-mockprovider-token`",
                    headers=(("www-authenticate", "Bearer"),),
                )

    def _route(self, method: str, path: str) -> tuple[Route, str]:
        found = []
        for route in ROUTES:
            prefix, brace, _ = route.path.partition("{")
            if path == route.path or (brace and path.startswith(prefix) and len(path) > len(prefix)):
                found.append((route, path.removeprefix(prefix) if brace else ""))
        for route, rest in found:
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return route, rest
        if found:
            allowed = ", ".join(route.method for route, _ in found)
            raise RequestError(405, f"/_mock{path} knows {allowed}, not {method}", headers=(("allow", allowed),))
        raise RequestError(404, f"there is no /_mock{path}{nearest(path, [route.path for route in ROUTES])}")

    async def _body(self, request: web.BaseRequest) -> Mapping[str, Any]:
        raw = await request.content.read(self._handler.settings.body_limit)
        if not raw:
            return {}
        if request.content_type != _JSON:
            raise RequestError(415, f"expected a body of type {_JSON}, got {request.content_type}")
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
            "streams": sum(len(namespace.players) for namespace in handler.namespaces.values()),
            "strays": len(handler.strays),
        }

    def _openapi(self, call: Call) -> Any:
        return openapi()

    def _namespaces_list(self, call: Call) -> Any:
        return [self._described(namespace) for namespace in self._handler.namespaces.values()]

    def _described(self, namespace: Namespace) -> dict[str, Any]:
        return {
            "id": namespace.id,
            "path": f"/~{namespace.id}" if namespace.id else "",
            "exchanges": len(namespace.journal),
            "dropped": namespace.journal.dropped,
            "unmatched": namespace.scenario.unmatched,
            "errors": namespace.errors,
        }

    def _namespaces_open(self, call: Call) -> Any:
        id = call.body.get("id")
        if id is not None and (not isinstance(id, str) or not id or not id.replace("-", "").replace("_", "").isalnum()):
            raise SettingError(f"id: expected letters, digits, - and _, got {id!r}")
        return self._described(self._handler.open(id))

    def _namespaces_close(self, call: Call) -> Any:
        if call.rest not in self._handler.namespaces:
            raise RequestError(404, f"there is no open namespace {call.rest!r}")
        self._handler.close(call.rest)
        return {"closed": call.rest}

    def _rules_list(self, call: Call) -> Any:
        return [rule.describe() for rule in call.namespace.scenario.rules]

    def _rules_add(self, call: Call) -> Any:
        conditions, answers = rule_from(call.body)
        for answer in answers:
            rule = call.namespace.scenario.add(conditions, answer)
        return rule.describe()

    def _rules_clear(self, call: Call) -> Any:
        call.namespace.scenario.clear()
        return {"rules": 0}

    def _exchanges_list(self, call: Call) -> Any:
        writes = call.query.get("writes", "true")
        if writes not in ("true", "false"):
            raise SettingError(f"writes: expected true or false, got {writes!r}")
        selected = call.namespace.journal.select(path=call.query.get("path"), outcome=call.query.get("outcome"))
        return {
            "exchanges": [exchange.describe(writes=writes == "true") for exchange in selected],
            "dropped": call.namespace.journal.dropped,
        }

    def _exchanges_clear(self, call: Call) -> Any:
        call.namespace.journal.clear()
        return {"exchanges": []}

    async def _exchanges_wait(self, call: Call) -> Any:
        try:
            count, timeout = int(call.query.get("count", "1")), float(call.query.get("timeout", "5"))
        except ValueError as error:
            raise SettingError(f"count and timeout: {error}") from error
        if count < 1 or not 0 <= timeout <= 3600:
            raise SettingError("count: at least 1; timeout: 0 to 3600 seconds")
        found = await call.namespace.journal.wait(
            count, path=call.query.get("path"), outcome=call.query.get("outcome"), timeout=timeout
        )
        return {
            "exchanges": [exchange.describe() for exchange in found],
            "dropped": call.namespace.journal.dropped,
        }

    def _gates_list(self, call: Call) -> Any:
        return call.namespace.gates.waiting()

    def _gates_hold(self, call: Call) -> Any:
        call.namespace.gates.hold(_gate(call))
        return call.namespace.gates.waiting()

    def _gates_release(self, call: Call) -> Any:
        return {"released": call.namespace.gates.release(_gate(call))}

    def _reset(self, call: Call) -> Any:
        call.namespace.reset()
        return {"reset": call.namespace.id}


def _gate(call: Call) -> str:
    gate = call.body.get("gate")
    if not isinstance(gate, str):
        raise SettingError(f"gate: expected a name, got {gate!r}")
    return gate


def _known(given: Mapping[str, Any], allowed: Mapping[str, object], where: str) -> None:
    for name in given:
        if name not in allowed:
            raise SettingError(f"{where}: unknown key {name!r}{nearest(name, tuple(allowed)) if allowed else ''}")


def _refuse(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=dict(headers))


def openapi() -> dict[str, Any]:
    """The control API as an OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        parameters = [
            {"name": name, "in": "query", "required": False, "description": meaning, "schema": {"type": kind}}
            for name, (kind, meaning) in route.query.items()
        ]
        if "{id}" in route.path:
            parameters.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
        operation: dict[str, Any] = {
            "operationId": route.answer,
            "summary": route.summary,
            "responses": {
                str(route.status): {"description": "done", "content": {_JSON: {"schema": {}}}},
                "default": {
                    "description": "refused, with the reason",
                    "content": {_JSON: {"schema": _ERROR}},
                },
            },
        }
        if parameters:
            operation["parameters"] = parameters
        if route.body:
            properties = {
                name: {"description": meaning, "type": kind.split(" or ") if " or " in kind else kind}
                for name, (kind, meaning) in route.body.items()
            }
            schema = {"type": "object", "additionalProperties": False, "properties": properties}
            operation["requestBody"] = {"content": {_JSON: {"schema": schema}}}
        for prefix in ("", "/~{namespace}"):
            described = dict(operation)
            if prefix:
                described["operationId"] += "_in"
                described["parameters"] = [
                    *parameters,
                    {"name": "namespace", "in": "path", "required": True, "schema": {"type": "string"}},
                ]
            paths.setdefault(f"{prefix}/_mock{route.path}", {})[route.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "mockprovider control API", "version": mockprovider.__version__},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "object", "properties": {"message": {"type": "string"}}}},
}

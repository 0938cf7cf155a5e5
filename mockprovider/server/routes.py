"""The routes of the control API, as data: dispatch (`control`) and the OpenAPI page are both made from `ROUTES`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mockprovider
from mockprovider.cases import FAMILIES, LISTENERS
from mockprovider.exchange import OUTCOMES
from mockprovider.matching import FIELDS
from mockprovider.scenario_file import ERROR_KEYS, REPLY_KEYS

__all__ = ["JSON", "ROUTES", "Route", "openapi"]

JSON = "application/json"

Schema = Mapping[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(properties: Mapping[str, Schema], required: tuple[str, ...] | None = None) -> Schema:
    """An object with these properties and no others; all are required unless it says which."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(properties if required is None else required),
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(kind: str) -> Schema:
    return {"type": [kind, "null"]}


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the control API.

    method and path: below `/_mock`, a last step `{id}` being any text; summary; name: of the method of `Control` that
    serves it; result: the schema of its answer; query and body: what they may hold, by name, as schemas; required:
    what the body must hold; status: of success; media: the answer's type; shared: whether it makes sense where
    several workers share the port.
    """

    method: str
    path: str
    summary: str
    name: str
    result: Schema
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    media: str = JSON
    shared: bool = False
    status: int = 200


_SELECT: Mapping[str, Schema] = {
    "path": {"type": "string", "description": "only exchanges with this request path"},
    "outcome": {
        "type": "string",
        "enum": [*OUTCOMES, "open"],
        "description": "only exchanges that ended so, or are open",
    },
}
_GATE: Mapping[str, Schema] = {
    "gate": {
        "type": "string",
        "pattern": "^(before-head|after-first-token|after-token-[1-9][0-9]{0,8}|before-end)$",
        "description": "before-head, after-first-token, after-token-N or before-end",
    }
}
_ANSWER: Mapping[str, Schema] = {
    "reply": {
        "type": ["string", "object"],
        "description": f"a text, or {', '.join(REPLY_KEYS)}; generated where there is neither reply nor error",
    },
    "error": {"type": "object", "description": ", ".join(ERROR_KEYS)},
    "times": {"type": "integer", "minimum": 1, "description": "how often before the next answer's turn"},
    "pace": {"type": ["string", "object"], "description": "such as official or ttft=0.2,itl=0.02"},
    "chunking": {"type": ["string", "object"], "description": "such as tokens_per_payload=2"},
    "faults": {"type": "string", "description": "a chain of faults and cases, such as stall(after=3)+sse-crlf"},
    "flavour": {"type": "string", "description": "whose chat completions it is like: groq, azure, ..."},
}

_NAMESPACE = _object(
    {
        "id": _TEXT,
        "path": {"type": "string", "description": "what to put before /v1 and before /_mock"},
        "exchanges": _COUNT,
        "dropped": {**_COUNT, "description": "exchanges that fell out of the bounded journal"},
        "streams": {**_COUNT, "description": "streams under way"},
        "unmatched": {**_list(_TEXT), "description": "requests that no rule answered"},
        "errors": {**_list(_TEXT), "description": "what went wrong on the server's side"},
    }
)
_RULE = _object({"name": _TEXT, "when": _TEXT, "answers": _COUNT, "used": _COUNT})
_EXCHANGE = _object(
    {
        "id": _COUNT,
        "namespace": _TEXT,
        "method": _TEXT,
        "path": _TEXT,
        "query": _TEXT,
        "headers": {**_list(_list(_TEXT)), "description": "names and values; secrets are masked"},
        "body": _TEXT,
        "received": {"type": "number", "description": "seconds since the epoch"},
        "dialect": _or_null("string"),
        "rule": _or_null("string"),
        "recording": {**_or_null("string"), "description": "the name of the recording that answered"},
        "faults": _TEXT,
        "status": _or_null("integer"),
        "outcome": {"enum": [*OUTCOMES, None], "description": "null while it is open"},
        "late": {"type": "boolean", "description": "whether a write was later than the server's bound"},
        "error": _or_null("string"),
        "seconds": {**_or_null("number"), "description": "from the request to the end"},
        "sent": _object(
            {
                "writes": _COUNT,
                "bytes": _COUNT,
                "worst_lateness": {"type": "number", "description": "seconds"},
                "blocked": {"type": "number", "description": "seconds that the client did not read"},
                "timeline": _list(_object({"deadline": _NUMBER, "time": _NUMBER, "size": _COUNT})),
                "data": _TEXT,
            },
            ("writes", "bytes", "worst_lateness", "blocked"),
        ),
    }
)
_EXCHANGES = _object({"exchanges": _list(_EXCHANGE), "dropped": _COUNT})
_GATES: Schema = {
    "type": "object",
    "additionalProperties": _COUNT,
    "description": "the closed gates, and how many streams wait at each",
}

_CASE: Schema = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "family": {"enum": list(FAMILIES)},
        "available": {"type": "boolean"},
        "unavailable": {**_or_null("string"), "description": "why it cannot be had"},
        "base_url": {**_or_null("string"), "description": "with /v1 at its end; null where it is not available"},
        "wire": {"type": "string", "description": "what is on the wire"},
        "expect": {"type": "string", "description": "what a correct client does"},
        "must": {"type": "string", "description": "the same in a sentence"},
        "seconds": {**_or_null("number"), "description": "how long its answer takes; null where it never ends"},
        "silence": {**_or_null("number"), "description": "the longest silence in it; null where that never ends"},
    },
    "required": ["name", "family", "available", "unavailable", "base_url", "wire", "expect", "must"],
    "description": "a row of the catalogue; docs/catalogue.md explains its fields",
}
_MISBEHAVES = {
    "seconds": {"type": "number", "minimum": 0, "description": "how long its port misbehaves, then it serves"},
    "first": {"type": "integer", "minimum": 1, "description": "to how many connections, then it serves"},
}

_FREE: Schema = {"type": "object"}
_LEVERS: Mapping[str, Schema] = {
    "pace": {"type": ["string", "null"]},
    "chunking": {"type": ["string", "null"]},
    "faults": {"type": ["string", "null"], "description": "a chain that is done to every reply"},
    "flavour": {"type": ["string", "null"], "description": "whose chat completions: groq, azure, ..."},
    "reply": {"type": ["string", "object", "null"], "description": "is said, whatever the rules say"},
    "fail_next": {
        "type": ["object", "null"],
        "properties": {"count": _COUNT, "status": {"type": "integer", "minimum": 400, "maximum": 599}},
        "description": "so many requests fail with this status",
    },
    "limited": {"type": ["boolean", "null"], "description": "every request is refused with 429"},
    "recording": {"type": ["string", "null"], "description": "is played, whatever is asked"},
}
_LEVERS_NOW = _object(_LEVERS)
_STREAM: Mapping[str, Schema] = {"exchange": {"type": "integer", "description": "the id of an exchange"}}
_HELD = _object({"held": {"type": "boolean"}})
_SHOWN = _object({"time": _NUMBER, "ending": _TEXT, "text": _TEXT, "base64": _TEXT}, ("time", "ending"))

ROUTES = (
    Route(
        "GET", "/health", "Whether the server is up, and what it was started with.", "health",
        _object(
            {
                "status": _TEXT, "version": _TEXT, "seed": {"type": "integer"}, "pace": _TEXT, "chunking": _TEXT,
                "namespaces": _COUNT, "streams": _COUNT, "strays": _COUNT, "workers": _COUNT,
            }
        ),
        shared=True,
    ),
    Route("GET", "/openapi.json", "This page.", "openapi", {"type": "object"}, shared=True),
    Route(
        "GET", "/metrics", "Counters and the lateness of writes, in the text format of Prometheus, of all workers.",
        "metrics", _TEXT, media="text/plain", shared=True,
    ),
    Route(
        "GET", "/scenario", "The scenario file that the server follows, and what is wrong with it as it stands.",
        "scenario", _object(
            {
                "file": _or_null("string"),
                "loaded": {**_or_null("number"), "description": "seconds since the epoch"},
                "problems": {**_list(_TEXT), "description": "while there are any, the last good state is in force"},
            }
        ),
    ),
    Route("GET", "/namespaces", "The open namespaces.", "namespaces_list", _list(_NAMESPACE)),
    Route(
        "POST", "/namespaces", "Open a namespace, with rules, exchanges and gates of its own.", "namespaces_open",
        _NAMESPACE,
        body={"id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "description": "one is made up without it"}},
        status=201,
    ),
    Route(
        "DELETE", "/namespaces/{id}", "Close a namespace and end its streams.", "namespaces_close",
        _object({"closed": _TEXT}),
    ),
    Route("GET", "/namespace", "This namespace, with what went wrong in it.", "namespace_show", _NAMESPACE),
    Route("GET", "/rules", "The rules, in the order in which they are tried.", "rules_list", _list(_RULE)),
    Route(
        "POST", "/rules", "Add a rule; one with equal conditions gets the answers appended.", "rules_add", _RULE,
        body={
            "match": {"type": "object", "description": f"conditions: {', '.join(FIELDS)}, headers, body"},
            **_ANSWER,
            "answers": {
                **_list(_object(_ANSWER, ())),
                "minItems": 1,
                "description": "several answers in order, instead of the keys above",
            },
        },
        status=201,
    ),
    Route("DELETE", "/rules", "Remove all rules.", "rules_clear", _list(_RULE)),
    Route(
        "GET", "/exchanges", "The exchanges, oldest first, with what was sent and when.", "exchanges_list", _EXCHANGES,
        query={
            **_SELECT,
            "writes": {"type": "boolean", "default": True, "description": "false leaves out timeline and bytes"},
        },
    ),
    Route("DELETE", "/exchanges", "Forget the exchanges.", "exchanges_clear", _EXCHANGES),
    Route(
        "GET", "/exchanges/wait", "Wait until so many exchanges have ended; 408 with a picture if they do not.",
        "exchanges_wait", _EXCHANGES,
        query={
            **_SELECT,
            "count": {"type": "integer", "minimum": 1, "default": 1, "description": "how many"},
            "timeout": {"type": "number", "minimum": 0, "maximum": 3600, "default": 5, "description": "seconds"},
        },
    ),
    Route("GET", "/gates", "The closed gates, and how many streams wait at each.", "gates_list", _GATES),
    Route(
        "POST", "/hold", "Close a gate: streams that begin from now on stop there.", "gates_hold", _GATES,
        body=_GATE, required=("gate",),
    ),
    Route(
        "POST", "/release", "Open a gate; the streams that wait there go on.", "gates_release",
        _object({"released": _COUNT}), body=_GATE, required=("gate",),
    ),
    Route(
        "GET", "/cases", "The catalogue of cases, each with the base URL at which it happens.", "cases_list",
        _list(_CASE), query={"family": {"type": "string", "enum": list(FAMILIES), "description": "of this one alone"}},
    ),
    Route(
        "GET", "/cases/{id}", "One case. One that needs a port of its own gets it now.", "cases_show", _CASE,
        query=_MISBEHAVES,
    ),
    Route(
        "GET", "/listeners/{id}", f"Open a port that misbehaves before there is any HTTP: {', '.join(LISTENERS)}.",
        "listeners_open", _object({"base_url": _TEXT}), query=_MISBEHAVES,
    ),
    Route("GET", "/levers", "What was set by hand, before all settings and rules.", "levers_show", _LEVERS_NOW),
    Route(
        "PUT", "/levers", "Set levers, from the next request on; null lets one go, others stay as they are.",
        "levers_set", _LEVERS_NOW, body=_LEVERS,
    ),
    Route("GET", "/choices", "What levers may be set to: dialects, flavours, paces, faults.", "choices", _FREE),
    Route(
        "POST", "/preview", "What a streamed reply with these faults looks like on the wire.", "preview",
        _object({"writes": _list(_SHOWN)}),
        body={
            "reply": _ANSWER["reply"], "faults": _ANSWER["faults"], "pace": _TEXT,
            "dialect": {"type": "string", "default": "openai-chat", "description": "whose stream it is"},
        },
    ),
    Route(
        "POST", "/streams/pause", "Hold an open stream where it is.", "streams_pause", _HELD,
        body=_STREAM, required=("exchange",),
    ),
    Route(
        "POST", "/streams/step", "Send the next events of an open stream at once, then hold it.", "streams_step", _HELD,
        body={**_STREAM, "events": {"type": "integer", "minimum": 1, "default": 1}}, required=("exchange",),
    ),
    Route(
        "POST", "/streams/resume", "Let a held stream go on at its pace.", "streams_resume", _HELD,
        body=_STREAM, required=("exchange",),
    ),
    Route(
        "POST", "/streams/flood", "Send the next events of an open stream at once.", "streams_flood", _HELD,
        body={**_STREAM, "events": {"type": "integer", "minimum": 1, "default": 100}}, required=("exchange",),
    ),
    Route(
        "POST", "/streams/cut", "End an open stream now.", "streams_cut", _HELD,
        body={**_STREAM, "how": {"type": "string", "enum": ["reset", "close", "end"], "default": "reset"}},
        required=("exchange",),
    ),
    Route("GET", "/recordings", "The recordings that can be played by name.", "recordings_list", _FREE),
    Route(
        "POST", "/recordings", "Keep what was sent for an exchange as a recording.", "recordings_save",
        _object({"name": _TEXT, "file": _TEXT}),
        body={**_STREAM, "name": {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"}},
        required=("exchange", "name"), status=201,
    ),
    Route(
        "GET", "/scenario.toml", "Levers and rules as a scenario file.", "scenario_export", _TEXT,
        media="application/toml",
    ),
    Route(
        "GET", "/live", "What changes, as it changes, as server-sent events; endless.", "live", _TEXT,
        query={"exchange": {"type": "integer", "description": "of this one each write is told, too"}},
        media="text/event-stream",
    ),
    Route(
        "POST", "/reset", "As if just opened: the rules it began with, no exchanges, no gates; open streams end.",
        "reset", _NAMESPACE,
    ),
)  # fmt: skip
"""Every call. A namespace's calls stand below its prefix too, `/~ID/_mock/...`."""

_ERROR = _object({"error": _object({"message": _TEXT})})


def openapi() -> dict[str, Any]:
    """The control API as an OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for prefix, suffix in (("", ""), ("/~{namespace}", "_in")):
        for route in ROUTES:
            described = _operation(route)
            described["operationId"] += suffix
            if prefix:
                described.setdefault("parameters", []).append(_in_path("namespace"))
            paths.setdefault(f"{prefix}/_mock{route.path}", {})[route.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mockprovider control API",
            "version": mockprovider.__version__,
            "description": "Whatever the Python fixture can do, for programs in any language.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-mockprovider-token"},
            }
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in route.query.items()
    ]
    if "{id}" in route.path:
        parameters.append(_in_path("id"))
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {
            str(route.status): {"description": "done", "content": {route.media: {"schema": route.result}}},
            "default": {"description": "refused, with the reason", "content": {JSON: {"schema": _ERROR}}},
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        content = {JSON: {"schema": _object(route.body, route.required)}}
        operation["requestBody"] = {"required": bool(route.required), "content": content}
    return operation


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}

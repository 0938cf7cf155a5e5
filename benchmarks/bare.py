"""A bare aiohttp handler: what the framework itself costs. `bare.py stream FILE` or `bare.py whole FILE`.

FILE holds the body of a reply of mockprovider. In `stream` its server-sent events are written one
`StreamResponse.write` each, in `whole` the body is one `Response`. Prints its address, serves until killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def streaming(body: bytes) -> web.Application:
    """An application that answers every POST with the events of `body`."""
    events = [part + b"\n\n" for part in body.split(b"\n\n") if part]

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await reply.prepare(request)
        for event in events:
            await reply.write(event)
        await reply.write_eof()
        return reply

    return _application(handler)


def whole(body: bytes) -> web.Application:
    """An application that answers every POST with `body` as JSON."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    return _application(handler)


def _application(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    return app


async def serve(app: web.Application) -> None:
    """Serve on a free port of the loopback until cancelled."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(f"bare listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    make = {"stream": streaming, "whole": whole}[sys.argv[1]]
    asyncio.run(serve(make(Path(sys.argv[2]).read_bytes())))

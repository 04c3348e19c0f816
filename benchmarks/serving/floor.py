"""The least that a gateway in Python can do: hand bytes on, with the key replaced.

    python benchmarks/serving/floor.py PORT

with the upstream in OPENAI_BASE_URL and OPENAI_API_KEY, and the clients' key in FLOOR_KEY. Nothing is parsed, counted
or logged. It is what the other servers are measured against.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

_SESSION = web.AppKey("session", ClientSession)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Hand a request on, and its answer back, as they come."""
    if request.headers.get("authorization") != f"Bearer {os.environ['FLOOR_KEY']}":
        raise web.HTTPUnauthorized
    body = await request.read()
    async with request.app[_SESSION].post(
        f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
        data=body,
        headers={"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "content-type": "application/json"},
    ) as answer:
        kind = {"content-type": answer.headers["content-type"]}
        if "content-length" in answer.headers:
            return web.Response(body=await answer.read(), status=answer.status, headers=kind)
        response = web.StreamResponse(status=answer.status, headers=kind)
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(600)) as session:
        app[_SESSION] = session
        yield


def main() -> None:
    """Serve until ended."""
    uvloop.install()
    app = web.Application()
    app.cleanup_ctx.append(_session)
    app.router.add_post("/v1/chat/completions", chat_completions)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, backlog=1024)


if __name__ == "__main__":
    main()

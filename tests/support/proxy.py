"""A reverse proxy as people put before the service: it may send its own Host header, and serve below a prefix."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = {"host", "connection", "transfer-encoding", "keep-alive"}


@contextlib.contextmanager
def reverse_proxy(
    upstream: str, prefix: str = "", keeps_host: bool = False, certificate: Path | None = None
) -> Iterator[str]:
    """The URL of a proxy for the server at `upstream`.

    It serves below `prefix`, which it strips. Without `keeps_host` it does as nginx does by default: the upstream's
    address is the Host, and no header names the browser's. With it X-Forwarded-For, -Host and -Proto are sent. With a
    `certificate` (a PEM file that holds its key, too) it speaks https.
    """
    scheme = "https" if certificate else "http"
    client = httpx.AsyncClient(base_url=upstream, timeout=None)

    async def forward(request: Request) -> Response:
        path = request.url.path
        if not path.startswith(prefix + "/"):
            return Response("another application lives here", 404)
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        if keeps_host:
            host = request.headers["host"]
            headers |= {
                "host": host,
                "x-forwarded-host": host,
                "x-forwarded-proto": scheme,
                "x-forwarded-for": "192.0.2.9",
            }
        url = httpx.URL(path=path.removeprefix(prefix), query=request.url.query.encode())
        sent = client.build_request(request.method, url, headers=headers, content=await request.body() or None)
        answer = await client.send(sent, stream=True)
        end_to_end = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, end_to_end, background=BackgroundTask(answer.aclose)
        )

    app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "HEAD", "POST"])])
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, ssl_certfile=certificate)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"{scheme}://localhost:{listening.getsockname()[1]}{prefix}"
    finally:
        server.should_exit = True
        thread.join(5)

"""What is answered before the service is ready and after SIGTERM, and which tasks a shutdown waits for."""

import asyncio

import pytest
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from bento.middleware.draining import DrainMiddleware
from bento.process.drain import Lifecycle
from tests.bento.middleware.apps import app_with, client, echo


def send(lifecycle: Lifecycle, path: str, endpoint=echo):
    async def run():
        async with client(app_with(Middleware(DrainMiddleware, lifecycle=lifecycle), endpoint=endpoint)) as http:
            return await http.post(path)

    return asyncio.run(run())


@pytest.mark.parametrize(("ready", "draining", "status"), [(False, False, 503), (True, False, 200), (True, True, 503)])
def test_readiness_follows_the_lifecycle(ready, draining, status):
    lifecycle = Lifecycle()
    lifecycle.ready, lifecycle.draining = ready, draining
    response = send(lifecycle, "/readyz")
    assert response.status_code == status
    assert ("retry-after" in response.headers) == (status == 503)
    assert send(lifecycle, "/livez").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/summarize", 503), ("/ui", 503), ("/model", 200)])
def test_draining_server_takes_no_new_work(path, status):
    lifecycle = Lifecycle()
    lifecycle.ready = lifecycle.draining = True
    response = send(lifecycle, path)
    assert response.status_code == status
    assert status == 200 or path == "/ui" or response.json()["error"]["type"] == "stopping"


@pytest.mark.parametrize(("path", "counted"), [("/summarize", True), ("/ui", False)])
def test_running_requests_are_registered(path, counted):
    lifecycle = Lifecycle()

    async def endpoint(request):
        return PlainTextResponse(f"{len(lifecycle.requests)} {len(lifecycle.other_tasks)}")

    assert send(lifecycle, path, endpoint).text == ("1 0" if counted else "0 1")
    assert not lifecycle.requests | lifecycle.other_tasks
    assert (lifecycle.last_request_ended > 0) == counted

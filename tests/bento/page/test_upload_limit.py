"""Requests to the page are refused by their headers when their body is too large or of unknown length."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from bento.page.limits import MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from bento.page.upload_limit import UploadLimitMiddleware


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("GET", "/upload", None, 200),
        ("POST", "/other", MAX_BODY_BYTES, 200),
        ("POST", "/other", MAX_BODY_BYTES + 1, 413),
        ("POST", "/upload", MAX_UPLOAD_BYTES, 200),
        ("POST", "/upload", MAX_UPLOAD_BYTES + 1, 413),
        ("POST", "/upload", None, 411),
        ("POST", "/upload", "-1", 411),
        ("POST", "/upload", "٣", 411),
    ],
)
def test_status_depends_on_path_and_content_length(method, path, length, status):
    async def endpoint(_):
        return PlainTextResponse("ok")

    routes = [Route(path, endpoint, methods=["GET", "POST"])]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(UploadLimitMiddleware)]))
    headers = {} if length is None else {"content-length": str(length).encode()}
    request = client.build_request(method, path, headers=headers)
    if length is None:
        request.headers.pop("content-length", None)
    assert client.send(request).status_code == status

"""The upload endpoint: an upload that is aborted, too large or malformed leaves nothing behind."""

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.testclient import TestClient

from bento.page import limits, uploads
from bento.page.upload_route import UploadRoute
from bento.page.uploads import UploadStore

HEAD = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened = UploadStore()
    yield opened
    opened.close()


def left(tmp_path):
    return [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != uploads.LOCK]


def request_with(messages, length: int) -> Request:
    headers = [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": ("192.0.2.1", 1)}
    messages = iter(messages)

    async def receive():
        try:
            return next(messages)
        except StopIteration:
            await asyncio.sleep(3600)

    return Request(scope, receive)


def chunk(body: bytes):
    return {"type": "http.request", "body": body, "more_body": True}


def post(store, *files, **options):
    async def endpoint(request):
        return await UploadRoute(store)(request)

    with TestClient(Starlette(routes=[Route("/", endpoint, methods=["POST"])])) as client:
        return client.post("/", files=[("files", file) for file in files], **options)


def test_files_are_stored_and_their_paths_answered(store):
    response = post(store, ("a.txt", b"one"), ("../b.md", b"two"))
    assert response.status_code == 200
    paths = response.json()
    assert [Path(path).read_bytes() for path in paths] == [b"one", b"two"]
    assert [path.rsplit("/", 1)[1] for path in paths] == ["a.txt", "b.md"]


@pytest.mark.parametrize("ending", ["abort", "silence"])
def test_unfinished_upload_leaves_nothing(store, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 0.3)
    messages = [chunk(HEAD), *[chunk(b"a" * (1 << 20))] * 3]
    if ending == "abort":
        messages.append({"type": "http.disconnect"})
    route = UploadRoute(store)
    response = asyncio.run(route(request_with(messages, 20 << 20)))
    assert response.status_code == {"abort": 499, "silence": 408}[ending]
    assert left(tmp_path) == []
    assert (store.budget.held, route._arriving.held) == (0, 0)


def test_arriving_file_has_no_name_on_disk(store, tmp_path):
    """So that even a server that is killed leaves nothing."""

    async def scenario():
        route = UploadRoute(store)
        arriving = asyncio.create_task(route(request_with([chunk(HEAD), *[chunk(b"a" * (1 << 20))] * 3], 20 << 20)))
        await asyncio.sleep(0.3)
        names = left(tmp_path)
        arriving.cancel()
        await asyncio.wait({arriving})
        return names

    assert asyncio.run(scenario()) == []


def test_uploads_are_bounded_in_sum_and_by_visitor(store, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "FILE_OVERHEAD_BYTES", 0)
    store.budget.total, store.budget.share = 60_000, 30_000
    assert post(store, ("a.txt", bytes(31_000))).status_code == 413
    for expected in (200, 200, 503):
        assert post(store, ("a.txt", bytes(14_000))).status_code == expected
    assert left(tmp_path) == ["a.txt"] * 2


def test_one_file_too_many_keeps_none(store, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILES", 2)
    assert post(store, *[("a.txt", b"x")] * 3).status_code == 400
    assert left(tmp_path) == []


def test_full_disk_is_said_to_be(store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads.shutil, "copyfileobj", full)
    response = post(store, ("a.txt", b"x"))
    assert (response.status_code, response.text) == (503, "The server has no room for files at present.")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=b", b"nonsense"),
        ("multipart/form-data; boundary=b", HEAD.replace(b'name="files"; ', b"") + b"x\r\n--b--\r\n"),
    ],
)
def test_what_is_no_upload_is_refused(store, tmp_path, content_type, body):
    response = post(store, content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.text) == (400, "That is no upload of files.")
    assert left(tmp_path) == []

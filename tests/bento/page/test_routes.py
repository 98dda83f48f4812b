"""The page's routes, against the mounted page: what is open, which events start, and whose files are read."""

import asyncio
import http.server
import json
import threading

import pytest

from bento.page import limits, uploads
from bento.page.routes import PageRoutesMiddleware
from tests.support.page import API, InProcessPage

TEXT = b"The ferry to Lund is late for the third day. It waits at the quay."


SHUT = [
    "dev/reload",
    "deep_link?session_hash=x",
    "file=https://evil.example/",
    "file=/etc/passwd",
    "file/etc/passwd",
    "info",
    "openapi.json",
    "proxy=https://evil.example/",
    "app_id",
    "token",
    "user",
    "login_check",
    "startup-events",
    "queue/status",
    "component_server",
    "run/predict",
    "api/predict",
    "call/predict",
    "cancel",
    "reset",
    "stream/x",
    "stream/x/close",
    "stream/a/1/2/playlist.m3u8",
    "vibe-code/",
    "queue/data",
    "custom_component/a/client/b/c",
    "queue/data?session_hash=unknown",
    "heartbeat/a%0Ab",
    "heartbeat/",
    "queue/join/",
    "runs",
    "run-history/buckets",
    "run-history/records",
    "run-history/connect",
]


def stored(page: InProcessPage) -> list[str]:
    return [path.name for path in page.uploads.folder.rglob("*") if path.is_file() and path.name != uploads.LOCK]


def file_data(path, **more):
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


async def upload(page: InProcessPage, *names: str) -> list[str]:
    response = await page.client.post(f"{API}/upload", files=[("files", (name, TEXT)) for name in names])
    assert response.status_code == 200, response.text
    return response.json()


def test_only_the_routes_of_the_page_are_open(mounted_page):
    async def scenario(page):
        assert (await page.client.get("/ui/")).status_code == 200
        assert (await page.client.get("/ui/theme.css")).status_code == 200
        paths = [f"{API}/{path}" for path in SHUT] + ["/ui/config", "/ui/login", "/ui/pwa_icon", "/ui/x"]
        statuses = {}
        for path in paths:
            for method in ("GET", "POST"):
                response = await page.client.request(method, path, json={})
                statuses[method, path] = response.status_code
        return {request: status for request, status in statuses.items() if status != 404}

    assert mounted_page.run(scenario(mounted_page)) == {}


@pytest.mark.parametrize("host", ["[::1", "a:b:c", "evil.example"])
def test_forwarded_headers_of_strangers_change_nothing(mounted_page, host):
    """Gradio made an address of them: the page failed, or named another host."""
    headers = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "javascript", "X-Forwarded-Prefix": "//x"}

    async def scenario(page):
        return [await page.client.get("/ui/", headers=sent) for sent in ({}, headers)]

    plain, forged = mounted_page.run(scenario(mounted_page))
    assert forged.status_code == 200
    assert host not in forged.text
    assert len(forged.text) == len(plain.text)


def test_visits_are_recorded_neither_in_browsers_nor_in_buckets(mounted_page):
    document = mounted_page.run(mounted_page.client.get("/ui/")).text
    assert '"run_history":false' in document
    assert not mounted_page.blocks.run_history


def get(path: str) -> dict:
    """The scope of a request."""
    return {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "root_path": "",
        "headers": [(b"content-length", b"2")], "client": ("192.0.2.1", 1), "server": ("test", 80), "scheme": "http",
    }  # fmt: skip


@pytest.fixture
def canary():
    """A server on this machine that counts who asks it."""
    hits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/secret", hits
    server.shutdown()


@pytest.mark.parametrize("elem_id", ["open", "files", "go"])
def test_no_url_and_no_file_of_the_server_is_ever_read(mounted_page, canary, elem_id, tmp_path, capfd):
    url, hits = canary
    secret = tmp_path / "secret.txt"
    secret.write_text("A secret of the server. It is in a file.")

    async def scenario(page):
        number = page.event(elem_id)
        [path] = await upload(page, "mine.txt")
        statuses = []
        for value in (
            file_data(url), file_data(url, url=url), file_data("http://169.254.169.254/latest/meta-data/"),
            file_data(str(secret)), file_data("file://" + str(secret)), file_data("/etc/passwd"),
            file_data(f"{path}/../../../{secret.name}"), file_data("/nope\n" + json.dumps({"forged": "line"})),
            {"path": url}, {"url": url}, [file_data(url)], [[file_data(url)]], [{"x": file_data(url)}],
            {"a": [file_data(url)]},
        ):  # fmt: skip
            response = await page.join(number, page.values(number, value), "session")
            statuses.append(response.status_code)
            assert "secret" not in response.text
        # Nested in any other place, too.
        options = page.values(number, None)
        response = await page.join(number, [*options[:-1], file_data(url)], "session")
        return [*statuses, response.status_code]

    assert set(mounted_page.run(scenario(mounted_page))) <= {400, 422}
    assert hits == []
    assert "forged" not in "".join(capfd.readouterr())


def test_url_beside_a_real_upload_is_dropped(mounted_page, canary):
    url, hits = canary

    async def scenario(page):
        number = page.event("open")
        [path] = await upload(page, "mine.txt")
        response = await page.join(number, page.values(number, file_data(path, url=url, orig_name=url)), "session")
        assert response.status_code == 200
        return await page.finish("session")

    assert mounted_page.run(scenario(mounted_page))["success"]
    assert hits == []


def test_upload_is_read_by_its_session_only_and_then_deleted(mounted_page):
    async def scenario(page):
        number = page.event("files")
        [path] = await upload(page, "batch.txt")
        values = page.values(number, [file_data(path)])
        assert (await page.join(number, values, "mine")).status_code == 200
        message = await page.finish("mine")
        theirs = await page.join(number, values, "theirs")
        again = await page.join(number, values, "mine")
        await page.finish("mine")
        single = page.event("open")
        [other] = await upload(page, "single.txt")
        await page.join(single, page.values(single, file_data(other)), "mine")
        await page.finish("mine")
        gone = await page.join(single, page.values(single, file_data(other)), "mine")
        remaining = stored(page)
        page.uploads.delete_session("mine")
        return json.dumps(message), theirs, again.status_code, gone.status_code, remaining, stored(page)

    message, theirs, again, gone, left, at_the_end = mounted_page.run(scenario(mounted_page))
    assert "1 of 1 document summarized" in message
    assert (theirs.status_code, again, gone) == (400, 200, 400)
    assert theirs.json() == {"detail": "This file is not here any more; please choose it again."}
    assert ("batch.txt" in left, "single.txt" in left) == (True, False)
    assert "batch.txt" not in at_the_end


@pytest.mark.parametrize(
    "change",
    [
        {"fn_index": 10_000},
        {"fn_index": "4"},
        {"fn_index": None},
        {"session_hash": "a\nb"},
        {"session_hash": "a" * 65},
        {"session_hash": None},
        {"data": []},
        {"data": "text"},
        {"data": [["a"]] * 7},
    ],
    ids=str,
)
def test_event_that_the_page_would_not_send_is_refused_without_a_traceback(mounted_page, change, capfd):
    async def scenario(page):
        number = page.event("go")
        event = {"data": page.values(number, "A text."), "fn_index": number, "session_hash": "session"}
        response = await page.client.post(f"{API}/queue/join", json={**event, **change})
        malformed = await page.client.post(f"{API}/queue/join", content=b"\xff{")
        return response, malformed.status_code

    response, malformed = mounted_page.run(scenario(mounted_page))
    assert (response.status_code, malformed) == (422, 422)
    assert response.json()["detail"].endswith(".")
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("value", ["no such choice\nforged line", 7, True, None, 1e300])
def test_option_of_any_value_prints_nothing(mounted_page, value, capfd):
    """Gradio's own checks would print a value that they refuse."""

    async def scenario(page):
        number = page.event("go")
        for place in range(2, 7):
            values = page.values(number, "The ferry to Lund is late. It waits at the quay.")
            values[place] = value
            assert (await page.join(number, values, "session")).status_code == 200
            assert (await page.finish("session"))["success"]

    mounted_page.run(scenario(mounted_page))
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed
    assert "forged" not in printed


def test_events_are_bounded_in_number_and_size(mounted_page, monkeypatch):
    monkeypatch.setattr(limits, "MAX_EVENTS_PER_VISITOR", 3)
    monkeypatch.setattr(limits, "MAX_EVENT_BYTES", 40_000)

    async def scenario(page):
        number = page.event("go")
        statuses = []
        for session in range(5):
            response = await page.join(number, page.values(number, "A short text. It is short."), f"s{session}")
            statuses.append(response.status_code)
        for session in range(3):
            await page.finish(f"s{session}")
        large = await page.join(number, page.values(number, "word " * 5_000), "large")
        return statuses, large

    statuses, large = mounted_page.run(scenario(mounted_page))
    assert statuses == [200, 200, 200, 503, 503]
    assert large.status_code == 503
    assert large.json()["detail"].startswith("Too many visitors")


def test_streams_are_bounded(mounted_page, monkeypatch):
    monkeypatch.setattr(limits, "MAX_STREAMS_PER_VISITOR", 2)
    open_streams, statuses = [], []

    async def app(scope, receive, send):
        open_streams.append(scope["path"])
        await asyncio.sleep(3600)

    async def scenario(page):
        [options] = [each.kwargs for each in page.app.user_middleware if each.cls is PageRoutesMiddleware]
        middleware = PageRoutesMiddleware(app, **options)

        async def open_stream():
            async def send(message):
                statuses.append(message.get("status"))

            await middleware(get(f"{API}/heartbeat/session"), None, send)

        streams = [asyncio.create_task(open_stream()) for _ in range(3)]
        await asyncio.sleep(0.05)
        for stream in streams:
            stream.cancel()
        await asyncio.wait(streams)

    mounted_page.run(scenario(mounted_page))
    assert len(open_streams) == 2
    assert 503 in statuses

"""Gradio's meta tags are replaced in HTML documents, and nothing else changes."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from bento.page.head_tags import TAGS, HeadTagsMiddleware

HEAD = (
    '<head><meta charset="utf-8" /><meta property="og:image" content="https://elsewhere"><title>Gradio</title></head>'
)


async def document(_):
    return StreamingResponse(iter([HEAD[:40], HEAD[40:]]), media_type="text/html")


async def text(_):
    return PlainTextResponse(HEAD)


@pytest.fixture
def client():
    routes = [Route("/", document, methods=["GET", "POST"]), Route("/text", text)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(HeadTagsMiddleware)]))


def test_streamed_document_gets_the_pages_tags(client):
    response = client.get("/")
    expected = f'<head><meta charset="utf-8" />{TAGS.decode()}<title>Gradio</title></head>'
    assert response.text == expected
    assert response.headers["content-length"] == str(len(expected.encode()))


@pytest.mark.parametrize(("method", "path"), [("GET", "/text"), ("POST", "/")])
def test_other_responses_stay_as_they_are(client, method, path):
    assert client.request(method, path).text == HEAD


def test_page_learns_its_address_from_the_browser():
    """Gradio's script with its settings is followed by one that replaces the address in them."""
    markup = (
        '<head><script>window.gradio_config = {"root": "http://upstream:3000/ui"};</script><script>other()</script>'
        "<script>\n(() => { script.src = new URL(`${root}/static/js/iframeResizer.contentWindow.min.js`) })();</script>"
        "</head>"
    )

    async def page(_):
        return HTMLResponse(markup)

    client = TestClient(Starlette(routes=[Route("/", page)], middleware=[Middleware(HeadTagsMiddleware)]))
    expected = (
        '<head><script>window.gradio_config = {"root": "http://upstream:3000/ui"};</script>'
        "<script>window.gradio_config.root = new URL('.', location.href).href.replace(/\\/$/, '')</script>"
        "<script>other()</script></head>"
    )
    assert client.get("/").text == expected

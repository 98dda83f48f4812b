"""The service's own routes under a path prefix, through all middlewares."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from bento.middleware.stack import middleware_stack
from bento.process.drain import Lifecycle
from bento.process.state import set_engine
from bento.routes import make_site
from bento.settings import ServiceSettings
from tests.bento.middleware.apps import client


def get(path: str, root_path: str):
    settings = ServiceSettings(root_path=root_path, page=True)
    app = Starlette(routes=[Mount("/", make_site(settings))], middleware=middleware_stack(settings, Lifecycle()))

    async def run():
        async with client(app) as http:
            return await http.get(path)

    return asyncio.run(run())


@pytest.mark.parametrize("sent", ["", "/precis"], ids=["stripped", "kept"])
def test_addresses_have_the_prefix_whether_the_proxy_strips_it_or_not(sent, engine):
    set_engine(engine)
    api = get(sent + "/docs.json", "/precis")
    assert api.json()["servers"] == [{"url": "/precis"}]
    assert "http://test/precis/summarize" in get(sent + "/", "/precis").text
    assert get(sent + "/precise", "/precis").status_code == 404
    assert get("/docs.json", "").json()["servers"] == [{"url": "/"}]


@pytest.mark.parametrize(
    ("path", "root_path"), [("/ui?a=1", ""), ("/ui?a=1", "/precis"), ("/precis/ui?a=1", "/precis")]
)
def test_redirect_to_the_page_names_no_host(path, root_path):
    """A reverse proxy may call the server by a host that no browser knows, as nginx does by default."""
    response = get(path, root_path)
    assert (response.status_code, response.headers["location"]) == (307, "ui/?a=1")


def test_no_other_path_is_redirected():
    assert get("/docs.json/", "").status_code == 404

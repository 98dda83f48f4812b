"""The log line and the metrics of a request."""

import asyncio
import logging

import pytest
from starlette.middleware import Middleware

from bento import metrics
from bento.middleware.access_log import AccessLogMiddleware
from tests.bento.middleware.apps import app_with, client


def send(method: str, path: str) -> None:
    async def run():
        async with client(app_with(Middleware(AccessLogMiddleware), errors=False)) as http:
            await http.request(method, path)

    asyncio.run(run())


@pytest.fixture
def fields(monkeypatch):
    """The fields of the lines that are logged."""
    logged = []
    monkeypatch.setattr(logging.getLogger("precis.access"), "info", lambda *_, extra: logged.append(extra["fields"]))
    return logged


def count(route: str, status: str) -> float:
    return metrics.registry.get_sample_value("precis_requests_total", {"route": route, "status": status}) or 0


def test_request_is_logged_and_counted(fields):
    before = count("/summarize", "200")
    send("POST", "/summarize")
    assert {**fields[0], "duration_ms": 0} == {
        "route": "/summarize", "method": "POST", "status": 200, "duration_ms": 0
    }  # fmt: skip
    assert count("/summarize", "200") == before + 1


def test_unknown_path_and_method_are_not_repeated(fields):
    before = count("other", "404")
    send("SECRET-1", "/secret")
    assert (fields[0]["route"], fields[0]["method"], fields[0]["status"]) == ("other", None, 404)
    assert count("other", "404") == before + 1


@pytest.mark.parametrize("path", ["/livez", "/ui"])
def test_probes_and_page_are_counted_and_not_logged(fields, path):
    before = count(path, "200")
    send("GET", path)
    assert fields == []
    assert count(path, "200") == before + 1

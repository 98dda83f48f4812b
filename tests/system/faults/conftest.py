"""Fixtures: a service with small limits and its client; after each test the service has to be idle and to answer."""

import httpx
import pytest

from benchmarks.server import START, Server
from tests.conftest import ROOT
from tests.support.faults import AUTHORIZED, KEY, TEXT, idle


@pytest.fixture(scope="session")
def limited(embedded, tmp_path_factory):
    """A service with small limits, an API key and no page."""
    home = tmp_path_factory.mktemp("limited")
    (home / "keys").write_text(KEY + "\n")
    variables = {
        "PRECIS_API_KEY_FILE": str(home / "keys"),
        "PRECIS_CORS_ORIGINS": "https://shop.example",
        "PRECIS_ROWS": "8",
        "PRECIS_MAX_WAITING_TOKENS": "4000",
        "PRECIS_STREAMS_PER_CLIENT": "2",
        "PRECIS_BODY_SECONDS": "1.5",
        "PRECIS_TIMEOUT_SECONDS": "120",
    }
    running = Server(START, ROOT, embedded / "bundle", home, variables)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def client(limited):
    with httpx.Client(base_url=limited.url, timeout=150, headers=AUTHORIZED) as opened:
        yield opened


@pytest.fixture(autouse=True)
def answers_afterwards(client):
    """After each test the service becomes idle and answers."""
    yield
    idle(client)
    assert client.post("/summarize", json={"text": TEXT, "max_new_tokens": 3}).status_code == 200

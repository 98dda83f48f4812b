"""The service behind a reverse proxy, its page in headless Chromium: each of the ways in which people set one up."""

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.conftest import ExternalServer
from tests.support.browser import TIMEOUT_SECONDS
from tests.support.proxy import reverse_proxy

TEXT = "The ferry to Lund is late for the third day. Anna Berg says 40 cars wait at the quay since Monday."


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate with its key."""
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    certificate = path.with_suffix(".crt")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", path, "-out", certificate], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + certificate.read_bytes())
    return path


@pytest.mark.parametrize(
    ("prefix", "keeps_host", "https"),
    [
        pytest.param("", False, False, id="nginx's default Host"),
        pytest.param("/precis", True, True, id="https, prefix and Host kept"),
        # What these add to the others is little, and each opens a browser's page.
        pytest.param("", True, False, id="Host kept", marks=pytest.mark.slow),
        pytest.param("/precis", True, False, id="prefix and Host kept", marks=pytest.mark.slow),
        pytest.param("/precis", False, False, id="prefix", marks=pytest.mark.slow),
        pytest.param("", False, True, id="https", marks=pytest.mark.slow),
    ],
)
def test_page_works_behind_a_proxy(browser, service, certificate, prefix, keeps_host, https, tmp_path):
    document = tmp_path / "a.txt"
    document.write_text(TEXT)
    requested, problems = [], []
    with reverse_proxy(service.url, prefix, keeps_host, certificate if https else None) as url:
        context = browser.new_context(ignore_https_errors=https)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_SECONDS * 1000)
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url + "/ui", wait_until="domcontentloaded", timeout=2 * TIMEOUT_SECONDS * 1000)
        page.locator("#go").wait_for()
        page.locator("#text textarea").fill(TEXT)
        expect(page.locator("#count")).to_contain_text("words")
        page.locator("#go").click()
        expect(page.locator("#summary .gist[data-plain]")).to_contain_text("ferry")
        expect(page.locator("#status")).to_contain_text("Already short")
        page.get_by_role("tab", name="API").click()
        expect(page.locator("#curl code")).to_contain_text(f"{url}/summarize")
        page.locator("#actions input[type=file]").set_input_files(document)
        expect(page.locator("#text textarea")).to_have_value(TEXT)
        expect(page.locator("#status")).to_contain_text("Already short")
        assert page.url == url + "/ui/"
        context.close()
    assert [each for each in requested if not each.startswith((url, "data:", "blob:"))] == []
    assert problems == []


def test_clients_behind_a_trusted_proxy_are_told_apart(service):
    """Streams whose bodies never come fill the share of one client, and not that of another."""
    if isinstance(service, ExternalServer):
        pytest.skip("The service at PRECIS_URL need not trust the proxy that this test is.")
    unfinished = (
        b"POST /summarize_stream HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 99\r\n\r\n"
    )

    def status(client: str) -> int:
        url, headers = f"{service.url}/summarize_stream", {"X-Forwarded-For": client}
        return httpx.post(url, json={"text": TEXT}, headers=headers, timeout=60).status_code

    with contextlib.ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            connection.sendall(unfinished)
        end = time.monotonic() + 20
        while status("192.0.2.1") != 429:
            assert time.monotonic() < end
        assert status("192.0.2.2") == 200

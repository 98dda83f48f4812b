"""The service behind a reverse proxy, its page in headless Chromium: each of the ways in which people set one up."""

import contextlib
import subprocess
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browser import TIMEOUT_SECONDS
from tests.support.proxy import reverse_proxy

TEXT = "The ferry to Lund is late for the third day. Anna Berg says 40 cars wait at the quay since Monday."


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate with its key."""
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", path]
        + ["-out", path.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
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
        page.get_by_role("tab", name="As code").click()
        expect(page.locator("#curl code")).to_contain_text(f"{url}/summarize")
        page.locator("#actions input[type=file]").set_input_files(document)
        expect(page.locator("#text textarea")).to_have_value(TEXT)
        expect(page.locator("#status")).to_contain_text("Already short")
        assert page.url == url + "/ui/"
        context.close()
    assert [each for each in requested if not each.startswith((url, "data:", "blob:"))] == []
    assert problems == []


def test_clients_behind_a_trusted_proxy_are_told_apart(service):
    """The proxy's clients are one other address, which has streams of its own."""
    body = {"text": f"{TEXT} " * 5, "mode": "write", "max_new_tokens": 512, "min_new_tokens": 512}
    with reverse_proxy(service.url, keeps_host=True) as url, contextlib.ExitStack() as stack:

        def open_stream(base: str) -> int:
            client = stack.enter_context(httpx.Client(base_url=base, timeout=60))
            return stack.enter_context(client.stream("POST", "/summarize_stream", json=body)).status_code

        assert [open_stream(url) for _ in range(9)] == [200] * 8 + [429]
        assert open_stream(service.url) == 200

"""The page behind a reverse proxy, in headless Chromium: each of the ways in which people set one up."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import TIMEOUT_SECONDS
from tests.support.proxy import reverse_proxy

TEXT = "The ferry to Lund is late for the third day. Anna Berg says 40 cars wait at the quay since Monday."


@pytest.mark.parametrize(
    ("prefix", "keeps_host"),
    [
        pytest.param("", False, id="nginx's default Host"),
        pytest.param("/precis", True, id="prefix and Host kept"),
        # What these two add to the others is little, and each opens a browser's page.
        pytest.param("", True, id="Host kept", marks=pytest.mark.slow),
        pytest.param("/precis", False, id="prefix", marks=pytest.mark.slow),
    ],
)
def test_page_works_behind_a_proxy(browser, service, prefix, keeps_host, tmp_path):
    document = tmp_path / "a.txt"
    document.write_text(TEXT)
    requested, problems = [], []
    with reverse_proxy(service.url, prefix, keeps_host) as url:
        context = browser.new_context()
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

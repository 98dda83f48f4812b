"""The page behind a reverse proxy, in headless Chromium: each of the ways in which people set one up."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import TIMEOUT_SECONDS
from tests.support.proxy import reverse_proxy

TEXT = "The ferry to Lund is late for the third day. Anna Berg says 40 cars wait at the quay since Monday."


@pytest.mark.parametrize(
    ("prefix", "keeps_host"),
    [("", False), ("", True), ("/precis", False), ("/precis", True)],
    ids=["nginx's default Host", "Host kept", "prefix", "prefix and Host kept"],
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
        page.locator("#text textarea").fill(TEXT)
        page.locator("#go").click()
        gist = page.locator("#summary .gist")
        expect(gist).to_have_attribute("data-plain", gist.get_attribute("data-plain") or "?")
        expect(page.locator("#status")).to_contain_text("words from")
        page.get_by_role("tab", name="As code").click()
        expect(page.locator("#curl code")).to_contain_text(f"{url}/summarize")
        page.locator("#actions input[type=file]").set_input_files(document)
        expect(page.locator("#text textarea")).to_have_value(TEXT)
        expect(page.locator("#status")).to_contain_text("words from")
        assert page.url == url + "/ui/"
        context.close()
    assert [each for each in requested if not each.startswith((url, "data:", "blob:"))] == []
    assert problems == []

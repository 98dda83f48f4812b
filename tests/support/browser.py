"""Fixtures for tests of the page: one Chromium for all, and visitors who come and go."""

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SECONDS = 60  # in which the page has to do what it is asked, on a machine with other work too

expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")  # Playwright leaves its event loop running, and tests of other modules start their own
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, service):
    """Opens the page as a new visitor; afterwards nobody may have asked another server for anything."""
    asked, contexts = [], []

    def come(path: str = "/ui/", **how):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **how})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("request", lambda request: asked.append(request.url))
        page.text, page.go, page.stop = page.locator("#text textarea"), page.locator("#go"), page.locator("#stop")
        page.gist, page.status = page.locator("#summary .gist"), page.locator("#status")
        page.goto(service.url + path, wait_until="domcontentloaded", timeout=60_000)
        page.go.wait_for(timeout=60_000)
        return page

    yield come
    for context in contexts:
        context.close()
    assert [address for address in asked if not address.startswith((service.url, "data:", "blob:"))] == []

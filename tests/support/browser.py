"""Fixtures for tests of the page: a headless Chromium, and a function that opens the page as a new visitor."""

import shutil

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT_SECONDS = 60  # generous, since the machine runs other work too

expect.set_options(timeout=TIMEOUT_SECONDS * 1000)


def set_number(page: Page, name: str, value: str) -> None:
    """Sets a number under "Advanced", again where Gradio sets its first value only after it has been drawn."""
    number = page.get_by_label(f"number input for {name}")
    for _ in range(20):
        number.fill(value)
        page.wait_for_timeout(200)
        if number.input_value() == value:
            return
    pytest.fail(f"{name} does not become {value}")


@pytest.fixture(scope="module")  # Playwright leaves its event loop running, and tests of other modules start their own
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, service):
    """A function that opens the page as a new visitor, of the server at `url` instead of `service` where it is given.

    No page may send a request to any other server.
    """
    urls, contexts, servers = [], [], [service.url]

    def open_page(path: str = "/ui/", url: str | None = None, **options):
        servers.append(url or service.url)
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_SECONDS * 1000)
        page.on("request", lambda request: urls.append(request.url))
        page.text, page.go, page.stop = page.locator("#text textarea"), page.locator("#go"), page.locator("#stop")
        page.gist, page.status = page.locator("#summary .gist"), page.locator("#status")
        page.notice = page.locator("#summary-panel .notice")
        page.goto(servers[-1] + path, wait_until="domcontentloaded", timeout=60_000)
        page.go.wait_for(timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in urls if not url.startswith((*servers, "data:", "blob:"))] == []

"""The page in a real headless Chromium, against the running service."""

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from engine import Engine, Generation
from tests.conftest import gazette

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

DOCUMENT = gazette("validation")[2]["document"]


@pytest.fixture(scope="module")
def browser():
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, service):
    """A fresh visitor, and the addresses their browser asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    visitor = context.new_page()
    visitor.asked = []
    visitor.on("request", lambda request: visitor.asked.append(request.url))
    visitor.goto(f"{service.url}/ui", wait_until="networkidle", timeout=60_000)
    yield visitor
    context.close()


def test_a_pasted_text_is_summarized(page, embedded):
    engine = Engine.load(embedded / "bundle")
    expected = engine.generate([DOCUMENT], Generation(num_beams=1, max_new_tokens=64))[0].text
    engine.close()
    page.get_by_label("Text", exact=True).fill(DOCUMENT)
    page.get_by_role("button", name="Summarize").click()
    expect(page.locator("#summary textarea")).to_have_value(expected, timeout=30_000)
    expect(page.locator("#details")).to_contain_text("tokens from")


def test_an_example_is_one_click_away(page):
    page.get_by_text("School breakfast club").click()
    expect(page.get_by_label("Text", exact=True)).not_to_have_value("")
    page.get_by_role("button", name="Summarize").click()
    expect(page.locator("#details")).to_contain_text("tokens from", timeout=30_000)
    expect(page.locator("#summary textarea")).not_to_have_value("")


def test_a_mistake_is_a_sentence_in_place(page):
    page.get_by_label("Text", exact=True).fill("   ")
    page.get_by_role("button", name="Summarize").click()
    expect(page.locator("#details")).to_contain_text("The text is empty.", timeout=30_000)


def test_the_page_asks_nobody_else(page, service):
    assert page.asked
    assert [address for address in page.asked if not address.startswith((service.url, "data:", "blob:"))] == []

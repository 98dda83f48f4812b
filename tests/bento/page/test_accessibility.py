"""Accessibility (keyboard, screen readers, phones, light and dark), and visitors' privacy."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.conftest import gazette

DOCUMENT = gazette("validation")[2]["document"]

pytestmark = pytest.mark.usefixtures("browser")


def violations(page):
    """Serious and critical findings, as (rule, element) pairs."""
    return [
        (violation["id"], node["html"][:160])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious(visit, scheme):
    page = visit(color_scheme=scheme)
    findings = violations(page)
    page.get_by_role("button", name="Options").click()
    page.text.fill(DOCUMENT + " Nothing else.")
    page.go.click()
    expect(page.status).to_contain_text("words from")
    findings += violations(page)
    page.get_by_role("tab", name="As code").click()
    findings += violations(page)
    page.text.fill("")
    page.go.click()
    expect(page.status).to_contain_text("empty")
    findings += violations(page)
    for tab in ("Several texts", "About this model"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        findings += violations(page)
    assert findings == []


def test_everything_is_reachable_by_keyboard(visit):
    page = visit()
    page.text.focus()
    page.keyboard.type("The bridge is closed.")
    page.keyboard.press("Tab")
    expect(page.go).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.status).to_contain_text("Already short")
    reached = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"Open a file", "School breakfast clu", "Copy summary", "What it rests on"} <= reached


def test_phone_never_scrolls_sideways(visit):
    page = visit(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    page.get_by_role("button", name="Farm ponds and amphibians").tap()
    expect(page.status).to_contain_text("words from")
    expect(page.gist).to_be_in_viewport()
    for tab in ("Several texts", "About this model", "One text"):
        page.get_by_role("tab", name=tab).tap()
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, tab


def test_empty_page_has_no_horizontal_scroll_area(visit):
    page = visit(viewport={"width": 1200, "height": 900})
    wider = """() => [...document.querySelectorAll("*")].filter(
        part => part.scrollWidth > part.clientWidth && /auto|scroll/.test(getComputedStyle(part).overflowX)
    ).map(part => part.id || part.className)"""
    assert page.evaluate(wider) == []


def test_visitors_text_reaches_no_log(visit, service):
    page = visit("/ui/?text=xyzzyplugh+is+secret")
    expect(page.status).to_contain_text("Already short")
    assert "xyzzyplugh" not in service.log.read_text()


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/ui/gradio_api/queue/join", 2 << 20, 413), ("/ui/gradio_api/upload", 101 << 20, 413), ("/ui/login", None, 411)],
)
def test_large_or_unsized_bodies_are_refused(service, path, size, status):
    """Only the headers are sent: the response comes before the body."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(size)) if size else connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_status_line_is_announced_to_screen_readers(visit):
    page = visit()
    expect(page.status).to_have_attribute("aria-live", "polite")
    expect(page.get_by_label("Your text")).to_be_visible()

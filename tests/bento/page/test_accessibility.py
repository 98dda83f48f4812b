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


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="desktop"),
        pytest.param({"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}, id="phone"),
        pytest.param({"color_scheme": "dark"}, id="dark", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_serious_in_any_state(visit, options, tmp_path):
    """Contrast, names and roles among others; the states are listed so that a finding names its own."""
    page = visit(**options)
    findings = []

    def scan(state: str) -> None:
        findings.extend((state, *finding) for finding in violations(page))

    scan("empty")
    page.get_by_role("button", name="Advanced").click()
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    page.text.fill(DOCUMENT + " Nothing else.")
    page.go.click()
    expect(page.notice).to_have_text("Sending…")
    scan("sending")
    held[0].continue_()
    page.unroute("**/queue/join*")
    expect(page.status).to_contain_text("words from")
    scan("summary")
    page.get_by_label("Medium: 3 sentences").check()
    expect(page.locator("#summary li")).to_have_count(3)
    scan("key sentences")
    page.get_by_role("tab", name="API").click()
    scan("as code")
    page.text.fill(DOCUMENT)
    expect(page.locator("#stale")).to_be_visible()
    scan("stale")
    page.text.fill("")
    page.go.click()
    expect(page.status).to_contain_text("empty")
    scan("error")
    page.route("**/queue/join*", lambda route: route.abort())
    page.go.click()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    scan("no connection")
    page.unroute("**/queue/join*")
    page.get_by_role("tab", name="Several texts").click()
    paths = [tmp_path / "a.txt", tmp_path / "broken.pdf"]
    for path, content in zip(paths, (DOCUMENT, "%PDF-1.4"), strict=True):
        path.write_text(content, encoding="utf-8")
    page.locator("#batch-actions input[type=file]").set_input_files(paths)
    expect(page.locator("#batch-status")).to_contain_text("1 of 2 documents summarized")
    page.locator("#table details summary").first.click()
    scan("several texts")
    page.get_by_role("tab", name="About").click()
    expect(page.get_by_role("heading", name="What it cannot do")).to_be_visible()
    scan("about")
    page.goto(page.url.removesuffix("ui/"))
    scan("API reference")
    assert findings == []


def test_contrast_of_the_api_reference_in_the_dark(visit):
    page = visit(color_scheme="dark")
    page.goto(page.url.removesuffix("ui/"))
    assert violations(page) == []


def test_everything_is_reachable_by_keyboard(visit):
    page = visit()
    page.text.focus()
    page.keyboard.type("The bridge is closed.")
    for _ in range(6):  # past Clear and Length
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "go":
            break
    expect(page.go).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.status).to_contain_text("Already short")
    reached = set()
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"Open a file", "Half-year results", "Copy summary", "Evidence", "Clear"} <= reached


def test_phone_never_scrolls_sideways(visit):
    page = visit(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    page.get_by_role("button", name="An e-mail to parents").tap()
    expect(page.status).to_contain_text("words from")
    expect(page.gist).to_be_in_viewport()
    for tab in ("Several texts", "About", "One text"):
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
    page = visit("/ui/#text=xyzzyplugh+is+secret")
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


def test_text_box_has_a_name(visit):
    expect(visit().get_by_label("Your text")).to_be_visible()

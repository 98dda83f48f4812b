"""The page for everybody: keyboard, screen readers, phones, light and dark, and visitors' privacy."""

import json
import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.conftest import gazette

DOCUMENT = gazette("validation")[2]["document"]
# What axe finds in Gradio's own components, which we cannot mend: the rule, and what of the page it may concern.
GRADIOS_OWN: dict[str, str] = {}

pytestmark = pytest.mark.usefixtures("browser")


def violations(page):
    """Serious and critical findings, as (rule, element) pairs."""
    found = Axe().run(page).response["violations"]
    return [
        (each["id"], node["html"][:160])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious(visit, scheme):
    page = visit(color_scheme=scheme)
    found = violations(page)
    page.get_by_role("button", name="Options").click()
    page.text.fill(DOCUMENT + " Nothing else.")
    page.go.click()
    expect(page.status).to_contain_text("words from")
    found += violations(page)
    page.get_by_role("tab", name="As code").click()
    found += violations(page)
    page.text.fill("")
    page.go.click()
    expect(page.status).to_contain_text("empty")
    found += violations(page)
    for tab in ("Several texts", "About this model"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        found += violations(page)
    ours = [(rule, element) for rule, element in found if GRADIOS_OWN.get(rule, "\0") not in element]
    assert ours == []


def test_the_keyboard_is_enough(visit):
    page = visit()
    page.text.focus()
    page.keyboard.type("The bridge is closed.")
    page.keyboard.press("Tab")
    expect(page.go).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.status).to_contain_text("words from 4")
    reached = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"Open a file", "School breakfast clu", "Copy summary", "What it rests on"} <= reached


def test_a_phone_shows_all_without_scrolling_sideways(visit):
    page = visit(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    page.get_by_role("button", name="Farm ponds and amphibians").tap()
    expect(page.status).to_contain_text("words from")
    expect(page.gist).to_be_in_viewport()
    for tab in ("Several texts", "About this model", "One text"):
        page.get_by_role("tab", name=tab).tap()
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, tab


def test_nothing_on_the_empty_page_scrolls_sideways(visit):
    page = visit(viewport={"width": 1200, "height": 900})
    wider = """() => [...document.querySelectorAll("*")].filter(
        part => part.scrollWidth > part.clientWidth && /auto|scroll/.test(getComputedStyle(part).overflowX)
    ).map(part => part.id || part.className)"""
    assert page.evaluate(wider) == []


def test_the_visitors_text_reaches_no_log(visit, service):
    page = visit("/ui/?text=xyzzyplugh+is+secret")
    expect(page.status).to_contain_text("words from 3")
    assert "xyzzyplugh" not in service.log.read_text()


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/ui/gradio_api/queue/join", 2 << 20, 413), ("/ui/gradio_api/upload", 101 << 20, 413), ("/ui/login", None, 411)],
)
def test_the_pages_addresses_take_no_bodies_without_end(service, path, size, status):
    """Only the head is sent: the answer comes before the body."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(size)) if size else connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize("kind", ["uploadbutton", "file"])
def test_only_what_a_visitor_uploaded_is_read(service, tmp_path, kind):
    """Not what they name: any file of the server could be read and deleted otherwise."""
    secret = tmp_path / "secret.txt"
    secret.write_text("The xyzzyplugh is hidden. Nobody may read it.")
    config = json.load(urllib.request.urlopen(f"{service.url}/ui/config"))
    types = {each["id"]: each["type"] for each in config["components"]}
    event = next(each for each in config["dependencies"] if each["inputs"] and types[each["inputs"][0]] == kind)
    named = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    values = {"uploadbutton": named, "file": [named], "slider": 1, "radio": "Piece by piece"}
    data = [values.get(types[each], "") for each in event["inputs"]]
    body = json.dumps({"data": data, "fn_index": event["id"], "session_hash": f"thief-{kind}"}).encode()
    address = f"{service.url}/ui/gradio_api/queue"
    urllib.request.urlopen(urllib.request.Request(f"{address}/join", body, {"Content-Type": "application/json"}))
    with urllib.request.urlopen(f"{address}/data?session_hash=thief-{kind}", timeout=60) as stream:
        told = b""
        for line in stream:
            told += line
            if b"process_completed" in line:
                break
    assert b'"success":false' in told
    assert b"xyzzyplugh" not in told
    assert secret.exists()


def test_what_changes_by_itself_is_announced(visit):
    page = visit()
    expect(page.status).to_have_attribute("aria-live", "polite")
    expect(page.get_by_label("Your text")).to_be_visible()

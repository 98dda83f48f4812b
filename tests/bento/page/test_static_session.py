"""What a tab keeps in its session storage (static/session.js), in headless Chromium."""

import pytest
from playwright.sync_api import expect

from precis import GenerationParams
from tests.conftest import gazette
from tests.support.browser import set_number

DOCUMENT, OTHER = (row["document"] for row in gazette("validation")[2:4])

pytestmark = pytest.mark.usefixtures("browser")


def summarize(page, text):
    page.text.fill(text)
    page.go.click()
    expect(page.status).to_contain_text("words from")
    expect(page.locator("#source .source")).to_contain_text(text.split()[0])


def test_text_options_and_summary_survive_reload_and_back(visit, served_engine):
    page = visit()
    page.get_by_label("Medium: 3 sentences").check()
    page.get_by_role("button", name="Advanced").click()
    set_number(page, "Beams", "3")
    summarize(page, DOCUMENT)
    expected = served_engine.generate([DOCUMENT], GenerationParams(mode="extract", sentences=3))[0].text
    status = page.status.text_content()

    def check() -> None:
        expect(page.text).to_have_value(DOCUMENT)
        expect(page.gist).to_have_attribute("data-plain", expected)
        expect(page.status).to_contain_text(status.split(" in ")[0].strip())
        expect(page.get_by_label("Medium: 3 sentences")).to_be_checked()
        expect(page.locator("#source mark.evidence").first).to_be_attached()
        expect(page.locator("#stale")).to_be_hidden()

    page.reload()
    check()
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.get_by_role("heading", name="Precis API")).to_be_visible()
    page.go_back()
    check()
    page.get_by_role("button", name="Advanced").click()
    expect(page.get_by_label("number input for Beams")).to_have_value("3")
    assert page.evaluate("localStorage.length") == 0
    assert DOCUMENT not in visit().text.input_value(), "another tab has its own"


def test_text_that_was_cut_within_an_emoji_is_summarized(visit):
    page = visit()
    page.text.evaluate(
        "(box, text) => { box.value = text + '\\ud83d'; box.dispatchEvent(new Event('input', { bubbles: true })); }",
        DOCUMENT,
    )
    page.go.click()
    expect(page.status).to_contain_text("words from")
    expect(page.locator("#stale")).to_be_hidden()


def test_summary_of_another_text_or_options_is_marked_as_stale(visit):
    page = visit()
    summarize(page, DOCUMENT)
    stale = page.locator("#stale")
    expect(stale).to_be_hidden()
    page.text.fill(OTHER)
    expect(stale).to_be_visible()
    page.text.fill(DOCUMENT)
    expect(stale).to_be_hidden()
    page.get_by_role("button", name="Advanced").click()
    set_number(page, "Favour length", "1.5")
    expect(stale).to_be_visible()
    page.go.click()
    expect(stale).to_be_hidden()
    expect(page.gist).to_have_attribute("data-plain", page.gist.get_attribute("data-plain"))


def test_link_holds_text_and_options_and_no_server_sees_them(visit, served_engine):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Medium: 3 sentences").check()
    summarize(page, DOCUMENT)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert "?" not in link.partition("#")[0]

    reader = visit()
    requests = []
    reader.on("request", lambda request: requests.append(request.url))
    reader.goto(link)  # only the fragment differs, so that the page is not loaded again
    expected = served_engine.generate([DOCUMENT], GenerationParams(mode="extract", sentences=3))[0].text
    expect(reader.gist).to_have_attribute("data-plain", expected)
    expect(reader.text).to_have_value(DOCUMENT)
    expect(reader.get_by_label("Medium: 3 sentences")).to_be_checked()
    reader.evaluate("sessionStorage.clear()")
    reader.goto("about:blank")
    reader.goto(link)
    expect(reader.gist).to_have_attribute("data-plain", expected)
    assert [url for url in requests if "text=" in url.partition("#")[0]] == []
    assert "text=" not in reader.url, "a reload would restore the link's text instead of the visitor's"


def test_clear_can_be_undone_and_so_can_a_file(visit, tmp_path):
    page = visit()
    summarize(page, DOCUMENT)
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_hidden()
    page.get_by_role("button", name="Clear").click()
    expect(page.text).to_have_value("")
    expect(page.text).to_be_focused()
    expect(page.gist).to_have_count(0)
    expect(page.status).to_have_text("")
    undo.click()
    expect(page.text).to_have_value(DOCUMENT)
    path = tmp_path / "other.txt"
    path.write_text(OTHER, encoding="utf-8")
    page.locator("#actions input[type=file]").set_input_files(path)
    expect(page.status).to_contain_text("words from")
    expect(page.text).not_to_have_value(DOCUMENT)
    undo.click()
    expect(page.text).to_have_value(DOCUMENT)


def test_recent_summaries_can_be_shown_again(visit):
    page = visit()
    summarize(page, DOCUMENT)
    first = page.gist.get_attribute("data-plain")
    summarize(page, OTHER)
    page.locator("#recent").get_by_role("button", name=first).click()
    expect(page.gist).to_have_attribute("data-plain", first)
    expect(page.text).to_have_value(DOCUMENT)
    expect(page.locator("#stale")).to_be_hidden()
    page.reload()
    expect(page.locator("#recent").get_by_role("button")).to_have_count(2)

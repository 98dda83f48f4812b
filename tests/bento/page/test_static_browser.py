"""What needs no server (static/browser.js and print.css), in headless Chromium."""

import re

import pytest
from playwright.sync_api import expect

from tests.conftest import gazette

DOCUMENT = gazette("validation")[2]["document"]
# Its only supporting sentences stand at the end, far below the fold of the panel.
PADDED = "Nothing of note was reported from the valley on this day of the week. " * 60 + DOCUMENT
# Whether the beginning of the element stands in the visible part of its panel.
IN_PANEL = """selector => { const mark = document.querySelector(selector), panel = mark.closest(".source");
  const top = mark.getBoundingClientRect().top - panel.getBoundingClientRect().top;
  return top >= 0 && top < panel.clientHeight; }"""

pytestmark = pytest.mark.usefixtures("browser")


def summarize(page, text=DOCUMENT):
    page.text.fill(text)
    page.go.click()
    expect(page.status).to_contain_text("words from")


def test_evidence_is_scrolled_to_and_leaves_no_history(visit):
    page = visit()
    page.get_by_label("Long: 5 sentences").check()
    summarize(page, PADDED)
    expect(page.locator("#source .source")).to_be_visible()
    page.wait_for_function(IN_PANEL, arg="#source mark.evidence")
    assert page.evaluate("scrollY") == 0, "only the panel is scrolled"
    length, url = page.evaluate("history.length"), page.url
    links = page.locator("#source .legend a")
    assert links.count() > 1
    for link in links.all():
        link.click()
        target = link.get_attribute("href")
        expect(page.locator(target)).to_have_class(re.compile("current"))
        page.wait_for_function(IN_PANEL, arg=target)
    assert (page.evaluate("history.length"), page.url) == (length, url)


@pytest.mark.parametrize(("motion", "behavior"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_scrolling_respects_reduced_motion(visit, motion, behavior):
    page = visit(reduced_motion=motion)
    summarize(page)
    page.evaluate(
        """() => { window.used = []; const scrollTo = Element.prototype.scrollTo;
             Element.prototype.scrollTo = function (options) {
               used.push(options.behavior); scrollTo.call(this, options);
             }; }"""
    )
    page.locator("#source .legend a").first.click()
    assert page.evaluate("used") == [behavior]
    assert page.locator("#source .source").evaluate("panel => getComputedStyle(panel).scrollBehavior") == "auto"


def test_arrow_keys_move_between_tabs(visit):
    page = visit()
    page.get_by_role("tab", name="One text").focus()
    for key, name in (
        ("ArrowRight", "Several texts"), ("ArrowRight", "About"), ("ArrowRight", "One text"), ("ArrowLeft", "About"),
        ("Home", "One text"), ("End", "About"),
    ):  # fmt: skip
        page.keyboard.press(key)
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")


def test_summary_can_be_saved_and_read_aloud(visit):
    page = visit()
    page.evaluate("() => { window.spoken = []; speechSynthesis.speak = (utterance) => spoken.push(utterance.text); }")
    summarize(page)
    summary = page.gist.get_attribute("data-plain")
    for button, name, content in (
        ("Save txt", "summary.txt", f"{summary}\n"),
        ("Save md", "summary.md", f"# Summary\n\n{summary}\n"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert download.value.suggested_filename == name
        assert download.value.path().read_text(encoding="utf-8") == content
    page.get_by_role("button", name="Read aloud").click()
    assert page.evaluate("spoken") == [summary]
    expect(page.get_by_role("button", name="Stop reading")).to_be_visible()


def test_screen_readers_hear_states_errors_and_the_finished_summary(visit):
    page = visit()
    page.evaluate(
        """() => { window.heard = []; const line = document.querySelector('#announcement');
             const watcher = new MutationObserver(() => heard.push(line.textContent));
             watcher.observe(line, {childList: true, characterData: true, subtree: true}); }"""
    )
    summarize(page)
    summary = page.gist.get_attribute("data-plain")
    heard = page.evaluate("heard")
    assert heard[0] == "Sending…"
    assert heard[-1].startswith(f"Summary: {summary}")
    assert page.status.text_content().strip()[:20] in heard[-1]
    assert sum(summary in each for each in heard) == 1
    page.text.fill(" ")
    page.go.click()
    expect(page.locator("#announcement")).to_have_text("The text is empty.")
    expect(page.locator("#announcement")).to_have_attribute("aria-live", "polite")


def test_print_shows_no_buttons_and_all_of_the_source(visit):
    page = visit()
    summarize(page, PADDED)
    page.emulate_media(media="print")
    assert [button.inner_text() for button in page.get_by_role("button").all() if button.is_visible()] == []
    source = page.locator("#source .source")
    assert source.evaluate("panel => panel.scrollHeight <= panel.clientHeight + 1")
    expect(page.gist).to_be_visible()


def test_focus_ring_is_not_clipped(visit):
    """The ring around the text box lies within every box that clips it."""
    page = visit()
    page.text.focus()
    clipped = page.text.evaluate(
        """box => { const ring = 4, area = box.getBoundingClientRect(); const clipping = [];
             for (let part = box.parentElement; part; part = part.parentElement) {
               if (getComputedStyle(part).overflow === "visible") continue;
               const bounds = part.getBoundingClientRect();
               if (area.left - ring < bounds.left || area.right + ring > bounds.right || area.top - ring < bounds.top)
                 clipping.push(part.className); }
             return clipping; }"""
    )
    assert clipped == []


def test_word_count_does_not_cover_the_text(visit):
    page = visit()
    page.text.fill("word " * 2000)
    expect(page.locator("#count")).to_have_text("2,000 words")
    box, count = page.text.bounding_box(), page.locator("#count .count").bounding_box()
    assert count["y"] >= box["y"] + box["height"]


def test_phone_shows_every_tab_and_scrolls_to_the_summary_of_a_file(visit, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(DOCUMENT, encoding="utf-8")
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.locator("#actions input[type=file]").set_input_files(path)
    expect(page.status).to_contain_text("words from")
    expect(page.gist).to_be_in_viewport()
    for name in ("One text", "Several texts", "About", "Evidence", "API"):
        expect(page.get_by_role("tab", name=name)).to_be_visible()
    names = page.evaluate(
        """() => [...document.querySelectorAll("button")].filter((button) => button.offsetParent)
             .filter((button) => !(button.getAttribute("aria-label") || button.textContent.trim())).length"""
    )
    assert names == 0

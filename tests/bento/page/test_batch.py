"""The tab for several texts in headless Chromium, against the running service."""

import csv
import json

import pytest
from playwright.sync_api import expect

from bento.page import limits
from precis.grounding.evidence import find_evidence
from tests.conftest import gazette
from tests.support.browser import set_number

pytestmark = pytest.mark.usefixtures("browser")


def test_several_documents_make_a_table_to_download(visit, served_engine, tmp_path):
    texts = [row["document"] for row in gazette("validation")[6:9]]
    paths = [tmp_path / f"{at}.txt" for at in range(3)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    broken = tmp_path / "broken.docx"
    broken.write_bytes(b"PK")
    page = visit()
    page.get_by_role("tab", name="Several texts").click()
    large = tmp_path / "large.txt"
    large.write_bytes(b"word " * (limits.MAX_FILE_BYTES // 5 + 1))
    program = tmp_path / "program.exe"
    program.write_bytes(b"MZ")
    page.locator("#batch-actions input[type=file]").set_input_files([*paths, large, broken, program])
    status = page.locator("#batch-status")
    expect(status).to_have_text("3 of 6 documents summarized; 3 could not be.")
    rows = page.locator("#table tbody tr")
    expect(rows.nth(4)).to_contain_text("It is larger than 10 MB.")
    expect(rows.nth(5)).to_contain_text("This page reads .txt")
    assert [row.locator("td").nth(1).inner_text() for row in rows.all()[3:]] == ["", "", ""], (
        "none of their words is read"
    )
    expected = [summary.text for summary in served_engine.generate(texts)]
    shown = [row.locator(".gist").get_attribute("data-plain") for row in rows.all()[:3]]
    assert shown == expected
    expect(rows.nth(3)).to_contain_text("broken.docx cannot be read as docx")

    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSONL").click()
    assert download.value.suggested_filename == "summaries.jsonl"
    lines = [json.loads(line) for line in download.value.path().read_text(encoding="utf-8").splitlines()]
    assert [line["summary"] for line in lines] == [*expected, "", "", ""]
    assert all(line["chunks"] >= 1 for line in lines[:3])
    assert [line["document"] for line in lines] == [
        "0.txt",
        "1.txt",
        "2.txt",
        "broken.docx",
        "large.txt",
        "program.exe",
    ]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        assert [row["summary"] for row in csv.DictReader(file)] == [*expected, "", "", ""]

    evidence = find_evidence(texts[1], expected[1])
    rows.nth(1).get_by_text("Evidence").click()
    marks = rows.nth(1).locator("mark.evidence")
    assert len(marks.all()) == len(evidence.sentences) > 0
    expect(marks.first).to_be_in_viewport()
    assert page.locator("#downloads").bounding_box()["y"] < page.locator("#table").bounding_box()["y"]


def test_batch_of_refused_files_only_is_reported_in_place(visit, tmp_path):
    program = tmp_path / "program.exe"
    program.write_bytes(b"MZ")
    page = visit()
    page.get_by_role("tab", name="Several texts").click()
    page.locator("#batch-actions input[type=file]").set_input_files([program])
    expect(page.get_by_text("program.exe: This page reads .txt").last).to_be_visible()


def test_batch_is_a_list_of_cards_on_a_phone(visit, tmp_path):
    document = tmp_path / "a-document-with-a-rather-long-name-that-needs-room.txt"
    document.write_text(gazette("validation")[6]["document"], encoding="utf-8")
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.get_by_role("tab", name="Several texts").tap()
    page.locator("#batch-actions input[type=file]").set_input_files([document, document])
    expect(page.locator("#batch-status")).to_have_text("2 of 2 documents summarized.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    scroll = page.locator("#table .scroll")
    assert scroll.evaluate("part => part.scrollWidth <= part.clientWidth")


@pytest.mark.slow
def test_several_dropped_files_make_a_table(visit):
    page = visit()
    page.evaluate(
        """() => { const transfer = new DataTransfer();
             for (const name of ['a.txt', 'b.txt']) transfer.items.add(new File(['The ' + name + ' is short.'], name));
             document.querySelector('#header').dispatchEvent(
               new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true})); }"""
    )
    expect(page.locator("#batch-status")).to_have_text("2 of 2 documents summarized.")


@pytest.mark.slow
def test_stopped_batch_keeps_finished_rows(visit, tmp_path):
    page = visit()
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("In its own words").check()
    set_number(page, "Longest", "256")
    set_number(page, "Shortest", "128")
    set_number(page, "Beams", "8")
    page.get_by_role("tab", name="Several texts").click()
    text = " ".join(row["document"] for row in gazette("train")[:40])[:39_000]
    paths = [tmp_path / f"{at}.txt" for at in range(3)]
    for path in paths:
        path.write_text(text, encoding="utf-8")
    page.locator("#batch-actions input[type=file]").set_input_files(paths)
    page.locator("#stop-batch").click()
    expect(page.locator("#batch-status")).to_have_text("Stopped. 0 of 3 documents summarized.")
    expect(page.locator("#downloads")).to_be_hidden()

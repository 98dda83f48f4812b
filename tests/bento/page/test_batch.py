"""The tab for several texts in headless Chromium, against the running service."""

import csv
import json

import pytest
from playwright.sync_api import expect

from tests.conftest import gazette

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
    page.locator("#files input[type=file]").set_input_files([*paths, broken])
    status = page.locator("#batch-status")
    expect(status).to_have_text("3 of 4 documents summarized; 1 could not be.")
    rows = page.locator("#table tbody tr")
    expected = [summary.text for summary in served_engine.generate(texts)]
    shown = [row.locator(".gist").get_attribute("data-plain") for row in rows.all()[:3]]
    assert shown == expected
    expect(rows.nth(3)).to_contain_text("broken.docx cannot be read as docx")

    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSONL").click()
    assert download.value.suggested_filename == "summaries.jsonl"
    lines = [json.loads(line) for line in download.value.path().read_text(encoding="utf-8").splitlines()]
    assert [line["summary"] for line in lines] == [*expected, ""]
    assert all(line["chunks"] >= 1 for line in lines[:3])
    assert [line["document"] for line in lines] == ["0.txt", "1.txt", "2.txt", "broken.docx"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        assert [row["summary"] for row in csv.DictReader(file)] == [*expected, ""]


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
    page.get_by_role("button", name="Options").click()
    page.get_by_label("number input for Longest").fill("256")
    page.get_by_label("number input for Shortest").fill("128")
    page.get_by_label("number input for Beams").fill("8")
    page.get_by_role("tab", name="Several texts").click()
    text = " ".join(row["document"] for row in gazette("train")[:40])[:39_000]
    paths = [tmp_path / f"{at}.txt" for at in range(3)]
    for path in paths:
        path.write_text(text, encoding="utf-8")
    page.locator("#files input[type=file]").set_input_files(paths)
    page.locator("#stop-batch").click()
    expect(page.locator("#batch-status")).to_have_text("Stopped. 0 of 3 documents summarized.")
    expect(page.locator("#downloads")).to_be_hidden()

"""The downloads of a batch."""

import csv
import io
import json

import pytest

from bento.page.batch_rows import BatchRow, refused_rows, table_html, to_csv, to_jsonl


def test_downloads_hold_the_rows_and_no_formulas():
    records = [
        BatchRow("a.txt", summary='=HYPERLINK("x"), "quoted"\nand more', words=3, chunks=2).as_record(),
        BatchRow("-b.txt", error="It has no text.").as_record(),
    ]
    assert [json.loads(line) for line in to_jsonl(records).splitlines()] == records
    rows = list(csv.DictReader(io.StringIO(to_csv(records).removeprefix("\ufeff"))))
    assert rows[0]["summary"] == "'" + records[0]["summary"]
    assert (rows[0]["words"], rows[1]["document"], rows[1]["error"]) == ("3", "'-b.txt", "It has no text.")
    assert rows[0]["chunks"] == "2"


def test_refused_files_become_rows_that_are_escaped():
    rows = refused_rows(json.dumps([{"name": "<b>a.txt", "reason": "It is <i>large."}]))
    assert [(row.document, row.error, row.words) for row in rows] == [("<b>a.txt", "It is <i>large.", 0)]
    assert "<b>" not in table_html(rows)
    assert "<i>" not in table_html(rows)


@pytest.mark.parametrize(
    "sent",
    [
        None, 7, "", "{", "[1]", '{"name": "a"}', '[{"name": "a"}]', "[" * 100_000, "null",
        r'[{"name": "\ud83d", "reason": "a"}]',
    ],
)  # fmt: skip
def test_other_forms_of_refused_files_make_no_rows(sent):
    assert refused_rows(sent) == []


def test_before_the_first_batch_the_downloads_are_empty():
    assert to_jsonl(None) == ""
    assert list(csv.DictReader(io.StringIO(to_csv(None)))) == []

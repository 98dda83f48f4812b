"""The downloads of a batch."""

import csv
import io
import json

from bento.page.batch_rows import BatchRow, to_csv, to_jsonl


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


def test_before_the_first_batch_the_downloads_are_empty():
    assert to_jsonl(None) == ""
    assert list(csv.DictReader(io.StringIO(to_csv(None)))) == []

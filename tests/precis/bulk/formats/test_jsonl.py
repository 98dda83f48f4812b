"""JSONL lines keep their bytes, and every bad line is rejected with its reason."""

import json

import pytest

from precis.bulk.errors import BulkError
from precis.bulk.formats import jsonl
from tests.support.bulk import ADDED, TEXTS, bulk, lines


def test_lines_stay_as_they_are_and_bad_ones_are_rejected_with_a_reason(tmp_path, bundle, expected):
    good = [
        f'{{"n": 1.00, "id":"{i:03}",  "document": {json.dumps(text)}, "é": null }}' for i, text in enumerate(TEXTS)
    ]
    bad = {
        "not json": "The line is not valid JSON.",
        "[1]": "The line is not a JSON object.",
        '{"id": 1}': "The row has no document.",
        '{"document": 5}': "document is not a string.",
        '{"document": " \\n"}': "document is empty.",
        '{"document": "a \\ud800 b"}': "document has a surrogate by itself, which is no character.",
        '{"document": "a", "chunks": 2}': "The row has a column chunks already.",
    }
    written, rows = [], iter(good)
    for line in bad:
        written += [next(rows), line, next(rows), ""]
    written += rows
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(written).encode() + b'\n{"document": "\xff"}')
    assert bulk(source, out, "--bundle", bundle) == 0
    output = out.read_text(encoding="utf-8").splitlines()
    assert [line.split(', "summary": ')[0] for line in output] == [line[:-1].rstrip() for line in good]
    for line, text in zip(lines(out), TEXTS, strict=True):
        assert list(line) == ["n", "id", "document", "é", *ADDED]
        assert line["summary"] == expected[text]
    rejects = lines(tmp_path / "out.jsonl.rejects.jsonl")
    assert {reject["content"]: reject["reason"] for reject in rejects[:-1]} == bad
    assert rejects[-1]["reason"] == "The line is not UTF-8."
    assert [reject["row"] for reject in rejects[:3]] == [2, 6, 10]
    assert not list(tmp_path.glob(".*"))


def test_numbers_that_python_would_change_or_refuse_stay_as_they_are(tmp_path, stub_run):
    rows = [
        f'{{"document":"a","n":{"9" * 5000}}}',
        '{"document":"b","n":0.1000000000000000055,"m":NaN,"m":-0}',
        r'{"\ud800":"\ud800\u00e9","document":"c"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join([*rows, '{"document":"","n":NaN}']))
    done = stub_run([tmp_path / "in.jsonl"], "out.jsonl")
    assert [line.partition(', "summary"')[0] + "}" for line in done.out.read_text().splitlines()] == rows
    assert done.rejects[0]["content"] == '{"document":"","n":NaN}'


def test_lines_that_end_in_carriage_returns_are_refused(tmp_path, stub_run):
    (tmp_path / "in.jsonl").write_bytes(b'{"document":"a"}\r{"document":"b"}\r')
    with pytest.raises(BulkError, match="end in carriage returns"):
        stub_run([tmp_path / "in.jsonl"], "out.jsonl")


def test_partitions_are_added_to_rows_that_lack_them(tmp_path, stub_run):
    for year, row in (("2023", '{"document": "a"}'), ("2024", '{"document": "b", "year": "in the row"}')):
        (tmp_path / f"year={year}/kind=x%20y").mkdir(parents=True)
        (tmp_path / f"year={year}/kind=x%20y/part.jsonl").write_text(row)
    done = stub_run([tmp_path], "out.jsonl")
    output = lines(done.out)
    assert [row["year"] for row in output] == [2023, "in the row"]
    assert list(output[0]) == ["document", "year", "kind", *ADDED]
    assert {row["kind"] for row in output} == {"x y"}


def test_a_line_without_end_is_rejected(tmp_path, stub_run, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_RECORD", 100)
    rows = ['{"document": "a"}', f'{{"document": "{"b" * 300}"}}', '{"document": "c"}', f'{{"document": "{"d" * 85}"}}']
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    done = stub_run([tmp_path / "in.jsonl"], "out.jsonl")
    assert [row["document"] for row in lines(done.out)] == ["a", "c"]
    assert [(reject["row"], reject["content"]) for reject in done.rejects] == [(2, rows[1][:100]), (4, rows[3][:100])]

"""JSONL lines keep their bytes, and every bad line is rejected with its reason."""

import json

from tests.support.bulk import ADDED, TEXTS, bulk, lines


def test_lines_stay_as_they_are_and_bad_ones_are_rejected_with_a_reason(tmp_path, bundle, expected):
    good = [
        f'{{"n": 1.00, "id":"{i:03}",  "document": {json.dumps(text)}, "é": null }}' for i, text in enumerate(TEXTS)
    ]
    bad = {
        "not json": "The line is not valid JSON.",
        "[1]": "The line is not a JSON object.",
        '{"id": 1}': "The row has no document.",
        '{"document": 5}': "document is not text.",
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

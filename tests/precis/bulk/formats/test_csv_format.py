"""CSV values keep their text."""

import csv
import gzip

import pandas as pd

from tests.support.bulk import ADDED, TEXTS, bulk, lines


def test_csv_values_stay_the_text_they_were(tmp_path, bundle, expected):
    rows = [{"id": f"{i:03}", "text": f'{text}\n"so, it" said', "x": "1.50, ☃"} for i, text in enumerate(TEXTS[:20])]
    folder = tmp_path / "in"
    folder.mkdir()
    for name, part in (("b.csv", rows[12:]), ("a.csv", rows[:12])):
        pd.DataFrame(part).to_csv(folder / name, index=False)
    with (folder / "b.csv").open("a") as file:
        file.write('1,2\n3,"b"c",4\n')
    (folder / "_SUCCESS").touch()
    out = tmp_path / "out.csv"
    assert bulk(folder, out, "--bundle", bundle, "--column", "text", "--summary-column", "gist") == 0
    output = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert output[["id", "text", "x"]].to_dict("records") == rows
    assert list(output.columns) == ["id", "text", "x", "gist", *ADDED[1:]]
    assert set(output["truncated"]) == {"false"}
    reasons = [reject["reason"] for reject in lines(tmp_path / "out.csv.rejects.jsonl")]
    assert reasons[0] == "The record has 2 values for 3 columns."
    assert reasons[1].startswith("The record in line ")


def test_a_file_with_only_a_header_gives_one(tmp_path, bundle):
    (tmp_path / "in.csv").write_text("id,document\n")
    assert bulk(tmp_path / "in.csv", tmp_path / "out.csv.gz", "--bundle", bundle) == 0
    with gzip.open(tmp_path / "out.csv.gz", "rt") as file:
        assert list(csv.reader(file)) == [["id", "document", *ADDED]]

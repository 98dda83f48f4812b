"""CSV values keep their text, in every dialect, and a fault costs its own row only."""

import csv
import gzip
import io

import pandas as pd
import pytest

from precis.bulk.errors import BulkError
from precis.bulk.formats import Columns, CsvFormat, csv_records
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


def read_back(path, delimiter=",", encoding="utf-8") -> list[list[str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_line_ends_inside_a_field_stay_in_it(tmp_path, stub_run):
    """A bare carriage return, which the module csv may leave unquoted, would make two rows of one."""
    source = tmp_path / "in.csv"
    source.write_bytes(b'id,note,document\r\n1,"first\rsecond","a\nb\r\nc"\r\n2,plain,d\r\n')
    done = stub_run([source], "out.csv")
    output = pd.read_csv(done.out, dtype=str)
    assert output[["id", "note", "document"]].to_numpy().tolist() == [
        ["1", "first\rsecond", "a\nb\r\nc"],
        ["2", "plain", "d"],
    ]
    assert output["summary"].tolist() == ["c\n\rb\na", "d"]
    assert done.out.read_bytes().endswith(b",end,false,false,,,\r\n")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_quote_that_is_not_closed_costs_its_own_row_only(line_end, tmp_path, stub_run):
    rows = [f"{i},The ferry to island {i} will not run." for i in range(1, 41)]
    rows[9] = '10,"Bridge to be mended; says the council.'
    source = tmp_path / "in.csv"
    source.write_bytes(line_end.join(["id,document", *rows, ""]).encode())
    done = stub_run([source], "out.csv")
    assert [row[0] for row in read_back(done.out)[1:]] == [str(i) for i in range(1, 41) if i != 10]
    (reject,) = done.rejects
    assert reject["reason"] == "The record in line 11 is not valid CSV: a quote in it is not closed."
    assert (reject["row"], reject["content"]) == (10, rows[9])
    assert done.said.startswith("Rows: 40 read, 39 written to ")


def test_faults_between_good_rows_take_none_of_them(tmp_path, stub_run):
    """Quoted fields after a fault end it early; fields of several lines before and after it stay whole."""
    good = [["1", "one\ntwo"], ["3", 'a "b", c'], ["4", "d\r\ne\nf"], ["6", ""], ["7", "last"]]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(good)
    first, *_ = text.getvalue().partition("3,")
    middle, end = text.getvalue()[len(first) :].split("6,")
    data = f'id,document\n{first}2,"open\n{middle}5,"b"c\n6,{end}8,"open again'
    (tmp_path / "in.csv").write_text(data, newline="")
    done = stub_run([tmp_path / "in.csv"], "out.csv")
    assert [row[:2] for row in read_back(done.out)[1:]] == [row for row in good if row[1]]
    contents = [reject["content"] for reject in done.rejects]
    assert contents == ['2,"open', '5,"b"c', ["6", ""], '8,"open again']
    assert [reject["row"] for reject in done.rejects] == [2, 5, 6, 8]
    assert "line 4 " in done.rejects[0]["reason"]


def test_a_line_without_end_is_rejected(tmp_path, stub_run, monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_RECORD", 100)
    rows = ["1,a", f"2,{'b' * 200}", f'3,"{"c" * 60}\n{"c" * 60}"', "4,d", f"5,{'e' * 99}"]
    (tmp_path / "in.csv").write_text("\n".join(["id,document", *rows]))
    done = stub_run([tmp_path / "in.csv"], "out.csv")
    assert [row[:2] for row in read_back(done.out)[1:]] == [["1", "a"], ["4", "d"]]
    reasons = [reject["reason"] for reject in done.rejects]
    assert [reason.split(": ")[1] for reason in reasons[:2]] == ["it is longer than 100 characters."] * 2
    assert done.said.startswith("Rows: 6 read, 2 written to ")  # the second line of row 3 counts for itself


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [("in.csv", ";", "utf-8"), ("in.csv", "\t", "utf-16"), ("in.tsv", "\t", "utf-8-sig"), ("in.csv", "|", "utf-16-le")],
)
def test_other_delimiters_and_encodings_are_read_and_delimiters_kept(name, delimiter, encoding, tmp_path, stub_run):
    rows = [["id", "document"], ["007", f"a, b; c\t| d{delimiter}é"], ["1e5", "NaN"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    (tmp_path / name).write_bytes(text.getvalue().encode(encoding))
    done = stub_run([tmp_path / name], name.replace("in", "out"))
    marked = encoding in ("utf-16", "utf-8-sig")  # a byte order mark, by which spreadsheets know Unicode
    assert done.out.read_bytes().startswith(b"\xef\xbb\xbf") is marked
    output = read_back(done.out, delimiter, "utf-8-sig")
    assert [row[:2] for row in output] == rows
    assert output[0][2:] == ADDED


def test_a_tsv_has_only_tabs_and_is_not_mixed_with_csv(tmp_path, stub_run):
    (tmp_path / "in.tsv").write_text("document\na, b; c\n")
    done = stub_run([tmp_path / "in.tsv"], "out.tsv")
    assert read_back(done.out, "\t")[1][0] == "a, b; c"
    with pytest.raises(BulkError, match="should be of one format"):
        stub_run([tmp_path / "in.tsv"], "out.csv")


@pytest.mark.parametrize(("encoding", "wrong"), [("utf-8", b"\xff"), ("utf-16-le", b"\x00\xd8")])
def test_bytes_that_are_wrong_in_the_encoding_cost_their_row_only(encoding, wrong, tmp_path, stub_run):
    before, after = "id,document\n1,a\n2,b".encode(encoding), "\n3,c\n".encode(encoding)
    (tmp_path / "in.csv").write_bytes(before + wrong + after)
    done = stub_run([tmp_path / "in.csv"], "out.csv")
    assert [row[:2] for row in read_back(done.out)[1:]] == [["1", "a"], ["3", "c"]]
    assert [(reject["row"], reject["reason"]) for reject in done.rejects] == [(2, "The record is not UTF-8.")]


def test_headers(tmp_path, stub_run):
    """Blank lines before it, names that occur twice, and what cannot be read."""
    source = tmp_path / "in.csv"
    source.write_text('\n\n"a, b",x,document,x\n1,2,text,3\n')
    assert read_back(stub_run([source], "out.csv").out)[1][:4] == ["1", "2", "text", "3"]
    for data, message in {
        b"document,document\na,b\n": "has two columns document",
        b"": "has no header",
        b"\n\n": "has no header",
        "größe;document\n".encode("cp1252"): "is not UTF-8",
        b"id;text\n": "one of id, text with --column",
        b"document,chunks\n": "has a column chunks already",
    }.items():
        source.write_bytes(data)
        with pytest.raises(BulkError, match=message):
            stub_run([source], "out.csv")


def test_reading_continues_after_any_row(tmp_path):
    """As a run that was killed does: the rows are those of a run that was not."""
    data = b'id,document\n1,"a\nb"\n\n2,"open\n3,c\n4,"d"e\n5,f,g\n6,"h'
    row_format = CsvFormat(Columns("document", "summary"))
    row_format.names = ["id", "document"]
    rows = list(row_format.read(io.BytesIO(data), 0))
    assert [row.number for row in rows] == [1, 3, 4, 5, 6, 7]
    for skip in range(9):
        assert list(row_format.read(io.BytesIO(data), skip)) == [row for row in rows if row.number > skip]

"""Parquet columns keep their types, and a row of any values can be rejected."""

import datetime
import decimal
import json
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from precis.bulk.formats import Columns
from precis.bulk.formats.parquet import ParquetFormat
from tests.conftest import ROOT
from tests.support.bulk import ADDED, TEXTS, bulk, lines


def test_parquet_types_stay_as_they_are(tmp_path, bundle, expected):
    texts = [*TEXTS[:30], None, ""]
    table = pa.table(
        {
            "id": pa.array(range(32), pa.uint8()),
            "when": pa.array(
                [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * 32, pa.timestamp("us", "Europe/Paris")
            ),
            "tags": pa.array([["a"], None] * 16, pa.list_(pa.string())),
            "kind": pa.array(["x", "y"] * 16).dictionary_encode(),
            "document": pa.array(texts, pa.large_string()),
        },
        metadata={"made": "by hand"},
    )
    pq.write_table(table[:20], tmp_path / "1.parquet", row_group_size=6)
    pq.write_table(table[20:], tmp_path / "2.parquet")
    out = tmp_path / "out.parquet"
    assert bulk(tmp_path / "?.parquet", out, "--bundle", bundle) == 0
    output = pq.read_table(out)
    assert output.drop_columns(ADDED).equals(table[:30])
    assert output["summary"].to_pylist() == [expected[text] for text in TEXTS[:30]]
    assert output.schema.field("truncated").type == pa.bool_()
    rejects = lines(tmp_path / "out.parquet.rejects.jsonl")
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [
        (11, "The row has no document."),
        (12, "document is empty."),
    ]
    assert rejects[0]["content"]["id"] == 30


def broken_strings(values: list[bytes]) -> pa.Array:
    """A column of text with bytes that need not be UTF-8, which Arrow takes for granted."""
    return pa.array(values, pa.binary()).view(pa.string())


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), "dictionary"])
def test_text_that_is_not_utf8_costs_its_row_only(kind, tmp_path, stub_run):
    documents = [b"one", b"\xe9 de", b"", b"four", b"five"]
    if kind == "dictionary":
        values = pa.DictionaryArray.from_arrays(pa.array(range(5), pa.int32()), broken_strings(documents))
    else:
        values = pa.array(documents, pa.large_binary() if kind == pa.large_string() else pa.binary()).view(kind)
    notes = pa.StructArray.from_arrays([broken_strings([b"a", b"b", b"c", b"d\xff", b"e"])], ["note"])
    pq.write_table(pa.table({"n": range(5), "document": values, "notes": notes}), tmp_path / "in.parquet")
    done = stub_run([tmp_path / "in.parquet"], "out.parquet")
    assert pq.read_table(done.out).select(["n", "summary"]).to_pylist() == [
        {"n": 0, "summary": "eno"},
        {"n": 4, "summary": "evif"},
    ]
    assert [(reject["row"], reject["reason"]) for reject in done.rejects] == [
        (2, "The row is not UTF-8."),
        (3, "document is empty."),
        (4, "The row is not UTF-8."),
    ]
    assert done.rejects[0]["content"] == {"n": 1, "document": r"\xe9 de", "notes": {"note": "b"}}
    assert done.rejects[2]["content"]["notes"] == {"note": r"d\xff"}


def test_a_row_of_any_values_can_be_reported(tmp_path, stub_run):
    """Times that datetime cannot hold, numbers that JSON cannot; each in a row that is rejected."""
    after_9999 = pa.array([2**62], pa.timestamp("us"))
    nested = pa.array([[{"x": float("nan"), "b": b"\xff"}]])
    columns = {
        "late": after_9999,
        "late_date": pa.array([2**31 - 1], pa.date32()),
        "late_zone": pa.array([2**62], pa.timestamp("ms", "Europe/Paris")),
        "in_list": pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), after_9999),
        "nan": pa.array([float("nan")]),
        "minus": pa.array([float("-inf")], pa.float32()),
        "nested": nested,
        "price": pa.array([decimal.Decimal("1.50")]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
        "kind": pa.array(["x"]).dictionary_encode(),
        "document": pa.array([None], pa.string()),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    done = stub_run([tmp_path / "in.parquet"], "out.parquet")
    # Strictly: NaN is no JSON.
    line = (done.out.parent / "out.parquet.rejects.jsonl").read_text()
    content = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))["content"]
    assert list(content) == list(columns)
    assert "4611686018427387904" in content["late"]
    assert "2147483647" in content["late_date"]
    assert "4611686018427387904" in content["in_list"][0]
    assert (content["nan"], content["minus"], content["price"]) == ("nan", "-inf", "1.50")
    assert content["nested"] == [{"x": "nan", "b": r"\xff"}]
    assert (content["map"], content["kind"], content["document"]) == ([{"key": "k", "value": 1}], "x", None)


def test_nanoseconds_are_reported_without_pandas(tmp_path):
    """Pyarrow makes pandas' timestamps of them, which the extra `bulk` does not install."""
    program = """
import sys
class NoPandas:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoPandas())
import pyarrow as pa
from precis.bulk.formats.arrow_json import json_value
print(json_value(pa.scalar(1, pa.timestamp("ns"))), json_value(pa.scalar([1], pa.list_(pa.duration("ns")))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "1970-01-01 00:00:00.000000001 ['1']\n", done.stderr


def test_a_frame_of_pandas_comes_back_with_its_index(tmp_path, stub_run):
    frame = pd.DataFrame(
        {"document": ["a", "", "c"], "when": pd.to_datetime(["2024-01-01"] * 3).as_unit("ns").tz_localize("UTC")},
        index=pd.Index(["x", "y", "z"], name="key"),
    )
    frame["kind"] = pd.Categorical(["u", "v", "u"], categories=["v", "u"], ordered=True)
    for written in (frame, frame.reset_index(drop=True)):
        written.to_parquet(tmp_path / "in.parquet")
        done = stub_run([tmp_path / "in.parquet"], "out.parquet")
        expected = written.iloc[[0, 2]] if written is frame else written.iloc[[0, 2]].reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(done.out).drop(columns=ADDED), expected)


def test_columns_of_one_name_stay_two(tmp_path, stub_run):
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array(["a", ""]), pa.array([3, 4])], ["x", "document", "x"])
    pq.write_table(table, tmp_path / "in.parquet")
    done = stub_run([tmp_path / "in.parquet"], "out.parquet")
    output = pq.ParquetFile(done.out).read()
    assert output.schema.names == ["x", "document", "x", *ADDED]
    assert [output.column(i).to_pylist() for i in (0, 2)] == [[1], [3]]
    assert len(done.rejects) == 1


def test_reading_continues_after_any_row(tmp_path, stub_run):
    pq.write_table(pa.table({"document": list("abcdefgh")}), tmp_path / "in.parquet", row_group_size=3)
    row_format = ParquetFormat(Columns("document", "summary"))
    for skip in range(9):
        with (tmp_path / "in.parquet").open("rb") as file:
            rows = list(row_format.read(file, skip))
        assert [(row.number, row.document) for row in rows] == list(enumerate("abcdefgh", 1))[skip:]

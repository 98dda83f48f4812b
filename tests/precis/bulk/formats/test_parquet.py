"""Parquet columns keep their types."""

import datetime

import pyarrow as pa
import pyarrow.parquet as pq

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

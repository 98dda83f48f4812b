"""Compressed files, damaged files, and addresses that fsspec reaches."""

import bz2
import gzip
import json
import lzma
import random

import pyarrow as pa
import pytest

from precis.bulk.errors import BulkError
from precis.bulk.files import compress, file_type
from precis.bulk.sources import find_inputs
from tests.support.bulk import TEXTS, bulk, lines


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_files(suffix, tmp_path, bundle, expected):
    codec = pa.Codec("zstd")
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": codec.compress}[suffix]
    halves = [
        "".join(json.dumps({"document": text}) + "\n" for text in part).encode() for part in (TEXTS[:9], TEXTS[9:20])
    ]
    source, out = tmp_path / f"in.jsonl{suffix}", tmp_path / f"out.jsonl{suffix}"
    source.write_bytes(b"".join(bytes(pack(half)) for half in halves))
    assert bulk(source, out, "--bundle", bundle) == 0
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(suffix)
    data = unpack(out.read_bytes()) if unpack else pa.input_stream(str(out), compression="zstd").read()
    assert [json.loads(line)["summary"] for line in data.splitlines()] == [expected[text] for text in TEXTS[:20]]


def test_a_gzip_member_holds_no_time():
    assert compress(b"row", "gzip")[4:8] == bytes(4)  # MTIME of RFC 1952
    assert gzip.decompress(compress(b"row", "gzip")) == b"row"


def test_a_damaged_file_stops_the_run_and_keeps_what_was_done(tmp_path, bundle, capsys):
    source = tmp_path / "in.jsonl.gz"
    draw = random.Random(1)
    texts = ["".join(draw.choices("abcdefgh ", k=2000)) for _ in range(400)]
    data = gzip.compress("".join(json.dumps({"document": text}) + "\n" for text in texts).encode())
    source.write_bytes(data[: len(data) // 2])
    assert bulk(source, tmp_path / "out.jsonl", "--bundle", bundle, "--long-text", "truncate") == 1
    assert "is cut short or damaged after row 1" in capsys.readouterr().err
    assert (tmp_path / ".out.jsonl.partial/rows").stat().st_size > 0
    assert not (tmp_path / "out.jsonl").exists()


def test_addresses_are_read_and_written_through_fsspec(tmp_path, bundle, expected, monkeypatch):
    (tmp_path / "desk").mkdir()
    (tmp_path / "in/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "desk")
    for name, part in (("in/b.jsonl", TEXTS[10:20]), ("in/deep/c.jsonl.gz", TEXTS[20:30]), ("in/a.jsonl", TEXTS[:10])):
        data = "".join(json.dumps({"document": text}) + "\n" for text in [*part, ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert bulk(f"file://{tmp_path}/in", f"file://{tmp_path}/new/out.jsonl", "--bundle", bundle) == 0
    assert [row["summary"] for row in lines(tmp_path / "new/out.jsonl")] == [expected[text] for text in TEXTS[:30]]
    rejects = lines(tmp_path / "new/out.jsonl.rejects.jsonl")
    assert [reject["file"].rsplit("/", 1)[1] for reject in rejects] == ["a.jsonl", "b.jsonl", "c.jsonl.gz"]
    assert not list((tmp_path / "desk").iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", ("jsonl", None)),
        ("s3://bucket/a.b.ndjson.gz", ("jsonl", "gzip")),
        ("a.csv.zst", ("csv", "zstd")),
        ("a.parquet", ("parquet", None)),
    ],
)
def test_the_name_tells_format_and_compression(name, expected):
    assert file_type(name) == expected


@pytest.mark.parametrize("name", ["a", "a.txt", "a.gz", "a.zip.gz", "a.parquet.gz", ".jsonl.txt"])
def test_a_name_without_a_usable_type_is_an_error(name):
    with pytest.raises(BulkError, match=name):
        file_type(name)


def test_links_and_odd_names_are_found(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "real.jsonl").write_text("{}\n")
    (tmp_path / "data/link.jsonl").symlink_to(tmp_path / "real.jsonl")
    (tmp_path / "data/part[1].jsonl").write_text("{}\n{}\n")
    (tmp_path / "data/.hidden.jsonl").touch()
    names = {source.name: source.size for source in find_inputs([str(tmp_path / "data")]).sources}
    assert names == {str(tmp_path / "data/link.jsonl"): 3, str(tmp_path / "data/part[1].jsonl"): 6}
    assert find_inputs([str(tmp_path / "data/part[1].jsonl")]).sources[0].size == 6

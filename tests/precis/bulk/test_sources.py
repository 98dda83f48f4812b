"""Which files are read, by whatever path they are named; every other one is named."""

import os

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from precis.bulk.errors import BulkError
from precis.bulk.formats import Columns, make_format
from precis.bulk.sources import find_inputs


@pytest.fixture
def folder(tmp_path):
    """Files of every kind: to be read a.csv and B.CSV."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.csv", "deep/B.CSV", "c.txt", "_SUCCESS", ".hidden.csv", "no_suffix"):
        (folder / name).write_text("document\nx\n")
    os.mkfifo(folder / "pipe.csv")
    (folder / "broken.csv").symlink_to("nowhere")
    (folder / "deep/up").symlink_to(folder)
    return folder


def test_every_file_of_a_folder_is_read_or_named(folder):
    inputs = find_inputs([str(folder)])
    assert [source.name for source in inputs.sources] == [f"{folder}/a.csv", f"{folder}/deep/B.CSV"]
    skipped = [".hidden.csv", "_SUCCESS", "broken.csv", "c.txt", "deep/up", "no_suffix", "pipe.csv"]
    assert inputs.not_read == [f"{folder}/{name}" for name in skipped]


def test_an_empty_name_is_not_the_working_directory(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(BulkError, match="the name is empty"):
        find_inputs([""])


@pytest.mark.timeout(60)  # waiting for a writer would take for ever
def test_a_pipe_is_refused(folder):
    for name in (folder / "pipe.csv", folder / "p*.csv"):
        with pytest.raises(BulkError, match=r"pipe\.csv is not a regular file"):
            find_inputs([str(name)])
    read, write = os.pipe()
    with pytest.raises(BulkError, match="is not a regular file"):
        find_inputs([f"/dev/fd/{read}"])
    os.close(read)
    os.close(write)


def test_one_file_has_one_name(folder, monkeypatch, tmp_path):
    """Absolute, relative, with dots, through a link, as an address: the same job."""
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder / "deep")
    names = [
        folder / "a.csv", "../a.csv", f"{folder}/./deep/../a.csv", tmp_path / "link/a.csv", f"file://{folder}/a.csv"
    ]  # fmt: skip
    assert len({tuple(find_inputs([str(name)]).sources) for name in names}) == 1
    assert find_inputs([".."]) == find_inputs([str(folder)]) == find_inputs([f"{folder}/"])


@pytest.mark.parametrize("name", ["a::b.csv", "~x.csv", "[1].csv", "x=y;.csv"])
def test_a_path_is_taken_as_it_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("document\nx\n")
    (source,) = find_inputs([name]).sources
    with source.open() as file:
        assert (source.name, file.read()) == (str(tmp_path / name), b"document\nx\n")


def test_partitions_become_columns_as_pyarrow_reads_them(tmp_path, stub_run):
    folder = tmp_path / "in"
    for year, place in ((2023, "Aden%2FB"), (2024, "__HIVE_DEFAULT_PARTITION__")):
        (folder / f"year={year}/place={place}").mkdir(parents=True)
        pq.write_table(pa.table({"document": [f"in {year}", ""]}), folder / f"year={year}/place={place}/part.parquet")
    expected = ds.dataset(folder, partitioning="hive").to_table().filter(ds.field("document") != "")
    for inputs in ([folder], [f"{folder}/*"], [f"{folder}/*/*/*"], sorted(folder.glob("*/*/*"))):
        done = stub_run(inputs, "out.parquet")
        output = pq.read_table(done.out).select(expected.schema.names)
        assert output.equals(expected)
        assert len(done.rejects) == 2


def test_partition_values_that_are_no_whole_numbers_stay_text(tmp_path):
    for month in ("01", "12"):
        (tmp_path / f"month={month}").mkdir()
        (tmp_path / f"month={month}/a.csv").write_text("document\nx\n")
    (tmp_path / "b.csv").write_text("document\nx\n")
    row_format = make_format("csv", Columns("document", "summary"))
    row_format.check(find_inputs([f"{tmp_path}/*/a.csv"]).sources)
    assert row_format.partitions == {"month": str}
    with pytest.raises(BulkError, match="other partition columns"):
        row_format.check(find_inputs([str(tmp_path)]).sources)

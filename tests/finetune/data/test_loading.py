"""Own data: file formats, folders, the split by hash, and the message for bad data."""

import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from finetune.data.loading import document_hashes, load_pairs
from finetune.data.report import data_report
from finetune.errors import UserError
from finetune.recipe import Data
from tests.conftest import ROOT, gazette, write_jsonl

ROWS = [{"article": f"Document {i}, with a comma\nand a line.", "gist": f"Summary {i}."} for i in range(40)]


BYTES_OF_A_ROW = 95  # measured 65; with Python integers in lists 127
COLUMNS = {"document_column": "article", "summary_column": "gist"}


def write(path, rows=ROWS):
    """Writes `rows` with a third column of changing types in the format of the file's name, by pandas or PyArrow."""
    table = pd.DataFrame([{**row, "other": i if i % 2 else f"{i}"} for i, row in enumerate(rows)])
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    path.parent.mkdir(exist_ok=True)
    if kind == "parquet":
        text = pa.string_view() if "view" in path.name else pa.string()
        columns = {name: pa.array(table[name].astype(str), text) for name in table}
        pq.write_table(pa.table(columns), path)
    elif kind in ("csv", "tsv"):
        encoding = "utf-16" if "utf16" in path.name else "utf-8-sig" if "bom" in path.name else "utf-8"
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",", encoding=encoding)
    else:
        table.to_json(path, orient="records", lines=kind == "jsonl")
    return path


def texts(source, **columns):
    """The pairs that `source` is read as, as training and as validation set."""
    pairs = load_pairs(Data(train=str(source), validation=str(source), **(columns or COLUMNS)), seed=0)
    assert list(pairs.train) == list(pairs.validation)
    return [(row["document"], row["summary"]) for row in pairs.train]


EXPECTED = [(row["article"], row["gist"]) for row in ROWS]


@pytest.mark.parametrize(
    "name",
    [
        *("own.jsonl", "own.json", "own.csv", "own.tsv", "own.parquet", "view.parquet", "own.jsonl.gz", "own.csv.gz"),
        *("utf16.csv", "bom.csv", "own[1].csv", "own #2*?.jsonl", "dir [v2]/own.CSV"),
    ],
)
def test_each_format_and_name_gives_the_same_pairs(tmp_path, name):
    assert texts(write(tmp_path / name)) == EXPECTED


def test_shards_of_a_folder_or_pattern_are_read_in_the_order_of_their_names(tmp_path):
    folder = tmp_path / "own [1].csv"
    for i in range(4):
        write(folder / f"part-0000{i}.csv.gz", ROWS[10 * i : 10 * i + 10])
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.csv.crc").write_text("x")
    (folder / "part-00004.csv").touch()  # Spark writes empty shards
    assert texts(folder) == EXPECTED
    for file in folder.glob("part*"):
        file.rename(tmp_path / file.name)
    assert texts(tmp_path / "part-*.csv*") == EXPECTED
    write(tmp_path / "more.jsonl")
    with pytest.raises(UserError, match=r"several formats \(\.csv, \.jsonl\)"):
        texts(tmp_path)


def test_quotes_that_spark_escapes_are_read(tmp_path):
    rows = [('He said "hi", then left.', "a"), ('"All" of it', 'b "c"'), ("a\\b, c", "plain"), ("C:\\x", "d\ne")]
    path = tmp_path / "spark.csv"

    def spark(value):  # quotes a value with special characters, and escapes quotes and backslashes in it
        special = any(mark in value for mark in ',"\n')
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if special else value

    lines = ["article,gist", *(",".join(map(spark, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    assert texts(path) == rows


def test_tabs_separate_texts_with_unpaired_quotes(tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text('article\tgist\n"Yes" he said\t6" long\nb\tc\t\n')
    assert texts(path) == [('"Yes" he said', '6" long'), ("b", "c")]


def test_words_for_missing_values_are_texts(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("article,gist\nNA,null\nshort row\nlong,row,,\n")
    assert texts(path) == [("NA", "null"), ("long", "row")]


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl"])
def test_other_encodings_are_refused_with_a_hint(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(("article,gist\n" if name == "own.csv" else "").encode() + "Köln,Straße".encode("latin-1"))
    with pytest.raises(UserError, match=r"^data\.train: .*own\..* is not UTF-8 text; .*iconv"):
        texts(path)


def test_changed_file_with_its_old_time_is_read_anew(tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", ROWS)
    before, status = load_pairs(Data(train=str(path), **COLUMNS), 0), path.stat()
    write_jsonl(path, [{**row, "gist": row["gist"].replace("Summary", "Revised")} for row in ROWS])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = load_pairs(Data(train=str(path), **COLUMNS), 0)
    assert all(text.startswith("Revised") for text in after.train["summary"])
    assert after.sha256["train"] == hashlib.sha256(path.read_bytes()).hexdigest() != before.sha256["train"]


def test_documents_that_differ_in_case_and_spaces_are_in_one_split(tmp_path):
    rows = gazette("train")[:60]
    variants = [{**row, "document": row["document"].upper().replace(" ", "  ")} for row in rows]
    pairs = load_pairs(Data(train=str(write_jsonl(tmp_path / "own.jsonl", rows + variants))), seed=0)
    assert len(pairs.validation) % 2 == 0
    assert not set(document_hashes(pairs.train)) & set(document_hashes(pairs.validation))


# Prints how many MiB of memory without a file behind it the process takes on while it loads the file, at the most.
PEAK_CODE = """
import sys, threading
from finetune.data.loading import load_pairs
from finetune.recipe import Data

def anonymous():
    return int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0])

before, peak, done = anonymous(), 0, threading.Event()

def sample():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous())

sampler = threading.Thread(target=sample)
sampler.start()
assert len(load_pairs(Data(train=sys.argv[1], validation=sys.argv[1]), 0).train) == 24_000
done.set()
sampler.join()
print((peak - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", ["own.jsonl", "own.parquet"])
def test_large_file_is_not_held_in_memory(tmp_path, name):
    """96 MB of text, in Parquet one row group that does not compress."""
    path, random = tmp_path / name, np.random.default_rng(0)
    documents = [f"{i} " + random.bytes(2000).hex() for i in range(24_000)]
    if name == "own.jsonl":
        write_jsonl(path, [{"document": document, "summary": "short", "id": 1} for document in documents])
    else:
        columns = {"document": documents, "summary": ["short"] * len(documents)}
        pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)
    done = subprocess.run([sys.executable, "-c", PEAK_CODE, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert int(done.stdout) < 60, done.stderr  # MiB; the text is 92


def test_row_takes_a_few_bytes_of_memory_while_a_set_is_read_and_reported(tmp_path):
    def peak(count: int) -> int:
        rows = [{"document": f"Document {i}.", "summary": "A summary."} for i in range(count)]
        data = Data(train=str(write_jsonl(tmp_path / f"{count}.jsonl", rows)))
        del rows
        tracemalloc.start()
        pairs = load_pairs(data, 0)
        encoded = {
            name: Dataset(pa.table({f"{key}_tokens": np.full(len(split), 300) for key in ("document", "summary")}))
            for name, split in (("train", pairs.train), ("validation", pairs.validation))
        }
        data_report(pairs, encoded, data)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(100)  # what is imported and cached once
    assert (peak(22_000) - peak(2_000)) / 20_000 < BYTES_OF_A_ROW


def test_folder_of_text_pairs_is_read(tmp_path):
    rows = gazette("train")[:30]
    for i, row in enumerate(rows):
        for kind in ("document", "summary"):
            path = tmp_path / ("documents" if kind == "document" else "summaries") / f"part{i % 2}/{i:02}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(row[kind], encoding="utf-16" if i == 7 else "utf-8")
    pairs = load_pairs(Data(train=str(tmp_path), validation=str(tmp_path)), seed=0)
    assert {(row["document"], row["summary"]) for row in pairs.train} == {
        (row["document"], row["summary"]) for row in rows
    }


def test_split_without_validation_set_follows_the_documents_hash(tmp_path):
    rows = gazette("train")[:300]
    path = write_jsonl(tmp_path / "own.jsonl", [*rows, rows[0]])  # one pair comes twice
    pairs = load_pairs(Data(train=str(path)), seed=0)
    normalized = {row["document"]: " ".join(row["document"].split()).casefold() for row in rows}
    held_back = {
        document
        for document, text in normalized.items()
        if int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100 < 10
    }
    assert set(pairs.validation["document"]) == held_back
    assert not held_back & set(pairs.train["document"])
    assert len(pairs.train) + len(pairs.validation) == 301


def test_longer_file_moves_no_document_to_the_other_split(tmp_path):
    rows = gazette("train")[:200]
    few = load_pairs(Data(train=str(write_jsonl(tmp_path / "few.jsonl", rows[:100]))), seed=0)
    all_of_them = load_pairs(Data(train=str(write_jsonl(tmp_path / "all.jsonl", rows))), seed=0)
    assert set(few.validation["document"]) <= set(all_of_them.validation["document"])
    assert set(few.train["document"]) <= set(all_of_them.train["document"])


def test_pairs_without_text_are_dropped_and_counted(tmp_path):
    rows = [*ROWS, {"article": "", "gist": "x"}, {"article": "x", "gist": None}, {"article": " \n", "gist": "x"}]
    rows += [{"article": "\u200b\0", "gist": "x"}, {"article": "x", "gist": "</s>"}]
    path = write_jsonl(tmp_path / "own.jsonl", rows)
    pairs = load_pairs(Data(train=str(path), validation=str(path), **COLUMNS), seed=0)
    assert (len(pairs.train), pairs.dropped["train"]) == (40, 5)


def test_validation_sample_depends_on_the_seed(tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", ROWS)
    data = Data(train=str(path), validation=str(path), validation_documents=7, **COLUMNS)
    first, again, other = (list(load_pairs(data, seed).validation["summary"]) for seed in (1, 1, 2))
    assert len(first) == 7
    assert first == again != other
    assert list(load_pairs(data, 1).all_validation["summary"]) == [row["gist"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content", "columns", "named"),
    [
        ("gone.jsonl", None, COLUMNS, ["data.train", "gone.jsonl"]),
        ("own.txt", "x", COLUMNS, ["data.train", "own.txt", ".jsonl"]),
        ("empty.jsonl", "", COLUMNS, ["data.train", "empty.jsonl", "empty"]),
        ("broken.jsonl", '{"article": "a", "gist"\n{', COLUMNS, ["data.train", "broken.jsonl"]),
        ("own.jsonl", '{"article": "a", "gist": "b"}\n', {}, ["data.document_column", "document", "article, gist"]),
        ("own.jsonl", '{"article": "a", "gist": 3}\n', COLUMNS, ["data.summary_column", "gist", "int", "line 1"]),
        ("own.json", '[{"article": "a", "gist": [1]}]', COLUMNS, ["data.summary_column", "gist", "list", "row 1"]),
        ("own.jsonl", '{"article": "a", "gist": "b"}\n[1]\n', COLUMNS, ["data.train", "line 2 is no object"]),
        ("own.jsonl", '{"article": "\\ud800", "gist": "b"}\n', COLUMNS, ["data.train", "half of a character"]),
        ("own.jsonl", '{"article": ' + "[" * 100_000, COLUMNS, ["data.train", "cannot be read as jsonl: line 1"]),
        ("own.json", "[" * 100_000, COLUMNS, ["data.train", "own.json cannot be read as json"]),
        ("own.jsonl.gz", "no gzip", COLUMNS, ["data.train", "own.jsonl.gz cannot be read as jsonl"]),
        (
            "own.csv",
            "article,gist\na,b\nThe council met, it agreed,c\nd, e,f\n",
            COLUMNS,
            ["data.train", "2 rows have more fields", "line 3"],
        ),
        ("own.csv", "gist,article,gist\na,b,c\n", COLUMNS, ["data.summary_column", "several columns gist"]),
        ("own.csv", 'article,gist\n"a"b,c\n', COLUMNS, ["data.train", "line 2"]),
        (
            "own.csv",
            'article;gist\n"a, b";c\nd, e;f\n',
            COLUMNS,
            ["data.document_column", "has no column article", "article;gist"],
        ),
        ("own.json", "[]", COLUMNS, ["data.train", "own.json holds no rows"]),
        ("own.csv", "\n\n", COLUMNS, ["data.train", "own.csv holds no rows"]),
        ("own.jsonl", '{"article": "", "gist": ""}\n', COLUMNS, ["data.train", "no pair"]),
        ("header.csv", "article,gist\n", COLUMNS, ["data.train", "header.csv"]),
        ("broken.parquet", "PAR1 this is not one", COLUMNS, ["data.train", "broken.parquet"]),
    ],
)
def test_bad_data_is_reported_in_one_sentence(tmp_path, name, content, columns, named):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as error:
        load_pairs(Data(train=str(path), validation=str(path), **columns), seed=0)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert all(word in sentence for word in named), sentence


def test_unreadable_parquet_file_is_not_blamed_on_the_cache(tmp_path):
    path = write(tmp_path / "own.parquet", ROWS * 50)
    content = bytearray(path.read_bytes())
    content[60:400] = bytes(byte ^ 0xFF for byte in content[60:400])
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"data.train: .*own.parquet cannot be read as parquet: "):
        load_pairs(Data(train=str(path), validation=str(path), **COLUMNS), seed=0)


def test_parquet_text_that_is_not_utf8_gets_no_advice_for_text_files(tmp_path):
    texts = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xe9t"))
    pq.write_table(pa.table({"article": texts, "gist": ["b"]}), tmp_path / "own.parquet")
    with pytest.raises(UserError, match=r"own.parquet cannot be read as parquet: .*utf-8") as error:
        load_pairs(Data(train=str(tmp_path / "own.parquet"), **COLUMNS), seed=0)
    assert "iconv" not in str(error.value)


def test_text_of_a_first_row_is_shortened_where_the_columns_are_listed(tmp_path):
    (tmp_path / "own.csv").write_text(f"{'a long text ' * 1000},its summary\n")
    with pytest.raises(UserError, match="no column article; its columns are a long text") as error:
        load_pairs(Data(train=str(tmp_path / "own.csv"), **COLUMNS), seed=0)
    assert len(str(error.value)) < 500


def test_equal_documents_cannot_be_split(tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", ROWS[:1] * 50)
    with pytest.raises(UserError, match="too few different documents to hold back 10% of the pairs"):
        load_pairs(Data(train=str(path), **COLUMNS), seed=0)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "documents/NAME.txt"),
        ({"documents/a.txt": b"x"}, "summaries/a.txt is missing"),
        ({"documents/a.txt": b"x", "summaries/a.txt": b"y", "summaries/b.txt": b"y"}, "documents/b.txt is missing"),
        ({"documents/a.txt": b"\xe9t\xe9", "summaries/a.txt": b"y"}, "a.txt is not UTF-8"),
    ],
)
def test_broken_folder_is_reported_in_one_sentence(tmp_path, files, named):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=named) as error:
        load_pairs(Data(train=str(tmp_path)), seed=0)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("data.train: ")

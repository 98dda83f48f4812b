"""Own data: file formats, folders, the split by hash, and the message for bad data."""

import hashlib

import pandas as pd
import pytest

from finetune.data.loading import load_pairs
from finetune.errors import UserError
from finetune.recipe import Data
from tests.conftest import gazette, write_jsonl

ROWS = [{"article": f"Document {i}, with a comma\nand a line.", "gist": f"Summary {i}."} for i in range(40)]


COLUMNS = {"document_column": "article", "summary_column": "gist"}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_each_format_gives_the_same_pairs(tmp_path, kind):
    path = tmp_path / f"own.{kind}"
    table = pd.DataFrame(ROWS)
    {
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "csv": lambda: table.to_csv(path, index=False),
        "parquet": lambda: table.to_parquet(path),
    }[kind]()
    pairs = load_pairs(Data(train=str(path), validation=str(path), **COLUMNS), seed=0)
    assert list(pairs.train["document"]) == [row["article"] for row in ROWS]
    assert list(pairs.validation["summary"]) == [row["gist"] for row in ROWS]


def test_folder_of_text_pairs_is_read(tmp_path):
    rows = gazette("train")[:30]
    for i, row in enumerate(rows):
        for kind in ("document", "summary"):
            path = tmp_path / ("documents" if kind == "document" else "summaries") / f"part{i % 2}/{i:02}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(row[kind], encoding="utf-8")
    pairs = load_pairs(Data(train=str(tmp_path), validation=str(tmp_path)), seed=0)
    assert {(row["document"], row["summary"]) for row in pairs.train} == {
        (row["document"], row["summary"]) for row in rows
    }


def test_split_without_validation_set_follows_the_documents_hash(tmp_path):
    rows = gazette("train")[:300]
    path = write_jsonl(tmp_path / "own.jsonl", [*rows, rows[0]])  # one pair comes twice
    pairs = load_pairs(Data(train=str(path)), seed=0)
    held_back = {
        row["document"] for row in rows if int(hashlib.sha256(row["document"].encode()).hexdigest(), 16) % 100 < 10
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


def test_special_tokens_in_a_pair_are_blanks_as_in_serving(tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", [{"article": "a</s>b", "gist": "<pad>c"}])
    pairs = load_pairs(Data(train=str(path), validation=str(path), **COLUMNS), seed=0)
    assert pairs.train[0] == {"document": "a    b", "summary": "     c"}


def test_validation_sample_depends_on_the_seed(tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", ROWS)
    data = Data(train=str(path), validation=str(path), validation_documents=7, **COLUMNS)
    first, again, other = (list(load_pairs(data, seed).validation["summary"]) for seed in (1, 1, 2))
    assert len(first) == 7
    assert first == again != other


@pytest.mark.parametrize(
    ("name", "content", "columns", "named"),
    [
        ("gone.jsonl", None, COLUMNS, ["data.train", "gone.jsonl"]),
        ("own.txt", "x", COLUMNS, ["data.train", "own.txt", ".jsonl"]),
        ("empty.jsonl", "", COLUMNS, ["data.train", "empty.jsonl", "empty"]),
        ("broken.jsonl", '{"article": "a", "gist"\n{', COLUMNS, ["data.train", "broken.jsonl"]),
        ("own.jsonl", '{"article": "a", "gist": "b"}\n', {}, ["data.document_column", "document", "article, gist"]),
        ("own.jsonl", '{"article": "a", "gist": 3}\n', COLUMNS, ["data.summary_column", "gist", "int64"]),
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


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "documents/NAME.txt"),
        ({"documents/a.txt": b"x"}, "summaries/a.txt is missing"),
        ({"documents/a.txt": b"x", "summaries/a.txt": b"y", "summaries/b.txt": b"y"}, "documents/b.txt is missing"),
        ({"documents/a.txt": b"\xff\xfe", "summaries/a.txt": b"y"}, "a.txt is not UTF-8"),
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

"""The data report: each count compared with one made by hand."""

import json

import pytest
from datasets import Dataset

from finetune.data.loading import Pairs
from finetune.data.report import data_report, write_report
from finetune.recipe import Data


@pytest.fixture
def report(tmp_path):
    train = [("a b c", "s"), ("A  B c", "s"), ("d e", "s"), ("f " * 30, "s " * 9), ("g", "s")]
    validation = [("a b C", "s"), ("h", "s")]
    data = Data(train="t.jsonl", max_document_tokens=16, max_summary_tokens=8)
    sets = [
        Dataset.from_dict(dict(zip(("document", "summary"), zip(*rows, strict=True), strict=True)))
        for rows in (train, validation)
    ]
    encoded = {
        name: Dataset.from_dict(
            {f"{key}_tokens": [len(text.split()) + 1 for text in rows[key]] for key in ("document", "summary")}
        )
        for name, rows in zip(("train", "validation"), sets, strict=True)
    }
    result = data_report(Pairs(*sets, {"train": 3, "validation": 0}), encoded, data)
    write_report(result, encoded["train"], data, tmp_path)
    return result


def test_counts_equal_those_made_by_hand(report):
    train, validation = report.splits.train, report.splits.validation
    assert (train.pairs, train.skipped_empty, train.duplicate_documents) == (5, 3, 1)
    assert (train.documents_cut, train.summaries_cut) == (1, 1)
    assert train.document_tokens == [4, 26, 31]  # 2 3 4 4 31: the 95th percentile lies 0.8 of the way from 4 to 31
    assert (validation.pairs, report.leaks) == (2, 1)
    warnings = " ".join(report.warnings)
    for words in ("1 validation documents are in the training set", "2 validation pairs", "duplicates", "are cut"):
        assert words in warnings


def test_report_is_written_with_its_histogram(report, tmp_path):
    page = (tmp_path / "data.md").read_text()
    assert "| documents cut | 1 (20.0%) | 0 (0.0%) |" in page
    assert "data.png" in page
    assert (tmp_path / "data.png").stat().st_size > 5000


def test_run_folder_holds_the_report(tiny_run):
    report = json.loads((tiny_run / "run.json").read_text())["data"]["report"]
    assert report["splits"]["train"]["language"] == "en"
    assert report["splits"]["train"]["documents_cut"] == 40
    assert {"data.md", "data.png"} <= {path.name for path in tiny_run.iterdir()}

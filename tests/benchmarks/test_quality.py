"""The quality benchmark: its measures by hand, and the command on a small set."""

import json
import sys

import pytest

from benchmarks import quality
from tests.conftest import gazette, write_jsonl


def test_row_of_the_table_by_hand():
    row = quality.measure(["a cat sat", "a dog"], [("A cat sat.", "a cat sat"), ("None.", "a dog ran off")])
    # The second: precision 1, recall 2/4.
    assert row["rouge1"] == pytest.approx(100 * (1 + 2 / 3) / 2, abs=0.01)
    assert row["words"] == 2.5


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    rows = gazette("validation")[:4]
    return write_jsonl(tmp_path_factory.mktemp("quality") / "small.jsonl", rows)


def test_command_prints_and_writes_every_system(tiny_run, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "RESULTS", tmp_path / "quality.json")
    monkeypatch.setattr(quality, "GAZETTE", small)
    monkeypatch.setattr(sys, "argv", ["quality", str(tiny_run), f"again={small}"])
    assert quality.main() == 0
    result = json.loads((tmp_path / "quality.json").read_text())
    assert list(result["sets"]) == ["Gazette validation", "again"]
    for part in result["sets"].values():
        assert part["documents"] == 4
        assert list(part["systems"]) == ["lead", "longest", "central", "best", "base", "finetuned"]
        assert part["systems"]["best"]["rouge1"] > part["systems"]["longest"]["rouge1"]
        low, high = part["systems"]["lead"]["ci95"]["rouge1"]
        assert low <= part["systems"]["lead"]["rouge1"] <= high
    assert "finetuned" in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["no-equals-sign", "set=/nowhere.jsonl"])
def test_wrong_set_is_one_sentence(tiny_run, monkeypatch, capsys, argument):
    monkeypatch.setattr(sys, "argv", ["quality", str(tiny_run), argument])
    assert quality.main() == 1
    assert argument.split("=")[-1] in capsys.readouterr().err

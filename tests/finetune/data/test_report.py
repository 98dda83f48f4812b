"""The data report: each count by hand, languages, folders of text, and scripts on the hub."""

import pytest
from datasets import Dataset

from finetune.data.language import language_of
from finetune.data.loading import Pairs, load_pairs
from finetune.data.report import report, write
from finetune.errors import UserError
from finetune.recipe import Data
from tests.conftest import gazette, write_jsonl

TEXTS = {
    "English": "The council met on Tuesday and agreed that the old bridge would be closed until the summer.",
    "German": "Der Rat hat am Dienstag beschlossen, dass die alte Brücke nicht mehr befahren werden darf.",
    "French": "Le conseil a décidé mardi que le vieux pont sera fermé pour des travaux et les cars ne passent pas.",
    "Spanish": "El consejo decidió que el puente se cierre para las obras y que los coches no pasen por él.",
    "Italian": "Il consiglio ha deciso che il ponte della città sarà chiuso per i lavori e non si può passare.",
    "Dutch": "De raad heeft besloten dat het oude stuk van de brug niet meer open is en dat er een nieuwe komt.",
    "Swedish": "Rådet beslutade att den gamla bron ska stängas för reparation och att det inte går att köra där.",
    "Russian or another in Cyrillic": "Совет решил во вторник закрыть старый мост на ремонт до лета.",
    "Japanese": "市議会は火曜日に古い橋を夏まで修理のために閉鎖することを決めた。",
    "Chinese or Japanese": "市议会星期二决定关闭旧桥进行维修直到夏天。",
    "unclear": "17 44 2019 81.5 3 99",
}


@pytest.mark.parametrize("language", TEXTS)
def test_the_language_is_guessed(language):
    assert language_of([TEXTS[language]] * 3) == language


def test_a_list_of_names_is_unclear():
    assert language_of(["Vallby Muskego Draycott Elias Kowalczyk Ferreira Nakamura"]) == "unclear"


@pytest.fixture
def found(tmp_path):
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
    found = report(Pairs(*sets, {"train": 3, "validation": 0}), encoded, data)
    write(found, encoded, data, tmp_path)
    return found


def test_every_count_is_the_one_by_hand(found):
    train, validation = found.splits["train"], found.splits["validation"]
    assert (train.pairs, train.left_out_empty, train.duplicate_documents) == (5, 3, 1)
    assert (train.documents_cut, train.summaries_cut) == (1, 1)
    assert train.document_tokens == [4, 26, 31]  # 2 3 4 4 31: the 95th percentile lies 0.8 of the way from 4 to 31
    assert (validation.pairs, found.leaks) == (2, 1)
    told = " ".join(found.warnings)
    for word in ("1 validation documents are in the training set", "2 validation pairs", "come again", "are cut"):
        assert word in told


def test_the_report_is_written_with_its_histogram(found, tmp_path):
    page = (tmp_path / "data.md").read_text()
    assert "| documents cut | 1 (20.0%) | 0 (0.0%) |" in page
    assert "data.png" in page
    assert (tmp_path / "data.png").stat().st_size > 5000


def test_a_run_holds_its_report(tiny_run):
    import json

    told = json.loads((tiny_run / "run.json").read_text())["data"]["report"]
    assert told["splits"]["train"]["language"] == "English"
    assert told["splits"]["train"]["documents_cut"] == 40
    assert {"data.md", "data.png"} <= {path.name for path in tiny_run.iterdir()}


def test_a_folder_of_text_pairs_is_read(tmp_path):
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


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "documents/NAME.txt"),
        ({"documents/a.txt": b"x"}, "summaries/a.txt is missing"),
        ({"documents/a.txt": b"x", "summaries/a.txt": b"y", "summaries/b.txt": b"y"}, "documents/b.txt is missing"),
        ({"documents/a.txt": b"\xff\xfe", "summaries/a.txt": b"y"}, "a.txt is not UTF-8"),
    ],
)
def test_a_broken_folder_is_one_sentence(tmp_path, files, named):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=named) as error:
        load_pairs(Data(train=str(tmp_path)), seed=0)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("data.train: ")


def test_a_longer_file_moves_no_document_to_the_other_side(tmp_path):
    rows = gazette("train")[:200]
    few = load_pairs(Data(train=str(write_jsonl(tmp_path / "few.jsonl", rows[:100]))), seed=0)
    all_of_them = load_pairs(Data(train=str(write_jsonl(tmp_path / "all.jsonl", rows))), seed=0)
    assert set(few.validation["document"]) <= set(all_of_them.validation["document"])
    assert set(few.train["document"]) <= set(all_of_them.train["document"])

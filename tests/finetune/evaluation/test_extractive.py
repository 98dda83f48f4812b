"""Source sentences as targets: what is learned from the pairs, within what is read, for the share asked for."""

import json
import random

import pytest
from datasets import Dataset
from rouge_score import rouge_scorer
from transformers import AutoTokenizer

from finetune.__main__ import main
from finetune.evaluation.extractive import Picker, with_extracts
from precis.text.sentences import split_sentences
from tests.conftest import ROOT, gazette

PREFIX = "summarize: "


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ROOT / "models/base")


def pairs(rows) -> Dataset:
    return Dataset.from_dict({key: [row[key] for row in rows] for key in ("document", "summary")})


def test_what_it_learns_to_pick_is_nearer_to_unseen_summaries_than_the_lead():
    train, unseen = gazette("train")[:300], gazette("validation")
    picker = Picker([split_sentences(row["document"]) for row in train], [row["summary"] for row in train])
    scorer = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)

    def score(pick) -> float:
        return sum(scorer.score(r["summary"], pick(split_sentences(r["document"])))["rouge1"].fmeasure for r in unseen)

    assert score(picker.pick) > score(lambda found: found[0]) + 0.02 * len(unseen)
    assert all(8 <= len(picker.pick(split_sentences(row["document"])).split()) <= 45 for row in unseen)


@pytest.mark.parametrize("place", [0, 2])
def test_it_learns_where_summaries_come_from(place):
    draw = random.Random(7)

    def document() -> list[str]:
        return [" ".join(draw.choices([f"w{i}" for i in range(3000)], k=12)) + "." for _ in range(6)]

    documents = [document() for _ in range(40)]
    picker = Picker(documents, [found[place] for found in documents])
    assert all(picker.pick(found) == found[place] for found in (document() for _ in range(10)))


def test_a_sentence_beyond_what_is_read_is_not_chosen(tokenizer):
    summary = "The old bridge at Vallby will close for repairs in June this year."
    document = "Councillors met on Tuesday evening to talk about many of the roads. " * 4 + summary
    whole, _ = with_extracts(pairs([{"document": document, "summary": summary}]), 1.0, tokenizer, PREFIX, 4096)
    cut_to = len(tokenizer(PREFIX + document).input_ids) - 3
    cut, _ = with_extracts(pairs([{"document": document, "summary": summary}]), 1.0, tokenizer, PREFIX, cut_to)
    assert whole["summary"][0] == summary
    assert cut["summary"][0].startswith("Councillors met")


def test_a_document_without_a_fitting_sentence_keeps_its_summary(tokenizer):
    row = {"document": "Too short. " * 20 + "word " * 60, "summary": "Mine."}
    found, count = with_extracts(pairs([row]), 1.0, tokenizer, PREFIX, 512)
    assert (list(found["summary"]), count) == (["Mine."], 0)


def test_the_share_is_kept_and_the_choice_is_the_documents_own(tokenizer):
    rows = gazette("train")[:400]
    few, half = (with_extracts(pairs(rows), share, tokenizer, PREFIX, 128) for share in (0.2, 0.5))
    assert 0.15 < few[1] / 400 < 0.25
    assert 0.42 < half[1] / 400 < 0.58
    backwards, _ = with_extracts(pairs(rows[::-1]), 0.5, tokenizer, PREFIX, 128)
    assert list(backwards["summary"])[::-1] == list(half[0]["summary"])
    kept = [row["summary"] == target for row, target in zip(rows, half[0]["summary"], strict=True)]
    assert sum(kept) == 400 - half[1]


def test_a_run_trains_on_them_and_counts_them(tiny_recipe, tiny_run, tmp_path):
    run = tmp_path / "run"
    assert main([str(tiny_recipe), f"output={run}", "data.extractive_share=1", "data.validation_documents=4"]) == 0
    counts, plain = (json.loads((folder / "run.json").read_text())["data"] for folder in (run, tiny_run))
    assert (plain["extracts"], plain["train_pairs"]) == (0, 40)
    assert 30 <= counts["extracts"] <= 40
    weights, others = ((folder / "merged/model.safetensors").read_bytes() for folder in (run, tiny_run))
    assert weights != others

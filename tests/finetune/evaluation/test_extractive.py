"""Extractive targets: the selector, the part of a document that the model reads, and the share of the pairs."""

import json
import random

import pytest
from datasets import Dataset
from rouge_score import rouge_scorer
from transformers import AutoTokenizer

from finetune.__main__ import main
from finetune.evaluation.extractive import SentenceSelector, use_extractive_targets
from finetune.recipe import Recipe
from precis.text.sentences import split_sentences
from tests.conftest import ROOT, gazette

PREFIX = "summarize: "


def recipe(share: float, max_document_tokens: int) -> Recipe:
    data = {"train": "unused.jsonl", "extractive_share": share, "max_document_tokens": max_document_tokens}
    return Recipe(model={"name": "unused", "prefix": PREFIX}, data=data)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ROOT / "models/base")


def pairs(rows) -> Dataset:
    return Dataset.from_dict({key: [row[key] for row in rows] for key in ("document", "summary")})


def test_selected_sentences_score_higher_on_unseen_pairs_than_the_first_sentence():
    train, unseen = gazette("train")[:300], gazette("validation")
    selector = SentenceSelector([split_sentences(row["document"]) for row in train], [row["summary"] for row in train])
    scorer = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)

    def score(select) -> float:
        selected = [(row["summary"], select(split_sentences(row["document"]))) for row in unseen]
        return sum(scorer.score(*pair)["rouge1"].fmeasure for pair in selected)

    assert score(selector.select) > score(lambda document: document[0]) + 0.02 * len(unseen)
    assert all(8 <= len(selector.select(split_sentences(row["document"])).split()) <= 45 for row in unseen)


@pytest.mark.parametrize("place", [0, 2])
def test_selector_learns_the_position_of_the_summary(place):
    draw = random.Random(7)

    def document() -> list[str]:
        return [" ".join(draw.choices([f"w{i}" for i in range(3000)], k=12)) + "." for _ in range(6)]

    documents = [document() for _ in range(40)]
    selector = SentenceSelector(documents, [sentences[place] for sentences in documents])
    assert all(selector.select(unseen) == unseen[place] for unseen in (document() for _ in range(10)))


def test_sentence_beyond_the_input_limit_is_not_selected(tokenizer):
    summary = "The old bridge at Vallby will close for repairs in June this year."
    document = "Councillors met on Tuesday evening to talk about many of the roads. " * 4 + summary
    rows = pairs([{"document": document, "summary": summary}])
    replaced, _ = use_extractive_targets(rows, tokenizer, recipe(1.0, 4096))
    limit = len(tokenizer(PREFIX + document).input_ids) - 3
    truncated, _ = use_extractive_targets(rows, tokenizer, recipe(1.0, limit))
    assert replaced["summary"][0] == summary
    assert truncated["summary"][0].startswith("Councillors met")


def test_document_without_a_candidate_keeps_its_summary(tokenizer):
    row = {"document": "Too short. " * 20 + "word " * 60, "summary": "Mine."}
    result, count = use_extractive_targets(pairs([row]), tokenizer, recipe(1.0, 512))
    assert (list(result["summary"]), count) == (["Mine."], 0)


def test_share_is_kept_and_depends_on_the_document_only(tokenizer):
    rows = gazette("train")[:400]
    few, half = (use_extractive_targets(pairs(rows), tokenizer, recipe(share, 128)) for share in (0.2, 0.5))
    assert 0.15 < few[1] / 400 < 0.25
    assert 0.42 < half[1] / 400 < 0.58
    backwards, _ = use_extractive_targets(pairs(rows[::-1]), tokenizer, recipe(0.5, 128))
    assert list(backwards["summary"])[::-1] == list(half[0]["summary"])
    unchanged = [row["summary"] == target for row, target in zip(rows, half[0]["summary"], strict=True)]
    assert sum(unchanged) == 400 - half[1]


def test_run_trains_on_extractive_targets_and_counts_them(tiny_recipe, tiny_run, tmp_path):
    run = tmp_path / "run"
    assert main([str(tiny_recipe), f"output={run}", "data.extractive_share=1", "data.validation_documents=4"]) == 0
    counts, plain = (json.loads((folder / "run.json").read_text())["data"] for folder in (run, tiny_run))
    assert (plain["extracts"], plain["train_pairs"]) == (0, 40)
    assert 30 <= counts["extracts"] <= 40
    weights, others = ((folder / "merged/model.safetensors").read_bytes() for folder in (run, tiny_run))
    assert weights != others

"""The targets of the objective `extract`."""

import pytest
from datasets import Dataset

from finetune.data.loading import load_pairs
from finetune.data.sentence_targets import ranked_pairs, use_sentence_targets
from finetune.data.tokenizing import tokenize_pairs
from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.training.model import load_tokenizer
from finetune.training.sentence_ranker_fit import fit_features
from precis.text.candidates import candidate_sentences
from tests.conftest import ROOT, gazette, write_jsonl


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(ROOT / "models/base", "base")


def with_targets(rows: list[dict], tokenizer, limit: int = 512) -> Dataset:
    recipe = Recipe(
        model={"name": "unused"},
        data={"train": "unused.jsonl", "max_document_tokens": limit},
        training={"objective": "extract"},
    )
    pairs = Dataset.from_dict({key: [row[key] for row in rows] for key in ("document", "summary")})
    weights = fit_features(ranked_pairs(pairs, tokenizer, recipe))
    return use_sentence_targets(pairs, weights, tokenizer, recipe)


def test_targets_are_sentences_of_the_part_that_is_read(tokenizer):
    rows = gazette("train")[:60]
    pairs = with_targets(rows, tokenizer, limit=128)
    assert pairs["document"] == [row["document"] for row in rows]
    for row in pairs:
        tokens = tokenizer("summarize: " + row["document"], truncation=True, max_length=128).input_ids
        read = " ".join(tokenizer.decode(tokens, skip_special_tokens=True).split())
        assert row["summary"] in read
        assert row["summary"] in [candidate.text for candidate in candidate_sentences(row["document"])]


def test_targets_of_a_set_on_disk_are_on_disk(tokenizer, tmp_path):
    path = write_jsonl(tmp_path / "own.jsonl", gazette("train")[:60])
    recipe = Recipe(model={"name": "unused"}, data={"train": str(path)}, training={"objective": "extract"})
    pairs = load_pairs(recipe.data, 0).train
    weights = fit_features(ranked_pairs(pairs, tokenizer, recipe))
    targets = use_sentence_targets(pairs, weights, tokenizer, recipe)
    assert targets.cache_files
    assert tokenize_pairs(targets, tokenizer, recipe).cache_files


def test_document_without_a_choice_has_its_sentence_or_keeps_its_summary(tokenizer):
    single = {"document": "The bridge at Vallby will close for repairs in June.", "summary": "A bridge will close."}
    pairs = with_targets([*gazette("train")[:6], single], tokenizer)
    assert pairs["summary"][-1] == single["document"]
    with pytest.raises(UserError, match="no training document has two sentences"):
        with_targets([single], tokenizer)

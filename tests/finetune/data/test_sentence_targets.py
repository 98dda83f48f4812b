"""The targets of the objective `extract`, and what their prior learns."""

import random

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from finetune.data.sentence_targets import SentencePrior, use_sentence_targets
from finetune.errors import UserError
from finetune.evaluation.baselines import mean_rouge
from finetune.recipe import Recipe
from precis.text.candidates import candidate_sentences
from tests.conftest import ROOT, gazette


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ROOT / "models/base")


def with_targets(rows: list[dict], tokenizer, limit: int = 512) -> Dataset:
    recipe = Recipe(
        model={"name": "unused"},
        data={"train": "unused.jsonl", "max_document_tokens": limit},
        training={"objective": "extract"},
    )
    pairs = Dataset.from_dict({key: [row[key] for row in rows] for key in ("document", "summary")})
    return use_sentence_targets(pairs, tokenizer, recipe)


@pytest.mark.parametrize("place", [0, 2])
def test_prior_learns_the_position_of_the_best_sentence(place):
    draw = random.Random(7)

    def document() -> list[str]:
        return [" ".join(draw.choices([f"w{i}" for i in range(3000)], k=12)) + "." for _ in range(6)]

    rewards = [[float(index == place) for index in range(6)] for _ in range(40)]
    prior = SentencePrior([document() for _ in range(40)], rewards)
    for _ in range(10):
        probabilities = prior.probabilities(document())
        assert probabilities.argmax() == place
        assert probabilities.sum() == pytest.approx(1, abs=1e-6)


def test_prior_without_anything_to_learn_is_even():
    """Equal rewards: the fitted distribution is the even one, whatever the sentences."""
    documents = [["One two three four five.", "Six seven eight nine ten eleven?", "He is there."]] * 5
    prior = SentencePrior(documents, [[0.2] * 3] * 5)
    unseen = prior.probabilities(["Another text here.", "And more of it."])
    assert unseen.tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


def test_targets_choose_better_than_the_first_sentence_on_unseen_pairs(tokenizer):
    train, unseen = gazette("train")[:150], gazette("validation")[:100]
    texts = [[c.text for c in candidate_sentences(row["document"])] for row in train]
    prior = SentencePrior(texts, [mean_rouge(t, row["summary"]) for t, row in zip(texts, train, strict=True)])
    first = chosen = 0.0
    for row in unseen:
        sentences = [c.text for c in candidate_sentences(row["document"])]
        rewards = mean_rouge(sentences, row["summary"])
        first, chosen = first + rewards[0], chosen + rewards[int(prior.probabilities(sentences).argmax())]
    assert chosen > first + 0.01 * len(unseen)


def test_targets_are_sentences_of_the_part_that_is_read(tokenizer):
    rows = gazette("train")[:20]
    pairs = with_targets(rows, tokenizer, limit=128)
    assert pairs["document"] == [row["document"] for row in rows]
    for row in pairs:
        tokens = tokenizer("summarize: " + row["document"], truncation=True, max_length=128).input_ids
        read = " ".join(tokenizer.decode(tokens, skip_special_tokens=True).split())
        assert row["summary"] in read
        assert row["summary"] in [candidate.text for candidate in candidate_sentences(row["document"])]


def test_document_without_a_choice_has_its_sentence_or_keeps_its_summary(tokenizer):
    single = {"document": "The bridge at Vallby will close for repairs in June.", "summary": "A bridge will close."}
    pairs = with_targets([*gazette("train")[:6], single], tokenizer)
    assert pairs["summary"][-1] == single["document"]
    with pytest.raises(UserError, match="no training document has two sentences"):
        with_targets([single], tokenizer)

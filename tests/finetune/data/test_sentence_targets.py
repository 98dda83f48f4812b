"""The targets of the objective `rank`: what the prior learns, and the rows."""

import random

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from finetune.data.loading import Pairs
from finetune.data.sentence_targets import MAX_SENTENCES, PRIOR_SHARE, SentencePrior, ranking_rows
from finetune.data.tokenizing import tokenize_pairs
from finetune.errors import UserError
from finetune.evaluation.baselines import mean_rouge
from finetune.recipe import Recipe
from precis.text.candidates import candidate_sentences
from tests.conftest import ROOT, gazette


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ROOT / "models/base")


def rows_of(train: list[dict], validation: list[dict], tokenizer, limit: int = 512) -> tuple[Dataset, Dataset]:
    recipe = Recipe(
        model={"name": "unused"},
        data={"train": "unused.jsonl", "max_document_tokens": limit},
        training={"objective": "rank"},
    )
    splits = [
        Dataset.from_dict({key: [row[key] for row in rows] for key in ("document", "summary")})
        for rows in (train, validation)
    ]
    tokenized = tuple(tokenize_pairs(split, tokenizer, recipe) for split in splits)
    return ranking_rows(Pairs(*splits, dropped={}), tokenized, tokenizer, recipe)


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
    """The prior alone, since the rewards of the validation rows are known to the target's other half."""
    train, unseen = gazette("train")[:150], gazette("validation")[:100]
    texts = [[c.text for c in candidate_sentences(row["document"])] for row in train]
    prior = SentencePrior(texts, [mean_rouge(t, row["summary"]) for t, row in zip(texts, train, strict=True)])
    first = chosen = 0.0
    for row in unseen:
        sentences = [c.text for c in candidate_sentences(row["document"])]
        rewards = mean_rouge(sentences, row["summary"])
        first, chosen = first + rewards[0], chosen + rewards[int(prior.probabilities(sentences).argmax())]
    assert chosen > first + 0.01 * len(unseen)


def test_rows_hold_sentences_of_the_part_that_is_read_and_their_targets(tokenizer):
    rows = gazette("train")[:20]
    train, validation = rows_of(rows, rows[:4], tokenizer, limit=128)
    assert train["input_ids"][:4] == validation["input_ids"]
    for row, source in zip(train, rows, strict=True):
        assert len(row["input_ids"]) <= 128
        assert 2 <= len(row["sentences"]) == len(row["targets"]) <= MAX_SENTENCES
        assert sum(row["targets"]) == pytest.approx(1)
        read = " ".join(tokenizer.decode(row["input_ids"], skip_special_tokens=True).split())
        texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in row["sentences"]]
        assert all(text in read for text in texts)
        assert all(tokens[-1] == tokenizer.eos_token_id for tokens in row["sentences"])
        # Half of the target is the softmax of the rewards, so that the best sentence has at least its share of that.
        rewards = torch.tensor(mean_rouge(texts, source["summary"])) / 0.05
        share = rewards.softmax(0).max().item()
        assert row["targets"][int(rewards.argmax())] >= (1 - PRIOR_SHARE) * share * 0.5
    assert set(train.column_names) == {"input_ids", "sentences", "targets", "document_tokens", "summary_tokens"}


def test_documents_without_a_choice_are_left_out(tokenizer):
    rows = gazette("train")[:6]
    single = {"document": "The bridge at Vallby will close for repairs in June.", "summary": "A bridge will close."}
    train, _ = rows_of([*rows, single], rows[:2], tokenizer)
    assert len(train) == 6
    with pytest.raises(UserError, match="no training document has two sentences"):
        rows_of([single], rows[:2], tokenizer)
    with pytest.raises(UserError, match="no validation document has two sentences"):
        rows_of(rows, [single], tokenizer)

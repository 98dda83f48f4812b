"""The fit of a sentence ranker: what it learns, from features and from states, and how it stays near its start."""

import random

import pytest
import torch

from finetune.data.sentence_targets import RankedPair, ranked_pairs
from finetune.evaluation.baselines import mean_rouge
from finetune.evaluation.ranking import Source, encode_source
from finetune.evaluation.sentence_ranker import SentenceRanker
from finetune.recipe import Recipe
from finetune.training.model import load_base
from finetune.training.sentence_ranker_fit import Penalties, fit_features, fit_sentence_ranker
from precis.text.candidates import Candidate
from precis.text.sentence_features import FEATURES, feature_scores
from tests.conftest import ROOT, gazette

RECIPE = Recipe(model={"name": str(ROOT / "models/base")}, data={"train": "unused.jsonl", "max_document_tokens": 192})


@pytest.fixture(scope="module")
def base():
    return load_base(RECIPE.model)


def pair(sentences: list[str], rewards: list[float]) -> RankedPair:
    """A document of these sentences; its tokens are made up, a few for each sentence."""
    candidates = [Candidate(0, len(text), text) for text in sentences]
    spans = [(3 * index, 3 * index + 3) for index in range(len(sentences))]
    tokens = [(ord(text[0]) * 7 + place) % 900 + 100 for text in sentences for place in range(3)]
    return RankedPair(Source([*tokens, 1], candidates, spans), rewards)


@pytest.mark.parametrize("place", [0, 2])
def test_features_learn_the_position_of_the_best_sentence(place):
    draw = random.Random(7)

    def document() -> list[str]:
        return [" ".join(draw.choices([f"w{i}" for i in range(3000)], k=12)) + "." for _ in range(6)]

    weights = fit_features([pair(document(), [float(index == place) for index in range(6)]) for _ in range(40)])
    for _ in range(10):
        scores = feature_scores(document(), weights)
        assert scores.index(max(scores)) == place


def test_features_without_anything_to_learn_are_even():
    sentences = ["One two three four five.", "Six seven eight nine ten eleven?", "He is there."]
    weights = fit_features([pair(sentences, [0.2] * 3)] * 5)
    assert list(weights.values()) == pytest.approx([0.0] * len(FEATURES), abs=1e-4)


def test_states_learn_what_features_cannot_see(base):
    """Which of two sentences of equal form is about the harbour."""
    model, tokenizer = base
    people = ["A teacher", "A farmer", "The mayor", "A doctor", "The owner", "A student", "The nurse", "A painter"]
    draw = random.Random(5)

    def example(names: list[str]) -> RankedPair:
        texts = [f"{draw.choice(names)} talked about the {place} all day long." for place in ("harbour", "orchard")]
        rewards = [1.0, 0.0]
        if draw.random() < 0.5:
            texts.reverse()
            rewards.reverse()
        return RankedPair(encode_source(tokenizer, " ".join(texts), RECIPE), rewards)

    train = [example(people[:4]) for _ in range(30)]
    ranker = fit_sentence_ranker(model, train, None, Penalties(features=1e-2, states=1e-3))
    with torch.inference_mode():
        for item in [example(people[4:]) for _ in range(12)]:
            scores = ranker.scores(model, item.source.input_ids, item.source.token_spans, item.sentences)
            assert scores.argmax() == item.rewards.index(1.0)


def test_penalty_holds_the_ranker_at_its_start(base):
    model, tokenizer = base
    rows = gazette("train")[:8]
    pairs = [
        RankedPair(source, mean_rouge([c.text for c in source.candidates], row["summary"]))
        for row in rows
        if len((source := encode_source(tokenizer, row["document"], RECIPE)).candidates) > 1
    ]
    start = SentenceRanker(features={"first": 2.0, "length": -1.0}, encoder=[0.01] * model.config.d_model)
    held = fit_sentence_ranker(model, pairs, start, Penalties(1e6, 1e6))
    assert held.features["first"] == pytest.approx(2.0, abs=1e-3)
    assert held.features["question"] == pytest.approx(0.0, abs=1e-3)
    assert held.encoder == pytest.approx(start.encoder, abs=1e-3)
    free = fit_sentence_ranker(model, pairs, start, Penalties(1e-4, 1e-4))
    assert abs(free.features["first"] - 2.0) > 0.1


def test_fitted_features_choose_better_than_the_first_sentence_on_unseen_pairs(base):
    from datasets import Dataset

    _, tokenizer = base

    def pairs_of(rows: list[dict]) -> list[RankedPair]:
        columns = {key: [row[key] for row in rows] for key in ("document", "summary")}
        return ranked_pairs(Dataset.from_dict(columns), tokenizer, RECIPE)

    weights = fit_features(pairs_of(gazette("train")[:150]))
    unseen = pairs_of(gazette("validation")[:100])
    first = best = 0.0
    for item in unseen:
        scores = feature_scores(item.sentences, weights)
        first, best = first + item.rewards[0], best + item.rewards[scores.index(max(scores))]
    assert best > first + 0.01 * len(unseen)

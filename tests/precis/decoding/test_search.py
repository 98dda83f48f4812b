"""Greedy and beam search against transformers' `generate`, token by token and score by score."""

import pytest

from precis import GenerationParams
from tests.support.engines import SETTINGS, TEXTS, assert_batch_equals_transformers, reference_scores, settings_id


@pytest.mark.parametrize("settings", SETTINGS, ids=settings_id)
def test_batch_equals_transformers_on_each_text_alone(pair, settings):
    assert_batch_equals_transformers(*pair, settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=settings_id)
def test_scores_are_the_mean_and_the_least_of_transformers_transition_scores(pair, settings):
    model, tokenizer, engine = pair
    params = GenerationParams(**settings, long_text="truncate", passthrough=False)
    for text, summary in zip(TEXTS, engine.generate(TEXTS, params), strict=True):
        expected = reference_scores(model, tokenizer, text, settings)
        assert summary.score == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        assert summary.min_token_score == pytest.approx(min(expected), abs=1e-4)

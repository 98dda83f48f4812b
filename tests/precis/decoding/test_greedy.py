"""Greedy search against transformers' `generate`, token by token."""

import numpy as np
import pytest
import torch

from precis import GenerationParams
from precis.decoding.greedy import GreedySearch
from precis.params import resolve
from tests.support.engines import GREEDY_SETTINGS, ODD, TEXTS, reference, reference_scores, settings_id

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


@pytest.mark.parametrize("settings", GREEDY_SETTINGS, ids=settings_id)
def test_batch_equals_transformers_on_each_text_alone(pair, settings):
    model, tokenizer, engine = pair
    texts = [*TEXTS, ODD * 4]
    summaries = engine.generate(texts, GenerationParams(**settings, long_text="truncate", passthrough=False))
    for text, summary in zip(texts, summaries, strict=True):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)
        assert summary.output_tokens == len(summary.token_ids)


@pytest.mark.parametrize(
    ("params", "config", "expected"),
    [
        ({}, {}, [-1, -1, -1]),
        ({"min_new_tokens": 2}, {}, [1, 1, -1]),
        ({"min_new_tokens": 2}, {"eos_token_id": [1, 2]}, [None, None, -1]),
        ({"no_repeat_ngram_size": 2}, {}, [None, None, None]),
        ({}, {"suppress_tokens": [5]}, [None, None, None]),
    ],
    ids=str,
)
def test_token_that_a_graph_may_not_choose(params, config, expected):
    search = GreedySearch(resolve(GenerationParams(**params), CONFIG | config))
    for token in expected:
        assert search.suppressed_token == token
        search.append(7, -1.0)


@pytest.mark.parametrize("shift", [0.0, 59.0, -59.0, 500.0, -500.0, -1e30])
def test_log_probability_of_logits_of_any_size(shift):
    logits = np.array([[1.0, 3.0, -2.0, 0.5]], dtype=np.float32)
    search = GreedySearch(resolve(GenerationParams(), CONFIG))
    expected = float(torch.tensor(logits + np.float32(shift)).double().log_softmax(-1)[0].max())
    search.advance(logits[0] + np.float32(shift))
    assert search.score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", GREEDY_SETTINGS, ids=settings_id)
def test_scores_are_the_mean_and_the_least_of_transformers_transition_scores(pair, settings):
    model, tokenizer, engine = pair
    params = GenerationParams(**settings, long_text="truncate", passthrough=False)
    for text, summary in zip(TEXTS, engine.generate(TEXTS, params), strict=True):
        expected = reference_scores(model, tokenizer, text, settings)
        assert summary.score == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        assert summary.min_token_score == pytest.approx(min(expected), abs=1e-4)

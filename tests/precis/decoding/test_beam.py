"""Beam search against transformers' `generate`, the tokens that it streams, and `top_k`."""

from itertools import pairwise

import numpy as np
import pytest

from precis import GenerationParams
from precis.decoding.beam import BeamSearch, top_k
from precis.params import resolve
from tests.support.engines import BEAM_SETTINGS, ODD, TEXTS, reference, reference_scores, settings_id


@pytest.mark.parametrize("settings", BEAM_SETTINGS, ids=settings_id)
def test_batch_equals_transformers_on_each_text_alone(pair, settings):
    model, tokenizer, engine = pair
    texts = [*TEXTS, ODD * 4]
    summaries = engine.generate(texts, GenerationParams(**settings, long_text="truncate", passthrough=False))
    for text, summary in zip(texts, summaries, strict=True):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)
        assert summary.output_tokens == len(summary.token_ids)


@pytest.mark.parametrize("settings", BEAM_SETTINGS, ids=settings_id)
def test_scores_are_the_mean_and_the_least_of_transformers_transition_scores(pair, settings):
    model, tokenizer, engine = pair
    params = GenerationParams(**settings, long_text="truncate", passthrough=False)
    for text, summary in zip(TEXTS, engine.generate(TEXTS, params), strict=True):
        expected = reference_scores(model, tokenizer, text, settings)
        assert summary.score == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        assert summary.min_token_score == pytest.approx(min(expected), abs=1e-4)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_streamed_tokens_are_never_taken_back(early_stopping):
    config = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    params = resolve(GenerationParams(num_beams=3, max_new_tokens=20, early_stopping=early_stopping), config)
    random, searches_with_early_tokens = np.random.default_rng(5), 0
    for _ in range(40):
        search, streamed = BeamSearch(params), [[]]
        while not search.finished:
            search.advance(random.normal(scale=3, size=(3, 40)).astype(np.float32))
            streamed.append(search.token_ids())
        assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(streamed))
        searches_with_early_tokens += any(streamed[:-1])
    assert searches_with_early_tokens > 20


@pytest.mark.parametrize(("size", "k"), [(1, 4), (20, 4), (129, 3), (1000, 8), (32128, 12), (4 * 32128, 8)])
def test_top_k_is_sorted_and_prefers_the_lower_index_among_equals(size, k):
    random = np.random.default_rng(size)
    for digits in (None, 1, 0):  # more and more equal values
        values = random.standard_normal(size).astype(np.float32)
        values = values if digits is None else values.round(digits)
        values[random.integers(0, size, size // 3)] = -np.inf
        assert top_k(values, k).tolist() == np.lexsort((np.arange(size), -values))[:k].tolist()

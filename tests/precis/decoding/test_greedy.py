"""Greedy search against transformers' `generate`, token by token."""

import pytest

from precis import GenerationParams
from tests.support.engines import GREEDY_SETTINGS, ODD, TEXTS, reference, settings_id


@pytest.mark.parametrize("settings", GREEDY_SETTINGS, ids=settings_id)
def test_batch_equals_transformers_on_each_text_alone(pair, settings):
    model, tokenizer, engine = pair
    texts = [*TEXTS, ODD * 4]
    summaries = engine.generate(texts, GenerationParams(**settings, long_text="truncate", passthrough=False))
    for text, summary in zip(texts, summaries, strict=True):
        assert (summary.token_ids, summary.text) == reference(model, tokenizer, text, settings)
        assert summary.output_tokens == len(summary.token_ids)

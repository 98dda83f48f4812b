"""Scores of many documents against transformers' `compute_transition_scores`; few are in the tests of each search."""

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from precis import GenerationParams
from tests.conftest import ROOT, gazette
from tests.support.engines import reference_scores

DOCUMENTS = [row["document"][:300] for row in gazette("validation")[:50]]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"max_new_tokens": 24}, {"max_new_tokens": 24, "num_beams": 4}], ids=str)
def test_scores_of_fifty_documents_are_transformers(engine, settings):
    model = AutoModelForSeq2SeqLM.from_pretrained(ROOT / "models/base").eval()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")
    params = GenerationParams(**settings, long_text="truncate", passthrough=False)
    for document, summary in zip(DOCUMENTS, engine.generate(DOCUMENTS, params), strict=True):
        expected = reference_scores(model, tokenizer, document, settings)
        assert summary.score == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        # One token has no mean over which rounding cancels out: of document 38 the engine's is 7e-5 and PyTorch's 3e-5
        # from PyTorch's in float64.
        assert summary.min_token_score == pytest.approx(min(expected), abs=3e-4)

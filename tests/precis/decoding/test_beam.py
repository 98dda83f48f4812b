"""Beam search: the tokens that it streams, and generated settings against transformers' `generate`."""

from itertools import pairwise

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from precis import GenerationParams
from precis.decoding.beam import BeamSearch
from precis.decoding.step_logits import StepLogits
from precis.params import MAX_BEAMS, resolve
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.sequence import Sequence
from tests.conftest import ROOT
from tests.support.engines import LIMIT, TEXTS, reference

BASE = ROOT / "models/base"


def test_finished_beams_are_those_of_transformers(engine):
    """As `num_return_sequences` gives them, with their scores."""
    model = AutoModelForSeq2SeqLM.from_pretrained(BASE).eval()
    tokenizer, settings = AutoTokenizer.from_pretrained(BASE), {"max_new_tokens": 16, "num_beams": 4}
    params = resolve(GenerationParams(**settings, rerank="grounding"), engine.bundle.generation_config)
    for text in TEXTS[:4]:
        inputs = tokenizer("summarize: " + text, truncation=True, max_length=LIMIT, return_tensors="pt")
        output = model.generate(
            **inputs, **settings, num_return_sequences=4, return_dict_in_generate=True, output_scores=True
        )
        sequence = Sequence(inputs.input_ids[0].tolist(), params, lambda: False)
        batch = RunningBatch(engine._model, 4, LIMIT)
        assert not batch.admit([sequence])
        while not sequence.finish_reason:
            batch.step()
        expected = [[token for token in row if token not in (0, 1)] for row in output.sequences.tolist()]
        assert [hypothesis.token_ids for hypothesis in sequence.hypotheses] == expected
        scores = [hypothesis.score for hypothesis in sequence.hypotheses]
        assert scores == pytest.approx(output.sequences_scores.tolist(), abs=1e-4)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_streamed_tokens_are_never_taken_back(early_stopping):
    config = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    params = resolve(GenerationParams(num_beams=3, max_new_tokens=20, early_stopping=early_stopping), config)
    random, searches_with_early_tokens = np.random.default_rng(5), 0
    for _ in range(40):
        search, streamed = BeamSearch(params), [[]]
        while not search.finished:
            search.advance(StepLogits.from_logits(random.normal(scale=3, size=(3, 40)).astype(np.float32)))
            streamed.append(search.token_ids())
        assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(streamed))
        searches_with_early_tokens += any(streamed[:-1])
        finished = [hypothesis.token_ids for hypothesis in search.hypotheses]
        assert finished[0] == search.token_ids()
        assert all(tokens[: len(streamed[-2])] == streamed[-2] for tokens in finished), "the answer may be any of them"
    assert searches_with_early_tokens > 20


@hypothesis.settings(
    max_examples=20, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    text=st.sampled_from(TEXTS),
    num_beams=st.integers(2, MAX_BEAMS),
    min_new_tokens=st.integers(0, 9),
    length_penalty=st.sampled_from([-10.0, -3.0, -1.0, 0.0, 0.5, 10.0]) | st.floats(-10, 10),
    early_stopping=st.sampled_from([False, True, "never"]),
)
def test_every_length_penalty_and_minimum_give_the_tokens_of_transformers(pair, text, **settings):
    """With a very negative penalty no finished sequence beats transformers' placeholders, and equal scores decide."""
    model, tokenizer, engine = pair
    settings |= {"max_new_tokens": 9}
    (summary,) = engine.generate([text], GenerationParams(**settings, long_text="truncate", passthrough=False))
    assert summary.token_ids == reference(model, tokenizer, text, settings)[0]

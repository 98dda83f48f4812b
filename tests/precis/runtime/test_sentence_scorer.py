"""The scores of sentences: in passes of a few tokens as in one, with a full source, by both kinds of graphs."""

import pytest
import torch

from finetune.evaluation.ranking import score_sentences
from finetune.recipe import Model
from finetune.training.model import load_base
from precis.bundle.verify import open_bundle
from precis.params import MAX_NEW_TOKENS
from precis.runtime import sentence_scorer
from precis.runtime.model import Seq2SeqModel
from precis.runtime.sentence_scorer import new_sentence_scorer
from tests.conftest import ROOT
from tests.support.engines import LIMIT

SOURCE = [*range(400, 400 + LIMIT - 1), 1]
SENTENCES = [[50, 61, 72, 1], [7] * 11 + [1], [1], [*range(900, 920), 1]]
START = 0


@pytest.fixture(scope="module")
def expected() -> list[float]:
    """The log-probabilities of SENTENCES by PyTorch: the scores without normalization."""
    model, _ = load_base(Model(name=str(ROOT / "models/base")))
    with torch.inference_mode():
        return score_sentences(model.eval(), SOURCE, SENTENCES, 0.0).tolist()


def log_probabilities(folder, sentences) -> list[float]:
    scorer = new_sentence_scorer(Seq2SeqModel(open_bundle(folder), "cpu", 1), LIMIT)
    other, source = scorer.encode([SOURCE[:7], SOURCE])
    results = []
    for text in other, source:  # what was scored before leaves nothing behind
        scorer.begin(text, max(map(len, sentences)))
        results = []
        for first in range(0, len(sentences), scorer.batch_size):
            results += scorer.log_probabilities(sentences[first : first + scorer.batch_size], START)
    return results


@pytest.mark.parametrize("tokens_per_pass", [1, 5, 64])
def test_passes_of_any_size_give_pytorchs_scores(bundle, expected, monkeypatch, tokens_per_pass):
    monkeypatch.setattr(sentence_scorer, "TOKENS_PER_PASS", tokens_per_pass)
    assert log_probabilities(bundle, SENTENCES) == pytest.approx(expected, rel=1e-5)


def test_static_graphs_give_pytorchs_scores(static_bundle, expected):
    assert log_probabilities(static_bundle, SENTENCES * 3) == pytest.approx(expected * 3, rel=1e-5)


def test_a_sentence_may_have_as_many_tokens_as_a_summary(bundle):
    (score,) = log_probabilities(bundle, [[9] * (MAX_NEW_TOKENS - 1) + [1]])
    assert score < 0


def test_large_vocabularies_get_small_passes(bundle, monkeypatch):
    monkeypatch.setattr(sentence_scorer, "MAX_LOGITS", 20_000)
    scorer = new_sentence_scorer(Seq2SeqModel(open_bundle(bundle), "cpu", 1), LIMIT)
    assert scorer._runner.max_tokens_per_step == 1

"""Sentences chosen without a model, by hand."""

import pytest
from rouge_score import rouge_scorer

from finetune.evaluation.baselines import best_sentence, central_sentence, longest_sentence, mean_rouge
from tests.conftest import gazette

DOCUMENT = (
    "The ferry to Holm was late again today. Ferry crews on the Holm line have asked for a new ferry since the spring. "
    "Nobody on the quay had been told why it did not come at all that morning, said a man. Tea was served."
)


def test_longest_is_the_candidate_with_most_words():
    assert longest_sentence(DOCUMENT).startswith("Nobody")
    assert longest_sentence("word " * 60 + ". Six words are in this sentence.") == "Six words are in this sentence."
    assert longest_sentence("") == ""


def test_central_sentence_shares_the_document_s_words():
    text = "Crews want a new boat. The ferry crews want a new ferry boat. Nobody saw the old ferry. Tea was served."
    assert central_sentence(text) == "The ferry crews want a new ferry boat."
    assert central_sentence("") == ""


def test_best_sentence_has_the_highest_rouge():
    rows = gazette("validation")[:5]
    plain = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for row in rows:
        best = best_sentence(row["document"], row["summary"])
        scores = plain.score(row["summary"], best)
        expected = sum(score.fmeasure for score in scores.values()) / 3
        assert mean_rouge([best], row["summary"]) == pytest.approx([expected])
        others = (longest_sentence(row["document"]), central_sentence(row["document"]))
        assert all(value <= expected for value in mean_rouge(list(others), row["summary"]))
    assert best_sentence("", "A summary.") == ""

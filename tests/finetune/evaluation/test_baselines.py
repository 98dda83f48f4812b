"""Sentences chosen without a model, by hand."""

import math

import pytest
from rouge_score import rouge_scorer

from finetune.evaluation.baselines import best_sentence, central_sentence, centrality, longest_sentence, mean_rouge
from tests.conftest import gazette

DOCUMENT = (
    "The ferry to Holm was late again today. Ferry crews on the Holm line have asked for a new ferry since the spring. "
    "Nobody on the quay had been told why it did not come at all that morning, said a man. Tea was served."
)


def test_centrality_by_hand():
    # df: a 2, b 1, c 1 of 2 sentences; weights a: ln(3/2), b and c: ln 3.
    a, b = math.log(3 / 2), math.log(3)
    length = math.sqrt((2 * a) ** 2 + b**2 + b**2)
    expected = (2 * a * a + b * b) / (math.hypot(a, b) * length)
    assert centrality(["a b", "A c."]) == pytest.approx([expected, expected])
    assert centrality(["", "word word"]) == pytest.approx([0.0, 1.0])
    assert centrality([]) == []


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

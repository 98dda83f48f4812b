"""ROUGE and its intervals against values computed by hand."""

import numpy as np
import pytest

from finetune.evaluation.rouge import lead_sentence, mean_interval, mean_scores, rouge_by_document


def test_scores_equal_those_computed_by_hand():
    # 4 of 5 and 4 of 6 words: P=.8 R=2/3; bigrams 2 of 4 and 2 of 5; longest common subsequence of 4.
    scores = rouge_by_document(["the cat sat on mats"], ["the cat was sitting on mat"])
    f1 = lambda p, r: 200 * p * r / (p + r)  # noqa: E731
    # "sat" and "sitting" have different stems, "mats" and "mat" the same: the, cat, on, mat match.
    assert scores["rouge1"][0] == pytest.approx(f1(4 / 5, 4 / 6))
    assert scores["rouge2"][0] == pytest.approx(f1(2 / 4, 2 / 5))
    assert scores["rougeL"][0] == pytest.approx(f1(4 / 5, 4 / 6))


def test_rouge_lsum_compares_sentence_by_sentence():
    scores = rouge_by_document(["b c d. x y z."], ["x y z. b c d."])
    assert scores["rougeLsum"][0] == pytest.approx(100)
    assert scores["rougeL"][0] == pytest.approx(50)


def test_rouge_lsum_reads_a_wrapped_sentence_as_one():
    wrapped = "The council of the town said on Monday evening that all of the\nbridges stay open. It rained."
    scores = rouge_by_document([wrapped], [wrapped.replace("\n", " ")])
    assert scores["rougeLsum"][0] == pytest.approx(100)
    assert lead_sentence(wrapped).endswith("all of the bridges stay open.")


def test_scores_are_in_the_documents_order():
    scores = rouge_by_document(["alpha", "beta", ""], ["alpha", "gamma", "delta"])
    assert scores["rouge1"].tolist() == [100, 0, 0]


def test_lead_sentence_ends_at_a_sentence_end_or_a_line_break():
    assert lead_sentence("It cost $3.50 in all. Then it rose.") == "It cost $3.50 in all."
    assert lead_sentence("A heading\nAnd a text. More.") == "A heading"


def test_interval_equals_the_normal_interval_of_the_mean():
    values = np.random.default_rng(1).normal(30, 10, size=400)
    mean, (low, high) = mean_interval(values)
    error = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert (low, high) == (pytest.approx(mean - error, abs=0.2), pytest.approx(mean + error, abs=0.2))
    assert mean_interval(values) == mean_interval(values)


def test_mean_scores_hold_means_and_intervals():
    scores = mean_scores(rouge_by_document(["a b", "c"], ["a b", "d"]))
    assert scores.rouge1 == 50
    assert scores.ci95["rouge1"] == (0, 100)

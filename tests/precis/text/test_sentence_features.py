"""Features of sentences: values by hand, their sum, and linear time."""

import math
import time

import pytest

from precis.text.sentence_features import FEATURES, centrality, feature_scores, sentence_features

SENTENCES = [
    "The mayor of Vallby will open the new bridge in June.",
    'She said, "We waited for the bridge in Vallby for 12 years!"',
    "Who pays?",
]


def test_centrality_by_hand():
    # df: a 2, b 1, c 1 of 2 sentences; weights a: ln(3/2), b and c: ln 3.
    a, b = math.log(3 / 2), math.log(3)
    length = math.sqrt((2 * a) ** 2 + b**2 + b**2)
    expected = (2 * a * a + b * b) / (math.hypot(a, b) * length)
    assert centrality(["a b", "A c."]) == pytest.approx([expected, expected])
    assert centrality(["", "word word"]) == pytest.approx([0.0, 1.0])
    assert centrality([]) == []


def test_values_by_hand():
    first, second, third = sentence_features(SENTENCES)
    assert tuple(first) == FEATURES
    assert (first["first"], second["first"], second["second"], third["last"]) == (1, 0, 1, 1)
    assert second["place"] == pytest.approx(1 / 3)
    assert first["length"] == pytest.approx(11 / 20)
    assert third["shortness"] == pytest.approx(10 / 12)
    assert (first["longest"], second["longest"], third["longest"]) == (0, 1, 0)
    assert first["names"] == pytest.approx(2 / 3)  # Vallby, June
    assert first["repeated_names"] == pytest.approx(1 / 5)
    assert first["shared_words"] == pytest.approx(2 / 20)  # bridge and vallby, each in one more sentence
    assert (first["later_words"], second["later_words"]) == pytest.approx((2 / 10, 0))
    assert second["numbers"] == pytest.approx(1 / 2)
    assert (first["future"], second["future"]) == (1, 0)
    assert (second["quote"], second["exclamation"], second["personal"], second["back_reference"]) == (1, 1, 1, 1)
    assert third["question"] == 1
    assert sentence_features([]) == []


def test_score_is_the_weighted_sum():
    weights = {"length": 2.0, "question": -1.0}
    expected = [2 * 11 / 20, 2 * 12 / 20, 2 * 2 / 20 - 1]
    assert feature_scores(SENTENCES, weights) == pytest.approx(expected)


def test_time_is_linear_in_the_text():
    def seconds(count: int) -> float:
        sentences = [f"Word{i} and word{i + 1} met the mayor of Vallby, who said so ({i})." for i in range(count)]
        best = math.inf
        for _ in range(3):
            start = time.process_time()
            sentence_features(sentences)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(8000) < 16 * seconds(1000)

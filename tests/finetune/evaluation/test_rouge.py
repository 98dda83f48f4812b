"""ROUGE and its intervals against values computed by hand."""

import unicodedata

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from finetune.evaluation.rouge import ScriptTokenizer, lead_sentence, mean_interval, mean_scores, rouge_by_document
from tests.conftest import gazette


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


ENGLISH = [
    "The café’s owner said: “It’s £3.50 — naïve, isn’t it?”",
    "α-synuclein levels in m² rose; 北京 (Beijing) and Łódź agreed. СССР ended.",
    "Mats sat sitting on the mat, 1,234 times.",
]


def test_texts_in_latin_script_keep_the_scores_of_rouge_score():
    documents = [*ENGLISH, *(row["document"] for row in gazette("validation")[:10])]
    references = [*reversed(ENGLISH), *(row["summary"] for row in gazette("validation")[:10])]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    ours = rouge_by_document(documents, references)
    for i, (document, reference) in enumerate(zip(documents, references, strict=True)):
        for kind, score in scorer.score(reference, document).items():
            assert ours[kind][i] == 100 * score.fmeasure


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("苹果发布iPhone 15手机。", ["苹", "果", "发", "布", "iphon", "15", "手", "机"]),
        ("Президент подписал закон №5.", ["президент", "подписал", "закон", "5"]),
        ("हिन्दी में समाचार", ["हिन्दी", "में", "समाचार"]),
        ("عربي: أخبار ١٢٣", ["عربي", "أخبار", "١٢٣"]),
        ("กรุงไทย", ["ก", "รุ", "ง", "ไ", "ท", "ย"]),
        (unicodedata.normalize("NFD", "한국어 뉴스"), ["한국어", "뉴스"]),
    ],
)
def test_other_scripts_are_divided_into_words_or_characters(text, tokens):
    assert ScriptTokenizer().tokenize(text) == tokens


def test_scores_of_chinese_and_russian_equal_those_computed_by_hand():
    scores = rouge_by_document(["北京下雨", "дом и сад"], ["北京下雪了", "Дом, сад и лес"])
    # 3 of 4 and of 5 characters, 2 of 3 and of 4 pairs; 3 of 3 and of 4 words, no pair, two in order
    assert scores["rouge1"].tolist() == pytest.approx([200 * 3 / 9, 200 * 3 / 7])
    assert scores["rouge2"].tolist() == pytest.approx([200 * 2 / 7, 0])
    assert scores["rougeL"].tolist() == pytest.approx([200 * 3 / 9, 200 * 2 / 7])

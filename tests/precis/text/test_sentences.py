"""Sentences end where a reader would end them, at exact offsets, in linear time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.text.sentences import sentence_spans, split_sentences


def test_sentences_end_where_a_reader_would_end_them():
    text = 'Dr. Lund met Sen. J. K. Ask in the U.S. Capitol. "We agree." They left at 4 p.m. on Jan. 3.'
    assert split_sentences(text + "\nA heading\nIt rained.") == [
        "Dr. Lund met Sen. J. K. Ask in the U.S. Capitol.",
        '"We agree."',
        "They left at 4 p.m. on Jan. 3.",
        "A heading",
        "It rained.",
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It cost $3.50. Then it rose.", ["It cost $3.50.", "Then it rose."]),
        ("no capitals here. none at all.", ["no capitals here.", "none at all."]),
        ("It ended… They left.", ["It ended…", "They left."]),
        ("Well… maybe. Or... perhaps.", ["Well… maybe.", "Or... perhaps."]),
        ("“Stop!” he said. (It did.) Good.", ["“Stop!” he said.", "(It did.)", "Good."]),
        ("Really? Yes! Fine.", ["Really?", "Yes!", "Fine."]),
        ("Fruit, e.g. apples, was sold.", ["Fruit, e.g. apples, was sold."]),
        ("Nothing. É. Piaf sang.", ["Nothing.", "É. Piaf sang."]),
        ("市议会开会。桥要修！好吗？", ["市议会开会。", "桥要修！", "好吗？"]),
        ("「はい。」彼は言った。", ["「はい。」", "彼は言った。"]),
        ("one\r\ntwo\u2028three", ["one", "two", "three"]),
        ("cafe\u0301  is\t open.", ["café is open."]),
        (" \n ", []),
        ("", []),
    ],
)
def test_sentence_ends(text, sentences):
    assert split_sentences(text) == sentences


@given(st.text(max_size=200))
def test_spans_cover_everything_but_whitespace_in_order(text):
    spans = list(sentence_spans(text))
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
    assert spans == sorted(spans)


@pytest.mark.parametrize("text", [".", ". ", ".' ", "A.", ". (", "。", "。」", "…\n", "\n", '."', " "])
def test_no_text_takes_long(text):
    began = time.process_time()
    list(sentence_spans(text * 100_000))
    assert time.process_time() - began < 3

"""A copied sentence is recognized only where the alignment of any summary gives the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.grounding import evidence
from precis.grounding.alignment import align
from precis.grounding.evidence import find_evidence
from precis.grounding.verbatim import copied_sentence
from precis.text.sentences import sentence_spans
from precis.text.windows import WINDOW

BRIDGE = "The council met on Tuesday. It agreed to mend the old bridge for £3,000. The mayor was away in May."
WORDS = ("the", "Old", "old", "bridge", "BRIDGE", "Bridge’s", "not", "It", "she", "-5", "5%", "£5", "U.S.", "U.S.'s",
         "co-op", "caf\u00e9", "cafe\u0301", "ｂridge", "K", "\u212a", ".", ".", "!", "\n")  # fmt: skip


def copied(document: str, summary: str):
    return copied_sentence(document, list(sentence_spans(document)), summary, list(sentence_spans(summary)))


def test_a_sentence_of_the_document_is_recognized():
    for number, (start, end) in enumerate(sentence_spans(BRIDGE)):
        sentence = BRIDGE[start:end]
        assert copied(BRIDGE, sentence) == (number, align(BRIDGE, sentence))
        assert copied(BRIDGE, f" {sentence}\n") == (number, align(BRIDGE, f" {sentence}\n"))


@pytest.mark.parametrize(
    ("document", "summary"),
    [
        (BRIDGE, "It agreed to mend the old bridge"),
        (BRIDGE, "It agreed to mend the old bridge for £3,000. The mayor was away in May."),
        (BRIDGE, "It agreed to mend the new bridge for £3,000."),
        (BRIDGE, ""),
        ("It is not true that the plan was approved. The plan was approved.", "The plan was approved."),
        ("Not ＴＨＥ ＰＬＡＮ ＷＡＳ ＡＰＰＲＯＶＥＤ. The plan was approved.", "The plan was approved."),
        ("Die Straße war gesperrt. DIE STRASSE WAR GESPERRT.", "DIE STRASSE WAR GESPERRT."),
        ("x " * WINDOW + ". The plan was approved.", "The plan was approved."),
    ],
)  # fmt: skip
def test_what_may_be_aligned_otherwise_is_not_recognized(document, summary):
    assert copied(document, summary) is None


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), st.integers(0, 9), st.sampled_from(["", " ", "\n"]))
def test_the_evidence_is_that_of_any_summary(monkeypatch_module, words, number, margin):
    document = " ".join(words)
    spans = list(sentence_spans(document)) or [(0, 0)]
    start, end = spans[number % len(spans)]
    summary = margin + document[start:end] + margin
    quick = find_evidence(document, summary)
    with monkeypatch_module.context() as patch:
        patch.setattr(evidence, "copied_sentence", lambda *_: None)
        assert quick == find_evidence(document, summary)


@pytest.fixture(scope="module")
def monkeypatch_module():
    """A monkeypatch for examples of hypothesis, which share one call of the test."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch

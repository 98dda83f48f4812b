"""Candidate sentences: whole ones of useful length, at their places, and the choice among them."""

from precis.text.candidates import Candidate, best_indices, candidate_sentences
from precis.text.sentences import sentence_spans

SHORT = "It rained."
FIRST = "The council approved the new\n  bridge over the river."
SECOND = "Work will start in May and cost three million pounds."
LONG = "And " * 55 + "so on."


def test_candidates_are_sentences_of_useful_length_at_their_places():
    text = f"  {SHORT}  The council approved  the new\tbridge. {LONG} {SECOND}\n"
    candidates = candidate_sentences(text)
    assert [candidate.text for candidate in candidates] == ["The council approved the new bridge.", SECOND]
    assert [text[c.start : c.end] for c in candidates] == ["The council approved  the new\tbridge.", SECOND]


def test_all_sentences_are_candidates_if_none_has_a_useful_length():
    assert [c.text for c in candidate_sentences(f"{SHORT} It snowed.")] == [SHORT, "It snowed."]
    assert candidate_sentences(" \n") == []


def test_a_repeated_sentence_is_one_candidate():
    text = f"{SECOND} It was said that all is well. {SECOND}"
    assert [(c.start, c.text) for c in candidate_sentences(text)] == [
        (0, SECOND),
        (len(SECOND) + 1, "It was said that all is well."),
    ]


def test_only_whole_sentences_of_the_part_that_is_read():
    text = f"{SECOND} {SECOND.upper()} {SECOND.lower()}"
    second, third = len(SECOND) + 1, 2 * len(SECOND) + 2
    assert [c.start for c in candidate_sentences(text, end=third)] == [0, second]
    assert [c.start for c in candidate_sentences(text, end=third - 2)] == [0]
    assert [c.start for c in candidate_sentences(text, start=1)] == [second, third]
    assert candidate_sentences(text, 1, None, list(sentence_spans(text))) == candidate_sentences(text, 1)


def test_a_sentence_longer_than_the_part_is_cut_to_it():
    words = "one two three four five six seven eight nine ten"
    assert candidate_sentences(words, 4, 24) == [Candidate(4, 23, "two three four five")]
    assert candidate_sentences(words, 0, 19) == [Candidate(0, 18, "one two three four")]


def test_best_are_in_order_and_the_first_of_equals_wins():
    assert best_indices([-2.0, -1.0, -3.0, -1.5], 2) == [1, 3]
    assert best_indices([-1.0, -0.5, -1.0, -1.0], 3) == [0, 1, 2]
    assert best_indices([-1.0], 3) == [0]

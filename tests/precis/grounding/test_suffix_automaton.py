"""The suffix automaton against a search that tries every pair of places."""

from hypothesis import given
from hypothesis import strategies as st

from precis.grounding.suffix_automaton import SuffixAutomaton

forms = st.lists(st.sampled_from("ab\0"), max_size=12)


def longest_run(summary: list[str], end: int, document: list[list[str]]) -> int:
    """The length of the longest run of one of the document's sentences with which summary[: end + 1] ends."""
    return max(
        length
        for length in range(end + 2)
        if not length
        or any(
            sentence[at : at + length] == summary[end + 1 - length : end + 1]
            for sentence in document
            for at in range(len(sentence) - length + 1)
        )
    )


@given(forms, st.lists(st.lists(st.sampled_from("ab"), max_size=10), max_size=3))
def test_each_token_ends_the_longest_run_that_a_sentence_of_the_document_has(summary, document):
    automaton = SuffixAutomaton(summary)
    flat: list[str] = []
    for number, sentence in enumerate(document):
        automaton.restart()
        for form in sentence:
            automaton.read(form, len(flat), number, -1)
            flat.append(form)
    matches = automaton.matches()
    assert [match.length if match else 0 for match in matches] == [
        longest_run(summary, end, document) for end in range(len(summary))
    ]
    for end, match in enumerate(matches):
        if match:
            run = slice(match.end - match.length + 1, match.end + 1)
            assert flat[run] == summary[end + 1 - match.length : end + 1]

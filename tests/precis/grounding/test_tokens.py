"""The tokens of a document that matter are those of its text, in order, and say which of them follow one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.grounding.tokens import source_tokens, text_tokens
from precis.text import windows
from precis.text.sentences import sentence_spans

WORDS = ("the", "The", "Anna's", "U.S.'s", "dogs’", "\u0301", "-", "-5", "5%", "£", "会", "co-op", ".", "\n", "x")
TEXTS = st.lists(st.sampled_from(WORDS)).map(" ".join)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(windows, "WINDOW", 60)
    monkeypatch.setattr(windows, "MARGIN", 20)


@given(st.one_of(TEXTS, st.text(alphabet="aB.'-5% \n\u0301会", max_size=200)), st.sets(st.sampled_from("abthe5")))
def test_tokens_that_matter(text, initials):
    def matters(spelling):
        return spelling.key[0] in initials

    spans = list(sentence_spans(text))
    every = list(source_tokens(text, spans, lambda spelling: True, lambda: None))
    assert [token[:3] for token in every] == [tuple(token) for token in text_tokens(text, 0, len(text))]
    assert all(spans[token.sentence][0] <= token.start < spans[token.sentence][1] for token in every)
    expected, follows = [], False
    for token in every:
        is_read = token.spelling is None or matters(token.spelling)
        expected += [token._replace(follows=follows)] if is_read else []
        follows = is_read
    assert list(source_tokens(text, spans, matters, lambda: None)) == expected


def test_check_can_end_the_reading():
    def check() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        list(source_tokens("a b", [(0, 3)], lambda spelling: True, check))

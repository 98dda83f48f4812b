"""A scan in windows finds what a scan of the whole text finds."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precis.grounding.numerals import NUMBER
from precis.grounding.words import WORD
from precis.text import windows

TEXTS = st.text(alphabet="ab .,-1'\u0301", max_size=300)
PHRASES = st.lists(st.sampled_from(["twenty", "one", "hundred", "thousand", "1,000", "2.5bn", "U.S.", "x", "and"]))


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(windows, "WINDOW", 200)
    monkeypatch.setattr(windows, "MARGIN", 90)


@pytest.mark.parametrize("pattern", [WORD, NUMBER], ids=["words", "numbers"])
@given(text=st.one_of(TEXTS, PHRASES.map(" ".join), PHRASES.map("-".join)).map(lambda text: text * 3))
def test_matches_are_those_of_the_whole_text(pattern, text):
    expected = [match.span() for match in pattern.finditer(text)]
    if all(end - start < windows.MARGIN for start, end in expected):
        assert [match.span() for match in windows.finditer(pattern, text)] == expected


@given(st.one_of(TEXTS, PHRASES.map(" ".join)).map(lambda text: text * 3))
def test_a_split_text_is_whole_and_has_the_matches_of_the_whole_text(text):
    pieces = list(windows.split(WORD, text))
    assert "".join(part for parts in pieces for part in parts) == text
    expected = WORD.findall(text)
    if all(len(match) < windows.MARGIN for match in expected):
        assert [match for parts in pieces for match in parts[1::2]] == expected


def test_a_longer_match_is_cut_and_nothing_is_lost():
    matches = [match.group() for match in windows.finditer(re.compile("a+|b"), "a" * 1000 + "b" * 500)]
    assert "".join(matches) == "a" * 1000 + "b" * 500
    assert max(map(len, matches)) <= windows.WINDOW

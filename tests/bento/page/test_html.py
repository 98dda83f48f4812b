"""Wording of the page's numbers."""

import pytest

from bento.page.html import duration, plural


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.01 s"), (0.034, "0.03 s"), (0.96, "0.96 s"), (1.0, "1.0 s"), (75.26, "75.3 s")]
)
def test_duration_is_never_nothing(seconds, text):
    assert duration(seconds) == text


def test_plural():
    assert [plural(number, "word") for number in (0, 1, 1200)] == ["0 words", "1 word", "1,200 words"]

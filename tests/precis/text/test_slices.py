"""A long text is tokenized in slices, and its tokens are those of the whole."""

from itertools import pairwise

import pytest

from precis import GenerationParams, TextError
from precis.errors import DeadlineExceeded
from precis.text import tokenizer as tokenizer_module
from precis.text.slices import SLICE_CHARACTERS, slice_spans
from tests.conftest import gazette

TEXT = "\n\n".join(row["document"] for row in gazette("train")[:60])
MARKS = "“Żółw” naïve, e\u0301 — 3.5 £m; (U.S.)  two  spaces. "


@pytest.mark.parametrize("text", [TEXT, MARKS * 800, "Совет собрался во вторник. " * 1500], ids=["news", "marks", "ru"])
def test_tokens_are_those_of_the_whole_text(engine, text):
    tokenizer = engine._tokenizer
    assert len(text) > 3 * SLICE_CHARACTERS
    assert tokenizer.encode(text) == tokenizer.tokenizer.encode(tokenizer.prefix + text).ids


@pytest.mark.parametrize("text", ["", "a b", TEXT, "a" * 20_000, " " * 20_000, "会议" * 9_000, "a " * 10_000])
def test_slices_are_small_and_leave_out_single_spaces_only(text):
    spans = list(slice_spans(text))
    assert all(0 <= end - start <= SLICE_CHARACTERS for start, end in spans)
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    for (_, end), (start, _) in pairwise(spans):
        assert text[end:start] in ("", " ")


def test_text_of_too_many_tokens_is_refused_before_all_of_it_is_encoded(engine, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MAX_TEXT_TOKENS", 5_000)
    calls = []
    for method in (engine._tokenizer.encode, engine._tokenizer.chunks):
        with pytest.raises(TextError, match="more than 5,000 tokens"):
            method("\ufdfa" * 200_000, lambda: calls.append(1))
    assert len(calls) == 2  # of 25 slices each
    with pytest.raises(TextError):
        engine.submit(TEXT, GenerationParams(long_text="truncate"))


def test_work_on_a_long_text_can_be_ended(engine):
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise DeadlineExceeded

    with pytest.raises(DeadlineExceeded):
        engine._tokenizer.encode(TEXT * 5, check)
    assert len(calls) == 3

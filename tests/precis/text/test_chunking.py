"""Chunks of long texts: nothing is left out, sentences stay whole, every chunk fits."""

import pytest

from precis import GenerationParams
from precis.text.chunking import chunk_spans
from tests.conftest import gazette
from tests.support.engines import LIMIT


def word_starts(text: str) -> list[int]:
    """One token a word."""
    return [at for at, sign in enumerate(text) if sign != " " and (at == 0 or text[at - 1] == " ")]


def test_a_short_last_sentence_is_repeated_at_the_head_of_the_next_chunk():
    text = "One two three four five six seven. Yes. " * 4
    first, second, *_ = [text[start:end] for start, end in chunk_spans(text, word_starts(text), 16)]
    assert first.endswith("seven. Yes. ")
    assert second.startswith("Yes. One two")


def test_a_text_that_fits_is_one_chunk():
    assert chunk_spans("One two.", [0, 4], 2) == [(0, 8)]


def test_chunks_leave_nothing_out(engine):
    text = " ".join(row["document"] for row in gazette("validation")[:4])
    chunks = engine._tokenizer.chunks(text)
    assert all(len(engine._tokenizer.encode(chunk)) <= LIMIT for chunk in chunks)
    joined = chunks[0]
    repeated = 0
    for chunk in chunks[1:]:
        shared = next(n for n in range(len(chunk), -1, -1) if joined.endswith(chunk[:n].strip()))
        repeated += shared > 0
        joined += " " + chunk[shared:]
    assert joined.split() == text.split(), "nothing is left out"
    assert repeated > 2, "a short last sentence stands at the head of the next chunk again"
    sentence_ends = [chunk[-1] in ".!?”\"'" for chunk in chunks]
    assert sum(sentence_ends) > len(sentence_ends) / 2


@pytest.mark.parametrize("text", ["x" * 4000, "word " * 900, "🙂" * 300, "a.b." * 500])
def test_texts_without_sentences_are_divided_too(engine, text):
    chunks = engine._tokenizer.chunks(text)
    assert "".join(chunks).replace(" ", "") == text.replace(" ", "")
    assert all(len(engine._tokenizer.encode(chunk)) <= LIMIT for chunk in chunks)
    assert engine.generate([text], GenerationParams(max_new_tokens=4, passthrough=False))[0].chunks == len(chunks)

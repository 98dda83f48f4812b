"""Streamed pieces, texts longer than the model reads, texts without words."""

import asyncio

import pytest

from precis import Engine, GenerationParams, TextError
from tests.conftest import gazette
from tests.support.engines import LIMIT, ODD, SETTINGS, TEXTS


def test_streamed_pieces_join_to_the_summary(pair):
    _, _, engine = pair

    async def pieces(text, settings):
        return [piece async for piece in engine.stream(text, GenerationParams(**settings, long_text="truncate"))]

    for text, settings in [(TEXTS[4], SETTINGS[0]), (ODD * 4, SETTINGS[1]), (TEXTS[6], SETTINGS[3])]:
        *parts, summary = asyncio.run(pieces(text, settings))
        assert "".join(parts) == summary.text
        assert summary == engine.generate([text], GenerationParams(**settings, long_text="truncate"))[0]


def test_characters_of_several_tokens_stream_whole(bundle):
    engine = Engine.load(bundle)
    from precis.text.tokenizer import IncrementalDetokenizer

    codec, text = engine._tokenizer, "Ok 🙂👩‍👩‍👧 Łódź 日本語, fine."
    ids = codec.tokenizer.encode(text, add_special_tokens=False).ids
    growing = IncrementalDetokenizer(codec)
    parts = [growing.grow(ids[:end]) for end in range(1, len(ids) + 1)]
    parts.append(growing.finish(codec.decode(ids)))
    assert "".join(parts) == text
    assert not any("�" in part for part in parts)
    assert sum(bool(part) for part in parts) > 4
    engine.close()


def test_a_long_text_is_cut_into_pieces_that_leave_nothing_out(engine):
    text = " ".join(row["document"] for row in gazette("validation")[:4])
    pieces = engine._tokenizer.chunks(text)
    assert all(len(engine._tokenizer.encode(piece)) <= LIMIT for piece in pieces)
    joined = pieces[0]
    repeated = 0
    for piece in pieces[1:]:
        shared = next(n for n in range(len(piece), -1, -1) if joined.endswith(piece[:n].strip()))
        repeated += shared > 0
        joined += " " + piece[shared:]
    assert joined.split() == text.split(), "nothing is left out"
    assert repeated > 2, "a short last sentence stands at the head of the next piece again"
    ended = [piece[-1] in ".!?”\"'" for piece in pieces]
    assert sum(ended) > len(ended) / 2


@pytest.mark.parametrize("text", ["x" * 4000, "word " * 900, "🙂" * 300, "a.b." * 500])
def test_texts_without_sentences_are_cut_all_the_same(engine, text):
    pieces = engine._tokenizer.chunks(text)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(len(engine._tokenizer.encode(piece)) <= LIMIT for piece in pieces)
    assert engine.generate([text], GenerationParams(max_new_tokens=4))[0].chunks == len(pieces)


def test_what_happens_to_a_long_text_is_the_callers_choice(engine):
    text = gazette("validation")[0]["document"]
    whole = len(engine._tokenizer.encode(text))
    split, cut = (
        engine.generate([text], GenerationParams(max_new_tokens=12, long_text=choice))[0]
        for choice in ("split", "truncate")
    )
    assert (split.input_tokens, split.truncated_tokens) == (whole, 0)
    assert split.chunks == len(engine._tokenizer.chunks(text)) > 1
    assert (cut.input_tokens, cut.truncated_tokens, cut.chunks) == (whole, whole - LIMIT, 1)
    with pytest.raises(TextError, match=str(whole)):
        engine.generate([text], GenerationParams(long_text="refuse"))


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_text_without_words_is_refused(engine, text):
    with pytest.raises(TextError, match="empty"):
        engine.generate([text])

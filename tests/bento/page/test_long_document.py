"""Long documents: how they are divided, summarized part by part, and shown."""

import asyncio
import random

import pytest

from bento.page import limits
from bento.page.admission import AdmissionQueue
from bento.page.long_document import ELLIPSIS, excerpts, split_parts
from bento.page.messages import part_progress, reading_progress
from bento.page.summarizing import Done, Reading, ReadingPart, summarize
from precis import GenerationParams, TextError
from precis.grounding.evidence import Evidence, Grounding, Sentence
from tests.conftest import gazette
from tests.support.random_text import paragraph

NOTHING = Grounding(False, 0.0, [], [], [])


def test_parts_are_the_text_and_end_with_paragraphs():
    rng = random.Random(1)
    text = "\n\n".join(paragraph(rng) for _ in range(200))
    parts = split_parts(text, 1_000)
    assert "".join(parts) == text
    assert all(500 < len(part) <= 1_000 for part in parts[:-1])
    assert all(part.endswith("\n\n") for part in parts[:-1])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("short", ["short"]),
        ("Aa bb. Cc dd ee", ["Aa bb. ", "Cc dd ee"]),
        ("aaaa bbbb cccc", ["aaaa bbbb ", "cccc"]),
        ("a" * 25, ["a" * 10, "a" * 10, "a" * 5]),
        ("一二三四五六。八九十", ["一二三四五六。八九十"]),
        ("一二三四五六。八九十一", ["一二三四五六。", "八九十一"]),
        ("aaaaaaaaa\n" + " " * 30, ["aaaaaaaaa\n"]),
    ],
)
def test_parts_are_cut_at_the_best_place(text, parts):
    assert split_parts(text, 10) == parts


def test_excerpts_hold_each_supporting_sentence_at_its_place():
    text = "".join(f"Sentence number {at} is here. " for at in range(1_000))
    sentences = [Sentence(text[at : at + 20], at, at + 20, 1.0) for at in (20_000, 300, 20_500)]
    shown, evidence = excerpts(text, Evidence(sentences, [], NOTHING))
    assert len(shown) < 5_000
    assert shown.count(ELLIPSIS) == 1
    for sentence, moved in zip(sentences, evidence.sentences, strict=True):
        assert shown[moved.start : moved.end] == sentence.text
    assert text.startswith(excerpts(text, Evidence([], [], NOTHING))[0])


def test_long_document_is_summarized_in_parts_and_counts_its_chunks(engine, monkeypatch):
    monkeypatch.setattr(limits, "MAX_TEXT_CHARACTERS", 4_000)
    monkeypatch.setattr(limits, "PART_CHARACTERS", 3_000)
    text = "\n\n".join(row["document"] for row in gazette("validation")[:8])
    params = GenerationParams(max_new_tokens=8)
    parts = split_parts(text, 3_000)

    async def collect(params):
        return [state async for state in summarize(engine, AdmissionQueue(), text, params)]

    states = asyncio.run(collect(params))
    read = [state for state in states if isinstance(state, ReadingPart)]
    assert [(state.number, state.parts) for state in read] == [(at, len(parts)) for at in range(1, len(parts) + 1)]
    expected = engine.generate(parts, params)
    assert read[-1].chunks == sum(summary.chunks for summary in expected[:-1])
    done = states[-1]
    assert isinstance(done, Done)
    assert done.summary.chunks == sum(summary.chunks for summary in expected)
    assert done.summary.input_tokens == sum(summary.input_tokens for summary in expected)
    assert done.summary.text == engine.generate(["\n".join(summary.text for summary in expected)], params)[0].text
    assert done.first_seconds <= done.seconds

    done = asyncio.run(collect(params.model_copy(update={"long_text": "truncate"})))[-1]
    assert done.summary.text == engine.generate([parts[0]], params.model_copy(update={"long_text": "truncate"}))[0].text
    total = sum(summary.input_tokens for summary in expected)
    assert abs(done.summary.input_tokens - total) < 0.1 * total
    with pytest.raises(TextError, match="more than the model reads"):
        asyncio.run(collect(params.model_copy(update={"long_text": "refuse"})))


def test_text_beyond_the_limit_is_refused(engine):
    async def first():
        return await anext(summarize(engine, AdmissionQueue(), "word " * 90_000, GenerationParams()))

    with pytest.raises(TextError, match="450,000 characters, and this page takes 400,000"):
        asyncio.run(first())


def test_progress_is_told_in_a_sentence():
    assert part_progress(ReadingPart(1, 9, 0)) == "Reading part 1 of 9 of a long document…"
    assert reading_progress(Reading(2, 1)) == "Reading…"
    assert reading_progress(Reading(30)) == "Reading about 30 chunks of a long text…"
    assert reading_progress(Reading(30, 12)) == "Reading a long text: 12 of 30 chunks summarized…"
    assert part_progress(ReadingPart(2, 9, 25)) == "Reading part 2 of 9 of a long document… 25 chunks summarized."

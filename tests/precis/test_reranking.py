"""Reranking by grounding: what is chosen, on which thread, what a stream sends, and what an error does."""

import asyncio
import threading

import pytest

from precis import EngineError, GenerationParams, request
from precis.grounding.evidence import find_evidence
from precis.grounding.reranking import best_grounded, count_marks
from tests.support.engines import TEXTS

SETTINGS = {"num_beams": 4, "max_new_tokens": 16, "mode": "write", "long_text": "truncate"}
DOCUMENT = "On Monday Anna Bell of Leeds paid 40 pounds for it. The mayor of Cork had asked for 75 pounds in May."


@pytest.mark.parametrize(
    ("summaries", "best"),
    [
        (["Anna Bell of Leeds paid 41 pounds for it.", "Anna Bell of Leeds paid 40 pounds for it."], 1),
        (["Anna Bell of Leeds paid 40 pounds for it.", "The mayor of Cork had asked for 75 pounds in May."], 0),
        (["Anna Boll paid 41 pounds.", "Anna Bell paid 41 pounds."], 1),
        (["On Monday Anna Bell of Leeds had asked for 75 pounds in May.", "Anna Bell of Leeds paid 40 pounds."], 1),
    ],
    ids=["number", "equal", "fewest", "spliced"],
)
def test_the_fewest_marks_decide_and_among_equals_the_first(summaries, best):
    assert best_grounded(DOCUMENT, summaries) == best


@pytest.fixture
def threads(monkeypatch) -> list[str]:
    """The names of the threads on which summaries are compared; the last one of several is chosen."""
    names: list[str] = []

    def last(document: str, summaries: list[str], check) -> int:
        names.append(threading.current_thread().name)
        return len(summaries) - 1

    monkeypatch.setattr(request, "best_grounded", last)
    return names


def test_a_summary_never_has_more_marks_than_the_most_probable_one(engine):
    plain = engine.generate(TEXTS, GenerationParams(**SETTINGS))
    reranked = engine.generate(TEXTS, GenerationParams(**SETTINGS, rerank="grounding"))

    def marks(summaries) -> list[int]:
        pairs = zip(TEXTS, summaries, strict=True)
        return [count_marks(find_evidence(text, summary.text)) for text, summary in pairs]

    assert all(after <= before for before, after in zip(marks(plain), marks(reranked), strict=True))
    assert sum(marks(reranked)) < sum(marks(plain))
    for before, after in zip(plain, reranked, strict=True):
        assert after.score <= before.score
        assert (after.text == before.text) == (after.token_ids == before.token_ids)


def test_summaries_are_not_compared_on_the_thread_that_decodes(engine, threads):
    params = GenerationParams(**SETTINGS, rerank="grounding")
    reranked = engine.generate(TEXTS, params)
    assert set(threads) == {"precis-rerank_0"}
    assert len(threads) == len(TEXTS)
    assert [summary.text for summary in reranked] != [
        each.text for each in engine.generate(TEXTS, GenerationParams(**SETTINGS))
    ]
    del threads[:]
    engine.generate(TEXTS[:2], GenerationParams(**SETTINGS | {"num_beams": 1}, rerank="grounding"))
    engine.generate(TEXTS[:2], GenerationParams(mode="extract", num_beams=4, rerank="grounding"))
    assert threads == []


def test_a_stream_sends_the_summary_that_is_chosen(engine, threads):
    async def stream(text: str) -> list:
        return [item async for item in engine.stream(text, GenerationParams(**SETTINGS, rerank="grounding"))]

    for text in TEXTS[:6]:
        *deltas, summary = asyncio.run(stream(text))
        assert "".join(deltas) == summary.text


def test_an_error_of_the_comparison_ends_its_request_only(engine, monkeypatch):
    def fails(document: str, summaries: list[str], check) -> int:
        raise ValueError("no words")

    params = GenerationParams(**SETTINGS, rerank="grounding")
    with monkeypatch.context() as patch:
        patch.setattr(request, "best_grounded", fails)
        with pytest.raises(EngineError, match=r"This text failed: no words"):
            engine.generate(TEXTS[:1], params)
    assert engine.generate(TEXTS[:1], params)[0].text

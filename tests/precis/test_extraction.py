"""Extraction: the engine's choice and scores equal PyTorch's, alone and in a batch; long texts; ends of a request."""

import asyncio
import json
import shutil
import time
from concurrent.futures import CancelledError

import pytest

from finetune.evaluation.ranking import rank
from finetune.recipe import Recipe
from precis import BundleError, DeadlineExceeded, Engine, GenerationError, GenerationParams, TextError
from precis.text.sentences import sentence_spans
from tests.conftest import gazette
from tests.support.engines import LIMIT, ODD, SETTINGS, TEXTS, reference, seal

ARTICLES = [row["document"] for row in gazette("validation")[:8]]
SENTENCE = "The council of village number {} voted for a new bridge over the river."
EXTRACT = GenerationParams(mode="extract", long_text="truncate")


def extract(sentences: int = 1, **settings) -> GenerationParams:
    """Extraction of short texts, too, which are otherwise answered with themselves."""
    return GenerationParams(mode="extract", sentences=sentences, passthrough=False, **settings)


def pytorch_rankings(model, tokenizer, texts: list[str], sentences: int, length_penalty: float | None = None):
    recipe = Recipe(
        model={"name": "unused"},
        data={"train": "unused.jsonl", "max_document_tokens": LIMIT},
        generation={"mode": "extract", "sentences": sentences, "length_penalty": length_penalty},
    )
    return rank(model, tokenizer, texts, recipe, "")


@pytest.mark.parametrize(("sentences", "length_penalty"), [(1, None), (3, 2.0), (5, 0.5)])
def test_choice_and_scores_equal_pytorch(pair, sentences, length_penalty):
    model, tokenizer, engine = pair
    texts = [*TEXTS[::3], *ARTICLES[:3], ODD * 3 + ARTICLES[0], " \n\n".join(ARTICLES[1].split(". "))]
    params = extract(sentences, length_penalty=length_penalty, long_text="truncate")
    summaries = engine.generate(texts, params)
    rankings = pytorch_rankings(model, tokenizer, texts, sentences, length_penalty)
    for text, summary, ranking in zip(texts, summaries, rankings, strict=True):
        expected = [ranking.candidates[index] for index in ranking.selected]
        assert [(item.start, item.end) for item in summary.extracted] == [(c.start, c.end) for c in expected]
        scores = [ranking.scores[index] for index in ranking.selected]
        assert [item.score for item in summary.extracted] == pytest.approx(scores, rel=1e-5, abs=1e-4)
        assert summary.text == ranking.summary == " ".join(" ".join(text[c.start : c.end].split()) for c in expected)
        others = [score for index, score in enumerate(ranking.scores) if index not in ranking.selected]
        assert summary.margin == (pytest.approx(min(scores) - max(others), rel=1e-5, abs=1e-4) if others else None)
        assert summary.finish_reason == "end"
        tokens = [token for c in expected for token in tokenizer(c.text).input_ids[:-1]]
        assert (summary.token_ids, summary.output_tokens) == (tokens, len(tokens))


def test_static_graphs_choose_and_score_alike(static_bundle, engine):
    texts = TEXTS[2:10:3]
    with Engine.load(static_bundle) as static:
        pairs = zip(engine.generate(texts, extract(2)), static.generate(texts, extract(2)), strict=True)
        for dynamic, other in pairs:
            assert dynamic.text == other.text
            scores = [item.score for item in dynamic.extracted]
            assert [item.score for item in other.extracted] == pytest.approx(scores, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("name", ["bundle", "int8_bundle"])
def test_result_does_not_depend_on_what_else_runs(name, request):
    """Rankings among summaries that are being generated, both exactly as alone."""
    with Engine.load(request.getfixturevalue(name), threads=2) as engine:
        jobs = [
            (text, params)
            for text, settings in zip(TEXTS[8:], SETTINGS[1:], strict=False)
            for params in (extract(2), GenerationParams(**settings))
        ]
        alone = [engine.generate([text], params)[0] for text, params in jobs]

        async def together():
            return await asyncio.gather(*(engine.summarize(text, params) for text, params in jobs))

        assert asyncio.run(together()) == alone


def test_generation_goes_on_between_the_parts_of_a_ranking(engine):
    """A summary that is being written when a long text comes is finished before that is ranked."""
    long_text = " ".join(SENTENCE.format(i) for i in range(100))

    async def run() -> bool:
        deltas = engine.stream(TEXTS[5], GenerationParams(max_new_tokens=24, min_new_tokens=24))
        await anext(deltas)
        ranking = asyncio.ensure_future(engine.summarize(long_text, extract(1)))
        async for _ in deltas:
            await asyncio.sleep(0)
        finished_first = not ranking.done()
        assert (await ranking).chunks > 10
        return finished_first

    assert asyncio.run(run())


def test_sentences_are_whole_distinct_and_in_the_order_of_the_text(engine):
    text = ARTICLES[0].replace(". ", ".\n ", 2)
    spans = set(sentence_spans(text))
    for count in range(1, 6):
        (summary,) = engine.generate([text], extract(count))
        places = [(item.start, item.end) for item in summary.extracted]
        assert len(places) == count
        assert places == sorted(places)
        assert spans.issuperset(places)
        assert summary.text == " ".join(" ".join(text[start:end].split()) for start, end in places)


def test_long_text_is_ranked_in_stages_and_read_completely(engine):
    sentences = [SENTENCE.format(i) for i in range(60)]
    text = " ".join(sentences)
    for count in (1, 3, 5):
        (summary,) = engine.generate([text], extract(count))
        assert summary.chunks > 8
        assert summary.truncated_tokens == 0
        selected = [text[item.start : item.end] for item in summary.extracted]
        assert len(set(selected)) == count
        assert selected == [sentence for sentence in sentences if sentence in selected]
        assert summary.text == " ".join(selected)


def test_best_of_the_chunks_is_the_best_of_the_sentences_side_by_side(pair):
    """Two chunks: the second stage ranks the two winners with both of them as its source."""
    model, tokenizer, engine = pair
    text = " ".join(ARTICLES[0].split()[:90])
    (summary,) = engine.generate([text], extract(1))
    assert summary.chunks == 2
    chunks = engine._tokenizer.chunks(text)
    winners = [ranking.summary for ranking in pytorch_rankings(model, tokenizer, chunks, 1)]
    (final,) = pytorch_rankings(model, tokenizer, [" ".join(winners)], 1)
    assert summary.text == final.summary
    assert summary.extracted[0].score == pytest.approx(final.scores[final.selected[0]], rel=1e-5, abs=1e-4)


def test_sentence_longer_than_the_model_reads_is_cut_into_words(engine):
    text = "word after word " * 200
    (summary,) = engine.generate([text], extract(1))
    (selected,) = summary.extracted
    assert summary.text == text[selected.start : selected.end]
    assert summary.text.split()[1] in ("word", "after")
    assert len(engine._tokenizer.encode(summary.text)) <= LIMIT


@pytest.mark.parametrize(
    "text", ["One.", "🙂" * 700, "☃", "   A lone sentence of some six words.", "</s> is an end token."]
)
@pytest.mark.parametrize("long_text", ["split", "truncate"])
def test_odd_texts_have_a_result(engine, text, long_text):
    (summary,) = engine.generate([text], extract(3, long_text=long_text))
    assert summary.text
    assert all(text[item.start : item.end].strip() for item in summary.extracted)


def test_a_sentence_of_very_many_tokens_is_scored_by_the_first(engine):
    (summary,) = engine.generate(["🙂" * 700], extract(1, long_text="truncate"))
    assert summary.extracted[0].end == 700


def test_blank_and_too_long_texts_are_refused(engine):
    with pytest.raises(TextError, match="empty"):
        engine.generate([" \n"], extract())
    with pytest.raises(TextError, match="model reads"):
        engine.generate([ARTICLES[0] * 3], extract(long_text="refuse"))


@pytest.mark.parametrize(
    ("name", "value"), [("mode", "both"), ("sentences", 0), ("sentences", 6), ("sentences", "two")]
)
def test_values_out_of_bounds_are_refused(name, value):
    with pytest.raises(GenerationError, match=name):
        GenerationParams(**{name: value})


def test_stream_is_one_delta_and_the_summary(engine):
    async def collect():
        return [item async for item in engine.stream(ARTICLES[0], extract(2))]

    (expected,) = engine.generate([ARTICLES[0]], extract(2))
    assert asyncio.run(collect()) == [expected.text, expected]


def test_cancelled_ranking_leaves_and_others_finish(bundle):
    with Engine.load(bundle, threads=1) as engine:
        text = " ".join(SENTENCE.format(i) for i in range(2000))
        futures = [engine.submit(text, extract()) for _ in range(3)]
        futures[0].cancel()
        late = engine.submit(text, extract(), timeout=0.05)
        with pytest.raises(DeadlineExceeded):
            late.result()
        started = time.monotonic()
        futures[1].cancel()
        futures[2].cancel()
        assert engine.submit(ARTICLES[0], extract()).result(timeout=60).extracted
        with pytest.raises(CancelledError):
            futures[0].result()
        assert engine.stats().waiting_tokens == 0
        assert time.monotonic() - started < 30


def test_bundle_may_extract_by_default(bundle, tmp_path):
    changed = shutil.copytree(bundle, tmp_path / "changed")
    config = json.loads((changed / "generation_config.json").read_text())
    (changed / "generation_config.json").write_text(json.dumps(config | {"mode": "extract", "sentences": 2}))
    seal(changed)
    with Engine.load(changed) as engine:
        (summary,) = engine.generate([ARTICLES[0]])
        assert summary == engine.generate([ARTICLES[0]], extract(2))[0]
        assert engine.generate([ARTICLES[0]], GenerationParams(mode="write", max_new_tokens=8))[0].extracted is None
    (changed / "generation_config.json").write_text(json.dumps(config | {"mode": "pick"}))
    seal(changed)
    with pytest.raises(BundleError, match="mode should be 'extract' or 'write'"):
        Engine.load(changed)


def test_default_is_to_write(pair):
    model, tokenizer, engine = pair
    (summary,) = engine.generate([TEXTS[4]], GenerationParams(max_new_tokens=12, long_text="truncate"))
    assert summary.token_ids == reference(model, tokenizer, TEXTS[4], {"max_new_tokens": 12})[0]
    assert summary.extracted is None

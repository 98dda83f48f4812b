"""Extraction by a bundle's sentence ranker: choice and scores as PyTorch's, long texts, faults."""

import asyncio
import shutil

import numpy as np
import pytest
import torch

from finetune.evaluation.ranking import rank
from finetune.evaluation.sentence_ranker import read_ranker
from finetune.recipe import Recipe
from finetune.training.model import load_base
from precis import BundleError, Engine, GenerationParams
from precis.runtime.model import Seq2SeqModel
from tests.conftest import ROOT, gazette
from tests.support.engines import LIMIT, ODD, TEXTS, seal

ARTICLES = [row["document"] for row in gazette("validation")[:6]]
RECIPE = Recipe(
    model={"name": str(ROOT / "models/base")},
    data={"train": "unused.jsonl", "max_document_tokens": LIMIT},
    generation={"mode": "extract", "sentences": 2},
)


def extract(**settings) -> GenerationParams:
    return GenerationParams(mode="extract", passthrough=False, **{"sentences": 2, "long_text": "truncate", **settings})


@pytest.fixture(scope="module")
def ranker():
    return read_ranker(ROOT / "models/base")


@pytest.fixture(scope="module")
def with_ranker(ranker, tmp_path_factory):
    """Copies a bundle and adds the features of the base's ranker to its manifest."""

    def copy(bundle):
        folder = tmp_path_factory.mktemp("ranker") / "bundle"
        shutil.copytree(bundle, folder)
        seal(folder, sentence_features=ranker.features)
        return folder

    return copy


def test_choice_and_scores_equal_pytorch(bundle, static_bundle, with_ranker, ranker):
    model, tokenizer = load_base(RECIPE.model)
    texts = [*TEXTS[::3], *ARTICLES, ODD * 3 + ARTICLES[0], " \n\n".join(ARTICLES[1].split(". "))]
    rankings = rank(model.eval(), tokenizer, texts, RECIPE, "", ranker)
    for folder in (bundle, static_bundle):
        with Engine.load(with_ranker(folder), threads=2) as engine:
            summaries = engine.generate(texts, extract())
        for text, summary, ranking in zip(texts, summaries, rankings, strict=True):
            expected = [ranking.candidates[index] for index in ranking.selected]
            assert [(item.start, item.end) for item in summary.extracted] == [(c.start, c.end) for c in expected]
            scores = [ranking.scores[index] for index in ranking.selected]
            assert [item.score for item in summary.extracted] == pytest.approx(scores, rel=1e-5, abs=1e-4)
            assert (
                summary.text == ranking.summary == " ".join(" ".join(text[c.start : c.end].split()) for c in expected)
            )
            assert summary.finish_reason == "end"


def test_token_scores_are_the_encoder_s_states_times_the_weights(bundle, with_ranker, ranker):
    model, tokenizer = load_base(RECIPE.model)
    tokens = tokenizer("summarize: " + ARTICLES[0][:300]).input_ids
    with torch.inference_mode():
        states = model.get_encoder()(input_ids=torch.tensor([tokens])).last_hidden_state[0]
    with Engine.load(with_ranker(bundle)) as engine:
        runtime = Seq2SeqModel(engine.bundle, "cpu", 1)
        scores = runtime.token_scores(tokens)
    assert scores == pytest.approx((states @ torch.tensor(ranker.encoder)).numpy(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["bundle", "int8_bundle"])
def test_result_does_not_depend_on_what_else_runs(name, request, with_ranker):
    """Rankings among summaries that are being generated, both exactly as alone."""
    with Engine.load(with_ranker(request.getfixturevalue(name)), threads=2) as engine:
        writing = GenerationParams(mode="write", max_new_tokens=12)
        jobs = [(text, params) for text in TEXTS[6:] for params in (extract(), writing)]
        alone = [engine.generate([text], params)[0] for text, params in jobs]

        async def together():
            return await asyncio.gather(*(engine.summarize(text, params) for text, params in jobs))

        assert asyncio.run(together()) == alone


def test_long_text_is_ranked_in_stages_and_read_completely(bundle, with_ranker):
    sentences = [f"The council of village number {i} voted for a new bridge over the river." for i in range(60)]
    text = " ".join(sentences)
    with Engine.load(with_ranker(bundle)) as engine:
        for count in (1, 3):
            (summary,) = engine.generate([text], extract(sentences=count, long_text="split"))
            assert summary.chunks > 8
            assert summary.truncated_tokens == 0
            selected = [text[item.start : item.end] for item in summary.extracted]
            assert len(set(selected)) == count
            assert selected == [sentence for sentence in sentences if sentence in selected]


def test_features_decide_where_the_encoder_sees_no_difference(bundle, tmp_path):
    """The first of equal sentences but for their place, with a weight on the place only."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    seal(folder, sentence_features={"last": 1e6})
    with Engine.load(folder) as engine:
        (summary,) = engine.generate([ARTICLES[0]], extract(sentences=1))
    ends = [item.end for item in summary.extracted]
    (everything,) = engine_candidates(ARTICLES[0])
    assert ends == [everything]


def engine_candidates(text: str) -> list[int]:
    """The end of the last candidate sentence of what the model reads of `text`."""
    from finetune.evaluation.ranking import encode_source

    _, tokenizer = load_base(RECIPE.model)
    return [encode_source(tokenizer, text, RECIPE).candidates[-1].end]


def test_cancelled_and_failing_rankings_leave_the_others(bundle, with_ranker, monkeypatch):
    original = Seq2SeqModel.token_scores

    def failing(self, input_ids):
        if len(input_ids) < 40:
            raise RuntimeError("no memory")
        return original(self, input_ids)

    monkeypatch.setattr(Seq2SeqModel, "token_scores", failing)
    monkeypatch.setattr(Seq2SeqModel, "token_scores_in_parallel", failing)
    with Engine.load(with_ranker(bundle)) as engine:

        async def run():
            texts = [
                ARTICLES[0],
                "A bridge was opened in the town on Monday. It rained all day long there.",
                ARTICLES[1],
            ]
            return await asyncio.gather(*(engine.summarize(t, extract()) for t in texts), return_exceptions=True)

        first, failed, last = asyncio.run(run())
    assert first.extracted
    assert last.extracted
    assert isinstance(failed, Exception)


def test_manifest_that_does_not_fit_is_refused(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    seal(folder, sentence_features={"colour": 1.0})
    with pytest.raises(BundleError, match="feature 'colour' is not known"):
        Engine.load(folder)
    seal(folder, sentence_features={"first": float("nan")})
    with pytest.raises(BundleError, match="is not valid JSON"):
        Engine.load(folder)


def test_ranker_needs_the_encoder_s_output(tmp_path):
    """A bundle of a model without a ranker, whose manifest claims one."""
    from tests.conftest import exported, tiny_t5

    folder = exported(tiny_t5(tmp_path / "model", "v1.1"), tmp_path)
    seal(folder, sentence_features={"first": 1.0})
    with pytest.raises(BundleError, match="has no output token_scores"):
        Engine.load(folder)


def test_scores_are_finite(int8_bundle, with_ranker):
    with Engine.load(with_ranker(int8_bundle)) as engine:
        for summary in engine.generate(ARTICLES, extract()):
            assert np.isfinite([item.score for item in summary.extracted]).all()

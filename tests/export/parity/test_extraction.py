"""Parity of a recipe that extracts: the same sentences and scores, ties, and a bundle that extracts by default."""

import dataclasses
import json

import numpy as np
import pytest

from export.__main__ import main as export
from export.parity.comparison import Comparison
from export.parity.systems import Outputs
from export.parity.ties import TIE, is_extraction_tie
from finetune.__main__ import main as finetune
from finetune.data.tokenizing import encode
from finetune.evaluation.ranking import Ranking, rank
from finetune.evaluation.rouge import rouge_by_document
from finetune.recipe_io import parse_recipe
from finetune.training.model import load_base
from precis import Engine, GenerationParams
from precis.extraction import ExtractedSentence
from precis.text.candidates import Candidate
from tests.conftest import gazette

DOCUMENTS = [row["document"][:300] for row in gazette("train")[40:64]]


@pytest.fixture(scope="module")
def extractive_run(tiny_recipe, tmp_path_factory):
    run = tmp_path_factory.mktemp("artifacts") / "extractive"
    settings = ["generation.mode=extract", "generation.sentences=2", "generation.no_repeat_ngram_size=null"]
    assert finetune([str(tiny_recipe), f"output={run}", *settings]) == 0
    assert export([str(run), "--precision", "fp32"]) == 0
    return run


def test_scores_and_bundle_are_those_of_extraction(extractive_run):
    rouge = json.loads((extractive_run / "rouge.json").read_text())
    assert (rouge["generation"]["mode"], rouge["generation"]["sentences"]) == ("extract", 2)
    summaries = json.loads((extractive_run / "summaries.json").read_text())
    scores = rouge_by_document(summaries["finetuned"], summaries["reference"])
    assert rouge["finetuned"]["rouge1"] == pytest.approx(scores["rouge1"].mean(), abs=0.006)
    parity = json.loads((extractive_run / "bundle/parity.json").read_text())
    assert parity["passed"]
    assert parity["identical_summaries"] + parity["ties"] == parity["documents"] == 64
    assert 0 < parity["max_abs_score_difference"] < 1e-4
    with Engine.load(extractive_run / "bundle") as engine:
        served = engine.generate(DOCUMENTS, GenerationParams(long_text="truncate"))
    assert [summary.text for summary in served] == summaries["finetuned"]
    assert all(summary.extracted for summary in served)
    recipe = parse_recipe(json.loads((extractive_run / "run.json").read_text())["recipe"])
    base, tokenizer = load_base(recipe.model)
    assert [item.summary for item in rank(base.eval(), tokenizer, DOCUMENTS, recipe, "")] == summaries["base"]


def test_wrong_scores_and_another_choice_fail(extractive_run):
    recipe = parse_recipe(json.loads((extractive_run / "run.json").read_text())["recipe"])
    _, tokenizer = load_base(recipe.model)

    class Stub:
        def __init__(self, name, texts, extracted):
            self.name = name
            self.outputs = Outputs([[len(text)] for text in texts], texts, extracted)

        def generate(self, documents):
            return self.outputs

        def logits(self, inputs, tokens):
            return [np.array([[0, 4]], np.float32) for _ in inputs]

    places = [ExtractedSentence(0, 9, -1.5)]
    first = Stub("a", ["One.", "Two."], [places, places])
    moved = [dataclasses.replace(places[0], score=-1.4)]

    def reasons(second, exact=True):
        comparison = Comparison(recipe, encode(tokenizer, ["x", "y"], recipe), ["x", "y"], ["One.", "Two."])
        return comparison.compare([(first, second)], first, exact)[0].report.reasons

    assert reasons(Stub("b", ["One.", "Two."], [places, places])) == []
    near = [dataclasses.replace(places[0], score=-1.4989)]
    assert reasons(Stub("b", ["One.", "Two."], [places, near])) == []
    # A thousandth of the largest score, and the rounding of scores.
    assert reasons(Stub("b", ["One.", "Two."], [places, moved])) == [
        "sentences' scores differ by 1.00e-01, allowed 1.50e-03"
    ]
    assert reasons(Stub("b", ["One.", "Two."], [places, moved]), exact=False) == []
    assert "1 of 2 summaries differ" in reasons(Stub("b", ["One.", "Too."], [places, places]))[0]
    nan = [dataclasses.replace(places[0], score=float("nan"))]
    for exact in (True, False):
        assert reasons(Stub("b", ["One.", "Two."], [places, nan]), exact) == [
            "some sentences' scores are NaN or infinite"
        ]
    other = [ExtractedSentence(10, 19, -1.5)]
    assert reasons(Stub("b", ["One.", "Three."], [places, other]), exact=False)[0] == (
        "50.0% of extractions are equal, at least 75% have to be"
    )


def test_only_sentences_with_equal_pytorch_scores_are_a_tie():
    candidates = [Candidate(10 * i, 10 * i + 9, f"Sentence {i}.") for i in range(4)]
    ranking = Ranking(candidates, [-1.0, -2.0, -2.0 - TIE / 2, -3.0], [0, 1])

    def other(*indices):
        return [ExtractedSentence(candidates[i].start, candidates[i].end, 0.0) for i in indices]

    assert is_extraction_tie(ranking, other(0, 2))
    assert not is_extraction_tie(ranking, other(0, 3))
    assert not is_extraction_tie(ranking, other(1, 2))
    assert not is_extraction_tie(ranking, other(0))
    assert not is_extraction_tie(ranking, [*other(0), ExtractedSentence(1, 5, 0.0)])
    assert not is_extraction_tie(ranking, other(0, 1))


def test_a_tie_is_judged_by_the_size_of_the_scores():
    """Those of a model that copies are near 0, the more so with a length penalty."""
    candidates = [Candidate(10 * i, 10 * i + 9, f"Sentence {i}.") for i in range(2)]
    other = [ExtractedSentence(10, 19, 0.0)]
    for gap, tie in ((2e-7, True), (5e-5, False)):
        assert is_extraction_tie(Ranking(candidates, [-1e-3, -1e-3 - gap], [0]), other) is tie

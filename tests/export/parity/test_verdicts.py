"""Every verdict of the gate on every link: identical, tie, broken and empty, with a real adapter and real bundles."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.parity.comparison import Comparison, Link
from export.parity.systems import EngineSystem, PyTorchSystem
from finetune.data.tokenizing import encode
from finetune.evaluation.scoring import generation_config
from finetune.recipe_io import parse_recipe
from precis import Engine
from tests.conftest import exported, gazette
from tests.support.engines import seal

DOCUMENTS = [row["document"][:300] for row in gazette("validation")[:4]]
SUMMARIES = [row["summary"] for row in gazette("validation")[:4]]
SEARCHES = {"greedy": {"num_beams": 1}, "beams": {"num_beams": 2}}
TWIN = 15001  # a token that no summary of the tiny model has


def twin_of(token: int, factor: float):
    """Gives the twin token the embedding of `token`, which is the output layer too, times `factor`."""

    def change(model) -> None:
        model.get_input_embeddings().weight[TWIN] = model.get_input_embeddings().weight[token] * factor

    return change


def broken(model) -> None:
    model.decoder.block[0].layer[1].EncDecAttention.v.weight.mul_(3)


def ending_at_once(model) -> None:
    """All weights of the embedding point away, but those of the start and, further, of the end token."""
    weight = model.get_input_embeddings().weight
    weight.copy_(torch.full_like(weight, -50.0))
    weight[0], weight[1] = 50.0, 60.0


def padding_for_ever(model) -> None:
    ending_at_once(model)
    model.get_input_embeddings().weight[1] = -50.0


def noise(model) -> None:
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * weight.std())


class Systems:
    """The systems of a run, each with weights changed by a function: in PyTorch, or as bundles that are made once."""

    def __init__(self, run: Path, base: Path, folder: Path) -> None:
        self.run, self.base, self.folder = run, base, folder
        self.content = json.loads((run / "run.json").read_text())["recipe"]
        self.tokenizer = AutoTokenizer.from_pretrained(run / "merged")
        self.engines: dict[str, Engine] = {}

    def recipe(self, search: str):
        generation = {"max_new_tokens": 8, **SEARCHES[search]}
        limits = {"rouge_tolerance": 100.0, "rouge_interval": 200.0}  # ROUGE alone passes everything
        return parse_recipe({**self.content, "generation": generation, "export": limits})

    def adapted(self, search: str, change=None) -> PyTorchSystem:
        adapted = PeftModel.from_pretrained(self._model(self.base, change), self.run / "adapter")
        return PyTorchSystem("base + adapter", adapted, self.tokenizer, self.recipe(search))

    def merged(self, search: str, change=None) -> PyTorchSystem:
        return PyTorchSystem("merged", self._model(self.run / "merged", change), self.tokenizer, self.recipe(search))

    def onnx(self, search: str, change=None, name: str = "plain", int8: bool = False) -> EngineSystem:
        """`name` stands for `change`."""
        graphs, bundle = (self.folder / f"{name}-{int8}{end}" for end in ("", f"-{search}"))
        if not graphs.exists():
            graphs.mkdir()
            merged = self.merged(search, change)
            merged.model.save_pretrained(graphs / "model")
            self.tokenizer.save_pretrained(graphs / "model")
            exported(graphs / "model", graphs, encode(self.tokenizer, DOCUMENTS, merged.recipe) if int8 else None)
        if bundle.name not in self.engines:
            shutil.copytree(graphs / "bundle", bundle)
            model = AutoModelForSeq2SeqLM.from_pretrained(graphs / "model")
            generation_config(self.recipe(search), model).save_pretrained(bundle)
            seal(bundle, max_input_tokens=64)
            self.engines[bundle.name] = Engine.load(bundle, threads=1)
        return EngineSystem(f"ONNX {name}", self.engines[bundle.name])

    def compare(self, left, right, search: str, exact: bool = True, references=SUMMARIES) -> Link:
        recipe = self.recipe(search)
        comparison = Comparison(recipe, encode(self.tokenizer, DOCUMENTS, recipe), DOCUMENTS, references)
        return comparison.compare([(left, right)], left, exact)[0]

    @staticmethod
    @torch.no_grad()
    def _model(folder: Path, change):
        model = AutoModelForSeq2SeqLM.from_pretrained(folder)
        if change:
            change(model)
        return model


@pytest.fixture(scope="module")
def systems(tiny_run, tiny_base, tmp_path_factory):
    built = Systems(tiny_run, tiny_base, tmp_path_factory.mktemp("systems"))
    yield built
    for engine in built.engines.values():
        engine.close()


def exact_link(systems: Systems, link: str, search: str, left=None, right=None, name: str = "plain") -> Link:
    """A link that has to be exact, with the weights of both sides changed by `left` and `right`, called `name`."""
    if link == "base + adapter = merged":
        return systems.compare(systems.adapted(search, left), systems.merged(search, right), search)
    return systems.compare(systems.merged(search, left), systems.onnx(search, right, name), search)


LINKS = pytest.mark.parametrize("link", ["base + adapter = merged", "merged = ONNX fp32"])
SEARCH = pytest.mark.parametrize("search", SEARCHES)


@LINKS
@SEARCH
def test_equal_weights_are_identical(systems, link, search):
    report = exact_link(systems, link, search).report
    assert (report.passed, report.identical_summaries, report.ties) == (True, len(DOCUMENTS), 0)
    assert 0 < report.max_abs_logit_difference < 1e-5 * report.max_logit


@LINKS
@SEARCH
def test_tokens_of_equal_scores_are_a_tie(systems, link, search):
    """Each side prefers another one of two tokens, by less than PyTorch's rounding."""
    token = systems.merged(search).generate(DOCUMENTS[:1]).tokens[0][3]
    assert token not in (0, 1, TWIN)
    smaller_twin, larger_twin = twin_of(token, 1 - 5e-6), twin_of(token, 1 + 5e-6)
    report = exact_link(systems, link, search, smaller_twin, larger_twin, f"twin_of_{token}").report
    assert (report.passed, report.differing) == (True, []), report.reasons
    assert report.ties >= 1
    assert report.ties + report.identical_summaries == len(DOCUMENTS)


@LINKS
@SEARCH
def test_a_changed_weight_breaks_the_link(systems, link, search):
    report = exact_link(systems, link, search, right=broken, name="broken").report
    assert not report.passed
    assert "summaries differ (documents" in report.reasons[0]
    assert "logits differ by" in report.reasons[1]


@LINKS
@SEARCH
@pytest.mark.parametrize("change", [ending_at_once, padding_for_ever])
def test_empty_summaries_are_identical_to_each_other_alone(systems, link, search, change):
    both = exact_link(systems, link, search, change, change, change.__name__)
    assert set(both.outputs[0].texts) == {""}
    assert (both.report.passed, both.report.identical_summaries) == (True, len(DOCUMENTS)), both.report.reasons
    for left, right, name in ((change, None, "plain"), (None, change, change.__name__)):
        report = exact_link(systems, link, search, left, right, name).report
        assert (report.passed, report.identical_summaries, report.ties) == (False, 0, 0)


@SEARCH
def test_int8_passes_and_noise_fails_whatever_rouge_allows(systems, search):
    fp32 = systems.onnx(search)
    own = fp32.generate(DOCUMENTS).texts
    right = systems.compare(fp32, systems.onnx(search, int8=True), search, exact=False, references=own).report
    assert (right.passed, right.reasons) == (True, [])
    wrong = systems.onnx(search, noise, "noise", int8=True)
    wrong = systems.compare(fp32, wrong, search, exact=False, references=own).report
    assert not wrong.passed
    assert "the next tokens' distributions diverge by" in wrong.reasons[0]
    assert "of next tokens are equal" in wrong.reasons[1]


@SEARCH
def test_empty_summaries_of_int8_fail(systems, search):
    fp32, empty = systems.onnx(search), systems.onnx(search, ending_at_once, "ending_at_once", int8=True)
    assert not systems.compare(fp32, empty, search, exact=False).report.passed
    both = systems.compare(systems.onnx(search, ending_at_once, "ending_at_once"), empty, search, exact=False).report
    assert (both.passed, both.identical_summaries) == (True, len(DOCUMENTS)), both.reasons

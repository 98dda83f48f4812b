"""Two systems compared: exactly, and by ROUGE."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.parity.comparison import Comparison
from export.parity.systems import Outputs, PyTorchSystem
from finetune.data.tokenizing import encode
from finetune.recipe import Export
from finetune.recipe_io import parse_recipe
from tests.conftest import gazette

SUMMARIES = ["The council met on Monday.", "A storm closed the port.", "The team won its match."]


class StubSystem:
    """Summaries and logits as given."""

    def __init__(self, name, texts, logits):
        self.name, self.texts, self._logits = name, texts, np.array(logits, dtype=np.float32)

    def generate(self, documents):
        return Outputs([[len(text)] for text in self.texts[: len(documents)]], self.texts[: len(documents)])

    def logits(self, inputs, tokens):
        return [self._logits for _ in inputs]


def compare(left, right, exact, **limits):
    recipe = parse_recipe({"model": {"name": "x"}, "data": {"train": "x"}, "export": limits})
    comparison = Comparison(recipe, [[1]] * 3, ["A document."] * 3, SUMMARIES)
    return comparison.compare([(left, right)], left, exact)[0]


def test_equal_systems_pass():
    link = compare(StubSystem("a", SUMMARIES, [[1, 2]]), StubSystem("b", SUMMARIES, [[1, 2]]), exact=True)
    assert link.report.passed
    assert link.report.link == "a = b"
    assert (link.report.identical_summaries, link.report.token_agreement, link.report.reasons) == (3, 1.0, [])
    assert link.report.tolerance == Export().tolerance
    assert link.report.rouge_tolerance is None


@pytest.mark.parametrize("exact", [True, False])
def test_logits_that_are_not_finite_fail_and_are_null_in_json(exact):
    link = compare(StubSystem("a", SUMMARIES, [[1, 2]]), StubSystem("b", SUMMARIES, [[np.nan, 2]]), exact=exact)
    assert not link.report.passed
    assert link.report.reasons == ["some logits are NaN or infinite"]
    content = link.report.model_dump(mode="json", exclude_unset=True)
    assert content["max_abs_logit_difference"] is content["mean_abs_logit_difference"] is None
    json.dumps(content, allow_nan=False)


def test_exact_comparison_names_the_documents_that_differ():
    other = [SUMMARIES[0], "Something else.", SUMMARIES[2]]
    link = compare(StubSystem("a", SUMMARIES, [[1, 2]]), StubSystem("b", other, [[1, 2.5]]), exact=True)
    assert link.report.reasons == [
        "1 of 3 summaries differ (documents 1)",
        "logits differ by 5.00e-01, allowed 2.00e-04 (1e-04 of the largest, 2)",
    ]
    assert link.report.differing == link.differing == [1]


def test_models_that_generate_empty_summaries_are_compared(tiny_run):
    """The decoder only ever generates padding, so no summary has a token."""
    content = json.loads((tiny_run / "run.json").read_text())["recipe"]
    content["generation"] = {"num_beams": 1, "max_new_tokens": 6}
    recipe = parse_recipe(content)
    tokenizer = AutoTokenizer.from_pretrained(tiny_run / "merged")
    systems = []
    for name in ("one", "other"):
        model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged")
        with torch.no_grad():
            model.shared.weight -= 50.0
            model.shared.weight[tokenizer.pad_token_id] = 50.0
        systems.append(PyTorchSystem(name, model, tokenizer, recipe))
    documents = [row["document"] for row in gazette("validation")[:3]]
    comparison = Comparison(recipe, encode(tokenizer, documents, recipe), documents, ["A summary."] * 3)
    (link,) = comparison.compare([tuple(systems)], systems[0], exact=True)
    assert link.outputs[0].tokens == [[], [], []]
    assert link.report.passed
    assert (link.report.identical_summaries, link.report.max_abs_logit_difference) == (3, 0.0)

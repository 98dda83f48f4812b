"""The bundle and its gate: what passes, what fails and what is left then."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.__main__ import main
from export.graphs.trace import trace, write_graphs
from precis import Engine, GenerationParams
from precis.bundle.manifest import sha256
from precis.bundle.names import DECODER
from precis.bundle.verify import open_bundle
from precis.runtime.kv_cache import Prefill
from precis.runtime.kv_cache_cuda import new_kv_cache
from precis.runtime.model import Seq2SeqModel
from tests.conftest import gazette
from tests.support.engines import seal


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the tiny run without its bundle."""
    return shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))


def test_the_bundle_holds_its_contract(tiny_run):
    bundle = tiny_run / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_text())
    names = {path.name for path in bundle.iterdir()}
    assert names >= {
        "encoder_model.onnx", "decoder_model_merged.onnx", "tokenizer.json", "config.json", "generation_config.json",
        "parity.json", "parity.md", "parity.png", "manifest.json",
    }  # fmt: skip
    assert manifest["files"] == {name: sha256(bundle / name) for name in names - {"manifest.json"}}
    for key in (
        "base_model",
        "data",
        "recipe",
        "lora",
        "git_commit",
        "versions",
        "precision",
        "rouge",
    ):
        assert manifest[key], key
    assert manifest["parity"] == json.loads((bundle / "parity.json").read_text())


def test_parity_is_measured_on_enough_documents_and_holds(tiny_run):
    parity = json.loads((tiny_run / "bundle/parity.json").read_text())
    assert parity["passed"] is True
    assert parity["documents"] == 64  # all there are: 24 for validation and 40 to fill up
    assert parity["identical_summaries"] + parity["ties"] == 64
    assert 0 < parity["max_abs_logit_difference"] <= parity["tolerance"]
    if not parity["ties"]:
        assert set(parity["delta"].values()) == {0.0}


def test_the_bundle_says_what_the_merged_model_says(tiny_run):
    tokenizer = AutoTokenizer.from_pretrained(tiny_run / "merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged")
    engine = Engine.load(tiny_run / "bundle")
    for row in gazette("validation")[:5]:
        inputs = tokenizer("summarize: " + row["document"], truncation=True, max_length=64, return_tensors="pt")
        # No settings: both take them from the generation_config.json that fine-tuning wrote.
        expected = tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True)
        assert engine.generate([row["document"]], GenerationParams(long_text="truncate"))[0].text == expected
    engine.close()


@pytest.mark.parametrize("fixed", [False, True])
def test_rows_of_unlike_age_and_length_share_a_decoder_batch(tiny_run, tmp_path, fixed):
    """Each row gets the logits it has alone, whatever else the caches' memory holds; a GPU's graphs likewise."""
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged").eval()
    bundle = tiny_run / "bundle"
    if fixed:
        bundle = tmp_path / "fixed"
        bundle.mkdir()
        write_graphs(trace(tiny_run / "merged", fixed=True), tiny_run / "merged", bundle)
        seal(bundle)
    graphs = Seq2SeqModel(open_bundle(bundle), "cpu", 1)
    operators = {kind for nodes in graphs.placement[DECODER].values() for _, kind in nodes}
    assert ("GroupQueryAttention" in operators) is not fixed
    slots = new_kv_cache(graphs, 8, 64, repeated=False)
    if fixed:
        for side in (slots._own, slots._cross):
            side.memory.update_inplace(np.full(side.memory.shape(), 9.0, dtype=np.float32))
    else:
        for cache in slots._own + slots._cross:
            cache[:] = 9.0
    sources = [list(range(20, 27)), list(range(40, 90)), [5, 6]]
    fed = [[0, 50, 61, 72, 83], [0, 94], [0, 8, 9]]
    rows = slots.take(3)
    assert slots.start([Prefill(rows[row : row + 1], ids, 8) for row, ids in enumerate(sources)]) == [None] * 3
    seen = [[] for _ in rows]
    for step in range(7):
        # Row 0 begins at once, row 1 at the third step, row 2 at the fifth.
        active = {row: step - 2 * row for row in range(3) if 0 <= step - 2 * row < len(fed[row])}
        tokens = np.array([[fed[row][active[row]] if row in active else 0] for row in range(3)])
        logits = slots.step(tokens)
        for row in active:
            seen[row].append(logits[row, 0].copy())
            slots.past_length[row] += 1
    for row in range(3):
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([sources[row]]), decoder_input_ids=torch.tensor([fed[row]])).logits[0]
        np.testing.assert_allclose(np.stack(seen[row]), alone.numpy(), atol=1e-4)


def test_only_a_token_that_pytorch_scored_alike_is_a_tie(tiny_run):
    """Two tokens are given the same embedding, which is the output layer too: PyTorch cannot tell them apart."""
    from export.parity.comparison import is_tie
    from finetune.data.tokenizing import encode
    from finetune.evaluation.scoring import generate
    from finetune.recipe_io import parse_recipe

    recipe = parse_recipe(json.loads((tiny_run / "run.json").read_text())["recipe"])
    tokenizer = AutoTokenizer.from_pretrained(tiny_run / "merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged")
    (ids,) = encode(tokenizer, [gazette("validation")[0]["document"]], recipe)
    (tokens,) = generate(model, tokenizer, [ids], recipe, "")
    step = 4
    twin, other = 15001, 15002
    assert not {twin, other} & set(tokens)
    with torch.no_grad():
        model.shared.weight[twin] = model.shared.weight[tokens[step]]
    (expected,) = generate(model, tokenizer, [ids], recipe, "")
    assert expected[:step] == tokens[:step]
    swapped = twin if expected[step] == tokens[step] else tokens[step]
    assert is_tie(model, ids, expected, [*expected[:step], swapped, *expected[step + 1 :]], recipe)
    assert not is_tie(model, ids, expected, [*expected[:step], other, *expected[step + 1 :]], recipe)
    assert not is_tie(model, ids, expected, [*expected[:step], 1], recipe)


def test_a_model_that_says_nothing_is_compared_too(tiny_run):
    """What the decoder begins with, padding, is what it goes on with, and no summary has a token."""
    from export.parity.comparison import Comparison
    from export.parity.systems import Torch
    from finetune.data.tokenizing import encode
    from finetune.recipe_io import parse_recipe

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
        systems.append(Torch(name, model, tokenizer, recipe))
    documents = [row["document"] for row in gazette("validation")[:3]]
    comparison = Comparison(recipe, encode(tokenizer, documents, recipe), documents, ["A summary."] * 3)
    (link,) = comparison.links([tuple(systems)], systems[0], [True])
    assert link.said[0].tokens == [[], [], []]
    assert link.passed
    assert (link.report["identical_summaries"], link.report["max_abs_logit_difference"]) == (3, 0.0)


def test_a_failed_gate_exits_with_its_reason_and_leaves_nothing_to_serve(run, capsys):
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["export"]["tolerance"] = 1e-12
    (run / "run.json").write_text(json.dumps(info))
    assert main([str(run), "--precision", "fp32"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "Parity failed at base + adapter = merged" in sentence
    assert "1e-12" in sentence
    assert not (run / "bundle").exists()
    assert not list(run.glob(".*"))
    assert json.loads((run / "parity-failed/parity.json").read_text())["passed"] is False
    assert not list((run / "parity-failed").glob("*.onnx"))


def test_an_onnx_model_that_says_something_else_does_not_pass(run, monkeypatch, capsys):
    """The exported weights are those of a different model than the one PyTorch is asked."""
    import export.pipeline as bundle

    other = run.parent / "other"
    shutil.copytree(run / "merged", other)
    model = AutoModelForSeq2SeqLM.from_pretrained(other)
    with torch.no_grad():
        model.decoder.block[0].layer[1].EncDecAttention.v.weight.mul_(1.5)
    model.save_pretrained(other)
    monkeypatch.setattr(bundle, "trace", lambda _, **how: trace(other, **how))
    assert main([str(run), "--precision", "fp32"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "summaries differ (documents" in sentence
    assert not (run / "bundle").exists()


def test_a_failed_export_keeps_the_bundle_that_was_there(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = (run / "bundle/manifest.json").read_bytes()
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["export"]["tolerance"] = 1e-12
    (run / "run.json").write_text(json.dumps(info))
    assert main([str(run), "--precision", "fp32"]) == 1
    assert (run / "bundle/manifest.json").read_bytes() == before


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "empty"])
def test_a_folder_that_is_no_run_is_one_sentence(tmp_path, capsys, make):
    make(tmp_path / "run")
    assert main([str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "run" in error

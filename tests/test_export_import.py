"""What optimum-cli export onnx wrote becomes a run whose bundles say the same, or one sentence tells why not."""

import json
import shutil
import sys
import warnings

import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import quantize_dynamic
from optimum.commands.optimum_cli import main as optimum_cli
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from engine import Engine, Generation
from export.__main__ import main
from export.importing import read_model
from tests.conftest import gazette, tiny_t5


def exported(model, folder):
    """The folder that Optimum's own command makes of the model."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's
        words = ["optimum-cli", "export", "onnx", "--model", str(model), "--task", "text2text-generation-with-past"]
        patch.setattr(sys, "argv", [*words, str(folder)])
        optimum_cli()
    return folder


def model_and_export(folder, shape):
    model = tiny_t5(folder / "model", shape)
    network = AutoModelForSeq2SeqLM.from_pretrained(model)
    with torch.no_grad():  # a norm that is trained has numbers of its own
        network.encoder.block[1].layer[0].layer_norm.weight.mul_(1.25)
    network.save_pretrained(model)
    return model, exported(model, folder / "optimum")


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return model_and_export(tmp_path_factory.mktemp("tied"), "v1.0")


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    return model_and_export(tmp_path_factory.mktemp("untied"), "v1.1")


@pytest.fixture(params=["tied", "untied"])
def given(request):
    """A model of either shape, and its export."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def plain(tied, tmp_path):
    """A copy of an export to be spoiled."""
    return shutil.copytree(tied[1], tmp_path / "given")


def take(folder, recipe, run, *more):
    return main(["import", str(folder), str(recipe), f"output={run}", *more])


@pytest.mark.parametrize("decoder", ["decoder_model.onnx", "decoder_model_merged.onnx"])
def test_every_weight_comes_back(given, tmp_path, decoder):
    model, optimum = given
    folder = tmp_path / "given"
    folder.mkdir()
    for name in ("encoder_model.onnx", decoder, "config.json"):
        shutil.copy(optimum / name, folder / name)
    expected = AutoModelForSeq2SeqLM.from_pretrained(model).state_dict()
    found = read_model(folder).state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def test_an_imported_run_says_what_optimum_says(given, tiny_recipe, tmp_path):
    _, optimum = given
    run = tmp_path / "run"
    assert take(optimum, tiny_recipe, run, "export.precision=[fp32]") == 0
    parity = json.loads((run / "bundle/parity.json").read_text())
    assert [link["link"] for link in parity["links"]] == ["merged = given ONNX", "merged = ONNX fp32"]
    assert parity["passed"] is True
    assert all(link["identical_summaries"] + link["ties"] == 64 for link in parity["links"])
    manifest = json.loads((run / "bundle/manifest.json").read_text())
    assert manifest["base_model"]["name"] == str(optimum)
    assert manifest["lora"] is None
    assert "finetuned" in manifest["rouge"]

    tokenizer = AutoTokenizer.from_pretrained(optimum)
    onnx_model = ORTModelForSeq2SeqLM.from_pretrained(optimum)
    for part in (onnx_model.decoder, onnx_model.decoder_with_past):
        if part is not None:
            part.embed_size_per_head = onnx_model.config.d_kv
    engine = Engine.load(run / "bundle")
    for row in gazette("validation")[:3]:
        inputs = tokenizer("summarize: " + row["document"], truncation=True, max_length=64, return_tensors="pt")
        tokens = onnx_model.generate(**inputs, max_new_tokens=12, no_repeat_ngram_size=3, do_sample=False)[0]
        said = engine.generate([row["document"]], Generation(long_text="truncate"))[0].text
        assert said == tokenizer.decode(tokens, skip_special_tokens=True)
    engine.close()


def test_graphs_that_say_something_else_than_their_weights_do_not_pass(plain, tiny_recipe, tmp_path, capsys):
    """The feed-forward layers have another activation, which no weight shows."""
    graph = onnx.load(plain / "encoder_model.onnx")
    for node in graph.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Abs"
    onnx.save(graph, plain / "encoder_model.onnx")
    assert take(plain, tiny_recipe, tmp_path / "run") == 1
    assert "Parity failed at merged = given ONNX" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run/bundle").exists()


def spoiled(folder, how):
    if how == "no decoder":
        for path in folder.glob("decoder*.onnx"):
            path.unlink()
    elif how == "8 bits":
        quantize_dynamic(folder / "decoder_model.onnx", folder / "decoder_model.onnx")
    elif how == "fp16":
        graph = onnx.load(folder / "encoder_model.onnx")
        for tensor in graph.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), tensor.name))
        onnx.save(graph, folder / "encoder_model.onnx")
    elif how == "no graph":
        (folder / "encoder_model.onnx").write_bytes(b"no graph")
    elif how == "another model":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "bart"}))
    else:
        (folder / "tokenizer.json").unlink()
        (folder / "spiece.model").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no decoder", "it has no decoder_model.onnx and no decoder_model_merged.onnx"),
        ("8 bits", "hold no decoder.block.0.layer.0.SelfAttention.q.weight in fp32"),
        ("fp16", "in fp32. Import what optimum-cli export onnx writes without"),
        ("no graph", "encoder_model.onnx cannot be read"),
        ("another model", "is a bart, and this pipeline is for T5"),
        ("no tokenizer", "cannot be loaded"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence_and_leaves_nothing(plain, tiny_recipe, tmp_path, capsys, how, told):
    spoiled(plain, how)
    capsys.readouterr()
    assert take(plain, tiny_recipe, tmp_path / "run") == 1
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_was_trained_is_not_imported_over(plain, tiny_recipe, tiny_run, capsys):
    before = (tiny_run / "run.json").read_bytes()
    assert take(plain, tiny_recipe, tiny_run) == 1
    assert "is there already and was not imported" in capsys.readouterr().err
    assert (tiny_run / "run.json").read_bytes() == before

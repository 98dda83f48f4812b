"""8-bit and fp16 graphs: what is rounded, what stays in fp32 and why, and what the bundles tell of it."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from export.__main__ import main
from export.graphs.trace import trace, write_graphs, write_onnx
from export.precision.activations import observe
from export.precision.fp16 import LIMITS, halve, with_their_caches
from export.precision.int8 import quantize_graphs
from export.precision.sensitivity import by_damage
from precis import Engine
from precis.bundle.manifest import FORMAT, sha256
from precis.bundle.names import DECODER, ENCODER, MANIFEST, WEIGHTS
from precis.errors import EngineError
from precis.runtime.placement import check_placement
from tests.conftest import tiny_t5

TEXTS = [[5, 90, 300, 17, 1], list(range(40, 90)), [7, 7, 2500, 1]]
FED = [[50, 61, 72], [94, 8, 9, 10], [5, 1]]


def seal(folder):
    files = {path.name: sha256(path) for path in folder.iterdir() if path.name != MANIFEST}
    manifest = {"format": FORMAT, "prefix": "", "max_input_tokens": 64, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def engine_logits(folder, inputs=TEXTS, tokens=FED):
    seal(folder)
    engine = Engine.load(folder, threads=1)
    try:
        return np.concatenate(engine.teacher_forced_logits(inputs, tokens))
    finally:
        engine.close()


def torch_logits(folder, inputs=TEXTS, tokens=FED):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    with torch.no_grad():
        pairs = zip(inputs, tokens, strict=True)
        return torch.cat([model(torch.tensor([a]), labels=torch.tensor([b])).logits[0] for a, b in pairs]).numpy()


def odd_t5(folder, **settings):
    """The tiny T5 of v1.0 with other sizes, its vocabulary not a multiple of anything."""
    base = tiny_t5(folder / "like", "v1.0")
    config = AutoModelForSeq2SeqLM.from_pretrained(base).config
    for key, value in settings.items():
        setattr(config, key, value)
    torch.manual_seed(3)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(base)
    return base


@pytest.fixture(scope="module", params=["v1.0", "v1.1", "mt5", "untied v1.0", "tied v1.1", "narrow"])
def shape(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shape")
    if request.param == "untied v1.0":
        return odd_t5(folder, tie_word_embeddings=False, vocab_size=8191)
    if request.param == "tied v1.1":
        return odd_t5(folder, feed_forward_proj="gated-gelu", d_kv=16, num_layers=1, vocab_size=8203)
    if request.param == "narrow":
        return odd_t5(folder, d_model=24, d_ff=40, vocab_size=8101)
    return tiny_t5(folder / "tiny", request.param)


def halved(graphs, kept, source, folder):
    """A bundle of the graphs in fp16."""
    folder.mkdir()
    write_graphs(halve(graphs, observe(graphs, TEXTS, FED, 0), kept), source, folder)
    return folder


def test_every_shape_of_t5_says_in_fp32_and_nearly_in_int8_and_fp16_what_pytorch_says(shape, tmp_path):
    expected = torch_logits(shape)
    for name, calibration in (("fp32", None), ("int8", TEXTS)):
        (tmp_path / name).mkdir()
        write_onnx(shape, tmp_path / name, calibration)
    halved(trace(shape, fixed=True), [], shape, tmp_path / "fp16")
    for name, allowed in (("fp32", 1e-4), ("int8", 0.1), ("fp16", 0.01)):
        # Relative, since the heads of untied random models give small logits.
        difference = np.abs(engine_logits(tmp_path / name) - expected).max() / np.abs(expected).max()
        assert difference < allowed, name


def test_a_tied_embedding_is_stored_once_for_both_graphs(tmp_path):
    model = tiny_t5(tmp_path / "model", "v1.0")
    weights = sum(p.numel() for p in AutoModelForSeq2SeqLM.from_pretrained(model).parameters())
    for name, calibration, each in (("fp32", None, 4), ("int8", TEXTS, 1)):
        folder = tmp_path / name
        folder.mkdir()
        write_onnx(model, folder, calibration)
        # Scales and what a page's end leaves empty come on top.
        assert weights * each <= (folder / WEIGHTS).stat().st_size <= weights * each * 1.25 + 40 * 4096


def test_layers_named_stay_in_fp32_and_the_rest_does_not(tmp_path):
    graphs = trace(tiny_t5(tmp_path / "model", "v1.0"), TEXTS)
    kept = {"encoder.block.0.layer.0.SelfAttention.o", "lm_head", "shared"}
    operators = {
        name: {node.name.removesuffix("_quant"): node.op_type for node in graph.graph.node}
        for name, graph in quantize_graphs(graphs, kept).items()
    }
    assert operators[ENCODER]["encoder.block.0.layer.0.SelfAttention.o"] == "MatMul"
    assert operators[ENCODER]["encoder.block.0.layer.0.SelfAttention.v"] == "MatMulInteger"
    assert operators[DECODER]["lm_head"] == "MatMul"
    assert operators[DECODER]["decoder.block.1.layer.2.DenseReluDense.wo"] == "MatMulIntegerToFloat"
    assert operators[ENCODER]["shared"] == operators[DECODER]["shared"] == "Gather"


def test_the_layer_that_suffers_from_8_bits_is_found(tmp_path):
    """One weight far beyond the others of its column takes all the steps that 7 bits have."""
    folder = tiny_t5(tmp_path / "model", "v1.0")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        layer = model.encoder.block[1].layer[1].DenseReluDense.wo.weight
        layer.mul_(20)
        layer[:, 0] = layer.abs().max() * 300
        # What it is multiplied with is never on, so that only the rounding of the others tells.
        model.encoder.block[1].layer[1].DenseReluDense.wi.weight[0] = 0
    model.save_pretrained(folder)
    damage = by_damage(trace(folder, TEXTS), folder, seal, TEXTS, FED)
    assert damage[0][0] == "encoder.block.1.layer.1.DenseReluDense.wo"
    assert damage[0][1] > 3 * damage[1][1]


@pytest.fixture
def loud(tmp_path):
    """A T5 whose feed-forward layers pass through numbers beyond fp16, as the public ones do, and come back."""
    folder = tiny_t5(tmp_path / "loud", "v1.1")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        for block in (model.encoder.block[1], model.decoder.block[0]):
            block.layer[-1].DenseReluDense.wi_1.weight.mul_(3e5)
            block.layer[-1].DenseReluDense.wo.weight.div_(3e5)
    model.save_pretrained(folder)
    return folder


def test_what_overflows_in_fp16_on_real_inputs_is_found(loud):
    graphs = trace(loud)
    seen = observe(graphs, TEXTS, FED, 0)
    assert min(activations.most()["value"] for activations in seen.values()) > 65504
    found = {node for name, graph in graphs.items() for node in seen[name].beyond(graph, LIMITS[0])}
    assert {"encoder.block.1.layer.1.DenseReluDense.wo", "decoder.block.0.layer.2.DenseReluDense.wo"} <= found
    assert "encoder.block.0.layer.1.DenseReluDense.wo" not in found


def test_what_overflows_stays_in_fp32_and_the_rest_is_fp16(loud, tmp_path):
    graphs, expected = trace(loud, fixed=True), torch_logits(loud)
    seen = observe(graphs, TEXTS, FED, 0)
    kept = [node for name, graph in graphs.items() for node in seen[name].beyond(graph, LIMITS[0])]
    spoiled = engine_logits(halved(graphs, [], loud, tmp_path / "all"))
    assert not np.abs(spoiled - expected).max() < 0.1 * np.abs(expected).max()
    folder = halved(graphs, kept, loud, tmp_path / "some")
    logits = engine_logits(folder)
    assert np.isfinite(logits).all()
    assert 0 < np.abs(logits - expected).max() < 0.01 * np.abs(expected).max()
    for name, layer, other in (
        (ENCODER, "encoder.block.1.layer.1.DenseReluDense.wo", "encoder.block.0.layer.1.DenseReluDense.wo"),
        (DECODER, "decoder.block.0.layer.2.DenseReluDense.wo", "decoder.block.1.layer.2.DenseReluDense.wo"),
    ):
        graph = onnx.load(folder / name).graph
        types = {tensor.name: tensor.data_type for tensor in graph.initializer}
        read = {node.name: types.get(node.input[1]) for node in graph.node if node.op_type == "MatMul"}
        assert (read[layer], read[other]) == (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("side", ["decoder", "encoder"])
def test_attention_that_stays_in_fp32_takes_all_caches_of_its_kind_along(loud, tmp_path, side, fixed):
    """The engine has one type for all own caches and one for all sources."""
    graphs = trace(loud, fixed=fixed)
    seen = observe(graphs, TEXTS, FED, 0)
    beyond = [node for name, graph in graphs.items() for node in seen[name].beyond(graph, LIMITS[0])]
    first = next(node for node in graphs[DECODER].graph.node if f"past_key_values.0.{side}.value" in node.input)
    folder = halved(graphs, with_their_caches(graphs[DECODER], [*beyond, first.name]), loud, tmp_path / "half")
    graph = onnx.load(folder / DECODER, load_external_data=False).graph
    types = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    for name, kind in types.items():
        if name.startswith("past_key_values"):
            assert kind == (onnx.TensorProto.FLOAT if f".{side}." in name else onnx.TensorProto.FLOAT16)
    expected = torch_logits(loud)
    assert np.abs(engine_logits(folder) - expected).max() < 0.01 * np.abs(expected).max()


def test_heavy_nodes_elsewhere_than_asked_are_refused_by_name(tiny_run):
    """On this machine all nodes are the CPU's, which is what a GPU's session must not have."""
    engine = Engine.load(tiny_run / "bundle")
    placed = engine._model.placement[DECODER]
    check_placement(placed, "CPUExecutionProvider", DECODER)
    with pytest.raises(EngineError, match=r"heavy nodes of decoder.*decoder\.block\.0.*CPUExecutionProvider"):
        check_placement(placed, "CUDAExecutionProvider", DECODER)
    light = {"CPUExecutionProvider": [("/Shape", "Shape")], "CUDAExecutionProvider": [("lm_head", "MatMul")]}
    check_placement(light, "CUDAExecutionProvider", DECODER)
    engine.close()


@pytest.fixture(scope="module")
def rounded(tiny_run, tmp_path_factory):
    """The tiny run in both other precisions; its documents are few, so the tolerance is wide."""
    run = shutil.copytree(tiny_run, tmp_path_factory.mktemp("rounded") / "tiny")
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["export"] |= {"rouge_tolerance": 3.0, "rouge_interval": 6.0}
    (run / "run.json").write_text(json.dumps(info))
    assert main([str(run), "--precision", "int8", "fp16"]) == 0
    return run


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_the_chain_is_proved_link_by_link(rounded, precision):
    bundle = rounded / f"bundle-{precision}"
    parity = json.loads((bundle / "parity.json").read_text())
    assert [link["link"] for link in parity["links"]] == [
        "base + adapter = merged",
        "merged = ONNX fp32",
        f"ONNX fp32 = ONNX {precision}",
    ]
    assert parity["passed"] is True
    for link in parity["links"]:
        assert link["documents"] == 64
        assert 0 < link["token_agreement"] <= 1
        assert link["mean_abs_logit_difference"] <= link["max_abs_logit_difference"]
        assert set(link["delta_ci95"]) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert parity["links"][1]["max_abs_logit_difference"] < 1e-4 < parity["links"][2]["max_abs_logit_difference"]
    # The overall figures are those of the ends of the chain, which the links' add up to.
    for kind, delta in parity["delta"].items():
        assert delta == pytest.approx(sum(link["delta"][kind] for link in parity["links"][1:]), abs=0.01)


def test_the_manifests_tell_precision_placement_and_what_was_kept(rounded):
    int8, fp16 = (json.loads((rounded / f"bundle-{p}/manifest.json").read_text()) for p in ("int8", "fp16"))
    assert (int8["precision"], fp16["precision"]) == ("int8", "fp16")
    assert int8["providers"] == ["CPUExecutionProvider"]
    # Two decoder layers of q, k, v, o, q, o, wi and wo, and the output layer.
    assert int8["node_placement"][DECODER]["CPUExecutionProvider"]["MatMulIntegerToFloat"] == 2 * 8 + 1
    assert int8["kept_in_fp32"] == []
    assert 0 < fp16["largest_activation"][ENCODER]["value"] < 65504
    types = {tensor.data_type for tensor in onnx.load(rounded / "bundle-fp16" / DECODER).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types


def test_other_precisions_leave_the_fp32_bundle_as_it_was(rounded, tiny_run):
    assert (rounded / "bundle/manifest.json").read_bytes() == (tiny_run / "bundle/manifest.json").read_bytes()
    assert not list(rounded.glob(".*"))


def test_a_run_that_overflows_gets_an_fp16_bundle_that_says_what_was_kept(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged")
    with torch.no_grad():  # by a power of two, which changes nothing in fp32
        forward = model.encoder.block[1].layer[1].DenseReluDense
        forward.wi.weight.mul_(2**18)
        forward.wo.weight.div_(2**18)
    model.save_pretrained(run / "merged")
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["lora"] = None  # its adapter is for the weights as they were
    info["recipe"]["export"] |= {"rouge_tolerance": 3.0, "rouge_interval": 6.0}
    (run / "run.json").write_text(json.dumps(info))
    assert main([str(run), "--precision", "fp16"]) == 0
    manifest = json.loads((run / "bundle-fp16/manifest.json").read_text())
    assert "encoder.block.1.layer.1.DenseReluDense.wo" in manifest["kept_in_fp32"]
    assert "encoder.block.0.layer.1.DenseReluDense.wo" not in manifest["kept_in_fp32"]
    assert manifest["largest_activation"][ENCODER]["value"] > 65504 > manifest["largest_activation"][DECODER]["value"]
    assert manifest["parity"]["passed"] is True
    assert manifest["parity"]["max_abs_logit_difference"] < 0.1

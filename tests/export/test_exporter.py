"""The export of bundles: what passes parity, what fails, and what is left on disk then."""

import json
import shutil

import onnx
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from export import exporter
from export.__main__ import main
from export.graphs.trace import trace
from export.trust import certificate
from precis.bundle.names import DECODER, ENCODER
from precis.bundle.verify import open_bundle
from tests.conftest import write_jsonl
from tests.export.support import edit_run


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the tiny run without its bundle."""
    return shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))


def test_failed_parity_exits_with_a_reason_and_leaves_no_bundle(run, capsys):
    edit_run(run, lambda info: info["recipe"]["export"].update(tolerance=1e-12))
    assert main([str(run), "--precision", "fp32"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "Parity failed at base + adapter = merged" in sentence
    assert "1e-12" in sentence
    assert not (run / "bundle").exists()
    assert not list(run.glob(".*"))
    assert json.loads((run / "parity-failed/parity.json").read_text())["passed"] is False
    assert not list((run / "parity-failed").glob("*.onnx"))


def test_graphs_of_another_model_fail_parity(run, monkeypatch, capsys):
    """The exported weights are not those that PyTorch runs."""
    other = run.parent / "other"
    shutil.copytree(run / "merged", other)
    model = AutoModelForSeq2SeqLM.from_pretrained(other)
    with torch.no_grad():
        model.decoder.block[0].layer[1].EncDecAttention.v.weight.mul_(1.5)
    model.save_pretrained(other)
    monkeypatch.setattr(exporter, "trace", lambda _, **options: trace(other, **options))
    assert main([str(run), "--precision", "fp32"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "summaries differ (documents" in sentence
    assert not (run / "bundle").exists()


def test_failed_parity_keeps_the_previous_bundle(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = (run / "bundle/manifest.json").read_bytes()
    edit_run(run, lambda info: info["recipe"]["export"].update(tolerance=1e-12))
    assert main([str(run), "--precision", "fp32"]) == 1
    assert (run / "bundle/manifest.json").read_bytes() == before


def test_the_last_precision_gets_a_certificate_of_trust(run, monkeypatch, tmp_path, capsys):
    """The tiny run has 24 validation pairs, of which none was trained on; that is too few elsewhere.

    The one label is too few for verdicts to count.
    """
    row = {"document": "The pool is closed.", "summary": "The pool is closed.", "label": 1}
    labels = write_jsonl(tmp_path / "judged.jsonl", [row])
    monkeypatch.setattr(certificate, "MIN_PAIRS", 20)
    edit_run(run, lambda info: info["recipe"]["export"].update({"rouge_tolerance": 3.0, "rouge_interval": 6.0}))
    assert main([str(run), "--precision", "int8", "fp32", "--labels", str(labels)]) == 0
    assert "of its summaries are judged in --labels" in " ".join(capsys.readouterr().err.split())
    assert open_bundle(run / "bundle").manifest.trust is None
    manifest = open_bundle(run / "bundle-int8").manifest
    assert manifest.extraction_trust is None, "the recipe generates"
    trust = manifest.trust
    assert trust.fitted_pairs + trust.calibration_pairs == 24
    assert trust.curve[-1][0] == 1.0
    assert "## Trust" in (run / "README.md").read_text()


@pytest.fixture(scope="module")
def converted(tiny_run, tmp_path_factory):
    """The tiny run in both other precisions; it has few documents, so the limits are wide."""
    run = shutil.copytree(tiny_run, tmp_path_factory.mktemp("converted") / "tiny")
    edit_run(run, lambda info: info["recipe"]["export"].update({"rouge_tolerance": 3.0, "rouge_interval": 6.0}))
    assert main([str(run), "--precision", "int8", "fp16"]) == 0
    return run


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_every_link_of_the_parity_chain_is_measured(converted, precision):
    bundle = converted / f"bundle-{precision}"
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
    # The overall figures compare the ends of the chain; the differences of the links add up to them.
    for kind, delta in parity["delta"].items():
        assert delta == pytest.approx(sum(link["delta"][kind] for link in parity["links"][1:]), abs=0.01)


def test_manifests_state_precision_placement_and_nodes_kept_in_fp32(converted):
    int8, fp16 = (json.loads((converted / f"bundle-{p}/manifest.json").read_text()) for p in ("int8", "fp16"))
    assert (int8["precision"], fp16["precision"]) == ("int8", "fp16")
    assert int8["providers"] == ["CPUExecutionProvider"]
    # Two decoder layers of qkv, o, q, o, wi and wo, and two products with the source; and the output layer.
    assert int8["node_placement"][DECODER]["CPUExecutionProvider"]["MatMulIntegerToFloat"] == 2 * (6 + 2) + 1
    assert int8["kept_in_fp32"] == []
    assert 0 < fp16["largest_activation"][ENCODER]["value"] < 65504
    types = {tensor.data_type for tensor in onnx.load(converted / "bundle-fp16" / DECODER).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types


def test_other_precisions_do_not_touch_the_fp32_bundle(converted, tiny_run):
    assert (converted / "bundle/manifest.json").read_bytes() == (tiny_run / "bundle/manifest.json").read_bytes()
    assert not list(converted.glob(".*"))

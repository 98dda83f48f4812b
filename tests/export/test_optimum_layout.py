"""Optimum's layout: its own runtime loads the folder and generates what PyTorch generates."""

import json
import shutil

import pytest
import torch
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.__main__ import main
from export.optimum_layout import load_optimum, write_optimum
from tests.conftest import gazette, tiny_t5


@pytest.fixture(scope="module")
def laid_out(tiny_run, tmp_path_factory):
    run = shutil.copytree(tiny_run, tmp_path_factory.mktemp("optimum") / "tiny")
    assert main([str(run), "--layout", "optimum"]) == 0
    return run


def test_folder_loads_in_optimum_and_generates_the_same(laid_out):
    tokenizer = AutoTokenizer.from_pretrained(laid_out / "merged")
    pytorch = AutoModelForSeq2SeqLM.from_pretrained(laid_out / "merged").eval()
    onnx = ORTModelForSeq2SeqLM.from_pretrained(laid_out / "optimum")
    texts = ["summarize: " + row["document"] for row in gazette("validation")[:4]]
    batch = tokenizer(texts, truncation=True, max_length=64, padding=True, return_tensors="pt")
    assert torch.equal(onnx.generate(**batch), pytorch.generate(**batch))


def test_parity_is_measured_in_optimums_runtime(laid_out, tiny_run):
    parity = json.loads((laid_out / "optimum/parity.json").read_text())
    assert [link["link"] for link in parity["links"]] == ["base + adapter = merged", "merged = ONNX by Optimum"]
    assert parity["passed"] is True
    assert 0 < parity["max_abs_logit_difference"] < 1e-4
    assert (laid_out / "bundle/manifest.json").read_bytes() == (tiny_run / "bundle/manifest.json").read_bytes()


def test_heads_wider_than_d_model_by_heads_are_correct(tmp_path):
    folder = tiny_t5(tmp_path / "wide", "v1.1")
    write_optimum(folder, tmp_path / "optimum")
    source = torch.tensor([[5, 90, 300, 17, 1]])
    expected = AutoModelForSeq2SeqLM.from_pretrained(folder).generate(source, max_new_tokens=8)
    assert torch.equal(load_optimum(tmp_path / "optimum").generate(source, max_new_tokens=8), expected)

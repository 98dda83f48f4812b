"""The fp32 bundle of a run: its files, its parity, its summaries, and its decoder on rows of different ages."""

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
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner import new_model_runner
from precis.text.tokenizer import TextTokenizer
from tests.conftest import gazette
from tests.support.engines import seal


def test_bundle_has_all_files_and_manifest_keys(tiny_run):
    bundle = tiny_run / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_text())
    names = {path.name for path in bundle.iterdir()}
    assert names >= {
        "encoder_model.onnx", "decoder_model_merged.onnx", "tokenizer.json", "config.json", "generation_config.json",
        "parity.json", "parity.md", "parity.png", "manifest.json",
    }  # fmt: skip
    assert manifest["files"] == {name: sha256(bundle / name) for name in names - {"manifest.json"}}
    for key in ("base_model", "data", "recipe", "lora", "git_commit", "versions", "precision", "rouge"):
        assert manifest[key], key
    assert manifest["parity"] == json.loads((bundle / "parity.json").read_text())


def test_parity_passes_on_enough_documents(tiny_run):
    parity = json.loads((tiny_run / "bundle/parity.json").read_text())
    assert parity["passed"] is True
    assert parity["documents"] == 64  # all there are: 24 of validation, 40 of training
    assert parity["identical_summaries"] + parity["ties"] == 64
    assert 0 < parity["max_abs_logit_difference"] <= parity["tolerance"] * parity["max_logit"]
    if not parity["ties"]:
        assert set(parity["delta"].values()) == {0.0}


def test_engine_and_merged_model_generate_the_same_summaries(tiny_run):
    tokenizer = AutoTokenizer.from_pretrained(tiny_run / "merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged")
    engine = Engine.load(tiny_run / "bundle")
    for row in gazette("validation")[:5]:
        inputs = tokenizer("summarize: " + row["document"], truncation=True, max_length=64, return_tensors="pt")
        # No parameters: both take them from the generation_config.json that fine-tuning wrote.
        expected = tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True)
        assert engine.generate([row["document"]], GenerationParams(long_text="truncate"))[0].text == expected
    engine.close()


@pytest.mark.parametrize("static", [False, True])
def test_rows_of_different_age_and_length_share_a_decoder_batch(tiny_run, tmp_path, static):
    """Each row gets the logits it has alone, whatever else the caches' memory holds, on both kinds of graphs."""
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged").eval()
    bundle = tiny_run / "bundle"
    if static:
        bundle = tmp_path / "static"
        bundle.mkdir()
        write_graphs(trace(tiny_run / "merged", static=True), tiny_run / "merged", bundle)
        seal(bundle)
    graphs = Seq2SeqModel(open_bundle(bundle), "cpu", 1)
    operators = {kind for nodes in graphs.placement[DECODER].values() for _, kind in nodes}
    assert ("GroupQueryAttention" in operators) is not static
    runner = new_model_runner(graphs, 8, 64, cuda_graphs=False)
    cache = runner.kv_cache
    if static:
        for side in (cache.self_kv, cache.cross_kv):
            side.buffer.update_inplace(np.full(side.buffer.shape(), 9.0, dtype=np.float32))
    else:
        for array in cache.self_kv + cache.cross_kv:
            array[:] = 9.0
    sources = [list(range(20, 27)), list(range(40, 90)), [5, 6]]
    fed = [[0, 50, 61, 72, 83], [0, 94], [0, 8, 9]]
    rows = cache.allocate(3)
    assert runner.prefill([Prefill(rows[row : row + 1], ids, 8) for row, ids in enumerate(sources)]) == [None] * 3
    seen = [[] for _ in rows]
    for step in range(7):
        # Row 0 begins at once, row 1 at the third step, row 2 at the fifth.
        active = {row: step - 2 * row for row in range(3) if 0 <= step - 2 * row < len(fed[row])}
        tokens = np.array([[fed[row][active[row]] if row in active else 0] for row in range(3)])
        logits = runner.decode(tokens)
        for row in active:
            seen[row].append(logits[row, 0].copy())
            cache.past_length[row] += 1
    for row in range(3):
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([sources[row]]), decoder_input_ids=torch.tensor([fed[row]])).logits[0]
        np.testing.assert_allclose(np.stack(seen[row]), alone.numpy(), atol=1e-4)


def test_bundle_decodes_with_the_space_clean_up_of_its_tokenizer(tiny_run, tmp_path):
    """As the tokenizers of T5s that were saved years ago do."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    AutoTokenizer.from_pretrained(run / "merged", clean_up_tokenization_spaces=True).save_pretrained(run / "merged")
    assert main([str(run), "--precision", "fp32", "--accept-worse"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    ids = tokenizer("Well , it is n't hers , it 's his .").input_ids
    expected = tokenizer.decode(ids, skip_special_tokens=True)
    assert expected == "Well, it isn't hers, it's his."
    assert TextTokenizer.load(open_bundle(run / "bundle")).decode(ids) == expected
    assert TextTokenizer.load(open_bundle(tiny_run / "bundle")).decode(ids) != expected

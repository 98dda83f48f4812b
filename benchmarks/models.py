"""The benchmarks' model: a T5 with random weights, and its bundles. Speed does not depend on the weights' values."""

import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from benchmarks.peers import INPUT_LIMIT, SHAPES, VOCABULARY, Setup, token_ids, word
from export.graphs.trace import trace, write_graphs
from export.precision.activations import measure_activations
from export.precision.candidates import fp16_candidates
from export.precision.int8 import quantize_graphs
from precis.bundle.manifest import FORMAT, sha256
from precis.bundle.names import MANIFEST

PREFIX = "w3 "
SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}


def write_model(folder: Path, **shape: int) -> None:
    """Writes a Hugging Face model folder of t5-small's shape; its tokenizer makes one token of each word.

    `shape` overrides keys of T5Config.
    """
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **{**SMALL, **shape}
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word(i): i for i in range(VOCABULARY)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def write_bundle(model: Path, folder: Path, calibration: list[list[int]] | None = None) -> None:
    """Writes a bundle for CPUs, without parity checks: fp32 or, with token ids as `calibration`, int8."""
    folder.mkdir(parents=True)
    graphs = trace(model, calibration)
    write_graphs(graphs if calibration is None else quantize_graphs(graphs), model, folder)
    write_manifest(folder)


def write_gpu_bundle(model: Path, folder: Path, precision: str) -> None:
    """Writes a bundle for CUDA in fp32 or fp16, without parity checks."""
    folder.mkdir(parents=True)
    graphs = trace(model, static=True)
    if precision == "fp16":
        inputs = [[3, *range(10 + i, 100 + i), 1] for i in range(2)]
        ranges = measure_activations(graphs, inputs, [list(range(10, 18))] * len(inputs), 0)
        graphs = next(fp16_candidates(graphs, [], ranges)).graphs
    write_graphs(graphs, model, folder)
    write_manifest(folder, precision=precision)


def write_manifest(folder: Path, **entries: object) -> None:
    """Writes the manifest of the bundle's files; `entries` are added or replace the defaults."""
    files = {path.name: sha256(path) for path in folder.iterdir() if path.name != MANIFEST}
    # Random words are no language that the check knows.
    manifest = {"format": FORMAT, "prefix": PREFIX, "max_input_tokens": INPUT_LIMIT, "checks_language": False}
    manifest |= {"files": files, **entries}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def ensure_model(setup: Setup) -> Path:
    """The folder of the model, which is written if it is missing."""
    if not (setup.model / "tokenizer.json").exists():
        write_model(setup.model, **SHAPES[setup.shape])
    return setup.model


def ensure_bundle(setup: Setup, precision: str, limit: int = INPUT_LIMIT) -> Path:
    """The bundle of this precision that reads up to `limit` tokens, which is written if it is missing."""
    folder = setup.bundle(precision, limit)
    if (folder / MANIFEST).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    if limit != INPUT_LIMIT:  # T5's positions are relative: the graphs are the same
        shutil.copytree(ensure_bundle(setup, precision), folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**manifest, "max_input_tokens": limit}))
    elif setup.device == "cuda":
        write_gpu_bundle(ensure_model(setup), folder, precision)
    else:
        write_bundle(ensure_model(setup), folder, token_ids(4) if precision == "int8" else None)
    return folder

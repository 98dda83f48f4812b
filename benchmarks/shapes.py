"""A T5 of t5-small's shape with random weights, and its bundles: speed does not depend on what the weights say."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from benchmarks.peers import VOCABULARY, word
from export.graphs.trace import trace, write_graphs
from export.precision.activations import measure_activations
from export.precision.fp16 import ACTIVATION_LIMITS, to_fp16, with_shared_caches
from export.precision.int8 import quantize_graphs
from precis.bundle.manifest import FORMAT, sha256
from precis.bundle.names import DECODER, MANIFEST

PREFIX = "w3 "


def write_model(folder: Path, **shape: int) -> None:
    """An ordinary model folder; its tokenizer has one token a word. `shape` changes what T5Config calls so."""
    torch.manual_seed(0)
    small = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
    config = T5Config(
        vocab_size=VOCABULARY, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **{**small, **shape}
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word(i): i for i in range(VOCABULARY)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def write_bundle(model: Path, folder: Path, calibration: list[list[int]] | None = None, limit: int = 512) -> None:
    """A bundle that the engine loads, in fp32 or, with `calibration`, in 8 bits."""
    folder.mkdir(parents=True)
    graphs = trace(model, calibration)
    write_graphs(graphs if calibration is None else quantize_graphs(graphs), model, folder)
    _seal(folder, limit)


def write_gpu_bundle(model: Path, folder: Path, precision: str, limit: int = 512) -> None:
    """A bundle for CUDA, in fp32 or fp16."""
    folder.mkdir(parents=True)
    graphs = trace(model, static=True)
    if precision == "fp16":
        inputs = [[3, *range(10 + i, 100 + i), 1] for i in range(2)]
        ranges = measure_activations(graphs, inputs, [list(range(10, 18))] * len(inputs), 0)
        limit = ACTIVATION_LIMITS[0]
        large = {node for name, graph in graphs.items() for node in ranges[name].nodes_above(graph, limit)}
        graphs = to_fp16(graphs, ranges, with_shared_caches(graphs[DECODER], large))
    write_graphs(graphs, model, folder)
    _seal(folder, limit, precision=precision)


def _seal(folder: Path, limit: int, **more: str) -> None:
    files = {path.name: sha256(path) for path in folder.iterdir()}
    manifest = {"format": FORMAT, "prefix": PREFIX, "max_input_tokens": limit, "files": files, **more}
    (folder / MANIFEST).write_text(json.dumps(manifest))

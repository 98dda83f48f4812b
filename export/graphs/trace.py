"""Writes a merged T5 as the two ONNX graphs of a bundle, by Optimum's exporter."""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from optimum.exporters.onnx import export
from torch import nn
from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration

from export.graphs.attention import OPSET
from export.graphs.dynamic import DecoderConfig, DecoderGraph, EncoderConfig, EncoderGraph
from export.graphs.static import (
    FixedDecoder,
    FixedDecoderConfig,
    FixedEncoder,
    FixedEncoderConfig,
    cache_graph,
    is_fixed,
)
from export.graphs.weights import save_graphs
from export.precision.int8 import EMBEDDING, quantize_graphs, scale_sources
from export.precision.int8_attention import ATTENTION
from precis.bundle.names import CACHE, DECODER, ENCODER

SETTINGS = ("tokenizer.json", "config.json", "generation_config.json")

Graphs = dict[str, onnx.ModelProto]


def write_onnx(merged: Path, folder: Path, calibration: list[list[int]] | None = None) -> None:
    """Writes encoder, decoder, tokenizer and settings of the model folder `merged` to `folder`.

    In fp32, or in 8 bits where there is `calibration`: token ids of texts as the model will read them.
    """
    graphs = trace(merged, calibration)
    write_graphs(graphs if calibration is None else quantize_graphs(graphs), merged, folder)


def write_graphs(graphs: Graphs, merged: Path, folder: Path) -> None:
    """Writes `graphs` with the tokenizer and settings of `merged` to `folder`."""
    save_graphs(graphs, folder)
    if is_fixed(graphs[DECODER]):
        onnx.save(cache_graph(), folder / CACHE)
    for name in SETTINGS:
        shutil.copy(merged / name, folder / name)


def trace(merged: Path, calibration: list[list[int]] | None = None, fixed: bool = False) -> Graphs:
    """The two graphs of the model folder `merged` in fp32, by file name.

    With `calibration` they pass the sources on as whole numbers in int8, as the 8-bit graphs do. `fixed` ones are
    for GPUs (`export.fixed`). Matrix products are named after the linear layers they come from, look-ups after the
    embedding, attention after its layer.
    """
    model = AutoModelForSeq2SeqLM.from_pretrained(merged, dtype=torch.float32, use_safetensors=True).eval()
    rounded = calibration is not None
    if rounded:
        scale_sources(model, calibration)
    logging.getLogger("optimum").setLevel(logging.ERROR)
    graphs = {}
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore")  # the tracer's, on shapes that it follows all the same
        # Optimum's check of fixed axes would run the decoder; export.parity runs it on real documents.
        if fixed:
            encoder, decoder = FixedEncoder(model), FixedDecoder(model)
            configs = FixedEncoderConfig(model.config), FixedDecoderConfig(model.config)
        else:
            encoder, decoder = EncoderGraph(model, rounded), DecoderGraph(model, rounded)
            configs = EncoderConfig(model.config), DecoderConfig(model.config, rounded)
        for graph, config, name in zip((encoder, decoder), configs, (ENCODER, DECODER), strict=True):
            path = Path(scratch) / name
            export(graph, config, path, opset=OPSET, disable_dynamic_axes_fix=True)
            graphs[name] = _named(onnx.load(path), model)
            path.unlink()
    if model.config.tie_word_embeddings and not rounded:
        _tie_head(graphs[DECODER])
    return graphs


def _named(graph: onnx.ModelProto, model: T5ForConditionalGeneration) -> onnx.ModelProto:
    """Gives products and look-ups the names that transformers has for what they compute; the tracer's are positions."""
    names: dict[tuple, list[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            names.setdefault(_sample(layer.weight.detach().numpy().T), []).append(name)
    names[_sample(model.shared.weight.detach().numpy())] = [EMBEDDING]
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        weight = next((weights[name] for name in node.input if name in weights), None)
        if node.op_type in ("MatMul", "Gather") and weight is not None:
            found = names.get(_sample(numpy_helper.to_array(weight)))
            if found:
                # Two layers of the same weights, as untrained ones may be, are named in their order.
                node.name = found.pop(0) if len(found) > 1 else found[0]
    for number, node in enumerate(node for node in graph.graph.node if node.op_type == ATTENTION):
        node.name = f"encoder.block.{number}.layer.0.SelfAttention"
    return graph


def _sample(weight: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """What tells a weight from others: its shape and about a thousand of its numbers; all would take seconds."""
    return weight.shape, weight[tuple(slice(None, None, max(1, size // 32)) for size in weight.shape)].tobytes()


def _tie_head(decoder: onnx.ModelProto) -> None:
    """Lets the output layer read the embedding, of which the tracer wrote a transposed copy.

    ONNX Runtime transposes it once, when it loads the graph.
    """
    graph = decoder.graph
    head = next(node for node in graph.node if node.name == "lm_head")
    table = next(node.input[0] for node in graph.node if node.name == EMBEDDING)
    copy = next(tensor for tensor in graph.initializer if tensor.name == head.input[1])
    graph.initializer.remove(copy)
    turned = f"{table}.transposed"
    graph.node.insert(
        list(graph.node).index(head),
        helper.make_node("Transpose", [table], [turned], "lm_head.transposed", perm=[1, 0]),
    )
    head.input[1] = turned

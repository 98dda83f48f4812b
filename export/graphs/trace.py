"""Turns a merged T5 into the two ONNX graphs of a bundle, and writes them to a folder.

Optimum's exporter does so, or with transformers 5, where Optimum cannot be imported, PyTorch's own.
"""

import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from transformers import T5ForConditionalGeneration

from export.graphs.attention import FULL_ATTENTION
from export.graphs.calibration import calibrate_kv
from export.graphs.dynamic import DecoderGraph, EncoderGraph, GraphConfig, decoder_config, encoder_config
from export.graphs.static import (
    StaticDecoderGraph,
    StaticEncoderGraph,
    cache_graph,
    is_static,
    static_decoder_config,
    static_encoder_config,
)
from export.graphs.weights import Graphs, save_graphs
from finetune.evaluation.sentence_ranker import read_ranker
from finetune.training.attention import IS_TRANSFORMERS_5
from finetune.training.model import load_weights
from precis.bundle.names import CACHE, DECODER, ENCODER

if IS_TRANSFORMERS_5:
    from export.graphs.torch_exporter import export_graph
else:
    from export.graphs.optimum_exporter import export_graph

SETTINGS = ("tokenizer.json", "config.json", "generation_config.json")
EMBEDDING = "shared"  # transformers' name of the embedding, and the look-up's name in both graphs
HEAD = "lm_head"


def write_graphs(graphs: Graphs, model_folder: Path, folder: Path) -> None:
    """Writes `graphs` with the tokenizer and settings of `model_folder` to `folder`: a bundle without its manifest."""
    save_graphs(graphs, folder)
    if is_static(graphs[DECODER]):
        onnx.save(cache_graph(), folder / CACHE)
    for name in SETTINGS:
        shutil.copy(model_folder / name, folder / name)


def trace(model_folder: Path, calibration: list[list[int]] | None = None, static: bool = False) -> Graphs:
    """The encoder and decoder graphs, in fp32, of the transformers model in `model_folder`.

    With `calibration` (token ids of texts as the model reads them) keys and values of the decoder are int8, as int8
    bundles need them. `static` graphs are for GPUs (`export.graphs.static`). Matrix products have the names of
    their linear layers, embedding look-ups that of the embedding, attention nodes those of their layers.
    """
    model = load_weights(model_folder, "model", dtype=torch.float32).eval()
    if calibration is not None:
        calibrate_kv(model, calibration)
    ranker = read_ranker(model_folder)
    weights = torch.tensor(ranker.encoder) if ranker else None
    graphs = {}
    with torch.no_grad():
        for name, (module, config) in _modules(model, calibration is not None, static, weights).items():
            graphs[name] = _with_layer_names(export_graph(module, config), model)
    if model.lm_head.weight is model.shared.weight and calibration is None:
        _tie_head(graphs[DECODER])
    return graphs


def _modules(
    model: T5ForConditionalGeneration, int8_kv: bool, static: bool, ranker: torch.Tensor | None
) -> dict[str, tuple[nn.Module, GraphConfig]]:
    """The modules to trace, by graph, each with its export configuration."""
    ranks = ranker is not None
    if static:
        encoder = StaticEncoderGraph(model, ranker=ranker)
        return {
            ENCODER: (encoder, static_encoder_config(model.config, ranks)),
            DECODER: (StaticDecoderGraph(model), static_decoder_config(model.config)),
        }
    return {
        ENCODER: (EncoderGraph(model, int8_kv, ranker), encoder_config(model.config, ranks)),
        DECODER: (DecoderGraph(model, int8_kv), decoder_config(model.config, int8_kv)),
    }


def _with_layer_names(graph: onnx.ModelProto, model: T5ForConditionalGeneration) -> onnx.ModelProto:
    """Names nodes after the layers of `model`, recognized by their weights; the tracer's names are only positions."""
    names: dict[tuple, list[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            names.setdefault(_fingerprint(layer.weight.detach().numpy().T), []).append(name)
    names[_fingerprint(model.shared.weight.detach().numpy())] = [EMBEDDING]
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        weight = next((weights[name] for name in node.input if name in weights), None)
        if node.op_type in ("MatMul", "Gather") and weight is not None:
            matches = names.get(_fingerprint(numpy_helper.to_array(weight)))
            if matches:
                # Untrained layers may have equal weights; they are named in their order.
                node.name = matches.pop(0) if len(matches) > 1 else matches[0]
    for number, node in enumerate(node for node in graph.graph.node if node.op_type == FULL_ATTENTION):
        node.name = f"encoder.block.{number}.layer.0.SelfAttention"
    return graph


def _fingerprint(weight: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """What identifies a weight: its shape and about a thousand of its values; reading all would take seconds."""
    return weight.shape, weight[tuple(slice(None, None, max(1, size // 32)) for size in weight.shape)].tobytes()


def _tie_head(decoder: onnx.ModelProto) -> None:
    """Makes the output layer read the embedding, of which the tracer wrote a transposed copy.

    ONNX Runtime transposes it once, when it loads the graph.
    """
    graph = decoder.graph
    head = next(node for node in graph.node if node.name == HEAD)
    table = next(node.input[0] for node in graph.node if node.name == EMBEDDING)
    copy = next(tensor for tensor in graph.initializer if tensor.name == head.input[1])
    graph.initializer.remove(copy)
    transposed = f"{table}.transposed"
    graph.node.insert(
        list(graph.node).index(head),
        helper.make_node("Transpose", [table], [transposed], f"{HEAD}.transposed", perm=[1, 0]),
    )
    head.input[1] = transposed

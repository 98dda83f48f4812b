"""Takes over what optimum-cli export onnx wrote: the weights, out of its graphs, and its runtime as the reference.

The exporter names a matrix product after the layer it comes from (/decoder/block.0/layer.0/SelfAttention/q/MatMul) and
leaves other parameters their names, so the model of transformers can be filled again and goes the way of any other
run. That the right numbers came to the right places is proved: the run's chain compares it with the given graphs.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedModel
from transformers.utils import logging

from engine.bundle import ENCODER, sha256
from export.checks import check_tokenizer, check_weights
from finetune import provenance
from finetune.data import load_pairs
from finetune.errors import UserError
from finetune.files import replaced_folder, write_json
from finetune.recipe import Model, Recipe
from finetune.rouge import lead_sentence, rouge_by_document, summarized
from finetune.scoring import generation_config, summarize
from finetune.training import load_tokenizer

DECODERS = ("decoder_model.onnx", "decoder_model_merged.onnx")  # the first that is there is read
MERGED = re.compile(r"_merged_\d+$")  # what Optimum appends to names when it makes one decoder of two
EMBEDDING = ("shared.weight", "decoder.embed_tokens.weight", "encoder.embed_tokens.weight")  # of a graph that has it


def import_run(folder: Path, recipe: Recipe) -> Path:
    """Makes a run, at the recipe's `output`, of the model that Optimum's graphs in `folder` hold; returns its folder.

    It has merged/, run.json and rouge.json (without a base to compare with), and keeps the bundles of a run that was
    imported there before until an export replaces them. The recipe says prefix, data, generation and tolerances; its
    model is `folder`. Raises UserError for a folder that is no plain fp32 export of a T5.
    """
    logging.set_verbosity_error()
    output = Path(recipe.output)
    if output.exists() and not _is_imported(output):
        raise UserError(f"output: {output} is there already and was not imported; name another folder.")
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"name": str(folder), "revision": None}), "lora": None}
    )
    decoder = _decoder(folder)
    tokenizer = load_tokenizer(Model(name=str(folder)))
    model = read_model(folder)
    check_weights(model, folder)
    check_tokenizer(model, tokenizer, folder)
    model.generation_config = generation_config(recipe, model)
    pairs = load_pairs(recipe.data, recipe.training.seed)
    documents, references = list(pairs.validation["document"]), list(pairs.validation["summary"])
    systems = {
        "lead": [lead_sentence(document) for document in documents],
        "finetuned": summarize(model, tokenizer, documents, recipe, "summaries"),
    }
    with replaced_folder(output) as place:
        model.save_pretrained(place / "merged")
        tokenizer.save_pretrained(place / "merged")
        rouge = {system: summarized(rouge_by_document(texts, references)) for system, texts in systems.items()}
        about = {"split": recipe.data.validation or "held back from data.train", "documents": len(documents)}
        write_json(place / "rouge.json", {**about, "generation": recipe.generation.model_dump(), **rouge})
        info = {
            "recipe": recipe.model_dump(),
            "imported_from": str(folder.resolve()),
            "base_model": {"name": str(folder), "revision": None, "sha256": sha256(decoder)},
            "data": provenance.data_set(recipe, pairs.revision),
            "training_seconds": None,
            "hardware": None,
            "git_commit": provenance.git_commit(),
            "versions": provenance.versions(),
        }
        write_json(place / "run.json", info)
        for bundle in output.glob("bundle*"):
            shutil.copytree(bundle, place / bundle.name, copy_function=os.link)
    return output


def _is_imported(output: Path) -> bool:
    run = output / "run.json"
    return run.is_file() and '"imported_from"' in run.read_text(encoding="utf-8")


def _decoder(folder: Path) -> Path:
    """The graph that has all of a decoder. Raises UserError where the folder lacks a file."""
    for name in ("config.json", ENCODER):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is no export of Optimum's: it has no {name}.")
    found = next((folder / name for name in DECODERS if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"{folder} is no export of Optimum's: it has no {' and no '.join(DECODERS)}.")
    return found


def read_model(folder: Path) -> PreTrainedModel:
    """transformers' model with the weights of the graphs in `folder`. Raises UserError where one is not to be found."""
    weights = {**_weights(folder / ENCODER, "encoder."), **_weights(_decoder(folder), "")}
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.from_pretrained(folder)).eval()
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    for name, parameter in model.named_parameters():
        names = EMBEDDING if name in EMBEDDING else (name,)
        array = next((weights[each] for each in names if each in weights), None)
        if array is None or array.dtype != np.float32 or array.shape != tuple(parameter.shape):
            raise UserError(
                f"{folder} cannot be imported: its graphs hold no {name} in fp32. Import what optimum-cli export onnx "
                "writes without --optimize, --dtype or quantization, or fine-tune and export the model itself."
            )
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(array.copy()))
    return model


def _weights(path: Path, prefix: str) -> dict[str, np.ndarray]:
    """Parameters by transformers' names, of which the graph at `path` leaves out `prefix`."""
    try:
        graph = onnx.load(path).graph
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    tensors = {tensor.name: tensor for tensor in _initializers(graph)}
    nodes = list(_nodes(graph))
    for node in nodes:
        # Parameters of the same numbers, as untrained norms are, are stored once and passed on under their names.
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    named = ((MERGED.sub("", name), tensor) for name, tensor in tensors.items())
    found = {f"{prefix}{name}": tensor for name, tensor in named if name.endswith(".weight")}
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in found.items()}
    for node in nodes:
        layer, _, kind = node.name.strip("/").rpartition("/")
        if kind == node.op_type == "MatMul" and node.input[1] in tensors:
            arrays[f"{prefix}{layer.replace('/', '.')}.weight"] = numpy_helper.to_array(tensors[node.input[1]]).T
    return arrays


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Those of branches, too: a merged decoder has one without and one with a past."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _initializers(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _initializers(attribute.g)

"""Writes a merged T5 as the two ONNX graphs of a bundle, by Optimum's exporter."""

import logging
import shutil
import warnings
from pathlib import Path

import torch
from optimum.exporters.onnx import export
from transformers import AutoModelForSeq2SeqLM

from engine.bundle import DECODER, ENCODER
from export.attention import OPSET
from export.graphs import DecoderConfig, DecoderGraph, EncoderConfig, EncoderGraph
from export.quantize import quantize_graphs, scale_sources

SETTINGS = ("tokenizer.json", "config.json", "generation_config.json")


def write_onnx(merged: Path, folder: Path, calibration: list[list[int]] | None = None) -> None:
    """Writes encoder, decoder, tokenizer and settings of the model folder `merged` to `folder`.

    In fp32, or in 8 bits where there is `calibration`: token ids of texts as the model will read them.
    """
    model = AutoModelForSeq2SeqLM.from_pretrained(merged, dtype=torch.float32, use_safetensors=True).eval()
    rounded = calibration is not None
    if rounded:
        scale_sources(model, calibration)
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, on shapes that it follows all the same
        # Optimum's check of fixed axes would run the decoder; export.parity runs it on real documents.
        for graph, config, name in (
            (EncoderGraph(model, rounded), EncoderConfig(model.config), ENCODER),
            (DecoderGraph(model, rounded), DecoderConfig(model.config, rounded), DECODER),
        ):
            export(graph, config, folder / name, opset=OPSET, disable_dynamic_axes_fix=True)
    if rounded:
        quantize_graphs(folder)
    for name in SETTINGS:
        shutil.copy(merged / name, folder / name)

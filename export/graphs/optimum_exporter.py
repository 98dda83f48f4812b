"""Optimum's exporter, which traces a module with TorchScript.

optimum-onnx 0.1.0 can be imported with transformers 4 only.
"""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
from optimum.exporters.onnx import OnnxConfig
from optimum.exporters.onnx import export as export_with_optimum
from optimum.utils import NormalizedConfig
from torch import nn

from export.graphs.attention import OPSET
from export.graphs.dynamic import Axes, GraphConfig


def export_graph(module: nn.Module, graph: GraphConfig) -> onnx.ModelProto:
    """The ONNX graph of `module`."""
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        warnings.simplefilter("ignore")  # the tracer warns of dynamic shapes, which it follows all the same
        path = Path(scratch) / "graph.onnx"
        # Optimum's check of fixed axes would run the decoder; export.parity runs it on real documents.
        export_with_optimum(module, _Config(graph), path, opset=OPSET, disable_dynamic_axes_fix=True)
        return onnx.load(path)


class _Config(OnnxConfig):
    """A `GraphConfig` as Optimum has it."""

    NORMALIZED_CONFIG_CLASS = NormalizedConfig
    values_override = None

    def __init__(self, graph: GraphConfig) -> None:
        super().__init__(graph.config, task="text2text-generation")
        self.graph = graph

    @property
    def inputs(self) -> Axes:
        return self.graph.inputs

    @property
    def outputs(self) -> Axes:
        return self.graph.outputs

    def ordered_inputs(self, model: nn.Module) -> Axes:
        return self.graph.inputs

    def generate_dummy_inputs(self, framework: str = "pt", **shapes: Any) -> dict[str, Any]:
        return self.graph.example

"""Where ONNX Runtime places the nodes of a graph."""

import pytest

from precis import Engine
from precis.bundle.names import DECODER
from precis.errors import EngineError
from precis.runtime.placement import check_placement


def test_heavy_nodes_on_another_provider_are_refused_by_name(tiny_run):
    """On this machine all nodes are placed on the CPU, which a GPU session must not allow."""
    engine = Engine.load(tiny_run / "bundle")
    placed = engine._model.placement[DECODER]
    check_placement(placed, "CPUExecutionProvider", DECODER)
    with pytest.raises(EngineError, match=r"heavy nodes of decoder.*decoder\.block\.0.*CPUExecutionProvider"):
        check_placement(placed, "CUDAExecutionProvider", DECODER)
    light = {"CPUExecutionProvider": [("/Shape", "Shape")], "CUDAExecutionProvider": [("lm_head", "MatMul")]}
    check_placement(light, "CUDAExecutionProvider", DECODER)
    engine.close()

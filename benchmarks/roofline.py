"""How near a figure comes to what the machine can do: operations and bytes over measured ceilings."""

import time

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

LAYERS, MODEL, INNER, FORWARD, VOCABULARY = 6, 512, 512, 2048, 32128
ENCODER_WEIGHTS = (
    LAYERS * (4 * MODEL * INNER + 2 * MODEL * FORWARD) + LAYERS * 2 * MODEL * INNER
)  # and the sources' k, v
STEP_WEIGHTS = LAYERS * (4 * MODEL * INNER + 2 * MODEL * INNER + 2 * MODEL * FORWARD) + MODEL * VOCABULARY


def _best(call, seconds: float = 0.6) -> float:
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best


def ceilings(threads: int) -> dict[str, float]:
    """Operations a second in fp32 and int8 matrix products of an encoder's shape, bytes a second read from memory."""
    torch.set_num_threads(threads)
    large = torch.zeros(1 << 27)
    read = large.nbytes / _best(large.sum)
    rows, inner, columns = 400, MODEL, FORWARD
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    products = 2 * rows * inner * columns
    single = products / _best(lambda: left @ right)
    weight = numpy_helper.from_array(np.ones((inner, columns), np.int8), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
        [weight],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    ones = {"x": np.ones((rows, inner), np.uint8)}
    return {"fp32": single, "int8": products / _best(lambda: session.run(None, ones)), "bytes": read}


def seconds(batch: int, source: int, new: int, precision: str, limits: dict[str, float]) -> float:
    """The least time for `batch` texts of `source` tokens and `new` steps: reading and multiplying never overlapping
    better than perfectly, nothing else taking any time."""
    size = {"fp32": 4, "int8": 1}[precision]
    scores = LAYERS * 2 * 2 * source * source * INNER  # of the encoder's attention, in fp32 in both
    encoder = batch * (2 * ENCODER_WEIGHTS * source / limits[precision] + scores / limits["fp32"])
    caches = batch * LAYERS * 2 * INNER * (source * size + new / 2 * 4)
    read = (STEP_WEIGHTS * size + caches) / limits["bytes"]
    multiplied = batch * 2 * STEP_WEIGHTS / limits[precision]
    return encoder + new * max(read, multiplied)

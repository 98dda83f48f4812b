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

SIZES = (1 << 25, 1 << 26, 1 << 27, 1 << 28)


def _best(call, seconds: float = 0.25) -> float:
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best


def ceilings(threads: int) -> dict[str, float | dict[int, float]]:
    """The best this machine does with `threads`: operations a second in fp32 and int8 matrix products, and bytes a
    second read over and over from memory that is so many bytes long (what the caches hold is read faster)."""
    torch.set_num_threads(threads)
    read = {}
    for size in SIZES:
        memory = torch.zeros(size // 4)
        read[size] = memory.nbytes / _best(memory.sum)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    single = whole = 0.0
    for rows, inner, columns in ((400, MODEL, FORWARD), (2048, 2048, 2048)):
        products = 2 * rows * inner * columns
        left, right = torch.randn(rows, inner), torch.randn(inner, columns)
        single = max(single, products / _best(lambda left=left, right=right: left @ right))
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
            "product",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, inner])],
            [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
            [numpy_helper.from_array(np.ones((inner, columns), np.int8), "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        ones = {"x": np.ones((rows, inner), np.uint8)}
        whole = max(whole, products / _best(lambda session=session, ones=ones: session.run(None, ones)))
    return {"fp32": single, "int8": whole, "bytes": read}


def seconds(batch: int, source: int, new: int, precision: str, limits: dict) -> float:
    """The least time for `batch` texts of `source` tokens and `new` steps: reading and multiplying never overlapping
    better than perfectly, nothing else taking any time."""
    size = {"fp32": 4, "int8": 1}[precision]
    scores = LAYERS * 2 * 2 * source * source * INNER  # of the encoder's attention, in fp32 in both
    encoder = batch * (2 * ENCODER_WEIGHTS * source / limits[precision] + scores / limits["fp32"])
    read = STEP_WEIGHTS * size + batch * LAYERS * 2 * INNER * (source * size + new / 2 * 4)
    rate = limits["bytes"][next((length for length in SIZES if length >= read), SIZES[-1])]
    multiplied = batch * 2 * STEP_WEIGHTS / limits[precision]
    return encoder + new * max(read / rate, multiplied)

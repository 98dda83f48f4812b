"""One weights file for both graphs, with each tensor stored once: a tied embedding is read in three places."""

import hashlib
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from precis.bundle.names import WEIGHTS

Graphs = dict[str, onnx.ModelProto]  # by the graph's file name

MIN_EXTERNAL_BYTES = 1024  # smaller tensors stay in their graph, where ONNX tools see their values
PAGE_BYTES = 4096  # ONNX Runtime maps the file into memory, which works by the page


def save_graphs(graphs: Graphs, folder: Path) -> None:
    """Writes `graphs` to `folder`, their large initializers as external data into the file WEIGHTS there.

    Tensors of equal bytes share an offset, whatever their shapes. The models are changed in place.
    """
    stored: dict[bytes, tuple[int, int]] = {}
    with (folder / WEIGHTS).open("wb") as file:
        for name, model in graphs.items():
            for tensor in model.graph.initializer:
                content = numpy_helper.to_array(tensor).tobytes()
                if len(content) < MIN_EXTERNAL_BYTES:
                    continue
                key = hashlib.sha256(content).digest()
                if key not in stored:
                    file.seek(-(-file.tell() // PAGE_BYTES) * PAGE_BYTES)
                    stored[key] = file.tell(), len(content)
                    file.write(content)
                _make_external(tensor, *stored[key])
            onnx.save(model, folder / name)


def _make_external(tensor: TensorProto, offset: int, length: int) -> None:
    """Replaces the values in `tensor` by a reference to `length` bytes at `offset` in the weights file."""
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))

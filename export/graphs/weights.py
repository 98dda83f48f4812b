"""The weights of both graphs in one file, each stored once: a tied embedding stands in three places."""

import hashlib
from pathlib import Path

import onnx
from onnx import TensorProto

from precis.bundle.names import WEIGHTS

LEAST = 1024  # bytes; smaller tensors stay in their graph, where tools for ONNX see them
PAGE = 4096  # ONNX Runtime maps the file into memory, and pages are what can be mapped


def save_graphs(graphs: dict[str, onnx.ModelProto], folder: Path) -> None:
    """Writes `graphs`, by file name, to `folder`, their large initializers into the file WEIGHTS there.

    Tensors of the same bytes share their place, whatever shapes they are read in. The models are changed in place.
    """
    places: dict[bytes, tuple[int, int]] = {}
    with (folder / WEIGHTS).open("wb") as file:
        for name, model in graphs.items():
            for tensor in model.graph.initializer:
                content = onnx.numpy_helper.to_array(tensor).tobytes()
                if len(content) < LEAST:
                    continue
                key = hashlib.sha256(content).digest()
                if key not in places:
                    file.seek(-(-file.tell() // PAGE) * PAGE)
                    places[key] = file.tell(), len(content)
                    file.write(content)
                _refer(tensor, *places[key])
            onnx.save(model, folder / name)


def _refer(tensor: TensorProto, offset: int, length: int) -> None:
    """Makes `tensor` point into the file instead of holding its numbers."""
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))

"""Which execution provider runs which nodes, and the check that heavy nodes run on the requested one.

ONNX Runtime assigns nodes that a provider has no kernel for to the CPU silently (onnxruntime #23372).
"""

import ctypes
from collections import Counter
from pathlib import Path

from precis.errors import EngineError
from precis.runtime import ort

RECORD_PLACEMENT = {"session.record_ep_graph_assignment_info": "1"}  # session config that `node_placement` needs
# Matrix products and attention are nearly all of the work. Shapes and indices may be computed on the CPU.
HEAVY_OPERATORS = {
    "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulNBits", "MatMulInteger", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "MultiHeadAttention", "GroupQueryAttention", "Attention",
}  # fmt: skip
MAX_NAMED_NODES = 3  # in an error message

Placement = dict[str, list[tuple[str, str]]]  # {provider: [(node name, operator)]}


def node_placement(session: ort.InferenceSession) -> Placement:
    """The nodes of a loaded graph, after ONNX Runtime's fusions, by the provider that runs them."""
    placement: Placement = {}
    for part in session.get_provider_graph_assignment_info():
        placement.setdefault(part.ep_name, []).extend((node.name, node.op_type) for node in part.get_nodes())
    return placement


def operator_counts(placement: Placement) -> dict[str, dict[str, int]]:
    """How many nodes of each operator a provider runs, the most frequent first: {provider: {operator: nodes}}."""
    counts = {provider: Counter(operator for _, operator in nodes) for provider, nodes in placement.items()}
    return {provider: dict(counter.most_common()) for provider, counter in counts.items()}


def check_placement(placement: Placement, provider: str, graph: str) -> None:
    """Raises EngineError that names the heavy nodes of `graph` which do not run on `provider`."""
    misplaced = [
        f"{name} ({operator}, {other})"
        for other, nodes in placement.items()
        for name, operator in nodes
        if other != provider and operator in HEAVY_OPERATORS
    ]
    if misplaced:
        more = f" and {len(misplaced) - MAX_NAMED_NODES} more" if len(misplaced) > MAX_NAMED_NODES else ""
        raise EngineError(
            f"{provider} was requested, and {len(misplaced)} heavy nodes of {graph} do not run on it: "
            f"{', '.join(misplaced[:MAX_NAMED_NODES])}{more}."
        )


def library_error(provider: str) -> str | None:
    """Why the shared library of `provider` in ONNX Runtime's wheel cannot be loaded, or None if it can."""
    name = provider.removesuffix("ExecutionProvider").lower()
    library = Path(ort.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
    if not library.is_file():
        return f"{library} is not there"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None

"""Where ONNX Runtime runs a graph's nodes, and the refusal to run the heavy ones elsewhere than asked.

ONNX Runtime gives nodes that a provider has no kernel for to the CPU without a word (onnxruntime #23372).
"""

import ctypes
from collections import Counter
from pathlib import Path

import onnxruntime as ort

from precis.errors import EngineError

RECORD = {"session.record_ep_graph_assignment_info": "1"}  # a session's entries, without which it tells no placement
# Products and attention: nearly all of the work. Shapes and indices belong on the CPU wherever the rest runs.
HEAVY = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulNBits", "MatMulInteger", "MatMulIntegerToFloat"}
HEAVY |= {"DynamicQuantizeMatMul", "MultiHeadAttention", "GroupQueryAttention", "Attention"}
SHOWN = 3  # nodes that a refusal names

Placement = dict[str, list[tuple[str, str]]]  # provider: (name, operator) of its nodes


def placement(session: ort.InferenceSession) -> Placement:
    """The nodes of a loaded graph, as ONNX Runtime has fused them, by the provider that runs them."""
    found: Placement = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, []).extend((node.name, node.op_type) for node in part.get_nodes())
    return found


def counted(placed: Placement) -> dict[str, dict[str, int]]:
    """How many nodes of each operator a provider runs, the commonest first."""
    return {provider: dict(Counter(kind for _, kind in nodes).most_common()) for provider, nodes in placed.items()}


def check_placement(placed: Placement, provider: str, graph: str) -> None:
    """Raises EngineError that names heavy nodes which do not run on `provider`."""
    away = [
        f"{name} ({kind}, {where})"
        for where, nodes in placed.items()
        for name, kind in nodes
        if where != provider and kind in HEAVY
    ]
    if away:
        more = f" and {len(away) - SHOWN} more" if len(away) > SHOWN else ""
        raise EngineError(
            f"{provider} was asked for, and {len(away)} heavy nodes of {graph} do not run on it: "
            f"{', '.join(away[:SHOWN])}{more}."
        )


def missing_library(library: Path) -> str | None:
    """Why the shared `library` of a provider cannot be loaded, in the loader's words, which name what is missing."""
    if not library.is_file():
        return f"{library} is not there"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None


def provider_library(provider: str) -> Path:
    """Where ONNX Runtime's wheel has the shared library of `provider`."""
    short = provider.removesuffix("ExecutionProvider").lower()
    return Path(ort.__file__).parent / "capi" / f"libonnxruntime_providers_{short}.so"

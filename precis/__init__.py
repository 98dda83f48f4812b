"""Text summarization with T5 on ONNX Runtime, without torch or transformers.

    from precis import Engine, GenerationParams

    with Engine.load("artifacts/embedded/bundle", threads=2) as engine:
        engine.generate(["A long article ..."], GenerationParams(num_beams=4))[0].text

All but the errors are imported on first use, so that `import precis` alone loads neither numpy nor ONNX Runtime.
"""

import importlib
from typing import TYPE_CHECKING, Any

from precis.errors import (
    BundleError,
    DeadlineExceeded,
    EngineClosed,
    EngineError,
    EngineFull,
    GenerationError,
    TextError,
    TooMuchWork,
)

if TYPE_CHECKING:
    from precis.engine import Engine
    from precis.params import GenerationParams
    from precis.request import Summary
    from precis.stats import Stats

__all__ = [
    "BundleError",
    "DeadlineExceeded",
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineFull",
    "GenerationError",
    "GenerationParams",
    "Stats",
    "Summary",
    "TextError",
    "TooMuchWork",
]

_MODULES = {"Engine": "engine", "GenerationParams": "params", "Stats": "stats", "Summary": "request"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"precis.{_MODULES[name]}"), name)

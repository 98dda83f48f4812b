"""Text summarization with T5 on ONNX Runtime, without torch or transformers.

    from precis import Engine, GenerationParams

    with Engine.load("artifacts/embedded/bundle", threads=2) as engine:
        engine.generate(["A long article ..."], GenerationParams(num_beams=4))[0].text

The public names are imported on first use, so that `import precis` alone loads neither numpy nor ONNX Runtime.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from precis.engine import Engine
    from precis.errors import (
        BundleError,
        DeadlineExceeded,
        EngineClosed,
        EngineError,
        EngineFull,
        GenerationError,
        TextError,
    )
    from precis.params import GenerationParams
    from precis.request import Summary
    from precis.stats import Stats

_MODULES = {
    "Engine": "precis.engine",
    "GenerationParams": "precis.params",
    "Stats": "precis.stats",
    "Summary": "precis.request",
    "BundleError": "precis.errors",
    "DeadlineExceeded": "precis.errors",
    "EngineClosed": "precis.errors",
    "EngineError": "precis.errors",
    "EngineFull": "precis.errors",
    "GenerationError": "precis.errors",
    "TextError": "precis.errors",
}

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
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)

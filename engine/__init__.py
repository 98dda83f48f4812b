"""Encoder-decoder generation on ONNX Runtime, tokenizers and numpy alone: texts in, summaries out.

from engine import Engine, Generation
engine = Engine.load("artifacts/embedded/bundle", threads=2)
engine.generate(texts, Generation(max_new_tokens=64))
"""

from engine.engine import Engine
from engine.errors import (
    BundleError,
    DeadlineExceeded,
    EngineClosed,
    EngineError,
    EngineFull,
    GenerationError,
    TextError,
)
from engine.generation import Generation
from engine.request import Summary
from engine.stats import Stats

__all__ = [
    "BundleError",
    "DeadlineExceeded",
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineFull",
    "Generation",
    "GenerationError",
    "Stats",
    "Summary",
    "TextError",
]

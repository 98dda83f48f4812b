"""Encoder-decoder generation on ONNX Runtime, tokenizers and numpy alone: texts in, summaries out.

from engine import Engine, Generation
engine = Engine.load("artifacts/embedded/bundle", threads=2)
engine.generate(texts, Generation(max_new_tokens=64))
"""

from engine.engine import Engine, Summary
from engine.errors import BundleError, EngineClosed, EngineError, EngineFull, GenerationError, TextError
from engine.generation import Generation

__all__ = [
    "BundleError",
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineFull",
    "Generation",
    "GenerationError",
    "Summary",
    "TextError",
]

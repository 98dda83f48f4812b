"""A bundle's model on ONNX Runtime: sessions, KV caches and the runners that prefill and decode.

Import `ort` from here: ONNX Runtime's wheels send telemetry unless the variable is set before their first import.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

__all__ = ["ort"]

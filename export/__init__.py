"""Export: turns a fine-tuned run into ONNX bundles, and keeps a bundle only if it is proved equal to PyTorch."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reads it when it is imported

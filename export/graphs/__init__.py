"""T5 as ONNX graphs: encoder and decoder modules, tracing with Optimum, and the shared weights file."""

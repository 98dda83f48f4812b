"""Export: a fine-tuned run in, an ONNX bundle out that is proved equal to PyTorch, or nothing."""

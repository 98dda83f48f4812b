"""Parity: PyTorch and the engine compared on the same documents, with limits and a report."""

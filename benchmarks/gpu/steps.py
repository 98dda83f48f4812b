"""Part steps: what a step of our decoder takes on the card, replayed as a CUDA graph and launched operator by operator.

Every row has a text of the same length, and its summary grows from nothing to the longest again and again.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.gpu import models
from benchmarks.gpu.sizes import Sizes

WARM_UP = 5  # steps


def measure(sizes: Sizes, device: str, scratch: Path, keep: Callable) -> None:
    """Microseconds a step by precision, way and rows."""
    from precis import Engine

    found: dict = {"source_tokens": sizes.source, "new_tokens": sizes.new, "steps": sizes.steps, "microseconds": {}}
    for precision in models.precisions(device):
        folder = models.bundle(scratch, sizes, precision, device)
        for way in ("replayed", "launched") if device == "cuda" else ("launched",):
            engine = Engine.load(folder, device=device, rows=sizes.rows)
            try:
                if way == "launched" and device == "cuda":
                    engine._model.disable_cuda_graphs()
                row = found["microseconds"][f"{precision}, {way}"] = {}
                for rows in sizes.batches:
                    row[str(rows)] = round(1e6 * _step(engine, rows, sizes))
                    print(precision, way, rows, row[str(rows)], flush=True)
                    keep(found)
            finally:
                engine.close()


def _step(engine, rows: int, sizes: Sizes) -> float:
    """Seconds, the mean of `sizes.steps`."""
    from precis.runtime.kv_cache import Prefill
    from precis.runtime.model_runner import new_model_runner

    runner = new_model_runner(engine._model, rows, models.LIMIT)
    allocated = runner.kv_cache.allocate(rows)
    ids = list(range(10, 10 + sizes.source))
    for error in runner.prefill([Prefill(allocated[row : row + 1], ids, sizes.new) for row in range(rows)]):
        if error:
            raise error
    tokens = np.full((rows, 1), 17)
    for step in range(-WARM_UP, sizes.steps):
        if not step:
            began = time.perf_counter()
        runner.kv_cache.past_length[:rows] = step % sizes.new
        logits = runner.decode(tokens)
        # Graphs for a CPU leave the choice to the host.
        tokens[:, 0] = logits[:, 0].argmax(1) if runner.argmax_tokens is None else runner.argmax_tokens
    return (time.perf_counter() - began) / sizes.steps

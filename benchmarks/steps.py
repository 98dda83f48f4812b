"""Times one decoder step: on a GPU replayed as a CUDA graph and launched operator by operator, on a CPU as it is."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers import INPUT_LIMIT
from precis import Engine
from precis.runtime.kv_cache import Prefill
from precis.runtime.model_runner import new_model_runner

WARM_UP = 5  # steps


def measure(
    bundles: dict[str, Path],
    device: str,
    batches: Sequence[int],
    tokens: tuple[int, int],
    steps: int,
    keep: Callable[[dict], None],
) -> dict[str, dict[str, int]]:
    """Microseconds a step by precision and launch mode, and by rows; `tokens` are (source, new).

    `keep` gets the results so far after each figure.
    """
    results: dict[str, dict[str, int]] = {}
    for precision, folder in bundles.items():
        for mode in ("replayed", "launched") if device == "cuda" else ("launched",):
            engine = Engine.load(folder, device=device, rows=max(*batches, 8))
            try:
                if mode == "launched" and device == "cuda":
                    engine._model.disable_cuda_graphs()
                row = results[f"{precision}, {mode}"] = {}
                for rows in batches:
                    row[str(rows)] = round(1e6 * step_seconds(engine, rows, *tokens, steps))
                    print(precision, mode, rows, row[str(rows)], flush=True)
                    keep(results)
            finally:
                engine.close()
    return results


def step_seconds(engine: Engine, rows: int, source: int, new: int, steps: int) -> float:
    """The mean seconds of `steps` steps of the decoder with so many rows."""
    runner = new_model_runner(engine._model, rows, INPUT_LIMIT)
    allocated = runner.kv_cache.allocate(rows)
    ids = list(range(10, 10 + source))
    for error in runner.prefill([Prefill(allocated[row : row + 1], ids, new) for row in range(rows)]):
        if error:
            raise error
    tokens = np.full((rows, 1), 17)
    for step in range(-WARM_UP, steps):
        if not step:
            began = time.perf_counter()
        runner.kv_cache.past_length[:rows] = step % new
        logits = runner.decode(tokens)
        # Graphs for a CPU leave the choice of the next token to the host.
        tokens[:, 0] = runner.argmax[0] if runner.chooses_tokens else logits[:, 0].argmax(1)
    return (time.perf_counter() - began) / steps

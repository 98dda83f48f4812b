"""Token ids, and logits of PyTorch and of bundles on them, for the export's tests."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM

from export.graphs.trace import write_graphs
from export.precision.activations import measure_activations
from export.precision.fp16 import to_fp16
from precis import Engine
from tests.support.engines import seal

INPUTS = [[5, 90, 300, 17, 1], list(range(40, 90)), [7, 7, 2500, 1]]
TOKENS = [[50, 61, 72], [94, 8, 9, 10], [5, 1]]


def engine_logits(folder: Path) -> np.ndarray:
    """The logits of the bundle's graphs in `folder`, (steps of all inputs, vocabulary)."""
    seal(folder)
    engine = Engine.load(folder, threads=1)
    try:
        return np.concatenate(engine.teacher_forced_logits(INPUTS, TOKENS))
    finally:
        engine.close()


def torch_logits(folder: Path) -> np.ndarray:
    """The same of the transformers model in `folder`."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    with torch.no_grad():
        pairs = zip(INPUTS, TOKENS, strict=True)
        return torch.cat([model(torch.tensor([a]), labels=torch.tensor([b])).logits[0] for a, b in pairs]).numpy()


def write_fp16(graphs, fp32_nodes: list[str], model_folder: Path, folder: Path) -> Path:
    """Writes `graphs` in fp16 to the new folder `folder`."""
    folder.mkdir()
    ranges = measure_activations(graphs, INPUTS, TOKENS, 0)
    write_graphs(to_fp16(graphs, ranges, fp32_nodes), model_folder, folder)
    return folder


def edit_run(run: Path, edit) -> None:
    """Changes run.json in `run` by `edit`, a function of its content."""
    info = json.loads((run / "run.json").read_text())
    edit(info)
    (run / "run.json").write_text(json.dumps(info))

"""Summaries a second: our engine on the bundle beside PyTorch `generate` on the merged model, same texts and settings.

python -m benchmarks.engine [RUN]

The two take turns on each batch, so that a noisy machine disturbs both alike. The last line is JSON.
"""

import json
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from engine import Engine, Generation
from finetune.data import load_pairs
from finetune.recipe import parse_recipe

BATCHES = (1, 8, 32)
ROUNDS = 3


def main(argv: list[str]) -> int:
    logging.set_verbosity_error()
    run = Path(argv[0] if argv else "artifacts/embedded")
    recipe = parse_recipe(json.loads((run / "run.json").read_text())["recipe"])
    documents = list(load_pairs(recipe.data, seed=0).validation["document"])
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    engine = Engine.load(run / "bundle", threads=torch.get_num_threads())

    @torch.inference_mode()
    def pytorch(texts: list[str]) -> None:
        texts = [recipe.model.prefix + text for text in texts]
        limit = recipe.data.max_document_tokens
        model.generate(**tokenizer(texts, truncation=True, max_length=limit, padding=True, return_tensors="pt"))

    def ours(texts: list[str]) -> None:
        engine.generate(texts, Generation(long_text="truncate"))

    table = Table("batch", "PyTorch (summaries/s)", "Precis (summaries/s)", "ratio")
    result = {"run": str(run), "threads": torch.get_num_threads(), "summaries_per_second": {}, "ratio_to_pytorch": {}}
    for size in BATCHES:
        pytorch(documents[:size])
        ours(documents[:size])
        seconds = {"pytorch": 0.0, "precis": 0.0}
        for turn in range(ROUNDS):
            texts = [documents[(turn * size + i) % len(documents)] for i in range(size)]
            for name, system in (("pytorch", pytorch), ("precis", ours)):
                began = time.perf_counter()
                system(texts)
                seconds[name] += time.perf_counter() - began
        rates = {name: ROUNDS * size / spent for name, spent in seconds.items()}
        ratio = rates["precis"] / rates["pytorch"]
        table.add_row(str(size), f"{rates['pytorch']:.1f}", f"{rates['precis']:.1f}", f"{ratio:.2f}")
        result["summaries_per_second"][size] = {name: round(rate, 2) for name, rate in rates.items()}
        result["ratio_to_pytorch"][size] = round(ratio, 2)
    engine.close()
    Console().print(table)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

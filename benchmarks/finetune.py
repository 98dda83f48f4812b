"""Speed and memory of training: our way, transformers' stock summarization settings, and everything padded to 1,024.

    python -m benchmarks.finetune [--pairs 64] [--batch 8] [--shape small|embedded]

The same base, LoRA adapter and pairs (Gazette's; none is longer than 1,024 tokens, so all three read all of them), one
pass each, every step counted. Each way has a process of its own, and the ways take turns.

- ours: grouped by length, padded to the longest of a batch, bf16 where the hardware computes in it
- stock: run_summarization.py's defaults: shuffled, padded to the longest of a batch, fp32
- notebook: padding="max_length" to 1,024 and 128 tokens, fp32

The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from finetune.recipe import Recipe, parse_recipe

ROOT = Path(__file__).parent.parent
WAYS = ("ours", "stock", "notebook")
LONGEST = {"document": 1024, "summary": 128}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="each way so often, in turns; the median counts")
    parser.add_argument(
        "--shape", choices=("small", "embedded"), default="small", help="t5-small's, with random weights"
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.shape, options.pairs, options.batch)))
        return 0
    runs: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.finetune", "--way", way, "--shape", options.shape]
            command += ["--pairs", str(options.pairs), "--batch", str(options.batch)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            runs[way].append(json.loads(done.stdout.splitlines()[-1]))
    found = {way: {key: statistics.median(run[key] for run in told) for key in told[0]} for way, told in runs.items()}
    table = Table("", "samples/s", "tokens/s", "peak MiB", "ours is faster by", box=None)
    for way, row in found.items():
        ratio = found["ours"]["samples_per_second"] / row["samples_per_second"]
        figures = (f"{row['samples_per_second']:.2f}", f"{row['tokens_per_second']:,.0f}", f"{row['peak_mib']:,.0f}")
        table.add_row(way, *figures, f"{ratio:.2f}")
    Console(width=100).print(table)
    print(json.dumps(found))
    return 0


def measure(way: str, shape: str, pairs: int, batch: int) -> dict[str, float]:
    """One pass over the pairs in one way: samples and real tokens a second, and the peak of the training in MiB."""
    import torch
    from datasets import Dataset, load_dataset
    from transformers import DataCollatorForSeq2Seq, PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed
    from transformers.utils import logging

    from finetune.meters import MemoryMeter
    from finetune.tokens import tokenized
    from finetune.trainer import Clock
    from finetune.training import add_adapter, train

    logging.set_verbosity_error()
    set_seed(0)
    recipe = _recipe(batch, "auto" if way == "ours" else "fp32")
    network, tokenizer = _base(shape)
    model = add_adapter(network.to("cuda" if torch.cuda.is_available() else "cpu"), recipe.lora)
    rows: Dataset = load_dataset("json", data_files=str(ROOT / "data/gazette/train.jsonl"), split="train")
    encoded, cut = tokenized(rows.select_columns(["document", "summary"]).select(range(pairs)), tokenizer, recipe)
    assert not any(cut.values())
    tokens = sum(encoded["document_tokens"]) + sum(encoded["summary_tokens"])
    memory = MemoryMeter()
    with tempfile.TemporaryDirectory() as folder:
        if way == "ours":
            seconds = train(model, tokenizer, encoded, encoded.select([0]), recipe, Path(folder)).seconds
        else:
            clock = Clock()
            trainer = Seq2SeqTrainer(
                model=model,
                args=Seq2SeqTrainingArguments(
                    output_dir=folder,
                    num_train_epochs=1,
                    per_device_train_batch_size=batch,
                    learning_rate=recipe.training.learning_rate,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    use_cpu=not torch.cuda.is_available(),
                ),
                train_dataset=encoded,
                data_collator=DataCollatorForSeq2Seq(tokenizer, model=model)
                if way == "stock"
                else lambda batch: _padded_to_the_longest_there_is(batch, tokenizer, model),
                callbacks=[clock],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            seconds = clock.seconds
    return {"samples_per_second": pairs / seconds, "tokens_per_second": tokens / seconds, "peak_mib": memory.peak_mib()}


def _recipe(batch: int, precision: str) -> Recipe:
    return parse_recipe(
        {
            "output": "unused",
            "model": {"name": "models/base"},
            "data": {
                "train": "unused",
                "max_document_tokens": LONGEST["document"],
                "max_summary_tokens": LONGEST["summary"],
            },
            "training": {"epochs": 1, "batch_size": batch, "precision": precision},
        }
    )


def _base(shape: str):
    """The embedded base, or a network of t5-small's shape over its vocabulary's size (speed asks not for weights)."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    from finetune.recipe import Model
    from finetune.training import load_base

    network, tokenizer = load_base(Model(name=str(ROOT / "models/base")))
    if shape == "small":
        torch.manual_seed(0)
        network = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0))
    return network, tokenizer


def _padded_to_the_longest_there_is(batch: list[dict], tokenizer, model) -> dict:
    """What padding="max_length" makes of it: every document 1,024 tokens, every summary 128."""
    import torch

    rows = [{"input_ids": row["input_ids"]} for row in batch]
    found = tokenizer.pad(rows, padding="max_length", max_length=LONGEST["document"], return_tensors="pt")
    labels = torch.full((len(batch), LONGEST["summary"]), -100)
    for i, row in enumerate(batch):
        labels[i, : len(row["labels"])] = torch.tensor(row["labels"])
    found["labels"] = labels
    found["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels=labels)
    return found


if __name__ == "__main__":
    raise SystemExit(main())

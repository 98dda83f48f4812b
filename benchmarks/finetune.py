"""Speed and memory of training: our way, transformers' stock summarization settings, and everything padded to 1,024.

    python -m benchmarks.finetune [--data FILE] [--steps 16] [--batch 8] [--shape small|embedded]

The same base and pairs (Gazette's, or a JSONL file with columns document and summary; cut at 1,024 and 128 tokens).
Each way goes through the whole file in its own order, and the first steps of that epoch are measured: all ways but the
notebook's count tokens that are no padding; that one, where each pair takes the same, runs a quarter of the steps. Each
way has a process of its own, and the ways take turns.

- ours: recipes/t5-small-xsum.yaml's way: LoRA, no dropout, attention in one kernel, grouped by length, padded to the
  longest of a batch, bf16 where the hardware computes in it
- stock: run_summarization.py's defaults: every weight, shuffled, padded to the longest of a batch, fp32
- stock-lora: the same with our adapter, which tells what LoRA has to do with it
- notebook: our adapter, padding="max_length" to 1,024 and 128 tokens, fp32

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

from finetune.recipe import Recipe
from finetune.recipe_io import parse_recipe

ROOT = Path(__file__).parent.parent
WAYS = ("ours", "stock", "stock-lora", "notebook")
LONGEST = {"document": 1024, "summary": 128}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "data/gazette/train.jsonl")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="each way so often, in turns; the median counts")
    parser.add_argument(
        "--shape", choices=("small", "embedded"), default="small", help="t5-small's, with random weights"
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.shape, options.data, options.steps, options.batch)))
        return 0
    console = Console(stderr=True)
    runs: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.finetune", "--way", way, "--shape", options.shape]
            command += ["--data", str(options.data.resolve()), "--batch", str(options.batch)]
            command += ["--steps", str(max(1, options.steps // (4 if way == "notebook" else 1)))]
            with console.status(f"{way}, {command[-1]} steps"):
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-4000:])
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


def measure(way: str, shape: str, data: Path, steps: int, batch: int) -> dict[str, float]:
    """The first `steps` of an epoch in one way: samples and real tokens a second, and the peak of training in MiB."""
    import torch
    from datasets import load_dataset
    from transformers import DataCollatorForSeq2Seq, PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed
    from transformers.utils import logging

    from finetune.data.tokenizing import tokenize_pairs
    from finetune.training.callbacks import StepTimerCallback
    from finetune.training.meters import MemoryMeter
    from finetune.training.model import add_adapter
    from finetune.training.train import train

    class Stock(Seq2SeqTrainer):
        """Counts what it trains on."""

        tokens = 0

        def training_step(self, model, inputs, num_items_in_batch=None):
            self.tokens += int(inputs["attention_mask"].sum() + (inputs["labels"] != -100).sum())
            return super().training_step(model, inputs, num_items_in_batch)

    logging.set_verbosity_error()
    set_seed(0)
    recipe = _recipe(steps, batch, "auto" if way == "ours" else "fp32")
    network, tokenizer = _base(shape)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    model = network if way == "stock" else add_adapter(network, recipe.lora)
    rows = load_dataset("json", data_files=str(data), split="train").select_columns(["document", "summary"])
    encoded = tokenize_pairs(rows, tokenizer, recipe)
    each = sum(len(row["input_ids"]) + len(row["labels"]) for row in encoded) / len(encoded)
    memory = MemoryMeter()
    with tempfile.TemporaryDirectory() as folder:
        if way == "ours":
            trained = train(model, tokenizer, encoded, encoded.select([0]), recipe, Path(folder))
            tokens, seconds = trained.tokens, trained.seconds
        else:
            clock = StepTimerCallback()
            collator = DataCollatorForSeq2Seq(tokenizer, model=model)
            trainer = Stock(
                model=model,
                args=Seq2SeqTrainingArguments(
                    output_dir=folder,
                    max_steps=steps,
                    per_device_train_batch_size=batch,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    use_cpu=not torch.cuda.is_available(),
                ),
                train_dataset=encoded,
                data_collator=collator
                if way != "notebook"
                else lambda pairs: _padded_to_the_longest_there_is(pairs, tokenizer, model),
                callbacks=[clock],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            tokens, seconds = trainer.tokens, clock.total_seconds
    # All orders give the same tokens in a whole epoch, and their first steps do not.
    samples = batch * steps if way == "notebook" else tokens / each
    return {
        "samples_per_second": samples / seconds,
        "tokens_per_second": samples * each / seconds,
        "peak_mib": memory.peak_mib(),
    }


def _recipe(steps: int, batch: int, precision: str) -> Recipe:
    return parse_recipe(
        {
            "output": "unused",
            "model": {"name": "models/base"},
            "data": {
                "train": "unused",
                "max_document_tokens": LONGEST["document"],
                "max_summary_tokens": LONGEST["summary"],
            },
            "training": {"max_steps": steps, "batch_size": batch, "precision": precision, "dropout": 0.0},
        }
    )


def _base(shape: str):
    """The embedded base, or a network of t5-small's shape over its vocabulary's size (speed asks not for weights)."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    from finetune.recipe import Model
    from finetune.training.model import load_base

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

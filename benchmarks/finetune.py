"""Speed and memory of training: our method, and transformers' stock settings with and without our adapter.

    python -m benchmarks.finetune [--device cuda] [--parts methods variants] [--data FILE] [--steps 16] [--batch 8]

Part `methods` (the default) compares, on t5-small's shape with random weights and the same pairs (Gazette's, or a JSONL
file with columns document and summary; cut at 1,024 and 128 tokens):

- ours: the method of recipes/t5-small-xsum.yaml: LoRA, no dropout, attention in one kernel, grouped by length, padded
  to the longest of a batch, bf16 where the hardware computes in it
- stock: run_summarization.py's defaults: every weight, shuffled, padded to the longest of a batch, fp32
- stock-lora: the same with our adapter, which shows what LoRA contributes

Each goes through the file in its own order, and the first steps of that epoch are measured; padding is not counted.
Each method has a process of its own, and they take turns. Part `variants` measures settings of our method
(variants.py). The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import variants
from benchmarks.server import ROOT
from benchmarks.variants import random_t5_recipe
from finetune.files import write_json

METHODS = ("ours", "stock", "stock-lora")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--parts", nargs="+", choices=("methods", "variants"), default=["methods"])
    parser.add_argument("--data", type=Path, default=ROOT / "data/gazette/train.jsonl")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--output", type=Path, help="file for the results of `variants`, as they are measured")
    parser.add_argument("--tiny", action="store_true", help="`variants` of a tiny model, to try that everything runs")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # transformers would use a GPU if there was one
    if options.method:
        print(json.dumps(measure(options.method, options.data, options.steps, options.batch)))
        return 0
    result = compare_methods(options) if "methods" in options.parts else {}
    if "variants" in options.parts:

        def keep(results: dict) -> None:
            if options.output:
                write_json(options.output, results)

        before = json.loads(options.output.read_text()) if options.output and options.output.exists() else {}
        result |= variants.measure(options.device, options.tiny, before, keep)
    print(json.dumps(result))
    return 0


def compare_methods(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Runs every method in a process of its own and prints its figures."""
    results: dict[str, dict[str, float]] = {}
    for method in METHODS:
        command = [sys.executable, "-m", "benchmarks.finetune", "--method", method, "--device", options.device]
        command += ["--data", str(options.data.resolve()), "--batch", str(options.batch), "--steps", str(options.steps)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-4000:])
        results[method] = json.loads(done.stdout.splitlines()[-1])
        print(method, results[method], file=sys.stderr)
    return results


def measure(method: str, data: Path, steps: int, batch: int) -> dict[str, float]:
    """The first `steps` of an epoch with one method: samples and real tokens a second, and peak memory in MiB."""
    import torch
    from datasets import load_dataset
    from transformers import (
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        PrinterCallback,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        T5Config,
        T5ForConditionalGeneration,
        set_seed,
    )
    from transformers.utils import logging

    from finetune.data.tokenizing import tokenize_pairs
    from finetune.training.callbacks import StepTimerCallback
    from finetune.training.meters import MemoryMeter
    from finetune.training.model import add_adapter
    from finetune.training.train import train

    class Stock(Seq2SeqTrainer):
        """Counts the tokens that it trains on."""

        tokens = 0

        def training_step(self, model, inputs, num_items_in_batch=None):
            self.tokens += int(inputs["attention_mask"].sum() + (inputs["labels"] != -100).sum())
            return super().training_step(model, inputs, num_items_in_batch)

    logging.set_verbosity_error()
    set_seed(0)
    recipe = random_t5_recipe(
        max_steps=steps, batch_size=batch, precision="auto" if method == "ours" else "fp32", dropout=0.0
    )
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")
    network = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0))
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    model = network if method == "stock" else add_adapter(network, recipe.lora)
    rows = load_dataset("json", data_files=str(data), split="train").select_columns(["document", "summary"])
    encoded = tokenize_pairs(rows, tokenizer, recipe)
    each = sum(len(row["input_ids"]) + len(row["labels"]) for row in encoded) / len(encoded)
    memory = MemoryMeter()
    with tempfile.TemporaryDirectory() as folder:
        if method == "ours":
            trained = train(model, tokenizer, encoded, encoded.select([0]), recipe, Path(folder))
            tokens, seconds = trained.tokens, trained.seconds
        else:
            timer = StepTimerCallback()
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
                data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
                callbacks=[timer],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            tokens, seconds = trainer.tokens, timer.total_seconds
    # All orders give the same tokens in an epoch, but not in its first steps.
    samples, tokens = tokens / each / seconds, tokens / seconds
    return {"samples_per_second": samples, "tokens_per_second": tokens, "peak_mib": memory.peak_mib()}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

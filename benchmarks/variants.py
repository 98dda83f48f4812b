"""Variants of our own training, LoRA in bf16: batch sizes, torch.compile, fused AdamW, workers of the data loader.

Random weights and tokens with lengths like XSum's: documents of 430 tokens on average, cut at 512, summaries of 27.
"""

import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers import SHAPES, error_line
from benchmarks.server import ROOT
from finetune.recipe import Recipe
from finetune.recipe_io import parse_recipe

XSUM = 204_045  # training pairs
LONGEST = {"document": 1024, "summary": 128}  # tokens, of the texts that the methods are compared on
DOCUMENT, SUMMARY, LIMIT = (430, 160), (27, 7), 512  # tokens: mean and standard deviation; the longest document


@dataclass(frozen=True)
class Variant:
    """One way to fine-tune. The first `warm_up` of `steps` are not counted: they compile and allocate memory."""

    batch: int
    compile: bool = False
    fused: bool = True
    workers: int = 4
    steps: int = 30
    warm_up: int = 5


# A time limit cuts from the end.
VARIANTS = (
    Variant(64),
    Variant(64, compile=True, steps=60, warm_up=30),
    Variant(256),
    Variant(256, compile=True, steps=50, warm_up=25),
    Variant(64, fused=False),
)
TINY = (Variant(2, workers=0, steps=4, warm_up=2), Variant(2, fused=False, workers=0, steps=4, warm_up=2))
MATRIX, TINY_MATRIX = 8192, 256  # sides of the square matrices whose product is the device's peak


def lengths(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Tokens of documents and summaries, drawn so that the documents have their mean after the cut."""
    draw = random.Random(seed)

    def one(mean: int, deviation: int, low: int, high: int) -> int:
        return max(low, min(high, round(draw.gauss(mean, deviation))))

    # Two fifths of the documents are cut: 480 before, 430 after.
    return [(one(DOCUMENT[0] + 50, DOCUMENT[1], 64, LIMIT), one(*SUMMARY, 8, 64)) for _ in range(count)]


def operations(network, document: int, summary: int) -> int:
    """Floating-point operations of a training step with one pair of so many tokens, by PyTorch's own count."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids, labels = (torch.ones(1, count, dtype=torch.int64, device=network.device) for count in (document, summary))
    with FlopCounterMode(display=False) as counter:
        network(input_ids=ids, labels=labels, use_cache=False).loss.backward()
    network.zero_grad()
    return counter.get_total_flops()


def random_t5_recipe(**training: object) -> Recipe:
    """A recipe with the longest texts of the comparison; what names files is not read."""
    lengths = {"max_document_tokens": LONGEST["document"], "max_summary_tokens": LONGEST["summary"]}
    sections = {"model": {"name": "models/base"}, "data": {"train": "unused", **lengths}, "training": training}
    return parse_recipe({"output": "unused", **sections})


def epoch_minutes(samples_per_second: float, pairs: int = XSUM) -> float:
    """Minutes for `pairs` pairs at this rate."""
    return pairs / samples_per_second / 60


def matrix_peak(device: str, side: int) -> float:
    """Operations a second of a bf16 product of two random square matrices: the median of ten, after three."""
    import torch

    first, second = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def product() -> float:
        began = time.perf_counter()
        first @ second
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(3):
        product()
    return 2 * side**3 / statistics.median(product() for _ in range(10))


def measure(device: str, tiny: bool, before: dict, keep: Callable[[dict], None]) -> dict[str, object]:
    """Figures of each variant in turn, those `before` included, which are not measured again.

    `keep` gets the results after each. One that fails does not stop the others.
    """
    import torch

    from finetune.errors import UserError

    side = TINY_MATRIX if tiny else MATRIX
    peak = matrix_peak(device, side)
    rows: list[dict] = list(before.get("variants", []))
    results = {"matrix_tflops": round(peak / 1e12, 2), "matrix": side, "variants": rows}
    for variant in TINY if tiny else VARIANTS:
        settings = {key: value for key, value in asdict(variant).items() if key not in ("steps", "warm_up")}
        if any(settings.items() <= row.items() for row in rows):
            continue
        try:
            row = train_variant(variant, SHAPES["tiny" if tiny else "small"], device, peak)
        except UserError as error:
            row = {"failed": str(error)}
        except Exception as error:  # a compiler's, for example
            row = {"failed": error_line(error)}
        rows.append({**settings, **row})
        print(rows[-1], flush=True)
        keep(results)
        torch._dynamo.reset()
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    return results


def train_variant(variant: Variant, shape: dict[str, int], device: str, peak: float) -> dict[str, float]:
    """Rates, memory and the share of `peak` (operations a second) of the steps after the warm-up."""
    from datasets import Dataset
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration, set_seed
    from transformers.utils import logging

    from finetune.data.sampler import LengthGroupedSampler
    from finetune.training.meters import MemoryMeter
    from finetune.training.model import add_adapter
    from finetune.training.train import train

    logging.set_verbosity_error()
    set_seed(0)
    recipe = random_t5_recipe(
        max_steps=variant.steps,
        batch_size=variant.batch,
        precision="bf16" if device == "cuda" else "auto",
        dropout=0.0,
        compile=variant.compile,
        fused_optimizer=variant.fused,
        workers=variant.workers,
        checkpoint_seconds=3600,
    )
    config = T5Config(decoder_start_token_id=0, **shape)
    network = add_adapter(T5ForConditionalGeneration(config).to(device), recipe.lora)
    pair_operations = operations(network, DOCUMENT[0], SUMMARY[0])
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")  # for its padding
    pairs = lengths(variant.batch * variant.steps)
    draw = random.Random(1)
    rows = {
        "input_ids": [[*draw.choices(range(10, 32000), k=document - 1), 1] for document, _ in pairs],
        "labels": [[*draw.choices(range(10, 32000), k=summary - 1), 1] for _, summary in pairs],
    }
    memory = MemoryMeter()
    with tempfile.TemporaryDirectory() as folder:
        data = Dataset.from_dict(rows)
        trained = train(network, tokenizer, data, data.select([0]), recipe, Path(folder))
    order = list(LengthGroupedSampler([document for document, _ in pairs], variant.batch, recipe.training.seed))
    counted = [pairs[i] for i in order[variant.warm_up * variant.batch :]]
    seconds = sum(trained.step_seconds[variant.warm_up :])
    tokens = sum(map(sum, counted))
    each = sum(map(sum, pairs)) / len(pairs)
    samples = tokens / each / seconds  # batches are of similar length, so those counted may be longer than most
    return {
        "samples_per_second": round(samples, 1),
        "tokens_per_second": round(tokens / seconds),
        "peak_share": round(samples * pair_operations / peak, 3),
        "peak_mib": memory.peak_mib(),
        "warm_up_s": round(sum(trained.step_seconds[: variant.warm_up]), 1),
        "epoch_minutes": round(epoch_minutes(samples), 1),
    }

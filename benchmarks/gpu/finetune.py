"""Part finetune: LoRA in bf16 by the project's own training, with and without what helps a GPU.

Random weights and tokens, lengths like XSum's: documents of 430 tokens on average, cut at 512, summaries of 27.
"""

import gc
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu.card import matrix_peak
from benchmarks.gpu.parts import sentence
from benchmarks.gpu.sizes import Sizes, Training

ROOT = Path(__file__).parents[2]
XSUM = 204_045  # training pairs
DOCUMENT, SUMMARY, LIMIT = (430, 160), (27, 7), 512  # tokens: mean and standard deviation; the longest document


def lengths(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Tokens of documents and summaries, drawn so that the documents have their mean after the cut."""
    draw = random.Random(seed)

    def one(mean: int, deviation: int, low: int, high: int) -> int:
        return max(low, min(high, round(draw.gauss(mean, deviation))))

    # Two fifths of the documents are cut: 480 before, 430 after.
    return [(one(DOCUMENT[0] + 50, DOCUMENT[1], 64, LIMIT), one(*SUMMARY, 8, 64)) for _ in range(count)]


def operations(config, rank: int, document: int, summary: int) -> float:
    """What one pair takes at least, padding not counted: the base forward and its activations' gradients, as its
    weights do not learn; attention and the adapter forward and both gradients."""
    model, inner, feed = config.d_model, config.num_heads * config.d_kv, config.d_ff
    layers, decoder_layers = config.num_layers, config.num_decoder_layers

    def sizes(count: int, first: int, second: int) -> tuple[int, int]:
        """Weights of `count` linear layers, and of their adapters."""
        return count * first * second, count * rank * (first + second)

    def together(*parts: tuple[int, int]) -> tuple[int, int]:
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    encoder = together(sizes(4 * layers, model, inner), sizes(2 * layers, model, feed))
    sources = sizes(2 * decoder_layers, model, inner)
    decoder = together(sizes(6 * decoder_layers, model, inner), sizes(2 * decoder_layers, model, feed))
    base = document * (encoder[0] + sources[0]) + summary * (decoder[0] + model * config.vocab_size)
    adapter = document * (encoder[1] + sources[1]) + summary * decoder[1]
    scores = layers * document**2 + decoder_layers * (summary**2 + summary * document)
    return 2 * (2 * base + 3 * adapter + 3 * 2 * inner * scores)


def epoch(samples_per_second: float, pairs: int = XSUM) -> float:
    """Minutes that so many pairs take."""
    return pairs / samples_per_second / 60


def measure(sizes: Sizes, device: str, scratch: Path, keep: Callable) -> None:
    """Figures of each way in turn; one that fails is told, and the others go on."""
    from finetune.errors import UserError

    peak = matrix_peak(device, sizes.matrix)
    found = {"matrix_tflops": round(peak / 1e12, 2), "matrix": sizes.matrix, "ways": []}
    for way in sizes.trainings:
        try:
            row = _train(sizes, way, device, peak)
        except UserError as error:
            row = {"failed": str(error)}
        except Exception as error:  # a compiler's, say; it must not take the others' figures along
            row = {"failed": sentence(error)}
        row = {"batch": way.batch, "compile": way.compile, "fused": way.fused, "workers": way.workers, **row}
        print(row, flush=True)
        found["ways"].append(row)
        keep(found)
        _forget()


def _train(sizes: Sizes, way: Training, device: str, peak: float) -> dict[str, float]:
    from datasets import Dataset
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration, set_seed
    from transformers.utils import logging

    from finetune.data.sampler import LengthGroupedSampler
    from finetune.recipe_io import parse_recipe
    from finetune.training.meters import MemoryMeter
    from finetune.training.model import add_adapter
    from finetune.training.train import train

    logging.set_verbosity_error()
    set_seed(0)
    training = {
        "max_steps": way.steps,
        "batch_size": way.batch,
        "precision": "bf16" if device == "cuda" else "auto",
        "dropout": 0.0,
        "compile": way.compile,
        "fused_optimizer": way.fused,
        "workers": way.workers,
        "checkpoint_seconds": 3600,
    }
    recipe = parse_recipe(
        {"output": "unused", "model": {"name": "random"}, "data": {"train": "unused"}, "training": training}
    )
    config = T5Config(decoder_start_token_id=0, **sizes.shape)
    network = add_adapter(T5ForConditionalGeneration(config).to(device), recipe.lora)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")  # for its padding
    pairs = lengths(way.batch * way.steps)
    draw = random.Random(1)
    rows = {
        "input_ids": [[*draw.choices(range(10, 32000), k=document - 1), 1] for document, _ in pairs],
        "labels": [[*draw.choices(range(10, 32000), k=summary - 1), 1] for _, summary in pairs],
    }
    memory = MemoryMeter()
    with tempfile.TemporaryDirectory() as folder:
        data = Dataset.from_dict(rows)
        trained = train(network, tokenizer, data, data.select([0]), recipe, Path(folder))
    order = list(LengthGroupedSampler([document for document, _ in pairs], way.batch, recipe.training.seed))
    counted = [pairs[i] for i in order[way.warm_up * way.batch :]]
    seconds = sum(trained.step_seconds[way.warm_up :])
    tokens = sum(map(sum, counted))
    each = sum(map(sum, pairs)) / len(pairs)
    samples = tokens / each / seconds  # batches are of like length, so those counted may be longer than most
    done = sum(operations(config, recipe.lora.rank, *pair) for pair in counted)
    return {
        "samples_per_second": round(samples, 1),
        "tokens_per_second": round(tokens / seconds),
        "peak_share": round(done / seconds / peak, 3),
        "peak_mib": memory.peak_mib(),
        "warm_up_s": round(sum(trained.step_seconds[: way.warm_up]), 1),
        "epoch_minutes": round(epoch(samples), 1),
    }


def _forget() -> None:
    import torch

    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
